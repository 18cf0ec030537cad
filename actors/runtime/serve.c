/*  serve.c - the serving side: a REQUEST becomes an sv_call, its answer goes out under the window.
 *
 *  A call's output is a byte queue (`pending`) followed by the final REPLY. sv_write appends to the
 *  queue and marks the call dirty; the end of the turn sends what the window allows, so that items
 *  of one turn leave merged. A large answer is the same queue: its attachment's parts carry MORE and
 *  the REPLY carries the last one (docs/protocol.md section 6). */
#include "process.h"

#include "log.h"
#include "uuid.h"

#include <stdlib.h>

static void call_release(sv_call *c)
{
    sv_process *p = c->process;
    frames_close(&c->frames);
    assembly_free(c->parts);
    buf_free(&c->pending);
    buf_free(&c->final_body);
    arena_reset(&c->arena);
    if (p->call_pooled >= CALL_POOL) {
        arena_free(&c->arena);
        free(c);
        return;
    }
    c->next = p->call_pool;
    p->call_pool = c;
    p->call_pooled++;
}

void serve_free_pool(sv_process *p)
{
    while (p->call_pool) {
        sv_call *c = p->call_pool;
        p->call_pool = c->next;
        arena_free(&c->arena);
        free(c);
    }
    p->call_pooled = 0;
}

static sv_call *call_new(sv_process *p, frames *f)
{
    sv_call *c = p->call_pool;
    arena kept = {.max = 4 << 20};
    if (c) {
        p->call_pool = c->next;
        p->call_pooled--;
        kept = c->arena;
    } else if ((c = malloc(sizeof *c)) == NULL) {
        return NULL;
    }
    memset(c, 0, offsetof(sv_call, frames.part));
    memset((char *)c + offsetof(sv_call, id), 0, sizeof *c - offsetof(sv_call, id));
    c->arena = kept;
    c->process = p;
    frames_move(&c->frames, f);
    const envelope *e = &c->frames.env;
    c->id = e->id;
    c->trace = e->trace;
    uuid_random(c->trace.span_id, sizeof c->trace.span_id);
    c->started_us = loop_now_us(p->loop);
    c->deadline_us = c->started_us + (uint64_t)e->ttl_ms * 1000;
    c->out.granted_items = e->credit_items;
    c->out.granted_bytes = e->credit_bytes;
    buf_init(&c->pending, WRITE_PENDING_MAX);
    buf_init(&c->final_body, LIMIT_PART_BYTES);
    return c;
}

static envelope answer_envelope(const sv_call *c, sv_kind kind)
{
    return (envelope){.kind = (uint8_t)kind,
                      .id = c->id,
                      .trace = c->trace,
                      .ttl_ms = sv_call_ttl_ms(c),
                      .target = c->frames.env.target};
}

/* An answered call goes when nobody holds it any more. */
static void finish(sv_call *c)
{
    if (c->pins > 0 || !c->answered || c->final_due) return;
    idmap_del(&c->process->calls, &c->id);
    while (c->children)
        sv_cancel(c->children);
    call_release(c);
}

static void unpin(sv_call *c)
{
    c->pins--;
    finish(c);
}

static void mark_dirty(sv_call *c)
{
    if (c->dirty) return;
    c->dirty = true;
    c->pins++;
    c->next = c->process->dirty;
    c->process->dirty = c;
}

/* ---- sending answers ---- */

static void count_served(sv_call *c)
{
    sv_process *p = c->process;
    if (c->final_status == SV_STATUS_OK && p->served_ok && c->method) {
        metric_add(p->served_ok[c->method_index], 1);
        return;
    }
    metric_add(
        metric_get(M_BUS_SERVED, (const char *const[]){c->method ? c->method->name : "_unknown",
                                                       sv_status_name(c->final_status)}),
        1);
}

