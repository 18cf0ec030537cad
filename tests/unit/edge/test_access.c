/*  Who a request is from: tokens, keys, open access, what ends them. The bus and the clock are this
 *  file's; everything else is the edge's own code. */
#include "access.h"
#include "error.h"
#include "uuid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

/* ---- the bus and the clock ---- */

static uint64_t clock_now_us = 1000000000, clock_unix_us = 1700000000ull * 1000000;
static bool bus_connected = true;

typedef struct asked {
    char target[64];
    uint8_t hash[32];
    sv_events events;
    void *arg;
    uint32_t n_keys; /* of auth.key_used */
    bool open;
} asked;
static asked asks[600];
static uint32_t n_asks;
static bool bus_refuses;

static sv_event_fn *on_news; /* of auth.revoked */
static void *news_arg;

static loop *fake_loop(sv_process *p)
{
    return (loop *)(void *)p;
}
static uint64_t fake_now_us(const loop *l)
{
    (void)l;
    return clock_now_us;
}
static uint64_t fake_unix_us(const loop *l)
{
    (void)l;
    return clock_unix_us;
}
static bool fake_connected(sv_process *p)
{
    (void)p;
    return bus_connected;
}
static int fake_subscribe(sv_process *p, const char *pattern, sv_event_fn *fn, void *arg)
{
    (void)p, (void)pattern;
    on_news = fn;
    news_arg = arg;
    return bus_refuses ? SV_E_OVERLOADED : 0;
}
static void fake_unsubscribe(sv_process *p, const char *pattern, sv_event_fn *fn, void *arg)
{
    (void)p, (void)pattern, (void)fn, (void)arg;
}
static sv_stream *fake_open(sv_process *p, const sv_request *r, const sv_events *ev, void *arg,
                            sv_error *err)
{
    (void)p;
    if (bus_refuses) {
        sv_fail(err, SV_E_UNAVAILABLE, NULL, NULL);
        return NULL;
    }
    asked *a = &asks[n_asks++];
    *a = (asked){.events = *ev, .arg = arg, .open = true};
    snprintf(a->target, sizeof a->target, "%s", r->target);
    if (strcmp(r->target, "auth.key_check") == 0)
        memcpy(a->hash, ((const auth_key_check_req *)r->body)->hash.p, 32);
    if (strcmp(r->target, "auth.key_used") == 0)
        a->n_keys = ((const auth_key_used_req *)r->body)->keys.n;
    return (sv_stream *)(void *)a;
}

#define sv_loop        fake_loop
#define loop_now_us    fake_now_us
#define loop_unix_us   fake_unix_us
#define sv_connected   fake_connected
#define sv_subscribe   fake_subscribe
#define sv_unsubscribe fake_unsubscribe
#define sv_open        fake_open
#include "../../../edge/revoked.c"
#define find     access_find_hash
#define keep     access_keep
#define SWEEP_US ACCESS_SWEEP_US
#include "../../../edge/access.c"
#undef find
#undef keep

/* ---- a world ---- */

typedef struct world {
    access *a;
    operator_identity who;
    jws_signer signer;
    buf jwks, token;
    int64_t end; /* of the revocations */
} world;

static const uint8_t seed[32] = {7};

static void take_news(world *w, auth_revocation *items, uint32_t n, bool admin)
{
    w->end += n;
    auth_revocations news = {.items = {items, n},
                             .sequence = w->end,
                             .has_admin = admin,
                             .issuer = sv_cstr("samovar"),
                             .jwks = buf_str(&w->jwks)};
    w->a->revoked->missing = !revoked_take(w->a->revoked, &news, true);
    copy_changed(w->a);
}

static void revoke(world *w, const char *subject, int64_t before_ms, bool stale)
{
    auth_revocation item = {
        .sequence = w->end + 1, .subject = sv_cstr(subject), .before = before_ms, .stale = stale};
    take_news(w, &item, 1, true);
}

static void open_world(world *w, bool may_open, bool snapshot, bool admin)
{
    *w = (world){.end = 0};
    n_asks = 0;
    bus_refuses = false;
    ticket_signer_init(&w->who.signer, seed);
    w->who.signs = true;
    buf_init(&w->who.ticket, LIMIT_TICKET_BYTES);
    buf_init(&w->jwks, 4096);
    buf_init(&w->token, JWT_BYTES);
    jws_signer_init(&w->signer, seed);
    assert_int_equal(jwks_print(&w->signer.jwk, 1, &w->jwks), 0);
    w->a = access_new((sv_process *)(void *)w, &w->who, may_open);
    assert_non_null(w->a);
    if (snapshot) take_news(w, NULL, 0, admin);
}

