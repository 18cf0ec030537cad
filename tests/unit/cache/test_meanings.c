/*  test_meanings.c - vectors: how they are read, which is nearest, what has to go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "answers.h"
#include "config.h"
#include "error.h"
#include "keep.h"

#include <stdio.h>
#include <stdlib.h>

enum { MOST = 64 << 10 };

static meanings all;
static answer kept[400];
static const char bucket[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
static const char other[] = "1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static int begin(void **state)
{
    (void)state;
    meanings_init(&all, MOST);
    memset(kept, 0, sizeof kept);
    return 0;
}

static int end(void **state)
{
    (void)state;
    meanings_free(&all);
    assert_int_equal(all.bytes, 0);
    return 0;
}

static meaning_vector two(int x, int y)
{
    return (meaning_vector){.n = 2, .v = {(int16_t)x, (int16_t)y}};
}

static bool any(void *arg, const answer *a)
{
    return a != arg;
}

static void put(int i, const char *where, int x, int y)
{
    meaning_vector v = two(x, y);
    kept[i].info.created = i;
    meanings_add(&all, where, &v, &kept[i]);
}

static void the_nearest(void **state)
{
    (void)state;
    double similarity;
    meaning_vector v = two(1000, 10), three = {.n = 3, .v = {1, 1, 1}};
    assert_null(meanings_nearest(&all, bucket, &v, any, NULL, &similarity));
    put(0, bucket, 0, 1000);
    put(1, bucket, 900, 100);
    put(2, bucket, -1000, 0);
    put(3, other, 1000, 10);
    assert_ptr_equal(meanings_nearest(&all, bucket, &v, any, NULL, &similarity), &kept[1]);
    assert_true(similarity > 0.99 && similarity < 0.999);
    assert_ptr_equal(meanings_nearest(&all, bucket, &v, any, &kept[1], &similarity), &kept[0]);
    assert_true(similarity < 0.02);
    assert_ptr_equal(meanings_nearest(&all, other, &v, any, NULL, &similarity), &kept[3]);
    assert_true(similarity > 0.999999 && similarity <= 1);
    assert_null(
        meanings_nearest(&all, bucket, &three, any, NULL, &similarity)); /* another model's */
    meaning_drop(kept[1].meaning);
    assert_null(kept[1].meaning);
    assert_ptr_equal(meanings_nearest(&all, bucket, &v, any, NULL, &similarity), &kept[0]);
}

static void a_bucket_has_the_newest(void **state)
{
    (void)state;
    double similarity;
    /* Half of them come in the wrong order, as they do from the disk. */
    for (int i = MEANINGS_BUCKET / 2; i < MEANINGS_BUCKET + 10; i++)
        put(i, bucket, 100, i);
    for (int i = 0; i < MEANINGS_BUCKET / 2; i++)
        put(i, bucket, 100, i);
    for (int i = 0; i < 10; i++)
        assert_null(kept[i].meaning);
    for (int i = 10; i < MEANINGS_BUCKET + 10; i++)
        assert_non_null(kept[i].meaning);
    meaning_vector v = two(100, 200);
    assert_ptr_equal(meanings_nearest(&all, bucket, &v, any, NULL, &similarity), &kept[200]);
}

static void memory_is_bounded(void **state)
{
    (void)state;
    static meaning_vector v = {.n = MEANING_DIMS};
    v.v[0] = 1;
    for (int i = 0; i < 20; i++) {
        char key[CACHE_KEY + 1];
        snprintf(key, sizeof key, "%032d%032d", i, i);
        meanings_add(&all, key, &v, &kept[i]);
        assert_true(all.bytes <= MOST);
    }
    assert_null(kept[0].meaning);
    assert_non_null(kept[19].meaning);
    assert_true(all.bytes > MOST - 2 * MEANING_BYTES);
    assert_int_equal(all.map.n, MOST / MEANING_BYTES - 1); /* empty buckets are gone */
}

