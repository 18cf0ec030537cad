/*  test_rate_limits.c - leases, queues, refusals and the time without an owner, at one edge. */
#include "limits_kit.h"

static void a_lease_answers_at_once(void **state)
{
    (void)state;
    kit k;
    asker a = {.done = 0};
    kit_open(&k, 1000, 1);
    limits_subject s = user_of("u1");
    assert_false(kit_check(&k, &s, &a));
    assert_int_equal(k.n_asks, 1);
    assert_string_equal(k.asks[0].name, "user.chat/u1");
    assert_int_equal(k.asks[0].q.take, 5);
    assert_int_equal(k.asks[0].q.minute, 100);
    assert_int_equal(k.asks[0].q.hour, 0);
    kit_grant(&k, 5, 95, 11);
    assert_int_equal(a.done, 1);
    assert_true(a.v.allowed && a.v.limited);
    assert_int_equal(a.v.limit, 100);
    assert_int_equal(a.v.remaining, 99);
    assert_int_equal(a.v.reset_s, 65);
    assert_int_equal(k.wakes, 1);
    assert_true(kit_check(&k, &s, &a));
    assert_int_equal(a.v.remaining, 98);
    assert_int_equal(k.n_asks, 0);
    assert_true(kit_check(&k, &s, &a)); /* two are left: the next lease is fetched */
    assert_int_equal(k.n_asks, 1);
    assert_true(kit_check(&k, &s, &a));
    assert_int_equal(k.n_asks, 1);
    kit_grant(&k, 5, 90, 12);
    for (int i = 0; i < 4; i++)
        assert_true(kit_check(&k, &s, &a));
    assert_int_equal(a.v.remaining, 92);
    assert_int_equal(k.all_asks, 3);
    assert_int_equal(k.n_told, 0);
    limits_free(k.l);
}

static void asks_cost_little(void **state)
{
    (void)state;
    kit k;
    asker a = {.done = 0};
    kit_open(&k, 1000, 1);
    limits_subject s = user_of("u1");
    s.tier = sv_cstr("premium");
    for (int i = 0, remaining = 1000; i < 900; i++) {
        if (!kit_check(&k, &s, &a)) assert_int_equal(k.n_asks, 1);
        if (k.n_asks) kit_grant(&k, 50, (uint32_t)(remaining -= 50), i + 1);
        assert_true(a.v.allowed);
        k.now_us += 1000;
    }
    assert_true(k.all_asks <= 20);
    limits_free(k.l);
}

static void small_limits_ask_each_time(void **state)
{
    (void)state;
    kit k;
    asker a = {.done = 0};
    kit_open(&k, 1000, 1);
    limits_subject s = stranger("192.0.2.1");
    for (uint32_t i = 0; i < 10; i++) {
        assert_false(kit_check(&k, &s, &a));
        assert_int_equal(k.asks[0].q.take, 1);
        kit_grant(&k, 1, 9 - i, 100 + i);
        assert_true(a.v.allowed);
        assert_int_equal(a.v.remaining, 9 - i);
    }
    assert_false(kit_check(&k, &s, &a));
    kit_refuse(&k, 37000);
    assert_false(a.v.allowed);
    assert_true(a.v.limited);
    assert_int_equal(a.v.retry_after_ms, 37000);
    assert_int_equal(a.v.remaining, 0);
    assert_int_equal(a.v.limit, 10);
    /* a refusal is believed for a second */
    k.now_us += 999000;
    assert_true(kit_check(&k, &s, &a));
    assert_false(a.v.allowed);
    assert_int_equal(a.v.retry_after_ms, 36001);
    k.now_us += 1000;
    assert_false(kit_check(&k, &s, &a));
    kit_refuse(&k, 200);
    assert_int_equal(a.v.retry_after_ms, 200);
    k.now_us += 200000;
    assert_false(kit_check(&k, &s, &a));
    kit_grant(&k, 1, 0, 200);
    assert_true(a.v.allowed);
    assert_int_equal(k.n_told, 0);
    limits_free(k.l);
}

