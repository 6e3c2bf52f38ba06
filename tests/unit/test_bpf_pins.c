/* The loader: what it pins and how private, what bpftool reads there, what a dead instance leaves and how that goes
 * away, what is refused, and that nothing stays behind. */
#include "tests/unit/bpf_live.h"

#include <bpf/bpf.h>
#include <jansson.h>
#include <linux/magic.h>
#include <sys/resource.h>
#include <sys/vfs.h>

static const char *const pins[] = {"work",     "exits",     "exit_ring",   "conns",   "stats",
                                   "link_oom", "link_exit", "link_signal", "link_tcp"};

static bool mounted(const Live *l)
{
    struct statfs fs;
    return statfs(l->bpffs, &fs) == 0 && fs.f_type == BPF_FS_MAGIC;
}

static void pin_path(const Live *l, const char *name, char ret[static 256])
{
    snprintf(ret, 256, "%s/bulkhead/" INSTANCE "%s%s", l->bpffs, *name ? "/" : "", name);
}

static void test_pins_are_private(void **state)
{
    Live *l = live(state);
    struct stat st;
    char path[256];
    pin_path(l, "", path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(stat(l->bpffs, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    for (size_t i = 0; i < ELEMENTS(pins); i++) {
        pin_path(l, pins[i], path);
        assert_int_equal(lstat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(st.st_uid, 0);
    }
    l->kernel = kernel_close(l->kernel);
    assert_false(mounted(l)); /* made by us, empty, so unmounted */
}

static json_t *bpftool_dump(const Live *l, const char *map)
{
    char command[512], path[256];
    pin_path(l, map, path);
    const char *tool = access("/usr/sbin/bpftool", X_OK) == 0 ? "/usr/sbin/bpftool" : "bpftool";
    snprintf(command, sizeof command, "%s -j map dump pinned %s", tool, path);
    FILE *f = popen(command, "re");
    assert_non_null(f);
    json_error_t error;
    json_t *j = json_loadf(f, 0, &error);
    int status = pclose(f);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        SKIP("bpftool is not installed");
    assert_int_equal(status, 0);
    assert_non_null(j);
    return j;
}

static void test_bpftool_reads_fields(void **state)
{
    Live *l = live(state);
    json_t *j = bpftool_dump(l, "work");
    assert_int_equal(json_array_size(j), 1);
    json_t *value = json_object_get(json_object_get(json_array_get(j, 0), "formatted"), "value");
    assert_string_equal(json_string_value(json_object_get(value, "name")), "a");
    assert_int_equal(json_integer_value(json_object_get(value, "generation")), 1);
    static const char *const counters[] = {"started",        "completed",    "errors",   "in_flight",
                                           "in_flight_peak", "long_running", "rejected", "total_usec"};
    for (size_t i = 0; i < ELEMENTS(counters); i++)
        assert_true(json_is_integer(json_object_get(json_object_get(value, "connections"), counters[i])));
    assert_int_equal(json_array_size(json_object_get(json_object_get(value, "connections"), "latency")),
                     BULKHEAD_HIST_SLOTS);
    json_decref(j);
    j = bpftool_dump(l, "exits");
    value = json_object_get(json_object_get(json_array_get(j, 0), "formatted"), "value");
    assert_int_equal(json_integer_value(json_object_get(value, "module")), l->a);
    assert_true(json_is_integer(json_object_get(value, "exit_code")));
    json_decref(j);
    json_decref(bpftool_dump(l, "stats"));
}

/* Ids of the programs and maps that are pinned now. */
static size_t object_ids(const Live *l, uint32_t programs[ELEMENTS(pins)], uint32_t maps[ELEMENTS(pins)],
                         size_t *ret_maps)
{
    size_t n = 0, m = 0;
    for (size_t i = 0; i < ELEMENTS(pins); i++) {
        char path[256];
        pin_path(l, pins[i], path);
        _cleanup_fd_ int fd = bpf_obj_get(path);
        assert_true(fd >= 0);
        if (str_starts(pins[i], "link_")) {
            struct bpf_link_info info = {0};
            unsigned size = sizeof info;
            assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &size), 0);
            programs[n++] = info.prog_id;
        } else {
            struct bpf_map_info info = {0};
            unsigned size = sizeof info;
            assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &size), 0);
            maps[m++] = info.id;
        }
    }
    *ret_maps = m;
    return n;
}

