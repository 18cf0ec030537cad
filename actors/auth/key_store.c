/*  key_store.c - see key_store.h. */
#include "key_store.h"

#include "budgets.h"
#include "error.h"
#include "members.h"
#include "revocations.h"
#include "seal.h"
#include "uuid.h"

#include <stdio.h>

enum { SCOPES = 6, SCOPE_ORG = 4, SCOPE_ADMIN = 5 };
#define KEY_LISTED_MS (30LL * 24 * 3600 * 1000) /* after a key's end */

static const char *const scope_names[SCOPES] = {"chat", "read", "write", "files", "org", "admin"};
static const char no_key[] = "There is no such API key.";

void key_make(char id[AUTH_ID + 1], char shown[KEY_SHOWN + 1], char key[KEY_TEXT + 1])
{
    uint8_t secret[32];
    sv_id number = uuid_new();
    uuid_format(&number, id);
    uuid_random(secret, sizeof secret);
    snprintf(shown, KEY_SHOWN + 1, "sv_%s", id + AUTH_ID - 12);
    snprintf(key, KEY_TEXT + 1, "%s_", shown);
    hex_format(secret, sizeof secret, key + KEY_SHOWN + 1);
    seal_wipe(secret, sizeof secret);
}

/* 0 when there is no such scope. */
static unsigned scope_bit(sv_str name)
{
    for (unsigned s = 0; s < SCOPES; s++)
        if (sv_str_is(name, scope_names[s])) return 1u << s;
    return 0;
}

bool key_scope_known(sv_str name)
{
    return scope_bit(name) != 0;
}

bool key_scopes_have(sv_strs scopes, const char *name)
{
    for (uint32_t i = 0; i < scopes.n; i++)
        if (sv_str_is(scopes.items[i], name)) return true;
    return false;
}

/* ---- one row ---- */

static sv_strs kept_list(arena *a, sv_strs list, bool *ok)
{
    if (list.n == 0) return (sv_strs){NULL, 0};
    sv_str *items = arena_alloc(a, list.n * sizeof *items);
    *ok = *ok && items;
    for (uint32_t i = 0; *ok && i < list.n; i++)
        items[i] = auth_kept(a, list.items[i], ok);
    return (sv_strs){items, list.n};
}

static int show(arena *a, const key_row *k, auth_key *ret)
{
    bool ok = true;
    *ret = (auth_key){.id = auth_kept(a, k->id, &ok),
                      .name = auth_kept(a, k->name, &ok),
                      .shown = auth_kept(a, k->shown, &ok),
                      .user = auth_kept(a, k->user, &ok),
                      .org = auth_kept(a, k->org, &ok),
                      .scopes = kept_list(a, k->scopes, &ok),
                      .models = kept_list(a, k->models, &ok),
                      .minute_limit = k->minute_limit,
                      .hour_limit = k->hour_limit,
                      .cache_seconds = k->cache_seconds,
                      .created = k->created,
                      .expires = k->expires,
                      .last_used = k->last_used};
    return ok ? 0 : SV_E_NO_MEMORY;
}

static bool ended(const key_row *k, int64_t now)
{
    return k->expires > 0 && k->expires <= now;
}

/* ---- making ---- */

/* The bits of the names; SV_E_INVALID with the one that is none. */
static int read_scopes(store_tx *tx, sv_strs names, unsigned *ret)
{
    *ret = names.n ? 0 : 1u << 0;
    for (uint32_t i = 0; i < names.n; i++) {
        unsigned bit = scope_bit(names.items[i]);
        if (bit == 0)
            return sv_fail(store_error(tx), SV_E_INVALID, "scopes",
                           "There is no scope \"%.*s\": use " KEY_SCOPES ".",
                           (int)(names.items[i].n < 40 ? names.items[i].n : 40),
                           names.items[i].p ? names.items[i].p : "");
        *ret |= bit;
    }
    return 0;
}

static int check_models(store_tx *tx, sv_strs models)
{
    for (uint32_t i = 0; i < models.n; i++)
        if (models.items[i].n == 0 || models.items[i].n > KEY_MODEL)
            return sv_fail(store_error(tx), SV_E_INVALID, "models",
                           "The name of a model has 1 to %d bytes.", KEY_MODEL);
    return 0;
}

/* Who makes the key, who it will speak for, and where. */
typedef struct parties {
    user_row maker, bearer;
    sv_str org;
    member_role role; /* the maker's */
} parties;

