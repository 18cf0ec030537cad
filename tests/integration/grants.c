/*  grants.c - who may what at the auth actor with which ticket, over a real bus: this process is the
 *  supervisor, an edge that signs tickets and a service that works for users who are away. Keys,
 *  service accounts, grants, bound tickets, the audit log, and what edges hear of revocations. BIN names
 *  the executables. */
#include "bus_kit.h"
#include "error.h"
#include "uuid.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef struct person {
    char id[UUID_TEXT + 1], org[UUID_TEXT + 1];
} person;

static ticket_ring *ring;
static person anna, bob; /* anna administers the platform */

/* ---- calls ---- */

/* Calls and waits; the reply is in k->a until kit_end(k). `t` NULL: the operator. */
static int ask(kit_call *k, const ticket *t, const char *target, const sv_message *m,
               const void *body, const sv_message *reply_type, void *reply)
{
    buf bytes;
    buf_init(&bytes, 1024);
    if (t && t->expires_s) {
        assert_int_equal(ticket_sign(&kit_signer, t, &bytes), 0);
    } else if (t) {
        buf_put(&bytes, t->user.p, t->user.n); /* bytes of a ticket */
    }
    sv_request r = {.target = target, .type = m, .body = body, .ticket = buf_str(&bytes)};
    if (t == NULL) r.ticket = (sv_str){NULL, 0};
    kit_begin(k, &r);
    int rc = kit_finish(k, reply_type, reply);
    buf_free(&bytes);
    return rc;
}

static int code_of(const ticket *t, const char *target, const sv_message *m, const void *body)
{
    kit_call k;
    int rc = ask(&k, t, target, m, body, NULL, NULL);
    kit_end(&k);
    return rc;
}

/* As an edge would sign it. */
static ticket as(const person *who, const char *credential)
{
    return (ticket){.user = sv_cstr(who->id),
                    .org = sv_cstr(who->org),
                    .tier = sv_cstr("free"),
                    .roles = {sv_cstr("owner"), sv_cstr("platform_admin")},
                    .n_roles = who == &anna ? 2 : 1,
                    .expires_s = (uint64_t)time(NULL) + 900,
                    .credential = sv_cstr(credential)};
}

static const char session[] = "session/01999999-0000-7000-8000-000000000001";

/* ---- set-up ---- */

static void add_user(const char *email, bool admin, person *ret)
{
    kit_call k;
    auth_user_reply r;
    auth_user_add_req q = {
        .email = sv_cstr(email), .password = sv_cstr("correct horse battery"), .admin = admin};
    assert_int_equal(
        ask(&k, NULL, "auth.user_add", &auth_user_add_req_msg, &q, &auth_user_reply_msg, &r), 0);
    snprintf(ret->id, sizeof ret->id, "%.*s", SV_FMT(r.user->id));
    snprintf(ret->org, sizeof ret->org, "%.*s", SV_FMT(r.user->org));
    kit_end(&k);
}

static int setup(void **state)
{
    (void)state;
    uint8_t key[TICKET_KEY];
    kit_open("grants");
    setenv("SAMOVAR_AUTH_PASSWORD_MEMORY", "19MiB", 1);
    ticket_signer_public(&kit_signer, key);
    ring = ticket_ring_new();
    assert_int_equal(ticket_ring_add(ring, key), 0);
    kit_start_broker();
    kit_start(NULL, "auth", 1);
    kit_join();
    uint64_t until_us = clock_us() + KIT_PATIENCE_MS * 1000ull;
    while (code_of(NULL, "auth.jwks", &bus_empty_msg, &(bus_empty){}))
        assert_true(clock_us() < until_us);
    add_user("anna@example.org", true, &anna);
    add_user("bob@example.org", false, &bob);
    return 0;
}

static int teardown(void **state)
{
    ticket_ring_free(ring);
    return kit_close(state);
}

/* ---- keys ---- */

static int make_key(const ticket *t, const auth_key_new_req *q, char ret_id[UUID_TEXT + 1])
{
    kit_call k;
    auth_key_new_reply r;
    int rc = ask(&k, t, "auth.key_new", &auth_key_new_req_msg, q, &auth_key_new_reply_msg, &r);
    if (rc == 0 && ret_id) snprintf(ret_id, UUID_TEXT + 1, "%.*s", SV_FMT(r.info->id));
    kit_end(&k);
    return rc;
}

