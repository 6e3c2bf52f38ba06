/* See known.h. */
#include "tools/known.h"

#include <fnmatch.h>
#include <stdlib.h>

#include "base/str.h"

/* nginx takes the last -g alone, and a `daemon` twice, in nginx.conf and in -g, is an error. */
static void adapt_nginx(Cmdline *l)
{
    const char *conf = str_or(cmdline_value(l, "-c"), "/etc/nginx/nginx.conf");
    _cleanup_(freep) char *text = l->world->text(conf);
    for (const char *line = text; line && *line; line += strcspn(line, "\n"), line += *line == '\n') {
        const char *word = line + strspn(line, " \t");
        if (str_starts(word, "daemon ") || str_starts(word, "daemon\t"))
            return;
        /* The first port that the file itself names; Debian's own file includes others, which say 80. */
        if (str_starts(word, "listen ") && l->port == 0) {
            const char *number = word + strlen("listen") + strspn(word + strlen("listen"), " \t");
            for (const char *p = number; *p && *p != ';' && *p != '\n' && *p != ' '; p++)
                if (*p == ':')
                    number = p + 1;
            l->port = (unsigned)strtoul(number, NULL, 10);
        }
    }
    size_t g = cmdline_find(l, "-g");
    static const char why[] =
        "`daemon off;` was added: nginx would go to the background, out of the supervisor's sight";
    if (g == 0 || !l->argv[g + 1]) {
        cmdline_add(l, (const char *const[]){"-g", "daemon off;", NULL}, why);
    } else if (!strstr(l->argv[g + 1], "daemon ")) {
        _cleanup_(freep) char *both = xasprintf("%s daemon off;", l->argv[g + 1]);
        cmdline_set(l, "-g", both, why);
    } else if (strstr(l->argv[g + 1], "daemon on")) {
        cmdline_set(l, "-g", "daemon off;",
                    "`daemon on;` became `daemon off;`: in the background it is out of the supervisor's sight");
    }
}

static void adapt_redis(Cmdline *l)
{
    cmdline_set(l, "--daemonize", "no", "`--daemonize no` was added: Debian's redis.conf sends it to the background");
    cmdline_set(l, "--supervised", "systemd",
                "`--supervised systemd` was added: redis then says itself when it is ready");
    /* Its log belongs where `bulkhead logs` looks, unless it was told otherwise. */
    if (cmdline_find(l, "--logfile") == 0)
        cmdline_add(l, (const char *const[]){"--logfile", "", NULL},
                    "`--logfile ''` was added: the log goes to standard output, and `bulkhead logs` shows it");
}

/* Debian's clusters: data in /var/lib, configuration in /etc. */
static void adapt_postgres(Cmdline *l)
{
    if (cmdline_find(l, "-D") > 0 || cmdline_value(l, "-D") || cmdline_find(l, "--config-file") > 0)
        return;
    _cleanup_(freep) char *data = l->world->match("/var/lib/postgresql/*/main");
    if (!data)
        return;
    _cleanup_(freep) char *conf = xasprintf("config_file=/etc%s/postgresql.conf", data + strlen("/var/lib"));
    cmdline_add(l, (const char *const[]){"-D", data, "-c", conf, NULL},
                "Debian's cluster was added: its data (-D) and its configuration (-c config_file=)");
}

static void adapt_mosquitto(Cmdline *l)
{
    cmdline_drop(l, "-d", "`-d` was left out: it would go to the background, out of the supervisor's sight");
    cmdline_drop(l, "--daemon",
                 "`--daemon` was left out: it would go to the background, out of the supervisor's sight");
}

static void adapt_haproxy(Cmdline *l)
{
    cmdline_drop(l, "-D", "`-D` was left out: it would go to the background, out of the supervisor's sight");
    if (cmdline_find(l, "-f") == 0)
        cmdline_add(l, (const char *const[]){"-f", "/etc/haproxy/haproxy.cfg", NULL},
                    "`-f` was added: Debian's configuration");
    if (cmdline_find(l, "-W") > 0)
        cmdline_drop(l, "-W", "`-W` became `-Ws`: haproxy then says itself when it is ready");
    if (cmdline_find(l, "-Ws") == 0 && cmdline_find(l, "-db") == 0)
        cmdline_add(l, (const char *const[]){"-Ws", NULL},
                    "`-Ws` was added: a master that says when it is ready and takes a new configuration by USR2");
}

