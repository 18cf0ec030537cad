/*  keyring.c - which key seals what, in table sys.keys:
 *
 *    ("kek")               number of the newest key-encryption key, 4 bytes, big-endian
 *    ("kek", n)            16 bytes that tell which root key, then the KEK wrapped by it
 *    ("tenant", name)      number of the tenant's newest data key; stays when its keys are dropped,
 *                          so that a number never stands for two keys
 *    ("data", name, n)     data key, wrapped by the KEK whose number its sealed form carries
 *
 *  A sealed value names its data key's number. What it is bound to is tenant, that number, and the
 *  caller's table|key|field, each with its length where another could begin.
 *
 *  The table is the truth; in memory there is only a cache of opened keys, found by where a wrapped
 *  key lies and its random nonce. So a transaction that is undone, a reader of an older state and an
 *  environment that was replaced each see the keys that belong to them. Locked memory is scarce: the
 *  cache is bounded, and gives way when there is no more. `mutex` guards all of it; sealing happens
 *  under it, since a key may be thrown out of the cache otherwise. */
#include "internal.h"

#include "sv_limits.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    CACHE = 256,
    ROOTS = 4, /* the present one, the next, and room while a change may yet be undone */
    CHECK = 16,
    WRAPPED = SEAL_OVERHEAD + SEAL_KEY,
    NONCE_AT = 5,
    NONCE = 24,
    VERSION = 4,
    ID = 2 * 4 + 1 /* of a root key, for people */
};

typedef struct root {
    seal_key *key;
    uint8_t check[CHECK];
    uint64_t used;
} root;

typedef struct entry {
    uint64_t used; /* 0: free */
    seal_key *key;
    uint8_t nonce[NONCE];
    tuple at;
} entry;

struct keyring {
    pthread_mutex_t mutex;
    uint64_t clock;
    root roots[ROOTS];
    uint64_t tags[CACHE]; /* beginnings of nonces, close together for the search */
    entry cache[CACHE];
};

static const char no_memory[] =
    "There is no locked memory left for keys; raise RLIMIT_MEMLOCK (ulimit -l).";

static int key_memory(store_tx *tx)
{
    return tx_failed(tx, sv_fail(tx->err, SV_E_NO_MEMORY, NULL, no_memory));
}

static int damaged(store_tx *tx, const char *what)
{
    return sv_fail(tx->err, SV_E_STORE_DAMAGED, "keys", "A key of this environment is damaged: %s.",
                   what);
}

/* ---- root keys ---- */

static root *root_by_check(keyring *k, const uint8_t check[CHECK])
{
    for (uint32_t i = 0; i < ROOTS; i++)
        if (k->roots[i].key && memcmp(k->roots[i].check, check, CHECK) == 0) {
            k->roots[i].used = ++k->clock;
            return &k->roots[i];
        }
    return NULL;
}

/* Copies a root key in, in the place of the one that was of no use for longest. */
static int add_root(keyring *k, const seal_key *key)
{
    uint8_t check[CHECK];
    if (key == NULL) return 0;
    seal_key_check(key, check);
    if (root_by_check(k, check)) return 0;
    root *to = &k->roots[0];
    for (uint32_t i = 1; i < ROOTS; i++)
        if (k->roots[i].used < to->used) to = &k->roots[i];
    seal_key *copy = seal_key_from(seal_key_bytes(key));
    if (copy == NULL) return SV_E_NO_MEMORY;
    seal_key_free(to->key);
    *to = (root){.key = copy, .used = ++k->clock};
    memcpy(to->check, check, CHECK);
    return 0;
}

/* The first bytes of a root key's check value in hex. */
static const char *root_id(const uint8_t check[CHECK], char to[ID])
{
    snprintf(to, ID, "%02x%02x%02x%02x", check[0], check[1], check[2], check[3]);
    return to;
}

/* ---- the table ---- */

static int get(store_tx *tx, const tuple *at, sv_str *ret)
{
    if (tx->failed) return tx->failed;
    int rc = engine_get(tx->txn, tx->store->sys.keys, tuple_str(at), ret, tx->err);
    return rc && rc != SV_E_NOT_FOUND ? tx_failed(tx, rc) : rc;
}

static int put(store_tx *tx, const tuple *at, const void *p, size_t n)
{
    return tx_put(tx, tx->store->sys.keys, tuple_str(at), (sv_str){p, (uint32_t)n}, false);
}

