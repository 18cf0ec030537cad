/*  provider_sim.c - every provider's API on one loopback port, misbehaving on demand.
 *
 *  OpenAI (chat completions, completions, responses, embeddings, moderations, images,
 *  transcriptions, models; the same under /openai/deployments/MODEL/ as at Azure), Anthropic,
 *  Gemini, Ollama. A request is checked as the real provider would and refused in its words. How it
 *  is answered is taken from the script first, else from the model name:
 *  "sim,tokens=20,fault=cut,at=3"; --help lists every path, key, fault and control.
 *
 *  /_control, /_stats and /_request?n=K answer on the port itself and on a second one that stays
 *  open when the first is closed. Times are microseconds of CLOCK_MONOTONIC, so a test on the same
 *  machine can compare them with its own: "closed_by_peer" is when this end learnt that the caller
 *  had gone.
 *
 *  Prints "control M" and "port N" when ready. One thread, epoll; ends with SIGTERM. */
#include "http_reader.h"
#include "net.h"
#include "opts.h"
#include "sim_answer.h"
#include "sim_help.h"
#include "sim_log.h"
#include "sim_read.h"
#include "sim_route.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    EVENTS = 256,
    BODY_MAX = 64 << 20,
    FAILS = 1024,
    SCRIPT = 256,
    OUT_MAX = 1 << 30,
    PIECE_KEEP = 65536,
    TURN = 64
};

typedef struct conn {
    int fd;
    struct conn *next;
    http_reader reader;
    buf body, out;
    size_t out_at; /* bytes of out that are written */
    uint64_t body_bytes, body_hash;
    sim_request request;
    sim_answer answer;
    uint64_t rec; /* number of the request that is being answered; 0: none that is counted */
    uint64_t random;
    bool answering, silent, slow, watching_out, control_only;
    sim_after after;
    uint64_t hold; /* nothing is written before */
    uint64_t due;  /* no next piece is made before */
} conn;

typedef struct script_entry {
    sim_behaviour b;
    bool models;
    int64_t left; /* -1: for ever */
} script_entry;

static int64_t port, control_port;
static const char *key;
static const char *models_option = "sim-small,sim-large";
static int ep, listener = -1, control_listener = -1;
static conn *conns;
static uint64_t reopen_at, down_until;
static int down_status = 503;
static json_t *bad_keys; /* key: status */
static volatile sig_atomic_t stop;

static script_entry script[SCRIPT];
static int script_n, script_at;
static char models[64][128];
static int n_models;

static uint64_t accepted, bad_requests;
static struct {
    uint64_t hash;
    int64_t n;
} fails[FAILS]; /* requests by model and key, for fail_first */

static void on_term(int sig)
{
    (void)sig;
    stop = 1;
}

/* ---- stats ---- */

static char *stats_json(void)
{
    int64_t n_open = 0, n_conns = 0;
    for (const conn *c = conns; c; c = c->next)
        if (c->fd >= 0 && !c->control_only) {
            n_conns++;
            n_open += c->answering;
        }
    json_t *o =
        json_pack("{s:I,s:I,s:I,s:I,s:I,s:o}", "open", (json_int_t)n_open, "connections",
                  (json_int_t)n_conns, "accepted", (json_int_t)accepted, "bad_requests",
                  (json_int_t)bad_requests, "now_us", (json_int_t)now_us(), "last", sim_log_last());
    sim_log_stats(o);
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    return text;
}

/* ---- connections ---- */

static void watch(conn *c)
{
    bool out = c->out.n > c->out_at && !c->slow;
    if (out == c->watching_out) return;
    c->watching_out = out;
    struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP | (out ? EPOLLOUT : 0u), .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
}

static void end_record(conn *c, const char *outcome, uint64_t now)
{
    if (c->rec) sim_log_end(c->rec, outcome, now);
    c->rec = 0;
    sim_answer_end(&c->answer);
    sim_request_free(&c->request);
}

