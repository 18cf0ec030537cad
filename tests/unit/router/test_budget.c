/*  test_budget.c - routers' accounts against the owner of the counters, the real code of both, in a
 *  world with its own clock: messages are late or lost, owners die with what they had not written,
 *  routers die with what they held. What was spent never crosses a limit, and all of it can be spent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "budget.h"
#include "budget_core.h"
#include "error.h"
#include "name_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUTERS = 4, TIMERS = 4, CALLS = 400, ROWS = 64, DAY0_S = 1900000000 };

/* ---- the world ---- */

typedef struct one_call {
    struct router *r;
    budget_wait wait;
    budget_hold *hold;
    bool waiting, running;
    int code;
    sv_error err;
    int64_t micro;
} one_call;

typedef struct router {
    bool alive, deaf; /* deaf: nothing reaches the owner */
    struct {
        loop_timer *t;
        loop_fn *fn;
        void *arg;
        uint64_t at_us;
    } timers[TIMERS];
    feed *feed;
    budgets *b;
    one_call calls[CALLS];
} router;

typedef struct flight {
    ring_link link;
    router *r;
    const sv_events *events;
    void *arg;
    buf body;
    bool arrived, lost, settle;
    int code;
    uint64_t at_us;
} flight;

static uint64_t now_us, seed;
static router routers[ROUTERS];
static ring_link flights;
static budget_core *owner;
static budget_counter_row disk_counters[ROWS];
static budget_client_row disk_clients[ROWS * 16];
static char disk_names[ROWS][128], client_names[ROWS * 16][128];
static uint32_t n_counters, n_clients, asks;
static int loss; /* per cent */
static int64_t spent;
static uint64_t written_us;

static uint32_t dice(uint32_t sides)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % sides;
}

uint64_t __wrap_loop_now_us(const loop *l);
uint64_t __wrap_loop_unix_us(const loop *l);
int __wrap_loop_timer_set(loop *l, loop_timer *t, uint64_t delay_us, loop_fn *fn, void *arg);
void __wrap_loop_timer_stop(loop *l, loop_timer *t);
loop *__wrap_sv_loop(sv_process *p);
bool __wrap_sv_connected(sv_process *p);
int __wrap_sv_subscribe(sv_process *p, const char *pattern, sv_event_fn *fn, void *arg);
void __wrap_sv_unsubscribe(sv_process *p, const char *pattern, sv_event_fn *fn, void *arg);
sv_stream *__wrap_sv_open(sv_process *p, const sv_request *r, const sv_events *ev, void *arg,
                          sv_error *err);
void __wrap_sv_cancel(sv_stream *s);

uint64_t __wrap_loop_now_us(const loop *l)
{
    (void)l;
    return now_us;
}

uint64_t __wrap_loop_unix_us(const loop *l)
{
    (void)l;
    return DAY0_S * 1000000ULL + now_us;
}

void __wrap_loop_timer_stop(loop *l, loop_timer *t)
{
    router *r = (router *)l;
    for (int i = 0; i < TIMERS; i++)
        if (r->timers[i].t == t) r->timers[i].t = NULL;
}

int __wrap_loop_timer_set(loop *l, loop_timer *t, uint64_t delay_us, loop_fn *fn, void *arg)
{
    router *r = (router *)l;
    __wrap_loop_timer_stop(l, t);
    for (int i = 0; i < TIMERS; i++) {
        if (r->timers[i].t) continue;
        r->timers[i].t = t;
        r->timers[i].fn = fn;
        r->timers[i].arg = arg;
        r->timers[i].at_us = now_us + delay_us;
        return 0;
    }
    abort();
}

loop *__wrap_sv_loop(sv_process *p)
{
    return (loop *)p;
}

bool __wrap_sv_connected(sv_process *p)
{
    (void)p;
    return true;
}

int __wrap_sv_subscribe(sv_process *p, const char *pattern, sv_event_fn *fn, void *arg)
{
    (void)p, (void)pattern, (void)fn, (void)arg;
    return 0;
}

