/*  model.c - the store against a plain map, with kill -9 in between.
 *
 *  usage: fault_model [--seed N] [--operations N] [--no-kills] [--trace]
 *
 *  A child does the rounds: it submits a round's writes without waiting, so that they share
 *  commits, does its reads, compares every answer with the map, and tells the parent that the round
 *  is done. The parent kills it at random moments, also while it opens, and starts the next child
 *  with the number of rounds it was told of. That child finds out how many functions of the round
 *  after those are there (each notes its number in its own transaction): any number is right, for
 *  they were acknowledged to nobody, but in their order and nothing of the others. Then everything
 *  is compared: rows, blobs, and store_check. An operation is one step. */
#include "model.h"
#include "client.h"
#include "error.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAP_BYTES = 256 << 20, REOPEN = 700, LOOK = 250, HANG_MS = 60000 };

typedef struct pending {
    store_op op;
    arena arena;
    work work;
    work_result got;
    bool done;
} pending;

static uint64_t seed, operations;
static bool trace;
static _Atomic uint64_t *clock_ms; /* the store's time */
static pending calls[MODEL_ROUND];
static store *db;
static seal_key *root;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static uint64_t now(void)
{
    return atomic_load(clock_ms);
}

static void finished(void *arg, store_op *list)
{
    (void)arg;
    pthread_mutex_lock(&mutex);
    while (list) {
        store_op *next = list->next;
        ((pending *)list)->done = true;
        list = next;
    }
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&mutex);
}

static void event(void *arg, store_level level, const char *what, const char *detail)
{
    (void)arg;
    if (level == STORE_ALARM)
        die("model: seed %llu: alarm: %s %s", (unsigned long long)seed, what, detail);
}

static void wrong(uint64_t number, const char *what) __attribute__((noreturn));
static void wrong(uint64_t number, const char *what)
{
    die("model: seed %llu: function %llu: %s", (unsigned long long)seed, (unsigned long long)number,
        what);
}

static void open_store(const char *folder)
{
    sv_error err = {0};
    root = plan_root_key();
    store_spec spec = {.schema = &model_schema,
                       .folder = folder,
                       .map_bytes = MAP_BYTES,
                       .root = root,
                       .finished = finished,
                       .event = event,
                       .unix_ms = now};
    if (!root || store_open(&spec, &db, &err)) wrong(0, err.message);
}

static void close_store(void)
{
    store_close(db);
    seal_key_free(root);
}

static int view(store_fn *fn, const void *in, void *out, sv_error *err)
{
    arena a;
    store_op op = {.fn = fn, .in = in, .out = out, .arena = &a, .owner = "model"};
    arena_init(&a, 64 << 20);
    int rc = store_view(db, &op);
    *err = op.error;
    arena_free(&a);
    return rc;
}

/* ---- comparing ---- */

static void compare_all(model *m, uint64_t number)
{
    sv_error err;
    buf words;
    store_check c = {.done = false};
    buf_init(&words, 300);
    buf_init(&c.position, 4096);
    model_at(m, now());
    int rc = view(model_compare, m, &words, &err);
    buf_putc(&words, 0);
    if (rc) wrong(number, words.n > 1 ? words.p : err.message);
    buf_free(&words);
    while (!c.done) {
        if (view(store_check_some, &c, &c, &err)) wrong(number, err.message);
        if (c.problems) wrong(number, c.first_problem);
    }
    buf_free(&c.position);
}

static void tell_step(const step *s, const step_result *r)
{
    fprintf(stderr, "  kind %d, row (%u, %u), stamp %llu", (int)s->kind, s->org, s->id,
            (unsigned long long)s->stamp);
    if (s->low_n || s->high_n || s->limit || s->index)
        fprintf(stderr, ", index %u, low %u of %llu (%u, %u), high %u of %llu (%u, %u), limit %u%s",
                s->index, s->low_n, (unsigned long long)s->low_stamp, s->low_org, s->low_id,
                s->high_n, (unsigned long long)s->high_stamp, s->high_org, s->high_id, s->limit,
                s->reverse ? ", backwards" : "");
    if (s->kind == STEP_BLOB_READ || s->kind == STEP_BLOB_APPEND)
        fprintf(stderr, ", %u bytes at %llu", s->bytes, (unsigned long long)s->offset);
    fprintf(stderr, ": %d\n", r->code);
}

