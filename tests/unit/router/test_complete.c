/*  router.complete against a provider that does what a test says: what the client gets, byte by
 *  byte, and what it gets when the provider fails at every point. */
#include "../runtime/tiny_server.h"
#include "fake_bus.h"
#include "relay_kit.h"
#include "json_scan.h"
#include "log.h"

#include <stdio.h>

#define SSE_HEAD                                                                                   \
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nConnection: "            \
    "close\r\n\r\n"
#define ROLE                                                                                       \
    "data: "                                                                                       \
    "{\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"},\"finish_reason\":null}]}\n\n"
#define WORD "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi \xe2\x82\xac\"}}]}\n\n"
#define STOP "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
#define USAGE                                                                                      \
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2,"                \
    "\"prompt_tokens_details\":{\"cached_tokens\":1}}}\n\n"
#define DONE "data: [DONE]\n\n"

static tiny_server server;
static int log_fd;
static const char body[] =
    "{\"model\":\"p/m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
static const char key_text[] = "sk-secret-0-1234567";

static int setup(void **state)
{
    (void)state;
    relay_start("", NULL);
    tiny_start(&server, l, tiny_answer_text);
    relay_add("p", LLM_OPENAI, server.port, 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tiny_stop(&server);
    relay_stop();
    return 0;
}

static sv_call *begin(const router_complete_req *q, const char *caller, const char *json,
                      bool streaming)
{
    sv_call *c = fake_call(&process, caller, json, streaming);
    int rc = router_complete(c, q);
    if (rc == SV_PENDING) return c;
    if (rc) sv_refuse(c, rc, NULL);
    return c;
}

static const router_complete_req stream_req = {.model = {"m", 1}, .stream = true};
static const router_complete_req plain_req = {.model = {"m", 1}};

static sv_call *begin_stream(void)
{
    return begin(&stream_req, "edge", body, true);
}

static router_complete_head head_of(sv_call *c)
{
    router_complete_head h;
    sv_error err = {0};
    if (message_decode(&router_complete_head_msg, buf_str(&c->head), MESSAGE_STRICT, &c->arena, &h,
                       &err))
        fail_msg("%s", err.message);
    return h;
}

static router_complete_end end_of(sv_call *c)
{
    router_complete_end e;
    assert_true(c->end.n > 0);
    assert_int_equal(message_decode(&router_complete_end_msg, buf_str(&c->end), MESSAGE_STRICT,
                                    &c->arena, &e, NULL),
                     0);
    return e;
}

static void streamed(sv_call *c, const char *want)
{
    if (!sv_str_is(buf_str(&c->stream), want))
        fail_msg("got \"%.*s\", refused %d %s", SV_FMT(buf_str(&c->stream)), c->code,
                 c->refusal.message);
}

/* The provider answers `text`, then closes. */
static void answer_and_close(tiny_conn *c, sv_str request)
{
    tiny_answer_text(c, request);
    tiny_close(c);
}

static sv_call *stream_of(const char *answer)
{
    server.text = answer;
    server.answer = answer_and_close;
    sv_call *c = begin_stream();
    UNTIL(c->answers);
    return c;
}

/* What the client must see of a stream that goes wrong after its start. */
static void ends_with_error(const char *answer, const char *passed, const char *code)
{
    sv_call *c = stream_of(answer);
    char event[512];
    sv_str got = buf_str(&c->stream);
    size_t n = strlen(passed);
    assert_int_equal(c->code, 0);
    assert_true(got.n > n);
    assert_memory_equal(got.p, passed, n);
    snprintf(event, sizeof event, "%.*s", (int)(got.n - n), got.p + n);
    assert_int_equal(strncmp(event, "data: {\"error\":{\"message\":\"", 27), 0);
    assert_non_null(strstr(event, code));
    assert_string_equal(event + strlen(event) - 2, "\n\n");
    sv_str json = {event + 6, (uint32_t)strlen(event) - 8};
    assert_int_equal(json_skim(json, 8, NULL), 0);
    assert_null(memmem(got.p, got.n, "[DONE]", 6));
    assert_true(sv_str_is(end_of(c).error, code));
    fake_call_free(c);
}

static void refused(const char *answer, int code, const char *words)
{
    sv_call *c = stream_of(answer);
    if (c->code != code)
        fail_msg("%d %s, streamed %.*s", c->code, c->refusal.message, SV_FMT(buf_str(&c->stream)));
    assert_non_null(strstr(c->refusal.message, words));
    assert_int_equal(c->partials + c->writes, 0);
    fake_call_free(c);
}

/* ---- streams ---- */

static void test_stream(void **state)
{
    (void)state;
    sv_call *c = stream_of(SSE_HEAD ROLE WORD STOP USAGE DONE);
    streamed(c, ROLE WORD STOP DONE); /* usage was not asked for */
    router_complete_head h = head_of(c);
    assert_int_equal(h.http_status, 200);
    assert_true(sv_str_is(h.content_type, "text/event-stream"));
    assert_true(sv_str_is(h.provider, "p"));
    assert_true(sv_str_is(h.model, "m"));
    router_complete_end e = end_of(c);
    assert_true(e.usage_known);
    assert_int_equal(e.prompt_tokens, 5);
    assert_int_equal(e.completion_tokens, 2);
    assert_int_equal(e.cached_tokens, 1);
    assert_true(e.first_byte_us > 0 && e.total_us >= e.first_byte_us);
    assert_int_equal(e.error.n, 0);
    /* what the provider got */
    const char *got = server.last.p;
    assert_int_equal(strncmp(got, "POST /v1/chat/completions HTTP/1.1\r\n", 36), 0);
    assert_non_null(strstr(got, "Authorization: Bearer sk-secret-0-1234567\r\n"));
    assert_non_null(strstr(got, "Via: 1.1 samovar\r\n"));
    assert_non_null(strstr(got, "\"stream_options\":{\"include_usage\":true}"));
    fake_call_free(c);
}

static void test_usage_asked_for(void **state)
{
    (void)state;
    router_complete_req q = stream_req;
    q.include_usage = true;
    q.via = sv_cstr("1.1 samovar-token, 1.1 other");
    server.text = SSE_HEAD ROLE STOP USAGE DONE;
    server.answer = answer_and_close;
    sv_call *c = begin(&q, "edge", body, true);
    UNTIL(c->answers);
    streamed(c, ROLE STOP USAGE DONE);
    assert_non_null(strstr(server.last.p, body)); /* the client's own bytes */
    assert_non_null(strstr(server.last.p, "Via: 1.1 samovar-token, 1.1 other\r\n"));
    fake_call_free(c);
}

static const char *pieces;
static size_t cut_at;

static void send_rest(void *arg)
{
    tiny_conn *c = arg;
    tiny_puts(c, pieces + cut_at);
    tiny_close(c);
}

static void answer_in_two(tiny_conn *c, sv_str request)
{
    (void)request;
    tiny_send(c, pieces, cut_at);
    loop_timer_set(l, &c->timer, 500, send_rest, c);
}

/* The answer reaches the router in two reads, cut at every byte. */
static void test_every_cut(void **state)
{
    (void)state;
    static const char crlf[] =
        SSE_HEAD ": hello\r\n\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\r\n\r\n"
                 "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\r\n\r\n"
                 "data: [DONE]\r\n\r\n";
    static const char want[] =
        ": hello\r\n\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\r\n\r\n"
        "data: [DONE]\r\n\r\n";
    server.answer = answer_in_two;
    pieces = crlf;
    for (cut_at = 0; cut_at < sizeof crlf - 1; cut_at++) {
        sv_call *c = begin_stream();
        UNTIL(c->answers);
        streamed(c, want);
        assert_int_equal(end_of(c).prompt_tokens, 1);
        fake_call_free(c);
    }
}

static void test_ends(void **state)
{
    (void)state;
    sv_call *c = stream_of(SSE_HEAD ROLE STOP);
    streamed(c, ROLE STOP DONE);
    fake_call_free(c);
    c = stream_of(SSE_HEAD ROLE STOP "data: [DONE]"); /* the last event lacks its blank line */
    streamed(c, ROLE STOP DONE);
    fake_call_free(c);
    c = stream_of(SSE_HEAD ROLE "data: {\"choices\":[{\"finish_reason\":\"stop\"}]}");
    streamed(c, ROLE "data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n" DONE);
    fake_call_free(c);
    c = stream_of(SSE_HEAD ROLE DONE ROLE "garbage\n\n"); /* nothing belongs behind the end */
    streamed(c, ROLE DONE "garbage\n\n");
    fake_call_free(c);
    c = stream_of(SSE_HEAD DONE);
    streamed(c, DONE);
    fake_call_free(c);
    c = stream_of(SSE_HEAD WORD DONE); /* why it ends it does not say: nothing to keep */
    streamed(c, WORD DONE);
    assert_false(end_of(c).whole);
    fake_call_free(c);
    c = stream_of(SSE_HEAD WORD STOP DONE);
    assert_true(end_of(c).whole);
    fake_call_free(c);
}

static void test_cut(void **state)
{
    (void)state;
    refused(SSE_HEAD ROLE, SV_E_PROVIDER_CUT, "The provider p"); /* nothing was sent yet */
    ends_with_error(SSE_HEAD ROLE WORD "data: {\"choi", ROLE WORD, "provider.cut");
    ends_with_error(SSE_HEAD WORD "data: {\"a\":\"\xe2\x82", WORD, "provider.cut");
    ends_with_error(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9999\r\n\r\n" WORD,
        WORD, "provider.cut");
    /* behind its end a stream may break off */
    sv_call *c = stream_of(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9999\r\n\r\n" WORD
            STOP);
    streamed(c, WORD STOP DONE);
    fake_call_free(c);
    /* behind the end of one of several answers it may not */
#define OTHER      "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"b\"}}]}\n\n"
#define OTHER_STOP "data: {\"choices\":[{\"index\":1,\"finish_reason\":\"stop\"}]}\n\n"
    ends_with_error(SSE_HEAD WORD OTHER STOP OTHER, WORD OTHER STOP OTHER, "provider.cut");
    c = stream_of(SSE_HEAD WORD OTHER STOP OTHER OTHER_STOP);
    streamed(c, WORD OTHER STOP OTHER OTHER_STOP DONE);
    fake_call_free(c);
    /* nor before one that was asked for has begun */
    server.text = SSE_HEAD WORD STOP;
    server.answer = answer_and_close;
    c = begin(&stream_req, "edge",
              "{\"model\":\"p/m\",\"n\":2,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
              true);
    UNTIL(c->answers);
    assert_true(sv_str_is(end_of(c).error, "provider.cut"));
    assert_null(memmem(c->stream.p, c->stream.n, "[DONE]", 6));
    fake_call_free(c);
}

/* What was sent before a broken event passes in the same breath or not at all. */
static tiny_conn *waiting;

static void answer_word_first(tiny_conn *c, sv_str request)
{
    (void)request;
    waiting = c;
    tiny_puts(c, SSE_HEAD ROLE WORD);
}

static void bad_event(const char *event)
{
    server.answer = answer_word_first;
    sv_call *c = begin_stream();
    UNTIL(c->stream.n > 0);
    tiny_puts(waiting, event);
    tiny_close(waiting);
    UNTIL(c->answers);
    sv_str got = buf_str(&c->stream);
    assert_memory_equal(got.p, ROLE WORD, strlen(ROLE WORD));
    assert_non_null(memmem(got.p, got.n, "data: {\"error\":{\"message\":\"", 27));
    assert_null(memmem(got.p, got.n, "[DONE]", 6));
    assert_true(sv_str_is(end_of(c).error, "provider.bad_answer"));
    fake_call_free(c);
    /* in the same piece nothing has been sent yet */
    char text[1024];
    snprintf(text, sizeof text, "%s%s%s%s", SSE_HEAD, ROLE, WORD, event);
    refused(text, SV_E_PROVIDER_GARBAGE, "The provider p's answer");
}

static void test_bad_events(void **state)
{
    (void)state;
    bad_event("data: nonsense\n\n" DONE);
    bad_event("data: \"\xff\"\n\n" DONE);
    bad_event("data: [1]\n\n" DONE);
    refused(SSE_HEAD "data: nonsense\n\n", SV_E_PROVIDER_GARBAGE, "The provider p's answer");
    refused(SSE_HEAD "data: \xff\n\n", SV_E_PROVIDER_GARBAGE, "UTF-8");
    refused(SSE_HEAD, SV_E_PROVIDER_GARBAGE, "empty stream");
    refused(SSE_HEAD ": only a comment\n\n", SV_E_PROVIDER_GARBAGE, "empty stream");
}

static void test_errors_in_the_stream(void **state)
{
    (void)state;
    /* before anything was sent: a status */
    const char *early = SSE_HEAD ": wait\n\ndata: {\"error\":{\"message\":\"no "
                                 "sk-secret-0-1234567"
                                 "\",\"code\":429}}\n\n";
    sv_call *c = stream_of(early);
    router_complete_head h = head_of(c);
    assert_int_equal(h.http_status, 429);
    assert_true(sv_str_is(h.content_type, "application/json"));
    streamed(c, "{\"error\":{\"message\":\"no *******************\",\"code\":429}}");
    assert_true(sv_str_is(end_of(c).error, "provider.refused"));
    fake_call_free(c);
    /* later: as it is, and nothing that looks like an end behind it */
    server.answer = answer_word_first;
    c = begin_stream();
    UNTIL(c->stream.n > 0);
    tiny_puts(waiting, "data: {\"error\":{\"message\":\"x\"}}\n\n" DONE);
    tiny_close(waiting);
    UNTIL(c->answers);
    streamed(c, ROLE WORD "data: {\"error\":{\"message\":\"x\"}}\n\n");
    assert_true(sv_str_is(end_of(c).error, "provider.refused"));
    fake_call_free(c);
    /* unless the provider's key is in it */
    c = begin_stream();
    UNTIL(c->stream.n > 0);
    tiny_puts(waiting, "data: {\"error\":{\"message\":\"no sk-secret-0-1234567\"}}\n\n");
    tiny_close(waiting);
    UNTIL(c->answers);
    assert_null(memmem(c->stream.p, c->stream.n, "sk-secret-0", 11));
    assert_non_null(memmem(c->stream.p, c->stream.n, "\"error\"", 7));
    assert_null(memmem(c->stream.p, c->stream.n, "[DONE]", 6));
    fake_call_free(c);
}

/* Of one choice alone: clients would read it as a reason to end. */
static void test_choice_with_error(void **state)
{
    (void)state;
#define FAILED_CHOICE                                                                              \
    "{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\",\"error\":{\"code\":"   \
    "503,\"message\":\"lost it\"}}"
    server.answer = answer_word_first;
    sv_call *c = begin_stream();
    UNTIL(c->stream.n > 0);
    tiny_puts(waiting, "data: {\"choices\":[" FAILED_CHOICE "]}\n\n" DONE);
    UNTIL(c->answers);
    assert_non_null(
        memmem(c->stream.p, c->stream.n, "data: {\"error\":{\"message\":\"lost it", 34));
    assert_null(memmem(c->stream.p, c->stream.n, "[DONE]", 6));
    assert_true(sv_str_is(end_of(c).error, "provider.refused"));
    fake_call_free(c);
    /* of a whole answer, whatever it had said */
    server.text =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
        "{\"choices\":[{\"message\":{\"content\":\"half\"},\"finish_reason\":\"error\"}]}";
    server.answer = answer_and_close;
    c = begin(&plain_req, "edge", body, false);
    UNTIL(c->answers);
    assert_int_equal(head_of(c).http_status, 502);
    assert_non_null(memmem(c->attached.p, c->attached.n, "{\"error\":{", 10));
    fake_call_free(c);
}

/* An event of Responses has not the form of an answer with an error. */
static void test_early_error_event(void **state)
{
    (void)state;
    static const router_complete_req q = {
        .model = {"p/m", 3}, .endpoint = {"responses", 9}, .stream = true};
    r.providers.items[0]->responses = true;
    server.text = SSE_HEAD "event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\","
                           "\"message\":\"oh no\",\"param\":null}\n\n";
    server.answer = answer_and_close;
    sv_call *c = begin(&q, "edge", "{\"model\":\"p/m\",\"input\":\"hi\",\"stream\":true}", true);
    UNTIL(c->answers);
    json_value error = json_get(json_root(buf_str(&c->stream)), "error");
    if (!json_string_is(json_get(error, "message"), "oh no"))
        fail_msg("%.*s", SV_FMT(buf_str(&c->stream)));
    fake_call_free(c);
}

static void test_not_a_stream(void **state)
{
    (void)state;
    refused("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
            SV_E_PROVIDER_GARBAGE, "something else came");
    refused("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\n<>",
            SV_E_PROVIDER_GARBAGE, "something else came");
    refused("not HTTP at all\r\n\r\n", SV_E_PROVIDER_GARBAGE, "The provider p");
    refused("HTTP/1.1 302 Found\r\nLocation: http://evil/\r\nContent-Length: 0\r\n\r\n",
            SV_E_PROVIDER_GARBAGE, "302");
    refused("", SV_E_PROVIDER_CUT, "The provider p");
}

static void test_refusals(void **state)
{
    (void)state;
    sv_call *c =
        stream_of("HTTP/1.1 429 Slow\r\nContent-Type: application/json\r\nRetry-After: 3\r\n"
                  "Content-Length: 41\r\n\r\n{\"error\":{\"message\":\"slow down\",\"x\":1.0}}");
    router_complete_head h = head_of(c);
    assert_int_equal(h.http_status, 429);
    assert_int_equal(h.retry_after_ms, 3000);
    streamed(c, "{\"error\":{\"message\":\"slow down\",\"x\":1.0}}");
    fake_call_free(c);
    /* a status without JSON keeps its meaning */
    c = stream_of("HTTP/1.1 503 Busy\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nbusy");
    assert_int_equal(head_of(c).http_status, 503);
    assert_non_null(memmem(c->stream.p, c->stream.n, "{\"error\":{", 10));
    fake_call_free(c);
    refused("HTTP/1.1 502 Bad\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
            SV_E_PROVIDER_GARBAGE, "502");
}

static void test_key_is_blotted_out(void **state)
{
    (void)state;
    sv_call *c =
        stream_of("HTTP/1.1 401 No\r\nContent-Type: application/json\r\nContent-Length: 43\r\n\r\n"
                  "{\"error\":\"bad sk-secret-0-1234567, really\"}");
    assert_int_equal(head_of(c).http_status, 401);
    assert_null(memmem(c->stream.p, c->stream.n, key_text, strlen(key_text)));
    streamed(c, "{\"error\":\"bad *******************, really\"}");
    fake_call_free(c);
    c = stream_of("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                  "x-request-id: sk-secret-0-1234567\r\n\r\n" WORD STOP DONE);
    assert_int_equal(head_of(c).upstream_id.n, 0);
    fake_call_free(c);
}

static void test_unreachable(void **state)
{
    (void)state;
    upstreams_free(&r.upstreams);
    r.upstreams.loop = l;
    int fd = server.fd;
    shutdown(fd, SHUT_RDWR); /* no longer listens */
    sv_call *c = begin_stream();
    UNTIL(c->answers);
    assert_int_equal(c->code, SV_E_PROVIDER_UNREACHABLE);
    assert_string_equal(c->refusal.message, "The provider p could not be reached.");
    fake_call_free(c);
}

static void test_timeouts(void **state)
{
    (void)state;
    r.first_byte_ms = 100;
    server.answer = tiny_answer_nothing;
    sv_call *c = begin_stream();
    UNTIL(c->answers);
    assert_int_equal(c->code, SV_E_PROVIDER_TIMEOUT);
    fake_call_free(c);
    r.idle_ms = 100;
    server.answer = tiny_answer_text;
    server.text = SSE_HEAD WORD;
    c = begin_stream();
    UNTIL(c->answers);
    assert_int_equal(c->code, 0);
    assert_true(sv_str_is(end_of(c).error, "provider.timeout"));
    fake_call_free(c);
    /* the role alone is no token: it does not stop the clock, and nothing was sent */
    r.idle_ms = 2000;
    server.text = SSE_HEAD ROLE;
    uint64_t from = clock_us();
    c = begin_stream();
    UNTIL(c->answers);
    assert_in_range(clock_us() - from, 0, 1500000);
    assert_int_equal(c->code, SV_E_PROVIDER_TIMEOUT);
    assert_int_equal(c->partials, 0);
    fake_call_free(c);
}

static void drip(void *arg)
{
    tiny_conn *c = arg;
    tiny_puts(c, WORD);
    if (c->fd >= 0) loop_timer_set(l, &c->timer, 200, drip, c);
}

static void answer_endless(tiny_conn *c, sv_str request)
{
    (void)request;
    tiny_puts(c, SSE_HEAD);
    drip(c);
}

static void test_endless(void **state)
{
    (void)state;
    server.answer = answer_endless;
    r.answer_bytes = 65536;
    sv_call *c = begin_stream();
    UNTIL(c->answers);
    assert_true(sv_str_is(end_of(c).error, "provider.too_large"));
    assert_true(c->stream.n < 70000);
    fake_call_free(c);
    r.answer_bytes = 64 << 20;
    c = fake_call(&process, "edge", body, true);
    c->ttl_ms = 300;
    assert_int_equal(router_complete(c, &stream_req), SV_PENDING);
    UNTIL(c->answers);
    assert_true(sv_str_is(end_of(c).error, "provider.timeout"));
    fake_call_free(c);
}

static void test_open_behind_done(void **state)
{
    (void)state;
    server.answer = tiny_answer_text; /* stays open */
    server.text = SSE_HEAD ROLE STOP DONE;
    sv_call *c = begin_stream();
    UNTIL(c->answers);
    streamed(c, ROLE STOP DONE);
    assert_int_equal(end_of(c).error.n, 0);
    UNTIL(server.peer_closed == 1);
    fake_call_free(c);
}

static void answer_huge_event(tiny_conn *c, sv_str request)
{
    (void)request;
    char *words = malloc(1 << 20);
    memset(words, 'x', 1 << 20);
    tiny_puts(c, SSE_HEAD ROLE "data: {\"a\":\"");
    tiny_send(c, words, 1 << 20);
    tiny_puts(c, "\"}\n\n" DONE);
    free(words);
}

static void test_huge_event(void **state)
{
    (void)state;
    server.answer = answer_huge_event;
    sv_call *c = begin_stream();
    UNTIL(c->answers);
    assert_int_equal(c->code, SV_E_PROVIDER_TOO_LARGE);
    assert_int_equal(c->pending_most, 0);
    fake_call_free(c);
}

/* ---- flow ---- */

static void answer_much(tiny_conn *c, sv_str request)
{
    (void)request;
    tiny_puts(c, SSE_HEAD);
    for (int i = 0; i < 100000; i++)
        tiny_puts(c, WORD);
    tiny_puts(c, STOP DONE);
    tiny_close(c);
}

static void test_slow_client(void **state)
{
    (void)state;
    server.answer = answer_much;
    r.answer_bytes = 64 << 20;
    sv_call *c = fake_call(&process, "edge", body, true);
    c->window_shut = true;
    assert_int_equal(router_complete(c, &stream_req), SV_PENDING);
    UNTIL(c->pending > 65536);
    size_t had = c->stream.n;
    for (int i = 0; i < 50; i++)
        loop_turn(l, 1);
    assert_int_equal(c->stream.n, had);
    assert_true(c->pending < 65536 + 70000);
    for (int i = 0; i < 20 && !c->answers; i++) { /* some rounds of a slow client */
        fake_drain(c);
        c->window_shut = true;
        had = c->stream.n;
        UNTIL(c->pending > 65536 || c->answers);
    }
    fake_drain(c);
    UNTIL(c->answers);
    assert_true(c->pending_most < 65536 + 70000);
    assert_int_equal(c->stream.n, 100000 * strlen(WORD) + strlen(STOP DONE));
    fake_call_free(c);
}

static void test_cancel(void **state)
{
    (void)state;
    server.answer = tiny_answer_nothing;
    sv_call *c = begin_stream();
    UNTIL(server.requests == 1);
    uint64_t from = clock_us();
    fake_cancel(c);
    assert_int_equal(c->code, SV_E_CANCELLED);
    UNTIL(server.peer_closed == 1);
    assert_true(server.peer_closed_us - from < 50000);
    fake_call_free(c);
    server.answer = answer_endless;
    c = begin_stream();
    UNTIL(c->stream.n > 0);
    fake_cancel(c);
    UNTIL(server.peer_closed == 2);
    fake_call_free(c);
    /* the caller is gone when the next bytes come */
    c = begin_stream();
    UNTIL(c->stream.n > 0);
    c->gone = true;
    UNTIL(c->answers);
    assert_int_equal(c->code, SV_E_CANCELLED);
    UNTIL(server.peer_closed == 3);
    fake_call_free(c);
    /* no window for even the head */
    c = fake_call(&process, "edge", body, true);
    c->partial_fails = SV_E_QUEUE_FULL;
    assert_int_equal(router_complete(c, &stream_req), SV_PENDING);
    UNTIL(c->answers);
    assert_int_equal(c->code, SV_E_QUEUE_FULL);
    fake_call_free(c);
}

/* ---- plain ---- */

static sv_call *plain_of(const char *type, const char *json)
{
    static char text[4096];
    snprintf(text, sizeof text,
             "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n%s", type,
             strlen(json), json);
    server.text = text;
    server.answer = tiny_answer_text;
    sv_call *c = begin(&plain_req, "edge", body, false);
    UNTIL(c->answers);
    return c;
}

static void test_plain(void **state)
{
    (void)state;
    const char *json = "{\"choices\":[{\"message\":{\"content\":\"hi\"}}],\"usage\":{\"prompt_"
                       "tokens\":1.0e1,\"completion_tokens\":4}, \"x\": 1.50}";
    sv_call *c = plain_of("application/json", json);
    assert_int_equal(c->code, 0);
    assert_int_equal(head_of(c).http_status, 200);
    assert_true(sv_str_is(buf_str(&c->attached), json));
    assert_non_null(strstr(server.last.p, body));
    assert_null(strstr(server.last.p, "stream_options"));
    fake_call_free(c);
    /* counts that no answer has are not believed */
    c = plain_of("application/json",
                 "{\"choices\":[{\"message\":{\"content\":\"hi\"}}],\"usage\":{"
                 "\"prompt_tokens\":9007199254740991,\"completion_tokens\":4}}");
    assert_int_equal(c->code, 0);
    assert_in_range(head_of(c).prompt_tokens, 1, 100);
    assert_int_equal(head_of(c).completion_tokens, 1);
    fake_call_free(c);
    buf metrics;
    buf_init(&metrics, 1 << 20);
    metrics_text(&metrics);
    buf_putc(&metrics, 0);
    assert_non_null(
        strstr(metrics.p, "samovar_provider_requests_total{provider=\"p\",outcome=\"ok\"} 2"));
    assert_non_null(
        strstr(metrics.p, "samovar_provider_tokens_total{provider=\"p\",kind=\"completion\"} 4"));
    buf_free(&metrics);
}

static void test_plain_garbage(void **state)
{
    (void)state;
    const char *bad[] = {"", "{", "[]", "<html>", "{\"a\":\"\xff\"}", "{} x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        sv_call *c = plain_of("application/json", bad[i]);
        assert_int_equal(c->code, SV_E_PROVIDER_GARBAGE);
        fake_call_free(c);
    }
}

static void test_plain_refusal(void **state)
{
    (void)state;
    server.text = "HTTP/1.1 400 Bad\r\nContent-Type: application/json\r\nContent-Length: "
                  "13\r\n\r\n{\"error\":\"x\"}";
    server.answer = tiny_answer_text;
    sv_call *c = begin(&plain_req, "edge", body, false);
    UNTIL(c->answers);
    assert_int_equal(head_of(c).http_status, 400);
    assert_true(sv_str_is(buf_str(&c->attached), "{\"error\":\"x\"}"));
    fake_call_free(c);
}

static void test_plain_too_large(void **state)
{
    (void)state;
    r.answer_bytes = 20;
    sv_call *c = plain_of("application/json", "{\"a\":\"0123456789012345\"}");
    assert_int_equal(c->code, SV_E_PROVIDER_TOO_LARGE);
    fake_call_free(c);
}

/* ---- requests ---- */

static void refuses(router_complete_req q, const char *caller, const char *json, bool streaming,
                    int code, const char *field)
{
    sv_call *c = fake_call(&process, caller, json, streaming);
    int rc = router_complete(c, &q);
    if (rc != code) fail_msg("%d: %s", rc, c->error.message);
    assert_string_equal(c->error.field, field);
    assert_int_equal(server.accepted, 0);
    fake_call_free(c);
}

static void test_bad_requests(void **state)
{
    (void)state;
    refuses(plain_req, "edge", NULL, false, SV_E_INVALID, "attachment");
    refuses(plain_req, "edge", "[]", false, SV_E_INVALID, "attachment");
    refuses(stream_req, "edge", body, false, SV_E_INVALID, "stream");
    refuses(plain_req, "other", "{\"a\":", false, SV_E_MALFORMED, "");
    refuses(plain_req, "other", "{\"a\":1,\"a\":2}", false, SV_E_DUPLICATE_KEY, "a");
    router_complete_req q = plain_req;
    q.via = sv_cstr("x\r\nEvil: y");
    refuses(q, "edge", body, false, SV_E_INVALID, "headers");
    q.via = (sv_str){"x\0y", 3};
    refuses(q, "edge", body, false, SV_E_INVALID, "via");
    provider_list_free(&r.providers);
    refuses(plain_req, "edge", body, false, SV_E_MODEL_UNKNOWN, "model");
}

static void test_model_is_renamed(void **state)
{
    (void)state;
    router_complete_req q = {.model = sv_cstr("p/org/x"), .model_at = 9, .model_n = 5};
    server.text = "HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n"
                  "{\"choices\":[{\"message\":{\"content\":\"hi\"}}]}";
    server.answer = tiny_answer_text;
    sv_call *c = begin(&q, "edge", body, false);
    UNTIL(c->answers);
    assert_non_null(strstr(server.last.p, "\r\n\r\n{\"model\":\"org/x\",\"messages\":[{"));
    assert_true(sv_str_is(head_of(c).model, "org/x"));
    fake_call_free(c);
    q.model_at = 3; /* another caller's offsets are not even looked at */
    c = begin(&q, "other", body, false);
    UNTIL(c->answers);
    assert_non_null(strstr(server.last.p, "\r\n\r\n{\"model\":\"org/x\",\"messages\":[{"));
    fake_call_free(c);
}

/* Everything above was logged: no line holds the key. Runs last. */
static void test_log_is_free_of_keys(void **state)
{
    (void)state;
    static char text[1 << 20];
    ssize_t n = pread(log_fd, text, sizeof text, 0);
    assert_true(n > 0);
    assert_non_null(memmem(text, (size_t)n, "a provider failed", 17));
    assert_null(memmem(text, (size_t)n, key_text, strlen(key_text)));
}

#define WITH_PROVIDER(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    char log_name[] = "/tmp/router_log_XXXXXX";
    log_fd = mkstemp(log_name);
    unlink(log_name);
    log_init("router", 0, LOG_DEBUG, log_fd);
    const struct CMUnitTest tests[] = {
        WITH_PROVIDER(test_stream),
        WITH_PROVIDER(test_usage_asked_for),
        WITH_PROVIDER(test_every_cut),
        WITH_PROVIDER(test_ends),
        WITH_PROVIDER(test_cut),
        WITH_PROVIDER(test_bad_events),
        WITH_PROVIDER(test_errors_in_the_stream),
        WITH_PROVIDER(test_choice_with_error),
        WITH_PROVIDER(test_early_error_event),
        WITH_PROVIDER(test_not_a_stream),
        WITH_PROVIDER(test_refusals),
        WITH_PROVIDER(test_key_is_blotted_out),
        WITH_PROVIDER(test_unreachable),
        WITH_PROVIDER(test_timeouts),
        WITH_PROVIDER(test_endless),
        WITH_PROVIDER(test_open_behind_done),
        WITH_PROVIDER(test_huge_event),
        WITH_PROVIDER(test_slow_client),
        WITH_PROVIDER(test_cancel),
        WITH_PROVIDER(test_plain),
        WITH_PROVIDER(test_plain_garbage),
        WITH_PROVIDER(test_plain_refusal),
        WITH_PROVIDER(test_plain_too_large),
        WITH_PROVIDER(test_bad_requests),
        WITH_PROVIDER(test_model_is_renamed),
        cmocka_unit_test(test_log_is_free_of_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
