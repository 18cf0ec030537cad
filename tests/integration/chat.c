/*  chat.c - workspace.chat over a real bus, in front of a router that this program plays: what reaches a
 *  model, whose sessions are whose, clients that leave with and without a session, a slow one, the
 *  workspace killed and stopped in the middle. There is no cache here, as after its loss, but in the last
 *  test, where this program plays it, too. BIN names the executables. */
#include "bus_kit.h"
#include "error.h"
#include "samovar.h"
#include "sv_limits.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { LEAVE_MS = 50, LONG_WORDS = 20000 };

/* ---- the router ---- */

typedef struct fake_state {
    atomic_int calls, go, left;
    atomic_ullong left_us, sent;
    atomic_int kept, own, keyed, keep_s; /* of the cache: calls, and what the last one said */
    char asked[256];                     /* model task complexity budget session allowed[0] */
    char body[4096];
} fake_state;

static fake_state *fake;

static int wait_for_go(sv_call *call)
{
    while (!atomic_load(&fake->go)) {
        int rc = sv_sleep(call, 2);
        if (rc == 0) continue;
        atomic_store(&fake->left_us, clock_us());
        atomic_fetch_add(&fake->left, 1);
        return rc;
    }
    return 0;
}

static int say(sv_call *call, const char *word)
{
    char event[128];
    int n = snprintf(event, sizeof event,
                     "data: {\"choices\":[{\"delta\":{\"content\":\"%s\"}}]}\n\n", word);
    atomic_fetch_add(&fake->sent, 1);
    return sv_partial(call, NULL, NULL, (sv_str){event, (uint32_t)n});
}

static int stream(sv_call *call, const char *model, const router_complete_head *head)
{
    buf body;
    router_complete_end end = {.provider = head->provider,
                               .model = head->model,
                               .prompt_tokens = 5,
                               .completion_tokens = 2,
                               .usage_known = true,
                               .attempts = 1,
                               .priced = true,
                               .price = 1500000,
                               .whole = true};
    int rc = sv_partial(call, &router_complete_head_msg, head, sv_cstr(": hi\n\n"));
    if (rc == 0) rc = say(call, "one");
    if (rc == 0) rc = wait_for_go(call);
    for (int i = 0; rc == 0 && strcmp(model, "long") == 0 && i < LONG_WORDS; i++)
        rc = say(call, "a word or two");
    if (rc == 0) rc = say(call, " two");
    if (rc) return rc;
    sv_str tail = sv_cstr("data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
                          "data: [DONE]\n\n");
    rc = sv_partial(call, NULL, NULL, tail);
    buf_init(&body, LIMIT_PART_BYTES);
    if (rc == 0) rc = message_encode(&router_complete_end_msg, &end, &body);
    if (rc == 0) rc = sv_reply_raw(call, NULL, buf_str(&body));
    buf_free(&body);
    return rc;
}

static int complete(sv_call *call, const void *request)
{
    const router_complete_req *q = request;
    char model[64];
    const sv_str *first = q->allowed.items;
    snprintf(model, sizeof model, "%.*s", SV_FMT(q->model));
    snprintf(fake->asked, sizeof fake->asked, "%s %.*s %.*s %lld %d %.*s", model, SV_FMT(q->task),
             SV_FMT(q->complexity), (long long)q->budget, q->session.n > 0,
             q->allowed.n ? (int)first->n : 0, q->allowed.n ? first->p : "");
    snprintf(fake->body, sizeof fake->body, "%.*s", SV_FMT(sv_call_attachment(call)));
    router_complete_head head = {.http_status = 200,
                                 .content_type = sv_cstr("application/json"),
                                 .provider = sv_cstr("fake"),
                                 .model = sv_cstr("up"),
                                 .attempts = 1,
                                 .task = sv_cstr("chat"),
                                 .priced = true,
                                 .price = 1500000,
                                 .prompt_tokens = 5,
                                 .completion_tokens = 2,
                                 .whole = true};
    atomic_fetch_add(&fake->calls, 1);
    if (q->stream) return stream(call, model, &head);
    int rc = wait_for_go(call);
    if (rc) return rc;
    if (strcmp(model, "timeout") == 0) return SV_E_PROVIDER_TIMEOUT;
    if (strcmp(model, "garbage") == 0) return sv_reply_with(call, &head, sv_cstr("<html>"));
    return sv_reply_with(call, &head,
                         sv_cstr("{\"choices\":[{\"message\":{\"content\":\"one two\"},"
                                 "\"finish_reason\":\"stop\"}]}"));
}

