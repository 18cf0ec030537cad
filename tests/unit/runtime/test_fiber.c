/*  test_fiber.c - starting, nesting, thousands at once, the guard page, exceptions to the rules. */
#include "error.h"
#include "fiber.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct walker {
    fiber *self;
    int steps, at;
    bool ended;
    double sum;
} walker;

static void walk(void *arg)
{
    walker *w = arg;
    w->self = fiber_current();
    volatile double local = 0.5; /* lives on the fiber's stack across the switches */
    for (w->at = 0; w->at < w->steps; w->at++) {
        local = local + w->at;
        fiber_suspend();
        if (fiber_current() != w->self) abort();
    }
    w->sum = local;
    w->ended = true;
}

static void test_start_suspend_resume(void **state)
{
    (void)state;
    fiber_pool *p = fiber_pool_new(4, 4);
    assert_non_null(p);
    walker w = {.steps = 3};
    assert_null(fiber_current());
    assert_int_equal(fiber_start(p, walk, &w), 0);
    assert_null(fiber_current());
    assert_int_equal(fiber_pool_alive(p), 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(w.at, i);
        assert_false(w.ended);
        fiber_resume(w.self);
    }
    assert_true(w.ended);
    assert_true(w.sum > 3.4 && w.sum < 3.6);
    assert_int_equal(fiber_pool_alive(p), 0);
    fiber_pool_free(p);
    fiber_pool_free(NULL);
}

static void test_ends_at_once_and_stack_is_reused(void **state)
{
    (void)state;
    fiber_pool *p = fiber_pool_new(1, 1);
    assert_non_null(p);
    fiber *first = NULL;
    for (int i = 0; i < 1000; i++) {
        walker w = {0};
        assert_int_equal(fiber_start(p, walk, &w), 0);
        assert_true(w.ended);
        if (first == NULL) first = w.self;
        assert_ptr_equal(w.self, first);
    }
    fiber_pool_free(p);
}

static void test_maximum(void **state)
{
    (void)state;
    fiber_pool *p = fiber_pool_new(2, 0);
    assert_non_null(p);
    walker w[3] = {{.steps = 1}, {.steps = 1}, {.steps = 1}};
    assert_int_equal(fiber_start(p, walk, &w[0]), 0);
    assert_int_equal(fiber_start(p, walk, &w[1]), 0);
    assert_int_equal(fiber_start(p, walk, &w[2]), SV_E_OVERLOADED);
    assert_null(w[2].self);
    fiber_resume(w[0].self);
    assert_int_equal(fiber_start(p, walk, &w[2]), 0);
    fiber_resume(w[1].self);
    fiber_resume(w[2].self);
    assert_true(w[0].ended && w[1].ended && w[2].ended);
    fiber_pool_free(p);
}

static void test_no_memory(void **state)
{
    (void)state;
    struct rlimit old, none;
    fiber_pool *p = fiber_pool_new(2, 0);
    assert_non_null(p);
    assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
    none = old;
    none.rlim_cur = 1;
    walker w = {0};
    assert_int_equal(setrlimit(RLIMIT_AS, &none), 0);
    int rc = fiber_start(p, walk, &w);
    assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
    assert_int_equal(rc, SV_E_NO_MEMORY);
    assert_int_equal(fiber_pool_alive(p), 0);
    fiber_pool_free(p);
}

#if defined(__SANITIZE_THREAD__)
enum { MANY = 200 }; /* TSan keeps 1 MiB and more for each */
#else
enum { MANY = 10000 };
#endif

/* Every fiber keeps its own place and its own locals, whatever the order of resumption. */
static void test_ten_thousand(void **state)
{
    (void)state;
    fiber_pool *p = fiber_pool_new(MANY, 100);
    walker *w = calloc(MANY, sizeof *w);
    assert_non_null(p);
    assert_non_null(w);
    for (int i = 0; i < MANY; i++) {
        w[i].steps = 1 + i % 3;
        assert_int_equal(fiber_start(p, walk, &w[i]), 0);
    }
    assert_int_equal(fiber_pool_alive(p), MANY);
    for (int round = 0; round < 3; round++)
        for (int k = 0; k < MANY; k++) {
            int i = k * 7919 % MANY;
            if (!w[i].ended) fiber_resume(w[i].self);
        }
    for (int i = 0; i < MANY; i++) {
        assert_true(w[i].ended);
        double want = 0.5 + (double)((w[i].steps - 1) * w[i].steps) / 2;
        assert_true(w[i].sum > want - 0.1 && w[i].sum < want + 0.1);
    }
    assert_int_equal(fiber_pool_alive(p), 0);
    free(w);
    fiber_pool_free(p);
}

/* ---- nesting ---- */

typedef struct nest {
    fiber_pool *pool;
    fiber *inner, *outer;
    char trace[64];
} nest;

static void mark(nest *n, char c)
{
    size_t at = strlen(n->trace);
    if (at + 1 < sizeof n->trace) n->trace[at] = c;
}

static void inner(void *arg)
{
    nest *n = arg;
    n->inner = fiber_current();
    mark(n, 'i');
    fiber_suspend();
    mark(n, 'j');
    fiber_suspend();
    mark(n, 'k');
}

static void outer(void *arg)
{
    nest *n = arg;
    n->outer = fiber_current();
    mark(n, 'a');
    if (fiber_start(n->pool, inner, n)) abort();
    mark(n, 'b');
    if (fiber_current() != n->outer) abort();
    fiber_resume(n->inner); /* control comes back to this fiber and not to the loop */
    mark(n, 'c');
    fiber_suspend();
    mark(n, 'd');
}

