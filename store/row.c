/*  row.c - one row to bytes and back.
 *
 *  On the disk: 4 bytes checksum of key and value (big-endian), then the row as msgpack. Secret
 *  fields are sealed one by one with the tenant's key, bound to table, key and field. A row that
 *  could not be read again is refused when it is written, with the field's name. */
#include "internal.h"

#include "skim.h"
#include "sv_limits.h"
#include "utf8.h"

#include <stdio.h>

static const char platform_tenant[] = "platform";

static const void *field_at(const sv_field *f, const void *row)
{
    return (const char *)row + f->offset;
}

sv_str row_str(const sv_field *f, const void *row)
{
    return *(const sv_str *)field_at(f, row);
}

int64_t row_int(const sv_field *f, const void *row)
{
    return f->type == SV_T_BOOL ? *(const bool *)field_at(f, row)
                                : *(const int64_t *)field_at(f, row);
}

/* ---- keys ---- */

static int put_part(tuple *to, const sv_field *f, bool shortened, const void *row)
{
    if (f->type == SV_T_INT || f->type == SV_T_BOOL) return tuple_int(to, row_int(f, row));
    sv_str s = row_str(f, row);
    if (f->type == SV_T_STR) return shortened ? tuple_text_short(to, s) : tuple_text(to, s);
    return shortened ? tuple_bytes_short(to, s) : tuple_bytes(to, s);
}

int row_key(const key_spec *k, uint32_t n, bool shortened, const void *row, tuple *ret,
            sv_error *err)
{
    for (uint32_t i = 0; i < n && i < k->n; i++)
        if (put_part(ret, k->part[i], shortened, row))
            return sv_fail(err, SV_E_TOO_LARGE, k->part[i]->name,
                           "The key is longer than %d bytes with this field.",
                           LIMIT_STORE_KEY_BYTES);
    return 0;
}

/* ---- checks before writing: what message_decode would refuse ---- */

static int check_number(const sv_field *f, double value, sv_error *err)
{
    bool left_out = value == f->def && !(f->rules & SV_REQUIRED);
    if (left_out || (value >= f->min && value <= f->max)) return 0;
    return sv_fail(err, SV_E_OUT_OF_RANGE, f->name, "The value must be from %.0f to %.0f.", f->min,
                   f->max);
}

static int check_text(const sv_field *f, sv_str s, sv_error *err)
{
    if (s.n > f->max)
        return sv_fail(err, SV_E_TOO_LARGE, f->name, "At most %.0f bytes are allowed.", f->max);
    if (f->type == SV_T_STR && !utf8_valid(s)) return sv_fail(err, SV_E_BAD_UTF8, f->name, NULL);
    if (f->type == SV_T_RAW && s.p && skim_msgpack(s, LIMIT_DEPTH - 2, LIMIT_NODES, NULL))
        return sv_fail(err, SV_E_MALFORMED, f->name, "This is not one msgpack value.");
    return 0;
}

static int check_row(const sv_message *m, const void *row, sv_error *err);

static int check_count(const sv_field *f, uint32_t n, sv_error *err)
{
    if (n <= f->max) return 0;
    return sv_fail(err, SV_E_TOO_LARGE, f->name, "At most %.0f items are allowed.", f->max);
}

static int check_strs(const sv_field *f, const sv_strs *l, sv_error *err)
{
    int rc = check_count(f, l->n, err);
    for (uint32_t i = 0; rc == 0 && i < l->n; i++)
        if (!utf8_valid(l->items[i])) rc = sv_fail(err, SV_E_BAD_UTF8, f->name, NULL);
    return rc;
}

static int check_list(const sv_field *f, const sv_list *l, sv_error *err)
{
    int rc = check_count(f, l->n, err);
    for (uint32_t i = 0; rc == 0 && i < l->n; i++)
        rc = check_row(f->sub, (const char *)l->items + i * f->sub->size, err);
    return rc;
}

static int check_field(const sv_field *f, const void *at, sv_error *err)
{
    switch (f->type) {
    case SV_T_BOOL: return 0;
    case SV_T_INT: return check_number(f, (double)*(const int64_t *)at, err);
    case SV_T_NUM: return check_number(f, *(const double *)at, err);
    case SV_T_STR:
    case SV_T_BIN:
    case SV_T_RAW: {
        sv_str s = *(const sv_str *)at;
        if ((f->rules & SV_REQUIRED) && s.p == NULL)
            return sv_fail(err, SV_E_MISSING_FIELD, f->name, NULL);
        return check_text(f, s, err);
    }
    case SV_T_STRS: return check_strs(f, at, err);
    case SV_T_LIST: return check_list(f, at, err);
    case SV_T_MSG: {
        const void *sub = *(const void *const *)at;
        if ((f->rules & SV_REQUIRED) && sub == NULL)
            return sv_fail(err, SV_E_MISSING_FIELD, f->name, NULL);
        return sub ? check_row(f->sub, sub, err) : 0;
    }
    }
    return SV_E_INTERNAL;
}

static int check_row(const sv_message *m, const void *row, sv_error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < m->n; i++)
        rc = check_field(&m->fields[i], field_at(&m->fields[i], row), err);
    return rc;
}

/* ---- secrets ---- */

sv_str row_tenant(const table_state *t, const void *row)
{
    sv_str own = t->tenant ? row_str(t->tenant, row) : (sv_str){NULL, 0};
    return own.n ? own : sv_cstr(platform_tenant);
}

