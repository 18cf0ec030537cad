/*  message_json.c - msgpack to JSON and back, without a tree in between.
 *
 *  Both ways the input is validated whole first (skim_msgpack, json_skim: strict, bounded in
 *  depth, no duplicate keys), then walked once; recursion is at most LIMIT_DEPTH deep. JSON is
 *  read by json_scan.h and not by the JSON library, so that there is one grammar in the house
 *  and integers up to 2^64-1 survive. A container's msgpack header is one byte until its end is
 *  seen and grows if it must. */
#include "message.h"

#include "error.h"
#include "json_scan.h"
#include "skim.h"

#include <assert.h>
#include <endian.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char redacted[] = "\"[redacted]\"";

typedef struct walk {
    buf *out;
    sv_error *err;
    bool redact_unknown;
    char path[96];
} walk;

/* Adds ".name" or "[index]", cut between characters; returns the length to cut back to. */
static size_t path_push(walk *w, sv_str name, size_t index)
{
    size_t n = strlen(w->path), max = sizeof w->path - 1;
    if (name.p == NULL) {
        char text[24];
        int len = snprintf(text, sizeof text, "[%zu]", index);
        if (n + (size_t)len <= max) memcpy(w->path + n, text, (size_t)len + 1);
        return n;
    }
    size_t len = name.n;
    size_t at = n;
    if (n > 0 && n < max) w->path[at++] = '.';
    if (len > max - at) {
        len = max - at;
        while (len > 0 && ((uint8_t)name.p[len] & 0xc0) == 0x80)
            len--;
    }
    if (len) memcpy(w->path + at, name.p, len);
    w->path[at + len] = 0;
    return n;
}

/* Where to name in a sentence: the path, or "body" at the top. */
static const char *place(const walk *w)
{
    return w->path[0] ? w->path : "body";
}

static int buffer_failed(walk *w, int rc)
{
    return rc ? sv_fail(w->err, rc, NULL, NULL) : 0;
}

static const sv_field *find_field(const sv_message *m, sv_str name)
{
    for (size_t i = 0; m && i < m->n; i++)
        if (sv_str_is(name, m->fields[i].name)) return &m->fields[i];
    return NULL;
}

/* ---- msgpack to JSON ---- */

typedef enum kind { K_NIL, K_BOOL, K_UINT, K_INT, K_NUM, K_STR, K_BIN, K_ARRAY, K_MAP } kind;

/* The head of a msgpack value. */
typedef struct head {
    kind kind;
    union {
        bool b;
        uint64_t u;
        int64_t i;
        double d;
        uint32_t n; /* bytes, elements or pairs */
    };
} head;

/* Reads from bytes that skim_msgpack accepted. */
static uint64_t take(const uint8_t **p, int bytes)
{
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++)
        v = v << 8 | *(*p)++;
    return v;
}

