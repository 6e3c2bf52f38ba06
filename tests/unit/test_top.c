/* `bulkhead top` without a terminal: rows out of two samples, their order, the picture at every width, the keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/json_text.h"
#include "tools/top.h"
#include "tools/view.h"

#define WORK(completed, in_flight, gate, slots)                                                            \
    "{\"started\":9,\"completed\":" completed ",\"errors\":0,\"in_flight\":" in_flight ",\"gate\":\"" gate \
    "\",\"latency\":[" slots "]}"
#define MODULE(name, state, generation, work, cpu, memory, max, pressure, restarts)                                 \
    "{\"name\":\"" name "\",\"state\":\"" state "\",\"group\":\"shop\",\"generation\":" generation                  \
    ",\"restarts\":" restarts ",\"work\":" work ",\"cpu\":{\"usage_usec\":" cpu "},\"memory\":{\"current\":" memory \
    ",\"max\":" max "},\"pressure\":" pressure "}"
#define INSTANCE(uptime, modules) \
    "{\"instance\":\"t\",\"status\":\"healthy\",\"reason\":null,\"uptime_usec\":" uptime ",\"modules\":[" modules "]}"

/* Two seconds lie between them: web has half a CPU and did 100 in 64 to 128 µs, db was started anew, the job has come.
 */
static const char first[] =
    INSTANCE("1000000", MODULE("db", "running", "1", "null", "9000000", "1048576", "null", "null",
                               "0") "," MODULE("web", "running", "1", WORK("50", "2", "open", "0,0,50,0,0,0,0,0"),
                                               "5000000", "33554432", "67108864", "null", "0"));
static const char second[] = INSTANCE(
    "3000000",
    MODULE("db", "running", "2", "null", "200000", "2097152", "null", "{\"cpu\":12.4,\"memory\":45,\"io\":null}",
           "1") "," MODULE("job", "creating", "1", "null", "null", "null", "null", "null",
                           "0") "," MODULE("web", "running", "1", WORK("150", "3", "closed", "0,0,50,0,0,0,100,0"),
                                           "6000000", "60397978", "67108864", "{\"cpu\":0.1,\"memory\":0,\"io\":0}",
                                           "0"));

static const TopHost host_first = {1000, 10000, 2, 3ull << 30, 4ull << 30},
                     host_second = {1500, 12000, 2, 1ull << 30, 4ull << 30};

typedef struct Samples {
    json_t *first, *second;
    TopFrame frame;
} Samples;

static Samples samples(void)
{
    Samples s = {.first = json(first), .second = json(second)};
    top_frame(s.first, &host_first, s.second, &host_second, &s.frame);
    return s;
}

static void samples_done(Samples *s)
{
    top_frame_done(&s->frame);
    json_decref(s->first);
    json_decref(s->second);
}

static void test_host(void **state)
{
    (void)state;
    TopHost h =
        top_host("cpu  100 5 20 800 50 3 2 20 7 0\ncpu0 50 0 0 0 0 0 0 0 0 0\ncpu1 1 2 3 4 5 6 7 8 9 10\nintr 4\n",
                 "MemTotal:        8000 kB\nMemFree: 1 kB\nMemAvailable:    2000 kB\n");
    assert_int_equal(h.cpu_all, 1000);
    assert_int_equal(h.cpu_busy, 150);
    assert_int_equal(h.cpus, 2);
    assert_int_equal(h.memory_total, 8000 * 1024);
    assert_int_equal(h.memory_available, 2000 * 1024);
    h = top_host("", "nonsense\n");
    assert_true(h.cpu_all == UINT64_MAX && h.cpu_busy == UINT64_MAX && h.memory_total == UINT64_MAX);
}

