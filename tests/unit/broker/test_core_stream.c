/*  test_core_stream.c - sequences, windows, CREDIT, uploads, blocked peers. */
#include "test_core_kit.h"

typedef struct two {
    kit b;
    uint32_t edge, echo;
} two;

static void start(two *t)
{
    bus_start(&t->b);
    t->edge = join(&t->b, "edge", 0, NULL);
    t->echo = join(&t->b, "echo", 16, "say,get!");
}

static void test_window_in_items(void **state)
{
    (void)state;
    two t;
    start(&t);
    ask(&t.b, t.edge, 1, "echo.say", .flags = SV_FLAG_STREAM, .credit_items = 2);
    for (uint32_t i = 1; i <= 2; i++) {
        say(&t.b, t.echo, SV_PARTIAL, 1, .code = i, .body = {"x", 1}, .sender = "edge");
        msg m = take(&t.b, t.edge, SV_PARTIAL);
        assert_int_equal(m.code, i);
        assert_string_equal(m.env.sender, "echo");
    }
    say(&t.b, t.edge, SV_CREDIT, 1, .credit_items = 1, .credit_bytes = 10); /* shrinks nothing */
    say(&t.b, t.edge, SV_CREDIT, 1, .credit_items = 3, .credit_bytes = 10);
    assert_int_equal(take(&t.b, t.echo, SV_CREDIT).env.credit_items, 3);
    say(&t.b, t.edge, SV_CREDIT, 1, .credit_items = 3, .credit_bytes = 10); /* doubled */
    none(&t.b, t.echo, SV_CREDIT);
    say(&t.b, t.echo, SV_PARTIAL, 1, .code = 3);
    take(&t.b, t.edge, SV_PARTIAL);
    say(&t.b, t.echo, SV_PARTIAL, 1, .code = 4); /* ignores its window */
    none(&t.b, t.edge, SV_PARTIAL);
    refused(&t.b, t.edge, SV_STATUS_FAILED_PRECONDITION, "bus.credit_exceeded");
    take(&t.b, t.echo, SV_CANCEL);
    assert_int_equal(core_get_stats(t.b.c)->credit_violations, 1);
    answer(&t.b, t.echo, 1, SV_STATUS_OK);
    none(&t.b, t.edge, SV_REPLY);
    bus_end(&t.b);
}

static void test_window_in_bytes(void **state)
{
    (void)state;
    two t;
    start(&t);
    ask(&t.b, t.edge, 1, "echo.say", .flags = SV_FLAG_STREAM, .credit_bytes = 100);
    say(&t.b, t.echo, SV_PARTIAL, 1, .code = 1, .attachment = 100);
    take(&t.b, t.edge, SV_PARTIAL);
    say(&t.b, t.echo, SV_PARTIAL, 1, .code = 2, .attachment = 1);
    refused(&t.b, t.edge, SV_STATUS_FAILED_PRECONDITION, "bus.credit_exceeded");
    bus_end(&t.b);
}

static void test_sequence(void **state)
{
    (void)state;
    two t;
    start(&t);
    ask(&t.b, t.edge, 1, "echo.say", .flags = SV_FLAG_STREAM);
    say(&t.b, t.echo, SV_PARTIAL, 1, .code = 2);
    refused(&t.b, t.edge, SV_STATUS_INTERNAL, "server.internal");
    take(&t.b, t.echo, SV_CANCEL);
    ask(&t.b, t.edge, 2, "echo.say", .flags = SV_FLAG_STREAM);
    say(&t.b, t.echo, SV_PARTIAL, 2, .code = 1);
    say(&t.b, t.echo, SV_PARTIAL, 2, .code = 1);
    take(&t.b, t.edge, SV_PARTIAL);
    refused(&t.b, t.edge, SV_STATUS_INTERNAL, "server.internal");
    ask(&t.b, t.edge, 3, "echo.say"); /* no stream: parts of a large answer only */
    say(&t.b, t.echo, SV_PARTIAL, 3, .code = 1, .flags = SV_FLAG_MORE);
    take(&t.b, t.edge, SV_PARTIAL);
    say(&t.b, t.echo, SV_PARTIAL, 3, .code = 2);
    refused(&t.b, t.edge, SV_STATUS_INTERNAL, "server.internal");
    bus_end(&t.b);
}

static void test_credit_while_queued(void **state)
{
    (void)state;
    two t;
    bus_start(&t.b);
    t.edge = join(&t.b, "edge", 0, NULL);
    t.echo = join(&t.b, "echo", 1, "say");
    ask(&t.b, t.edge, 1, "echo.say");
    ask(&t.b, t.edge, 2, "echo.say", .flags = SV_FLAG_STREAM, .credit_items = 1);
    say(&t.b, t.edge, SV_CREDIT, 2, .credit_items = 9, .credit_bytes = 1000000);
    answer(&t.b, t.echo, 1, SV_STATUS_OK);
    take(&t.b, t.echo, SV_REQUEST);
    msg m = take(&t.b, t.echo, SV_REQUEST); /* carries the newest total */
    assert_int_equal(m.env.credit_items, 9);
    assert_int_equal(m.env.credit_bytes, 1000000);
    bus_end(&t.b);
}

