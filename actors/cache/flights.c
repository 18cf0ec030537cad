/*  flights.c - the table and what becomes of a flight. Riders are freed in one place, let_go(), flights
 *  in another, settle(); every way in from outside ends there. */
#include "flights.h"

#include "error.h"

#include <stdlib.h>

enum { PACE = 64 << 10, TRIM = 256 << 10, HEAD_BYTES = 64 << 10 };

void flights_init(flights *all, const flight_ops *ops, size_t most)
{
    *all = (flights){.ops = ops, .most = most};
    TAILQ_INIT(&all->all);
}

static void unlist(flight *f)
{
    if (f->listed) idmap_del(&f->in->map, &f->id);
    f->listed = false;
}

static void flight_free(flight *f)
{
    unlist(f);
    TAILQ_REMOVE(&f->in->all, f, link);
    buf_free(&f->head);
    buf_free(&f->copy);
    buf_free(&f->end);
    free(f->data);
    free(f);
}

void flight_drop(flight *f)
{
    flight_free(f);
}

/* Nobody waits for it any more: the call is cancelled. */
static void settle(flight *f)
{
    if (!TAILQ_EMPTY(&f->riders)) return;
    if (f->running) f->in->ops->cancel(f);
    flight_free(f);
}

static void let_go(rider *r)
{
    flight *f = r->flight;
    TAILQ_REMOVE(&f->riders, r, link);
    if (f->lead == r) f->lead = NULL;
    free(r);
}

static void refuse(rider *r, int code, const sv_error *err)
{
    r->flight->in->ops->refuse(r, code, err);
    let_go(r);
}

flight *flight_find(flights *all, const char *key)
{
    sv_id id = cache_key_id(key);
    flight *f = idmap_get(&all->map, &id);
    return f && strcmp(f->key, key) == 0 ? f : NULL;
}

flight *flight_new(flights *all, const char *key, bool stream, bool listed)
{
    flight *f = calloc(1, sizeof *f);
    if (f == NULL) return NULL;
    f->in = all;
    memcpy(f->key, key, CACHE_KEY);
    f->id = cache_key_id(key);
    f->stream = stream;
    f->keep = true;
    TAILQ_INIT(&f->riders);
    buf_init(&f->head, HEAD_BYTES);
    buf_init(&f->end, HEAD_BYTES);
    buf_init(&f->copy, SIZE_MAX);
    TAILQ_INSERT_TAIL(&all->all, f, link);
    if (listed && idmap_get(&all->map, &f->id) == NULL)
        f->listed = idmap_put(&all->map, &f->id, f) == 0; /* without memory nobody joins */
    return f;
}

/* ---- to the riders ---- */

static size_t end_of(const flight *f)
{
    return f->base + f->copy.n;
}

static sv_str piece(const flight *f, size_t at, size_t most)
{
    size_t n = end_of(f) - at;
    return (sv_str){n ? f->copy.p + (at - f->base) : "", (uint32_t)(n < most ? n : most)};
}

static int send_head(flight *f, rider *r)
{
    sv_str bytes = piece(f, r->at, FLIGHT_FIRST);
    int rc = f->in->ops->head(r, bytes);
    if (rc == SV_E_QUEUE_FULL && bytes.n) {
        bytes.n = 0;
        rc = f->in->ops->head(r, bytes);
    }
    if (rc) return rc;
    r->head_sent = true;
    r->at += bytes.n;
    return 0;
}

/* As much as he takes. */
static int feed(flight *f, rider *r)
{
    int rc = r->head_sent ? 0 : send_head(f, r);
    while (rc == 0 && r->at < end_of(f) && f->in->ops->ready(r)) {
        sv_str bytes = piece(f, r->at, FLIGHT_PIECE);
        rc = f->in->ops->write(r, bytes);
        r->at += bytes.n;
    }
    return rc;
}

/* All that he can have now; false: he is gone. */
static bool pump(flight *f, rider *r)
{
    int rc = f->stream && f->begun ? feed(f, r) : 0;
    if (rc) {
        refuse(r, rc, NULL);
        return false;
    }
    if (!f->ended || (f->stream && f->begun && r->at < end_of(f))) return true;
    if (f->code) {
        refuse(r, f->code, &f->error);
    } else {
        f->in->ops->reply(r, f->stream ? (sv_str){NULL, 0} : buf_str(&f->copy));
        let_go(r);
    }
    return false;
}

/* Bytes of a copy that will not be kept, which every rider has got. */
static void trim(flight *f)
{
    rider *r;
    size_t least = end_of(f);
    if (end_of(f) <= f->in->most) return;
    TAILQ_FOREACH(r, &f->riders, link)
    if (r->at < least) least = r->at;
    if (least - f->base < TRIM) return;
    buf_consume(&f->copy, least - f->base);
    f->base = least;
}

