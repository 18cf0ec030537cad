/*  answer_cache.c - the response cache through a real broker, in front of a router that this program
 *  plays: it counts what it is asked, waits until it is let go, streams, fails and is killed. BIN names
 *  the executables. */
#include "answer_cache_router.h"
#include "bus_kit.h"
#include "error.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

enum { MANY = 100, WANT_MS = 50 };

static pid_t cache_pid, router_pid;

/* ---- a client ---- */

typedef struct client {
    sv_stream *stream;
    bool done, hold;
    int code;
    uint32_t items;
    uint64_t done_us;
    buf head, bytes, end;
    sv_error error;
} client;

static void on_item(void *arg, sv_stream *s, const sv_item *item)
{
    client *k = arg;
    if (k->items++ == 0) {
        buf_put(&k->head, item->body.p, item->body.n);
        buf_put(&k->bytes, item->attachment.n ? item->attachment.p : "", item->attachment.n);
    } else {
        buf_put(&k->bytes, item->body.p, item->body.n);
    }
    if (!k->hold) sv_consumed(s, 1, item->body.n + item->attachment.n);
}

static void on_done(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    client *k = arg;
    (void)s;
    k->stream = NULL;
    k->done = true;
    k->done_us = clock_us();
    k->code = code;
    if (err) k->error = *err;
    if (code == 0 && k->items) buf_put(&k->end, item->body.p, item->body.n);
    if (code == 0 && k->items == 0) {
        buf_put(&k->head, item->body.p, item->body.n);
        buf_put(&k->bytes, item->attachment.n ? item->attachment.p : "", item->attachment.n);
    }
}

typedef struct question {
    const char *model, *text, *org, *user;
    bool stream, own, anew, semantic;
    const char *system, *tools;
    int keep_s, instance; /* 0: any */
} question;

static void ask(client *k, const question *q)
{
    static const sv_events events = {on_item, on_done};
    char body[512], target[32] = "cache.complete";
    buf pass;
    ticket t = {.user = sv_cstr(q->user ? q->user : "anna"),
                .org = sv_cstr(q->org),
                .tier = sv_cstr("free"),
                .expires_s = (uint64_t)time(NULL) + 900,
                .credential = sv_cstr("session/1")};
    router_complete_req inner = {.model = sv_cstr(q->model), .stream = q->stream};
    cache_complete_req req = {.request = &inner,
                              .keep_s = q->keep_s ? q->keep_s : 600,
                              .own = q->own,
                              .anew = q->anew,
                              .semantic = q->semantic};
    snprintf(body, sizeof body,
             "{\"model\":\"%s\",\"messages\":[{\"role\":\"system\",\"content\":\"%s\"},"
             "{\"role\":\"user\",\"content\":\"%s\"}]%s}",
             q->model, q->system ? q->system : "", q->text, q->tools ? q->tools : "");
    *k = (client){.items = 0};
    buf_init(&k->head, 1 << 20);
    buf_init(&k->bytes, 16 << 20);
    buf_init(&k->end, 1 << 20);
    buf_init(&pass, 1024);
    assert_int_equal(ticket_sign(&kit_signer, &t, &pass), 0);
    if (q->instance) snprintf(target, sizeof target, "cache/%d.complete", q->instance);
    sv_request r = {.target = target,
                    .type = &cache_complete_req_msg,
                    .body = &req,
                    .attachment = sv_cstr(body),
                    .stream = q->stream,
                    .ttl_ms = KIT_PATIENCE_MS,
                    .max_reply = 4 << 20,
                    .ticket = buf_str(&pass)};
    sv_error err = {0};
    k->stream = sv_open(kit_me, &r, &events, k, &err);
    assert_non_null(k->stream);
    buf_free(&pass);
}

static bool is_done(void *arg)
{
    return ((client *)arg)->done;
}

static void wait_for(client *k)
{
    assert_int_equal(sv_tool_wait(kit_me, is_done, k, KIT_PATIENCE_MS), 0);
}

