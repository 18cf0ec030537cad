/*  http_server.c - listener, limits, and the lists of connections that have work in a turn.
 *
 *  Two lists drive the connections beyond their own events. `touched` have output: the hook at
 *  the end of the turn flushes each once. `ready` have input left over: the hook of the next
 *  turn runs each once. Output that appears after the hook of its turn ran (from another hook,
 *  or between turns) arms a timer of no delay, so that the loop does not wait.
 *
 *  Addresses are counted in a hash table with chained entries; IPv6 callers count by /64. */
#include "http_conn.h"

#include "error.h"
#include "uuid.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ACCEPTS_TURN = 64, BACKLOG = 1024, SEND_BUFFER = 131072, RETRY_US = 100000 };

static bool on_hook(void *arg);

/* ---- pools ---- */

http_head *server_head_take(http_server *s)
{
    if (s->n_heads) return s->heads[--s->n_heads];
    return malloc(sizeof(http_head) + s->limits.headers * sizeof(http_field));
}

void server_head_give(http_server *s, http_head *h)
{
    if (s->n_heads < HEADS_KEPT)
        s->heads[s->n_heads++] = h;
    else
        free(h);
}

char *server_block_take(http_server *s)
{
    return s->n_blocks ? s->blocks[--s->n_blocks] : malloc(BLOCK_BYTES);
}

void server_block_give(http_server *s, char *block)
{
    if (s->n_blocks < BLOCKS_KEPT)
        s->blocks[s->n_blocks++] = block;
    else
        free(block);
}

