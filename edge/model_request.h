/*  model_request.h - what a client's request to a model says to the edge: the fields of its body and
 *  its headers that become router_complete_req. Everything else of the body is the router's and the
 *  provider's to understand.
 *
 *  Bodies are validated once, here, and then travel as they came; "models" and "mode", which are this
 *  server's own, are cut out.
 *  Thread: any.   Ownership: the result borrows from the body, the headers and its own buffers, which
 *  model_request_free gives back.
 *  Errors: SV_E_MISSING_FIELD, SV_E_WRONG_TYPE, SV_E_OUT_OF_RANGE, SV_E_INVALID with the field; those of
 *  json_skim. */
#ifndef EDGE_MODEL_REQUEST_H
#define EDGE_MODEL_REQUEST_H

#include "buf.h"
#include "http.h"
#include "message.h"

enum { MODEL_LIST = 16 };

typedef enum model_endpoint {
    MODEL_CHAT,
    MODEL_COMPLETIONS,
    MODEL_RESPONSES,
    MODEL_MESSAGES,
    MODEL_COUNT_TOKENS,
    MODEL_OLLAMA,
    MODEL_OLLAMA_GENERATE,
    MODEL_OLLAMA_EMBED,
    MODEL_EMBEDDINGS,
    MODEL_MODERATIONS,
    MODEL_IMAGES,
    MODEL_TRANSCRIPTIONS,
    MODEL_ENDPOINTS
} model_endpoint;

typedef struct model_request {
    router_complete_req req;
    sv_str body;
    bool zero_temperature; /* said to be 0 */
    bool explain;          /* x-samovar-explain: the answer's headers say how it was made */
    bool semantic; /* x-samovar-semantic: an answer to a question of the same meaning will do */
    /* Cache-Control */
    bool no_store, no_cache;
    bool own_only;     /* private */
    int64_t max_age_s; /* -1: not said */
    buf text, cut;
    sv_str list[MODEL_LIST];
} model_request;

int model_request_read(model_endpoint e, const http_request *r, sv_str body, model_request *ret,
                       sv_error *err);
void model_request_free(model_request *m);

#endif
