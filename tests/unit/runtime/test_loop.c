/*  test_loop.c - order, deletion inside callbacks, timers, posts from threads, signals, hooks. */
#include "error.h"
#include "loop.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

static int setup(void **state)
{
    sv_error err = {0};
    *state = loop_new(&err);
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    loop_free(*state);
    return 0;
}

static int ready_fd(void)
{
    int fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

/* ---- descriptors ---- */

static void count_fd(void *arg, int fd, uint32_t events)
{
    (void)fd;
    assert_true(events & EPOLLIN);
    ++*(int *)arg;
}

static void test_fd_add_mod_del(void **state)
{
    loop *l = *state;
    int fd = ready_fd(), n = 0;
    loop_fd *w = NULL;
    assert_int_equal(loop_fd_add(l, fd, EPOLLIN, count_fd, &n, &w), 0);
    assert_int_equal(loop_turn(l, 0), 0);
    assert_int_equal(n, 1);
    assert_int_equal(loop_fd_mod(w, 0), 0);
    loop_turn(l, 0);
    assert_int_equal(n, 1);
    assert_int_equal(loop_fd_mod(w, EPOLLIN), 0);
    loop_turn(l, 0);
    assert_int_equal(n, 2);
    loop_fd_del(w);
    loop_turn(l, 0);
    assert_int_equal(n, 2);
    loop_fd_del(NULL);
    close(fd);
}

static void test_fd_refusals(void **state)
{
    loop *l = *state;
    loop_fd *w = NULL;
    int n = 0, fd = ready_fd();
    assert_int_equal(loop_fd_add(l, 9999, EPOLLIN, count_fd, &n, &w), SV_E_IO);
    assert_null(w);
    assert_int_equal(loop_fd_add(l, fd, EPOLLIN, count_fd, &n, &w), 0);
    loop_fd *second = NULL;
    assert_int_equal(loop_fd_add(l, fd, EPOLLIN, count_fd, &n, &second), SV_E_IO);
    assert_null(second);
    loop_fd_del(w);
    close(fd);
}

typedef struct group {
    loop_fd *w[8];
    int fd[8];
    int calls, first[8];
    int order_n;
    bool delete_all;
} group;

typedef struct member {
    group *g;
    int i;
} member;

static void on_member(void *arg, int fd, uint32_t events)
{
    (void)events;
    member *m = arg;
    assert_int_equal(fd, m->g->fd[m->i]);
    m->g->calls++;
    if (m->g->order_n++ == 0) m->g->first[m->i]++;
    if (!m->g->delete_all) return;
    for (int i = 0; i < 8; i++) {
        loop_fd_del(m->g->w[i]);
        m->g->w[i] = NULL;
        close(m->g->fd[i]);
    }
}

/* The first callback of a batch deletes every watcher, itself included: none of the others runs. */
static void test_delete_inside_callback(void **state)
{
    loop *l = *state;
    group g = {.delete_all = true};
    member m[8];
    for (int i = 0; i < 8; i++) {
        m[i] = (member){&g, i};
        g.fd[i] = ready_fd();
        assert_int_equal(loop_fd_add(l, g.fd[i], EPOLLIN, on_member, &m[i], &g.w[i]), 0);
    }
    loop_turn(l, 0);
    assert_int_equal(g.calls, 1);
    loop_turn(l, 0);
    assert_int_equal(g.calls, 1);
}

/* With every source ready all the time, each gets to be first. */
static void test_start_rotates(void **state)
{
    loop *l = *state;
    group g = {0};
    member m[8];
    for (int i = 0; i < 8; i++) {
        m[i] = (member){&g, i};
        g.fd[i] = ready_fd();
        assert_int_equal(loop_fd_add(l, g.fd[i], EPOLLIN, on_member, &m[i], &g.w[i]), 0);
    }
    for (int turn = 0; turn < 64; turn++) {
        g.order_n = 0;
        loop_turn(l, 0);
        assert_int_equal(g.order_n, 8);
    }
    for (int i = 0; i < 8; i++) {
        assert_true(g.first[i] >= 4);
        loop_fd_del(g.w[i]);
        close(g.fd[i]);
    }
}

typedef struct narrow {
    loop_fd *other[2];
    int calls;
} narrow;

static void on_narrow(void *arg, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    narrow *n = arg;
    n->calls++;
    assert_int_equal(loop_fd_mod(n->other[0], 0), 0);
    assert_int_equal(loop_fd_mod(n->other[1], 0), 0);
}

/* Events that nobody waits for any more are not delivered from the same batch. */
static void test_mod_holds_in_the_same_turn(void **state)
{
    loop *l = *state;
    narrow n = {0};
    int a = ready_fd(), b = ready_fd();
    assert_int_equal(loop_fd_add(l, a, EPOLLIN, on_narrow, &n, &n.other[0]), 0);
    assert_int_equal(loop_fd_add(l, b, EPOLLIN, on_narrow, &n, &n.other[1]), 0);
    loop_turn(l, 0);
    assert_int_equal(n.calls, 1);
    loop_fd_del(n.other[0]);
    loop_fd_del(n.other[1]);
    close(a);
    close(b);
}

/* ---- timers ---- */

typedef struct shot {
    loop *l;
    loop_timer t;
    uint64_t due_us, fired_us;
    int count;
} shot;

static uint64_t last_due_us;

static void on_shot(void *arg)
{
    shot *s = arg;
    s->count++;
    s->fired_us = loop_now_us(s->l);
    assert_int_equal(s->t.slot, 0);
    assert_true(s->fired_us >= s->due_us);
    assert_true(s->due_us >= last_due_us);
    last_due_us = s->due_us;
}

enum { SHOTS = 500 };

static void test_timers_in_order_and_never_early(void **state)
{
    loop *l = *state;
    shot *s = calloc(SHOTS, sizeof *s);
    assert_non_null(s);
    last_due_us = 0;
    unsigned seed = 7;
    for (int i = 0; i < SHOTS; i++) {
        s[i].l = l;
        uint64_t delay_us = (uint64_t)rand_r(&seed) % 5000;
        assert_int_equal(loop_timer_set(l, &s[i].t, delay_us, on_shot, &s[i]), 0);
        s[i].due_us = s[i].t.at_us;
    }
    int stopped = 0;
    for (int i = 0; i < SHOTS; i += 7, stopped++)
        loop_timer_stop(l, &s[i].t);
    for (int i = 3; i < SHOTS; i += 7) { /* moved, some earlier, some later */
        assert_int_equal(loop_timer_set(l, &s[i].t, (uint64_t)rand_r(&seed) % 5000, on_shot, &s[i]),
                         0);
        s[i].due_us = s[i].t.at_us;
    }
    int fired = 0;
    while (fired < SHOTS - stopped) {
        loop_turn(l, -1);
        fired = 0;
        for (int i = 0; i < SHOTS; i++)
            fired += s[i].count;
    }
    for (int i = 0; i < SHOTS; i++)
        assert_int_equal(s[i].count, i % 7 == 0 ? 0 : 1);
    free(s);
}

static void on_again(void *arg)
{
    shot *s = arg;
    s->count++;
    loop_timer_set(s->l, &s->t, 0, on_again, s);
}

/* A timer that rearms itself without delay fires once a turn. */
static void test_zero_delay_is_next_turn(void **state)
{
    shot s = {.l = *state};
    assert_int_equal(loop_timer_set(s.l, &s.t, 0, on_again, &s), 0);
    for (int i = 1; i <= 5; i++) {
        loop_turn(s.l, -1);
        assert_int_equal(s.count, i);
    }
    loop_timer_stop(s.l, &s.t);
    loop_timer_stop(s.l, &s.t);
    loop_turn(s.l, 0);
    assert_int_equal(s.count, 5);
}

typedef struct pair {
    loop *l;
    loop_timer a, b;
    int calls;
} pair;

static void on_pair(void *arg)
{
    pair *p = arg;
    p->calls++;
    loop_timer_stop(p->l, &p->a);
    loop_timer_stop(p->l, &p->b);
}

static void test_timer_stops_another_due_one(void **state)
{
    pair p = {.l = *state};
    assert_int_equal(loop_timer_set(p.l, &p.a, 0, on_pair, &p), 0);
    assert_int_equal(loop_timer_set(p.l, &p.b, 0, on_pair, &p), 0);
    loop_turn(p.l, 10);
    loop_turn(p.l, 0);
    assert_int_equal(p.calls, 1);
}

static void test_lag(void **state)
{
    loop *l = *state;
    shot s = {.l = l};
    assert_int_equal(loop_timer_set(l, &s.t, 0, on_shot, &s), 0);
    uint64_t from_us = clock_us();
    while (clock_us() - from_us < 3000)
        ;
    last_due_us = 0;
    loop_turn(l, -1);
    assert_int_equal(s.count, 1);
    assert_true(loop_lag_us(l) >= 3000);
    assert_true(loop_lag_take(l) >= 3000);
    assert_int_equal(loop_lag_take(l), 0);
}

static void test_far_timer_does_not_overflow(void **state)
{
    loop *l = *state;
    shot s = {.l = l};
    assert_int_equal(loop_timer_set(l, &s.t, UINT64_MAX, on_shot, &s), 0);
    assert_int_equal(s.t.at_us, UINT64_MAX);
    loop_turn(l, 1);
    assert_int_equal(s.count, 0);
    loop_timer_stop(l, &s.t);
}

static void test_clocks(void **state)
{
    loop *l = *state;
    loop_turn(l, 0);
    uint64_t now_us = loop_now_us(l);
    assert_true(now_us <= clock_us());
    time_t now_s = time(NULL);
    uint64_t unix_s = loop_unix_us(l) / 1000000;
    assert_true(unix_s + 2 >= (uint64_t)now_s && unix_s <= (uint64_t)now_s + 2);
    loop_turn(l, 0);
    assert_true(loop_now_us(l) >= now_us);
}

/* ---- hooks ---- */

typedef struct hooked {
    loop *l;
    int calls, again;
    bool delete_self;
} hooked;

static bool on_hook(void *arg)
{
    hooked *h = arg;
    h->calls++;
    if (h->delete_self) loop_hook_del(h->l, on_hook, h);
    return h->again-- > 0;
}

static void test_hooks(void **state)
{
    loop *l = *state;
    hooked a = {.l = l, .again = 1}, b = {.l = l, .delete_self = true};
    assert_int_equal(loop_hook_add(l, on_hook, &b), 0);
    assert_int_equal(loop_hook_add(l, on_hook, &a), 0);
    loop_turn(l, 0);
    assert_int_equal(a.calls, 1);
    assert_int_equal(b.calls, 1);
    loop_turn(l, -1); /* would hang unless the hook's true made this turn one without a wait */
    assert_int_equal(a.calls, 2);
    assert_int_equal(b.calls, 1);
    loop_hook_del(l, on_hook, &a);
    loop_turn(l, 0);
    assert_int_equal(a.calls, 2);
}

/* ---- posts ---- */

enum { THREADS = 4, POSTS = 5000 };

typedef struct poster {
    loop *l;
    int id;
    int next; /* order is kept per thread */
} poster;

static struct {
    loop *l;
    int total;
} seen;

typedef struct parcel {
    poster *from;
    int number;
} parcel;

static void on_parcel(void *arg)
{
    parcel *p = arg;
    assert_int_equal(p->from->next, p->number);
    p->from->next++;
    if (++seen.total == THREADS * POSTS) loop_stop(seen.l);
    free(p);
}

static void *post_many(void *arg)
{
    poster *me = arg;
    for (int i = 0; i < POSTS; i++) {
        parcel *p = malloc(sizeof *p);
        *p = (parcel){me, i};
        if (loop_post(me->l, on_parcel, p)) abort();
    }
    return NULL;
}

static void test_posts_from_threads(void **state)
{
    loop *l = *state;
    seen.l = l;
    seen.total = 0;
    poster posters[THREADS];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        posters[i] = (poster){.l = l, .id = i};
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, &posters[i]), 0);
    }
    sv_error err = {0};
    assert_int_equal(loop_run(l, &err), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(seen.total, THREADS * POSTS);
}

