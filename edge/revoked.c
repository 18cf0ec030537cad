/*  revoked.c - a hash table of subjects with chaining; entries go when no token can be that old. */
#include "revoked.h"

#include "error.h"
#include "log.h"
#include "uuid.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    BUCKETS = 4096,
    ARENA_BYTES = 1 << 20,
    ASK_MS = 2000,
    ASK_PAUSE_US = 100000,
    KEEP_MS = 20 * 60 * 1000, /* longer than any access token with every allowance */
    SWEEP_US = 60000000
};

typedef struct entry {
    struct entry *next;
    int64_t sequence, before_ms;
    bool stale;
    char subject[REVOKED_SUBJECT + 1];
} entry;

struct revoked {
    sv_process *p;
    void (*on_change)(void *arg);
    void *arg;
    entry *buckets[BUCKETS];
    uint32_t n;
    uint64_t seed;
    int64_t sequence;
    int64_t floor_ms, floor_sequence; /* nothing issued up to here holds; 0: no such thing */
    bool ready, has_admin, missing;
    sv_stream *asking;
    uint64_t asked_us, swept_us;
    jwt_ring ring;
    char issuer[256];
    buf jwks;
    arena arena;
};

/* FNV-1a over a random start: names come from our own services, and are spread all the same. */
static uint32_t bucket_of(const revoked *r, const char *subject)
{
    uint64_t h = r->seed ^ 14695981039346656037u;
    for (const char *p = subject; *p; p++)
        h = (h ^ (uint8_t)*p) * 1099511628211u;
    return (uint32_t)(h >> 32) % BUCKETS;
}

static entry *find(const revoked *r, const char *subject)
{
    entry *e = r->buckets[bucket_of(r, subject)];
    while (e && strcmp(e->subject, subject) != 0)
        e = e->next;
    return e;
}

static void empty(revoked *r)
{
    for (uint32_t i = 0; i < BUCKETS; i++) {
        while (r->buckets[i]) {
            entry *next = r->buckets[i]->next;
            free(r->buckets[i]);
            r->buckets[i] = next;
        }
    }
    r->n = 0;
}

/* Refuses everything up to now: when single subjects cannot be kept. */
static void raise_floor(revoked *r, int64_t before_ms, int64_t sequence)
{
    empty(r);
    if (before_ms > r->floor_ms) r->floor_ms = before_ms;
    r->floor_sequence = sequence;
    log_write(LOG_WARN, "too many revocations: all access tokens have to be refreshed");
}

static void keep(revoked *r, const auth_revocation *news)
{
    char subject[REVOKED_SUBJECT + 1];
    if (news->subject.n > REVOKED_SUBJECT) return;
    snprintf(subject, sizeof subject, "%.*s", SV_FMT(news->subject));
    entry *e = find(r, subject);
    if (e == NULL) {
        e = r->n < REVOKED_MOST ? calloc(1, sizeof *e) : NULL;
        if (e == NULL) {
            raise_floor(r, news->before, news->sequence);
            return;
        }
        uint32_t b = bucket_of(r, subject);
        memcpy(e->subject, subject, sizeof subject);
        e->stale = true;
        e->next = r->buckets[b];
        r->buckets[b] = e;
        r->n++;
    }
    e->sequence = news->sequence;
    if (news->before > e->before_ms) e->before_ms = news->before;
    e->stale = e->stale && news->stale; /* what has ended does not come back by a refresh */
}

static void sweep(revoked *r, int64_t now_ms)
{
    for (uint32_t i = 0; i < BUCKETS; i++) {
        for (entry **at = &r->buckets[i]; *at;) {
            entry *e = *at;
            if (now_ms - e->before_ms < KEEP_MS) {
                at = &e->next;
                continue;
            }
            *at = e->next;
            free(e);
            r->n--;
        }
    }
}

/* ---- what comes ---- */

static void take_keys(revoked *r, const auth_revocations *news)
{
    sv_error err = {.code = 0};
    if (news->issuer.n && news->issuer.n < sizeof r->issuer)
        snprintf(r->issuer, sizeof r->issuer, "%.*s", SV_FMT(news->issuer));
    if (news->jwks.n == 0 ||
        (r->jwks.n == news->jwks.n && memcmp(r->jwks.p, news->jwks.p, news->jwks.n) == 0))
        return;
    jwt_ring ring = {.n = 0};
    int rc = jwt_ring_read(&ring, news->jwks, &err);
    if (rc == 0 && ring.n == 0) rc = sv_fail(&err, SV_E_INVALID, "keys", "There is no key.");
    if (rc) {
        log_write(LOG_ERROR, "the keys of access tokens cannot be read", LOG_ERR(&err));
        return;
    }
    r->ring = ring;
    buf_reset(&r->jwks, r->jwks.cap);
    buf_put(&r->jwks, news->jwks.p, news->jwks.n);
}