static void cut_off_slow(flight *f)
{
    size_t lag = f->in->most > FLIGHT_LAG ? f->in->most : FLIGHT_LAG;
    rider *r, *next;
    if (end_of(f) <= f->in->most) return;
    for (r = TAILQ_FIRST(&f->riders); r; r = next) {
        sv_error err = {0};
        next = TAILQ_NEXT(r, link);
        if (end_of(f) - r->at <= lag) continue;
        sv_fail(&err, SV_E_OVERLOADED, NULL,
                "This stream was read so much slower than others of the same answer that it could "
                "not be held any longer.");
        refuse(r, SV_E_OVERLOADED, &err);
    }
}

/* The provider may go on when the fastest rider has nearly all that there is. */
static void grant(flight *f)
{
    size_t furthest = f->base;
    rider *r;
    TAILQ_FOREACH(r, &f->riders, link)
    if (r->at > furthest) furthest = r->at;
    if (!f->running || f->owed_items == 0 || end_of(f) - furthest > PACE) return;
    uint32_t items = f->owed_items;
    size_t bytes = f->owed_bytes;
    f->owed_items = 0;
    f->owed_bytes = 0;
    f->in->ops->consumed(f, items, bytes);
}

static void pump_all(flight *f)
{
    rider *r, *next;
    for (r = TAILQ_FIRST(&f->riders); r; r = next) {
        next = TAILQ_NEXT(r, link);
        pump(f, r);
    }
    if (f->stream) {
        cut_off_slow(f);
        trim(f);
        if (end_of(f) > f->in->most) unlist(f);
        grant(f);
    }
    settle(f);
}

/* ---- beginning ---- */

static void board(flight *f, rider *r)
{
    r->flight = f;
    TAILQ_INSERT_TAIL(&f->riders, r, link);
}

static int lead(flight *f, rider *r, sv_error *err)
{
    int rc = f->in->ops->start(f, r, err);
    if (rc) return rc;
    f->lead = r;
    f->running = true;
    r->shared = false;
    return 0;
}

int flight_start(flight *f, rider *r, sv_error *err)
{
    int rc = lead(f, r, err);
    if (rc == 0) {
        board(f, r);
        return 0;
    }
    flight_free(f);
    free(r);
    return rc;
}

void flight_replay(flight *f, rider *r)
{
    f->begun = f->ended = true;
    board(f, r);
    pump_all(f);
}

void flight_join(flight *f, rider *r)
{
    r->shared = true;
    board(f, r);
    if (pump(f, r)) grant(f);
    settle(f);
}

void flight_leave(rider *r)
{
    flight *f = r->flight;
    let_go(r);
    if (!TAILQ_EMPTY(&f->riders))
        grant(f); /* he may have been the fastest, with all he took owed */
    settle(f);
}

void flight_drained(rider *r)
{
    flight *f = r->flight;
    if (pump(f, r)) {
        trim(f);
        grant(f);
    }
    settle(f);
}

/* ---- from the call ---- */

/* The call goes on for nothing: whatever is there is an error for all. */
static void fail_all(flight *f, int code, const sv_error *err)
{
    f->ended = true;
    f->code = code;
    f->error = err ? *err : (sv_error){0};
    unlist(f);
    pump_all(f);
}

void flight_item(flight *f, sv_str body, sv_str attachment)
{
    bool first = !f->begun;
    sv_str bytes = first || attachment.n ? attachment : body;
    if (f->ended) return;
    int rc = first ? buf_put(&f->head, body.p ? body.p : "", body.n) : 0;
    if (rc == 0 && bytes.n) rc = buf_put(&f->copy, bytes.p, bytes.n);
    if (rc) {
        f->in->ops->cancel(f);
        f->running = false;
        fail_all(f, rc, NULL);
        return;
    }
    f->begun = true;
    f->owed_items++;
    f->owed_bytes += body.n + attachment.n;
    pump_all(f);
}

static bool begins(const char *name, const char *with)
{
    return strncmp(name, with, strlen(with)) == 0;
}

/* What is said of him who asked, and not of what he asked for. */
static bool is_leaders(int code)
{
    const sv_error_info *e = sv_error_lookup(code);
    if (begins(e->name, "provider.") || begins(e->name, "server.") || begins(e->name, "service.") ||
        begins(e->name, "policy."))
        return false;
    return e->status == SV_STATUS_UNAUTHENTICATED || e->status == SV_STATUS_PERMISSION_DENIED ||
           e->status == SV_STATUS_RESOURCE_EXHAUSTED || e->status == SV_STATUS_DEADLINE_EXCEEDED ||
           e->status == SV_STATUS_CANCELLED;
}

static bool is_lost(int code)
{
    return code == SV_E_PEER_LOST || code == SV_E_BROKER_RESTARTED || code == SV_E_DRAINING;
}

