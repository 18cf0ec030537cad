/*  test_insight.c - the queue of what is kept, with a store that does what a test says, and who may see
 *  or rate a decision. */
#include "insight.h"

#include "error.h"
#include "fake_bus.h"
#include "metrics.h"
#include "ticket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static loop *l;
static config *conf;
static sv_process process;
static insight in;
static buf ticket_bytes;

static void start(const char *learning)
{
    clearenv();
    setenv("SAMOVAR_DATA", "/nowhere", 1);
    setenv("SAMOVAR_ROUTER_LEARN", learning, 1);
    assert_int_equal(config_load(NULL, &conf, NULL), 0);
    l = loop_new(NULL);
    process = (sv_process){.loop = l, .config = conf, .store = (store *)&process};
    if (strcmp(learning, "true") == 0) process.store = NULL; /* there is nothing to be loaded */
    assert_int_equal(insight_start(&in, &process, NULL), 0);
    process.store = (store *)&process;
    buf_init(&ticket_bytes, LIMIT_TICKET_BYTES);
    loop_turn(l, 0);
}

static void end(void)
{
    insight_free(&in);
    if (process.write.done) fake_write_end(&process, 0, NULL); /* what it left behind */
    config_free(conf);
    loop_free(l);
    metrics_free();
    buf_free(&ticket_bytes);
}

static sv_id one(const char *outcome)
{
    sv_id id;
    char text[UUID_TEXT + 1];
    decision_start s = {
        .org = {"o", 1}, .user = {"u", 1}, .asked = {"m", 1}, .unix_ms = 1900000000000};
    decision *d = decision_begin(in.decisions, 1, &s);
    decision_result r = {.outcome = outcome, .provider = "p", .model = "m"};
    decision_id(d, text);
    assert_int_equal(uuid_parse(sv_cstr(text), &id), 0);
    decision_end(in.decisions, &d, &r);
    return id;
}

static void wait_for_writes(int n)
{
    uint64_t until_us = clock_us() + 8000000;
    while (process.writes < n) {
        if (clock_us() > until_us) fail_msg("waited in vain for write %d", n);
        loop_turn(l, 10);
    }
    assert_int_equal(process.writes, n);
}

static const insight_batch *written(void)
{
    return process.write.in;
}

static bool metric_has(const char *line)
{
    buf text;
    buf_init(&text, 1 << 20);
    metrics_text(&text);
    buf_putc(&text, 0);
    bool has = strstr(text.p, line) != NULL;
    buf_free(&text);
    return has;
}

static void test_written_behind(void **state)
{
    (void)state;
    start("false");
    uint64_t from_us = loop_now_us(l);
    sv_id first = one("failed");
    one("ok"); /* not worth it */
    one("failed");
    wait_for_writes(1);
    assert_true(loop_now_us(l) - from_us >= INSIGHT_WAIT_MS * 1000);
    assert_int_equal(written()->n_decisions, 2);
    assert_memory_equal(&written()->first->id, &first, sizeof first);
    assert_int_equal(written()->first->expires_ms, 1900000000000 + 14 * (int64_t)DATE_DAY_MS);
    one("failed");
    for (int i = 0; i < 3; i++)
        loop_turn(l, 10);
    assert_int_equal(process.writes, 1); /* one at a time */
    fake_write_end(&process, 0, NULL);
    wait_for_writes(2);
    assert_int_equal(written()->n_decisions, 1);
    fake_write_end(&process, 0, NULL);
    end();
}

static void test_failure_keeps_them(void **state)
{
    (void)state;
    start("false");
    sv_error why = {.code = 0};
    sv_fail(&why, SV_E_STORE_FULL, NULL, NULL);
    sv_id first = one("failed");
    wait_for_writes(1);
    one("failed");
    fake_write_end(&process, SV_E_STORE_FULL, &why);
    wait_for_writes(2);
    assert_int_equal(written()->n_decisions, 2);
    assert_memory_equal(&written()->first->id, &first, sizeof first); /* in their order */
    process.write_fails = SV_E_STORE_IO;
    fake_write_end(&process, SV_E_STORE_IO, &why);
    wait_for_writes(3);
    assert_int_equal(in.n, 2);
    process.write_fails = 0;
    wait_for_writes(4);
    fake_write_end(&process, 0, NULL);
    assert_int_equal(in.n, 0);
    end();
}

