/* Whom the D-Bus face keeps out, and how it stands those who misbehave: raw sockets and other users. */
#include "tests/unit/control_server.h"

/* Every method that introspection shows is in the table of access.c: what is not there is root's alone. */
static void test_access_table(void **state)
{
    (void)state;
    static const char *const root_only[] = {"KillModule", "Shutdown", "Set", "BecomeMonitor", "Anything", ""};
    static const char *const operate[] = {"StartModule", "StopModule", "RestartModule", "ReloadModule",
                                          "DrainModule", "Start",      "Stop",          "Restart"};
    static const char *const read_[] = {"GetStatus",   "ListModules", "Explain", "OpenLog",
                                        "OpenLogFile", "Hello",       "Get",     "Introspect"};
    for (size_t i = 0; i < ELEMENTS(root_only); i++)
        assert_int_equal(access_needed(root_only[i]), ACCESS_ADMIN);
    for (size_t i = 0; i < ELEMENTS(operate); i++)
        assert_int_equal(access_needed(operate[i]), ACCESS_OPERATE);
    for (size_t i = 0; i < ELEMENTS(read_); i++)
        assert_int_equal(access_needed(read_[i]), ACCESS_READ);
    assert_int_equal(access_needed(NULL), ACCESS_ADMIN);

    const gid_t none = (gid_t)-1;
    const gid_t reader[] = {5, READ_GID}, operator_[] = {READ_GID, OPERATE_GID}, unset[] = {none};
    assert_int_equal(access_level(0, NULL, 0, none, none), ACCESS_ADMIN);
    assert_int_equal(access_level(1, reader, 2, READ_GID, OPERATE_GID), ACCESS_READ);
    assert_int_equal(access_level(1, operator_, 2, READ_GID, OPERATE_GID), ACCESS_OPERATE);
    assert_int_equal(access_level(1, reader, 1, READ_GID, OPERATE_GID), ACCESS_NONE);
    assert_int_equal(access_level(1, unset, 1, none, none), ACCESS_NONE);
    assert_int_equal(access_level(1, reader, 2, none, none), ACCESS_NONE);
}

/* Runs fn in a child with these credentials; its exit status. */
static int run_as(uid_t uid, gid_t gid, size_t n_groups, const gid_t *groups, int (*fn)(const Fixture *),
                  const Fixture *f)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (setgroups(n_groups, groups) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
            _exit(99);
        _exit(fn(f));
    }
    int status_ = 0;
    assert_int_equal(waitpid(pid, &status_, 0), pid);
    return WIFEXITED(status_) ? WEXITSTATUS(status_) : 98;
}

/* A bit for each thing that was allowed: 1 read, 2 property, 4 start, 8 module object's stop, 16 kill, 32 shutdown;
 * 64 when a refusal was none of AccessDenied; 128 when there was no connecting. */
static int what_may(const Fixture *f)
{
    sd_bus *bus = client(f);
    if (!bus || sd_bus_flush(bus) < 0)
        return 128;
    char error[128];
    int may = 0;
    sd_bus_error e = SD_BUS_ERROR_NULL;
    char *graph = call_for_string(bus, "GetGraph", NULL), *value = NULL;
    if (strcmp(graph, "digraph { web -> db }") == 0)
        may |= 1;
    else if (strcmp(graph, CONTROL_ERROR_ACCESS_DENIED) != 0)
        may |= 64;
    if (sd_bus_get_property_string(bus, NULL, PATH, MANAGER, "Version", NULL, &value) >= 0)
        may |= 2;
    if (call_st(bus, "StartModule", "web", 0, error, sizeof error) == 0)
        may |= 4;
    else if (strcmp(error, CONTROL_ERROR_ACCESS_DENIED) != 0)
        may |= 64;
    if (sd_bus_call_method(bus, NULL, PATH "/module/web", "org.bulkhead1.Module", "Stop", NULL, NULL, "t",
                           UINT64_C(0)) >= 0)
        may |= 8;
    if (sd_bus_call_method(bus, NULL, PATH, MANAGER, "KillModule", &e, NULL, "sit", "web", 15, UINT64_C(0)) >= 0)
        may |= 16;
    else if (!sd_bus_error_has_name(&e, CONTROL_ERROR_ACCESS_DENIED))
        may |= 64;
    if (sd_bus_call_method(bus, NULL, PATH, MANAGER, "Shutdown", NULL, NULL, "t", UINT64_C(0)) >= 0)
        may |= 32;
    return may;
}

