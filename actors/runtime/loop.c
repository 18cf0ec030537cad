/*  loop.c - epoll, a binary heap of timers, an eventfd for posted work, a signalfd.
 *
 *  Watchers are heap objects on a list; epoll carries their address. Deleting one marks it dead
 *  and moves it to a second list that is freed when the turn ends, so events of it that wait in
 *  the same batch find a dead watcher and not freed memory. Hooks are marked and compacted in
 *  the same way.
 *
 *  Posted work is a lock-free stack that other threads push to and the loop takes as a whole;
 *  the eventfd is written only by the push that finds the stack empty, and never by the loop's
 *  own thread, which looks at the stack before it waits.
 *
 *  A timer armed while timers fire is due one microsecond after this turn at the earliest, so
 *  that a zero delay means "next turn" and cannot hold the loop. Callbacks see the clock as
 *  read when the turn began; before a wait that ends with a timer it is read once more,
 *  privately, so that a long callback does not make the next timer late. */
#include "loop.h"

#include "error.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

enum {
    EVENTS_TURN = 128, /* descriptors looked at in one turn */
    POSTS_TURN = 256,
    TIMERS_TURN = 1024,
    SIGNALS_TURN = 8,
    WALL_CLOCK_US = 10000, /* the wall clock is compared with the monotonic one this often */
    WAIT_MOST_US = 1800 * 1000000
};

struct loop_fd {
    loop *l;
    loop_fd *prev, *next;
    int fd; /* -1: deleted, freed at the end of the turn */
    uint32_t events;
    loop_fd_fn *fn;
    void *arg;
};

typedef struct post {
    struct post *next;
    loop_fn *fn;
    void *arg;
} post;

typedef struct hook {
    loop_hook_fn *fn; /* NULL: deleted, compacted at the end of the turn */
    void *arg;
} hook;

typedef struct signal_handler {
    void (*fn)(void *arg, int signo);
    void *arg;
} signal_handler;

struct loop {
    int epoll_fd, post_fd, signal_fd;
    bool stop, in_turn, again, firing, no_pwait2, hooks_dirty;
    uint64_t now_us, wall_offset_us, wall_read_us;
    uint64_t turns;
    uint64_t lag_us, lag_worst_us;

    loop_fd *fds, *dead;

    loop_timer **heap;
    size_t n_timers, cap_timers;

    hook *hooks;
    size_t n_hooks, cap_hooks;

    _Atomic(post *) posted; /* newest first */
    post *todo;             /* taken, oldest first */

    sigset_t signals;
    signal_handler on_signal[NSIG];

    struct epoll_event events[EVENTS_TURN];
};

/* The loop whose turn runs on this thread. */
static _Thread_local loop *running;

uint64_t clock_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void read_clock(loop *l)
{
    l->now_us = clock_us();
    if (l->wall_read_us == 0 || l->now_us - l->wall_read_us >= WALL_CLOCK_US) {
        struct timespec ts;
        clock_gettime(CLOCK_REALTIME, &ts);
        uint64_t wall_us = (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
        l->wall_offset_us = wall_us - l->now_us;
        l->wall_read_us = l->now_us;
    }
}

uint64_t loop_now_us(const loop *l)
{
    return l->now_us;
}

uint64_t loop_unix_us(const loop *l)
{
    return l->now_us + l->wall_offset_us;
}

/* ---- life ---- */

static int watch_own(loop *l, int fd, void *tag)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = tag};
    return epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev);
}

