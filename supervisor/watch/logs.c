/* See logs.h. Offsets are those in the stream (base/logindex.h) unless they are called sizes. */
#include "supervisor/watch/logs.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/logindex.h"
#include "base/str.h"
#include "supervisor/plan/logpace.h"
#include "supervisor/run/output.h"
#include "supervisor/run/rotate.h"

enum { AT_ONCE = 4, OUTCOME = 200 /* exit statuses below are errno */ };

#define CLOSE_USEC (5 * USEC_PER_SEC)
#define TIDY_USEC  (10 * USEC_PER_SEC) /* between two tries to take a hole out */

typedef struct LogFile {
    LogWatch *watch;
    const Module *module;
    char *name;
    uint64_t limit, keep;
    int wd; /* -1 = not armed */
    sd_event_source *timer, *child;
    pid_t pid;

    ino_t inode;
    uint64_t base, head, end; /* as of the last look */
    uint64_t looked;          /* monotonic µs; 0 = never */
    RotateOutcome hole;
    uint64_t tidied, tidied_end; /* when, and what was the end then */
    uint64_t retry, retry_at;    /* after a failure; 0 = there was none */
    bool told, unsupported, disarmed;

    LogSample sample; /* the last one */
    size_t n_samples; /* in the index; SIZE_MAX = not read yet */
} LogFile;

struct LogWatch {
    RunContext *ctx;
    LogFailedFn failed;
    int inotify;
    sd_event_source *source;
    LogFile **files;
    size_t n_files, working;
};

static void look(LogFile *f);

/* --- samples --- */

/* Up to `offset` everything has been written by now, what follows has not. The same offset once more tells how long
 * nothing was written: at the first write after silence. */
static void add_sample(LogFile *f, int index, uint64_t offset, bool after_silence)
{
    LogSample s = {.time = now_realtime(), .offset = offset};
    if (f->n_samples == SIZE_MAX || f->n_samples == LOG_SAMPLES_MAX) {
        _cleanup_(freep) LogSample *all = new0_array(LogSample, LOG_SAMPLES_MAX);
        f->n_samples = log_samples_read(index, all);
        if (f->n_samples == LOG_SAMPLES_MAX) {
            /* What is kept is at most `keep` files and the live one; roughly, since files may be larger. */
            uint64_t kept = f->limit == UINT64_MAX ? f->head : (f->keep + 1) * f->limit * 2;
            f->n_samples = log_samples_thin(all, f->n_samples, f->head > kept ? f->head - kept : 0);
            if (log_samples_write(index, all, f->n_samples) < 0)
                f->n_samples = SIZE_MAX;
        }
        if (f->n_samples != SIZE_MAX && f->n_samples > 0)
            f->sample = all[f->n_samples - 1];
    }
    bool news = s.offset > f->sample.offset || f->n_samples == 0 || after_silence;
    if (f->n_samples == SIZE_MAX || !news || log_sample_append(index, f->n_samples, &s) < 0)
        return;
    f->n_samples++;
    f->sample = s;
}

/* --- the end of a file --- */

static LogFile *file_free(LogFile *f)
{
    sd_event_source_disable_unref(f->timer);
    sd_event_source_disable_unref(f->child);
    free(f->name);
    free(f);
    return NULL;
}

static void disarm(const LogFile *f)
{
    if (f->wd >= 0)
        (void)inotify_rm_watch(f->watch->inotify, f->wd);
}

static void drop_file(LogFile *f)
{
    LogWatch *w = f->watch;
    size_t i = 0;
    while (w->files[i] != f)
        i++;
    w->files[i] = w->files[--w->n_files];
    disarm(f);
    file_free(f);
}

/* --- the child --- */

static _Noreturn void child_rotate(const LogFile *f, pid_t parent, bool rotate, bool tidy)
{
    (void)prctl(PR_SET_NAME, "bulkhead-rotate");
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(ESRCH);
    /* It may wait for a disk: what else the daemon holds, its lock above all, is not for it. */
    int dir = f->watch->ctx->logs_dir;
    if (dir != STDERR_FILENO + 1 && (dir = dup2(dir, STDERR_FILENO + 1)) < 0)
        _exit(errno);
    (void)close_range((unsigned)dir + 1, ~0u, 0);
    RotateRequest q = {
        .dir = dir, .name = f->name, .limit = rotate ? f->limit : UINT64_MAX, .keep = f->keep, .tidy = tidy};
    int r = rotate_log(&q);
    _exit(r < 0 ? -r : OUTCOME + r);
}

