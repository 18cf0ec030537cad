/*  Which provider is called when another has failed, and with which key: each kind of failure, before
 *  and after the first token; races, hedges, continuations; and clients that leave at any of these
 *  points. */
#include "../runtime/tiny_server.h"
#include "fake_bus.h"
#include "relay_kit.h"

#include "log.h"

#include <stdio.h>

#define JSON(status, more, length, text)                                                           \
    "HTTP/1.1 " status "\r\nContent-Type: application/json\r\n" more "Content-Length: " #length    \
    "\r\n\r\n" text
#define SSE_HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
#define WORD     "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n"
#define STOP     "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
#define DONE     "data: [DONE]\n\n"

#define GOOD                                                                                       \
    JSON("200 OK", "", 66,                                                                         \
         "{\"choices\":[{\"message\":{\"content\":\"yes\"},\"finish_reason\":\"stop\"}]}")
#define EMPTY                                                                                      \
    JSON("200 OK", "", 63,                                                                         \
         "{\"choices\":[{\"message\":{\"content\":\"\"},\"finish_reason\":\"stop\"}]}")
#define UNENDED                JSON("200 OK", "", 44, "{\"choices\":[{\"message\":{\"content\":\"well\"}}]}")
#define ERROR_OF(status, more) JSON(status, more, 29, "{\"error\":{\"message\":\"sorry\"}}")
#define LIMITED                ERROR_OF("429 Slow", "")
#define LIMITED_1S             ERROR_OF("429 Slow", "Retry-After: 1\r\n")
#define LIMITED_30S            ERROR_OF("429 Slow", "Retry-After: 30\r\n")
#define LIMITED_HOUR           ERROR_OF("429 Slow", "Retry-After: 3600\r\n")
#define BROKEN                 ERROR_OF("500 Oh", "")
#define BUSY                   ERROR_OF("503 Busy", "")
#define NO_KEY                 ERROR_OF("401 No", "")
#define NO_MONEY               ERROR_OF("402 Pay", "")
#define NO_MODEL                                                                                   \
    JSON("404 What", "", 54, "{\"error\":{\"message\":\"sorry\",\"code\":\"model_not_found\"}}")
#define WRONG ERROR_OF("400 Bad", "")
#define CONTEXT                                                                                    \
    JSON("400 Bad", "", 65,                                                                        \
         "{\"error\":{\"message\":\"too long\",\"code\":\"context_length_exceeded\"}}")
#define POLICY                                                                                     \
    JSON("400 Bad", "", 66,                                                                        \
         "{\"error\":{\"message\":\"not that\",\"code\":\"content_policy_violation\"}}")
#define HANG  ((const char *)1)
#define RESET ((const char *)2)
#define CLOSE ""

enum { SERVERS = 3, ANSWERS = 8 };

typedef struct host {
    tiny_server server; /* first: a connection's server is the host */
    const char *answers[ANSWERS];
    int at;
} host;

static host hosts[SERVERS];
static char called[256]; /* "a0 b0": providers by letter, with the key */
static tiny_conn *open_conn;
static sv_str names[] = {{"b/m", 3}, {"c/m", 3}};
static const char body[] =
    "{\"model\":\"a/m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}";
static const char *asked_body = body; /* of the next call */

static void answer(tiny_conn *c, sv_str request)
{
    host *h = (host *)c->server;
    const char *key = memmem(request.p, request.n, "sk-secret-", 10), *text = h->answers[h->at];
    size_t n = strlen(called);
    if (h->at + 1 < ANSWERS && h->answers[h->at + 1]) h->at++;
    snprintf(called + n, sizeof called - n, "%s%c%c", n ? " " : "", (char)('a' + (h - hosts)),
             key ? key[10] : '-');
    open_conn = c;
    if (text == HANG) return;
    if (text == RESET) {
        tiny_reset(c);
        return;
    }
    tiny_puts(c, text);
    if (*text == 0 || strstr(text, "Connection: close")) tiny_close(c);
}