static const sv_method methods[] = {{.name = "complete",
                                     .request = &router_complete_req_msg,
                                     .reply = &router_complete_head_msg,
                                     .handler = complete,
                                     .max_request = 4 << 20,
                                     .doc = "Answers when it is let go."}};

static const sv_actor fake_router = {.name = "router",
                                     .version = "1",
                                     .doc = "stands in the router's place",
                                     .methods = methods,
                                     .n_methods = 1};

/* ---- the cache ---- */

static int kept(sv_call *call, const void *request)
{
    const cache_complete_req *q = request;
    router_complete_head head = {.http_status = 200,
                                 .content_type = sv_cstr("application/json"),
                                 .provider = sv_cstr("fake"),
                                 .model = sv_cstr("up"),
                                 .cache = sv_cstr("hit"),
                                 .whole = true};
    atomic_fetch_add(&fake->kept, 1);
    atomic_store(&fake->own, q->own);
    atomic_store(&fake->keyed, sv_call_key(call).n > 0);
    atomic_store(&fake->keep_s, (int)q->keep_s);
    return sv_reply_with(call, &head,
                         sv_cstr("{\"choices\":[{\"message\":{\"content\":\"kept\"},"
                                 "\"finish_reason\":\"stop\"}]}"));
}

static const sv_method cache_methods[] = {{.name = "complete",
                                           .request = &cache_complete_req_msg,
                                           .reply = &router_complete_head_msg,
                                           .handler = kept,
                                           .max_request = 4 << 20,
                                           .doc = "Has it."}};

static const sv_actor fake_cache = {.name = "cache",
                                    .version = "1",
                                    .doc = "stands in the cache's place",
                                    .methods = cache_methods,
                                    .n_methods = 1};

/* ---- a client ---- */

static pid_t workspace_pid;
static buf anna, bob, eve;

typedef struct client {
    sv_stream *stream;
    bool done, hold;
    int code;
    uint32_t items;
    buf bytes;
    sv_error error;
} client;

static void on_item(void *arg, sv_stream *s, const sv_item *item)
{
    client *k = arg;
    bool first = k->items++ == 0;
    sv_str b = first ? item->attachment : item->body;
    buf_put(&k->bytes, b.p ? b.p : "", b.n);
    if (!k->hold) sv_consumed(s, 1, item->body.n + item->attachment.n);
}

static void on_done(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    client *k = arg;
    (void)s;
    k->stream = NULL;
    k->done = true;
    k->code = code;
    if (err) k->error = *err;
    if (code == 0 && k->items == 0 && item->attachment.n)
        buf_put(&k->bytes, item->attachment.p, item->attachment.n);
}

static void talk(client *k, const buf *who, workspace_chat_req q, const char *text, bool streamed)
{
    static const sv_events events = {on_item, on_done};
    sv_error err = {.code = 0};
    bool hold = k->hold;
    *k = (client){.hold = hold};
    buf_init(&k->bytes, 16 << 20);
    sv_request r = {.target = "workspace.chat",
                    .type = &workspace_chat_req_msg,
                    .body = &q,
                    .attachment = sv_cstr(text),
                    .stream = streamed,
                    .ttl_ms = KIT_PATIENCE_MS,
                    .max_reply = 4 << 20,
                    .ticket = who ? buf_str(who) : (sv_str){NULL, 0}};
    k->stream = sv_open(kit_me, &r, &events, k, &err);
    assert_non_null(k->stream);
}

static bool is_done(void *arg)
{
    return ((client *)arg)->done;
}

static int wait_for(client *k)
{
    assert_int_equal(sv_tool_wait(kit_me, is_done, k, KIT_PATIENCE_MS), 0);
    buf_putc(&k->bytes, 0);
    return k->code;
}

static void forget(client *k)
{
    if (k->stream) sv_cancel(k->stream);
    k->stream = NULL;
    buf_free(&k->bytes);
}

static bool never(void *arg)
{
    (void)arg;
    return false;
}

static void pump(void)
{
    sv_tool_wait(kit_me, never, NULL, 5);
}

#define UNTIL(condition)                                                                           \
    do {                                                                                           \
        uint64_t end_us = clock_us() + KIT_PATIENCE_MS * 1000ull;                                  \
        while (!(condition)) {                                                                     \
            assert_true(clock_us() < end_us);                                                      \
            pump();                                                                                \
        }                                                                                          \
    } while (0)

