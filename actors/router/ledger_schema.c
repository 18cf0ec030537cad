/*  ledger_schema.c - the tables, and sums as values. */
#include "ledger_store.h"

#include "seal.h"
#include "uuid.h"

#include <assert.h>

#define SV_MESSAGES_FILE "ledger_rows.def"
#include "message_tables.h"
#undef SV_MESSAGES_FILE

const store_table ledger_rows = {
    .name = "rows", .row = &ledger_row_msg, .key = "attempt", .expires = "expires"};
const store_table ledger_sums = {.name = "sums", .row = &ledger_sum_msg, .key = "day,cell"};
const store_table ledger_days = {
    .name = "days", .row = &ledger_day_msg, .key = "day", .expires = "expires"};

const store_table rank_rows = {
    .name = "ranks", .row = &rank_row_msg, .key = "day,cell", .expires = "expires"};
const store_table decision_rows = {
    .name = "decisions", .row = &decision_row_msg, .key = "id", .expires = "expires"};
const store_table feedback_rows = {
    .name = "feedback", .row = &feedback_row_msg, .key = "decision", .expires = "expires"};
const store_table vote_rows = {
    .name = "votes", .row = &vote_row_msg, .key = "cell,voter", .expires = "expires"};
const store_table rated_rows = {
    .name = "rated", .row = &rated_row_msg, .key = "cell", .expires = "expires"};
const store_table learned_rows = {
    .name = "learned", .row = &learned_row_msg, .key = "cell", .expires = "expires"};

static const store_table *const tables[] = {&ledger_rows, &ledger_sums,   &ledger_days,
                                            &rank_rows,   &decision_rows, &feedback_rows,
                                            &vote_rows,   &rated_rows,    &learned_rows};

/* Rankings begin with the first attempt after it: older rows do not tell their task. The step is there
 * for the number: a program that does not know the new tables and fields is to keep away. */
static int begin_rankings(store_tx *tx, buf *position)
{
    (void)tx;
    (void)position;
    return 0;
}

static const store_migration migrations[] = {{2, "rankings, decisions, ratings", begin_rankings}};

const store_schema ledger_schema = {.service = "router",
                                    .version = 2,
                                    .tables = tables,
                                    .n_tables = sizeof tables / sizeof *tables,
                                    .migrations = migrations,
                                    .n_migrations = sizeof migrations / sizeof *migrations};

/* ---- numbers ---- */

enum { NAMES = 7 }; /* day, cell and the names come before the numbers */
_Static_assert(sizeof ledger_sum_fields / sizeof(sv_field) == NAMES + LEDGER_NUMBERS,
               "a field of ledger_sum is neither a name nor a number");

const sv_field *const ledger_numbers = ledger_sum_fields + NAMES;

int64_t ledger_plus(int64_t a, int64_t b)
{
    return a > LEDGER_MOST - b ? LEDGER_MOST : a + b;
}

int64_t ledger_number(const ledger_sum *s, int i)
{
    return *(const int64_t *)((const char *)s + ledger_numbers[i].offset);
}

void ledger_number_set(ledger_sum *s, int i, int64_t value)
{
    *(int64_t *)((char *)s + ledger_numbers[i].offset) = value;
}

/* ---- sums ---- */

/* A name that the provider does not list may be anything a client made up: its failures, and successes
 * beyond some (ledger_names.h), are summed without it, or the sums, which stay for good, could be grown
 * at will. */
ledger_sum ledger_sum_of(const ledger_row *row)
{
    bool named = !row->unnamed && (row->listed || sv_str_is(row->outcome, "ok"));
    return (ledger_sum){.day = date_of_ms(row->started),
                        .org = row->org,
                        .key = row->key,
                        .user = row->user,
                        .model = named ? row->model : (sv_str){NULL, 0},
                        .provider = row->provider};
}

static void add(int64_t *to, int64_t n)
{
    *to = ledger_plus(*to, n);
}

void ledger_sum_add(ledger_sum *to, const ledger_row *row)
{
    bool left = sv_str_is(row->outcome, "cancelled");
    add(&to->requests, 1);
    add(&to->errors, !left && !sv_str_is(row->outcome, "ok"));
    add(&to->cancelled, left);
    add(&to->counted, row->usage_known);
    add(&to->priced, row->price_known);
    add(&to->prompt_tokens, row->prompt_tokens);
    add(&to->completion_tokens, row->completion_tokens);
    add(&to->cached_tokens, row->cached_tokens);
    add(&to->reasoning_tokens, row->reasoning_tokens);
    add(&to->price, row->price);
    add(&to->latency_us, row->latency_us);
    add(&to->first_token_us, row->first_token_us);
    add(&to->first_tokens, row->first_token_us > 0);
    add(&to->estimated, row->estimated);
    add(&to->cache_write_tokens, row->cache_write_tokens);
    add(&to->hedges, row->hedge);
}

