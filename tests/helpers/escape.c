/* usage: escape FILE INSTANCE DAEMON_PID SCRATCH_DIR. As whoever it is, mostly root, tries to undo its bulkhead, and
 * writes as JSON {"attempt": {"ok": bool, "errno": N, "detail": "…"}} what succeeded. Nothing that it tries harms the
 * host. */
#include <dirent.h>
#include <linux/bpf.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "tests/helpers/helper.h"

static FILE *out;
static const char *instance, *scratch;
static pid_t daemon_pid;

static void report(const char *name, bool ok, int error, const char *detail)
{
    static int n;
    fprintf(out, "%s\"%s\":{\"ok\":%s,\"errno\":%d,\"detail\":\"", n++ ? ",\n" : "", name, ok ? "true" : "false",
            ok ? 0 : error);
    for (const char *s = detail; *s; s++)
        if (*s != '"' && *s != '\\' && (unsigned char)*s >= 0x20)
            fputc(*s, out);
    fprintf(out, "\"}");
}

static void try_write(const char *name, const char *path, const char *value)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    int e = errno;
    bool ok = fd >= 0;
    if (ok && *value)
        ok = write(fd, value, strlen(value)) >= 0, e = errno;
    if (fd >= 0)
        close(fd);
    report(name, ok, e, path);
}

/* The own cgroup in every hierarchy, under where Debian and systemd mount it. */
static void cgroups(void)
{
    char line[4096], path[8192], name[64];
    FILE *f = fopen("/proc/self/cgroup", "re");
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':') + 1, *own = strchr(controllers, ':');
        *own++ = '\0';
        const char *mount_point = *controllers                                  ? controllers
                                  : access("/sys/fs/cgroup/unified", F_OK) == 0 ? "unified"
                                                                                : ".";
        if (strncmp(mount_point, "name=", 5) == 0)
            mount_point += 5;
        static const char *const files[] = {"cgroup.procs", "memory.limit_in_bytes", "memory.max",
                                            "pids.max",     "cpu.cfs_quota_us",      "cpu.max",
                                            "cgroup.freeze"};
        for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
            snprintf(path, sizeof path, "/sys/fs/cgroup/%s%s/%s", mount_point, own, files[i]);
            if (access(path, F_OK) != 0)
                continue;
            snprintf(name, sizeof name, "cgroup-%s-%s", mount_point, files[i]);
            try_write(name, path, i == 0 ? "" : "-1");
        }
        snprintf(path, sizeof path, "/sys/fs/cgroup/%s/cgroup.procs", mount_point);
        snprintf(name, sizeof name, "cgroup-%s-root", mount_point);
        try_write(name, path, "");
        snprintf(path, sizeof path, "/sys/fs/cgroup/%s%s/escaped", mount_point, own);
        snprintf(name, sizeof name, "cgroup-%s-mkdir", mount_point);
        bool made = mkdir(path, 0755) == 0;
        report(name, made, errno, path);
        if (made)
            rmdir(path);
        snprintf(path, sizeof path, "/sys/fs/cgroup/%s", mount_point);
        snprintf(name, sizeof name, "remount-%s", mount_point);
        report(name, mount(NULL, path, NULL, MS_REMOUNT | MS_BIND, NULL) == 0, errno, path);
        snprintf(name, sizeof name, "umount-%s", mount_point);
        report(name, umount2(path, MNT_DETACH) == 0, errno, path);
    }
    if (f)
        fclose(f);
}

/* "ok" means that something was seen there but the one or two that may be. */
static void look(const char *name, const char *path, const char *allowed, const char *also)
{
    DIR *d = opendir(path);
    int e = errno, seen = 0;
    char detail[256] = "";
    for (struct dirent *entry; d && (entry = readdir(d));)
        if (entry->d_name[0] != '.' && strcmp(entry->d_name, allowed) != 0 && strcmp(entry->d_name, also) != 0) {
            seen++;
            snprintf(detail, sizeof detail, "%s", entry->d_name);
        }
    if (d)
        closedir(d);
    report(name, seen > 0, d ? ENOENT : e, detail);
}

