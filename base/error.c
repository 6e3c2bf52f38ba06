/* See error.h. Truncation is silent: a message is for people, the code is for programs. */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static int set(Error *e, int code, int with_errno, const char *fmt, va_list ap)
{
    if (!e)
        return code;
    e->code = code;
    int n = vsnprintf(e->msg, sizeof e->msg, fmt, ap);
    if (with_errno && n >= 0 && (size_t)n < sizeof e->msg)
        snprintf(e->msg + n, sizeof e->msg - (size_t)n, ": %s", strerror(-code));
    return code;
}

int error_set(Error *e, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    set(e, code, 0, fmt, ap);
    va_end(ap);
    return code;
}

int error_errno(Error *e, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    set(e, code, 1, fmt, ap);
    va_end(ap);
    return code;
}

int error_prefix(Error *e, const char *fmt, ...)
{
    if (!e)
        return -EINVAL;
    char old[sizeof e->msg], words[sizeof e->msg];
    memcpy(old, e->msg, sizeof old);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(words, sizeof words, fmt, ap);
    va_end(ap);
    size_t n = MIN2(strlen(words), sizeof e->msg - 1);
    memcpy(e->msg, words, n);
    size_t rest = MIN2(strlen(old), sizeof e->msg - 1 - n);
    memcpy(e->msg + n, old, rest);
    e->msg[n + rest] = '\0';
    return e->code;
}

int error_suffix(Error *e, const char *fmt, ...)
{
    if (!e)
        return -EINVAL;
    size_t n = strlen(e->msg);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->msg + n, sizeof e->msg - n, fmt, ap);
    va_end(ap);
    return e->code;
}

void error_stage(Error *e, const char *stage)
{
    if (e && !e->stage[0])
        snprintf(e->stage, sizeof e->stage, "%s", stage);
}

const char *error_message(const Error *e)
{
    if (e->msg[0])
        return e->msg;
    return e->code ? strerror(-e->code) : "no error";
}
