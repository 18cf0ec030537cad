/*  sim_request.h - one request as the simulated provider understood it: neutral turns, tools and
 *  parameters, or the reason why it is refused in the words of the real provider.
 *  Thread: one.   Ownership: sim_request_free ends everything in it; `body` is borrowed from.
 *  Errors: functions that check answer 0, or -1 with `fail` filled. */
#ifndef KIT_SIM_REQUEST_H
#define KIT_SIM_REQUEST_H

#include "buf.h"
#include "sim_behaviour.h"

typedef enum sim_format {
    SIM_OPENAI,    /* /v1/chat/completions and the smaller OpenAI endpoints */
    SIM_TEXT,      /* /v1/completions */
    SIM_RESPONSES, /* /v1/responses */
    SIM_ANTHROPIC,
    SIM_GEMINI,
    SIM_OLLAMA
} sim_format;

typedef enum sim_ask {
    SIM_NOTHING, /* no such path */
    SIM_CHAT,
    SIM_COUNT,
    SIM_EMBED,
    SIM_MODELS,
    SIM_MODERATE,
    SIM_IMAGE,
    SIM_AUDIO
} sim_ask;

typedef struct sim_failure {
    int status;
    char code[64], param[160], message[512];
} sim_failure;

typedef struct sim_request {
    sim_format format;
    sim_ask ask;
    char model[512], key[256];
    bool azure, sse, stream, want_usage, encrypted, stored, thinks, summary, after_tool,
        last_assistant, one_call;
    bool generate;   /* Ollama: /api/generate */
    bool lax;        /* Anthropic: turns of the same role may follow each other */
    bool newer;      /* Anthropic: version 2026-10-21 */
    json_t *body;    /* as it came */
    json_t *turns;   /* [{role, parts: [{text}, {image, bytes}, {call, id, args}, ...]}] */
    json_t *tools;   /* [{name, description, schema}] */
    json_t *params;  /* everything else that was understood */
    json_t *schema;  /* that the text must fit, borrowed; json_true(): any object */
    char choice[96]; /* "auto", "none", "any" or a tool's name */
    int64_t max_tokens, text_bytes;
    sim_failure fail;
} sim_request;

void sim_request_init(sim_request *r, sim_format format, sim_ask ask);
void sim_request_free(sim_request *r);

/* Refuses with 400; `param` names the field. Always -1. */
int sim_refuse(sim_request *r, const char *param, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The first key of `object` that is not in `known` (words with a space before and after). */
const char *sim_unknown(const json_t *object, const char *known);

/* A new turn; the answer is its list of parts, to be added to. */
json_t *sim_turn(sim_request *r, const char *role);
void sim_add_text(sim_request *r, json_t *parts, const char *text);
void sim_add_thinking(json_t *parts, const char *text);
/* `data` must be base64 of a picture; -1 when it is not (nothing is refused yet). */
int sim_add_image(json_t *parts, const char *type, const char *data);
void sim_add_call(json_t *parts, const char *id, const char *name, json_t *args);
void sim_add_result(sim_request *r, json_t *parts, const char *id, const char *text);
void sim_add_tool(sim_request *r, const json_t *name, const json_t *description, json_t *schema);
/* Copies a parameter under a neutral name when it is there. */
void sim_param(sim_request *r, const char *name, const json_t *value);
/* Is a call with this id in the turns? */
bool sim_call_known(const sim_request *r, const char *id);

/* What was understood, as one line of JSON with sorted keys; the caller frees it. */
char *sim_understood(const sim_request *r);
/* The last text of the user; "" when there is none. */
const char *sim_last_user(const sim_request *r);
int64_t sim_prompt_tokens(const sim_request *r);

/* FNV-1a over a text, as 16 hexadecimal digits: what signatures are made of. */
uint64_t sim_hash(const void *p, size_t n, uint64_t from);
void sim_sign(const char *what, const char *text, size_t n, char out[64]);
bool sim_signed(const char *what, const char *text, const char *signature);

#endif
