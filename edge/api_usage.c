/*  api_usage.c - GET /api/usage and /api/usage/export: what was used, added up over all routers.
 *
 *  Each router keeps a ledger of its own and answers for it alone. Who is there says bus.services;
 *  each is asked page by page, one after the other, and rows of the same name are added. A router that
 *  does not answer fails the whole: a sum that lacks something must not look complete. Users see what
 *  they have used themselves, administrators of an organization what it has, those of the platform
 *  all. */
#include "api.h"

#include "error.h"
#include "fnv.h"
#include "forward.h"
#include "message_view.h"
#include "reply.h"
#include "uuid.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define MOST 9007199254740991

enum {
    ROWS_MOST = 10000,
    NAME_ARENA = 8 << 20,
    SLOTS = 4 * 4096, /* of the table of names: more than ROWS_MOST */
    ROUTERS = 64,
    NUMBERS = 16, /* of a row, behind its name */
    TEXT_BYTES = 16 << 20,
    FILTERS = 4096
};

typedef enum usage_form { AS_JSON, AS_CSV, AS_LINES } usage_form;

typedef struct usage {
    usage_form form;
    router_usage_req request; /* its text, and that of rows, is in `names` */
    arena names;
    uint32_t routers[ROUTERS], n_routers, at;
    buf after;
    router_usage_row rows[ROWS_MOST], total;
    uint64_t seed;            /* names are of clients' making */
    uint32_t n, slots[SLOTS]; /* 1 + index */
} usage;

static void ask(edge_call *c);

static void usage_free(void *data)
{
    usage *u = data;
    arena_free(&u->names);
    buf_free(&u->after);
    free(u);
}

/* ---- adding up ---- */

static int64_t *number(router_usage_row *r, int i)
{
    return (int64_t *)(void *)((char *)r + router_usage_row_msg.fields[1 + i].offset);
}

static void add(router_usage_row *to, router_usage_row *more)
{
    for (int i = 0; i < NUMBERS; i++) {
        int64_t a = *number(to, i), b = *number(more, i);
        *number(to, i) = a > MOST - b ? MOST : a + b;
    }
}

