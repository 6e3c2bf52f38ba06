/* The shipped profiles: each rule allows what it says and nothing next to it, and none opens a way out. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/syscall.h>

#include <cmocka.h>

#include "base/str.h"
#include "policies/reader.h"
#include "policies/seccomp.h"
#include "tests/unit/bpf_sim.h"
#include "tests/unit/seccomp_reference.h"

#define PROFILES "policies/profiles"

/* What each comes to, by its includes. */
static const char *const profiles[][3] = {
    {"base", NULL},
    {"network-server", "base", NULL},
    {"worker", "base", NULL},
};

typedef struct Rules {
    SeccompRule *items[1024];
    size_t n;
} Rules;

static void collect(void *user, const char *section, const char *key, const char *value, unsigned line)
{
    (void)section;
    (void)line;
    Rules *rules = user;
    if (!key || !str_starts(key, "allow"))
        return;
    _cleanup_strv_ char **list = NULL;
    assert_int_equal(seccomp_rules_split(value, &list, NULL), 0);
    STRV_FOREACH (text, list) {
        assert_true(rules->n < ELEMENTS(rules->items));
        assert_int_equal(seccomp_rule_parse(*text, &rules->items[rules->n++], NULL), 0);
    }
}

static void rules_done(Rules *rules)
{
    for (size_t i = 0; i < rules->n; i++)
        seccomp_rule_free(rules->items[i]);
}

static SeccompFilter *compiled(const char *profile)
{
    _cleanup_complaints_ Complaints complaints = {0};
    SeccompCompiler *c = seccomp_compiler_new((char *[]){PROFILES, NULL});
    SeccompFilter *f = NULL;
    int r = seccomp_compile(c, profile, NULL, NULL, VIOLATION_KILL, "test", 1, &f, &complaints);
    seccomp_compiler_free(c);
    for (size_t i = 0; i < complaints.n; i++)
        print_error("%s:%u: %s\n", complaints.items[i].file, complaints.items[i].line, complaints.items[i].message);
    assert_int_equal(r, 0);
    assert_true(bpf_sim_valid(f->instructions, f->n_instructions));
    return f;
}

static uint32_t ask(const SeccompFilter *f, int nr, const uint64_t args[SECCOMP_ARGS])
{
    struct seccomp_data d = {.nr = nr, .arch = AUDIT_ARCH_X86_64};
    memcpy(d.args, args, sizeof d.args);
    return bpf_sim_run(f->instructions, f->n_instructions, &d);
}

static bool reference_allows(const Rules *rules, int nr, const uint64_t args[SECCOMP_ARGS])
{
    for (size_t i = 0; i < rules->n; i++)
        if (reference_rule(rules->items[i], nr, args, false))
            return true;
    return nr == SYS_execve || nr == SYS_write || nr == SYS_exit_group;
}

/* Asks about arguments the rule allows, then about those with one of them changed in every single bit and a few more
 * ways. Counts the denials. */
static unsigned check_rule(const SeccompFilter *f, const Rules *rules, const SeccompRule *rule)
{
    unsigned denied = 0;
    uint64_t args[SECCOMP_ARGS] = {0x1234567812345678, 0x1234567812345678, 0x1234567812345678,
                                   0x1234567812345678, 0x1234567812345678, 0x1234567812345678};
    for (size_t i = 0; i < rule->n_conds; i++)
        args[rule->conds[i].arg] = rule->conds[i].values[0];
    assert_true(reference_rule(rule, rule->nr, args, false));
    assert_int_equal(ask(f, rule->nr, args), SECCOMP_RET_ALLOW);
    for (size_t i = 0; i < rule->n_conds; i++) {
        const SeccompCond *c = &rule->conds[i];
        for (size_t v = 0; v < c->n_values; v++) {
            args[c->arg] = c->values[v];
            assert_int_equal(ask(f, rule->nr, args), SECCOMP_RET_ALLOW);
            for (unsigned m = 0; m < 68; m++) {
                static const int64_t near[] = {-1, 1, INT32_MIN, INT32_MAX};
                args[c->arg] = m < 64 ? c->values[v] ^ 1ull << m : c->values[v] + (uint64_t)near[m - 64];
                bool want = reference_allows(rules, rule->nr, args);
                uint32_t got = ask(f, rule->nr, args);
                assert_int_equal(got, want ? SECCOMP_RET_ALLOW : SECCOMP_RET_KILL_PROCESS);
                denied += !want;
            }
            args[c->arg] = c->values[v];
        }
    }
    return denied;
}

