/* See calls.h. The files are the host's own, which modules see at the same paths. */
#include "supervisor/run/calls.h"

#include <errno.h>

#include "base/str.h"

/* A name without a slash lies beside the program; static probes are the program's own. */
static char *path_of(const ModulePolicy *p, const CallSite *site)
{
    const char *program = p->exec[0], *slash = strrchr(program, '/');
    if (site->kind == CALL_SITE_USDT)
        return xstrdup(program);
    if (site->where[0] == '/' || !slash)
        return xstrdup(site->where);
    return xasprintf("%.*s/%s", (int)(slash - program), program, site->where);
}

void calls_name_line(const Module *m, Error *e)
{
    const char *file;
    unsigned line;
    policy_origin(m->policy, "work.track", &file, &line);
    error_prefix(e, "%s:%u: work.track: ", file, line);
}

int calls_attach(const Module *m, Error *e)
{
    const Track *t = &m->policy->work.track;
    if (!m->ctx->kernel || !m->group || t->n_sites == 0)
        return 0;
    KernelCall *calls = new0_array(KernelCall, t->n_sites);
    char **paths = NULL;
    for (size_t i = 0; i < t->n_sites; i++) {
        const CallSite *site = &t->sites[i];
        char *path = path_of(m->policy, site);
        strv_push(&paths, path);
        calls[i] = (KernelCall){
            .path = path, .provider = site->kind == CALL_SITE_USDT ? site->where : NULL, .name = site->symbol};
    }
    int r = kernel_calls(m->ctx->kernel, group_id(m->group), calls, t->n_sites, e);
    free(calls);
    strv_free(paths);
    if (r < 0)
        calls_name_line(m, e);
    return r;
}
