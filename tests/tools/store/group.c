/*  group.c - group commit by hand, as the store's writer does it: what waits goes into one
 *  transaction, what comes meanwhile joins it, one commit, then the answers. */
#include "rival.h"

#include "opts.h"

#include <pthread.h>

static const group_engine *engine;
static uint32_t most_writes;
static bench_done *tell;
static void *tell_arg;
static pthread_t thread;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static store_op *head, **tail = &head;
static bool stopping;

static store_op *take(bool wait)
{
    pthread_mutex_lock(&mutex);
    while (wait && head == NULL && !stopping)
        pthread_cond_wait(&wake, &mutex);
    store_op *op = head;
    if (op) {
        head = op->next;
        if (head == NULL) tail = &head;
    }
    pthread_mutex_unlock(&mutex);
    return op;
}

static void *run(void *arg)
{
    (void)arg;
    for (store_op *op; (op = take(true));) {
        store_op *list = NULL, **end = &list;
        uint32_t n = 0;
        engine->begin();
        while (op) {
            engine->apply((const bench_op *)op);
            op->code = 0;
            op->next = NULL;
            *end = op;
            end = &op->next;
            op = ++n < most_writes ? take(false) : NULL;
        }
        engine->commit();
        tell(tell_arg, list);
    }
    return NULL;
}

void group_start(const group_engine *e, uint32_t most, bench_done *done, void *arg)
{
    engine = e;
    most_writes = most;
    tell = done;
    tell_arg = arg;
    stopping = false;
    if (pthread_create(&thread, NULL, run, NULL)) die("no thread");
}

void group_submit(bench_op *op)
{
    op->op.next = NULL;
    pthread_mutex_lock(&mutex);
    bool first = head == NULL;
    *tail = &op->op;
    tail = &op->op.next;
    if (first) pthread_cond_signal(&wake);
    pthread_mutex_unlock(&mutex);
}

void group_stop(void)
{
    pthread_mutex_lock(&mutex);
    stopping = true;
    pthread_cond_signal(&wake);
    pthread_mutex_unlock(&mutex);
    pthread_join(thread, NULL);
}
