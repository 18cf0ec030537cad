/*  bus_forwarder.c - what a broker on libzmq costs at the very least: two ROUTERs, every
 *  message (routing id, header, body) moved frame by frame from one to the other, up to 256 a
 *  side before it polls again.
 *
 *  It is a fixed switch: the k-th client that says hello on the front is tied to the k-th worker
 *  on the back, so there is no table, no parsing and no state per request. A hello is a message
 *  of one frame; its answer is the same frame. Anything else that does not fit a pair is dropped.
 *  Prints "ready" when it listens; ends with SIGTERM. */
#include "opts.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <zmq.h>

enum { PAIRS = 64, ID_MAX = 32, BUDGET = 256 };

typedef struct end {
    unsigned char id[ID_MAX];
    size_t n;
} end;

typedef struct side {
    void *socket;
    end ends[PAIRS];
    int n;
} side;

static struct {
    int64_t io_threads, hwm;
    const char *front, *back, *secret;
} o = {.io_threads = 1, .hwm = 4096};
static volatile sig_atomic_t stop;

static void on_term(int sig)
{
    (void)sig;
    stop = 1;
}

static void *open_router(void *ctx, const char *endpoint)
{
    void *s = zmq_socket(ctx, ZMQ_ROUTER);
    int one = 1, zero = 0, backlog = 1024, hwm = (int)o.hwm;
    zmq_setsockopt(s, ZMQ_ROUTER_MANDATORY, &one, sizeof one);
    zmq_setsockopt(s, ZMQ_LINGER, &zero, sizeof zero);
    zmq_setsockopt(s, ZMQ_BACKLOG, &backlog, sizeof backlog);
    zmq_setsockopt(s, ZMQ_SNDHWM, &hwm, sizeof hwm);
    zmq_setsockopt(s, ZMQ_RCVHWM, &hwm, sizeof hwm);
    if (o.secret) {
        zmq_setsockopt(s, ZMQ_CURVE_SERVER, &one, sizeof one);
        if (zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, o.secret, 41))
            die("--secret is not a CURVE key in Z85");
    }
    if (zmq_bind(s, endpoint)) die("cannot bind %s: %s", endpoint, zmq_strerror(errno));
    return s;
}

static int find(const side *s, zmq_msg_t *id)
{
    size_t n = zmq_msg_size(id);
    for (int i = 0; i < s->n; i++)
        if (s->ends[i].n == n && memcmp(s->ends[i].id, zmq_msg_data(id), n) == 0) return i;
    return -1;
}

static void drop_rest(void *socket)
{
    int more = 1;
    size_t n = sizeof more;
    while (zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &n) == 0 && more) {
        zmq_msg_t m;
        zmq_msg_init(&m);
        if (zmq_msg_recv(&m, socket, ZMQ_DONTWAIT) < 0) more = 0;
        zmq_msg_close(&m);
        if (!more) return;
    }
}

/* `m` is the frame after the id. True when the message was a hello and is answered. */
static bool hello(side *s, zmq_msg_t *id, zmq_msg_t *m)
{
    if (zmq_msg_more(m)) return false;
    size_t n = zmq_msg_size(id);
    if (find(s, id) < 0 && s->n < PAIRS && n <= ID_MAX) {
        memcpy(s->ends[s->n].id, zmq_msg_data(id), n);
        s->ends[s->n++].n = n;
    }
    if (zmq_msg_send(id, s->socket, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0)
        zmq_msg_send(m, s->socket, ZMQ_DONTWAIT);
    return true;
}

/* Moves one message; false when there was none. */
static bool move_one(side *from, side *to)
{
    zmq_msg_t id, m;
    zmq_msg_init(&id);
    if (zmq_msg_recv(&id, from->socket, ZMQ_DONTWAIT) < 0) {
        zmq_msg_close(&id);
        return false;
    }
    zmq_msg_init(&m);
    zmq_msg_recv(&m, from->socket, ZMQ_DONTWAIT);
    if (!hello(from, &id, &m)) {
        int k = find(from, &id);
        zmq_msg_t peer;
        bool ok = k >= 0 && k < to->n && zmq_msg_init_size(&peer, to->ends[k].n) == 0;
        if (ok) {
            memcpy(zmq_msg_data(&peer), to->ends[k].id, to->ends[k].n);
            ok = zmq_msg_send(&peer, to->socket, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0;
            if (!ok) zmq_msg_close(&peer);
        }
        while (ok) {
            bool more = zmq_msg_more(&m);
            zmq_msg_send(&m, to->socket, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0));
            if (!more) break;
            zmq_msg_recv(&m, from->socket, ZMQ_DONTWAIT);
        }
        if (!ok) drop_rest(from->socket);
    }
    zmq_msg_close(&m);
    zmq_msg_close(&id);
    return true;
}

int main(int argc, char **argv)
{
    const opt table[] = {
        {"front", OPT_STR, &o.front, 0, 0, "endpoint for clients"},
        {"back", OPT_STR, &o.back, 0, 0, "endpoint for workers"},
        {"io-threads", OPT_INT, &o.io_threads, 1, 16, "I/O threads of libzmq"},
        {"hwm", OPT_INT, &o.hwm, 1, 1000000, "high water mark of each peer, both ways"},
        {"secret", OPT_STR, &o.secret, 0, 0, "CURVE secret key in Z85; without it NULL"},
    };
    opts_parse(argc, argv, "the barest broker on libzmq, to measure against", table,
               sizeof table / sizeof *table);
    if (!o.front || !o.back) die("--front and --back are needed");
    struct sigaction sa = {.sa_handler = on_term};
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    void *ctx = zmq_ctx_new();
    zmq_ctx_set(ctx, ZMQ_IO_THREADS, (int)o.io_threads);
    static side front, back;
    front.socket = open_router(ctx, o.front);
    back.socket = open_router(ctx, o.back);
    printf("ready\n");
    fflush(stdout);
    while (!stop) {
        int a = 0, b = 0;
        while (a < BUDGET && move_one(&front, &back))
            a++;
        while (b < BUDGET && move_one(&back, &front))
            b++;
        if (a == BUDGET || b == BUDGET) continue;
        zmq_pollitem_t items[2] = {{front.socket, 0, ZMQ_POLLIN, 0},
                                   {back.socket, 0, ZMQ_POLLIN, 0}};
        zmq_poll(items, 2, -1);
    }
    zmq_close(front.socket);
    zmq_close(back.socket);
    zmq_ctx_term(ctx);
    return 0;
}