static void one_ask_serves_many(void **state)
{
    (void)state;
    enum { N = 7 };
    kit k;
    static asker a[N];
    kit_open(&k, 1000, 1);
    limits_subject s = user_of("u1");
    for (int i = 0; i < N; i++)
        assert_false(kit_check(&k, &s, &a[i]));
    assert_int_equal(k.n_asks, 1);
    kit_grant(&k, 5, 95, 1);
    for (int i = 0; i < N; i++)
        assert_int_equal(a[i].done, i < 5);
    assert_int_equal(k.n_asks, 1); /* for the other two */
    kit_refuse(&k, 1000);
    for (int i = 5; i < N; i++) {
        assert_int_equal(a[i].done, 1);
        assert_false(a[i].v.allowed);
    }
    limits_free(k.l);
}

/* ---- several counters ---- */

static limits_subject with_key(void)
{
    limits_subject s = user_of("u1");
    s.key = sv_cstr("k1");
    s.key_minute = 30;
    s.org = sv_cstr("o1");
    return s;
}

static void all_counters_must_grant(void **state)
{
    (void)state;
    kit k;
    asker a = {.done = 0};
    kit_open(&k, 1000, 1);
    limits_subject s = with_key();
    assert_false(kit_check(&k, &s, &a));
    kit_grant(&k, 5, 95, 1);
    assert_int_equal(a.done, 0);
    assert_string_equal(k.asks[0].name, "key.chat/k1");
    kit_grant(&k, 1, 3, 2);
    assert_string_equal(k.asks[0].name, "org.chat/o1");
    assert_int_equal(k.asks[0].q.minute, 1000);
    assert_int_equal(k.asks[0].q.take, 50);
    kit_grant(&k, 50, 950, 3);
    assert_int_equal(a.done, 1);
    assert_true(a.v.allowed);
    assert_int_equal(a.v.limit, 30); /* the tightest */
    assert_int_equal(a.v.remaining, 3);
    /* the key's refusal gives the user's back */
    assert_false(kit_check(&k, &s, &a));
    kit_refuse(&k, 5000);
    assert_int_equal(a.done, 1);
    assert_false(a.v.allowed);
    assert_int_equal(a.v.limit, 30);
    limits_subject plain = user_of("u1");
    for (uint32_t i = 0; i < 4; i++) {
        assert_true(kit_check(&k, &plain, &a));
        assert_int_equal(a.v.remaining, 98 - i);
    }
    limits_free(k.l);
}

static void what_was_taken_goes_back_to_the_owner(void **state)
{
    (void)state;
    kit k;
    asker a = {.done = 0};
    kit_open(&k, 1000, 1);
    limits_subject s = with_key();
    assert_false(kit_check(&k, &s, &a));
    kit_grant(&k, 5, 95, 9);
    k.now_us += 6000000; /* the user's lease has ended meanwhile */
    kit_refuse(&k, 5000);
    assert_false(a.v.allowed);
    assert_true(limits_tick(k.l) == false);
    assert_int_equal(k.n_told, 1);
    assert_string_equal(k.told[0].name, "user.chat/u1");
    assert_int_equal(k.told[0].q.returns.n, 1);
    assert_int_equal(k.told[0].returns[0].lease, 9);
    assert_int_equal(k.told[0].returns[0].epoch, KIT_EPOCH);
    assert_int_equal(k.told[0].returns[0].count, 5);
    limits_free(k.l);
}

/* ---- those who leave ---- */

static void who_leaves_is_forgotten(void **state)
{
    (void)state;
    kit k;
    asker a = {.done = 0}, b = a, never = a;
    kit_open(&k, 1000, 1);
    limits_subject s = with_key();
    limits_cancel(k.l, &never.wait);
    assert_false(kit_check(&k, &s, &a));
    assert_false(kit_check(&k, &s, &b));
    limits_cancel(k.l, &a.wait);
    limits_cancel(k.l, &a.wait);
    kit_grant(&k, 5, 95, 1);
    assert_int_equal(a.done, 0);
    limits_cancel(k.l, &b.wait); /* waits for the key by now; the user's goes back */
    kit_grant(&k, 1, 29, 2);
    assert_int_equal(b.done, 0);
    limits_subject plain = user_of("u1");
    assert_true(kit_check(&k, &plain, &a));
    assert_int_equal(a.v.remaining, 99);
    limits_cancel(k.l, &a.wait); /* over already */
    k.now_us += 1000000;         /* nobody has used the key's */
    limits_tick(k.l);
    assert_int_equal(k.n_told, 1);
    assert_string_equal(k.told[0].name, "key.chat/k1");
    limits_free(k.l);
}

