/* The guard: its decisions frame by frame, real sockets before it, and the probe that tries it. */
#include "harness.h"

#include "endpoint.h"
#include "error.h"
#include "log.h"
#include "loop.h"
#include "probe.h"
#include "zap.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

static char folder[64];
static keyfile broker_key, alice, mallory;
static uint8_t alice_raw[32], mallory_raw[32];

static void make(const char *name, keyfile *k, uint8_t raw[32])
{
    char p[41], s[41];
    assert_int_equal(zmq_curve_keypair(p, s), 0);
    assert_int_equal(keyfile_new(name, p, s, k, NULL), 0);
    assert_non_null(zmq_z85_decode(raw, p));
}

static void put_pub(const keyfile *k, const char *file)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    unlink(path);
    assert_int_equal(keyfile_write(k, path, false, NULL), 0);
}

static int setup(void **state)
{
    uint8_t raw[32];
    strcpy(folder, "/tmp/samovar-zap-XXXXXX");
    assert_non_null(mkdtemp(folder));
    make("broker", &broker_key, raw);
    make("alice", &alice, alice_raw);
    make("mallory", &mallory, mallory_raw);
    *state = zmq_ctx_new();
    return 0;
}

static int teardown(void **state)
{
    char rm[128];
    zmq_ctx_term(*state);
    snprintf(rm, sizeof rm, "rm -rf %s", folder);
    return system(rm) ? -1 : 0;
}

#define BYTES(s)                                                                                   \
    (sv_str)                                                                                       \
    {                                                                                              \
        s, sizeof(s) - 1                                                                           \
    }

static zap_request request(const char *domain, const char *address, const char *mechanism)
{
    zap_request q = {.n = 6,
                     .frames = {BYTES("1.0"), BYTES("1"), sv_cstr(domain), sv_cstr(address),
                                BYTES(""), sv_cstr(mechanism)}};
    return q;
}

static bool admits(zap *z, zap_request q, const char *user)
{
    zap_reply r;
    zap_decide(z, &q, &r);
    if (strcmp(r.status, "200") != 0) return assert_string_equal(r.status, "400"), false;
    assert_string_equal(r.user_id, user);
    return true;
}

