/*  envelope.c - offsets of the fixed part, a strict reader for the rest.
 *
 *  offset  bytes  element
 *       0      3  array16 of 18
 *       3      2  version           uint8
 *       5      2  kind              uint8
 *       7      3  flags             uint16
 *      10      5  credit items      uint32
 *      15      9  credit bytes      uint64
 *      24      5  ttl in ms         uint32
 *      29     26  sender            str8 of 24, NUL-padded
 *      55      5  sender instance   uint32
 *      60      2  attempt           uint8
 *      62     18  id                bin8 of 16
 *      80     18  parent id         bin8 of 16
 *      98     27  trace             bin8 of 25
 *     125      5  status/sequence   uint32
 *     130         target, key, tracestate, ticket, content type: fixstr/str8/str16, bin8/bin16 or
 *  nil
 */
#include "envelope.h"

#include "error.h"
#include "utf8.h"

#include <endian.h>

enum {
    AT_VERSION = 3,
    AT_KIND = 5,
    AT_FLAGS = 7,
    AT_ITEMS = 10,
    AT_BYTES = 15,
    AT_TTL = 24,
    AT_SENDER = 29,
    AT_INSTANCE = 55,
    AT_ATTEMPT = 60,
    AT_ID = 62,
    AT_PARENT = 80,
    AT_TRACE = 98,
    AT_CODE = 125
};

static const uint8_t tags[][3] = {
    {AT_VERSION, 0xcc, 0}, {AT_KIND, 0xcc, 0}, {AT_FLAGS, 0xcd, 0},   {AT_ITEMS, 0xce, 0},
    {AT_BYTES, 0xcf, 0},   {AT_TTL, 0xce, 0},  {AT_SENDER, 0xd9, 24}, {AT_INSTANCE, 0xce, 0},
    {AT_ATTEMPT, 0xcc, 0}, {AT_ID, 0xc4, 16},  {AT_PARENT, 0xc4, 16}, {AT_TRACE, 0xc4, 25},
    {AT_CODE, 0xce, 0},
};

static uint16_t get16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return be16toh(v);
}

static uint32_t get32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return be32toh(v);
}

static uint64_t get64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return be64toh(v);
}

static void put(uint8_t *p, uint64_t v, int n)
{
    for (int i = n - 1; i >= 0; i--, v >>= 8)
        p[i] = (uint8_t)v;
}

/* One nil, str or bin at *at. `bin` says which of the two is wanted. */
static int read_text(const uint8_t *d, size_t size, size_t *at, bool bin, size_t max, sv_str *ret)
{
    if (*at >= size) return SV_E_MALFORMED;
    uint8_t tag = d[(*at)++];
    size_t len;
    if (tag == 0xc0) {
        *ret = (sv_str){NULL, 0};
        return 0;
    }
    if (!bin && tag >= 0xa0 && tag <= 0xbf) {
        len = tag & 31u;
    } else if (tag == (bin ? 0xc4 : 0xd9)) {
        if (size - *at < 1) return SV_E_MALFORMED;
        len = d[*at];
        *at += 1;
    } else if (tag == (bin ? 0xc5 : 0xda)) {
        if (size - *at < 2) return SV_E_MALFORMED;
        len = get16(d + *at);
        *at += 2;
    } else {
        return SV_E_MALFORMED;
    }
    if (len > size - *at) return SV_E_MALFORMED;
    if (len > max) return SV_E_TOO_LARGE;
    *ret = (sv_str){(const char *)d + *at, (uint32_t)len};
    *at += len;
    if (!bin && (!utf8_valid(*ret) || (len && memchr(ret->p, 0, len)))) return SV_E_MALFORMED;
    return 0;
}

/* Every element has its fixed-width encoding: one branch for the message that is right. */
static bool fixed_tags(const uint8_t *d)
{
    unsigned wrong = 0;
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        wrong |= (unsigned)(d[tags[i][0]] ^ tags[i][1]);
    return (wrong | (d[AT_SENDER + 1] ^ 24u) | (d[AT_ID + 1] ^ 16u) | (d[AT_PARENT + 1] ^ 16u) |
            (d[AT_TRACE + 1] ^ 25u)) == 0;
}