static bool object_gone(int (*open_by_id)(uint32_t), uint32_t id)
{
    _cleanup_fd_ int fd = open_by_id(id);
    return fd < 0;
}

static void test_nothing_stays_loaded(void **state)
{
    Live *l = live(state);
    uint32_t programs[ELEMENTS(pins)], maps[ELEMENTS(pins)];
    size_t n_maps, n = object_ids(l, programs, maps, &n_maps);
    assert_int_equal(n + n_maps, ELEMENTS(pins));
    assert_false(object_gone(bpf_prog_get_fd_by_id, programs[0]));
    l->kernel = kernel_close(l->kernel);
    /* The kernel lets go a grace period later. */
    for (size_t i = 0; i < n; i++)
        EVENTUALLY(object_gone(bpf_prog_get_fd_by_id, programs[i]));
    for (size_t i = 0; i < n_maps; i++)
        EVENTUALLY(object_gone(bpf_map_get_fd_by_id, maps[i]));
}

static void test_open_leaves_fds_and_limits_alone(void **state)
{
    Live *l = live(state);
    KernelConfig config = live_config(l);
    struct rlimit before, after;
    bool mine[256];
    getrlimit(RLIMIT_MEMLOCK, &before);
    for (int fd = 0; fd < (int)ELEMENTS(mine); fd++)
        mine[fd] = fcntl(fd, F_GETFD) >= 0;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(kernel_open(&config, &l->kernel, NULL), 0);
        int opened = 0;
        for (int fd = 0; fd < (int)ELEMENTS(mine); fd++) {
            int flags = mine[fd] ? -1 : fcntl(fd, F_GETFD);
            opened += flags >= 0;
            assert_true(flags < 0 || (flags & FD_CLOEXEC)); /* none for modules */
        }
        assert_in_range(opened, 1, 24);
        l->kernel = kernel_close(l->kernel);
    }
    for (int fd = 0; fd < (int)ELEMENTS(mine); fd++)
        assert_true(mine[fd] == (fcntl(fd, F_GETFD) >= 0));
    getrlimit(RLIMIT_MEMLOCK, &after);
    assert_int_equal(before.rlim_cur, after.rlim_cur); /* modules inherit it */
    assert_int_equal(before.rlim_max, after.rlim_max);
}

/* --- a dead instance -------------------------------------------------------------------------------------------------
 */

/* Opens in a child that dies without closing. `module` is added with a generation in `leaf`. */
static void open_and_die(Live *l)
{
    pid_t pid = fork();
    if (pid == 0) {
        Kernel *k;
        KernelConfig config = live_config(l);
        if (kernel_open(&config, &k, NULL) < 0 ||
            kernel_module_add(k, l->a, &(KernelModule){.name = "a", .track = 1}, NULL) < 0 ||
            kernel_generation_add(k, l->leaf_id, l->a, 1, NULL) < 0)
            _exit(1);
        kill(getpid(), SIGKILL);
    }
    assert_int_equal(wait_child(pid), SIGKILL);
}

