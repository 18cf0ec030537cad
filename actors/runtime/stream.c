/*  stream.c - the calling side: sv_open, its window, its end.
 *
 *  A request goes out at once when the session is up; its bytes are kept only if they may be needed
 *  again (idempotent, not connected, or an attachment that goes in parts). Streams that wait for
 *  the session are a list; streams whose end was decided outside of a message (timeout, error at
 *  start) are another, worked off by the hook, so that `done` never comes before sv_open returned.
 */
#include "process.h"

#include "log.h"
#include "uuid.h"

#include <stdlib.h>

enum {
    GRACE_US = 250000,
    AGAIN_US = 50000,
    WAIT_FOR_BUS_US = 3000000,
    DEFAULT_TTL_MS = 10000,
    MAX_ATTEMPTS = 2
};

static void unlink_child(sv_stream *s)
{
    if (s->parent == NULL) return;
    if (s->prev_sibling)
        s->prev_sibling->next_sibling = s->next_sibling;
    else
        s->parent->children = s->next_sibling;
    if (s->next_sibling) s->next_sibling->prev_sibling = s->prev_sibling;
    s->parent = NULL;
}

static void unlink_from(sv_stream **list, sv_stream *s)
{
    for (; *list; list = &(*list)->next) {
        if (*list == s) {
            *list = s->next;
            return;
        }
    }
}

static void item_free(stream_item *i)
{
    if (i == NULL) return;
    frames_close(&i->frames);
    assembly_free(i->parts);
    free(i);
}

static void stream_release(sv_stream *s)
{
    sv_process *p = s->process;
    unlink_child(s);
    if (s->in_waiting) unlink_from(&p->waiting, s);
    if (s->in_finished) unlink_from(&p->finished, s);
    loop_timer_stop(p->loop, &s->timer);
    loop_timer_stop(p->loop, &s->again);
    idmap_del(&p->streams, &s->id);
    assembly_free(s->parts);
    while (s->items) {
        stream_item *i = s->items;
        s->items = i->next;
        item_free(i);
    }
    item_free(s->current);
    item_free(s->last);
    buf_free(&s->body);
    buf_free(&s->attachment);
    buf_free(&s->header_extra);
    free(s);
}

/* ---- sending the request ---- */

static envelope request_envelope(sv_stream *s, sv_kind kind)
{
    uint64_t left = bus_ms_left(s->deadline_us, loop_now_us(s->process->loop));
    return (envelope){.kind = (uint8_t)kind,
                      .id = s->id,
                      .parent = s->parent_id,
                      .trace = s->trace,
                      .ttl_ms = left > LIMIT_TTL_MS ? LIMIT_TTL_MS : (uint32_t)left,
                      .target = sv_cstr(s->target)};
}

static void send_cancel(sv_stream *s)
{
    if (!s->sent || s->process->session != SESSION_UP) return;
    envelope e = request_envelope(s, SV_CANCEL);
    bus_send(s->process, &e, (sv_str){NULL, 0}, (sv_str){NULL, 0});
}

static void finish_later(sv_stream *s, int code, const char *words)
{
    if (s->in_finished || s->over) return;
    if (s->in_waiting) unlink_from(&s->process->waiting, s);
    s->in_waiting = false;
    s->result = code;
    sv_fail(&s->error, code, NULL, words ? "%s" : NULL, words);
    s->in_finished = true;
    s->next = s->process->finished;
    s->process->finished = s;
}

/* Sends parts of the attachment while the callee's window allows. */
static void send_parts(sv_stream *s)
{
    while (s->attachment_at < s->attachment.n) {
        size_t n = s->attachment.n - s->attachment_at;
        if (n > LIMIT_PART_BYTES) n = LIMIT_PART_BYTES;
        if (!out_window_fits(&s->out, n)) return;
        envelope e = request_envelope(s, SV_PARTIAL);
        e.code = ++s->out.sequence;
        s->out.sent_items++;
        s->out.sent_bytes += n;
        if (s->attachment_at + n < s->attachment.n) e.flags = SV_FLAG_MORE;
        sv_str part = {s->attachment.p + s->attachment_at, (uint32_t)n};
        s->attachment_at += n;
        bus_send(s->process, &e, part, (sv_str){NULL, 0});
    }
}

