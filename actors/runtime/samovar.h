/*  samovar.h - libsamovar: write an actor, call other actors.
 *
 *  An actor is declared, not assembled: a table of methods and a spec, handed to sv_main. One
 *  process, one loop thread. A handler runs on a fiber and reads like straight-line code: calls that
 *  wait suspend the fiber, never the loop. A method marked SV_INLINE runs on the loop itself: it
 *  must not wait, and may answer SV_PENDING and finish the call later (sv_reply, sv_refuse).
 *
 *  Deadline, trace, ticket and cancellation pass from a request to the calls made for it
 *  (`parent`). Every call ends in exactly one answer, and every stream in exactly one `done`.
 *
 *  Thread: everything on the loop's thread; use sv_work for CPU-heavy work.
 *  Ownership: a handler's request struct, sv_item and everything reached from them are borrowed
 *  until the handler returns (or the call is answered, for SV_PENDING). Copy what must live longer.
 *  Errors: 0, or a negative number of errors.def; words go to sv_call_error(call). */
#ifndef SAMOVAR_H
#define SAMOVAR_H

#include "config.h"
#include "error.h"
#include "loop.h"
#include "message.h"
#include "store.h"
#include "sv_types.h"

typedef struct sv_process sv_process; /* this process on the bus */
typedef struct sv_call sv_call;       /* a request being served */
typedef struct sv_stream sv_stream;   /* a request this process made */

enum { SV_PENDING = 1 }; /* an SV_INLINE handler will answer later */

/* Method flags. */
enum {
    SV_IDEMPOTENT = 1, /* may be handed to a second instance when the first one dies */
    SV_INLINE = 2      /* runs on the loop, not on a fiber */
};

typedef int sv_handler(sv_call *call, const void *request);

typedef struct sv_method {
    const char *name;          /* without the service: "complete" */
    const sv_message *request; /* NULL: the body is not decoded, see sv_call_body */
    const sv_message *reply;   /* type of sv_reply's struct; NULL: only raw answers */
    sv_handler *handler;
    unsigned flags;
    size_t max_request; /* body and attachment together; 0: one message (64 KiB) */
    const char *doc;    /* one line for people */
} sv_method;

/* A question to an actor's environment that its own program answers while no process has it open:
 * `samovar-NAME store QUESTION [JSON]` prints the reply as a line of JSON. */
typedef struct sv_offline {
    store *store;
    arena *arena; /* for the reply */
    sv_error *err;
    /* Runs fn as a write and waits for its commit; for requests that are said to write. */
    int (*write)(struct sv_offline *o, store_fn *fn, const void *in, void *out);
    void *job; /* the runtime's own */
} sv_offline;

typedef struct sv_question {
    const char *name;
    const sv_message *request, *reply;
    int (*answer)(sv_offline *o, const void *request, void *reply);
    bool (*writes)(const void *request); /* NULL: none does */
    const char *doc;
} sv_question;

typedef struct sv_actor {
    const char *name; /* service name */
    const char *version;
    const char *doc;
    const sv_method *methods;
    size_t n_methods;
    uint32_t slots; /* requests taken at once; 0: 1024 */
    /* What it keeps, NULL: nothing. Opened before `init` in DATA/store/NAME-INSTANCE and closed after
     * `stop`; the methods store_stat, store_check, ... are then served too (builtin_store.c). */
    const store_schema *store;
    const sv_question *questions; /* besides those that every environment answers */
    size_t n_questions;
    /* Called once, after configuration and before HELLO. *state is handed to tick and stop and is
     * what sv_process_state answers. */
    int (*init)(sv_process *p, void **state, sv_error *err);
    void (*tick)(sv_process *p, void *state); /* every tick_ms, may be NULL */
    uint32_t tick_ms;
    /* SIGTERM: `drain` (may be NULL) is called first, then open requests are finished, then `stop`.
     */
    void (*drain)(sv_process *p, void *state);
    void (*stop)(sv_process *p, void *state);
} sv_actor;

/* Runs the actor until SIGTERM or SIGINT; answers the exit code: 0, 1, or 78 for a configuration
 * error. Finds the bus by SAMOVAR_DATA / SAMOVAR_RUN, or SAMOVAR_BUS with SAMOVAR_KEY and
 * SAMOVAR_BUS_KEY (CURVE key files) from elsewhere. Arguments: --help, --version, --config FILE. */
int sv_main(int argc, char **argv, const sv_actor *actor);

