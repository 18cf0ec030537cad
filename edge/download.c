/*  download.c - first the file's info, then its bytes piece by piece. `unread` says that the client
 *  has yet to take what was written last: on_drained clears it, and only then the next piece is asked
 *  for. */
#include "download.h"

#include "byte_range.h"
#include "error.h"
#include "log.h"

#include <stdio.h>
#include <stdlib.h>

enum { FILE_ID = 36, CALL_MS = 30000, NAME_BYTES = 255, TYPE_BYTES = 128, INFO_ARENA = 8192 };

struct download {
    sv_process *p;
    http_exchange *x;
    download_events events;
    void *arg;
    sv_trace trace;
    sv_stream *stream;
    char id[FILE_ID + 1];
    bool head_only;
    char range[DOWNLOAD_HEADER_BYTES], if_range[DOWNLOAD_HEADER_BYTES];
    char none_match[DOWNLOAD_HEADER_BYTES];
    uint32_t range_n, if_range_n, none_match_n;
    /* the bytes to come */
    uint64_t at, left;
    size_t piece; /* of the piece that comes: bytes still missing */
    bool started, unread;
    uint32_t owed_items; /* received and not yet granted again */
    size_t owed_bytes;
};

static void over(download *d, int code, const sv_error *err)
{
    download_events events = d->events;
    void *arg = d->arg;
    free(d);
    events.done(arg, code, err);
}

/* ---- the head ---- */

typedef struct head_text {
    char type[TYPE_BYTES], tag[80], range[80], name[4 * NAME_BYTES + 64];
} head_text;

static bool is_attr_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c && strchr("!#$&+-.^_`|~", c));
}

/* RFC 6266: the name for old clients, without what they misread, and the name itself (RFC 8187). */
static void put_disposition(sv_str name, char *to)
{
    static const char hex[] = "0123456789ABCDEF";
    to = stpcpy(to, "attachment; filename=\"");
    for (uint32_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        if (((uint8_t)c & 0xc0) == 0x80) continue; /* one mark for each character */
        bool plain = c >= ' ' && c <= '~' && c != '"' && c != '\\' && c != '%';
        *to++ = plain ? c : '_';
    }
    to = stpcpy(to, "\"; filename*=UTF-8''");
    for (uint32_t i = 0; i < name.n; i++) {
        uint8_t b = (uint8_t)name.p[i];
        if (is_attr_char(name.p[i])) {
            *to++ = name.p[i];
            continue;
        }
        *to++ = '%';
        *to++ = hex[b >> 4];
        *to++ = hex[b & 15];
    }
    *to = 0;
}

static void put_type(sv_str type, char to[TYPE_BYTES])
{
    if (type.n == 0) type = sv_cstr("application/octet-stream");
    bool text = type.n > 5 && memcmp(type.p, "text/", 5) == 0;
    snprintf(to, TYPE_BYTES, "%.*s%s", SV_FMT(type), text ? "; charset=utf-8" : "");
}

/* What the request and the file come to: the status, and which bytes. */
static int choose(download *d, const workspace_file_info *f, const char *tag)
{
    uint64_t size = (uint64_t)f->size, from, n;
    d->at = 0;
    d->left = size;
    if (d->none_match_n && etag_listed((sv_str){d->none_match, d->none_match_n}, sv_cstr(tag)))
        return 304;
    if (d->range_n == 0) return 200;
    if (d->if_range_n && !sv_str_is((sv_str){d->if_range, d->if_range_n}, tag)) return 200;
    switch (byte_range_read((sv_str){d->range, d->range_n}, size, &from, &n)) {
    case RANGE_WHOLE: return 200;
    case RANGE_BEYOND: return 416;
    case RANGE_PART: break;
    }
    d->at = from;
    d->left = n;
    return 206;
}