static void send_final(sv_call *c, sv_str body, sv_str attachment, const char *type)
{
    sv_process *p = c->process;
    envelope e = answer_envelope(c, SV_REPLY);
    e.code = c->final_status;
    e.content_type = sv_cstr(type && *type ? type : NULL);
    if (!c->gone && bus_send(p, &e, body, attachment))
        log_write(LOG_ERROR, "an answer could not be sent", LOG_ID("request_id", &c->id));
    uint64_t us = loop_now_us(p->loop) - c->started_us;
    char peer[LIMIT_NAME_BYTES + 12];
    snprintf(peer, sizeof peer, "%s/%u", c->frames.env.sender, c->frames.env.sender_instance);
    record_hop(p, &e, true, peer, body.n + attachment.n, us);
    count_served(c);
    c->answered = true;
}

/* One PARTIAL of `n` pending bytes. */
static void send_pending(sv_call *c, size_t n)
{
    envelope e = answer_envelope(c, SV_PARTIAL);
    sv_str bytes = {c->pending.p, (uint32_t)n};
    e.code = ++c->out.sequence;
    c->out.sent_items++;
    if (!c->pending_is_reply) {
        e.content_type = sv_cstr(c->pending_type);
        c->out.sent_bytes += n;
        bus_send(c->process, &e, bytes, (sv_str){NULL, 0});
    } else {
        e.flags = SV_FLAG_MORE;
        sv_str body = c->first_part_sent ? bytes : buf_str(&c->final_body);
        if (body.p == NULL) body.p = "";
        c->out.sent_bytes += n + (c->first_part_sent ? 0 : body.n);
        e.content_type = sv_cstr(c->first_part_sent || !*c->final_type ? NULL : c->final_type);
        bus_send(c->process, &e, body, c->first_part_sent ? (sv_str){NULL, 0} : bytes);
        c->first_part_sent = true;
    }
    buf_consume(&c->pending, n);
}

/* Sends what the window allows. True when nothing is pending any more. */
static bool flush_pending(sv_call *c)
{
    size_t head = c->pending_is_reply && !c->first_part_sent ? c->final_body.n : 0;
    size_t at_most = LIMIT_PART_BYTES - head;
    if (c->gone) {
        buf_reset(&c->pending, 0);
        return true;
    }
    while (c->pending.n > 0) {
        if (c->pending_is_reply && c->pending.n <= at_most)
            return true; /* the last part travels with the REPLY */
        size_t n = c->pending.n < at_most ? c->pending.n : at_most;
        uint64_t room = c->out.granted_bytes - c->out.sent_bytes;
        if (c->out.sent_items >= c->out.granted_items || room <= head) return false;
        if (n > room - head) n = (size_t)(room - head);
        send_pending(c, n);
        head = 0;
        at_most = LIMIT_PART_BYTES;
    }
    return true;
}

static void flush_call(sv_call *c)
{
    bool had = c->pending.n > 0;
    if (!flush_pending(c)) return;
    if (c->final_due) {
        sv_str tail = c->pending_is_reply ? buf_str(&c->pending) : (sv_str){NULL, 0};
        c->final_due = false;
        if (c->first_part_sent)
            send_final(c, tail, (sv_str){NULL, 0}, NULL);
        else
            send_final(c, buf_str(&c->final_body), tail, c->final_type);
        buf_reset(&c->pending, 0);
    } else if (had && c->on_drained) {
        c->on_drained(c);
    } else if (c->waiter && !c->pending_is_reply) {
        serve_resume(c);
    }
}

void serve_flush(sv_process *p)
{
    sv_call *list = p->dirty;
    p->dirty = NULL;
    while (list) {
        sv_call *c = list;
        list = c->next;
        c->dirty = false;
        flush_call(c);
        unpin(c);
    }
}

/* The final answer: status with an encoded body in final_body, attachment bytes in pending. */
static int finalise(sv_call *c, uint32_t status)
{
    c->final_status = status;
    if (c->pending.n == 0 && !c->dirty) {
        send_final(c, buf_str(&c->final_body), (sv_str){NULL, 0}, c->final_type);
        finish(c);
        return 0;
    }
    c->answered = true;
    c->final_due = true;
    mark_dirty(c);
    return 0;
}

