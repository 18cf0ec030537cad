/*  upkeep.c - what the writer does in idle moments and at least once a second: takes away what has
 *  expired, saves the clock, and looks after readers, the map and the disk.
 *
 *  An idle store is not written: pieces without work end in an abort, and the clock is saved only
 *  when something was committed since. Alarms are told once when a mark is passed, and again only
 *  after the figure has gone well below it. */
#include "internal.h"

#include "sv_limits.h"

#include <sys/statvfs.h>

enum {
    SWEEP_ROWS = 200,
    SWEEP_CHUNKS = 500,
    COUNT_FREE_US = 10 * 1000000,
    DEAD_READERS_US = 60 * 1000000,
    MAP_WARN = 60,
    MAP_ALARM = 80,
    MAP_BACK = 5, /* percent below a mark that end it */
    DISK_LOW_PERCENT = 5,
    DISK_LOW_MIB = 256
};

/* ---- sweeping ---- */

typedef struct piece {
    uint32_t most, done;
} piece;

static int sweep_rows(store_tx *tx, void *arg)
{
    piece *p = arg;
    return expiry_sweep(tx, p->most, &p->done);
}

static int sweep_chunks(store_tx *tx, void *arg)
{
    piece *p = arg;
    return blob_sweep(tx, p->most, &p->done);
}

static int save_clock(store_tx *tx, void *arg)
{
    (void)arg;
    return meta_put_int(tx, "clock", tx->now_ms);
}

/* Only what the disk says counts: a damaged row must not stop the other work. */
static int keep_disk(int rc)
{
    return rc == SV_E_STORE_FULL || rc == SV_E_STORE_IO || rc == SV_E_STORE_LOCKED ? rc : 0;
}

/* Taking away needs room too: in a full map a smaller piece may find enough. */
static int sweep(store *s, int (*fn)(store_tx *tx, void *arg), piece *p, sv_error *err)
{
    for (;; p->most /= 4) {
        sv_error why = {.code = 0};
        p->done = 0;
        int rc = keep_disk(writer_run_now(s, fn, p, &why));
        if (rc == SV_E_STORE_FULL && p->most >= 4 && !engine_broken(s->engine)) continue;
        if (rc && err && err->code == 0) *err = why;
        return rc;
    }
}

int upkeep_sweep(store *s, bool *ret_more, sv_error *err)
{
    piece rows = {.most = SWEEP_ROWS}, chunks = {.most = SWEEP_CHUNKS};
    int rc = sweep(s, sweep_rows, &rows, err);
    if (rc) return rc;
    rc = sweep(s, sweep_chunks, &chunks, err);
    pthread_mutex_lock(&s->mutex);
    s->stat.expired += rows.done;
    bool save = s->stat.commits != s->upkeep.saved_commits;
    pthread_mutex_unlock(&s->mutex);
    *ret_more = rows.done == rows.most || chunks.done == chunks.most;
    if (rc || !save || *ret_more) return rc;
    rc = writer_run_now(s, save_clock, NULL, err);
    pthread_mutex_lock(&s->mutex);
    s->upkeep.saved_commits = s->stat.commits;
    pthread_mutex_unlock(&s->mutex);
    return keep_disk(rc);
}

static int take_room(store_tx *tx, void *arg)
{
    (void)arg;
    char *bytes = arena_alloc(tx->arena, LIMIT_STORE_ROW_BYTES);
    if (bytes == NULL) return tx_failed(tx, sv_fail(tx->err, SV_E_NO_MEMORY, NULL, NULL));
    return meta_put(tx, "room", (sv_str){bytes, LIMIT_STORE_ROW_BYTES});
}

static int give_room(store_tx *tx, void *arg)
{
    (void)arg;
    return meta_delete(tx, "room");
}

static int put_epoch(store_tx *tx, void *arg)
{
    (void)arg;
    return meta_put_int(tx, "epoch", (int64_t)tx->store->epoch + 1);
}

