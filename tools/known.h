/* The programs that `bulkhead init` knows: how each is kept in the foreground, shows that it is ready, ends without
 * cutting anything off, and as whom Debian runs it. What a row says was tried with Debian 12's package; the integration
 * test test_init.py starts what is made of each. A program without a row gets a commented skeleton. */
#pragma once

#include "tools/cmdline.h"

typedef enum KnownReady {
    KNOWN_READY_GUESS,  /* tcp if the command line names a port, else exec */
    KNOWN_READY_NOTIFY, /* it speaks sd_notify */
    KNOWN_READY_TCP     /* it listens on .port unless the command line says otherwise */
} KnownReady;

typedef struct KnownProgram {
    const char *names; /* patterns of the base name, parted by blanks; NULL: the row of all others */
    const char *description;
    const char *package; /* Debian's */
    const char *unit;    /* of Debian's own service, which must not run beside ours; a pattern in /lib/systemd/system */
    const char *users; /* the first that exists is taken, parted by blanks; NULL: who owns the script or the program */
    const char *user_why;     /* a clause: "the package's user" */
    const char *capabilities; /* NULL: what the port needs, or none */
    const char *capabilities_why;
    KnownReady ready;
    unsigned port;           /* for KNOWN_READY_TCP */
    const char *ready_why;   /* a sentence, NULL = none */
    const char *pre;         /* of exec_start_pre: what follows the program's path; NULL = none */
    const char *pre_option;  /* the option whose value `pre` needs too: "-c" */
    const char *stop_signal; /* NULL: TERM */
    const char *stop_why;
    const char *reload_signal;     /* NULL: none that is known */
    const char *allow, *allow_why; /* calls besides the profile's; NULL = none */
    const char *profile;           /* NULL: commented out */
    const char *runtime_directory, *state_directory, *logs_directory;
    const char *working_dir;
    const char *place;        /* where it is when $PATH does not lead to it; a pattern */
    bool here;                /* what it loads it looks for in its current directory */
    bool track;               /* counts connections */
    bool keeps_open;          /* its clients keep their connections open, so a drain would wait for nothing */
    bool interpreter;         /* the module is named after the script, and runs as its owner */
    void (*adapt)(Cmdline *); /* keeps it in the foreground, adds what it cannot run without; NULL = nothing to do */
} KnownProgram;

/* By the program's path; the last row, of all others, when there is none. Never NULL. */
const KnownProgram *known_program(const char *path);
/* Every row, the one of all others last. */
extern const KnownProgram known_programs[];
extern const size_t known_programs_n;
