/*  budget_core.c - counters by name, each with a ring of its clients. */
#include "budget_core.h"

#include "error.h"
#include "name_table.h"
#include "rate_window.h"

#include <stdlib.h>
#include <time.h>

#define DAY_MS (24LL * 3600 * 1000)
#define MOST   9007199254740991LL /* exact in JSON everywhere */

enum {
    DROP_A_TICK = 4096,
    DROP_A_MAKE = 4,
    RETRY_LEAST_MS = 100,
    RETRY_MOST_MS = 60000,
    CLIENTS_MOST = 512
};

typedef struct account {
    int64_t told, line;
    bool known; /* of a minute: the client has spoken of it */
} account;

typedef struct client {
    ring_link link; /* of its counter */
    int64_t id, sequence;
    account money, requests, tokens;
    uint64_t seen_ms;
    bool dirty;
} client;

typedef struct budget_counter {
    named name;
    ring_link by_use, dirty_link;
    ring_link clients;
    uint32_t n_clients;
    int64_t day, month; /* numbers of the periods that the next two are of */
    int64_t day_used, month_used, total_used;
    rate_window *requests, *tokens; /* NULL as long as they are not limited */
    bool writing;
} budget_counter;

struct budget_core {
    budget_core_options o;
    name_table names;
    ring_link by_use, dirty;
    bool heir;
    uint64_t heir_until_ms; /* 0: nobody has come yet */
    budget_core_stats stats;
};

/* ---- life ---- */

budget_core *budget_core_new(const budget_core_options *o)
{
    budget_core *c = calloc(1, sizeof *c);
    if (c == NULL) return NULL;
    c->o = *o;
    c->heir = o->heir;
    ring_init(&c->by_use);
    ring_init(&c->dirty);
    if (name_table_init(&c->names, o->counters)) {
        free(c);
        return NULL;
    }
    return c;
}

static void client_free(budget_core *c, budget_counter *k, client *l)
{
    ring_unlink(&l->link);
    k->n_clients--;
    c->stats.clients--;
    free(l);
}

static void counter_free(budget_core *c, budget_counter *k)
{
    while (!ring_empty(&k->clients))
        client_free(c, k, member_of(client, link, k->clients.next));
    ring_unlink(&k->by_use);
    ring_unlink(&k->dirty_link);
    name_table_remove(&c->names, &k->name);
    free(k->requests);
    free(k->tokens);
    free(k);
}

void budget_core_free(budget_core *c)
{
    if (c == NULL) return;
    while (!ring_empty(&c->by_use))
        counter_free(c, member_of(budget_counter, by_use, c->by_use.next));
    name_table_free(&c->names);
    free(c);
}

void budget_core_first(budget_core *c)
{
    c->heir = false;
}

/* ---- periods ---- */

static int64_t month_of(int64_t unix_ms)
{
    time_t s = (time_t)(unix_ms / 1000);
    struct tm t;
    gmtime_r(&s, &t);
    return (int64_t)t.tm_year * 12 + t.tm_mon;
}

static int64_t month_begins(int64_t month)
{
    struct tm t = {.tm_year = (int)(month / 12), .tm_mon = (int)(month % 12), .tm_mday = 1};
    return (int64_t)timegm(&t) * 1000;
}

/* A clock that goes back does not bring a period back. */
static void turn(budget_counter *k, int64_t unix_ms)
{
    int64_t day = unix_ms / DAY_MS, month = month_of(unix_ms);
    if (day > k->day) {
        k->day = day;
        k->day_used = 0;
    }
    if (month > k->month) {
        k->month = month;
        k->month_used = 0;
    }
}

static int64_t plus(int64_t a, int64_t b)
{
    return a > MOST - b ? MOST : a + b;
}

/* ---- counters and clients ---- */

static budget_counter *find(const budget_core *c, sv_str name)
{
    named *m = name_table_find(&c->names, name);
    return m ? member_of(budget_counter, name, m) : NULL;
}

