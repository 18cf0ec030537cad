/*  provider.c - providers in order of preference: configuration, environment, this machine.
 *  Model lists are sorted, so that choosing costs a binary search a provider. */
#include "provider.h"

#include "error.h"
#include "http_guard.h"
#include "log.h"

#include <stdio.h>
#include <stdlib.h>

enum { MODEL_MEMORY = 4 << 20 };

typedef struct known {
    const char *name, *key_env, *url_env, *base_url;
    llm_format format;
    bool responses;
} known;

/* Picked up from the environment, in this order of preference. */
static const known from_environment[] = {
    {"openrouter", "OPENROUTER_API_KEY", "OPENROUTER_BASE_URL", "https://openrouter.ai/api/v1",
     LLM_OPENAI, false},
    {"groq", "GROQ_API_KEY", "GROQ_BASE_URL", "https://api.groq.com/openai/v1", LLM_OPENAI, false},
    {"openai", "OPENAI_API_KEY", "OPENAI_BASE_URL", "https://api.openai.com/v1", LLM_OPENAI, true},
    {"anthropic", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "https://api.anthropic.com/v1",
     LLM_ANTHROPIC, false},
    {"gemini", "GEMINI_API_KEY", "GEMINI_BASE_URL",
     "https://generativelanguage.googleapis.com/v1beta", LLM_GEMINI, false},
    {"mistral", "MISTRAL_API_KEY", "MISTRAL_BASE_URL", "https://api.mistral.ai/v1", LLM_OPENAI,
     false},
    {"deepseek", "DEEPSEEK_API_KEY", "DEEPSEEK_BASE_URL", "https://api.deepseek.com/v1", LLM_OPENAI,
     false},
    {"together", "TOGETHER_API_KEY", "TOGETHER_BASE_URL", "https://api.together.xyz/v1", LLM_OPENAI,
     false},
};

static const char azure_version[] = "2024-10-21";

int provider_kind(provider_spec *s, const char *kind)
{
    static const struct {
        const char *name;
        llm_format format;
        bool azure;
    } kinds[] = {{"openai", LLM_OPENAI, false},
                 {"azure", LLM_OPENAI, true},
                 {"anthropic", LLM_ANTHROPIC, false},
                 {"gemini", LLM_GEMINI, false},
                 {"ollama", LLM_OLLAMA, false}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i].name, kind) != 0) continue;
        s->format = kinds[i].format;
        s->azure = kinds[i].azure;
        return 0;
    }
    return SV_E_INVALID;
}

const char *provider_source_name(provider_source s)
{
    static const char *const names[] = {"configuration", "environment", "found on this machine",
                                        "a tenant's own"};
    return names[s];
}

/* ---- model lists ---- */

void model_list_init(model_list *l)
{
    *l = (model_list){0};
    arena_init(&l->mem, MODEL_MEMORY);
}

void model_list_free(model_list *l)
{
    free(l->items);
    arena_free(&l->mem);
    l->items = NULL;
    l->n = 0;
}

int model_list_add(model_list *l, sv_str id, int64_t created)
{
    if (id.n == 0 || id.n > MODEL_NAME) return SV_E_OUT_OF_RANGE;
    if (memchr(id.p, 0, id.n)) return SV_E_INVALID;
    if (l->n == MODELS_MAX) return SV_E_TOO_LARGE;
    if ((l->n & (l->n - 1)) == 0) {
        model *more = realloc(l->items, (l->n ? l->n * 2 : 1) * sizeof *more);
        if (more == NULL) return SV_E_NO_MEMORY;
        l->items = more;
    }
    char *copy = arena_copy(&l->mem, id);
    if (copy == NULL) return SV_E_NO_MEMORY;
    l->items[l->n++] = (model){copy, created < 0 ? 0 : created};
    return 0;
}

static int by_id(const void *a, const void *b)
{
    return strcmp(((const model *)a)->id, ((const model *)b)->id);
}

void provider_set_models(provider *p, model_list *list)
{
    size_t kept = 0;
    if (list->n) qsort(list->items, list->n, sizeof *list->items, by_id);
    for (size_t i = 0; i < list->n; i++)
        if (kept == 0 || strcmp(list->items[kept - 1].id, list->items[i].id) != 0)
            list->items[kept++] = list->items[i];
    list->n = kept;
    model_list_free(&p->models);
    p->models = *list;
    *list = (model_list){0};
}

