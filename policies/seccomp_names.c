/* Names: of syscalls, and of the values their arguments take.
 *
 * libseccomp knows the syscalls of its own day (2.5.4: up to Linux 6.7); those that came later are in the table below,
 * with numbers from the kernel's syscall_64.tbl (from 424 on, every architecture has the same). A name that libseccomp
 * knows for other architectures only (socketcall, open on arm64) is no mistake in a profile: its rule never matches. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/sockios.h>
#include <seccomp.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "base/str.h"
#include "policies/seccomp.h"
#include "policies/seccomp_rule.h"

typedef struct NamedNumber {
    const char *name;
    int nr;
} NamedNumber;

static const NamedNumber later_syscalls[] = {
#ifdef __x86_64__
    {"uretprobe", 335},         {"uprobe", 336},
#endif
    {"cachestat", 451},         {"fchmodat2", 452},        {"map_shadow_stack", 453},
    {"futex_wake", 454},        {"futex_wait", 455},       {"futex_requeue", 456},
    {"statmount", 457},         {"listmount", 458},        {"lsm_get_self_attr", 459},
    {"lsm_set_self_attr", 460}, {"lsm_list_modules", 461}, {"mseal", 462},
    {"setxattrat", 463},        {"getxattrat", 464},       {"listxattrat", 465},
    {"removexattrat", 466},     {"open_tree_attr", 467},   {"file_getattr", 468},
    {"file_setattr", 469},
};

int seccomp_nr_last(void)
{
    return later_syscalls[ELEMENTS(later_syscalls) - 1].nr;
}

int seccomp_nr(const char *name)
{
    for (size_t i = 0; i < ELEMENTS(later_syscalls); i++)
        if (str_equal(later_syscalls[i].name, name))
            return later_syscalls[i].nr;
    int nr = seccomp_syscall_resolve_name(name);
    if (nr == __NR_SCMP_ERROR)
        return -ENOENT;
    return nr < 0 ? SECCOMP_NR_ELSEWHERE : nr;
}

static char *name_of(int nr)
{
    for (size_t i = 0; i < ELEMENTS(later_syscalls); i++)
        if (later_syscalls[i].nr == nr)
            return xstrdup(later_syscalls[i].name);
    return nr < 0 ? NULL : seccomp_syscall_resolve_num_arch(seccomp_arch_native(), nr);
}

char *seccomp_syscall_name(int nr)
{
    char *name = name_of(nr);
    return name ? name : xasprintf("syscall_%d", nr);
}

const char *seccomp_nr_nearest(const char *name)
{
    /* libseccomp walks its table for each number, and random input asks often: collected once, kept for good. */
    static const char *names[512];
    static size_t n;
    if (n == 0)
        for (int nr = 0; nr <= seccomp_nr_last() && n < ELEMENTS(names); nr++) {
            names[n] = name_of(nr);
            n += names[n] != NULL;
        }
    return str_nearest(name, names, n);
}

typedef struct NamedValue {
    const char *name;
    uint64_t value;
} NamedValue;

/* Newer than the oldest headers this is built with. */
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif
#ifndef PR_SET_VMA_ANON_NAME
#define PR_SET_VMA_ANON_NAME 0
#endif
#ifndef SOCK_TYPE_MASK
#define SOCK_TYPE_MASK 0xf /* the kernel's own name for what is left of a type without its flags */
#endif
#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

#define V(name)                 \
    {                           \
#name, (uint64_t)(name) \
    }
