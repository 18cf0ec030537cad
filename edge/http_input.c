/*  http_input.c - a connection's input: the server's scratch during its turn, memory of its own when
 *  a request is not complete. */
#include "http_conn.h"

#include "error.h"

#include <errno.h>
#include <stdlib.h>

enum {
    READ_BYTES = 4096, /* room made for the rest of a head */
    CHUNKED_ROOM = 16384
};

size_t conn_in_left(const http_conn *c)
{
    return c->in_n - c->in_at;
}

void conn_in_borrow(http_conn *c)
{
    if (c->in) return;
    c->in = c->s->scratch;
    c->in_cap = HTTP_TURN_BYTES;
    c->in_at = c->in_n = 0;
    c->in_own = false;
}

/* How much more of the current request may come. */
static size_t in_wanted(const http_conn *c)
{
    if (c->state != CONN_BODY) return READ_BYTES;
    if (c->x.streaming && c->x.paused) return 0;
    if (c->x.streaming && c->body_chunked) return HTTP_TURN_BYTES;
    if (c->x.streaming) return c->body_left < HTTP_TURN_BYTES ? c->body_left : HTTP_TURN_BYTES;
    if (c->head->chunked) return CHUNKED_ROOM;
    uint64_t missing = c->head->bytes + c->head->length - conn_in_left(c);
    return missing < HTTP_TURN_BYTES ? (size_t)missing : HTTP_TURN_BYTES;
}

static bool in_move(http_conn *c, size_t cap)
{
    size_t n = conn_in_left(c);
    if (c->in_own && c->in_at == 0) {
        char *p = realloc(c->in, cap);
        if (p == NULL) return false;
        c->in = p;
    } else {
        char *p = malloc(cap);
        if (p == NULL) return false;
        memcpy(p, c->in + c->in_at, n);
        if (c->in_own) free(c->in);
        c->in = p;
    }
    c->in_own = true;
    c->in_at = 0;
    c->in_n = n;
    c->in_cap = cap;
    return true;
}

bool conn_in_settle(http_conn *c)
{
    size_t n = conn_in_left(c);
    if (n > 0) return c->in_own || in_move(c, n + in_wanted(c));
    if (c->in_own) free(c->in);
    c->in = NULL;
    c->in_own = false;
    c->in_at = c->in_n = c->in_cap = 0;
    return true;
}

static bool in_room(http_conn *c)
{
    size_t want = in_wanted(c), n = conn_in_left(c);
    return c->in_cap - c->in_n >= want || in_move(c, n + want + n / 2);
}

int conn_in_read(http_conn *c)
{
    if (!in_room(c)) {
        c->broken = true;
        return -1;
    }
    size_t room = c->in_cap - c->in_n;
    if (room > HTTP_TURN_BYTES) room = HTTP_TURN_BYTES;
    ssize_t n = c->t.ops->read(&c->t, c->in + c->in_n, room);
    if (n > 0) {
        c->in_n += (size_t)n;
        c->readable = (size_t)n == room || c->peer_ended || c->t.session;
        return 1;
    }
    c->readable = false;
    if (n < 0 && errno == EINTR) {
        c->readable = true;
        return 0;
    }
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return 0;
    c->peer_ended = true;
    return -1;
}

int conn_in_take(http_conn *c, size_t n, char **ret_block, char **ret_at)
{
    if (!c->in_own) {
        char *copy = malloc(n ? n : 1);
        if (copy == NULL) return SV_E_NO_MEMORY;
        if (n) memcpy(copy, c->in + c->in_at, n);
        c->in_at += n;
        *ret_block = *ret_at = copy;
        return 0;
    }
    size_t rest = conn_in_left(c) - n;
    char *others = rest ? malloc(rest) : NULL;
    if (rest && others == NULL) return SV_E_NO_MEMORY;
    if (rest) memcpy(others, c->in + c->in_at + n, rest);
    *ret_block = c->in;
    *ret_at = c->in + c->in_at;
    c->in = others;
    c->in_own = rest > 0;
    c->in_at = 0;
    c->in_n = c->in_cap = rest;
    return 0;
}
