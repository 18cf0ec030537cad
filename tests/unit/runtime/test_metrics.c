/*  test_metrics.c - series, limits, text format, the error bound of the log-linear histogram. */
#include "metrics.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static int teardown(void **state)
{
    (void)state;
    metrics_free();
    return 0;
}

static char *text_now(buf *out)
{
    buf_init(out, 1 << 20);
    assert_int_equal(metrics_text(out), 0);
    assert_int_equal(buf_putc(out, 0), 0);
    return out->p;
}

#define ASSERT_HAS(text, line)                                                                     \
    do {                                                                                           \
        if (strstr(text, line) == NULL) fail_msg("no line %s in\n%s", line, text);                 \
    } while (0)

static const char *const *labels(const char *a, const char *b)
{
    static const char *v[2];
    v[0] = a;
    v[1] = b;
    return v;
}

static void test_counter_and_gauge(void **state)
{
    (void)state;
    metric_add(metric_one(M_HTTP_CLIENT_GONE), 2);
    metric_add(metric_one(M_HTTP_CLIENT_GONE), 3);
    metric_set(metric_one(M_LOOP_LAG), 0.1);
    metric_set(metric_one(M_FIBERS), -3);
    metric_series *s = metric_get(M_HTTP_REQUESTS, labels("/v1/models", "200"));
    assert_ptr_equal(s, metric_get(M_HTTP_REQUESTS, labels("/v1/models", "200")));
    assert_ptr_not_equal(s, metric_get(M_HTTP_REQUESTS, labels("/v1/models", "20")));
    assert_ptr_not_equal(s, metric_get(M_BUS_CALLS, labels("/v1/models", "200")));
    metric_add(s, 1);
    buf out;
    char *text = text_now(&out);
    ASSERT_HAS(text,
               "\n# HELP samovar_http_client_gone_total Clients that left before their answer "
               "was complete.\n# TYPE samovar_http_client_gone_total counter\n"
               "samovar_http_client_gone_total 5\n");
    ASSERT_HAS(text, "# TYPE samovar_loop_lag_seconds gauge\nsamovar_loop_lag_seconds 0.1\n");
    ASSERT_HAS(text, "\nsamovar_fibers -3\n");
    ASSERT_HAS(text, "\nsamovar_http_requests_total{route=\"/v1/models\",status=\"200\"} 1\n");
    assert_null(strstr(text, "_other"));
    assert_null(
        strstr(text, "samovar_provider_requests_total")); /* labelled, nobody asked for it */
    buf_free(&out);
}

static void test_label_values_are_escaped(void **state)
{
    (void)state;
    metric_add(metric_get(M_HTTP_REQUESTS, labels("a\"b\\c\nd\xff", NULL)), 1);
    buf out;
    char *text = text_now(&out);
    ASSERT_HAS(text, "{route=\"a\\\"b\\\\c\\nd\xef\xbf\xbd\",status=\"\"} 1\n");
    buf_free(&out);
}

static void test_long_label_values_are_cut(void **state)
{
    (void)state;
    char value[400];
    for (size_t i = 0; i + 2 < sizeof value; i += 2)
        memcpy(value + i, "\xc3\xa9", 3);
    value[1] = 'x'; /* now characters straddle the limit */
    metric_add(metric_get(M_HTTP_REQUESTS, labels(value + 1, "1")), 1);
    buf out;
    char *text = text_now(&out);
    char *from = strstr(text, "{route=\"");
    assert_non_null(from);
    from += 8;
    assert_int_equal(strcspn(from, "\""), 127);
    assert_null(strstr(text, "\xef\xbf\xbd"));
    buf_free(&out);
}

static void test_series_are_bounded(void **state)
{
    (void)state;
    char name[32];
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "client-%d", i);
        metric_add(metric_get(M_HTTP_REJECTED, (const char *[]){name}), 1);
    }
    metric_add(metric_get(M_HTTP_REJECTED, (const char *[]){"client-3"}), 1);
    buf out;
    char *text = text_now(&out);
    ASSERT_HAS(text, "{reason=\"client-255\"} 1\n");
    ASSERT_HAS(text, "{reason=\"client-3\"} 2\n");
    assert_null(strstr(text, "client-256"));
    ASSERT_HAS(text, "samovar_http_rejected_total{reason=\"_other\"} 744\n");
    buf_free(&out);
}

