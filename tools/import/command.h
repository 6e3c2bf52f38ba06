/* ForeignCommand lines of other supervisors: their prefixes, variables and habits, made into ours. Pure, but for
 * looking whether a program is there. */
#pragma once

#include "tools/import/sketch.h"
#include "tools/import/unitfile.h"

typedef struct ForeignCommand {
    char **argv;         /* the first is the program; % and $ as their writer meant them */
    bool ignore_failure; /* - */
    bool privileged;     /* + ! !! */
    bool argv0;          /* @: argv[1] is what it is to be called */
    bool literal;        /* : no variables */
    FromLine from;
} ForeignCommand;

typedef struct ForeignCommands {
    ForeignCommand *items;
    size_t n;
} ForeignCommands;

void foreign_commands_done(ForeignCommands *c);
/* Appends the commands of an Exec line, which `;` may part. 0, or -EINVAL with *e. */
int foreign_commands_parse(const char *value, const UnitNames *names, const FromLine *from, ForeignCommands *commands,
                           Error *e);
void command_add_argv(ForeignCommands *commands, char **argv, const FromLine *from);

/* As our files have it, owned by the caller. `environment` ("NAME=value") is what the module's will hold, MAINPID among
 * it where it does. *ret_why: what had to be changed, or NULL; owned by the caller. Variables in the style of systemd:
 * $NAME alone is split into words, ${NAME} is part of one, what is not set is nothing. */
char *command_text(const ForeignCommand *c, char *const *environment, char **ret_why);
/* The absolute path of a program as it would be found, or where it most likely is; owned by the caller. */
char *command_program(const char *name, bool *ret_found);

/* The signal of `kill -HUP $MAINPID` and of its kin, or NULL; owned by the caller. */
char *command_kill_signal(const ForeignCommand *c);
/* What asks the main process to end, when the command does nothing else: nginx -s quit, start-stop-daemon --stop
 * --retry QUIT/5 (*ret_seconds then, else 0). Owned by the caller, or NULL. */
char *command_stop_signal(const ForeignCommand *c, uint64_t *ret_seconds);

/* Makes a known program stay in the foreground. Returns what was done to it, or NULL: not known. */
const char *command_stay(ForeignCommand *c);
/* What is known to do so for a program that cannot be told by an argument, or a general hint. Never NULL. */
const char *command_stay_hint(const ForeignCommand *c);
/* Does it start what belongs to others (cron, sshd)? Then set-uid programs must go on working. */
bool command_serves_sessions(const ForeignCommand *c);