static void close_world(world *w)
{
    access_free(w->a);
    buf_free(&w->jwks);
    buf_free(&w->token);
    jws_signer_clear(&w->signer);
    operator_clear(&w->who);
}

static uint64_t unix_s(void)
{
    return clock_unix_us / 1000000;
}

/* A token of now, with another jti each time. */
static sv_str token_of(world *w, const char *role, bool platform, const char *session)
{
    char id[UUID_TEXT + 1];
    sv_id jti = uuid_v7(clock_unix_us / 1000);
    uuid_format(&jti, id);
    jwt_claims c = {.kind = JWT_ACCESS,
                    .sub = sv_cstr("user-1"),
                    .jti = sv_cstr(id),
                    .org = sv_cstr("org-1"),
                    .tier = sv_cstr("free"),
                    .sid = sv_cstr(session),
                    .iat_s = unix_s(),
                    .exp_s = unix_s() + 900};
    if (role) c.roles[c.n_roles++] = sv_cstr(role);
    if (platform) c.roles[c.n_roles++] = sv_cstr("platform_admin");
    buf_reset(&w->token, JWT_BYTES);
    assert_int_equal(jwt_sign(&w->signer, sv_cstr("samovar"), &c, &w->token, NULL), 0);
    return buf_str(&w->token);
}

static int find_now(world *w, sv_str credential, identity **who)
{
    sv_error err = {.code = 0};
    return access_find(w->a, credential, who, &err);
}

/* Finds and gives back: what it was found to be. */
static int try(world *w, sv_str credential)
{
    identity *who;
    int rc = find_now(w, credential, &who);
    identity_drop(who);
    return rc;
}

/* ---- tokens ---- */

static void a_token_is_verified_once(void **state)
{
    (void)state;
    world w;
    identity *first, *second;
    open_world(&w, false, true, true);
    sv_str token = token_of(&w, "admin", false, "session-1");
    assert_int_equal(find_now(&w, token, &first), 0);
    assert_string_equal(first->user, "user-1");
    assert_string_equal(first->org, "org-1");
    assert_string_equal(first->tier, "free");
    assert_string_equal(first->session, "session-1");
    assert_int_equal(first->role, WHO_ADMIN);
    assert_false(first->platform);
    assert_int_equal(find_now(&w, token, &second), 0);
    assert_ptr_equal(first, second);
    ticket t;
    assert_int_equal(ticket_read(access_ticket(w.a, first), &t, NULL), 0);
    assert_true(sv_str_is(t.user, "user-1") && sv_str_is(t.org, "org-1"));
    assert_true(sv_str_is(t.credential, "session/session-1"));
    assert_true(t.n_roles == 1 && sv_str_is(t.roles[0], "admin"));
    assert_true(t.expires_s == unix_s() + 900);
    assert_int_equal(n_asks, 0);
    identity_drop(first);
    identity_drop(second);
    close_world(&w);
}

static void other_tokens_are_refused(void **state)
{
    (void)state;
    world w;
    char text[JWT_BYTES + 64];
    open_world(&w, false, true, true);
    sv_str token = token_of(&w, "admin", false, "session-1");
    memcpy(text, token.p, token.n);
    text[token.n] = '=';
    assert_int_equal(try(&w, (sv_str){text, token.n + 1}), SV_E_TOKEN);
    text[token.n - 3] ^= 1;
    assert_int_equal(try(&w, (sv_str){text, token.n}), SV_E_TOKEN);
    assert_int_equal(try(&w, sv_cstr("a.b.c")), SV_E_TOKEN);
    assert_int_equal(try(&w, sv_cstr("nothing of ours")), SV_E_TOKEN);
    assert_int_equal(try(&w, sv_cstr("")), SV_E_TOKEN);
    memset(text, 'a', sizeof text);
    text[5] = text[9] = '.';
    assert_int_equal(try(&w, (sv_str){text, sizeof text}), SV_E_TOKEN);
    assert_int_equal(try(&w, token_of(&w, "admin", false, "")), SV_E_TOKEN); /* of no session */
    assert_int_equal(try(&w, token_of(&w, "admin", false,
                                      "a session id that is much longer than any session id is")),
                     SV_E_TOKEN);
    close_world(&w);
}

