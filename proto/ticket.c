/*  ticket.c - a fixed shape of msgpack, so reader and writer are written out by hand.
 *
 *  The ring's cache is 256 sets of four: a ticket's keyed BLAKE2b-128 picks the set and is what
 *  is compared. The oldest entry of a set makes room. Only tickets whose signature verified
 *  enter; expiry is checked every time, before the cache is asked. */
#include "ticket.h"

#include "error.h"
#include "sv_limits.h"
#include "utf8.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>

enum {
    VERSION = 2,
    FIELDS = 11,
    ID_BYTES = 8,
    SIGNATURE = crypto_sign_BYTES,
    SETS = 256,
    WAYS = 4
};

_Static_assert(TICKET_KEY == crypto_sign_PUBLICKEYBYTES, "Ed25519 public key");
_Static_assert(TICKET_SEED == crypto_sign_SEEDBYTES, "Ed25519 seed");

static const char domain[] = "samovar-ticket-2"; /* signed with its NUL */

/* What is signed: the domain, then the ticket's bytes. */
typedef struct signed_text {
    uint8_t p[sizeof domain + LIMIT_TICKET_BYTES];
    size_t n;
} signed_text;

static void signed_text_set(signed_text *t, const void *p, size_t n)
{
    assert(n <= LIMIT_TICKET_BYTES);
    memcpy(t->p, domain, sizeof domain);
    memcpy(t->p + sizeof domain, p, n);
    t->n = sizeof domain + n;
}

static void start_sodium(void)
{
    int rc = sodium_init();
    assert(rc >= 0); /* fails only where the kernel has no random numbers */
}

static void signer_id(const uint8_t key[TICKET_KEY], uint8_t id[ID_BYTES])
{
    uint8_t digest[crypto_generichash_BYTES_MAX];
    crypto_generichash(digest, sizeof digest, key, TICKET_KEY, NULL, 0);
    memcpy(id, digest, ID_BYTES);
}

/* ---- signing ---- */

void ticket_signer_init(ticket_signer *s, const uint8_t seed[TICKET_SEED])
{
    start_sodium();
    uint8_t key[TICKET_KEY];
    crypto_sign_seed_keypair(key, s->secret, seed);
    signer_id(key, s->id);
}

void ticket_signer_public(const ticket_signer *s, uint8_t key[TICKET_KEY])
{
    crypto_sign_ed25519_sk_to_pk(key, s->secret);
}

void ticket_signer_clear(ticket_signer *s)
{
    sodium_memzero(s, sizeof *s);
}

typedef struct writer {
    uint8_t p[LIMIT_TICKET_BYTES];
    size_t n;
    int rc;
} writer;

static void put(writer *w, const void *p, size_t n)
{
    if (w->rc == 0 && n > sizeof w->p - w->n) w->rc = SV_E_TOO_LARGE;
    if (w->rc || n == 0) return;
    memcpy(w->p + w->n, p, n);
    w->n += n;
}

static void put_byte(writer *w, unsigned byte)
{
    put(w, &(uint8_t){(uint8_t)byte}, 1);
}

static void put_str(writer *w, sv_str s)
{
    if (w->rc == 0 && !utf8_valid(s)) w->rc = SV_E_BAD_UTF8;
    if (s.n < 32) {
        put_byte(w, 0xa0 | s.n);
    } else if (s.n < 256) {
        put_byte(w, 0xd9);
        put_byte(w, s.n);
    } else {
        put_byte(w, 0xda);
        put_byte(w, s.n >> 8 & 0xff); /* a longer one fails below */
        put_byte(w, s.n & 0xff);
    }
    put(w, s.p, s.n);
}

static void put_list(writer *w, const sv_str *items, uint32_t n)
{
    if (w->rc == 0 && n > TICKET_LIST) w->rc = SV_E_TOO_LARGE;
    put_byte(w, 0x90 | (n & 0xf));
    for (uint32_t i = 0; i < n && w->rc == 0; i++)
        put_str(w, items[i]);
}

