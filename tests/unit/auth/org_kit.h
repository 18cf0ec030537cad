/*  org_kit.h - organizations in a few words, on top of auth_kit.h. Users have no password here. */
#ifndef ORG_KIT_H
#define ORG_KIT_H

#include "admin_store.h"
#include "revocations.h"

/* A user with a confirmed address. */
static inline void kit_someone(const char *email, auth_user *ret)
{
    auth_user_new n = {.user = {.verified = true, .hash = "none"}, .actor = "operator"};
    snprintf(n.user.email, sizeof n.user.email, "%s", email);
    kit_id(n.user.id);
    kit_id(n.user.org);
    if (kit_write(auth_user_insert, &n, ret)) abort();
}

static inline org_act kit_act(const auth_user *u, const char *org)
{
    org_act q = {.owned_most = 1000};
    snprintf(q.who.user, sizeof q.who.user, "%.36s", u->id);
    snprintf(q.who.actor, sizeof q.who.actor, "%.36s", u->id);
    snprintf(q.org, sizeof q.org, "%s", org);
    return q;
}

static inline void kit_org(const auth_user *owner, char org[AUTH_ID + 1])
{
    org_act q = kit_act(owner, "");
    auth_org made;
    kit_id(q.fresh);
    snprintf(q.name, sizeof q.name, "Acme");
    if (kit_write(org_make, &q, &made)) abort();
    memcpy(org, q.fresh, AUTH_ID + 1);
}

static inline int kit_add_member(store_tx *tx, const void *in, void *out)
{
    const org_act *q = in;
    (void)out;
    return member_add(tx, sv_cstr(q->org), sv_cstr(q->user), q->role);
}

static inline void kit_join(const char *org, const auth_user *u, member_role role)
{
    org_act q = kit_act(u, org);
    memcpy(q.user, u->id, sizeof q.user);
    q.role = role;
    if (kit_write(kit_add_member, &q, NULL)) abort();
}

static inline int kit_drop_member(store_tx *tx, const void *in, void *out)
{
    const org_act *q = in;
    (void)out;
    return member_drop(tx, sv_cstr(q->org), sv_cstr(q->user));
}

static inline int kit_leave(const char *org, const char *user)
{
    org_act q = {.owned_most = 0};
    snprintf(q.org, sizeof q.org, "%s", org);
    snprintf(q.user, sizeof q.user, "%s", user);
    return kit_write(kit_drop_member, &q, NULL);
}

static inline int kit_put_member(store_tx *tx, const void *in, void *out)
{
    const org_act *q = in;
    (void)out;
    member_row m = {.org = sv_cstr(q->org),
                    .user = sv_cstr(q->user),
                    .role = sv_cstr(role_name(q->role)),
                    .since = store_now_ms(tx)};
    return store_put(tx, &auth_members, &m);
}

/* Whatever he was before. */
static inline void kit_join_again(const char *org, const auth_user *u, member_role role)
{
    org_act q = kit_act(u, org);
    memcpy(q.user, u->id, sizeof q.user);
    q.role = role;
    if (kit_write(kit_put_member, &q, NULL)) abort();
}

static inline int kit_read_role(store_tx *tx, const void *in, void *out)
{
    const org_act *q = in;
    return member_read(tx, sv_cstr(q->org), sv_cstr(q->who.user), out);
}

static inline member_role kit_role(const char *org, const auth_user *u)
{
    org_act q = kit_act(u, org);
    member_role role;
    arena a;
    arena_init(&a, 1 << 20);
    if (kit_read(kit_read_role, &q, &role, &a)) abort();
    arena_free(&a);
    return role;
}

/* All pieces of a deletion. */
static inline void kit_end(const char *org)
{
    bool done = false;
    while (!done)
        if (kit_write(org_end_piece, org, &done)) abort();
}

static inline int kit_mark_deleted(store_tx *tx, const void *in, void *out)
{
    (void)out;
    org_row row = {.id = sv_cstr(in)};
    int rc = store_get(tx, &auth_orgs, &row);
    row.deleted = store_now_ms(tx);
    return rc == SV_E_NOT_FOUND ? 0 : rc ? rc : store_put(tx, &auth_orgs, &row);
}

static inline void kit_forget_org(const char *org)
{
    if (kit_write(kit_mark_deleted, org, NULL)) abort();
    kit_end(org);
}

/* As the act's role; `fresh` and the token's hash are made here. */
static inline int kit_invite(org_act *q, const char *email, uint8_t ret_hash[WORDS_HASH])
{
    char token[WORDS_TOKEN + 1];
    auth_invitation made;
    kit_id(q->fresh);
    token_new("svi_", token);
    token_hash(sv_cstr(token), q->hash);
    snprintf(q->email, sizeof q->email, "%s", email);
    q->link = "https://samovar.example/invitation#token=x";
    q->life_ms = KIT_DAY_MS;
    int rc = kit_write(invitation_make, q, &made);
    if (rc == 0 && ret_hash) memcpy(ret_hash, q->hash, WORDS_HASH);
    return rc;
}

typedef struct kit_use_in {
    uint8_t hash[WORDS_HASH];
    char user[AUTH_ID + 1];
    bool registering;
} kit_use_in;

static inline int kit_use_fn(store_tx *tx, const void *in, void *out)
{
    const kit_use_in *q = in;
    user_row row = {.id = sv_cstr(q->user)};
    int rc = store_get(tx, &auth_users, &row);
    return rc ? rc : invitation_use(tx, q->hash, &row, !q->registering, q->user, out);
}

