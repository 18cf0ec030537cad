/*  test_policy.c - patterns, order of rules, splits, faults. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "error.h"
#include "policy.h"

static bool match(const char *pattern, const char *text)
{
    return policy_match(sv_cstr(pattern), sv_cstr(text));
}

static void test_match(void **state)
{
    (void)state;
    assert_true(match("*", "a.b"));
    assert_true(match("*", "anything"));
    assert_true(match("a.*", "a.b"));
    assert_true(match("a.*", "a.b.c"));
    assert_false(match("a.*", "a"));
    assert_false(match("a.*", "a."));
    assert_false(match("a.*", "ab.c"));
    assert_true(match("*.ping", "auth.ping"));
    assert_false(match("*.ping", "ping"));
    assert_false(match("*.ping", ".ping"));
    assert_false(match("*.ping", "a.b.ping"));
    assert_true(match("a.b", "a.b"));
    assert_false(match("a.b", "a.bc"));
    assert_false(match("a.b*", "a.bc")); /* no other wildcard */
    assert_false(match("", "a"));
}

static bool allows(const policy *p, const char *caller, const char *target, const char **rule)
{
    return policy_allows(p, sv_cstr(caller), sv_cstr(target), rule);
}

static void test_default_deny(void **state)
{
    (void)state;
    policy *p = policy_default(NULL);
    const char *rule;
    static const struct {
        const char *caller, *target;
        bool may;
    } table[] = {
        {"edge", "router.complete", true},
        {"edge", "router.models", true},
        {"edge", "router.ping", true},
        {"edge", "router.store_stat", true},
        {"edge", "router.store_dump", false},
        {"edge", "router.store_backup", false},
        {"edge", "router.store_replace", false},
        {"edge", "router.store_rekey", false},
        {"edge", "router.metrics", true},
        {"router", "router.store_stat", false},
        {"operator", "router.store_backup", true},
        {"edge", "bus.drain", false},
        {"edge", "mail.send", false},
        {"edge", "bus.ping", true},
        {"router", "auth.ping", false},
        {"edge", "auth.login", true},
        {"edge", "auth.2fa_setup", true},
        {"edge", "auth.key_check", true},
        {"edge", "auth.revocations", true},
        {"edge", "auth.store_stat", true},
        {"edge", "auth.store_dump", false},
        {"edge", "auth.user_add", false},
        {"edge", "auth.user_list", false},
        {"edge", "auth.user_disable", false},
        {"edge", "auth.key_rotate", false},
        {"edge", "auth.audit_verify", false},
        {"edge", "auth.grant", false},
        {"edge", "auth.delegate", false},
        {"router", "auth.key_check", false},
        {"router", "auth.login", false},
        {"workflow", "auth.grant", true},
        {"builder", "auth.delegate", true},
        {"knowledge", "auth.grant_end", true},
        {"mail", "auth.delegate", false},
        {"stranger", "auth.delegate", false},
        {"router", "bus.ping", true},
        {"stranger", "bus.ping", true},
        {"stranger", "router.complete", false},
        {"stranger", "bus.tap", false},
        {"stranger", "bus.subscribe", false},
        {"router", "router.complete", false},
        {"operator", "bus.drain", true},
        {"operator", "anything.at.all", true},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (allows(p, table[i].caller, table[i].target, &rule) != table[i].may)
            fail_msg("%s -> %s: %s", table[i].caller, table[i].target, rule);
    assert_false(allows(p, "a", "b.c", &rule));
    assert_string_equal(rule, "default deny");
    assert_true(policy_publishes(p, sv_cstr("auth"), sv_cstr("auth.changed")));
    assert_false(policy_publishes(p, sv_cstr("auth"), sv_cstr("authority.changed")));
    assert_false(policy_publishes(p, sv_cstr("auth"), sv_cstr("auth")));
    assert_int_equal(policy_for(p, sv_cstr("router"))->eject_failures, 7);
    policy_unref(p);
}

static void test_deny_first(void **state)
{
    (void)state;
    policy *p = policy_new(NULL);
    const char *rule;
    assert_int_equal(policy_add_allow(p, false, "*", "a.*", "allow 1"), 0);
    assert_int_equal(policy_add_allow(p, false, "*", "*", "allow 2"), 0);
    assert_int_equal(policy_add_allow(p, true, "x", "a.secret", "deny 1"), 0);
    assert_true(allows(p, "x", "a.b", &rule));
    assert_string_equal(rule, "allow 1");
    assert_true(allows(p, "x", "b.b", &rule));
    assert_string_equal(rule, "allow 2");
    assert_false(allows(p, "x", "a.secret", &rule));
    assert_string_equal(rule, "deny 1");
    assert_true(allows(p, "y", "a.secret", NULL));
    policy_unref(p);
}

static void test_services(void **state)
{
    (void)state;
    policy_service s = {.queue_messages = 5}, t = {.timeout_ms = 77};
    policy *p = policy_new(&s);
    assert_int_equal(policy_add_service(p, "router", &t), 0);
    assert_int_equal(policy_for(p, sv_cstr("router"))->timeout_ms, 77);
    assert_int_equal(policy_for(p, sv_cstr("other"))->queue_messages, 5);
    t.timeout_ms = 78; /* said twice: the last one holds */
    assert_int_equal(policy_add_service(p, "router", &t), 0);
    assert_int_equal(policy_for(p, sv_cstr("router"))->timeout_ms, 78);
    policy *q = policy_ref(p);
    policy_unref(p);
    assert_int_equal(policy_for(q, sv_cstr("router"))->timeout_ms, 78);
    policy_unref(q);
}

static bool version_ok(const policy *p, const char *version, double dice)
{
    return policy_version_ok(p, sv_cstr("router"), sv_cstr(version), dice);
}

static void test_split(void **state)
{
    (void)state;
    policy *p = policy_new(NULL);
    assert_true(version_ok(p, "9", 0.5)); /* without a split everybody will do */
    assert_false(policy_has_split(p, sv_cstr("router")));
    assert_int_equal(policy_add_split(p, "router", "1.2*", 90), 0);
    assert_int_equal(policy_add_split(p, "router", "1.3*", 10), 0);
    assert_int_equal(policy_add_split(p, "auth", "7", 10), 0);
    assert_true(policy_has_split(p, sv_cstr("router")));
    assert_true(version_ok(p, "1.2.7", 0.0));
    assert_true(version_ok(p, "1.2.7", 0.89));
    assert_false(version_ok(p, "1.2.7", 0.91));
    assert_true(version_ok(p, "1.3.0", 0.91));
    assert_true(version_ok(p, "1.3.0", 0.999999));
    assert_false(version_ok(p, "1.3.0", 0.5));
    assert_false(version_ok(p, "1.4", 0.5));
    assert_true(policy_version_ok(p, sv_cstr("auth"), sv_cstr("7"), 0.3));
    assert_false(policy_version_ok(p, sv_cstr("auth"), sv_cstr("71"), 0.3));
    policy_unref(p);
}

static void test_faults(void **state)
{
    (void)state;
    policy *p = policy_new(NULL);
    sv_str edge = sv_cstr("edge"), target = sv_cstr("router.complete");
    assert_false(policy_has_faults(p));
    assert_int_equal(
        policy_add_fault(p, "edge", "router.*", (policy_fault){FAULT_ABORT, 0}, 10, 100), 0);
    assert_int_equal(
        policy_add_fault(p, "*", "router.complete", (policy_fault){FAULT_DELAY, 50}, 50, 200), 0);
    assert_int_equal(policy_add_fault(p, "*", "*", (policy_fault){FAULT_DROP, 0}, 101, 200),
                     SV_E_OUT_OF_RANGE);
    assert_true(policy_has_faults(p));
    assert_int_equal(policy_fault_for(p, edge, target, 0.05, 50).action, FAULT_ABORT);
    assert_int_equal(policy_fault_for(p, edge, target, 0.05, 100).action, FAULT_DELAY); /* over */
    int abort = 0, delay = 0;
    for (int i = 0; i < 1000;
         i++) { /* the second rule gets its half of what the first one leaves */
        policy_fault f = policy_fault_for(p, edge, target, i / 1000.0, 50);
        abort += f.action == FAULT_ABORT;
        delay += f.action == FAULT_DELAY && f.delay_ms == 50;
    }
    assert_int_equal(abort, 100);
    assert_in_range(delay, 449, 451);
    assert_int_equal(policy_fault_for(p, edge, sv_cstr("auth.x"), 0.01, 50).action, FAULT_NONE);
    assert_int_equal(policy_fault_for(p, edge, target, 0.01, 300).action, FAULT_NONE);
    policy_unref(p);
}

static void test_bounds(void **state)
{
    (void)state;
    policy *p = policy_new(NULL);
    int rc = 0, n = 0;
    while ((rc = policy_add_allow(p, false, "a", "b.c", "r")) == 0)
        n++;
    assert_int_equal(rc, SV_E_TOO_LARGE);
    assert_int_equal(n, 4096);
    policy_unref(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_match),      cmocka_unit_test(test_default_deny),
        cmocka_unit_test(test_deny_first), cmocka_unit_test(test_services),
        cmocka_unit_test(test_split),      cmocka_unit_test(test_faults),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
