/* The seccomp compiler against a simulated machine: what profiles mean, what is always so, and random rules. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/str.h"
#include "policies/seccomp.h"
#include "tests/unit/bpf_sim.h"
#include "tests/unit/seccomp_reference.h"

#define ALLOW            SECCOMP_RET_ALLOW
#define KILL             SECCOMP_RET_KILL_PROCESS
#define ENOSYS_          (SECCOMP_RET_ERRNO | ENOSYS)

#define _cleanup_filter_ _cleanup_(filter_unrefp)

static char dir[64];
static SeccompCompiler *compiler;

static void filter_unrefp(SeccompFilter **f)
{
    *f = seccomp_filter_unref(*f);
}

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/bulkhead-seccomp-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    compiler = seccomp_compiler_new((char *[]){dir, NULL});
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    compiler = seccomp_compiler_free(compiler);
    return tree_remove(AT_FDCWD, dir);
}

static void profile_write(const char *name, const char *text)
{
    _cleanup_(freep) char *path = xasprintf("%s/%s.ini", dir, name);
    _cleanup_fd_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
}

static int compile(const char *profile, const char *allow, const char *deny, SeccompViolation action,
                   SeccompFilter **ret, Complaints *complaints)
{
    char *a[] = {(char *)allow, NULL}, *d[] = {(char *)deny, NULL};
    return seccomp_compile(compiler, profile, a, d, action, "m.ini", 7, ret, complaints);
}

static SeccompFilter *good(const char *profile, const char *allow, const char *deny, SeccompViolation action)
{
    _cleanup_complaints_ Complaints complaints = {0};
    SeccompFilter *f = NULL;
    int r = compile(profile, allow, deny, action, &f, &complaints);
    for (size_t i = 0; i < complaints.n; i++)
        print_error("%s:%u: %s\n", complaints.items[i].file, complaints.items[i].line, complaints.items[i].message);
    assert_int_equal(r, 0);
    assert_int_equal(complaints.n, 0);
    assert_true(bpf_sim_valid(f->instructions, f->n_instructions));
    return f;
}

static uint32_t ask_args(const SeccompFilter *f, int nr, const uint64_t args[6])
{
    struct seccomp_data d = {.nr = nr, .arch = AUDIT_ARCH_X86_64};
    memcpy(d.args, args, sizeof d.args);
    return bpf_sim_run(f->instructions, f->n_instructions, &d);
}

static uint32_t ask(const SeccompFilter *f, int nr, uint64_t a0, uint64_t a1, uint64_t a2)
{
    return ask_args(f, nr, (uint64_t[6]){a0, a1, a2});
}

static void test_always(void **state)
{
    (void)state;
    static const uint32_t violation[] = {KILL, SECCOMP_RET_ERRNO | EPERM, SECCOMP_RET_LOG};
    for (SeccompViolation v = 0; v < SECCOMP_VIOLATION_N; v++) {
        _cleanup_filter_ SeccompFilter *f = good(NULL, "getpid", NULL, v);
        assert_int_equal(ask(f, SYS_getpid, 0, 0, 0), ALLOW);
        assert_int_equal(ask(f, SYS_execve, 0, 0, 0), ALLOW);
        assert_int_equal(ask(f, SYS_write, 3, 0, 0), ALLOW);
        assert_int_equal(ask(f, SYS_exit_group, 1, 0, 0), ALLOW);
        assert_int_equal(ask(f, SYS_read, 0, 0, 0), violation[v]);
        assert_int_equal(ask(f, SYS_clone3, 0, 0, 0), ENOSYS_);
        assert_int_equal(ask(f, SYS_io_uring_setup, 1, 0, 0), ENOSYS_);
        assert_int_equal(ask(f, SYS_io_uring_enter, 1, 0, 0), violation[v]);
        assert_int_equal(ask(f, 469, 0, 0, 0), violation[v]);
        assert_int_equal(ask(f, 470, 0, 0, 0), ENOSYS_);
        assert_int_equal(ask(f, 5000, 0, 0, 0), ENOSYS_);
        assert_int_equal(ask(f, 0x3fffffff, 0, 0, 0), ENOSYS_);
        assert_int_equal(ask(f, -1, 0, 0, 0), ENOSYS_);
        /* x32: the same numbers with bit 30, allowed ones too */
        assert_int_equal(ask(f, 0x40000000 | SYS_getpid, 0, 0, 0), KILL);
        assert_int_equal(ask(f, 0x40000000 | SYS_read, 0, 0, 0), KILL);
        assert_int_equal(ask(f, 0x40000000 | 520, 0, 0, 0), KILL);
        assert_int_equal(ask(f, (int)0x80000000, 0, 0, 0), KILL);
        struct seccomp_data foreign = {.nr = SYS_getpid, .arch = AUDIT_ARCH_I386};
        assert_int_equal(bpf_sim_run(f->instructions, f->n_instructions, &foreign), KILL);
    }
}

