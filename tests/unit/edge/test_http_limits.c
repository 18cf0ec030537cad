/*  The server's limits on real sockets: absolute deadlines, slow readers, connections, descriptors.
 */
#include "http_harness.h"

static void is_soon(uint64_t since_us, uint32_t least_ms)
{
    uint64_t us = clock_us() - since_us;
    assert_true(us + 1000 >= (uint64_t)least_ms * 1000);
    assert_true(us < 5000000);
}

/* Turns until the client has its 408, while a drop arrives every other millisecond. */
static void drip_until_408(harness *h, client *c, const char *drop)
{
    uint64_t since_us = clock_us(), drops = 0;
    while (!heard(c, "HTTP/1.1 408 ")) {
        wait_or_fail(h, since_us, "408");
        if ((clock_us() - since_us) / 2000 <= drops) continue;
        say(h, c, drop);
        drops++;
    }
    assert_true(drops > 10);
}

static void a_dripping_head_is_closed(void **state)
{
    (void)state;
    harness h = {.limits = default_limits};
    h.limits.head_ms = 150;
    h_open(&h);
    client *c = connected(&h);
    uint64_t since_us = clock_us();
    say(&h, c, "GET / HTTP/1.1\r\nX: ");
    drip_until_408(&h, c, "x");
    is_soon(since_us, 150);
    UNTIL(&h, hear(c));
    assert_int_equal(h.last_refusal, SV_E_HTTP_TIMEOUT);
    leave(c);

    /* The same for a later request of the connection: from its first byte. */
    c = connected(&h);
    say(&h, c, GET("/sync"));
    UNTIL(&h, heard(c, "sync"));
    since_us = clock_us();
    say(&h, c, "GET");
    UNTIL(&h, heard(c, "HTTP/1.1 408 "));
    is_soon(since_us, 150);
    leave(c);
    h_close(&h);
}

static void a_silent_connection_is_closed_without_words(void **state)
{
    (void)state;
    harness h = {.limits = default_limits};
    h.limits.head_ms = 120;
    h.limits.idle_ms = 120;
    h_open(&h);
    client *fresh = connected(&h), *kept = connected(&h);
    say(&h, kept, GET("/sync"));
    UNTIL(&h, heard(kept, "sync"));
    uint64_t since_us = clock_us();
    UNTIL(&h, hear(fresh) && hear(kept));
    is_soon(since_us, 0);
    assert_int_equal(fresh->n, 0);
    assert_int_equal(count(kept->got, "HTTP/1.1"), 1);
    leave(fresh);
    leave(kept);
    h_close(&h);
}

static void a_dripping_body_is_closed(void **state)
{
    (void)state;
    static const char *const heads[] = {
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    };
    harness h = {.limits = default_limits};
    h.limits.body_grace_ms = 150;
    h.limits.body_rate = 100000;
    h_open(&h);
    for (int i = 0; i < 2; i++) {
        client *c = connected(&h);
        uint64_t since_us = clock_us();
        say(&h, c, heads[i]);
        drip_until_408(&h, c, i ? "1\r\nx\r\n" : "x");
        is_soon(since_us, 150);
        leave(c);
    }
    assert_int_equal(h.requests, 0);
    h_close(&h);
}

static void a_body_at_the_rate_is_read(void **state)
{
    (void)state;
    harness h = {.limits = default_limits};
    h.limits.body_grace_ms = 50;
    h.limits.body_rate = 1000;
    h_open(&h);
    client *c = connected(&h);
    char head[128];
    snprintf(head, sizeof head, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n",
             1000);
    say(&h, c, head);
    uint64_t since_us = clock_us();
    for (int i = 0; i < 10; i++) { /* 100 bytes a step are worth 100 ms; a step takes 20 */
        for (int n = 0; n < 10; n++)
            say(&h, c, "0123456789");
        while (clock_us() - since_us < (uint64_t)(i + 1) * 20000)
            loop_turn(h.l, 5);
    }
    UNTIL(&h, heard(c, "HTTP/1.1 200 "));
    leave(c);
    h_close(&h);
}

static void a_stalled_reader_is_bounded_and_dropped(void **state)
{
    (void)state;
    harness h = {.limits = default_limits};
    h.limits.stall_ms = 200;
    h_open(&h);
    client *stalled = connected(&h), *other = connected(&h);
    int little = 4096;
    setsockopt(stalled->fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof little);
    say(&h, stalled, GET("/flood"));
    UNTIL(&h, h.requests == 1);
    int served = 0;
    while (h.gone == 0) { /* the others go on meanwhile */
        other->n = 0;
        say(&h, other, GET("/sync"));
        UNTIL(&h, heard(other, "sync"));
        served++;
    }
    assert_true(served > 10);
    assert_true(h.most_pending <= h.limits.output_bytes + 8192);
    assert_true(h.flooded < FLOOD_BYTES);
    UNTIL(&h, hear(stalled) || stalled->n == sizeof stalled->got - 1);
    leave(stalled);
    leave(other);
    h_close(&h);
}

