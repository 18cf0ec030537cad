/*  What an edge does at its start: the ticket key on a descriptor, the shared port, the port file.
 */
#include "error.h"
#include "listen_port.h"
#include "operator.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <netinet/in.h>
#include <unistd.h>
#include <cmocka.h>

static void pass_seed(const void *seed, size_t n)
{
    int fd[2];
    char text[12];
    assert_int_equal(pipe(fd), 0);
    assert_int_equal(write(fd[1], seed, n), (ssize_t)n);
    close(fd[1]);
    snprintf(text, sizeof text, "%d", fd[0]);
    setenv("SAMOVAR_TICKET_FD", text, 1);
}

static void tickets_come_from_the_seed(void **state)
{
    (void)state;
    static const uint8_t seed[TICKET_SEED] = {1, 2, 3};
    operator_identity a, b, other;
    sv_error err = {0};
    pass_seed(seed, sizeof seed);
    assert_int_equal(operator_init(&a, &err), 0);
    assert_null(getenv("SAMOVAR_TICKET_FD"));
    pass_seed(seed, sizeof seed);
    assert_int_equal(operator_init(&b, &err), 0);
    assert_int_equal(operator_init(&other, &err), 0); /* no descriptor */
    assert_string_equal(a.pseudonym, b.pseudonym);
    assert_string_not_equal(a.pseudonym, other.pseudonym);
    assert_int_equal(strlen(other.pseudonym), PSEUDONYM_BYTES);
    assert_null(operator_ticket(&other, 1000).p);

    sv_str bytes = operator_ticket(&a, 1000);
    ticket t;
    uint8_t key[TICKET_KEY];
    ticket_ring *ring = ticket_ring_new();
    ticket_signer_public(&b.signer, key);
    assert_int_equal(ticket_ring_add(ring, key), 0);
    assert_int_equal(ticket_ring_verify(ring, bytes, 1899, &err), 0);
    assert_int_equal(ticket_ring_verify(ring, bytes, 1901, &err), SV_E_TICKET);
    assert_int_equal(ticket_read(bytes, &t, &err), 0);
    assert_true(sv_str_is(t.user, "operator") && sv_str_is(t.org, "default") &&
                sv_str_is(t.tier, "own"));
    assert_true(t.n_roles == 2 && sv_str_is(t.roles[0], "owner") &&
                sv_str_is(t.roles[1], "platform_admin"));
    assert_int_equal(t.expires_s, 1900);
    assert_int_equal(ticket_read(operator_ticket(&a, 1500), &t, &err), 0);
    assert_int_equal(t.expires_s, 1900); /* cached */
    assert_int_equal(ticket_read(operator_ticket(&a, 1601), &t, &err), 0);
    assert_int_equal(t.expires_s, 2501); /* renewed before it expires */
    ticket_ring_free(ring);
    operator_clear(&a);
    operator_clear(&b);
    operator_clear(&other);
}

static void a_bad_descriptor_stops_the_start(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "x", "-1", "0", "9999", "3x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        operator_identity o;
        sv_error err = {0};
        setenv("SAMOVAR_TICKET_FD", bad[i], 1);
        assert_int_equal(operator_init(&o, &err), SV_E_CONFIG);
        assert_string_equal(err.field, "SAMOVAR_TICKET_FD");
        operator_clear(&o);
    }
    operator_identity o;
    sv_error err = {0};
    pass_seed("short", 5);
    assert_int_equal(operator_init(&o, &err), SV_E_CONFIG);
    assert_non_null(strstr(err.message, "5 bytes"));
    operator_clear(&o);
}

/* ---- ports ---- */

typedef struct edges {
    loop *l;
    char run[64];
    http_server *s[4];
    listen_port port[4];
} edges;

static const http_limits limits = {.head_bytes = 4096,
                                   .line_bytes = 1024,
                                   .headers = 8,
                                   .connections = 4,
                                   .connections_per_address = 4,
                                   .head_ms = 1000,
                                   .idle_ms = 1000};

