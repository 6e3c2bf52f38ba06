/* The manual: what the tables of the programs hold has its text, and what the pages name is in a table.
 *
 * Looked at are the sources that docs/man/generate made of the templates, in the build folder beside this program; last
 * the pages themselves, as groff reads them. Examples are not only looked at: configurations are loaded, command lines
 * parsed. */
#include "tests/unit/config_dir.h"

#include <limits.h>
#include <regex.h>
#include <sys/wait.h>

#include "policies/keys.h"
#include "policies/quantities.h"
#include "policies/seccomp_rule.h"
#include "policies/words.h"
#include "supervisor/options.h"
#include "supervisor/run/lifecycle.h"
#include "supervisor/stop/phases.h"
#include "tools/tool.h"

typedef enum PageId { PAGE_DAEMON, PAGE_TOOL, PAGE_INI, PAGE_PROFILES, PAGE_WORK, PAGE_N } PageId;

static const char *const pages[PAGE_N] = {"bulkheadd.8", "bulkhead.1", "bulkhead.ini.5", "bulkhead-profiles.5",
                                          "bulkhead-work.3"};

typedef struct Manual {
    char *folder;       /* BUILD/man */
    char *text[PAGE_N]; /* scdoc, but with \X as X, so that it reads as it is printed between its * and _ */
} Manual;

/* --- reading ------------------------------------------------------------------------------------------------------ */
static char *without_backslashes(const char *s)
{
    StrBuf b = STRBUF_NULL;
    bool literal = false;
    for (; *s; s++) {
        if (strncmp(s, "```", 3) == 0)
            literal = !literal;
        if (*s == '\\' && s[1] && !literal)
            s++;
        strbuf_addc(&b, *s);
    }
    return strbuf_take(&b);
}

static char *read_page(const char *folder, const char *name)
{
    _cleanup_(freep) char *path = xasprintf("%s/%s.scd", folder, name), *raw = NULL;
    if (file_read_all(AT_FDCWD, path, 1u << 20, &raw, NULL) < 0)
        fail_msg("%s is not there (make man)", path);
    return without_backslashes(raw);
}

static int open_manual(void **state)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    assert_true(n > 0);
    path[n] = '\0';
    for (int up = 0; up < 2; up++) /* BUILD/unit/test_manual */
        *strrchr(path, '/') = '\0';
    Manual *m = new0(Manual);
    m->folder = xasprintf("%s/man", path);
    for (size_t i = 0; i < PAGE_N; i++)
        m->text[i] = read_page(m->folder, pages[i]);
    *state = m;
    return 0;
}

static int close_manual(void **state)
{
    Manual *m = *state;
    for (size_t i = 0; i < PAGE_N; i++)
        free(m->text[i]);
    free(m->folder);
    free(m);
    return 0;
}

/* The text below "# TITLE", up to the next title; owned by the caller. */
static char *section(const char *page, const char *title)
{
    _cleanup_(freep) char *head = xasprintf("\n# %s\n", title);
    const char *begin = strstr(page, head);
    if (!begin) {
        fail_msg("no section %s", title);
        return NULL;
    }
    begin += strlen(head);
    const char *end = strstr(begin, "\n# ");
    return end ? xstrndup(begin, (size_t)(end - begin)) : xstrdup(begin);
}

/* What is indented below the line that begins with `head`; fails unless there is just one such line. */
static char *definition(const char *text, const char *head)
{
    _cleanup_(freep) char *whole = xasprintf("\n%s", text), *line = xasprintf("\n%s", head);
    const char *at = strstr(whole, line);
    if (!at || strstr(at + 1, line)) {
        fail_msg("%s: %s", at ? "twice" : "nothing about it", head);
        return NULL; /* not reached, as not every reader knows */
    }
    StrBuf b = STRBUF_NULL;
    for (at += 1 + strcspn(at + 1, "\n"); *at && (at[1] == '\t' || at[1] == '\n'); at += 1 + strcspn(at + 1, "\n")) {
        const char *content = at + 1 + (at[1] == '\t');
        strbuf_addf(&b, "%.*s ", (int)strcspn(content, "\n"), content);
    }
    char *d = strbuf_take(&b);
    if (!d[strspn(d, " ")])
        fail_msg("%s has no text", head);
    return d;
}

