/*  own.c - /api/providers: a key goes from the edge to a router and no further. It is tested against
 *  the provider before it is kept, sealed here, and handed to auth as a blob, with the caller's ticket:
 *  auth decides who may. Everything is steps of the loop: look (the row at auth), probe (the provider),
 *  put (the row at auth). */
#include "router.h"

#include "error.h"
#include "http_guard.h"
#include "log.h"
#include "ticket.h"
#include "uuid.h"

#include <stdio.h>
#include <stdlib.h>

enum { AUTH_MS = 10000, LAST = 4, LAST_FROM = 12, SEALED = TENANT_BLOB };

typedef enum own_what { OWN_LIST, OWN_ONE, OWN_NEW, OWN_CHANGE, OWN_TEST } own_what;

typedef struct own {
    router *r;
    sv_call *call;
    own_what what;
    sv_stream *asking;
    provider *probe;
    secret *key; /* the new one; NULL: none was given */
    sv_str key_text;
    auth_provider row; /* of the call's arena */
    auth_provider_put_req put;
    char id[UUID_TEXT + 1];
    int64_t models; /* of the probe */
    bool probed, whole_key;
} own;

/* ---- life ---- */

static void own_free(own *o)
{
    if (o->asking) sv_cancel(o->asking);
    if (o->probe) catalog_remove(&o->r->catalog, o->probe);
    provider_unref(o->probe);
    secret_free(o->key);
    sv_on_cancel(o->call, NULL);
    free(o);
}

static void refuse(own *o, int code, const sv_error *err)
{
    sv_call *call = o->call;
    sv_error said = err ? *err : (sv_error){.code = 0};
    own_free(o);
    sv_refuse(call, code, err ? &said : NULL);
}

static void cancelled(sv_call *call)
{
    refuse(sv_call_data(call), SV_E_CANCELLED, NULL);
}

static int begin(sv_call *call, own_what what, own **ret)
{
    /* auth takes the word of routers for who reads without a ticket */
    if (sv_call_ticket(call).n == 0 && strcmp(sv_call_caller(call), "operator") != 0)
        return sv_fail(sv_call_error(call), SV_E_NO_CREDENTIALS, NULL,
                       "Providers belong to users: the call needs the ticket of one.");
    own *o = calloc(1, sizeof *o);
    if (o == NULL) return SV_E_NO_MEMORY;
    o->r = sv_process_state(sv_call_process(call));
    o->call = call;
    o->what = what;
    *ret = o;
    return 0;
}

/* Ends a step's beginning: the call waits, or is over with `rc`. */
static int waits(own *o, int rc)
{
    if (rc) {
        own_free(o);
        return rc;
    }
    sv_call_set_data(o->call, o);
    sv_on_cancel(o->call, cancelled);
    return SV_PENDING;
}

/* ---- auth ---- */

static void on_auth(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err);

static int ask_auth(own *o, const char *target, const sv_message *m, const void *body,
                    sv_error *err)
{
    static const sv_events events = {.done = on_auth};
    sv_request q = {
        .target = target, .type = m, .body = body, .ttl_ms = AUTH_MS, .parent = o->call};
    o->asking = sv_open(o->r->process, &q, &events, o, err);
    return o->asking ? 0 : err->code;
}

static int ask_row(own *o, sv_str id, sv_error *err)
{
    return ask_auth(o, "auth.provider", &auth_provider_req_msg, &(auth_provider_req){.id = id},
                    err);
}

static int put_row(own *o, sv_error *err)
{
    return ask_auth(o, "auth.provider_put", &auth_provider_put_req_msg, &o->put, err);
}

static void seal_and_put(own *o)
{
    buf sealed;
    sv_error err = {.code = 0};
    const auth_provider *p = &o->row;
    tenant_secret s = {.id = p->id,
                       .org = p->org,
                       .user = p->user,
                       .kind = p->kind,
                       .base_url = p->base_url,
                       .api_version = p->api_version,
                       .key = o->key_text};
    buf_init(&sealed, SEALED);
    int rc = tenants_seal(o->r->tenants, &s, &sealed);
    if (rc == SV_E_UNAVAILABLE)
        sv_fail(&err, rc, NULL, "This router has no root key: keys cannot be sealed.");
    if (rc == 0) {
        o->put.sealed = buf_str(&sealed);
        if (o->key_text.n >= LAST_FROM)
            o->put.last4 = (sv_str){o->key_text.p + o->key_text.n - LAST, LAST};
        rc = put_row(o, &err);
        o->put.sealed = (sv_str){NULL, 0};
    }
    buf_free(&sealed);
    if (rc) refuse(o, rc, &err);
}