void __wrap_sv_unsubscribe(sv_process *p, const char *pattern, sv_event_fn *fn, void *arg)
{
    (void)p, (void)pattern, (void)fn, (void)arg;
}

sv_stream *__wrap_sv_open(sv_process *p, const sv_request *q, const sv_events *ev, void *arg,
                          sv_error *err)
{
    (void)err;
    flight *f = calloc(1, sizeof *f);
    f->r = (router *)p;
    f->events = ev;
    f->arg = arg;
    f->settle = strcmp(q->target, "cache/1.budget_settle") == 0;
    assert_true(f->settle || strcmp(q->target, "cache/1.budget_reserve") == 0 ||
                strcmp(q->target, "auth.feed") == 0);
    f->lost = f->r->deaf || (int)dice(100) < loss || strcmp(q->target, "auth.feed") == 0;
    f->at_us = now_us + 200 + dice(3000);
    if (loss && dice(40) == 0) f->at_us += dice(1000000); /* late: others overtake it */
    buf_init(&f->body, 1 << 20);
    assert_int_equal(message_encode(q->type, q->body, &f->body), 0);
    assert_true(f->body.n < 60000);
    ring_push(&flights, &f->link);
    asks += !f->lost;
    return (sv_stream *)f;
}

static void flight_free(flight *f)
{
    ring_unlink(&f->link);
    buf_free(&f->body);
    free(f);
}

void __wrap_sv_cancel(sv_stream *s)
{
    ((flight *)s)->r = NULL; /* what is on the way arrives all the same */
}

/* ---- the owner ---- */

static int load_counter(void *arg, budget_counter_row *row)
{
    (void)arg;
    for (uint32_t i = 0; i < n_counters; i++)
        if (sv_str_eq(disk_counters[i].name, row->name)) {
            *row = disk_counters[i];
            return 0;
        }
    return SV_E_NOT_FOUND;
}

static int load_client(void *arg, budget_client_row *row)
{
    (void)arg;
    for (uint32_t i = 0; i < n_clients; i++)
        if (disk_clients[i].client == row->client && sv_str_eq(disk_clients[i].name, row->name)) {
            *row = disk_clients[i];
            return 0;
        }
    return SV_E_NOT_FOUND;
}

static int64_t unix_now(void)
{
    return DAY0_S * 1000LL + (int64_t)(now_us / 1000);
}

static void write_disk(void)
{
    static budget_batch b;
    if (owner == NULL || !budget_core_batch(owner, unix_now(), &b)) return;
    if (dice(10) == 0) { /* the disk fails: nothing is lost by it */
        budget_core_written(owner, &b, false);
        return;
    }
    for (uint32_t i = 0; i < b.n_counters; i++) {
        budget_counter_row row = {.name = b.counters[i].name};
        uint32_t at = 0;
        while (at < n_counters && !sv_str_eq(disk_counters[at].name, row.name))
            at++;
        assert_true(at < ROWS);
        if (at == n_counters) n_counters++;
        disk_counters[at] = b.counters[i];
        memcpy(disk_names[at], row.name.p, row.name.n);
        disk_counters[at].name.p = disk_names[at];
    }
    for (uint32_t i = 0; i < b.n_clients; i++) {
        uint32_t at = 0;
        while (at < n_clients && (disk_clients[at].client != b.clients[i].client ||
                                  !sv_str_eq(disk_clients[at].name, b.clients[i].name)))
            at++;
        assert_true(at < ROWS * 16);
        if (at == n_clients) n_clients++;
        disk_clients[at] = b.clients[i];
        memcpy(client_names[at], b.clients[i].name.p, b.clients[i].name.n);
        disk_clients[at].name.p = client_names[at];
    }
    budget_core_written(owner, &b, true);
}

