/* See unit.h. Two walks over the lines: first what others depend on (commands, type, user, variables), then the rest;
 * in between the first is put together. Each line ends in one note. */
#include "tools/import/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/fd.h"
#include "policies/environment.h"
#include "policies/words.h"

const UnitRow *unit_row(const char *section, const char *name)
{
    for (int other = 0; other < 2; other++) {
        for (size_t i = 0; i < unit_rows_n; i++)
            if (strcmp(unit_rows[i].section, section) == 0 && strcmp(unit_rows[i].name, name) == 0)
                return &unit_rows[i];
        if (strcmp(section, "Socket") != 0)
            return NULL;
        section = "Service";
    }
    return NULL;
}

const char *unit_row_nearest(const char *section, const char *name)
{
    _cleanup_(freep) const char **names = new0_array(const char *, unit_rows_n);
    size_t n = 0;
    for (size_t i = 0; i < unit_rows_n; i++)
        if (strcmp(unit_rows[i].section, section) == 0)
            names[n++] = unit_rows[i].name;
    return str_nearest(name, names, n);
}

/* --- put together ------------------------------------------------------------------------------------------------- */
static void set_variable(char ***v, const char *variable)
{
    size_t n = words_variable_name(variable);
    for (char **x = *v; x && *x; x++)
        if (strncmp(*x, variable, n + 1) == 0) {
            free(*x);
            *x = xstrdup(variable);
            return;
        }
    strv_add(v, variable);
}

/* Several are a list, of which the last wins with us as with systemd; their variables go to `ret`. */
static void finish_environment_files(UnitImport *u, char ***ret)
{
    _cleanup_strbuf_ StrBuf list = STRBUF_NULL;
    for (size_t i = 0; i < u->n_environment_files; i++) {
        const FromLine *from = &u->environment_files[i];
        Error e = {0};
        _cleanup_(freep) char *path = NULL, *text = NULL;
        _cleanup_strv_ char **variables = NULL;
        size_t size = 0;
        _cleanup_complaints_ Complaints wrong = {0};
        if (unit_specifiers(from->value, &u->names, true, &path, &e) < 0) {
            sketch_drop(u->s, "module", from, "%s", error_message(&e));
            continue;
        }
        const char *plain = path + (path[0] == '-');
        if (strpbrk(plain, "*?[")) {
            sketch_drop(u->s, "module", from, "patterns are not expanded (name each file)");
            continue;
        }
        if (file_read_all(AT_FDCWD, plain, 1u << 20, &text, &size) == 0 &&
            environment_parse(text, size, plain, &variables, &wrong) < 0) {
            sketch_drop(u->s, "module", from, "line %u of it: %s", wrong.items[0].line, wrong.items[0].message);
            continue;
        }
        char **all = environment_merge(*ret, variables);
        strv_free(*ret);
        *ret = all;
        import_add_item(&list, path);
        sketch_set(u->s, "module.environment_file", list.s, from, IMPORT_CARRIED, NULL);
    }
}

static void finish_environment(UnitImport *u)
{
    _cleanup_strv_ char **file = NULL, **own = NULL;
    finish_environment_files(u, &file);
    for (size_t i = 0; i < u->n_environment; i++) {
        const FromLine *from = &u->environment[i];
        Error e = {0};
        _cleanup_strv_ char **words = NULL;
        bool outdone = false;
        int r = unit_words(from->value, &words, NULL, &e);
        for (char **w = words; r == 0 && w && *w; w++) {
            _cleanup_(freep) char *text = NULL;
            if ((r = unit_specifiers(*w, &u->names, false, &text, &e)) < 0)
                break;
            size_t n = words_variable_name(text);
            if (n == 0 || text[n] != '=')
                r = error_set(&e, -EINVAL, "there is no NAME=value in it");
            else if (words_variable(file, text, n))
                outdone = true;
            else
                set_variable(&own, text);
        }
        if (r < 0) {
            sketch_drop(u->s, "module", from, "%s", error_message(&e));
            continue;
        }
        _cleanup_strbuf_ StrBuf b = STRBUF_NULL;
        STRV_FOREACH (v, own) {
            _cleanup_(freep) char *literal = import_literal(*v, false);
            import_add_item(&b, literal);
        }
        const char *why = outdone ? "what environment_file sets too is left to it, as it wins with systemd" : NULL;
        if (b.len > 0)
            sketch_set(u->s, "module.environment", b.s, from, why ? IMPORT_CHANGED : IMPORT_CARRIED, why);
        else
            sketch_fits(u->s, from, why);
    }
    u->variables = environment_merge(file, own);
}

