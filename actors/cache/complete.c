/*  complete.c - cache.complete: an answer from the cache, from a flight (flights.h), or from the router.
 *
 *  The key is computed here, from the ticket that the broker has verified, whatever the partition key
 *  of the call was: nobody gets an answer of another organization by naming its key.
 *
 *  A seat is what a call has in a flight. It lives in the call's arena, which lives until the call is
 *  answered; the rider in it is the flight's. What the flight needs beyond the leader's call (who, how
 *  long) is copied to its trip.
 *
 *  A request that takes answers to questions of the same meaning begins as a flight under a key of its
 *  own, in which a model for embeddings is asked what its question means, in the leader's name. Its
 *  riders are given what was found, or fly on under the request's own key. */
#include "answer_cache.h"

#include "error.h"
#include "json_scan.h"
#include "name_table.h"
#include "question.h"
#include "seal.h"
#include "sv_limits.h"
#include "ticket.h"

#include <stdio.h>
#include <stdlib.h>

enum { REPLY_MORE = 64 << 10, MEANING_MS = 2000, MEANING_REPLY = 256 << 10 };

typedef struct seat {
    sv_call *call;
    const cache_complete_req *request;
    answer_cache *cache;
    sv_str org;
    const char *how; /* head.cache; NULL: by what the rider is */
    int64_t age_s;
    double similarity;
    json_value question; /* what its meaning is asked of */
    char bucket[CACHE_KEY + 1];
} seat;

/* Freed with its flight. */
typedef struct trip {
    sv_stream *stream;
    answer_info info; /* what is known before the answer is */
    int64_t keep_s;
    char endpoint[25];
    char leader[37]; /* the user in whose name it was asked */
    /* of the same meaning */
    bool asking, understood;
    int64_t age_s;
    char key[CACHE_KEY + 1], bucket[CACHE_KEY + 1];
    meaning_vector *vector; /* NULL: by the words only; behind the text */
    char text[];
} trip;

static answer_cache *cache_of(const flight *f)
{
    return member_of(answer_cache, flights, f->in);
}

const answer_info *cache_flight_info(const flight *f)
{
    return f->data ? &((const trip *)f->data)->info : NULL;
}

/* ---- what the answer says of itself ---- */

static const char *how_of(const rider *r)
{
    const seat *s = r->data;
    return s->how ? s->how : r->shared ? "shared" : "miss";
}

static int read_head(const flight *f, arena *a, router_complete_head *ret, sv_error *err)
{
    return message_decode(&router_complete_head_msg, buf_str(&f->head), MESSAGE_LENIENT, a, ret,
                          err);
}

static int read_end(const flight *f, arena *a, router_complete_end *ret, sv_error *err)
{
    return message_decode(&router_complete_end_msg, buf_str(&f->end), MESSAGE_LENIENT, a, ret, err);
}

/* The head for this rider: who did not lead pays nothing, and no provider was asked for him. */
static int head_for(const rider *r, router_complete_head *ret)
{
    const seat *s = r->data;
    int rc = read_head(r->flight, sv_call_arena(s->call), ret, sv_call_error(s->call));
    if (rc) return rc;
    ret->cache = sv_cstr(how_of(r));
    ret->age_s = s->age_s;
    ret->similarity = s->similarity;
    if (s->how || r->shared) {
        ret->attempts = 0;
        ret->price = 0;
        ret->priced = true;
    }
    return 0;
}

/* ---- what flights ask for ---- */

static void release(const seat *s)
{
    sv_on_cancel(s->call, NULL);
    sv_on_drained(s->call, NULL);
}

/* In whose name the call is; "": the operator's. */
static sv_str user_of(const seat *s)
{
    ticket t;
    sv_str bytes = sv_call_ticket(s->call);
    return bytes.n && ticket_read(bytes, &t, NULL) == 0 ? t.user : sv_cstr("");
}

static bool is_leaders(const trip *t, const rider *r)
{
    return sv_str_is(user_of(r->data), t->leader);
}

/* Others than the leader's user get nothing of it: their callers ask the router themselves. False:
 * nobody is left, and the flight is gone. */
