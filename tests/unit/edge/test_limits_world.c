/*  test_limits_world.c - edges, messages that take their time or are lost, and owners that die, in
 *  simulated time. By brute force: while its owner lives no counter lets more through in any minute
 *  than its limit, and after changes of owners less than one limit more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "error.h"
#include "limit_core.h"
#include "log.h"
#include "metrics.h"
#include "rate_limits.h"

#include <stdio.h>
#include <stdlib.h>

enum { EDGES = 3, USERS = 4, WAITS = 300, MESSAGES = 2000, USES = 40000, ASK_MS = 250 };

typedef struct message {
    bool used, answer;
    int edge, code;
    uint64_t at_us, sent_us;
    limits_counter *counter; /* NULL: told */
    char name[NAME_BYTES_MOST];
    cache_limit_take_req q;
    cache_limit_return returns[4];
    cache_limit_take_reply r;
} message;

typedef struct waiting {
    limits_wait wait;
    bool pending;
    int edge, user;
} waiting;

typedef struct edge_end {
    struct world *w;
    limits *l;
    int number;
} edge_end;

typedef struct world {
    uint64_t now_us;
    edge_end edges[EDGES];
    limit_core *owner; /* NULL: dead */
    int64_t epoch;
    message messages[MESSAGES];
    waiting waits[WAITS];
    uint64_t *uses[USERS];
    size_t n_uses[USERS];
    uint32_t slow_ms, lost_percent; /* of messages */
    uint64_t asked, checks;
} world;

static uint64_t seed;

static uint32_t dice(uint32_t sides)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % sides;
}

/* ---- messages ---- */

static uint64_t now_of(void *arg)
{
    return ((edge_end *)arg)->w->now_us;
}

static message *new_message(world *w)
{
    for (int i = 0; i < MESSAGES; i++) {
        if (w->messages[i].used) continue;
        w->messages[i] = (message){.used = true};
        return &w->messages[i];
    }
    fail_msg("too many messages on their way");
    return NULL;
}

static void send(edge_end *e, limits_counter *c, const cache_limit_take_req *q)
{
    message *m = new_message(e->w);
    m->edge = e->number;
    m->counter = c;
    m->sent_us = e->w->now_us;
    m->at_us = e->w->now_us + 1 + dice(e->w->slow_ms * 1000);
    memcpy(m->name, q->name.p, q->name.n);
    m->q = *q;
    m->q.name.p = m->name;
    assert_true(q->returns.n <= 4);
    if (q->returns.n) memcpy(m->returns, q->returns.items, q->returns.n * sizeof *m->returns);
    m->q.returns.items = m->returns;
}

static bool ask(void *arg, limits_counter *c, const cache_limit_take_req *q)
{
    edge_end *e = arg;
    e->w->asked++;
    if (e->w->owner == NULL && dice(2)) return false;
    send(e, c, q);
    return true;
}

static void tell(void *arg, const cache_limit_take_req *q)
{
    send(arg, NULL, q);
}

static void wake(void *arg)
{
    (void)arg;
}

static void at_owner(world *w, message *m)
{
    bool lost = dice(100) < w->lost_percent;
    if (w->owner && !lost)
        assert_int_equal(limit_core_take(w->owner, w->now_us / 1000, &m->q, &m->r, NULL), 0);
    if (m->counter == NULL) {
        m->used = false;
        return;
    }
    m->answer = true;
    m->code = w->owner == NULL                      ? SV_E_NO_SERVICE
              : lost || dice(100) < w->lost_percent ? SV_E_DEADLINE
                                                    : 0;
    uint64_t end_us = m->sent_us + ASK_MS * 1000;
    m->at_us = w->now_us + 1 + dice(w->slow_ms * 1000);
    if (m->code == SV_E_DEADLINE || m->at_us > end_us) {
        m->code = SV_E_DEADLINE;
        m->at_us = end_us > w->now_us ? end_us : w->now_us + 1;
    }
}

static void at_edge(world *w, message *m)
{
    message copy = *m;
    m->used = false;
    limits_answer(w->edges[copy.edge].l, copy.counter, copy.code, copy.code ? NULL : &copy.r);
}

