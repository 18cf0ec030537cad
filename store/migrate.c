/*  migrate.c - an environment is taken and brought to what the schema says.
 *
 *  One transaction checks that the environment is ours to take, makes what tables are missing,
 *  opens the keys, plans the rest and raises the epoch; before it nothing is written. What it plans
 *  stands in sys.meta, so that whoever opens next goes on where an interrupted one was:
 *    version        of the rows; raised with the last step of each migration
 *    migrating      the version of a migration that has begun: older programs keep out
 *    migrating.at   its position
 *    table.T        a table's key: it can never change
 *    index.T.X      'd' (done) or 'b' (being built) and the index's definition
 *    index_at.T.X   how far it is built
 *    expiry.T       as index.T.X for the expiry entries of a table
 *  An index whose definition is another one is emptied and built anew; one that is no longer
 *  declared is dropped; a table that is no longer declared is left as it is. Migrations run before
 *  indexes are built: they keep the entries of rows that they touch, and building finds the rest.
 *
 *  Where there is no room even for the epoch, but nothing else is to be written, the environment is
 *  opened all the same, to be read (s->unraised). */
#include "internal.h"

#include "sv_limits.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    LAYOUT = 1, /* how tables and system tables are used */
    BUILD_ROWS = 2000,
    NAME_BYTES = 96,
    DEFINITION_BYTES = 1024
};

/* ---- is it ours ---- */

static int any_table(void *arg, sv_str name)
{
    (void)name;
    *(bool *)arg = true;
    return 1;
}

/* No sys.meta: fresh when there is nothing at all. */
static int look_empty(store_tx *tx, bool *ret_fresh)
{
    bool any = false;
    sv_error quiet = {.code = 0};
    int rc = engine_table_names(tx->txn, any_table, &any, &quiet);
    if (rc < 0) return rc;
    *ret_fresh = !any;
    if (!any && !tx->store->spec.read_only) return 0;
    return sv_fail(tx->err, SV_E_STORE_FOREIGN, "folder", "%s: %s", tx->store->folder,
                   any ? "this is a database of another program." : "there is nothing in it.");
}

static int check_service(store_tx *tx)
{
    sv_str service = {NULL, 0};
    const char *own = tx->store->spec.schema->service;
    int rc = meta_get(tx, "service", &service);
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    if (rc == 0 && sv_str_is(service, own)) return 0;
    return sv_fail(tx->err, SV_E_STORE_FOREIGN, "service",
                   "%s: this is the store of service %.*s, not of %s.", tx->store->folder,
                   SV_FMT(rc ? sv_cstr("(none)") : service), own);
}

static int check_version(store_tx *tx)
{
    const char *names[] = {"version", "migrating"};
    int64_t layout, found;
    int rc = meta_get_int(tx, "layout", &layout);
    if (rc == 0 && layout > LAYOUT)
        return sv_fail(tx->err, SV_E_STORE_NEWER, "layout",
                       "%s: the store has layout %lld and this program knows layout %d.",
                       tx->store->folder, (long long)layout, LAYOUT);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (rc == 0) rc = meta_get_int(tx, names[i], &found);
        if (rc == SV_E_NOT_FOUND && i > 0) return 0;
        if (rc) break;
        if (found > tx->store->spec.schema->version)
            return sv_fail(tx->err, SV_E_STORE_NEWER, "version",
                           "%s: the stored data is of version %lld and this program knows version "
                           "%u. Start the program that wrote it, or restore a backup.",
                           tx->store->folder, (long long)found, tx->store->spec.schema->version);
    }
    if (rc == SV_E_NOT_FOUND)
        return sv_fail(tx->err, SV_E_STORE_DAMAGED, "version", "%s: the store has no version.",
                       tx->store->folder);
    return rc;
}

