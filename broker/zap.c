/*  zap.c - a ROUTER on the in-process endpoint libzmq asks, served by one small thread.
 *
 *  The key table is a sorted array behind a pointer and a mutex: the handler holds the mutex for
 *  one binary search, a reload for one pointer swap. libzmq sends its request when a handshake is
 *  done and holds the connection until the answer, so the work per request is constant and never
 *  waits. */
#include "zap.h"

#include "error.h"
#include "log.h"

#include <arpa/inet.h>
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <zmq.h>

enum { OPTION_ZAP_ENFORCE_DOMAIN = 93 }; /* in the library, but declared only for its draft API */

static const char endpoint[] = "inproc://zeromq.zap.01";

typedef struct entry {
    char public_key[KEYFILE_Z85 + 1]; /* first: what the table is sorted by */
    char name[LIMIT_NAME_BYTES + 1];
} entry;

typedef struct table {
    uint32_t n;
    entry items[];
} table;

struct zap {
    void *socket; /* the handler's, once its thread runs */
    void *stop_in, *stop_out;
    pthread_t thread;
    bool running;
    uid_t uid;
    pthread_mutex_t lock; /* guards keys */
    table *keys;
    _Atomic uint64_t admitted, refused, malformed;
    atomic_bool quiet;
};

/* ---- the key table ---- */

static int compare(const void *a, const void *b)
{
    return strcmp(((const entry *)a)->public_key, ((const entry *)b)->public_key);
}

static const entry *find(const table *t, const char *public_key)
{
    if (t == NULL || t->n == 0) return NULL;
    return bsearch(public_key, t->items, t->n, sizeof *t->items, compare);
}

static void swap_table(zap *z, table *t)
{
    pthread_mutex_lock(&z->lock);
    table *old = z->keys;
    z->keys = t;
    pthread_mutex_unlock(&z->lock);
    free(old);
}

/* Sorts, and leaves out a key that stands under two names: nobody can say which one is meant. */
static void finish_table(table *t)
{
    if (t->n == 0) return;
    qsort(t->items, t->n, sizeof *t->items, compare);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < t->n;) {
        uint32_t same = i + 1;
        bool clash = false;
        while (same < t->n && compare(&t->items[i], &t->items[same]) == 0)
            clash |= strcmp(t->items[i].name, t->items[same++].name) != 0;
        if (clash)
            log_write(LOG_ERROR, "one key under several names is not admitted",
                      LOG_STR("name", t->items[i].name));
        else
            t->items[kept++] = t->items[i];
        i = same;
    }
    t->n = kept;
}

static int read_entry(const char *folder, const char *file, entry *ret)
{
    char path[4096];
    keyfile k = {0};
    sv_error e = {0};
    int len = snprintf(path, sizeof path, "%s/%s", folder, file);
    int rc = len < 0 || (size_t)len >= sizeof path
                 ? sv_fail(&e, SV_E_CONFIG, "path", "The path is too long.")
                 : keyfile_read(path, &k, &e);
    if (rc == 0 && k.secret[0])
        rc = sv_fail(&e, SV_E_CONFIG, "secret",
                     "%.160s:4: a public key file holds no secret; make a new key.", path);
    if (rc == 0 && (strcmp(k.name, "bus") == 0 || strcmp(k.name, "broker") == 0))
        rc = sv_fail(&e, SV_E_CONFIG, "name", "%.160s:2: the name %s is the broker's own.", path,
                     k.name);
    if (rc) {
        log_write(LOG_ERROR, "key file left out", LOG_STR("file", file), LOG_ERR(&e));
        keyfile_clear(&k);
        return rc;
    }
    strcpy(ret->public_key, k.public_key);
    strcpy(ret->name, k.name);
    keyfile_clear(&k);
    return 0;
}

