/* See symbols.h. The file may be anybody's: every offset that comes out of it is bounded before it is followed, and
 * libelf bounds what it hands out itself. */
#include "bpf/symbols.h"

#include <errno.h>
#include <gelf.h>
#include <stdio.h>

#include "base/str.h"

#define NOTE_STAPSDT 3
#define NEAR_MAX     3

const UsdtEnding usdt_endings[USDT_ENDINGS_N] = {
    {"start", PROBE_BEGIN},  {"entry", PROBE_BEGIN}, {"begin", PROBE_BEGIN}, {"startup", PROBE_BEGIN},
    {"done", PROBE_END},     {"return", PROBE_END},  {"end", PROBE_END},     {"commit", PROBE_END},
    {"shutdown", PROBE_END}, {"abort", PROBE_FAIL},
};

static void elf_endp(Elf **elf)
{
    elf_end(*elf);
}

static int open_elf(int fd, const char *path, Elf **ret, Error *e)
{
    elf_version(EV_CURRENT);
    _cleanup_(elf_endp) Elf *elf = elf_begin(fd, ELF_C_READ, NULL);
    GElf_Ehdr header;
    if (!elf || elf_kind(elf) != ELF_K_ELF || !gelf_getehdr(elf, &header) ||
        (header.e_type != ET_EXEC && header.e_type != ET_DYN))
        return error_set(e, -ENOEXEC, "%s is neither a program nor a shared library (a script? name its interpreter)",
                         path);
    if (header.e_ident[EI_CLASS] != ELFCLASS64)
        return error_set(e, -ENOEXEC, "%s is a program of 32 bits, which is not supported", path);
    *ret = TAKE_PTR(elf);
    return 0;
}

/* The place in the file of a virtual address, by the segment that is loaded there; 0 = none. */
static uint64_t file_offset(Elf *elf, uint64_t address, bool executable)
{
    size_t n = 0;
    if (elf_getphdrnum(elf, &n) < 0)
        return 0;
    for (size_t i = 0; i < n; i++) {
        GElf_Phdr p;
        if (!gelf_getphdr(elf, (int)i, &p) || p.p_type != PT_LOAD || (executable && !(p.p_flags & PF_X)))
            continue;
        if (address >= p.p_vaddr && address - p.p_vaddr < p.p_filesz)
            return address - p.p_vaddr + p.p_offset;
    }
    return 0;
}

static Elf_Scn *section_of_type(Elf *elf, uint32_t type, GElf_Shdr *ret)
{
    for (Elf_Scn *s = NULL; (s = elf_nextscn(elf, s));)
        if (gelf_getshdr(s, ret) && ret->sh_type == type)
            return s;
    return NULL;
}

static Elf_Scn *section_named(Elf *elf, const char *name, GElf_Shdr *ret)
{
    size_t names = 0;
    if (elf_getshdrstrndx(elf, &names) < 0)
        return NULL;
    for (Elf_Scn *s = NULL; (s = elf_nextscn(elf, s));)
        if (gelf_getshdr(s, ret) && str_equal(elf_strptr(elf, names, ret->sh_name), name))
            return s;
    return NULL;
}

/* --- functions -------------------------------------------------------------------------------------------------------
 */

typedef struct Wanted {
    const char *name;
    size_t n;            /* of name without a version */
    const char *version; /* NULL = any, the default one first */
} Wanted;

typedef struct Found {
    uint64_t address;
    unsigned places; /* that differ */
    bool is_default; /* its version is the one that a linker takes */
    bool indirect;   /* the function is chosen at run time (IFUNC) */
} Found;

/* The version of the i-th dynamic symbol, NULL when it has none; *ret_hidden: an old one, kept for old programs. */
static const char *version_of(Elf *elf, size_t i, bool *ret_hidden)
{
    GElf_Shdr versions, defined;
    Elf_Scn *s = section_of_type(elf, SHT_GNU_versym, &versions), *d = section_of_type(elf, SHT_GNU_verdef, &defined);
    GElf_Versym version;
    Elf_Data *data = s ? elf_getdata(s, NULL) : NULL;
    *ret_hidden = false;
    if (!data || !d || !gelf_getversym(data, (int)i, &version))
        return NULL;
    *ret_hidden = version & 0x8000;
    data = elf_getdata(d, NULL);
    GElf_Verdef def;
    for (int at = 0; data && gelf_getverdef(data, at, &def); at += (int)def.vd_next) {
        GElf_Verdaux aux;
        if (def.vd_ndx == (version & 0x7fff))
            return gelf_getverdaux(data, at + (int)def.vd_aux, &aux) ? elf_strptr(elf, defined.sh_link, aux.vda_name)
                                                                     : NULL;
        if (def.vd_next == 0 || def.vd_next > data->d_size)
            break;
    }
    return NULL;
}

