/*  test_flights.c - requests that share a call: who leads, who follows, who is left when something
 *  ends. The bus is a log of what was asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "error.h"
#include "flights.h"

#include <stdio.h>
#include <stdlib.h>

enum { PEOPLE = 8, MOST = 100000 };

/* What came to a person. */
typedef struct person {
    rider *rider;
    bool head, answered, shared, shut; /* shut: takes nothing */
    int code, small_window, name;      /* name: in which he asks */
    buf bytes;
} person;

static person people[PEOPLE];
static flights table;
static int started, cancelled, landed_n, start_fails, led_by;
static size_t granted;
static rider *leader;
static const char key[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

static int start(flight *f, rider *lead, sv_error *err)
{
    (void)f;
    if (start_fails > 0) {
        start_fails--;
        return sv_fail(err, SV_E_UNAVAILABLE, NULL, NULL);
    }
    started++;
    leader = lead;
    led_by = ((person *)lead->data)->name;
    return 0;
}

static void cancel(flight *f)
{
    (void)f;
    cancelled++;
}

static void consumed(flight *f, uint32_t items, size_t bytes)
{
    (void)f;
    (void)items;
    granted += bytes;
}

static int head(rider *r, sv_str bytes)
{
    person *p = r->data;
    if (p->small_window && bytes.n) return SV_E_QUEUE_FULL;
    assert_false(p->head);
    p->head = true;
    p->shared = r->shared;
    return buf_put(&p->bytes, bytes.p, bytes.n);
}

static bool ready(rider *r)
{
    return !((person *)r->data)->shut;
}

static int put(rider *r, sv_str bytes)
{
    person *p = r->data;
    assert_true(p->head && bytes.n > 0 && bytes.n <= FLIGHT_PIECE);
    return buf_put(&p->bytes, bytes.p, bytes.n);
}

static void reply(rider *r, sv_str bytes)
{
    person *p = r->data;
    assert_false(p->answered);
    p->answered = true;
    p->shared = r->shared;
    p->rider = NULL;
    if (bytes.n) assert_int_equal(buf_put(&p->bytes, bytes.p, bytes.n), 0);
}

static void refuse(rider *r, int code, const sv_error *err)
{
    person *p = r->data;
    (void)err;
    assert_false(p->answered);
    p->answered = true;
    p->code = code;
    p->rider = NULL;
}

static void landed(flight *f)
{
    assert_int_equal(f->base, 0);
    landed_n++;
}

static bool same_name(const flight *f, const rider *r)
{
    (void)f;
    return ((person *)r->data)->name == led_by;
}

static const flight_ops ops = {start, cancel, consumed, head,      ready,
                               put,   reply,  refuse,   same_name, landed};

static int begin(void **state)
{
    (void)state;
    for (int i = 0; i < PEOPLE; i++) {
        people[i] = (person){.code = 0};
        buf_init(&people[i].bytes, 64 << 20);
    }
    started = cancelled = landed_n = start_fails = 0;
    granted = 0;
    leader = NULL;
    flights_init(&table, &ops, MOST);
    return 0;
}

static int end(void **state)
{
    (void)state;
    flights_free(&table);
    for (int i = 0; i < PEOPLE; i++)
        buf_free(&people[i].bytes);
    return 0;
}

static flight *come(int i, bool stream)
{
    flight *f = flight_find(&table, key);
    rider *r = calloc(1, sizeof *r);
    sv_error err = {0};
    r->data = &people[i];
    people[i].rider = r;
    if (f) {
        flight_join(f, r);
        return f;
    }
    f = flight_new(&table, key, stream, true);
    assert_non_null(f);
    if (flight_start(f, r, &err) == 0) return f;
    people[i].rider = NULL;
    return NULL;
}

static void item(flight *f, const char *bytes)
{
    flight_item(f, f->begun ? sv_cstr(bytes) : sv_cstr("HEAD"),
                f->begun ? (sv_str){NULL, 0} : sv_cstr(bytes));
}

static void done(flight *f, int code)
{
    sv_error err = {0};
    if (code) sv_fail(&err, code, NULL, NULL);
    flight_done(f, code, sv_cstr("END"), (sv_str){NULL, 0}, &err);
}

static void has(int i, const char *bytes)
{
    assert_int_equal(people[i].bytes.n, strlen(bytes));
    if (*bytes) assert_memory_equal(people[i].bytes.p, bytes, strlen(bytes));
}

static void one_call_for_all(void **state)
{
    (void)state;
    flight *f = come(0, false);
    for (int i = 1; i < PEOPLE; i++)
        assert_ptr_equal(come(i, false), f);
    assert_int_equal(started, 1);
    flight_done(f, 0, sv_cstr("HEAD"), sv_cstr("answer"), NULL);
    for (int i = 0; i < PEOPLE; i++) {
        assert_true(people[i].answered && people[i].code == 0);
        assert_int_equal(people[i].shared, i > 0);
        has(i, "answer");
    }
    assert_int_equal(landed_n, 1);
    assert_int_equal(cancelled, 0);
    assert_null(flight_find(&table, key));
    assert_true(TAILQ_EMPTY(&table.all));
}

static void who_comes_late_gets_all(void **state)
{
    (void)state;
    flight *f = come(0, true);
    item(f, "one ");
    item(f, "two ");
    come(1, true);
    has(1, "one two ");
    people[2].small_window = 1;
    come(2, true);
    has(2, "one two ");
    item(f, "three");
    done(f, 0);
    for (int i = 0; i < 3; i++) {
        has(i, "one two three");
        assert_true(people[i].answered && people[i].code == 0);
    }
    assert_int_equal(started, 1);
    assert_true(people[1].shared && !people[0].shared);
    assert_int_equal(granted, strlen("HEADone two three"));
}

static void a_slow_one_holds_nobody(void **state)
{
    (void)state;
    flight *f = come(0, true);
    come(1, true);
    people[0].shut = true; /* the leader, even */
    for (int i = 0; i < 10; i++)
        item(f, "0123456789");
    done(f, 0);
    assert_true(people[1].answered && people[1].bytes.n == 100);
    assert_false(people[0].answered);
    assert_int_equal(landed_n, 1);
    people[0].shut = false;
    flight_drained(people[0].rider);
    assert_true(people[0].answered && people[0].bytes.n == 100);
    assert_true(TAILQ_EMPTY(&table.all));
}

static void who_is_alone_and_slow_holds_the_provider(void **state)
{
    (void)state;
    static char kib[65 << 10];
    memset(kib, 'x', sizeof kib - 1);
    flight *f = come(0, true);
    item(f, "begin");
    people[0].shut = true;
    size_t before = granted;
    item(f, kib);
    item(f, kib);
    assert_int_equal(granted, before);
    people[0].shut = false;
    flight_drained(people[0].rider);
    assert_int_equal(granted, before + 2 * strlen(kib));
    done(f, 0);
    assert_int_equal(landed_n, 0); /* longer than what is kept */
    assert_true(people[0].answered && people[0].code == 0);
}

static void long_answers_are_trimmed_and_laggards_cut_off(void **state)
{
    (void)state;
    static char kib[65 << 10];
    memset(kib, 'x', sizeof kib - 1);
    flight *f = come(0, true);
    come(1, true);
    item(f, "begin");
    people[1].shut = true;
    size_t sent = strlen("begin");
    while (!people[1].answered) {
        item(f, kib);
        sent += strlen(kib);
        assert_true(sent <= FLIGHT_LAG + MOST + 2 * sizeof kib);
    }
    assert_int_equal(people[1].code, SV_E_OVERLOADED);
    assert_int_equal(people[0].bytes.n, sent);
    assert_null(flight_find(&table, key));
    come(2, true); /* a call of his own */
    assert_int_equal(started, 2);
    for (int i = 0; i < 100; i++)
        item(f, kib);
    assert_true(f->copy.n < (512 << 10));
    done(f, 0);
    assert_int_equal(people[0].bytes.n, sent + 100 * strlen(kib));
    flight_leave(people[2].rider);
    assert_int_equal(cancelled, 1);
}

static void the_call_ends_with_the_last_rider(void **state)
{
    (void)state;
    flight *f = come(0, true);
    come(1, true);
    item(f, "one ");
    flight_leave(people[0].rider);
    assert_int_equal(cancelled, 0);
    item(f, "two");
    has(1, "one two");
    flight_leave(people[1].rider);
    assert_int_equal(cancelled, 1);
    assert_true(TAILQ_EMPTY(&table.all));
    assert_int_equal(landed_n, 0);
}

static void a_refusal_of_the_leader_is_his_alone(void **state)
{
    (void)state;
    flight *f = come(0, false);
    come(1, false);
    come(2, false);
    done(f, SV_E_MODEL_NOT_ALLOWED);
    assert_int_equal(people[0].code, SV_E_MODEL_NOT_ALLOWED);
    assert_ptr_equal(leader, people[1].rider);
    assert_int_equal(started, 2);
    start_fails = 1;
    come(3, false);
    done(f, SV_E_RATE); /* the next cannot even begin: the one behind him leads */
    assert_int_equal(people[1].code, SV_E_RATE);
    assert_int_equal(people[2].code, SV_E_UNAVAILABLE);
    assert_ptr_equal(leader, people[3].rider);
    flight_done(f, 0, sv_cstr("HEAD"), sv_cstr("x"), NULL);
    assert_true(people[3].answered && people[3].code == 0 && !people[3].shared);
    assert_int_equal(landed_n, 1);
}

static void a_refusal_of_a_leader_who_left(void **state)
{
    (void)state;
    flight *f = come(0, false);
    come(1, false);
    flight_leave(people[0].rider);
    done(f, SV_E_DEADLINE);
    assert_int_equal(started, 2);
    assert_ptr_equal(leader, people[1].rider);
    done(f, SV_E_DEADLINE);
    assert_int_equal(people[1].code, SV_E_DEADLINE);
    assert_true(TAILQ_EMPTY(&table.all));
}

static void a_lost_router_is_replaced_once(void **state)
{
    (void)state;
    flight *f = come(0, true);
    come(1, true);
    done(f, SV_E_PEER_LOST);
    assert_int_equal(started, 2);
    assert_ptr_equal(leader, people[1].rider);
    done(f, SV_E_PEER_LOST);
    assert_int_equal(started, 2);
    assert_int_equal(people[0].code, SV_E_PEER_LOST);
    assert_int_equal(people[1].code, SV_E_PEER_LOST);
    end(NULL);
    begin(NULL);
    f = come(0, true); /* nobody else's ticket: no second try */
    done(f, SV_E_PEER_LOST);
    assert_int_equal(started, 1);
    assert_int_equal(people[0].code, SV_E_PEER_LOST);
}

static void failures_of_providers_are_everybodys(void **state)
{
    (void)state;
    static const int codes[] = {SV_E_PROVIDER_TIMEOUT, SV_E_PROVIDER_REFUSED, SV_E_OVERLOADED,
                                SV_E_MODEL_UNKNOWN, SV_E_NO_SERVICE};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        flight *f = come(0, true);
        come(1, true);
        int before = started;
        done(f, codes[i]);
        assert_int_equal(started, before);
        assert_int_equal(people[0].code, codes[i]);
        assert_int_equal(people[1].code, codes[i]);
        end(NULL);
        begin(NULL);
    }
}

