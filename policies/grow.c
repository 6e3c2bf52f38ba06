/* Policies made of others: with further instances of a template, or without some modules. See policy.h.
 *
 * Such a policy borrows all but the vector of modules from what was read, which it keeps alive; the modules are counted
 * by references. What was read keeps its own instances, so one that comes back is the same. */
#include <errno.h>
#include <fcntl.h>

#include "base/fd.h"
#include "base/str.h"
#include "policies/load.h"
#include "policies/reader.h"

static void push(Policy *p, ModulePolicy *m)
{
    ARRAY_PUSH(p->modules, p->n_modules) = m;
}

/* What was read from files. Counting references changes nothing that anybody reads of it. */
static Policy *read_of(const Policy *p)
{
    return p->read ? p->read : (Policy *)(uintptr_t)p;
}

Policy *policy_keep(const Policy *p, const bool *keep)
{
    Policy *read = read_of(p), *q = new0(Policy);
    *q = *read;
    q->refs = 1;
    q->read = read;
    read->refs++;
    q->modules = NULL;
    q->n_modules = 0;
    for (size_t i = 0; i < p->n_modules; i++)
        if (!keep || keep[i]) {
            p->modules[i]->refs++;
            push(q, p->modules[i]);
        }
    return q;
}

/* Pushes what is missing of instances 1 to n. */
static void add_missing(Loading *l, const Policy *p, const Template *t, unsigned n, Policy *q)
{
    for (unsigned k = 1; k <= n; k++) {
        _cleanup_(freep) char *name = xasprintf("%s@%u", t->name, k);
        if (policy_find(p, name))
            continue;
        ModulePolicy *m = policy_find(q->read, name);
        if (m)
            m->refs++;
        else
            m = instance_build(l, t, k);
        m->policy = q->read;
        push(q, m);
    }
}

int policy_grow(const Policy *p, const char *template, unsigned n, Policy **ret, Complaints *complaints)
{
    const Template *t = policy_template(p, template);
    if (!t)
        return -ENOENT;
    _cleanup_(policy_freep) Policy *q = policy_keep(p, NULL);
    _cleanup_complaints_ Complaints ignored = {0};
    _cleanup_(freep) char *first = xasprintf("%s@1", t->name);
    size_t before = complaints->n;
    /* That it cannot be opened is told by what is wanted of it. */
    _cleanup_fd_ int fd = reader_directory(AT_FDCWD, q->dir, q->dir, &ignored);
    Loading l = {
        .dir = q->dir,
        .dirfd = fd,
        .files = q->files,
        .n_files = strv_length(q->files),
        .complaints = complaints,
        .like = policy_find(q->read, first),
    };
    l.nss = nss_new();
    add_missing(&l, p, t, n, q);
    nss_free(l.nss);
    policy_sort(q);
    if (complaints->n > before) {
        complaints_sort(complaints);
        return -EINVAL;
    }
    *ret = TAKE_PTR(q);
    return 0;
}
