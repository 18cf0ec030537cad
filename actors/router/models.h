/*  models.h - what is known of models: names at the providers, prices, sizes, abilities, quality.
 *  From the shipped file models.json (edge.web_dir's neighbour share/samovar/models.json, or
 *  router.models_file), dated, with the operator's router.model_info and router.prices over it. A reload
 *  reads and checks a file whole before it takes the place of the former; one that is wrong leaves the
 *  former.
 *  Thread: the loop's.   Ownership: a model_info lives until the next reload: keep names, not pointers,
 *  across turns of the loop.   Errors: SV_E_CONFIG with the place in the file. */
#ifndef ROUTER_MODELS_H
#define ROUTER_MODELS_H

#include "arena.h"
#include "config.h"
#include "error.h"
#include "tokens.h"

typedef enum model_task {
    TASK_CHAT,
    TASK_CODE,
    TASK_SUMMARISE,
    TASK_TRANSLATE,
    TASK_EXTRACT,
    TASK_REASON,
    TASK_VISION,
    TASK_LONG,
    TASK_TOOLS,
    TASKS
} model_task;
extern const char *const model_task_names[TASKS]; /* "chat", "code", "summarise", ... */

enum {
    MODEL_CAN_TOOLS = 1,
    MODEL_CAN_SEE = 2,
    MODEL_CAN_HEAR = 4,
    MODEL_CAN_JSON = 8,   /* structured output by schema */
    MODEL_CAN_THINK = 16, /* reasoning can be asked for */
    MODEL_CAN_PREFILL = 32,
    MODEL_CAN_FILES = 64,
    MODEL_CAN_EMBED = 128,         /* an embedding model, and none for chats */
    MODEL_COMPLETION_TOKENS = 256, /* wants max_completion_tokens */
    MODEL_ADAPTIVE = 512,          /* Anthropic: thinks by effort, takes schemas natively */
    MODEL_RESPONSES = 2048, /* chats by OpenAI's /responses alone, at providers that have it */
    MODEL_CAN_MEDIA = 1024  /* makes pictures, reads recordings or judges, and none for chats */
};

/* What a picture costs; texts are "" where the maker's price does not depend on them. */
typedef struct model_picture {
    const char *size, *quality;
    int64_t price;
} model_picture;

/* Micro-units of the currency per million tokens, and for what is not counted in tokens. */
typedef struct model_price {
    bool known; /* of tokens */
    int64_t input, output, cached, cache_write, cache_write_1h;
    int64_t long_from; /* prompts of more tokens than this cost ... ; 0: no such tier */
    int64_t long_input, long_output; /* ... this, and cached in the same proportion */
    bool by_call, by_hour;
    int64_t call, hour;            /* of sound */
    const model_picture *pictures; /* the first is that of a request which says neither */
    uint32_t n_pictures;           /* 0: no price for pictures */
} model_price;

typedef struct model_info {
    const char *id;               /* canonical: gpt-4o-mini; "" where nothing is known */
    int64_t context, output_most; /* tokens; 0: not known */
    unsigned can;
    bool known; /* false: neither the file nor the operator tells more than a price */
    uint8_t
        rank; /* of its maker's class: 1 tiny, 2 small, 3 middle, 4 large, 5 top; 0: not known */
    model_price price;
    float quality[TASKS]; /* 0..1, 0.5 where nothing is known */
} model_info;

typedef struct models models;

int models_load(const config *c, models **ret, sv_error *err);
void models_free(models *m);
/* Reads the file again when it has changed; `forced` in any case. Takes the new one or keeps the old
 * one, and says which in the log. Once in a while and on SIGHUP. */
int models_reload(models *m, bool forced, sv_error *err);
const char *models_date(const models *m); /* of the file, YYYY-MM-DD; "": there is no file */
/* Changes with each reload that took a new file. */
uint64_t models_generation(const models *m);

/* What is known of `model` as `provider` (NULL: any) calls it; never NULL: then a guess with known
 * false. A date behind the name may be missing in the file. */
const model_info *models_find(const models *m, const char *provider, sv_str model);
/* How `provider` calls the canonical model, or NULL: not as far as the file knows. */
const char *models_name_at(const models *m, const char *provider, const char *id);
/* All names of the canonical model, whatever the provider; their number. */
uint32_t models_names(const models *m, const char *id, const char *const **ret);

/* What these tokens cost (price.known), rounded up to a whole micro-unit; at most 2^53 - 1. */
int64_t model_cost(const model_price *p, const tokens *t);

#endif