static void test_numbers(void **state)
{
    (void)state;
    _cleanup_filter_ SeccompFilter *f = good(NULL, "clone3, io_uring_setup, #480, mseal, #0", NULL, VIOLATION_KILL);
    assert_int_equal(ask(f, SYS_clone3, 0, 0, 0), ALLOW);
    assert_int_equal(ask(f, SYS_io_uring_setup, 1, 0, 0), ALLOW);
    assert_int_equal(ask(f, 479, 0, 0, 0), ENOSYS_);
    assert_int_equal(ask(f, 480, 0, 0, 0), ALLOW);
    assert_int_equal(ask(f, 481, 0, 0, 0), ENOSYS_);
    assert_int_equal(ask(f, 462, 0, 0, 0), ALLOW);
    assert_int_equal(ask(f, SYS_read, 0, 0, 0), ALLOW);
}

static void test_arguments(void **state)
{
    (void)state;
    _cleanup_filter_ SeccompFilter *f = good(
        NULL, "socket(AF_UNIX|AF_INET), socket(AF_NETLINK, *, 9), clone(!CLONE_NEWUSER|CLONE_NEWNS), dup2(<=5, >=7)",
        NULL, VIOLATION_KILL);
    const uint64_t high = 1ull << 32;
    assert_int_equal(ask(f, SYS_socket, AF_UNIX, 1, 0), ALLOW);
    assert_int_equal(ask(f, SYS_socket, AF_INET, 5, 77), ALLOW);
    assert_int_equal(ask(f, SYS_socket, AF_INET + high, 5, 77), KILL);
    assert_int_equal(ask(f, SYS_socket, AF_INET6, 1, 0), KILL);
    assert_int_equal(ask(f, SYS_socket, AF_NETLINK, 3, 9), ALLOW);
    assert_int_equal(ask(f, SYS_socket, AF_NETLINK, 3, 8), KILL);
    assert_int_equal(ask(f, SYS_clone, CLONE_VM | CLONE_FS, 0, 0), ALLOW);
    assert_int_equal(ask(f, SYS_clone, CLONE_VM | CLONE_NEWUSER, 0, 0), KILL);
    assert_int_equal(ask(f, SYS_clone, CLONE_NEWNS, 0, 0), KILL);
    assert_int_equal(ask(f, SYS_dup2, 5, 7, 0), ALLOW);
    assert_int_equal(ask(f, SYS_dup2, 6, 7, 0), KILL);
    assert_int_equal(ask(f, SYS_dup2, 5, 6, 0), KILL);
    assert_int_equal(ask(f, SYS_dup2, 5 + high, 7, 0), KILL);
    assert_int_equal(ask(f, SYS_dup2, 5, high, 0), KILL);
}

/* What lies above 32 bits is not looked at by a syscall with an int argument: it must not carry a call past a deny. */
static void test_deny(void **state)
{
    (void)state;
    const uint64_t high = 1ull << 32;
    _cleanup_filter_ SeccompFilter *f = good(
        NULL, "socket, kill, read", "socket(AF_INET|AF_INET6), socket(*, SOCK_RAW), kill(<=1), read", VIOLATION_ERRNO);
    const uint32_t no = SECCOMP_RET_ERRNO | EPERM;
    assert_int_equal(ask(f, SYS_socket, AF_UNIX, 1, 0), ALLOW);
    assert_int_equal(ask(f, SYS_socket, AF_UNIX, SOCK_RAW, 0), no);
    assert_int_equal(ask(f, SYS_socket, AF_UNIX, SOCK_RAW + high, 0), no);
    assert_int_equal(ask(f, SYS_socket, AF_INET, 1, 0), no);
    assert_int_equal(ask(f, SYS_socket, AF_INET6 + high, 1, 0), no);
    assert_int_equal(ask(f, SYS_kill, 2, 0, 0), ALLOW);
    assert_int_equal(ask(f, SYS_kill, 1 + high, 0, 0), no);
    assert_int_equal(ask(f, SYS_read, 0, 0, 0), no);
}