/* Opens sys.meta if it is there and checks what it says. */
static int identify(store_tx *tx, bool *ret_fresh)
{
    sv_error quiet = {.code = 0};
    *ret_fresh = false;
    int rc = engine_table_open(tx->txn, "sys.meta", false, &tx->store->sys.meta, &quiet);
    if (rc == SV_E_NOT_FOUND) return look_empty(tx, ret_fresh);
    if (rc) {
        *tx->err = quiet;
        return rc;
    }
    rc = check_service(tx);
    return rc ? rc : check_version(tx);
}

/* ---- definitions ---- */

/* "org:t,created:i": names and how they are ordered. */
static void describe_key(const key_spec *k, buf *to)
{
    for (uint32_t i = 0; i < k->n; i++) {
        sv_type type = k->part[i]->type;
        buf_printf(to, "%s%s:%c", i ? "," : "", k->part[i]->name,
                   type == SV_T_STR   ? 't'
                   : type == SV_T_BIN ? 'b'
                                      : 'i');
    }
}

static void describe_index(const index_state *x, buf *to)
{
    describe_key(&x->key, to);
    if (x->spec->flags & STORE_UNIQUE) buf_puts(to, " unique");
    if (x->spec->flags & STORE_SPARSE) buf_puts(to, " sparse");
}

static void meta_name(char to[NAME_BYTES], const char *kind, const char *table, const char *index)
{
    snprintf(to, NAME_BYTES, "%s.%s%s%s", kind, table, index ? "." : "", index ? index : "");
}

static int put_plan(store_tx *tx, const char *name, char state, const buf *definition)
{
    char value[DEFINITION_BYTES + 1];
    value[0] = state;
    memcpy(value + 1, definition->p, definition->n);
    return meta_put(tx, name, (sv_str){value, (uint32_t)definition->n + 1});
}

/* What stands in sys.meta is this definition. */
static bool same(sv_str value, const buf *definition)
{
    return value.n == definition->n + 1 && memcmp(value.p + 1, definition->p, definition->n) == 0;
}

/* One thing that is kept for rows of a table, called `name` in sys.meta. *ret_changed: it has to be
 * made anew; what there is of it is of another definition. */
static int plan_part(store_tx *tx, const char *name, const buf *want, bool fresh, char first,
                     bool *ret_changed)
{
    sv_str value;
    *ret_changed = false;
    if (fresh) return put_plan(tx, name, 'd', want);
    int rc = meta_get(tx, name, &value);
    if (rc == 0 && same(value, want)) return 0;
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    *ret_changed = true;
    return put_plan(tx, name, first, want);
}

static int plan_index(store_tx *tx, table_state *t, index_state *x, bool fresh)
{
    char name[NAME_BYTES], at[NAME_BYTES], text[DEFINITION_BYTES];
    buf want = {.p = text, .cap = sizeof text, .max = sizeof text};
    bool changed;
    describe_index(x, &want);
    meta_name(name, "index", t->spec->name, x->spec->name);
    meta_name(at, "index_at", t->spec->name, x->spec->name);
    int rc = plan_part(tx, name, &want, fresh, 'b', &changed);
    if (rc || !changed) return rc;
    rc = engine_table_clear(tx->txn, x->table, tx->err);
    return rc ? tx_failed(tx, rc) : meta_delete(tx, at);
}

/* Times that were noted by another field would take rows away at the wrong time. */
static int plan_expiry(store_tx *tx, table_state *t, bool fresh)
{
    char name[NAME_BYTES], at[NAME_BYTES], text[DEFINITION_BYTES];
    buf want = {.p = text, .cap = sizeof text, .max = sizeof text};
    bool changed;
    buf_puts(&want, t->spec->expires ? t->spec->expires : "");
    meta_name(name, "expiry", t->spec->name, NULL);
    meta_name(at, "expiry_at", t->spec->name, NULL);
    int rc = plan_part(tx, name, &want, fresh, 'c', &changed);
    return rc || !changed ? rc : meta_delete(tx, at);
}

