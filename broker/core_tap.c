/*  core_tap.c - hop records: a fixed ring of the last ones, and taps that watch them go by.
 *
 *  A record holds headers only. A tap is an OWN request whose PARTIALs are records, one each,
 *  within the window its reader granted; what does not fit is counted and told with the next record.
 *  A tap never shows the messages of its own request, so watching does not feed itself. */
#include "core_state.h"

#include "uuid.h"

#include <stdio.h>
#include <strings.h>

/* ---- records ---- */

static void name_of(char name[LIMIT_NAME_BYTES + 1], uint32_t *instance, const peer *p)
{
    memcpy(name, p ? p->service->name : "bus", p ? LIMIT_NAME_BYTES + 1 : 4);
    *instance = p ? p->instance : 0;
}

hop core_hop(const core *c, const envelope *e, const method *m, const peer *from, const peer *to,
             uint32_t bytes)
{
    hop h;
    memset(&h, 0, offsetof(hop, method));
    h.ts_us = core_unix_us(c);
    h.id = e->id;
    memcpy(h.trace_id, e->trace.trace_id, sizeof h.trace_id);
    h.kind = e->kind;
    h.bytes = bytes;
    h.has_status = e->kind == SV_REPLY;
    h.status = h.has_status ? e->code : 0;
    name_of(h.from, &h.from_instance, from);
    if (e->kind != SV_EVENT) name_of(h.to, &h.to_instance, to);
    sv_str target = m ? (sv_str){m->target, m->target_n} : e->target;
    uint32_t n = target.n <= LIMIT_TARGET_BYTES ? target.n : LIMIT_TARGET_BYTES;
    if (n) memcpy(h.method, target.p, n);
    h.method[n] = 0;
    return h;
}

static sv_str place(char text[64], const char *name, uint32_t instance)
{
    if (name[0] == 0) return (sv_str){NULL, 0};
    if (instance == 0)
        snprintf(text, 64, "%s", name);
    else
        snprintf(text, 64, "%s/%u", name, instance);
    return sv_cstr(text);
}

static bool all_zero(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i]) return false;
    return true;
}

/* service.method as it was asked for: with the number of the one instance, if it named one. */
static sv_str method_shown(char text[LIMIT_TARGET_BYTES + 12], const hop *h)
{
    const char *dot = strchr(h->method, '.');
    if (h->only == 0 || dot == NULL) return sv_cstr(h->method);
    snprintf(text, LIMIT_TARGET_BYTES + 12, "%.*s/%u%s", (int)(dot - h->method), h->method, h->only,
             dot);
    return sv_cstr(text);
}

void core_hop_record(const hop *h, bus_record *rec, hop_texts *texts)
{
    *rec = (bus_record){.ts = (int64_t)h->ts_us,
                        .from = place(texts->from, h->from, h->from_instance),
                        .to = place(texts->to, h->to, h->to_instance),
                        .kind = sv_cstr(envelope_kind_name(h->kind)),
                        .bytes = h->bytes,
                        .queue_us = (int64_t)h->queue_us,
                        .service_us = (int64_t)h->service_us,
                        .attempt = h->attempt};
    if (h->method[0]) rec->method = method_shown(texts->method, h);
    if (!sv_id_is_zero(&h->id)) rec->id = (sv_str){(const char *)h->id.b, 16};
    if (!all_zero(h->trace_id, 16)) rec->trace_id = (sv_str){(const char *)h->trace_id, 16};
    if (h->has_status) rec->status = sv_cstr(sv_status_name(h->status));
}

/* ---- the filter ---- */

static bool place_is(const char *want, const char *name, uint32_t instance)
{
    size_t n = strlen(name);
    if (n == 0 || strncmp(want, name, n) != 0) return false;
    if (want[n] == 0) return true;
    char number[16];
    snprintf(number, sizeof number, "/%u", instance);
    return strcmp(want + n, number) == 0;
}

static bool shown_is(const char *want, const hop *h)
{
    char text[LIMIT_TARGET_BYTES + 12];
    return h->only && sv_str_is(method_shown(text, h), want);
}

