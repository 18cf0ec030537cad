/*  http_client.c - transfers on one curl multi handle driven by the loop.
 *
 *  libcurl calls back for sockets and for its one-shot timer; those callbacks only note what it
 *  wants. libcurl itself is entered from a descriptor event, from its timer, and from the user's
 *  three calls. While it runs (`inside`), the user may be called back (head, data) and may start,
 *  cancel or resume any transfer: what would enter libcurl again is put off until it returned:
 *  cancelled transfers wait on `doomed`, started and resumed ones on `waiting` for the `work` timer.
 *  A resume is always put off, so that http_resume never calls back.
 *
 *  A transfer's own clocks are one timer set to the earliest of what applies in its phase:
 *  connecting, waiting for the head, reading the body; the total bounds them all. While the user has
 *  paused a transfer its silence is the user's, so the idle clock stands.
 *
 *  HTTP/1.1 only: a cancelled transfer is a closed connection, which every provider understands at
 *  once, and a paused one is held by TCP instead of by libcurl's memory. */
#include "http_client.h"

#include "error.h"
#include "http_guard.h"
#include "http_request.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
    SPARE_MAX = 256,        /* easy handles kept for reuse */
    IDLE_CONNECTIONS = 512, /* kept alive for reuse */
    HEAD_BYTES = 65536,     /* all header lines of an answer */
    HEADER_VALUE = 256
};

typedef enum phase { PHASE_CONNECT, PHASE_SENT, PHASE_BODY } phase;

struct http_transfer {
    http_client *client;
    http_transfer *prev, *next; /* open transfers */
    http_transfer *doomed_next;
    http_transfer *waiting_prev, *waiting_next; /* to be added or resumed */
    CURL *easy;
    bool added;  /* to the multi handle */
    bool doomed; /* cancelled: no callback may come */
    bool waiting, paused, resume, head_done;
    phase phase;
    bool final_head; /* the status line seen last was not a 1xx */
    http_trust trust;
    bool local_only; /* plain http of the class OPERATOR_TLS */
    bool spoilt;     /* the easy handle is not for reuse */
    http_body_reader upload;
    http_events ev;
    void *arg;
    struct curl_slist *headers;
    uint32_t first_byte_ms, idle_ms;
    uint64_t started_us, first_byte_us, heard_us, total_at_us, phase_at_us;
    loop_timer timer;
    size_t max_body, body, head_bytes;
    int code; /* why a callback stopped the transfer */
    sv_error err;
    http_head head;
    char content_type[HEADER_VALUE], retry_after[HEADER_VALUE], retry_after_ms[HEADER_VALUE],
        request_id[HEADER_VALUE], via[HEADER_VALUE];
    bool encoded;
    char words[CURL_ERROR_SIZE];
};

typedef struct watch {
    loop_fd *fd;
    http_client *client;
} watch;

struct http_client {
    loop *loop;
    CURLM *multi;
    loop_timer timer; /* libcurl's */
    loop_timer work;  /* put-off starts and resumes */
    http_transfer *open, *doomed, *waiting, *waiting_last;
    char *checked[HTTP_TRUSTS]; /* by class: the URL that was found acceptable last */
    CURL *spare[SPARE_MAX];
    size_t n_spare, n_waiting;
    int inside;
};

static void finish(http_transfer *t, int code);
static size_t stop(http_transfer *t, int code, const char *words);
static void arm(http_transfer *t);

/* ---- entering libcurl ---- */

static void enter(http_client *c)
{
    assert(c->inside == 0);
    c->inside++;
}

static void on_work(void *arg);

/* Leaves it to the work timer to add or resume `t`. */
static int put_off(http_transfer *t)
{
    http_client *c = t->client;
    if (t->waiting) return 0;
    if (c->work.slot == 0 && loop_timer_set(c->loop, &c->work, 0, on_work, c))
        return SV_E_NO_MEMORY;
    t->waiting = true;
    t->waiting_prev = c->waiting_last;
    t->waiting_next = NULL;
    if (c->waiting_last)
        c->waiting_last->waiting_next = t;
    else
        c->waiting = t;
    c->waiting_last = t;
    c->n_waiting++;
    return 0;
}