static void forget(client *k)
{
    if (k->stream) sv_cancel(k->stream);
    buf_free(&k->head);
    buf_free(&k->bytes);
    buf_free(&k->end);
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

/* How it came: head.cache. */
static void came(const client *k, const char *how)
{
    arena a;
    router_complete_head head;
    arena_init(&a, 1 << 20);
    assert_int_equal(k->code, 0);
    assert_int_equal(message_decode(&router_complete_head_msg, buf_str(&k->head), MESSAGE_STRICT,
                                    &a, &head, NULL),
                     0);
    if (!sv_str_is(head.cache, how)) fail_msg("%.*s, not %s", SV_FMT(head.cache), how);
    if (strcmp(how, "miss") != 0) {
        assert_int_equal(head.price, 0);
        assert_int_equal(head.attempts, 0);
    }
    arena_free(&a);
}

static void says(const client *k, const char *text)
{
    assert_int_equal(k->bytes.n, strlen(text));
    assert_memory_equal(k->bytes.p, text, strlen(text));
}

/* One question and its answer: how it came, and that it is the one. */
static void once(const question *q, const char *how)
{
    client k;
    char want[256];
    ask(&k, q);
    wait_for(&k);
    came(&k, how);
    fake_answer(q->model, q->stream, want, sizeof want);
    says(&k, want);
    forget(&k);
}

static int calls(void)
{
    return atomic_load(&fake->calls);
}

static void stats(cache_stats_reply *ret, kit_call *k)
{
    cache_look_req q = {.limit = 20};
    sv_request r = {.target = "cache.stats", .type = &cache_look_req_msg, .body = &q};
    kit_begin(k, &r);
    assert_int_equal(kit_finish(k, &cache_stats_reply_msg, ret), 0);
}

static int64_t kept(void)
{
    kit_call k;
    cache_stats_reply s;
    stats(&s, &k);
    int64_t n = s.answers;
    kit_end(&k);
    return n;
}

static int64_t cleared(const char *model, const char *org, bool all, int want)
{
    kit_call k;
    cache_invalidate_req q = {.model = sv_cstr(model), .org = sv_cstr(org), .all = all};
    cache_invalidate_reply reply = {.cleared = -1};
    sv_request r = {.target = "cache.invalidate", .type = &cache_invalidate_req_msg, .body = &q};
    kit_begin(&k, &r);
    assert_int_equal(kit_finish(&k, &cache_invalidate_reply_msg, &reply), want);
    kit_end(&k);
    return reply.cleared;
}

static void start_router(void)
{
    router_pid = kit_start(&fake_router, "router", 1);
}

static void until_there(const char *ping)
{
    sv_request r = {.target = ping, .type = &bus_empty_msg, .body = "", .ttl_ms = 500};
    UNTIL(kit_code(&r) == 0);
}

static void start_cache(void)
{
    cache_pid = kit_start(NULL, "cache", 1);
    until_there("cache.ping");
}

static int setup(void **state)
{
    (void)state;
    fake = mmap(NULL, sizeof *fake, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(fake != MAP_FAILED);
    kit_open("answers");
    setenv("SAMOVAR_CACHE_SEMANTIC", "true", 1);
    setenv("SAMOVAR_CACHE_SEMANTIC_MODEL", "meanings", 1);
    kit_start_broker();
    start_router();
    kit_join();
    start_cache();
    until_there("router.ping");
    return 0;
}

static int begin(void **state)
{
    (void)state;
    cleared("", "", true, 0);
    atomic_store(&fake->go, 1);
    atomic_store(&fake->calls, 0);
    atomic_store(&fake->left, 0);
    atomic_store(&fake->meanings, 0);
    atomic_store(&fake->understands, 1);
    return 0;
}

/* ---- what happens ---- */

static void a_second_time_costs_nothing(void **state)
{
    (void)state;
    question q = {.model = "m", .text = "a", .org = "o1"};
    once(&q, "miss");
    once(&q, "hit");
    q.user = "bob"; /* of the same organization */
    once(&q, "hit");
    assert_int_equal(calls(), 1);
    q.own = true;
    once(&q, "miss");
    once(&q, "hit");
    q.org = "o2";
    q.own = false;
    once(&q, "miss");
    q.text = "b";
    once(&q, "miss");
    q.stream = true;
    once(&q, "miss");
    once(&q, "hit");
    assert_int_equal(calls(), 5);
    q.anew = true;
    once(&q, "miss");
    assert_int_equal(calls(), 6);
    assert_int_equal(kept(), 5);
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Figures are benchmarks' business; that hits wait for nothing is seen here, too. */
static void hits_wait_for_nothing(void **state)
{
    (void)state;
    uint64_t took[MANY];
    question q = {.model = "m", .text = "quick", .org = "o1"};
    once(&q, "miss");
    atomic_store(&fake->go, 0); /* a call would hang */
    for (int i = 0; i < MANY; i++) {
        uint64_t began = clock_us();
        once(&q, "hit");
        took[i] = clock_us() - began;
    }
    qsort(took, MANY, sizeof *took, by_size);
    print_message("a hit over the bus: median %llu us\n", (unsigned long long)took[MANY / 2]);
    assert_true(took[MANY / 2] < 100000);
}

static void who_sees_what(void **state)
{
    (void)state;
    question q = {.model = "m", .text = "a", .org = "o1"}, other = q;
    other.org = "o2";
    once(&q, "miss");
    once(&other, "miss");
    assert_int_equal(cleared("", "", false, SV_E_MISSING_FIELD), -1);
    assert_int_equal(cleared("x", "", false, 0), 0);
    assert_int_equal(cleared("m", "o2", false, 0), 1);
    once(&q, "hit");
    once(&other, "miss");
    assert_int_equal(cleared("up-m", "", false, 0), 2); /* by the provider's name */
    once(&q, "miss");
}

static void what_is_never_kept(void **state)
{
    (void)state;
    static const char *const models[] = {"tools", "cut", "refusal"};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        for (int stream = 0; stream < 2; stream++) {
            question q = {.model = models[i], .text = "a", .org = "o1", .stream = stream};
            once(&q, "miss");
            once(&q, "miss");
        }
    assert_int_equal(calls(), 12);
    question q = {.model = "large", .text = "a", .org = "o1"};
    client k;
    for (int i = 0; i < 2; i++) {
        ask(&k, &q);
        wait_for(&k);
        came(&k, "miss");
        forget(&k);
    }
    assert_int_equal(calls(), 14);
    assert_int_equal(kept(), 0);
}

static void many_at_once(bool stream)
{
    static client all[MANY];
    question q = {.model = "m", .text = "many", .org = "o1", .stream = stream};
    char want[256];
    atomic_store(&fake->go, 0);
    for (int i = 0; i < MANY; i++)
        ask(&all[i], &q);
    UNTIL(calls() == 1);
    if (stream) UNTIL(all[MANY - 1].items > 0 && all[0].items > 0);
    fake_answer("m", stream, want, sizeof want);
    if (stream) { /* in the middle of it */
        client late;
        ask(&late, &q);
        UNTIL(late.items > 0);
        atomic_store(&fake->go, 1);
        wait_for(&late);
        says(&late, want);
        came(&late, "shared");
        forget(&late);
    }
    atomic_store(&fake->go, 1);
    int led = 0;
    for (int i = 0; i < MANY; i++) {
        wait_for(&all[i]);
        says(&all[i], want);
        arena a;
        router_complete_head head;
        arena_init(&a, 1 << 20);
        message_decode(&router_complete_head_msg, buf_str(&all[i].head), MESSAGE_STRICT, &a, &head,
                       NULL);
        led += sv_str_is(head.cache, "miss");
        arena_free(&a);
        forget(&all[i]);
    }
    assert_int_equal(led, 1);
    assert_int_equal(calls(), 1);
    once(&q, "hit");
}

static void a_hundred_at_once_are_one_call(void **state)
{
    (void)state;
    many_at_once(false);
    begin(NULL);
    many_at_once(true);
}

static void the_leader_leaves(void **state)
{
    (void)state;
    question q = {.model = "m", .text = "leave", .org = "o1", .stream = true};
    client lead, follow;
    char want[256];
    atomic_store(&fake->go, 0);
    ask(&lead, &q);
    UNTIL(lead.items > 0);
    ask(&follow, &q);
    UNTIL(follow.items > 0);
    forget(&lead);
    pump();
    assert_int_equal(atomic_load(&fake->left), 0);
    atomic_store(&fake->go, 1);
    wait_for(&follow);
    fake_answer("m", true, want, sizeof want);
    says(&follow, want);
    forget(&follow);
    assert_int_equal(calls(), 1);
    once(&q, "hit");

    q.text = "leave both";
    atomic_store(&fake->go, 0);
    ask(&lead, &q);
    ask(&follow, &q);
    UNTIL(lead.items > 0 && follow.items > 0);
    uint64_t began = clock_us();
    forget(&lead);
    forget(&follow);
    UNTIL(atomic_load(&fake->left) == 1);
    uint64_t took = atomic_load(&fake->left_us) - began;
    print_message("the call was cancelled after %llu us\n", (unsigned long long)took);
    assert_true(took < WANT_MS * 1000);
}

static void a_slow_follower(void **state)
{
    (void)state;
    question q = {.model = "long", .text = "slow", .org = "o1", .stream = true};
    client quick, slow;
    atomic_store(&fake->go, 0);
    ask(&quick, &q);
    UNTIL(quick.items > 0);
    ask(&slow, &q);
    slow.hold = true;
    atomic_store(&fake->go, 1);
    wait_for(&quick);
    assert_false(slow.done);
    assert_int_equal(quick.code, 0);
    assert_int_equal(quick.bytes.n, FAKE_LONG + 3);
    slow.hold = false;
    sv_consumed(slow.stream, slow.items, slow.bytes.n + slow.head.n);
    wait_for(&slow);
    assert_int_equal(slow.code, 0);
    assert_int_equal(slow.bytes.n, quick.bytes.n);
    assert_memory_equal(slow.bytes.p, quick.bytes.p, quick.bytes.n);
    assert_int_equal(calls(), 1);
    forget(&quick);
    forget(&slow);
}

static void an_error_is_everybodys(void **state)
{
    (void)state;
    question q = {.model = "error", .text = "e", .org = "o1"};
    client k[5];
    atomic_store(&fake->go, 0);
    for (int i = 0; i < 5; i++)
        ask(&k[i], &q);
    UNTIL(calls() == 1);
    pump();
    atomic_store(&fake->go, 1);
    for (int i = 0; i < 5; i++) {
        wait_for(&k[i]);
        assert_int_equal(k[i].code, SV_E_PROVIDER_TIMEOUT);
        forget(&k[i]);
    }
    assert_int_equal(calls(), 1);
    begin(NULL);
    q.model = "denied"; /* the leader's own: each is asked for himself */
    atomic_store(&fake->go, 0);
    for (int i = 0; i < 5; i++)
        ask(&k[i], &q);
    UNTIL(calls() == 1);
    pump();
    atomic_store(&fake->go, 1);
    for (int i = 0; i < 5; i++) {
        wait_for(&k[i]);
        assert_int_equal(k[i].code, SV_E_MODEL_NOT_ALLOWED);
        forget(&k[i]);
    }
    assert_int_equal(calls(), 5);
}

/* Neither kept nor shared: others fly on together. */
static void a_users_own_provider_answers(void **state)
{
    (void)state;
    for (int stream = 0; stream < 2; stream++) {
        question hers = {
            .model = "own", .text = "mine", .org = "o1", .user = "eve", .stream = stream};
        question his = hers;
        his.user = "ben";
        begin(NULL);
        once(&hers, "miss");
        once(&hers, "miss");
        once(&his, "miss");
        once(&his, "hit");
        assert_int_equal(calls(), 3);
    }
    for (int left = 0; left < 2; left++) { /* the one who led */
        question hers = {.model = "own", .text = "under way", .org = "o1", .user = "eve"};
        question his = hers;
        client a, b, c, d;
        begin(NULL);
        his.user = "ben";
        atomic_store(&fake->go, 0);
        ask(&a, &hers);
        UNTIL(calls() == 1);
        if (!left) ask(&b, &hers);
        ask(&c, &his);
        ask(&d, &his);
        kept(); /* told behind them: they are there */
        if (left) {
            forget(&a);
            kept();
        }
        atomic_store(&fake->go, 1);
        wait_for(&c);
        wait_for(&d);
        came(&c, "miss");
        came(&d, "shared");
        assert_int_equal(calls(), 2);
        forget(&c);
        forget(&d);
        if (left) continue;
        wait_for(&a);
        wait_for(&b);
        came(&a, "miss");
        came(&b, "shared");
        forget(&a);
        forget(&b);
    }
}

static void a_users_own_provider_fails(void **state)
{
    (void)state;
    question hers = {.model = "own-broken", .text = "mine", .org = "o1", .user = "eve"};
    client a, b, c;
    atomic_store(&fake->go, 0);
    ask(&a, &hers);
    UNTIL(calls() == 1);
    hers.user = "ben";
    ask(&b, &hers);
    hers.user = "anna";
    ask(&c, &hers);
    kept();
    atomic_store(&fake->go, 1);
    wait_for(&a);
    wait_for(&b);
    wait_for(&c);
    assert_int_equal(a.code, SV_E_PROVIDER_UNREACHABLE);
    came(&b, "miss");
    came(&c, "shared");
    assert_int_equal(calls(), 2);
    forget(&a);
    forget(&b);
    forget(&c);
}

static void the_router_dies(void **state)
{
    (void)state;
    question q = {.model = "m", .text = "die", .org = "o1"};
    client k[4];
    atomic_store(&fake->go, 0);
    for (int i = 0; i < 4; i++)
        ask(&k[i], &q);
    UNTIL(calls() == 1);
    pump();
    pid_t second = kit_start(&fake_router, "router", 2);
    until_there("router/2.ping");
    kit_kill(router_pid);
    UNTIL(calls() == 2); /* again, in another's name */
    atomic_store(&fake->go, 1);
    for (int i = 0; i < 4; i++) {
        wait_for(&k[i]);
        assert_int_equal(k[i].code, 0);
        forget(&k[i]);
    }
    q.stream = true; /* something has come: no second try, and a clear end for all */
    atomic_store(&fake->go, 0);
    ask(&k[0], &q);
    UNTIL(k[0].items > 0);
    ask(&k[1], &q);
    UNTIL(k[1].items > 0);
    kit_kill(second);
    for (int i = 0; i < 2; i++) {
        wait_for(&k[i]);
        assert_int_equal(k[i].code, SV_E_PEER_LOST);
        forget(&k[i]);
    }
    start_router();
    until_there("router.ping");
    assert_int_equal(calls(), 3);
    atomic_store(&fake->go, 1);
    once(&q, "miss");
}

static void the_cache_is_killed(void **state)
{
    (void)state;
    question q = {.model = "m", .text = "k", .org = "o1"};
    char text[16][16];
    for (int i = 0; i < 16; i++) {
        snprintf(text[i], sizeof text[i], "k%d", i);
        q.text = text[i];
        q.stream = i % 2;
        once(&q, "miss");
    }
    /* They are on the disk when something that was told to it later is. */
    question last = {.model = "last", .text = "l", .org = "o1"};
    once(&last, "miss");
    assert_int_equal(cleared("last", "", false, 0), 1);
    question large = {.model = "half", .text = "x", .org = "o1"};
    client k;
    ask(&k, &large);
    wait_for(&k);
    forget(&k);
    kit_kill(cache_pid); /* perhaps in the middle of its write */
    setenv("SAMOVAR_CACHE_WARM", "4", 1);
    start_cache();
    int before = calls();
    for (int i = 0; i < 16; i++) {
        q.text = text[i];
        q.stream = i % 2;
        once(&q, "hit");
    }
    assert_int_equal(calls(), before);
    ask(&k, &large); /* all of it or nothing */
    wait_for(&k);
    assert_int_equal(k.code, 0);
    assert_int_equal(k.bytes.n, FAKE_HALF);
    forget(&k);
}

static int meanings(void)
{
    return atomic_load(&fake->meanings);
}

static void near(const question *q)
{
    client k;
    arena a;
    router_complete_head head;
    ask(&k, q);
    wait_for(&k);
    came(&k, "semantic");
    arena_init(&a, 1 << 20);
    assert_int_equal(message_decode(&router_complete_head_msg, buf_str(&k.head), MESSAGE_STRICT, &a,
                                    &head, NULL),
                     0);
    assert_true(head.similarity >= 0.95 && head.similarity <= 1);
    arena_free(&a);
    forget(&k);
}

static void the_same_meaning(void **state)
{
    (void)state;
    question q = {.model = "m", .text = "how do i brew tea", .org = "o1", .semantic = true};
    once(&q, "miss");
    once(&q, "hit");
    assert_int_equal(meanings(), 1); /* the words were enough */
    question like = q;
    like.text = "how do i brew the tea";
    near(&like);
    near(&like);
    assert_int_equal(calls(), 1);
    assert_int_equal(meanings(), 3);
    question other = like;
    other.text = "zzz qqq";
    once(&other, "miss");
    other = like;
    other.semantic = false;
    once(&other, "miss");
    once(&like, "hit");
    like.text = "how do we brew tea"; /* from here on asked by others or otherwise */
    other = like;
    other.org = "o2";
    once(&other, "miss");
    other = like;
    other.own = true;
    once(&other, "miss");
    other = like;
    other.system = "be short";
    once(&other, "miss");
    other = like;
    other.stream = true;
    once(&other, "miss");
    other.text = "how do we brew the tea";
    near(&other);
    other = like;
    other.anew = true;
    other.text = "how do we brew some tea";
    once(&other, "miss");
    int asked = meanings();
    other = like;
    other.tools = ",\"tools\":[{\"type\":\"function\"}]";
    once(&other, "miss");
    other.text = "how do we brew the tea";
    once(&other, "miss");
    assert_int_equal(meanings(), asked);
    near(&like);
    cache_stats_reply s;
    kit_call k;
    stats(&s, &k);
    assert_true(s.semantic >= 4 && s.vector_bytes > 0);
    kit_end(&k);
    assert_true(cleared("m", "", false, 0) > 0);
    once(&like, "miss");
}

/* With embeddings of her own making nobody finds others' answers, or gives them his. */
static void what_it_means_to_eve(void **state)
{
    (void)state;
    question q = {.model = "m", .text = "how do i brew tea", .org = "o1", .semantic = true};
    question hers = {.model = "m", .text = "zzz qqq", .org = "o1", .user = "eve", .semantic = true};
    once(&hers, "miss");
    once(&q, "miss");
    hers.text = "xxx jjj";
    once(&hers, "miss");
    q.text = "how do i brew the tea";
    near(&q);
    assert_int_equal(calls(), 3);
}

/* Kept like others, but for its words only; and one that is cleared while its meaning is asked. */
static void some_are_for_their_words_only(void **state)
{
    (void)state;
    question q = {.model = "translate", .text = "good morning", .org = "o1", .semantic = true};
    once(&q, "miss");
    once(&q, "hit");
    q.text = "good mornings";
    once(&q, "miss");
    assert_int_equal(calls(), 2);
    client k;
    q = (question){.model = "m", .text = "cleared", .org = "o1", .semantic = true};
    int asked = meanings();
    atomic_store(&fake->understands, 0);
    ask(&k, &q);
    UNTIL(meanings() == asked + 1);
    cleared("m", "", false, 0);
    atomic_store(&fake->go, 0);
    atomic_store(&fake->understands, 1);
    UNTIL(calls() == 3);
    question words = q;
    words.semantic = false;
    client other;
    ask(&other, &words);
    UNTIL(calls() == 4); /* who comes after the clearing has no part in it */
    cleared("m", "", false, 0);
    atomic_store(&fake->go, 1);
    wait_for(&k);
    came(&k, "miss");
    forget(&k);
    wait_for(&other);
    came(&other, "miss");
    forget(&other);
    once(&q, "miss"); /* nothing of it was kept */
    once(&q, "hit");
}

static void a_hundred_of_the_same_meaning(void **state)
{
    (void)state;
    static client all[MANY];
    question q = {.model = "m", .text = "open the window", .org = "o1", .semantic = true};
    once(&q, "miss");
    q.text = "open the windows";
    atomic_store(&fake->understands, 0);
    for (int i = 0; i < MANY; i++)
        ask(&all[i], &q);
    UNTIL(meanings() == 2);
    forget(&all[0]); /* in whose name it is asked */
    pump();
    atomic_store(&fake->understands, 1);
    for (int i = 1; i < MANY; i++) {
        wait_for(&all[i]);
        came(&all[i], "semantic");
        forget(&all[i]);
    }
    assert_int_equal(calls(), 1);
    assert_int_equal(meanings(), 2);
}

/* Those who take the same words only do not wait for meanings, and the others come to them. */
static void the_words_are_asked_for_meanwhile(void **state)
{
    (void)state;
    question q = {.model = "m", .text = "meanwhile", .org = "o1", .semantic = true}, words = q;
    client a, b, c;
    words.semantic = false;
    atomic_store(&fake->go, 0);
    atomic_store(&fake->understands, 0);
    ask(&a, &q);
    UNTIL(meanings() == 1);
    ask(&b, &q);
    ask(&c, &words);
    UNTIL(calls() == 1);
    atomic_store(&fake->understands, 1);
    atomic_store(&fake->go, 1);
    wait_for(&a);
    wait_for(&b);
    wait_for(&c);
    came(&c, "miss");
    assert_int_equal(a.code, 0);
    assert_int_equal(b.code, 0);
    assert_int_equal(calls(), 1);
    forget(&a);
    forget(&b);
    forget(&c);
}

static void nobody_says_what_it_means(void **state)
{
    (void)state;
    question q = {.model = "m", .text = "fails", .org = "o1", .semantic = true};
    atomic_store(&fake->understands, 2);
    once(&q, "miss");
    once(&q, "hit");
    atomic_store(&fake->understands, 0);
    q.text = "hangs";
    uint64_t began = clock_us();
    once(&q, "miss");
    uint64_t took = clock_us() - began;
    print_message("without an answer about its meaning: %llu ms\n",
                  (unsigned long long)took / 1000);
    assert_true(took >= 1500000 && took < 5000000);
    client lead, follow;
    q.text = "leaves";
    ask(&lead, &q);
    UNTIL(meanings() == 3);
    ask(&follow, &q);
    pump();
    forget(&lead);
    pump();
    atomic_store(&fake->understands, 2);
    wait_for(&follow);
    came(&follow, "miss");
    forget(&follow);
    assert_int_equal(calls(), 3);
}

static void meanings_outlive_the_process(void **state)
{
    (void)state;
    question q = {.model = "m", .text = "a question of the night", .org = "o1", .semantic = true};
    question last = {.model = "last", .text = "l", .org = "o1"};
    once(&q, "miss");
    once(&last, "miss");
    assert_int_equal(cleared("last", "", false, 0), 1);
    kit_kill(cache_pid);
    start_cache();
    q.text = "a question of that night";
    near(&q);
    kit_kill(cache_pid);
    setenv("SAMOVAR_CACHE_SEMANTIC", "false", 1);
    start_cache();
    once(&q, "miss"); /* where it is off the words count */
    kit_kill(cache_pid);
    setenv("SAMOVAR_CACHE_SEMANTIC", "true", 1);
    start_cache();
}

/* What somebody of the organization o1 with this role is answered. */
static int admin_code(const char *target, const sv_message *type, const void *body,
                      const char *role)
{
    buf pass;
    ticket t = {.user = sv_cstr("anna"),
                .org = sv_cstr("o1"),
                .tier = sv_cstr("free"),
                .roles = {sv_cstr(role)},
                .n_roles = 1,
                .expires_s = (uint64_t)time(NULL) + 900,
                .credential = sv_cstr("session/1")};
    buf_init(&pass, 1024);
    assert_int_equal(ticket_sign(&kit_signer, &t, &pass), 0);
    sv_request r = {.target = target, .type = type, .body = body, .ticket = buf_str(&pass)};
    int rc = kit_code(&r);
    buf_free(&pass);
    return rc;
}

static void two_instances(void **state)
{
    (void)state;
    pid_t second = kit_start(NULL, "cache", 2);
    until_there("cache/2.ping");
    question q = {.model = "m", .text = "two", .org = "o1", .instance = 1}, other = q;
    other.instance = 2;
    once(&q, "miss");
    once(&other, "miss"); /* each has its own */
    once(&other, "hit");
    other.org = "o2";
    once(&other, "miss");
    kit_call k;
    cache_stats_reply s;
    stats(&s, &k);
    assert_int_equal(s.instances, 2);
    assert_int_equal(s.answers, 3);
    assert_true(s.hits >= 1 && s.models.n >= 2);
    kit_end(&k);
    cache_look_req look = {.limit = 1};
    cache_entries_reply entries;
    sv_request r = {.target = "cache/1.entries", .type = &cache_look_req_msg, .body = &look};
    kit_begin(&k, &r);
    assert_int_equal(kit_finish(&k, &cache_entries_reply_msg, &entries), 0);
    assert_int_equal(entries.entries.n, 1);
    assert_int_equal(((cache_entry *)entries.entries.items)->hits, 1); /* the other's */
    assert_true(sv_str_is(((cache_entry *)entries.entries.items)->asked, "m"));
    kit_end(&k);

    const sv_message *ask_type = &cache_look_req_msg, *clear_type = &cache_invalidate_req_msg;
    cache_invalidate_req clear = {.all = true};
    assert_int_equal(admin_code("cache.stats", ask_type, &look, "member"), SV_E_ROLE);
    assert_int_equal(admin_code("cache.stats", ask_type, &look, "admin"), 0);
    look.org = sv_cstr("o2");
    assert_int_equal(admin_code("cache.entries", ask_type, &look, "owner"), SV_E_ROLE);
    assert_int_equal(admin_code("cache.entries", ask_type, &look, "platform_admin"), 0);
    assert_int_equal(admin_code("cache.invalidate", clear_type, &clear, "member"), SV_E_ROLE);
    assert_int_equal(kept(), 3);
    assert_int_equal(admin_code("cache/1.invalidate", clear_type, &clear, "owner"), 0);
    assert_int_equal(kept(), 1); /* the other organization's, there */
    assert_int_equal(cleared("", "", true, 0), 1);
    kit_kill(second);
}

/* What `samovar cache` prints; its exit code. */
static int command(const char *words, char *out, size_t size)
{
    char line[4200];
    snprintf(line, sizeof line, "%s/samovar cache %s 2>&1", getenv("BIN"), words);
    FILE *f = popen(line, "r");
    assert_non_null(f);
    size_t n = fread(out, 1, size - 1, f);
    out[n] = 0;
    int status = pclose(f);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void the_command(void **state)
{
    (void)state;
    static char out[8192];
    question q = {.model = "m", .text = "c", .org = "o1"};
    once(&q, "miss");
    once(&q, "hit");
    assert_int_equal(command("ls", out, sizeof out), 0);
    assert_non_null(strstr(out, "  chat        "));
    assert_int_equal(command("stats -o json", out, sizeof out), 0);
    assert_non_null(strstr(out, "\"answers\":1,"));
    assert_int_equal(command("stats", out, sizeof out), 0);
    assert_non_null(strstr(out, "m of o1"));
    assert_int_equal(command("clear", out, sizeof out), 2);
    assert_int_equal(command("clear --model other", out, sizeof out), 0);
    once(&q, "hit");
    assert_int_equal(command("clear --model m", out, sizeof out), 0);
    assert_string_equal(out, "1 answers are gone\n");
    once(&q, "miss");
}

static void the_disk_is_full(void **state)
{
    (void)state;
    kit_kill(cache_pid);
    setenv("SAMOVAR_STORE_MAP_BYTES", "12MiB", 1);
    start_cache();
    question q = {.model = "half", .org = "o1"};
    char text[16];
    for (int i = 0; i < 40; i++) {
        client k;
        snprintf(text, sizeof text, "f%d", i);
        q.text = text;
        ask(&k, &q);
        wait_for(&k);
        assert_int_equal(k.code, 0);
        assert_int_equal(k.bytes.n, FAKE_HALF);
        forget(&k);
    }
    kit_call k;
    cache_stats_reply s;
    UNTIL((stats(&s, &k), kit_end(&k), s.not_kept > 0));
    question small = {.model = "m", .text = "full", .org = "o1"};
    client one;
    ask(&one, &small);
    wait_for(&one);
    assert_int_equal(one.code, 0);
    forget(&one);
    unsetenv("SAMOVAR_STORE_MAP_BYTES");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_second_time_costs_nothing, begin),
        cmocka_unit_test_setup(hits_wait_for_nothing, begin),
        cmocka_unit_test_setup(who_sees_what, begin),
        cmocka_unit_test_setup(what_is_never_kept, begin),
        cmocka_unit_test_setup(a_hundred_at_once_are_one_call, begin),
        cmocka_unit_test_setup(the_leader_leaves, begin),
        cmocka_unit_test_setup(a_slow_follower, begin),
        cmocka_unit_test_setup(an_error_is_everybodys, begin),
        cmocka_unit_test_setup(a_users_own_provider_answers, begin),
        cmocka_unit_test_setup(a_users_own_provider_fails, begin),
        cmocka_unit_test_setup(the_router_dies, begin),
        cmocka_unit_test_setup(the_same_meaning, begin),
        cmocka_unit_test_setup(what_it_means_to_eve, begin),
        cmocka_unit_test_setup(some_are_for_their_words_only, begin),
        cmocka_unit_test_setup(a_hundred_of_the_same_meaning, begin),
        cmocka_unit_test_setup(the_words_are_asked_for_meanwhile, begin),
        cmocka_unit_test_setup(nobody_says_what_it_means, begin),
        cmocka_unit_test_setup(meanings_outlive_the_process, begin),
        cmocka_unit_test_setup(two_instances, begin),
        cmocka_unit_test_setup(the_command, begin),
        cmocka_unit_test_setup(the_cache_is_killed, begin),
        cmocka_unit_test_setup(the_disk_is_full, begin),
    };
    return cmocka_run_group_tests(tests, setup, kit_close);
}