static void mark(budget_core *c, budget_counter *k)
{
    if (!ring_has(&k->dirty_link)) ring_push(&c->dirty, &k->dirty_link);
}

static bool idle(budget_counter *k, uint64_t now_ms)
{
    return k->n_clients == 0 && !k->writing && !ring_has(&k->dirty_link) &&
           (k->requests == NULL || rate_window_sum(k->requests, now_ms) == 0) &&
           (k->tokens == NULL || rate_window_sum(k->tokens, now_ms) == 0);
}

static void drop_clients(budget_core *c, budget_counter *k, uint64_t now_ms)
{
    for (ring_link *at = k->clients.next, *next; at != &k->clients; at = next) {
        client *l = member_of(client, link, at);
        next = at->next;
        if (now_ms - l->seen_ms >= BUDGET_FORGET_MS && !l->dirty && !k->writing)
            client_free(c, k, l);
    }
}

/* The one used longest ago is the first; looks at up to `most`. */
static void drop_some(budget_core *c, uint64_t now_ms, uint32_t most)
{
    ring_link *at = c->by_use.next;
    for (uint32_t i = 0; i < most && at != &c->by_use; i++) {
        budget_counter *k = member_of(budget_counter, by_use, at);
        at = at->next;
        drop_clients(c, k, now_ms);
        if (idle(k, now_ms)) counter_free(c, k);
    }
}