static void test_layers(void **state)
{
    (void)state;
    profile_write("inner", "[profile]\ndescription = x\nallow.a = read, lseek\nallow.b = socket\n");
    profile_write("outer", "[profile]\ninclude = inner\ndeny = lseek, socket(AF_INET)\nallow = getuid\n");
    profile_write("both", "[profile]\ninclude = outer, inner\n");
    _cleanup_filter_ SeccompFilter *outer = good("outer", NULL, NULL, VIOLATION_KILL);
    assert_int_equal(ask(outer, SYS_read, 0, 0, 0), ALLOW);
    assert_int_equal(ask(outer, SYS_getuid, 0, 0, 0), ALLOW);
    assert_int_equal(ask(outer, SYS_lseek, 0, 0, 0), KILL);
    assert_int_equal(ask(outer, SYS_socket, AF_UNIX, 0, 0), ALLOW);
    assert_int_equal(ask(outer, SYS_socket, AF_INET, 0, 0), KILL);
    /* the module gives one back and takes another away */
    _cleanup_filter_ SeccompFilter *module = good("outer", "lseek(3)", "read", VIOLATION_KILL);
    assert_int_equal(ask(module, SYS_lseek, 3, 0, 0), ALLOW);
    assert_int_equal(ask(module, SYS_lseek, 4, 0, 0), KILL);
    assert_int_equal(ask(module, SYS_read, 0, 0, 0), KILL);
    /* any include is enough */
    _cleanup_filter_ SeccompFilter *both = good("both", NULL, NULL, VIOLATION_KILL);
    assert_int_equal(ask(both, SYS_socket, AF_INET, 0, 0), ALLOW);
    assert_int_equal(ask(both, SYS_lseek, 0, 0, 0), ALLOW);
}

static void test_sharing(void **state)
{
    (void)state;
    profile_write("p", "[profile]\nallow = read, lseek\n");
    SeccompFilter *first = good("p", "getpid", NULL, VIOLATION_KILL);
    for (int i = 0; i < 1000; i++) {
        _cleanup_filter_ SeccompFilter *f = good("p", "getpid", NULL, VIOLATION_KILL);
        assert_ptr_equal(f, first);
    }
    _cleanup_filter_ SeccompFilter *other = good("p", "getpid", NULL, VIOLATION_LOG);
    assert_ptr_not_equal(other, first);
    /* it outlives the compiler */
    compiler = seccomp_compiler_free(compiler);
    compiler = seccomp_compiler_new((char *[]){dir, NULL});
    assert_int_equal(ask(first, SYS_lseek, 0, 0, 0), ALLOW);
    assert_int_equal(first->refs, 1);
    seccomp_filter_unref(first);
}

/* Compiles a profile that must fail; the complaints, a line each. */
static char *bad(const char *profile, const char *allow, const char *deny)
{
    _cleanup_complaints_ Complaints complaints = {0};
    SeccompFilter *f = NULL;
    assert_int_equal(compile(profile, allow, deny, VIOLATION_KILL, &f, &complaints), -EINVAL);
    assert_null(f);
    assert_true(complaints.n > 0);
    complaints_sort(&complaints);
    StrBuf b = STRBUF_NULL;
    for (size_t i = 0; i < complaints.n; i++) {
        _cleanup_(freep) char *line = complaint_format(&complaints.items[i]);
        strbuf_addf(&b, "%s\n", str_starts(line, dir) ? line + strlen(dir) + 1 : line);
    }
    return strbuf_take(&b);
}

static void expect(char *got, const char *want)
{
    assert_string_equal(got, want);
    free(got);
}

static void test_complaints(void **state)
{
    (void)state;
    _cleanup_(freep) char *missing =
        xasprintf("m.ini:7: sandbox.profile: no profile 'nope' (looked for nope.ini in %s)\n", dir);
    expect(bad("nope", NULL, NULL), missing);
    expect(bad("../etc", NULL, NULL),
           "m.ini:7: sandbox.profile: '../etc' is not a profile's name (a-z, 0-9, _ and -, at "
           "most 63)\n");
    expect(bad(NULL, "raed", NULL), "m.ini:7: sandbox.allow: unknown syscall 'raed' (did you mean 'read'?)\n");
    expect(bad(NULL, NULL, "execve"), "m.ini:7: sandbox.deny: execve cannot be denied (the launcher itself calls it to "
                                      "start the program)\n");
    expect(bad(NULL, NULL, "write(3), nanosleep(1"), "m.ini:7: sandbox.deny: a '(' without its ')'\n");

    profile_write("wrong", "[profile]\nallow = read, moutn\ndeny.x = socket(AF_INTE)\nalow = x\n[other]\nkey = v\n");
    expect(
        bad("wrong", NULL, NULL),
        "wrong.ini:2: profile.allow: unknown syscall 'moutn' (did you mean 'mount'?)\n"
        "wrong.ini:3: profile.deny.x: socket(AF_INTE): argument 0: unknown value 'AF_INTE' (did you mean 'AF_INET'?)\n"
        "wrong.ini:4: profile.alow: unknown key (did you mean 'allow'?)\n"
        "wrong.ini:5: unknown section [other] (a profile has [profile] alone)\n");
    /* once, not for each module that names it */
    _cleanup_complaints_ Complaints none = {0};
    SeccompFilter *f = NULL;
    assert_int_equal(compile("wrong", NULL, NULL, VIOLATION_LOG, &f, &none), -EINVAL);
    assert_int_equal(none.n, 0);

    profile_write("empty", "");
    expect(bad("empty", NULL, NULL), "empty.ini: no [profile] section (a profile's keys stand below it)\n");
    profile_write("list", "[profile]\nallow = read,, write\n");
    expect(bad("list", NULL, NULL), "list.ini:2: profile.allow: an empty item in the list (rules are parted by single "
                                    "commas)\n");
}

