/*  bus_client.h - the CLI as a caller on the bus ("operator"): connect, call, wait.
 *  Thread: the caller's; the loop runs inside these calls only.
 *  Errors: those of the call; SV_E_UNAVAILABLE when the broker does not answer within the patience.
 */
#ifndef CLI_BUS_CLIENT_H
#define CLI_BUS_CLIENT_H

#include "arena.h"
#include "tool.h"

enum { BUS_PATIENCE_MS = 3000, BUS_ANSWER_BYTES = 4 << 20 };

typedef struct bus_client {
    sv_process *process;
} bus_client;

/* Connects and waits for WELCOME. */
int bus_client_open(bus_client *b, const config *c, uint32_t patience_ms, sv_error *err);
void bus_client_close(bus_client *b);
/* One call with msgpack in and out; the reply's body is appended to `reply`. */
int bus_client_call(bus_client *b, const char *target, sv_str request, uint32_t ttl_ms, buf *reply,
                    sv_error *err);
/* Decodes an answer whose bytes go away: what `ret` borrows is in the arena. */
int bus_answer(const sv_message *type, sv_str bytes, arena *a, void *ret, sv_error *err);
/* One call with structs in and out; `ret` borrows from the arena. The messages' bytes are wiped. */
int bus_client_request(bus_client *b, const char *target, const sv_message *request_type,
                       const void *request, uint32_t ttl_ms, const sv_message *type, arena *a,
                       void *ret, sv_error *err);
/* The same without anything to say. */
int bus_client_ask(bus_client *b, const char *target, const sv_message *type, uint32_t ttl_ms,
                   arena *a, void *ret, sv_error *err);
/* The same as bus_client_request over a connection of its own. */
int bus_client_once(const config *c, const char *target, const sv_message *request_type,
                    const void *request, uint32_t ttl_ms, const sv_message *type, arena *a,
                    void *ret, sv_error *err);

#endif