static void wait_no_more(http_transfer *t)
{
    http_client *c = t->client;
    if (!t->waiting) return;
    t->waiting = false;
    c->n_waiting--;
    if (t->waiting_prev)
        t->waiting_prev->waiting_next = t->waiting_next;
    else
        c->waiting = t->waiting_next;
    if (t->waiting_next)
        t->waiting_next->waiting_prev = t->waiting_prev;
    else
        c->waiting_last = t->waiting_prev;
}

static void forget(http_transfer *t)
{
    http_client *c = t->client;
    loop_timer_stop(c->loop, &t->timer);
    wait_no_more(t);
    if (t->prev)
        t->prev->next = t->next;
    else
        c->open = t->next;
    if (t->next) t->next->prev = t->prev;
}

/* Authorization headers pass through here. */
static void free_headers(struct curl_slist *list)
{
    for (struct curl_slist *h = list; h; h = h->next)
        explicit_bzero(h->data, strlen(h->data));
    curl_slist_free_all(list);
}

/* A spare handle points to nothing of the transfer that used it. */
static void give_back(http_client *c, CURL *easy)
{
    if (easy == NULL) return;
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, NULL);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, NULL);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, NULL);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, NULL);
    if (c->n_spare < SPARE_MAX)
        c->spare[c->n_spare++] = easy;
    else
        curl_easy_cleanup(easy);
}

/* Takes the easy handle out of libcurl, which closes the connection of an unfinished transfer, and
 * frees everything. */
static void release(http_transfer *t)
{
    http_client *c = t->client;
    forget(t);
    if (t->added) {
        enter(c);
        curl_multi_remove_handle(c->multi, t->easy);
        c->inside--;
    }
    if (t->spoilt)
        curl_easy_cleanup(t->easy);
    else
        give_back(c, t->easy);
    free_headers(t->headers);
    free(t);
}

static void bury_doomed(http_client *c)
{
    while (c->doomed) {
        http_transfer *t = c->doomed;
        c->doomed = t->doomed_next;
        release(t);
    }
}

static int code_of(CURLcode rc, const http_transfer *t)
{
    switch ((int)rc) {
    case CURLE_OK: return 0;
    case CURLE_OUT_OF_MEMORY: return SV_E_NO_MEMORY;
    case CURLE_URL_MALFORMAT: return SV_E_INVALID;
    case CURLE_OPERATION_TIMEDOUT: return SV_E_PROVIDER_TIMEOUT;
    case CURLE_ABORTED_BY_CALLBACK: return SV_E_IO; /* the body's file cannot be read */
    case CURLE_UNSUPPORTED_PROTOCOL:                /* HTTP/0.9: no status line */
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
    case CURLE_CHUNK_FAILED: return SV_E_PROVIDER_GARBAGE;
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE: return SV_E_PROVIDER_CUT;
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR: /* a connection lost before any answer is one that was not there */
        return t->phase == PHASE_BODY ? SV_E_PROVIDER_CUT : SV_E_PROVIDER_UNREACHABLE;
    default: return SV_E_PROVIDER_UNREACHABLE;
    }
}

/* Finished transfers, after every visit to libcurl. */
static void collect(http_client *c)
{
    CURLMsg *m;
    int left;
    bury_doomed(c);
    while ((m = curl_multi_info_read(c->multi, &left)) != NULL) {
        if (m->msg != CURLMSG_DONE) continue;
        CURLcode rc = m->data.result;
        http_transfer *t = NULL;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
        assert(t && t->client == c);
        if (t->code == 0 && rc != CURLE_OK) {
            t->code = code_of(rc, t);
            sv_fail(&t->err, t->code, NULL, NULL);
            sv_error_detail(&t->err, "%s", t->words[0] ? t->words : curl_easy_strerror(rc));
        }
        /* libcurl takes a head that breaks off for a complete one. */
        if (rc == CURLE_OK && !t->head_done) stop(t, SV_E_PROVIDER_CUT, "the head is incomplete");
        finish(t, t->code);
        bury_doomed(c);
    }
}