static double as_double(uint64_t bits, bool single)
{
    if (single) {
        uint32_t low = (uint32_t)bits;
        float f;
        memcpy(&f, &low, sizeof f);
        return (double)f;
    }
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

static head take_head(const uint8_t **p)
{
    uint8_t c = *(*p)++;
    if (c <= 0x7f) return (head){K_UINT, {.u = c}};
    if (c >= 0xe0) return (head){K_INT, {.i = (int8_t)c}};
    if (c <= 0x8f) return (head){K_MAP, {.n = c & 15u}};
    if (c <= 0x9f) return (head){K_ARRAY, {.n = c & 15u}};
    if (c <= 0xbf) return (head){K_STR, {.n = c & 31u}};
    switch (c) {
    case 0xc2:
    case 0xc3: return (head){K_BOOL, {.b = c == 0xc3}};
    case 0xc4:
    case 0xc5:
    case 0xc6: return (head){K_BIN, {.n = (uint32_t)take(p, 1 << (c - 0xc4))}};
    case 0xca: return (head){K_NUM, {.d = as_double(take(p, 4), true)}};
    case 0xcb: return (head){K_NUM, {.d = as_double(take(p, 8), false)}};
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf: return (head){K_UINT, {.u = take(p, 1 << (c - 0xcc))}};
    case 0xd0: return (head){K_INT, {.i = (int8_t)take(p, 1)}};
    case 0xd1: return (head){K_INT, {.i = (int16_t)take(p, 2)}};
    case 0xd2: return (head){K_INT, {.i = (int32_t)take(p, 4)}};
    case 0xd3: return (head){K_INT, {.i = (int64_t)take(p, 8)}};
    case 0xd9:
    case 0xda:
    case 0xdb: return (head){K_STR, {.n = (uint32_t)take(p, 1 << (c - 0xd9))}};
    case 0xdc:
    case 0xdd: return (head){K_ARRAY, {.n = (uint32_t)take(p, 2 << (c - 0xdc))}};
    case 0xde:
    case 0xdf: return (head){K_MAP, {.n = (uint32_t)take(p, 2 << (c - 0xde))}};
    default: return (head){K_NIL, {.u = 0}};
    }
}

static void skip(const uint8_t **p)
{
    for (uint64_t left = 1; left > 0; left--) {
        head h = take_head(p);
        if (h.kind == K_STR || h.kind == K_BIN)
            *p += h.n;
        else if (h.kind == K_ARRAY || h.kind == K_MAP)
            left += (uint64_t)h.n << (h.kind == K_MAP);
    }
}

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int print_base64(buf *out, const uint8_t *p, size_t n)
{
    size_t text = (n + 2) / 3 * 4 + 2;
    char *to = buf_room(out, text);
    if (to == NULL) return text > out->max - out->n ? SV_E_TOO_LARGE : SV_E_NO_MEMORY;
    *to++ = '"';
    for (; n >= 3; p += 3, n -= 3, to += 4) {
        uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
        for (int i = 0; i < 4; i++)
            to[i] = base64_digits[v >> (18 - 6 * i) & 63];
    }
    if (n > 0) {
        uint32_t v = (uint32_t)p[0] << 16 | (n > 1 ? (uint32_t)p[1] << 8 : 0);
        to[0] = base64_digits[v >> 18];
        to[1] = base64_digits[v >> 12 & 63];
        to[2] = n > 1 ? base64_digits[v >> 6 & 63] : '=';
        to[3] = '=';
        to += 4;
    }
    *to = '"';
    buf_added(out, text);
    return 0;
}

/* The shortest of three spellings that reads back as the same number; never like an integer. */
static int print_number(walk *w, double d)
{
    if (!isfinite(d))
        return sv_fail(w->err, SV_E_OUT_OF_RANGE, w->path,
                       "Field %s is not a finite number, which JSON cannot say.", place(w));
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, d);
        double back = strtod(text, NULL);
        if (!(back < d || back > d)) break;
    }
    if (strpbrk(text, ".e") == NULL) strcat(text, ".0");
    return buffer_failed(w, buf_puts(w->out, text));
}

static int print_string(walk *w, const uint8_t *p, uint32_t n)
{
    int rc = buf_putc(w->out, '"');
    if (rc == 0) rc = buf_json_escape(w->out, (sv_str){(const char *)p, n});
    if (rc == 0) rc = buf_putc(w->out, '"');
    return buffer_failed(w, rc);
}

static int print_value(walk *w, const sv_message *m, const sv_field *f, const uint8_t **p);

/* A field of a declared type that holds others must be of that shape, or its secrets would show. */
static bool hidden(const walk *w, const sv_message *m, const sv_field *f, const uint8_t *p)
{
    if (m == NULL) return false;
    if (f == NULL) return w->redact_unknown;
    if (f->rules & SV_SECRET) return true;
    kind k = take_head(&p).kind;
    if (f->type == SV_T_MSG) return k != K_MAP && k != K_NIL;
    return f->type == SV_T_LIST && k != K_ARRAY && k != K_NIL;
}

static int print_map(walk *w, const sv_message *m, uint32_t pairs, const uint8_t **p)
{
    int rc = buf_putc(w->out, '{');
    for (uint32_t i = 0; i < pairs && rc == 0; i++) {
        uint32_t n = take_head(p).n;
        sv_str name = {(const char *)*p, n};
        *p += n;
        if (i > 0 && (rc = buf_putc(w->out, ','))) break;
        rc = print_string(w, (const uint8_t *)name.p, name.n);
        if (rc == 0) rc = buf_putc(w->out, ':');
        if (rc) break;
        const sv_field *f = find_field(m, name);
        if (hidden(w, m, f, *p)) {
            skip(p);
            rc = buf_puts(w->out, redacted);
            continue;
        }
        size_t cut = path_push(w, name, 0);
        rc = print_value(w, f ? f->sub : NULL, f, p);
        w->path[cut] = 0;
    }
    if (rc == 0) rc = buf_putc(w->out, '}');
    return buffer_failed(w, rc);
}