static void test_each_rule(void **state)
{
    (void)state;
    for (size_t p = 0; p < ELEMENTS(profiles); p++) {
        _cleanup_(rules_done) Rules rules = {0};
        _cleanup_complaints_ Complaints complaints = {0};
        for (size_t i = 0; profiles[p][i]; i++) {
            _cleanup_(freep) char *path = xasprintf(PROFILES "/%s.ini", profiles[p][i]);
            assert_int_equal(reader_file(AT_FDCWD, path, path, 0, collect, &rules, &complaints), 0);
        }
        SeccompFilter *f = compiled(profiles[p][0]);
        unsigned with_conditions = 0;
        for (size_t i = 0; i < rules.n; i++) {
            unsigned denied = check_rule(f, &rules, rules.items[i]);
            with_conditions += rules.items[i]->n_conds > 0;
            if (rules.items[i]->n_conds > 0)
                assert_true(denied > 0); /* a condition that denies nothing is no condition */
        }
        assert_true(rules.n > 100 && with_conditions >= 4);
        for (int nr = 0; nr < 600; nr++) { /* and nothing that no rule names, whatever the arguments */
            uint64_t any[SECCOMP_ARGS] = {0};
            bool named = nr == SYS_execve || nr == SYS_write || nr == SYS_exit_group;
            for (size_t i = 0; i < rules.n; i++)
                named |= rules.items[i]->nr == nr;
            if (!named)
                assert_int_equal(ask(f, nr, any), nr == SYS_clone3 || nr == SYS_io_uring_setup || nr > seccomp_nr_last()
                                                      ? SECCOMP_RET_ERRNO | ENOSYS
                                                      : SECCOMP_RET_KILL_PROCESS);
        }
        seccomp_filter_unref(f);
    }
}

static void test_no_way_out(void **state)
{
    (void)state;
    static const char *const never[] = {
        "mount",
        "umount2",
        "mount_setattr",
        "move_mount",
        "fsopen",
        "fsconfig",
        "fsmount",
        "fspick",
        "open_tree",
        "open_tree_attr",
        "pivot_root",
        "chroot",
        "ptrace",
        "process_vm_readv",
        "process_vm_writev",
        "process_madvise",
        "pidfd_getfd",
        "kcmp",
        "bpf",
        "perf_event_open",
        "kexec_load",
        "kexec_file_load",
        "init_module",
        "finit_module",
        "delete_module",
        "reboot",
        "swapon",
        "swapoff",
        "setns",
        "unshare",
        "add_key",
        "keyctl",
        "request_key",
        "userfaultfd",
        "open_by_handle_at",
        "name_to_handle_at",
        "acct",
        "quotactl",
        "quotactl_fd",
        "settimeofday",
        "clock_settime",
        "clock_adjtime",
        "adjtimex",
        "sethostname",
        "setdomainname",
        "iopl",
        "ioperm",
        "modify_ldt",
        "personality",
        "syslog",
        "vhangup",
        "lookup_dcookie",
        "fanotify_init",
        "io_uring_setup",
        "io_uring_enter",
        "io_uring_register",
        "memfd_secret",
        "mbind",
        "migrate_pages",
        "move_pages",
        "set_mempolicy",
        "clone3",
        "seccomp",
        "lsm_set_self_attr",
        "statmount",
        "listmount",
    };
    static const uint64_t values[] = {0, 1, 0xffffffff, UINT64_MAX};
    for (size_t p = 0; p < ELEMENTS(profiles); p++) {
        SeccompFilter *f = compiled(profiles[p][0]);
        for (size_t i = 0; i < ELEMENTS(never); i++)
            for (size_t v = 0; v < ELEMENTS(values); v++) {
                uint64_t args[SECCOMP_ARGS] = {values[v], values[v], values[v]};
                int nr = seccomp_nr(never[i]);
                assert_true(nr >= 0);
                if (ask(f, nr, args) == SECCOMP_RET_ALLOW)
                    fail_msg("%s allows %s", profiles[p][0], never[i]);
            }
        static const uint64_t new[] = {CLONE_NEWNS,   CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
                                       CLONE_NEWUSER, CLONE_NEWPID,    CLONE_NEWNET, CLONE_PARENT};
        for (size_t i = 0; i < ELEMENTS(new); i++)
            for (uint64_t with = 0; with < 4; with++) {
                uint64_t args[SECCOMP_ARGS] = {new[i] | (with & 1 ? CLONE_THREAD : 17) | (with & 2) << 40};
                assert_int_not_equal(ask(f, SYS_clone, args), SECCOMP_RET_ALLOW);
            }
        seccomp_filter_unref(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_each_rule), cmocka_unit_test(test_no_way_out)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
