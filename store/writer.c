/*  writer.c - one thread that writes: group commit, and what happens when a commit fails.
 *
 *  A turn takes what waits, up to the limits of a batch, into one engine transaction: first the
 *  fence, then each write as a transaction nested in it, so that one that fails is undone alone;
 *  then one commit for all. While it is on its way the next batch gathers: no timer is needed.
 *  Writes that come in while others run still join the batch.
 *
 *  When the batch fails as a whole
 *   - for want of room or memory, and the engine is sound, nothing of it was written: each write is
 *     tried again in a commit of its own, so that a neighbour that is too large fails alone. The
 *     same for a single write that found no room beside the others.
 *   - for the disk, its outcome may be unknown: every write of it gets the error. One that had
 *     failed by itself keeps its answer, unless a write before it succeeded: it may have seen what
 *     is now undone. Then the engine is closed and opened (docs/adr/0012).
 *
 *  States, changed by the writer (or by store_replace while it holds it):
 *   READY
 *   FULL     what waited was refused; one write at each retry_at_us is let through alone, and when
 *            none comes the store tries for itself. The first that gets through: READY.
 *   FAILING  writes are refused, reads go on when the disk can be read; at retry_at_us the engine
 *            is opened for writing again and has to take a commit, which also settles a commit of
 *            unknown outcome. `refused` set: never again. */
#include "internal.h"

#include "sv_limits.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>

enum {
    RUN_ARENA = 64 << 20,
    BACKOFF_FIRST_MS = 250,
    BACKOFF_MOST_MS = 2000,
    CALM_US = 10 * 1000000, /* trouble that comes again sooner goes on where it was */
    BUSY_MS = 50,
    TURN_US = 1000000,
    SMALL = LIMIT_STORE_ROW_BYTES /* a larger write that finds no room says nothing about others */
};

typedef struct batch {
    store_op *first, **end;
    uint32_t n, good;
    size_t bytes;
} batch;

static void batch_init(batch *b)
{
    *b = (batch){.end = &b->first};
}

static void batch_add(batch *b, store_op *op)
{
    op->next = NULL;
    *b->end = op;
    b->end = &op->next;
    b->n++;
}

static store_op *take(store *s)
{
    pthread_mutex_lock(&s->mutex);
    store_op *op = s->head;
    if (op) {
        s->head = op->next;
        if (s->head == NULL) s->tail = &s->head;
        s->waiting--;
        op->code = 0;
    }
    pthread_mutex_unlock(&s->mutex);
    return op;
}

/* When a write that failed for room or disk is worth another try; mutex held. */
static uint32_t retry_ms(const store *s)
{
    if (s->state == STORE_READY) return BACKOFF_FIRST_MS;
    if (s->unraised) return BACKOFF_MOST_MS;
    uint64_t now = store_us();
    return s->retry_at_us > now ? (uint32_t)((s->retry_at_us - now) / 1000) + 1 : 1;
}

static void finish(store *s, store_op *list)
{
    if (list == NULL) return;
    pthread_mutex_lock(&s->mutex);
    for (store_op *op = list; op; op = op->next) {
        bool later = op->code == SV_E_STORE_FULL || op->code == SV_E_STORE_IO;
        if (later) op->error.retry_after_ms = retry_ms(s);
        s->stat.failures += later || op->code == SV_E_STORE_LOCKED ||
                            op->code == SV_E_STORE_DAMAGED || op->code == SV_E_NO_MEMORY;
    }
    pthread_mutex_unlock(&s->mutex);
    s->spec.finished(s->spec.arg, list);
}

/* ---- one transaction ---- */

static int begin(store *s, engine_txn **ret, sv_error *err)
{
    engine_txn *t;
    int rc = engine_begin(s->engine, true, &t, err);
    if (rc == 0 && s->fenced && (rc = meta_fence(s, t, err))) engine_abort(t);
    if (rc == 0) *ret = t;
    return rc;
}

static int commit(store *s, engine_txn *t, uint32_t writes, sv_error *err)
{
    engine_stat e;
    uint64_t start = store_us();
    int rc = engine_commit(t, err);
    uint64_t took = store_us() - start;
    if (rc) return rc;
    if (engine_stats(s->engine, false, &e, NULL) == 0) s->acked_txn = e.last_txn;
    pthread_mutex_lock(&s->mutex);
    s->stat.commits++;
    s->stat.writes += writes;
    s->stat.commit_us_last = took;
    if (took > s->stat.commit_us_max) s->stat.commit_us_max = took;
    if (writes > s->stat.batch_max) s->stat.batch_max = writes;
    pthread_mutex_unlock(&s->mutex);
    return 0;
}