/* Answers with the head; true when bytes follow. */
static bool answer_head(download *d, const workspace_file_info *f)
{
    head_text t;
    http_header headers[8];
    uint32_t n = 0;
    snprintf(t.tag, sizeof t.tag, "\"%.*s\"", SV_FMT(f->sha256));
    int status = choose(d, f, t.tag);
    headers[n++] = (http_header){sv_cstr("etag"), sv_cstr(t.tag)};
    headers[n++] = (http_header){sv_cstr("cache-control"), sv_cstr("private, no-cache")};
    headers[n++] = (http_header){sv_cstr("x-content-type-options"), sv_cstr("nosniff")};
    headers[n++] = (http_header){sv_cstr("content-security-policy"),
                                 sv_cstr("sandbox; default-src 'none'; frame-ancestors 'none'")};
    headers[n++] = (http_header){sv_cstr("accept-ranges"), sv_cstr("bytes")};
    bool bytes = status == 200 || status == 206;
    t.range[0] = t.type[0] = 0;
    if (bytes) {
        put_disposition(f->name, t.name);
        put_type(f->type, t.type);
        headers[n++] = (http_header){sv_cstr("content-disposition"), sv_cstr(t.name)};
    }
    if (status == 206)
        snprintf(t.range, sizeof t.range, "bytes %llu-%llu/%lld", (unsigned long long)d->at,
                 (unsigned long long)(d->at + d->left - 1), (long long)f->size);
    if (status == 416) snprintf(t.range, sizeof t.range, "bytes */%lld", (long long)f->size);
    if (t.range[0]) headers[n++] = (http_header){sv_cstr("content-range"), sv_cstr(t.range)};
    bool whole = !bytes || d->head_only;
    http_response r = {.status = status,
                       .content_type = t.type[0] ? sv_cstr(t.type) : (sv_str){NULL, 0},
                       .headers = headers,
                       .n_headers = n};
    d->started = true;
    d->events.head(d->arg, &r, whole, bytes ? d->left : 0);
    return !whole;
}

/* ---- bytes ---- */

static void next_piece(download *d);

static void grant(download *d)
{
    if (d->stream && d->owed_items) sv_consumed(d->stream, d->owed_items, d->owed_bytes);
    d->owed_items = 0;
    d->owed_bytes = 0;
}

static void cut(download *d, int code, const sv_error *err)
{
    http_abort(d->x);
    over(d, code, err);
}

static void on_bytes(void *arg, sv_stream *s, const sv_item *item)
{
    (void)s;
    download *d = arg;
    sv_str bytes = item->attachment;
    d->owed_items++;
    d->owed_bytes += item->body.n + bytes.n;
    if (bytes.n > d->piece) bytes.n = (uint32_t)d->piece; /* never more than was asked for */
    d->piece -= bytes.n;
    d->at += bytes.n;
    d->left -= bytes.n;
    if (bytes.n == 0) return;
    d->unread = true;
    http_write(d->x, bytes);
}

static void on_piece_done(void *arg, sv_stream *s, int code, const sv_item *item,
                          const sv_error *err)
{
    (void)s, (void)item;
    download *d = arg;
    d->stream = NULL;
    if (code == 0 && d->piece > 0) code = SV_E_INTERNAL;
    if (code) {
        cut(d, code, err);
        return;
    }
    if (d->left == 0) {
        http_end(d->x);
        over(d, 0, NULL);
        return;
    }
    if (!d->unread) next_piece(d);
}

static int ask(download *d, sv_request *r, const sv_events *events, sv_error *err)
{
    r->trace = &d->trace;
    r->ticket = d->events.ticket(d->arg);
    r->ttl_ms = CALL_MS;
    r->idempotent = true;
    d->stream = sv_open(d->p, r, events, d, err);
    return d->stream ? 0 : err->code ? err->code : SV_E_NO_MEMORY;
}

