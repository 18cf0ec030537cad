/*  op_sse.c - an event stream in pieces, read as the router reads those of providers. The end of the
 *  pieces is the end of the stream: an event without its blank line is not one. */
#include "base64url.h"
#include "error.h"
#include "op.h"
#include "sse_scan.h"

typedef struct reader {
    sse_scan scan;
    buf *answer;
    bool more;
} reader;

static sse_verdict on_event(void *arg, sv_str data)
{
    reader *r = arg;
    if (data.p == NULL) return SSE_DROP;
    buf_puts(r->answer, r->more ? ",{" : "{");
    r->more = true;
    put_member(r->answer, "type", r->scan.type.n ? r->scan.type : sv_cstr("message"));
    buf_putc(r->answer, ',');
    put_member(r->answer, "data", data);
    buf_putc(r->answer, ',');
    put_member(r->answer, "lastEventId", buf_str(&r->scan.id));
    buf_putc(r->answer, '}');
    return SSE_DROP;
}

static bool on_pass(void *arg, sv_str bytes)
{
    (void)arg;
    (void)bytes;
    return true;
}

/* Padded base64 of RFC 4648 section 4, by way of its other alphabet. */
static int take_chunk(json_value v, buf *text, buf *bytes, sv_error *err)
{
    static const char wrong[] = "Each of chunks_b64 must be a string in base64.";
    buf_reset(text, LINE_BYTES);
    buf_reset(bytes, LINE_BYTES);
    int rc = json_text(v, text);
    if (rc == SV_E_WRONG_TYPE) return sv_fail(err, rc, "chunks_b64", wrong);
    if (rc) return sv_fail(err, rc, "chunks_b64", NULL);
    bool whole = text->n % 4 == 0;
    for (int i = 0; i < 2 && text->n && text->p[text->n - 1] == '='; i++)
        text->n--;
    for (size_t i = 0; i < text->n; i++) {
        char c = text->p[i];
        whole = whole && c != '-' && c != '_';
        text->p[i] = c == '+' ? '-' : c == '/' ? '_' : c;
    }
    rc = whole ? base64url_get(buf_str(text), bytes) : SV_E_INVALID;
    return rc ? sv_fail(err, rc, "chunks_b64", wrong) : 0;
}

static int read_chunks(reader *r, json_value chunks, sv_error *err)
{
    static const sse_sink sink = {on_event, on_pass};
    buf text, bytes;
    buf_init(&text, LINE_BYTES);
    buf_init(&bytes, LINE_BYTES);
    json_value v;
    int rc = 0;
    for (size_t at = 0; rc == 0 && json_next_element(chunks, &at, &v);) {
        rc = take_chunk(v, &text, &bytes, err);
        if (rc == 0 && (rc = sse_feed(&r->scan, buf_str(&bytes), &sink, r)))
            sv_fail(err, rc, "chunks_b64", rc == SV_E_BAD_UTF8 ? NULL : "An event is too large.");
    }
    buf_free(&text);
    buf_free(&bytes);
    return rc;
}

int op_sse(json_value request, buf *answer, sv_error *err)
{
    json_value chunks = json_get(request, "chunks_b64");
    if (chunks.type != JSON_ARRAY)
        return sv_fail(err, SV_E_INVALID, "chunks_b64", "The member chunks_b64 must be a list.");
    reader r = {.answer = answer};
    sse_init(&r.scan);
    buf_puts(answer, "{\"events\":[");
    int rc = read_chunks(&r, chunks, err);
    if (rc == 0) {
        buf_puts(answer, "],");
        put_member(answer, "last_event_id", buf_str(&r.scan.id));
        int64_t retry_ms = sse_retry(&r.scan);
        if (retry_ms < 0)
            buf_puts(answer, ",\"retry\":null}");
        else
            buf_printf(answer, ",\"retry\":%lld}", (long long)retry_ms);
    }
    sse_free(&r.scan);
    return rc;
}
