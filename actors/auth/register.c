/*  register.c - see register.h. */
#include "register.h"

#include "error.h"
#include "invitations.h"
#include "outbox.h"

#include <stdio.h>

/* ---- registration ---- */

static int closed(store_tx *tx)
{
    return sv_fail(store_error(tx), SV_E_REGISTRATION, NULL, NULL);
}

/* Whom the invitation is for, before anything is known about the address. */
static int look_at_invitation(store_tx *tx, const register_in *q)
{
    invitation_row row, like = {.hash = {(const char *)q->invitation, WORDS_HASH}};
    int rc = auth_find(tx, &auth_invitations_table, "by_hash", &like, &row, &row.id);
    if (rc == SV_E_NOT_FOUND) return sv_fail(store_error(tx), SV_E_LINK, "invitation", NULL);
    if (rc) return rc;
    if (row.email.n > 0 && !sv_str_is(row.email, q->user.email))
        return sv_fail(store_error(tx), SV_E_DENIED, "invitation",
                       "The invitation is for another e-mail address.");
    return 0;
}

int register_look(store_tx *tx, const void *in, void *out)
{
    (void)out;
    const register_in *q = in;
    bool admin;
    int rc = auth_has_admin(tx, &admin);
    if (rc) return rc;
    if (!admin || q->mode == REGISTER_CLOSED || (q->mode == REGISTER_INVITATION && !q->invited))
        return closed(tx);
    return q->invited ? look_at_invitation(tx, q) : 0;
}

static int is_taken(store_tx *tx, const register_in *q, const user_row *row)
{
    uint8_t name[WORDS_HASH];
    auth_user user;
    bool may;
    auth_user_copy(row, &user);
    words_hash("taken", user.id, name);
    int rc = tries_pause(tx, name, AUTH_MAIL_PAUSE_MS, &may);
    if (rc == 0 && may)
        rc = outbox_add(tx, &(outbox_mail){.to = user.email,
                                           .template = "taken_address",
                                           .locale = user.locale,
                                           .name = user.name});
    if (rc) return rc;
    return audit_add(tx, &(auth_event){.chain = user.org,
                                       .event = "register.taken",
                                       .target = user.id,
                                       .network = q->network});
}

static int make(store_tx *tx, const register_in *q)
{
    auth_user user = q->user;
    invitation_used used;
    user_row row;
    int rc = auth_user_make(tx, &user, &row);
    if (rc == 0 && q->invited) rc = invitation_use(tx, q->invitation, &row, false, user.id, &used);
    if (rc == 0 && q->link) rc = link_send(tx, LINK_VERIFY, q->link, &user);
    if (rc) return rc;
    return audit_add(tx, &(auth_event){.event = "user.registered",
                                       .actor = user.id,
                                       .target = user.id,
                                       .network = q->network});
}

int register_end(store_tx *tx, const void *in, void *out)
{
    const register_in *q = in;
    user_row row;
    int rc = register_look(tx, in, out);
    if (rc) return rc;
    rc = auth_user_find(tx, q->user.email, "", &row);
    if (rc == 0) return is_taken(tx, q, &row);
    return rc == SV_E_NOT_FOUND ? make(tx, q) : rc;
}

/* ---- a forgotten password ---- */

typedef struct counters {
    uint8_t account[WORDS_HASH], network[WORDS_HASH];
} counters;

static counters counters_of(const char *email, const char *network)
{
    counters c;
    words_hash("forgot", email, c.account);
    words_hash("forgot network", network, c.network);
    return c;
}

static int locked_out(store_tx *tx, const uint8_t *name, auth_login_result *ret)
{
    int64_t wait_ms;
    int rc = tries_blocked(tx, name, &wait_ms);
    if (rc || wait_ms == 0) return rc;
    ret->code = SV_E_LOCKED_OUT;
    if (wait_ms > ret->retry_after_ms) ret->retry_after_ms = (uint32_t)wait_ms;
    return 0;
}

