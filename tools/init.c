/* See init.h. Everything is a guess that the file itself explains: what was supposed stands beside it as a comment, so
 * that whoever knows better sees what to change. */
#include "tools/init.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include "base/str.h"
#include "policies/kinds.h"
#include "policies/names.h"

enum { LOW_PORTS = 1024 }; /* below, only CAP_NET_BIND_SERVICE listens */

/* --- words -------------------------------------------------------------------------------------------------------- */
char *init_quote(const char *word)
{
    bool plain = *word != '\0';
    for (const char *p = word; *p; p++)
        plain = plain && (isalnum((unsigned char)*p) || strchr("@+-_.,:=/%$", *p));
    bool single = !plain && !strchr(word, '\'');
    StrBuf b = STRBUF_NULL;
    if (!plain)
        strbuf_addc(&b, single ? '\'' : '"');
    for (const char *p = word; *p; p++) {
        if (*p == '%' || *p == '$')
            strbuf_addc(&b, *p);
        else if (!plain && !single && (*p == '"' || *p == '\\'))
            strbuf_addc(&b, '\\');
        strbuf_addc(&b, *p);
    }
    if (!plain)
        strbuf_addc(&b, single ? '\'' : '"');
    return strbuf_take(&b);
}

/* Text that is no list of words: only what is expanded is doubled. */
static char *escape_text(const char *text)
{
    StrBuf b = STRBUF_NULL;
    for (const char *p = text; *p; p++) {
        if (*p == '%' || *p == '$')
            strbuf_addc(&b, *p);
        strbuf_addc(&b, *p);
    }
    return strbuf_take(&b);
}

