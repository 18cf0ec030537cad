/* What judges the benchmarks must itself be right: percentiles and HTTP framing. */
#include "hist.h"
#include "http_reader.h"
#include "sigv4.h"
#include "sim_answer.h"
#include "sim_read.h"
#include "sim_schema.h"
#include "sim_vector.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void percentiles_of_a_known_series(void **state)
{
    (void)state;
    static hist h;
    hist_reset(&h);
    assert_int_equal(hist_at(&h, 0.5), 0);
    for (uint64_t us = 1; us <= 500; us++)
        hist_add(&h, us);
    assert_int_equal(hist_at(&h, 0.5), 251);
    assert_int_equal(hist_at(&h, 0.99), 496);
    assert_int_equal(hist_at(&h, 1), 500);
    assert_true(hist_mean(&h) == 250.5);
}

static void large_values_stay_within_half_a_percent(void **state)
{
    (void)state;
    static hist h;
    for (uint64_t us = 512; us < 4000000000u; us = us * 5 / 4) {
        hist_reset(&h);
        hist_add(&h, us);
        hist_add(&h, 20000000000u); /* keeps `max` from hiding the bucket */
        uint64_t got = hist_at(&h, 0.25);
        assert_true(got >= us && got <= us + us / 200 + 1);
    }
    assert_int_equal(h.max, 20000000000u);
}

typedef struct taken {
    char text[4096];
    size_t n;
} taken;

static void take(void *arg, const char *p, size_t n)
{
    taken *t = arg;
    assert_true(t->n + n < sizeof t->text);
    memcpy(t->text + t->n, p, n);
    t->n += n;
}

/* Feeds `wire` in pieces of `step` bytes. */
static http_result feed(http_reader *r, const char *wire, size_t step, taken *t)
{
    size_t n = strlen(wire), at = 0, used;
    http_result rc = HTTP_MORE;
    while (at < n && rc == HTTP_MORE) {
        rc = http_reader_feed(r, wire + at, n - at < step ? n - at : step, &used, take, t);
        at += used;
    }
    return rc;
}

static void answers_are_the_same_however_they_arrive(void **state)
{
    (void)state;
    static const struct {
        const char *wire, *body;
        int status;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", 200},
        {"HTTP/1.1 503 Busy\r\nA: b\r\ncontent-length:0\r\n\r\n", "", 503},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n"
         "0\r\nT: railer\r\n\r\n",
         "abc0123456789", 200},
        {"HTTP/1.1 204 No Content\r\n\r\n", "", 204},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t step = 1; step < 80; step++)
            for (int keep = 0; keep < 2; keep++) {
                http_reader r;
                taken t = {.n = 0};
                http_reader_init(&r, false, keep);
                assert_int_equal(feed(&r, cases[i].wire, step, &t), HTTP_DONE);
                assert_int_equal(r.status, cases[i].status);
                assert_int_equal(t.n, strlen(cases[i].body));
                assert_memory_equal(t.text, cases[i].body, t.n);
                http_reader_free(&r);
            }
}