/* The memory goes in sweep(), so that nobody holds a pointer to it. */
static void drop(conn *c, const char *outcome, bool reset)
{
    if (c->fd < 0) return;
    end_record(c, outcome, now_us());
    if (reset)
        net_reset(c->fd);
    else
        close(c->fd);
    c->fd = -1;
}

static void sweep(void)
{
    for (conn **at = &conns; *at;) {
        conn *c = *at;
        if (c->fd >= 0) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        http_reader_free(&c->reader);
        buf_free(&c->body);
        buf_free(&c->out);
        free(c);
    }
}

static void reply(conn *c, int status, const char *words, const char *body)
{
    buf_printf(&c->out,
               "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
               status, words, strlen(body), body);
    c->answering = true;
    c->after = SIM_KEEP;
    c->due = c->hold = 0;
    c->slow = c->silent = false;
}

/* ---- what is asked ---- */

static script_entry *next_entry(bool for_models)
{
    for (int i = script_at; i < script_n; i++) {
        script_entry *e = &script[i];
        if (e->models != for_models || e->left == 0) continue;
        if (e->left > 0) e->left--;
        while (script_at < script_n && script[script_at].left == 0)
            script_at++;
        return e;
    }
    return NULL;
}

static bool unlucky(const sim_behaviour *b)
{
    const uint64_t of[2] = {(uint64_t)b->seed, sim_log_requests()};
    uint64_t h = sim_hash(of, sizeof of, 0);
    return (int64_t)((h ^ h >> 32) % 100) < b->slow_percent;
}

/* True while the first requests of this model and key have to fail. */
static bool fails_first(const sim_request *r, int64_t most)
{
    uint64_t h = sim_hash(r->key, strlen(r->key), sim_hash(r->model, strlen(r->model), 0)) | 1;
    for (size_t i = 0; i < FAILS; i++) {
        size_t at = (h + i) % FAILS;
        if (fails[at].hash && fails[at].hash != h) continue;
        fails[at].hash = h;
        return fails[at].n++ < most;
    }
    return false;
}

static void begin_answer(conn *c, sim_behaviour *b)
{
    if (b->fail_first) {
        if (!b->status) b->status = 500;
        if (!fails_first(&c->request, b->fail_first)) b->status = 0;
    }
    if (b->slow_percent && unlucky(b)) b->first_ms += b->slow_ms;
    sim_answer_start(&c->answer, b, &c->request, sim_log_requests());
    c->answering = true;
    c->silent = false;
    c->after = SIM_GO_ON;
    c->slow = b->fault == SIM_bytes || b->fault == SIM_drip || b->split;
    c->random = (uint64_t)b->split * 0x9e3779b97f4a7c15ull;
    c->due = c->hold = 0;
    sim_record *rec = sim_log_at(c->rec);
    if (rec && b->status) rec->status = (int)b->status;
}

static void refuse(conn *c, const sim_behaviour *b)
{
    const sim_request *r = &c->request;
    sim_failed(r, b, &r->fail, sim_log_requests(), &c->out);
    bad_requests += r->fail.status == 400;
    c->answering = true;
    c->after = SIM_KEEP;
    c->due = c->hold = 0;
    c->slow = c->silent = false;
}

static void answer_models(conn *c)
{
    script_entry *e = next_entry(true);
    sim_format f = c->request.format;
    if (e && (e->b.fault != SIM_none || e->b.status)) {
        sim_behaviour b = e->b;
        snprintf(c->request.model, sizeof c->request.model, "models");
        c->request.ask = SIM_CHAT;
        begin_answer(c, &b);
        return;
    }
    json_t *o = sim_models(f, models, n_models);
    char *text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    reply(c, 200, "OK", text ? text : "{}");
    free(text);
    if (e) c->hold = now_us() + (uint64_t)e->b.first_ms * 1000;
}

static void error_reply(conn *c, int status, const char *words, const char *message)
{
    json_t *o = json_pack("{s:{s:s,s:s,s:n,s:n}}", "error", "message", message, "type",
                          "invalid_request_error", "param", "code");
    char *text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    reply(c, status, words, text ? text : "{}");
    free(text);
}

