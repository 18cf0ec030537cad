/*  decision.c - records in a pool. A record is under way or ended; those that have ended are a list in
 *  order of their end, of which the first is used anew when there are enough. All are in a map by id.
 *
 *  Text lies behind each other in the record and is named by its offset, 0 is "": names of providers
 *  and models repeat from attempt to attempt and are found again. What was looked at for auto is a block
 *  of its own, as large as it has to be; a request for a named model has none. */
#include "decision.h"

#include "error.h"
#include "idmap.h"
#include "plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef uint16_t text_at;

typedef struct attempt {
    text_at provider, model;
    uint16_t status;
    uint8_t key;
    bool hedge, priced;
    const char *outcome;
    uint64_t began_us, first_us, total_us; /* began: since the request came */
    int64_t prompt, completion, price;
} attempt;

typedef struct seen {
    text_at provider, model, filter;
    float score, quality, price, speed, reliability, learned;
} seen;

typedef struct seen_block {
    uint32_t n;
    char *text; /* behind the items */
    seen items[];
} seen_block;

struct decision {
    decision *next; /* ended ones, and free ones */
    sv_id id;
    uint64_t began_us, unix_ms, chosen_us, total_us;
    char org[DECISION_ID + 1], user[DECISION_ID + 1], key[DECISION_ID + 1];
    bool stream, keep, automatic, explored, fallback, ended, kept;
    int8_t rating;
    text_at endpoint, asked, rule, provider, model;
    const char *task, *outcome, *finish, *why;
    float complexity;
    seen_block *seen;
    uint32_t n_attempts, more_attempts;
    attempt attempts[DECISION_TRIES];
    uint32_t text_n;
    char text[DECISION_TEXT];
};

struct decisions {
    uint32_t most, n; /* n: ended */
    decision_keep keep;
    decision_sink *sink;
    void *arg;
    idmap map;
    decision *oldest, *newest, *free;
};

/* ---- ids ---- */

sv_id decision_id_new(uint32_t instance)
{
    sv_id id = uuid_new();
    for (int i = 0; i < 4; i++)
        id.b[12 + i] = (uint8_t)(instance >> (24 - 8 * i));
    return id;
}

uint32_t decision_router(const sv_id *id)
{
    uint32_t n = 0;
    for (int i = 0; i < 4; i++)
        n = n << 8 | id->b[12 + i];
    return id->b[6] >> 4 == 7 && n <= UINT16_MAX ? n : 0;
}

/* ---- text ---- */

/* Cut at the end of a character. */
static uint32_t cut(sv_str s, uint32_t most)
{
    if (s.n <= most) return s.n;
    while (most > 0 && ((uint8_t)s.p[most] & 0xc0) == 0x80)
        most--;
    return most;
}

static text_at put(decision *d, sv_str s, uint32_t most)
{
    uint32_t n = cut(s, most);
    if (n == 0) return 0;
    for (uint32_t at = 1; at < d->text_n; at += (uint32_t)strlen(d->text + at) + 1)
        if (strncmp(d->text + at, s.p, n) == 0 && d->text[at + n] == 0) return (text_at)at;
    if (d->text_n + n + 1 > DECISION_TEXT) return 0;
    text_at at = (text_at)d->text_n;
    memcpy(d->text + at, s.p, n);
    d->text[at + n] = 0;
    d->text_n += n + 1;
    return at;
}

static text_at put_words(decision *d, const char *words, uint32_t most)
{
    return words ? put(d, sv_cstr(words), most) : 0;
}

static sv_str text_of(const char *text, text_at at)
{
    return at ? sv_cstr(text + at) : (sv_str){NULL, 0};
}

/* ---- life ---- */

decisions *decisions_new(uint32_t most, decision_keep keep, decision_sink *sink, void *arg)
{
    decisions *t = calloc(1, sizeof *t);
    if (t) *t = (decisions){.most = most, .keep = keep, .sink = sink, .arg = arg};
    return t;
}

