/*  state.c - between fibers, the loop and the store's writer.
 *
 *  A write is a store_op with a note of who waits. It goes to the store's queue; after its commit
 *  the writer's thread appends the whole batch to `finished` and rings an eventfd, which needs no
 *  memory and so cannot fail. The loop takes the list and resumes fibers and calls `done`,
 *  DELIVER_TURN a turn: a commit of a thousand writes is not a thousand fibers in one turn.
 *
 *  The op of a fiber's write lies on the fiber's stack: the fiber is suspended until the loop has
 *  seen the op again, whatever happens to its call. Ops of sv_store_write come from a free list and
 *  have an arena of their own.
 *
 *  `begun` and `delivered` count ops: the difference is what the store or the loop still has. */
#include "state.h"

#include "env_lock.h"
#include "log.h"
#include "process.h"
#include "root_key.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    DELIVER_TURN = 64,
    OPS_KEPT = 64,
    OP_ARENA = 4 << 20,
    ARENA_KEPT = 65536, /* a free op with more than this gives its memory back */
    AWAY_STEP_MS = 1,
    AWAY_MOST_US = 1000000,
    STATS_US = 1000000,
    FREE_US = 60000000 /* counting free pages walks the free list: once a minute, by the writer */
};

typedef struct state state;

typedef struct write_op {
    store_op op;   /* first: the store hands it back */
    sv_call *call; /* its fiber waits, or NULL and ... */
    void (*done)(void *arg, int code, const sv_error *err);
    void *arg;
    arena arena;
    uint64_t since_us;
    bool over;
} write_op;

struct state {
    sv_process *process;
    store *store;        /* NULL when it is being closed */
    store *opened;       /* for the hooks, which go on until it is closed */
    uint64_t committed;  /* the writer's: commits that the histogram has */
    uint64_t counted_us; /* the writer's: when it counted free pages */
    seal_key *root, *root_new;
    int wake_fd;
    loop_fd *watch;
    loop_timer stats_timer;
    store_stat last;
    pool *copier;
    bool copying;
    uint64_t begun, delivered;
    write_op *free_ops;
    uint32_t n_free;
    store_op *ready, **ready_tail; /* taken from `finished`, to be delivered */
    pthread_mutex_t mutex;         /* guards what follows */
    store_op *finished, **finished_tail;
};

/* ---- hooks: on the store's threads ---- */

static void observe_commit(state *st)
{
    store_stat s;
    uint64_t now_us = clock_us();
    bool with_free = now_us - st->counted_us >= FREE_US;
    if (store_stats(st->opened, with_free, &s, NULL) || s.commits == st->committed) return;
    if (with_free) st->counted_us = now_us;
    st->committed = s.commits;
    metric_observe_us(metric_one(M_STORE_COMMIT_SECONDS), s.commit_us_last);
}

static void on_finished(void *arg, store_op *list)
{
    state *st = arg;
    observe_commit(st);
    pthread_mutex_lock(&st->mutex);
    bool first = st->finished == NULL;
    *st->finished_tail = list;
    while (*st->finished_tail)
        st->finished_tail = &(*st->finished_tail)->next;
    pthread_mutex_unlock(&st->mutex);
    uint64_t one = 1;
    if (first && write(st->wake_fd, &one, sizeof one) < 0) assert(errno == EAGAIN);
}

static void on_event(void *arg, store_level level, const char *what, const char *detail)
{
    (void)arg;
    static const log_level levels[] = {LOG_INFO, LOG_WARN, LOG_ERROR};
    log_write(levels[level], what, LOG_STR("detail", detail));
    if (level == STORE_WARN) metric_add(metric_one(M_STORE_WARNINGS), 1);
    if (level == STORE_ALARM) metric_add(metric_one(M_STORE_ALARMS), 1);
}

/* ---- back on the loop ---- */

static void op_release(state *st, write_op *w)
{
    if (st->n_free == OPS_KEPT) {
        arena_free(&w->arena);
        free(w);
        return;
    }
    if (w->arena.used > ARENA_KEPT)
        arena_free(&w->arena);
    else
        arena_reset(&w->arena);
    w->op.next = (store_op *)st->free_ops;
    st->free_ops = w;
    st->n_free++;
}

