/*  orgs.c - organizations, invitations and the platform's administration over a real bus: this process
 *  is the supervisor, and signs the tickets of everybody who calls. The auth actor is killed in the
 *  middle of accepting: an invitation makes one member. BIN names the executables. */
#include "base64url.h"
#include "bus_kit.h"
#include "error.h"
#include "json_scan.h"
#include "uuid.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ID = UUID_TEXT + 1, TEXT = 4096 };

static pid_t auth_pid;

typedef struct person {
    char id[ID], org[ID], email[64];
    buf ticket;
} person;
static person root, olga, max, eve;

static void start_auth(void)
{
    auth_pid = kit_start(NULL, "auth", 1);
}

/* ---- calls ---- */

static char answer[1 << 20]; /* of the last call, JSON */

static void begin(kit_call *k, const buf *who, const char *method, const char *json)
{
    char target[64];
    sv_error err = {0};
    buf packed;
    buf_init(&packed, 1 << 16);
    snprintf(target, sizeof target, "auth.%s", method);
    if (message_from_json(NULL, sv_cstr(json), &packed, &err))
        fail_msg("%s: %s", json, err.message);
    sv_request r = {.target = target,
                    .raw = buf_str(&packed),
                    .ticket = who ? buf_str(who) : (sv_str){NULL, 0}};
    kit_begin(k, &r);
    buf_free(&packed);
}

static int finish(kit_call *k)
{
    buf json;
    int rc = kit_finish(k, NULL, NULL);
    buf_init(&json, sizeof answer - 1);
    answer[0] = 0;
    if (rc == 0 && k->body.n) {
        assert_int_equal(message_to_json(NULL, buf_str(&k->body), false, &json, NULL), 0);
        snprintf(answer, sizeof answer, "%.*s", (int)json.n, json.p);
    }
    buf_free(&json);
    kit_end(k);
    return rc;
}

