/*  The actor as a whole without a bus: start from configuration, models in pages, providers, stop.
 */
#include "router.h"

#include "fake_bus.h"
#include "log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static loop *l;
static sv_process process;
static config *conf;
static void *actor_state;

static int setup(void **state)
{
    (void)state;
    clearenv();
    setenv("SAMOVAR_DATA", "/nowhere", 1);
    setenv("SAMOVAR_ROUTER_DISCOVER", "false", 1);
    setenv("SAMOVAR_ROUTER_SLOTS", "77", 1);
    setenv("OPENAI_API_KEY", "sk-openai", 1);
    setenv("OPENAI_BASE_URL", "http://u:secret@127.0.0.1:9/v1", 1);
    l = loop_new(NULL);
    assert_int_equal(config_load(NULL, &conf, NULL), 0);
    process = (sv_process){.loop = l, .config = conf};
    assert_int_equal(router_actor.init(&process, &actor_state, NULL), 0);
    process.state = actor_state;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    router_actor.stop(&process, actor_state);
    router_actor.stop(&process, NULL);
    config_free(conf);
    loop_free(l);
    metrics_free();
    clearenv();
    return 0;
}

static sv_call *call(const char *method, const void *request, const sv_message *reply)
{
    sv_call *c = fake_call(&process, "edge", NULL, false);
    fake_reply_type = reply;
    for (size_t i = 0; i < router_actor.n_methods; i++)
        if (strcmp(router_actor.methods[i].name, method) == 0) {
            assert_int_equal(router_actor.methods[i].handler(c, request), 0);
            return c;
        }
    fail_msg("no method %s", method);
    return c;
}

static void test_slots(void **state)
{
    (void)state;
    assert_int_equal(process.slots, 77);
}

static void test_providers(void **state)
{
    (void)state;
    router_providers_reply reply;
    sv_call *c = call("providers", NULL, &router_providers_reply_msg);
    assert_int_equal(message_decode(&router_providers_reply_msg, buf_str(&c->head), MESSAGE_STRICT,
                                    &c->arena, &reply, NULL),
                     0);
    assert_int_equal(reply.providers.n, 1);
    router_provider *p = reply.providers.items;
    assert_true(sv_str_is(p->name, "openai"));
    assert_true(sv_str_is(p->base_url, "http://127.0.0.1:9/v1"));
    assert_true(sv_str_is(p->source, "environment"));
    assert_true(p->has_key);
    assert_null(memmem(c->head.p, c->head.n, "secret", 6));
    assert_null(memmem(c->head.p, c->head.n, "sk-openai", 9));
    fake_call_free(c);
}

/* 4,096 models of long names do not fit one message; pages do, and lose none. */
static void test_models_in_pages(void **state)
{
    (void)state;
    router *r = actor_state;
    model_list list;
    char name[160];
    model_list_init(&list);
    for (int i = 0; i < MODELS_MAX; i++) {
        snprintf(name, sizeof name,
                 "an-organisation-with-a-long-name/a-model-with-a-long-name-%04d", i);
        assert_int_equal(model_list_add(&list, sv_cstr(name), i), 0);
    }
    provider_set_models(r->providers.items[0], &list);
    int seen = 0, pages = 0;
    router_models_req q = {0};
    do {
        router_models_reply reply;
        sv_call *c = call("models", &q, &router_models_reply_msg);
        assert_true(c->head.n <= LIMIT_PART_BYTES);
        assert_int_equal(message_decode(&router_models_reply_msg, buf_str(&c->head), MESSAGE_STRICT,
                                        &c->arena, &reply, NULL),
                         0);
        assert_true(reply.models.n > 0);
        for (uint32_t i = 0; i < reply.models.n; i++, seen++) {
            const router_model *m = (router_model *)reply.models.items + i;
            if (seen < 2) {
                assert_true(sv_str_is(m->id, seen ? "auto" : "demo"));
                continue;
            }
            assert_int_equal(m->created, seen - 2);
            assert_true(sv_str_is(m->provider, "openai"));
        }
        q.after = reply.next;
        pages++;
        fake_call_free(c);
    } while (q.after);
    assert_int_equal(seen, MODELS_MAX + 2);
    assert_true(pages > 3);
}

static void test_models_once(void **state)
{
    (void)state;
    router *r = actor_state;
    provider *p;
    provider_spec other = {.name = "other", .source = FROM_CONFIG, .base_url = "http://x"};
    assert_int_equal(provider_add(&r->providers, &other, &p, NULL), 0);
    p->owner = &r->catalog;
    for (int i = 0; i < 2; i++) {
        model_list list;
        model_list_init(&list);
        model_list_add(&list, sv_cstr("shared"), 0);
        model_list_add(&list, sv_cstr(i ? "only-b" : "only-a"), 0);
        provider_set_models(r->providers.items[i], &list);
    }
    router_models_req q = {0};
    router_models_reply reply;
    sv_call *c = call("models", &q, &router_models_reply_msg);
    assert_int_equal(message_decode(&router_models_reply_msg, buf_str(&c->head), MESSAGE_STRICT,
                                    &c->arena, &reply, NULL),
                     0);
    assert_int_equal(reply.models.n, 5);
    const char *want[] = {"demo", "auto", "only-a", "shared", "only-b"};
    for (uint32_t i = 0; i < 5; i++)
        assert_true(sv_str_is(((router_model *)reply.models.items)[i].id, want[i]));
    fake_call_free(c);
}

#define WITH_ACTOR(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        WITH_ACTOR(test_slots),
        WITH_ACTOR(test_providers),
        WITH_ACTOR(test_models_in_pages),
        WITH_ACTOR(test_models_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