static void assert_defined(const char *text, const char *head)
{
    free(definition(text, head));
}

/* `doc`, but for the case of its first letter. */
static void assert_tells(const char *d, const char *name, const char *doc)
{
    if (!strstr(d, doc + 1))
        fail_msg("%s: its text is not there: %s\n%s", name, doc, d);
}

/* Calls fn with each match's last group: there is one, or (what stands before it) and it. */
static void each_match(const char *text, const char *pattern, void (*fn)(const char *word, void *userdata),
                       void *userdata)
{
    regex_t re;
    regmatch_t m[3];
    assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NEWLINE), 0);
    assert_in_range(re.re_nsub, 1, 2);
    const char *begin = text;
    while (regexec(&re, text, ELEMENTS(m), m, text > begin && text[-1] != '\n' ? REG_NOTBOL : 0) == 0) {
        const regmatch_t *group = &m[re.re_nsub];
        _cleanup_(freep) char *word = xstrndup(text + group->rm_so, (size_t)(group->rm_eo - group->rm_so));
        fn(word, userdata);
        text += group->rm_eo;
    }
    regfree(&re);
}

/* --- keys --------------------------------------------------------------------------------------------------------- */
static void test_every_key_has_its_text(void **state)
{
    const Manual *m = *state;
    for (const Key *k = keys; k < keys + keys_n; k++) {
        _cleanup_(freep) char *title = xasprintf("[%s]", k->section), *head = xasprintf("*%s* = ", k->name);
        _cleanup_(freep) char *part = section(m->text[PAGE_INI], title), *d = definition(part, head);
        _cleanup_(freep) char *example = xasprintf("Example: *%s = %s*", k->name, k->example);
        _cleanup_(freep) char *fallback = xasprintf("Default: *%s*.", k->fallback), *range = value_range_text(k);
        assert_tells(d, k->name, k->doc);
        assert_non_null(strstr(d, example));
        assert_int_equal(strstr(d, fallback) != NULL, *k->fallback != '\0');
        assert_true(!range || strstr(d, range));
        for (size_t i = (size_t)k->min; k->names && i < k->n_names; i++) {
            _cleanup_(freep) char *word = xasprintf("*%s*", k->names[i]);
            const char *line = strstr(part, head);
            const char *found = line ? strstr(line, word) : NULL;
            assert_true(found && found < line + strcspn(line, "\n"));
        }
    }
}

static void key_is_there(const char *name, void *userdata)
{
    if (!key_find(userdata, name))
        fail_msg("[%s] has no key %s", (const char *)userdata, name);
}

static void section_is_there(const char *name, void *userdata)
{
    const Manual *m = userdata;
    if (!key_section_exists(name))
        fail_msg("there is no section [%s]", name);
    _cleanup_(freep) char *title = xasprintf("[%s]", name), *part = section(m->text[PAGE_INI], title);
    each_match(part, "^\\*([^* ]+)\\* = ", key_is_there, (void *)(uintptr_t)name);
}

static void test_no_key_that_does_not_exist(void **state)
{
    Manual *m = *state;
    each_match(m->text[PAGE_INI], "^# \\[([a-z]+)\\]$", section_is_there, m);
}

/* In some section, or of a profile. */
static bool is_key(const char *name)
{
    bool found = key_find_dotted(name) != NULL;
    for (size_t i = 0; i < keys_n; i++)
        found |= strcmp(keys[i].name, name) == 0;
    for (size_t i = 0; i < PROFILE_KEY_N; i++)
        found |= strcmp(profile_keys[i].name, name) == 0;
    return found;
}

