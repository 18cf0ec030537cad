/*  What a request takes of the budgets before providers are called, and what is settled in the end: a
 *  hedge and a continuation take their own, which may be refused or come later; and whatever happens,
 *  nothing stays held and what was answered is paid once. */
#include "../runtime/tiny_server.h"
#include "fake_bus.h"
#include "relay_kit.h"

#include "log.h"

#include <stdio.h>

/* ---- budgets that answer as a test says ---- */

enum { TAKES = 64 };

struct budget_hold {
    budget_ask ask;
    bool open;
    int64_t micro, tokens;
};

static budget_hold takes[TAKES];
static int n_takes, cancelled;
static int further_answer; /* to each call beside or behind the first one */
static budget_wait *waiting;

int budgets_new(sv_process *p, feed *f, budgets **ret, sv_error *err)
{
    (void)p, (void)f, (void)ret, (void)err;
    return 0;
}

void budgets_free(budgets *b)
{
    (void)b;
}

void budgets_drain(budgets *b)
{
    (void)b;
}

int budget_take(budgets *b, const budget_ask *a, budget_hold **ret, budget_wait *w, sv_error *err)
{
    (void)b;
    assert_true(n_takes < TAKES);
    budget_hold *h = &takes[n_takes++];
    int rc = a->further ? further_answer : 0;
    *h = (budget_hold){.ask = *a, .open = rc == 0};
    *ret = rc == 0 ? h : NULL;
    w->asked = rc == SV_PENDING ? h : NULL;
    if (rc == SV_PENDING) waiting = w;
    return rc < 0 ? sv_fail(err, rc, NULL, NULL) : rc;
}

void budget_wait_cancel(budget_wait *w)
{
    if (w->asked == NULL) return;
    w->asked = NULL;
    waiting = NULL;
    cancelled++;
}

bool budgets_by_model(const budgets *b)
{
    (void)b;
    return false;
}

void budget_settle_shares(budget_hold *h, int64_t micro, int64_t used, const budget_share *shares)
{
    assert_null(shares);
    budget_settle(h, micro, used);
}

void budget_settle(budget_hold *h, int64_t micro, int64_t used)
{
    if (h == NULL) return;
    assert_true(h->open);
    h->open = false;
    h->micro = micro;
    h->tokens = used;
}

static void judge(int code)
{
    budget_wait *w = waiting;
    budget_hold *h = w->asked;
    sv_error err = {0};
    waiting = NULL;
    w->asked = NULL;
    h->open = code == 0;
    if (code) sv_fail(&err, code, NULL, NULL);
    w->done(w->arg, code, code ? NULL : h, code ? &err : NULL);
}

/* ---- two providers ---- */

#define JSON_HEAD "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
#define SSE_HEAD  "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
#define WORD      "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n"
#define STOP      "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
#define DONE      "data: [DONE]\n\n"
#define USAGE     "\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}"
#define COUNTED   "data: {\"choices\":[]," USAGE "}\n\n"
#define PLAIN_OF(text)                                                                             \
    JSON_HEAD "{\"choices\":[{\"message\":{\"content\":\"" text                                    \
              "\"},\"finish_reason\":\"stop\"}]," USAGE "}"
#define BUSY                                                                                       \
    "HTTP/1.1 503 Busy\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"             \
    "{\"error\":{\"message\":\"sorry\"}}"
#define HANG ((const char *)1)

static tiny_server hosts[2];
static const char *answers[2][2];
static char called[64];
static sv_str others[] = {{"b/m", 3}};
static const char body[] = "{\"model\":\"a/m\",\"max_tokens\":100,\"messages\":[{\"role\":\"user\","
                           "\"content\":\"x\"}]}";
static const char *asked_body;

static void answer(tiny_conn *c, sv_str request)
{
    (void)request;
    int i = (int)(c->server - hosts);
    const char *text = answers[i][0];
    if (answers[i][1]) answers[i][0] = answers[i][1];
    snprintf(called + strlen(called), sizeof called - strlen(called), "%c", 'a' + i);
    if (text == HANG) return;
    tiny_puts(c, text);
    tiny_close(c);
}