static void act(http_client *c, curl_socket_t fd, int bits)
{
    int running;
    enter(c);
    curl_multi_socket_action(c->multi, fd, bits, &running);
    c->inside--;
    collect(c);
}

static void on_fd(void *arg, int fd, uint32_t events)
{
    watch *w = arg;
    int bits = 0;
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP)) bits |= CURL_CSELECT_IN;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) bits |= CURL_CSELECT_OUT;
    act(w->client, fd, bits);
}

static void on_timer(void *arg)
{
    act(arg, CURL_SOCKET_TIMEOUT, 0);
}

/* ---- what libcurl asks for ---- */

static int curl_wants_timer(CURLM *multi, long timeout_ms, void *arg)
{
    (void)multi;
    http_client *c = arg;
    if (timeout_ms < 0)
        loop_timer_stop(c->loop, &c->timer);
    else if (loop_timer_set(c->loop, &c->timer, (uint64_t)timeout_ms * 1000, on_timer, c))
        return -1;
    return 0;
}

static int curl_wants_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *of_socket)
{
    (void)easy;
    http_client *c = arg;
    watch *w = of_socket;
    if (what == CURL_POLL_REMOVE) {
        if (w) {
            loop_fd_del(w->fd);
            free(w);
            curl_multi_assign(c->multi, fd, NULL);
        }
        return 0;
    }
    uint32_t events = (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0) |
                      (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0);
    if (w) return loop_fd_mod(w->fd, events) ? -1 : 0;
    w = malloc(sizeof *w);
    if (w == NULL) return -1;
    w->client = c;
    if (loop_fd_add(c->loop, fd, events, on_fd, w, &w->fd)) {
        free(w);
        return -1;
    }
    curl_multi_assign(c->multi, fd, w);
    return 0;
}

/* ---- callbacks of one transfer ---- */

/* Notes why the transfer is to end; libcurl then reports it as done. */
static size_t stop(http_transfer *t, int code, const char *words)
{
    if (t->code == 0) {
        t->code = code;
        sv_fail(&t->err, code, NULL, NULL);
        sv_error_detail(&t->err, "%s", words);
    }
    return 0;
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
    (void)purpose;
    http_transfer *t = arg;
    if (t->doomed) return CURL_SOCKET_BAD;
    /* One forbidden address of a name condemns the transfer: mixed answers are an attack. */
    if (t->trust == HTTP_TRUST_TENANT && (t->code || !http_address_public(&a->addr))) {
        stop(t, SV_E_URL_FORBIDDEN, "an address of the host is not public");
        return CURL_SOCKET_BAD;
    }
    if (t->local_only && http_address_public(&a->addr)) {
        stop(t, SV_E_URL_FORBIDDEN, "plain http to a public address");
        return CURL_SOCKET_BAD;
    }
    int fd = socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
    if (fd < 0) sv_error_detail(&t->err, "socket: %s", strerror(errno));
    return fd < 0 ? CURL_SOCKET_BAD : fd;
}

/* The connection stands. A kept-alive one never passed open_socket for this transfer, so its
 * address is judged here again. */
static int before_request(void *arg, char *ip, char *local_ip, int port, int local_port)
{
    (void)local_ip, (void)port, (void)local_port;
    http_transfer *t = arg;
    if (t->doomed) return CURL_PREREQFUNC_ABORT;
    if (t->trust == HTTP_TRUST_TENANT && !http_address_text_public(ip)) {
        stop(t, SV_E_URL_FORBIDDEN, "the connection's address is not public");
        return CURL_PREREQFUNC_ABORT;
    }
    t->phase = PHASE_SENT;
    t->phase_at_us = loop_now_us(t->client->loop);
    arm(t);
    return CURL_PREREQFUNC_OK;
}

static sv_str trimmed(const char *p, size_t n)
{
    while (n > 0 && (*p == ' ' || *p == '\t')) {
        p++;
        n--;
    }
    while (n > 0 && (p[n - 1] == ' ' || p[n - 1] == '\t' || p[n - 1] == '\r' || p[n - 1] == '\n'))
        n--;
    return (sv_str){p, (uint32_t)n};
}

