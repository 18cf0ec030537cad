/*  test_core_dispatch.c - who gets the work: load, latency, health, keys, versions, limits. */
#include "test_core_kit.h"

/* Takes the REQUEST with number n wherever it went; 0 when nobody has it. */
static uint32_t who_has(kit *b, uint32_t n)
{
    sv_id id = kit_id(n);
    for (msg *m = b->in; m; m = m->next)
        if (m->env.kind == SV_REQUEST && sv_id_eq(&m->env.id, &id)) return m->peer;
    return 0;
}

static void test_fewest_in_flight(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t edge = join(&b, "edge", 0, NULL), count[KIT_PEERS] = {0};
    for (int i = 0; i < 3; i++)
        join(&b, "echo", 10, "say");
    for (uint32_t i = 1; i <= 9; i++) {
        ask(&b, edge, i, "echo.say");
        count[who_has(&b, i)]++;
    }
    for (uint32_t p = 2; p <= 4; p++)
        assert_int_equal(count[p], 3);
    bus_end(&b);
}

static void test_slots_hold(void **state)
{
    (void)state;
    for (uint32_t instances = 1; instances <= 20;
         instances += 19) { /* by looking and by drawing two */
        kit b;
        bus_start(&b);
        uint32_t edge = join(&b, "edge", 0, NULL), count[KIT_PEERS] = {0};
        for (uint32_t i = 0; i < instances; i++)
            join(&b, "echo", 2, "say");
        for (uint32_t i = 1; i <= instances * 2 + 5; i++)
            ask(&b, edge, i, "echo.say");
        for (uint32_t i = 1; i <= instances * 2; i++)
            count[who_has(&b, i)]++;
        for (uint32_t p = 2; p < 2 + instances; p++)
            assert_int_equal(count[p], 2);
        assert_int_equal(core_get_stats(b.c)->queued, 5);
        bus_end(&b);
    }
}

static void test_slow_instance_is_avoided(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t edge = join(&b, "edge", 0, NULL), count[KIT_PEERS] = {0};
    uint32_t slow = join(&b, "echo", 10, "say");
    join(&b, "echo", 10, "say");
    join(&b, "echo", 10, "say");
    for (uint32_t i = 1; i <= 300; i++) { /* one at a time: nobody is busier than the others */
        ask(&b, edge, i, "echo.say");
        uint32_t p = who_has(&b, i);
        count[p]++;
        pass(&b, p == slow ? 20 : 2);
        answer(&b, p, i, SV_STATUS_OK);
        clear_inbox(&b);
    }
    assert_true(count[slow] < 30);
    assert_true(count[slow + 1] > 90 && count[slow + 2] > 90);
    bus_end(&b);
}

static kit *start_with_ejection(kit *b, uint32_t instances)
{
    policy_service s = {.queue_messages = 100,
                        .queue_bytes = 1 << 20,
                        .eject_failures = 3,
                        .eject_base_ms = 1000,
                        .eject_max_ms = 4000};
    policy *p = policy_new(&s);
    policy_add_allow(p, false, "*", "*", "test");
    bus_start(b, .policy = p, .limits = {.suspect_ms = 500000, .lost_ms = 600000});
    join(b, "edge", 0, NULL);
    for (uint32_t i = 0; i < instances; i++)
        join(b, "echo", 10, "say");
    return b;
}

/* n requests one by one; `sick` fails all of its own. Returns how many it got. */
static uint32_t run(kit *b, uint32_t first, uint32_t n, uint32_t sick)
{
    uint32_t got = 0;
    for (uint32_t i = first; i < first + n; i++) {
        ask(b, 1, i, "echo.say");
        uint32_t p = who_has(b, i);
        assert_true(p);
        got += p == sick;
        answer(b, p, i, p == sick ? SV_STATUS_UNAVAILABLE : SV_STATUS_OK);
    }
    clear_inbox(b);
    return got;
}

