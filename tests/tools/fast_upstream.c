/*  fast_upstream.c - the fastest OpenAI-compatible provider that measurements can stand on:
 *  one thread, epoll, a fixed completion of about 600 bytes, or a stream of K events. It is not a
 *  server to learn from: it trusts its clients, looks for three things in a request (end, length,
 *  stream and model) and nothing else.
 *
 *  The model name chooses the stream: "k50-d1000" is 50 events, 1,000 us apart; d0 sends all at
 *  once. Any other name takes --chunks and --gap-us. A client that does not read is not written
 *  to. Prints "port N" when it is ready. */
#include "net.h"
#include "opts.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { IN_MAX = 1 << 20, IN_START = 4096, EVENTS = 512 };

typedef struct conn {
    int fd;
    char *in;
    size_t in_n, in_cap;
    char *out; /* what the socket did not take */
    size_t out_n, out_at, out_cap;
    bool want_out, in_heap;
    uint32_t left, sent; /* events of the open stream */
    uint64_t gap_us, due;
} conn;

static int64_t port, chunks = 50, gap_us = 0;
static int ep;
static char plain[2048], models[512];
static size_t plain_n, models_n;
static char first_event[512], event[512], last_events[1024];
static size_t first_n, event_n, last_n;
static const char stream_head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                                  "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";

/* ---- the answers ---- */

static void prepare(void)
{
    static const char text[] =
        "The quick brown fox jumps over the lazy dog and runs back to the river, where it waits "
        "for the evening. Nobody on the farm has ever seen it sleep, and the dog has stopped to "
        "ask. This text is as long as a short answer of a small model usually is.";
    char body[1024];
    int n =
        snprintf(body, sizeof body,
                 "{\"id\":\"chatcmpl-fast\",\"object\":\"chat.completion\",\"created\":1700000000,"
                 "\"model\":\"fast\",\"choices\":[{\"index\":0,\"message\":{\"role\":"
                 "\"assistant\",\"content\":\"%s\",\"refusal\":null},\"logprobs\":null,"
                 "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":24,"
                 "\"completion_tokens\":58,\"total_tokens\":82}}",
                 text);
    plain_n = (size_t)snprintf(plain, sizeof plain,
                               "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                               "Content-Length: %d\r\n\r\n%s",
                               n, body);
    n = snprintf(body, sizeof body,
                 "{\"object\":\"list\",\"data\":[{\"id\":\"fast\",\"object\":\"model\","
                 "\"created\":1700000000,\"owned_by\":\"bench\"}]}");
    models_n = (size_t)snprintf(models, sizeof models,
                                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                                "Content-Length: %d\r\n\r\n%s",
                                n, body);
    static const char form[] =
        "data: {\"id\":\"chatcmpl-fast\",\"object\":\"chat.completion.chunk\","
        "\"created\":1700000000,\"model\":\"fast\",\"choices\":[{\"index\":0,"
        "\"delta\":{%s},\"finish_reason\":%s}]}\n\n";
    char e[480];
    n = snprintf(e, sizeof e, form, "\"role\":\"assistant\",\"content\":\"\"", "null");
    first_n = (size_t)snprintf(first_event, sizeof first_event, "%x\r\n%s\r\n", (unsigned)n, e);
    n = snprintf(e, sizeof e, form, "\"content\":\" word\"", "null");
    event_n = (size_t)snprintf(event, sizeof event, "%x\r\n%s\r\n", (unsigned)n, e);
    n = snprintf(e, sizeof e, form, "", "\"stop\"");
    last_n = (size_t)snprintf(last_events, sizeof last_events,
                              "%x\r\n%sdata: [DONE]\n\n\r\n0\r\n\r\n", (unsigned)n + 14, e);
}

/* ---- a heap of streams by the time of their next event ---- */

static conn **heap;
static size_t heap_n, heap_cap;

