/*  budget.c - accounts of counters, each with three measures (money, requests, tokens) in totals since
 *  the account began: `used`, what is `held` by calls under way, and the `line` that both together may
 *  not cross. The owner moves the line (cache.budget_reserve); what was used is told it within
 *  TELL_MS, and while an account is in use it is told anew so often that its line stays good.
 *
 *  A line holds for new calls for GOOD_US after the message that brought it was sent; an owner that
 *  starts grants nothing for longer than that. One message at a time is under way for an account; each
 *  has a number, so that one that is late does no harm. */
#include "budget.h"

#include "budget_account.h"
#include "budget_name.h"
#include "budget_refusal.h"
#include "error.h"
#include "log.h"
#include "uuid.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    ACCOUNTS = 65536,
    ITEMS = 48,
    TELL_MS = 20,
    RENEW_MS = 400,
    TICK_MS = 200,
    ASK_MS = 300,
    FORGET_MS = 600000,
    REPLY_BYTES = 65536
};

#define NEED_MOST (1LL << 48) /* of one call: sums of all under way stay far from the end */

static const char owner_reserve[] = "cache/1.budget_reserve",
                  owner_settle[] = "cache/1.budget_settle";

/* One account of a hold. The request itself is used at once where all models count, and held where it is
 * not known yet whether that model is called. */
typedef struct held {
    account *a;
    int share;
    int64_t need[MEASURES];
    int64_t covered; /* of one that waits: the first ask of the account that speaks for it */
} held;

struct budget_hold {
    budgets *b;
    uint32_t n;
    held of[];
};

typedef struct waiting {
    ring_link link;
    budgets *b;
    budget_wait *w;
    budget_ask ask;
    budget_hold *hold; /* NULL: the definitions are waited for */
    uint64_t until_us;
    bool over; /* `code` says how; it is in that ring */
    int code;
    sv_error err;
} waiting;

typedef struct ask {
    budgets *b;
    ring_link link;
    sv_stream *stream;
    uint64_t sent_us;
    uint32_t n;
    account *of[ITEMS];
    int64_t used[ITEMS][MEASURES];
} ask;

struct budgets {
    sv_process *p;
    loop *l;
    feed *feed;
    budget_rules *rules;
    name_table names;
    ring_link by_use, active, waiters, over, asks;
    loop_timer timer;
    uint64_t timer_us; /* when it fires; 0: it does not */
    bool away, draining;
    arena arena;
};

static uint64_t now_of(const budgets *b)
{
    return loop_now_us(b->l);
}

/* ---- the timer ---- */

static void on_time(void *arg);

static void arm(budgets *b, uint32_t ms)
{
    uint64_t at = now_of(b) + ms * 1000ULL;
    if (b->timer_us && b->timer_us <= at) return;
    b->timer_us = at;
    loop_timer_set(b->l, &b->timer, ms * 1000ULL, on_time, b);
}

/* ---- accounts ---- */

static void account_free(budgets *b, account *a)
{
    ring_unlink(&a->by_use);
    ring_unlink(&a->active);
    name_table_remove(&b->names, &a->name);
    for (int m = 0; m < MEASURES; m++)
        free(a->recent[m]);
    free(a);
}

/* All it knows has been told. */
static bool is_idle(const account *a)
{
    return a->refs == 0 && !a->asking && !ring_has(&a->active);
}

/* Those not used for longest: what they have said is known, and their next life begins at nothing. */
static bool forget_some(budgets *b, uint64_t now_us, bool at_once)
{
    ring_link *at = b->by_use.next;
    bool any = false;
    for (int i = 0; i < 8 && at != &b->by_use; i++) {
        account *a = member_of(account, by_use, at);
        at = at->next;
        if (!is_idle(a)) continue;
        if (!at_once && now_us - a->used_us < FORGET_MS * 1000ULL) break;
        account_free(b, a);
        any = true;
    }
    return any;
}

