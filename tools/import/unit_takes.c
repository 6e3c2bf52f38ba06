/* The conversions of the table that look at their own line alone. See unit.h. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "policies/quantities.h"
#include "policies/words.h"
#include "tools/import/unit.h"

static void drop(UnitImport *u, const UnitRow *row, const FromLine *from, const char *why)
{
    _cleanup_(freep) char *section = row->to ? xstrndup(row->to, strcspn(row->to, ".")) : NULL;
    sketch_drop(u->s, section, from, "%s", why);
}

/* Carried, or changed where the row says that something differs. */
static void set(UnitImport *u, const UnitRow *row, const FromLine *from, const char *value)
{
    sketch_set(u->s, row->to, value, from, row->why ? IMPORT_CHANGED : IMPORT_CARRIED, row->why);
}

/* With its specifiers; NULL after a drop. */
static char *expanded(UnitImport *u, const UnitRow *row, const FromLine *from, bool keep_percent)
{
    Error e = {0};
    char *text = NULL;
    if (unit_specifiers(from->value, &u->names, keep_percent, &text, &e) < 0)
        drop(u, row, from, error_message(&e));
    return text;
}

UNIT_TAKE(take_text)
{
    _cleanup_(freep) char *text = expanded(u, row, from, false);
    if (text)
        set(u, row, from, text);
}

UNIT_TAKE(take_word)
{
    take_text(u, row, from);
}

UNIT_TAKE(take_yes_no)
{
    int yes = unit_boolean(from->value);
    if (yes < 0)
        drop(u, row, from, "it is neither yes nor no (yes, no)");
    else
        set(u, row, from, yes ? "yes" : "no");
}

UNIT_TAKE(take_remain)
{
    if (unit_boolean(from->value) == 1 && u->timer.n > 0)
        drop(u, row, from, "what stays done would not be started by its timer again");
    else if (unit_boolean(from->value) == 1 && !u->oneshot)
        drop(u, row, from, "what has ended is not running (if it is a job: type = oneshot)");
    else
        take_yes_no(u, row, from);
}

static bool read_time(UnitImport *u, const UnitRow *row, const FromLine *from, uint64_t *ret)
{
    if (unit_time(from->value, USEC_PER_SEC, ret) == 0)
        return true;
    drop(u, row, from, "it is no time (5s, 1min 30s)");
    return false;
}

UNIT_TAKE(take_time)
{
    uint64_t usec = 0;
    if (!read_time(u, row, from, &usec))
        return;
    _cleanup_(freep) char *value = import_time(usec);
    set(u, row, from, value);
}

UNIT_TAKE(take_time_0_infinite)
{
    uint64_t usec = 0;
    if (!read_time(u, row, from, &usec))
        return;
    _cleanup_(freep) char *value = import_time(usec == 0 ? USEC_INFINITY : usec);
    set(u, row, from, value);
}

/* Says how a timer keeps its times, which may be such as are dropped. */
UNIT_TAKE(take_timer_how)
{
    if (sketch_knows(row->to) && !sketch_get(u->s, "timer.on_calendar") && !sketch_get(u->s, "timer.every"))
        drop(u, row, from, "no time of the timer was carried over (on_calendar or every)");
    else if (strcmp(row->to, "timer.persistent") == 0)
        take_yes_no(u, row, from);
    else
        take_time(u, row, from);
}

/* Start and stop at once. */
UNIT_TAKE(take_timeout)
{
    uint64_t usec = 0;
    if (!read_time(u, row, from, &usec))
        return;
    _cleanup_(freep) char *value = import_time(usec == 0 ? USEC_INFINITY : usec);
    if (sketch_set(u->s, "module.start_timeout", value, from, IMPORT_CARRIED, NULL))
        sketch_own(u->s, "module.stop_timeout", value, NULL);
}

UNIT_TAKE(take_size)
{
    uint64_t bytes = 0;
    size_t n = strlen(from->value);
    if (n > 0 && from->value[n - 1] == '%') {
        drop(u, row, from, "a share of the host's memory is not known here (say it as a size: 512M)");
    } else if (unit_size(from->value, &bytes) < 0) {
        drop(u, row, from, "it is no size (64M, 1G, infinity)");
    } else {
        _cleanup_(freep) char *value = import_size(bytes);
        set(u, row, from, value);
    }
}

/* "150%", or a word of the key's own. */
UNIT_TAKE(take_percent_or_word)
{
    set(u, row, from, from->value);
}

UNIT_TAKE(take_count)
{
    size_t n = strlen(from->value);
    if (n > 0 && from->value[n - 1] == '%')
        drop(u, row, from, "a share of the host's is not known here (say it as a number)");
    else
        set(u, row, from, from->value);
}

