/* A classic BPF machine as seccomp runs it, so that a test can ask a filter about any call without making it.
 *
 * Only what seccomp allows: word loads from struct seccomp_data, forward jumps, AND, RET. bpf_sim_valid() checks a
 * whole program as the kernel's checker does; test_seccomp_live asks the kernel the same questions. */
#pragma once

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include "base/util.h"

static inline bool bpf_sim_valid(const struct sock_filter *v, size_t n)
{
    if (n == 0 || n > BPF_MAXINSNS || BPF_CLASS(v[n - 1].code) != BPF_RET)
        return false;
    for (size_t i = 0; i < n; i++) {
        const struct sock_filter *f = &v[i];
        switch (f->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            if (f->k % 4 != 0 || f->k + 4 > sizeof(struct seccomp_data))
                return false;
            break;
        case BPF_ALU | BPF_AND | BPF_K:
        case BPF_RET | BPF_K:
            break;
        case BPF_JMP | BPF_JA:
            if (f->k >= n - i - 1)
                return false;
            break;
        case BPF_JMP | BPF_JEQ | BPF_K:
        case BPF_JMP | BPF_JGE | BPF_K:
        case BPF_JMP | BPF_JGT | BPF_K:
            if (f->jt >= n - i - 1 || f->jf >= n - i - 1)
                return false;
            break;
        default:
            return false;
        }
    }
    return true;
}

/* The SECCOMP_RET_* value that a valid program returns for `d`. */
static inline uint32_t bpf_sim_run(const struct sock_filter *v, size_t n, const struct seccomp_data *d)
{
    uint32_t a = 0;
    for (size_t i = 0; i < n; i++) {
        const struct sock_filter *f = &v[i];
        switch (f->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            memcpy(&a, (const char *)d + f->k, sizeof a);
            break;
        case BPF_ALU | BPF_AND | BPF_K:
            a &= f->k;
            break;
        case BPF_RET | BPF_K:
            return f->k;
        case BPF_JMP | BPF_JA:
            i += f->k;
            break;
        case BPF_JMP | BPF_JEQ | BPF_K:
            i += a == f->k ? f->jt : f->jf;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            i += a >= f->k ? f->jt : f->jf;
            break;
        case BPF_JMP | BPF_JGT | BPF_K:
            i += a > f->k ? f->jt : f->jf;
            break;
        default:
            return SECCOMP_RET_KILL_PROCESS;
        }
    }
    return SECCOMP_RET_KILL_PROCESS;
}