static void at_kek(tuple *t, uint32_t number)
{
    tuple_clear(t);
    tuple_text(t, sv_cstr("kek"));
    if (number) tuple_int(t, number);
}

/* Long names are shortened; what is sealed is bound to the whole name all the same. */
static void at_tenant(tuple *t, const char *kind, sv_str tenant)
{
    tuple_clear(t);
    tuple_text(t, sv_cstr(kind));
    tuple_text_short(t, tenant);
}

static void at_data(tuple *t, sv_str tenant, uint32_t number)
{
    at_tenant(t, "data", tenant);
    tuple_int(t, number);
}

static void number_write(uint32_t v, uint8_t to[VERSION])
{
    for (int i = 0; i < VERSION; i++)
        to[i] = (uint8_t)(v >> (24 - 8 * i));
}

static int get_number(store_tx *tx, const tuple *at, uint32_t *ret)
{
    sv_str value;
    *ret = 0;
    int rc = get(tx, at, &value);
    if (rc) return rc == SV_E_NOT_FOUND ? 0 : rc;
    if (value.n != VERSION) return damaged(tx, "a number cannot be read");
    for (int i = 0; i < VERSION; i++)
        *ret = *ret << 8 | (uint8_t)value.p[i];
    return 0;
}

static int put_number(store_tx *tx, const tuple *at, uint32_t v)
{
    uint8_t bytes[VERSION];
    number_write(v, bytes);
    return put(tx, at, bytes, sizeof bytes);
}

int keyring_newest(store_tx *tx, uint32_t *ret)
{
    tuple at;
    at_kek(&at, 0);
    return get_number(tx, &at, ret);
}

/* ---- the cache; `mutex` is held ---- */

static uint64_t tag_of(const uint8_t *nonce)
{
    uint64_t tag;
    memcpy(&tag, nonce, sizeof tag);
    return tag;
}

static const seal_key *cache_find(keyring *k, const tuple *at, const uint8_t *nonce)
{
    uint64_t tag = tag_of(nonce);
    for (uint32_t i = 0; i < CACHE; i++) {
        entry *e = &k->cache[i];
        if (k->tags[i] == tag && e->used && memcmp(e->nonce, nonce, NONCE) == 0 &&
            sv_str_eq(tuple_str(&e->at), tuple_str(at))) {
            e->used = ++k->clock;
            return e->key;
        }
    }
    return NULL;
}

/* In use, or NULL. */
static entry *cache_oldest(keyring *k)
{
    entry *e = NULL;
    for (uint32_t i = 0; i < CACHE; i++)
        if (k->cache[i].used && (e == NULL || k->cache[i].used < e->used)) e = &k->cache[i];
    return e;
}

static entry *cache_free(keyring *k)
{
    for (uint32_t i = 0; i < CACHE; i++)
        if (k->cache[i].used == 0) return &k->cache[i];
    return NULL;
}

static void cache_drop(keyring *k, entry *e)
{
    if (e == NULL) return;
    seal_key_free(e->key);
    e->key = NULL;
    e->used = 0;
    k->tags[e - k->cache] = 0;
}

static void cache_put(keyring *k, const tuple *at, const uint8_t *nonce, seal_key *key)
{
    entry *e = cache_free(k);
    if (e == NULL) {
        e = cache_oldest(k);
        cache_drop(k, e);
    }
    e->used = ++k->clock;
    e->key = key;
    memcpy(e->nonce, nonce, NONCE);
    e->at = *at;
    k->tags[e - k->cache] = tag_of(nonce);
}

/* Gives locked memory back: the half that was not used for longest. False: there was none. */
static bool cache_shrink(keyring *k)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < CACHE; i++)
        n += k->cache[i].used != 0;
    for (uint32_t left = (n + 1) / 2; left > 0; left--)
        cache_drop(k, cache_oldest(k));
    return n > 0;
}

/* ---- wrapped keys; `mutex` is held ---- */

/* `by` must not come from the cache, which may be shrunk. */
static int unwrap(keyring *k, const seal_key *by, const tuple *at, sv_str wrapped, seal_key **ret)
{
    int rc;
    do {
        rc = seal_unwrap(by, tuple_str(at), wrapped, ret);
    } while (rc == SV_E_NO_MEMORY && cache_shrink(k));
    return rc;
}