static int run_fn(store *s, engine_txn *t, store_op *op, int64_t now_ms, size_t *bytes)
{
    op->error = (sv_error){.code = 0};
    store_tx tx = {.store = s,
                   .txn = t,
                   .write = true,
                   .now_ms = now_ms,
                   .arena = op->arena,
                   .err = &op->error};
    int rc = op->fn(&tx, op->in, op->out);
    scan_close_all(&tx);
    *bytes += tx.bytes;
    return store_settle(s, op, tx.failed ? tx.failed : rc);
}

static bool too_late(store *s, store_op *op)
{
    if (op->deadline_us == 0 || store_us() < op->deadline_us) return false;
    op->error = (sv_error){.code = 0};
    store_settle(s, op, SV_E_DEADLINE);
    return true;
}

/* One write of a batch. Not 0: the batch is over; what the write itself came to is in op->code. */
static int run_nested(store *s, engine_txn *outer, store_op *op, int64_t now_ms, batch *b,
                      sv_error *err)
{
    engine_txn *t;
    if (too_late(s, op)) return 0;
    int rc = engine_nest(outer, &t, err);
    if (rc) return rc;
    rc = run_fn(s, t, op, now_ms, &b->bytes);
    if (rc) {
        engine_abort(t);
        return rc == SV_E_STORE_IO ? sv_fail(err, rc, NULL, "%s", op->error.message) : 0;
    }
    rc = engine_commit(t, err);
    if (rc == 0) b->good++;
    return rc;
}

/* What waits, in one commit. 0: each write has its own answer. Otherwise nothing of it was
 * acknowledged. */
static int run_batch(store *s, batch *b, sv_error *err)
{
    engine_txn *outer;
    store_op *op = take(s);
    batch_add(b, op);
    int rc = begin(s, &outer, err);
    if (rc) return rc;
    int64_t now_ms = store_clock(s);
    for (;;) {
        rc = run_nested(s, outer, op, now_ms, b, err);
        if (rc) {
            engine_abort(outer);
            return rc;
        }
        if (b->n >= LIMIT_STORE_BATCH_WRITES || b->bytes >= LIMIT_STORE_BATCH_BYTES) break;
        if ((op = take(s)) == NULL) break;
        batch_add(b, op);
    }
    if (b->good) return commit(s, outer, b->good, err);
    engine_abort(outer);
    return 0;
}

/* One write in a commit of its own. Not 0: as for run_batch; op->code is set in any case. */
static int run_alone(store *s, store_op *op, size_t *bytes, sv_error *err)
{
    engine_txn *t;
    *bytes = 0;
    if (too_late(s, op)) return 0;
    int rc = begin(s, &t, err);
    if (rc == 0) {
        rc = run_fn(s, t, op, store_clock(s), bytes);
        if (rc) {
            engine_abort(t);
            return rc == SV_E_STORE_IO || rc == SV_E_STORE_FULL ? sv_fail(err, rc, NULL, NULL) : 0;
        }
        rc = commit(s, t, 1, err);
    }
    if (rc == 0) return 0;
    op->error = *err;
    store_settle(s, op, rc);
    return rc;
}

int writer_run_now(store *s, int (*fn)(store_tx *tx, void *arg), void *arg, sv_error *err)
{
    engine_txn *t;
    arena mem;
    sv_error why = {.code = 0};
    int rc = begin(s, &t, &why);
    if (rc == 0) {
        arena_init(&mem, RUN_ARENA);
        store_tx tx = {.store = s,
                       .txn = t,
                       .write = true,
                       .now_ms = store_clock(s),
                       .arena = &mem,
                       .err = &why};
        rc = fn(&tx, arg);
        scan_close_all(&tx);
        if (tx.failed) rc = tx.failed;
        if (rc || tx.changes == 0)
            engine_abort(t);
        else
            rc = commit(s, t, 0, &why);
        arena_free(&mem);
    }
    if (rc == 0) return 0;
    if (why.code != rc) why = (sv_error){.code = 0};
    sv_fail(&why, rc, NULL, NULL);
    if (err && err->code == 0) *err = why;
    return rc;
}

