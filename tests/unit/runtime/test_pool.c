/*  test_pool.c - every job is done exactly once, on the loop's thread; limits; the end. */
#include "error.h"
#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct task {
    pthread_t loop_thread, worked_on;
    _Atomic int worked;
    int done, code, nice;
    int *all_done;
    pool *again; /* submits itself once more to it */
    struct gate *gate;
} task;

/* Holds workers until it is opened. */
typedef struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int arrived;
    bool open;
} gate;

static loop *l;

static int setup(void **state)
{
    (void)state;
    l = loop_new(NULL);
    return l ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    loop_free(l);
    return 0;
}

static int work(void *arg)
{
    task *t = arg;
    t->worked_on = pthread_self();
    t->nice = getpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid));
    t->worked++;
    if (t->gate) {
        pthread_mutex_lock(&t->gate->mutex);
        t->gate->arrived++;
        pthread_cond_broadcast(&t->gate->changed);
        while (!t->gate->open)
            pthread_cond_wait(&t->gate->changed, &t->gate->mutex);
        pthread_mutex_unlock(&t->gate->mutex);
    }
    return SV_E_CONFLICT;
}

static void done(void *arg, int code)
{
    task *t = arg;
    assert_true(pthread_equal(pthread_self(), t->loop_thread));
    t->done++;
    t->code = code;
    if (t->all_done) ++*t->all_done;
    if (t->again) {
        pool *p = t->again;
        t->again = NULL;
        assert_int_equal(pool_submit(p, work, done, t), 0);
    }
}

static void test_results(void **state)
{
    (void)state;
    enum { N = 200 };
    sv_error err = {0};
    pool *p = pool_new(l, 3, N, &err);
    assert_non_null(p);
    task *t = calloc(N, sizeof *t);
    assert_non_null(t);
    int all = 0;
    for (int i = 0; i < N; i++) {
        t[i].loop_thread = pthread_self();
        t[i].all_done = &all;
        assert_int_equal(pool_submit(p, work, done, &t[i]), 0);
    }
    while (all < N)
        loop_turn(l, -1);
    for (int i = 0; i < N; i++) {
        assert_int_equal(t[i].done, 1);
        assert_int_equal(t[i].worked, 1);
        assert_int_equal(t[i].code, SV_E_CONFLICT);
        assert_false(pthread_equal(t[i].worked_on, pthread_self()));
        assert_int_equal(t[i].nice, 10);
    }
    assert_int_equal(pool_waiting(p), 0);
    pool_free(p);
    free(t);
}

static void test_submit_from_done(void **state)
{
    (void)state;
    pool *p = pool_new(l, 1, 1, NULL);
    assert_non_null(p);
    int all = 0;
    task t = {.loop_thread = pthread_self(), .all_done = &all, .again = p};
    assert_int_equal(pool_submit(p, work, done, &t), 0);
    while (all < 2)
        loop_turn(l, -1);
    assert_int_equal(t.worked, 2);
    pool_free(p);
}

static gate *gate_init(gate *g)
{
    *g = (gate){.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    return g;
}

static void gate_await(gate *g, int arrived)
{
    pthread_mutex_lock(&g->mutex);
    while (g->arrived < arrived)
        pthread_cond_wait(&g->changed, &g->mutex);
    pthread_mutex_unlock(&g->mutex);
}

static void *gate_open(void *arg)
{
    gate *g = arg;
    pthread_mutex_lock(&g->mutex);
    g->open = true;
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->mutex);
    return NULL;
}

static void test_full_queue(void **state)
{
    (void)state;
    gate g;
    gate_init(&g);
    pool *p = pool_new(l, 2, 3, NULL);
    assert_non_null(p);
    int all = 0;
    task t[6] = {0};
    for (int i = 0; i < 6; i++)
        t[i] = (task){.loop_thread = pthread_self(), .all_done = &all, .gate = &g};
    for (int i = 0; i < 2; i++)
        assert_int_equal(pool_submit(p, work, done, &t[i]), 0);
    gate_await(&g, 2);
    for (int i = 2; i < 5; i++)
        assert_int_equal(pool_submit(p, work, done, &t[i]), 0);
    assert_int_equal(pool_waiting(p), 3);
    assert_int_equal(pool_submit(p, work, done, &t[5]), SV_E_OVERLOADED);
    gate_open(&g);
    while (all < 5)
        loop_turn(l, -1);
    assert_int_equal(t[5].worked + t[5].done, 0);
    pool_free(p);
}

static int no_work(void *arg)
{
    (void)arg;
    return 0;
}

static void no_done(void *arg, int code)
{
    (void)arg;
    (void)code;
}

typedef struct ending {
    pool *p;
    gate *g;
} ending;

/* Opens the gate once the pool is being freed. (Asking from this thread is for this test only.) */
static void *open_at_the_end(void *arg)
{
    ending *e = arg;
    while (pool_submit(e->p, no_work, no_done, NULL) != SV_E_CANCELLED)
        sched_yield();
    return gate_open(e->g);
}

static void submit_when_freed(void *arg, int code)
{
    pool **p = arg;
    assert_int_equal(code, SV_E_CANCELLED);
    assert_int_equal(pool_submit(*p, no_work, no_done, NULL), SV_E_CANCELLED);
}

/* The running job ends with its own result, waiting ones are cancelled, nothing stays in the loop.
 */
static void test_free_with_jobs(void **state)
{
    (void)state;
    gate g;
    gate_init(&g);
    pool *p = pool_new(l, 1, 8, NULL);
    assert_non_null(p);
    task t[4];
    for (int i = 0; i < 4; i++) {
        t[i] = (task){.loop_thread = pthread_self(), .gate = &g};
        assert_int_equal(pool_submit(p, work, done, &t[i]), 0);
    }
    assert_int_equal(pool_submit(p, no_work, submit_when_freed, &p), 0);
    gate_await(&g, 1);
    ending e = {p, &g};
    pthread_t opener;
    assert_int_equal(pthread_create(&opener, NULL, open_at_the_end, &e), 0);
    pool_free(p);
    pthread_join(opener, NULL);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(t[i].done, 1);
        assert_int_equal(t[i].worked, i == 0);
        assert_int_equal(t[i].code, i == 0 ? SV_E_CONFLICT : SV_E_CANCELLED);
    }
    loop_turn(l, 0);
    pool_free(NULL);
}

static void test_cannot_start(void **state)
{
    (void)state;
    struct rlimit old, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = old;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    sv_error err = {0};
    pool *p = pool_new(l, 1, 1, &err);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_null(p);
    assert_int_equal(err.code, SV_E_NO_MEMORY);
    assert_true(err.detail[0] != 0);
}

int main(void)
{
#define POOL_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        POOL_TEST(test_results),      POOL_TEST(test_submit_from_done),
        POOL_TEST(test_full_queue),   POOL_TEST(test_free_with_jobs),
        POOL_TEST(test_cannot_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