static void compare_result(const work *w, int code, int want_code, const work_result *got,
                           const work_result *want)
{
    char words[200];
    for (uint32_t i = 0; trace && i < want->n; i++) {
        if (i == 0)
            fprintf(stderr, "function %llu: %d\n", (unsigned long long)w->number, want_code);
        tell_step(&w->steps[i], &want->steps[i]);
    }
    if (code != want_code) {
        snprintf(words, sizeof words, "answers %d, not %d", code, want_code);
        wrong(w->number, words);
    }
    for (uint32_t i = 0; i < want->n; i++) {
        const step_result *a = &got->steps[i], *b = &want->steps[i];
        if (a->code == b->code && a->hash == b->hash) continue;
        for (uint32_t k = 0; k <= i; k++)
            tell_step(&w->steps[k], &want->steps[k]);
        snprintf(words, sizeof words, "step %u answers %d and %llx, not %d and %llx", i, a->code,
                 (unsigned long long)a->hash, b->code, (unsigned long long)b->hash);
        wrong(w->number, words);
    }
    if (got->n != want->n) wrong(w->number, "has another number of steps");
}

/* ---- the child ---- */

/* Functions of a round from `first` on; those before are there already. Returns the steps done. */
static uint64_t do_round(model *m, uint64_t round, uint32_t first)
{
    uint32_t n = model_round(seed, round);
    uint64_t steps = 0;
    atomic_store(clock_ms, model_clock_ms(round));
    for (uint32_t i = first; i < n; i++) {
        pending *p = &calls[i];
        model_work(seed, round * MODEL_ROUND + i, &p->work);
        p->done = false;
        p->op = (store_op){
            .fn = model_fn, .in = &p->work, .out = &p->got, .arena = &p->arena, .owner = "model"};
        arena_init(&p->arena, 64 << 20);
        if (!p->work.read_only && store_submit(db, &p->op))
            wrong(p->work.number, p->op.error.message);
    }
    for (uint32_t i = first; i < n; i++) {
        pending *p = &calls[i];
        work_result want;
        if (p->work.read_only) {
            /* What it sees of the others is not known; it has its turn behind them. */
            continue;
        }
        pthread_mutex_lock(&mutex);
        while (!p->done)
            pthread_cond_wait(&changed, &mutex);
        pthread_mutex_unlock(&mutex);
        int want_code = model_do(m, &p->work, &want);
        compare_result(&p->work, p->op.code, want_code, &p->got, &want);
        steps += p->work.n;
    }
    for (uint32_t i = first; i < n; i++) {
        pending *p = &calls[i];
        work_result want;
        if (p->work.read_only) {
            int want_code = model_do(m, &p->work, &want);
            store_view(db, &p->op);
            compare_result(&p->work, p->op.code, want_code, &p->got, &want);
            steps += p->work.n;
        }
        arena_free(&p->arena);
    }
    return steps;
}

/* Brings the map to where the store is; returns the round to go on with and where in it. */
static uint64_t catch_up(model *m, uint64_t rounds, uint32_t *ret_first, uint64_t *steps)
{
    uint64_t noted = 0, last_good = 0, round = 0;
    sv_error err;
    work w;
    work_result r;
    if (view(model_noted, NULL, &noted, &err)) wrong(0, err.message);
    *ret_first = 0;
    for (;; round++) {
        uint32_t n = model_round(seed, round);
        for (uint32_t i = 0; i < n; i++) {
            uint64_t number = round * MODEL_ROUND + i;
            if (round >= rounds && number >= noted) {
                if (noted > last_good && noted) wrong(noted - 1, "is there and must have failed");
                if (noted < last_good) wrong(last_good - 1, "was acknowledged and is not there");
                atomic_store(clock_ms, model_clock_ms(round));
                *ret_first = i;
                return round;
            }
            model_work(seed, number, &w);
            *steps += w.n;
            if (!w.read_only && model_do(m, &w, &r) == 0) last_good = number + 1;
        }
        if (round >= rounds && noted > (round + 1) * MODEL_ROUND)
            wrong(noted - 1, "is there and was never asked for");
    }
}