static int ask(const person *who, const char *method, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int ask(const person *who, const char *method, const char *format, ...)
{
    char json[TEXT];
    kit_call k;
    va_list args;
    va_start(args, format);
    vsnprintf(json, sizeof json, format, args);
    va_end(args);
    begin(&k, who ? &who->ticket : NULL, method, json);
    return finish(&k);
}

/* The text at "a.b" of the last answer. */
static const char *text_at(const char *path)
{
    static char texts[4][TEXT];
    static int turn;
    char word[64], *to = texts[turn++ % 4];
    json_value v = json_root(sv_cstr(answer));
    buf out;
    for (; v.type == JSON_OBJECT && path[0]; path += strlen(word) + (path[strlen(word)] == '.')) {
        snprintf(word, sizeof word, "%.*s", (int)strcspn(path, "."), path);
        v = json_get(v, word);
    }
    buf_init(&out, TEXT - 1);
    to[0] = 0;
    if (v.type == JSON_STRING && json_text(v, &out) == 0)
        snprintf(to, TEXT, "%.*s", (int)out.n, out.p);
    else if (v.type != JSON_NONE)
        snprintf(to, TEXT, "%.*s", (int)v.raw.n, v.raw.p);
    buf_free(&out);
    return to;
}

static bool says(const char *part)
{
    if (strstr(answer, part)) return true;
    print_message("no %s in %s\n", part, answer);
    return false;
}

/* ---- people ---- */

static void sign(person *p, const char *org, const char *role, const char *scope,
                 const char *credential, const char *actor)
{
    ticket t = {.user = sv_cstr(p->id),
                .org = sv_cstr(org),
                .tier = sv_cstr("free"),
                .roles = {sv_cstr(role)},
                .n_roles = role[0] != 0,
                .scopes = {sv_cstr(scope)},
                .n_scopes = scope[0] != 0,
                .credential = sv_cstr(credential),
                .actor = sv_cstr(actor),
                .expires_s = (uint64_t)time(NULL) + 900};
    buf_free(&p->ticket);
    buf_init(&p->ticket, 1024);
    assert_int_equal(ticket_sign(&kit_signer, &t, &p->ticket), 0);
}

static void make_person(person *p, const char *email, bool admin)
{
    snprintf(p->email, sizeof p->email, "%s", email);
    assert_int_equal(ask(NULL, "user_add",
                         "{\"email\":\"%s\",\"password\":\"seven calm otters\",\"admin\":%s}",
                         email, admin ? "true" : "false"),
                     0);
    snprintf(p->id, sizeof p->id, "%s", text_at("user.id"));
    snprintf(p->org, sizeof p->org, "%s", text_at("user.org"));
    buf_init(&p->ticket, 1024);
    sign(p, p->org, admin ? "platform_admin" : "", "", "session/none", "");
}

static void make_org(const person *owner, char org[ID])
{
    assert_int_equal(ask(owner, "org_new", "{\"name\":\"Acme\"}"), 0);
    snprintf(org, ID, "%s", text_at("org.id"));
}

/* The token of a new invitation. */
static void invite(const person *by, const char *org, const char *email, char token[TEXT])
{
    assert_int_equal(ask(by, "invite", "{\"id\":\"%s\",\"email\":\"%s\"}", org, email), 0);
    const char *link = text_at("link");
    assert_memory_equal(link, "https://samovar.example/invitation#token=svi_", 45);
    snprintf(token, TEXT, "%s", strchr(link, '=') + 1);
    assert_int_equal(strlen(token), 68);
}

static int accept_it(const person *who, const char *token)
{
    return ask(who, "invitation_accept", "{\"token\":\"%s\"}", token);
}

/* ---- set-up ---- */

static void wait_for_auth(void)
{
    time_t end = time(NULL) + KIT_PATIENCE_MS / 1000;
    while (ask(NULL, "ping", "{}"))
        assert_true(time(NULL) < end);
}

static int setup(void **state)
{
    (void)state;
    kit_open("orgs");
    setenv("SAMOVAR_AUTH_PASSWORD_MEMORY", "19MiB", 1);
    setenv("SAMOVAR_EDGE_ORIGIN", "https://samovar.example", 1);
    kit_start_broker();
    start_auth();
    kit_join();
    wait_for_auth();
    make_person(&root, "root@example.org", true);
    make_person(&olga, "olga@example.org", false);
    make_person(&max, "max@example.org", false);
    make_person(&eve, "eve@example.org", false);
    return 0;
}

static int teardown(void **state)
{
    person *people[] = {&root, &olga, &max, &eve};
    for (size_t i = 0; i < 4; i++)
        buf_free(&people[i]->ticket);
    return kit_close(state);
}

/* ---- tests ---- */

static const char nowhere[] = "00000000-0000-7000-8000-000000000000";

static void who_calls(void **state)
{
    (void)state;
    char org[ID], other[ID], key[64];
    person keeper = olga;
    buf_init(&keeper.ticket, 1024);
    assert_int_equal(ask(NULL, "orgs", "{}"), SV_E_NO_CREDENTIALS);
    assert_int_equal(ask(NULL, "org_new", "{\"name\":\"x\"}"), SV_E_NO_CREDENTIALS);
    assert_int_equal(ask(&olga, "org_new", "{\"name\":\"\"}"), SV_E_INVALID);
    assert_int_equal(ask(&olga, "org_new", "{\"name\":\"   \"}"), SV_E_INVALID);
    assert_int_equal(ask(&olga, "org_new", "{\"name\":\"a\\nb\"}"), SV_E_INVALID);
    make_org(&olga, org);
    make_org(&olga, other);
    assert_int_equal(ask(&olga, "orgs", "{}"), 0);
    assert_true(says(org) && says(other) && says(olga.org));
    assert_int_equal(ask(&eve, "org", "{\"id\":\"%s\"}", org), SV_E_NOT_FOUND);
    assert_int_equal(ask(&eve, "org", "{\"id\":\"%s\"}", nowhere), SV_E_NOT_FOUND);
    assert_int_equal(ask(&eve, "org_delete", "{\"id\":\"%s\"}", org), SV_E_NOT_FOUND);
    /* an API key, and what works for a user who is away, stay in one organization */
    static const char *const kinds[] = {"key", "grant"};
    for (int i = 0; i < 2; i++) {
        snprintf(key, sizeof key, "%s/%s", kinds[i], nowhere);
        sign(&keeper, org, "owner", "org", key, "");
        assert_int_equal(ask(&keeper, "org", "{\"id\":\"%s\"}", org), 0);
        assert_int_equal(ask(&keeper, "org", "{\"id\":\"%s\"}", other), SV_E_NOT_FOUND);
        assert_int_equal(ask(&keeper, "org_new", "{\"name\":\"x\"}"), SV_E_DENIED);
        assert_int_equal(ask(&keeper, "orgs", "{}"), 0);
        assert_true(says(org) && !strstr(answer, other));
    }
    buf_free(&keeper.ticket);
    /* ids of any kind */
    static const char *const hostile[] = {"", "x", "..\\u002f", "'; drop", "\\u0444"};
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++)
        assert_int_equal(ask(&olga, "org", "{\"id\":\"%s\"}", hostile[i]), SV_E_NOT_FOUND);
}