static bool send_others_away(flight *f)
{
    rider *r, *next;
    bool some = false;
    for (r = TAILQ_FIRST(&f->riders); r; r = next) {
        next = TAILQ_NEXT(r, link);
        if (r == f->lead || is_leaders(f->data, r)) {
            some = true;
            continue;
        }
        const seat *s = r->data;
        sv_call *call = s->call;
        release(s);
        flight_leave(r);
        sv_refuse(call, SV_E_UNAVAILABLE, NULL);
    }
    return some;
}

/* What a user's own provider says is not for the organization; an error is for those who wait, and for
 * nobody who comes later. False: the flight is gone. */
static bool look_at_head(flight *f, sv_str body)
{
    arena a;
    router_complete_head head;
    arena_init(&a, REPLY_MORE);
    int rc = message_decode(&router_complete_head_msg, body, MESSAGE_LENIENT, &a, &head, NULL);
    if (rc || head.http_status >= 300 || head.personal) flight_doom(f);
    bool left = rc || !head.personal || send_others_away(f);
    arena_free(&a);
    return left;
}

static void on_item(void *arg, sv_stream *s, const sv_item *item)
{
    flight *f = arg;
    (void)s;
    if (!f->begun && !look_at_head(f, item->body)) return;
    flight_item(f, item->body, item->attachment);
}

static void on_done(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    flight *f = arg;
    (void)s;
    ((trip *)f->data)->stream = NULL;
    if (code == 0 && item && !f->stream && !look_at_head(f, item->body)) return;
    flight_done(f, code, item ? item->body : (sv_str){NULL, 0},
                item ? item->attachment : (sv_str){NULL, 0}, err);
}

static int ask_meaning(flight *f, const seat *s, sv_error *err);
static void on_meant(void *arg, sv_stream *stream, int code, const sv_item *item,
                     const sv_error *err);

static int start(flight *f, rider *lead, sv_error *err)
{
    static const sv_events events = {on_item, on_done};
    const seat *s = lead->data;
    trip *t = f->data;
    answer_cache *c = s->cache;
    if (t->asking) return ask_meaning(f, s, err);
    sv_request r = {.target = "router.complete",
                    .type = &router_complete_req_msg,
                    .body = s->request->request,
                    .attachment = sv_call_attachment(s->call),
                    .ttl_ms = sv_call_ttl_ms(s->call),
                    .stream = f->stream,
                    .max_reply = c->answer_bytes + REPLY_MORE,
                    .trace = sv_call_trace(s->call),
                    .ticket = sv_call_ticket(s->call)};
    snprintf(t->leader, sizeof t->leader, "%.*s", SV_FMT(user_of(s)));
    if (r.ttl_ms == 0) return sv_fail(err, SV_E_DEADLINE, NULL, NULL);
    t->stream = sv_open(c->process, &r, &events, f, err);
    return t->stream ? 0 : err->code;
}

static void cancel(flight *f)
{
    trip *t = f->data;
    if (t->stream) sv_cancel(t->stream);
    t->stream = NULL;
}

static void consumed(flight *f, uint32_t items, size_t bytes)
{
    trip *t = f->data;
    if (t->stream) sv_consumed(t->stream, items, bytes);
}

static int send_head(rider *r, sv_str bytes)
{
    const seat *s = r->data;
    router_complete_head head;
    int rc = head_for(r, &head);
    return rc ? rc : sv_partial(s->call, &router_complete_head_msg, &head, bytes);
}

static bool ready(rider *r)
{
    return sv_write_pending(((const seat *)r->data)->call) == 0;
}

static int write_bytes(rider *r, sv_str bytes)
{
    return sv_write(((const seat *)r->data)->call, "text/event-stream", bytes);
}

static int64_t tokens_of(int64_t prompt, int64_t completion)
{
    return (prompt < 0 ? 0 : prompt) + (completion < 0 ? 0 : completion);
}

static int reply_whole(rider *r, sv_str bytes)
{
    const seat *s = r->data;
    router_complete_head head;
    int rc = head_for(r, &head);
    if (rc) return rc;
    int64_t price = head.price;
    if (r->shared) { /* what he did not have to pay */
        router_complete_head paid;
        if (read_head(r->flight, sv_call_arena(s->call), &paid, NULL) == 0) price = paid.price;
        answer_cache_count(s->cache, s->org, s->request->request->model, TALLY_SHARED,
                           tokens_of(head.prompt_tokens, head.completion_tokens), price);
    }
    return sv_reply_with(s->call, &head, bytes);
}

