/* Gates and drains in words: the bar, the state, what holds one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tests/unit/json_text.h"
#include "tools/view.h"

static const uint64_t NOW = 1700000000ull * USEC_PER_SEC;

static void progress(void **state)
{
    (void)state;
    static const struct {
        const char *detail, *line;
    } rows[] = {
        {"{}", "web: drain"},
        {"{\"in_flight\":3,\"left_usec\":25500000}", "web: drain, 3 in flight, at most 26s more"},
        {"{\"in_flight\":3,\"begun_with\":12,\"left_usec\":900000,\"oldest_usec\":1234567}",
         "web: drain [#######...] 3 of 12 in flight, oldest 1.2s, at most 1s more"},
        {"{\"in_flight\":12,\"begun_with\":12,\"left_usec\":null,\"oldest_usec\":1234}",
         "web: drain [..........] 12 of 12 in flight, oldest 1ms"},
        {"{\"in_flight\":0,\"begun_with\":12,\"oldest_usec\":null}", "web: drain [##########] 0 of 12 in flight"},
        {"{\"in_flight\":0,\"begun_with\":0,\"oldest_usec\":5}", "web: drain [##########] 0 of 0 in flight"},
        {"{\"in_flight\":14,\"begun_with\":12}", "web: drain [..........] 14 of 14 in flight"},
    };
    for (size_t i = 0; i < ELEMENTS(rows); i++) {
        json_t *detail = json(rows[i].detail);
        _cleanup_(freep) char *line = view_drain("web", detail);
        assert_string_equal(line, rows[i].line);
        json_decref(detail);
    }
    json_t *event = json("{\"module\":\"web\",\"event\":\"drain-timed-out\",\"detail\":{}}");
    _cleanup_(freep) char *line = view_progress(event);
    assert_string_equal(line, "web: drain-timed-out");
    json_decref(event);
}

static void states(void **state)
{
    (void)state;
    static const struct {
        const char *module, *word;
    } rows[] = {
        {"{\"state\":\"running\",\"gate\":null}", "running"},
        {"{\"state\":\"running\"}", "running"},
        {"{}", "?"},
        {"{\"state\":\"running\",\"gate\":{\"state\":\"draining\"}}", "draining"},
        {"{\"state\":\"running\",\"gate\":{\"state\":\"drained\"}}", "drained"},
        {"{\"state\":\"running\",\"gate\":{\"state\":\"closed\"}}", "gated"},
        {"{\"state\":\"deleting\",\"gate\":{\"state\":\"closed\"}}", "deleting"},
    };
    for (size_t i = 0; i < ELEMENTS(rows); i++) {
        json_t *m = json(rows[i].module);
        assert_string_equal(view_state(m), rows[i].word);
        json_decref(m);
    }
}

static void gates(void **state)
{
    (void)state;
#define CONNECTION(peer, more) "{\"what\":\"connection\",\"peer\":\"" peer "\",\"local\":\"127.0.0.1:80\"," more "}"
    static const struct {
        const char *explain, *text;
    } rows[] = {
        {"{\"module\":\"web\",\"gate\":null,\"holding\":null}", ""},
        {"{\"module\":\"web\",\"gate\":null,\"holding\":[{\"what\":\"calls\",\"in_flight\":2}]}",
         "Its last drain did not finish. What it still had:\n    2 of calls\n"},
        {"{\"module\":\"web\",\"gate\":{\"state\":\"drained\",\"by\":\"hand\",\"since_usec\":1699999997000000},"
         "\"holding\":[]}",
         "Its gate is closed, for 3s now: new work waits outside, until `bulkhead drain --undo web` or a start lets it "
         "in.\n"
         "It is drained: nothing is in flight.\n"},
        {"{\"module\":\"web\",\"gate\":{\"state\":\"draining\",\"by\":\"stop\",\"since_usec\":1699999999500000},"
         "\"holding\":[" CONNECTION(
             "10.0.0.1:4242",
             "\"state\":\"busy\",\"age_usec\":61000000,\"busy_usec\":1250000,"
             "\"unread\":0,\"unsent\":7") "," CONNECTION("[::1]:5\\u001b[31m",
                                                         "\"state\":\"unread\",\"age_usec\":500,\"busy_usec\":null,"
                                                         "\"unread\":9,\"unsent\":0") "]}",
         "Its gate is closed, for 500ms now: new work waits outside.\nWhat holds the drain:\n"
         "    10.0.0.1:4242 to 127.0.0.1:80: busy for 1.2s, open for 1m 1s, 7 bytes unsent\n"
         "    [::1]:5\\x1b[31m to 127.0.0.1:80: unread, open for 0s, 9 bytes unread\n"},
        {"{\"module\":\"web\",\"gate\":{\"state\":\"closed\",\"by\":\"hand\",\"since_usec\":null},\"holding\":["
         "{\"what\":\"api\",\"in_flight\":1},{\"what\":\"api\",\"in_flight\":2},{\"what\":\"api\",\"in_flight\":3},"
         "{\"what\":\"api\",\"in_flight\":4},{\"what\":\"api\",\"in_flight\":5},{\"what\":\"api\",\"in_flight\":6}]}",
         "Its gate is closed: new work waits outside, until `bulkhead drain --undo web` or a start lets it in.\n"
         "What is still in flight:\n    1 of api\n    2 of api\n    3 of api\n    4 of api\n    5 of api\n    and 1 "
         "more\n"},
    };
#undef CONNECTION
    View v = {.now = NOW};
    for (size_t i = 0; i < ELEMENTS(rows); i++) {
        json_t *x = json(rows[i].explain);
        _cleanup_strbuf_ StrBuf b = STRBUF_NULL;
        view_gate(&b, x, &v);
        assert_string_equal(b.s ? b.s : "", rows[i].text);
        json_decref(x);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(progress),
        cmocka_unit_test(states),
        cmocka_unit_test(gates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