static void members_and_roles(void **state)
{
    (void)state;
    char org[ID], token[TEXT];
    make_org(&olga, org);
    invite(&olga, org, max.email, token);
    assert_int_equal(ask(NULL, "invitation_look", "{\"token\":\"%s\"}", token), 0);
    assert_string_equal(text_at("invitation.org_name"), "Acme");
    assert_string_equal(text_at("invitation.email"), max.email);
    assert_int_equal(accept_it(&eve, token), SV_E_DENIED);
    assert_int_equal(accept_it(NULL, token), SV_E_NO_CREDENTIALS);
    assert_int_equal(accept_it(&max, token), 0);
    assert_string_equal(text_at("org.role"), "member");
    assert_int_equal(accept_it(&max, token), SV_E_LINK);
    assert_int_equal(ask(NULL, "invitation_look", "{\"token\":\"%s\"}", token), SV_E_LINK);
    assert_int_equal(ask(&max, "members", "{\"id\":\"%s\"}", org), 0);
    assert_true(says(olga.email) && says(max.email));
    assert_int_equal(ask(&max, "org_change", "{\"id\":\"%s\",\"name\":\"x\"}", org), SV_E_ROLE);
    assert_int_equal(ask(&max, "invite", "{\"id\":\"%s\"}", org), SV_E_ROLE);
    assert_int_equal(ask(&max, "member_change",
                         "{\"id\":\"%s\",\"user\":\"%s\",\"role\":\"owner\"}", org, max.id),
                     SV_E_ROLE);
    assert_int_equal(ask(&olga, "member_change",
                         "{\"id\":\"%s\",\"user\":\"%s\",\"role\":\"chief\"}", org, max.id),
                     SV_E_INVALID);
    assert_int_equal(ask(&olga, "org_leave", "{\"id\":\"%s\"}", org), SV_E_LAST_OWNER);
    assert_int_equal(ask(&olga, "org_transfer", "{\"id\":\"%s\",\"user\":\"%s\"}", org, max.id), 0);
    assert_string_equal(text_at("org.role"), "admin");
    assert_int_equal(ask(&olga, "org_delete", "{\"id\":\"%s\"}", org), SV_E_ROLE);
    assert_int_equal(ask(&olga, "org_leave", "{\"id\":\"%s\"}", org), 0);
    assert_int_equal(ask(&olga, "org", "{\"id\":\"%s\"}", org), SV_E_NOT_FOUND);
    assert_int_equal(ask(&max, "org_delete", "{\"id\":\"%s\"}", max.org), SV_E_INVALID);
    assert_int_equal(ask(&max, "org_delete", "{\"id\":\"%s\"}", org), 0);
    assert_int_equal(ask(&max, "org", "{\"id\":\"%s\"}", org), SV_E_NOT_FOUND);
    assert_int_equal(ask(NULL, "audit", "{\"chain\":\"%s\"}", org), 0);
    assert_true(says("access.denied") && says("\"detail\":\"org_delete\""));
    assert_true(says("org.made") && says("invitation.made") && says("member.added") &&
                says("member.changed") && says("org.transferred") && says("member.left") &&
                says("org.deleted"));
}

