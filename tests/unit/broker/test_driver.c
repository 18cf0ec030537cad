/* What peers may do and what is done with those that may not, over real sockets. */
#include "rig.h"

static void request_and_reply(void **state)
{
    rig *r = *state;
    keyfile k;
    got *g = malloc(sizeof *g);
    make_key(r, "echo", true, &k);
    start(r);
    void *worker = curve(r, &k), *caller = local(r);
    welcome(worker, "echo", 8, g);
    welcome(caller, "operator", 0, g);

    sv_id id = call(caller, "echo.say", "edge", "hello", 5); /* a forged sender */
    expect(worker, SV_REQUEST, g);
    assert_true(sv_id_eq(&g->env.id, &id));
    assert_string_equal(g->env.sender, "operator");
    assert_int_equal(g->body_n, 5);
    assert_memory_equal(g->body, "hello", 5);
    reply(worker, g);
    expect(caller, SV_REPLY, g);
    assert_true(sv_id_eq(&g->env.id, &id));
    assert_int_equal(g->env.code, 0);
    assert_string_equal(g->env.sender, "echo");
    assert_memory_equal(g->body, "hello", 5);

    call(caller, "nobody.there", NULL, "", 0);
    expect(caller, SV_REPLY, g);
    expect_error(g, "service.unknown");

    stop(r);
    expect(worker, SV_GOODBYE, g); /* a broker that stops says so */
    expect_error(g, "service.draining");
    expect(caller, SV_GOODBYE, g);
    assert_int_equal(r->stats.requests, 1);
    assert_int_equal(r->stats.refused, 1);
    assert_int_equal(r->messages, 0); /* every message went back to the pool */
    close_socket(worker);
    close_socket(caller);
    free(g);
}

static void many_at_once(void **state)
{
    rig *r = *state;
    keyfile k;
    got *g = malloc(sizeof *g);
    make_key(r, "echo", true, &k);
    start(r);
    void *worker = curve(r, &k), *caller = local(r);
    welcome(worker, "echo", 4096, g);
    welcome(caller, "operator", 0, g);
    int sent = 0, done = 0;
    while (done < 5000) {
        while (sent < 5000 && sent - done < 200) {
            call(caller, "echo.say", NULL, &sent, sizeof sent);
            sent++;
        }
        zmq_pollitem_t items[] = {{worker, 0, ZMQ_POLLIN, 0}, {caller, 0, ZMQ_POLLIN, 0}};
        assert_true(zmq_poll(items, 2, PATIENCE_MS) > 0);
        if (items[0].revents && receive(worker, 0, g)) { /* not if it was a PING */
            assert_int_equal(g->env.kind, SV_REQUEST);
            reply(worker, g);
        }
        if (items[1].revents && receive(caller, 0, g)) {
            assert_int_equal(g->env.kind, SV_REPLY);
            assert_int_equal(g->env.code, 0);
            assert_memory_equal(g->body, &done, sizeof done);
            done++;
        }
    }
    close_socket(worker);
    close_socket(caller);
    free(g);
}

/* The first instance dies with the request: the second gets the same frames, patched again. */
static void a_request_handed_over_twice(void **state)
{
    rig *r = *state;
    keyfile k, k2;
    got *g = malloc(sizeof *g);
    make_key(r, "echo", true, &k);
    make_key(r, "echo2", false, &k2);
    strcpy(k2.name, "echo"); /* one name, two keys */
    char path[256], body[3000];
    snprintf(path, sizeof path, "%s/echo2.pub", r->keys);
    assert_int_equal(keyfile_write(&k2, path, false, NULL), 0);
    memset(body, 'b', sizeof body);
    start(r);
    void *w[2] = {curve(r, &k), curve(r, &k2)}, *caller = local(r);
    welcome(w[0], "echo", 8, g);
    welcome(w[1], "echo", 8, g);
    welcome(caller, "operator", 0, g);
    sv_id id = call(caller, "echo.ask", NULL, body, sizeof body);
    zmq_pollitem_t items[] = {{w[0], 0, ZMQ_POLLIN, 0}, {w[1], 0, ZMQ_POLLIN, 0}};
    bool seen = false;
    int first = 0;
    while (!seen) {
        assert_true(zmq_poll(items, 2, PATIENCE_MS) > 0);
        first = items[0].revents ? 0 : 1;
        seen = receive(w[first], 0, g); /* false: it was a PING */
    }
    assert_int_equal(g->env.kind, SV_REQUEST);
    assert_int_equal(g->env.attempt, 1);
    close_socket(w[first]);
    expect(w[1 - first], SV_REQUEST, g);
    assert_true(sv_id_eq(&g->env.id, &id));
    assert_int_equal(g->env.attempt, 2);
    assert_string_equal(g->env.sender, "operator");
    assert_true(sv_str_is(g->env.target, "echo.ask"));
    assert_int_equal(g->body_n, sizeof body);
    assert_memory_equal(g->body, body, sizeof body);
    reply(w[1 - first], g);
    expect(caller, SV_REPLY, g);
    assert_int_equal(g->env.code, 0);
    stop(r);
    assert_int_equal(r->stats.redelivered, 1);
    assert_int_equal(r->messages, 0);
    close_socket(w[1 - first]);
    close_socket(caller);
    free(g);
}

