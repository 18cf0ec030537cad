/*  complete_meaning.c - a request that takes answers to questions of the same meaning begins as a flight
 *  under a key of its own, in which a model for embeddings is asked what its question means, in the
 *  leader's name. Its riders are given what was found, or fly on under the request's own key. */
#include "complete.h"

#include "error.h"
#include "question.h"
#include "seal.h"
#include "sv_limits.h"

#include <stdio.h>
#include <stdlib.h>

enum { MEANING_MS = 2000, MEANING_REPLY = 256 << 10 };

/* What the router answered is a vector, and not of a provider of the leader's own: with one that he makes up
 * he would be given answers to questions that he cannot ask, and his would be given to others' questions. */
static bool understand(trip *t, const sv_item *item)
{
    arena a;
    router_complete_head head;
    arena_init(&a, REPLY_MORE);
    bool ok = message_decode(&router_complete_head_msg, item->body, MESSAGE_LENIENT, &a, &head,
                             NULL) == 0 &&
              head.http_status == 200 && !head.personal &&
              json_skim(item->attachment, LIMIT_JSON_DEPTH, NULL) == 0 &&
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
    answer_cache *c = complete_cache(f);
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
    }
    flight_fill(f, answer_head(b), answer_end(b), answer_body(b));
}

/* Whatever became of it, the request goes on. */
static void on_meant(void *arg, sv_stream *stream, int code, const sv_item *item,
                     const sv_error *err)
{
    flight *f = arg;
    trip *t = f->data;
    answer_cache *c = complete_cache(f);
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
    flight_restart(f);
}

int meaning_ask(flight *f, const seat *s, sv_error *err)
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

bool meaning_wanted(seat *s, const cache_scope *scope)
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

int meaning_fly(seat *s, const cache_scope *scope, const char *key)
{
    answer_cache *c = s->cache;
    char under[CACHE_KEY + 1];
    meaning_key(key, s->request->age_s, under);
    flight *f = flight_find(&c->flights, under);
    rider *r = seat_rider(s);
    if (r == NULL) return SV_E_NO_MEMORY;
    if (f) {
        flight_join(f, r);
        return 0;
    }
    f = flight_new(&c->flights, under, s->request->request->stream, true);
    trip *t = f ? trip_new(s, scope, true) : NULL;
    if (t == NULL) {
        if (f) flight_drop(f);
        seat_release(s);
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
    if (rc) seat_release(s);
    return rc;
}