static void who_makes_keys(void **state)
{
    (void)state;
    char id[UUID_TEXT + 1], credential[48];
    auth_key_new_req q = {.name = sv_cstr("one")}, named = {.email = sv_cstr("anna@example.org")};
    ticket t = as(&bob, session);
    assert_int_equal(make_key(&t, &q, id), 0);
    assert_int_equal(make_key(&t, &named, NULL), SV_E_INVALID); /* the ticket says who he is */
    t.actor = sv_cstr(anna.id);
    assert_int_equal(make_key(&t, &q, NULL), SV_E_DENIED);
    snprintf(credential, sizeof credential, "key/%s", id);
    t = as(&bob, credential);
    assert_int_equal(make_key(&t, &q, NULL), SV_E_DENIED);
    t = as(&bob, "");
    assert_int_equal(make_key(&t, &q, NULL), SV_E_DENIED);
    t = as(&bob, session);
    t.org = sv_cstr(anna.org); /* a forged edge could not make more of it */
    assert_int_equal(make_key(&t, &q, NULL), SV_E_NOT_FOUND);
    assert_int_equal(make_key(NULL, &q, NULL), SV_E_MISSING_FIELD);
    t = as(&anna, session);
    assert_int_equal(code_of(&t, "auth.key", &auth_key_req_msg, &(auth_key_req){sv_cstr(id)}),
                     SV_E_NOT_FOUND); /* not even who administers the platform */
    t = as(&bob, credential);
    assert_int_equal(
        code_of(&t, "auth.key_delete", &auth_key_req_msg, &(auth_key_req){sv_cstr(id)}), 0);
}

static void service_accounts(void **state)
{
    (void)state;
    kit_call k;
    auth_member_reply r;
    char account[UUID_TEXT + 1];
    ticket t = as(&bob, session), far = as(&anna, session);
    auth_service_new_req q = {.id = sv_cstr(bob.org), .name = sv_cstr("robot")};
    assert_int_equal(code_of(&far, "auth.service_new", &auth_service_new_req_msg, &q),
                     SV_E_NOT_FOUND);
    assert_int_equal(code_of(NULL, "auth.service_new", &auth_service_new_req_msg, &q), SV_E_DENIED);
    assert_int_equal(
        ask(&k, &t, "auth.service_new", &auth_service_new_req_msg, &q, &auth_member_reply_msg, &r),
        0);
    assert_true(r.member->service && sv_str_is(r.member->role, "member"));
    snprintf(account, sizeof account, "%.*s", SV_FMT(r.member->user));
    kit_end(&k);
    auth_key_new_req key = {.service_account = sv_cstr(account)};
    assert_int_equal(make_key(&t, &key, NULL), 0);
    assert_int_equal(make_key(&far, &key, NULL), SV_E_NOT_FOUND);
}

/* ---- grants ---- */

static int grant(const ticket *t, const auth_grant_req *q, char ret[UUID_TEXT + 1])
{
    kit_call k;
    auth_grant_reply r;
    int rc = ask(&k, t, "auth.grant", &auth_grant_req_msg, q, &auth_grant_reply_msg, &r);
    if (rc == 0) snprintf(ret, UUID_TEXT + 1, "%.*s", SV_FMT(r.grant));
    kit_end(&k);
    return rc;
}

/* `bytes`: of a ticket that auth signed. */
static int delegate(const char *id, char bytes[512], ticket *ret)
{
    kit_call k;
    auth_delegate_reply r;
    auth_delegate_req q = {.grant = sv_cstr(id)};
    sv_error err = {0};
    int rc =
        ask(&k, NULL, "auth.delegate", &auth_delegate_req_msg, &q, &auth_delegate_reply_msg, &r);
    if (rc == 0) {
        memcpy(bytes, r.ticket.p, r.ticket.n);
        sv_str copy = {bytes, r.ticket.n};
        assert_int_equal(ticket_ring_verify(ring, copy, (uint64_t)time(NULL), &err), 0);
        assert_int_equal(ticket_read(copy, ret, &err), 0);
        assert_int_equal(r.expires, (int64_t)ret->expires_s * 1000);
        assert_true(ret->expires_s <= (uint64_t)time(NULL) + 900);
        ret->expires_s = 0; /* for ask(): it is signed */
        ret->user = copy;
    }
    kit_end(&k);
    return rc;
}