/* Whether the symbol is what is wanted; .symtab writes versions into names, .dynsym has a table of them. */
static bool matches(Elf *elf, const Wanted *w, const char *name, bool dynamic, size_t i, bool *ret_default)
{
    if (strncmp(name, w->name, w->n) != 0 || (name[w->n] != '\0' && name[w->n] != '@'))
        return false;
    bool hidden = name[w->n] == '@' && name[w->n + 1] != '@';
    const char *version = name[w->n] ? name + w->n + strspn(name + w->n, "@") : NULL;
    if (dynamic)
        version = version_of(elf, i, &hidden);
    *ret_default = !hidden;
    return !w->version || str_equal(version, w->version);
}

static void found_add(Found *f, uint64_t address, bool is_default, bool indirect)
{
    if (f->places && f->address == address)
        return;
    if (f->places && f->is_default != is_default) { /* of two versions the one that is linked to today */
        if (is_default)
            *f = (Found){.address = address, .places = 1, .is_default = true, .indirect = indirect};
        return;
    }
    *f = (Found){.address = address, .places = f->places + 1, .is_default = is_default, .indirect = indirect};
}

typedef void (*SymbolFn)(Elf *elf, const GElf_Sym *symbol, const char *name, bool dynamic, size_t i, void *userdata);

/* Every function that is defined in the file; one that is in both tables comes twice. */
static void each_function(Elf *elf, SymbolFn fn, void *userdata)
{
    for (Elf_Scn *s = NULL; (s = elf_nextscn(elf, s));) {
        GElf_Shdr header;
        if (!gelf_getshdr(s, &header) || (header.sh_type != SHT_SYMTAB && header.sh_type != SHT_DYNSYM) ||
            header.sh_entsize == 0)
            continue;
        Elf_Data *data = elf_getdata(s, NULL);
        for (size_t i = 0; data && i < header.sh_size / header.sh_entsize; i++) {
            GElf_Sym symbol;
            const char *name = NULL;
            if (gelf_getsym(data, (int)i, &symbol) && symbol.st_shndx != SHN_UNDEF && symbol.st_value &&
                (GELF_ST_TYPE(symbol.st_info) == STT_FUNC || GELF_ST_TYPE(symbol.st_info) == STT_GNU_IFUNC))
                name = elf_strptr(elf, header.sh_link, symbol.st_name);
            if (name && *name)
                fn(elf, &symbol, name, header.sh_type == SHT_DYNSYM, i, userdata);
        }
    }
}

typedef struct Search {
    Wanted wanted;
    Found found;
} Search;

static void look(Elf *elf, const GElf_Sym *symbol, const char *name, bool dynamic, size_t i, void *userdata)
{
    Search *s = userdata;
    bool is_default;
    if (matches(elf, &s->wanted, name, dynamic, i, &is_default))
        found_add(&s->found, symbol->st_value, is_default, GELF_ST_TYPE(symbol->st_info) == STT_GNU_IFUNC);
}

/* The nearest names, best first. */
typedef struct Near {
    const char *word;
    size_t n_functions;
    struct {
        char *name;
        size_t distance;
    } best[NEAR_MAX];
} Near;

static void near_add(Near *near, const char *name, size_t n)
{
    size_t length = strlen(near->word);
    if (n + length / 3 < length || n > length + length / 3)
        return;
    _cleanup_(freep) char *copy = xstrndup(name, n);
    size_t distance = str_distance(near->word, copy), at = NEAR_MAX;
    if (distance > length / 3)
        return;
    for (size_t i = NEAR_MAX; i-- > 0;) {
        if (str_equal(near->best[i].name, copy))
            return;
        if (!near->best[i].name || near->best[i].distance > distance)
            at = i;
    }
    if (at == NEAR_MAX)
        return;
    free(near->best[NEAR_MAX - 1].name);
    for (size_t i = NEAR_MAX - 1; i > at; i--)
        near->best[i] = near->best[i - 1];
    near->best[at].name = TAKE_PTR(copy);
    near->best[at].distance = distance;
}