static void test_rows_of_two_samples(void **state)
{
    (void)state;
    Samples s = samples();
    const TopRow *db = &s.frame.rows[0], *job = &s.frame.rows[1], *web = &s.frame.rows[2];
    assert_int_equal(s.frame.interval_usec, 2000000);
    assert_int_equal(s.frame.n_rows, 3);
    assert_string_equal(web->name, "web");
    assert_string_equal(web->state, "gated");
    assert_true(web->cpu > 49.9 && web->cpu < 50.1);
    assert_true(web->rate > 49.9 && web->rate < 50.1);
    assert_int_equal(web->in_flight, 3);
    assert_in_range(web->p50, 64, 128); /* of the interval: the fifty quick ones were before */
    assert_in_range(web->p99, 64, 128);
    assert_true(web->pressure_of == 'c' && web->pressure < 0.2);
    /* Its second generation began in the interval: all that it used was used since. */
    assert_true(db->cpu > 9.9 && db->cpu < 10.1);
    assert_true(db->pressure_of == 'm' && db->pressure > 44);
    assert_true(db->rate < 0 && db->in_flight == UINT64_MAX && db->p99 == UINT64_MAX);
    assert_true(job->cpu < 0 && job->memory == UINT64_MAX && job->pressure < 0);
    assert_true(s.frame.host_cpu > 24.9 && s.frame.host_cpu < 25.1);
    assert_int_equal(s.frame.running, 2);
    assert_int_equal(s.frame.in_flight, 3);
    samples_done(&s);
}

static void test_what_cannot_be_compared_is_unknown(void **state)
{
    (void)state;
    json_t *a = json(first), *b = json(second);
    TopFrame f;
    top_frame(NULL, NULL, a, &host_first, &f); /* one sample alone */
    assert_true(f.interval_usec == 0 && f.rows[1].cpu < 0 && f.rows[1].rate < 0 && f.host_cpu < 0 && f.rate < 0);
    top_frame_done(&f);
    top_frame(b, &host_first, a, &host_second, &f); /* the daemon has begun anew: its clock goes back */
    assert_true(f.interval_usec == 0 && f.rows[1].cpu < 0 && f.rows[1].rate < 0);
    top_frame_done(&f);
    json_object_set_new(json_object_get(json_array_get(json_object_get(b, "modules"), 2), "work"), "completed",
                        json_integer(3)); /* counters that have begun anew */
    top_frame(a, &host_first, b, &host_second, &f);
    assert_true(f.rows[2].rate < 0 && f.rows[2].p50 == UINT64_MAX && f.rows[2].cpu > 0);
    top_frame_done(&f);
    top_frame(NULL, NULL, NULL, &host_first, &f); /* no daemon */
    assert_int_equal(f.n_rows, 0);
    top_frame_done(&f);
    json_decref(a);
    json_decref(b);
}

static void assert_order(Samples *s, TopState *state, const char *expected)
{
    StrBuf b = STRBUF_NULL;
    top_select(&s->frame, state);
    for (size_t i = 0; i < s->frame.n_rows; i++)
        strbuf_addf(&b, "%s%s", i ? " " : "", s->frame.rows[i].name);
    assert_string_equal(b.len ? b.s : "", expected);
    strbuf_done(&b);
}

static void test_order(void **state)
{
    (void)state;
    static const struct {
        TopColumn by;
        const char *order, *reversed;
    } cases[] = {
        {TOP_NAME, "db job web", "web job db"},      {TOP_STATE, "job web db", "db web job"},
        {TOP_CPU, "web db job", "job db web"},       {TOP_MEMORY, "web db job", "job db web"},
        {TOP_IN_FLIGHT, "web db job", "job db web"}, {TOP_RATE, "web db job", "job db web"},
        {TOP_P50, "web db job", "job db web"},       {TOP_P99, "web db job", "job db web"},
        {TOP_PRESSURE, "db web job", "job web db"},  {TOP_RESTARTS, "db job web", "web job db"},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        Samples s = samples();
        TopState by = {.sort = cases[i].by};
        assert_order(&s, &by, cases[i].order);
        by.reverse = true;
        assert_order(&s, &by, cases[i].reversed);
        samples_done(&s);
    }
}

