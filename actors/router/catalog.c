/*  catalog.c - one timer and at most one transfer a provider; a local candidate is a hidden
 *  provider. */
#include "catalog.h"

#include "error.h"
#include "http_guard.h"
#include "json_scan.h"
#include "log.h"
#include "sv_limits.h"
#include "uuid.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum {
    FRESH_MS = 300000,   /* between two listings */
    UNUSED_MS = 3600000, /* the same of a tenant's that nobody has used for so long */
    RETRY_MS = 1000,     /* after the first failure, then doubled */
    LOCAL_RETRY_MAX_MS = 30000,
    LOCAL_FAILURES_MAX = 3 /* then a local server counts as gone */
};

typedef struct candidate {
    const char *name, *other_name;
    uint16_t port;
} candidate;

static const candidate candidates[] = {{"ollama", "ollama-local", 11434},
                                       {"vllm", "vllm-local", 8000},
                                       {"llamacpp", "llamacpp-local", 8080}};

static void fetch(void *arg);

/* ---- reading a listing ---- */

static int add_element(json_value element, model_list *l, buf *id)
{
    json_value name = json_get(element, "id");
    int64_t created = 0;
    if (name.type != JSON_STRING) name = json_get(element, "name");
    if (name.type != JSON_STRING) return 0; /* not a model we could name */
    if (json_int(json_get(element, "created"), &created)) created = 0;
    buf_reset(id, MODEL_NAME);
    if (json_text(name, id)) return 0;
    sv_str text = buf_str(id);
    if (text.n > 7 && memcmp(text.p, "models/", 7) == 0) /* Gemini's resource names */
        text = (sv_str){text.p + 7, text.n - 7};
    int rc = model_list_add(l, text, created);
    return rc == SV_E_NO_MEMORY ? rc : 0;
}

int catalog_parse(sv_str json, model_list *ret, sv_error *err)
{
    int rc = json_skim(json, LIMIT_JSON_DEPTH, err);
    if (rc) return rc;
    json_value root = json_root(json), list = root, element;
    if (list.type == JSON_OBJECT) list = json_get(root, "data");
    if (list.type != JSON_ARRAY) list = json_get(root, "models");
    if (list.type != JSON_ARRAY)
        return sv_fail(err, SV_E_PROVIDER_GARBAGE, NULL, "it has no list of models");
    model_list l;
    buf id;
    model_list_init(&l);
    buf_init(&id, MODEL_NAME);
    for (size_t at = 0; rc == 0 && json_next_element(list, &at, &element);)
        rc = add_element(element, &l, &id);
    buf_free(&id);
    if (rc) {
        model_list_free(&l);
        return sv_fail(err, rc, NULL, NULL);
    }
    *ret = l;
    return 0;
}

/* ---- one provider's listing ---- */

static catalog *owner(const provider *p)
{
    return p->owner;
}

static void set_state(provider *p, const char *words, const char *more)
{
    snprintf(p->state, sizeof p->state, "%s%s%.120s", words, *more ? ": " : "", more);
    for (char *c = p->state; *c; c++)
        if ((unsigned char)*c < 0x20 || (unsigned char)*c >= 0x7f) *c = '?';
}

/* Up to an eighth later, so that instances do not ask in step. */
static void ask_again(provider *p, uint64_t ms)
{
    uint32_t random;
    uuid_random(&random, sizeof random);
    uint64_t us = ms * 1000 + random % (ms * 125 + 1);
    if (loop_timer_set(owner(p)->loop, &p->timer, us, fetch, p))
        set_state(p, "not asked", "no memory for a timer");
}

static uint64_t fresh_ms(const provider *p)
{
    uint64_t now_us = loop_now_us(owner(p)->loop);
    bool idle = p->source == FROM_TENANT && now_us - p->used_us > UNUSED_MS * 1000ULL;
    return idle ? UNUSED_MS : FRESH_MS;
}