static void need_root(void)
{
    if (geteuid() != 0) {
        print_message("skipped: needs root to change user\n");
        assert_null(getenv("MUST_WORK"));
        skip();
    }
}

static void test_access_of_users(void **state)
{
    need_root();
    const Fixture *f = *state;
    const gid_t reader[] = {READ_GID}, operator_[] = {READ_GID, OPERATE_GID},
                many[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17,
                          18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, READ_GID};
    assert_int_equal(run_as(NOBODY, NOBODY, 1, reader, what_may, f), 1 | 2);
    assert_int_equal(run_as(NOBODY, NOBODY, ELEMENTS(many), many, what_may, f), 1 | 2);
    assert_int_equal(run_as(NOBODY, READ_GID, 0, NULL, what_may, f), 1 | 2);
    assert_int_equal(run_as(NOBODY, NOBODY, 2, operator_, what_may, f), 1 | 2 | 4 | 8);
    assert_int_equal(run_as(NOBODY, NOBODY, 0, NULL, what_may, f), 128);
    /* Even where the socket's mode lets a stranger in, each call of his is refused. */
    struct stat st;
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    assert_int_equal(st.st_gid, READ_GID);
    assert_int_equal(chmod(f->path, 0666), 0);
    assert_int_equal(run_as(NOBODY, NOBODY, 0, NULL, what_may, f), 0);
    assert_int_equal(run_as(0, 0, 0, NULL, what_may, f), 1 | 2 | 4 | 8 | 16 | 32);
    assert_int_equal(server_end(*state), 0);
}

/* Does the peer keep this connection? It is closed at once when it is over a limit; when not, it answers. */
static bool kept(int fd)
{
    static const char hello[] = "\0AUTH\r\n";
    char buf[64];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return write(fd, hello, sizeof hello - 1) > 0 && poll(&p, 1, 5000) == 1 && read(fd, buf, sizeof buf) > 0;
}

/* Opens as each of 5 users 17 connections: 16 of each of the first three are kept, 15 of the fourth
 * (the test itself has a connection), then none. Bit 1: a wrong count. */
static int fill_up(const Fixture *f)
{
    signal(SIGPIPE, SIG_IGN);
    const gid_t reader[] = {READ_GID};
    if (setgroups(1, reader) < 0)
        return 97;
    for (uid_t uid = 70001; uid <= 70005; uid++) {
        unsigned n = 0;
        if (seteuid(uid) < 0)
            return 96;
        for (unsigned i = 0; i < CONTROL_CONNECTIONS_UID_MAX + 1; i++) {
            int fd = raw_connect(f);
            n += fd >= 0 && kept(fd);
        }
        if (seteuid(0) < 0)
            return 95;
        unsigned all = CONTROL_CONNECTIONS_UID_MAX;
        if (n != (uid < 70004 ? all : uid == 70004 ? all - 1 : 0))
            return 1;
    }
    return 0;
}