static void test_words_and_filter(void **state)
{
    (void)state;
    static const struct {
        const char *word, *filter, *left;
    } cases[] = {
        {NULL, NULL, "db job web"}, {"web", NULL, "web"}, {"*b", NULL, "db job web"}, {"shop:", NULL, "db job web"},
        {"other:", NULL, ""},       {"we", NULL, ""},     {NULL, "b", "db job web"},  {NULL, "we", "web"},
        {NULL, "j*", "job"},        {"*b", "j", "job"},   {NULL, "shop:w*", "web"},   {NULL, "nothing", ""},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        Samples s = samples();
        char *const words[] = {(char *)(uintptr_t)cases[i].word, NULL};
        TopState only = {.sort = TOP_NAME, .words = words, .filter = (char *)(uintptr_t)cases[i].filter};
        assert_order(&s, &only, cases[i].left);
        samples_done(&s);
    }
}

/* --- the picture -------------------------------------------------------------------------------------------------- */
static char *drawn(const Samples *s, const TopState *state, size_t width, size_t height, size_t *ret_page)
{
    TopText t;
    StrBuf b = STRBUF_NULL;
    top_draw(&s->frame, state, width, height, 0, &t, ret_page);
    top_text_plain(&t, &b);
    top_text_done(&t);
    return strbuf_take(&b);
}

/* From the columns' heads on. */
static void assert_table(const Samples *s, size_t width, const char *expected)
{
    TopState by_cpu = {.sort = TOP_CPU, .interval_usec = USEC_PER_SEC};
    size_t page;
    _cleanup_(freep) char *text = drawn(s, &by_cpu, width, 0, &page);
    const char *table = strstr(text, "NAME");
    assert_non_null(table);
    assert_string_equal(table, expected);
}

static void test_columns_by_width(void **state)
{
    (void)state;
    Samples s = samples();
    assert_table(&s, 80,
                 "NAME         STATE     CPU%    MEMORY LIMIT FLIGHT RATE/s   P50   P99  PRESS RST\n"
                 "db           running   10.0      2.0M            -      -     -     - 45 mem   1\n"
                 "job          creating     -         -            -      -     -     -      -   0\n"
                 "web          gated     50.0   58M/64M #####      3   50.0  96us 127us      0   0\n");
    assert_table(&s, 60,
                 "NAME         STATE     CPU%    MEMORY FLIGHT RATE/s   P99\n"
                 "db           running   10.0      2.0M      -      -     -\n"
                 "job          creating     -         -      -      -     -\n"
                 "web          gated     50.0   58M/64M      3   50.0 127us\n");
    assert_table(&s, 20,
                 "NAME          CPU%\n"
                 "db            10.0\n"
                 "job              -\n"
                 "web           50.0\n");
    assert_table(&s, 6, "NAME\ndb\njob\nweb\n");
    assert_table(&s, 0,
                 "NAME         STATE     CPU%    MEMORY LIMIT                FLIGHT RATE/s   P50   P99  PRESS RST\n"
                 "db           running   10.0      2.0M                           -      -     -     - 45 mem   1\n"
                 "job          creating     -         -                           -      -     -     -      -   0\n"
                 "web          gated     50.0   58M/64M ##################..      3   50.0  96us 127us      0   0\n");
    samples_done(&s);
}