static void free_list(decision *d)
{
    for (decision *next; d; d = next) {
        next = d->next;
        free(d->seen);
        free(d);
    }
}

void decisions_free(decisions *t)
{
    if (t == NULL) return;
    uint32_t at = 0;
    for (decision *d; (d = idmap_next(&t->map, &at));)
        if (!d->ended) free_list(d);
    free_list(t->oldest);
    free_list(t->free);
    idmap_free(&t->map);
    free(t);
}

static decision *record_new(decisions *t)
{
    decision *d = t->free;
    if (d)
        t->free = d->next;
    else
        d = malloc(sizeof *d);
    if (d == NULL) return NULL;
    /* attempts and text are looked at only as far as they are filled */
    memset(d, 0, offsetof(decision, attempts));
    d->text_n = 1;
    d->text[0] = 0;
    return d;
}

static void record_free(decisions *t, decision *d)
{
    free(d->seen);
    d->seen = NULL;
    d->next = t->free;
    t->free = d;
}

static void take_name(char to[DECISION_ID + 1], sv_str name)
{
    if (name.n) memcpy(to, name.p, name.n);
}

static void take_names(decision *d, const decision_start *s)
{
    if (s->org.n > DECISION_ID || s->user.n > DECISION_ID || s->key.n > DECISION_ID) return;
    take_name(d->org, s->org);
    take_name(d->user, s->user);
    take_name(d->key, s->key);
}

decision *decision_begin(decisions *t, uint32_t instance, const decision_start *s)
{
    decision *d = t->most ? record_new(t) : NULL;
    if (d == NULL) return NULL;
    d->id = decision_id_new(instance);
    d->began_us = s->now_us;
    d->unix_ms = s->unix_ms;
    take_names(d, s);
    d->stream = s->stream;
    d->keep = s->keep;
    d->endpoint = put(d, s->endpoint, 24);
    d->asked = put(d, s->asked, 128);
    if (idmap_put(&t->map, &d->id, d)) {
        record_free(t, d);
        return NULL;
    }
    return d;
}

void decision_id(const decision *d, char text[UUID_TEXT + 1])
{
    text[0] = 0;
    if (d) uuid_format(&d->id, text);
}

/* ---- what was looked at ---- */

enum { SEEN_PROVIDER = 64, SEEN_MODEL = 128, SEEN_FILTER = 96 };

static size_t bytes_of(const char *s, uint32_t most)
{
    return s ? cut(sv_cstr(s), most) + 1 : 0;
}

/* Pointers that repeat, as names of providers and reasons do, are copied once. */
static text_at put_seen(seen_block *b, size_t *at, const char *s, uint32_t most, const char *before,
                        text_at before_at)
{
    if (s == NULL) return 0;
    if (s == before) return before_at;
    text_at place = (text_at)*at;
    uint32_t n = cut(sv_cstr(s), most);
    memcpy(b->text + *at, s, n);
    b->text[*at + n] = 0;
    *at += n + 1;
    return place;
}

static seen_block *seen_new(const plan *p)
{
    size_t bytes = 1;
    for (uint32_t i = 0; i < p->n_seen; i++)
        bytes += bytes_of(p->seen[i].provider, SEEN_PROVIDER) +
                 bytes_of(p->seen[i].model, SEEN_MODEL) + bytes_of(p->seen[i].filter, SEEN_FILTER);
    seen_block *b = malloc(sizeof *b + p->n_seen * sizeof(seen) + bytes);
    if (b == NULL) return NULL;
    b->n = p->n_seen;
    b->text = (char *)&b->items[b->n];
    b->text[0] = 0;
    size_t at = 1;
    const plan_seen *before = NULL;
    for (uint32_t i = 0; i < b->n; before = &p->seen[i++]) {
        const plan_seen *s = &p->seen[i];
        const seen *last = i ? &b->items[i - 1] : NULL;
        b->items[i] = (seen){
            .provider = put_seen(b, &at, s->provider, SEEN_PROVIDER,
                                 before ? before->provider : NULL, last ? last->provider : 0),
            .model = put_seen(b, &at, s->model, SEEN_MODEL, NULL, 0),
            .filter = put_seen(b, &at, s->filter, SEEN_FILTER, before ? before->filter : NULL,
                               last ? last->filter : 0),
            .score = s->score,
            .quality = s->quality,
            .price = s->price,
            .speed = s->speed,
            .reliability = s->reliability,
            .learned = s->learned};
    }
    return b;
}