static int key_status(const char *given)
{
    if (key && strcmp(given, key) != 0) return 401;
    return (int)json_integer_value(json_object_get(bad_keys, given));
}

/* What is asked is understood, counted, and answered or refused. */
static void answer_post(conn *c)
{
    sim_request *r = &c->request;
    sim_behaviour b;
    char why[160];
    const script_entry *e;
    buf body;
    sim_default(&b);
    buf_init(&body, SIZE_MAX / 2);
    int rc = sim_route_check(r, c->reader.head), status = key_status(r->key);
    if (rc == 0) rc = sim_read_body(r, c->reader.head, c->body.p ? c->body.p : "", c->body.n);
    if (rc == 0 && status) rc = sim_refuse_key(r, status);
    if (rc == 0 && down_until > now_us()) {
        rc = sim_refuse(r, NULL, "The service is temporarily unavailable.");
        r->fail.status = down_status;
    }
    if (rc == 0 && (e = next_entry(false)))
        b = e->b;
    else if (rc == 0 && sim_from_model(&b, r->model, why, sizeof why))
        rc = sim_refuse(r, "model", "%s", why);
    if (rc == 0) rc = r->ask == SIM_CHAT ? sim_read_chat(r, &b) : sim_fixed(r, &b, &body);
    c->rec =
        sim_log_start(r, c->reader.head, rc ? "bad request" : sim_fault_name(b.fault), now_us());
    sim_log_body(c->rec, c->body.p ? c->body.p : "", c->body.n);
    if (rc) {
        refuse(c, &b);
    } else {
        begin_answer(c, &b);
        if (r->ask != SIM_CHAT) buf_put(&c->answer.fixed, body.p, body.n);
    }
    buf_free(&body);
}

/* ---- control ---- */

static void set_listening(bool on)
{
    if (on && listener < 0) {
        uint16_t p = (uint16_t)port;
        listener = net_listen(&p);
        if (listener < 0) die("cannot listen on port %d again: %s", p, strerror(errno));
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = &listener};
        epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e);
    } else if (!on && listener >= 0) {
        close(listener);
        listener = -1;
    }
}

static int set_script(const json_t *list, char *why, size_t cap)
{
    size_t n = json_array_size(list);
    if (!json_is_array(list) || n > SCRIPT) {
        snprintf(why, cap, "script is a list of at most %d entries", SCRIPT);
        return -1;
    }
    static script_entry fresh[SCRIPT];
    for (size_t i = 0; i < n; i++) {
        script_entry *e = &fresh[i];
        sim_default(&e->b);
        if (sim_from_json(&e->b, json_array_get(list, i), why, cap)) return -1;
        e->models = strcmp(e->b.on, "models") == 0;
        e->left = e->b.times ? e->b.times : -1;
    }
    memcpy(script, fresh, n * sizeof *script);
    script_n = (int)n;
    script_at = 0;
    return 0;
}

static int set_models(const json_t *list, char *why, size_t cap)
{
    size_t n = json_array_size(list), max = sizeof models / sizeof *models;
    if (!json_is_array(list) || n > max) {
        snprintf(why, cap, "models is a list of at most %zu names", max);
        return -1;
    }
    n_models = (int)n;
    for (size_t i = 0; i < n; i++) {
        const char *name = json_string_value(json_array_get(list, i));
        snprintf(models[i], sizeof models[i], "%s", name ? name : "");
    }
    return 0;
}

static void reset_stats(void)
{
    for (conn *k = conns; k; k = k->next)
        k->rec = 0;
    accepted = bad_requests = 0;
    memset(fails, 0, sizeof fails);
    sim_log_reset();
}