static void test_ejection_and_probe(void **state)
{
    (void)state;
    kit b;
    start_with_ejection(&b, 3);
    assert_int_equal(run(&b, 1, 100, 2), 3); /* three failures in a row, then nothing */
    assert_int_equal(core_get_stats(b.c)->ejections, 1);
    pass(&b, 400); /* at least half of a second with jitter */
    assert_int_equal(run(&b, 200, 20, 2), 0);
    pass(&b, 1200);
    assert_int_equal(run(&b, 300, 50, 2), 1); /* one real request as a probe: fails */
    assert_int_equal(core_get_stats(b.c)->ejections, 2);
    pass(&b, 3100); /* twice as long, +-50 % */
    assert_true(run(&b, 400, 60, 0) == 0);
    uint32_t back = 0;
    for (uint32_t i = 500; i < 560; i++) {
        ask(&b, 1, i, "echo.say");
        back += who_has(&b, i) == 2;
        answer(&b, who_has(&b, i), i, SV_STATUS_OK);
    }
    assert_true(back > 5); /* the probe went well: it is one of three again */
    bus_end(&b);
}

static void test_panic(void **state)
{
    (void)state;
    kit b;
    start_with_ejection(&b, 1); /* the only one is never shut out */
    assert_int_equal(run(&b, 1, 20, 2), 20);
    bus_end(&b);
}

static void test_errors_of_the_request_do_not_count(void **state)
{
    (void)state;
    kit b;
    start_with_ejection(&b, 2);
    for (uint32_t i = 1; i <= 50; i++) {
        ask(&b, 1, i, "echo.say");
        answer(&b, who_has(&b, i), i, SV_STATUS_NOT_FOUND);
    }
    assert_int_equal(core_get_stats(b.c)->ejections, 0);
    bus_end(&b);
}

/* ---- partition keys ---- */

static void test_key_sticks(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t edge = join(&b, "edge", 0, NULL), owner[50], moved = 0, used = 0, n = 1;
    char key[16];
    for (int i = 0; i < 4; i++)
        join(&b, "cache", 1000, "get");
    for (uint32_t k = 0; k < 50; k++) {
        snprintf(key, sizeof key, "key-%u", k);
        for (int i = 0; i < 3; i++, n++) {
            ask(&b, edge, n, "cache.get", .key = key);
            if (i == 0) owner[k] = who_has(&b, n);
            assert_int_equal(who_has(&b, n), owner[k]);
        }
        used |= 1u << owner[k];
    }
    assert_int_equal(used, 0x3c); /* all four own something */
    kit_gone(&b, 3);
    clear_inbox(&b);
    for (uint32_t k = 0; k < 50; k++, n++) {
        snprintf(key, sizeof key, "key-%u", k);
        ask(&b, edge, n, "cache.get", .key = key);
        uint32_t now = who_has(&b, n);
        assert_int_not_equal(now, 3);
        moved += owner[k] != 3 && now != owner[k];
    }
    assert_int_equal(moved, 0); /* only the keys of the one that went have a new owner */
    bus_end(&b);
}

static void test_key_waits_for_its_owner(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t edge = join(&b, "edge", 0, NULL);
    join(&b, "cache", 1, "get");
    join(&b, "cache", 1, "get");
    ask(&b, edge, 1, "cache.get", .key = "k");
    uint32_t owner = who_has(&b, 1), other = owner == 2 ? 3 : 2;
    ask(&b, edge, 2, "cache.get", .key = "k");
    assert_int_equal(who_has(&b, 2), 0); /* the other one is free, but not the owner */
    ask(&b, edge, 3, "cache.get");       /* and does not hold up who has no key */
    assert_int_equal(who_has(&b, 3), other);
    answer(&b, owner, 1, SV_STATUS_OK);
    assert_int_equal(who_has(&b, 2), owner);
    ask(&b, edge, 4, "cache.get", .key = "k");
    answer(&b, other, 3, SV_STATUS_OK);
    assert_int_equal(who_has(&b, 4), 0);
    kit_gone(&b, owner); /* the key moves, and with it what waits for it */
    assert_int_equal(who_has(&b, 4), other);
    bus_end(&b);
}

