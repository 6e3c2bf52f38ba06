/* Makes the source of a manual page from a template: `generate TEMPLATE` prints scdoc(5).
 *
 * What a page lists (keys, values, verbs, options, the keys of a profile, exit statuses) is in the tables that the
 * parsers read, and comes from there; the rest is in the template as it is printed. A line of the template that begins
 * with @@ is ours:
 *
 *     @@keys SECTION | @@values | @@verbs | @@options | @@daemon-options | @@profile-keys
 *     @@more NAME        what follows, up to the next @@ line, is printed below the entry NAME of the list
 *     @@end              ends the list
 *
 * and @VERSION@ is replaced. A @@more that names no entry is an error: text cannot outlive what it tells of. */
#include <errno.h>
#include <stdio.h>

#include "base/str.h"
#include "policies/keys.h"
#include "policies/quantities.h"
#include "policies/seccomp.h"
#include "supervisor/options.h"
#include "tools/tool.h"

/* One definition: a line of scdoc, the paragraphs below it, and the template's own after those. */
typedef struct Entry {
    char *name; /* what @@more calls it */
    char *head, *body;
    StrBuf more;
} Entry;

typedef struct Page {
    const char *file;
    unsigned line;
    Entry *list; /* NULL outside of one */
    size_t n_list;
    Entry *open; /* whose @@more this is */
    bool in_list, failed;
} Page;

/* --- text -> scdoc ------------------------------------------------------------------------------------------------ */
/* Whatever scdoc might read as markup is preceded by a backslash. */
static void put_text(StrBuf *b, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strchr("\\*_#[]|<>~^+`", s[i]))
            strbuf_addc(b, '\\');
        strbuf_addc(b, s[i]);
    }
}

static char *text(const char *s)
{
    StrBuf b = STRBUF_NULL;
    put_text(&b, s, strlen(s));
    return strbuf_take(&b);
}

/* "how it ends; that is all" becomes "How it ends; that is all."; a file's name keeps its small letter. */
static char *sentence(const char *s)
{
    StrBuf b = STRBUF_NULL;
    put_text(&b, s, strlen(s));
    bool name = memchr(s, '.', strcspn(s, " "));
    if (b.len > 0 && !name && b.s[0] >= 'a' && b.s[0] <= 'z')
        b.s[0] = (char)(b.s[0] - 'a' + 'A');
    if (b.len > 0 && !strchr(".!?:", b.s[b.len - 1]))
        strbuf_addc(&b, '.');
    return strbuf_take(&b);
}

static void add(Page *p, char *name, char *head, char *body)
{
    p->list = xrealloc(p->list, p->n_list + 1, sizeof *p->list);
    p->list[p->n_list++] = (Entry){.name = name, .head = head, .body = body};
}

/* --- keys --------------------------------------------------------------------------------------------------------- */
static void put_names(StrBuf *b, const Key *k)
{
    for (size_t i = (size_t)k->min; i < k->n_names; i++) {
        _cleanup_(freep) char *name = text(k->names[i]);
        strbuf_addf(b, "%s*%s*", i == (size_t)k->min ? "" : " \\| ", name);
    }
}

static void collect_key(Page *p, const Key *k)
{
    _cleanup_(freep) char *doc = sentence(k->doc), *kind = text(value_kind_name(k->kind)),
                          *fallback = text(k->fallback), *example = text(k->example), *range = value_range_text(k),
                          *name = text(k->name);
    StrBuf head = STRBUF_NULL, b = STRBUF_NULL;
    strbuf_addf(&head, "*%s* = ", name);
    if (k->names)
        put_names(&head, k);
    else
        strbuf_addf(&head, "_%s_", kind);
    strbuf_addf(&b, "%s\n\n", doc);
    if (range)
        strbuf_addf(&b, "Range: %s. ", range);
    if (value_expansion(k->kind) != EXPAND_NOTHING)
        strbuf_addf(&b, "Expanded: *%%n*, *%%i*%s%s. ", k->variables ? ", *${NAME}*" : "",
                    k->main_pid ? ", *${MAINPID}*" : "");
    if (*fallback)
        strbuf_addf(&b, "Default: *%s*. ", fallback);
    strbuf_addf(&b, "Example: *%s = %s*\n", name, example);
    add(p, xstrdup(k->name), strbuf_take(&head), strbuf_take(&b));
}

static bool collect_keys(Page *p, const char *section)
{
    for (const Key *k = keys; k < keys + keys_n; k++)
        if (strcmp(k->section, section) == 0)
            collect_key(p, k);
    return p->n_list > 0;
}

