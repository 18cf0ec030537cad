/*  test_basics.c - buffers, arenas, ids, UTF-8, the error table. */
#include "arena.h"
#include "buf.h"
#include "error.h"
#include "harness.h"
#include "utf8.h"
#include "uuid.h"

static void buffer_knows_its_maximum(void **state)
{
    (void)state;
    buf b;
    buf_init(&b, 1000);
    for (int i = 0; i < 100; i++)
        assert_int_equal(buf_put(&b, "0123456789", 10), 0);
    assert_int_equal(buf_putc(&b, 'x'), SV_E_TOO_LARGE);
    assert_true(b.failed);
    assert_int_equal(buf_puts(&b, ""), SV_E_TOO_LARGE); /* stays failed */
    buf_reset(&b, 4096);
    assert_int_equal(buf_printf(&b, "%0600d", 7), 0);
    assert_int_equal(b.n, 600);
    buf_consume(&b, 599);
    assert_int_equal(b.n, 1);
    assert_int_equal(b.p[0], '7');
    buf_free(&b);
}

static void json_escapes(void **state)
{
    (void)state;
    buf b;
    buf_init(&b, 1000);
    buf_json_escape(&b, (sv_str){"a\"\\\n\x01\x7f\xc3\xa4", 8});
    assert_int_equal(buf_putc(&b, 0), 0);
    assert_string_equal(b.p, "a\\\"\\\\\\n\\u0001\\u007f\xc3\xa4");
    buf_free(&b);
}

static void arena_bounds(void **state)
{
    (void)state;
    arena a;
    arena_init(&a, 10000);
    for (int round = 0; round < 3; round++) {
        char *p = arena_alloc(&a, 100), *q = arena_alloc(&a, 6000);
        assert_non_null(p);
        assert_non_null(q);
        assert_int_equal((uintptr_t)q % 16, 0);
        assert_int_equal(p[99] | q[5999], 0);
        memset(q, 1, 6000);
        assert_null(arena_alloc(&a, 6000));
        assert_null(arena_alloc(&a, SIZE_MAX));
        assert_string_equal(arena_copy(&a, sv_cstr("word")), "word");
        arena_reset(&a);
    }
    arena_free(&a);
}

static void uuids_sort_and_parse(void **state)
{
    (void)state;
    sv_id last = uuid_new();
    for (int i = 0; i < 20000; i++) {
        sv_id id = uuid_new();
        assert_true(memcmp(last.b, id.b, 16) < 0);
        assert_int_equal(id.b[6] >> 4, 7);
        assert_int_equal(id.b[8] >> 6, 2);
        last = id;
    }
    char text[UUID_TEXT + 1];
    sv_id back;
    uuid_format(&last, text);
    assert_int_equal(uuid_parse(sv_cstr(text), &back), 0);
    assert_true(sv_id_eq(&last, &back));
    assert_int_equal(uuid_parse(sv_cstr("0190163d-8694-739b-aea5-966c26f8ad9"), &back),
                     SV_E_INVALID);
    assert_int_equal(uuid_parse(sv_cstr("0190163d-8694-739b-aea5-966c26f8ad9g"), &back),
                     SV_E_INVALID);
    assert_int_equal(uuid_parse(sv_cstr("0190163d86-94-739b-aea5-966c26f8ad91"), &back),
                     SV_E_INVALID);
    assert_int_equal(uuid_parse(sv_cstr("0190163D8694739BAEA5966C26F8AD91"), &back), 0);
}

static void utf8_table(void **state)
{
    (void)state;
    static const char *const good[] = {"",
                                       "a",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "plain ascii longer than eight"};
    static const char *const bad[] = {"\x80",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xe1\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "eight ok\xfe"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(utf8_valid(sv_cstr(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(utf8_valid(sv_cstr(bad[i])));
}

static void error_table(void **state)
{
    (void)state;
    assert_int_equal(sv_error_lookup(SV_E_QUEUE_FULL)->http, 429);
    assert_int_equal(sv_error_lookup(SV_E_TOO_LARGE)->http, 413);
    assert_int_equal(sv_error_lookup(-9999)->code, SV_E_INTERNAL);
    assert_int_equal(sv_error_lookup(0)->status, SV_STATUS_OK);
    assert_int_equal(sv_error_by_name(sv_cstr("service.lost"))->code, SV_E_PEER_LOST);
    assert_null(sv_error_by_name(sv_cstr("no.such")));
    assert_string_equal(sv_status_name(4), "DEADLINE_EXCEEDED");
    sv_error err = {0};
    assert_int_equal(sv_fail(&err, SV_E_INVALID, "a.b", "first %d", 1), SV_E_INVALID);
    sv_fail(&err, SV_E_INTERNAL, NULL, "second");
    assert_string_equal(err.message, "first 1"); /* the first failing place is kept */
    sv_error_detail(&err, "one");
    sv_error_detail(&err, "two");
    assert_string_equal(err.detail, "one; two");
    assert_int_equal(sv_fail(NULL, SV_E_INTERNAL, NULL, NULL), SV_E_INTERNAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(buffer_knows_its_maximum),
                                       cmocka_unit_test(json_escapes),
                                       cmocka_unit_test(arena_bounds),
                                       cmocka_unit_test(uuids_sort_and_parse),
                                       cmocka_unit_test(utf8_table),
                                       cmocka_unit_test(error_table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
