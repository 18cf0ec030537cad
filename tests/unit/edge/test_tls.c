/*  TLS: the files and what is wrong with them, the handshake over a socketpair and over the server,
 *  garbage and cuts, a new certificate while connections live. */
#include "http_harness.h"
#include "tls.h"

#include <signal.h>
#include <sys/stat.h>

#include <openssl/pem.h>
#include <openssl/ssl.h>

static char folder[64], cert_path[128], key_path[128], other_path[128];

/* ---- certificates ---- */

static EVP_PKEY *write_pair(const char *cert_file, const char *key_file, const char *name,
                            const char *passphrase)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 30 * 86400);
    X509_NAME *subject = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(cert, subject);
    X509_set_pubkey(cert, key);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    FILE *f = fopen(cert_file, "w");
    PEM_write_X509(f, cert);
    fclose(f);
    X509_free(cert);
    f = fopen(key_file, "w");
    assert_int_equal(fchmod(fileno(f), 0600), 0);
    PEM_write_PKCS8PrivateKey(f, key, passphrase ? EVP_aes_128_cbc() : NULL, passphrase,
                              passphrase ? (int)strlen(passphrase) : 0, NULL, NULL);
    fclose(f);
    return key;
}

static void put_file(const char *path, const char *bytes)
{
    FILE *f = fopen(path, "w");
    fputs(bytes, f);
    fclose(f);
    chmod(path, 0600);
}

static int new_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/test_tls.XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(cert_path, sizeof cert_path, "%s/cert.pem", folder);
    snprintf(key_path, sizeof key_path, "%s/key.pem", folder);
    snprintf(other_path, sizeof other_path, "%s/other.pem", folder);
    EVP_PKEY_free(write_pair(cert_path, key_path, "first", NULL));
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(cert_path);
    unlink(key_path);
    unlink(other_path);
    return rmdir(folder);
}

/* ---- files ---- */

static void refused(const char *cert, const char *key, const char *setting, const char *word)
{
    tls *t = NULL;
    sv_error err = {0};
    assert_int_equal(tls_new(cert, key, &t, &err), SV_E_CONFIG);
    assert_null(t);
    assert_string_equal(err.field, setting);
    if (strstr(err.message, word) == NULL) fail_msg("no \"%s\" in: %s", word, err.message);
}

