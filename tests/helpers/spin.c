/* usage: spin [THREADS]. Burns as much CPU as it gets. */
#include <pthread.h>

#include "tests/helpers/helper.h"

static void *burn(void *unused)
{
    (void)unused;
    for (volatile unsigned long n = 0;; n++)
        ;
    return NULL;
}

int main(int argc, char **argv)
{
    mark("spin", " ");
    for (int i = number(argument(argc, argv, 1, "1")); i > 1; i--) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, burn, NULL) != 0)
            return 1;
    }
    burn(NULL);
}