static void test_pins_of_the_dead(void **state)
{
    Live *l = live(state);
    open_and_die(l);
    KernelConfig config = live_config(l);
    Error e = {0};
    assert_int_equal(kernel_open(&config, &l->kernel, &e), -EEXIST);
    assert_non_null(strstr(e.msg, "bulkheadd --instance " INSTANCE));
    /* The dead one's programs go on: they note an end (of a child of nobody's, so its main must be known). */
    char path[256];
    pin_path(l, "exits", path);
    _cleanup_fd_ int exits = bpf_obj_get(path);
    assert_true(exits >= 0);
    struct exit_entry entry;
    assert_int_equal(bpf_map_lookup_elem(exits, &l->leaf_id, &entry), 0);
    int gate[2];
    assert_int_equal(pipe(gate), 0);
    pid_t pid = fork();
    if (pid == 0) {
        char procs[800], byte;
        snprintf(procs, sizeof procs, "%s/cgroup.procs", l->leaf);
        _exit(read(gate[0], &byte, 1) == 1 && file_write(AT_FDCWD, procs, "0") == 0 ? 12 : 1);
    }
    entry.main_pid = (uint32_t)pid;
    assert_int_equal(bpf_map_update_elem(exits, &l->leaf_id, &entry, BPF_EXIST), 0);
    assert_int_equal(write(gate[1], "", 1), 1);
    wait_child(pid);
    close(gate[0]);
    close(gate[1]);
    assert_int_equal(bpf_map_lookup_elem(exits, &l->leaf_id, &entry), 0);
    assert_int_equal(entry.exit_code, 12 << 8);
    /* Purged, it opens again. */
    unsigned n = 0;
    assert_int_equal(kernel_purge_at(l->bpffs, INSTANCE, &n, &e), 0);
    assert_int_equal(n, ELEMENTS(pins));
    assert_false(mounted(l));
    assert_int_equal(kernel_purge_at(l->bpffs, INSTANCE, &n, &e), 0);
    assert_int_equal(n, 0);
    assert_int_equal(kernel_open(&config, &l->kernel, &e), 0);
    assert_int_equal(kernel_purge_at(l->bpffs, "another", &n, &e), 0);
    assert_int_equal(n, 0);
}

static void test_foreign_pins_are_left_alone(void **state)
{
    Live *l = live(state);
    open_and_die(l);
    char work[256], aside[256], path[256];
    struct stat st;
    Error e = {0};
    unsigned n = 9;
    pin_path(l, "work", work);
    snprintf(aside, sizeof aside, "%s/aside", l->bpffs);
    /* another type under a name of ours */
    assert_int_equal(rename(work, aside), 0);
    _cleanup_fd_ int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "foreign", 4, 8, 1, NULL);
    assert_true(fd >= 0);
    assert_int_equal(bpf_obj_pin(fd, work), 0);
    assert_int_equal(kernel_purge_at(l->bpffs, INSTANCE, &n, &e), -EMEDIUMTYPE);
    assert_non_null(strstr(e.msg, "work"));
    assert_int_equal(n, 0);
    assert_int_equal(unlink(work), 0);
    assert_int_equal(rename(aside, work), 0);
    /* another owner */
    assert_int_equal(chown(work, 65534, 65534), 0);
    assert_int_equal(kernel_purge_at(l->bpffs, INSTANCE, &n, &e), -EPERM);
    assert_non_null(strstr(e.msg, "65534"));
    for (size_t i = 0; i < ELEMENTS(pins); i++) {
        pin_path(l, pins[i], path);
        assert_int_equal(stat(path, &st), 0); /* nothing was removed */
    }
    assert_int_equal(chown(work, 0, 0), 0);
    /* another one's directory, as anybody may make it in a bpffs of mode 1777 */
    pin_path(l, "", path);
    assert_int_equal(chown(path, 65534, 65534), 0);
    assert_int_equal(kernel_purge_at(l->bpffs, INSTANCE, &n, &e), -EPERM);
    KernelConfig config = live_config(l);
    assert_int_equal(kernel_open(&config, &l->kernel, &e), -EPERM);
    assert_non_null(strstr(e.msg, "belongs to user 65534"));
    assert_int_equal(chown(path, 0, 0), 0);
    /* a symlink in the place of the directory */
    assert_int_equal(rename(path, aside), 0);
    assert_int_equal(symlink(aside, path), 0);
    assert_true(kernel_purge_at(l->bpffs, INSTANCE, &n, &e) < 0);
    assert_true(kernel_open(&config, &l->kernel, &e) < 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rename(aside, path), 0);
    assert_int_equal(kernel_purge_at(l->bpffs, INSTANCE, &n, &e), 0);
    assert_int_equal(n, ELEMENTS(pins));
}

/* --- instances side by side ------------------------------------------------------------------------------------------
 */