/* It may be that of a provider which only the leader has. */
static void others_ask_once_more(void **state)
{
    (void)state;
    for (int left = 0; left < 2; left++) { /* the leader, before it fails */
        for (int i = 0; i < 4; i++)
            people[i].name = i / 2;
        flight *f = come(0, true);
        for (int i = 1; i < 4; i++)
            come(i, true);
        if (left) flight_leave(people[0].rider);
        done(f, SV_E_PROVIDER_TIMEOUT);
        assert_int_equal(people[1].code, SV_E_PROVIDER_TIMEOUT);
        assert_int_equal(people[0].answered, !left);
        assert_int_equal(started, 2);
        assert_ptr_equal(leader, people[2].rider);
        assert_false(people[2].answered || people[3].answered);
        people[4].name = 2;
        come(4, true);
        done(f, SV_E_PROVIDER_TIMEOUT); /* of the next all hear */
        assert_int_equal(started, 2);
        for (int i = 2; i < 5; i++)
            assert_int_equal(people[i].code, SV_E_PROVIDER_TIMEOUT);
        assert_true(TAILQ_EMPTY(&table.all));
        end(NULL);
        begin(NULL);
    }
}

static void some_fly_on(void **state)
{
    (void)state;
    rider_list others;
    for (int i = 0; i < 4; i++)
        people[i].name = i % 2;
    flight *f = come(0, true);
    for (int i = 1; i < 4; i++)
        come(i, true);
    flight_doom(f);
    assert_true(flight_split(f, &others));
    assert_ptr_equal(TAILQ_FIRST(&others), people[1].rider);
    assert_ptr_equal(TAILQ_NEXT(people[1].rider, link), people[3].rider);
    assert_null(TAILQ_NEXT(people[3].rider, link));
    assert_ptr_equal(leader, people[0].rider);
    free(people[1].rider);
    free(people[3].rider);
    item(f, "for two");
    flight_leave(people[0].rider);
    done(f, 0);
    has(2, "for two");
    assert_int_equal(landed_n, 0);

    people[4].name = 5;
    people[5].name = 6;
    f = come(4, true);
    come(5, true);
    flight_leave(people[4].rider);
    assert_false(flight_split(f, &others)); /* nobody is left */
    assert_int_equal(cancelled, 1);
    assert_true(TAILQ_EMPTY(&table.all));
    free(people[5].rider);
}

