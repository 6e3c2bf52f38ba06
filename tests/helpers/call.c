/* usage: call FIFO [N]. Makes a call that lasts until told to go on, N of them side by side in threads. The function is
 * tracked_work; a module that tracks it has N in flight meanwhile. */
#include <pthread.h>

#include "tests/helpers/helper.h"

static const char *fifo;

__attribute__((noinline, noclone, used)) void tracked_work(void);
void tracked_work(void)
{
    mark("in-call", " ");
    go(fifo);
    mark("out-of-call", " ");
}

static void *work(void *arg)
{
    tracked_work();
    return arg;
}

int main(int argc, char **argv)
{
    fifo = argument(argc, argv, 1, "-");
    int n = number(argument(argc, argv, 2, "1"));
    for (int i = 0; i < n; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, work, NULL) != 0)
            return 1;
    }
    rest();
}