static void a_slow_reader_gets_everything(void **state)
{
    (void)state;
    harness h = {.limits = default_limits};
    h_open(&h);
    client *c = connected(&h);
    say(&h, c, GET("/flood"));
    size_t total = 0;
    uint64_t since_us = clock_us();
    while (h.done == 0) {
        wait_or_fail(&h, since_us, "the flood's end");
        hear(c);
        total += c->n;
        c->n = 0;
    }
    assert_int_equal(h.flooded, FLOOD_BYTES);
    assert_true(h.most_pending <= h.limits.output_bytes + 8192);
    UNTIL(&h, (hear(c), total += c->n, c->n = 0, total > FLOOD_BYTES));
    leave(c);
    h_close(&h);
}

static void writers_that_ignore_the_mark_lose_the_connection(void **state)
{
    (void)state;
    static const char block[65536];
    harness h = {.limits = default_limits};
    h_open(&h);
    client *c = connected(&h);
    int little = 4096;
    setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof little);
    say(&h, c, GET("/stream"));
    UNTIL(&h, h.n_open == 1);
    uint64_t since_us = clock_us();
    while (h.gone == 0) {
        if (h.n_open) {
            http_write(h.open[0], (sv_str){block, sizeof block});
            assert_true(http_pending(h.open[0]) < (4 << 20));
        }
        wait_or_fail(&h, since_us, "the end");
    }
    leave(c);
    h_close(&h);
}

static void writing_on_does_not_excuse_a_stalled_reader(void **state)
{
    (void)state;
    static const char block[16384];
    harness h = {.limits = default_limits};
    h.limits.stall_ms = 200;
    h_open(&h);
    client *c = connected(&h);
    int little = 4096;
    setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof little);
    say(&h, c, GET("/stream"));
    UNTIL(&h, h.n_open == 1);
    for (int idle = 0; idle < 5; idle++) { /* until the system's buffers are full */
        if (http_pending(h.open[0]) == 0) idle = 0;
        if (http_pending(h.open[0]) < sizeof block)
            http_write(h.open[0], (sv_str){block, sizeof block});
        loop_turn(h.l, 1);
    }
    uint64_t since_us = clock_us(), writes = 0;
    while (h.gone == 0) {
        wait_or_fail(&h, since_us, "the end");
        if (h.n_open == 0 || (clock_us() - since_us) / 5000 <= writes) continue;
        http_write(h.open[0], text("."));
        writes++;
    }
    assert_true(writes > 5 && clock_us() - since_us < 2000000);
    leave(c);
    h_close(&h);
}

static void connections_beyond_the_limit_are_told(void **state)
{
    (void)state;
    for (int per_address = 0; per_address < 2; per_address++) {
        harness h = {.limits = default_limits};
        if (per_address)
            h.limits.connections_per_address = 2;
        else
            h.limits.connections = 2;
        h_open(&h);
        client *a = connected(&h), *b = connected(&h);
        UNTIL(&h, http_server_look(h.s).connections == 2);
        client *third = connected(&h), *doctor = connected(&h);
        say(&h, third, GET("/sync"));
        say(&h, doctor, GET("/health"));
        UNTIL(&h, hear(third) && hear(doctor));
        assert_true(heard(third, "HTTP/1.1 503 "));
        assert_true(heard(third, "connection: close"));
        assert_true(heard(doctor, "HTTP/1.1 200 "));
        assert_int_equal(http_server_look(h.s).overloaded, 2);
        leave(third);
        leave(doctor);
        leave(a);
        UNTIL(&h, http_server_look(h.s).connections == 1);
        client *again = connected(&h);
        say(&h, again, GET("/sync"));
        UNTIL(&h, heard(again, "HTTP/1.1 200 "));
        leave(again);
        leave(b);
        h_close(&h);
    }
}

static void too_many_beyond_the_limit_are_reset(void **state)
{
    (void)state;
    harness h = {.limits = default_limits};
    h.limits.connections = 1;
    h_open(&h);
    client *all[HTTP_OVERLOADED + 3];
    enum { N = HTTP_OVERLOADED + 3 };
    for (int i = 0; i < N; i++) {
        all[i] = connected(&h);
        loop_turn(h.l, 0);
    }
    UNTIL(&h, http_server_look(h.s).accepted == N);
    UNTIL(&h, hear(all[N - 1]) && hear(all[N - 2]));
    assert_true(all[N - 1]->reset);
    assert_int_equal(http_server_look(h.s).connections, HTTP_OVERLOADED + 1);
    for (int i = 0; i < N; i++)
        leave(all[i]);
    h_close(&h);
}

