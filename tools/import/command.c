/* See command.h. */
#include "tools/import/command.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "policies/quantities.h"
#include "policies/words.h"

void foreign_commands_done(ForeignCommands *c)
{
    for (size_t i = 0; i < c->n; i++)
        strv_free(c->items[i].argv);
    free(c->items);
    *c = (ForeignCommands){0};
}

void command_add_argv(ForeignCommands *commands, char **argv, const FromLine *from)
{
    ForeignCommand *c = &ARRAY_PUSH(commands->items, commands->n);
    *c = (ForeignCommand){.argv = argv, .from = *from};
}

/* Takes the prefixes off the first word. */
static void take_prefixes(ForeignCommand *c)
{
    char *p = c->argv[0];
    for (; strchr("-@:+!", *p) && *p; p++) {
        c->ignore_failure |= *p == '-';
        c->argv0 |= *p == '@';
        c->literal |= *p == ':';
        c->privileged |= *p == '+' || *p == '!';
    }
    char *program = xstrdup(p);
    free(c->argv[0]);
    c->argv[0] = program;
    if (c->argv0 && c->argv[1]) {
        free(c->argv[1]);
        memmove(c->argv + 1, c->argv + 2, (strv_length(c->argv + 2) + 1) * sizeof *c->argv);
    }
}

int foreign_commands_parse(const char *value, const UnitNames *names, const FromLine *from, ForeignCommands *commands,
                           Error *e)
{
    for (const char *rest = value; rest;) {
        _cleanup_strv_ char **words = NULL;
        int r = unit_words(rest, &words, &rest, e);
        if (r < 0)
            return r;
        if (!words[0])
            continue;
        for (char **w = words; *w; w++) {
            char *expanded = NULL;
            if ((r = unit_specifiers(*w, names, true, &expanded, e)) < 0)
                return r;
            free(*w);
            *w = expanded;
        }
        command_add_argv(commands, TAKE_PTR(words), from);
        take_prefixes(&commands->items[commands->n - 1]);
        if (!*commands->items[commands->n - 1].argv[0])
            return error_set(e, -EINVAL, "there is no program in it");
    }
    return 0;
}

/* --- variables ---------------------------------------------------------------------------------------------------- */
static void because(StrBuf *why, const char *fmt, const char *a, size_t n)
{
    if (why->len > 0)
        strbuf_adds(why, "; ");
    _cleanup_(freep) char *name = xstrndup(a, n);
    const char *at = strstr(fmt, "NAME");
    strbuf_add(why, fmt, (size_t)(at - fmt));
    strbuf_adds(why, name);
    strbuf_adds(why, at + strlen("NAME"));
}

/* A word that is nothing but $NAME. */
static bool whole_variable(const char *w)
{
    size_t n = w[0] == '$' ? words_variable_name(w + 1) : 0;
    return n > 0 && w[1 + n] == '\0';
}

static void add_split(StrBuf *b, const char *word, char *const *environment, StrBuf *why)
{
    const char *name = word + 1;
    size_t n = strlen(name);
    const char *value = words_variable(environment, name, n);
    if (!value || !*value) {
        because(why, "$NAME is empty or not set here, so it is left out", name, n);
        return;
    }
    if (strcmp(name, "MAINPID") == 0) {
        import_add_word(b, "${MAINPID}");
        return;
    }
    _cleanup_strv_ char **words = NULL;
    if (unit_words(value, &words, NULL, NULL) < 0)
        strv_add(&words, value);
    STRV_FOREACH (w, words) {
        _cleanup_(freep) char *literal = import_literal(*w, true);
        import_add_word(b, literal);
    }
    because(why, "$NAME is written out as it is today (a variable is one word here)", name, n);
}