static size_t count_fds(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *d = opendir(path);
    size_t n = 0;
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

static void test_limits(void **state)
{
    need_root();
    const Fixture *f = *state;
    /* With this client the server has made all that it keeps for ever (its timer). */
    sd_bus *bus = client(f);
    assert_call(bus, "GetGraph", NULL, "digraph { web -> db }");
    size_t before = count_fds(f->server);
    assert_int_equal(run_as(0, 0, 0, NULL, fill_up, f), 0);
    /* Their ends free their places, and no descriptor stays. */
    uint64_t end = now_monotonic() + 5000000;
    while (count_fds(f->server) > before && now_monotonic() < end)
        sched_yield();
    assert_int_equal(count_fds(f->server), before);
    assert_call(bus, "GetGraph", NULL, "digraph { web -> db }");
    sd_bus_close_unref(bus);
}

/* Appends a header field of a D-Bus message: code, one-letter type 's' or 'o', value; 8-aligned. */
static size_t add_field(uint8_t *at, size_t n, uint8_t code, char type, const char *value)
{
    while (n % 8 != 0)
        at[n++] = 0;
    uint32_t len = (uint32_t)strlen(value);
    uint8_t head[4] = {code, 1, (uint8_t)type, 0};
    memcpy(at + n, head, 4);
    memcpy(at + n + 4, &len, 4);
    memcpy(at + n + 8, value, len + 1);
    return n + 8 + len + 1;
}

/* A call without arguments, of a body length that may lie. The length of the bytes. */
static size_t make_call(uint8_t *at, uint32_t body, const char *path, const char *interface, const char *member)
{
    uint32_t serial = 1, fields = 0;
    uint8_t head[4] = {'l', 1, 0, 1};
    memcpy(at, head, 4);
    memcpy(at + 4, &body, 4);
    memcpy(at + 8, &serial, 4);
    size_t n = 16;
    n = add_field(at, n, 1, 'o', path);
    n = add_field(at, n, 2, 's', interface);
    n = add_field(at, n, 3, 's', member);
    fields = (uint32_t)(n - 16);
    memcpy(at + 12, &fields, 4);
    while (n % 8 != 0)
        at[n++] = 0;
    return n;
}

/* The authentication of this user, BEGIN included. */
static size_t make_auth(uint8_t *at)
{
    char uid[16];
    size_t n = 0;
    n += (size_t)sprintf((char *)at + 1, "AUTH EXTERNAL ") + 1;
    at[0] = 0;
    snprintf(uid, sizeof uid, "%u", geteuid());
    for (const char *p = uid; *p; p++)
        n += (size_t)sprintf((char *)at + n, "%02x", *p);
    n += (size_t)sprintf((char *)at + n, "\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n");
    return n;
}

static bool wait_for_bytes(int fd, const char *wanted)
{
    char seen[4096];
    size_t n = 0;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (n < sizeof seen && poll(&p, 1, 5000) == 1) {
        ssize_t k = read(fd, seen + n, sizeof seen - n);
        if (k <= 0)
            return false;
        n += (size_t)k;
        if (memmem(seen, n, wanted, strlen(wanted)))
            return true;
    }
    return false;
}

/* sd-bus's trap: BEGIN and the first call in one read. */
static void test_begin_and_call_in_one_write(void **state)
{
    for (int i = 0; i < 20; i++) {
        uint8_t bytes[512];
        size_t n = make_auth(bytes), pad = n;
        uint8_t call[256];
        size_t k = make_call(call, 0, PATH, MANAGER, "GetGraph");
        memcpy(bytes + pad, call, k);
        int fd = raw_connect(*state);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, bytes, pad + k), (ssize_t)(pad + k));
        assert_true(wait_for_bytes(fd, "digraph { web -> db }"));
        close(fd);
    }
}

static void test_silent_peer_is_dropped(void **state)
{
    uint64_t before = now_monotonic();
    size_t bytes;
    int fd = raw_connect(*state);
    assert_true(read_to_end(fd, 5000, &bytes));
    assert_int_equal(bytes, 0);
    assert_true(now_monotonic() - before >= AUTH_USEC - 10000);
    close(fd);
}

static bool all_read(int fd)
{
    int left = 0;
    return ioctl(fd, SIOCOUTQ, &left) < 0 || left == 0;
}

static bool sleeps(pid_t pid)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    const char *name_end = file_read(AT_FDCWD, path, text, sizeof text) > 0 ? strrchr(text, ')') : NULL;
    return name_end && str_starts(name_end, ") S");
}

