/*  test_core_instance.c - calls to one given instance: there, in its slots, or nowhere. */
#include "test_core_kit.h"

static uint32_t who_has(kit *b, uint32_t n)
{
    sv_id id = kit_id(n);
    for (msg *m = b->in; m; m = m->next)
        if (m->env.kind == SV_REQUEST && sv_id_eq(&m->env.id, &id)) return m->peer;
    return 0;
}

/* The words of an error body. */
static const char *words_of(const msg *m)
{
    static char text[401];
    arena a;
    arena_init(&a, 65536);
    error_body e;
    assert_int_equal(
        message_decode(&error_body_msg, (sv_str){m->body, m->body_n}, MESSAGE_STRICT, &a, &e, NULL),
        0);
    snprintf(text, sizeof text, "%.*s", SV_FMT(e.message));
    arena_free(&a);
    return text;
}

static void test_goes_there_and_nowhere_else(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t edge = join(&b, "edge", 0, NULL), n = 1;
    for (int i = 0; i < 12; i++) /* enough that two would be drawn */
        join(&b, "echo", 100, "say");
    for (uint32_t i = 1; i <= 12; i++) {
        char target[32];
        snprintf(target, sizeof target, "echo/%u.say", i);
        for (int k = 0; k < 5; k++, n++) {
            ask(&b, edge, n, target, .key = k & 1 ? "some key" : NULL);
            assert_int_equal(who_has(&b, n), i + 1);
        }
    }
    msg m = take(&b, 4, SV_REQUEST);
    assert_string_equal(m.target, "echo/3.say"); /* as it was asked for */
    bus_end(&b);
}

static void test_nobody_there(void **state)
{
    (void)state;
    static const struct {
        const char *target, *code, *words;
        int status;
    } asks[] = {
        {"echo/3.say", "service.unknown", "Instance 3 of service echo is not connected.",
         SV_STATUS_UNAVAILABLE},
        {"echo/3.no", "service.unknown", "Instance 3 of service echo is not connected.",
         SV_STATUS_UNAVAILABLE},
        {"edge/1.say", "service.unknown", "Instance 1 of service edge is not connected.",
         SV_STATUS_UNAVAILABLE},
        {"none/1.say", "service.unknown", "Instance 1 of service none is not connected.",
         SV_STATUS_UNAVAILABLE},
        {"bus/1.stats", "service.unknown", "Instance 1 of service bus is not connected.",
         SV_STATUS_UNAVAILABLE},
        {"echo/2.no", "method.unknown", "Service echo has no method no.", SV_STATUS_UNIMPLEMENTED},
        {"echo/0.say", "request.invalid",
         "The target must be service.method or service/instance.method.",
         SV_STATUS_INVALID_ARGUMENT},
    };
    kit b;
    bus_start(&b);
    uint32_t edge = join(&b, "edge", 0, NULL);
    join(&b, "echo", 1, "say");
    join(&b, "echo", 1, "say");
    for (uint32_t i = 0; i < sizeof asks / sizeof *asks; i++) {
        ask(&b, edge, i + 1, asks[i].target);
        msg m = take(&b, edge, SV_REPLY);
        assert_int_equal(m.code, asks[i].status);
        assert_string_equal(code_of(&m), asks[i].code);
        assert_string_equal(words_of(&m), asks[i].words);
    }
    none(&b, 2, SV_REQUEST);
    none(&b, 3, SV_REQUEST);
    bus_end(&b);
}

static void test_waits_for_its_slot(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t edge = join(&b, "edge", 0, NULL);
    uint32_t one = join(&b, "echo", 1, "say"), two = join(&b, "echo", 1, "say");
    ask(&b, edge, 1, "echo/2.say");
    ask(&b, edge, 2, "echo/2.say");
    assert_int_equal(who_has(&b, 1), two);
    assert_int_equal(who_has(&b, 2), 0); /* the other one is free, but not asked */
    ask(&b, edge, 3, "echo.say");        /* and holds nobody up who goes anywhere */
    assert_int_equal(who_has(&b, 3), one);
    ask(&b, edge, 4, "echo/1.say");
    ask(&b, edge, 5, "echo/2.say", .ttl_ms = 300);
    answer(&b, two, 1, SV_STATUS_OK);
    take(&b, edge, SV_REPLY);
    assert_int_equal(who_has(&b, 2), two);
    assert_int_equal(who_has(&b, 4), 0);
    pass(&b, 310);
    msg m = take(&b, edge, SV_REPLY);
    assert_int_equal(m.code, SV_STATUS_DEADLINE_EXCEEDED);
    assert_string_equal(words_of(&m), "Instance 2 of echo had no free slot within 300 ms.");
    answer(&b, one, 3, SV_STATUS_OK);
    assert_int_equal(who_has(&b, 4), one);
    bus_end(&b);
}