static int find_parties(store_tx *tx, const key_new *n, parties *p)
{
    const key_asker *who = &n->asker;
    sv_str service = n->request->service_account;
    member_role role;
    int rc = auth_user_find(tx, who->who.email, who->who.id, &p->maker);
    if (rc == SV_E_NOT_FOUND) return auth_fail(tx, rc, NULL, "There is no such user.");
    if (rc) return rc;
    if (p->maker.disabled) return auth_fail(tx, SV_E_DENIED, NULL, "This account is disabled.");
    p->org = who->operator? p->maker.org : sv_cstr(who->org);
    p->bearer = p->maker;
    rc = member_read(tx, p->org, p->maker.id, &p->role);
    if (rc) return rc;
    if (p->role == ROLE_NONE)
        return auth_fail(tx, SV_E_NOT_FOUND, NULL, "There is no such organization.");
    if (service.n == 0) return 0;
    if (p->role < ROLE_ADMIN)
        return auth_fail(tx, SV_E_ROLE, "service_account",
                         "Only administrators of the organization make keys for service accounts.");
    p->bearer = (user_row){.id = service};
    rc = store_get(tx, &auth_users, &p->bearer);
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    if (rc == 0) rc = member_read(tx, p->org, service, &role);
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    if (rc || !p->bearer.service || role == ROLE_NONE)
        return auth_fail(tx, SV_E_NOT_FOUND, "service_account",
                         "The organization has no such service account.");
    return 0;
}

static int check_rights(store_tx *tx, const parties *p, unsigned scopes)
{
    if ((scopes >> SCOPE_ORG & 1) && p->role < ROLE_ADMIN)
        return auth_fail(tx, SV_E_ROLE, "scopes",
                         "The scope org is for administrators of the organization.");
    if ((scopes >> SCOPE_ADMIN & 1) && (!p->maker.admin || !p->bearer.admin))
        return auth_fail(tx, SV_E_ROLE, "scopes",
                         "The scope admin is for platform administrators.");
    return 0;
}

static store_range of_user(const key_row *like)
{
    return auth_same(&auth_keys_table, "by_user", like, 1, 0);
}

/* SV_E_QUOTA when the user has as many as one may have. Expired ones do not count. */
static int check_room(store_tx *tx, sv_str user, int64_t most)
{
    key_row row, like = {.user = user};
    store_range range = of_user(&like);
    store_scan *scan;
    int64_t n = 0, now = store_now_ms(tx);
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    while (n < most && store_scan_next(scan, &row))
        n += !ended(&row, now);
    rc = store_scan_result(scan);
    store_scan_close(scan);
    if (rc || n < most) return rc;
    return sv_fail(store_error(tx), SV_E_QUOTA, NULL,
                   "There are %lld API keys already, as many as one user may have: delete one.",
                   (long long)most);
}

int key_insert(store_tx *tx, const void *in, void *out)
{
    const key_new *n = in;
    const auth_key_new_req *q = n->request;
    int64_t now = store_now_ms(tx);
    unsigned scopes;
    parties p;
    sv_str names[SCOPES];
    uint32_t n_names = 0;
    int rc = read_scopes(tx, q->scopes, &scopes);
    if (rc == 0) rc = check_models(tx, q->models);
    if (rc == 0 && q->expires && q->expires <= now)
        rc = auth_fail(tx, SV_E_INVALID, "expires", "The key would have expired already.");
    if (rc == 0) rc = find_parties(tx, n, &p);
    if (rc == 0) rc = check_rights(tx, &p, scopes);
    if (rc == 0) rc = check_room(tx, p.bearer.id, n->most);
    if (rc) return rc;
    for (unsigned s = 0; s < SCOPES; s++)
        if (scopes >> s & 1) names[n_names++] = sv_cstr(scope_names[s]);
    key_row row = {.id = sv_cstr(n->id),
                   .hash = {(const char *)n->hash, WORDS_HASH},
                   .name = q->name.n ? q->name : (sv_str){NULL, 0},
                   .shown = sv_cstr(n->shown),
                   .user = p.bearer.id,
                   .org = p.org,
                   .scopes = {names, n_names},
                   .models = q->models,
                   .minute_limit = q->minute_limit,
                   .hour_limit = q->hour_limit,
                   .cache_seconds = q->cache_seconds,
                   .created = now,
                   .expires = q->expires,
                   .gone = q->expires ? q->expires + KEY_LISTED_MS : 0};
    rc = show(store_arena(tx), &row, out);
    if (rc == 0) rc = store_insert(tx, &auth_keys_table, &row);
    if (rc) return rc;
    const auth_key *made = out;
    return audit_add(tx, &(auth_event){.chain = made->org.p,
                                       .event = "key.created",
                                       .actor = n->asker.who.actor,
                                       .target = n->id});
}

