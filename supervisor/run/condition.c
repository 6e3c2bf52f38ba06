/* See condition.h. */
#include "supervisor/run/condition.h"

#include <sys/stat.h>

#include "base/str.h"

char *condition_unmet(const ModulePolicy *m)
{
    STRV_FOREACH (c, m->condition_path_exists) {
        struct stat st;
        bool must_not = **c == '!', is = stat(*c + must_not, &st) == 0;
        if (is == must_not)
            return xasprintf("condition_path_exists = %s %s", *c, is ? "exists" : "does not exist");
    }
    return NULL;
}
