/*  passwords.c - methods that work on a password: each looks, computes on a worker, and writes. */
#include "attempt.h"
#include "caller.h"
#include "error.h"
#include "links.h"
#include "members.h"
#include "uuid.h"

#include <stdio.h>

enum { BUSY_MS = 1000, ACCESS_S = 15 * 60 };

/* ---- the worker ---- */

int auth_work_run(void *arg)
{
    auth_work *w = arg;
    int rc = 0;
    w->right = w->hash == NULL;
    w->new_hash[0] = 0;
    if (w->hash) rc = password_verify(w->password, w->hash, &w->right, &w->err);
    if (rc || !w->right) return rc;
    if (w->rehash && password_is_weaker(w->hash, w->memory_bytes))
        return password_hash(w->password, w->memory_bytes, w->new_hash, &w->err);
    if (w->next.p) return password_hash(w->next, w->memory_bytes, w->new_hash, &w->err);
    return 0;
}

int auth_work_do(sv_call *call, auth_work *w)
{
    int rc = sv_work(call, auth_work_run, w);
    sv_error *err = sv_call_error(call);
    if (w->err.code) *err = w->err;
    if (rc == SV_E_OVERLOADED) {
        sv_fail(err, rc, NULL, "Too many passwords wait to be checked.");
        err->retry_after_ms = BUSY_MS;
    }
    return rc;
}

/* ---- new users ---- */

void auth_new_id(char ret[AUTH_ID + 1])
{
    sv_id id = uuid_new();
    uuid_format(&id, ret);
}

int auth_fill_user(sv_call *call, sv_str email, sv_str name, sv_str password, auth_user *u)
{
    const auth *a = sv_process_state(sv_call_process(call));
    sv_error *err = sv_call_error(call);
    int rc = email_normalise(email, u->email, err);
    if (rc == 0) rc = name_check(name, err);
    if (rc) return rc;
    const sv_str words[] = {sv_cstr(u->email), name, sv_cstr("samovar")};
    if ((rc = password_check(password, words, 3, err))) return rc;
    if (name.n) memcpy(u->name, name.p, name.n);
    auth_new_id(u->id);
    auth_new_id(u->org);
    snprintf(u->tier, sizeof u->tier, "%s", a->tier);
    return 0;
}

/* The hash, then the rows. */
static int make_user(sv_call *call, sv_str password, auth_user_new *n)
{
    const auth *a = sv_process_state(sv_call_process(call));
    auth_work w = {.next = password, .memory_bytes = a->memory_bytes};
    auth_user made;
    int rc = auth_work_do(call, &w);
    if (rc) return rc;
    memcpy(n->user.hash, w.new_hash, sizeof n->user.hash);
    if ((rc = auth_write(call, auth_user_insert, n, &made))) return rc;
    auth_user_info info = auth_user_show(&made);
    auth_user_reply reply = {.user = &info};
    return sv_reply(call, &reply);
}

int auth_setup(sv_call *call, const void *request)
{
    const auth_setup_req *q = request;
    uint8_t hash[WORDS_HASH];
    bool valid = false;
    auth_user_new *n = arena_alloc(sv_call_arena(call), sizeof *n);
    if (n == NULL) return SV_E_NO_MEMORY;
    token_hash(q->token, hash);
    int rc = store_read(call, auth_setup_valid, hash, &valid);
    if (rc) return rc;
    if (!valid) return sv_fail(sv_call_error(call), SV_E_SETUP_TOKEN, "token", NULL);
    if ((rc = auth_fill_user(call, q->email, q->name, q->password, &n->user))) return rc;
    n->setup = hash;
    n->user.admin = n->user.verified = true;
    snprintf(n->actor, sizeof n->actor, "%s", n->user.id);
    return make_user(call, q->password, n);
}

