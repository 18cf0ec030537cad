/*  providers.h - providers that users and organizations bring with keys of their own.
 *
 *  A key is a blob that routers sealed to their key pair: nothing here opens one, compares one or
 *  shows one to anybody but routers. What a blob is for (row, organization, user, address) is written
 *  inside of it, so that a changed row does not open: therefore kind and address of a row stay, and a
 *  new key comes with a new blob. Administrators of an organization bring its providers, members their
 *  own; nobody sees those of other members. Routers get them by the feed (feed.h, kind provider).
 *
 *  Thread: store_fns, and fibers of the loop.   Limits: PROVIDERS_MOST of one organization's own, and
 *  of each member's.   Errors: SV_E_NOT_FOUND, SV_E_ROLE, SV_E_INVALID, SV_E_CONFLICT, SV_E_QUOTA,
 *  those of the store. */
#ifndef AUTH_PROVIDERS_H
#define AUTH_PROVIDERS_H

#include "caller.h"

enum { PROVIDERS_MOST = 16 };

extern const sv_message provider_row_msg;
extern const store_table auth_providers_table;

typedef struct provider_act {
    auth_caller who;
    const auth_provider_put_req *put;
    char org[AUTH_ID + 1]; /* of a list */
    sv_str after;          /* of a list: USER/NAME of the last one of the page before */
    char id[AUTH_ID + 1];
} provider_act;

/* Writes. in: provider_act, out: auth_provider. */
int provider_put(store_tx *tx, const void *in, void *out);
int provider_remove(store_tx *tx, const void *in, void *out);
/* Reads. out: auth_provider; auth_providers_reply. */
int provider_one(store_tx *tx, const void *in, void *out);
int provider_some(store_tx *tx, const void *in, void *out);

/* In a write: those of a member who leaves; `user` {NULL, 0}: all of the organization.
 * `left` (NULL: all): at most so many, and what is left of that number. */
int providers_drop(store_tx *tx, sv_str org, sv_str user, uint32_t *left);

sv_handler auth_provider_one, auth_providers_list, auth_provider_put_one, auth_provider_delete;

#endif
