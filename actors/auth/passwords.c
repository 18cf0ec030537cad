/*  passwords.c - methods that work on a password: each looks, computes on a worker, and writes. */
#include "auth.h"

#include "error.h"
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

static int work(sv_call *call, auth_work *w)
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

static void new_id(char ret[AUTH_ID + 1])
{
    sv_id id = uuid_new();
    uuid_format(&id, ret);
}

/* Everything about the user but the hash. */
static int fill_user(sv_call *call, sv_str email, sv_str name, sv_str password, auth_user *u)
{
    sv_error *err = sv_call_error(call);
    int rc = email_normalise(email, u->email, err);
    if (rc) return rc;
    const sv_str words[] = {sv_cstr(u->email), name, sv_cstr("samovar")};
    if ((rc = password_check(password, words, 3, err))) return rc;
    if (name.n) memcpy(u->name, name.p, name.n);
    new_id(u->id);
    new_id(u->org);
    return 0;
}

/* The hash, then the rows. */
static int make_user(sv_call *call, sv_str password, auth_user_new *n)
{
    const auth *a = sv_process_state(sv_call_process(call));
    auth_work w = {.next = password, .memory_bytes = a->memory_bytes};
    auth_user made;
    int rc = work(call, &w);
    if (rc) return rc;
    memcpy(n->user.hash, w.new_hash, sizeof n->user.hash);
    if ((rc = store_write(call, auth_user_insert, n, &made))) return rc;
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
    if ((rc = fill_user(call, q->email, q->name, q->password, &n->user))) return rc;
    n->setup = hash;
    n->user.admin = true;
    snprintf(n->actor, sizeof n->actor, "%s", n->user.id);
    return make_user(call, q->password, n);
}

int auth_user_add(sv_call *call, const void *request)
{
    const auth_user_add_req *q = request;
    auth_user_new *n = arena_alloc(sv_call_arena(call), sizeof *n);
    if (n == NULL) return SV_E_NO_MEMORY;
    int rc = auth_operator_only(call);
    if (rc == 0) rc = fill_user(call, q->email, q->name, q->password, &n->user);
    if (rc) return rc;
    n->user.admin = q->admin;
    snprintf(n->actor, sizeof n->actor, "%.64s", sv_call_caller(call));
    return make_user(call, q->password, n);
}

/* ---- tries ---- */

typedef struct attempt {
    auth_try try;
    auth_try_known known;
    auth_try_end end;
    auth_work work;
    auth_login_result result;
    char token[WORDS_TOKEN + 1];
} attempt;

static int too_soon(sv_call *call, int64_t ms)
{
    sv_error *err = sv_call_error(call);
    sv_fail(err, SV_E_LOCKED_OUT, NULL, NULL);
    err->retry_after_ms = (uint32_t)ms;
    return SV_E_LOCKED_OUT;
}

/* The look and the comparison; `next` is the password to be hashed when it is right. */
static int compare(sv_call *call, attempt *t, sv_str password, sv_str next)
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
                          .hash = t->known.found ? t->known.user.hash : a->nobody,
                          .next = next,
                          .rehash = next.p == NULL,
                          .memory_bytes = a->memory_bytes};
    if ((rc = work(call, &t->work))) return rc;
    t->end.try = &t->try;
    t->end.known = &t->known;
    t->end.right = t->work.right && t->known.found;
    memcpy(t->end.new_hash, t->work.new_hash, sizeof t->end.new_hash);
    return 0;
}

static int verdict(sv_call *call, const attempt *t)
{
    int code = t->result.code;
    if (code == 0) return 0;
    if (code == SV_E_LOCKED_OUT) return too_soon(call, t->result.retry_after_ms);
    return sv_fail(sv_call_error(call), code, NULL, NULL);
}

int auth_login(sv_call *call, const void *request)
{
    const auth_login_req *q = request;
    const auth *a = sv_process_state(sv_call_process(call));
    attempt *t = arena_alloc(sv_call_arena(call), sizeof *t);
    if (t == NULL) return SV_E_NO_MEMORY;
    sv_error *err = sv_call_error(call);
    int rc = auth_keys_ready(a, err);
    if (rc == 0) rc = email_normalise(q->email, t->try.who.email, err);
    if (rc == 0) rc = network_normalise(q->network, t->try.network, err);
    if (rc == 0) rc = compare(call, t, q->password, (sv_str){NULL, 0});
    if (rc) return rc;
    new_id(t->end.session);
    if (q->device.n) memcpy(t->end.device, q->device.p, q->device.n);
    token_new("svr_", t->token);
    token_hash(sv_cstr(t->token), t->end.refresh);
    t->end.life_ms = a->life_ms;
    rc = store_write(call, auth_login_end, &t->end, &t->result);
    if (rc || (rc = verdict(call, t))) return rc;
    return auth_reply_session(call, &t->result, t->token);
}

int auth_change_password(sv_call *call, const void *request)
{
    const auth_change_password_req *q = request;
    attempt *t = arena_alloc(sv_call_arena(call), sizeof *t);
    if (t == NULL) return SV_E_NO_MEMORY;
    int rc = auth_who_of(call, q->email, &t->try.who);
    if (rc == 0) rc = network_normalise(q->network, t->try.network, sv_call_error(call));
    if (rc) return rc;
    if (q->session.n) memcpy(t->try.who.keep, q->session.p, q->session.n);
    if ((rc = compare(call, t, q->password, q->new_password))) return rc;
    rc = store_write(call, auth_password_end, &t->end, &t->result);
    if (rc || (rc = verdict(call, t))) return rc;
    auth_user_info info = auth_user_show(&t->result.user);
    auth_user_reply reply = {.user = &info};
    return sv_reply(call, &reply);
}

/* ---- the answer ---- */

int auth_reply_session(sv_call *call, const auth_login_result *r, const char *token)
{
    auth_user_info info = auth_user_show(&r->user);
    auth_claims claims = {.user = sv_cstr(r->user.id),
                          .org = sv_cstr(r->org),
                          .role = sv_cstr(r->role),
                          .admin = r->user.admin,
                          .session = sv_cstr(r->session),
                          .issued = r->now_ms / 1000,
                          .expires = r->now_ms / 1000 + ACCESS_S};
    const auth *a = sv_process_state(sv_call_process(call));
    buf access;
    buf_init(&access, JWT_BYTES);
    int rc = auth_sign(a, &claims, &access, sv_call_error(call));
    auth_login_reply reply = {.user = &info,
                              .session = sv_cstr(r->session),
                              .access_token = buf_str(&access),
                              .refresh_token = sv_cstr(token),
                              .refresh_expires = r->expires,
                              .claims = &claims};
    if (rc == 0) rc = sv_reply(call, &reply);
    buf_free(&access);
    return rc;
}
