/*  skim.c - a stack of open containers, at most LIMIT_DEPTH deep.
 *
 *  Duplicate keys: a table of 64-bit keyed hashes (SipHash, random key per process; the map's
 *  serial number is mixed in) over the whole message. Equal hashes are taken for equal keys: with a
 *  secret key a false alarm needs about 2^32 keys, and a message has room for 2^16. */
#include "skim.h"

#include "error.h"
#include "utf8.h"

#include <sodium.h>
#include <stdlib.h>

typedef struct level {
    uint32_t left; /* values still to come */
    bool map;      /* alternate key, value */
    bool key_next;
    uint32_t serial; /* which map: part of the key's hash */
} level;

typedef struct skim {
    const uint8_t *p;
    size_t n, at;
    level stack[LIMIT_DEPTH];
    uint32_t depth;
    uint32_t maps;
    uint64_t *seen; /* open addressing, power of two; NULL while `small` is large enough */
    uint64_t small[64];
    uint32_t cap, used;
} skim;

static uint64_t key_hash(uint32_t serial, sv_str key)
{
    static unsigned char seed[crypto_shorthash_KEYBYTES];
    static bool seeded;
    if (!__atomic_load_n(&seeded, __ATOMIC_ACQUIRE)) {
        static int lock;
        while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE))
            ;
        if (!seeded) randombytes_buf(seed, sizeof seed);
        __atomic_store_n(&seeded, true, __ATOMIC_RELEASE);
        __atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
    }
    uint64_t h;
    crypto_shorthash((unsigned char *)&h, (const unsigned char *)(key.n ? key.p : ""), key.n, seed);
    h ^= (uint64_t)serial * 0x9e3779b97f4a7c15u;
    return h ? h : 1;
}

/* False when the hash was there already; grows the table at half full. */
static int remember(skim *s, uint64_t h)
{
    uint64_t *table = s->seen ? s->seen : s->small;
    uint32_t cap = s->cap;
    for (uint32_t i = (uint32_t)h & (cap - 1);; i = (i + 1) & (cap - 1)) {
        if (table[i] == h) return SV_E_DUPLICATE_KEY;
        if (table[i] == 0) {
            table[i] = h;
            break;
        }
    }
    if (++s->used * 2 < cap) return 0;
    uint64_t *bigger = calloc((size_t)cap * 4, sizeof *bigger);
    if (bigger == NULL) return SV_E_NO_MEMORY;
    for (uint32_t i = 0; i < cap; i++) {
        if (table[i] == 0) continue;
        uint32_t j = (uint32_t)table[i] & (cap * 4 - 1);
        while (bigger[j])
            j = (j + 1) & (cap * 4 - 1);
        bigger[j] = table[i];
    }
    free(s->seen);
    s->seen = bigger;
    s->cap = cap * 4;
    return 0;
}

static int take_size(skim *s, int bytes, uint32_t *ret)
{
    if (s->n - s->at < (size_t)bytes) return SV_E_MALFORMED;
    uint32_t v = 0;
    for (int i = 0; i < bytes; i++)
        v = v << 8 | s->p[s->at++];
    *ret = v;
    return 0;
}

static int skip(skim *s, size_t n)
{
    if (s->n - s->at < n) return SV_E_MALFORMED;
    s->at += n;
    return 0;
}

/* Every element takes at least a byte: a claim beyond what is left is a lie. */
static int open_container(skim *s, uint32_t count, bool map, uint32_t max_depth)
{
    uint64_t values = map ? (uint64_t)count * 2 : count;
    if (values > s->n - s->at) return SV_E_MALFORMED;
    if (s->depth >= max_depth || s->depth >= LIMIT_DEPTH) return SV_E_TOO_DEEP;
    s->stack[s->depth++] = (level){(uint32_t)values, map, map, map ? ++s->maps : 0};
    return 0;
}