/* ---- versions, caps, redelivery ---- */

static void test_split(void **state)
{
    (void)state;
    kit b;
    policy *p = policy_new(NULL);
    policy_add_allow(p, false, "*", "*", "test");
    policy_add_split(p, "echo", "1.*", 90);
    policy_add_split(p, "echo", "2.*", 10);
    bus_start(&b, .policy = p);
    uint32_t edge = join(&b, "edge", 0, NULL), count[KIT_PEERS] = {0};
    for (int i = 0; i < 2; i++) {
        uint32_t e = connect_as(&b, (identity){.kind = IDENTITY_NONE});
        hello(
            &b, e,
            (kit_hello){
                .service = "echo", .slots = 60000, .methods = "say", .version = i ? "2.0" : "1.7"});
    }
    for (uint32_t i = 1; i <= 1000; i++) {
        ask(&b, edge, i, "echo.say");
        count[who_has(&b, i)]++;
        clear_inbox(&b);
    }
    assert_in_range(count[3], 60, 145);
    kit_gone(&b, 2); /* nobody of 1.* left: better 2.* than nobody */
    clear_inbox(&b);
    for (uint32_t i = 2001; i <= 2020; i++) {
        ask(&b, edge, i, "echo.say");
        assert_int_equal(who_has(&b, i), 3);
    }
    bus_end(&b);
}

static void test_concurrency_cap(void **state)
{
    (void)state;
    kit b;
    policy *p = policy_new(NULL);
    policy_add_allow(p, false, "*", "*", "test");
    policy_service s = *policy_for(p, sv_cstr("echo"));
    s.concurrency = 3;
    s.timeout_ms = 250;
    policy_add_service(p, "echo", &s);
    bus_start(&b, .policy = p);
    uint32_t edge = join(&b, "edge", 0, NULL);
    join(&b, "echo", 10, "say");
    join(&b, "echo", 10, "say");
    for (uint32_t i = 1; i <= 5; i++)
        ask(&b, edge, i, "echo.say");
    assert_int_equal(core_get_stats(b.c)->queued, 2);
    assert_int_equal(take(&b, who_has(&b, 1), SV_REQUEST).env.ttl_ms, 250); /* the policy's cap */
    answer(&b, who_has(&b, 2), 2, SV_STATUS_OK);
    assert_int_equal(core_get_stats(b.c)->queued, 1);
    bus_end(&b);
}

static void test_ticket_required(void **state)
{
    (void)state;
    kit b;
    policy *p = policy_new(NULL);
    policy_add_allow(p, false, "*", "*", "test");
    policy_service s = *policy_for(p, sv_cstr("echo"));
    s.ticket_required = true;
    policy_add_service(p, "echo", &s);
    uint8_t seed[TICKET_SEED] = {1}, public[TICKET_KEY];
    ticket_signer signer;
    ticket_signer_init(&signer, seed);
    ticket_signer_public(&signer, public);
    ticket_ring *ring = ticket_ring_new();
    assert_int_equal(ticket_ring_add(ring, public), 0);
    ticket t = {.user = sv_cstr("u"), .org = sv_cstr("o"), .expires_s = 1700000000 + 5};
    buf out;
    buf_init(&out, LIMIT_TICKET_BYTES);
    assert_int_equal(ticket_sign(&signer, &t, &out), 0);
    bus_start(&b, .policy = p, .tickets = ring);
    uint32_t edge = join(&b, "edge", 0, NULL), echo = join(&b, "echo", 10, "say");
    ask(&b, edge, 1, "echo.say");
    refused(&b, edge, SV_STATUS_UNAUTHENTICATED, "ticket.invalid");
    ask(&b, edge, 2, "echo.say", .ticket = buf_str(&out));
    take(&b, echo, SV_REQUEST);
    out.p[3] ^= 1;
    ask(&b, edge, 3, "echo.say", .ticket = buf_str(&out));
    refused(&b, edge, SV_STATUS_UNAUTHENTICATED, "ticket.invalid");
    out.p[3] ^= 1;
    pass(&b, 6000); /* expired, although it verified before */
    echo = join(&b, "echo", 10, "say");
    edge = join(&b, "edge", 0, NULL);
    ask(&b, edge, 4, "echo.say", .ticket = buf_str(&out));
    refused(&b, edge, SV_STATUS_UNAUTHENTICATED, "ticket.invalid");
    bus_end(&b);
    buf_free(&out);
    ticket_ring_free(ring);
    ticket_signer_clear(&signer);
}

