/*  budgets.c - budgets through a real broker: auth with the definitions, the cache with the counters,
 *  three routers that take and settle. Never more than the limit, with kill -9 of the owner, of a router
 *  and of the broker in the middle; what a dead router held comes back; definitions are everywhere
 *  within a second. This process stands in the supervisor's place. BIN names the executables. */
#include "budget.h"
#include "bus_kit.h"
#include "error.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { ROUTERS = 3, CALLS = 512 };

/* What routers are to do and have done, for all to see. */
typedef struct shared {
    atomic_int take[ROUTERS + 1], settle[ROUTERS + 1];
    atomic_int allowed, refused, failed, open[ROUTERS + 1], spent;
    atomic_llong sequence[ROUTERS + 1];
} shared;

static shared *seen;
static pid_t auth_pid, cache_pid, router_pid[ROUTERS + 1];

/* ---- a router that only takes and settles ---- */

typedef struct taker taker;
typedef struct one_call {
    budget_wait wait;
    budget_hold *hold;
    bool waiting, running;
    taker *of;
} one_call;

struct taker {
    feed *feed;
    budgets *b;
    one_call calls[CALLS];
};

static void judged(one_call *c, int code, budget_hold *hold)
{
    c->waiting = false;
    c->running = code == 0;
    c->hold = hold;
    atomic_fetch_add(code == 0             ? &seen->allowed
                     : code == SV_E_BUDGET ? &seen->refused
                                           : &seen->failed,
                     1);
}

static void done(void *arg, int code, budget_hold *hold, const sv_error *err)
{
    (void)err;
    judged(arg, code, hold);
}

static void take_one(taker *t)
{
    one_call *c = t->calls;
    budget_hold *hold;
    sv_error err = {.code = 0};
    while (c < t->calls + CALLS && (c->waiting || c->running))
        c++;
    if (c == t->calls + CALLS) abort();
    *c = (one_call){.of = t, .waiting = true, .wait = {.done = done, .arg = c}};
    budget_ask q = {
        .org = sv_cstr("o1"), .user = sv_cstr("u1"), .micro = 1, .tokens = 10, .ttl_ms = 60000};
    int rc = budget_take(t->b, &q, &hold, &c->wait, &err);
    if (rc != SV_PENDING) judged(c, rc, hold);
}

static int taker_init(sv_process *p, void **state, sv_error *err)
{
    taker *t = calloc(1, sizeof *t);
    int rc = feed_new(p, &t->feed, err);
    if (rc == 0) rc = budgets_new(p, t->feed, &t->b, err);
    *state = t;
    return rc;
}

static void taker_tick(sv_process *p, void *state)
{
    taker *t = state;
    uint32_t me = sv_instance(p);
    int open = 0;
    if (!sv_connected(p) || me == 0 || me > ROUTERS) return;
    for (int n = atomic_exchange(&seen->take[me], 0); n > 0 && !sv_draining(p); n--)
        take_one(t);
    bool settle = atomic_exchange(&seen->settle[me], 0);
    for (int i = 0; i < CALLS; i++) {
        one_call *c = &t->calls[i];
        if (c->running && settle) {
            c->running = false;
            budget_settle(c->hold, 1, 5);
            atomic_fetch_add(&seen->spent, 1);
        }
        open += c->waiting || c->running;
    }
    atomic_store(&seen->open[me], open);
    atomic_store(&seen->sequence[me], feed_ready(t->feed) ? feed_sequence(t->feed) : -1);
}

static void taker_drain(sv_process *p, void *state)
{
    (void)p;
    budgets_drain(((taker *)state)->b);
}

static void taker_stop(sv_process *p, void *state)
{
    (void)p;
    taker *t = state;
    for (int i = 0; i < CALLS; i++) {
        if (t->calls[i].waiting) budget_wait_cancel(&t->calls[i].wait);
        if (t->calls[i].running) budget_settle(t->calls[i].hold, 0, 0);
    }
    budgets_free(t->b);
    feed_free(t->feed);
    free(t);
}

static const sv_actor router = {.name = "router",
                                .init = taker_init,
                                .tick = taker_tick,
                                .tick_ms = 5,
                                .drain = taker_drain,
                                .stop = taker_stop};

/* ---- waiting and asking ---- */

static bool never(void *arg)
{
    (void)arg;
    return false;
}

