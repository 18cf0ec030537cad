/*  ledger.c - a list of rows whose beginning is being written.
 *
 *  The writer's thread reads the first `flying` rows while the loop appends behind them: it never
 *  looks at the `next` of the last one, the only field of theirs that the loop may set meanwhile.
 *  Rows leave the list when their write has come back; a row is written again after a write that
 *  failed, which changes nothing if it was there after all (ledger_write).
 *
 *  One timer does everything that is not at once: the 20 ms of relaxed mode, the end of the turn of
 *  strict mode (no time at all), the pause after a failure. */
#include "ledger.h"

#include "error.h"
#include "log.h"
#include "metrics.h"
#include "ticket.h"
#include "uuid.h"

#include <assert.h>
#include <stdlib.h>

enum { PAUSE_FIRST_MS = 50, PAUSE_MOST_MS = 1000 };

static const char owner[] = "router.ledger";

static void flush(void *arg);

/* ---- the queue ---- */

static void show_length(const ledger *l)
{
    metric_set(metric_one(M_LEDGER_QUEUE), l->n);
}

static void lose(uint32_t rows, const char *why)
{
    metric_add(metric_one(M_LEDGER_LOST), rows);
    log_write(LOG_ERROR, "usage rows are lost", LOG_INT("rows", rows), LOG_STR("reason", why));
}

/* The text fields of a row, for copying. */
static bool is_text(const sv_field *f)
{
    return f->type == SV_T_STR || f->type == SV_T_BIN;
}

static ledger_item *item_new(const ledger_row *row, uint64_t now_us)
{
    const sv_message *m = &ledger_row_msg;
    size_t bytes = 0;
    for (size_t i = 0; i < m->n; i++)
        if (is_text(&m->fields[i]))
            bytes += ((const sv_str *)((const char *)row + m->fields[i].offset))->n;
    ledger_item *item = malloc(sizeof *item + bytes);
    if (item == NULL) return NULL;
    *item = (ledger_item){.row = *row, .since_us = now_us};
    char *to = item->text;
    for (size_t i = 0; i < m->n; i++) {
        if (!is_text(&m->fields[i])) continue;
        sv_str *s = (sv_str *)((char *)&item->row + m->fields[i].offset);
        if (s->n) memcpy(to, s->p, s->n);
        s->p = s->n ? to : NULL; /* an empty text is stored as an absent one */
        to += s->n;
    }
    return item;
}

/* Tells and forgets who waits for the first n rows. */
static void tell(ledger *l, uint32_t n, int code, const sv_error *err)
{
    for (ledger_item *i = l->head; n > 0; i = --n ? i->next : NULL) {
        ledger_done *done = i->done;
        i->done = NULL;
        if (done) done(i->arg, code, err);
    }
}

static void drop_first(ledger *l, uint32_t n)
{
    for (; n > 0 && l->head; n--, l->n--) {
        ledger_item *item = l->head;
        l->head = item->next;
        if (l->head == NULL) l->tail = &l->head;
        free(item);
    }
    show_length(l);
    if (l->n == 0) sv_hold(l->process, -1);
}

/* ---- writing ---- */

/* Sets the timer for the row that has waited longest. */
static void schedule(ledger *l)
{
    loop *lp = sv_loop(l->process);
    uint64_t now_us = loop_now_us(lp), due_us = l->head->since_us + LEDGER_WAIT_MS * 1000;
    bool now = l->strict || l->hurry || l->n >= l->at_once || due_us <= now_us;
    uint64_t us = l->failure ? (uint64_t)l->pause_ms * 1000 : now ? 0 : due_us - now_us;
    if (loop_timer_set(lp, &l->timer, us, flush, l))
        log_write(LOG_ERROR, "no memory for the ledger's timer");
}

/* Will the same write go wrong again, however long one waits? */
static bool lasting(int code)
{
    switch (code) {
    case SV_E_STORE_FULL:
    case SV_E_STORE_IO:
    case SV_E_OVERLOADED:
    case SV_E_NO_MEMORY:
    case SV_E_DEADLINE:
    case SV_E_CANCELLED:
    case SV_E_DRAINING: return false;
    default: return true;
    }
}