/* A value that does not fit or has control characters counts as absent. */
static void keep_value(char out[HEADER_VALUE], sv_str v)
{
    if (v.n >= HEADER_VALUE) return;
    for (uint32_t i = 0; i < v.n; i++)
        if ((unsigned char)v.p[i] < 0x20 || (unsigned char)v.p[i] >= 0x7f) return;
    memcpy(out, v.p, v.n);
    out[v.n] = 0;
}

static void take_header(http_transfer *t, const char *line, size_t n)
{
    const char *colon = memchr(line, ':', n);
    if (colon == NULL) return;
    size_t len = (size_t)(colon - line);
    sv_str v = trimmed(colon + 1, n - len - 1);
    if (len == 12 && strncasecmp(line, "content-type", len) == 0)
        keep_value(t->content_type, v);
    else if (len == 11 && strncasecmp(line, "retry-after", len) == 0)
        keep_value(t->retry_after, v);
    else if (len == 14 && strncasecmp(line, "retry-after-ms", len) == 0)
        keep_value(t->retry_after_ms, v);
    else if (len == 3 && strncasecmp(line, "via", len) == 0)
        keep_value(t->via, v);
    else if ((len == 12 && strncasecmp(line, "x-request-id", len) == 0) ||
             (len == 10 && strncasecmp(line, "request-id", len) == 0))
        keep_value(t->request_id, v);
    else if (len == 16 && strncasecmp(line, "content-encoding", len) == 0)
        t->encoded = v.n > 0 && !(v.n == 8 && strncasecmp(v.p, "identity", 8) == 0);
}

static void status_line(http_transfer *t)
{
    long status = 0;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    t->head.status = (int)status;
    t->final_head = status >= 200;
    t->content_type[0] = t->retry_after[0] = t->request_id[0] = t->via[0] = 0;
    t->retry_after_ms[0] = 0;
    t->encoded = false;
    uint64_t now = loop_now_us(t->client->loop);
    if (t->final_head && t->first_byte_us == 0) {
        t->first_byte_us = now > t->started_us ? now - t->started_us : 1;
        t->phase = PHASE_BODY;
        t->heard_us = now;
        arm(t);
    }
}

static size_t head_complete(http_transfer *t, size_t n)
{
    curl_off_t length = -1;
    if (t->head.status > 599) return stop(t, SV_E_PROVIDER_GARBAGE, "status above 599");
    if (t->encoded)
        return stop(t, SV_E_PROVIDER_GARBAGE, "content-encoding although identity was asked for");
    curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    t->head.content_length = length;
    if (length > 0 && (uint64_t)length > t->max_body)
        return stop(t, SV_E_PROVIDER_TOO_LARGE, "content-length is above the limit");
    t->head.content_type = sv_cstr(t->content_type);
    t->head.retry_after = sv_cstr(t->retry_after);
    t->head.retry_after_ms = sv_cstr(t->retry_after_ms);
    t->head.request_id = sv_cstr(t->request_id);
    t->head.via = sv_cstr(t->via);
    t->head_done = true;
    t->heard_us = loop_now_us(t->client->loop);
    if (t->ev.head) t->ev.head(t->arg, &t->head);
    return t->doomed ? 0 : n;
}

static size_t on_header(char *line, size_t size, size_t items, void *arg)
{
    http_transfer *t = arg;
    size_t n = size * items;
    if (t->doomed || t->code) return 0;
    t->head_bytes += n;
    if (t->head_bytes > HEAD_BYTES)
        return stop(t, SV_E_PROVIDER_GARBAGE, "the head is above 64 KiB");
    if (t->head_done) return n; /* trailers */
    if (n >= 5 && strncasecmp(line, "HTTP/", 5) == 0) {
        status_line(t);
        return n;
    }
    bool blank = n <= 2 && (line[0] == '\r' || line[0] == '\n');
    if (blank && t->final_head) return head_complete(t, n);
    if (!blank) take_header(t, line, n);
    return n;
}