static void deliver(state *st, write_op *w)
{
    st->delivered++;
    metric_observe_us(metric_one(M_STORE_WRITE_SECONDS), clock_us() - w->since_us);
    w->over = true;
    if (w->call) {
        serve_resume(w->call);
        return;
    }
    w->done(w->arg, w->op.code, &w->op.error);
    op_release(st, w);
}

/* Delivers up to `most`; true when some are left. */
static bool deliver_some(state *st, uint32_t most)
{
    pthread_mutex_lock(&st->mutex);
    if (st->finished) {
        *st->ready_tail = st->finished;
        st->ready_tail = st->finished_tail;
        st->finished = NULL;
        st->finished_tail = &st->finished;
    }
    pthread_mutex_unlock(&st->mutex);
    while (st->ready && most--) {
        store_op *op = st->ready;
        st->ready = op->next;
        if (st->ready == NULL) st->ready_tail = &st->ready;
        deliver(st, (write_op *)op);
    }
    return st->ready != NULL;
}

static void ring(state *st)
{
    uint64_t one = 1;
    if (write(st->wake_fd, &one, sizeof one) < 0) assert(errno == EAGAIN);
}

static void on_wake(void *arg, int fd, uint32_t events)
{
    (void)events;
    state *st = arg;
    uint64_t rings;
    if (read(fd, &rings, sizeof rings) < 0) assert(errno == EAGAIN);
    if (deliver_some(st, DELIVER_TURN)) ring(st);
}

/* Outside of the loop's turns: waits until what is begun now has been delivered. */
static void deliver_all(state *st)
{
    uint64_t target = st->begun;
    while (st->delivered < target) {
        struct pollfd p = {.fd = st->wake_fd, .events = POLLIN};
        uint64_t rings;
        if (st->ready == NULL && poll(&p, 1, -1) == 1 &&
            read(st->wake_fd, &rings, sizeof rings) < 0)
            assert(errno == EAGAIN);
        deliver_some(st, UINT32_MAX);
    }
}

/* ---- figures ---- */

static void count(metric_name m, uint64_t before, uint64_t now)
{
    if (now > before) metric_add(metric_one(m), now - before);
}

static void on_stats(void *arg)
{
    state *st = arg;
    store_stat s;
    loop_timer_set(st->process->loop, &st->stats_timer, STATS_US, on_stats, st);
    if (store_stats(st->store, false, &s, NULL)) return;
    metric_set(metric_one(M_STORE_STATE), s.state);
    metric_set(metric_one(M_STORE_MAP), (double)s.map_bytes);
    metric_set(metric_one(M_STORE_USED), (double)(s.file_pages * s.page_bytes));
    metric_set(metric_one(M_STORE_FREE_PAGES), (double)s.free_pages);
    metric_set(metric_one(M_STORE_WAITING), s.waiting);
    metric_set(metric_one(M_STORE_READERS), s.readers);
    metric_set(metric_one(M_STORE_OLDEST_READER), (double)s.oldest_reader_us / 1e6);
    count(M_STORE_COMMITS, st->last.commits, s.commits);
    count(M_STORE_WRITES, st->last.writes, s.writes);
    count(M_STORE_FAILURES, st->last.failures, s.failures);
    count(M_STORE_EXPIRED, st->last.expired, s.expired);
    count(M_STORE_LONG_READS, st->last.long_reads, s.long_reads);
    st->last = s;
}

const char *state_name(store_state s)
{
    switch (s) {
    case STORE_READY: return "ready";
    case STORE_FULL: return "full";
    case STORE_FAILING: return "failing";
    case STORE_AWAY: return "away";
    }
    return "unknown";
}

const char *state_word(const sv_process *p)
{
    return p->kept ? state_name(p->kept->last.state) : NULL;
}

/* ---- life ---- */

bool state_is_config(int code)
{
    return code == SV_E_CONFIG || code == SV_E_STORE_KEY || code == SV_E_STORE_NEWER ||
           code == SV_E_STORE_FOREIGN;
}

int state_key_error(int rc, sv_error *err)
{
    if (rc != SV_E_NOT_FOUND) return rc;
    if (err) err->code = SV_E_CONFIG;
    return SV_E_CONFIG;
}