static account *account_of(budgets *b, sv_str name, uint64_t now_us)
{
    named *m = name_table_find(&b->names, name);
    account *a = m ? member_of(account, name, m) : NULL;
    if (a && is_idle(a) && now_us - a->used_us >= FORGET_MS * 1000ULL) {
        account_free(b, a); /* its owner forgets as well, and would count its totals anew */
        a = NULL;
    }
    if (a == NULL) {
        uint64_t id;
        forget_some(b, now_us, b->names.n >= ACCOUNTS);
        a = b->names.n < ACCOUNTS ? calloc(1, sizeof *a) : NULL;
        if (a == NULL) return NULL;
        uuid_random(&id, sizeof id);
        id ^= (uint64_t)getpid() * 0x9e3779b97f4a7c15u; /* forks draw the same numbers */
        a->client = (int64_t)(id >> 12) + 1;
        name_table_add(&b->names, &a->name, name);
    }
    ring_unlink(&a->by_use);
    ring_push(&b->by_use, &a->by_use);
    a->used_us = now_us;
    return a;
}

static void activate(budgets *b, account *a)
{
    if (!ring_has(&a->active)) ring_push(&b->active, &a->active);
}

static void use(budgets *b, account *a, int m, int64_t n, uint64_t now_us)
{
    if (n > LINE_MOST - a->used[m]) n = LINE_MOST - a->used[m];
    a->used[m] += n;
    account_count_recent(a, m, n, now_us);
    if (n) {
        activate(b, a);
        arm(b, TELL_MS);
    }
}

/* ---- asking the owner ---- */

static void serve(budgets *b);

typedef struct item_asks {
    cache_budget_ask of[MEASURES];
} item_asks;

static void put_item(budgets *b, ask *k, account *a, cache_budget_item *i, item_asks *of,
                     uint64_t now_us)
{
    *of = (item_asks){.of = {{.used = 0}}};
    for (int m = 0; m < MEASURES; m++)
        if (m == MONEY || account_limited(a, m)) account_say(a, m, b->draining, &of->of[m], now_us);
    *i = (cache_budget_item){.name = {a->name.name, a->name.n},
                             .client = a->client,
                             .sequence = ++a->sequence,
                             .day = a->caps.day,
                             .month = a->caps.month,
                             .total = a->caps.total,
                             .minute_requests = a->caps.minute_requests,
                             .minute_tokens = a->caps.minute_tokens,
                             .money = &of->of[MONEY],
                             .requests = account_limited(a, REQUESTS) ? &of->of[REQUESTS] : NULL,
                             .tokens = account_limited(a, TOKENS) ? &of->of[TOKENS] : NULL};
    a->asking = true;
    a->due = false;
    a->sent_us = now_us;
    memcpy(k->used[k->n], a->used, sizeof a->used);
    k->of[k->n++] = a;
}

static void ask_over(ask *k, int code, const cache_budget_reply *reply)
{
    budgets *b = k->b;
    uint64_t now_us = now_of(b);
    const cache_budget_grant *g = reply ? reply->items.items : NULL;
    if (code && !b->away)
        log_write(LOG_WARN, "the owner of budgets cannot be asked: what it limits has to wait",
                  LOG_STR("code", sv_error_lookup(code)->name));
    if (code == 0 && b->away) log_write(LOG_INFO, "the owner of budgets is back");
    b->away = code != 0;
    for (uint32_t i = 0; i < k->n; i++) {
        account *a = k->of[i];
        a->asking = false;
        if (code == 0 && i < reply->items.n) {
            account_granted(a, &g[i], k->used[i], k->sent_us, now_us);
        } else {
            a->due = true; /* an owner that starts hears of all soon */
            a->not_before_us = now_us + AGAIN_MS * 1000;
        }
    }
    ring_unlink(&k->link);
    free(k);
    if (code) arm(b, AGAIN_MS);
    serve(b);
}

static void on_answer(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    ask *k = arg;
    budgets *b = k->b;
    cache_budget_reply reply;
    (void)s;
    (void)err;
    arena_reset(&b->arena);
    if (code == 0)
        code = message_decode(&cache_budget_reply_msg, item->body, MESSAGE_LENIENT, &b->arena,
                              &reply, NULL);
    ask_over(k, code, code ? NULL : &reply);
}

