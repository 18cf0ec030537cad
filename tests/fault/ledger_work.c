/*  ledger_work.c - the router's usage ledger as a subject of images.c: its own store functions write
 *  batches of attempts, and after each loss of power its own check rebuilds the sums from the rows.
 *
 *  Batch i of writer w has attempts whose ids and numbers follow from the seed. Some batches are
 *  written twice, as a router does that was not told; the second time must change nothing. */
#include "client.h"
#include "error.h"
#include "usage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAP_BYTES = 256 << 20, WRITERS = 4, BATCHES = 40, ATTEMPTS = 6, KEEP_DAYS = 30 };

typedef struct attempts {
    ledger_item *item[ATTEMPTS];
    uint8_t id[ATTEMPTS][16];
    ledger_batch batch;
    bool repeat;
} attempts;

static sv_str pick(rng *r, const char *const *names, uint64_t n)
{
    return sv_cstr(names[rng_below(r, n)]);
}

static void make_attempts(uint64_t seed, uint32_t writer, uint64_t i, attempts *a)
{
    static const char *const orgs[] = {"", "acme", "borealis"};
    static const char *const models[] = {"large", "small", "tiny"};
    static const char *const outcomes[] = {"ok", "ok", "ok", "cancelled", "timeout"};
    rng r = rng_of(seed, (uint64_t)writer << 32 | i);
    uint32_t n = 1 + (uint32_t)rng_below(&r, ATTEMPTS);
    a->repeat = rng_below(&r, 5) == 0;
    for (uint32_t k = 0; k < n; k++) {
        uint64_t ms = PLAN_NOW_MS - rng_below(&r, 3 * 86400000ull), more[2] = {rng_next(&r), 0};
        for (int b = 0; b < 6; b++)
            a->id[k][b] = (uint8_t)(ms >> (40 - 8 * b));
        more[1] = (uint64_t)writer << 40 | i << 8 | k;
        memcpy(a->id[k] + 6, &more[0], 4);
        memcpy(a->id[k] + 10, &more[1], 6);
        ledger_row *row = &a->item[k]->row;
        *row = (ledger_row){.attempt = {(const char *)a->id[k], 16},
                            .started = (int64_t)ms,
                            .org = pick(&r, orgs, 3),
                            .model = pick(&r, models, 3),
                            .provider = sv_cstr("demo"),
                            .outcome = pick(&r, outcomes, 5),
                            .listed = true,
                            .usage_known = true,
                            .price_known = rng_below(&r, 2),
                            .prompt_tokens = (int64_t)rng_below(&r, 5000),
                            .completion_tokens = (int64_t)rng_below(&r, 5000),
                            .latency_us = (int64_t)rng_below(&r, 5000000)};
        row->price = row->price_known ? (int64_t)rng_below(&r, 100000) : 0;
        a->item[k]->next = k + 1 < n ? a->item[k + 1] : NULL;
    }
    a->batch = (ledger_batch){a->item[0], n, KEEP_DAYS};
}

static void attempts_init(attempts *a)
{
    for (size_t k = 0; k < ATTEMPTS; k++) {
        a->item[k] = calloc(1, sizeof(ledger_item));
        if (!a->item[k]) die("no memory");
    }
}

static void attempts_free(attempts *a)
{
    for (size_t k = 0; k < ATTEMPTS; k++)
        free(a->item[k]);
}

/* ---- writing ---- */

typedef struct worker {
    pthread_t thread;
    client *client;
    int acks;
    uint64_t seed;
    uint32_t number;
} worker;

static void write_batch(const worker *w, const attempts *a, uint32_t want)
{
    uint32_t added;
    sv_error err;
    int rc = client_write(w->client, ledger_write, &a->batch, &added, &err);
    if (rc || added != want)
        die("writer %u: %d: %s, %u of %u", w->number, rc, err.message, added, want);
}

static void *run(void *arg)
{
    worker *w = arg;
    attempts a;
    attempts_init(&a);
    for (uint64_t i = 1; i <= BATCHES; i++) {
        char line[48];
        make_attempts(w->seed, w->number, i, &a);
        write_batch(w, &a, a.batch.n);
        if (a.repeat) write_batch(w, &a, 0);
        int n = snprintf(line, sizeof line, "%u %llu\n", w->number, (unsigned long long)i);
        if (write(w->acks, line, (size_t)n) != n) die("acknowledgement");
    }
    attempts_free(&a);
    return NULL;
}

