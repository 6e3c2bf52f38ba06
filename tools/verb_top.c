/* `bulkhead top`: a sample each interval, shown on a screen, as text, or as JSON.
 *
 * Of the daemon it asks GetUsage, and takes its end for what it is: it says so and waits for it to come back. Every
 * wait is one poll() over the keys, the signals (as a descriptor: the terminal is given back before they take effect),
 * the bus (events come unasked and are let go) and who reads the output. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "tools/client.h"
#include "tools/term.h"
#include "tools/top.h"
#include "tools/top_screen.h"

/* How soon the second sample follows the first on a screen, and a lost daemon is looked for. */
enum { SOON_USEC = 500000 };

typedef enum Wake { WAKE_TIME, WAKE_KEY, WAKE_GONE, WAKE_RESIZED, WAKE_END } Wake;

typedef struct Top {
    const Args *args;
    Client client;
    bool connected, on_screen;
    TopState state;
    json_t *before, *now; /* samples; NULL = none */
    TopHost host_before, host_now;
    size_t page;
    char *notice;
    int signals; /* signalfd */
    int ended_by;
    sigset_t mask; /* as it was */
    uint64_t shown;
} Top;

static TopHost read_host(void)
{
    _cleanup_(freep) char *stat = NULL, *meminfo = NULL;
    (void)file_read_all(AT_FDCWD, "/proc/stat", 1u << 20, &stat, NULL);
    (void)file_read_all(AT_FDCWD, "/proc/meminfo", 1u << 16, &meminfo, NULL);
    return top_host(stat ? stat : "", meminfo ? meminfo : "");
}

static void take_sample(Top *t, json_t *sample)
{
    json_decref(t->before);
    t->before = t->now;
    t->now = sample;
    t->host_before = t->host_now;
    t->host_now = read_host();
}

/* What was seen is no longer so, and the next sample can't be compared with it. */
static void lose_daemon(Top *t, int r)
{
    client_done(&t->client);
    t->connected = false;
    json_decref(t->before);
    json_decref(t->now);
    t->before = t->now = NULL;
    free(t->notice);
    t->notice = xasprintf("instance '%s': the daemon %s; waiting for it", t->args->instance,
                          r == -ETIMEDOUT               ? "does not answer"
                          : r == -EACCES || r == -EPERM ? "lets nobody in but root and its read_group"
                                                        : "is gone");
    if (!t->on_screen && !t->state.notice)
        say_error("%s", t->notice);
    t->state.notice = t->notice;
}

static void sample(Top *t)
{
    json_t *answer = NULL;
    int r = t->connected ? 0 : client_try_open(t->args, &t->client);
    if (r >= 0)
        r = client_try_json(&t->client, "GetUsage", &answer);
    if (r < 0) {
        lose_daemon(t, r);
        return;
    }
    t->connected = true;
    t->state.notice = NULL;
    take_sample(t, answer);
}

/* --- showing ------------------------------------------------------------------------------------------------------ */
static void frame(Top *t, TopFrame *ret)
{
    top_frame(t->before, t->before ? &t->host_before : NULL, t->now, &t->host_now, ret);
    top_select(ret, &t->state);
}

static void draw(Top *t)
{
    TopFrame f;
    TopText text;
    size_t width, height;
    frame(t, &f);
    screen_size(&width, &height);
    top_draw(&f, &t->state, width, height, now_realtime(), &text, &t->page);
    screen_draw(&text);
    /* There may be fewer rows than when it was scrolled, or more room. */
    size_t most = f.n_rows > t->page ? f.n_rows - t->page : 0;
    t->state.first = MIN2(t->state.first, most);
    top_text_done(&text);
    top_frame_done(&f);
}

static void print(Top *t)
{
    TopFrame f;
    frame(t, &f);
    if (t->args->json) {
        _cleanup_json_ json_t *line = top_json(&f, now_realtime());
        json_dumpf(line, stdout, JSON_COMPACT);
        putchar('\n');
    } else {
        TopText text;
        size_t page;
        _cleanup_strbuf_ StrBuf b = STRBUF_NULL;
        top_draw(&f, &t->state, term()->width, 0, now_realtime(), &text, &page);
        top_text_plain(&text, &b);
        printf("%s%s", t->shown > 0 ? "\n" : "", b.s);
        top_text_done(&text);
    }
    top_frame_done(&f);
    fflush(stdout);
}

/* --- waiting ------------------------------------------------------------------------------------------------------ */
/* Signals that came. True: go on. */
static bool take_signals(Top *t, bool *ret_resized)
{
    struct signalfd_siginfo s;
    while (read(t->signals, &s, sizeof s) == sizeof s) {
        if (s.ssi_signo == SIGWINCH)
            *ret_resized = true;
        else
            t->ended_by = (int)s.ssi_signo;
    }
    return t->ended_by == 0;
}

/* Events of the daemon, which nobody asked for. */
static bool drain_bus(Top *t)
{
    int r;
    while ((r = sd_bus_process(t->client.bus, NULL)) > 0)
        ;
    if (r >= 0)
        return true;
    lose_daemon(t, -ECONNRESET);
    return false;
}