static void a_token_ends_with_its_time(void **state)
{
    (void)state;
    world w;
    open_world(&w, false, true, true);
    sv_str token = token_of(&w, "viewer", false, "s");
    assert_int_equal(try(&w, token), 0);
    clock_unix_us += 901ull * 1000000;
    assert_int_equal(try(&w, token), SV_E_TOKEN_EXPIRED);
    clock_unix_us += 3600ull * 1000000;
    assert_int_equal(try(&w, token), SV_E_TOKEN_EXPIRED); /* nothing is kept of it */
    close_world(&w);
}

static void a_token_ends_with_what_it_stands_for(void **state)
{
    (void)state;
    static const struct {
        const char *subject;
        bool stale;
        int code;
    } ends[] = {{"session/s", false, SV_E_TOKEN_REVOKED},
                {"user/user-1", false, SV_E_TOKEN_REVOKED},
                {"member/org-1/user-1", true, SV_E_TOKEN_EXPIRED},
                {"member/org-1/user-1", false, SV_E_TOKEN_REVOKED},
                {"session/other", false, 0},
                {"user/user-2", false, 0},
                {"member/org-2/user-1", false, 0},
                {"key/s", false, 0}};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        world w;
        identity *who;
        open_world(&w, false, true, true);
        sv_str token = token_of(&w, "member", false, "s");
        int64_t now_ms = (int64_t)(clock_unix_us / 1000);
        assert_int_equal(find_now(&w, token, &who), 0);
        revoke(&w, ends[i].subject, now_ms, ends[i].stale);
        assert_int_equal(access_holds(w.a, who, NULL), ends[i].code);
        assert_int_equal(try(&w, token), ends[i].code);
        identity_drop(who);
        clock_unix_us += 1000;
        /* A later one is good; but a session does not come back, however late its token was signed. */
        int later = i == 0 ? SV_E_TOKEN_REVOKED : 0;
        assert_int_equal(try(&w, token_of(&w, "member", false, "s")), later);
        close_world(&w);
    }
}

static void nobody_is_known_without_a_snapshot(void **state)
{
    (void)state;
    world w;
    open_world(&w, true, false, false);
    sv_error err = {.code = 0};
    identity *who;
    assert_false(access_ready(w.a));
    assert_false(access_open(w.a));
    assert_int_equal(access_find(w.a, token_of(&w, "owner", true, "s"), &who, &err),
                     SV_E_UNAVAILABLE);
    assert_int_equal(err.retry_after_ms, 1000);
    assert_int_equal(try(&w, sv_cstr("sv_key")), SV_E_UNAVAILABLE);
    assert_int_equal(try(&w, (sv_str){NULL, 0}), 0); /* nobody in particular */
    close_world(&w);
}

/* ---- open access ---- */

static void open_access_ends_with_the_first_administrator(void **state)
{
    (void)state;
    world w;
    identity *who;
    open_world(&w, true, true, false);
    assert_int_equal(find_now(&w, (sv_str){NULL, 0}, &who), 0);
    assert_true(who->is_operator);
    assert_true(access_ticket(w.a, who).n > 0);
    assert_int_equal(access_holds(w.a, who, NULL), 0);
    assert_int_equal(access_allows(who, &routes[ROUTE_ADMIN_USERS], NULL), 0);
    assert_int_equal(try(&w, sv_cstr("sk-not-ours")), 0);
    assert_int_equal(try(&w, sv_cstr("a.b.c")), SV_E_TOKEN); /* what looks like ours must be */
    take_news(&w, NULL, 0, true);
    assert_int_equal(access_holds(w.a, who, NULL), SV_E_NO_CREDENTIALS);
    identity_drop(who);
    assert_int_equal(find_now(&w, (sv_str){NULL, 0}, &who), 0);
    assert_null(who);
    assert_int_equal(try(&w, sv_cstr("sk-not-ours")), SV_E_TOKEN);
    close_world(&w);
}

