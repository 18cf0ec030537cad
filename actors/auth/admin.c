/*  admin.c - methods of the platform's administrators and of its operator. */
#include "admin_store.h"
#include "attempt.h"
#include "error.h"
#include "orgs.h"

#include <stdio.h>

static void put(sv_str from, char *to, size_t size)
{
    snprintf(to, size, "%.*s", SV_FMT(from));
}

static int answer_user(sv_call *call, int rc, const auth_user *user)
{
    if (rc) return rc;
    auth_user_info info = auth_user_show(user);
    return sv_reply(call, &(auth_user_reply){.user = &info});
}

/* ---- users ---- */

typedef struct user_search {
    admin_search q;
    admin_user_page page;
    auth_user_info infos[AUTH_PAGE];
} user_search;

int auth_admin_users(sv_call *call, const void *request)
{
    const auth_admin_users_req *q = request;
    auth_caller who;
    user_search *s = arena_alloc(sv_call_arena(call), sizeof *s);
    if (s == NULL) return SV_E_NO_MEMORY;
    int rc = auth_caller_admin(call, &who);
    put(q->q, s->q.part, sizeof s->q.part);
    put(q->after, s->q.after, sizeof s->q.after);
    if (rc == 0) rc = store_read(call, admin_users_some, &s->q, &s->page);
    if (rc) return rc;
    uint32_t n = s->page.found.n;
    for (uint32_t i = 0; i < n; i++)
        s->infos[i] = auth_user_show(&s->page.found.users[i]);
    return sv_reply(call, &(auth_user_list_reply){.users = {s->infos, n},
                                                  .next = s->page.next[0] ? sv_cstr(s->page.next)
                                                                          : (sv_str){NULL, 0}});
}

int auth_admin_user(sv_call *call, const void *request)
{
    const auth_admin_user_req *q = request;
    auth_caller caller;
    auth_who who = {.id = ""};
    auth_me_result me;
    int rc = auth_caller_admin(call, &caller);
    put(q->id, who.id, sizeof who.id);
    if (rc == 0) rc = store_read(call, auth_me_read, &who, &me);
    if (rc == SV_E_NOT_FOUND) {
        *sv_call_error(call) = (sv_error){.code = 0};
        return sv_fail(sv_call_error(call), rc, "id", "There is no such user.");
    }
    if (rc) return rc;
    auth_user_info info = auth_user_show(&me.user);
    return sv_reply(call, &(auth_me_reply){.user = &info, .orgs = {me.orgs, me.n}});
}

/* One of two words; absent: *ret_set is false. */
static int choose(sv_call *call, sv_str word, const char *field, const char *off, const char *on,
                  bool *ret_set, bool *ret)
{
    *ret_set = word.p != NULL;
    *ret = *ret_set && sv_str_is(word, on);
    if (!*ret_set || *ret || sv_str_is(word, off)) return 0;
    return sv_fail(sv_call_error(call), SV_E_INVALID, field, "%s must be %s or %s.", field, off,
                   on);
}

int auth_admin_user_change(sv_call *call, const void *request)
{
    const auth_admin_change_req *q = request;
    admin_change c = {.tier = NULL};
    char tier[TIER_BYTES];
    auth_user user;
    int rc = auth_caller_admin(call, &c.who);
    if (rc == 0)
        rc = choose(call, q->status, "status", "active", "disabled", &c.set_disabled, &c.disabled);
    if (rc == 0)
        rc = choose(call, q->role, "role", "user", "platform_admin", &c.set_admin, &c.admin);
    if (rc) return rc;
    put(q->id, c.id, sizeof c.id);
    put(q->tier, tier, sizeof tier);
    if (q->tier.p && (tier[0] == 0 || tier_rank(sv_cstr(tier)) == 0))
        return sv_fail(sv_call_error(call), SV_E_INVALID, "tier",
                       "tier must be free, premium or own.");
    if (q->tier.p) c.tier = tier;
    return answer_user(call, auth_write(call, admin_change_user, &c, &user), &user);
}

int auth_admin_reset_2fa(sv_call *call, const void *request)
{
    const auth_admin_user_req *q = request;
    admin_change c = {.tier = NULL};
    auth_user user;
    int rc = auth_caller_admin(call, &c.who);
    put(q->id, c.id, sizeof c.id);
    if (rc == 0) rc = auth_write(call, admin_drop_factor, &c, &user);
    return answer_user(call, rc, &user);
}