static void send_request(sv_stream *s)
{
    sv_process *p = s->process;
    envelope e = request_envelope(s, SV_REQUEST);
    e.flags =
        (uint16_t)((s->streaming ? SV_FLAG_STREAM : 0) | (s->idempotent ? SV_FLAG_IDEMPOTENT : 0));
    e.key = s->has_key ? sv_cstr(s->key) : (sv_str){NULL, 0};
    e.content_type = s->has_type ? sv_cstr(s->content_type) : (sv_str){NULL, 0};
    if (s->has_tracestate) e.tracestate = (sv_str){s->header_extra.p, s->tracestate_n};
    if (s->has_ticket) e.ticket = (sv_str){s->header_extra.p + s->tracestate_n, s->ticket_n};
    s->in.items = s->in.used_items = s->in.granted_items = s->in.sequence = 0;
    s->in.bytes = s->in.used_bytes = s->in.granted_bytes = 0;
    in_window_regrant(&s->in);
    e.credit_items = s->in.granted_items;
    e.credit_bytes = s->in.granted_bytes;
    s->out = (out_window){0};
    sv_str attachment = {NULL, 0};
    if (s->has_attachment)
        attachment = (sv_str){s->attachment.n ? s->attachment.p : "", (uint32_t)s->attachment.n};
    s->attachment_at = attachment.n;
    if (s->body.n + attachment.n > LIMIT_PART_BYTES) {
        attachment.n = (uint32_t)(LIMIT_PART_BYTES - s->body.n);
        s->attachment_at = attachment.n;
        e.flags |= SV_FLAG_MORE;
    }
    s->attempts++;
    s->sent = true;
    int rc = bus_send(p, &e, buf_str(&s->body), attachment);
    if (rc) {
        s->sent = false;
        finish_later(s, rc == SV_E_QUEUE_FULL ? SV_E_UNAVAILABLE : rc,
                     "The bus takes no more messages.");
        return;
    }
    record_hop(p, &e, true, "bus", (uint32_t)(s->body.n + attachment.n), 0);
    bool settling = loop_now_us(p->loop) < p->settled_us;
    if (!s->idempotent && !settling && !(e.flags & SV_FLAG_MORE)) {
        buf_free(&s->body);
        buf_free(&s->attachment);
        s->kept = false;
    }
}

static void on_timeout(void *arg)
{
    sv_stream *s = arg;
    uint64_t now = loop_now_us(s->process->loop);
    if (s->in_waiting && now < s->deadline_us)
        finish_later(s, SV_E_UNAVAILABLE, "This process is not connected to the bus.");
    else
        finish_later(s, SV_E_DEADLINE, NULL);
}

/* Timer: while waiting for the bus a short patience, else the deadline and a little, since the
 * broker answers DEADLINE_EXCEEDED by itself. */
static void arm_timer(sv_stream *s)
{
    uint64_t now = loop_now_us(s->process->loop),
             at = s->deadline_us + (s->in_waiting ? 0 : GRACE_US);
    if (s->in_waiting && at > now + WAIT_FOR_BUS_US) at = now + WAIT_FOR_BUS_US;
    loop_timer_set(s->process->loop, &s->timer, at > now ? at - now : 0, on_timeout, s);
}

static void wait_for_session(sv_stream *s)
{
    s->sent = false;
    s->in_waiting = true;
    s->next = s->process->waiting;
    s->process->waiting = s;
}

void stream_send_waiting(sv_process *p)
{
    while (p->waiting) {
        sv_stream *s = p->waiting;
        p->waiting = s->next;
        s->in_waiting = false;
        if (loop_now_us(p->loop) >= s->deadline_us) {
            finish_later(s, SV_E_DEADLINE, NULL);
        } else {
            send_request(s);
            arm_timer(s);
        }
    }
}

void stream_broker_lost(sv_process *p, int code)
{
    uint32_t at = 0;
    sv_stream *s;
    while ((s = idmap_next(&p->streams, &at))) {
        if (!s->sent || s->over || s->in_finished) continue;
        if (s->idempotent && s->kept && !s->item_seen && s->attempts < MAX_ATTEMPTS) {
            assembly_free(s->parts);
            s->parts = NULL;
            wait_for_session(s);
            arm_timer(s);
        } else {
            finish_later(s, code, NULL);
        }
    }
}

/* ---- opening ---- */

static int copy_text(char *to, size_t size, sv_str s, const char *what, sv_error *err)
{
    if (s.n >= size)
        return sv_fail(err, SV_E_TOO_LARGE, what, "%s is longer than %zu bytes.", what, size - 1);
    if (s.n) memcpy(to, s.p, s.n);
    to[s.n] = 0;
    return 0;
}

