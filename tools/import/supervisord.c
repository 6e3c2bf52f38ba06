/* supervisord.conf: its syntax, which is that of Python's ConfigParser with comments behind " ;", %(NAME)s in values,
 * [include]; and a table of what the options of [program:x] are here. inih reads none of the three, nor do ours mean
 * the same by a comment, so the reader is one of its own. See import.h. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "policies/environment.h"
#include "policies/words.h"
#include "tools/import/command.h"
#include "tools/import/supervisord.h"

/* What an expansion that means our %i is until the value is quoted. */
#define INSTANCE_MARK "\001"

/* --- syntax ------------------------------------------------------------------------------------------------------- */
static char *trimmed(const char *s, size_t n)
{
    while (n > 0 && isspace((unsigned char)*s)) {
        s++;
        n--;
    }
    while (n > 0 && isspace((unsigned char)s[n - 1]))
        n--;
    return xstrndup(s, n);
}

/* Up to a comment: ; or # at the beginning or after a blank. */
static size_t without_comment(const char *line, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((line[i] == ';' || line[i] == '#') && (i == 0 || isspace((unsigned char)line[i - 1])))
            return i;
    return n;
}

static void take_line(UnitEntries *entries, char **section, const char *line, size_t n, const char *file,
                      unsigned number)
{
    bool indented = n > 0 && isspace((unsigned char)line[0]);
    _cleanup_(freep) char *s = trimmed(line, without_comment(line, n));
    if (!*s)
        return;
    if (indented && entries->n > 0 && entries->items[entries->n - 1].key &&
        entries->items[entries->n - 1].file == file) {
        UnitEntry *last = &entries->items[entries->n - 1];
        char *both = xasprintf("%s\n%s", last->value, s);
        free(last->value);
        last->value = both;
        return;
    }
    UnitEntry *e = &ARRAY_PUSH(entries->items, entries->n);
    const char *close = s[0] == '[' ? strchr(s, ']') : NULL;
    size_t key = strcspn(s, "=:");
    if (close) {
        free(*section);
        *section = xstrndup(s + 1, (size_t)(close - s) - 1);
    }
    bool assignment = !close && s[key] && key > 0;
    *e = (UnitEntry){.section = xstrdup(*section), .value = xstrdup(s), .file = file, .line = number};
    if (!assignment)
        return;
    free(e->value);
    e->key = trimmed(s, key);
    for (char *p = e->key; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    e->value = trimmed(s + key + 1, strlen(s + key + 1));
}

void supervisord_parse(const char *text, const char *file, UnitEntries *entries)
{
    _cleanup_(freep) char *section = xstrdup("");
    unsigned number = 0;
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "\n");
        take_line(entries, &section, p, n, file, ++number);
        p += n + (p[n] == '\n');
    }
}

bool supervisord_looks_so(const char *text)
{
    static const char *const sections[] = {
        "[program:", "[supervisord]", "[group:", "[eventlistener:", "[fcgi-program:", "[include]"};
    for (size_t i = 0; i < ELEMENTS(sections); i++)
        for (const char *at = text; (at = strstr(at, sections[i])); at++)
            if (at == text || at[-1] == '\n')
                return true;
    return false;
}

/* --- values ------------------------------------------------------------------------------------------------------- */
static const char *with_percent(const Program *p, const char *name, size_t n, char *buffer, size_t size)
{
    static const char *const fixed[] = {"program_name", "group_name", "here",
                                        "process_num",  "numprocs",   "host_node_name"};
    const char *const values[] = {p->name, p->group, p->here, p->many ? INSTANCE_MARK : "0", p->count, NULL};
    for (size_t i = 0; i < ELEMENTS(fixed); i++) {
        if (strlen(fixed[i]) != n || strncmp(fixed[i], name, n) != 0)
            continue;
        if (values[i] || gethostname(buffer, size) < 0)
            return values[i];
        buffer[size - 1] = '\0';
        return buffer;
    }
    if (n > 4 && n < size && strncmp(name, "ENV_", 4) == 0) {
        memcpy(buffer, name + 4, n - 4);
        buffer[n - 4] = '\0';
        return getenv(buffer);
    }
    return NULL;
}