static asker *victim;
static kit *victims_kit;

static void cancels_another(asker *a)
{
    (void)a;
    limits_cancel(victims_kit->l, &victim->wait);
}

static asker *second;

static void asks_again(asker *a)
{
    limits_subject s = user_of("u1");
    (void)a;
    if (kit_check(victims_kit, &s, second)) second->done = 100;
}

static void done_may_do_anything(void **state)
{
    (void)state;
    kit k;
    asker a = {.then = cancels_another}, b = {.done = 0}, c = {.then = asks_again}, d = {.done = 0};
    kit_open(&k, 1000, 1);
    limits_subject s = user_of("u1");
    victims_kit = &k;
    victim = &b;
    second = &d;
    assert_false(kit_check(&k, &s, &a));
    assert_false(kit_check(&k, &s, &b));
    assert_false(kit_check(&k, &s, &c));
    kit_grant(&k, 3, 95, 1);
    assert_int_equal(a.done, 1);
    assert_int_equal(b.done, 0);
    assert_int_equal(c.done, 1);
    assert_int_equal(d.done, 100);
    limits_free(k.l);
}

/* ---- leases that end ---- */

static void the_rest_of_a_lease_goes_back(void **state)
{
    (void)state;
    kit k;
    asker a = {.done = 0};
    kit_open(&k, 1000, 1);
    limits_subject s = user_of("u1");
    assert_false(kit_check(&k, &s, &a));
    k.now_us += 100000;
    kit_grant(&k, 5, 95, 7); /* ends 5 s after it was asked for */
    k.now_us += 4899000;
    assert_true(limits_tick(k.l));
    assert_int_equal(k.n_told, 0);
    k.now_us += 1000;
    assert_false(limits_tick(k.l));
    assert_int_equal(k.n_told, 1);
    assert_int_equal(k.told[0].returns[0].count, 4);
    assert_false(kit_check(&k, &s, &a));
    assert_int_equal(k.asks[0].q.returns.n, 0);
    kit_grant(&k, 5, 95, 8);
    k.now_us += 5000000;
    assert_false(kit_check(&k, &s, &a)); /* the rest goes with the next ask */
    assert_int_equal(k.asks[0].q.returns.n, 1);
    assert_int_equal(k.asks[0].returns[0].lease, 8);
    assert_int_equal(k.asks[0].returns[0].count, 4);
    k.now_us += 5000000;
    kit_grant(&k, 5, 95, 9); /* too late to be used; and the request has waited long enough */
    assert_true(a.done == 1 && a.v.allowed);
    assert_int_equal(a.v.remaining, 22); /* of a quarter; two had passed before */
    assert_true(limits_tick(k.l));
    assert_int_equal(k.n_asks, 1);
    assert_int_equal(k.asks[0].q.minute_used, 1);
    assert_int_equal(k.asks[0].returns[0].lease, 9);
    assert_int_equal(k.asks[0].returns[0].count, 5);
    limits_free(k.l);
}

static void a_drain_gives_all_back(void **state)
{
    (void)state;
    kit k;
    asker a = {.done = 0};
    char name[16];
    kit_open(&k, 1000, 1);
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "u%d", i);
        limits_subject s = user_of(name);
        assert_false(kit_check(&k, &s, &a));
        kit_grant(&k, 5, 95, 7);
    }
    limits_drain(k.l);
    assert_int_equal(k.n_told, 20);
    for (int i = 0; i < 20; i++)
        assert_int_equal(k.told[i].returns[0].count, 4);
    limits_subject s = user_of("u3"); /* what still comes takes one */
    assert_false(kit_check(&k, &s, &a));
    assert_int_equal(k.asks[0].q.take, 1);
    kit_grant(&k, 1, 95, 9);
    assert_true(a.v.allowed);
    assert_int_equal(k.n_asks, 0);
    assert_false(limits_tick(k.l));
    limits_free(k.l);
}

