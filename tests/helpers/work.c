/* usage: work MODE FIFO [N]. Counts its work by <bulkhead/work.h>; after all of it, it rests.
 *
 *   hold    begins N, marks "begun", ends them when FIFO says so, marks "ended DRAINING"
 *   drain   N threads work in small pieces, "working", until the module drains, "done DONE REFUSED"
 *   crash   a child begins N and is killed; one of its own, "crashed", ends when FIFO says so
 *   fork    begins N in each of three children too, each "begun"
 *   watch   marks "draining DRAINING MAY-BEGIN" at first and as it changes
 *   grow    makes its page longer, "grown BYTES ERRNO", and when $BH_GO says so cuts it to nothing, "cut ERRNO"
 */
#include <pthread.h>
#include <sys/wait.h>

#include "include/bulkhead/work.h"
#include "tests/helpers/helper.h"

enum { THREADS_MAX = 64 };

static void begin(int n)
{
    for (int i = 0; i < n; i++)
        bulkhead_work_begin();
}

static void end(int n)
{
    for (int i = 0; i < n; i++)
        bulkhead_work_end(true);
}

static unsigned done, refused;

static void *drains(void *userdata)
{
    (void)userdata;
    while (!bulkhead_work_draining()) {
        uint64_t since = bulkhead_work_clock();
        if (!bulkhead_work_try_begin()) {
            __atomic_add_fetch(&refused, 1, __ATOMIC_RELAXED);
            continue;
        }
        struct timespec t = {.tv_nsec = 2000000};
        nanosleep(&t, NULL); /* the work */
        __atomic_add_fetch(&done, 1, __ATOMIC_RELAXED);
        bulkhead_work_end_since(since, true);
    }
    return NULL;
}

static void drain(int n)
{
    pthread_t thread[THREADS_MAX];
    if (n > THREADS_MAX)
        exit(97);
    for (int i = 0; i < n; i++)
        pthread_create(&thread[i], NULL, drains, NULL);
    mark("working", " ");
    for (int i = 0; i < n; i++)
        pthread_join(thread[i], NULL);
    mark("done", "%u %u", done, refused);
    rest();
}

static void crash(int n)
{
    bulkhead_work_begin();
    pid_t pid = fork();
    if (pid == 0) {
        begin(n);
        raise(SIGKILL);
    }
    waitpid(pid, NULL, 0);
    mark("crashed", "%d", (int)pid);
}

static void forks(int n)
{
    for (int i = 0; i < 3; i++)
        if (fork() == 0) {
            begin(n);
            mark("begun", " ");
            rest();
        }
    begin(n);
    mark("begun", " ");
    rest();
}

static void watch(void)
{
    struct timespec t = {.tv_nsec = 5000000};
    for (int before = -1, now;; before = now) {
        now = bulkhead_work_draining();
        if (now != before)
            mark("draining", "%d %d", now, bulkhead_work_try_begin());
        nanosleep(&t, NULL);
    }
}

static void grow(void)
{
    static char megabyte[1 << 20];
    const char *path = getenv(BULKHEAD_WORK_VARIABLE);
    int fd = open(path ? path : "-", O_RDWR | O_CLOEXEC), error;
    long long written = 0;
    ssize_t n;
    memset(megabyte, 0xff, sizeof megabyte);
    while ((n = write(fd, megabyte, sizeof megabyte)) > 0 && written < (1LL << 30))
        written += n;
    error = n < 0 ? errno : 0;
    mark("grown", "%lld %d", written, error);
    go(getenv("BH_GO"));
    mark("cut", "%d", ftruncate(fd, 0) < 0 ? errno : 0);
    rest();
}

int main(int argc, char **argv)
{
    const char *mode = argument(argc, argv, 1, "hold"), *fifo = argument(argc, argv, 2, "-");
    int n = number(argument(argc, argv, 3, "1"));
    signal(SIGTERM, SIG_DFL);
    mark("work", "%d", bulkhead_work_open());
    bulkhead_work_heartbeat();
    if (strcmp(mode, "drain") == 0)
        drain(n);
    if (strcmp(mode, "fork") == 0)
        forks(n);
    if (strcmp(mode, "watch") == 0)
        watch();
    if (strcmp(mode, "grow") == 0)
        grow();
    if (strcmp(mode, "crash") == 0) {
        crash(n);
        n = 1;
    } else {
        begin(n);
        mark("begun", " ");
    }
    go(fifo);
    end(n);
    mark("ended", "%d", bulkhead_work_draining());
    rest();
}