static void test_queue_rules_hold(void **state)
{
    (void)state;
    kit b;
    policy_service s = {.queue_messages = 2, .queue_ms = 200};
    policy *p = policy_new(&s);
    policy_add_allow(p, false, "*", "*", "test");
    bus_start(&b, .policy = p);
    uint32_t edge = join(&b, "edge", 0, NULL);
    join(&b, "echo", 1, "say");
    join(&b, "echo", 1, "say");
    for (uint32_t i = 1; i <= 4; i++)
        ask(&b, edge, i, "echo/2.say", .ttl_ms = 5000);
    refused(&b, edge, SV_STATUS_RESOURCE_EXHAUSTED, "service.queue_full");
    pass(&b, 210);
    refused(&b, edge, SV_STATUS_RESOURCE_EXHAUSTED, "service.queue_full");
    refused(&b, edge, SV_STATUS_RESOURCE_EXHAUSTED, "service.queue_full");
    none(&b, edge, SV_REPLY);
    bus_end(&b);
}

static void test_instance_goes(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t edge = join(&b, "edge", 0, NULL);
    uint32_t one = join(&b, "echo", 1, "say!"), two = join(&b, "echo", 1, "say!");
    ask(&b, edge, 1, "echo/2.say");
    for (uint32_t i = 2; i < 500; i++) /* more than one look into the queue goes through */
        ask(&b, edge, i, "echo/2.say");
    ask(&b, edge, 500, "echo.say");
    assert_int_equal(who_has(&b, 500), one);
    ask(&b, edge, 501, "echo.say");
    kit_gone(&b, two);
    for (uint32_t i = 1; i < 500; i++) { /* the first was handed over: idempotent, but not here */
        msg m = take(&b, edge, SV_REPLY);
        assert_int_equal(m.code, SV_STATUS_UNAVAILABLE);
    }
    none(&b, edge, SV_REPLY);
    answer(&b, one, 500, SV_STATUS_OK);
    assert_int_equal(who_has(&b, 501), one);
    assert_int_equal(core_get_stats(b.c)->queued, 0);
    assert_int_equal(core_get_stats(b.c)->redelivered, 0);
    bus_end(&b);
}

/* The last instance goes, and with the refusal the last user of its names. */
static void test_service_goes(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t edge = join(&b, "edge", 0, NULL), echo = join(&b, "echo", 1, "say");
    ask(&b, edge, 1, "echo/1.say");
    ask(&b, edge, 2, "echo/1.say");
    kit_gone(&b, echo);
    refused(&b, edge, SV_STATUS_UNAVAILABLE, "service.lost");
    refused(&b, edge, SV_STATUS_UNAVAILABLE, "service.unknown");
    bus_end(&b);
}

static void test_draining_instance(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t edge = join(&b, "edge", 0, NULL);
    join(&b, "echo", 1, "say");
    uint32_t two = join(&b, "echo", 1, "say");
    ask(&b, edge, 1, "echo/2.say");
    ask(&b, edge, 2, "echo/2.say");
    say(&b, two, SV_DRAIN, 900);
    refused(&b, edge, SV_STATUS_UNAVAILABLE, "service.draining"); /* 2, which waited */
    ask(&b, edge, 3, "echo/2.say");
    refused(&b, edge, SV_STATUS_UNAVAILABLE, "service.draining");
    answer(&b, two, 1, SV_STATUS_OK);
    assert_int_equal(take(&b, edge, SV_REPLY).code, SV_STATUS_OK);
    bus_end(&b);
}

