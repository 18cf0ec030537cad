/*  test_own_limits.c - limits of one provider that somebody brought: taken for each call of it from the
 *  real owner of the counters, and who answers when they are reached. */
#define sv_open      nobody_open
#define sv_connected nobody_connected
#include "../runtime/tiny_server.h"
#include "fake_bus.h"
#undef sv_open
#undef sv_connected
#include "relay_kit.h"

#include "budget_core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

sv_stream *sv_open(sv_process *p, const sv_request *q, const sv_events *ev, void *arg,
                   sv_error *err);
bool sv_connected(sv_process *p);

#define GOOD                                                                                       \
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 124\r\n\r\n"             \
    "{\"choices\":[{\"message\":{\"content\":\"yes\"},\"finish_reason\":\"stop\"}],"               \
    "\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":20}}      "

#define BROKEN "HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\n{}"

enum { ASKS = 64, CALLS = 40 };

/* ---- the owner ---- */

typedef struct asked {
    const sv_events *events;
    void *arg;
    buf body;
} asked;

static asked asks[ASKS];
static uint32_t n_asks;
static loop_timer owner_timer;
static budget_core *owner;
static bool silent; /* the owner does not answer */

static int load_counter(void *arg, budget_counter_row *row)
{
    (void)arg, (void)row;
    return SV_E_NOT_FOUND;
}

static int load_client(void *arg, budget_client_row *row)
{
    (void)arg, (void)row;
    return SV_E_NOT_FOUND;
}

static void answer_asks(void *arg)
{
    uint32_t n = n_asks;
    asked now[ASKS];
    (void)arg;
    memcpy(now, asks, sizeof now);
    n_asks = 0;
    for (uint32_t i = 0; i < n; i++) {
        cache_budget_req q;
        cache_budget_reply reply;
        cache_budget_grant grants[BUDGET_ITEMS];
        arena a;
        sv_error err = {0};
        arena_init(&a, 1 << 20);
        assert_int_equal(message_decode(&cache_budget_req_msg, buf_str(&now[i].body),
                                        MESSAGE_STRICT, &a, &q, &err),
                         0);
        assert_int_equal(budget_core_reserve(owner, loop_now_us(l) / 1000,
                                             (int64_t)(loop_unix_us(l) / 1000), &q, true, grants,
                                             &reply, &err),
                         0);
        buf_reset(&now[i].body, 1 << 20);
        assert_int_equal(message_encode(&cache_budget_reply_msg, &reply, &now[i].body), 0);
        sv_item item = {.body = buf_str(&now[i].body)};
        now[i].events->done(now[i].arg, (sv_stream *)&asks[i], 0, &item, NULL);
        buf_free(&now[i].body);
        arena_free(&a);
    }
}

sv_stream *sv_open(sv_process *p, const sv_request *q, const sv_events *ev, void *arg,
                   sv_error *err)
{
    (void)p, (void)err;
    if (strncmp(q->target, "cache/1.budget_", 15) != 0 || silent) return NULL;
    assert_true(n_asks < ASKS);
    asked *k = &asks[n_asks++];
    *k = (asked){.events = ev, .arg = arg};
    buf_init(&k->body, 1 << 20);
    assert_int_equal(message_encode(q->type, q->body, &k->body), 0);
    loop_timer_set(l, &owner_timer, 1000, answer_asks, NULL);
    return (sv_stream *)k;
}

bool sv_connected(sv_process *p)
{
    (void)p;
    return true;
}

/* ---- the world: own has limits, plat does not ---- */

static tiny_server servers[2];
static char called[CALLS + 1]; /* 'o' and 'p' */
static bool slow, broken;      /* own alone is broken */
static sv_call *calls[CALLS];
static uint32_t n_calls;

static void answer(tiny_conn *c, sv_str request)
{
    (void)request;
    size_t n = strlen(called);
    bool own = c->server == &servers[0];
    snprintf(called + n, sizeof called - n, "%c", own ? 'o' : 'p');
    if (!slow) tiny_puts(c, own && broken ? BROKEN : GOOD);
}