const char *server_date(http_server *s)
{
    uint64_t now_s = loop_unix_us(s->l) / 1000000;
    if (now_s != s->date_s) {
        time_t t = (time_t)now_s;
        struct tm tm;
        gmtime_r(&t, &tm);
        strftime(s->date, sizeof s->date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        s->date_s = now_s;
    }
    return s->date;
}

/* ---- lists ---- */

static void wake_up(void *arg)
{
    (void)arg; /* the turn it causes runs the hook */
}

/* When this fails for want of memory the work waits for the loop's next event. */
static void want_hook(http_server *s)
{
    if (!s->in_hook && s->hook_us == loop_now_us(s->l) && s->wake.slot == 0)
        loop_timer_set(s->l, &s->wake, 0, wake_up, s);
}

void server_touch(http_server *s, http_conn *c)
{
    if (c->touched) return;
    c->touched = true;
    TAILQ_INSERT_TAIL(&s->touched, c, touched_link);
    s->n_touched++;
    want_hook(s);
}

void server_ready(http_server *s, http_conn *c)
{
    if (c->ready) return;
    c->ready = true;
    c->ready_us = loop_now_us(s->l);
    TAILQ_INSERT_TAIL(&s->ready, c, ready_link);
    s->n_ready++;
    want_hook(s);
}

static void leave_touched(http_server *s, http_conn *c)
{
    c->touched = false;
    TAILQ_REMOVE(&s->touched, c, touched_link);
    s->n_touched--;
}

static void leave_ready(http_server *s, http_conn *c)
{
    c->ready = false;
    TAILQ_REMOVE(&s->ready, c, ready_link);
    s->n_ready--;
}

static bool on_hook(void *arg)
{
    http_server *s = arg;
    s->hook_us = loop_now_us(s->l);
    s->in_hook = true;
    http_conn *c;
    for (uint32_t n = s->n_ready; n > 0 && (c = TAILQ_FIRST(&s->ready)) != NULL; n--) {
        if (c->ready_us == s->hook_us) break; /* had its share of this turn */
        leave_ready(s, c);
        conn_run(c);
    }
    for (uint32_t n = s->n_touched; n > 0 && (c = TAILQ_FIRST(&s->touched)) != NULL; n--) {
        leave_touched(s, c);
        conn_flush(c);
    }
    s->in_hook = false;
    return s->n_ready > 0 || s->n_touched > 0;
}

/* ---- addresses ---- */

static void peer_key(const http_address *a, uint8_t key[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    memcpy(key, a->ip, 16);
    if (memcmp(a->ip, mapped, sizeof mapped) != 0) memset(key + 8, 0, 8);
}

static conn_peer **peer_find(http_server *s, const uint8_t key[16])
{
    uint64_t hash = s->peer_seed;
    for (int i = 0; i < 16; i++)
        hash = (hash ^ key[i]) * 0x100000001b3;
    conn_peer **at = &s->peers[(hash >> 32) % PEER_BUCKETS];
    while (*at && memcmp((*at)->ip, key, 16) != 0)
        at = &(*at)->next;
    return at;
}

static conn_peer *peer_join(http_server *s, const http_address *a)
{
    uint8_t key[16];
    peer_key(a, key);
    conn_peer **at = peer_find(s, key);
    if (*at == NULL) {
        *at = calloc(1, sizeof **at);
        if (*at == NULL) return NULL;
        memcpy((*at)->ip, key, sizeof key);
    }
    if ((*at)->n >= s->limits.connections_per_address) return NULL;
    (*at)->n++;
    return *at;
}

static void peer_leave(http_server *s, conn_peer *p)
{
    if (--p->n > 0 || p == &s->unknown) return;
    conn_peer **at = peer_find(s, p->ip);
    assert(*at == p);
    *at = p->next;
    free(p);
}

/* ---- accepting ---- */

static void pause_accept(http_server *s, bool paused)
{
    if (s->listen_watch == NULL || s->paused == paused) return;
    if (loop_fd_mod(s->listen_watch, paused ? 0 : EPOLLIN) == 0) s->paused = paused;
}

static void retry_accept(void *arg)
{
    http_server *s = arg;
    if (s->reserve_fd < 0) s->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    pause_accept(s, false);
}

static void pause_for_a_while(http_server *s)
{
    pause_accept(s, true);
    loop_timer_set(s->l, &s->accept_timer, RETRY_US, retry_accept, s);
}

static void address_of(const struct sockaddr_storage *from, http_address *ret)
{
    if (from->ss_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)from;
        memcpy(ret->ip, &six->sin6_addr, 16);
        ret->port = ntohs(six->sin6_port);
        return;
    }
    const struct sockaddr_in *four = (const struct sockaddr_in *)from;
    memset(ret->ip, 0, 10);
    ret->ip[10] = ret->ip[11] = 0xff;
    memcpy(ret->ip + 12, &four->sin_addr, 4);
    ret->port = ntohs(four->sin_port);
}

static void reset_fd(int fd)
{
    http_transport t = {.ops = &http_transport_plain, .fd = fd};
    t.ops->close(&t, true);
}

/* A new connection: within the limits, to be told that it is not, or, with too many of those,
 * reset. */
static void take(http_server *s, int fd, const http_address *from, bool reserve)
{
    s->stats.accepted++;
    bool full = s->stats.connections - s->n_overloaded >= s->limits.connections;
    bool announced = s->proxy_protocol && trusted_has(&s->trusted, from);
    conn_peer *peer = NULL;
    if (!reserve && !full) peer = announced ? &s->unknown : peer_join(s, from);
    if (peer == &s->unknown) peer->n++;
    if (peer == NULL) {
        s->stats.overloaded++;
        if (s->n_overloaded >= HTTP_OVERLOADED) {
            reset_fd(fd);
            return;
        }
        s->n_overloaded++;
    }
    conn_new(s, fd, from, peer, reserve, announced);
}

bool server_place(http_server *s, http_conn *c, const http_address *from)
{
    c->x.remote = *from;
    c->proxied = trusted_has(&s->trusted, from);
    if (c->peer != &s->unknown) return true;
    s->unknown.n--;
    c->peer = peer_join(s, from);
    if (c->peer) return true;
    c->x.overloaded = true;
    s->stats.overloaded++;
    return ++s->n_overloaded <= HTTP_OVERLOADED;
}

static int accept_one(http_server *s, http_address *from)
{
    struct sockaddr_storage addr = {.ss_family = AF_UNSPEC};
    socklen_t n = sizeof addr;
    int fd = accept4(s->listen_fd, (struct sockaddr *)&addr, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) address_of(&addr, from);
    return fd;
}

/* No descriptor is left: the reserve one serves the next caller, then is taken again. */
static void accept_exhausted(http_server *s)
{
    s->stats.exhausted++;
    if (s->reserve_fd < 0) {
        pause_for_a_while(s);
        return;
    }
    close(s->reserve_fd);
    s->reserve_fd = -1;
    http_address from;
    int fd = accept_one(s, &from);
    if (fd < 0) {
        pause_for_a_while(s);
        return;
    }
    pause_accept(s, true);
    take(s, fd, &from, true);
}

static void on_accept(void *arg, int listen_fd, uint32_t events)
{
    http_server *s = arg;
    (void)listen_fd;
    (void)events;
    for (int i = 0; i < ACCEPTS_TURN && !s->paused; i++) {
        http_address from;
        int fd = accept_one(s, &from);
        if (fd >= 0) {
            take(s, fd, &from, false);
            continue;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) return;
        if (errno == EMFILE || errno == ENFILE) {
            accept_exhausted(s);
            return;
        }
        if (errno == ENOMEM || errno == ENOBUFS) {
            pause_for_a_while(s);
            return;
        }
        /* Anything else concerns the connection that was to be taken: accept(2), "Error handling".
         */
    }
}

void server_give_place(http_server *s, conn_peer *peer, bool reserve)
{
    if (peer)
        peer_leave(s, peer);
    else
        s->n_overloaded--;
    if (reserve) retry_accept(s);
}

void server_forget(http_server *s, http_conn *c)
{
    if (c->touched) leave_touched(s, c);
    if (c->ready) leave_ready(s, c);
    TAILQ_REMOVE(&s->all, c, all);
    s->stats.connections--;
    server_give_place(s, c->peer, c->reserve);
    if (s->draining && s->empty && TAILQ_EMPTY(&s->all)) {
        void (*empty)(void *) = s->empty;
        s->empty = NULL;
        empty(s->empty_arg);
    }
}

/* ---- life ---- */

http_server *http_server_new(loop *l, const http_limits *limits, const http_service *service,
                             sv_error *err)
{
    http_server *s = calloc(1, sizeof *s);
    if (s == NULL) {
        sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
        return NULL;
    }
    s->l = l;
    s->limits = *limits;
    s->service = *service;
    s->listen_fd = -1;
    TAILQ_INIT(&s->all);
    TAILQ_INIT(&s->touched);
    TAILQ_INIT(&s->ready);
    uuid_random(&s->peer_seed, sizeof s->peer_seed);
    s->scratch = malloc(HTTP_TURN_BYTES);
    s->headers = calloc(limits->headers, sizeof *s->headers);
    s->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (s->scratch == NULL || s->headers == NULL || loop_hook_add(l, on_hook, s)) {
        http_server_free(s);
        sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
        return NULL;
    }
    return s;
}

void http_server_stop_listening(http_server *s)
{
    loop_timer_stop(s->l, &s->accept_timer);
    loop_fd_del(s->listen_watch);
    s->listen_watch = NULL;
    if (s->listen_fd >= 0) close(s->listen_fd);
    s->listen_fd = -1;
}

void http_server_free(http_server *s)
{
    if (s == NULL) return;
    http_server_stop_listening(s);
    s->empty = NULL;
    while (!TAILQ_EMPTY(&s->all))
        conn_drop(TAILQ_FIRST(&s->all), true);
    loop_timer_stop(s->l, &s->accept_timer);
    loop_timer_stop(s->l, &s->wake);
    loop_hook_del(s->l, on_hook, s);
    while (s->n_heads)
        free(s->heads[--s->n_heads]);
    while (s->n_blocks)
        free(s->blocks[--s->n_blocks]);
    if (s->reserve_fd >= 0) close(s->reserve_fd);
    free(s->scratch);
    free(s->headers);
    free(s);
}

void http_server_transport(http_server *s, http_open_fn *open, void *arg)
{
    s->open = open;
    s->open_arg = arg;
}

static int listen_failed(const char *ip, uint16_t port, const char *step, sv_error *err)
{
    int saved = errno;
    if (saved == EADDRINUSE)
        sv_fail(err, SV_E_CONFIG, "edge.port",
                "Port %u on %s is in use by another program. Stop it, or choose another port: "
                "SAMOVAR_PORT=%u (0 takes a free one).",
                port, ip, port < 65535 ? port + 1 : 7420);
    else if (saved == EACCES)
        sv_fail(err, SV_E_CONFIG, "edge.port",
                "Port %u needs privileges that this process lacks. Choose one above 1023: "
                "SAMOVAR_PORT.",
                port);
    else
        sv_fail(err, SV_E_CONFIG, "edge.host", "Cannot listen on %s port %u: %s.", ip, port,
                strerror(saved));
    sv_error_detail(err, "%s: %s", step, strerror(saved));
    return SV_E_CONFIG;
}

static int open_socket(const struct sockaddr_storage *addr, socklen_t n, bool share, bool held)
{
    int on = 1, send_bytes = SEND_BUFFER;
    int fd = socket(addr->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    /* TCP_NODELAY and the buffer pass to the accepted sockets. Left to itself the kernel buffers
     * megabytes for a client that does not read, which no limit of ours would see. */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) ||
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_bytes, sizeof send_bytes) ||
        (share && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on)) ||
        bind(fd, (const struct sockaddr *)addr, n) || (!held && listen(fd, BACKLOG))) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