/* ---- states ---- */

/* Words for a write that is not tried. */
static void refuse(store *s, store_op *op, int code)
{
    op->error = (sv_error){.code = 0};
    store_settle(s, op, code);
}

/* Why writes are refused while the store is not READY; mutex held. */
static int refusal(const store *s)
{
    if (s->refused) return s->refused;
    return s->state == STORE_FULL ? SV_E_STORE_FULL : SV_E_STORE_IO;
}

/* FULL or FAILING: the next attempt is set, what waits is refused. */
static void enter(store *s, store_state state, int refused)
{
    uint64_t now = store_us();
    pthread_mutex_lock(&s->mutex);
    bool fresh = s->retry_at_us == 0 || now >= s->retry_at_us + CALM_US;
    uint32_t longer = s->backoff_ms * 2 < BACKOFF_MOST_MS ? s->backoff_ms * 2 : BACKOFF_MOST_MS;
    s->backoff_ms = fresh ? BACKOFF_FIRST_MS : longer;
    /* The first failure of a disk after a long time is looked at without delay. */
    bool at_once = fresh && state == STORE_FAILING && s->state != STORE_FAILING;
    s->retry_at_us = now + (at_once ? 0 : s->backoff_ms * (uint64_t)1000);
    s->upkeep.probe_at_us = s->retry_at_us + s->backoff_ms * (uint64_t)1000;
    s->state = state;
    if (s->refused == 0) s->refused = refused;
    store_op *list = s->head;
    s->head = NULL;
    s->tail = &s->head;
    s->waiting = 0;
    int code = refusal(s);
    pthread_mutex_unlock(&s->mutex);
    for (store_op *op = list; op; op = op->next)
        refuse(s, op, code);
    finish(s, list);
}

static void ready(store *s)
{
    bool was_failing = s->state == STORE_FAILING;
    pthread_mutex_lock(&s->mutex);
    s->state = STORE_READY;
    pthread_mutex_unlock(&s->mutex);
    if (was_failing || s->upkeep.full_told)
        store_tell(s, STORE_NOTE, "the store can be written again", "%s", s->folder);
    s->upkeep.full_told = false;
}

/* Told once for a time of trouble, even when single writes get through in between. */
static void tell_full(store *s, const sv_error *err)
{
    uint64_t now = store_us();
    bool again = s->upkeep.full_at_us && now < s->upkeep.full_at_us + CALM_US;
    s->upkeep.full_at_us = now;
    if (again || s->upkeep.full_told) return;
    s->upkeep.full_told = true;
    store_tell(s, STORE_ALARM, "the store is full", "%s: %s %s", s->folder, err->message,
               err->detail);
}

static int reopen(store *s, sv_error *err)
{
    store_shut(s);
    int rc = store_enter(s, false, err);
    if (rc == SV_E_STORE_IO || rc == SV_E_STORE_FULL) store_enter_to_read(s);
    store_unshut(s);
    return rc;
}

/* The environment cannot be opened again, or could not be written. */
static void failing(store *s, int code, const sv_error *err)
{
    bool lost = code == SV_E_STORE_LOCKED || code == SV_E_STORE_DAMAGED;
    bool tell = lost || s->state != STORE_FAILING;
    enter(s, STORE_FAILING, lost ? code : 0);
    if (tell)
        store_tell(s, STORE_ALARM,
                   lost ? "the store is lost to this process" : "the store could not be written",
                   "%s: %s %s", s->folder, err->message, err->detail);
}

/* What a failed commit means for the store, before anybody is told of it. `bytes`: what it would
 * have written. */
static void trouble(store *s, int code, size_t bytes, const sv_error *err)
{
    bool broken = engine_broken(s->engine);
    sv_error why = {.code = 0};
    if (code == SV_E_STORE_FULL && broken) { /* reads must not wait for room */
        bytes = 0;
        broken = reopen(s, &why) != 0;
        if (broken) err = &why;
    }
    if (code == SV_E_STORE_IO || code == SV_E_STORE_LOCKED || broken) {
        failing(s, err->code, err);
    } else if (code == SV_E_STORE_FULL && bytes <= SMALL) {
        enter(s, STORE_FULL, 0);
        tell_full(s, err);
    }
}