loop *loop_new(sv_error *err)
{
    loop *l = calloc(1, sizeof *l);
    if (l == NULL) {
        sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
        return NULL;
    }
    sigemptyset(&l->signals);
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    l->post_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->signal_fd = signalfd(-1, &l->signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (l->epoll_fd < 0 || l->post_fd < 0 || l->signal_fd < 0 ||
        watch_own(l, l->post_fd, &l->posted) || watch_own(l, l->signal_fd, &l->signals)) {
        sv_fail(err, SV_E_IO, NULL, "The event loop could not be made.");
        sv_error_detail(err, "epoll, eventfd or signalfd: %s", strerror(errno));
        loop_free(l);
        return NULL;
    }
    read_clock(l);
    return l;
}

static void free_list(loop_fd **list)
{
    while (*list) {
        loop_fd *next = (*list)->next;
        free(*list);
        *list = next;
    }
}

static void take_posted(loop *l)
{
    post *p = atomic_exchange_explicit(&l->posted, NULL, memory_order_acquire);
    post *oldest_first = NULL;
    while (p) {
        post *next = p->next;
        p->next = oldest_first;
        oldest_first = p;
        p = next;
    }
    post **end = &l->todo;
    while (*end)
        end = &(*end)->next;
    *end = oldest_first;
}

void loop_free(loop *l)
{
    if (l == NULL) return;
    assert(!l->in_turn);
    take_posted(l);
    while (l->todo) {
        post *next = l->todo->next;
        free(l->todo);
        l->todo = next;
    }
    for (size_t i = 0; i < l->n_timers; i++)
        l->heap[i]->slot = 0;
    free_list(&l->fds);
    free_list(&l->dead);
    free(l->heap);
    free(l->hooks);
    if (l->epoll_fd >= 0) close(l->epoll_fd);
    if (l->post_fd >= 0) close(l->post_fd);
    if (l->signal_fd >= 0) close(l->signal_fd);
    free(l);
}

/* ---- timers ---- */

static void heap_put(loop *l, size_t i, loop_timer *t)
{
    l->heap[i] = t;
    t->slot = i + 1;
}

static void heap_up(loop *l, size_t i, loop_timer *t)
{
    while (i > 0) {
        size_t parent = (i - 1) / 2;
        if (l->heap[parent]->at_us <= t->at_us) break;
        heap_put(l, i, l->heap[parent]);
        i = parent;
    }
    heap_put(l, i, t);
}

static void heap_down(loop *l, size_t i, loop_timer *t)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= l->n_timers) break;
        if (child + 1 < l->n_timers && l->heap[child + 1]->at_us < l->heap[child]->at_us) child++;
        if (t->at_us <= l->heap[child]->at_us) break;
        heap_put(l, i, l->heap[child]);
        i = child;
    }
    heap_put(l, i, t);
}

/* Places `t` at hole `i` or wherever its time belongs. */
static void heap_place(loop *l, size_t i, loop_timer *t)
{
    if (i > 0 && t->at_us < l->heap[(i - 1) / 2]->at_us)
        heap_up(l, i, t);
    else
        heap_down(l, i, t);
}

int loop_timer_set(loop *l, loop_timer *t, uint64_t delay_us, loop_fn *fn, void *arg)
{
    if (t->slot == 0 && l->n_timers == l->cap_timers) {
        size_t cap = l->cap_timers ? 2 * l->cap_timers : 64;
        loop_timer **heap = realloc(l->heap, cap * sizeof *heap);
        if (heap == NULL) return SV_E_NO_MEMORY;
        l->heap = heap;
        l->cap_timers = cap;
    }
    if (!l->in_turn) read_clock(l);
    if (l->firing && delay_us == 0) delay_us = 1;
    t->at_us = delay_us > UINT64_MAX - l->now_us ? UINT64_MAX : l->now_us + delay_us;
    t->fn = fn;
    t->arg = arg;
    if (t->slot) {
        assert(t->slot <= l->n_timers && l->heap[t->slot - 1] == t);
        heap_place(l, t->slot - 1, t);
    } else {
        heap_up(l, l->n_timers++, t);
    }
    return 0;
}

void loop_timer_stop(loop *l, loop_timer *t)
{
    if (t->slot == 0) return;
    size_t i = t->slot - 1;
    assert(i < l->n_timers && l->heap[i] == t);
    t->slot = 0;
    loop_timer *last = l->heap[--l->n_timers];
    if (last != t) heap_place(l, i, last);
}

static void fire_timers(loop *l)
{
    l->firing = true;
    int budget = TIMERS_TURN;
    while (l->n_timers > 0 && l->heap[0]->at_us <= l->now_us) {
        if (budget-- == 0) {
            l->again = true;
            break;
        }
        loop_timer *t = l->heap[0];
        l->lag_us = l->now_us - t->at_us;
        if (l->lag_us > l->lag_worst_us) l->lag_worst_us = l->lag_us;
        loop_timer_stop(l, t);
        t->fn(t->arg);
    }
    l->firing = false;
}

uint64_t loop_lag_us(const loop *l)
{
    return l->lag_us;
}

uint64_t loop_lag_take(loop *l)
{
    uint64_t worst_us = l->lag_worst_us;
    l->lag_worst_us = 0;
    return worst_us;
}

/* ---- descriptors ---- */

static int epoll_failure(void)
{
    return errno == ENOMEM ? SV_E_NO_MEMORY : errno == ENOSPC ? SV_E_OVERLOADED : SV_E_IO;
}

