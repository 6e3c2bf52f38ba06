/* See kinds.h. */
#include "policies/kinds.h"

#include <errno.h>

#include "base/str.h"

static const struct {
    const char *name, *hint;
    Expansion expansion;
} kinds[VALUE_KIND_N] = {
    [VALUE_TEXT] = {"text", "any text"},
    [VALUE_LABEL] = {"text", "any text", EXPAND_LABEL},
    [VALUE_YES_NO] = {"yes or no", "yes, no"},
    [VALUE_TIME] = {"time", "10s, 500ms, 5m, 1h, 2d, infinity"},
    [VALUE_SIZE] = {"size", "64M, 512K, 1G, infinity"},
    [VALUE_CPU] = {"CPU share", "150%, infinity; 100% is one CPU"},
    [VALUE_PERCENT] = {"percentage", "20%"},
    [VALUE_COUNT] = {"number", "100"},
    [VALUE_INTEGER] = {"signed number", "5, -5"},
    [VALUE_FACTOR] = {"factor", "2, 1.5"},
    [VALUE_CHOICE] = {"choice", "one word"},
    [VALUE_CHOICE_TEXT] = {"choice", "one word"},
    [VALUE_COMMAND] = {"command", "/usr/bin/program 'an argument'", EXPAND_BLANKS},
    [VALUE_COMMANDS] = {"list of commands", "/usr/bin/program 'an argument' ; -/usr/bin/another", EXPAND_BLANKS},
    [VALUE_CONDITIONS] = {"list of paths, or !path", "/etc/web/on, !/etc/web/off", EXPAND_COMMAS},
    [VALUE_PATH] = {"path", "/srv/web", EXPAND_TEXT},
    [VALUE_ENVIRONMENT] = {"list of NAME=value", "LANG=C, \"GREETING=hello, world\"", EXPAND_COMMAS},
    [VALUE_ENV_FILE] = {"list of paths", "/etc/default/web, -/etc/default/local", EXPAND_COMMAS},
    [VALUE_INCLUDES] = {"list of files", "common.ini, -common/web.ini"},
    [VALUE_DIRECTORIES] = {"list of relative names", "web, web/cache", EXPAND_COMMAS},
    [VALUE_MODULES] = {"list of modules", "db, cache"},
    [VALUE_NAME] = {"name", "web, web-2"},
    [VALUE_RULES] = {"list of syscall rules", "mount, socket(AF_INET)"},
    [VALUE_PROFILE] = {"profile name", "network-server"},
    [VALUE_CALENDAR] = {"calendar", "daily, Mon..Fri 8:00, *-*-1 02:30 Europe/Berlin"},
    [VALUE_UMASK] = {"octal mode", "0022"},
    [VALUE_SIGNAL] = {"signal", "TERM, SIGQUIT, 15, RTMIN+3"},
    [VALUE_EXIT_SET] = {"list of exit statuses and signals", "3, 64-70, SIGTERM"},
    [VALUE_READY] = {"readiness", "none, exec, notify, fd:3, tcp:80, unix:/run/web.sock", EXPAND_TEXT},
    [VALUE_LISTEN] = {"list of listeners", "tcp:127.0.0.1:8080, tcp:[::]:80, unix:/run/web.sock", EXPAND_COMMAS},
    [VALUE_TRACK] = {"list of sources of work", "connections, calls:redis-server:call", EXPAND_COMMAS},
    [VALUE_PORTS] = {"list of ports", "80, 443"},
    [VALUE_CPUS] = {"list of CPUs", "0-3, 5"},
    [VALUE_USER] = {"user", "www-data, 33"},
    [VALUE_GROUP] = {"group", "www-data, 33"},
    [VALUE_GROUPS] = {"list of groups", "ssl-cert, adm"},
    [VALUE_CAPABILITIES] = {"list of capabilities", "net_bind_service, chown; none"},
    [VALUE_RLIMIT_COUNT] = {"number, or soft:hard", "1024, 1024:4096, infinity"},
    [VALUE_RLIMIT_SIZE] = {"size, or soft:hard", "64M, 8M:64M, infinity"},
    [VALUE_RLIMIT_SEC] = {"time in whole seconds, or soft:hard", "10s, 1m:2m, infinity"},
    [VALUE_RLIMIT_USEC] = {"time, or soft:hard", "200ms, 100ms:200ms, infinity"},
};

const char *value_kind_name(ValueKind kind)
{
    return kinds[kind].name;
}

const char *value_kind_hint(ValueKind kind)
{
    return kinds[kind].hint;
}

Expansion value_expansion(ValueKind kind)
{
    return kinds[kind].expansion;
}

char *value_shown(const char *value)
{
    enum { SHOWN_MAX = 64 };
    size_t n = strlen(value);
    _cleanup_(freep) char *s = str_escape(value, n, SHOWN_MAX);
    return n > SHOWN_MAX ? xasprintf("%s...", s) : TAKE_PTR(s);
}

int value_wrong(const char *s, Error *e, const char *what, const char *hint)
{
    _cleanup_(freep) char *shown = value_shown(s);
    return error_set(e, -EINVAL, "'%s' is no %s (%s)", shown, what, hint);
}
