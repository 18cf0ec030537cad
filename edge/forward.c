/*  forward.c - the request's fields are gathered as one JSON object and read by the message's own
 *  decoder, so that path, query and body are judged by the same rules and described by one table. */
#include "forward.h"

#include "api.h"
#include "error.h"
#include "http_parser.h"
#include "json_scan.h"
#include "message_view.h"
#include "reply.h"
#include "seal.h"
#include "session_cookie.h"
#include "utf8.h"

#include <stdio.h>

enum { VALUE_BYTES = 2048, REPLY_BYTES = 1 << 20, DEVICE_BYTES = 200, ADDRESS_TEXT = 46 };

static const sv_field *field_of(const sv_message *m, sv_str name)
{
    for (size_t i = 0; i < m->n; i++)
        if (sv_str_is(name, m->fields[i].name)) return &m->fields[i];
    return NULL;
}

static bool in_path(const edge_call *c, sv_str name)
{
    for (uint32_t i = 0; i < c->match.n; i++) {
        sv_str n = c->match.name[i];
        if (n.n == name.n && memcmp(n.p, name.p, n.n) == 0) return true;
    }
    return false;
}

static int unknown(sv_str name, sv_error *err)
{
    char text[64];
    snprintf(text, sizeof text, "%.*s", name.n < 60 ? (int)name.n : 60, name.p);
    return sv_fail(err, SV_E_UNKNOWN_FIELD, text, "\"%s\" is not known here.", text);
}

/* "name": before a value, with a comma before all but the first. */
static void put_name(buf *out, const char *name)
{
    if (out->n > 1) buf_putc(out, ',');
    buf_printf(out, "\"%s\":", name);
}

static void put_text(buf *out, const char *name, sv_str value)
{
    put_name(out, name);
    buf_putc(out, '"');
    buf_json_escape(out, value);
    buf_putc(out, '"');
}

/* ---- the body ---- */

/* Its members without the braces. What the edge says and what the path says is not the body's. */
static int put_body(edge_call *c, const sv_message *m, sv_str body, buf *out, sv_error *err)
{
    int rc = json_skim(body, LIMIT_DEPTH, err);
    if (rc) return rc;
    json_value root = json_root(body), value;
    if (root.type != JSON_OBJECT)
        return sv_fail(err, SV_E_WRONG_TYPE, NULL, "The body must be a JSON object.");
    size_t at = 0, n = 0;
    sv_str key;
    while (json_next_member(root, &at, &key, &value)) {
        const sv_field *f = field_of(m, key);
        if (f == NULL || f->rules & SV_EDGE || in_path(c, key)) return unknown(key, err);
        if (strcmp(f->name, "cookie") == 0 && value.type == JSON_TRUE) c->wants_cookie = true;
        n++;
    }
    if (n) buf_put(out, root.raw.p + 1, root.raw.n - 2);
    return 0;
}

/* ---- path and query ---- */

static int decode(sv_str raw, char text[VALUE_BYTES], sv_str *ret, const char *name, sv_error *err)
{
    uint32_t n = 0;
    if (raw.n >= VALUE_BYTES || !http_percent_decode(raw, text, VALUE_BYTES, &n) ||
        !utf8_valid((sv_str){text, n}) || memchr(text, 0, n))
        return sv_fail(err, SV_E_INVALID, name,
                       "\"%s\" must be UTF-8 text of at most %d bytes, percent-encoded.", name,
                       VALUE_BYTES - 1);
    *ret = (sv_str){text, n};
    return 0;
}