static int reply_end(rider *r)
{
    const seat *s = r->data;
    router_complete_end end;
    buf body;
    int rc = read_end(r->flight, sv_call_arena(s->call), &end, sv_call_error(s->call));
    if (rc) return rc;
    if (r->shared)
        answer_cache_count(s->cache, s->org, s->request->request->model, TALLY_SHARED,
                           tokens_of(end.prompt_tokens, end.completion_tokens), end.price);
    if (s->how || r->shared) {
        end.attempts = 0;
        end.price = 0;
        end.priced = true;
    }
    buf_init(&body, LIMIT_PART_BYTES);
    rc = message_encode(&router_complete_end_msg, &end, &body);
    if (rc == 0) rc = sv_reply_raw(s->call, NULL, buf_str(&body));
    buf_free(&body);
    return rc;
}

static void reply(rider *r, sv_str bytes)
{
    const seat *s = r->data;
    release(s);
    int rc = r->flight->stream ? reply_end(r) : reply_whole(r, bytes);
    if (rc) sv_refuse(s->call, rc, sv_call_error(s->call));
}

static void refuse(rider *r, int code, const sv_error *err)
{
    const seat *s = r->data;
    release(s);
    sv_refuse(s->call, code, err);
}

/* ---- keeping ---- */

/* What of it is kept, and for how long; 0: nothing. */
static int64_t worth(const flight *f, arena *a, answer_info *i)
{
    const trip *t = f->data;
    router_complete_head head;
    router_complete_end end = {.whole = false};
    if (f->copy.n == 0 || read_head(f, a, &head, NULL) || head.http_status != 200) return 0;
    if (f->stream) {
        if (read_end(f, a, &end, NULL) || end.error.n || !end.whole || end.tools) return 0;
        i->tokens = tokens_of(end.prompt_tokens, end.completion_tokens);
        i->price = end.price;
        i->model = end.model;
    } else {
        if (!head.whole || head.tools) return 0;
        i->tokens = tokens_of(head.prompt_tokens, head.completion_tokens);
        i->price = head.price;
    }
    if (i->model.n == 0) i->model = head.model;
    i->task = head.task;
    return t->keep_s ? t->keep_s
                     : keep_seconds(&cache_of(f)->keep, sv_cstr(t->endpoint), head.task);
}

static void landed(flight *f)
{
    answer_cache *c = cache_of(f);
    trip *t = f->data;
    answer_info i = t->info;
    arena a;
    arena_init(&a, REPLY_MORE);
    int64_t keep_s = worth(f, &a, &i), now = answer_cache_now(c);
    answer_bytes *b =
        keep_s ? answer_bytes_new(buf_str(&f->head), buf_str(&f->end), buf_str(&f->copy)) : NULL;
    if (b) {
        i.key = sv_cstr(f->key);
        i.stream = f->stream;
        i.size = (int64_t)(f->head.n + f->end.n + f->copy.n);
        i.created = now;
        i.expires = now + keep_s * 1000;
        answer_meant meant = {sv_cstr(t->bucket), (sv_str){NULL, 0}};
        bool known = t->understood && meaning_allowed(&c->meaning, i.task);
        if (known) meant.vector = meaning_bytes(t->vector);
        answer_cache_keep(c, &i, known ? &meant : NULL, b);
        answer_bytes_unref(b);
    }
    arena_free(&a);
}

const flight_ops cache_flight_ops = {.start = start,
                                     .cancel = cancel,
                                     .consumed = consumed,
                                     .head = send_head,
                                     .ready = ready,
                                     .write = write_bytes,
                                     .reply = reply,
                                     .refuse = refuse,
                                     .landed = landed};

/* ---- the call ---- */

static void on_cancel(sv_call *call)
{
    flight_leave(sv_call_data(call));
    sv_refuse(call, SV_E_CANCELLED, NULL);
}

static void on_drained(sv_call *call)
{
    flight_drained(sv_call_data(call));
}

static int who(sv_call *call, bool own, cache_scope *ret)
{
    ticket t;
    sv_str bytes = sv_call_ticket(call);
    *ret = (cache_scope){.own = own};
    if (bytes.n == 0) return 0; /* the operator */
    int rc = ticket_read(bytes, &t, sv_call_error(call));
    if (rc) return rc;
    ret->org = t.org;
    ret->user = t.user;
    return 0;
}

