/*  test_core_bus.c - the broker's own methods, records and taps. */
#include "test_core_kit.h"

static arena mem;

/* The reply of a bus call of peer `p`, decoded; fails unless it is OK. */
static void reply_of(kit *b, uint32_t p, const sv_message *type, void *ret)
{
    msg m = take(b, p, SV_REPLY);
    assert_int_equal(m.code, SV_STATUS_OK);
    assert_string_equal(m.env.sender, "bus");
    assert_int_equal(
        message_decode(type, (sv_str){m.body, m.body_n}, MESSAGE_STRICT, &mem, ret, NULL), 0);
}

static void ask_with(kit *b, uint32_t p, uint32_t n, const char *method, const sv_message *type,
                     const void *body, kit_say s)
{
    buf out;
    buf_init(&out, 65536);
    assert_int_equal(message_encode(type, body, &out), 0);
    s.body = buf_str(&out);
    kit_ask(b, p, n, method, s);
    buf_free(&out);
}

static int setup(void **state)
{
    (void)state;
    arena_init(&mem, 64 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&mem);
    return 0;
}

static void test_ping_and_services(void **state)
{
    (void)state;
    kit b;
    bus_start(&b, .node = "node-a");
    uint32_t op = join(&b, "op", 0, NULL), echo = join(&b, "echo", 4, "say,get!");
    ask(&b, op, 1, "bus.ping");
    sv_ping_reply ping;
    reply_of(&b, op, &sv_ping_reply_msg, &ping);
    assert_int_equal(ping.in_flight, 1);
    ask(&b, op, 2, "echo.say");
    pass(&b, 30);
    answer(&b, echo, 2, SV_STATUS_INTERNAL);
    clear_inbox(&b);
    pass(&b, 260);
    msg m = take(&b, echo, SV_PING);
    uint64_t pinged = b.now_us;
    pass(&b, 3);
    kit_message(&b, echo, SV_PONG, kit_id(1), (kit_say){0}); /* not the one that was asked for */
    pass(&b, 4);
    kit_message(&b, echo, SV_PONG, m.env.id, (kit_say){0});
    clear_inbox(&b);
    ask(&b, op, 3, "bus.services");
    bus_services_reply r;
    reply_of(&b, op, &bus_services_reply_msg, &r);
    assert_int_equal(r.broker_epoch, 77);
    assert_int_equal(r.instances.n, 3);
    bus_service_instance *i = r.instances.items;
    for (uint32_t k = 0; k < 3; k++) {
        if (sv_str_is(i[k].service, "bus")) assert_int_equal(i[k].methods.n, 7);
        if (!sv_str_is(i[k].service, "echo")) continue;
        assert_int_equal(i[k].slots, 4);
        assert_int_equal(i[k].served, 1);
        assert_int_equal(i[k].errors, 1);
        assert_int_equal(i[k].ewma_us, 30000);
        assert_in_range(i[k].rtt_us, 7000, b.now_us - pinged + 10000);
        assert_true(sv_str_is(i[k].state, "live"));
        assert_int_equal(i[k].methods.n, 2);
        assert_true(((bus_method *)i[k].methods.items)[1].idempotent);
    }
    ask(&b, op, 4, "bus.nothing");
    refused(&b, op, SV_STATUS_UNIMPLEMENTED, "method.unknown");
    ask(&b, op, 5, "bus.drain", .body = {"\x81\xa1x\xc3", 4});
    refused(&b, op, SV_STATUS_INVALID_ARGUMENT, "request.unknown_field");
    bus_end(&b);
}

