/*  log_mux.c - a pipe per source in, one descriptor out.
 *
 *  A terminal or pipe is opened a second time without blocking, because the flag belongs to the
 *  open file that the shell shares. Anything else (a regular file) never makes a writer wait long.
 */
#include "log_mux.h"

#include "error.h"
#include "human_log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SOURCES = 160, READ_TURN = 65536, NAME_WIDTH = 48 };

struct log_source {
    log_mux *mux;
    char name[NAME_WIDTH];
    int fd; /* -1: closed */
    loop_fd *watch;
    buf partial;
    bool cut; /* the rest of an overlong line is being skipped */
    log_entry *ring[LOG_RING];
    uint32_t first, n;
    size_t bytes;
    uint32_t lines, suppressed;
};

struct log_mux {
    loop *loop;
    int fd;
    bool own_fd;
    loop_fd *watch;
    log_format format;
    buf out;
    uint64_t lost; /* lines the output had no room for */
    uint64_t number;
    log_source *sources[SOURCES];
    size_t n;
    loop_timer timer; /* reports suppressed lines */
    log_entry_fn *listener, *watcher;
    void *listener_arg, *watcher_arg;
};

/* ---- output ---- */

static void write_some(log_mux *m)
{
    while (m->out.n > 0) {
        size_t most = m->own_fd ? 65536 : 4096;
        ssize_t n = write(m->fd, m->out.p, m->out.n < most ? m->out.n : most);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) return;
        if (n < 0) {
            buf_reset(&m->out, 65536); /* nobody reads any more; the rings go on */
            return;
        }
        buf_consume(&m->out, (size_t)n);
    }
}

static void writable(void *arg, int fd, uint32_t events)
{
    (void)fd;
    log_mux *m = arg;
    write_some(m);
    if (events & (EPOLLERR | EPOLLHUP)) {
        loop_fd_del(m->watch); /* its reader is gone; it would be reported in every turn */
        m->watch = NULL;
    }
    if (m->out.n == 0 && m->watch) loop_fd_mod(m->watch, 0);
}

static void put_out(log_mux *m, const char *name, const log_entry *e)
{
    if (m->out.n + 2 * (size_t)e->n + 512 > LOG_OUT_BYTES) {
        m->lost++;
        return;
    }
    if (m->lost > 0) {
        char text[96];
        snprintf(text, sizeof text, "%llu lines were lost: the output is too slow",
                 (unsigned long long)m->lost);
        m->lost = 0;
        if (m->format == LOG_FORMAT_JSON)
            json_log_line(sv_cstr(text), "supervisor", e->unix_ms, &m->out);
        else
            human_log_line(sv_cstr(text), "supervisor", e->unix_ms, m->format == LOG_FORMAT_COLOUR,
                           &m->out);
    }
    sv_str line = {e->text, e->n};
    if (m->format == LOG_FORMAT_JSON)
        json_log_line(line, name, e->unix_ms, &m->out);
    else
        human_log_line(line, name, e->unix_ms, m->format == LOG_FORMAT_COLOUR, &m->out);
    if (m->out.failed) buf_reset(&m->out, 65536);
}

static void flush(log_mux *m)
{
    write_some(m);
    if (m->out.n > 0 && m->watch) loop_fd_mod(m->watch, EPOLLOUT);
}

/* ---- lines ---- */

static void ring_put(log_source *s, log_entry *e)
{
    while (s->n == LOG_RING || (s->n > 0 && s->bytes + e->n > LOG_RING_BYTES)) {
        log_entry *old = s->ring[s->first];
        s->bytes -= old->n;
        s->ring[s->first] = NULL;
        free(old);
        s->first = (s->first + 1) % LOG_RING;
        s->n--;
    }
    s->ring[(s->first + s->n++) % LOG_RING] = e;
    s->bytes += e->n;
}

static void take_line(log_source *s, sv_str text, bool limited)
{
    log_mux *m = s->mux;
    log_entry *e = malloc(sizeof *e + text.n);
    if (e == NULL) {
        m->lost++;
        return;
    }
    *e = (log_entry){.number = ++m->number, .unix_ms = loop_unix_us(m->loop) / 1000, .n = text.n};
    memcpy(e->text, text.p, text.n);
    ring_put(s, e);
    if (limited && s->lines >= LOG_LINES_SECOND * 2) {
        s->suppressed++;
        return;
    }
    s->lines++;
    put_out(m, s->name, e);
    if (m->listener) m->listener(m->listener_arg, s->name, e);
    if (m->watcher) m->watcher(m->watcher_arg, s->name, e);
}

/* Every second each source gets back LOG_LINES_SECOND lines of its allowance. */
static void each_second(void *arg)
{
    log_mux *m = arg;
    for (size_t i = 0; i < m->n; i++) {
        log_source *s = m->sources[i];
        if (s->suppressed > 0) {
            char text[64];
            int n = snprintf(text, sizeof text, "%u lines suppressed", s->suppressed);
            s->suppressed = 0;
            take_line(s, (sv_str){text, (uint32_t)n}, false);
        }
        s->lines = s->lines > LOG_LINES_SECOND ? s->lines - LOG_LINES_SECOND : 0;
    }
    flush(m);
    loop_timer_set(m->loop, &m->timer, 1000000, each_second, m);
}

