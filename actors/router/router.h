/*  router.h - the router actor: its state and its methods, each in a file of its own.
 *  Thread: the loop's. */
#ifndef ROUTER_ROUTER_H
#define ROUTER_ROUTER_H

#include "catalog.h"
#include "ledger.h"
#include "prices.h"
#include "samovar.h"
#include "upstreams.h"

typedef struct router {
    sv_process *process;
    loop *loop;
    http_client *http;   /* for lists of models */
    upstreams upstreams; /* for completions */
    provider_list providers;
    catalog catalog;
    price_list prices;
    ledger ledger;
    bool demo;
    uint32_t demo_delay_ms;
    uint32_t connect_ms, first_byte_ms, idle_ms;
    size_t answer_bytes;
} router;

extern const sv_actor router_actor;

sv_handler router_complete;                  /* complete.c */
sv_handler router_usage, router_usage_check; /* usage_methods.c */
/* demo.c: answers with the built-in model; the same contract as a handler. */
int demo_complete(router *r, sv_call *call, const router_complete_req *req, sv_str body);

#endif