static void owner_start(bool heir)
{
    budget_core_options o = {.counters = 32,
                             .epoch = 1 + dice(1000000),
                             .heir = heir,
                             .load_counter = load_counter,
                             .load_client = load_client};
    owner = budget_core_new(&o);
    assert_non_null(owner);
}

static void owner_kill(void)
{
    budget_core_free(owner);
    owner = NULL;
}

static void at_owner(flight *f)
{
    cache_budget_req q;
    cache_budget_reply reply;
    cache_budget_grant grants[BUDGET_ITEMS];
    arena a;
    sv_error err = {0};
    arena_init(&a, 1 << 20);
    f->arrived = true;
    f->at_us = now_us + 200 + dice(3000);
    if (f->lost) {
        f->at_us = now_us + 10000000; /* never */
    } else if (owner == NULL) {
        f->code = SV_E_NO_SERVICE;
    } else {
        assert_int_equal(
            message_decode(&cache_budget_req_msg, buf_str(&f->body), MESSAGE_STRICT, &a, &q, &err),
            0);
        assert_int_equal(budget_core_reserve(owner, now_us / 1000, unix_now(), &q, !f->settle,
                                             grants, &reply, &err),
                         0);
        buf_reset(&f->body, 1 << 20);
        assert_int_equal(message_encode(&cache_budget_reply_msg, &reply, &f->body), 0);
        if ((int)dice(100) < loss) f->at_us = now_us + 10000000;
    }
    arena_free(&a);
}

/* ---- time ---- */

static void run_flights(void)
{
    for (ring_link *at = flights.next, *next; at != &flights; at = next) {
        flight *f = member_of(flight, link, at);
        next = at->next;
        if (f->at_us > now_us) continue;
        if (!f->arrived) {
            at_owner(f);
            continue;
        }
        router *r = f->r;
        ring_unlink(&f->link);
        if (r && r->alive) {
            sv_item item = {.body = buf_str(&f->body)};
            f->events->done(f->arg, (sv_stream *)f, f->code, &item, NULL);
        }
        buf_free(&f->body);
        free(f);
        next = flights.next; /* anything may have changed */
    }
}

static void step(uint32_t ms)
{
    for (uint32_t i = 0; i < 2 * ms; i++) {
        now_us += 500;
        run_flights();
        for (int k = 0; k < ROUTERS; k++) {
            router *r = &routers[k];
            for (int t = 0; r->alive && t < TIMERS; t++) {
                if (r->timers[t].t == NULL || r->timers[t].at_us > now_us) continue;
                r->timers[t].t = NULL;
                r->timers[t].fn(r->timers[t].arg);
            }
        }
        if (now_us - written_us >= 20000) {
            written_us = now_us;
            write_disk();
        }
        if (owner && i % 2000 == 0) budget_core_tick(owner, now_us / 1000);
    }
}

/* ---- routers ---- */

static auth_budget rules[4];
static uint32_t n_rules;

static void tell_rules(router *r)
{
    auth_feed_item items[4];
    buf data[4];
    for (uint32_t i = 0; i < n_rules; i++) {
        static char ids[4][16];
        buf_init(&data[i], 4096);
        snprintf(ids[i], sizeof ids[i], "b%u", i);
        assert_int_equal(message_encode(&auth_budget_msg, &rules[i], &data[i]), 0);
        items[i] = (auth_feed_item){.sequence = i + 1,
                                    .kind = sv_cstr("budget"),
                                    .id = sv_cstr(ids[i]),
                                    .org = rules[i].org,
                                    .data = buf_str(&data[i])};
    }
    auth_feed_page page = {.items = {items, n_rules}, .upto = n_rules, .sequence = n_rules};
    feed_take(r->feed, &page, true);
    assert_true(feed_ready(r->feed));
    for (uint32_t i = 0; i < n_rules; i++)
        buf_free(&data[i]);
}

static void router_start(router *r)
{
    *r = (router){.alive = true};
    assert_int_equal(feed_new((sv_process *)r, &r->feed, NULL), 0);
    assert_int_equal(budgets_new((sv_process *)r, r->feed, &r->b, NULL), 0);
    tell_rules(r);
}