static void test_bounded(void **state)
{
    (void)state;
    start("false");
    for (int i = 0; i < INSIGHT_QUEUE + 7; i++)
        one("failed");
    assert_int_equal(in.n, INSIGHT_QUEUE);
    assert_true(metric_has("samovar_decisions_lost_total 7"));
    process.write_fails = SV_E_DRAINING; /* at the end nothing is left behind in memory */
    end();
}

static void test_drain_writes_at_once(void **state)
{
    (void)state;
    start("false");
    one("failed");
    insight_drain(&in);
    loop_turn(l, 5);
    loop_turn(l, 5);
    assert_int_equal(process.writes, 1);
    fake_write_end(&process, 0, NULL);
    one("failed");
    insight_free(&in); /* what is left is handed to the store */
    assert_int_equal(process.writes, 2);
    assert_int_equal(written()->n_decisions, 1);
    fake_write_end(&process, 0, NULL);
    assert_int_equal(insight_start(&in, &process, NULL), 0);
    end();
}

static void test_learned(void **state)
{
    (void)state;
    start("true");
    for (int i = 0; i < 3; i++)
        insight_outcome(&in, TASK_CODE, "p", "m", i > 0);
    insight_drain(&in);
    wait_for_writes(1);
    assert_int_equal(written()->n_learnings, 1);
    const kept_learning *k = &written()->learnings[0];
    assert_true(k->task == TASK_CODE && strcmp(k->provider, "p") == 0 &&
                strcmp(k->model, "m") == 0);
    assert_float_equal(k->n, 3, 1e-3);
    assert_float_equal(k->good, 2, 1e-3);
    sv_error why = {.code = 0};
    fake_write_end(&process, SV_E_STORE_IO, &why);
    wait_for_writes(2); /* not forgotten */
    assert_int_equal(written()->n_learnings, 1);
    fake_write_end(&process, 0, NULL);
    end();
}

/* What was learned may wait longer; a decision does not wait for it. */
static void test_the_sooner_of_two(void **state)
{
    (void)state;
    start("false");
    insight_outcome(&in, TASK_CODE, "p", "m", true);
    loop_turn(l, 0);
    uint64_t from_us = loop_now_us(l);
    one("failed");
    wait_for_writes(1);
    assert_true(loop_now_us(l) - from_us < INSIGHT_LEARN_MS * 1000 / 2);
    fake_write_end(&process, 0, NULL);
    end();
}

/* ---- who may ---- */

static sv_call *call_of(const char *org, const char *user, const char *role)
{
    static const uint8_t seed[TICKET_SEED] = {7};
    ticket_signer signer;
    ticket t = {.user = sv_cstr(user), .org = sv_cstr(org), .tier = sv_cstr("x"), .expires_s = 1};
    sv_call *c = fake_call(&process, "edge", "{}", false);
    if (role) t.roles[t.n_roles++] = sv_cstr(role);
    buf_reset(&ticket_bytes, LIMIT_TICKET_BYTES);
    ticket_signer_init(&signer, seed);
    assert_int_equal(ticket_sign(&signer, &t, &ticket_bytes), 0);
    ticket_signer_clear(&signer);
    c->ticket = buf_str(&ticket_bytes);
    return c;
}

static int look(sv_call *c, const sv_id *id)
{
    char text[UUID_TEXT + 1];
    uuid_format(id, text);
    router_decision_req q = {.id = sv_cstr(text)};
    fake_reply_type = &router_decision_reply_msg;
    int rc = insight_decision(&in, c, &q);
    assert_int_equal(c->answers, rc == 0);
    fake_call_free(c);
    return rc;
}