int supervisord_expand(const Program *p, const char *value, char **ret, Error *e)
{
    _cleanup_strbuf_ StrBuf b = STRBUF_NULL;
    for (const char *s = value; *s; s++) {
        char buffer[256];
        const char *close = s[0] == '%' && s[1] == '(' ? strchr(s, ')') : NULL;
        if (s[0] == '%' && s[1] == '%') {
            strbuf_addc(&b, '%');
            s++;
        } else if (close) {
            const char *text = with_percent(p, s + 2, (size_t)(close - s) - 2, buffer, sizeof buffer);
            if (!text)
                return error_set(e, -EINVAL,
                                 "%.*s stands for nothing here (set it while importing, or write its value)",
                                 (int)(close + 2 - s), s);
            strbuf_adds(&b, text);
            s = close + 1 + strspn(close + 1, "0123456789");
            if (*s != 's' && *s != 'd')
                return error_set(e, -EINVAL, "%%(NAME) ends with s or d");
        } else {
            strbuf_addc(&b, *s);
        }
    }
    *ret = strbuf_take(&b);
    return 0;
}

/* % doubled, and the mark made into %i. */
static char *ours(const char *text, bool dollars)
{
    _cleanup_(freep) char *literal = import_literal(text, dollars);
    StrBuf b = STRBUF_NULL;
    for (const char *p = literal; *p; p++)
        if (*p == INSTANCE_MARK[0])
            strbuf_adds(&b, "%i");
        else
            strbuf_addc(&b, *p);
    return strbuf_take(&b);
}

static char *expanded(Program *p, const ProgramRow *row, const FromLine *from)
{
    Error e = {0};
    char *text = NULL;
    if (supervisord_expand(p, from->value, &text, &e) < 0) {
        _cleanup_(freep) char *section = row->to ? xstrndup(row->to, strcspn(row->to, ".")) : NULL;
        sketch_drop(p->s, section, from, "%s", error_message(&e));
    }
    return text;
}

#define TAKE(name) static void name(Program *p, const ProgramRow *row, const FromLine *from)

static void set(Program *p, const ProgramRow *row, const FromLine *from, const char *value)
{
    sketch_set(p->s, row->to, value, from, row->why ? IMPORT_CHANGED : IMPORT_CARRIED, row->why);
}

TAKE(take_command)
{
    Error e = {0};
    _cleanup_(freep) char *text = expanded(p, row, from), *why = NULL;
    _cleanup_strv_ char **words = NULL, **argv = NULL;
    if (!text)
        return;
    for (char *c = text; *c; c++)
        *c = *c == '\n' ? ' ' : *c;
    if (words_split(text, WORDS_BLANKS, &words, &e) < 0 || !words) {
        sketch_drop(p->s, "module", from, "%s", words ? error_message(&e) : "there is no program in it");
        return;
    }
    STRV_FOREACH (w, words)
        strv_push(&argv, ours(*w, false));
    ForeignCommand c = {.argv = argv, .literal = true, .from = *from};
    _cleanup_(freep) char *value = command_text(&c, NULL, &why);
    if (p->many && strstr(value, "%i") && !why)
        why = xstrdup("%i counts from 1");
    sketch_set(p->s, row->to, value, from, why ? IMPORT_CHANGED : IMPORT_CARRIED, why);
}

TAKE(take_text)
{
    _cleanup_(freep) char *text = expanded(p, row, from), *value = text ? ours(text, false) : NULL;
    if (value)
        set(p, row, from, value);
}

TAKE(take_start)
{
    int yes = unit_boolean(from->value);
    if (yes == 1)
        sketch_fits(p->s, from, "so it is anyway");
    else
        set(p, row, from, "manual");
}

TAKE(take_restart)
{
    int yes = unit_boolean(from->value);
    if (strcasecmp(from->value, "unexpected") == 0)
        set(p, row, from, "on-failure");
    else if (yes >= 0)
        set(p, row, from, yes ? "always" : "no");
    else
        sketch_drop(p->s, "recovery", from, "it is neither true, false nor unexpected");
}

TAKE(take_seconds)
{
    uint64_t usec = 0;
    if (unit_time(from->value, USEC_PER_SEC, &usec) < 0) {
        sketch_drop(p->s, "module", from, "it is no number of seconds");
        return;
    }
    _cleanup_(freep) char *value = import_time(usec);
    set(p, row, from, value);
}

