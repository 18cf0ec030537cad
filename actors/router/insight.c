/*  insight.c - one write at a time: a batch is taken off the queue and given back when it failed. */
#include "insight.h"

#include "error.h"
#include "log.h"
#include "metrics.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TRIES = 6, PAUSE_MS = 250, SMALLER = 4 };

static const char owner[] = "router.insight";

static void flush(void *arg);

static uint64_t unix_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void lose(uint32_t records, const char *why)
{
    metric_add(metric_one(M_DECISIONS_LOST), records);
    log_write(LOG_WARN, "decisions are lost", LOG_INT("decisions", records),
              LOG_STR("reason", why));
}

/* ---- the queue ---- */

/* A decision that comes while something learned waits makes the timer fire sooner. */
static void schedule(insight *n)
{
    loop *l = sv_loop(n->process);
    uint64_t now_us = loop_now_us(l), due_us = now_us + INSIGHT_WAIT_MS * 1000;
    if (n->flying || (n->n == 0 && n->learned_us == 0)) return;
    if (n->n == 0) due_us = n->learned_us + INSIGHT_LEARN_MS * 1000;
    if (n->draining) due_us = now_us;
    if (n->failures) due_us = now_us + ((uint64_t)PAUSE_MS * 1000 << n->failures);
    if (n->timer.slot && due_us >= n->due_us) return;
    loop_timer_stop(l, &n->timer);
    n->due_us = due_us;
    if (loop_timer_set(l, &n->timer, due_us > now_us ? due_us - now_us : 0, flush, n))
        log_write(LOG_ERROR, "no memory for a timer");
}

/* Large records have few attempts and many candidates: those at the end are left out. */
static int encode(const router_decision_reply *record, buf *out)
{
    router_decision_reply smaller = *record;
    for (int i = 0; i < SMALLER; i++, smaller.candidates.n /= 2) {
        buf_reset(out, out->cap);
        int rc = message_encode(&router_decision_reply_msg, &smaller, out);
        if (rc == 0 || rc == SV_E_NO_MEMORY) return rc;
    }
    return SV_E_TOO_LARGE;
}

static void keep(void *arg, const sv_id *id, const router_decision_reply *record)
{
    insight *n = arg;
    buf text;
    if (n->n >= INSIGHT_QUEUE) {
        lose(1, "too many wait for the store");
        return;
    }
    buf_init(&text, INSIGHT_RECORD);
    int rc = encode(record, &text);
    kept_decision *k = rc ? NULL : malloc(sizeof *k + text.n);
    if (k) {
        *k = (kept_decision){.id = *id,
                             .n = (uint32_t)text.n,
                             .expires_ms = record->at + n->keep_days * DATE_DAY_MS};
        memcpy(k->bytes, text.p, text.n);
        *n->tail = k;
        n->tail = &k->next;
        n->n++;
        schedule(n);
    } else {
        lose(1, sv_error_lookup(rc ? rc : SV_E_NO_MEMORY)->text);
    }
    buf_free(&text);
}

void insight_outcome(insight *n, model_task task, const char *who, const char *which, bool good)
{
    learn_outcome(n->learn, task, who, sv_cstr(which), good, unix_ms());
    if (sv_store(n->process) == NULL || n->learned_us) return;
    n->learned_us = loop_now_us(sv_loop(n->process));
    schedule(n);
}

/* ---- writing ---- */

static void take_learnings(insight *n, insight_batch *b)
{
    learn_saved s;
    while (b->n_learnings < INSIGHT_PIECE && learn_take(n->learn, &s)) {
        kept_learning *k = &b->learnings[b->n_learnings];
        if (strlen(s.provider) >= sizeof k->provider || s.model.n >= sizeof k->model) continue;
        *k = (kept_learning){.task = s.task, .good = s.good, .n = s.n, .at_ms = s.at_ms};
        strcpy(k->provider, s.provider);
        if (s.model.n) memcpy(k->model, s.model.p, s.model.n);
        b->n_learnings++;
    }
    /* a full batch leaves the rest for the next one */
    n->learned_us = b->n_learnings == INSIGHT_PIECE ? loop_now_us(sv_loop(n->process)) : 0;
}

static insight_batch *take_batch(insight *n)
{
    insight_batch *b = calloc(1, sizeof *b);
    if (b == NULL) return NULL;
    b->first = n->head;
    while (n->head && b->n_decisions < INSIGHT_PIECE) {
        n->head = n->head->next;
        b->n_decisions++;
    }
    if (n->head == NULL) n->tail = &n->head;
    n->n -= b->n_decisions;
    take_learnings(n, b);
    return b;
}

/* Decisions go back to where they were, before those that came since. */
static void give_back(insight *n, insight_batch *b)
{
    if (b->n_decisions) {
        kept_decision *last = b->first;
        for (uint32_t i = 1; i < b->n_decisions; i++)
            last = last->next;
        last->next = n->head;
        if (n->head == NULL) n->tail = &last->next;
        n->head = b->first;
        n->n += b->n_decisions;
    }
    for (uint32_t i = 0; i < b->n_learnings; i++) {
        const kept_learning *k = &b->learnings[i];
        learn_not_saved(
            n->learn,
            &(learn_saved){.task = k->task, .provider = k->provider, .model = sv_cstr(k->model)});
        n->learned_us = loop_now_us(sv_loop(n->process));
    }
    b->first = NULL;
    b->n_decisions = 0;
    insight_batch_free(b);
}