static void add_expanded(StrBuf *b, const char *word, char *const *environment, bool literal, StrBuf *why)
{
    _cleanup_strbuf_ StrBuf w = STRBUF_NULL;
    for (const char *p = word; *p; p++) {
        size_t n = p[0] == '$' && p[1] == '{' && !literal ? words_variable_name(p + 2) : 0;
        if (*p != '$') {
            strbuf_addc(&w, *p);
        } else if (n > 0 && p[2 + n] == '}') {
            if (words_variable(environment, p + 2, n))
                strbuf_add(&w, p, n + 3);
            else
                because(why, "${NAME} is set nowhere, so it is left out", p + 2, n);
            p += n + 2;
        } else {
            strbuf_adds(&w, "$$");
            p += p[1] == '$' && !literal;
        }
    }
    import_add_word(b, str_or(w.s, ""));
}

char *command_program(const char *name, bool *ret_found)
{
    static const char *const places[] = {"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"};
    *ret_found = true;
    if (name[0] == '/')
        return xstrdup(name);
    for (size_t i = 0; i < ELEMENTS(places); i++) {
        _cleanup_(freep) char *path = xasprintf("%s/%s", places[i], name);
        if (access(path, X_OK) == 0)
            return TAKE_PTR(path);
    }
    *ret_found = false;
    return xasprintf("/usr/bin/%s", name);
}

char *command_text(const ForeignCommand *c, char *const *environment, char **ret_why)
{
    StrBuf b = STRBUF_NULL;
    _cleanup_strbuf_ StrBuf why = STRBUF_NULL;
    bool found;
    _cleanup_(freep) char *program = command_program(c->argv[0], &found);
    add_expanded(&b, program, NULL, true, &why);
    if (!found)
        because(&why, "NAME is not to be found here, so its place is a guess", c->argv[0], strlen(c->argv[0]));
    if (c->argv0)
        because(&why, "it keeps its own NAME (@ is left out)", "name", 4);
    STRV_FOREACH (w, c->argv + 1)
        if (!c->literal && whole_variable(*w))
            add_split(&b, *w, environment, &why);
        else
            add_expanded(&b, *w, environment, c->literal, &why);
    *ret_why = why.len > 0 ? strbuf_take(&why) : NULL;
    return strbuf_take(&b);
}

/* --- signals ------------------------------------------------------------------------------------------------------ */
static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* As keys have it, without SIG. */
static char *signal_name(const char *s)
{
    uint64_t number;
    if (parse_u64(s, &number) < 0)
        return value_signal(s, NULL) > 0 ? xstrdup(s + (str_starts(s, "SIG") ? 3 : 0)) : NULL;
    const char *name = number >= 1 && number <= 64 ? sigabbrev_np((int)number) : NULL;
    return name ? xstrdup(name) : value_signal(s, NULL) > 0 ? xstrdup(s) : NULL;
}

char *command_kill_signal(const ForeignCommand *c)
{
    char *const *v = c->argv;
    const char *signal = "TERM";
    if (strcmp(base_name(v[0]), "kill") != 0)
        return NULL;
    v++;
    if (*v && v[1] && (strcmp(*v, "-s") == 0 || strcmp(*v, "--signal") == 0 || strcmp(*v, "-n") == 0)) {
        signal = v[1];
        v += 2;
    } else if (*v && (*v)[0] == '-' && (*v)[1] && strcmp(*v, "--") != 0) {
        signal = *v + (str_starts(*v, "--signal=") ? strlen("--signal=") : str_starts(*v, "-s") ? 2 : 1);
        v++;
    }
    if (*v && strcmp(*v, "--") == 0)
        v++;
    bool main_alone = *v && !v[1] && (strcmp(*v, "$MAINPID") == 0 || strcmp(*v, "${MAINPID}") == 0);
    return main_alone ? signal_name(signal) : NULL;
}

/* The value of --NAME VALUE or --NAME=VALUE. */
static const char *option(char *const *argv, const char *name)
{
    size_t n = strlen(name);
    STRV_FOREACH (w, argv) {
        if (strcmp(*w, name) == 0)
            return w[1];
        if (strncmp(*w, name, n) == 0 && (*w)[n] == '=')
            return *w + n + 1;
    }
    return NULL;
}

