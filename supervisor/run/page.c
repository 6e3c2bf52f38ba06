/* See page.h.
 *
 * How a count without a lock comes out right. What has ended is taken from a first look and what was begun from a
 * second, later one: a begin that the first look saw is in the second too, so their difference is at least what was in
 * flight in between, whatever is begun and ended meanwhile. A slot whose owner was dead before the second look is final
 * there. Whether the owner lives is asked of the kernel: in the leaf, and born before it took the slot, or the pid is
 * somebody else's by now. */
#include "supervisor/run/page.h"
#include "supervisor/run/view.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"

/* What no program reaches: so that sums of garbage do not overflow. */
#define COUNT_MAX     (UINT64_C(1) << 48)
#define IN_FLIGHT_MAX (UINT64_C(1) << 31)
#define PAGE_SIZE     sizeof(struct bulkhead_work_page)

_Static_assert(BULKHEAD_WORK_HIST_SLOTS == BULKHEAD_HIST_SLOTS, "one histogram");

struct Page {
    Generation *generation;
    int page, control;
    char name[48];
    char *variable;
};

/* --- pure --- */

static uint64_t bounded(uint64_t v)
{
    return MIN2(v, COUNT_MAX);
}

static uint64_t ended(const struct bulkhead_work_slot *s)
{
    return bounded(s->completed) + bounded(s->errors);
}

/* Never below 0, however the slot was written. */
static uint64_t left(const struct bulkhead_work_slot *begun, const struct bulkhead_work_slot *done)
{
    uint64_t started = bounded(begun->started), e = ended(done);
    return started > e ? MIN2(started - e, IN_FLIGHT_MAX) : 0;
}

bool page_slot_asks(const PageLook *l, size_t slot)
{
    const struct bulkhead_work_slot *s = &l->before.slots[slot];
    return left(s, s) > 0;
}

void page_add(struct work_counters *ret, const struct work_counters *more)
{
    uint64_t *to[] = {&ret->started,  &ret->completed,    &ret->errors,
                      &ret->rejected, &ret->long_running, &ret->total_usec};
    const uint64_t from[] = {more->started,  more->completed,    more->errors,
                             more->rejected, more->long_running, more->total_usec};
    for (size_t i = 0; i < ELEMENTS(to); i++)
        if (__builtin_add_overflow(*to[i], from[i], to[i]) || *to[i] > INT64_MAX)
            *to[i] = INT64_MAX; /* JSON has no more */
    for (size_t i = 0; i < BULKHEAD_HIST_SLOTS; i++)
        if (__builtin_add_overflow(ret->latency[i], more->latency[i], &ret->latency[i]))
            ret->latency[i] = UINT64_MAX;
    ret->in_flight += more->in_flight;
    ret->in_flight_peak = MAX2(ret->in_flight_peak, more->in_flight_peak);
}

/* Also of garbage: an owner that is none has nothing in flight, and only slot 0 needs none. */
static bool is_over(const PageLook *l, size_t i)
{
    uint64_t owner = l->after.slots[i].owner;
    if (i == 0)
        return l->dead[0];
    return !page_owner_pid(owner) || (l->dead[i] && owner == l->before.slots[i].owner);
}

void page_sum(const PageLook *l, struct work_counters *ret)
{
    uint64_t at_least = 0; /* at the end of the second look */
    int64_t peak = l->after.peak;
    *ret = (struct work_counters){0};
    for (size_t i = 0; i < BULKHEAD_WORK_SLOTS; i++) {
        const struct bulkhead_work_slot *b = &l->before.slots[i], *a = &l->after.slots[i];
        bool over = is_over(l, i);
        const struct bulkhead_work_slot *done = over ? a : b;
        uint64_t n = left(a, done);
        struct work_counters slot = {
            .started = ended(done) + n,
            .completed = bounded(done->completed),
            .errors = bounded(done->errors) + (over ? n : 0),
            .in_flight = over ? 0 : (int64_t)n,
            .rejected = bounded(a->rejected),
            .total_usec = bounded(a->total_usec),
        };
        slot.in_flight_peak = (int64_t)MIN2(a->peak, IN_FLIGHT_MAX);
        for (size_t k = 0; k < BULKHEAD_HIST_SLOTS; k++)
            slot.latency[k] = bounded(a->latency[k]);
        page_add(ret, &slot);
        at_least += over ? 0 : left(b, a);
    }
    peak = MIN2(MAX2(peak, 0), (int64_t)IN_FLIGHT_MAX);
    peak = MAX2(peak, (int64_t)at_least);
    ret->in_flight_peak = MAX2(ret->in_flight_peak, peak);
}