/* ---- writing ---- */

static void write_one(store *s, store_op *op)
{
    sv_error err = {.code = 0};
    size_t bytes;
    int rc = run_alone(s, op, &bytes, &err);
    if (rc) trouble(s, rc, bytes, &err);
    if (rc == 0 && op->code == 0 && s->state == STORE_FULL) ready(s);
    finish(s, op);
}

static void write_each(store *s, store_op *list)
{
    while (list) {
        store_op *op = list;
        list = op->next;
        op->next = NULL;
        if (s->state == STORE_READY) {
            write_one(s, op);
        } else {
            refuse(s, op, refusal(s));
            finish(s, op);
        }
    }
}

/* Takes out of the batch what found no room beside the others. */
static store_op *without_room(batch *b)
{
    batch stay, again;
    batch_init(&stay);
    batch_init(&again);
    for (store_op *op = b->first, *next; op; op = next) {
        next = op->next;
        batch_add(op->code == SV_E_STORE_FULL ? &again : &stay, op);
    }
    b->first = stay.first;
    return again.first;
}

static void fail_all(store *s, batch *b, int code, const sv_error *err)
{
    bool undone = false;
    for (store_op *op = b->first; op; op = op->next) {
        bool good = op->code == 0;
        if (good || (undone && op->code != SV_E_DEADLINE)) {
            op->error = *err;
            store_settle(s, op, code);
        }
        undone = undone || good;
    }
}

static void write_batch(store *s)
{
    batch b;
    sv_error err = {.code = 0};
    store_op *again = NULL;
    batch_init(&b);
    int rc = run_batch(s, &b, &err);
    bool lost = rc == SV_E_STORE_IO || rc == SV_E_STORE_LOCKED || engine_broken(s->engine);
    if (rc && lost) {
        fail_all(s, &b, rc, &err);
        trouble(s, rc, b.bytes, &err);
    } else if (rc) {
        again = b.first;
        b.first = NULL;
    } else {
        again = without_room(&b);
    }
    finish(s, b.first);
    write_each(s, again);
}

/* ---- what is due ---- */

/* Opens the engine again. That it takes a commit also settles one of unknown outcome. */
static void recover(store *s)
{
    sv_error err = {.code = 0};
    int rc = reopen(s, &err);
    bool opened = rc == 0;
    if (opened) rc = upkeep_room(s, &err);
    if (rc == 0)
        ready(s);
    else if (rc == SV_E_STORE_FULL && opened)
        trouble(s, rc, 0, &err);
    else
        failing(s, rc, &err);
}

/* An attempt of the store's own, for when nobody else makes one: it leaves retry_at_us alone, so
 * that it never takes a write's turn. */
static void probe(store *s)
{
    sv_error err = {.code = 0};
    int rc = upkeep_room(s, &err);
    if (rc == 0)
        ready(s);
    else if (rc == SV_E_STORE_FULL && !engine_broken(s->engine))
        s->upkeep.probe_at_us = store_us() + BACKOFF_MOST_MS * 1000;
    else
        trouble(s, rc, 0, &err);
}

static void sweep(store *s, bool idle, uint64_t now_us)
{
    sv_error err = {.code = 0};
    bool more = false;
    int rc = upkeep_sweep(s, &more, &err);
    s->upkeep.sweep_at_us = now_us + (!more ? TURN_US : idle ? 0 : BUSY_MS * 1000);
    if (rc) trouble(s, rc, 0, &err);
}

static uint64_t attempt_at(const store *s)
{
    return s->state == STORE_FULL ? s->upkeep.probe_at_us : s->retry_at_us;
}

/* Does what is due and tells when it wants to be called again. */
static uint64_t turn(store *s)
{
    uint64_t now = store_us();
    pthread_mutex_lock(&s->mutex);
    bool idle = s->head == NULL, due = !s->refused && now >= attempt_at(s);
    pthread_mutex_unlock(&s->mutex);
    if (now >= s->upkeep.look_at_us) {
        upkeep_look(s, now);
        s->upkeep.look_at_us = now + TURN_US;
    }
    if (s->state == STORE_READY) {
        if (now >= s->upkeep.sweep_at_us) sweep(s, idle, now);
    } else if (due && s->state == STORE_FULL) {
        probe(s);
    } else if (due) {
        recover(s);
    }
    if (!s->refused && s->engine && engine_broken(s->engine)) {
        sv_error err = {.code = 0};
        reopen(s, &err); /* reads go on until the next attempt */
    }
    uint64_t next = s->upkeep.look_at_us;
    pthread_mutex_lock(&s->mutex);
    uint64_t other = s->state == STORE_READY ? s->upkeep.sweep_at_us : attempt_at(s);
    if (!s->refused && other < next) next = other;
    pthread_mutex_unlock(&s->mutex);
    return next;
}