static bool is_integer(sv_str s)
{
    uint32_t i = s.n && s.p[0] == '-';
    if (i == s.n || s.n - i > 19 || (s.p[i] == '0' && s.n - i > 1)) return false;
    for (; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9') return false;
    return true;
}

/* A value as the field's type has it in JSON. */
static int put_value(const sv_field *f, sv_str raw, buf *out, sv_error *err)
{
    char text[VALUE_BYTES];
    sv_str value;
    int rc = decode(raw, text, &value, f->name, err);
    if (rc) return rc;
    if (f->type == SV_T_STR) {
        put_text(out, f->name, value);
        return 0;
    }
    bool ok = f->type == SV_T_INT    ? is_integer(value)
              : f->type == SV_T_BOOL ? sv_str_is(value, "true") || sv_str_is(value, "false")
                                     : false;
    if (!ok)
        return sv_fail(err, SV_E_WRONG_TYPE, f->name, "\"%s\" must be %s.", f->name,
                       f->type == SV_T_BOOL ? "true or false" : "a whole number");
    put_name(out, f->name);
    buf_put(out, value.p, value.n);
    return 0;
}

/* In a query browsers write a space as a plus. */
static int put_query_value(const sv_field *f, sv_str raw, buf *out, sv_error *err)
{
    char text[VALUE_BYTES];
    uint32_t n = raw.n < VALUE_BYTES ? raw.n : 0; /* a longer one is refused as it is */
    for (uint32_t i = 0; i < n; i++)
        text[i] = raw.p[i] == '+' ? ' ' : raw.p[i];
    return put_value(f, n ? (sv_str){text, n} : raw, out, err);
}

static int put_path(const edge_call *c, const sv_message *m, buf *out, sv_error *err)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < c->match.n; i++) {
        const sv_field *f = field_of(m, c->match.name[i]);
        if (f == NULL) return sv_fail(err, SV_E_INTERNAL, NULL, NULL);
        rc = put_value(f, c->match.value[i], out, err);
    }
    return rc;
}

static int put_query(const edge_call *c, const sv_message *m, const char *own, buf *out,
                     sv_error *err)
{
    sv_str q = c->x->request->query;
    uint32_t n = 0, at = 0;
    while (at < q.n) {
        const char *end = memchr(q.p + at, '&', q.n - at);
        sv_str pair = {q.p + at, (uint32_t)((end ? end : q.p + q.n) - (q.p + at))};
        at += pair.n + 1;
        if (pair.n == 0) continue;
        const char *eq = memchr(pair.p, '=', pair.n);
        sv_str name = {pair.p, eq ? (uint32_t)(eq - pair.p) : pair.n};
        sv_str value = {name.p + name.n + (eq != NULL), pair.n - name.n - (eq != NULL)};
        if (own && sv_str_is(name, own)) continue;
        const sv_field *f = field_of(m, name);
        bool says = f && !(f->rules & SV_EDGE) && !in_path(c, name) && c->x->request->body.n == 0;
        if (!says) return unknown(name, err);
        if (++n > FORWARD_QUERY)
            return sv_fail(err, SV_E_OUT_OF_RANGE, NULL, "There are more than %d parameters.",
                           FORWARD_QUERY);
        int rc = put_query_value(f, value, out, err);
        if (rc) return rc;
    }
    return 0;
}

/* ---- what the edge knows ---- */

/* The client's own words about itself, cut at a character. */
static sv_str device_of(const http_request *r)
{
    sv_str agent = http_header_get(r, "user-agent", NULL);
    uint32_t n = agent.n < DEVICE_BYTES ? agent.n : DEVICE_BYTES;
    while (n && n < agent.n && ((uint8_t)agent.p[n] & 0xc0) == 0x80)
        n--;
    return n && utf8_valid((sv_str){agent.p, n}) ? (sv_str){agent.p, n} : (sv_str){NULL, 0};
}

static void put_known(edge_call *c, const sv_message *m, buf *out)
{
    char address[ADDRESS_TEXT];
    for (size_t i = 0; i < m->n; i++) {
        const sv_field *f = &m->fields[i];
        if (!(f->rules & SV_EDGE)) continue;
        if (strcmp(f->name, "network") == 0) {
            http_address_text(&c->from, address);
            put_text(out, f->name, sv_cstr(address));
        } else if (strcmp(f->name, "device") == 0) {
            sv_str device = device_of(c->x->request);
            if (device.n) put_text(out, f->name, device);
        } else if (strcmp(f->name, "session") == 0 && c->who && c->who->session[0]) {
            put_text(out, f->name, sv_cstr(c->who->session));
        }
    }
}

/* A refresh token from the cookie, when the body has none. */
static int put_cookie(edge_call *c, const sv_message *m, buf *out, sv_error *err)
{
    sv_str token = {NULL, 0};
    bool takes = m == &auth_refresh_req_msg || m == &auth_logout_req_msg;
    json_value root = json_root(c->x->request->body);
    if (!takes || json_get(root, "refresh_token").type != JSON_NONE) return 0;
    int rc = session_cookie_read(c->x->request, &token, err);
    if (rc || token.n == 0) return rc;
    rc = origin_check_cookie(&c->e->origin, c->x->request, err);
    if (rc) return rc;
    put_text(out, "refresh_token", token);
    c->wants_cookie = true;
    return 0;
}

