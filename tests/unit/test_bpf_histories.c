/* Histories that nobody wrote down before: what connections do is drawn by lot, and a reference that watches from user
 * space says what must have been counted.
 *
 * Small ones step by step, where the reference is exact at any moment, on a sound device and on one that loses a fifth
 * of all that arrives. And one of a thousand connections at once over the same device, whose workers are killed: the
 * peaks are exact there too, and no count is ever below 0 nor stays. */
#include "base/clock.h"

/* What is lost is sent again after 0.2, 0.4, 0.8 s …: nine losses in a row have their time. */
#define DEADLINE (120 * USEC_PER_SEC)

#include "tests/unit/bpf_lossy.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define BOTH (WORK_TRACK_REQUESTS | WORK_TRACK_CONNECTIONS)

/* --- step by step ----------------------------------------------------------------------------------------------------
 */

typedef struct Reference {
    uint64_t started, completed, errors, in_flight, peak;
    uint64_t opened, open, open_peak; /* connections */
} Reference;

typedef struct Link {
    Pair pair;
    bool open, busy;
    size_t asked; /* bytes that the server has not read */
} Link;

/* One of each kind. The last segment of a handshake is not sent again for ever: where it can be lost, a request follows
 * that is. */
typedef struct Listeners {
    int plain, deferring;
    bool lossy;
} Listeners;

static void reference_begin(Reference *r, Link *k)
{
    if (k->busy)
        return;
    k->busy = true;
    r->started++;
    r->in_flight++;
    r->peak = MAX2(r->peak, r->in_flight);
}

static void reference_end(Reference *r, Link *k, bool error)
{
    if (!k->busy)
        return;
    k->busy = false;
    r->in_flight--;
    *(error ? &r->errors : &r->completed) += 1;
}

static void link_ask(Reference *r, Link *k)
{
    say(k->pair.client, "ask");
    k->asked += 3;
    reference_begin(r, k);
}

static void link_open(Reference *r, Link *k, const Listeners *from, unsigned *seed)
{
    int family = rand_r(seed) % 2 ? AF_INET : AF_INET6;
    *k = (Link){.open = true};
    r->opened++;
    r->open++;
    r->open_peak = MAX2(r->open_peak, r->open);
    unsigned how = (unsigned)rand_r(seed) % 3;
    if (how == 0 && !from->lossy) {
        k->pair = pair_open(from->plain, family);
        return;
    }
    int listener = how == 1 ? from->plain : from->deferring;
    k->pair.client = connect_to(family, port_of(listener));
    assert_true(k->pair.client >= 0);
    link_ask(r, k);
    k->pair.server = accept_one(listener);
}

static void link_close(Reference *r, Link *k)
{
    pair_close(&k->pair);
    k->open = false;
    r->open--;
}

static void drain_input(int fd)
{
    char buffer[4096];
    while (recv(fd, buffer, sizeof buffer, MSG_DONTWAIT) > 0) {
    }
}

/* All that was asked is there, the last segment of it too: one that came after the answer would ask anew. */
static void link_answer(Reference *r, Link *k)
{
    char buffer[4096];
    while (k->asked > 0) {
        assert_true(readable(k->pair.server, DEADLINE_MSEC));
        ssize_t n = recv(k->pair.server, buffer, MIN2(sizeof buffer, k->asked), 0);
        assert_true(n > 0);
        k->asked -= (size_t)n;
    }
    say(k->pair.server, "answer");
    assert_true(readable(k->pair.client, DEADLINE_MSEC));
    drain_input(k->pair.client);
    reference_end(r, k, false);
}

static void random_step(Reference *r, Link *k, const Listeners *from, unsigned *seed)
{
    if (!k->open) {
        link_open(r, k, from, seed);
        return;
    }
    switch (rand_r(seed) % 10) {
    case 0 ... 3: /* asks, or asks on */
        link_ask(r, k);
        break;
    case 4 ... 6:
        if (k->busy)
            link_answer(r, k);
        break;
    case 7: /* the client resets it; a reset that is lost is not sent again, and the server hears of nothing */
        reset(k->pair.client);
        k->pair.client = -EBADF;
        reference_end(r, k, true);
        (void)readable(k->pair.server, 300);
        link_close(r, k);
        break;
    case 8: /* unread input makes it a reset, else it is a FIN: an error if nothing was answered */
        k->pair.server = fd_close(k->pair.server);
        reference_end(r, k, true);
        link_close(r, k);
        break;
    default: /* half closed, answered all the same */
        shutdown(k->pair.client, SHUT_WR);
        if (k->busy)
            link_answer(r, k);
        else
            EVENTUALLY(readable(k->pair.server, 0));
        link_close(r, k);
    }
}