static void near_look(Elf *elf, const GElf_Sym *symbol, const char *name, bool dynamic, size_t i, void *userdata)
{
    (void)elf, (void)symbol, (void)dynamic, (void)i;
    Near *near = userdata;
    near->n_functions++;
    near_add(near, name, strcspn(name, "@"));
}

/* "did you mean a, b?", or NULL; frees what is kept. */
static char *near_words(Near *near)
{
    StrBuf b = STRBUF_NULL;
    for (size_t i = 0; i < NEAR_MAX && near->best[i].name; i++) {
        _cleanup_(freep) char *shown = str_escape(near->best[i].name, strlen(near->best[i].name), 64);
        strbuf_addf(&b, "%s%s", i ? ", " : "did you mean ", shown);
        free(near->best[i].name);
    }
    if (!b.len)
        return NULL;
    strbuf_addc(&b, '?');
    return strbuf_take(&b);
}

static int no_function(Elf *elf, const char *path, const char *symbol, const Wanted *w, Error *e)
{
    _cleanup_(freep) char *word = xstrndup(w->name, w->n);
    Near near = {.word = word};
    each_function(elf, near_look, &near);
    _cleanup_(freep) char *words = near_words(&near);
    if (near.n_functions == 0)
        return error_set(e, -ENOENT, "%s names no functions at all: it is stripped", path);
    return error_set(e, -ENOENT, "%s has no function '%s' (%s)", path, symbol,
                     words ? words : "nm, and nm -D, list those it has");
}

int symbol_resolve(int fd, const char *path, const char *symbol, uint64_t *ret_offset, Error *e)
{
    _cleanup_(elf_endp) Elf *elf = NULL;
    int r = open_elf(fd, path, &elf, e);
    if (r < 0)
        return r;
    const char *at = strchr(symbol, '@');
    Search s = {.wanted = {.name = symbol, .n = at ? (size_t)(at - symbol) : strlen(symbol)}};
    if (at)
        s.wanted.version = at + strspn(at, "@");
    each_function(elf, look, &s);
    if (s.found.places == 0)
        return no_function(elf, path, symbol, &s.wanted, e);
    if (s.found.places > 1)
        return error_set(e, -ENOTUNIQ, "%s has %u functions '%s' (one that is there once is needed)", path,
                         s.found.places, symbol);
    if (s.found.indirect)
        return error_set(e, -ENOTSUP, "%s chooses its '%s' when it is started (name the function that it chooses)",
                         path, symbol);
    *ret_offset = file_offset(elf, s.found.address, true);
    return *ret_offset ? 0 : error_set(e, -ENOENT, "%s: '%s' lies in no segment that is run", path, symbol);
}

/* --- static probes ---------------------------------------------------------------------------------------------------
 */

typedef struct Note {
    uint64_t pc, base, semaphore;
    const char *provider, *name;
} Note;

/* Three addresses, then provider, name and arguments, each ended by a NUL. */
static bool read_note(const char *desc, size_t size, Note *ret)
{
    uint64_t words[3];
    if (size < sizeof words)
        return false;
    memcpy(words, desc, sizeof words);
    const char *provider = desc + sizeof words, *end = desc + size;
    const char *name = memchr(provider, '\0', (size_t)(end - provider));
    if (!name || ++name == end || !memchr(name, '\0', (size_t)(end - name)))
        return false;
    *ret = (Note){.pc = words[0], .base = words[1], .semaphore = words[2], .provider = provider, .name = name};
    return true;
}

typedef struct Pairing {
    Elf *elf;
    const char *provider;
    char *stem; /* NAME__ */
    uint64_t base;
    ProbePoint *points;
    size_t n;
    bool has[PROBE_FAIL + 1];
    char **others; /* of this provider, or all providers */
    char **providers;
} Pairing;

static const UsdtEnding *ending_of(const char *name, const char *stem)
{
    if (!str_starts(name, stem))
        return NULL;
    for (size_t i = 0; i < USDT_ENDINGS_N; i++)
        if (strcmp(name + strlen(stem), usdt_endings[i].word) == 0)
            return &usdt_endings[i];
    return NULL;
}

/* Notes the name without its ending, of what begins something. */
static void note_other(Pairing *p, const char *name)
{
    for (size_t i = 0; i < USDT_ENDINGS_N; i++) {
        size_t n = strlen(name), ending = strlen(usdt_endings[i].word) + 2;
        if (usdt_endings[i].role != PROBE_BEGIN || n <= ending || strncmp(name + n - ending, "__", 2) != 0 ||
            strcmp(name + n - ending + 2, usdt_endings[i].word) != 0)
            continue;
        _cleanup_(freep) char *stem = xstrndup(name, n - ending);
        if (!strv_contains(p->others, stem))
            strv_push(&p->others, TAKE_PTR(stem));
        return;
    }
}

