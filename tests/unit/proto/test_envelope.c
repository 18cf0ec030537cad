/*  test_envelope.c - the header: round trips, golden bytes, every truncation and every damaged
 *  byte. */
#include "envelope.h"
#include "error.h"
#include "harness.h"
#include "uuid.h"

static envelope sample(void)
{
    envelope e = {.kind = SV_REQUEST,
                  .attempt = 1,
                  .flags = SV_FLAG_STREAM | SV_FLAG_IDEMPOTENT,
                  .credit_items = 64,
                  .credit_bytes = 262144,
                  .ttl_ms = 30000,
                  .sender = "edge",
                  .sender_instance = 2,
                  .code = 7,
                  .target = sv_cstr("router.complete"),
                  .key = sv_cstr("user-1"),
                  .tracestate = sv_cstr("ot=th:fd70a4"),
                  .ticket = {"\x00\x01\xff", 3},
                  .content_type = sv_cstr("application/json")};
    for (uint8_t i = 0; i < 16; i++) {
        e.id.b[i] = i;
        e.parent.b[i] = (uint8_t)(0xf0 + i);
        e.trace.trace_id[i] = (uint8_t)(0xa0 + i);
    }
    memset(e.trace.span_id, 0xbb, 8);
    e.trace.flags = 3;
    return e;
}

static size_t encode(const envelope *e, uint8_t *to)
{
    size_t n = envelope_size(e);
    assert_true(n > 0 && n <= LIMIT_HEADER_BYTES);
    envelope_write(e, to);
    return n;
}

static void assert_same(const envelope *a, const envelope *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->flags, b->flags);
    assert_int_equal(a->credit_items, b->credit_items);
    assert_int_equal(a->credit_bytes, b->credit_bytes);
    assert_int_equal(a->ttl_ms, b->ttl_ms);
    assert_string_equal(a->sender, b->sender);
    assert_int_equal(a->sender_instance, b->sender_instance);
    assert_int_equal(a->attempt, b->attempt);
    assert_int_equal(a->code, b->code);
    assert_true(sv_id_eq(&a->id, &b->id) && sv_id_eq(&a->parent, &b->parent));
    assert_memory_equal(&a->trace, &b->trace, sizeof a->trace);
    assert_true(sv_str_eq(a->target, b->target) && sv_str_eq(a->key, b->key));
    assert_true(sv_str_eq(a->tracestate, b->tracestate) && sv_str_eq(a->ticket, b->ticket));
    assert_true(sv_str_eq(a->content_type, b->content_type));
}

static void round_trip(void **state)
{
    (void)state;
    uint8_t bytes[LIMIT_HEADER_BYTES];
    envelope in = sample(), out;
    assert_int_equal(envelope_decode(bytes, encode(&in, bytes), &out, NULL), 0);
    assert_same(&in, &out);
    envelope bare = {.kind = SV_PING};
    assert_int_equal(envelope_decode(bytes, encode(&bare, bytes), &out, NULL), 0);
    assert_same(&bare, &out);
    assert_null(out.target.p);
}

static void limits(void **state)
{
    (void)state;
    static char long_text[LIMIT_TRACESTATE_BYTES + 2];
    memset(long_text, 'x', sizeof long_text - 1);
    uint8_t bytes[LIMIT_HEADER_BYTES];
    envelope e = sample(), out;
    e.tracestate = (sv_str){long_text, LIMIT_TRACESTATE_BYTES};
    e.ticket = (sv_str){long_text, LIMIT_TICKET_BYTES};
    e.key = (sv_str){long_text, LIMIT_KEY_BYTES};
    e.content_type = (sv_str){long_text, LIMIT_CONTENT_TYPE_BYTES};
    assert_int_equal(envelope_decode(bytes, encode(&e, bytes), &out, NULL), 0);
    assert_same(&e, &out);
    e.tracestate.n++;
    assert_int_equal(envelope_size(&e), 0);
}

static void golden(void **state)
{
    (void)state;
    FILE *f = fopen(TESTS_DIR "/vectors/envelope.hex", "r");
    assert_non_null(f);
    char hex[1024] = "";
    assert_non_null(fgets(hex, sizeof hex, f));
    fclose(f);
    hex[strcspn(hex, "\n")] = 0;
    uint8_t want[512], got[LIMIT_HEADER_BYTES];
    size_t n = strlen(hex) / 2;
    assert_int_equal(hex_parse(sv_cstr(hex), want, n), 0);
    envelope e = sample();
    assert_int_equal(encode(&e, got), n);
    assert_memory_equal(got, want, n);
}

static void truncated_and_damaged(void **state)
{
    (void)state;
    uint8_t bytes[LIMIT_HEADER_BYTES], copy[LIMIT_HEADER_BYTES];
    envelope e = sample(), out;
    size_t n = encode(&e, bytes);
    for (size_t i = 0; i < n; i++) {
        uint8_t *exact = malloc(i ? i : 1); /* so that a read beyond it is seen */
        memcpy(exact, bytes, i);
        assert_int_not_equal(envelope_decode(exact, i, &out, NULL), 0);
        free(exact);
    }
    bytes[n] = 0xc0;
    assert_int_equal(envelope_decode(bytes, n + 1, &out, NULL), SV_E_MALFORMED);
    for (size_t i = 0; i < n; i++) {
        for (int v = 0; v < 256; v++) { /* any answer, no crash; accepted ones encode again */
            memcpy(copy, bytes, n);
            copy[i] = (uint8_t)v;
            if (envelope_decode(copy, n, &out, NULL) == 0) assert_int_equal(envelope_size(&out), n);
        }
    }
}

