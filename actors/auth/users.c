/*  users.c - accounts, their personal organizations, and the setup token. */
#include "auth_store.h"

#include "admin_store.h"
#include "error.h"

#include <stdio.h>

static void take(sv_str from, char *to, size_t size)
{
    snprintf(to, size, "%.*s", SV_FMT(from));
}

/* As the store keeps it: absent when it is empty. */
static sv_str text_of(const char *s)
{
    return s && s[0] ? sv_cstr(s) : (sv_str){NULL, 0};
}

/* ---- one user ---- */

void auth_user_copy(const user_row *row, auth_user *ret)
{
    *ret = (auth_user){.disabled = row->disabled,
                       .admin = row->admin,
                       .verified = row->verified,
                       .two_factor = row->two_factor,
                       .service = row->service,
                       .created = row->created,
                       .last_login = row->last_login};
    take(row->id, ret->id, sizeof ret->id);
    take(row->email, ret->email, sizeof ret->email);
    take(row->name, ret->name, sizeof ret->name);
    take(row->org, ret->org, sizeof ret->org);
    take(row->hash, ret->hash, sizeof ret->hash);
    take(row->tier, ret->tier, sizeof ret->tier);
    take(row->locale, ret->locale, sizeof ret->locale);
}

auth_user_info auth_user_show(const auth_user *u)
{
    return (auth_user_info){.id = sv_cstr(u->id),
                            .email = sv_cstr(u->email),
                            .name = text_of(u->name),
                            .admin = u->admin,
                            .disabled = u->disabled,
                            .org = text_of(u->org),
                            .created = u->created,
                            .last_login = u->last_login,
                            .verified = u->verified,
                            .two_factor = u->two_factor,
                            .tier = sv_cstr(u->tier[0] ? u->tier : "free"),
                            .locale = sv_cstr(u->locale[0] ? u->locale : "en"),
                            .service = u->service};
}

static int find_by_email(store_tx *tx, const char *email, user_row *ret)
{
    user_row like = {.email = sv_cstr(email)};
    return auth_find(tx, &auth_users, "by_email", &like, ret, &ret->id);
}

int auth_user_find(store_tx *tx, const char *email, const char *id, user_row *ret)
{
    if (email[0]) return find_by_email(tx, email, ret);
    *ret = (user_row){.id = sv_cstr(id)};
    return id[0] ? store_get(tx, &auth_users, ret) : SV_E_NOT_FOUND;
}

/* ---- the setup token ---- */

int auth_has_admin(store_tx *tx, bool *ret)
{
    user_row like = {.admin = true}, found;
    store_range range = auth_same(&auth_users, "by_admin", &like, 1, 1);
    store_scan *scan;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    *ret = store_scan_next(scan, &found);
    rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc;
}

static int setup_drop(store_tx *tx)
{
    int rc = store_delete(tx, &auth_setups, &(setup_row){.id = 0});
    return rc == SV_E_NOT_FOUND ? 0 : rc;
}

int auth_setup_begin(store_tx *tx, const void *in, void *out)
{
    bool *kept = out, admin;
    int rc = auth_has_admin(tx, &admin);
    if (rc) return rc;
    *kept = !admin;
    if (admin) return setup_drop(tx);
    setup_row row = {.hash = {in, WORDS_HASH}};
    return store_put(tx, &auth_setups, &row);
}

int auth_setup_valid(store_tx *tx, const void *in, void *out)
{
    bool *valid = out;
    setup_row row = {.id = 0};
    int rc = store_get(tx, &auth_setups, &row);
    /* Both are hashes of 256 random bits: how far they agree tells nothing about the token. */
    *valid = rc == 0 && row.hash.n == WORDS_HASH && memcmp(row.hash.p, in, WORDS_HASH) == 0;
    return rc == SV_E_NOT_FOUND ? 0 : rc;
}

/* ---- making and switching ---- */

static int taken(store_tx *tx)
{
    *store_error(tx) = (sv_error){.code = 0};
    return sv_fail(store_error(tx), SV_E_CONFLICT, "email",
                   "There is a user with this e-mail address.");
}

static int insert_org(store_tx *tx, const auth_user *u)
{
    int64_t now = store_now_ms(tx);
    org_row org = {
        .id = sv_cstr(u->org), .name = text_of(u->name), .personal = true, .created = now};
    member_row member = {
        .org = sv_cstr(u->org), .user = sv_cstr(u->id), .role = sv_cstr("owner"), .since = now};
    int rc = store_insert(tx, &auth_orgs, &org);
    return rc ? rc : store_insert(tx, &auth_members, &member);
}

int auth_user_make(store_tx *tx, const auth_user *u, user_row *ret)
{
    *ret = (user_row){.id = sv_cstr(u->id),
                      .email = sv_cstr(u->email),
                      .name = text_of(u->name),
                      .hash = text_of(u->hash),
                      .admin = u->admin,
                      .verified = u->verified,
                      .tier = text_of(u->tier),
                      .locale = text_of(u->locale),
                      .service = u->service,
                      .org = sv_cstr(u->org),
                      .created = store_now_ms(tx)};
    int rc = store_insert(tx, &auth_users, ret);
    if (rc == SV_E_CONFLICT) return taken(tx);
    return rc ? rc : insert_org(tx, u);
}

