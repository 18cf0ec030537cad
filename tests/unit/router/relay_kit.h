/*  relay_kit.h - a router without a bus, whose providers are servers of the test.
 *  Thread: one test. Include once, after fake_bus.h. */
#ifndef TEST_RELAY_KIT_H
#define TEST_RELAY_KIT_H

#include "router.h"

#include "models_kit.h"

static loop *l;
static config *conf;
static sv_process process, aside;
static router r;

#define UNTIL(condition)                                                                           \
    do {                                                                                           \
        uint64_t until_us = clock_us() + 10000000;                                                 \
        while (!(condition)) {                                                                     \
            if (clock_us() > until_us) fail_msg("waited in vain for %s", #condition);              \
            loop_turn(l, 50);                                                                      \
        }                                                                                          \
    } while (0)

/* `yaml` lies under "router:", `durability` is the ledger's; NULL: no store. One try a request,
 * unless the test says more. */
static inline void relay_start(const char *yaml, const char *durability)
{
    sv_error err = {0};
    kit_setup(NULL);
    use_shipped_models();
    setenv("SAMOVAR_DATA", "/nowhere", 1);
    if (durability) setenv("SAMOVAR_LEDGER_DURABILITY", durability, 1);
    if (kit_config(yaml, &conf, &err)) fail_msg("%s", err.message);
    l = loop_new(NULL);
    memset(&r, 0, sizeof r);
    process = (sv_process){.loop = l, .config = conf, .state = &r};
    r.loop = l;
    r.process = &process;
    r.upstreams.loop = l;
    r.connect_ms = r.first_byte_ms = r.first_token_ms = r.idle_ms = 2000;
    r.answer_bytes = 4 << 20;
    r.attempts = 1;
    if (models_load(conf, &r.models, &err)) fail_msg("%s", err.message);
    r.health = health_new();
    aside = process; /* what is learned is not written: the ledger has the store for itself */
    if (insight_start(&r.insight, &aside, &err)) fail_msg("%s", err.message);
    r.decisions = r.insight.decisions;
    if (planner_new(conf, r.models, r.health, &r.planner, &err)) fail_msg("%s", err.message);
    fake_reply_type = &router_complete_head_msg;
    if (durability == NULL) return;
    process.store = (store *)&process;
    ledger_start(&r.ledger, &process);
}

static inline void relay_stop(void)
{
    if (process.write.done) fake_write_end(&process, 0, NULL);
    ledger_free(&r.ledger);
    if (process.write.done) fake_write_end(&process, 0, NULL);
    upstreams_free(&r.upstreams);
    planner_free(r.planner);
    insight_free(&r.insight);
    telemetry_free(&r.telemetry);
    health_free(r.health);
    models_free(r.models);
    provider_list_free(&r.providers);
    config_free(conf);
    metrics_free();
    loop_free(l);
    kit_teardown(NULL);
}

/* A provider at a port of this machine with `n_keys` keys "sk-secret-0..." of its own. */
static inline provider *relay_add(const char *name, llm_format format, int port, uint32_t n_keys)
{
    char url[64], text[32];
    secret *keys[PROVIDER_KEYS] = {NULL};
    provider *p;
    sv_error err = {0};
    for (uint32_t i = 0; i < n_keys; i++) {
        snprintf(text, sizeof text, "sk-secret-%u-1234567", i);
        assert_int_equal(secret_new(sv_cstr(text), "test", &keys[i], NULL), 0);
    }
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", port, format == LLM_OLLAMA ? "" : "/v1/");
    provider_spec s = {.name = name,
                       .source = FROM_CONFIG,
                       .base_url = url,
                       .format = format,
                       .trust = HTTP_TRUST_OPERATOR,
                       .keys = keys,
                       .n_keys = n_keys};
    if (provider_add(&r.providers, &s, &p, &err)) fail_msg("%s", err.message);
    return p;
}

#endif