bool provider_lists(const provider *p, sv_str id)
{
    size_t low = 0, high = p->models.n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const char *name = p->models.items[middle].id;
        int order = strncmp(name, id.p, id.n);
        if (order == 0) order = name[id.n] != 0;
        if (order == 0) return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

/* ---- one provider ---- */

static char *join(const char *base, size_t n, const char *path)
{
    char *s = NULL;
    return asprintf(&s, "%.*s%s", (int)n, base, path) < 0 ? NULL : s;
}

void provider_free(provider *p)
{
    if (p == NULL) return;
    for (uint32_t i = 0; i < p->n_keys; i++)
        secret_free(p->keys[i]);
    model_list_free(&p->models);
    buf_free(&p->fetched);
    free(p->base_url);
    free(p->api_url);
    free(p->models_url);
    free(p->api_version);
    free(p);
}

static bool name_ok(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return n > 0 && n <= PROVIDER_NAME && name[n] == 0;
}

static const char *models_path(const provider *p)
{
    if (p->azure) return "/openai/models";
    switch (p->format) {
    case LLM_ANTHROPIC: return "/models?limit=1000";
    case LLM_GEMINI: return "/models?pageSize=1000";
    case LLM_OLLAMA: return "/api/tags";
    case LLM_OPENAI:
    case LLM_COMPLETIONS:
    case LLM_RESPONSES:
    case LLM_GENERATE:
    case LLM_FORMATS: break;
    }
    return "/models";
}

static int set_urls(provider *p, const char *base_url, sv_error *err)
{
    int rc = http_url_check(base_url, p->trust, err);
    if (rc) return rc;
    if (strchr(base_url, '?'))
        return sv_fail(err, SV_E_INVALID, "base_url", "The base URL must not have a query (?).");
    size_t n = strlen(base_url);
    while (base_url[n - 1] == '/')
        n--;
    buf shown;
    buf_init(&shown, HTTP_URL_BYTES);
    if (http_url_redact(base_url, &shown) == 0 && shown.n) {
        size_t slashes = strlen(base_url) - n;
        p->base_url = join(shown.p, shown.n - slashes, "");
    }
    buf_reset(&shown, 0);
    p->api_url = join(base_url, n, "");
    rc = provider_url(p, sv_cstr(models_path(p)), (sv_str){NULL, 0}, &shown);
    if (rc == 0) p->models_url = join(shown.p, shown.n, "");
    buf_free(&shown);
    return p->base_url && p->api_url && p->models_url ? 0
                                                      : sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
}

static void put_encoded(buf *out, sv_str text)
{
    for (uint32_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     strchr("-._~", c) != NULL;
        if (plain && c)
            buf_putc(out, (char)c);
        else
            buf_printf(out, "%%%02X", c);
    }
}

int provider_url(const provider *p, sv_str path, sv_str at_model, buf *out)
{
    buf_puts(out, p->api_url);
    if (p->azure && (sv_str_is(at_model, ".") || sv_str_is(at_model, "..")))
        return SV_E_MODEL_UNKNOWN; /* would be another address */
    if (p->azure && at_model.n) {
        buf_puts(out, "/openai/deployments/");
        put_encoded(out, at_model);
    }
    buf_put(out, path.p, path.n);
    if (p->azure)
        buf_printf(out, "%capi-version=%s", memchr(path.p, '?', path.n) ? '&' : '?',
                   p->api_version);
    return out->failed ? out->error : 0;
}

const char *provider_key_header(const provider *p, uint32_t key)
{
    secret_form form = p->azure                     ? SECRET_API_KEY
                       : p->format == LLM_ANTHROPIC ? SECRET_X_API_KEY
                       : p->format == LLM_GEMINI    ? SECRET_X_GOOG
                                                    : SECRET_BEARER;
    return key < p->n_keys ? secret_header(p->keys[key], form) : NULL;
}

bool provider_in(const provider *p, sv_str text)
{
    for (uint32_t i = 0; i < p->n_keys; i++)
        if (secret_in(p->keys[i], text)) return true;
    return false;
}

void provider_blot(const provider *p, buf *text)
{
    for (uint32_t i = 0; i < p->n_keys; i++)
        secret_blot(p->keys[i], text);
}

provider *provider_by_name(const provider_list *l, sv_str name)
{
    for (size_t i = 0; i < l->n; i++)
        if (sv_str_is(name, l->items[i]->name)) return l->items[i];
    return NULL;
}

bool provider_known(const char *name, provider_spec *s)
{
    for (size_t i = 0; i < sizeof from_environment / sizeof *from_environment; i++) {
        const known *k = &from_environment[i];
        if (strcmp(k->name, name) != 0) continue;
        if (s->base_url == NULL) {
            s->base_url = k->base_url;
            s->format = k->format;
        }
        return true;
    }
    return false;
}

static const known *known_at(const char *api_url)
{
    for (size_t i = 0; i < sizeof from_environment / sizeof *from_environment; i++)
        if (strcmp(from_environment[i].base_url, api_url) == 0) return &from_environment[i];
    return NULL;
}

static void set_tenant(provider *p, const provider_spec *s)
{
    const known *k = known_at(p->api_url);
    snprintf(p->org, sizeof p->org, "%s", s->org);
    snprintf(p->user, sizeof p->user, "%s", s->user);
    snprintf(p->id, sizeof p->id, "%s", s->id);
    p->limits = s->limits;
    snprintf(p->label, sizeof p->label, "own:%.58s", p->name);
    snprintf(p->tag, sizeof p->tag, "%s.%llx", p->id, (unsigned long long)s->version);
    if (k) snprintf(p->like, sizeof p->like, "%s", k->name);
    p->responses = k && k->responses;
}

const char *provider_label(const provider *p)
{
    return p->source == FROM_TENANT ? p->label : p->name;
}

const char *provider_tag(const provider *p)
{
    return p->source == FROM_TENANT ? p->tag : p->name;
}

const char *provider_like(const provider *p)
{
    return p->source == FROM_TENANT ? p->like : p->name;
}

const char *provider_series(const provider *p)
{
    return p->source == FROM_TENANT ? "tenant" : p->name;
}

provider *provider_ref(provider *p)
{
    p->refs++;
    return p;
}

void provider_unref(provider *p)
{
    if (p && --p->refs == 0) provider_free(p);
}

static void get_series(provider *p)
{
    const char *name = provider_series(p);
    p->ok = metric_get(M_PROVIDER_REQUESTS, (const char *const[]){name, "ok"});
    p->first_byte = metric_get(M_PROVIDER_FIRST_BYTE, (const char *const[]){name});
    p->prompt = metric_get(M_PROVIDER_TOKENS, (const char *const[]){name, "prompt"});
    p->completion = metric_get(M_PROVIDER_TOKENS, (const char *const[]){name, "completion"});
    p->cached = metric_get(M_PROVIDER_TOKENS, (const char *const[]){name, "cached"});
    p->reasoning = metric_get(M_PROVIDER_TOKENS, (const char *const[]){name, "reasoning"});
}

int provider_new(const provider_spec *s, provider **ret, sv_error *err)
{
    if (!name_ok(s->name))
        return sv_fail(
            err, SV_E_INVALID, "name",
            "A provider's name has 1 to %d letters, digits, dots, dashes and underscores.",
            PROVIDER_NAME);
    if (s->n_keys > PROVIDER_KEYS)
        return sv_fail(err, SV_E_OUT_OF_RANGE, "key", "A provider has at most %d keys.",
                       PROVIDER_KEYS);
    provider *p = calloc(1, sizeof *p);
    if (p == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    snprintf(p->name, sizeof p->name, "%s", s->name);
    p->refs = 1;
    p->source = s->source;
    p->format = s->format;
    p->responses = s->responses;
    p->azure = s->azure;
    p->trains = s->trains;
    p->trust = s->trust;
    buf_init(&p->fetched, 8 << 20);
    model_list_init(&p->models);
    snprintf(p->state, sizeof p->state, "not asked yet");
    p->api_version = strdup(s->api_version ? s->api_version : azure_version);
    int rc =
        p->api_version ? set_urls(p, s->base_url, err) : sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    if (rc) {
        provider_free(p);
        return rc;
    }
    if (s->source == FROM_TENANT) set_tenant(p, s);
    get_series(p);
    for (uint32_t i = 0; i < s->n_keys; i++) {
        p->keys[i] = s->keys[i];
        s->keys[i] = NULL;
    }
    p->n_keys = s->n_keys;
    *ret = p;
    return 0;
}

int provider_add(provider_list *l, const provider_spec *s, provider **ret, sv_error *err)
{
    if (provider_by_name(l, sv_cstr(s->name)))
        return sv_fail(err, SV_E_CONFLICT, "name", "There are two providers called %s.", s->name);
    if (l->n == PROVIDERS_MAX)
        return sv_fail(err, SV_E_OUT_OF_RANGE, NULL, "More than %d providers.", PROVIDERS_MAX);
    int rc = provider_new(s, ret, err);
    if (rc == 0) l->items[l->n++] = *ret;
    return rc;
}

/* ---- from the configuration ---- */

static const char list_key[] = "router.providers";

static int wrong_item(const config *c, uint32_t i, const char *member, const char *words,
                      sv_error *err)
{
    return sv_fail(err, SV_E_CONFIG, list_key, "%s: key %s[%u].%s: %s", config_source(c, list_key),
                   list_key, i, member, words);
}

/* One of its keys, from a variable or a file; none when the variable is not set. */
static int take_key(const config *c, uint32_t i, const char *member, const char *env,
                    const char *file, provider_spec *s, sv_error *err)
{
    sv_error why = {0};
    secret *key = NULL;
    int rc = 0;
    if (s->n_keys == PROVIDER_KEYS)
        return wrong_item(c, i, member, "a provider has at most 8 keys", err);
    if (file) {
        rc = secret_from_file(file, &key, &why);
    } else {
        const char *value = getenv(env);
        if (value) rc = secret_new(sv_cstr(value), env, &key, &why);
        if (rc == 0 && key == NULL)
            log_write(LOG_WARN, "a provider's key is not set",
                      LOG_STR("provider", config_item_str(c, list_key, i, "name")),
                      LOG_STR("variable", env));
    }
    if (key) s->keys[s->n_keys++] = key;
    if (rc == SV_E_NO_MEMORY) return sv_fail(err, rc, NULL, NULL);
    return rc ? wrong_item(c, i, member, why.message, err) : 0;
}

static int item_keys(const config *c, uint32_t i, provider_spec *s, sv_error *err)
{
    const char *env = config_item_str(c, list_key, i, "key_env");
    const char *file = config_item_str(c, list_key, i, "key_file");
    const char *const *more;
    uint32_t n = config_item_strs(c, list_key, i, "more_key_envs", &more);
    int rc = 0;
    if (env && file) return wrong_item(c, i, "key_file", "give key_env or key_file, not both", err);
    if (env || file) rc = take_key(c, i, env ? "key_env" : "key_file", env, file, s, err);
    for (uint32_t k = 0; rc == 0 && k < n; k++)
        rc = take_key(c, i, "more_key_envs", more[k], NULL, s, err);
    return rc;
}

static int item_models(const config *c, uint32_t i, provider *p)
{
    const char *const *names;
    uint32_t n = config_item_strs(c, list_key, i, "models", &names);
    if (n == 0) return 0;
    model_list list;
    model_list_init(&list);
    int rc = 0;
    for (uint32_t k = 0; k < n && rc == 0; k++)
        rc = model_list_add(&list, sv_cstr(names[k]), 0);
    if (rc) {
        model_list_free(&list);
        return rc;
    }
    provider_set_models(p, &list);
    p->fixed_models = true;
    snprintf(p->state, sizeof p->state, "ready");
    return 0;
}

static void drop_keys(provider_spec *s)
{
    for (uint32_t i = 0; i < s->n_keys; i++)
        secret_free(s->keys[i]);
}

static int add_item(provider_list *l, const config *c, uint32_t i, sv_error *err)
{
    secret *keys[PROVIDER_KEYS] = {NULL};
    provider_spec s = {.name = config_item_str(c, list_key, i, "name"),
                       .source = FROM_CONFIG,
                       .base_url = config_item_str(c, list_key, i, "base_url"),
                       .responses = config_item_bool(c, list_key, i, "responses"),
                       .trains = config_item_bool(c, list_key, i, "trains"),
                       .api_version = config_item_str(c, list_key, i, "api_version"),
                       .trust = HTTP_TRUST_OPERATOR,
                       .keys = keys};
    const char *kind = config_item_str(c, list_key, i, "kind");
    provider *p;
    sv_error why = {0};
    if (kind && provider_kind(&s, kind)) return wrong_item(c, i, "kind", "is not known", err);
    int rc = item_keys(c, i, &s, err);
    if (rc) {
        drop_keys(&s);
        return rc;
    }
    rc = provider_add(l, &s, &p, &why);
    drop_keys(&s);
    if (rc == SV_E_NO_MEMORY) return sv_fail(err, rc, NULL, NULL);
    if (rc)
        return wrong_item(c, i, strcmp(why.field, "name") == 0 ? "name" : "base_url", why.message,
                          err);
    rc = item_models(c, i, p);
    if (rc == SV_E_NO_MEMORY) return sv_fail(err, rc, NULL, NULL);
    return rc ? wrong_item(c, i, "models", "a model's name has 1 to 256 bytes", err) : 0;
}

/* ---- from the environment ---- */

static int add_known(provider_list *l, const known *k, sv_error *err)
{
    const char *text = getenv(k->key_env), *url = getenv(k->url_env);
    secret *key = NULL;
    provider *p;
    sv_error why = {0};
    bool has_url = url && *url;
    int rc = text ? secret_new(sv_cstr(text), k->key_env, &key, err) : 0;
    if (rc) return rc;
    if (key == NULL) {
        if (has_url)
            log_write(LOG_WARN, "a provider's URL is set without its key, so it is not used",
                      LOG_STR("variable", k->url_env), LOG_STR("missing", k->key_env));
        return 0;
    }
    if (provider_by_name(l, sv_cstr(k->name))) {
        secret_free(key);
        log_write(LOG_INFO,
                  "a provider of the configuration has the name of a known one, which is not added",
                  LOG_STR("provider", k->name), LOG_STR("variable", k->key_env));
        return 0;
    }
    provider_spec s = {.name = k->name,
                       .source = FROM_ENVIRONMENT,
                       .base_url = has_url ? url : k->base_url,
                       .format = k->format,
                       .responses = k->responses,
                       .trust = HTTP_TRUST_OPERATOR,
                       .keys = &key,
                       .n_keys = 1};
    rc = provider_add(l, &s, &p, &why);
    secret_free(key);
    if (rc == SV_E_INVALID)
        return sv_fail(err, SV_E_CONFIG, NULL, "environment %s: %s", k->url_env, why.message);
    return rc ? sv_fail(err, rc, NULL, "%s", why.message) : 0;
}

/* Nothing that this process starts or prints may find a key in its environment. */
static void wipe_environment(const config *c)
{
    for (size_t i = 0; i < sizeof from_environment / sizeof *from_environment; i++) {
        secret_wipe_env(from_environment[i].key_env);
        secret_wipe_env(from_environment[i].url_env);
    }
    for (uint32_t i = 0; i < config_items(c, list_key); i++) {
        const char *env = config_item_str(c, list_key, i, "key_env");
        if (env) secret_wipe_env(env);
        const char *const *more;
        uint32_t n = config_item_strs(c, list_key, i, "more_key_envs", &more);
        for (uint32_t k = 0; k < n; k++)
            secret_wipe_env(more[k]);
    }
}

int provider_list_load(provider_list *l, const config *c, sv_error *err)
{
    int rc = 0;
    *l = (provider_list){0};
    for (uint32_t i = 0; i < config_items(c, list_key) && rc == 0; i++)
        rc = add_item(l, c, i, err);
    for (size_t i = 0; i < sizeof from_environment / sizeof *from_environment && rc == 0; i++)
        rc = add_known(l, &from_environment[i], err);
    wipe_environment(c);
    if (rc) provider_list_free(l);
    return rc;
}

void provider_list_free(provider_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        provider_unref(l->items[i]);
    l->n = 0;
}
