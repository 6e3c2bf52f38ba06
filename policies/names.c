/* See names.h. One order for all: tables are sorted by it, searched by it and shown in it, so instances of a template
 * stand together and as a person counts them. */
#include "policies/names.h"

#include "base/str.h"

static bool plain_name(const char *name, size_t n)
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";
    return n > 0 && n <= MODULE_NAME_MAX && strspn(name, alphabet) >= n && name[0] != '_' && name[0] != '-';
}

bool instance_name_valid(const char *name)
{
    return strlen(name) <= INSTANCE_NAME_MAX && plain_name(name, strlen(name));
}

bool module_name_valid(const char *name)
{
    return plain_name(name, strlen(name));
}

size_t module_stem(const char *name)
{
    return strcspn(name, "@");
}

unsigned module_instance(const char *name)
{
    uint64_t n;
    const char *number = name + module_stem(name);
    if (*number != '@' || number[1] < '1' || number[1] > '9' || parse_u64(number + 1, &n) < 0 ||
        n > MODULE_INSTANCES_MAX)
        return 0;
    return (unsigned)n;
}

bool module_reference_valid(const char *name)
{
    size_t stem = module_stem(name);
    return plain_name(name, stem) && strlen(name) <= MODULE_NAME_MAX && (!name[stem] || module_instance(name) > 0);
}

bool module_is_instance_of(const char *name, const char *template)
{
    size_t stem = module_stem(name);
    return name[stem] == '@' && strlen(template) == stem && strncmp(name, template, stem) == 0;
}

int module_name_compare(const char *a, const char *b)
{
    size_t stem = module_stem(a), other = module_stem(b);
    int r = strncmp(a, b, MIN2(stem, other));
    if (r == 0)
        r = (stem > other) - (stem < other);
    unsigned x = module_instance(a), y = module_instance(b);
    if (r == 0)
        r = (x > y) - (x < y);
    return r ? r : strcmp(a, b);
}
