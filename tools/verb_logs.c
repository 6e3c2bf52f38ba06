/* `bulkhead logs`: the modules' logs through descriptors the daemon opened, so that readers need no right on the files;
 * journalctl where modules log to the journal.
 *
 * Following waits by inotify on the live files, and looks every second for one that was made anew. Where inotify is
 * refused (a reader who may not open the file himself) it looks four times a second. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "tools/client.h"
#include "tools/logfile.h"
#include "tools/term.h"

enum { BLOCK = 64 * 1024, LOOK_MSEC = 250, ANEW_MSEC = 1000, FOLLOW_LINES = 10, LINE_MAX_BYTES = 1 << 20 };

typedef struct Source {
    LogStream stream;
    uint64_t at, until;
    bool prefixed;
    StrBuf rest; /* a line that is not whole yet: only where lines are taken apart */
} Source;

static void put_json(const Source *s, const char *line, size_t n)
{
    json_t *text = json_stringn(line, n);
    if (!text) { /* no UTF-8 */
        _cleanup_(freep) char *shown = str_escape(line, n, SIZE_MAX);
        text = json_string(shown);
    }
    _cleanup_json_ json_t *o =
        json_pack("{s:n,s:s,s:s,s:o}", "time_usec", "module", s->stream.module, "stream", s->stream.name, "text", text);
    _cleanup_(freep) char *said = json_dumps(o, JSON_COMPACT);
    puts(said ? said : "{}");
}

static void put_line(const Source *s, bool json, const char *line, size_t n)
{
    if (json) {
        put_json(s, line, n);
        return;
    }
    const char *on = term()->colours ? "\033[36m" : "", *off = term()->colours ? "\033[0m" : "";
    printf("%s%s%s | ", on, s->stream.module, off);
    term_put(line, n);
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

static bool print_all(Source *sources, size_t n, bool json)
{
    for (size_t i = 0; i < n; i++)
        if (!print_rest(&sources[i], json))
            return false;
    return fflush(stdout) == 0;
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

static ToolStatus follow(Source *sources, size_t n, bool json, uint64_t deadline)
{
    _cleanup_fd_ int watch = watch_all(sources, n);
    for (;;) {
        /* Printed after the watch is there, so that nothing falls between. */
        if (!print_all(sources, n, json))
            return TOOL_FAILED;
        uint64_t now = now_monotonic();
        if (now >= deadline)
            return TOOL_DONE;
        int wait = watch < 0 ? LOOK_MSEC : ANEW_MSEC;
        if (deadline != USEC_INFINITY)
            wait = (int)MIN2((deadline - now) / USEC_PER_MSEC + 1, (uint64_t)wait);
        struct pollfd p[] = {{.fd = watch, .events = POLLIN}, {.fd = STDOUT_FILENO}};
        if (poll(p, ELEMENTS(p), wait) < 0 && errno != EINTR)
            return TOOL_FAILED;
        if (p[1].revents & (POLLERR | POLLHUP))
            return TOOL_FAILED;
        char events[4096];
        while (watch >= 0 && read(watch, events, sizeof events) > 0)
            ;
    }
}

/* Where to begin and to end. */
static void place(Source *s, const Args *a)
{
    uint64_t lines = a->lines != UINT64_MAX ? a->lines : a->follow && !a->since ? (uint64_t)FOLLOW_LINES : UINT64_MAX;
    uint64_t begin = a->since ? log_stream_since(&s->stream, a->since) : s->stream.oldest;
    uint64_t end = log_stream_end(&s->stream);
    s->until = a->until == UINT64_MAX ? UINT64_MAX : log_stream_until(&s->stream, a->until);
    if (!a->follow && s->until == UINT64_MAX)
        s->until = end; /* what comes while it is read is not asked for */
    s->at = lines == UINT64_MAX ? begin : log_stream_tail(&s->stream, begin, MIN2(end, s->until), lines);
}

/* Only comes back when it cannot. */
static ToolStatus run_journalctl(const Args *a, char *const *identifiers)
{
    _cleanup_strv_ char **argv = NULL;
    strv_add(&argv, "journalctl");
    if (a->json || a->error_stream) {
        say_error("%s logs to the journal: journalctl -t %s %s tells that", identifiers[0], identifiers[0],
                  a->json ? "-o json" : "-p err");
        return TOOL_FAILED;
    }
    STRV_FOREACH (identifier, identifiers)
        strv_push(&argv, xasprintf("--identifier=%s", *identifier));
    if (a->since)
        strv_push(&argv, xasprintf("--since=@%" PRIu64, (uint64_t)(a->since / USEC_PER_SEC)));
    if (a->until != UINT64_MAX)
        strv_push(&argv, xasprintf("--until=@%" PRIu64, (uint64_t)(a->until / USEC_PER_SEC)));
    if (a->no_pager)
        strv_add(&argv, "--no-pager");
    if (a->follow)
        strv_add(&argv, "--follow");
    if (a->lines != UINT64_MAX)
        strv_push(&argv, xasprintf("--lines=%" PRIu64, a->lines));
    execvp(argv[0], argv);
    say_error("%s logs to the journal, and journalctl cannot be run: %s", identifiers[0], strerror(errno));
    return TOOL_FAILED;
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

typedef struct Sources {
    Source *files;
    size_t n;
    char **journals;
} Sources;

static void sources_done(Sources *s)
{
    for (size_t i = 0; i < s->n; i++) {
        log_stream_done(&s->files[i].stream);
        strbuf_done(&s->files[i].rest);
    }
    free(s->files);
    strv_free(s->journals);
}

static ToolStatus add_source(Client *c, const char *name, Sources *all)
{
    const Args *a = c->args;
    _cleanup_(freep) char *kind = NULL, *text = NULL;
    _cleanup_fd_ int fd = -EBADF;
    ToolStatus status = TOOL_DONE;
    if (!a->error_stream)
        status = open_log(c, name, &kind, &text, &fd);
    if (status != TOOL_DONE)
        return status;
    if (fd >= 0 || a->error_stream) {
        LogStream stream;
        status = log_stream_open(c, name, a->error_stream ? "stderr" : "stdout", &stream);
        if (status == TOOL_DONE)
            ARRAY_PUSH(all->files, all->n) = (Source){.stream = stream};
    } else if (str_equal(kind, "journal")) {
        strv_add(&all->journals, text);
    } else {
        say_error(str_equal(kind, "null") ? "%s keeps no log (log = null)"
                                          : "%s writes where the daemon itself writes (log = inherit)",
                  name);
        status = TOOL_FAILED;
    }
    return status;
}

static ToolStatus print_sources(Client *c, Sources *all)
{
    const Args *a = c->args;
    if (all->n > 0 && all->journals) {
        say_error("%s logs to a file and %s to the journal: ask for one kind at a time", all->files[0].stream.module,
                  all->journals[0]);
        return TOOL_FAILED;
    }
    if (all->journals)
        return run_journalctl(a, all->journals);
    if (!a->follow && !a->no_pager)
        term_pager();
    for (size_t i = 0; i < all->n; i++) {
        all->files[i].prefixed = all->n > 1;
        place(&all->files[i], a);
    }
    if (a->follow)
        return follow(all->files, all->n, a->json, c->deadline);
    return print_all(all->files, all->n, a->json) ? TOOL_DONE : TOOL_FAILED;
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