/* The payload of an access token. */
static void payload(const char *token, char to[TEXT])
{
    buf out;
    const char *from = strchr(token, '.') + 1;
    buf_init(&out, TEXT - 1);
    assert_int_equal(base64url_get((sv_str){from, (uint32_t)strcspn(from, ".")}, &out), 0);
    snprintf(to, TEXT, "%.*s", (int)out.n, out.p);
    buf_free(&out);
}

static void switching(void **state)
{
    (void)state;
    char org[ID], session[ID], refresh[128], claims[TEXT], credential[64];
    make_org(&olga, org);
    assert_int_equal(ask(NULL, "login",
                         "{\"email\":\"%s\",\"password\":\"seven calm otters\","
                         "\"network\":\"192.0.2.1\"}",
                         olga.email),
                     0);
    snprintf(session, sizeof session, "%s", text_at("session"));
    snprintf(refresh, sizeof refresh, "%s", text_at("refresh_token"));
    assert_string_equal(text_at("claims.org"), olga.org);
    snprintf(credential, sizeof credential, "session/%s", session);
    sign(&olga, olga.org, "owner", "", credential, "");
    assert_int_equal(ask(&olga, "org_switch", "{\"id\":\"%s\",\"session\":\"%s\"}", org, nowhere),
                     SV_E_INVALID);
    assert_int_equal(
        ask(&olga, "org_switch", "{\"id\":\"%s\",\"session\":\"%s\"}", eve.org, session),
        SV_E_NOT_FOUND);
    assert_int_equal(
        ask(&eve, "org_switch", "{\"id\":\"%s\",\"session\":\"%s\"}", eve.org, nowhere),
        SV_E_INVALID);
    assert_int_equal(ask(&olga, "org_switch", "{\"id\":\"%s\",\"session\":\"%s\"}", org, session),
                     0);
    assert_string_equal(text_at("refresh_token"), "");
    assert_string_equal(text_at("claims.org"), org);
    assert_string_equal(text_at("claims.tier"), "free");
    payload(text_at("access_token"), claims);
    assert_non_null(strstr(claims, org));
    assert_null(strstr(claims, "\"act\""));
    /* the session's refresh token goes on, in the organization it was switched to */
    assert_int_equal(ask(&root, "admin_org_change", "{\"id\":\"%s\",\"tier\":\"premium\"}", org),
                     0);
    assert_int_equal(ask(NULL, "refresh", "{\"refresh_token\":\"%s\"}", refresh), 0);
    snprintf(refresh, sizeof refresh, "%s", text_at("refresh_token"));
    assert_string_equal(text_at("claims.org"), org);
    assert_string_equal(text_at("claims.tier"), "premium");
    /* and at home when it is no more */
    assert_int_equal(ask(&olga, "org_delete", "{\"id\":\"%s\"}", org), 0);
    assert_int_equal(ask(NULL, "refresh", "{\"refresh_token\":\"%s\"}", refresh), 0);
    assert_string_equal(text_at("claims.org"), olga.org);
}