static int open_and_close(void *arg)
{
    Live *l = arg;
    char name[32];
    snprintf(name, sizeof name, "side-%d", getpid());
    KernelConfig config = live_config(l);
    config.instance = name;
    for (int i = 0; i < 6; i++) {
        Kernel *k = NULL;
        Error e = {0};
        if (kernel_open(&config, &k, &e) < 0) {
            print_message("%s\n", error_message(&e));
            return 1;
        }
        struct work_entry w;
        if (kernel_module_add(k, 1, &(KernelModule){.name = "x"}, NULL) < 0 || kernel_work(k, 1, &w) < 0)
            return 2;
        kernel_close(k);
    }
    return 0;
}

static void test_instances_come_and_go(void **state)
{
    Live *l = live(state);
    pid_t side[4];
    for (size_t i = 0; i < ELEMENTS(side); i++)
        side[i] = child_in("", open_and_close, l);
    for (size_t i = 0; i < ELEMENTS(side); i++)
        assert_int_equal(wait_child(side[i]), 0);
    assert_false(mounted(l));
}

static void test_mount_of_others_stays(void **state)
{
    Live *l = live(state);
    assert_int_equal(mount("someone", l->bpffs, "bpf", 0, "mode=1777"), 0);
    KernelConfig config = live_config(l);
    assert_int_equal(kernel_open(&config, &l->kernel, NULL), 0);
    l->kernel = kernel_close(l->kernel);
    assert_true(mounted(l));
    char path[256];
    snprintf(path, sizeof path, "%s/bulkhead", l->bpffs);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(umount(l->bpffs), 0);
    assert_false(mounted(l));
}

static void test_our_mount_stays_while_used(void **state)
{
    Live *l = live(state);
    KernelConfig config = live_config(l);
    assert_int_equal(kernel_open(&config, &l->kernel, NULL), 0);
    char pin[256];
    snprintf(pin, sizeof pin, "%s/guest", l->bpffs);
    _cleanup_fd_ int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "guest", 4, 8, 1, NULL);
    assert_int_equal(bpf_obj_pin(fd, pin), 0);
    l->kernel = kernel_close(l->kernel);
    assert_true(mounted(l)); /* somebody pinned something */
    assert_int_equal(unlink(pin), 0);
    assert_int_equal(kernel_open(&config, &l->kernel, NULL), 0);
    l->kernel = kernel_close(l->kernel);
    assert_false(mounted(l));
}

/* --- what the host lacks ---------------------------------------------------------------------------------------------
 */

static void test_no_btf(void **state)
{
    Live *l = live(state);
    KernelConfig config = live_config(l);
    Error e = {0};
    config.btf_path = "/nonexistent/vmlinux";
    assert_int_equal(kernel_open(&config, &l->kernel, &e), -ENOENT);
    assert_string_equal(e.msg, "no BTF: /nonexistent/vmlinux is missing (a kernel with CONFIG_DEBUG_INFO_BTF=y is "
                               "needed, or bpf = optional in [supervisor])");
    assert_null(l->kernel);
    assert_false(mounted(l));
}

static void test_no_bpffs(void **state)
{
    Live *l = live(state);
    KernelConfig config = live_config(l);
    Error e = {0};
    config.bpffs_path = "/nonexistent/bpf";
    assert_int_equal(kernel_open(&config, &l->kernel, &e), -ENOENT);
    assert_non_null(strstr(e.msg, "no bpffs: none is mounted on /nonexistent/bpf"));
    assert_non_null(strstr(e.msg, "bpf = optional in [supervisor]"));
    assert_null(l->kernel);
}

static int open_unprivileged(void *arg)
{
    Live *l = arg;
    KernelConfig config = live_config(l);
    Kernel *k = NULL;
    Error e = {0};
    if (setgid(65534) < 0 || setuid(65534) < 0)
        return 1;
    return kernel_open(&config, &k, &e) == -EPERM && strstr(e.msg, "root") ? 0 : 2;
}

static void test_no_root(void **state)
{
    Live *l = live(state);
    assert_int_equal(wait_child(child_in("", open_unprivileged, l)), 0);
    assert_false(mounted(l));
}