static int open_edge(edges *e, int i, uint16_t port, bool shared, sv_error *err)
{
    http_service none = {.arg = NULL};
    e->s[i] = http_server_new(e->l, &limits, &none, err);
    assert_non_null(e->s[i]);
    return listen_port_open(&e->port[i], e->s[i], e->run, "127.0.0.1", port, shared, err);
}

static void close_edge(edges *e, int i)
{
    http_server_free(e->s[i]);
    listen_port_close(&e->port[i]);
    e->s[i] = NULL;
}

static void begin(edges *e)
{
    sv_error err = {0};
    memset(e, 0, sizeof *e);
    snprintf(e->run, sizeof e->run, "/tmp/samovar-edge-XXXXXX");
    assert_non_null(mkdtemp(e->run));
    e->l = loop_new(&err);
    assert_non_null(e->l);
}

static void end(edges *e)
{
    static const char *const files[] = {"edge.port", "edge.start", "edge.alive"};
    loop_free(e->l);
    for (size_t i = 0; i < 3; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", e->run, files[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(e->run), 0); /* no temporary file is left */
}

static unsigned port_file(const edges *e)
{
    char path[128];
    unsigned port = 0;
    snprintf(path, sizeof path, "%s/edge.port", e->run);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%u", &port), 1);
    fclose(f);
    return port;
}

static void one_edge_writes_its_port_and_keeps_it(void **state)
{
    (void)state;
    edges e;
    sv_error err = {0};
    begin(&e);
    assert_int_equal(open_edge(&e, 0, 0, false, &err), 0);
    uint16_t port = http_server_port(e.s[0]);
    assert_int_equal(port_file(&e), port);
    /* Another platform on the same port is refused, shared or not. */
    edges other;
    begin(&other);
    for (int shared = 0; shared < 2; shared++) {
        err = (sv_error){0};
        assert_int_equal(open_edge(&other, 0, port, shared, &err), SV_E_CONFIG);
        assert_non_null(strstr(err.message, "in use"));
        close_edge(&other, 0);
    }
    end(&other);
    close_edge(&e, 0);
    err = (sv_error){0};
    assert_int_equal(open_edge(&e, 0, 0, false, &err), 0); /* started again: the same port */
    assert_int_equal(http_server_port(e.s[0]), port);
    close_edge(&e, 0);
    end(&e);
}

static void edges_of_one_platform_share_and_others_do_not(void **state)
{
    (void)state;
    edges e, other;
    sv_error err = {0};
    begin(&e);
    begin(&other);
    assert_int_equal(open_edge(&e, 0, 0, true, &err), 0);
    uint16_t port = http_server_port(e.s[0]);
    for (int i = 1; i < 3; i++) {
        assert_int_equal(open_edge(&e, i, 0, true, &err), 0);
        assert_int_equal(http_server_port(e.s[i]), port);
    }
    assert_int_equal(open_edge(&other, 0, port, true, &err), SV_E_CONFIG);
    close_edge(&other, 0);
    close_edge(&e, 0); /* the first one restarts beside its siblings */
    err = (sv_error){0};
    assert_int_equal(open_edge(&e, 0, 0, true, &err), 0);
    assert_int_equal(http_server_port(e.s[0]), port);
    for (int i = 0; i < 3; i++)
        close_edge(&e, i);
    end(&other);
    end(&e);
}

static void a_run_folder_that_is_not_there_is_named(void **state)
{
    (void)state;
    edges e;
    sv_error err = {0};
    begin(&e);
    rmdir(e.run);
    assert_int_equal(open_edge(&e, 0, 0, false, &err), SV_E_IO);
    assert_non_null(strstr(err.message, e.run));
    close_edge(&e, 0);
    loop_free(e.l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tickets_come_from_the_seed),
        cmocka_unit_test(a_bad_descriptor_stops_the_start),
        cmocka_unit_test(one_edge_writes_its_port_and_keeps_it),
        cmocka_unit_test(edges_of_one_platform_share_and_others_do_not),
        cmocka_unit_test(a_run_folder_that_is_not_there_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
