/* Rotates one log file while its writers go on: nothing lost, nothing doubled, and no writer waits longer than for a
 * megabyte of page cache to be let go of (docs/logs.md has the measurements).
 *
 *   NAME            the live file; writers have it open with O_APPEND
 *   NAME.1 … NAME.K rotated, 1 the newest
 *   .NAME.index     base/logindex.h; its flock is held while anything here is changed
 *   .NAME.part      a copy that is not whole yet
 *
 * The whole lines of the live file are copied into .part and made durable; that is written into the header, which is
 * the point of no return; then the renaming, a hole where they were, and a marker over what of them is in the hole's
 * last block. Where the file system can take a hole out of a file (ext4, xfs), that follows once the writers are slow
 * enough, since it makes them wait for their last writes to reach the disk. Each step may be done twice: whoever finds
 * the header in the middle of a rotation takes it up there.
 *
 * It blocks on the disk: to be called in a process of its own. */
#pragma once

#include "base/error.h"
#include "base/logindex.h"

typedef enum RotateStep {
    ROTATE_RECOVERED,  /* what another left undone is done */
    ROTATE_BEGUN,      /* the header says that a copy is under way */
    ROTATE_COPIED,     /* the copy is durable */
    ROTATE_COMMITTED,  /* the header says so */
    ROTATE_SHIFTED,    /* NAME.1 is now NAME.2, and so on */
    ROTATE_RENAMED,    /* the copy is NAME.1 */
    ROTATE_PUNCHED,    /* the hole is there */
    ROTATE_MARKED,     /* and the marker */
    ROTATE_DONE,       /* the header is at rest */
    ROTATE_COLLAPSING, /* the header says that the hole is being taken out */
    ROTATE_COLLAPSED,  /* it is */
    ROTATE_STEP_N
} RotateStep;

typedef struct RotateRequest {
    int dir;          /* the logs directory */
    const char *name; /* "web.log" */
    uint64_t limit;   /* rotate when the text is as long as this; UINT64_MAX = not at all */
    uint64_t keep;
    bool tidy;                                     /* take a hole out, if the writers are slow */
    void (*step)(RotateStep done, void *userdata); /* for tests: where it is */
    void *userdata;
} RotateRequest;

typedef enum RotateOutcome {
    ROTATE_CLEAN, /* the live file has no hole */
    ROTATE_HOLE,  /* it has: try again with `tidy` when it is quiet */
    ROTATE_STUCK  /* it has, and this file system cannot take it out */
} RotateOutcome;

/* Takes up what was left undone, rotates if the limit is reached, takes the hole out if asked to. Returns a
 * RotateOutcome or a negative errno: -EOPNOTSUPP where the file system makes no holes, so that nothing can be rotated.
 * After an error nothing is half-done but what the next call will mend. */
int rotate_log(const RotateRequest *q);

/* ".web.log.index", owned by the caller. */
char *rotate_index_name(const char *name);

/* Opens the index, made if missing (with `create`); an fd or a negative errno. */
int rotate_open_index(int dir, const char *name, bool create);

/* The live file has become another one or shorter than `seen` bytes, by somebody else's rotation: the stream goes on
 * behind what was seen. For the daemon, while no child is at work: -EWOULDBLOCK when somebody is. *ret is the header
 * that holds from now on. */
int rotate_adopt(int dir, const char *name, uint64_t seen, LogHeader *ret);