static int wrong_tag(const uint8_t *d, sv_error *err)
{
    size_t i = 0;
    while (d[tags[i][0]] == tags[i][1] && (!tags[i][2] || d[tags[i][0] + 1] == tags[i][2]))
        i++;
    return sv_fail(err, SV_E_MALFORMED, "header",
                   "Header element %zu does not have its fixed-width encoding.", i);
}

static int read_fixed(const uint8_t *d, envelope *e, sv_error *err)
{
    if (d[0] != 0xdc || d[1] != 0 || d[2] != ENVELOPE_ELEMENTS)
        return sv_fail(err, SV_E_MALFORMED, "header", "The header is not an array of 18 elements.");
    if (!fixed_tags(d)) return wrong_tag(d, err);
    if (d[AT_VERSION + 1] != ENVELOPE_VERSION)
        return sv_fail(err, SV_E_VERSION, "version", "Protocol version %u is not supported; use 1.",
                       d[AT_VERSION + 1]);
    e->kind = d[AT_KIND + 1];
    if (e->kind < SV_HELLO || e->kind > SV_GOODBYE)
        return sv_fail(err, SV_E_MALFORMED, "kind", "Message kind %u is not known.", e->kind);
    e->flags = get16(d + AT_FLAGS + 1);
    if (e->flags & ~SV_FLAGS_KNOWN)
        return sv_fail(err, SV_E_MALFORMED, "flags", "Flags 0x%x hold unknown bits.", e->flags);
    e->credit_items = get32(d + AT_ITEMS + 1);
    e->credit_bytes = get64(d + AT_BYTES + 1);
    e->ttl_ms = get32(d + AT_TTL + 1);
    memcpy(e->sender, d + AT_SENDER + 2, LIMIT_NAME_BYTES);
    e->sender[LIMIT_NAME_BYTES] = 0;
    size_t name = strlen(e->sender);
    static const char padding[LIMIT_NAME_BYTES];
    if (memcmp(e->sender + name, padding, LIMIT_NAME_BYTES - name) != 0)
        return sv_fail(err, SV_E_MALFORMED, "sender", "The sender is not NUL-padded.");
    if (name && !envelope_name_ok((sv_str){e->sender, (uint32_t)name}))
        return sv_fail(err, SV_E_MALFORMED, "sender", "The sender is not a service name.");
    e->sender_instance = get32(d + AT_INSTANCE + 1);
    e->attempt = d[AT_ATTEMPT + 1];
    memcpy(e->id.b, d + AT_ID + 2, 16);
    memcpy(e->parent.b, d + AT_PARENT + 2, 16);
    memcpy(e->trace.trace_id, d + AT_TRACE + 2, 16);
    memcpy(e->trace.span_id, d + AT_TRACE + 18, 8);
    e->trace.flags = d[AT_TRACE + 26];
    e->code = get32(d + AT_CODE + 1);
    return 0;
}

int envelope_decode(const void *data, size_t size, envelope *ret, sv_error *err)
{
    const uint8_t *d = data;
    if (size > LIMIT_HEADER_BYTES)
        return sv_fail(err, SV_E_TOO_LARGE, "header", "The header is larger than %d bytes.",
                       LIMIT_HEADER_BYTES);
    if (size < ENVELOPE_FIXED + 5)
        return sv_fail(err, SV_E_MALFORMED, "header", "The header is shorter than %d bytes.",
                       ENVELOPE_FIXED + 5);
    int rc = read_fixed(d, ret, err);
    if (rc) return rc;
    static const struct {
        const char *name;
        size_t max;
        bool bin;
        size_t at;
    } texts[] = {
        {"target", LIMIT_TARGET_BYTES, false, offsetof(envelope, target)},
        {"key", LIMIT_KEY_BYTES, false, offsetof(envelope, key)},
        {"tracestate", LIMIT_TRACESTATE_BYTES, false, offsetof(envelope, tracestate)},
        {"ticket", LIMIT_TICKET_BYTES, true, offsetof(envelope, ticket)},
        {"content_type", LIMIT_CONTENT_TYPE_BYTES, false, offsetof(envelope, content_type)},
    };
    size_t at = ENVELOPE_FIXED;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        sv_str *to = (sv_str *)(void *)((char *)ret + texts[i].at);
        rc = read_text(d, size, &at, texts[i].bin, texts[i].max, to);
        if (rc)
            return sv_fail(err, rc, texts[i].name,
                           "Header field %s is malformed or over %zu bytes.", texts[i].name,
                           texts[i].max);
    }
    if (at != size)
        return sv_fail(err, SV_E_MALFORMED, "header", "%zu bytes follow the header.", size - at);
    return 0;
}