static int refuse_body(sv_call *c, int code, const sv_error *err)
{
    const sv_error_info *info = sv_error_lookup(code);
    error_field field = {.path = sv_cstr(err && err->field[0] ? err->field : NULL),
                         .code = sv_cstr(info->name)};
    if (err && err->message[0]) field.message = sv_cstr(err->message);
    error_body body = {.code = sv_cstr(info->name),
                       .message = sv_cstr(err && err->message[0] ? err->message : info->text),
                       .retry_after_ms = err ? err->retry_after_ms : 0,
                       .final = err && err->final};
    if (field.path.p) body.fields = (sv_list){&field, 1};
    buf_reset(&c->final_body, LIMIT_PART_BYTES);
    return message_encode(&error_body_msg, &body, &c->final_body);
}

void sv_refuse(sv_call *c, int code, const sv_error *err)
{
    if (c->answered) return;
    if (refuse_body(c, code, err ? err : &c->error)) buf_reset(&c->final_body, 0);
    c->final_type[0] = 0;
    c->pending_is_reply = false;
    const sv_error_info *info = sv_error_lookup(code);
    if (code == SV_E_INTERNAL)
        log_write(LOG_ERROR, "request failed", LOG_SLICE("method", c->frames.env.target),
                  LOG_ERR(err ? err : &c->error));
    finalise(c, info->status);
}

int sv_reply_with(sv_call *c, const void *reply, sv_str attachment)
{
    if (c->answered) return SV_E_INTERNAL;
    if (c->pending.n > 0 && attachment.p)
        return sv_fail(&c->error, SV_E_INTERNAL, NULL,
                       "A byte stream cannot end with an attachment.");
    buf_reset(&c->final_body, LIMIT_PART_BYTES);
    if (reply && c->method->reply && message_encode(c->method->reply, reply, &c->final_body))
        return sv_fail(&c->error, SV_E_TOO_LARGE, NULL, "The answer does not fit one message.");
    if (attachment.p == NULL) return finalise(c, SV_STATUS_OK);
    if (c->final_body.n + attachment.n <= LIMIT_PART_BYTES) {
        c->final_status = SV_STATUS_OK;
        send_final(c, buf_str(&c->final_body), attachment, NULL);
        finish(c);
        return 0;
    }
    c->pending.max = attachment.n;
    c->pending_is_reply = true;
    if (buf_put(&c->pending, attachment.p, attachment.n))
        return sv_fail(&c->error, SV_E_NO_MEMORY, NULL, NULL);
    return finalise(c, SV_STATUS_OK);
}

int sv_reply(sv_call *c, const void *reply)
{
    return sv_reply_with(c, reply, (sv_str){NULL, 0});
}

int sv_reply_raw(sv_call *c, const char *content_type, sv_str body)
{
    if (c->answered) return SV_E_INTERNAL;
    buf_reset(&c->final_body, LIMIT_PART_BYTES);
    snprintf(c->final_type, sizeof c->final_type, "%s", content_type ? content_type : "");
    if (buf_put(&c->final_body, body.p, body.n))
        return sv_fail(&c->error, SV_E_TOO_LARGE, NULL, "The answer does not fit one message.");
    return finalise(c, SV_STATUS_OK);
}

