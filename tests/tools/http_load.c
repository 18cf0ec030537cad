/*  http_load.c - load generator for HTTP/1.1 on loopback: one thread, epoll, one JSON line.
 *
 *  closed  C connections, each sends its next request when the last answer is complete.
 *  open    R requests a second whatever the answers do. Latency counts from the moment a request
 *          should have started, so waiting for a connection is part of it (no coordinated
 *          omission).
 *  idle    C connections that are opened and kept; with --send the request goes out too.
 *
 *  With --stream answers are read as server-sent events: first event, gaps between events, and
 *  an answer without the end marker [DONE] is an error. With --stall-every N one connection in N
 *  stops reading after its first event for the rest of the run and is left out of every figure.
 *  --header-lines and --bodies name files of which each request takes the next line, so that many
 *  users can be played.
 *  What finishes within [warmup, warmup + seconds) is counted. `pause_ms` is the longest time
 *  without a good answer, for tests that kill processes under load. Ends with 1 if there were
 *  errors. */
#include "hist.h"
#include "http_reader.h"
#include "net.h"
#include "opts.h"
#include "pids.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

typedef enum conn_state { CLOSED, CONNECTING, IDLE, BUSY, STALLED, WAIT_RETRY } conn_state;

typedef struct prepared {
    char *text;
    size_t n;
} prepared;

typedef struct conn {
    int fd;
    conn_state state;
    bool want_out, stalls;
    http_reader reader;
    const prepared *request;
    size_t sent;
    uint64_t start, first, last, deadline, retry_at;
    uint32_t requests; /* on this connection */
    bool done;         /* [DONE] was seen */
    char line[16];     /* beginning of the event line that is being read */
    uint32_t line_n;
} conn;

enum { EVENTS = 512, TICK_US = 20000, MOST_LINES = 100000, FILE_BYTES = 4 << 20 };

typedef enum fault {
    F_CONNECT,
    F_RESET,
    F_CUT,
    F_MALFORMED,
    F_STATUS,
    F_TIMEOUT,
    F_INCOMPLETE,
    F_KINDS
} fault;
static const char *const fault_names[F_KINDS] = {"connect", "reset",   "cut",       "malformed",
                                                 "status",  "timeout", "incomplete"};

static struct {
    int64_t port, connections, timeout_ms, stall_every, requests, receive_bytes, retry_ms;
    double seconds, warmup, rate, ramp;
    const char *mode, *path, *method, *body, *headers, *pids, *stall_body, *header_lines, *bodies;
    bool stream, fresh, send;
} o = {.connections = 64,
       .timeout_ms = 30000,
       .retry_ms = 20,
       .seconds = 2,
       .warmup = 0.5,
       .rate = 500,
       .mode = "closed",
       .path = "/",
       .method = NULL};

static prepared *requests, stall_request; /* taken in turn */
static size_t n_requests, next_request;
static conn *conns;
static conn **free_stack;
static int64_t n_free, n_open_ever;
static int ep;
static bool open_loop, idle_mode, stopping;
static uint64_t t_start, t_from, t_to;
static uint64_t intended_next; /* open loop: index of the next request to start */
static int64_t busy;
static uint64_t started;

static hist total, first, gap;
static uint64_t good, events, body_bytes, faults[F_KINDS], faults_all, idle_lost;
static uint64_t statuses[600];
static uint64_t last_good, longest_pause;
static bool cpu_begun, cpu_ended;

static bool counted(uint64_t us)
{
    return us >= t_from && us < t_to;
}

static void finish(conn *c, uint64_t now);

static uint64_t intended(uint64_t i)
{
    return t_start + (uint64_t)((double)i * 1e6 / o.rate);
}

/* ---- the request ---- */

static char *read_file(const char *path)
{
    FILE *f = fopen(path, "re");
    if (!f) die("cannot read %s: %s", path, strerror(errno));
    char *text = calloc(1, FILE_BYTES + 1);
    if (!text) die("out of memory");
    size_t n = fread(text, 1, FILE_BYTES, f);
    if (ferror(f)) die("cannot read %s", path);
    if (n == FILE_BYTES) die("%s is larger than %d bytes", path, FILE_BYTES);
    fclose(f);
    return text;
}