static void note_failure(ledger *l, int code, const sv_error *err)
{
    if (l->failure == 0)
        log_write(LOG_ERROR, "usage rows cannot be written; they are kept and tried again",
                  LOG_STR("code", sv_error_lookup(code)->name),
                  LOG_STR("reason", err ? err->message : ""),
                  LOG_STR("detail", err ? err->detail : ""), LOG_INT("waiting", l->n));
    l->failure = code;
    l->why = (sv_error){0};
    if (err) l->why = *err;
    if (l->why.code == 0) sv_fail(&l->why, code, NULL, NULL);
    if (l->why.retry_after_ms == 0) l->why.retry_after_ms = PAUSE_MOST_MS;
    l->pause_ms = l->pause_ms ? 2 * l->pause_ms : PAUSE_FIRST_MS;
    if (l->pause_ms > PAUSE_MOST_MS) l->pause_ms = PAUSE_MOST_MS;
}

static void failed(ledger *l, int code, const sv_error *err)
{
    uint32_t n = l->batch.n;
    note_failure(l, code, err);
    show_length(l);
    if ((lasting(code) || code == SV_E_NO_MEMORY) && n > 1) l->at_once = n / 2;
    tell(l, n, code, &l->why);
    if (lasting(code) && n == 1) {
        lose(1, l->why.message);
        drop_first(l, 1);
    }
    if (l->n) schedule(l);
}

static void written(void *arg, int code, const sv_error *err)
{
    ledger *l = arg;
    l->flying = 0;
    if (code) {
        failed(l, code, err);
        return;
    }
    if (l->failure)
        log_write(LOG_INFO, "usage rows are written again", LOG_INT("waiting", l->n - l->batch.n));
    l->failure = 0;
    l->pause_ms = 0;
    if (l->at_once < LEDGER_BATCH) l->at_once *= 2;
    tell(l, l->batch.n, 0, NULL);
    drop_first(l, l->batch.n);
    if (l->n) schedule(l);
}

static void flush(void *arg)
{
    ledger *l = arg;
    if (l->flying || l->n == 0) return;
    l->flying = l->n < l->at_once ? l->n : l->at_once;
    l->batch = (ledger_batch){l->head, l->flying, l->keep_days};
    int rc = sv_store_write(l->process, owner, ledger_write, &l->batch, &l->added, written, l);
    if (rc) written(l, rc, NULL);
}

/* ---- life ---- */

void ledger_start(ledger *l, sv_process *p)
{
    const config *c = sv_config(p);
    *l = (ledger){.process = p, .at_once = LEDGER_BATCH};
    l->tail = &l->head;
    if (sv_store(p) == NULL) return;
    if (ledger_names_init(&l->names))
        log_write(LOG_WARN, "no memory for the names of models that no provider lists");
    l->strict = strcmp(config_str(c, "ledger.durability"), "strict") == 0;
    l->keep_days = config_int(c, "ledger.keep_days");
    l->most = (uint32_t)config_int(c, "ledger.queue_rows");
}

/* A write that outlives its ledger. */
typedef struct leftover {
    ledger_batch batch;
    ledger_item *items;
    uint32_t added;
} leftover;

static void leftover_done(void *arg, int code, const sv_error *err)
{
    leftover *f = arg;
    if (code) lose(f->batch.n, err && err->message[0] ? err->message : sv_error_lookup(code)->text);
    for (uint32_t n = f->batch.n; n > 0; n--) {
        ledger_item *item = f->items;
        if (n > 1) f->items = item->next;
        free(item);
    }
    free(f);
}

static void leave(ledger *l, uint32_t n)
{
    leftover *f = calloc(1, sizeof *f);
    int rc = f ? 0 : SV_E_NO_MEMORY;
    if (rc == 0) {
        *f = (leftover){{l->head, n, l->keep_days}, l->head, 0};
        rc =
            sv_store_write(l->process, owner, ledger_write, &f->batch, &f->added, leftover_done, f);
    }
    if (rc) {
        free(f);
        lose(n, sv_error_lookup(rc)->text);
        drop_first(l, n);
        return;
    }
    for (l->n -= n; n > 0; n--)
        l->head = l->head->next;
    if (l->n == 0) sv_hold(l->process, -1);
}

