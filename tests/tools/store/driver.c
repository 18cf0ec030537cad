/*  driver.c - the callers. What is finished comes as a list and an eventfd, as in the runtime. */
#include "driver.h"

#include "net.h"
#include "opts.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

struct driver {
    const rival *rival;
    driver_next *next;
    void *arg;
    uint32_t callers, waiting;
    uint64_t rows;
    bool stopping;
    bench_op *ops;
    hist *latency; /* NULL: not measured */
    int fd;
    store_op *ready; /* taken, not looked at yet */
    pthread_mutex_t mutex;
    store_op *done, **tail;
};

driver *driver_new(const rival *r, uint32_t callers, driver_next *next, void *arg)
{
    driver *d = calloc(1, sizeof *d);
    if (d) d->ops = calloc(callers, sizeof *d->ops);
    if (d == NULL || d->ops == NULL) die("no memory");
    d->rival = r;
    d->callers = callers;
    d->next = next;
    d->arg = arg;
    d->tail = &d->done;
    d->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (d->fd < 0) die("no eventfd");
    pthread_mutex_init(&d->mutex, NULL);
    return d;
}

void driver_free(driver *d)
{
    for (uint32_t i = 0; i < d->callers; i++)
        if (d->ops[i].arena.max) arena_free(&d->ops[i].arena);
    close(d->fd);
    pthread_mutex_destroy(&d->mutex);
    free(d->ops);
    free(d);
}

static void ring(driver *d)
{
    uint64_t one = 1;
    if (write(d->fd, &one, sizeof one) < 0) die("eventfd");
}

void driver_done(void *arg, store_op *list)
{
    driver *d = arg;
    pthread_mutex_lock(&d->mutex);
    bool first = d->done == NULL;
    *d->tail = list;
    while (*d->tail)
        d->tail = &(*d->tail)->next;
    pthread_mutex_unlock(&d->mutex);
    if (first) ring(d);
}

static void submit(driver *d, bench_op *op)
{
    if (d->stopping || !d->next(d->arg, op)) {
        d->stopping = true;
        return;
    }
    op->start_us = now_us();
    d->waiting++;
    d->rival->submit(op);
}

void driver_start(driver *d)
{
    for (uint32_t i = 0; i < d->callers; i++)
        submit(d, &d->ops[i]);
}

void driver_turn(driver *d, uint32_t most)
{
    uint64_t count;
    if (read(d->fd, &count, sizeof count) < 0 && errno != EAGAIN) die("eventfd");
    pthread_mutex_lock(&d->mutex);
    if (d->done) {
        store_op **end = &d->ready;
        while (*end)
            end = &(*end)->next;
        *end = d->done;
        d->done = NULL;
        d->tail = &d->done;
    }
    pthread_mutex_unlock(&d->mutex);
    while (d->ready && most--) {
        bench_op *op = (bench_op *)d->ready;
        d->ready = op->op.next;
        d->waiting--;
        d->rows += op->count;
        if (d->latency) hist_add(d->latency, now_us() - op->start_us);
        submit(d, op);
    }
    if (d->ready) ring(d);
}

int driver_fd(const driver *d)
{
    return d->fd;
}

void driver_stop(driver *d)
{
    d->stopping = true;
}

uint32_t driver_waiting(const driver *d)
{
    return d->waiting;
}

uint64_t driver_rows(const driver *d)
{
    return d->rows;
}

static uint64_t cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

void driver_run(driver *d, uint64_t most_us, driver_result *ret)
{
    memset(ret, 0, sizeof *ret);
    uint64_t start = now_us(), cpu = cpu_us(), rows = d->rows;
    d->stopping = false;
    d->latency = &ret->latency;
    driver_start(d);
    while (d->waiting > 0) {
        struct pollfd p = {.fd = d->fd, .events = POLLIN};
        if (poll(&p, 1, 10000) == 0) die("%s does not answer", d->rival->name);
        driver_turn(d, UINT32_MAX);
        if (d->latency == NULL || (most_us && now_us() - start < most_us)) continue;
        if (most_us == 0 && d->waiting > 0) continue;
        ret->took_us = now_us() - start;
        ret->cpu_us = cpu_us() - cpu;
        ret->rows = d->rows - rows;
        d->latency = NULL;
        d->stopping = true;
    }
}
