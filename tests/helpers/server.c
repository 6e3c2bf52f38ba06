/* usage: server tcp:PORT|unix:PATH [FIFO]. When told to, listens and echoes: each connection stays open until its
 * client closes it. SIGTERM closes the listener and ends the program once no connection is left; so a drain can be
 * seen. */
#include <netinet/in.h>
#include <poll.h>

#include "tests/helpers/helper.h"

#define MANY 512

static volatile sig_atomic_t asked_to_stop;

static void on_term(int s)
{
    (void)s;
    asked_to_stop = 1;
}

static int listener(const char *where)
{
    int fd = -1, yes = 1;
    if (strncmp(where, "tcp:", 4) == 0) {
        struct sockaddr_in a = {.sin_family = AF_INET,
                                .sin_port = htons((unsigned short)number(where + 4)),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        fd = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
        if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0)
            return -1;
    } else {
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        snprintf(a.sun_path, sizeof a.sun_path, "%s", where + 5);
        unlink(a.sun_path);
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0)
            return -1;
    }
    return listen(fd, 128) < 0 ? -1 : fd;
}

int main(int argc, char **argv)
{
    sigset_t term, before;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, &before);
    struct sigaction act = {.sa_handler = on_term};
    sigaction(SIGTERM, &act, NULL);
    mark("server", " ");
    go(argument(argc, argv, 2, "-"));
    struct pollfd p[MANY];
    int n = 1;
    p[0] = (struct pollfd){listener(argument(argc, argv, 1, "tcp:0")), POLLIN, 0};
    if (p[0].fd < 0) {
        perror("listen");
        return 1;
    }
    mark("listening", " ");
    for (;;) {
        if (asked_to_stop && p[0].fd >= 0) {
            mark("term", "%d", n - 1);
            close(p[0].fd);
            p[0].fd = -1;
        }
        if (p[0].fd < 0 && n == 1)
            return 0;
        if (ppoll(p, (nfds_t)n, NULL, &before) < 0)
            continue;
        for (int i = n - 1; i > 0; i--) {
            char data[4096];
            if (!p[i].revents)
                continue;
            ssize_t got = read(p[i].fd, data, sizeof data);
            if (got > 0 && write(p[i].fd, data, (size_t)got) == got)
                continue;
            close(p[i].fd);
            p[i] = p[--n];
        }
        if (p[0].fd >= 0 && (p[0].revents & POLLIN) && n < MANY)
            p[n++] = (struct pollfd){accept(p[0].fd, NULL, NULL), POLLIN, 0};
    }
}
