/* The conversions of the table that others depend on, and those that only collect: what comes of it is put together in
 * unit.c. See unit.h. */
#include <errno.h>
#include <stdio.h>

#include "policies/words.h"
#include "tools/import/unit.h"

UNIT_TAKE(take_commands)
{
    static const char *const keys_of[UNIT_COMMANDS_N] = {"module.exec_start_pre",  "module.exec",
                                                         "module.exec_start_post", "module.exec_reload",
                                                         "module.stop_signal",     "module.exec_stop_post"};
    size_t which = 0;
    while (which < UNIT_COMMANDS_N - 1 && strcmp(keys_of[which], row->to) != 0)
        which++;
    Error e = {0};
    if (foreign_commands_parse(from->value, &u->names, from, &u->commands[which], &e) < 0)
        sketch_drop(u->s, "module", from, "%s", error_message(&e));
}

UNIT_TAKE(take_type)
{
    (void)row;
    u->type = *from;
    u->type_name = from->value;
    u->oneshot = strcmp(from->value, "oneshot") == 0;
}

UNIT_TAKE(take_environment)
{
    (void)row;
    ARRAY_PUSH(u->environment, u->n_environment) = *from;
}

UNIT_TAKE(take_environment_file)
{
    (void)row;
    ARRAY_PUSH(u->environment_files, u->n_environment_files) = *from;
}

UNIT_TAKE(take_user)
{
    Error e = {0};
    _cleanup_(freep) char *name = NULL;
    if (unit_specifiers(from->value, &u->names, false, &name, &e) < 0)
        sketch_drop(u->s, "sandbox", from, "%s", error_message(&e));
    else if (sketch_set(u->s, row->to, name, from, IMPORT_CARRIED, NULL))
        u->user = sketch_get(u->s, row->to);
}

UNIT_TAKE(take_dynamic_user)
{
    (void)row;
    u->dynamic = unit_boolean(from->value) == 1;
    if (u->dynamic)
        sketch_drop(u->s, "sandbox", from,
                    "users are made before, not at the start (adduser --system NAME, then user = NAME)");
    else
        sketch_fits(u->s, from, "so it is anyway");
}

UNIT_TAKE(take_no_new_privs)
{
    u->nnp_given = true;
    take_yes_no(u, row, from);
}

UNIT_TAKE(take_capabilities)
{
    bool ambient = strcmp(row->name, "AmbientCapabilities") == 0;
    FromLine *source = ambient ? &u->ambient : &u->bounding;
    char ***caps = ambient ? &u->ambient_caps : &u->bounding_caps;
    bool *given = ambient ? &u->ambient_given : &u->bounding_given;
    if (source->file)
        sketch_fits(u->s, source, "with the line that follows");
    *source = *from;
    *given = true;
    if (!*from->value)
        *caps = strv_free(*caps);
    u->bounding_inverted |= !ambient && from->value[0] == '~';
    _cleanup_strv_ char **words = NULL;
    if (unit_words(from->value + (from->value[0] == '~'), &words, NULL, NULL) < 0)
        return;
    STRV_FOREACH (w, words) {
        _cleanup_(freep) char *name = xstrdup(*w + (strncasecmp(*w, "cap_", 4) == 0 ? 4 : 0));
        for (char *p = name; *p; p++)
            *p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
        if (!strv_contains(*caps, name))
            strv_add(caps, name);
    }
}

static const char *why_not_a_module(const char *unit)
{
    static const struct {
        const char *suffix, *why;
    } kinds[] = {
        {".target", "targets are points in the start of the host, and bulkheadd comes after them"},
        {".socket", "a socket is part of its module here (listen)"},
        {".timer", "a timer is part of its module here ([timer])"},
        {".mount", "mounts are the host's (order bulkhead.service after it: After= in a drop-in of its own)"},
        {".automount", "mounts are the host's"},
        {".swap", "swap is the host's"},
        {".device", "devices are the host's (order bulkhead.service after it: After= in a drop-in of its own)"},
        {".path", "paths are not watched (an own module may do so)"},
        {".slice", "each module has a cgroup of its own, and they are not nested"},
        {".scope", "a scope holds what others have started"},
    };
    for (size_t i = 0; i < ELEMENTS(kinds); i++) {
        size_t n = strlen(unit), m = strlen(kinds[i].suffix);
        if (n > m && strcmp(unit + n - m, kinds[i].suffix) == 0)
            return kinds[i].why;
    }
    return NULL;
}

