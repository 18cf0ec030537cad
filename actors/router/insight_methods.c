/*  insight_methods.c - router.decision and router.feedback. Whoever may not see a decision hears that
 *  there is none. */
#include "insight.h"

#include "error.h"
#include "router.h"
#include "ticket.h"

#include <string.h>

typedef struct caller {
    bool all;   /* the operator, or an administrator of the platform */
    bool admin; /* of his organization */
    sv_str org, user;
} caller;

static int no_such(sv_error *err)
{
    return sv_fail(err, SV_E_NOT_FOUND, "id",
                   "There is no such decision, it was not kept, or it is somebody else's.");
}

static int who(sv_call *call, caller *ret)
{
    sv_error *err = sv_call_error(call);
    sv_str bytes = sv_call_ticket(call); /* the broker has verified it */
    ticket t;
    *ret = (caller){.all = bytes.n == 0 && strcmp(sv_call_caller(call), "operator") == 0};
    if (ret->all) return 0;
    if (bytes.n == 0)
        return sv_fail(err, SV_E_NO_CREDENTIALS, NULL,
                       "Decisions belong to users: the call needs the ticket of one.");
    int rc = ticket_read(bytes, &t, err);
    if (rc) return rc;
    ret->org = t.org;
    ret->user = t.user;
    for (uint32_t i = 0; i < t.n_roles; i++) {
        if (sv_str_is(t.roles[i], "platform_admin")) ret->all = true;
        if (sv_str_is(t.roles[i], "owner") || sv_str_is(t.roles[i], "admin")) ret->admin = true;
    }
    return 0;
}

static bool his(const caller *c, sv_str org, sv_str user)
{
    return c->user.n > 0 && sv_str_eq(c->user, user) && sv_str_eq(c->org, org);
}

static bool may_see(const caller *c, const router_decision_reply *r)
{
    return c->all || his(c, r->org, r->user) ||
           (c->admin && c->org.n > 0 && sv_str_eq(c->org, r->org));
}

static int find(insight *n, sv_call *call, sv_str text, sv_id *ret_id, router_decision_reply *ret)
{
    sv_error *err = sv_call_error(call);
    if (uuid_parse(text, ret_id))
        return sv_fail(err, SV_E_INVALID, "id", "An id has 32 hexadecimal digits.");
    const decision *d = decision_find(n->decisions, ret_id);
    if (d) return decision_message(d, sv_call_arena(call), ret);
    if (sv_store(sv_call_process(call)) == NULL) return no_such(err);
    int rc = store_read(call, insight_read, ret_id, ret);
    if (rc != SV_E_NOT_FOUND) return rc;
    *err = (sv_error){0};
    return no_such(err);
}

int insight_decision(insight *n, sv_call *call, const router_decision_req *q)
{
    caller c;
    sv_id id;
    router_decision_reply reply;
    int rc = who(call, &c);
    if (rc == 0) rc = find(n, call, q->id, &id, &reply);
    if (rc) return rc;
    return may_see(&c, &reply) ? sv_reply(call, &reply) : no_such(sv_call_error(call));
}

/* ---- feedback ---- */

static void take_text(char *to, size_t most, sv_str s)
{
    size_t n = s.n < most ? s.n : most;
    if (n) memcpy(to, s.p, n);
    to[n] = 0;
}

/* Of what the reply says: the same for one in memory and one of the store. */
static void about_of(const router_decision_reply *r, const sv_id *id, decision_about *ret)
{
    *ret = (decision_about){.id = *id, .at_ms = r->at, .task = ""};
    for (int i = 0; i < TASKS; i++)
        if (sv_str_is(r->task, model_task_names[i])) ret->task = model_task_names[i];
    take_text(ret->org, DECISION_ID, r->org);
    take_text(ret->user, DECISION_ID, r->user);
    take_text(ret->provider, sizeof ret->provider - 1, r->provider);
    take_text(ret->model, sizeof ret->model - 1, r->model);
}

int insight_feedback(insight *n, sv_call *call, const router_feedback_req *q)
{
    caller c;
    router_decision_reply reply;
    insight_rating rating = {.rating = (int)q->rating};
    insight_rated now;
    sv_id id;
    sv_error *err = sv_call_error(call);
    int rc = who(call, &c);
    if (rc == 0) rc = find(n, call, q->decision, &id, &reply);
    if (rc) return rc;
    if (!his(&c, reply.org, reply.user)) return no_such(err);
    if (reply.provider.n == 0)
        return sv_fail(err, SV_E_INVALID, "decision",
                       reply.ended ? "Nobody answered this request: there is nothing to rate."
                                   : "This request is still being answered.");
    about_of(&reply, &id, &rating.about);
    rc = store_write(call, insight_rate, &rating, &now);
    if (rc) return rc;
    decision_rated(n->decisions, &id, rating.rating);
    for (int i = 0; now.learned && i < TASKS; i++)
        if (strcmp(rating.about.task, model_task_names[i]) == 0)
            learn_ratings(n->learn, (model_task)i, rating.about.provider,
                          sv_cstr(rating.about.model), now.good, now.n, now.at_ms);
    return sv_reply(call, &(bus_empty){});
}

/* ---- the methods ---- */

int router_decision(sv_call *call, const void *request)
{
    router *r = sv_process_state(sv_call_process(call));
    return insight_decision(&r->insight, call, request);
}

int router_feedback(sv_call *call, const void *request)
{
    router *r = sv_process_state(sv_call_process(call));
    return insight_feedback(&r->insight, call, request);
}

/* ---- without a process ---- */

int decision_answer(sv_offline *o, const void *request, void *reply)
{
    const router_decision_req *q = request;
    sv_id id;
    if (uuid_parse(q->id, &id))
        return sv_fail(o->err, SV_E_INVALID, "id", "An id has 32 hexadecimal digits.");
    store_op op = {
        .fn = insight_read, .in = &id, .out = reply, .arena = o->arena, .owner = "router"};
    int rc = store_view(o->store, &op);
    if (rc == SV_E_NOT_FOUND) return no_such(o->err);
    if (rc) *o->err = op.error;
    return rc;
}
