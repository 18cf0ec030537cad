/*  test_core_request.c - the path of a request: dispatch, answers, deadlines, ends of peers. */
#include "test_core_kit.h"

static void test_request_and_reply(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t edge = join(&b, "edge", 0, NULL), echo = join(&b, "echo", 4, "say");
    ask(&b, edge, 1, "echo.say", .sender = "router", .body = {"\x80", 1});
    msg m = take(&b, echo, SV_REQUEST);
    assert_string_equal(m.env.sender, "edge"); /* not what the peer wrote */
    assert_int_equal(m.env.sender_instance, 1);
    assert_int_equal(m.env.attempt, 1);
    assert_int_equal(m.env.ttl_ms, 1000);
    assert_string_equal(m.target, "echo.say");
    pass(&b, 20);
    answer(&b, echo, 1, SV_STATUS_OK);
    m = take(&b, edge, SV_REPLY);
    assert_int_equal(m.code, SV_STATUS_OK);
    assert_string_equal(m.env.sender, "echo");
    assert_int_equal(core_get_stats(b.c)->open, 0);
    answer(&b, echo, 1, SV_STATUS_OK); /* once more: nobody hears it */
    none(&b, edge, SV_REPLY);
    assert_int_equal(core_get_stats(b.c)->dropped_late, 1);
    bus_end(&b);
}

static void test_refusals(void **state)
{
    (void)state;
    kit b;
    policy *p = policy_new(NULL);
    policy_add_allow(p, false, "edge", "echo.*", "r1");
    policy_add_allow(p, false, "edge", "nobody.*", "r2");
    policy_add_allow(p, false, "edge", "late.*", "r3");
    bus_start(&b, .policy = p, .limits = {.peer_open = 2});
    uint32_t edge = join(&b, "edge", 0, NULL), echo = join(&b, "echo", 4, "say");
    join(&b, "late", 1, "x");
    ask(&b, edge, 1, "nobody.say");
    refused(&b, edge, SV_STATUS_UNAVAILABLE, "service.unknown");
    ask(&b, edge, 1, "echo.nothing");
    refused(&b, edge, SV_STATUS_UNIMPLEMENTED, "method.unknown");
    ask(&b, edge, 1, "router.complete");
    refused(&b, edge, SV_STATUS_PERMISSION_DENIED, "policy.denied");
    ask(&b, echo, 1, "late.x");
    refused(&b, echo, SV_STATUS_PERMISSION_DENIED, "policy.denied");
    ask(&b, edge, 1, "Echo say");
    refused(&b, edge, SV_STATUS_INVALID_ARGUMENT, "request.invalid");
    say(&b, edge, SV_REQUEST, 1, .target = "echo.say");
    refused(&b, edge, SV_STATUS_DEADLINE_EXCEEDED, "request.deadline_exceeded");
    ask(&b, edge, 1, "echo.say", .ticket = {"junk", 4});
    refused(&b, edge, SV_STATUS_UNAUTHENTICATED, "ticket.invalid");
    ask(&b, edge, 1, "echo.say");
    ask(&b, edge, 1, "echo.say");
    refused(&b, edge, SV_STATUS_ALREADY_EXISTS, "bus.duplicate_id");
    ask(&b, edge, 2, "echo.say");
    ask(&b, edge, 3, "echo.say");
    refused(&b, edge, SV_STATUS_RESOURCE_EXHAUSTED, "server.overloaded");
    sv_id zero = {{0}};
    kit_message(&b, edge, SV_REQUEST, zero, (kit_say){.target = "echo.say", .ttl_ms = 9});
    none(&b, edge, SV_REPLY);
    assert_int_equal(core_get_stats(b.c)->dropped_malformed, 1);
    bus_end(&b);
}

static void test_hello_required(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t p = connect_as(&b, (identity){.kind = IDENTITY_NONE});
    for (uint32_t i = 0; i < 50; i++)
        ask(&b, p, i, "echo.say");
    msg m = take(&b, p, SV_GOODBYE);
    assert_string_equal(code_of(&m), "bus.hello_required");
    none(&b, p, SV_GOODBYE); /* one, not fifty */
    pass(&b, 60);
    ask(&b, p, 60, "echo.say");
    take(&b, p, SV_GOODBYE);
    bus_end(&b);
}

static void test_deadline_in_hand(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t edge = join(&b, "edge", 0, NULL), echo = join(&b, "echo", 1, "say");
    ask(&b, edge, 1, "echo.say", .ttl_ms = 200);
    take(&b, echo, SV_REQUEST);
    pass(&b, 199);
    none(&b, edge, SV_REPLY);
    pass(&b, 3);
    refused(&b, edge, SV_STATUS_DEADLINE_EXCEEDED, "request.deadline_exceeded");
    take(&b, echo, SV_CANCEL);
    /* the slot is taken until the callee has answered */
    ask(&b, edge, 2, "echo.say");
    none(&b, echo, SV_REQUEST);
    answer(&b, echo, 1, SV_STATUS_CANCELLED);
    none(&b, edge, SV_REPLY);
    take(&b, echo, SV_REQUEST);
    bus_end(&b);
}

