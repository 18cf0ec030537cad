/*  test_decision.c - records of requests: what they hold, how many there are, which are handed on. */
#include "decision.h"
#include "plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static decisions *table;
static uint32_t sunk;
static char sunk_asked[129];
static bool sunk_kept;

static void sink(void *arg, const sv_id *id, const router_decision_reply *record)
{
    (void)arg;
    sv_id parsed;
    assert_int_equal(uuid_parse(record->id, &parsed), 0);
    assert_memory_equal(&parsed, id, sizeof parsed);
    snprintf(sunk_asked, sizeof sunk_asked, "%.*s", SV_FMT(record->asked));
    sunk_kept = record->kept;
    sunk++;
}

static void make(uint32_t most, decision_keep keep)
{
    decisions_free(table);
    table = decisions_new(most, keep, sink, NULL);
    assert_non_null(table);
}

static int setup(void **state)
{
    (void)state;
    sunk = 0;
    make(4, DECISIONS_SOME);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    decisions_free(table);
    table = NULL;
    return 0;
}

static decision_start start_of(const char *asked)
{
    return (decision_start){.org = {"o", 1},
                            .user = {"u", 1},
                            .asked = sv_cstr(asked),
                            .endpoint = {"chat", 4},
                            .now_us = 1000000,
                            .unix_ms = 1900000000000};
}

static decision *begin(const char *asked)
{
    decision_start s = start_of(asked);
    return decision_begin(table, 3, &s);
}

static const decision_try good = {.provider = "p",
                                  .model = "m",
                                  .outcome = "ok",
                                  .status = 200,
                                  .began_us = 1000100,
                                  .first_us = 50,
                                  .total_us = 900,
                                  .tokens = {.known = true, .prompt = 7, .completion = 9},
                                  .priced = true,
                                  .price = 11};
static const decision_result whole = {.outcome = "ok",
                                      .finish = "stop",
                                      .provider = "p",
                                      .model = "m",
                                      .why = "named",
                                      .now_us = 1001000};

static sv_id id_of(const decision *d)
{
    char text[UUID_TEXT + 1];
    sv_id id;
    decision_id(d, text);
    assert_int_equal(uuid_parse(sv_cstr(text), &id), 0);
    return id;
}

static sv_id one(const char *asked)
{
    decision *d = begin(asked);
    sv_id id = id_of(d);
    decision_attempt(d, &good);
    decision_end(table, &d, &whole);
    assert_null(d);
    return id;
}

static router_decision_reply message(const sv_id *id, arena *a)
{
    router_decision_reply r;
    const decision *d = decision_find(table, id);
    assert_non_null(d);
    assert_int_equal(decision_message(d, a, &r), 0);
    return r;
}

static void test_ids(void **state)
{
    (void)state;
    sv_id id = decision_id_new(3), other = decision_id_new(3), plain = uuid_new();
    assert_int_equal(decision_router(&id), 3);
    assert_int_equal(id.b[6] >> 4, 7);
    assert_memory_not_equal(&id, &other, sizeof id);
    plain.b[12] = 0xff;
    assert_int_equal(decision_router(&plain), 0);
    id.b[6] = 0x40; /* another kind of UUID */
    assert_int_equal(decision_router(&id), 0);
}

static void test_whole_record(void **state)
{
    (void)state;
    arena a;
    arena_init(&a, 1 << 20);
    decision *d = begin("auto");
    sv_id id = id_of(d);
    router_decision_reply r = message(&id, &a); /* under way */
    assert_false(r.ended);
    plan p = {.auto_chosen = true,
              .task = TASK_CODE,
              .task_known = true,
              .complexity = 0.4f,
              .rule = "a fence of code",
              .n_seen = 3,
              .took_us = 77};
    p.seen[0] = (plan_seen){.provider = "p", .model = "m", .score = 0.8f, .learned = -0.1f};
    p.seen[1] = (plan_seen){.provider = p.seen[0].provider, .model = "n", .filter = "too small"};
    p.seen[2] = (plan_seen){.provider = "q",
                            .model = "n",
                            .filter = p.seen[1].filter,
                            .quality = 0.0f / 0.0f}; /* not a number: must not reach the wire */
    decision_plan(d, &p);
    decision_try failed = good;
    failed.outcome = "timeout";
    failed.provider = "q";
    failed.priced = false;
    failed.price = 0;
    decision_attempt(d, &failed);
    decision_attempt(d, &good);
    decision_end(table, &d, &whole);
    r = message(&id, &a);
    assert_true(r.ended && r.automatic && r.kept && sunk_kept);
    assert_true(sv_str_is(r.task, "code") && sv_str_is(r.rule, "a fence of code"));
    assert_true(sv_str_is(r.org, "o") && sv_str_is(r.user, "u") && sv_str_is(r.asked, "auto"));
    const router_decision_candidate *c = r.candidates.items;
    assert_int_equal(r.candidates.n, 3);
    assert_true(sv_str_is(c[0].model, "m") && c[0].left_out.n == 0);
    assert_float_equal(c[0].learned, -0.1, 1e-6);
    assert_true(sv_str_is(c[1].provider, "p") && sv_str_is(c[1].left_out, "too small"));
    assert_true(sv_str_is(c[2].provider, "q") && sv_str_is(c[2].left_out, "too small"));
    assert_true(c[2].quality == 0);
    const router_decision_attempt *t = r.attempts.items;
    assert_int_equal(r.attempts.n, 2);
    assert_true(sv_str_is(t[0].outcome, "timeout") && sv_str_is(t[0].provider, "q"));
    assert_true(sv_str_is(t[1].model, "m") && t[1].began_us == 100 && t[1].first_token_us == 50);
    assert_true(r.priced && r.price == 11 && r.total_us == 1000);
    assert_true(sv_str_is(r.provider, "p") && sv_str_is(r.why, "named"));
    buf out;
    buf_init(&out, 65536);
    assert_int_equal(message_encode(&router_decision_reply_msg, &r, &out), 0);
    sv_error err = {.code = 0};
    assert_int_equal(
        message_decode(&router_decision_reply_msg, buf_str(&out), MESSAGE_STRICT, &a, &r, &err), 0);
    buf_free(&out);
    arena_free(&a);
}