int loop_fd_add(loop *l, int fd, uint32_t events, loop_fd_fn *fn, void *arg, loop_fd **ret)
{
    loop_fd *w = malloc(sizeof *w);
    if (w == NULL) return SV_E_NO_MEMORY;
    *w = (loop_fd){.l = l, .next = l->fds, .fd = fd, .events = events, .fn = fn, .arg = arg};
    struct epoll_event ev = {.events = events, .data.ptr = w};
    if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev)) {
        free(w);
        return epoll_failure();
    }
    if (l->fds) l->fds->prev = w;
    l->fds = w;
    *ret = w;
    return 0;
}

int loop_fd_mod(loop_fd *w, uint32_t events)
{
    assert(w->fd >= 0);
    struct epoll_event ev = {.events = events, .data.ptr = w};
    if (epoll_ctl(w->l->epoll_fd, EPOLL_CTL_MOD, w->fd, &ev)) return epoll_failure();
    w->events = events;
    return 0;
}

void loop_fd_del(loop_fd *w)
{
    if (w == NULL) return;
    loop *l = w->l;
    assert(w->fd >= 0);
    /* A descriptor that was closed already has left the set by itself. */
    epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
    if (w->prev)
        w->prev->next = w->next;
    else
        l->fds = w->next;
    if (w->next) w->next->prev = w->prev;
    if (!l->in_turn) {
        free(w);
        return;
    }
    w->fd = -1;
    w->next = l->dead;
    l->dead = w;
}

static void dispatch(loop *l, int n)
{
    int start = (int)(l->turns % (uint64_t)n);
    for (int i = 0; i < n; i++) {
        const struct epoll_event *ev = &l->events[(start + i) % n];
        if (ev->data.ptr == &l->posted || ev->data.ptr == &l->signals) continue;
        loop_fd *w = ev->data.ptr;
        /* An earlier callback of this turn may have deleted it or changed what it waits for. */
        uint32_t events = ev->events & (w->events | EPOLLERR | EPOLLHUP);
        if (w->fd >= 0 && events) w->fn(w->arg, w->fd, events);
    }
}

/* ---- hooks ---- */

int loop_hook_add(loop *l, loop_hook_fn *fn, void *arg)
{
    if (l->n_hooks == l->cap_hooks) {
        size_t cap = l->cap_hooks ? 2 * l->cap_hooks : 8;
        hook *hooks = realloc(l->hooks, cap * sizeof *hooks);
        if (hooks == NULL) return SV_E_NO_MEMORY;
        l->hooks = hooks;
        l->cap_hooks = cap;
    }
    l->hooks[l->n_hooks++] = (hook){fn, arg};
    return 0;
}

static void compact_hooks(loop *l)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n_hooks; i++)
        if (l->hooks[i].fn) l->hooks[n++] = l->hooks[i];
    l->n_hooks = n;
    l->hooks_dirty = false;
}

void loop_hook_del(loop *l, loop_hook_fn *fn, void *arg)
{
    for (size_t i = 0; i < l->n_hooks; i++) {
        if (l->hooks[i].fn == fn && l->hooks[i].arg == arg) {
            l->hooks[i].fn = NULL;
            l->hooks_dirty = true;
            break;
        }
    }
    if (l->hooks_dirty && !l->in_turn) compact_hooks(l);
}

static void run_hooks(loop *l)
{
    size_t n = l->n_hooks; /* one added by a hook starts with the next turn */
    for (size_t i = 0; i < n; i++) {
        hook h = l->hooks[i];
        if (h.fn && h.fn(h.arg)) l->again = true;
    }
}

/* ---- posted work ---- */

int loop_post(loop *l, loop_fn *fn, void *arg)
{
    post *p = malloc(sizeof *p);
    if (p == NULL) return SV_E_NO_MEMORY;
    post *old = atomic_load_explicit(&l->posted, memory_order_relaxed);
    *p = (post){.fn = fn, .arg = arg};
    do
        p->next = old;
    while (!atomic_compare_exchange_weak_explicit(&l->posted, &old, p, memory_order_release,
                                                  memory_order_relaxed));
    /* From here on the loop may have run and freed `p`. */
    uint64_t one = 1;
    if (old == NULL && running != l && write(l->post_fd, &one, sizeof one) < 0)
        assert(errno == EAGAIN || errno == EINTR);
    return 0;
}

