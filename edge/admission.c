/*  admission.c - one step calls the next; each either goes on at once or leaves a wait behind. */
#include "admission.h"

#include "error.h"
#include "reply.h"

#include <stddef.h>
#include <strings.h>

enum { ADDRESS_TEXT = 46 };

/* What the client proves itself with: Authorization: Bearer, or x-api-key. {NULL, 0}: nothing. */
static int read_credential(const http_request *r, sv_str *ret, sv_error *err)
{
    static const char scheme[] = "Bearer ";
    const uint32_t skip = sizeof scheme - 1;
    uint32_t n = 0;
    sv_str given = http_header_get(r, "authorization", &n);
    *ret = (sv_str){NULL, 0};
    if (n > 1) return sv_fail(err, SV_E_TOKEN, NULL, "Authorization came more than once.");
    if (n == 1) {
        if (given.n <= skip || strncasecmp(given.p, scheme, skip) != 0)
            return sv_fail(err, SV_E_TOKEN, NULL, "Authorization must be: Bearer TOKEN.");
        *ret = (sv_str){given.p + skip, given.n - skip};
        return 0;
    }
    given = http_header_get(r, "x-api-key", &n);
    if (n > 1) return sv_fail(err, SV_E_API_KEY, NULL, "x-api-key came more than once.");
    if (n == 1 && given.n) *ret = given;
    return 0;
}

/* The request may go on: its body may come. */
static void let_in(edge_call *c)
{
    http_exchange *x = c->x;
    if (c->route->flags & (ROUTE_UNBUILT | ROUTE_STREAMS)) c->route->handler(c);
    http_resume(x);
}

static edge_call *call_of_limit(limits_wait *w)
{
    return (edge_call *)(void *)((char *)w - offsetof(edge_call, limit));
}

static void on_limit(limits_wait *w, const limits_verdict *v)
{
    edge_call *c = call_of_limit(w);
    sv_error err = {.code = 0};
    c->verdict = *v;
    if (c->x->ended) return; /* refused by the wire meanwhile */
    int rc = v->allowed ? c->failed : limits_error(v, &err);
    if (rc)
        gateway_refuse(c, rc, &err);
    else
        let_in(c);
}

static void count_limit(edge_call *c, const limits_subject *s)
{
    limits_verdict v;
    if (limits_check(limits_bus_limits(c->e->limits), s, &c->limit, on_limit, &v))
        on_limit(&c->limit, &v);
    else
        http_pause(c->x);
}

/* The limits of whoever it is. */
static void limit(edge_call *c)
{
    char address[ADDRESS_TEXT];
    const identity *who = c->who;
    limits_subject s = {.class = c->route->class, .address = address};
    if (s.class == CLASS_FREE) {
        let_in(c);
        return;
    }
    http_address_text(&c->from, address);
    if (who) {
        s.operator_here = who->is_operator;
        s.user = sv_cstr(who->user);
        s.org = sv_cstr(who->org);
        s.key = sv_cstr(who->key);
        s.tier = sv_cstr(who->tier);
        s.key_minute = who->minute_limit;
        s.key_hour = who->hour_limit;
    }
    count_limit(c, &s);
}

/* Who guesses tokens or keys is held up like one who guesses passwords. */
static void limit_guesses(edge_call *c, int rc)
{
    char address[ADDRESS_TEXT];
    limits_subject s = {.class = CLASS_AUTH, .address = address};
    c->failed = rc;
    http_address_text(&c->from, address);
    count_limit(c, &s);
}

/* Where everybody may go a token that has expired is none. One that cannot be judged just now is none
 * only where it makes no difference: a logout without its session would end nothing. */
static bool forgiven(const route *r, int rc)
{
    if (r->who != WHO_ALL) return false;
    return r->target == NULL || sv_error_lookup(rc)->status == SV_STATUS_UNAUTHENTICATED;
}

/* Who it is is known, or that it is not. */
static void identified(edge_call *c, int rc, sv_error *err)
{
    if (rc == SV_E_TOKEN || rc == SV_E_API_KEY) {
        limit_guesses(c, rc);
        return;
    }
    if (rc == 0) rc = access_allows(c->who, c->route, err);
    if (rc && forgiven(c->route, rc)) rc = 0;
    if (rc)
        gateway_refuse(c, rc, err);
    else
        limit(c);
}

static void on_key(access_wait *w, int code, identity *who, const sv_error *err)
{
    edge_call *c = (edge_call *)(void *)((char *)w - offsetof(edge_call, key));
    sv_error copy = err ? *err : (sv_error){.code = code};
    c->who = who;
    if (c->x->ended) return; /* refused by the wire meanwhile */
    identified(c, code, &copy);
}

void admission_begin(edge_call *c, const http_request *r)
{
    sv_error err = {.code = 0};
    sv_str credential;
    int rc = read_credential(r, &credential, &err);
    if (rc == 0) rc = access_find(c->e->access, credential, &c->who, &err);
    if (rc == SV_PENDING) {
        c->key.done = on_key;
        rc = access_ask(c->e->access, credential, &c->key, &err);
        if (rc == 0) {
            http_pause(c->x);
            return;
        }
    }
    identified(c, rc, &err);
}

void admission_cancel(edge_call *c)
{
    access_wait_cancel(&c->key);
    if (c->e->limits) limits_cancel(limits_bus_limits(c->e->limits), &c->limit);
}
