/*  look.c - cache.stats, cache.entries and cache.invalidate: of this process, and, for whoever asks from
 *  outside, of all others too (`alone` says that the asker is such a process).
 *
 *  Who asks without a ticket is the operator. An administrator of the platform sees and clears
 *  everything, an administrator of an organization what is his organization's. */
#include "answer_cache.h"

#include "error.h"
#include "sv_limits.h"
#include "ticket.h"

#include <stdio.h>
#include <stdlib.h>

enum { MODELS_SHOWN = 40 };

/* ---- who may what ---- */

static bool among(const sv_str *list, uint32_t n, const char *word)
{
    for (uint32_t i = 0; i < n; i++)
        if (sv_str_is(list[i], word)) return true;
    return false;
}

/* *all: everything is the caller's. Else f->org is his organization. */
static int allowed(sv_call *call, answers_filter *f, bool *all)
{
    ticket t;
    sv_str bytes = sv_call_ticket(call);
    sv_error *err = sv_call_error(call);
    *all = true;
    f->any_org = f->org.n == 0;
    if (bytes.n == 0) return 0;
    int rc = ticket_read(bytes, &t, err);
    if (rc) return rc;
    if (among(t.roles, t.n_roles, "platform_admin")) return 0;
    *all = false;
    bool may =
        t.org.n && (among(t.roles, t.n_roles, "admin") || among(t.roles, t.n_roles, "owner"));
    if (!may)
        return sv_fail(err, SV_E_ROLE, NULL,
                       "The cache is for administrators of the organization.");
    if (f->org.n && !sv_str_eq(f->org, t.org))
        return sv_fail(err, SV_E_ROLE, "org",
                       "Other organizations' answers are for administrators of the platform.");
    f->org = t.org;
    f->any_org = false;
    return 0;
}

/* ---- the other instances ---- */

typedef struct others {
    uint32_t id[64], n;
} others;

static int find_others(sv_call *call, others *ret)
{
    bus_services_reply reply;
    char none = 0;
    *ret = (others){.n = 0};
    int rc = sv_call_service(call, "bus.services", &bus_empty_msg, &none, &bus_services_reply_msg,
                             &reply);
    if (rc) return rc;
    uint32_t self = sv_instance(sv_call_process(call));
    for (uint32_t i = 0; i < reply.instances.n; i++) {
        const bus_service_instance *in = &((bus_service_instance *)reply.instances.items)[i];
        if (!sv_str_is(in->service, "cache") || (uint32_t)in->instance == self) continue;
        if (ret->n < sizeof ret->id / sizeof *ret->id) ret->id[ret->n++] = (uint32_t)in->instance;
    }
    return 0;
}

static int ask(sv_call *call, uint32_t instance, const char *method, const sv_message *type,
               const void *request, const sv_message *reply_type, void *reply)
{
    char target[LIMIT_TARGET_BYTES];
    snprintf(target, sizeof target, "cache/%u.%s", instance, method);
    return sv_call_service(call, target, type, request, reply_type, reply);
}

/* ---- figures ---- */

static bool shown(const answers_filter *f, const cache_model_stat *m)
{
    return (f->any_org || sv_str_eq(f->org, m->org)) &&
           (f->model.n == 0 || sv_str_eq(f->model, m->model));
}

/* Adds a row to those of the same name; *n rows, of which there is room for `most`. */
static void add_model(cache_model_stat *rows, uint32_t *n, uint32_t most, const cache_model_stat *m)
{
    uint32_t i = 0;
    while (i < *n && !(sv_str_eq(rows[i].org, m->org) && sv_str_eq(rows[i].model, m->model)))
        i++;
    if (i == *n) {
        if (i == most) return;
        rows[(*n)++] = *m;
        return;
    }
    rows[i].hits += m->hits;
    rows[i].semantic += m->semantic;
    rows[i].shared += m->shared;
    rows[i].misses += m->misses;
    rows[i].tokens += m->tokens;
    rows[i].price += m->price;
}

static int by_tokens(const void *a, const void *b)
{
    const cache_model_stat *x = a, *y = b;
    if (x->tokens != y->tokens) return x->tokens < y->tokens ? 1 : -1;
    int64_t n = x->hits + x->shared + x->misses, m = y->hits + y->shared + y->misses;
    return (n < m) - (n > m);
}