static int control_key(const char *name, const json_t *v, char *why, size_t cap)
{
    if (strcmp(name, "script") == 0) return set_script(v, why, cap);
    if (strcmp(name, "models") == 0) return set_models(v, why, cap);
    if (strcmp(name, "listen") == 0 && json_is_boolean(v)) {
        set_listening(json_is_true(v));
        return 0;
    }
    if (strcmp(name, "refuse_ms") == 0 && json_is_integer(v)) {
        set_listening(false);
        reopen_at = now_us() + (uint64_t)json_integer_value(v) * 1000;
        return 0;
    }
    if (strcmp(name, "down_ms") == 0 && json_is_integer(v)) {
        down_until = now_us() + (uint64_t)json_integer_value(v) * 1000;
        return 0;
    }
    if (strcmp(name, "down_status") == 0 && json_integer_value(v) >= 400 &&
        json_integer_value(v) < 600) {
        down_status = (int)json_integer_value(v);
        return 0;
    }
    if (strcmp(name, "keys") == 0 && json_is_object(v)) {
        json_decref(bad_keys);
        bad_keys = json_deep_copy(v);
        return 0;
    }
    if (strcmp(name, "reset_stats") == 0 && json_is_boolean(v)) {
        if (json_is_true(v)) reset_stats();
        return 0;
    }
    snprintf(why, cap, "\"%s\" is not a key of /_control, or its value has the wrong type", name);
    return -1;
}

static void answer_control(conn *c)
{
    json_error_t je;
    char why[200] = "the body is an object";
    json_t *o = json_loadb(c->body.p ? c->body.p : "", c->body.n, JSON_REJECT_DUPLICATES, &je);
    int rc = json_is_object(o) ? 0 : -1;
    const char *name;
    json_t *v;
    if (rc == 0) {
        json_object_foreach(o, name, v)
        {
            rc = rc ? rc : control_key(name, v, why, sizeof why);
        }
    }
    json_decref(o);
    if (rc)
        error_reply(c, 400, "Bad Request", why);
    else
        reply(c, 200, "OK", "{\"ok\":true}");
}

static bool asked(const conn *c, const char *line)
{
    return strncmp(c->reader.head, line, strlen(line)) == 0;
}

static void show_request(conn *c)
{
    const char *n = strstr(c->reader.head, "?n=");
    json_t *o = sim_log_request(n ? strtoull(n + 3, NULL, 10) : sim_log_requests());
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    if (text)
        reply(c, 200, "OK", text);
    else
        error_reply(c, 404, "Not Found", "This request is not remembered.");
    free(text);
}

static bool serve_control(conn *c)
{
    bool stats = asked(c, "GET /_stats "),
         one = asked(c, "GET /_request") || asked(c, "GET /_stats?n=");
    if (!stats && !one && !asked(c, "POST /_control ")) return false;
    c->control_only = true;
    if (one) {
        show_request(c);
    } else if (stats) {
        char *text = stats_json();
        reply(c, 200, "OK", text ? text : "{}");
        free(text);
    } else {
        answer_control(c);
    }
    return true;
}

static void serve(conn *c)
{
    if (serve_control(c)) return;
    sim_log_arrived(c->reader.head, c->reader.head_n, &c->body, c->body_bytes, c->body_hash);
    sim_request *r = &c->request;
    sim_behaviour b;
    sim_default(&b);
    sim_route(r, c->reader.head);
    if (r->ask == SIM_NOTHING) {
        sim_refuse(r, NULL, "There is nothing here.");
        r->fail.status = 404;
        refuse(c, &b);
    } else if (r->ask != SIM_MODELS) {
        answer_post(c);
    } else if (sim_route_check(r, c->reader.head)) {
        refuse(c, &b);
    } else if (key_status(r->key)) {
        sim_refuse_key(r, key_status(r->key));
        refuse(c, &b);
    } else {
        answer_models(c);
    }
}

/* ---- writing ---- */

static void answered(conn *c)
{
    uint64_t now = now_us();
    switch (c->after) {
    case SIM_CLOSE: drop(c, "closed", false); return;
    case SIM_RESET: drop(c, "reset", true); return;
    case SIM_SILENCE: c->silent = true; return;
    case SIM_KEEP: break;
    case SIM_GO_ON: return;
    }
    end_record(c, "complete", now);
    c->answering = false;
    bool over = c->reader.close;
    http_reader_next(&c->reader);
    buf_reset(&c->body, 4096);
    if (over) drop(c, "closed", false);
}

