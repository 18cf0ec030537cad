/*  fiber_api.c - the calls that suspend a handler's fiber: service calls, streams, sleep, pool
 *  work. */
#include "process.h"

#include "log.h"

#include <assert.h>
#include <stdlib.h>

void call_wait(sv_call *c, fiber **slot)
{
    *slot = fiber_current();
    assert(*slot != NULL && "this call waits: the method must not be SV_INLINE");
    fiber_suspend();
    *slot = NULL;
    log_context(&c->id, &c->trace);
}

int sv_call_service(sv_call *parent, const char *target, const sv_message *request_type,
                    const void *request, const sv_message *reply_type, void *reply)
{
    sv_request r = {.target = target, .type = request_type, .body = request, .parent = parent};
    sv_stream *s = sv_call_stream(parent, &r);
    if (s == NULL) return parent->error.code;
    while (!s->over)
        call_wait(parent, &s->waiter);
    int rc = s->result;
    if (rc) {
        if (parent->error.code == 0) parent->error = s->error;
    } else if (reply_type) {
        sv_item item;
        sv_stream_result(s, &item);
        char *copy = arena_copy(&parent->arena, item.body);
        rc = copy ? message_decode(reply_type, (sv_str){copy, item.body.n}, MESSAGE_LENIENT,
                                   &parent->arena, reply, &parent->error)
                  : sv_fail(&parent->error, SV_E_NO_MEMORY, NULL, NULL);
    }
    sv_stream_close(s);
    return rc;
}

sv_stream *sv_call_stream(sv_call *parent, const sv_request *r)
{
    sv_request mine = *r;
    mine.parent = parent;
    return sv_open(parent->process, &mine, NULL, parent, &parent->error);
}

static void drop_current(sv_stream *s)
{
    stream_item *i = s->current;
    s->current = NULL;
    if (i == NULL) return;
    uint32_t bytes = frames_data_bytes(&i->frames);
    frames_close(&i->frames);
    assembly_free(i->parts);
    free(i);
    sv_consumed(s, 1, bytes);
}

bool sv_next(sv_stream *s, sv_item *item)
{
    sv_call *c = s->arg;
    drop_current(s);
    while (s->items == NULL && !s->over)
        call_wait(c, &s->waiter);
    if (s->items == NULL) return false;
    s->current = s->items;
    s->items = s->current->next;
    if (s->items == NULL) s->items_tail = &s->items;
    item_of(&s->current->frames, s->current->parts, item);
    return true;
}

int sv_stream_result(const sv_stream *s, sv_item *last)
{
    if (last) {
        *last = (sv_item){0};
        if (s->last) item_of(&s->last->frames, s->last->parts, last);
    }
    return s->over ? s->result : SV_E_UNAVAILABLE;
}

void sv_stream_close(sv_stream *s)
{
    if (s) sv_cancel(s);
}

typedef struct sleeper {
    sv_call *call;
    bool due;
} sleeper;

static void sleep_over(void *arg)
{
    sleeper *s = arg;
    s->due = true;
    serve_resume(s->call);
}

int sv_sleep(sv_call *c, uint32_t ms)
{
    sleeper s = {c, false};
    loop_timer t = {0};
    int rc = loop_timer_set(c->process->loop, &t, (uint64_t)ms * 1000, sleep_over, &s);
    while (rc == 0 && !s.due && !c->cancelled)
        call_wait(c, &c->waiter);
    loop_timer_stop(c->process->loop, &t);
    if (rc == 0 && c->cancelled)
        rc = loop_now_us(c->process->loop) >= c->deadline_us ? SV_E_DEADLINE : SV_E_CANCELLED;
    return rc;
}

typedef struct job {
    sv_call *call;
    int (*work)(void *arg);
    void *arg;
    int code;
    bool done;
} job;

static int job_run(void *arg)
{
    job *j = arg;
    return j->work(j->arg);
}

static void job_done(void *arg, int code)
{
    job *j = arg;
    j->code = code;
    j->done = true;
    serve_resume(j->call);
}

int sv_work(sv_call *c, int (*work)(void *arg), void *arg)
{
    sv_process *p = c->process;
    if (p->workers == NULL && (p->workers = pool_new(p->loop, 2, 64, &c->error)) == NULL)
        return c->error.code;
    job j = {c, work, arg, 0, false};
    int rc = pool_submit(p->workers, job_run, job_done, &j);
    if (rc) return rc;
    while (!j.done) /* even when cancelled: the thread uses our stack */
        call_wait(c, &c->waiter);
    return c->cancelled ? SV_E_CANCELLED : j.code;
}