TAKE(take_list)
{
    _cleanup_strbuf_ StrBuf b = STRBUF_NULL;
    for (const char *s = from->value; *s; s += *s == ',') {
        _cleanup_(freep) char *item = trimmed(s, strcspn(s, ","));
        if (*item)
            import_add_item(&b, item);
        s += strcspn(s, ",");
    }
    set(p, row, from, str_or(b.s, ""));
}

TAKE(take_size)
{
    uint64_t bytes = 0;
    size_t n = strlen(from->value);
    bool b = n > 2 && (from->value[n - 1] == 'B' || from->value[n - 1] == 'b');
    _cleanup_(freep) char *number = xstrndup(from->value, n - b);
    for (char *c = number; *c; c++)
        *c = (char)toupper((unsigned char)*c);
    if (unit_size(number, &bytes) < 0) {
        sketch_drop(p->s, "module", from, "it is no size (50MB)");
        return;
    }
    _cleanup_(freep) char *value = import_size(bytes == 0 ? UINT64_MAX : bytes);
    set(p, row, from, value);
}

TAKE(take_logfile)
{
    static const struct {
        const char *word, *value;
    } words[] = {{"NONE", "null"},           {"/dev/null", "null"},    {"/dev/stdout", "inherit"},
                 {"/dev/stderr", "inherit"}, {"/dev/fd/1", "inherit"}, {"/dev/fd/2", "inherit"},
                 {"syslog", "journal"}};
    _cleanup_(freep) char *text = expanded(p, row, from);
    if (!text)
        return;
    for (size_t i = 0; i < ELEMENTS(words); i++)
        if (strcasecmp(words[i].word, text) == 0) {
            set(p, row, from, words[i].value);
            return;
        }
    sketch_set(p->s, row->to, "file", from, IMPORT_CHANGED,
               "the file is NAME.log in the directory of logs (bulkhead logs shows it)");
}

TAKE(take_syslog)
{
    if (unit_boolean(from->value) == 1)
        set(p, row, from, "journal");
    else
        sketch_fits(p->s, from, "so it is anyway");
}

TAKE(take_fits)
{
    sketch_fits(p->s, from, row->why);
}

TAKE(take_umask)
{
    _cleanup_(freep) char *value = xasprintf("%04lo", strtoul(from->value, NULL, 8) & 07777ul);
    set(p, row, from, value);
}

TAKE(take_count)
{
    if (p->many)
        sketch_set(p->s, row->to, from->value, from, IMPORT_CHANGED, "they are called NAME@1 and so on");
    else
        sketch_fits(p->s, from, "so it is anyway");
}

/* A="x",B=y, also over several lines. */
static int split_environment(const char *text, char ***ret, Error *e)
{
    _cleanup_(freep) char *flat = xstrdup(text);
    size_t n = strlen(flat);
    for (char *c = flat; *c; c++)
        *c = *c == '\n' ? ' ' : *c;
    while (n > 0 && (flat[n - 1] == ',' || flat[n - 1] == ' '))
        flat[--n] = '\0';
    return words_split(flat, WORDS_COMMAS, ret, e);
}

TAKE(take_environment)
{
    Error e = {0};
    _cleanup_(freep) char *text = expanded(p, row, from);
    _cleanup_strv_ char **items = NULL;
    _cleanup_strbuf_ StrBuf b = STRBUF_NULL;
    if (!text)
        return;
    if (split_environment(text, &items, &e) < 0) {
        sketch_drop(p->s, "module", from, "%s", error_message(&e));
        return;
    }
    char **all = environment_merge(p->variables, items);
    strv_free(p->variables);
    p->variables = all;
    STRV_FOREACH (v, all) {
        _cleanup_(freep) char *value = ours(*v, false);
        import_add_item(&b, value);
    }
    if (b.len > 0)
        set(p, row, from, b.s);
    else
        sketch_fits(p->s, from, "so it is anyway");
}