bool revoked_take(revoked *r, const auth_revocations *news, bool snapshot)
{
    const auth_revocation *items = news->items.items;
    take_keys(r, news);
    if (news->has_admin) r->has_admin = true;
    if (news->sequence < r->sequence) { /* a restored list: from its start */
        r->sequence = 0;
        return false;
    }
    if (snapshot && news->items.n && items[0].sequence > r->sequence)
        r->sequence = items[0].sequence - 1; /* those between do not matter any more */
    for (uint32_t i = 0; i < news->items.n; i++) {
        if (items[i].sequence <= r->sequence) continue;
        if (items[i].sequence != r->sequence + 1) return false;
        keep(r, &items[i]);
        r->sequence = items[i].sequence;
    }
    if (snapshot && !news->more) {
        if (news->sequence > r->sequence) r->sequence = news->sequence;
        r->ready = r->ring.n > 0;
    }
    return r->ready && !news->more && news->sequence <= r->sequence;
}

static void took(revoked *r, const auth_revocations *news, bool snapshot)
{
    int64_t before = r->sequence;
    bool admin = r->has_admin, ready = r->ready;
    r->missing = !revoked_take(r, news, snapshot);
    if (before != r->sequence || admin != r->has_admin || ready != r->ready) r->on_change(r->arg);
}

static bool decode(revoked *r, sv_str body, auth_revocations *ret)
{
    sv_error err = {.code = 0};
    arena_reset(&r->arena);
    if (message_decode(&auth_revocations_msg, body, MESSAGE_LENIENT, &r->arena, ret, &err) == 0)
        return true;
    log_write(LOG_ERROR, "a list of revocations cannot be read", LOG_ERR(&err));
    return false;
}

static void on_event(void *arg, sv_str topic, const sv_item *event, uint64_t gap)
{
    revoked *r = arg;
    auth_revocations news;
    (void)topic;
    (void)gap; /* the numbers tell */
    if (!decode(r, event->body, &news)) return;
    if (r->ready)
        took(r, &news, false);
    else
        r->missing = true;
    revoked_tick(r);
}

/* ---- what is asked for ---- */

static void on_answer(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    revoked *r = arg;
    auth_revocations news;
    (void)s;
    (void)err;
    r->asking = NULL;
    if (code || !decode(r, item->body, &news)) return; /* the tick asks again */
    took(r, &news, true);
    if (r->missing) {
        r->asked_us = 0;
        revoked_tick(r);
    }
}

void revoked_tick(revoked *r)
{
    static const sv_events events = {.done = on_answer};
    uint64_t now_us = loop_now_us(sv_loop(r->p));
    sv_error err = {.code = 0};
    if (now_us - r->swept_us > SWEEP_US) {
        r->swept_us = now_us;
        sweep(r, (int64_t)(loop_unix_us(sv_loop(r->p)) / 1000));
    }
    if (!r->missing || r->asking || !sv_connected(r->p)) return;
    if (r->asked_us && now_us - r->asked_us < ASK_PAUSE_US) return;
    auth_revocations_req q = {.after = r->sequence};
    sv_request request = {.target = "auth.revocations",
                          .type = &auth_revocations_req_msg,
                          .body = &q,
                          .ttl_ms = ASK_MS,
                          .idempotent = true,
                          .max_reply = ARENA_BYTES};
    r->asked_us = now_us;
    r->asking = sv_open(r->p, &request, &events, r, &err);
}

/* ---- life ---- */

revoked *revoked_new(sv_process *p, void (*on_change)(void *arg), void *arg)
{
    revoked *r = calloc(1, sizeof *r);
    if (r == NULL) return NULL;
    r->p = p;
    r->on_change = on_change;
    r->arg = arg;
    r->missing = true;
    uuid_random((uint8_t *)&r->seed, sizeof r->seed);
    buf_init(&r->jwks, 8192);
    arena_init(&r->arena, ARENA_BYTES);
    if (p && sv_subscribe(p, "auth.revoked", on_event, r)) {
        revoked_free(r);
        return NULL;
    }
    return r;
}

void revoked_free(revoked *r)
{
    if (r == NULL) return;
    if (r->p) sv_unsubscribe(r->p, "auth.revoked", on_event, r);
    empty(r);
    buf_free(&r->jwks);
    arena_free(&r->arena);
    free(r);
}

bool revoked_ready(const revoked *r)
{
    return r->ready;
}

bool revoked_has_admin(const revoked *r)
{
    return r->has_admin;
}

int64_t revoked_sequence(const revoked *r)
{
    return r->sequence;
}

const jwt_ring *revoked_ring(const revoked *r)
{
    return &r->ring;
}

sv_str revoked_issuer(const revoked *r)
{
    return sv_cstr(r->issuer);
}

sv_str revoked_jwks(const revoked *r)
{
    return buf_str(&r->jwks);
}

/* ---- verdicts ---- */

revoked_verdict revoked_since(const revoked *r, const char *subject, int64_t issued_ms)
{
    if (issued_ms <= r->floor_ms) return REVOKED_STALE;
    const entry *e = find(r, subject);
    if (e == NULL || issued_ms > e->before_ms) return REVOKED_NOT;
    return e->stale ? REVOKED_STALE : REVOKED_ENDED;
}

bool revoked_ended(const revoked *r, const char *subject)
{
    const entry *e = find(r, subject);
    return e && !e->stale;
}

revoked_verdict revoked_after(const revoked *r, const char *subject, int64_t sequence)
{
    if (sequence < r->floor_sequence) return REVOKED_STALE;
    const entry *e = find(r, subject);
    if (e == NULL || e->sequence <= sequence) return REVOKED_NOT;
    return e->stale ? REVOKED_STALE : REVOKED_ENDED;
}