void decision_plan(decision *d, const plan *p)
{
    if (d == NULL) return;
    d->automatic = p->auto_chosen;
    d->explored = p->explored;
    d->task = p->task_known ? model_task_names[p->task] : NULL;
    d->complexity = p->complexity;
    d->rule = put_words(d, p->rule, 96);
    d->chosen_us = p->took_us;
    if (p->n_seen && d->seen == NULL) d->seen = seen_new(p);
}

/* ---- attempts and the end ---- */

void decision_attempt(decision *d, const decision_try *try)
{
    if (d == NULL) return;
    if (d->n_attempts == DECISION_TRIES) {
        d->more_attempts++;
        return;
    }
    d->attempts[d->n_attempts++] =
        (attempt){.provider = put_words(d, try->provider, SEEN_PROVIDER),
                  .model = put_words(d, try->model, SEEN_MODEL),
                  .status = (uint16_t)try->status,
                  .key = (uint8_t)try->key,
                  .hedge = try->hedge,
                  .priced = try->priced,
                  .outcome = try->outcome,
                  .began_us = try->began_us > d->began_us ? try->began_us - d->began_us : 0,
                  .first_us = try->first_us,
                  .total_us = try->total_us,
                  .prompt = try->tokens.prompt,
                  .completion = try->tokens.completion,
                  .price = try->price};
}

static bool worth_keeping(const decisions *t, const decision *d)
{
    if (t->sink == NULL || t->keep == DECISIONS_NONE) return false;
    return t->keep == DECISIONS_ALL || d->keep || d->automatic || d->fallback ||
           d->n_attempts > 1 || strcmp(d->outcome, "ok") != 0;
}

static void hand_to_sink(decisions *t, decision *d)
{
    arena a;
    router_decision_reply record;
    arena_init(&a, 64 << 10);
    d->kept = true;
    if (decision_message(d, &a, &record) == 0)
        t->sink(t->arg, &d->id, &record);
    else
        d->kept = false;
    arena_free(&a);
}

void decision_end(decisions *t, decision **at, const decision_result *r)
{
    decision *d = *at;
    *at = NULL;
    if (d == NULL) return;
    d->outcome = r->outcome;
    d->finish = r->finish;
    d->why = r->why;
    d->fallback = r->why && strcmp(r->why, "fallback") == 0;
    d->provider = put_words(d, r->provider, SEEN_PROVIDER);
    d->model = put_words(d, r->model, SEEN_MODEL);
    d->total_us = r->now_us > d->began_us ? r->now_us - d->began_us : 0;
    d->ended = true;
    d->next = NULL;
    *(t->newest ? &t->newest->next : &t->oldest) = d;
    t->newest = d;
    t->n++;
    if (worth_keeping(t, d)) hand_to_sink(t, d);
    while (t->n > t->most) {
        decision *old = t->oldest;
        t->oldest = old->next;
        if (t->oldest == NULL) t->newest = NULL;
        t->n--;
        idmap_del(&t->map, &old->id);
        record_free(t, old);
    }
}

/* ---- looking ---- */

const decision *decision_find(const decisions *t, const sv_id *id)
{
    return idmap_get(&t->map, id);
}

