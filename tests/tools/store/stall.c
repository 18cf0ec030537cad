/*  stall.c - a loop, a timer and, if wanted, the driver on an eventfd of that loop. */
#include "stall.h"

#include "loop.h"
#include "opts.h"

#include <sys/epoll.h>

enum { TICK_US = 1000, ANSWERS_TURN = 64 }; /* as actors/runtime/state.c delivers */

typedef struct stall {
    loop *loop;
    driver *driver;
    loop_timer tick, end;
    uint64_t due_us;
    hist *late;
    bool over;
} stall;

static void on_tick(void *arg)
{
    stall *s = arg;
    uint64_t now = clock_us();
    if (!s->over) hist_add(s->late, now > s->due_us ? now - s->due_us : 0);
    s->due_us = loop_now_us(s->loop) + TICK_US;
    loop_timer_set(s->loop, &s->tick, TICK_US, on_tick, s);
}

static void on_end(void *arg)
{
    stall *s = arg;
    s->over = true;
    if (s->driver) driver_stop(s->driver);
    if (s->driver == NULL || driver_waiting(s->driver) == 0) loop_stop(s->loop);
}

static void on_readable(void *arg, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    stall *s = arg;
    driver_turn(s->driver, ANSWERS_TURN);
    if (s->over && driver_waiting(s->driver) == 0) loop_stop(s->loop);
}

void stall_measure(driver *d, double seconds, hist *late)
{
    sv_error err = {.code = 0};
    stall s = {.driver = d, .late = late};
    loop_fd *watch = NULL;
    hist_reset(late);
    s.loop = loop_new(&err);
    if (s.loop == NULL) die("no loop: %s", err.message);
    if (d) {
        if (loop_fd_add(s.loop, driver_fd(d), EPOLLIN, on_readable, &s, &watch))
            die("the loop takes no descriptor");
        driver_start(d);
    }
    s.due_us = loop_now_us(s.loop) + TICK_US;
    loop_timer_set(s.loop, &s.tick, TICK_US, on_tick, &s);
    loop_timer_set(s.loop, &s.end, (uint64_t)(seconds * 1e6), on_end, &s);
    if (loop_run(s.loop, &err)) die("the loop failed: %s", err.message);
    loop_timer_stop(s.loop, &s.tick);
    loop_timer_stop(s.loop, &s.end);
    loop_fd_del(watch);
    loop_free(s.loop);
}
