/*  tls.c - one SSL_CTX for each pair of files, one SSL for each connection, which keeps its SSL_CTX.
 *
 *  OpenSSL writes straight to the descriptor. Two of its habits matter here. SSL_read goes on by
 *  itself behind records that carry no data, so a peer that sends nothing but key updates could
 *  keep the loop in one call: they are counted as they pass, and too many end the socket under
 *  it. And its queue of errors belongs to the thread, so it is emptied before every call whose
 *  error is looked at. */
#include "tls.h"

#include "error.h"
#include "private_file.h"
#include "tls_ticket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

enum { FILE_BYTES = 65536, CHAIN_MOST = 10 };

/* What tells one version of a file from another. */
typedef struct stamp {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec written, changed;
} stamp;

struct tls {
    SSL_CTX *ctx;
    char *cert_file, *key_file;
    stamp cert, key; /* as last looked at, whether they loaded or not */
    int64_t expires_s;
    tls_ticket_source tickets;
};

typedef struct session {
    SSL *ssl;
    int fd;
    bool peeked; /* the first byte was looked at */
    bool ready;  /* the handshake is done */
    bool broken; /* nothing may be sent any more, not even a farewell */
    uint32_t messages;
} session;

/* ---- files ---- */

static stamp stamp_of(const char *path)
{
    struct stat st;
    if (stat(path, &st)) return (stamp){0};
    return (stamp){st.st_dev, st.st_ino, st.st_size, st.st_mtim, st.st_ctim};
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool same_stamp(stamp a, stamp b)
{
    return a.dev == b.dev && a.ino == b.ino && a.size == b.size &&
           same_time(a.written, b.written) && same_time(a.changed, b.changed);
}

/* OpenSSL's word for what went wrong last. */
static const char *reason(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    return text ? text : "no reason given";
}

static int read_cert_file(const char *path, char *to, size_t *ret_n, sv_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    ssize_t n = fd < 0 ? -1 : private_file_read_fd(fd, to, FILE_BYTES + 1);
    int saved = errno;
    if (fd >= 0) close(fd);
    if (n < 0)
        return sv_fail(err, SV_E_CONFIG, "edge.tls_cert",
                       "The certificate file %s cannot be read: %s. Give its path in "
                       "edge.tls_cert and the right to read it to this user.",
                       path, strerror(saved));
    if (n > FILE_BYTES)
        return sv_fail(err, SV_E_CONFIG, "edge.tls_cert",
                       "The certificate file %s is larger than %d bytes; it holds the server's "
                       "certificate and those above it, nothing else.",
                       path, FILE_BYTES);
    *ret_n = (size_t)n;
    return 0;
}

/* The server's certificate comes first, those that vouch for it behind. */
static int use_certs(SSL_CTX *ctx, BIO *in, const char *path, int64_t *ret_expires_s, sv_error *err)
{
    X509 *cert = PEM_read_bio_X509_AUX(in, NULL, NULL, NULL);
    if (cert == NULL)
        return sv_fail(err, SV_E_CONFIG, "edge.tls_cert",
                       "%s holds no certificate in PEM form (-----BEGIN CERTIFICATE-----): %s.",
                       path, reason());
    struct tm tm = {0};
    int rc = 0;
    if (ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm)) *ret_expires_s = timegm(&tm);
    if (SSL_CTX_use_certificate(ctx, cert) != 1)
        rc = sv_fail(err, SV_E_CONFIG, "edge.tls_cert",
                     "The certificate in %s cannot be used: %s. Make one with a key of at least "
                     "2048 bits (RSA) or 256 bits (EC).",
                     path, reason());
    X509_free(cert);
    for (int i = 0; rc == 0 && i < CHAIN_MOST; i++) {
        cert = PEM_read_bio_X509(in, NULL, NULL, NULL);
        if (cert == NULL) {
            if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
                rc = sv_fail(err, SV_E_CONFIG, "edge.tls_cert",
                             "Certificate %d in %s is damaged: %s.", i + 2, path, reason());
            break;
        }
        if (SSL_CTX_add0_chain_cert(ctx, cert) != 1) {
            X509_free(cert);
            rc = sv_fail(err, SV_E_CONFIG, "edge.tls_cert",
                         "Certificate %d in %s cannot be used: %s.", i + 2, path, reason());
        }
    }
    return rc;
}

