/*  flights.h - requests for the same answer share one call of the router.
 *
 *  The first rider of a flight leads: the call is made in his name (ticket, trace, time left). Who asks
 *  for the same while it is under way rides along: he gets what has passed, then follows live. Each rider
 *  has his own place in the shared copy and his own window, so that a slow one holds nobody up: the
 *  fastest sets the pace of the provider. The copy is whole as long as it may be kept (`most` bytes);
 *  beyond, it begins with what the slowest has not got, and who is FLIGHT_LAG or more behind is cut off
 *  with SV_E_OVERLOADED. A flight whose copy is not whole takes no more riders.
 *
 *  When a rider leaves the call goes on while another is there, and is cancelled with the last. When it
 *  ends before anything came:
 *    - with a refusal of the leader (no budget, not allowed, out of time): he gets it, and the next leads;
 *    - because the router is lost: another rider leads, once;
 *    - with any other failure: the leader gets it, and whoever asks in the same name; somebody else leads
 *      then, once, because it may be the failure of a provider that only that name has. All get the next.
 *  When something has come all get the failure behind it.
 *
 *  Nothing here knows the bus: flight_ops does what is to be done.
 *  Thread: the loop's.
 *  Ownership: riders belong to their flight from flight_join() until `reply`, `refuse` or flight_leave(),
 *  the flight to the table. The table's functions may free both.
 *  Limits: memory of one flight is `most` + FLIGHT_LAG and a window, or a whole plain answer.
 *  Errors: SV_E_NO_MEMORY. */
#ifndef CACHE_FLIGHTS_H
#define CACHE_FLIGHTS_H

#include "cache_key.h"
#include "idmap.h"

#include <sys/queue.h>

enum { FLIGHT_LAG = 1 << 20, FLIGHT_PIECE = 32 << 10, FLIGHT_FIRST = 16 << 10 };

typedef struct flight flight;

typedef struct rider {
    TAILQ_ENTRY(rider) link;
    flight *flight;
    size_t at; /* bytes of the answer that he has got */
    bool head_sent, shared;
    void *data;
} rider;

typedef struct flight_ops {
    /* The call in the name of `lead`; events come by flight_item() and flight_done(), later. */
    int (*start)(flight *f, rider *lead, sv_error *err);
    void (*cancel)(flight *f);
    void (*consumed)(flight *f, uint32_t items, size_t bytes);
    /* A stream's first item. SV_E_QUEUE_FULL: it does not fit the window. */
    int (*head)(rider *r, sv_str bytes);
    bool (*ready)(rider *r); /* takes a piece now; if not, flight_drained() comes */
    int (*write)(rider *r, sv_str bytes);
    /* The last: r is gone after it. `reply`: a stream's end, or a plain answer with its bytes. */
    void (*reply)(rider *r, sv_str bytes);
    void (*refuse)(rider *r, int code, const sv_error *err);
    /* Does he ask in the name in which the call was made, also when its leader has left? */
    bool (*same_name)(const flight *f, const rider *r);
    /* The answer came to its end, and all of it is in f->copy. */
    void (*landed)(flight *f);
} flight_ops;

typedef TAILQ_HEAD(rider_list, rider) rider_list;
typedef TAILQ_HEAD(flight_list, flight) flight_list;

typedef struct flights {
    flight_list all;
    idmap map; /* flights that take riders, by the first half of their key */
    const flight_ops *ops;
    size_t most;
} flights;

struct flight {
    TAILQ_ENTRY(flight) link;
    flights *in;
    char key[CACHE_KEY + 1];
    sv_id id;
    bool listed;  /* takes riders */
    bool running; /* the call is open */
    bool begun;   /* the head is here */
    bool ended, stream, restarted;
    bool keep; /* nobody has cleared it meanwhile */
    rider_list riders;
    rider *lead; /* NULL: he has left */
    buf head;    /* as it came */
    buf copy;    /* bytes of the answer from `base` on */
    size_t base;
    buf end; /* body of a stream's REPLY */
    int code;
    sv_error error;
    uint32_t owed_items;
    size_t owed_bytes;
    void *data; /* of malloc; freed with the flight */
};

void flights_init(flights *all, const flight_ops *ops, size_t most);
/* Every call is cancelled; riders are refused with SV_E_DRAINING. */
void flights_free(flights *all);

/* The flight of this key that takes riders, or NULL. */
flight *flight_find(flights *all, const char *key);
/* A flight without riders; `listed`: others may join, if no flight of this key is listed. */
flight *flight_new(flights *all, const char *key, bool stream, bool listed);
/* With a rider, who leads. On failure both are freed by the caller's refusal: r is not refused. */
int flight_start(flight *f, rider *r, sv_error *err);
/* One that never had a rider. */
void flight_drop(flight *f);
/* An answer that is here already: head, copy and end are filled; r gets it. */
void flight_replay(flight *f, rider *r);
/* For a flight whose `start` looked for an answer elsewhere first, without an item or an end:
 * there is one, for all who ride; or it goes on under another key, together with the flight of that
 * key if there is one (NULL then), and is started again in a rider's name. */
void flight_fill(flight *f, sv_str head, sv_str end, sv_str copy);
flight *flight_rekey(flight *f, const char *key);
void flight_restart(flight *f);
/* Rides along. */
void flight_join(flight *f, rider *r);
/* The rider's caller is gone: r is freed, he is told nothing. */
void flight_leave(rider *r);
void flight_drained(rider *r);

/* From the call. `body`: of a stream's first item the head, later bytes. */
void flight_item(flight *f, sv_str body, sv_str attachment);
void flight_done(flight *f, int code, sv_str body, sv_str attachment, const sv_error *err);

/* Before anything has come: what comes is for those alone who ask in the leader's name. The others are
 * nobody's then: each for flight_start() or flight_join() elsewhere. False: none is left, and the
 * flight is gone. */
bool flight_split(flight *f, rider_list *others);

/* What is under way will not be kept, and takes no more riders. */
void flight_doom(flight *f);

#endif
