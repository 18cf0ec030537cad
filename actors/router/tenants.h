/*  tenants.h - providers with keys that users and organizations brought: the router's copy.
 *
 *  Auth keeps each key as a blob sealed to the routers' key pair, which every router derives from the
 *  root key, and tells of changes by the feed (kind provider). Here the blobs are opened. What is inside
 *  must say the same row, organization, user and address as the row does: a blob that was moved, or a
 *  row whose address was changed, is refused and shows so in its state.
 *
 *  A provider that is changed or gone is replaced at once; calls under way end with the former one,
 *  whose references they hold.
 *
 *  Thread: the loop's.   Ownership: lists of providers hold one reference each; tenants_wait is the
 *  caller's until fn or tenants_wait_cancel.
 *  Limits: router.own_providers; TENANT_OWN of one owner; TENANTS_WAIT_MS until the first copy is
 *  complete.   Errors: SV_E_STORE_KEY, SV_E_UNAVAILABLE, SV_E_NO_MEMORY. */
#ifndef ROUTER_TENANTS_H
#define ROUTER_TENANTS_H

#include "catalog.h"
#include "feed.h"
#include "name_table.h"
#include "seal_box.h"

enum { TENANT_OWN = 16, TENANTS_WAIT_MS = 5000, TENANT_BLOB = 8192 };

typedef struct tenants tenants;

typedef struct tenants_spec {
    loop *loop;
    catalog *catalog;
    box_pair *pair; /* taken on success; NULL: nothing can be opened */
    http_trust trust;
    uint32_t most;
} tenants_spec;

int tenants_new(const tenants_spec *s, tenants **ret, sv_error *err);
/* Nobody may wait. NULL does nothing. */
void tenants_free(tenants *t);
/* To be added to the feed. */
feed_consumer tenants_consumer(tenants *t);

/* Up to 2 * TENANT_OWN providers: the user's own in front of the organization's, without those that a
 * name of his own hides. Not referenced. */
size_t tenants_of(tenants *t, sv_str org, sv_str user, provider **list);
/* NULL: there is none by this id, or it is not used. */
provider *tenants_find(const tenants *t, sv_str id);
/* What is known here of the row, in fields that auth leaves empty; borrowed until the next turn. */
void tenants_look(const tenants *t, auth_provider *p);

/* Is all of it known? It stays so while the copy is read anew. */
bool tenants_ready(const tenants *t);
typedef struct tenants_wait {
    void (*fn)(void *arg, bool ready);
    void *arg;
    ring_link link;
    uint64_t until_us;
} tenants_wait;
void tenants_wait_for(tenants *t, tenants_wait *w);
void tenants_wait_cancel(tenants_wait *w);

/* Appends the sealed form. */
int tenants_seal(const tenants *t, const tenant_secret *s, buf *out);

#endif