/* ---- the process ---- */

loop *sv_loop(sv_process *p);
const config *sv_config(sv_process *p);
void *sv_process_state(sv_process *p);
uint32_t sv_instance(sv_process *p); /* 0 before WELCOME */
bool sv_connected(sv_process *p);    /* WELCOME received and the broker answers */
bool sv_draining(sv_process *p);
/* Ends the process as SIGTERM would. */
void sv_stop(sv_process *p);
/* From init: requests taken at once, when a setting decides it and not the actor's table. */
void sv_set_slots(sv_process *p, uint32_t slots);
/* `hold` > 0 keeps a draining process alive (open HTTP connections); every +1 needs a -1. */
void sv_hold(sv_process *p, int delta);

/* ---- serving ---- */

sv_process *sv_call_process(sv_call *c);
const char *sv_call_caller(const sv_call *c); /* service name, written by the broker */
uint32_t sv_call_caller_instance(const sv_call *c);
const sv_id *sv_call_id(const sv_call *c);
const sv_trace *sv_call_trace(const sv_call *c);
sv_str sv_call_ticket(const sv_call *c);
sv_str sv_call_key(const sv_call *c);
sv_str sv_call_method(const sv_call *c);
sv_str sv_call_body(const sv_call *c); /* raw body bytes */
sv_str sv_call_content_type(const sv_call *c);
sv_str sv_call_attachment(const sv_call *c); /* frame 2, assembled; absent {NULL, 0} */
uint32_t sv_call_ttl_ms(const sv_call *c);   /* time left now */
bool sv_call_streaming(const sv_call *c);    /* the caller takes PARTIALs */
bool sv_call_cancelled(const sv_call *c);
arena *sv_call_arena(sv_call *c);
sv_error *sv_call_error(sv_call *c);
void *sv_call_data(const sv_call *c); /* a pointer of the handler's own */
void sv_call_set_data(sv_call *c, void *data);

/* Final answers; exactly one. `reply` is the struct of method->reply. After it the call is gone for
 * an SV_PENDING handler; a fiber handler returns what sv_reply returned. */
int sv_reply(sv_call *c, const void *reply);
/* With an attachment of any size: goes out in parts under the caller's window. Bytes are copied. */
int sv_reply_with(sv_call *c, const void *reply, sv_str attachment);
int sv_reply_raw(sv_call *c, const char *content_type, sv_str body);
/* Ends an SV_PENDING call with an error; a fiber handler returns the code instead. */
void sv_refuse(sv_call *c, int code, const sv_error *err);

/* One item of a stream: a struct of type `m`, or raw bytes with a content type. On a fiber:
 * suspends while the window is shut; SV_E_CANCELLED when the caller is gone. At most one message in
 * size. */
int sv_partial(sv_call *c, const sv_message *m, const void *item, sv_str attachment);
/* Bytes of a byte stream, from the loop (SV_INLINE calls): sends what the window allows and keeps
 * the rest, merged, up to 1 MiB (then SV_E_QUEUE_FULL). Items waiting are merged; a lone one is not
 * delayed. */
int sv_write(sv_call *c, const char *content_type, sv_str bytes);
size_t sv_write_pending(const sv_call *c);
/* fn(data) when pending bytes have drained to zero after sv_write_pending was above zero. */
void sv_on_drained(sv_call *c, void (*fn)(sv_call *c));
/* fn when the caller cancelled or died: stop working. The call still needs its answer
 * (SV_E_CANCELLED); nobody hears it. Fibers learn it from their next wait. */
void sv_on_cancel(sv_call *c, void (*fn)(sv_call *c));

/* ---- calling ---- */

typedef struct sv_item {
    sv_str body; /* msgpack, or bytes of content_type */
    sv_str content_type;
    sv_str attachment;
    uint32_t sequence; /* PARTIAL: from 1 */
} sv_item;

typedef struct sv_events {
    /* Each PARTIAL of a streaming request. Call sv_consumed when its bytes are used up. */
    void (*item)(void *arg, sv_stream *s, const sv_item *item);
    /* Exactly once, last; the stream is gone after it. code 0: `item` is the REPLY. */
    void (*done)(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err);
} sv_events;