static void a_stranger_before_hello(void **state)
{
    rig *r = *state;
    got *g = malloc(sizeof *g);
    start(r);
    void *s = local(r);
    call(s, "echo.say", NULL, "", 0);
    expect(s, SV_GOODBYE, g);
    expect_error(g, "bus.hello_required");
    welcome(s, "operator", 0, g);
    close_socket(s);
    free(g);
}

static void an_unknown_key(void **state)
{
    rig *r = *state;
    keyfile k;
    got *g = malloc(sizeof *g);
    make_key(r, "echo", false, &k);
    start(r);
    void *s = opened(zmq_socket(r->zmq, ZMQ_DEALER));
    void *m = opened(zmq_socket(r->zmq, ZMQ_PAIR));
    int zero = 0;
    zmq_setsockopt(s, ZMQ_LINGER, &zero, sizeof zero);
    zmq_setsockopt(s, ZMQ_CURVE_PUBLICKEY, k.public_key, 41);
    zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, k.secret, 41);
    zmq_setsockopt(s, ZMQ_CURVE_SERVERKEY, driver_public_key(r->driver), 41);
    assert_int_equal(zmq_socket_monitor(s, "inproc://m", ZMQ_EVENT_HANDSHAKE_FAILED_AUTH), 0);
    assert_int_equal(zmq_connect(m, "inproc://m"), 0);
    assert_int_equal(zmq_connect(s, driver_endpoint(r->driver, 1)), 0);
    hello(s, "echo", 0, 8);
    zmq_pollitem_t items[] = {{m, 0, ZMQ_POLLIN, 0}, {s, 0, ZMQ_POLLIN, 0}};
    assert_true(zmq_poll(items, 2, PATIENCE_MS) > 0);
    assert_false(items[1].revents & ZMQ_POLLIN);
    uint8_t event[6];
    uint32_t status;
    assert_int_equal(zmq_recv(m, event, sizeof event, 0), 6);
    memcpy(&status, event + 2, 4);
    assert_int_equal(status, 400);
    stop(r);
    assert_int_equal(r->stats.received, 0);
    zmq_socket_monitor(s, NULL, 0);
    close_socket(m);
    close_socket(s);
    free(g);
}

static void a_null_client_on_the_curve_door(void **state)
{
    rig *r = *state;
    start(r);
    void *s = dealer(r->zmq, driver_endpoint(r->driver, 1), NULL, NULL), *ok = local(r);
    got *g = malloc(sizeof *g);
    hello(s, "operator", 0, 0);
    welcome(ok, "operator", 0, g);
    assert_false(receive(s, 50, g));
    close_socket(s);
    close_socket(ok);
    free(g);
}

static void names_that_are_not_ones_own(void **state)
{
    rig *r = *state;
    keyfile k;
    got *g = malloc(sizeof *g);
    make_key(r, "echo", true, &k);
    start(r);
    void *key = curve(r, &k), *process = local(r);
    hello(key, "router", 0, 8);
    expect(key, SV_GOODBYE, g);
    expect_error(g, "bus.identity");
    hello(key, "bus", 0, 8);
    expect(key, SV_GOODBYE, g);
    expect_error(g, "bus.identity");
    hello(process, "edge", 0, 8); /* a process the supervisor did not announce */
    expect(process, SV_GOODBYE, g);
    expect_error(g, "bus.identity");
    welcome(key, "echo", 8, g); /* the connection itself is fine */
    stop(r);
    assert_int_equal(r->stats.dropped_identity, 3);
    close_socket(key);
    close_socket(process);
    free(g);
}

