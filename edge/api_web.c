/*  api_web.c - answers from files. Small ones leave at once; of large ones a piece is read when the
 *  client has taken the one before, so that a slow client costs a piece and not a file. */
#include "api_web.h"

#include "api.h"
#include "error.h"
#include "log.h"
#include "openapi.h"
#include "reply.h"
#include "static.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

enum { PIECE_BYTES = 64 << 10, MAX_HEADERS = 14, RANGE_TEXT = 64, OPENAPI_BYTES = 4 << 20 };

static const char POLICY[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'; require-trusted-types-for 'script'";
static const char PERMISSIONS[] =
    "accelerometer=(), camera=(), display-capture=(), geolocation=(), "
    "gyroscope=(), magnetometer=(), microphone=(), midi=(), "
    "payment=(), usb=()";

static static_set *files;
static static_file document; /* openapi.json, once it was asked for */

/* ---- life ---- */

int web_open(const config *c, sv_error *err)
{
    char path[PATH_MAX] = "";
    const char *given = config_str(c, "edge.web_dir");
    if (given == NULL && !static_beside_bin(path, sizeof path))
        return sv_fail(err, SV_E_CONFIG, "edge.web_dir",
                       "Where this program lies is not known: set edge.web_dir.");
    int rc = static_open(given ? given : path, &files, err);
    if (rc == SV_E_NOT_FOUND && given == NULL) {
        log_write(LOG_WARN, "the pages are not installed: /login, /docs and the others are missing",
                  LOG_STR("folder", path));
        *err = (sv_error){.code = 0};
        return 0;
    }
    return rc;
}

void web_close(void)
{
    static_free(files);
    files = NULL;
    static_file_free(&document);
}

/* ---- the head ---- */

typedef struct head_text {
    http_header items[MAX_HEADERS];
    uint32_t n;
    char range[RANGE_TEXT];
} head_text;

static void add(head_text *h, const char *name, const char *value)
{
    h->items[h->n++] = (http_header){sv_cstr(name), sv_cstr(value)};
}

/* A document that runs in the browser, and under which rules. */
static void add_page(head_text *h)
{
    add(h, "content-security-policy", POLICY);
    add(h, "cross-origin-opener-policy", "same-origin");
    add(h, "cross-origin-resource-policy", "same-origin");
    add(h, "permissions-policy", PERMISSIONS);
}

static void fill(const static_file *f, const static_answer *a, head_text *h)
{
    const static_form *form = &f->forms[a->how];
    h->n = 0;
    add(h, "x-content-type-options", "nosniff");
    add(h, "referrer-policy", "no-referrer");
    if (f->page) add_page(h);
    add(h, "cache-control", f->immutable ? "public, max-age=31536000, immutable" : "no-cache");
    add(h, "etag", form->etag);
    add(h, "vary", "accept-encoding");
    if (a->status == 416) {
        snprintf(h->range, sizeof h->range, "bytes */%u", form->n);
        add(h, "content-range", h->range);
        return;
    }
    add(h, "last-modified", f->modified);
    if (a->status == 304) return;
    add(h, "accept-ranges", "bytes");
    if (coding_names[a->how]) add(h, "content-encoding", coding_names[a->how]);
    if (a->status == 206) {
        snprintf(h->range, sizeof h->range, "bytes %u-%u/%u", a->from, a->from + a->n - 1, form->n);
        add(h, "content-range", h->range);
    }
}

/* ---- large files ---- */

typedef struct sending {
    const static_form *form;
    uint32_t at, left;
} sending;

/* Cut short is all that can be said once the head is out. */
static void send_piece(edge_call *c)
{
    sending *s = c->data;
    char piece[PIECE_BYTES];
    size_t want = s->left < sizeof piece ? s->left : sizeof piece;
    uint32_t n = static_read(s->form, s->at, piece, (uint32_t)want);
    if (n == 0) {
        log_write(LOG_ERROR, "a file of edge.web_dir was changed while it was served",
                  LOG_STR("path", c->route->path));
        http_abort(c->x);
        return;
    }
    s->at += n;
    s->left -= n;
    http_write(c->x, (sv_str){piece, n});
    if (s->left == 0) http_end(c->x);
}

static void on_drained(http_exchange *x)
{
    if (!x->ended) send_piece(x->data);
}

static void send_large(edge_call *c, const http_response *head, const static_form *form,
                       const static_answer *a)
{
    sending *s = malloc(sizeof *s);
    if (s == NULL) {
        reply_error(c, SV_E_NO_MEMORY, NULL);
        return;
    }
    *s = (sending){.form = form, .at = a->from, .left = a->n};
    c->data = s;
    c->data_free = free;
    c->x->on_drained = on_drained;
    reply_own(c, head, false);
    send_piece(c);
}

/* ---- handlers ---- */

static void send_file(edge_call *c, const static_file *f)
{
    head_text h;
    static_answer a;
    const http_request *r = c->x->request;
    static_choose(f, r, &a);
    const static_form *form = &f->forms[a.how];
    fill(f, &a, &h);
    bool body = a.status == 200 || a.status == 206;
    http_response out = {.status = a.status,
                         .content_type = sv_cstr(body ? f->type : NULL),
                         .headers = h.items,
                         .n_headers = h.n,
                         .has_length = body,
                         .length = a.n};
    if (body && form->bytes == NULL && !sv_str_is(r->method, "HEAD")) {
        send_large(c, &out, form, &a);
        return;
    }
    if (body && form->bytes) out.body = (sv_str){form->bytes + a.from, a.n};
    reply_own(c, &out, true);
}

void api_static(edge_call *c)
{
    const static_file *f = static_find(files, c->x->request->path);
    if (f)
        send_file(c, f);
    else
        reply_refuse(c, SV_E_HTTP_NOT_FOUND, NULL, "There is no such page.");
}

static int build_document(edge_call *c)
{
    buf text;
    buf_init(&text, OPENAPI_BYTES);
    int rc = openapi_build(&text);
    if (rc == 0)
        rc = static_file_make(&document, "application/json",
                              (int64_t)(loop_unix_us(c->e->l) / 1000000), &text);
    if (rc) buf_free(&text);
    return rc;
}

void api_openapi(edge_call *c)
{
    int rc = document.type ? 0 : build_document(c);
    if (rc)
        reply_error(c, rc, NULL);
    else
        send_file(c, &document);
}
