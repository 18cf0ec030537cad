/*  tuple.c - the order-preserving encoding of tuple.h.
 *  A part's tag carries its type, an integer's tag also its sign and width, so that memcmp decides by
 *  type, then sign and width, then digits. Text ends with 0x00, which is less than any byte that could
 *  follow in a longer text: a zero inside is written 0x00 0xFF, and no tag is 0xFF. There is one way to
 *  write a value, and reading refuses the others. */
#include "tuple.h"

#include "buf.h"
#include "error.h"
#include "utf8.h"

#include <sodium.h>

enum {
    TAG_INT_FIRST = TUPLE_INT - 8,
    TAG_INT_LAST = TUPLE_INT + 8,
    SHORT_HASH = 16,
    SHORT_HEAD = LIMIT_STORE_INDEX_TEXT - SHORT_HASH
};

static int put(tuple *t, const void *p, size_t n)
{
    if (t->failed || n > sizeof t->b - t->n) {
        t->failed = true;
        return SV_E_TOO_LARGE;
    }
    if (n) memcpy(t->b + t->n, p, n);
    t->n = (uint16_t)(t->n + n);
    return 0;
}

static int put_string(tuple *t, tuple_type type, sv_str s)
{
    const uint8_t tag = (uint8_t)type;
    put(t, &tag, 1);
    for (uint32_t from = 0; from < s.n && !t->failed;) {
        const char *zero = memchr(s.p + from, 0, s.n - from);
        uint32_t to = zero ? (uint32_t)(zero - s.p) : s.n;
        put(t, s.p + from, to - from);
        if (zero) put(t, "\x00\xff", 2);
        from = to + (zero != NULL);
    }
    return put(t, "", 1);
}

/* What was hashed has a length that nothing written as it is has: no text can be made that is taken
 * for another. */
static int put_short(tuple *t, tuple_type type, sv_str s)
{
    if (s.n < LIMIT_STORE_INDEX_TEXT) return put_string(t, type, s);
    char cut[LIMIT_STORE_INDEX_TEXT];
    memcpy(cut, s.p, SHORT_HEAD);
    crypto_generichash((unsigned char *)cut + SHORT_HEAD, SHORT_HASH, (const unsigned char *)s.p,
                       s.n, NULL, 0);
    return put_string(t, type, (sv_str){cut, sizeof cut});
}

static uint32_t width(uint64_t v)
{
    uint32_t n = 0;
    for (; v; v >>= 8)
        n++;
    return n;
}

static uint64_t all_ones(uint32_t n)
{
    return n == 8 ? UINT64_MAX : ((uint64_t)1 << (8 * n)) - 1;
}

void tuple_clear(tuple *t)
{
    t->n = 0;
    t->failed = false;
}

int tuple_int(tuple *t, int64_t value)
{
    uint64_t size = value < 0 ? -(uint64_t)value : (uint64_t)value;
    uint32_t n = width(size);
    uint64_t digits = value < 0 ? all_ones(n) - size : size;
    uint8_t b[9] = {(uint8_t)(value < 0 ? (uint32_t)TUPLE_INT - n : (uint32_t)TUPLE_INT + n)};
    for (uint32_t i = n; i > 0; i--, digits >>= 8)
        b[i] = (uint8_t)digits;
    return put(t, b, n + 1);
}

int tuple_text(tuple *t, sv_str text)
{
    return put_string(t, TUPLE_TEXT, text);
}

int tuple_bytes(tuple *t, sv_str bytes)
{
    return put_string(t, TUPLE_BYTES, bytes);
}

int tuple_text_short(tuple *t, sv_str text)
{
    return put_short(t, TUPLE_TEXT, text);
}

int tuple_bytes_short(tuple *t, sv_str bytes)
{
    return put_short(t, TUPLE_BYTES, bytes);
}

int tuple_append(tuple *t, sv_str encoded)
{
    return put(t, encoded.p, encoded.n);
}

sv_str tuple_str(const tuple *t)
{
    return (sv_str){(const char *)t->b, t->n};
}