int state_folder(const config *c, const char *service, uint32_t instance, char ret[STATE_PATH],
                 sv_error *err)
{
    int n = snprintf(ret, STATE_PATH, "%s/store/%s-%u", config_data(c), service, instance);
    if (n < STATE_PATH) return 0;
    return sv_fail(err, SV_E_CONFIG, "data", "The data folder's path is too long.");
}

bool state_held(const char *folder)
{
    return env_lock_holder(folder) != 0;
}

/* Opens instance p->instance, or the first that nobody holds. */
static int open_instance(state *st, sv_error *err)
{
    sv_process *p = st->process;
    char folder[STATE_PATH];
    store_spec spec = {.schema = p->actor->store,
                       .folder = folder,
                       .map_bytes = (size_t)config_int(p->config, "store.map_bytes"),
                       .root = st->root,
                       .root_new = st->root_new,
                       .finished = on_finished,
                       .event = on_event,
                       .arg = st};
    bool given = p->instance > 0;
    uint32_t first = given ? p->instance : 1, last = given ? p->instance : STATE_INSTANCES;
    int rc = 0;
    for (uint32_t i = first; i <= last; i++) {
        sv_error why = {.code = 0};
        rc = state_folder(p->config, p->name, i, folder, &why);
        if (rc == 0) rc = store_open(&spec, &st->store, &why);
        if (rc == 0) {
            st->opened = st->store;
            p->instance = i;
        }
        if (rc != SV_E_STORE_LOCKED || i == last) {
            if (rc && err) *err = why;
            return rc;
        }
    }
    return rc;
}

/* A key that was handed down just before a change of the root key ended is not the right one any more:
 * then what lies in its place now is tried. */
static int open_with_key(state *st, sv_error *err)
{
    const config *c = st->process->config;
    sv_error why = {.code = 0};
    int rc = state_key_error(root_key_get(c, &st->root, &st->root_new, &why), &why);
    if (rc == 0) rc = open_instance(st, &why);
    seal_key *root, *next;
    if (rc == SV_E_STORE_KEY && root_key_find(c, &root, &next, NULL) == 0) {
        seal_key_free(st->root);
        seal_key_free(st->root_new);
        st->root = root;
        st->root_new = next;
        why = (sv_error){.code = 0};
        rc = open_instance(st, &why);
    }
    if (rc && err) *err = why;
    return rc;
}