static int ask(client *k, const buf *who, workspace_chat_req q, const char *text)
{
    talk(k, who, q, text, false);
    return wait_for(k);
}

static char *session_of(const buf *who, const char *title)
{
    static char id[37];
    kit_call k;
    workspace_chat_session_reply reply;
    workspace_chat_session_new_req q = {.title = sv_cstr(title)};
    kit_begin(&k, &(sv_request){.target = "workspace.chat_session_new",
                                .type = &workspace_chat_session_new_req_msg,
                                .body = &q,
                                .ticket = buf_str(who)});
    assert_int_equal(kit_finish(&k, &workspace_chat_session_reply_msg, &reply), 0);
    snprintf(id, sizeof id, "%.*s", SV_FMT(reply.session->id));
    kit_end(&k);
    return id;
}

/* The page of a session as it is answered, or why not. */
static int look(const buf *who, const char *id, client *k)
{
    static const sv_events events = {on_item, on_done};
    workspace_chat_messages_req q = {.id = sv_cstr(id), .limit = 50};
    sv_request r = {.target = "workspace.chat_session",
                    .type = &workspace_chat_messages_req_msg,
                    .body = &q,
                    .ttl_ms = KIT_PATIENCE_MS,
                    .ticket = buf_str(who)};
    *k = (client){.items = 0};
    buf_init(&k->bytes, 4 << 20);
    k->stream = sv_open(kit_me, &r, &events, k, NULL);
    assert_non_null(k->stream);
    return wait_for(k);
}

static bool shows(const buf *who, const char *id, const char *words)
{
    client k;
    int rc = look(who, id, &k);
    bool any = rc == 0 && strstr(k.bytes.p, words);
    forget(&k);
    return any;
}

static int with_id(const buf *who, const char *target, const sv_message *m, const char *id)
{
    workspace_chat_session_req q = {.id = sv_cstr(id)};
    workspace_chat_session_change_req c = {.id = sv_cstr(id), .title = sv_cstr("mine")};
    bool change = m == &workspace_chat_session_change_req_msg;
    sv_request r = {.target = target,
                    .type = m,
                    .body = change ? (const void *)&c : &q,
                    .ticket = buf_str(who)};
    return kit_code(&r);
}

/* ---- set-up ---- */

static void make_ticket(buf *to, const char *user, const char *org)
{
    ticket t = {.user = sv_cstr(user),
                .org = sv_cstr(org),
                .tier = sv_cstr("free"),
                .roles = {sv_cstr("member")},
                .n_roles = 1,
                .expires_s = (uint64_t)time(NULL) + 900};
    buf_init(to, 1024);
    assert_int_equal(ticket_sign(&kit_signer, &t, to), 0);
}

static void until_there(const char *target)
{
    sv_request r = {.target = target, .type = &bus_empty_msg, .body = &(bus_empty){}};
    UNTIL(kit_code(&r) == 0);
}

static void start_workspace(void)
{
    workspace_pid = kit_start(NULL, "workspace", 1);
    until_there("workspace.ping");
}

