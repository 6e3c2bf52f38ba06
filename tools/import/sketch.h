/* A module file in the making, and the account of what became of each line that it was made from.
 *
 * Whoever imports a foreign format hands over values in our own notation, each with its source. Two things are seen to
 * here for all formats: a key that this version does not have (key_find()) and a value that its parser refuses never
 * reach the file, but are told as not carried over; and each line of the source ends as just one note. Pure, but for
 * the look-up of users and groups. */
#pragma once

#include "base/str.h"
#include "policies/keys.h"
#include "policies/nss.h"

typedef enum ImportStatus { IMPORT_CARRIED, IMPORT_CHANGED, IMPORT_DROPPED, IMPORT_STATUS_N } ImportStatus;
extern const char *const import_status_names[IMPORT_STATUS_N];

/* A line of a foreign file; strings are borrowed. */
typedef struct FromLine {
    const char *file;
    unsigned line;           /* 0: the file as a whole */
    const char *key, *value; /* value NULL: a file that is there, or a line that is no assignment */
} FromLine;

typedef struct ImportNote {
    char *file;
    unsigned line;
    char *key, *value; /* value may be NULL */
    ImportStatus status;
    char *to;  /* "section.key", or NULL */
    char *why; /* NULL only when carried */
} ImportNote;

typedef struct Notes {
    ImportNote *items;
    size_t n;
} Notes;

typedef struct SketchLine {
    char *section, *key; /* key NULL: a comment alone */
    char *value, *comment;
} SketchLine;

/* How this module is bound to others, by their names as modules. */
typedef enum Bond { BOND_REQUIRES, BOND_WANTS, BOND_AFTER, BOND_PART_OF, BOND_N } Bond;

typedef struct BondTo {
    Bond bond;
    char *name;   /* of the other module */
    bool reverse; /* the other one is bound to this one: Before=, RequiredBy= */
    char *file, *key, *value;
    unsigned line;
} BondTo;

typedef struct Sketch {
    char *name, *origin; /* origin: the files it was made from */
    SketchLine *lines;
    size_t n_lines;
    BondTo *bonds;
    size_t n_bonds;
    Notes *notes; /* borrowed: all modules of a call share them */
    Nss *nss;     /* borrowed */
} Sketch;

Sketch *sketch_new(const char *name, const char *origin, Notes *notes, Nss *nss);
Sketch *sketch_free(Sketch *s);
void notes_done(Notes *n);
/* Of a line that is of no module; the result lives until the next one is added. */
const ImportNote *notes_add(Notes *notes, const FromLine *from, ImportStatus status, const char *to, const char *why);

/* A foreign name as a module's: small letters, what is no part of a name as '-'; owned by the caller. "x" when nothing
 * is left. */
char *import_name(const char *foreign);

/* The value of "section.key", or NULL. */
const char *sketch_get(const Sketch *s, const char *dotted);
/* Does this version know the key? */
bool sketch_knows(const char *dotted);
/* Would this version take the value? */
bool sketch_takes(const Sketch *s, const char *dotted, const char *value, Error *e);

/* Sets a key (replacing what it had) because of a source; `why` says what differs, with IMPORT_CHANGED, or is NULL with
 * IMPORT_CARRIED. False: it was dropped instead, and told. */
bool sketch_set(Sketch *s, const char *dotted, const char *value, const FromLine *from, ImportStatus status,
                const char *why);
/* Sets a key that no line gave: `comment` tells why it is there. False: this version does not take it. */
bool sketch_own(Sketch *s, const char *dotted, const char *value, const char *comment);
/* The source needs no key: it is as it says without one. */
void sketch_fits(Sketch *s, const FromLine *from, const char *why);
/* Not carried over; the comment goes to `section` of the file ("module" for NULL). */
void sketch_drop(Sketch *s, const char *section, const FromLine *from, const char *fmt, ...) _printf_(4, 5);
/* A bond that is kept if the other module is there in the end: see sketches_bind(). */
void sketch_bond(Sketch *s, Bond bond, const char *name, bool reverse, const FromLine *from);

/* Resolves the bonds among the sketches, and to the modules `known` (names, may be NULL) that exist already. */
void sketches_bind(Sketch *const *sketches, size_t n, char *const *known);

/* The file; owned by the caller. */
char *sketch_text(const Sketch *s);
/* `file:line: Key=value: not carried over: why`, owned by the caller; escaped. */
char *note_text(const ImportNote *n);

/* A word of a command line as our files have it: quoted where it must be. `text` is taken as written: % and $ mean what
 * they mean to us. Appends it, parted from what is there. */
void import_add_word(StrBuf *b, const char *text);
/* The same for an item of a list that commas part. */
void import_add_item(StrBuf *b, const char *text);
/* A copy in which % and (with `dollars`) $ stand for themselves. */
char *import_literal(const char *text, bool dollars);