/* ---- the provider ---- */

static void reply_test(own *o, bool ok)
{
    sv_call *call = o->call;
    char state[sizeof o->probe->state];
    snprintf(state, sizeof state, "%s", ok ? "ready" : o->probe->state);
    router_own_test_reply reply = {
        .ok = ok, .models = (int64_t)o->probe->models.n, .state = sv_cstr(state)};
    own_free(o);
    sv_reply(call, &reply);
}

static void say_why(const provider *p, sv_error *err)
{
    int status = p->fetch_status;
    if (status == 401 || status == 403)
        sv_fail(err, SV_E_INVALID, "key",
                "The provider refuses this key (status %d): nothing was kept.", status);
    else if (status == 0)
        sv_fail(err, SV_E_INVALID, "base_url",
                "The provider cannot be asked (%.150s): nothing was kept.", p->state);
    else
        sv_fail(err, SV_E_INVALID, "base_url",
                "The provider does not list its models (%.150s): nothing was kept.", p->state);
}

static void on_heard(void *arg, provider *p)
{
    own *o = arg;
    sv_error err = {.code = 0};
    bool ok = o->whole_key ? p->fetch_status == 200 : p->failures == 0;
    catalog_remove(&o->r->catalog, p);
    if (o->what == OWN_TEST) {
        reply_test(o, ok);
        return;
    }
    if (!ok) {
        say_why(p, &err);
        refuse(o, err.code, &err);
        return;
    }
    o->models = (int64_t)p->models.n;
    o->probed = true;
    o->probe = NULL;
    provider_unref(p);
    seal_and_put(o);
}

static const char *text(own *o, sv_str s)
{
    return s.n ? arena_copy(sv_call_arena(o->call), s) : "";
}

/* OpenRouter lists its models to everybody; what it says of the key is elsewhere. */
static int ask_about_key(own *o)
{
    provider *p = o->probe;
    if (strcmp(provider_like(p), "openrouter") != 0) return 0;
    char *url = NULL;
    if (asprintf(&url, "%s/key", p->api_url) < 0) return SV_E_NO_MEMORY;
    free(p->models_url);
    p->models_url = url;
    o->whole_key = true;
    return 0;
}

/* With o->row and a copy of `key`. */
static int probe(own *o, const secret *key, sv_error *err)
{
    const auth_provider *p = &o->row;
    secret *keys[1] = {key ? secret_copy(key) : NULL};
    provider_spec s = {.name = text(o, p->name),
                       .source = FROM_TENANT,
                       .base_url = text(o, p->base_url),
                       .api_version = p->api_version.n ? text(o, p->api_version) : NULL,
                       .trust = o->r->tenant_trust,
                       .keys = keys,
                       .n_keys = keys[0] != NULL,
                       .org = "",
                       .user = "",
                       .id = ""};
    const char *kind = text(o, p->kind);
    int rc = 0;
    if ((key && keys[0] == NULL) || !s.name || !s.base_url || !kind) rc = SV_E_NO_MEMORY;
    if (rc == 0 && provider_kind(&s, kind))
        rc = sv_fail(err, SV_E_INVALID, "kind",
                     "The kind is one of openai, azure, anthropic, gemini and ollama.");
    if (rc == 0 && (rc = provider_new(&s, &o->probe, err)) && strcmp(err->field, "url") == 0)
        snprintf(err->field, sizeof err->field, "base_url"); /* as it is called here */
    secret_free(keys[0]);
    if (rc == 0) rc = ask_about_key(o);
    if (rc) return rc;
    o->probe->heard = on_heard;
    o->probe->heard_arg = o;
    return catalog_add(&o->r->catalog, o->probe, 0);
}

/* ---- answers of auth ---- */

static bool keep(arena *a, sv_str *s)
{
    if (s->n == 0) {
        *s = (sv_str){NULL, 0};
        return true;
    }
    s->p = arena_copy(a, *s);
    return s->p != NULL;
}

/* The row lives on after the message it came in. */
static bool keep_row(own *o, const auth_provider *p)
{
    arena *a = sv_call_arena(o->call);
    auth_provider *r = &o->row;
    *r = *p;
    return keep(a, &r->id) && keep(a, &r->org) && keep(a, &r->user) && keep(a, &r->name) &&
           keep(a, &r->kind) && keep(a, &r->base_url) && keep(a, &r->api_version) &&
           keep(a, &r->last4) && keep(a, &r->status) && keep(a, &r->state) && keep(a, &r->creator);
}

