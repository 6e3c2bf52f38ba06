/* usage: fdready N [FIFO]. Writes a newline to descriptor N when told to: readiness as s6 knows it. */
#include "tests/helpers/helper.h"

int main(int argc, char **argv)
{
    int fd = number(argument(argc, argv, 1, "3"));
    mark("fdready", " ");
    go(argument(argc, argv, 2, "-"));
    ssize_t n = write(fd, "\n", 1);
    mark("told", "%zd", n);
    close(fd);
    rest();
}
