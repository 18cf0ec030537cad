/*  orgs.c - methods about organizations and their members, for whom the ticket names. */
#include "orgs.h"

#include "auth.h"
#include "error.h"
#include "live.h"
#include "org_store.h"
#include "uuid.h"

#include <stdio.h>

/* ---- what callers write ---- */

/* The answer stays what it was, also when the event cannot be written. */
static int note_refusal(sv_call *call, const org_act *act, int rc)
{
    sv_error said = *sv_call_error(call);
    org_act *event = rc == SV_E_ROLE ? arena_alloc(sv_call_arena(call), sizeof *event) : NULL;
    if (event == NULL) return rc;
    *event = *act;
    snprintf(event->name, sizeof event->name, "%.*s", SV_FMT(sv_call_method(call)));
    auth_write(call, org_denied, event, NULL);
    *sv_call_error(call) = said;
    return rc;
}

int orgs_write(sv_call *call, store_fn *fn, const org_act *act, void *out)
{
    return note_refusal(call, act, auth_write(call, fn, act, out));
}

int orgs_read(sv_call *call, store_fn *fn, const org_act *act, void *out)
{
    return note_refusal(call, act, store_read(call, fn, act, out));
}

/* Of an organization, which has one. */
static int check_name(sv_call *call, sv_str name)
{
    uint32_t blanks = 0;
    while (blanks < name.n && name.p[blanks] == ' ')
        blanks++;
    if (blanks < name.n) return name_check(name, sv_call_error(call));
    return sv_fail(sv_call_error(call), SV_E_INVALID, "name", "An organization needs a name.");
}

static void put(sv_str from, char *to, size_t size)
{
    snprintf(to, size, "%.*s", SV_FMT(from));
}

/* An act of the caller on the organization `id`. Texts are as long as their fields may be. */
static int act_of(sv_call *call, sv_str id, org_act **ret)
{
    const auth *a = sv_process_state(sv_call_process(call));
    org_act *q = arena_alloc(sv_call_arena(call), sizeof *q);
    if (q == NULL) return SV_E_NO_MEMORY;
    q->owned_most = a->orgs.owned_most;
    put(id, q->org, sizeof q->org);
    *ret = q;
    return auth_caller_user(call, &q->who);
}

/* What an API key cannot do: it works in its own organization only. */
static int by_session(sv_call *call, const org_act *q)
{
    if (q->who.key[0] == 0) return 0;
    return sv_fail(sv_call_error(call), SV_E_DENIED, NULL,
                   "An API key works in its own organization only: log in for this.");
}

static int role_named(sv_call *call, sv_str name, member_role *ret)
{
    *ret = role_of(name);
    if (*ret != ROLE_NONE) return 0;
    return sv_fail(sv_call_error(call), SV_E_INVALID, "role",
                   "The role must be owner, admin, member or viewer.");
}

static void tell(sv_call *call, const char *org, const char *user, const char *type)
{
    char json[128];
    snprintf(json, sizeof json, "{\"org\":\"%s\",\"user\":\"%s\"}", org, user);
    live_tell(sv_process_state(sv_call_process(call)), org, NULL, type, json);
}

/* ---- organizations ---- */

int auth_orgs_list(sv_call *call, const void *request)
{
    const auth_page_req *q = request;
    org_act *act;
    org_page page;
    int rc = act_of(call, (sv_str){NULL, 0}, &act);
    if (rc) return rc;
    put(q->after, act->after, AUTH_ID + 1);
    rc = orgs_read(call, org_some, act, &page);
    if (rc) return rc;
    return sv_reply(call, &(auth_orgs_reply){.orgs = {page.items, page.n}, .next = page.next});
}

static int answer_org(sv_call *call, int rc, auth_org *org)
{
    return rc ? rc : sv_reply(call, &(auth_org_reply){.org = org});
}

int auth_org_new(sv_call *call, const void *request)
{
    const auth_org_new_req *q = request;
    org_act *act;
    auth_org org;
    sv_id id = uuid_new();
    int rc = act_of(call, (sv_str){NULL, 0}, &act);
    if (rc == 0) rc = by_session(call, act);
    if (rc == 0) rc = check_name(call, q->name);
    if (rc) return rc;
    put(q->name, act->name, sizeof act->name);
    uuid_format(&id, act->fresh);
    return answer_org(call, orgs_write(call, org_make, act, &org), &org);
}

int auth_org_one(sv_call *call, const void *request)
{
    const auth_org_req *q = request;
    org_act *act;
    auth_org org;
    int rc = act_of(call, q->id, &act);
    if (rc == 0) rc = orgs_read(call, org_look, act, &org);
    return answer_org(call, rc, &org);
}

static int prompts_named(sv_call *call, sv_str word, org_act *act)
{
    if (word.p == NULL) return 0;
    act->log_prompts = sv_str_is(word, "on") ? ORG_PROMPTS_ON : ORG_PROMPTS_OFF;
    if (act->log_prompts == ORG_PROMPTS_ON || sv_str_is(word, "off")) return 0;
    return sv_fail(sv_call_error(call), SV_E_INVALID, "log_prompts", "It must be on or off.");
}

