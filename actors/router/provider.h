/*  provider.h - who can answer: the providers, their models, and the choice among them.
 *  Thread: the loop's.   Ownership: the list owns its providers and their keys.
 *  Limits: PROVIDERS_MAX, MODELS_MAX a provider.
 *  Errors: SV_E_CONFIG with the place in the configuration; SV_E_NO_MEMORY. */
#ifndef ROUTER_PROVIDER_H
#define ROUTER_PROVIDER_H

#include "arena.h"
#include "config.h"
#include "http_client.h"
#include "metrics.h"
#include "secret.h"

enum { PROVIDERS_MAX = 64, MODELS_MAX = 4096, PROVIDER_NAME = 63, MODEL_NAME = 256 };

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

typedef enum provider_source { FROM_CONFIG, FROM_ENVIRONMENT, FROM_MACHINE } provider_source;

typedef struct provider {
    char name[PROVIDER_NAME + 1];
    provider_source source;
    char *base_url; /* without userinfo, for people */
    char *chat_url, *models_url;
    secret *key;
    bool fixed_models; /* listed in the configuration: nobody is asked */
    bool anthropic;    /* lists its models only to an x-api-key header */
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
} provider;

typedef struct provider_list {
    provider *items[PROVIDERS_MAX]; /* in order of preference */
    size_t n;
} provider_list;

/* From the configuration, then from the environment (whose variables are wiped). */
int provider_list_load(provider_list *l, const config *c, sv_error *err);
void provider_list_free(provider_list *l);
/* Adds one. `key` is taken on success. */
int provider_add(provider_list *l, const char *name, provider_source source, const char *base_url,
                 secret **key, provider **ret, sv_error *err);
provider *provider_by_name(const provider_list *l, sv_str name);

/* Replaces the models of a provider; `list` is taken. Duplicates are dropped. */
void provider_set_models(provider *p, model_list *list);
int model_list_add(model_list *l, sv_str id, int64_t created);
void model_list_init(model_list *l);
void model_list_free(model_list *l);
bool provider_lists(const provider *p, sv_str id);

typedef struct choice {
    provider *provider;
    uint32_t skip; /* bytes of the model's name that only named the provider */
} choice;

/* False when nobody takes the model; `err` then says who is there and how to add somebody. */
bool provider_choose(const provider_list *l, sv_str model_id, choice *ret, sv_error *err);
const char *provider_source_name(provider_source s);

#endif