static void test_histogram_text(void **state)
{
    (void)state;
    metric_series *s = metric_get(M_HTTP_SECONDS, (const char *[]){"/x"});
    metric_observe_us(s, 0);
    metric_observe_us(s, 500); /* le is inclusive */
    metric_observe_us(s, 501);
    metric_observe_us(s, 60000000);
    metric_observe_us(s, 60000001);
    buf out;
    char *text = text_now(&out);
    ASSERT_HAS(text, "# TYPE samovar_http_request_seconds histogram\n"
                     "samovar_http_request_seconds_bucket{route=\"/x\",le=\"0.0005\"} 2\n"
                     "samovar_http_request_seconds_bucket{route=\"/x\",le=\"0.001\"} 3\n");
    ASSERT_HAS(text, "{route=\"/x\",le=\"30\"} 3\n");
    ASSERT_HAS(text, "{route=\"/x\",le=\"60\"} 4\n");
    ASSERT_HAS(text, "{route=\"/x\",le=\"+Inf\"} 5\n"
                     "samovar_http_request_seconds_sum{route=\"/x\"} 120.001002\n"
                     "samovar_http_request_seconds_count{route=\"/x\"} 5\n");
    buf_free(&out);
}

static double figure(const char *text, const char *name)
{
    const char *p = strstr(text, name);
    assert_non_null(p);
    return atof(p + strlen(name));
}

static void test_process_figures(void **state)
{
    (void)state;
    buf out;
    char *text = text_now(&out);
    double rss = figure(text, "\nprocess_resident_memory_bytes ");
    assert_true(rss > 100000 && fmod(rss, 4096) < 1);
    assert_true(figure(text, "\nprocess_cpu_seconds_total ") >= 0);
    double fds = figure(text, "\nprocess_open_fds ");
    assert_true(fds >= 3);
    buf_free(&out);
    FILE *f = fopen("/dev/null", "r");
    assert_non_null(f);
    text = text_now(&out);
    assert_int_equal((int)figure(text, "\nprocess_open_fds "), (int)fds + 1);
    fclose(f);
    buf_free(&out);
}

/* Every line is a comment or NAME{...} NUMBER, and no series appears twice. */
static void test_text_is_well_formed(void **state)
{
    (void)state;
    metric_add(metric_get(M_HTTP_REQUESTS, labels("} 1\nx{", "a,b=\"c\"")), 1);
    metric_observe_us(metric_get(M_BUS_CALL_SECONDS, (const char *[]){"router.complete"}), 7);
    buf out;
    char *text = text_now(&out);
    char *seen[512];
    size_t n = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        if (line[0] == '#') {
            assert_true(strncmp(line, "# HELP ", 7) == 0 || strncmp(line, "# TYPE ", 7) == 0);
            continue;
        }
        char *value = strrchr(line, ' '), *end;
        assert_non_null(value);
        *value++ = 0;
        strtod(value, &end);
        assert_int_equal(*end, 0);
        for (size_t i = 0; i < n; i++)
            assert_string_not_equal(seen[i], line);
        assert_true(n < 512);
        seen[n++] = line;
    }
    assert_true(n > 20);
    buf_free(&out);
}

static void test_too_small_a_buffer(void **state)
{
    (void)state;
    buf out;
    buf_init(&out, 100);
    assert_true(metrics_text(&out) < 0);
    buf_free(&out);
}

static void *add_many(void *arg)
{
    for (int i = 0; i < 100000; i++) {
        metric_add(metric_one(M_LOG_DROPPED), 1);
        metric_observe_us(arg, 1000);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    metric_series *h = metric_get(M_HTTP_SECONDS, (const char *[]){"t"});
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, add_many, h), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    buf out;
    char *text = text_now(&out);
    ASSERT_HAS(text, "samovar_log_lines_dropped_total 400000\n");
    ASSERT_HAS(text, "_sum{route=\"t\"} 400.000000\n");
    ASSERT_HAS(text, "_count{route=\"t\"} 400000\n");
    buf_free(&out);
}

/* ---- log-linear histogram ---- */