/* Where KEK `number` lies, its wrapped bytes, and the root key that wraps it. */
static int find_kek(store_tx *tx, uint32_t number, tuple *at, sv_str *ret_wrapped, root **ret)
{
    char id[ID];
    sv_str value;
    at_kek(at, number);
    int rc = get(tx, at, &value);
    if (rc == SV_E_NOT_FOUND) return damaged(tx, "a key-encryption key is missing");
    if (rc) return rc;
    if (value.n != CHECK + WRAPPED) return damaged(tx, "a key-encryption key has a wrong length");
    const uint8_t *check = (const uint8_t *)value.p;
    *ret = root_by_check(tx->store->keys, check);
    *ret_wrapped = (sv_str){value.p + CHECK, WRAPPED};
    if (*ret) return 0;
    return sv_fail(
        tx->err, SV_E_STORE_KEY, NULL,
        "The root key does not open the keys of %s, which need the root key %s. Nothing was "
        "written: put the right key back.",
        tx->store->spec.schema->service, root_id(check, id));
}

/* An own copy of KEK `number`: the cache may be shrunk while it is used. */
static int open_kek(store_tx *tx, uint32_t number, seal_key **ret)
{
    tuple at;
    sv_str wrapped;
    root *by;
    int rc = find_kek(tx, number, &at, &wrapped, &by);
    if (rc) return rc;
    rc = unwrap(tx->store->keys, by->key, &at, wrapped, ret);
    if (rc == SV_E_NO_MEMORY) return key_memory(tx);
    return rc ? damaged(tx, "a key-encryption key does not open") : 0;
}

/* The data key that lies at `at`, from the cache or opened: valid until the next call. */
static int open_data(store_tx *tx, const tuple *at, sv_str wrapped, const seal_key **ret)
{
    keyring *k = tx->store->keys;
    seal_key *kek, *key;
    uint32_t by = 0;
    if (wrapped.n != WRAPPED || seal_version(wrapped, &by))
        return damaged(tx, "a data key has a wrong length");
    const uint8_t *nonce = (const uint8_t *)wrapped.p + NONCE_AT;
    *ret = cache_find(k, at, nonce);
    if (*ret) return 0;
    int rc = open_kek(tx, by, &kek);
    if (rc) return rc;
    rc = unwrap(k, kek, at, wrapped, &key);
    seal_key_free(kek);
    if (rc == SV_E_NO_MEMORY) return key_memory(tx);
    if (rc) return damaged(tx, "a data key does not open");
    cache_put(k, at, nonce, key);
    *ret = key;
    return 0;
}

static seal_key *fresh_key(keyring *k)
{
    seal_key *key;
    do {
        key = seal_key_new();
    } while (key == NULL && cache_shrink(k));
    return key;
}

static int put_kek(store_tx *tx, uint32_t number, const root *by, const seal_key *kek)
{
    tuple at;
    char bytes[CHECK + WRAPPED];
    buf out = {.p = bytes, .n = CHECK, .cap = sizeof bytes, .max = sizeof bytes};
    memcpy(bytes, by->check, CHECK);
    at_kek(&at, number);
    int rc = seal_wrap(by->key, number, tuple_str(&at), kek, &out);
    return rc ? tx_failed(tx, rc) : put(tx, &at, bytes, sizeof bytes);
}

static int make_kek(store_tx *tx, uint32_t number, const root *by)
{
    tuple at;
    seal_key *kek = fresh_key(tx->store->keys);
    if (kek == NULL) return key_memory(tx);
    int rc = put_kek(tx, number, by, kek);
    seal_key_free(kek);
    at_kek(&at, 0);
    return rc ? rc : put_number(tx, &at, number);
}

static int make_data(store_tx *tx, sv_str tenant, uint32_t number, uint32_t kek_number)
{
    tuple at;
    char bytes[WRAPPED];
    buf out = {.p = bytes, .cap = sizeof bytes, .max = sizeof bytes};
    seal_key *kek = NULL, *key = NULL;
    at_data(&at, tenant, number);
    int rc = open_kek(tx, kek_number, &kek);
    if (rc == 0 && (key = fresh_key(tx->store->keys)) == NULL) rc = key_memory(tx);
    if (rc == 0 && (rc = seal_wrap(kek, kek_number, tuple_str(&at), key, &out))) tx_failed(tx, rc);
    if (rc == 0) rc = put(tx, &at, bytes, sizeof bytes);
    seal_key_free(kek);
    seal_key_free(key);
    at_tenant(&at, "tenant", tenant);
    return rc ? rc : put_number(tx, &at, number);
}

