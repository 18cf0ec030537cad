/*  sim_log.h - what the simulated provider was asked: a ring of requests, the bodies of the latest,
 *  counts by model and by key, how many were under way at once.
 *  Thread: one.   Ownership: the log's.   Limits: 512 requests, 64 bodies of 256 KiB, 256 names. */
#ifndef KIT_SIM_LOG_H
#define KIT_SIM_LOG_H

#include "sim_request.h"

typedef struct sim_record {
    uint64_t number, start_us, first_us, end_us, closed_us, last_write_us, bytes;
    char model[128], outcome[16], fault[16], path[160], key[8];
    sim_format format;
    int status;
    bool stream;
} sim_record;

void sim_log_reset(void);
void sim_log_free(void);
/* A new request; its number. `head` begins with the request line. */
uint64_t sim_log_start(const sim_request *r, const char *head, const char *fault, uint64_t now);
void sim_log_body(uint64_t number, const char *p, size_t n);
/* NULL when it has left the ring. */
sim_record *sim_log_at(uint64_t number);
void sim_log_end(uint64_t number, const char *outcome, uint64_t now);
uint64_t sim_log_requests(void);
/* The latest request of any kind: `bytes` and `hash` are of the whole body. */
void sim_log_arrived(const char *head, size_t n, const buf *body, uint64_t bytes, uint64_t hash);
json_t *sim_log_last(void);

json_t *sim_record_json(const sim_record *r);
/* Adds requests, under_way, most_under_way, models, keys, recent and closed_by_peer. */
void sim_log_stats(json_t *o);
/* A record with its body, or NULL. */
json_t *sim_log_request(uint64_t number);

#endif
