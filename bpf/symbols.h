/* Where a probe goes in a program file: the file offset of a function's first instruction, or those of a pair of static
 * probes (USDT). Reads the file alone; neither the kernel nor a process is asked.
 *
 * A function is looked for in both symbol tables. A static probe is a note in .note.stapsdt, as sys/sdt.h writes it;
 * the rule by which two of them make a pair is in usdt_endings[]. */
#pragma once

#include "base/error.h"
#include "base/util.h"

/* What reaching a probe means. */
typedef enum ProbeRole { PROBE_BEGIN, PROBE_END, PROBE_FAIL } ProbeRole;

typedef struct ProbePoint {
    ProbeRole role;
    uint64_t offset;    /* in the file, of the instruction */
    uint64_t semaphore; /* in the file, of the counter that must not be 0 for the probe to be reached; 0 = none */
} ProbePoint;

typedef struct UsdtEnding {
    const char *word; /* what stands behind NAME__ */
    ProbeRole role;
} UsdtEnding;

#define USDT_ENDINGS_N 10
extern const UsdtEnding usdt_endings[USDT_ENDINGS_N];

/* Where the function begins; `symbol` may end in @VERSION. `path` is for words. -ENOENT: there is no such function, *e
 * names near ones; -ENOTUNIQ: several, of different places; -ENOEXEC: no program file of 64 bits. */
int symbol_resolve(int fd, const char *path, const char *symbol, uint64_t *ret_offset, Error *e);

/* All places of the pair `name` of `provider`; '-' in `name` is two underscores. *ret is freed by free(). -ENOENT: no
 * such pair, *e names what is there. */
int usdt_resolve(int fd, const char *path, const char *provider, const char *name, ProbePoint **ret, size_t *ret_n,
                 Error *e);
