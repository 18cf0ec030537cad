/*  meta.c - single values in sys.meta: text -> checksum and bytes; numbers as 8 bytes, big-endian. */
#include "internal.h"

enum { INT_BYTES = 8 };

static int64_t int_read(const char *p)
{
    uint64_t v = 0;
    for (int i = 0; i < INT_BYTES; i++)
        v = v << 8 | (uint8_t)p[i];
    return (int64_t)v;
}

static int damaged(const char *name, sv_error *err)
{
    return sv_fail(err, SV_E_STORE_DAMAGED, name, "The environment's %s cannot be read.", name);
}

static int int_of(sv_str value, const char *name, int64_t *ret, sv_error *err)
{
    if (value.n != INT_BYTES) return damaged(name, err);
    *ret = int_read(value.p);
    return 0;
}

/* The value in the map. */
static int find(store_tx *tx, const char *name, sv_str *ret)
{
    if (tx->failed) return tx->failed;
    sv_str value = {NULL, 0};
    int rc = engine_get(tx->txn, tx->store->sys.meta, sv_cstr(name), &value, tx->err);
    if (rc) return rc == SV_E_NOT_FOUND ? rc : tx_failed(tx, rc);
    return checksum_take(sv_cstr(name), value, ret) ? 0 : tx_failed(tx, damaged(name, tx->err));
}

int meta_get(store_tx *tx, const char *name, sv_str *ret)
{
    sv_str value = {NULL, 0};
    int rc = find(tx, name, &value);
    if (rc) return rc;
    char *copy = arena_copy(tx->arena, value);
    if (copy == NULL) return tx_failed(tx, sv_fail(tx->err, SV_E_NO_MEMORY, NULL, NULL));
    *ret = (sv_str){copy, value.n};
    return 0;
}

int meta_put(store_tx *tx, const char *name, sv_str value)
{
    char *bytes = arena_alloc(tx->arena, STORE_CHECKSUM + value.n);
    if (bytes == NULL) return tx_failed(tx, sv_fail(tx->err, SV_E_NO_MEMORY, NULL, NULL));
    if (value.n) memcpy(bytes + STORE_CHECKSUM, value.p, value.n);
    checksum_set(sv_cstr(name), bytes, STORE_CHECKSUM + value.n);
    return tx_put(tx, tx->store->sys.meta, sv_cstr(name), (sv_str){bytes, STORE_CHECKSUM + value.n},
                  false);
}

int meta_delete(store_tx *tx, const char *name)
{
    int rc = tx_delete(tx, tx->store->sys.meta, sv_cstr(name));
    return rc == SV_E_NOT_FOUND ? 0 : rc;
}

int meta_get_int(store_tx *tx, const char *name, int64_t *ret)
{
    sv_str value = {NULL, 0};
    int rc = find(tx, name, &value);
    if (rc) return rc;
    rc = int_of(value, name, ret, tx->err);
    return rc ? tx_failed(tx, rc) : 0;
}

int meta_put_int(store_tx *tx, const char *name, int64_t value)
{
    char bytes[INT_BYTES];
    for (int i = 0; i < INT_BYTES; i++)
        bytes[i] = (char)((uint64_t)value >> (56 - 8 * i));
    return meta_put(tx, name, (sv_str){bytes, sizeof bytes});
}

int meta_fence(store *s, engine_txn *txn, sv_error *err)
{
    sv_str value = {NULL, 0};
    int64_t epoch = 0;
    int rc = engine_get(txn, s->sys.meta, sv_cstr("epoch"), &value, err);
    if (rc == SV_E_NOT_FOUND)
        return sv_fail(err, SV_E_STORE_DAMAGED, "epoch", "The environment has no epoch.");
    if (rc == 0 && !checksum_take(sv_cstr("epoch"), value, &value)) rc = damaged("epoch", err);
    if (rc == 0) rc = int_of(value, "epoch", &epoch, err);
    /* Raising it may have been a commit of unknown outcome. */
    bool ours = (uint64_t)epoch == s->epoch || (s->unraised && (uint64_t)epoch == s->epoch + 1);
    if (rc || ours) return rc;
    return sv_fail(err, SV_E_STORE_LOCKED, "epoch",
                   "Another process has opened this environment: its epoch is %lld, ours was %llu.",
                   (long long)epoch, (unsigned long long)s->epoch);
}