static void test_upload(void **state)
{
    (void)state;
    two t;
    start(&t);
    ask(&t.b, t.edge, 1, "echo.get", .flags = SV_FLAG_MORE);
    take(&t.b, t.echo, SV_REQUEST);
    say(&t.b, t.echo, SV_CREDIT, 1, .credit_items = 1, .credit_bytes = 100);
    assert_int_equal(take(&t.b, t.edge, SV_CREDIT).env.credit_items, 1);
    say(&t.b, t.edge, SV_PARTIAL, 1, .code = 1, .flags = SV_FLAG_MORE, .body = {"abc", 3});
    assert_string_equal(take(&t.b, t.echo, SV_PARTIAL).env.sender, "edge");
    say(&t.b, t.edge, SV_PARTIAL, 1, .code = 2); /* not granted */
    none(&t.b, t.echo, SV_PARTIAL);
    refused(&t.b, t.edge, SV_STATUS_FAILED_PRECONDITION, "bus.credit_exceeded");
    take(&t.b, t.echo, SV_CANCEL);
    ask(&t.b, t.edge, 2, "echo.say"); /* says nothing of parts */
    take(&t.b, t.echo, SV_REQUEST);
    say(&t.b, t.echo, SV_CREDIT, 2, .credit_items = 10, .credit_bytes = 1000);
    say(&t.b, t.edge, SV_PARTIAL, 2, .code = 1);
    refused(&t.b, t.edge, SV_STATUS_INVALID_ARGUMENT, "request.invalid");
    /* with MORE it is never handed over twice, although the method is idempotent */
    ask(&t.b, t.edge, 3, "echo.get", .flags = SV_FLAG_MORE);
    take(&t.b, t.echo, SV_REQUEST);
    join(&t.b, "echo", 16, "say,get!");
    kit_gone(&t.b, t.echo);
    refused(&t.b, t.edge, SV_STATUS_UNAVAILABLE, "service.lost");
    bus_end(&t.b);
}

static void test_foreign_credit(void **state)
{
    (void)state;
    two t;
    start(&t);
    uint32_t thief = join(&t.b, "thief", 0, NULL);
    ask(&t.b, t.edge, 1, "echo.say", .flags = SV_FLAG_STREAM, .credit_items = 1);
    say(&t.b, thief, SV_CREDIT, 1, .credit_items = 1000, .credit_bytes = 1 << 30);
    say(&t.b, t.echo, SV_PARTIAL, 1, .code = 1);
    say(&t.b, t.echo, SV_PARTIAL, 1, .code = 2);
    take(&t.b, t.edge, SV_PARTIAL);
    refused(&t.b, t.edge, SV_STATUS_FAILED_PRECONDITION, "bus.credit_exceeded");
    bus_end(&t.b);
}

/* ---- a reader that does not read ---- */

static void open_again(kit *b, uint32_t peer)
{
    b->closed &= ~(1u << peer);
    kit_step(b, (core_event){.kind = CORE_WRITABLE, .peer = peer});
}

static void test_blocked_keeps_order(void **state)
{
    (void)state;
    two t;
    start(&t);
    ask(&t.b, t.edge, 1, "echo.say", .flags = SV_FLAG_STREAM, .ttl_ms = 60000);
    take(&t.b, t.echo, SV_REQUEST);
    t.b.closed |= 1u << t.edge;
    for (uint32_t i = 1; i <= 20; i++)
        say(&t.b, t.echo, SV_PARTIAL, 1, .code = i);
    answer(&t.b, t.echo, 1, SV_STATUS_OK);
    none(&t.b, t.edge, SV_PARTIAL);
    assert_true(core_get_stats(t.b.c)->out_queued_bytes > 0);
    t.b.closed = 0; /* opens, closes again at once, opens */
    kit_step(&t.b, (core_event){.kind = CORE_WRITABLE, .peer = t.edge});
    for (uint32_t i = 1; i <= 20; i++)
        assert_int_equal(take(&t.b, t.edge, SV_PARTIAL).code, i);
    take(&t.b, t.edge, SV_REPLY);
    assert_int_equal(core_get_stats(t.b.c)->out_queued_bytes, 0);
    bus_end(&t.b);
}

