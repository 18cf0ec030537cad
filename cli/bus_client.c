/*  bus_client.c - a call is opened, then the loop turns until its `done`. */
#include "bus_client.h"

#include "error.h"
#include "log.h"
#include "seal.h"
#include "sv_limits.h"

#include <stdio.h>
#include <unistd.h>

typedef struct pending {
    bool over;
    int code;
    buf *reply;
    sv_error *err;
} pending;

static bool connected(void *arg)
{
    bus_client *b = arg;
    return sv_connected(b->process);
}

int bus_client_open(bus_client *b, const config *c, uint32_t patience_ms, sv_error *err)
{
    /* A tool speaks to people through its exit code and its own words. */
    log_init("samovar", 0, LOG_ERROR, STDERR_FILENO);
    b->process = sv_tool_start(c, NULL, err);
    if (b->process == NULL) return err->code;
    int rc = sv_tool_wait(b->process, connected, b, patience_ms);
    if (rc == 0) return 0;
    bus_client_close(b);
    if (rc == SV_E_DEADLINE)
        return sv_fail(
            err, SV_E_UNAVAILABLE, NULL,
            "The broker at %.100s/bus.ipc does not answer. Is the platform up? samovar ps "
            "tells",
            config_run(c));
    return sv_fail(err, rc, NULL, NULL);
}

void bus_client_close(bus_client *b)
{
    if (b->process) sv_tool_stop(b->process);
    b->process = NULL;
}

static void call_done(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    (void)s;
    pending *p = arg;
    p->over = true;
    p->code = code;
    if (code && err)
        *p->err = *err;
    else if (code == 0 && buf_put(p->reply, item->body.p ? item->body.p : "", item->body.n))
        p->code = sv_fail(p->err, SV_E_TOO_LARGE, NULL, "The answer is too large.");
}

static bool is_over(void *arg)
{
    return ((pending *)arg)->over;
}

int bus_client_call(bus_client *b, const char *target, sv_str request, uint32_t ttl_ms, buf *reply,
                    sv_error *err)
{
    static const sv_events events = {.done = call_done};
    sv_error failed = {.code = 0};
    pending p = {.reply = reply, .err = &failed};
    sv_request r = {.target = target, .raw = request, .ttl_ms = ttl_ms, .max_reply = reply->max};
    sv_stream *s = sv_open(b->process, &r, &events, &p, err);
    if (s == NULL) return err && err->code ? err->code : SV_E_INTERNAL;
    int rc = sv_tool_wait(b->process, is_over, &p, ttl_ms + 1000);
    if (rc) {
        if (!p.over) sv_cancel(s);
        return sv_fail(err, rc, NULL, NULL);
    }
    if (p.code == 0) return 0;
    return sv_fail(err, p.code, failed.field, failed.message[0] ? "%s" : NULL, failed.message);
}

int bus_answer(const sv_message *type, sv_str bytes, arena *a, void *ret, sv_error *err)
{
    char *copy = arena_copy(a, bytes);
    if (copy == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    return message_decode(type, (sv_str){copy, bytes.n}, MESSAGE_LENIENT, a, ret, err);
}

static void wipe(buf *b)
{
    if (b->p) seal_wipe(b->p, b->n);
    buf_free(b);
}

int bus_client_request(bus_client *b, const char *target, const sv_message *request_type,
                       const void *request, uint32_t ttl_ms, const sv_message *type, arena *a,
                       void *ret, sv_error *err)
{
    buf packed, reply;
    buf_init(&packed, LIMIT_MESSAGE_BYTES);
    buf_init(&reply, BUS_ANSWER_BYTES);
    int rc = message_encode(request_type, request, &packed);
    if (rc)
        sv_fail(err, rc, NULL, NULL);
    else
        rc = bus_client_call(b, target, buf_str(&packed), ttl_ms, &reply, err);
    if (rc == 0) rc = bus_answer(type, buf_str(&reply), a, ret, err);
    wipe(&packed);
    wipe(&reply);
    return rc;
}

int bus_client_ask(bus_client *b, const char *target, const sv_message *type, uint32_t ttl_ms,
                   arena *a, void *ret, sv_error *err)
{
    static const bus_empty nothing;
    return bus_client_request(b, target, &bus_empty_msg, &nothing, ttl_ms, type, a, ret, err);
}

int bus_client_once(const config *c, const char *target, const sv_message *request_type,
                    const void *request, uint32_t ttl_ms, const sv_message *type, arena *a,
                    void *ret, sv_error *err)
{
    bus_client b = {NULL};
    int rc = bus_client_open(&b, c, BUS_PATIENCE_MS, err);
    if (rc == 0)
        rc = bus_client_request(&b, target, request_type, request, ttl_ms, type, a, ret, err);
    bus_client_close(&b);
    return rc;
}