int auth_user_add(sv_call *call, const void *request)
{
    const auth_user_add_req *q = request;
    auth_user_new *n = arena_alloc(sv_call_arena(call), sizeof *n);
    if (n == NULL) return SV_E_NO_MEMORY;
    auth_caller who;
    int rc = auth_caller_admin(call, &who);
    if (rc == 0) rc = auth_fill_user(call, q->email, q->name, q->password, &n->user);
    if (rc) return rc;
    if (q->tier.n && tier_rank(q->tier) == 0)
        return sv_fail(sv_call_error(call), SV_E_INVALID, "tier",
                       "tier must be free, premium or own.");
    if (q->tier.n) snprintf(n->user.tier, sizeof n->user.tier, "%.*s", SV_FMT(q->tier));
    n->user.admin = q->admin;
    n->user.verified = true; /* who makes it vouches for it */
    memcpy(n->actor, who.actor, sizeof n->actor);
    return make_user(call, q->password, n);
}

/* ---- tries ---- */

static int too_soon(sv_call *call, int64_t ms)
{
    sv_error *err = sv_call_error(call);
    sv_fail(err, SV_E_LOCKED_OUT, NULL, NULL);
    err->retry_after_ms = (uint32_t)ms;
    return SV_E_LOCKED_OUT;
}

int attempt_compare(sv_call *call, attempt *t, sv_str password, sv_str next)
{
    const auth *a = sv_process_state(sv_call_process(call));
    auth_try_keys(&t->try);
    int rc = store_read(call, auth_try_look, &t->try, &t->known);
    if (rc) return rc;
    if (t->known.blocked_ms > 0) return too_soon(call, t->known.blocked_ms);
    if (next.p && t->known.found) {
        const sv_str words[] = {sv_cstr(t->known.user.email), sv_cstr(t->known.user.name),
                                sv_cstr("samovar")};
        if ((rc = password_check(next, words, 3, sv_call_error(call)))) return rc;
    }
    t->work = (auth_work){.password = password,
                          .hash = t->known.user.hash[0] ? t->known.user.hash : a->nobody,
                          .next = next,
                          .rehash = next.p == NULL,
                          .memory_bytes = a->memory_bytes};
    if ((rc = auth_work_do(call, &t->work))) return rc;
    t->end.try = &t->try;
    t->end.known = &t->known;
    t->end.right = t->work.right && t->known.found;
    memcpy(t->end.new_hash, t->work.new_hash, sizeof t->end.new_hash);
    return 0;
}

int attempt_verdict(sv_call *call, const auth_login_result *r)
{
    if (r->code == 0) return 0;
    if (r->code == SV_E_LOCKED_OUT) return too_soon(call, r->retry_after_ms);
    return sv_fail(sv_call_error(call), r->code, NULL, NULL);
}

attempt *attempt_of_caller(sv_call *call, sv_str email, sv_str network)
{
    attempt *t = arena_alloc(sv_call_arena(call), sizeof *t);
    sv_error *err = sv_call_error(call);
    if (t == NULL) {
        sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
        return NULL;
    }
    int rc = auth_who_of(call, email, &t->try.who);
    if (rc == 0) rc = auth_not_impersonated(call);
    if (rc == 0) rc = network_normalise(network, t->try.network, err);
    return rc ? NULL : t;
}

void attempt_session(const auth *a, sv_str device, bool remember, const char *network,
                     auth_session_new *ret, char token[WORDS_TOKEN + 1])
{
    *ret = (auth_session_new){.remember = remember,
                              .life_ms =
                                  remember || a->short_ms > a->life_ms ? a->life_ms : a->short_ms,
                              .idle_ms = a->idle_ms,
                              .most = a->sessions_most};
    auth_new_id(ret->session);
    if (device.n) memcpy(ret->device, device.p, device.n);
    snprintf(ret->network, sizeof ret->network, "%s", network);
    token_new("svr_", token);
    token_hash(sv_cstr(token), ret->refresh);
}

/* The password is right and the code is still to come: the half-login is in the store. */
static int reply_half(sv_call *call, const attempt *t)
{
    const auth *a = sv_process_state(sv_call_process(call));
    buf half;
    buf_init(&half, JWT_BYTES);
    int rc = auth_half_sign(a, t->result.user.id, t->end.half, t->result.now_ms, &half,
                            sv_call_error(call));
    if (rc == 0)
        rc = sv_reply(
            call, &(auth_login_reply){.two_factor_required = true, .half_token = buf_str(&half)});
    buf_free(&half);
    return rc;
}