static void test_endless_message_is_dropped(void **state)
{
    const Fixture *f = *state;
    signal(SIGPIPE, SIG_IGN);
    uint8_t bytes[1024];
    size_t n = make_auth(bytes);
    n += make_call(bytes + n, 100 * 1024 * 1024, PATH, MANAGER, "GetGraph");
    int fd = raw_connect(f);
    assert_int_equal(write(fd, bytes, n), (ssize_t)n);
    static char junk[65536];
    size_t sent = 0;
    while (sent < 8 * 1024 * 1024) {
        ssize_t k = write(fd, junk, sizeof junk);
        if (k < 0)
            break;
        sent += (size_t)k;
        /* What comes during a read is not counted: the next is sent once this was read and the server sleeps. */
        uint64_t end = now_monotonic() + 5000000;
        while (!(all_read(fd) && sleeps(f->server)) && now_monotonic() < end)
            sched_yield();
    }
    assert_true(errno == EPIPE || errno == ECONNRESET);
    assert_in_range(sent, 1, 2 * 1024 * 1024);
    close(fd);
    signal(SIGPIPE, SIG_DFL);
}

/* A client that does not read is dropped once too much waits for it; one that reads gets everything meanwhile. */
static void test_queue_limit(void **state)
{
    uint8_t bytes[512];
    size_t n = make_auth(bytes), unread;
    int idle = raw_connect(*state);
    assert_int_equal(write(idle, bytes, n), (ssize_t)n);
    assert_true(wait_for_bytes(idle, "AGREE_UNIX_FD"));
    /* An answered call proves that it counts as authenticated; then it stops reading. */
    n = make_call(bytes, 0, PATH, MANAGER, "GetGraph");
    assert_int_equal(write(idle, bytes, n), (ssize_t)n);
    assert_true(wait_for_bytes(idle, "digraph { web -> db }"));

    sd_bus *bus = client(*state);
    Seen seen = {0};
    char error[128];
    assert_true(sd_bus_match_signal(bus, NULL, NULL, PATH, MANAGER, "Event", on_event, &seen) >= 0);
    for (unsigned i = 1; i <= FLOODS; i++) {
        assert_int_equal(call_st(bus, "StartModule", "flood", 0, error, sizeof error), 0);
        process_until(bus, &seen.events, i * FLOOD_EVENTS);
        assert_int_equal(seen.events, i * FLOOD_EVENTS);
    }
    assert_true(read_to_end(idle, 5000, &unread));
    assert_in_range(unread, 1, CONTROL_QUEUE_MAX);
    close(idle);
    sd_bus_close_unref(bus);
}

static uint64_t switches(pid_t pid)
{
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    assert_true(file_read(AT_FDCWD, path, text, sizeof text) > 0);
    const char *at = strstr(text, "\nvoluntary_ctxt_switches:");
    assert_non_null(at);
    return strtoull(at + strlen("\nvoluntary_ctxt_switches:"), NULL, 10);
}

/* With clients connected and nothing to say the server sleeps: longer than the time a silent peer has. */
static void test_idle_is_idle(void **state)
{
    const Fixture *f = *state;
    sd_bus *a = client(f), *b = client(f);
    assert_call(a, "GetGraph", NULL, "digraph { web -> db }");
    assert_call(b, "GetGraph", NULL, "digraph { web -> db }");
    struct pollfd p = {.fd = f->pidfd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 50), 0); /* let it go to sleep */
    uint64_t before = switches(f->server);
    assert_int_equal(poll(&p, 1, 2 * AUTH_USEC / 1000), 0);
    assert_int_equal(switches(f->server), before);
    sd_bus_close_unref(a);
    sd_bus_close_unref(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_access_table),
        WITH_SERVER(test_access_of_users),
        WITH_SERVER(test_limits),
        WITH_SERVER(test_begin_and_call_in_one_write),
        WITH_HASTY_SERVER(test_silent_peer_is_dropped),
        WITH_SERVER(test_endless_message_is_dropped),
        WITH_SERVER(test_queue_limit),
        WITH_HASTY_SERVER(test_idle_is_idle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