static void next_piece(download *d)
{
    static const sv_events events = {.item = on_bytes, .done = on_piece_done};
    sv_error err = {0};
    d->piece = d->left < DOWNLOAD_PIECE_BYTES ? (size_t)d->left : DOWNLOAD_PIECE_BYTES;
    workspace_file_read_req q = {
        .id = sv_cstr(d->id), .offset = (int64_t)d->at, .n = (int64_t)d->piece};
    sv_request r = {.target = "workspace.file_read",
                    .type = &workspace_file_read_req_msg,
                    .body = &q,
                    .stream = true,
                    .window_bytes = DOWNLOAD_PIECE_BYTES};
    d->owed_items = 0;
    d->owed_bytes = 0;
    int rc = ask(d, &r, &events, &err);
    if (rc) cut(d, rc, &err);
}

void download_drained(download *d)
{
    if (!d->unread) return;
    d->unread = false;
    grant(d);
    if (d->stream == NULL && d->left > 0) next_piece(d);
}

/* ---- info ---- */

static void on_info(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    (void)s;
    download *d = arg;
    workspace_file_reply reply;
    sv_error why = {0};
    arena a;
    d->stream = NULL;
    if (code) {
        over(d, code, err);
        return;
    }
    arena_init(&a, INFO_ARENA);
    code = message_decode(&workspace_file_reply_msg, item->body, MESSAGE_LENIENT, &a, &reply, &why);
    if (code == 0 && (reply.file == NULL || reply.file->size < 0)) {
        sv_fail(&why, SV_E_INTERNAL, NULL, NULL);
        code = SV_E_INTERNAL;
    }
    bool bytes = code == 0 && answer_head(d, reply.file);
    arena_free(&a);
    if (!bytes) {
        over(d, code, code ? &why : NULL);
    } else if (d->left == 0) { /* an empty file */
        http_end(d->x);
        over(d, 0, NULL);
    } else {
        next_piece(d);
    }
}

/* A header that is there once and not too long. */
static uint32_t take(const http_request *r, const char *name, char to[DOWNLOAD_HEADER_BYTES])
{
    uint32_t n = 0;
    sv_str v = http_header_get(r, name, &n);
    if (n != 1 || v.n > DOWNLOAD_HEADER_BYTES) return 0;
    if (v.n) memcpy(to, v.p, v.n);
    return v.n;
}

/* A range of a version that cannot be told is none. */
static void take_conditions(download *d, const http_request *r)
{
    uint32_t n = 0;
    d->head_only = sv_str_is(r->method, "HEAD");
    d->none_match_n = take(r, "if-none-match", d->none_match);
    d->if_range_n = take(r, "if-range", d->if_range);
    http_header_get(r, "if-range", &n);
    bool ranges = !d->head_only && (n == 0 || d->if_range_n > 0);
    d->range_n = ranges ? take(r, "range", d->range) : 0;
}

int download_begin(sv_process *p, http_exchange *x, sv_str id, const sv_trace *trace,
                   const download_events *events, void *arg, download **ret, sv_error *err)
{
    static const sv_events info = {.done = on_info};
    if (id.n == 0 || id.n > FILE_ID)
        return sv_fail(err, SV_E_NOT_FOUND, "id", "There is no such file.");
    download *d = calloc(1, sizeof *d);
    if (d == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    d->p = p;
    d->x = x;
    d->events = *events;
    d->arg = arg;
    d->trace = *trace;
    memcpy(d->id, id.p, id.n);
    take_conditions(d, x->request);
    workspace_file_req q = {.id = sv_cstr(d->id)};
    sv_request r = {.target = "workspace.file", .type = &workspace_file_req_msg, .body = &q};
    int rc = ask(d, &r, &info, err);
    if (rc) {
        free(d);
        return rc;
    }
    *ret = d;
    return 0;
}

void download_end(download *d, bool bus_open)
{
    if (d == NULL) return;
    if (d->stream && bus_open) sv_cancel(d->stream);
    free(d);
}