static inline int kit_use(const uint8_t hash[WORDS_HASH], const auth_user *u, invitation_used *ret)
{
    kit_use_in q = {.registering = false};
    memcpy(q.hash, hash, WORDS_HASH);
    memcpy(q.user, u->id, sizeof q.user);
    return kit_write(kit_use_fn, &q, ret);
}

static inline int kit_put_session(store_tx *tx, const void *in, void *out)
{
    const org_act *q = in;
    (void)out;
    session_row s = {.id = sv_cstr(q->session),
                     .user = sv_cstr(q->who.user),
                     .org = sv_cstr(q->org),
                     .created = store_now_ms(tx),
                     .last_used = store_now_ms(tx),
                     .expires = store_now_ms(tx) + KIT_LIFE_MS};
    return store_insert(tx, &auth_sessions_table, &s);
}

static inline void kit_session(const auth_user *u, char ret[AUTH_ID + 1])
{
    org_act q = kit_act(u, u->org);
    kit_id(q.session);
    if (kit_write(kit_put_session, &q, NULL)) abort();
    memcpy(ret, q.session, AUTH_ID + 1);
}

static inline void kit_end_sessions(const auth_user *u)
{
    auth_who who = {.actor = "test"};
    int64_t n;
    memcpy(who.id, u->id, sizeof who.id);
    if (kit_write(auth_sessions_end, &who, &n)) abort();
}

typedef struct kit_home_out {
    char org[AUTH_ID + 1];
    member_role role;
    char tier[TIER_BYTES];
} kit_home_out;

static inline int kit_home_fn(store_tx *tx, const void *in, void *out)
{
    const org_act *q = in;
    kit_home_out *ret = out;
    user_row row = {.id = sv_cstr(q->who.user)};
    int rc = store_get(tx, &auth_users, &row);
    if (rc == 0) rc = member_home(tx, &row, sv_cstr(q->org), ret->org, &ret->role);
    return rc ? rc : tier_of(tx, row.id, sv_cstr(q->org), ret->tier);
}

static inline kit_home_out kit_home_of(const auth_user *u, const char *org)
{
    org_act q = kit_act(u, org);
    kit_home_out ret;
    arena a;
    arena_init(&a, 1 << 20);
    if (kit_read(kit_home_fn, &q, &ret, &a)) abort();
    arena_free(&a);
    return ret;
}

static inline void kit_home(const auth_user *u, const char *org, char where[AUTH_ID + 1],
                            member_role *ret)
{
    kit_home_out h = kit_home_of(u, org);
    memcpy(where, h.org, sizeof h.org);
    *ret = h.role;
}

static inline void kit_tier(const auth_user *u, const char *org, char tier[TIER_BYTES])
{
    kit_home_out h = kit_home_of(u, org);
    memcpy(tier, h.tier, TIER_BYTES);
}

typedef struct kit_rows_in {
    const store_table *table;
    const void *like;
    const char *index;
} kit_rows_in;

static inline int kit_rows_fn(store_tx *tx, const void *in, void *out)
{
    const kit_rows_in *q = in;
    store_range range = {.table = q->table,
                         .index = q->index,
                         .low = q->like,
                         .high = q->like,
                         .low_n = q->like ? 1 : 0,
                         .high_n = q->like ? 1 : 0};
    store_scan *scan;
    char row[1024];
    int *n = out;
    *n = 0;
    if (q->table->row->size > sizeof row) abort();
    int rc = store_scan_open(tx, &range, &scan);
    while (rc == 0 && store_scan_next(scan, row))
        ++*n;
    return rc ? rc : store_scan_result(scan);
}

/* How many rows agree with `like` in the first field of the key or the index; NULL: all. */
static inline int kit_rows(const store_table *table, const void *like, const char *index)
{
    kit_rows_in q = {table, like, index};
    int n;
    arena a;
    arena_init(&a, 1 << 20);
    if (kit_read(kit_rows_fn, &q, &n, &a)) abort();
    arena_free(&a);
    return n;
}

/* Is there a revocation of the subject? */
static inline bool kit_subject_revoked(const char *subject)
{
    arena a;
    revocations_page page;
    int64_t after = 0;
    bool found = false;
    do {
        arena_init(&a, 1 << 20);
        if (kit_read(revocations_some, &after, &page, &a)) abort();
        for (uint32_t i = 0; i < page.n; i++)
            found = found || sv_str_is(page.items[i].subject, subject);
        if (page.n) after = page.items[page.n - 1].sequence;
        arena_free(&a);
    } while (page.more && !found);
    return found;
}

static inline int kit_set_tiers_fn(store_tx *tx, const void *in, void *out)
{
    const org_act *q = in;
    (void)out;
    user_row u = {.id = sv_cstr(q->who.user)};
    org_row o = {.id = sv_cstr(q->org)};
    int rc = store_get(tx, &auth_users, &u);
    if (rc == 0) rc = store_get(tx, &auth_orgs, &o);
    if (rc) return rc;
    u.tier = sv_cstr(q->name);
    o.tier = sv_cstr(q->after);
    rc = store_put(tx, &auth_users, &u);
    return rc ? rc : store_put(tx, &auth_orgs, &o);
}

static inline void kit_set_tiers(const auth_user *u, const char *own, const char *org,
                                 const char *theirs)
{
    org_act q = kit_act(u, org);
    snprintf(q.name, sizeof q.name, "%s", own);
    snprintf(q.after, sizeof q.after, "%s", theirs);
    if (kit_write(kit_set_tiers_fn, &q, NULL)) abort();
}

#endif