char *command_stop_signal(const ForeignCommand *c, uint64_t *ret_seconds)
{
    *ret_seconds = 0;
    const char *program = base_name(c->argv[0]);
    char *kill = command_kill_signal(c);
    if (kill)
        return kill;
    if (strcmp(program, "nginx") == 0) {
        const char *order = option(c->argv, "-s");
        return str_equal(order, "quit") ? xstrdup("QUIT") : str_equal(order, "stop") ? xstrdup("TERM") : NULL;
    }
    if (strcmp(program, "pg_ctlcluster") == 0 && strv_contains(c->argv, "stop")) {
        const char *mode = str_or(option(c->argv, "-m"), "fast");
        return xstrdup(strcmp(mode, "smart") == 0 ? "TERM" : strcmp(mode, "immediate") == 0 ? "QUIT" : "INT");
    }
    if (strcmp(program, "start-stop-daemon") != 0 ||
        !(strv_contains(c->argv, "--stop") || strv_contains(c->argv, "-K")))
        return NULL;
    const char *retry = option(c->argv, "--retry"), *signal = option(c->argv, "--signal");
    const char *slash = retry ? strchr(retry, '/') : NULL;
    if (slash && isalpha((unsigned char)retry[retry[0] == '-'])) {
        _cleanup_(freep) char *first = xstrndup(retry + (retry[0] == '-'), (size_t)(slash - retry) - (retry[0] == '-'));
        _cleanup_(freep) char *seconds = xstrndup(slash + 1, strspn(slash + 1, "0123456789"));
        (void)parse_u64(seconds, ret_seconds);
        return signal_name(first);
    }
    return signal_name(str_or(signal, "TERM"));
}

/* --- programs that go into the background by themselves ----------------------------------------------------------- */
typedef enum StayHow {
    STAY_ADD,     /* the word, unless it is there */
    STAY_VALUE,   /* the word with its value */
    STAY_WITHOUT, /* take the word away */
    STAY_HINT,    /* no argument does it for sure */
} StayHow;

static const struct {
    const char *program;
    StayHow how;
    const char *word, *value, *told;
} daemons[] = {
    {"dnsmasq", STAY_ADD, "--keep-in-foreground", NULL, "--keep-in-foreground was added"},
    {"lighttpd", STAY_ADD, "-D", NULL, "-D was added"},
    {"sshd", STAY_ADD, "-D", NULL, "-D was added"},
    {"cron", STAY_ADD, "-f", NULL, "-f was added"},
    {"atd", STAY_ADD, "-f", NULL, "-f was added"},
    {"named", STAY_ADD, "-f", NULL, "-f was added"},
    {"snmpd", STAY_ADD, "-f", NULL, "-f was added"},
    {"chronyd", STAY_ADD, "-n", NULL, "-n was added"},
    {"ntpd", STAY_ADD, "-n", NULL, "-n was added"},
    {"rpcbind", STAY_ADD, "-f", NULL, "-f was added"},
    {"varnishd", STAY_ADD, "-F", NULL, "-F was added"},
    {"proftpd", STAY_ADD, "--nodaemon", NULL, "--nodaemon was added"},
    {"keepalived", STAY_ADD, "--dont-fork", NULL, "--dont-fork was added"},
    {"supervisord", STAY_ADD, "--nodaemon", NULL, "--nodaemon was added"},
    {"redis-server", STAY_VALUE, "--daemonize", "no", "--daemonize no was added"},
    {"valkey-server", STAY_VALUE, "--daemonize", "no", "--daemonize no was added"},
    {"memcached", STAY_WITHOUT, "-d", NULL, "-d was taken away"},
    {"mosquitto", STAY_WITHOUT, "-d", NULL, "-d was taken away"},
    {"mongod", STAY_WITHOUT, "--fork", NULL, "--fork was taken away"},
    {"gunicorn", STAY_WITHOUT, "--daemon", NULL, "--daemon was taken away"},
    {"haproxy", STAY_WITHOUT, "-D", NULL, "-D was taken away"},
    {"apachectl", STAY_HINT, NULL, NULL,
     "exec = /usr/sbin/apache2 -DFOREGROUND, with the variables of /etc/apache2/envvars"},
    {"apache2ctl", STAY_HINT, NULL, NULL,
     "exec = /usr/sbin/apache2 -DFOREGROUND, with the variables of /etc/apache2/envvars"},
    {"vsftpd", STAY_HINT, NULL, NULL, "background=NO in vsftpd.conf"},
    {"stunnel4", STAY_HINT, NULL, NULL, "foreground = yes in its configuration"},
    {"postfix", STAY_HINT, NULL, NULL, "postfix start-fg"},
};

