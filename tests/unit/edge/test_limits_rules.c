/*  test_limits_rules.c - which counters a request counts against, what the settings make of them,
 *  and what the client is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "error.h"
#include "limits_rules.h"
#include "log.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static config *load(const char *yaml)
{
    char path[] = "/tmp/sv-limits-XXXXXX";
    config *c = NULL;
    sv_error err = {0};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, yaml, strlen(yaml)), (ssize_t)strlen(yaml));
    close(fd);
    int rc = config_load(path, &c, &err);
    unlink(path);
    if (rc) printf("%s\n", err.message);
    assert_int_equal(rc, 0);
    return c;
}

static limits_rules rules_of(const char *yaml)
{
    limits_rules r;
    config *c = load(yaml);
    limits_rules_read(c, &r);
    config_free(c);
    return r;
}

/* "user.chat/u1=100/0 org.chat/o1=1000/0" */
static const char *plan(const limits_rules *r, limits_subject s)
{
    static char text[800];
    limits_item items[LIMITS_COUNTERS];
    uint32_t n = limits_plan(r, &s, items);
    size_t at = 0;
    text[0] = 0;
    for (uint32_t i = 0; i < n; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%.*s=%u/%u", i ? " " : "",
                               (int)items[i].n, items[i].name, items[i].pair.minute,
                               items[i].pair.hour);
    return text;
}

static limits_subject known(const char *tier, route_class class)
{
    return (limits_subject){.class = class,
                            .address = "192.0.2.1",
                            .user = sv_cstr("u1"),
                            .org = sv_cstr("o1"),
                            .tier = sv_cstr(tier)};
}

static void defaults(void **state)
{
    (void)state;
    limits_rules r = rules_of("{}");
    limits_subject s = {.class = CLASS_CHAT, .address = "192.0.2.1"};
    assert_string_equal(plan(&r, s), "address.chat/192.0.2.1=10/0");
    s.class = CLASS_AUTH;
    assert_string_equal(plan(&r, s), "address.auth/192.0.2.1=10/0 login.auth/192.0.2.1=20/0");
    s.class = CLASS_UPLOAD;
    assert_string_equal(plan(&r, s), "address.upload/192.0.2.1=10/0");
    s.class = CLASS_FREE;
    assert_string_equal(plan(&r, s), "");
    assert_string_equal(plan(&r, known("free", CLASS_API)), "user.api/u1=100/0 org.api/o1=1000/0");
    assert_string_equal(plan(&r, known("what", CLASS_API)), "user.api/u1=100/0 org.api/o1=1000/0");
    assert_string_equal(plan(&r, known("premium", CLASS_ADMIN)),
                        "user.admin/u1=1000/0 org.admin/o1=10000/0");
    assert_string_equal(plan(&r, known("premium", CLASS_UPLOAD)),
                        "user.upload/u1=30/0 org.upload/o1=300/0");
    assert_string_equal(plan(&r, known("own", CLASS_CHAT)), "");
    assert_string_equal(plan(&r, known("own", CLASS_UPLOAD)), "");
    assert_string_equal(plan(&r, known("own", CLASS_AUTH)), "login.auth/192.0.2.1=20/0");
    s = known("free", CLASS_AUTH);
    s.operator_here = true;
    assert_string_equal(plan(&r, s), "");
    assert_int_equal(r.edges, 1);
    assert_string_equal(limits_class_name(CLASS_UPLOAD), "upload");
}

static void keys_have_their_own(void **state)
{
    (void)state;
    limits_rules r = rules_of("limits.scale: 3\n");
    limits_subject s = known("own", CLASS_CHAT);
    s.org = (sv_str){NULL, 0};
    s.key = sv_cstr("k1");
    assert_string_equal(plan(&r, s), "");
    s.key_minute = 7;
    assert_string_equal(plan(&r, s), "key.chat/k1=21/0");
    s.key_hour = 1000;
    assert_string_equal(plan(&r, s), "key.chat/k1=21/3000");
    s = known("free", CLASS_AUTH);
    s.key = sv_cstr("k1");
    s.key_minute = 7;
    assert_string_equal(plan(&r, s),
                        "login.auth/192.0.2.1=60/0 user.auth/u1=300/0 key.auth/k1=21/0 "
                        "org.auth/o1=3000/0");
}

