/* What the D-Bus face says and does, asked by sd-bus and by the ordinary command-line clients. */
#include "tests/unit/control_server.h"

static void test_reading(void **state)
{
    sd_bus *bus = client(*state);
    assert_non_null(bus);
    assert_call(bus, "GetStatus", "", "{\"instance\":\"t\",\"status\":\"degraded\",\"modules\":[\"all\"]}");
    assert_call(bus, "GetStatus", "web", "{\"instance\":\"t\",\"status\":\"degraded\",\"modules\":[\"web\"]}");
    assert_call(bus, "GetStatus", "wbe", "org.bulkhead1.Error.NoSuchModule");
    assert_call(bus, "Explain", "web", "{\"module\":\"web\"}");
    assert_call(bus, "Explain", "", "org.bulkhead1.Error.NoSuchModule");
    assert_call(bus, "GetNames", NULL, "{\"modules\":[],\"templates\":[{\"name\":\"worker\",\"instances\":3}]}");
    assert_call(bus, "GetUsage", NULL, "{\"modules\":[]}");
    assert_call(bus, "GetPlan", NULL, "{\"order\":[\"db\",\"web\"]}");
    assert_call(bus, "GetPlanText", NULL, "start order\n   1  db\n");
    assert_call(bus, "GetGraph", NULL, "digraph { web -> db }");

    sd_bus_message *reply = NULL;
    char **lines = NULL;
    assert_true(sd_bus_call_method(bus, NULL, PATH, MANAGER, "GetEvents", NULL, &reply, "t", UINT64_C(2)) >= 0);
    assert_true(sd_bus_message_read_strv(reply, &lines) >= 0);
    assert_int_equal(strv_length(lines), 2);
    assert_string_equal(lines[1], "{\"time_usec\":1}");
    strv_free(lines);
    sd_bus_message_unref(reply);

    assert_true(sd_bus_call_method(bus, NULL, PATH, MANAGER, "ListModules", NULL, &reply, "") >= 0);
    assert_true(sd_bus_message_enter_container(reply, 'a', "(sssttu)") > 0);
    const char *name, *module_state, *module_health;
    uint64_t generation, restarts;
    uint32_t pid;
    size_t n = 0;
    while (sd_bus_message_read(reply, "(sssttu)", &name, &module_state, &module_health, &generation, &restarts, &pid) >
           0) {
        assert_string_equal(name, names[n++]);
        assert_string_equal(module_state, "idle");
        assert_string_equal(module_health, "unknown");
        assert_true(generation == 7 && restarts == 2 && pid == 4711);
    }
    assert_int_equal(n, ELEMENTS(names));
    sd_bus_message_unref(reply);

    static const char *const properties[][2] = {{"Version", "1.2.3"}, {"Instance", "t"}, {"Status", "degraded"}};
    for (size_t i = 0; i < ELEMENTS(properties); i++) {
        char *value = NULL;
        assert_true(sd_bus_get_property_string(bus, NULL, PATH, MANAGER, properties[i][0], NULL, &value) >= 0);
        assert_string_equal(value, properties[i][1]);
        free(value);
    }
    sd_bus_close_unref(bus);
}

/* OpenLog's kind, and what came with it: an fd (kept open in *ret_fd) or text. */
static int open_log_of(sd_bus *bus, const char *module, char *ret_kind, char *ret_text, int *ret_fd)
{
    sd_bus_message *reply = NULL;
    sd_bus_error error = SD_BUS_ERROR_NULL;
    const char *kind = "", *text = "";
    *ret_fd = -1;
    int r = sd_bus_call_method(bus, NULL, PATH, MANAGER, "OpenLog", &error, &reply, "s", module);
    if (r >= 0 && (r = sd_bus_message_read(reply, "s", &kind)) >= 0) {
        int fd = -1;
        if (strcmp(kind, "file") == 0) {
            r = sd_bus_message_read(reply, "v", "h", &fd);
            *ret_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        } else {
            r = sd_bus_message_read(reply, "v", "s", &text);
        }
    }
    snprintf(ret_kind, 32, "%s", kind);
    snprintf(ret_text, 128, "%s", r < 0 ? str_or(error.message, "?") : text);
    sd_bus_error_free(&error);
    sd_bus_message_unref(reply);
    return r < 0 ? r : 0;
}

