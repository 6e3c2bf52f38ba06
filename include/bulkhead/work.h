/* Tells bulkhead what this program has in flight, so that it is not stopped in the middle of it. Header only, C11 or
 * C++11 with the extensions of gcc or clang, no library to link.
 *
 *     #include <bulkhead/work.h>
 *
 *     while (!bulkhead_work_draining() && take(&job)) {
 *         bulkhead_work_begin();
 *         bulkhead_work_end(run(&job) == 0);
 *     }
 *
 * A module with `track = api` finds two files of its run by $BULKHEAD_WORK: the page, where it counts, and the control
 * page, where the daemon says that it drains. Without the variable every call is one branch or two, and nothing is
 * counted: a program runs the same with and without a supervisor.
 *
 * How it counts. A process takes a slot of the page when it first needs one and counts there with atomic adds, all of
 * its threads in the same slot; so work may end in another thread than the one that began it, but not in another
 * process. Beside the slots stands one sum for the module: it makes the peak exact and max_in_flight a limit that no
 * race crosses. Begin and end are two atomic adds each and no system call. What a process that has died had begun is
 * counted as errors: the daemon sees it when it reads, and the next process that takes a slot writes it down. After
 * fork the child takes a slot of its own, after exec the new program does; nothing is to be called for that. When 127
 * processes have a slot the next ones share slot 0: counted like the rest, but what they leave behind when they are
 * killed is cleared away only when the module's last process has ended.
 *
 * A kill that hits a thread between the two adds of a begin or an end leaves the sum one too low: peak and limit may
 * then be off by one until the module starts again. What is shown as in flight comes from the slots and is right.
 *
 * Not to be called in signal handlers until this process has called it once outside: the first call opens and maps. */
#ifndef BULKHEAD_WORK_H
#define BULKHEAD_WORK_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#if !defined MAP_ANONYMOUS && !defined _GNU_SOURCE
#error "bulkhead/work.h: compile with -std=gnu11, or define _DEFAULT_SOURCE before the first #include"
#endif

/* --- the layout, which the daemon and bulkhead_work.py share ------------------------------------------------------ */

#define BULKHEAD_WORK_VARIABLE "BULKHEAD_WORK"
#define BULKHEAD_WORK_CONTROL  ".control"                   /* behind the page's path: the control page's */
#define BULKHEAD_WORK_MAGIC    UINT64_C(0x6b726f77646b6c62) /* "blkdwork" */
#define BULKHEAD_WORK_VERSION  1
#define BULKHEAD_WORK_SLOTS    256
#define BULKHEAD_WORK_FIRST_LOCKED \
    128                             /* from here on slots are taken under a lock on the file: Python has no atomics */
#define BULKHEAD_WORK_HIST_SLOTS 24 /* slot n: a duration in [2^n, 2^(n+1)) microseconds */
#define BULKHEAD_WORK_PID_BITS   22 /* the kernel's highest pid is 2^22 */

/* In a slot's owner: the slot of somebody dead, in the hands of a thread of the owner that is putting it right. */
#define BULKHEAD_WORK_REPAIRING (UINT64_C(1) << 63)

/* Of one process. Written by that process alone, but for slot 0; counters only ever grow, over all its owners. */
struct bulkhead_work_slot {
    uint64_t owner; /* pid, and above it when it took the slot (CLOCK_BOOTTIME, ms); 0 = free */
    uint64_t image; /* tells the program before an exec from the one after it */
    uint64_t started, completed, errors, rejected;
    uint64_t peak;           /* most in flight in the whole module that the owner has seen, where it writes no sum */
    uint64_t heartbeat_nsec; /* CLOCK_MONOTONIC, 0 = never */
    uint64_t latency[BULKHEAD_WORK_HIST_SLOTS];
    uint64_t total_usec; /* sum of the durations in `latency` */
    uint64_t reserved[7];
};

struct bulkhead_work_page {
    uint64_t magic;
    uint32_t version, n_slots, slot_size, first_locked;
    uint64_t reserved[5];
    int64_t in_flight; /* of all slots that are counted in with atomics */
    int64_t peak;
    uint64_t padding[6];
    struct bulkhead_work_slot slots[BULKHEAD_WORK_SLOTS];
};

/* Written by the daemon alone. */
struct bulkhead_work_control {
    uint64_t magic;
    uint32_t version;
    uint32_t draining;
    uint32_t max_in_flight; /* 0 = no limit */
    uint32_t reserved[11];
};