static int setup(void **state)
{
    (void)state;
    relay_start("  model_info:\n"
                "    - {model: a/m, can: [prefill], input: 1000000, output: 1000000}\n"
                "    - {model: b/m, can: [prefill], input: 2000000, output: 2000000}\n",
                NULL);
    for (int i = 0; i < 2; i++) {
        tiny_start(&hosts[i], l, answer);
        relay_add(i ? "b" : "a", LLM_OPENAI, hosts[i].port, 1);
        answers[i][0] = PLAIN_OF("yes");
        answers[i][1] = NULL;
    }
    r.attempts = 6;
    n_takes = cancelled = further_answer = 0;
    waiting = NULL;
    called[0] = 0;
    asked_body = body;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++)
        tiny_stop(&hosts[i]);
    relay_stop();
    for (int i = 0; i < n_takes; i++)
        assert_false(takes[i].open);
    return 0;
}

static sv_call *begin(router_complete_req q, int n_others)
{
    sv_call *c = fake_call(&process, "edge", asked_body, q.stream);
    router_complete_req *kept = arena_alloc(&c->arena, sizeof q);
    q.model = (sv_str){"a/m", 3};
    q.models = (sv_strs){others, (uint32_t)n_others};
    *kept = q;
    c->ttl_ms = 20000;
    int rc = router_complete(c, kept);
    if (rc < 0) sv_refuse(c, rc, NULL);
    return c;
}

static void ends(sv_call *c, const char *order)
{
    UNTIL(c->answers);
    assert_string_equal(called, order);
    fake_call_free(c);
}

/* ---- one after the other ---- */

/* The dearest that may answer is what is taken, once, and what did answer is what is settled. */
static void test_tries(void **state)
{
    (void)state;
    answers[0][0] = BUSY;
    ends(begin((router_complete_req){0}, 1), "aab");
    assert_int_equal(n_takes, 1);
    assert_false(takes[0].ask.further);
    assert_in_range(takes[0].ask.micro, 200, 300); /* of b */
    assert_int_equal(takes[0].micro, 14);
    assert_int_equal(takes[0].tokens, 7);
}

/* An answer with nothing in it is a failure while somebody else is left, then it is the answer. */
static void test_empty(void **state)
{
    (void)state;
    answers[0][0] = answers[1][0] = PLAIN_OF("");
    ends(begin((router_complete_req){0}, 1), "ab");
    assert_int_equal(takes[0].micro, 14); /* b's alone */
    called[0] = 0;
    answers[0][0] = SSE_HEAD STOP COUNTED DONE;
    ends(begin((router_complete_req){.stream = true}, 0), "a");
    assert_int_equal(takes[1].micro, 7);
    assert_int_equal(takes[1].tokens, 7);
}

/* ---- a hedge ---- */

static sv_call *begin_late(int n_others)
{
    r.hedge_percent = 50;
    for (int i = 0; i < 40; i++) {
        sv_call *c = begin((router_complete_req){0}, n_others);
        UNTIL(c->answers);
        fake_call_free(c);
    }
    for (int i = 0; i < n_takes; i++)
        assert_false(takes[i].open || takes[i].ask.further);
    n_takes = 0;
    called[0] = 0;
    answers[0][0] = HANG;
    return begin((router_complete_req){0}, n_others);
}

static void test_hedge(void **state)
{
    (void)state;
    ends(begin_late(1), "ab");
    assert_int_equal(n_takes, 2);
    assert_true(takes[1].ask.further);
    assert_int_equal(takes[1].ask.micro, takes[0].ask.micro);
    assert_int_equal(takes[0].micro, 0);
    assert_int_equal(takes[1].micro, 14);
}

/* A second call for which there is no room, or not at once, is not made. */
static void test_hedge_without_room(void **state)
{
    for (int pending = 0; pending < 2; pending++) {
        further_answer = pending ? SV_PENDING : SV_E_BUDGET;
        r.first_byte_ms = 300;
        ends(begin_late(0), "a");
        assert_int_equal(n_takes, 2);
        assert_int_equal(cancelled, pending);
        teardown(state);
        setup(state);
    }
}

