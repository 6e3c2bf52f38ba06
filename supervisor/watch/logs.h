/* Watches the log files of modules: rotates them when they are full, and notes when what was written.
 *
 * One inotify descriptor for all. A file is armed for one event; the event begins a series of looks by a timer, whose
 * pace plan/logpace.h decides; when nothing is written any more the file is armed again. So a module that is quiet
 * costs nothing, and one that writes 100 MB/s no more than twenty looks a second. Rotation itself is done by a child
 * process (run/rotate.h), since it waits for the disk: one a file, a few at once. It dies with the daemon, and whoever
 * comes next takes up what it left.
 *
 * What is here refers to Modules; log_watch_forget() must come before one is freed. */
#pragma once

#include "supervisor/run/module.h"

typedef struct LogWatch LogWatch;

/* Called when a file could not be rotated (once until it works again), with words for a person. */
typedef void (*LogFailedFn)(void *host, const Module *m, const char *file, int error, const char *message);

LogWatch *log_watch_new(RunContext *ctx, LogFailedFn failed);
/* Waits for rotations under way, a few seconds at most: what is cut short then is taken up by the next daemon. Returns
 * NULL; NULL is allowed. */
LogWatch *log_watch_free(LogWatch *w);

/* The module's output goes into its file or files from now on, as its policy says now. Called at each start. */
void log_watch_module(LogWatch *w, const Module *m);
void log_watch_forget(LogWatch *w, const Module *m);
/* Whether the pid is a rotation under way. */
bool log_watch_launched(const LogWatch *w, pid_t pid);
