/* See probes.h. libbpf can attach uprobes, but its own link objects take the event down with them: here the perf event
 * is opened by hand, and the kernel's link keeps it. */
#include "bpf/probes.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

#define PMU "/sys/bus/event_source/devices/uprobe/"

/* "8", or the bit of "config:0". */
static int read_number(const char *path, uint64_t *ret)
{
    char text[32];
    int n = file_read(AT_FDCWD, path, text, sizeof text);
    const char *digits = n > 0 ? text + strcspn(text, "0123456789") : "";
    if (!*digits)
        return n < 0 ? n : -EINVAL;
    *ret = strtoull(digits, NULL, 10);
    return 0;
}

static int open_event(const Probe *p, Error *e)
{
    uint64_t type = 0, return_bit = 0, semaphore_bit = 0;
    if (read_number(PMU "type", &type) < 0 || read_number(PMU "format/retprobe", &return_bit) < 0 ||
        (p->semaphore && read_number(PMU "format/ref_ctr_offset", &semaphore_bit) < 0))
        return error_set(e, -ENOTSUP, "this kernel has no uprobes (" PMU " is not there)");
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", p->file);
    struct perf_event_attr attr = {
        .type = (uint32_t)type,
        .size = sizeof attr,
        .config = (p->at_return ? UINT64_C(1) << return_bit : 0) | p->semaphore << semaphore_bit,
        .config1 = (uint64_t)(uintptr_t)path,
        .config2 = p->offset,
    };
    int fd = (int)syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
    return fd < 0 ? error_errno(e, -errno, "uprobe at offset %#llx", (unsigned long long)p->offset) : fd;
}

int probe_attach(const Probe *p, int program, int *ret_link, Error *e)
{
    _cleanup_fd_ int event = open_event(p, e);
    if (event < 0)
        return event;
    /* cppcheck-suppress unknownMacro */
    LIBBPF_OPTS(bpf_link_create_opts, opts, .perf_event.bpf_cookie = p->cookie);
    _cleanup_fd_ int link = bpf_link_create(program, event, BPF_PERF_EVENT, &opts);
    if (link < 0)
        return error_errno(e, -errno, "uprobe: link");
    if (ioctl(event, PERF_EVENT_IOC_ENABLE, 0) < 0)
        return error_errno(e, -errno, "uprobe: enable");
    *ret_link = TAKE_FD(link);
    return 0;
}

/* Of an address in our own program, where that was loaded from. */
static int find_offset(struct dl_phdr_info *info, size_t size, void *userdata)
{
    (void)size;
    uint64_t *offset = userdata, address = *offset - info->dlpi_addr;
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || address < p->p_vaddr || address - p->p_vaddr >= p->p_filesz)
            continue;
        *offset = address - p->p_vaddr + p->p_offset;
        return 1;
    }
    return 0;
}

int probe_try(int program, Error *e)
{
    uint64_t offset = (uint64_t)(uintptr_t)probe_try;
    _cleanup_fd_ int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (file < 0 || dl_iterate_phdr(find_offset, &offset) == 0)
        return error_set(e, -ENOTSUP, "cannot find our own program");
    int link = -EBADF, r = probe_attach(&(Probe){.file = file, .offset = offset}, program, &link, e);
    fd_close(link);
    return r;
}