/* Can the key hold several commands, and such as may fail? */
static bool takes_several(const Sketch *s, const char *key)
{
    return sketch_takes(s, key, "-/bin/true ; /bin/true", NULL);
}

static void finish_list(UnitImport *u, const char *key, ForeignCommands *list)
{
    bool root = !u->user || strcmp(u->user, "root") == 0, several = takes_several(u->s, key);
    _cleanup_strbuf_ StrBuf all = STRBUF_NULL;
    for (size_t i = 0; i < list->n; i++) {
        const ForeignCommand *c = &list->items[i];
        _cleanup_(freep) char *why = NULL, *text = command_text(c, u->variables, &why);
        if (c->privileged && !root) {
            sketch_drop(u->s, "module", &c->from,
                        "it runs as the module's user like all of it (give what needs root to a oneshot module with "
                        "user = root, and require that)");
            continue;
        }
        if (!several && sketch_knows(key) && (all.len > 0 || c->ignore_failure)) {
            sketch_drop(u->s, "module", &c->from, "this version runs one command there, which must not fail");
            continue;
        }
        strbuf_addf(&all, "%s%s%s", all.len ? " ; " : "", c->ignore_failure ? "-" : "", text);
        sketch_set(u->s, key, all.s, &c->from, why ? IMPORT_CHANGED : IMPORT_CARRIED, why);
    }
}

static void finish_type(UnitImport *u)
{
    const FromLine *from = &u->type;
    const char *type = str_or(u->type_name, "simple");
    if (u->timer.n > 0 && !u->oneshot) {
        sketch_own(u->s, "module.type", "oneshot", "what a timer starts is a job: it runs to its end");
        if (from->file)
            sketch_drop(u->s, "module", from, "what a timer starts is a job, and ready when it has ended well");
        u->oneshot = true;
        return;
    }
    if (!from->file)
        return;
    if (u->oneshot)
        sketch_set(u->s, "module.type", "oneshot", from, IMPORT_CARRIED, NULL);
    else if (strcmp(type, "simple") == 0)
        sketch_fits(u->s, from, "so it is anyway");
    else if (strcmp(type, "exec") == 0)
        sketch_set(u->s, "module.ready", "exec", from, IMPORT_CARRIED, NULL);
    else if (strcmp(type, "notify") == 0)
        sketch_set(u->s, "module.ready", "notify", from, IMPORT_CARRIED, NULL);
    else if (strcmp(type, "notify-reload") == 0 &&
             sketch_set(u->s, "module.ready", "notify", from, IMPORT_CHANGED, "a reload is not waited for"))
        sketch_own(u->s, "module.reload_signal", "HUP", NULL);
    else if (strcmp(type, "idle") == 0)
        sketch_drop(u->s, "module", from, "nothing waits for the console to be quiet (after = ... orders)");
    else if (strcmp(type, "dbus") == 0)
        sketch_drop(u->s, "module", from,
                    "names on the D-Bus are not waited for (ready = unix:PATH or notify, if it can)");
    else if (strcmp(type, "forking") != 0 && strcmp(type, "notify-reload") != 0)
        sketch_drop(u->s, "module", from, "there is no such type (simple, oneshot)");
}

/* Type=forking: the program is to stay, if it is known how. */
static void stay(UnitImport *u, ForeignCommand *c, const char **ret_told)
{
    *ret_told = NULL;
    if (!u->type_name || strcmp(u->type_name, "forking") != 0)
        return;
    *ret_told = command_stay(c);
    if (*ret_told)
        sketch_fits(u->s, &u->type,
                    "programs stay in the foreground here (ready = tcp:PORT or unix:PATH tells when it serves)");
    else
        sketch_drop(u->s, "module", &u->type, "programs stay in the foreground here (%s)", command_stay_hint(c));
}

static void finish_start(UnitImport *u)
{
    ForeignCommands *start = &u->commands[UNIT_START];
    if (start->n == 0) {
        if (u->oneshot)
            sketch_own(u->s, "module.exec", "/bin/true", "there is no ExecStart in it");
        return;
    }
    ForeignCommand *c = &start->items[start->n - 1];
    const char *told = NULL;
    stay(u, c, &told);
    _cleanup_(freep) char *why = NULL, *text = command_text(c, u->variables, &why);
    _cleanup_strbuf_ StrBuf all = STRBUF_NULL;
    const char *const parts[] = {told, why, c->ignore_failure ? "any exit status is a good one" : NULL,
                                 c->privileged ? "it runs with the rights of its user alone" : NULL};
    for (size_t i = 0; i < ELEMENTS(parts); i++)
        if (parts[i])
            strbuf_addf(&all, "%s%s", all.len ? "; " : "", parts[i]);
    sketch_set(u->s, "module.exec", text, &c->from, all.len ? IMPORT_CHANGED : IMPORT_CARRIED, all.s);
    if (c->ignore_failure)
        sketch_own(u->s, "module.success_exit_status", "0-255", NULL);
    if (!u->nnp_given && command_serves_sessions(c))
        sketch_own(u->s, "sandbox.no_new_privs", "no", "what it starts for others may be set-uid, as su and sudo are");
}