#ifdef __cplusplus
#define BULKHEAD_WORK_ASSERT_ static_assert
#else
#define BULKHEAD_WORK_ASSERT_ _Static_assert
#endif
BULKHEAD_WORK_ASSERT_(sizeof(struct bulkhead_work_slot) == 320, "layout");
BULKHEAD_WORK_ASSERT_(sizeof(struct bulkhead_work_page) == 128 + 320 * BULKHEAD_WORK_SLOTS, "layout");
BULKHEAD_WORK_ASSERT_(sizeof(struct bulkhead_work_control) == 64, "layout");

/* --- inside --------------------------------------------------------------------------------------------------------
 * What was opened lies in a mapping of two halves. The kernel wipes the second one in a child of fork, which so finds
 * that it has no slot, by the same load that finds the slot otherwise. */

#define BULKHEAD_WORK_HALF_    65536 /* a multiple of every page size */
#define BULKHEAD_WORK_COLD_    __attribute__((cold, noinline, unused)) static
#define BULKHEAD_WORK_RARE_(x) __builtin_expect(!!(x), 0)

struct bulkhead_work_session_ {
    struct bulkhead_work_page *page;
    const struct bulkhead_work_control *control;
    bool wiped; /* the kernel does it; else each call has to compare pids */
    int pid;
    struct bulkhead_work_slot *slot_of_pid;
    int64_t swept; /* second of the last look for the dead */
};

/* One for each executable and library that includes this. */
struct bulkhead_work_opened_ {
    struct bulkhead_work_session_ *session;
    int off; /* nobody supervises */
};
__attribute__((weak, visibility("hidden"))) struct bulkhead_work_opened_ bulkhead_work_state_;

static inline struct bulkhead_work_slot **bulkhead_work_here_(struct bulkhead_work_session_ *s)
{
    return (struct bulkhead_work_slot **)(void *)((char *)s + BULKHEAD_WORK_HALF_);
}

static inline int64_t bulkhead_work_time_(clockid_t id, int64_t unit_nsec)
{
    struct timespec t;
    clock_gettime(id, &t);
    return ((int64_t)t.tv_sec * 1000000000 + t.tv_nsec) / unit_nsec;
}

