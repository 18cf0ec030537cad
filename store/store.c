/*  store.c - an environment from opening to closing, and reads.
 *
 *  `gate` stands between those who use the engine and those who replace it: a read holds it shared
 *  for its transaction, a copy for as long as it takes; store_shut holds it exclusively. It prefers
 *  writers, so that reads that keep coming cannot keep a reopening away. The writer itself needs no
 *  gate: only the writer, or store_replace while it holds the writer still, closes the engine.
 *
 *  Opening: lock, engine, then one transaction that checks and takes the environment (migrate.c),
 *  migrations, missing index entries, and only then the writer's thread. */
#include "internal.h"

#include "sv_limits.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    SYSTEM_TABLES = 6,
    DROPPED_AT_ONCE = 64, /* handles for indexes that are no longer declared */
    AWAY_MS = 1,
    CLOCK_STEP_MS = 5 * 60 * 1000,
    TELL_DAMAGE_US = 60 * 1000000,
    TELL_LONG_READ_US = 1000000
};

uint64_t store_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint64_t system_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void store_tell(store *s, store_level level, const char *what, const char *fmt, ...)
{
    if (s->spec.event == NULL) return;
    char detail[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(detail, sizeof detail, fmt, ap);
    va_end(ap);
    s->spec.event(s->spec.arg, level, what, detail);
}

/* True when `gap_us` have passed since the last time this was true; for one thread of many. */
static bool may_tell(atomic_uint_fast64_t *last_us, uint64_t gap_us)
{
    uint64_t now = store_us(), last = atomic_load(last_us);
    return (last == 0 || now - last >= gap_us) &&
           atomic_compare_exchange_strong(last_us, &last, now);
}

int64_t store_clock(store *s)
{
    int64_t wall = (int64_t)s->spec.unix_ms(), last = atomic_load(&s->clock_ms);
    while (wall > last || last - wall > CLOCK_STEP_MS) {
        int64_t before = last;
        if (!atomic_compare_exchange_weak(&s->clock_ms, &last, wall)) continue;
        if (wall < before)
            store_tell(s, STORE_WARN, "the clock went back",
                       "by %lld s: times are taken from it from now on",
                       (long long)(before - wall) / 1000);
        return wall;
    }
    return last;
}

int store_settle(store *s, store_op *op, int rc)
{
    op->code = rc;
    if (rc == 0) op->error = (sv_error){.code = 0};
    if (rc >= 0) return rc;
    if (op->error.code != rc) { /* words of an earlier failure that the function went on after */
        op->error = (sv_error){.code = 0};
        sv_fail(&op->error, rc, NULL, NULL);
    }
    if (rc == SV_E_STORE_DAMAGED && may_tell(&s->damage_told_us, TELL_DAMAGE_US))
        store_tell(s, STORE_ALARM, "stored data is damaged", "%s %s: %s",
                   op->owner ? op->owner : "?", op->error.field, op->error.message);
    return rc;
}

/* ---- the engine, opened and closed ---- */

static uint32_t most_tables(const store *s)
{
    uint32_t n = SYSTEM_TABLES + DROPPED_AT_ONCE + s->n_tables;
    for (uint32_t i = 0; i < s->n_tables; i++)
        n += (uint32_t)s->tables[i].spec->n_indexes;
    return n;
}

static int last_txn(store *s, uint64_t *ret, sv_error *err)
{
    engine_stat st;
    int rc = engine_stats(s->engine, false, &st, err);
    if (rc == 0) *ret = st.last_txn;
    return rc;
}

/* What was closed a moment ago: it must still be ours and hold all that was acknowledged. */
static int attach(store *s, sv_error *err)
{
    engine_txn *t;
    uint64_t last;
    int rc = engine_begin(s->engine, false, &t, err);
    if (rc) return rc;
    rc = schema_open_tables(s, t, false, err);
    if (rc == SV_E_NOT_FOUND)
        rc = sv_fail(err, SV_E_STORE_DAMAGED, NULL, "Tables of the environment are gone.");
    if (rc == 0) rc = meta_fence(s, t, err);
    if (rc) {
        engine_abort(t);
        return rc;
    }
    rc = engine_commit(t, err);
    if (rc == 0) rc = last_txn(s, &last, err);
    if (rc || last >= s->acked_txn) return rc;
    return sv_fail(err, SV_E_STORE_DAMAGED, NULL,
                   "The environment ends with commit %llu, but %llu was acknowledged.",
                   (unsigned long long)last, (unsigned long long)s->acked_txn);
}

int store_enter(store *s, bool other, sv_error *err)
{
    engine_spec spec = {.folder = s->folder,
                        .map_bytes = s->spec.map_bytes,
                        .room_bytes = s->spec.schema->room_bytes,
                        .tables = most_tables(s),
                        .read_only = s->spec.read_only};
    int rc = engine_open(&spec, &s->engine, err);
    if (rc) {
        s->engine = NULL;
        return rc;
    }
    rc = other ? migrate_open(s, err) : attach(s, err);
    if (rc == 0) rc = last_txn(s, &s->acked_txn, err);
    if (rc == 0) return 0;
    engine_close(s->engine);
    s->engine = NULL;
    return other && rc == SV_E_STORE_FULL && s->unraised ? store_enter(s, false, err) : rc;
}

void store_enter_to_read(store *s)
{
    engine_spec spec = {
        .folder = s->folder, .tables = most_tables(s), .read_only = true, .trusted = true};
    sv_error err = {.code = 0};
    uint64_t last = 0;
    if (engine_open(&spec, &s->engine, &err)) {
        s->engine = NULL;
        return;
    }
    int rc = attach(s, &err);
    if (rc == 0) rc = last_txn(s, &last, &err);
    /* A commit whose outcome is unknown may be seen and yet not be on the disk. */
    if (rc == 0 && last == s->acked_txn) return;
    engine_close(s->engine);
    s->engine = NULL;
}

void store_shut(store *s)
{
    atomic_store(&s->stop_copies, true);
    pthread_rwlock_wrlock(&s->gate);
    atomic_store(&s->stop_copies, false);
    if (s->engine) engine_close(s->engine);
    s->engine = NULL;
}

void store_unshut(store *s)
{
    pthread_rwlock_unlock(&s->gate);
}

/* ---- life ---- */

static void init_locks(store *s)
{
    pthread_rwlockattr_t prefer;
    pthread_condattr_t monotonic;
    pthread_rwlockattr_init(&prefer);
    pthread_rwlockattr_setkind_np(&prefer, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&s->gate, &prefer);
    pthread_rwlockattr_destroy(&prefer);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &monotonic);
    pthread_cond_init(&s->pause_changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&s->mutex, NULL);
}