/* Sends what is due, in as many messages as it takes. */
static void send_due(budgets *b)
{
    static const sv_events events = {.done = on_answer};
    uint64_t now_us = now_of(b);
    cache_budget_item items[ITEMS];
    item_asks asks[ITEMS];
    if (!sv_connected(b->p)) return;
    for (ring_link *at = b->active.next; at != &b->active;) {
        ask *k = calloc(1, sizeof *k);
        if (k == NULL) return;
        k->b = b;
        k->sent_us = now_us;
        for (; at != &b->active && k->n < ITEMS; at = at->next) {
            account *a = member_of(account, active, at);
            if (a->due && !a->asking && (now_us >= a->not_before_us || b->draining))
                put_item(b, k, a, &items[k->n], &asks[k->n], now_us);
        }
        cache_budget_req q = {.items = {items, k->n}};
        sv_request r = {.target =
                            b->draining && ring_empty(&b->waiters) ? owner_settle : owner_reserve,
                        .type = &cache_budget_req_msg,
                        .body = &q,
                        .ttl_ms = ASK_MS,
                        .max_reply = REPLY_BYTES};
        ring_push(&b->asks, &k->link);
        if (k->n) k->stream = sv_open(b->p, &r, &events, k, NULL);
        if (k->stream) continue;
        for (uint32_t i = 0; i < k->n; i++) {
            k->of[i]->asking = false;
            k->of[i]->not_before_us = now_us + AGAIN_MS * 1000;
        }
        ring_unlink(&k->link);
        free(k);
        return;
    }
}

static void want(budgets *b, account *a)
{
    a->due = true;
    activate(b, a);
}

/* An answer that does not come: its broker is gone or hangs. */
static void end_late(budgets *b, uint64_t now_us)
{
    while (!ring_empty(&b->asks)) {
        ask *k = member_of(ask, link, b->asks.next);
        if (now_us - k->sent_us < ASK_MS * 1000ULL) return;
        sv_cancel(k->stream);
        ask_over(k, SV_E_DEADLINE, NULL);
    }
}

/* ---- holds ---- */

static void hold_free(budget_hold *h)
{
    for (uint32_t i = 0; i < h->n; i++)
        h->of[i].a->refs--;
    free(h);
}

static int check_price(const budget_hold *h, const budget_ask *q, sv_error *err)
{
    for (uint32_t i = 0; q->unpriced && i < h->n; i++) {
        const account *a = h->of[i].a;
        if (account_limited(a, MONEY))
            return budget_refuse_unpriced((sv_str){a->name.name, a->name.n}, err);
    }
    return 0;
}

static int64_t need_of(int64_t n)
{
    return n < 0 ? 0 : n < NEED_MOST ? n : NEED_MOST;
}

static bool hold_add(budget_hold *h, sv_str counter, const budget_caps *caps, const budget_ask *q,
                     int share, uint64_t now_us)
{
    account *a = account_of(h->b, counter, now_us);
    if (a == NULL) return false;
    if (memcmp(&a->caps, caps, sizeof *caps) != 0) a->good_until_us = 0; /* of other limits */
    a->caps = *caps;
    a->refs++;
    held *e = &h->of[h->n++];
    int64_t micro = share < 0 ? q->micro : q->shares[share].micro;
    int64_t used = share < 0 ? q->tokens : q->shares[share].tokens;
    *e = (held){.a = a, .share = share};
    e->need[MONEY] = need_of(micro);
    e->need[REQUESTS] = !q->further;
    e->need[TOKENS] = need_of(used);
    return true;
}

static budget_who who_of(const budget_ask *q)
{
    return (budget_who){q->org, q->user, q->key, q->shares, q->n_shares};
}

static budget_hold *hold_new(budgets *b, const budget_ask *q, const budget_found *found,
                             uint64_t now_us, sv_error *err)
{
    budget_who who = who_of(q);
    budget_hold *h = calloc(1, sizeof *h + (found->n + 1) * sizeof *h->of);
    if (h == NULL) {
        sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
        return NULL;
    }
    h->b = b;
    bool ok = q->one == NULL || hold_add(h, q->one->counter, &q->one->caps, q, -1, now_us);
    for (uint32_t i = 0; ok && i < found->n; i++) {
        char name[BUDGET_NAME + 1];
        uint32_t n = budget_rule_counter(found->rules[i], &who, name);
        ok = hold_add(h, (sv_str){name, n}, budget_rule_caps(found->rules[i]), q, found->shares[i],
                      now_us);
    }
    int rc = ok ? check_price(h, q, err)
                : sv_fail(err, SV_E_OVERLOADED, NULL, "There are too many budgets in use.");
    if (rc == 0) return h;
    hold_free(h);
    return NULL;
}