static void numbers_are_read(void **state)
{
    (void)state;
    static meaning_vector v, back;
    static char text[MEANING_DIMS * 4 + 100];
    assert_int_equal(meaning_read(sv_cstr("{\"data\":[{\"embedding\":[0.5,-1,1e-9]}]}"), &v), 0);
    assert_int_equal(v.n, 3);
    assert_int_equal(v.v[0], 8192); /* half of the largest */
    assert_int_equal(v.v[1], -16383);
    assert_int_equal(v.v[2], 0);
    assert_true(meaning_of_bytes(meaning_bytes(&v), &back));
    assert_int_equal(back.n, 3);
    assert_memory_equal(back.v, v.v, 6);
    static const char *const bad[] = {
        "{}",
        "[]",
        "{\"data\":[]}",
        "{\"data\":{}}",
        "{\"data\":[{}]}",
        "{\"data\":[{\"embedding\":\"AAAA\"}]}",
        "{\"data\":[{\"embedding\":[]}]}",
        "{\"data\":[{\"embedding\":[0,0]}]}",
        "{\"data\":[{\"embedding\":[1,\"2\"]}]}",
        "{\"data\":[{\"embedding\":[1,null]}]}",
        "{\"data\":[{\"embedding\":[1e999]}]}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(meaning_read(sv_cstr(bad[i]), &v), SV_E_PROVIDER_GARBAGE);
    size_t n = (size_t)sprintf(text, "{\"data\":[{\"embedding\":[1");
    for (int i = 1; i < MEANING_DIMS; i++)
        n += (size_t)sprintf(text + n, ",1");
    size_t full = n;
    strcpy(text + n, "]}]}");
    assert_int_equal(meaning_read(sv_cstr(text), &v), 0);
    assert_int_equal(v.n, MEANING_DIMS);
    strcpy(text + full, ",1]}]}");
    assert_int_equal(meaning_read(sv_cstr(text), &v), SV_E_PROVIDER_GARBAGE);
    assert_false(meaning_of_bytes((sv_str){"abc", 3}, &v));
    assert_false(meaning_of_bytes((sv_str){"", 0}, &v));
    assert_false(meaning_of_bytes((sv_str){"\0\0\0\0", 4}, &v));
    assert_false(meaning_of_bytes((sv_str){"\xff\x7f", 2}, &v)); /* larger than any we write */
}

/* The largest products there are do not overflow. */
static void large_numbers(void **state)
{
    (void)state;
    static meaning_vector v = {.n = MEANING_DIMS - 1};
    double similarity;
    for (int i = 0; i < MEANING_DIMS - 1; i++)
        v.v[i] = 16383;
    meanings_add(&all, bucket, &v, &kept[0]);
    assert_ptr_equal(meanings_nearest(&all, bucket, &v, any, NULL, &similarity), &kept[0]);
    assert_true(similarity > 0.999999);
}

static int read_rules(const char *tasks, const char *model, meaning_rules *ret, sv_error *err)
{
    config *c;
    setenv("SAMOVAR_CACHE_SEMANTIC", "true", 1);
    setenv("SAMOVAR_CACHE_SEMANTIC_TASKS", tasks, 1);
    setenv("SAMOVAR_CACHE_SEMANTIC_MODEL", model, 1);
    assert_int_equal(config_load(NULL, &c, err), 0);
    int rc = meaning_rules_read(c, ret, err);
    config_free(c);
    return rc;
}

static void rules(void **state)
{
    (void)state;
    meaning_rules m;
    sv_error err = {0};
    assert_int_equal(read_rules("", "e", &m, &err), 0);
    assert_true(m.on && m.threshold > 0.9499 && m.threshold < 0.9501);
    assert_string_equal(m.model, "e");
    assert_true(meaning_allowed(&m, sv_cstr("chat")));
    assert_false(meaning_allowed(&m, sv_cstr("translate")));
    assert_false(meaning_allowed(&m, sv_cstr("")));
    assert_int_equal(read_rules("summarise,extract,extract", "e", &m, &err), 0);
    assert_int_equal(m.n_tasks, 2);
    assert_false(meaning_allowed(&m, sv_cstr("chat")));
    assert_int_equal(read_rules("chat,embeddings", "e", &m, &err), SV_E_CONFIG);
    assert_non_null(strstr(err.message, "embeddings"));
    err = (sv_error){0};
    assert_int_equal(read_rules("chat", "", &m, &err), SV_E_CONFIG);
    assert_non_null(strstr(err.message, "cache.semantic_model"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_nearest, begin, end),
        cmocka_unit_test_setup_teardown(a_bucket_has_the_newest, begin, end),
        cmocka_unit_test_setup_teardown(memory_is_bounded, begin, end),
        cmocka_unit_test_setup_teardown(numbers_are_read, begin, end),
        cmocka_unit_test_setup_teardown(large_numbers, begin, end),
        cmocka_unit_test(rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
