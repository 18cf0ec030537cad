/*  test_tap_line.c - records of bus.tap as lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <time.h>

#include "json_scan.h"
#include "tap_line.h"

static char id[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, (char)0xff};

static bus_record reply(void)
{
    return (bus_record){.ts = 1000001,
                        .from = sv_cstr("router/1"),
                        .to = sv_cstr("edge/1"),
                        .kind = sv_cstr("REPLY"),
                        .method = sv_cstr("router.complete"),
                        .id = {id, 16},
                        .trace_id = {id, 16},
                        .status = sv_cstr("OK"),
                        .bytes = 412,
                        .queue_us = 3,
                        .service_us = 1250};
}

static void json_has_every_key(void **state)
{
    (void)state;
    bus_record r = reply();
    buf out;
    buf_init(&out, 4096);
    tap_json(&r, &out);
    static const char want[] =
        "{\"ts\":1000001,\"from\":\"router/1\",\"to\":\"edge/1\",\"kind\":\"REPLY\","
        "\"method\":\"router.complete\",\"id\":\"0102030405060708090a0b0c0d0e0fff\","
        "\"trace_id\":\"0102030405060708090a0b0c0d0e0fff\",\"status\":\"OK\",\"bytes\":412,"
        "\"queue_us\":3,\"service_us\":1250}\n";
    assert_int_equal(out.n, sizeof want - 1);
    assert_memory_equal(out.p, want, out.n);
    buf_free(&out);
}

static void json_of_an_empty_record(void **state)
{
    (void)state;
    bus_record r = {.ts = 1, .id = {id, 3}};
    buf out;
    buf_init(&out, 4096);
    tap_json(&r, &out);
    sv_str text = {out.p, (uint32_t)out.n - 1};
    assert_int_equal(json_skim(text, 4, NULL), 0);
    static const char *const keys[] = {"from", "to", "kind", "method", "id", "trace_id", "status"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        assert_int_equal(json_get(json_root(text), keys[i]).type, JSON_NULL);
    buf_free(&out);
}

static void line_for_people(void **state)
{
    (void)state;
    bus_record r = reply();
    buf out;
    buf_init(&out, 4096);
    tap_human(&r, false, &out);
    static const char want[] =
        "00:00:01.000001  router/1 -> edge/1       REPLY     router.complete     "
        "  OK  412 B  queue 3 us  1.2 ms  0d0e0fff\n";
    assert_int_equal(out.n, sizeof want - 1);
    assert_memory_equal(out.p, want, out.n);
    buf_free(&out);
}

int main(void)
{
    setenv("TZ", "UTC", 1);
    tzset();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_has_every_key),
        cmocka_unit_test(json_of_an_empty_record),
        cmocka_unit_test(line_for_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
