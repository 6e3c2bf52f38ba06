/* See sketch.h. */
#include "tools/import/sketch.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>

#include "policies/names.h"
#include "policies/policy.h"
#include "policies/values.h"
#include "policies/words.h"

const char *const import_status_names[IMPORT_STATUS_N] = {"carried", "changed", "dropped"};

static const char *const bond_keys[BOND_N] = {"module.requires", "module.wants", "module.after", "module.part_of"};

Sketch *sketch_new(const char *name, const char *origin, Notes *notes, Nss *nss)
{
    Sketch *s = new0(Sketch);
    s->name = xstrdup(name);
    s->origin = xstrdup(origin);
    s->notes = notes;
    s->nss = nss;
    return s;
}

Sketch *sketch_free(Sketch *s)
{
    if (!s)
        return NULL;
    for (size_t i = 0; i < s->n_lines; i++) {
        SketchLine *l = &s->lines[i];
        free(l->section);
        free(l->key);
        free(l->value);
        free(l->comment);
    }
    for (size_t i = 0; i < s->n_bonds; i++) {
        BondTo *b = &s->bonds[i];
        free(b->name);
        free(b->file);
        free(b->key);
        free(b->value);
    }
    free(s->lines);
    free(s->bonds);
    free(s->name);
    free(s->origin);
    free(s);
    return NULL;
}

void notes_done(Notes *n)
{
    for (size_t i = 0; i < n->n; i++) {
        ImportNote *x = &n->items[i];
        free(x->file);
        free(x->key);
        free(x->value);
        free(x->to);
        free(x->why);
    }
    free(n->items);
    *n = (Notes){0};
}

char *import_name(const char *foreign)
{
    StrBuf b = STRBUF_NULL;
    for (const char *p = foreign; *p && b.len < MODULE_NAME_MAX; p++) {
        char c = (char)tolower((unsigned char)*p);
        bool good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c == '_' && b.len > 0);
        if (good)
            strbuf_addc(&b, c);
        else if (b.len > 0 && b.s[b.len - 1] != '-')
            strbuf_addc(&b, '-');
    }
    while (b.len > 0 && b.s[b.len - 1] == '-')
        b.s[--b.len] = '\0';
    return b.len > 0 ? strbuf_take(&b) : xstrdup("x");
}

/* --- words and items ---------------------------------------------------------------------------------------------- */
static void add_quoted(StrBuf *b, const char *text, const char *special)
{
    size_t n = strlen(text);
    bool blank_ends = n > 0 && (text[0] == ' ' || text[n - 1] == ' ');
    if (n > 0 && !blank_ends && text[strcspn(text, special)] == '\0') {
        strbuf_adds(b, text);
    } else if (!strchr(text, '\'')) {
        strbuf_addf(b, "'%s'", text);
    } else {
        strbuf_addc(b, '"');
        for (const char *p = text; *p; p++)
            strbuf_addf(b, "%s%c", *p == '"' || *p == '\\' ? "\\" : "", *p);
        strbuf_addc(b, '"');
    }
}

void import_add_word(StrBuf *b, const char *text)
{
    if (b->len > 0)
        strbuf_addc(b, ' ');
    /* A lone ; parts commands where a key takes several. */
    add_quoted(b, text, strcmp(text, ";") == 0 ? ";" : " \t'\"\\");
}

void import_add_item(StrBuf *b, const char *text)
{
    if (b->len > 0)
        strbuf_adds(b, ", ");
    add_quoted(b, text, ",\t'\"\\");
}

char *import_literal(const char *text, bool dollars)
{
    StrBuf b = STRBUF_NULL;
    for (const char *p = text; *p; p++) {
        if (*p == '%' || (dollars && *p == '$'))
            strbuf_addc(&b, *p);
        strbuf_addc(&b, *p);
    }
    return strbuf_take(&b);
}

/* --- notes and lines ---------------------------------------------------------------------------------------------- */
static char *copy_or_null(const char *s)
{
    return s ? xstrdup(s) : NULL;
}

const ImportNote *notes_add(Notes *notes, const FromLine *from, ImportStatus status, const char *to, const char *why)
{
    ImportNote *n = &ARRAY_PUSH(notes->items, notes->n);
    *n = (ImportNote){.file = xstrdup(from->file),
                      .line = from->line,
                      .key = xstrdup(from->key),
                      .value = copy_or_null(from->value),
                      .status = status,
                      .to = copy_or_null(to),
                      .why = copy_or_null(why)};
    return n;
}

