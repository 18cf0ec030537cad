/*  What headers say about the caller: Host, Origin, Via, ids, trace context, and the small readers.
 */
#include "caller.h"
#include "http.h"
#include "sse_tail.h"
#include "trace_context.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static void hosts(void **state)
{
    (void)state;
    static const char *const good[] = {"localhost", "LOCALHOST:7420", "localhost.",
                                       "127.0.0.1", "127.0.0.1:7420", "127.9.8.7",
                                       "[::1]",     "[::1]:7420",     "[0:0:0:0:0:0:0:1]:1"};
    static const char *const bad[] = {"",
                                      "example.com",
                                      "localhost.example.com",
                                      "127.0.0.1.nip.io",
                                      "10.0.0.1",
                                      "0.0.0.0",
                                      "[::]",
                                      "[::ffff:10.0.0.1]",
                                      "localhost:x",
                                      "128.0.0.1",
                                      "localhost:7420:1",
                                      "xlocalhost",
                                      "127.1"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!caller_host_ok(sv_cstr(good[i]))) fail_msg("%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (caller_host_ok(sv_cstr(bad[i]))) fail_msg("%s", bad[i]);
    assert_true(caller_loopback_address("::1"));
    assert_false(caller_loopback_address("0.0.0.0"));
    assert_false(caller_loopback_address("::"));
    assert_false(caller_loopback_address("192.168.0.1"));
    assert_true(caller_address_shared("localhost", false, false));
    assert_true(caller_address_shared("::1", false, false));
    assert_false(caller_address_shared("0.0.0.0", false, false));
    assert_true(caller_address_shared("0.0.0.0", true, false));
    assert_false(caller_address_shared("0.0.0.0", true, true));
    assert_false(caller_address_shared("127.0.0.1", true, true));
}

static void origins(void **state)
{
    (void)state;
    sv_str host = sv_cstr("localhost:7420");
    assert_true(caller_origin_ok(sv_cstr("http://localhost:7420"), host, false));
    assert_true(caller_origin_ok(sv_cstr("http://LocalHost:7420"), host, false));
    assert_true(caller_origin_ok(sv_cstr("https://localhost:7420"), host, true));
    static const char *const bad[] = {"null",
                                      "",
                                      "http://localhost",
                                      "http://localhost:7421",
                                      "https://localhost:7420",
                                      "http://evil.example",
                                      "http://localhost:7420/",
                                      "HTTP://localhost:7420",
                                      "http://localhost:74200",
                                      "http://xlocalhost:742"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (caller_origin_ok(sv_cstr(bad[i]), host, false)) fail_msg("%s", bad[i]);
    assert_false(caller_origin_ok(sv_cstr("http://"), sv_cstr(""), false));
}

static void vias(void **state)
{
    (void)state;
    const char *me = "samovar-0011223344556677";
    static const char *const good[] = {
        "1.1 samovar-0011223344556677", "1.0 fred, 1.1 samovar-0011223344556677 (comment), 1.1 x",
        "HTTP/1.1\tSamovar-0011223344556677", "1.0 a,1.1  samovar-0011223344556677"};
    static const char *const bad[] = {"",
                                      "1.1 samovar-0011223344556678",
                                      "samovar-0011223344556677",
                                      "1.1 samovar-00112233445566778",
                                      "1.1 nginx, 1.1 x",
                                      ",,,",
                                      "1.1"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!caller_via_has(sv_cstr(good[i]), me)) fail_msg("%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (caller_via_has(sv_cstr(bad[i]), me)) fail_msg("%s", bad[i]);
}

static void request_ids_and_seconds(void **state)
{
    (void)state;
    char text[REQUEST_ID_BYTES + 2];
    memset(text, 'a', sizeof text);
    assert_true(caller_request_id_ok((sv_str){text, REQUEST_ID_BYTES}));
    assert_false(caller_request_id_ok((sv_str){text, REQUEST_ID_BYTES + 1}));
    assert_true(caller_request_id_ok(sv_cstr("A.b_c-9")));
    assert_false(caller_request_id_ok(sv_cstr("")));
    assert_false(caller_request_id_ok(sv_cstr("a b")));
    assert_false(caller_request_id_ok(sv_cstr("a\"b")));
    assert_int_equal(caller_seconds(sv_cstr("60")), 60000);
    assert_int_equal(caller_seconds(sv_cstr("0.25")), 250);
    assert_int_equal(caller_seconds(sv_cstr("1.23456")), 1234);
    assert_int_equal(caller_seconds(sv_cstr("")), 0);
    assert_int_equal(caller_seconds(sv_cstr("-1")), 0);
    assert_int_equal(caller_seconds(sv_cstr("1e9")), 0);
    assert_int_equal(caller_seconds(sv_cstr("99999999999999999999")), 0);
}

static const char valid[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

static void traceparent_is_strict(void **state)
{
    (void)state;
    sv_trace t;
    char text[TRACEPARENT_BYTES + 1];
    assert_true(trace_parse(sv_cstr(valid), &t));
    assert_int_equal(t.flags, 1);
    trace_format(&t, text);
    assert_string_equal(text, valid);
    sv_trace next = trace_continue(&t);
    assert_memory_equal(next.trace_id, t.trace_id, 16);
    assert_memory_not_equal(next.span_id, t.span_id, 8);
    static const char *const bad[] = {
        "",
        "00",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
        "00-4BF92F3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00F067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0A",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 ",
        "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
        "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
        "0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (trace_parse(sv_cstr(bad[i]), &t)) fail_msg("%s", bad[i]);
    assert_true(
        trace_parse(sv_cstr("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff-more"), &t));
    assert_int_equal(trace_continue(&t).flags, 3);
    sv_trace a = trace_start(), b = trace_start();
    assert_memory_not_equal(a.trace_id, b.trace_id, 16);
    assert_int_equal(a.flags, 2);
}

static void tracestate_is_bounded(void **state)
{
    (void)state;
    char text[600];
    memset(text, 'a', sizeof text);
    assert_true(tracestate_ok((sv_str){text, 512}));
    assert_false(tracestate_ok((sv_str){text, 513}));
    assert_false(tracestate_ok(sv_cstr("")));
    assert_true(tracestate_ok(sv_cstr("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE")));
    assert_false(tracestate_ok(sv_cstr("a=\x80")));
}

static void the_tail_of_a_stream_of_events(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool between;
    } cases[] = {{"", true},
                 {"data: x", false},
                 {"data: x\n", false},
                 {"data: x\n\n", true},
                 {"data: x\r\n", false},
                 {"data: x\r\n\r\n", true},
                 {"data: x\r\r", true},
                 {"data: x\n\r\n", true},
                 {"\n\n", true},
                 {"x\r", false},
                 {"data: x\n\nd", false},
                 {": ping\n\n", true},
                 {"a\r\n\n", true},
                 {"data: x\n\ndata: y\n", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = strlen(cases[i].text);
        for (size_t cut = 0; cut <= n; cut++) {
            sse_tail t = {.n = 0};
            sse_tail_add(&t, (sv_str){cases[i].text, (uint32_t)cut});
            sse_tail_add(&t, (sv_str){cases[i].text + cut, (uint32_t)(n - cut)});
            if (sse_tail_between(&t) != cases[i].between)
                fail_msg("\"%s\" at %zu", cases[i].text, cut);
        }
    }
}

static void queries_and_media_types(void **state)
{
    (void)state;
    sv_str q = sv_cstr("a=1&service=router&empty=&flag");
    assert_true(sv_str_is(http_query_get(q, "service"), "router"));
    assert_true(sv_str_is(http_query_get(q, "a"), "1"));
    assert_non_null(http_query_get(q, "empty").p);
    assert_non_null(http_query_get(q, "flag").p);
    assert_null(http_query_get(q, "ser").p);
    assert_null(http_query_get(sv_cstr(""), "a").p);
    assert_true(http_media_is(sv_cstr("Application/JSON ; charset=utf-8"), "application/json"));
    assert_false(http_media_is(sv_cstr("application/jsonx"), "application/json"));
    assert_true(sv_str_is(http_media_parameter(sv_cstr("a/b; x=1; Charset=\"UTF-8\""), "charset"),
                          "UTF-8"));
    assert_null(http_media_parameter(sv_cstr("a/b"), "charset").p);
    char to[8];
    uint32_t n;
    assert_true(http_percent_decode(sv_cstr("a%2Fb+%41"), to, sizeof to, &n));
    assert_true(sv_str_is((sv_str){to, n}, "a/b+A"));
    assert_false(http_percent_decode(sv_cstr("123456789"), to, sizeof to, &n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts),
        cmocka_unit_test(origins),
        cmocka_unit_test(vias),
        cmocka_unit_test(request_ids_and_seconds),
        cmocka_unit_test(traceparent_is_strict),
        cmocka_unit_test(tracestate_is_bounded),
        cmocka_unit_test(the_tail_of_a_stream_of_events),
        cmocka_unit_test(queries_and_media_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
