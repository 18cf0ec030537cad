/*  cache_key.h - the name of an answer in the cache: who may see it, and all that decides what it is.
 *
 *  Part of the key: the organization (or the user: see cache_scope), endpoint, model as asked, the other
 *  models and how they are asked (mode, task, complexity, budget), the models that the API key allows,
 *  stream and include_usage, anthropic-version and -beta, the generation of the routing, and the
 *  canonical body. Left out of the body is what does not change the answer: model, stream and
 *  stream_options (they are parts of their own), and, where the answer does not repeat them, user,
 *  metadata, safety_identifier, prompt_cache_key and prompt_cache_retention. Everything else counts,
 *  fields that nobody knows included. Left out of the request: via, session,
 *  continued, explain.
 *
 *  Thread: any.   Ownership: nothing of its own.
 *  Limits: bodies of CACHE_BODY_BYTES.
 *  Errors: SV_E_TOO_LARGE for a longer body and SV_E_INVALID for one that is no JSON object: such
 *  requests go to router.complete. SV_E_NO_MEMORY. */
#ifndef SV_CACHE_KEY_H
#define SV_CACHE_KEY_H

#include "json_scan.h"
#include "message.h"

enum { CACHE_KEY = 64, CACHE_BODY_BYTES = 1 << 20 };

/* With an organization its members share answers, unless `own`; without one a user has his own; without
 * either it is the operator, who works without a ticket. */
typedef struct cache_scope {
    sv_str org, user;
    bool own;
} cache_scope;

/* BLAKE2b-256 as hex, the partition key of cache.complete as well. `body` has passed json_skim.
 * `generation`: of the routing (cache actor; empty: the key is for partition only). */
int cache_key(const cache_scope *scope, const router_complete_req *q, sv_str body,
              sv_str generation, char ret[CACHE_KEY + 1]);

/* The name of all requests that differ in nothing but one text of the body (`text`, of question.h), for
 * finding answers to questions of the same meaning. */
int cache_bucket(const cache_scope *scope, const router_complete_req *q, sv_str body,
                 json_value text, sv_str generation, char ret[CACHE_KEY + 1]);

/* The first 128 bits of a key, for tables by id. */
sv_id cache_key_id(const char *key);

/* Did cache.complete fail because nobody is there to answer it? Then router.complete is asked instead,
 * as long as nothing of an answer has come. */
bool cache_is_away(int code);

#endif
