/*  ledger.h - the usage ledger as the router sees it: attempts go into a queue in memory and from
 *  there to the store, many in one write.
 *
 *  relaxed: the answer does not wait. A row is written at most LEDGER_WAIT_MS after it came, one
 *  write at a time, each with all rows that wait (up to LEDGER_BATCH). strict: the write begins at
 *  the end of the loop's turn and whoever asks is told when it is on disk, or that it is not.
 *
 *  A write that fails leaves its rows in the queue; it is tried again after a pause. When the queue
 *  is full, new rows are lost: counted (samovar_ledger_rows_lost_total) and logged. A row that can
 *  never be written is found by halving the batch and lost alone.
 *
 *  Thread: the loop's.   Ownership: rows are copied. ledger_free hands what still waits to the
 *  store, which finishes it before it closes.
 *  Limits: ledger.queue_rows.   Errors: SV_E_STORE_FULL, SV_E_STORE_IO, SV_E_OVERLOADED,
 *  SV_E_NO_MEMORY. */
#ifndef ROUTER_LEDGER_H
#define ROUTER_LEDGER_H

#include "ledger_names.h"
#include "ledger_store.h"
#include "samovar.h"

enum { LEDGER_WAIT_MS = 20, LEDGER_BATCH = 1024 };

typedef struct ledger {
    sv_process *process;
    bool strict;
    int64_t keep_days;
    uint32_t most; /* rows in the queue; 0: nothing is kept */
    ledger_names names;
    /* rows in order of arrival; the first `flying` of them are being written */
    ledger_item *head, **tail;
    uint32_t n, flying;
    ledger_batch batch; /* of the last write */
    uint32_t added;
    uint32_t at_once; /* rows of the next batch, LEDGER_BATCH unless one failed for good */
    bool hurry;       /* draining: do not collect */
    loop_timer timer;
    int failure; /* of the last write, 0 when it went well */
    sv_error why;
    uint32_t pause_ms;
} ledger;

/* Zero is a valid ledger that keeps nothing; so is one of a process without a store. */
void ledger_start(ledger *l, sv_process *p);
void ledger_free(ledger *l);
/* From now on rows are written as soon as they come. */
void ledger_drain(ledger *l);

/* 0, or in strict mode, while rows cannot be written, why no provider should be called. */
int ledger_ready(const ledger *l, sv_error *err);
/* A row of an attempt made for `call`: id and start, request, trace, user and organization, borrowed
 * from both. */
ledger_row ledger_row_of(const sv_call *call, const sv_id *attempt);
/* Takes a row. *wait is NULL when there is nothing to wait for; else done(arg) comes in a later turn,
 * exactly once, unless ledger_forget(*wait) is called before. `done` NULL: nobody waits. An error
 * comes in strict mode only and to who would have waited: the row is lost. */
int ledger_add(ledger *l, const ledger_row *row, ledger_done *done, void *arg, ledger_item **wait,
               sv_error *err);
void ledger_forget(ledger_item *wait);

#endif