static void test_blocked_again(void **state)
{
    (void)state;
    two t;
    start(&t);
    ask(&t.b, t.edge, 1, "echo.say", .flags = SV_FLAG_STREAM, .ttl_ms = 60000, .credit_items = 500);
    t.b.closed |= 1u << t.edge;
    for (uint32_t i = 1; i <= 200; i++)
        say(&t.b, t.echo, SV_PARTIAL, 1, .code = i);
    for (int round = 0; round < 3; round++) /* a batch goes out and comes back, three times */
        kit_step(&t.b, (core_event){.kind = CORE_WRITABLE, .peer = t.edge});
    open_again(&t.b, t.edge);
    pass(&t.b, 1); /* batch by batch, without further ado */
    for (uint32_t i = 1; i <= 200; i++)
        assert_int_equal(take(&t.b, t.edge, SV_PARTIAL).code, i);
    bus_end(&t.b);
}

static void test_control_overtakes(void **state)
{
    (void)state;
    two t;
    start(&t);
    uint32_t other = join(&t.b, "other", 4, "x");
    ask(&t.b, t.echo, 1, "other.x", .flags = SV_FLAG_STREAM);
    ask(&t.b, t.edge, 2, "echo.say");
    take(&t.b, t.echo, SV_REQUEST);
    t.b.closed |= 1u << t.echo;
    for (uint32_t i = 1; i <= 3; i++)
        say(&t.b, other, SV_PARTIAL, 1, .code = i);
    say(&t.b, t.edge, SV_CANCEL, 2);
    clear_inbox(&t.b);
    open_again(&t.b, t.echo);
    /* the first part had been given back by the driver and is the oldest; then control */
    assert_int_equal(t.b.in->env.kind, SV_PARTIAL);
    assert_int_equal(t.b.in->next->env.kind, SV_CANCEL);
    bus_end(&t.b);
}

static void test_blocked_gets_no_work(void **state)
{
    (void)state;
    two t;
    start(&t);
    t.b.closed |= 1u << t.echo;
    ask(&t.b, t.edge, 1, "echo.say", .ttl_ms = 100);
    ask(&t.b, t.edge, 2, "echo.say", .ttl_ms = 1000);
    assert_int_equal(core_get_stats(t.b.c)->queued,
                     1); /* 1 was under way, 2 stays with the broker */
    pass(&t.b, 150);
    refused(&t.b, t.edge, SV_STATUS_DEADLINE_EXCEEDED, "request.deadline_exceeded");
    open_again(&t.b, t.echo);
    msg m = take(&t.b, t.echo, SV_REQUEST); /* expired work is not sent, not even late */
    assert_memory_equal(m.env.id.b, kit_id(2).b, 16);
    none(&t.b, t.echo, SV_REQUEST);
    bus_end(&t.b);
}

static void test_overflow_ends_the_peer(void **state)
{
    (void)state;
    kit b;
    bus_start(&b, .limits = {.out_messages = 10});
    uint32_t edge = join(&b, "edge", 0, NULL), echo = join(&b, "echo", 4, "say");
    ask(&b, edge, 1, "echo.say", .flags = SV_FLAG_STREAM);
    take(&b, echo, SV_REQUEST);
    b.closed |= 1u << edge;
    for (uint32_t i = 1; i <= 11; i++)
        say(&b, echo, SV_PARTIAL, 1, .code = i);
    assert_int_equal(b.forgotten, 1);
    take(&b, echo, SV_CANCEL);
    assert_int_equal(core_get_stats(b.c)->out_queued_bytes, 0);
    bus_end(&b);
}

static void test_credit_does_not_pile_up(void **state)
{
    (void)state;
    kit b;
    bus_start(&b, .limits = {.out_messages = 10});
    uint32_t edge = join(&b, "edge", 0, NULL), echo = join(&b, "echo", 4, "say");
    ask(&b, edge, 1, "echo.say", .flags = SV_FLAG_STREAM, .ttl_ms = 60000);
    take(&b, echo, SV_REQUEST);
    b.closed |= 1u << echo;
    for (uint32_t i = 100; i < 1000; i++)
        say(&b, edge, SV_CREDIT, 1, .credit_items = i, .credit_bytes = 300000);
    assert_int_equal(b.forgotten, 0);
    open_again(&b, echo);
    msg m, last = {0};
    while ((m = take_(&b, echo, SV_CREDIT)).env.kind)
        last = m;
    assert_int_equal(last.env.credit_items, 999);
    assert_string_equal(last.env.sender, "edge");
    bus_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_window_in_items),
        cmocka_unit_test(test_window_in_bytes),
        cmocka_unit_test(test_sequence),
        cmocka_unit_test(test_credit_while_queued),
        cmocka_unit_test(test_upload),
        cmocka_unit_test(test_foreign_credit),
        cmocka_unit_test(test_blocked_keeps_order),
        cmocka_unit_test(test_blocked_again),
        cmocka_unit_test(test_control_overtakes),
        cmocka_unit_test(test_blocked_gets_no_work),
        cmocka_unit_test(test_overflow_ends_the_peer),
        cmocka_unit_test(test_credit_does_not_pile_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