static void test_logs(void **state)
{
    sd_bus *bus = client(*state);
    char kind[32], text[128];
    int fd;
    assert_int_equal(open_log_of(bus, "web", kind, text, &fd), 0);
    assert_string_equal(kind, "file");
    assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    close(fd);
    assert_int_equal(open_log_of(bus, "db", kind, text, &fd), 0);
    assert_string_equal(kind, "journal");
    assert_string_equal(text, "bulkhead-db");
    assert_true(open_log_of(bus, "bad", kind, text, &fd) < 0);
    assert_string_equal(text, "bad has logged nothing yet");
    assert_true(open_log_of(bus, "slow", kind, text, &fd) < 0);
    assert_string_equal(text, "the log is not open for reading");
    static const struct {
        const char *stream;
        int number;
        const char *error; /* NULL = a descriptor */
    } files[] = {{"stdout", 0, NULL},
                 {"stdout", -1, NULL},
                 {"stdout", 2, "the log is not open for reading"},
                 {"stdout", 3, "there is no file 3"},
                 {"stderr", 0, "there is no file 0"},
                 {"stdin", 0, "the stream is stdout or stderr"}};
    for (size_t i = 0; i < ELEMENTS(files); i++) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *reply = NULL;
        int r = sd_bus_call_method(bus, NULL, PATH, MANAGER, "OpenLogFile", &error, &reply, "ssi", "web",
                                   files[i].stream, files[i].number);
        assert_int_equal(r < 0, files[i].error != NULL);
        if (files[i].error)
            assert_string_equal(error.message, files[i].error);
        else
            assert_true(sd_bus_message_read(reply, "h", &fd) > 0 && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY);
        sd_bus_error_free(&error);
        sd_bus_message_unref(reply);
    }
    sd_bus_close_unref(bus);
}

static void test_acting_and_signals(void **state)
{
    sd_bus *bus = client(*state), *watcher = client(*state);
    Seen seen = {0};
    char error[128];
    assert_true(sd_bus_match_signal(watcher, NULL, NULL, PATH, MANAGER, "Event", on_event, &seen) >= 0);
    assert_true(sd_bus_match_signal(watcher, NULL, NULL, PATH, MANAGER, "ModuleChanged", on_changed, &seen) >= 0);
    /* A first answer proves that the server has let it in, so that no signal can be missed. */
    assert_call(watcher, "GetGraph", NULL, "digraph { web -> db }");

    assert_int_equal(call_st(bus, "StartModule", "web", CONTROL_NO_BLOCK, error, sizeof error), 0);
    process_until(watcher, &seen.events, 1);
    assert_string_equal(seen.event, "{\"verb\":0,\"signal\":0,\"flags\":1,\"uid\":0}");
    process_until(watcher, &seen.events, 2); /* the second signal follows at once; nothing more comes */
    assert_string_equal(seen.changed, "web idle creating 8");

    assert_int_equal(call_st(bus, "StopModule", "web", CONTROL_CASCADE, error, sizeof error), 0);
    assert_int_equal(call_st(bus, "RestartModule", "web", 0, error, sizeof error), 0);
    assert_true(
        sd_bus_call_method(bus, NULL, PATH, MANAGER, "KillModule", NULL, NULL, "sit", "web", SIGHUP, UINT64_C(0)) >= 0);
    seen.events = 0;
    process_until(watcher, &seen.events, 3);
    assert_string_equal(seen.event, "{\"verb\":3,\"signal\":1,\"flags\":0,\"uid\":0}");

    /* A template is no module: the host alone knows whether it is there. */
    seen.events = 0;
    assert_true(sd_bus_call_method(bus, NULL, PATH, MANAGER, "ScaleModule", NULL, NULL, "sut", "worker", UINT32_MAX,
                                   UINT64_C(1)) >= 0);
    process_until(watcher, &seen.events, 1);
    assert_string_equal(seen.event, "{\"verb\":4,\"signal\":2147483647,\"flags\":1,\"uid\":0}");

    assert_int_equal(call_st(bus, "StartModule", "bad", 0, error, sizeof error), 1);
    assert_string_equal(error, "org.bulkhead1.Error.Failed");
    assert_int_equal(call_st(bus, "StartModule", "nosuch", 0, error, sizeof error), 1);
    assert_string_equal(error, "org.bulkhead1.Error.NoSuchModule");
    assert_int_equal(call_st(bus, "StartModule", "web", 1ull << 40, error, sizeof error), 1);
    assert_string_equal(error, "org.freedesktop.DBus.Error.InvalidArgs");
    assert_true(sd_bus_call_method(bus, NULL, PATH, MANAGER, "KillModule", NULL, NULL, "sit", "web", 0, UINT64_C(0)) <
                0);
    assert_true(sd_bus_call_method(bus, NULL, PATH, MANAGER, "KillModule", NULL, NULL, "sit", "web", 65, UINT64_C(0)) <
                0);
    uint64_t before = now_monotonic();
    assert_int_equal(call_st(bus, "StartModule", "slow", 0, error, sizeof error), 0);
    assert_true(now_monotonic() - before >= 100000);
    sd_bus_close_unref(bus);
    sd_bus_close_unref(watcher);
}