/* The whole request with this body (text, @FILE or NULL) and one more header line, or NULL. */
static prepared build_request(const char *given, const char *line)
{
    char *file = given && given[0] == '@' ? read_file(given + 1) : NULL;
    const char *body = file ? file : given ? given : "";
    if (!o.method) o.method = given ? "POST" : "GET";
    char extra[4096] = "";
    size_t n = 0;
    for (const char *p = o.headers; p && *p && n < sizeof extra - 3;) {
        size_t len = strcspn(p, "|");
        if (n + len + 3 > sizeof extra) die("--headers is longer than 4 KiB");
        memcpy(extra + n, p, len);
        n += len;
        memcpy(extra + n, "\r\n", 3);
        n += 2;
        p += len + (p[len] == '|');
    }
    char length[96] = "";
    if (given)
        snprintf(length, sizeof length, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                 strlen(body));
    prepared r;
    int rc = asprintf(&r.text, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%lld\r\n%s%s%s%s%s\r\n%s",
                      o.method, o.path, (long long)o.port, length, extra, line ? line : "",
                      line ? "\r\n" : "", o.fresh ? "Connection: close\r\n" : "", body);
    if (rc < 0) die("out of memory");
    r.n = (size_t)rc;
    free(file);
    return r;
}

/* The lines of a file, none without one. They lie in *ret_text; the caller frees both. */
static char **lines_of(const char *path, char **ret_text, size_t *ret_n)
{
    char *text = *ret_text = path ? read_file(path) : NULL, *save = NULL;
    char **lines = calloc(MOST_LINES, sizeof *lines);
    if (!lines) die("out of memory");
    *ret_n = 0;
    for (char *t = text ? strtok_r(text, "\n", &save) : NULL; t; t = strtok_r(NULL, "\n", &save)) {
        if (*ret_n == MOST_LINES) die("%s has more than %d lines", path, MOST_LINES);
        lines[(*ret_n)++] = t;
    }
    if (path && *ret_n == 0) die("%s is empty", path);
    return lines;
}

static void build_requests(void)
{
    size_t n_lines, n_bodies;
    char *line_text, *body_text;
    char **lines = lines_of(o.header_lines, &line_text, &n_lines);
    char **bodies = lines_of(o.bodies, &body_text, &n_bodies);
    n_requests = n_lines > n_bodies ? n_lines : n_bodies;
    if (n_requests == 0) n_requests = 1;
    requests = calloc(n_requests, sizeof *requests);
    if (!requests) die("out of memory");
    for (size_t i = 0; i < n_requests; i++)
        requests[i] = build_request(n_bodies ? bodies[i % n_bodies] : o.body,
                                    n_lines ? lines[i % n_lines] : NULL);
    stall_request = build_request(o.stall_body ? o.stall_body : o.body, NULL);
    free(lines);
    free(line_text);
    free(bodies);
    free(body_text);
}

/* ---- connections ---- */

static void watch(conn *c, bool out)
{
    uint32_t in = c->state == STALLED ? 0 : EPOLLIN;
    struct epoll_event e = {.events = in | (out ? EPOLLOUT : 0u) | EPOLLRDHUP, .data.ptr = c};
    if (c->state == STALLED) e.events = 0; /* errors are still reported */
    epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
    c->want_out = out;
}

static void drop(conn *c)
{
    if (c->fd >= 0 && o.fresh)
        net_reset(c->fd); /* thousands of ports in TIME_WAIT make connect() slow */
    else if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->state = CLOSED;
    c->requests = 0;
    http_reader_next(&c->reader);
}

static void failed(conn *c, fault kind, uint64_t now)
{
    bool was_busy = c->state == BUSY || c->state == CONNECTING;
    if (c->state == IDLE || c->stalls || c->state == STALLED) {
        /* a kept connection may end while nothing is asked of it */
        idle_lost += idle_mode || c->state == STALLED;
    } else if (counted(open_loop ? c->start : now)) {
        faults[kind]++;
        faults_all++;
    }
    drop(c);
    if (was_busy) busy--;
    if (idle_mode) return;
    if (open_loop) {
        free_stack[n_free++] = c;
    } else if (!stopping) {
        c->state = WAIT_RETRY;
        c->retry_at = now + (uint64_t)o.retry_ms * 1000u;
    }
}