typedef struct sv_request {
    const char *target;     /* "router.complete"; "router/2.usage": to instance 2 and no other */
    sv_str key;             /* partition key: same key, same instance; not with an instance */
    const sv_message *type; /* with `body`: encoded as msgpack ... */
    const void *body;
    sv_str raw; /* ... or these bytes of `content_type` */
    const char *content_type;
    sv_str attachment;     /* any size up to the callee's max_request; copied */
    uint32_t ttl_ms;       /* 0: the parent's time left, or 10 s */
    bool stream;           /* deliver PARTIALs as items */
    bool idempotent;       /* may be repeated even if the method does not say so */
    size_t max_reply;      /* of an assembled answer; 0: 1 MiB */
    sv_call *parent;       /* passes on deadline, trace, ticket and cancellation */
    const sv_trace *trace; /* without a parent */
    sv_str tracestate;
    sv_str ticket;
    uint32_t window_items; /* 0: LIMIT_WINDOW_ITEMS */
    uint32_t window_bytes; /* 0: LIMIT_WINDOW_BYTES */
} sv_request;

/* Starts a request from the loop. NULL with err filled when it cannot even start; no event then.
 * `done` may come in the same turn but never before sv_open returned. */
sv_stream *sv_open(sv_process *p, const sv_request *r, const sv_events *ev, void *arg,
                   sv_error *err);
/* The consumer has used up items: grants as much again to the sender. */
void sv_consumed(sv_stream *s, uint32_t items, size_t bytes);
/* No event comes after this; the callee is told to stop. */
void sv_cancel(sv_stream *s);
const sv_id *sv_stream_id(const sv_stream *s);

/* On a fiber: calls and waits. `reply` is decoded into the call's arena. */
int sv_call_service(sv_call *parent, const char *target, const sv_message *request_type,
                    const void *request, const sv_message *reply_type, void *reply);
/* On a fiber: opens a stream and reads it item by item. sv_next suspends; false at the end, then
 * sv_stream_result tells how it ended and *last (may be NULL) holds the REPLY. Closing early
 * cancels. Every sv_call_stream needs an sv_stream_close. */
sv_stream *sv_call_stream(sv_call *parent, const sv_request *r);
bool sv_next(sv_stream *s, sv_item *item);
int sv_stream_result(const sv_stream *s, sv_item *last);
void sv_stream_close(sv_stream *s);
/* On a fiber: waits. SV_E_CANCELLED or SV_E_DEADLINE when the call ended meanwhile. */
int sv_sleep(sv_call *c, uint32_t ms);
/* On a fiber: runs work(arg) on the low-priority pool and waits for it. */
int sv_work(sv_call *c, int (*work)(void *arg), void *arg);

/* ---- state (store.h) ---- */

store *sv_store(sv_process *p); /* NULL when the actor keeps nothing */
/* A read, here and now; on a fiber it waits while the store is being opened again, in an inline
 * handler it then fails at once. Words go to sv_call_error. Rows live in the call's arena. */
int store_read(sv_call *c, store_fn *fn, const void *in, void *out);
/* On a fiber: suspends until fn's changes are on disk or undone. Goes on to the end even when the
 * call is cancelled meanwhile, and then answers what became of it; does not begin when the call is
 * cancelled or its time is over. */
int store_write(sv_call *c, store_fn *fn, const void *in, void *out);
/* From the loop, for no call in particular: done(arg, code, err) comes in a later turn, exactly once
 * if 0 was answered. `in` and `out` are borrowed until then; fn's arena is its own and dies with
 * `done`. When the process ends, what was begun before the actor's `stop` is told before it, what
 * `stop` itself begins after it. */
int sv_store_write(sv_process *p, const char *owner, store_fn *fn, const void *in, void *out,
                   void (*done)(void *arg, int code, const sv_error *err), void *arg);

/* A key derived from the root key for `purpose`, the same in every process that has the same root key;
 * seal_key_free ends it. NULL: no memory, or the actor keeps nothing. From init on. */
struct seal_key *sv_derive_key(sv_process *p, const char *purpose);

/* ---- events ---- */

/* Publishes to a topic ("workspace.changed"); the first word must be this service's name. */
int sv_publish(sv_process *p, const char *topic, const sv_message *type, const void *body);
/* `pattern`: words with * for one and a final > for the rest. `gap` is the number of events that
 * were dropped before this one because this process was slow. */
typedef void sv_event_fn(void *arg, sv_str topic, const sv_item *event, uint64_t gap);
int sv_subscribe(sv_process *p, const char *pattern, sv_event_fn *fn, void *arg);
void sv_unsubscribe(sv_process *p, const char *pattern, sv_event_fn *fn, void *arg);

#endif
