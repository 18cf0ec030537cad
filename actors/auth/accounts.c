/*  accounts.c - methods that only read and write, of an actor that runs and of one that does not. */
#include "auth.h"

#include "caller.h"
#include "error.h"
#include "live.h"

#include <stdio.h>

static const char no_user[] = "There is no such user.";

/* ---- who ---- */

int auth_operator_only(sv_call *call)
{
    if (strcmp(sv_call_caller(call), "operator") == 0) return 0;
    return sv_fail(sv_call_error(call), SV_E_DENIED, NULL, NULL);
}

int auth_who_of(sv_call *call, sv_str email, auth_who *ret)
{
    sv_error *err = sv_call_error(call);
    auth_caller who;
    if (sv_call_ticket(call).n == 0) {
        int rc = auth_operator_only(call);
        if (rc == 0 && email.n == 0) rc = sv_fail(err, SV_E_MISSING_FIELD, "email", NULL);
        if (rc == 0) rc = email_normalise(email, ret->email, err);
        snprintf(ret->actor, sizeof ret->actor, "%.64s", sv_call_caller(call));
        return rc;
    }
    if (email.n)
        return sv_fail(err, SV_E_INVALID, "email",
                       "A call with a ticket is for its user: leave this field out.");
    int rc = auth_caller_user(call, &who);
    if (rc) return rc;
    snprintf(ret->id, sizeof ret->id, "%s", who.user);
    snprintf(ret->actor, sizeof ret->actor, "%s", who.actor);
    return 0;
}

int auth_named(sv_call *call, int rc)
{
    if (rc == SV_E_NOT_FOUND && sv_call_error(call)->message[0] == 0) {
        *sv_call_error(call) = (sv_error){.code = 0};
        sv_fail(sv_call_error(call), rc, NULL, "%s", no_user);
    }
    return rc;
}

/* ---- sessions ---- */

int auth_refresh(sv_call *call, const void *request)
{
    const auth_refresh_req *q = request;
    const auth *a = sv_process_state(sv_call_process(call));
    auth_login_result *result = arena_alloc(sv_call_arena(call), sizeof *result);
    char token[WORDS_TOKEN + 1];
    auth_refresh_in in = {.idle_ms = a->idle_ms};
    if (result == NULL) return SV_E_NO_MEMORY;
    int rc = auth_keys_ready(a, sv_call_error(call));
    if (rc) return rc;
    token_hash(q->refresh_token, in.token);
    token_new("svr_", token);
    token_hash(sv_cstr(token), in.next);
    rc = auth_write(call, auth_refresh_swap, &in, result);
    if (rc) return rc;
    if (result->code) return sv_fail(sv_call_error(call), result->code, NULL, NULL);
    return auth_reply_session(call, result, token);
}

/* Sessions of the caller; nobody else's, whatever the request names. */
static int caller_session(sv_call *call, sv_str session, auth_end_in *ret)
{
    auth_caller who;
    snprintf(ret->session, sizeof ret->session, "%.*s", SV_FMT(session));
    if (sv_call_ticket(call).n == 0) return 0;
    int rc = auth_caller_user(call, &who);
    if (rc) return rc;
    snprintf(ret->user, sizeof ret->user, "%s", who.user);
    if (ret->session[0] == 0) snprintf(ret->session, sizeof ret->session, "%s", who.session);
    return 0;
}

int auth_logout(sv_call *call, const void *request)
{
    const auth_logout_req *q = request;
    auth_end_in in = {.session = ""};
    bool ended;
    int rc = 0;
    if (q->refresh_token.n)
        token_hash(q->refresh_token, in.token);
    else
        rc = caller_session(call, q->session, &in);
    if (rc == 0 && q->refresh_token.n == 0 && in.session[0] == 0)
        rc = sv_fail(sv_call_error(call), SV_E_MISSING_FIELD, "refresh_token", NULL);
    if (rc == 0) rc = auth_write(call, auth_session_end, &in, &ended);
    return rc ? rc : sv_reply(call, &(bus_empty){});
}

/* To the caller's browsers. */
static void tell(sv_call *call, const char *type)
{
    auth_caller who;
    if (sv_call_ticket(call).n && auth_caller_user(call, &who) == 0)
        live_tell(sv_process_state(sv_call_process(call)), who.org, who.user, type, NULL);
}

int auth_session_end_one(sv_call *call, const void *request)
{
    const auth_session_req *q = request;
    auth_end_in in = {.session = ""};
    bool ended = false;
    int rc = sv_call_ticket(call).n ? auth_not_impersonated(call) : auth_operator_only(call);
    if (rc == 0) rc = caller_session(call, q->id, &in);
    if (rc == 0 && in.session[0]) rc = auth_write(call, auth_session_end, &in, &ended);
    if (rc == 0 && !ended)
        rc = sv_fail(sv_call_error(call), SV_E_NOT_FOUND, "id", "There is no such session.");
    if (rc) return rc;
    tell(call, "session.ended");
    return sv_reply(call, &(bus_empty){});
}