static int fill_context(sv_stream *s, const sv_request *r, sv_error *err)
{
    sv_call *parent = r->parent;
    sv_str state = r->tracestate, ticket = r->ticket;
    if (parent) {
        s->trace = parent->trace;
        s->parent_id = parent->id;
        state = state.p ? state : parent->frames.env.tracestate;
        ticket = ticket.p ? ticket : parent->frames.env.ticket;
    } else if (r->trace) {
        s->trace = *r->trace;
    } else {
        uuid_random(&s->trace, 24);
        s->trace.flags = 2; /* random bits, not sampled */
    }
    s->has_tracestate = state.p != NULL;
    s->has_ticket = ticket.p != NULL;
    s->tracestate_n = state.n;
    s->ticket_n = ticket.n;
    buf_init(&s->header_extra, LIMIT_TRACESTATE_BYTES + LIMIT_TICKET_BYTES);
    if (buf_put(&s->header_extra, state.p, state.n) ||
        buf_put(&s->header_extra, ticket.p, ticket.n) || state.n > LIMIT_TRACESTATE_BYTES ||
        ticket.n > LIMIT_TICKET_BYTES)
        return sv_fail(err, SV_E_TOO_LARGE, "ticket", "The ticket or tracestate is too long.");
    return 0;
}

static int fill_body(sv_stream *s, const sv_request *r, sv_error *err)
{
    buf_init(&s->body, LIMIT_PART_BYTES);
    buf_init(&s->attachment, r->attachment.n ? r->attachment.n : 1);
    int rc = 0;
    if (r->type)
        rc = message_encode(r->type, r->body, &s->body);
    else if (r->raw.n)
        rc = buf_put(&s->body, r->raw.p, r->raw.n);
    if (rc == 0 && r->attachment.n) rc = buf_put(&s->attachment, r->attachment.p, r->attachment.n);
    s->has_attachment = r->attachment.p != NULL;
    if (rc) return sv_fail(err, rc, "body", "The request's body does not fit one message.");
    return 0;
}

static int fill(sv_stream *s, const sv_request *r, sv_error *err)
{
    sv_process *p = s->process;
    uint64_t now = loop_now_us(p->loop);
    int rc = copy_text(s->target, sizeof s->target, sv_cstr(r->target), "target", err);
    char plain[LIMIT_TARGET_BYTES + 1];
    uint32_t instance;
    sv_str method;
    if (rc == 0 && !envelope_target_plain(sv_cstr(s->target), plain, &method, &instance))
        rc = sv_fail(err, SV_E_INVALID, "target",
                     "\"%s\" is not of the form service.method or service/instance.method.",
                     s->target);
    if (rc == 0) rc = copy_text(s->key, sizeof s->key, r->key, "key", err);
    if (rc == 0)
        rc = copy_text(s->content_type, sizeof s->content_type, sv_cstr(r->content_type),
                       "content_type", err);
    if (rc == 0) rc = fill_context(s, r, err);
    if (rc == 0) rc = fill_body(s, r, err);
    if (rc) return rc;
    s->has_key = r->key.p != NULL;
    s->has_type = r->content_type != NULL;
    s->kept = true;
    s->streaming = r->stream;
    s->idempotent = r->idempotent;
    s->max_reply = r->max_reply ? r->max_reply : 1048576;
    s->in.size_items = r->window_items ? r->window_items : LIMIT_WINDOW_ITEMS;
    s->in.size_bytes = r->window_bytes ? r->window_bytes : LIMIT_WINDOW_BYTES;
    if (s->in.size_bytes < LIMIT_PART_BYTES)
        s->in.size_bytes = LIMIT_PART_BYTES; /* or a full part could never pass */
    uint64_t ttl_us = (uint64_t)(r->ttl_ms ? r->ttl_ms : DEFAULT_TTL_MS) * 1000;
    s->opened_us = now;
    s->deadline_us = now + ttl_us;
    if (r->parent && (r->ttl_ms == 0 || r->parent->deadline_us < s->deadline_us))
        s->deadline_us = r->parent->deadline_us;
    return 0;
}

sv_stream *sv_open(sv_process *p, const sv_request *r, const sv_events *ev, void *arg,
                   sv_error *err)
{
    if (p->fatal) {
        sv_fail(err, p->fatal_error.code, NULL, "%s", p->fatal_error.message);
        return NULL;
    }
    if (r->parent && r->parent->cancelled) {
        sv_fail(err, SV_E_CANCELLED, NULL, NULL);
        return NULL;
    }
    sv_stream *s = calloc(1, sizeof *s);
    if (s == NULL) {
        sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
        return NULL;
    }
    s->process = p;
    s->id = uuid_new();
    s->events = ev;
    s->arg = arg;
    s->items_tail = &s->items;
    int rc = fill(s, r, err);
    if (rc == 0 && (rc = idmap_put(&p->streams, &s->id, s))) sv_fail(err, rc, NULL, NULL);
    if (rc) {
        buf_free(&s->body);
        buf_free(&s->attachment);
        buf_free(&s->header_extra);
        free(s);
        return NULL;
    }
    if (r->parent) {
        s->parent = r->parent;
        s->next_sibling = r->parent->children;
        if (s->next_sibling) s->next_sibling->prev_sibling = s;
        r->parent->children = s;
    }
    if (p->session == SESSION_UP)
        send_request(s);
    else
        wait_for_session(s);
    arm_timer(s);
    return s;
}