static void find(const budgets *b, const budget_ask *q, budget_found *ret)
{
    budget_who who = who_of(q);
    ret->n = 0;
    if (q->one == NULL) budget_rules_find(b->rules, &who, ret);
}

static bool can(const budget_hold *h, uint64_t now_us)
{
    for (uint32_t i = 0; i < h->n; i++)
        if (!account_has(h->of[i].a, h->of[i].need, now_us)) return false;
    return true;
}

static bool is_held(const held *e, int m)
{
    return m != REQUESTS || e->share >= 0;
}

/* Everything it needs is held; a request is used at once. */
static void enter(budget_hold *h, uint64_t now_us)
{
    budgets *b = h->b;
    bool ahead = false;
    for (uint32_t i = 0; i < h->n; i++) {
        held *e = &h->of[i];
        account *a = e->a;
        for (int m = 0; m < MEASURES; m++) {
            if (e->need[m]) a->last[m] = e->need[m];
            if (is_held(e, m)) a->held[m] += e->need[m];
        }
        if (!is_held(e, REQUESTS) && account_limited(a, REQUESTS))
            use(b, a, REQUESTS, e->need[REQUESTS], now_us);
        if (a->asking || now_us < a->not_before_us || a->short_of || a->wait_ms) continue;
        if (!account_low(a, MONEY) && !account_low(a, REQUESTS) && !account_low(a, TOKENS))
            continue;
        want(b, a);
        ahead = true;
    }
    if (ahead) arm(b, 1);
}

static void settle_one(budgets *b, held *e, const budget_share *part, uint64_t now_us)
{
    account *a = e->a;
    for (int m = 0; m < MEASURES; m++)
        if (is_held(e, m)) a->held[m] -= e->need[m];
    use(b, a, MONEY, part->micro > 0 ? part->micro : 0, now_us);
    if (account_limited(a, TOKENS)) use(b, a, TOKENS, part->tokens > 0 ? part->tokens : 0, now_us);
    if (part->called && is_held(e, REQUESTS) && account_limited(a, REQUESTS))
        use(b, a, REQUESTS, e->need[REQUESTS], now_us);
    activate(b, a);
}

void budget_settle_shares(budget_hold *h, int64_t micro, int64_t tokens, const budget_share *shares)
{
    const budget_share all = {.micro = micro, .tokens = tokens, .called = true};
    if (h == NULL) return;
    for (uint32_t i = 0; i < h->n; i++) {
        held *e = &h->of[i];
        settle_one(h->b, e, shares && e->share >= 0 ? &shares[e->share] : &all, now_of(h->b));
    }
    arm(h->b, TICK_MS);
    hold_free(h);
}

void budget_settle(budget_hold *h, int64_t micro, int64_t tokens)
{
    budget_settle_shares(h, micro, tokens, NULL);
}

static int refuse(const budgets *b, const account *a, sv_error *err)
{
    sv_str name = {a->name.name, a->name.n};
    int64_t now_ms = (int64_t)(loop_unix_us(b->l) / 1000);
    if (a->short_of) return budget_refuse_money(name, a->short_of, a->until, now_ms, err);
    return budget_refuse_minute(name, a->short_tokens, a->wait_ms, err);
}

/* ---- those that wait ---- */

static void add_needs(budget_hold *h, int sign)
{
    for (uint32_t i = 0; i < h->n; i++)
        for (int m = 0; m < MEASURES; m++)
            h->of[i].a->waiting[m] += sign * h->of[i].need[m];
}

/* It does not wait any more; what it needed is not needed now, or is held by others' doing. */
static void leave(waiting *g)
{
    if (g->hold) add_needs(g->hold, -1);
    ring_unlink(&g->link);
}

static void finish(waiting *g, int code)
{
    leave(g);
    g->over = true;
    g->code = code;
    ring_push(&g->b->over, &g->link);
}