/* Any width and height, any length of name: no line is too long, nor are there too many. */
static void test_every_picture_fits(void **state)
{
    (void)state;
    Samples s = samples();
    char name[64];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    s.frame.rows[1].name = name;
    for (size_t width = 1; width < 200; width += 7)
        for (size_t height = 1; height < 30; height += 4)
            for (int view = 0; view < 4; view++) {
                char *filter = view == 2 ? xstrdup("web") : NULL;
                TopState state_of = {.sort = TOP_P99,
                                     .interval_usec = USEC_PER_SEC,
                                     .help = view == 1,
                                     .typing = filter,
                                     .notice = view == 3 ? "instance 't': the daemon is gone; waiting for it" : NULL};
                size_t page, lines = 1;
                _cleanup_(freep) char *text = drawn(&s, &state_of, width, height, &page);
                for (const char *p = text; *p;) {
                    size_t n = strcspn(p, "\n");
                    assert_in_range(n, 0, width);
                    lines += p[n] == '\n';
                    p += n + (p[n] == '\n');
                }
                assert_in_range(lines, 1, MAX2(height, (size_t)5)); /* a head it always has */
                free(filter);
            }
    samples_done(&s);
}

/* What was scrolled away comes back when there is room for it. */
static void test_nothing_is_scrolled_away_in_vain(void **state)
{
    (void)state;
    Samples s = samples();
    TopState by = {.sort = TOP_NAME, .interval_usec = USEC_PER_SEC, .first = 2};
    size_t page;
    _cleanup_(freep) char *low = drawn(&s, &by, 80, 6, &page);
    assert_int_equal(page, 1);
    assert_true(!strstr(low, "\ndb ") && strstr(low, "\nweb "));
    _cleanup_(freep) char *high = drawn(&s, &by, 80, 24, &page);
    assert_true(strstr(high, "\ndb ") && strstr(high, "\nweb "));
    samples_done(&s);
}

static void test_head(void **state)
{
    (void)state;
    Samples s = samples();
    TopState by = {.sort = TOP_P99, .reverse = true, .interval_usec = 2 * USEC_PER_SEC, .paused = true};
    size_t page;
    _cleanup_(freep) char *text = drawn(&s, &by, 120, 24, &page);
    assert_non_null(strstr(text, "t: healthy, up 3s, 2 of 3 running, 3 in flight, 50.0/s\n"));
    assert_non_null(strstr(text, "host: cpu [###.........] 25% of 2, memory [#########...] 3.0G/4.0G\n"));
    assert_non_null(strstr(text, ", every 2s, by p99 reversed, paused\n"));
    assert_non_null(strstr(text, "q quit"));
    assert_int_equal(page, 24 - 5);
    by.notice = "the daemon is gone";
    _cleanup_(freep) char *gone = drawn(&s, &by, 120, 24, &page);
    assert_int_equal(strncmp(gone, "the daemon is gone\n", 19), 0);
    samples_done(&s);
}

static void test_short_numbers(void **state)
{
    (void)state;
    static const struct {
        uint64_t usec;
        const char *text;
    } spans[] = {{0, "0us"},         {999, "999us"},       {1000, "1.0ms"},       {9949, "9.9ms"},
                 {9960, "10ms"},     {999499, "999ms"},    {999600, "1.0s"},      {59400000, "59s"},
                 {59600000, "1.0m"}, {5400000000, "1.5h"}, {86400000000, "1.0d"}, {8640000000000, "100d"}};
    for (size_t i = 0; i < ELEMENTS(spans); i++) {
        _cleanup_(freep) char *text = top_usec(spans[i].usec);
        assert_string_equal(text, spans[i].text);
    }
    static const struct {
        uint64_t bytes;
        const char *text;
    } sizes[] = {{0, "0B"},         {999, "999B"},           {1000, "1.0K"},
                 {1 << 20, "1.0M"}, {1023ull << 20, "1.0G"}, {10ull << 30, "10G"}};
    for (size_t i = 0; i < ELEMENTS(sizes); i++) {
        _cleanup_(freep) char *text = top_bytes(sizes[i].bytes);
        assert_string_equal(text, sizes[i].text);
    }
    static const struct {
        double v;
        const char *text;
    } numbers[] = {{0, "0.0"}, {99.94, "99.9"}, {99.96, "100"}, {99999, "99999"}, {123456, "123k"}, {1.5e6, "1.5M"}};
    for (size_t i = 0; i < ELEMENTS(numbers); i++) {
        _cleanup_(freep) char *text = top_number(numbers[i].v);
        assert_string_equal(text, numbers[i].text);
    }
    assert_null(top_usec(UINT64_MAX));
    assert_null(top_bytes(UINT64_MAX));
    assert_null(top_number(-1));
    for (uint64_t v = 1; v < UINT64_MAX / 7; v *= 7) {
        _cleanup_(freep) char *bytes = top_bytes(v), *number = top_number((double)v);
        assert_in_range(strlen(bytes), 2, 4);
        assert_in_range(strlen(number), 3, 5);
    }
}