static int take_row(usage *u, router_usage_row *row, sv_error *err)
{
    uint64_t h = fnv_more(u->seed, row->name);
    uint32_t at = (uint32_t)(h ^ h >> 32) % SLOTS;
    while (u->slots[at] && !sv_str_eq(u->rows[u->slots[at] - 1].name, row->name))
        at = (at + 1) % SLOTS;
    if (u->slots[at] == 0) {
        if (u->n == ROWS_MOST)
            return sv_fail(err, SV_E_TOO_LARGE, "from",
                           "The report has more than %d rows: give from, to or a filter.",
                           ROWS_MOST);
        char *copy = arena_copy(&u->names, row->name.n ? row->name : (sv_str){"", 0});
        if (copy == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
        u->rows[u->n] = (router_usage_row){.name = {copy, row->name.n}};
        u->slots[at] = ++u->n;
    }
    add(&u->rows[u->slots[at] - 1], row);
    add(&u->total, row);
    return 0;
}

/* ---- the answer ---- */

static int by_name(const void *a, const void *b)
{
    sv_str x = ((const router_usage_row *)a)->name, y = ((const router_usage_row *)b)->name;
    uint32_t n = x.n < y.n ? x.n : y.n;
    int order = n ? memcmp(x.p, y.p, n) : 0;
    return order ? order : (x.n > y.n) - (x.n < y.n);
}

/* Dearest first, then most asked. */
static int by_price(const void *a, const void *b)
{
    const router_usage_row *x = a, *y = b;
    if (x->price != y->price) return x->price < y->price ? 1 : -1;
    if (x->requests != y->requests) return x->requests < y->requests ? 1 : -1;
    return by_name(a, b);
}

static void put_cell(buf *out, sv_str s)
{
    bool formula = s.n && memchr("=+-@\t\r\n", s.p[0], 7);
    buf_putc(out, '"');
    if (formula) buf_putc(out, '\''); /* a spreadsheet shows it and does not run it */
    for (uint32_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"') buf_putc(out, '"');
        buf_putc(out, s.p[i]);
    }
    buf_putc(out, '"');
}

static void put_csv(usage *u, buf *out)
{
    buf_printf(out, "name");
    for (int i = 0; i < NUMBERS; i++)
        buf_printf(out, ",%s", router_usage_row_msg.fields[1 + i].name);
    buf_puts(out, "\r\n");
    for (uint32_t k = 0; k < u->n; k++) {
        put_cell(out, u->rows[k].name);
        for (int i = 0; i < NUMBERS; i++)
            buf_printf(out, ",%" PRId64, *number(&u->rows[k], i));
        buf_puts(out, "\r\n");
    }
}

static void put_row(router_usage_row *r, bool with_name, buf *out)
{
    buf_putc(out, '{');
    if (with_name) {
        buf_puts(out, "\"name\":\"");
        buf_json_escape(out, r->name);
        buf_puts(out, "\",");
    }
    for (int i = 0; i < NUMBERS; i++)
        buf_printf(out, "%s\"%s\":%" PRId64, i ? "," : "", router_usage_row_msg.fields[1 + i].name,
                   *number(r, i));
    buf_putc(out, '}');
}

static void put_json(usage *u, buf *out)
{
    buf_printf(out, "{\"by\":\"%.*s\",\"rows\":[", SV_FMT(u->request.by));
    for (uint32_t k = 0; k < u->n; k++) {
        if (k) buf_putc(out, ',');
        put_row(&u->rows[k], true, out);
    }
    buf_puts(out, "],\"total\":");
    put_row(&u->total, false, out);
    buf_printf(out, ",\"routers\":%u}\n", u->n_routers);
}

static void answer(edge_call *c)
{
    static const char *const types[] = {"application/json", "text/csv; charset=utf-8",
                                        "application/x-ndjson"};
    usage *u = c->data;
    buf out;
    buf_init(&out, TEXT_BYTES);
    if (u->n)
        qsort(u->rows, u->n, sizeof *u->rows, sv_str_is(u->request.by, "day") ? by_name : by_price);
    if (u->form == AS_JSON) put_json(u, &out);
    if (u->form == AS_CSV) put_csv(u, &out);
    for (uint32_t k = 0; u->form == AS_LINES && k < u->n; k++) {
        put_row(&u->rows[k], true, &out);
        buf_putc(&out, '\n');
    }
    if (out.failed)
        reply_error(c, out.error, NULL);
    else
        reply_whole(c, 200, types[u->form], buf_str(&out), NULL);
    buf_free(&out);
}

/* ---- asking ---- */

static int take_page(usage *u, const router_usage_reply *page, sv_error *err)
{
    router_usage_row *rows = page->rows.items;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < page->rows.n; i++)
        rc = take_row(u, &rows[i], err);
    buf_reset(&u->after, u->after.cap);
    if (rc == 0 && page->next.n) rc = buf_put(&u->after, page->next.p, page->next.n);
    return rc;
}

static void on_page(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    edge_call *c = arg;
    usage *u = c->data;
    router_usage_reply page;
    sv_error own = {.code = 0};
    (void)s;
    c->stream = NULL;
    if (c->x->ended) return;
    if (code == 0) {
        err = &own;
        code = message_decode(&router_usage_reply_msg, item->body, MESSAGE_LENIENT, &c->e->arena,
                              &page, &own);
    }
    if (code == 0) code = take_page(u, &page, &own);
    arena_reset(&c->e->arena);
    if (code) {
        reply_error(c, code, err);
        return;
    }
    if (u->after.n == 0) u->at++;
    ask(c);
}

/* The next page, or the answer when all have told all. */
static void ask(edge_call *c)
{
    static const sv_events events = {.done = on_page};
    usage *u = c->data;
    char target[32];
    sv_error err = {.code = 0};
    if (u->at == u->n_routers) {
        answer(c);
        return;
    }
    snprintf(target, sizeof target, "router/%u.usage", u->routers[u->at]);
    u->request.after = buf_str(&u->after);
    int rc = access_holds(c->e->access, c->who, &err); /* it may have ended since the last page */
    if (rc == 0) rc = forward_send(c, target, &router_usage_req_msg, &u->request, &events, &err);
    if (rc) reply_error(c, rc, &err);
}