static void hidden(void)
{
    char path[4096];
    look("see-bpffs", "/sys/fs/bpf", "", "");
    look("see-run", "/run/bulkhead", instance, "");
    snprintf(path, sizeof path, "/run/bulkhead/%s", instance);
    look("see-runtime-dir", path, "notify", "work");
    snprintf(path, sizeof path, "/sys/fs/bpf/bulkhead/%s", instance);
    look("see-pins", path, "", "");
    snprintf(path, sizeof path, "/proc/%d/root/run/bulkhead", daemon_pid);
    look("see-run-by-proc-root", path, "", "");
    look("see-run-by-init-root", "/proc/1/root/run/bulkhead", "", "");
    char target[64];
    snprintf(path, sizeof path, "/proc/%d/fd/2", daemon_pid);
    report("read-daemon-fd", readlink(path, target, sizeof target) > 0, errno, path);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "/run/bulkhead/%s/bus", instance);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    report("connect-bus", connect(fd, (struct sockaddr *)&a, sizeof a) == 0, errno, a.sun_path);
    close(fd);
}

static void mounts(void)
{
    report("umount-run", umount2("/run/bulkhead", MNT_DETACH) == 0, errno, "");
    report("umount-bpffs", umount2("/sys/fs/bpf", MNT_DETACH) == 0, errno, "");
    report("mount-tmpfs", mount("none", scratch, "tmpfs", 0, NULL) == 0, errno, scratch);
    report("mount-cgroup2", mount("none", scratch, "cgroup2", 0, NULL) == 0, errno, scratch);
    report("mount-bpf", mount("none", scratch, "bpf", 0, NULL) == 0, errno, scratch);
    report("unshare-mount", unshare(CLONE_NEWNS) == 0, errno, "");
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/mnt", daemon_pid);
    /* by a child: who succeeds has another root from then on */
    pid_t child = fork();
    if (child == 0) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        _exit(fd >= 0 && setns(fd, CLONE_NEWNS) == 0 ? 0 : errno);
    }
    int status = 0;
    waitpid(child, &status, 0);
    report("setns-daemon", status == 0, WEXITSTATUS(status), path);
    /* A user namespace of its own gives all capabilities in it; mounting there must still reach nothing of ours. */
    child = fork();
    if (child == 0) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
            _exit(1);
        if (umount2("/run/bulkhead", MNT_DETACH) == 0 || umount2("/sys/fs/bpf", MNT_DETACH) == 0)
            _exit(0);
        _exit(mount("none", scratch, "cgroup2", 0, NULL) == 0 ? 0 : 2);
    }
    waitpid(child, &status, 0);
    report("undo-in-user-namespace", WIFEXITED(status) && WEXITSTATUS(status) == 0, EPERM, "");
}

static void kernel(void)
{
    /* by a child, whose end lets the daemon go again */
    pid_t tracer = fork();
    if (tracer == 0)
        _exit(ptrace(PTRACE_SEIZE, daemon_pid, 0, 0) == 0 ? 0 : errno);
    int status = 0;
    waitpid(tracer, &status, 0);
    report("ptrace-daemon", status == 0, WEXITSTATUS(status), "");
    char byte;
    struct iovec local = {&byte, 1}, remote = {(void *)0x10000, 1};
    ssize_t n = process_vm_readv(daemon_pid, &local, 1, &remote, 1, 0);
    /* EFAULT means that we were let in and only the address was wrong */
    report("read-daemon-memory", n > 0 || errno == EFAULT, errno, "");
    union bpf_attr attr = {0};
    report("bpf-next-map", syscall(SYS_bpf, BPF_MAP_GET_NEXT_ID, &attr, sizeof attr) == 0, errno, "");
    memset(&attr, 0, sizeof attr);
    attr.map_type = BPF_MAP_TYPE_HASH;
    attr.key_size = attr.value_size = 8;
    attr.max_entries = 1;
    int fd = (int)syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof attr);
    report("bpf-map-create", fd >= 0, errno, "");
    char path[256];
    snprintf(path, sizeof path, "/sys/fs/bpf/bulkhead/%s/work", instance);
    memset(&attr, 0, sizeof attr);
    attr.pathname = (uint64_t)(uintptr_t)path;
    report("bpf-open-work", syscall(SYS_bpf, BPF_OBJ_GET, &attr, sizeof attr) >= 0, errno, path);
}

int main(int argc, char **argv)
{
    out = argc > 4 ? fopen(argv[1], "we") : NULL;
    if (!out) {
        perror("escape");
        return 1;
    }
    instance = argv[2];
    daemon_pid = number(argv[3]);
    scratch = argv[4];
    if (daemon_pid <= 0) /* "0": the parent started us */
        daemon_pid = getppid();
    fprintf(out, "{");
    hidden();
    kernel();
    cgroups();
    mounts();
    fprintf(out, "}\n");
    fclose(out);
    mark("escaped", " ");
    rest();
}