/* ---- values ---- */

/* What a value is bound to. */
static int context(store_tx *tx, arena *a, sv_str tenant, uint32_t number, sv_str place,
                   sv_str *ret)
{
    uint32_t n = 2 * VERSION + tenant.n + place.n;
    uint8_t *p = arena_alloc(a, n);
    if (p == NULL) return tx_failed(tx, sv_fail(tx->err, SV_E_NO_MEMORY, NULL, NULL));
    number_write(tenant.n, p);
    if (tenant.n) memcpy(p + VERSION, tenant.p, tenant.n);
    number_write(number, p + VERSION + tenant.n);
    if (place.n) memcpy(p + 2 * VERSION + tenant.n, place.p, place.n);
    *ret = (sv_str){(const char *)p, n};
    return 0;
}

int keyring_needed(store_tx *tx)
{
    if (tx->store->keys) return 0;
    return sv_fail(tx->err, SV_E_STORE_KEY, NULL, "Secrets cannot be kept without a root key.");
}

/* The tenant's newest data key, if the newest KEK wraps it. NOT_FOUND: it has none such. */
static int newest_data(store_tx *tx, sv_str tenant, uint32_t *ret_number, uint32_t *ret_kek)
{
    tuple at;
    sv_str value;
    uint32_t by = 0;
    int rc = keyring_newest(tx, ret_kek);
    at_tenant(&at, "tenant", tenant);
    if (rc == 0) rc = get_number(tx, &at, ret_number);
    if (rc) return rc;
    at_data(&at, tenant, *ret_number);
    rc = get(tx, &at, &value);
    if (rc == 0 && (value.n != WRAPPED || seal_version(value, &by)))
        return damaged(tx, "a data key has a wrong length");
    return rc == 0 && by != *ret_kek ? SV_E_NOT_FOUND : rc;
}

static int with_data_key(store_tx *tx, sv_str tenant, uint32_t number, const seal_key **ret)
{
    tuple at;
    sv_str value;
    at_data(&at, tenant, number);
    int rc = get(tx, &at, &value);
    if (rc == SV_E_NOT_FOUND)
        return sv_fail(tx->err, SV_E_STORE_KEY, NULL,
                       "The key that sealed this was dropped, with all that its tenant kept.");
    return rc ? rc : open_data(tx, &at, value, ret);
}

static int seal_value(store_tx *tx, sv_str tenant, sv_str place, sv_str plain, sv_str *ret)
{
    uint32_t number = 0, kek = 0;
    const seal_key *key;
    sv_str bound = {NULL, 0};
    int rc = newest_data(tx, tenant, &number, &kek);
    if (rc == SV_E_NOT_FOUND) {
        if (number == UINT32_MAX) return damaged(tx, "a tenant's keys have no number left");
        rc = make_data(tx, tenant, ++number, kek);
    }
    if (rc == 0) rc = context(tx, tx->arena, tenant, number, place, &bound);
    if (rc == 0) rc = with_data_key(tx, tenant, number, &key);
    if (rc) return rc;
    size_t n = (size_t)plain.n + SEAL_OVERHEAD;
    buf out = {.p = arena_alloc(tx->arena, n), .cap = n, .max = n};
    if (out.p == NULL) return tx_failed(tx, sv_fail(tx->err, SV_E_NO_MEMORY, NULL, NULL));
    rc = seal_put(key, number, bound, plain, &out);
    if (rc) return sv_fail(tx->err, rc, NULL, NULL);
    *ret = buf_str(&out);
    return 0;
}

int keyring_seal(store_tx *tx, sv_str tenant, sv_str place, sv_str plain, sv_str *ret)
{
    int rc = keyring_needed(tx);
    if (rc) return rc;
    pthread_mutex_lock(&tx->store->keys->mutex);
    rc = seal_value(tx, tenant, place, plain, ret);
    pthread_mutex_unlock(&tx->store->keys->mutex);
    return rc;
}

