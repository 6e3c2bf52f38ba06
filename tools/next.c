/* See next.h. */
#include "tools/next.h"

#include <unistd.h>

#include "base/str.h"

bool next_systemd(void)
{
    return access("/run/systemd/system/", F_OK) == 0; /* as sd_booted() has it */
}

const char *next_sudo(void)
{
    return geteuid() == 0 ? "" : "sudo ";
}

/* The unit is the default instance's; others are started by hand. */
static bool is_service(const char *instance)
{
    return next_systemd() && strcmp(instance, "default") == 0;
}

char *next_start_daemon(const char *instance)
{
    if (is_service(instance))
        return xstrdup("systemctl start bulkhead");
    return strcmp(instance, "default") == 0 ? xstrdup("bulkheadd") : xasprintf("bulkheadd --instance %s", instance);
}

char *next_take_configuration(const char *instance)
{
    if (is_service(instance))
        return xstrdup("systemctl restart bulkhead");
    _cleanup_(freep) char *start = next_start_daemon(instance), *bus = xasprintf("/run/bulkhead/%s/bus", instance);
    if (access(bus, F_OK) < 0)
        return TAKE_PTR(start);
    if (strcmp(instance, "default") == 0)
        return xasprintf("bulkhead shutdown && %s", start);
    return xasprintf("bulkhead shutdown --instance %s && %s", instance, start);
}