static void where_it_may_not_be_open_it_is_not(void **state)
{
    (void)state;
    world w;
    identity *who;
    open_world(&w, false, true, false);
    assert_int_equal(find_now(&w, (sv_str){NULL, 0}, &who), 0);
    assert_null(who);
    assert_int_equal(access_ticket(w.a, who).n, 0);
    assert_int_equal(access_holds(w.a, who, NULL), 0);
    close_world(&w);
}

/* ---- keys ---- */

typedef struct waiter {
    access_wait w;
    int code, told;
    identity *who;
} waiter;

static void on_told_key(access_wait *w, int code, identity *who, const sv_error *err)
{
    waiter *x = (waiter *)(void *)w;
    (void)err;
    x->code = code;
    x->who = who;
    x->told++;
}

static void ask(world *w, waiter *x, const char *key)
{
    sv_error err = {.code = 0};
    *x = (waiter){.w = {.done = on_told_key}};
    assert_int_equal(try(w, sv_cstr(key)), SV_PENDING);
    assert_int_equal(access_ask(w->a, sv_cstr(key), &x->w, &err), 0);
}

static void answer_key(asked *a, const auth_key_check_reply *reply, int code)
{
    buf body;
    sv_error err = {.code = code};
    buf_init(&body, 4096);
    if (reply) assert_int_equal(message_encode(&auth_key_check_reply_msg, reply, &body), 0);
    sv_item item = {.body = buf_str(&body)};
    a->open = false;
    a->events.done(a->arg, NULL, code, &item, &err);
    buf_free(&body);
}

static auth_key good_key(void)
{
    static sv_str scopes[] = {{"chat", 4}, {"files", 5}, {"unheard-of", 10}};
    static sv_str models[] = {{"demo", 4}};
    return (auth_key){.id = sv_cstr("key-1"),
                      .user = sv_cstr("user-1"),
                      .org = sv_cstr("org-1"),
                      .scopes = {scopes, 3},
                      .models = {models, 1},
                      .minute_limit = 5};
}

static void a_key_is_asked_about_once(void **state)
{
    (void)state;
    world w;
    waiter one, two;
    open_world(&w, false, true, true);
    ask(&w, &one, "sv_good");
    ask(&w, &two, "sv_good");
    assert_int_equal(n_asks, 1);
    auth_key key = good_key();
    auth_key_check_reply reply = {
        .key = &key, .role = sv_cstr("owner"), .tier = sv_cstr("free"), .sequence = w.end};
    answer_key(&asks[0], &reply, 0);
    assert_int_equal(one.told + two.told, 2);
    assert_ptr_equal(one.who, two.who);
    assert_true(one.who->by_key);
    assert_int_equal(one.who->minute_limit, 5);
    assert_int_equal(try(&w, sv_cstr("sv_good")), 0); /* from now on without a question */
    ticket t;
    assert_int_equal(ticket_read(access_ticket(w.a, one.who), &t, NULL), 0);
    assert_true(sv_str_is(t.credential, "key/key-1"));
    assert_true(t.n_scopes == 2 && sv_str_is(t.scopes[0], "chat"));
    assert_true(access_model_ok(one.who, sv_cstr("demo")));
    assert_false(access_model_ok(one.who, sv_cstr("dem")));
    assert_true(access_model_ok(NULL, sv_cstr("x")));
    assert_int_equal(access_allows(one.who, &routes[ROUTE_CHAT], NULL), 0);
    assert_int_equal(access_allows(one.who, &routes[ROUTE_ME], NULL), SV_E_SCOPE);
    assert_int_equal(access_allows(one.who, &routes[ROUTE_KEY_NEW], NULL), SV_E_SCOPE);
    clock_unix_us += 301ull * 1000000;
    assert_int_equal(access_holds(w.a, one.who, NULL), 0);     /* what is under way goes on */
    assert_int_equal(try(&w, sv_cstr("sv_good")), SV_PENDING); /* it is asked about again */
    identity_drop(one.who);
    identity_drop(two.who);
    close_world(&w);
}

static void a_key_ends_at_its_own_time(void **state)
{
    (void)state;
    world w;
    waiter one;
    open_world(&w, false, true, true);
    ask(&w, &one, "sv_short");
    auth_key key = good_key();
    key.expires = (int64_t)(unix_s() + 10) * 1000;
    answer_key(&asks[0], &(auth_key_check_reply){.key = &key, .sequence = w.end}, 0);
    assert_int_equal(one.code, 0);
    clock_unix_us += 11ull * 1000000;
    assert_int_equal(access_holds(w.a, one.who, NULL), SV_E_API_KEY);
    identity_drop(one.who);
    close_world(&w);
}

