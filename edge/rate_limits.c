/*  rate_limits.c - the life of a counter at the edge.
 *
 *  A counter holds up to two leases: the one in use and the one fetched ahead. At most one ask is on
 *  its way for a counter; requests that need its answer wait in a queue and are served in order. A
 *  request goes from counter to counter (`at`); when a later one refuses it, what it took from the
 *  earlier ones goes back into their leases, or to the owner when a lease has ended meanwhile.
 *
 *  Counters are kept in the order of their use, the first is the next to go; `busy` counts what
 *  refers to one and so keeps it: waits and an ask. `held` are those that have something to give
 *  back or to tell. */
#include "rate_limits.h"

#include "error.h"
#include "log.h"
#include "metrics.h"
#include "rate_window.h"

#include <assert.h>
#include <stdlib.h>

enum {
    RETURNS = 4, /* leases that wait to be given back; further ones count as used */
    EVICT_LOOKS = 16,
    BLOCKED_US = 1000000, /* a refusal is believed for so long: others may give back */
    BUSY_RETRY_MS = 1000,
    TICK_ASKS = 64, /* of one tick: an owner that is back is not flooded */
    TICK_TELLS = 512,
    SPANS = 2,       /* minute, hour */
    RECENT_SLOTS = 7 /* a span has six, and one has begun */
};

static const uint64_t recent_unit_us[SPANS] = {10000000, 600000000};

typedef struct lease {
    uint32_t left;
    int64_t number, epoch;
    uint64_t end_us;
} lease;

/* What passed of late, in tenths of a minute or an hour; rather too much than too little. */
typedef struct recent {
    uint64_t newest; /* time / unit */
    uint32_t n[RECENT_SLOTS];
} recent;

struct limits_counter {
    named name;
    ring_link by_use, held;
    limits_pair pair;
    uint32_t busy;
    /* what the owner gave */
    lease leases[2];
    cache_limit_return returns[RETURNS];
    uint32_t n_returns;
    uint64_t blocked_us, retry_us, reset_us;
    uint32_t remaining;
    bool hour; /* remaining and reset_us are of the hour */
    /* the ask on its way */
    bool asking, again; /* again: it is the second try */
    uint64_t asked_us;
    uint32_t told[SPANS], told_all[SPANS];
    /* what the owner does not know: it was away, or is another one than before */
    int64_t epoch; /* of the owner, 0: not heard of yet */
    uint32_t debt[SPANS];
    recent uses[SPANS];
    ring_link waiting;
    uint32_t n_waiting;
};

struct limits {
    limits_options o;
    name_table names;
    ring_link by_use, held;
    bool away, draining;
    uint64_t try_us; /* while away: the next try */
};

typedef enum step { STEP_TAKEN, STEP_REFUSED, STEP_WAIT } step;