/* What it held is gone with it. */
static void router_kill(router *r)
{
    if (!r->alive) return;
    r->alive = false;
    for (int i = 0; i < CALLS; i++) {
        if (r->calls[i].waiting) budget_wait_cancel(&r->calls[i].wait);
        if (r->calls[i].running) budget_settle(r->calls[i].hold, 0, 0);
    }
    for (ring_link *at = flights.next; at != &flights; at = at->next) {
        flight *f = member_of(flight, link, at);
        if (f->r == r) f->r = NULL;
    }
    budgets_free(r->b);
    feed_free(r->feed);
    memset(r->timers, 0, sizeof r->timers);
}

static void on_taken(void *arg, int code, budget_hold *hold, const sv_error *err)
{
    one_call *c = arg;
    assert_true(c->waiting);
    c->waiting = false;
    c->code = code;
    c->hold = hold;
    c->running = code == 0;
    if (err) c->err = *err;
}

static one_call *take_of(router *r, int64_t micro, int64_t tokens, const budget_share *shares,
                         uint32_t n_shares, bool unpriced)
{
    one_call *c = r->calls;
    while (c < r->calls + CALLS && (c->waiting || c->running))
        c++;
    assert_true(c < r->calls + CALLS);
    *c = (one_call){.r = r, .wait = {.done = on_taken, .arg = c}, .micro = micro};
    budget_ask q = {.org = sv_cstr("o1"),
                    .user = sv_cstr("u1"),
                    .key = sv_cstr("k1"),
                    .micro = micro,
                    .tokens = tokens,
                    .unpriced = unpriced,
                    .shares = shares,
                    .n_shares = n_shares,
                    .ttl_ms = 60000};
    int rc = budget_take(r->b, &q, &c->hold, &c->wait, &c->err);
    c->waiting = rc == SV_PENDING;
    c->running = rc == 0;
    c->code = c->waiting ? 0 : rc;
    return c;
}

static one_call *take(router *r, int64_t micro, int64_t tokens)
{
    budget_share m1 = {.model = {"m1", 2}, .micro = micro, .tokens = tokens};
    return take_of(r, micro, tokens, &m1, 1, false);
}

static void settle(one_call *c, int64_t micro, int64_t tokens)
{
    assert_true(c->running);
    c->running = false;
    spent += micro;
    budget_settle(c->hold, micro, tokens);
}

static uint32_t running(const router *r)
{
    uint32_t n = 0;
    for (int i = 0; i < CALLS; i++)
        n += r->calls[i].running;
    return n;
}

static int64_t held(void)
{
    int64_t n = 0;
    for (int k = 0; k < ROUTERS; k++)
        for (int i = 0; routers[k].alive && i < CALLS; i++)
            if (routers[k].calls[i].running) n += routers[k].calls[i].micro;
    return n;
}

static int world_start(void **state)
{
    (void)state;
    now_us = 5000000;
    ring_init(&flights);
    n_counters = n_clients = n_rules = asks = 0;
    spent = 0;
    loss = 0;
    owner_start(false);
    return 0;
}

static int world_stop(void **state)
{
    (void)state;
    for (int k = 0; k < ROUTERS; k++)
        router_kill(&routers[k]);
    while (!ring_empty(&flights))
        flight_free(member_of(flight, link, flights.next));
    owner_kill();
    return 0;
}

static void rule(const char *level, const char *kind, const char *subject, auth_budget caps)
{
    caps.level = sv_cstr(level);
    caps.org = sv_cstr(strcmp(level, "platform") == 0 ? "*" : "o1");
    caps.kind = sv_cstr(kind);
    caps.subject = sv_cstr(subject);
    rules[n_rules++] = caps;
}

/* ---- cases ---- */

