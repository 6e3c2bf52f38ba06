/* See output.h. Files are O_APPEND, so that several writers mix whole writes only and a rotation (rotate.h) can take
 * away the beginning while they go on at the end. */
#include "supervisor/run/output.h"

#include <errno.h>
#include <fcntl.h>
#include <syslog.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "supervisor/run/rotate.h"

#define JOURNAL_SOCKET "/run/systemd/journal/stdout"

LogTarget output_target(const Module *m, OutputStream stream)
{
    LogTarget t = m->policy->log;
    if (stream == OUTPUT_STDERR && m->policy->log_stderr != LOG_DEFAULT)
        t = m->policy->log_stderr;
    if (t == LOG_DEFAULT)
        t = access(JOURNAL_SOCKET, F_OK) == 0 ? LOG_JOURNAL : LOG_FILE;
    return t;
}

bool output_error_file(const Module *m)
{
    return m->policy->log_stderr == LOG_FILE;
}

char *output_file_name(const Module *m, OutputStream stream)
{
    return xasprintf("%s%s.log", module_name(m), stream == OUTPUT_STDERR ? ".err" : "");
}

static int open_file(const Module *m, OutputStream stream, int *ret, Error *e)
{
    _cleanup_(freep) char *name = output_file_name(m, stream);
    int fd = open_beneath(m->ctx->logs_dir, name, O_WRONLY | O_APPEND | O_CREAT | O_NOCTTY, 0600);
    if (fd < 0)
        return error_errno(e, fd, "cannot open the log /var/log/bulkhead/%s/%s", m->ctx->instance, name);
    *ret = fd;
    return 0;
}

/* Standard error that is asked into the journal has a stream of its own, to be told from the output by its priority; a
 * line's own prefix (<4>) wins. */
static int open_journal(const Module *m, OutputStream stream, int *ret, Error *e)
{
    int fd = sd_journal_stream_fd(module_name(m), stream == OUTPUT_STDERR ? LOG_ERR : LOG_INFO, 1);
    if (fd < 0)
        return error_errno(e, fd, "cannot connect to the journal (%s = file would not need it)",
                           stream == OUTPUT_STDERR ? "log_stderr" : "log");
    *ret = fd;
    return 0;
}

static int open_stream(const Module *m, OutputStream stream, int *ret, Error *e)
{
    int fd = -EBADF;
    switch (output_target(m, stream)) {
    case LOG_JOURNAL:
        return open_journal(m, stream, ret, e);
    case LOG_INHERIT:
        fd = fcntl(stream == OUTPUT_STDERR ? STDERR_FILENO : STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
        break;
    case LOG_NULL:
        fd = fcntl(m->ctx->null_fd, F_DUPFD_CLOEXEC, 3);
        break;
    case LOG_FILE:
    case LOG_DEFAULT:
    case LOG_TARGET_N:
        return open_file(m, stream, ret, e);
    }
    if (fd < 0)
        return error_errno(e, -errno, "cannot open the output");
    *ret = fd;
    return 0;
}

int output_open(const Module *m, int *ret_output, int *ret_error, Error *e)
{
    _cleanup_fd_ int out = -EBADF;
    int r = open_stream(m, OUTPUT_STDOUT, &out, e);
    *ret_error = -EBADF;
    if (r == 0 && m->policy->log_stderr != LOG_DEFAULT)
        r = open_stream(m, OUTPUT_STDERR, ret_error, e);
    if (r < 0)
        return r;
    *ret_output = TAKE_FD(out);
    return 0;
}

int output_open_log(const Module *m, int *ret, Error *e)
{
    _cleanup_(freep) char *name = output_file_name(m, OUTPUT_STDOUT);
    int fd = open_beneath(m->ctx->logs_dir, name, O_RDONLY | O_NOCTTY, 0);
    if (fd == -ENOENT)
        return error_set(e, fd, "%s has not logged anything yet", module_name(m));
    if (fd < 0)
        return error_errno(e, fd, "cannot open the log of %s", module_name(m));
    *ret = fd;
    return 0;
}

int output_open_file(const Module *m, OutputStream stream, int number, int *ret, Error *e)
{
    if (output_target(m, stream) != LOG_FILE || (stream == OUTPUT_STDERR && !output_error_file(m)))
        return error_set(e, -ENOENT, "%s has no log file for %s", module_name(m),
                         stream == OUTPUT_STDERR ? "stderr alone (log_stderr = file)" : "stdout (log = file)");
    if (number < -1 || number > LOG_KEEP_MAX)
        return error_set(e, -ENOENT, "no log file has the number %d (-1 to %d)", number, LOG_KEEP_MAX);
    _cleanup_(freep) char *name = output_file_name(m, stream);
    _cleanup_(freep) char *full = number > 0   ? xasprintf("%s.%d", name, number)
                                  : number < 0 ? rotate_index_name(name)
                                               : xstrdup(name);
    int fd = open_beneath(m->ctx->logs_dir, full, O_RDONLY | O_NOCTTY, 0);
    if (fd < 0)
        return error_errno(e, fd, "cannot open %s", full);
    *ret = fd;
    return 0;
}