static int raise_epoch(store *s, sv_error *err)
{
    int rc = writer_run_now(s, put_epoch, NULL, err);
    if (rc) return rc;
    pthread_mutex_lock(&s->mutex);
    s->epoch++;
    s->unraised = false;
    pthread_mutex_unlock(&s->mutex);
    env_lock_note(&s->lock, s->spec.schema->service, s->epoch, NULL); /* for people only */
    return 0;
}

int upkeep_room(store *s, sv_error *err)
{
    bool more;
    int rc = s->unraised ? raise_epoch(s, err) : 0;
    if (rc == 0) rc = upkeep_sweep(s, &more, err);
    if (rc == 0) rc = writer_run_now(s, take_room, NULL, err);
    return rc ? rc : writer_run_now(s, give_room, NULL, err);
}

/* ---- looking ---- */

static void look_at_readers(store *s, uint64_t now_us)
{
    for (size_t i = 0; i < STORE_READERS; i++) {
        store_reader *r = &s->readers[i];
        uint64_t since = atomic_load(&r->since_us);
        if (since == 0 || now_us < since + LIMIT_STORE_READ_MS * 1000) continue;
        const char *owner = atomic_load(&r->owner);
        if (owner == NULL || atomic_exchange(&r->told, true)) continue;
        store_tell(s, STORE_WARN, "a read takes long", "%s: %llu ms so far", owner,
                   (unsigned long long)(now_us - since) / 1000);
    }
}

static void look_at_map(store *s, uint64_t now_us)
{
    engine_stat e;
    if (engine_stats(s->engine, false, &e, NULL) || e.map_bytes < 100 * e.page_bytes) return;
    uint64_t percent = e.map_bytes / e.page_bytes / 100;
    if (e.file_pages >= percent * MAP_WARN) {
        /* Counting free pages costs: only when the file is that large, and not each time. */
        if (now_us < s->upkeep.room_at_us) return;
        s->upkeep.room_at_us = now_us + COUNT_FREE_US;
        if (engine_stats(s->engine, true, &e, NULL)) return;
    }
    uint64_t used = (e.file_pages - e.free_pages) / percent;
    uint32_t level = used >= MAP_ALARM ? MAP_ALARM : used >= MAP_WARN ? MAP_WARN : 0;
    uint32_t told = s->upkeep.map_level;
    if (level > told)
        store_tell(s, level == MAP_ALARM ? STORE_ALARM : STORE_WARN, "the store's map fills up",
                   "%s: %llu %% of %llu MiB used; raise store.map_bytes or delete", s->folder,
                   (unsigned long long)used, (unsigned long long)e.map_bytes >> 20);
    if (level > told || used + MAP_BACK < told) s->upkeep.map_level = level;
}

static void look_at_disk(store *s)
{
    struct statvfs f;
    if (statvfs(s->folder, &f) || f.f_blocks == 0) return;
    uint64_t percent = f.f_bavail * 100 / f.f_blocks;
    uint64_t mib = f.f_bavail * f.f_frsize >> 20;
    bool low = percent < DISK_LOW_PERCENT || mib < DISK_LOW_MIB;
    bool fine = percent > DISK_LOW_PERCENT && mib > DISK_LOW_MIB * 5 / 4;
    if (low && !s->upkeep.disk_low)
        store_tell(s, STORE_ALARM, "the disk fills up", "%s: %llu MiB left, %llu %%", s->folder,
                   (unsigned long long)mib, (unsigned long long)percent);
    if (low || fine) s->upkeep.disk_low = low;
}

void upkeep_look(store *s, uint64_t now_us)
{
    look_at_readers(s, now_us);
    look_at_disk(s);
    if (s->engine) look_at_map(s, now_us);
    if (now_us >= s->upkeep.dead_readers_at_us && s->engine) {
        s->upkeep.dead_readers_at_us = now_us + DEAD_READERS_US;
        uint32_t n = engine_clear_dead_readers(s->engine);
        if (n) store_tell(s, STORE_WARN, "readers had died", "%u places were cleared", n);
    }
}
