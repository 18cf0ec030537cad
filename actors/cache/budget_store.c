/*  budget_store.c - see budget_store.h. Requests are answered from memory; a counter's first one reads
 *  its rows, here and now. */
#include "budget_store.h"

#include "budget_core.h"
#include "cache.h"
#include "error.h"
#include "log.h"
#include "metrics.h"
#include "uuid.h"

#include <stdlib.h>

enum { READ_ARENA = 65536, RETRY_MS = 500 };

struct budget_owner {
    sv_process *process;
    budget_core *core;
    budget_core_stats told;
    loop_timer timer;
    bool writing, failing, due;
    uint32_t lasts;     /* batches that the end of the process has begun, and itself */
    budget_batch batch; /* of the write under way */
    arena arena;
};

const store_table cache_budget_counters = {
    .name = "budget_counters", .row = &budget_counter_row_msg, .key = "name"};
const store_table cache_budget_clients = {.name = "budget_clients",
                                          .row = &budget_client_row_msg,
                                          .key = "name,client",
                                          .expires = "expires"};
const store_table cache_budget_marks = {
    .name = "budget_mark", .row = &budget_mark_row_msg, .key = "id"};

/* ---- reading ---- */

static int read_counter(store_tx *tx, const void *in, void *out)
{
    (void)in;
    return store_get(tx, &cache_budget_counters, out);
}

static int read_client(store_tx *tx, const void *in, void *out)
{
    (void)in;
    return store_get(tx, &cache_budget_clients, out);
}

static int read_mark(store_tx *tx, const void *in, void *out)
{
    (void)in;
    return store_get(tx, &cache_budget_marks, out);
}

static int view(budget_owner *o, store_fn *fn, void *row)
{
    store *s = sv_store(o->process);
    store_op op = {.fn = fn, .out = row, .arena = &o->arena, .owner = "cache.budget_reserve"};
    int rc = s ? store_view(s, &op) : SV_E_DRAINING;
    arena_reset(&o->arena);
    return rc;
}

static int load_counter(void *arg, budget_counter_row *row)
{
    return view(arg, read_counter, row);
}

static int load_client(void *arg, budget_client_row *row)
{
    return view(arg, read_client, row);
}

/* ---- writing ---- */

static int write_batch(store_tx *tx, const void *in, void *out)
{
    const budget_batch *b = in;
    int rc = 0;
    (void)out;
    for (uint32_t i = 0; rc == 0 && i < b->n_counters; i++)
        rc = store_put(tx, &cache_budget_counters, &b->counters[i]);
    for (uint32_t i = 0; rc == 0 && i < b->n_clients; i++)
        rc = store_put(tx, &cache_budget_clients, &b->clients[i]);
    return rc;
}

static void on_time(void *arg);

static void later(budget_owner *o, uint32_t ms)
{
    if (o->due) return;
    o->due = loop_timer_set(sv_loop(o->process), &o->timer, (uint64_t)ms * 1000, on_time, o) == 0;
}

static void written(void *arg, int code, const sv_error *err)
{
    budget_owner *o = arg;
    o->writing = false;
    if (code && !o->failing)
        log_write(LOG_ERROR, "what budgets have used cannot be written", LOG_ERR(err));
    if (code == 0 && o->failing) log_write(LOG_INFO, "budgets are written again");
    o->failing = code != 0;
    budget_core_written(o->core, &o->batch, code == 0);
    if (budget_core_dirty(o->core)) later(o, code ? RETRY_MS : 1);
}

static int64_t unix_ms(const budget_owner *o)
{
    return (int64_t)(loop_unix_us(sv_loop(o->process)) / 1000);
}

static void on_time(void *arg)
{
    budget_owner *o = arg;
    o->due = false;
    if (o->writing || !budget_core_batch(o->core, unix_ms(o), &o->batch)) return;
    o->writing = true;
    int rc =
        sv_store_write(o->process, "cache.budget_settle", write_batch, &o->batch, NULL, written, o);
    if (rc) written(o, rc, &(sv_error){.code = rc});
}

/* ---- life ---- */

static int put_mark(store_tx *tx, const void *in, void *out)
{
    (void)in;
    (void)out;
    return store_put(tx, &cache_budget_marks, &(budget_mark_row){.id = 0});
}

/* From here on an owner that starts knows that it is an heir; before, nothing was granted. */
static void marked(void *arg, int code, const sv_error *err)
{
    budget_owner *o = arg;
    if (code)
        log_write(LOG_WARN, "the start of budgets cannot be written", LOG_ERR(err));
    else
        budget_core_first(o->core);
}