static int take_note(Pairing *p, const Note *note, const char *path, Error *e)
{
    if (!strv_contains(p->providers, note->provider))
        strv_add(&p->providers, note->provider);
    if (strcmp(note->provider, p->provider) != 0)
        return 0;
    note_other(p, note->name);
    const UsdtEnding *ending = ending_of(note->name, p->stem);
    if (!ending)
        return 0;
    /* The notes' addresses are of the time before the file was prelinked; .stapsdt.base tells by how much. */
    uint64_t moved = p->base && note->base ? p->base - note->base : 0;
    ProbePoint point = {.role = ending->role, .offset = file_offset(p->elf, note->pc + moved, true)};
    if (note->semaphore)
        point.semaphore = file_offset(p->elf, note->semaphore + moved, false);
    if (!point.offset || (note->semaphore && !point.semaphore))
        return error_set(e, -ENOEXEC, "%s: the probe %s:%s lies in no segment", path, note->provider, note->name);
    for (size_t i = 0; i < p->n; i++)
        if (p->points[i].offset == point.offset)
            return 0;
    p->has[point.role] = true;
    ARRAY_PUSH(p->points, p->n) = point;
    return 0;
}

static int read_notes(Pairing *p, const char *path, Error *e)
{
    GElf_Shdr header;
    Elf_Scn *notes = section_named(p->elf, ".stapsdt.base", &header);
    p->base = notes ? header.sh_addr : 0;
    notes = section_named(p->elf, ".note.stapsdt", &header);
    Elf_Data *data = notes ? elf_getdata(notes, NULL) : NULL;
    int r = 0;
    GElf_Nhdr nhdr;
    size_t name, desc;
    for (size_t at = 0; r == 0 && data && (at = gelf_getnote(data, at, &nhdr, &name, &desc)) > 0;) {
        const char *bytes = data->d_buf;
        Note note;
        if (nhdr.n_type == NOTE_STAPSDT && nhdr.n_namesz == sizeof "stapsdt" &&
            memcmp(bytes + name, "stapsdt", sizeof "stapsdt") == 0 && read_note(bytes + desc, nhdr.n_descsz, &note))
            r = take_note(p, &note, path, e);
    }
    return r;
}

static int no_pair(const Pairing *p, const char *path, const char *name, Error *e)
{
    if (!p->providers)
        return error_set(e, -ENOENT, "%s has no static probes (readelf -n lists them)", path);
    if (p->has[PROBE_BEGIN] || p->has[PROBE_END] || p->has[PROBE_FAIL])
        return error_set(e, -ENOENT, "%s has only %s of the pair %s:%s (both are needed)", path,
                         p->has[PROBE_BEGIN] ? "the begin" : "the end", p->provider, name);
    bool known = strv_contains(p->providers, p->provider);
    _cleanup_(freep) char *list = strv_join(known ? p->others : p->providers, ", ");
    _cleanup_(freep) char *shown = str_escape(list, strlen(list), 160);
    return error_set(e, -ENOENT, "%s has no %s %s%s%s (%s)", path, known ? "pair of probes" : "provider", p->provider,
                     known ? ":" : "", known ? name : "", shown);
}

int usdt_resolve(int fd, const char *path, const char *provider, const char *name, ProbePoint **ret, size_t *ret_n,
                 Error *e)
{
    _cleanup_(elf_endp) Elf *elf = NULL;
    int r = open_elf(fd, path, &elf, e);
    if (r < 0)
        return r;
    StrBuf stem = STRBUF_NULL;
    for (const char *c = name; *c; c++)
        strbuf_adds(&stem, *c == '-' ? "__" : (char[]){*c, '\0'});
    strbuf_adds(&stem, "__");
    Pairing p = {.elf = elf, .provider = provider, .stem = stem.s};
    r = read_notes(&p, path, e);
    if (r == 0 && (!p.has[PROBE_BEGIN] || !(p.has[PROBE_END] || p.has[PROBE_FAIL])))
        r = no_pair(&p, path, name, e);
    if (r == 0) {
        *ret_n = p.n;
        *ret = TAKE_PTR(p.points);
    }
    free(p.points);
    strv_free(p.others);
    strv_free(p.providers);
    strbuf_done(&stem);
    return r;
}
