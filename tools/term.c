/* See term.h. */
#include "tools/term.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/str.h"

static pid_t pager;
static bool progress_shown;

const Term *term(void)
{
    static Term t;
    static bool known;
    if (known)
        return &t;
    known = true;
    t.output_is_terminal = isatty(STDOUT_FILENO);
    t.errors_are_terminal = isatty(STDERR_FILENO);
    const char *no_colour = getenv("NO_COLOR");
    t.colours = t.output_is_terminal && !(no_colour && *no_colour) && !str_equal(getenv("TERM"), "dumb");
    struct winsize size;
    if (t.output_is_terminal)
        t.width = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
    return &t;
}

void term_pager(void)
{
    if (!term()->output_is_terminal || pager > 0)
        return;
    static const char fallback[] = "command -v less >/dev/null && exec less; exec cat";
    const char *command = str_or(getenv("BULKHEAD_PAGER"), str_or(getenv("PAGER"), fallback));
    int fds[2];
    if (strcmp(command, "cat") == 0 || pipe(fds) < 0)
        return;
    fflush(stdout);
    pager = fork();
    if (pager == 0) {
        dup2(fds[0], STDIN_FILENO);
        close(fds[0]);
        close(fds[1]);
        signal(SIGPIPE, SIG_DFL);
        /* As git and systemctl ask for it: quit when it fits on one screen, show colours, leave the screen as it is. */
        setenv("LESS", "FRX", 0);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    if (pager > 0)
        dup2(fds[1], STDOUT_FILENO);
    close(fds[0]);
    close(fds[1]);
}

bool term_close(void)
{
    term_progress(NULL);
    bool ok = fflush(stdout) == 0 && !ferror(stdout);
    if (pager > 0) {
        /* The end of its input. Leaving a pager early is no error. */
        close(STDOUT_FILENO);
        while (waitpid(pager, NULL, 0) < 0 && errno == EINTR)
            ;
        pager = 0;
        return true;
    }
    return ok;
}

void term_put(const char *data, size_t n)
{
    if (!term()->output_is_terminal) {
        fwrite(data, 1, n, stdout);
        return;
    }
    while (n > 0) {
        size_t plain = 0;
        while (plain < n && (data[plain] == '\n' || data[plain] == '\t' || data[plain] == '\\'))
            plain++;
        fwrite(data, 1, plain, stdout);
        data += plain;
        n -= plain;
        size_t text = 0;
        while (text < n && data[text] != '\n' && data[text] != '\t' && data[text] != '\\')
            text++;
        _cleanup_(freep) char *shown = str_escape(data, text, SIZE_MAX);
        fputs(shown, stdout);
        data += text;
        n -= text;
    }
}

bool term_writable(void)
{
    return !ferror(stdout);
}

void term_progress(const char *line)
{
    if (!term()->errors_are_terminal || (!line && !progress_shown))
        return;
    size_t width = term()->width ? term()->width - 1 : 79;
    fprintf(stderr, "\r\033[K%.*s", (int)width, line ? line : "");
    fflush(stderr);
    progress_shown = line != NULL;
}