int keyring_open_value(store_tx *tx, sv_str tenant, sv_str place, sv_str sealed, arena *to,
                       sv_str *ret)
{
    uint32_t number;
    const seal_key *key;
    sv_str bound = {NULL, 0};
    int rc = keyring_needed(tx);
    if (rc) return rc;
    if (seal_version(sealed, &number))
        return sv_fail(tx->err, SV_E_STORE_DAMAGED, NULL, "A sealed value is damaged.");
    rc = context(tx, to, tenant, number, place, &bound);
    if (rc) return rc;
    size_t n = sealed.n - SEAL_OVERHEAD;
    buf out = {.p = arena_alloc(to, n + 1), .cap = n + 1, .max = n + 1};
    if (out.p == NULL) return tx_failed(tx, sv_fail(tx->err, SV_E_NO_MEMORY, NULL, NULL));
    pthread_mutex_lock(&tx->store->keys->mutex);
    rc = with_data_key(tx, tenant, number, &key);
    int opened = rc ? rc : seal_open(key, bound, sealed, &out);
    pthread_mutex_unlock(&tx->store->keys->mutex);
    if (rc) return rc;
    if (opened)
        return sv_fail(
            tx->err, SV_E_STORE_DAMAGED, NULL,
            "A sealed value does not open: it was changed, or comes from another place.");
    *ret = buf_str(&out);
    return 0;
}

bool keyring_current(store_tx *tx, sv_str tenant, sv_str sealed)
{
    uint32_t number, newest, kek;
    return seal_version(sealed, &number) == 0 && newest_data(tx, tenant, &newest, &kek) == 0 &&
           number == newest;
}

/* ---- dropping ---- */

static void forget(keyring *k, const tuple *at)
{
    pthread_mutex_lock(&k->mutex);
    for (uint32_t i = 0; i < CACHE; i++)
        if (k->cache[i].used && sv_str_eq(tuple_str(&k->cache[i].at), tuple_str(at)))
            cache_drop(k, &k->cache[i]);
    pthread_mutex_unlock(&k->mutex);
}

int keyring_next(store_tx *tx, tuple *at, const tuple *end, sv_str *ret)
{
    engine_cursor *c;
    sv_str key;
    if (tx->failed) return tx->failed;
    int rc = engine_cursor_open(tx->txn, tx->store->sys.keys, &c, tx->err);
    if (rc) return tx_failed(tx, rc);
    rc = engine_at_least(c, tuple_str(at), &key, ret, tx->err);
    engine_cursor_close(c);
    if (rc) return rc == SV_E_NOT_FOUND ? rc : tx_failed(tx, rc);
    if (key.n > sizeof at->b) return damaged(tx, "a name is too long");
    tuple_clear(at);
    tuple_append(at, key);
    uint32_t n = key.n < end->n ? key.n : end->n;
    return memcmp(at->b, end->b, n) < 0 ? 0 : SV_E_NOT_FOUND;
}

int keyring_drop(store_tx *tx, const tuple *at)
{
    forget(tx->store->keys, at);
    return tx_delete(tx, tx->store->sys.keys, tuple_str(at));
}

int store_tenant_shred(store_tx *tx, sv_str tenant)
{
    tuple at, end;
    sv_str value;
    if (tenant.n == 0)
        return sv_fail(tx->err, SV_E_INVALID, "tenant", "Say whose keys are to be dropped.");
    int rc = keyring_needed(tx);
    at_tenant(&at, "data", tenant);
    end = at;
    tuple_end(&end);
    while (rc == 0 && (rc = keyring_next(tx, &at, &end, &value)) == 0)
        rc = keyring_drop(tx, &at);
    return rc == SV_E_NOT_FOUND ? 0 : rc;
}

/* ---- versions and roots ---- */

/* The root key that wraps the newest KEK. */
static int present_root(store_tx *tx, uint32_t *ret_newest, root **ret)
{
    tuple at;
    sv_str wrapped;
    int rc = keyring_newest(tx, ret_newest);
    return rc ? rc : find_kek(tx, *ret_newest, &at, &wrapped, ret);
}

int keyring_new_kek(store_tx *tx)
{
    root *by;
    uint32_t newest;
    int rc = keyring_needed(tx);
    if (rc) return rc;
    pthread_mutex_lock(&tx->store->keys->mutex);
    rc = present_root(tx, &newest, &by);
    if (rc == 0) rc = make_kek(tx, newest + 1, by);
    pthread_mutex_unlock(&tx->store->keys->mutex);
    return rc;
}