/* ---- looking ---- */

/* The key when the asker may know of it; otherwise there is none. */
static int find(store_tx *tx, const key_look *look, key_row *ret)
{
    const key_asker *who = &look->asker;
    member_role role = ROLE_NONE;
    *ret = (key_row){.id = look->id};
    int rc = look->id.n ? store_get(tx, &auth_keys_table, ret) : SV_E_NOT_FOUND;
    if (rc == SV_E_NOT_FOUND) return auth_fail(tx, rc, "id", no_key);
    if (rc || who->operator|| sv_str_is(ret->user, who->who.id)) return rc;
    if (sv_str_is(ret->org, who->org)) rc = member_read(tx, ret->org, sv_cstr(who->who.id), &role);
    if (rc) return rc;
    return role >= ROLE_ADMIN ? 0 : auth_fail(tx, SV_E_NOT_FOUND, "id", no_key);
}

int key_one(store_tx *tx, const void *in, void *out)
{
    key_row row;
    int rc = find(tx, in, &row);
    return rc ? rc : show(store_arena(tx), &row, out);
}

static int revoke_key(store_tx *tx, sv_str id, sv_str org)
{
    int rc = store_delete(tx, &auth_keys_table, &(key_row){.id = id});
    if (rc == 0) rc = budgets_drop(tx, org, "key", id, NULL);
    return rc ? rc : revoke_subject(tx, "key", id, (sv_str){NULL, 0}, false);
}

int key_remove(store_tx *tx, const void *in, void *out)
{
    const key_look *look = in;
    auth_key *gone = out;
    key_row row;
    int rc = find(tx, look, &row);
    if (rc) return rc;
    if (look->asker.key[0] && !sv_str_is(row.id, look->asker.key))
        return auth_fail(tx, SV_E_DENIED, "id",
                         "With an API key only that key itself can be deleted: log in for others.");
    rc = show(store_arena(tx), &row, gone);
    if (rc == 0) rc = revoke_key(tx, gone->id, gone->org);
    if (rc) return rc;
    return audit_add(tx, &(auth_event){.chain = gone->org.p,
                                       .event = "key.deleted",
                                       .actor = look->asker.who.actor,
                                       .target = gone->id.p});
}

int keys_drop(store_tx *tx, sv_str user, sv_str org)
{
    key_row row, like = {.user = user};
    store_range range = of_user(&like);
    store_scan *scan;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    while (rc == 0 && store_scan_next(scan, &row)) {
        if (org.n && !sv_str_eq(row.org, org)) continue;
        char id[AUTH_ID + 1], of[AUTH_ID + 1];
        snprintf(id, sizeof id, "%.*s", SV_FMT(row.id));
        snprintf(of, sizeof of, "%.*s", SV_FMT(row.org));
        rc = revoke_key(tx, sv_cstr(id), sv_cstr(of));
    }
    if (rc == 0) rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc;
}

/* ---- a list ---- */

static size_t bytes_of(const auth_key *k)
{
    size_t n = 400 + k->name.n;
    for (uint32_t i = 0; i < k->models.n; i++)
        n += k->models.items[i].n + 3;
    return n;
}

/* All keys of an organization, or those of a user; newest first, for ids are in order of time. */
static int collect(store_tx *tx, const key_row *like, bool of_org, sv_str only_org, sv_str after,
                   key_page *page)
{
    key_row row, high = *like;
    store_range range = {.table = &auth_keys_table,
                         .index = of_org ? "by_org" : "by_user",
                         .low = like,
                         .high = &high,
                         .low_n = 1,
                         .high_n = after.n ? 2 : 1,
                         .reverse = true};
    store_scan *scan;
    size_t bytes = 0;
    bool ok = true, more = false;
    sv_str last = {NULL, 0};
    high.id = after;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    for (uint32_t seen = 0; rc == 0 && ok && store_scan_next(scan, &row); seen++) {
        if (after.n && sv_str_eq(row.id, after)) continue;
        if ((more = page->n == AUTH_PAGE || seen == AUTH_PIECE || bytes > KEY_PAGE_BYTES)) break;
        last = auth_kept(store_arena(tx), row.id, &ok);
        if (only_org.n && !sv_str_eq(row.org, only_org)) continue;
        rc = show(store_arena(tx), &row, &page->items[page->n]);
        if (rc == 0) bytes += bytes_of(&page->items[page->n++]);
    }
    if (rc == 0) rc = store_scan_result(scan);
    store_scan_close(scan);
    if (more) page->next = last;
    return ok ? rc : SV_E_NO_MEMORY;
}

