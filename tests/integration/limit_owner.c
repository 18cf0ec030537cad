/*  limit_owner.c - rate limits through a real broker: two cache processes, three edges that hammer
 *  one user and one address. Never more than the limit while owners live; less than one limit more
 *  after kill -9 of an owner and again when it is back; a stricter local limit while there is none.
 *  This process stands in the supervisor's place and asks as the operator. BIN names the
 *  executables. */
#include "bus_kit.h"
#include "error.h"
#include "limits_bus.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { EDGES = 3, CACHES = 2, KINDS = 2, WAITS = 64, USER_LIMIT = 200, ADDRESS_LIMIT = 10 };

/* What the edges have done, for all to see. */
typedef struct shared {
    atomic_int run, ready;
    atomic_int allowed[KINDS], refused[KINDS];
    atomic_int away[EDGES + 1], ever_away;
} shared;

static shared *seen;
static pid_t cache_pid[CACHES + 1];

/* ---- an edge that only counts ---- */

typedef struct waiting {
    limits_wait wait;
    bool pending;
    int kind;
} waiting;

typedef struct hammer {
    limits_bus *bus;
    waiting waits[WAITS];
    bool counted;
} hammer;

static void judged(waiting *w, const limits_verdict *v)
{
    w->pending = false;
    atomic_fetch_add(v->allowed ? &seen->allowed[w->kind] : &seen->refused[w->kind], 1);
}

static void done(limits_wait *wait, const limits_verdict *v)
{
    judged(member_of(waiting, wait, wait), v);
}

static void try_one(hammer *h, int kind)
{
    waiting *w = h->waits;
    limits_verdict v;
    limits_subject s = {.class = CLASS_CHAT, .address = "192.0.2.1"};
    if (kind == 0) s.user = sv_cstr("u1");
    while (w < h->waits + WAITS && w->pending)
        w++;
    if (w == h->waits + WAITS) return;
    w->kind = kind;
    w->pending = true;
    if (limits_check(limits_bus_limits(h->bus), &s, &w->wait, done, &v)) judged(w, &v);
}

static int hammer_init(sv_process *p, void **state, sv_error *err)
{
    hammer *h = calloc(1, sizeof *h);
    int rc = limits_bus_open(p, &h->bus, err);
    *state = h;
    return rc;
}

static void hammer_tick(sv_process *p, void *state)
{
    hammer *h = state;
    if (!sv_connected(p)) return;
    if (!h->counted) atomic_fetch_add(&seen->ready, 1);
    h->counted = true;
    for (int i = 0; i < 6 && atomic_load(&seen->run) && !sv_draining(p); i++)
        try_one(h, i % 3 == 0);
    bool away = limits_away(limits_bus_limits(h->bus));
    atomic_store(&seen->away[sv_instance(p)], away);
    if (away) atomic_store(&seen->ever_away, 1);
}

static void hammer_drain(sv_process *p, void *state)
{
    (void)p;
    limits_drain(limits_bus_limits(((hammer *)state)->bus));
}

static void hammer_stop(sv_process *p, void *state)
{
    (void)p;
    hammer *h = state;
    for (int i = 0; i < WAITS; i++)
        if (h->waits[i].pending) limits_cancel(limits_bus_limits(h->bus), &h->waits[i].wait);
    limits_bus_close(h->bus, true);
    free(h);
}

static const sv_actor edge = {.name = "edge",
                              .init = hammer_init,
                              .tick = hammer_tick,
                              .tick_ms = 10,
                              .drain = hammer_drain,
                              .stop = hammer_stop};

static void kill_cache(int instance)
{
    kit_kill(cache_pid[instance]);
    cache_pid[instance] = 0;
}

/* ---- asking as the operator ---- */

static int look_at(int instance, const char *name, cache_limit_look_reply *ret)
{
    char target[32];
    cache_limit_look_req q = {.name = sv_cstr(name)};
    kit_call k;
    snprintf(target, sizeof target, "cache/%d.limit_look", instance);
    sv_request r = {
        .target = target, .type = &cache_limit_look_req_msg, .body = &q, .ttl_ms = 1000};
    kit_begin(&k, &r);
    int rc = kit_finish(&k, &cache_limit_look_reply_msg, ret);
    kit_end(&k);
    return rc;
}

/* The instance that has counted the name; 0: none has. */
static int owner_of(const char *name)
{
    for (int i = 1; i <= CACHES; i++) {
        cache_limit_look_reply r;
        if (cache_pid[i] && look_at(i, name, &r) == 0 && r.known) return i;
    }
    return 0;
}

/* ---- waiting ---- */

static bool never(void *arg)
{
    (void)arg;
    return false;
}

/* The broker asks this process too whether it lives. */
static void pump(void)
{
    assert_int_equal(sv_tool_wait(kit_me, never, NULL, 5), SV_E_DEADLINE);
}