int sv_partial(sv_call *c, const sv_message *m, const void *item, sv_str attachment)
{
    buf body;
    if (c->answered || c->pending_is_reply) return SV_E_INTERNAL;
    if (c->cancelled) return SV_E_CANCELLED;
    buf_init(&body, LIMIT_PART_BYTES);
    int rc = m ? message_encode(m, item, &body) : 0;
    if (rc == 0 && body.n + attachment.n > LIMIT_PART_BYTES)
        rc = sv_fail(&c->error, SV_E_TOO_LARGE, NULL, "A stream item is larger than one message.");
    size_t size = body.n + attachment.n;
    while (rc == 0 && (c->pending.n > 0 || !out_window_fits(&c->out, size))) {
        if (fiber_current() == NULL) {
            rc = SV_E_QUEUE_FULL; /* on the loop: nobody can wait here */
            break;
        }
        c->waiter = fiber_current();
        fiber_suspend();
        c->waiter = NULL;
        if (c->cancelled) rc = SV_E_CANCELLED;
    }
    if (rc == 0) {
        envelope e = answer_envelope(c, SV_PARTIAL);
        e.code = ++c->out.sequence;
        c->out.sent_items++;
        c->out.sent_bytes += size;
        rc = bus_send(c->process, &e, buf_str(&body), attachment);
    }
    buf_free(&body);
    return rc;
}

int sv_write(sv_call *c, const char *content_type, sv_str bytes)
{
    if (c->answered || c->pending_is_reply) return SV_E_INTERNAL;
    if (c->gone) return SV_E_CANCELLED;
    if (c->pending.n == 0) snprintf(c->pending_type, sizeof c->pending_type, "%s", content_type);
    if (c->pending.n + bytes.n > WRITE_PENDING_MAX) return SV_E_QUEUE_FULL;
    if (buf_put(&c->pending, bytes.p, bytes.n)) return SV_E_NO_MEMORY;
    mark_dirty(c);
    return 0;
}

size_t sv_write_pending(const sv_call *c)
{
    return c->pending.n;
}

void sv_on_drained(sv_call *c, void (*fn)(sv_call *))
{
    c->on_drained = fn;
}

void sv_on_cancel(sv_call *c, void (*fn)(sv_call *))
{
    c->on_cancel = fn;
}

/* ---- receiving requests ---- */

void serve_resume(sv_call *c)
{
    fiber *f = c->waiter;
    if (f == NULL) return;
    c->waiter = NULL;
    log_context(&c->id, &c->trace);
    fiber_resume(f);
    log_context(NULL, NULL);
}

/* After the handler returned `rc`. */
static void handled(sv_call *c, int rc)
{
    bool later = rc == SV_PENDING && (c->method->flags & SV_INLINE);
    if (!later && !c->answered) {
        if (rc == 0 && c->method->reply && c->method->reply != &bus_empty_msg)
            rc = sv_fail(&c->error, SV_E_INTERNAL, NULL, "The handler ended without an answer.");
        if (rc == 0)
            sv_reply(c, NULL);
        else
            sv_refuse(c, rc > 0 ? SV_E_INTERNAL : rc, &c->error);
    }
    unpin(c);
}

static void run_fiber(void *arg)
{
    sv_call *c = arg;
    handled(c, c->method->handler(c, c->request));
}

static int decode_request(sv_call *c)
{
    const sv_message *type = c->method->request;
    if (type == NULL) return 0;
    c->request = arena_alloc(&c->arena, type->size ? type->size : 1);
    if (c->request == NULL) return sv_fail(&c->error, SV_E_NO_MEMORY, NULL, NULL);
    return message_decode(type, sv_call_body(c), MESSAGE_STRICT, &c->arena, c->request, &c->error);
}

static void run(sv_call *c)
{
    int rc = decode_request(c);
    if (rc) {
        sv_refuse(c, rc, &c->error);
        return;
    }
    c->pins++;
    log_context(&c->id, &c->trace);
    if (c->method->flags & SV_INLINE) {
        handled(c, c->method->handler(c, c->request));
    } else {
        rc = fiber_start(c->process->fibers, run_fiber, c);
        if (rc) handled(c, rc);
    }
    log_context(NULL, NULL);
}

