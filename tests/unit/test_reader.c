/* The reader: what reaches the handler, what is refused, each trap of inih, and bytes that no one would write. */
#include "tests/unit/config_dir.h"

#include <stdlib.h>

#include "base/clock.h"
#include "policies/environment.h"
#include "policies/reader.h"

static void record(void *user, const char *section, const char *key, const char *value, unsigned line)
{
    StrBuf *b = user;
    if (key)
        strbuf_addf(b, "%u %s.%s=<%s>\n", line, section, key, value);
    else
        strbuf_addf(b, "%u [%s]\n", line, section);
}

/* What the handler sees, then what is complained about, of `data`. */
static char *read_all(const char *data, size_t size, ReaderFlags flags)
{
    StrBuf b = STRBUF_NULL;
    _cleanup_complaints_ Complaints c = {0};
    int r = reader_bytes(data, size, "f", flags, record, &b, &c);
    assert_int_equal(r, c.n ? -EINVAL : 0);
    for (size_t i = 0; i < c.n; i++) {
        _cleanup_(freep) char *line = complaint_format(&c.items[i]);
        strbuf_addf(&b, "%s\n", line);
    }
    return strbuf_take(&b);
}

static void expect(const char *data, const char *seen)
{
    _cleanup_(freep) char *got = read_all(data, strlen(data), 0);
    assert_string_equal(got, seen);
}

static void test_plain(void **state)
{
    (void)state;
    expect("", "");
    expect("\n\n", "");
    expect("[a]", "1 [a]\n");
    expect("[a]\nk = v\nother=x y\t\nempty =\n\n; c\n# c\n[b]\nk=v", "1 [a]\n2 a.k=<v>\n3 a.other=<x y>\n4 a.empty=<>\n"
                                                                     "8 [b]\n9 b.k=<v>\n");
    expect("[a]\r\nk = v\r\n", "1 [a]\n2 a.k=<v>\n");
    expect("[a]\nk = v\n[b]\nk = v\n[a]\nl = v\n", "1 [a]\n2 a.k=<v>\n3 [b]\n4 b.k=<v>\n5 [a]\n6 a.l=<v>\n");
}

/* inih would cut, split or swallow these. */
static void test_values_arrive_whole(void **state)
{
    (void)state;
    expect("[a]\nk = v ; no comment\nl = ;\nm = # x\nn = a=b:c\n",
           "1 [a]\n2 a.k=<v ; no comment>\n3 a.l=<;>\n4 a.m=<# x>\n5 a.n=<a=b:c>\n");
    expect("[a]\nk = \"[b]\"\nl = [b]\n", "1 [a]\n2 a.k=<\"[b]\">\n3 a.l=<[b]>\n");
    for (size_t n = 150; n < 260; n++) { /* around inih's 200 bytes a line */
        _cleanup_(freep) char *x = xcalloc(1, n + 1);
        memset(x, 'x', n);
        _cleanup_(freep) char *text = xasprintf("[a]\nk = %suser=root\n[b]\nl = 1\n", x);
        _cleanup_(freep) char *seen = xasprintf("1 [a]\n2 a.k=<%suser=root>\n3 [b]\n4 b.l=<1>\n", x);
        expect(text, seen);
    }
}

static void test_longest_value(void **state)
{
    (void)state;
    for (size_t n = READER_VALUE_MAX - 1; n <= READER_VALUE_MAX + 1; n++) {
        _cleanup_(freep) char *x = xcalloc(1, n + 1);
        memset(x, 'x', n);
        _cleanup_(freep) char *text = xasprintf("[a]\nk = %s\nl = 1\n", x);
        _cleanup_(freep) char *seen = n > READER_VALUE_MAX
                                          ? xstrdup("1 [a]\n3 a.l=<1>\nf:2: a.k: the value is longer than 64 KiB\n")
                                          : xasprintf("1 [a]\n2 a.k=<%s>\n3 a.l=<1>\n", x);
        expect(text, seen);
    }
}

/* Keys under a broken section line belong neither to it nor to the section before. */
static void test_broken_section_hides_its_keys(void **state)
{
    (void)state;
    expect("[a]\nk = 1\n[b\nk = 2\n[c]\nk = 3\n",
           "1 [a]\n2 a.k=<1>\n5 [c]\n6 c.k=<3>\nf:3: the section line has no ']' ([name])\n");
    expect("[]\nk = 1\n", "f:1: '[]' is no section name (letters, digits, '_' and '-')\n");
}