static int check(sv_call *call, const cache_complete_req *q)
{
    sv_error *err = sv_call_error(call);
    sv_str body = sv_call_attachment(call);
    if (body.p == NULL)
        return sv_fail(err, SV_E_INVALID, "attachment",
                       "The client's JSON body must be the attachment.");
    if (q->request->stream && !sv_call_streaming(call))
        return sv_fail(err, SV_E_INVALID, "request.stream",
                       "A stream needs a call that takes its parts.");
    if (body.n > CACHE_BODY_BYTES)
        return sv_fail(err, SV_E_TOO_LARGE, "attachment",
                       "Bodies of more than %d bytes have no place in the cache: call "
                       "router.complete.",
                       CACHE_BODY_BYTES);
    return json_skim(body, LIMIT_JSON_DEPTH, err);
}

static trip *trip_new(const seat *s, const cache_scope *scope, bool by_vector)
{
    bool alone = scope->own || scope->org.n == 0;
    const router_complete_req *q = s->request->request;
    answer_info i = {.org = scope->org, .asked = q->model};
    if (alone) i.user = scope->user;
    size_t texts = (answer_text_size(&i) + 7) / 8 * 8;
    trip *t = calloc(1, sizeof *t + texts + (by_vector ? 8 + sizeof *t->vector : 0));
    if (t == NULL) return NULL;
    if (by_vector) t->vector = (void *)(((uintptr_t)t->text + texts + 7) / 8 * 8);
    t->info = answer_info_copy(&i, t->text);
    t->keep_s = s->request->keep_s;
    memcpy(t->endpoint, q->endpoint.n ? q->endpoint.p : "",
           q->endpoint.n < sizeof t->endpoint ? q->endpoint.n : sizeof t->endpoint - 1);
    return t;
}

static rider *rider_new(seat *s)
{
    rider *r = calloc(1, sizeof *r);
    if (r == NULL) return NULL;
    r->data = s;
    sv_call_set_data(s->call, r);
    sv_on_cancel(s->call, on_cancel);
    sv_on_drained(s->call, on_drained);
    return r;
}

/* A flight that is over, for a kept answer: the same way out as every other. */
static int give(seat *s, answer *a, answer_bytes *b, const char *key)
{
    answer_cache *c = s->cache;
    flight *f = flight_new(&c->flights, key, a->info.stream, false);
    int rc = f ? 0 : SV_E_NO_MEMORY;
    if (rc == 0) rc = buf_put(&f->head, answer_head(b).p, answer_head(b).n);
    if (rc == 0) rc = buf_put(&f->end, answer_end(b).p, answer_end(b).n);
    if (rc == 0) rc = buf_put(&f->copy, answer_body(b).p, answer_body(b).n);
    rider *r = rc == 0 ? rider_new(s) : NULL;
    if (r == NULL) {
        if (f) flight_drop(f);
        return SV_E_NO_MEMORY;
    }
    int64_t now = answer_cache_now(c);
    s->how = "hit";
    s->age_s = now > a->info.created ? (now - a->info.created) / 1000 : 0;
    answers_hit(&c->answers, a, now);
    answer_cache_count(c, s->org, s->request->request->model, TALLY_HIT, a->info.tokens,
                       a->info.price);
    flight_replay(f, r);
    return SV_PENDING;
}

static int fly(seat *s, const cache_scope *scope, const char *key)
{
    answer_cache *c = s->cache;
    const cache_complete_req *q = s->request;
    flight *f = q->anew ? NULL : flight_find(&c->flights, key);
    rider *r = rider_new(s);
    if (r == NULL) return SV_E_NO_MEMORY;
    if (f) {
        flight_join(f, r);
        return SV_PENDING;
    }
    f = flight_new(&c->flights, key, q->request->stream, true);
    trip *t = f ? trip_new(s, scope, false) : NULL;
    int rc = t ? 0 : SV_E_NO_MEMORY;
    if (rc == 0) {
        f->data = t;
        rc = flight_start(f, r, sv_call_error(s->call)); /* frees both when it fails */
    } else {
        if (f) flight_drop(f);
        free(r);
    }
    if (rc) {
        release(s);
        return rc;
    }
    answer_cache_count(c, s->org, q->request->model, TALLY_MISS, 0, 0);
    return SV_PENDING;
}

/* ---- the same meaning ---- */

