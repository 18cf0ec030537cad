/*  test_core_event.c - topics, grants, gaps. */
#include "test_core_kit.h"

static void publish(kit *b, uint32_t peer, const char *topic)
{
    say(b, peer, SV_EVENT, 77, .target = topic, .body = {"body", 4}, .sender = "auth");
}

static uint32_t drain(kit *b, uint32_t peer)
{
    uint32_t n = 0;
    while (take_(b, peer, SV_EVENT).env.kind)
        n++;
    return n;
}

static void test_patterns(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *topic;
        bool fits;
    } table[] = {
        {"chat.news", "chat.news", true},
        {"chat.news", "chat.new", false},
        {"chat.news", "chat.news.x", false},
        {"chat.*", "chat.news", true},
        {"chat.*", "chat.a.b", false},
        {"chat.>", "chat.a.b", true},
        {"chat.>", "chat.a", true},
        {"*.news", "chat.news", true},
        {"*.news", "chat.old", false},
        {"*.*.b", "chat.a.b", true},
        {">", "chat.x", true},
        {"chat.*.b", "chat.a.b", true},
        {"chat.*.b", "chat.a.c", false},
        {"cha.>", "chat.a", false},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        kit b;
        bus_start(&b);
        uint32_t reader = join(&b, "reader", 0, NULL), chat = join(&b, "chat", 0, NULL);
        say(&b, reader, SV_SUBSCRIBE, 1, .target = table[i].pattern, .credit_items = 9);
        publish(&b, chat, table[i].topic);
        if (drain(&b, reader) != table[i].fits)
            fail_msg("%s %s %s", table[i].pattern, table[i].fits ? "misses" : "gets",
                     table[i].topic);
        bus_end(&b);
    }
}

static void test_bad_patterns(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "a..b", "a.>.b", "a.b*", ".a", "a.", "A.b", "a b"};
    kit b;
    bus_start(&b);
    uint32_t reader = join(&b, "reader", 0, NULL);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        say(&b, reader, SV_SUBSCRIBE, 1, .target = bad[i], .credit_items = 9);
        refused(&b, reader, SV_STATUS_INVALID_ARGUMENT, "request.invalid");
    }
    bus_end(&b);
}

static void test_fan_out(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t one = join(&b, "reader", 0, NULL), two = join(&b, "reader", 0, NULL),
             chat = join(&b, "chat", 0, NULL);
    say(&b, one, SV_SUBSCRIBE, 1, .target = "chat.*", .credit_items = 9);
    say(&b, one, SV_SUBSCRIBE, 2, .target = ">", .credit_items = 9);
    say(&b, two, SV_SUBSCRIBE, 1, .target = "chat.news", .credit_items = 9);
    publish(&b, chat, "chat.news");
    msg m = take(&b, one, SV_EVENT);
    assert_memory_equal(m.env.id.b, kit_id(1).b, 16);
    assert_string_equal(m.env.sender, "chat"); /* not "auth" */
    assert_string_equal(m.target, "chat.news");
    assert_int_equal(m.code, 1);
    assert_memory_equal(m.body, "body", 4);
    assert_memory_equal(take(&b, one, SV_EVENT).env.id.b, kit_id(2).b, 16);
    take(&b, two, SV_EVENT);
    say(&b, one, SV_UNSUBSCRIBE, 2);
    kit_gone(&b, two);
    publish(&b, chat, "chat.news");
    assert_int_equal(drain(&b, one), 1);
    bus_end(&b);
}