/* What is counted now, and that nothing is below 0. */
static bool agrees(Live *l, const Reference *r)
{
    struct work_entry w;
    assert_int_equal(kernel_work(l->kernel, l->a, &w), 0);
    assert_true(w.requests.in_flight >= 0 && w.connections.in_flight >= 0 && w.total.in_flight >= 0);
    return (uint64_t)w.requests.in_flight == r->in_flight && w.requests.started == r->started &&
           (uint64_t)w.connections.in_flight == r->open && w.connections.started == r->opened;
}

static void walk(Live *l, unsigned steps, bool lossy)
{
    int seconds = 60;
    Listeners from = {
        .plain = listener_in_leaf(l, AF_INET6), .deferring = listener_in_leaf(l, AF_INET6), .lossy = lossy};
    assert_int_equal(setsockopt(from.deferring, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof seconds), 0);
    unsigned seed = (unsigned)now_monotonic();
    print_message("seed %u\n", seed);
    track(l, BOTH, 0);
    Reference r = {0};
    Link links[12] = {0};
    for (unsigned step = 0; step < steps; step++) {
        random_step(&r, &links[(unsigned)rand_r(&seed) % ELEMENTS(links)], &from, &seed);
        EVENTUALLY(agrees(l, &r));
    }
    for (size_t i = 0; i < ELEMENTS(links); i++)
        if (links[i].open) {
            reference_end(&r, &links[i], true);
            links[i].pair.server = fd_close(links[i].pair.server);
            link_close(&r, &links[i]);
        }
    assert_requests(l, r.started, r.completed, r.errors);
    assert_int_equal(requests(l).in_flight_peak, r.peak);
    EVENTUALLY(counts(l).in_flight == 0);
    assert_int_equal(counts(l).completed + counts(l).errors, r.opened);
    assert_int_equal(counts(l).in_flight_peak, r.open_peak);
    close(from.plain);
    close(from.deferring);
}

static void test_random_histories(void **state)
{
    walk(live(state), 1000, false);
}

static void test_random_histories_under_loss(void **state)
{
    Live *l = live(state);
    _cleanup_fd_ int loss = -EBADF;
    int home = net_enter_lossy(&loss);
    walk(l, 150, true);
    net_leave(home);
}

/* --- a thousand at once ----------------------------------------------------------------------------------------------
 */

#define CLIENTS 1000
#define WORKERS 4
#define ROUNDS  6
#define WORD    8 /* bytes of a question and of an answer */
#define FDS     8192

typedef struct Crowd {
    int listeners[2]; /* plain, and TCP_DEFER_ACCEPT */
    int go;           /* an eventfd, readable once answers may be given */
    _Atomic bool open;
    _Atomic unsigned connected, asked, answered, accepted, processed, cut, again;
} Crowd;

static Crowd *crowd;

static const char word[WORD] = "1234567";

/* A worker's connections, by descriptor: bytes of the question that it has read. */
static unsigned have[FDS];

static void worker_answer(int fd, unsigned lot)
{
    crowd->processed++;
    if (lot == 0) { /* it goes without a word */
        close(fd);
        return;
    }
    size_t first = lot == 1 ? WORD / 2 : WORD;
    if (send(fd, word, first, MSG_NOSIGNAL) != (ssize_t)first ||
        (first < WORD && send(fd, word + first, WORD - first, MSG_NOSIGNAL) < 0))
        close(fd);
    else if (lot == 2) /* the last that it says */
        shutdown(fd, SHUT_WR);
}

static void worker_read(int fd, unsigned lot)
{
    char buffer[WORD];
    ssize_t n = recv(fd, buffer, WORD - have[fd], MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        close(fd);
    } else if (n > 0 && (have[fd] += (unsigned)n) == WORD) {
        have[fd] = 0;
        worker_answer(fd, lot);
    }
}

/* Takes connections at once, and reads from them when it may answer. */
static int work_off(void *arg)
{
    static int waiting[FDS];
    size_t n_waiting = 0;
    bool may = false;
    unsigned seed = (unsigned)getpid();
    int ep = epoll_create1(EPOLL_CLOEXEC);
    (void)arg;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 0; i < 2; i++)
        epoll_ctl(ep, EPOLL_CTL_ADD, crowd->listeners[i],
                  &(struct epoll_event){.events = EPOLLIN, .data.fd = crowd->listeners[i]});
    epoll_ctl(ep, EPOLL_CTL_ADD, crowd->go, &(struct epoll_event){.events = EPOLLIN, .data.fd = crowd->go});
    for (struct epoll_event e; epoll_wait(ep, &e, 1, -1) >= 0;) {
        int fd = e.data.fd;
        if (fd == crowd->go) {
            may = true;
            epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL);
        } else if (fd == crowd->listeners[0] || fd == crowd->listeners[1]) {
            int c = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
            if (c < 0 || c >= FDS)
                continue;
            crowd->accepted++;
            have[c] = 0;
            waiting[n_waiting++] = c;
        } else {
            worker_read(fd, (unsigned)rand_r(&seed) % 16);
        }
        while (may && n_waiting > 0) {
            int c = waiting[--n_waiting];
            epoll_ctl(ep, EPOLL_CTL_ADD, c, &(struct epoll_event){.events = EPOLLIN, .data.fd = c});
        }
    }
    return 1;
}