/* table, key and field: each ends where the next begins, so that no two places look the same. */
static sv_str place_of(const table_state *t, sv_str key, const sv_field *f, char *to, size_t size)
{
    int n = snprintf(to, size, "%s|%s|", t->spec->name, f->name);
    memcpy(to + n, key.p, key.n);
    return (sv_str){to, (uint32_t)n + key.n};
}

enum { PLACE = STORE_NAME + 64 + LIMIT_STORE_KEY_BYTES };

static int seal_fields(store_tx *tx, table_state *t, sv_str key, void *copy)
{
    char place[PLACE];
    const sv_message *m = t->spec->row;
    for (size_t i = 0; i < m->n; i++) {
        const sv_field *f = &m->fields[i];
        sv_str *value = (sv_str *)((char *)copy + f->offset);
        if (!(f->rules & SV_SECRET) || value->p == NULL) continue;
        int rc = keyring_seal(tx, row_tenant(t, copy), place_of(t, key, f, place, sizeof place),
                              *value, value);
        if (rc) return rc;
    }
    return 0;
}

static int open_fields(store_tx *tx, table_state *t, sv_str key, arena *to, void *row)
{
    char place[PLACE];
    const sv_message *m = t->spec->row;
    for (size_t i = 0; i < m->n; i++) {
        const sv_field *f = &m->fields[i];
        sv_str *value = (sv_str *)((char *)row + f->offset);
        if (!(f->rules & SV_SECRET) || value->p == NULL) continue;
        int rc = keyring_open_value(tx, row_tenant(t, row),
                                    place_of(t, key, f, place, sizeof place), *value, to, value);
        if (rc) return rc;
    }
    return 0;
}

/* ---- bytes ---- */

void checksum_set(sv_str key, char *value, uint32_t n)
{
    uint32_t sum =
        seal_checksum(key, (sv_str){value + STORE_CHECKSUM, n - (uint32_t)STORE_CHECKSUM});
    for (int i = 0; i < STORE_CHECKSUM; i++)
        value[i] = (char)(sum >> (24 - 8 * i));
}

bool checksum_take(sv_str key, sv_str value, sv_str *ret)
{
    if (value.n < STORE_CHECKSUM) return false;
    sv_str rest = {value.p + STORE_CHECKSUM, value.n - STORE_CHECKSUM};
    uint32_t sum = 0;
    for (int i = 0; i < STORE_CHECKSUM; i++)
        sum = sum << 8 | (uint8_t)value.p[i];
    *ret = rest;
    return seal_checksum(key, rest) == sum;
}

int row_encode(store_tx *tx, table_state *t, sv_str key, const void *row, sv_str *ret)
{
    int rc = check_row(t->spec->row, row, tx->err);
    if (rc) return rc;
    if (t->n_sealed) {
        void *copy = arena_alloc(tx->arena, t->spec->row->size);
        if (copy == NULL) return tx_failed(tx, sv_fail(tx->err, SV_E_NO_MEMORY, NULL, NULL));
        memcpy(copy, row, t->spec->row->size);
        if ((rc = seal_fields(tx, t, key, copy))) return rc;
        row = copy;
    }
    buf *out = &tx->store->row;
    buf_reset(out, 4096);
    buf_put(out, "\0\0\0\0", STORE_CHECKSUM);
    rc = message_encode(t->stored, row, out);
    if (rc == SV_E_NO_MEMORY) return tx_failed(tx, sv_fail(tx->err, rc, NULL, NULL));
    if (rc)
        return sv_fail(tx->err, SV_E_TOO_LARGE, t->spec->name,
                       "A row may have at most %d bytes; keep larger things as blobs.",
                       LIMIT_STORE_ROW_BYTES);
    checksum_set(key, out->p, (uint32_t)out->n);
    *ret = buf_str(out);
    return 0;
}

static int damaged(store_tx *tx, const table_state *t, const char *why)
{
    sv_fail(tx->err, SV_E_STORE_DAMAGED, t->spec->name, "A row of table %s is damaged.",
            t->spec->name);
    sv_error_detail(tx->err, "%s", why);
    return SV_E_STORE_DAMAGED;
}

int row_decode_sealed(store_tx *tx, table_state *t, sv_str key, sv_str bytes, arena *to, void *row)
{
    sv_error why = {0};
    sv_str packed;
    if (!checksum_take(key, bytes, &packed)) return damaged(tx, t, "its checksum is wrong");
    char *copy = arena_alloc(to, packed.n ? packed.n : 1);
    if (copy == NULL) return tx_failed(tx, sv_fail(tx->err, SV_E_NO_MEMORY, NULL, NULL));
    if (packed.n) memcpy(copy, packed.p, packed.n);
    packed.p = copy;
    int rc = message_decode(t->stored, packed, MESSAGE_LENIENT, to, row, &why);
    if (rc == SV_E_NO_MEMORY) return tx_failed(tx, sv_fail(tx->err, rc, NULL, NULL));
    return rc ? damaged(tx, t, why.message) : 0;
}

int row_decode(store_tx *tx, table_state *t, sv_str key, sv_str bytes, arena *to, void *row)
{
    int rc = row_decode_sealed(tx, t, key, bytes, to, row);
    return rc || t->n_sealed == 0 ? rc : open_fields(tx, t, key, to, row);
}

bool row_expired(const store_tx *tx, const table_state *t, const void *row)
{
    if (t->expires == NULL) return false;
    int64_t at = row_int(t->expires, row);
    return at != 0 && at <= tx->now_ms;
}