int key_some(store_tx *tx, const void *in, void *out)
{
    const key_look *look = in;
    const key_asker *who = &look->asker;
    key_page *page = out;
    user_row user;
    member_role role = ROLE_NONE;
    *page =
        (key_page){.items = arena_alloc(store_arena(tx), (AUTH_PAGE + 1) * sizeof *page->items)};
    if (page->items == NULL) return SV_E_NO_MEMORY;
    int rc = auth_user_find(tx, who->who.email, who->who.id, &user);
    if (rc == SV_E_NOT_FOUND) return auth_fail(tx, rc, NULL, "There is no such user.");
    sv_str org = sv_cstr(who->org);
    if (rc == 0 && !who->operator) rc = member_read(tx, org, user.id, &role);
    if (rc) return rc;
    if (role >= ROLE_ADMIN)
        return collect(tx, &(key_row){.org = org}, true, (sv_str){NULL, 0}, look->after, page);
    return collect(tx, &(key_row){.user = user.id}, false, org, look->after, page);
}

/* ---- use ---- */

static int find_by_hash(store_tx *tx, sv_str hash, key_row *ret)
{
    key_row like = {.hash = hash};
    return auth_find(tx, &auth_keys_table, "by_hash", &like, ret, &ret->id);
}

/* Unknown, expired, of a disabled user, of one who has left: the same answer. */
static int refuse(store_tx *tx)
{
    return auth_fail(tx, SV_E_API_KEY, NULL, sv_error_lookup(SV_E_API_KEY)->text);
}

int key_check(store_tx *tx, const void *in, void *out)
{
    const uint8_t *hash = in;
    auth_key_check_reply *ret = out;
    arena *a = store_arena(tx);
    char tier[TIER_BYTES];
    bool ok = true;
    key_row row;
    user_row user;
    member_role role;
    int64_t none = -1;
    revocations_page end;
    *ret = (auth_key_check_reply){.key = arena_alloc(a, sizeof *ret->key)};
    if (ret->key == NULL) return SV_E_NO_MEMORY;
    int rc = find_by_hash(tx, (sv_str){(const char *)hash, WORDS_HASH}, &row);
    if (rc == 0) {
        user = (user_row){.id = row.user};
        rc = store_get(tx, &auth_users, &user);
    }
    if (rc == SV_E_NOT_FOUND || (rc == 0 && (ended(&row, store_now_ms(tx)) || user.disabled)))
        return refuse(tx);
    if (rc == 0) rc = member_read(tx, row.org, row.user, &role);
    if (rc) return rc;
    if (role == ROLE_NONE) return refuse(tx);
    rc = tier_of(tx, row.user, row.org, tier);
    if (rc == 0) rc = revocations_some(tx, &none, &end);
    if (rc == 0) rc = show(a, &row, ret->key);
    if (rc) return rc;
    ret->role = sv_cstr(role_name(role));
    ret->admin = user.admin && key_scopes_have(row.scopes, "admin");
    ret->tier = auth_kept(a, sv_cstr(tier), &ok);
    ret->sequence = end.sequence;
    return ok ? 0 : SV_E_NO_MEMORY;
}

int key_used(store_tx *tx, const void *in, void *out)
{
    (void)out;
    const auth_key_used_req *q = in;
    const auth_key_used_item *items = q->keys.items;
    int64_t now = store_now_ms(tx);
    for (uint32_t i = 0; i < q->keys.n; i++) {
        key_row row = {.id = items[i].id};
        int64_t at = items[i].at < now ? items[i].at : now;
        int rc = items[i].id.n ? store_get(tx, &auth_keys_table, &row) : SV_E_NOT_FOUND;
        if (rc == SV_E_NOT_FOUND || (rc == 0 && row.last_used >= at)) continue;
        row.last_used = at;
        if (rc == 0) rc = store_put(tx, &auth_keys_table, &row);
        if (rc) return rc;
    }
    return 0;
}