typedef struct chain {
    loop *l;
    int left, turns_seen;
} chain;

static void on_chain(void *arg)
{
    chain *c = arg;
    c->turns_seen++;
    if (--c->left > 0) assert_int_equal(loop_post(c->l, on_chain, c), 0);
}

/* Work posted by posted work runs in the next turn, and that turn does not wait. */
static void test_post_from_the_loop(void **state)
{
    chain c = {.l = *state, .left = 3};
    assert_int_equal(loop_post(c.l, on_chain, &c), 0);
    for (int i = 1; i <= 3; i++) {
        loop_turn(c.l, -1);
        assert_int_equal(c.turns_seen, i);
    }
    loop_turn(c.l, 0);
    assert_int_equal(c.turns_seen, 3);
}

static void test_free_with_everything_pending(void **state)
{
    (void)state;
    sv_error err = {0};
    loop *l = loop_new(&err);
    assert_non_null(l);
    chain c = {.l = l, .left = 1};
    shot s = {.l = l};
    hooked h = {.l = l};
    loop_fd *w = NULL;
    int n = 0, fd = ready_fd();
    assert_int_equal(loop_post(l, on_chain, &c), 0);
    assert_int_equal(loop_timer_set(l, &s.t, 1000, on_shot, &s), 0);
    assert_int_equal(loop_hook_add(l, on_hook, &h), 0);
    assert_int_equal(loop_fd_add(l, fd, EPOLLIN, count_fd, &n, &w), 0);
    loop_free(l);
    assert_int_equal(c.turns_seen + s.count + h.calls + n, 0);
    assert_int_equal(s.t.slot, 0);
    close(fd);
}