/* ---- without an owner ---- */

static void a_stricter_limit_holds_without_the_owner(void **state)
{
    (void)state;
    kit k;
    asker a = {.done = 0};
    kit_open(&k, 1000, 1);
    k.cut = true;
    limits_subject s = user_of("u1");
    for (uint32_t i = 0; i < 25; i++) {
        assert_true(kit_check(&k, &s, &a));
        assert_true(a.v.allowed);
        assert_int_equal(a.v.limit, 100);
        assert_int_equal(a.v.remaining, 24 - i);
        assert_true(limits_away(k.l));
    }
    assert_true(kit_check(&k, &s, &a));
    assert_false(a.v.allowed);
    assert_int_equal(a.v.retry_after_ms, 1000); /* then the owner is tried again */
    assert_int_equal(a.v.reset_s, 60);
    k.now_us += 71000000;
    assert_true(kit_check(&k, &s, &a));
    assert_true(a.v.allowed);
    /* it is back: asked once a second, in the background */
    k.cut = false;
    k.now_us += LIMITS_AWAY_US;
    assert_true(kit_check(&k, &s, &a));
    assert_int_equal(k.n_asks, 1);
    assert_int_equal(k.asks[0].q.minute_used, 1);
    assert_true(kit_check(&k, &s, &a));
    assert_int_equal(k.n_asks, 1);
    kit_grant(&k, 5, 94, 1);
    assert_false(limits_away(k.l));
    assert_true(kit_check(&k, &s, &a));
    assert_int_equal(a.v.remaining, 98);
    assert_int_equal(k.n_asks, 0);
    assert_true(limits_tick(k.l)); /* two more had passed when the ask was on its way */
    assert_int_equal(k.n_asks, 1);
    assert_int_equal(k.asks[0].q.minute_used, 2);
    kit_grant(&k, 5, 87, 2);
    limits_free(k.l);
}

static void hours_hold_too(void **state)
{
    (void)state;
    kit k;
    asker a = {.done = 0};
    kit_open(&k, 1000, 4);
    k.cut = true;
    limits_subject s = user_of("u1");
    s.key = sv_cstr("k1");
    s.key_hour = 3; /* a quarter of it, shared by four: one */
    assert_true(kit_check(&k, &s, &a));
    assert_true(a.v.allowed && a.v.hour);
    assert_int_equal(a.v.limit, 3);
    assert_true(kit_check(&k, &s, &a));
    assert_false(a.v.allowed);
    assert_true(a.v.hour);
    assert_int_equal(a.v.reset_s, 3600);
    /* the refused one has given the user's back */
    limits_subject plain = user_of("u1");
    assert_true(kit_check(&k, &plain, &a));
    assert_int_equal(a.v.remaining, 4);
    s = user_of("u2");
    s.tier = sv_cstr("premium"); /* 1000 a minute, 2000 an hour; four edges */
    int passed = 0;
    for (int minute = 0; minute < 4; minute++, k.now_us += 71000000)
        for (int i = 0; i < 70; i++) {
            assert_true(kit_check(&k, &s, &a));
            passed += a.v.allowed;
        }
    assert_int_equal(passed, 125);
    limits_free(k.l);
}

static void an_owner_that_died_is_asked_again_at_once(void **state)
{
    (void)state;
    kit k;
    asker a = {.done = 0}, b = {.done = 0};
    kit_open(&k, 1000, 1);
    limits_subject s = user_of("u1");
    assert_false(kit_check(&k, &s, &a));
    kit_fail(&k, SV_E_PEER_LOST);
    assert_int_equal(a.done, 0);
    assert_int_equal(k.n_asks, 1);
    kit_grant(&k, 5, 95, 1);
    assert_true(a.done == 1 && a.v.allowed);
    assert_false(limits_away(k.l));
    limits_subject t = user_of("u2");
    assert_false(kit_check(&k, &t, &b));
    kit_fail(&k, SV_E_PEER_LOST);
    kit_fail(&k, SV_E_NO_SERVICE);
    assert_int_equal(k.n_asks, 0);
    assert_true(b.done == 1 && b.v.allowed);
    assert_int_equal(b.v.remaining, 24);
    assert_true(limits_away(k.l));
    assert_true(kit_check(&k, &s, &a)); /* a lease still holds */
    assert_int_equal(a.v.remaining, 98);
    limits_free(k.l);
}

