/*  store_word.c - who serves store_stat has a store; ping tells its state. */
#include "store_word.h"

#include "sv_limits.h"

#include <stdio.h>

enum { PATIENCE_MS = 1000, ARENA_BYTES = 65536 };

static bool has_store(const bus_service_instance *in)
{
    for (uint32_t i = 0; i < in->methods.n; i++)
        if (sv_str_is(((bus_method *)in->methods.items)[i].name, "store_stat")) return true;
    return false;
}

void store_word(bus_client *b, const bus_service_instance *in, char word[STORE_WORD])
{
    char target[LIMIT_TARGET_BYTES + 1];
    arena a;
    sv_ping_reply r;
    word[0] = 0;
    if (!has_store(in)) return;
    snprintf(target, sizeof target, "%.*s/%lld.ping", SV_FMT(in->service), (long long)in->instance);
    arena_init(&a, ARENA_BYTES);
    if (bus_client_ask(b, target, &sv_ping_reply_msg, PATIENCE_MS, &a, &r, NULL))
        snprintf(word, STORE_WORD, "silent");
    else
        snprintf(word, STORE_WORD, "%.*s", SV_FMT(r.store));
    arena_free(&a);
}
