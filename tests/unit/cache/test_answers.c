/*  test_answers.c - which answers are kept, who goes first, what memory and disk have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../store_kit.h"
#include "answers_store.h"
#include "error.h"
#include "keep.h"
#include "tally.h"

#include <stdio.h>
#include <stdlib.h>

enum { SIZE = 1000, HOLDS = 10, WEIGHT = SIZE + 512, NOW = 1000000 };

static answers all;
static char keys[64][CACHE_KEY + 1];

static int begin(void **state)
{
    (void)state;
    answers_limits limits = {.bytes = HOLDS * WEIGHT, .memory_bytes = 3 * SIZE, .most = 1000};
    answers_init(&all, &limits);
    for (int i = 0; i < 64; i++)
        snprintf(keys[i], sizeof keys[i], "%032x%032x", i * 7919, i);
    return 0;
}

static int end(void **state)
{
    (void)state;
    answers_free(&all);
    return 0;
}

static answer_info info(int i)
{
    return (answer_info){.key = sv_cstr(keys[i]),
                         .org = sv_cstr(i % 2 ? "odd" : "even"),
                         .model = sv_cstr("up-m"),
                         .asked = sv_cstr("m"),
                         .task = sv_cstr("chat"),
                         .size = SIZE,
                         .created = NOW,
                         .expires = NOW + 60000};
}

static answer_bytes *bytes(int i)
{
    char body[SIZE - 6];
    memset(body, 'a' + i % 26, sizeof body);
    return answer_bytes_new(sv_cstr("head"), sv_cstr("en"), (sv_str){body, sizeof body});
}

static answer *add(int i)
{
    answer_info in = info(i);
    answer_bytes *b = bytes(i);
    answer *r = answers_add(&all, &in, b);
    answer_bytes_unref(b);
    return r;
}

static answer *find(int i)
{
    return answers_find(&all, keys[i], NOW, 0);
}

static void found_while_it_holds(void **state)
{
    (void)state;
    assert_null(find(1));
    assert_non_null(add(1));
    assert_non_null(find(1));
    assert_null(answers_find(&all, keys[1], NOW + 60000, 0));
    assert_non_null(answers_find(&all, keys[1], NOW + 5000, 5));
    assert_null(answers_find(&all, keys[1], NOW + 5001, 5));
    assert_non_null(answers_find(&all, keys[1], NOW - 5000, 5)); /* the clock was put back */
    assert_int_equal(all.figures.bytes, WEIGHT);
    add(1); /* again: in its place */
    assert_int_equal(all.figures.answers, 1);
    assert_int_equal(all.figures.bytes, WEIGHT);
    assert_int_equal(all.n_gone, 0);
    answers_sweep(&all, NOW + 60000, 10);
    assert_int_equal(all.figures.answers, 0);
    assert_int_equal(all.figures.expired, 1);
}

static void what_was_used_stays(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        add(i);
        answers_hit(&all, find(i), NOW);
    }
    for (int i = 5; i < 60; i++) /* a flood that never comes again */
        add(i);
    assert_int_equal(all.figures.answers, HOLDS);
    assert_true(all.figures.bytes <= all.limits.bytes);
    for (int i = 0; i < 5; i++)
        assert_non_null(find(i));
    assert_null(find(5));
    assert_non_null(find(59));
    assert_int_equal(all.figures.evicted, 50);
    assert_int_equal(all.n_gone, 50);
    assert_string_equal(all.gone[0], keys[5]);
}

/* Bytes that say what a question means are on the disk, too. */
static void vectors_take_room(void **state)
{
    (void)state;
    for (int i = 0; i < HOLDS; i++)
        add(i);
    assert_int_equal(all.figures.answers, HOLDS);
    answer_info in = info(HOLDS);
    in.meant = 4 * WEIGHT;
    assert_non_null(answers_add(&all, &in, NULL));
    assert_int_equal(all.figures.answers, HOLDS - 4);
    assert_int_equal(all.figures.bytes, HOLDS * WEIGHT);
    answers_drop(&all, find(HOLDS), false);
    assert_int_equal(all.figures.bytes, (HOLDS - 5) * WEIGHT);
}

static void established_ones_leave_room(void **state)
{
    (void)state;
    for (int i = 0; i < HOLDS; i++)
        add(i);
    for (int i = 0; i < HOLDS; i++)
        answers_hit(&all, find(i), NOW + i);
    assert_true(all.settled_bytes <= all.limits.bytes / 5 * 4);
    add(20);
    assert_null(find(0)); /* used before all others */
    assert_non_null(find(1));
    assert_non_null(find(20));
}

