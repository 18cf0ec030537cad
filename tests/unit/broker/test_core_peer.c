/*  test_core_peer.c - HELLO against identity, epochs, liveness, drain. */
#include "test_core_kit.h"

static identity supervised(const char *service, uint32_t instance, uint32_t pid)
{
    identity who = {.kind = IDENTITY_SUPERVISED, .instance = instance, .pid = pid};
    snprintf(who.service, sizeof who.service, "%s", service);
    snprintf(who.note, sizeof who.note, "pid %u", pid);
    return who;
}

static identity key(const char *service)
{
    identity who = {.kind = IDENTITY_KEY};
    snprintf(who.service, sizeof who.service, "%s", service);
    return who;
}

/* What the broker says to this name on this connection: "" for WELCOME, else the stable code. */
static const char *hears(kit *b, uint32_t peer, kit_hello h)
{
    hello(b, peer, h);
    if (take_(b, peer, SV_WELCOME).env.kind) return "";
    msg m = take(b, peer, SV_GOODBYE);
    return code_of(&m);
}

static void test_identity(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    const struct {
        identity who;
        kit_hello h;
        const char *expect;
    } table[] = {
        {supervised("router", 1, 11), {.service = "router"}, ""},
        {supervised("router", 2, 12), {.service = "auth"}, "bus.identity"},
        {supervised("router", 3, 13), {.service = "router", .instance = 4}, "bus.identity"},
        {supervised("bus", 1, 14), {.service = "bus"}, "bus.identity"},
        {supervised("supervisor", 1, 15), {.service = "supervisor"}, ""},
        {key("echo"), {.service = "echo", .slots = 1, .methods = "say"}, ""},
        {key("echo"), {.service = "router"}, "bus.identity"},
        {{.kind = IDENTITY_OPERATOR}, {.service = "operator"}, ""},
        {{.kind = IDENTITY_OPERATOR}, {.service = "edge"}, "bus.identity"},
        {{.kind = IDENTITY_OPERATOR},
         {.service = "operator", .slots = 1, .methods = "say"},
         "bus.identity"},
        {{.kind = IDENTITY_NONE}, {.service = "anything"}, ""},
        {{.kind = IDENTITY_NONE}, {.service = "bus"}, "bus.identity"},
        {{.kind = IDENTITY_NONE}, {.service = "operator"}, "bus.identity"},
        {{.kind = IDENTITY_NONE}, {.service = "supervisor"}, "bus.identity"},
        {{.kind = IDENTITY_NONE}, {.service = "Not A Name"}, "request.invalid"},
        {{.kind = IDENTITY_NONE},
         {.service = "x", .slots = 1, .methods = "has space"},
         "request.invalid"},
        {{.kind = IDENTITY_NONE}, {.service = "x", .methods = "say"}, "request.out_of_range"},
        {{.kind = IDENTITY_NONE},
         {.service = "x", .slots = 1, .methods = "a,a"},
         "request.conflict"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        uint32_t p = connect_as(&b, table[i].who);
        const char *heard = hears(&b, p, table[i].h);
        if (strcmp(heard, table[i].expect) != 0)
            fail_msg("row %zu: heard \"%s\", not \"%s\"", i, heard, table[i].expect);
    }
    uint32_t p = connect_as(&b, (identity){.kind = IDENTITY_NONE}); /* a body that is none */
    say(&b, p, SV_HELLO, 1, .body = {"\xc1", 1});
    msg m = take(&b, p, SV_GOODBYE);
    assert_string_equal(code_of(&m), "message.malformed");
    bus_end(&b);
}

static void test_refused_stays_unknown(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t p = connect_as(&b, key("echo"));
    assert_string_equal(hears(&b, p, (kit_hello){.service = "router"}), "bus.identity");
    assert_int_equal(core_get_stats(b.c)->peers, 0);
    ask(&b, p, 1, "bus.ping");
    msg m = take(&b, p, SV_GOODBYE);
    assert_string_equal(code_of(&m), "bus.hello_required");
    bus_end(&b);
}

static void test_instances(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t one = join(&b, "echo", 1, "say"), two = join(&b, "echo", 1, "say");
    (void)two;
    uint32_t four = connect_as(&b, (identity){.kind = IDENTITY_NONE});
    assert_string_equal(hears(&b, four, (kit_hello){.service = "echo", .instance = 4}), "");
    kit_gone(&b, one);
    uint32_t p = connect_as(&b, (identity){.kind = IDENTITY_NONE});
    hello(&b, p, (kit_hello){.service = "echo"});
    msg m = take(&b, p, SV_WELCOME);
    arena a;
    arena_init(&a, 65536);
    bus_welcome w;
    assert_int_equal(
        message_decode(&bus_welcome_msg, (sv_str){m.body, m.body_n}, MESSAGE_STRICT, &a, &w, NULL),
        0);
    assert_int_equal(w.instance, 1); /* the smallest free number */
    assert_int_equal(w.broker_epoch, 77);
    arena_free(&a);
    bus_end(&b);
}

static void test_epochs(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t edge = join(&b, "edge", 0, NULL);
    uint32_t old = connect_as(&b, key("echo"));
    kit_hello h = {.service = "echo", .instance = 1, .epoch = 5, .slots = 4, .methods = "say,get!"};
    assert_string_equal(hears(&b, old, h), "");
    ask(&b, edge, 1, "echo.say");
    ask(&b, edge, 2, "echo.get");
    take(&b, old, SV_REQUEST);
    take(&b, old, SV_REQUEST);
    h.epoch = 4;
    uint32_t late = connect_as(&b, key("echo"));
    assert_string_equal(hears(&b, late, h), "request.conflict");
    take(&b, old, SV_PING); /* is it there at all? */
    h.epoch = 6;
    uint32_t fresh = connect_as(&b, key("echo"));
    assert_string_equal(hears(&b, fresh, h), "");
    assert_int_equal(b.forgotten, 1);
    refused(&b, edge, SV_STATUS_UNAVAILABLE, "service.lost");
    assert_int_equal(take(&b, fresh, SV_REQUEST).env.attempt, 2);
    answer(&b, old, 2, SV_STATUS_OK); /* from a life that is over */
    none(&b, edge, SV_REPLY);
    take(&b, old, SV_GOODBYE);
    bus_end(&b);
}

static void test_same_process_new_connection(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    kit_hello h = {.service = "router", .epoch = 5, .slots = 4, .methods = "complete"};
    uint32_t old = connect_as(&b, supervised("router", 1, 4121));
    assert_string_equal(hears(&b, old, h), "");
    uint32_t again = connect_as(&b, supervised("router", 1, 4121));
    assert_string_equal(hears(&b, again, h),
                        ""); /* the same pid and epoch: its old connection is dead */
    uint32_t other = connect_as(&b, supervised("router", 1, 4999));
    assert_string_equal(hears(&b, other, h), "request.conflict");
    bus_end(&b);
}

static void test_hello_again_updates(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t edge = join(&b, "edge", 0, NULL), echo = join(&b, "echo", 1, "say");
    assert_string_equal(
        hears(&b, echo, (kit_hello){.service = "echo", .slots = 1, .methods = "shout"}), "");
    ask(&b, edge, 1, "echo.say");
    refused(&b, edge, SV_STATUS_UNIMPLEMENTED, "method.unknown");
    ask(&b, edge, 2, "echo.shout");
    take(&b, echo, SV_REQUEST);
    assert_string_equal(hears(&b, echo, (kit_hello){.service = "other"}), "bus.identity");
    answer(&b, echo, 2, SV_STATUS_OK); /* still who it was */
    take(&b, edge, SV_REPLY);
    bus_end(&b);
}

static void test_liveness(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t edge = join(&b, "edge", 0, NULL), echo = join(&b, "echo", 4, "say,get!");
    ask(&b, edge, 1, "echo.say", .ttl_ms = 60000);
    ask(&b, edge, 2, "echo.get", .ttl_ms = 60000);
    for (int i = 0; i < 4; i++) { /* only the edge says something */
        pass(&b, 260);
        say(&b, edge, SV_PING, 1);
        take(&b, edge, SV_PONG);
        take(&b, echo, SV_PING);
    }
    ask(&b, edge, 3, "echo.say", .ttl_ms = 60000);
    take(&b, echo, SV_REQUEST);
    take(&b, echo, SV_REQUEST);
    none(&b, echo, SV_REQUEST); /* suspect: no new work */
    say(&b, echo, SV_PING, 1);
    take(&b, echo, SV_REQUEST); /* any traffic counts */
    for (int i = 0; i < 20; i++) {
        pass(&b, 260);
        say(&b, edge, SV_PING, 1);
    }
    assert_int_equal(b.forgotten, 1);
    assert_int_equal(core_get_stats(b.c)->lost_peers, 1);
    refused(&b, edge, SV_STATUS_UNAVAILABLE, "service.lost");
    refused(&b, edge, SV_STATUS_UNAVAILABLE, "service.lost");
    none(&b, edge, SV_REPLY); /* 2 waits for an instance */
    bus_end(&b);
}

static void test_pause_of_the_broker(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t echo = join(&b, "echo", 4, "say");
    b.now_us += 600000000; /* stopped for ten minutes */
    kit_step(&b, (core_event){.kind = CORE_TICK});
    assert_int_equal(b.forgotten, 0);
    take(&b, echo, SV_PING);
    bus_end(&b);
}

static void test_exited_and_goodbye(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t a = connect_as(&b, supervised("router", 1, 500)),
             c = connect_as(&b, supervised("auth", 1, 500)), d = join(&b, "edge", 0, NULL);
    assert_string_equal(hears(&b, a, (kit_hello){.service = "router"}), "");
    assert_string_equal(hears(&b, c, (kit_hello){.service = "auth"}), "");
    kit_step(&b, (core_event){.kind = CORE_EXITED, .pid = 500});
    assert_int_equal(b.forgotten, 2);
    assert_int_equal(core_get_stats(b.c)->lost_peers, 2);
    kit_step(&b, (core_event){.kind = CORE_EXITED, .pid = 0});
    say(&b, d, SV_GOODBYE, 1);
    assert_int_equal(b.forgotten, 3);
    assert_int_equal(core_get_stats(b.c)->lost_peers, 2); /* that one said so */
    bus_end(&b);
}

static void test_drain(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t edge = join(&b, "edge", 0, NULL), one = join(&b, "echo", 4, "say"),
             two = join(&b, "echo", 4, "say");
    ask(&b, edge, 1, "echo.say");
    ask(&b, edge, 2, "echo.say");
    take(&b, one, SV_REQUEST);
    take(&b, two, SV_REQUEST);
    say(&b, one, SV_DRAIN, 9);
    for (uint32_t i = 3; i <= 5; i++)
        ask(&b, edge, i, "echo.say");
    none(&b, one, SV_REQUEST);
    for (int i = 3; i <= 5; i++)
        take(&b, two, SV_REQUEST);
    uint32_t done = 0;
    answer(&b, one, 1, SV_STATUS_OK); /* what it has, it finishes */
    answer(&b, one, 2, SV_STATUS_OK);
    while (take_(&b, edge, SV_REPLY).env.kind)
        done++;
    assert_int_equal(done, 1);
    say(&b, two, SV_DRAIN, 9); /* everybody drains: wait for a new one, then say so */
    ask(&b, edge, 6, "echo.say", .ttl_ms = 60000);
    none(&b, edge, SV_REPLY);
    for (int i = 0; i < 42; i++) {
        pass(&b, 250);
        say(&b, edge, SV_PING, 1);
        say(&b, one, SV_PING, 1);
        say(&b, two, SV_PING, 1);
    }
    for (int i = 0; i < 4; i++) { /* 2 or 1, 3, 4, 5: deadline */
        msg m = take(&b, edge, SV_REPLY);
        if (m.code != SV_STATUS_DEADLINE_EXCEEDED) {
            assert_string_equal(code_of(&m), "service.draining");
            break;
        }
    }
    bus_end(&b);
}

static void test_too_many_peers(void **state)
{
    (void)state;
    kit b;
    bus_start(&b, .limits = {.peers = 2});
    join(&b, "a", 0, NULL);
    join(&b, "b", 0, NULL);
    uint32_t p = connect_as(&b, (identity){.kind = IDENTITY_NONE});
    assert_string_equal(hears(&b, p, (kit_hello){.service = "c"}), "server.overloaded");
    bus_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_refused_stays_unknown),
        cmocka_unit_test(test_instances),
        cmocka_unit_test(test_epochs),
        cmocka_unit_test(test_same_process_new_connection),
        cmocka_unit_test(test_hello_again_updates),
        cmocka_unit_test(test_liveness),
        cmocka_unit_test(test_pause_of_the_broker),
        cmocka_unit_test(test_exited_and_goodbye),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_too_many_peers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