static void work_for_somebody_who_is_away(void **state)
{
    (void)state;
    kit_call k;
    auth_me_reply me_reply;
    char id[UUID_TEXT + 1], bytes[512];
    ticket t = as(&bob, session), d;
    auth_grant_req q = {.job = sv_cstr("nightly")}, nothing = {.job = sv_cstr("")};
    assert_int_equal(grant(NULL, &q, id), SV_E_NO_CREDENTIALS);
    assert_int_equal(grant(&t, &nothing, id), SV_E_INVALID);
    assert_int_equal(grant(&t, &q, id), 0);
    assert_int_equal(delegate(id, bytes, &d), 0);
    assert_true(sv_str_is(d.bound, "operator/nightly") && sv_str_is(d.org, bob.org));
    assert_true(d.n_roles == 1 && sv_str_is(d.roles[0], "owner") && d.n_scopes == 0);
    assert_true(d.credential.n == 6 + UUID_TEXT && memcmp(d.credential.p + 6, id, UUID_TEXT) == 0);
    assert_int_equal(ask(&k, &d, "auth.me", &auth_who_req_msg, &(auth_who_req){.email = {NULL, 0}},
                         &auth_me_reply_msg, &me_reply),
                     0);
    assert_true(sv_str_is(me_reply.user->id, bob.id));
    kit_end(&k);
    assert_int_equal(grant(&d, &q, id), SV_E_DENIED); /* not from work that is delegated itself */
    assert_int_equal(make_key(&d, &(auth_key_new_req){.name = sv_cstr("x")}, NULL), SV_E_DENIED);
    t.actor = sv_cstr(anna.id);
    assert_int_equal(grant(&t, &q, id), SV_E_DENIED);
    assert_int_equal(
        code_of(NULL, "auth.grant_end", &auth_delegate_req_msg, &(auth_delegate_req){sv_cstr(id)}),
        0);
    assert_int_equal(delegate(id, bytes, &d), SV_E_NOT_FOUND);
}

static void no_more_than_the_ticket(void **state)
{
    (void)state;
    char id[UUID_TEXT + 1], bytes[512];
    ticket t = as(&bob, session), d;
    sv_str chat = sv_cstr("chat"), files = sv_cstr("files"), odd = sv_cstr("everything");
    t.scopes[t.n_scopes++] = chat;
    auth_grant_req q = {.job = sv_cstr("scoped"), .scopes = {&files, 1}};
    assert_int_equal(grant(&t, &q, id), SV_E_SCOPE);
    q.scopes.items = &odd;
    assert_int_equal(grant(&t, &q, id), SV_E_INVALID);
    q.scopes = (sv_strs){NULL, 0};
    assert_int_equal(grant(&t, &q, id), 0);
    assert_int_equal(delegate(id, bytes, &d), 0);
    assert_true(d.n_scopes == 1 && sv_str_is(d.scopes[0], "chat"));
}

/* The broker lets a bound ticket pass from its service only. */
static void bound_tickets(void **state)
{
    (void)state;
    ticket t = as(&bob, session);
    t.bound = sv_cstr("workflow/nightly");
    assert_int_equal(code_of(&t, "auth.me", &auth_who_req_msg, &(auth_who_req){.email = {NULL, 0}}),
                     SV_E_TICKET);
    t.bound = sv_cstr("operator/nightly");
    assert_int_equal(code_of(&t, "auth.me", &auth_who_req_msg, &(auth_who_req){.email = {NULL, 0}}),
                     0);
}

/* ---- the audit log ---- */

static int events_of(const ticket *t, const char *chain)
{
    return code_of(t, "auth.audit", &auth_audit_req_msg,
                   &(auth_audit_req){.chain = chain ? sv_cstr(chain) : (sv_str){NULL, 0}});
}

static void who_reads_the_audit_log(void **state)
{
    (void)state;
    ticket t = as(&bob, session), admin = as(&anna, session), key = as(&anna, "key/x");
    assert_int_equal(events_of(NULL, NULL), 0);
    assert_int_equal(events_of(&t, NULL), 0);
    assert_int_equal(events_of(&t, bob.org), 0);
    assert_int_equal(events_of(&t, anna.org), SV_E_NOT_FOUND);
    assert_int_equal(events_of(&t, "platform"), SV_E_ROLE);
    assert_int_equal(events_of(&admin, "platform"), 0);
    assert_int_equal(events_of(&admin, bob.org), 0);
    assert_int_equal(events_of(&key, "platform"), SV_E_ROLE); /* a key without the scope admin */
    assert_int_equal(events_of(&key, bob.org), SV_E_NOT_FOUND);
    t.org = sv_cstr(anna.org);
    assert_int_equal(events_of(&t, anna.org), SV_E_NOT_FOUND); /* the role is read, not believed */
}

/* ---- what others hear ---- */

typedef struct heard {
    int64_t sequence;
    uint32_t events, items, live;
    char subject[81];
} heard;

static void on_revoked(void *arg, sv_str topic, const sv_item *event, uint64_t gap)
{
    (void)topic, (void)gap;
    heard *h = arg;
    arena a;
    auth_revocations m;
    arena_init(&a, 1 << 20);
    assert_int_equal(
        message_decode(&auth_revocations_msg, event->body, MESSAGE_STRICT, &a, &m, NULL), 0);
    assert_true(m.sequence >= h->sequence && m.has_admin);
    h->sequence = m.sequence;
    h->events++;
    h->items += m.items.n;
    if (m.items.n) {
        const auth_revocation *last = (const auth_revocation *)m.items.items + m.items.n - 1;
        assert_int_equal(last->sequence, m.sequence);
        snprintf(h->subject, sizeof h->subject, "%.*s", SV_FMT(last->subject));
    }
    arena_free(&a);
}