/* Delivers what is due, in the order of its time. */
static void deliver(world *w, uint64_t until_us)
{
    for (;;) {
        message *next = NULL;
        for (int i = 0; i < MESSAGES; i++) {
            message *m = &w->messages[i];
            if (m->used && m->at_us <= until_us && (next == NULL || m->at_us < next->at_us))
                next = m;
        }
        if (next == NULL) break;
        if (next->at_us > w->now_us) w->now_us = next->at_us;
        if (next->answer)
            at_edge(w, next);
        else
            at_owner(w, next);
    }
    w->now_us = until_us;
}

/* ---- requests ---- */

static void let_through(world *w, int user)
{
    assert_true(w->n_uses[user] < USES);
    w->uses[user][w->n_uses[user]++] = w->now_us;
}

static world *the_world;

static void done(limits_wait *wait, const limits_verdict *v)
{
    waiting *a = member_of(waiting, wait, wait);
    assert_true(a->pending);
    a->pending = false;
    if (v->allowed) let_through(the_world, a->user);
    if (!v->allowed) assert_true(v->retry_after_ms > 0);
}

static void request(world *w, int tier)
{
    static const char *const tiers[] = {"free", "premium"};
    static const char *const users[USERS] = {"a", "b", "c", "d"};
    waiting *a = &w->waits[dice(WAITS)];
    if (a->pending) {
        if (dice(5)) return;
        limits_cancel(w->edges[a->edge].l, &a->wait);
        a->pending = false;
        return;
    }
    a->edge = (int)dice(EDGES);
    a->user = (int)dice(USERS);
    limits_subject s = {.class = CLASS_CHAT,
                        .address = users[a->user],
                        .user = sv_cstr(users[a->user]),
                        .tier = sv_cstr(tiers[tier]),
                        .org = sv_cstr(a->user < 2 ? "o1" : "o2")};
    if (a->user == 3) {
        s.key = sv_cstr("k");
        s.key_minute = 40;
    }
    limits_verdict v;
    w->checks++;
    a->pending = true;
    if (!limits_check(w->edges[a->edge].l, &s, &a->wait, done, &v)) return;
    a->pending = false;
    if (v.allowed) let_through(w, a->user);
}

/* ---- worlds ---- */

static void world_open(world *w, int64_t epoch, uint32_t counters)
{
    *w = (world){.now_us = 5000000000, .epoch = epoch, .slow_ms = 3};
    the_world = w;
    w->owner = limit_core_new(100, ++w->epoch);
    for (int i = 0; i < EDGES; i++) {
        w->edges[i] = (edge_end){.w = w, .number = i};
        limits_options o = {
            .rules = {.tiers = {[LIMITS_FREE] = {100, 0}, [LIMITS_PREMIUM] = {1000, 1500}},
                      .org_factor = 10,
                      .scale = 1,
                      .edges = EDGES},
            .counters = counters,
            .now_us = now_of,
            .ask = ask,
            .tell = tell,
            .wake = wake,
            .arg = &w->edges[i]};
        w->edges[i].l = limits_new(&o);
        assert_non_null(w->edges[i].l);
    }
    for (int i = 0; i < USERS; i++)
        w->uses[i] = malloc(USES * sizeof *w->uses[i]);
}

static void world_close(world *w)
{
    for (int i = 0; i < WAITS; i++)
        if (w->waits[i].pending) limits_cancel(w->edges[w->waits[i].edge].l, &w->waits[i].wait);
    for (int i = 0; i < EDGES; i++)
        limits_free(w->edges[i].l);
    limit_core_free(w->owner);
    for (int i = 0; i < USERS; i++)
        free(w->uses[i]);
}

static size_t most_in_any(const world *w, int user, uint64_t window_us)
{
    size_t most = 0, from = 0;
    for (size_t i = 0; i < w->n_uses[user]; i++) {
        while (w->uses[user][from] + window_us < w->uses[user][i])
            from++;
        if (i - from + 1 > most) most = i - from + 1;
    }
    return most;
}

