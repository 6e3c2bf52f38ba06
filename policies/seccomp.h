/* The seccomp compiler: profiles (ini files of allowed syscalls) in, a BPF program out.
 *
 * Compiled at policy load and never in the child: the launcher only hands `program` to seccomp(2). A filter always
 * allows what the launcher itself calls between seccomp(2) and the new program's first instruction (execve, write and
 * exit_group for the failure report). Foreign architectures and x32 are killed; clone3 and io_uring_setup,
 * unless a rule allows them, and syscalls newer than the compiler knows answer ENOSYS so that libraries fall back;
 * everything else not allowed gets the violation action. */
#pragma once

#include <linux/filter.h>

#include "base/error.h"
#include "base/util.h"
#include "policies/complaint.h"

typedef enum SeccompViolation { VIOLATION_KILL, VIOLATION_ERRNO, VIOLATION_LOG, SECCOMP_VIOLATION_N } SeccompViolation;

extern const char *const seccomp_violation_names[SECCOMP_VIOLATION_N];

/* The keys of a profile's one section, [profile]: the table that feeds its parser and the manual. */
typedef enum ProfileKeyId {
    PROFILE_DESCRIPTION,
    PROFILE_INCLUDE,
    PROFILE_ALLOW,
    PROFILE_DENY,
    PROFILE_KEY_N
} ProfileKeyId;

typedef struct ProfileKey {
    const char *name;
    bool groups; /* NAME.WORD is the same key again, so that a long list stays readable */
    const char *value, *example, *doc;
} ProfileKey;

extern const ProfileKey profile_keys[PROFILE_KEY_N];

/* A compiled program; refcounted, because modules with equal profile, allow, deny and action share one. */
typedef struct SeccompFilter {
    unsigned refs;
    unsigned n_instructions;
    struct sock_filter *instructions;
    char *key; /* what it was compiled from, for sharing */
} SeccompFilter;

typedef struct SeccompCompiler SeccompCompiler;

/* Profiles are looked for as DIR/NAME.ini in each of `dirs` (NULL-terminated), first hit wins. */
SeccompCompiler *seccomp_compiler_new(char *const *dirs);
SeccompCompiler *seccomp_compiler_free(SeccompCompiler *c);

/* Compiles (or shares) a filter. `file`, `line` say where the module named the profile, for complaints about it;
 * complaints about a profile's own lines name the profile's file. `profile` may be NULL when only allow/deny are given
 * (then nothing else is allowed). `allow` and `deny` are rules, or pieces of a list that was split at every comma: they
 * are joined again. Returns 0 and a reference, or -EINVAL with complaints added; a broken profile complains at its
 * first use only, so hand the same `complaints` to all calls. */
int seccomp_compile(SeccompCompiler *c, const char *profile, char *const *allow, char *const *deny,
                    SeccompViolation action, const char *file, unsigned line, SeccompFilter **ret,
                    Complaints *complaints);

SeccompFilter *seccomp_filter_ref(SeccompFilter *f);
SeccompFilter *seccomp_filter_unref(SeccompFilter *f);

/* "mount" for 165 on this architecture; "syscall_999" when nobody knows it. Owned by the caller. */
char *seccomp_syscall_name(int nr);
/* Checks one rule ("mount", "socket(AF_INET)", "ioctl(*, FIONREAD)") without compiling. -EINVAL fills *e. */
int seccomp_rule_check(const char *rule, Error *e);
/* Splits "read, ioctl(*, FIONREAD), write" at the commas outside parentheses; blanks around a rule are cut. -EINVAL for
 * an empty item or an unbalanced parenthesis, all in *e. *ret is a vector of strings. */
int seccomp_rules_split(const char *text, char ***ret, Error *e);
