/* Tables: widths, sides, cutting, colours, to the last blank. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "tools/table.h"

static const TableColumn columns[] = {
    {.title = "NAME", .shrinks = true}, {.title = "N", .right = true}, {.title = "NOTE", .shrinks = true}};

static Table sample(void)
{
    Table t = table_new(columns, ELEMENTS(columns));
    table_add(&t, xstrdup("web"), COLOUR_NONE);
    table_add(&t, xstrdup("7"), COLOUR_GREEN);
    table_add(&t, NULL, COLOUR_NONE);
    table_add(&t, xstrdup("a-long-name"), COLOUR_NONE);
    table_add(&t, xstrdup("1234"), COLOUR_NONE);
    table_add(&t, xstrdup("next start in 8s"), COLOUR_NONE);
    return t;
}

static void assert_table(const Table *t, size_t width, bool colours, const char *expected)
{
    _cleanup_strbuf_ StrBuf b = STRBUF_NULL;
    table_print(t, width, colours, &b);
    assert_string_equal(b.s, expected);
}

static void test_natural_widths(void **state)
{
    (void)state;
    _cleanup_table_ Table t = sample();
    assert_table(&t, 0, false,
                 "NAME            N  NOTE\n"
                 "web             7\n"
                 "a-long-name  1234  next start in 8s\n");
}

static void test_what_can_be_spared_goes_before_anything_is_cut(void **state)
{
    (void)state;
    static const TableColumn some[] = {
        {.title = "NAME", .shrinks = true}, {.title = "ONE", .spare = 1}, {.title = "TWO", .spare = 2}};
    _cleanup_table_ Table t = table_new(some, ELEMENTS(some));
    table_add(&t, xstrdup("a-long-name"), COLOUR_NONE);
    table_add(&t, xstrdup("1"), COLOUR_NONE);
    table_add(&t, xstrdup("2"), COLOUR_NONE);
    assert_table(&t, 21, false, "NAME         ONE  TWO\na-long-name  1    2\n");
    assert_table(&t, 20, false, "NAME         ONE\na-long-name  1\n");
    assert_table(&t, 15, false, "NAME\na-long-name\n");
    assert_table(&t, 8, false, "NAME\na-long..\n");
}

static void test_last_column_is_cut_first(void **state)
{
    (void)state;
    _cleanup_table_ Table t = sample();
    assert_table(&t, 30, false,
                 "NAME            N  NOTE\n"
                 "web             7\n"
                 "a-long-name  1234  next star..\n");
    assert_table(&t, 20, false,
                 "NAME       N  NOTE\n"
                 "web        7\n"
                 "a-lo..  1234  next..\n");
    /* Narrower than it can get: no column vanishes. */
    assert_table(&t, 3, false,
                 "NAME       N  NOTE\n"
                 "web        7\n"
                 "a-lo..  1234  next..\n");
}

static void test_hidden_columns(void **state)
{
    (void)state;
    _cleanup_table_ Table t = table_new(columns, ELEMENTS(columns));
    table_add(&t, xstrdup("web"), COLOUR_NONE);
    table_add(&t, xstrdup("0"), COLOUR_NONE);
    table_add(&t, NULL, COLOUR_NONE);
    table_hide_empty(&t, 0, "0");
    table_hide_empty(&t, 1, "0");
    table_hide_empty(&t, 2, NULL);
    assert_table(&t, 0, false, "NAME\nweb\n");
}

static void test_colours_do_not_count(void **state)
{
    (void)state;
    _cleanup_table_ Table t = sample();
    assert_table(&t, 0, true,
                 "\033[2mNAME\033[0m            \033[2mN\033[0m  \033[2mNOTE\033[0m\n"
                 "web             \033[32m7\033[0m\n"
                 "a-long-name  1234  next start in 8s\n");
}

static void test_utf8_is_counted_and_cut_by_characters(void **state)
{
    (void)state;
    static const TableColumn two[] = {{.title = "WORD", .shrinks = true}, {.title = "N", .right = true}};
    _cleanup_table_ Table t = table_new(two, ELEMENTS(two));
    table_add(&t, xstrdup("größer"), COLOUR_NONE);
    table_add(&t, xstrdup("1"), COLOUR_NONE);
    table_add(&t, xstrdup("übergroßes"), COLOUR_NONE);
    table_add(&t, xstrdup("2"), COLOUR_NONE);
    assert_int_equal(text_width("größer"), 6);
    assert_table(&t, 11, false,
                 "WORD      N\n"
                 "größer    1\n"
                 "übergr..  2\n");
}

static void test_empty_table(void **state)
{
    (void)state;
    _cleanup_table_ Table t = table_new(columns, ELEMENTS(columns));
    assert_table(&t, 80, false, "NAME  N  NOTE\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_natural_widths),
        cmocka_unit_test(test_what_can_be_spared_goes_before_anything_is_cut),
        cmocka_unit_test(test_last_column_is_cut_first),
        cmocka_unit_test(test_hidden_columns),
        cmocka_unit_test(test_colours_do_not_count),
        cmocka_unit_test(test_utf8_is_counted_and_cut_by_characters),
        cmocka_unit_test(test_empty_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