static Bond bond_of(const char *to)
{
    return strcmp(to, "module.requires") == 0 ? BOND_REQUIRES
           : strcmp(to, "module.wants") == 0  ? BOND_WANTS
           : strcmp(to, "module.after") == 0  ? BOND_AFTER
                                              : BOND_PART_OF;
}

/* `why` "reverse": the other one is bound to this one. */
UNIT_TAKE(take_bond)
{
    Error e = {0};
    _cleanup_strv_ char **words = NULL;
    if (unit_words(from->value, &words, NULL, &e) < 0) {
        sketch_drop(u->s, "module", from, "%s", error_message(&e));
        return;
    }
    STRV_FOREACH (w, words) {
        _cleanup_(freep) char *unit = NULL;
        if (unit_specifiers(*w, &u->names, false, &unit, &e) < 0) {
            sketch_drop(u->s, "module", from, "%s", error_message(&e));
            continue;
        }
        const char *why = why_not_a_module(unit);
        if (why) {
            sketch_drop(u->s, "module", from, "%s: %s", unit, why);
            continue;
        }
        char *dot = strrchr(unit, '.');
        if (dot && strcmp(dot, ".service") == 0)
            *dot = '\0';
        _cleanup_(freep) char *name = import_name(unit);
        sketch_bond(u->s, bond_of(row->to), name, row->why && strcmp(row->why, "reverse") == 0, from);
    }
}

UNIT_TAKE(take_wanted_by)
{
    _cleanup_strv_ char **words = NULL;
    if (unit_words(from->value, &words, NULL, NULL) < 0)
        return;
    STRV_FOREACH (w, words) {
        size_t n = strlen(*w);
        u->installed = true;
        if (n > 7 && strcmp(*w + n - 7, ".target") == 0)
            sketch_fits(u->s, from, "it starts with the daemon (start = auto)");
        else
            take_bond(u, row, &(FromLine){from->file, from->line, from->key, *w});
    }
}

UNIT_TAKE(take_condition_path)
{
    Error e = {0};
    _cleanup_(freep) char *path = NULL;
    if (from->value[0] == '|') {
        sketch_drop(u->s, "module", from, "conditions of which one suffices do not exist (all of them must hold)");
        return;
    }
    if (unit_specifiers(from->value, &u->names, true, &path, &e) < 0) {
        sketch_drop(u->s, "module", from, "%s", error_message(&e));
        return;
    }
    _cleanup_strbuf_ StrBuf b = STRBUF_NULL;
    strbuf_adds(&b, str_or(sketch_get(u->s, row->to), ""));
    import_add_item(&b, path);
    sketch_set(u->s, row->to, b.s, from, row->why ? IMPORT_CHANGED : IMPORT_CARRIED, row->why);
}

UNIT_TAKE(take_calendar)
{
    strbuf_addf(&u->calendar, "%s%s", u->calendar.len ? "; " : "", from->value);
    sketch_set(u->s, row->to, u->calendar.s, from, IMPORT_CARRIED, NULL);
}

UNIT_TAKE(take_listen)
{
    Error e = {0};
    _cleanup_(freep) char *address = NULL;
    uint64_t port = 0;
    if (unit_specifiers(from->value, &u->names, true, &address, &e) < 0) {
        sketch_drop(u->s, "module", from, "%s", error_message(&e));
        return;
    }
    const char *before = sketch_get(u->s, row->to), *comma = before ? ", " : "";
    _cleanup_(freep) char *first = NULL, *second = NULL;
    bool number = parse_u64(address, &port) == 0;
    if (address[0] == '/') {
        first = xasprintf("%s%sunix:%s", str_or(before, ""), comma, address);
    } else if (number) {
        first = xasprintf("%s%stcp:[::]:%s", str_or(before, ""), comma, address);
        second = xasprintf("%s%stcp:0.0.0.0:%s", str_or(before, ""), comma, address);
    } else {
        first = xasprintf("%s%stcp:%s", str_or(before, ""), comma, address);
    }
    bool other = second && !sketch_takes(u->s, row->to, first, NULL) && sketch_takes(u->s, row->to, second, NULL);
    sketch_set(u->s, row->to, other ? second : first, from, other ? IMPORT_CHANGED : IMPORT_CARRIED,
               other ? "for IPv4 alone" : NULL);
}
