/*  provider.c - providers in order of preference: configuration, environment, this machine.
 *  Model lists are sorted, so that choosing costs a binary search a provider. */
#include "provider.h"

#include "error.h"
#include "http_guard.h"
#include "log.h"
#include "utf8.h"

#include <stdio.h>
#include <stdlib.h>

enum { MODEL_MEMORY = 4 << 20 };

typedef struct known {
    const char *name, *key_env, *url_env, *base_url;
    bool anthropic;
} known;

/* Picked up from the environment, in this order. Anthropic by its OpenAI-compatible endpoint. */
static const known from_environment[] = {
    {"openrouter", "OPENROUTER_API_KEY", "OPENROUTER_BASE_URL", "https://openrouter.ai/api/v1",
     false},
    {"groq", "GROQ_API_KEY", "GROQ_BASE_URL", "https://api.groq.com/openai/v1", false},
    {"openai", "OPENAI_API_KEY", "OPENAI_BASE_URL", "https://api.openai.com/v1", false},
    {"anthropic", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "https://api.anthropic.com/v1", true},
};

const char *provider_source_name(provider_source s)
{
    static const char *const names[] = {"configuration", "environment", "found on this machine"};
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

static void provider_free(provider *p)
{
    if (p == NULL) return;
    secret_free(p->key);
    model_list_free(&p->models);
    buf_free(&p->fetched);
    free(p->base_url);
    free(p->chat_url);
    free(p->models_url);
    free(p);
}

static bool name_ok(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return n > 0 && n <= PROVIDER_NAME && name[n] == 0;
}

static int set_urls(provider *p, const char *base_url, sv_error *err)
{
    int rc = http_url_check(base_url, HTTP_TRUST_OPERATOR, err);
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
    buf_free(&shown);
    p->chat_url = join(base_url, n, "/chat/completions");
    p->models_url = join(base_url, n, "/models");
    return p->base_url && p->chat_url && p->models_url ? 0
                                                       : sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
}

provider *provider_by_name(const provider_list *l, sv_str name)
{
    for (size_t i = 0; i < l->n; i++)
        if (sv_str_is(name, l->items[i]->name)) return l->items[i];
    return NULL;
}

static void get_series(provider *p)
{
    const char *name = p->name;
    p->ok = metric_get(M_PROVIDER_REQUESTS, (const char *const[]){name, "ok"});
    p->first_byte = metric_get(M_PROVIDER_FIRST_BYTE, (const char *const[]){name});
    p->prompt = metric_get(M_PROVIDER_TOKENS, (const char *const[]){name, "prompt"});
    p->completion = metric_get(M_PROVIDER_TOKENS, (const char *const[]){name, "completion"});
    p->cached = metric_get(M_PROVIDER_TOKENS, (const char *const[]){name, "cached"});
    p->reasoning = metric_get(M_PROVIDER_TOKENS, (const char *const[]){name, "reasoning"});
}

int provider_add(provider_list *l, const char *name, provider_source source, const char *base_url,
                 secret **key, provider **ret, sv_error *err)
{
    if (!name_ok(name))
        return sv_fail(
            err, SV_E_INVALID, "name",
            "A provider's name has 1 to %d letters, digits, dots, dashes and underscores.",
            PROVIDER_NAME);
    if (provider_by_name(l, sv_cstr(name)))
        return sv_fail(err, SV_E_CONFLICT, "name", "There are two providers called %s.", name);
    if (l->n == PROVIDERS_MAX)
        return sv_fail(err, SV_E_OUT_OF_RANGE, NULL, "More than %d providers.", PROVIDERS_MAX);
    provider *p = calloc(1, sizeof *p);
    if (p == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    snprintf(p->name, sizeof p->name, "%s", name);
    p->source = source;
    buf_init(&p->fetched, 8 << 20);
    model_list_init(&p->models);
    snprintf(p->state, sizeof p->state, "not asked yet");
    int rc = set_urls(p, base_url, err);
    if (rc) {
        provider_free(p);
        return rc;
    }
    get_series(p);
    p->key = *key;
    *key = NULL;
    l->items[l->n++] = p;
    *ret = p;
    return 0;
}

/* ---- from the configuration ---- */

static const char list_key[] = "router.providers";

static int wrong_item(const config *c, uint32_t i, const char *member, const char *words,
                      sv_error *err)
{
    return sv_fail(err, SV_E_CONFIG, list_key, "%s: key %s[%u].%s: %s", config_source(c, list_key),
                   list_key, i, member, words);
}

static int item_key(const config *c, uint32_t i, secret **ret, sv_error *err)
{
    const char *env = config_item_str(c, list_key, i, "key_env");
    const char *file = config_item_str(c, list_key, i, "key_file");
    sv_error why = {0};
    int rc = 0;
    *ret = NULL;
    if (env && file) return wrong_item(c, i, "key_file", "give key_env or key_file, not both", err);
    if (env) {
        const char *value = getenv(env);
        if (value) rc = secret_new(sv_cstr(value), env, ret, &why);
        if (rc == 0 && *ret == NULL)
            log_write(LOG_WARN, "a provider's key is not set",
                      LOG_STR("provider", config_item_str(c, list_key, i, "name")),
                      LOG_STR("variable", env));
    } else if (file) {
        rc = secret_from_file(file, ret, &why);
    }
    if (rc == SV_E_NO_MEMORY) return sv_fail(err, rc, NULL, NULL);
    return rc ? wrong_item(c, i, env ? "key_env" : "key_file", why.message, err) : 0;
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

static int add_item(provider_list *l, const config *c, uint32_t i, sv_error *err)
{
    secret *key;
    provider *p;
    sv_error why = {0};
    int rc = item_key(c, i, &key, err);
    if (rc) return rc;
    rc = provider_add(l, config_item_str(c, list_key, i, "name"), FROM_CONFIG,
                      config_item_str(c, list_key, i, "base_url"), &key, &p, &why);
    secret_free(key);
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
    rc = provider_add(l, k->name, FROM_ENVIRONMENT, has_url ? url : k->base_url, &key, &p, &why);
    secret_free(key);
    if (rc == SV_E_INVALID)
        return sv_fail(err, SV_E_CONFIG, NULL, "environment %s: %s", k->url_env, why.message);
    if (rc) return sv_fail(err, rc, NULL, "%s", why.message);
    p->anthropic = k->anthropic;
    return 0;
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
        provider_free(l->items[i]);
    l->n = 0;
}

/* ---- choosing ---- */

static void nobody(sv_str id, sv_error *err)
{
    size_t n = 0, step;
    while (n < id.n && (step = utf8_sequence((const uint8_t *)id.p + n, id.n - n)) > 0 &&
           n + step <= 48)
        n += step;
    sv_fail(err, SV_E_MODEL_UNKNOWN, "model",
            "Nobody offers the model %.*s: there is no provider. Set OPENAI_API_KEY, "
            "OPENROUTER_API_KEY, "
            "GROQ_API_KEY or ANTHROPIC_API_KEY, start Ollama, or list router.providers in "
            "samovar.yaml.",
            (int)n, id.p);
}

bool provider_choose(const provider_list *l, sv_str id, choice *ret, sv_error *err)
{
    for (size_t i = 0; i < l->n; i++)
        if (provider_lists(l->items[i], id)) {
            *ret = (choice){l->items[i], 0};
            return true;
        }
    const char *slash = id.n ? memchr(id.p, '/', id.n) : NULL;
    if (slash && slash + 1 < id.p + id.n) {
        uint32_t n = (uint32_t)(slash - id.p);
        provider *p = provider_by_name(l, (sv_str){id.p, n});
        if (p && !p->hidden) {
            *ret = (choice){p, n + 1};
            return true;
        }
    }
    for (size_t i = 0; i < l->n; i++)
        if (!l->items[i]->hidden) {
            *ret = (choice){l->items[i], 0};
            return true;
        }
    nobody(id, err);
    return false;
}