static void on_live(void *arg, sv_str topic, const sv_item *event, uint64_t gap)
{
    (void)topic, (void)gap;
    heard *h = arg;
    arena a;
    live_event e;
    arena_init(&a, 1 << 16);
    assert_int_equal(message_decode(&live_event_msg, event->body, MESSAGE_STRICT, &a, &e, NULL), 0);
    h->live += sv_str_is(e.type, "key.created") || sv_str_is(e.type, "key.deleted");
    arena_free(&a);
}

static bool heard_some(void *arg)
{
    return ((heard *)arg)->events >= 2;
}

static bool heard_end(void *arg)
{
    heard *h = arg;
    return h->items > 0 && h->live >= 2;
}

static void revocations_are_told(void **state)
{
    (void)state;
    heard h = {.events = 0};
    char id[UUID_TEXT + 1], subject[81], live[96];
    ticket t = as(&bob, session);
    snprintf(live, sizeof live, "auth.live.%s.%s", bob.org, bob.id);
    assert_int_equal(sv_subscribe(kit_me, "auth.revoked", on_revoked, &h), 0);
    assert_int_equal(sv_subscribe(kit_me, live, on_live, &h), 0);
    assert_int_equal(sv_tool_wait(kit_me, heard_some, &h, 5000),
                     0); /* nothing happens, twice a second */
    assert_int_equal(h.items, 0);
    assert_int_equal(make_key(&t, &(auth_key_new_req){.name = sv_cstr("short")}, id), 0);
    uint64_t from_us = clock_us();
    assert_int_equal(
        code_of(&t, "auth.key_delete", &auth_key_req_msg, &(auth_key_req){sv_cstr(id)}), 0);
    assert_int_equal(sv_tool_wait(kit_me, heard_end, &h, 5000), 0);
    assert_true(clock_us() - from_us < 1000000);
    snprintf(subject, sizeof subject, "key/%s", id);
    assert_string_equal(h.subject, subject);
    sv_unsubscribe(kit_me, "auth.revoked", on_revoked, &h);
    sv_unsubscribe(kit_me, live, on_live, &h);
}

/* ---- the end of a user ---- */

static int switch_bob(bool enable)
{
    auth_user_disable_req q = {.email = sv_cstr("bob@example.org"), .enable = enable};
    return code_of(NULL, "auth.user_disable", &auth_user_disable_req_msg, &q);
}

/* A token of the second in which its user was revoked would not hold: it is of the next one. */
static void a_login_in_the_second_of_a_revocation(void **state)
{
    (void)state;
    char id[UUID_TEXT + 1], bytes[512];
    kit_call k;
    auth_login_reply r;
    auth_revocations list;
    int64_t before = 0;
    ticket t = as(&bob, session), d;
    assert_int_equal(grant(&t, &(auth_grant_req){.job = sv_cstr("later")}, id), 0);
    assert_int_equal(switch_bob(false), 0);
    assert_int_equal(delegate(id, bytes, &d), SV_E_DENIED);
    assert_int_equal(grant(&t, &(auth_grant_req){.job = sv_cstr("new")}, id), SV_E_DENIED);
    assert_int_equal(switch_bob(true), 0);
    assert_int_equal(ask(&k, NULL, "auth.revocations", &auth_revocations_req_msg,
                         &(auth_revocations_req){.after = 0}, &auth_revocations_msg, &list),
                     0);
    const auth_revocation *items = list.items.items;
    for (uint32_t i = 0; i < list.items.n; i++)
        if (items[i].subject.n > 5 && memcmp(items[i].subject.p, "user/", 5) == 0)
            before = items[i].before;
    assert_true(before > 0);
    kit_end(&k);
    auth_login_req q = {.email = sv_cstr("bob@example.org"),
                        .password = sv_cstr("correct horse battery"),
                        .network = sv_cstr("192.0.2.1")};
    assert_int_equal(
        ask(&k, NULL, "auth.login", &auth_login_req_msg, &q, &auth_login_reply_msg, &r), 0);
    assert_true(r.claims->issued * 1000 > before);
    assert_true(sv_str_is(r.claims->tier, "free"));
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_makes_keys),
        cmocka_unit_test(service_accounts),
        cmocka_unit_test(work_for_somebody_who_is_away),
        cmocka_unit_test(no_more_than_the_ticket),
        cmocka_unit_test(bound_tickets),
        cmocka_unit_test(who_reads_the_audit_log),
        cmocka_unit_test(revocations_are_told),
        cmocka_unit_test(a_login_in_the_second_of_a_revocation),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