static void memory_has_the_last_used(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        add(i);
    assert_int_equal(all.figures.in_memory, 3);
    assert_int_equal(all.figures.memory_bytes, 3 * SIZE);
    assert_null(find(0)->bytes);
    answers_hit(&all, find(2), NOW);
    answer_bytes *b = bytes(0);
    answers_heat(&all, find(0), b);
    assert_int_equal(b->refs, 2);
    answer_bytes_unref(b);
    assert_non_null(find(2)->bytes);
    assert_null(find(3)->bytes);
    sv_str body = answer_body(find(0)->bytes);
    assert_true(body.n == SIZE - 6 && body.p[0] == 'a');
    assert_true(sv_str_is(answer_head(find(0)->bytes), "head"));
    assert_true(sv_str_is(answer_end(find(0)->bytes), "en"));
}

static void clearing(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++)
        add(i);
    answers_filter f = {.org = sv_cstr("odd"), .model = sv_cstr("other")};
    assert_int_equal(answers_clear(&all, &f), 0);
    f.model = sv_cstr("up-m");
    assert_int_equal(answers_clear(&all, &f), 4);
    f = (answers_filter){.any_org = true, .key = sv_cstr(keys[2])};
    assert_int_equal(answers_clear(&all, &f), 1);
    assert_null(find(2));
    assert_non_null(find(4));
    f = (answers_filter){.org = sv_cstr("")};
    assert_int_equal(answers_clear(&all, &f), 0);
    f = (answers_filter){.any_org = true};
    assert_int_equal(answers_clear(&all, &f), 3);
    assert_int_equal(all.figures.bytes, 0);
    assert_int_equal(all.n_gone, 8);
}

/* ---- the disk ---- */

static const store_table *const tables[] = {&cache_answers};
static const store_schema schema = {
    .service = "cache", .version = 1, .tables = tables, .n_tables = 1};

static char meant_bucket[CACHE_KEY + 1], meant_vector[8];

static void load_one(void *arg, const answer_info *i, const answer_meant *meant)
{
    (void)arg;
    answers_load(&all, i);
    if (meant->vector.n != 4) return;
    memcpy(meant_bucket, meant->bucket.p, meant->bucket.n);
    memcpy(meant_vector, meant->vector.p, meant->vector.n);
}

static void rows_and_bytes(void **state)
{
    (void)state;
    kit_make(&schema, NOW);
    for (int i = 0; i < 6; i++) {
        answer_bytes *b = bytes(i);
        answer_put p = {.info = info(i), .bytes = b};
        p.info.stream = i == 3;
        if (i == 5) p.info.expires = NOW + 1;
        if (i == 2) p.meant = (answer_meant){sv_cstr(keys[9]), sv_cstr("abcd")};
        assert_int_equal(kit_write(answer_store_put, &p, NULL), 0);
        if (i == 2) assert_int_equal(kit_write(answer_store_put, &p, NULL), 0); /* in its place */
        answer_bytes_unref(b);
    }
    answer_note note = {.hits = 9, .used = NOW + 5};
    memcpy(note.key, keys[1], sizeof note.key);
    answer_notes notes = {&note, 1};
    assert_int_equal(kit_write(answer_store_note, &notes, NULL), 0);
    answer_keys gone = {(const char(*)[CACHE_KEY + 1]) keys[4], 1};
    assert_int_equal(kit_write(answer_store_forget, &gone, NULL), 0);
    assert_int_equal(kit_write(answer_store_forget, &gone, NULL), 0);
    kit_now_ms = NOW + 2; /* one is over */
    kit_again();

    answer_page page = {.take = load_one};
    buf_init(&page.position, 4096);
    assert_int_equal(kit_peek(answer_store_page, NULL, &page), 0);
    buf_free(&page.position);
    answers_loaded(&all);
    assert_int_equal(all.figures.answers, 4);
    assert_string_equal(meant_bucket, keys[9]);
    assert_memory_equal(meant_vector, "abcd", 4);
    assert_int_equal(find(1)->info.hits, 9);
    assert_true(find(3)->info.stream && !find(2)->info.stream);
    assert_true(sv_str_is(find(2)->info.org, "even") && sv_str_is(find(2)->info.asked, "m"));
    assert_true(find(1)->settled && !find(2)->settled);
    answer **most;
    assert_int_equal(answers_most_used(&all, NULL, 2, &most), 2);
    assert_string_equal(most[0]->key, keys[1]);
    free(most);

    answer_bytes *b = NULL;
    for (int i = 1; i < 3; i++) {
        answer_bytes *want = bytes(i);
        assert_int_equal(kit_peek(answer_store_read, keys[i], &b), 0);
        assert_int_equal(b->body_n, want->body_n);
        assert_memory_equal(b->b, want->b, SIZE);
        answer_bytes_unref(want);
    }
    assert_int_equal(kit_peek(answer_store_read, keys[4], &b), SV_E_NOT_FOUND);
    assert_null(b);
    kit_remove();
}

/* ---- rules and counts ---- */