/* A bound ticket is for its service, and for whoever works on a request that carries it. */
static void test_bound_ticket(void **state)
{
    (void)state;
    kit b;
    uint8_t seed[TICKET_SEED] = {1}, public[TICKET_KEY];
    ticket_signer signer;
    ticket_signer_init(&signer, seed);
    ticket_signer_public(&signer, public);
    ticket_ring *ring = ticket_ring_new();
    assert_int_equal(ticket_ring_add(ring, public), 0);
    ticket t = {.user = sv_cstr("u"),
                .org = sv_cstr("o"),
                .expires_s = 1700000000 + 500,
                .bound = sv_cstr("flow/job 7")};
    buf one, two, odd;
    buf_init(&one, LIMIT_TICKET_BYTES);
    buf_init(&two, LIMIT_TICKET_BYTES);
    buf_init(&odd, LIMIT_TICKET_BYTES);
    assert_int_equal(ticket_sign(&signer, &t, &one), 0);
    t.bound = sv_cstr("flow/job 8");
    assert_int_equal(ticket_sign(&signer, &t, &two), 0);
    t.bound = sv_cstr("flow"); /* names no job: nobody's */
    assert_int_equal(ticket_sign(&signer, &t, &odd), 0);
    policy *p = policy_new(NULL);
    policy_add_allow(p, false, "*", "*", "test");
    bus_start(&b, .policy = p, .tickets = ring);
    uint32_t flow = join(&b, "flow", 0, NULL), flower = join(&b, "flowe", 0, NULL);
    uint32_t echo = join(&b, "echo", 10, "say"), last = join(&b, "last", 10, "say");
    ask(&b, flower, 1, "echo.say", .ticket = buf_str(&one)); /* "flow" is no beginning of names */
    refused(&b, flower, SV_STATUS_UNAUTHENTICATED, "ticket.invalid");
    ask(&b, echo, 2, "last.say", .ticket = buf_str(&one));
    refused(&b, echo, SV_STATUS_UNAUTHENTICATED, "ticket.invalid");
    ask(&b, flow, 3, "echo.say", .ticket = buf_str(&odd));
    refused(&b, flow, SV_STATUS_UNAUTHENTICATED, "ticket.invalid");
    for (int round = 0; round < 2; round++) {
        uint32_t id = 10 + 10 * (uint32_t)round;
        ask(&b, flow, id, "echo.say", .ticket = buf_str(&one), .ttl_ms = 5000);
        take(&b, echo, SV_REQUEST);
        ask(&b, echo, id + 1, "last.say", .ticket = buf_str(&two)); /* not that one */
        refused(&b, echo, SV_STATUS_UNAUTHENTICATED, "ticket.invalid");
        ask(&b, last, id + 2, "echo.say", .ticket = buf_str(&one)); /* not yet */
        refused(&b, last, SV_STATUS_UNAUTHENTICATED, "ticket.invalid");
        ask(&b, echo, id + 3, "last.say", .ticket = buf_str(&one), .ttl_ms = 5000);
        take(&b, last, SV_REQUEST);
        ask(&b, last, id + 4, "echo.say", .ticket = buf_str(&one), .ttl_ms = 5000);
        take(&b, echo, SV_REQUEST);
        assert_null(core_check(b.c)[0] ? core_check(b.c) : NULL);
        answer(&b, echo, id + 4, SV_STATUS_OK);
        assert_int_equal(take(&b, last, SV_REPLY).code, SV_STATUS_OK);
        answer(&b, last, id + 3, SV_STATUS_OK);
        assert_int_equal(take(&b, echo, SV_REPLY).code, SV_STATUS_OK);
        ask(&b, last, id + 5, "echo.say", .ticket = buf_str(&one)); /* its work is done */
        refused(&b, last, SV_STATUS_UNAUTHENTICATED, "ticket.invalid");
        answer(&b, echo, id, SV_STATUS_OK);
        ask(&b, echo, id + 6, "last.say", .ticket = buf_str(&one));
        refused(&b, echo, SV_STATUS_UNAUTHENTICATED, "ticket.invalid");
        assert_null(core_check(b.c)[0] ? core_check(b.c) : NULL);
    }
    bus_end(&b);
    buf_free(&one);
    buf_free(&two);
    buf_free(&odd);
    ticket_ring_free(ring);
    ticket_signer_clear(&signer);
}