const sv_id *sv_stream_id(const sv_stream *s)
{
    return &s->id;
}

void sv_cancel(sv_stream *s)
{
    if (!s->over) send_cancel(s);
    stream_release(s);
}

/* ---- receiving ---- */

static void grant(sv_stream *s)
{
    if (s->over || !in_window_regrant(&s->in)) return;
    envelope e = request_envelope(s, SV_CREDIT);
    e.credit_items = s->in.granted_items;
    e.credit_bytes = s->in.granted_bytes;
    bus_send(s->process, &e, (sv_str){NULL, 0}, (sv_str){NULL, 0});
}

void sv_consumed(sv_stream *s, uint32_t items, size_t bytes)
{
    in_window *w = &s->in;
    w->used_items = items > w->items - w->used_items ? w->items : w->used_items + items;
    w->used_bytes = bytes > w->bytes - w->used_bytes ? w->bytes : w->used_bytes + bytes;
    grant(s);
}

/* The fiber that waits for this stream goes on. */
static void wake(sv_stream *s)
{
    fiber *waiter = s->waiter;
    s->waiter = NULL;
    if (waiter) {
        fiber_resume(waiter);
        log_context(NULL, NULL);
    }
}

/* A call to one instance is counted as one of its method: labels do not grow with instances. */
static void count_call(const sv_stream *s, int code)
{
    char plain[LIMIT_TARGET_BYTES + 1];
    uint32_t instance;
    sv_str method;
    const char *target = s->target,
               *status = sv_status_name((uint32_t)sv_error_lookup(code)->status);
    if (strchr(target, '/') && envelope_target_plain(sv_cstr(target), plain, &method, &instance))
        target = plain;
    metric_add(metric_get(M_BUS_CALLS, (const char *const[]){target, status}), 1);
    metric_observe_us(metric_get(M_BUS_CALL_SECONDS, (const char *const[]){target}),
                      loop_now_us(s->process->loop) - s->opened_us);
}

void stream_end(sv_stream *s, int code, frames *f, const sv_error *err)
{
    if (s->over) return;
    if (f == NULL) send_cancel(s); /* no REPLY came: tell the callee to stop */
    s->over = true;
    s->result = code;
    sv_process *p = s->process;
    count_call(s, code);
    loop_timer_stop(p->loop, &s->timer);
    unlink_child(s);
    if (s->events == NULL) { /* a fiber's stream: kept until sv_stream_close */
        if (err) s->error = *err;
        if (f) {
            s->last = calloc(1, sizeof *s->last);
            if (s->last) {
                frames_move(&s->last->frames, f);
                s->last->parts = s->parts;
                s->parts = NULL;
            }
        }
        wake(s);
        return;
    }
    sv_item item = {0};
    if (f) item_of(f, s->parts, &item);
    s->events->done(s->arg, s, code, f ? &item : NULL, code ? (err ? err : &s->error) : NULL);
    stream_release(s);
}

void stream_finish_due(sv_process *p)
{
    while (p->finished) {
        sv_stream *s = p->finished;
        p->finished = s->next;
        s->in_finished = false;
        sv_error err = s->error;
        stream_end(s, s->result, NULL, &err);
    }
}

/* Adds `f` to a message in parts. 1: the message is complete (or was whole), 0: more to come. */
static int assemble(sv_stream *s, frames *f)
{
    bool more = f->env.flags & SV_FLAG_MORE;
    if (s->parts == NULL && !more) return 1;
    int rc = 0;
    if (s->parts)
        rc = assembly_add(s->parts, f);
    else if ((s->parts = assembly_start(f, s->max_reply)) == NULL)
        rc = SV_E_TOO_LARGE;
    if (rc) return rc;
    return more ? 0 : 1;
}

static void too_large(sv_stream *s)
{
    sv_error err = {0};
    sv_fail(&err, SV_E_TOO_LARGE, NULL, "The answer of %s is over %zu bytes.", s->target,
            s->max_reply);
    stream_end(s, SV_E_TOO_LARGE, NULL, &err);
}