static void heap_push(conn *c)
{
    if (heap_n == heap_cap) {
        heap_cap = heap_cap ? heap_cap * 2 : 256;
        heap = realloc(heap, heap_cap * sizeof *heap);
        if (!heap) die("out of memory");
    }
    size_t i = heap_n++;
    for (; i && heap[(i - 1) / 2]->due > c->due; i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = c;
    c->in_heap = true;
}

static conn *heap_pop(void)
{
    conn *top = heap[0], *last = heap[--heap_n];
    size_t i = 0;
    for (;;) {
        size_t k = 2 * i + 1;
        if (k >= heap_n) break;
        if (k + 1 < heap_n && heap[k + 1]->due < heap[k]->due) k++;
        if (heap[k]->due >= last->due) break;
        heap[i] = heap[k];
        i = k;
    }
    if (heap_n) heap[i] = last;
    top->in_heap = false;
    return top;
}

/* ---- connections ---- */

/* Closed connections that still wait in the heap are freed when they are popped. */
static void drop(conn *c)
{
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    free(c->in);
    free(c->out);
    c->in = c->out = NULL;
    c->out_n = c->out_at = 0;
    if (!c->in_heap) free(c);
}

static void watch(conn *c, bool out)
{
    if (c->want_out == out) return;
    c->want_out = out;
    struct epoll_event e = {.events = EPOLLIN | (out ? EPOLLOUT : 0u), .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
}

/* False when the connection is gone. */
static bool put(conn *c, const char *p, size_t n)
{
    if (c->out_n == c->out_at) {
        ssize_t w = send(c->fd, p, n, MSG_NOSIGNAL);
        if (w < 0 && errno != EAGAIN) {
            drop(c);
            return false;
        }
        if (w > 0) p += w, n -= (size_t)w;
        if (n == 0) return true;
        c->out_n = c->out_at = 0;
    }
    if (c->out_n + n > c->out_cap) {
        c->out_cap = (c->out_n + n) * 2;
        c->out = realloc(c->out, c->out_cap);
        if (!c->out) die("out of memory");
    }
    memcpy(c->out + c->out_n, p, n);
    c->out_n += n;
    watch(c, true);
    return true;
}

/* Sends the next events of a stream, at most `most`. */
static bool advance(conn *c, uint32_t most)
{
    char block[16384];
    size_t n = 0;
    while (c->left && most-- && n + first_n + event_n + last_n < sizeof block) {
        const char *e = c->sent++ ? event : first_event;
        size_t en = e == event ? event_n : first_n;
        if (c->sent == 1) most++; /* a role is no token yet: the first word comes with it */
        memcpy(block + n, e, en);
        n += en;
        if (--c->left == 0) {
            memcpy(block + n, last_events, last_n);
            n += last_n;
        }
    }
    return put(c, block, n);
}

static bool pump(conn *c)
{
    while (c->left && c->gap_us == 0 && c->out_at == c->out_n)
        if (!advance(c, UINT32_MAX)) return false;
    return true;
}

static bool flush_out(conn *c)
{
    while (c->out_at < c->out_n) {
        ssize_t w = send(c->fd, c->out + c->out_at, c->out_n - c->out_at, MSG_NOSIGNAL);
        if (w < 0) {
            if (errno == EAGAIN) return true;
            drop(c);
            return false;
        }
        c->out_at += (size_t)w;
    }
    watch(c, false);
    if (c->left && c->gap_us && !c->in_heap) { /* a paced stream that had to wait for its reader */
        c->due = now_us();
        heap_push(c);
    }
    return pump(c);
}

static bool start_stream(conn *c, const char *body, size_t n)
{
    c->left = (uint32_t)chunks;
    c->gap_us = (uint64_t)gap_us;
    c->sent = 0;
    const char *m = memmem(body, n, "\"model\"", 7);
    const char *end = body + n;
    if (m) {
        m += 7;
        while (m < end && (*m == ' ' || *m == ':'))
            m++;
        unsigned k, d;
        char name[32] = "";
        if (m < end) memcpy(name, m, (size_t)(end - m) < 31 ? (size_t)(end - m) : 31);
        if (sscanf(name, "\"k%u-d%u\"", &k, &d) == 2 && k > 0) c->left = k, c->gap_us = d;
    }
    if (!put(c, stream_head, sizeof stream_head - 1)) return false;
    if (c->gap_us == 0) return pump(c);
    if (!advance(c, 1)) return false;
    c->due = now_us() + c->gap_us;
    if (c->left) heap_push(c);
    return true;
}

/* One whole request at the front of the buffer: 1 answered, 0 not all here, -1 gone. */
static int serve(conn *c)
{
    if (c->left || c->in_n < 4) return 0;
    char *end = memmem(c->in, c->in_n, "\r\n\r\n", 4);
    if (!end) return 0;
    size_t head = (size_t)(end - c->in) + 4, body = 0;
    *end = 0;
    char *length = strcasestr(c->in, "\r\ncontent-length:");
    if (length) body = strtoul(length + 17, NULL, 10);
    *end = '\r';
    if (c->in_n < head + body) return 0;
    bool ok;
    const char *b = c->in + head;
    if (c->in[0] == 'G')
        ok = put(c, models, models_n);
    else if (memmem(b, body, "\"stream\":true", 13) || memmem(b, body, "\"stream\": true", 14))
        ok = start_stream(c, b, body);
    else
        ok = put(c, plain, plain_n);
    if (!ok) return -1;
    c->in_n -= head + body;
    memmove(c->in, c->in + head + body, c->in_n);
    return 1;
}

static void readable(conn *c)
{
    for (;;) {
        if (c->in_n == c->in_cap) {
            c->in_cap = c->in_cap ? c->in_cap * 2 : IN_START;
            if (c->in_cap > IN_MAX) {
                drop(c);
                return;
            }
            c->in = realloc(c->in, c->in_cap);
            if (!c->in) die("out of memory");
        }
        size_t room = c->in_cap - c->in_n;
        ssize_t n = recv(c->fd, c->in + c->in_n, room, 0);
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) {
            drop(c);
            return;
        }
        c->in_n += (size_t)n;
        int rc;
        while ((rc = serve(c)) > 0)
            ;
        if (rc < 0 || (size_t)n < room) return;
    }
}

static void accept_all(int listener)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        conn *c = calloc(1, sizeof *c);
        if (!c) die("out of memory");
        c->fd = fd;
        net_nodelay(fd);
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
    }
}