static void add_sums(cache_stats_reply *to, const cache_stats_reply *more)
{
    to->instances += more->instances;
    if (more->since && more->since < to->since) to->since = more->since;
    to->away += more->away;
    to->hits += more->hits;
    to->semantic += more->semantic;
    to->shared += more->shared;
    to->misses += more->misses;
    to->tokens += more->tokens;
    to->price += more->price;
    to->answers += more->answers;
    to->bytes += more->bytes;
    to->memory_bytes += more->memory_bytes;
    to->under_way += more->under_way;
    to->evicted += more->evicted;
    to->expired += more->expired;
    to->cleared += more->cleared;
    to->not_kept += more->not_kept;
    to->vector_bytes += more->vector_bytes;
}

static void own_figures(const answer_cache *c, bool all, cache_stats_reply *ret)
{
    const answers_figures *f = &c->answers.figures;
    flight *i;
    ret->instances = 1;
    ret->since = c->since;
    if (!all) return;
    ret->answers = (int64_t)f->answers;
    ret->bytes = (int64_t)f->bytes;
    ret->memory_bytes = (int64_t)f->memory_bytes;
    ret->evicted = (int64_t)f->evicted;
    ret->expired = (int64_t)f->expired;
    ret->cleared = (int64_t)f->cleared;
    ret->not_kept = (int64_t)c->not_kept;
    ret->vector_bytes = (int64_t)c->meanings.bytes;
    TAILQ_FOREACH(i, &c->flights.all, link)
    ret->under_way += i->running;
}

static void own_models(const answer_cache *c, const answers_filter *f, cache_stats_reply *ret,
                       cache_model_stat *rows)
{
    for (uint32_t i = 0; i <= TALLY_MOST; i++) {
        const tally_row *t = &c->tally.rows[i];
        cache_model_stat m = {.org = sv_cstr(t->org ? t->org : ""),
                              .model = sv_cstr(t->model ? t->model : TALLY_OTHER),
                              .hits = t->count[TALLY_HIT] + t->count[TALLY_MEANT],
                              .semantic = t->count[TALLY_MEANT],
                              .shared = t->count[TALLY_SHARED],
                              .misses = t->count[TALLY_MISS],
                              .tokens = t->tokens,
                              .price = t->price};
        if (m.hits + m.shared + m.misses == 0 || !shown(f, &m)) continue;
        ret->hits += m.hits;
        ret->semantic += m.semantic;
        ret->shared += m.shared;
        ret->misses += m.misses;
        ret->tokens += m.tokens;
        ret->price += m.price;
        add_model(rows, &ret->models.n, TALLY_MOST + 1, &m);
    }
}

/* Best first, as many as an answer may have. */
static void cut_models(cache_stats_reply *r, cache_model_stat *rows)
{
    r->models.items = rows;
    if (r->models.n) qsort(rows, r->models.n, sizeof *rows, by_tokens);
    if (r->models.n > MODELS_SHOWN) r->models.n = MODELS_SHOWN;
}

int cache_stats(sv_call *call, const void *request)
{
    const cache_look_req *q = request;
    const answer_cache *c = answer_cache_of(call);
    answers_filter f = {.org = q->org, .model = q->model};
    cache_stats_reply sum = {.instances = 0}, more;
    others o = {.n = 0};
    bool all;
    int rc = allowed(call, &f, &all);
    if (rc == 0 && !q->alone) rc = find_others(call, &o);
    uint32_t most = TALLY_MOST + 1 + MODELS_SHOWN * o.n;
    cache_model_stat *rows = rc ? NULL : arena_alloc(sv_call_arena(call), most * sizeof *rows);
    if (rows == NULL) return rc ? rc : SV_E_NO_MEMORY;
    own_figures(c, all, &sum);
    own_models(c, &f, &sum, rows);
    if (q->alone) cut_models(&sum, rows);
    for (uint32_t i = 0; i < o.n; i++) {
        cache_look_req there = *q;
        there.alone = true;
        if (ask(call, o.id[i], "stats", &cache_look_req_msg, &there, &cache_stats_reply_msg,
                &more)) {
            sum.away++;
            continue;
        }
        add_sums(&sum, &more);
        for (uint32_t m = 0; m < more.models.n; m++)
            add_model(rows, &sum.models.n, most, &((cache_model_stat *)more.models.items)[m]);
    }
    cut_models(&sum, rows);
    return sv_reply(call, &sum);
}

/* ---- entries ---- */

static cache_entry show(const answer *r)
{
    const answer_info *i = &r->info;
    return (cache_entry){.key = i->key,
                         .org = i->org,
                         .own = i->user.n > 0,
                         .model = i->model,
                         .asked = i->asked,
                         .task = i->task,
                         .stream = i->stream,
                         .bytes = i->size,
                         .created = i->created,
                         .expires = i->expires,
                         .used = i->used,
                         .hits = i->hits,
                         .tokens = i->tokens,
                         .price = i->price};
}

