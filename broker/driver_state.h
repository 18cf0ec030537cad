/*  driver_state.h - what driver.c (life), driver_io.c (messages) and driver_files.c (keys and
 *  policy on disk) share. Not for others. */
#ifndef BROKER_DRIVER_STATE_H
#define BROKER_DRIVER_STATE_H

#include "conns.h"
#include "control.h"
#include "driver.h"
#include "endpoint.h"
#include "procs.h"
#include "run_folder.h"
#include "zap.h"

#include <sys/types.h>
#include <time.h>
#include <zmq.h>

enum {
    PORTS = 3, /* one socket for each endpoint_kind */
    POOL_KEEP = 512,
    PASSES = 8,       /* over the sockets before the loop looks at its other sources */
    CLOCK_EVERY = 16, /* messages between two looks at the clock */
    RETRY_US = 250,
    RETRY_EACH_US = 25, /* more for each blocked peer: a try costs about 10 us */
    SECOND_US = 1000000,
    BOUND_MAX = 18
};

/* A message with its frames, pooled. `frames` is first: the core hands it back by that address. */
typedef struct message {
    core_frames frames;
    driver *owner;
    struct message *next;
    uint32_t n;
    zmq_msg_t part[LIMIT_FRAMES];
} message;

/* One ROUTER socket. */
typedef struct port {
    void *socket; /* NULL: this kind is not served */
    loop_fd *watch;
    driver *owner;
    uint8_t index;
    bool ready; /* there may be something to receive: a wake-up came, or a send may have taken it */
} port;

/* An event that waits until the step under way, or the batch under way, is over. */
typedef struct later {
    core_event_kind kind;
    uint32_t number; /* peer or pid */
    core_frames *frames;
} later;

typedef struct later_list {
    later *items;
    uint32_t n, cap;
} later_list;

/* What tells one version of a file from the next; all zero when there is no file. */
typedef struct file_state {
    struct timespec mtime;
    ino_t inode;
    off_t size;
} file_state;

struct driver {
    loop *loop;
    void *zmq;
    zap *zap;
    run_folder *folder;
    control *control;
    core *core;
    ticket_ring *tickets;
    uint64_t now_us;
    port ports[PORTS];
    uint32_t first_port; /* rotates */
    conns conns;
    procs procs;

    message *pool;
    uint32_t n_pool, n_messages;
    later_list unsent; /* CORE_BLOCKED, delivered before any other event */
    later_list ended;  /* CORE_GONE and CORE_EXITED, delivered when the sockets are empty */
    later_list blocked, blocked_spare; /* connections to try again */
    uint64_t retry_us;

    loop_timer tick, second;
    uint64_t tick_us; /* when tick fires; UINT64_MAX: not set */

    char *data, *keys_folder, *policy_file;
    bool policy_required; /* a configured file must exist */
    policy_service defaults;
    policy *next_policy; /* loaded, waits for its event */
    file_state keys_seen, policy_loaded, policy_seen;
    bool keys_settled; /* the folder was last changed well before it was read */
    char public_key[KEYFILE_Z85 + 1];
    char bound[BOUND_MAX][ENDPOINT_BYTES];
    uint32_t n_bound;
    bool stopping;
};

/* ---- driver_io.c ---- */

bool driver_turn(void *arg); /* the loop's hook */
void driver_socket_ready(void *arg, int fd, uint32_t events);
void driver_step(driver *d, const core_event *e);
/* The driver's side of a connection ends; the core is not told. */
void driver_forget(driver *d, conn *c);
/* The core is told when the batch is over. */
void driver_gone(driver *d, conn *c);
/* The pid means nothing any more, at once; its connections end when the batch is over. */
void driver_exited(void *arg, uint32_t pid);
/* Sends GOODBYE with this error straight to the connection, past the core. */
void driver_goodbye(driver *d, const port *p, sv_str routing_id, int code, const char *words);
void driver_rid(const conn *c, uint8_t rid[5]);
void driver_pool_free(driver *d);

/* ---- driver_files.c ---- */

int driver_key_own(driver *d, char secret[KEYFILE_Z85 + 1], sv_error *err);
int driver_keys_load(driver *d, sv_error *err);
int driver_policy_load(driver *d, policy **ret, sv_error *err);
/* core_options.reload */
int driver_policy_reload(void *arg, sv_error *err);
/* Once a second: reads again what changed on disk. */
void driver_files_watch(driver *d);

#endif