void decision_rated(decisions *t, const sv_id *id, int rating)
{
    decision *d = idmap_get(&t->map, id);
    if (d) d->rating = (int8_t)rating;
}

static sv_str words(const char *s)
{
    return s && s[0] ? sv_cstr(s) : (sv_str){NULL, 0};
}

static double unit(float x, double low)
{
    return isfinite(x) ? fmin(fmax((double)x, low), 1) : 0;
}

static int seen_message(const decision *d, arena *a, sv_list *ret)
{
    const seen_block *b = d->seen;
    if (b == NULL) return 0;
    router_decision_candidate *items = arena_alloc(a, b->n * sizeof *items);
    if (items == NULL) return SV_E_NO_MEMORY;
    for (uint32_t i = 0; i < b->n; i++) {
        const seen *s = &b->items[i];
        items[i] = (router_decision_candidate){.provider = text_of(b->text, s->provider),
                                               .model = text_of(b->text, s->model),
                                               .left_out = text_of(b->text, s->filter),
                                               .score = unit(s->score, 0),
                                               .quality = unit(s->quality, 0),
                                               .price = unit(s->price, 0),
                                               .speed = unit(s->speed, 0),
                                               .reliability = unit(s->reliability, 0),
                                               .learned = unit(s->learned, -1)};
    }
    *ret = (sv_list){items, b->n};
    return 0;
}

static int attempts_message(const decision *d, arena *a, sv_list *ret, int64_t *price, bool *priced)
{
    router_decision_attempt *items = arena_alloc(a, (d->n_attempts + 1) * sizeof *items);
    if (items == NULL) return SV_E_NO_MEMORY;
    for (uint32_t i = 0; i < d->n_attempts; i++) {
        const attempt *t = &d->attempts[i];
        items[i] = (router_decision_attempt){.provider = text_of(d->text, t->provider),
                                             .model = text_of(d->text, t->model),
                                             .key = t->key,
                                             .hedge = t->hedge,
                                             .outcome = words(t->outcome),
                                             .status = t->status,
                                             .began_us = (int64_t)t->began_us,
                                             .first_token_us = (int64_t)t->first_us,
                                             .total_us = (int64_t)t->total_us,
                                             .prompt_tokens = t->prompt,
                                             .completion_tokens = t->completion,
                                             .priced = t->priced,
                                             .price = t->price};
        *priced |= t->priced;
        *price += t->price;
    }
    *ret = (sv_list){items, d->n_attempts};
    return 0;
}

int decision_message(const decision *d, arena *a, router_decision_reply *ret)
{
    char *id = arena_alloc(a, UUID_TEXT + 1);
    if (id == NULL) return SV_E_NO_MEMORY;
    uuid_format(&d->id, id);
    *ret = (router_decision_reply){.id = sv_cstr(id),
                                   .at = (int64_t)d->unix_ms,
                                   .org = words(d->org),
                                   .user = words(d->user),
                                   .key = words(d->key),
                                   .endpoint = text_of(d->text, d->endpoint),
                                   .stream = d->stream,
                                   .asked = text_of(d->text, d->asked),
                                   .automatic = d->automatic,
                                   .explored = d->explored,
                                   .task = words(d->task),
                                   .complexity = unit(d->complexity, 0),
                                   .rule = text_of(d->text, d->rule),
                                   .why = words(d->why),
                                   .chosen_us = (int64_t)d->chosen_us,
                                   .more_attempts = d->more_attempts,
                                   .ended = d->ended,
                                   .outcome = words(d->outcome),
                                   .finish = words(d->finish),
                                   .provider = text_of(d->text, d->provider),
                                   .model = text_of(d->text, d->model),
                                   .total_us = (int64_t)d->total_us,
                                   .rating = d->rating,
                                   .kept = d->kept};
    int rc = seen_message(d, a, &ret->candidates);
    return rc ? rc : attempts_message(d, a, &ret->attempts, &ret->price, &ret->priced);
}
