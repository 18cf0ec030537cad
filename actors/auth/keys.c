/*  keys.c - methods about API keys. */
#include "keys.h"

#include "auth.h"
#include "error.h"
#include "live.h"
#include "seal.h"

#include <stdio.h>

static void take(sv_str from, char *to, size_t size)
{
    snprintf(to, size, "%.*s", SV_FMT(from));
}

int key_asker_of(sv_call *call, sv_str email, key_asker *ret, auth_caller *by)
{
    *ret = (key_asker){.operator= sv_call_ticket(call).n == 0};
    *by = (auth_caller){.operator= ret->operator};
    if (ret->operator) {
        int rc = auth_operator_only(call);
        snprintf(ret->who.actor, sizeof ret->who.actor, "%.64s", sv_call_caller(call));
        if (rc || email.n == 0) return rc;
        return email_normalise(email, ret->who.email, sv_call_error(call));
    }
    if (email.n)
        return sv_fail(sv_call_error(call), SV_E_INVALID, "email",
                       "A call with a ticket is for its user: leave this field out.");
    int rc = auth_caller_user(call, by);
    if (rc) return rc;
    memcpy(ret->who.id, by->user, sizeof ret->who.id);
    memcpy(ret->who.actor, by->actor, sizeof ret->who.actor);
    memcpy(ret->org, by->org, sizeof ret->org);
    memcpy(ret->key, by->key, sizeof ret->key);
    return 0;
}

int key_maker_himself(sv_call *call, const auth_caller *by)
{
    int rc = auth_not_impersonated(call);
    if (rc || by->operator|| by->session[0]) return rc;
    return sv_fail(sv_call_error(call), SV_E_DENIED, NULL,
                   "This takes somebody who is logged in: an API key is not enough.");
}

static int email_needed(sv_call *call, const key_asker *who)
{
    if (!who->operator|| who->who.email[0]) return 0;
    return sv_fail(sv_call_error(call), SV_E_MISSING_FIELD, "email", NULL);
}

static int by_edge_only(sv_call *call)
{
    if (strcmp(sv_call_caller(call), "edge") == 0) return 0;
    return auth_operator_only(call);
}

static void tell(sv_call *call, const auth_key *k, const char *type)
{
    char json[AUTH_ID + 16], org[AUTH_ID + 1], user[AUTH_ID + 1];
    snprintf(json, sizeof json, "{\"id\":\"%.*s\"}", SV_FMT(k->id));
    take(k->org, org, sizeof org);
    take(k->user, user, sizeof user);
    live_tell(sv_process_state(sv_call_process(call)), org, user, type, json);
}

int auth_key_new(sv_call *call, const void *request)
{
    const auth_key_new_req *q = request;
    const auth *a = sv_process_state(sv_call_process(call));
    char key[KEY_TEXT + 1];
    auth_key made;
    auth_caller by;
    key_new *n = arena_alloc(sv_call_arena(call), sizeof *n);
    if (n == NULL) return SV_E_NO_MEMORY;
    int rc = key_asker_of(call, q->email, &n->asker, &by);
    if (rc == 0) rc = email_needed(call, &n->asker);
    if (rc == 0) rc = key_maker_himself(call, &by);
    if (rc) return rc;
    n->request = q;
    n->most = a->keys_per_user;
    key_make(n->id, n->shown, key);
    token_hash(sv_cstr(key), n->hash);
    rc = auth_write(call, key_insert, n, &made);
    if (rc == 0) tell(call, &made, "key.created");
    if (rc == 0) rc = sv_reply(call, &(auth_key_new_reply){.key = sv_cstr(key), .info = &made});
    seal_wipe(key, sizeof key);
    return rc;
}

int auth_keys(sv_call *call, const void *request)
{
    const auth_keys_req *q = request;
    key_look look = {.after = q->after};
    key_page page;
    auth_caller by;
    int rc = key_asker_of(call, q->email, &look.asker, &by);
    if (rc == 0) rc = email_needed(call, &look.asker);
    if (rc == 0) rc = store_read(call, key_some, &look, &page);
    if (rc) return rc;
    return sv_reply(call, &(auth_keys_reply){.keys = {page.items, page.n}, .next = page.next});
}

int auth_key_one(sv_call *call, const void *request)
{
    const auth_key_req *q = request;
    key_look look = {.id = q->id};
    auth_key key;
    auth_caller by;
    int rc = key_asker_of(call, (sv_str){NULL, 0}, &look.asker, &by);
    if (rc == 0) rc = store_read(call, key_one, &look, &key);
    return rc ? rc : sv_reply(call, &(auth_key_reply){.key = &key});
}

int auth_key_delete(sv_call *call, const void *request)
{
    const auth_key_req *q = request;
    key_look look = {.id = q->id};
    auth_key key;
    auth_caller by;
    int rc = key_asker_of(call, (sv_str){NULL, 0}, &look.asker, &by);
    if (rc == 0) rc = auth_not_impersonated(call);
    if (rc == 0) rc = auth_write(call, key_remove, &look, &key);
    if (rc) return rc;
    tell(call, &key, "key.deleted");
    return sv_reply(call, &(auth_key_reply){.key = &key});
}

int auth_key_check(sv_call *call, const void *request)
{
    const auth_key_check_req *q = request;
    auth_key_check_reply reply;
    int rc = by_edge_only(call);
    if (rc == 0 && q->hash.n != WORDS_HASH)
        rc = sv_fail(sv_call_error(call), SV_E_INVALID, "hash", "This is no SHA-256: 32 bytes.");
    if (rc == 0) rc = store_read(call, key_check, q->hash.p, &reply);
    return rc ? rc : sv_reply(call, &reply);
}

int auth_key_used(sv_call *call, const void *request)
{
    int rc = by_edge_only(call);
    if (rc == 0) rc = auth_write(call, key_used, request, NULL);
    return rc ? rc : sv_reply(call, &(bus_empty){});
}