static void decisions(void **state)
{
    zap *z;
    sv_error e = {0};
    uint32_t n = 0;
    put_pub(&alice, "alice.pub");
    assert_int_equal(zap_start(*state, 1000, &z, &e), 0);
    assert_int_equal(zap_load(z, folder, &n, &e), 0);
    assert_int_equal(n, 1);

    assert_true(admits(z, request(ZAP_DOMAIN, "localhost:1000:5:77", "NULL"), "pid:77"));
    static const char *const wrong[] = {
        "localhost:1001:5:77", "localhost:1000:5",    "localhost:1000:5:77:1",
        "localhost:1000:5:",   "localhost:1000:5:7x", "localhost:01000000000000000000:5:7",
        "localhost:1000:-5:7", "localhost",           "localhost:",
        "127.0.0.1",           "::1:1000:5:77",       "",
        "Localhost:1000:5:77"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(admits(z, request(ZAP_DOMAIN, wrong[i], "NULL"), ""));

    assert_true(admits(z, request(ZAP_DOMAIN_NULL, "127.0.0.1", "NULL"), "none"));
    assert_true(admits(z, request(ZAP_DOMAIN_NULL, "127.8.0.1", "NULL"), "none"));
    assert_true(admits(z, request(ZAP_DOMAIN_NULL, "::1", "NULL"), "none"));
    assert_true(admits(z, request(ZAP_DOMAIN_NULL, "::ffff:127.0.0.1", "NULL"), "none"));
    static const char *const far[] = {"10.0.0.1", "128.0.0.1", "localhost:1000:5:77",
                                      "::2",      "",          "127.0.0.1 "};
    for (size_t i = 0; i < sizeof far / sizeof *far; i++)
        assert_false(admits(z, request(ZAP_DOMAIN_NULL, far[i], "NULL"), ""));
    assert_false(admits(z, request("", "127.0.0.1", "NULL"), ""));
    assert_false(admits(z, request("other", "localhost:1000:5:77", "NULL"), ""));

    zap_request q = request(ZAP_DOMAIN, "10.0.0.1", "CURVE");
    q.n = 7;
    q.frames[6] = (sv_str){(const char *)alice_raw, 32};
    assert_true(admits(z, q, "key:alice"));
    q.frames[2] = BYTES(ZAP_DOMAIN_NULL);
    assert_false(admits(z, q, ""));
    q.frames[2] = BYTES(ZAP_DOMAIN);
    q.frames[6] = (sv_str){(const char *)mallory_raw, 32};
    assert_false(admits(z, q, ""));
    q.frames[6].n = 31;
    assert_false(admits(z, q, ""));
    q.n = 6;
    assert_false(admits(z, q, ""));
    assert_true(zap_admits(z, alice.public_key, "alice"));
    assert_false(zap_admits(z, alice.public_key, "bob"));
    assert_false(zap_admits(z, mallory.public_key, "mallory"));
    zap_stop(z);
}

static void hostile_shapes(void **state)
{
    zap *z;
    assert_int_equal(zap_start(*state, 1000, &z, NULL), 0);
    for (uint32_t n = 0; n < 20; n++) {
        zap_request q = request(ZAP_DOMAIN, "localhost:1000:5:77", "NULL");
        zap_reply r;
        q.n = n;
        zap_decide(z, &q, &r);
        assert_string_equal(r.status, n == 6 ? "200" : "400");
        assert_int_equal(r.malformed, n != 6);
    }
    zap_request q = request(ZAP_DOMAIN, "localhost:1000:5:77", "NULL");
    q.frames[0] = BYTES("2.0");
    assert_false(admits(z, q, ""));
    q = request(ZAP_DOMAIN, "localhost:1000:5:77", "PLAIN");
    assert_false(admits(z, q, ""));
    q = request(ZAP_DOMAIN, "localhost:1000:5:77", "GSSAPI");
    q.n = 7;
    assert_false(admits(z, q, ""));
    q = (zap_request){.n = 7};
    assert_false(admits(z, q, ""));

    /* Over the wire: any number of frames gets a 400 and the handler goes on. */
    void *s = zmq_socket(*state, ZMQ_DEALER);
    assert_int_equal(zmq_connect(s, "inproc://zeromq.zap.01"), 0);
    int wait_ms = 5000;
    zmq_setsockopt(s, ZMQ_RCVTIMEO, &wait_ms, sizeof wait_ms);
    for (int n = 1; n < 40; n++) {
        for (int i = 0; i < n; i++)
            assert_true(zmq_send(s, i ? "x" : "", i ? 1 : 0, i + 1 < n ? ZMQ_SNDMORE : 0) >= 0);
        char part[64];
        int more = 1;
        size_t len = sizeof more;
        for (int i = 0; more; i++) {
            int got = zmq_recv(s, part, sizeof part, 0);
            assert_true(got >= 0);
            if (i == 3) assert_memory_equal(part, "400", 3);
            zmq_getsockopt(s, ZMQ_RCVMORE, &more, &len);
        }
    }
    zmq_close(s);
    assert_true(zap_get_stats(z).malformed >= 39);
    zap_stop(z);
}

static void key_folder(void **state)
{
    zap *z;
    sv_error e = {0};
    uint32_t n = 99;
    char path[128];
    assert_int_equal(zap_start(*state, 1000, &z, &e), 0);
    assert_int_equal(zap_load(z, "/no/such/folder", &n, &e), 0);
    assert_int_equal(n, 0);

    put_pub(&alice, "alice.pub");
    put_pub(&alice, "alice-again.pub"); /* the same twice is no contradiction */
    put_pub(&mallory, "mallory.pub");
    snprintf(path, sizeof path, "%s/alice.key", folder);
    assert_int_equal(keyfile_write(&alice, path, true, &e), 0);
    snprintf(path, sizeof path, "%s/with-secret.pub", folder);
    assert_int_equal(keyfile_write(&broker_key, path, true, &e), 0);
    snprintf(path, sizeof path, "%s/garbage.pub", folder);
    FILE *f = fopen(path, "w");
    fputs("garbage", f);
    fclose(f);
    snprintf(path, sizeof path, "%s/folder.pub", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(zap_load(z, folder, &n, &e), 0);
    assert_int_equal(n, 2);
    assert_true(zap_admits(z, alice.public_key, "alice"));
    assert_false(zap_admits(z, broker_key.public_key, "broker"));

    keyfile liar; /* mallory's key under another name as well: nobody can say which is meant */
    assert_int_equal(keyfile_new("bob", mallory.public_key, NULL, &liar, NULL), 0);
    put_pub(&liar, "bob.pub");
    assert_int_equal(keyfile_new("bus", broker_key.public_key, NULL, &liar, NULL), 0);
    put_pub(&liar, "bus.pub");
    assert_int_equal(zap_load(z, folder, &n, &e), 0);
    assert_int_equal(n, 1);
    assert_false(zap_admits(z, mallory.public_key, "mallory"));
    assert_false(zap_admits(z, broker_key.public_key, "bus"));

    assert_int_equal(zap_admit(z, &mallory), 0);
    assert_true(zap_admits(z, mallory.public_key, "mallory"));
    assert_int_equal(zap_admit(z, &mallory), SV_E_CONFLICT);
    assert_int_equal(zap_load(z, folder, &n, &e), 0);
    assert_false(zap_admits(z, mallory.public_key, "mallory"));
    zap_stop(z);
}

/* Without a descriptor to read them with, keys must not look revoked. */
static void no_descriptor_left(void **state)
{
    zap *z;
    sv_error e = {0};
    uint32_t n = 0;
    struct rlimit old, few;
    put_pub(&alice, "alice.pub");
    assert_int_equal(zap_start(*state, 1000, &z, &e), 0);
    assert_int_equal(zap_load(z, folder, &n, &e), 0);
    int lowest = dup(0);
    assert_true(lowest >= 0);
    close(lowest);
    getrlimit(RLIMIT_NOFILE, &old);
    for (rlim_t spare = 0; spare < 2; spare++) { /* none for the folder; one, but none for a file */
        few = (struct rlimit){(rlim_t)lowest + spare, old.rlim_max};
        e = (sv_error){0};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
        int rc = zap_load(z, folder, &n, &e);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
        assert_int_equal(rc, SV_E_IO);
        assert_true(zap_admits(z, alice.public_key, "alice"));
    }
    zap_stop(z);
}

static void more_keys_than_it_takes(void **state)
{
    zap *z;
    uint32_t n = 0;
    char path[128];
    assert_int_equal(zap_start(*state, 1000, &z, NULL), 0);
    for (int i = 0; i < ZAP_KEYS + 10; i++) {
        snprintf(path, sizeof path, "%s/k%d.pub", folder, i);
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        fprintf(f, "samovar-curve-key 1\nname k%d\npublic %040d\n", i, i);
        fclose(f);
    }
    assert_int_equal(zap_load(z, folder, &n, NULL), 0);
    assert_int_equal(n, ZAP_KEYS);
    assert_int_equal(zap_admit(z, &alice), SV_E_TOO_LARGE);
    zap_stop(z);
}

static void one_handler_a_context(void **state)
{
    zap *z, *second = NULL;
    sv_error e = {0};
    assert_int_equal(zap_start(*state, 1000, &z, &e), 0);
    assert_int_equal(zap_start(*state, 1000, &second, &e), SV_E_IO);
    assert_null(second);
    zap_stop(z);
}

/* ---- the probe ---- */

static void probe_passes(void **state)
{
    zap *z;
    sv_error e = {0};
    assert_int_equal(zap_start(*state, geteuid(), &z, &e), 0);
    uint64_t begin = clock_us();
    int rc = probe_run(*state, z, folder, broker_key.secret, broker_key.public_key, &e);
    if (rc) fail_msg("%s", e.message);
    print_message("probe took %llu us\n", (unsigned long long)(clock_us() - begin));
    zap_stats s = zap_get_stats(z);
    assert_int_equal(s.refused, 1);
    assert_int_equal(s.admitted, 2);
    zap_stop(z);
}

static void probe_fails_without_handler(void **state)
{
    sv_error e = {0};
    assert_int_equal(probe_run(*state, NULL, folder, broker_key.secret, broker_key.public_key, &e),
                     SV_E_INTERNAL);
    assert_non_null(strstr(e.message, "Not serving"));
}

static void probe_fails_for_another_user(void **state)
{
    zap *z;
    sv_error e = {0};
    assert_int_equal(zap_start(*state, geteuid() + 1, &z, &e), 0);
    assert_int_equal(probe_run(*state, z, folder, broker_key.secret, broker_key.public_key, &e),
                     SV_E_INTERNAL);
    assert_non_null(strstr(e.message, "a process of the same user was not recognised"));
    zap_stop(z);
}

/* A handler that lets everybody in, as one with a bug would. */
static void *open_door(void *context)
{
    void *s = zmq_socket(context, ZMQ_REP);
    int wait_ms = 100;
    zmq_setsockopt(s, ZMQ_RCVTIMEO, &wait_ms, sizeof wait_ms);
    assert_int_equal(zmq_bind(s, "inproc://zeromq.zap.01"), 0);
    for (;;) {
        char id[64], part[256];
        int n = zmq_recv(s, part, sizeof part, 0), id_n = 0, more = 1;
        size_t len = sizeof more;
        if (n < 0) {
            if (zmq_errno() == EAGAIN) continue;
            break;
        }
        bool stop = memcmp(part, "stop", 4) == 0 && n == 4;
        zmq_getsockopt(s, ZMQ_RCVMORE, &more, &len);
        for (int i = 1; more; i++) {
            n = zmq_recv(s, part, sizeof part, 0);
            if (i == 1) memcpy(id, part, (size_t)(id_n = n));
            zmq_getsockopt(s, ZMQ_RCVMORE, &more, &len);
        }
        zmq_send(s, "1.0", 3, ZMQ_SNDMORE);
        zmq_send(s, id, (size_t)id_n, ZMQ_SNDMORE);
        zmq_send(s, "200", 3, ZMQ_SNDMORE);
        zmq_send(s, "OK", 2, ZMQ_SNDMORE);
        zmq_send(s, "key:probe", 9, ZMQ_SNDMORE);
        zmq_send(s, "", 0, 0);
        if (stop) break;
    }
    zmq_close(s);
    return NULL;
}

static void probe_fails_with_an_open_door(void **state)
{
    pthread_t t;
    sv_error e = {0};
    assert_int_equal(pthread_create(&t, NULL, open_door, *state), 0);
    void *s = zmq_socket(*state, ZMQ_REQ);
    int rc;
    do /* until the thread has bound */
        rc = zmq_connect(s, "inproc://zeromq.zap.01");
    while (rc);
    assert_int_equal(probe_run(*state, NULL, folder, broker_key.secret, broker_key.public_key, &e),
                     SV_E_INTERNAL);
    assert_non_null(strstr(e.message, "failed"));
    char part[16];
    zmq_send(s, "stop", 4, 0);
    zmq_recv(s, part, sizeof part, 0);
    zmq_close(s);
    pthread_join(t, NULL);
}

/* ---- endpoints ---- */

static void addresses(void **state)
{
    (void)state;
    static const struct {
        endpoint_kind kind;
        const char *text;
        bool ok;
    } cases[] = {
        {ENDPOINT_MEASURE, "tcp://127.0.0.1:7422", true},
        {ENDPOINT_MEASURE, "tcp://127.0.0.1:*", true},
        {ENDPOINT_MEASURE, "tcp://[::1]:7422", true},
        {ENDPOINT_MEASURE, "tcp://0.0.0.0:7422", false},
        {ENDPOINT_MEASURE, "tcp://*:7422", false},
        {ENDPOINT_MEASURE, "tcp://lo:7422", false},
        {ENDPOINT_MEASURE, "tcp://localhost:7422", false},
        {ENDPOINT_MEASURE, "tcp://10.0.0.1:7422", false},
        {ENDPOINT_MEASURE, "tcp://[::]:7422", false},
        {ENDPOINT_MEASURE, "tcp://127.0.0.1", false},
        {ENDPOINT_MEASURE, "tcp://127.0.0.1:", false},
        {ENDPOINT_MEASURE, "tcp://127.0.0.1:0", false},
        {ENDPOINT_MEASURE, "tcp://127.0.0.1:65536", false},
        {ENDPOINT_MEASURE, "tcp://127.0.0.1:80;x", false},
        {ENDPOINT_MEASURE, "ipc:///tmp/x", false},
        {ENDPOINT_MEASURE, "", false},
        {ENDPOINT_CURVE, "tcp://0.0.0.0:7421", true},
        {ENDPOINT_CURVE, "tcp://*:7421", true},
        {ENDPOINT_CURVE, "ipc:///tmp/x", true},
        {ENDPOINT_CURVE, "ipc://x", false},
        {ENDPOINT_CURVE, "udp://0.0.0.0:1", false},
        {ENDPOINT_CURVE, "inproc://x", false},
        {ENDPOINT_CURVE, "tcp://[::1:7421", false},
        {ENDPOINT_LOCAL, "ipc:///tmp/x", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sv_error e = {0};
        int rc = endpoint_check(cases[i].kind, cases[i].text, &e);
        if (rc != (cases[i].ok ? 0 : SV_E_CONFIG)) fail_msg("%s: %d", cases[i].text, rc);
        if (rc) assert_true(e.field[0] && e.message[0]);
    }
    char text[300] = "ipc:///";
    memset(text + 7, 'x', 150);
    sv_error e = {0};
    assert_int_equal(endpoint_check(ENDPOINT_LOCAL, text, &e), SV_E_CONFIG);
    assert_non_null(strstr(e.message, "SAMOVAR_RUN"));
    text[6 + 106] = 0; /* 106 bytes and the NUL before the limit of libzmq */
    assert_int_equal(endpoint_check(ENDPOINT_LOCAL, text, NULL), 0);
    strcat(text, "x");
    assert_int_equal(endpoint_check(ENDPOINT_LOCAL, text, NULL), SV_E_CONFIG);
}

static void taken_addresses(void **state)
{
    zap *z;
    void *a, *b;
    char bound[ENDPOINT_BYTES], again[ENDPOINT_BYTES], ipc[ENDPOINT_BYTES];
    sv_error e = {0};
    struct stat st;
    assert_int_equal(zap_start(*state, geteuid(), &z, &e), 0);
    assert_int_equal(endpoint_socket(*state, ENDPOINT_CURVE, broker_key.secret, &a, &e), 0);
    assert_int_equal(endpoint_socket(*state, ENDPOINT_CURVE, broker_key.secret, &b, &e), 0);
    assert_int_equal(endpoint_bind(a, ENDPOINT_CURVE, "tcp://127.0.0.1:*", bound, &e), 0);
    assert_null(strchr(bound, '*'));
    assert_int_equal(endpoint_bind(b, ENDPOINT_CURVE, bound, again, &e), SV_E_CONFLICT);
    assert_non_null(strstr(e.message, bound));
    snprintf(ipc, sizeof ipc, "ipc://%s/x.ipc", folder);
    e = (sv_error){0};
    assert_int_equal(endpoint_bind(a, ENDPOINT_CURVE, ipc, bound, &e), 0);
    assert_int_equal(stat(ipc + 6, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(endpoint_bind(b, ENDPOINT_CURVE, ipc, again, &e), SV_E_CONFLICT);
    zmq_close(a);
    zmq_close(b);
    zap_stop(z);
}

int main(void)
{
    log_init("test", 0, LOG_ERROR + 1, 2);
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(decisions),
        T(hostile_shapes),
        T(key_folder),
        T(no_descriptor_left),
        T(more_keys_than_it_takes),
        T(one_handler_a_context),
        T(probe_passes),
        T(probe_fails_without_handler),
        T(probe_fails_for_another_user),
        T(probe_fails_with_an_open_door),
        T(addresses),
        T(taken_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
