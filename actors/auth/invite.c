/*  invite.c - methods about invitations. The token is made here and shown once; the mail with it is
 *  kept in the same write as the invitation. */
#include "orgs.h"

#include "auth.h"
#include "error.h"
#include "live.h"
#include "org_store.h"
#include "outbox.h"
#include "seal.h"
#include "uuid.h"

#include <stdio.h>

enum { LINK_BYTES = 512, HOUR_MS = 3600 * 1000 };

static int act_of(sv_call *call, sv_str id, org_act **ret)
{
    org_act *q = arena_alloc(sv_call_arena(call), sizeof *q);
    if (q == NULL) return SV_E_NO_MEMORY;
    snprintf(q->org, sizeof q->org, "%.*s", SV_FMT(id));
    *ret = q;
    return auth_caller_user(call, &q->who);
}

static int read_request(sv_call *call, const auth_invite_req *q, org_act *act)
{
    sv_error *err = sv_call_error(call);
    act->life_ms = q->hours * HOUR_MS;
    act->role = q->role.n ? role_of(q->role) : ROLE_MEMBER;
    if (act->role == ROLE_NONE || act->role == ROLE_OWNER)
        return sv_fail(err, SV_E_INVALID, "role", "The role must be admin, member or viewer.");
    return q->email.n ? email_normalise(q->email, act->email, err) : 0;
}

int auth_invite(sv_call *call, const void *request)
{
    const auth_invite_req *q = request;
    const auth *a = sv_process_state(sv_call_process(call));
    char token[WORDS_TOKEN + 1], *link = arena_alloc(sv_call_arena(call), LINK_BYTES + 1);
    sv_id id = uuid_new();
    auth_invitation made;
    org_act *act;
    if (link == NULL) return SV_E_NO_MEMORY;
    int rc = act_of(call, q->id, &act);
    if (rc == 0) rc = read_request(call, q, act);
    if (rc) return rc;
    uuid_format(&id, act->fresh);
    token_new("svi_", token);
    token_hash(sv_cstr(token), act->hash);
    act->link = link;
    rc = outbox_link(a, "invitation", token, link, LINK_BYTES + 1, sv_call_error(call));
    if (rc == 0) rc = orgs_write(call, invitation_make, act, &made);
    if (rc == 0)
        rc = sv_reply(call, &(auth_invite_reply){.invitation = &made, .link = sv_cstr(link)});
    seal_wipe(token, sizeof token);
    seal_wipe(link, LINK_BYTES + 1);
    return rc;
}

int auth_invitations_list(sv_call *call, const void *request)
{
    const auth_members_req *q = request;
    org_act *act;
    invitation_page page;
    int rc = act_of(call, q->id, &act);
    if (rc) return rc;
    snprintf(act->after, AUTH_ID + 1, "%.*s", SV_FMT(q->after));
    rc = orgs_read(call, invitation_some, act, &page);
    if (rc) return rc;
    return sv_reply(
        call, &(auth_invitations_reply){.invitations = {page.items, page.n}, .next = page.next});
}

int auth_invitation_drop(sv_call *call, const void *request)
{
    const auth_invitation_req *q = request;
    org_act *act;
    int rc = act_of(call, q->id, &act);
    if (rc) return rc;
    snprintf(act->fresh, sizeof act->fresh, "%.*s", SV_FMT(q->invitation));
    rc = orgs_write(call, invitation_end, act, NULL);
    return rc ? rc : sv_reply(call, &(bus_empty){});
}

int auth_invitation_look(sv_call *call, const void *request)
{
    const auth_invitation_token_req *q = request;
    auth_invitation found;
    org_act *act = arena_alloc(sv_call_arena(call), sizeof *act);
    if (act == NULL) return SV_E_NO_MEMORY;
    token_hash(q->token, act->hash);
    int rc = store_read(call, invitation_by_token, act, &found);
    return rc ? rc : sv_reply(call, &(auth_invitation_reply){.invitation = &found});
}

int auth_invitation_accept(sv_call *call, const void *request)
{
    const auth_invitation_token_req *q = request;
    auth *a = sv_process_state(sv_call_process(call));
    auth_org org;
    org_act *act;
    int rc = act_of(call, (sv_str){NULL, 0}, &act);
    if (rc) return rc;
    if (act->who.key[0])
        return sv_fail(sv_call_error(call), SV_E_DENIED, NULL,
                       "An API key works in its own organization only: log in for this.");
    token_hash(q->token, act->hash);
    if ((rc = orgs_write(call, invitation_take, act, &org))) return rc;
    char id[AUTH_ID + 1];
    snprintf(id, sizeof id, "%.*s", SV_FMT(org.id));
    live_tell(a, id, NULL, "member.added", NULL);
    return sv_reply(call, &(auth_org_reply){.org = &org});
}