#define UNTIL(condition)                                                                           \
    do {                                                                                           \
        uint64_t end_us = clock_us() + 20000000;                                                   \
        while (!(condition)) {                                                                     \
            assert_true(clock_us() < end_us);                                                      \
            pump();                                                                                \
        }                                                                                          \
    } while (0)

/* Every edge has been refused many times since. */
static void until_refused(int times)
{
    int user = atomic_load(&seen->refused[0]), address = atomic_load(&seen->refused[1]);
    UNTIL(atomic_load(&seen->refused[0]) >= user + times &&
          atomic_load(&seen->refused[1]) >= address + times / 4);
}

static bool all_away(int want)
{
    for (int i = 1; i <= EDGES; i++)
        if (atomic_load(&seen->away[i]) != want) return false;
    return true;
}

static int setup(void **state)
{
    (void)state;
    seen = mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(seen != MAP_FAILED);
    kit_open("limits");
    setenv("SAMOVAR_LIMITS_FREE_MINUTE", "200", 1);
    setenv("SAMOVAR_SUPERVISOR_EDGES", "3", 1);
    setenv("SAMOVAR_LOG_LEVEL", "error", 1);
    kit_start_broker();
    for (int i = 1; i <= CACHES; i++)
        cache_pid[i] = kit_start(NULL, "cache", (unsigned)i);
    kit_join();
    cache_limit_look_reply r;
    for (int i = 1; i <= CACHES; i++)
        UNTIL(look_at(i, "x", &r) == 0);
    for (int i = 1; i <= EDGES; i++)
        kit_start(&edge, "edge", (unsigned)i);
    UNTIL(atomic_load(&seen->ready) == EDGES);
    return 0;
}

/* ---- the one story ---- */

static void never_more_than_the_limit(void **state)
{
    (void)state;
    uint64_t began_us = clock_us();
    atomic_store(&seen->run, 1);
    until_refused(1000);
    print_message("with one owner: %d of %d\n", atomic_load(&seen->allowed[0]), USER_LIMIT);
    /* on a busy machine an owner may seem away; then a quarter more, of each edge at least 1 */
    bool away = atomic_load(&seen->ever_away);
    assert_true(atomic_load(&seen->allowed[0]) <= USER_LIMIT + (away ? USER_LIMIT / 4 : 0));
    assert_true(atomic_load(&seen->allowed[1]) <= ADDRESS_LIMIT + (away ? EDGES : 0));
    assert_true(atomic_load(&seen->allowed[0]) > USER_LIMIT / 2); /* late answers are lost */
    assert_true(atomic_load(&seen->allowed[1]) > 0);

    int owner = owner_of("user.chat/u1"), address_owner = owner_of("address.chat/192.0.2.1");
    assert_true(owner && address_owner);
    kill_cache(owner);
    UNTIL(owner_of("user.chat/u1") != 0);
    until_refused(500);
    print_message("after the owner was killed: %d of %d\n", atomic_load(&seen->allowed[0]),
                  USER_LIMIT);
    assert_true(atomic_load(&seen->allowed[0]) <= 2 * USER_LIMIT);
    assert_true(atomic_load(&seen->allowed[1]) <= 2 * ADDRESS_LIMIT);

    cache_pid[owner] = kit_start(NULL, "cache", (unsigned)owner);
    cache_limit_look_reply r;
    UNTIL(look_at(owner, "user.chat/u1", &r) == 0 && r.known);
    until_refused(500);
    print_message("after it came back: %d of %d\n", atomic_load(&seen->allowed[0]), USER_LIMIT);
    assert_true(atomic_load(&seen->allowed[0]) <= 2 * USER_LIMIT);
    assert_true(atomic_load(&seen->allowed[1]) <= 2 * ADDRESS_LIMIT);

    int before = atomic_load(&seen->allowed[0]);
    for (int i = 1; i <= CACHES; i++)
        kill_cache(i);
    UNTIL(all_away(1));
    until_refused(500);
    assert_true(atomic_load(&seen->allowed[0]) - before <= EDGES * 15); /* leases; no more */
    cache_pid[1] = kit_start(NULL, "cache", 1);
    UNTIL(all_away(0));
    UNTIL(owner_of("user.chat/u1") == 1);
    until_refused(500);
    assert_true(clock_us() - began_us < 60000000); /* all of it was one window */
    print_message("after all were away: %d of %d\n", atomic_load(&seen->allowed[0]), USER_LIMIT);
    assert_true(atomic_load(&seen->allowed[0]) <= 2 * USER_LIMIT);
    atomic_store(&seen->run, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(never_more_than_the_limit)};
    return cmocka_run_group_tests(tests, setup, kit_close);
}