static const sv_method *find_method(sv_process *p, sv_str target, size_t *index)
{
    char plain[LIMIT_TARGET_BYTES + 1];
    uint32_t instance; /* ours: the broker sees to it */
    size_t n = strlen(p->name);
    if (target.n > n && target.p[n] == '/' &&
        !envelope_target_plain(target, plain, &target, &instance))
        return NULL;
    if (target.n <= n + 1 || memcmp(target.p, p->name, n) != 0 || target.p[n] != '.') return NULL;
    sv_str name = {target.p + n + 1, target.n - (uint32_t)n - 1};
    for (size_t i = 0; i < p->n_methods; i++) {
        if (sv_str_is(name, p->methods[i].name)) {
            *index = i;
            return &p->methods[i];
        }
    }
    return NULL;
}

static void grant_upload(sv_call *c)
{
    envelope e = answer_envelope(c, SV_CREDIT);
    e.credit_items = c->in.granted_items;
    e.credit_bytes = c->in.granted_bytes;
    bus_send(c->process, &e, (sv_str){NULL, 0}, (sv_str){NULL, 0});
}

static void start_upload(sv_call *c)
{
    if (c->method->max_request <= LIMIT_MESSAGE_BYTES) {
        sv_fail(&c->error, SV_E_TOO_LARGE, "body", "%.*s takes at most one message of %d bytes.",
                SV_FMT(c->frames.env.target), LIMIT_MESSAGE_BYTES);
        sv_refuse(c, SV_E_TOO_LARGE, &c->error);
        return;
    }
    frames f = {0};
    frames_move(&f, &c->frames);
    c->parts = assembly_start(&f, c->method->max_request);
    frames_close(&f);
    if (c->parts == NULL) {
        sv_refuse(c, SV_E_NO_MEMORY, NULL);
        return;
    }
    c->frames.env = c->parts->first.env;
    c->in = (in_window){.size_items = LIMIT_WINDOW_ITEMS, .size_bytes = LIMIT_WINDOW_BYTES};
    in_window_regrant(&c->in);
    grant_upload(c);
}

void serve_request(sv_process *p, frames *f)
{
    if (idmap_get(&p->calls, &f->env.id))
        return; /* the broker never sends one twice; a restarted one may */
    char peer[LIMIT_NAME_BYTES + 12];
    snprintf(peer, sizeof peer, "%s/%u", f->env.sender, f->env.sender_instance);
    record_hop(p, &f->env, false, peer, frames_data_bytes(f), 0);
    sv_call *c = call_new(p, f);
    if (c == NULL || idmap_put(&p->calls, &c->id, c)) {
        envelope e = {
            .kind = SV_REPLY, .id = c ? c->id : f->env.id, .code = SV_STATUS_RESOURCE_EXHAUSTED};
        bus_send(p, &e, (sv_str){NULL, 0}, (sv_str){NULL, 0});
        if (c) call_release(c);
        return;
    }
    c->method = find_method(p, c->frames.env.target, &c->method_index);
    if (c->method == NULL) {
        sv_fail(&c->error, SV_E_NO_METHOD, NULL, "%s has no method %.*s.", p->name,
                SV_FMT(c->frames.env.target));
        sv_refuse(c, SV_E_NO_METHOD, &c->error);
        return;
    }
    if (c->frames.env.flags & SV_FLAG_MORE)
        start_upload(c);
    else
        run(c);
}

void serve_partial(sv_process *p, sv_call *c, frames *f)
{
    (void)p;
    if (c->parts == NULL || c->request || c->answered || !(c->frames.env.flags & SV_FLAG_MORE))
        return;
    c->in.items++;
    c->in.bytes += frames_data_bytes(f);
    if (++c->in.sequence != f->env.code || assembly_add(c->parts, f)) {
        bool order = c->in.sequence != f->env.code;
        sv_fail(&c->error, order ? SV_E_MALFORMED : SV_E_TOO_LARGE, "body",
                order ? "The request's parts came out of order." : "The request is over %zu bytes.",
                c->method->max_request);
        sv_refuse(c, c->error.code, &c->error);
        return;
    }
    c->in.used_items = c->in.items;
    c->in.used_bytes = c->in.bytes;
    if (f->env.flags & SV_FLAG_MORE) {
        if (in_window_regrant(&c->in)) grant_upload(c);
        return;
    }
    c->frames.env.flags &= (uint16_t)~SV_FLAG_MORE;
    run(c);
}