static void nothing_applies(void **state)
{
    (void)state;
    router_start(&routers[0]);
    one_call *c = take(&routers[0], 1000000, 10);
    assert_true(c->running);
    assert_null(c->hold);
    settle(c, 1, 1);
    assert_int_equal(asks, 0);
}

static void two_hundred_for_fifty(void **state)
{
    (void)state;
    rule("org", "org", "", (auth_budget){.month = 50});
    router_start(&routers[0]);
    for (int i = 0; i < 200; i++)
        take(&routers[0], 1, 0);
    step(300);
    assert_int_equal(running(&routers[0]), 50);
    int refused = 0;
    for (int i = 0; i < CALLS; i++) {
        one_call *c = &routers[0].calls[i];
        assert_false(c->waiting);
        refused += c->code == SV_E_BUDGET;
        if (c->code) assert_string_equal(c->err.field, "month");
        if (c->running) settle(c, 1, 0);
    }
    assert_int_equal(refused, 150);
    step(300);
    one_call *c = take(&routers[0], 1, 0);
    step(300);
    assert_int_equal(c->code, SV_E_BUDGET);
    assert_int_equal(spent, 50);
}

static void several_routers(void **state)
{
    (void)state;
    rule("org", "org", "", (auth_budget){.total = 50});
    for (int k = 0; k < ROUTERS; k++)
        router_start(&routers[k]);
    for (int i = 0; i < 50; i++)
        for (int k = 0; k < ROUTERS; k++)
            take(&routers[k], 1, 0);
    step(300);
    uint32_t n = 0;
    for (int k = 0; k < ROUTERS; k++)
        n += running(&routers[k]);
    assert_int_equal(n, 50);
}

/* What a router held comes back when it has died, and not before. */
static void dead_router(void **state)
{
    (void)state;
    rule("org", "user", "*", (auth_budget){.day = 10});
    router_start(&routers[0]);
    router_start(&routers[1]);
    for (int i = 0; i < 10; i++)
        take(&routers[0], 1, 0);
    step(100);
    assert_int_equal(running(&routers[0]), 10);
    settle(&routers[0].calls[0], 1, 0);
    step(5000); /* it lives, and its calls are long */
    one_call *c = take(&routers[1], 1, 0);
    step(100);
    assert_int_equal(c->code, SV_E_BUDGET);
    router_kill(&routers[0]);
    step(BUDGET_LIFE_MS + 1000);
    for (int i = 0; i < 20; i++)
        take(&routers[1], 1, 0);
    step(100);
    assert_int_equal(running(&routers[1]), 9);
}

static void long_calls_stay(void **state)
{
    (void)state;
    rule("org", "key", "k1", (auth_budget){.day = 10});
    router_start(&routers[0]);
    router_start(&routers[1]);
    one_call *c = take(&routers[0], 10, 0);
    step(60000);
    assert_true(c->running);
    one_call *d = take(&routers[1], 1, 0);
    step(100);
    assert_int_equal(d->code, SV_E_BUDGET);
    settle(c, 4, 0);
    step(100);
    for (int i = 0; i < 10; i++)
        take(&routers[1], 1, 0);
    step(100);
    assert_int_equal(running(&routers[1]), 6);
}

/* An owner that starts waits for what routers say; calls wait with it. */
static void new_owner(void **state)
{
    (void)state;
    rule("org", "org", "", (auth_budget){.month = 30});
    router_start(&routers[0]);
    router_start(&routers[1]);
    for (int i = 0; i < 20; i++)
        take(&routers[0], 1, 0);
    step(100);
    assert_int_equal(running(&routers[0]), 20);
    for (int i = 0; i < 5; i++)
        settle(&routers[0].calls[i], 1, 0);
    owner_kill(); /* before it was told */
    owner_start(true);
    for (int i = 0; i < 30; i++)
        take(&routers[1], 1, 0);
    step(1000);
    assert_int_equal(running(&routers[1]), 0);
    step(BUDGET_HEIR_MS + 500);
    assert_int_equal(running(&routers[1]), 10);
}