static void test_names(void **state)
{
    (void)state;
    _cleanup_(freep) char *section49 = xasprintf("[%049d]\nk = 1\n", 0);
    _cleanup_(freep) char *seen49 = xasprintf("1 [%049d]\n2 %049d.k=<1>\n", 0, 0);
    expect(section49, seen49);
    _cleanup_(freep) char *section50 = xasprintf("[%050d]\nk = 1\n", 0);
    expect(section50, "f:1: the section's name is longer than 49 bytes\n");
    _cleanup_(freep) char *key64 = xasprintf("[a]\n%064d = 1\n", 0);
    _cleanup_(freep) char *seen64 = xasprintf("1 [a]\n2 a.%064d=<1>\n", 0);
    expect(key64, seen64);
    _cleanup_(freep) char *key65 = xasprintf("[a]\n%065d = 1\n", 0);
    _cleanup_(freep) char *seen65 =
        xasprintf("1 [a]\nf:2: '%064d' is no key (at most 64 letters, digits, '_', '-' and '.')\n", 0);
    expect(key65, seen65);
    expect("[a]\nA.b_c-9 = 1\n", "1 [a]\n2 a.A.b_c-9=<1>\n");
}

static void test_nul(void **state)
{
    (void)state;
    static const char data[] = "[a]\nk = 1\0user = root\nl = 2\n";
    _cleanup_(freep) char *got = read_all(data, sizeof data - 1, 0);
    assert_string_equal(got, "1 [a]\n3 a.l=<2>\nf:2: NUL byte in the line (remove it)\n");
    static const char comment[] = ";\0\n";
    _cleanup_(freep) char *other = read_all(comment, sizeof comment - 1, 0);
    assert_string_equal(other, "f:1: NUL byte in the line (remove it)\n");
}

static void test_repeat_flag(void **state)
{
    (void)state;
    static const char data[] = "[a]\nk = 1\nk = 2\n";
    _cleanup_(freep) char *strict = read_all(data, sizeof data - 1, 0);
    assert_string_equal(strict, "1 [a]\n2 a.k=<1>\nf:3: a.k: written twice (line 2 has it already; keep one)\n");
    _cleanup_(freep) char *loose = read_all(data, sizeof data - 1, READER_REPEAT);
    assert_string_equal(loose, "1 [a]\n2 a.k=<1>\n3 a.k=<2>\n");
}

static void test_file_too_large(void **state)
{
    (void)state;
    char *dir = config_new();
    _cleanup_(freep) char *big = xcalloc(1, READER_FILE_MAX + 1);
    memset(big, '\n', READER_FILE_MAX + 1);
    config_write_bytes(dir, "modules.d/a.ini", big, READER_FILE_MAX + 1);
    _cleanup_complaints_ Complaints c = {0};
    _cleanup_(freep) char *path = xasprintf("%s/modules.d/a.ini", dir);
    StrBuf b = STRBUF_NULL;
    assert_int_equal(reader_file(AT_FDCWD, path, "f", 0, record, &b, &c), -EINVAL);
    assert_int_equal(c.n, 1);
    assert_string_equal(c.items[0].message, "larger than 1024 KiB");
    config_write_bytes(dir, "modules.d/a.ini", big, READER_FILE_MAX);
    assert_int_equal(reader_file(AT_FDCWD, path, "f", 0, record, &b, &c), 0);
    assert_int_equal(reader_file(AT_FDCWD, "/nonexistent", "f", 0, record, &b, &c), -ENOENT);
    assert_int_equal(c.n, 1);
    config_free(dir);
}

static void test_complaints(void **state)
{
    (void)state;
    _cleanup_complaints_ Complaints c = {0};
    complaints_add(&c, "b", 2, NULL, "x");
    complaints_add(&c, "b", 1, "s.k", "y %d", 5);
    complaints_add(&c, "a\n", 10, "s", "z");
    complaints_add(&c, "b", 1, "s.k", "y 5");
    complaints_add(&c, "b", 0, NULL, "w");
    complaints_sort(&c);
    static const char *const lines[] = {"a?:10: s: z", "b: w", "b:1: s.k: y 5", "b:2: x"};
    assert_int_equal(c.n, ELEMENTS(lines));
    for (size_t i = 0; i < c.n; i++) {
        _cleanup_(freep) char *line = complaint_format(&c.items[i]);
        assert_string_equal(line, lines[i]);
    }
    for (int i = 0; i < 20; i++) /* the list still grows after it has shrunk */
        complaints_add(&c, "c", 0, NULL, "%d", i);
    assert_int_equal(c.n, 24);
}

