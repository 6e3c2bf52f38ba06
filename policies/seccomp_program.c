/* The code generator.
 *
 * Why not libseccomp's: it has no comparison of the syscall number itself ("newer than we know: ENOSYS") and cannot say
 * "this but not that" of one argument. And 2.5.4, Debian 12's, is wrong where several rules of a syscall compare
 * ranges: of random rule sets with <= and >=, 130 of 779 programs decided some call differently from their rules, and
 * the next set kept seccomp_rule_add() in an endless loop (equal and masked comparisons alone: 0 of 6000). What is
 * needed is small: a tree over the numbers whose leaves end the program.
 *
 *     arch is not ours        -> KILL_PROCESS
 *     number has the x32 bit  -> KILL_PROCESS (-1, which a tracer writes to skip a call, is ENOSYS as without a filter)
 *     binary search           -> ALLOW | violation | ENOSYS | the clauses of one syscall
 *
 * Up to a leaf only number and architecture are loaded, so that the kernel's cache of always-allowed syscalls works.
 * Every piece of code is position-independent: its jumps stay within it, go forward, and every path ends in a RET. Two
 * pieces are joined by laying them end to end. */
#include "policies/seccomp_program.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>

#define X32_BIT  0x40000000u
#define JUMP_MAX 255

/* Where a failed comparison goes until its target is known; no real jump is this long, see rule_end(). */
#define PENDING JUMP_MAX

typedef struct Code {
    struct sock_filter *v;
    size_t n;
    bool too_long; /* set once, and then nothing is added: callers need not check each step */
} Code;

void seccomp_clauses_done(SeccompClauses *c)
{
    for (size_t i = 0; i < c->n; i++)
        free(c->items[i].guards);
    free(c->items);
    *c = (SeccompClauses){0};
}

static void emit(Code *c, uint16_t code, uint32_t k, uint8_t jt, uint8_t jf)
{
    if (c->n >= BPF_MAXINSNS)
        c->too_long = true;
    if (c->too_long)
        return;
    ARRAY_PUSH(c->v, c->n) = (struct sock_filter){.code = code, .jt = jt, .jf = jf, .k = k};
}

