/*  test_vectors.c - tests/vectors/messages.jsonl: bodies encoded by another msgpack library
 *  (@msgpack/msgpack), their JSON, and what this one makes of both. */
#include "error.h"
#include "harness.h"
#include "json_scan.h"
#include "message.h"
#include "uuid.h"

static void check_row(sv_str row)
{
    json_value root = json_root(row);
    json_value name = json_get(root, "message"), hex = json_get(root, "hex"),
               json = json_get(root, "json");
    char message[64];
    snprintf(message, sizeof message, "%.*s", (int)name.raw.n - 2, name.raw.p + 1);
    const sv_message *m = message_by_name(message);
    assert_non_null(m);
    size_t n = (hex.raw.n - 2) / 2;
    char *want = malloc(n ? n : 1);
    assert_int_equal(hex_parse((sv_str){hex.raw.p + 1, hex.raw.n - 2}, want, n), 0);
    sv_error err = {0};
    buf out;
    buf_init(&out, 65536);
    assert_int_equal(message_from_json(m, json.raw, &out, &err), 0);
    assert_int_equal(out.n, n);
    assert_memory_equal(out.p, want, n);
    buf_reset(&out, 65536);
    assert_int_equal(message_to_json(m, (sv_str){want, (uint32_t)n}, false, &out, &err), 0);
    assert_true(sv_str_eq(buf_str(&out), json.raw));
    arena a;
    arena_init(&a, 65536);
    void *value = calloc(1, m->size + 1);
    assert_int_equal(
        message_decode(m, (sv_str){want, (uint32_t)n}, MESSAGE_STRICT, &a, value, &err), 0);
    buf_reset(&out, 65536);
    assert_int_equal(message_encode(m, value, &out), 0);
    assert_int_equal(message_decode(m, buf_str(&out), MESSAGE_STRICT, &a, value, &err), 0);
    arena_free(&a);
    buf_free(&out);
    free(value);
    free(want);
}

static void vectors(void **state)
{
    (void)state;
    FILE *f = fopen(TESTS_DIR "/vectors/messages.jsonl", "r");
    assert_non_null(f);
    char line[4096];
    int rows = 0;
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        check_row(sv_cstr(line));
        rows++;
    }
    fclose(f);
    assert_true(rows >= 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(vectors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
