/* `bulkhead check --host`: the daemon's program tells what this host offers, this shows it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "tools/client.h"
#include "tools/daemon.h"
#include "tools/term.h"
#include "tools/view.h"

#define TABLE_MAX (1u << 20)

/* Runs `program --features`; *ret is what it printed, owned by the caller. */
static int ask_program(const char *program, char **ret, Error *e)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return error_errno(e, -errno, "cannot make a pipe");
    _cleanup_fd_ int from = fds[0], to = fds[1];
    fflush(stdout);
    pid_t pid = fork();
    if (pid < 0)
        return error_errno(e, -errno, "cannot fork");
    if (pid == 0) {
        (void)dup2(to, STDOUT_FILENO);
        execl(program, program, "--features", (char *)NULL);
        fprintf(stderr, "bulkhead: %s: %s\n", program, strerror(errno));
        _exit(127);
    }
    fd_closep(&to);
    int r = file_read_fd(from, TABLE_MAX, ret, NULL), status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return r < 0 ? error_errno(e, r, "cannot read what %s says", program) : 0;
}

ToolStatus verb_check_host(const Args *a)
{
    _cleanup_(freep) char *program = NULL, *text = NULL;
    Error e = {0};
    if (daemon_program(&program, &e) < 0 || ask_program(program, &text, &e) < 0) {
        say_error("%s", error_message(&e));
        return TOOL_FAILED;
    }
    _cleanup_json_ json_t *table = json_loads(text, 0, NULL);
    if (!json_is_array(table)) {
        say_error("%s --features printed no table: are both of one version?", program);
        return TOOL_FAILED;
    }
    View v = {.width = term()->width, .colours = term()->colours};
    _cleanup_(freep) char *shown = a->json ? json_dumps(table, JSON_COMPACT) : view_host(table, &v);
    printf("%s%s", shown, a->json ? "\n" : "");
    return view_host_suffices(table) ? TOOL_DONE : TOOL_FAILED;
}