/* Words that are printed like keys and are something else: a system call, or a name in the JSON. */
static void is_known_word(const char *word, void *userdata)
{
    static const char *const json[] = {"time_usec", "next_start_usec", "next_usec", "heartbeat_usec"};
    bool known = is_key(word) || seccomp_nr(word) != -ENOENT;
    for (size_t i = 0; i < ELEMENTS(json); i++)
        known |= strcmp(word, json[i]) == 0;
    if (!known)
        fail_msg("%s speaks of %s, which is no key", (const char *)userdata, word);
}

static void is_known_key(const char *word, void *userdata)
{
    if (!is_key(word))
        fail_msg("%s speaks of %s, which is no key", (const char *)userdata, word);
}

static void test_keys_in_the_prose(void **state)
{
    const Manual *m = *state;
    for (size_t i = 0; i < PAGE_N; i++) {
        void *name = (void *)(uintptr_t)pages[i];
        each_match(m->text[i], "(^|[^a-z])[*_]([a-z]+_[a-z_]+)[*_][^a-z(]", is_known_word, name);
        each_match(m->text[i], "\\*((module|limits|work|sandbox|recovery|supervisor)\\.[a-z_]+)", is_known_key, name);
        each_match(m->text[i], "[^\n]\\*([a-z][a-z_]*) = ", is_known_key, name);
    }
}

static void test_every_kind_of_value(void **state)
{
    const Manual *m = *state;
    _cleanup_(freep) char *part = section(m->text[PAGE_INI], "VALUES");
    for (size_t i = 0; i < keys_n; i++) {
        if (keys[i].names)
            continue;
        _cleanup_(freep) char *head = xasprintf("_%s_\n", value_kind_name(keys[i].kind)), *d = definition(part, head);
        assert_tells(d, head, value_kind_hint(keys[i].kind));
    }
}

static void profile_key_is_there(const char *name, void *userdata)
{
    (void)userdata;
    bool found = false;
    for (size_t i = 0; i < PROFILE_KEY_N; i++)
        found |= strcmp(profile_keys[i].name, name) == 0;
    if (!found)
        fail_msg("a profile has no key %s", name);
}

static void test_keys_of_a_profile(void **state)
{
    const Manual *m = *state;
    _cleanup_(freep) char *part = section(m->text[PAGE_PROFILES], "THE FILE");
    for (size_t i = 0; i < PROFILE_KEY_N; i++) {
        const ProfileKey *k = &profile_keys[i];
        _cleanup_(freep) char *head = xasprintf("*%s*", k->name), *group = xasprintf("*%s.*_WORD_ = ", k->name);
        _cleanup_(freep) char *d = definition(part, head),
                              *example = xasprintf("Example: *%s = %s*", k->name, k->example);
        assert_tells(d, k->name, k->doc);
        assert_non_null(strstr(d, example));
        assert_int_equal(strstr(part, group) != NULL, k->groups);
    }
    each_match(part, "^\\*([^*.]+)\\*", profile_key_is_there, NULL);
    for (size_t i = 0; i < SECCOMP_VIOLATION_N; i++)
        assert_non_null(strstr(m->text[PAGE_PROFILES], seccomp_violation_names[i]));
}

static void function_is_told(const char *name, void *userdata)
{
    const Manual *m = userdata;
    _cleanup_(freep) char *synopsis = section(m->text[PAGE_WORK], "SYNOPSIS"), *head = xasprintf("*%s*(", name),
                          *call = xasprintf(" %s(", name);
    if (!strstr(synopsis, call) || !strstr(m->text[PAGE_WORK], head))
        fail_msg("bulkhead-work.3 does not tell of %s", name);
}

static void test_every_function_of_the_header(void **state)
{
    _cleanup_(freep) char *text = NULL;
    if (file_read_all(AT_FDCWD, "include/bulkhead/work.h", 1u << 20, &text, NULL) < 0)
        fail_msg("include/bulkhead/work.h is not there (tests run from the source's root)");
    each_match(text, "static inline [a-z0-9_]+ (bulkhead_work_[a-z_]*[a-z])\\(", function_is_told, *state);
}