static void how_long(void **state)
{
    (void)state;
    keep_rules k;
    sv_str none = {NULL, 0}, chat = sv_cstr("chat");
    assert_int_equal(keep_parse(" translate=7d,summarise=90 , code=0, embeddings=2h", &k, NULL),
                     SV_E_CONFIG);
    assert_int_equal(keep_parse(" translate=7d,summarise=90s , code=0, embeddings=2h", &k, NULL),
                     0);
    assert_int_equal(keep_seconds(&k, none, sv_cstr("translate")), 7 * 86400);
    assert_int_equal(keep_seconds(&k, chat, sv_cstr("summarise")), 90);
    assert_int_equal(keep_seconds(&k, chat, sv_cstr("code")), 0);
    assert_int_equal(keep_seconds(&k, chat, chat), 0);
    assert_int_equal(keep_seconds(&k, sv_cstr("embeddings"), none), 7200);
    assert_int_equal(keep_seconds(&k, sv_cstr("embeddings"), sv_cstr("translate")), 7200);
    assert_int_equal(keep_parse("", &k, NULL), 0);
    static const char *const bad[] = {"x=1d",
                                      "chat",
                                      "chat=",
                                      "chat=1",
                                      "chat=1w",
                                      "chat=366d",
                                      "chat=-1s",
                                      "chat=1d code=1d",
                                      "chat=1d,chat=2d",
                                      ",",
                                      "chat=99999999999999999999d"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(keep_parse(bad[i], &k, NULL), SV_E_CONFIG);
}

static void generation_with(const char *name, const char *value, char key[CACHE_KEY + 1])
{
    config *c;
    sv_error err = {0};
    setenv("SAMOVAR_DATA", "/tmp", 1);
    if (name) setenv(name, value, 1);
    assert_int_equal(config_load(NULL, &c, &err), 0);
    assert_int_equal(keep_generation(c, key), 0);
    config_free(c);
    if (name) unsetenv(name);
}

static void another_routing_is_another_generation(void **state)
{
    (void)state;
    char plain[CACHE_KEY + 1], same[CACHE_KEY + 1], other[CACHE_KEY + 1];
    generation_with(NULL, NULL, plain);
    generation_with("SAMOVAR_ROUTER_SLOTS", "5", same);
    assert_string_equal(plain, same);
    generation_with("SAMOVAR_ROUTER_LOG_REQUESTS", "on", same);
    generation_with("SAMOVAR_ROUTER_DISCOVER", "false", other);
    assert_string_equal(plain, same);
    assert_string_not_equal(plain, other);
}

static void counts(void **state)
{
    (void)state;
    static tally t;
    char name[16];
    tally_init(&t);
    tally_add(&t, sv_cstr("o"), sv_cstr("m"), TALLY_MISS, 5, 7);
    tally_add(&t, sv_cstr("o"), sv_cstr("m"), TALLY_HIT, 5, 7);
    tally_add(&t, sv_cstr("p"), sv_cstr("m"), TALLY_SHARED, 1, 1);
    assert_int_equal(t.n, 2);
    assert_int_equal(t.rows[0].count[TALLY_HIT], 1);
    assert_int_equal(t.rows[0].tokens, 5);
    assert_int_equal(t.rows[0].price, 7);
    for (int i = 0; i < 2 * TALLY_ORG; i++) { /* one organization does not fill it for others */
        snprintf(name, sizeof name, "m%d", i);
        tally_add(&t, sv_cstr("o"), sv_cstr(name), TALLY_HIT, 1, 0);
    }
    assert_int_equal(t.n, TALLY_ORG + 2);
    assert_string_equal(t.rows[t.n - 1].model, TALLY_OTHER);
    assert_int_equal(t.rows[t.n - 1].count[TALLY_HIT], TALLY_ORG + 1);
    tally_add(&t, sv_cstr("p"), sv_cstr("m"), TALLY_MEANT, 1, 1);
    assert_int_equal(t.rows[1].count[TALLY_MEANT], 1);
    for (int i = 0; i < 2 * TALLY_MOST; i++) {
        snprintf(name, sizeof name, "o%d", i);
        tally_add(&t, sv_cstr(name), sv_cstr("m"), TALLY_HIT, 1, 0);
    }
    assert_int_equal(t.n, TALLY_MOST);
    assert_int_equal(t.rows[TALLY_MOST].count[TALLY_HIT], TALLY_MOST + TALLY_ORG + 2);
    tally_free(&t);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(found_while_it_holds),
        TEST(what_was_used_stays),
        TEST(vectors_take_room),
        TEST(established_ones_leave_room),
        TEST(memory_has_the_last_used),
        TEST(clearing),
        TEST(rows_and_bytes),
        TEST(how_long),
        TEST(another_routing_is_another_generation),
        TEST(counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
