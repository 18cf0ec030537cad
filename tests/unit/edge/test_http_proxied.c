/*  Connections that trusted proxies make: the PROXY protocol in front of HTTP, and whose connection
 *  counts at which address. */
#include "http_harness.h"

#define SIG        "\r\n\r\n\0\r\nQUIT\n"
#define FROM(last) SIG "\x21\x11\x00\x0c\xc0\x00\x02" last "\x7f\x00\x00\x01\x12\x34\x01\xbb"
#define LOCAL      SIG "\x20\x00\x00\x00"
#define BYTES(s)   s, sizeof s - 1

static struct {
    harness h;
    char remote[46];
    bool overloaded;
} w;

static void w_head(void *arg, http_exchange *x)
{
    (void)arg;
    x->data = &w.h;
    x->on_over = h_over;
    http_address_text(&x->remote, w.remote);
    w.overloaded = x->overloaded;
    if (x->overloaded) answer(x, 503, text("overloaded"));
}

static int open_world(void **state)
{
    static trusted proxies;
    (void)state;
    memset(&w, 0, sizeof w);
    proxies = (trusted){0};
    assert_int_equal(trusted_add(&proxies, sv_cstr("127.0.0.0/8"), NULL), 0);
    w.h.limits = default_limits;
    w.h.limits.connections_per_address = 2;
    w.h.limits.head_ms = 300;
    w.h.service =
        (http_service){.arg = &w.h, .head = w_head, .request = h_request, .refuse = h_refuse};
    h_open(&w.h);
    http_server_proxies(w.h.s, &proxies, true);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    h_close(&w.h);
    return 0;
}

static void turns(int n)
{
    for (int i = 0; i < n; i++)
        assert_int_equal(loop_turn(w.h.l, 1), 0);
}

static client *dial(const char *header, size_t n, const char *request)
{
    client *c = connected(&w.h);
    say_n(&w.h, c, header, n);
    say(&w.h, c, request);
    return c;
}

static void announced_at_every_cut(void **state)
{
    (void)state;
    static const char whole[] = FROM("\x07") GET("/sync");
    for (size_t step = 1; step < sizeof whole; step += step < 30 ? 1 : 9) {
        client *c = connected(&w.h);
        for (size_t at = 0; at < sizeof whole - 1; at += step) {
            size_t left = sizeof whole - 1 - at;
            say_n(&w.h, c, whole + at, left < step ? left : step);
            loop_turn(w.h.l, 0);
        }
        UNTIL(&w.h, heard(c, "sync"));
        assert_string_equal(w.remote, "192.0.2.7");
        say(&w.h, c, GET("/echo")); /* the connection stays whose it is */
        UNTIL(&w.h, count(c->got, "HTTP/1.1 200") == (hear(c), 2));
        assert_string_equal(w.remote, "192.0.2.7");
        leave(c);
        UNTIL(&w.h, http_server_look(w.h.s).connections == 0);
    }
    client *c = dial(BYTES(LOCAL), GET("/sync"));
    UNTIL(&w.h, heard(c, "sync"));
    assert_string_equal(w.remote, "127.0.0.1");
    leave(c);
}

static void without_a_good_header_it_ends(void **state)
{
    (void)state;
    static const struct {
        const char *p;
        size_t n;
    } cases[] = {
        {BYTES("GET / HTTP/1.1\r\nHost: a\r\n\r\n")},
        {BYTES("PROXY TCP4 192.0.2.7 127.0.0.1 4660 443\r\nGET / HTTP/1.1\r\n\r\n")},
        {BYTES(SIG "\x21\x12\x00\x0c\xc0\x00\x02\x07\x7f\x00\x00\x01\x12\x34\x01\xbb")},
        {BYTES(SIG "\x20\x00\xff\xff")},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        client *c = dial(cases[i].p, cases[i].n, "");
        UNTIL(&w.h, hear(c));
        assert_int_equal(c->n, 0);
        leave(c);
        assert_int_equal(http_server_look(w.h.s).unannounced, i + 1);
    }
    client *c = dial(BYTES(SIG), ""); /* half of one, then the end */
    shutdown(c->fd, SHUT_WR);
    UNTIL(&w.h, hear(c));
    leave(c);
    c = dial(BYTES(""), ""); /* nothing, then the end */
    shutdown(c->fd, SHUT_WR);
    UNTIL(&w.h, hear(c));
    leave(c);
    c = dial(BYTES(SIG), ""); /* half of one, in silence: the time of a head */
    uint64_t since_us = clock_us();
    UNTIL(&w.h, hear(c));
    assert_in_range(clock_us() - since_us, 200000, 5000000);
    leave(c);
    assert_int_equal(w.h.refused + w.h.requests, 0);
}

