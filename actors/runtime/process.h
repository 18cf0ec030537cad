/*  process.h - inside of libsamovar: what bus.c, serve.c, stream.c, fiber_api.c, event.c and
 *  actor.c share. Not for actors. */
#ifndef SV_PROCESS_H
#define SV_PROCESS_H

#include "envelope.h"
#include "fiber.h"
#include "idmap.h"
#include "metrics.h"
#include "pool.h"
#include "samovar.h"

#include <zmq.h>

/* One message: header, body, attachments. */
typedef struct frames {
    envelope env; /* borrows from part[0] */
    int n;
    zmq_msg_t part[LIMIT_FRAMES];
} frames;

void frames_close(frames *f);
/* Leaves `from` empty. Slices of env stay valid: a header has more than the 33 bytes that libzmq
 * keeps inside a zmq_msg_t, so its bytes do not move with it. */
void frames_move(frames *to, frames *from);
sv_str frames_part(const frames *f, int i);
uint32_t frames_data_bytes(const frames *f);

/* Parts of one message being put together: the first message's frames, its last frame growing. */
typedef struct assembly {
    frames first;
    buf joined;
} assembly;

typedef struct record {
    uint64_t unix_us;
    sv_id id;
    uint8_t trace_id[16];
    char peer[LIMIT_NAME_BYTES + 12];
    char method[LIMIT_TARGET_BYTES + 1];
    uint8_t kind;
    bool out;
    uint32_t code, bytes;
    uint64_t service_us;
} record;

enum { RECORDS = 512, RECV_BUDGET = 256, WRITE_PENDING_MAX = 1048576, CALL_POOL = 256 };

typedef enum session {
    SESSION_DOWN,  /* no WELCOME, or the broker fell silent */
    SESSION_HELLO, /* HELLO sent */
    SESSION_UP
} session;

typedef struct queued_message {
    struct queued_message *next;
    int n;
    zmq_msg_t part[3];
} queued_message;

typedef struct subscription {
    struct subscription *next;
    sv_id id;
    char pattern[LIMIT_TARGET_BYTES + 1];
    sv_event_fn *fn;
    void *arg;
    uint32_t received, granted; /* events since the last SUBSCRIBE */
    uint32_t last_sequence;
} subscription;

struct sv_process {
    loop *loop;
    const config *config;
    const sv_actor *actor; /* NULL for tools */
    void *state;
    char name[LIMIT_NAME_BYTES + 1];
    char version[32];
    uint32_t slots;
    uint64_t epoch, started_us;

    void *zmq, *socket;
    loop_fd *watch;
    bool fatal; /* the broker refused our name */
    sv_error fatal_error;

    session session;
    uint64_t broker_epoch;
    uint32_t instance, ping_ms;
    uint64_t heard_us, hello_us, pinged_us, dialled_us, ticked_us;
    uint64_t settled_us; /* after a broker restart: until then services may not be back yet */
    bool ready_sent;
    loop_timer tick, tick_beat;
    loop_timer actor_tick;
    queued_message *out_head, **out_tail; /* waiting for the socket to take them */
    size_t out_bytes;

    idmap calls;   /* sv_call by id */
    idmap streams; /* sv_stream by id */
    sv_call *call_pool;
    uint32_t call_pooled;
    sv_call *dirty;      /* calls with bytes to flush at the end of the turn */
    sv_stream *finished; /* streams whose `done` is due in the next hook */
    sv_stream *waiting;  /* not sent yet: waiting for WELCOME */
    subscription *subscriptions;

    fiber_pool *fibers;
    pool *workers;
    struct state *kept; /* state.h; NULL: the actor keeps nothing */
    bool begun;         /* init was called */

    sv_method *methods; /* actor's and built-in */
    size_t n_methods;
    metric_series **served_ok;

    record *records;
    uint32_t record_at;

    bool draining, stopped;
    int holds;
    uint64_t drain_until_us;
    int exit_code;
};

/* One end of a stream's window, as a sender. */
typedef struct out_window {
    uint32_t granted_items, sent_items, sequence;
    uint64_t granted_bytes, sent_bytes;
} out_window;

/* One end of a stream's window, as a receiver. */
typedef struct in_window {
    uint32_t items, size_items, granted_items, used_items, sequence;
    uint64_t bytes, size_bytes, granted_bytes, used_bytes;
} in_window;

bool out_window_fits(const out_window *w, size_t bytes);
/* True when a CREDIT is worth sending now; the new totals are in granted_*. */
bool in_window_regrant(in_window *w);