/* A request asks again about a key after five minutes; a stream of hours is not ended by that, but by
 * the end of the key. */
static void a_stream_outlives_the_memory_of_its_key(void **state)
{
    (void)state;
    world w;
    waiter one;
    identity *who;
    open_world(&w, false, true, true);
    ask(&w, &one, "sv_long");
    auth_key key = good_key();
    answer_key(&asks[0], &(auth_key_check_reply){.key = &key, .sequence = w.end}, 0);
    assert_int_equal(one.code, 0);
    assert_int_equal(try(&w, sv_cstr("sv_long")), 0);
    clock_unix_us += 3600ull * 1000000;
    assert_int_equal(access_holds(w.a, one.who, NULL), 0);
    assert_int_equal(find_now(&w, sv_cstr("sv_long"), &who), SV_PENDING);
    char subject[64];
    snprintf(subject, sizeof subject, "key/%.*s", SV_FMT(key.id));
    revoke(&w, subject, (int64_t)(clock_unix_us / 1000), false);
    assert_int_equal(access_holds(w.a, one.who, NULL), SV_E_API_KEY);
    identity_drop(one.who);
    close_world(&w);
}

static void a_key_that_ended_while_it_was_asked_about(void **state)
{
    (void)state;
    world w;
    waiter one;
    open_world(&w, false, true, true);
    ask(&w, &one, "sv_good");
    auth_key key = good_key();
    auth_key_check_reply reply = {.key = &key, .role = sv_cstr("owner"), .sequence = w.end};
    revoke(&w, "key/key-1", 0, false); /* behind what the answer has seen */
    answer_key(&asks[0], &reply, 0);
    assert_int_equal(one.code, SV_E_API_KEY);
    assert_null(one.who);
    ask(&w, &one, "sv_good");
    reply.sequence = w.end;
    answer_key(&asks[1], &reply, 0);
    assert_int_equal(one.code, 0);
    revoke(&w, "user/user-1", 0, false);
    assert_int_equal(access_holds(w.a, one.who, NULL), SV_E_API_KEY);
    identity_drop(one.who);
    close_world(&w);
}

static void answers_that_are_none(void **state)
{
    (void)state;
    world w;
    waiter one;
    open_world(&w, false, true, true);
    ask(&w, &one, "sv_bad");
    answer_key(&asks[0], NULL, SV_E_API_KEY);
    assert_int_equal(one.code, SV_E_API_KEY);
    ask(&w, &one, "sv_bad");
    answer_key(&asks[1], &(auth_key_check_reply){.key = NULL}, 0);
    assert_int_equal(one.code, SV_E_INTERNAL);
    ask(&w, &one, "sv_bad");
    sv_item garbage = {.body = {"\xc1", 1}};
    asks[2].events.done(asks[2].arg, NULL, 0, &garbage, NULL);
    assert_true(one.code < 0);
    assert_null(one.who);
    close_world(&w);
}

static void waiting_can_be_given_up(void **state)
{
    (void)state;
    world w;
    waiter one, two;
    open_world(&w, false, true, true);
    ask(&w, &one, "sv_x");
    ask(&w, &two, "sv_x");
    access_wait_cancel(&one.w);
    access_wait_cancel(&one.w);
    answer_key(&asks[0], NULL, SV_E_API_KEY);
    assert_int_equal(one.told, 0);
    assert_int_equal(two.told, 1);
    ask(&w, &one, "sv_y"); /* the process ends meanwhile */
    close_world(&w);
    assert_int_equal(one.told, 1);
    assert_int_equal(one.code, SV_E_DRAINING);
}

static void questions_are_bounded(void **state)
{
    (void)state;
    static waiter many[ACCESS_ASKING];
    world w;
    waiter one = {.w = {.done = on_told_key}};
    char key[32];
    sv_error err = {.code = 0};
    open_world(&w, false, true, true);
    for (int i = 0; i < ACCESS_ASKING; i++) {
        snprintf(key, sizeof key, "sv_%d", i);
        ask(&w, &many[i], key);
    }
    assert_int_equal(access_ask(w.a, sv_cstr("sv_more"), &one.w, &err), SV_E_OVERLOADED);
    bus_refuses = true;
    err = (sv_error){.code = 0};
    answer_key(&asks[0], NULL, SV_E_API_KEY);
    assert_int_equal(access_ask(w.a, sv_cstr("sv_more"), &one.w, &err), SV_E_UNAVAILABLE);
    close_world(&w);
}