/* --- options ------------------------------------------------------------------------------------------------------ */
/* clang-format off */
#define EVENTS "what it writes is logged, and no event made of it"
const ProgramRow program_rows[] = {
    {"command", take_command, "module.exec", NULL},
    {"process_name", take_fits, NULL, "a module has one name, its instances NAME@1 and so on"},
    {"numprocs", take_count, "module.instances", NULL},
    {"numprocs_start", NULL, "module", "instances count from 1"},
    {"priority", NULL, "module", "the order comes from what waits for what (requires, wants or after)"},
    {"autostart", take_start, "module.start", NULL},
    {"startsecs", NULL, "module", "a time says nothing about being ready (ready = tcp:PORT, unix:PATH or notify; recovery.reset_after says how long a healthy run is)"},
    {"startretries", take_text, "recovery.max_attempts", NULL},
    {"autorestart", take_restart, "recovery.restart", NULL},
    {"exitcodes", take_list, "module.success_exit_status", NULL},
    {"stopsignal", take_text, "module.stop_signal", NULL},
    {"stopwaitsecs", take_seconds, "module.stop_timeout", NULL},
    {"stopasgroup", take_fits, NULL, "the main process is asked to end first, then all others of the module"},
    {"killasgroup", take_fits, NULL, "no process outlives its module"},
    {"user", take_text, "sandbox.user", NULL},
    {"redirect_stderr", take_fits, NULL, "the log takes both unless log_stderr says otherwise"},
    {"stdout_logfile", take_logfile, "module.log", NULL},
    {"stdout_logfile_maxbytes", take_size, "module.log_max_size", NULL},
    {"stdout_logfile_backups", take_text, "module.log_keep", NULL},
    {"stdout_capture_maxbytes", NULL, "module", EVENTS},
    {"stdout_events_enabled", NULL, "module", EVENTS},
    {"stdout_syslog", take_syslog, "module.log", NULL},
    {"stderr_logfile", take_logfile, "module.log_stderr", NULL},
    {"stderr_logfile_maxbytes", NULL, "module", "log_max_size holds for both files"},
    {"stderr_logfile_backups", NULL, "module", "log_keep holds for both files"},
    {"stderr_capture_maxbytes", NULL, "module", EVENTS},
    {"stderr_events_enabled", NULL, "module", EVENTS},
    {"stderr_syslog", take_syslog, "module.log_stderr", NULL},
    {"environment", take_environment, "module.environment", NULL},
    {"directory", take_text, "module.working_dir", NULL},
    {"umask", take_umask, "module.umask", NULL},
    {"serverurl", NULL, "module", "there is no XML-RPC (the D-Bus socket is /run/bulkhead/NAME/bus)"},
    /* Of [fcgi-program:x] alone. */
    {"socket", NULL, "module", "a socket as its standard input is not made (the program listens itself, or listen hands one over as LISTEN_FDS)"},
    {"socket_backlog", NULL, "module", "the backlog is the kernel's greatest (net.core.somaxconn)"},
    {"socket_owner", NULL, "module", "the module's user owns its sockets"},
    {"socket_mode", NULL, "module", "a socket's directory bounds who gets there"},
};
/* clang-format on */
const size_t program_rows_n = ELEMENTS(program_rows);

const ProgramRow *program_row(const char *name)
{
    for (size_t i = 0; i < program_rows_n; i++)
        if (strcmp(program_rows[i].name, name) == 0)
            return &program_rows[i];
    return NULL;
}

static void unknown_option(Program *p, const FromLine *from)
{
    const char *names[ELEMENTS(program_rows)];
    for (size_t i = 0; i < program_rows_n; i++)
        names[i] = program_rows[i].name;
    const char *near = str_nearest(from->key, names, program_rows_n);
    if (near)
        sketch_drop(p->s, NULL, from, "supervisord knows no such option of a program (did you mean %s?)", near);
    else
        sketch_drop(p->s, NULL, from, "supervisord knows no such option of a program");
}

void program_import(Program *p, const UnitEntry *entries, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const UnitEntry *x = &entries[i];
        const FromLine from = {x->file, x->line, x->key ? x->key : x->value, x->key ? x->value : NULL};
        const ProgramRow *row = x->key ? program_row(x->key) : NULL;
        if (!x->key && x->value[0] == '[')
            continue;
        if (!x->key)
            sketch_drop(p->s, NULL, &from, "the line is no option=value");
        else if (!row)
            unknown_option(p, &from);
        else if (!row->take)
            sketch_drop(p->s, row->to, &from, "%s", row->why);
        else
            row->take(p, row, &from);
    }
    if (!sketch_get(p->s, "sandbox.user"))
        sketch_own(p->s, "sandbox.user", str_or(p->user, "root"),
                   p->user ? "the user of [supervisord]"
                           : "there is no user= in it, so it runs as supervisord does: as root");
}
