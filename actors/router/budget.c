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
    AGAIN_MS = 100, /* after an ask that failed */
    IDLE_MS = 2000, /* then what is left of a lease goes back */
    FORGET_MS = 600000,
    REPLY_BYTES = 65536
};
#define GOOD_US 1500000ULL

static const char owner_reserve[] = "cache/1.budget_reserve",
                  owner_settle[] = "cache/1.budget_settle";

struct budget_hold {
    budgets *b;
    int64_t need[MEASURES];
    uint32_t n;
    account *of[BUDGET_RULES];
};

typedef struct waiting {
    ring_link link;
    budgets *b;
    budget_wait *w;
    budget_ask ask;    /* its texts, where the definitions are not known yet, in `text` */
    budget_hold *hold; /* NULL: the definitions are waited for */
    int64_t covered[BUDGET_RULES]; /* the first ask of each account that speaks for this one */
    uint64_t until_us;
    bool over; /* `code` says how; it is in that ring */
    int code;
    sv_error err;
    char *text;
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

/* Those not used for longest: what they have said is known, and their next life begins at nothing. */
static bool forget_some(budgets *b, uint64_t now_us, bool at_once)
{
    ring_link *at = b->by_use.next;
    bool any = false;
    for (int i = 0; i < 8 && at != &b->by_use; i++) {
        account *a = member_of(account, by_use, at);
        at = at->next;
        if (a->refs || a->asking || ring_has(&a->active)) continue;
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

/* What an ask says of one measure. What it gives back is given up here and now. */
static void say(budgets *b, account *a, int m, cache_budget_ask *q, uint64_t now_us)
{
    bool idle = now_us - a->used_us > IDLE_MS * 1000ULL || b->draining;
    int64_t busy = account_cap(a->used[m] + a->held[m]);
    if (!account_limited(a, m) || idle || now_us >= a->good_until_us || a->line[m] < busy)
        a->line[m] = busy;
    q->used = a->used[m];
    q->line = a->line[m];
    q->need = account_cap(busy + a->waiting[m]);
    q->want = q->need;
    if (!idle) q->want = account_cap(q->need + AHEAD * a->last[m]);
    q->recent = account_recent(a, m, now_us);
}

typedef struct item_asks {
    cache_budget_ask of[MEASURES];
} item_asks;

static void put_item(budgets *b, ask *k, account *a, cache_budget_item *i, item_asks *of,
                     uint64_t now_us)
{
    *of = (item_asks){.of = {{.used = 0}}};
    for (int m = 0; m < MEASURES; m++)
        if (m == MONEY || account_limited(a, m)) say(b, a, m, &of->of[m], now_us);
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

static void take_grant(account *a, const cache_budget_grant *g, const int64_t used[MEASURES],
                       uint64_t sent_us, uint64_t now_us)
{
    if (g->stale) return;
    a->line[MONEY] = g->money;
    if (account_limited(a, REQUESTS)) a->line[REQUESTS] = g->requests;
    if (account_limited(a, TOKENS)) a->line[TOKENS] = g->tokens;
    memcpy(a->told, used, sizeof a->told);
    a->good_until_us = sent_us + GOOD_US;
    if (g->wait_ms) { /* it does not know enough to refuse anything; until then it is told more */
        uint64_t ms = g->wait_ms < AGAIN_MS ? (uint64_t)g->wait_ms : AGAIN_MS;
        a->not_before_us = now_us + ms * 1000;
        return;
    }
    static const char *const periods[] = {"day", "month", "total"};
    a->short_of = NULL;
    for (size_t i = 0; i < sizeof periods / sizeof *periods; i++)
        if (sv_str_is(g->money_short, periods[i])) a->short_of = periods[i];
    a->until = g->until;
    a->wait_ms = (uint32_t)(g->requests_ms > g->tokens_ms ? g->requests_ms : g->tokens_ms);
    a->answered = a->sequence;
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
        if (code == 0 && i < reply->items.n)
            take_grant(a, &g[i], k->used[i], k->sent_us, now_us);
        else
            a->not_before_us = now_us + AGAIN_MS * 1000;
    }
    ring_unlink(&k->link);
    free(k);
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

static budget_hold *hold_new(budgets *b, const budget_ask *q, const budget_found *found,
                             uint64_t now_us, sv_error *err)
{
    budget_who who = {q->org, q->user, q->key, q->model};
    budget_hold *h = calloc(1, sizeof *h);
    if (h == NULL) {
        sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
        return NULL;
    }
    h->b = b;
    h->need[MONEY] = account_cap(q->micro > 0 ? q->micro : 0);
    h->need[REQUESTS] = 1;
    h->need[TOKENS] = account_cap(q->tokens > 0 ? q->tokens : 0);
    for (uint32_t i = 0; i < found->n; i++) {
        char name[BUDGET_NAME + 1];
        uint32_t n = budget_rule_counter(found->rules[i], &who, name);
        account *a = account_of(b, (sv_str){name, n}, now_us);
        if (a == NULL) {
            while (h->n > 0)
                h->of[--h->n]->refs--;
            free(h);
            sv_fail(err, SV_E_OVERLOADED, NULL, "There are too many budgets in use.");
            return NULL;
        }
        const budget_caps *caps = budget_rule_caps(found->rules[i]);
        if (memcmp(&a->caps, caps, sizeof *caps) != 0) a->good_until_us = 0; /* of other limits */
        a->caps = *caps;
        a->refs++;
        h->of[h->n++] = a;
    }
    return h;
}

static void hold_free(budget_hold *h)
{
    for (uint32_t i = 0; i < h->n; i++)
        h->of[i]->refs--;
    free(h);
}

static bool can(const budget_hold *h, uint64_t now_us)
{
    for (uint32_t i = 0; i < h->n; i++)
        if (!account_has(h->of[i], h->need, now_us)) return false;
    return true;
}

/* Everything it needs is held; a request is used at once. */
static void enter(budget_hold *h, uint64_t now_us)
{
    budgets *b = h->b;
    bool ahead = false;
    for (uint32_t i = 0; i < h->n; i++) {
        account *a = h->of[i];
        for (int m = 0; m < MEASURES; m++) {
            if (h->need[m]) a->last[m] = h->need[m];
            if (m != REQUESTS) a->held[m] += h->need[m];
        }
        if (account_limited(a, REQUESTS)) use(b, a, REQUESTS, 1, now_us);
        if (a->asking || now_us < a->not_before_us || a->short_of || a->wait_ms) continue;
        if (!account_low(a, MONEY) && !account_low(a, REQUESTS) && !account_low(a, TOKENS))
            continue;
        want(b, a);
        ahead = true;
    }
    if (ahead) arm(b, 1);
}

void budget_settle(budget_hold *h, int64_t micro, int64_t tokens)
{
    if (h == NULL) return;
    uint64_t now_us = now_of(h->b);
    for (uint32_t i = 0; i < h->n; i++) {
        account *a = h->of[i];
        a->held[MONEY] -= h->need[MONEY];
        a->held[TOKENS] -= h->need[TOKENS];
        use(h->b, a, MONEY, micro > 0 ? micro : 0, now_us);
        if (account_limited(a, TOKENS)) use(h->b, a, TOKENS, tokens > 0 ? tokens : 0, now_us);
        activate(h->b, a);
    }
    arm(h->b, TICK_MS);
    hold_free(h);
}

static int refuse(const account *a, sv_error *err)
{
    if (a->short_of)
        return budget_refuse_money((sv_str){a->name.name, a->name.n}, a->short_of, a->until, err);
    return budget_refuse_minute(account_limited(a, TOKENS), a->wait_ms, err);
}

/* ---- those that wait ---- */

static void add_needs(budget_hold *h, int sign)
{
    for (uint32_t i = 0; i < h->n; i++)
        for (int m = 0; m < MEASURES; m++)
            h->of[i]->waiting[m] += sign * h->need[m];
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
    free(g->text);
    free(g);
}

/* Which accounts lack something: asked for, unless an answer has said no. Answers a refusal. */
static int ask_for(waiting *g, uint64_t now_us)
{
    budget_hold *h = g->hold;
    for (uint32_t i = 0; i < h->n; i++) {
        account *a = h->of[i];
        if (account_has(a, h->need, now_us)) continue;
        bool judged = a->answered >= g->covered[i] && now_us < a->good_until_us;
        if (judged && (a->short_of || a->wait_ms)) return refuse(a, &g->err);
        want(g->b, a);
    }
    return 0;
}

static int begin(waiting *g, sv_error *err)
{
    budgets *b = g->b;
    uint64_t now_us = now_of(b);
    budget_found found;
    budget_who who = {g->ask.org, g->ask.user, g->ask.key, g->ask.model};
    budget_rules_find(b->rules, &who, &found);
    g->hold = hold_new(b, &g->ask, &found, now_us, err);
    if (g->hold == NULL) return err->code;
    for (uint32_t i = 0; i < g->hold->n; i++)
        g->covered[i] = g->hold->of[i]->sequence + 1;
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

static char *copy_text(budget_ask *q)
{
    sv_str *const parts[] = {&q->org, &q->user, &q->key, &q->model};
    size_t n = 1;
    for (int i = 0; i < 4; i++)
        n += parts[i]->n;
    char *text = malloc(n), *at = text;
    for (int i = 0; text && i < 4; i++) {
        if (parts[i]->n) memcpy(at, parts[i]->p, parts[i]->n);
        parts[i]->p = at;
        at += parts[i]->n;
    }
    return text;
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
    g->text = copy_text(&g->ask);
    int rc = g->text ? 0 : sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    if (rc == 0 && known && (rc = begin(g, &g->err)) && err) *err = g->err;
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
    budget_who who = {q->org, q->user, q->key, q->model};
    *ret = NULL;
    w->asked = NULL;
    if (b == NULL || q->org.n + q->user.n + q->key.n == 0) return 0; /* the operator */
    if (!feed_ready(b->feed)) return wait_for(b, q, w, false, err);
    budget_rules_find(b->rules, &who, &found);
    if (found.n == 0) return 0;
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
