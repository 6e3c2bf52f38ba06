/* See log.h. A line is one write, so that lines of several writers never mix. */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

const char *const log_level_names[LOG_LEVEL_N] = {
    [LOG_LEVEL_ERROR] = "error",
    [LOG_LEVEL_WARNING] = "warning",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_DEBUG] = "debug",
};

static LogLevel max_level = LOG_LEVEL_INFO;

void log_set_level(LogLevel level)
{
    max_level = level;
}

void log_line(LogLevel level, const char *fmt, ...)
{
    if (level > max_level)
        return;
    int saved = errno;
    static const int syslog_priority[LOG_LEVEL_N] = {3, 4, 6, 7};
    char line[2048];
    int n;
    if (getenv("JOURNAL_STREAM")) {
        n = snprintf(line, sizeof line, "<%d>", syslog_priority[level]);
    } else {
        struct timespec now;
        struct tm tm;
        clock_gettime(CLOCK_REALTIME, &now);
        gmtime_r(&now.tv_sec, &tm);
        size_t k = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &tm);
        n = (int)k + snprintf(line + k, sizeof line - k, ".%03ldZ %s ", now.tv_nsec / 1000000, log_level_names[level]);
    }
    va_list ap;
    va_start(ap, fmt);
    int m = vsnprintf(line + n, sizeof line - (size_t)n - 1, fmt, ap);
    va_end(ap);
    size_t len = MIN2((size_t)n + (size_t)MAX2(m, 0), sizeof line - 2);
    line[len++] = '\n';
    (void)!write(STDERR_FILENO, line, len);
    errno = saved;
}