/* A service, a method without its service, or how service.method begins. */
static bool word_matches(const char *word, const hop *h)
{
    const char *dot = strchr(h->method, '.');
    return strncmp(h->method, word, strlen(word)) == 0 || (dot && strcmp(dot + 1, word) == 0) ||
           shown_is(word, h) || place_is(word, h->from, h->from_instance) ||
           place_is(word, h->to, h->to_instance);
}

static bool term_matches(const tap_term *t, const hop *h)
{
    switch (t->what) {
    case TERM_METHOD: return word_matches(t->text, h);
    case TERM_METHOD_IS:
        return policy_match(sv_cstr(t->text), sv_cstr(h->method)) || shown_is(t->text, h);
    case TERM_KIND: return h->kind == t->number;
    case TERM_STATUS: return h->has_status && h->status == t->number;
    case TERM_TRACE: return memcmp(h->trace_id, t->bytes, 16) == 0;
    case TERM_ID: return memcmp(h->id.b, t->bytes, 16) == 0;
    case TERM_FROM: return place_is(t->text, h->from, h->from_instance);
    case TERM_TO: return place_is(t->text, h->to, h->to_instance);
    case TERM_ERR: return h->has_status && h->status != SV_STATUS_OK;
    }
    return false;
}

static int parse_kind(tap *t, tap_term *x, const char *value, sv_error *err)
{
    for (uint32_t k = SV_HELLO; k <= SV_GOODBYE; k++) {
        if (strcasecmp(value, envelope_kind_name((uint8_t)k)) == 0) {
            x->number = k;
            t->wants_control |= k == SV_PING || k == SV_PONG || k == SV_CREDIT;
            return 0;
        }
    }
    return sv_fail(
        err, SV_E_INVALID, "filter",
        "kind=%s is not a message kind; kinds are REQUEST, REPLY, PARTIAL, EVENT and so on.",
        value);
}

static int parse_status(tap_term *x, const char *value, sv_error *err)
{
    for (uint32_t s = SV_STATUS_OK; s <= SV_STATUS_UNAUTHENTICATED; s++) {
        if (strcasecmp(value, sv_status_name(s)) == 0) {
            x->number = s;
            return 0;
        }
    }
    return sv_fail(err, SV_E_INVALID, "filter",
                   "status=%s is not a status; use a name such as UNAVAILABLE.", value);
}

static int parse_term(tap *t, tap_term *x, char *word, sv_error *err)
{
    static const struct {
        const char *name;
        term_kind what;
    } keys[] = {{"method", TERM_METHOD_IS},
                {"kind", TERM_KIND},
                {"status", TERM_STATUS},
                {"trace", TERM_TRACE},
                {"id", TERM_ID},
                {"from", TERM_FROM},
                {"to", TERM_TO}};
    char *value = strchr(word, '=');
    if (value == NULL) {
        x->what = strcmp(word, "err") == 0 ? TERM_ERR : TERM_METHOD;
        snprintf(x->text, sizeof x->text, "%s", word);
        return 0;
    }
    *value++ = 0;
    size_t k = 0;
    while (k < sizeof keys / sizeof *keys && strcmp(keys[k].name, word) != 0)
        k++;
    if (k == sizeof keys / sizeof *keys)
        return sv_fail(
            err, SV_E_INVALID, "filter",
            "%.40s= is not known; use method=, kind=, status=, trace=, id=, from=, to=, err or "
            "a bare service or method.",
            word);
    x->what = keys[k].what;
    snprintf(x->text, sizeof x->text, "%s", value);
    switch (x->what) {
    case TERM_KIND: return parse_kind(t, x, value, err);
    case TERM_STATUS: return parse_status(x, value, err);
    case TERM_TRACE:
        if (strlen(value) == 32 && hex_parse(sv_cstr(value), x->bytes, 16) == 0) return 0;
        return sv_fail(err, SV_E_INVALID, "filter", "trace= needs 32 hex digits.");
    case TERM_ID: {
        sv_id id;
        if (uuid_parse(sv_cstr(value), &id))
            return sv_fail(err, SV_E_INVALID, "filter", "id= needs a UUID.");
        memcpy(x->bytes, id.b, 16);
        return 0;
    }
    case TERM_METHOD:
    case TERM_METHOD_IS:
    case TERM_FROM:
    case TERM_TO:
    case TERM_ERR: return 0;
    }
    return 0;
}

