/*  orgs.h - methods about organizations, members, invitations and the platform's administration.
 *  Thread: fibers of the loop.   Errors: those of caller.h, org_store.h and admin_store.h. */
#ifndef AUTH_ORGS_H
#define AUTH_ORGS_H

#include "samovar.h"

typedef struct auth auth;

/* orgs.c */
sv_handler auth_orgs_list, auth_org_new, auth_org_one, auth_org_change, auth_org_delete,
    auth_org_switch, auth_org_leave, auth_org_transfer, auth_members_list, auth_member_change,
    auth_member_remove;
/* invite.c */
sv_handler auth_invite, auth_invitations_list, auth_invitation_drop, auth_invitation_look,
    auth_invitation_accept;
/* admin.c */
sv_handler auth_admin_users, auth_admin_user, auth_admin_user_change, auth_admin_reset_2fa,
    auth_admin_impersonate, auth_admin_orgs, auth_admin_org_change, auth_org_list, auth_user_reset;

/* To an environment that no process has open. */
int auth_org_list_answer(sv_offline *o, const void *request, void *reply);

typedef struct org_act org_act;
/* auth_write and store_read of an act; a refusal for the caller's role becomes an event. */
int orgs_write(sv_call *call, store_fn *fn, const org_act *act, void *out);
int orgs_read(sv_call *call, store_fn *fn, const org_act *act, void *out);

/* Goes on with the deletion of organizations that was interrupted; by the tick. */
void orgs_tick(auth *a);

#endif
