/*  workload.c - the whole store as a subject of images.c: a few threads do their writer's operations
 *  of the plan, wait for each answer, and acknowledge it with write(2). */
#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAP_BYTES = 256 << 20, WRITERS = 6, OPERATIONS = 36 };

typedef struct worker {
    pthread_t thread;
    client *client;
    int acks;
    uint64_t operations;
    plan_writer plan;
} worker;

static void *run(void *arg)
{
    worker *w = arg;
    while (w->plan.done < w->operations) {
        plan_op op;
        sv_error err;
        char line[48];
        plan_next(&w->plan, &op);
        int rc = client_write(w->client, plan_fn, &op, NULL, &err);
        if (rc != op.expect)
            die("writer %u, operation %llu: %d, not %d: %s %s", op.writer, (unsigned long long)op.i,
                rc, op.expect, err.message, err.detail);
        plan_apply(&w->plan, &op);
        int n = snprintf(line, sizeof line, "%u %llu\n", op.writer, (unsigned long long)op.i);
        if (write(w->acks, line, (size_t)n) != n) die("acknowledgement");
    }
    return NULL;
}

static int work(const char *folder, int acks, int argc, char **argv)
{
    static worker all[WRITERS];
    static client c;
    sv_error err = {0};
    uint64_t seed = option(argc, argv, "--seed", 1);
    uint64_t operations = option(argc, argv, "--operations", OPERATIONS);
    if (operations > PLAN_OPS) die("at most %d operations", PLAN_OPS);
    if (client_open(&c, folder, MAP_BYTES, &err)) die("open: %s %s", err.message, err.detail);
    for (uint32_t i = 0; i < WRITERS; i++) {
        all[i].client = &c;
        all[i].acks = acks;
        all[i].operations = operations;
        plan_start(&all[i].plan, seed, i);
        if (pthread_create(&all[i].thread, NULL, run, &all[i])) die("no thread");
    }
    for (uint32_t i = 0; i < WRITERS; i++)
        pthread_join(all[i].thread, NULL);
    client_close(&c);
    return 0;
}

/* One more operation of writer 0 works, and is there: what was recovered can be used. */
static verdict go_on(client *c, uint64_t seed, uint64_t done, char *why, size_t why_n)
{
    static plan_writer p;
    plan_op op;
    sv_error err;
    for (plan_start(&p, seed, 0); p.done < done;) {
        plan_next(&p, &op);
        plan_apply(&p, &op);
    }
    plan_next(&p, &op);
    int rc = client_write(c, plan_fn, &op, NULL, &err);
    if (rc == op.expect) return FINE;
    snprintf(why, why_n, "the next write answers %d: %s %s", rc, err.message, err.detail);
    return BROKEN;
}

static verdict check(const char *folder, const acked *a, uint64_t seed, char *why, size_t why_n)
{
    static client c;
    static unsigned images;
    sv_error err = {0};
    acked after = *a;
    uint64_t reached[WRITERS];
    memset(&c, 0, sizeof c);
    int rc = client_open(&c, folder, MAP_BYTES, &err);
    if (rc) {
        snprintf(why, why_n, "open answers %d: %s %s", rc, err.message, err.detail);
        return BROKEN;
    }
    verdict v = plan_check(c.store, seed, WRITERS, a, PLAN_OPS, reached, why, why_n);
    if (v == FINE && images++ % 8 == 0) {
        v = go_on(&c, seed, reached[0], why, why_n);
        if (after.upto[0] < reached[0] + 1) after.upto[0] = reached[0] + 1;
        if (v == FINE) v = plan_check(c.store, seed, WRITERS, &after, PLAN_OPS, NULL, why, why_n);
    }
    client_close(&c);
    return v;
}

const subject whole_store = {"store", work, check};
