/* Where a module's output goes: an open descriptor handed straight to it, so that no pipe of ours can ever block it. */
#pragma once

#include "supervisor/run/module.h"

typedef enum OutputStream { OUTPUT_STDOUT, OUTPUT_STDERR, OUTPUT_STREAM_N } OutputStream;

/* Descriptors for stdout and stderr, owned by the caller; *ret_error is -EBADF where both are the same. */
int output_open(const Module *m, int *ret_output, int *ret_error, Error *e);
/* What `log = ` or `log_stderr = ` comes to on this host: LOG_DEFAULT resolved to journal or file. */
LogTarget output_target(const Module *m, OutputStream stream);
/* Whether stderr has a file of its own. */
bool output_error_file(const Module *m);
/* The file of stdout opened for reading; -ENOENT while nothing was logged. */
int output_open_log(const Module *m, int *ret, Error *e);
/* A file of the log opened for reading: 0 the live one, 1 … LOG_KEEP_MAX rotated, -1 the index. -ENOENT: there is none.
 */
int output_open_file(const Module *m, OutputStream stream, int number, int *ret, Error *e);
/* "web.log" or "web.err.log" below the instance's logs directory; owned by the caller. */
char *output_file_name(const Module *m, OutputStream stream);