/* Sizes from nowhere are clamped; if the kernel refuses them all the same, that is one line and nothing is left. */
static int open_absurd(void *arg)
{
    Live *l = arg;
    KernelConfig config = live_config(l);
    Kernel *k = NULL;
    Error e = {0};
    config.max_modules = SIZE_MAX / 4; /* clamped; the ring too */
    config.modules_level = 3;
    int r = kernel_open(&config, &k, &e);
    if (r < 0)
        return e.msg[0] && !strchr(e.msg, '\n') ? 0 : 2;
    kernel_close(k);
    return 0;
}

static void test_absurd_sizes_are_bounded(void **state)
{
    Live *l = live(state);
    assert_int_equal(wait_child(child_in("", open_absurd, l)), 0);
    assert_false(mounted(l));
}

/* --- memory ----------------------------------------------------------------------------------------------------------
 */

_unused_ static uint64_t private_dirty_kib(void)
{
    static const char key[] = "Private_Dirty:";
    _cleanup_(freep) char *text = NULL;
    assert_int_equal(file_read_all(AT_FDCWD, "/proc/self/smaps_rollup", 1u << 16, &text, NULL), 0);
    char *at = strstr(text, key);
    assert_non_null(at);
    return at ? strtoull(at + sizeof key - 1, NULL, 10) : 0;
}

/* libbpf needs megabytes while it loads; a daemon of 8 MiB cannot keep them. */
static void test_memory_is_given_back(void **state)
{
#ifdef BULKHEAD_SANITIZED
    (void)state;
    SKIP("the sanitizer keeps what is freed");
#else
    Live *l = live(state);
    KernelConfig config = live_config(l);
    uint64_t before = private_dirty_kib();
    assert_int_equal(kernel_open(&config, &l->kernel, NULL), 0);
    uint64_t after = private_dirty_kib();
    print_message("kernel_open: private memory %lu KiB before, %lu KiB after\n", before, after);
    assert_true(after < before + 512);
#endif
}

/* A sandbox may let programs be loaded and not be attached: what hangs on a cgroup is tried on one. */
static void test_parts_are_attached_to_be_tried(void **state)
{
    Live *l = live(state);
    Error e = {0};
    const int parts[] = {KERNEL_CONTROL, KERNEL_EXITS, KERNEL_CONNECTIONS};
    for (size_t i = 0; i < ELEMENTS(parts); i++) {
        assert_int_equal(kernel_probe_part((KernelPrograms)parts[i], l->modules_fd, &e), 0);
        assert_int_equal(kernel_probe_part((KernelPrograms)parts[i], -EBADF, &e), 0);
    }
    _cleanup_fd_ int none = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(kernel_probe_part(KERNEL_EXITS, none, &e), 0);
    assert_true(kernel_probe_part(KERNEL_CONNECTIONS, none, &e) < 0);
    assert_non_null(strstr(error_message(&e), "sockops"));
    /* Nothing of it is left there. */
    uint32_t n = 1;
    assert_int_equal(bpf_prog_query(l->modules_fd, BPF_CGROUP_SOCK_OPS, 0, NULL, NULL, &n), 0);
    assert_int_equal(n, 0);
}

#define OPEN(name) cmocka_unit_test_setup_teardown(name, live_open, live_close)
#define TREE(name) cmocka_unit_test_setup_teardown(name, live_tree, live_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OPEN(test_pins_are_private),
        OPEN(test_bpftool_reads_fields),
        OPEN(test_nothing_stays_loaded),
        TREE(test_open_leaves_fds_and_limits_alone),
        TREE(test_pins_of_the_dead),
        TREE(test_foreign_pins_are_left_alone),
        TREE(test_instances_come_and_go),
        TREE(test_mount_of_others_stays),
        TREE(test_our_mount_stays_while_used),
        TREE(test_no_btf),
        TREE(test_no_bpffs),
        TREE(test_no_root),
        TREE(test_parts_are_attached_to_be_tried),
        TREE(test_absurd_sizes_are_bounded),
        TREE(test_memory_is_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
