/* `bulkhead logs`: the modules' logs through descriptors the daemon opened, so that readers need no right on the files;
 * and what modules have written to the journal, which the reader must have a right to. One after the other, the journal
 * last; in order of time they come only as they are followed.
 *
 * Following waits by inotify on the live files, and looks every second for one that was made anew. Where inotify is
 * refused (a reader who may not open the file himself) it looks four times a second. The journal has a descriptor. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "tools/client.h"
#include "tools/logfile.h"
#include "tools/logjournal.h"
#include "tools/term.h"

enum { BLOCK = 64 * 1024, LOOK_MSEC = 250, ANEW_MSEC = 1000, FOLLOW_LINES = 10, LINE_MAX_BYTES = 1 << 20 };

typedef struct Source {
    LogStream stream;
    uint64_t at, until;
    bool prefixed;
    StrBuf rest; /* a line that is not whole yet: only where lines are taken apart */
} Source;

/* `time` 0, `stream` NULL, `priority` -1: not known. */
static void put_json(uint64_t time, const char *module, const char *stream, int priority, const char *line, size_t n)
{
    json_t *text = json_stringn(line, n);
    if (!text) { /* no UTF-8 */
        _cleanup_(freep) char *shown = str_escape(line, n, SIZE_MAX);
        text = json_string(shown);
    }
    _cleanup_json_ json_t *o =
        json_pack("{s:o,s:s,s:o,s:o,s:o}", "time_usec", time ? json_integer((json_int_t)time) : json_null(), "module",
                  module, "stream", stream ? json_string(stream) : json_null(), "priority",
                  priority >= 0 ? json_integer(priority) : json_null(), "text", text);
    _cleanup_(freep) char *said = json_dumps(o, JSON_COMPACT);
    puts(said ? said : "{}");
}

static void put_prefix(const char *module)
{
    const char *on = term()->colours ? "\033[36m" : "", *off = term()->colours ? "\033[0m" : "";
    printf("%s%s%s | ", on, module, off);
}

static void put_line(const Source *s, bool json, const char *line, size_t n)
{
    if (json) {
        put_json(0, s->stream.module, s->stream.name, -1, line, n);
        return;
    }
    put_prefix(s->stream.module);
    term_put(line, n);
    putchar('\n');
}

/* As a line of a file, with the time that the journal knows before it. */
static void put_entry(const LogEntry *e, bool json, bool prefixed)
{
    if (json) {
        put_json(e->time, e->module, NULL, e->priority, e->text, e->n);
        return;
    }
    time_t seconds = (time_t)(e->time / USEC_PER_SEC);
    struct tm tm;
    char text[32];
    if (prefixed)
        put_prefix(e->module);
    if (localtime_r(&seconds, &tm) && strftime(text, sizeof text, "%b %d %H:%M:%S ", &tm))
        fputs(text, stdout);
    term_put(e->text, e->n);
    putchar('\n');
}

/* What is of several modules, or is to be JSON, is taken apart by lines; else it passes as it is. */
static void put_text(Source *s, bool json, const char *data, size_t n)
{
    if (!s->prefixed && !json) {
        term_put(data, n);
        return;
    }
    while (n > 0) {
        const char *newline = memchr(data, '\n', n);
        size_t part = newline ? (size_t)(newline - data) : n;
        strbuf_add(&s->rest, data, part);
        if (newline || s->rest.len > LINE_MAX_BYTES) {
            put_line(s, json, s->rest.len ? s->rest.s : "", s->rest.len);
            s->rest.len = 0;
        }
        part += newline != NULL;
        data += part;
        n -= part;
    }
}

/* Prints to the end; false when reading or writing failed. */
static bool print_rest(Source *s, bool json)
{
    static char block[BLOCK];
    while (s->at < s->until) {
        uint64_t at = s->at;
        ssize_t n = log_stream_read(&s->stream, &at, block, (size_t)MIN2((uint64_t)sizeof block, s->until - s->at));
        if (n < 0)
            return false;
        if (at > s->at)
            say_error("%s: %" PRIu64 " bytes were rotated away before they could be shown", s->stream.module,
                      at - s->at);
        s->at = at + (uint64_t)n;
        if (n == 0)
            break;
        put_text(s, json, block, (size_t)n);
        if (!term_writable())
            return false;
    }
    return term_writable();
}