/* ---- signals ---- */

static void on_signal(void *arg, int signo)
{
    ((int *)arg)[signo == SIGUSR2]++;
}

static void test_signals(void **state)
{
    loop *l = *state;
    int got[2] = {0};
    assert_int_equal(loop_signal(l, SIGUSR1, on_signal, got), 0);
    assert_int_equal(loop_signal(l, SIGUSR2, on_signal, got), 0);
    assert_int_equal(loop_signal(l, 0, on_signal, got), SV_E_INVALID);
    kill(getpid(), SIGUSR1);
    kill(getpid(), SIGUSR2);
    while (got[0] + got[1] < 2)
        loop_turn(l, -1);
    assert_int_equal(got[0], 1);
    assert_int_equal(got[1], 1);
}

/* loop_stop before loop_run ends that run at once; the next one runs again. */
static void test_stop_before_run(void **state)
{
    loop *l = *state;
    sv_error err = {0};
    loop_stop(l);
    assert_int_equal(loop_run(l, &err), 0);
    chain c = {.l = l, .left = 1};
    assert_int_equal(loop_post(l, on_chain, &c), 0);
    loop_turn(l, -1);
    assert_int_equal(c.turns_seen, 1);
}

int main(void)
{
#define LOOP_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        LOOP_TEST(test_fd_add_mod_del),
        LOOP_TEST(test_fd_refusals),
        LOOP_TEST(test_delete_inside_callback),
        LOOP_TEST(test_start_rotates),
        LOOP_TEST(test_mod_holds_in_the_same_turn),
        LOOP_TEST(test_timers_in_order_and_never_early),
        LOOP_TEST(test_zero_delay_is_next_turn),
        LOOP_TEST(test_timer_stops_another_due_one),
        LOOP_TEST(test_lag),
        LOOP_TEST(test_far_timer_does_not_overflow),
        LOOP_TEST(test_clocks),
        LOOP_TEST(test_hooks),
        LOOP_TEST(test_posts_from_threads),
        LOOP_TEST(test_post_from_the_loop),
        cmocka_unit_test(test_free_with_everything_pending),
        LOOP_TEST(test_signals),
        LOOP_TEST(test_stop_before_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