/* How much a slow writer sends at once. */
static size_t step(conn *c)
{
    size_t left = c->out.n - c->out_at, n = 1;
    if (c->answer.b.split) {
        c->random = c->random * 6364136223846793005ull + 1442695040888963407ull;
        n = 1 + (c->random >> 58);
    }
    return n < left ? n : left;
}

/* Writes what is due; false when the socket is full or the connection is gone. */
static bool write_out(conn *c, uint64_t now)
{
    while (c->out_at < c->out.n) {
        size_t n = c->slow ? step(c) : c->out.n - c->out_at;
        ssize_t w = send(c->fd, c->out.p + c->out_at, n, MSG_NOSIGNAL);
        if (w < 0) {
            if (errno != EAGAIN) drop(c, "closed_by_peer", false);
            return false;
        }
        sim_record *rec = sim_log_at(c->rec);
        if (rec) {
            if (!rec->first_us) rec->first_us = now;
            rec->last_write_us = now;
            rec->bytes += (uint64_t)w;
        }
        c->out_at += (size_t)w;
        if (c->slow) { /* one step a turn, so that each travels alone */
            c->due =
                c->answer.b.fault == SIM_drip ? now + (uint64_t)c->answer.b.drip_ms * 1000 : now;
            break;
        }
    }
    if (c->out_at < c->out.n) return false;
    buf_reset(&c->out, PIECE_KEEP);
    c->out_at = 0;
    return true;
}

static void advance(conn *c, uint64_t now)
{
    for (int i = 0; i < TURN && c->fd >= 0 && c->answering && !c->silent && c->hold <= now; i++) {
        if (c->out_at == c->out.n) {
            if (c->after != SIM_GO_ON) {
                answered(c);
                break;
            }
            if (c->due > now) break;
            uint64_t wait_ms = 0;
            c->after = sim_answer_next(&c->answer, &c->out, &wait_ms);
            if (c->out.failed) die("an answer is larger than 1 GiB");
            c->due = now + wait_ms * 1000;
        } else if ((c->slow && c->due > now) || !write_out(c, now) || c->slow) {
            break;
        }
    }
    if (c->fd >= 0) watch(c);
}

/* ---- reading ---- */

static void on_body(void *arg, const char *p, size_t n)
{
    conn *c = arg;
    c->body_bytes += n;
    for (size_t i = 0; i < n; i++)
        c->body_hash = (c->body_hash ^ (uint8_t)p[i]) * 0x100000001b3ull;
    size_t room = BODY_MAX - c->body.n;
    buf_put(&c->body, p, n < room ? n : room);
}

static void readable(conn *c)
{
    char in[65536];
    for (;;) {
        /* while an answer is under way only the end of the connection is of interest */
        ssize_t n = recv(c->fd, in, sizeof in, c->answering ? MSG_PEEK : 0);
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) {
            drop(c, "closed_by_peer", false);
            return;
        }
        if (c->answering) {
            drop(c, "pipelined", true); /* no caller of a provider does this */
            return;
        }
        if (http_reader_fresh(&c->reader)) {
            c->body_bytes = 0;
            c->body_hash = 0xcbf29ce484222325ull;
        }
        size_t used;
        http_result rc = http_reader_feed(&c->reader, in, (size_t)n, &used, on_body, c);
        if (rc == HTTP_BAD || (rc == HTTP_DONE && used != (size_t)n)) {
            bad_requests++;
            drop(c, "bad request", true);
            return;
        }
        if (rc == HTTP_DONE) {
            serve(c);
            advance(c, now_us());
            return;
        }
    }
}