static int ask_meaning(flight *f, const seat *s, sv_error *err)
{
    static const sv_events events = {.done = on_meant};
    trip *t = f->data;
    answer_cache *c = s->cache;
    const router_complete_req *asked = s->request->request;
    router_complete_req q = {.model = sv_cstr(c->meaning.model),
                             .endpoint = sv_cstr("embeddings"),
                             .allowed = asked->allowed,
                             .via = asked->via};
    uint32_t left_ms = sv_call_ttl_ms(s->call);
    buf body;
    if (left_ms == 0) return sv_fail(err, SV_E_DEADLINE, NULL, NULL);
    buf_init(&body, QUESTION_BYTES + 4096);
    int rc = buf_puts(&body, "{\"model\":\"");
    if (rc == 0) rc = buf_json_escape(&body, q.model);
    if (rc == 0) rc = buf_puts(&body, "\",\"encoding_format\":\"float\",\"input\":");
    if (rc == 0) rc = buf_put(&body, s->question.raw.p, s->question.raw.n);
    if (rc == 0) rc = buf_putc(&body, '}');
    sv_request r = {.target = "router.complete",
                    .type = &router_complete_req_msg,
                    .body = &q,
                    .attachment = buf_str(&body),
                    .ttl_ms = left_ms < MEANING_MS ? left_ms : MEANING_MS,
                    .max_reply = MEANING_REPLY,
                    .trace = sv_call_trace(s->call),
                    .ticket = sv_call_ticket(s->call)};
    if (rc == 0) t->stream = sv_open(c->process, &r, &events, f, err);
    buf_free(&body);
    if (rc) return sv_fail(err, rc, NULL, NULL);
    return t->stream ? 0 : err->code;
}

/* What the router answered is a vector. */
static bool understand(trip *t, const sv_item *item)
{
    arena a;
    router_complete_head head;
    arena_init(&a, REPLY_MORE);
    bool ok = message_decode(&router_complete_head_msg, item->body, MESSAGE_LENIENT, &a, &head,
                             NULL) == 0 &&
              head.http_status == 200 && json_skim(item->attachment, LIMIT_JSON_DEPTH, NULL) == 0 &&
              meaning_read(item->attachment, t->vector) == 0;
    arena_free(&a);
    return ok;
}

typedef struct wanted {
    const answer_cache *cache;
    int64_t now, age_s;
} wanted;

static bool will_do(void *arg, const answer *a)
{
    const wanted *w = arg;
    bool young = w->age_s == 0 || w->now - a->info.created <= w->age_s * 1000;
    return young && a->info.expires > w->now && meaning_allowed(&w->cache->meaning, a->info.task);
}

/* An answer for those who wait: of the same words, if one came meanwhile, else of the same meaning. */
static answer *look_up(answer_cache *c, const trip *t, double *similarity)
{
    wanted w = {c, answer_cache_now(c), t->age_s};
    answer *a = answers_find(&c->answers, t->key, w.now, w.age_s);
    *similarity = 0;
    if (a || !t->understood) return a;
    a = meanings_nearest(&c->meanings, t->bucket, t->vector, will_do, &w, similarity);
    return a && *similarity >= c->meaning.threshold ? a : NULL;
}

static void give_all(flight *f, answer *a, answer_bytes *b, double similarity)
{
    answer_cache *c = cache_of(f);
    int64_t now = answer_cache_now(c);
    rider *r;
    TAILQ_FOREACH(r, &f->riders, link)
    {
        seat *s = r->data;
        r->shared = false;
        s->how = similarity > 0 ? "semantic" : "hit";
        s->similarity = similarity;
        s->age_s = now > a->info.created ? (now - a->info.created) / 1000 : 0;
        answers_hit(&c->answers, a, now);
        answer_cache_count(c, s->org, s->request->request->model,
                           similarity > 0 ? TALLY_MEANT : TALLY_HIT, a->info.tokens, a->info.price);
    }
    flight_fill(f, answer_head(b), answer_end(b), answer_body(b));
}

/* Whatever became of it, the request goes on. */
static void on_meant(void *arg, sv_stream *stream, int code, const sv_item *item,
                     const sv_error *err)
{
    flight *f = arg;
    trip *t = f->data;
    answer_cache *c = cache_of(f);
    double similarity;
    (void)stream;
    (void)err;
    t->stream = NULL;
    t->asking = false;
    t->understood = code == 0 && understand(t, item);
    answer *a = look_up(c, t, &similarity);
    answer_bytes *b = a ? answer_cache_bytes(c, a) : NULL;
    if (b) {
        give_all(f, a, b, similarity);
        answer_bytes_unref(b);
        return;
    }
    f = flight_rekey(f, t->key);
    if (f == NULL) return; /* all ride elsewhere */
    answer_cache_count(c, t->info.org, t->info.asked, TALLY_MISS, 0, 0);
    flight_restart(f);
}

