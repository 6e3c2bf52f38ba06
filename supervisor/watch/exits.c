/* See exits.h. */
#include "supervisor/watch/exits.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/str.h"
#include "policies/seccomp.h"

const char *signal_name(int sig)
{
    static char text[24];
    const char *abbreviation = sig > 0 ? sigabbrev_np(sig) : NULL;
    if (abbreviation)
        snprintf(text, sizeof text, "SIG%s", abbreviation);
    else
        snprintf(text, sizeof text, "signal %d", sig);
    return text;
}

static void take_record(const Generation *g, LastExit *x)
{
    struct exit_entry r;
    Kernel *k = g->module->ctx->kernel;
    if (!k || !g->registered || kernel_exit(k, box_id(g->leaf), &r) < 0)
        return;
    if (!g->wait_code && r.exit_nsec) {
        x->signal = r.exit_code & 0x7f;
        x->code = x->signal ? -1 : (r.exit_code >> 8) & 0xff;
    }
    x->oom = r.oom_main != 0;
    /* The denied call of a child is told too, when the main process ended by it or because of it. */
    if (r.denied && (x->signal == SIGSYS || x->code != 0)) {
        x->syscall_nr = r.denied_nr;
        for (size_t i = 0; i < ELEMENTS(x->syscall_args); i++)
            x->syscall_args[i] = r.denied_args[i];
        memcpy(x->syscall_comm, r.denied_comm, sizeof x->syscall_comm);
        x->syscall_comm[sizeof x->syscall_comm - 1] = '\0';
    }
    if (x->signal && r.killer_pid && (int)r.killer_signal == x->signal && !x->oom) {
        x->killer_pid = (int)r.killer_pid;
        memcpy(x->killer_comm, r.killer_comm, sizeof x->killer_comm);
        x->killer_comm[sizeof x->killer_comm - 1] = '\0';
    }
}

/* Without that part of bpf/ the leaf's own counter still tells, if not which process it was. */
static void take_statistics(const Generation *g, LastExit *x)
{
    const Kernel *k = g->module->ctx->kernel;
    GroupStats s;
    if ((k && kernel_has(k, KERNEL_OOM)) || x->signal != SIGKILL || box_last_stats(g->leaf, &s) < 0)
        return;
    x->oom = s.memory_oom_kills != UINT64_MAX && s.memory_oom_kills > 0;
}

void exits_describe(const Generation *g, LastExit *ret)
{
    *ret = (LastExit){.code = -1, .syscall_nr = -1, .time = now_realtime(), .generation = g->number};
    if (g->wait_code == CLD_EXITED)
        ret->code = g->wait_status;
    else if (g->wait_code)
        ret->signal = g->wait_status;
    take_record(g, ret);
    take_statistics(g, ret);
    const ExitSet *good = &g->module->policy->success_exit_status;
    ret->success = !ret->oom && exit_set_contains(good, ret->signal ? -1 : ret->code, ret->signal);
}

char *exits_text(const LastExit *x)
{
    if (!x->signal)
        return x->code < 0 ? xstrdup("ended (its status is unknown)") : xasprintf("exit status %d", x->code);
    StrBuf b = STRBUF_NULL;
    strbuf_addf(&b, "killed by %s", signal_name(x->signal));
    if (x->oom)
        strbuf_adds(&b, " (out of memory)");
    if (x->syscall_nr >= 0) {
        _cleanup_(freep) char *name = seccomp_syscall_name(x->syscall_nr);
        strbuf_addf(&b, " (syscall %s denied)", name);
    }
    if (x->killer_pid) {
        _cleanup_(freep) char *comm = str_escape(x->killer_comm, strnlen(x->killer_comm, sizeof x->killer_comm), 64);
        strbuf_addf(&b, " (sent by %s, pid %d)", comm, x->killer_pid);
    }
    return strbuf_take(&b);
}