static void read_error(const frames *f, uint32_t status, sv_error *err)
{
    arena a;
    arena_init(&a, 65536);
    error_body b;
    int code = 0;
    if (message_decode(&error_body_msg, frames_part(f, 1), MESSAGE_LENIENT, &a, &b, NULL) == 0) {
        const sv_error_info *info = sv_error_by_name(b.code);
        code = info ? info->code : 0;
        sv_fail(err, code ? code : SV_E_INTERNAL, NULL, "%.*s", SV_FMT(b.message));
        err->retry_after_ms = (uint32_t)b.retry_after_ms;
        err->final = b.final;
        if (b.fields.n) {
            const error_field *first = b.fields.items;
            snprintf(err->field, sizeof err->field, "%.*s", SV_FMT(first->path));
        }
    } else {
        sv_fail(err, SV_E_INTERNAL, NULL, "The service answered %s without saying why.",
                sv_status_name(status));
    }
    arena_free(&a);
}

static void send_again(void *arg)
{
    sv_stream *s = arg;
    if (s->over || s->in_finished) return;
    if (s->process->session == SESSION_UP)
        send_request(s);
    else
        wait_for_session(s);
    arm_timer(s);
}

/* After a broker restart this process may be back before the service is. A request that no service
 * was there for was handed to nobody, so it may be sent again whatever it does. */
static bool wait_for_service(sv_stream *s, int code)
{
    sv_process *p = s->process;
    uint64_t now = loop_now_us(p->loop);
    if (code != SV_E_NO_SERVICE || !s->kept || now >= p->settled_us ||
        now + AGAIN_US >= s->deadline_us)
        return false;
    s->sent = false;
    s->attempts--;
    loop_timer_set(p->loop, &s->again, AGAIN_US, send_again, s);
    return true;
}

void stream_reply(sv_stream *s, frames *f)
{
    if (s->over || s->in_finished || !s->sent) return;
    uint64_t us = loop_now_us(s->process->loop) - s->opened_us;
    char peer[LIMIT_NAME_BYTES + 12];
    snprintf(peer, sizeof peer, "%s/%u", f->env.sender, f->env.sender_instance);
    record_hop(s->process, &f->env, false, peer, frames_data_bytes(f), us);
    if (f->env.code != SV_STATUS_OK) {
        sv_error err = {0};
        read_error(f, f->env.code, &err);
        if (wait_for_service(s, err.code)) return;
        stream_end(s, err.code, f, &err);
        return;
    }
    if (assemble(s, f) < 0)
        too_large(s);
    else
        stream_end(s, 0, f, NULL);
}

static void deliver(sv_stream *s, frames *f)
{
    assembly *parts = s->parts;
    s->parts = NULL;
    if (s->events) {
        sv_item item;
        item_of(f, parts, &item);
        s->events->item(s->arg, s, &item); /* may cancel: s is not touched after it */
        assembly_free(parts);
        return;
    }
    stream_item *i = calloc(1, sizeof *i);
    if (i == NULL) {
        assembly_free(parts);
        sv_error err = {0};
        sv_fail(&err, SV_E_NO_MEMORY, NULL, NULL);
        stream_end(s, SV_E_NO_MEMORY, NULL, &err);
        return;
    }
    frames_move(&i->frames, f);
    i->parts = parts;
    *s->items_tail = i;
    s->items_tail = &i->next;
    wake(s);
}

void stream_partial(sv_stream *s, frames *f)
{
    if (s->over || s->in_finished) return;
    uint32_t bytes = frames_data_bytes(f);
    s->item_seen = true;
    s->in.items++;
    s->in.bytes += bytes;
    bool in_parts = s->parts != NULL || (f->env.flags & SV_FLAG_MORE);
    if (!s->streaming && !in_parts)
        return; /* the caller takes no items; the broker refuses them as well */
    int rc = assemble(s, f);
    if (rc < 0) {
        too_large(s);
        return;
    }
    if (in_parts) { /* assembled bytes are bounded by max_reply: the window reopens by itself */
        s->in.used_items = s->in.items;
        s->in.used_bytes = s->in.bytes;
        grant(s);
    }
    if (rc == 1 && s->streaming) deliver(s, f);
}

void stream_credit(sv_stream *s, const envelope *e)
{
    if (s->over || !s->sent) return;
    if (e->credit_items > s->out.granted_items) s->out.granted_items = e->credit_items;
    if (e->credit_bytes > s->out.granted_bytes) s->out.granted_bytes = e->credit_bytes;
    send_parts(s);
}

void stream_free_all(sv_process *p)
{
    uint32_t at = 0;
    sv_stream *s;
    while ((s = idmap_next(&p->streams, &at))) {
        stream_release(s);
        at = 0;
    }
}