static void test_grant_and_gap(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t reader = join(&b, "reader", 0, NULL), chat = join(&b, "chat", 0, NULL);
    say(&b, reader, SV_SUBSCRIBE, 1, .target = "chat.>", .credit_items = 2);
    for (int i = 0; i < LIMIT_EVENT_QUEUE + 10; i++)
        publish(&b, chat, "chat.news");
    assert_int_equal(take(&b, reader, SV_EVENT).code, 1);
    assert_int_equal(take(&b, reader, SV_EVENT).code, 2);
    none(&b, reader, SV_EVENT);
    assert_int_equal(core_get_stats(b.c)->events_dropped, 8);
    say(&b, reader, SV_CREDIT, 1, .credit_items = 1); /* totals never shrink */
    none(&b, reader, SV_EVENT);
    say(&b, reader, SV_CREDIT, 1, .credit_items = 4);
    assert_int_equal(take(&b, reader, SV_EVENT).code, 11); /* 3 to 10 are missing, and it shows */
    assert_int_equal(take(&b, reader, SV_EVENT).code, 12);
    none(&b, reader, SV_EVENT);
    say(&b, reader, SV_SUBSCRIBE, 1, .target = "chat.>", .credit_items = UINT32_MAX); /* no end */
    assert_int_equal(drain(&b, reader), LIMIT_EVENT_QUEUE - 2);
    bus_end(&b);
}

static void test_who_may_publish(void **state)
{
    (void)state;
    kit b;
    policy *p = policy_new(NULL);
    policy_add_allow(p, false, "reader", "bus.subscribe", "r");
    policy_add_publish(p, "gateway", "chat.*");
    bus_start(&b, .policy = p);
    uint32_t reader = join(&b, "reader", 0, NULL), other = join(&b, "other", 0, NULL),
             gateway = join(&b, "gateway", 0, NULL);
    say(&b, other, SV_SUBSCRIBE, 1, .target = ">", .credit_items = 9);
    refused(&b, other, SV_STATUS_PERMISSION_DENIED, "policy.denied");
    say(&b, reader, SV_SUBSCRIBE, 1, .target = ">", .credit_items = 9);
    publish(&b, other, "chat.news");
    publish(&b, other, "otherwise.news");
    none(&b, reader, SV_EVENT);
    publish(&b, other, "other.news");
    publish(&b, gateway, "chat.news");
    assert_int_equal(drain(&b, reader), 2);
    assert_int_equal(core_get_stats(b.c)->denied, 3);
    bus_end(&b);
}

static void test_malformed(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t reader = join(&b, "reader", 0, NULL), chat = join(&b, "chat", 0, NULL);
    say(&b, reader, SV_SUBSCRIBE, 1, .target = ">", .credit_items = 9);
    say(&b, chat, SV_EVENT, 1, .target = "chat.x", .attachment = 1);
    say(&b, chat, SV_EVENT, 1, .target = "chat.x", .flags = SV_FLAG_MORE);
    say(&b, chat, SV_EVENT, 1, .target = "chat");
    none(&b, reader, SV_EVENT);
    assert_int_equal(core_get_stats(b.c)->dropped_malformed, 3);
    bus_end(&b);
}

static void test_limits(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t reader = join(&b, "reader", 0, NULL);
    for (uint32_t i = 1; i <= LIMIT_SUBSCRIPTIONS; i++)
        say(&b, reader, SV_SUBSCRIBE, i, .target = "a.b");
    none(&b, reader, SV_REPLY);
    say(&b, reader, SV_SUBSCRIBE, 1, .target = "a.b", .credit_items = 3); /* again: the same one */
    none(&b, reader, SV_REPLY);
    say(&b, reader, SV_SUBSCRIBE, 1, .target = "a.c");
    refused(&b, reader, SV_STATUS_ALREADY_EXISTS, "bus.duplicate_id");
    say(&b, reader, SV_SUBSCRIBE, 999, .target = "a.b");
    refused(&b, reader, SV_STATUS_RESOURCE_EXHAUSTED, "server.overloaded");
    bus_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns),        cmocka_unit_test(test_bad_patterns),
        cmocka_unit_test(test_fan_out),         cmocka_unit_test(test_grant_and_gap),
        cmocka_unit_test(test_who_may_publish), cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
