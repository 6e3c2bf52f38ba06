// SPDX-License-Identifier: GPL-2.0
/* Writes to regular files and syncs in progress, by the two tracepoints of every system call. Attached only while a
 * module asks for it: each call of each process of the host passes here, so what is no write leaves after a look at its
 * number. What io_uring and mapped memory write is not seen. */
#include "bpf/threads.bpf.h"

char _license[] SEC("license") = "GPL";

#define MODE_TYPE    0170000
#define MODE_REGULAR 0100000
#define TS_COMPAT    2

/* Which argument (1..) is the file that the call writes to, 0: it is none of them. */
static __always_inline u32 written_argument(long nr)
{
    switch (nr) {
#if defined(__TARGET_ARCH_x86)
    case 1:   /* write */
    case 18:  /* pwrite64 */
    case 20:  /* writev */
    case 40:  /* sendfile */
    case 74:  /* fsync */
    case 75:  /* fdatasync */
    case 77:  /* ftruncate */
    case 277: /* sync_file_range */
    case 285: /* fallocate */
    case 296: /* pwritev */
    case 306: /* syncfs */
    case 328: /* pwritev2 */
        return 1;
    case 275: /* splice */
    case 326: /* copy_file_range */
        return 3;
#elif defined(__TARGET_ARCH_arm64)
    case 46:  /* ftruncate */
    case 47:  /* fallocate */
    case 64:  /* write */
    case 66:  /* writev */
    case 68:  /* pwrite64 */
    case 70:  /* pwritev */
    case 71:  /* sendfile */
    case 82:  /* fsync */
    case 83:  /* fdatasync */
    case 84:  /* sync_file_range */
    case 267: /* syncfs */
    case 287: /* pwritev2 */
        return 1;
    case 76:  /* splice */
    case 285: /* copy_file_range */
        return 3;
#endif
    default:
        return 0;
    }
}

/* A program of 32 bits has other numbers. */
static __always_inline bool is_compat(struct task_struct *t)
{
#ifdef __TARGET_ARCH_x86
    return BPF_CORE_READ(t, thread_info.status) & TS_COMPAT;
#else
    return false;
#endif
}

static __always_inline bool is_regular(struct task_struct *t, u64 fd)
{
    struct fdtable *table = BPF_CORE_READ(t, files, fdt);
    struct file **files = BPF_CORE_READ(table, fd), *file = NULL;
    if (fd >= BPF_CORE_READ(table, max_fds) || bpf_probe_read_kernel(&file, sizeof file, &files[fd]) != 0 || !file)
        return false;
    return (BPF_CORE_READ(file, f_inode, i_mode) & MODE_TYPE) == MODE_REGULAR;
}

SEC("tp_btf/sys_enter") int BPF_PROG(bh_write_begin, struct pt_regs *regs, long nr)
{
    u32 argument = written_argument(nr);
    if (!argument)
        return 0;
    u64 module = current_module();
    struct work_entry *w = module ? bpf_map_lookup_elem(&work, &module) : NULL;
    struct task_struct *task = bpf_get_current_task_btf();
    if (!w || !(w->track & WORK_TRACK_WRITES) || is_compat(task))
        return 0;
    u64 fd = argument == 1 ? PT_REGS_PARM1_CORE_SYSCALL(regs) : PT_REGS_PARM3_CORE_SYSCALL(regs);
    if (!is_regular(task, (u32)fd))
        return 0;
    struct thread_entry *t = current_thread(BPF_LOCAL_STORAGE_GET_F_CREATE);
    if (!t) {
        not_counted(&w->writes);
        return 0;
    }
    if (t->write.since_nsec)
        thread_end(&t->write, false, true);
    thread_begin(&t->write, module, w, &w->writes);
    return 0;
}

SEC("tp_btf/sys_exit") int BPF_PROG(bh_write_end, struct pt_regs *regs, long ret)
{
#ifdef __TARGET_ARCH_x86
    if (!written_argument((long)regs->orig_ax))
        return 0;
#endif
    if (!current_module())
        return 0;
    struct thread_entry *t = current_thread(0);
    if (t && t->write.since_nsec)
        thread_end(&t->write, false, ret < 0);
    return 0;
}