static void accept_all(int from)
{
    for (;;) {
        int fd = accept4(from, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        conn *c = calloc(1, sizeof *c);
        if (!c) die("out of memory");
        c->fd = fd;
        c->control_only = from == control_listener;
        accepted += from == listener;
        http_reader_init(&c->reader, true, true);
        buf_init(&c->body, BODY_MAX);
        buf_init(&c->out, OUT_MAX);
        net_nodelay(fd);
        struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = c};
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
        c->next = conns;
        conns = c;
    }
}

/* Does what is due and answers when the next thing is, in microseconds of now_us. */
static uint64_t due_work(void)
{
    uint64_t now = now_us(), next = UINT64_MAX;
    if (reopen_at && now >= reopen_at) {
        reopen_at = 0;
        set_listening(true);
    }
    if (reopen_at) next = reopen_at;
    for (conn *c = conns; c; c = c->next) {
        if (c->fd < 0 || !c->answering || c->silent || c->watching_out) continue;
        if (c->due <= now || c->out_at < c->out.n) advance(c, now);
        if (c->fd < 0 || !c->answering || c->silent || c->watching_out) continue;
        uint64_t at = c->hold > c->due ? c->hold : c->due;
        if (at < next) next = at;
    }
    return next;
}

static void loop(void)
{
    while (!stop) {
        uint64_t next = due_work();
        sweep();
        struct timespec ts, *wait = NULL;
        if (next != UINT64_MAX) {
            uint64_t now = now_us(), us = next > now ? next - now : 0;
            ts = (struct timespec){(time_t)(us / 1000000u), (long)(us % 1000000u) * 1000};
            wait = &ts;
        }
        struct epoll_event ev[EVENTS];
        int n = epoll_pwait2(ep, ev, EVENTS, wait, NULL);
        for (int i = 0; i < n; i++) {
            if (ev[i].data.ptr == &listener || ev[i].data.ptr == &control_listener) {
                accept_all(*(int *)ev[i].data.ptr);
                continue;
            }
            conn *c = ev[i].data.ptr;
            if (c->fd >= 0 && ev[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
                readable(c);
            if (c->fd >= 0 && ev[i].events & EPOLLOUT) advance(c, now_us());
        }
    }
}

int main(int argc, char **argv)
{
    const opt table[] = {
        {"port", OPT_INT, &port, 0, 65535, "port on 127.0.0.1; 0 takes a free one"},
        {"control", OPT_INT, &control_port, 0, 65535, "second port, for /_control and /_stats"},
        {"models", OPT_STR, &models_option, 0, 0, "what GET /v1/models lists"},
        {"key", OPT_STR, &key, 0, 0, "the only key that is accepted; default: any or none"},
    };
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--keys") == 0 || strcmp(argv[i], "--help") == 0) sim_print_help();
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--keys") == 0) return 0;
    opts_parse(argc, argv, "every provider's API, misbehaving on demand (--keys: the page above)",
               table, sizeof table / sizeof *table);
    struct sigaction sa = {.sa_handler = on_term};
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);
    net_many_files(16384);
    char *copy = strdup(models_option), *save = NULL;
    for (char *t = strtok_r(copy, ",", &save); t && n_models < 64; t = strtok_r(NULL, ",", &save))
        snprintf(models[n_models++], sizeof models[0], "%s", t);
    free(copy);
    ep = epoll_create1(EPOLL_CLOEXEC);
    uint16_t p = (uint16_t)port, m = (uint16_t)control_port;
    listener = net_listen(&p);
    if (listener < 0) die("cannot listen on port %d: %s", p, strerror(errno));
    control_listener = net_listen(&m);
    if (control_listener < 0) die("cannot listen on port %d: %s", m, strerror(errno));
    port = p;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = &listener};
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e);
    e.data.ptr = &control_listener;
    epoll_ctl(ep, EPOLL_CTL_ADD, control_listener, &e);
    printf("control %d\nport %d\n", m, p);
    fflush(stdout);
    loop();
    for (conn *c = conns; c; c = c->next)
        drop(c, "closed", false);
    sweep();
    json_decref(bad_keys);
    sim_log_free();
    close(ep);
    return 0;
}