static void use_is_told_once_a_minute(void **state)
{
    (void)state;
    world w;
    waiter one;
    open_world(&w, false, true, true);
    ask(&w, &one, "sv_good");
    auth_key key = good_key();
    answer_key(&asks[0], &(auth_key_check_reply){.key = &key, .sequence = w.end}, 0);
    identity_drop(one.who);
    access_tick(w.a);
    assert_int_equal(n_asks, 1);
    clock_now_us += 60000000;
    bus_connected = false;
    access_tick(w.a);
    assert_int_equal(n_asks, 1);
    bus_connected = true;
    access_tick(w.a);
    assert_int_equal(n_asks, 2);
    assert_string_equal(asks[1].target, "auth.key_used");
    access_tick(w.a);
    assert_int_equal(n_asks, 2);
    asks[1].events.done(asks[1].arg, NULL, 0, NULL, NULL);
    clock_now_us += 61000000;
    access_tick(w.a); /* it was not used since */
    assert_int_equal(n_asks, 2);
    close_world(&w);
}

static void thousands_of_keys_are_known_and_told_of(void **state)
{
    (void)state;
    enum { KEYS = ACCESS_IDENTITIES / 2 };
    world w;
    waiter one;
    char key[24];
    uint32_t known = 0, told = 0;
    auth_key good = good_key();
    open_world(&w, false, true, true);
    for (int i = 0; i < KEYS; i++) {
        n_asks = 0;
        snprintf(key, sizeof key, "sv_%d", i);
        ask(&w, &one, key);
        answer_key(&asks[0], &(auth_key_check_reply){.key = &good, .sequence = w.end}, 0);
        identity_drop(one.who);
    }
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "sv_%d", i);
        known += try(&w, sv_cstr(key)) == 0;
    }
    assert_true(known >= KEYS / 1000 * 985);
    clock_now_us += 60000000;
    for (;;) {
        n_asks = 0;
        access_tick(w.a);
        if (n_asks == 0) break;
        assert_in_range(asks[0].n_keys, 1, 256);
        told += asks[0].n_keys;
        asks[0].events.done(asks[0].arg, NULL, 0, NULL, NULL);
    }
    assert_int_equal(told, known);
    close_world(&w);
}

/* ---- what one may do ---- */

static void roles_are_ordered(void **state)
{
    (void)state;
    static const char *const names[] = {NULL, "viewer", "member", "admin", "owner"};
    static const route_who ranks[] = {WHO_USER, WHO_VIEWER, WHO_MEMBER, WHO_ADMIN, WHO_OWNER};
    world w;
    open_world(&w, false, true, true);
    for (size_t i = 0; i < 5; i++) {
        identity *who;
        assert_int_equal(find_now(&w, token_of(&w, names[i], false, "s"), &who), 0);
        for (size_t k = 0; k < 5; k++) {
            route r = {.who = ranks[k], .scope = SCOPE_READ};
            assert_int_equal(access_allows(who, &r, NULL), k <= i ? 0 : SV_E_ROLE);
        }
        route r = {.who = WHO_PLATFORM, .scope = SCOPE_ADMIN};
        assert_int_equal(access_allows(who, &r, NULL), SV_E_ROLE);
        identity_drop(who);
    }
    identity *root;
    assert_int_equal(find_now(&w, token_of(&w, "viewer", true, "s"), &root), 0);
    route all = {.who = WHO_ALL}, platform = {.who = WHO_PLATFORM, .scope = SCOPE_ADMIN};
    assert_int_equal(access_allows(root, &platform, NULL), 0);
    assert_int_equal(access_allows(NULL, &all, NULL), 0);
    assert_int_equal(access_allows(NULL, &platform, NULL), SV_E_NO_CREDENTIALS);
    identity_drop(root);
    close_world(&w);
}