static int load_cert(SSL_CTX *ctx, const char *path, int64_t *ret_expires_s, sv_error *err)
{
    size_t n = 0;
    char *text = malloc(FILE_BYTES + 1);
    if (text == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    int rc = read_cert_file(path, text, &n, err);
    BIO *in = rc ? NULL : BIO_new_mem_buf(text, (int)n);
    if (in)
        rc = use_certs(ctx, in, path, ret_expires_s, err);
    else if (rc == 0)
        rc = sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    BIO_free(in);
    free(text);
    return rc;
}

/* For a key with a passphrase: there is nobody to ask. */
static int no_passphrase(char *to, int size, int writing, void *arg)
{
    (void)to;
    (void)size;
    (void)writing;
    *(bool *)arg = true;
    return -1;
}

static int use_key(SSL_CTX *ctx, BIO *in, const char *cert_path, const char *path, sv_error *err)
{
    bool locked = false;
    EVP_PKEY *key = PEM_read_bio_PrivateKey(in, NULL, no_passphrase, &locked);
    if (key == NULL && locked)
        return sv_fail(err, SV_E_CONFIG, "edge.tls_key",
                       "The key in %s is encrypted, and nobody is there to type its passphrase. "
                       "Remove it: openssl pkey -in %s -out NEW",
                       path, path);
    if (key == NULL)
        return sv_fail(err, SV_E_CONFIG, "edge.tls_key",
                       "%s holds no private key in PEM form (-----BEGIN PRIVATE KEY-----): %s.",
                       path, reason());
    bool ok = SSL_CTX_use_PrivateKey(ctx, key) == 1 && SSL_CTX_check_private_key(ctx) == 1;
    EVP_PKEY_free(key);
    if (ok) return 0;
    return sv_fail(err, SV_E_CONFIG, "edge.tls_key",
                   "The key in %s is not that of the certificate in %s (%s): give the two files "
                   "that were made together, the server's certificate first in its file.",
                   path, cert_path, reason());
}

static int load_key(SSL_CTX *ctx, const char *cert_path, const char *path, sv_error *err)
{
    size_t n = 0;
    sv_error why = {0};
    char *text = malloc(FILE_BYTES);
    if (text == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    int rc = private_file_read(path, "the server's TLS key", text, FILE_BYTES, &n, &why);
    if (rc) rc = sv_fail(err, SV_E_CONFIG, "edge.tls_key", "%s", why.message);
    BIO *in = rc ? NULL : BIO_new_mem_buf(text, (int)n);
    if (in)
        rc = use_key(ctx, in, cert_path, path, err);
    else if (rc == 0)
        rc = sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    BIO_free(in);
    OPENSSL_cleanse(text, FILE_BYTES);
    free(text);
    return rc;
}

/* ---- the context ---- */

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_n,
                           const unsigned char *in, unsigned int in_n, void *arg)
{
    static const unsigned char ours[] = "\x02h2\x08http/1.1";
    unsigned char *chosen = NULL;
    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&chosen, out_n, ours, sizeof ours - 1, in, in_n) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* Every message that passes, in either direction, whole. */
static void on_message(int sent, int version, int type, const void *p, size_t n, SSL *ssl,
                       void *arg)
{
    session *s = SSL_get_app_data(ssl);
    (void)version;
    (void)p;
    (void)n;
    (void)arg;
    if (sent || type != SSL3_RT_HANDSHAKE || s == NULL || ++s->messages <= TLS_MESSAGES) return;
    shutdown(s->fd, SHUT_RDWR);
}

static bool set_up(SSL_CTX *ctx)
{
    static const unsigned char context[] = "samovar";
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_security_level(ctx, 2);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* tickets only */
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
    SSL_CTX_set_msg_callback(ctx, on_message);
    return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) &&
           SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) &&
           SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20") &&
           SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384") &&
           SSL_CTX_set_session_id_context(ctx, context, sizeof context - 1);
}

/* Stamps come before the files are read: a change in between is seen the next time. */
static int load(tls *t, sv_error *err)
{
    int64_t expires_s = 0;
    t->cert = stamp_of(t->cert_file);
    t->key = stamp_of(t->key_file);
    ERR_clear_error();
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (ctx == NULL || !set_up(ctx)) {
        SSL_CTX_free(ctx);
        sv_error_detail(err, "OpenSSL: %s", reason());
        return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    }
    int rc = load_cert(ctx, t->cert_file, &expires_s, err);
    if (rc == 0) rc = load_key(ctx, t->cert_file, t->key_file, err);
    if (rc == 0 && !tls_ticket_use(ctx, &t->tickets)) rc = sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    ERR_clear_error();
    if (rc) {
        SSL_CTX_free(ctx);
        return rc;
    }
    SSL_CTX_free(t->ctx);
    t->ctx = ctx;
    t->expires_s = expires_s;
    return 0;
}

static int64_t system_s(void)
{
    return time(NULL);
}