static void write_request(conn *c, uint64_t now)
{
    const prepared *r = c->request;
    while (c->sent < r->n) {
        ssize_t n = send(c->fd, r->text + c->sent, r->n - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            if (!c->want_out) watch(c, true);
            return;
        }
        if (n < 0) {
            failed(c, F_RESET, now);
            return;
        }
        c->sent += (size_t)n;
    }
    if (c->want_out) watch(c, false);
}

static void begin(conn *c, uint64_t start, uint64_t now)
{
    c->start = start;
    c->deadline = now + (uint64_t)o.timeout_ms * 1000u;
    c->request = c->stalls ? &stall_request : &requests[next_request++ % n_requests];
    c->sent = 0;
    c->first = c->last = 0;
    c->done = false;
    c->line_n = 0;
    busy++;
    started++;
    if (c->fd >= 0) {
        c->state = BUSY;
        write_request(c, now);
        return;
    }
    c->state = CONNECTING;
    c->fd = net_connect((uint16_t)o.port, c->stalls ? 4096 : (int)o.receive_bytes);
    if (c->fd < 0) {
        failed(c, F_CONNECT, now);
        return;
    }
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP, .data.ptr = c};
    c->want_out = true;
    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e);
}

static void connected(conn *c, uint64_t now)
{
    int error = 0;
    socklen_t n = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &n);
    if (error) {
        failed(c, F_CONNECT, now);
        return;
    }
    n_open_ever++;
    if (idle_mode && !o.send) {
        c->state = IDLE;
        busy--;
        watch(c, false);
        return;
    }
    c->state = BUSY;
    write_request(c, now);
}

/* ---- answers ---- */

static void on_first(conn *c, uint64_t now)
{
    if (c->first) return;
    c->first = now;
    if (counted(open_loop ? c->start : now) && !c->stalls) hist_add(&first, now - c->start);
}

static void on_event(conn *c, uint64_t now)
{
    on_first(c, now);
    if (counted(now) && !c->stalls) {
        events++;
        if (c->last) hist_add(&gap, now - c->last);
    }
    c->last = now;
}

static void on_body(void *arg, const char *p, size_t n)
{
    conn *c = arg;
    uint64_t now = now_us();
    if (!o.stream) {
        on_first(c, now);
        return;
    }
    const char *end = p + n;
    while (p < end) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        size_t len = (size_t)((nl ? nl : end) - p);
        if (c->line_n < sizeof c->line) {
            size_t room = sizeof c->line - c->line_n;
            memcpy(c->line + c->line_n, p, len < room ? len : room);
        }
        c->line_n += (uint32_t)len;
        if (!nl) return;
        if (c->line_n >= 12 && memcmp(c->line, "data: [DONE]", 12) == 0)
            c->done = true;
        else if (c->line_n >= 5 && memcmp(c->line, "data:", 5) == 0)
            on_event(c, now);
        c->line_n = 0;
        p = nl + 1;
    }
}

static void finish(conn *c, uint64_t now)
{
    int status = c->reader.status;
    bool ok = status >= 200 && status < 300;
    if (!c->stalls && counted(open_loop ? c->start : now)) {
        statuses[status < 600 ? status : 0]++;
        if (ok && o.stream && !c->done) {
            ok = false;
            faults[F_INCOMPLETE]++;
            faults_all++;
        } else if (!ok) {
            faults[F_STATUS]++;
            faults_all++;
        } else {
            good++;
            body_bytes += c->reader.body_bytes;
            hist_add(&total, now - c->start);
            if (now > last_good && now - last_good > longest_pause) longest_pause = now - last_good;
            last_good = now;
        }
    }
    busy--;
    c->requests++;
    bool over = c->reader.close || o.fresh;
    http_reader_next(&c->reader);
    c->state = IDLE;
    if (over) drop(c);
    if (open_loop) {
        free_stack[n_free++] = c;
        return;
    }
    if (stopping || (o.requests && started >= (uint64_t)o.requests)) return;
    if (!ok) {
        /* an answer that refuses work is not asked for again in the same breath */
        drop(c);
        c->state = WAIT_RETRY;
        c->retry_at = now + (uint64_t)o.retry_ms * 1000u;
        return;
    }
    begin(c, now, now);
}

