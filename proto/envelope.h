/*  envelope.h - frame 0 of every message: a msgpack array in fixed order (docs/protocol.md section
 *  3).
 *  Thread: any.   Ownership: a decoded envelope borrows from the frame it was read from. Limits:
 *  LIMIT_HEADER_BYTES and the field limits in limits.def.
 *  Errors: SV_E_MALFORMED, SV_E_TOO_LARGE,
 *  SV_E_VERSION; nothing is ever allocated.
 *
 *  The first thirteen elements have fixed-width encodings at fixed offsets, so that a broker
 *  patches them in the received frame and forwards it without a copy. */
#ifndef SV_ENVELOPE_H
#define SV_ENVELOPE_H

#include "buf.h"
#include "sv_limits.h"
#include "sv_types.h"

enum { ENVELOPE_VERSION = 1, ENVELOPE_ELEMENTS = 18, ENVELOPE_FIXED = 130 };

typedef enum sv_kind {
    SV_HELLO = 1,
    SV_WELCOME = 2,
    SV_REQUEST = 3,
    SV_REPLY = 4,
    SV_PARTIAL = 5,
    SV_CREDIT = 6,
    SV_CANCEL = 7,
    SV_PING = 8,
    SV_PONG = 9,
    SV_EVENT = 10,
    SV_SUBSCRIBE = 11,
    SV_UNSUBSCRIBE = 12,
    SV_DRAIN = 13,
    SV_GOODBYE = 14
} sv_kind;

enum {
    SV_FLAG_IDEMPOTENT = 1, /* REQUEST: may be handed to a second instance */
    SV_FLAG_STREAM = 2,     /* REQUEST: the caller takes PARTIALs as items of a stream */
    SV_FLAG_MORE = 4,   /* the last frame goes on in the next message of this id and direction */
    SV_FLAG_REPLAY = 8, /* REQUEST: repeated from a capture */
    SV_FLAGS_KNOWN = 15
};

typedef struct envelope {
    uint8_t kind;    /* sv_kind */
    uint8_t attempt; /* 1 on the first hand-over; written by the broker */
    uint16_t flags;
    uint32_t credit_items; /* cumulative totals granted to the other side */
    uint64_t credit_bytes;
    uint32_t ttl_ms;                   /* time left; 0 means none left */
    char sender[LIMIT_NAME_BYTES + 1]; /* service name; written by the broker */
    uint32_t sender_instance;
    sv_id id;
    sv_id parent;
    sv_trace trace;
    uint32_t code; /* REPLY: status (sv_status_code); PARTIAL and EVENT: sequence from 1 */
    sv_str target; /* service.method, service/instance.method or topic */
    sv_str key;    /* partition key */
    sv_str tracestate;
    sv_str ticket;       /* opaque bytes, see ticket.h */
    sv_str content_type; /* of the body; absent means a msgpack map */
} envelope;

/* Checks every byte and limit; trailing bytes are an error. */
int envelope_decode(const void *data, size_t size, envelope *ret, sv_error *err);
/* Exact size of the encoding, or 0 if a field is over its limit. */
size_t envelope_size(const envelope *e);
/* Writes envelope_size bytes to `to`. The envelope must have passed envelope_size. */
void envelope_write(const envelope *e, void *to);

/* Patches in place; `data` holds a frame that envelope_decode accepted. */
void envelope_patch_ttl(void *data, uint32_t ttl_ms);
void envelope_patch_sender(void *data, const char *service, uint32_t instance);
void envelope_patch_attempt(void *data, uint8_t attempt);
void envelope_patch_code(void *data, uint32_t code);
void envelope_patch_credit(void *data, uint32_t items, uint64_t bytes);
/* Replaces the ticket by absent is not possible in place; a broker refuses instead. */

const char *envelope_kind_name(uint8_t kind); /* "REQUEST"; "?" if unknown */
/* True for [a-z][a-z0-9-]{0,23}: a service name. */
bool envelope_name_ok(sv_str name);
/* True for name.word(.word)* of [a-z0-9_-], at most LIMIT_TARGET_BYTES. */
bool envelope_target_ok(sv_str target);
/* A REQUEST's target: service.method, or service/N.method, which only instance N (1..4294967295,
 * decimal, no leading zeros) may get. *ret is service.method, borrowed from `target` or written to
 * `plain`; *ret_instance is 0 when none is named. False: neither form; nothing is written then. */
bool envelope_target_plain(sv_str target, char plain[LIMIT_TARGET_BYTES + 1], sv_str *ret,
                           uint32_t *ret_instance);

#endif
