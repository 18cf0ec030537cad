/*  links.c - see links.h. */
#include "links.h"

#include "error.h"
#include "outbox.h"
#include "seal.h"

#include <stdio.h>

static const struct {
    const char *word, *page, *template, *token;
    int64_t life_ms;
} kinds[LINK_KINDS] = {
    [LINK_VERIFY] = {"verify", "verify-email", "verify_email", "svv_", 24LL * 60 * 60 * 1000},
    [LINK_RESET] = {"reset", "reset-password", "reset_password", "svp_", 30LL * 60 * 1000},
};

int link_make(const auth *a, link_kind kind, link_made *ret, sv_error *err)
{
    char token[WORDS_TOKEN + 1];
    token_new(kinds[kind].token, token);
    token_hash(sv_cstr(token), ret->hash);
    int rc = outbox_link(a, kinds[kind].page, token, ret->url, sizeof ret->url, err);
    seal_wipe(token, sizeof token);
    return rc;
}

void link_wipe(link_made *l)
{
    seal_wipe(l, sizeof *l);
}

int link_drop(store_tx *tx, link_kind kind, sv_str user)
{
    link_row row, like = {.user = user};
    store_range range = auth_same(&auth_links, "by_user", &like, 1, 0);
    store_scan *scan;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    while (rc == 0 && store_scan_next(scan, &row))
        if (sv_str_is(row.kind, kinds[kind].word)) rc = store_delete(tx, &auth_links, &row);
    if (rc == 0) rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc;
}

int link_send(store_tx *tx, link_kind kind, const link_made *l, const auth_user *user)
{
    link_row row = {.hash = {(const char *)l->hash, WORDS_HASH},
                    .kind = sv_cstr(kinds[kind].word),
                    .user = sv_cstr(user->id),
                    .expires = store_now_ms(tx) + kinds[kind].life_ms};
    int rc = link_drop(tx, kind, row.user);
    if (rc == 0) rc = store_insert(tx, &auth_links, &row);
    if (rc) return rc;
    return outbox_add(tx, &(outbox_mail){.to = user->email,
                                         .template = kinds[kind].template,
                                         .locale = user->locale,
                                         .name = user->name,
                                         .link = l->url});
}

/* An expired row is not found. */
int link_look(store_tx *tx, link_kind kind, const uint8_t hash[WORDS_HASH], char user[AUTH_ID + 1])
{
    link_row row = {.hash = {(const char *)hash, WORDS_HASH}};
    int rc = store_get(tx, &auth_links, &row);
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    if (rc || !sv_str_is(row.kind, kinds[kind].word)) return SV_E_LINK;
    snprintf(user, AUTH_ID + 1, "%.*s", SV_FMT(row.user));
    return 0;
}

int link_use(store_tx *tx, link_kind kind, const uint8_t hash[WORDS_HASH], char user[AUTH_ID + 1])
{
    int rc = link_look(tx, kind, hash, user);
    return rc ? rc : link_drop(tx, kind, sv_cstr(user));
}