static int plan_table(store_tx *tx, table_state *t)
{
    char name[NAME_BYTES], text[DEFINITION_BYTES];
    buf key = {.p = text, .cap = sizeof text, .max = sizeof text};
    sv_str found;
    describe_key(&t->key, &key);
    meta_name(name, "table", t->spec->name, NULL);
    int rc = meta_get(tx, name, &found);
    bool fresh = rc == SV_E_NOT_FOUND;
    if (fresh) rc = meta_put(tx, name, buf_str(&key));
    if (rc) return rc;
    if (!fresh && !sv_str_eq(found, buf_str(&key)))
        return sv_fail(tx->err, SV_E_INVALID, t->spec->name,
                       "The key of table %s is %.*s and cannot become %.*s: declare another table "
                       "and move its rows in a migration.",
                       t->spec->name, SV_FMT(found), SV_FMT(buf_str(&key)));
    for (size_t i = 0; rc == 0 && i < t->spec->n_indexes; i++)
        rc = plan_index(tx, t, &t->index[i], fresh);
    return rc ? rc : plan_expiry(tx, t, fresh);
}

/* ---- what is no longer declared ---- */

/* Deletes a value if it is there; otherwise nothing has been changed. */
static int meta_forget(store_tx *tx, const char *name)
{
    sv_str value;
    int rc = meta_get(tx, name, &value);
    return rc == 0 ? meta_delete(tx, name) : rc == SV_E_NOT_FOUND ? 0 : rc;
}

typedef struct known_name {
    struct known_name *next;
    sv_str name;
} known_name;

typedef struct name_list {
    arena *mem;
    known_name *first;
} name_list;

static int keep_name(void *arg, sv_str name)
{
    name_list *l = arg;
    known_name *k = arena_alloc(l->mem, sizeof *k);
    char *copy = arena_copy(l->mem, name);
    if (k == NULL || copy == NULL) return SV_E_NO_MEMORY;
    *k = (known_name){.next = l->first, .name = {copy, name.n}};
    l->first = k;
    return 0;
}

static table_state *declared(store *s, const char *name, size_t n)
{
    for (uint32_t i = 0; i < s->n_tables; i++) {
        const char *own = s->tables[i].spec->name;
        if (strlen(own) == n && memcmp(own, name, n) == 0) return &s->tables[i];
    }
    return NULL;
}

static int drop_index(store_tx *tx, const char *whole, const char *table, const char *index)
{
    char name[NAME_BYTES];
    int rc = engine_table_drop(tx->txn, whole, tx->err);
    if (rc) return tx_failed(tx, rc);
    meta_name(name, "index", table, index);
    rc = meta_delete(tx, name);
    meta_name(name, "index_at", table, index);
    return rc ? rc : meta_delete(tx, name);
}

/* "t.NAME" or "i.NAME.INDEX". Words about it go to `left` or `dropped`. */
static int drop_undeclared(store_tx *tx, sv_str whole, buf *left, buf *dropped)
{
    char name[NAME_BYTES];
    if (whole.n < 3 || whole.n >= sizeof name || whole.p[1] != '.') return 0;
    const char *table = whole.p + 2, *dot = strchr(table, '.');
    table_state *t = declared(tx->store, table, dot ? (size_t)(dot - table) : strlen(table));
    if (whole.p[0] == 't' && t == NULL) {
        buf_printf(left, "%s%s", left->n ? ", " : "", table);
        meta_name(name, "expiry", table, NULL); /* declared again, its times are noted anew */
        return meta_forget(tx, name);
    }
    if (whole.p[0] != 'i' || t == NULL || dot == NULL || schema_index(t, dot + 1)) return 0;
    buf_printf(dropped, "%s%s", dropped->n ? ", " : "", table);
    return drop_index(tx, whole.p, t->spec->name, dot + 1);
}

/* ---- the first transaction ---- */