/* A oneshot's commands but the last come before it. */
static void finish_pre(UnitImport *u)
{
    ForeignCommands *pre = &u->commands[UNIT_PRE], *start = &u->commands[UNIT_START];
    for (size_t i = 0; i + 1 < start->n; i++)
        if (u->oneshot) {
            ForeignCommand *c = &start->items[i];
            command_add_argv(pre, TAKE_PTR(c->argv), &c->from);
            pre->items[pre->n - 1].ignore_failure = c->ignore_failure;
            pre->items[pre->n - 1].literal = c->literal;
        } else {
            sketch_drop(u->s, "module", &start->items[i].from,
                        "a service has one program (systemd refuses it as well)");
        }
    finish_list(u, "module.exec_start_pre", pre);
}

static void finish_reload(UnitImport *u)
{
    ForeignCommands *reload = &u->commands[UNIT_RELOAD];
    _cleanup_(freep) char *signal = reload->n == 1 ? command_kill_signal(&reload->items[0]) : NULL;
    if (signal) {
        sketch_set(u->s, "module.reload_signal", signal, &reload->items[0].from, IMPORT_CARRIED, NULL);
        return;
    }
    finish_list(u, "module.exec_reload", reload);
}

static void finish_stop(UnitImport *u)
{
    ForeignCommands *stop = &u->commands[UNIT_STOP], *post = &u->commands[UNIT_STOP_POST];
    uint64_t seconds = 0;
    _cleanup_(freep) char *signal = stop->n == 1 ? command_stop_signal(&stop->items[0], &seconds) : NULL;
    if (signal) {
        sketch_set(u->s, "module.stop_signal", signal, &stop->items[0].from, IMPORT_CHANGED,
                   "that signal is all it comes to");
        _cleanup_(freep) char *time = xasprintf("%llus", (unsigned long long)seconds);
        if (seconds > 0)
            sketch_own(u->s, "module.stop_timeout", time, NULL);
    }
    for (size_t i = 0; !signal && i < stop->n; i++)
        sketch_drop(u->s, "module", &stop->items[i].from,
                    u->oneshot
                        ? "a job is asked to end by stop_signal (what must be undone goes to exec_stop_post)"
                        : "a module is asked to end by stop_signal, and no command is run for that (stop_signal = "
                          "QUIT where the program has one for a soft end; exec_stop_post for what comes after)");
    finish_list(u, "module.exec_stop_post", post);
}

static void finish_user(UnitImport *u)
{
    if (u->user)
        return;
    if (u->dynamic)
        sketch_own(u->s, "sandbox.user", "nobody", "DynamicUser= makes one: make it yourself and name it here");
    else
        sketch_own(u->s, "sandbox.user", "root", "there is no User= in it, so it runs as root");
}

static void finish_capabilities(UnitImport *u)
{
    bool root = !u->user && !u->dynamic;
    char **caps = u->ambient_given && !root ? u->ambient_caps : u->bounding_caps;
    const FromLine *from = u->ambient_given && !root ? &u->ambient : &u->bounding,
                   *rest = from == &u->ambient ? &u->bounding : &u->ambient;
    if (!from->file)
        from = rest, rest = NULL, caps = u->ambient_caps;
    if (!from->file)
        return;
    _cleanup_strbuf_ StrBuf b = STRBUF_NULL;
    STRV_FOREACH (c, caps) {
        bool bounded =
            from == &u->bounding || !u->bounding_given || u->bounding_inverted != strv_contains(u->bounding_caps, *c);
        if (bounded)
            import_add_item(&b, *c);
    }
    if (from == &u->bounding && u->bounding_inverted)
        sketch_drop(u->s, "sandbox", from, "it names those that are taken away (capabilities = those it needs)");
    else if (from == &u->bounding && !root && b.len > 0)
        sketch_drop(u->s, "sandbox", from,
                    "its user is not root and holds none; these would only bound set-uid programs, which "
                    "no_new_privs keeps from giving any (capabilities = ... would give them to it)");
    else if (from == &u->ambient && root && !u->bounding_given)
        sketch_drop(u->s, "sandbox", from, "root holds all that are not taken away (capabilities = those it needs)");
    else
        sketch_set(u->s, "sandbox.capabilities", b.len > 0 ? b.s : "none", from, IMPORT_CARRIED, NULL);
    if (rest && rest->file)
        sketch_fits(u->s, rest, "both sets together are sandbox.capabilities");
}