void ledger_free(ledger *l)
{
    if (l->process == NULL) return;
    loop_timer_stop(sv_loop(l->process), &l->timer);
    assert(l->flying == 0); /* the runtime has delivered what was begun */
    while (l->n > 0)
        leave(l, l->n < l->at_once ? l->n : l->at_once);
    ledger_names_free(&l->names);
    *l = (ledger){0};
}

void ledger_drain(ledger *l)
{
    l->hurry = true;
    if (l->n > 0 && l->flying == 0) schedule(l);
}

/* ---- rows ---- */

int ledger_ready(const ledger *l, sv_error *err)
{
    if (!l->strict || l->n == 0) return 0;
    if (l->failure) {
        if (err && err->code == 0) *err = l->why;
        return l->failure;
    }
    if (l->n < l->most) return 0;
    sv_fail(err, SV_E_OVERLOADED, NULL, "Too many usage rows wait to be written.");
    if (err) err->retry_after_ms = PAUSE_MOST_MS;
    return SV_E_OVERLOADED;
}

/* A name that the client can make up, and that would have a sum. */
static bool is_free(const ledger_row *row)
{
    return row->listed ? row->own : sv_str_is(row->outcome, "ok");
}

static int64_t time_of(const sv_id *id)
{
    int64_t ms = 0;
    for (int i = 0; i < 6; i++)
        ms = ms << 8 | id->b[i];
    return ms;
}

ledger_row ledger_row_of(const sv_call *call, const sv_id *attempt)
{
    ticket who;
    sv_str bytes = sv_call_ticket(call); /* the broker has verified it */
    ledger_row row = {.attempt = {(const char *)attempt->b, sizeof attempt->b},
                      .started = time_of(attempt),
                      .request = {(const char *)sv_call_id(call)->b, 16},
                      .trace = {(const char *)sv_call_trace(call)->trace_id, 16}};
    if (bytes.n && ticket_read(bytes, &who, NULL) == 0) {
        row.user = who.user;
        row.org = who.org;
        if (who.credential.n > 4 && memcmp(who.credential.p, "key/", 4) == 0)
            row.key = (sv_str){who.credential.p + 4, who.credential.n - 4};
    }
    return row;
}

/* Nobody may wait for a row that is not there. */
static int no_place(int code, const char *why, bool waits, sv_error *err)
{
    lose(1, why);
    if (!waits) return 0;
    sv_fail(err, code, NULL, NULL);
    if (err) err->retry_after_ms = PAUSE_MOST_MS;
    return code;
}

int ledger_add(ledger *l, const ledger_row *row, ledger_done *done, void *arg, ledger_item **wait,
               sv_error *err)
{
    bool waits = l->strict && done;
    *wait = NULL;
    if (l->most == 0) return 0;
    if (l->n >= l->most)
        return no_place(l->failure ? l->failure : SV_E_OVERLOADED, "the queue is full", waits, err);
    ledger_item *item = item_new(row, loop_now_us(sv_loop(l->process)));
    if (item == NULL) return no_place(SV_E_NO_MEMORY, "out of memory", waits, err);
    item->row.unnamed = is_free(row) && !ledger_names_fit(&l->names, date_of_ms(row->started),
                                                          row->org, row->provider, row->model);
    if (waits) {
        item->done = done;
        item->arg = arg;
        *wait = item;
    }
    *l->tail = item;
    l->tail = &item->next;
    if (l->n++ == 0) sv_hold(l->process, 1);
    bool full = l->n == l->at_once && l->failure == 0;
    if (l->flying == 0 && (l->timer.slot == 0 || full)) schedule(l);
    return 0;
}

void ledger_forget(ledger_item *wait)
{
    wait->done = NULL;
}