BULKHEAD_WORK_COLD_ void *bulkhead_work_map_(const char *path, bool write, size_t size)
{
    struct stat st;
    void *p = MAP_FAILED;
    int fd = open(path, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return NULL;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size >= (off_t)size)
        p = mmap(NULL, size, write ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    return p == MAP_FAILED ? NULL : p;
}

BULKHEAD_WORK_COLD_ bool bulkhead_work_fill_(struct bulkhead_work_session_ *s, const char *path)
{
    char control[4096];
    if (snprintf(control, sizeof control, "%s" BULKHEAD_WORK_CONTROL, path) >= (int)sizeof control)
        return false;
    s->page = (struct bulkhead_work_page *)bulkhead_work_map_(path, true, sizeof *s->page);
    s->control = (const struct bulkhead_work_control *)bulkhead_work_map_(control, false, sizeof *s->control);
    if (s->page && s->control && s->page->magic == BULKHEAD_WORK_MAGIC && s->page->version == BULKHEAD_WORK_VERSION &&
        s->control->magic == BULKHEAD_WORK_MAGIC && s->control->version == BULKHEAD_WORK_VERSION)
        return true;
    if (s->page)
        munmap(s->page, sizeof *s->page);
    if (s->control)
        munmap((void *)(uintptr_t)s->control, sizeof *s->control);
    return false;
}

/* Opens; two threads that come first at once both do, and one throws its own away: so nobody waits, and a fork in the
 * middle leaves nothing half done in the child. NULL: nobody supervises. */
BULKHEAD_WORK_COLD_ struct bulkhead_work_session_ *bulkhead_work_session_of_process_(void)
{
    struct bulkhead_work_session_ *s = __atomic_load_n(&bulkhead_work_state_.session, __ATOMIC_ACQUIRE), *other = NULL;
    if (s || __atomic_load_n(&bulkhead_work_state_.off, __ATOMIC_RELAXED))
        return s;
    const char *path = getauxval(AT_SECURE) ? NULL : getenv(BULKHEAD_WORK_VARIABLE);
    void *p = MAP_FAILED;
    if (path && *path)
        p = mmap(NULL, 2 * BULKHEAD_WORK_HALF_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    s = (struct bulkhead_work_session_ *)p;
    if (p == MAP_FAILED || !bulkhead_work_fill_(s, path)) {
        if (p != MAP_FAILED)
            munmap(p, 2 * BULKHEAD_WORK_HALF_);
        __atomic_store_n(&bulkhead_work_state_.off, 1, __ATOMIC_RELAXED);
        return NULL;
    }
#ifdef MADV_WIPEONFORK
    s->wiped = madvise((char *)p + BULKHEAD_WORK_HALF_, BULKHEAD_WORK_HALF_, MADV_WIPEONFORK) == 0;
#endif
    if (__atomic_compare_exchange_n(&bulkhead_work_state_.session, &other, s, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE))
        return s;
    munmap(s->page, sizeof *s->page);
    munmap((void *)(uintptr_t)s->control, sizeof *s->control);
    munmap(p, 2 * BULKHEAD_WORK_HALF_);
    return other;
}

/* What the owner had begun and not ended will never end. The caller owns the slot. */
BULKHEAD_WORK_COLD_ void bulkhead_work_repair_(struct bulkhead_work_page *page, struct bulkhead_work_slot *slot)
{
    int64_t left = (int64_t)(__atomic_load_n(&slot->started, __ATOMIC_ACQUIRE) -
                             __atomic_load_n(&slot->completed, __ATOMIC_RELAXED) -
                             __atomic_load_n(&slot->errors, __ATOMIC_RELAXED));
    if (left > 0)
        __atomic_fetch_add(&slot->errors, (uint64_t)left, __ATOMIC_RELAXED);
    else
        __atomic_fetch_add(&slot->started, (uint64_t)-left, __ATOMIC_RELAXED);
    __atomic_fetch_sub(&page->in_flight, left, __ATOMIC_RELAXED);
}

/* Frees the slots of the dead, and of what this process was before it called exec. */
BULKHEAD_WORK_COLD_ void bulkhead_work_sweep_(struct bulkhead_work_page *page, uint64_t image)
{
    const uint64_t mask = (UINT64_C(1) << BULKHEAD_WORK_PID_BITS) - 1, pid = (uint64_t)getpid();
    const uint64_t mine = (uint64_t)bulkhead_work_time_(CLOCK_BOOTTIME, 1000000) << BULKHEAD_WORK_PID_BITS | pid;
    for (int i = 1; i < BULKHEAD_WORK_FIRST_LOCKED; i++) {
        struct bulkhead_work_slot *slot = &page->slots[i];
        uint64_t owner = __atomic_load_n(&slot->owner, __ATOMIC_ACQUIRE), who = owner & mask;
        if (!owner)
            continue;
        bool gone =
            who != pid ? getpgid((pid_t)who) < 0 && errno == ESRCH
                       : !(owner & BULKHEAD_WORK_REPAIRING) && __atomic_load_n(&slot->image, __ATOMIC_RELAXED) != image;
        /* It becomes ours first, so that only one repairs it, also of our threads. */
        if (!gone || !__atomic_compare_exchange_n(&slot->owner, &owner, mine | BULKHEAD_WORK_REPAIRING, false,
                                                  __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            continue;
        bulkhead_work_repair_(page, slot);
        __atomic_store_n(&slot->owner, 0, __ATOMIC_RELEASE);
    }
}

/* Every exec has a stack of its own; mixed, so that the page does not tell where. */
BULKHEAD_WORK_COLD_ uint64_t bulkhead_work_image_(void)
{
    uint64_t x = (uint64_t)getauxval(AT_RANDOM);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    return (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb) >> 32 | 1;
}

BULKHEAD_WORK_COLD_ struct bulkhead_work_slot *bulkhead_work_claim_(struct bulkhead_work_page *page)
{
    const uint64_t image = bulkhead_work_image_();
    bulkhead_work_sweep_(page, image);
    for (int i = 1; i < BULKHEAD_WORK_FIRST_LOCKED; i++) {
        struct bulkhead_work_slot *slot = &page->slots[i];
        uint64_t none = 0;
        uint64_t mine =
            (uint64_t)bulkhead_work_time_(CLOCK_BOOTTIME, 1000000) << BULKHEAD_WORK_PID_BITS | (uint64_t)getpid();
        if (__atomic_load_n(&slot->owner, __ATOMIC_RELAXED) == 0 &&
            __atomic_compare_exchange_n(&slot->owner, &none, mine, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
            __atomic_store_n(&slot->image, image, __ATOMIC_RELAXED);
            return slot;
        }
    }
    return &page->slots[0];
}

/* The first call of this process, or of its child; or nobody supervises: NULL. */
BULKHEAD_WORK_COLD_ struct bulkhead_work_slot *bulkhead_work_enter_(void)
{
    const int saved = errno, pid = (int)getpid();
    struct bulkhead_work_session_ *s = bulkhead_work_session_of_process_();
    struct bulkhead_work_slot *slot = NULL, *other = NULL;
    if (s && !s->wiped && __atomic_load_n(&s->pid, __ATOMIC_ACQUIRE) == pid) {
        slot = __atomic_load_n(&s->slot_of_pid, __ATOMIC_RELAXED);
    } else if (s && s->wiped) {
        slot = bulkhead_work_claim_(s->page);
        if (!__atomic_compare_exchange_n(bulkhead_work_here_(s), &other, slot, false, __ATOMIC_ACQ_REL,
                                         __ATOMIC_ACQUIRE)) {
            if (slot != &s->page->slots[0])
                __atomic_store_n(&slot->owner, 0, __ATOMIC_RELEASE); /* another thread was first */
            slot = other;
        }
    } else if (s) {
        slot = bulkhead_work_claim_(s->page);
        __atomic_store_n(&s->slot_of_pid, slot, __ATOMIC_RELAXED);
        __atomic_store_n(&s->pid, pid, __ATOMIC_RELEASE);
    }
    errno = saved;
    return slot;
}

static inline struct bulkhead_work_slot *bulkhead_work_slot_(struct bulkhead_work_session_ **ret)
{
    struct bulkhead_work_session_ *s = __atomic_load_n(&bulkhead_work_state_.session, __ATOMIC_ACQUIRE);
    struct bulkhead_work_slot *slot = NULL;
    if (s)
        slot = __atomic_load_n(bulkhead_work_here_(s), __ATOMIC_ACQUIRE);
    if (BULKHEAD_WORK_RARE_(!slot)) {
        if (!s && __atomic_load_n(&bulkhead_work_state_.off, __ATOMIC_RELAXED))
            return NULL;
        slot = bulkhead_work_enter_();
        s = __atomic_load_n(&bulkhead_work_state_.session, __ATOMIC_ACQUIRE);
    }
    *ret = s;
    return slot;
}

static inline void bulkhead_work_raise_peak_(struct bulkhead_work_page *page, int64_t n)
{
    int64_t peak = __atomic_load_n(&page->peak, __ATOMIC_RELAXED);
    while (BULKHEAD_WORK_RARE_(n > peak) &&
           !__atomic_compare_exchange_n(&page->peak, &peak, n, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

static inline bool bulkhead_work_closed_(const struct bulkhead_work_session_ *s, int64_t n)
{
    const uint32_t limit = __atomic_load_n(&s->control->max_in_flight, __ATOMIC_RELAXED);
    return (limit && n > (int64_t)limit) || __atomic_load_n(&s->control->draining, __ATOMIC_SEQ_CST);
}

/* Not before the permits that the dead still hold are given back; that is looked for once a second at most. */
BULKHEAD_WORK_COLD_ bool bulkhead_work_refuse_(struct bulkhead_work_session_ *s, struct bulkhead_work_slot *slot)
{
    const int saved = errno;
    int64_t now = bulkhead_work_time_(CLOCK_MONOTONIC, 1000000000);
    int64_t before = __atomic_load_n(&s->swept, __ATOMIC_RELAXED);
    if (now != before &&
        __atomic_compare_exchange_n(&s->swept, &before, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        bulkhead_work_sweep_(s->page, bulkhead_work_image_());
    errno = saved;
    if (!bulkhead_work_closed_(s, __atomic_load_n(&s->page->in_flight, __ATOMIC_RELAXED) + 1))
        return false;
    __atomic_fetch_add(&slot->rejected, 1, __ATOMIC_RELAXED);
    return true;
}

/* --- to be called --------------------------------------------------------------------------------------------------
 */

/* Whether a supervisor counts. Calling it is not needed: it only takes the first call's time (files are opened) out of
 * the first piece of work. Call it before the program gives up the right to open them: by chroot, by another user. */
static inline bool bulkhead_work_open(void)
{
    struct bulkhead_work_session_ *s = NULL;
    return bulkhead_work_slot_(&s) != NULL;
}

/* Work begins. Always counted, at the limit and while draining too: for work that nobody asks whether it may begin. */
static inline void bulkhead_work_begin(void)
{
    struct bulkhead_work_session_ *s = NULL;
    struct bulkhead_work_slot *slot = bulkhead_work_slot_(&s);
    if (!slot)
        return;
    __atomic_fetch_add(&slot->started, 1, __ATOMIC_SEQ_CST);
    bulkhead_work_raise_peak_(s->page, __atomic_add_fetch(&s->page->in_flight, 1, __ATOMIC_RELAXED));
}

/* Work begins if it may: false (and counted as rejected) while the module drains, and where max_in_flight are in flight
 * already. There is no gap in it: work that was let begin is waited for, however close the drain came. */
static inline bool bulkhead_work_try_begin(void)
{
    struct bulkhead_work_session_ *s = NULL;
    struct bulkhead_work_slot *slot = bulkhead_work_slot_(&s);
    if (!slot)
        return true;
    int64_t n = __atomic_load_n(&s->page->in_flight, __ATOMIC_RELAXED) + 1;
    if (BULKHEAD_WORK_RARE_(bulkhead_work_closed_(s, n)) && bulkhead_work_refuse_(s, slot))
        return false;
    /* Begun first and asked then, as the daemon says first and looks then: one of the two sees the other. */
    __atomic_fetch_add(&slot->started, 1, __ATOMIC_SEQ_CST);
    n = __atomic_add_fetch(&s->page->in_flight, 1, __ATOMIC_SEQ_CST);
    if (BULKHEAD_WORK_RARE_(bulkhead_work_closed_(s, n))) {
        __atomic_fetch_sub(&s->page->in_flight, 1, __ATOMIC_RELAXED);
        __atomic_fetch_sub(&slot->started, 1, __ATOMIC_RELAXED);
        __atomic_fetch_add(&slot->rejected, 1, __ATOMIC_RELAXED);
        return false;
    }
    bulkhead_work_raise_peak_(s->page, n);
    return true;
}

/* Work ends, well or not; once for each begin, in the same process. */
static inline void bulkhead_work_end(bool ok)
{
    struct bulkhead_work_session_ *s = NULL;
    struct bulkhead_work_slot *slot = bulkhead_work_slot_(&s);
    if (!slot)
        return;
    __atomic_fetch_sub(&s->page->in_flight, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(ok ? &slot->completed : &slot->errors, 1, __ATOMIC_RELEASE);
}

/* For latencies: the time at a begin, to be handed to bulkhead_work_end_since(). Reading the clock twice costs several
 * times what counting costs, so it is only done where it is asked for. 0 where nobody supervises. */
static inline uint64_t bulkhead_work_clock(void)
{
    return bulkhead_work_open() ? (uint64_t)bulkhead_work_time_(CLOCK_MONOTONIC, 1) : 0;
}

/* bulkhead_work_end(), and how long it took goes into the histogram. */
static inline void bulkhead_work_end_since(uint64_t clock, bool ok)
{
    struct bulkhead_work_session_ *s = NULL;
    struct bulkhead_work_slot *slot = bulkhead_work_slot_(&s);
    if (!slot)
        return;
    if (clock) {
        const uint64_t now = (uint64_t)bulkhead_work_time_(CLOCK_MONOTONIC, 1);
        const uint64_t usec = now > clock ? (now - clock) / 1000 : 0;
        const int n = usec ? 63 - __builtin_clzll(usec) : 0;
        __atomic_fetch_add(&slot->latency[n < BULKHEAD_WORK_HIST_SLOTS ? n : BULKHEAD_WORK_HIST_SLOTS - 1], 1,
                           __ATOMIC_RELAXED);
        __atomic_fetch_add(&slot->total_usec, usec, __ATOMIC_RELAXED);
    }
    bulkhead_work_end(ok);
}

/* "Am I draining?": true from when the daemon wants no more new work of this run until it is stopped, or until the
 * drain is undone. */
static inline bool bulkhead_work_draining(void)
{
    struct bulkhead_work_session_ *s = __atomic_load_n(&bulkhead_work_state_.session, __ATOMIC_ACQUIRE);
    if (BULKHEAD_WORK_RARE_(!s)) {
        bulkhead_work_slot_(&s);
        if (!s)
            return false;
    }
    return __atomic_load_n(&s->control->draining, __ATOMIC_SEQ_CST) != 0;
}

/* "I get on": the time of the last one is shown. */
static inline void bulkhead_work_heartbeat(void)
{
    struct bulkhead_work_session_ *s = NULL;
    struct bulkhead_work_slot *slot = bulkhead_work_slot_(&s);
    if (slot)
        __atomic_store_n(&slot->heartbeat_nsec, (uint64_t)bulkhead_work_time_(CLOCK_MONOTONIC, 1), __ATOMIC_RELAXED);
}

#endif