static void test_stats(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t op = join(&b, "op", 0, NULL), echo = join(&b, "echo", 1, "say");
    for (uint32_t i = 1; i <= 4; i++)
        ask(&b, op, i, "echo.say", .ttl_ms = 60000);
    for (uint32_t i = 1; i <= 4; i++) {
        pass(&b, 10);
        answer(&b, echo, i, i == 4 ? SV_STATUS_NOT_FOUND : SV_STATUS_OK);
    }
    clear_inbox(&b);
    ask(&b, op, 9, "bus.stats");
    bus_stats_reply r;
    reply_of(&b, op, &bus_stats_reply_msg, &r);
    bus_method_stat *m = r.methods.items;
    assert_int_equal(r.methods.n, 1); /* the call of bus.stats itself is not finished */
    assert_true(sv_str_is(m->caller, "op") && sv_str_is(m->method, "echo.say"));
    assert_int_equal(m->requests, 4);
    assert_int_equal(m->errors, 1);
    assert_in_range(m->p50_us, 8000, 16000);
    assert_in_range(m->queue_p99_us, 24000, 50000);
    bus_stat *s = r.stats.items;
    bool seen = false;
    for (uint32_t i = 0; i < r.stats.n; i++)
        if (sv_str_is(s[i].name, "requests")) seen = s[i].value == 5;
    assert_true(seen);
    bus_end(&b);
}

static void test_drain(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t op = join(&b, "op", 0, NULL), one = join(&b, "echo", 4, "say"),
             two = join(&b, "echo", 4, "say");
    bus_drain_req q = {.service = sv_cstr("echo"), .instance = 2};
    ask_with(&b, op, 1, "bus.drain", &bus_drain_req_msg, &q, (kit_say){0});
    bus_empty e;
    reply_of(&b, op, &bus_empty_msg, &e);
    take(&b, two, SV_DRAIN);
    none(&b, one, SV_DRAIN);
    for (uint32_t i = 2; i <= 5; i++)
        ask(&b, op, i, "echo.say");
    for (uint32_t i = 2; i <= 5; i++)
        take(&b, one, SV_REQUEST);
    q = (bus_drain_req){.service = sv_cstr("nobody")};
    ask_with(&b, op, 6, "bus.drain", &bus_drain_req_msg, &q, (kit_say){0});
    refused(&b, op, SV_STATUS_NOT_FOUND, "request.not_found");
    bus_end(&b);
}

/* ---- policy ---- */

static int reload_fails(void *arg, sv_error *err)
{
    ++*(int *)arg;
    return sv_fail(err, SV_E_CONFIG, NULL, "policy.yaml:3: no such word");
}

static int reload_starts(void *arg, sv_error *err)
{
    (void)err;
    ++*(int *)arg;
    return 0;
}

static void test_policy(void **state)
{
    (void)state;
    kit b;
    int asked = 0;
    policy *p = policy_new(NULL);
    policy_add_allow(p, false, "op", "*", "policy.yaml:2 op may");
    bus_start(&b, .policy = p, .reload = reload_fails, .reload_arg = &asked,
              .policy_file = "policy.yaml");
    uint32_t op = join(&b, "op", 0, NULL);
    bus_policy_req q = {.caller = sv_cstr("op"), .method = sv_cstr("echo.say")};
    bus_policy_reply r;
    ask_with(&b, op, 1, "bus.policy", &bus_policy_req_msg, &q, (kit_say){0});
    reply_of(&b, op, &bus_policy_reply_msg, &r);
    assert_true(r.allowed && sv_str_is(r.rule, "policy.yaml:2 op may"));
    assert_true(sv_str_is(r.file, "policy.yaml"));
    q.caller = sv_cstr("edge");
    ask_with(&b, op, 2, "bus.policy", &bus_policy_req_msg, &q, (kit_say){0});
    reply_of(&b, op, &bus_policy_reply_msg, &r);
    assert_true(!r.allowed && sv_str_is(r.rule, "default deny"));
    q = (bus_policy_req){.reload = true};
    ask_with(&b, op, 3, "bus.policy", &bus_policy_req_msg, &q, (kit_say){0});
    reply_of(&b, op, &bus_policy_reply_msg, &r);
    assert_int_equal(r.generation, 1);
    assert_true(sv_str_is(r.error, "policy.yaml:3: no such word"));
    q = (bus_policy_req){.caller = sv_cstr("op")};
    ask_with(&b, op, 4, "bus.policy", &bus_policy_req_msg, &q, (kit_say){0});
    refused(&b, op, SV_STATUS_INVALID_ARGUMENT, "request.missing_field");
    assert_int_equal(asked, 1);
    bus_end(&b);
}

