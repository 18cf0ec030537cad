/*  main.c - the edge as an actor: it serves nothing of its own on the bus and everything over HTTP.
 */
#include "api_web.h"
#include "gateway.h"

enum { TICK_MS = 250, TICKS_A_SECOND = 4, SLOTS = 16 };

static int edge_init(sv_process *p, void **state, sv_error *err)
{
    edge *e = NULL;
    int rc = web_open(sv_config(p), err);
    if (rc == 0) rc = gateway_open(p, &e, err);
    if (rc == 0)
        *state = e;
    else
        web_close();
    return rc;
}

static void edge_tick(sv_process *p, void *state)
{
    static unsigned ticks;
    (void)p;
    gateway_identities(state);
    if (++ticks % TICKS_A_SECOND) return;
    gateway_certificate(state);
    gateway_gauges(state);
}

static void edge_drain(sv_process *p, void *state)
{
    (void)p;
    gateway_drain(state);
}

static void edge_stop(sv_process *p, void *state)
{
    (void)p;
    gateway_free(state);
    web_close();
}

int main(int argc, char **argv)
{
    static const sv_actor actor = {
        .name = "edge",
        .version = SAMOVAR_VERSION,
        .doc = "HTTP: the OpenAI-compatible gateway, health and metrics",
        .slots = SLOTS,
        .init = edge_init,
        .tick = edge_tick,
        .tick_ms = TICK_MS,
        .drain = edge_drain,
        .stop = edge_stop,
    };
    return sv_main(argc, argv, &actor);
}
