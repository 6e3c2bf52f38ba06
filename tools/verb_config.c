/* `bulkhead check, plan, graph`: a configuration looked at without a daemon, or the one a daemon runs. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "supervisor/plan/budget.h"
#include "supervisor/plan/describe.h"
#include "supervisor/plan/graph.h"
#include "tools/client.h"
#include "tools/term.h"

typedef struct Config {
    Policy *policy;
    Graph *graph;
} Config;

static void config_done(Config *c)
{
    graph_freep(&c->graph);
    policy_freep(&c->policy);
}

/* Everything that is wrong with it, for this host; nothing when it is good. */
static void load(const char *dir, Config *ret, Complaints *complaints)
{
    _cleanup_(freep) char *shared = NULL;
    HostCapacity host;
    Error e = {0};
    (void)policy_shared_dir(&shared);
    int r = policy_read(dir, shared, &ret->policy, complaints);
    if (graph_build(ret->policy, &ret->graph, complaints) == 0 && r == 0 && budget_host(&host) == 0 &&
        budget_check(ret->policy, &host, &e) < 0)
        complaints_add(complaints, dir, 0, NULL, "%s", error_message(&e));
    complaints_sort(complaints);
}

void print_complaints(const Complaints *c, FILE *to)
{
    for (size_t i = 0; i < c->n; i++) {
        _cleanup_(freep) char *line = complaint_format(&c->items[i]);
        fprintf(to, "%s\n", line);
    }
}

static void print_complaints_json(const Complaints *c)
{
    _cleanup_json_ json_t *all = json_array();
    for (size_t i = 0; i < c->n; i++) {
        const Complaint *x = &c->items[i];
        /* A file's name need not be UTF-8, and JSON must. */
        _cleanup_(freep) char *file = str_escape(x->file, strlen(x->file), SIZE_MAX);
        _cleanup_(freep) char *key = x->key ? str_escape(x->key, strlen(x->key), SIZE_MAX) : NULL;
        _cleanup_(freep) char *message = str_escape(x->message, strlen(x->message), SIZE_MAX);
        json_array_append_new(all,
                              json_pack("{s:s, s:o, s:s?, s:s}", "file", file, "line",
                                        x->line ? json_integer(x->line) : json_null(), "key", key, "message", message));
    }
    json_dumpf(all, stdout, JSON_COMPACT);
    putchar('\n');
}

/* What is right, and yet to be known before it is run. */
static void print_notes(const Policy *p)
{
    const char *last_file = NULL;
    unsigned last_line = 0;
    for (size_t i = 0; i < p->n_modules; i++) {
        const char *file;
        unsigned line;
        if (!(p->modules[i]->work.track.sources & TRACK_WRITES))
            continue;
        policy_origin(p->modules[i], "work.track", &file, &line);
        if (!last_file || line != last_line || strcmp(file, last_file) != 0) /* once for all instances */
            fprintf(stderr,
                    "%s:%u: work.track: writes costs each system call of the whole host some 100 ns "
                    "(a note, no fault)\n",
                    file, line);
        last_file = file;
        last_line = line;
    }
}

/* The directory the user named, or NULL. */
static const char *directory(const Args *a)
{
    return a->n_words > 0 ? a->words[0] : a->config;
}

ToolStatus verb_check(const Args *a)
{
    _cleanup_(config_done) Config c = {0};
    _cleanup_complaints_ Complaints complaints = {0};
    if (a->host)
        return verb_check_host(a);
    load(str_or(directory(a), "/etc/bulkhead"), &c, &complaints);
    if (a->json)
        print_complaints_json(&complaints);
    else
        print_complaints(&complaints, stdout);
    if (complaints.n == 0)
        print_notes(c.policy);
    return complaints.n > 0 ? TOOL_BAD_CONFIG : TOOL_DONE;
}

/* TOOL_DONE, or the complaints are on standard error. */
static ToolStatus load_or_complain(const char *dir, Config *ret)
{
    _cleanup_complaints_ Complaints complaints = {0};
    load(dir, ret, &complaints);
    print_complaints(&complaints, stderr);
    return complaints.n > 0 ? TOOL_BAD_CONFIG : TOOL_DONE;
}

static ToolStatus ask_daemon(const Args *a, const char *member, char **ret)
{
    _cleanup_client_ Client c = {0};
    ToolStatus status = client_open(a, &c);
    return status == TOOL_DONE ? client_call_string(&c, member, NULL, ret) : status;
}

ToolStatus verb_plan(const Args *a)
{
    _cleanup_(config_done) Config c = {0};
    _cleanup_(freep) char *text = NULL;
    ToolStatus status;
    if (!directory(a)) {
        status = ask_daemon(a, a->json ? "GetPlan" : "GetPlanText", &text);
    } else if ((status = load_or_complain(directory(a), &c)) == TOOL_DONE) {
        _cleanup_json_ json_t *plan = a->json ? plan_describe(c.graph) : NULL;
        text = a->json ? json_dumps(plan, JSON_COMPACT) : plan_text(c.graph);
    }
    if (status == TOOL_DONE)
        printf("%s%s", text, a->json ? "\n" : "");
    return status;
}

/* Hands `dot` the graph on its standard input. */
static ToolStatus draw(const char *graph, const char *file)
{
    int fds[2];
    if (pipe(fds) < 0) {
        say_error("cannot run dot: %s", strerror(errno));
        return TOOL_FAILED;
    }
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[0], STDIN_FILENO);
        close(fds[0]);
        close(fds[1]);
        signal(SIGPIPE, SIG_DFL);
        if (strcmp(file, "-") == 0)
            execlp("dot", "dot", "-Tsvg", (char *)NULL);
        else
            execlp("dot", "dot", "-Tsvg", "-o", file, (char *)NULL);
        _exit(127);
    }
    close(fds[0]);
    if (pid > 0)
        (void)fd_write_all(fds[1], graph, strlen(graph)); /* a dot that ends early says so by its status */
    close(fds[1]);
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || (WIFEXITED(status) && WEXITSTATUS(status) == 127)) {
        say_error("drawing needs `dot` (apt install graphviz); without --svg the graph is printed for it");
        return TOOL_FAILED;
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        say_error("dot could not draw %s", file);
        return TOOL_FAILED;
    }
    return TOOL_DONE;
}

ToolStatus verb_graph(const Args *a)
{
    _cleanup_(config_done) Config c = {0};
    _cleanup_(freep) char *graph = NULL;
    ToolStatus status;
    if (!directory(a))
        status = ask_daemon(a, "GetGraph", &graph);
    else if ((status = load_or_complain(directory(a), &c)) == TOOL_DONE)
        graph = plan_dot(c.graph);
    if (status != TOOL_DONE)
        return status;
    if (a->svg)
        return draw(graph, a->svg);
    fputs(graph, stdout);
    return TOOL_DONE;
}
