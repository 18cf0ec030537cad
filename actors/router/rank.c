/*  rank.c - sums of a batch are gathered first: each row of the table is read and written once. */
#include "rank.h"

#include "models.h"

enum {
    NAMES_HASHED = 4,
    REPLY_BYTES = LIMIT_PART_BYTES - 1024,
    ROW_BYTES = 420,
    PIECE_BYTES = 4 << 20
};

static void add(int64_t *to, int64_t n)
{
    *to = ledger_plus(*to, n);
}

/* ---- writing ---- */

static void cell_of(const rank_row *r, uint8_t cell[LEDGER_CELL])
{
    const sv_str names[NAMES_HASHED] = {r->org, r->task, r->provider, r->model};
    ledger_cell_of(names, NAMES_HASHED, cell);
}

/* The numbers lie behind day, cell and the names, and `expires` behind them. */
enum { BEFORE = 6, BEHIND = 1 };

static void add_numbers(rank_row *to, const rank_row *more)
{
    for (size_t i = BEFORE; i < rank_row_msg.n - BEHIND; i++) {
        size_t at = rank_row_msg.fields[i].offset;
        add((int64_t *)((char *)to + at), *(const int64_t *)((const char *)more + at));
    }
}

static void add_attempt(rank_row *to, const ledger_row *row)
{
    bool ok = sv_str_is(row->outcome, "ok");
    add(&to->requests, 1);
    add(&to->successes, ok);
    add(&to->bad_tools, row->bad_tools);
    add(&to->latency_us, ok ? row->latency_us : 0);
    add(&to->first_token_us, row->first_token_us);
    add(&to->first_tokens, row->first_token_us > 0);
    add(&to->priced, row->price_known);
    add(&to->price, row->price);
    int64_t first_us = row->streamed ? row->first_token_us : 0;
    if (!ok || !row->usage_known || row->latency_us <= first_us) return;
    add(&to->speed_tokens, row->completion_tokens);
    add(&to->speed_us, row->latency_us - first_us);
}

/* As in the sums (ledger_sum_of): a name that a client made up is no row of its own. */
int rank_batch_add(rank_batch *b, store_tx *tx, const ledger_row *row)
{
    if (sv_str_is(row->outcome, "cancelled")) return 0;
    ledger_sum of = ledger_sum_of(row);
    rank_row like = {.day = of.day,
                     .org = of.org,
                     .task = row->task,
                     .provider = of.provider,
                     .model = of.model,
                     .expires = (of.day + 1 + RANK_DAYS) * DATE_DAY_MS};
    uint8_t cell[LEDGER_CELL];
    cell_of(&like, cell);
    rank_cell *c = b->first;
    while (c && (c->row.day != like.day || memcmp(c->cell, cell, LEDGER_CELL) != 0))
        c = c->next;
    if (c == NULL) {
        c = arena_alloc(store_arena(tx), sizeof *c);
        if (c == NULL) return SV_E_NO_MEMORY;
        c->row = like;
        memcpy(c->cell, cell, LEDGER_CELL);
        c->row.cell = (sv_str){(const char *)c->cell, LEDGER_CELL};
        c->next = b->first;
        b->first = c;
    }
    add_attempt(&c->row, row);
    return 0;
}

int rank_batch_put(const rank_batch *b, store_tx *tx)
{
    int rc = 0;
    for (const rank_cell *c = b->first; c && rc == 0; c = c->next) {
        rank_row now = {.day = c->row.day, .cell = c->row.cell};
        rc = store_get(tx, &rank_rows, &now);
        if (rc == 0) {
            add_numbers(&now, &c->row);
            rc = store_put(tx, &rank_rows, &now);
        } else if (rc == SV_E_NOT_FOUND) {
            *store_error(tx) = (sv_error){0};
            rc = store_put(tx, &rank_rows, &c->row);
        }
    }
    return rc;
}

int rank_rate(store_tx *tx, int64_t day, sv_str org, sv_str task, sv_str provider, sv_str model,
              int64_t ratings_by, int64_t liked_by)
{
    uint8_t cell[LEDGER_CELL];
    rank_row row = {.day = day, .org = org, .task = task, .provider = provider, .model = model};
    cell_of(&row, cell);
    row.cell = (sv_str){(const char *)cell, LEDGER_CELL};
    int rc = store_get(tx, &rank_rows, &row);
    if (rc == SV_E_NOT_FOUND) { /* the day is gone, or the attempt is not written yet */
        *store_error(tx) = (sv_error){0};
        row.expires = (day + 1 + RANK_DAYS) * DATE_DAY_MS;
        if (row.expires <= store_now_ms(tx)) return 0;
    } else if (rc) {
        return rc;
    }
    row.ratings = ratings_by < 0 && row.ratings == 0 ? 0 : row.ratings + ratings_by;
    row.liked = liked_by < 0 && row.liked == 0 ? 0 : row.liked + liked_by;
    return store_put(tx, &rank_rows, &row);
}