static void test_policy_reload(void **state)
{
    (void)state;
    kit b;
    int asked = 0;
    bus_start(&b, .reload = reload_starts, .reload_arg = &asked);
    uint32_t op = join(&b, "op", 0, NULL);
    bus_policy_req q = {.reload = true};
    bus_policy_reply r;
    ask_with(&b, op, 1, "bus.policy", &bus_policy_req_msg, &q, (kit_say){0});
    ask_with(&b, op, 2, "bus.policy", &bus_policy_req_msg, &q, (kit_say){.ttl_ms = 100});
    none(&b, op, SV_REPLY); /* waits for the new one */
    pass(&b, 102);
    refused(&b, op, SV_STATUS_DEADLINE_EXCEEDED, "request.deadline_exceeded");
    policy *p = policy_new(NULL);
    kit_step(&b, (core_event){.kind = CORE_POLICY, .policy = p});
    reply_of(&b, op, &bus_policy_reply_msg, &r);
    assert_int_equal(r.generation, 2);
    bus_end(&b);
    bus_start(&b);
    op = join(&b, "op", 0, NULL);
    ask_with(&b, op, 1, "bus.policy", &bus_policy_req_msg, &q, (kit_say){0});
    refused(&b, op, SV_STATUS_FAILED_PRECONDITION, "config.invalid"); /* there is no file */
    bus_end(&b);
}

/* ---- answers in parts ---- */

static void test_large_answer(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t op = join(&b, "op", 0, NULL);
    char name[24], methods[256];
    for (int i = 0; i < 60; i++) { /* a registry of some 200 KiB */
        snprintf(name, sizeof name, "service-%d", i);
        methods[0] = 0;
        for (int k = 0; k < 16; k++)
            snprintf(methods + strlen(methods), sizeof methods - strlen(methods), "%smethod-%d",
                     k ? "," : "", k);
        join(&b, name, 1, methods);
    }
    /* the registry of this test is small; the records fill the answer instead */
    for (uint32_t i = 0; i < 1000; i++)
        ask(&b, op, i + 1000, "nobody.with-a-rather-long-name-so-that-the-answer-becomes-large");
    clear_inbox(&b);
    bus_records_req q = {.limit = 1000};
    ask_with(&b, op, 1, "bus.records", &bus_records_req_msg, &q,
             (kit_say){.credit_items = 1, .credit_bytes = 1 << 20});
    static char whole[1 << 20];
    size_t n = 0;
    uint32_t sequence = 0;
    for (;;) {
        msg m = take_(&b, op, SV_PARTIAL);
        if (m.env.kind == 0) break;
        assert_int_equal(m.code, ++sequence);
        assert_true(m.env.flags & SV_FLAG_MORE);
        assert_true(m.body_n <= LIMIT_PART_BYTES);
        memcpy(whole + n, m.body, m.body_n);
        n += m.body_n;
        none(&b, op, SV_PARTIAL); /* the window is one part */
        say(&b, op, SV_CREDIT, 1, .credit_items = sequence + 1, .credit_bytes = 1 << 20);
    }
    assert_true(sequence >= 2);
    msg m = take(&b, op, SV_REPLY);
    memcpy(whole + n, m.body, m.body_n);
    n += m.body_n;
    bus_records_reply r;
    assert_int_equal(message_decode(&bus_records_reply_msg, (sv_str){whole, (uint32_t)n},
                                    MESSAGE_STRICT, &mem, &r, NULL),
                     0);
    assert_int_equal(r.records.n, 1000);
    /* given up in the middle: nothing stays */
    ask_with(&b, op, 2, "bus.records", &bus_records_req_msg, &q, (kit_say){.credit_items = 1});
    say(&b, op, SV_CANCEL, 2);
    ask_with(&b, op, 3, "bus.records", &bus_records_req_msg, &q, (kit_say){.credit_items = 1});
    kit_gone(&b, op);
    assert_int_equal(core_get_stats(b.c)->open, 0);
    bus_end(&b);
}

/* ---- records and taps ---- */

