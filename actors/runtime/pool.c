/*  pool.c - two lists under one mutex: jobs that wait and jobs that are done.
 *
 *  A job is allocated when it is submitted, so a pool thread never needs memory. Results come
 *  back through an eventfd that the loop watches and not through loop_post: when the pool goes,
 *  nothing of it is left in the loop. `done` runs outside the mutex and may submit again.
 *  Threads run at nice 10 and take no signals, so that hashing never starves the loop and
 *  signals reach it. */
#include "pool.h"

#include "error.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NICE = 10 };

typedef struct job {
    struct job *next;
    int (*work)(void *arg);
    void (*done)(void *arg, int code);
    void *arg;
    int code;
} job;

typedef struct job_list {
    job *first, **end;
} job_list;

struct pool {
    int wake_fd;
    loop_fd *watch;
    uint32_t max_waiting, n_threads;
    pthread_t *threads;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t work_or_stop;
    job_list waiting, finished;
    uint32_t n_waiting;
    bool stop;
};

static void list_push(job_list *l, job *j)
{
    j->next = NULL;
    *l->end = j;
    l->end = &j->next;
}

static job *list_pop(job_list *l)
{
    job *j = l->first;
    if (j && (l->first = j->next) == NULL) l->end = &l->first;
    return j;
}

static void *run(void *arg)
{
    pool *p = arg;
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE);
    pthread_mutex_lock(&p->mutex);
    while (!p->stop) {
        job *j = list_pop(&p->waiting);
        if (j == NULL) {
            pthread_cond_wait(&p->work_or_stop, &p->mutex);
            continue;
        }
        p->n_waiting--;
        pthread_mutex_unlock(&p->mutex);
        j->code = j->work(j->arg);
        pthread_mutex_lock(&p->mutex);
        bool first = p->finished.first == NULL;
        list_push(&p->finished, j);
        uint64_t one = 1;
        if (first && write(p->wake_fd, &one, sizeof one) < 0) assert(errno == EAGAIN);
    }
    pthread_mutex_unlock(&p->mutex);
    return NULL;
}

/* Calls `done` for the jobs that are on the list now. */
static void finish(pool *p, job_list *list)
{
    pthread_mutex_lock(&p->mutex);
    job *j = list->first;
    list->first = NULL;
    list->end = &list->first;
    pthread_mutex_unlock(&p->mutex);
    while (j) {
        job *next = j->next;
        j->done(j->arg, j->code);
        free(j);
        j = next;
    }
}

static void on_wake(void *arg, int fd, uint32_t events)
{
    (void)events;
    uint64_t wakes;
    if (read(fd, &wakes, sizeof wakes) < 0) assert(errno == EAGAIN);
    pool *p = arg;
    finish(p, &p->finished);
}

static bool start_threads(pool *p, uint32_t threads)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (p->n_threads < threads && pthread_create(&p->threads[p->n_threads], NULL, run, p) == 0)
        p->n_threads++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return p->n_threads == threads;
}

pool *pool_new(loop *l, uint32_t threads, uint32_t queue, sv_error *err)
{
    pool *p = calloc(1, sizeof *p);
    if (p == NULL) {
        sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
        return NULL;
    }
    p->max_waiting = queue;
    p->waiting.end = &p->waiting.first;
    p->finished.end = &p->finished.first;
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->work_or_stop, NULL);
    p->threads = calloc(threads, sizeof *p->threads);
    p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (p->threads && p->wake_fd >= 0 &&
        loop_fd_add(l, p->wake_fd, EPOLLIN, on_wake, p, &p->watch) == 0 &&
        start_threads(p, threads))
        return p;
    sv_fail(err, SV_E_NO_MEMORY, NULL, "The worker threads could not be started.");
    sv_error_detail(err, "eventfd or pthread_create: %s", strerror(errno));
    pool_free(p);
    return NULL;
}

void pool_free(pool *p)
{
    if (p == NULL) return;
    pthread_mutex_lock(&p->mutex);
    p->stop = true;
    pthread_cond_broadcast(&p->work_or_stop);
    pthread_mutex_unlock(&p->mutex);
    for (uint32_t i = 0; i < p->n_threads; i++)
        pthread_join(p->threads[i], NULL);
    loop_fd_del(p->watch);
    finish(p, &p->finished);
    for (job *j = p->waiting.first; j; j = j->next)
        j->code = SV_E_CANCELLED;
    finish(p, &p->waiting);
    if (p->wake_fd >= 0) close(p->wake_fd);
    pthread_mutex_destroy(&p->mutex);
    pthread_cond_destroy(&p->work_or_stop);
    free(p->threads);
    free(p);
}

int pool_submit(pool *p, int (*work)(void *arg), void (*done)(void *arg, int code), void *arg)
{
    job *j = malloc(sizeof *j);
    if (j == NULL) return SV_E_NO_MEMORY;
    *j = (job){.work = work, .done = done, .arg = arg};
    pthread_mutex_lock(&p->mutex);
    int rc = p->stop ? SV_E_CANCELLED : p->n_waiting >= p->max_waiting ? SV_E_OVERLOADED : 0;
    if (rc == 0) {
        list_push(&p->waiting, j);
        p->n_waiting++;
        pthread_cond_signal(&p->work_or_stop);
    }
    pthread_mutex_unlock(&p->mutex);
    if (rc) free(j);
    return rc;
}

uint32_t pool_waiting(const pool *p)
{
    pool *q = (pool *)(uintptr_t)p; /* the mutex changes, what it guards does not */
    pthread_mutex_lock(&q->mutex);
    uint32_t n = q->n_waiting;
    pthread_mutex_unlock(&q->mutex);
    return n;
}