static void tell(LogFile *f, int error)
{
    if (f->told)
        return;
    f->told = true;
    const char *what = error == ENOSPC ? "make room, or lower log_keep: it grows until then"
                       : error == EOPNOTSUPP
                           ? "its file system makes no holes: rotate it from outside, by copy and truncate"
                           : "it grows until this is mended";
    _cleanup_(freep) char *message = xasprintf("%s: %s", strerror(error), what);
    f->watch->failed(f->watch->ctx->host, f->module, f->name, error, message);
}

static void child_over(LogFile *f, int status)
{
    f->child = sd_event_source_disable_unref(f->child);
    f->pid = 0;
    f->watch->working--;
    if (!f->module) {
        drop_file(f);
        return;
    }
    if (status >= OUTCOME) {
        f->hole = (RotateOutcome)(status - OUTCOME);
        f->retry = f->retry_at = 0;
        f->told = false;
    } else {
        f->retry = log_retry(f->retry);
        f->retry_at = now_monotonic() + f->retry;
        f->unsupported = status == EOPNOTSUPP;
        tell(f, status);
    }
    look(f);
}

static int on_child(sd_event_source *s, const siginfo_t *si, void *userdata)
{
    (void)s;
    child_over(userdata, si->si_code == CLD_EXITED ? si->si_status : EINTR);
    return 0;
}

static void begin_rotation(LogFile *f, bool rotate, bool tidy)
{
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        child_rotate(f, parent, rotate, tidy);
    int fd = pid < 0 ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);
    int r = fd < 0 ? -errno : sd_event_add_child_pidfd(f->watch->ctx->event, &f->child, fd, WEXITED, on_child, f);
    if (r < 0) {
        if (pid > 0) {
            (void)kill(pid, SIGKILL);
            (void)waitpid(pid, NULL, 0);
        }
        fd_close(fd);
        f->retry = log_retry(f->retry);
        f->retry_at = now_monotonic() + f->retry;
        tell(f, -r);
        return;
    }
    sd_event_source_set_child_pidfd_own(f->child, 1);
    f->pid = pid;
    f->watch->working++;
    if (tidy) {
        f->tidied = now_monotonic();
        f->tidied_end = f->end;
    }
}

/* --- looking --- */

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
    (void)s, (void)usec;
    look(userdata);
    return 0;
}

static void look_in(LogFile *f, uint64_t delay)
{
    sd_event *event = f->watch->ctx->event;
    uint64_t accuracy = delay / 4 + 1; /* 0 would be sd-event's own, 250 ms */
    if (f->timer) {
        (void)sd_event_source_set_time_accuracy(f->timer, accuracy);
        (void)sd_event_source_set_time_relative(f->timer, delay);
        (void)sd_event_source_set_enabled(f->timer, SD_EVENT_ONESHOT);
    } else {
        (void)sd_event_add_time_relative(event, &f->timer, CLOCK_MONOTONIC, delay, accuracy, on_timer, f);
    }
}

/* From here on the kernel tells of the next write. False: it cannot (fs.inotify.max_user_watches). */
static bool arm(LogFile *f)
{
    char path[64 + 2 * MODULE_NAME_MAX];
    snprintf(path, sizeof path, "/proc/self/fd/%d/%s", f->watch->ctx->logs_dir, f->name);
    f->wd = f->watch->inotify < 0 ? -1
                                  : inotify_add_watch(f->watch->inotify, path, IN_MODIFY | IN_ONESHOT | IN_DONT_FOLLOW);
    if (f->wd < 0 && errno != ENOENT && !f->disarmed) {
        f->disarmed = true;
        f->watch->failed(f->watch->ctx->host, f->module, f->name, errno,
                         "cannot wait for writes (fs.inotify.max_user_watches?): it is looked at every second instead");
    }
    return f->wd >= 0 || errno == ENOENT;
}

typedef enum Place { PLACE_KNOWN, PLACE_UNKNOWN, PLACE_UNDONE } Place;