static void test_policy_swap(void **state)
{
    (void)state;
    kit b;
    bus_start(&b);
    uint32_t edge = join(&b, "edge", 0, NULL), echo = join(&b, "echo", 10, "say");
    ask(&b, edge, 1, "echo.say");
    take(&b, echo, SV_REQUEST);
    policy *p = policy_new(NULL); /* allows nothing */
    kit_step(&b, (core_event){.kind = CORE_POLICY, .policy = p});
    ask(&b, edge, 2, "echo.say");
    refused(&b, edge, SV_STATUS_PERMISSION_DENIED, "policy.denied");
    answer(&b, echo, 1, SV_STATUS_OK); /* what was allowed then, ends well */
    assert_int_equal(take(&b, edge, SV_REPLY).code, SV_STATUS_OK);
    bus_end(&b);
}

static void test_open_limit(void **state)
{
    (void)state;
    kit b;
    bus_start(&b, .limits = {.open = 3});
    uint32_t edge = join(&b, "edge", 0, NULL);
    join(&b, "echo", 10, "say");
    for (uint32_t i = 1; i <= 4; i++)
        ask(&b, edge, i, "echo.say");
    refused(&b, edge, SV_STATUS_RESOURCE_EXHAUSTED, "server.overloaded");
    for (uint32_t i = 1; i <= 3; i++)
        say(&b, edge, SV_CANCEL, i);
    for (uint32_t i = 11; i <= 13; i++)
        ask(&b, edge, i, "echo.say");
    for (uint32_t i = 11; i <= 13; i++)
        say(&b, edge, SV_CANCEL, i);
    ask(&b, edge, 20, "echo.say"); /* six zombies: memory stays bounded */
    refused(&b, edge, SV_STATUS_RESOURCE_EXHAUSTED, "server.overloaded");
    bus_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fewest_in_flight),
        cmocka_unit_test(test_slots_hold),
        cmocka_unit_test(test_slow_instance_is_avoided),
        cmocka_unit_test(test_ejection_and_probe),
        cmocka_unit_test(test_panic),
        cmocka_unit_test(test_errors_of_the_request_do_not_count),
        cmocka_unit_test(test_key_sticks),
        cmocka_unit_test(test_key_waits_for_its_owner),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_concurrency_cap),
        cmocka_unit_test(test_ticket_required),
        cmocka_unit_test(test_bound_ticket),
        cmocka_unit_test(test_policy_swap),
        cmocka_unit_test(test_open_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