/* ---- a continuation ---- */

static const router_complete_req continued = {.stream = true, .continued = true};

static sv_call *begin_broken(int answer_to_further)
{
    answers[0][0] = SSE_HEAD WORD;
    answers[1][0] = SSE_HEAD WORD STOP COUNTED DONE;
    further_answer = answer_to_further;
    return begin(continued, 1);
}

static void error_is(sv_call *c, const char *code)
{
    router_complete_end e;
    UNTIL(c->answers);
    assert_int_equal(message_decode(&router_complete_end_msg, buf_str(&c->end), MESSAGE_STRICT,
                                    &c->arena, &e, NULL),
                     0);
    if (!sv_str_is(e.error, code)) fail_msg("%.*s", SV_FMT(e.error));
    bool whole = memmem(c->stream.p, c->stream.n, DONE, strlen(DONE)) != NULL;
    assert_int_equal(whole, *code == 0);
}

static void test_continued(void **state)
{
    (void)state;
    sv_call *c = begin_broken(SV_PENDING);
    UNTIL(waiting);
    assert_string_equal(called, "a"); /* nobody is called before there is room */
    assert_true(takes[1].ask.further);
    assert_true(takes[1].ask.micro > 200);
    judge(0);
    error_is(c, "");
    ends(c, "ab");
    assert_true(takes[0].micro > 0 && takes[0].micro < 20); /* what a had made */
    assert_int_equal(takes[1].micro, 14);
    assert_int_equal(takes[1].tokens, 7);
}

/* The first failure is what is told. */
static void test_continued_without_room(void **state)
{
    sv_call *c = begin_broken(SV_E_BUDGET);
    error_is(c, "provider.cut");
    ends(c, "a");
    teardown(state);
    setup(state);
    c = begin_broken(SV_PENDING);
    UNTIL(waiting);
    judge(SV_E_BUDGET);
    error_is(c, "provider.cut");
    ends(c, "a");
    teardown(state);
    setup(state);
    c = begin_broken(0); /* there is none for the second try of it */
    answers[1][0] = BUSY;
    UNTIL(n_takes == 2);
    further_answer = SV_E_BUDGET;
    error_is(c, "provider.cut");
    ends(c, "ab");
}

static void test_client_leaves(void **state)
{
    (void)state;
    sv_call *c = begin_broken(SV_PENDING);
    UNTIL(waiting);
    fake_cancel(c);
    assert_int_equal(c->code, SV_E_CANCELLED);
    assert_int_equal(cancelled, 1);
    fake_call_free(c);
    assert_true(takes[0].micro > 0);
}

/* ---- what is no prompt ---- */

static void test_sound(void **state)
{
    (void)state;
    static char form[20000];
    int n = snprintf(form, sizeof form,
                     "--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\na/m\r\n--x\r\n"
                     "Content-Disposition: form-data; name=\"file\"; filename=\"s\"\r\n\r\n");
    memset(form + n, 's', 16000);
    strcpy(form + n + 16000, "\r\n--x--\r\n");
    asked_body = form;
    ends(begin((router_complete_req){.endpoint = sv_cstr("transcriptions"),
                                     .content_type = sv_cstr("multipart/form-data; boundary=x")},
               0),
         "a");
    assert_in_range(takes[0].ask.tokens, 0, 100);
}

#define WITH_HOSTS(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    log_init("test", 0, LOG_ERROR, -1);
    const struct CMUnitTest tests[] = {
        WITH_HOSTS(test_tries),         WITH_HOSTS(test_empty),
        WITH_HOSTS(test_hedge),         WITH_HOSTS(test_hedge_without_room),
        WITH_HOSTS(test_continued),     WITH_HOSTS(test_continued_without_room),
        WITH_HOSTS(test_client_leaves), WITH_HOSTS(test_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