/* No key is longer than a full one, so nothing lies between it and its successor. */
static int increment(tuple *t)
{
    uint32_t n = t->n;
    while (n > 0 && t->b[n - 1] == 0xff)
        n--;
    if (n == 0) t->failed = true;
    if (t->failed) return SV_E_TOO_LARGE;
    t->b[n - 1]++;
    t->n = (uint16_t)n;
    return 0;
}

int tuple_end(tuple *t)
{
    return t->n < sizeof t->b ? put(t, "\xff", 1) : increment(t);
}

int tuple_after(tuple *t)
{
    return t->n < sizeof t->b ? put(t, "", 1) : increment(t);
}

static int read_int(sv_str *rest, tuple_part *ret)
{
    uint32_t tag = (uint8_t)rest->p[0];
    bool negative = tag < TUPLE_INT;
    uint32_t n = negative ? (uint32_t)TUPLE_INT - tag : tag - (uint32_t)TUPLE_INT;
    if (rest->n < n + 1) return SV_E_MALFORMED;
    uint64_t size = 0;
    for (uint32_t i = 1; i <= n; i++)
        size = size << 8 | (uint8_t)rest->p[i];
    if (negative) size = all_ones(n) - size;
    if (width(size) != n) return SV_E_MALFORMED; /* has a shorter form */
    if (size > (uint64_t)INT64_MAX + negative) return SV_E_MALFORMED;
    *ret =
        (tuple_part){.type = TUPLE_INT, .i = negative ? -(int64_t)(size - 1) - 1 : (int64_t)size};
    rest->p += n + 1;
    rest->n -= n + 1;
    return 0;
}

static int read_string(sv_str *rest, char *scratch, tuple_part *ret)
{
    uint32_t at = 1, n = 0;
    bool copied = false;
    for (;;) {
        const char *zero = memchr(rest->p + at, 0, rest->n - at);
        if (zero == NULL) return SV_E_MALFORMED;
        uint32_t run = (uint32_t)(zero - rest->p) - at;
        bool inside = at + run + 1 < rest->n && (uint8_t)zero[1] == 0xff;
        copied = copied || inside;
        if (copied) {
            memcpy(scratch + n, rest->p + at, run);
            n += run;
            if (inside) scratch[n++] = 0;
        } else {
            n = run;
        }
        at += run + 1 + inside;
        if (!inside) break;
    }
    *ret = (tuple_part){.type = (uint8_t)rest->p[0] == TUPLE_TEXT ? TUPLE_TEXT : TUPLE_BYTES,
                        .s = {copied ? scratch : rest->p + 1, n}};
    rest->p += at;
    rest->n -= at;
    return 0;
}

int tuple_next(sv_str *rest, char *scratch, tuple_part *ret)
{
    if (rest->n == 0 || rest->n > LIMIT_STORE_KEY_BYTES) return SV_E_MALFORMED;
    uint8_t tag = (uint8_t)rest->p[0];
    if (tag == TUPLE_TEXT || tag == TUPLE_BYTES) return read_string(rest, scratch, ret);
    if (tag >= TAG_INT_FIRST && tag <= TAG_INT_LAST) return read_int(rest, ret);
    return SV_E_MALFORMED;
}

static void print_hex(sv_str s, buf *out)
{
    buf_puts(out, "x'");
    for (uint32_t i = 0; i < s.n && !out->failed; i++)
        buf_printf(out, "%02x", (uint8_t)s.p[i]);
    buf_puts(out, "'");
}

int tuple_print(sv_str key, buf *out)
{
    char scratch[LIMIT_STORE_KEY_BYTES];
    buf_puts(out, "(");
    for (const char *comma = ""; key.n > 0 && !out->failed; comma = ", ") {
        tuple_part part;
        buf_puts(out, comma);
        if (tuple_next(&key, scratch, &part)) {
            print_hex(key, out);
            break;
        }
        if (part.type == TUPLE_INT) {
            buf_printf(out, "%lld", (long long)part.i);
        } else if (part.type == TUPLE_TEXT && utf8_valid(part.s)) {
            buf_puts(out, "\"");
            buf_json_escape(out, part.s);
            buf_puts(out, "\"");
        } else {
            print_hex(part.s, out);
        }
    }
    return buf_puts(out, ")");
}