static void test_cycles(void **state)
{
    (void)state;
    profile_write("a", "[profile]\ninclude = b\n");
    profile_write("b", "[profile]\nallow = read\ninclude = c\n");
    profile_write("c", "[profile]\ninclude = a\n");
    expect(bad("a", NULL, NULL),
           "c.ini:2: profile.include: profiles include each other in a circle: a -> b -> c -> a\n");
    profile_write("self", "[profile]\ninclude = self\n");
    expect(bad("self", NULL, NULL),
           "self.ini:2: profile.include: profiles include each other in a circle: self -> self\n");
    for (int i = 0; i < 20; i++) {
        _cleanup_(freep) char *name = xasprintf("deep%d", i), *text = xasprintf("[profile]\ninclude = deep%d\n", i + 1);
        profile_write(name, text);
    }
    profile_write("deep20", "[profile]\nallow = read\n");
    expect(bad("deep0", NULL, NULL), "deep15.ini:2: profile.include: profiles include each other more than 16 deep\n");
}

/* Each profile includes two that include the next two: 2^15 ways to the bottom, one of which is enough. */
static void test_diamonds(void **state)
{
    (void)state;
    for (int i = 0; i < 14; i++)
        for (int side = 0; side < 2; side++) {
            _cleanup_(freep) char *name = xasprintf("d%d-%d", i, side),
                                  *text = i == 13 ? xasprintf("[profile]\nallow = read(%d), lseek\n", side)
                                                  : xasprintf("[profile]\ninclude = d%d-0, d%d-1\n", i + 1, i + 1);
            profile_write(name, text);
        }
    _cleanup_filter_ SeccompFilter *f = good("d0-0", NULL, NULL, VIOLATION_KILL);
    assert_int_equal(ask(f, SYS_read, 1, 0, 0), ALLOW);
    assert_int_equal(ask(f, SYS_read, 2, 0, 0), KILL);
    assert_true(f->n_instructions < 50);
}

static void test_too_long(void **state)
{
    (void)state;
    _cleanup_strbuf_ StrBuf list = STRBUF_NULL;
    for (int i = 0; i < 1500; i++)
        strbuf_addf(&list, "%sioctl(*, %d)", i ? ", " : "", i);
    char *got = bad(NULL, list.s, NULL);
    assert_true(str_starts(got, "m.ini:7: sandbox.profile: the rules need more than the 4096 instructions"));
    free(got);
}

/* --- random rules ----------------------------------------------------------------------------------------------------
 */

static uint64_t seed;

static uint64_t rnd(uint64_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % below;
}

/* Values that lie close to one another in either half, so that wrong comparisons show. */
static uint64_t rnd_value(void)
{
    static const uint64_t halves[] = {0, 1, 2, 3, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff};
    uint64_t v = halves[rnd(ELEMENTS(halves))];
    return rnd(3) == 0 ? v | halves[rnd(ELEMENTS(halves))] << 32 : v;
}

static const char *const fuzz_names[] = {"getpid", "socket", "ioctl", "clone", "clone3", "mseal"};

static void rnd_rule(StrBuf *b)
{
    strbuf_adds(b, fuzz_names[rnd(ELEMENTS(fuzz_names))]);
    size_t n = rnd(4);
    for (size_t i = 0; i < n; i++) {
        strbuf_adds(b, i ? ", " : "(");
        uint64_t v = rnd_value(), mask = rnd_value() | 1;
        switch (rnd(6)) {
        case 0:
            strbuf_adds(b, "*");
            break;
        case 1:
            strbuf_addf(b, "&0x%llx==0x%llx", (unsigned long long)mask, (unsigned long long)(v & mask));
            break;
        case 2:
            strbuf_addf(b, "!0x%llx", (unsigned long long)mask);
            break;
        case 3:
            strbuf_addf(b, "%c=%llu", rnd(2) ? '<' : '>', (unsigned long long)v);
            break;
        default:
            strbuf_addf(b, "0x%llx", (unsigned long long)v);
            for (size_t more = rnd(5); more > 0; more--)
                strbuf_addf(b, "|%llu", (unsigned long long)rnd_value());
        }
    }
    if (n > 0)
        strbuf_addc(b, ')');
}

