/* A network namespace of a test's own, with its loopback device up: for sysctls of TCP that must be other ones there,
 * and for losing what arrives. */
#pragma once

#include "tests/unit/bpf_pairs.h"

#include <bpf/bpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>

/* Enters one; the descriptor of that left, for net_leave(). Negative: none is to be had. */
_unused_ static int net_enter(void)
{
    struct ifreq r = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING | IFF_LOOPBACK};
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (home < 0 || unshare(CLONE_NEWNET) < 0)
        return fd_close(home);
    _cleanup_fd_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &r) == 0)
        return home;
    setns(home, CLONE_NEWNET);
    return fd_close(home);
}

_unused_ static void net_leave(int home)
{
    assert_int_equal(setns(home, CLONE_NEWNET), 0);
    fd_close(home);
}

/* One of the namespace that this process is in. False where the kernel has none, or not one a namespace. */
_unused_ static bool net_set(const char *name, const char *value)
{
    char path[128];
    snprintf(path, sizeof path, "/proc/sys/net/%s", name);
    return file_write(AT_FDCWD, path, value) == 0;
}

/* Drops a fifth of all that arrives on the loopback device, before IP sees it; the link's descriptor. */
_unused_ static int lose_a_fifth(void)
{
    const struct bpf_insn program[] = {
        {.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_get_prandom_u32},
        {.code = BPF_ALU | BPF_MOV | BPF_X, .dst_reg = BPF_REG_1, .src_reg = BPF_REG_0},
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_DROP},
        {.code = BPF_JMP32 | BPF_JLT | BPF_K, .dst_reg = BPF_REG_1, .off = 1, .imm = 0x33333333},
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS},
        {.code = BPF_JMP | BPF_EXIT},
    };
    _cleanup_fd_ int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "lossy", "GPL", program, ELEMENTS(program), NULL);
    if (fd < 0)
        return -errno;
    /* cppcheck-suppress unknownMacro */
    DECLARE_LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = XDP_FLAGS_SKB_MODE);
    int link = bpf_link_create(fd, 1, BPF_XDP, &opts);
    return link < 0 ? -errno : link;
}

/* Both in one; ends the test as skipped where they cannot be had. */
_unused_ static int net_enter_lossy(int *ret_loss)
{
    int home = net_enter();
    if (home < 0)
        SKIP("no network namespace of its own");
    *ret_loss = lose_a_fifth();
    if (*ret_loss < 0) {
        net_leave(home);
        SKIP("no generic XDP on the loopback device");
    }
    return home;
}