static int setup(void **state)
{
    (void)state;
    char name[2] = "a";
    relay_start("  model_info:\n"
                "    - {model: a/m, context: 8000, can: [prefill]}\n"
                "    - {model: b/m, context: 4000, can: [prefill]}\n"
                "    - {model: c/m, context: 64000, can: [tools]}\n",
                NULL);
    memset(hosts, 0, sizeof hosts);
    called[0] = 0;
    for (int i = 0; i < SERVERS; i++, name[0]++) {
        tiny_start(&hosts[i].server, l, answer);
        hosts[i].answers[0] = GOOD;
        relay_add(name, LLM_OPENAI, hosts[i].server.port, i == 0 ? 2 : 1);
    }
    r.attempts = 6;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < SERVERS; i++)
        tiny_stop(&hosts[i].server);
    relay_stop();
    return 0;
}

static void again(void)
{
    void *none = NULL;
    teardown(&none);
    setup(&none);
}

static sv_call *begin_as(router_complete_req q, int others)
{
    sv_call *c = fake_call(&process, "edge", asked_body, q.stream);
    asked_body = body;
    q.model = (sv_str){"a/m", 3};
    q.models = (sv_strs){names, (uint32_t)others};
    router_complete_req *kept = arena_alloc(&c->arena, sizeof q); /* as long as the call */
    *kept = q;
    c->ttl_ms = 20000;
    int rc = router_complete(c, kept);
    if (rc < 0) sv_refuse(c, rc, NULL);
    return c;
}

/* A call of a with `others` behind it; "a0 b0" is the order of the calls that must come of it. */
static void goes(const char *what, const char *const *a, int others, const char *order, int status)
{
    for (int i = 0; i < ANSWERS && a[i]; i++)
        hosts[0].answers[i] = a[i];
    sv_call *c = begin_as((router_complete_req){0}, others);
    UNTIL(c->answers);
    if (strcmp(called, order) != 0) fail_msg("%s: called %s, not %s", what, called, order);
    if (status > 0) {
        router_complete_head h;
        if (c->code) fail_msg("%s: refused %d %s", what, c->code, c->refusal.message);
        assert_int_equal(message_decode(&router_complete_head_msg, buf_str(&c->head),
                                        MESSAGE_STRICT, &c->arena, &h, NULL),
                         0);
        if (h.http_status != status) fail_msg("%s: status %d", what, (int)h.http_status);
        if (h.attempts != ((int)strlen(order) + 1) / 3)
            fail_msg("%s: %d attempts", what, (int)h.attempts);
    } else if (c->code != status) {
        fail_msg("%s: %d %s", what, c->code, c->refusal.message);
    }
    fake_call_free(c);
    again();
}