static size_t on_body(char *bytes, size_t size, size_t items, void *arg)
{
    http_transfer *t = arg;
    size_t n = size * items;
    if (t->doomed || t->code) return 0;
    if (n > t->max_body - t->body)
        return stop(t, SV_E_PROVIDER_TOO_LARGE, "the answer is above the limit");
    t->heard_us = loop_now_us(t->client->loop);
    bool taken = t->ev.data == NULL || t->ev.data(t->arg, (sv_str){bytes, (uint32_t)n});
    if (t->doomed) return 0;
    if (!taken) {
        t->paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    t->body += n;
    return n;
}

/* ---- clocks ---- */

static void on_clock(void *arg);

static void arm(http_transfer *t)
{
    uint64_t at = t->total_at_us, limit_ms = 0, from = t->phase_at_us;
    switch (t->phase) {
    case PHASE_CONNECT: return; /* armed once by http_start */
    case PHASE_SENT: limit_ms = t->first_byte_ms; break;
    case PHASE_BODY:
        limit_ms = t->idle_ms;
        from = t->heard_us;
        break;
    }
    if (limit_ms && from + limit_ms * 1000 < at) at = from + limit_ms * 1000;
    uint64_t now = loop_now_us(t->client->loop);
    /* Re-arming an armed timer cannot fail. */
    loop_timer_set(t->client->loop, &t->timer, at > now ? at - now : 0, on_clock, t);
}

static void time_out(http_transfer *t, const char *what)
{
    t->code = SV_E_PROVIDER_TIMEOUT;
    sv_fail(&t->err, t->code, NULL, NULL);
    sv_error_detail(&t->err, "%s", what);
    finish(t, t->code);
}

static void on_clock(void *arg)
{
    http_transfer *t = arg;
    uint64_t now = loop_now_us(t->client->loop);
    if (now >= t->total_at_us) {
        time_out(t, "total time");
    } else if (t->phase == PHASE_CONNECT) {
        time_out(t, "connecting");
    } else if (t->phase == PHASE_SENT && t->first_byte_ms &&
               now >= t->phase_at_us + (uint64_t)t->first_byte_ms * 1000) {
        time_out(t, "waiting for the first byte");
    } else if (t->phase == PHASE_BODY && t->idle_ms && !t->paused &&
               now >= t->heard_us + (uint64_t)t->idle_ms * 1000) {
        time_out(t, "silence in the middle of the answer");
    } else {
        if (t->paused) t->heard_us = now;
        arm(t);
    }
}

/* ---- transfers ---- */

static void finish(http_transfer *t, int code)
{
    http_events ev = t->ev;
    void *arg = t->arg;
    sv_error err = t->err;
    release(t);
    if (ev.done) ev.done(arg, code, &err);
}

static int add_to_curl(http_transfer *t)
{
    t->added = curl_multi_add_handle(t->client->multi, t->easy) == CURLM_OK;
    return t->added ? 0 : SV_E_NO_MEMORY;
}

static void resume(http_transfer *t)
{
    http_client *c = t->client;
    t->resume = false;
    if (!t->paused) return;
    t->paused = false;
    t->heard_us = loop_now_us(c->loop);
    enter(c);
    CURLcode rc = curl_easy_pause(t->easy, CURLPAUSE_CONT);
    c->inside--;
    if (rc == CURLE_OK || t->doomed) return;
    /* A callback refused the bytes it was given again; libcurl reports that here and nowhere else.
     */
    if (t->code == 0) stop(t, code_of(rc, t), curl_easy_strerror(rc));
    finish(t, t->code);
}

/* One batch: what is put off meanwhile waits for the next turn. */
static void on_work(void *arg)
{
    http_client *c = arg;
    for (size_t n = c->n_waiting; n > 0 && c->waiting; n--) {
        http_transfer *t = c->waiting;
        wait_no_more(t);
        if (t->code) {
            finish(t, t->code);
        } else if (!t->added) {
            if (add_to_curl(t)) {
                stop(t, SV_E_NO_MEMORY, "curl_multi_add_handle");
                finish(t, t->code);
            }
        } else if (t->resume) {
            resume(t);
        }
        bury_doomed(c);
    }
    if (c->waiting && c->work.slot == 0) loop_timer_set(c->loop, &c->work, 0, on_work, c);
    collect(c);
}

static CURL *easy_new(void)
{
    CURL *e = curl_easy_init();
    if (e == NULL) return NULL;
    bool ok = true;
#define SET(option, value) ok = curl_easy_setopt(e, option, value) == CURLE_OK && ok
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L); /* cancelling never waits for a name lookup */
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_HTTP09_ALLOWED, 0L);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_REDIR_PROTOCOLS_STR, "https");
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_TCP_NODELAY, 1L);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)INT32_MAX); /* own clocks */
    SET(CURLOPT_USERAGENT, "samovar/" SAMOVAR_VERSION);
    SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
    SET(CURLOPT_PREREQFUNCTION, before_request);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_WRITEFUNCTION, on_body);