static void child(const char *folder, uint64_t rounds, int to)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    model *m = model_new(seed);
    uint64_t steps = 0;
    uint32_t first;
    atomic_store(clock_ms, model_clock_ms(rounds));
    open_store(folder);
    uint64_t round = catch_up(m, rounds, &first, &steps);
    compare_all(m, round * MODEL_ROUND);
    for (; steps < operations; round++) {
        steps += do_round(m, round, first);
        first = 0;
        if (write(to, &round, sizeof round) != sizeof round) die("model: the parent is gone");
        if (round % REOPEN == REOPEN - 1) {
            close_store();
            open_store(folder);
        }
        if (round % LOOK == 0) compare_all(m, round * MODEL_ROUND);
    }
    compare_all(m, round * MODEL_ROUND);
    close_store();
    model_free(m);
    printf("model: %llu operations in %llu rounds", (unsigned long long)steps,
           (unsigned long long)round);
    exit(0);
}

/* ---- the parent ---- */

static pid_t start_child(const char *folder, uint64_t rounds, int *ret_from)
{
    int ends[2];
    if (pipe(ends)) die("pipe: %s", strerror(errno));
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) die("fork: %s", strerror(errno));
    if (pid == 0) {
        close(ends[0]);
        child(folder, rounds, ends[1]);
    }
    close(ends[1]);
    *ret_from = ends[0];
    return pid;
}

/* Reads what is acknowledged until the child ends or its time has come. */
static void listen_to(pid_t pid, int from, uint64_t *rounds, uint64_t live_rounds, uint64_t live_us)
{
    struct pollfd p = {.fd = from, .events = POLLIN};
    uint64_t done;
    for (uint64_t n = 0; n < live_rounds; n++) {
        if (poll(&p, 1, HANG_MS) == 0) {
            kill(pid, SIGKILL);
            die("model: seed %llu: the child hangs after round %llu", (unsigned long long)seed,
                (unsigned long long)*rounds);
        }
        if (read(from, &done, sizeof done) != sizeof done) return;
        *rounds = done + 1;
    }
    usleep((useconds_t)live_us);
    kill(pid, SIGKILL);
    while (read(from, &done, sizeof done) == sizeof done)
        *rounds = done + 1;
}

int main(int argc, char **argv)
{
    char work_at[256], folder[300];
    uint64_t rounds = 0, kills = 0;
    seed = option(argc, argv, "--seed", fresh_seed());
    operations = option(argc, argv, "--operations", 100000);
    trace = flag(argc, argv, "--trace");
    bool peaceful = flag(argc, argv, "--no-kills");
    printf("model: seed %llu\n", (unsigned long long)seed);
    clock_ms = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (clock_ms == MAP_FAILED) die("no memory");
    work_begin(work_at, sizeof work_at, "model");
    snprintf(folder, sizeof folder, "%s/env", work_at);
    rng r = rng_of(seed, 5);
    for (;;) {
        int from;
        pid_t pid = start_child(folder, rounds, &from);
        bool early = rng_below(&r, 4) == 0; /* while it opens */
        uint64_t live = peaceful ? UINT64_MAX : early ? 0 : 1 + rng_below(&r, 400);
        listen_to(pid, from, &rounds, live, rng_below(&r, early ? 60000 : 4000));
        close(from);
        int rc = finish(pid);
        if (rc == 256 + SIGKILL) {
            kills++;
            continue;
        }
        if (rc == 0) break;
        printf("model: the child ended with %d; its folder is %s\n", rc, folder);
        return 1;
    }
    printf(", %llu kills; seed %llu\n", (unsigned long long)kills, (unsigned long long)seed);
    work_end(work_at);
    return 0;
}
