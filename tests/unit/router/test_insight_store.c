/*  test_insight_store.c - decisions, ratings, what was learned and sums for rankings, in a real store. */
#include "insight_store.h"
#include "ledger_kit.h"
#include "rank.h"
#include "ranking.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { DAY = 20000, HOUR = 3600000 };
#define AT(day, ms) ((uint64_t)(day)*DATE_DAY_MS + (uint64_t)(ms))

static arena mem;

static int setup(void **state)
{
    (void)state;
    kit_start(AT(DAY, HOUR));
    arena_init(&mem, 64 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    kit_stop();
    arena_free(&mem);
    return 0;
}

/* ---- rankings ---- */

static rank_report *report_of(const char *org, const char *task, int64_t days, int64_t today)
{
    rank_report *r = arena_alloc(&mem, sizeof *r);
    router_rankings_req *q = arena_alloc(&mem, sizeof *q);
    *q = (router_rankings_req){.task = sv_cstr(task), .days = days};
    assert_int_equal(
        rank_report_begin(r, kit_store, q, org ? sv_cstr(org) : (sv_str){NULL, 0}, today, &mem), 0);
    while (!r->done && !r->full)
        assert_int_equal(rank_report_step(r), 0);
    rank_report_free(r);
    return r;
}

static void put_attempts(uint64_t ms, uint32_t from, uint32_t n, const char *org, const char *task,
                         const char *outcome)
{
    ledger_item *items[64];
    for (uint32_t i = 0; i < n; i++) {
        items[i] = kit_item(ms, from + i, "m", org);
        items[i]->row.task = sv_cstr(task);
        items[i]->row.outcome = sv_cstr(outcome);
        items[i]->row.streamed = true;
    }
    assert_int_equal(kit_put(items, n, 90), n);
    for (uint32_t i = 0; i < n; i++)
        free(items[i]);
}

static void test_ranks(void **state)
{
    (void)state;
    put_attempts(AT(DAY, 1), 0, 10, "o", "code", "ok");
    put_attempts(AT(DAY, 2), 10, 5, "o", "code", "timeout");
    put_attempts(AT(DAY, 3), 15, 3, "o", "code", "cancelled");
    put_attempts(AT(DAY, 4), 18, 2, "o", "chat", "ok");
    put_attempts(AT(DAY, 5), 20, 7, "other", "code", "ok");
    put_attempts(AT(DAY - 5, 5), 27, 1, "o", "code", "ok");
    rank_report *r = report_of("o", "code", 5, DAY);
    assert_int_equal(r->n, 1);
    assert_int_equal(r->rows[0].requests, 15);
    assert_int_equal(r->rows[0].successes, 10);
    assert_int_equal(r->rows[0].latency_us, 10000);
    assert_int_equal(r->rows[0].speed_tokens, 50);
    assert_int_equal(r->rows[0].speed_us, 10 * 900);
    assert_int_equal(r->rows[0].price, 15 * 7);
    assert_int_equal(report_of("o", "code", 6, DAY)->rows[0].requests, 16);
    assert_int_equal(report_of("o", "", 5, DAY)->n, 2);
    assert_int_equal(report_of(NULL, "code", 5, DAY)->rows[0].requests, 22);
    assert_int_equal(report_of("nobody", "", 5, DAY)->n, 0);
}

static void test_ranks_of_a_repeated_batch(void **state)
{
    (void)state;
    ledger_item *i = kit_item(AT(DAY, 1), 1, "m", "o");
    assert_int_equal(kit_put(&i, 1, 90), 1);
    assert_int_equal(kit_put(&i, 1, 90), 0);
    free(i);
    assert_int_equal(report_of(NULL, "", 1, DAY)->rows[0].requests, 1);
}

static void test_made_up_names(void **state)
{
    (void)state;
    ledger_item *i = kit_item(AT(DAY, 1), 1, "made-up", "o");
    i->row.listed = false;
    i->row.outcome = sv_cstr("refused");
    assert_int_equal(kit_put(&i, 1, 90), 1);
    free(i);
    assert_int_equal(report_of(NULL, "", 1, DAY)->rows[0].model.n, 0);
}

static void test_wrong_task(void **state)
{
    (void)state;
    rank_report *r = arena_alloc(&mem, sizeof *r);
    router_rankings_req q = {.task = {"cooking", 7}, .days = 1};
    assert_int_equal(rank_report_begin(r, kit_store, &q, (sv_str){NULL, 0}, DAY, &mem),
                     SV_E_INVALID);
    assert_string_equal(r->err.field, "task");
    rank_report_free(r);
}

static void test_view(void **state)
{
    (void)state;
    router_rank ranks[3] = {{.task = {"code", 4},
                             .provider = {"p", 1},
                             .model = {"few", 3},
                             .requests = 3,
                             .successes = 3},
                            {.task = {"code", 4},
                             .provider = {"p", 1},
                             .model = {"many", 4},
                             .requests = 1000,
                             .successes = 950,
                             .latency_us = 950 * 2000,
                             .speed_tokens = 100,
                             .speed_us = 2000000,
                             .priced = 10,
                             .price = 50},
                            {.task = {"code", 4},
                             .provider = {"p", 1},
                             .model = {"bad", 3},
                             .requests = 1000,
                             .successes = 500}};
    router_rankings_reply page = {.ranks = {ranks, 3}};
    router_ranking v[3];
    ranking r;
    ranking_init(&r);
    assert_int_equal(ranking_add(&r, &page), 0);
    assert_int_equal(ranking_add(&r, &page), 0); /* of another router */
    assert_int_equal(r.n, 3);
    ranking_view(&r, v);
    assert_true(sv_str_is(v[0].model, "many") && sv_str_is(v[1].model, "bad") &&
                sv_str_is(v[2].model, "few"));
    assert_int_equal(v[0].requests, 2000);
    assert_true(v[0].enough && !v[2].enough);
    assert_float_equal(v[0].success, 0.95, 1e-9);
    assert_true(v[0].success_low > 0.94 && v[0].success_high < 0.96);
    assert_float_equal(v[0].tokens_per_second, 50, 1e-6);
    assert_int_equal(v[0].latency_ms, 2);
    assert_int_equal(v[0].price, 5);
    assert_true(v[0].rating_low == 0 && v[0].rating_high == 1);
    ranking_free(&r);
}

/* ---- ratings ---- */

static insight_rated rate(uint8_t which, const char *user, int rating)
{
    insight_rating r = {
        .rating = rating,
        .about = {.at_ms = (int64_t)AT(DAY, 1), .task = "code", .provider = "p", .model = "m"}};
    insight_rated out;
    r.about.id.b[0] = which;
    strcpy(r.about.org, "o");
    strcpy(r.about.user, user);
    int rc = kit_write(insight_rate, &r, &out);
    assert_int_equal(rc, 0);
    return out;
}

static void test_rating(void **state)
{
    (void)state;
    put_attempts(AT(DAY, 1), 0, 3, "o", "code", "ok");
    insight_rated now = rate(1, "u", 1);
    assert_true(now.learned);
    assert_float_equal(now.n, 1, 1e-6);
    assert_false(rate(1, "u", 1).learned); /* once for each decision */
    now = rate(1, "u", -1);
    assert_float_equal(now.n, 1, 1e-6);
    assert_float_equal(now.good, 0, 1e-6);
    rate(2, "u", 1);
    rank_report *r = report_of("o", "code", 1, DAY);
    assert_int_equal(r->n, 1);
    assert_int_equal(r->rows[0].requests, 3);
    assert_int_equal(r->rows[0].ratings, 2);
    assert_int_equal(r->rows[0].liked, 1);
    now = rate(1, "u", 0);
    assert_float_equal(now.n, 1, 1e-6);
    assert_int_equal(report_of("o", "code", 1, DAY)->rows[0].ratings, 1);
}

static void test_one_user_cannot_poison(void **state)
{
    (void)state;
    insight_rated now = {.n = 0};
    for (uint8_t i = 1; i < 100; i++)
        now = rate(i, "u", -1);
    assert_float_equal(now.n, LEARN_SHARE, 1e-6);
    now = rate(100, "v", 1);
    assert_float_equal(now.n, LEARN_SHARE + 1, 1e-6);
    assert_float_equal(now.good, 1, 1e-6);
    kit_again(); /* it is not in memory that this is kept */
    now = rate(101, "u", -1);
    assert_float_equal(now.n, LEARN_SHARE + 1, 1e-6);
}

/* ---- written behind ---- */

static kept_decision *kept_of(uint8_t which, int64_t expires_ms)
{
    arena a;
    buf out;
    arena_init(&a, 1 << 20);
    buf_init(&out, INSIGHT_RECORD);
    router_decision_attempt attempt = {.provider = {"p", 1}, .outcome = {"timeout", 7}};
    router_decision_reply r = {.id = {"x", 1}, .asked = {"auto", 4}, .attempts = {&attempt, 1}};
    assert_int_equal(message_encode(&router_decision_reply_msg, &r, &out), 0);
    kept_decision *k = calloc(1, sizeof *k + out.n);
    k->id.b[0] = which;
    k->expires_ms = expires_ms;
    k->n = (uint32_t)out.n;
    memcpy(k->bytes, out.p, out.n);
    buf_free(&out);
    arena_free(&a);
    return k;
}

static void test_kept(void **state)
{
    (void)state;
    insight_batch *b = calloc(1, sizeof *b);
    b->first = kept_of(1, (int64_t)AT(DAY + 1, 0));
    b->first->next = kept_of(2, (int64_t)AT(DAY + 3, 0));
    b->n_decisions = 2;
    b->n_learnings = 1;
    b->learnings[0] = (kept_learning){
        .task = TASK_CODE, .provider = "p", .model = "m", .good = 3, .n = 4, .at_ms = AT(DAY, 0)};
    assert_int_equal(kit_write(insight_write, b, NULL), 0);
    assert_int_equal(kit_write(insight_write, b, NULL), 0); /* again, as after a doubtful write */
    insight_batch_free(b);
    kit_again();
    sv_id id = {.b = {1}};
    router_decision_reply r;
    assert_int_equal(kit_read(insight_read, &id, &r, &mem), 0);
    assert_true(sv_str_is(r.asked, "auto"));
    assert_int_equal(r.attempts.n, 1);
    assert_int_equal(r.rating, 0);
    rate(1, "u", -1);
    assert_int_equal(kit_read(insight_read, &id, &r, &mem), 0);
    assert_int_equal(r.rating, -1);
    kit_now_ms = AT(DAY + 2, 0);
    assert_int_equal(kit_read(insight_read, &id, &r, &mem), SV_E_NOT_FOUND);
    id.b[0] = 2;
    assert_int_equal(kit_read(insight_read, &id, &r, &mem), 0);
    insight_piece *p = calloc(1, sizeof *p);
    assert_int_equal(kit_peek(insight_load, p, p), 0);
    assert_int_equal(p->n, 1);
    assert_true(p->done);
    assert_string_equal(p->items[0].model, "m");
    assert_float_equal(p->items[0].good, 3, 1e-9);
    *p = (insight_piece){.ratings = true};
    assert_int_equal(kit_peek(insight_load, p, p), 0);
    assert_int_equal(p->n, 1);
    assert_float_equal(p->items[0].n, 1, 1e-6);
    free(p);
}

static void test_load_in_pieces(void **state)
{
    (void)state;
    insight_batch *b = calloc(1, sizeof *b);
    for (int round = 0; round < 3; round++) {
        for (b->n_learnings = 0; b->n_learnings < INSIGHT_PIECE - 10; b->n_learnings++) {
            kept_learning *k = &b->learnings[b->n_learnings];
            *k = (kept_learning){.task = TASK_CHAT, .provider = "p", .n = 1, .at_ms = AT(DAY, 0)};
            snprintf(k->model, sizeof k->model, "m%d-%u", round, b->n_learnings);
        }
        assert_int_equal(kit_write(insight_write, b, NULL), 0);
    }
    insight_batch_free(b);
    insight_piece *p = calloc(1, sizeof *p);
    uint32_t n = 0, rounds = 0;
    for (; !p->done; rounds++) {
        assert_int_equal(kit_peek(insight_load, p, p), 0);
        n += p->n;
    }
    assert_int_equal(n, 3 * (INSIGHT_PIECE - 10));
    assert_int_equal(rounds, 3);
    free(p);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_ranks),
        T(test_ranks_of_a_repeated_batch),
        T(test_made_up_names),
        T(test_wrong_task),
        T(test_view),
        T(test_rating),
        T(test_one_user_cannot_poison),
        T(test_kept),
        T(test_load_in_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