static void refusals_name_the_field(void **state)
{
    (void)state;
    uint8_t bytes[LIMIT_HEADER_BYTES];
    envelope e = sample(), out;
    static const struct {
        size_t at;
        uint8_t value;
        int code;
        const char *field;
    } cases[] = {{0, 0x9f, SV_E_MALFORMED, "header"},   {4, 2, SV_E_VERSION, "version"},
                 {6, 0, SV_E_MALFORMED, "kind"},        {6, 15, SV_E_MALFORMED, "kind"},
                 {8, 0x80, SV_E_MALFORMED, "flags"},    {31, 'E', SV_E_MALFORMED, "sender"},
                 {54, 'x', SV_E_MALFORMED, "sender"},   {62, 0xc5, SV_E_MALFORMED, "header"},
                 {130, 0xc4, SV_E_MALFORMED, "target"}, {131, 0xff, SV_E_MALFORMED, "target"},
                 {131, 0, SV_E_MALFORMED, "target"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sv_error err = {0};
        size_t n = encode(&e, bytes);
        bytes[cases[i].at] = cases[i].value;
        assert_int_equal(envelope_decode(bytes, n, &out, &err), cases[i].code);
        assert_string_equal(err.field, cases[i].field);
    }
}

static void patches(void **state)
{
    (void)state;
    uint8_t bytes[LIMIT_HEADER_BYTES];
    envelope e = sample(), out;
    size_t n = encode(&e, bytes);
    envelope_patch_ttl(bytes, 5);
    envelope_patch_sender(bytes, "a-very-long-service-name", 0xffffffff);
    envelope_patch_attempt(bytes, 2);
    envelope_patch_code(bytes, 9);
    envelope_patch_credit(bytes, 1, UINT64_MAX);
    assert_int_equal(envelope_decode(bytes, n, &out, NULL), 0);
    assert_int_equal(out.ttl_ms, 5);
    assert_string_equal(out.sender, "a-very-long-service-name");
    assert_int_equal(out.sender_instance, 0xffffffff);
    assert_int_equal(out.attempt, 2);
    assert_int_equal(out.code, 9);
    assert_true(out.credit_items == 1 && out.credit_bytes == UINT64_MAX);
    assert_true(sv_str_eq(out.target, e.target));
}

static void names_and_targets(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "edge", "my-svc-2", "abcdefghijklmnopqrstuvwx"};
    static const char *const bad[] = {
        "", "A", "2a", "-a", "a_b", "a.b", "abcdefghijklmnopqrstuvwxy", "\xc3\xa4"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(envelope_name_ok(sv_cstr(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(envelope_name_ok(sv_cstr(bad[i])));
    static const char *const targets[] = {"a.b", "router.complete", "bus.tap", "a.b.c_d-e"};
    static const char *const wrong[] = {"a",    "a.",    ".b",  "a..b", "a.B",
                                        "a.b.", "a.b c", "A.b", "a.*"};
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++)
        assert_true(envelope_target_ok(sv_cstr(targets[i])));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(envelope_target_ok(sv_cstr(wrong[i])));
}

static void targets_with_an_instance(void **state)
{
    (void)state;
    static const struct {
        const char *target, *plain;
        uint32_t instance;
    } right[] = {{"router.usage", "router.usage", 0},
                 {"router/1.usage", "router.usage", 1},
                 {"a/4294967295.b.c-d", "a.b.c-d", UINT32_MAX},
                 {"abcdefghijklmnopqrstuvwx/10.z", "abcdefghijklmnopqrstuvwx.z", 10}};
    static const char *const wrong[] = {
        "",        "a",      "a/1",     "a/.b",           "a/0.b",           "a/01.b", "a/-1.b",
        "a/+1.b",  "a/1 .b", "a/1x.b",  "a/4294967296.b", "a/99999999999.b", "/1.b",   "A/1.b",
        "a/1/2.b", "a/1.",   "a/1.b/2", "a.b/1",          "a.b/1.c",         "a/1..b", "a/1.B"};
    char plain[LIMIT_TARGET_BYTES + 1];
    sv_str got;
    uint32_t instance;
    for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
        assert_true(envelope_target_plain(sv_cstr(right[i].target), plain, &got, &instance));
        assert_true(sv_str_is(got, right[i].plain));
        assert_int_equal(instance, right[i].instance);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        memset(plain, 'x', sizeof plain);
        got = (sv_str){NULL, 7};
        instance = 8;
        assert_false(envelope_target_plain(sv_cstr(wrong[i]), plain, &got, &instance));
        assert_true(plain[0] == 'x' && got.n == 7 && instance == 8);
    }
    char longest[LIMIT_TARGET_BYTES + 2] = "abcdefghijklmnopqrstuvwx/4294967295.";
    size_t n = strlen(longest);
    memset(longest + n, 'm', LIMIT_TARGET_BYTES - n);
    sv_str text = {longest, LIMIT_TARGET_BYTES};
    assert_true(envelope_target_plain(text, plain, &got, &instance));
    assert_int_equal(got.n, LIMIT_TARGET_BYTES - 11);
    longest[text.n++] = 'm';
    assert_false(envelope_target_plain(text, plain, &got, &instance));
    assert_false(envelope_target_ok(sv_cstr("router/1.usage"))); /* no topic, no method of HELLO */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_with_an_instance),
        cmocka_unit_test(round_trip),
        cmocka_unit_test(limits),
        cmocka_unit_test(golden),
        cmocka_unit_test(truncated_and_damaged),
        cmocka_unit_test(refusals_name_the_field),
        cmocka_unit_test(patches),
        cmocka_unit_test(names_and_targets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