/* `m`: of the elements, when the field is a declared list. */
static int print_array(walk *w, const sv_message *m, uint32_t n, const uint8_t **p)
{
    int rc = buf_putc(w->out, '[');
    for (uint32_t i = 0; i < n && rc == 0; i++) {
        if (i > 0 && (rc = buf_putc(w->out, ','))) break;
        const uint8_t *q = *p;
        if (m && take_head(&q).kind != K_MAP) {
            skip(p);
            rc = buf_puts(w->out, redacted);
            continue;
        }
        size_t cut = path_push(w, (sv_str){NULL, 0}, i);
        rc = print_value(w, m, NULL, p);
        w->path[cut] = 0;
    }
    if (rc == 0) rc = buf_putc(w->out, ']');
    return buffer_failed(w, rc);
}

/* `m` describes the value when it is a map, or its elements when it is the array of list field `f`.
 */
static int print_value(walk *w, const sv_message *m, const sv_field *f, const uint8_t **p)
{
    head h = take_head(p);
    const uint8_t *bytes = *p;
    switch (h.kind) {
    case K_NIL: return buffer_failed(w, buf_puts(w->out, "null"));
    case K_BOOL: return buffer_failed(w, buf_puts(w->out, h.b ? "true" : "false"));
    case K_UINT: return buffer_failed(w, buf_printf(w->out, "%llu", (unsigned long long)h.u));
    case K_INT: return buffer_failed(w, buf_printf(w->out, "%lld", (long long)h.i));
    case K_NUM: return print_number(w, h.d);
    case K_STR: *p += h.n; return print_string(w, bytes, h.n);
    case K_BIN: *p += h.n; return buffer_failed(w, print_base64(w->out, bytes, h.n));
    case K_ARRAY: return print_array(w, f && f->type == SV_T_LIST ? m : NULL, h.n, p);
    case K_MAP: return print_map(w, m, h.n, p);
    }
    return SV_E_INTERNAL;
}

int message_to_json(const sv_message *m, sv_str msgpack, bool redact_unknown, buf *out,
                    sv_error *err)
{
    static const char empty[] = "\x80";
    if (msgpack.n == 0) msgpack = (sv_str){empty, 1};
    int rc = skim_msgpack(msgpack, LIMIT_DEPTH, LIMIT_NODES, err);
    if (rc) return rc;
    const uint8_t *p = (const uint8_t *)msgpack.p, *q = p;
    if (m && take_head(&q).kind != K_MAP)
        return sv_fail(err, SV_E_WRONG_TYPE, "body", "The body of %s must be a map.", m->name);
    walk w = {.out = out, .err = err, .redact_unknown = redact_unknown};
    size_t start = out->n;
    rc = print_value(&w, m, NULL, &p);
    if (rc) out->n = start;
    return rc;
}

/* ---- JSON to msgpack ---- */

static int put_number(buf *out, uint8_t code, uint64_t v, int bytes)
{
    uint8_t p[9] = {code};
    uint64_t big = htobe64(v);
    memcpy(p + 1, (const uint8_t *)&big + 8 - bytes, (size_t)bytes);
    return buf_put(out, p, (size_t)bytes + 1);
}

static int put_uint(buf *out, uint64_t v)
{
    if (v < 0x80) return buf_putc(out, (char)v);
    if (v <= UINT8_MAX) return put_number(out, 0xcc, v, 1);
    if (v <= UINT16_MAX) return put_number(out, 0xcd, v, 2);
    if (v <= UINT32_MAX) return put_number(out, 0xce, v, 4);
    return put_number(out, 0xcf, v, 8);
}

static int put_int(buf *out, int64_t v)
{
    if (v >= 0) return put_uint(out, (uint64_t)v);
    if (v >= -32) return buf_putc(out, (char)v);
    if (v >= INT8_MIN) return put_number(out, 0xd0, (uint64_t)v, 1);
    if (v >= INT16_MIN) return put_number(out, 0xd1, (uint64_t)v, 2);
    if (v >= INT32_MIN) return put_number(out, 0xd2, (uint64_t)v, 4);
    return put_number(out, 0xd3, (uint64_t)v, 8);
}

/* How the smallest header for `n` begins: fix | n below `fix_max`, else the codes for 1, 2 and 4
 * bytes of length (0: there is no such code). */
typedef struct header_codes {
    uint8_t fix, one, two, four;
    uint32_t fix_max;
} header_codes;

static const header_codes str_codes = {0xa0, 0xd9, 0xda, 0xdb, 32};
static const header_codes bin_codes = {0, 0xc4, 0xc5, 0xc6, 0};
static const header_codes array_codes = {0x90, 0, 0xdc, 0xdd, 16};
static const header_codes map_codes = {0x80, 0, 0xde, 0xdf, 16};

