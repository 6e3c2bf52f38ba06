/* See waiters.h. */
#include "supervisor/waiters.h"

void waiters_add(Host *h, const Module *m, WaitFor what, ControlReply *reply)
{
    if (reply)
        ARRAY_PUSH(h->waiters, h->n_waiters) =
            (Waiter){.module = m, .what = what, .after = m->last_generation, .reply = reply};
}

void waiters_answer(Host *h, const Module *m, WaitFor what, const char *error)
{
    size_t kept = 0;
    for (size_t k = 0; k < h->n_waiters; k++) {
        Waiter w = h->waiters[k];
        bool meant = w.module == m && w.what == what && (error || what != WAIT_RESTART || m->last_generation > w.after);
        if (!meant)
            h->waiters[kept++] = w;
        else if (error)
            control_reply_fail(w.reply, CONTROL_ERROR_FAILED, error);
        else
            control_reply_done(w.reply);
    }
    h->n_waiters = kept;
}

void waiters_settle(Host *h, const Module *m)
{
    for (size_t k = 0; k < h->n_waiters; k++)
        if (h->waiters[k].module == m && h->waiters[k].what == WAIT_RESTART)
            h->waiters[k].what = WAIT_UP;
    waiters_answer(h, m, WAIT_UP, NULL);
}

void waiters_forget(Host *h, const ControlReply *reply)
{
    for (size_t k = 0; k < h->n_waiters; k++)
        if (h->waiters[k].reply == reply) {
            h->waiters[k] = h->waiters[--h->n_waiters];
            return;
        }
}

void waiters_answer_now(Host *h, ControlReply *reply)
{
    for (size_t k = 0; k < h->n_waiters; k++) {
        if (h->waiters[k].reply != reply)
            continue;
        control_reply_done(reply);
        h->waiters[k] = h->waiters[--h->n_waiters];
        return;
    }
}