static int skim_string(skim *s, uint32_t n, const level *in)
{
    if (s->n - s->at < n) return SV_E_MALFORMED;
    sv_str text = {(const char *)s->p + s->at, n};
    if (!utf8_valid(text)) return SV_E_BAD_UTF8;
    s->at += n;
    if (in && in->map && in->key_next) return remember(s, key_hash(in->serial, text));
    return 0;
}

static int skim_value(skim *s, uint32_t max_depth, const level *in)
{
    uint8_t c = s->p[s->at++];
    uint32_t n = 0;
    int rc;
    bool key = in && in->map && in->key_next;
    bool is_str = (c >= 0xa0 && c <= 0xbf) || (c >= 0xd9 && c <= 0xdb);
    if (key && !is_str) return SV_E_MALFORMED;
    if (c <= 0x7f || c >= 0xe0) return 0;
    if (c <= 0x8f) return open_container(s, c & 15u, true, max_depth);
    if (c <= 0x9f) return open_container(s, c & 15u, false, max_depth);
    if (c <= 0xbf) return skim_string(s, c & 31u, in);
    switch (c) {
    case 0xc0:
    case 0xc2:
    case 0xc3: return 0;
    case 0xc4: rc = take_size(s, 1, &n); return rc ? rc : skip(s, n);
    case 0xc5: rc = take_size(s, 2, &n); return rc ? rc : skip(s, n);
    case 0xc6: rc = take_size(s, 4, &n); return rc ? rc : skip(s, n);
    case 0xcc:
    case 0xd0: return skip(s, 1);
    case 0xcd:
    case 0xd1: return skip(s, 2);
    case 0xca:
    case 0xce:
    case 0xd2: return skip(s, 4);
    case 0xcb:
    case 0xcf:
    case 0xd3: return skip(s, 8);
    case 0xd9: rc = take_size(s, 1, &n); return rc ? rc : skim_string(s, n, in);
    case 0xda: rc = take_size(s, 2, &n); return rc ? rc : skim_string(s, n, in);
    case 0xdb: rc = take_size(s, 4, &n); return rc ? rc : skim_string(s, n, in);
    case 0xdc: rc = take_size(s, 2, &n); return rc ? rc : open_container(s, n, false, max_depth);
    case 0xdd: rc = take_size(s, 4, &n); return rc ? rc : open_container(s, n, false, max_depth);
    case 0xde: rc = take_size(s, 2, &n); return rc ? rc : open_container(s, n, true, max_depth);
    case 0xdf: rc = take_size(s, 4, &n); return rc ? rc : open_container(s, n, true, max_depth);
    default: return SV_E_MALFORMED; /* 0xc1 and extension types */
    }
}

int skim_msgpack(sv_str bytes, uint32_t max_depth, uint32_t max_nodes, sv_error *err)
{
    skim s = {.p = (const uint8_t *)bytes.p, .n = bytes.n, .cap = 64};
    uint32_t nodes = 0;
    int rc = bytes.n == 0 ? SV_E_MALFORMED : 0;
    bool first = true;
    size_t at = 0;
    while (rc == 0 && (first || s.depth > 0)) {
        first = false;
        level *in = s.depth ? &s.stack[s.depth - 1] : NULL;
        if (in && in->left == 0) {
            s.depth--;
            continue;
        }
        at = s.at;
        if (s.at >= s.n) {
            rc = SV_E_MALFORMED;
            break;
        }
        if (++nodes > max_nodes) {
            rc = SV_E_TOO_LARGE;
            break;
        }
        rc = skim_value(&s, max_depth, in);
        if (in) {
            in->left--;
            in->key_next = in->map && !in->key_next;
        }
    }
    if (rc == 0 && s.at != s.n) {
        rc = SV_E_MALFORMED;
        at = s.at;
    }
    free(s.seen);
    if (rc)
        return sv_fail(err, rc, "body", "%s (msgpack, byte %zu)", sv_error_lookup(rc)->text, at);
    return 0;
}
