/*  loop.h - one thread, one epoll set: descriptors, timers, posted work, signals, end-of-turn
 *  hooks.
 *  Thread: everything on the loop's thread except loop_post, which any thread may call. Order
 *  of a turn: signals and posted work, then descriptors (round robin: the start rotates), then due
 *  timers, then hooks; the clock is read once a turn. Timers never fire early and never in catch-up
 *  bursts. A callback may delete any watcher or timer, its own included.
 *  Ownership: the caller owns
 *  `arg` and timer structs; watchers belong to the loop until deleted.
 *  Errors: negative numbers of
 *  errors.def with the system's word in detail. */
#ifndef SV_LOOP_H
#define SV_LOOP_H

#include "sv_types.h"

typedef struct loop loop;
typedef struct loop_fd loop_fd;

loop *loop_new(sv_error *err);
void loop_free(loop *l);
/* Runs until loop_stop. */
int loop_run(loop *l, sv_error *err);
/* One turn, waiting at most `wait_ms` (-1: until something happens). For tests and embedders. */
int loop_turn(loop *l, int wait_ms);
void loop_stop(loop *l);

uint64_t loop_now_us(const loop *l);  /* monotonic, as read at the start of this turn */
uint64_t loop_unix_us(const loop *l); /* wall clock, same moment */
uint64_t clock_us(void);              /* monotonic, read now */

/* `events`: EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLET as in epoll_ctl(2). */
typedef void loop_fd_fn(void *arg, int fd, uint32_t events);
int loop_fd_add(loop *l, int fd, uint32_t events, loop_fd_fn *fn, void *arg, loop_fd **ret);
int loop_fd_mod(loop_fd *w, uint32_t events);
/* Stops watching; does not close the descriptor. NULL is allowed. */
void loop_fd_del(loop_fd *w);

typedef void loop_fn(void *arg);

/* Owned by the user, zero-initialised, must be stopped before its memory goes. */
typedef struct loop_timer {
    uint64_t at_us;
    size_t slot; /* 1 + index in the heap; 0 when idle */
    loop_fn *fn;
    void *arg;
} loop_timer;
/* (Re)arms: fires once, not before loop_now_us + delay_us. */
int loop_timer_set(loop *l, loop_timer *t, uint64_t delay_us, loop_fn *fn, void *arg);
void loop_timer_stop(loop *l, loop_timer *t);

/* Called at the end of each turn; true asks for another turn without waiting. */
typedef bool loop_hook_fn(void *arg);
int loop_hook_add(loop *l, loop_hook_fn *fn, void *arg);
void loop_hook_del(loop *l, loop_hook_fn *fn, void *arg);

/* Runs fn(arg) on the loop's thread in a later turn. Any thread; 0 or SV_E_NO_MEMORY. */
int loop_post(loop *l, loop_fn *fn, void *arg);

/* Blocks `signo` for the process (call before starting threads) and delivers it here. */
int loop_signal(loop *l, int signo, void (*fn)(void *arg, int signo), void *arg);

/* How late the last due timer was, and the worst since the previous call of loop_lag_take. */
uint64_t loop_lag_us(const loop *l);
uint64_t loop_lag_take(loop *l);

#endif
