/*  caller.c - the broker has verified the ticket's signature and time: here it is only read. */
#include "caller.h"

#include "auth.h"
#include "error.h"
#include "ticket.h"

#include <stdio.h>

static const char by_key[] = "key/", by_grant[] = "grant/", by_session[] = "session/";

void actor_spell(const char *impersonator, const char *user, char ret[AUTH_ACTOR])
{
    size_t n = strlen(user);
    if (impersonator[0] == 0)
        snprintf(ret, AUTH_ACTOR, "%.36s", user);
    else
        snprintf(ret, AUTH_ACTOR, "%.36s as %.22s", impersonator,
                 n > AUTH_AS ? user + n - AUTH_AS : user);
}

/* Ids of tickets are as long as ids are; a longer one is nobody's. */
static bool take(sv_str from, char to[AUTH_ID + 1])
{
    if (from.n > AUTH_ID) return false;
    snprintf(to, AUTH_ID + 1, "%.*s", SV_FMT(from));
    return true;
}

static bool behind(sv_str s, const char *word, sv_str *ret)
{
    uint32_t n = (uint32_t)strlen(word);
    if (s.n < n || memcmp(s.p, word, n) != 0) return false;
    *ret = (sv_str){s.p + n, s.n - n};
    return true;
}

static bool among(const sv_str *list, uint32_t n, const char *word)
{
    for (uint32_t i = 0; i < n; i++)
        if (sv_str_is(list[i], word)) return true;
    return false;
}

static int read_caller(sv_call *call, ticket *t, auth_caller *ret)
{
    sv_error *err = sv_call_error(call);
    sv_str id;
    *ret = (auth_caller){.operator= false };
    int rc = ticket_read(sv_call_ticket(call), t, err);
    if (rc) return rc;
    bool fits = t->user.n > 0 && take(t->user, ret->user) && take(t->org, ret->org) &&
                take(t->actor, ret->impersonator);
    if (fits && behind(t->credential, by_key, &id)) fits = id.n > 0 && take(id, ret->key);
    if (fits && behind(t->credential, by_grant, &id)) fits = id.n > 0 && take(id, ret->key);
    if (fits && behind(t->credential, by_session, &id)) fits = take(id, ret->session);
    if (!fits) {
        sv_fail(err, SV_E_TICKET, NULL, NULL);
        sv_error_detail(err, "%s", "an id in the ticket is none");
        return SV_E_TICKET;
    }
    ret->admin = among(t->roles, t->n_roles, "platform_admin");
    actor_spell(ret->impersonator, ret->user, ret->actor);
    return 0;
}

int auth_caller_user(sv_call *call, auth_caller *ret)
{
    ticket t;
    if (sv_call_ticket(call).n > 0) return read_caller(call, &t, ret);
    return sv_fail(sv_call_error(call), SV_E_NO_CREDENTIALS, NULL, NULL);
}

static int refuse_impersonated(sv_call *call, const auth_caller *c)
{
    if (c->impersonator[0] == 0) return 0;
    return sv_fail(sv_call_error(call), SV_E_DENIED, NULL,
                   "This is not possible while you act as another user.");
}

/* in: auth_event. */
static int denied(store_tx *tx, const void *in, void *out)
{
    (void)out;
    return audit_add(tx, in);
}

/* The refusal is an event of the platform's chain; the answer stays what it was. */
int auth_caller_denied(sv_call *call, const auth_caller *c, int rc)
{
    sv_error said = *sv_call_error(call);
    auth_event e = {.event = "access.denied",
                    .actor = c->actor,
                    .target = c->user,
                    .detail = sv_call_method(call).p};
    auth_write(call, denied, &e, NULL);
    *sv_call_error(call) = said;
    return rc;
}

int auth_caller_ask_admin(sv_call *call, auth_caller *ret)
{
    ticket t;
    sv_error *err = sv_call_error(call);
    *ret = (auth_caller){.operator= false };
    if (sv_call_ticket(call).n == 0) {
        int refused = auth_operator_only(call);
        if (refused) return refused;
        *ret = (auth_caller){.operator= true, .admin = true};
        snprintf(ret->actor, sizeof ret->actor, "%.64s", sv_call_caller(call));
        return 0;
    }
    int rc = read_caller(call, &t, ret);
    if (rc) return rc;
    rc = refuse_impersonated(call, ret);
    if (rc == 0 && !ret->admin)
        rc = sv_fail(err, SV_E_ROLE, NULL, "This is for administrators of the platform.");
    if (rc == 0 && ret->key[0] && !among(t.scopes, t.n_scopes, "admin"))
        rc = sv_fail(err, SV_E_SCOPE, NULL, NULL);
    return rc;
}

int auth_caller_admin(sv_call *call, auth_caller *ret)
{
    int rc = auth_caller_ask_admin(call, ret);
    return rc && ret->user[0] ? auth_caller_denied(call, ret, rc) : rc;
}

int auth_not_impersonated(sv_call *call)
{
    ticket t;
    auth_caller c;
    if (sv_call_ticket(call).n == 0) return 0;
    int rc = read_caller(call, &t, &c);
    return rc ? rc : refuse_impersonated(call, &c);
}