static void owner_away(void **state)
{
    (void)state;
    rule("org", "org", "", (auth_budget){.month = 1000});
    router_start(&routers[0]);
    owner_kill();
    one_call *c = take(&routers[0], 1, 0), *d = take(&routers[0], 1, 0);
    budget_wait_cancel(&d->wait);
    d->waiting = false;
    step(1000);
    assert_true(c->waiting);
    step(BUDGET_WAIT_MOST_MS);
    assert_int_equal(c->code, SV_E_UNAVAILABLE);
    owner_start(true);
    c = take(&routers[0], 1, 0);
    step(BUDGET_HEIR_MS + 500);
    assert_true(c->running);
}

/* What was leased under other limits is not used under new ones. */
static void narrower(void **state)
{
    (void)state;
    rule("org", "org", "", (auth_budget){.month = 100000});
    router_start(&routers[0]);
    one_call *c = take(&routers[0], 10, 0);
    step(100);
    settle(c, 10, 0);
    assert_true(take(&routers[0], 10, 0)->running);
    rules[0].month = 15;
    auth_feed_item item = {.sequence = 2, .kind = sv_cstr("budget"), .id = sv_cstr("b0")};
    buf data;
    buf_init(&data, 4096);
    assert_int_equal(message_encode(&auth_budget_msg, &rules[0], &data), 0);
    item.data = buf_str(&data);
    feed_take(routers[0].feed,
              &(auth_feed_page){.items = {&item, 1}, .before = 1, .upto = 2, .sequence = 2}, false);
    buf_free(&data);
    c = take(&routers[0], 10, 0);
    step(100);
    assert_int_equal(c->code, SV_E_BUDGET);
}

/* Without a word from the owner a lease is not used for longer than an owner that starts waits. */
static void cut_off(void **state)
{
    (void)state;
    rule("org", "org", "", (auth_budget){.month = 100000});
    router_start(&routers[0]);
    take(&routers[0], 10, 0);
    step(100);
    assert_true(take(&routers[0], 10, 0)->running); /* by what it has in hand */
    routers[0].deaf = true;
    step(BUDGET_HEIR_MS);
    one_call *c = take(&routers[0], 10, 0);
    assert_true(c->waiting);
    routers[0].deaf = false;
    step(1000);
    assert_true(c->running);
}

static void few_messages(void **state)
{
    (void)state;
    rule("org", "org", "", (auth_budget){.month = 1000000000});
    router_start(&routers[0]);
    settle(take(&routers[0], 0, 0), 0, 0);
    take(&routers[0], 1000, 0);
    step(50);
    uint32_t before = asks, at_once = 0;
    for (int i = 0; i < 1000; i++) {
        one_call *c = take(&routers[0], 1000, 0);
        at_once += c->running;
        step(2);
        if (c->running) settle(c, 700, 0);
    }
    assert_int_equal(at_once, 1000);
    assert_true(asks - before < 250);
}

/* Of the last minute, by brute force. */
static void minutes(void **state)
{
    (void)state;
    enum { LIMIT = 40, N = 4000 };
    static uint64_t at[N];
    int n = 0, low = 0;
    rule("platform", "key", "*", (auth_budget){.minute_requests = LIMIT});
    router_start(&routers[0]);
    router_start(&routers[1]);
    for (int i = 0; i < 30000; i++) {
        router *r = &routers[dice(2)];
        one_call *c = dice(3) ? NULL : take(r, 0, 0);
        step(10);
        if (c && c->running) settle(c, 0, 0);
        if (c && c->code == 0 && !c->waiting) at[n++] = now_us;
        if (c && c->waiting) step(30);
        if (c && c->code) {
            assert_int_equal(c->code, SV_E_LIMIT_TOKENS);
            assert_true(c->err.retry_after_ms > 0);
        }
        if (c && c->running) {
            settle(c, 0, 0);
            at[n++] = now_us;
        }
        while (n && at[n - 1] - at[low] > 60000000)
            low++;
        assert_true(n - low <= LIMIT);
    }
    assert_true(n > 4 * LIMIT);
}