static void administration(void **state)
{
    (void)state;
    char key[64], made[ID];
    person helper = root;
    buf_init(&helper.ticket, 1024);
    assert_int_equal(ask(&olga, "admin_users", "{}"), SV_E_ROLE);
    assert_int_equal(ask(&olga, "admin_user", "{\"id\":\"%s\"}", eve.id), SV_E_ROLE);
    snprintf(key, sizeof key, "key/%s", nowhere);
    sign(&helper, root.org, "platform_admin", "chat", key, "");
    assert_int_equal(ask(&helper, "admin_users", "{}"), SV_E_SCOPE);
    assert_int_equal(ask(NULL, "audit", "{\"event\":\"access.\"}"), 0);
    assert_true(says(olga.id) && says(root.id) && says("\"detail\":\"admin_user\""));
    sign(&helper, root.org, "platform_admin", "admin", key, "");
    assert_int_equal(ask(&helper, "admin_users", "{\"q\":\"EVE\"}"), 0);
    assert_true(says(eve.id) && !strstr(answer, olga.id));
    buf_free(&helper.ticket);
    assert_int_equal(ask(&root, "admin_user_new",
                         "{\"email\":\"dora@example.org\",\"password\":\"seven calm otters\","
                         "\"tier\":\"own\"}"),
                     0);
    snprintf(made, sizeof made, "%s", text_at("user.id"));
    assert_string_equal(text_at("user.tier"), "own");
    assert_int_equal(ask(&root, "admin_user", "{\"id\":\"%s\"}", made), 0);
    assert_true(says("\"orgs\""));
    assert_int_equal(ask(&root, "admin_user", "{\"id\":\"%s\"}", nowhere), SV_E_NOT_FOUND);
    assert_int_equal(
        ask(&root, "admin_user_change", "{\"id\":\"%s\",\"status\":\"disabled\"}", made), 0);
    assert_int_equal(ask(&root, "admin_user_change", "{\"id\":\"%s\",\"status\":\"asleep\"}", made),
                     SV_E_INVALID);
    assert_int_equal(
        ask(&root, "admin_user_change", "{\"id\":\"%s\",\"status\":\"disabled\"}", root.id),
        SV_E_DENIED);
    assert_int_equal(ask(NULL, "admin_user_change", "{\"id\":\"%s\",\"role\":\"user\"}", root.id),
                     SV_E_LAST_ADMIN);
    assert_int_equal(ask(&root, "admin_orgs", "{\"q\":\"%s\"}", eve.org), 0);
    assert_true(says(eve.org));
    /* the operator's own */
    assert_int_equal(ask(NULL, "org_list", "{}"), 0);
    assert_true(says(eve.org) && says(root.org));
    assert_int_equal(ask(NULL, "user_reset", "{\"email\":\"dora@example.org\"}"), SV_E_INVALID);
    assert_int_equal(ask(NULL, "user_reset",
                         "{\"email\":\"dora@example.org\",\"password\":\"another calm otter\"}"),
                     0);
    assert_int_equal(
        ask(NULL, "user_reset", "{\"email\":\"dora@example.org\",\"password\":\"short\"}"),
        SV_E_WEAK_PASSWORD);
}

static void acting_as_somebody(void **state)
{
    (void)state;
    char org[ID], claims[TEXT], session[64], actor[256];
    person ghost = eve;
    buf_init(&ghost.ticket, 1024);
    assert_int_equal(ask(&olga, "admin_impersonate",
                         "{\"id\":\"%s\",\"reason\":\"x\",\"network\":\"192.0.2.9\"}", eve.id),
                     SV_E_ROLE);
    assert_int_equal(ask(NULL, "admin_impersonate",
                         "{\"id\":\"%s\",\"reason\":\"x\",\"network\":\"192.0.2.9\"}", eve.id),
                     SV_E_DENIED);
    assert_int_equal(ask(&root, "admin_impersonate",
                         "{\"id\":\"%s\",\"reason\":\"\",\"network\":\"192.0.2.9\"}", eve.id),
                     SV_E_INVALID);
    assert_int_equal(ask(&root, "admin_impersonate",
                         "{\"id\":\"%s\",\"reason\":\"she asked\",\"network\":\"192.0.2.9\"}",
                         eve.id),
                     0);
    assert_string_equal(text_at("refresh_token"), "");
    assert_string_equal(text_at("claims.impersonator"), root.id);
    assert_string_equal(text_at("claims.user"), eve.id);
    snprintf(session, sizeof session, "session/%s", text_at("session"));
    payload(text_at("access_token"), claims);
    snprintf(actor, sizeof actor, "\"act\":{\"sub\":\"%s\"}", root.id);
    assert_non_null(strstr(claims, actor));
    /* as the edge turns it into a ticket; even a platform role in it helps nobody */
    sign(&ghost, eve.org, "platform_admin", "", session, root.id);
    assert_int_equal(ask(&ghost, "admin_users", "{}"), SV_E_DENIED);
    assert_int_equal(ask(&ghost, "change_password",
                         "{\"password\":\"seven calm otters\",\"new_password\":\"nine calm "
                         "otters\",\"network\":\"192.0.2.9\"}"),
                     SV_E_DENIED);
    assert_int_equal(ask(&ghost, "key_new", "{\"name\":\"x\"}"), SV_E_DENIED);
    assert_int_equal(ask(&ghost, "me", "{}"), 0);
    make_org(&ghost, org);
    assert_int_equal(ask(NULL, "audit", "{\"chain\":\"%s\"}", org), 0);
    snprintf(actor, sizeof actor, "\"%s as %s\"", root.id, eve.id + UUID_TEXT - 22);
    assert_true(says(actor));
    assert_int_equal(ask(NULL, "audit", "{\"chain\":\"%s\",\"actor\":\"%s\"}", org, root.id), 0);
    assert_true(says("org.made"));
    assert_int_equal(ask(NULL, "audit", "{\"chain\":\"%s\",\"actor\":\"%s\"}", org, eve.id), 0);
    assert_null(strstr(answer, "org.made"));
    assert_int_equal(ask(NULL, "audit", "{\"chain\":\"%s\"}", eve.org), 0);
    assert_true(says("user.impersonated") && says("she asked") && says("192.0.2.9"));
    assert_int_equal(ask(NULL, "audit", "{}"), 0);
    assert_true(says("user.impersonated") && says("she asked"));
    buf_free(&ghost.ticket);
}