static void waiting_free(waiting *g)
{
    ring_unlink(&g->link);
    if (g->hold) hold_free(g->hold);
    free(g);
}

/* Which accounts lack something: asked for, unless an answer has said no. Answers a refusal. */
static int ask_for(waiting *g, uint64_t now_us)
{
    budget_hold *h = g->hold;
    for (uint32_t i = 0; i < h->n; i++) {
        const held *e = &h->of[i];
        account *a = e->a;
        if (account_has(a, e->need, now_us)) continue;
        bool judged = a->answered >= e->covered && now_us < a->good_until_us;
        if (judged && (a->short_of || a->wait_ms)) {
            g->w->share = e->share;
            return refuse(g->b, a, &g->err);
        }
        want(g->b, a);
    }
    return 0;
}

static int begin(waiting *g, sv_error *err)
{
    budgets *b = g->b;
    uint64_t now_us = now_of(b);
    budget_found found;
    find(b, &g->ask, &found);
    g->hold = hold_new(b, &g->ask, &found, now_us, err);
    if (g->hold == NULL) return err->code;
    for (uint32_t i = 0; i < g->hold->n; i++)
        g->hold->of[i].covered = g->hold->of[i].a->sequence + 1;
    add_needs(g->hold, 1);
    return 0;
}

/* One that waits, if it does not have to any more. */
static void look_at(waiting *g, uint64_t now_us)
{
    int rc = 0;
    if (g->hold == NULL) {
        if (feed_ready(g->b->feed)) rc = begin(g, &g->err);
        if (rc) {
            finish(g, rc);
            return;
        }
    }
    if (g->hold && can(g->hold, now_us)) {
        finish(g, 0);
        enter(g->hold, now_us);
        return;
    }
    if (g->hold) rc = ask_for(g, now_us);
    if (rc == 0 && now_us >= g->until_us) rc = budget_unknown(&g->err);
    if (rc) finish(g, rc);
}

/* Tells those that are through. `done` may do anything. */
static void deliver(budgets *b)
{
    while (!ring_empty(&b->over)) {
        waiting *g = member_of(waiting, link, b->over.next);
        budget_wait *w = g->w;
        int code = g->code;
        sv_error err = g->err;
        budget_hold *h = NULL;
        if (code == 0 && g->hold->n) {
            h = g->hold;
            g->hold = NULL;
        }
        waiting_free(g);
        w->asked = NULL;
        w->done(w->arg, code, h, code ? &err : NULL);
    }
}

static void serve(budgets *b)
{
    uint64_t now_us = now_of(b);
    for (ring_link *at = b->waiters.next, *next; at != &b->waiters; at = next) {
        next = at->next;
        look_at(member_of(waiting, link, at), now_us);
    }
    send_due(b);
    if (!ring_empty(&b->waiters) || !ring_empty(&b->asks)) arm(b, TELL_MS);
    deliver(b);
}

void budget_wait_cancel(budget_wait *w)
{
    waiting *g = w->asked;
    if (g == NULL) return;
    w->asked = NULL;
    if (!g->over) leave(g);
    if (g->over && g->code == 0) { /* it was let through and has not heard of it */
        budget_settle(g->hold, 0, 0);
        g->hold = NULL;
    }
    waiting_free(g);
}

