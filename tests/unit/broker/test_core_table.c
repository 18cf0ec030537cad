/*  test_core_table.c - rings, the table, the wheel. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core_table.h"

#include <stdlib.h>

typedef struct item {
    core_node node;
    core_timer timer;
    uint64_t due_us, fired_us;
    uint32_t key;
} item;

static void test_table(void **state)
{
    (void)state;
    enum { N = 5000 };
    core_table t;
    assert_int_equal(core_table_init(&t, 4), 0);
    item *items = calloc(N, sizeof *items);
    core_seed seed = {1, 3};
    for (uint32_t i = 0; i < N; i++) {
        items[i].key = i;
        core_table_add(&t, &items[i].node, core_hash_u64(seed, i, 0));
    }
    assert_int_equal(t.n, N);
    assert_true(t.n_slots >= N);
    for (uint32_t i = 0; i < N; i += 2)
        core_table_remove(&t, &items[i].node);
    size_t seen = 0;
    for (core_node *n = NULL; (n = core_table_next(&t, n)); seen++)
        assert_true(core_of(item, node, n)->key % 2 == 1);
    assert_int_equal(seen, N / 2);
    for (uint32_t i = 1; i < N; i += 2)
        core_table_remove(&t, &items[i].node);
    assert_null(core_table_next(&t, NULL));
    assert_true(t.n_slots <= 2048); /* it shrinks again */
    core_table_free(&t);
    free(items);
}

/* Timers at random times, some moved, some stopped: each fires once, never early, at most a slot
 * late. */
static void test_wheel(void **state)
{
    (void)state;
    enum { N = 3000 };
    uint64_t random = 5, now = 123456789;
    core_wheel *w = malloc(sizeof *w);
    item *items = calloc(N, sizeof *items);
    core_wheel_init(w, now);
    assert_int_equal(core_wheel_next_us(w), UINT64_MAX);
    for (int i = 0; i < N; i++) {
        items[i].due_us = now + core_random(&random) % 10000000;
        core_wheel_set(w, &items[i].timer, items[i].due_us);
    }
    for (int i = 0; i < N; i += 3) {
        items[i].due_us = now + core_random(&random) % 10000000;
        core_wheel_set(w, &items[i].timer, items[i].due_us);
    }
    for (int i = 1; i < N; i += 3) {
        core_wheel_stop(w, &items[i].timer);
        core_wheel_stop(w, &items[i].timer);
    }
    int fired = 0;
    for (uint64_t next; (next = core_wheel_next_us(w)) != UINT64_MAX;) {
        assert_true(next > now);
        now = next;
        for (core_timer *t; (t = core_wheel_pop(w, now)); fired++) {
            item *x = core_of(item, timer, t);
            assert_int_equal(x->fired_us, 0);
            assert_true(now >= x->due_us && now <= x->due_us + 1024);
            x->fired_us = now;
        }
    }
    assert_int_equal(fired, N - N / 3);
    for (int i = 1; i < N; i += 3)
        assert_int_equal(items[i].fired_us, 0);
    free(items);
    free(w);
}

static void test_wheel_after_a_pause(void **state)
{
    (void)state;
    core_wheel *w = malloc(sizeof *w);
    item items[100] = {0};
    core_wheel_init(w, 0);
    for (uint64_t i = 0; i < 100; i++)
        core_wheel_set(w, &items[i].timer, i * 100000);
    int fired = 0;
    while (core_wheel_pop(w, 3600000000))
        fired++; /* an hour at once */
    assert_int_equal(fired, 100);
    core_wheel_set(w, &items[0].timer, 5); /* long past: at the next slot */
    assert_null(core_wheel_pop(w, 3600000000));
    assert_non_null(core_wheel_pop(w, 3600000000 + 2048));
    free(w);
}

static void test_hash_spreads(void **state)
{
    (void)state;
    core_seed seed = {0x1234567, 0x89abcdf1};
    uint32_t buckets[64] = {0};
    char text[16];
    for (int i = 0; i < 6400; i++) {
        memset(text, 0, sizeof text);
        memcpy(text + 4, &i, sizeof i); /* ids that differ in few bits */
        buckets[core_hash_id(seed, text) % 64]++;
    }
    for (int i = 0; i < 64; i++)
        assert_in_range(buckets[i], 50, 160);
    assert_int_not_equal(core_hash_bytes(seed, "a", 1), core_hash_bytes(seed, "a\0", 2));
    assert_int_not_equal(core_hash_bytes(seed, "12345678", 8),
                         core_hash_bytes(seed, "123456789", 9));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_wheel),
        cmocka_unit_test(test_wheel_after_a_pause),
        cmocka_unit_test(test_hash_spreads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