/* Another owner knows nothing: it is told what passed of late, and leases of the one before end. */
static void another_owner_is_told_what_passed(void **state)
{
    (void)state;
    kit k;
    asker a = {.done = 0};
    kit_open(&k, 1000, 1);
    limits_subject s = user_of("u1");
    cache_limit_take_reply other = {.granted = 5,
                                    .remaining = 95,
                                    .reset_ms = 65000,
                                    .life_ms = 5000,
                                    .lease = 4,
                                    .epoch = KIT_EPOCH + 1};
    assert_false(kit_check(&k, &s, &a));
    kit_grant(&k, 5, 95, 1);
    for (int i = 0; i < 2; i++)
        assert_true(kit_check(&k, &s, &a));
    assert_int_equal(k.n_asks, 1);
    assert_int_equal(k.asks[0].q.epoch, KIT_EPOCH);
    assert_int_equal(k.asks[0].q.minute_used, 0);
    assert_int_equal(k.asks[0].q.minute_all, 3);
    assert_int_equal(k.asks[0].q.hour_all, 3);
    assert_true(kit_check(&k, &s, &a)); /* passes meanwhile */
    kit_answer_with(&k, 0, other);
    assert_true(kit_check(&k, &s, &a));
    assert_int_equal(a.v.remaining, 99); /* of the new lease alone */
    assert_true(limits_tick(k.l));
    assert_int_equal(k.n_asks, 1);
    assert_int_equal(k.asks[0].q.epoch, KIT_EPOCH + 1);
    assert_int_equal(k.asks[0].q.minute_used, 1);
    assert_int_equal(k.asks[0].q.hour_used, 1);
    assert_int_equal(k.asks[0].q.returns.n, 0);
    other.remaining = 87;
    other.lease = 5;
    kit_answer_with(&k, 0, other);
    assert_true(limits_tick(k.l));
    assert_int_equal(k.n_asks + k.n_told, 0); /* once */
    /* what an ask has told to a new owner is not told again */
    k.cut = true;
    k.now_us += 5000000;
    assert_true(kit_check(&k, &s, &a));
    k.cut = false;
    k.now_us += LIMITS_AWAY_US;
    assert_true(kit_check(&k, &s, &a));
    assert_int_equal(k.asks[0].q.minute_used, 1);
    assert_int_equal(k.asks[0].q.minute_all, 6);
    other.epoch++;
    kit_answer_with(&k, 0, other);
    assert_true(limits_tick(k.l));
    assert_int_equal(k.asks[0].q.minute_used, 1); /* the one that passed while it was asked */
    assert_int_equal(k.asks[0].q.minute_all, 7);
    kit_answer_with(&k, 0, other);
    limits_free(k.l);
}

static void silence_is_not_asked_again(void **state)
{
    (void)state;
    kit k;
    static asker a[3];
    kit_open(&k, 1000, 1);
    limits_subject s = user_of("u1");
    for (int i = 0; i < 3; i++)
        assert_false(kit_check(&k, &s, &a[i]));
    k.now_us += 250000;
    kit_fail(&k, SV_E_DEADLINE);
    assert_int_equal(k.n_asks, 0);
    for (int i = 0; i < 3; i++)
        assert_true(a[i].done == 1 && a[i].v.allowed);
    /* tries while it is away are not doubled */
    k.now_us += LIMITS_AWAY_US;
    assert_true(kit_check(&k, &s, &a[0]));
    assert_int_equal(k.n_asks, 1);
    kit_fail(&k, SV_E_NO_SERVICE);
    assert_int_equal(k.n_asks, 0);
    assert_true(limits_away(k.l));
    assert_true(limits_tick(k.l)); /* keeps what is owed */
    assert_int_equal(k.n_told, 0);
    limits_free(k.l);
}

static void cut_between_two_asks(void **state)
{
    (void)state;
    kit k;
    static asker a[2];
    kit_open(&k, 1000, 1);
    limits_subject s = user_of("u1");
    assert_false(kit_check(&k, &s, &a[0]));
    k.cut = true;
    kit_fail(&k, SV_E_PEER_LOST); /* and cannot be asked again */
    assert_true(a[0].done == 1 && a[0].v.allowed);
    limits_free(k.l);
}