static int setup(void **state)
{
    (void)state;
    called[0] = 0;
    n_asks = n_calls = 0;
    slow = broken = silent = false;
    relay_start("  prices:\n"
                "    - {model: m, input: 1000000, output: 1000000}\n",
                NULL);
    budget_core_options o = {
        .counters = 32, .epoch = 1, .load_counter = load_counter, .load_client = load_client};
    owner = budget_core_new(&o);
    assert_non_null(owner);
    assert_int_equal(feed_new(&process, &r.feed, NULL), 0);
    assert_int_equal(budgets_new(&process, r.feed, &r.budgets, NULL), 0);
    for (int i = 0; i < 2; i++)
        tiny_start(&servers[i], l, answer);
    r.attempts = 6;
    r.first_byte_ms = r.first_token_ms = r.idle_ms = 20000;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < n_calls; i++) {
        fake_cancel(calls[i]);
        fake_call_free(calls[i]);
    }
    for (int i = 0; i < 2; i++)
        tiny_stop(&servers[i]);
    loop_timer_stop(l, &owner_timer);
    for (uint32_t i = 0; i < n_asks; i++)
        buf_free(&asks[i].body);
    budgets_free(r.budgets);
    feed_free(r.feed);
    budget_core_free(owner);
    relay_stop();
    return 0;
}

/* Its models have any name. */
static void bring(budget_caps limits)
{
    char url[64];
    provider *p;
    sv_error err = {0};
    snprintf(url, sizeof url, "http://127.0.0.1:%d/v1", servers[0].port);
    provider_spec s = {.name = "own",
                       .source = FROM_TENANT,
                       .base_url = url,
                       .format = LLM_OPENAI,
                       .trust = HTTP_TRUST_OPERATOR,
                       .org = "o1",
                       .user = "",
                       .id = "p1",
                       .limits = limits};
    if (provider_add(&r.providers, &s, &p, &err)) fail_msg("%s", err.message);
}

static sv_call *ask_more(const char *body, router_complete_req q, bool also_plat)
{
    static sv_str plat = {"plat/m", 6};
    sv_call *c = fake_call(&process, "edge", body, false);
    q.model = (sv_str){"own/m", 5};
    if (also_plat) q.models = (sv_strs){&plat, 1};
    router_complete_req *kept = arena_alloc(&c->arena, sizeof q);
    *kept = q;
    c->ttl_ms = 20000;
    int rc = router_complete(c, kept);
    if (rc < 0) sv_refuse(c, rc, &c->error);
    assert_true(n_calls < CALLS);
    calls[n_calls++] = c;
    return c;
}

static const char hi[] =
    "{\"model\":\"own/m\",\"max_tokens\":100,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}";

static sv_call *ask(bool also_plat)
{
    sv_call *c = ask_more(hi, (router_complete_req){0}, also_plat);
    UNTIL(c->answers);
    return c;
}

static int64_t spent(void)
{
    sv_str name = sv_cstr("own.provider/o1/p1");
    cache_budget_look_req q = {.names = {&name, 1}};
    cache_budget_look_reply reply;
    cache_budget_used used[BUDGET_LOOK];
    assert_int_equal(budget_core_look(owner, loop_now_us(l) / 1000,
                                      (int64_t)(loop_unix_us(l) / 1000), &q, used, &reply, NULL),
                     0);
    return used[0].day;
}

static uint32_t refused(void)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < n_calls; i++)
        n += calls[i]->code == SV_E_PROVIDER_LIMIT;
    return n;
}

/* ---- cases ---- */

