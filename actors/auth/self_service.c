/*  self_service.c - methods by which people make, confirm and recover their accounts. */
#include "attempt.h"
#include "error.h"
#include "register.h"

#include <stdio.h>

static int reply_status(sv_call *call, const char *status)
{
    return sv_reply(call, &(auth_status_reply){.status = sv_cstr(status)});
}

/* ---- registration ---- */

static register_mode mode_of(const auth *a)
{
    const char *word = config_str(sv_config(a->process), "auth.registration");
    return strcmp(word, "open") == 0         ? REGISTER_OPEN
           : strcmp(word, "invitation") == 0 ? REGISTER_INVITATION
                                             : REGISTER_CLOSED;
}

static int fill_registration(sv_call *call, const auth_register_req *q, register_in *n)
{
    const auth *a = sv_process_state(sv_call_process(call));
    sv_error *err = sv_call_error(call);
    int rc = network_normalise(q->network, n->network, err);
    if (rc == 0) rc = locale_check(q->locale, err);
    if (rc == 0) rc = auth_fill_user(call, q->email, q->name, q->password, &n->user);
    if (rc) return rc;
    snprintf(n->user.locale, sizeof n->user.locale, "%.*s", SV_FMT(q->locale));
    n->mode = mode_of(a);
    n->invited = q->invitation.n > 0;
    token_hash(q->invitation, n->invitation);
    return 0;
}

int auth_register(sv_call *call, const void *request)
{
    const auth_register_req *q = request;
    const auth *a = sv_process_state(sv_call_process(call));
    register_in *n = arena_alloc(sv_call_arena(call), sizeof *n);
    auth_work w = {.next = q->password, .memory_bytes = a->memory_bytes};
    link_made link = {.url = ""};
    if (n == NULL) return SV_E_NO_MEMORY;
    int rc = fill_registration(call, q, n);
    if (rc == 0 && a->verify) rc = link_make(a, LINK_VERIFY, &link, sv_call_error(call));
    n->link = a->verify ? &link : NULL;
    if (rc == 0) rc = store_read(call, register_look, n, NULL);
    if (rc == 0) rc = auth_work_do(call, &w);
    if (rc == 0) {
        memcpy(n->user.hash, w.new_hash, sizeof n->user.hash);
        rc = auth_write(call, register_end, n, NULL);
    }
    link_wipe(&link);
    if (rc) return rc;
    return reply_status(call, a->verify ? "verify" : "done");
}

int auth_verify_email(sv_call *call, const void *request)
{
    const auth_verify_req *q = request;
    uint8_t hash[WORDS_HASH];
    bool held;
    token_hash(q->token, hash);
    int rc = auth_write(call, verify_end, hash, &held);
    if (rc == 0 && !held) rc = sv_fail(sv_call_error(call), SV_E_LINK, "token", NULL);
    return rc ? rc : reply_status(call, "ok");
}

int auth_verify_again(sv_call *call, const void *request)
{
    const auth_who_req *q = request;
    const auth *a = sv_process_state(sv_call_process(call));
    verify_again_in in = {.link = NULL};
    link_made link = {.url = ""};
    bool verified;
    int rc = auth_who_of(call, q->email, &in.who);
    if (rc == 0) rc = link_make(a, LINK_VERIFY, &link, sv_call_error(call));
    in.link = &link;
    if (rc == 0) rc = auth_named(call, auth_write(call, verify_again_end, &in, &verified));
    link_wipe(&link);
    return rc ? rc : reply_status(call, verified ? "ok" : "verify");
}

/* ---- a forgotten password ---- */

int auth_forgot(sv_call *call, const void *request)
{
    const auth_forgot_req *q = request;
    const auth *a = sv_process_state(sv_call_process(call));
    sv_error *err = sv_call_error(call);
    forgot_in in = {.link = NULL};
    link_made link = {.url = ""};
    auth_login_result *result = arena_alloc(sv_call_arena(call), sizeof *result);
    if (result == NULL) return SV_E_NO_MEMORY;
    int rc = email_normalise(q->email, in.email, err);
    if (rc == 0) rc = network_normalise(q->network, in.network, err);
    if (rc == 0) rc = link_make(a, LINK_RESET, &link, err);
    in.link = &link;
    if (rc == 0) rc = auth_write(call, forgot_end, &in, result);
    link_wipe(&link);
    if (rc == 0) rc = attempt_verdict(call, result);
    return rc ? rc : reply_status(call, "verify");
}

int auth_reset(sv_call *call, const void *request)
{
    const auth_reset_req *q = request;
    const auth *a = sv_process_state(sv_call_process(call));
    sv_error *err = sv_call_error(call);
    reset_in in = {.network = ""};
    auth_work w = {.next = q->password, .memory_bytes = a->memory_bytes};
    auth_login_result *result = arena_alloc(sv_call_arena(call), sizeof *result);
    if (result == NULL) return SV_E_NO_MEMORY;
    token_hash(q->token, in.token);
    int rc = network_normalise(q->network, in.network, err);
    if (rc == 0) rc = store_read(call, reset_look, &in, result);
    if (rc) return rc;
    if (result->code == 0) {
        const sv_str words[] = {sv_cstr(result->user.email), sv_cstr(result->user.name),
                                sv_cstr("samovar")};
        rc = password_check(q->password, words, 3, err);
        if (rc == 0) rc = auth_work_do(call, &w);
        if (rc) return rc;
        memcpy(in.new_hash, w.new_hash, sizeof in.new_hash);
    }
    rc = auth_write(call, reset_end, &in, result);
    if (rc == 0) rc = attempt_verdict(call, result);
    return rc ? rc : reply_status(call, "ok");
}
