/* See output.h. Files are O_APPEND, so that several writers and a truncating rotation mix whole writes only. */
#include "supervisor/run/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <syslog.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "base/fd.h"

#define JOURNAL_SOCKET "/run/systemd/journal/stdout"

LogTarget output_target(const Module *m)
{
    LogTarget t = m->policy->log;
    if (t == LOG_DEFAULT)
        t = access(JOURNAL_SOCKET, F_OK) == 0 ? LOG_JOURNAL : LOG_FILE;
    return t;
}

static void file_name(const Module *m, char name[static MODULE_NAME_MAX + 8])
{
    snprintf(name, MODULE_NAME_MAX + 8, "%s.log", module_name(m));
}

static int open_file(const Module *m, int *ret, Error *e)
{
    char name[MODULE_NAME_MAX + 8];
    file_name(m, name);
    int fd = open_beneath(m->ctx->logs_dir, name, O_WRONLY | O_APPEND | O_CREAT | O_NOCTTY, 0600);
    if (fd < 0)
        return error_errno(e, fd, "cannot open the log /var/log/bulkhead/%s/%s", m->ctx->instance, name);
    *ret = fd;
    return 0;
}

int output_open(const Module *m, int *ret, Error *e)
{
    int fd = -EBADF;
    switch (output_target(m)) {
    case LOG_JOURNAL:
        fd = sd_journal_stream_fd(module_name(m), LOG_INFO, 1);
        if (fd < 0)
            return error_errno(e, fd, "cannot connect to the journal (log = file would not need it)");
        break;
    case LOG_INHERIT:
        fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
        break;
    case LOG_NULL:
        fd = fcntl(m->ctx->null_fd, F_DUPFD_CLOEXEC, 3);
        break;
    case LOG_FILE:
    case LOG_DEFAULT:
    case LOG_TARGET_N:
        return open_file(m, ret, e);
    }
    if (fd < 0)
        return error_errno(e, -errno, "cannot open the output");
    *ret = fd;
    return 0;
}

int output_open_log(const Module *m, int *ret, Error *e)
{
    char name[MODULE_NAME_MAX + 8];
    file_name(m, name);
    int fd = open_beneath(m->ctx->logs_dir, name, O_RDONLY | O_NOCTTY, 0);
    if (fd == -ENOENT)
        return error_set(e, fd, "%s has not logged anything yet", module_name(m));
    if (fd < 0)
        return error_errno(e, fd, "cannot open the log of %s", module_name(m));
    *ret = fd;
    return 0;
}