static void test_deadline_in_queue(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t edge = join(&b, "edge", 0, NULL), echo = join(&b, "echo", 1, "say");
    ask(&b, edge, 1, "echo.say", .ttl_ms = 5000);
    ask(&b, edge, 2, "echo.say", .ttl_ms = 100);
    take(&b, echo, SV_REQUEST);
    pass(&b, 102);
    refused(&b, edge, SV_STATUS_DEADLINE_EXCEEDED, "request.deadline_exceeded");
    answer(&b, echo, 1, SV_STATUS_OK);
    none(&b, echo, SV_REQUEST); /* expired work is never dispatched */
    bus_end(&b);
}

static void test_ttl_counts_down(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t edge = join(&b, "edge", 0, NULL), echo = join(&b, "echo", 1, "say");
    ask(&b, edge, 1, "echo.say");
    ask(&b, edge, 2, "echo.say", .ttl_ms = 900);
    pass(&b, 300);
    answer(&b, echo, 1, SV_STATUS_OK);
    take(&b, echo, SV_REQUEST);
    assert_int_equal(take(&b, echo, SV_REQUEST).env.ttl_ms, 600);
    bus_end(&b);
}

static void test_queue_is_bounded(void **state)
{
    (void)state;
    kit b;
    policy_service s = {.queue_messages = 2, .queue_ms = 500, .queue_bytes = 1 << 20};
    policy *p = policy_new(&s);
    policy_add_allow(p, false, "*", "*", "test");
    bus_start(&b, .policy = p);
    uint32_t edge = join(&b, "edge", 0, NULL), echo = join(&b, "echo", 1, "say");
    for (uint32_t i = 1; i <= 4; i++)
        ask(&b, edge, i, "echo.say", .ttl_ms = 5000);
    refused(&b, edge, SV_STATUS_RESOURCE_EXHAUSTED, "service.queue_full");
    assert_int_equal(core_get_stats(b.c)->queued, 2);
    take(&b, echo, SV_REQUEST);
    pass(&b, 502); /* too old */
    refused(&b, edge, SV_STATUS_RESOURCE_EXHAUSTED, "service.queue_full");
    refused(&b, edge, SV_STATUS_RESOURCE_EXHAUSTED, "service.queue_full");
    assert_int_equal(core_get_stats(b.c)->queued, 0);
    bus_end(&b);
}

static void test_cancel(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t edge = join(&b, "edge", 0, NULL), echo = join(&b, "echo", 1, "say"),
             other = join(&b, "edge", 0, NULL);
    ask(&b, edge, 1, "echo.say");
    ask(&b, edge, 2, "echo.say");
    say(&b, other, SV_CANCEL, 1); /* not yours */
    none(&b, echo, SV_CANCEL);
    say(&b, edge, SV_CANCEL, 2); /* still queued */
    none(&b, echo, SV_CANCEL);
    say(&b, edge, SV_CANCEL, 1);
    msg m = take(&b, echo, SV_CANCEL);
    assert_string_equal(m.env.sender, "edge");
    ask(&b, edge, 3, "echo.say", .ttl_ms = 60000);
    take(&b, echo, SV_REQUEST);
    none(&b, echo, SV_REQUEST);
    none(&b, edge, SV_REPLY);
    for (int i = 0; i < 31 * 4; i++) { /* it never answers: the slot comes back after 30 s */
        say(&b, echo, SV_PING, 5);
        say(&b, edge, SV_PING, 5);
        pass(&b, 250);
    }
    take(&b, edge, SV_REPLY); /* 3 was too long in the queue */
    ask(&b, edge, 4, "echo.say");
    take(&b, echo, SV_REQUEST);
    bus_end(&b);
}

static void test_callee_dies(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t edge = join(&b, "edge", 0, NULL), echo = join(&b, "echo", 4, "say,get!");
    ask(&b, edge, 1, "echo.say");
    ask(&b, edge, 2, "echo.get");
    ask(&b, edge, 3, "echo.say", .flags = SV_FLAG_IDEMPOTENT);
    ask(&b, edge, 4, "echo.get", .flags = SV_FLAG_STREAM);
    say(&b, echo, SV_PARTIAL, 4, .code = 1);
    take(&b, edge, SV_PARTIAL);
    kit_gone(&b, echo);
    for (int i = 0; i < 2; i++) /* 1 may not be repeated, 4 has begun to answer */
        refused(&b, edge, SV_STATUS_UNAVAILABLE, "service.lost");
    none(&b, edge, SV_REPLY);
    uint32_t again = join(&b, "echo", 4, "say,get!");
    msg m = take(&b, again, SV_REQUEST);
    assert_int_equal(m.env.attempt, 2);
    take(&b, again, SV_REQUEST);
    none(&b, again, SV_REQUEST);
    kit_gone(&b, again); /* no third time */
    refused(&b, edge, SV_STATUS_UNAVAILABLE, "service.lost");
    refused(&b, edge, SV_STATUS_UNAVAILABLE, "service.lost");
    assert_int_equal(core_get_stats(b.c)->redelivered, 2);
    assert_int_equal(b.forgotten, 2);
    bus_end(&b);
}