static Wake wait_until(Top *t, uint64_t deadline)
{
    for (;;) {
        bool resized = false;
        if (t->connected && !drain_bus(t))
            return WAKE_GONE;
        uint64_t now = now_monotonic();
        if (now >= deadline)
            return WAKE_TIME;
        struct pollfd p[] = {
            {.fd = t->signals, .events = POLLIN},
            {.fd = t->connected ? sd_bus_get_fd(t->client.bus) : -1, .events = POLLIN},
            {.fd = t->on_screen ? STDIN_FILENO : STDOUT_FILENO, .events = t->on_screen ? POLLIN : 0},
        };
        uint64_t left = deadline == USEC_INFINITY ? USEC_INFINITY : (deadline - now + 999) / USEC_PER_MSEC;
        int r = poll(p, ELEMENTS(p), (int)MIN2(left, (uint64_t)60000));
        if (r < 0 && errno != EINTR)
            return WAKE_END;
        if (!take_signals(t, &resized))
            return WAKE_END;
        if (resized && t->on_screen)
            return WAKE_RESIZED;
        if (r > 0 && (p[2].revents & (POLLERR | POLLHUP | POLLNVAL)))
            return WAKE_END;
        if (r > 0 && (p[2].revents & POLLIN))
            return WAKE_KEY;
    }
}

/* --- the two ways ------------------------------------------------------------------------------------------------- */
static bool enough(const Top *t)
{
    return t->args->lines != UINT64_MAX && t->shown >= t->args->lines;
}

static TopAction take_keys(Top *t)
{
    TopAction all = TOP_NOTHING;
    TopFrame f;
    frame(t, &f);
    for (int key; (key = screen_key()) != 0;)
        all = MAX2(all, top_key(&t->state, key, f.n_rows, t->page));
    top_frame_done(&f);
    return all;
}

static uint64_t after(const Top *t, bool first)
{
    uint64_t wait = t->state.interval_usec;
    if (t->state.paused)
        return USEC_INFINITY;
    return now_monotonic() + (first || !t->connected ? MIN2(wait, (uint64_t)SOON_USEC) : wait);
}

static void run_screen(Top *t)
{
    uint64_t next = after(t, true);
    draw(t);
    for (;;) {
        switch (wait_until(t, next)) {
        case WAKE_TIME:
            sample(t);
            draw(t);
            t->shown += t->connected;
            if (enough(t))
                return;
            next = after(t, !t->before);
            break;
        case WAKE_KEY: {
            uint64_t interval = t->state.interval_usec;
            TopAction action = take_keys(t);
            if (action == TOP_QUIT)
                return;
            if (action == TOP_SAMPLE)
                next = 0;
            else if (t->state.paused || interval != t->state.interval_usec)
                next = after(t, false);
            if (action != TOP_NOTHING)
                draw(t);
            break;
        }
        case WAKE_GONE:
            draw(t);
            next = after(t, false);
            break;
        case WAKE_RESIZED:
            screen_resize();
            draw(t);
            break;
        case WAKE_END:
            return;
        }
    }
}

/* The first sample is only there to be compared with. */
static ToolStatus run_plain(Top *t)
{
    while (!enough(t)) {
        switch (wait_until(t, after(t, false))) {
        case WAKE_TIME:
            sample(t);
            if (!t->before)
                break;
            print(t);
            t->shown++;
            if (!term_writable())
                return TOOL_FAILED;
            break;
        case WAKE_GONE:
        case WAKE_KEY:
        case WAKE_RESIZED:
            break;
        case WAKE_END:
            return t->ended_by ? TOOL_DONE : TOOL_FAILED;
        }
    }
    return TOOL_DONE;
}

static int hold_signals(Top *t)
{
    sigset_t set;
    sigemptyset(&set);
    static const int held[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH};
    for (size_t i = 0; i < ELEMENTS(held); i++)
        sigaddset(&set, held[i]);
    sigprocmask(SIG_BLOCK, &set, &t->mask);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* The first sample as other verbs ask: what is wrong with daemon or words is said, and ends it. */
static ToolStatus begin(Top *t)
{
    _cleanup_strv_ char **names = NULL;
    _cleanup_json_ json_t *answer = NULL;
    ToolStatus status = client_open(t->args, &t->client);
    if (status == TOOL_DONE && t->args->n_words > 0)
        status = client_expand(&t->client, t->args->words, t->args->n_words, &names);
    if (status == TOOL_DONE)
        status = client_call_json(&t->client, "GetUsage", NULL, &answer);
    STRV_FOREACH (name, names) {
        _cleanup_json_ json_t *one = NULL; /* a plain name is for the daemon to know */
        if (status == TOOL_DONE)
            status = client_call_json(&t->client, "Explain", *name, &one);
    }
    if (status != TOOL_DONE)
        return status;
    t->connected = true;
    take_sample(t, TAKE_PTR(answer));
    return TOOL_DONE;
}

ToolStatus verb_top(const Args *a)
{
    _cleanup_strv_ char **words = NULL;
    for (size_t i = 0; i < a->n_words; i++)
        strv_add(&words, a->words[i]);
    Top t = {.args = a, .state = {.sort = a->sort, .interval_usec = a->interval, .words = words}};
    ToolStatus status = begin(&t);
    if (status == TOOL_DONE) {
        t.signals = hold_signals(&t);
        bool plain = a->json || a->batch || !term()->output_is_terminal || !isatty(STDIN_FILENO);
        t.on_screen = !plain && screen_open(term()->colours) == 0;
        if (t.on_screen)
            run_screen(&t);
        else
            status = run_plain(&t);
        screen_close();
        close(t.signals);
        sigprocmask(SIG_SETMASK, &t.mask, NULL);
    }
    client_done(&t.client);
    json_decref(t.before);
    json_decref(t.now);
    free(t.notice);
    top_state_done(&t.state);
    /* Who sent it shall see that it was the end; ncurses has left handlers of its own. */
    if (t.ended_by) {
        signal(t.ended_by, SIG_DFL);
        (void)raise(t.ended_by);
    }
    return status;
}