typedef struct Sources {
    Source *files;
    size_t n;
    char **identifiers; /* in the journal */
    LogJournal *journal;
    uint64_t until; /* the journal's end */
    bool prefixed, json;
} Sources;

static void sources_done(Sources *s)
{
    for (size_t i = 0; i < s->n; i++) {
        log_stream_done(&s->files[i].stream);
        strbuf_done(&s->files[i].rest);
    }
    free(s->files);
    strv_free(s->identifiers);
    log_journal_close(s->journal);
}

static bool print_entries(const Sources *s)
{
    LogEntry e;
    int r = 0;
    while (s->journal && (r = log_journal_next(s->journal, &e)) > 0 && e.time < s->until) {
        put_entry(&e, s->json, s->prefixed);
        if (!term_writable())
            return false;
    }
    if (r < 0)
        say_error("the journal cannot be read on: %s", strerror(-r));
    return r >= 0;
}

static bool print_all(Sources *s)
{
    for (size_t i = 0; i < s->n; i++)
        if (!print_rest(&s->files[i], s->json))
            return false;
    return print_entries(s) && fflush(stdout) == 0;
}

static int watch_all(const Source *sources, size_t n)
{
    _cleanup_fd_ int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    for (size_t i = 0; i < n && watch >= 0; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", sources[i].stream.live);
        if (inotify_add_watch(watch, path, IN_MODIFY | IN_ATTRIB) < 0)
            return -EBADF;
    }
    return TAKE_FD(watch);
}

/* Until something may have been written; false when nobody reads any more. */
static bool wait_more(const Sources *s, int watch, uint64_t left)
{
    int wait = watch < 0 ? LOOK_MSEC : ANEW_MSEC;
    if (left != USEC_INFINITY)
        wait = (int)MIN2(left / USEC_PER_MSEC + 1, (uint64_t)wait);
    struct pollfd p[] = {{.fd = watch, .events = POLLIN},
                         {.fd = STDOUT_FILENO},
                         {.fd = s->journal ? log_journal_fd(s->journal) : -EBADF, .events = POLLIN}};
    if (poll(p, ELEMENTS(p), wait) < 0 && errno != EINTR)
        return false;
    char events[4096];
    while (watch >= 0 && read(watch, events, sizeof events) > 0)
        ;
    if (s->journal)
        log_journal_woken(s->journal);
    return !(p[1].revents & (POLLERR | POLLHUP));
}

static ToolStatus follow(Sources *s, uint64_t deadline)
{
    _cleanup_fd_ int watch = watch_all(s->files, s->n);
    for (;;) {
        /* Printed after the watch is there, so that nothing falls between. */
        if (!print_all(s))
            return TOOL_FAILED;
        uint64_t now = now_monotonic();
        if (now >= deadline)
            return TOOL_DONE;
        if (!wait_more(s, watch, deadline == USEC_INFINITY ? USEC_INFINITY : deadline - now))
            return TOOL_FAILED;
    }
}

static uint64_t lines_asked_for(const Args *a)
{
    return a->lines != UINT64_MAX ? a->lines : a->follow && !a->since ? (uint64_t)FOLLOW_LINES : UINT64_MAX;
}

/* Where to begin and to end. */
static void place(Source *s, const Args *a)
{
    uint64_t lines = lines_asked_for(a);
    uint64_t begin = a->since ? log_stream_since(&s->stream, a->since) : s->stream.oldest;
    uint64_t end = log_stream_end(&s->stream);
    s->until = a->until == UINT64_MAX ? UINT64_MAX : log_stream_until(&s->stream, a->until);
    if (!a->follow && s->until == UINT64_MAX)
        s->until = end; /* what comes while it is read is not asked for */
    s->at = lines == UINT64_MAX ? begin : log_stream_tail(&s->stream, begin, MIN2(end, s->until), lines);
}

static ToolStatus open_journal(Sources *s, const Args *a)
{
    Error e = {0};
    int r = log_journal_open(a->instance, s->identifiers, a->error_stream, &s->journal, &e);
    if (r == 0) {
        s->until = a->until;
        if (a->follow)
            (void)log_journal_fd(s->journal); /* from now on it tells of what comes */
        r = log_journal_seek(s->journal, a->since, a->until, lines_asked_for(a));
        if (r < 0)
            (void)error_errno(&e, r, "cannot search the journal");
    }
    if (r < 0)
        say_error("%s logs to the journal: %s", s->identifiers[0], error_message(&e));
    return r < 0 ? TOOL_FAILED : TOOL_DONE;
}