/* --- verbs and options -------------------------------------------------------------------------------------------- */
static void verb_is_there(const char *name, void *userdata)
{
    bool found = false;
    for (size_t i = 0; i < verbs_n; i++)
        found |= strcmp(verbs[i].name, name) == 0;
    if (!found)
        fail_msg("%s speaks of the verb %s, which does not exist", (const char *)userdata, name);
}

static void test_every_verb_has_its_text(void **state)
{
    const Manual *m = *state;
    _cleanup_(freep) char *part = section(m->text[PAGE_TOOL], "VERBS");
    for (size_t i = 0; i < verbs_n; i++) {
        const Verb *v = &verbs[i];
        _cleanup_(freep) char *head = xasprintf("*%s*", v->name), *d = definition(part, head);
        assert_tells(d, v->name, v->summary);
        /* The help, line by line: its text and its examples. */
        for (const char *s = v->help; *s; s += strcspn(s, "\n") + (s[strcspn(s, "\n")] != '\0')) {
            _cleanup_(freep) char *line = xstrndup(s + strspn(s, " "), strcspn(s, "\n") - strspn(s, " "));
            if (*line && strcmp(line, "examples:") != 0 && !strstr(d, line))
                fail_msg("%s: not in the manual: %s", v->name, line);
        }
        for (OptionId o = 0; o < OPTION_N; o++) {
            _cleanup_(freep) char *option = xasprintf("*--%s*", options[o].name);
            if (v->options & OPTION_BIT(o))
                assert_non_null(strstr(d, option));
        }
    }
    each_match(part, "^\\*([a-z]+)\\*", verb_is_there, (void *)(uintptr_t)pages[PAGE_TOOL]);
}

static void test_every_option_has_its_text(void **state)
{
    const Manual *m = *state;
    _cleanup_(freep) char *tool = section(m->text[PAGE_TOOL], "OPTIONS"),
                          *daemon = section(m->text[PAGE_DAEMON], "OPTIONS");
    for (size_t i = 0; i < OPTION_N; i++) {
        const Option *o = &options[i];
        _cleanup_(freep) char *letter = o->letter ? xasprintf("*-%c*, ", o->letter) : xstrdup("");
        _cleanup_(freep) char *value = o->argument ? xasprintf(" _%s_", o->argument) : xstrdup("");
        _cleanup_(freep) char *head = xasprintf("%s*--%s*%s\n", letter, o->name, value), *d = definition(tool, head);
        assert_tells(d, o->name, o->doc);
    }
    for (size_t i = 0; i < daemon_options_n; i++) {
        const DaemonOption *o = &daemon_options[i];
        _cleanup_(freep) char *head = xasprintf("*--%s*", o->name);
        if (o->doc) {
            _cleanup_(freep) char *d = definition(daemon, head);
            assert_tells(d, o->name, o->doc);
        } else {
            assert_null(strstr(m->text[PAGE_DAEMON], head));
        }
    }
}

static void option_is_there(const char *name, void *userdata)
{
    static const char *const others[] = {"address"}; /* busctl's */
    bool found = false;
    for (size_t i = 0; i < OPTION_N; i++)
        found |= strcmp(options[i].name, name) == 0;
    for (size_t i = 0; i < daemon_options_n; i++)
        found |= daemon_options[i].doc && strcmp(daemon_options[i].name, name) == 0;
    for (size_t i = 0; i < ELEMENTS(others); i++)
        found |= strcmp(others[i], name) == 0;
    if (!found)
        fail_msg("%s speaks of --%s, which does not exist", (const char *)userdata, name);
}

static void test_options_and_verbs_in_the_prose(void **state)
{
    const Manual *m = *state;
    for (size_t i = 0; i < PAGE_N; i++) {
        void *name = (void *)(uintptr_t)pages[i];
        each_match(m->text[i], "--([a-z][a-z-]*)", option_is_there, name);
        each_match(m->text[i], "\\*bulkhead ([a-z]+)", verb_is_there, name);
    }
}