static int parse_filter(tap *t, sv_str filter, sv_error *err)
{
    char words[257], *save = NULL;
    snprintf(words, sizeof words, "%.*s", SV_FMT(filter));
    for (char *w = strtok_r(words, " \t\r\n", &save); w; w = strtok_r(NULL, " \t\r\n", &save)) {
        if (t->n_terms == TAP_WORDS)
            return sv_fail(err, SV_E_TOO_LARGE, "filter", "A filter has at most %d words.",
                           TAP_WORDS);
        if (strlen(w) > LIMIT_TARGET_BYTES)
            return sv_fail(err, SV_E_TOO_LARGE, "filter", "A word of the filter is over %d bytes.",
                           LIMIT_TARGET_BYTES);
        int rc = parse_term(t, &t->terms[t->n_terms], w, err);
        if (rc) return rc;
        t->n_terms++;
    }
    return 0;
}

/* ---- the tap ---- */

int core_tap_open(core *c, request *r, const bus_tap_req *req, sv_error *err)
{
    if (!r->streaming)
        return sv_fail(err, SV_E_INVALID, NULL, "bus.tap is a stream; call it as one.");
    if (c->n_taps >= TAPS_MAX)
        return sv_fail(err, SV_E_OVERLOADED, NULL, "%d taps are open already.", TAPS_MAX);
    tap *t = core_alloc(c, sizeof *t);
    if (t == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    int rc = parse_filter(t, req->filter, err);
    if (rc) {
        core_dealloc(c, t, sizeof *t);
        return rc;
    }
    t->endless = req->count == 0;
    t->left = (uint64_t)req->count;
    t->rate = t->allowance = (double)req->max_rps;
    t->filled_us = c->now_us;
    r->tap = t;
    r->state = R_OWN;
    core_ring_push(&c->taps, &r->own_link);
    c->n_taps++;
    core_wheel_set(&c->wheel, &r->timer, r->deadline_us);
    return 0;
}

static bool wanted(const tap *t, const request *own, const hop *h)
{
    if (t->done || sv_id_eq(&own->id, &h->id)) return false;
    if (!t->wants_control && (h->kind == SV_PING || h->kind == SV_PONG || h->kind == SV_CREDIT))
        return false;
    for (uint32_t i = 0; i < t->n_terms; i++)
        if (!term_matches(&t->terms[i], h)) return false;
    return true;
}

/* The rate: a bucket of one second's worth. */
static bool allowed(core *c, tap *t)
{
    t->allowance += (double)(c->now_us - t->filled_us) * t->rate / 1e6;
    t->filled_us = c->now_us;
    if (t->allowance > t->rate) t->allowance = t->rate;
    if (t->allowance < 1) return false;
    t->allowance -= 1;
    return true;
}

static void show(core *c, request *r, const hop *h)
{
    tap *t = r->tap;
    bus_record rec;
    hop_texts texts;
    core_hop_record(h, &rec, &texts);
    rec.dropped = (int64_t)t->dropped;
    sv_str body = {NULL, 0};
    if (r->down.items < r->down.granted_items && allowed(c, t))
        body = core_encode(c, &bus_record_msg, &rec);
    if (body.p == NULL || !core_stream_fits(&r->down, body.n)) {
        t->dropped++;
        c->stats.tap_dropped++;
        return;
    }
    t->dropped = 0;
    r->down.items++;
    r->down.bytes += body.n;
    envelope e = core_request_envelope(c, r, SV_PARTIAL);
    e.code = r->down.items;
    core_send_own(c, r->caller, &e, body, OUT_DATA);
    if (!t->endless && --t->left == 0) {
        t->done = true;
        core_wheel_set(&c->wheel, &r->timer, c->now_us);
    }
}

void core_hop_note(core *c, hop *h, const request *r, bool ring)
{
    if (r) h->only = r->only;
    if (ring) c->hops[c->n_hops++ % c->limits.records] = *h;
    if (c->n_taps == 0 || (r && r->tap)) return;
    for (core_link *l = c->taps.next; l != &c->taps; l = l->next) {
        request *own = core_of(request, own_link, l);
        if (wanted(own->tap, own, h)) show(c, own, h);
    }
}