static void pump(void)
{
    assert_int_equal(sv_tool_wait(kit_me, never, NULL, 5), SV_E_DEADLINE);
}

#define UNTIL(condition)                                                                           \
    do {                                                                                           \
        uint64_t end_us = clock_us() + 30000000;                                                   \
        while (!(condition)) {                                                                     \
            assert_true(clock_us() < end_us);                                                      \
            pump();                                                                                \
        }                                                                                          \
    } while (0)

static int ask(const char *target, const sv_message *m, const void *q, const sv_message *reply_type,
               void *reply)
{
    kit_call k;
    sv_request r = {.target = target, .type = m, .body = q, .ttl_ms = 3000};
    kit_begin(&k, &r);
    int rc = kit_finish(&k, reply_type, reply);
    kit_end(&k);
    return rc;
}

static bool auth_answers(void)
{
    auth_feed_page page;
    auth_feed_req q = {.after = 0};
    return ask("auth.feed", &auth_feed_req_msg, &q, &auth_feed_page_msg, &page) == 0;
}

static int64_t end_of_feed(void)
{
    auth_feed_page page;
    auth_feed_req q = {.after = 0};
    assert_int_equal(ask("auth.feed", &auth_feed_req_msg, &q, &auth_feed_page_msg, &page), 0);
    return page.sequence;
}

static bool all_know(int64_t sequence)
{
    for (int i = 1; i <= ROUTERS; i++)
        if (atomic_load(&seen->sequence[i]) < sequence) return false;
    return true;
}

/* Sets the budget of every organization; how long until all routers know. */
static uint64_t set_total(int64_t total)
{
    auth_budget_set_req q = {
        .level = sv_cstr("platform"), .org = sv_cstr("*"), .kind = sv_cstr("org"), .total = total};
    auth_budget_reply reply;
    assert_int_equal(
        ask("auth.budget_set", &auth_budget_set_req_msg, &q, &auth_budget_reply_msg, &reply), 0);
    uint64_t from_us = clock_us();
    int64_t sequence = end_of_feed();
    UNTIL(all_know(sequence));
    return (clock_us() - from_us) / 1000;
}

static bool look(cache_budget_used *ret)
{
    sv_str name = sv_cstr("platform.org/o1");
    cache_budget_look_req q = {.names = {&name, 1}};
    cache_budget_look_reply reply;
    kit_call k;
    sv_request r = {.target = "cache/1.budget_look",
                    .type = &cache_budget_look_req_msg,
                    .body = &q,
                    .ttl_ms = 3000};
    kit_begin(&k, &r);
    int rc = kit_finish(&k, &cache_budget_look_reply_msg, &reply);
    if (rc == 0) *ret = *(cache_budget_used *)reply.items.items;
    kit_end(&k);
    return rc == 0;
}

static int judged_all(void)
{
    return atomic_load(&seen->allowed) + atomic_load(&seen->refused) + atomic_load(&seen->failed);
}

static void settle_all(void)
{
    for (int i = 1; i <= ROUTERS; i++)
        atomic_store(&seen->settle[i], 1);
    for (int i = 1; i <= ROUTERS; i++)
        UNTIL(atomic_load(&seen->settle[i]) == 0 && atomic_load(&seen->open[i]) == 0);
}

static void told(int64_t total)
{
    cache_budget_used used = {.total = -1};
    UNTIL(look(&used) && used.total == total);
}

static int setup(void **state)
{
    (void)state;
    cache_budget_used used;
    seen = mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(seen != MAP_FAILED);
    kit_open("budgets");
    setenv("SAMOVAR_LOG_LEVEL", "error", 1);
    kit_start_broker();
    cache_pid = kit_start(NULL, "cache", 1);
    kit_join();
    UNTIL(look(&used)); /* the root key is made */
    auth_pid = kit_start(NULL, "auth", 1);
    for (int i = 1; i <= ROUTERS; i++) {
        atomic_store(&seen->sequence[i], -1);
        router_pid[i] = kit_start(&router, "router", (unsigned)i);
    }
    UNTIL(auth_answers());
    UNTIL(all_know(0));
    return 0;
}

/* ---- the stories, in this order ---- */

static void definitions_within_a_second(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        uint64_t ms = set_total(50 + i);
        print_message("known everywhere after %llu ms\n", (unsigned long long)ms);
        assert_true(ms < 1000);
    }
    set_total(50);
}

