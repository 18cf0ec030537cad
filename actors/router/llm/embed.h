/*  embed.h - requests for embeddings and their answers, between the wire formats.
 *
 *  Clients: OpenAI's /embeddings (LLM_OPENAI), Ollama's /api/embed and its older /api/embeddings
 *  (LLM_OLLAMA). Providers: LLM_OPENAI and all that are compatible, LLM_GEMINI, LLM_OLLAMA.
 *
 *  A request keeps the client's JSON and looks at its inputs where they lie. The same format on both
 *  sides: the client's bytes with another model name. An answer is converted vector by vector, and a
 *  vector that is already written as the client wants it is copied. Vectors that Gemini shortened
 *  (dimensions) are made one long again, as all others are.
 *
 *  Thread: any.   Ownership: a request borrows from its text.
 *  Limits: EMBED_*; memory beside the output is one vector and 24 bytes for each input.
 *  Errors: as llm.h; SV_E_INVALID also from embed_write, for what this provider cannot do. */
#ifndef LLM_EMBED_H
#define LLM_EMBED_H

#include "llm.h"

enum {
    EMBED_INPUTS = 2048,        /* texts of a request */
    EMBED_INPUT_TOKENS = 65536, /* of a text that comes as numbers */
    EMBED_DIMENSIONS = 65536,   /* of a vector */
    EMBED_GEMINI_INPUTS = 100   /* that Gemini takes at once */
};

typedef struct embed_request {
    llm_format format;     /* of the client */
    sv_str json;           /* the client's whole body */
    json_value input;      /* a string, or a list of strings, of numbers, or of lists of numbers */
    uint32_t n;            /* texts */
    bool numbers;          /* they are tokens, which only OpenAI's models understand */
    bool older;            /* Ollama's /api/embeddings: one prompt, one vector */
    bool base64;           /* vectors as base64 of little-endian float32 */
    int64_t dimensions;    /* 0: not said */
    int64_t prompt_tokens; /* an estimate */
} embed_request;

/* `text` is a validated JSON object. */
int embed_parse(llm_format client, sv_str text, embed_request *ret, sv_error *err);
/* Behind the provider's base URL. 0, SV_E_INVALID (the format has no embeddings) or a buffer error. */
int embed_path(llm_format provider, sv_str model, buf *out);
/* The body for the provider; `model` is its name there, plain text. */
int embed_write(const embed_request *q, llm_format provider, sv_str model, buf *out,
                llm_notes *notes, sv_error *err);
/* The provider's answer (any bytes) as the client's; `model` as the client shall see it, plain text.
 * *ret: the provider's figures, or an estimate. SV_E_PROVIDER_GARBAGE unless there is one vector for
 * each text, all of one length. */
int embed_answer(const embed_request *q, llm_format provider, llm_format client, sv_str model,
                 sv_str json, tokens *ret, buf *out, sv_error *err);

#endif
