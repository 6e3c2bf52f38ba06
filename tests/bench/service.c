/* The service that tests/bench supervises: reports its first instruction and waits for a signal to end it.
 * usage: service FIFO NUMBER. The report is one atomic write of {u32 number, i32 pid, u64 CLOCK_MONOTONIC ns}: a pipe
 * takes thousands of them before anybody reads, so reporting never waits for the reader. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    if (argc != 3)
        return 2;
    struct {
        uint32_t number;
        int32_t pid;
        uint64_t nsec;
    } report = {(uint32_t)strtoul(argv[2], NULL, 10), getpid(), (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec};
    int fd = open(argv[1], O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, &report, sizeof report) != sizeof report)
        return 1;
    close(fd);
    for (;;)
        pause();
}
