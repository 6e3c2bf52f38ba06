/* `bulkhead logs`: the module's log through a descriptor the daemon opened, so that readers need no right on the file;
 * journalctl where the module logs to the journal.
 *
 * Following waits by inotify on the open file. Where that is refused (a reader who may not open it himself) it looks
 * four times a second. Files are rotated by copy and truncate: a file that has become shorter is read from its start.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "tools/client.h"
#include "tools/term.h"

enum { BLOCK = 64 * 1024, LOOK_MSEC = 250, FOLLOW_LINES = 10 };

/* Where the last `lines` lines begin. */
static off_t tail_offset(int fd, off_t size, uint64_t lines)
{
    static char block[BLOCK];
    uint64_t seen = 0;
    off_t end = size;
    while (end > 0) {
        off_t begin = MAX2(end - BLOCK, (off_t)0);
        ssize_t n = pread(fd, block, (size_t)(end - begin), begin);
        if (n <= 0)
            return begin;
        for (ssize_t i = n - 1; i >= 0; i--) {
            bool last = begin + i == size - 1; /* the newline that ends the last line */
            if (block[i] == '\n' && !last && ++seen >= lines)
                return begin + i + 1;
        }
        end = begin;
    }
    return 0;
}

/* Prints from *offset to the end; false when reading or writing failed. */
static bool print_rest(int fd, off_t *offset)
{
    static char block[BLOCK];
    struct stat st;
    if (fstat(fd, &st) == 0 && st.st_size < *offset)
        *offset = 0; /* rotated */
    for (;;) {
        ssize_t n = pread(fd, block, sizeof block, *offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        if (n == 0)
            return term_writable();
        term_put(block, (size_t)n);
        *offset += n;
        if (!term_writable())
            return false;
    }
}

static ToolStatus follow(int fd, off_t offset, uint64_t deadline)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    _cleanup_fd_ int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (watch >= 0 && inotify_add_watch(watch, path, IN_MODIFY | IN_ATTRIB) < 0)
        watch = fd_close(watch);
    for (;;) {
        /* Printed after the watch is there, so that nothing falls between. */
        if (!print_rest(fd, &offset) || fflush(stdout) != 0)
            return TOOL_FAILED;
        uint64_t now = now_monotonic();
        if (now >= deadline)
            return TOOL_DONE;
        int wait = deadline == USEC_INFINITY ? -1 : (int)MIN2((deadline - now) / USEC_PER_MSEC + 1, (uint64_t)60000);
        if (watch < 0)
            wait = wait < 0 ? LOOK_MSEC : MIN2(wait, (int)LOOK_MSEC);
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

static ToolStatus print_file(const Client *c, int fd)
{
    const Args *a = c->args;
    struct stat st;
    uint64_t lines = a->lines != UINT64_MAX ? a->lines : a->follow ? (uint64_t)FOLLOW_LINES : UINT64_MAX;
    if (fstat(fd, &st) < 0) {
        say_error("%s: cannot read its log: %s", a->words[0], strerror(errno));
        return TOOL_FAILED;
    }
    off_t offset = lines == 0 ? st.st_size : lines == UINT64_MAX ? 0 : tail_offset(fd, st.st_size, lines);
    if (a->follow)
        return follow(fd, offset, c->deadline);
    return print_rest(fd, &offset) ? TOOL_DONE : TOOL_FAILED;
}

/* Only comes back when it cannot. */
static ToolStatus run_journalctl(const Args *a, const char *identifier)
{
    _cleanup_strv_ char **argv = NULL;
    strv_add(&argv, "journalctl");
    strv_push(&argv, xasprintf("--identifier=%s", identifier));
    if (a->no_pager)
        strv_add(&argv, "--no-pager");
    if (a->follow)
        strv_add(&argv, "--follow");
    if (a->lines != UINT64_MAX)
        strv_push(&argv, xasprintf("--lines=%" PRIu64, a->lines));
    execvp(argv[0], argv);
    say_error("%s logs to the journal, and journalctl cannot be run: %s", a->words[0], strerror(errno));
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

ToolStatus verb_logs(const Args *a)
{
    _cleanup_client_ Client c = {0};
    _cleanup_(freep) char *kind = NULL, *text = NULL;
    _cleanup_fd_ int fd = -EBADF;
    ToolStatus status = client_open(a, &c);
    if (status == TOOL_DONE)
        status = open_log(&c, a->words[0], &kind, &text, &fd);
    if (status != TOOL_DONE)
        return status;
    if (fd >= 0) {
        /* The daemon is not needed any more: following goes on when it restarts. */
        uint64_t deadline = c.deadline;
        client_done(&c);
        c.deadline = deadline;
        if (!a->follow && !a->no_pager)
            term_pager();
        return print_file(&c, fd);
    }
    if (str_equal(kind, "journal"))
        return run_journalctl(a, text);
    if (str_equal(kind, "null"))
        say_error("%s keeps no log (log = null)", a->words[0]);
    else
        say_error("%s writes where the daemon itself writes (log = inherit)", a->words[0]);
    return TOOL_FAILED;
}
