/*  cache.c - the actor's table, its start and stop. */
#include "cache.h"

#include "answer_cache.h"
#include "budget_store.h"
#include "error.h"
#include "log.h"
#include "metrics.h"
#include "uuid.h"

#include <malloc.h>
#include <stdlib.h>

enum { TICK_MS = 1000, SLOTS = 16384, LARGE_BYTES = 256 << 10 };

static uint64_t now_ms(sv_call *call)
{
    return loop_now_us(sv_loop(sv_call_process(call))) / 1000;
}

static int limit_take(sv_call *call, const void *request)
{
    cache *c = sv_process_state(sv_call_process(call));
    cache_limit_take_reply reply;
    int rc = limit_core_take(c->limits, now_ms(call), request, &reply, sv_call_error(call));
    return rc ? rc : sv_reply(call, &reply);
}

static int limit_look(sv_call *call, const void *request)
{
    cache *c = sv_process_state(sv_call_process(call));
    cache_limit_look_reply reply;
    int rc = limit_core_look(c->limits, now_ms(call), request, &reply, sv_call_error(call));
    return rc ? rc : sv_reply(call, &reply);
}

static int init(sv_process *process, void **state, sv_error *err)
{
    cache *c = calloc(1, sizeof *c);
    if (c == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    /* A hundred callers of one large answer have a copy each until it is sent: that memory goes back. */
    mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
    uint32_t most = (uint32_t)config_int(sv_config(process), "cache.limit_counters"), epoch;
    uuid_random(&epoch, sizeof epoch);
    c->process = process;
    c->limits = limit_core_new(most, (int64_t)epoch + 1);
    if (c->limits == NULL) {
        free(c);
        return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    }
    int rc = budgets_start(process, &c->budgets, err);
    if (rc == 0 && (rc = answer_cache_start(process, &c->answers, err))) budgets_stop(c->budgets);
    if (rc) {
        limit_core_free(c->limits);
        free(c);
        return rc;
    }
    *state = c;
    return 0;
}

static void count(metric_name name, const char *outcome, uint64_t now, uint64_t *told)
{
    metric_add(metric_get(name, (const char *const[]){outcome}), now - *told);
    *told = now;
}

static void tick(sv_process *process, void *state)
{
    cache *c = state;
    limit_core_stats *told = &c->told;
    limit_core_tick(c->limits, loop_now_us(sv_loop(process)) / 1000);
    limit_core_stats s = limit_core_look_stats(c->limits);
    if (s.full && !told->full)
        log_write(LOG_WARN,
                  "the table of rate limits is full: new counters share one for each class until "
                  "there is room; see cache.limit_counters",
                  LOG_INT("counters", s.counters));
    told->full = s.full;
    metric_set(metric_one(M_LIMIT_COUNTERS), s.counters);
    count(M_LIMIT_TAKES, "granted", s.granted, &told->granted);
    count(M_LIMIT_TAKES, "refused", s.refused, &told->refused);
    metric_add(metric_one(M_LIMIT_SHARED), s.shared - told->shared);
    told->shared = s.shared;
    budgets_tick(c->budgets);
    answer_cache_tick(c->answers);
}

static void stop(sv_process *process, void *state)
{
    (void)process;
    cache *c = state;
    limit_core_free(c->limits);
    budgets_stop(c->budgets);
    answer_cache_stop(c->answers);
    free(c);
}

answer_cache *answer_cache_of(sv_call *call)
{
    return ((cache *)sv_process_state(sv_call_process(call)))->answers;
}

/* Not SV_IDEMPOTENT: a request that is told twice would count twice. */
static const sv_method methods[] = {
    {.name = "limit_take",
     .request = &cache_limit_take_req_msg,
     .reply = &cache_limit_take_reply_msg,
     .handler = limit_take,
     .flags = SV_INLINE,
     .doc = "Takes from a counter of a rate limit and gives back to it."},
    {.name = "limit_look",
     .request = &cache_limit_look_req_msg,
     .reply = &cache_limit_look_reply_msg,
     .handler = limit_look,
     .flags = SV_INLINE | SV_IDEMPOTENT,
     .doc = "Shows a counter of a rate limit; its name is the partition key too."},
    {.name = "budget_reserve",
     .request = &cache_budget_req_msg,
     .reply = &cache_budget_reply_msg,
     .handler = cache_budget_reserve,
     .flags = SV_INLINE,
     .doc = "Takes what a router has used of budgets and grants it more; the first instance."},
    {.name = "budget_settle",
     .request = &cache_budget_req_msg,
     .reply = &cache_budget_reply_msg,
     .handler = cache_budget_settle,
     .flags = SV_INLINE,
     .doc = "The same without a grant: for what is given back."},
    {.name = "budget_look",
     .request = &cache_budget_look_req_msg,
     .reply = &cache_budget_look_reply_msg,
     .handler = cache_budget_look,
     .flags = SV_INLINE | SV_IDEMPOTENT,
     .doc = "What was used of budgets; the first instance."},
    {.name = "complete",
     .request = &cache_complete_req_msg,
     .reply = &router_complete_head_msg,
     .handler = cache_complete,
     .flags = SV_INLINE,
     .max_request = CACHE_BODY_BYTES + (64 << 10),
     .doc = "One request to a model, answered from the cache or passed on to router.complete."},
    {.name = "stats",
     .request = &cache_look_req_msg,
     .reply = &cache_stats_reply_msg,
     .handler = cache_stats,
     .flags = SV_IDEMPOTENT,
     .doc = "What the response cache of all instances has and did."},
    {.name = "entries",
     .request = &cache_look_req_msg,
     .reply = &cache_entries_reply_msg,
     .handler = cache_entries,
     .flags = SV_IDEMPOTENT,
     .doc = "Kept answers of all instances, most used first, without their words."},
    {.name = "invalidate",
     .request = &cache_invalidate_req_msg,
     .reply = &cache_invalidate_reply_msg,
     .handler = cache_invalidate,
     .flags = SV_IDEMPOTENT,
     .doc = "Forgets kept answers, in all instances."},
};

const sv_actor cache_actor = {
    .name = "cache",
    .version = SAMOVAR_VERSION,
    .doc = "counters of rate limits, budgets, answers of models",
    .methods = methods,
    .n_methods = sizeof methods / sizeof *methods,
    .slots = SLOTS,
    .store = &cache_schema,
    .init = init,
    .tick = tick,
    .tick_ms = TICK_MS,
    .stop = stop,
};