static void test_ejection_and_split_do_not_matter(void **state)
{
    (void)state;
    kit b;
    policy_service s = {
        .queue_messages = 100, .eject_failures = 2, .eject_base_ms = 5000, .eject_max_ms = 9000};
    policy *p = policy_new(&s);
    policy_add_allow(p, false, "*", "*", "test");
    policy_add_split(p, "echo", "9.*", 100);
    bus_start(&b, .policy = p);
    uint32_t edge = join(&b, "edge", 0, NULL), n = 1;
    for (int i = 0; i < 3; i++) {
        uint32_t e = connect_as(&b, (identity){.kind = IDENTITY_NONE});
        hello(&b, e,
              (kit_hello){
                  .service = "echo", .slots = 9, .methods = "say", .version = i ? "9.0" : "1.0"});
    }
    for (; n <= 6; n++) {
        ask(&b, edge, n, "echo/1.say"); /* not of the chosen version, and soon ejected */
        assert_int_equal(who_has(&b, n), 2);
        answer(&b, 2, n, SV_STATUS_UNAVAILABLE);
    }
    assert_true(core_get_stats(b.c)->ejections >= 1);
    bus_end(&b);
}

static void test_policy_sees_no_number(void **state)
{
    (void)state;
    kit b;
    policy *p = policy_new(NULL);
    policy_add_allow(p, false, "edge", "echo.say", "test");
    bus_start(&b, .policy = p);
    uint32_t edge = join(&b, "edge", 0, NULL), echo = join(&b, "echo", 1, "say,shout");
    ask(&b, edge, 1, "echo/1.say");
    assert_int_equal(who_has(&b, 1), echo);
    ask(&b, edge, 2, "echo/1.shout");
    msg m = take(&b, edge, SV_REPLY);
    assert_int_equal(m.code, SV_STATUS_PERMISSION_DENIED);
    assert_string_equal(words_of(&m), "The policy does not let edge call echo.shout.");
    bus_end(&b);
}

/* Records and taps show the number, statistics count the method. */
static void test_records_and_stats(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t edge = join(&b, "edge", 0, NULL), echo = join(&b, "echo", 4, "say");
    uint32_t watcher = join(&b, "watcher", 0, NULL);
    ask(&b, watcher, 90, "bus.tap", .ttl_ms = 60000, .flags = SV_FLAG_STREAM,
        .body = sv_cstr("\x81\xa6"
                        "filter"
                        "\xaf"
                        "method=echo.say"));
    ask(&b, edge, 1, "echo/1.say");
    answer(&b, echo, 1, SV_STATUS_OK);
    ask(&b, edge, 2, "echo/7.say");
    static const char *const kinds[] = {"REQUEST", "REPLY", "REPLY"};
    static const char *const methods[] = {"echo/1.say", "echo/1.say", "echo/7.say"};
    for (int i = 0; i < 3; i++) {
        msg m = take(&b, watcher, SV_PARTIAL);
        arena a;
        arena_init(&a, 65536);
        bus_record r;
        assert_int_equal(message_decode(&bus_record_msg, (sv_str){m.body, m.body_n}, MESSAGE_STRICT,
                                        &a, &r, NULL),
                         0);
        assert_true(sv_str_is(r.kind, kinds[i]));
        assert_true(sv_str_is(r.method, methods[i]));
        arena_free(&a);
    }
    ask(&b, edge, 3, "bus.stats");
    take(&b, edge, SV_REPLY); /* of 1 */
    take(&b, edge, SV_REPLY); /* of 2 */
    msg m = take(&b, edge, SV_REPLY);
    arena a;
    arena_init(&a, 1 << 20);
    bus_stats_reply s;
    assert_int_equal(message_decode(&bus_stats_reply_msg, (sv_str){m.body, m.body_n},
                                    MESSAGE_STRICT, &a, &s, NULL),
                     0);
    bool found = false;
    for (uint32_t i = 0; i < s.methods.n; i++) {
        const bus_method_stat *x = &((bus_method_stat *)s.methods.items)[i];
        assert_null(memchr(x->method.p, '/', x->method.n));
        found |= sv_str_is(x->method, "echo.say") && x->requests == 1;
    }
    assert_true(found);
    arena_free(&a);
    bus_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goes_there_and_nowhere_else),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_waits_for_its_slot),
        cmocka_unit_test(test_queue_rules_hold),
        cmocka_unit_test(test_instance_goes),
        cmocka_unit_test(test_service_goes),
        cmocka_unit_test(test_draining_instance),
        cmocka_unit_test(test_ejection_and_split_do_not_matter),
        cmocka_unit_test(test_policy_sees_no_number),
        cmocka_unit_test(test_records_and_stats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
