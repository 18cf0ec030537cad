/*  schema.c - an actor's tables made ready: names resolved to fields once, mistakes in the
 *  declaration found at start and told by table and field. */
#include "internal.h"

#include "sv_limits.h"

#include <stdio.h>
#include <stdlib.h>

static bool name_ok(const char *name)
{
    size_t n = name ? strlen(name) : 0;
    if (n == 0 || n > STORE_NAME || name[0] < 'a' || name[0] > 'z') return false;
    for (size_t i = 1; i < n; i++)
        if (!(name[i] >= 'a' && name[i] <= 'z') && !(name[i] >= '0' && name[i] <= '9') &&
            name[i] != '_')
            return false;
    return true;
}

static int wrong(const store_table *t, const char *field, const char *why, sv_error *err)
{
    return sv_fail(err, SV_E_INVALID, field, "Table %s: %s.", t->name ? t->name : "?", why);
}

static const sv_field *find(const sv_message *m, const char *name, size_t n)
{
    for (size_t i = 0; i < m->n; i++)
        if (strlen(m->fields[i].name) == n && memcmp(m->fields[i].name, name, n) == 0)
            return &m->fields[i];
    return NULL;
}

static bool can_be_key(const sv_field *f)
{
    bool type =
        f->type == SV_T_INT || f->type == SV_T_BOOL || f->type == SV_T_STR || f->type == SV_T_BIN;
    return type && !(f->rules & SV_SECRET);
}

/* "org,id" */
static int parse_key(const store_table *t, const char *words, key_spec *ret, sv_error *err)
{
    ret->n = 0;
    for (const char *p = words; p && *p;) {
        size_t n = strcspn(p, ",");
        const sv_field *f = find(t->row, p, n);
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)n, p);
        if (ret->n == STORE_KEY_PARTS) return wrong(t, name, "a key has at most 8 fields", err);
        if (f == NULL) return wrong(t, name, "the row has no such field", err);
        if (!can_be_key(f))
            return wrong(t, name, "a key field is an INT, BOOL, STR or BIN and not secret", err);
        ret->part[ret->n++] = f;
        p += n + (p[n] == ',');
    }
    return ret->n ? 0 : wrong(t, "key", "it names no field", err);
}

static int single(const store_table *t, const char *name, sv_type type, const sv_field **ret,
                  sv_error *err)
{
    if (name == NULL) return 0;
    *ret = find(t->row, name, strlen(name));
    if (*ret == NULL) return wrong(t, name, "the row has no such field", err);
    if ((*ret)->type != type || ((*ret)->rules & SV_SECRET))
        return wrong(t, name, "expires names an INT and tenant a STR, not secret", err);
    return 0;
}

/* Secret fields lie sealed on the disk: longer, and no text. */
static int stored_form(table_state *t, sv_error *err)
{
    const sv_message *row = t->spec->row;
    t->stored = row;
    for (size_t i = 0; i < row->n; i++) {
        if (!(row->fields[i].rules & SV_SECRET)) continue;
        if (row->fields[i].type != SV_T_BIN)
            return wrong(t->spec, row->fields[i].name, "a secret field of a row is a BIN", err);
        t->n_sealed++;
    }
    if (t->n_sealed == 0) return 0;
    t->stored_fields = malloc(row->n * sizeof *t->stored_fields);
    if (t->stored_fields == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    memcpy(t->stored_fields, row->fields, row->n * sizeof *t->stored_fields);
    for (size_t i = 0; i < row->n; i++)
        if (row->fields[i].rules & SV_SECRET) t->stored_fields[i].max += SEAL_OVERHEAD;
    t->stored_message = *row;
    t->stored_message.fields = t->stored_fields;
    t->stored = &t->stored_message;
    return 0;
}

static int compile_table(table_state *t, sv_error *err)
{
    const store_table *spec = t->spec;
    if (!name_ok(spec->name)) return wrong(spec, "name", "a name is [a-z][a-z0-9_]{0,30}", err);
    if (spec->row == NULL) return wrong(spec, "row", "it has no row", err);
    if (spec->n_indexes > STORE_INDEXES) return wrong(spec, "indexes", "at most 8", err);
    int rc = parse_key(spec, spec->key, &t->key, err);
    for (size_t i = 0; rc == 0 && i < spec->n_indexes; i++) {
        t->index[i].spec = &spec->indexes[i];
        if (!name_ok(spec->indexes[i].name))
            return wrong(spec, "indexes", "an index is named as a table is", err);
        rc = parse_key(spec, spec->indexes[i].fields, &t->index[i].key, err);
    }
    if (rc == 0) rc = single(spec, spec->expires, SV_T_INT, &t->expires, err);
    if (rc == 0) rc = single(spec, spec->tenant, SV_T_STR, &t->tenant, err);
    return rc ? rc : stored_form(t, err);
}

int schema_compile(store *s, sv_error *err)
{
    const store_schema *schema = s->spec.schema;
    buf_init(&s->row, STORE_CHECKSUM + LIMIT_STORE_ROW_BYTES);
    if (schema->version == 0 || schema->n_tables > STORE_TABLES)
        return sv_fail(err, SV_E_INVALID, "version",
                       "A schema has a version from 1 and at most %d tables.", STORE_TABLES);
    for (size_t i = 0; i < schema->n_tables; i++) {
        table_state *t = &s->tables[s->n_tables++];
        t->spec = schema->tables[i];
        int rc = compile_table(t, err);
        if (rc) return rc;
        for (size_t k = 0; k < i; k++)
            if (strcmp(t->spec->name, schema->tables[k]->name) == 0)
                return wrong(t->spec, "name", "there are two of this name", err);
    }
    return 0;
}

void schema_free(store *s)
{
    for (uint32_t i = 0; i < s->n_tables; i++)
        free(s->tables[i].stored_fields);
    s->n_tables = 0;
    buf_free(&s->row);
}

/* ---- the engine's tables ---- */

int schema_open_tables(store *s, engine_txn *txn, bool create, sv_error *err)
{
    const struct {
        const char *name;
        engine_table *table;
    } own[] = {{"sys.meta", &s->sys.meta},   {"sys.expiry", &s->sys.expiry},
               {"sys.blobs", &s->sys.blobs}, {"sys.chunks", &s->sys.chunks},
               {"sys.drops", &s->sys.drops}, {"sys.keys", &s->sys.keys}};
    char name[2 * STORE_NAME + 8];
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof own / sizeof *own; i++)
        rc = engine_table_open(txn, own[i].name, create, own[i].table, err);
    for (uint32_t i = 0; rc == 0 && i < s->n_tables; i++) {
        table_state *t = &s->tables[i];
        snprintf(name, sizeof name, "t.%s", t->spec->name);
        rc = engine_table_open(txn, name, create, &t->table, err);
        for (size_t k = 0; rc == 0 && k < t->spec->n_indexes; k++) {
            snprintf(name, sizeof name, "i.%s.%s", t->spec->name, t->index[k].spec->name);
            rc = engine_table_open(txn, name, create, &t->index[k].table, err);
        }
    }
    return rc;
}

table_state *schema_table(store *s, const store_table *t)
{
    for (uint32_t i = 0; i < s->n_tables; i++)
        if (s->tables[i].spec == t) return &s->tables[i];
    return NULL;
}

index_state *schema_index(table_state *t, const char *name)
{
    for (size_t i = 0; i < t->spec->n_indexes; i++)
        if (strcmp(t->index[i].spec->name, name) == 0) return &t->index[i];
    return NULL;
}