/* --- the walks ---------------------------------------------------------------------------------------------------- */
static bool same_key(const UnitEntry *a, const UnitEntry *b)
{
    return a->key && b->key && strcmp(a->section, b->section) == 0 && strcmp(a->key, b->key) == 0;
}

/* A later line replaces this one, or takes it back; NULL: none does. */
static const UnitEntry *superseded(const UnitEntries *all, size_t i, bool many)
{
    for (size_t j = i + 1; j < all->n; j++)
        if (same_key(&all->items[i], &all->items[j]) && (!many || !*all->items[j].value))
            return &all->items[j];
    return NULL;
}

static void not_known(UnitImport *u, const UnitEntry *e, const FromLine *from)
{
    const char *near = e->key ? unit_row_nearest(e->section, e->key) : NULL;
    if (!e->key)
        sketch_drop(u->s, NULL, from, "the line is no Key=value below a [Section], systemd ignores it as well");
    else if (str_starts(e->section, "X-") || str_starts(e->key, "X-"))
        sketch_drop(u->s, NULL, from, "what begins with X- is meant for other programs");
    else if (near)
        sketch_drop(u->s, NULL, from, "systemd knows no %s= in [%s] (did you mean %s=?)", e->key, e->section, near);
    else
        sketch_drop(u->s, NULL, from, "systemd knows no %s= in [%s]", e->key, e->section);
}

static void walk(UnitImport *u, const UnitEntries *all, bool early)
{
    for (size_t i = 0; i < all->n; i++) {
        const UnitEntry *e = &all->items[i];
        const FromLine from = {e->file, e->line, e->key ? e->key : e->value, e->key ? e->value : NULL};
        const UnitRow *row = e->key ? unit_row(e->section, e->key) : NULL;
        if (row ? row->early != early : early)
            continue;
        bool of_service = all == &u->service,
             common = strcmp(e->section, "Unit") == 0 || strcmp(e->section, "Install") == 0;
        const UnitEntry *later = row && row->take && row->take != take_fits ? superseded(all, i, row->many) : NULL;
        if (!row)
            not_known(u, e, &from);
        else if (!of_service && strcmp(e->section, "Install") == 0 && row->take == take_wanted_by)
            row->take(u, row, &from); /* an enabled timer or socket is what starts it */
        else if (!of_service && common)
            sketch_drop(u->s, NULL, &from, "it is about the %s, which is part of the module here",
                        all == &u->timer ? "timer" : "socket");
        else if (!of_service && strcmp(row->section, "Service") == 0)
            sketch_drop(u->s, NULL, &from, "it is about commands of the socket, and there are none here");
        else if (later)
            sketch_drop(u->s, NULL, &from, "%s:%u %s it", later->file, later->line,
                        *later->value ? "replaces" : "takes back");
        else if (!row->take)
            sketch_drop(u->s, row->to, &from, "%s", row->why);
        else if (!*e->value && row->take != take_capabilities)
            sketch_fits(u->s, &from, row->many ? "what came before is taken back" : "the default is meant");
        else
            row->take(u, row, &from);
    }
}

void unit_import(UnitImport *u)
{
    const UnitEntries *const all[] = {&u->service, &u->timer, &u->socket};
    for (size_t i = 0; i < ELEMENTS(all); i++)
        walk(u, all[i], true);
    finish_environment(u);
    finish_type(u);
    finish_start(u);
    finish_pre(u);
    set_variable(&u->variables, "MAINPID=1"); /* known once it runs */
    finish_list(u, "module.exec_start_post", &u->commands[UNIT_POST]);
    finish_reload(u);
    finish_stop(u);
    if (!u->installed)
        sketch_own(u->s, "module.start", "manual", "there is no WantedBy= in it, so nothing starts it at boot");
    finish_user(u);
    finish_capabilities(u);
    for (size_t i = 0; i < ELEMENTS(all); i++)
        walk(u, all[i], false);
    if (!sketch_get(u->s, "recovery.restart"))
        sketch_own(u->s, "recovery.restart", "no", "there is no Restart= in it, and systemd's default is no");
}

void unit_import_done(UnitImport *u)
{
    for (size_t i = 0; i < UNIT_COMMANDS_N; i++)
        foreign_commands_done(&u->commands[i]);
    unit_names_done(&u->names);
    unitfile_done(&u->service);
    unitfile_done(&u->timer);
    unitfile_done(&u->socket);
    free(u->environment);
    free(u->environment_files);
    strv_free(u->variables);
    strv_free(u->bounding_caps);
    strv_free(u->ambient_caps);
    strbuf_done(&u->calendar);
}