int tls_new(const char *cert_file, const char *key_file, tls **ret, sv_error *err)
{
    tls *t = calloc(1, sizeof *t);
    if (t == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    t->cert_file = strdup(cert_file);
    t->key_file = strdup(key_file);
    t->tickets.now_s = system_s;
    bool ok =
        t->cert_file && t->key_file && RAND_bytes(t->tickets.seed, sizeof t->tickets.seed) == 1;
    int rc = ok ? load(t, err) : sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    if (rc) {
        tls_free(t);
        return rc;
    }
    *ret = t;
    return 0;
}

void tls_free(tls *t)
{
    if (t == NULL) return;
    SSL_CTX_free(t->ctx);
    free(t->cert_file);
    free(t->key_file);
    OPENSSL_cleanse(&t->tickets, sizeof t->tickets);
    free(t);
}

int tls_tickets(tls *t, const uint8_t seed[TLS_SEED_BYTES], int64_t (*now_s)(void))
{
    memcpy(t->tickets.seed, seed, TLS_SEED_BYTES);
    t->tickets.now_s = now_s ? now_s : system_s;
    return tls_ticket_use(t->ctx, &t->tickets) ? 0 : SV_E_NO_MEMORY;
}

int tls_check(tls *t, sv_error *err)
{
    if (same_stamp(t->cert, stamp_of(t->cert_file)) && same_stamp(t->key, stamp_of(t->key_file)))
        return 0;
    int rc = load(t, err);
    return rc ? rc : 1;
}

int64_t tls_expires_s(const tls *t)
{
    return t->expires_s;
}

/* ---- the table ---- */

static void session_free(session *s)
{
    SSL_free(s->ssl);
    free(s);
}

/* What a call that moved nothing means: -1 with errno, or 0 at the peer's orderly end. */
static ssize_t outcome(session *s, int rc)
{
    int saved = errno;
    switch (SSL_get_error(s->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: errno = EAGAIN; return -1;
    case SSL_ERROR_ZERO_RETURN: return 0;
    case SSL_ERROR_SYSCALL:
        s->broken = true;
        errno = saved && saved != EAGAIN ? saved : ECONNRESET;
        return -1;
    default:
        s->broken = true;
        errno = ECONNRESET;
        return -1;
    }
}

/* HTTP without TLS begins with a capital letter, TLS never does. */
static http_hello look(http_transport *t)
{
    session *s = t->session;
    char first = 0;
    ssize_t n = recv(t->fd, &first, 1, MSG_PEEK);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return HTTP_HELLO_MORE;
    if (n <= 0) return HTTP_HELLO_FAILED;
    s->peeked = true;
    if (first < 'A' || first > 'Z') return HTTP_HELLO_HTTP1;
    session_free(s);
    t->session = NULL;
    t->ops = &http_transport_plain;
    return HTTP_HELLO_PLAIN;
}

static http_hello tls_hello(http_transport *t)
{
    session *s = t->session;
    if (!s->peeked) {
        http_hello first = look(t);
        if (first != HTTP_HELLO_HTTP1) return first;
    }
    ERR_clear_error();
    int rc = SSL_accept(s->ssl);
    if (rc != 1) {
        if (outcome(s, rc) < 0 && errno == EAGAIN) return HTTP_HELLO_MORE;
        s->broken = true;
        return HTTP_HELLO_FAILED;
    }
    const unsigned char *name = NULL;
    unsigned int n = 0;
    SSL_get0_alpn_selected(s->ssl, &name, &n);
    s->ready = true;
    return n == 2 && memcmp(name, "h2", 2) == 0 ? HTTP_HELLO_HTTP2 : HTTP_HELLO_HTTP1;
}

static ssize_t tls_read(http_transport *t, void *p, size_t n)
{
    session *s = t->session;
    size_t done = 0;
    ERR_clear_error();
    errno = 0;
    int rc = SSL_read_ex(s->ssl, p, n, &done);
    return rc == 1 ? (ssize_t)done : outcome(s, rc);
}

static ssize_t tls_write(http_transport *t, const void *p, size_t n)
{
    session *s = t->session;
    size_t done = 0;
    ERR_clear_error();
    errno = 0;
    int rc = SSL_write_ex(s->ssl, p, n, &done);
    if (rc == 1) return (ssize_t)done;
    ssize_t why = outcome(s, rc);
    if (why == 0) errno = EPIPE;
    return -1;
}

static void farewell(session *s)
{
    if (!s->ready || s->broken || (SSL_get_shutdown(s->ssl) & SSL_SENT_SHUTDOWN)) return;
    ERR_clear_error();
    SSL_shutdown(s->ssl);
}

static void tls_shut(http_transport *t)
{
    farewell(t->session);
    shutdown(t->fd, SHUT_WR);
}

static void tls_close(http_transport *t, bool reset)
{
    session *s = t->session;
    if (!reset) farewell(s);
    session_free(s);
    t->session = NULL;
    http_transport_plain.close(t, reset);
}

static const http_transport_ops tls_ops = {
    .hello = tls_hello,
    .read = tls_read,
    .write = tls_write,
    .shut = tls_shut,
    .close = tls_close,
    .secure = true,
};

int tls_open(void *arg, http_transport *ret)
{
    tls *t = arg;
    session *s = calloc(1, sizeof *s);
    SSL *ssl = s ? SSL_new(t->ctx) : NULL;
    if (ssl == NULL || SSL_set_fd(ssl, ret->fd) != 1) {
        SSL_free(ssl);
        free(s);
        return SV_E_NO_MEMORY;
    }
    s->ssl = ssl;
    s->fd = ret->fd;
    SSL_set_app_data(ssl, s);
    ret->ops = &tls_ops;
    ret->session = s;
    return 0;
}