static void a_failure_in_the_middle_comes_behind_what_came(void **state)
{
    (void)state;
    flight *f = come(0, true);
    come(1, true);
    people[1].shut = true;
    item(f, "one ");
    item(f, "two");
    done(f, SV_E_PEER_LOST);
    assert_int_equal(started, 1);
    assert_int_equal(people[0].code, SV_E_PEER_LOST);
    assert_false(people[1].answered);
    people[1].shut = false;
    flight_drained(people[1].rider);
    has(1, "one two");
    assert_int_equal(people[1].code, SV_E_PEER_LOST);
    assert_int_equal(landed_n, 0);
}

static void what_was_cleared_is_not_kept(void **state)
{
    (void)state;
    flight *f = come(0, true);
    item(f, "one");
    flight_doom(f);
    assert_null(flight_find(&table, key));
    done(f, 0);
    assert_int_equal(landed_n, 0);
    has(0, "one");
}

static void an_answer_that_is_here(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        flight *f = flight_new(&table, key, i == 0, false);
        rider *r = calloc(1, sizeof *r);
        r->data = &people[i];
        people[i].rider = r;
        assert_int_equal(buf_put(&f->copy, "whole", 5), 0);
        flight_replay(f, r);
        assert_true(people[i].answered && people[i].code == 0);
        has(i, "whole");
    }
    assert_int_equal(started + landed_n + cancelled, 0);
    assert_true(TAILQ_EMPTY(&table.all));
}

static void an_end_without_a_beginning(void **state)
{
    (void)state;
    flight *f = come(0, true);
    done(f, 0);
    assert_int_equal(people[0].code, SV_E_PROVIDER_GARBAGE);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(one_call_for_all),
        TEST(who_comes_late_gets_all),
        TEST(a_slow_one_holds_nobody),
        TEST(who_is_alone_and_slow_holds_the_provider),
        TEST(long_answers_are_trimmed_and_laggards_cut_off),
        TEST(the_call_ends_with_the_last_rider),
        TEST(a_refusal_of_the_leader_is_his_alone),
        TEST(a_refusal_of_a_leader_who_left),
        TEST(a_lost_router_is_replaced_once),
        TEST(failures_of_providers_are_everybodys),
        TEST(others_ask_once_more),
        TEST(some_fly_on),
        TEST(a_failure_in_the_middle_comes_behind_what_came),
        TEST(what_was_cleared_is_not_kept),
        TEST(an_answer_that_is_here),
        TEST(an_end_without_a_beginning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
