/*  api_audit.c - GET /api/audit: a page of the audit log as JSON, or with ?format=jsonl or csv all that
 *  the question finds, page by page, as a file. The next page is asked for when the client has taken
 *  most of the last one. */
#include "api.h"

#include "error.h"
#include "forward.h"
#include "message_view.h"
#include "reply.h"

#include <inttypes.h>
#include <stdlib.h>

typedef struct audit_export {
    bool csv;
    auth_audit_req request; /* its text is in `text` */
    char *text;
} audit_export;

static void ask(edge_call *c);

static void put_cell(buf *out, sv_str s, bool last)
{
    bool formula = s.n && memchr("=+-@\t\r", s.p[0], 6);
    buf_putc(out, '"');
    if (formula) buf_putc(out, '\''); /* a spreadsheet shows it and does not run it */
    for (uint32_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"') buf_putc(out, '"');
        buf_putc(out, s.p[i]);
    }
    buf_puts(out, last ? "\"\r\n" : "\",");
}

static void put_row(buf *out, const auth_audit_event *e)
{
    buf_printf(out, "%" PRId64 ",%" PRId64 ",", e->number, e->at);
    put_cell(out, e->event, false);
    put_cell(out, e->actor, false);
    put_cell(out, e->target, false);
    put_cell(out, e->network, false);
    put_cell(out, e->hash, true);
}

static void start(edge_call *c, bool csv)
{
    reply_start(c, 200, sv_cstr(csv ? "text/csv; charset=utf-8" : "application/x-ndjson"), NULL);
    c->streaming = true;
    if (csv) http_write(c->x, sv_cstr("number,at,event,actor,target,network,hash\r\n"));
}

static void write_page(edge_call *c, const auth_audit_reply *page, bool csv)
{
    const auth_audit_event *events = page->events.items;
    buf *out = &c->e->text;
    buf_reset(out, out->cap);
    for (uint32_t i = 0; i < page->events.n; i++) {
        if (csv) {
            put_row(out, &events[i]);
        } else {
            message_view(&auth_audit_event_msg, &events[i], out);
            buf_putc(out, '\n');
        }
    }
    http_write(c->x, buf_str(out));
}

static void on_drained(http_exchange *x)
{
    edge_call *c = x->data;
    if (c->stream == NULL && !x->ended) ask(c);
}

static void fail(edge_call *c, int code, const sv_error *err)
{
    if (c->streaming)
        http_abort(c->x); /* a file that is cut must not look whole */
    else
        reply_error(c, code, err);
}

static void on_page(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    edge_call *c = arg;
    audit_export *x = c->data;
    auth_audit_reply page;
    sv_error own = {.code = 0};
    (void)s;
    c->stream = NULL;
    if (c->x->ended) return;
    if (code == 0) {
        code = message_decode(&auth_audit_reply_msg, item->body, MESSAGE_LENIENT, &c->e->arena,
                              &page, &own);
        err = &own;
    }
    if (code) {
        fail(c, code, err);
        return;
    }
    if (!c->streaming) start(c, x->csv);
    write_page(c, &page, x->csv);
    x->request.after = page.next;
    arena_reset(&c->e->arena);
    if (page.next == 0)
        http_end(c->x);
    else if (http_pending(c->x) < c->e->output_bytes / 2)
        ask(c);
}

static void ask(edge_call *c)
{
    static const sv_events events = {.done = on_page};
    audit_export *x = c->data;
    sv_error err = {.code = 0};
    int rc = access_holds(c->e->access, c->who, &err); /* it may have ended since the last page */
    if (rc == 0)
        rc = forward_send(c, "auth.audit", &auth_audit_req_msg, &x->request, &events, &err);
    if (rc) fail(c, rc, &err);
}

static void export_free(void *data)
{
    audit_export *x = data;
    free(x->text);
    free(x);
}

/* Copies the question: it is asked more than once. */
static audit_export *export_new(const auth_audit_req *q, bool csv)
{
    const sv_str *from[] = {&q->chain, &q->event, &q->actor, &q->target};
    audit_export *x = calloc(1, sizeof *x);
    if (x == NULL) return NULL;
    *x = (audit_export){.csv = csv, .request = *q, .text = malloc(512)};
    sv_str *to[] = {&x->request.chain, &x->request.event, &x->request.actor, &x->request.target};
    char *at = x->text;
    for (size_t i = 0; at && i < sizeof from / sizeof *from; i++) { /* their limits add up to 196 */
        if (from[i]->n == 0) continue;
        *to[i] = (sv_str){at, from[i]->n};
        at = mempcpy(at, from[i]->p, from[i]->n);
    }
    if (at) return x;
    free(x);
    return NULL;
}

static void on_json(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    forward_answer(arg, s, code, item, err, &auth_audit_reply_msg, 200);
}

void api_audit(edge_call *c)
{
    static const sv_events json = {.done = on_json};
    sv_str format = http_query_get(c->x->request->query, "format");
    bool csv = sv_str_is(format, "csv"), lines = sv_str_is(format, "jsonl");
    void *request;
    sv_error err = {.code = 0};
    if (format.n && !csv && !lines && !sv_str_is(format, "json")) {
        reply_refuse(c, SV_E_INVALID, "format", "\"format\" must be json, jsonl or csv.");
        return;
    }
    int rc = forward_read(c, &auth_audit_req_msg, "format", &request, &err);
    if (rc == 0 && !csv && !lines) {
        rc = forward_send(c, "auth.audit", &auth_audit_req_msg, request, &json, &err);
    } else if (rc == 0) {
        c->data = export_new(request, csv);
        c->data_free = export_free;
        c->x->on_drained = on_drained;
        if (c->data)
            ask(c);
        else
            rc = SV_E_NO_MEMORY;
    }
    if (rc) reply_error(c, rc, &err);
}