static void take_bytes(log_source *s, const char *p, size_t n)
{
    while (n > 0) {
        const char *newline = memchr(p, '\n', n);
        size_t part = newline ? (size_t)(newline - p) : n;
        size_t room = LOG_LINE_BYTES - s->partial.n;
        if (!s->cut && buf_put(&s->partial, p, part < room ? part : room)) s->cut = true;
        s->cut |= part > room;
        if (newline) {
            if (s->partial.n > 0) take_line(s, buf_str(&s->partial), true);
            buf_reset(&s->partial, LOG_LINE_BYTES);
            s->cut = false;
            part++;
        }
        p += part;
        n -= part;
    }
}

/* Reads at most `most` bytes; false when the writer's end is closed. */
static bool read_some(log_source *s, size_t most)
{
    char data[16384];
    while (most > 0) {
        ssize_t n = read(s->fd, data, sizeof data);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return true;
        if (n == 0) return false;
        take_bytes(s, data, (size_t)n);
        most -= (size_t)n < most ? (size_t)n : most;
    }
    return true;
}

static void readable(void *arg, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    log_source *s = arg;
    bool open = read_some(s, READ_TURN);
    flush(s->mux);
    if (!open) log_source_close(s);
}

/* ---- public ---- */

log_mux *log_mux_new(loop *l, int fd, log_format format, sv_error *err)
{
    log_mux *m = calloc(1, sizeof *m);
    if (m == NULL) {
        sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
        return NULL;
    }
    m->loop = l;
    m->fd = fd;
    m->format = format;
    buf_init(&m->out, LOG_OUT_BYTES + 65536);
    struct stat st;
    if (fstat(fd, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode))) {
        char path[40];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        int again = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        if (again >= 0) {
            m->fd = again;
            m->own_fd = true;
            /* Not every descriptor can be watched; then the timer writes what is left. */
            if (loop_fd_add(l, again, 0, writable, m, &m->watch)) m->watch = NULL;
        }
    }
    if (loop_timer_set(l, &m->timer, 1000000, each_second, m)) {
        sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
        log_mux_free(m, 0);
        return NULL;
    }
    return m;
}

void log_mux_free(log_mux *m, uint32_t wait_ms)
{
    if (m == NULL) return;
    uint64_t until_us = clock_us() + (uint64_t)wait_ms * 1000;
    for (size_t i = 0; i < m->n; i++)
        log_source_close(m->sources[i]);
    for (write_some(m); m->out.n > 0 && clock_us() < until_us; write_some(m)) {
        struct pollfd p = {.fd = m->fd, .events = POLLOUT};
        poll(&p, 1, 50);
    }
    for (size_t i = 0; i < m->n; i++) {
        log_source *s = m->sources[i];
        for (uint32_t k = 0; k < s->n; k++)
            free(s->ring[(s->first + k) % LOG_RING]);
        buf_free(&s->partial);
        free(s);
    }
    loop_timer_stop(m->loop, &m->timer);
    loop_fd_del(m->watch);
    if (m->own_fd) close(m->fd);
    buf_free(&m->out);
    free(m);
}

log_source *log_mux_source(log_mux *m, const char *name)
{
    log_source *s = m->n < SOURCES ? calloc(1, sizeof *s) : NULL;
    if (s == NULL) return NULL;
    s->mux = m;
    s->fd = -1;
    snprintf(s->name, sizeof s->name, "%s", name);
    buf_init(&s->partial, LOG_LINE_BYTES);
    m->sources[m->n++] = s;
    return s;
}

int log_source_open(log_source *s, int fd)
{
    log_source_close(s);
    int rc = loop_fd_add(s->mux->loop, fd, EPOLLIN, readable, s, &s->watch);
    if (rc == 0) s->fd = fd;
    return rc;
}

void log_source_close(log_source *s)
{
    if (s->fd < 0) return;
    read_some(s, LOG_OUT_BYTES);
    if (s->partial.n > 0) take_line(s, buf_str(&s->partial), true);
    buf_reset(&s->partial, 0);
    s->cut = false;
    loop_fd_del(s->watch);
    close(s->fd);
    s->watch = NULL;
    s->fd = -1;
    flush(s->mux);
}

void log_mux_last(log_mux *m, log_source *only, size_t most, log_entry_fn *fn, void *arg)
{
    uint32_t at[SOURCES];
    size_t left = 0;
    for (size_t i = 0; i < m->n; i++) {
        bool wanted = only == NULL || m->sources[i] == only;
        at[i] = wanted ? 0 : m->sources[i]->n;
        left += m->sources[i]->n - at[i];
    }
    for (; left > 0; left--) {
        log_source *oldest = NULL;
        size_t which = 0;
        for (size_t i = 0; i < m->n; i++) {
            log_source *s = m->sources[i];
            if (at[i] == s->n) continue;
            if (oldest == NULL ||
                s->ring[(s->first + at[i]) % LOG_RING]->number <
                    oldest->ring[(oldest->first + at[which]) % LOG_RING]->number) {
                oldest = s;
                which = i;
            }
        }
        assert(oldest); /* `left` counts what is there */
        log_entry *e = oldest->ring[(oldest->first + at[which]++) % LOG_RING];
        if (left <= most) fn(arg, oldest->name, e);
    }
}

void log_mux_listen(log_mux *m, log_entry_fn *fn, void *arg)
{
    m->listener = fn;
    m->listener_arg = arg;
}

void log_mux_watch(log_mux *m, log_entry_fn *fn, void *arg)
{
    m->watcher = fn;
    m->watcher_arg = arg;
}