static void test_ring(void **state)
{
    (void)state;
    char name[16];
    sv_id ids[8];
    decision *long_one = begin("long");
    sv_id long_id = id_of(long_one);
    for (int i = 0; i < 8; i++) {
        snprintf(name, sizeof name, "m%d", i);
        ids[i] = one(name);
    }
    for (int i = 0; i < 8; i++)
        assert_true((decision_find(table, &ids[i]) != NULL) == (i >= 4));
    assert_non_null(decision_find(table, &long_id)); /* however many end meanwhile */
    decision_end(table, &long_one, &whole);
    assert_non_null(decision_find(table, &long_id));
    assert_null(decision_find(table, &ids[4]));
    assert_int_equal(sunk, 0); /* named, one try, well */
}

static void test_what_is_kept(void **state)
{
    (void)state;
    decision_result r = whole;
    decision *d = begin("failed");
    r.outcome = "provider.timeout";
    decision_end(table, &d, &r);
    assert_int_equal(sunk, 1);
    assert_string_equal(sunk_asked, "failed");
    d = begin("fallback");
    r = whole;
    r.why = "fallback";
    decision_end(table, &d, &r);
    assert_int_equal(sunk, 2);
    d = begin("twice");
    decision_attempt(d, &good);
    decision_attempt(d, &good);
    decision_end(table, &d, &whole);
    assert_int_equal(sunk, 3);
    decision_start s = start_of("asked");
    s.keep = true;
    d = decision_begin(table, 1, &s);
    decision_end(table, &d, &whole);
    assert_int_equal(sunk, 4);
    one("named");
    assert_int_equal(sunk, 4);
    make(4, DECISIONS_ALL);
    one("all");
    assert_int_equal(sunk, 5);
    make(4, DECISIONS_NONE);
    d = begin("failed");
    r.outcome = "failed";
    decision_end(table, &d, &r);
    assert_int_equal(sunk, 5);
}

static void test_none(void **state)
{
    (void)state;
    char text[UUID_TEXT + 1];
    make(0, DECISIONS_ALL);
    decision *d = begin("m");
    assert_null(d);
    decision_id(d, text);
    assert_string_equal(text, "");
    plan p = {.n = 0};
    decision_plan(d, &p);
    decision_attempt(d, &good);
    decision_end(table, &d, &whole);
}

static void test_long_text(void **state)
{
    (void)state;
    arena a;
    arena_init(&a, 1 << 20);
    static char large[4000];
    memset(large, 'x', sizeof large);
    memcpy(large + 126, "\xc3\xa4\xc3\xa4", 4); /* the limit lies at a character's end */
    decision_start s = start_of("m");
    s.asked = (sv_str){large, sizeof large};
    s.user = s.asked;
    decision *d = decision_begin(table, 1, &s);
    sv_id id = id_of(d);
    large[3999] = 0;
    decision_try t = good;
    for (int i = 0; i < DECISION_TRIES + 5; i++) {
        char name[200];
        snprintf(name, sizeof name, "%d-%.150s", i, large + 200);
        t.model = name;
        decision_attempt(d, &t);
    }
    decision_end(table, &d, &whole);
    router_decision_reply r = message(&id, &a);
    assert_int_equal(r.asked.n, 128);
    assert_int_equal(r.attempts.n, DECISION_TRIES);
    assert_int_equal(r.more_attempts, 5);
    assert_int_equal(r.user.n, 0); /* nobody's: it cannot be compared */
    assert_int_equal(r.org.n, 0);
    arena_free(&a);
}

static void test_rated(void **state)
{
    (void)state;
    arena a;
    arena_init(&a, 1 << 20);
    sv_id id = one("m"), unknown = uuid_new();
    decision_rated(table, &id, -1);
    decision_rated(table, &unknown, 1);
    assert_int_equal(message(&id, &a).rating, -1);
    arena_free(&a);
}

/* A bound that only a mistake of another order breaks: sanitizers and a busy machine are allowed for. */
static void test_cheap(void **state)
{
    (void)state;
    struct timespec a, b;
    make(4096, DECISIONS_SOME);
    for (int i = 0; i < 5000; i++)
        one("m");
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    for (int i = 0; i < 50000; i++)
        one("m");
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    double us =
        ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / 50000 / 1e3;
    print_message("%.2f us a request\n", us);
    assert_true(us < 40);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_ids),  T(test_whole_record), T(test_ring),  T(test_what_is_kept),
        T(test_none), T(test_long_text),    T(test_rated), T(test_cheap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