static int setup(void **state)
{
    (void)state;
    fake = mmap(NULL, sizeof *fake, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(fake != MAP_FAILED);
    kit_open("chat");
    kit_start_broker();
    kit_start(&fake_router, "router", 1);
    kit_join();
    start_workspace();
    until_there("router.ping");
    make_ticket(&anna, "anna", "org-a");
    make_ticket(&bob, "bob", "org-a");
    make_ticket(&eve, "anna", "org-e");
    return 0;
}

static int teardown(void **state)
{
    buf_free(&anna);
    buf_free(&bob);
    buf_free(&eve);
    return kit_close(state);
}

static int open_gate(void **state)
{
    (void)state;
    atomic_store(&fake->go, 1);
    atomic_store(&fake->left, 0);
    return 0;
}

static void shut(void)
{
    atomic_store(&fake->go, 0);
    atomic_store(&fake->calls, 0);
}

/* ---- tests ---- */

static void what_reaches_a_model(void **state)
{
    (void)state;
    client k = {.hold = false};
    sv_str allowed = sv_cstr("only-this");
    workspace_chat_req q = {.task_type = sv_cstr("code"),
                            .complexity = sv_cstr("high"),
                            .budget = 50000,
                            .temperature = -1,
                            .allowed = {&allowed, 1}};
    assert_int_equal(ask(&k, &anna, q, "hi"), 0);
    assert_string_equal(fake->asked, "auto code high 50000 0 only-this");
    assert_string_equal(
        fake->body, "{\"model\":\"auto\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}");
    assert_non_null(strstr(k.bytes.p, "{\"response\":\"one two\",\"thinking\":null,"));
    assert_non_null(strstr(k.bytes.p, "\"cost\":\"1.500000\""));
    forget(&k);
    q = (workspace_chat_req){.model = sv_cstr("timeout"), .temperature = -1};
    assert_int_equal(ask(&k, NULL, q, "hi"), SV_E_PROVIDER_TIMEOUT);
    forget(&k);
    q.model = sv_cstr("garbage");
    assert_int_equal(ask(&k, NULL, q, "hi"), SV_E_PROVIDER_GARBAGE);
    forget(&k);
    q.session_id = sv_cstr("new");
    assert_int_equal(ask(&k, NULL, q, "hi"), SV_E_NO_CREDENTIALS);
    forget(&k);
}

static void sessions_are_their_users_alone(void **state)
{
    (void)state;
    client k = {.hold = false};
    char id[37];
    memcpy(id, session_of(&anna, ""), sizeof id);
    workspace_chat_req q = {.session_id = sv_cstr(id), .temperature = -1};
    assert_int_equal(ask(&k, &anna, q, "first"), 0);
    assert_non_null(strstr(k.bytes.p, id));
    forget(&k);
    assert_string_equal(fake->asked, "auto   0 1 ");
    assert_int_equal(ask(&k, &anna, q, "second"), 0);
    forget(&k);
    assert_non_null(strstr(fake->body,
                           "\"first\"},{\"role\":\"assistant\",\"content\":\"one two\"},"
                           "{\"role\":\"user\",\"content\":\"second\"}]"));
    const buf *others[] = {&bob, &eve};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(ask(&k, others[i], q, "x"), SV_E_NOT_FOUND);
        forget(&k);
        assert_int_equal(look(others[i], id, &k), SV_E_NOT_FOUND);
        forget(&k);
        assert_int_equal(with_id(others[i], "workspace.chat_session_change",
                                 &workspace_chat_session_change_req_msg, id),
                         SV_E_NOT_FOUND);
        assert_int_equal(with_id(others[i], "workspace.chat_session_delete",
                                 &workspace_chat_session_req_msg, id),
                         SV_E_NOT_FOUND);
    }
    assert_true(shows(&anna, id, "\"title\":\"first\""));
    assert_int_equal(
        with_id(&anna, "workspace.chat_session_delete", &workspace_chat_session_req_msg, id), 0);
    assert_int_equal(look(&anna, id, &k), SV_E_NOT_FOUND);
    forget(&k);
}

static void who_leaves_without_a_session(void **state)
{
    (void)state;
    workspace_chat_req q = {.temperature = -1};
    for (int streamed = 0; streamed < 2; streamed++) {
        client k = {.hold = false};
        shut();
        atomic_store(&fake->left, 0);
        talk(&k, &anna, q, "hi", streamed);
        UNTIL(atomic_load(&fake->calls) == 1 && (!streamed || k.items > 1));
        uint64_t left_us = clock_us();
        forget(&k);
        UNTIL(atomic_load(&fake->left) == 1);
        assert_true(atomic_load(&fake->left_us) - left_us < LEAVE_MS * 1000);
    }
}

static void who_leaves_with_one(void **state)
{
    (void)state;
    for (int streamed = 0; streamed < 2; streamed++) {
        client k = {.hold = false};
        char id[37];
        memcpy(id, session_of(&anna, "t"), sizeof id);
        workspace_chat_req q = {.session_id = sv_cstr(id), .temperature = -1};
        shut();
        talk(&k, &anna, q, "hi", streamed);
        UNTIL(atomic_load(&fake->calls) == 1 && (!streamed || k.items > 1));
        forget(&k);
        assert_true(shows(&anna, id, "\"state\":\"writing\""));
        atomic_store(&fake->go, 1);
        UNTIL(!shows(&anna, id, "\"state\":\"writing\""));
        assert_true(shows(&anna, id, "\"state\":\"complete\",\"text\":\"one two\""));
        assert_int_equal(atomic_load(&fake->left), 0);
    }
}