/* Parses the words of `line`, a command in a shell, up to what ends it. */
static void command_is_right(const char *line, void *userdata)
{
    _cleanup_strv_ char **words = NULL, **argv = NULL;
    Args a;
    Error e = {0};
    if (words_split(line, WORDS_BLANKS, &words, &e) < 0)
        fail_msg("%s: '%s': %s", (const char *)userdata, line, e.msg);
    for (char **w = words; *w && (!**w || !strchr("|&;", **w)); w++)
        strv_add(&argv, *w);
    if (args_parse((int)strv_length(argv), argv, NULL, &a, &e) < 0)
        fail_msg("%s: '%s': %s", (const char *)userdata, line, e.msg);
    args_done(&a);
}

static void test_commands_in_examples(void **state)
{
    const Manual *m = *state;
    for (size_t i = 0; i < PAGE_N; i++)
        each_match(m->text[i], "^[\t ]*(bulkhead [a-z-][a-z-][^\n]*)$", command_is_right, (void *)(uintptr_t)pages[i]);
}

/* --- the rest ----------------------------------------------------------------------------------------------------- */
static void test_states_phases_and_statuses(void **state)
{
    const Manual *m = *state;
    _cleanup_(freep) char *phases = section(m->text[PAGE_DAEMON], "THE PHASES OF A STOP"),
                          *verbs_text = section(m->text[PAGE_TOOL], "VERBS");
    const char *last = phases;
    for (size_t i = 0; i < PHASE_N; i++) {
        _cleanup_(freep) char *head = xasprintf("*%s*\n", phase_names[i]);
        assert_defined(phases, head);
        const char *at = strstr(phases, head);
        assert_true(at > last); /* in their order */
        last = at;
    }
    static const LifecycleState shown[] = {LIFECYCLE_IDLE,     LIFECYCLE_CREATING, LIFECYCLE_RUNNING,
                                           LIFECYCLE_DRAINING, LIFECYCLE_DELETING, LIFECYCLE_FAILED};
    for (size_t i = 0; i < ELEMENTS(shown); i++) {
        _cleanup_(freep) char *word = xasprintf("*%s*", lifecycle_state_name(shown[i]));
        assert_non_null(strstr(verbs_text, word));
    }
    static const int tool[] = {TOOL_DONE, TOOL_FAILED, TOOL_USAGE, TOOL_ABSENT, TOOL_TIMEOUT, TOOL_BAD_CONFIG},
                     daemon[] = {EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_BAD_CONFIG};
    _cleanup_(freep) char *of_tool = section(m->text[PAGE_TOOL], "EXIT STATUS"),
                          *of_daemon = section(m->text[PAGE_DAEMON], "EXIT STATUS");
    for (size_t i = 0; i < ELEMENTS(tool); i++) {
        _cleanup_(freep) char *head = xasprintf("*%d*\n", tool[i]);
        assert_defined(of_tool, head);
    }
    for (size_t i = 0; i < ELEMENTS(daemon); i++) {
        _cleanup_(freep) char *head = xasprintf("*%d*\n", daemon[i]);
        assert_defined(of_daemon, head);
    }
}

/* Loads what a literal block shows, with what it needs beside it. */
static void configuration_is_right(const char *block)
{
    char *dir = config_with_web("");
    config_write(dir, "modules.d/db.ini", "[module]\nexec = /bin/true\n[sandbox]\nuser = root\n");
    if (str_starts(block, "[profile]")) {
        config_write(dir, "profiles/base.ini", "[profile]\nallow = read, execve\n");
        config_write(dir, "profiles/local.ini", block);
        config_write(dir, "modules.d/web.ini.d/1.ini", "[sandbox]\nprofile = local\n");
    } else if (strstr(block, "[defaults]") || strstr(block, "[supervisor]")) {
        config_write(dir, "bulkhead.ini", block);
    } else if (strstr(block, "exec =")) {
        config_write(dir, "profiles/network-server.ini", "[profile]\nallow = read\n");
        config_write(dir, "modules.d/web.ini", block);
        config_write(dir, "common.ini", "[sandbox]\nuser = root\n");
    } else {
        config_write(dir, "modules.d/web.ini.d/1.ini", block);
    }
    policy_free(config_load_good(dir));
    config_free(dir);
}

