/*  provider.h - who can answer: the providers and their models.
 *  Thread: the loop's.   Ownership: the list owns its providers and their keys.
 *  Limits: PROVIDERS_MAX, MODELS_MAX a provider.
 *  Errors: SV_E_CONFIG with the place in the configuration; SV_E_NO_MEMORY. */
#ifndef ROUTER_PROVIDER_H
#define ROUTER_PROVIDER_H

#include "arena.h"
#include "budget_rules.h"
#include "config.h"
#include "http_client.h"
#include "llm.h"
#include "metrics.h"
#include "secret.h"

enum {
    PROVIDERS_MAX = 64,
    MODELS_MAX = 4096,
    PROVIDER_NAME = 63,
    MODEL_NAME = 256,
    PROVIDER_KEYS = 8
};

typedef struct model {
    const char *id;
    int64_t created;
} model;

/* Sorted by id. */
typedef struct model_list {
    model *items;
    size_t n;
    arena mem;
} model_list;

typedef enum provider_source {
    FROM_CONFIG,
    FROM_ENVIRONMENT,
    FROM_MACHINE,
    FROM_TENANT /* a user or an organization brought it, with a key of their own */
} provider_source;

typedef struct provider provider;
struct provider {
    char name[PROVIDER_NAME + 1];
    provider_source source;
    char *base_url; /* without userinfo, for people */
    char *api_url;  /* the same as it is called, without a slash at its end */
    char *models_url;
    llm_format format; /* of chats: LLM_OPENAI, LLM_ANTHROPIC, LLM_GEMINI or LLM_OLLAMA */
    bool responses;    /* has OpenAI's /responses as well */
    bool azure;        /* api-key instead of a bearer token, and the API's version in the query */
    char *api_version; /* of Azure */
    http_trust trust;
    secret *keys[PROVIDER_KEYS]; /* equal in rights; the next one when one is refused or limited */
    uint32_t n_keys;
    bool trains;            /* data policy: it may learn from what it is sent */
    char org[37], user[37]; /* FROM_TENANT: whose it is; `user` empty: the whole organization's */
    char id[37];            /* FROM_TENANT: of the row at auth */
    budget_caps limits;     /* FROM_TENANT: of this provider alone */
    char like[PROVIDER_NAME + 1]; /* FROM_TENANT: the known provider that this is; empty: none */
    char label[PROVIDER_NAME + 1], tag[PROVIDER_NAME + 1]; /* provider_label, provider_tag */
    uint32_t refs;     /* calls under way, and one of the owner's */
    uint64_t used_us;  /* FROM_TENANT: when it was last offered for a request */
    bool fixed_models; /* listed in the configuration: nobody is asked */
    bool hidden;       /* a port of this machine where nothing has answered yet */
    model_list models;
    char state[160];
    metric_series *ok, *first_byte;
    metric_series *prompt, *completion, *cached, *reasoning; /* tokens */
    /* kept by catalog.c */
    http_transfer *fetch;
    buf fetched;
    int fetch_status;
    bool fetch_refused, tags; /* Ollama's own listing is asked */
    loop_timer timer;
    uint32_t failures;
    void *owner;
    void (*heard)(void *arg,
                  provider *p); /* after each answer or failure; may end it. NULL: nobody */
    void *heard_arg;
};

typedef struct provider_list {
    provider *items[PROVIDERS_MAX]; /* in order of preference */
    size_t n;
} provider_list;

/* From the configuration, then from the environment (whose variables are wiped). */
int provider_list_load(provider_list *l, const config *c, sv_error *err);
void provider_list_free(provider_list *l);

typedef struct provider_spec {
    const char *name;
    provider_source source;
    const char *base_url;
    llm_format format;
    bool responses, azure, trains;
    const char *api_version; /* of Azure; NULL: its present one */
    http_trust trust;
    secret **keys; /* taken on success */
    uint32_t n_keys;
    const char *org, *user, *id; /* FROM_TENANT */
    budget_caps limits;          /* FROM_TENANT */
    uint64_t version;            /* FROM_TENANT: a number that another key changes */
} provider_spec;

int provider_new(const provider_spec *s, provider **ret, sv_error *err);
void provider_free(provider *p);
/* Its owner and every call under way have one reference; the last one frees it. */
provider *provider_ref(provider *p);
void provider_unref(provider *p);
/* The same, behind the others of a list, which owns it. */
int provider_add(provider_list *l, const provider_spec *s, provider **ret, sv_error *err);
provider *provider_by_name(const provider_list *l, sv_str name);

/* Replaces the models of a provider; `list` is taken. Duplicates are dropped. */
void provider_set_models(provider *p, model_list *list);
int model_list_add(model_list *l, sv_str id, int64_t created);
void model_list_init(model_list *l);
void model_list_free(model_list *l);
bool provider_lists(const provider *p, sv_str id);

/* The address of `path` (with its slash, and maybe a query) for a model. */
int provider_url(const provider *p, sv_str path, sv_str at_model, buf *out);
/* The header with its key, for http_start and nothing else; NULL without keys. */
const char *provider_key_header(const provider *p, uint32_t key);
/* Overwrites its keys wherever they appear in text that is about to leave. */
void provider_blot(const provider *p, buf *text);
/* One of its keys is in there. */
bool provider_in(const provider *p, sv_str text);
/* "openai", "azure", "anthropic", "gemini" or "ollama", as in router.providers[].kind. */
int provider_kind(provider_spec *s, const char *kind);

/* Fills what is not said of a provider that is known by this name; false: it is not. */
bool provider_known(const char *name, provider_spec *s);

/* The names of a provider: `name` is what its users call it, and unique only among those that one
 * caller sees. */
/* For ledger, decisions, answers and logs: a tenant's is "own:NAME", which no other can be called. */
const char *provider_label(const provider *p);
/* For health and stickiness: a tenant's is his alone, and another after a change of the key. */
const char *provider_tag(const provider *p);
/* For what is known of models: a tenant's is the known provider at this address, or nobody. */
const char *provider_like(const provider *p);
/* For metrics, whose labels must be few: "tenant" for all of those. */
const char *provider_series(const provider *p);

const char *provider_source_name(provider_source s);

#endif