void serve_credit(sv_process *p, sv_call *c, const envelope *e)
{
    (void)p;
    if (e->credit_items > c->out.granted_items) c->out.granted_items = e->credit_items;
    if (e->credit_bytes > c->out.granted_bytes) c->out.granted_bytes = e->credit_bytes;
    if (c->pending.n > 0 || c->final_due)
        mark_dirty(c);
    else if (c->waiter)
        serve_resume(c);
}

static void cancel(sv_call *c)
{
    if (c->cancelled) return;
    c->cancelled = true;
    c->pins++;
    while (c->children) {
        sv_error err = {0};
        sv_fail(&err, SV_E_CANCELLED, NULL, NULL);
        stream_end(c->children, SV_E_CANCELLED, NULL, &err);
    }
    if (c->answered)
        mark_dirty(c); /* nobody waits for the rest of the answer */
    else if (c->frames.env.flags & SV_FLAG_MORE)
        sv_refuse(c, SV_E_CANCELLED, NULL); /* its upload never completed: no handler knows it */
    else if (c->on_cancel)
        c->on_cancel(c);
    serve_resume(c);
    unpin(c);
}

void serve_cancel(sv_process *p, sv_call *c)
{
    (void)p;
    if (c->final_due || c->pending.n > 0) c->pending.n = 0;
    cancel(c);
}

void serve_cancel_all(sv_process *p)
{
    uint32_t at = 0;
    sv_call *c;
    while ((c = idmap_next(&p->calls, &at))) {
        if (c->cancelled) continue;
        c->gone = true;
        cancel(c);
        at = 0;
    }
}

/* ---- what a handler asks ---- */

sv_process *sv_call_process(sv_call *c)
{
    return c->process;
}

const char *sv_call_caller(const sv_call *c)
{
    return c->frames.env.sender;
}

uint32_t sv_call_caller_instance(const sv_call *c)
{
    return c->frames.env.sender_instance;
}

const sv_id *sv_call_id(const sv_call *c)
{
    return &c->id;
}

const sv_trace *sv_call_trace(const sv_call *c)
{
    return &c->trace;
}

sv_str sv_call_ticket(const sv_call *c)
{
    return c->frames.env.ticket;
}

sv_str sv_call_key(const sv_call *c)
{
    return c->frames.env.key;
}

sv_str sv_call_method(const sv_call *c)
{
    return sv_cstr(c->method->name);
}

sv_str sv_call_body(const sv_call *c)
{
    sv_item item;
    item_of(&c->frames, c->parts, &item);
    return item.body;
}

sv_str sv_call_content_type(const sv_call *c)
{
    return c->frames.env.content_type;
}

sv_str sv_call_attachment(const sv_call *c)
{
    sv_item item;
    item_of(&c->frames, c->parts, &item);
    return item.attachment;
}

uint32_t sv_call_ttl_ms(const sv_call *c)
{
    return (uint32_t)bus_ms_left(c->deadline_us, loop_now_us(c->process->loop));
}

bool sv_call_streaming(const sv_call *c)
{
    return c->frames.env.flags & SV_FLAG_STREAM;
}

bool sv_call_cancelled(const sv_call *c)
{
    return c->cancelled;
}

arena *sv_call_arena(sv_call *c)
{
    return &c->arena;
}

sv_error *sv_call_error(sv_call *c)
{
    return &c->error;
}

void *sv_call_data(const sv_call *c)
{
    return c->data;
}

void sv_call_set_data(sv_call *c, void *data)
{
    c->data = data;
}