char *init_name(const char *text)
{
    StrBuf b = STRBUF_NULL;
    for (const char *p = text; *p && b.len < MODULE_NAME_MAX; p++) {
        char c = (char)tolower((unsigned char)*p);
        bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (letter || (b.len > 0 && (c == '_' || c == '-')))
            strbuf_addc(&b, c);
        else if (b.len > 0 && b.s[b.len - 1] != '-')
            strbuf_addc(&b, '-');
    }
    while (b.len > 0 && b.s[b.len - 1] == '-')
        b.s[--b.len] = '\0';
    _cleanup_(freep) char *name = strbuf_take(&b);
    return module_name_valid(name) ? TAKE_PTR(name) : NULL;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* --- guesses ------------------------------------------------------------------------------------------------------ */
/* The script of an interpreter, or the module after -m; NULL when there is none. */
static const char *script(const Init *i)
{
    size_t m = cmdline_find(&i->line, "-m");
    if (m > 0)
        return i->line.argv[m + 1];
    for (size_t k = 1; i->line.argv[k]; k++)
        if (i->line.argv[k][0] != '-')
            return i->line.argv[k];
    return NULL;
}

static int guess_name(Init *i, const char *name, Error *e)
{
    if (name) {
        if (!module_name_valid(name)) {
            _cleanup_(freep) char *shown = value_shown(name);
            return error_set(e, -EINVAL, "'%s' is no module's name (a-z, 0-9, '_' and '-', at most %d of them)", shown,
                             MODULE_NAME_MAX);
        }
        i->name = xstrdup(name);
        return 0;
    }
    const char *of = i->known->interpreter ? script(i) : NULL;
    _cleanup_(freep) char *base = xstrdup(base_name(of ? of : i->given[0]));
    char *dot = base[0] != '.' ? strrchr(base, '.') : NULL;
    static const char *const endings[] = {".py", ".js", ".mjs", ".cjs", ".sh", ".pl", ".rb"};
    for (size_t k = 0; dot && k < ELEMENTS(endings); k++)
        if (str_equal(dot, endings[k])) {
            *dot = '\0';
            break;
        }
    i->name = init_name(base);
    if (!i->name)
        return error_set(e, -EINVAL, "no module's name can be made of '%s': give one (bulkhead init NAME -- PROGRAM)",
                         base);
    return 0;
}

static void guess_user(Init *i, const char *user)
{
    if (user) {
        i->user = xstrdup(user);
        i->user_why = xstrdup("as --user said");
        return;
    }
    _cleanup_(freep) char *users = xstrdup(i->known->users ? i->known->users : "");
    for (char *save = NULL, *u = strtok_r(users, " ", &save); u; u = strtok_r(NULL, " ", &save))
        if (i->line.world->user_exists(u)) {
            i->user = xstrdup(u);
            i->user_why = xstrdup(i->known->user_why);
            return;
        }
    /* Whose script it is, whose program; then one that is called like the module. */
    const char *of = i->known->interpreter ? script(i) : NULL;
    const char *const files[] = {of, i->line.argv[0]};
    for (size_t k = 0; k < ELEMENTS(files); k++) {
        char *owner = files[k] ? i->line.world->owner(files[k]) : NULL;
        if (owner) {
            i->user = owner;
            i->user_why = xasprintf("the owner of %s", files[k]);
            return;
        }
    }
    const char *const called[] = {i->name, base_name(i->given[0])};
    for (size_t k = 0; k < ELEMENTS(called); k++)
        if (!str_equal(called[k], "root") && i->line.world->user_exists(called[k])) {
            i->user = xstrdup(called[k]);
            i->user_why = xstrdup("the user of the same name");
            return;
        }
    i->user = xstrdup("nobody");
    i->user_why = xasprintf("who owns nothing. Better one of its own: adduser --system --group %s", i->name);
}

static void guess_ready(Init *i)
{
    const KnownProgram *k = i->known;
    unsigned said = cmdline_port(&i->line);
    if (said > 0)
        i->line.port = said;
    else if (i->line.port == 0)
        i->line.port = k->port;
    if (k->ready == KNOWN_READY_NOTIFY) {
        i->ready = xstrdup("notify");
        i->ready_why = xstrdup(str_or(k->ready_why, "It says so itself (sd_notify)"));
    } else if (i->line.port > 0) {
        i->ready = xasprintf("tcp:%u", i->line.port);
        i->ready_why = xstrdup("When the kernel sees it listen there, not when it was started");
    } else {
        i->ready = xstrdup("exec");
        i->ready_why = xstrdup(
            "As soon as the program runs. Better, if it listens: tcp:PORT or unix:PATH; if it speaks sd_notify: "
            "notify");
    }
}

/* A file named relative to where the command was typed is nowhere to be found from /, nor is a Python module. */
static void guess_place(Init *i)
{
    const KnownProgram *k = i->known;
    const char *cwd = i->line.world->cwd, *because = k->here ? "what it loads is looked for there" : NULL;
    if (k->working_dir) {
        i->working_dir = xstrdup(k->working_dir);
        return;
    }
    _cleanup_(freep) char *why = NULL;
    for (size_t at = 1; i->line.argv[at] && !why; at++)
        if (i->line.argv[at][0] != '-' && i->line.argv[at][0] != '/' && i->line.world->exists(i->line.argv[at]))
            why = xasprintf("%s is there", i->line.argv[at]);
    if (str_equal(cwd, "/") || (!why && !because))
        return;
    i->working_dir = xstrdup(cwd);
    i->working_dir_why = xasprintf("Where the command was typed: %s", why ? why : because);
}

int init_guess(const InitWorld *world, const char *path, char *const *given, const char *name, const char *user,
               Init *ret, Error *e)
{
    Init i = {.known = known_program(path), .given = strv_copy(given)};
    i.line = (Cmdline){.world = world, .argv = strv_copy(given)};
    if (!i.line.argv)
        return error_set(e, -EINVAL, "no program is given");
    free(i.line.argv[0]);
    i.line.argv[0] = xstrdup(path);
    int r = 0;
    for (size_t k = 0; r == 0 && i.line.argv[k]; k++)
        if (strpbrk(i.line.argv[k], "\n\r"))
            r = error_set(
                e, -EINVAL,
                "word %zu of the command line holds a line break, which no ini file can: put it into a script", k + 1);
    if (r == 0)
        r = guess_name(&i, name, e);
    if (r < 0) {
        init_done(&i);
        return r;
    }
    if (i.known->adapt)
        i.known->adapt(&i.line);
    guess_user(&i, user);
    guess_ready(&i);
    guess_place(&i);
    if (i.known->unit) {
        _cleanup_(freep) char *pattern = xasprintf("/lib/systemd/system/%s", i.known->unit);
        _cleanup_(freep) char *unit = world->match(pattern);
        i.unit = unit ? xstrdup(base_name(unit)) : NULL;
    }
    *ret = i;
    return 0;
}

void init_done(Init *i)
{
    strv_free(i->given);
    cmdline_done(&i->line);
    free(i->name);
    free(i->user);
    free(i->user_why);
    free(i->ready);
    free(i->ready_why);
    free(i->working_dir);
    free(i->working_dir_why);
    free(i->unit);
    *i = (Init){0};
}

/* --- the file ----------------------------------------------------------------------------------------------------- */
static char *join_quoted(char *const *argv)
{
    _cleanup_strv_ char **words = NULL;
    STRV_FOREACH (word, argv)
        strv_push(&words, init_quote(*word));
    return strv_join(words, " ");
}

static void add_key(StrBuf *b, const char *key, const char *value)
{
    if (value)
        strbuf_addf(b, "%s = %s\n", key, value);
}

static void add_module(StrBuf *b, const Init *i)
{
    const KnownProgram *k = i->known;
    _cleanup_(freep) char *exec = join_quoted(i->line.argv);
    strbuf_adds(b, "[module]\n");
    add_key(b, "description", str_or(k->description, i->name));
    STRV_FOREACH (line, i->line.notes)
        strbuf_addf(b, "; %s.\n", *line);
    add_key(b, "exec", exec);
    if (k->pre) {
        const char *conf = cmdline_value(&i->line, k->pre_option);
        _cleanup_(freep) char *program = init_quote(i->line.argv[0]), *value = conf ? init_quote(conf) : NULL;
        strbuf_adds(b, "; A configuration that it does not take fails the start with its own words.\n");
        strbuf_addf(b, "exec_start_pre = %s %s%s%s%s%s\n", program, k->pre, value ? " " : "",
                    value ? k->pre_option : "", value ? " " : "", str_or(value, ""));
    }
    strbuf_addf(b, "; %s.\n", i->ready_why);
    add_key(b, "ready", i->ready);
    strbuf_addf(b, "; How it is asked to end, and how long it may take before it is killed%s%s.\n",
                k->stop_why ? ": " : "", str_or(k->stop_why, ""));
    add_key(b, "stop_signal", str_or(k->stop_signal, "TERM"));
    add_key(b, "stop_timeout", "30s");
    if (k->reload_signal)
        strbuf_addf(b, "; `bulkhead reload %s` makes it read its configuration again.\nreload_signal = %s\n", i->name,
                    k->reload_signal);
    if (k->runtime_directory || k->state_directory || k->logs_directory) {
        strbuf_adds(b, "; Made for the user below, in /run (removed when it stops), /var/lib and /var/log.\n");
        add_key(b, "runtime_directory", k->runtime_directory);
        add_key(b, "state_directory", k->state_directory);
        add_key(b, "logs_directory", k->logs_directory);
    } else if (!k->names) {
        strbuf_addf(b,
                    "; Directories made for the user below: in /run (removed when it stops), /var/lib and /var/log.\n"
                    ";runtime_directory = %s\n;state_directory = %s\n;logs_directory = %s\n",
                    i->name, i->name, i->name);
    }
    if (i->working_dir) {
        _cleanup_(freep) char *dir = escape_text(i->working_dir);
        if (i->working_dir_why)
            strbuf_addf(b, "; %s.\n", i->working_dir_why);
        add_key(b, "working_dir", dir);
    }
    if (!k->names || k->interpreter)
        strbuf_adds(b, "; What it finds in its environment, which is otherwise all but empty.\n;environment = "
                       "NAME=value, OTHER=value\n"
                       "; What must be ready before it starts: names of other modules.\n;requires = db\n");
}

static void add_limits(StrBuf *b)
{
    strbuf_adds(
        b, "\n[limits]\n"
           "; Nothing is limited yet. `bulkhead status` shows what it uses: allow twice that, and take the ; away.\n"
           ";memory_max = 512M\n"
           "; 100% is one CPU.\n"
           ";cpu_max = 100%\n"
           "; Threads count.\n"
           ";pids_max = 128\n");
}

static void add_work(StrBuf *b, const Init *i)
{
    bool track = i->known->track && (!i->known->interpreter || i->line.port > 0);
    strbuf_adds(b, "\n[work]\n");
    if (track) {
        strbuf_addf(b, "; A stop waits for the connections that are open, at most drain_hard%s.\n",
                    i->known->keeps_open ? ".\n; Clients keep theirs open, so waiting long would be for nothing" : "");
    } else {
        strbuf_adds(b, "; If it listens: a stop then waits for the connections that are open, at most drain_hard.\n");
    }
    strbuf_addf(b, "%strack = connections\n%sdrain_soft = %s\n%sdrain_hard = %s\n", track ? "" : ";", track ? "" : ";",
                i->known->keeps_open ? "1s" : "10s", track ? "" : ";", i->known->keeps_open ? "1s" : "30s");
}

static void add_sandbox(StrBuf *b, const Init *i)
{
    const KnownProgram *k = i->known;
    bool root = strcmp(i->user, "root") == 0;
    strbuf_addf(b, "\n[sandbox]\n; %s: %s.\n", i->user, i->user_why);
    add_key(b, "user", i->user);
    if (root && k->capabilities) {
        strbuf_addf(b, "; %c%s. Nothing else, root or not.\n", toupper((unsigned char)*k->capabilities_why),
                    k->capabilities_why + 1);
        add_key(b, "capabilities", k->capabilities);
    } else if (root) {
        strbuf_adds(b, "; Root can do without most of root's rights: name those that it needs.\n;capabilities = "
                       "net_bind_service\n");
    } else if (i->line.port > 0 && i->line.port < LOW_PORTS) {
        strbuf_addf(b, "; It listens on port %u, and below 1024 only who may listens.\n", i->line.port);
        add_key(b, "capabilities", "net_bind_service");
    } else {
        strbuf_adds(b, "; None of root's rights. To listen below port 1024: net_bind_service.\n");
        add_key(b, "capabilities", "none");
    }
    if (k->profile) {
        strbuf_addf(
            b, "; The system calls it may make; after one that is not among them `bulkhead explain %s` says which.\n",
            i->name);
        add_key(b, "profile", k->profile);
        if (k->allow)
            strbuf_addf(b, "; %c%s.\nallow = %s\n", toupper((unsigned char)*k->allow_why), k->allow_why + 1, k->allow);
    } else {
        strbuf_addf(b,
                    "; The system calls it may make: all, until a profile is named. Try network-server (it listens) or "
                    "worker;\n"
                    "; should that end it, `bulkhead explain %s` says which call it was and the line that allows "
                    "it.\n;profile = worker\n",
                    i->name);
    }
}

char *init_text(const Init *i)
{
    _cleanup_(freep) char *line = strv_join(i->given, " "), *shown = str_escape(line, strlen(line), SIZE_MAX);
    StrBuf b = STRBUF_NULL;
    strbuf_addf(&b,
                "; %s, made by `bulkhead init` from:\n"
                ";     %s\n"
                "; From now on the file is yours: what is supposed here is a guess, and says so. `man bulkhead.ini` "
                "has all keys,\n"
                "; `bulkhead check` finds mistakes.\n",
                i->name, shown);
    if (i->unit)
        strbuf_addf(&b,
                    "; Before it starts here, keep the package's own service from starting it too:\n;     systemctl "
                    "disable --now %.*s\n",
                    (int)(strlen(i->unit) - strlen(".service")), i->unit);
    strbuf_addc(&b, '\n');
    add_module(&b, i);
    add_limits(&b);
    add_work(&b, i);
    add_sandbox(&b, i);
    bool serves = i->known->names && !i->known->interpreter;
    strbuf_addf(&b,
                "\n[recovery]\n"
                "; Started again after an end that nobody asked for, first at once, then with growing pauses; 0: never "
                "given up.\n"
                "%s\nbackoff = 1s\nmax_backoff = 1m\nmax_attempts = 0\n",
                serves ? "restart = always"
                       : "; An exit with status 0 is taken for its last word: always starts it after that, "
                         "too.\nrestart = on-failure");
    return strbuf_take(&b);
}