static void a_routing_id_of_ones_own(void **state)
{
    rig *r = *state;
    got *g = malloc(sizeof *g);
    start(r);
    static const char *const ids[] = {"me", "fives", "a-much-longer-routing-id"};
    for (size_t i = 0; i < 3; i++) {
        void *s = opened(zmq_socket(r->zmq, ZMQ_DEALER));
        int zero = 0;
        zmq_setsockopt(s, ZMQ_LINGER, &zero, sizeof zero);
        assert_int_equal(zmq_setsockopt(s, ZMQ_ROUTING_ID, ids[i], strlen(ids[i])), 0);
        assert_int_equal(zmq_connect(s, driver_endpoint(r->driver, 0)), 0);
        hello(s, "operator", 0, 0);
        expect(s, SV_GOODBYE, g);
        expect_error(g, "bus.identity");
        close_socket(s);
    }
    stop(r);
    assert_int_equal(r->stats.received, 0);
    assert_int_equal(r->stats.dropped_unknown, 3);
    free(g);
}

static void garbage_is_dropped(void **state)
{
    rig *r = *state;
    got *g = malloc(sizeof *g);
    start(r);
    void *s = local(r);
    welcome(s, "operator", 0, g);
    char *big = calloc(1, LIMIT_MESSAGE_BYTES);
    envelope e = {
        .kind = SV_REQUEST, .id = uuid_new(), .ttl_ms = 1000, .target = sv_cstr("echo.say")};
    /* more bytes in all than a message may have, no frame too large by itself */
    char header[LIMIT_HEADER_BYTES];
    size_t n = envelope_size(&e);
    envelope_write(&e, header);
    zmq_send(s, header, n, ZMQ_SNDMORE);
    zmq_send(s, big, 40000, ZMQ_SNDMORE);
    zmq_send(s, big, 40000, 0);
    /* a thousand frames */
    zmq_send(s, header, n, ZMQ_SNDMORE);
    for (int i = 0; i < 1000; i++)
        zmq_send(s, "x", 1, i < 999 ? ZMQ_SNDMORE : 0);
    /* one frame too many */
    zmq_send(s, header, n, ZMQ_SNDMORE);
    for (int i = 1; i <= LIMIT_FRAMES; i++)
        zmq_send(s, "x", 1, i < LIMIT_FRAMES ? ZMQ_SNDMORE : 0);
    /* headers that are none: empty, text, cut, longer than it says, wrong version */
    zmq_send(s, "", 0, 0);
    zmq_send(s, "GET / HTTP/1.1\r\n\r\n", 18, 0);
    for (size_t cut = 1; cut < n; cut += 7)
        zmq_send(s, header, cut, 0);
    zmq_send(s, big, LIMIT_MESSAGE_BYTES, 0);
    header[4] = 9;
    zmq_send(s, header, n, 0);
    uint64_t bad = 3 + 2 + (n - 1 + 6) / 7 + 2;
    /* and the conversation goes on */
    sv_id id = uuid_new();
    send_raw(s, &(envelope){.kind = SV_PING, .id = id, .ttl_ms = 1000}, NULL, 0);
    expect(s, SV_PONG, g);
    assert_true(sv_id_eq(&g->env.id, &id));
    stop(r);
    assert_int_equal(r->stats.dropped_malformed, bad);
    assert_int_equal(r->messages, 0);
    close_socket(s);
    free(big);
    free(g);
}

static void a_frame_beyond_the_limit(void **state)
{
    rig *r = *state;
    got *g = malloc(sizeof *g);
    start(r);
    void *s = local(r);
    welcome(s, "operator", 0, g);
    char *big = calloc(1, LIMIT_MESSAGE_BYTES + 1);
    zmq_send(s, big, LIMIT_MESSAGE_BYTES + 1,
             0); /* libzmq cuts the connection; it comes back new */
    sv_id id = {{0}};
    for (int i = 0; i < 1000 && id.b[0] == 0; i++) {
        send_raw(s, &(envelope){.kind = SV_PING, .id = uuid_new(), .ttl_ms = 1000}, NULL, 0);
        if (!receive(s, 100, g)) continue;
        assert_int_equal(g->env.kind, SV_GOODBYE);
        expect_error(g, "bus.hello_required");
        id.b[0] = 1;
    }
    assert_int_equal(id.b[0], 1);
    close_socket(s);
    free(big);
    free(g);
}