static void reply_row(own *o)
{
    sv_call *call = o->call;
    auth_provider row = o->row;
    tenants_look(o->r->tenants, &row);
    if (o->probed && sv_str_is(row.status, "active")) { /* newer than what the feed has told */
        row.models = o->models > row.models ? o->models : row.models;
        row.state = sv_cstr("ready");
    }
    own_free(o);
    sv_reply(call, &(auth_provider_reply){.provider = &row});
}

static void reply_list(own *o, const sv_item *item)
{
    sv_call *call = o->call;
    router *r = o->r;
    auth_providers_reply reply;
    sv_error err = {.code = 0};
    int rc = message_decode(&auth_providers_reply_msg, item->body, MESSAGE_LENIENT,
                            sv_call_arena(call), &reply, &err);
    if (rc) {
        refuse(o, rc, &err);
        return;
    }
    auth_provider *items = reply.providers.items;
    for (uint32_t i = 0; i < reply.providers.n; i++)
        tenants_look(r->tenants, &items[i]);
    own_free(o);
    sv_reply(call, &reply);
}

/* The row is known: the key that is there, or the next one, is tried on it. */
static void go_on(own *o)
{
    sv_error err = {.code = 0};
    int rc = 0;
    if (o->what == OWN_CHANGE) {
        rc = probe(o, o->key, &err);
    } else {
        provider *p = tenants_find(o->r->tenants, o->row.id);
        if (p == NULL) {
            auth_provider row = o->row;
            sv_call *call = o->call;
            tenants_look(o->r->tenants, &row);
            own_free(o);
            sv_reply(call, &(router_own_test_reply){.state = row.state});
            return;
        }
        rc = probe(o, p->n_keys ? p->keys[0] : NULL, &err);
    }
    if (rc) refuse(o, rc, err.code ? &err : NULL);
}

static void on_auth(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    own *o = arg;
    (void)s;
    o->asking = NULL;
    if (code) {
        refuse(o, code, err);
        return;
    }
    if (o->what == OWN_LIST) {
        reply_list(o, item);
        return;
    }
    auth_provider_reply reply;
    sv_error why = {.code = 0};
    int rc = message_decode(&auth_provider_reply_msg, item->body, MESSAGE_LENIENT,
                            sv_call_arena(o->call), &reply, &why);
    if (rc == 0 && !keep_row(o, reply.provider)) rc = SV_E_NO_MEMORY;
    if (rc)
        refuse(o, rc, why.code ? &why : NULL);
    else if (o->what == OWN_TEST || (o->what == OWN_CHANGE && o->key && !o->probed))
        go_on(o);
    else
        reply_row(o);
}

/* ---- the methods ---- */

int router_own_providers(sv_call *call, const void *request)
{
    own *o;
    int rc = begin(call, OWN_LIST, &o);
    if (rc) return rc;
    return waits(
        o, ask_auth(o, "auth.providers", &auth_providers_req_msg, request, sv_call_error(call)));
}

static int with_id(sv_call *call, const void *request, own_what what)
{
    const auth_provider_req *q = request;
    own *o;
    int rc = begin(call, what, &o);
    return rc ? rc : waits(o, ask_row(o, q->id, sv_call_error(call)));
}

int router_own_provider(sv_call *call, const void *request)
{
    return with_id(call, request, OWN_ONE);
}

int router_own_test(sv_call *call, const void *request)
{
    return with_id(call, request, OWN_TEST);
}

static int take_key(own *o, sv_str key_text)
{
    sv_error *err = sv_call_error(o->call), why = {.code = 0};
    int rc = secret_new(key_text, "\"key\"", &o->key, &why);
    if (rc == SV_E_NO_MEMORY) return rc;
    if (rc) return sv_fail(err, SV_E_INVALID, "key", "%s", why.message);
    if (o->key == NULL) return 0;
    o->key_text = secret_text(o->key);
    return 0;
}