/* What the index says of the file as it is. PLACE_UNDONE: somebody died on the way. */
static Place read_place(LogFile *f, int index, const struct stat *st)
{
    LogHeader h;
    uint64_t seen = f->looked && st->st_ino == f->inode && f->end > f->base ? f->end - f->base : 0;
    int r = log_header_read(index, &h);
    if (r == 0 && (h.seq % 2 || h.stage != LOG_STAGE_NONE))
        return PLACE_UNDONE;
    /* A collapse makes it shorter too, but moves the base. */
    bool shorter = r == 0 && h.base == f->base && seen > (uint64_t)st->st_size;
    if (r < 0 || h.inode != st->st_ino || shorter || h.head - h.base > (uint64_t)st->st_size) {
        r = rotate_adopt(f->watch->ctx->logs_dir, f->name, shorter ? seen : 0, &h);
        f->hole = ROTATE_CLEAN;
    }
    if (r < 0)
        return PLACE_UNKNOWN;
    /* Fewer blocks than bytes: another daemon has left a hole. */
    if (f->inode != st->st_ino)
        f->hole = (uint64_t)st->st_blocks * 512 + (uint64_t)st->st_blksize < (uint64_t)st->st_size ? ROTATE_HOLE
                                                                                                   : ROTATE_CLEAN;
    f->inode = st->st_ino;
    f->base = h.base;
    f->head = h.head;
    return PLACE_KNOWN;
}

/* True: a child is at work, whose end looks again, or it will be tried soon. */
static bool put_to_work(LogFile *f, bool rotate, bool tidy)
{
    if (f->watch->working < AT_ONCE)
        begin_rotation(f, rotate, tidy);
    else
        look_in(f, LOG_LOOK_MIN_USEC);
    return f->pid || f->watch->working >= AT_ONCE;
}

static void act(LogFile *f, uint64_t grown, uint64_t elapsed)
{
    uint64_t now = now_monotonic();
    bool may_tidy = f->hole == ROTATE_HOLE && f->end != f->tidied_end && (!f->tidied || now - f->tidied >= TIDY_USEC);
    uint64_t text = f->end > f->head ? f->end - f->head : 0;
    LogPaceInput in = {.text = text, .limit = f->limit, .grown = grown, .elapsed = elapsed, .hole = may_tidy};
    LogPace p = log_pace(&in);
    bool held = f->unsupported || f->retry_at > now;
    if ((p.rotate || p.tidy) && !held && put_to_work(f, p.rotate, p.tidy))
        return;
    if (!p.quiet)
        look_in(f, p.rotate ? LOG_LOOK_MAX_USEC : p.delay_usec);
    else if (!arm(f))
        look_in(f, LOG_LOOK_MAX_USEC);
}