static void run_posted(loop *l)
{
    if (atomic_load_explicit(&l->posted, memory_order_relaxed)) take_posted(l);
    for (int i = 0; i < POSTS_TURN && l->todo; i++) {
        post *p = l->todo;
        l->todo = p->next;
        loop_fn *fn = p->fn;
        void *arg = p->arg;
        free(p);
        fn(arg);
    }
}

/* ---- signals ---- */

int loop_signal(loop *l, int signo, void (*fn)(void *arg, int signo), void *arg)
{
    if (signo <= 0 || signo >= NSIG) return SV_E_INVALID;
    sigset_t one, all = l->signals;
    sigemptyset(&one);
    sigaddset(&one, signo);
    sigaddset(&all, signo);
    if (pthread_sigmask(SIG_BLOCK, &one, NULL) ||
        signalfd(l->signal_fd, &all, SFD_CLOEXEC | SFD_NONBLOCK) < 0)
        return SV_E_IO;
    l->signals = all;
    l->on_signal[signo] = (signal_handler){fn, arg};
    return 0;
}

static void run_signals(loop *l)
{
    struct signalfd_siginfo info[SIGNALS_TURN];
    ssize_t n = read(l->signal_fd, info, sizeof info);
    for (ssize_t i = 0; n > 0 && i < n / (ssize_t)sizeof *info; i++) {
        uint32_t signo = info[i].ssi_signo;
        if (signo < NSIG && l->on_signal[signo].fn)
            l->on_signal[signo].fn(l->on_signal[signo].arg, (int)signo);
    }
}

/* ---- turns ---- */

/* Microseconds to wait, -1 without end. */
static int64_t wait_for(loop *l, int wait_ms)
{
    if (l->again || wait_ms == 0 || l->todo ||
        atomic_load_explicit(&l->posted, memory_order_relaxed))
        return 0;
    int64_t wait_us = wait_ms < 0 ? -1 : (int64_t)wait_ms * 1000;
    if (l->n_timers > 0) {
        uint64_t at_us = l->heap[0]->at_us, now_us = clock_us();
        uint64_t until_us = at_us <= now_us ? 0 : at_us - now_us;
        if (until_us > (uint64_t)WAIT_MOST_US) until_us = WAIT_MOST_US;
        if (wait_us < 0 || (uint64_t)wait_us > until_us) wait_us = (int64_t)until_us;
    }
    return wait_us;
}

static int wait_events(loop *l, int64_t wait_us)
{
    if (wait_us > 0 && !l->no_pwait2) {
        struct timespec ts = {wait_us / 1000000, wait_us % 1000000 * 1000};
        int n = epoll_pwait2(l->epoll_fd, l->events, EVENTS_TURN, &ts, NULL);
        if (n >= 0 || (errno != ENOSYS && errno != EPERM)) return n;
        l->no_pwait2 = true; /* a kernel before 5.11, or a sandbox that does not know the call */
    }
    int64_t wait_ms = wait_us < 0 ? -1 : (wait_us + 999) / 1000;
    return epoll_wait(l->epoll_fd, l->events, EVENTS_TURN,
                      wait_ms > INT_MAX ? INT_MAX : (int)wait_ms);
}

int loop_turn(loop *l, int wait_ms)
{
    assert(!l->in_turn);
    int64_t wait_us = wait_for(l, wait_ms);
    int n = wait_events(l, wait_us);
    if (n < 0 && errno != EINTR) return SV_E_IO;
    loop *outer = running;
    running = l;
    l->in_turn = true;
    l->again = false;
    l->turns++;
    read_clock(l);
    for (int i = 0; i < n; i++) {
        if (l->events[i].data.ptr == &l->signals) run_signals(l);
        uint64_t wakes;
        if (l->events[i].data.ptr == &l->posted && read(l->post_fd, &wakes, sizeof wakes) < 0)
            assert(errno == EAGAIN || errno == EINTR);
    }
    run_posted(l);
    if (n > 0) dispatch(l, n);
    fire_timers(l);
    run_hooks(l);
    l->in_turn = false;
    running = outer;
    free_list(&l->dead);
    if (l->hooks_dirty) compact_hooks(l);
    return 0;
}

int loop_run(loop *l, sv_error *err)
{
    int rc = 0;
    while (!l->stop && rc == 0)
        rc = loop_turn(l, -1);
    l->stop = false;
    if (rc) {
        sv_fail(err, rc, NULL, "The event loop stopped.");
        sv_error_detail(err, "epoll_wait: %s", strerror(errno));
    }
    return rc;
}

void loop_stop(loop *l)
{
    l->stop = true;
}