static void what_is_kept_is_bounded(void **state)
{
    (void)state;
    world w;
    uint32_t kept = 0;
    open_world(&w, false, true, true);
    for (int i = 0; i < 5 * WAYS; i++) { /* identities of one set, by hand: signing takes long */
        identity *who = calloc(1, sizeof *who);
        who->refs = 1;
        who->hash[31] = (uint8_t)i;
        who->used_us = (uint64_t)i;
        access_keep(w.a, who);
    }
    for (int i = 0; i < WAYS; i++)
        if (w.a->sets[0][i]) {
            kept++;
            assert_true(w.a->sets[0][i]->hash[31] >= 4 * WAYS); /* the last used */
        }
    assert_int_equal(kept, WAYS);
    w.a->sequence = 10;
    copy_changed(w.a); /* a list that went back */
    assert_null(w.a->sets[0][0]);
    close_world(&w);
}

static void answers_with_hostile_texts(void **state)
{
    (void)state;
    static const char long_text[] =
        "a text that is longer than any id of the platform may be, and goes on";
    world w;
    waiter one;
    open_world(&w, false, true, true);
    for (int i = 0; i < 5; i++) {
        auth_key key = good_key();
        auth_key_check_reply reply = {.key = &key, .sequence = w.end};
        sv_str *text[] = {&key.id, &key.user, &key.org, &reply.tier, &key.id};
        *text[i] = i < 4 ? sv_cstr(long_text) : sv_cstr("");
        n_asks = 0;
        ask(&w, &one, "sv_hostile");
        answer_key(&asks[0], &reply, 0);
        assert_true(one.code < 0);
        assert_null(one.who);
    }
    auth_key key = good_key();
    key.models.n = 0;
    key.scopes.n = 0;
    n_asks = 0;
    ask(&w, &one, "sv_plain");
    answer_key(&asks[0], &(auth_key_check_reply){.key = &key, .sequence = w.end}, 0);
    assert_int_equal(one.code, 0);
    assert_true(access_model_ok(one.who, sv_cstr("any")));
    assert_int_equal(access_allows(one.who, &routes[ROUTE_CHAT], NULL), SV_E_SCOPE);
    identity_drop(one.who);
    close_world(&w);
}

static void without_a_seed_there_are_no_tickets(void **state)
{
    (void)state;
    world w;
    identity *who;
    open_world(&w, true, true, false);
    w.who.signs = false;
    assert_int_equal(find_now(&w, token_of(&w, "owner", false, "s"), &who), 0);
    assert_int_equal(access_ticket(w.a, who).n, 0);
    identity_drop(who);
    w.who.signs = true;
    close_world(&w);
}

/* ---- the copy of revocations on the bus ---- */

static void tell(world *w, const auth_revocations *news, bool answer)
{
    buf body;
    buf_init(&body, 65536);
    assert_int_equal(message_encode(&auth_revocations_msg, news, &body), 0);
    sv_item item = {.body = buf_str(&body)};
    const asked *last = n_asks ? &asks[n_asks - 1] : NULL;
    (void)w;
    if (answer && last)
        last->events.done(last->arg, NULL, 0, &item, NULL);
    else
        on_news(news_arg, sv_cstr("auth.revoked"), &item, 0);
    buf_free(&body);
}

static void the_snapshot_is_asked_for_until_it_is_there(void **state)
{
    (void)state;
    world w;
    open_world(&w, false, false, false);
    access_tick(w.a);
    assert_int_equal(n_asks, 1);
    assert_string_equal(asks[0].target, "auth.revocations");
    access_tick(w.a); /* one question at a time */
    assert_int_equal(n_asks, 1);
    asks[0].events.done(asks[0].arg, NULL, SV_E_UNAVAILABLE, NULL, NULL);
    access_tick(w.a); /* not at once again */
    assert_int_equal(n_asks, 1);
    clock_now_us += 200000;
    access_tick(w.a);
    assert_int_equal(n_asks, 2);
    sv_item garbage = {.body = {"\xc1", 1}};
    asks[1].events.done(asks[1].arg, NULL, 0, &garbage, NULL);
    assert_false(access_ready(w.a));
    clock_now_us += 200000;
    access_tick(w.a);
    auth_revocations first = {
        .sequence = 4, .issuer = sv_cstr("samovar"), .jwks = buf_str(&w.jwks)};
    tell(&w, &first, true);
    assert_true(access_ready(w.a));
    assert_int_equal(try(&w, token_of(&w, "owner", false, "s")), 0);
    close_world(&w);
}