static uint64_t now_of(const limits *l)
{
    return l->o.now_us(l->o.arg);
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* ---- what passed ---- */

static recent *recent_now(limits_counter *c, int span, uint64_t now_us)
{
    recent *r = &c->uses[span];
    uint64_t now = now_us / recent_unit_us[span];
    if (now - r->newest > RECENT_SLOTS) r->newest = now - RECENT_SLOTS;
    while (r->newest < now)
        r->n[++r->newest % RECENT_SLOTS] = 0;
    return r;
}

static uint32_t recent_sum(limits_counter *c, int span, uint64_t now_us)
{
    const recent *r = recent_now(c, span, now_us);
    uint64_t sum = 0;
    for (int i = 0; i < RECENT_SLOTS; i++)
        sum += r->n[i];
    return sum < RATE_MOST ? (uint32_t)sum : RATE_MOST;
}

static void note_use(limits_counter *c, uint64_t now_us, bool owner_knows)
{
    for (int i = 0; i < SPANS; i++) {
        recent *r = recent_now(c, i, now_us);
        r->n[r->newest % RECENT_SLOTS]++;
        if (!owner_knows) c->debt[i]++;
    }
}

static void note_no_use(limits_counter *c, uint64_t now_us, bool owner_knows)
{
    for (int i = 0; i < SPANS; i++) {
        recent *r = recent_now(c, i, now_us);
        uint32_t *n = &r->n[r->newest % RECENT_SLOTS];
        *n -= least(*n, 1);
        if (!owner_knows) c->debt[i] -= least(c->debt[i], 1);
    }
}

static bool in_debt(const limits_counter *c)
{
    return c->debt[0] || c->debt[1];
}

/* ---- what goes back ---- */

static void hold(limits *l, limits_counter *c)
{
    if (ring_has(&c->held)) return;
    bool sleeps = ring_empty(&l->held);
    ring_push(&l->held, &c->held);
    if (sleeps) l->o.wake(l->o.arg);
}

static void add_return(limits *l, limits_counter *c, int64_t number, int64_t epoch, uint32_t n)
{
    hold(l, c);
    for (uint32_t i = 0; i < c->n_returns; i++) {
        if (c->returns[i].lease != number || c->returns[i].epoch != epoch) continue;
        c->returns[i].count += n;
        return;
    }
    if (c->n_returns < RETURNS)
        c->returns[c->n_returns++] =
            (cache_limit_return){.lease = number, .epoch = epoch, .count = n};
}

/* Leases that have ended; `all`: every one. */
static void end_leases(limits *l, limits_counter *c, uint64_t now_us, bool all)
{
    for (int i = 0; i < 2; i++) {
        lease *e = &c->leases[i];
        if (e->left == 0 || (!all && now_us < e->end_us)) continue;
        add_return(l, c, e->number, e->epoch, e->left);
        e->left = 0;
    }
}

/* The part of a request that asks for nothing: what goes back and what has to be told. */
static cache_limit_take_req request_of(limits_counter *c, uint64_t now_us)
{
    cache_limit_take_req q = {.name = {c->name.name, c->name.n},
                              .minute = c->pair.minute,
                              .hour = c->pair.hour,
                              .returns = {c->returns, c->n_returns}};
    q.epoch = c->epoch;
    q.minute_all = recent_sum(c, 0, now_us);
    q.hour_all = recent_sum(c, 1, now_us);
    q.minute_used = c->debt[0] = least(c->debt[0], (uint32_t)q.minute_all);
    q.hour_used = c->debt[1] = least(c->debt[1], (uint32_t)q.hour_all);
    return q;
}

/* False: there is nothing to tell. */
static bool tell(limits *l, limits_counter *c, uint64_t now_us)
{
    if (c->n_returns == 0 && !in_debt(c)) return false;
    cache_limit_take_req q = request_of(c, now_us);
    l->o.tell(l->o.arg, &q);
    c->n_returns = 0;
    c->debt[0] = c->debt[1] = 0;
    return true;
}

/* ---- counters ---- */

static void counter_free(limits *l, limits_counter *c)
{
    name_table_remove(&l->names, &c->name);
    ring_unlink(&c->by_use);
    ring_unlink(&c->held);
    free(c);
}

/* Makes room for one counter more; false: all that were looked at are busy. */
static bool evict(limits *l, uint64_t now_us)
{
    ring_link *at = l->by_use.next;
    for (int i = 0; i < EVICT_LOOKS && at != &l->by_use; i++, at = at->next) {
        limits_counter *c = member_of(limits_counter, by_use, at);
        if (c->busy) continue;
        end_leases(l, c, now_us, true);
        tell(l, c, now_us);
        counter_free(l, c);
        return true;
    }
    return false;
}

static limits_counter *counter_of(limits *l, const limits_item *item, uint64_t now_us)
{
    sv_str name = {item->name, item->n};
    named *m = name_table_find(&l->names, name);
    limits_counter *c = m ? member_of(limits_counter, name, m) : NULL;
    if (c == NULL) {
        if (l->names.n >= l->o.counters && !evict(l, now_us)) return NULL;
        c = calloc(1, sizeof *c);
        if (c == NULL) return NULL;
        ring_init(&c->waiting);
        name_table_add(&l->names, &c->name, name);
    }
    ring_unlink(&c->by_use);
    ring_push(&l->by_use, &c->by_use);
    c->pair = item->pair;
    return c;
}

/* ---- the owner ---- */

static void owner_away(limits *l, int code, uint64_t now_us)
{
    if (!l->away)
        log_write(LOG_WARN, "the owner of rate limits cannot be asked: stricter local limits hold",
                  LOG_STR("code", sv_error_lookup(code)->name));
    l->away = true;
    l->try_us = now_us + LIMITS_AWAY_US;
}

static bool ask(limits *l, limits_counter *c, uint64_t now_us)
{
    cache_limit_take_req q = request_of(c, now_us);
    q.take = l->draining ? 1 : rate_lease_most(c->pair.minute, c->pair.hour);
    if (!l->o.ask(l->o.arg, c, &q)) {
        owner_away(l, SV_E_UNAVAILABLE, now_us);
        return false;
    }
    c->n_returns = 0;
    memcpy(c->told, c->debt, sizeof c->told);
    c->told_all[0] = (uint32_t)q.minute_all;
    c->told_all[1] = (uint32_t)q.hour_all;
    c->asking = true;
    c->asked_us = now_us;
    c->busy++;
    return true;
}

static void take_lease(limits *l, limits_counter *c, const cache_limit_take_reply *r,
                       uint64_t now_us)
{
    lease got = {.left = (uint32_t)r->granted,
                 .number = r->lease,
                 .epoch = r->epoch,
                 .end_us = c->asked_us + (uint64_t)r->life_ms * 1000};
    lease *to = c->leases[0].left == 0 ? &c->leases[0] : &c->leases[1];
    if (to->left || got.end_us <= now_us) { /* nothing to use it for, or it came too late */
        add_return(l, c, got.number, got.epoch, got.left);
        return;
    }
    *to = got;
    hold(l, c);
}

/* It knows what the ask has told it; what passed since then is a debt, and leases of the owner before
 * are over. */
static void new_owner(limits *l, limits_counter *c, uint64_t now_us)
{
    for (int i = 0; i < SPANS; i++) {
        uint32_t all = recent_sum(c, i, now_us);
        c->debt[i] = all - least(all, c->told_all[i]);
        c->told[i] = 0;
    }
    c->leases[0].left = c->leases[1].left = 0;
    c->n_returns = 0;
    hold(l, c);
}

static void heard(limits *l, limits_counter *c, const cache_limit_take_reply *r, uint64_t now_us)
{
    if (l->away) log_write(LOG_INFO, "the owner of rate limits is back");
    l->away = false;
    if (c->epoch && c->epoch != r->epoch) new_owner(l, c, now_us);
    for (int i = 0; i < SPANS; i++)
        c->debt[i] -= least(c->told[i], c->debt[i]);
    c->epoch = r->epoch;
    c->remaining = (uint32_t)r->remaining;
    c->hour = r->hour;
    c->reset_us = now_us + (uint64_t)r->reset_ms * 1000;
    if (r->granted) {
        take_lease(l, c, r, now_us);
        return;
    }
    uint64_t wait_us = (uint64_t)r->retry_ms * 1000;
    c->retry_us = now_us + wait_us;
    c->blocked_us = now_us + (wait_us < BLOCKED_US ? wait_us : BLOCKED_US);
}

/* ---- verdicts ---- */

static uint32_t seconds(uint64_t us)
{
    uint64_t s = (us + 999999) / 1000000;
    return s < UINT32_MAX ? (uint32_t)s : UINT32_MAX;
}

/* What the counter says of itself when it lets a request through. `fresh`: the owner has just
 * answered; with other edges about, what it said before may have been taken by them. */
static limits_verdict stand(const limits *l, const limits_counter *c, uint64_t now_us, bool fresh)
{
    uint32_t left = c->leases[0].left + c->leases[1].left;
    bool hour = c->pair.minute == 0 || (c->hour && c->pair.hour);
    limits_verdict v = {.allowed = true, .limited = true, .hour = hour, .pair = c->pair};
    v.limit = hour ? c->pair.hour : c->pair.minute;
    v.remaining = fresh || l->o.rules.edges < 2 ? left + c->remaining : left;
    v.remaining = least(v.remaining, v.limit);
    v.reset_s = c->reset_us > now_us ? seconds(c->reset_us - now_us) : 0;
    return v;
}

static void refuse(limits_verdict *v, uint64_t wait_ms)
{
    v->allowed = false;
    v->remaining = 0;
    v->retry_after_ms = wait_ms == 0 ? 1 : wait_ms < UINT32_MAX ? (uint32_t)wait_ms : UINT32_MAX;
    if (v->reset_s < seconds((uint64_t)v->retry_after_ms * 1000))
        v->reset_s = seconds((uint64_t)v->retry_after_ms * 1000);
}

/* ---- one counter ---- */

static void fetch_ahead(limits *l, limits_counter *c, uint64_t now_us)
{
    uint32_t most = rate_lease_most(c->pair.minute, c->pair.hour);
    uint32_t left = c->leases[0].left + c->leases[1].left;
    if (most == 1 || left > most / 2 || c->asking || l->away || l->draining ||
        now_us < c->blocked_us)
        return;
    ask(l, c, now_us);
}

static bool use_lease(limits *l, limits_counter *c, struct limits_token *token, uint64_t now_us)
{
    end_leases(l, c, now_us, false);
    lease *e = c->leases[0].left ? &c->leases[0] : &c->leases[1];
    if (e->left == 0) return false;
    e->left--;
    note_use(c, now_us, true);
    *token = (struct limits_token){.lease = e->number, .epoch = e->epoch};
    return true;
}

/* A quarter of the limit, shared by the edges. */
static uint32_t local_limit(const limits *l, uint32_t limit)
{
    uint32_t part = limit / 4 / (l->o.rules.edges ? l->o.rules.edges : 1);
    return part ? part : 1;
}

/* By what has passed here of late, whoever has allowed it. */
static step use_local(limits *l, limits_counter *c, struct limits_token *token, limits_verdict *v,
                      uint64_t now_us)
{
    const uint32_t most[SPANS] = {c->pair.minute, c->pair.hour};
    metric_add(metric_one(M_LIMIT_LOCAL), 1);
    *v = (limits_verdict){
        .allowed = true, .limited = true, .pair = c->pair, .remaining = UINT32_MAX};
    for (int i = 0; i < SPANS; i++) {
        uint32_t here = local_limit(l, most[i]), used = recent_sum(c, i, now_us);
        uint32_t left = used < here ? here - used : 0;
        if (most[i] == 0 || left >= v->remaining) continue;
        v->remaining = left;
        v->hour = i == 1;
        v->limit = most[i];
        v->reset_s = i == 1 ? 3600 : 60;
    }
    if (v->remaining == 0) { /* until the owner is tried again */
        refuse(v, LIMITS_AWAY_US / 1000);
        return STEP_REFUSED;
    }
    v->remaining--;
    note_use(c, now_us, false);
    hold(l, c);
    *token = (struct limits_token){.lease = 0};
    return STEP_TAKEN;
}

/* One request from one counter. `queued`: it is the first of those that wait here. */
static step use(limits *l, limits_counter *c, limits_wait *w, bool queued, limits_verdict *v,
                uint64_t now_us)
{
    struct limits_token *token = &w->tokens[w->at];
    if (use_lease(l, c, token, now_us)) {
        *v = stand(l, c, now_us, queued);
        fetch_ahead(l, c, now_us);
        return STEP_TAKEN;
    }
    if (now_us < c->blocked_us) {
        *v = stand(l, c, now_us, queued);
        refuse(v, (c->retry_us - now_us + 999) / 1000);
        return STEP_REFUSED;
    }
    if (l->away) {
        if (now_us >= l->try_us && !c->asking) {
            l->try_us = now_us + LIMITS_AWAY_US;
            ask(l, c, now_us);
        }
        return use_local(l, c, token, v, now_us);
    }
    if (queued && now_us >= w->until_us) return use_local(l, c, token, v, now_us);
    if (!queued && c->n_waiting >= LIMITS_WAITING) {
        *v = stand(l, c, now_us, false);
        refuse(v, BUSY_RETRY_MS);
        return STEP_REFUSED;
    }
    if (!c->asking && !ask(l, c, now_us)) return use_local(l, c, token, v, now_us);
    return STEP_WAIT;
}

static void give_back(limits *l, limits_counter *c, const struct limits_token *t, uint64_t now_us)
{
    note_no_use(c, now_us, t->lease != 0);
    if (t->lease == 0) return;
    for (int i = 0; i < 2; i++) {
        lease *e = &c->leases[i];
        if (e->number != t->lease || e->epoch != t->epoch || now_us >= e->end_us) continue;
        e->left++;
        hold(l, c);
        return;
    }
    add_return(l, c, t->lease, t->epoch, 1);
}

/* ---- one request ---- */

static void over(limits *l, limits_wait *w, bool taken, uint64_t now_us)
{
    for (uint32_t i = 0; i < w->at && !taken; i++)
        give_back(l, w->counters[i], &w->tokens[i], now_us);
    for (uint32_t i = 0; i < w->n; i++)
        w->counters[i]->busy--;
    w->n = w->at = 0;
}

/* What the counter said, for the whole request; false: it is refused. */
static bool judge(limits_wait *w, step s, const limits_verdict *v)
{
    if (s == STEP_REFUSED) {
        static metric_series *refused[CLASSES];
        if (refused[w->class] == NULL)
            refused[w->class] =
                metric_get(M_LIMIT_REFUSED, (const char *const[]){limits_class_name(w->class)});
        metric_add(refused[w->class], 1);
        w->verdict = *v;
        return false;
    }
    if (!w->verdict.limited || v->remaining < w->verdict.remaining) w->verdict = *v;
    w->at++;
    return true;
}

/* From counters[at] on. True: w->verdict is the answer; false: it waits. */
static bool go_on(limits *l, limits_wait *w, uint64_t now_us)
{
    while (w->at < w->n) {
        limits_counter *c = w->counters[w->at];
        limits_verdict v;
        step s = use(l, c, w, false, &v, now_us);
        if (s == STEP_WAIT) {
            w->until_us = now_us + LIMITS_WAIT_US;
            ring_push(&c->waiting, &w->link);
            c->n_waiting++;
            return false;
        }
        if (!judge(w, s, &v)) break;
    }
    over(l, w, w->verdict.allowed, now_us);
    return true;
}

/* Serves those that wait for the counter, in order, as far as it goes. */
static void serve(limits *l, limits_counter *c, uint64_t now_us)
{
    while (!ring_empty(&c->waiting)) {
        limits_wait *w = member_of(limits_wait, link, c->waiting.next);
        limits_verdict v;
        step s = use(l, c, w, true, &v, now_us);
        if (s == STEP_WAIT) return;
        ring_unlink(&w->link);
        c->n_waiting--;
        if (judge(w, s, &v)) {
            if (!go_on(l, w, now_us)) continue;
        } else {
            over(l, w, false, now_us);
        }
        v = w->verdict;
        w->done(w, &v);
    }
}

bool limits_check(limits *l, const limits_subject *s, limits_wait *w, limits_done *done,
                  limits_verdict *ret)
{
    limits_item items[LIMITS_COUNTERS];
    uint64_t now_us = now_of(l);
    uint32_t n = limits_plan(&l->o.rules, s, items);
    *w = (limits_wait){.done = done, .class = s->class, .verdict = {.allowed = true}};
    for (; w->n < n; w->n++) {
        limits_counter *c = counter_of(l, &items[w->n], now_us);
        if (c == NULL) {
            over(l, w, false, now_us);
            *ret = (limits_verdict){.retry_after_ms = BUSY_RETRY_MS};
            return true;
        }
        c->busy++;
        w->counters[w->n] = c;
    }
    if (!go_on(l, w, now_us)) return false;
    *ret = w->verdict;
    return true;
}

void limits_cancel(limits *l, limits_wait *w)
{
    if (!ring_has(&w->link)) return;
    ring_unlink(&w->link);
    w->counters[w->at]->n_waiting--;
    over(l, w, false, now_of(l));
}

void limits_answer(limits *l, limits_counter *c, int code, const cache_limit_take_reply *reply)
{
    uint64_t now_us = now_of(l);
    assert(c->asking);
    c->asking = false;
    /* An owner that has just died may have an heir. What was told is told again: better counted
     * twice than not at all. */
    bool again = code && code != SV_E_DEADLINE && !c->again && !l->away;
    metric_add(metric_get(M_LIMIT_ASKS, (const char *const[]){code ? "failed" : "answered"}), 1);
    c->again = again && ask(l, c, now_us);
    if (!c->again) {
        if (code)
            owner_away(l, code, now_us);
        else
            heard(l, c, reply, now_us);
        serve(l, c, now_us);
    }
    c->busy--;
}

bool limits_tick(limits *l)
{
    uint64_t now_us = now_of(l);
    int asks = 0, tells = 0;
    for (ring_link *at = l->held.next, *next; at != &l->held; at = next) {
        limits_counter *c = member_of(limits_counter, held, at);
        next = at->next;
        end_leases(l, c, now_us, l->draining);
        if (!c->asking && !l->away) {
            bool asks_for_it = in_debt(c) && !l->draining; /* the answer says that it was heard */
            if (asks_for_it && asks++ < TICK_ASKS)
                ask(l, c, now_us);
            else if (!asks_for_it && (tells < TICK_TELLS || l->draining))
                tells += tell(l, c, now_us);
        }
        if (c->leases[0].left + c->leases[1].left + c->n_returns == 0 && !in_debt(c))
            ring_unlink(&c->held);
    }
    return !ring_empty(&l->held);
}

void limits_drain(limits *l)
{
    l->draining = true;
    limits_tick(l);
}

bool limits_away(const limits *l)
{
    return l->away;
}

/* ---- life ---- */

limits *limits_new(const limits_options *o)
{
    limits *l = calloc(1, sizeof *l);
    if (l == NULL) return NULL;
    l->o = *o;
    ring_init(&l->by_use);
    ring_init(&l->held);
    if (name_table_init(&l->names, o->counters)) {
        free(l);
        return NULL;
    }
    return l;
}

void limits_free(limits *l)
{
    if (l == NULL) return;
    while (!ring_empty(&l->by_use))
        counter_free(l, member_of(limits_counter, by_use, l->by_use.next));
    name_table_free(&l->names);
    free(l);
}