static void adapt_php_fpm(Cmdline *l)
{
    cmdline_drop(l, "-D", "`-D` was left out: it would go to the background, out of the supervisor's sight");
    cmdline_drop(l, "--daemonize",
                 "`--daemonize` was left out: it would go to the background, out of the supervisor's sight");
    if (cmdline_find(l, "-F") == 0 && cmdline_find(l, "--nodaemonize") == 0)
        cmdline_add(l, (const char *const[]){"--nodaemonize", NULL},
                    "`--nodaemonize` was added: it would go to the background, out of the supervisor's sight");
}

static void adapt_gunicorn(Cmdline *l)
{
    cmdline_drop(l, "-D", "`-D` was left out: it would go to the background, out of the supervisor's sight");
    cmdline_drop(l, "--daemon",
                 "`--daemon` was left out: it would go to the background, out of the supervisor's sight");
}

/* python3 -m http.server [PORT] is what many try first. */
static void adapt_python(Cmdline *l)
{
    size_t m = cmdline_find(l, "-m");
    if (m == 0 || !str_equal(l->argv[m + 1], "http.server") || l->port != 0)
        return;
    l->port = 8000;
    for (size_t k = m + 2; l->argv[k]; k++) {
        uint64_t port;
        bool value = l->argv[k - 1][0] == '-'; /* of the option before it */
        if (!value && parse_u64(l->argv[k], &port) == 0 && port > 0 && port < 65536)
            l->port = (unsigned)port;
    }
}