/* ---- bounds ---- */

static void an_owner_that_is_back_is_not_flooded(void **state)
{
    (void)state;
    kit k;
    asker a = {.done = 0};
    char name[16];
    kit_open(&k, 1000, 1);
    k.cut = true;
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "u%d", i);
        limits_subject s = user_of(name);
        assert_true(kit_check(&k, &s, &a));
        assert_true(a.v.allowed);
    }
    assert_true(limits_tick(k.l)); /* while it is away nothing is told */
    assert_int_equal(k.n_asks, 0);
    k.cut = false;
    k.now_us += LIMITS_AWAY_US;
    limits_subject s = user_of("u0");
    assert_true(kit_check(&k, &s, &a));
    kit_grant(&k, 5, 95, 1);
    assert_true(limits_tick(k.l));
    assert_int_equal(k.n_asks, 64);
    while (k.n_asks)
        kit_grant(&k, 5, 95, 1);
    assert_true(limits_tick(k.l));
    assert_int_equal(k.n_asks, 100 - 64);
    while (k.n_asks)
        kit_grant(&k, 5, 95, 1);
    assert_true(limits_tick(k.l));
    assert_int_equal(k.n_asks + k.n_told, 0);
    limits_free(k.l);
}

static void queues_are_bounded(void **state)
{
    (void)state;
    kit k;
    static asker a[LIMITS_WAITING + 1];
    kit_open(&k, 1000, 1);
    limits_subject s = user_of("u1");
    for (int i = 0; i < LIMITS_WAITING; i++)
        assert_false(kit_check(&k, &s, &a[i]));
    assert_true(kit_check(&k, &s, &a[LIMITS_WAITING]));
    assert_false(a[LIMITS_WAITING].v.allowed);
    assert_int_equal(a[LIMITS_WAITING].v.retry_after_ms, 1000);
    assert_int_equal(k.n_asks, 1);
    /* none waits longer than its time: then the local limit decides */
    int served = 0, allowed = 0;
    for (int i = 0; k.n_asks; i++) {
        k.now_us += 249000;
        kit_grant(&k, 5, (uint32_t)(95 - 5 * i), i + 1);
    }
    for (int i = 0; i < LIMITS_WAITING; i++) {
        served += a[i].done;
        allowed += a[i].v.allowed;
    }
    assert_int_equal(served, LIMITS_WAITING);
    assert_int_equal(allowed, 5 * 5); /* as many as the local limit */
    limits_free(k.l);
}

static void counters_are_bounded(void **state)
{
    (void)state;
    kit k;
    static asker a[40];
    asker one = {.done = 0};
    char name[16];
    kit_open(&k, 4, 1);
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof name, "u%d", i);
        limits_subject s = user_of(name);
        assert_false(kit_check(&k, &s, &one));
        kit_grant(&k, 5, 95, 7);
    }
    assert_int_equal(k.n_told, 6); /* those that gave way gave back */
    assert_string_equal(k.told[0].name, "user.chat/u0");
    assert_int_equal(k.told[0].returns[0].count, 4);
    limits_subject u6 = user_of("u6"); /* the oldest of four; now the youngest */
    assert_true(kit_check(&k, &u6, &one));
    limits_subject s = user_of("new");
    assert_false(kit_check(&k, &s, &one));
    kit_grant(&k, 5, 95, 7);
    assert_string_equal(k.told[6].name, "user.chat/u7");
    assert_true(kit_check(&k, &u6, &one));
    kit_grant(&k, 5, 90, 8); /* fetched ahead */
    /* all are busy */
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "b%d", i);
        s = user_of(name);
        assert_false(kit_check(&k, &s, &a[i]));
    }
    s = user_of("more");
    assert_true(kit_check(&k, &s, &one));
    assert_false(one.v.allowed);
    assert_false(one.v.limited);
    assert_int_equal(one.v.retry_after_ms, 1000);
    assert_int_equal(k.n_asks, 4);
    kit_grant(&k, 5, 95, 7);
    limits_subject two = with_key(); /* room for one counter only */
    two.key_minute = 30;
    assert_true(kit_check(&k, &two, &one));
    assert_false(one.v.allowed);
    while (k.n_asks)
        kit_grant(&k, 5, 95, 7);
    assert_false(kit_check(&k, &s, &one)); /* nothing was left busy */
    kit_grant(&k, 5, 95, 7);
    assert_true(one.v.allowed);
    limits_free(k.l);
    limits_free(NULL);
}