typedef struct Client {
    int fd;
    unsigned rounds, got;
    bool connecting, half;
} Client;

/* All clients are one process. The last of them, whose segments were lost again and again, would be waited for for
 * minutes: they are cut off once nothing has happened for so long. */
#define QUIET_MSEC 1000

static Client clients[CLIENTS];

static bool client_begin(int ep, Client *c)
{
    unsigned i = (unsigned)(c - clients);
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port_of(crowd->listeners[i % 2])),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    *c = (Client){
        .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), .rounds = c->rounds, .connecting = true};
    return c->fd >= 0 && (connect(c->fd, (void *)&a, sizeof a) == 0 || errno == EINPROGRESS) &&
           epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &(struct epoll_event){.events = EPOLLOUT, .data.u32 = i}) == 0;
}

/* What it does next; false: it has gone, and may come again. */
static bool client_ask(Client *c, unsigned lot)
{
    int one = 1, two = 2;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    /* A reset that was lost is not sent again, but each probe is answered by one. */
    setsockopt(c->fd, IPPROTO_TCP, TCP_KEEPINTVL, &one, sizeof one);
    setsockopt(c->fd, IPPROTO_TCP, TCP_KEEPIDLE, &two, sizeof two);
    setsockopt(c->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    if (lot == 0) /* nothing */
        return false;
    crowd->asked++;
    size_t first = lot == 1 ? 3 : WORD;
    if (send(c->fd, word, first, MSG_NOSIGNAL) < 0 ||
        (first < WORD && send(c->fd, word + first, WORD - first, MSG_NOSIGNAL) < 0))
        return false;
    if (lot == 2) {
        struct linger now = {.l_onoff = 1};
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        return false; /* a reset */
    }
    c->half = lot == 3;
    if (c->half)
        shutdown(c->fd, SHUT_WR);
    return true;
}

/* True while this connection goes on. */
static bool client_step(Client *c, unsigned lot)
{
    char buffer[WORD];
    if (c->connecting) {
        int err = 0;
        socklen_t size = sizeof err;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &size);
        if (err)
            return false;
        c->connecting = false;
        crowd->connected++;
        c->rounds++;
        return client_ask(c, c->rounds == 1 ? WORD : lot); /* the first of each: a plain question */
    }
    ssize_t n = recv(c->fd, buffer, WORD - c->got, 0);
    if (n < 0 && errno == EAGAIN)
        return true;
    if (n <= 0) {
        crowd->cut++;
        return false;
    }
    if ((c->got += (unsigned)n) < WORD)
        return true;
    crowd->answered++;
    c->got = 0;
    return !c->half && ++c->rounds <= ROUNDS && client_ask(c, lot);
}

static int come_and_go(void *arg)
{
    unsigned seed = (unsigned)now_monotonic(), left = CLIENTS;
    int ep = epoll_create1(EPOLL_CLOEXEC);
    (void)arg;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (unsigned i = 0; i < CLIENTS; i++)
        if (!client_begin(ep, &clients[i]))
            return 1;
    while (left > 0) {
        struct epoll_event e;
        int n = epoll_wait(ep, &e, 1, QUIET_MSEC);
        if (n < 0)
            return 2;
        if (n == 0 && crowd->open && left < CLIENTS / 10)
            return 0;
        if (n == 0)
            continue;
        Client *c = &clients[e.data.u32];
        bool was_connecting = c->connecting;
        if (client_step(c, (unsigned)rand_r(&seed) % 16)) {
            if (was_connecting)
                epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &(struct epoll_event){.events = EPOLLIN, .data.u32 = e.data.u32});
            continue;
        }
        close(c->fd);
        bool over = c->rounds >= ROUNDS;
        left -= over;
        crowd->again += !over;
        if (!over && !client_begin(ep, c))
            return 3;
    }
    return 0;
}