UNIT_TAKE(take_umask)
{
    const char *digits = from->value + strspn(from->value, "0");
    _cleanup_(freep) char *value = xasprintf("%04lo", strtoul(str_or(digits, "0"), NULL, 8) & 07777ul);
    if (from->value[strspn(from->value, "01234567")] || !*from->value)
        drop(u, row, from, "it is no octal mode (0022)");
    else
        set(u, row, from, value);
}

UNIT_TAKE(take_signal)
{
    const char *name = from->value + (str_starts(from->value, "SIG") ? 3 : 0);
    if (sketch_get(u->s, row->to))
        drop(u, row, from, "the command that systemd runs first says so already");
    else if (strcmp(row->to, "module.reload_signal") == 0 && sketch_get(u->s, "module.exec_reload"))
        drop(u, row, from, "exec_reload holds the commands that a reload runs");
    else
        set(u, row, from, name);
}

/* Words parted by blanks become items; of "dir:link" the link falls away. */
UNIT_TAKE(take_names)
{
    Error e = {0};
    _cleanup_strv_ char **words = NULL;
    _cleanup_strbuf_ StrBuf b = STRBUF_NULL;
    bool links = false;
    if (unit_words(from->value, &words, NULL, &e) < 0) {
        drop(u, row, from, error_message(&e));
        return;
    }
    const char *before = sketch_get(u->s, row->to);
    if (before)
        strbuf_adds(&b, before);
    STRV_FOREACH (w, words) {
        _cleanup_(freep) char *text = NULL;
        if (unit_specifiers(*w, &u->names, str_starts(row->to, "module."), &text, &e) < 0) {
            drop(u, row, from, error_message(&e));
            return;
        }
        char *colon = strchr(text, ':');
        if (colon)
            *colon = '\0';
        links |= colon != NULL;
        import_add_item(&b, text);
    }
    sketch_set(u->s, row->to, str_or(b.s, ""), from, links ? IMPORT_CHANGED : IMPORT_CARRIED,
               links ? "without the links (exec_start_pre = /bin/ln -sfn makes them)" : NULL);
}

/* Paths, which may begin with - or +. */
UNIT_TAKE(take_paths)
{
    take_names(u, row, from);
}

UNIT_TAKE(take_cpus)
{
    _cleanup_strbuf_ StrBuf b = STRBUF_NULL;
    for (const char *p = from->value; *p; p++)
        if (*p != ' ' && *p != ',')
            strbuf_addc(&b, *p);
        else if (b.len > 0 && b.s[b.len - 1] != ',')
            strbuf_addc(&b, ',');
    if (b.len > 0 && b.s[b.len - 1] == ',')
        b.s[--b.len] = '\0';
    set(u, row, from, str_or(b.s, ""));
}

/* A part of "soft:hard", in the key's own kind. NULL: not that. */
static char *rlimit_part(const Key *k, const char *s)
{
    uint64_t v = 0;
    if (strcmp(s, "infinity") == 0)
        return xstrdup(s);
    if (str_equal(k->name, "nice_limit") && (s[0] == '+' || s[0] == '-')) {
        if (parse_u64(s + 1, &v) < 0 || v > 20)
            return NULL;
        return xasprintf("%" PRIu64, s[0] == '+' ? 20 - v : 20 + v);
    }
    if (k->kind == VALUE_RLIMIT_SEC || k->kind == VALUE_RLIMIT_USEC) {
        if (unit_time(s, k->kind == VALUE_RLIMIT_SEC ? USEC_PER_SEC : 1, &v) < 0)
            return NULL;
        return import_time(v);
    }
    if (unit_size(s, &v) < 0)
        return NULL;
    return k->kind == VALUE_RLIMIT_SIZE ? import_size(v) : xasprintf("%" PRIu64, v);
}

UNIT_TAKE(take_rlimit)
{
    const Key *k = key_find_dotted(row->to);
    const char *colon = strchr(from->value, ':');
    _cleanup_(freep) char *low = xstrndup(from->value, colon ? (size_t)(colon - from->value) : strlen(from->value));
    _cleanup_(freep) char *soft = k ? rlimit_part(k, low) : NULL, *hard = k && colon ? rlimit_part(k, colon + 1) : NULL;
    _cleanup_(freep) char *value = colon && soft && hard ? xasprintf("%s:%s", soft, hard) : soft ? xstrdup(soft) : NULL;
    if (!soft || (colon && !hard))
        drop(u, row, from, "it is no limit (1024, 1024:4096, infinity)");
    else
        set(u, row, from, value);
}