static int find_routers(usage *u, const bus_services_reply *who, sv_error *err)
{
    const bus_service_instance *list = who->instances.items;
    for (uint32_t i = 0; i < who->instances.n; i++) {
        if (!sv_str_is(list[i].service, "router") || list[i].methods.n == 0) continue;
        if (u->n_routers == ROUTERS)
            return sv_fail(err, SV_E_TOO_LARGE, NULL, "There are more than %d routers.", ROUTERS);
        u->routers[u->n_routers++] = (uint32_t)list[i].instance;
    }
    if (u->n_routers) return 0;
    return sv_fail(err, SV_E_UNAVAILABLE, NULL, "No router answers for what was used.");
}

static void on_services(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    edge_call *c = arg;
    bus_services_reply who;
    sv_error own = {.code = 0};
    (void)s;
    c->stream = NULL;
    if (c->x->ended) return;
    if (code == 0) {
        err = &own;
        code = message_decode(&bus_services_reply_msg, item->body, MESSAGE_LENIENT, &c->e->arena,
                              &who, &own);
    }
    if (code == 0) code = find_routers(c->data, &who, &own);
    arena_reset(&c->e->arena);
    if (code)
        reply_error(c, code, err);
    else
        ask(c);
}

/* ---- who sees what ---- */

static int only(sv_str *field, const char *own, const char *name, sv_error *err)
{
    if (field->n && !sv_str_is(*field, own))
        return sv_fail(err, SV_E_ROLE, name, "You may not see what others have used.");
    *field = sv_cstr(own);
    return 0;
}

static int narrow(const identity *who, router_usage_req *q, sv_error *err)
{
    bool all =
        who->is_operator || (who->platform && (!who->by_key || who->scopes & 1u << SCOPE_ADMIN));
    if (all) return 0;
    if (who->role >= WHO_ADMIN && who->role <= WHO_OWNER)
        return only(&q->org, who->org, "org", err);
    int rc = only(&q->user, who->user, "user", err);
    if (rc == 0 && (who->by_key || q->org.n)) rc = only(&q->org, who->org, "org", err);
    return rc;
}

static bool keep(arena *a, sv_str *s)
{
    if (s->p == NULL) return true;
    s->p = arena_copy(a, *s);
    return s->p != NULL;
}

/* Copies the question: it is asked more than once. */
static usage *usage_new(const router_usage_req *q, usage_form form)
{
    usage *u = calloc(1, sizeof *u);
    if (u == NULL) return NULL;
    u->form = form;
    uuid_random(&u->seed, sizeof u->seed);
    u->request = *q;
    if (u->request.by.n == 0) u->request.by = sv_cstr("day");
    arena_init(&u->names, NAME_ARENA);
    buf_init(&u->after, FILTERS);
    router_usage_req *r = &u->request;
    sv_str *const texts[] = {&r->by,  &r->from, &r->to,    &r->org,
                             &r->key, &r->user, &r->model, &r->provider};
    bool ok = true;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        ok = ok && keep(&u->names, texts[i]);
    if (ok) return u;
    usage_free(u);
    return NULL;
}

static void begin(edge_call *c, usage_form form)
{
    static const sv_events events = {.done = on_services};
    void *request;
    sv_error err = {.code = 0};
    int rc = forward_read(c, &router_usage_req_msg, "format", &request, &err);
    if (rc == 0) rc = narrow(c->who, request, &err);
    if (rc == 0) {
        c->data = usage_new(request, form);
        c->data_free = usage_free;
        if (c->data == NULL) rc = SV_E_NO_MEMORY;
    }
    if (rc == 0)
        rc = forward_send(c, "bus.services", &bus_empty_msg, &(bus_empty){}, &events, &err);
    if (rc) reply_error(c, rc, &err);
}

void api_usage(edge_call *c)
{
    if (http_query_get(c->x->request->query, "format").n)
        reply_refuse(c, SV_E_UNKNOWN_FIELD, "format",
                     "For a file ask /api/usage/export?format=csv or jsonl.");
    else
        begin(c, AS_JSON);
}

void api_usage_export(edge_call *c)
{
    sv_str format = http_query_get(c->x->request->query, "format");
    if (format.n == 0 || sv_str_is(format, "csv"))
        begin(c, AS_CSV);
    else if (sv_str_is(format, "jsonl"))
        begin(c, AS_LINES);
    else
        reply_refuse(c, SV_E_INVALID, "format", "\"format\" must be csv or jsonl.");
}