/* ---- what is told ---- */

static void remaining_is_never_too_much(void **state)
{
    (void)state;
    kit k;
    asker a = {.done = 0};
    kit_open(&k, 1000, 2); /* another edge may take what the owner had left */
    limits_subject s = user_of("u1");
    assert_false(kit_check(&k, &s, &a));
    kit_grant(&k, 5, 95, 1);
    assert_int_equal(a.v.remaining, 99);
    assert_true(kit_check(&k, &s, &a));
    assert_int_equal(a.v.remaining, 3);
    limits_free(k.l);
    kit_open(&k, 1000, 1);
    s.tier = sv_cstr("premium");
    assert_false(kit_check(&k, &s, &a));
    kit_answer_with(&k, 0,
                    (cache_limit_take_reply){.granted = 50,
                                             .remaining = 20,
                                             .hour = true,
                                             .reset_ms = 900000,
                                             .life_ms = 5000,
                                             .lease = 1,
                                             .epoch = KIT_EPOCH});
    assert_true(a.v.allowed && a.v.hour);
    assert_int_equal(a.v.limit, 2000);
    assert_int_equal(a.v.remaining, 69);
    assert_int_equal(a.v.reset_s, 900);
    k.now_us += 4000000;
    assert_true(kit_check(&k, &s, &a));
    assert_int_equal(a.v.reset_s, 896);
    /* limits may change under a counter */
    s.tier = sv_cstr("free");
    assert_true(kit_check(&k, &s, &a));
    assert_false(a.v.hour);
    assert_int_equal(a.v.limit, 100);
    limits_free(k.l);
}

static void some_are_not_limited(void **state)
{
    (void)state;
    kit k;
    asker a = {.done = 0};
    kit_open(&k, 1000, 1);
    limits_subject s = user_of("u1");
    s.operator_here = true;
    assert_true(kit_check(&k, &s, &a));
    assert_true(a.v.allowed);
    assert_false(a.v.limited);
    s = user_of("u1");
    s.tier = sv_cstr("own");
    assert_true(kit_check(&k, &s, &a));
    assert_true(a.v.allowed);
    assert_false(a.v.limited);
    s = user_of("u1");
    s.class = CLASS_FREE;
    assert_true(kit_check(&k, &s, &a));
    assert_false(a.v.limited);
    assert_int_equal(k.all_asks, 0);
    limits_free(k.l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lease_answers_at_once),
        cmocka_unit_test(asks_cost_little),
        cmocka_unit_test(small_limits_ask_each_time),
        cmocka_unit_test(one_ask_serves_many),
        cmocka_unit_test(all_counters_must_grant),
        cmocka_unit_test(what_was_taken_goes_back_to_the_owner),
        cmocka_unit_test(who_leaves_is_forgotten),
        cmocka_unit_test(done_may_do_anything),
        cmocka_unit_test(the_rest_of_a_lease_goes_back),
        cmocka_unit_test(a_drain_gives_all_back),
        cmocka_unit_test(a_stricter_limit_holds_without_the_owner),
        cmocka_unit_test(hours_hold_too),
        cmocka_unit_test(an_owner_that_died_is_asked_again_at_once),
        cmocka_unit_test(another_owner_is_told_what_passed),
        cmocka_unit_test(silence_is_not_asked_again),
        cmocka_unit_test(cut_between_two_asks),
        cmocka_unit_test(an_owner_that_is_back_is_not_flooded),
        cmocka_unit_test(queues_are_bounded),
        cmocka_unit_test(counters_are_bounded),
        cmocka_unit_test(remaining_is_never_too_much),
        cmocka_unit_test(some_are_not_limited),
    };
    log_init("test", 0, LOG_ERROR, 2);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    metrics_free();
    return rc;
}