struct sv_call {
    sv_process *process;
    sv_call *next; /* pool, or list of dirty calls */
    const sv_method *method;
    size_t method_index;
    frames frames;
    sv_id id;
    sv_trace trace; /* our own span within the caller's trace */
    uint64_t deadline_us, started_us;
    arena arena;
    void *request;
    assembly *parts; /* an upload being received */
    in_window in;
    out_window out;
    sv_str joined; /* attachment or body of an assembled upload */
    buf pending;   /* bytes waiting for the window */
    char pending_type[LIMIT_CONTENT_TYPE_BYTES + 1];
    bool pending_is_reply; /* pending bytes are the tail of the final answer */
    bool dirty, answered, final_due, cancelled;
    bool gone; /* nobody hears the answer */
    int pins;  /* handler running or suspended, in the dirty list, being cancelled */
    uint32_t final_status;
    buf final_body; /* encoded body of the answer that waits for pending bytes */
    char final_type[LIMIT_CONTENT_TYPE_BYTES + 1];
    bool first_part_sent; /* of a large answer: final_body went out with it */
    void (*on_drained)(sv_call *);
    void (*on_cancel)(sv_call *);
    void *data;
    sv_error error;
    fiber *waiter; /* the handler's fiber while it is suspended */
    sv_stream *children;
};

typedef struct stream_item {
    struct stream_item *next;
    frames frames;
    assembly *parts; /* NULL for an item of one message */
} stream_item;

struct sv_stream {
    sv_process *process;
    sv_id id;
    const sv_events *events;
    void *arg;
    sv_stream *next, *prev_sibling, *next_sibling; /* waiting/finished list; children of `parent` */
    sv_call *parent;
    bool streaming, idempotent, sent, in_waiting, in_finished, over, item_seen;
    uint8_t attempts;
    uint64_t deadline_us, opened_us;
    loop_timer timer, again;
    size_t max_reply;
    in_window in;
    assembly *parts;
    /* the request, kept while it may have to be sent (again) or goes out in parts */
    bool kept;
    char target[LIMIT_TARGET_BYTES + 1];
    char key[LIMIT_KEY_BYTES + 1];
    char content_type[LIMIT_CONTENT_TYPE_BYTES + 1];
    sv_id parent_id;
    sv_trace trace;
    buf header_extra; /* tracestate then ticket */
    uint32_t tracestate_n, ticket_n;
    bool has_key, has_tracestate, has_ticket, has_type;
    buf body, attachment;
    bool has_attachment;
    size_t attachment_at; /* sent so far */
    out_window out;
    /* fiber side */
    stream_item *items, **items_tail, *current;
    fiber *waiter;
    int result;
    stream_item *last;
    sv_error error;
};

/* bus.c */
int bus_open(sv_process *p, sv_error *err);
void bus_close(sv_process *p);
/* Asks the broker for no more work. */
void bus_say_drain(sv_process *p);
/* Sends or queues one message. Empty `body` is sent as an empty frame; attachment.p NULL: none. */
int bus_send(sv_process *p, const envelope *e, sv_str body, sv_str attachment);
void record_hop(sv_process *p, const envelope *e, bool out, const char *peer, uint32_t bytes,
                uint64_t service_us);
uint64_t bus_ms_left(uint64_t deadline_us, uint64_t now_us);

/* assembly */
assembly *assembly_start(frames *f, size_t max);
int assembly_add(assembly *a, frames *f);
void assembly_free(assembly *a);
void item_of(const frames *f, const assembly *a, sv_item *item);

/* serve.c */
void serve_request(sv_process *p, frames *f);
void serve_partial(sv_process *p, sv_call *c, frames *f);
void serve_credit(sv_process *p, sv_call *c, const envelope *e);
void serve_cancel(sv_process *p, sv_call *c);
void serve_cancel_all(sv_process *p);
void serve_flush(sv_process *p);
void serve_free_pool(sv_process *p);
/* The fiber of this call goes on, with the log context set. */
void serve_resume(sv_call *c);

/* fiber_api.c */
/* Suspends the running fiber; whoever holds `*slot` resumes it. */
void call_wait(sv_call *c, fiber **slot);

/* stream.c */
void stream_reply(sv_stream *s, frames *f);
void stream_partial(sv_stream *s, frames *f);
void stream_credit(sv_stream *s, const envelope *e);
/* WELCOME came: sends what waited. */
void stream_send_waiting(sv_process *p);
/* The broker does not know our requests any more: repeats the idempotent, ends the others. */
void stream_broker_lost(sv_process *p, int code);
void stream_finish_due(sv_process *p);
void stream_end(sv_stream *s, int code, frames *f, const sv_error *err);
void stream_free_all(sv_process *p);

/* event.c */
void event_receive(sv_process *p, frames *f);
void event_resubscribe(sv_process *p);
void event_free(sv_process *p);

/* builtin.c: ping, metrics, records */
extern const sv_method builtin_methods[];
extern const size_t builtin_count;
/* builtin_store.c: of actors that keep something */
extern const sv_method store_methods[];
extern const size_t store_method_count;

/* actor.c */
void process_drain(sv_process *p);
void process_check_drained(sv_process *p);
sv_process *process_new(const config *c, const sv_actor *actor, const char *name, sv_error *err);
void process_free(sv_process *p);

#endif