static void failed(provider *p, const char *words, const char *more)
{
    bool local = p->source == FROM_MACHINE;
    uint64_t most = local ? LOCAL_RETRY_MAX_MS : fresh_ms(p);
    uint64_t ms = p->failures < 10 ? (uint64_t)RETRY_MS << p->failures : most;
    if (!p->hidden && p->failures == 0)
        log_write(LOG_WARN, "a provider did not list its models",
                  LOG_STR("provider", provider_label(p)), LOG_STR("reason", words),
                  LOG_STR("detail", more));
    p->failures++;
    set_state(p, words, more);
    if (local && !p->hidden && p->failures >= LOCAL_FAILURES_MAX) {
        model_list none;
        model_list_init(&none);
        provider_set_models(p, &none);
        p->hidden = true;
        log_write(LOG_INFO, "a server on this machine is gone", LOG_STR("provider", p->name));
    }
    ask_again(p, ms < most ? ms : most);
}

static void listed(provider *p, model_list *list)
{
    size_t n = list->n;
    provider_set_models(p, list);
    p->failures = 0;
    set_state(p, "ready", "");
    if (p->hidden) {
        p->hidden = false;
        log_write(LOG_INFO, "found a server on this machine", LOG_STR("provider", p->name),
                  LOG_STR("url", p->base_url), LOG_INT("models", n));
    }
    ask_again(p, fresh_ms(p));
}

/* Of a tenant's list only the first models are kept. */
static int bound(const provider *p, model_list *list)
{
    model_list few;
    int rc = 0;
    if (p->source != FROM_TENANT || list->n <= CATALOG_TENANT_MODELS) return 0;
    model_list_init(&few);
    for (size_t i = 0; i < CATALOG_TENANT_MODELS && rc == 0; i++)
        rc = model_list_add(&few, sv_cstr(list->items[i].id), list->items[i].created);
    model_list_free(list);
    *list = few;
    return rc;
}

static void on_head(void *arg, const http_head *head)
{
    provider *p = arg;
    char via[256];
    p->fetch_status = head->status;
    snprintf(via, sizeof via, "%.*s", SV_FMT(head->via));
    p->fetch_refused = p->source == FROM_MACHINE && strcasestr(via, "samovar") != NULL;
}

static bool on_data(void *arg, sv_str bytes)
{
    provider *p = arg;
    buf_put(&p->fetched, bytes.p, bytes.n); /* max_body bounds it; a failure shows at the end */
    return true;
}

static void take_answer(provider *p)
{
    sv_error err = {0};
    model_list list;
    char status[32];
    if (p->fetch_refused) {
        failed(p, "not used", "it is Samovar itself");
    } else if (p->fetch_status == 404 && p->source == FROM_MACHINE && !p->tags) {
        p->tags = true; /* an Ollama without /v1/models has /api/tags */
        ask_again(p, 1);
    } else if (p->fetch_status != 200) {
        p->tags = false;
        snprintf(status, sizeof status, "status %d", p->fetch_status);
        failed(p,
               p->fetch_status == 401 || p->fetch_status == 403 ? "its key was refused"
                                                                : "no model list",
               status);
    } else if (p->fetched.failed) {
        failed(p, "no model list", "no memory");
    } else if (catalog_parse(buf_str(&p->fetched), &list, &err)) {
        failed(p, "its model list cannot be read", err.message);
    } else if (bound(p, &list)) {
        model_list_free(&list);
        failed(p, "no model list", "no memory");
    } else {
        listed(p, &list);
    }
}

static void on_done(void *arg, int code, const sv_error *err)
{
    provider *p = arg;
    p->fetch = NULL;
    if (code)
        failed(p, "unreachable", /* details of our network are not a tenant's */
               err->detail[0] && p->source != FROM_TENANT ? err->detail : err->message);
    else
        take_answer(p);
    buf_reset(&p->fetched, 0);
    if (p->heard) p->heard(p->heard_arg, p);
}