/* A new password, the second factor taken away, or both; for the operator. */
int auth_user_reset(sv_call *call, const void *request)
{
    const auth_user_reset_req *q = request;
    const auth *a = sv_process_state(sv_call_process(call));
    sv_error *err = sv_call_error(call);
    admin_reset r = {.drop_factor = q->two_factor, .actor = sv_call_caller(call)};
    auth_work w = {.next = q->password, .memory_bytes = a->memory_bytes};
    auth_user user;
    int rc = auth_operator_only(call);
    if (rc == 0) rc = email_normalise(q->email, r.email, err);
    if (rc == 0 && q->password.p == NULL && !q->two_factor)
        rc = sv_fail(err, SV_E_INVALID, "password",
                     "Give a new password, or say that the second factor goes, or both.");
    if (rc == 0 && q->password.p) {
        const sv_str words[] = {sv_cstr(r.email), sv_cstr("samovar")};
        rc = password_check(q->password, words, 2, err);
        if (rc == 0) rc = auth_work_do(call, &w);
        memcpy(r.hash, w.new_hash, sizeof r.hash);
    }
    if (rc == 0) rc = auth_write(call, admin_reset_user, &r, &user);
    return answer_user(call, rc, &user);
}

/* ---- acting as somebody else ---- */

int auth_admin_impersonate(sv_call *call, const void *request)
{
    const auth_impersonate_req *q = request;
    const auth *a = sv_process_state(sv_call_process(call));
    sv_error *err = sv_call_error(call);
    auth_login_result *result = arena_alloc(sv_call_arena(call), sizeof *result);
    admin_act_as *act = arena_alloc(sv_call_arena(call), sizeof *act);
    if (result == NULL || act == NULL) return SV_E_NO_MEMORY;
    int rc = auth_keys_ready(a, err);
    if (rc == 0) rc = auth_caller_admin(call, &act->who);
    if (rc == 0 && (act->who.operator|| act->who.key[0]))
        rc = sv_fail(err, SV_E_DENIED, NULL,
                     "An administrator does this from a session of his own.");
    if (rc == 0) rc = network_normalise(q->network, act->network, err);
    if (rc == 0 && q->reason.n == 0)
        rc = sv_fail(err, SV_E_INVALID, "reason", "Say why: it goes into the audit log.");
    if (rc) return rc;
    put(q->id, act->id, sizeof act->id);
    put(q->reason, act->reason, sizeof act->reason);
    auth_new_id(act->session);
    rc = auth_write(call, admin_impersonate, act, result);
    return rc ? rc : auth_reply_session(call, result, "");
}

/* ---- organizations ---- */

static int find_orgs(sv_call *call, sv_str part, sv_str after)
{
    admin_search q = {.part = ""};
    org_page page;
    put(part, q.part, sizeof q.part);
    put(after, q.after, AUTH_ID + 1);
    int rc = store_read(call, admin_orgs_some, &q, &page);
    if (rc) return rc;
    return sv_reply(call, &(auth_orgs_reply){.orgs = {page.items, page.n}, .next = page.next});
}

int auth_admin_orgs(sv_call *call, const void *request)
{
    const auth_admin_users_req *q = request;
    auth_caller who;
    int rc = auth_caller_admin(call, &who);
    return rc ? rc : find_orgs(call, q->q, q->after);
}

int auth_org_list(sv_call *call, const void *request)
{
    const auth_page_req *q = request;
    int rc = auth_operator_only(call);
    return rc ? rc : find_orgs(call, (sv_str){NULL, 0}, q->after);
}

int auth_org_list_answer(sv_offline *o, const void *request, void *reply)
{
    const auth_page_req *q = request;
    admin_search search = {.part = ""};
    org_page page = {.n = 0};
    put(q->after, search.after, AUTH_ID + 1);
    store_op op = {
        .fn = admin_orgs_some, .in = &search, .out = &page, .arena = o->arena, .owner = "offline"};
    int rc = store_view(o->store, &op);
    if (rc) *o->err = op.error;
    *(auth_orgs_reply *)reply = (auth_orgs_reply){.orgs = {page.items, page.n}, .next = page.next};
    return rc;
}

int auth_admin_org_change(sv_call *call, const void *request)
{
    const auth_admin_org_change_req *q = request;
    admin_org_tier c = {.tier = NULL};
    char tier[TIER_BYTES];
    auth_org org;
    int rc = auth_caller_admin(call, &c.who);
    if (rc) return rc;
    put(q->id, c.id, sizeof c.id);
    put(q->tier, tier, sizeof tier);
    c.tier = tier;
    rc = auth_write(call, admin_set_org_tier, &c, &org);
    return rc ? rc : sv_reply(call, &(auth_org_reply){.org = &org});
}