static void readable(conn *c)
{
    static char in[131072];
    for (;;) {
        ssize_t n = recv(c->fd, in, sizeof in, 0);
        uint64_t now = now_us();
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) {
            bool reset = n < 0;
            if (c->state == BUSY && n == 0 && http_reader_eof(&c->reader) == HTTP_DONE)
                finish(c, now);
            else
                failed(c, reset ? F_RESET : F_CUT, now);
            return;
        }
        if (c->state != BUSY) {
            failed(c, F_MALFORMED, now); /* bytes nobody asked for */
            return;
        }
        size_t used;
        http_result rc = http_reader_feed(&c->reader, in, (size_t)n, &used, on_body, c);
        if (rc == HTTP_BAD || (rc == HTTP_DONE && used != (size_t)n)) {
            failed(c, F_MALFORMED, now);
            return;
        }
        if (rc == HTTP_DONE) {
            finish(c, now_us());
            return;
        }
        if (c->stalls && c->first) {
            c->state = STALLED;
            busy--;
            watch(c, false);
            return;
        }
        if (n < (ssize_t)sizeof in) return;
    }
}

static void ready(conn *c, uint32_t what)
{
    if (c->fd < 0) return;
    uint64_t now = now_us();
    if (c->state == STALLED) {
        if (what & (EPOLLERR | EPOLLHUP)) failed(c, F_RESET, now);
        return;
    }
    if (c->state == CONNECTING) {
        if (what & (EPOLLOUT | EPOLLERR | EPOLLHUP)) connected(c, now);
        return;
    }
    if (what & EPOLLOUT && c->state == BUSY) write_request(c, now);
    if (c->fd >= 0 && what & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) readable(c);
}

/* ---- the run ---- */

static void sample_cpu(uint64_t now)
{
    if (!cpu_begun && now >= t_from) {
        cpu_begun = true;
        pids_begin();
    }
    if (!cpu_ended && now >= t_to) {
        cpu_ended = true;
        pids_end();
    }
}

static void tick(uint64_t now)
{
    sample_cpu(now);
    for (int64_t i = 0; i < o.connections; i++) {
        conn *c = &conns[i];
        if (c->state == WAIT_RETRY && now >= c->retry_at && !stopping)
            begin(c, now, now);
        else if ((c->state == BUSY || c->state == CONNECTING) && now >= c->deadline && !idle_mode)
            failed(c, F_TIMEOUT, now);
    }
}

/* Starts what is due; answers when the next start is. */
static uint64_t start_due(uint64_t now)
{
    static int64_t begun;
    if (!open_loop) {
        if (begun == o.connections) return UINT64_MAX;
        double share = o.ramp > 0 ? (double)(now - t_start) / (o.ramp * 1e6) : 1;
        int64_t upto = share >= 1 ? o.connections : (int64_t)(share * (double)o.connections);
        for (; begun < upto; begun++)
            begin(&conns[begun], now, now);
        return begun == o.connections ? UINT64_MAX : now + 1000;
    }
    while (n_free > 0) {
        uint64_t due = intended(intended_next);
        if (due > now || due >= t_to) return due >= t_to ? UINT64_MAX : due;
        intended_next++;
        begin(free_stack[--n_free], due, now);
    }
    return UINT64_MAX;
}

static bool finished(uint64_t now)
{
    if (!open_loop)
        return now >= t_to || (o.requests && started >= (uint64_t)o.requests && busy == 0);
    return now >= t_to &&
           ((busy == 0 && intended(intended_next) >= t_to) || now >= t_to + 5000000u);
}