static void test_nested(void **state)
{
    (void)state;
    nest n = {.pool = fiber_pool_new(8, 8)};
    assert_non_null(n.pool);
    assert_int_equal(fiber_start(n.pool, outer, &n), 0);
    mark(&n, '|');
    fiber_resume(n.outer);
    mark(&n, '|');
    fiber_resume(n.inner); /* now from the loop: control comes back here */
    assert_string_equal(n.trace, "aibjc|d|k");
    assert_int_equal(fiber_pool_alive(n.pool), 0);
    fiber_pool_free(n.pool);
}

typedef struct chain {
    fiber_pool *pool;
    int depth, reached;
} chain;

static void deeper(void *arg)
{
    chain *c = arg;
    c->reached++;
    if (--c->depth > 0 && fiber_start(c->pool, deeper, c)) abort();
}

static void test_a_chain_of_starts(void **state)
{
    (void)state;
    chain c = {.pool = fiber_pool_new(200, 10), .depth = 200};
    assert_non_null(c.pool);
    assert_int_equal(fiber_start(c.pool, deeper, &c), 0);
    assert_int_equal(c.reached, 200);
    assert_int_equal(fiber_pool_alive(c.pool), 0);
    fiber_pool_free(c.pool);
}

/* ---- stacks ---- */

static int use_stack(int depth)
{
    volatile char frame[512];
    frame[0] = (char)depth;
    frame[511] = 1;
    int below = depth > 0 ? use_stack(depth - 1) : 0;
    return below + frame[511];
}

typedef struct deep {
    fiber *self;
    int first, second;
} deep;

static void use_much(void *arg)
{
    deep *d = arg;
    d->self = fiber_current();
    d->first = use_stack(60); /* some 35 KiB, more with the sanitizers */
    fiber_suspend();
    d->second = use_stack(60);
}

/* Half of the stack is there, before and after a switch, on fresh stacks and used ones. */
static void test_deep_stack(void **state)
{
    (void)state;
    fiber_pool *p = fiber_pool_new(2, 1);
    assert_non_null(p);
    for (int i = 0; i < 3; i++) {
        deep a = {0}, b = {0};
        assert_int_equal(fiber_start(p, use_much, &a), 0);
        assert_int_equal(fiber_start(p, use_much, &b), 0);
        fiber_resume(a.self);
        fiber_resume(b.self);
        assert_int_equal(a.first + a.second + b.first + b.second, 4 * 61);
    }
    fiber_pool_free(p);
}

/* Recurses until its frame lies `below` that address. */
static int sink_to(uintptr_t below)
{
    volatile char frame[256];
    frame[0] = 1;
    if ((uintptr_t)__builtin_frame_address(0) < below) return frame[0];
    frame[255] = (char)sink_to(below); /* after the call: the frame has to stay */
    return frame[0];
}

typedef struct sinker {
    fiber *self;
    uintptr_t at;
    int depth;
} sinker;

static void sink(void *arg)
{
    sinker *s = arg;
    s->self = fiber_current();
    s->at = (uintptr_t)__builtin_frame_address(0);
    fiber_suspend();
    s->depth = sink_to(s->at - FIBER_STACK - 16384);
}

/* In a child: a runaway recursion hits the guard page and not the stack that lies below. */
static void test_guard_page(void **state)
{
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGSEGV, SIG_DFL);
        signal(SIGBUS, SIG_DFL);
        fiber_pool *p = fiber_pool_new(8, 8);
        sinker s[8] = {0}, *above = &s[0]; /* if no two stacks lie side by side, any */
        for (int i = 0; i < 8; i++)
            if (p == NULL || fiber_start(p, sink, &s[i])) _exit(1);
        for (int i = 0; i < 8; i++)
            for (int k = 0; k < 8; k++)
                if (s[i].at > s[k].at && s[i].at - s[k].at < FIBER_STACK + 16384) above = &s[i];
        fiber_resume(above->self);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSEGV);
}

/* ---- threads ---- */

static void *own_fibers(void *arg)
{
    (void)arg;
    fiber_pool *p = fiber_pool_new(10, 10);
    walker w[10] = {0};
    for (int i = 0; i < 10; i++) {
        w[i].steps = 100;
        if (p == NULL || fiber_start(p, walk, &w[i])) return NULL;
    }
    for (int k = 0; k < 100; k++)
        for (int i = 0; i < 10; i++)
            fiber_resume(w[i].self);
    bool all = true;
    for (int i = 0; i < 10; i++)
        all &= w[i].ended;
    fiber_pool_free(p);
    return all ? p : NULL;
}

/* A pool belongs to a thread; two threads with a pool each do not disturb one another. */
static void test_two_threads(void **state)
{
    (void)state;
    pthread_t t[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&t[i], NULL, own_fibers, NULL), 0);
    for (int i = 0; i < 2; i++) {
        void *ok = NULL;
        pthread_join(t[i], &ok);
        assert_non_null(ok);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start_suspend_resume),
        cmocka_unit_test(test_ends_at_once_and_stack_is_reused),
        cmocka_unit_test(test_maximum),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_ten_thousand),
        cmocka_unit_test(test_nested),
        cmocka_unit_test(test_a_chain_of_starts),
        cmocka_unit_test(test_deep_stack),
        cmocka_unit_test(test_guard_page),
        cmocka_unit_test(test_two_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