static void test_configurations_in_examples(void **state)
{
    const Manual *m = *state;
    size_t n = 0;
    for (size_t i = 0; i < PAGE_N; i++) {
        const char *begin = m->text[i], *end;
        for (; (begin = strstr(begin, "\n```\n")); begin = end + 4) {
            begin += 5;
            end = strstr(begin, "\n```");
            assert_non_null(end);
            _cleanup_(freep) char *block = xstrndup(begin, (size_t)(end - begin) + 1);
            if (block[0] == '[') {
                configuration_is_right(block);
                n++;
            }
        }
    }
    assert_true(n >= 5);
}

/* Runs the command; *ret is what it printed, on either stream. Its exit status. */
static int run(const char *command, char **ret)
{
    _cleanup_(freep) char *both = xasprintf("{ %s; } 2>&1", command);
    FILE *f = popen(both, "re");
    assert_non_null(f);
    StrBuf b = STRBUF_NULL;
    char chunk[4096];
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, f)) > 0;)
        strbuf_add(&b, chunk, n);
    *ret = strbuf_take(&b);
    int status = pclose(f);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_generator_refuses(void **state)
{
    const Manual *m = *state;
    static const char *const bad[][2] = {
        {"@@keys nowhere\n@@end\n", "t:1: nothing to list: nowhere\n"},
        {"@@kesy module\n", "t:1: no such list: kesy\n"},
        {"@@keys work\n@@more nothing\n@@end\n", "t:2: the list has no such entry: nothing\n"},
        {"@@keys work\n@@more track\na\n@@more track\nb\n@@end\n", "t:4: a second @@more of: track\n"},
        {"@@keys work\ntext\n@@end\n", "t:2: text within a list, but of no entry (@@more NAME): text\n"},
        {"@@keys work\n", "t:1: a list without its: @@end\n"},
        {"@@more track\n", "t:1: no such list: more\n"},
    };
    char *dir = config_new();
    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        config_write(dir, "t", bad[i][0]);
        _cleanup_(freep) char *command = xasprintf("cd %s && %s/generate t >/dev/null", dir, m->folder), *said = NULL;
        assert_int_equal(run(command, &said), 1);
        assert_string_equal(said, bad[i][1]);
    }
    config_free(dir);
}

static void test_groff_has_no_complaint(void **state)
{
    const Manual *m = *state;
    _cleanup_(freep) char *look = xasprintf("command -v groff && ls %s/%s", m->folder, pages[0]), *there = NULL;
    if (run(look, &there) != 0 && !str_equal(getenv("MUST_WORK"), "1")) {
        print_message("skipped: groff is not installed, or scdoc was not when this was built (tools/setup)\n");
        skip();
    }
    for (size_t i = 0; i < PAGE_N; i++) {
        _cleanup_(freep) char *command = xasprintf("groff -man -ww -Tutf8 -z %s/%s", m->folder, pages[i]), *said = NULL;
        assert_int_equal(run(command, &said), 0);
        assert_string_equal(said, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_key_has_its_text),
        cmocka_unit_test(test_no_key_that_does_not_exist),
        cmocka_unit_test(test_keys_in_the_prose),
        cmocka_unit_test(test_every_kind_of_value),
        cmocka_unit_test(test_every_function_of_the_header),
        cmocka_unit_test(test_keys_of_a_profile),
        cmocka_unit_test(test_every_verb_has_its_text),
        cmocka_unit_test(test_every_option_has_its_text),
        cmocka_unit_test(test_options_and_verbs_in_the_prose),
        cmocka_unit_test(test_commands_in_examples),
        cmocka_unit_test(test_states_phases_and_statuses),
        cmocka_unit_test(test_configurations_in_examples),
        cmocka_unit_test(test_generator_refuses),
        cmocka_unit_test(test_groff_has_no_complaint),
    };
    return cmocka_run_group_tests(tests, open_manual, close_manual);
}