static int make(budget_core *c, sv_str name, uint64_t now_ms, budget_counter **ret, sv_error *err)
{
    drop_some(c, now_ms, DROP_A_MAKE);
    if (c->names.n >= c->o.counters)
        return sv_fail(err, SV_E_OVERLOADED, NULL,
                       "There are more budgets in use than "
                       "cache.budget_counters allows.");
    budget_counter_row row = {.name = name};
    int rc = c->o.load_counter(c->o.arg, &row);
    if (rc && rc != SV_E_NOT_FOUND) return sv_fail(err, rc, NULL, NULL);
    if (rc) row = (budget_counter_row){.day = 0};
    budget_counter *k = calloc(1, sizeof *k);
    if (k == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    k->day = row.day;
    k->month = row.month;
    k->day_used = row.day_used;
    k->month_used = row.month_used;
    k->total_used = row.total_used;
    ring_init(&k->clients);
    name_table_add(&c->names, &k->name, name);
    ring_push(&c->by_use, &k->by_use);
    *ret = k;
    return 0;
}

static int need_window(rate_window **w, uint64_t now_ms)
{
    if (*w) return 0;
    *w = malloc(sizeof **w);
    if (*w == NULL) return SV_E_NO_MEMORY;
    rate_window_init(*w, RATE_MINUTE, now_ms);
    return 0;
}

static uint32_t small(int64_t n)
{
    return n < RATE_MOST ? (uint32_t)n : RATE_MOST;
}

/* A client that is not in memory: its money goes on from what is on disk. */
static int client_make(budget_core *c, budget_counter *k, const cache_budget_item *q, client **ret)
{
    budget_client_row row = {.name = q->name, .client = q->client};
    if (k->n_clients >= CLIENTS_MOST) return SV_E_OVERLOADED;
    int rc = c->o.load_client(c->o.arg, &row);
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    int64_t told = rc ? 0 : row.told;
    client *l = calloc(1, sizeof *l);
    if (l == NULL) return SV_E_NO_MEMORY;
    l->id = q->client;
    l->money = (account){told, told, true};
    ring_push(&k->clients, &l->link);
    k->n_clients++;
    c->stats.clients++;
    *ret = l;
    return 0;
}

static client *client_of(budget_counter *k, int64_t id)
{
    for (ring_link *at = k->clients.next; at != &k->clients; at = at->next) {
        client *l = member_of(client, link, at);
        if (l->id == id) return l;
    }
    return NULL;
}

/* ---- what a client says ---- */

/* The total and the line, as they are now; answers what was used since the last time. */
static int64_t take(account *a, const cache_budget_ask *q)
{
    int64_t more = q->used > a->told ? q->used - a->told : 0;
    if (q->used > a->told) a->told = q->used;
    a->line = q->line;
    return more;
}

/* Of a minute; the first time the client says what it has used of late. */
static int64_t take_minute(account *a, const cache_budget_ask *q)
{
    int64_t more = take(a, q);
    if (!a->known) more = q->recent;
    a->known = true;
    return more;
}

static void take_all(budget_core *c, budget_counter *k, client *l, const cache_budget_item *q,
                     uint64_t now_ms)
{
    if (q->money) {
        int64_t more = take(&l->money, q->money);
        k->day_used = plus(k->day_used, more);
        k->month_used = plus(k->month_used, more);
        k->total_used = plus(k->total_used, more);
        if (more) {
            l->dirty = true;
            mark(c, k);
        }
    }
    if (q->requests)
        rate_window_add(k->requests, now_ms, small(take_minute(&l->requests, q->requests)));
    if (q->tokens) rate_window_add(k->tokens, now_ms, small(take_minute(&l->tokens, q->tokens)));
}

/* ---- granting ---- */

typedef enum measure { MONEY, REQUESTS, TOKENS } measure;

static account *account_of(client *l, measure m)
{
    return m == MONEY ? &l->money : m == REQUESTS ? &l->requests : &l->tokens;
}

/* What all clients that live may still use. */
static int64_t leased(const budget_counter *k, measure m, uint64_t now_ms)
{
    int64_t sum = 0;
    for (ring_link *at = k->clients.next; at != &k->clients; at = at->next) {
        client *l = member_of(client, link, at);
        const account *a = account_of(l, m);
        if (now_ms - l->seen_ms < BUDGET_LIFE_MS && a->line > a->told)
            sum = plus(sum, a->line - a->told);
    }
    return sum;
}

static bool in_doubt(const budget_core *c, uint64_t now_ms)
{
    return c->heir && now_ms < c->heir_until_ms;
}

/* Raises the line: the need first, then a part of what is left. False: the need is not met. */
static bool raise(account *a, const cache_budget_ask *q, int64_t room)
{
    int64_t need = q->need > a->line ? q->need - a->line : 0;
    int64_t got = need < room ? need : room > 0 ? room : 0;
    a->line += got;
    if (got < need) return false;
    room -= got;
    int64_t more = q->want > a->line ? q->want - a->line : 0, part = room / BUDGET_PART;
    if (part > 0) a->line += more < part ? more : part;
    return true;
}

static void money_grant(const budget_core *c, budget_counter *k, client *l,
                        const cache_budget_item *q, uint64_t now_ms, cache_budget_grant *g)
{
    const struct {
        const char *name;
        int64_t limit, used, until;
    } periods[] = {{"total", q->total, k->total_used, 0},
                   {"month", q->month, k->month_used, month_begins(k->month + 1)},
                   {"day", q->day, k->day_used, (k->day + 1) * DAY_MS}};
    int64_t left = MOST;
    int tight = 0;
    for (int i = 0; i < 3; i++) {
        if (periods[i].limit == 0 || periods[i].limit - periods[i].used >= left) continue;
        left = periods[i].limit - periods[i].used;
        tight = i;
    }
    bool doubt = in_doubt(c, now_ms);
    int64_t room = doubt ? 0 : left - leased(k, MONEY, now_ms);
    if (raise(&l->money, q->money, room)) return;
    if (doubt) {
        g->wait_ms = (int64_t)(c->heir_until_ms - now_ms);
        return;
    }
    g->money_short = sv_cstr(periods[tight].name);
    g->until = periods[tight].until;
}

/* Answers how long to wait, 0: the need is met. */
static int64_t minute_grant(const budget_core *c, budget_counter *k, client *l, measure m,
                            const cache_budget_ask *q, rate_window *w, int64_t limit,
                            uint64_t now_ms, int64_t *ret_wait_ms)
{
    bool doubt = in_doubt(c, now_ms);
    int64_t out = leased(k, m, now_ms);
    int64_t room = limit ? limit - (int64_t)rate_window_sum(w, now_ms) - out : MOST;
    if (raise(account_of(l, m), q, doubt ? 0 : room)) return 0;
    if (doubt) {
        *ret_wait_ms = (int64_t)(c->heir_until_ms - now_ms);
        return 0;
    }
    int64_t free = limit > out ? limit - out : 0;
    int64_t wait = (int64_t)rate_window_wait_ms(w, now_ms, small(free), 1);
    return wait < RETRY_LEAST_MS ? RETRY_LEAST_MS : wait > RETRY_MOST_MS ? RETRY_MOST_MS : wait;
}

static void grant_all(budget_core *c, budget_counter *k, client *l, const cache_budget_item *q,
                      uint64_t now_ms, cache_budget_grant *g)
{
    if (q->money) money_grant(c, k, l, q, now_ms, g);
    if (q->requests)
        g->requests_ms = minute_grant(c, k, l, REQUESTS, q->requests, k->requests,
                                      q->minute_requests, now_ms, &g->wait_ms);
    if (q->tokens)
        g->tokens_ms = minute_grant(c, k, l, TOKENS, q->tokens, k->tokens, q->minute_tokens, now_ms,
                                    &g->wait_ms);
    bool refused = g->money_short.n || g->requests_ms || g->tokens_ms;
    c->stats.refused += refused;
    c->stats.granted += !refused && g->wait_ms == 0;
}

static int one(budget_core *c, uint64_t now_ms, int64_t unix_ms, const cache_budget_item *q,
               bool grant, cache_budget_grant *g, sv_error *err)
{
    *g = (cache_budget_grant){.stale = false};
    if (q->name.n == 0 || q->name.n > NAME_BYTES_MOST)
        return sv_fail(err, SV_E_INVALID, "name", "A counter has a name.");
    budget_counter *k = find(c, q->name);
    int rc = k ? 0 : make(c, q->name, now_ms, &k, err);
    if (rc) return rc;
    ring_unlink(&k->by_use);
    ring_push(&c->by_use, &k->by_use);
    if (q->requests) rc = need_window(&k->requests, now_ms);
    if (rc == 0 && q->tokens) rc = need_window(&k->tokens, now_ms);
    client *l = client_of(k, q->client);
    if (rc == 0 && l == NULL) rc = client_make(c, k, q, &l);
    if (rc) return sv_fail(err, rc, NULL, NULL);
    if (q->sequence <= l->sequence) {
        g->stale = true;
        return 0;
    }
    l->sequence = q->sequence;
    l->seen_ms = now_ms;
    turn(k, unix_ms);
    take_all(c, k, l, q, now_ms);
    if (grant) grant_all(c, k, l, q, now_ms, g);
    g->money = l->money.line;
    g->requests = l->requests.line;
    g->tokens = l->tokens.line;
    return 0;
}

int budget_core_reserve(budget_core *c, uint64_t now_ms, int64_t unix_ms, const cache_budget_req *q,
                        bool grant, cache_budget_grant *grants, cache_budget_reply *ret,
                        sv_error *err)
{
    const cache_budget_item *items = q->items.items;
    if (c->heir_until_ms == 0) c->heir_until_ms = now_ms + BUDGET_HEIR_MS;
    for (uint32_t i = 0; i < q->items.n; i++) {
        int rc = one(c, now_ms, unix_ms, &items[i], grant, &grants[i], err);
        if (rc) return rc;
    }
    *ret = (cache_budget_reply){.items = {grants, q->items.n}, .epoch = c->o.epoch};
    return 0;
}

/* ---- look ---- */

static int look_one(budget_core *c, uint64_t now_ms, int64_t unix_ms, sv_str name,
                    cache_budget_used *ret)
{
    budget_counter *k = find(c, name), read = {.day = 0};
    *ret = (cache_budget_used){.day = 0};
    if (k == NULL) {
        budget_counter_row row = {.name = name};
        int rc = c->o.load_counter(c->o.arg, &row);
        if (rc) return rc == SV_E_NOT_FOUND ? 0 : rc;
        read = (budget_counter){.day = row.day,
                                .month = row.month,
                                .day_used = row.day_used,
                                .month_used = row.month_used,
                                .total_used = row.total_used};
        k = &read;
        ring_init(&k->clients);
    }
    turn(k, unix_ms);
    *ret = (cache_budget_used){.day = k->day_used,
                               .month = k->month_used,
                               .total = k->total_used,
                               .held = leased(k, MONEY, now_ms)};
    if (k->requests) ret->minute_requests = (int64_t)rate_window_sum(k->requests, now_ms);
    if (k->tokens) ret->minute_tokens = (int64_t)rate_window_sum(k->tokens, now_ms);
    return 0;
}

int budget_core_look(budget_core *c, uint64_t now_ms, int64_t unix_ms,
                     const cache_budget_look_req *q, cache_budget_used *used,
                     cache_budget_look_reply *ret, sv_error *err)
{
    for (uint32_t i = 0; i < q->names.n; i++) {
        int rc = look_one(c, now_ms, unix_ms, q->names.items[i], &used[i]);
        if (rc) return sv_fail(err, rc, NULL, NULL);
    }
    *ret = (cache_budget_look_reply){.items = {used, q->names.n}};
    return 0;
}

/* ---- to the disk ---- */

bool budget_core_dirty(const budget_core *c)
{
    return !ring_empty(&c->dirty);
}

static sv_str name_of(const budget_counter *k)
{
    return (sv_str){k->name.name, k->name.n};
}

static void batch_add(budget_batch *b, budget_counter *k, int64_t unix_ms)
{
    b->of[b->n_counters] = k;
    b->counters[b->n_counters++] = (budget_counter_row){.name = name_of(k),
                                                        .day = k->day,
                                                        .month = k->month,
                                                        .day_used = k->day_used,
                                                        .month_used = k->month_used,
                                                        .total_used = k->total_used};
    for (ring_link *at = k->clients.next; at != &k->clients; at = at->next) {
        client *l = member_of(client, link, at);
        if (!l->dirty) continue;
        l->dirty = false;
        b->clients[b->n_clients++] =
            (budget_client_row){.name = name_of(k),
                                .client = l->id,
                                .told = l->money.told,
                                .expires = unix_ms + (int64_t)BUDGET_CLIENT_KEPT_H * 3600 * 1000};
    }
    k->writing = true;
    ring_unlink(&k->dirty_link);
}

bool budget_core_batch(budget_core *c, int64_t unix_ms, budget_batch *ret)
{
    ret->n_counters = ret->n_clients = 0;
    while (!ring_empty(&c->dirty) && ret->n_counters < BUDGET_BATCH) {
        budget_counter *k = member_of(budget_counter, dirty_link, c->dirty.next);
        if (ret->n_clients + k->n_clients > BUDGET_BATCH_CLIENTS) break;
        batch_add(ret, k, unix_ms);
    }
    return ret->n_counters > 0;
}

void budget_core_written(budget_core *c, budget_batch *b, bool ok)
{
    for (uint32_t i = 0; i < b->n_counters; i++) {
        budget_counter *k = b->of[i];
        k->writing = false;
        if (ok) continue;
        for (ring_link *at = k->clients.next; at != &k->clients; at = at->next)
            member_of(client, link, at)->dirty = true;
        mark(c, k);
    }
    b->n_counters = b->n_clients = 0;
}

void budget_core_tick(budget_core *c, uint64_t now_ms)
{
    drop_some(c, now_ms, DROP_A_TICK);
}

budget_core_stats budget_core_look_stats(const budget_core *c)
{
    budget_core_stats s = c->stats;
    s.counters = c->names.n;
    return s;
}