static void a_second_broker(void **state)
{
    rig *r = *state;
    start(r);
    got *g = malloc(sizeof *g);
    void *s = local(r);
    welcome(s, "operator", 0, g);
    loop *l = loop_new(NULL);
    driver *d = NULL;
    sv_error e = {0};
    char pid[32];
    assert_int_equal(driver_new(l, &r->options, &d, &e), SV_E_CONFLICT);
    assert_null(d);
    snprintf(pid, sizeof pid, "pid %d", getpid());
    assert_non_null(strstr(e.message, pid));
    assert_non_null(strstr(e.message, r->run));
    loop_free(l);
    /* the first one was not disturbed: its files are there and new clients reach it */
    void *t = local(r);
    welcome(t, "operator", 0, g);
    close_socket(s);
    close_socket(t);
    free(g);
}

static void files_of_the_run_folder(void **state)
{
    rig *r = *state;
    static const struct {
        const char *name;
        mode_t mode;
    } files[] = {{"bus.ipc", 0600}, {"curve.ipc", 0600}, {"bus.key", 0644}, {"broker.pid", 0600}};
    char path[256];
    struct stat st;
    assert_int_equal(mkdir(r->run, 0755), 0); /* too open, and with a stale socket's name taken */
    snprintf(path, sizeof path, "%s/bus.ipc", r->run);
    fclose(fopen(path, "w"));
    start(r);
    assert_int_equal(stat(r->run, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", r->run, files[i].name);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, files[i].mode);
    }
    keyfile own, shown;
    snprintf(path, sizeof path, "%s/bus.key", r->run);
    assert_int_equal(keyfile_read(path, &shown, NULL), 0);
    assert_string_equal(shown.public_key, driver_public_key(r->driver));
    assert_string_equal(shown.secret, "");
    snprintf(path, sizeof path, "%s/broker.key", r->keys);
    assert_int_equal(keyfile_read(path, &own, NULL), 0);
    assert_string_equal(own.public_key, shown.public_key);
    stop(r);
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", r->run, files[i].name);
        assert_int_equal(stat(path, &st), -1);
    }
    zmq_ctx_term(r->zmq);
    start(r); /* the key stays the same over a restart */
    assert_string_equal(own.public_key, driver_public_key(r->driver));
}

static void configurations_that_cannot_be(void **state)
{
    rig *r = *state;
    static const char *const far[] = {"tcp://0.0.0.0:7499"}, *const odd[] = {"tcp//x"};
    loop *l = loop_new(NULL);
    driver *d = NULL;
    char text[300];
    sv_error e = {0};
    driver_options o = r->options;
    o.listen_null = far;
    o.n_listen_null = 1;
    assert_int_equal(driver_new(l, &o, &d, &e), SV_E_CONFIG);
    assert_string_equal(e.field, "bus.listen_null");
    o = r->options;
    o.listen = odd;
    o.n_listen = 1;
    e = (sv_error){0};
    assert_int_equal(driver_new(l, &o, &d, &e), SV_E_CONFIG);
    assert_string_equal(e.field, "bus.listen");
    o = r->options;
    snprintf(text, sizeof text, "%s/%0120d", r->folder, 0);
    o.run = text;
    e = (sv_error){0};
    assert_int_equal(driver_new(l, &o, &d, &e), SV_E_CONFIG);
    assert_non_null(strstr(e.message, "SAMOVAR_RUN"));
    o = r->options;
    o.policy_file = "/no/such/policy.yaml";
    e = (sv_error){0};
    assert_int_equal(driver_new(l, &o, &d, &e), SV_E_CONFIG);
    assert_non_null(strstr(e.message, "/no/such/policy.yaml"));
    o = r->options;
    o.control_fd = 0; /* not a socket of that kind */
    e = (sv_error){0};
    assert_int_equal(driver_new(l, &o, &d, &e), SV_E_CONFIG);
    o = r->options;
    snprintf(text, sizeof text, "%s/keys/broker.key", r->folder);
    assert_int_equal(chmod(text, 0644), 0); /* made by the attempt above */
    e = (sv_error){0};
    assert_int_equal(driver_new(l, &o, &d, &e), SV_E_CONFIG);
    assert_non_null(strstr(e.message, "chmod 600"));
    assert_null(d);
    loop_free(l);
}