static void destroy(store *s)
{
    if (s->engine) engine_close(s->engine);
    keyring_free(s->keys);
    schema_free(s);
    env_lock_give(&s->lock);
    pthread_mutex_destroy(&s->mutex);
    pthread_cond_destroy(&s->pause_changed);
    pthread_cond_destroy(&s->wake);
    pthread_rwlock_destroy(&s->gate);
    free(s->folder);
    free(s);
}

static int open_all(store *s, sv_error *err)
{
    const char *service = s->spec.schema->service;
    int rc = schema_compile(s, err);
    if (rc == 0 && !s->spec.read_only) rc = env_lock_take(&s->lock, s->folder, service, err);
    if (rc == 0) rc = store_enter(s, true, err);
    if (rc || s->spec.read_only) return rc;
    if (s->unraised) {
        s->state = STORE_FULL;
        s->upkeep.full_told = true;
        store_tell(s, STORE_ALARM, "the store is full", "%s: opened, but nothing can be written",
                   s->folder);
    } else {
        rc = env_lock_note(&s->lock, service, s->epoch, err);
    }
    return rc ? rc : writer_start(s, err);
}

int store_open(const store_spec *spec, store **ret, sv_error *err)
{
    store *s = calloc(1, sizeof *s);
    char *folder = strdup(spec->folder);
    if (s == NULL || folder == NULL) {
        free(s);
        free(folder);
        return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    }
    s->spec = *spec;
    s->spec.folder = s->folder = folder;
    if (s->spec.unix_ms == NULL) s->spec.unix_ms = system_ms;
    s->lock.fd = -1;
    s->tail = &s->head;
    init_locks(s);
    int rc = open_all(s, err);
    if (rc)
        destroy(s);
    else
        *ret = s;
    return rc;
}