static void two_hundred_for_fifty(void **state)
{
    (void)state;
    const int n[] = {0, 70, 70, 60};
    for (int i = 1; i <= ROUTERS; i++)
        atomic_store(&seen->take[i], n[i]);
    UNTIL(judged_all() == 200);
    assert_int_equal(atomic_load(&seen->failed), 0);
    assert_int_equal(atomic_load(&seen->allowed), 50);
    settle_all();
    told(50);
}

static void owner_killed(void **state)
{
    (void)state;
    int limit = 50, before = judged_all(), asked = 0;
    for (int round = 0; round < 3; round++) {
        limit += 40;
        set_total(limit);
        for (int i = 1; i <= ROUTERS; i++)
            atomic_store(&seen->take[i], 15);
        asked += 45;
        UNTIL(judged_all() > before + asked - 45 + round);
        kit_kill(cache_pid);
        for (int i = 1; i <= ROUTERS; i++) /* nobody hears of it yet */
            atomic_store(&seen->settle[i], 1);
        cache_pid = kit_start(NULL, "cache", 1);
        UNTIL(judged_all() == before + asked);
        assert_true(atomic_load(&seen->allowed) <= limit);
        settle_all();
        told(atomic_load(&seen->spent));
    }
    assert_int_equal(atomic_load(&seen->spent), atomic_load(&seen->allowed));
    print_message("%d of %d after three owners\n", atomic_load(&seen->spent), limit);
}

static void router_killed(void **state)
{
    (void)state;
    int spent = atomic_load(&seen->spent), before = judged_all();
    cache_budget_used used;
    UNTIL(look(&used) && used.held == 0); /* no router has any of it in hand */
    set_total(spent + 10);
    atomic_store(&seen->take[1], 10);
    UNTIL(judged_all() == before + 10);
    assert_int_equal(atomic_load(&seen->allowed), spent + 10);
    atomic_store(&seen->take[2], 1);
    UNTIL(judged_all() == before + 11);
    assert_int_equal(atomic_load(&seen->allowed), spent + 10);
    kit_kill(router_pid[1]);
    atomic_fetch_sub(&seen->allowed, 10); /* they have cost nothing */
    atomic_store(&seen->open[1], 0);
    atomic_store(&seen->sequence[1], -1);
    router_pid[1] = kit_start(&router, "router", 1);
    uint64_t from_us = clock_us();
    for (int tries = 1; atomic_load(&seen->allowed) < spent + 1; tries++) {
        assert_true(clock_us() - from_us < 30000000);
        atomic_store(&seen->take[2], 1);
        UNTIL(judged_all() == before + 1 + tries);
    }
    print_message("came back after %llu ms\n", (unsigned long long)(clock_us() - from_us) / 1000);
    int so_far = judged_all();
    for (int i = 1; i <= ROUTERS; i++)
        atomic_store(&seen->take[i], 8);
    UNTIL(judged_all() == so_far + 24);
    assert_int_equal(atomic_load(&seen->allowed), spent + 10);
    settle_all();
    told(spent + 10);
}

static void auth_and_broker_killed(void **state)
{
    (void)state;
    int spent = atomic_load(&seen->spent);
    kit_kill(auth_pid);
    auth_pid = kit_start(NULL, "auth", 1);
    UNTIL(auth_answers());
    assert_true(set_total(spent + 5) < 1000);
    kit_kill_broker();
    kit_start_broker();
    kit_announce(auth_pid, "auth", 1);
    kit_announce(cache_pid, "cache", 1);
    for (int i = 1; i <= ROUTERS; i++)
        kit_announce(router_pid[i], "router", (unsigned)i);
    UNTIL(auth_answers());
    set_total(spent + 6);
    int so_far = judged_all();
    for (int i = 1; i <= ROUTERS; i++)
        atomic_store(&seen->take[i], 10);
    UNTIL(judged_all() == so_far + 30);
    assert_int_equal(atomic_load(&seen->allowed), spent + 6);
    settle_all();
    told(spent + 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(definitions_within_a_second), cmocka_unit_test(two_hundred_for_fifty),
        cmocka_unit_test(owner_killed), cmocka_unit_test(router_killed),
        cmocka_unit_test(auth_and_broker_killed)};
    return cmocka_run_group_tests(tests, setup, kit_close);
}