static void test_retry_budget(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t edge = join(&b, "edge", 0, NULL), repeated = 0;
    for (uint32_t i = 1; i <= 10; i++) {
        uint32_t echo = join(&b, "echo", 1, "get!");
        ask(&b, edge, i, "echo.get", .ttl_ms = 60000);
        take(&b, echo, SV_REQUEST);
        kit_gone(&b, echo);
        uint32_t second = join(&b, "echo", 1, "get!");
        if (take_(&b, second, SV_REQUEST).env.kind) {
            repeated++;
            say(&b, second, SV_REPLY, i, .code = SV_STATUS_INVALID_ARGUMENT);
        }
        take(&b, edge, SV_REPLY);
        kit_gone(&b, second);
    }
    assert_int_equal(repeated,
                     5 + 1); /* ten tokens down to half; an answer gives a tenth back each */
    bus_end(&b);
}

static void test_caller_dies(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t edge = join(&b, "edge", 0, NULL), echo = join(&b, "echo", 1, "say");
    ask(&b, edge, 1, "echo.say");
    ask(&b, edge, 2, "echo.say");
    take(&b, echo, SV_REQUEST);
    kit_gone(&b, edge);
    take(&b, echo, SV_CANCEL);
    assert_int_equal(core_get_stats(b.c)->open, 0);
    assert_int_equal(core_get_stats(b.c)->orphaned, 2);
    answer(&b, echo, 1, SV_STATUS_CANCELLED);
    none(&b, edge, SV_REPLY);
    bus_end(&b);
}

static void test_strange_answers(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t edge = join(&b, "edge", 0, NULL), echo = join(&b, "echo", 4, "say"),
             liar = join(&b, "liar", 4, "say");
    ask(&b, edge, 1, "echo.say");
    answer(&b, liar, 1, SV_STATUS_OK);
    answer(&b, edge, 1, SV_STATUS_OK);
    none(&b, edge, SV_REPLY);
    say(&b, liar, SV_PARTIAL, 1, .code = 1);
    none(&b, edge, SV_PARTIAL);
    answer(&b, echo, 1, 4711);
    assert_int_equal(take(&b, edge, SV_REPLY).code, SV_STATUS_INTERNAL);
    ask(&b, edge, 2, "echo.say");
    say(&b, echo, SV_REPLY, 2, .flags = SV_FLAG_MORE); /* final, but more to come? */
    refused(&b, edge, SV_STATUS_INTERNAL, "server.internal");
    bus_end(&b);
}

static void test_faults(void **state)
{
    (void)state;
    kit b;
    policy *p = policy_new(NULL);
    uint64_t until = 1700000000 + 10;
    policy_add_allow(p, false, "*", "*", "test");
    policy_add_fault(p, "edge", "echo.a", (policy_fault){FAULT_ABORT, 0}, 100, until);
    policy_add_fault(p, "edge", "echo.b", (policy_fault){FAULT_DELAY, 50}, 100, until);
    policy_add_fault(p, "edge", "echo.c", (policy_fault){FAULT_DROP, 0}, 100, until);
    bus_start(&b, .policy = p, .limits = {.lost_ms = 60000, .suspect_ms = 50000});
    uint32_t edge = join(&b, "edge", 0, NULL), echo = join(&b, "echo", 4, "a,b,c");
    ask(&b, edge, 1, "echo.a");
    refused(&b, edge, SV_STATUS_UNAVAILABLE, "policy.fault");
    ask(&b, edge, 2, "echo.b");
    pass(&b, 49);
    none(&b, echo, SV_REQUEST);
    pass(&b, 3);
    take(&b, echo, SV_REQUEST);
    answer(&b, echo, 2, SV_STATUS_OK);
    take(&b, edge, SV_REPLY);
    ask(&b, edge, 3, "echo.c", .ttl_ms = 100);
    none(&b, echo, SV_REQUEST);
    pass(&b, 102);
    refused(&b, edge, SV_STATUS_DEADLINE_EXCEEDED, "request.deadline_exceeded");
    pass(&b, 10000); /* faults end by themselves */
    ask(&b, edge, 4, "echo.a");
    take(&b, echo, SV_REQUEST);
    bus_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_and_reply),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_hello_required),
        cmocka_unit_test(test_deadline_in_hand),
        cmocka_unit_test(test_deadline_in_queue),
        cmocka_unit_test(test_ttl_counts_down),
        cmocka_unit_test(test_queue_is_bounded),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_callee_dies),
        cmocka_unit_test(test_retry_budget),
        cmocka_unit_test(test_caller_dies),
        cmocka_unit_test(test_strange_answers),
        cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