static void test_module_objects(void **state)
{
    sd_bus *bus = client(*state);
    char *value = NULL;
    sd_bus_message *reply = NULL;
    const char *xml = NULL;
    assert_true(sd_bus_get_property_string(bus, NULL, PATH "/module/web", "org.bulkhead1.Module", "ControlGroup", NULL,
                                           &value) >= 0);
    assert_string_equal(value, "/bulkhead-t/modules/x/1");
    free(value);
    assert_true(
        sd_bus_get_property_string(bus, NULL, PATH "/module/none", "org.bulkhead1.Module", "Name", NULL, &value) < 0);
    assert_true(sd_bus_call_method(bus, NULL, PATH "/module/web", "org.bulkhead1.Module", "Start", NULL, NULL, "t",
                                   UINT64_C(0)) >= 0);
    assert_true(
        sd_bus_get_property_string(bus, NULL, PATH "/module/web", "org.bulkhead1.Module", "State", NULL, &value) >= 0);
    assert_string_equal(value, "running");
    free(value);
    assert_true(sd_bus_call_method(bus, NULL, PATH "/module", "org.freedesktop.DBus.Introspectable", "Introspect", NULL,
                                   &reply, "") >= 0);
    assert_true(sd_bus_message_read(reply, "s", &xml) > 0);
    for (size_t i = 0; i < ELEMENTS(names); i++) {
        char node[64];
        snprintf(node, sizeof node, "<node name=\"%s\"/>", names[i]);
        assert_non_null(strstr(xml, node));
    }
    sd_bus_message_unref(reply);
    sd_bus_close_unref(bus);
}

static void test_client_leaves_before_the_answer(void **state)
{
    Fixture *f = *state;
    sd_bus *bus = client(f), *other = client(f);
    assert_call(bus, "GetGraph", NULL, "digraph { web -> db }");
    assert_true(sd_bus_call_method_async(bus, NULL, NULL, PATH, MANAGER, "StartModule", NULL, NULL, "st", "slow",
                                         UINT64_C(0)) >= 0);
    assert_true(sd_bus_flush(bus) >= 0);
    sd_bus_close_unref(bus);
    char error[128];
    /* "slow" is taken by the one who left; when this second call is answered, his time has passed. */
    assert_int_equal(call_st(other, "StartModule", "slow", 0, error, sizeof error), 0);
    assert_int_equal(call_st(other, "StartModule", "slow", 0, error, sizeof error), 0);
    assert_call(other, "GetGraph", NULL, "digraph { web -> db }");
    sd_bus_close_unref(other);
}

static int on_owed(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    (void)error;
    Seen *seen = userdata;
    const sd_bus_error *e = sd_bus_message_get_error(m);
    snprintf(seen->event, sizeof seen->event, "%s", e ? e->name : "done");
    seen->events++;
    return 0;
}