int zap_load(zap *z, const char *folder, uint32_t *n, sv_error *err)
{
    table *t = calloc(1, sizeof *t + ZAP_KEYS * sizeof *t->items);
    if (t == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    DIR *d = opendir(folder);
    if (d == NULL && errno != ENOENT) {
        free(t);
        return sv_fail(err, SV_E_IO, "data", "Cannot read the key folder %.180s: %s.", folder,
                       strerror(errno));
    }
    struct dirent *f;
    int rc = 0;
    while (d && rc != SV_E_IO && (f = readdir(d))) {
        size_t len = strlen(f->d_name);
        if (f->d_name[0] == '.' || len < 5 || strcmp(f->d_name + len - 4, ".pub") != 0) continue;
        if (t->n == ZAP_KEYS) {
            log_write(LOG_ERROR, "more key files than are admitted", LOG_INT("most", ZAP_KEYS));
            break;
        }
        rc = read_entry(folder, f->d_name, &t->items[t->n]);
        if (rc == 0) t->n++;
    }
    if (d) closedir(d);
    if (rc == SV_E_IO) { /* no descriptor left, say: that must not look like a revoked key */
        free(t);
        return sv_fail(err, SV_E_IO, "data",
                       "A key file could not be read; the keys stay as they are.");
    }
    finish_table(t);
    if (n) *n = t->n;
    table *small = realloc(t, sizeof *t + (t->n + 1) * sizeof *t->items);
    swap_table(z, small ? small : t);
    return 0;
}

int zap_admit(zap *z, const keyfile *k)
{
    uint32_t n = z->keys ? z->keys->n : 0;
    if (n >= ZAP_KEYS) return SV_E_TOO_LARGE;
    if (find(z->keys, k->public_key)) return SV_E_CONFLICT;
    table *t = calloc(1, sizeof *t + (n + 1) * sizeof *t->items);
    if (t == NULL) return SV_E_NO_MEMORY;
    if (n) memcpy(t->items, z->keys->items, n * sizeof *t->items);
    strcpy(t->items[n].public_key, k->public_key);
    strcpy(t->items[n].name, k->name);
    t->n = n + 1;
    qsort(t->items, t->n, sizeof *t->items, compare);
    swap_table(z, t);
    return 0;
}

bool zap_admits(zap *z, const char *public_key, const char *name)
{
    pthread_mutex_lock(&z->lock);
    const entry *e = find(z->keys, public_key);
    bool yes = e && strcmp(e->name, name) == 0;
    pthread_mutex_unlock(&z->lock);
    return yes;
}

zap_stats zap_get_stats(const zap *z)
{
    return (zap_stats){.admitted = z->admitted, .refused = z->refused, .malformed = z->malformed};
}

void zap_quiet(zap *z, bool on)
{
    z->quiet = on;
}

/* ---- the decision ---- */

static bool read_number(sv_str *s, char end, uint64_t *ret)
{
    uint64_t v = 0;
    uint32_t i = 0;
    for (; i < s->n && s->p[i] >= '0' && s->p[i] <= '9'; i++) {
        if (v > UINT32_MAX / 10) return false;
        v = v * 10 + (uint64_t)(s->p[i] - '0');
    }
    bool ended = end ? i < s->n && s->p[i] == end : i == s->n;
    if (i == 0 || !ended) return false;
    s->p += end ? i + 1 : i;
    s->n -= end ? i + 1 : i;
    *ret = v;
    return true;
}

/* libzmq 4.3.4 describes a peer on a Unix socket as "localhost:UID:GID:PID". The numeric form of an
 * IP address cannot begin with this word, so a tcp peer cannot pass for a local one. */
static bool local_peer(sv_str address, uint64_t *uid, uint64_t *pid)
{
    static const char prefix[] = "localhost:";
    uint64_t gid;
    if (address.n < sizeof prefix || memcmp(address.p, prefix, sizeof prefix - 1) != 0)
        return false;
    sv_str rest = {address.p + sizeof prefix - 1, address.n - (uint32_t)(sizeof prefix - 1)};
    return read_number(&rest, ':', uid) && read_number(&rest, ':', &gid) &&
           read_number(&rest, 0, pid);
}

static bool loopback(sv_str address)
{
    char text[INET6_ADDRSTRLEN + 1];
    struct in_addr v4;
    struct in6_addr v6;
    if (address.n == 0 || address.n >= sizeof text || memchr(address.p, 0, address.n)) return false;
    memcpy(text, address.p, address.n);
    text[address.n] = 0;
    if (inet_pton(AF_INET, text, &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
    if (inet_pton(AF_INET6, text, &v6) != 1) return false;
    return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
}

/* One ZMTP property: length of the name (1), name, length of the value (4, big-endian), value. */
static void add_property(zap_reply *r, const char *name, const char *value)
{
    size_t n = strlen(name), v = strlen(value);
    assert(v < 256 && r->metadata_n + 1 + n + 4 + v <= sizeof r->metadata);
    uint8_t *p = r->metadata + r->metadata_n;
    *p++ = (uint8_t)n;
    memcpy(p, name, n);
    memcpy(p + n, (const uint8_t[]){0, 0, 0, (uint8_t)v}, 4);
    memcpy(p + n + 4, value, v);
    r->metadata_n += (uint32_t)(1 + n + 4 + v);
}

static void decide_curve(zap *z, sv_str key, sv_str address, zap_reply *r)
{
    char text[KEYFILE_Z85 + 1], pid_text[16];
    uint64_t uid, pid;
    zmq_z85_encode(text, (const uint8_t *)key.p, key.n);
    pthread_mutex_lock(&z->lock);
    const entry *e = find(z->keys, text);
    if (e) snprintf(r->user_id, sizeof r->user_id, "key:%s", e->name);
    pthread_mutex_unlock(&z->lock);
    if (e == NULL) {
        r->text = "This key is not admitted";
        return;
    }
    add_property(r, ZAP_META_KEY, text);
    if (local_peer(address, &uid, &pid)) {
        snprintf(pid_text, sizeof pid_text, "%u", (unsigned)pid);
        add_property(r, ZAP_META_PID, pid_text);
    }
    r->status = "200";
    r->text = "OK";
}

static void decide_null(zap *z, bool measure, sv_str address, zap_reply *r)
{
    uint64_t uid, pid;
    if (measure) {
        r->text = "Only loopback addresses are admitted here";
        if (!loopback(address)) return;
        strcpy(r->user_id, "none");
    } else {
        r->text = "Only processes of the broker's own user are admitted here";
        if (!local_peer(address, &uid, &pid) || uid != z->uid) return;
        snprintf(r->user_id, sizeof r->user_id, "pid:%u", (unsigned)pid);
    }
    r->status = "200";
    r->text = "OK";
}

void zap_decide(zap *z, const zap_request *q, zap_reply *r)
{
    enum { VERSION, REQUEST, DOMAIN, ADDRESS, IDENTITY, MECHANISM, KEY };
    *r = (zap_reply){.status = "400", .text = "The request is malformed", .malformed = true};
    if (q->n <= MECHANISM || q->n > KEY + 1 || !sv_str_is(q->frames[VERSION], "1.0")) return;
    sv_str mechanism = q->frames[MECHANISM];
    bool measure = sv_str_is(q->frames[DOMAIN], ZAP_DOMAIN_NULL);
    if (!measure && !sv_str_is(q->frames[DOMAIN], ZAP_DOMAIN)) {
        r->text = "The domain is not served here";
    } else if (sv_str_is(mechanism, "NULL") && q->n == KEY) {
        r->malformed = false;
        decide_null(z, measure, q->frames[ADDRESS], r);
    } else if (sv_str_is(mechanism, "CURVE") && q->n == KEY + 1 && q->frames[KEY].n == 32 &&
               !measure) {
        r->malformed = false;
        decide_curve(z, q->frames[KEY], q->frames[ADDRESS], r);
    } else {
        r->text = "The mechanism is not served here";
    }
}

/* ---- the handler's thread ---- */

static bool send_frame(void *socket, const void *p, size_t n, bool more)
{
    int rc;
    do
        rc = zmq_send(socket, p, n, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0));
    while (rc < 0 && errno == EINTR);
    return rc >= 0;
}

/* `head`: routing id and delimiter; `id`: the request's own id. */
static void answer(zap *z, sv_str rid, sv_str id, const zap_reply *r)
{
    sv_str out[] = {rid,
                    {"", 0},
                    {"1.0", 3},
                    id,
                    sv_cstr(r->status),
                    sv_cstr(r->text),
                    sv_cstr(r->user_id),
                    {(const char *)r->metadata, r->metadata_n}};
    size_t n = sizeof out / sizeof *out;
    for (size_t i = 0; i < n; i++)
        if (!send_frame(z->socket, out[i].p, out[i].n, i + 1 < n)) return;
}

static void count(zap *z, const zap_reply *r, sv_str address)
{
    if (r->status[0] == '2') {
        z->admitted++;
        return;
    }
    z->refused++;
    if (r->malformed) z->malformed++;
    if (!z->quiet)
        log_write(LOG_WARN, "connection refused", LOG_SLICE("address", address),
                  LOG_STR("reason", r->text));
}

/* Takes one request of any number of frames; false when there is none or the context ends. */
static bool serve_one(zap *z)
{
    enum { KEPT = 16 };
    zmq_msg_t parts[KEPT], part;
    uint32_t n = 0;
    bool more = true;
    while (more) {
        zmq_msg_init(&part);
        if (zmq_msg_recv(&part, z->socket, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&part);
            if (errno == EINTR) continue;
            break;
        }
        more = zmq_msg_more(&part);
        if (n < KEPT) {
            zmq_msg_init(&parts[n]);
            zmq_msg_move(&parts[n], &part);
        }
        zmq_msg_close(&part);
        n++;
    }
    if (n == 0) return false;
    uint32_t kept = n < KEPT ? n : KEPT;
    sv_str f[KEPT] = {{NULL, 0}};
    for (uint32_t i = 0; i < kept; i++)
        f[i] = (sv_str){zmq_msg_data(&parts[i]), (uint32_t)zmq_msg_size(&parts[i])};
    zap_request q = {.n = n < 2 ? 0 : n - 2};
    for (uint32_t i = 2; i < kept; i++)
        q.frames[i - 2] = f[i];
    zap_reply r;
    zap_decide(z, &q, &r);
    count(z, &r, q.n > 3 ? q.frames[3] : (sv_str){NULL, 0});
    answer(z, f[0], q.n > 1 ? q.frames[1] : (sv_str){"", 0}, &r);
    for (uint32_t i = 0; i < kept; i++)
        zmq_msg_close(&parts[i]);
    return true;
}

static void *run(void *arg)
{
    zap *z = arg;
    pthread_setname_np(pthread_self(), "zap");
    zmq_pollitem_t items[] = {{z->socket, 0, ZMQ_POLLIN, 0}, {z->stop_out, 0, ZMQ_POLLIN, 0}};
    for (;;) {
        if (zmq_poll(items, 2, -1) < 0 && errno != EINTR) break;
        if (items[1].revents & ZMQ_POLLIN) break;
        while (serve_one(z)) {
        }
    }
    return NULL;
}

/* ---- life ---- */

static void *make_socket(void *context, int type, const char *address, bool bind)
{
    void *s = zmq_socket(context, type);
    if (s == NULL) return NULL;
    int zero = 0;
    zmq_setsockopt(s, ZMQ_LINGER, &zero, sizeof zero);
    if ((bind ? zmq_bind(s, address) : zmq_connect(s, address)) == 0) return s;
    int kept = errno;
    zmq_close(s);
    errno = kept;
    return NULL;
}

int zap_start(void *zmq_context, uid_t uid, zap **ret, sv_error *err)
{
    zap *z = calloc(1, sizeof *z);
    if (z == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    z->uid = uid;
    pthread_mutex_init(&z->lock, NULL);
    char stop[64];
    snprintf(stop, sizeof stop, "inproc://samovar.zap.stop.%p", (void *)z);
    z->socket = make_socket(zmq_context, ZMQ_ROUTER, endpoint, true);
    z->stop_out = z->socket ? make_socket(zmq_context, ZMQ_PAIR, stop, true) : NULL;
    z->stop_in = z->stop_out ? make_socket(zmq_context, ZMQ_PAIR, stop, false) : NULL;
    int failed = z->stop_in ? pthread_create(&z->thread, NULL, run, z) : errno;
    z->running = z->stop_in && failed == 0;
    if (!z->running) {
        zap_stop(z);
        return sv_fail(err, SV_E_IO, NULL, "The connection guard (ZAP) cannot start: %s.",
                       zmq_strerror(failed));
    }
    *ret = z;
    return 0;
}

void zap_stop(zap *z)
{
    if (z == NULL) return;
    if (z->running) {
        while (zmq_send(z->stop_in, "", 0, 0) < 0 && errno == EINTR) {
        }
        pthread_join(z->thread, NULL);
    }
    void *sockets[] = {z->socket, z->stop_in, z->stop_out};
    for (size_t i = 0; i < 3; i++)
        if (sockets[i]) zmq_close(sockets[i]);
    pthread_mutex_destroy(&z->lock);
    free(z->keys);
    free(z);
}

int zap_protect(void *socket, const char *domain)
{
    int one = 1;
    if (zmq_setsockopt(socket, ZMQ_ZAP_DOMAIN, domain, strlen(domain)) ||
        zmq_setsockopt(socket, OPTION_ZAP_ENFORCE_DOMAIN, &one, sizeof one))
        return SV_E_IO;
    return 0;
}
