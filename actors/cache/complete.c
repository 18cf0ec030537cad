/*  complete.c - cache.complete: an answer from the cache, from a flight (flights.h), or from the router.
 *
 *  The key is computed here, from the ticket that the broker has verified, whatever the partition key
 *  of the call was: nobody gets an answer of another organization by naming its key.
 *
 *  What a question means is seen to in complete_meaning.c. */
#include "complete.h"

#include "answer_log.h"
#include "error.h"
#include "name_table.h"
#include "sv_limits.h"
#include "ticket.h"

#include <stdio.h>
#include <stdlib.h>

answer_cache *complete_cache(const flight *f)
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

/* Who did not lead pays nothing, and no provider was asked for him. */
static bool is_free(const rider *r)
{
    return ((const seat *)r->data)->how || r->shared;
}

/* The head as it came becomes this rider's. */
static void say_how(const rider *r, router_complete_head *head)
{
    const seat *s = r->data;
    head->cache = sv_cstr(how_of(r));
    head->age_s = s->age_s;
    head->similarity = s->similarity;
    if (!is_free(r)) return;
    head->attempts = 0;
    head->price = 0;
    head->priced = true;
}

/* ---- what flights ask for ---- */

void seat_release(const seat *s)
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

static bool same_name(const flight *f, const rider *r)
{
    const trip *t = f->data;
    return sv_str_is(user_of(r->data), t->leader);
}

static void depart_again(rider *r, const char *key);

/* Others than the leader's user get nothing of it: the next of them leads a flight of theirs. False:
 * nobody is left, and the flight is gone. */
static bool part(flight *f)
{
    char key[CACHE_KEY + 1];
    rider_list others;
    rider *r;
    memcpy(key, f->key, sizeof key);
    bool left = flight_split(f, &others);
    while ((r = TAILQ_FIRST(&others))) {
        TAILQ_REMOVE(&others, r, link);
        depart_again(r, key);
    }
    return left;
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
    bool left = rc || !head.personal || part(f);
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

static int start(flight *f, rider *lead, sv_error *err)
{
    static const sv_events events = {on_item, on_done};
    const seat *s = lead->data;
    trip *t = f->data;
    answer_cache *c = s->cache;
    if (t->asking) return meaning_ask(f, s, err);
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
    int rc = read_head(r->flight, sv_call_arena(s->call), &head, sv_call_error(s->call));
    if (rc) return rc;
    say_how(r, &head);
    return sv_partial(s->call, &router_complete_head_msg, &head, bytes);
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

/* He has it. `head` is as it came, and what is in it and in `end` is of the model's answer. */
static void account(const rider *r, const router_complete_head *head,
                    const router_complete_end *end)
{
    const seat *s = r->data;
    const router_complete_req *q = s->request->request;
    tally_outcome o = s->how == NULL      ? r->shared ? TALLY_SHARED : TALLY_MISS
                      : s->similarity > 0 ? TALLY_MEANT
                                          : TALLY_HIT;
    if (head->http_status >= 300) return;
    answer_cache_count(s->cache, s->org, q->model, o,
                       tokens_of(end->prompt_tokens, end->completion_tokens), end->price);
    if (o == TALLY_MISS || !s->cache->log) return;
    answer_log(&(answer_given){.call = s->call,
                               .request = q,
                               .head = head,
                               .end = end,
                               .how = how_of(r),
                               .org = s->org,
                               .user = user_of(s),
                               .age_s = s->age_s,
                               .took_us = loop_now_us(s->cache->loop) - s->began_us});
}

static int reply_whole(rider *r, sv_str bytes)
{
    const seat *s = r->data;
    router_complete_head head;
    int rc = read_head(r->flight, sv_call_arena(s->call), &head, sv_call_error(s->call));
    if (rc) return rc;
    account(r, &head,
            &(router_complete_end){.prompt_tokens = head.prompt_tokens,
                                   .completion_tokens = head.completion_tokens,
                                   .price = head.price});
    say_how(r, &head);
    return sv_reply_with(s->call, &head, bytes);
}

static int reply_end(rider *r)
{
    const seat *s = r->data;
    arena *a = sv_call_arena(s->call);
    router_complete_head head;
    router_complete_end end;
    buf body;
    int rc = read_head(r->flight, a, &head, sv_call_error(s->call));
    if (rc == 0) rc = read_end(r->flight, a, &end, sv_call_error(s->call));
    if (rc) return rc;
    account(r, &head, &end);
    if (is_free(r)) {
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
    seat_release(s);
    int rc = r->flight->stream ? reply_end(r) : reply_whole(r, bytes);
    if (rc) sv_refuse(s->call, rc, sv_call_error(s->call));
}

static void refuse(rider *r, int code, const sv_error *err)
{
    const seat *s = r->data;
    seat_release(s);
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
                     : keep_seconds(&complete_cache(f)->keep, sv_cstr(t->endpoint), head.task);
}

static void landed(flight *f)
{
    answer_cache *c = complete_cache(f);
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
        if (known) i.meant = (int64_t)meant.bucket.n + meant.vector.n;
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
                                     .same_name = same_name,
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

trip *trip_new(const seat *s, const cache_scope *scope, bool by_vector)
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

rider *seat_rider(seat *s)
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
    rider *r = rc == 0 ? seat_rider(s) : NULL;
    if (r == NULL) {
        if (f) flight_drop(f);
        return SV_E_NO_MEMORY;
    }
    int64_t now = answer_cache_now(c);
    s->how = "hit";
    s->age_s = now > a->info.created ? (now - a->info.created) / 1000 : 0;
    answers_hit(&c->answers, a, now);
    flight_replay(f, r);
    return SV_PENDING;
}

/* With those who ask for the same, or as their leader. On failure r is freed. */
static int depart(seat *s, rider *r, const cache_scope *scope, const char *key)
{
    answer_cache *c = s->cache;
    const cache_complete_req *q = s->request;
    flight *f = q->anew ? NULL : flight_find(&c->flights, key);
    if (f) {
        flight_join(f, r);
        return 0;
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
    if (rc) seat_release(s);
    return rc;
}

static void depart_again(rider *r, const char *key)
{
    seat *s = r->data;
    sv_call *call = s->call;
    cache_scope scope;
    int rc = who(call, s->request->own, &scope);
    if (rc)
        free(r);
    else
        rc = depart(s, r, &scope, key);
    if (rc) {
        seat_release(s);
        sv_refuse(call, rc, sv_call_error(call));
    }
}

static int fly(seat *s, const cache_scope *scope, const char *key)
{
    rider *r = seat_rider(s);
    int rc = r ? depart(s, r, scope, key) : SV_E_NO_MEMORY;
    return rc ? rc : SV_PENDING;
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
    *s = (seat){
        .call = call, .request = q, .cache = c, .org = scope.org, .began_us = loop_now_us(c->loop)};
    answer *a = q->anew ? NULL : answers_find(&c->answers, key, answer_cache_now(c), q->age_s);
    answer_bytes *b = a ? answer_cache_bytes(c, a) : NULL;
    if (b == NULL && flight_find(&c->flights, key) == NULL && meaning_wanted(s, &scope) &&
        meaning_fly(s, &scope, key) == 0)
        return SV_PENDING;
    if (b == NULL) return fly(s, &scope, key);
    rc = give(s, a, b, key);
    answer_bytes_unref(b);
    return rc;
}