int ticket_sign(const ticket_signer *s, const ticket *t, buf *out)
{
    writer w;
    w.n = 0;
    w.rc = 0;
    put_byte(&w, 0x90 | FIELDS);
    put_byte(&w, VERSION);
    put_str(&w, t->user);
    put_str(&w, t->org);
    put_list(&w, t->roles, t->n_roles);
    put_str(&w, t->tier);
    put_list(&w, t->scopes, t->n_scopes);
    put_byte(&w, 0xcf);
    for (int shift = 56; shift >= 0; shift -= 8)
        put_byte(&w, t->expires_s >> shift & 0xff);
    put_str(&w, t->actor);
    put_str(&w, t->credential);
    put_str(&w, t->bound);
    put_byte(&w, 0xc4);
    put_byte(&w, ID_BYTES);
    put(&w, s->id, ID_BYTES);
    if (w.rc) return w.rc;
    if (w.n > LIMIT_TICKET_BYTES - SIGNATURE) return SV_E_TOO_LARGE;
    signed_text text;
    signed_text_set(&text, w.p, w.n);
    uint8_t signature[SIGNATURE];
    crypto_sign_detached(signature, NULL, text.p, text.n, s->secret);
    put(&w, signature, SIGNATURE);
    return buf_put(out, w.p, w.n);
}

/* ---- reading ---- */

typedef struct reader {
    const uint8_t *p;
    size_t n;
    bool bad;
} reader;

static const uint8_t *take(reader *r, size_t n)
{
    if (r->bad || n > r->n) {
        r->bad = true;
        return NULL;
    }
    r->p += n;
    r->n -= n;
    return r->p - n;
}

/* A big-endian number of `n` bytes. */
static uint64_t take_number(reader *r, size_t n)
{
    const uint8_t *p = take(r, n);
    uint64_t v = 0;
    for (size_t i = 0; p && i < n; i++)
        v = v << 8 | p[i];
    return v;
}

static uint64_t take_uint(reader *r)
{
    uint64_t c = take_number(r, 1);
    if (c >= 0xcc && c <= 0xcf) return take_number(r, (size_t)1 << (c - 0xcc));
    if (c > 0x7f) r->bad = true;
    return c;
}

static sv_str take_str(reader *r)
{
    uint64_t c = take_number(r, 1), n = 0;
    if ((c & 0xe0) == 0xa0)
        n = c & 0x1f;
    else if (c == 0xd9 || c == 0xda)
        n = take_number(r, c == 0xd9 ? 1 : 2);
    else
        r->bad = true;
    const uint8_t *p = take(r, (size_t)n);
    sv_str s = {(const char *)p, p ? (uint32_t)n : 0};
    if (p && !utf8_valid(s)) r->bad = true;
    return s;
}

static uint32_t take_list(reader *r, sv_str items[TICKET_LIST])
{
    uint64_t c = take_number(r, 1);
    uint32_t n = (uint32_t)(c & 0xf);
    if ((c & 0xf0) != 0x90 || n > TICKET_LIST) r->bad = true;
    for (uint32_t i = 0; i < n && !r->bad; i++)
        items[i] = take_str(r);
    return n;
}

static int refuse(sv_error *err, const char *why)
{
    sv_fail(err, SV_E_TICKET, NULL, NULL);
    sv_error_detail(err, "%s", why);
    return SV_E_TICKET;
}

/* Also answers who says to have signed it. */
static int read_ticket(sv_str bytes, ticket *ret, const uint8_t **signer, sv_error *err)
{
    if (bytes.n > LIMIT_TICKET_BYTES) return refuse(err, "the ticket is too large");
    if (bytes.n <= SIGNATURE) return refuse(err, "the ticket is too short");
    reader r = {(const uint8_t *)bytes.p, bytes.n - SIGNATURE, false};
    ticket t = {0};
    if (take_number(&r, 1) != (0x90 | FIELDS))
        return refuse(err, "the ticket is no array of eleven");
    if (take_number(&r, 1) != VERSION) return refuse(err, "the ticket's version is not known");
    t.user = take_str(&r);
    t.org = take_str(&r);
    t.n_roles = take_list(&r, t.roles);
    t.tier = take_str(&r);
    t.n_scopes = take_list(&r, t.scopes);
    t.expires_s = take_uint(&r);
    t.actor = take_str(&r);
    t.credential = take_str(&r);
    t.bound = take_str(&r);
    bool id_follows = take_number(&r, 2) == (0xc400 | ID_BYTES);
    *signer = take(&r, ID_BYTES);
    if (r.bad || !id_follows || r.n > 0) return refuse(err, "the ticket is malformed");
    *ret = t;
    return 0;
}