int auth_org_change(sv_call *call, const void *request)
{
    const auth_org_change_req *q = request;
    org_act *act;
    auth_org org;
    int rc = act_of(call, q->id, &act);
    if (rc == 0 && q->name.p) rc = check_name(call, q->name);
    if (rc == 0) rc = prompts_named(call, q->log_prompts, act);
    if (rc) return rc;
    put(q->name, act->name, sizeof act->name);
    return answer_org(call, orgs_write(call, org_change, act, &org), &org);
}

int auth_org_delete(sv_call *call, const void *request)
{
    const auth_org_req *q = request;
    auth *a = sv_process_state(sv_call_process(call));
    org_act *act;
    bool done = false;
    int rc = act_of(call, q->id, &act);
    if (rc == 0) rc = orgs_write(call, org_end, act, NULL);
    if (rc) return rc;
    tell(call, act->org, act->who.user, "org.deleted");
    while (rc == 0 && !done)
        rc = auth_write(call, org_end_piece, act->org, &done);
    /* For its members it has ended already: what is left, the tick takes away. */
    if (rc) a->orgs.left = true;
    *sv_call_error(call) = (sv_error){.code = 0};
    return sv_reply(call, &(bus_empty){});
}

static void piece_done(void *arg, int code, const sv_error *err)
{
    auth *a = arg;
    (void)err; /* the next tick tries again */
    a->orgs.writing = false;
    if (code) return;
    a->orgs.left = !a->orgs.done;
    revocations_look(a);
}

void orgs_tick(auth *a)
{
    if (a->orgs.writing || !a->orgs.left) return;
    a->orgs.writing = sv_store_write(a->process, "auth.org_delete", org_end_piece, "",
                                     &a->orgs.done, piece_done, a) == 0;
}

int auth_org_switch(sv_call *call, const void *request)
{
    const auth_switch_req *q = request;
    const auth *a = sv_process_state(sv_call_process(call));
    org_act *act;
    auth_login_result *result = arena_alloc(sv_call_arena(call), sizeof *result);
    if (result == NULL) return SV_E_NO_MEMORY;
    int rc = auth_keys_ready(a, sv_call_error(call));
    if (rc == 0) rc = act_of(call, q->id, &act);
    if (rc == 0) rc = by_session(call, act);
    if (rc) return rc;
    put(q->session, act->session, sizeof act->session);
    if (act->who.session[0] && strcmp(act->who.session, act->session) != 0)
        return sv_fail(sv_call_error(call), SV_E_INVALID, "session",
                       "This is not the session of the ticket.");
    rc = orgs_write(call, org_change_session, act, result);
    return rc ? rc : auth_reply_session(call, result, "");
}

/* ---- members ---- */

int auth_members_list(sv_call *call, const void *request)
{
    const auth_members_req *q = request;
    org_act *act;
    member_page page;
    int rc = act_of(call, q->id, &act);
    if (rc) return rc;
    put(q->after, act->after, AUTH_ID + 1);
    rc = orgs_read(call, member_some, act, &page);
    if (rc) return rc;
    return sv_reply(call,
                    &(auth_members_reply){.members = {page.items, page.n}, .next = page.next});
}

int auth_member_change(sv_call *call, const void *request)
{
    const auth_member_change_req *q = request;
    org_act *act;
    auth_member member;
    int rc = act_of(call, q->id, &act);
    if (rc == 0) rc = role_named(call, q->role, &act->role);
    if (rc) return rc;
    put(q->user, act->user, sizeof act->user);
    rc = orgs_write(call, member_set_role, act, &member);
    if (rc) return rc;
    tell(call, act->org, act->user, "member.changed");
    return sv_reply(call, &(auth_member_reply){.member = &member});
}

int auth_org_transfer(sv_call *call, const void *request)
{
    const auth_member_req *q = request;
    org_act *act;
    auth_org org;
    int rc = act_of(call, q->id, &act);
    if (rc == 0) rc = by_session(call, act);
    if (rc) return rc;
    put(q->user, act->user, sizeof act->user);
    rc = orgs_write(call, member_transfer, act, &org);
    if (rc) return rc;
    tell(call, act->org, act->user, "member.changed");
    return sv_reply(call, &(auth_org_reply){.org = &org});
}

static int end_membership(sv_call *call, org_act *act)
{
    int rc = orgs_write(call, member_remove, act, NULL);
    if (rc) return rc;
    tell(call, act->org, act->user, "member.removed");
    return sv_reply(call, &(bus_empty){});
}

int auth_member_remove(sv_call *call, const void *request)
{
    const auth_member_req *q = request;
    org_act *act;
    int rc = act_of(call, q->id, &act);
    if (rc) return rc;
    put(q->user, act->user, sizeof act->user);
    return end_membership(call, act);
}

int auth_org_leave(sv_call *call, const void *request)
{
    const auth_org_req *q = request;
    org_act *act;
    int rc = act_of(call, q->id, &act);
    if (rc) return rc;
    memcpy(act->user, act->who.user, sizeof act->user);
    return end_membership(call, act);
}