/* Killed before, in the middle of and behind the write: one member comes of one invitation. */
static void killed_while_accepting(void **state)
{
    (void)state;
    enum { ROUNDS = 6 };
    char org[ID], token[TEXT], json[TEXT + 64];
    make_org(&olga, org);
    for (int i = 0; i < ROUNDS; i++) {
        kit_call k;
        struct timespec pause = {0, i * 1500000L};
        invite(&olga, org, "", token);
        snprintf(json, sizeof json, "{\"token\":\"%s\"}", token);
        begin(&k, &max.ticket, "invitation_accept", json);
        sv_tool_wait(kit_me, kit_is_done, &k, (uint32_t)i);
        nanosleep(&pause, NULL); /* where the kill falls, not a wait for something */
        kit_kill(auth_pid);
        start_auth();
        bool told = finish(&k) == 0;
        wait_for_auth();
        bool in = ask(&max, "org", "{\"id\":\"%s\"}", org) == 0;
        assert_true(in || !told); /* what was answered has happened */
        assert_int_equal(accept_it(&max, token), in ? SV_E_LINK : 0);
        assert_int_equal(accept_it(&eve, token), SV_E_LINK);
        assert_int_equal(ask(&olga, "org", "{\"id\":\"%s\"}", org), 0);
        assert_string_equal(text_at("org.members"), "2");
        assert_int_equal(
            ask(&olga, "member_remove", "{\"id\":\"%s\",\"user\":\"%s\"}", org, max.id), 0);
    }
    assert_int_equal(ask(NULL, "audit_verify", "{}"), 0);
    assert_string_equal(text_at("broken"), ""); /* none */
}

/* What a deletion leaves behind goes on after a kill. */
static void killed_while_deleting(void **state)
{
    (void)state;
    char org[ID], token[TEXT], json[128];
    kit_call k;
    make_org(&olga, org);
    invite(&olga, org, max.email, token);
    assert_int_equal(accept_it(&max, token), 0);
    snprintf(json, sizeof json, "{\"id\":\"%s\"}", org);
    begin(&k, &olga.ticket, "org_delete", json);
    sv_tool_wait(kit_me, kit_is_done, &k, 5);
    kit_kill(auth_pid);
    start_auth();
    bool told = finish(&k) == 0;
    wait_for_auth();
    int rc = ask(&max, "org", "%s", json);
    assert_true(rc == 0 ? !told : rc == SV_E_NOT_FOUND);
    if (rc == 0) assert_int_equal(ask(&olga, "org_delete", "%s", json), 0);
    assert_int_equal(ask(&olga, "org", "%s", json), SV_E_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_calls),
        cmocka_unit_test(members_and_roles),
        cmocka_unit_test(switching),
        cmocka_unit_test(administration),
        cmocka_unit_test(acting_as_somebody),
        cmocka_unit_test(killed_while_accepting),
        cmocka_unit_test(killed_while_deleting),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