static void test_environment_file(void **state)
{
    (void)state;
    static const char text[] =
        "# c\n\nA=1\nB = 2\n  C=  three words \t\r\nD=\"q \\\" \\\\ \\n\" \nE='a\"\\'\nA=last\nF=\nG=a'b'\n";
    _cleanup_complaints_ Complaints c = {0};
    _cleanup_strv_ char **env = NULL;
    assert_int_equal(environment_parse(text, sizeof text - 1, "e", &env, &c), -EINVAL);
    assert_int_equal(c.n, 1); /* B = 2: a blank in the name */
    assert_int_equal(c.items[0].line, 4);
    _cleanup_(freep) char *fine = xstrdup(text);
    config_replace(&fine, "B = 2", "B=2");
    assert_int_equal(environment_parse(fine, strlen(fine), "e", &env, &c), 0);
    _cleanup_(freep) char *joined = strv_join(env, "|");
    assert_string_equal(joined, "A=last|B=2|C=three words|D=q \" \\ \\n|E=a\"\\|F=|G=a'b'");
    static const char nul[] = "A=1\0\n";
    assert_int_equal(environment_parse(nul, sizeof nul - 1, "e", &env, &c), -EINVAL);

    char *own[] = {"B=mine", "Z=new", NULL};
    _cleanup_strv_ char **merged = environment_merge(env, own);
    _cleanup_(freep) char *all = strv_join(merged, "|");
    assert_string_equal(all, "A=last|B=mine|C=three words|D=q \" \\ \\n|E=a\"\\|F=|G=a'b'|Z=new");
}

static uint64_t random_state;
static uint32_t next_random(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33);
}

/* Changes a few bytes; what is likely to matter to a parser more often than chance would. */
static void mutate(char *data, size_t *size, size_t capacity)
{
    static const char spice[] = "[]=;:#\n\r\t \"'\\%${}\0,.\xef\xbb\xbf\xff-0";
    for (unsigned n = next_random() % 8 + 1; n > 0 && *size > 0; n--) {
        size_t at = next_random() % *size;
        char c = next_random() % 3 ? spice[next_random() % (sizeof spice - 1)] : (char)next_random();
        switch (next_random() % 3) {
        case 0:
            data[at] = c;
            break;
        case 1:
            memmove(data + at, data + at + 1, *size - at - 1);
            --*size;
            break;
        default:
            if (*size == capacity)
                break;
            memmove(data + at + 1, data + at, *size - at);
            data[at] = c;
            ++*size;
        }
    }
}

/* Nothing crashes, and a file is either understood or complained about; sanitizers see to the rest. */
static void test_mutations(void **state)
{
    (void)state;
    const char *seed = getenv("BULKHEAD_TEST_SEED");
    random_state = seed ? strtoull(seed, NULL, 10) : now_monotonic();
    print_message("BULKHEAD_TEST_SEED=%llu\n", (unsigned long long)random_state);
    _cleanup_(freep) char *good = NULL;
    size_t good_size;
    assert_int_equal(
        file_read_all(AT_FDCWD, "tests/data/good/everything/modules.d/web.ini", 1 << 20, &good, &good_size), 0);
    size_t capacity = good_size + 64;
    _cleanup_(freep) char *data = xcalloc(1, capacity);
    char *dir = config_new();
    config_copy("tests/data/good/everything", dir, "");
    unsigned refused = 0;
    for (int round = 0; round < 400; round++) {
        size_t size = good_size;
        memcpy(data, good, size);
        mutate(data, &size, capacity);
        config_write_bytes(dir, "modules.d/web.ini", data, size);
        _cleanup_(freep) char *text = NULL;
        Policy *p = config_load(dir, &text);
        refused += p == NULL;
        policy_free(p);
    }
    assert_true(refused > 0);
    config_free(dir);
    for (int round = 0; round < 2000; round++) {
        size_t size = next_random() % 300;
        for (size_t i = 0; i < size; i++)
            data[i] = round % 2 ? (char)next_random() : "[]=;:#\n\r ax\"\0"[next_random() % 13];
        _cleanup_(freep) char *got = read_all(data, size, 0);
        _cleanup_complaints_ Complaints c = {0};
        _cleanup_strv_ char **env = NULL;
        environment_parse(data, size, "e", &env, &c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),         cmocka_unit_test(test_values_arrive_whole),
        cmocka_unit_test(test_longest_value), cmocka_unit_test(test_broken_section_hides_its_keys),
        cmocka_unit_test(test_names),         cmocka_unit_test(test_nul),
        cmocka_unit_test(test_repeat_flag),   cmocka_unit_test(test_file_too_large),
        cmocka_unit_test(test_complaints),    cmocka_unit_test(test_environment_file),
        cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