int forgot_end(store_tx *tx, const void *in, void *out)
{
    const forgot_in *q = in;
    auth_login_result *ret = out;
    counters c = counters_of(q->email, q->network);
    user_row row;
    bool blocks;
    *ret = (auth_login_result){.now_ms = store_now_ms(tx)};
    int rc = locked_out(tx, c.account, ret);
    if (rc == 0) rc = locked_out(tx, c.network, ret);
    if (rc || ret->code) return rc;
    rc = tries_add(tx, c.account, &blocks);
    if (rc == 0) rc = tries_add(tx, c.network, &blocks);
    if (rc) return rc;
    auth_event said = {.event = "password.forgot", .network = q->network};
    rc = auth_user_find(tx, q->email, "", &row);
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    if (rc == 0 && !row.disabled && !row.service) {
        auth_user_copy(&row, &ret->user);
        said.chain = ret->user.org;
        said.target = ret->user.id;
        rc = link_send(tx, LINK_RESET, q->link, &ret->user);
        if (rc) return rc;
    }
    return audit_add(tx, &said);
}

int reset_look(store_tx *tx, const void *in, void *out)
{
    const reset_in *q = in;
    auth_login_result *ret = out;
    counters c = counters_of("", q->network);
    char id[AUTH_ID + 1];
    user_row row;
    *ret = (auth_login_result){.now_ms = store_now_ms(tx)};
    int rc = locked_out(tx, c.network, ret);
    if (rc || ret->code) return rc;
    rc = link_look(tx, LINK_RESET, q->token, id);
    if (rc == 0) rc = auth_user_find(tx, "", id, &row);
    if (rc == SV_E_LINK || rc == SV_E_NOT_FOUND || (rc == 0 && row.disabled)) {
        ret->code = SV_E_LINK;
        return 0;
    }
    if (rc == 0) auth_user_copy(&row, &ret->user);
    return rc;
}

/* Whoever reads the address's mail has the link: the address is confirmed with it. */
int reset_end(store_tx *tx, const void *in, void *out)
{
    const reset_in *q = in;
    auth_login_result *ret = out;
    char id[AUTH_ID + 1];
    user_row row;
    uint8_t account[WORDS_HASH];
    bool blocks;
    int rc = reset_look(tx, in, out);
    if (rc || ret->code == SV_E_LOCKED_OUT) return rc;
    if (ret->code) {
        counters c = counters_of("", q->network);
        return tries_add(tx, c.network, &blocks);
    }
    rc = link_use(tx, LINK_RESET, q->token, id);
    if (rc == 0) rc = auth_user_find(tx, "", id, &row);
    if (rc) return rc;
    row.hash = sv_cstr(q->new_hash);
    row.verified = true;
    words_hash("account", ret->user.email, account);
    rc = auth_password_changed(tx, &row, "", &ret->user);
    if (rc == 0) rc = tries_forget(tx, account);
    if (rc == 0) rc = tries_account(tx, ret->user.email, q->network, account, account);
    if (rc == 0) rc = tries_forget(tx, account);
    if (rc) return rc;
    return audit_add(tx, &(auth_event){.chain = ret->user.org,
                                       .event = "password.reset",
                                       .actor = ret->user.id,
                                       .target = ret->user.id,
                                       .network = q->network});
}

/* ---- confirmed addresses ---- */

int verify_end(store_tx *tx, const void *in, void *out)
{
    bool *held = out;
    char id[AUTH_ID + 1];
    user_row row;
    auth_user user;
    int rc = link_use(tx, LINK_VERIFY, in, id);
    *held = rc == 0;
    if (rc) return rc == SV_E_LINK ? 0 : rc;
    rc = auth_user_find(tx, "", id, &row);
    if (rc) return rc;
    row.verified = true;
    auth_user_copy(&row, &user);
    rc = store_put(tx, &auth_users, &row);
    if (rc) return rc;
    return audit_add(
        tx, &(auth_event){
                .chain = user.org, .event = "email.verified", .actor = user.id, .target = user.id});
}

int verify_again_end(store_tx *tx, const void *in, void *out)
{
    const verify_again_in *q = in;
    bool *verified = out, may;
    uint8_t name[WORDS_HASH];
    user_row row;
    auth_user user;
    int rc = auth_user_find(tx, q->who.email, q->who.id, &row);
    if (rc) return rc;
    *verified = row.verified;
    if (row.verified) return 0;
    auth_user_copy(&row, &user);
    words_hash("verify", user.id, name);
    rc = tries_pause(tx, name, AUTH_MAIL_PAUSE_MS, &may);
    return rc == 0 && may ? link_send(tx, LINK_VERIFY, q->link, &user) : rc;
}