static void test_who_may_see(void **state)
{
    (void)state;
    start("false");
    sv_id id = one("failed");
    assert_int_equal(look(call_of("o", "u", "member"), &id), 0);
    assert_int_equal(look(call_of("o", "v", "member"), &id), SV_E_NOT_FOUND);
    assert_int_equal(look(call_of("o", "v", "viewer"), &id), SV_E_NOT_FOUND);
    assert_int_equal(look(call_of("o", "v", "admin"), &id), 0);
    assert_int_equal(look(call_of("o", "v", "owner"), &id), 0);
    assert_int_equal(look(call_of("other", "u", "member"), &id), SV_E_NOT_FOUND);
    assert_int_equal(look(call_of("other", "v", "owner"), &id), SV_E_NOT_FOUND);
    assert_int_equal(look(call_of("other", "v", "platform_admin"), &id), 0);
    sv_call *c = fake_call(&process, "edge", "{}", false);
    assert_int_equal(look(c, &id), SV_E_NO_CREDENTIALS);
    c = fake_call(&process, "operator", "{}", false);
    assert_int_equal(look(c, &id), 0);
    end();
}

/* A record without an owner: no name is everybody's. */
static void test_nobodys(void **state)
{
    (void)state;
    start("false");
    decision_start s = {.asked = {"m", 1}};
    char text[UUID_TEXT + 1];
    sv_id id;
    decision *d = decision_begin(in.decisions, 1, &s);
    decision_id(d, text);
    assert_int_equal(uuid_parse(sv_cstr(text), &id), 0);
    assert_int_equal(look(call_of("", "", "member"), &id), SV_E_NOT_FOUND);
    assert_int_equal(look(call_of("", "u", "admin"), &id), SV_E_NOT_FOUND);
    assert_int_equal(look(call_of("o", "u", "platform_admin"), &id), 0);
    decision_end(in.decisions, &d, &(decision_result){.outcome = "ok"});
    end();
}

static int rate(sv_call *c, const sv_id *id)
{
    char text[UUID_TEXT + 1];
    uuid_format(id, text);
    router_feedback_req q = {.decision = sv_cstr(text), .rating = 1};
    int rc = insight_feedback(&in, c, &q);
    fake_call_free(c);
    return rc;
}

/* SV_E_INTERNAL is the fake store's: the call came as far as the write. */
static void test_who_may_rate(void **state)
{
    (void)state;
    start("false");
    sv_id id = one("ok");
    assert_int_equal(rate(call_of("o", "u", "member"), &id), SV_E_INTERNAL);
    assert_int_equal(rate(call_of("o", "v", "owner"), &id), SV_E_NOT_FOUND);
    assert_int_equal(rate(call_of("o", "v", "platform_admin"), &id), SV_E_NOT_FOUND);
    assert_int_equal(rate(call_of("other", "u", "member"), &id), SV_E_NOT_FOUND);
    assert_int_equal(rate(fake_call(&process, "operator", "{}", false), &id), SV_E_NOT_FOUND);
    decision_start s = {.org = {"o", 1}, .user = {"u", 1}};
    char text[UUID_TEXT + 1];
    decision *d = decision_begin(in.decisions, 1, &s);
    decision_id(d, text);
    assert_int_equal(uuid_parse(sv_cstr(text), &id), 0);
    assert_int_equal(rate(call_of("o", "u", "member"), &id), SV_E_INVALID); /* still under way */
    decision_end(in.decisions, &d, &(decision_result){.outcome = "ok"});
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written_behind), cmocka_unit_test(test_failure_keeps_them),
        cmocka_unit_test(test_bounded),        cmocka_unit_test(test_drain_writes_at_once),
        cmocka_unit_test(test_learned),        cmocka_unit_test(test_the_sooner_of_two),
        cmocka_unit_test(test_who_may_see),    cmocka_unit_test(test_nobodys),
        cmocka_unit_test(test_who_may_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
