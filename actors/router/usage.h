/*  usage.h - reports about the ledger, and its check: the same for a running router and for the
 *  environment of a stopped one.
 *  Thread: one at a time works on a report or a check; any thread.
 *  Ownership: what they answer lives in the arena that was handed in; the rest they own.
 *  Errors: SV_E_INVALID with the field for wrong words; those of store_view. */
#ifndef ROUTER_USAGE_H
#define ROUTER_USAGE_H

#include "ledger_store.h"
#include "samovar.h"

enum { USAGE_GROUPS = 256, USAGE_FIRST = 16 };

typedef struct usage_report {
    store *store;
    const router_usage_req *req; /* borrowed */
    int by;                      /* 0: everything in one row */
    ledger_from from;
    router_usage_row rows[USAGE_GROUPS];
    uint32_t n;
    size_t bytes; /* of the answer, at most */
    char position[LIMIT_STORE_KEY_BYTES];
    bool done;     /* nothing lies behind position */
    bool full;     /* the answer takes no more rows */
    arena *answer; /* names of the rows live here */
    arena piece;
    sv_error err;
} usage_report;

int usage_report_begin(usage_report *u, store *s, const router_usage_req *req, arena *answer);
/* One piece more; call it until `done` or `full`. Words of an error are in u->err. */
int usage_report_step(void *u);
router_usage_reply usage_report_reply(const usage_report *u);
void usage_report_free(usage_report *u);

/* Days of a request; empty: the first and the last there can be. */
int usage_days(sv_str from, sv_str to, int64_t *ret_first, int64_t *ret_last, sv_error *err);

/* What a check does next. */
typedef enum usage_phase { CHECK_DAY, CHECK_SUMS, CHECK_ROWS, CHECK_MEND, CHECK_DONE } usage_phase;

typedef struct usage_check {
    store *store;
    bool repair;
    int64_t first_day, last_day;
    usage_phase phase;
    ledger_from from; /* of the piece */
    char position[LIMIT_STORE_KEY_BYTES];
    int64_t oldest_batch; /* as of the first piece of sums */
    ledger_cells cells;
    arena memory, piece;
    ledger_repair mend; /* CHECK_MEND: run ledger_mend with this, then usage_check_mended */
    router_usage_check_reply reply;
    router_usage_difference *first; /* room for USAGE_FIRST */
    arena *answer;
    sv_error err;
} usage_check;

int usage_check_begin(usage_check *k, store *s, const router_usage_check_req *req, arena *answer);
/* One piece more, unless the phase is CHECK_MEND or CHECK_DONE. */
int usage_check_step(void *k);
void usage_check_mended(usage_check *k, uint32_t changed);
void usage_check_free(usage_check *k);

/* The same for a stopped router: sv_question.answer. */
int usage_answer(sv_offline *o, const void *request, void *reply);
int usage_check_answer(sv_offline *o, const void *request, void *reply);
bool usage_check_writes(const void *request);

#endif