static int work(const char *folder, int acks, int argc, char **argv)
{
    static worker all[WRITERS];
    static client c = {.schema = &ledger_schema};
    sv_error err = {0};
    uint64_t seed = option(argc, argv, "--seed", 1);
    if (client_open(&c, folder, MAP_BYTES, &err)) die("open: %s %s", err.message, err.detail);
    for (uint32_t i = 0; i < WRITERS; i++) {
        all[i] = (worker){.client = &c, .acks = acks, .seed = seed, .number = i};
        if (pthread_create(&all[i].thread, NULL, run, &all[i])) die("no thread");
    }
    for (uint32_t i = 0; i < WRITERS; i++)
        pthread_join(all[i].thread, NULL);
    client_close(&c);
    return 0;
}

/* ---- judging ---- */

typedef struct judging {
    uint64_t seed;
    const acked *acked;
    attempts a;
    verdict verdict;
    char *why;
    size_t why_n;
} judging;

/* How many of a batch's attempts are there as they were written; -1: one is not. */
static int present(store_tx *tx, const attempts *a)
{
    const ledger_item *item = a->batch.first;
    int n = 0;
    for (uint32_t k = 0; k < a->batch.n; k++, item = item->next) {
        ledger_row row = {.attempt = item->row.attempt};
        int rc = store_get(tx, &ledger_rows, &row);
        if (rc == SV_E_NOT_FOUND) continue;
        if (rc || row.price != item->row.price || row.latency_us != item->row.latency_us ||
            !sv_str_eq(row.model, item->row.model))
            return -1;
        n++;
    }
    return n;
}

static int judge_rows(store_tx *tx, const void *in, void *out)
{
    judging *j = out;
    (void)in;
    for (uint32_t w = 0; w < WRITERS; w++) {
        for (uint64_t i = 1; i <= BATCHES; i++) {
            make_attempts(j->seed, w, i, &j->a);
            int n = present(tx, &j->a), all = (int)j->a.batch.n;
            bool told = i <= j->acked->upto[w], maybe = i == j->acked->upto[w] + 1;
            if (n == all ? told || maybe : n == 0 && !told) continue;
            j->verdict = told && n >= 0 ? LOST : BROKEN;
            snprintf(j->why, j->why_n, "batch %u,%llu: %d of %d attempts, %llu acknowledged", w,
                     (unsigned long long)i, n, all, (unsigned long long)j->acked->upto[w]);
            return 0;
        }
    }
    return 0;
}

static void judge_sums(store *s, judging *j)
{
    static const router_usage_check_req everything;
    usage_check k;
    arena answer;
    arena_init(&answer, 1 << 20);
    int rc = usage_check_begin(&k, s, &everything, &answer);
    while (rc == 0 && k.phase != CHECK_DONE)
        rc = usage_check_step(&k);
    if (rc || k.reply.differences || k.reply.skipped) {
        j->verdict = BROKEN;
        snprintf(j->why, j->why_n,
                 "the ledger's check answers %d %s: %lld sums differ, %lld days left out", rc,
                 k.err.message, (long long)k.reply.differences, (long long)k.reply.skipped);
    }
    usage_check_free(&k);
    arena_free(&answer);
}

static verdict check(const char *folder, const acked *a, uint64_t seed, char *why, size_t why_n)
{
    static client c;
    judging j = {.seed = seed, .acked = a, .why = why, .why_n = why_n};
    sv_error err = {0};
    memset(&c, 0, sizeof c);
    c.schema = &ledger_schema;
    int rc = client_open(&c, folder, MAP_BYTES, &err);
    if (rc) {
        snprintf(why, why_n, "open answers %d: %s %s", rc, err.message, err.detail);
        return BROKEN;
    }
    attempts_init(&j.a);
    rc = client_read(&c, judge_rows, NULL, &j, &err);
    if (rc) {
        j.verdict = BROKEN;
        snprintf(why, why_n, "reading answers %d: %s %s", rc, err.message, err.detail);
    }
    if (j.verdict == FINE) judge_sums(c.store, &j);
    if (j.verdict == FINE) j.verdict = plan_check_store(c.store, why, why_n);
    attempts_free(&j.a);
    client_close(&c);
    return j.verdict;
}

const subject usage_ledger = {"ledger", work, check};