static void look(LogFile *f)
{
    struct stat st;
    if (f->pid)
        return;
    if (fstatat(f->watch->ctx->logs_dir, f->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return; /* renamed by somebody; the next start makes it anew */
    _cleanup_fd_ int index = rotate_open_index(f->watch->ctx->logs_dir, f->name, true);
    if (index < 0) {
        tell(f, -index);
        look_in(f, LOG_RETRY_MAX_USEC);
        return;
    }
    uint64_t now = now_monotonic();
    Place place = read_place(f, index, &st);
    if (place != PLACE_KNOWN) {
        if (place == PLACE_UNKNOWN || f->retry_at > now || !put_to_work(f, true, false))
            look_in(f, LOG_LOOK_MAX_USEC);
        return;
    }
    uint64_t end = f->base + (uint64_t)st.st_size;
    uint64_t grown = f->looked && end > f->end ? end - f->end : 0, elapsed = now - f->looked;
    bool first = !f->looked;
    f->looked = now;
    f->end = end;
    if (first || grown == 0 || now_realtime() - f->sample.time >= LOG_LOOK_MAX_USEC)
        add_sample(f, index, end, false);
    act(f, grown, elapsed);
    if (f->wd < 0 || f->pid)
        return;
    /* What was written between the look and the arming told nobody. */
    if (fstatat(f->watch->ctx->logs_dir, f->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        f->base + (uint64_t)st.st_size != f->end)
        look_in(f, LOG_LOOK_MIN_USEC);
}

/* --- the kernel's word --- */

/* The first write after silence: all before was written before now. */
static void on_written(LogFile *f)
{
    f->wd = -1;
    _cleanup_fd_ int index = rotate_open_index(f->watch->ctx->logs_dir, f->name, false);
    if (index >= 0)
        add_sample(f, index, f->end, true);
    f->looked = now_monotonic();
    if (!f->pid)
        look_in(f, LOG_LOOK_MIN_USEC);
}

static int on_inotify(sd_event_source *s, int fd, uint32_t events, void *userdata)
{
    (void)s, (void)events;
    LogWatch *w = userdata;
    char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t n;
    while ((n = read(fd, buf, sizeof buf)) > 0)
        for (char *p = buf; p < buf + n;) {
            const struct inotify_event *e = (const struct inotify_event *)(void *)p;
            p += sizeof *e + e->len;
            for (size_t i = 0; i < w->n_files; i++)
                if ((e->mask & IN_MODIFY) && w->files[i]->wd == e->wd)
                    on_written(w->files[i]);
                else if ((e->mask & IN_Q_OVERFLOW) && w->files[i]->wd >= 0)
                    on_written(w->files[i]);
        }
    return 0;
}

/* --- files come --- */

static void watch_file(LogWatch *w, const Module *m, OutputStream stream)
{
    _cleanup_(freep) char *name = output_file_name(m, stream);
    LogFile *f = NULL;
    for (size_t i = 0; i < w->n_files && !f; i++)
        if (str_equal(w->files[i]->name, name))
            f = w->files[i];
    if (!f) {
        f = ARRAY_PUSH(w->files, w->n_files) = new0(LogFile);
        *f = (LogFile){.watch = w, .name = TAKE_PTR(name), .wd = -1, .n_samples = SIZE_MAX};
    }
    f->module = m;
    f->limit = m->policy->log_max_size;
    f->keep = m->policy->log_keep;
    /* What a dead daemon left undone is found by the first look, which is after the start: nothing waits for it. */
    if (f->wd < 0 && !f->pid)
        look_in(f, 0);
}

void log_watch_module(LogWatch *w, const Module *m)
{
    if (output_target(m, OUTPUT_STDOUT) == LOG_FILE)
        watch_file(w, m, OUTPUT_STDOUT);
    if (output_error_file(m))
        watch_file(w, m, OUTPUT_STDERR);
}

static void wait_for_child(LogFile *f, uint64_t deadline)
{
    int status = 0;
    uint64_t now = now_monotonic();
    struct pollfd p = {.fd = sd_event_source_get_child_pidfd(f->child), .events = POLLIN};
    (void)poll(&p, 1, now < deadline ? (int)((deadline - now) / USEC_PER_MSEC) : 0);
    (void)kill(f->pid, SIGKILL);
    (void)waitpid(f->pid, &status, 0);
    f->pid = 0;
    f->watch->working--;
}

void log_watch_forget(LogWatch *w, const Module *m)
{
    if (!w)
        return;
    size_t kept = 0;
    for (size_t i = 0; i < w->n_files; i++) {
        LogFile *f = w->files[i];
        if (f->module == m)
            f->module = NULL;
        if (!f->module && !f->pid) { /* the end of a child frees what it works on */
            disarm(f);
            file_free(f);
        } else {
            w->files[kept++] = f;
        }
    }
    w->n_files = kept;
}

bool log_watch_launched(const LogWatch *w, pid_t pid)
{
    for (size_t i = 0; w && i < w->n_files; i++)
        if (w->files[i]->pid == pid)
            return true;
    return false;
}

LogWatch *log_watch_new(RunContext *ctx, LogFailedFn failed)
{
    LogWatch *w = new0(LogWatch);
    w->ctx = ctx;
    w->failed = failed;
    w->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (w->inotify >= 0)
        (void)sd_event_add_io(ctx->event, &w->source, w->inotify, EPOLLIN, on_inotify, w);
    return w;
}

LogWatch *log_watch_free(LogWatch *w)
{
    if (!w)
        return NULL;
    uint64_t deadline = now_monotonic() + CLOSE_USEC;
    for (size_t i = 0; i < w->n_files; i++) {
        if (w->files[i]->pid)
            wait_for_child(w->files[i], deadline);
        file_free(w->files[i]);
    }
    free(w->files);
    sd_event_source_disable_unref(w->source);
    fd_close(w->inotify);
    free(w);
    return NULL;
}