/* "" or a list of up to n rules. */
static char *rnd_list(size_t n)
{
    StrBuf b = STRBUF_NULL;
    for (size_t i = rnd(n + 1); i > 0; i--) {
        if (b.len > 0)
            strbuf_adds(&b, ", ");
        rnd_rule(&b);
    }
    return strbuf_take(&b);
}

static bool list_matches(const char *list, int nr, const uint64_t args[6], bool denies)
{
    if (!*list)
        return false;
    _cleanup_strv_ char **rules = NULL;
    assert_int_equal(seccomp_rules_split(list, &rules, NULL), 0);
    bool hit = false;
    STRV_FOREACH (text, rules) {
        _cleanup_(seccomp_rule_freep) SeccompRule *rule = NULL;
        assert_int_equal(seccomp_rule_parse(*text, &rule, NULL), 0);
        hit |= reference_rule(rule, nr, args, denies);
    }
    return hit;
}

typedef struct Layer {
    char *allow, *deny;
} Layer;

/* 0 is the module; 1 its profile, which includes 2 and 3. */
static bool reference_allows(const Layer *l, size_t i, int nr, const uint64_t args[6])
{
    if (list_matches(l[i].deny, nr, args, true))
        return false;
    if (list_matches(l[i].allow, nr, args, false))
        return true;
    if (i == 0)
        return reference_allows(l, 1, nr, args);
    return i == 1 && (reference_allows(l, 2, nr, args) || reference_allows(l, 3, nr, args));
}

static void fuzz_round(int round)
{
    Layer layers[4];
    char name[4][32];
    for (size_t i = 0; i < 4; i++) {
        layers[i] = (Layer){.allow = rnd_list(5), .deny = rnd_list(2)};
        snprintf(name[i], sizeof name[i], "f%d-%zu", round, i);
    }
    for (size_t i = 3; i > 0; i--) {
        _cleanup_strbuf_ StrBuf b = STRBUF_NULL;
        strbuf_adds(&b, "[profile]\n");
        if (*layers[i].allow)
            strbuf_addf(&b, "allow = %s\n", layers[i].allow);
        if (*layers[i].deny)
            strbuf_addf(&b, "deny = %s\n", layers[i].deny);
        if (i == 1)
            strbuf_addf(&b, "include = %s, %s\n", name[2], name[3]);
        profile_write(name[i], b.s);
    }
    _cleanup_filter_ SeccompFilter *f = good(name[1], *layers[0].allow ? layers[0].allow : NULL,
                                             *layers[0].deny ? layers[0].deny : NULL, VIOLATION_LOG);
    for (int probe = 0; probe < 200; probe++) {
        int nr = seccomp_nr(fuzz_names[rnd(ELEMENTS(fuzz_names))]);
        uint64_t args[6];
        for (size_t i = 0; i < 6; i++)
            args[i] = rnd_value();
        uint32_t otherwise = nr == SYS_clone3 ? ENOSYS_ : SECCOMP_RET_LOG;
        uint32_t want = reference_allows(layers, 0, nr, args) ? ALLOW : otherwise, got = ask_args(f, nr, args);
        if (want != got) {
            print_error("round %d: syscall %d (0x%llx, 0x%llx, 0x%llx)\n", round, nr, (unsigned long long)args[0],
                        (unsigned long long)args[1], (unsigned long long)args[2]);
            for (size_t i = 0; i < 4; i++)
                print_error("  layer %zu: allow %s; deny %s\n", i, layers[i].allow, layers[i].deny);
        }
        assert_int_equal(got, want);
    }
    for (size_t i = 0; i < 4; i++) {
        free(layers[i].allow);
        free(layers[i].deny);
    }
}

static void test_random(void **state)
{
    (void)state;
    seed = 0x9e3779b97f4a7c15;
    for (int round = 0; round < 400; round++)
        fuzz_round(round);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_always, setup, teardown),
        cmocka_unit_test_setup_teardown(test_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_arguments, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deny, setup, teardown),
        cmocka_unit_test_setup_teardown(test_layers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sharing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_complaints, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cycles, setup, teardown),
        cmocka_unit_test_setup_teardown(test_diamonds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_long, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