/* fn for each key-encryption key there is; nothing else may write in between. */
static int each_kek(store_tx *tx, int (*fn)(store_tx *tx, uint32_t number, void *arg), void *arg)
{
    tuple at, end;
    sv_str value;
    at_kek(&end, 0);
    at = end;
    tuple_int(&at, 1);
    tuple_end(&end);
    int rc;
    while ((rc = keyring_next(tx, &at, &end, &value)) == 0) {
        char scratch[LIMIT_STORE_KEY_BYTES];
        tuple_part part;
        sv_str rest = tuple_str(&at);
        rc = tuple_next(&rest, scratch, &part);
        if (rc == 0) rc = tuple_next(&rest, scratch, &part);
        if (rc || part.type != TUPLE_INT || part.i < 1 || part.i > UINT32_MAX)
            return damaged(tx, "a key-encryption key has no number");
        rc = fn(tx, (uint32_t)part.i, arg);
        if (rc) return rc;
        tuple_after(&at);
    }
    return rc == SV_E_NOT_FOUND ? 0 : rc;
}

static int rewrap(store_tx *tx, uint32_t number, void *arg)
{
    const root *to = arg;
    seal_key *kek;
    int rc = open_kek(tx, number, &kek);
    if (rc) return rc;
    rc = put_kek(tx, number, to, kek);
    seal_key_free(kek);
    return rc;
}

int store_rekey(store_tx *tx, const void *in, void *out)
{
    (void)out;
    uint8_t check[CHECK];
    int rc = keyring_needed(tx);
    if (rc) return rc;
    keyring *k = tx->store->keys;
    pthread_mutex_lock(&k->mutex);
    root *to;
    uint32_t newest;
    rc = present_root(tx, &newest, &to); /* used now: it is not what has to make room */
    if (rc == 0 && add_root(k, in)) rc = key_memory(tx);
    seal_key_check(in, check);
    to = root_by_check(k, check);
    if (rc == 0) rc = each_kek(tx, rewrap, to);
    pthread_mutex_unlock(&k->mutex);
    return rc;
}

/* ---- life ---- */

static int check_kek(store_tx *tx, uint32_t number, void *arg)
{
    (void)arg;
    seal_key *kek;
    int rc = open_kek(tx, number, &kek);
    if (rc == 0) seal_key_free(kek);
    return rc;
}

static int check_or_make(store_tx *tx, const seal_key *given, const seal_key *given_new)
{
    uint32_t newest;
    uint8_t check[CHECK];
    keyring *k = tx->store->keys;
    int rc = keyring_newest(tx, &newest);
    if (rc == 0 && given == NULL && newest)
        return sv_fail(tx->err, SV_E_STORE_KEY, NULL,
                       "The environment of %s has keys, and there is no root key to open them.",
                       tx->store->spec.schema->service);
    if (rc || given == NULL) return rc;
    if (add_root(k, given_new) || add_root(k, given)) return key_memory(tx);
    if (newest) return each_kek(tx, check_kek, NULL);
    /* During a change of the root key what is new belongs to the next one already. */
    seal_key_check(given_new ? given_new : given, check);
    return tx->write ? make_kek(tx, 1, root_by_check(k, check)) : 0;
}

int keyring_open(store_tx *tx, const seal_key *given, const seal_key *given_new, keyring **ret)
{
    keyring *former = *ret, *k = former ? former : calloc(1, sizeof *k);
    if (k == NULL) return tx_failed(tx, sv_fail(tx->err, SV_E_NO_MEMORY, NULL, NULL));
    if (former == NULL) pthread_mutex_init(&k->mutex, NULL);
    tx->store->keys = k;
    int rc = check_or_make(tx, given, given_new);
    tx->store->keys = former;
    if (rc == 0 && given) *ret = k;
    if (former == NULL && *ret == NULL) keyring_free(k);
    return rc;
}

void keyring_free(keyring *k)
{
    if (k == NULL) return;
    for (uint32_t i = 0; i < CACHE; i++)
        seal_key_free(k->cache[i].key);
    for (uint32_t i = 0; i < ROOTS; i++)
        seal_key_free(k->roots[i].key);
    pthread_mutex_destroy(&k->mutex);
    free(k);
}