static void test_shutdown_answers_what_is_owed(void **state)
{
    Fixture *f = *state;
    sd_bus *bus = client(f);
    Seen seen = {0};
    char error[128];
    assert_true(sd_bus_call_method_async(bus, NULL, NULL, PATH, MANAGER, "StartModule", on_owed, &seen, "st", "never",
                                         UINT64_C(0)) >= 0);
    assert_int_equal(call_st(bus, "StartModule", "web", 0, error, sizeof error), 0);
    sd_bus *other = client(f);
    assert_true(sd_bus_call_method(other, NULL, PATH, MANAGER, "Shutdown", NULL, NULL, "t", UINT64_C(0)) >= 0);
    process_until(bus, &seen.events, 1);
    assert_string_equal(seen.event, CONTROL_ERROR_SHUTTING_DOWN);
    assert_int_equal(server_end(f), 0);
    sd_bus_close_unref(other);
    sd_bus_close_unref(bus);
}

/* Runs a shell command with $A the address; its output, and its status in *ret. */
static char *shell(const Fixture *f, const char *command, int *ret)
{
    setenv("A", f->address, 1);
    FILE *p = popen(command, "r");
    StrBuf b = STRBUF_NULL;
    char buf[4096];
    size_t n;
    while (p && (n = fread(buf, 1, sizeof buf, p)) > 0)
        strbuf_add(&b, buf, n);
    *ret = p ? pclose(p) : -1;
    return strbuf_take(&b);
}

static void test_ordinary_clients(void **state)
{
    static const char *const commands[][3] = {
        {"dbus-send",
         "dbus-send --peer=\"$A\" --print-reply --type=method_call /org/bulkhead1 org.bulkhead1.Manager.GetGraph",
         "digraph { web -> db }"},
        {"dbus-send",
         "dbus-send --peer=\"$A\" --print-reply /org/bulkhead1/module/web org.freedesktop.DBus.Properties.GetAll "
         "string:org.bulkhead1.Module",
         "/bulkhead-t/modules/x/1"},
        {"busctl", "busctl --address=\"$A\" call org.bulkhead1 /org/bulkhead1 org.bulkhead1.Manager GetGraph",
         "digraph { web -> db }"},
        {"busctl", "busctl --address=\"$A\" introspect org.bulkhead1 /org/bulkhead1", ".RestartModule"},
        {"busctl", "busctl --address=\"$A\" introspect org.bulkhead1 /org/bulkhead1/module/db", ".ControlGroup"},
        {"busctl", "busctl --address=\"$A\" --list tree org.bulkhead1", "/org/bulkhead1/module/web"},
        {"busctl",
         "busctl --address=\"$A\" call org.bulkhead1 /org/bulkhead1 org.bulkhead1.Manager StartModule st web 0", ""},
        {"gdbus",
         "gdbus call --address \"$A\" --dest org.bulkhead1 --object-path /org/bulkhead1 --method "
         "org.bulkhead1.Manager.StartModule web 0",
         "()"},
        {"gdbus", "gdbus introspect --address \"$A\" --dest org.bulkhead1 --object-path /org/bulkhead1/module/web",
         "readonly s State"},
    };
    unsigned ran = 0;
    for (size_t i = 0; i < ELEMENTS(commands); i++) {
        int r;
        char command[400];
        snprintf(command, sizeof command, "command -v %s", commands[i][0]);
        char *where = shell(*state, command, &r);
        free(where);
        if (r != 0) {
            print_message("skipped: no %s here\n", commands[i][0]);
            assert_null(getenv("MUST_WORK"));
            continue;
        }
        snprintf(command, sizeof command, "timeout 10 %s 2>&1", commands[i][1]);
        char *out = shell(*state, command, &r);
        if (r != 0 || !strstr(out, commands[i][2]))
            print_message("%s: %d\n%s\n", command, r, out);
        assert_int_equal(r, 0);
        assert_non_null(strstr(out, commands[i][2]));
        free(out);
        ran++;
    }
    if (ran == 0)
        skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(test_reading),
        WITH_SERVER(test_logs),
        WITH_SERVER(test_acting_and_signals),
        WITH_SERVER(test_module_objects),
        WITH_SERVER(test_client_leaves_before_the_answer),
        WITH_SERVER(test_shutdown_answers_what_is_owed),
        WITH_SERVER(test_ordinary_clients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
