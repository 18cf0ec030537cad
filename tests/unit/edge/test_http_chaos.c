/*  Many clients that do anything in any order, and a service that answers whenever it likes:
 *  nothing leaks, nothing is touched after its end, every exchange ends once. The seed is printed
 *  when it fails and can be given as the first argument. */
#include "http_harness.h"

enum { CLIENTS = 24, STEPS = 6000 };

static uint64_t seed, dice_state;

static uint32_t dice(uint32_t n)
{
    dice_state = dice_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(dice_state >> 33) % n;
}

static const char *const phrases[] = {
    GET("/sync"),
    GET("/wait"),
    GET("/stream"),
    GET("/refuse"),
    "HEAD /sync HTTP/1.1\r\nHost: a\r\n\r\n",
    "HEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /stream HTTP/1.0\r\n\r\n",
    "GET /wait HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789",
    "POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789",
    "POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n0123456789",
    "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "POST /wait HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "0\r\n\r\n",
    "\r\n",
    "nonsense",
    "GET / HTTP/1.1\r\nHost: a\r\nX: ",
    GET("/flood"),
};

static void talk(client *c)
{
    const char *p = phrases[dice(sizeof phrases / sizeof *phrases)];
    size_t n = strlen(p);
    if (dice(4) == 0) n = dice((uint32_t)n) + 1;
    if (send(c->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) c->eof = true;
}

static void end_client(client **at)
{
    struct linger at_once = {1, 0};
    if (dice(2)) setsockopt((*at)->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    leave(*at);
    *at = NULL;
}

static void client_step(harness *h, client **at)
{
    client *c = *at;
    if (c == NULL) {
        *at = connected(h);
        return;
    }
    switch (dice(12)) {
    case 0: end_client(at); break;
    case 1: shutdown(c->fd, SHUT_WR); break;
    case 2:
    case 3:
    case 4:
        if (hear(c))
            end_client(at);
        else
            c->n = 0;
        break;
    default:
        if (!c->eof) talk(c);
    }
}

static void service_step(harness *h)
{
    static const char block[3000];
    if (h->n_open == 0) return;
    http_exchange *x = h->open[dice((uint32_t)h->n_open)];
    if (x->ended) return;
    switch (dice(5)) {
    case 0: http_abort(x); break;
    case 1:
        if (x->started)
            http_end(x);
        else
            answer(x, 200, (sv_str){block, dice(sizeof block)});
        break;
    default:
        if (!x->started) {
            answer(x, 404, text("late"));
        } else if (http_pending(x) < h->limits.output_bytes) {
            http_write(x, (sv_str){block, dice(sizeof block)});
        }
    }
}

static void note_empty(void *arg)
{
    ((harness *)arg)->empty = true;
}

static void nothing_survives(void **state)
{
    (void)state;
    harness h = {.limits = default_limits};
    client *clients[CLIENTS] = {NULL};
    h.limits.head_ms = h.limits.body_grace_ms = h.limits.idle_ms = 40;
    h.limits.stall_ms = h.limits.linger_ms = 40;
    h.limits.body_rate = 1000000;
    h.limits.connections = CLIENTS - 6;
    h_open(&h);
    printf("seed %llu\n", (unsigned long long)seed);
    for (int i = 0; i < STEPS; i++) {
        client_step(&h, &clients[dice(CLIENTS)]);
        if (dice(3) == 0) service_step(&h);
        if (dice(2) == 0) loop_turn(h.l, 0);
        h.flooded = 0;
    }
    assert_true(h.done > 50 && h.gone > 50 && h.aborted > 5 && h.refused > 50);
    if (dice(2)) http_server_drain(h.s, note_empty, &h);
    for (int i = 0; i < CLIENTS; i++)
        if (clients[i]) end_client(&clients[i]);
    UNTIL(&h, http_server_look(h.s).connections == 0);
    assert_int_equal(h.n_open, 0);
    assert_int_equal(http_server_look(h.s).exchanges, 0);
    assert_int_equal(h.s->n_touched + h.s->n_ready + h.s->n_overloaded, 0);
    h_close(&h);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_survives)};
    for (seed = 1; seed <= 8; seed++) {
        if (argc > 1) seed = strtoull(argv[1], NULL, 10);
        dice_state = seed;
        if (cmocka_run_group_tests(tests, NULL, NULL)) return 1;
        if (argc > 1) break;
    }
    return 0;
}
