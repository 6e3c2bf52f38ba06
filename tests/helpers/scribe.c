/* scribe RATE SECONDS [LINES]: writes numbered lines to its output, RATE MB/s (0: as fast as it can), whole lines of
 * 64 to 191 bytes in writes of about 8 KB, until SIGTERM, SECONDS are over or LINES are written. Then tells by a mark:
 * "wrote LINES BYTES USEC LONGEST_USEC OVER_10MS" - how many lines, how long it took, the longest write(2). A write
 * that fails for want of room is tried again and counted: "full TIMES". With BH_SCRIBE=err it writes to its error. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "tests/helpers/helper.h"

static volatile sig_atomic_t over;

static void on_term(int sig)
{
    (void)sig;
    over = 1;
}

static double now_usec(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static char buf[8192];

static size_t fill(unsigned long long *line, unsigned long long lines)
{
    size_t used = 0;
    while (used < sizeof buf - 200 && *line < lines) {
        int n = snprintf(buf + used, 64, "%012llu ", *line);
        size_t pad = 50 + (size_t)(*line * 37 % 128);
        memset(buf + used + n, 'a' + (int)(*line % 26), pad);
        used += (size_t)n + pad;
        buf[used++] = '\n';
        ++*line;
    }
    return used;
}

int main(int argc, char **argv)
{
    double rate = number(argument(argc, argv, 1, "0")), seconds = number(argument(argc, argv, 2, "1000000"));
    unsigned long long lines = argc > 3 ? strtoull(argv[3], NULL, 10) : ~0ull, line = 0, full = 0, over_10ms = 0;
    const char *where = getenv("BH_SCRIBE");
    int out = where && strcmp(where, "err") == 0 ? 2 : 1;
    char text[256];
    signal(SIGTERM, on_term);
    mark("writing", "%s", argument(argc, argv, 1, "0"));
    double begun = now_usec(), longest = 0, bytes = 0;
    while (!over && line < lines && now_usec() - begun < seconds * 1e6) {
        size_t size = fill(&line, lines), done = 0;
        while (done < size) {
            double before = now_usec();
            ssize_t n = write(out, buf + done, size - done);
            double took = now_usec() - before;
            if (n < 0 && errno != EINTR) {
                full++;
                usleep(10000);
            }
            longest = took > longest ? took : longest;
            over_10ms += took > 10000;
            done += n > 0 ? (size_t)n : 0;
        }
        bytes += (double)size;
        double ahead = rate > 0 ? bytes / rate - (now_usec() - begun) : 0;
        if (ahead > 500)
            usleep((unsigned)ahead);
    }
    snprintf(text, sizeof text, "%llu %.0f %.0f %.0f %llu", line, bytes, now_usec() - begun, longest, over_10ms);
    mark("wrote", "%s", text);
    snprintf(text, sizeof text, "%llu", full);
    mark("full", "%s", text);
    return 0;
}