char *note_text(const ImportNote *n)
{
    enum { VALUE_SHOWN = 160 };
    _cleanup_strbuf_ StrBuf b = STRBUF_NULL;
    strbuf_adds(&b, n->file);
    if (n->line)
        strbuf_addf(&b, ":%u", n->line);
    strbuf_addf(&b, ": %s", n->key);
    if (n->value && strlen(n->value) > VALUE_SHOWN)
        strbuf_addf(&b, "=%.*s...", VALUE_SHOWN, n->value);
    else if (n->value)
        strbuf_addf(&b, "=%s", n->value);
    if (n->status == IMPORT_CARRIED)
        strbuf_addf(&b, ": carried over%s%s", n->to ? " to " : "", str_or(n->to, ""));
    else
        strbuf_adds(&b, n->status == IMPORT_CHANGED ? ": changed" : ": not carried over");
    if (n->why)
        strbuf_addf(&b, ": %s", n->why);
    /* A word of the source must not reach the terminal, nor end the comment. Its own backslashes may. */
    StrBuf safe = STRBUF_NULL;
    for (size_t i = 0; i < b.len;) {
        size_t len = b.s[i] == '\\' ? 1 : utf8_length(b.s + i, b.len - i);
        if (len == 0 || (len == 1 && ((unsigned char)b.s[i] < 0x20 || b.s[i] == 0x7f))) {
            strbuf_addf(&safe, "\\x%02x", (unsigned char)b.s[i]);
            len = 1;
        } else {
            strbuf_add(&safe, b.s + i, len);
        }
        i += len;
    }
    return strbuf_take(&safe);
}

static SketchLine *find(const Sketch *s, const char *section, const char *key)
{
    for (size_t i = 0; i < s->n_lines; i++)
        if (s->lines[i].key && str_equal(s->lines[i].section, section) && str_equal(s->lines[i].key, key))
            return &s->lines[i];
    return NULL;
}

const char *sketch_get(const Sketch *s, const char *dotted)
{
    const Key *k = key_find_dotted(dotted);
    const SketchLine *l = k ? find(s, k->section, k->name) : NULL;
    return l ? l->value : NULL;
}

bool sketch_knows(const char *dotted)
{
    return key_find_dotted(dotted) != NULL;
}

/* An account that is not on this host is no mistake of the file: it may be meant for another one. */
static bool account_missing(const Key *k, const char *value, Nss *nss)
{
    uid_t uid;
    gid_t gid;
    return (k->kind == VALUE_USER && nss_user(nss, value, &uid, &gid, NULL) < 0) ||
           (k->kind == VALUE_GROUP && nss_group(nss, value, &gid, NULL) < 0);
}

bool sketch_takes(const Sketch *s, const char *dotted, const char *value, Error *e)
{
    const Key *k = key_find_dotted(dotted);
    if (!k) {
        error_set(e, -ENOENT, "this version has no %s", dotted);
        return false;
    }
    for (const char *p = value; *p;) {
        size_t n = utf8_length(p, strlen(p));
        if (n == 0 || (n == 1 && (((unsigned char)*p < 0x20 && *p != '\t') || *p == 0x7f))) {
            error_set(e, -EINVAL, "a byte in it (0x%02x) cannot stand in a module's file", (unsigned char)*p);
            return false;
        }
        p += n;
    }
    if (!*value)
        return error_set(e, -EINVAL, "there is no value") == 0;
    if (account_missing(k, value, s->nss))
        return true;
    /* Values are judged by the parser that will read them; where they are stored does not matter. */
    _cleanup_(freep) ModulePolicy *scratch = new0(ModulePolicy);
    const ValueContext x = {.nss = s->nss};
    int r = value_parse(k, value, &x, scratch, e);
    value_done(k, scratch);
    return r == 0;
}

static void put(Sketch *s, const Key *k, const char *value, const char *comment)
{
    SketchLine *l = find(s, k->section, k->name);
    if (!l) {
        l = &ARRAY_PUSH(s->lines, s->n_lines);
        *l = (SketchLine){.section = xstrdup(k->section), .key = xstrdup(k->name)};
    }
    free(l->value);
    l->value = xstrdup(value);
    if (comment) {
        char *both = l->comment ? xasprintf("%s\n%s", l->comment, comment) : xstrdup(comment);
        free(l->comment);
        l->comment = both;
    }
}

void sketch_drop(Sketch *s, const char *section, const FromLine *from, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *why = xvasprintf(fmt, ap);
    va_end(ap);
    const ImportNote *n = notes_add(s->notes, from, IMPORT_DROPPED, NULL, why);
    free(why);
    SketchLine *l = &ARRAY_PUSH(s->lines, s->n_lines);
    *l = (SketchLine){.section = xstrdup(section && key_section_exists(section) ? section : "module"),
                      .comment = note_text(n)};
}

void sketch_fits(Sketch *s, const FromLine *from, const char *why)
{
    notes_add(s->notes, from, IMPORT_CARRIED, NULL, why);
}