/* Whoever wants no older answer than this shares the question with nobody who takes any. */
static void meaning_key(const char *key, int64_t age_s, char ret[CACHE_KEY + 1])
{
    static const char kind[] = "samovar-meaning-1";
    file_hash h;
    file_hash_start(&h);
    file_hash_add(&h, kind, sizeof kind);
    file_hash_add(&h, key, CACHE_KEY);
    file_hash_add(&h, &age_s, sizeof age_s);
    file_hash_end(&h, ret);
}

static bool by_meaning(seat *s, const cache_scope *scope)
{
    const cache_complete_req *q = s->request;
    const answer_cache *c = s->cache;
    const router_complete_req *r = q->request;
    sv_str body = sv_call_attachment(s->call);
    char generation[CACHE_KEY + sizeof c->meaning.model + 1];
    if (!q->semantic || !c->meaning.on || q->anew || r->mode.n || r->continued) return false;
    if (r->task.n && !meaning_allowed(&c->meaning, r->task)) return false;
    if (!question_find(r->endpoint, body, &s->question)) return false;
    snprintf(generation, sizeof generation, "%s %s", c->generation, c->meaning.model);
    return cache_bucket(scope, r, body, s->question, sv_cstr(generation), s->bucket) == 0;
}

/* Any code: it could not be begun, nothing is left of it. */
static int fly_by_meaning(seat *s, const cache_scope *scope, const char *key)
{
    answer_cache *c = s->cache;
    char under[CACHE_KEY + 1];
    meaning_key(key, s->request->age_s, under);
    flight *f = flight_find(&c->flights, under);
    rider *r = rider_new(s);
    if (r == NULL) return SV_E_NO_MEMORY;
    if (f) {
        flight_join(f, r);
        return 0;
    }
    f = flight_new(&c->flights, under, s->request->request->stream, true);
    trip *t = f ? trip_new(s, scope, true) : NULL;
    if (t == NULL) {
        if (f) flight_drop(f);
        release(s);
        free(r);
        return SV_E_NO_MEMORY;
    }
    f->data = t;
    t->asking = true;
    t->age_s = s->request->age_s;
    memcpy(t->key, key, sizeof t->key);
    memcpy(t->bucket, s->bucket, sizeof t->bucket);
    sv_error err = {0};
    int rc = flight_start(f, r, &err);
    if (rc) release(s);
    return rc;
}

int cache_complete(sv_call *call, const void *request)
{
    const cache_complete_req *q = request;
    answer_cache *c = answer_cache_of(call);
    cache_scope scope;
    char key[CACHE_KEY + 1];
    seat *s = arena_alloc(sv_call_arena(call), sizeof *s);
    int rc = s ? check(call, q) : SV_E_NO_MEMORY;
    if (rc == 0) rc = who(call, q->own, &scope);
    if (rc == 0) {
        rc = cache_key(&scope, q->request, sv_call_attachment(call), sv_cstr(c->generation), key);
        if (rc == SV_E_INVALID)
            sv_fail(sv_call_error(call), rc, "attachment",
                    "The body must be a JSON object; other requests are router.complete's.");
    }
    if (rc) return rc;
    if (strcmp(sv_call_caller(call), "edge") != 0)
        q->request->model_at = q->request->model_n = 0; /* the router takes it as seen to */
    *s = (seat){.call = call, .request = q, .cache = c, .org = scope.org};
    answer *a = q->anew ? NULL : answers_find(&c->answers, key, answer_cache_now(c), q->age_s);
    answer_bytes *b = a ? answer_cache_bytes(c, a) : NULL;
    if (b == NULL && flight_find(&c->flights, key) == NULL && by_meaning(s, &scope) &&
        fly_by_meaning(s, &scope, key) == 0)
        return SV_PENDING;
    if (b == NULL) return fly(s, &scope, key);
    rc = give(s, a, b, key);
    answer_bytes_unref(b);
    return rc;
}