#define GOES(others, order, status, ...)                                                           \
    goes(#__VA_ARGS__, (const char *const[ANSWERS]){__VA_ARGS__}, others, order, status)

/* ---- before the first token ---- */

static void test_order(void **state)
{
    (void)state;
    GOES(0, "a0", 200, GOOD);
    /* a stumble: once more, then somebody else; alone, some times more */
    GOES(1, "a0 a0", 200, BROKEN, GOOD);
    GOES(1, "a0 a0 b0", 200, BROKEN);
    GOES(1, "a0 a0 b0", 200, BUSY);
    GOES(1, "a0 a0 b0", 200, RESET);
    GOES(1, "a0 a0 b0", 200, CLOSE);
    GOES(1, "a0 a0 b0", 200, "garbage\r\n\r\n");
    GOES(0, "a0 a0 a0 a0", 503, BUSY);
    GOES(0, "a0 a0 a0", 200, BUSY, BROKEN, GOOD);
    /* keys: the next one; dead ones stay dead, limited ones rest */
    GOES(1, "a0 a1", 200, NO_KEY, GOOD);
    GOES(1, "a0 a1 b0", 200, NO_KEY);
    GOES(1, "a0 a1 b0", 200, NO_MONEY, NO_KEY);
    GOES(0, "a0 a1", 401, NO_KEY);
    GOES(1, "a0 a1", 200, LIMITED, GOOD);
    GOES(1, "a0 a1 b0", 200, LIMITED_1S);
    GOES(0, "a0 a1 a0", 200, LIMITED_1S, LIMITED_1S, GOOD);
    GOES(1, "a0 a1 b0", 200, LIMITED_30S);
    GOES(0, "a0 a1 a1", 200, NO_KEY, LIMITED_1S, GOOD); /* not the dead one */
    GOES(0, "a0 a1", 429, LIMITED_HOUR);                /* too long to wait */
    /* what is wrong with the request is wrong everywhere */
    GOES(2, "a0", 400, WRONG);
    GOES(2, "a0", 400, POLICY);
    GOES(1, "a0 b0", 200, NO_MODEL);
    GOES(0, "a0", 404, NO_MODEL);
    /* too long: only a larger model */
    GOES(2, "a0 c0", 200, CONTEXT);
    GOES(1, "a0", 400, CONTEXT);
    /* nothing in it: another is asked; when nobody is left it is the answer */
    GOES(1, "a0 b0", 200, EMPTY);
    GOES(0, "a0", 200, EMPTY);
}

static void test_bounds(void **state)
{
    (void)state;
    r.attempts = 3;
    GOES(2, "a0 a0 b0", 200, BROKEN);
    r.attempts = 2;
    GOES(2, "a0 a0", 500, BROKEN);
    r.attempts = 1;
    GOES(2, "a0", 500, BROKEN);
    r.attempts = 6;
    hosts[1].answers[0] = BROKEN;
    hosts[2].answers[0] = BROKEN;
    GOES(2, "a0 a0 b0 b0 c0 c0", 500, BROKEN);
    r.first_token_ms = 100;
    GOES(1, "a0 b0", 200, HANG); /* no second time with one that does not answer */
    r.first_byte_ms = 100;
    GOES(0, "a0", SV_E_PROVIDER_TIMEOUT, HANG);
}

/* A pause that would outlast the call is not begun. */
static void test_deadline(void **state)
{
    (void)state;
    hosts[0].answers[0] = LIMITED_30S;
    sv_call *c = fake_call(&process, "edge", body, false);
    router_complete_req q = {.model = {"a/m", 3}};
    c->ttl_ms = 3000;
    uint64_t from = clock_us();
    assert_int_equal(router_complete(c, &q), SV_PENDING);
    UNTIL(c->answers);
    assert_true(clock_us() - from < 2000000);
    assert_string_equal(called, "a0 a1");
    fake_call_free(c);
}

static void test_retry_after(void **state)
{
    (void)state;
    const char *const a[ANSWERS] = {LIMITED_1S, LIMITED_1S, GOOD};
    uint64_t from = clock_us();
    goes("Retry-After", a, 0, "a0 a1 a0", 200);
    assert_in_range(clock_us() - from, 1000000, 4000000);
}

/* ---- streams ---- */

static router_complete_end end_of(sv_call *c)
{
    router_complete_end e;
    if (c->end.n == 0) fail_msg("refused: %d %s", c->code, c->refusal.message);
    assert_int_equal(message_decode(&router_complete_end_msg, buf_str(&c->end), MESSAGE_STRICT,
                                    &c->arena, &e, NULL),
                     0);
    return e;
}

static void test_streams(void **state)
{
    (void)state;
    static const char *const early[] = {
        SSE_HEAD,
        SSE_HEAD ": wait\n\n",
        SSE_HEAD "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n",
        SSE_HEAD "data: nonsense\n\n",
        SSE_HEAD "data: {\"error\":{\"message\":\"no\",\"code\":503}}\n\n",
        SSE_HEAD WORD "data: nonsense\n\n", /* in one piece: nothing was sent yet */
        SSE_HEAD WORD "data: {\"error\":{\"message\":\"no\"}}\n\n",
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 1\r\n\r\nx"};
    for (size_t i = 0; i < sizeof early / sizeof *early; i++) {
        hosts[0].answers[0] = early[i];
        hosts[1].answers[0] = SSE_HEAD WORD STOP DONE;
        sv_call *c = begin_as((router_complete_req){.stream = true}, 1);
        UNTIL(c->answers);
        if (!sv_str_is(buf_str(&c->stream), WORD STOP DONE))
            fail_msg("%zu: %.*s, %d", i, SV_FMT(buf_str(&c->stream)), c->code);
        assert_string_equal(called, "a0 a0 b0");
        router_complete_end e = end_of(c);
        assert_true(e.error.n == 0 && sv_str_is(e.provider, "b") && e.attempts == 3);
        fake_call_free(c);
        again();
    }
    /* empty: not a second time */
    hosts[0].answers[0] = SSE_HEAD STOP DONE;
    hosts[1].answers[0] = SSE_HEAD STOP DONE;
    sv_call *c = begin_as((router_complete_req){.stream = true}, 1);
    UNTIL(c->answers);
    assert_string_equal(called, "a0 b0");
    assert_true(sv_str_is(buf_str(&c->stream), STOP DONE));
    fake_call_free(c);
}

/* After the first token nobody else is asked. */
static void test_committed(void **state)
{
    (void)state;
    hosts[0].answers[0] = SSE_HEAD WORD;
    sv_call *c = begin_as((router_complete_req){.stream = true}, 2);
    UNTIL(c->answers);
    assert_string_equal(called, "a0");
    assert_true(sv_str_is(end_of(c).error, "provider.cut"));
    assert_non_null(memmem(c->stream.p, c->stream.n, "data: {\"error\"", 14));
    assert_null(memmem(c->stream.p, c->stream.n, DONE, strlen(DONE)));
    fake_call_free(c);
}

/* ---- several at once ---- */

static void test_race(void **state)
{
    (void)state;
    hosts[0].answers[0] = HANG;
    hosts[1].answers[0] = BROKEN;
    sv_call *c = begin_as((router_complete_req){.mode = {"race", 4}}, 2);
    UNTIL(c->answers);
    assert_int_equal(strlen(called), 8); /* all three, in any order */
    assert_non_null(memmem(c->attached.p, c->attached.n, "yes", 3));
    UNTIL(hosts[0].server.peer_closed == 1); /* the slow one is let go */
    fake_call_free(c);
    again();
    for (int i = 0; i < SERVERS; i++)
        hosts[i].answers[0] = BROKEN;
    c = begin_as((router_complete_req){.mode = {"race", 4}}, 2);
    UNTIL(c->answers);
    assert_int_equal(strlen(called), 8); /* nobody is asked twice */
    fake_call_free(c);
}

static void test_all(void **state)
{
    (void)state;
    hosts[1].answers[0] = BROKEN;
    sv_call *c = begin_as((router_complete_req){.mode = {"all", 3}}, 2);
    UNTIL(c->answers);
    assert_int_equal(c->code, 0);
    assert_non_null(memmem(c->attached.p, c->attached.n, "\"index\":1", 9));
    assert_null(memmem(c->attached.p, c->attached.n, "\"index\":2", 9));
    assert_non_null(memmem(c->attached.p, c->attached.n, "\"provider\":\"c\"", 14));
    assert_int_equal(json_skim(buf_str(&c->attached), 16, NULL), 0);
    fake_call_free(c);
    again();
    hosts[1].answers[0] = hosts[2].answers[0] = UNENDED; /* it does not say why it ends */
    c = begin_as((router_complete_req){.mode = {"all", 3}}, 2);
    UNTIL(c->answers);
    assert_non_null(memmem(c->attached.p, c->attached.n, "\"index\":2", 9));
    fake_call_free(c);
    again();
    hosts[0].answers[0] = HANG; /* nobody else answers in its place: it has its time */
    r.first_token_ms = 50;
    asked_body = "{\"model\":\"a/m\",\"max_tokens\":1,"
                 "\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}";
    c = begin_as((router_complete_req){.mode = {"all", 3}}, 2);
    UNTIL(strlen(called) == 8);
    for (uint64_t until_us = clock_us() + 200000; clock_us() < until_us;)
        loop_turn(l, 20);
    tiny_puts(hosts[0].server.conns, GOOD);
    UNTIL(c->answers);
    assert_non_null(memmem(c->attached.p, c->attached.n, "\"index\":2", 9));
    fake_call_free(c);
    again();
    for (int i = 0; i < SERVERS; i++)
        hosts[i].answers[0] = WRONG;
    c = begin_as((router_complete_req){.mode = {"all", 3}}, 2);
    UNTIL(c->answers);
    assert_non_null(memmem(c->attached.p, c->attached.n, "sorry", 5));
    fake_call_free(c);
}

/* The first is slower than it ever was: a second call, once, and only where it was allowed. */
static void test_hedge(void **state)
{
    (void)state;
    for (int percent = 0; percent <= 50; percent += 50) {
        r.hedge_percent = (uint32_t)percent;
        for (int i = 0; i < 40; i++) {
            sv_call *c = begin_as((router_complete_req){0}, 1);
            UNTIL(c->answers);
            fake_call_free(c);
        }
        called[0] = 0;
        hosts[0].answers[0] = HANG;
        uint64_t from = clock_us();
        sv_call *c = begin_as((router_complete_req){0}, 1);
        UNTIL(c->answers);
        assert_string_equal(called, "a0 b0");
        assert_int_equal(c->code, 0);
        if (percent)
            assert_in_range(clock_us() - from, 0, 1500000);
        else
            assert_in_range(clock_us() - from, 1900000, 5000000); /* its time for a first token */
        UNTIL(hosts[0].server.peer_closed == 1);
        fake_call_free(c);
        again();
    }
}

/* ---- continuations ---- */

static router_complete_req continued = {.stream = true, .continued = true};

static void test_continued(void **state)
{
    (void)state;
    hosts[0].answers[0] = SSE_HEAD WORD;
    hosts[1].answers[0] = SSE_HEAD
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\" you\"}}]}\n\n" STOP
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":5}}\n\n" DONE;
    router_complete_req q = continued;
    q.include_usage = true;
    sv_call *c = begin_as(q, 1);
    UNTIL(c->answers);
    assert_string_equal(called, "a0 b0");
    router_complete_end e = end_of(c);
    assert_int_equal(e.error.n, 0);
    assert_true(sv_str_is(e.provider, "b"));
    buf_putc(&c->stream, 0);
    assert_non_null(strstr(c->stream.p, "\"content\":\" you\""));
    assert_non_null(strstr(c->stream.p, DONE));
    assert_non_null(strstr(c->stream.p, "\"completion_tokens\":6"));       /* of both, each once */
    assert_non_null(strstr(hosts[1].server.last.p, "\"content\":\"hi\"")); /* the beginning */
    fake_call_free(c);
}

static void first_failure_counts(const char *second, int others, const char *order)
{
    hosts[0].answers[0] = SSE_HEAD WORD;
    hosts[1].answers[0] = second;
    sv_call *c = begin_as(continued, others);
    UNTIL(c->answers);
    assert_string_equal(called, order);
    router_complete_end e = end_of(c);
    assert_true(sv_str_is(e.error, "provider.cut"));
    assert_true(sv_str_is(e.provider, "a"));
    assert_non_null(memmem(c->stream.p, c->stream.n, "The provider a", 14));
    assert_null(memmem(c->stream.p, c->stream.n, DONE, strlen(DONE)));
    fake_call_free(c);
    again();
}

static void test_continuation_fails(void **state)
{
    (void)state;
    /* c takes no beginning and is never asked */
    first_failure_counts(WRONG, 2, "a0 b0");
    first_failure_counts(NO_KEY, 2, "a0 b0");
    first_failure_counts(SSE_HEAD "data: {\"error\":{\"message\":\"no\"}}\n\n", 1,
                         "a0 b0 b0 b0 b0");
    first_failure_counts(SSE_HEAD WORD, 1, "a0 b0"); /* breaks off as well */
}

/* A request that only its provider can read passes as it is, and nobody else could take it up. */
static void test_continued_unread(void **state)
{
    (void)state;
    static const char unread[] =
        "{\"model\":\"a/m\",\"messages\":[{\"role\":\"user\",\"content\":7}]}";
    hosts[0].answers[0] = SSE_HEAD WORD;
    asked_body = unread;
    sv_call *c = begin_as(continued, 1);
    UNTIL(c->answers);
    assert_string_equal(called, "a0");
    assert_non_null(strstr(hosts[0].server.last.p, "\"content\":7"));
    assert_true(sv_str_is(end_of(c).error, "provider.cut"));
    fake_call_free(c);
}

/* What was never sent is no beginning. */
static void test_continued_after_unseen(void **state)
{
    (void)state;
    hosts[0].answers[0] =
        SSE_HEAD "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"unseen\"}}]}\n\n"
                 "data: nonsense\n\n";
    hosts[0].answers[1] = SSE_HEAD WORD;
    hosts[1].answers[0] = SSE_HEAD WORD STOP DONE;
    sv_call *c = begin_as(continued, 1);
    UNTIL(c->answers);
    assert_string_equal(called, "a0 a0 b0");
    assert_null(strstr(hosts[1].server.last.p, "unseen"));
    fake_call_free(c);
}

/* ---- counting ---- */

/* Nobody stands in for the one that counts: others have no such address. */
static void test_count(void **state)
{
    (void)state;
    relay_add("x", LLM_ANTHROPIC, hosts[0].server.port, 1);
    hosts[0].answers[0] = BROKEN;
    sv_call *c = fake_call(
        &process, "edge",
        "{\"model\":\"x/m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", false);
    router_complete_req q = {
        .model = sv_cstr("x/m"), .models = {names, 1}, .endpoint = sv_cstr("count_tokens")};
    c->ttl_ms = 20000;
    assert_int_equal(router_complete(c, &q), SV_PENDING);
    UNTIL(c->answers);
    assert_string_equal(called, "a0 a0 a0 a0");
    fake_call_free(c);
}

/* ---- a client that leaves ---- */

static void leaves(router_complete_req q, const char *a, const char *order, int closed)
{
    hosts[0].answers[0] = a;
    sv_call *c = begin_as(q, 1);
    UNTIL(strcmp(called, order) == 0);
    if (q.stream && a != HANG) UNTIL(c->stream.n > 0);
    for (int i = 0; i < 5 && !c->answers; i++)
        loop_turn(l, 5);
    assert_int_equal(c->answers, 0);
    uint64_t from = clock_us();
    fake_cancel(c);
    assert_int_equal(c->code, SV_E_CANCELLED);
    UNTIL(hosts[0].server.peer_closed + hosts[1].server.peer_closed >= closed);
    assert_true(clock_us() - from < 50000);
    for (int i = 0; i < 20; i++)
        loop_turn(l, 10);
    assert_string_equal(called, order); /* nothing more is tried */
    fake_call_free(c);
    again();
}

static void test_client_leaves(void **state)
{
    (void)state;
    leaves((router_complete_req){0}, HANG, "a0", 1);
    leaves((router_complete_req){.stream = true}, HANG, "a0", 1);
    leaves((router_complete_req){.stream = true},
           "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" WORD, "a0", 1);
    leaves((router_complete_req){0}, BROKEN, "a0", 0); /* in the pause before the next try */
    hosts[1].answers[0] = HANG;
    leaves((router_complete_req){.mode = {"race", 4}}, HANG, "a0 b0", 2);
}

#define WITH_HOSTS(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    log_init("test", 0, LOG_ERROR, -1);
    const struct CMUnitTest tests[] = {
        WITH_HOSTS(test_order),
        WITH_HOSTS(test_bounds),
        WITH_HOSTS(test_deadline),
        WITH_HOSTS(test_retry_after),
        WITH_HOSTS(test_streams),
        WITH_HOSTS(test_committed),
        WITH_HOSTS(test_race),
        WITH_HOSTS(test_all),
        WITH_HOSTS(test_hedge),
        WITH_HOSTS(test_continued),
        WITH_HOSTS(test_continued_unread),
        WITH_HOSTS(test_continuation_fails),
        WITH_HOSTS(test_continued_after_unseen),
        WITH_HOSTS(test_count),
        WITH_HOSTS(test_client_leaves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