typedef struct plan {
    bool fresh;
    bool settled; /* but for the epoch all is as it has to be */
    int64_t version, epoch, clock_ms;
    uint64_t next_epoch;
    buf left, dropped;
} plan;

static int put_identity(store_tx *tx)
{
    const store_schema *schema = tx->store->spec.schema;
    int rc = meta_put(tx, "service", sv_cstr(schema->service));
    if (rc == 0) rc = meta_put_int(tx, "layout", LAYOUT);
    return rc ? rc : meta_put_int(tx, "version", schema->version);
}

static int get_or(store_tx *tx, const char *name, int64_t *ret)
{
    int rc = meta_get_int(tx, name, ret);
    return rc == SV_E_NOT_FOUND ? 0 : rc;
}

static int put_plans(store_tx *tx, plan *p)
{
    store *s = tx->store;
    name_list names = {.mem = tx->arena};
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < s->n_tables; i++)
        rc = plan_table(tx, &s->tables[i]);
    if (rc || p->fresh) return rc;
    rc = engine_table_names(tx->txn, keep_name, &names, tx->err);
    if (rc) return tx_failed(tx, rc);
    for (known_name *k = names.first; rc == 0 && k; k = k->next)
        rc = drop_undeclared(tx, k->name, &p->left, &p->dropped);
    return rc;
}

/* Nothing was planned, and nothing is left to do of what others planned. */
static int look_settled(store_tx *tx, plan *p)
{
    store *s = tx->store;
    char name[NAME_BYTES];
    sv_str value;
    int rc = 0;
    p->settled = !p->fresh && tx->changes == 0 && p->version == s->spec.schema->version;
    for (uint32_t i = 0; p->settled && rc == 0 && i < s->n_tables; i++) {
        const store_table *t = s->tables[i].spec;
        for (size_t k = 0; rc == 0 && k <= t->n_indexes; k++) {
            if (k < t->n_indexes)
                meta_name(name, "index", t->name, t->indexes[k].name);
            else
                meta_name(name, "expiry", t->name, NULL);
            rc = meta_get(tx, name, &value);
            if (rc == 0 && value.p[0] != 'd') p->settled = false;
        }
    }
    return rc;
}

static int take_over(store_tx *tx, void *arg)
{
    plan *p = arg;
    store *s = tx->store;
    int rc = identify(tx, &p->fresh);
    if (rc == 0) rc = tx_failed(tx, schema_open_tables(s, tx->txn, true, tx->err));
    if (rc == 0) rc = keyring_open(tx, s->spec.root, s->spec.root_new, &s->keys);
    if (rc == 0 && p->fresh) rc = put_identity(tx);
    if (rc == 0) rc = get_or(tx, "version", &p->version);
    if (rc == 0) rc = get_or(tx, "epoch", &p->epoch);
    if (rc == 0) rc = get_or(tx, "clock", &p->clock_ms);
    if (rc == 0) rc = put_plans(tx, p);
    if (rc == 0) rc = look_settled(tx, p);
    if (rc) return rc;
    p->next_epoch = ((uint64_t)p->epoch > s->epoch ? (uint64_t)p->epoch : s->epoch) + 1;
    rc = meta_put_int(tx, "epoch", (int64_t)p->next_epoch);
    return rc ? rc : meta_forget(tx, "room"); /* of an attempt that was interrupted */
}

/* Times go on from the newest commit's, unless it lies far ahead of the clock. */
static void set_clock(store *s, int64_t saved_ms)
{
    atomic_store(&s->clock_ms, saved_ms > atomic_load(&s->clock_ms) ? saved_ms : s->clock_ms);
    store_clock(s);
}

