/*  test_log_mux.c - lines in, lines out, rings, and an output that stalls. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "log_mux.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct world {
    loop *loop;
    log_mux *mux;
    log_source *source;
    int in;     /* what a child writes to */
    int out[2]; /* what the mux writes to, and what a terminal reads from */
} world;

static void world_open(world *w, log_format format)
{
    sv_error err = {.code = 0};
    int in[2];
    assert_int_equal(pipe2(in, O_CLOEXEC | O_NONBLOCK), 0);
    assert_int_equal(pipe2(w->out, O_CLOEXEC | O_NONBLOCK), 0);
    w->in = in[1];
    w->loop = loop_new(&err);
    w->mux = log_mux_new(w->loop, w->out[1], format, &err);
    assert_non_null(w->mux);
    w->source = log_mux_source(w->mux, "edge/1");
    assert_int_equal(log_source_open(w->source, in[0]), 0);
}

static void world_close(world *w)
{
    log_mux_free(w->mux, 0);
    loop_free(w->loop);
    if (w->in >= 0) close(w->in);
    close(w->out[0]);
    close(w->out[1]);
}

static void put(world *w, const char *text, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t did = write(w->in, text + at, n - at);
        assert_true(did > 0 || errno == EAGAIN);
        at += (size_t)(did > 0 ? did : 0);
        assert_int_equal(loop_turn(w->loop, 0), 0);
    }
    assert_int_equal(loop_turn(w->loop, 0), 0);
}

static void put_text(world *w, const char *text)
{
    put(w, text, strlen(text));
}

/* Everything the terminal can read now. */
static size_t get(world *w, char *to, size_t size)
{
    size_t have = 0;
    ssize_t n;
    while ((n = read(w->out[0], to + have, size - have - 1)) > 0) {
        have += (size_t)n;
        assert_int_equal(loop_turn(w->loop, 0), 0);
    }
    to[have] = 0;
    return have;
}

typedef struct kept {
    uint32_t n;
    uint64_t last_number;
    size_t bytes;
    char first[64], last[64];
} kept;

static void keep(void *arg, const char *name, const log_entry *e)
{
    kept *k = arg;
    assert_true(e->number > k->last_number);
    k->last_number = e->number;
    k->bytes += e->n;
    int n = e->n < 60 ? (int)e->n : 60;
    if (k->n++ == 0) snprintf(k->first, sizeof k->first, "%.*s", n, e->text);
    snprintf(k->last, sizeof k->last, "%.*s", n, e->text);
    (void)name;
}

static void lines_are_put_together(void **state)
{
    (void)state;
    world w;
    char text[4096];
    world_open(&w, LOG_FORMAT_JSON);
    put_text(&w, "{\"event\":");
    assert_int_equal(get(&w, text, sizeof text), 0);
    put_text(&w, "\"a\"}\n{\"event\":\"b\"}\n\n{\"event\"");
    get(&w, text, sizeof text);
    assert_string_equal(text, "{\"event\":\"a\"}\n{\"event\":\"b\"}\n");
    put_text(&w, ":\"c\"}");
    close(w.in); /* the end of the writer ends its last line */
    w.in = -1;
    loop_turn(w.loop, 0);
    get(&w, text, sizeof text);
    assert_string_equal(text, "{\"event\":\"c\"}\n");
    world_close(&w);
}

static void overlong_lines_are_cut(void **state)
{
    (void)state;
    static char line[3 * LOG_LINE_BYTES + 7], text[65536];
    world w;
    world_open(&w, LOG_FORMAT_HUMAN);
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 2] = '\n';
    put(&w, line, sizeof line - 1);
    put_text(&w, "next\n");
    size_t n = get(&w, text, sizeof text);
    assert_in_range(n, LOG_LINE_BYTES, LOG_LINE_BYTES + 100);
    assert_string_equal(text + n - 5, "next\n");
    kept k = {0};
    log_mux_last(w.mux, w.source, 10, keep, &k);
    assert_int_equal(k.n, 2);
    assert_int_equal(k.bytes, LOG_LINE_BYTES + 4);
    world_close(&w);
}

