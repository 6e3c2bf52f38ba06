/* What unix streams say themselves. One that is closed in the middle of an exchange is seen by nobody: its storage goes
 * without a word. So those that live are counted, and what is in flight beyond them has ended. */
#include "bpf/streams.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <unistd.h>

#include "base/fd.h"
#include "bpf/private.h"
#include "bpf/sources.h"

#define TRIES   4
#define RECORDS 64 /* a read */

/* Of all modules' streams those of the module with an exchange going on. */
static int count_busy(int program, int map, uint64_t module_id, int64_t *ret, Error *e)
{
    union bpf_iter_link_info info = {.map.map_fd = (uint32_t)map};
    /* cppcheck-suppress unknownMacro */
    LIBBPF_OPTS(bpf_link_create_opts, opts, .iter_info = &info, .iter_info_len = sizeof info);
    _cleanup_fd_ int link = bpf_link_create(program, 0, BPF_TRACE_ITER, &opts);
    _cleanup_fd_ int iter = link < 0 ? -EBADF : bpf_iter_create(link);
    if (iter < 0)
        return error_errno(e, -errno, "bpf: cannot pass over the unix streams");
    uint64_t modules[RECORDS];
    size_t have = 0;
    *ret = 0;
    for (;;) {
        ssize_t n = read(iter, (char *)modules + have, sizeof modules - have);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0)
            return error_errno(e, -errno, "bpf: cannot pass over the unix streams");
        if (n == 0)
            return 0;
        have += (size_t)n;
        size_t whole = have / sizeof *modules;
        for (size_t i = 0; i < whole; i++)
            *ret += modules[i] == module_id;
        have -= whole * sizeof *modules;
        memmove(modules, &modules[whole], have);
    }
}

static bool has_changed(const struct work_counters *a, const struct work_counters *b)
{
    return a->started != b->started || a->completed != b->completed || a->errors != b->errors ||
           a->in_flight != b->in_flight;
}

int streams_recount(Kernel *k, uint64_t module_id, Error *e)
{
    int program, map, r = 0;
    struct work_entry before, after;
    if (!sources_streams(k->sources, &program, &map))
        return 0;
    for (int i = 0; r == 0 && i < TRIES; i++) {
        int64_t busy = 0;
        if ((r = kernel_work(k, module_id, &before)) < 0 || before.unix_streams.in_flight <= 0 ||
            (r = count_busy(program, map, module_id, &busy, e)) < 0 || (r = kernel_work(k, module_id, &after)) < 0 ||
            busy >= before.unix_streams.in_flight)
            return r;
        if (has_changed(&before.unix_streams, &after.unix_streams))
            continue;
        /* Done only if in_flight is still that. */
        struct control_request lost = {
            .op = CONTROL_STREAMS, .module = module_id, .from = before.unix_streams.in_flight, .to = busy};
        r = kernel_control(k, &lost);
        if (r != -EAGAIN)
            return r;
        r = 0;
    }
    return r;
}
