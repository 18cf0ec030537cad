/*  compress.c - one-shot coders. Levels are for latency: an answer waits for its compression and the
 *  loop with it, so that long bodies get a lower level. */
#include "compress.h"

#include "error.h"
#include "http_parser.h"

#include <brotli/encode.h>
#include <strings.h>
#define ZLIB_CONST
#include <zlib.h>

enum {
    LONG_BODY = 128 << 10, /* bytes from which on speed counts more than size */
    GZIP_LEVEL = 5,
    GZIP_LEVEL_LONG = 1,
    GZIP_WRAP = 16, /* added to the window's bits: gzip's frame instead of zlib's */
    BROTLI_LEVEL = 4,
    BROTLI_LEVEL_LONG = 2,
    Q_ONE = 1000, /* q-values in thousandths */
    NOT_SAID = -1
};

const char *const coding_names[CODINGS] = {[CODING_GZIP] = "gzip", [CODING_BR] = "br"};

/* ---- what a client takes ---- */

typedef struct wishes {
    int q[CODINGS], star; /* NOT_SAID, or thousandths */
} wishes;

/* qvalue of RFC 9110: 0[.ddd] or 1[.000]; NOT_SAID when it is none. */
static int q_value(sv_str s)
{
    int q = 0, unit = Q_ONE;
    if (s.n == 0 || s.n > 5 || (s.p[0] != '0' && s.p[0] != '1')) return NOT_SAID;
    if (s.n > 1 && s.p[1] != '.') return NOT_SAID;
    q = (s.p[0] - '0') * unit;
    for (uint32_t i = 2; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') return NOT_SAID;
        unit /= 10;
        q += (s.p[i] - '0') * unit;
    }
    return q <= Q_ONE ? q : NOT_SAID;
}

/* coding[;q=0.5] */
static void read_one(sv_str element, wishes *w)
{
    const char *semicolon = memchr(element.p, ';', element.n);
    sv_str name = element;
    int q = Q_ONE;
    if (semicolon) {
        name.n = (uint32_t)(semicolon - element.p);
        sv_str weight = http_trim((sv_str){semicolon + 1, element.n - name.n - 1});
        if (weight.n < 2 || (weight.p[0] | 32) != 'q' || weight.p[1] != '=') return;
        q = q_value((sv_str){weight.p + 2, weight.n - 2});
        if (q == NOT_SAID) return;
    }
    name = http_trim(name);
    if (http_word_is(name, "gzip") || http_word_is(name, "x-gzip"))
        w->q[CODING_GZIP] = q;
    else if (http_word_is(name, "br"))
        w->q[CODING_BR] = q;
    else if (http_word_is(name, "identity"))
        w->q[CODING_IDENTITY] = q;
    else if (sv_str_is(name, "*"))
        w->star = q;
}

static void read_list(sv_str list, wishes *w)
{
    while (list.n) {
        const char *comma = memchr(list.p, ',', list.n);
        uint32_t n = comma ? (uint32_t)(comma - list.p) : list.n;
        sv_str element = http_trim((sv_str){list.p, n});
        if (element.n) read_one(element, w);
        n += comma != NULL;
        list = (sv_str){list.p + n, list.n - n};
    }
}

coding coding_of(const http_request *r, unsigned available)
{
    wishes w = {.q = {NOT_SAID, NOT_SAID, NOT_SAID}, .star = NOT_SAID};
    for (uint32_t i = 0; i < r->n_headers; i++)
        if (http_word_is(r->headers[i].name, "accept-encoding")) read_list(r->headers[i].value, &w);
    coding best = CODING_IDENTITY;
    int most = w.q[CODING_IDENTITY] != NOT_SAID ? w.q[CODING_IDENTITY] : 0;
    for (coding c = CODING_GZIP; c < CODINGS; c++) {
        int q = w.q[c] != NOT_SAID ? w.q[c] : w.star;
        if (!(available & 1u << c) || q <= 0 || q < most) continue;
        best = c;
        most = q;
    }
    return best;
}

/* ---- what is worth it ---- */

bool compress_may(sv_str type, size_t n)
{
    static const char *const texts[] = {"application/json",       "application/jwk-set+json",
                                        "application/x-ndjson",   "application/openapi+json",
                                        "application/javascript", "image/svg+xml"};
    if (n < COMPRESS_LEAST || n > COMPRESS_MOST || http_media_is(type, "text/event-stream"))
        return false;
    if (type.n > 5 && strncasecmp(type.p, "text/", 5) == 0) return true;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (http_media_is(type, texts[i])) return true;
    return false;
}

coding compress_choose(coding takes, sv_str content_type, size_t n)
{
    return compress_may(content_type, n) ? takes : CODING_IDENTITY;
}

/* ---- coders ---- */

static int gzip(sv_str body, char *to, size_t *n)
{
    z_stream z = {.next_in = (const void *)body.p, .avail_in = body.n};
    int level = body.n < LONG_BODY ? GZIP_LEVEL : GZIP_LEVEL_LONG;
    if (deflateInit2(&z, level, Z_DEFLATED, MAX_WBITS + GZIP_WRAP, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return SV_E_NO_MEMORY;
    z.next_out = (void *)to;
    z.avail_out = (uInt)*n;
    int rc = deflate(&z, Z_FINISH);
    *n = z.total_out;
    deflateEnd(&z);
    return rc == Z_STREAM_END ? 0 : SV_E_TOO_LARGE;
}

static int window_bits(size_t n)
{
    int bits = BROTLI_MIN_WINDOW_BITS;
    while (bits < BROTLI_DEFAULT_WINDOW && (size_t)1 << bits < n)
        bits++;
    return bits;
}

static int brotli(sv_str body, char *to, size_t *n)
{
    int level = body.n < LONG_BODY ? BROTLI_LEVEL : BROTLI_LEVEL_LONG;
    bool ok = BrotliEncoderCompress(level, window_bits(body.n), BROTLI_MODE_TEXT, body.n,
                                    (const uint8_t *)body.p, n, (uint8_t *)to);
    return ok ? 0 : SV_E_TOO_LARGE;
}

int compress_body(coding how, sv_str body, buf *out)
{
    size_t n = body.n ? body.n - 1 : 0;
    if (n == 0 || n > COMPRESS_MOST) return SV_E_TOO_LARGE;
    char *to = buf_room(out, n);
    if (to == NULL) return out->error;
    int rc = how == CODING_BR ? brotli(body, to, &n) : gzip(body, to, &n);
    if (rc == 0) buf_added(out, n);
    return rc;
}