static void emit_load(Code *c, size_t offset)
{
    emit(c, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void emit_return(Code *c, uint32_t what)
{
    emit(c, BPF_RET | BPF_K, what, 0, 0);
}

static uint32_t low(uint64_t v)
{
    return (uint32_t)v;
}

static uint32_t high(uint64_t v)
{
    return (uint32_t)(v >> 32);
}

/* Both ends of the kernel's struct are the machine's: the low half of an argument comes first on little endian. */
static size_t low_half(unsigned arg)
{
    return offsetof(struct seccomp_data, args) + arg * sizeof(uint64_t) +
           (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4 : 0);
}

static size_t high_half(unsigned arg)
{
    return low_half(arg) + (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? -4 : 4);
}

/* --- one condition: falls through when it holds, jumps PENDING when not
 * ----------------------------------------------*/

/* All values have the same high half, or only the low one counts: it is compared once. */
static void emit_values_alike(Code *c, const SeccompCond *cond, SeccompWidth width)
{
    if (width == WIDTH_FULL) {
        emit_load(c, high_half(cond->arg));
        emit(c, BPF_JMP | BPF_JEQ | BPF_K, high(cond->values[0]), 0, PENDING);
    }
    emit_load(c, low_half(cond->arg));
    for (size_t left = cond->n_values; left-- > 0;) /* equal: over what is left of them */
        emit(c, BPF_JMP | BPF_JEQ | BPF_K, low(cond->values[cond->n_values - 1 - left]), (uint8_t)left,
             left > 0 ? 0 : PENDING);
}

static void emit_values(Code *c, const SeccompCond *cond, bool denies)
{
    SeccompWidth width = seccomp_cond_width(cond, cond->values[0], denies);
    bool alike = true;
    for (size_t i = 1; i < cond->n_values; i++)
        alike &= high(cond->values[i]) == high(cond->values[0]);
    if (alike) {
        emit_values_alike(c, cond, width);
        return;
    }
    size_t after[SECCOMP_VALUES_MAX];
    for (size_t i = 0; i < cond->n_values; i++) {
        uint64_t v = cond->values[i];
        bool last = i + 1 == cond->n_values;
        if (seccomp_cond_width(cond, v, denies) == WIDTH_FULL) {
            /* Not this value: on to the next, over the load, the comparison of the low half and its JA. */
            emit_load(c, high_half(cond->arg));
            emit(c, BPF_JMP | BPF_JEQ | BPF_K, high(v), 0, last ? PENDING : 3);
        }
        emit_load(c, low_half(cond->arg));
        emit(c, BPF_JMP | BPF_JEQ | BPF_K, low(v), 0, last ? PENDING : 1);
        after[i] = c->n;
        if (!last)
            emit(c, BPF_JMP | BPF_JA, 0, 0, 0);
    }
    for (size_t i = 0; i + 1 < cond->n_values && !c->too_long; i++)
        c->v[after[i]].k = (uint32_t)(c->n - after[i] - 1);
}

static void emit_masked(Code *c, const SeccompCond *cond)
{
    uint64_t mask = cond->mask, v = cond->values[0];
    if (high(mask) != 0) {
        emit_load(c, high_half(cond->arg));
        emit(c, BPF_ALU | BPF_AND | BPF_K, high(mask), 0, 0);
        emit(c, BPF_JMP | BPF_JEQ | BPF_K, high(v), 0, PENDING);
    }
    if (low(mask) != 0) {
        emit_load(c, low_half(cond->arg));
        emit(c, BPF_ALU | BPF_AND | BPF_K, low(mask), 0, 0);
        emit(c, BPF_JMP | BPF_JEQ | BPF_K, low(v), 0, PENDING);
    }
}

static void emit_range(Code *c, const SeccompCond *cond, bool denies)
{
    uint64_t v = cond->values[0];
    bool at_most = cond->kind == COND_AT_MOST;
    if (seccomp_cond_width(cond, v, denies) == WIDTH_FULL) {
        /* The high half decides, unless it is equal; decided means over the three instructions that follow. */
        emit_load(c, high_half(cond->arg));
        if (at_most)
            emit(c, BPF_JMP | BPF_JGE | BPF_K, high(v), 0, 3);
        else
            emit(c, BPF_JMP | BPF_JGT | BPF_K, high(v), 3, 0);
        emit(c, BPF_JMP | BPF_JEQ | BPF_K, high(v), 0, PENDING);
    }
    emit_load(c, low_half(cond->arg));
    if (at_most)
        emit(c, BPF_JMP | BPF_JGT | BPF_K, low(v), PENDING, 0);
    else
        emit(c, BPF_JMP | BPF_JGE | BPF_K, low(v), 0, PENDING);
}

static void emit_conditions(Code *c, const SeccompRule *rule, bool denies)
{
    for (size_t i = 0; i < rule->n_conds; i++) {
        const SeccompCond *cond = &rule->conds[i];
        switch (cond->kind) {
        case COND_VALUES:
            emit_values(c, cond, denies);
            break;
        case COND_MASKED:
            emit_masked(c, cond);
            break;
        case COND_AT_MOST:
        case COND_AT_LEAST:
            emit_range(c, cond, denies);
            break;
        }
    }
}

/* Points every PENDING jump since `from` at the end of the code. */
static void resolve(Code *c, size_t from)
{
    for (size_t i = from; i < c->n; i++) {
        struct sock_filter *insn = &c->v[i];
        if (BPF_CLASS(insn->code) != BPF_JMP || BPF_OP(insn->code) == BPF_JA)
            continue;
        size_t distance = c->n - i - 1;
        if ((insn->jt == PENDING || insn->jf == PENDING) && distance >= PENDING)
            c->too_long = true;
        if (insn->jt == PENDING)
            insn->jt = (uint8_t)distance;
        if (insn->jf == PENDING)
            insn->jf = (uint8_t)distance;
    }
}

/* --- one syscall
 * ------------------------------------------------------------------------------------------------------
 */

/* Allowed: RET. Not matched, or a guard matched: past the end of it. */
static void emit_clause(Code *c, const SeccompClause *clause)
{
    size_t to_end[64], n_to_end = 0, start = c->n;
    emit_conditions(c, clause->rule, false);
    /* The rule's own failures go past the guards too, which may be farther than a conditional jump reaches: over a
     * long jump, that is. */
    size_t rule_end = c->n;
    if (clause->n_guards > 0 && rule_end > start) {
        emit(c, BPF_JMP | BPF_JA, 1, 0, 0);
        resolve(c, start);
        to_end[n_to_end++] = c->n;
        emit(c, BPF_JMP | BPF_JA, 0, 0, 0);
    }
    for (size_t i = 0; i < clause->n_guards; i++) {
        if (n_to_end == ELEMENTS(to_end)) {
            c->too_long = true;
            return;
        }
        size_t guard = c->n;
        emit_conditions(c, clause->guards[i], true);
        to_end[n_to_end++] = c->n;
        emit(c, BPF_JMP | BPF_JA, 0, 0, 0);
        resolve(c, guard);
    }
    emit_return(c, SECCOMP_RET_ALLOW);
    if (clause->n_guards == 0)
        resolve(c, start);
    if (c->too_long)
        return;
    for (size_t i = 0; i < n_to_end; i++)
        c->v[to_end[i]].k = (uint32_t)(c->n - to_end[i] - 1);
}

typedef struct Segment {
    uint32_t start;      /* first number of it; it ends where the next one starts */
    uint32_t otherwise;  /* what is returned when no clause allows */
    size_t first, count; /* clauses; count 0 = none */
} Segment;

static void emit_leaf(Code *c, const Segment *s, const SeccompClauses *clauses)
{
    for (size_t i = 0; i < s->count; i++)
        emit_clause(c, &clauses->items[s->first + i]);
    emit_return(c, s->otherwise);
}

/* segments[from..to), at least one. Depth is log2 of their count. */
static void emit_tree(Code *c, const Segment *segments, size_t from, size_t to, const SeccompClauses *clauses)
{
    if (to - from == 1) {
        emit_leaf(c, &segments[from], clauses);
        return;
    }
    size_t middle = from + (to - from) / 2, at = c->n;
    /* Below the middle: the very next instruction. The jump to the upper half may be long, so a JA stands in first. */
    emit(c, BPF_JMP | BPF_JGE | BPF_K, segments[middle].start, 0, 1);
    emit(c, BPF_JMP | BPF_JA, 0, 0, 0);
    emit_tree(c, segments, from, middle, clauses);
    if (c->too_long)
        return;
    size_t length = c->n - at - 2;
    if (length <= JUMP_MAX) { /* short: the JA is not needed */
        c->v[at].jt = (uint8_t)length;
        c->v[at].jf = 0;
        /* One less is no trouble for ARRAY_PUSH, which takes the capacity from the count: it asks for the same again.
         */
        memmove(&c->v[at + 1], &c->v[at + 2], length * sizeof *c->v);
        c->n--;
    } else {
        c->v[at + 1].k = (uint32_t)length;
    }
    emit_tree(c, segments, middle, to, clauses);
}

/* --- the whole -------------------------------------------------------------------------------------------------------
 */

static uint32_t violation_return(SeccompViolation action)
{
    switch (action) {
    case VIOLATION_ERRNO:
        return SECCOMP_RET_ERRNO | EPERM;
    case VIOLATION_LOG:
        return SECCOMP_RET_LOG;
    case VIOLATION_KILL:
    case SECCOMP_VIOLATION_N:
        break;
    }
    return SECCOMP_RET_KILL_PROCESS;
}

static int compare_clauses(const void *a, const void *b)
{
    int left = ((const SeccompClause *)a)->rule->nr, right = ((const SeccompClause *)b)->rule->nr;
    return (left > right) - (left < right);
}

static void segment_add(Segment **segments, size_t *n, Segment s)
{
    if (*n > 0 && s.count == 0) {
        const Segment *before = &(*segments)[*n - 1];
        if (before->count == 0 && before->otherwise == s.otherwise)
            return;
    }
    ARRAY_PUSH(*segments, *n) = s;
}

/* Every number falls into one segment. `clauses` are sorted. */
static void segments_build(const SeccompClauses *clauses, uint32_t violation, Segment **ret, size_t *ret_n)
{
    const uint32_t no_such = SECCOMP_RET_ERRNO | ENOSYS;
    uint32_t last = (uint32_t)seccomp_nr_last();
    /* Asked for at the start by programs that do without as soon as it is not there: clone3 by the C library, io_uring
     * by libuv from 1.50 on (Node and uvicorn of Debian 13), which no environment variable can turn off. */
    int clone3 = seccomp_nr("clone3"), io_uring_setup = seccomp_nr("io_uring_setup");
    Segment *segments = NULL;
    size_t n = 0, i = 0;
    for (uint32_t nr = 0; nr <= SECCOMP_NR_MAX + 1; nr++) {
        Segment s = {.start = nr, .first = i};
        bool always = false;
        for (; i < clauses->n && clauses->items[i].rule->nr == (int)nr; i++)
            always |= clauses->items[i].rule->n_conds == 0 && clauses->items[i].n_guards == 0;
        s.count = always ? 0 : i - s.first;
        bool elsewise = nr > last || (int)nr == clone3 || (int)nr == io_uring_setup;
        s.otherwise = always ? SECCOMP_RET_ALLOW : elsewise ? no_such : violation;
        segment_add(&segments, &n, s);
    }
    *ret = segments;
    *ret_n = n;
}

int seccomp_program_build(SeccompClauses *clauses, SeccompViolation action, struct sock_filter **ret, unsigned *ret_n,
                          Error *e)
{
    if (clauses->n > 0)
        qsort(clauses->items, clauses->n, sizeof *clauses->items, compare_clauses);
    _cleanup_(freep) Segment *segments = NULL;
    size_t n_segments;
    segments_build(clauses, violation_return(action), &segments, &n_segments);

    Code c = {0};
    emit_load(&c, offsetof(struct seccomp_data, arch));
    emit(&c, BPF_JMP | BPF_JEQ | BPF_K, seccomp_arch_native(), 1, 0);
    emit_return(&c, SECCOMP_RET_KILL_PROCESS);
    emit_load(&c, offsetof(struct seccomp_data, nr));
#ifdef __x86_64__
    emit(&c, BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 3);
    emit(&c, BPF_JMP | BPF_JEQ | BPF_K, UINT32_MAX, 1, 0);
    emit_return(&c, SECCOMP_RET_KILL_PROCESS);
    emit_return(&c, SECCOMP_RET_ERRNO | ENOSYS);
#endif
    emit_tree(&c, segments, 0, n_segments, clauses);
    if (c.too_long) {
        free(c.v);
        return error_set(e, -E2BIG,
                         "the rules need more than the %d instructions a filter may have, or one rule more "
                         "than %d (fewer argument values)",
                         BPF_MAXINSNS, JUMP_MAX);
    }
    *ret = xrealloc(c.v, c.n, sizeof *c.v);
    *ret_n = (unsigned)c.n;
    return 0;
}
