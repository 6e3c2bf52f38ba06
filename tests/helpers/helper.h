/* What the programs that tests run as modules share: telling the test where they are, and waiting to be told to go on.
 *
 * mark() appends the line "WHAT PID MONOTONIC_NSEC [MORE]" to the file $BH_MARK and is silent without one (a file never
 * blocks a module; a datagram socket does, once ten are unread). go() blocks until a byte can be read from a FIFO. So
 * no test needs to sleep. Programs are static and take what they need as arguments; "-" stands for a FIFO that is not
 * there. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* One datagram to a unix socket. 0 or a negative errno. */
__attribute__((unused)) static int tell(const char *path, const char *text)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int r = sendto(fd, text, strlen(text), 0, (struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
    close(fd);
    return r;
}

__attribute__((format(printf, 2, 3), unused)) static void mark(const char *what, const char *fmt, ...)
{
    const char *path = getenv("BH_MARK");
    if (!path)
        return;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    char text[1024];
    int n = snprintf(text, sizeof text, "%s %d %lld ", what, getpid(), (long long)t.tv_sec * 1000000000LL + t.tv_nsec);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text + n, sizeof text - (size_t)n - 1, fmt, ap);
    va_end(ap);
    strcat(text, "\n");
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        perror("mark");
    if (fd >= 0)
        close(fd);
}

__attribute__((unused)) static void go(const char *fifo)
{
    if (!fifo || strcmp(fifo, "-") == 0)
        return;
    int fd = open(fifo, O_RDONLY | O_CLOEXEC);
    char byte;
    if (fd < 0 || read(fd, &byte, 1) != 1) {
        perror(fifo);
        exit(99);
    }
    close(fd);
}

/* For good: only a signal ends it. */
__attribute__((unused, noreturn)) static void rest(void)
{
    for (;;)
        pause();
}

__attribute__((unused)) static const char *argument(int argc, char **argv, int i, const char *otherwise)
{
    return i < argc ? argv[i] : otherwise;
}

/* A whole number; anything else ends the program, so that a test with a typo fails. */
__attribute__((unused)) static int number(const char *s)
{
    char *end;
    long n = strtol(s, &end, 0);
    if (*s == '\0' || *end != '\0') {
        fprintf(stderr, "not a number: %s\n", s);
        exit(97);
    }
    return (int)n;
}
