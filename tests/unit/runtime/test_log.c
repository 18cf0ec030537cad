/*  test_log.c - every line that leaves is one JSON object, whatever the fields hold. */
#include "error.h"
#include "log.h"
#include "metrics.h"
#include "uuid.h"

#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static int pipe_fd[2];

static int setup(void **state)
{
    (void)state;
    if (pipe2(pipe_fd, O_CLOEXEC)) return -1;
    fcntl(pipe_fd[0], F_SETFL, O_NONBLOCK);
    fcntl(pipe_fd[0], F_SETPIPE_SZ, 1 << 20);
    log_init("unit", 7, LOG_INFO, pipe_fd[1]);
    log_context(NULL, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    log_init("unit", 7, LOG_INFO, 2);
    close(pipe_fd[0]);
    close(pipe_fd[1]);
    return 0;
}

static char text[1 << 20];

static size_t take_text(void)
{
    size_t n = 0;
    ssize_t got;
    while (n + 1 < sizeof text && (got = read(pipe_fd[0], text + n, sizeof text - 1 - n)) > 0)
        n += (size_t)got;
    text[n] = 0;
    return n;
}

static json_t *parse_line(const char *line, size_t n)
{
    json_error_t e;
    json_t *j = json_loadb(line, n, JSON_REJECT_DUPLICATES, &e);
    if (j == NULL) fail_msg("not JSON: %s: %.*s", e.text, (int)n, line);
    return j;
}

/* Exactly one line was written; the caller frees it. */
static json_t *take_line(void)
{
    size_t n = take_text();
    assert_true(n > 0 && n <= 8192);
    assert_ptr_equal(memchr(text, '\n', n), text + n - 1);
    return parse_line(text, n);
}

static const char *str(json_t *j, const char *key)
{
    return json_string_value(json_object_get(j, key));
}

static void test_plain_line(void **state)
{
    (void)state;
    time_t before = time(NULL);
    log_write(LOG_INFO, "provider answered", LOG_STR("provider", "ollama"), LOG_INT("status", -200),
              LOG_NUM("cost", 0.25), LOG_BOOL("cached", true));
    json_t *j = take_line();
    assert_string_equal(str(j, "level"), "info");
    assert_string_equal(str(j, "service"), "unit");
    assert_int_equal(json_integer_value(json_object_get(j, "instance")), 7);
    assert_string_equal(str(j, "event"), "provider answered");
    assert_string_equal(str(j, "provider"), "ollama");
    assert_int_equal(json_integer_value(json_object_get(j, "status")), -200);
    assert_true(json_real_value(json_object_get(j, "cost")) == 0.25);
    assert_true(json_is_true(json_object_get(j, "cached")));
    assert_null(json_object_get(j, "request_id"));
    assert_null(json_object_get(j, "truncated"));
    struct tm tm = {0};
    const char *rest = strptime(str(j, "ts"), "%Y-%m-%dT%H:%M:%S", &tm);
    assert_non_null(rest);
    assert_int_equal(strlen(rest), 5); /* .123Z */
    assert_true(rest[0] == '.' && rest[4] == 'Z');
    time_t ts = timegm(&tm);
    assert_true(ts >= before && ts <= time(NULL));
    json_decref(j);
}

static void test_levels(void **state)
{
    (void)state;
    log_write(LOG_DEBUG, "quiet");
    assert_int_equal(take_text(), 0);
    log_set_level(LOG_DEBUG);
    log_instance(9);
    log_write(LOG_DEBUG, "loud");
    json_t *j = take_line();
    assert_string_equal(str(j, "level"), "debug");
    assert_int_equal(json_integer_value(json_object_get(j, "instance")), 9);
    json_decref(j);
    log_level level = LOG_ERROR;
    assert_int_equal(log_level_parse("warn", &level), 0);
    assert_int_equal(level, LOG_WARN);
    assert_int_equal(log_level_parse("WARN", &level), SV_E_INVALID);
    assert_int_equal(log_level_parse("", &level), SV_E_INVALID);
}

static void test_escapes(void **state)
{
    (void)state;
    const char raw[] = "a\"b\\c\n\r\t\x01\x7f \xe2\x80\xa8\xe2\x80\xa9 \xc3\xa9 \xff \xed\xa0\x80 "
                       "\xf0\x9f\x98\x80\xe2\x82";
    log_write(LOG_WARN, "odd \"event\"", LOG_SLICE("s", ((sv_str){raw, sizeof raw - 1})),
              LOG_SLICE("nul", ((sv_str){"a\0b", 3})), LOG_SLICE("none", ((sv_str){NULL, 0})),
              LOG_NUM("nan", 0.0 / 0.0), LOG_ID("id", NULL), LOG_ERR(NULL));
    size_t n = take_text();
    assert_null(strstr(text, "\xe2\x80\xa8"));
    assert_null(strstr(text, "\xe2\x80\xa9"));
    assert_non_null(strstr(text, "\\u0000"));
    assert_non_null(strstr(text, "\\u2028\\u2029"));
    json_error_t e;
    json_t *j = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
    assert_non_null(j);
    assert_string_equal(
        str(j, "s"),
        "a\"b\\c\n\r\t\x01\x7f \xe2\x80\xa8\xe2\x80\xa9 \xc3\xa9 \xef\xbf\xbd "
        "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd \xf0\x9f\x98\x80\xef\xbf\xbd\xef\xbf\xbd");
    assert_true(json_is_null(json_object_get(j, "none")));
    assert_true(json_is_null(json_object_get(j, "nan")));
    assert_true(json_is_null(json_object_get(j, "id")));
    assert_true(json_is_null(json_object_get(j, "error")));
    json_decref(j);
}

static void test_context_and_error(void **state)
{
    (void)state;
    sv_id id = uuid_new();
    sv_trace trace = {.trace_id = {0xab, 1}};
    sv_error err = {0};
    sv_fail(&err, SV_E_OUT_OF_RANGE, "retry.max", "Field %s must be smaller.", "retry.max");
    sv_error_detail(&err, "was %d", 12);
    log_context(&id, &trace);
    log_write(LOG_ERROR, "refused", LOG_ID("other", &id), LOG_ERR(&err));
    json_t *j = take_line();
    char want[UUID_TEXT + 1];
    uuid_format(&id, want);
    assert_string_equal(str(j, "request_id"), want);
    assert_string_equal(str(j, "other"), want);
    assert_string_equal(str(j, "trace_id"), "ab010000000000000000000000000000");
    json_t *e = json_object_get(j, "error");
    assert_string_equal(str(e, "code"), "request.out_of_range");
    assert_string_equal(str(e, "field"), "retry.max");
    assert_string_equal(str(e, "message"), "Field retry.max must be smaller.");
    assert_string_equal(str(e, "detail"), "was 12");
    json_decref(j);
    log_context(NULL, NULL);
    sv_error bare = {.code = SV_E_DENIED};
    log_write(LOG_ERROR, "refused", LOG_ERR(&bare));
    j = take_line();
    assert_null(json_object_get(j, "request_id"));
    assert_int_equal(json_object_size(json_object_get(j, "error")), 1);
    json_decref(j);
}

/* Strings of every length around the limit, of one to six bytes a character: always valid, never
 * above 8 KiB, ids and mark present. */
static void test_cut_stays_valid(void **state)
{
    (void)state;
    static const char *const unit[] = {
        "x", "\"", "\x01", "\xc3\xa9", "\xe2\x80\xa8", "\xf0\x9f\x98\x80", "\xff"};
    static char big[16384];
    sv_id id = uuid_new();
    sv_trace trace = {.trace_id = {1}};
    sv_error err = {0};
    sv_fail(&err, SV_E_IO, "f", "%0200d", 1);
    sv_error_detail(&err, "%0200d", 1);
    log_context(&id, &trace);
    int cut = 0, whole = 0, without_detail = 0;
    for (size_t u = 0; u < sizeof unit / sizeof *unit; u++) {
        size_t len = strlen(unit[u]);
        for (uint32_t n = 0; n + len <= sizeof big; n += (uint32_t)len)
            memcpy(big + n, unit[u], len);
        log_init("unit", 7, LOG_INFO, pipe_fd[1]); /* forgets the sites of the unit before */
        for (uint32_t n = 500; n < 9000; n += 61) {
            const log_field fields[] = {LOG_SLICE("big", ((sv_str){big, n})),
                                        LOG_INT("after", 5),
                                        LOG_ERR(&err),
                                        {LOG_K_END, NULL, {.i = 0}}};
            log_line(LOG_INFO, "cut", (int)(u * 10000 + n), "big one", fields);
            json_t *j = take_line();
            assert_non_null(str(j, "request_id"));
            assert_non_null(str(j, "trace_id"));
            assert_non_null(str(j, "big"));
            if (json_is_true(json_object_get(j, "truncated"))) {
                cut++;
                json_t *e = json_object_get(j, "error");
                without_detail += e && !str(e, "detail");
            } else {
                whole++;
                assert_int_equal(json_integer_value(json_object_get(j, "after")), 5);
            }
            json_decref(j);
        }
    }
    assert_true(cut > 100 && whole > 100 && without_detail > 0);
    log_context(NULL, NULL);
}

/* Counts lines of the event and what was reported as suppressed at line `at` of this file. */
static int lines_of(const char *event, int at, json_int_t *suppressed)
{
    char site[40];
    snprintf(site, sizeof site, "test_log.c:%d", at);
    size_t n = take_text();
    int lines = 0;
    for (char *p = text; p < text + n;) {
        char *end = memchr(p, '\n', (size_t)(text + n - p));
        assert_non_null(end);
        json_t *j = parse_line(p, (size_t)(end - p));
        if (strcmp(str(j, "event"), event) == 0) lines++;
        if (strcmp(str(j, "event"), "lines suppressed") == 0 && strcmp(str(j, "site"), site) == 0)
            *suppressed += json_integer_value(json_object_get(j, "n"));
        json_decref(j);
        p = end + 1;
    }
    return lines;
}

/* Written and reported lines add up; another site is not held back; within a second at most 50. */
static void test_rate_limit(void **state)
{
    (void)state;
    json_int_t suppressed = 0;
    int lines = 0, at = 0;
    struct timespec from, now;
    clock_gettime(CLOCK_REALTIME, &from);
    for (int i = 0; i < 1000; i++) {
        log_write(LOG_INFO, "flood"), at = __LINE__;
        if (i % 100 == 0) lines += lines_of("flood", at, &suppressed);
    }
    clock_gettime(CLOCK_REALTIME, &now);
    int seconds = (int)(now.tv_sec - from.tv_sec) + 1;
    log_write(LOG_INFO, "calm");
    size_t n = take_text();
    assert_true(n > 0);
    assert_non_null(strstr(text, "\"calm\""));
    for (char *p = strstr(text, "\"flood\""); p; p = strstr(p + 1, "\"flood\""))
        lines++;
    assert_true(lines >= 50 && lines <= 50 * seconds);
    while (suppressed + lines < 1000) { /* until a line of the next second brings the report */
        log_write(LOG_INFO, "tick");
        lines_of("tick", at, &suppressed);
        poll(NULL, 0, 20);
    }
    assert_int_equal(suppressed + lines, 1000);
}

/* A reader that stalls costs lines, counted, and no time; the next line is whole again. */
static void test_stalled_reader(void **state)
{
    (void)state;
    metrics_free();
    fcntl(pipe_fd[0], F_SETPIPE_SZ, 4096);
    static char big[3000];
    memset(big, 'x', sizeof big);
    for (int i = 0; i < 40; i++) {
        const log_field fields[] = {LOG_SLICE("big", ((sv_str){big, sizeof big})),
                                    {LOG_K_END, NULL, {.i = 0}}};
        log_line(LOG_INFO, "stall", i, "held", fields);
    }
    buf out;
    buf_init(&out, 1 << 20);
    assert_int_equal(metrics_text(&out), 0);
    buf_putc(&out, 0);
    assert_null(strstr(out.p, "samovar_log_lines_dropped_total 0\n"));
    buf_free(&out);
    take_text();
    log_write(LOG_INFO, "after");
    size_t n = take_text();
    char *p = text;
    if (*p == '\n') p++;
    json_t *j = parse_line(p, (size_t)(text + n - p));
    assert_string_equal(str(j, "event"), "after");
    json_decref(j);
}

enum { THREADS = 4, LINES = 40 };

static void *write_lines(void *arg)
{
    for (int i = 0; i < LINES; i++) {
        const log_field fields[] = {LOG_INT("i", i), {LOG_K_END, NULL, {.i = 0}}};
        log_line(LOG_INFO, "thread", 1 + *(int *)arg, "from thread", fields);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    pthread_t t[THREADS];
    int id[THREADS];
    for (int i = 0; i < THREADS; i++) {
        id[i] = i;
        assert_int_equal(pthread_create(&t[i], NULL, write_lines, &id[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    json_int_t suppressed = 0;
    assert_int_equal(lines_of("from thread", 1, &suppressed), THREADS * LINES);
    assert_int_equal(suppressed, 0);
}

int main(void)
{
#define LOG_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        LOG_TEST(test_plain_line),        LOG_TEST(test_levels),
        LOG_TEST(test_escapes),           LOG_TEST(test_threads),
        LOG_TEST(test_context_and_error), LOG_TEST(test_cut_stays_valid),
        LOG_TEST(test_rate_limit),        LOG_TEST(test_stalled_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