/* Choices are not listed, as their words stand with each key; kinds that share their name are listed once. */
static bool collect_values(Page *p, const char *argument)
{
    (void)argument;
    for (ValueKind kind = 0; kind < VALUE_KIND_N; kind++) {
        const char *name = value_kind_name(kind);
        bool skip = kind == VALUE_CHOICE || kind == VALUE_CHOICE_TEXT;
        for (ValueKind k = 0; k < kind; k++)
            skip |= strcmp(value_kind_name(k), name) == 0;
        if (skip)
            continue;
        _cleanup_(freep) char *shown = text(name), *hint = text(value_kind_hint(kind));
        add(p, xstrdup(name), xasprintf("_%s_", shown), xasprintf("%s\n", hint));
    }
    return true;
}

static bool collect_profile_keys(Page *p, const char *argument)
{
    (void)argument;
    for (size_t i = 0; i < PROFILE_KEY_N; i++) {
        const ProfileKey *k = &profile_keys[i];
        _cleanup_(freep) char *doc = sentence(k->doc), *value = text(k->value), *example = text(k->example),
                              *group = k->groups ? xasprintf(", *%s.*_WORD_", k->name) : xstrdup("");
        add(p, xstrdup(k->name), xasprintf("*%s*%s = _%s_", k->name, group, value),
            xasprintf("%s\n\nExample: *%s = %s*\n", doc, k->name, example));
    }
    return true;
}

/* --- verbs and options -------------------------------------------------------------------------------------------- */
static char *option_head(char letter, const char *name, const char *argument)
{
    StrBuf b = STRBUF_NULL;
    if (letter)
        strbuf_addf(&b, "*-%c*, ", letter);
    strbuf_addf(&b, "*--%s*", name);
    if (argument)
        strbuf_addf(&b, " _%s_", argument);
    return strbuf_take(&b);
}

/* Whether each verb takes it: then it needs no list of them. */
static bool of_every_verb(OptionId id)
{
    bool all = true;
    for (size_t i = 0; i < verbs_n; i++)
        all &= verb_takes(&verbs[i], id);
    return all;
}

static bool collect_options(Page *p, const char *argument)
{
    (void)argument;
    for (OptionId id = 0; id < OPTION_N; id++) {
        const Option *o = &options[id];
        _cleanup_(freep) char *doc = sentence(o->doc);
        StrBuf b = STRBUF_NULL;
        strbuf_addf(&b, "%s", doc);
        const char *before = " With ";
        for (size_t i = 0; i < verbs_n && !of_every_verb(id); i++) {
            if (!verb_takes(&verbs[i], id))
                continue;
            strbuf_addf(&b, "%s*%s*", before, verbs[i].name);
            before = ", ";
        }
        strbuf_adds(&b, of_every_verb(id) ? "\n" : ".\n");
        add(p, xstrdup(o->name), option_head(o->letter, o->name, o->argument), strbuf_take(&b));
    }
    return true;
}

static bool collect_daemon_options(Page *p, const char *argument)
{
    (void)argument;
    for (size_t i = 0; i < daemon_options_n; i++) {
        const DaemonOption *o = &daemon_options[i];
        if (!o->doc)
            continue;
        _cleanup_(freep) char *doc = sentence(o->doc);
        add(p, xstrdup(o->name), option_head(0, o->name, o->argument), xasprintf("%s\n", doc));
    }
    return true;
}

/* "MODULE..." as "_MODULE_...", "[DIR]" as "[_DIR_]". */
static void put_words(StrBuf *b, const char *s)
{
    bool in_word = false;
    for (;; s++) {
        bool letter = *s >= 'A' && *s <= 'Z';
        if (letter != in_word)
            strbuf_addc(b, '_');
        in_word = letter;
        if (!*s)
            return;
        put_text(b, s, 1);
    }
}

/* The paragraphs of a verb's help, up to its examples, their lines joined. */
static void put_paragraphs(StrBuf *b, const char *help, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t length = strcspn(help + i, "\n");
        put_text(b, help + i, length);
        i += length + 1;
        if (i < n)
            strbuf_addc(b, '\n'); /* a blank line of the help is one of ours */
    }
    strbuf_addc(b, '\n');
}

static void put_verb_options(StrBuf *b, const Verb *v)
{
    const char *before = "\nOptions: ";
    for (OptionId id = 0; id < OPTION_N; id++) {
        if (!(v->options & OPTION_BIT(id)))
            continue;
        _cleanup_(freep) char *head = option_head(0, options[id].name, options[id].argument);
        strbuf_addf(b, "%s%s", before, head);
        before = ", ";
    }
    if (v->options)
        strbuf_adds(b, ".\n");
}

static void collect_verb(Page *p, const Verb *v)
{
    StrBuf head = STRBUF_NULL, b = STRBUF_NULL;
    strbuf_addf(&head, "*%s*%s", v->name, *v->words ? " " : "");
    put_words(&head, v->words);
    _cleanup_(freep) char *summary = sentence(v->summary);
    strbuf_addf(&b, "%s ", summary);
    const char *examples = strstr(v->help, "examples:\n");
    size_t n = examples ? (size_t)(examples - v->help) : strlen(v->help);
    while (n > 0 && v->help[n - 1] == '\n')
        n--;
    put_paragraphs(&b, v->help, n);
    put_verb_options(&b, v);
    if (examples) {
        strbuf_adds(&b, "\n```\n");
        for (const char *s = examples + strlen("examples:\n"); *s; s += strcspn(s, "\n") + 1) {
            s += strspn(s, " ");
            strbuf_addf(&b, "%.*s\n", (int)strcspn(s, "\n"), s);
        }
        strbuf_adds(&b, "```\n");
    }
    add(p, xstrdup(v->name), strbuf_take(&head), strbuf_take(&b));
}