/* Field `n` of a line as in proc(5), whose second one, the name in brackets, may hold anything. NULL: it has fewer. */
static const char *stat_field(const char *stat, unsigned n)
{
    const char *at = strrchr(stat, ')');
    for (unsigned field = 2; at && field < n; field++) {
        at = strchr(at, ' ');
        at = at ? at + 1 : NULL;
    }
    return at;
}

uint64_t page_process_start(const char *stat, long ticks)
{
    const char *state = stat_field(stat, 3), *threads = stat_field(stat, 20), *start = stat_field(stat, 22);
    if (!state || !threads || !start)
        return UINT64_MAX;
    /* A main thread that has ended is a zombie while others of the process run. */
    if (*state == 'X' || (*state == 'Z' && strtol(threads, NULL, 10) <= 1))
        return UINT64_MAX;
    return strtoull(start, NULL, 10) * 1000 / (uint64_t)ticks;
}

/* --- the files --- */

static int make_file(const Page *p, const char *name, mode_t mode, uid_t uid, const void *data, size_t size, Error *e)
{
    const RunContext *ctx = p->generation->module->ctx;
    (void)unlinkat(ctx->work_dir, name, 0); /* a dead daemon's */
    _cleanup_fd_ int fd = openat(ctx->work_dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_errno(e, -errno, "cannot make the counter page");
    /* All of it at once: a page that finds no room later is a SIGBUS for the module. */
    if (fallocate(fd, 0, 0, (off_t)size) < 0)
        return error_errno(e, -errno, "no room for the counter page");
    if (pwrite(fd, data, size, 0) != (ssize_t)size || fchmod(fd, mode) < 0 ||
        fchown(fd, uid, p->generation->module->policy->sandbox.gid) < 0)
        return error_errno(e, -errno, "cannot fill the counter page");
    return TAKE_FD(fd);
}

int page_open(Generation *g, Page **ret, Error *e)
{
    const ModulePolicy *policy = g->module->policy;
    Page *p = new0(Page);
    *p = (Page){.generation = g, .page = -EBADF, .control = -EBADF};
    snprintf(p->name, sizeof p->name, "%llu.%llu", (unsigned long long)g->module->serial,
             (unsigned long long)g->number);
    p->variable =
        xasprintf(BULKHEAD_WORK_VARIABLE "=/run/bulkhead/%s/" VIEW_WORK_NAME "/%s", g->module->ctx->instance, p->name);
    struct bulkhead_work_page *page = new0(struct bulkhead_work_page);
    *page = (struct bulkhead_work_page){
        .magic = BULKHEAD_WORK_MAGIC,
        .version = BULKHEAD_WORK_VERSION,
        .n_slots = BULKHEAD_WORK_SLOTS,
        .slot_size = sizeof(struct bulkhead_work_slot),
        .first_locked = BULKHEAD_WORK_FIRST_LOCKED,
    };
    const struct bulkhead_work_control control = {
        .magic = BULKHEAD_WORK_MAGIC,
        .version = BULKHEAD_WORK_VERSION,
        .draining = g->module->gate.closed,
        .max_in_flight = policy->work.max_in_flight < UINT32_MAX ? (uint32_t)policy->work.max_in_flight : 0,
    };
    char name[sizeof p->name + sizeof BULKHEAD_WORK_CONTROL];
    snprintf(name, sizeof name, "%s" BULKHEAD_WORK_CONTROL, p->name);
    int r = p->page = make_file(p, p->name, 0600, policy->sandbox.uid, page, sizeof *page, e);
    if (r >= 0)
        r = p->control = make_file(p, name, 0640, 0, &control, sizeof control, e);
    free(page);
    if (r < 0) {
        page_free(p);
        return r;
    }
    *ret = p;
    return 0;
}

const char *page_variable(const Page *p)
{
    return p->variable;
}

int page_set_draining(Page *p, bool draining)
{
    uint32_t value = draining;
    ssize_t n = pwrite(p->control, &value, sizeof value, offsetof(struct bulkhead_work_control, draining));
    return n == (ssize_t)sizeof value ? 0 : n < 0 ? -errno : -EIO;
}

/* What was cut off reads as nothing; what was put on is cut off. */
static int look(const Page *p, struct bulkhead_work_page *ret)
{
    ssize_t n = pread(p->page, ret, PAGE_SIZE, 0);
    if (n < 0)
        return -errno;
    memset((char *)ret + n, 0, PAGE_SIZE - (size_t)n);
    struct stat st;
    if (fstat(p->page, &st) == 0 && st.st_size > (off_t)PAGE_SIZE)
        (void)!ftruncate(p->page, PAGE_SIZE);
    return 0;
}

static bool owner_lives(const Page *p, uint64_t owner)
{
    pid_t pid = page_owner_pid(owner);
    char path[32], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    return pid > 0 && box_contains(p->generation->leaf, pid) && file_read(AT_FDCWD, path, text, sizeof text) > 0 &&
           page_process_start(text, sysconf(_SC_CLK_TCK)) <= page_owner_since(owner);
}

/* Between them who has work in flight is looked for. */
static int look_twice(const Page *p, PageLook *l)
{
    int r = look(p, &l->before);
    for (size_t i = 0; r == 0 && i < BULKHEAD_WORK_SLOTS; i++)
        l->dead[i] = page_slot_asks(l, i) &&
                     (i == 0 ? box_populated(p->generation->leaf) == 0 : !owner_lives(p, l->before.slots[i].owner));
    return r < 0 ? r : look(p, &l->after);
}

int page_read(const Page *p, struct work_counters *ret)
{
    static PageLook l; /* one thread, and large */
    int r = look_twice(p, &l);
    if (r < 0)
        return r;
    page_sum(&l, ret);
    return 0;
}

uint64_t page_heartbeat(const Page *p)
{
    struct bulkhead_work_page page;
    uint64_t last = 0;
    if (look(p, &page) == 0)
        for (size_t i = 0; i < BULKHEAD_WORK_SLOTS; i++)
            last = MAX2(last, page.slots[i].heartbeat_nsec / 1000);
    return MIN2(last, now_monotonic());
}

Page *page_free(Page *p)
{
    if (!p)
        return NULL;
    Module *m = p->generation->module;
    struct work_counters last;
    if (p->page >= 0 && p->control >= 0 && page_read(p, &last) == 0) {
        last.errors += (uint64_t)last.in_flight; /* of what cannot be killed */
        last.in_flight = 0;
        page_add(&m->api, &last);
        if (m->ctx->kernel && m->group)
            (void)kernel_api(m->ctx->kernel, group_id(m->group), &m->api);
    }
    char control[sizeof p->name + sizeof BULKHEAD_WORK_CONTROL];
    snprintf(control, sizeof control, "%s" BULKHEAD_WORK_CONTROL, p->name);
    if (p->page >= 0)
        (void)unlinkat(m->ctx->work_dir, p->name, 0);
    if (p->control >= 0)
        (void)unlinkat(m->ctx->work_dir, control, 0);
    fd_close(p->page);
    fd_close(p->control);
    free(p->variable);
    free(p);
    return NULL;
}

bool page_of_module(const Module *m, struct work_counters *ret)
{
    struct work_counters running;
    const Page *p = m->generation ? m->generation->page : NULL;
    if (!p && !(m->policy->work.track.sources & TRACK_API))
        return false;
    *ret = m->api;
    if (p && page_read(p, &running) == 0)
        page_add(ret, &running);
    if (m->ctx->kernel && m->group)
        (void)kernel_api(m->ctx->kernel, group_id(m->group), ret);
    return true;
}