static void what_was_missed_is_asked_for(void **state)
{
    (void)state;
    world w;
    open_world(&w, false, true, false);
    uint32_t before = n_asks;
    sv_str token = token_of(&w, "owner", false, "s");
    assert_int_equal(try(&w, token), 0);
    auth_revocation item = {
        .sequence = 2, .subject = sv_cstr("session/s"), .before = (int64_t)(clock_unix_us / 1000)};
    tell(&w, &(auth_revocations){.items = {&item, 1}, .sequence = 2}, false); /* 1 did not come */
    assert_int_equal(n_asks, before + 1);
    assert_int_equal(try(&w, token), 0);
    auth_revocation both[2] = {{.sequence = 1, .subject = sv_cstr("user/x"), .before = 1}, item};
    tell(&w, &(auth_revocations){.items = {both, 2}, .sequence = 2, .has_admin = true}, true);
    assert_int_equal(try(&w, token), SV_E_TOKEN_REVOKED);
    tell(&w, &(auth_revocations){.sequence = 2}, false); /* nothing new */
    assert_int_equal(n_asks, before + 1);
    sv_item garbage = {.body = {"\xc1", 1}};
    on_news(news_arg, sv_cstr("auth.revoked"), &garbage, 3);
    clock_now_us += 61000000; /* what no token can be as old as is forgotten */
    clock_unix_us += 21ull * 60 * 1000000;
    access_tick(w.a);
    assert_int_equal(revoked_since(w.a->revoked, "user/x", 1), REVOKED_NOT);
    close_world(&w);
}

static void pages_are_read_to_the_end(void **state)
{
    (void)state;
    world w;
    open_world(&w, false, false, false);
    access_tick(w.a);
    auth_revocation one = {.sequence = 7, .subject = sv_cstr("user/a"), .before = 1};
    auth_revocations page = {.items = {&one, 1},
                             .sequence = 8,
                             .more = true,
                             .issuer = sv_cstr("samovar"),
                             .jwks = buf_str(&w.jwks)};
    tell(&w, &page, true);
    assert_false(access_ready(w.a));
    assert_int_equal(n_asks, 2); /* at once */
    one.sequence = 8;
    page.more = false;
    tell(&w, &page, true);
    assert_true(access_ready(w.a));
    assert_int_equal(revoked_sequence(access_revoked(w.a)), 8);
    assert_true(revoked_jwks(access_revoked(w.a)).n > 0);
    close_world(&w);
}

static void without_a_subscription_there_is_no_access(void **state)
{
    (void)state;
    bus_refuses = true;
    operator_identity who = {.signs = false};
    assert_null(access_new((sv_process *)(void *)&who, &who, false));
    bus_refuses = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_is_verified_once),
        cmocka_unit_test(other_tokens_are_refused),
        cmocka_unit_test(a_token_ends_with_its_time),
        cmocka_unit_test(a_token_ends_with_what_it_stands_for),
        cmocka_unit_test(nobody_is_known_without_a_snapshot),
        cmocka_unit_test(open_access_ends_with_the_first_administrator),
        cmocka_unit_test(where_it_may_not_be_open_it_is_not),
        cmocka_unit_test(a_key_is_asked_about_once),
        cmocka_unit_test(a_key_ends_at_its_own_time),
        cmocka_unit_test(a_stream_outlives_the_memory_of_its_key),
        cmocka_unit_test(a_key_that_ended_while_it_was_asked_about),
        cmocka_unit_test(answers_that_are_none),
        cmocka_unit_test(waiting_can_be_given_up),
        cmocka_unit_test(questions_are_bounded),
        cmocka_unit_test(use_is_told_once_a_minute),
        cmocka_unit_test(thousands_of_keys_are_known_and_told_of),
        cmocka_unit_test(roles_are_ordered),
        cmocka_unit_test(what_is_kept_is_bounded),
        cmocka_unit_test(answers_with_hostile_texts),
        cmocka_unit_test(without_a_seed_there_are_no_tickets),
        cmocka_unit_test(the_snapshot_is_asked_for_until_it_is_there),
        cmocka_unit_test(what_was_missed_is_asked_for),
        cmocka_unit_test(pages_are_read_to_the_end),
        cmocka_unit_test(without_a_subscription_there_is_no_access),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
