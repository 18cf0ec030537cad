/*  test_name_table.c - things found by name, and rings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "name_table.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct thing {
    ring_link link;
    named name;
} thing;

static sv_str word(char to[160], int i)
{
    int n = snprintf(to, 160, "%0*d", 1 + i % 130, i);
    return (sv_str){to, (uint32_t)n};
}

static void finds_what_is_there(void **state)
{
    (void)state;
    enum { N = 3000 };
    static thing things[N];
    char text[160];
    name_table t;
    assert_int_equal(name_table_init(&t, 100), 0); /* fewer slots than members */
    for (int i = 0; i < N; i++) {
        sv_str w = word(text, i);
        if (w.n <= NAME_BYTES_MOST) assert_null(name_table_find(&t, w));
        name_table_add(&t, &things[i].name, w);
    }
    assert_int_equal(t.n, N);
    for (int i = 0; i < N; i += 2)
        name_table_remove(&t, &things[i].name);
    assert_int_equal(t.n, N / 2);
    for (int i = 0; i < N; i++) {
        sv_str w = word(text, i);
        if (w.n > NAME_BYTES_MOST) continue;
        assert_ptr_equal(name_table_find(&t, w), i % 2 ? &things[i].name : NULL);
    }
    name_table_free(&t);
    name_table_free(&t);
}

static void long_names_are_cut(void **state)
{
    (void)state;
    char text[200];
    named m;
    name_table t;
    memset(text, 'x', sizeof text);
    assert_int_equal(name_table_init(&t, 1), 0);
    name_table_add(&t, &m, (sv_str){text, 200});
    assert_int_equal(m.n, NAME_BYTES_MOST);
    assert_ptr_equal(name_table_find(&t, (sv_str){text, 150}), &m);
    assert_ptr_equal(name_table_find(&t, (sv_str){text, NAME_BYTES_MOST}), &m);
    assert_null(name_table_find(&t, (sv_str){text, NAME_BYTES_MOST - 1}));
    assert_null(name_table_find(&t, (sv_str){NULL, 0}));
    name_table_free(&t);
}

static void rings_keep_their_order(void **state)
{
    (void)state;
    thing a = {.link = {NULL, NULL}}, b = a, c = a;
    ring_link ring;
    ring_init(&ring);
    assert_true(ring_empty(&ring));
    ring_unlink(&a.link); /* in no ring */
    ring_push(&ring, &a.link);
    ring_push(&ring, &b.link);
    ring_push(&ring, &c.link);
    assert_ptr_equal(member_of(thing, link, ring.next), &a);
    ring_unlink(&a.link);
    assert_false(ring_has(&a.link));
    ring_push(&ring, &a.link);
    assert_ptr_equal(member_of(thing, link, ring.next), &b);
    assert_ptr_equal(member_of(thing, link, ring.prev), &a);
    ring_unlink(&b.link);
    ring_unlink(&c.link);
    ring_unlink(&a.link);
    assert_true(ring_empty(&ring));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_is_there),
        cmocka_unit_test(long_names_are_cut),
        cmocka_unit_test(rings_keep_their_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
