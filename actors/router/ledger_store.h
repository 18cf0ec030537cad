/*  ledger_store.h - the usage ledger as it lies in the store: rows, sums, days, and the functions
 *  that read and write them.
 *
 *  Three tables. `rows` has one row an attempt; they expire by whole days (UTC, by the attempt's
 *  start). `sums` adds the attempts of a day up, one row for each combination of organization, key,
 *  user, model and provider that occurred: a cube. One table for each dimension would be smaller to
 *  read, but every attempt would then change five or six rows instead of one, and no report could
 *  filter by one dimension and group by another; the cube has few rows more, since an organization
 *  uses few models. Sums stay for good. `days` has one row for each day whose attempts are kept. It
 *  expires at the same moment as they, and before them, since its name sorts first: as long as it
 *  is there, none of the day's rows has gone, so the sums can be rebuilt.
 *
 *  Every attempt is in the sums of its day exactly once: a row that is there already changes
 *  nothing. Numbers stop at LEDGER_MOST instead of overflowing.
 *
 *  Thread: store_fns where the store runs them; the rest any.
 *  Ownership: pieces live in the arena of the store_op. */
#ifndef ROUTER_LEDGER_STORE_H
#define ROUTER_LEDGER_STORE_H

#include "date.h"
#include "store.h"
#include "sv_limits.h"

#define SV_MESSAGES_FILE "ledger_rows.def"
#include "message_structs.h"
#undef SV_MESSAGES_FILE

#define LEDGER_MOST 9007199254740991 /* 2^53 - 1: exact in JSON everywhere */

enum { LEDGER_CELL = 16, LEDGER_PIECE = 512 };

extern const sv_message ledger_row_msg, ledger_sum_msg, ledger_day_msg;
extern const store_table ledger_rows, ledger_sums, ledger_days;
/* What rank.h and insight_store.h keep in the same environment. */
extern const sv_message rank_row_msg, decision_row_msg, feedback_row_msg, vote_row_msg,
    rated_row_msg, learned_row_msg;
extern const store_table rank_rows, decision_rows, feedback_rows, vote_rows, rated_rows,
    learned_rows;
extern const store_schema ledger_schema;

/* a + b for values of 0..LEDGER_MOST. */
int64_t ledger_plus(int64_t a, int64_t b);
/* The sums' numbers, in the order of their declaration, for code that treats them alike. */
enum { LEDGER_NUMBERS = 16 };
extern const sv_field *const ledger_numbers;
int64_t ledger_number(const ledger_sum *s, int i);
void ledger_number_set(ledger_sum *s, int i, int64_t value);
/* The sum that a row belongs to: day and names, borrowed from the row; no numbers. */
ledger_sum ledger_sum_of(const ledger_row *row);
void ledger_sum_add(ledger_sum *to, const ledger_row *row);
/* Sets s->cell from its names; the bytes go to `cell`. */
void ledger_sum_key(ledger_sum *s, uint8_t cell[LEDGER_CELL]);
/* The first and the last attempt id that a day can have. */
void ledger_day_ids(int64_t day, sv_id *ret_low, sv_id *ret_high);
/* A name for several: no two lists of names give the same bytes to hash. */
void ledger_cell_of(const sv_str *names, int n, uint8_t cell[LEDGER_CELL]);

/* ---- a map of sums by day and names ---- */

typedef struct ledger_cell {
    ledger_sum sum;           /* names are copies in the arena */
    struct ledger_cell *next; /* in order of arrival */
    /* of a check: what the table holds, as of that batch of the day; batch -1: nothing */
    ledger_sum stored;
    int64_t batch;
} ledger_cell;

typedef struct ledger_cells {
    arena *mem; /* everything lies here */
    ledger_cell **slots, *first, **last;
    size_t n, cap;
} ledger_cells;

void ledger_cells_init(ledger_cells *m, arena *mem);
/* The cell of that day and those names, made when it is not there. NULL: no memory. */
ledger_cell *ledger_cells_get(ledger_cells *m, const ledger_sum *like);

/* ---- writing ---- */

typedef void ledger_done(void *arg, int code, const sv_error *err);

/* A row in a list, made by ledger.c. `next` of a batch's last one is not looked at. */
typedef struct ledger_item {
    struct ledger_item *next;
    ledger_row row;
    uint64_t since_us;
    ledger_done *done; /* strict durability: who waits; NULL: nobody */
    void *arg;
    char text[]; /* of the row */
} ledger_item;

typedef struct ledger_batch {
    const ledger_item *first;
    uint32_t n;
    int64_t keep_days;
} ledger_batch;

/* store_fn, in: ledger_batch, out: uint32_t, how many of them were new. */
int ledger_write(store_tx *tx, const void *in, void *out);

typedef struct ledger_repair {
    const ledger_cell *first; /* cells whose sum is not what is stored */
    uint32_t n;               /* looked at, at most */
} ledger_repair;

/* store_fn, in: ledger_repair, out: uint32_t, sums changed. Adds the difference between `sum` and
 * `stored` to what the table holds now, so that attempts that came since then stay counted. */
int ledger_mend(store_tx *tx, const void *in, void *out);

/* ---- reading, in pieces of LEDGER_PIECE rows ---- */

typedef struct ledger_from {
    int64_t first_day, last_day;
    sv_str after; /* a position; empty: from the start */
} ledger_from;

typedef struct ledger_piece {
    union {
        ledger_sum *sums;
        ledger_row *rows;
        rank_row *ranks;
    } of;
    sv_str *at; /* the position behind each */
    uint32_t n;
    ledger_day mark; /* of the first day; day -1: there is none */
    bool done;       /* nothing lies behind the last one */
} ledger_piece;

/* store_fns, in: ledger_from, out: ledger_piece. */
int ledger_sums_some(store_tx *tx, const void *in, void *out);
int ledger_rows_some(store_tx *tx, const void *in, void *out);
int ledger_ranks_some(store_tx *tx, const void *in, void *out);
/* store_fn, in: ledger_from, out: int64_t, the first day from first_day to last_day that has sums or
 * a mark; -1: none. */
int ledger_next_day(store_tx *tx, const void *in, void *out);

#endif
