/* The daemon's own log: one line an event on standard error, `key=value` where a program may read it.
 *
 * Only the daemon's boundary logs (supervisor/host, control); what lies below returns errors. Lines carry a syslog
 * prefix
 * (<6>) when standard error is the journal, the time when it is not. */
#pragma once

#include "base/util.h"

typedef enum LogLevel { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG, LOG_LEVEL_N } LogLevel;

extern const char *const log_level_names[LOG_LEVEL_N];

void log_set_level(LogLevel level);
void log_line(LogLevel level, const char *fmt, ...) _printf_(2, 3);

#define log_error(...)   log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
