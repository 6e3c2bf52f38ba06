/* usage: confine PROGRAM [ARGUMENT…]. Runs it as root of a container that was given nothing: the capabilities and the
 * refusals of Docker's default profile (moby, profiles/seccomp/default.json, for a container without CAP_SYS_ADMIN),
 * as far as bulkheadd could want what is refused. clone3 is not there, since its flags are out of a filter's sight. */
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "tests/helpers/helper.h"

#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif

static const unsigned char kept[] = {
    CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_FSETID,  CAP_FOWNER,           CAP_MKNOD,      CAP_NET_RAW, CAP_SETGID,
    CAP_SETUID, CAP_SETFCAP,      CAP_SETPCAP, CAP_NET_BIND_SERVICE, CAP_SYS_CHROOT, CAP_KILL,    CAP_AUDIT_WRITE,
};

static const int refused[] = {
    SYS_mount,     SYS_umount2,       SYS_pivot_root,    SYS_unshare,         SYS_setns,
    SYS_open_tree, SYS_move_mount,    SYS_fsopen,        SYS_fsconfig,        SYS_fsmount,
    SYS_fspick,    SYS_mount_setattr, SYS_bpf,           SYS_perf_event_open, SYS_quotactl,
    SYS_syslog,    SYS_sethostname,   SYS_setdomainname, SYS_lookup_dcookie,  SYS_fanotify_init,
};

#define MANY 128

static int filter(void)
{
    struct sock_filter code[MANY];
    unsigned short n = 0;
    const unsigned namespaces =
        CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
#define EMIT(...) code[n++] = (struct sock_filter)__VA_ARGS__
#define REFUSE(nr, error)                                            \
    EMIT(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)(nr), 0, 1)); \
    EMIT(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (error)))
    EMIT(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
    REFUSE(SYS_clone3, ENOSYS);
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        REFUSE(refused[i], EPERM);
    }
    EMIT(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3));
    EMIT(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])));
    EMIT(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, namespaces, 0, 1));
    EMIT(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
    EMIT(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    struct sock_fprog program = {.len = n, .filter = code};
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

static int drop(void)
{
    unsigned long long set = 0;
    for (size_t i = 0; i < sizeof kept; i++)
        set |= 1ull << kept[i];
    for (unsigned long cap = 0; cap < 64; cap++)
        if (!(set >> cap & 1) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EINVAL)
            return -1;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    for (int i = 0; i < 2; i++) {
        unsigned bits = (unsigned)(set >> (32 * i));
        data[i] = (struct __user_cap_data_struct){.effective = bits, .permitted = bits};
    }
    return (int)syscall(SYS_capset, &header, data);
}

int main(int argc, char **argv)
{
    if (argc < 2 || filter() < 0 || drop() < 0) { /* the filter first: later it would take no_new_privs */
        perror("confine");
        return 125;
    }
    execv(argv[1], argv + 1);
    perror(argv[1]);
    return 127;
}