static void run(void)
{
    struct epoll_event ev[EVENTS];
    uint64_t next_tick = 0;
    for (;;) {
        uint64_t now = now_us();
        if (now >= next_tick || (!cpu_begun && now >= t_from) || (!cpu_ended && now >= t_to)) {
            tick(now);
            next_tick = now + TICK_US;
        }
        if (finished(now)) return;
        uint64_t wake = start_due(now);
        if (wake > next_tick) wake = next_tick;
        if (!cpu_begun && wake > t_from) wake = t_from;
        if (wake > t_to && now < t_to) wake = t_to;
        now = now_us();
        uint64_t wait = wake > now ? wake - now : 0;
        struct timespec ts = {(time_t)(wait / 1000000u), (long)(wait % 1000000u) * 1000};
        int n = epoll_pwait2(ep, ev, EVENTS, &ts, NULL);
        for (int i = 0; i < n; i++)
            ready(ev[i].data.ptr, ev[i].events);
    }
}

/* ---- results ---- */

static void print_hist(const char *name, const hist *h)
{
    printf(",\"%sp50_us\":%llu,\"%sp90_us\":%llu,\"%sp99_us\":%llu,\"%sp999_us\":%llu,"
           "\"%smax_us\":%llu,\"%smean_us\":%.1f",
           name, (unsigned long long)hist_at(h, 0.5), name, (unsigned long long)hist_at(h, 0.9),
           name, (unsigned long long)hist_at(h, 0.99), name, (unsigned long long)hist_at(h, 0.999),
           name, (unsigned long long)h->max, name, hist_mean(h));
}

static void print_results(uint64_t now)
{
    double seconds = (double)((now < t_to ? now : t_to) - t_from) / 1e6;
    if (!o.requests && t_to > last_good && t_to - last_good > longest_pause)
        longest_pause = t_to - last_good;
    printf("{\"mode\":\"%s\",\"connections\":%lld,\"seconds\":%.3f,\"requests\":%llu,\"rps\":%.1f",
           o.mode, (long long)o.connections, seconds, (unsigned long long)good,
           seconds > 0 ? (double)good / seconds : 0);
    print_hist("", &total);
    if (o.stream || idle_mode) {
        print_hist("first_", &first);
        print_hist("gap_", &gap);
        printf(",\"events\":%llu,\"events_per_s\":%.1f", (unsigned long long)events,
               seconds > 0 ? (double)events / seconds : 0);
    }
    int64_t up = 0, stalled = 0;
    for (int64_t i = 0; i < o.connections; i++) {
        up += conns[i].fd >= 0 && conns[i].state != CONNECTING;
        stalled += conns[i].state == STALLED;
    }
    printf(",\"open\":%lld,\"stalled\":%lld,\"lost\":%llu,\"body_bytes\":%llu,\"pause_ms\":%.1f",
           (long long)up, (long long)stalled, (unsigned long long)idle_lost,
           (unsigned long long)body_bytes, (double)longest_pause / 1000);
    pids_print(good);
    printf(",\"errors\":%llu,\"error_kinds\":{", (unsigned long long)faults_all);
    const char *comma = "";
    for (int i = 0; i < F_KINDS; i++)
        if (faults[i]) {
            printf("%s\"%s\":%llu", comma, fault_names[i], (unsigned long long)faults[i]);
            comma = ",";
        }
    printf("},\"status\":{");
    comma = "";
    for (int i = 0; i < 600; i++)
        if (statuses[i]) {
            printf("%s\"%d\":%llu", comma, i, (unsigned long long)statuses[i]);
            comma = ",";
        }
    printf("}}\n");
}