static void test_records(void **state)
{
    (void)state;
    kit b;
    bus_start(&b, .limits = {.records = 8});
    uint32_t op = join(&b, "op", 0, NULL), echo = join(&b, "echo", 4, "say");
    for (uint32_t i = 1; i <= 20; i++) {
        ask(&b, op, i, "echo.say");
        pass(&b, 3);
        answer(&b, echo, i, SV_STATUS_OK);
    }
    clear_inbox(&b);
    sv_id id = kit_id(20);
    bus_records_req q = {.id = {(const char *)id.b, 16}, .limit = 100};
    bus_records_reply r;
    ask_with(&b, op, 30, "bus.records", &bus_records_req_msg, &q, (kit_say){0});
    reply_of(&b, op, &bus_records_reply_msg, &r);
    assert_int_equal(r.records.n, 2);
    bus_record *x = r.records.items;
    assert_true(sv_str_is(x[0].kind, "REQUEST") && sv_str_is(x[1].kind, "REPLY"));
    assert_true(sv_str_is(x[0].from, "op/1") && sv_str_is(x[0].to, "echo/1"));
    assert_true(sv_str_is(x[1].status, "OK") && sv_str_is(x[1].method, "echo.say"));
    assert_int_equal(x[1].service_us, 3000);
    assert_int_equal(x[0].attempt, 1);
    q = (bus_records_req){.limit = 1000};
    ask_with(&b, op, 31, "bus.records", &bus_records_req_msg, &q, (kit_say){0});
    reply_of(&b, op, &bus_records_reply_msg, &r);
    assert_int_equal(r.records.n, 8);
    q = (bus_records_req){.id = sv_cstr("short"), .limit = 1};
    ask_with(&b, op, 32, "bus.records", &bus_records_req_msg, &q, (kit_say){0});
    refused(&b, op, SV_STATUS_INVALID_ARGUMENT, "request.out_of_range");
    bus_end(&b);
}

static void open_tap(kit *b, uint32_t p, uint32_t n, const char *filter, int64_t count, int64_t rps)
{
    bus_tap_req q = {.filter = sv_cstr(filter), .count = count, .max_rps = rps ? rps : 10000};
    ask_with(b, p, n, "bus.tap", &bus_tap_req_msg, &q,
             (kit_say){.flags = SV_FLAG_STREAM, .ttl_ms = 600000, .credit_items = 100});
}

/* "REQUEST echo.say" of the next record; "" when there is none. */
static const char *tapped(kit *b, uint32_t p, bus_record *ret)
{
    static char text[128];
    msg m = take_(b, p, SV_PARTIAL);
    if (m.env.kind == 0) return "";
    bus_record r;
    assert_int_equal(
        message_decode(&bus_record_msg, (sv_str){m.body, m.body_n}, MESSAGE_STRICT, &mem, &r, NULL),
        0);
    snprintf(text, sizeof text, "%.*s %.*s", SV_FMT(r.kind), SV_FMT(r.method));
    if (ret) *ret = r;
    return text;
}

static void test_tap_filters(void **state)
{
    (void)state;
    static const struct {
        const char *filter;
        int shown; /* of: REQUEST and REPLY echo.say from edge, REQUEST and failed REPLY auth.login
                    */
    } table[] = {
        {"", 4},
        {"echo", 2},
        {"say", 2},
        {"echo.sa", 2},
        {"auth.login", 2},
        {"err", 1},
        {"kind=request", 2},
        {"status=OK", 1},
        {"from=edge", 2},
        {"to=edge/1", 2},
        {"to=edge/2", 0},
        {"edge", 4},
        {"method=echo.*", 2},
        {"echo err", 0},
        {"auth err", 1},
        {"id=01000000-0000-0000-0000-000000000007", 2},
        {"trace=00000000000000000000000000000001", 0},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        kit b;
        bus_start(&b);
        uint32_t edge = join(&b, "edge", 0, NULL), echo = join(&b, "echo", 4, "say"),
                 auth = join(&b, "auth", 4, "login"), op = join(&b, "op", 0, NULL);
        open_tap(&b, op, 100, table[i].filter, 0, 0);
        none(&b, op, SV_REPLY);
        ask(&b, edge, 1, "echo.say");
        answer(&b, echo, 1, SV_STATUS_OK);
        ask(&b, edge, 2, "auth.login");
        answer(&b, auth, 2, SV_STATUS_UNAUTHENTICATED);
        say(&b, edge, SV_PING, 5);
        int shown = 0;
        while (take_(&b, op, SV_PARTIAL).env.kind)
            shown++;
        if (shown != table[i].shown)
            fail_msg("\"%s\" shows %d, not %d", table[i].filter, shown, table[i].shown);
        bus_end(&b);
    }
}