/* --- keys --------------------------------------------------------------------------------------------------------- */
static void type(TopState *s, const char *text)
{
    for (; *text; text++)
        assert_int_equal(top_key(s, *text, 0, 10), TOP_DRAW);
}

static void test_keys_sort(void **state)
{
    (void)state;
    TopState s = {.sort = TOP_CPU, .interval_usec = USEC_PER_SEC};
    for (TopColumn c = 0; c < TOP_COLUMN_N; c++) {
        if (!top_columns[c].key)
            continue;
        s.sort = c == TOP_NAME ? TOP_CPU : TOP_NAME;
        assert_int_equal(top_key(&s, top_columns[c].key, 0, 10), TOP_DRAW);
        assert_int_equal(s.sort, c);
        assert_int_equal(top_column_by_name(top_columns[c].name), c);
    }
    s.sort = TOP_CPU;
    top_key(&s, 'c', 0, 10);
    assert_true(s.reverse); /* the same again */
    top_key(&s, 'r', 0, 10);
    assert_false(s.reverse);
    top_key(&s, TOP_KEY_RIGHT, 0, 10);
    assert_int_equal(s.sort, TOP_MEMORY);
    top_key(&s, TOP_KEY_RIGHT, 0, 10);
    assert_int_equal(s.sort, TOP_IN_FLIGHT); /* not by the bar */
    top_key(&s, TOP_KEY_LEFT, 0, 10);
    assert_int_equal(s.sort, TOP_MEMORY);
    s.sort = TOP_NAME;
    top_key(&s, TOP_KEY_LEFT, 0, 10);
    assert_int_equal(s.sort, TOP_RESTARTS);
    assert_int_equal(top_column_by_name("nothing"), TOP_COLUMN_N);
}

static void test_keys_scroll(void **state)
{
    (void)state;
    static const struct {
        int key;
        size_t first;
    } cases[] = {{TOP_KEY_UP, 0},         {TOP_KEY_DOWN, 1},    {TOP_KEY_DOWN, 2},  {TOP_KEY_UP, 1},
                 {TOP_KEY_PAGE_DOWN, 11}, {TOP_KEY_END, 20},    {TOP_KEY_DOWN, 20}, {TOP_KEY_PAGE_DOWN, 20},
                 {TOP_KEY_PAGE_UP, 10},   {TOP_KEY_PAGE_UP, 0}, {TOP_KEY_END, 20},  {TOP_KEY_HOME, 0}};
    TopState s = {.sort = TOP_CPU};
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        assert_int_equal(top_key(&s, cases[i].key, 30, 10), TOP_DRAW);
        assert_int_equal(s.first, cases[i].first);
    }
    top_key(&s, TOP_KEY_END, 5, 10); /* all are seen */
    assert_int_equal(s.first, 0);
}