#undef SET
    if (!ok) {
        curl_easy_cleanup(e);
        return NULL;
    }
    return e;
}

/* The text of a URL is judged once while it stays the same; its address is judged at every connect.
 */
static int check_url(http_client *c, const http_spec *spec, sv_error *err)
{
    char **last = &c->checked[spec->trust];
    if (*last && strcmp(*last, spec->url) == 0) return 0;
    int rc = http_url_check(spec->url, spec->trust, err);
    if (rc) return rc;
    free(*last);
    *last = strdup(spec->url); /* NULL: it is judged again next time */
    return 0;
}

static int check_spec(http_client *c, const http_spec *spec, sv_error *err)
{
    size_t n = strlen(spec->method);
    if (n == 0 || n > 16 || strspn(spec->method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != n)
        return sv_fail(err, SV_E_INVALID, "method", "The method must be 1 to 16 capital letters.");
    if (spec->total_ms == 0)
        return sv_fail(err, SV_E_INVALID, "total_ms", "A request without a total time is refused.");
    return check_url(c, spec, err);
}

static int set_request(http_transfer *t, const http_spec *spec, sv_error *err)
{
    CURL *e = t->easy;
    bool ok = true;
    bool body = spec->body.n > 0 || strcmp(spec->method, "POST") == 0;
#define SET(option, value) ok = curl_easy_setopt(e, option, value) == CURLE_OK && ok
    SET(CURLOPT_PRIVATE, t);
    SET(CURLOPT_ERRORBUFFER, t->words);
    SET(CURLOPT_URL, spec->url);
    SET(CURLOPT_PROTOCOLS_STR, spec->trust == HTTP_TRUST_TENANT ? "https" : "http,https");
    SET(CURLOPT_HTTPHEADER, t->headers);
    SET(CURLOPT_HTTPGET, 1L);
    if (body) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)spec->body.n);
        SET(CURLOPT_POSTFIELDS, spec->body.p ? spec->body.p : "");
    }
    SET(CURLOPT_NOBODY, strcmp(spec->method, "HEAD") == 0 ? 1L : 0L);
    SET(CURLOPT_CUSTOMREQUEST,
        strcmp(spec->method, body ? "POST" : "GET") == 0 ? NULL : spec->method);
    ok = ok && http_request_special(e, spec, &t->upload) == 0;
    SET(CURLOPT_OPENSOCKETDATA, t);
    SET(CURLOPT_PREREQDATA, t);
    SET(CURLOPT_HEADERDATA, t);
    SET(CURLOPT_WRITEDATA, t);
#undef SET
    return ok ? 0 : sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
}

static int start_clocks(http_transfer *t, const http_spec *spec)
{
    uint64_t now = loop_now_us(t->client->loop);
    uint64_t first_us = (uint64_t)spec->total_ms * 1000;
    t->started_us = t->phase_at_us = now;
    t->total_at_us = now + first_us;
    if (spec->connect_ms && (uint64_t)spec->connect_ms * 1000 < first_us)
        first_us = (uint64_t)spec->connect_ms * 1000;
    return loop_timer_set(t->client->loop, &t->timer, first_us, on_clock, t);
}

/* ---- public ---- */