int budgets_start(sv_process *p, budget_owner **ret, sv_error *err)
{
    budget_owner *o = calloc(1, sizeof *o);
    uint32_t epoch;
    int rc;
    budget_mark_row mark = {.id = 0};
    if (o == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    o->process = p;
    arena_init(&o->arena, READ_ARENA);
    uuid_random(&epoch, sizeof epoch);
    budget_core_options options = {.counters =
                                       (uint32_t)config_int(sv_config(p), "cache.budget_counters"),
                                   .epoch = (int64_t)epoch + 1,
                                   .heir = true,
                                   .load_counter = load_counter,
                                   .load_client = load_client,
                                   .arg = o};
    o->core = budget_core_new(&options);
    if (o->core == NULL) {
        arena_free(&o->arena);
        free(o);
        return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    }
    if (view(o, read_mark, &mark) == SV_E_NOT_FOUND &&
        (rc = sv_store_write(p, "cache.budget_mark", put_mark, NULL, NULL, marked, o)))
        log_write(LOG_WARN, "the start of budgets cannot be written", LOG_INT("code", rc));
    *ret = o;
    return 0;
}

void budgets_tick(budget_owner *o)
{
    budget_core_tick(o->core, loop_now_us(sv_loop(o->process)) / 1000);
    budget_core_stats s = budget_core_look_stats(o->core);
    metric_set(metric_one(M_BUDGET_COUNTERS), s.counters);
    metric_add(metric_get(M_BUDGET_ASKS, (const char *const[]){"granted"}),
               s.granted - o->told.granted);
    metric_add(metric_get(M_BUDGET_ASKS, (const char *const[]){"refused"}),
               s.refused - o->told.refused);
    o->told = s;
    if (!o->writing && budget_core_dirty(o->core)) on_time(o);
}

/* What is handed over by the end of the process: the owner goes with the last of it. */
typedef struct last_batch {
    budget_owner *owner;
    budget_batch batch;
} last_batch;

static void drop(budget_owner *o)
{
    if (--o->lasts > 0) return;
    budget_core_free(o->core);
    arena_free(&o->arena);
    free(o);
}

static void last_written(void *arg, int code, const sv_error *err)
{
    last_batch *b = arg;
    budget_owner *o = b->owner;
    if (code) log_write(LOG_ERROR, "what budgets have used cannot be written", LOG_ERR(err));
    free(b);
    drop(o);
}

void budgets_stop(budget_owner *o)
{
    loop_timer_stop(sv_loop(o->process), &o->timer);
    o->lasts = 1;
    while (budget_core_dirty(o->core)) {
        last_batch *b = malloc(sizeof *b);
        if (b == NULL || !budget_core_batch(o->core, unix_ms(o), &b->batch)) {
            free(b);
            break;
        }
        b->owner = o;
        o->lasts++;
        int rc = sv_store_write(o->process, "cache.budget_settle", write_batch, &b->batch, NULL,
                                last_written, b);
        if (rc) last_written(b, rc, &(sv_error){.code = rc});
    }
    drop(o);
}

/* ---- methods ---- */

static int owner_of(sv_call *call, budget_owner **ret)
{
    const cache *c = sv_process_state(sv_call_process(call));
    *ret = c->budgets;
    if (sv_instance(sv_call_process(call)) == 1) return 0;
    return sv_fail(sv_call_error(call), SV_E_NO_SERVICE, NULL,
                   "Budgets belong to the first instance: call cache/1.");
}

static uint64_t now_ms(const budget_owner *o)
{
    return loop_now_us(sv_loop(o->process)) / 1000;
}

static int reserve(sv_call *call, const void *request, bool grant)
{
    budget_owner *o;
    cache_budget_grant grants[BUDGET_ITEMS];
    cache_budget_reply reply;
    int rc = owner_of(call, &o);
    if (rc) return rc;
    rc = budget_core_reserve(o->core, now_ms(o), unix_ms(o), request, grant, grants, &reply,
                             sv_call_error(call));
    if (!o->writing && budget_core_dirty(o->core)) later(o, BUDGET_WAIT_MS);
    return rc ? rc : sv_reply(call, &reply);
}

int cache_budget_reserve(sv_call *call, const void *request)
{
    return reserve(call, request, true);
}

int cache_budget_settle(sv_call *call, const void *request)
{
    return reserve(call, request, false);
}

int cache_budget_look(sv_call *call, const void *request)
{
    budget_owner *o;
    cache_budget_used used[BUDGET_LOOK];
    cache_budget_look_reply reply;
    int rc = owner_of(call, &o);
    if (rc == 0)
        rc = budget_core_look(o->core, now_ms(o), unix_ms(o), request, used, &reply,
                              sv_call_error(call));
    return rc ? rc : sv_reply(call, &reply);
}