static size_t text_size(sv_str s, bool bin)
{
    if (s.p == NULL) return 1;
    if (!bin && s.n < 32) return 1 + (size_t)s.n;
    return (s.n < 256 ? 2 : 3) + (size_t)s.n;
}

size_t envelope_size(const envelope *e)
{
    if (e->target.n > LIMIT_TARGET_BYTES || e->key.n > LIMIT_KEY_BYTES ||
        e->tracestate.n > LIMIT_TRACESTATE_BYTES || e->ticket.n > LIMIT_TICKET_BYTES ||
        e->content_type.n > LIMIT_CONTENT_TYPE_BYTES)
        return 0;
    return ENVELOPE_FIXED + text_size(e->target, false) + text_size(e->key, false) +
           text_size(e->tracestate, false) + text_size(e->ticket, true) +
           text_size(e->content_type, false);
}

static uint8_t *write_text(uint8_t *p, sv_str s, bool bin)
{
    if (s.p == NULL) {
        *p++ = 0xc0;
        return p;
    }
    if (!bin && s.n < 32) {
        *p++ = (uint8_t)(0xa0 | s.n);
    } else if (s.n < 256) {
        *p++ = bin ? 0xc4 : 0xd9;
        *p++ = (uint8_t)s.n;
    } else {
        *p++ = bin ? 0xc5 : 0xda;
        put(p, s.n, 2);
        p += 2;
    }
    memcpy(p, s.p, s.n);
    return p + s.n;
}

void envelope_write(const envelope *e, void *to)
{
    uint8_t *d = to;
    d[0] = 0xdc;
    d[1] = 0;
    d[2] = ENVELOPE_ELEMENTS;
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        d[tags[i][0]] = tags[i][1];
        if (tags[i][2]) d[tags[i][0] + 1] = tags[i][2];
    }
    d[AT_VERSION + 1] = ENVELOPE_VERSION;
    d[AT_KIND + 1] = e->kind;
    put(d + AT_FLAGS + 1, e->flags, 2);
    envelope_patch_credit(d, e->credit_items, e->credit_bytes);
    envelope_patch_ttl(d, e->ttl_ms);
    envelope_patch_sender(d, e->sender, e->sender_instance);
    envelope_patch_attempt(d, e->attempt);
    memcpy(d + AT_ID + 2, e->id.b, 16);
    memcpy(d + AT_PARENT + 2, e->parent.b, 16);
    memcpy(d + AT_TRACE + 2, e->trace.trace_id, 16);
    memcpy(d + AT_TRACE + 18, e->trace.span_id, 8);
    d[AT_TRACE + 26] = e->trace.flags;
    envelope_patch_code(d, e->code);
    uint8_t *p = d + ENVELOPE_FIXED;
    p = write_text(p, e->target, false);
    p = write_text(p, e->key, false);
    p = write_text(p, e->tracestate, false);
    p = write_text(p, e->ticket, true);
    write_text(p, e->content_type, false);
}

void envelope_patch_ttl(void *data, uint32_t ttl_ms)
{
    put((uint8_t *)data + AT_TTL + 1, ttl_ms, 4);
}