bool sketch_set(Sketch *s, const char *dotted, const char *value, const FromLine *from, ImportStatus status,
                const char *why)
{
    Error e = {0};
    const Key *k = key_find_dotted(dotted);
    if (!sketch_takes(s, dotted, value, &e)) {
        _cleanup_(freep) char *section = xstrndup(dotted, strcspn(dotted, "."));
        sketch_drop(s, section, from, "%s", error_message(&e));
        return false;
    }
    _cleanup_(freep) char *missing = NULL;
    if (account_missing(k, value, s->nss)) {
        missing = xasprintf("there is no %s %s on this host (it must be made before this is started)",
                            k->kind == VALUE_USER ? "user" : "group", value);
        status = IMPORT_CHANGED;
        why = missing;
    }
    const ImportNote *n = notes_add(s->notes, from, status, dotted, why);
    _cleanup_(freep) char *comment = status == IMPORT_CHANGED ? note_text(n) : NULL;
    put(s, k, value, comment);
    return true;
}

bool sketch_own(Sketch *s, const char *dotted, const char *value, const char *comment)
{
    if (!sketch_takes(s, dotted, value, NULL))
        return false;
    put(s, key_find_dotted(dotted), value, comment);
    return true;
}

/* --- bonds -------------------------------------------------------------------------------------------------------- */
void sketch_bond(Sketch *s, Bond bond, const char *name, bool reverse, const FromLine *from)
{
    BondTo *b = &ARRAY_PUSH(s->bonds, s->n_bonds);
    *b = (BondTo){.bond = bond,
                  .name = xstrdup(name),
                  .reverse = reverse,
                  .file = xstrdup(from->file),
                  .key = xstrdup(from->key),
                  .value = copy_or_null(from->value),
                  .line = from->line};
}

static Sketch *by_name(Sketch *const *sketches, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(sketches[i]->name, name) == 0)
            return sketches[i];
    return NULL;
}

static bool lists(const Sketch *s, Bond bond, const char *name)
{
    const char *value = sketch_get(s, bond_keys[bond]);
    _cleanup_strv_ char **names = NULL;
    return value && words_split(value, WORDS_COMMAS, &names, NULL) == 0 && strv_contains(names, name);
}

static void bind_one(Sketch *s, const BondTo *b, Sketch *const *sketches, size_t n, char *const *known)
{
    const FromLine from = {.file = b->file, .line = b->line, .key = b->key, .value = b->value};
    Sketch *other = by_name(sketches, n, b->name);
    const char *key = bond_keys[b->bond];
    if (other == s) {
        sketch_drop(s, NULL, &from, "%s is this module itself", b->name);
    } else if (b->reverse && !other) {
        sketch_drop(s, NULL, &from,
                    "%s is not imported in the same call, and this can only be said there (%s = %s in its file)",
                    b->name, key + strlen("module."), s->name);
    } else if (!other && !strv_contains(known, b->name)) {
        sketch_drop(s, NULL, &from,
                    "there is no module %s (import both in one call, or give its configuration: --config DIR)",
                    b->name);
    } else {
        Sketch *holder = b->reverse ? other : s;
        const char *name = b->reverse ? s->name : b->name;
        if (lists(holder, b->bond, name)) {
            sketch_fits(s, &from, "said already");
            return;
        }
        const char *before = sketch_get(holder, key);
        _cleanup_(freep) char *value = before ? xasprintf("%s, %s", before, name) : xstrdup(name);
        sketch_set(holder, key, value, &from, IMPORT_CARRIED, NULL);
    }
}

void sketches_bind(Sketch *const *sketches, size_t n, char *const *known)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < sketches[i]->n_bonds; j++)
            bind_one(sketches[i], &sketches[i]->bonds[j], sketches, n, known);
}

/* --- the file ----------------------------------------------------------------------------------------------------- */
static void add_comment(StrBuf *b, const char *comment)
{
    for (const char *p = comment; p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL)
        strbuf_addf(b, "# %.*s\n", (int)strcspn(p, "\n"), p);
}

static void add_section(StrBuf *b, const Sketch *s, const char *section)
{
    bool begun = false;
    for (size_t i = 0; i < s->n_lines; i++) {
        const SketchLine *l = &s->lines[i];
        if (!str_equal(l->section, section))
            continue;
        if (!begun)
            strbuf_addf(b, "\n[%s]\n", section);
        begun = true;
        if (l->comment)
            add_comment(b, l->comment);
        if (l->key)
            strbuf_addf(b, "%s = %s\n", l->key, l->value);
    }
}

char *sketch_text(const Sketch *s)
{
    StrBuf b = STRBUF_NULL;
    size_t dropped = 0;
    for (size_t i = 0; i < s->n_lines; i++)
        dropped += s->lines[i].key == NULL;
    _cleanup_(freep) char *origin = str_escape(s->origin, strlen(s->origin), SIZE_MAX);
    strbuf_addf(&b, "# %s: made from %s by bulkhead import.\n", s->name, origin);
    if (dropped > 0)
        strbuf_addf(&b, "# What could not be carried over is told where it would stand: %zu line%s.\n", dropped,
                    dropped == 1 ? "" : "s");
    for (size_t i = 0; i < keys_n; i++)
        if (i == 0 || !str_equal(keys[i].section, keys[i - 1].section))
            add_section(&b, s, keys[i].section);
    return strbuf_take(&b);
}