/* Nothing is below 0, and nothing has ended that has not begun. */
static bool sound(Live *l)
{
    struct work_entry w;
    assert_int_equal(kernel_work(l->kernel, l->a, &w), 0);
    const struct work_counters *of[] = {&w.requests, &w.connections};
    assert_true(w.total.in_flight >= 0);
    for (size_t i = 0; i < ELEMENTS(of); i++) {
        assert_true(of[i]->in_flight >= 0 && of[i]->in_flight <= of[i]->in_flight_peak);
        assert_int_equal(of[i]->rejected, 0);
    }
    return true;
}

static void crowd_open(Live *l)
{
    struct rlimit many;
    int seconds = 60;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &many), 0);
    many.rlim_cur = MIN2(many.rlim_max, (rlim_t)FDS);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &many), 0);
    crowd = mmap(NULL, sizeof *crowd, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(crowd, MAP_FAILED);
    crowd->go = eventfd(0, EFD_CLOEXEC);
    for (int i = 0; i < 2; i++) {
        crowd->listeners[i] = listener_in_leaf(l, AF_INET);
        assert_int_equal(listen(crowd->listeners[i], 2 * CLIENTS), 0);
        assert_int_equal(fcntl(crowd->listeners[i], F_SETFL, O_NONBLOCK), 0);
    }
    assert_int_equal(setsockopt(crowd->listeners[1], IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof seconds), 0);
}

static void test_a_thousand_at_once_under_loss(void **state)
{
    Live *l = live(state);
    _cleanup_fd_ int loss = -EBADF;
    int home = net_enter_lossy(&loss);
    net_set("core/somaxconn", "4096");
    net_set("ipv4/tcp_max_syn_backlog", "4096");
    track(l, BOTH, 0);
    crowd_open(l);
    pid_t workers[WORKERS], all = child_in("", come_and_go, NULL);
    for (int i = 0; i < WORKERS; i++)
        workers[i] = child_in("", work_off, NULL);
    /* All have asked, none is answered. Who was refused in between (a handshake whose segments were lost until the
     * kernel gave it up) has come again, and the server may not know yet that the first of them has gone. */
    EVENTUALLY(sound(l) && requests(l).in_flight >= CLIENTS);
    struct work_counters r = requests(l), c = counts(l);
    uint64_t most = CLIENTS + crowd->again;
    print_message("%d at once, %u of them came again\n", CLIENTS, crowd->again);
    assert_in_range(c.in_flight_peak, CLIENTS, most);
    assert_in_range(r.in_flight_peak, CLIENTS, most);
    assert_in_range(c.started, CLIENTS, most);
    assert_in_range(r.started, CLIENTS, most);
    assert_int_equal(r.completed, 0);
    crowd->open = true;
    assert_int_equal(write(crowd->go, &(uint64_t){1}, sizeof(uint64_t)), sizeof(uint64_t));
    /* From here on everything happens at any time, the end of a worker too. */
    unsigned killed = 0;
    int status = -1;
    _cleanup_fd_ int ended = (int)syscall(SYS_pidfd_open, all, 0);
    uint64_t until = now_monotonic() + DEADLINE;
    for (unsigned next = 100; waitpid(all, &status, WNOHANG) == 0;) {
        assert_true(sound(l) && now_monotonic() < until);
        if (crowd->processed < next) {
            (void)readable(ended, 1);
            continue;
        }
        next = crowd->processed + 200;
        kill(workers[killed % WORKERS], SIGKILL);
        wait_child(workers[killed % WORKERS]);
        workers[killed++ % WORKERS] = child_in("", work_off, NULL);
    }
    assert_int_equal(status, 0);
    assert_true(killed > 0);
    for (int i = 0; i < WORKERS; i++) {
        kill(workers[i], SIGKILL);
        wait_child(workers[i]);
        close(crowd->listeners[i % 2]);
    }
    EVENTUALLY(sound(l) && requests(l).in_flight == 0 && counts(l).in_flight == 0);
    r = requests(l);
    c = counts(l);
    print_message("%u connected, %u accepted; %u asked, %u processed, %u answered, %u cut off, %u workers killed\n",
                  crowd->connected, crowd->accepted, crowd->asked, crowd->processed, crowd->answered, crowd->cut,
                  killed);
    assert_int_equal(r.completed + r.errors, r.started);
    assert_int_equal(c.completed + c.errors, c.started);
    assert_in_range(c.started, crowd->accepted, crowd->connected);
    assert_in_range(r.started, crowd->processed, crowd->asked);
    assert_in_range(r.completed, crowd->answered, r.started);
    struct work_entry w;
    assert_int_equal(kernel_work(l->kernel, l->a, &w), 0);
    assert_int_equal(w.total.in_flight, 0);
    close(crowd->go);
    munmap(crowd, sizeof *crowd);
    net_leave(home);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, live_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_random_histories),
        TEST(test_random_histories_under_loss),
        TEST(test_a_thousand_at_once_under_loss),
    };
    cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