static void broken_framing_is_refused(void **state)
{
    (void)state;
    static const char *const wires[] = {
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab",
        "HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof wires / sizeof *wires; i++)
        for (size_t step = 1; step < 100; step += 9) {
            http_reader r;
            taken t = {.n = 0};
            http_reader_init(&r, false, false);
            assert_int_equal(feed(&r, wires[i], step, &t), HTTP_BAD);
            assert_non_null(r.why);
            http_reader_free(&r);
        }
}

static void a_cut_answer_is_an_error_and_an_open_one_is_not(void **state)
{
    (void)state;
    http_reader r;
    taken t = {.n = 0};
    http_reader_init(&r, false, false);
    assert_int_equal(feed(&r, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", 7, &t),
                     HTTP_MORE);
    assert_int_equal(http_reader_eof(&r), HTTP_BAD);
    http_reader_next(&r);
    t.n = 0;
    assert_int_equal(feed(&r, "HTTP/1.1 200 OK\r\n\r\nhello", 7, &t), HTTP_MORE);
    assert_int_equal(t.n, 5);
    assert_int_equal(http_reader_eof(&r), HTTP_DONE);
    http_reader_free(&r);
}

static void a_request_keeps_its_head(void **state)
{
    (void)state;
    http_reader r;
    taken t = {.n = 0};
    http_reader_init(&r, true, true);
    assert_int_equal(
        feed(&r, "POST /x HTTP/1.1\r\nHost: a\r\nX-Id:  7 \r\nContent-Length: 2\r\n\r\n{}", 5, &t),
        HTTP_DONE);
    size_t n;
    const char *v = http_header(r.head, "x-id", &n);
    assert_non_null(v);
    assert_int_equal(n, 1);
    assert_int_equal(v[0], '7');
    assert_null(http_header(r.head, "x-none", &n));
    http_reader_free(&r);
}

static void behaviours_are_read_and_refused(void **state)
{
    (void)state;
    sim_behaviour b;
    char why[160];
    sim_default(&b);
    assert_int_equal(
        sim_from_model(&b, "sim,tokens=20,fault=cut,at=3,retry_after=2", why, sizeof why), 0);
    assert_int_equal(b.tokens, 20);
    assert_int_equal(b.fault, SIM_cut);
    assert_int_equal(b.at, 3);
    assert_string_equal(b.retry_after, "2");
    static const char *const bad[] = {"tokns=1", "fault=none2", "status=700", "tokens=-1",
                                      "tokens=x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(sim_from_model(&b, bad[i], why, sizeof why), -1);
}

/* A streamed answer is whole HTTP, and its events end with the marker. */
static void a_streamed_answer_is_well_formed(void **state)
{
    (void)state;
    sim_behaviour b;
    sim_answer a;
    sim_default(&b);
    b.tokens = 3;
    sim_request r2;
    sim_request_init(&r2, SIM_OPENAI, SIM_CHAT);
    snprintf(r2.model, sizeof r2.model, "say \"hi\"");
    r2.stream = r2.want_usage = true;
    sim_answer_start(&a, &b, &r2, 1);
    buf out;
    buf_init(&out, 1 << 20);
    uint64_t wait_ms;
    sim_after after;
    while ((after = sim_answer_next(&a, &out, &wait_ms)) == SIM_GO_ON)
        assert_int_equal(wait_ms, 0);
    assert_int_equal(after, SIM_KEEP);
    buf_putc(&out, 0);
    http_reader r;
    taken t = {.n = 0};
    http_reader_init(&r, false, false);
    assert_int_equal(feed(&r, out.p, 11, &t), HTTP_DONE);
    t.text[t.n] = 0;
    int events = 0;
    for (const char *p = t.text; (p = strstr(p, "data: ")); p++)
        events++;
    assert_int_equal(events, 1 + 3 + 1 + 1 + 1); /* role, tokens, finish, usage, end */
    assert_non_null(strstr(t.text, "\"model\":\"say \\\"hi\\\"\""));
    assert_non_null(strstr(t.text, "\"total_tokens\":13"));
    assert_string_equal(t.text + t.n - 14, "data: [DONE]\n\n");
    http_reader_free(&r);
    buf_free(&out);
    sim_answer_end(&a);
    sim_request_free(&r2);
}

static float nearness(const char *one, const char *other)
{
    float a[256], b[256], sum = 0;
    sim_vector(one, a, 256);
    sim_vector(other, b, 256);
    for (int i = 0; i < 256; i++)
        sum += a[i] * b[i];
    return sum;
}

static void embeddings_are_near_for_the_same_words(void **state)
{
    (void)state;
    assert_true(nearness("the red house", "the red house") > 0.9999f);
    assert_true(nearness("Where is the red house?", "the RED house is where") > 0.9f);
    assert_true(nearness("the red house", "a poem on rain") < 0.3f);
    assert_true(nearness("", "words") < 0.3f);
    assert_int_equal(sim_base64_bytes("QUJD"), 3);
    assert_int_equal(sim_base64_bytes("QQ=="), 1);
    assert_int_equal(sim_base64_bytes("Q"), -1);
    assert_int_equal(sim_base64_bytes("QU JD"), -1);
}

static void schemas_are_filled(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *want;
    } cases[] = {
        {"{\"type\":\"OBJECT\",\"properties\":{\"a\":{\"type\":\"INTEGER\"},\"b\":{}},\"required\":"
         "[\"a\"]}",
         "{\"a\":1}"},
        {"{\"type\":\"array\",\"minItems\":2,\"items\":{\"enum\":[\"x\",\"y\"]}}", "[\"x\",\"x\"]"},
        {"{\"$ref\":\"#/$defs/n\",\"$defs\":{\"n\":{\"type\":[\"null\",\"boolean\"]}}}", "true"},
        {"{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"integer\",\"minimum\":7}]}", "7"},
        {"{\"$ref\":\"#\"}", "null"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *s = json_loads(cases[i].schema, 0, NULL), *v = sim_fill(s);
        char *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
        assert_string_equal(text, cases[i].want);
        free(text);
        json_decref(v);
        json_decref(s);
    }
}

static void a_signature_belongs_to_its_text(void **state)
{
    (void)state;
    char seal[64];
    sim_sign("thinking", "hm0 hm1", 7, seal);
    assert_true(sim_signed("thinking", "hm0 hm1", seal));
    assert_false(sim_signed("thinking", "hm0 hm2", seal));
    assert_false(sim_signed("call", "hm0 hm1", seal));
    assert_false(sim_signed("thinking", "hm0 hm1", NULL));
}

/* Values of the wrong shape at every place are refused in every format. */
static void broken_requests_are_refused_with_a_reason(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "{\"model\":\"m\"}",
        "{\"model\":\"m\",\"messages\":7,\"input\":7,\"contents\":7,\"prompt\":7}",
        "{\"model\":\"m\",\"max_tokens\":5,\"messages\":[7],\"input\":[7],\"contents\":[7],"
        "\"prompt\":[7]}",
        "{\"model\":\"m\",\"max_tokens\":5,\"messages\":[{\"role\":7,\"content\":[7]}],\"input\":[{"
        "\"role\":"
        "\"user\",\"content\":[7]}],\"contents\":[{\"parts\":[7]}]}",
        "{\"model\":\"m\",\"max_tokens\":5,\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[7]"
        ","
        "\"content\":[{\"type\":\"thinking\"}]}],\"input\":[{\"type\":\"reasoning\"}],\"contents\":"
        "[{"
        "\"parts\":[{\"functionCall\":7}]}]}",
    };
    sim_behaviour b;
    sim_default(&b);
    b.lenient = 1;
    for (int f = SIM_OPENAI; f <= SIM_OLLAMA; f++)
        for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
            sim_request r;
            buf out;
            buf_init(&out, 1 << 16);
            sim_request_init(&r, (sim_format)f, SIM_CHAT);
            assert_int_equal(sim_read_body(&r, "", bodies[i], strlen(bodies[i])), 0);
            assert_int_equal(sim_read_chat(&r, &b), -1);
            assert_int_equal(r.fail.status, 400);
            assert_true(r.fail.message[0]);
            sim_failed(&r, &b, &r.fail, 1, &out);
            assert_false(out.failed);
            buf_free(&out);
            sim_request_free(&r);
        }
}

/* The four examples of "Authenticating Requests: Using the Authorization Header (AWS Signature
 * Version 4)" in the Amazon S3 API reference. */
static void signatures_are_those_of_the_specification(void **state)
{
    (void)state;
    static const char none[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    static const char text[] = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
    const sigv4_request base = {
        .method = "GET",
        .path = "/",
        .query = "",
        .names = {"host", "x-amz-content-sha256", "x-amz-date"},
        .values = {"examplebucket.s3.amazonaws.com", none, "20130524T000000Z"},
        .n = 3,
        .body_hash = none,
        .when = "20130524T000000Z",
        .region = "us-east-1",
        .service = "s3",
        .secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"};
    sigv4_request r[4] = {base, base, base, base};
    static const char *const want[4] = {
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"};
    r[0].path = "/test.txt";
    r[0].names[1] = "range", r[0].values[1] = "bytes=0-9";
    r[0].names[2] = "x-amz-content-sha256", r[0].values[2] = none;
    r[0].names[3] = "x-amz-date", r[0].values[3] = base.when;
    r[0].n = 4;
    r[1].method = "PUT";
    r[1].path = "/test$file.text";
    r[1].names[0] = "date", r[1].values[0] = "Fri, 24 May 2013 00:00:00 GMT";
    r[1].names[1] = "host", r[1].values[1] = base.values[0];
    r[1].names[2] = "x-amz-content-sha256", r[1].values[2] = text;
    r[1].names[3] = "x-amz-date", r[1].values[3] = base.when;
    r[1].names[4] = "x-amz-storage-class", r[1].values[4] = "REDUCED_REDUNDANCY";
    r[1].n = 5;
    r[1].body_hash = text;
    r[2].query = "lifecycle";
    r[3].query = "prefix=J&max-keys=2"; /* is sorted on the way */
    for (int i = 0; i < 4; i++) {
        char hex[65];
        assert_true(sigv4_sign(&r[i], hex));
        assert_string_equal(hex, want[i]);
    }
    char out[2048];
    r[3].path = "/a%2fb c%20d";
    r[3].query = "b=%7e&a-b=1&a=+%3D&a=";
    assert_true(sigv4_canonical(&r[3], out, sizeof out));
    assert_ptr_equal(strstr(out, "GET\n/a/b%20c%20d\na=&a=%2B%3D&a-b=1&b=~\nhost:"), out);
    r[3].path = "/%2";
    assert_false(sigv4_canonical(&r[3], out, sizeof out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_of_a_known_series),
        cmocka_unit_test(large_values_stay_within_half_a_percent),
        cmocka_unit_test(answers_are_the_same_however_they_arrive),
        cmocka_unit_test(broken_framing_is_refused),
        cmocka_unit_test(a_cut_answer_is_an_error_and_an_open_one_is_not),
        cmocka_unit_test(a_request_keeps_its_head),
        cmocka_unit_test(behaviours_are_read_and_refused),
        cmocka_unit_test(a_streamed_answer_is_well_formed),
        cmocka_unit_test(embeddings_are_near_for_the_same_words),
        cmocka_unit_test(schemas_are_filled),
        cmocka_unit_test(a_signature_belongs_to_its_text),
        cmocka_unit_test(broken_requests_are_refused_with_a_reason),
        cmocka_unit_test(signatures_are_those_of_the_specification),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