int auth_user_insert(store_tx *tx, const void *in, void *out)
{
    const auth_user_new *n = in;
    const auth_user *u = &n->user;
    bool valid = true;
    user_row row;
    int rc = n->setup ? auth_setup_valid(tx, n->setup, &valid) : 0;
    if (rc) return rc;
    if (!valid) return sv_fail(store_error(tx), SV_E_SETUP_TOKEN, "token", NULL);
    rc = auth_user_make(tx, u, &row);
    if (rc == 0) auth_user_copy(&row, out);
    if (rc == 0 && u->admin) rc = setup_drop(tx);
    if (rc) return rc;
    return audit_add(tx, &(auth_event){.event = n->setup   ? "platform.setup"
                                                : u->admin ? "user.added_admin"
                                                           : "user.added",
                                       .actor = n->actor,
                                       .target = u->id});
}

int auth_user_switch(store_tx *tx, const void *in, void *out)
{
    const auth_user_change *c = in;
    user_row row;
    int rc = auth_user_find(tx, c->email, "", &row);
    if (rc == SV_E_NOT_FOUND)
        return sv_fail(store_error(tx), rc, "email", "There is no user with this e-mail address.");
    if (rc) return rc;
    bool changed = row.disabled != c->disabled;
    row.disabled = c->disabled;
    auth_user_copy(&row, out);
    return changed ? admin_switch(tx, &row, c->actor) : 0;
}

int auth_me_change_end(store_tx *tx, const void *in, void *out)
{
    const auth_me_change_in *q = in;
    user_row row;
    int rc = auth_user_find(tx, q->who.email, q->who.id, &row);
    if (rc) return rc;
    if (q->with_name) row.name = text_of(q->name);
    if (q->with_locale) row.locale = text_of(q->locale);
    auth_user *ret = out;
    auth_user_copy(&row, ret);
    rc = store_put(tx, &auth_users, &row);
    if (rc) return rc;
    return audit_add(tx, &(auth_event){.chain = ret->org,
                                       .event = "user.changed",
                                       .actor = q->who.actor,
                                       .target = ret->id});
}

/* ---- lists ---- */

int auth_user_some(store_tx *tx, const void *in, void *out)
{
    auth_user_page *page = out;
    user_row row, low = {.email = sv_cstr(in)};
    store_range range = {.table = &auth_users, .index = "by_email", .low = &low, .low_n = 1};
    store_scan *scan;
    page->n = 0;
    page->more = false;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    for (uint32_t bytes = 0; !page->more && store_scan_next(scan, &row);) {
        if (sv_str_is(row.email, in)) continue;
        page->more = page->n == AUTH_PAGE || bytes > AUTH_PAGE_BYTES;
        bytes += row.email.n + row.name.n;
        if (!page->more) auth_user_copy(&row, &page->users[page->n++]);
    }
    rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc;
}

static bool keep(arena *a, sv_str *s)
{
    if (s->n == 0) *s = (sv_str){NULL, 0};
    if (s->p) s->p = arena_copy(a, *s);
    return s->n == 0 || s->p;
}

static int add_org(store_tx *tx, const member_row *member, auth_me_result *to)
{
    org_row org = {.id = member->org};
    int rc = store_get(tx, &auth_orgs, &org);
    if (rc == SV_E_NOT_FOUND) return 0;
    if (rc) return rc;
    auth_org_info *o = &to->orgs[to->n++];
    *o = (auth_org_info){
        .id = member->org, .name = org.name, .role = member->role, .personal = org.personal};
    arena *a = store_arena(tx);
    return keep(a, &o->id) && keep(a, &o->name) && keep(a, &o->role) ? 0 : SV_E_NO_MEMORY;
}

int auth_me_read(store_tx *tx, const void *in, void *out)
{
    const auth_who *who = in;
    auth_me_result *ret = out;
    user_row user;
    int rc = auth_user_find(tx, who->email, who->id, &user);
    if (rc) return rc;
    *ret = (auth_me_result){.orgs = arena_alloc(store_arena(tx), AUTH_PAGE * sizeof *ret->orgs)};
    if (ret->orgs == NULL) return SV_E_NO_MEMORY;
    auth_user_copy(&user, &ret->user);
    member_row member, like = {.user = sv_cstr(ret->user.id)};
    store_range range = auth_same(&auth_members, "by_user", &like, 1, AUTH_PAGE);
    store_scan *scan;
    rc = store_scan_open(tx, &range, &scan);
    while (rc == 0 && store_scan_next(scan, &member))
        rc = add_org(tx, &member, ret);
    if (rc == 0) rc = store_scan_result(scan);
    return rc;
}
