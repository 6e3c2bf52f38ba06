/* What keeps the processes of a generation (or of a hook) together: a cgroup, or, where the host has no writable cgroup
 * tree and the policy says cgroups = optional, a mark in their environment, their session, and the daemon's being their
 * subreaper (marks.h).
 *
 * With a cgroup every promise holds. Without, no limit can (they are refused by name before anything starts), nothing
 * is counted in the kernel, and a process that hides its environment, leaves its session and loses its parent is only
 * found when the daemon ends: then whatever is still its child is killed. */
#pragma once

#include "supervisor/run/context.h"

typedef struct Box Box;

/* A fresh one: the group `path` with `limits`. */
int box_new(RunContext *ctx, const char *path, const GroupLimits *limits, Box **ret, Error *e);
/* Wraps a group that was found; takes it. */
Box *box_wrap(RunContext *ctx, Group *group);
/* Removes the cgroup; what the box still holds makes it -EBUSY. The box itself stays until box_free(). */
int box_remove(Box *b, Error *e);
Box *box_free(Box *b);

/* NULL where there is no cgroup. */
Group *box_group(const Box *b);
/* kernfs id of the cgroup, 0 where there is none. */
uint64_t box_id(const Box *b);
/* "/own/bulkhead-x/modules/web/3", or NULL. */
const char *box_cgroup_path(const Box *b);
/* "BULKHEAD_BOX=…" for the environment where that is what marks, else NULL. */
const char *box_mark(const Box *b);

/* The first process of the box was started: a session of its own is what it begins with. */
void box_started(Box *b, pid_t pid);

bool box_contains(const Box *b, pid_t pid);
/* 1, 0, or a negative errno. NULL holds nothing. */
int box_populated(const Box *b);
int box_pids(const Box *b, pid_t **ret, size_t *ret_n);
/* The number of processes signalled, or a negative errno. */
int box_signal(Box *b, int sig);
/* Everything in it dies; it must not be launched into after this. */
int box_kill(Box *b);
/* -ENODATA where there is no cgroup. */
int box_stats(const Box *b, GroupStats *ret);
/* A few of them: as group_read_usage. */
int box_usage(const Box *b, GroupStats *ret);
/* The last ones: as group_read_last. */
int box_last_stats(const Box *b, GroupStats *ret);

/* Calls fn whenever the box may have emptied, until *ret is released: by the kernel's word on cgroup.events; without a
 * cgroup by a look every 50 ms, only while somebody waits. */
typedef void (*BoxFn)(void *userdata);
typedef struct BoxWatch BoxWatch;
int box_watch(Box *b, BoxFn fn, void *userdata, BoxWatch **ret, Error *e);
BoxWatch *box_unwatch(BoxWatch *w);

/* Becomes the subreaper and reaps what nobody else waits for: where there are no cgroups, and as process 1. */
int box_adopt_orphans(RunContext *ctx, sd_event_source **ret, Error *e);
/* Kills whatever is still a child of the daemon, bounded. */
void box_end_orphans(const RunContext *ctx);