static size_t make_header(const header_codes *c, uint32_t n, uint8_t header[5])
{
    int bytes = n < c->fix_max ? 0 : n <= UINT8_MAX && c->one ? 1 : n <= UINT16_MAX ? 2 : 4;
    header[0] = bytes == 0   ? (uint8_t)(c->fix | n)
                : bytes == 1 ? c->one
                : bytes == 2 ? c->two
                             : c->four;
    for (int i = 0; i < bytes; i++)
        header[1 + i] = (uint8_t)(n >> 8 * (bytes - 1 - i));
    return (size_t)bytes + 1;
}

/* Replaces the one byte that was left at `at` by the header for `n`. */
static int close_header(buf *out, size_t at, const header_codes *c, size_t n)
{
    uint8_t header[5];
    size_t len = make_header(c, (uint32_t)n, header);
    if (len > 1) {
        int rc = buf_put(out, header, len - 1); /* makes room; the bytes are overwritten */
        if (rc) return rc;
        memmove(out->p + at + len, out->p + at + 1, out->n - at - len);
    }
    memcpy(out->p + at, header, len);
    return 0;
}

static int read_string(walk *w, json_value v)
{
    size_t at = w->out->n;
    int rc = buf_putc(w->out, 0);
    if (rc == 0) rc = json_text(v, w->out);
    if (rc == 0) rc = close_header(w->out, at, &str_codes, w->out->n - at - 1);
    return buffer_failed(w, rc);
}

/* Decodes base64 (RFC 4648 section 4, padded, no bits left over) in place; answers the bytes'
 * number or -1. */
static int64_t decode_base64(uint8_t *p, size_t n)
{
    if (n % 4) return -1;
    size_t to = 0;
    for (size_t at = 0; at < n; at += 4) {
        uint32_t v = 0;
        size_t padding = 0;
        for (size_t i = 0; i < 4; i++) {
            const char *digit = p[at + i] ? strchr(base64_digits, p[at + i]) : NULL;
            if (p[at + i] == '=' && at + 4 == n && i >= 2)
                padding++;
            else if (digit == NULL || padding)
                return -1;
            v = v << 6 | (uint32_t)(digit ? digit - base64_digits : 0);
        }
        if (v & ((1u << 8 * padding) - 1)) return -1;
        for (size_t i = 0; i < 3 - padding; i++)
            p[to++] = (uint8_t)(v >> (16 - 8 * i));
    }
    return (int64_t)to;
}

static int read_base64(walk *w, json_value v)
{
    size_t at = w->out->n;
    int rc = buf_putc(w->out, 0);
    if (rc == 0) rc = v.type == JSON_STRING ? json_text(v, w->out) : 0;
    if (rc) return buffer_failed(w, rc);
    uint8_t *text = (uint8_t *)w->out->p + at + 1;
    int64_t n = v.type == JSON_STRING ? decode_base64(text, w->out->n - at - 1) : -1;
    if (n < 0)
        return sv_fail(w->err, SV_E_WRONG_TYPE, w->path,
                       "Field %s must be bytes as base64 text, padded with =.", place(w));
    w->out->n = at + 1 + (size_t)n;
    return buffer_failed(w, close_header(w->out, at, &bin_codes, (size_t)n));
}

/* 0 or SV_E_OUT_OF_RANGE; the text is digits only. */
static int parse_uint(sv_str text, uint64_t *ret)
{
    uint64_t v = 0;
    for (uint32_t i = 0; i < text.n; i++)
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(text.p[i] - '0'), &v))
            return SV_E_OUT_OF_RANGE;
    *ret = v;
    return 0;
}

static int read_number(walk *w, json_value v)
{
    int64_t i = 0;
    uint64_t u = 0;
    double d = 0;
    int rc = json_int(v, &i);
    if (rc == 0) return buffer_failed(w, put_int(w->out, i));
    if (rc == SV_E_OUT_OF_RANGE && v.raw.p[0] != '-' && parse_uint(v.raw, &u) == 0)
        return buffer_failed(w, put_uint(w->out, u));
    if (rc == SV_E_OUT_OF_RANGE)
        return sv_fail(w->err, rc, w->path, "Field %s does not fit 64 bits.", place(w));
    if (json_number(v, &d))
        return sv_fail(w->err, SV_E_OUT_OF_RANGE, w->path, "Field %s is too large a number.",
                       place(w));
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    return buffer_failed(w, put_number(w->out, 0xcb, bits, 8));
}

static int read_value(walk *w, const sv_message *m, const sv_field *f, json_value v);

/* The field whose name the raw key spells. */
static const sv_field *find_raw(const sv_message *m, sv_str raw)
{
    json_value key = {JSON_STRING, {raw.p - 1, raw.n + 2}};
    for (size_t i = 0; m && i < m->n; i++)
        if (json_string_is(key, m->fields[i].name)) return &m->fields[i];
    return NULL;
}