static int first_transaction(store *s, plan *p, sv_error *err)
{
    s->fenced = false;
    buf_init(&p->left, 300);
    buf_init(&p->dropped, 300);
    int rc = writer_run_now(s, take_over, p, err);
    if (rc == 0) {
        s->epoch = p->next_epoch;
        s->fenced = true;
        set_clock(s, p->clock_ms);
        if (p->left.n)
            store_tell(s, STORE_WARN, "tables are no longer declared", "%.*s: left as they are",
                       SV_FMT(buf_str(&p->left)));
        if (p->dropped.n)
            store_tell(s, STORE_NOTE, "indexes were dropped", "%.*s", SV_FMT(buf_str(&p->dropped)));
    }
    buf_free(&p->left);
    buf_free(&p->dropped);
    return rc;
}

/* ---- migrations ---- */

static int check_migrations(const store_schema *schema, sv_error *err)
{
    uint32_t last = 1;
    for (size_t i = 0; i < schema->n_migrations; i++) {
        const store_migration *m = &schema->migrations[i];
        if (m->step == NULL || m->to <= last || m->to > schema->version)
            return sv_fail(err, SV_E_INVALID, "migrations",
                           "Migration %zu of %s leads to version %u: they go up from 2 to the "
                           "schema's %u, one after the other.",
                           i + 1, schema->service, m->to, schema->version);
        last = m->to;
    }
    return 0;
}

/* What was kept of a piece of work under `name`. */
static int get_position(store_tx *tx, const char *name, buf *to)
{
    sv_str value;
    int rc = meta_get(tx, name, &value);
    if (rc) return rc == SV_E_NOT_FOUND ? 0 : rc;
    return buf_put(to, value.p, value.n) ? tx_failed(tx, SV_E_NO_MEMORY) : 0;
}

static int put_position(store_tx *tx, const char *name, const buf *position)
{
    if (position->failed)
        return sv_fail(tx->err, SV_E_TOO_LARGE, name, "A position has at most %zu bytes.",
                       position->max);
    return position->n ? meta_put(tx, name, buf_str(position)) : meta_delete(tx, name);
}

typedef struct migration_run {
    const store_migration *m;
    bool done;
} migration_run;

static int step_with(store_tx *tx, migration_run *r, buf *position)
{
    int64_t begun = 0;
    int rc = get_or(tx, "migrating", &begun);
    if (rc == 0 && begun == r->m->to) rc = get_position(tx, "migrating.at", position);
    if (rc) return rc;
    int answer = r->m->step(tx, position);
    if (answer < 0) return answer;
    r->done = answer == 0;
    if (r->done) position->n = 0;
    rc = put_position(tx, "migrating.at", position);
    if (rc) return rc;
    if (!r->done) return meta_put_int(tx, "migrating", r->m->to);
    rc = meta_delete(tx, "migrating");
    return rc ? rc : meta_put_int(tx, "version", r->m->to);
}

static int step_once(store_tx *tx, void *arg)
{
    buf position;
    buf_init(&position, STORE_POSITION);
    int rc = step_with(tx, arg, &position);
    buf_free(&position);
    return rc;
}

static int set_version(store_tx *tx, void *arg)
{
    return meta_put_int(tx, "version", *(const uint32_t *)arg);
}

static int migrate(store *s, int64_t version, sv_error *err)
{
    const store_schema *schema = s->spec.schema;
    for (size_t i = 0; i < schema->n_migrations; i++) {
        migration_run r = {.m = &schema->migrations[i]};
        if (r.m->to <= version) continue;
        store_tell(s, STORE_NOTE, "migrating", "%s: to version %u, %s", s->folder, r.m->to,
                   r.m->doc ? r.m->doc : "");
        while (!r.done) {
            int rc = writer_run_now(s, step_once, &r, err);
            if (rc) {
                sv_error_detail(err, "in the migration to version %u", r.m->to);
                return rc;
            }
        }
        version = r.m->to;
    }
    uint32_t to = schema->version;
    return version == to ? 0 : writer_run_now(s, set_version, &to, err);
}

/* ---- building ---- */

typedef struct build {
    table_state *t;
    index_state *x; /* NULL: expiry */
    char name[NAME_BYTES], at[NAME_BYTES];
    char state;
    bool done; /* with this state */
} build;