static void tokens(void **state)
{
    (void)state;
    rule("user", "key", "k1", (auth_budget){.minute_tokens = 1000});
    router_start(&routers[0]);
    for (int i = 0; i < 20; i++)
        take(&routers[0], 0, 100);
    step(200);
    assert_int_equal(running(&routers[0]), 10);
    for (int i = 0; i < 10; i++)
        settle(&routers[0].calls[i], 0, 50);
    step(200);
    for (int i = 0; i < 20; i++)
        take(&routers[0], 0, 100);
    step(200);
    assert_int_equal(running(&routers[0]), 5);
}

/* Everything at once. */
/* What a model costs counts for its own budget alone, and whoever may answer is asked for. */
static void several_models(void **state)
{
    (void)state;
    rule("org", "org", "", (auth_budget){.month = 1000});
    rule("org", "user", "u1",
         (auth_budget){.model = {"dear", 4}, .total = 45, .minute_requests = 3});
    rule("platform", "key", "*", (auth_budget){.model = {"x/dear", 6}, .total = 70});
    router_start(&routers[0]);
    assert_true(budgets_by_model(routers[0].b));
    const budget_share most[] = {{.model = {"cheap", 5}, .micro = 10},
                                 {.model = {"dear", 4}, .micro = 40},
                                 {.model = {"x/dear", 6}, .micro = 40}};
    one_call *c = take_of(&routers[0], 50, 0, most, 3, false);
    step(100);
    assert_true(c->running);
    one_call *d = take_of(&routers[0], 50, 0, most, 3, false); /* 40 of 45 are held */
    step(100);
    assert_int_equal(d->code, SV_E_BUDGET);
    assert_int_equal(d->wait.share, 1);
    assert_string_equal(d->err.field, "total");
    d = take_of(&routers[0], 10, 0, most, 1, false); /* without it */
    step(100);
    assert_true(d->running);
    /* the cheap one has answered: what was held comes back, and no request of the other counts */
    const budget_share did[] = {{.micro = 7, .called = true}, {.micro = 0}, {.micro = 0}};
    c->running = false;
    budget_settle_shares(c->hold, 7, 0, did);
    for (int i = 0; i < 3; i++) {
        const budget_share dear[] = {{.micro = 0}, {.micro = 15, .called = true}, {.micro = 15}};
        c = take_of(&routers[0], 50, 0, most, 3, false);
        step(100);
        assert_int_equal(c->running, i < 1); /* 40 fit beside 15 no more */
        if (!c->running) break;
        c->running = false;
        budget_settle_shares(c->hold, 15, 0, dear);
        step(100);
    }
    assert_int_equal(c->code, SV_E_BUDGET);
    const budget_share little[] = {{.model = {"dear", 4}, .micro = 1}};
    const budget_share one[] = {{.micro = 1, .called = true}};
    for (int i = 0; i < 2; i++) {
        c = take_of(&routers[0], 1, 0, little, 1, false);
        step(100);
        assert_true(c->running);
        c->running = false;
        budget_settle_shares(c->hold, 1, 0, one);
        step(100);
    }
    c = take_of(&routers[0], 1, 0, little, 1, false); /* the fourth of three within a minute */
    step(100);
    assert_int_equal(c->code, SV_E_LIMIT_TOKENS);
    assert_string_equal(c->err.field, "minute_requests");
    assert_int_equal(c->wait.share, 0);
}

static void unknown_price(void **state)
{
    (void)state;
    rule("org", "user", "u1", (auth_budget){.minute_tokens = 100});
    router_start(&routers[0]);
    one_call *c = take_of(&routers[0], 0, 1, NULL, 0, true);
    step(100);
    assert_true(c->running); /* no money is limited */
    rule("org", "org", "", (auth_budget){.total = 1000000});
    router_start(&routers[1]);
    c = take_of(&routers[1], 0, 1, NULL, 0, true);
    step(100);
    assert_int_equal(c->code, SV_E_BUDGET);
    assert_string_equal(c->err.field, "model");
    c = take_of(&routers[1], 0, 1, NULL, 0, false);
    step(100);
    assert_true(c->running);
}