static int read_object(walk *w, const sv_message *m, json_value object)
{
    size_t start = w->out->n, at = 0, n = 0;
    int rc = buf_putc(w->out, 0);
    sv_str key;
    json_value v;
    while (rc == 0 && json_next_member(object, &at, &key, &v)) {
        const sv_field *f = find_raw(m, key);
        rc = read_string(w, (json_value){JSON_STRING, {key.p - 1, key.n + 2}});
        if (rc) break;
        size_t cut = path_push(w, key, 0);
        rc = read_value(w, f ? f->sub : NULL, f, v);
        w->path[cut] = 0;
        n++;
    }
    if (rc == 0) rc = close_header(w->out, start, &map_codes, n);
    return buffer_failed(w, rc);
}

static int read_array(walk *w, const sv_message *m, json_value array)
{
    size_t start = w->out->n, at = 0, n = 0;
    int rc = buf_putc(w->out, 0);
    json_value v;
    while (rc == 0 && json_next_element(array, &at, &v)) {
        size_t cut = path_push(w, (sv_str){NULL, 0}, n++);
        rc = read_value(w, m, NULL, v);
        w->path[cut] = 0;
    }
    if (rc == 0) rc = close_header(w->out, start, &array_codes, n);
    return buffer_failed(w, rc);
}

static int read_value(walk *w, const sv_message *m, const sv_field *f, json_value v)
{
    if (f && f->type == SV_T_BIN && v.type != JSON_NULL) return read_base64(w, v);
    switch (v.type) {
    case JSON_NULL: return buffer_failed(w, buf_putc(w->out, (char)0xc0));
    case JSON_FALSE: return buffer_failed(w, buf_putc(w->out, (char)0xc2));
    case JSON_TRUE: return buffer_failed(w, buf_putc(w->out, (char)0xc3));
    case JSON_NUMBER: return read_number(w, v);
    case JSON_STRING: return read_string(w, v);
    case JSON_ARRAY: return read_array(w, f && f->type == SV_T_LIST ? m : NULL, v);
    case JSON_OBJECT: return read_object(w, m, v);
    case JSON_NONE: break;
    }
    return SV_E_INTERNAL;
}

int message_from_json(const sv_message *m, sv_str json, buf *out, sv_error *err)
{
    int rc = json_skim(json, LIMIT_DEPTH, err);
    if (rc) return rc;
    json_value v = json_root(json);
    if (m && v.type != JSON_OBJECT)
        return sv_fail(err, SV_E_WRONG_TYPE, "body", "The body of %s must be a JSON object.",
                       m->name);
    walk w = {.out = out, .err = err};
    size_t start = out->n;
    rc = read_value(&w, m, NULL, v);
    if (rc) out->n = start;
    return rc;
}

/* ---- msgpack to msgpack ---- */

static int put_header(buf *out, const header_codes *c, uint32_t n)
{
    uint8_t header[5];
    return buf_put(out, header, make_header(c, n, header));
}

static int put_head(buf *out, const head *h)
{
    uint64_t bits;
    switch (h->kind) {
    case K_NIL: return buf_putc(out, (char)0xc0);
    case K_BOOL: return buf_putc(out, (char)(h->b ? 0xc3 : 0xc2));
    case K_UINT: return put_uint(out, h->u);
    case K_INT: return put_int(out, h->i);
    case K_NUM: memcpy(&bits, &h->d, sizeof bits); return put_number(out, 0xcb, bits, 8);
    case K_STR: return put_header(out, &str_codes, h->n);
    case K_BIN: return put_header(out, &bin_codes, h->n);
    case K_ARRAY: return put_header(out, &array_codes, h->n);
    case K_MAP: return put_header(out, &map_codes, h->n);
    }
    return SV_E_INTERNAL;
}

int message_canonical(sv_str msgpack, buf *out, sv_error *err)
{
    int rc = skim_msgpack(msgpack, LIMIT_DEPTH, LIMIT_NODES, err);
    if (rc) return rc;
    const uint8_t *p = (const uint8_t *)msgpack.p, *end = p + msgpack.n;
    size_t start = out->n;
    while (rc == 0 &&
           p < end) { /* a value's head says how many values follow: none needs counting */
        head h = take_head(&p);
        rc = put_head(out, &h);
        if (rc || (h.kind != K_STR && h.kind != K_BIN)) continue;
        rc = buf_put(out, p, h.n);
        p += h.n;
    }
    if (rc) out->n = start;
    return rc ? sv_fail(err, rc, NULL, NULL) : 0;
}