UNIT_TAKE(take_working_dir)
{
    FromLine rest = *from;
    rest.value += rest.value[0] == '-';
    _cleanup_(freep) char *path = expanded(u, row, &rest, true);
    if (!path)
        return;
    if (path[0] == '~')
        drop(u, row, from, "the home directory must be written out (working_dir = /home/name)");
    else if (rest.value != from->value)
        sketch_set(u->s, row->to, path, from, IMPORT_CHANGED, "it must be there");
    else
        set(u, row, from, path);
}

/* cpu.shares, whose default is 1024, to a weight, whose default is 100. */
UNIT_TAKE(take_shares)
{
    uint64_t shares = 0;
    if (parse_u64(from->value, &shares) < 0) {
        drop(u, row, from, "it is no number");
        return;
    }
    uint64_t weight = MIN2(MAX2(shares * 100 / 1024, (uint64_t)1), (uint64_t)10000);
    _cleanup_(freep) char *value = xasprintf("%" PRIu64, weight);
    set(u, row, from, value);
}

UNIT_TAKE(take_oom_policy)
{
    if (strcmp(from->value, "kill") == 0)
        sketch_set(u->s, row->to, "yes", from, IMPORT_CARRIED, NULL);
    else if (strcmp(from->value, "continue") == 0)
        sketch_set(u->s, row->to, "no", from, IMPORT_CARRIED, NULL);
    else
        drop(u, row, from,
             "an end of the main process ends the module; of another one it does not (oom_group = yes kills all)");
}

UNIT_TAKE(take_output)
{
    static const struct {
        const char *word, *value, *why;
    } targets[] = {
        {"journal", "journal", NULL},
        {"null", "null", NULL},
        {"inherit", NULL, "the default of bulkheadd is meant"},
        {"syslog", "journal", "syslog reads the journal"},
        {"kmsg", "journal", "the kernel's log is not written to"},
        {"journal+console", "journal", "nothing goes to the console"},
        {"kmsg+console", "journal", "nothing goes to the console"},
        {"syslog+console", "journal", "nothing goes to the console"},
    };
    for (size_t i = 0; i < ELEMENTS(targets); i++) {
        if (strcmp(targets[i].word, from->value) != 0)
            continue;
        if (targets[i].value)
            sketch_set(u->s, row->to, targets[i].value, from, targets[i].why ? IMPORT_CHANGED : IMPORT_CARRIED,
                       targets[i].why);
        else
            sketch_fits(u->s, from, targets[i].why);
        return;
    }
    if (str_starts(from->value, "file:") || str_starts(from->value, "append:") || str_starts(from->value, "truncate:"))
        sketch_set(u->s, row->to, "file", from, IMPORT_CHANGED,
                   "the file is NAME.log in the directory of logs, and appended to (bulkhead logs shows it)");
    else
        drop(
            u, row, from,
            "output goes to the journal, a file, nowhere, or where bulkheadd's goes (log = journal|file|null|inherit)");
}

/* "why" holds the value that says what is so anyway, a '|', and the reason why any other is dropped. */
UNIT_TAKE(take_fits_if)
{
    const char *bar = strchr(row->why, '|');
    _cleanup_(freep) char *same = xstrndup(row->why, (size_t)(bar - row->why));
    int mine = unit_boolean(same), yours = unit_boolean(from->value);
    if (strcmp(same, from->value) == 0 || (mine >= 0 && mine == yours))
        sketch_fits(u->s, from, "so it is anyway");
    else
        drop(u, row, from, bar + 1);
}

UNIT_TAKE(take_fits)
{
    sketch_fits(u->s, from, row->why);
}

UNIT_TAKE(take_directory_mode)
{
    if (strtoul(from->value, NULL, 8) == 0755)
        sketch_fits(u->s, from, "so it is anyway");
    else
        drop(u, row, from, "directories are made 0755 (exec_start_pre = /bin/chmod MODE DIRECTORY, by the owner)");
}

UNIT_TAKE(take_restart)
{
    static const struct {
        const char *word, *value, *why;
    } whens[] = {
        {"no", "no", NULL},
        {"always", "always", NULL},
        {"on-failure", "on-failure", NULL},
        {"on-abnormal", "on-failure", "a bad exit status counts as well"},
        {"on-abort", "on-failure", "a bad exit status and a time-out count as well"},
        {"on-watchdog", "on-failure", "a bad exit status and a signal count as well"},
    };
    if (u->oneshot && strcmp(from->value, "always") == 0) {
        sketch_set(u->s, row->to, "on-failure", from, IMPORT_CHANGED, "a job that always starts again is never done");
        return;
    }
    for (size_t i = 0; i < ELEMENTS(whens); i++)
        if (strcmp(whens[i].word, from->value) == 0) {
            sketch_set(u->s, row->to, whens[i].value, from, whens[i].why ? IMPORT_CHANGED : IMPORT_CARRIED,
                       whens[i].why);
            u->restarts = strcmp(whens[i].value, "no") != 0;
            return;
        }
    drop(u, row, from, "only failures, or all ends, start it again (restart = on-failure|always|no)");
}

