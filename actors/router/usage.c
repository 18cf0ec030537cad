/*  usage.c - the cube of sums grouped by one of its dimensions.
 *
 *  A report reads the sums of its days in order, piece by piece, and adds each to the row of its
 *  group. Groups that do not fit the answer any more end it: the next answer goes on behind the last
 *  sum that was added, and whoever asks adds rows of the same name up. So memory is bounded however
 *  many groups there are, and nothing is kept between two answers. */
#include "usage.h"

#include "error.h"

enum {
    BY_NOTHING,
    BY_DAY,
    BY_MODEL,
    BY_PROVIDER,
    BY_KEY,
    BY_USER,
    BY_ORG,
    REPLY_BYTES = LIMIT_PART_BYTES - 1024,
    ROW_BYTES = 480, /* names and numbers of a row, without its own name */
    PIECE_BYTES = 4 << 20
};

static const char *const by_words[] = {"", "day", "model", "provider", "key", "user", "org"};

/* ---- words ---- */

static int parse_by(sv_str word, int *ret, sv_error *err)
{
    for (int i = 0; i < (int)(sizeof by_words / sizeof *by_words); i++)
        if (sv_str_is(word, by_words[i])) {
            *ret = i;
            return 0;
        }
    return sv_fail(err, SV_E_INVALID, "by",
                   "A report goes by day, model, provider, key, user or org.");
}

static int parse_day(sv_str text, const char *field, int64_t otherwise, int64_t *ret, sv_error *err)
{
    *ret = otherwise;
    if (text.n == 0 || date_parse(text, ret) == 0) return 0;
    return sv_fail(err, SV_E_INVALID, field,
                   "\"%.*s\" is not a day: write it as 2030-01-31, from 1970 on.", SV_FMT(text));
}

int usage_days(sv_str from, sv_str to, int64_t *ret_first, int64_t *ret_last, sv_error *err)
{
    int rc = parse_day(from, "from", 0, ret_first, err);
    if (rc == 0) rc = parse_day(to, "to", DATE_LAST, ret_last, err);
    if (rc || *ret_first <= *ret_last) return rc;
    return sv_fail(err, SV_E_INVALID, "to", "The last day lies before the first: %.*s, %.*s.",
                   SV_FMT(from), SV_FMT(to));
}

/* ---- one sum ---- */

/* An absent filter wants everything, an empty one what has no such name. */
static bool passes(sv_str filter, sv_str name)
{
    return filter.p == NULL || sv_str_eq(filter, name);
}

static bool wanted(const router_usage_req *q, const ledger_sum *s)
{
    return passes(q->org, s->org) && passes(q->key, s->key) && passes(q->user, s->user) &&
           passes(q->model, s->model) && passes(q->provider, s->provider);
}

static sv_str group_of(const usage_report *u, const ledger_sum *s, char day[DATE_TEXT + 1])
{
    switch (u->by) {
    case BY_DAY: date_format(s->day, day); return (sv_str){day, DATE_TEXT};
    case BY_MODEL: return s->model;
    case BY_PROVIDER: return s->provider;
    case BY_KEY: return s->key;
    case BY_USER: return s->user;
    case BY_ORG: return s->org;
    default: return (sv_str){NULL, 0};
    }
}

/* NULL: no place, or *rc. */
static router_usage_row *row_of(usage_report *u, sv_str name, int *rc)
{
    for (uint32_t i = u->n; i-- > 0;)
        if (sv_str_eq(u->rows[i].name, name)) return &u->rows[i];
    u->full = u->n == USAGE_GROUPS || u->bytes + ROW_BYTES + name.n > REPLY_BYTES;
    if (u->full) return NULL;
    char *copy = arena_copy(u->answer, name);
    if (copy == NULL) {
        *rc = sv_fail(&u->err, SV_E_NO_MEMORY, NULL, NULL);
        return NULL;
    }
    u->bytes += ROW_BYTES + name.n;
    router_usage_row *row = &u->rows[u->n++];
    *row = (router_usage_row){.name = {copy, name.n}};
    return row;
}

static void add(int64_t *to, int64_t n)
{
    *to = ledger_plus(*to, n);
}

static void add_sum(router_usage_row *to, const ledger_sum *s)
{
    add(&to->requests, s->requests);
    add(&to->errors, s->errors);
    add(&to->cancelled, s->cancelled);
    add(&to->counted, s->counted);
    add(&to->priced, s->priced);
    add(&to->prompt_tokens, s->prompt_tokens);
    add(&to->completion_tokens, s->completion_tokens);
    add(&to->cached_tokens, s->cached_tokens);
    add(&to->reasoning_tokens, s->reasoning_tokens);
    add(&to->price, s->price);
    add(&to->latency_us, s->latency_us);
    add(&to->first_token_us, s->first_token_us);
    add(&to->first_tokens, s->first_tokens);
    add(&to->estimated, s->estimated);
    add(&to->cache_write_tokens, s->cache_write_tokens);
    add(&to->hedges, s->hedges);
}

/* ---- the report ---- */

int usage_report_begin(usage_report *u, store *s, const router_usage_req *req, arena *answer)
{
    *u = (usage_report){.store = s, .req = req, .answer = answer};
    arena_init(&u->piece, PIECE_BYTES);
    int rc = parse_by(req->by, &u->by, &u->err);
    if (rc == 0)
        rc = usage_days(req->from, req->to, &u->from.first_day, &u->from.last_day, &u->err);
    if (rc) return rc;
    if (req->after.n > sizeof u->position)
        return sv_fail(&u->err, SV_E_INVALID, "after", "This is no next of an earlier answer.");
    u->from.after = (sv_str){u->position, req->after.n};
    if (req->after.n) memcpy(u->position, req->after.p, req->after.n);
    return 0;
}

int usage_report_step(void *arg)
{
    usage_report *u = arg;
    ledger_piece piece;
    arena_reset(&u->piece);
    store_op op = {.fn = ledger_sums_some,
                   .in = &u->from,
                   .out = &piece,
                   .arena = &u->piece,
                   .owner = "router.usage"};
    int rc = store_view(u->store, &op);
    if (rc) {
        u->err = op.error;
        return rc;
    }
    for (uint32_t i = 0; i < piece.n; i++) {
        char day[DATE_TEXT + 1];
        const ledger_sum *s = &piece.of.sums[i];
        router_usage_row *row = wanted(u->req, s) ? row_of(u, group_of(u, s, day), &rc) : NULL;
        if (rc || u->full) return rc;
        if (row) add_sum(row, s);
        memcpy(u->position, piece.at[i].p, piece.at[i].n);
        u->from.after.n = piece.at[i].n;
    }
    u->done = piece.done;
    return 0;
}

router_usage_reply usage_report_reply(const usage_report *u)
{
    router_usage_reply reply = {.rows = {(void *)(uintptr_t)u->rows, u->n}};
    if (!u->done) reply.next = u->from.after;
    return reply;
}

void usage_report_free(usage_report *u)
{
    arena_free(&u->piece);
}
