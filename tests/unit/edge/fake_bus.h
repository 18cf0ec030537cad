/*  fake_bus.h - the bus as a list of requests that a test answers, and a wire that remembers what was
 *  done to an exchange. The test is linked with --wrap for the functions below. Include once. */
#ifndef FAKE_BUS_H
#define FAKE_BUS_H

#include "error.h"
#include "http.h"
#include "samovar.h"

#include <stdio.h>
#include <stdlib.h>

struct sv_stream {
    struct sv_stream *next;
    char target[64], ticket[64];
    buf body, attachment;
    const sv_events *events;
    void *arg;
    bool stream;
    uint32_t window;
    size_t consumed;
};

static struct sv_stream *bus_open; /* oldest first */
static uint32_t bus_cancelled, bus_asked;
static bool bus_refuses; /* sv_open finds no memory */
static loop *bus_loop;
static config *bus_config;

sv_stream *__wrap_sv_open(sv_process *p, const sv_request *r, const sv_events *ev, void *arg,
                          sv_error *err);
void __wrap_sv_cancel(sv_stream *s);
void __wrap_sv_consumed(sv_stream *s, uint32_t items, size_t bytes);
loop *__wrap_sv_loop(sv_process *p);
const config *__wrap_sv_config(sv_process *p);

sv_stream *__wrap_sv_open(sv_process *p, const sv_request *r, const sv_events *ev, void *arg,
                          sv_error *err)
{
    (void)p;
    if (bus_refuses) {
        sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
        return NULL;
    }
    sv_stream *s = calloc(1, sizeof *s), **at = &bus_open;
    if (s == NULL) abort();
    bus_asked++;
    snprintf(s->target, sizeof s->target, "%s", r->target);
    snprintf(s->ticket, sizeof s->ticket, "%.*s", SV_FMT(r->ticket));
    buf_init(&s->body, 1 << 20);
    buf_init(&s->attachment, 1 << 21);
    if (message_encode(r->type, r->body, &s->body)) abort();
    if (r->attachment.n && buf_put(&s->attachment, r->attachment.p, r->attachment.n)) abort();
    s->events = ev;
    s->arg = arg;
    s->stream = r->stream;
    s->window = r->window_bytes;
    while (*at)
        at = &(*at)->next;
    *at = s;
    return s;
}

static inline void bus_forget(sv_stream *s)
{
    sv_stream **at = &bus_open;
    while (*at && *at != s)
        at = &(*at)->next;
    if (*at == NULL) abort();
    *at = s->next;
    buf_free(&s->body);
    buf_free(&s->attachment);
    free(s);
}

void __wrap_sv_cancel(sv_stream *s)
{
    bus_cancelled++;
    bus_forget(s);
}

void __wrap_sv_consumed(sv_stream *s, uint32_t items, size_t bytes)
{
    (void)items;
    s->consumed += bytes;
}

loop *__wrap_sv_loop(sv_process *p)
{
    (void)p;
    return bus_loop;
}

const config *__wrap_sv_config(sv_process *p)
{
    (void)p;
    return bus_config;
}

/* The request's struct, in `a`. */
static inline void bus_read(const sv_stream *s, const sv_message *m, arena *a, void *ret)
{
    if (message_decode(m, buf_str(&s->body), MESSAGE_STRICT, a, ret, NULL)) abort();
}

static inline void bus_answer(sv_stream *s, const sv_message *m, const void *reply)
{
    buf b;
    const sv_events *events = s->events;
    void *arg = s->arg;
    buf_init(&b, 1 << 20);
    if (message_encode(m, reply, &b)) abort();
    sv_item item = {.body = buf_str(&b)};
    bus_forget(s);
    events->done(arg, NULL, 0, &item, NULL);
    buf_free(&b);
}

static inline void bus_fail(sv_stream *s, int code)
{
    sv_error err = {.code = 0};
    const sv_events *events = s->events;
    void *arg = s->arg;
    sv_fail(&err, code, NULL, NULL);
    bus_forget(s);
    events->done(arg, NULL, code, NULL, &err);
}

/* ---- an exchange ---- */

typedef struct fake_exchange {
    http_exchange x;
    http_request request;
    http_header headers[8];
    buf out;
    size_t pending; /* what http_pending says */
    int pauses, resumes;
    bool aborted;
} fake_exchange;

static void fake_respond(http_exchange *x, const http_response *r)
{
    (void)x, (void)r;
}

static void fake_write(http_exchange *x, sv_str bytes)
{
    fake_exchange *f = (fake_exchange *)x;
    if (buf_put(&f->out, bytes.p, bytes.n)) abort();
}

static void fake_end(http_exchange *x)
{
    (void)x;
}

static void fake_abort(http_exchange *x)
{
    ((fake_exchange *)x)->aborted = true;
}

static size_t fake_pending(const http_exchange *x)
{
    return ((const fake_exchange *)x)->pending;
}

static void fake_pause(http_exchange *x)
{
    ((fake_exchange *)x)->pauses++;
}

static void fake_resume(http_exchange *x)
{
    ((fake_exchange *)x)->resumes++;
}

static inline void fake_begin(fake_exchange *f, const char *method)
{
    static const http_wire wire = {.respond = fake_respond,
                                   .start = fake_respond,
                                   .write = fake_write,
                                   .end = fake_end,
                                   .abort = fake_abort,
                                   .pending = fake_pending,
                                   .pause = fake_pause,
                                   .resume = fake_resume};
    *f = (fake_exchange){.x = {.wire = &wire}, .request = {.method = sv_cstr(method)}};
    f->request.headers = f->headers;
    f->x.request = &f->request;
    buf_init(&f->out, 8 << 20);
}

static inline void fake_header(fake_exchange *f, const char *name, const char *value)
{
    f->headers[f->request.n_headers++] = (http_header){sv_cstr(name), sv_cstr(value)};
}

static inline void fake_free(fake_exchange *f)
{
    buf_free(&f->out);
}

#endif