/* Names of aliases and of auto stand in front of a slash, too. */
static int check_name(sv_str name, sv_error *err)
{
    for (uint32_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool good =
            (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
        if (!good)
            return sv_fail(err, SV_E_INVALID, "name",
                           "A provider's name has small letters, digits, dots, dashes and "
                           "underscores.");
    }
    return 0;
}

static const char *kind_of(llm_format f)
{
    return f == LLM_ANTHROPIC ? "anthropic"
           : f == LLM_GEMINI  ? "gemini"
           : f == LLM_OLLAMA  ? "ollama"
                              : "openai";
}

/* Kind and address: as they are given, or those of a known provider of this name. */
static int read_place(own *o, const router_own_new_req *q)
{
    sv_error *err = sv_call_error(o->call);
    const char *name = text(o, q->name);
    provider_spec known = {.base_url = NULL};
    auth_provider *p = &o->row;
    if (name == NULL) return SV_E_NO_MEMORY;
    if (q->base_url.n) {
        p->base_url = q->base_url;
        p->kind = q->kind.n ? q->kind : sv_cstr("openai");
    } else if (provider_known(name, &known)) {
        p->base_url = sv_cstr(known.base_url);
        p->kind = sv_cstr(kind_of(known.format));
        if (q->kind.n && !sv_str_eq(q->kind, p->kind))
            return sv_fail(err, SV_E_INVALID, "kind",
                           "%s speaks %.*s: leave kind out, or give its base_url.", name,
                           SV_FMT(p->kind));
    } else {
        return sv_fail(err, SV_E_MISSING_FIELD, "base_url",
                       "No provider is known as %s: give its base_url and kind.", name);
    }
    p->api_version = q->api_version;
    if (q->api_version.n && !sv_str_is(p->kind, "azure"))
        return sv_fail(err, SV_E_INVALID, "api_version", "Only azure has API versions.");
    if (o->key == NULL && !sv_str_is(p->kind, "ollama"))
        return sv_fail(err, SV_E_MISSING_FIELD, "key", "Give the provider's API key.");
    return 0;
}

static int read_who(own *o, sv_str level)
{
    sv_error *err = sv_call_error(o->call);
    sv_str bytes = sv_call_ticket(o->call); /* the broker has verified it */
    ticket t;
    if (bytes.n == 0)
        return sv_fail(err, SV_E_NO_CREDENTIALS, NULL,
                       "Providers belong to users: the call needs the ticket of one.");
    int rc = ticket_read(bytes, &t, err);
    if (rc) return rc;
    if (level.n && !sv_str_is(level, "user") && !sv_str_is(level, "org"))
        return sv_fail(err, SV_E_INVALID, "level", "The level must be user or org.");
    o->put.whole_org = sv_str_is(level, "org");
    o->row.org = t.org;
    if (!o->put.whole_org) o->row.user = t.user;
    /* its administrators alone, said before a provider is asked; auth decides */
    bool may = !o->put.whole_org;
    for (uint32_t i = 0; i < t.n_roles; i++)
        may = may || sv_str_is(t.roles[i], "owner") || sv_str_is(t.roles[i], "admin");
    return may ? 0
               : sv_fail(err, SV_E_ROLE, "level",
                         "Only administrators of the organization bring its providers: level "
                         "user is for a key of your own.");
}

static int prepare_new(own *o, const router_own_new_req *q)
{
    sv_id id = uuid_new();
    uuid_format(&id, o->id);
    auth_provider_put_req *put = &o->put;
    o->row.id = sv_cstr(o->id);
    o->row.name = q->name;
    int rc = check_name(q->name, sv_call_error(o->call));
    if (rc == 0) rc = take_key(o, q->key);
    if (rc == 0) rc = read_who(o, q->level);
    if (rc == 0) rc = read_place(o, q);
    put->id = o->row.id;
    put->anew = true;
    put->name = q->name;
    put->kind = o->row.kind;
    put->base_url = o->row.base_url;
    put->api_version = o->row.api_version;
    put->limits = q->limits;
    return rc;
}

int router_own_new(sv_call *call, const void *request)
{
    own *o;
    int rc = begin(call, OWN_NEW, &o);
    if (rc) return rc;
    rc = prepare_new(o, request);
    message_wipe(&router_own_new_req_msg, request); /* o->key has a copy */
    if (rc == 0) rc = probe(o, o->key, sv_call_error(call));
    return waits(o, rc);
}

int router_own_change(sv_call *call, const void *request)
{
    const router_own_change_req *q = request;
    sv_error *err = sv_call_error(call);
    own *o;
    if (q->name.n == 0 && q->key.n == 0 && q->status.n == 0 && q->limits == NULL)
        return sv_fail(err, SV_E_MISSING_FIELD, "key", "Give a key, a name, a status or limits.");
    int rc = begin(call, OWN_CHANGE, &o);
    if (rc) return rc;
    rc = check_name(q->name, err);
    if (rc == 0) rc = take_key(o, q->key);
    if (rc == 0 && q->key.n && o->key == NULL)
        rc = sv_fail(err, SV_E_INVALID, "key", "The key is empty.");
    message_wipe(&router_own_change_req_msg, request);
    o->put.id = q->id;
    o->put.name = q->name;
    o->put.status = q->status;
    o->put.limits = q->limits;
    if (rc == 0) rc = o->key ? ask_row(o, q->id, err) : put_row(o, err);
    return waits(o, rc);
}