void envelope_patch_sender(void *data, const char *service, uint32_t instance)
{
    uint8_t *d = data;
    size_t n = strnlen(service, LIMIT_NAME_BYTES);
    memcpy(d + AT_SENDER + 2, service, n);
    memset(d + AT_SENDER + 2 + n, 0, LIMIT_NAME_BYTES - n);
    put(d + AT_INSTANCE + 1, instance, 4);
}

void envelope_patch_attempt(void *data, uint8_t attempt)
{
    ((uint8_t *)data)[AT_ATTEMPT + 1] = attempt;
}

void envelope_patch_code(void *data, uint32_t code)
{
    put((uint8_t *)data + AT_CODE + 1, code, 4);
}

void envelope_patch_credit(void *data, uint32_t items, uint64_t bytes)
{
    put((uint8_t *)data + AT_ITEMS + 1, items, 4);
    put((uint8_t *)data + AT_BYTES + 1, bytes, 8);
}

const char *envelope_kind_name(uint8_t kind)
{
    static const char *const names[] = {
        "?",    "HELLO", "WELCOME", "REQUEST",   "REPLY",       "PARTIAL", "CREDIT", "CANCEL",
        "PING", "PONG",  "EVENT",   "SUBSCRIBE", "UNSUBSCRIBE", "DRAIN",   "GOODBYE"};
    return names[kind <= SV_GOODBYE ? kind : 0];
}

bool envelope_name_ok(sv_str name)
{
    if (name.n < 1 || name.n > LIMIT_NAME_BYTES || name.p[0] < 'a' || name.p[0] > 'z') return false;
    for (uint32_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')) return false;
    }
    return true;
}

bool envelope_target_ok(sv_str target)
{
    if (target.n > LIMIT_TARGET_BYTES) return false;
    const char *dot = target.n ? memchr(target.p, '.', target.n) : NULL;
    if (dot == NULL || !envelope_name_ok((sv_str){target.p, (uint32_t)(dot - target.p)}))
        return false;
    bool word = false;
    for (const char *c = dot + 1; c < target.p + target.n; c++) {
        if (*c == '.') {
            if (!word) return false;
            word = false;
        } else if ((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '_' || *c == '-') {
            word = true;
        } else {
            return false;
        }
    }
    return word;
}

/* The digits behind the slash; 0 when they are no instance's number. */
static uint32_t instance_of(const char *digits, size_t n)
{
    uint64_t number = 0;
    if (n < 1 || n > 10 || digits[0] == '0') return 0;
    for (size_t i = 0; i < n; i++) {
        if (digits[i] < '0' || digits[i] > '9') return 0;
        number = number * 10 + (uint64_t)(digits[i] - '0');
    }
    return number <= UINT32_MAX ? (uint32_t)number : 0;
}

bool envelope_target_plain(sv_str target, char plain[LIMIT_TARGET_BYTES + 1], sv_str *ret,
                           uint32_t *ret_instance)
{
    if (envelope_target_ok(target)) {
        *ret = target;
        *ret_instance = 0;
        return true;
    }
    if (target.n == 0 || target.n > LIMIT_TARGET_BYTES) return false;
    const char *dot = memchr(target.p, '.', target.n), *end = target.p + target.n;
    const char *slash = dot ? memchr(target.p, '/', (size_t)(dot - target.p)) : NULL;
    uint32_t instance = slash ? instance_of(slash + 1, (size_t)(dot - slash - 1)) : 0;
    if (instance == 0) return false;
    size_t service_n = (size_t)(slash - target.p), rest_n = (size_t)(end - dot);
    char text[LIMIT_TARGET_BYTES + 1];
    memcpy(text, target.p, service_n);
    memcpy(text + service_n, dot, rest_n);
    text[service_n + rest_n] = 0;
    if (!envelope_target_ok((sv_str){text, (uint32_t)(service_n + rest_n)})) return false;
    memcpy(plain, text, service_n + rest_n + 1);
    *ret = (sv_str){plain, (uint32_t)(service_n + rest_n)};
    *ret_instance = instance;
    return true;
}