static void written(void *arg, int code, const sv_error *err)
{
    insight *n = arg;
    insight_batch *b = n->flying;
    n->flying = NULL;
    if (code == 0) {
        n->failures = 0;
        insight_batch_free(b);
    } else {
        if (n->failures == 0)
            log_write(LOG_WARN, "decisions cannot be written",
                      LOG_STR("code", sv_error_lookup(code)->name),
                      LOG_STR("reason", err ? err->message : ""));
        if (++n->failures == TRIES) { /* it may be this batch */
            n->failures = 0;
            if (b->n_decisions) lose(b->n_decisions, sv_error_lookup(code)->text);
            insight_batch_free(b);
        } else {
            give_back(n, b);
        }
    }
    schedule(n);
}

static void flush(void *arg)
{
    insight *n = arg;
    if (n->flying) return;
    insight_batch *b = n->flying = take_batch(n);
    if (b == NULL) {
        n->failures += n->failures < TRIES - 1;
        schedule(n);
        return;
    }
    int rc = b->n_decisions + b->n_learnings == 0
                 ? 0
                 : sv_store_write(n->process, owner, insight_write, b, NULL, written, n);
    if (rc || b->n_decisions + b->n_learnings == 0) written(n, rc, NULL);
}

/* ---- life ---- */

static int load_some(insight *n, insight_piece *p, sv_error *err)
{
    arena a;
    arena_init(&a, 16 << 20);
    store_op op = {.fn = insight_load, .in = p, .out = p, .arena = &a, .owner = owner};
    int rc = store_view(sv_store(n->process), &op);
    if (rc) *err = op.error;
    arena_free(&a);
    for (uint32_t i = 0; rc == 0 && i < p->n; i++) {
        const kept_learning *k = &p->items[i];
        if (p->ratings)
            learn_ratings(n->learn, k->task, k->provider, sv_cstr(k->model), k->good, k->n,
                          k->at_ms);
        else
            learn_load(n->learn, &(learn_saved){.task = k->task,
                                                .provider = k->provider,
                                                .model = sv_cstr(k->model),
                                                .good = k->good,
                                                .n = k->n,
                                                .at_ms = k->at_ms});
    }
    return rc;
}

static void load(insight *n)
{
    insight_piece *p = malloc(sizeof *p);
    sv_error err = {.code = 0};
    int rc = p ? 0 : SV_E_NO_MEMORY;
    for (int ratings = 0; rc == 0 && ratings < 2; ratings++) {
        p->ratings = ratings;
        p->after = (sv_str){NULL, 0};
        p->done = false;
        for (uint32_t rows = 0; rc == 0 && !p->done && rows < LEARN_MOST; rows += INSIGHT_PIECE)
            rc = load_some(n, p, &err);
    }
    free(p);
    if (rc)
        log_write(LOG_WARN, "what was learned cannot be read; learning begins anew",
                  LOG_STR("code", sv_error_lookup(rc)->name), LOG_STR("reason", err.message));
}

int insight_start(insight *n, sv_process *p, sv_error *err)
{
    static const char *const words[] = {"some", "all", "none"};
    const config *c = sv_config(p);
    const char *which = config_str(c, "router.keep_decisions");
    decision_keep mode = DECISIONS_SOME;
    *n = (insight){.process = p, .keep_days = config_int(c, "router.decision_days")};
    n->tail = &n->head;
    for (int i = 0; i < 3; i++)
        if (strcmp(which, words[i]) == 0) mode = (decision_keep)i;
    bool kept = sv_store(p) != NULL;
    n->learn = learn_new(config_bool(c, "router.learn"));
    n->decisions =
        decisions_new((uint32_t)config_int(c, "router.decisions"), mode, kept ? keep : NULL, n);
    if (n->learn == NULL || n->decisions == NULL) {
        insight_free(n);
        return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    }
    if (kept && config_bool(c, "router.learn")) load(n);
    return 0;
}

void insight_drain(insight *n)
{
    n->draining = true;
    if (n->flying || n->process == NULL) return;
    loop_timer_stop(sv_loop(n->process), &n->timer);
    schedule(n);
}

static void left_over(void *arg, int code, const sv_error *err)
{
    insight_batch *b = arg;
    (void)err;
    if (code && b->n_decisions) lose(b->n_decisions, sv_error_lookup(code)->text);
    insight_batch_free(b);
}

void insight_free(insight *n)
{
    if (n->process == NULL) return;
    loop_timer_stop(sv_loop(n->process), &n->timer);
    assert(n->flying == NULL); /* the runtime has delivered what was begun */
    while (n->learn && (n->n || n->learned_us)) {
        insight_batch *b = take_batch(n);
        int rc = b ? sv_store_write(n->process, owner, insight_write, b, NULL, left_over, b)
                   : SV_E_NO_MEMORY;
        if (rc && b) left_over(b, rc, NULL);
        if (b == NULL) break;
    }
    for (kept_decision *next; n->head; n->head = next) {
        next = n->head->next;
        free(n->head);
    }
    decisions_free(n->decisions);
    learn_free(n->learn);
    *n = (insight){.n = 0};
}
