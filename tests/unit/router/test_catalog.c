/*  Model lists from a server on this machine: read, refused, kept when it fails, and forgotten when
 *  it is gone. */
#include "catalog.h"

#include "../runtime/tiny_server.h"
#include "error.h"
#include "log.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { WAIT_MS = 8000 };

static loop *l;
static tiny_server server;
static provider_list providers;
static catalog cat;
static char text[8192];

#define UNTIL(condition)                                                                           \
    do {                                                                                           \
        uint64_t until_us = clock_us() + WAIT_MS * 1000;                                           \
        while (!(condition)) {                                                                     \
            if (clock_us() > until_us) fail_msg("waited in vain for %s", #condition);              \
            loop_turn(l, 50);                                                                      \
        }                                                                                          \
    } while (0)

static int setup(void **state)
{
    (void)state;
    clearenv();
    l = loop_new(NULL);
    providers = (provider_list){0};
    cat = (catalog){.loop = l, .http = http_client_new(l, 10, NULL), .providers = &providers};
    tiny_start(&server, l, tiny_answer_text);
    server.text = text;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    catalog_stop(&cat);
    http_client_free(cat.http);
    provider_list_free(&providers);
    tiny_stop(&server);
    loop_free(l);
    metrics_free();
    return 0;
}

static void answer(const char *head, const char *json)
{
    snprintf(text, sizeof text, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s", head, strlen(json),
             json);
}

/* A provider at the server, and the catalog started without looking around. */
static provider *begin(provider_source source, bool anthropic)
{
    char url[64];
    secret *key = NULL;
    provider *p;
    config *c;
    snprintf(url, sizeof url, "http://127.0.0.1:%d/v1", server.port);
    assert_int_equal(secret_new(sv_cstr("sk-1"), "x", &key, NULL), 0);
    provider_spec spec = {.name = "p",
                          .source = source,
                          .base_url = url,
                          .format = anthropic ? LLM_ANTHROPIC : LLM_OPENAI,
                          .keys = &key,
                          .n_keys = 1};
    assert_int_equal(provider_add(&providers, &spec, &p, NULL), 0);
    p->hidden = source == FROM_MACHINE;
    setenv("SAMOVAR_ROUTER_DISCOVER", "false", 1);
    setenv("SAMOVAR_DATA", "/nowhere", 1);
    assert_int_equal(config_load(NULL, &c, NULL), 0);
    assert_int_equal(catalog_start(&cat, c, NULL), 0);
    config_free(c);
    return p;
}

static void test_listing(void **state)
{
    (void)state;
    answer("200 OK",
           "{\"object\":\"list\",\"data\":[{\"id\":\"b\",\"created\":7},{\"id\":\"a\\u00e4\"},"
           "{\"id\":\"b\"},{\"id\":7},{\"name\":\"n\"},{\"id\":\"\"},5,{}]}");
    provider *p = begin(FROM_CONFIG, false);
    assert_string_equal(p->state, "not asked yet");
    UNTIL(p->models.n);
    assert_string_equal(p->state, "ready");
    assert_int_equal(p->models.n, 3);
    assert_string_equal(p->models.items[0].id, "a\xc3\xa4");
    assert_string_equal(p->models.items[1].id, "b");
    assert_int_equal(p->models.items[1].created, 7);
    assert_string_equal(p->models.items[2].id, "n");
    assert_int_equal(strncmp(server.last.p, "GET /v1/models HTTP/1.1\r\n", 25), 0);
    assert_non_null(strstr(server.last.p, "Authorization: Bearer sk-1\r\n"));
    assert_non_null(strstr(server.last.p, "Via: 1.1 samovar\r\n"));
    assert_true(p->timer.slot != 0);
    assert_true(p->timer.at_us > clock_us() + 250 * 1000000ull); /* five minutes, not seconds */
}

static void test_anthropic(void **state)
{
    (void)state;
    answer("200 OK", "{\"data\":[{\"type\":\"model\",\"id\":\"claude\",\"created_at\":\"x\"}]}");
    provider *p = begin(FROM_ENVIRONMENT, true);
    UNTIL(p->models.n);
    assert_int_equal(strncmp(server.last.p, "GET /v1/models?limit=1000 ", 26), 0);
    assert_non_null(strstr(server.last.p, "x-api-key: sk-1\r\n"));
    assert_non_null(strstr(server.last.p, "anthropic-version: "));
    assert_null(strstr(server.last.p, "Authorization"));
}

static void test_failures(void **state)
{
    (void)state;
    answer("401 No", "{}");
    provider *p = begin(FROM_CONFIG, false);
    UNTIL(p->failures == 1);
    assert_non_null(strstr(p->state, "key was refused"));
    answer("200 OK", "<html>");
    UNTIL(p->failures == 2); /* after a second */
    assert_non_null(strstr(p->state, "cannot be read"));
    answer("200 OK", "{\"data\":[{\"id\":\"m\"}]}");
    UNTIL(p->models.n == 1); /* after two more */
    assert_string_equal(p->state, "ready");
    assert_int_equal(p->failures, 0);
}

static void test_local_server(void **state)
{
    (void)state;
    answer("200 OK\r\nVia: 1.1 samovar-abc", "{\"data\":[{\"id\":\"m\"}]}");
    provider *p = begin(FROM_MACHINE, false);
    UNTIL(p->failures == 1);
    assert_true(p->hidden);
    assert_non_null(strstr(p->state, "Samovar itself"));
    assert_int_equal(p->models.n, 0);
    answer("404 No", "{}");
    UNTIL(strstr(server.last.p ? server.last.p : "", "GET /api/tags"));
    answer("200 OK", "{\"models\":[{\"name\":\"llama3:8b\"}]}");
    UNTIL(p->models.n == 1);
    assert_false(p->hidden);
    assert_string_equal(p->models.items[0].id, "llama3:8b");
    /* gone: hidden again after some failures */
    p->failures = 2;
    answer("500 No", "{}");
    loop_timer_set(l, &p->timer, 0, p->timer.fn, p->timer.arg);
    UNTIL(p->hidden);
    assert_int_equal(p->models.n, 0);
}

static void test_candidates(void **state)
{
    (void)state;
    config *c;
    provider *p;
    provider_spec spec = {
        .name = "ollama", .source = FROM_CONFIG, .base_url = "http://localhost:8000/v1"};
    assert_int_equal(provider_add(&providers, &spec, &p, NULL), 0);
    setenv("SAMOVAR_PORT", "8080", 1);
    setenv("SAMOVAR_DATA", "/nowhere", 1);
    assert_int_equal(config_load(NULL, &c, NULL), 0);
    assert_int_equal(catalog_start(&cat, c, NULL), 0);
    config_free(c);
    /* 8080 is the edge's own, 8000 is configured, the name ollama is taken */
    assert_int_equal(providers.n, 2);
    assert_string_equal(providers.items[1]->name, "ollama-local");
    assert_string_equal(providers.items[1]->base_url, "http://127.0.0.1:11434/v1");
    assert_true(providers.items[1]->hidden);
}

static void parse_refused(const char *json)
{
    model_list m;
    sv_error err = {0};
    assert_int_not_equal(catalog_parse(sv_cstr(json), &m, &err), 0);
    assert_true(err.message[0] != 0);
}

static void test_parse(void **state)
{
    (void)state;
    model_list m;
    assert_int_equal(catalog_parse(sv_cstr("[{\"id\":\"x\"}]"), &m, NULL), 0);
    assert_int_equal(m.n, 1);
    model_list_free(&m);
    assert_int_equal(catalog_parse(sv_cstr("{\"data\":[]}"), &m, NULL), 0);
    assert_int_equal(m.n, 0);
    model_list_free(&m);
    parse_refused("");
    parse_refused("{}");
    parse_refused("{\"data\":{}}");
    parse_refused("{\"data\":[");
    parse_refused("7");
}

#define WITH_SERVER(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        WITH_SERVER(test_listing),      WITH_SERVER(test_anthropic),  WITH_SERVER(test_failures),
        WITH_SERVER(test_local_server), WITH_SERVER(test_candidates), WITH_SERVER(test_parse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