static void a_measurement_endpoint(void **state)
{
    rig *r = *state;
    static const char *const loopback[] = {"tcp://127.0.0.1:*"};
    got *g = malloc(sizeof *g);
    r->options.listen_null = loopback;
    r->options.n_listen_null = 1;
    start(r);
    void *worker = dealer(r->zmq, driver_endpoint(r->driver, 2), NULL, NULL), *caller = local(r);
    welcome(worker, "echo", 8, g);
    welcome(caller, "operator", 0, g);
    call(caller, "echo.say", NULL, "x", 1);
    expect(worker, SV_REQUEST, g);
    reply(worker, g);
    expect(caller, SV_REPLY, g);
    assert_int_equal(g->env.code, 0);
    close_socket(worker);
    close_socket(caller);
    free(g);
}

static void a_tcp_endpoint_with_keys(void **state)
{
    rig *r = *state;
    static const char *const anywhere[] = {"tcp://127.0.0.1:*"};
    keyfile k;
    got *g = malloc(sizeof *g);
    make_key(r, "far", true, &k);
    r->options.listen = anywhere;
    r->options.n_listen = 1;
    start(r);
    void *s = dealer(r->zmq, driver_endpoint(r->driver, 2), &k, driver_public_key(r->driver));
    welcome(s, "far", 1, g);
    close_socket(s);
    free(g);
}

/* ---- a slow reader ---- */

static void a_reader_that_pauses(void **state)
{
    rig *r = *state;
    enum { N = 2500, BYTES_EACH = 9000 };
    keyfile k;
    got *g = malloc(sizeof *g);
    make_key(r, "echo", true, &k);
    start(r);
    void *worker = curve(r, &k), *caller = local(r), *other = local(r);
    int few = 1;
    zmq_setsockopt(caller, ZMQ_RCVHWM, &few, sizeof few); /* for its next connection */
    zmq_disconnect(caller, driver_endpoint(r->driver, 0));
    zmq_connect(caller, driver_endpoint(r->driver, 0));
    welcome(worker, "echo", 4096, g);
    welcome(caller, "operator", 0, g);
    welcome(other, "operator", 0, g);
    char *body = calloc(1, BYTES_EACH);
    for (int i = 0; i < N; i++) {
        memcpy(body, &i, sizeof i);
        call(caller, "echo.say", NULL, body, BYTES_EACH);
        expect(worker, SV_REQUEST, g);
        reply(worker, g);
    }
    /* 22 MB wait for a peer that reads nothing; another one is served as if nothing were */
    call(other, "echo.say", NULL, "x", 1);
    expect(worker, SV_REQUEST, g);
    reply(worker, g);
    expect(other, SV_REPLY, g);
    for (int i = 0; i < N; i++) {
        expect(caller, SV_REPLY, g);
        assert_int_equal(g->body_n, BYTES_EACH);
        assert_memory_equal(g->body, &i, sizeof i);
    }
    stop(r);
    assert_int_equal(r->stats.lost_peers, 0);
    assert_int_equal(r->messages, 0);
    free(body);
    close_socket(worker);
    close_socket(caller);
    close_socket(other);
    free(g);
}

static void many_strangers(void **state)
{
    rig *r = *state;
    enum { N = 300 };
    got *g = malloc(sizeof *g);
    void *s[N];
    start(r);
    for (int i = 0; i < N; i++) {
        s[i] = local(r);
        send_raw(s[i], &(envelope){.kind = SV_PING, .id = uuid_new(), .ttl_ms = 1000}, NULL, 0);
    }
    for (int i = 0; i < N; i++) {
        expect(s[i], SV_GOODBYE, g);
        expect_error(g, "bus.hello_required");
        close_socket(s[i]);
    }
    free(g);
}

int main(void)
{
    log_init("test", 0, LOG_ERROR + 1, 2);
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(request_and_reply),
        T(many_at_once),
        T(a_request_handed_over_twice),
        T(a_stranger_before_hello),
        T(an_unknown_key),
        T(a_null_client_on_the_curve_door),
        T(names_that_are_not_ones_own),
        T(a_routing_id_of_ones_own),
        T(garbage_is_dropped),
        T(a_frame_beyond_the_limit),
        T(a_second_broker),
        T(files_of_the_run_folder),
        T(configurations_that_cannot_be),
        T(a_measurement_endpoint),
        T(a_tcp_endpoint_with_keys),
        T(a_reader_that_pauses),
        T(many_strangers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