static void fetch(void *arg)
{
    static const http_events events = {on_head, on_data, on_done};
    provider *p = arg;
    bool local = p->source == FROM_MACHINE;
    const char *headers[5] = {"Accept: application/json", "Via: 1.1 samovar"};
    size_t n = 2;
    char url[HTTP_URL_BYTES + 16];
    sv_error err = {0};
    snprintf(url, sizeof url, "%s", p->models_url);
    if (p->tags) /* http://127.0.0.1:PORT/v1/models -> /api/tags */
        snprintf(url, sizeof url, "%.*s/api/tags",
                 (int)(strlen(p->models_url) - strlen("/v1/models")), p->models_url);
    if (p->n_keys) headers[n++] = provider_key_header(p, 0);
    if (p->format == LLM_ANTHROPIC) headers[n++] = "anthropic-version: 2023-06-01";
    http_spec spec = {.method = "GET",
                      .url = url,
                      .trust = p->trust,
                      .headers = headers,
                      .connect_ms = local ? 500 : 5000,
                      .first_byte_ms = local ? 2000 : 10000,
                      .idle_ms = 5000,
                      .total_ms = local ? 5000 : 20000,
                      .max_body = 8 << 20};
    buf_reset(&p->fetched, 0);
    p->fetch_status = 0;
    p->fetch_refused = false;
    p->fetch = http_start(owner(p)->http, &spec, &events, p, &err);
    if (p->fetch) return;
    failed(p, "cannot be asked", err.message);
    if (p->heard) p->heard(p->heard_arg, p);
}

/* ---- servers on this machine ---- */

static bool configured_already(const provider_list *l, uint16_t port)
{
    for (size_t i = 0; i < l->n; i++) {
        http_url u;
        if (http_url_parse(l->items[i]->base_url, &u, NULL) || u.port != port) continue;
        if (strcmp(u.host, "127.0.0.1") == 0 || strcmp(u.host, "localhost") == 0 ||
            strcmp(u.host, "::1") == 0)
            return true;
    }
    return false;
}

static int add_candidates(catalog *cat, const config *c, sv_error *err)
{
    provider_list *l = cat->providers;
    for (size_t i = 0; i < sizeof candidates / sizeof *candidates; i++) {
        const candidate *k = &candidates[i];
        char url[64];
        provider *p;
        if (config_int(c, "edge.port") == k->port || configured_already(l, k->port)) continue;
        const char *name = provider_by_name(l, sv_cstr(k->name)) ? k->other_name : k->name;
        if (provider_by_name(l, sv_cstr(name)) || l->n == PROVIDERS_MAX) continue;
        snprintf(url, sizeof url, "http://127.0.0.1:%u/v1", k->port);
        provider_spec s = {
            .name = name, .source = FROM_MACHINE, .base_url = url, .trust = HTTP_TRUST_OPERATOR};
        int rc = provider_add(l, &s, &p, err);
        if (rc) return rc;
        p->hidden = true;
    }
    return 0;
}

int catalog_start(catalog *cat, const config *c, sv_error *err)
{
    int rc = config_bool(c, "router.discover") ? add_candidates(cat, c, err) : 0;
    for (size_t i = 0; i < cat->providers->n && rc == 0; i++) {
        provider *p = cat->providers->items[i];
        p->owner = cat;
        if (!p->fixed_models) rc = loop_timer_set(cat->loop, &p->timer, 0, fetch, p);
    }
    return rc ? sv_fail(err, rc, NULL, NULL) : 0;
}

int catalog_add(catalog *cat, provider *p, uint32_t delay_ms)
{
    p->owner = cat;
    p->used_us = loop_now_us(cat->loop);
    return loop_timer_set(cat->loop, &p->timer, delay_ms * 1000ULL, fetch, p);
}

void catalog_remove(catalog *cat, provider *p)
{
    loop_timer_stop(cat->loop, &p->timer);
    if (p->fetch) http_cancel(p->fetch);
    p->fetch = NULL;
}

void catalog_stop(catalog *cat)
{
    for (size_t i = 0; i < cat->providers->n; i++) {
        provider *p = cat->providers->items[i];
        loop_timer_stop(cat->loop, &p->timer);
        if (p->fetch) http_cancel(p->fetch);
        p->fetch = NULL;
    }
}