static void insert_word(char ***argv, size_t at, const char *word)
{
    size_t n = strv_length(*argv);
    *argv = xrealloc(*argv, n + 2, sizeof **argv);
    memmove(*argv + at + 1, *argv + at, (n + 1 - at) * sizeof **argv);
    (*argv)[at] = xstrdup(word);
}

static const char *nginx_stay(ForeignCommand *c)
{
    for (char **w = c->argv + 1; *w; w++) {
        char *on = strstr(*w, "daemon on;");
        if (strstr(*w, "daemon off;"))
            return "it stays in the foreground as it is";
        if (on) {
            char *off = xasprintf("%.*sdaemon off;%s", (int)(on - *w), *w, on + strlen("daemon on;"));
            free(*w);
            *w = off;
            return "'daemon on;' became 'daemon off;'";
        }
    }
    strv_add(&c->argv, "-g");
    strv_add(&c->argv, "daemon off;");
    return "-g 'daemon off;' was added";
}

const char *command_stay(ForeignCommand *c)
{
    const char *program = base_name(c->argv[0]);
    if (strcmp(program, "nginx") == 0)
        return nginx_stay(c);
    if (strcmp(program, "pg_ctlcluster") == 0 && strv_contains(c->argv, "start")) {
        insert_word(&c->argv, 1, "--foreground");
        return "--foreground was added";
    }
    for (size_t i = 0; i < ELEMENTS(daemons); i++) {
        if (strcmp(daemons[i].program, program) != 0 || daemons[i].how == STAY_HINT)
            continue;
        size_t at = 1;
        while (c->argv[at] && strcmp(c->argv[at], daemons[i].word) != 0)
            at++;
        if (daemons[i].how == STAY_WITHOUT) {
            if (!c->argv[at])
                return "it stays in the foreground as it is";
            free(c->argv[at]);
            memmove(c->argv + at, c->argv + at + 1, (strv_length(c->argv + at + 1) + 1) * sizeof *c->argv);
            return daemons[i].told;
        }
        bool there = c->argv[at] != NULL;
        if (!there)
            strv_add(&c->argv, daemons[i].word);
        if (daemons[i].value && there && c->argv[at + 1]) {
            free(c->argv[at + 1]);
            c->argv[at + 1] = xstrdup(daemons[i].value);
        } else if (daemons[i].value) {
            strv_add(&c->argv, daemons[i].value);
        }
        return there && !daemons[i].value ? "it stays in the foreground as it is" : daemons[i].told;
    }
    return NULL;
}

const char *command_stay_hint(const ForeignCommand *c)
{
    const char *program = base_name(c->argv[0]);
    for (size_t i = 0; i < ELEMENTS(daemons); i++)
        if (strcmp(daemons[i].program, program) == 0 && daemons[i].how == STAY_HINT)
            return daemons[i].told;
    return "look in its manual for the flag, often -f, -F, -n, --foreground or --nodaemon, and add it to exec";
}

bool command_serves_sessions(const ForeignCommand *c)
{
    static const char *const programs[] = {"cron", "crond", "anacron", "atd", "sshd", "login", "getty", "agetty", "su"};
    for (size_t i = 0; i < ELEMENTS(programs); i++)
        if (strcmp(base_name(c->argv[0]), programs[i]) == 0)
            return true;
    return false;
}