static void options(int argc, char **argv)
{
    const opt table[] = {
        {"port", OPT_INT, &o.port, 1, 65535, "port on 127.0.0.1"},
        {"mode", OPT_STR, &o.mode, 0, 0, "closed, open or idle"},
        {"connections", OPT_INT, &o.connections, 1, 100000, "connections, in open mode the most"},
        {"rate", OPT_NUM, &o.rate, 1, 1e6, "open: requests a second"},
        {"seconds", OPT_NUM, &o.seconds, 0.01, 3600, "measured time"},
        {"warmup", OPT_NUM, &o.warmup, 0, 600, "time before it"},
        {"ramp", OPT_NUM, &o.ramp, 0, 600, "closed, idle: seconds over which connections start"},
        {"requests", OPT_INT, &o.requests, 0, 1e12, "closed: stop after so many; 0: by time"},
        {"path", OPT_STR, &o.path, 0, 0, "request target"},
        {"method", OPT_STR, &o.method, 0, 0, "default POST with a body, else GET"},
        {"body", OPT_STR, &o.body, 0, 0, "JSON body, or @FILE"},
        {"headers", OPT_STR, &o.headers, 0, 0, "more header lines, separated by |"},
        {"header-lines", OPT_STR, &o.header_lines, 0, 0, "file: each request takes the next line"},
        {"bodies", OPT_STR, &o.bodies, 0, 0, "file: each request takes the next line as its body"},
        {"stream", OPT_FLAG, &o.stream, 0, 0, "read answers as server-sent events"},
        {"stall-every", OPT_INT, &o.stall_every, 0, 1e6, "every N-th connection stops reading"},
        {"stall-body", OPT_STR, &o.stall_body, 0, 0, "body of those connections; default --body"},
        {"fresh", OPT_FLAG, &o.fresh, 0, 0, "a new connection for each request"},
        {"send", OPT_FLAG, &o.send, 0, 0, "idle: send the request too"},
        {"receive-bytes", OPT_INT, &o.receive_bytes, 0, 1e8, "receive buffer; 0: the system's"},
        {"timeout-ms", OPT_INT, &o.timeout_ms, 1, 3600000, "time for one answer"},
        {"retry-ms", OPT_INT, &o.retry_ms, 1, 600000,
         "closed: pause of a connection after an error"},
        {"pids", OPT_STR, &o.pids, 0, 0, "NAME=PID,...: report their CPU per request"},
    };
    opts_parse(argc, argv, "load generator for HTTP/1.1 on loopback", table,
               sizeof table / sizeof *table);
    if (o.port == 0) die("--port is needed");
    open_loop = strcmp(o.mode, "open") == 0;
    idle_mode = strcmp(o.mode, "idle") == 0;
    if (!open_loop && !idle_mode && strcmp(o.mode, "closed") != 0)
        die("--mode takes closed, open or idle, not \"%s\"", o.mode);
    if (open_loop && (o.stall_every || o.requests || o.ramp > 0))
        die("--stall-every, --requests and --ramp do not go with --mode open");
    if (o.stall_every && !o.stream) die("--stall-every needs --stream");
}

int main(int argc, char **argv)
{
    options(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    if (net_many_files((uint64_t)o.connections + 64) < (uint64_t)o.connections + 32)
        die("%lld connections need a higher limit of open files (ulimit -n)",
            (long long)o.connections);
    build_requests();
    pids_parse(o.pids);
    conns = calloc((size_t)o.connections, sizeof *conns);
    free_stack = calloc((size_t)o.connections, sizeof *free_stack);
    if (!conns || !free_stack) die("out of memory");
    for (int64_t i = 0; i < o.connections; i++) {
        conns[i].fd = -1;
        conns[i].stalls = o.stall_every && i % o.stall_every == 0;
        http_reader_init(&conns[i].reader, false, false);
        free_stack[n_free++] = &conns[o.connections - 1 - i];
    }
    ep = epoll_create1(EPOLL_CLOEXEC);
    t_start = now_us();
    t_from = t_start + (uint64_t)(o.warmup * 1e6);
    t_to = t_from + (uint64_t)(o.seconds * 1e6);
    if (o.requests) /* counted from the first one to the last */
        t_from = t_start, t_to = t_start + 3600000000u;
    last_good = t_from;
    run();
    uint64_t end = now_us();
    if (!cpu_ended) t_to = end, sample_cpu(end);
    stopping = true;
    if (open_loop) {
        /* what never started or never ended within the five seconds of grace timed out */
        uint64_t late = (uint64_t)busy;
        while (intended(intended_next) < t_to)
            intended_next++, late++;
        faults[F_TIMEOUT] += late;
        faults_all += late;
    }
    print_results(end);
    for (int64_t i = 0; i < o.connections; i++) {
        drop(&conns[i]);
        http_reader_free(&conns[i].reader);
    }
    free(conns);
    free(free_stack);
    for (size_t i = 0; i < n_requests; i++)
        free(requests[i].text);
    free(requests);
    free(stall_request.text);
    close(ep);
    return faults_all ? 1 : 0;
}