/* ---- the thread ---- */

static void wait_until(store *s, uint64_t due_us)
{
    struct timespec t = {.tv_sec = (time_t)(due_us / 1000000),
                         .tv_nsec = (long)(due_us % 1000000) * 1000};
    pthread_cond_timedwait(&s->wake, &s->mutex, &t);
}

static void hold(store *s)
{
    s->paused = true;
    pthread_cond_broadcast(&s->pause_changed);
    while (s->pause)
        pthread_cond_wait(&s->wake, &s->mutex);
    s->paused = false;
}

static void *run(void *arg)
{
    store *s = arg;
    uint64_t due_us = 0;
    pthread_mutex_lock(&s->mutex);
    for (;;) {
        if (s->pause) {
            hold(s);
            due_us = 0;
        }
        bool due = store_us() >= due_us, work = s->head != NULL;
        if (!due && !work) {
            if (s->stopping) break;
            wait_until(s, due_us);
            continue;
        }
        pthread_mutex_unlock(&s->mutex);
        if (due)
            due_us = turn(s);
        else if (s->state == STORE_READY)
            write_batch(s);
        else
            write_one(s, take(s));
        if (s->state != STORE_READY && !due) due_us = 0;
        pthread_mutex_lock(&s->mutex);
    }
    pthread_mutex_unlock(&s->mutex);
    return NULL;
}

int writer_start(store *s, sv_error *err)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    s->running = pthread_create(&s->thread, NULL, run, s) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!s->running)
        return sv_fail(err, SV_E_NO_MEMORY, NULL, "The store's thread could not be started.");
    pthread_setname_np(s->thread, "store");
    return 0;
}

void writer_stop(store *s)
{
    if (!s->running) return;
    pthread_mutex_lock(&s->mutex);
    s->stopping = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->mutex);
    pthread_join(s->thread, NULL);
    s->running = false;
}

void writer_pause(store *s)
{
    pthread_mutex_lock(&s->mutex);
    while (s->pause)
        pthread_cond_wait(&s->pause_changed, &s->mutex);
    s->pause = true;
    pthread_cond_signal(&s->wake);
    while (!s->paused)
        pthread_cond_wait(&s->pause_changed, &s->mutex);
    pthread_mutex_unlock(&s->mutex);
}

void writer_resume(store *s)
{
    pthread_mutex_lock(&s->mutex);
    s->pause = false;
    pthread_cond_signal(&s->wake);
    pthread_cond_broadcast(&s->pause_changed);
    pthread_mutex_unlock(&s->mutex);
}

int store_submit(store *s, store_op *op)
{
    int rc = 0;
    bool first = false;
    pthread_mutex_lock(&s->mutex);
    if (!s->running || s->stopping)
        rc = SV_E_STORE_IO;
    else if (s->refused || s->state == STORE_FAILING)
        rc = refusal(s);
    else if (s->state == STORE_FULL && (s->unraised || store_us() < s->retry_at_us))
        rc = SV_E_STORE_FULL;
    else if (s->waiting >= LIMIT_STORE_QUEUE)
        rc = SV_E_OVERLOADED;
    uint32_t later_ms = rc == SV_E_OVERLOADED ? BUSY_MS : retry_ms(s);
    if (rc == 0) {
        if (s->state == STORE_FULL) s->retry_at_us = store_us() + s->backoff_ms * (uint64_t)1000;
        first = s->head == NULL;
        op->next = NULL;
        *s->tail = op;
        s->tail = &op->next;
        s->waiting++;
    } else if (rc != SV_E_OVERLOADED) {
        s->stat.failures++;
    }
    if (first) pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->mutex);
    if (rc == 0) return 0;
    refuse(s, op, rc);
    if (rc != SV_E_STORE_LOCKED && rc != SV_E_STORE_DAMAGED) op->error.retry_after_ms = later_ms;
    return rc;
}