static const sv_str *name_of(const ledger_sum *s, int i)
{
    const sv_str *const names[] = {&s->org, &s->key, &s->user, &s->model, &s->provider};
    return names[i];
}

enum { NAMES_HASHED = 5 };

/* Length and bytes of each name. */
void ledger_cell_of(const sv_str *names, int n, uint8_t cell[LEDGER_CELL])
{
    file_hash h;
    char hex[65];
    file_hash_start(&h);
    for (int i = 0; i < n; i++) {
        uint32_t bytes = names[i].n;
        uint8_t length[4] = {(uint8_t)(bytes >> 24), (uint8_t)(bytes >> 16), (uint8_t)(bytes >> 8),
                             (uint8_t)bytes};
        file_hash_add(&h, length, sizeof length);
        if (bytes) file_hash_add(&h, names[i].p, bytes);
    }
    file_hash_end(&h, hex);
    int rc = hex_parse((sv_str){hex, 2 * LEDGER_CELL}, cell, LEDGER_CELL);
    assert(rc == 0);
}

void ledger_sum_key(ledger_sum *s, uint8_t cell[LEDGER_CELL])
{
    sv_str names[NAMES_HASHED];
    for (int i = 0; i < NAMES_HASHED; i++)
        names[i] = *name_of(s, i);
    ledger_cell_of(names, NAMES_HASHED, cell);
    s->cell = (sv_str){(const char *)cell, LEDGER_CELL};
}

void ledger_day_ids(int64_t day, sv_id *ret_low, sv_id *ret_high)
{
    uint64_t from = (uint64_t)day * DATE_DAY_MS, to = from + DATE_DAY_MS - 1;
    memset(ret_low, 0, sizeof *ret_low);
    memset(ret_high, 0xff, sizeof *ret_high);
    for (int i = 0; i < 6; i++) {
        ret_low->b[i] = (uint8_t)(from >> (40 - 8 * i));
        ret_high->b[i] = (uint8_t)(to >> (40 - 8 * i));
    }
}

/* ---- the map: open addressing, a power of two, at most half full. Cells are found by their own
 * hash, which no client can make collide. ---- */

enum { FIRST_CAP = 64 };

void ledger_cells_init(ledger_cells *m, arena *mem)
{
    *m = (ledger_cells){.mem = mem};
    m->last = &m->first;
}

/* Where it is, or the free place where it belongs. */
static ledger_cell **find(const ledger_cells *m, const ledger_sum *like)
{
    uint64_t h;
    memcpy(&h, like->cell.p, sizeof h);
    size_t i = (h + (uint64_t)like->day) & (m->cap - 1);
    while (m->slots[i] &&
           (m->slots[i]->sum.day != like->day || !sv_str_eq(m->slots[i]->sum.cell, like->cell)))
        i = (i + 1) & (m->cap - 1);
    return &m->slots[i];
}

static bool grow(ledger_cells *m)
{
    size_t cap = m->cap ? 2 * m->cap : FIRST_CAP;
    ledger_cell **slots = arena_alloc(m->mem, cap * sizeof *slots);
    if (slots == NULL) return false;
    m->slots = slots;
    m->cap = cap;
    for (ledger_cell *c = m->first; c; c = c->next)
        *find(m, &c->sum) = c;
    return true;
}

static ledger_cell *cell_new(arena *mem, const ledger_sum *like)
{
    ledger_cell *c = arena_alloc(mem, sizeof *c + LEDGER_CELL);
    if (c == NULL) return NULL;
    c->sum.day = like->day;
    c->batch = -1;
    sv_str *const to[NAMES_HASHED] = {&c->sum.org, &c->sum.key, &c->sum.user, &c->sum.model,
                                      &c->sum.provider};
    for (int i = 0; i < NAMES_HASHED; i++) {
        sv_str from = *name_of(like, i);
        if (from.n == 0) continue;
        *to[i] = (sv_str){arena_copy(mem, from), from.n};
        if (to[i]->p == NULL) return NULL;
    }
    ledger_sum_key(&c->sum, (uint8_t *)(c + 1));
    return c;
}

ledger_cell *ledger_cells_get(ledger_cells *m, const ledger_sum *like)
{
    uint8_t cell[LEDGER_CELL];
    ledger_sum wanted = *like;
    if (2 * m->n >= m->cap && !grow(m)) return NULL;
    ledger_sum_key(&wanted, cell);
    ledger_cell **at = find(m, &wanted);
    ledger_cell *c = *at;
    if (c) return c;
    if ((c = cell_new(m->mem, like)) == NULL) return NULL;
    *at = c;
    *m->last = c;
    m->last = &c->next;
    m->n++;
    return c;
}