/* The owner forgets what a client has told when it is silent for long: the client does, too. */
static void a_long_weekend(void **state)
{
    (void)state;
    rule("org", "org", "", (auth_budget){.total = 100});
    router_start(&routers[0]);
    for (int i = 0; i < 2; i++) {
        one_call *c = take(&routers[0], 40, 0);
        step(100);
        assert_true(c->running);
        settle(c, 40, 0);
        step(5000);
        now_us += 3 * 86400000000ull;
        n_clients = 0; /* their rows have expired */
        step(2000);
        tell_rules(&routers[0]);
    }
    assert_int_equal(n_counters, 1);
    assert_int_equal(disk_counters[0].total_used, spent);
}

static void random_world(uint64_t s)
{
    enum { LIMIT = 12000 };
    seed = s;
    world_start(NULL);
    rule("org", "org", "", (auth_budget){.total = LIMIT});
    rule("org", "user", "*", (auth_budget){.total = LIMIT + 500});
    for (int k = 0; k < ROUTERS; k++)
        router_start(&routers[k]);
    loss = (int)dice(8);
    uint32_t owner_back = 0;
    for (int i = 0; i < 4000; i++) {
        router *r = &routers[dice(ROUTERS)];
        if (r->alive && running(r) < 50) take(r, 1 + dice(20), 0);
        r = &routers[dice(ROUTERS)];
        for (int k = 0; r->alive && k < CALLS; k++) {
            one_call *c = &r->calls[k];
            if (c->running && dice(3) == 0) settle(c, dice((uint32_t)c->micro + 1), 0);
        }
        step(1 + dice(10));
        assert_true(spent + held() <= LIMIT);
        if (owner && dice(300) == 0) {
            owner_kill();
            owner_back = 20 + dice(100);
        } else if (owner == NULL && owner_back-- == 0) {
            owner_start(true);
        }
        if (dice(700) == 0) { /* after what it has spent was told */
            int was = loss;
            loss = 0;
            if (owner == NULL) owner_start(true);
            step(1500);
            loss = was;
            router_kill(r);
            router_start(r);
        }
    }
    if (owner == NULL) owner_start(true);
    loss = 0;
    step(BUDGET_WAIT_MOST_MS + 1000); /* nobody waits any more */
    for (int k = 0; k < ROUTERS; k++)
        for (int i = 0; i < CALLS; i++)
            if (routers[k].calls[i].running) settle(&routers[k].calls[i], 0, 0);
    step(BUDGET_LIFE_MS + BUDGET_HEIR_MS + 6000); /* leases go back */
    for (int i = 0; i < LIMIT; i++) {
        one_call *c = take(&routers[0], 1, 0);
        for (int k = 0; c->waiting && k < 100; k++)
            step(5);
        if (!c->running) break;
        settle(c, 1, 0);
    }
    assert_int_equal(spent, LIMIT); /* nothing leaks */
    world_stop(NULL);
}

static void random_worlds(void **state)
{
    (void)state;
    world_stop(NULL);
    for (uint64_t s = 1; s <= 12; s++)
        random_world(s);
    world_start(NULL);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, world_start, world_stop)
    const struct CMUnitTest tests[] = {
        CASE(nothing_applies), CASE(two_hundred_for_fifty),
        CASE(several_routers), CASE(dead_router),
        CASE(long_calls_stay), CASE(new_owner),
        CASE(owner_away),      CASE(few_messages),
        CASE(cut_off),         CASE(narrower),
        CASE(minutes),         CASE(a_long_weekend),
        CASE(unknown_price),   CASE(several_models),
        CASE(tokens),          CASE(random_worlds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