/* Bursts, quiet times and pauses; ticks as they fall. */
static void run(world *w, int requests, int tier, uint32_t gap_us)
{
    uint64_t tick_us = w->now_us;
    for (int i = 0; i < requests; i++) {
        uint64_t next = w->now_us + dice(dice(100) ? gap_us : 300 * gap_us);
        if (dice(2000) == 0) next += dice(90) * 1000000ull;
        while (tick_us < next) {
            deliver(w, tick_us > w->now_us ? tick_us : w->now_us);
            for (int e = 0; e < EDGES; e++)
                limits_tick(w->edges[e].l);
            tick_us += LIMITS_TICK_MS * 1000;
        }
        deliver(w, next);
        request(w, tier);
    }
}

static void never_more_while_the_owner_lives(void **state)
{
    (void)state;
    static world w;
    for (uint64_t s = 1; s <= 12; s++) {
        seed = s * 977;
        int tier = (int)(s % 2);
        world_open(&w, (int64_t)s, s % 3 ? 1000 : 5);
        if (s % 4 == 0 && s % 3) w.slow_ms = 200;
        run(&w, 12000, tier, tier ? 30000 : 100000);
        for (int u = 0; u < USERS; u++) {
            size_t limit = u == 3 ? 40 : tier ? 1000 : 100;
            size_t most = most_in_any(&w, u, 60000000);
            if (most > limit) print_error("seed %d user %d: %d\n", (int)s, u, (int)most);
            /* answers that come too late count as an owner away */
            if (w.slow_ms < ASK_MS / 2) assert_true(most <= limit);
            assert_true(most <= limit + limit / 4 + EDGES);
            assert_true(most > limit / 4);
            if (tier) assert_true(most_in_any(&w, u, 3600000000u) <= 1500);
        }
        if (tier && w.slow_ms == 3 && s % 3) assert_true(w.asked * 2 < w.checks);
        world_close(&w);
    }
}

/* Well under one limit more, even when owners change twice within a minute: a new one is told. */
static void a_change_of_owners_costs_little(void **state)
{
    (void)state;
    static world w;
    for (uint64_t s = 1; s <= 12; s++) {
        seed = s * 7919;
        world_open(&w, (int64_t)s * 100, 1000);
        run(&w, 4000, 0, 50000);
        for (int change = 0; change < 2; change++) {
            limit_core_free(w.owner); /* kill -9 */
            w.owner = NULL;
            if (s % 2) run(&w, 300, 0, 20000);
            w.owner = limit_core_new(100, ++w.epoch);
            run(&w, change ? 4000 : 500, 0, 50000);
        }
        for (int u = 0; u < USERS; u++) {
            size_t limit = u == 3 ? 40 : 100;
            size_t most = most_in_any(&w, u, 60000000);
            if (most > limit + limit / 2) print_error("seed %d: %d\n", (int)s, (int)most);
            assert_true(most <= limit + limit / 2);
        }
        world_close(&w);
    }
}

/* An owner that is never there: a quarter for all edges together. */
static void a_quarter_without_an_owner(void **state)
{
    (void)state;
    static world w;
    seed = 5;
    world_open(&w, 1, 1000);
    limit_core_free(w.owner);
    w.owner = NULL;
    run(&w, 8000, 0, 50000);
    for (int u = 0; u < USERS; u++) {
        size_t limit = u == 3 ? 40 : 100;
        assert_true(most_in_any(&w, u, 60000000) <= limit / 4);
        assert_true(w.n_uses[u] > 10);
    }
    world_close(&w);
}

/* Lost messages make it stricter or local, never wide open. */
static void lost_messages_do_not_open_it(void **state)
{
    (void)state;
    static world w;
    for (uint64_t s = 1; s <= 8; s++) {
        seed = s * 31337;
        world_open(&w, (int64_t)s, 1000);
        w.lost_percent = 10;
        run(&w, 8000, 0, 50000);
        for (int u = 0; u < USERS; u++) {
            size_t limit = u == 3 ? 40 : 100;
            assert_true(most_in_any(&w, u, 60000000) <= limit + limit / 4);
        }
        world_close(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(never_more_while_the_owner_lives),
        cmocka_unit_test(a_change_of_owners_costs_little),
        cmocka_unit_test(a_quarter_without_an_owner),
        cmocka_unit_test(lost_messages_do_not_open_it),
    };
    log_init("test", 0, LOG_ERROR, 2);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    metrics_free();
    return rc;
}