const KnownProgram known_programs[] = {
    {.names = "nginx",
     .description = "web server",
     .package = "nginx",
     .unit = "nginx.service",
     .users = "root",
     .user_why = "the master opens ports below 1024 and the logs; its workers are www-data (nginx.conf: user)",
     .capabilities = "net_bind_service, setuid, setgid, kill, chown, dac_override",
     .capabilities_why = "what a master that is root needs for ports, workers under another user, and their files",
     .ready = KNOWN_READY_TCP,
     .port = 80,
     .pre = "-t -q",
     .pre_option = "-c",
     .stop_signal = "QUIT",
     .stop_why = "QUIT lets the workers end what they are at, TERM cuts it off",
     .reload_signal = "HUP",
     .profile = "network-server",
     .track = true,
     .adapt = adapt_nginx},
    {.names = "redis-server valkey-server",
     .description = "key-value store",
     .package = "redis-server",
     .unit = "redis-server.service",
     .users = "redis valkey",
     .user_why = "the user that the package has made",
     .ready = KNOWN_READY_NOTIFY,
     .ready_why = "Its own word comes after the data was loaded; it listens before",
     .profile = "network-server",
     .runtime_directory = "redis",
     .state_directory = "redis",
     .working_dir = "/var/lib/redis",
     .track = true,
     .keeps_open = true,
     .adapt = adapt_redis},
    {.names = "postgres",
     .description = "database",
     .package = "postgresql",
     .unit = "postgresql.service",
     .place = "/usr/lib/postgresql/*/bin/postgres",
     .users = "postgres",
     .user_why = "the user that the package has made; postgres refuses root",
     .ready = KNOWN_READY_NOTIFY,
     .ready_why = "Its own word, once it takes queries",
     .stop_signal = "INT",
     .stop_why = "INT ends sessions and writes all down; TERM would wait for every client to leave",
     .reload_signal = "HUP",
     .profile = "network-server",
     .allow = "shmget, shmat, shmdt, shmctl",
     .allow_why = "a small segment of shared memory of the old kind tells that no other postgres has the data open",
     .track = true,
     .keeps_open = true,
     .adapt = adapt_postgres},
    {.names = "mosquitto",
     .description = "message broker",
     .package = "mosquitto",
     .unit = "mosquitto.service",
     .users = "mosquitto",
     .user_why = "the user that the package has made",
     .ready = KNOWN_READY_NOTIFY,
     .reload_signal = "HUP",
     .profile = "network-server",
     .runtime_directory = "mosquitto",
     .state_directory = "mosquitto",
     .logs_directory = "mosquitto",
     .track = true,
     .keeps_open = true,
     .adapt = adapt_mosquitto},
    {.names = "haproxy",
     .description = "load balancer",
     .package = "haproxy",
     .unit = "haproxy.service",
     .users = "root",
     .user_why = "the master opens ports and goes into its chroot; its workers are haproxy (haproxy.cfg: user)",
     .capabilities = "net_bind_service, setuid, setgid, sys_chroot, kill, chown, dac_override",
     .capabilities_why = "what a master that is root needs for ports, its chroot, and workers under another user",
     .ready = KNOWN_READY_NOTIFY,
     .stop_signal = "USR1",
     .stop_why = "USR1 ends it when its connections have ended, TERM cuts them off",
     .reload_signal = "USR2",
     .profile = "network-server",
     .allow = "chroot",
     .allow_why = "its workers go into an empty directory",
     .runtime_directory = "haproxy",
     .track = true,
     .adapt = adapt_haproxy},
    {.names = "php-fpm php-fpm[0-9]*",
     .description = "PHP behind a web server",
     .package = "php-fpm",
     .unit = "php*-fpm.service",
     .place = "/usr/sbin/php-fpm[0-9]*",
     .users = "root",
     .user_why = "the master starts each pool as the pool's user, www-data (pool.d/www.conf: user)",
     .capabilities = "setuid, setgid, kill, chown, dac_override",
     .capabilities_why = "what a master that is root needs for pools under another user, their socket and their logs",
     .ready = KNOWN_READY_NOTIFY,
     .stop_signal = "QUIT",
     .stop_why = "QUIT lets the workers end the page they are at, TERM cuts it off",
     .reload_signal = "USR2",
     .profile = "network-server",
     .runtime_directory = "php",
     .adapt = adapt_php_fpm},
    {.names = "node nodejs",
     .description = "Node server",
     .package = "nodejs",
     .profile = "network-server",
     .stop_why = "the script ends what it is at when it gets TERM: process.on('SIGTERM', () => server.close())",
     .track = true,
     .interpreter = true},
    {.names = "python3 python3.[0-9]*",
     .description = "Python program",
     .package = "python3",
     .profile = "network-server",
     .track = true,
     .here = true,
     .interpreter = true,
     .adapt = adapt_python},
    {.names = "gunicorn gunicorn3",
     .description = "Python application server",
     .package = "gunicorn",
     .ready = KNOWN_READY_NOTIFY,
     .stop_why = "on TERM the workers end what they are at; gunicorn's --graceful-timeout must be below stop_timeout",
     .reload_signal = "HUP",
     .here = true,
     .profile = "network-server",
     .track = true,
     .adapt = adapt_gunicorn},
    {.names = "uvicorn",
     .description = "Python application server",
     .package = "uvicorn",
     .ready = KNOWN_READY_TCP,
     .port = 8000,
     .here = true,
     .stop_why = "on TERM it ends what it is at",
     .profile = "network-server",
     .track = true},
    {.names = NULL, .description = NULL},
};
const size_t known_programs_n = ELEMENTS(known_programs);

const KnownProgram *known_program(const char *path)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    for (size_t i = 0; i + 1 < known_programs_n; i++) {
        _cleanup_(freep) char *patterns = xstrdup(known_programs[i].names);
        for (char *save = NULL, *p = strtok_r(patterns, " ", &save); p; p = strtok_r(NULL, " ", &save))
            if (fnmatch(p, base, 0) == 0)
                return &known_programs[i];
    }
    return &known_programs[known_programs_n - 1];
}