int ticket_read(sv_str bytes, ticket *ret, sv_error *err)
{
    const uint8_t *signer;
    return read_ticket(bytes, ret, &signer, err);
}

/* ---- verifying ---- */

typedef struct trusted {
    uint8_t key[TICKET_KEY], id[ID_BYTES];
} trusted;

typedef struct cache_set {
    uint8_t hash[WAYS][TICKET_HASH]; /* all zero: free */
    uint32_t oldest;
} cache_set;

struct ticket_ring {
    trusted signers[TICKET_SIGNERS];
    uint32_t n;
    uint8_t hash_key[crypto_generichash_KEYBYTES];
    cache_set sets[SETS];
};

ticket_ring *ticket_ring_new(void)
{
    start_sodium();
    ticket_ring *r = calloc(1, sizeof *r);
    if (r) randombytes_buf(r->hash_key, sizeof r->hash_key);
    return r;
}

void ticket_ring_free(ticket_ring *r)
{
    if (r == NULL) return;
    sodium_memzero(r, sizeof *r);
    free(r);
}

int ticket_ring_add(ticket_ring *r, const uint8_t key[TICKET_KEY])
{
    for (uint32_t i = 0; i < r->n; i++)
        if (memcmp(r->signers[i].key, key, TICKET_KEY) == 0) return 0;
    if (r->n == TICKET_SIGNERS) return SV_E_TOO_LARGE;
    trusted *t = &r->signers[r->n++];
    memcpy(t->key, key, TICKET_KEY);
    signer_id(key, t->id);
    return 0;
}

static bool signature_holds(const ticket_ring *r, const uint8_t *signer, sv_str bytes)
{
    signed_text text;
    signed_text_set(&text, bytes.p, bytes.n - SIGNATURE);
    const uint8_t *signature = (const uint8_t *)bytes.p + bytes.n - SIGNATURE;
    for (uint32_t i = 0; i < r->n; i++)
        if (memcmp(r->signers[i].id, signer, ID_BYTES) == 0 &&
            crypto_sign_verify_detached(signature, text.p, text.n, r->signers[i].key) == 0)
            return true;
    return false;
}

int ticket_ring_read(ticket_ring *r, sv_str bytes, uint64_t now_s, ticket *ret,
                     uint8_t hash[TICKET_HASH], sv_error *err)
{
    ticket t;
    const uint8_t *signer;
    int rc = read_ticket(bytes, &t, &signer, err);
    if (rc) return rc;
    if (now_s >= t.expires_s) return refuse(err, "the ticket has expired");
    *ret = t;
    crypto_generichash(hash, TICKET_HASH, (const uint8_t *)bytes.p, bytes.n, r->hash_key,
                       sizeof r->hash_key);
    cache_set *set = &r->sets[hash[0]];
    for (size_t i = 0; i < WAYS; i++)
        if (memcmp(set->hash[i], hash, TICKET_HASH) == 0) return 0;
    if (!signature_holds(r, signer, bytes))
        return refuse(err, "the signature is not by a known key");
    memcpy(set->hash[set->oldest], hash, TICKET_HASH);
    set->oldest = (set->oldest + 1) % WAYS;
    return 0;
}

int ticket_ring_verify(ticket_ring *r, sv_str bytes, uint64_t now_s, sv_error *err)
{
    ticket t;
    uint8_t hash[TICKET_HASH];
    return ticket_ring_read(r, bytes, now_s, &t, hash, err);
}