static int wait_for(budgets *b, const budget_ask *q, budget_wait *w, bool known, sv_error *err)
{
    waiting *g = calloc(1, sizeof *g);
    uint32_t ms = q->ttl_ms < BUDGET_WAIT_MOST_MS ? q->ttl_ms : BUDGET_WAIT_MOST_MS;
    if (g == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    g->b = b;
    g->w = w;
    g->ask = *q;
    g->until_us = now_of(b) + ms * 1000ULL;
    int rc = known ? begin(g, &g->err) : 0;
    if (rc && err) *err = g->err;
    if (rc) {
        waiting_free(g);
        return rc;
    }
    w->asked = g;
    ring_push(&b->waiters, &g->link);
    if (known) {
        ask_for(g, now_of(b));
        send_due(b);
    }
    arm(b, TELL_MS);
    return SV_PENDING;
}

/* ---- taking ---- */

int budget_take(budgets *b, const budget_ask *q, budget_hold **ret, budget_wait *w, sv_error *err)
{
    budget_found found;
    *ret = NULL;
    w->asked = NULL;
    if (b == NULL) return 0;
    if (q->one == NULL && q->org.n + q->user.n + q->key.n == 0) return 0; /* the operator */
    if (q->one == NULL && !feed_ready(b->feed)) return wait_for(b, q, w, false, err);
    find(b, q, &found);
    if (q->one == NULL && found.n == 0) return 0;
    uint64_t now_us = now_of(b);
    sv_error own = {.code = 0};
    budget_hold *h = hold_new(b, q, &found, now_us, &own);
    if (h == NULL && err) *err = own;
    if (h == NULL) return own.code;
    if (can(h, now_us)) {
        enter(h, now_us);
        *ret = h;
        return 0;
    }
    hold_free(h);
    return wait_for(b, q, w, true, err);
}

bool budgets_by_model(const budgets *b)
{
    return b && (!feed_ready(b->feed) || budget_rules_by_model(b->rules));
}

/* ---- in the background ---- */

/* Those that have something to tell, or whose line has to stay good. */
static void look_after(budgets *b, uint64_t now_us)
{
    for (ring_link *at = b->active.next, *next; at != &b->active; at = next) {
        account *a = member_of(account, active, at);
        next = at->next;
        if (a->asking) continue;
        bool renew =
            (account_leased(a) || account_holds(a)) && now_us - a->sent_us >= RENEW_MS * 1000ULL;
        if (!account_told_all(a) || renew) a->due = true;
        if (!a->due && !account_leased(a) && !account_holds(a)) ring_unlink(&a->active);
    }
}

static void on_time(void *arg)
{
    budgets *b = arg;
    uint64_t now_us = now_of(b);
    b->timer_us = 0;
    end_late(b, now_us);
    look_after(b, now_us);
    forget_some(b, now_us, false);
    serve(b);
    if (!ring_empty(&b->active)) arm(b, TICK_MS);
}

void budgets_drain(budgets *b)
{
    if (b == NULL) return;
    b->draining = true;
    for (ring_link *at = b->active.next; at != &b->active; at = at->next)
        member_of(account, active, at)->due = true;
    send_due(b);
}

/* ---- the definitions ---- */

static void on_reset(void *arg)
{
    budget_rules_clear(((budgets *)arg)->rules);
}

static void on_item(void *arg, const auth_feed_item *item)
{
    budget_rules_take(((budgets *)arg)->rules, item);
}

static void on_ready(void *arg)
{
    arm(arg, 1); /* those that wait, outside of the feed's own work */
}

/* ---- life ---- */

int budgets_new(sv_process *p, feed *f, budgets **ret, sv_error *err)
{
    budgets *b = calloc(1, sizeof *b);
    if (b == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    b->p = p;
    b->l = sv_loop(p);
    b->feed = f;
    ring_init(&b->by_use);
    ring_init(&b->active);
    ring_init(&b->waiters);
    ring_init(&b->over);
    ring_init(&b->asks);
    arena_init(&b->arena, REPLY_BYTES);
    b->rules = budget_rules_new();
    int rc = b->rules ? name_table_init(&b->names, ACCOUNTS / 8) : SV_E_NO_MEMORY;
    if (rc == 0)
        rc = feed_add(
            f,
            &(feed_consumer){
                .kind = "budget", .reset = on_reset, .item = on_item, .ready = on_ready, .arg = b});
    if (rc) {
        name_table_free(&b->names);
        budget_rules_free(b->rules);
        free(b);
        return sv_fail(err, rc, NULL, NULL);
    }
    *ret = b;
    return 0;
}

void budgets_free(budgets *b)
{
    if (b == NULL) return;
    loop_timer_stop(b->l, &b->timer);
    while (!ring_empty(&b->asks)) {
        ask *k = member_of(ask, link, b->asks.next);
        ring_unlink(&k->link);
        free(k);
    }
    assert(ring_empty(&b->waiters) && ring_empty(&b->over));
    while (!ring_empty(&b->by_use))
        account_free(b, member_of(account, by_use, b->by_use.next));
    name_table_free(&b->names);
    budget_rules_free(b->rules);
    arena_free(&b->arena);
    free(b);
}
