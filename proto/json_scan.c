/*  json_scan.c - a validator of one pass and a scanner that finds values by their bytes.
 *
 *  json_skim walks the text with an explicit stack of levels. The keys of all open objects lie
 *  on one stack, those of the innermost object on top. An object's first KEYS_LINEAR keys are
 *  compared one by one as they come; a larger object gets a hash table when it closes. The hash
 *  of a key (decoded, all of it) is seeded with random bits, so nobody can choose keys that
 *  collide.
 *
 *  The scanner below it (json_get and so on) only looks for the ends of values: it steps over
 *  strings and counts brackets. An array of tokens for the whole text would need memory to say
 *  the same. */
#include "json_scan.h"

#include "error.h"
#include "utf8.h"
#include "uuid.h"

#include <endian.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    LEVELS = 256,     /* no max_depth is larger */
    KEYS_INLINE = 96, /* before the key stack moves to the heap */
    KEYS_LINEAR = 24,
    NUMBER_BYTES = 512, /* longest number that json_number reads */
    TEXT_BYTES = 1 << 30,
};

typedef const uint8_t *bytes;

/* ---- eight bytes at a time ---- */

#define EACH(byte) (0x0101010101010101u * (uint64_t)(byte))

static uint64_t load8(bytes p)
{
    uint64_t w;
    memcpy(&w, p, sizeof w);
    return le64toh(w);
}

/* High bit of each byte that equals `c`; exact up to and including the first one. */
static uint64_t equal8(uint64_t w, uint8_t c)
{
    uint64_t x = w ^ EACH(c);
    return (x - EACH(1)) & ~x & EACH(0x80);
}

