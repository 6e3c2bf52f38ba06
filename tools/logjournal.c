/* See logjournal.h. The journal's own matches choose identifiers and priorities; whose line it is is looked at line by
 * line, because a match cannot say "no unit". */
#include "tools/logjournal.h"

#include <errno.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "base/str.h"
#include "base/util.h"

#define IDENTIFIER "SYSLOG_IDENTIFIER="
#define PRIORITY   "PRIORITY="
#define UNIT       "_SYSTEMD_UNIT="
#define MESSAGE    "MESSAGE="

struct LogJournal {
    sd_journal *journal;
    char *scope; /* the unit of the modules */
    char *module;
};

LogJournal *log_journal_close(LogJournal *j)
{
    if (!j)
        return NULL;
    sd_journal_close(j->journal);
    free(j->scope);
    free(j->module);
    free(j);
    return NULL;
}

static int add_matches(sd_journal *j, char *const *identifiers, bool errors_only)
{
    int r = 0;
    STRV_FOREACH (identifier, identifiers) {
        _cleanup_(freep) char *match = xasprintf(IDENTIFIER "%s", *identifier);
        if (r >= 0)
            r = sd_journal_add_match(j, match, 0);
    }
    for (int p = 0; errors_only && p <= 3; p++) {
        _cleanup_(freep) char *match = xasprintf(PRIORITY "%d", p);
        if (r >= 0)
            r = sd_journal_add_match(j, match, 0); /* matches of one field are alternatives */
    }
    return r;
}

/* Files that may not be read are passed over by libsystemd in silence. */
static int check_readable(sd_journal *j, Error *e)
{
    if (sd_journal_has_runtime_files(j) > 0 || sd_journal_has_persistent_files(j) > 0)
        return 0;
    if (access("/run/log/journal", F_OK) < 0 && access("/var/log/journal", F_OK) < 0)
        return error_set(e, -ENOENT, "there is no journal on this host (log = file keeps a file)");
    return error_set(e, -EACCES, "you may not read the journal (be root, or in the group systemd-journal)");
}

int log_journal_open(const char *instance, char *const *identifiers, bool errors_only, LogJournal **ret, Error *e)
{
    _cleanup_(log_journal_closep) LogJournal *j = new0(LogJournal);
    j->scope = xasprintf("bulkhead-%s.scope", instance);
    int r = sd_journal_open(&j->journal, SD_JOURNAL_LOCAL_ONLY);
    if (r >= 0)
        r = sd_journal_set_data_threshold(j->journal, 0); /* whole lines */
    if (r >= 0)
        r = add_matches(j->journal, identifiers, errors_only);
    if (r < 0)
        return error_errno(e, r, "cannot open the journal");
    r = check_readable(j->journal, e);
    if (r == 0)
        *ret = TAKE_PTR(j);
    return r;
}

/* The field's value without its name, NULL when the entry has none. */
static const char *field(const LogJournal *j, const char *name, size_t *ret_n)
{
    _cleanup_(freep) char *key = xstrndup(name, strlen(name) - 1);
    const void *data;
    size_t n;
    if (sd_journal_get_data(j->journal, key, &data, &n) < 0 || n < strlen(name))
        return NULL;
    *ret_n = n - strlen(name);
    return (const char *)data + strlen(name);
}

static bool is_field(const char *value, size_t n, const char *expected)
{
    return n == strlen(expected) && memcmp(value, expected, n) == 0;
}

/* bulkhead.service: the daemon opened the stream, and journald falls back on who did. */
static bool is_ours(const LogJournal *j)
{
    size_t n = 0;
    const char *unit = field(j, UNIT, &n);
    return !unit || is_field(unit, n, j->scope) || is_field(unit, n, "bulkhead.service");
}

static uint64_t entry_time(const LogJournal *j)
{
    uint64_t usec = 0;
    (void)sd_journal_get_realtime_usec(j->journal, &usec);
    return usec;
}

int log_journal_seek(LogJournal *j, uint64_t since, uint64_t until, uint64_t lines)
{
    if (lines == UINT64_MAX)
        return since ? sd_journal_seek_realtime_usec(j->journal, since) : sd_journal_seek_head(j->journal);
    int r = until == UINT64_MAX ? sd_journal_seek_tail(j->journal) : sd_journal_seek_realtime_usec(j->journal, until);
    /* Back over as many, and then over one more, from which the next one is the first. */
    for (uint64_t left = lines; r >= 0;) {
        r = sd_journal_previous(j->journal);
        if (r == 0)
            return sd_journal_seek_head(j->journal);
        if (r > 0 && entry_time(j) < since)
            return sd_journal_seek_realtime_usec(j->journal, since);
        if (r > 0 && is_ours(j) && left-- == 0)
            return 0;
    }
    return r;
}

static void read_entry(LogJournal *j, LogEntry *ret)
{
    size_t n = 0;
    *ret = (LogEntry){.time = entry_time(j), .text = "", .priority = -1};
    const char *priority = field(j, PRIORITY, &n);
    if (priority && n == 1 && *priority >= '0' && *priority <= '7')
        ret->priority = *priority - '0';
    const char *module = field(j, IDENTIFIER, &n);
    free(j->module);
    ret->module = j->module = xstrndup(module ? module : "", module ? n : 0);
    const char *text = field(j, MESSAGE, &n); /* last: each call may take away what the one before gave */
    if (text) {
        ret->text = text;
        ret->n = n;
    }
}

int log_journal_next(LogJournal *j, LogEntry *ret)
{
    for (;;) {
        int r = sd_journal_next(j->journal);
        if (r <= 0)
            return r;
        if (!is_ours(j))
            continue;
        read_entry(j, ret);
        return 1;
    }
}

int log_journal_fd(LogJournal *j)
{
    return sd_journal_get_fd(j->journal);
}

void log_journal_woken(LogJournal *j)
{
    (void)sd_journal_process(j->journal);
}