/* Leaves the process `spare` free descriptors. */
static struct rlimit take_descriptors(int spare)
{
    struct rlimit before, now;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int lowest = dup(0);
    close(lowest);
    now = before;
    now.rlim_cur = (rlim_t)(lowest + spare);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
    return before;
}

static void without_descriptors_health_still_answers(void **state)
{
    (void)state;
    harness h = {.limits = default_limits};
    h_open(&h);
    client *old = connected(&h);
    say(&h, old, GET("/wait"));
    UNTIL(&h, h.n_open == 1);
    int fds[4];
    for (int i = 0; i < 4; i++)
        fds[i] = new_socket();
    struct rlimit before = take_descriptors(0);
    client *c[4];
    for (int i = 0; i < 4; i++) {
        c[i] = malloc(sizeof *c[i]);
        join(&h, c[i], fds[i]);
        say(&h, c[i], i % 2 ? GET("/health") : GET("/sync"));
    }
    UNTIL(&h, hear(c[0]) && hear(c[1]) && hear(c[2]) && hear(c[3]));
    assert_true(heard(c[0], "HTTP/1.1 503 "));
    assert_true(heard(c[1], "HTTP/1.1 200 "));
    assert_true(heard(c[3], "HTTP/1.1 200 "));
    assert_true(http_server_look(h.s).exhausted >= 4);
    answer(h.open[0], 200, text("still served"));
    UNTIL(&h, heard(old, "still served"));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    client *again = connected(&h);
    say(&h, again, GET("/sync"));
    UNTIL(&h, heard(again, "HTTP/1.1 200 "));
    say(&h, again, GET("/echo")); /* an ordinary, kept connection */
    UNTIL(&h, count(again->got, "HTTP/1.1 200 ") == (hear(again), 2));
    assert_true(h.s->reserve_fd >= 0);
    for (int i = 0; i < 4; i++)
        leave(c[i]);
    leave(again);
    leave(old);
    h_close(&h);
}

static void addresses_in_use_are_named(void **state)
{
    (void)state;
    harness h = {0}, other = {0};
    h_open(&h);
    sv_error err = {0};
    http_service service = {
        .arg = &other, .head = h_head, .request = h_request, .refuse = h_refuse};
    other.s = http_server_new(h.l, &default_limits, &service, &err);
    char port[8];
    snprintf(port, sizeof port, "%u", http_server_port(h.s));
    assert_int_equal(http_server_listen(other.s, "127.0.0.1", http_server_port(h.s), false, &err),
                     SV_E_CONFIG);
    assert_non_null(strstr(err.message, port));
    assert_non_null(strstr(err.message, "SAMOVAR_PORT"));
    err = (sv_error){0};
    assert_int_equal(http_server_listen(other.s, "nonsense", 0, false, &err), SV_E_CONFIG);
    http_server_free(other.s);
    h_close(&h);
}

/* A process that cannot serve yet has the port and no connections: they go to the one that shares it. */
static void a_held_port_takes_nobody(void **state)
{
    (void)state;
    harness h = {0};
    sv_error err = {0};
    http_service service = {.arg = &h, .head = h_head, .request = h_request, .refuse = h_refuse};
    loop *l = loop_new(&err);
    assert_non_null(l);
    http_server *s = http_server_new(l, &default_limits, &service, &err);
    assert_int_equal(http_server_begin(s, &err), 0); /* was not held */
    http_server_hold(s);
    assert_int_equal(http_server_listen(s, "127.0.0.1", 0, true, &err), 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(http_server_port(s))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(http_server_port(s) > 0);
    int fd = new_socket();
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), -1);
    assert_int_equal(errno, ECONNREFUSED);
    close(fd);
    assert_int_equal(http_server_begin(s, &err), 0);
    assert_int_equal(http_server_begin(s, &err), 0); /* once is enough */
    fd = new_socket();
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    close(fd);
    http_server_stop_listening(s);
    assert_int_equal(http_server_begin(s, &err), 0); /* it is over */
    http_server_free(s);
    loop_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dripping_head_is_closed),
        cmocka_unit_test(a_silent_connection_is_closed_without_words),
        cmocka_unit_test(a_dripping_body_is_closed),
        cmocka_unit_test(a_body_at_the_rate_is_read),
        cmocka_unit_test(a_stalled_reader_is_bounded_and_dropped),
        cmocka_unit_test(a_slow_reader_gets_everything),
        cmocka_unit_test(writers_that_ignore_the_mark_lose_the_connection),
        cmocka_unit_test(writing_on_does_not_excuse_a_stalled_reader),
        cmocka_unit_test(connections_beyond_the_limit_are_told),
        cmocka_unit_test(too_many_beyond_the_limit_are_reset),
        cmocka_unit_test(without_descriptors_health_still_answers),
        cmocka_unit_test(addresses_in_use_are_named),
        cmocka_unit_test(a_held_port_takes_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