static void settings(void **state)
{
    (void)state;
    limits_rules r = rules_of("limits:\n"
                              "  anonymous: {minute: 0, hour: 50}\n"
                              "  free: {hour: 1000}\n"
                              "  own: {minute: 5}\n"
                              "  auth_minute: 0\n"
                              "  upload_minute: 0\n"
                              "  org_factor: 1000\n"
                              "  scale: 1000000\n"
                              "supervisor: {edges: 3}\n");
    limits_subject s = {.class = CLASS_AUTH, .address = "192.0.2.1"};
    assert_string_equal(plan(&r, s), "address.auth/192.0.2.1=0/50000000");
    s.class = CLASS_UPLOAD;
    assert_string_equal(plan(&r, s), "address.upload/192.0.2.1=0/50000000");
    assert_string_equal(plan(&r, known("free", CLASS_UPLOAD)),
                        "user.upload/u1=100000000/1000000000 "
                        "org.upload/o1=1000000000/1000000000");
    assert_string_equal(plan(&r, known("own", CLASS_CHAT)),
                        "user.chat/u1=5000000/0 org.chat/o1=1000000000/0");
    assert_int_equal(r.edges, 3);
    r = rules_of("limits: {anonymous: {minute: 0, hour: 50}, upload_minute: 4}\n");
    s.class = CLASS_UPLOAD;
    assert_string_equal(plan(&r, s), "address.upload/192.0.2.1=4/50");
    setenv("SAMOVAR_LIMITS_SCALE", "2", 1);
    setenv("SAMOVAR_LIMITS_FREE_MINUTE", "7", 1);
    r = rules_of("{}");
    unsetenv("SAMOVAR_LIMITS_SCALE");
    unsetenv("SAMOVAR_LIMITS_FREE_MINUTE");
    assert_string_equal(plan(&r, known("free", CLASS_CHAT)), "user.chat/u1=14/0 org.chat/o1=140/0");
}