/* It holds back the provider, until it leaves; then the answer is finished without it. */
static void a_slow_client(void **state)
{
    (void)state;
    client k = {.hold = true};
    char id[37];
    memcpy(id, session_of(&anna, "t"), sizeof id);
    workspace_chat_req q = {.session_id = sv_cstr(id), .model = sv_cstr("long"), .temperature = -1};
    atomic_store(&fake->sent, 0);
    talk(&k, &anna, q, "hi", true);
    unsigned long long before, after = 0;
    do {
        before = after;
        for (int i = 0; i < 20; i++)
            pump();
        after = atomic_load(&fake->sent);
    } while (after != before || after == 0);
    assert_true(after < LONG_WORDS / 2);
    forget(&k);
    UNTIL(!shows(&anna, id, "\"state\":\"writing\""));
    assert_int_equal(atomic_load(&fake->sent), LONG_WORDS + 2);
    assert_true(shows(&anna, id, "\"state\":\"complete\",\"text\":\"one"));
}

static void killed_in_the_middle(void **state)
{
    (void)state;
    client k = {.hold = false};
    char id[37];
    memcpy(id, session_of(&anna, "t"), sizeof id);
    workspace_chat_req q = {.session_id = sv_cstr(id), .temperature = -1};
    shut();
    talk(&k, &anna, q, "said before the end", true);
    UNTIL(k.items > 1);
    kit_kill(workspace_pid);
    assert_int_not_equal(wait_for(&k), 0);
    forget(&k);
    atomic_store(&fake->go, 1);
    start_workspace();
    assert_true(shows(&anna, id, "\"text\":\"said before the end\""));
    assert_true(shows(&anna, id, "\"role\":\"assistant\",\"state\":\"cut\",\"text\":\"\""));
    assert_int_equal(ask(&k, &anna, q, "on"), 0);
    forget(&k);
    assert_non_null(strstr(fake->body, "{\"role\":\"user\",\"content\":\"said before the end\"},"
                                       "{\"role\":\"user\",\"content\":\"on\"}]"));
}

/* What was begun for somebody who has left is written before the process ends. */
static void stopped_in_the_middle(void **state)
{
    (void)state;
    client k = {.hold = false};
    char id[37];
    memcpy(id, session_of(&anna, "t"), sizeof id);
    workspace_chat_req q = {.session_id = sv_cstr(id), .temperature = -1};
    shut();
    talk(&k, &anna, q, "hi", true);
    UNTIL(k.items > 1);
    forget(&k);
    assert_true(shows(&anna, id, "\"state\":\"writing\""));
    assert_int_equal(kill(workspace_pid, SIGTERM), 0);
    for (int i = 0; i < 20; i++)
        pump();
    atomic_store(&fake->go, 1);
    kit_ended(workspace_pid);
    start_workspace();
    assert_true(shows(&anna, id, "\"state\":\"complete\",\"text\":\"one two\""));
}

/* Kept by task and for the user alone; when it is lost the router is asked. */
static void through_the_cache(void **state)
{
    (void)state;
    client k = {.hold = false};
    workspace_chat_req q = {.task_type = sv_cstr("translate"), .temperature = -1};
    pid_t cache = kit_start(&fake_cache, "cache", 1);
    until_there("cache.ping");
    atomic_store(&fake->calls, 0);
    assert_int_equal(ask(&k, &anna, q, "hi"), 0);
    assert_non_null(strstr(k.bytes.p, "{\"response\":\"kept\","));
    assert_non_null(strstr(k.bytes.p, "\"cached\":\"hit\""));
    forget(&k);
    assert_int_equal(atomic_load(&fake->kept), 1);
    assert_int_equal(atomic_load(&fake->calls), 0);
    assert_true(atomic_load(&fake->own));
    assert_true(atomic_load(&fake->keyed));
    assert_int_equal(atomic_load(&fake->keep_s), 0);
    kit_kill(cache);
    assert_int_equal(ask(&k, &anna, q, "hi"), 0);
    assert_non_null(strstr(k.bytes.p, "{\"response\":\"one two\","));
    forget(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(what_reaches_a_model, open_gate),
        cmocka_unit_test_setup(sessions_are_their_users_alone, open_gate),
        cmocka_unit_test_setup(who_leaves_without_a_session, open_gate),
        cmocka_unit_test_setup(who_leaves_with_one, open_gate),
        cmocka_unit_test_setup(a_slow_client, open_gate),
        cmocka_unit_test_setup(killed_in_the_middle, open_gate),
        cmocka_unit_test_setup(stopped_in_the_middle, open_gate),
        cmocka_unit_test_setup(through_the_cache, open_gate),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