static void test_tap_refusals(void **state)
{
    (void)state;
    static const char *const bad[] = {"color=red", "kind=NOTHING", "status=FINE",
                                      "trace=12",  "id=xyz",       "a b c d e f g h i"};
    kit b;
    bus_start(&b);
    uint32_t op = join(&b, "op", 0, NULL);
    for (uint32_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        open_tap(&b, op, i + 1, bad[i], 0, 0);
        msg m = take(&b, op, SV_REPLY);
        assert_int_equal(m.code, SV_STATUS_INVALID_ARGUMENT);
    }
    ask(&b, op, 50, "bus.tap"); /* not as a stream */
    refused(&b, op, SV_STATUS_INVALID_ARGUMENT, "request.invalid");
    assert_int_equal(core_get_stats(b.c)->taps, 0);
    bus_end(&b);
}

static void test_tap_window_count_and_rate(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t edge = join(&b, "edge", 0, NULL), op = join(&b, "op", 0, NULL);
    bus_tap_req q = {.max_rps = 10000, .count = 5};
    bus_record r;
    ask_with(&b, op, 1, "bus.tap", &bus_tap_req_msg, &q,
             (kit_say){.flags = SV_FLAG_STREAM, .ttl_ms = 60000, .credit_items = 2});
    for (uint32_t i = 10; i < 15; i++)
        ask(&b, edge, i, "nobody.x");
    assert_string_equal(tapped(&b, op, &r), "REPLY nobody.x");
    assert_string_equal(tapped(&b, op, &r), "REPLY nobody.x");
    assert_string_equal(tapped(&b, op, &r), ""); /* the window is shut */
    say(&b, op, SV_CREDIT, 1, .credit_items = 100, .credit_bytes = 1 << 20);
    ask(&b, edge, 15, "nobody.x");
    assert_string_equal(tapped(&b, op, &r), "REPLY nobody.x");
    assert_int_equal(r.dropped, 3);
    for (uint32_t i = 16; i < 20; i++)
        ask(&b, edge, i, "nobody.x");
    tapped(&b, op, &r);
    assert_int_equal(r.dropped, 0);
    tapped(&b, op, &r);
    assert_string_equal(tapped(&b, op, &r), ""); /* five were asked for */
    pass(&b, 3);
    assert_int_equal(take(&b, op, SV_REPLY).code, SV_STATUS_OK);
    assert_int_equal(core_get_stats(b.c)->taps, 0);
    open_tap(&b, op, 2, "", 0, 3);
    for (uint32_t i = 20; i < 30; i++)
        ask(&b, edge, i, "nobody.x");
    int shown = 0;
    while (take_(&b, op, SV_PARTIAL).env.kind)
        shown++;
    assert_int_equal(shown, 3); /* a second */
    pass(&b, 400);
    ask(&b, edge, 30, "nobody.x");
    tapped(&b, op, &r);
    assert_int_equal(r.dropped, 7);
    bus_end(&b);
}

static void test_tap_ends(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t edge = join(&b, "edge", 0, NULL), op = join(&b, "op", 0, NULL);
    open_tap(&b, op, 1, "", 0, 0);
    open_tap(&b, op, 2, "kind=CREDIT", 0, 0);
    assert_int_equal(core_get_stats(b.c)->taps, 2);
    say(&b, op, SV_CANCEL, 1);
    assert_int_equal(core_get_stats(b.c)->taps, 1);
    clear_inbox(&b);
    say(&b, op, SV_CREDIT, 2, .credit_items = 200); /* its own: never shown */
    none(&b, op, SV_PARTIAL);
    kit_gone(&b, op);
    assert_int_equal(core_get_stats(b.c)->taps, 0);
    ask(&b, edge, 3, "nobody.x");
    bus_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ping_and_services),
        cmocka_unit_test(test_stats),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_policy),
        cmocka_unit_test(test_policy_reload),
        cmocka_unit_test(test_large_answer),
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_tap_filters),
        cmocka_unit_test(test_tap_refusals),
        cmocka_unit_test(test_tap_window_count_and_rate),
        cmocka_unit_test(test_tap_ends),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