void http_server_proxies(http_server *s, const trusted *proxies, bool proxy_protocol)
{
    s->trusted = *proxies;
    s->proxy_protocol = proxy_protocol;
}

int http_server_listen(http_server *s, const char *ip, uint16_t port, bool share, sv_error *err)
{
    struct sockaddr_storage addr = {0};
    struct sockaddr_in *four = (struct sockaddr_in *)&addr;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)&addr;
    socklen_t n = sizeof *four;
    assert(s->listen_fd < 0);
    if (inet_pton(AF_INET, ip, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons(port);
    } else if (inet_pton(AF_INET6, ip, &six->sin6_addr) == 1) {
        six->sin6_family = AF_INET6;
        six->sin6_port = htons(port);
        n = sizeof *six;
    } else {
        return sv_fail(err, SV_E_CONFIG, "edge.host", "\"%s\" is not an IP address.", ip);
    }
    s->listen_fd = open_socket(&addr, n, share, s->held);
    if (s->listen_fd < 0) return listen_failed(ip, port, "bind or listen", err);
    http_address real;
    if (getsockname(s->listen_fd, (struct sockaddr *)&addr, &n))
        return listen_failed(ip, port, "getsockname", err);
    address_of(&addr, &real);
    s->port = real.port;
    if (s->held) return 0;
    int rc = loop_fd_add(s->l, s->listen_fd, EPOLLIN, on_accept, s, &s->listen_watch);
    return rc ? sv_fail(err, rc, NULL, NULL) : 0;
}

