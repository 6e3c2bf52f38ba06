/* Tracking, switched on and off while servers run: `switch MODULES LEVEL BPFFS MODULE…`, where MODULES is a directory
 * in cgroup2 at that level below its root, and each MODULE one in it with a leaf `1`. The loader is the daemon's own,
 * and the policy what the daemon makes of `track = requests`. Reads "on" and "off", a line each, and answers "on" or
 * "off" when that is so; ends with its input. Off, nothing is attached that looks at segments. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "bpf/kernel.h"

enum { MODULES_MAX = 8 };

static uint64_t id_of(int dir, const char *path)
{
    struct stat st;
    if (fstatat(dir, path, &st, 0) < 0) {
        perror(path);
        exit(1);
    }
    return st.st_ino; /* of cgroup2 it is the id */
}

static void must(int r, const Error *e)
{
    if (r >= 0)
        return;
    fprintf(stderr, "%s\n", error_message(e));
    exit(1);
}

static void track(Kernel *k, uint64_t module, const char *name, bool on)
{
    Error e = {0};
    KernelModule m = {.name = name,
                      .track = on ? WORK_TRACK_REQUESTS : 0,
                      .max_in_flight = on ? 1000 : 0,
                      .settle_nsec = 200 * 1000000};
    must(kernel_module_add(k, module, &m, &e), &e);
}

int main(int argc, char **argv)
{
    if (argc < 5 || argc - 4 > MODULES_MAX) {
        fprintf(stderr, "usage: switch MODULES LEVEL BPFFS MODULE…\n");
        return 2;
    }
    Error e = {0};
    Kernel *k = NULL;
    uint64_t ids[MODULES_MAX];
    int n = argc - 4, modules = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    KernelConfig config = {.instance = "bench",
                           .modules_id = id_of(AT_FDCWD, argv[1]),
                           .modules_fd = modules,
                           .modules_level = (unsigned)strtoul(argv[2], NULL, 10),
                           .max_modules = MODULES_MAX,
                           .bpffs_path = argv[3]};
    must(kernel_open(&config, &k, &e), &e);
    for (int i = 0; i < n; i++) {
        char leaf[256];
        snprintf(leaf, sizeof leaf, "%s/1", argv[4 + i]);
        ids[i] = id_of(modules, argv[4 + i]);
        track(k, ids[i], argv[4 + i], false);
        must(kernel_generation_add(k, id_of(modules, leaf), ids[i], 1, &e), &e);
    }
    char line[16];
    while (fgets(line, sizeof line, stdin)) {
        for (int i = 0; i < n; i++)
            track(k, ids[i], argv[4 + i], strcmp(line, "on\n") == 0);
        fputs(line, stdout);
        fflush(stdout);
    }
    kernel_close(k);
    return 0;
}