int state_open(sv_process *p, sv_error *err)
{
    if (p->actor == NULL || p->actor->store == NULL) return 0;
    state *st = calloc(1, sizeof *st);
    if (st == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    p->kept = st;
    st->process = p;
    st->finished_tail = &st->finished;
    st->ready_tail = &st->ready;
    pthread_mutex_init(&st->mutex, NULL);
    st->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = 0;
    if (st->wake_fd < 0 || loop_fd_add(p->loop, st->wake_fd, EPOLLIN, on_wake, st, &st->watch))
        rc = sv_fail(err, SV_E_NO_MEMORY, NULL, "The store's wake-up could not be made.");
    if (rc == 0) rc = open_with_key(st, err);
    if (rc == 0) on_stats(st);
    if (rc) state_close(p);
    return rc;
}

void state_settle(sv_process *p)
{
    state *st = p->kept;
    if (st == NULL || st->store == NULL) return;
    deliver_all(st);
    /* What its jobs resume sees a cancelled call, begins nothing new and ends. */
    if (p->workers) pool_free(p->workers);
    p->workers = NULL;
    if (st->copier) pool_free(st->copier);
    st->copier = NULL;
    deliver_all(st);
}

void state_close(sv_process *p)
{
    state *st = p->kept;
    if (st == NULL) return;
    loop_timer_stop(p->loop, &st->stats_timer);
    store *s = st->store;
    st->store = NULL; /* what runs from here on finds no store */
    if (s) store_close(s);
    deliver_all(st);
    p->kept = NULL;
    while (st->free_ops) {
        write_op *w = st->free_ops;
        st->free_ops = (write_op *)w->op.next;
        arena_free(&w->arena);
        free(w);
    }
    loop_fd_del(st->watch);
    if (st->wake_fd >= 0) close(st->wake_fd);
    seal_key_free(st->root);
    seal_key_free(st->root_new);
    pthread_mutex_destroy(&st->mutex);
    free(st);
}

seal_key *sv_derive_key(sv_process *p, const char *purpose)
{
    return p->kept && p->kept->root ? seal_key_derive(p->kept->root, purpose) : NULL;
}

pool *state_copier(sv_process *p, sv_error *err)
{
    state *st = p->kept;
    if (st->copier == NULL) st->copier = pool_new(p->loop, 1, 4, err);
    return st->copier;
}

bool *state_copying(sv_process *p)
{
    return &p->kept->copying;
}

/* ---- for actors ---- */

store *sv_store(sv_process *p)
{
    return p->kept ? p->kept->store : NULL;
}

static int no_store(const sv_process *p, sv_error *err)
{
    if (p->actor && p->actor->store) return sv_fail(err, SV_E_DRAINING, NULL, NULL);
    return sv_fail(err, SV_E_INTERNAL, NULL, "%s has no store.", p->name);
}

/* The call's error is the operation's, words and pause included. */
static int take_error(sv_call *c, const store_op *op)
{
    if (op->code && c->error.code == 0) c->error = op->error;
    if (op->code && c->error.code == 0) c->error.code = op->code;
    return op->code;
}

int store_read(sv_call *c, store_fn *fn, const void *in, void *out)
{
    uint64_t until_us = clock_us() + AWAY_MOST_US;
    if (c->deadline_us < until_us) until_us = c->deadline_us;
    for (;;) {
        store *s = sv_store(c->process);
        if (s == NULL) return no_store(c->process, &c->error);
        store_op op = {.fn = fn,
                       .in = in,
                       .out = out,
                       .arena = &c->arena,
                       .owner = c->method->name,
                       .deadline_us = c->deadline_us};
        int rc = store_view(s, &op);
        bool away = rc == SV_E_STORE_IO && op.error.retry_after_ms > 0;
        if (!away || fiber_current() == NULL || clock_us() >= until_us) return take_error(c, &op);
        if ((rc = sv_sleep(c, AWAY_STEP_MS))) return sv_fail(&c->error, rc, NULL, NULL);
    }
}

int store_write(sv_call *c, store_fn *fn, const void *in, void *out)
{
    sv_process *p = c->process;
    state *st = p->kept;
    if (sv_store(p) == NULL) return no_store(p, &c->error);
    if (c->cancelled)
        return sv_fail(&c->error, clock_us() >= c->deadline_us ? SV_E_DEADLINE : SV_E_CANCELLED,
                       NULL, NULL);
    write_op w = {.op = {.fn = fn,
                         .in = in,
                         .out = out,
                         .arena = &c->arena,
                         .owner = c->method->name,
                         .deadline_us = c->deadline_us},
                  .call = c,
                  .since_us = clock_us()};
    if (store_submit(st->store, &w.op)) return take_error(c, &w.op);
    st->begun++;
    while (!w.over)
        call_wait(c, &c->waiter);
    return take_error(c, &w.op);
}

static write_op *op_take(state *st)
{
    write_op *w = st->free_ops;
    if (w == NULL) {
        w = malloc(sizeof *w);
        if (w) arena_init(&w->arena, OP_ARENA);
        return w;
    }
    st->free_ops = (write_op *)w->op.next;
    st->n_free--;
    return w;
}

int sv_store_write(sv_process *p, const char *owner, store_fn *fn, const void *in, void *out,
                   void (*done)(void *arg, int code, const sv_error *err), void *arg)
{
    state *st = p->kept;
    if (sv_store(p) == NULL) return no_store(p, NULL);
    write_op *w = op_take(st);
    if (w == NULL) return SV_E_NO_MEMORY;
    w->op = (store_op){.fn = fn, .in = in, .out = out, .arena = &w->arena, .owner = owner};
    w->call = NULL;
    w->done = done;
    w->arg = arg;
    w->since_us = clock_us();
    w->over = false;
    int rc = store_submit(st->store, &w->op);
    if (rc) {
        op_release(st, w);
        return rc;
    }
    st->begun++;
    return 0;
}