static int get_state(store_tx *tx, void *arg)
{
    build *b = arg;
    sv_str value;
    int rc = meta_get(tx, b->name, &value);
    if (rc == 0) b->state = value.n ? value.p[0] : 'b';
    return rc;
}

static int put_state(store_tx *tx, build *b, char state)
{
    sv_str value;
    int rc = meta_get(tx, b->name, &value);
    if (rc) return rc;
    *(char *)(uintptr_t)value.p = state; /* meta_get made a copy */
    return meta_put(tx, b->name, value);
}

/* The first key behind `position` into `key`. */
static int next_key(store_tx *tx, engine_table table, tuple *key, sv_str *value)
{
    engine_cursor *c;
    sv_str found;
    int rc = engine_cursor_open(tx->txn, table, &c, tx->err);
    if (rc) return tx_failed(tx, rc);
    tuple_after(key);
    rc = engine_at_least(c, tuple_str(key), &found, value, tx->err);
    tuple_clear(key);
    if (rc == 0) tuple_append(key, found);
    engine_cursor_close(c);
    return rc && rc != SV_E_NOT_FOUND ? tx_failed(tx, rc) : rc;
}

/* Forgets a noted time if it is of this table. */
static int clear_time(store_tx *tx, const table_state *t, const tuple *entry)
{
    char scratch[LIMIT_STORE_KEY_BYTES];
    tuple_part at, name;
    sv_str rest = tuple_str(entry);
    bool ours = tuple_next(&rest, scratch, &at) == 0 && tuple_next(&rest, scratch, &name) == 0 &&
                name.type == TUPLE_TEXT && sv_str_is(name.s, t->spec->name);
    return ours ? tx_delete(tx, tx->store->sys.expiry, tuple_str(entry)) : 0;
}

static int note_time(store_tx *tx, table_state *t, const tuple *key, sv_str bytes, arena *mem)
{
    tuple entry;
    void *row = arena_alloc(mem, t->spec->row->size);
    if (row == NULL) return tx_failed(tx, sv_fail(tx->err, SV_E_NO_MEMORY, NULL, NULL));
    int rc = row_decode_sealed(tx, t, tuple_str(key), bytes, mem, row);
    int64_t expires = rc ? 0 : row_int(t->expires, row);
    if (rc || expires == 0) return rc;
    if (expiry_entry(t, tuple_str(key), expires, &entry))
        return sv_fail(tx->err, SV_E_TOO_LARGE, t->expires->name,
                       "The key of a row that expires must be shorter.");
    return tx_put(tx, tx->store->sys.expiry, tuple_str(&entry), (sv_str){"", 0}, false);
}

static int build_expiry(store_tx *tx, build *b, buf *position)
{
    bool clear = b->state == 'c';
    tuple key;
    sv_str value = {NULL, 0};
    arena mem;
    int rc = 0;
    tuple_clear(&key);
    tuple_append(&key, buf_str(position));
    arena_init(&mem, 4 * LIMIT_STORE_ROW_BYTES);
    if (!clear && b->t->expires == NULL) rc = SV_E_NOT_FOUND;
    for (uint32_t i = 0; rc == 0 && i < BUILD_ROWS; i++) {
        arena_reset(&mem);
        rc = next_key(tx, clear ? tx->store->sys.expiry : b->t->table, &key, &value);
        if (rc == 0)
            rc = clear ? clear_time(tx, b->t, &key) : note_time(tx, b->t, &key, value, &mem);
    }
    arena_free(&mem);
    buf_reset(position, position->cap);
    b->done = rc == SV_E_NOT_FOUND;
    if (rc == 0) rc = buf_put(position, key.b, key.n);
    return b->done ? 0 : rc;
}