int auth_login(sv_call *call, const void *request)
{
    const auth_login_req *q = request;
    const auth *a = sv_process_state(sv_call_process(call));
    attempt *t = arena_alloc(sv_call_arena(call), sizeof *t);
    link_made link = {.url = ""};
    if (t == NULL) return SV_E_NO_MEMORY;
    sv_error *err = sv_call_error(call);
    int rc = auth_keys_ready(a, err);
    if (rc == 0) rc = email_normalise(q->email, t->try.who.email, err);
    if (rc == 0) rc = network_normalise(q->network, t->try.network, err);
    if (rc == 0) rc = attempt_compare(call, t, q->password, (sv_str){NULL, 0});
    if (rc) return rc;
    attempt_session(a, q->device, q->remember, t->try.network, &t->end.start, t->token);
    auth_new_id(t->end.half);
    t->end.verify = a->verify;
    /* Without a link there is no mail, and nothing else differs. */
    if (a->verify && link_make(a, LINK_VERIFY, &link, NULL) == 0) t->end.link = &link;
    rc = auth_write(call, auth_login_end, &t->end, &t->result);
    link_wipe(&link);
    if (rc || (rc = attempt_verdict(call, &t->result))) return rc;
    return t->result.two_factor ? reply_half(call, t)
                                : auth_reply_session(call, &t->result, t->token);
}

int auth_change_password(sv_call *call, const void *request)
{
    const auth_change_password_req *q = request;
    attempt *t = attempt_of_caller(call, q->email, q->network);
    if (t == NULL) return sv_call_error(call)->code;
    if (q->session.n) memcpy(t->try.who.keep, q->session.p, q->session.n);
    int rc = attempt_compare(call, t, q->password, q->new_password);
    if (rc == 0) rc = auth_write(call, auth_password_end, &t->end, &t->result);
    if (rc || (rc = attempt_verdict(call, &t->result))) return rc;
    auth_user_info info = auth_user_show(&t->result.user);
    auth_user_reply reply = {.user = &info};
    return sv_reply(call, &reply);
}

/* ---- the answer ---- */

static sv_str text_of(const char *s)
{
    return s[0] ? sv_cstr(s) : (sv_str){NULL, 0};
}

int auth_reply_session(sv_call *call, const auth_login_result *r, const char *token)
{
    auth_login_result settled = *r;
    int rc = auth_claims_settle(call, &settled);
    if (rc) return rc;
    r = &settled;
    auth_user_info info = auth_user_show(&r->user);
    /* A token does not outlive its session by more than the second that it needs to be one. */
    int64_t left_s = (r->expires - r->now_ms) / 1000;
    int64_t life_s = left_s < 1 ? 1 : left_s < ACCESS_S ? left_s : ACCESS_S;
    auth_claims claims = {.user = sv_cstr(r->user.id),
                          .org = sv_cstr(r->org),
                          .role = text_of(r->role),
                          .admin = r->user.admin,
                          .tier = text_of(r->tier),
                          .impersonator = text_of(r->impersonator),
                          .session = sv_cstr(r->session),
                          .issued = r->now_ms / 1000,
                          .expires = r->now_ms / 1000 + life_s};
    const auth *a = sv_process_state(sv_call_process(call));
    buf access;
    buf_init(&access, JWT_BYTES);
    rc = auth_sign(a, &claims, r->now_ms, &access, sv_call_error(call));
    auth_login_reply reply = {.user = &info,
                              .session = sv_cstr(r->session),
                              .access_token = buf_str(&access),
                              .token_type = sv_cstr("Bearer"),
                              .expires_in = life_s,
                              .refresh_token = text_of(token),
                              .refresh_expires = token[0] ? r->expires : 0,
                              .remember = r->remember,
                              .claims = &claims};
    if (rc == 0) rc = sv_reply(call, &reply);
    buf_free(&access);
    return rc;
}