void store_close(store *s)
{
    if (s == NULL) return;
    writer_stop(s);
    destroy(s);
}

/* ---- reads ---- */

/* There is no engine at the moment, or somebody is about to take it away. */
static int away(store *s, sv_error *err)
{
    pthread_mutex_lock(&s->mutex);
    int rc = s->refused == SV_E_STORE_DAMAGED ? s->refused : SV_E_STORE_IO;
    pthread_mutex_unlock(&s->mutex);
    if (rc == SV_E_STORE_DAMAGED) return sv_fail(err, rc, NULL, NULL);
    sv_fail(err, rc, NULL, "The store is being opened again.");
    if (err) err->retry_after_ms = AWAY_MS;
    return rc;
}

/* The gate shared and an engine behind it; otherwise an error and nothing is held. */
static int pass(store *s, sv_error *err)
{
    if (pthread_rwlock_tryrdlock(&s->gate)) return away(s, err);
    if (s->engine) return 0;
    pthread_rwlock_unlock(&s->gate);
    return away(s, err);
}

/* A place where the watchdog sees the read; NULL when all are taken: then it goes unseen. */
static store_reader *reader_take(store *s, const char *owner, uint64_t now_us)
{
    for (size_t i = 0; i < STORE_READERS; i++) {
        store_reader *r = &s->readers[i];
        uint_fast64_t none = 0;
        if (atomic_load_explicit(&r->since_us, memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong(&r->since_us, &none, now_us)) {
            atomic_store(&r->owner, owner);
            return r;
        }
    }
    return NULL;
}

static void reader_give(store *s, store_reader *r, const store_op *op, uint64_t since_us)
{
    uint64_t took_ms = (store_us() - since_us) / 1000;
    bool told = false;
    if (r) {
        atomic_store(&r->owner, NULL);
        told = atomic_exchange(&r->told, false);
        atomic_store(&r->since_us, 0);
    }
    if (took_ms <= LIMIT_STORE_READ_MS) return;
    atomic_fetch_add(&s->long_reads, 1);
    if (!told && may_tell(&s->long_read_told_us, TELL_LONG_READ_US))
        store_tell(s, STORE_WARN, "a read took long", "%s: %llu ms", op->owner ? op->owner : "?",
                   (unsigned long long)took_ms);
}

static int view(store *s, store_op *op)
{
    engine_txn *t;
    int rc = engine_begin(s->engine, false, &t, &op->error);
    if (rc == SV_E_STORE_IO) op->error.retry_after_ms = AWAY_MS;
    if (rc) return rc;
    store_tx tx = {
        .store = s, .txn = t, .now_ms = store_clock(s), .arena = op->arena, .err = &op->error};
    rc = op->fn(&tx, op->in, op->out);
    scan_close_all(&tx);
    engine_abort(t);
    return tx.failed ? tx.failed : rc;
}

int store_view(store *s, store_op *op)
{
    op->error = (sv_error){.code = 0};
    int rc = pass(s, &op->error);
    if (rc) return store_settle(s, op, rc);
    uint64_t since_us = store_us();
    store_reader *r = reader_take(s, op->owner, since_us);
    rc = view(s, op);
    reader_give(s, r, op, since_us);
    pthread_rwlock_unlock(&s->gate);
    return store_settle(s, op, rc);
}

/* ---- figures ---- */

static uint64_t oldest_reader(store *s)
{
    uint64_t oldest = 0, now = store_us();
    for (size_t i = 0; i < STORE_READERS; i++) {
        uint64_t since = atomic_load(&s->readers[i].since_us);
        if (since && now > since && now - since > oldest) oldest = now - since;
    }
    return oldest;
}

/* The engine's figures into s->stat, where they stay for when it is away. */
static int refresh(store *s, bool with_free, sv_error *err)
{
    engine_stat e;
    int rc = engine_stats(s->engine, with_free, &e, err);
    if (rc) return rc;
    pthread_mutex_lock(&s->mutex);
    s->stat.epoch = s->epoch;
    s->stat.map_bytes = e.map_bytes;
    s->stat.page_bytes = e.page_bytes;
    s->stat.file_pages = e.file_pages;
    if (with_free) s->stat.free_pages = e.free_pages;
    s->stat.last_txn = e.last_txn;
    s->stat.readers = e.readers;
    pthread_mutex_unlock(&s->mutex);
    return 0;
}

int store_stats(store *s, bool with_free, store_stat *ret, sv_error *err)
{
    bool here = pthread_rwlock_tryrdlock(&s->gate) == 0;
    int rc = here && s->engine ? refresh(s, with_free, err) : 0;
    if (here) pthread_rwlock_unlock(&s->gate);
    if (rc) return rc;
    pthread_mutex_lock(&s->mutex);
    *ret = s->stat;
    ret->state = s->state == STORE_READY && !here ? STORE_AWAY : s->state;
    ret->waiting = s->waiting;
    s->stat.commit_us_max = 0;
    s->stat.batch_max = 0;
    pthread_mutex_unlock(&s->mutex);
    ret->version = s->spec.schema->version;
    ret->oldest_reader_us = oldest_reader(s);
    ret->long_reads = atomic_load(&s->long_reads);
    return 0;
}

typedef struct listing {
    store *s;
    engine_txn *txn;
    store_table_info *to;
    uint32_t n, max;
    int rc;
} listing;

static void list_one(listing *l, engine_table table, const char *kind, const char *name,
                     const char *index)
{
    engine_table_stat st;
    if (l->rc || l->n == l->max) return;
    l->rc = engine_table_count(l->txn, table, &st, NULL);
    if (l->rc) return;
    store_table_info *to = &l->to[l->n++];
    snprintf(to->name, sizeof to->name, "%s.%s%s%s", kind, name, index ? "." : "",
             index ? index : "");
    to->entries = st.entries;
    to->pages = st.pages;
}

static void list_all(listing *l)
{
    store *s = l->s;
    const struct {
        const char *name;
        engine_table table;
    } own[SYSTEM_TABLES] = {{"meta", s->sys.meta},   {"expiry", s->sys.expiry},
                            {"blobs", s->sys.blobs}, {"chunks", s->sys.chunks},
                            {"drops", s->sys.drops}, {"keys", s->sys.keys}};
    for (uint32_t i = 0; i < s->n_tables; i++) {
        const table_state *t = &s->tables[i];
        list_one(l, t->table, "t", t->spec->name, NULL);
        for (size_t k = 0; k < t->spec->n_indexes; k++)
            list_one(l, t->index[k].table, "i", t->spec->name, t->index[k].spec->name);
    }
    for (size_t i = 0; i < SYSTEM_TABLES; i++)
        list_one(l, own[i].table, "sys", own[i].name, NULL);
}

int store_tables(store *s, store_table_info *to, uint32_t max, sv_error *err)
{
    listing l = {.s = s, .to = to, .max = max};
    int rc = pass(s, err);
    if (rc) return rc;
    l.rc = engine_begin(s->engine, false, &l.txn, err);
    if (l.rc == 0) {
        list_all(&l);
        engine_abort(l.txn);
    }
    pthread_rwlock_unlock(&s->gate);
    return l.rc ? sv_fail(err, l.rc, NULL, NULL) : (int)l.n;
}