static void test_keys_filter(void **state)
{
    (void)state;
    TopState s = {.sort = TOP_CPU, .interval_usec = USEC_PER_SEC, .first = 4};
    type(&s, "/wexq ");
    assert_string_equal(s.typing, "wexq"); /* q is a letter here, a blank is in no name */
    top_key(&s, TOP_KEY_BACKSPACE, 0, 10);
    top_key(&s, TOP_KEY_BACKSPACE, 0, 10);
    top_key(&s, TOP_KEY_UP, 0, 10);
    assert_null(s.filter);
    top_key(&s, TOP_KEY_ENTER, 0, 10);
    assert_string_equal(s.filter, "we");
    assert_true(!s.typing && s.first == 0);
    type(&s, "/web");
    top_key(&s, TOP_KEY_ESCAPE, 0, 10);
    assert_true(!s.typing && !s.filter);
    type(&s, "/");
    for (int i = 0; i < 200; i++)
        top_key(&s, 'a', 0, 10);
    assert_in_range(strlen(s.typing), 60, 70);
    for (int i = 0; i < 200; i++)
        top_key(&s, TOP_KEY_BACKSPACE, 0, 10);
    top_key(&s, TOP_KEY_ENTER, 0, 10);
    assert_null(s.filter); /* nothing was typed */
    top_state_done(&s);
}

static void test_other_keys(void **state)
{
    (void)state;
    TopState s = {.sort = TOP_CPU, .interval_usec = USEC_PER_SEC};
    assert_int_equal(top_key(&s, 'q', 0, 10), TOP_QUIT);
    assert_int_equal(top_key(&s, '!', 0, 10), TOP_NOTHING);
    assert_int_equal(top_key(&s, ' ', 0, 10), TOP_DRAW);
    assert_true(s.paused);
    assert_int_equal(top_key(&s, ' ', 0, 10), TOP_SAMPLE);
    assert_int_equal(top_key(&s, '?', 0, 10), TOP_DRAW);
    assert_true(s.help);
    assert_int_equal(top_key(&s, 'm', 0, 10), TOP_DRAW);
    assert_true(!s.help && s.sort == TOP_CPU); /* it only went back */
    top_key(&s, '+', 0, 10);
    assert_int_equal(s.interval_usec, 2 * USEC_PER_SEC);
    for (int i = 0; i < 20; i++)
        top_key(&s, '-', 0, 10);
    assert_int_equal(s.interval_usec, USEC_PER_SEC / 10);
    for (int i = 0; i < 20; i++)
        top_key(&s, '+', 0, 10);
    assert_int_equal(s.interval_usec, 3600 * USEC_PER_SEC);
}

static void test_json(void **state)
{
    (void)state;
    Samples s = samples();
    TopState by = {.sort = TOP_CPU};
    top_select(&s.frame, &by);
    json_t *line = top_json(&s.frame, 1700000000000000);
    const json_t *web = json_array_get(json_object_get(line, "modules"), 0);
    assert_int_equal(member_number(line, "interval_usec"), 2000000);
    assert_string_equal(member_string(line, "instance"), "t");
    assert_string_equal(member_string(web, "name"), "web");
    assert_true(json_real_value(json_object_get(web, "cpu_percent")) == 50.0);
    assert_int_equal(member_number(web, "in_flight"), 3);
    assert_true(json_real_value(json_object_get(json_object_get(web, "pressure"), "cpu")) == 0.1);
    const json_t *job = json_array_get(json_object_get(line, "modules"), 2);
    assert_true(json_is_null(json_object_get(job, "cpu_percent")) && json_is_null(json_object_get(job, "pressure")));
    json_decref(line);
    samples_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_host),
        cmocka_unit_test(test_rows_of_two_samples),
        cmocka_unit_test(test_what_cannot_be_compared_is_unknown),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_words_and_filter),
        cmocka_unit_test(test_columns_by_width),
        cmocka_unit_test(test_every_picture_fits),
        cmocka_unit_test(test_nothing_is_scrolled_away_in_vain),
        cmocka_unit_test(test_head),
        cmocka_unit_test(test_short_numbers),
        cmocka_unit_test(test_keys_sort),
        cmocka_unit_test(test_keys_scroll),
        cmocka_unit_test(test_keys_filter),
        cmocka_unit_test(test_other_keys),
        cmocka_unit_test(test_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