static void test_each_value_alone(void **state)
{
    (void)state;
    for (uint64_t us = 0; us < (uint64_t)1 << 33; us += 1 + us / 97) {
        histogram h = {0};
        histogram_add(&h, us);
        uint64_t got = histogram_quantile(&h, 0.5);
        if (us < 8)
            assert_int_equal(got, us);
        else
            assert_true(fabs((double)got - (double)us) <= (double)us / 8);
        assert_int_equal(h.count, 1);
        assert_int_equal(h.sum_us, us);
    }
    histogram h = {0};
    histogram_add(&h, UINT64_MAX);
    assert_true(histogram_quantile(&h, 1) >= (uint64_t)7 << 30);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void test_quantiles_within_an_eighth(void **state)
{
    (void)state;
    enum { N = 20000 };
    uint64_t *v = malloc(N * sizeof *v);
    assert_non_null(v);
    unsigned seed = 3;
    histogram h = {0};
    for (int i = 0; i < N; i++) {
        v[i] = (uint64_t)exp((double)rand_r(&seed) / RAND_MAX * 18);
        histogram_add(&h, v[i]);
    }
    qsort(v, N, sizeof *v, by_value);
    static const double qs[] = {0.001, 0.1, 0.25, 0.5, 0.9, 0.99, 0.999, 1};
    for (size_t i = 0; i < sizeof qs / sizeof *qs; i++) {
        size_t rank = (size_t)ceil(qs[i] * N);
        double exact = (double)v[rank - 1], got = (double)histogram_quantile(&h, qs[i]);
        assert_true(fabs(got - exact) <= exact / 8);
    }
    assert_true(histogram_quantile(&h, 0) <= v[0] + v[0] / 8);
    free(v);
}

static void test_empty_and_full_histogram(void **state)
{
    (void)state;
    histogram h = {0};
    assert_int_equal(histogram_quantile(&h, 0.99), 0);
    h.bucket[5] = UINT32_MAX;
    histogram_add(&h, 5);
    assert_int_equal(h.bucket[5], UINT32_MAX);
    assert_int_equal(histogram_quantile(&h, 0.99), 5);
}

static void test_sizes(void **state)
{
    (void)state;
    const char *const values[] = {"chat", "oa", "m", "m", "input"};
    metric_series *s = metric_get(M_GENAI_TOKENS, values);
    metric_observe(s, 0);
    metric_observe(s, 4);
    metric_observe(s, 5);
    metric_observe(s, 67108865);
    buf out;
    char *text = text_now(&out);
#define TOKENS                                                                                     \
    "{gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"oa\",gen_ai_request_model=\"m\","      \
    "gen_ai_response_model=\"m\",gen_ai_token_type=\"input\""
    ASSERT_HAS(text, "# TYPE gen_ai_client_token_usage histogram\n");
    ASSERT_HAS(text, "gen_ai_client_token_usage_bucket" TOKENS ",le=\"1\"} 1\n");
    ASSERT_HAS(text, "gen_ai_client_token_usage_bucket" TOKENS ",le=\"4\"} 2\n");
    ASSERT_HAS(text, "gen_ai_client_token_usage_bucket" TOKENS ",le=\"67108864\"} 3\n"
                     "gen_ai_client_token_usage_bucket" TOKENS ",le=\"+Inf\"} 4\n");
    ASSERT_HAS(text, "gen_ai_client_token_usage_sum" TOKENS "} 67108874\n");
    ASSERT_HAS(text, "gen_ai_client_token_usage_count" TOKENS "} 4\n");
    buf_free(&out);
}

int main(void)
{
#define METRIC_TEST(f) cmocka_unit_test_teardown(f, teardown)
    const struct CMUnitTest tests[] = {
        METRIC_TEST(test_sizes),
        METRIC_TEST(test_counter_and_gauge),
        METRIC_TEST(test_label_values_are_escaped),
        METRIC_TEST(test_long_label_values_are_cut),
        METRIC_TEST(test_series_are_bounded),
        METRIC_TEST(test_histogram_text),
        METRIC_TEST(test_process_figures),
        METRIC_TEST(test_text_is_well_formed),
        METRIC_TEST(test_too_small_a_buffer),
        METRIC_TEST(test_threads),
        METRIC_TEST(test_each_value_alone),
        METRIC_TEST(test_quantiles_within_an_eighth),
        METRIC_TEST(test_empty_and_full_histogram),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
