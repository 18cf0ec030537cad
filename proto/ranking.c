/*  ranking.c - rows are found one by one: there are as many as models are used for a task. */
#include "ranking.h"

#include "error.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES = 3, NAMES_BYTES = 4 << 20 };
#define MOST 9007199254740991   /* numbers stop here, as in the ledger */
static const double z = 1.6449; /* 90 %, both sides */

void share_interval(double good, double n, double *ret_low, double *ret_high)
{
    *ret_low = 0;
    *ret_high = 1;
    if (n <= 0) return;
    double p = fmin(fmax(good / n, 0), 1), under = 1 + z * z / n;
    double mid = (p + z * z / (2 * n)) / under;
    double half = z / under * sqrt(p * (1 - p) / n + z * z / (4 * n * n));
    *ret_low = fmax(mid - half, 0);
    *ret_high = fmin(mid + half, 1);
}

void ranking_init(ranking *r)
{
    *r = (ranking){.n = 0};
    arena_init(&r->names, NAMES_BYTES);
}

void ranking_free(ranking *r)
{
    free(r->rows);
    arena_free(&r->names);
    *r = (ranking){.n = 0};
}

static bool same(const router_rank *a, const router_rank *b)
{
    return sv_str_eq(a->task, b->task) && sv_str_eq(a->provider, b->provider) &&
           sv_str_eq(a->model, b->model);
}

static int copy(arena *to, sv_str *s)
{
    if (s->n == 0) return 0;
    s->p = arena_copy(to, *s);
    return s->p ? 0 : SV_E_NO_MEMORY;
}

static int add_new(ranking *r, const router_rank *like, router_rank **ret)
{
    if (r->n == RANKING_MOST) return SV_E_TOO_LARGE;
    if (r->n == r->cap) {
        uint32_t cap = r->cap ? 2 * r->cap : 64;
        router_rank *rows = realloc(r->rows, cap * sizeof *rows);
        if (rows == NULL) return SV_E_NO_MEMORY;
        r->rows = rows;
        r->cap = cap;
    }
    router_rank row = {.task = like->task, .provider = like->provider, .model = like->model};
    if (copy(&r->names, &row.task) || copy(&r->names, &row.provider) || copy(&r->names, &row.model))
        return SV_E_NO_MEMORY;
    r->rows[r->n] = row;
    *ret = &r->rows[r->n++];
    return 0;
}

/* Every field behind the names is a number. */
static void add_numbers(router_rank *to, const router_rank *more)
{
    for (size_t i = NAMES; i < router_rank_msg.n; i++) {
        size_t at = router_rank_msg.fields[i].offset;
        int64_t *a = (int64_t *)((char *)to + at), b = *(const int64_t *)((const char *)more + at);
        *a = *a > MOST - b ? MOST : *a + b;
    }
}

int ranking_add(ranking *r, const router_rankings_reply *from)
{
    const router_rank *more = from->ranks.items;
    for (uint32_t i = 0; i < from->ranks.n; i++) {
        router_rank *row = NULL;
        for (uint32_t k = 0; k < r->n && row == NULL; k++)
            if (same(&r->rows[k], &more[i])) row = &r->rows[k];
        int rc = row ? 0 : add_new(r, &more[i], &row);
        if (rc) return rc;
        add_numbers(row, &more[i]);
    }
    return 0;
}

/* ---- what clients see ---- */

static double share(int64_t part, int64_t of)
{
    return of > 0 ? fmin((double)part / (double)of, 1) : 0;
}

static int64_t mean(int64_t sum, int64_t n)
{
    return n > 0 ? sum / n : 0;
}

static router_ranking view_of(const router_rank *r)
{
    router_ranking v = {.task = r->task,
                        .provider = r->provider,
                        .model = r->model,
                        .requests = r->requests,
                        .enough = r->requests >= RANKING_SAMPLE,
                        .success = share(r->successes, r->requests),
                        .tool_errors = share(r->bad_tools, r->successes),
                        .latency_ms = mean(r->latency_us, r->successes) / 1000,
                        .first_token_ms = mean(r->first_token_us, r->first_tokens) / 1000,
                        .priced = r->priced > 0,
                        .price = mean(r->price, r->priced),
                        .cost = r->price,
                        .ratings = r->ratings,
                        .rating = share(r->liked, r->ratings)};
    if (r->speed_us > 0) v.tokens_per_second = (double)r->speed_tokens * 1e6 / (double)r->speed_us;
    share_interval((double)r->successes, (double)r->requests, &v.success_low, &v.success_high);
    share_interval((double)r->liked, (double)r->ratings, &v.rating_low, &v.rating_high);
    return v;
}

static double score(const router_ranking *v)
{
    double rated = v->ratings >= RANKING_RATINGS ? v->rating_low : 0.5;
    return v->success_low * (0.5 + rated);
}

static int by_score(const void *x, const void *y)
{
    const router_ranking *a = x, *b = y;
    uint32_t n = a->task.n < b->task.n ? a->task.n : b->task.n;
    int c = n ? memcmp(a->task.p, b->task.p, n) : 0;
    if (c == 0) c = (a->task.n > b->task.n) - (a->task.n < b->task.n);
    if (c) return c;
    if (a->enough != b->enough) return a->enough ? -1 : 1;
    double p = score(a), q = score(b);
    if (p > q || p < q) return p > q ? -1 : 1;
    return (a->requests < b->requests) - (a->requests > b->requests);
}

void ranking_view(ranking *r, router_ranking *to)
{
    for (uint32_t i = 0; i < r->n; i++)
        to[i] = view_of(&r->rows[i]);
    if (r->n) qsort(to, r->n, sizeof *to, by_score);
}