static void bad_files_are_named(void **state)
{
    (void)state;
    tls *t = NULL;
    sv_error err = {0};
    assert_int_equal(tls_new(cert_path, key_path, &t, &err), 0);
    assert_in_range(tls_expires_s(t) - time(NULL), 29 * 86400, 31 * 86400);
    tls_free(t);
    refused("/no/cert.pem", key_path, "edge.tls_cert", "/no/cert.pem cannot be read");
    refused(cert_path, "/no/key.pem", "edge.tls_key", "/no/key.pem");
    refused(folder, key_path, "edge.tls_cert", folder);
    refused(key_path, key_path, "edge.tls_cert", "no certificate in PEM form");
    refused(cert_path, cert_path, "edge.tls_key", "chmod 600");
    put_file(other_path, "nothing");
    refused(other_path, key_path, "edge.tls_cert", "no certificate");
    refused(cert_path, other_path, "edge.tls_key", "no private key");
    put_file(other_path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    refused(other_path, key_path, "edge.tls_cert", "no certificate");
    chmod(key_path, 0640);
    refused(cert_path, key_path, "edge.tls_key", "chmod 600");
    chmod(key_path, 0600);
    char unused[160];
    snprintf(unused, sizeof unused, "%s.unused", other_path);
    EVP_PKEY_free(write_pair(unused, other_path, "x", NULL));
    refused(cert_path, other_path, "edge.tls_key", "is not that of the certificate");
    EVP_PKEY_free(write_pair(unused, other_path, "x", "secret"));
    refused(unused, other_path, "edge.tls_key", "encrypted");
    unlink(unused);
}

/* ---- over a socketpair ---- */

typedef struct pair {
    tls *t;
    http_transport server;
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
} pair;

static SSL_CTX *client_ctx(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    return ctx;
}

static void open_pair(pair *p, int min, int max, const char *alpn)
{
    int fd[2];
    sv_error err = {0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
    assert_int_equal(tls_new(cert_path, key_path, &p->t, &err), 0);
    p->server = (http_transport){.fd = fd[0]};
    assert_int_equal(tls_open(p->t, &p->server), 0);
    p->fd = fd[1];
    p->ctx = client_ctx();
    SSL_CTX_set_security_level(p->ctx, 0);
    SSL_CTX_set_min_proto_version(p->ctx, min);
    SSL_CTX_set_max_proto_version(p->ctx, max);
    p->ssl = SSL_new(p->ctx);
    if (alpn) SSL_set_alpn_protos(p->ssl, (const unsigned char *)alpn, (unsigned)strlen(alpn));
    SSL_set_fd(p->ssl, p->fd);
}

static void close_pair(pair *p, bool reset)
{
    p->server.ops->close(&p->server, reset);
    SSL_free(p->ssl);
    SSL_CTX_free(p->ctx);
    close(p->fd);
    tls_free(p->t);
}

static http_hello shake(pair *p)
{
    for (int i = 0; i < 20; i++) {
        SSL_connect(p->ssl);
        http_hello got = p->server.ops->hello(&p->server);
        if (got != HTTP_HELLO_MORE) {
            if (got != HTTP_HELLO_FAILED) SSL_connect(p->ssl);
            return got;
        }
    }
    return HTTP_HELLO_MORE;
}

static void protocols_and_versions(void **state)
{
    (void)state;
    static const struct {
        int min, max;
        const char *alpn;
        http_hello want;
    } cases[] = {
        {TLS1_2_VERSION, TLS1_2_VERSION, NULL, HTTP_HELLO_HTTP1},
        {TLS1_3_VERSION, TLS1_3_VERSION, NULL, HTTP_HELLO_HTTP1},
        {TLS1_2_VERSION, TLS1_3_VERSION, "\x08http/1.1", HTTP_HELLO_HTTP1},
        {TLS1_2_VERSION, TLS1_3_VERSION, "\x08http/1.1\x02h2", HTTP_HELLO_HTTP2},
        {TLS1_2_VERSION, TLS1_2_VERSION, "\x02h2", HTTP_HELLO_HTTP2},
        {TLS1_2_VERSION, TLS1_3_VERSION, "\x02h3", HTTP_HELLO_FAILED},
        {TLS1_VERSION, TLS1_1_VERSION, NULL, HTTP_HELLO_FAILED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pair p = {0};
        open_pair(&p, cases[i].min, cases[i].max, cases[i].alpn);
        assert_int_equal(shake(&p), cases[i].want);
        if (cases[i].want != HTTP_HELLO_FAILED) {
            char got[8];
            assert_int_equal(SSL_write(p.ssl, "ping", 4), 4);
            assert_int_equal(p.server.ops->read(&p.server, got, sizeof got), 4);
            assert_int_equal(p.server.ops->read(&p.server, got, sizeof got), -1);
            assert_int_equal(errno, EAGAIN);
            assert_int_equal(p.server.ops->write(&p.server, "pong", 4), 4);
            assert_int_equal(SSL_read(p.ssl, got, sizeof got), 4);
            p.server.ops->shut(&p.server);
            assert_int_equal(SSL_read(p.ssl, got, sizeof got), 0);
            assert_int_equal(SSL_get_shutdown(p.ssl), SSL_RECEIVED_SHUTDOWN); /* no mere cut */
            assert_int_equal(SSL_shutdown(p.ssl), 1);
            assert_int_equal(p.server.ops->read(&p.server, got, sizeof got), 0);
        }
        close_pair(&p, false);
    }
}

static void weak_ciphers_are_refused(void **state)
{
    (void)state;
    static const char *const lists[] = {"AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "aNULL"};
    for (size_t i = 0; i < 3; i++) {
        pair p = {0};
        open_pair(&p, TLS1_2_VERSION, TLS1_2_VERSION, NULL);
        SSL_set_cipher_list(p.ssl, lists[i]);
        assert_int_equal(shake(&p), HTTP_HELLO_FAILED);
        close_pair(&p, true);
    }
}

/* A peer that only ever renegotiates keys ends itself, and no call goes on for ever. */
static void key_updates_are_counted(void **state)
{
    (void)state;
    pair p = {0};
    char got[8];
    open_pair(&p, TLS1_3_VERSION, TLS1_3_VERSION, NULL);
    assert_int_equal(shake(&p), HTTP_HELLO_HTTP1);
    int sent = 0;
    ssize_t n = -1;
    for (; sent < 4 * TLS_MESSAGES; sent++) {
        SSL_key_update(p.ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
        if (SSL_do_handshake(p.ssl) != 1) break;
        n = p.server.ops->read(&p.server, got, sizeof got);
        if (n >= 0 || errno != EAGAIN) break;
    }
    assert_in_range(sent, 100, TLS_MESSAGES);
    close_pair(&p, false);
}

static void renegotiation_is_refused(void **state)
{
    (void)state;
    pair p = {0};
    char got[8];
    open_pair(&p, TLS1_2_VERSION, TLS1_2_VERSION, NULL);
    assert_int_equal(shake(&p), HTTP_HELLO_HTTP1);
    assert_int_equal(SSL_renegotiate(p.ssl), 1);
    SSL_do_handshake(p.ssl);
    ssize_t n = p.server.ops->read(&p.server, got, sizeof got);
    assert_true(n <= 0);
    SSL_do_handshake(p.ssl);
    assert_int_equal(SSL_get_error(p.ssl, -1), SSL_ERROR_SSL); /* no_renegotiation */
    close_pair(&p, true);
}

/* The client's first flight, cut at every byte and damaged at every byte. */
static void cut_and_damaged_handshakes(void **state)
{
    (void)state;
    char flight[2048];
    pair p = {0};
    open_pair(&p, TLS1_2_VERSION, TLS1_3_VERSION, "\x02h2");
    SSL_connect(p.ssl);
    ssize_t n = recv(p.server.fd, flight, sizeof flight, 0);
    assert_true(n > 100);
    for (ssize_t i = 0; i < n; i++) {
        for (int damaged = 0; damaged < 2; damaged++) {
            int fd[2];
            assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
            http_transport t = {.fd = fd[0]};
            assert_int_equal(tls_open(p.t, &t), 0);
            char was = flight[i];
            if (damaged) flight[i] = (char)(was ^ (1 << i % 8));
            assert_true(send(fd[1], flight, (size_t)(damaged ? n : i), 0) >= 0);
            flight[i] = was;
            if (i == 0 && !damaged) assert_int_equal(t.ops->hello(&t), HTTP_HELLO_MORE);
            shutdown(fd[1], SHUT_WR);
            http_hello got = HTTP_HELLO_MORE;
            for (int k = 0; k < 3 && got == HTTP_HELLO_MORE; k++)
                got = t.ops->hello(&t);
            assert_true(got == HTTP_HELLO_FAILED || got == HTTP_HELLO_PLAIN);
            t.ops->close(&t, i % 2 == 0);
            close(fd[1]);
        }
    }
    close_pair(&p, true);
}

/* ---- over the server ---- */

typedef struct tls_client {
    client *c;
    SSL *ssl;
    char got[4096];
    size_t n;
    bool ended;
} tls_client;

static tls_client *dial(harness *h, SSL_CTX *ctx)
{
    tls_client *k = calloc(1, sizeof *k);
    k->c = connected(h);
    k->ssl = SSL_new(ctx);
    SSL_set_fd(k->ssl, k->c->fd);
    SSL_set_connect_state(k->ssl);
    return k;
}

static void hang_up(tls_client *k)
{
    SSL_free(k->ssl);
    leave(k->c);
    free(k);
}

static bool listen_to(tls_client *k)
{
    int n = SSL_read(k->ssl, k->got + k->n, (int)(sizeof k->got - 1 - k->n));
    if (n > 0) k->n += (size_t)n;
    int why = n > 0 ? 0 : SSL_get_error(k->ssl, n);
    k->ended = n <= 0 && why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE;
    k->got[k->n] = 0;
    return true;
}

static void ask(harness *h, tls_client *k, const char *bytes)
{
    UNTIL(h, SSL_do_handshake(k->ssl) == 1);
    assert_int_equal(SSL_write(k->ssl, bytes, (int)strlen(bytes)), (int)strlen(bytes));
}

#define TOLD(h, k, what) UNTIL(h, listen_to(k) && strstr((k)->got, what))

static const char *peer_name(tls_client *k, char name[64])
{
    X509 *cert = SSL_get1_peer_certificate(k->ssl);
    X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, name, 64);
    X509_free(cert);
    return name;
}

static void serve(harness *h, tls **t)
{
    sv_error err = {0};
    h_open(h);
    assert_int_equal(tls_new(cert_path, key_path, t, &err), 0);
    http_server_transport(h->s, tls_open, *t);
}

static void requests_over_tls(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    harness h = {0};
    tls *t;
    serve(&h, &t);
    SSL_CTX *ctx = client_ctx();
    tls_client *k = dial(&h, ctx);
    ask(&h, k, GET("/sync") GET("/sync"));
    TOLD(&h, k, "sync");
    UNTIL(&h, listen_to(k) && count(k->got, "\r\n\r\nsync") == 2);
    k->n = 0;
    /* a body larger than any buffer on the way, and its echo */
    ask(&h, k, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n");
    char *body = calloc(1, N);
    size_t sent = 0, got = 0;
    uint64_t since_us = clock_us();
    while (got < N) {
        wait_or_fail(&h, since_us, "the echo");
        int n = sent < N
                    ? SSL_write(k->ssl, body + sent, (int)(N - sent < 16384 ? N - sent : 16384))
                    : 0;
        if (n > 0) sent += (size_t)n;
        while ((n = SSL_read(k->ssl, k->got, sizeof k->got)) > 0)
            got += (size_t)n;
    }
    free(body);
    k->n = 0;
    ask(&h, k, GET("/wait"));
    UNTIL(&h, h.n_open == 1 && h.open[0]->secure);
    hang_up(k);
    UNTIL(&h, h.gone == 1);
    SSL_CTX_free(ctx);
    h_close(&h);
    tls_free(t);
}

static void a_slow_reader_over_tls(void **state)
{
    (void)state;
    harness h = {0};
    tls *t;
    serve(&h, &t);
    SSL_CTX *ctx = client_ctx();
    tls_client *k = dial(&h, ctx);
    ask(&h, k, GET("/flood"));
    for (int i = 0; i < 50; i++)
        loop_turn(h.l, 1);
    assert_true(h.flooded < FLOOD_BYTES);
    size_t got = 0;
    uint64_t since_us = clock_us();
    while (h.done == 0) {
        wait_or_fail(&h, since_us, "the flood");
        int n;
        while ((n = SSL_read(k->ssl, k->got, sizeof k->got)) > 0)
            got += (size_t)n;
    }
    assert_true(h.most_pending <= h.limits.output_bytes + 8192);
    assert_true(got > FLOOD_BYTES / 2); /* the rest is on its way */
    hang_up(k);
    SSL_CTX_free(ctx);
    h_close(&h);
    tls_free(t);
}

static void plain_http_is_told(void **state)
{
    (void)state;
    harness h = {0};
    tls *t;
    serve(&h, &t);
    client *c = connected(&h);
    say(&h, c, GET("/sync"));
    UNTIL(&h, hear(c));
    assert_true(heard(c, "HTTP/1.1 400 "));
    assert_true(heard(c, "HTTPS only"));
    assert_true(heard(c, "connection: close"));
    assert_false(c->reset);
    assert_int_equal(h.requests, 0);
    leave(c);
    h_close(&h);
    tls_free(t);
}

static void silence_and_garbage_end(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "\x16\x03\x01", "\x16\x03\x01\x02\x00\x01", "hello",
                                      "\x80\x2e\x01"};
    harness h = {.limits = default_limits};
    h.limits.head_ms = 300;
    tls *t;
    serve(&h, &t);
    client *c[5];
    for (int i = 0; i < 5; i++) {
        c[i] = connected(&h);
        say(&h, c[i], bad[i]);
    }
    for (int i = 0; i < 5; i++) {
        UNTIL(&h, hear(c[i]));
        leave(c[i]);
    }
    UNTIL(&h, http_server_look(h.s).connections == 0);
    h_close(&h);
    tls_free(t);
}

static void many_handshakes_at_once(void **state)
{
    (void)state;
    enum { N = 60 };
    harness h = {0};
    tls *t;
    tls_client *k[N];
    serve(&h, &t);
    SSL_CTX *ctx = client_ctx();
    for (int i = 0; i < N; i++) {
        k[i] = dial(&h, ctx);
        SSL_do_handshake(k[i]->ssl);
    }
    for (int i = 0; i < N; i++)
        ask(&h, k[i], GET("/sync"));
    for (int i = 0; i < N; i++) {
        TOLD(&h, k[i], "sync");
        hang_up(k[i]);
    }
    SSL_CTX_free(ctx);
    h_close(&h);
    tls_free(t);
}

static void a_new_certificate_is_taken(void **state)
{
    (void)state;
    char name[64];
    harness h = {0};
    tls *t;
    sv_error err = {0};
    serve(&h, &t);
    SSL_CTX *ctx = client_ctx();
    tls_client *old = dial(&h, ctx);
    ask(&h, old, GET("/stream"));
    UNTIL(&h, h.n_open == 1);
    assert_int_equal(tls_check(t, &err), 0);
    assert_string_equal(peer_name(old, name), "first");

    put_file(cert_path, "broken"); /* kept, and told once */
    assert_int_equal(tls_check(t, &err), SV_E_CONFIG);
    assert_int_equal(tls_check(t, &err), 0);
    EVP_PKEY_free(write_pair(cert_path, other_path, "second", NULL)); /* the key is not there yet */
    assert_int_equal(tls_check(t, &err), SV_E_CONFIG);
    tls_client *k = dial(&h, ctx);
    ask(&h, k, GET("/sync"));
    assert_string_equal(peer_name(k, name), "first");
    hang_up(k);
    assert_int_equal(rename(other_path, key_path), 0);
    assert_int_equal(tls_check(t, &err), 1);
    k = dial(&h, ctx);
    ask(&h, k, GET("/sync"));
    TOLD(&h, k, "sync");
    assert_string_equal(peer_name(k, name), "second");
    hang_up(k);

    http_write(h.open[0], text("still here")); /* the old connection never noticed */
    TOLD(&h, old, "still here");
    hang_up(old);
    SSL_CTX_free(ctx);
    UNTIL(&h, h.gone == 1);
    h_close(&h);
    tls_free(t);
}

/* A ticket saves the second handshake its signature, until the certificate changes. */
static void tickets_resume(void **state)
{
    (void)state;
    harness h = {0};
    tls *t;
    serve(&h, &t);
    SSL_CTX *ctx = client_ctx();
    tls_client *k = dial(&h, ctx);
    ask(&h, k, GET("/sync"));
    TOLD(&h, k, "sync");
    SSL_SESSION *ticket = SSL_get1_session(k->ssl);
    assert_false(SSL_session_reused(k->ssl));
    /* OpenSSL does not use sessions again that were cut. */
    SSL_set_shutdown(k->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    hang_up(k);
    k = dial(&h, ctx);
    SSL_set_session(k->ssl, ticket);
    ask(&h, k, GET("/sync"));
    TOLD(&h, k, "sync");
    assert_true(SSL_session_reused(k->ssl));
    /* Each is used once: a resumed client has got the next one. */
    SSL_SESSION *next = SSL_get1_session(k->ssl);
    assert_ptr_not_equal(next, ticket);
    SSL_set_shutdown(k->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    hang_up(k);
    k = dial(&h, ctx);
    SSL_set_session(k->ssl, next);
    ask(&h, k, GET("/sync"));
    TOLD(&h, k, "sync");
    assert_true(SSL_session_reused(k->ssl));
    hang_up(k);
    SSL_SESSION_free(next);
    SSL_SESSION_free(ticket);
    SSL_CTX_free(ctx);
    h_close(&h);
    tls_free(t);
}

/* Tickets of one process are good at another that has the same seed, for the current and the next
 * period, and only there; TLS 1.2 gets none. */
static int64_t pretended_s;

static int64_t pretend(void)
{
    return pretended_s;
}

static bool resumes(SSL_CTX *ctx, SSL_SESSION *ticket, const uint8_t *seed, int64_t at_s)
{
    harness h = {0};
    tls *t;
    serve(&h, &t);
    pretended_s = at_s;
    assert_int_equal(tls_tickets(t, seed, pretend), 0);
    tls_client *k = dial(&h, ctx);
    SSL_set_session(k->ssl, ticket);
    ask(&h, k, GET("/sync"));
    TOLD(&h, k, "sync");
    bool reused = SSL_session_reused(k->ssl);
    SSL_set_shutdown(k->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    hang_up(k);
    h_close(&h);
    tls_free(t);
    return reused;
}

static void tickets_are_shared(void **state)
{
    (void)state;
    enum { DAY = 86400, NOW = 20000 * DAY + 100 };
    const uint8_t seed[TLS_SEED_BYTES] = {1, 2, 3}, other[TLS_SEED_BYTES] = {1, 2, 4};
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        harness h = {0};
        tls *t;
        serve(&h, &t);
        pretended_s = NOW;
        assert_int_equal(tls_tickets(t, seed, pretend), 0);
        SSL_CTX *ctx = client_ctx();
        SSL_CTX_set_max_proto_version(ctx, version);
        tls_client *k = dial(&h, ctx);
        ask(&h, k, GET("/sync"));
        TOLD(&h, k, "sync");
        SSL_SESSION *ticket = SSL_get1_session(k->ssl);
        SSL_set_shutdown(k->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        hang_up(k);
        h_close(&h);
        tls_free(t);
        bool three = version == TLS1_3_VERSION;
        assert_int_equal(SSL_SESSION_has_ticket(ticket), three);
        assert_int_equal(resumes(ctx, ticket, seed, NOW), three);
        assert_int_equal(resumes(ctx, ticket, seed, NOW + DAY), three);
        assert_false(resumes(ctx, ticket, seed, NOW + 2 * DAY));
        assert_false(resumes(ctx, ticket, seed, NOW - DAY));
        assert_false(resumes(ctx, ticket, other, NOW));
        EVP_PKEY_free(write_pair(cert_path, key_path, "second", NULL));
        assert_false(resumes(ctx, ticket, seed, NOW));
        SSL_SESSION_free(ticket);
        SSL_CTX_free(ctx);
    }
}

/* A trusted proxy's header comes before TLS; absolute targets over TLS are https. */
static void proxied_tls(void **state)
{
    (void)state;
    static const char header[] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c"
                                 "\xc0\x00\x02\x07\x7f\x00\x00\x01\x12\x34\x01\xbb";
    harness h = {0};
    tls *t;
    trusted us = {0}, none = {0};
    serve(&h, &t);
    trusted_add(&us, sv_cstr("127.0.0.1"), NULL);
    http_server_proxies(h.s, &us, true);
    SSL_CTX *ctx = client_ctx();
    tls_client *k = calloc(1, sizeof *k);
    k->c = connected(&h);
    for (size_t i = 0; i < sizeof header - 1; i++) {
        say_n(&h, k->c, header + i, 1);
        loop_turn(h.l, 0);
    }
    k->ssl = SSL_new(ctx);
    SSL_set_fd(k->ssl, k->c->fd);
    SSL_set_connect_state(k->ssl);
    ask(&h, k, GET("/wait"));
    UNTIL(&h, h.n_open == 1);
    char remote[46];
    http_address_text(&h.open[0]->remote, remote);
    assert_string_equal(remote, "192.0.2.7");
    answer(h.open[0], 200, text("late"));
    TOLD(&h, k, "late");
    ask(&h, k, "GET https://a/sync HTTP/1.1\r\nHost: a\r\n\r\n");
    TOLD(&h, k, "sync");
    ask(&h, k, "GET http://a/sync HTTP/1.1\r\nHost: a\r\n\r\n");
    TOLD(&h, k, "scheme is not this port's");
    hang_up(k);
    http_server_proxies(h.s, &none, true); /* a stranger's is no TLS */
    client *c = connected(&h);
    say_n(&h, c, header, sizeof header - 1);
    UNTIL(&h, hear(c));
    leave(c);
    SSL_CTX_free(ctx);
    h_close(&h);
    tls_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bad_files_are_named, new_folder, remove_folder),
        cmocka_unit_test_setup_teardown(protocols_and_versions, new_folder, remove_folder),
        cmocka_unit_test_setup_teardown(weak_ciphers_are_refused, new_folder, remove_folder),
        cmocka_unit_test_setup_teardown(key_updates_are_counted, new_folder, remove_folder),
        cmocka_unit_test_setup_teardown(renegotiation_is_refused, new_folder, remove_folder),
        cmocka_unit_test_setup_teardown(cut_and_damaged_handshakes, new_folder, remove_folder),
        cmocka_unit_test_setup_teardown(requests_over_tls, new_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_slow_reader_over_tls, new_folder, remove_folder),
        cmocka_unit_test_setup_teardown(plain_http_is_told, new_folder, remove_folder),
        cmocka_unit_test_setup_teardown(silence_and_garbage_end, new_folder, remove_folder),
        cmocka_unit_test_setup_teardown(many_handshakes_at_once, new_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_new_certificate_is_taken, new_folder, remove_folder),
        cmocka_unit_test_setup_teardown(tickets_resume, new_folder, remove_folder),
        cmocka_unit_test_setup_teardown(tickets_are_shared, new_folder, remove_folder),
        cmocka_unit_test_setup_teardown(proxied_tls, new_folder, remove_folder),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