static void the_ring_keeps_the_newest(void **state)
{
    (void)state;
    world w;
    world_open(&w, LOG_FORMAT_JSON);
    log_source *other = log_mux_source(w.mux, "router/1");
    for (int i = 0; i < LOG_RING + 500; i++) {
        char line[32];
        int n = snprintf(line, sizeof line, "line %d\n", i);
        put(&w, line, (size_t)n);
    }
    kept k = {0};
    log_mux_last(w.mux, w.source, 1000000, keep, &k);
    assert_int_equal(k.n, LOG_RING);
    assert_string_equal(k.first, "line 500");
    assert_string_equal(k.last, "line 1499");
    k = (kept){0};
    log_mux_last(w.mux, NULL, 3, keep, &k);
    assert_int_equal(k.n, 3);
    assert_string_equal(k.first, "line 1497");
    k = (kept){0};
    log_mux_last(w.mux, other, 3, keep, &k);
    assert_int_equal(k.n, 0);
    world_close(&w);
}

static void the_ring_is_bounded_in_bytes(void **state)
{
    (void)state;
    static char line[LOG_LINE_BYTES];
    world w;
    world_open(&w, LOG_FORMAT_JSON);
    memset(line, 'y', sizeof line);
    line[sizeof line - 1] = '\n';
    for (int i = 0; i < 300; i++)
        put(&w, line, sizeof line);
    kept k = {0};
    log_mux_last(w.mux, w.source, 1000000, keep, &k);
    assert_in_range(k.bytes, LOG_RING_BYTES - LOG_LINE_BYTES, LOG_RING_BYTES);
    world_close(&w);
}

static void count_line(void *arg, const char *name, const log_entry *e)
{
    (void)name;
    (void)e;
    ++*(int *)arg;
}

static void too_many_lines_are_suppressed_and_counted(void **state)
{
    (void)state;
    static char text[1 << 20];
    world w;
    int heard = 0;
    world_open(&w, LOG_FORMAT_JSON);
    log_mux_listen(w.mux, count_line, &heard);
    for (int i = 0; i < 3000; i++)
        put_text(&w, "{\"event\":\"e\"}\n");
    assert_in_range(heard, 2 * LOG_LINES_SECOND, 4 * LOG_LINES_SECOND);
    text[0] = 0;
    for (int i = 0; i < 300 && strstr(text, "lines suppressed") == NULL; i++) {
        get(&w, text, sizeof text);
        loop_turn(w.loop, 20);
    }
    assert_non_null(strstr(text, "lines suppressed"));
    world_close(&w);
}

/* Nobody reads: the mux neither waits nor grows, and says afterwards what was lost. */
static void a_stalled_output_loses_lines_only(void **state)
{
    (void)state;
    static char line[4096], text[4 << 20];
    world w;
    world_open(&w, LOG_FORMAT_JSON);
    memset(line, 'z', sizeof line);
    memcpy(line, "{\"event\":\"", 10);
    memcpy(line + sizeof line - 3, "\"}\n", 3);
    for (int i = 0; i < 800; i++)
        put(&w, line, sizeof line);
    get(&w, text, sizeof text);
    put_text(&w, "{\"event\":\"after\"}\n");
    get(&w, text, sizeof text);
    assert_non_null(strstr(text, "lines were lost: the output is too slow"));
    assert_non_null(strstr(text, "after"));
    world_close(&w);
}

static void a_closed_output_does_not_spin(void **state)
{
    (void)state;
    world w;
    world_open(&w, LOG_FORMAT_JSON);
    close(w.out[0]);
    w.out[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    put_text(&w, "{\"event\":\"e\"}\n");
    uint64_t from_us = clock_us();
    loop_turn(w.loop, 100);
    loop_turn(w.loop, 100);
    assert_true(clock_us() - from_us > 50000);
    kept k = {0};
    log_mux_last(w.mux, w.source, 10, keep, &k);
    assert_int_equal(k.n, 1);
    world_close(&w);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_put_together),
        cmocka_unit_test(overlong_lines_are_cut),
        cmocka_unit_test(the_ring_keeps_the_newest),
        cmocka_unit_test(the_ring_is_bounded_in_bytes),
        cmocka_unit_test(too_many_lines_are_suppressed_and_counted),
        cmocka_unit_test(a_stalled_output_loses_lines_only),
        cmocka_unit_test(a_closed_output_does_not_spin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