static void others_answer_then(void **state)
{
    (void)state;
    bring((budget_caps){.minute_requests = 2});
    relay_add("plat", LLM_OPENAI, servers[1].port, 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(ask(true)->code, 0);
    assert_string_equal(called, "oopp");
}

static void nobody_else_is_left(void **state)
{
    (void)state;
    bring((budget_caps){.minute_requests = 2, .minute_tokens = 100000});
    assert_int_equal(ask(false)->code, 0);
    assert_int_equal(ask(false)->code, 0);
    sv_call *c = ask(false);
    assert_int_equal(c->code, SV_E_PROVIDER_LIMIT);
    assert_string_equal(c->refusal.field, "minute_requests");
    assert_non_null(strstr(c->refusal.message, "own:own: "));
    assert_in_range(c->refusal.retry_after_ms, 100, 62000);
    assert_false(c->refusal.final);
    assert_string_equal(called, "oo");
}

/* The worst case is held while a call is under way, and its price is what counts then. */
static void money_by_list_prices(void **state)
{
    (void)state;
    slow = true;
    bring((budget_caps){.day = 5 * 125, .month = 100000});
    for (int i = 0; i < 30; i++)
        ask_more(hi, (router_complete_req){0}, false);
    UNTIL(strlen(called) == 5);
    UNTIL(refused() == 25);
    for (uint32_t i = 0; i < n_calls; i++) {
        if (calls[i]->code == 0) continue;
        assert_string_equal(calls[i]->refusal.field, "day");
        assert_true(calls[i]->refusal.retry_after_ms > 0);
    }
    assert_int_equal(strlen(called), 5);
    for (uint32_t i = 0; i < n_calls;
         i++) /* what was generated by then: nothing, but it was read */
        fake_cancel(calls[i]);
    const int64_t before = 5 * 5; /* their questions of 5 tokens */
    UNTIL(spent() == before);
    slow = false;
    called[0] = 0;
    for (int i = 0; i < 10; i++) /* 30 each, and the worst case is left for the last */
        assert_int_equal(ask(false)->code, 0);
    UNTIL(spent() == before + 300);
}

/* A try that fails is a request; what comes of its limit is not told in the place of the failure. */
static void tries_are_requests(void **state)
{
    (void)state;
    broken = true;
    bring((budget_caps){.minute_requests = 1});
    router_complete_head h;
    sv_call *c = ask(false);
    assert_int_equal(c->code, 0);
    assert_int_equal(message_decode(&router_complete_head_msg, buf_str(&c->head), MESSAGE_STRICT,
                                    &c->arena, &h, NULL),
                     0);
    assert_int_equal(h.http_status, 500);
    assert_int_equal(h.attempts, 1);
    assert_string_equal(called, "o");
    relay_add("plat", LLM_OPENAI, servers[1].port, 0);
    provider *p = r.providers.items[0];
    p->limits.minute_requests = 2; /* one more */
    assert_int_equal(ask(true)->code, 0);
    assert_string_equal(called, "oop");
}

static void larger_than_the_limit(void **state)
{
    (void)state;
    bring((budget_caps){.minute_tokens = 100});
    sv_call *c = ask(false);
    assert_int_equal(c->code, SV_E_PROVIDER_LIMIT);
    assert_string_equal(c->refusal.field, "minute_tokens");
    assert_non_null(strstr(c->refusal.message, "max_tokens"));
    assert_true(c->refusal.final);
    relay_add("plat", LLM_OPENAI, servers[1].port, 0);
    assert_int_equal(ask(true)->code, 0);
    assert_string_equal(called, "p");
}

static void a_race_goes_without_it(void **state)
{
    (void)state;
    bring((budget_caps){.minute_requests = 1});
    relay_add("plat", LLM_OPENAI, servers[1].port, 0);
    assert_int_equal(ask(false)->code, 0);
    sv_call *c = ask_more(hi, (router_complete_req){.mode = sv_cstr("race")}, true);
    UNTIL(c->answers);
    assert_int_equal(c->code, 0);
    assert_string_equal(called, "op");
}

/* Its client leaves while the owner is asked: nobody was called, nothing is held or waits. */
static void a_client_leaves(void **state)
{
    (void)state;
    silent = true;
    bring((budget_caps){.minute_requests = 1});
    sv_call *c = ask_more(hi, (router_complete_req){0}, false);
    loop_turn(l, 20);
    assert_int_equal(c->answers, 0);
    fake_cancel(c);
    assert_int_equal(c->code, SV_E_CANCELLED);
    silent = false;
    assert_int_equal(ask(false)->code, 0);
    assert_string_equal(called, "o");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(others_answer_then, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_else_is_left, setup, teardown),
        cmocka_unit_test_setup_teardown(money_by_list_prices, setup, teardown),
        cmocka_unit_test_setup_teardown(tries_are_requests, setup, teardown),
        cmocka_unit_test_setup_teardown(larger_than_the_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(a_race_goes_without_it, setup, teardown),
        cmocka_unit_test_setup_teardown(a_client_leaves, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