/* ---- reading ---- */

static int check_task(sv_str task, sv_error *err)
{
    if (task.n == 0) return 0;
    for (int i = 0; i < TASKS; i++)
        if (sv_str_is(task, model_task_names[i])) return 0;
    return sv_fail(err, SV_E_INVALID, "task",
                   "A task is chat, code, summarise, translate, extract, reason, vision, long or "
                   "tools.");
}

int rank_report_begin(rank_report *r, store *s, const router_rankings_req *req, sv_str org,
                      int64_t today, arena *answer)
{
    *r = (rank_report){.store = s, .task = req->task, .org = org, .answer = answer};
    arena_init(&r->piece, PIECE_BYTES);
    int rc = check_task(req->task, &r->err);
    if (rc) return rc;
    r->from.last_day = today;
    r->from.first_day = today >= req->days ? today - req->days + 1 : 0;
    if (req->after.n > sizeof r->position)
        return sv_fail(&r->err, SV_E_INVALID, "after", "This is no next of an earlier answer.");
    r->from.after = (sv_str){r->position, req->after.n};
    if (req->after.n) memcpy(r->position, req->after.p, req->after.n);
    return 0;
}

static int copy(arena *to, sv_str *s)
{
    if (s->n == 0) return 0;
    s->p = arena_copy(to, *s);
    return s->p ? 0 : SV_E_NO_MEMORY;
}

/* NULL: no place, or *rc. */
static router_rank *rank_of(rank_report *r, const rank_row *like, int *rc)
{
    for (uint32_t i = r->n; i-- > 0;)
        if (sv_str_eq(r->rows[i].model, like->model) && sv_str_eq(r->rows[i].task, like->task) &&
            sv_str_eq(r->rows[i].provider, like->provider))
            return &r->rows[i];
    size_t bytes = ROW_BYTES + like->model.n + like->task.n + like->provider.n;
    r->full = r->n == RANK_GROUPS || r->bytes + bytes > REPLY_BYTES;
    if (r->full) return NULL;
    router_rank row = {.task = like->task, .provider = like->provider, .model = like->model};
    if (copy(r->answer, &row.task) || copy(r->answer, &row.provider) ||
        copy(r->answer, &row.model)) {
        *rc = sv_fail(&r->err, SV_E_NO_MEMORY, NULL, NULL);
        return NULL;
    }
    r->bytes += bytes;
    r->rows[r->n] = row;
    return &r->rows[r->n++];
}

static void add_row(router_rank *to, const rank_row *s)
{
    add(&to->requests, s->requests);
    add(&to->successes, s->successes);
    add(&to->bad_tools, s->bad_tools);
    add(&to->latency_us, s->latency_us);
    add(&to->first_token_us, s->first_token_us);
    add(&to->first_tokens, s->first_tokens);
    add(&to->speed_tokens, s->speed_tokens);
    add(&to->speed_us, s->speed_us);
    add(&to->priced, s->priced);
    add(&to->price, s->price);
    add(&to->ratings, s->ratings);
    add(&to->liked, s->liked);
}

static bool wanted(const rank_report *r, const rank_row *s)
{
    bool own = s->provider.n > 4 && memcmp(s->provider.p, "own:", 4) == 0;
    if (own && r->org.p == NULL) return false; /* tenants' providers are nobody else's business */
    return (r->org.p == NULL || sv_str_eq(r->org, s->org)) &&
           (r->task.n == 0 || sv_str_eq(r->task, s->task));
}

int rank_report_step(void *arg)
{
    rank_report *r = arg;
    ledger_piece piece;
    arena_reset(&r->piece);
    store_op op = {.fn = ledger_ranks_some,
                   .in = &r->from,
                   .out = &piece,
                   .arena = &r->piece,
                   .owner = "router.rankings"};
    int rc = store_view(r->store, &op);
    if (rc) {
        r->err = op.error;
        return rc;
    }
    for (uint32_t i = 0; i < piece.n; i++) {
        const rank_row *s = &piece.of.ranks[i];
        router_rank *row = wanted(r, s) ? rank_of(r, s, &rc) : NULL;
        if (rc || r->full) return rc;
        if (row) add_row(row, s);
        memcpy(r->position, piece.at[i].p, piece.at[i].n);
        r->from.after.n = piece.at[i].n;
    }
    r->done = piece.done;
    return 0;
}

router_rankings_reply rank_report_reply(const rank_report *r)
{
    router_rankings_reply reply = {.ranks = {(void *)(uintptr_t)r->rows, r->n}};
    if (!r->done) reply.next = r->from.after;
    return reply;
}

void rank_report_free(rank_report *r)
{
    arena_free(&r->piece);
}