static int build_with(store_tx *tx, build *b, buf *position)
{
    int rc = get_position(tx, b->at, position);
    if (rc == 0)
        rc = b->x ? index_build(tx, b->t, b->x, position, BUILD_ROWS, &b->done)
                  : build_expiry(tx, b, position);
    if (rc == 0) rc = put_position(tx, b->at, position);
    return rc || !b->done ? rc : put_state(tx, b, b->state == 'c' ? 'b' : 'd');
}

static int build_once(store_tx *tx, void *arg)
{
    buf position;
    buf_init(&position, LIMIT_STORE_KEY_BYTES);
    int rc = build_with(tx, arg, &position);
    buf_free(&position);
    return rc;
}

static int build_one(store *s, table_state *t, index_state *x, sv_error *err)
{
    build b = {.t = t, .x = x};
    const char *index = x ? x->spec->name : NULL;
    meta_name(b.name, x ? "index" : "expiry", t->spec->name, index);
    meta_name(b.at, x ? "index_at" : "expiry_at", t->spec->name, index);
    int rc = writer_run_now(s, get_state, &b, err);
    if (rc || b.state == 'd') return rc;
    store_tell(s, STORE_NOTE, x ? "building an index" : "noting times anew", "%s: %s %s", s->folder,
               t->spec->name, index ? index : "");
    while (b.state != 'd') {
        b.done = false;
        rc = writer_run_now(s, build_once, &b, err);
        if (rc) {
            sv_error_detail(err, "building %s", b.name);
            return rc;
        }
        if (b.done) b.state = b.state == 'c' ? 'b' : 'd';
    }
    return 0;
}

static int build_all(store *s, sv_error *err)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < s->n_tables; i++) {
        table_state *t = &s->tables[i];
        for (size_t k = 0; rc == 0 && k < t->spec->n_indexes; k++)
            rc = build_one(s, t, &t->index[k], err);
        if (rc == 0) rc = build_one(s, t, NULL, err);
    }
    return rc;
}

/* ---- to look only ---- */

static int look(store *s, sv_error *err)
{
    arena mem;
    engine_txn *t;
    bool fresh;
    int64_t version = 0, epoch = 0;
    int rc = engine_begin(s->engine, false, &t, err);
    if (rc) return rc;
    arena_init(&mem, LIMIT_STORE_WRITE_BYTES);
    store_tx tx = {.store = s, .txn = t, .now_ms = store_clock(s), .arena = &mem, .err = err};
    rc = identify(&tx, &fresh);
    if (rc == 0) rc = get_or(&tx, "version", &version);
    if (rc == 0) rc = get_or(&tx, "epoch", &epoch);
    if (rc == 0) rc = schema_open_tables(s, t, false, err);
    if (rc == SV_E_NOT_FOUND)
        rc = sv_fail(err, rc, "version",
                     "%s: the store is of version %lld and has to be brought to version %u first: "
                     "open it for writing.",
                     s->folder, (long long)version, s->spec.schema->version);
    if (rc == 0) rc = keyring_open(&tx, s->spec.root, s->spec.root_new, &s->keys);
    s->epoch = (uint64_t)epoch;
    arena_free(&mem);
    if (rc == 0) return engine_commit(t, err); /* keeps the tables' handles */
    engine_abort(t);
    return rc;
}

int migrate_open(store *s, sv_error *err)
{
    plan p = {.fresh = false};
    sv_error why = {.code = 0};
    if (s->spec.read_only) return look(s, err);
    int rc = check_migrations(s->spec.schema, err);
    if (rc) return rc;
    rc = first_transaction(s, &p, &why);
    if (rc == SV_E_STORE_FULL && p.settled && !s->running) {
        s->unraised = true;
        s->epoch = (uint64_t)p.epoch;
        s->fenced = true;
        set_clock(s, p.clock_ms);
        return rc;
    }
    if (rc && err && err->code == 0) *err = why;
    if (rc == 0) rc = migrate(s, p.version, err);
    return rc ? rc : build_all(s, err);
}