/* *ret_kind and *ret_text are owned by the caller; *ret_fd is -EBADF unless the kind is "file". */
static ToolStatus open_log(Client *c, const char *name, char **ret_kind, char **ret_text, int *ret_fd)
{
    sd_bus_message *call = client_message(c, "OpenLog"), *reply = NULL;
    int r = call ? sd_bus_message_append(call, "s", name) : -ENOTCONN;
    ToolStatus status = r < 0 ? client_failed(c, NULL, r, NULL) : client_call(c, call, &reply);
    if (status == TOOL_DONE) {
        const char *kind = NULL, *text = "";
        int fd = -EBADF;
        r = sd_bus_message_read(reply, "s", &kind);
        if (r >= 0)
            r = strcmp(kind, "file") == 0 ? sd_bus_message_read(reply, "v", "h", &fd)
                                          : sd_bus_message_read(reply, "v", "s", &text);
        if (r >= 0 && fd >= 0 && (fd = fcntl(fd, F_DUPFD_CLOEXEC, 3)) < 0)
            r = -errno;
        if (r < 0)
            status = client_failed(c, NULL, r, NULL);
        else {
            *ret_kind = xstrdup(kind);
            *ret_text = xstrdup(text);
            *ret_fd = fd;
        }
    }
    sd_bus_message_unref(reply);
    sd_bus_message_unref(call);
    return status;
}

static ToolStatus add_file(Client *c, const char *name, const char *stream, Sources *all)
{
    LogStream opened;
    ToolStatus status = log_stream_open(c, name, stream, &opened);
    if (status == TOOL_DONE)
        ARRAY_PUSH(all->files, all->n) = (Source){.stream = opened};
    return status;
}

/* Standard error of a module that logs to the journal is there too, unless it has a file of its own. */
static ToolStatus add_source(Client *c, const char *name, Sources *all)
{
    const Args *a = c->args;
    _cleanup_(freep) char *kind = NULL, *text = NULL;
    _cleanup_fd_ int fd = -EBADF;
    ToolStatus status = open_log(c, name, &kind, &text, &fd);
    if (status != TOOL_DONE)
        return status;
    bool own = a->error_stream && log_stream_exists(c, name, "stderr");
    if (str_equal(kind, "journal") && !own)
        strv_add(&all->identifiers, text);
    else if (fd >= 0 || a->error_stream)
        return add_file(c, name, a->error_stream ? "stderr" : "stdout", all);
    else {
        say_error(str_equal(kind, "null") ? "%s keeps no log (log = null)"
                                          : "%s writes where the daemon itself writes (log = inherit)",
                  name);
        return TOOL_FAILED;
    }
    return TOOL_DONE;
}

static ToolStatus print_sources(Client *c, Sources *all)
{
    const Args *a = c->args;
    all->json = a->json;
    all->prefixed = all->n + strv_length(all->identifiers) > 1;
    ToolStatus status = all->identifiers ? open_journal(all, a) : TOOL_DONE;
    if (status != TOOL_DONE)
        return status;
    if (!a->follow && !a->no_pager)
        term_pager();
    for (size_t i = 0; i < all->n; i++) {
        all->files[i].prefixed = all->prefixed;
        place(&all->files[i], a);
    }
    if (a->follow)
        return follow(all, c->deadline);
    return print_all(all) ? TOOL_DONE : TOOL_FAILED;
}

ToolStatus verb_logs(const Args *a)
{
    _cleanup_client_ Client c = {0};
    _cleanup_strv_ char **names = NULL;
    _cleanup_(sources_done) Sources all = {0};
    ToolStatus status = client_open(a, &c);
    if (status == TOOL_DONE)
        status = client_expand(&c, a->words, a->n_words, &names);
    STRV_FOREACH (name, names)
        if (status == TOOL_DONE)
            status = add_source(&c, *name, &all);
    return status == TOOL_DONE ? print_sources(&c, &all) : status;
}