/* First byte that is a quote, a backslash, a control character or not ASCII; or `end`. */
static bytes plain_run(bytes p, bytes end)
{
    while (end - p >= 8) {
        uint64_t w = load8(p);
        uint64_t control = (w - EACH(0x20)) & ~w;
        uint64_t hit = ((w | control) & EACH(0x80)) | equal8(w, '"') | equal8(w, '\\');
        if (hit) return p + __builtin_ctzll(hit) / 8;
        p += 8;
    }
    while (p < end && *p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\')
        p++;
    return p;
}

/* First quote or backslash, or `end`. */
static bytes quote_run(bytes p, bytes end)
{
    while (end - p >= 8) {
        uint64_t w = load8(p);
        uint64_t hit = equal8(w, '"') | equal8(w, '\\');
        if (hit) return p + __builtin_ctzll(hit) / 8;
        p += 8;
    }
    while (p < end && *p != '"' && *p != '\\')
        p++;
    return p;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static bytes skip_space(bytes p, bytes end)
{
    while (p < end && is_space(*p))
        p++;
    return p;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* ---- escapes ---- */

/* The value of four hex digits, or -1. */
static int32_t hex4(bytes p, bytes end)
{
    if (end - p < 4) return -1;
    int32_t v = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t c = p[i], low = c | 0x20;
        if (is_digit(c))
            v = v * 16 + (c - '0');
        else if (low >= 'a' && low <= 'f')
            v = v * 16 + (low - 'a' + 10);
        else
            return -1;
    }
    return v;
}

/* The code point of the \u escape at p (the backslash); *len becomes 6, or 12 for a pair.
 * -1: no four hex digits, -2: an unpaired surrogate. */
static int32_t unicode_escape(bytes p, bytes end, size_t *len)
{
    int32_t high = hex4(p + 2, end);
    *len = 6;
    if (high < 0xd800 || high > 0xdfff) return high;
    if (high > 0xdbff || end - p < 12 || p[6] != '\\' || p[7] != 'u') return -2;
    int32_t low = hex4(p + 8, end);
    if (low < 0xdc00 || low > 0xdfff) return -2;
    *len = 12;
    return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

/* The character of a short escape, or 0. */
static uint8_t short_escape(uint8_t c)
{
    switch (c) {
    case '"':
    case '\\':
    case '/': return c;
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    default: return 0;
    }
}

static size_t encode_utf8(int32_t c, uint8_t out[4])
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (uint8_t)(0x80 | (c & 0x3f));
    out[0] = (uint8_t)(lead[n] | c);
    return n;
}

/* Decodes the escape at *p (a backslash) and moves past it. On text that json_skim would refuse the
 * result is the replacement character. Answers the number of bytes in `out`. */
static size_t decode_escape(bytes *p, bytes end, uint8_t out[4])
{
    size_t len = 2;
    int32_t c = end - *p >= 2 ? short_escape((*p)[1]) : 0;
    if (c == 0 && end - *p >= 2 && (*p)[1] == 'u')
        c = unicode_escape(*p, end, &len);
    else if (c == 0)
        c = -1;
    *p += (size_t)(end - *p) < len ? (size_t)(end - *p) : len;
    return encode_utf8(c < 0 ? 0xfffd : c, out);
}

/* Reads the decoded bytes of a raw string one by one. */
typedef struct cursor {
    bytes p, end;
    uint8_t out[4];
    size_t n, i;
} cursor;

/* The next byte, or -1 at the end. */
static int cursor_next(cursor *c)
{
    if (c->i < c->n) return c->out[c->i++];
    if (c->p >= c->end) return -1;
    if (*c->p != '\\') return *c->p++;
    c->n = decode_escape(&c->p, c->end, c->out);
    c->i = 1;
    return c->out[0];
}

static int compare_decoded(bytes a, size_t a_n, bytes b, size_t b_n)
{
    cursor x = {.p = a, .end = a + a_n}, y = {.p = b, .end = b + b_n};
    for (;;) {
        int i = cursor_next(&x), j = cursor_next(&y);
        if (i != j || i < 0) return i - j;
    }
}

/* ---- skim ---- */

typedef struct key {
    bytes p; /* raw, after the opening quote */
    uint32_t n;
    uint32_t hash; /* bit 0: has escapes, not part of the comparison */
} key;

typedef struct skimmer {
    bytes start, p, end;
    sv_error *err;
    uint32_t depth, max_depth;
    key *keys;
    size_t n_keys, cap_keys;
    uint32_t first_key[LEVELS]; /* where an object's keys start; ARRAY for arrays */
    key inline_keys[KEYS_INLINE];
} skimmer;

static const uint32_t ARRAY = UINT32_MAX;

static int fail_at(const skimmer *s, int code, bytes at, const char *what)
{
    return sv_fail(s->err, code, NULL, "The JSON text is not valid at byte %zu: %s.",
                   (size_t)(at - s->start), what);
}

static int malformed(const skimmer *s, const char *what)
{
    return fail_at(s, SV_E_MALFORMED, s->p, s->p < s->end ? what : "it ends too early");
}

static int skim_escape(skimmer *s)
{
    if (s->end - s->p < 2) {
        s->p = s->end;
        return malformed(s, "");
    }
    if (short_escape(s->p[1])) {
        s->p += 2;
        return 0;
    }
    if (s->p[1] != 'u') return malformed(s, "no such escape");
    size_t len;
    int32_t c = unicode_escape(s->p, s->end, &len);
    if (c == -1) return malformed(s, "\\u needs four hex digits");
    if (c == -2) return malformed(s, "unpaired surrogate");
    if (c == 0) return malformed(s, "\\u0000 is not allowed");
    s->p += len;
    return 0;
}

/* s->p is behind the opening quote, and ends behind the closing one. */
static int skim_string(skimmer *s, bool *escaped)
{
    *escaped = false;
    for (;;) {
        bytes p = plain_run(s->p, s->end);
        while (p < s->end && *p >= 0x80) {
            /* Two bytes, the most frequent case, without a call. */
            size_t len = *p >= 0xc2 && *p <= 0xdf && s->end - p >= 2 && (p[1] & 0xc0) == 0x80
                             ? 2
                             : utf8_sequence(p, (size_t)(s->end - p));
            if (len == 0) return fail_at(s, SV_E_BAD_UTF8, p, "this is not UTF-8");
            p += len;
        }
        s->p = p;
        if (p >= s->end) return malformed(s, "");
        if (*p == '"') {
            s->p++;
            return 0;
        }
        if (*p == '\\') {
            *escaped = true;
            int rc = skim_escape(s);
            if (rc) return rc;
        } else if (*p < 0x20) {
            return malformed(s, "a control character in a string must be escaped");
        }
    }
}

static bool skim_digits(skimmer *s)
{
    bytes from = s->p;
    while (s->p < s->end && is_digit(*s->p))
        s->p++;
    return s->p > from;
}

static int skim_number(skimmer *s)
{
    if (*s->p == '-') s->p++;
    if (s->p < s->end && *s->p == '0')
        s->p++;
    else if (!skim_digits(s))
        return malformed(s, "a digit is missing");
    if (s->p < s->end && *s->p == '.') {
        s->p++;
        if (!skim_digits(s)) return malformed(s, "a digit is missing after the point");
    }
    if (s->p < s->end && (*s->p | 0x20) == 'e') {
        s->p++;
        if (s->p < s->end && (*s->p == '+' || *s->p == '-')) s->p++;
        if (!skim_digits(s)) return malformed(s, "a digit is missing in the exponent");
    }
    return 0;
}

static int skim_word(skimmer *s, const char *word, size_t n)
{
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
        return malformed(s, "expected a value");
    s->p += n;
    return 0;
}

static uint64_t mix(uint64_t h, uint64_t word)
{
    unsigned __int128 product = (unsigned __int128)(h ^ word) * 0x9e3779b97f4a7c15u;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint32_t hash_key(bytes p, size_t n, bool escaped)
{
    static _Thread_local uint64_t seed;
    while (seed == 0)
        uuid_random(&seed, sizeof seed);
    uint64_t h = seed;
    uint8_t word[8] = {0};
    size_t len = 0;
    if (escaped) {
        cursor c = {.p = p, .end = p + n};
        for (int byte; (byte = cursor_next(&c)) >= 0;) {
            word[len++ % 8] = (uint8_t)byte;
            if (len % 8) continue;
            h = mix(h, load8(word));
            memset(word, 0, sizeof word);
        }
    } else {
        for (; n - len >= 8; len += 8)
            h = mix(h, load8(p + len));
        memcpy(word, p + len, n - len);
        len = n;
    }
    h = mix(mix(h, load8(word)), len);
    return (uint32_t)(h >> 32) & ~1u;
}

static bool same_key(const key *a, const key *b)
{
    if ((a->hash | 1) != (b->hash | 1)) return false;
    if ((a->hash | b->hash) & 1) return compare_decoded(a->p, a->n, b->p, b->n) == 0;
    return a->n == b->n && memcmp(a->p, b->p, a->n) == 0;
}

static int duplicate(const skimmer *s, const key *k)
{
    char name[64] = "";
    size_t printable = 0;
    while (printable < k->n && k->p[printable] >= 0x20 && k->p[printable] < 0x7f)
        printable++;
    if (printable == k->n && k->n < sizeof name) memcpy(name, k->p, k->n);
    return sv_fail(s->err, SV_E_DUPLICATE_KEY, name,
                   "A key appears twice in one object, the second time at byte %zu.",
                   (size_t)(k->p - s->start));
}

static int grow_keys(skimmer *s)
{
    size_t cap = 2 * s->cap_keys;
    bool on_heap = s->keys != s->inline_keys;
    key *keys = realloc(on_heap ? s->keys : NULL, cap * sizeof *keys);
    if (keys == NULL) return sv_fail(s->err, SV_E_NO_MEMORY, NULL, NULL);
    if (!on_heap) memcpy(keys, s->inline_keys, sizeof s->inline_keys);
    s->keys = keys;
    s->cap_keys = cap;
    return 0;
}

static int skim_key(skimmer *s)
{
    s->p = skip_space(s->p, s->end);
    if (s->p >= s->end || *s->p != '"') return malformed(s, "expected a key in quotes");
    bytes from = ++s->p;
    bool escaped;
    int rc = skim_string(s, &escaped);
    if (rc) return rc;
    key k = {from, (uint32_t)(s->p - 1 - from), 0};
    k.hash = hash_key(k.p, k.n, escaped) | escaped;
    size_t first = s->first_key[s->depth - 1];
    if (s->n_keys - first < KEYS_LINEAR)
        for (size_t i = first; i < s->n_keys; i++)
            if (same_key(&s->keys[i], &k)) return duplicate(s, &k);
    if (s->n_keys == s->cap_keys && (rc = grow_keys(s))) return rc;
    s->keys[s->n_keys++] = k;
    s->p = skip_space(s->p, s->end);
    if (s->p >= s->end || *s->p != ':') return malformed(s, "expected a colon");
    s->p++;
    return 0;
}

static int open_level(skimmer *s, uint32_t first_key)
{
    if (s->depth == s->max_depth) return fail_at(s, SV_E_TOO_DEEP, s->p, "it is nested too deeply");
    s->first_key[s->depth++] = first_key;
    s->p = skip_space(s->p + 1, s->end);
    return 0;
}

/* Looks for doubles in an object of many keys. */
static int check_large(const skimmer *s, const key *keys, size_t n)
{
    size_t slots = 4 * KEYS_LINEAR;
    while (slots < 2 * n)
        slots *= 2;
    uint32_t *table = calloc(slots, sizeof *table); /* 1 + index, 0: free */
    if (table == NULL) return sv_fail(s->err, SV_E_NO_MEMORY, NULL, NULL);
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        size_t slot = (keys[i].hash >> 1) % slots;
        for (; table[slot] && rc == 0; slot = (slot + 1) % slots)
            if (same_key(&keys[table[slot] - 1], &keys[i])) rc = duplicate(s, &keys[i]);
        table[slot] = (uint32_t)i + 1;
    }
    free(table);
    return rc;
}

static int close_level(skimmer *s)
{
    uint32_t first = s->first_key[--s->depth];
    s->p++;
    if (first == ARRAY) return 0;
    key *keys = s->keys + first;
    size_t n = s->n_keys - first;
    s->n_keys = first;
    return n > KEYS_LINEAR ? check_large(s, keys, n) : 0;
}

/* A scalar, or the opening of a container; *opened says that a value or key of it comes next. */
static int skim_value(skimmer *s, bool *opened)
{
    *opened = false;
    s->p = skip_space(s->p, s->end);
    if (s->p >= s->end) return malformed(s, "");
    int rc;
    switch (*s->p) {
    case '"': {
        bool escaped;
        s->p++;
        return skim_string(s, &escaped);
    }
    case '{':
        rc = open_level(s, (uint32_t)s->n_keys);
        if (rc) return rc;
        if (s->p < s->end && *s->p == '}') return close_level(s);
        *opened = true;
        return skim_key(s);
    case '[':
        rc = open_level(s, ARRAY);
        if (rc) return rc;
        if (s->p < s->end && *s->p == ']') return close_level(s);
        *opened = true;
        return 0;
    case 't': return skim_word(s, "true", 4);
    case 'f': return skim_word(s, "false", 5);
    case 'n': return skim_word(s, "null", 4);
    default:
        if (*s->p != '-' && !is_digit(*s->p)) return malformed(s, "expected a value");
        return skim_number(s);
    }
}

static int skim(skimmer *s)
{
    for (;;) {
        bool opened;
        int rc = skim_value(s, &opened);
        if (rc) return rc;
        if (opened) continue;
        /* A value ended: close what ends here, up to the comma before the next value. */
        for (;;) {
            s->p = skip_space(s->p, s->end);
            if (s->depth == 0)
                return s->p == s->end ? 0 : malformed(s, "nothing may follow the value");
            bool array = s->first_key[s->depth - 1] == ARRAY;
            uint8_t c = s->p < s->end ? *s->p : 0;
            if (c == ',') {
                s->p++;
                if (!array && (rc = skim_key(s))) return rc;
                break;
            }
            if (c != (array ? ']' : '}'))
                return malformed(s, array ? "expected a comma or ]" : "expected a comma or }");
            rc = close_level(s);
            if (rc) return rc;
        }
    }
}

int json_skim(sv_str text, uint32_t max_depth, sv_error *err)
{
    if (text.n > TEXT_BYTES)
        return sv_fail(err, SV_E_TOO_LARGE, NULL, "The JSON text is over %d bytes long.",
                       TEXT_BYTES);
    skimmer s;
    s.start = s.p = (bytes)(text.n ? text.p : "");
    s.end = s.start + text.n;
    s.err = err;
    s.depth = 0;
    s.max_depth = max_depth < LEVELS ? max_depth : LEVELS;
    s.keys = s.inline_keys;
    s.n_keys = 0;
    s.cap_keys = KEYS_INLINE;
    int rc = skim(&s);
    if (s.keys != s.inline_keys) free(s.keys);
    return rc;
}

/* ---- scanning ---- */

static bytes skip_string(bytes p, bytes end)
{
    for (p++; (p = quote_run(p, end)) < end; p += 2)
        if (*p == '"')
            return p + 1;
        else if (end - p < 2)
            break;
    return end;
}

static bool ends_scalar(uint8_t c)
{
    return is_space(c) || c == ',' || c == ':' || c == ']' || c == '}' || c == '"';
}

/* The end of the value that starts at p. */
static bytes skip_value(bytes p, bytes end)
{
    size_t depth = 0;
    do {
        if (p >= end) return end;
        switch (*p) {
        case '"': p = skip_string(p, end); break;
        case '{':
        case '[':
            depth++;
            p++;
            break;
        case '}':
        case ']':
            if (depth == 0) return p;
            depth--;
            p++;
            break;
        case ',':
        case ':':
        case ' ':
        case '\n':
        case '\r':
        case '\t':
            if (depth == 0) return p;
            p++;
            break;
        default:
            do
                p++;
            while (p < end && !ends_scalar(*p));
        }
    } while (depth > 0);
    return p;
}

static json_type type_of(uint8_t first)
{
    switch (first) {
    case '{': return JSON_OBJECT;
    case '[': return JSON_ARRAY;
    case '"': return JSON_STRING;
    case 't': return JSON_TRUE;
    case 'f': return JSON_FALSE;
    case 'n': return JSON_NULL;
    default: return first == '-' || is_digit(first) ? JSON_NUMBER : JSON_NONE;
    }
}

static sv_str slice(bytes from, bytes to)
{
    return (sv_str){(const char *)from, (uint32_t)(to - from)};
}

/* The value at p, which is moved behind it. */
static json_value value_at(bytes *p, bytes end)
{
    bytes from = *p = skip_space(*p, end);
    if (from >= end) return (json_value){JSON_NONE, {NULL, 0}};
    *p = skip_value(from, end);
    json_type type = *p > from ? type_of(*from) : JSON_NONE;
    return (json_value){type, type == JSON_NONE ? (sv_str){NULL, 0} : slice(from, *p)};
}

json_value json_root(sv_str text)
{
    bytes p = (bytes)(text.n ? text.p : "");
    return value_at(&p, p + text.n);
}

/* Moves to the next member or element: *at counts from the container's first byte. */
static bool next_item(json_value container, size_t *at, bytes *p, bytes *end)
{
    bytes start = (bytes)container.raw.p;
    *end = start + container.raw.n;
    if (*at >= container.raw.n) return false;
    *p = skip_space(start + (*at ? *at : 1), *end);
    if (*p < *end && **p == ',') *p = skip_space(*p + 1, *end);
    return *p < *end && **p != '}' && **p != ']';
}

bool json_next_member(json_value object, size_t *at, sv_str *key_ret, json_value *value)
{
    bytes p, end;
    if (object.type != JSON_OBJECT || !next_item(object, at, &p, &end) || *p != '"') return false;
    bytes name = p + 1;
    p = skip_string(p, end);
    bytes name_end = p > name ? p - 1 : name;
    p = skip_space(p, end);
    if (p >= end || *p != ':') return false;
    p++;
    *value = value_at(&p, end);
    if (value->type == JSON_NONE) return false;
    *key_ret = slice(name, name_end);
    *at = (size_t)(p - (bytes)object.raw.p);
    return true;
}

bool json_next_element(json_value array, size_t *at, json_value *value)
{
    bytes p, end;
    if (array.type != JSON_ARRAY || !next_item(array, at, &p, &end)) return false;
    *value = value_at(&p, end);
    if (value->type == JSON_NONE) return false;
    *at = (size_t)(p - (bytes)array.raw.p);
    return true;
}

/* Text equality of a raw string without its quotes and `s`. */
static bool raw_is(sv_str raw, const char *s, size_t n)
{
    if (raw.n == n && memcmp(raw.p, s, n) == 0) return memchr(s, '\\', n) == NULL;
    if (raw.n <= n || memchr(raw.p, '\\', raw.n) == NULL) return false;
    cursor c = {.p = (bytes)raw.p, .end = (bytes)raw.p + raw.n};
    for (size_t i = 0; i < n; i++)
        if (cursor_next(&c) != (uint8_t)s[i]) return false;
    return cursor_next(&c) < 0;
}

json_value json_get(json_value object, const char *name)
{
    size_t at = 0, n = strlen(name);
    sv_str k;
    json_value v;
    while (json_next_member(object, &at, &k, &v))
        if (raw_is(k, name, n)) return v;
    return (json_value){JSON_NONE, {NULL, 0}};
}

/* The string without its quotes. */
static sv_str inside(json_value v)
{
    return v.raw.n >= 2 ? (sv_str){v.raw.p + 1, v.raw.n - 2} : (sv_str){"", 0};
}

int json_text(json_value v, buf *out)
{
    if (v.type != JSON_STRING) return SV_E_WRONG_TYPE;
    sv_str s = inside(v);
    bytes p = (bytes)s.p, end = p + s.n;
    while (p < end) {
        bytes run = memchr(p, '\\', (size_t)(end - p));
        run = run ? run : end;
        int rc = buf_put(out, p, (size_t)(run - p));
        p = run;
        if (rc == 0 && p < end) {
            uint8_t c[4];
            size_t n = decode_escape(&p, end, c);
            rc = buf_put(out, c, n);
        }
        if (rc) return rc;
    }
    return 0;
}

bool json_string_is(json_value v, const char *s)
{
    return v.type == JSON_STRING && raw_is(inside(v), s, strlen(s));
}

int json_int(json_value v, int64_t *ret)
{
    if (v.type != JSON_NUMBER) return SV_E_WRONG_TYPE;
    bool negative = v.raw.p[0] == '-';
    uint32_t i = negative;
    if (i == v.raw.n) return SV_E_WRONG_TYPE;
    int64_t n = 0;
    bool over = false;
    for (; i < v.raw.n; i++) {
        if (!is_digit((uint8_t)v.raw.p[i])) return SV_E_WRONG_TYPE;
        int digit = v.raw.p[i] - '0';
        over |= __builtin_mul_overflow(n, 10, &n) ||
                __builtin_add_overflow(n, negative ? -digit : digit, &n);
    }
    if (over) return SV_E_OUT_OF_RANGE;
    *ret = n;
    return 0;
}

int json_number(json_value v, double *ret)
{
    if (v.type != JSON_NUMBER) return SV_E_WRONG_TYPE;
    char text[NUMBER_BYTES + 1], *end;
    if (v.raw.n > NUMBER_BYTES) return SV_E_OUT_OF_RANGE;
    memcpy(text, v.raw.p, v.raw.n);
    text[v.raw.n] = 0;
    double n = strtod(text, &end);
    if (*end) return SV_E_WRONG_TYPE;
    if (!isfinite(n)) return SV_E_OUT_OF_RANGE;
    *ret = n;
    return 0;
}

/* ---- edits ---- */

int json_apply(sv_str text, const json_edit *edits, size_t n, buf *out)
{
    const char *p = text.n ? text.p : "";
    size_t at = 0;
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        const json_edit *e = &edits[i];
        if (e->at < at || e->at > text.n || e->cut > text.n - e->at) return SV_E_INVALID;
        rc = buf_put(out, p + at, e->at - at);
        if (rc == 0) rc = buf_put(out, e->put.p, e->put.n);
        at = e->at + e->cut;
    }
    return rc ? rc : buf_put(out, p + at, text.n - at);
}

int json_edit_set(sv_str text, const char *name, sv_str value, buf *scratch, json_edit *ret)
{
    json_value root = json_root(text), old = json_get(root, name);
    if (root.type != JSON_OBJECT) return SV_E_WRONG_TYPE;
    if (old.type != JSON_NONE) {
        *ret = (json_edit){(size_t)(old.raw.p - text.p), old.raw.n, value};
        return 0;
    }
    size_t from = scratch->n, at = 0;
    sv_str k;
    json_value v;
    bool empty = !json_next_member(root, &at, &k, &v);
    int rc = buf_putc(scratch, '"');
    if (rc == 0) rc = buf_json_escape(scratch, sv_cstr(name));
    if (rc == 0) rc = buf_puts(scratch, "\":");
    if (rc == 0) rc = buf_put(scratch, value.p, value.n);
    if (rc == 0 && !empty) rc = buf_putc(scratch, ',');
    if (rc) return rc;
    *ret = (json_edit){
        (size_t)(root.raw.p - text.p) + 1, 0, {scratch->p + from, (uint32_t)(scratch->n - from)}};
    return 0;
}

json_edit json_edit_remove(sv_str text, const char *name)
{
    json_value root = json_root(text), v;
    size_t at = 0, n = strlen(name);
    sv_str k;
    const char *before = NULL; /* end of the member before */
    while (json_next_member(root, &at, &k, &v)) {
        const char *from = k.p - 1, *to = v.raw.p + v.raw.n;
        if (raw_is(k, name, n)) {
            bytes end = (bytes)text.p + text.n, next = skip_space((bytes)to, end);
            if (before)
                from = before;
            else if (next < end && *next == ',')
                to = (const char *)next + 1;
            return (json_edit){(size_t)(from - text.p), (size_t)(to - from), {NULL, 0}};
        }
        before = to;
    }
    return (json_edit){0, 0, {NULL, 0}};
}