UNIT_TAKE(take_restart_sec)
{
    uint64_t usec = 0;
    if (!read_time(u, row, from, &usec))
        return;
    _cleanup_(freep) char *value = import_time(usec);
    if (!sketch_set(u->s, "recovery.backoff", value, from, IMPORT_CHANGED,
                    "the first restart after a healthy run is at once, further ones after this"))
        return;
    sketch_own(u->s, "recovery.factor", "1", NULL);
    if (usec > 5 * 60 * USEC_PER_SEC)
        sketch_own(u->s, "recovery.max_backoff", value, NULL);
}

UNIT_TAKE(take_limit_burst)
{
    uint64_t n = 0;
    if (u->limit_interval.file && strcmp(u->limit_interval.value, "0") == 0)
        drop(u, row, from, "the interval of 0 takes the limit away");
    else if (parse_u64(from->value, &n) < 0)
        drop(u, row, from, "it is no number");
    else
        sketch_set(u->s, "recovery.max_attempts", from->value, from, IMPORT_CHANGED,
                   "attempts since the last healthy run are counted, whatever time they take");
}

UNIT_TAKE(take_limit_interval)
{
    uint64_t usec = 1;
    if (unit_time(from->value, USEC_PER_SEC, &usec) == 0 && usec == 0) {
        u->limit_interval = *from;
        sketch_set(u->s, "recovery.max_attempts", "0", from, IMPORT_CARRIED, NULL);
    } else {
        drop(u, row, from, "attempts are counted from the last healthy run (recovery.reset_after says what is one)");
    }
}

static int exit_status(const char *s)
{
    static const struct {
        const char *name;
        int code;
    } names[] = {
        {"SUCCESS", 0},      {"FAILURE", 1},       {"INVALIDARGUMENT", 2}, {"NOTIMPLEMENTED", 3}, {"NOPERMISSION", 4},
        {"NOTINSTALLED", 5}, {"NOTCONFIGURED", 6}, {"NOTRUNNING", 7},      {"USAGE", 64},         {"DATAERR", 65},
        {"NOINPUT", 66},     {"NOUSER", 67},       {"NOHOST", 68},         {"UNAVAILABLE", 69},   {"SOFTWARE", 70},
        {"OSERR", 71},       {"OSFILE", 72},       {"CANTCREAT", 73},      {"IOERR", 74},         {"TEMPFAIL", 75},
        {"PROTOCOL", 76},    {"NOPERM", 77},       {"CONFIG", 78},
    };
    uint64_t v = 0;
    for (size_t i = 0; i < ELEMENTS(names); i++)
        if (strcmp(names[i].name, s) == 0)
            return names[i].code;
    return parse_u64(s, &v) == 0 && v <= 255 ? (int)v : -EINVAL;
}

UNIT_TAKE(take_success)
{
    _cleanup_strv_ char **words = NULL;
    if (unit_words(from->value, &words, NULL, NULL) < 0)
        return;
    _cleanup_strbuf_ StrBuf b = STRBUF_NULL;
    const char *before = sketch_get(u->s, row->to);
    strbuf_adds(&b, str_or(before, ""));
    STRV_FOREACH (w, words) {
        int code = exit_status(*w);
        if (code < 0 && value_signal(*w, NULL) < 0) {
            sketch_drop(u->s, "module", from, "%s is neither an exit status nor a signal (0 to 255, SIGTERM)", *w);
            return;
        }
        _cleanup_(freep) char *item = code >= 0 ? xasprintf("%d", code) : xstrdup(*w);
        import_add_item(&b, item);
    }
    set(u, row, from, str_or(b.s, ""));
}

UNIT_TAKE(take_kill_mode)
{
    const char *v = from->value;
    if (strcmp(v, "mixed") == 0)
        sketch_fits(u->s, from, "so it is anyway");
    else if (strcmp(v, "control-group") == 0)
        sketch_fits(u->s, from, "the main process is asked to end first, then all others");
    else if (strcmp(v, "process") == 0)
        drop(u, row, from, "no process outlives its module: what it has started ends with it, sessions and jobs too");
    else
        drop(u, row, from, "no process outlives its module");
}