static void due_events(uint64_t now)
{
    while (heap_n && heap[0]->due <= now) {
        conn *c = heap_pop();
        if (c->fd < 0) {
            free(c);
            continue;
        }
        if (c->out_at < c->out_n) continue; /* flush_out puts it back */
        if (!advance(c, 1)) continue;
        c->due += c->gap_us;
        if (c->due < now) c->due = now;
        if (c->left)
            heap_push(c);
        else
            while (serve(c) > 0)
                ;
    }
}

int main(int argc, char **argv)
{
    const opt table[] = {
        {"port", OPT_INT, &port, 0, 65535, "port on 127.0.0.1; 0 takes a free one"},
        {"chunks", OPT_INT, &chunks, 1, 1e6, "events of a stream"},
        {"gap-us", OPT_INT, &gap_us, 0, 1e9, "time between them"},
    };
    opts_parse(argc, argv, "the fastest upstream for benchmarks", table,
               sizeof table / sizeof *table);
    signal(SIGPIPE, SIG_IGN);
    net_many_files(16384);
    prepare();
    uint16_t p = (uint16_t)port;
    int listener = net_listen(&p);
    if (listener < 0) die("cannot listen on port %d: %s", p, strerror(errno));
    ep = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e);
    printf("port %d\n", p);
    fflush(stdout);
    for (;;) {
        struct epoll_event ev[EVENTS];
        struct timespec ts, *wait = NULL;
        if (heap_n) {
            uint64_t now = now_us(), us = heap[0]->due > now ? heap[0]->due - now : 0;
            ts = (struct timespec){(time_t)(us / 1000000u), (long)(us % 1000000u) * 1000};
            wait = &ts;
        }
        int n = epoll_pwait2(ep, ev, EVENTS, wait, NULL);
        for (int i = 0; i < n; i++) {
            conn *c = ev[i].data.ptr;
            if (!c)
                accept_all(listener);
            else if (ev[i].events & EPOLLOUT && !flush_out(c))
                continue;
            else if (ev[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                readable(c);
        }
        if (heap_n) due_events(now_us());
    }
}
