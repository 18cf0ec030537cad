/*  catalog.h - keeps the providers' model lists fresh and looks for servers on this machine.
 *  Lists are asked for at start, every five minutes, and after a failure with growing pauses; until
 *  one has come, the provider simply lists nothing. Ports 11434, 8000 and 8080 on 127.0.0.1 become
 *  providers when something OpenAI-like answers there that is not Samovar itself.
 *  Thread: the
 *  loop's.   Ownership: borrows the list and the client; both must outlive it. */
#ifndef ROUTER_CATALOG_H
#define ROUTER_CATALOG_H

#include "provider.h"

enum { CATALOG_TENANT_MODELS = 1000 };

typedef struct catalog {
    loop *loop;
    http_client *http;
    provider_list *providers;
} catalog;

/* Adds the hidden local candidates (when router.discover) and starts asking. */
int catalog_start(catalog *cat, const config *c, sv_error *err);
void catalog_stop(catalog *cat);
/* One that is not of the list: asked after `delay_ms`, then as the others; who has not used it for long
 * is asked seldom. Keeps at most CATALOG_TENANT_MODELS of a tenant's models. */
int catalog_add(catalog *cat, provider *p, uint32_t delay_ms);
/* It is asked no more. Before its owner gives it up. */
void catalog_remove(catalog *cat, provider *p);
/* Reads a model listing (OpenAI's "data", Ollama's "models", or a bare array). */
int catalog_parse(sv_str json, model_list *ret, sv_error *err);

#endif
