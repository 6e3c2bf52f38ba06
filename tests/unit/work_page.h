/* A counter page without a daemon: both files in a directory of their own, and processes that use them. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/wait.h>

#include "include/bulkhead/work.h"

typedef struct WorkPage {
    char dir[64], path[96], control_path[112];
    struct bulkhead_work_page *page; /* as the module sees it */
    struct bulkhead_work_control *control;
} WorkPage;

__attribute__((unused)) static void *work_page_file(const char *path, size_t size)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(p, MAP_FAILED);
    close(fd);
    return p;
}

/* For a group's setup: *state is the page, $BULKHEAD_WORK names it. */
__attribute__((unused)) static int work_page_make(void **state)
{
    static WorkPage w;
    strcpy(w.dir, "/tmp/bulkhead-work-XXXXXX");
    assert_non_null(mkdtemp(w.dir));
    snprintf(w.path, sizeof w.path, "%s/page", w.dir);
    snprintf(w.control_path, sizeof w.control_path, "%s" BULKHEAD_WORK_CONTROL, w.path);
    w.page = work_page_file(w.path, sizeof *w.page);
    w.control = work_page_file(w.control_path, sizeof *w.control);
    *w.page = (struct bulkhead_work_page){.magic = BULKHEAD_WORK_MAGIC,
                                          .version = BULKHEAD_WORK_VERSION,
                                          .n_slots = BULKHEAD_WORK_SLOTS,
                                          .slot_size = sizeof(struct bulkhead_work_slot),
                                          .first_locked = BULKHEAD_WORK_FIRST_LOCKED};
    *w.control = (struct bulkhead_work_control){.magic = BULKHEAD_WORK_MAGIC, .version = BULKHEAD_WORK_VERSION};
    setenv(BULKHEAD_WORK_VARIABLE, w.path, 1);
    *state = &w;
    return 0;
}

__attribute__((unused)) static int work_page_remove(void **state)
{
    WorkPage *w = *state;
    munmap(w->page, sizeof *w->page);
    munmap(w->control, sizeof *w->control);
    unlink(w->path);
    unlink(w->control_path);
    rmdir(w->dir);
    unsetenv(BULKHEAD_WORK_VARIABLE);
    return 0;
}

typedef void (*WorkFn)(WorkPage *w);

/* A process that runs fn. The test itself never uses the library: what it forks would inherit its session. */
__attribute__((unused)) static pid_t work_process(WorkPage *w, WorkFn fn)
{
    pid_t pid = fork();
    if (pid == 0) {
        fn(w);
        _exit(0);
    }
    assert_true(pid > 0);
    return pid;
}

/* How it ended, as waitpid says. */
__attribute__((unused)) static int work_wait(pid_t pid)
{
    int status = -1;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

__attribute__((unused)) static void work_run(WorkPage *w, WorkFn fn)
{
    assert_int_equal(work_wait(work_process(w, fn)), 0);
}

/* Sums over all slots, as they stand. */
typedef struct WorkSum {
    uint64_t started, completed, errors, rejected;
    int owned;
} WorkSum;

__attribute__((unused)) static WorkSum work_sum(const WorkPage *w)
{
    WorkSum s = {0};
    for (int i = 0; i < BULKHEAD_WORK_SLOTS; i++) {
        const struct bulkhead_work_slot *slot = &w->page->slots[i];
        s.started += slot->started;
        s.completed += slot->completed;
        s.errors += slot->errors;
        s.rejected += slot->rejected;
        s.owned += slot->owner != 0;
    }
    return s;
}
