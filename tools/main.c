/* bulkhead: the command. Everything it can do any D-Bus client can do; this is the convenient one. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/complete.h"
#include "tools/term.h"
#include "tools/tool.h"

static ToolStatus run(const Args *a)
{
    if (a->version) {
        puts("bulkhead " BULKHEAD_VERSION);
        return TOOL_DONE;
    }
    if (a->help) {
        _cleanup_(freep) char *text = a->verb ? help_verb_text(a->verb) : help_text();
        fputs(text, stdout);
        return TOOL_DONE;
    }
    if (a->verb->pager && !a->no_pager && !a->follow && !a->json)
        term_pager();
    return a->verb->run(a);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], COMPLETE_WORD) == 0)
        return complete(argv + 2, (size_t)argc - 2);
    /* A reader that goes away is found when writing; the status tells. */
    signal(SIGPIPE, SIG_IGN);
    Args a;
    Error e = {0};
    if (args_parse(argc, argv, getenv("BULKHEAD_INSTANCE"), &a, &e) < 0) {
        const Verb *verb = NULL;
        for (int i = 1; i < argc && !verb && strcmp(argv[i], "--") != 0; i++)
            verb = verb_by_name(argv[i]);
        say_error("%s; see: bulkhead %s%s--help", error_message(&e), verb ? verb->name : "", verb ? " " : "");
        return TOOL_USAGE;
    }
    ToolStatus status = run(&a);
    args_done(&a);
    bool written = term_close();
    return status == TOOL_DONE && !written ? TOOL_FAILED : (int)status;
}
