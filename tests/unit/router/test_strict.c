/*  Strict durability: the last frame waits for the ledger and nothing before it does; what the
 *  client gets when the attempt cannot be kept; and what is written about attempts of every kind. */
#include "../runtime/tiny_server.h"
#include "fake_bus.h"
#include "relay_kit.h"
#include "log.h"

#include <stdio.h>

#define SSE_HEAD                                                                                   \
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nConnection: "            \
    "close\r\n\r\n"
#define WORD  "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n"
#define STOP  "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
#define DONE  "data: [DONE]\n\n"
#define USAGE "\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}"
#define PLAIN                                                                                      \
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"               \
    "{\"choices\":[{\"message\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]," USAGE "}"

static tiny_server server;
static const char body[] =
    "{\"model\":\"p/m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}";
static const router_complete_req stream_req = {.model = {"p/m", 3}, .stream = true};
static const router_complete_req plain_req = {.model = {"p/m", 3}};
static const router_complete_req demo_req = {.model = {"demo", 4}};
static const router_complete_req demo_stream = {.model = {"demo", 4}, .stream = true};

static void start(const char *durability)
{
    relay_start("", durability);
    tiny_start(&server, l, tiny_answer_text);
    r.demo = true;
    relay_add("p", LLM_OPENAI, server.port, 0);
}

static int setup_strict(void **state)
{
    (void)state;
    start("strict");
    return 0;
}

static int setup_relaxed(void **state)
{
    (void)state;
    start("relaxed");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tiny_stop(&server);
    relay_stop();
    return 0;
}

static sv_call *begin(const router_complete_req *q)
{
    sv_call *c = fake_call(&process, "edge", body, q->stream);
    int rc = router_complete(c, q);
    if (rc < 0) sv_refuse(c, rc, NULL);
    return c;
}

static void answer_and_close(tiny_conn *c, sv_str request)
{
    tiny_answer_text(c, request);
    tiny_close(c);
}

static sv_call *begin_with(const router_complete_req *q, const char *answer)
{
    server.text = answer;
    server.answer = answer_and_close;
    return begin(q);
}

static const ledger_row *row(void)
{
    assert_non_null(process.write.done);
    return &((const ledger_batch *)process.write.in)->first->row;
}

static bool streamed(const sv_call *c, const char *want)
{
    return sv_str_is(buf_str(&c->stream), want);
}

static bool ends_with(const sv_call *c, const char *want)
{
    sv_str s = buf_str(&c->stream);
    size_t n = strlen(want);
    return s.n >= n && memcmp(s.p + s.n - n, want, n) == 0;
}

static const char *error_of(sv_call *c)
{
    static char name[65];
    router_complete_end e;
    assert_true(c->end.n > 0);
    assert_int_equal(message_decode(&router_complete_end_msg, buf_str(&c->end), MESSAGE_STRICT,
                                    &c->arena, &e, NULL),
                     0);
    snprintf(name, sizeof name, "%.*s", SV_FMT(e.error));
    return name;
}

static const sv_error *full(void)
{
    static sv_error e;
    e = (sv_error){0};
    sv_fail(&e, SV_E_STORE_FULL, NULL, NULL);
    e.retry_after_ms = 700;
    return &e;
}

static void turns(int n)
{
    while (n--)
        loop_turn(l, 5);
}

/* ---- the last frame waits ---- */

static void test_plain(void **state)
{
    (void)state;
    sv_call *c = begin_with(&plain_req, PLAIN);
    UNTIL(process.write.done);
    turns(3);
    assert_int_equal(c->answers, 0);
    assert_true(sv_str_is(row()->outcome, "ok") && row()->usage_known);
    assert_int_equal(row()->prompt_tokens, 5);
    fake_write_end(&process, 0, NULL);
    assert_int_equal(c->answers, 1);
    assert_int_equal(c->code, 0);
    assert_true(c->attached.n > 0);
    fake_call_free(c);
}

static void test_plain_not_kept(void **state)
{
    (void)state;
    sv_call *c = begin_with(&plain_req, PLAIN);
    UNTIL(process.write.done);
    fake_write_end(&process, SV_E_STORE_FULL, full());
    assert_int_equal(c->code, SV_E_STORE_FULL);
    assert_int_equal(c->refusal.retry_after_ms, 700);
    fake_call_free(c);
    /* and the next one does not reach the provider */
    int before = server.requests;
    c = begin_with(&plain_req, PLAIN);
    assert_int_equal(c->code, SV_E_STORE_FULL);
    assert_int_equal(c->error.retry_after_ms, 700);
    fake_call_free(c);
    c = begin(&demo_req);
    assert_int_equal(c->code, SV_E_STORE_FULL);
    fake_call_free(c);
    assert_int_equal(server.requests, before);
    UNTIL(process.write.done); /* the row is tried again, and then all is well */
    fake_write_end(&process, 0, NULL);
    c = begin_with(&plain_req, PLAIN);
    UNTIL(process.write.done);
    fake_write_end(&process, 0, NULL);
    assert_int_equal(c->code, 0);
    fake_call_free(c);
}

static void test_stream(void **state)
{
    (void)state;
    sv_call *c = begin_with(&stream_req, SSE_HEAD WORD STOP DONE);
    UNTIL(process.write.done);
    turns(3);
    assert_true(streamed(c, WORD STOP)); /* all but the end marker */
    assert_int_equal(c->answers, 0);
    assert_true(row()->streamed && sv_str_is(row()->outcome, "ok"));
    fake_write_end(&process, 0, NULL);
    UNTIL(c->answers);
    assert_true(streamed(c, WORD STOP DONE));
    assert_string_equal(error_of(c), "");
    fake_call_free(c);
}

static tiny_conn *held;
static void answer_and_hold(tiny_conn *c, sv_str request)
{
    held = c;
    tiny_answer_text(c, request);
}

/* The provider keeps its connection open behind [DONE]: the end marker does not wait for that. */
static void test_stream_held_open(void **state)
{
    (void)state;
    server.text = SSE_HEAD WORD STOP DONE;
    server.answer = answer_and_hold;
    sv_call *c = begin(&stream_req);
    UNTIL(process.write.done);
    assert_true(streamed(c, WORD STOP));
    fake_write_end(&process, 0, NULL);
    assert_true(streamed(c, WORD STOP DONE));
    assert_int_equal(c->answers, 1);
    fake_call_free(c);
}

static void test_stream_not_kept(void **state)
{
    (void)state;
    for (int open = 0; open < 2; open++) {
        server.text = SSE_HEAD WORD STOP DONE;
        server.answer = open ? answer_and_hold : answer_and_close;
        sv_call *c = begin(&stream_req);
        UNTIL(process.write.done);
        if (!open) turns(3);
        fake_write_end(&process, SV_E_STORE_FULL, full());
        UNTIL(c->answers);
        assert_string_equal(error_of(c), "store.full");
        assert_false(ends_with(c, DONE));
        assert_non_null(strstr(c->stream.p, "data: {\"error\":{"));
        fake_call_free(c);
        UNTIL(process.write.done);
        fake_write_end(&process, 0, NULL);
    }
}

/* The provider's own error is the answer, whether it could be kept or not. */
static void test_error_in_the_stream(void **state)
{
    (void)state;
    static const char failed[] = "data: {\"error\":{\"message\":\"no\"}}\n\n";
    char answer[512], want[512];
    snprintf(answer, sizeof answer, "%s%s", failed, DONE);
    snprintf(want, sizeof want, "%s%s", WORD, failed); /* and nothing like an end */
    for (int kept = 0; kept < 2; kept++) {
        server.text = SSE_HEAD WORD;
        server.answer = answer_and_hold;
        sv_call *c = begin(&stream_req);
        UNTIL(c->partials);
        tiny_puts(held, answer);
        UNTIL(process.write.done);
        assert_true(sv_str_is(row()->outcome, "refused"));
        fake_write_end(&process, kept ? 0 : SV_E_STORE_FULL, kept ? NULL : full());
        if (kept) tiny_close(held);
        UNTIL(c->answers);
        assert_true(streamed(c, want));
        assert_string_equal(error_of(c), "provider.refused");
        fake_call_free(c);
        if (kept) continue;
        UNTIL(process.write.done);
        fake_write_end(&process, 0, NULL);
    }
}

static void test_stream_without_marker(void **state)
{
    (void)state;
    sv_call *c = begin_with(&stream_req, SSE_HEAD WORD STOP);
    UNTIL(process.write.done);
    assert_true(streamed(c, WORD STOP));
    fake_write_end(&process, 0, NULL);
    UNTIL(c->answers);
    assert_true(streamed(c, WORD STOP DONE));
    fake_call_free(c);
    c = begin_with(&stream_req, SSE_HEAD DONE); /* nothing but the marker, and nobody else */
    UNTIL(process.write.done);
    assert_true(sv_str_is(row()->outcome, "ok"));
    assert_int_equal(c->answers, 0);
    fake_write_end(&process, 0, NULL);
    assert_int_equal(c->answers, 1);
    assert_true(streamed(c, DONE));
    assert_int_equal(c->partials, 1);
    fake_call_free(c);
}

/* What several have answered waits for the row of each. */
static void test_all(void **state)
{
    (void)state;
    static sv_str other = {"q/m", 3};
    static const router_complete_req q = {
        .model = {"p/m", 3}, .models = {&other, 1}, .mode = {"all", 3}};
    relay_add("q", LLM_OPENAI, server.port, 0);
    sv_call *c = begin_with(&q, PLAIN);
    while (r.ledger.n < 2)
        loop_turn(l, 5);
    UNTIL(process.write.done);
    turns(3);
    assert_int_equal(c->answers, 0);
    while (!c->answers) {
        UNTIL(process.write.done);
        fake_write_end(&process, 0, NULL);
    }
    assert_non_null(memmem(c->attached.p, c->attached.n, "\"index\":1", 9));
    fake_call_free(c);
}

/* They are in the ledger; nobody waits for that. */
static void test_failures_do_not_wait(void **state)
{
    (void)state;
    static const struct {
        const char *answer, *outcome;
        bool stream;
        int code;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 1\r\n\r\nx", "bad_answer",
         false, SV_E_PROVIDER_GARBAGE},
        {"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 1\r\n\r\nx", "bad_answer",
         true, SV_E_PROVIDER_GARBAGE},
        {"HTTP/1.1 400 Bad\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n"
         "{\"error\":\"bad\"}",
         "refused", false, 0},
        {SSE_HEAD WORD, "cut", true, 0},
        {"", "cut", false, SV_E_PROVIDER_CUT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int kept = 0; kept < 2; kept++) {
            sv_call *c = begin_with(cases[i].stream ? &stream_req : &plain_req, cases[i].answer);
            UNTIL(c->answers);
            UNTIL(process.write.done);
            if (!sv_str_is(row()->outcome, cases[i].outcome))
                fail_msg("%zu: %.*s", i, SV_FMT(row()->outcome));
            /* the provider's failure is the answer, whether it could be kept or not */
            fake_write_end(&process, kept ? 0 : SV_E_STORE_FULL, kept ? NULL : full());
            assert_int_equal(c->code, cases[i].code);
            fake_call_free(c);
            if (kept) continue;
            UNTIL(process.write.done);
            fake_write_end(&process, 0, NULL);
        }
}

static void test_cancelled_does_not_wait(void **state)
{
    (void)state;
    server.text = SSE_HEAD WORD;
    server.answer = answer_and_hold;
    sv_call *c = begin(&stream_req);
    UNTIL(c->partials);
    fake_cancel(c);
    assert_int_equal(c->code, SV_E_CANCELLED);
    fake_call_free(c);
    UNTIL(process.write.done);
    assert_true(sv_str_is(row()->outcome, "cancelled"));
    assert_false(row()->usage_known);
    assert_true(row()->completion_tokens > 0); /* estimated */
    fake_write_end(&process, 0, NULL);
    /* while the last frame is held back */
    c = begin_with(&plain_req, PLAIN);
    UNTIL(process.write.done);
    fake_cancel(c);
    assert_int_equal(c->code, SV_E_CANCELLED);
    fake_call_free(c);
    assert_true(sv_str_is(row()->outcome, "ok")); /* it was */
    fake_write_end(&process, 0, NULL);
    turns(3);
    assert_null(process.write.done); /* one row an attempt */
}

static void test_demo(void **state)
{
    (void)state;
    sv_call *c = begin(&demo_req);
    UNTIL(process.write.done);
    assert_int_equal(c->answers, 0);
    assert_true(row()->price_known && row()->price == 0 && row()->usage_known);
    assert_true(sv_str_is(row()->provider, "demo"));
    fake_write_end(&process, 0, NULL);
    assert_int_equal(c->answers, 1);
    fake_call_free(c);
    c = begin(&demo_stream);
    UNTIL(process.write.done);
    turns(2);
    assert_int_equal(c->answers, 0);
    assert_false(ends_with(c, DONE));
    fake_write_end(&process, 0, NULL);
    assert_int_equal(c->answers, 1);
    assert_true(ends_with(c, DONE));
    fake_call_free(c);
    c = begin(&demo_stream);
    UNTIL(process.write.done);
    fake_write_end(&process, SV_E_STORE_FULL, full());
    assert_false(ends_with(c, DONE));
    assert_string_equal(error_of(c), "store.full");
    fake_call_free(c);
    UNTIL(process.write.done);
    fake_write_end(&process, 0, NULL);
    c = begin(&demo_req);
    UNTIL(process.write.done);
    fake_cancel(c);
    fake_write_end(&process, 0, NULL);
    assert_int_equal(c->code, SV_E_CANCELLED);
    fake_call_free(c);
}

/* ---- relaxed: nothing waits, and the row is made when the answer ends ---- */

static void test_relaxed(void **state)
{
    (void)state;
    sv_call *c = begin_with(&plain_req, PLAIN);
    UNTIL(c->answers);
    assert_int_equal(process.writes, 0);
    fake_call_free(c);
    server.text = SSE_HEAD WORD STOP DONE;
    server.answer = answer_and_hold;
    c = begin(&stream_req);
    UNTIL(r.ledger.n + (process.writes > 0) == 2); /* at [DONE], not at the connection's end */
    assert_true(streamed(c, WORD STOP DONE));
    assert_int_equal(c->answers, 0);
    tiny_close(held);
    UNTIL(c->answers);
    fake_call_free(c);
    UNTIL(process.write.done);
    assert_true(sv_str_is(row()->asked, "p/m") && sv_str_is(row()->model, "m"));
    fake_write_end(&process, SV_E_STORE_FULL, full());
    c = begin_with(&plain_req, PLAIN); /* the full disk is not the client's trouble */
    UNTIL(c->answers);
    assert_int_equal(c->code, 0);
    fake_call_free(c);
}

#define STRICT(f) cmocka_unit_test_setup_teardown(f, setup_strict, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STRICT(test_plain),
        STRICT(test_plain_not_kept),
        STRICT(test_stream),
        STRICT(test_stream_held_open),
        STRICT(test_stream_not_kept),
        STRICT(test_error_in_the_stream),
        STRICT(test_stream_without_marker),
        STRICT(test_all),
        STRICT(test_failures_do_not_wait),
        STRICT(test_cancelled_does_not_wait),
        STRICT(test_demo),
        cmocka_unit_test_setup_teardown(test_relaxed, setup_relaxed, teardown),
    };
    log_init("test", 0, LOG_ERROR, -1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