int auth_logout_all(sv_call *call, const void *request)
{
    const auth_who_req *q = request;
    auth_who who = {.id = ""};
    int64_t ended = 0;
    int rc = auth_who_of(call, q->email, &who);
    if (rc == 0) rc = auth_not_impersonated(call);
    if (rc == 0) rc = auth_named(call, auth_write(call, auth_sessions_end, &who, &ended));
    if (rc) return rc;
    tell(call, "session.ended");
    return sv_reply(call, &(auth_logout_all_reply){.sessions = ended});
}

int auth_sessions(sv_call *call, const void *request)
{
    const auth_who_req *q = request;
    const auth *a = sv_process_state(sv_call_process(call));
    auth_sessions_in in = {.idle_ms = a->idle_ms};
    auth_session_list list;
    auth_end_in mine = {.session = ""};
    int rc = auth_who_of(call, q->email, &in.who);
    if (rc == 0) rc = caller_session(call, q->session, &mine);
    memcpy(in.who.keep, mine.session, sizeof in.who.keep);
    if (rc == 0) rc = auth_named(call, store_read(call, auth_sessions_some, &in, &list));
    return rc ? rc : sv_reply(call, &(auth_sessions_reply){.sessions = {list.items, list.n}});
}

/* An API key works in one organization and hears of no other. */
static int show_only_keys_org(sv_call *call, auth_me_result *me)
{
    auth_caller who;
    uint32_t n = 0;
    if (sv_call_ticket(call).n == 0) return 0;
    int rc = auth_caller_user(call, &who);
    if (rc || who.key[0] == 0) return rc;
    for (uint32_t i = 0; i < me->n; i++)
        if (sv_str_is(me->orgs[i].id, who.org)) me->orgs[n++] = me->orgs[i];
    me->n = n;
    return 0;
}

int auth_me(sv_call *call, const void *request)
{
    const auth_who_req *q = request;
    auth_who who = {.id = ""};
    auth_me_result me;
    int rc = auth_who_of(call, q->email, &who);
    if (rc == 0) rc = auth_named(call, store_read(call, auth_me_read, &who, &me));
    if (rc == 0) rc = show_only_keys_org(call, &me);
    if (rc) return rc;
    auth_user_info info = auth_user_show(&me.user);
    return sv_reply(call, &(auth_me_reply){.user = &info, .orgs = {me.orgs, me.n}});
}

int auth_me_change(sv_call *call, const void *request)
{
    const auth_me_change_req *q = request;
    auth_me_change_in in = {.with_name = q->name.p != NULL, .with_locale = q->locale.p != NULL};
    sv_error *err = sv_call_error(call);
    auth_user user;
    int rc = auth_who_of(call, q->email, &in.who);
    if (rc == 0) rc = name_check(q->name, err);
    if (rc == 0) rc = locale_check(q->locale, err);
    if (rc) return rc;
    snprintf(in.name, sizeof in.name, "%.*s", SV_FMT(q->name));
    snprintf(in.locale, sizeof in.locale, "%.*s", SV_FMT(q->locale));
    rc = auth_named(call, auth_write(call, auth_me_change_end, &in, &user));
    if (rc) return rc;
    tell(call, "user.changed");
    auth_user_info info = auth_user_show(&user);
    return sv_reply(call, &(auth_user_reply){.user = &info});
}

/* ---- users ---- */

int auth_user_disable(sv_call *call, const void *request)
{
    const auth_user_disable_req *q = request;
    auth_user_change c = {.disabled = !q->enable};
    auth_user user;
    int rc = auth_operator_only(call);
    if (rc == 0) rc = email_normalise(q->email, c.email, sv_call_error(call));
    snprintf(c.actor, sizeof c.actor, "%.64s", sv_call_caller(call));
    if (rc == 0) rc = auth_write(call, auth_user_switch, &c, &user);
    if (rc) return rc;
    auth_user_info info = auth_user_show(&user);
    return sv_reply(call, &(auth_user_reply){.user = &info});
}

typedef struct listing {
    char after[WORDS_EMAIL + 1];
    auth_user_page page;
    auth_user_info infos[AUTH_PAGE];
} listing;

static listing *listing_new(arena *a, const auth_user_list_req *q)
{
    listing *l = arena_alloc(a, sizeof *l);
    if (l && q->after.n) memcpy(l->after, q->after.p, q->after.n);
    return l;
}

static auth_user_list_reply listing_reply(listing *l)
{
    uint32_t n = l->page.n;
    for (uint32_t i = 0; i < n; i++)
        l->infos[i] = auth_user_show(&l->page.users[i]);
    return (auth_user_list_reply){.users = {l->infos, n},
                                  .next = l->page.more ? l->infos[n - 1].email : (sv_str){NULL, 0}};
}

