/*  tokens.h - tokens as a provider counted them. Plain values, any thread. */
#ifndef ROUTER_TOKENS_H
#define ROUTER_TOKENS_H

#include <stdbool.h>
#include <stdint.h>

/* cached lies inside prompt, reasoning inside completion. */
typedef struct tokens {
    bool known;
    int64_t prompt, completion, cached, reasoning;
} tokens;

#endif