static bool collect_verbs(Page *p, const char *argument)
{
    (void)argument;
    for (size_t i = 0; i < verbs_n; i++)
        collect_verb(p, &verbs[i]);
    return true;
}

/* --- the template ------------------------------------------------------------------------------------------------- */
static const struct {
    const char *name;
    bool (*collect)(Page *p, const char *argument);
} lists[] = {
    {"keys", collect_keys},       {"values", collect_values},
    {"verbs", collect_verbs},     {"daemon-options", collect_daemon_options},
    {"options", collect_options}, {"profile-keys", collect_profile_keys},
};

static void fail(Page *p, const char *what, const char *name)
{
    fprintf(stderr, "%s:%u: %s: %s\n", p->file, p->line, what, name);
    p->failed = true;
}

/* Each line behind a tab; blank lines stay blank. */
static void print_indented(const char *s)
{
    size_t end = strlen(s);
    while (end > 0 && s[end - 1] == '\n') /* a paragraph is closed by what follows it */
        end--;
    for (size_t i = 0; i < end;) {
        size_t n = strcspn(s + i, "\n");
        printf("%s%.*s\n", n ? "\t" : "", (int)n, s + i);
        i += n + 1;
    }
}

static void print_list(Page *p)
{
    for (size_t i = 0; i < p->n_list; i++) {
        Entry *e = &p->list[i];
        printf("%s%s\n", i ? "\n" : "", e->head);
        print_indented(e->body);
        if (e->more.len > 0) {
            putchar('\n');
            print_indented(e->more.s);
        }
        free(e->name);
        free(e->head);
        free(e->body);
        strbuf_done(&e->more);
    }
    free(p->list);
    p->list = p->open = NULL;
    p->n_list = 0;
    p->in_list = false;
}

static void begin_list(Page *p, const char *name, const char *argument)
{
    for (size_t i = 0; i < ELEMENTS(lists); i++) {
        if (strcmp(lists[i].name, name) != 0)
            continue;
        p->in_list = true;
        if (!lists[i].collect(p, argument))
            fail(p, "nothing to list", argument);
        return;
    }
    fail(p, "no such list", name);
}

static void begin_more(Page *p, const char *name)
{
    p->open = NULL;
    for (size_t i = 0; i < p->n_list; i++)
        if (strcmp(p->list[i].name, name) == 0)
            p->open = &p->list[i];
    if (!p->open)
        fail(p, "the list has no such entry", name);
    else if (p->open->more.len > 0)
        fail(p, "a second @@more of", name);
}

static void directive(Page *p, const char *line)
{
    size_t n = strcspn(line, " ");
    _cleanup_(freep) char *name = xstrndup(line, n);
    const char *argument = line[n] ? line + n + 1 : "";
    if (!p->in_list)
        begin_list(p, name, argument);
    else if (strcmp(name, "more") == 0)
        begin_more(p, argument);
    else if (strcmp(name, "end") == 0)
        print_list(p);
    else
        fail(p, "not within a list (@@more NAME, @@end)", name);
}

static void on_line(Page *p, const char *line)
{
    static const char version[] = "@VERSION@";
    if (str_starts(line, "@@")) {
        directive(p, line + 2);
        return;
    }
    if (p->in_list) {
        if (p->open && (*line || p->open->more.len > 0))
            strbuf_addf(&p->open->more, "%s\n", line);
        else if (*line)
            fail(p, "text within a list, but of no entry (@@more NAME)", line);
        return;
    }
    for (const char *at; (at = strstr(line, version)); line = at + strlen(version))
        printf("%.*s%s", (int)(at - line), line, BULKHEAD_VERSION);
    puts(line);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fputs("usage: generate TEMPLATE\n", stderr);
        return 2;
    }
    Page p = {.file = argv[1]};
    FILE *f = fopen(p.file, "re");
    if (!f) {
        fprintf(stderr, "%s: %s\n", p.file, strerror(errno));
        return 1;
    }
    char *line = NULL;
    size_t size = 0;
    for (ssize_t n; (n = getline(&line, &size, f)) >= 0;) {
        p.line++;
        line[n - (n > 0 && line[n - 1] == '\n')] = '\0';
        on_line(&p, line);
    }
    if (p.in_list) {
        fail(&p, "a list without its", "@@end");
        print_list(&p);
    }
    bool bad = ferror(f) || p.failed || fflush(stdout) != 0;
    fclose(f);
    free(line);
    return bad ? 1 : 0;
}