static const NamedValue constants[] = {
    /* socket(2), socketpair(2) */
    V(AF_UNSPEC),
    V(AF_UNIX),
    V(AF_LOCAL),
    V(AF_INET),
    V(AF_INET6),
    V(AF_NETLINK),
    V(AF_PACKET),
    V(AF_VSOCK),
    V(AF_ALG),
    V(AF_XDP),
    V(AF_BLUETOOTH),
    V(AF_CAN),
    V(AF_KEY),
    V(AF_TIPC),
    V(AF_RDS),
    V(AF_QIPCRTR),
    V(SOCK_STREAM),
    V(SOCK_DGRAM),
    V(SOCK_RAW),
    V(SOCK_SEQPACKET),
    V(SOCK_TYPE_MASK),
    V(SOCK_NONBLOCK),
    V(SOCK_CLOEXEC),
    V(SOL_SOCKET),
    V(SO_REUSEPORT),
    V(SO_MARK),
    V(SO_ATTACH_FILTER),
    V(SO_ATTACH_BPF),
    /* clone(2), unshare(2), setns(2) */
    V(CLONE_VM),
    V(CLONE_FS),
    V(CLONE_FILES),
    V(CLONE_SIGHAND),
    V(CLONE_PIDFD),
    V(CLONE_PTRACE),
    V(CLONE_VFORK),
    V(CLONE_PARENT),
    V(CLONE_THREAD),
    V(CLONE_SYSVSEM),
    V(CLONE_SETTLS),
    V(CLONE_UNTRACED),
    V(CLONE_IO),
    V(CLONE_NEWNS),
    V(CLONE_NEWCGROUP),
    V(CLONE_NEWUTS),
    V(CLONE_NEWIPC),
    V(CLONE_NEWUSER),
    V(CLONE_NEWPID),
    V(CLONE_NEWNET),
    V(CLONE_NEWTIME),
    /* prctl(2) */
    V(PR_SET_PDEATHSIG),
    V(PR_GET_PDEATHSIG),
    V(PR_GET_DUMPABLE),
    V(PR_SET_DUMPABLE),
    V(PR_GET_KEEPCAPS),
    V(PR_SET_KEEPCAPS),
    V(PR_SET_NAME),
    V(PR_GET_NAME),
    V(PR_GET_SECCOMP),
    V(PR_SET_SECCOMP),
    V(PR_CAPBSET_READ),
    V(PR_CAPBSET_DROP),
    V(PR_SET_TIMERSLACK),
    V(PR_GET_TIMERSLACK),
    V(PR_SET_MM),
    V(PR_SET_CHILD_SUBREAPER),
    V(PR_GET_CHILD_SUBREAPER),
    V(PR_SET_NO_NEW_PRIVS),
    V(PR_GET_NO_NEW_PRIVS),
    V(PR_SET_THP_DISABLE),
    V(PR_GET_THP_DISABLE),
    V(PR_CAP_AMBIENT),
    V(PR_SET_VMA),
    V(PR_SET_VMA_ANON_NAME),
    V(PR_SET_SECUREBITS),
    V(PR_GET_SECUREBITS),
    V(PR_SET_PTRACER),
    /* ioctl(2) */
    V(TCGETS),
    V(TCSETS),
    V(TCSETSW),
    V(TCSETSF),
    V(TCSBRK),
    V(TCXONC),
    V(TCFLSH),
    V(TIOCGPGRP),
    V(TIOCSPGRP),
    V(TIOCGSID),
    V(TIOCSCTTY),
    V(TIOCNOTTY),
    V(TIOCGWINSZ),
    V(TIOCSWINSZ),
    V(TIOCSTI),
    V(TIOCLINUX),
    V(TIOCOUTQ),
    V(TIOCINQ),
    V(TIOCGPTN),
    V(TIOCSPTLCK),
    V(TIOCGPTPEER),
    V(FIONREAD),
    V(FIONBIO),
    V(FIOASYNC),
    V(FIOCLEX),
    V(FIONCLEX),
    V(SIOCGIFCONF),
    V(SIOCGIFADDR),
    V(SIOCGIFFLAGS),
    V(SIOCGIFNAME),
    V(SIOCGIFINDEX),
    V(SIOCGIFMTU),
    V(SIOCGIFNETMASK),
    V(SIOCGIFBRDADDR),
    V(SIOCGIFHWADDR),
    V(SIOCOUTQ),
    V(SIOCINQ),
    V(SIOCATMARK),
    /* fcntl(2) */
    V(F_DUPFD),
    V(F_DUPFD_CLOEXEC),
    V(F_GETFD),
    V(F_SETFD),
    V(F_GETFL),
    V(F_SETFL),
    V(F_GETLK),
    V(F_SETLK),
    V(F_SETLKW),
    V(F_OFD_GETLK),
    V(F_OFD_SETLK),
    V(F_OFD_SETLKW),
    V(F_GETOWN),
    V(F_SETOWN),
    V(F_SETSIG),
    V(F_SETLEASE),
    V(F_NOTIFY),
    V(F_SETPIPE_SZ),
    V(F_GETPIPE_SZ),
    V(F_ADD_SEALS),
    V(F_GET_SEALS),
    /* open(2) */
    V(O_RDONLY),
    V(O_WRONLY),
    V(O_RDWR),
    V(O_ACCMODE),
    V(O_CREAT),
    V(O_TRUNC),
    V(O_APPEND),
    V(O_PATH),
    V(O_TMPFILE),
    V(O_NONBLOCK),
    V(O_CLOEXEC),
    /* mmap(2), mprotect(2), madvise(2) */
    V(PROT_NONE),
    V(PROT_READ),
    V(PROT_WRITE),
    V(PROT_EXEC),
    V(MAP_SHARED),
    V(MAP_PRIVATE),
    V(MAP_ANONYMOUS),
    V(MAP_FIXED),
    V(MAP_HUGETLB),
    V(MAP_LOCKED),
    V(MADV_DONTNEED),
    V(MADV_FREE),
    V(MADV_HUGEPAGE),
    V(MADV_HWPOISON),
    /* the rest */
    V(CLOCK_REALTIME),
    V(CLOCK_MONOTONIC),
    V(CLOCK_PROCESS_CPUTIME_ID),
    V(CLOCK_THREAD_CPUTIME_ID),
    V(CLOCK_BOOTTIME),
    V(PRIO_PROCESS),
    V(PRIO_PGRP),
    V(PRIO_USER),
    V(RLIMIT_NOFILE),
    V(RLIMIT_CORE),
    V(RLIMIT_STACK),
    V(WNOHANG),
    V(MFD_CLOEXEC),
    V(MFD_ALLOW_SEALING),
    V(FICLONE),
    V(FICLONERANGE),
    V(S_IFMT),
    V(S_IFREG),
    V(S_IFIFO),
    V(S_IFSOCK),
    V(S_IFCHR),
    V(S_IFBLK),
    V(S_ISUID),
    V(S_ISGID),
};
#undef V

int seccomp_constant(const char *name, uint64_t *ret)
{
    for (size_t i = 0; i < ELEMENTS(constants); i++)
        if (str_equal(constants[i].name, name)) {
            *ret = constants[i].value;
            return 0;
        }
    return -ENOENT;
}

const char *seccomp_constant_nearest(const char *name)
{
    const char *names[ELEMENTS(constants)];
    for (size_t i = 0; i < ELEMENTS(constants); i++)
        names[i] = constants[i].name;
    return str_nearest(name, names, ELEMENTS(names));
}