http_transfer *http_start(http_client *c, const http_spec *spec, const http_events *ev, void *arg,
                          sv_error *err)
{
    if (check_spec(c, spec, err)) return NULL;
    http_transfer *t = calloc(1, sizeof *t);
    if (t == NULL) {
        sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
        return NULL;
    }
    t->client = c;
    t->ev = *ev;
    t->arg = arg;
    t->trust = spec->trust;
    t->local_only =
        spec->trust == HTTP_TRUST_OPERATOR_TLS && strncasecmp(spec->url, "http:", 5) == 0;
    t->spoilt = spec->file || spec->sign;
    t->upload = (http_body_reader){.loop = c->loop, .moved_us = &t->phase_at_us};
    t->first_byte_ms = spec->first_byte_ms;
    t->idle_ms = spec->idle_ms;
    t->max_body = spec->max_body;
    t->easy = c->n_spare ? c->spare[--c->n_spare] : easy_new();
    t->next = c->open;
    if (c->open) c->open->prev = t;
    c->open = t;
    int rc = t->easy ? http_request_headers(spec, &t->headers, err) : SV_E_NO_MEMORY;
    if (rc == 0) rc = set_request(t, spec, err);
    if (rc == 0) rc = start_clocks(t, spec);
    if (rc == 0) rc = c->inside ? put_off(t) : add_to_curl(t);
    if (rc) {
        sv_fail(err, rc, NULL, NULL);
        release(t);
        return NULL;
    }
    return t;
}

void http_cancel(http_transfer *t)
{
    http_client *c = t->client;
    assert(!t->doomed);
    if (c->inside == 0) {
        release(t);
        return;
    }
    t->doomed = true;
    t->doomed_next = c->doomed;
    c->doomed = t;
}

void http_resume(http_transfer *t)
{
    if (t->doomed || t->resume) return;
    t->resume = true;
    if (put_off(t)) stop(t, SV_E_NO_MEMORY, "no timer to resume with");
}

uint64_t http_sent_bytes(const http_transfer *t)
{
    curl_off_t n = 0;
    curl_easy_getinfo(t->easy, CURLINFO_SIZE_UPLOAD_T, &n);
    return n > 0 ? (uint64_t)n : 0;
}

uint64_t http_first_byte_us(const http_transfer *t)
{
    return t->first_byte_us;
}

http_client *http_client_new(loop *l, uint32_t max_connections, sv_error *err)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT)) {
        sv_fail(err, SV_E_INTERNAL, NULL, "libcurl cannot be initialised.");
        return NULL;
    }
    http_client *c = calloc(1, sizeof *c);
    CURLM *m = c ? curl_multi_init() : NULL;
    if (m == NULL) {
        free(c);
        curl_global_cleanup();
        sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
        return NULL;
    }
    c->loop = l;
    c->multi = m;
    curl_multi_setopt(m, CURLMOPT_SOCKETFUNCTION, curl_wants_socket);
    curl_multi_setopt(m, CURLMOPT_SOCKETDATA, c);
    curl_multi_setopt(m, CURLMOPT_TIMERFUNCTION, curl_wants_timer);
    curl_multi_setopt(m, CURLMOPT_TIMERDATA, c);
    curl_multi_setopt(m, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)max_connections);
    curl_multi_setopt(
        m, CURLMOPT_MAXCONNECTS,
        (long)(max_connections < IDLE_CONNECTIONS ? max_connections : IDLE_CONNECTIONS));
    curl_multi_setopt(m, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    return c;
}

void http_client_free(http_client *c)
{
    if (c == NULL) return;
    assert(c->inside == 0);
    bury_doomed(c);
    while (c->open)
        release(c->open);
    enter(c);
    while (c->n_spare)
        curl_easy_cleanup(c->spare[--c->n_spare]);
    curl_multi_cleanup(c->multi);
    c->inside--;
    loop_timer_stop(c->loop, &c->timer);
    loop_timer_stop(c->loop, &c->work);
    for (int i = 0; i < HTTP_TRUSTS; i++)
        free(c->checked[i]);
    free(c);
    curl_global_cleanup();
}