/* An entry whose text outlives its answer, which may go while other instances are asked. */
static int copy_entry(sv_call *call, const answer *r, cache_entry *ret)
{
    char *text = arena_alloc(sv_call_arena(call), CACHE_KEY + answer_text_size(&r->info) + 1);
    if (text == NULL) return SV_E_NO_MEMORY;
    memcpy(text, r->key, CACHE_KEY);
    answer still = *r;
    still.info = answer_info_copy(&r->info, text + CACHE_KEY);
    still.info.key = (sv_str){text, CACHE_KEY};
    *ret = show(&still);
    return 0;
}

static int by_entry_hits(const void *a, const void *b)
{
    const cache_entry *x = a, *y = b;
    if (x->hits != y->hits) return x->hits < y->hits ? 1 : -1;
    return (x->created < y->created) - (x->created > y->created);
}

int cache_entries(sv_call *call, const void *request)
{
    const cache_look_req *q = request;
    answer_cache *c = answer_cache_of(call);
    answers_filter f = {.org = q->org, .model = q->model};
    cache_entries_reply ret = {.instances = 1}, more;
    others o = {.n = 0};
    bool all;
    answer **list;
    int rc = allowed(call, &f, &all);
    if (rc == 0 && !q->alone) rc = find_others(call, &o);
    uint32_t limit = (uint32_t)q->limit, n = 0;
    cache_entry *rows =
        rc ? NULL : arena_alloc(sv_call_arena(call), (1 + o.n) * limit * sizeof *rows);
    if (rows == NULL) return rc ? rc : SV_E_NO_MEMORY;
    size_t found = answers_most_used(&c->answers, &f, limit, &list);
    for (size_t i = 0; rc == 0 && i < found; i++)
        rc = copy_entry(call, list[i], &rows[n++]);
    free(list);
    for (uint32_t i = 0; rc == 0 && i < o.n; i++) {
        cache_look_req there = *q;
        there.alone = true;
        if (ask(call, o.id[i], "entries", &cache_look_req_msg, &there, &cache_entries_reply_msg,
                &more)) {
            ret.away++;
            continue;
        }
        ret.instances++;
        for (uint32_t m = 0; m < more.entries.n && m < limit; m++)
            rows[n++] = ((cache_entry *)more.entries.items)[m];
    }
    if (rc) return rc;
    if (n) qsort(rows, n, sizeof *rows, by_entry_hits);
    ret.entries = (sv_list){rows, n < limit ? n : limit};
    return sv_reply(call, &ret);
}

/* ---- forgetting ---- */

/* What is under way for these is not kept, and nobody comes to it any more. */
static void doom(answer_cache *c, const answers_filter *f)
{
    flight *i;
    TAILQ_FOREACH(i, &c->flights.all, link)
    {
        const answer_info *info = cache_flight_info(i);
        /* The provider's name of its model is not known yet: any may be meant. */
        answers_filter who = {.org = f->org, .any_org = f->any_org};
        if (info == NULL || !answers_match(&who, info)) continue;
        if (f->key.n == 0 || sv_str_is(f->key, i->key)) flight_doom(i);
    }
}

int cache_invalidate(sv_call *call, const void *request)
{
    const cache_invalidate_req *q = request;
    answer_cache *c = answer_cache_of(call);
    answers_filter f = {.key = q->key, .org = q->org, .model = q->model};
    cache_invalidate_reply ret = {.instances = 1}, more;
    others o = {.n = 0};
    bool all;
    if (q->key.n == 0 && q->org.n == 0 && q->model.n == 0 && !q->all)
        return sv_fail(sv_call_error(call), SV_E_MISSING_FIELD, "all",
                       "Say which answers: key, model or org; or all.");
    int rc = allowed(call, &f, &all);
    if (rc == 0 && !q->alone) rc = find_others(call, &o);
    if (rc) return rc;
    doom(c, &f);
    ret.cleared = (int64_t)answers_clear(&c->answers, &f);
    rc = answer_cache_forget(c, call);
    if (rc)
        return sv_fail(sv_call_error(call), rc, NULL,
                       "The answers are forgotten, but not removed from the disk: do it again.");
    for (uint32_t i = 0; i < o.n; i++) {
        cache_invalidate_req there = *q;
        there.alone = true;
        rc = ask(call, o.id[i], "invalidate", &cache_invalidate_req_msg, &there,
                 &cache_invalidate_reply_msg, &more);
        if (rc)
            return sv_fail(sv_call_error(call), SV_E_UNAVAILABLE, NULL,
                           "cache/%u could not be asked and may still have such answers: do it "
                           "again.",
                           o.id[i]);
        ret.cleared += more.cleared;
        ret.instances += more.instances;
    }
    return sv_reply(call, &ret);
}
