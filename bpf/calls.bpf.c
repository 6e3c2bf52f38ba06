// SPDX-License-Identifier: GPL-2.0
/* Calls of functions and pairs of static probes, by uprobes: the outermost one of a thread is a unit of work.
 *
 * A probe hangs on a file, so it fires for whoever runs that file: `call_sites` tells, by module and site, whom it
 * concerns; the others pay the trap and one lookup.
 *
 * What is left by longjmp never returns. The stack pointer tells: while the outer call lasts, its frame is above all
 * that is called from it, and the word where it began is the kernel's trampoline (which the return probe put there for
 * the return address). A begin that finds it otherwise ends the old call as an error and is the outermost itself. Of a
 * pair of static probes there is no such word: there a begin of the same site that is not deeper in the stack says
 * that the last one has been left. */
#include "bpf/threads.bpf.h"

char _license[] SEC("license") = "GPL";

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, SITES_MAX);
    __type(key, struct call_site_key);
    __type(value, u64);
} call_sites SEC(".maps");

#ifdef __TARGET_ARCH_x86
#define RETURN_ADDRESS_SIZE 8 /* popped by the time a return probe runs */
#else
#define RETURN_ADDRESS_SIZE 0
#endif

/* Private to the kernel's uprobes.c, but in its BTF. */
struct xol_area___ours {
    unsigned long vaddr;
} __attribute__((preserve_access_index));
struct uprobes_state___ours {
    struct xol_area___ours *xol_area;
} __attribute__((preserve_access_index));
struct mm_struct___ours {
    struct uprobes_state___ours uprobes_state;
} __attribute__((preserve_access_index));

/* Whether the frame that a return probe was put under at `sp` is still there. */
static __always_inline bool frame_lives(u64 sp)
{
#ifdef __TARGET_ARCH_x86
    if (!bpf_core_field_exists(struct mm_struct___ours, uprobes_state.xol_area) ||
        !bpf_core_field_exists(struct xol_area___ours, vaddr))
        return true;
    struct mm_struct___ours *mm = (void *)BPF_CORE_READ((struct task_struct *)bpf_get_current_task_btf(), mm);
    u64 word = 0, trampoline = BPF_CORE_READ(mm, uprobes_state.xol_area, vaddr);
    return !trampoline || bpf_probe_read_user(&word, sizeof word, (void *)sp) != 0 || word == trampoline;
#else
    return true; /* the return address is in a register */
#endif
}

/* Whether a begin at `sp` lies within what the thread is at. */
static __always_inline bool is_inner(const struct thread_entry *t, u64 site, u64 sp)
{
    if (t->call_site & SITE_USDT)
        return t->call_site != site || sp < t->call_sp;
    return sp <= t->call_sp && frame_lives(t->call_sp);
}

SEC("uprobe") int bh_call_begin(struct pt_regs *ctx)
{
    u64 site = bpf_get_attach_cookie(ctx) & SITE_MASK, sp = PT_REGS_SP(ctx);
    struct call_site_key key = {.module = current_module(), .site = site};
    if (!key.module || !bpf_map_lookup_elem(&call_sites, &key))
        return 0;
    struct work_entry *w = bpf_map_lookup_elem(&work, &key.module);
    if (!w || !(w->track & WORK_TRACK_CALLS))
        return 0;
    struct thread_entry *t = current_thread(BPF_LOCAL_STORAGE_GET_F_CREATE);
    if (!t) {
        not_counted(&w->calls);
        return 0;
    }
    if (t->call.since_nsec) {
        if (is_inner(t, site, sp)) {
            t->call_depth += t->call_site == site;
            return 0;
        }
        thread_end(&t->call, true, true);
    }
    t->call_site = site;
    t->call_sp = sp;
    t->call_depth = 1;
    thread_begin(&t->call, key.module, w, &w->calls);
    return 0;
}

/* A return of the outermost call leaves nothing of its frame; one further in does, and so does a return that was not
 * seen to begin. */
SEC("uretprobe") int bh_call_end(struct pt_regs *ctx)
{
    struct thread_entry *t = current_thread(0);
    if (t && t->call.since_nsec && !(t->call_site & SITE_USDT) && PT_REGS_SP(ctx) - RETURN_ADDRESS_SIZE >= t->call_sp)
        thread_end(&t->call, true, false);
    return 0;
}

SEC("uprobe") int bh_usdt_end(struct pt_regs *ctx)
{
    u64 cookie = bpf_get_attach_cookie(ctx);
    struct thread_entry *t = current_thread(0);
    if (!t || !t->call.since_nsec || t->call_site != (cookie & SITE_MASK))
        return 0;
    if (t->call_depth > 1 && PT_REGS_SP(ctx) < t->call_sp)
        t->call_depth--;
    else
        thread_end(&t->call, true, cookie & SITE_FAIL);
    return 0;
}