static void addresses(void **state)
{
    (void)state;
    limits_rules r = rules_of("{}");
    const char *const cases[][2] = {
        {"192.0.2.1", "192.0.2.1"},
        {"::ffff:192.0.2.1", "192.0.2.1"},
        {"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
        {"2001:DB8:1:2::7", "2001:db8:1:2::/64"},
        {"fe80::1%eth0", "fe80::/64"},
        {"::1", "::/64"},
        {"192.0.2.1%eth0", "unknown"},
        {"not an address", "unknown"},
        {"", "unknown"},
        {NULL, "unknown"},
        {"1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111", "unknown"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char want[80];
        limits_subject s = {.class = CLASS_API, .address = cases[i][0]};
        snprintf(want, sizeof want, "address.api/%s=10/0", cases[i][1]);
        assert_string_equal(plan(&r, s), want);
    }
}

static void names_are_bounded(void **state)
{
    (void)state;
    limits_rules r = rules_of("{}");
    char longer[300];
    memset(longer, 'x', sizeof longer);
    limits_subject s = known("free", CLASS_CHAT);
    s.user = (sv_str){longer, sizeof longer};
    limits_item items[LIMITS_COUNTERS];
    assert_int_equal(limits_plan(&r, &s, items), 2);
    assert_true(items[0].n <= NAME_BYTES_MOST);
    assert_memory_equal(items[0].name, "user.chat/xxx", 13);
}

static void scale_is_for_loopback(void **state)
{
    (void)state;
    sv_error err = {0};
    config *c = load("{}");
    assert_int_equal(limits_scale_check(c, false, &err), 0);
    config_free(c);
    c = load("limits.scale: 100\n");
    assert_int_equal(limits_scale_check(c, false, &err), SV_E_CONFIG);
    assert_string_equal(err.field, "limits.scale");
    assert_non_null(strstr(err.message, "limits.scale is 100"));
    /* loudly: the log has a line */
    int pipe_fd[2];
    char line[2000] = "";
    assert_int_equal(pipe(pipe_fd), 0);
    log_init("test", 0, LOG_INFO, pipe_fd[1]);
    assert_int_equal(limits_scale_check(c, true, &err), 0);
    log_init("test", 0, LOG_INFO, 2);
    assert_true(read(pipe_fd[0], line, sizeof line - 1) > 0);
    assert_non_null(strstr(line, "\"warn\""));
    assert_non_null(strstr(line, "RATE LIMITS ARE RAISED"));
    close(pipe_fd[0]);
    close(pipe_fd[1]);
    config_free(c);
}

/* ---- what is told ---- */

static const char *headers(const limits_verdict *v)
{
    static char text[600];
    limits_headers h;
    size_t at = 0;
    limits_headers_fill(v, &h);
    text[0] = 0;
    for (uint32_t i = 0; i < h.n; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s: %s\n", h.names[i], h.values[i]);
    return text;
}

static void headers_of_verdicts(void **state)
{
    (void)state;
    limits_verdict v = {.allowed = true};
    assert_string_equal(headers(&v), "");
    v = (limits_verdict){.allowed = true,
                         .limited = true,
                         .pair = {100, 0},
                         .limit = 100,
                         .remaining = 42,
                         .reset_s = 31};
    assert_string_equal(headers(&v), "x-ratelimit-limit: 100\n"
                                     "x-ratelimit-remaining: 42\n"
                                     "x-ratelimit-reset: 31\n"
                                     "ratelimit-policy: \"minute\";q=100;w=60\n"
                                     "ratelimit: \"minute\";r=42;t=31\n");
    v.pair = (limits_pair){0, 1000};
    v.limit = 1000;
    v.hour = true;
    assert_non_null(strstr(headers(&v), "ratelimit-policy: \"hour\";q=1000;w=3600\n"));
    assert_non_null(strstr(headers(&v), "ratelimit: \"hour\";r=42;t=31\n"));
    v.pair = (limits_pair){1000000000, 1000000000};
    v.limit = v.remaining = v.reset_s = UINT32_MAX;
    assert_non_null(strstr(headers(&v), "ratelimit-policy: \"minute\";q=1000000000;w=60, "
                                        "\"hour\";q=1000000000;w=3600\n"));
    assert_non_null(strstr(headers(&v), "ratelimit: \"hour\";r=4294967295;t=4294967295\n"));
}

static void errors_of_verdicts(void **state)
{
    (void)state;
    limits_verdict v = {.limited = true, .limit = 100, .pair = {100, 0}, .retry_after_ms = 1500};
    sv_error err = {0};
    assert_int_equal(limits_error(&v, &err), SV_E_RATE);
    assert_int_equal(err.retry_after_ms, 1500);
    assert_string_equal(err.message, "At most 100 such requests are allowed in any minute: try "
                                     "again in 2 seconds.");
    v.hour = true;
    v.retry_after_ms = 1;
    err = (sv_error){0};
    assert_int_equal(limits_error(&v, &err), SV_E_RATE);
    assert_non_null(strstr(err.message, "in any hour: try again in 1 second."));
    v = (limits_verdict){.retry_after_ms = 1000};
    err = (sv_error){0};
    assert_int_equal(limits_error(&v, &err), SV_E_RATE);
    assert_int_equal(err.retry_after_ms, 1000);
    assert_int_equal(limits_error(&v, NULL), SV_E_RATE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(keys_have_their_own),
        cmocka_unit_test(settings),
        cmocka_unit_test(addresses),
        cmocka_unit_test(names_are_bounded),
        cmocka_unit_test(scale_is_for_loopback),
        cmocka_unit_test(headers_of_verdicts),
        cmocka_unit_test(errors_of_verdicts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
