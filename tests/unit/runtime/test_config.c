/*  Settings from defaults, file and environment, and every way to get one wrong. */
#include "config.h"

#include "error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

static char folder[64], file[96];

static int setup(void **state)
{
    (void)state;
    clearenv();
    snprintf(folder, sizeof folder, "/tmp/config_test_XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(file, sizeof file, "%s/samovar.yaml", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(file);
    rmdir(folder);
    clearenv();
    return 0;
}

static void write_file(const char *text)
{
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static config *load(const char *name)
{
    config *c = NULL;
    sv_error err = {0};
    if (config_load(name, &c, &err)) fail_msg("%s", err.message);
    return c;
}

/* The file must be refused with `words` in the message ("FILE" stands for its name). */
static void refused(const char *text, const char *words)
{
    config *c = NULL;
    sv_error err = {0};
    char want[512];
    write_file(text);
    assert_int_equal(config_load(file, &c, &err), SV_E_CONFIG);
    assert_null(c);
    if (strncmp(words, "FILE", 4) == 0)
        snprintf(want, sizeof want, "%s%s", file, words + 4);
    else
        snprintf(want, sizeof want, "%s", words);
    if (strstr(err.message, want) == NULL)
        fail_msg("\"%s\" does not contain \"%s\"", err.message, want);
}

static void refused_env(const char *name, const char *value, const char *words)
{
    config *c = NULL;
    sv_error err = {0};
    setenv(name, value, 1);
    assert_int_equal(config_load(NULL, &c, &err), SV_E_CONFIG);
    assert_null(c);
    if (strstr(err.message, words) == NULL)
        fail_msg("\"%s\" does not contain \"%s\"", err.message, words);
    unsetenv(name);
}

static void test_defaults(void **state)
{
    (void)state;
    setenv("SAMOVAR_DATA", folder, 1);
    config *c = load(NULL);
    assert_int_equal(config_int(c, "edge.port"), 7420);
    assert_int_equal(config_int(c, "edge.body_bytes"), 1 << 20);
    assert_int_equal(config_int(c, "router.first_byte_ms"), 120000);
    assert_string_equal(config_str(c, "log.level"), "info");
    assert_null(config_str(c, "bus.policy_file"));
    assert_true(config_bool(c, "router.demo"));
    const char *const *texts;
    assert_int_equal(config_strs(c, "bus.listen", &texts), 0);
    assert_int_equal(config_items(c, "router.providers"), 0);
    assert_string_equal(config_source(c, "edge.port"), "default");
    assert_string_equal(config_source(c, "data"), "environment SAMOVAR_DATA");
    assert_null(config_file(c));
    assert_string_equal(config_data(c), folder);
    char run[128];
    snprintf(run, sizeof run, "%s/run", folder);
    assert_string_equal(config_run(c), run);
    config_free(c);
    config_free(NULL);
}

static void test_folders(void **state)
{
    (void)state;
    assert_int_equal(chdir(folder), 0);
    config *c = load(NULL);
    char want[128];
    snprintf(want, sizeof want, "%s/var", folder);
    assert_string_equal(config_data(c), want);
    config_free(c);
    setenv("SAMOVAR_DATA", "./a/", 1);
    setenv("SAMOVAR_RUN", "/run/x//", 1);
    c = load(NULL);
    snprintf(want, sizeof want, "%s/a", folder);
    assert_string_equal(config_data(c), want);
    assert_string_equal(config_run(c), "/run/x");
    config_free(c);
    setenv("SAMOVAR_DATA", "/", 1);
    unsetenv("SAMOVAR_RUN");
    c = load(NULL);
    assert_string_equal(config_run(c), "/run");
    config_free(c);
    assert_int_equal(chdir("/"), 0);
}

static void test_precedence(void **state)
{
    (void)state;
    write_file("edge:\n  port: 8000\n  idle_ms: 2m\nlog.level: debug\n");
    setenv("SAMOVAR_DATA", folder, 1);
    setenv("SAMOVAR_PORT", "9000", 1);
    config *c = load(NULL);
    char want[128];
    assert_int_equal(config_int(c, "edge.port"), 9000);
    assert_string_equal(config_source(c, "edge.port"), "environment SAMOVAR_PORT");
    assert_int_equal(config_int(c, "edge.idle_ms"), 120000);
    snprintf(want, sizeof want, "%s:3", file);
    assert_string_equal(config_source(c, "edge.idle_ms"), want);
    assert_string_equal(config_str(c, "log.level"), "debug");
    assert_string_equal(config_file(c), file);
    config_free(c);
    unsetenv("SAMOVAR_DATA");
    setenv("SAMOVAR_CONFIG", file, 1);
    c = load(NULL);
    assert_string_equal(config_file(c), file);
    config_free(c);
    unlink(file);
    sv_error err = {0};
    assert_int_equal(config_load(NULL, &c, &err), SV_E_CONFIG);
    assert_non_null(strstr(err.message, "no such file"));
}

static void test_values(void **state)
{
    (void)state;
    write_file("router:\n  demo: off\n  connect_ms: 1h\n  answer_bytes: 1GiB\n"
               "bus:\n  listen: [tcp://127.0.0.1:1, 'tcp://[::1]:2']\n  queue_ms: 7\n");
    sv_error err = {0};
    config *c = NULL;
    assert_int_equal(config_load(file, &c, &err), SV_E_CONFIG); /* an hour is above the range */
    write_file("router:\n  demo: off\n  connect_ms: 10m\n  answer_bytes: 1GiB\n"
               "bus:\n  listen: [tcp://127.0.0.1:1, 'tcp://[::1]:2']\n  queue_ms: 7\n");
    c = load(file);
    assert_false(config_bool(c, "router.demo"));
    assert_int_equal(config_int(c, "router.connect_ms"), 600000);
    assert_int_equal(config_int(c, "router.answer_bytes"), 1 << 30);
    assert_int_equal(config_int(c, "bus.queue_ms"), 7);
    const char *const *texts;
    assert_int_equal(config_strs(c, "bus.listen", &texts), 2);
    assert_string_equal(texts[1], "tcp://[::1]:2");
    config_free(c);
    setenv("SAMOVAR_BUS_LISTEN", "tcp://a:1 , tcp://b:2", 1);
    setenv("SAMOVAR_ROUTER_DEMO", "1", 1);
    c = load(file);
    assert_int_equal(config_strs(c, "bus.listen", &texts), 2);
    assert_string_equal(texts[0], "tcp://a:1");
    assert_string_equal(texts[1], "tcp://b:2");
    assert_true(config_bool(c, "router.demo"));
    config_free(c);
    setenv("SAMOVAR_BUS_LISTEN", "", 1);
    c = load(file);
    assert_int_equal(config_strs(c, "bus.listen", &texts), 0);
    config_free(c);
}

static void test_lists(void **state)
{
    (void)state;
    write_file("router:\n  providers:\n    - name: a\n      base_url: http://x/v1\n"
               "      models: [m, 'openai/gpt-4o:free']\n    - {name: b, base_url: https://y}\n");
    config *c = load(file);
    assert_int_equal(config_items(c, "router.providers"), 2);
    assert_string_equal(config_item_str(c, "router.providers", 0, "name"), "a");
    assert_string_equal(config_item_str(c, "router.providers", 1, "base_url"), "https://y");
    assert_null(config_item_str(c, "router.providers", 1, "key_file"));
    assert_null(config_item_str(c, "router.providers", 1, "key_env"));
    const char *const *models;
    assert_int_equal(config_item_strs(c, "router.providers", 0, "models", &models), 2);
    assert_string_equal(models[1], "openai/gpt-4o:free");
    assert_int_equal(config_item_strs(c, "router.providers", 1, "models", &models), 0);
    config_free(c);
}

static void test_refusals(void **state)
{
    (void)state;
    refused("edge:\n  prot: 1\n", "FILE:2: key edge.prot is not known; did you mean edge.port?");
    refused("port: 1\n", "FILE:1: key port is not known; did you mean edge.port?");
    refused("quite_unlike_anything: 1\n",
            "FILE:1: key quite_unlike_anything is not known; allowed");
    refused("quite_unlike_anything: 1\n",
            "allowed here: data, run, log, edge, bus, router, ledger, auth, ");
    refused("quite_unlike_anything: 1\n", ", supervisor");
    refused("edge:\n  port: 99999\n",
            "FILE:2: key edge.port is \"99999\"; allowed: a whole number from 0 to 65535");
    refused("edge:\n  port: 1.5\n", "key edge.port is \"1.5\"");
    refused("edge:\n  port: 0x10\n", "key edge.port");
    refused("edge:\n  port: 99999999999999999999\n", "key edge.port");
    refused("edge:\n  port: -1\n", "key edge.port");
    refused("edge:\n  port: \"80\"\n", "FILE:2: key edge.port is quoted text");
    refused("edge:\n  port:\n", "FILE:2: key edge.port has no value; allowed");
    refused("edge:\n  port: null\n", "key edge.port has no value");
    refused("edge:\n  port: [1]\n", "FILE:2: key edge.port is a list; allowed");
    refused("edge:\n  host: {a: b}\n", "key edge.host is a map; allowed: text");
    refused("edge: 7\n", "FILE:1: key edge must be a map");
    refused("edge: [7]\n", "FILE:1: key edge must be a map");
    refused("- a\n", "FILE:1: key (root) must be a map");
    refused("log: {level: loud}\n", "is \"loud\"; allowed: one of debug|info|warn|error");
    refused("log: {level: inf}\n", "key log.level");
    refused("log: {level: 'info|warn'}\n", "key log.level");
    refused("edge: {idle_ms: 10d}\n", "key edge.idle_ms is \"10d\"; allowed: a time");
    refused("edge: {idle_ms: 9223372036854775807h}\n", "key edge.idle_ms");
    refused("edge: {body_bytes: 5MB}\n", "key edge.body_bytes is \"5MB\"; allowed: a size");
    refused("router: {demo: maybe}\n", "allowed: true or false");
    refused("edge: {host: \"a\\tb\"}\n", "has control characters");
    refused("edge: {host: ''}\n", "key edge.host");
    refused("edge: {port: 1}\nedge.port: 2\n",
            "FILE:2: key edge.port is set twice, first in line 1");
    refused("bus: {listen: x}\n", "key bus.listen is a single value; allowed: a list");
    refused("bus: {listen: [[x]]}\n", "key bus.listen is a list");
    refused("bus: {listen: [1,2,3,4,5,6,7,8,9]}\n", "has 9 entries");
    refused("bus: {listen: ['']}\n", "wrong entry 1");
    refused("router: {providers: {a: b}}\n", "key router.providers is a map");
    refused("router: {providers: [x]}\n", "has a single value where a map is needed");
    refused("router:\n  providers:\n  - name: a\n",
            "FILE:3: key router.providers[0].base_url has no value");
    refused("router:\n  providers:\n  - {name: a, base_url: b, nme: c}\n",
            "key router.providers[0].nme is not known; did you mean router.providers[].name?");
    refused("router.providers[].name: x\n", "is not known");
    refused("a: [\n", "FILE:");
    char big[256] = "x";
    memset(big + 1, 'y', 200);
    refused(strcat(big, ": 1\n"), "is not known");
}

static void test_every_problem_in_detail(void **state)
{
    (void)state;
    config *c = NULL;
    sv_error err = {0};
    write_file("edge: {port: x}\nlog: {level: y}\n");
    assert_int_equal(config_load(file, &c, &err), SV_E_CONFIG);
    assert_non_null(strstr(err.message, "edge.port"));
    assert_string_equal(err.field, "edge.port");
    assert_non_null(strstr(err.detail, "edge.port"));
    assert_non_null(strstr(err.detail, "log.level"));
    assert_int_equal(config_load(file, &c, NULL), SV_E_CONFIG);
}

static void test_environment(void **state)
{
    (void)state;
    setenv("SAMOVAR_DATA", folder, 1);
    refused_env("SAMOVAR_PROT", "1", "SAMOVAR_PROT is not known; did you mean SAMOVAR_PORT?");
    refused_env("SAMOVAR_EDGE_PORT", "1", "did you mean SAMOVAR_PORT?");
    refused_env("SAMOVAR_ABCDEFGHIJKL", "1", "SAMOVAR_ABCDEFGHIJKL is not known; allowed");
    refused_env("SAMOVAR_PORT", "x", "environment SAMOVAR_PORT: key edge.port is \"x\"; allowed");
    refused_env("SAMOVAR_PORT", "", "environment SAMOVAR_PORT: key edge.port");
    refused_env("SAMOVAR_EDGE_HOST", "\xff", "not UTF-8");
    refused_env("SAMOVAR_ROUTER_PROVIDERS", "x", "can only be set in the file");
    refused_env("SAMOVAR_BUS_LISTEN", "a,,b", "wrong entry 2");
    const char *others[] = {"SAMOVAR_BUS",        "SAMOVAR_BUS_KEY",   "SAMOVAR_KEY",
                            "SAMOVAR_CONTROL_FD", "SAMOVAR_TICKET_FD", "SAMOVAR_INSTANCE",
                            "SAMOVAR_BIN",        "SAMOVAR_READY_FD"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        setenv(others[i], "x", 1);
    config_free(load(NULL));
}

static void test_show_loads_again(void **state)
{
    (void)state;
    write_file("edge: {port: 8001, host: \"h\"}\nbus: {listen: ['a\\b', \"q\\\"\"]}\n"
               "router:\n  providers:\n  - {name: a, base_url: u, models: [m, n]}\n");
    config *c = load(file);
    buf out;
    buf_init(&out, 1 << 20);
    assert_int_equal(config_show(c, false, &out), 0);
    buf_putc(&out, 0);
    write_file(out.p);
    config *again = load(file);
    assert_int_equal(config_int(again, "edge.port"), 8001);
    assert_int_equal(config_items(again, "router.providers"), 1);
    const char *const *a, *const *b;
    assert_int_equal(config_strs(again, "bus.listen", &b), config_strs(c, "bus.listen", &a));
    for (int i = 0; i < 2; i++)
        assert_string_equal(a[i], b[i]);
    buf_reset(&out, 0);
    assert_int_equal(config_show(c, true, &out), 0);
    json_t *j = json_loadb(out.p, out.n, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(j);
    json_t *port = json_object_get(j, "edge.port");
    assert_int_equal(json_integer_value(json_object_get(port, "value")), 8001);
    assert_string_equal(json_string_value(json_object_get(port, "environment")), "SAMOVAR_PORT");
    assert_string_equal(json_string_value(json_object_get(port, "default")), "7420");
    size_t n;
    config_settings(&n);
    assert_int_equal(json_object_size(j), n);
    json_decref(j);
    buf_free(&out);
    config_free(c);
    config_free(again);
}

static void test_table(void **state)
{
    (void)state;
    size_t n;
    const setting *all = config_settings(&n);
    for (size_t i = 0; i < n; i++) {
        assert_true(strlen(all[i].key) < 100);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(all[i].key, all[j].key);
        if (all[i].type == SETTING_STRS || all[i].type == SETTING_LIST) assert_null(all[i].def);
    }
}

#define WITH_FOLDER(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_defaults),
        WITH_FOLDER(test_folders),
        WITH_FOLDER(test_precedence),
        WITH_FOLDER(test_values),
        WITH_FOLDER(test_lists),
        WITH_FOLDER(test_refusals),
        WITH_FOLDER(test_environment),
        WITH_FOLDER(test_every_problem_in_detail),
        WITH_FOLDER(test_show_loads_again),
        WITH_FOLDER(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