void http_server_hold(http_server *s)
{
    s->held = true;
}

int http_server_begin(http_server *s, sv_error *err)
{
    if (!s->held || s->listen_fd < 0) return 0;
    if (listen(s->listen_fd, BACKLOG)) {
        int saved = errno;
        sv_fail(err, SV_E_CONFIG, "edge.port", "Cannot listen on port %u: %s.", s->port,
                strerror(saved));
        return SV_E_CONFIG;
    }
    s->held = false;
    int rc = loop_fd_add(s->l, s->listen_fd, EPOLLIN, on_accept, s, &s->listen_watch);
    return rc ? sv_fail(err, rc, NULL, NULL) : 0;
}

uint16_t http_server_port(const http_server *s)
{
    return s->port;
}

http_server_stats http_server_look(const http_server *s)
{
    return s->stats;
}

void http_server_drain(http_server *s, void (*empty)(void *arg), void *arg)
{
    if (s->draining) return;
    if (s->listen_watch && !s->paused) on_accept(s, s->listen_fd, EPOLLIN);
    http_server_stop_listening(s);
    s->draining = true;
    http_conn *c = TAILQ_FIRST(&s->all);
    while (c) {
        http_conn *next = TAILQ_NEXT(c, all);
        conn_retire(c);
        c = next;
    }
    if (TAILQ_EMPTY(&s->all)) {
        empty(arg);
        return;
    }
    s->empty = empty;
    s->empty_arg = arg;
}