/* ---- one message ---- */

static int read_all(edge_call *c, const sv_message *m, const char *own, buf *json, sv_error *err)
{
    sv_str body = c->x->request->body;
    buf_putc(json, '{');
    int rc = body.n ? put_body(c, m, body, json, err) : 0;
    if (rc == 0) rc = put_path(c, m, json, err);
    if (rc == 0) rc = put_query(c, m, own, json, err);
    if (rc == 0) rc = put_cookie(c, m, json, err);
    if (rc) return rc;
    put_known(c, m, json);
    buf_putc(json, '}');
    return json->failed ? json->error : 0;
}

int forward_read(edge_call *c, const sv_message *m, const char *own, void **ret, sv_error *err)
{
    buf *json = &c->e->text, *packed = &c->e->packed;
    buf_reset(json, json->cap);
    buf_reset(packed, packed->cap);
    int rc = read_all(c, m, own, json, err);
    if (rc == 0) rc = message_from_json(m, buf_str(json), packed, err);
    if (rc) return rc;
    *ret = arena_alloc(&c->e->arena, m->size ? m->size : 1);
    sv_str kept = {arena_copy(&c->e->arena, buf_str(packed)), (uint32_t)packed->n};
    if (*ret == NULL || kept.p == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    return message_decode(m, kept, MESSAGE_STRICT, &c->e->arena, *ret, err);
}

int forward_send(edge_call *c, const char *target, const sv_message *m, const void *body,
                 const sv_events *events, sv_error *err)
{
    sv_request r = {.target = target,
                    .type = m,
                    .body = body,
                    .ttl_ms = FORWARD_MS,
                    .max_reply = REPLY_BYTES,
                    .trace = &c->trace,
                    .ticket = access_ticket(c->e->access, c->who)};
    c->stream = sv_open(c->e->p, &r, events, c, err);
    return c->stream ? 0 : err->code;
}

/* ---- the answer ---- */

static void answer(edge_call *c, const sv_item *item, const sv_message *m, int status)
{
    edge *e = c->e;
    sv_error err = {.code = 0};
    if (m == &bus_empty_msg) {
        if (c->wants_cookie) session_cookie_clear(c);
        reply_whole(c, status, NULL, (sv_str){NULL, 0}, NULL);
        return;
    }
    void *reply = arena_alloc(&e->arena, m->size);
    int rc = reply ? message_decode(m, item->body, MESSAGE_LENIENT, &e->arena, reply, &err)
                   : SV_E_NO_MEMORY;
    if (rc == 0 && m == &auth_login_reply_msg && c->wants_cookie) session_cookie_move(c, reply);
    buf_reset(&e->text, e->text.cap);
    if (rc == 0) rc = message_view(m, reply, &e->text);
    if (rc == 0) rc = buf_putc(&e->text, '\n');
    if (rc)
        reply_error(c, rc, &err);
    else
        reply_whole(c, status, "application/json", buf_str(&e->text), NULL);
}

void forward_answer(edge_call *c, sv_stream *s, int code, const sv_item *item, const sv_error *err,
                    const sv_message *m, int status)
{
    (void)s;
    c->stream = NULL;
    if (c->x->ended) return;
    if (code == SV_E_REFRESH_TOKEN && c->wants_cookie) session_cookie_clear(c);
    if (code)
        reply_error(c, code, err);
    else
        answer(c, item, m, status);
    arena_reset(&c->e->arena);
}

static void on_done(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    edge_call *c = arg;
    forward_answer(c, s, code, item, err, c->route->reply, c->route->status);
}

/* Passwords and keys that were passed on do not stay in what the edge has read and written of them. */
static void forget_secrets(edge_call *c, const void *body)
{
    sv_str read = c->x->request->body;
    if (!message_wipe(c->route->request, body)) return;
    seal_wipe(c->e->text.p, c->e->text.n);
    seal_wipe(c->e->packed.p, c->e->packed.n);
    if (read.n) seal_wipe((char *)(uintptr_t)read.p, read.n);
}

void api_forward(edge_call *c)
{
    static const sv_events events = {.done = on_done};
    void *body;
    sv_error err = {.code = 0};
    int rc = forward_read(c, c->route->request, NULL, &body, &err);
    if (rc == 0) {
        rc = forward_send(c, c->route->target, c->route->request, body, &events, &err);
        forget_secrets(c, body);
    }
    if (rc) reply_error(c, rc, &err);
}