/* Two of one client, and as many of others; the proxy's own address is not counted. */
static void clients_count_not_the_proxy(void **state)
{
    (void)state;
    client *mine[2], *others[2];
    for (int i = 0; i < 2; i++)
        mine[i] = dial(BYTES(FROM("\x07")), GET("/wait"));
    UNTIL(&w.h, w.h.n_open == 2);
    for (int i = 0; i < 2; i++)
        others[i] = dial(BYTES(FROM("\x08")), GET("/wait"));
    UNTIL(&w.h, w.h.n_open == 4);
    client *third = dial(BYTES(FROM("\x07")), GET("/wait"));
    UNTIL(&w.h, hear(third));
    assert_true(heard(third, "HTTP/1.1 503 ") && w.overloaded);
    assert_int_equal(http_server_look(w.h.s).overloaded, 1);
    leave(third);
    leave(mine[0]);
    UNTIL(&w.h, w.h.n_open == 3);
    third = dial(BYTES(FROM("\x07")), GET("/sync"));
    UNTIL(&w.h, heard(third, "sync"));
    leave(third);
    leave(mine[1]);
    leave(others[0]);
    leave(others[1]);
    UNTIL(&w.h, http_server_look(w.h.s).connections == 0);
}

/* Beyond all limits they are told, up to HTTP_OVERLOADED, then reset. */
static void too_many_of_one_client(void **state)
{
    (void)state;
    enum { N = HTTP_OVERLOADED + 8 };
    client *c[N];
    for (int i = 0; i < 2; i++)
        c[i] = dial(BYTES(FROM("\x07")), GET("/wait"));
    UNTIL(&w.h, w.h.n_open == 2);
    for (int i = 2; i < N; i++) {
        c[i] = dial(BYTES(FROM("\x07")), "");
        turns(1);
    }
    int ended = 0;
    UNTIL(&w.h, http_server_look(w.h.s).overloaded == N - 2);
    for (int i = 2; i < N; i++)
        ended += hear(c[i]);
    assert_in_range(ended, 6, N - 2);
    for (int i = 0; i < N; i++)
        leave(c[i]);
    UNTIL(&w.h, http_server_look(w.h.s).connections == 0);
}

/* S-H5: strangers' headers are bytes of HTTP, which they are not. */
static void strangers_are_not_believed(void **state)
{
    (void)state;
    trusted others = {0};
    trusted_add(&others, sv_cstr("192.0.2.0/24"), NULL);
    for (int enabled = 0; enabled < 2; enabled++) {
        http_server_proxies(w.h.s, &others, enabled);
        client *c = dial(BYTES(FROM("\x07")), GET("/sync"));
        UNTIL(&w.h, hear(c));
        assert_true(heard(c, "HTTP/1.1 400 "));
        assert_int_equal(count(c->got, "HTTP/1.1"), 1);
        leave(c);
    }
    trusted us = {0};
    trusted_add(&us, sv_cstr("127.0.0.1"), NULL);
    http_server_proxies(w.h.s, &us, false); /* trusted, but not enabled */
    client *c = dial(BYTES(FROM("\x07")), GET("/sync"));
    UNTIL(&w.h, heard(c, "HTTP/1.1 400 "));
    leave(c);
    assert_int_equal(w.h.requests, 0);
}

/* Absolute targets: this port's scheme, or any from a trusted proxy. */
static void schemes_of_absolute_targets(void **state)
{
    (void)state;
    trusted us = {0}, none = {0};
    trusted_add(&us, sv_cstr("127.0.0.1"), NULL);
    for (int proxied = 0; proxied < 2; proxied++) {
        http_server_proxies(w.h.s, proxied ? &us : &none, false);
        client *c = dial(BYTES(""), "GET http://a/sync HTTP/1.1\r\nHost: a\r\n\r\n");
        UNTIL(&w.h, heard(c, "sync"));
        leave(c);
        c = dial(BYTES(""), "GET https://a/sync HTTP/1.1\r\nHost: a\r\n\r\n");
        UNTIL(&w.h, heard(c, proxied ? "sync" : "scheme is not this port's"));
        leave(c);
    }
}

static void on_empty(void *arg)
{
    *(bool *)arg = true;
}

static void a_drain_waits_for_none_of_them(void **state)
{
    (void)state;
    bool empty = false;
    client *c = dial(BYTES(SIG), "");
    UNTIL(&w.h, http_server_look(w.h.s).connections == 1);
    http_server_drain(w.h.s, on_empty, &empty);
    UNTIL(&w.h, empty); /* by the time of a head at the latest */
    leave(c);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(announced_at_every_cut),         TEST(without_a_good_header_it_ends),
        TEST(clients_count_not_the_proxy),    TEST(too_many_of_one_client),
        TEST(strangers_are_not_believed),     TEST(schemes_of_absolute_targets),
        TEST(a_drain_waits_for_none_of_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
