/*  tokens.h - tokens of one attempt. Plain values, any thread. */
#ifndef LLM_TOKENS_H
#define LLM_TOKENS_H

#include <stdbool.h>
#include <stdint.h>

/* cached and cache_write lie inside prompt, cache_write_1h inside cache_write, reasoning inside
 * completion, whatever the provider's own way of counting. */
typedef struct tokens {
    bool known;     /* the provider told them */
    bool estimated; /* not known: counted here from the text */
    int64_t prompt, completion, cached, reasoning, cache_write, cache_write_1h;
} tokens;

#endif
