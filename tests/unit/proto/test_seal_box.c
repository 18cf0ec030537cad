/*  test_seal_box.c - sealed boxes: who opens them, and who does not. */
#include "error.h"
#include "seal_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static seal_key *seed(uint8_t first)
{
    uint8_t bytes[SEAL_KEY] = {first};
    return seal_key_from(bytes);
}

static box_pair *pair(uint8_t first)
{
    seal_key *k = seed(first);
    box_pair *p = box_pair_from(k);
    assert_non_null(p);
    seal_key_free(k);
    return p;
}

static void the_same_seed_opens(void **state)
{
    (void)state;
    box_pair *a = pair(1), *same = pair(1), *other = pair(2);
    buf box, plain;
    buf_init(&box, 1024);
    buf_init(&plain, 1024);
    assert_memory_equal(box_pair_public(a), box_pair_public(same), SEAL_BOX_PUBLIC);
    assert_memory_not_equal(box_pair_public(a), box_pair_public(other), SEAL_BOX_PUBLIC);
    assert_int_equal(box_put(box_pair_public(a), sv_cstr("sk-secret"), &box), 0);
    assert_int_equal(box.n, SEAL_BOX_OVERHEAD + 9);
    assert_null(memmem(box.p, box.n, "sk-secret", 9));
    assert_int_equal(box_open(same, buf_str(&box), &plain), 0);
    assert_true(sv_str_is(buf_str(&plain), "sk-secret"));
    assert_int_equal(box_open(other, buf_str(&box), &plain), SV_E_STORE_KEY);
    assert_int_equal(plain.n, 9);
    buf_free(&box);
    buf_free(&plain);
    box_pair_free(a);
    box_pair_free(same);
    box_pair_free(other);
}

static void every_changed_byte_shows(void **state)
{
    (void)state;
    box_pair *a = pair(1);
    buf box, plain;
    buf_init(&box, 1024);
    buf_init(&plain, 1024);
    assert_int_equal(box_put(box_pair_public(a), sv_cstr("text"), &box), 0);
    for (size_t i = 0; i < box.n; i++) {
        box.p[i] ^= 1;
        assert_int_equal(box_open(a, buf_str(&box), &plain), SV_E_STORE_KEY);
        box.p[i] ^= 1;
        assert_int_equal(box_open(a, (sv_str){box.p, (uint32_t)i}, &plain), SV_E_STORE_KEY);
    }
    assert_int_equal(box_open(a, buf_str(&box), &plain), 0);
    buf_free(&box);
    buf_free(&plain);
    box_pair_free(a);
}

static void room_is_bounded(void **state)
{
    (void)state;
    box_pair *a = pair(1);
    buf small;
    buf_init(&small, SEAL_BOX_OVERHEAD + 3);
    assert_int_equal(box_put(box_pair_public(a), sv_cstr("text"), &small), SV_E_TOO_LARGE);
    assert_int_equal(box_put(box_pair_public(a), (sv_str){"", SEAL_BOX_MOST + 1}, &small),
                     SV_E_TOO_LARGE);
    buf_free(&small);
    box_pair_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_seed_opens),
        cmocka_unit_test(every_changed_byte_shows),
        cmocka_unit_test(room_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
