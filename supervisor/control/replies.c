/* Answers that are owed: a call that takes time is kept until the host answers it, once, which may be after its client
 * or the whole Control has gone. */
#include "supervisor/control/private.h"

ControlReply *reply_new(Connection *c, sd_bus_message *call)
{
    if (c->n_replies >= CONTROL_REPLIES_MAX)
        return NULL;
    ControlReply *r = new0(ControlReply);
    *r = (ControlReply){
        .control = c->control, .connection = c, .call = sd_bus_message_ref(call), .next = c->control->replies};
    if (r->next)
        r->next->previous = r;
    c->control->replies = r;
    c->n_replies++;
    return r;
}

/* Takes it out of the control's list and off its connection; whoever holds it may still answer. */
static void reply_detach(ControlReply *r)
{
    if (!r->control)
        return;
    if (r->previous)
        r->previous->next = r->next;
    else
        r->control->replies = r->next;
    if (r->next)
        r->next->previous = r->previous;
    if (r->connection)
        r->connection->n_replies--;
    r->control = NULL;
    r->connection = NULL;
    r->call = sd_bus_message_unref(r->call);
}

static void reply_send(const ControlReply *r, const char *error_name, const char *message)
{
    if (!r->connection || sd_bus_message_get_expect_reply(r->call) <= 0)
        return;
    sd_bus_message *m = NULL;
    int k = error_name ? sd_bus_message_new_method_errorf(r->call, &m, error_name, "%s", message)
                       : sd_bus_message_new_method_return(r->call, &m);
    if (k >= 0)
        connection_send(r->connection, m, error_name ? strlen(message) : 0);
    sd_bus_message_unref(m);
}

void control_reply_done(ControlReply *r)
{
    reply_send(r, NULL, NULL);
    reply_detach(r);
    free(r);
}

void control_reply_fail(ControlReply *r, const char *error_name, const char *message)
{
    reply_send(r, error_name, message);
    reply_detach(r);
    free(r);
}

void replies_cancel(Control *c)
{
    while (c->replies) {
        ControlReply *r = c->replies;
        reply_send(r, CONTROL_ERROR_SHUTTING_DOWN, "the daemon is shutting down");
        reply_detach(r); /* freed by who answers it */
    }
}