int auth_user_list(sv_call *call, const void *request)
{
    int rc = auth_operator_only(call);
    if (rc) return rc;
    listing *l = listing_new(sv_call_arena(call), request);
    if (l == NULL) return SV_E_NO_MEMORY;
    if ((rc = store_read(call, auth_user_some, l->after, &l->page))) return rc;
    auth_user_list_reply reply = listing_reply(l);
    return sv_reply(call, &reply);
}

/* ---- the audit log ---- */

int auth_audit(sv_call *call, const void *request)
{
    auth_audit_page page;
    auth_caller by;
    auth_audit_ask ask = {.request = request, .any = auth_caller_ask_admin(call, &by) == 0};
    int rc = 0;
    if (!ask.any) {
        *sv_call_error(call) = (sv_error){.code = 0};
        rc = auth_caller_user(call, &by);
    }
    if (!by.operator) {
        memcpy(ask.user, by.user, sizeof ask.user);
        memcpy(ask.org, by.org, sizeof ask.org);
    }
    if (rc == 0) rc = store_read(call, auth_audit_for, &ask, &page);
    if (rc == SV_E_ROLE) return auth_caller_denied(call, &by, rc);
    if (rc) return rc;
    return sv_reply(call, &(auth_audit_reply){.events = {page.items, page.n}, .next = page.next});
}

static auth_audit_verify_reply verify_reply(const auth_verify *v)
{
    return (auth_audit_verify_reply){.chains = v->chains,
                                     .events = v->events,
                                     .broken = v->broken,
                                     .chain =
                                         v->broken ? sv_cstr(v->first_chain) : (sv_str){NULL, 0},
                                     .number = v->first_number,
                                     .head = v->head[0] ? sv_cstr(v->head) : (sv_str){NULL, 0}};
}

/* One piece on a worker: hashing a page of rows is more than the loop should do at once. */
typedef struct piece {
    store *store;
    auth_verify verify;
    sv_error err;
} piece;

enum { PIECE_ARENA = 16 << 20 };

static int verify_piece(void *arg)
{
    piece *p = arg;
    arena a;
    arena_init(&a, PIECE_ARENA);
    store_op op = {.fn = auth_verify_some,
                   .in = &p->verify,
                   .out = &p->verify,
                   .arena = &a,
                   .owner = "auth.audit_verify"};
    int rc = store_view(p->store, &op);
    if (rc) p->err = op.error;
    arena_free(&a);
    return rc;
}

int auth_audit_verify(sv_call *call, const void *request)
{
    (void)request;
    piece *p = arena_alloc(sv_call_arena(call), sizeof *p);
    int rc = auth_operator_only(call);
    if (rc) return rc;
    if (p == NULL) return SV_E_NO_MEMORY;
    while (rc == 0 && !p->verify.done) {
        p->store = sv_store(sv_call_process(call));
        if (p->store == NULL) return sv_fail(sv_call_error(call), SV_E_DRAINING, NULL, NULL);
        rc = sv_work(call, verify_piece, p);
    }
    if (p->err.code) *sv_call_error(call) = p->err;
    if (rc) return rc;
    auth_audit_verify_reply reply = verify_reply(&p->verify);
    return sv_reply(call, &reply);
}

/* ---- without a process ---- */

static int view(sv_offline *o, store_fn *fn, const void *in, void *out)
{
    store_op op = {.fn = fn, .in = in, .out = out, .arena = o->arena, .owner = "offline"};
    int rc = store_view(o->store, &op);
    if (rc) *o->err = op.error;
    return rc;
}

int auth_user_list_answer(sv_offline *o, const void *request, void *reply)
{
    listing *l = listing_new(o->arena, request);
    if (l == NULL) return SV_E_NO_MEMORY;
    int rc = view(o, auth_user_some, l->after, &l->page);
    if (rc == 0) *(auth_user_list_reply *)reply = listing_reply(l);
    return rc;
}

int auth_audit_answer(sv_offline *o, const void *request, void *reply)
{
    auth_audit_page page;
    int rc = view(o, auth_audit_some, request, &page);
    if (rc == 0)
        *(auth_audit_reply *)reply =
            (auth_audit_reply){.events = {page.items, page.n}, .next = page.next};
    return rc;
}

int auth_audit_verify_answer(sv_offline *o, const void *request, void *reply)
{
    (void)request;
    piece *p = arena_alloc(o->arena, sizeof *p);
    if (p == NULL) return SV_E_NO_MEMORY;
    p->store = o->store;
    int rc = 0;
    while (rc == 0 && !p->verify.done)
        rc = verify_piece(p);
    if (rc) *o->err = p->err;
    *(auth_audit_verify_reply *)reply = verify_reply(&p->verify);
    return rc;
}
