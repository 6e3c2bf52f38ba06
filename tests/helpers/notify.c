/* usage: notify MODE [FIFO [ARGUMENT]]. Speaks the sd_notify protocol with its own hands, after being told to.
 *
 *   ready          READY=1
 *   status         STATUS=ARGUMENT, then READY=1
 *   mainpid        forks; the child names itself by MAINPID and says READY=1; the parent ends when FIFO ARGUMENT says
 * so foreign        MAINPID=ARGUMENT of a process elsewhere, then READY=1 barrier        READY=1, then BARRIER=1 with a
 * pipe; marks "barrier" when the other end was closed descriptors    READY=1 with three descriptors attached zero a
 * datagram of no bytes, then one of 200 KiB, then marks "sent" and says nothing more spoof          READY=1 to the
 * socket ARGUMENT, marks "spoofed ERRNO" Afterwards it rests. */
#include <poll.h>

#include "tests/helpers/helper.h"

static int say_to(const char *path, const void *data, size_t size, const int *fds, size_t n_fds)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(3 * sizeof(int))];
    } control = {0};
    struct iovec iov = {(void *)data, size};
    struct msghdr message = {.msg_name = &address, .msg_namelen = sizeof address, .msg_iov = &iov, .msg_iovlen = 1};
    if (n_fds) {
        control.header = (struct cmsghdr){
            .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(n_fds * sizeof(int))};
        memcpy(CMSG_DATA(&control.header), fds, n_fds * sizeof(int));
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int size_wanted = 1 << 20;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size_wanted, sizeof size_wanted);
    int r = sendmsg(fd, &message, 0) < 0 ? errno : 0;
    close(fd);
    return r;
}

static int say(const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
    return path ? say_to(path, text, strlen(text), NULL, 0) : ENOENT;
}

static void barrier(void)
{
    int ends[2];
    if (pipe(ends) < 0)
        exit(1);
    if (say_to(getenv("NOTIFY_SOCKET"), "BARRIER=1", 9, &ends[1], 1) != 0)
        exit(2);
    close(ends[1]);
    struct pollfd p = {.fd = ends[0]};
    if (poll(&p, 1, 20000) == 1 && (p.revents & POLLHUP))
        mark("barrier", " ");
}

int main(int argc, char **argv)
{
    const char *mode = argument(argc, argv, 1, "ready"), *more = argument(argc, argv, 3, "");
    char text[512];
    mark("notify", "%s", getenv("NOTIFY_SOCKET") ? getenv("NOTIFY_SOCKET") : "-");
    go(argument(argc, argv, 2, "-"));
    if (strcmp(mode, "spoof") == 0) {
        mark("spoofed", "%d", say_to(more, "READY=1", 7, NULL, 0));
        rest();
    }
    if (strcmp(mode, "zero") == 0) {
        static char big[200 * 1024] = "READY=1\nX=";
        memset(big + 10, 'x', sizeof big - 10);
        int none = say(""), much = say_to(getenv("NOTIFY_SOCKET"), big, sizeof big, NULL, 0);
        mark("sent", "%d %d", none, much);
        rest();
    }
    if (strcmp(mode, "mainpid") == 0) {
        pid_t child = fork();
        if (child > 0) {
            go(argument(argc, argv, 3, "-"));
            return 0;
        }
        snprintf(text, sizeof text, "MAINPID=%d\nREADY=1", getpid());
        mark("child", " ");
        return say(text) ? 1 : (rest(), 0);
    }
    if (strcmp(mode, "status") == 0 || strcmp(mode, "foreign") == 0) {
        snprintf(text, sizeof text, "%s=%s", mode[0] == 's' ? "STATUS" : "MAINPID", more);
        if (say(text))
            return 1;
    }
    if (strcmp(mode, "descriptors") == 0) {
        int fds[3] = {0, 1, 2};
        mark("sent", "%d", say_to(getenv("NOTIFY_SOCKET"), "READY=1", 7, fds, 3));
        rest();
    }
    int r = say("READY=1");
    mark("sent", "%d", r);
    if (strcmp(mode, "barrier") == 0)
        barrier();
    rest();
}