/* Somebody else leads, until a call has begun or nobody is left. */
static void next_leader(flight *f, rider *r)
{
    while (r) {
        sv_error err = {0};
        int rc = lead(f, r, &err);
        if (rc == 0) return;
        refuse(r, rc, &err);
        r = TAILQ_FIRST(&f->riders);
    }
    settle(f);
}

void flight_fill(flight *f, sv_str head, sv_str end, sv_str copy)
{
    f->running = false;
    f->keep = false;
    int rc = buf_put(&f->head, head.p, head.n);
    if (rc == 0) rc = buf_put(&f->end, end.p, end.n);
    if (rc == 0) rc = buf_put(&f->copy, copy.p, copy.n);
    if (rc) {
        fail_all(f, rc, NULL);
        return;
    }
    f->begun = f->ended = true;
    unlist(f);
    pump_all(f);
}

flight *flight_rekey(flight *f, const char *key)
{
    rider *r;
    flight *other;
    f->running = false;
    unlist(f);
    while ((r = TAILQ_FIRST(&f->riders)) && (other = flight_find(f->in, key))) {
        TAILQ_REMOVE(&f->riders, r, link);
        flight_join(other, r);
    }
    if (r == NULL) {
        flight_free(f);
        return NULL;
    }
    memcpy(f->key, key, CACHE_KEY);
    f->id = cache_key_id(key);
    if (f->keep && idmap_get(&f->in->map, &f->id) == NULL)
        f->listed = idmap_put(&f->in->map, &f->id, f) == 0;
    return f;
}

void flight_restart(flight *f)
{
    f->running = false;
    next_leader(f, f->lead ? f->lead : TAILQ_FIRST(&f->riders));
}

static rider *other_than(flight *f, const rider *not_him)
{
    rider *r = TAILQ_FIRST(&f->riders);
    return r && r == not_him ? TAILQ_NEXT(r, link) : r;
}

/* True: others than those of the leader's name ask again. */
static bool others_ask(flight *f, int code, const sv_error *err)
{
    const flight_ops *ops = f->in->ops;
    rider *r, *next;
    bool others = false;
    TAILQ_FOREACH(r, &f->riders, link)
    others = others || !ops->same_name(f, r);
    if (!others) return false;
    f->restarted = true;
    for (r = TAILQ_FIRST(&f->riders); r; r = next) {
        next = TAILQ_NEXT(r, link);
        if (ops->same_name(f, r)) refuse(r, code, err);
    }
    next_leader(f, TAILQ_FIRST(&f->riders));
    return true;
}

/* Nothing has come. True: that is seen to. */
static bool replaced(flight *f, int code, const sv_error *err)
{
    rider *former = f->lead;
    if (is_leaders(code)) {
        if (former) refuse(former, code, err);
        next_leader(f, TAILQ_FIRST(&f->riders));
        return true;
    }
    if (f->restarted) return false;
    if (!is_lost(code)) return others_ask(f, code, err);
    rider *r = other_than(f, former);
    if (r == NULL) return false;
    f->restarted = true;
    if (former) former->shared = true;
    f->lead = NULL;
    next_leader(f, r);
    return true;
}

void flight_done(flight *f, int code, sv_str body, sv_str attachment, const sv_error *err)
{
    f->running = false;
    if (code && !f->begun && replaced(f, code, err)) return;
    if (code == 0 && f->stream) code = buf_put(&f->end, body.p ? body.p : "", body.n);
    if (code == 0 && !f->stream) {
        f->begun = true;
        code = buf_put(&f->head, body.p ? body.p : "", body.n);
        if (code == 0 && attachment.n) code = buf_put(&f->copy, attachment.p, attachment.n);
    }
    if (code == 0 && f->stream && !f->begun)
        code = SV_E_PROVIDER_GARBAGE; /* an end without a head */
    if (code) {
        fail_all(f, code, err);
        return;
    }
    f->ended = true;
    unlist(f);
    if (f->keep && f->base == 0 && f->copy.n <= f->in->most) f->in->ops->landed(f);
    pump_all(f);
}

bool flight_split(flight *f, rider_list *others)
{
    rider *r, *next;
    TAILQ_INIT(others);
    for (r = TAILQ_FIRST(&f->riders); r; r = next) {
        next = TAILQ_NEXT(r, link);
        if (r == f->lead || f->in->ops->same_name(f, r)) continue;
        TAILQ_REMOVE(&f->riders, r, link);
        TAILQ_INSERT_TAIL(others, r, link);
    }
    bool some = !TAILQ_EMPTY(&f->riders);
    settle(f);
    return some;
}

void flight_doom(flight *f)
{
    f->keep = false;
    unlist(f);
}

void flights_free(flights *all)
{
    flight *f;
    while ((f = TAILQ_FIRST(&all->all))) {
        rider *r;
        while ((r = TAILQ_FIRST(&f->riders)))
            refuse(r, SV_E_DRAINING, NULL);
        settle(f);
    }
    idmap_free(&all->map);
}
