/* The policy file: everything it can say, and every way to get it wrong, with file and line. */
#include "harness.h"

#include "error.h"
#include "policy.h"

#include <time.h>
#include <unistd.h>

static char path[64];

static int load(const char *text, policy **ret, sv_error *e)
{
    strcpy(path, "/tmp/samovar-policy-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    static const policy_service defaults = {.queue_messages = 11,
                                            .queue_ms = 12,
                                            .queue_bytes = 13,
                                            .eject_failures = 7,
                                            .eject_base_ms = 1000,
                                            .eject_max_ms = 60000};
    *e = (sv_error){0};
    int rc = policy_load(path, &defaults, ret, e);
    unlink(path);
    return rc;
}

static bool may(const policy *p, const char *from, const char *call)
{
    return policy_allows(p, sv_cstr(from), sv_cstr(call), NULL);
}

static void until_in(char text[32], long seconds)
{
    time_t t = time(NULL) + seconds;
    struct tm tm;
    gmtime_r(&t, &tm);
    strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static void everything(void **state)
{
    (void)state;
    char until[32], text[2048];
    until_in(until, 3600);
    snprintf(text, sizeof text,
             "allow:\n"
             "  - {from: edge, call: [\"router.*\", \"*.ping\"]}\n"
             "  - {from: operator, call: \"*\"}\n"
             "deny:\n"
             "  - {from: \"*\", call: [bus.drain]}\n"
             "publish:\n"
             "  - {from: edge, topic: [\"cache.*\"]}\n"
             "services:\n"
             "  router:\n"
             "    timeout_ms: 10m\n"
             "    concurrency: 4096\n"
             "    queue: {messages: 1024, bytes: 64MiB, wait_ms: 10s}\n"
             "    ejection: {failures: 3, base_ms: 500ms, max_ms: 1m}\n"
             "    split: [{version: \"1.2*\", weight: 90}, {version: \"1.3*\", weight: 10}]\n"
             "    ticket: required\n"
             "  echo: {}\n"
             "faults:\n"
             "  - {from: \"*\", call: [echo.say], action: delay, delay_ms: 50, percent: 12.5,\n"
             "     until: %s}\n"
             "  - {from: edge, call: echo.say, action: abort, until: %s}\n",
             until, until);
    policy *p;
    sv_error e;
    int rc = load(text, &p, &e);
    if (rc) fail_msg("%s", e.message);
    assert_true(may(p, "edge", "router.complete"));
    assert_true(may(p, "edge", "echo.ping"));
    assert_false(may(p, "edge", "echo.say"));
    assert_true(may(p, "operator", "echo.say"));
    assert_false(may(p, "operator", "bus.drain"));
    assert_true(policy_publishes(p, sv_cstr("edge"), sv_cstr("cache.changed")));
    assert_false(policy_publishes(p, sv_cstr("router"), sv_cstr("cache.changed")));
    const char *rule = NULL;
    assert_false(policy_allows(p, sv_cstr("x"), sv_cstr("bus.drain"), &rule));
    assert_string_equal(rule, "line 5: * may not call bus.drain");

    const policy_service *s = policy_for(p, sv_cstr("router"));
    assert_int_equal(s->timeout_ms, 600000);
    assert_int_equal(s->concurrency, 4096);
    assert_int_equal(s->queue_messages, 1024);
    assert_int_equal(s->queue_bytes, 64 << 20);
    assert_int_equal(s->queue_ms, 10000);
    assert_int_equal(s->eject_failures, 3);
    assert_int_equal(s->eject_base_ms, 500);
    assert_int_equal(s->eject_max_ms, 60000);
    assert_true(s->ticket_required);
    assert_true(policy_has_split(p, sv_cstr("router")));
    assert_true(policy_version_ok(p, sv_cstr("router"), sv_cstr("1.3.0"), 0.95));

    s = policy_for(p, sv_cstr("echo")); /* named without a word: the defaults */
    assert_int_equal(s->queue_messages, 11);
    assert_int_equal(s->eject_failures, 7);
    assert_false(s->ticket_required);

    uint64_t now = (uint64_t)time(NULL);
    policy_fault f = policy_fault_for(p, sv_cstr("x"), sv_cstr("echo.say"), 0.1, now);
    assert_int_equal(f.action, FAULT_DELAY);
    assert_int_equal(f.delay_ms, 50);
    f = policy_fault_for(p, sv_cstr("x"), sv_cstr("echo.say"), 0.2, now);
    assert_int_equal(f.action, FAULT_NONE);
    f = policy_fault_for(p, sv_cstr("edge"), sv_cstr("echo.say"), 0.9, now);
    assert_int_equal(f.action, FAULT_ABORT);
    f = policy_fault_for(p, sv_cstr("edge"), sv_cstr("echo.say"), 0.1, now + 7200);
    assert_int_equal(f.action, FAULT_NONE);
    policy_unref(p);
}

static void empty_denies(void **state)
{
    (void)state;
    policy *p;
    sv_error e;
    assert_int_equal(load("# nothing\n", &p, &e), 0);
    assert_false(may(p, "operator", "bus.ping"));
    policy_unref(p);
}

static void missing(void **state)
{
    (void)state;
    policy *p = (policy *)(uintptr_t)1;
    sv_error e = {0};
    assert_int_equal(policy_load("/no/such/policy.yaml", NULL, &p, &e), SV_E_NOT_FOUND);
    assert_ptr_equal(p, (void *)1);
}

static void mistakes(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"- a\n", ":1: this entry must be a map, not a list"},
        {"alow: []\n", ":1: alow is not known here; allowed: allow deny publish services faults"},
        {"allow: {from: a}\n", ":1: allow must be a list of rules, not a map"},
        {"allow:\n- {from: a}\n", ":2: call is missing"},
        {"allow:\n- {call: a.b}\n", ":2: from is missing"},
        {"allow:\n- {from: A, call: a.b}\n", "neither a service name"},
        {"allow:\n- {from: [a], call: a.b}\n", ":2: from must be a service name"},
        {"allow:\n- {from: a, call: []}\n", ":2: call holds no pattern"},
        {"allow:\n- {from: a, call: {b: c}}\n", ":2: call must be a list of patterns, not a map"},
        {"allow:\n- from: a\n  call: [a.b,\n   a*]\n", ":4: \"a*\" is not a pattern"},
        {"allow:\n- {from: a, call: a}\n", "is not a pattern"},
        {"allow:\n- {from: a, call: \"*.*\"}\n", "is not a pattern"},
        {"allow:\n- {from: a, call: a..b}\n", "is not a pattern"},
        {"allow:\n- {from: a, call: \"a.*.b\"}\n", "is not a pattern"},
        {"allow:\n- {from: a, call: a.b, why: x}\n", "why is not known here; allowed: from call"},
        {"publish:\n- {from: a, call: a.b}\n", "call is not known here; allowed: from topic"},
        {"services: []\n", ":1: services must be a map of services"},
        {"services:\n  Bad: {}\n", ":2: \"Bad\" is not a service name"},
        {"services:\n  a: {timeout: 3}\n", "timeout is not known here; allowed: timeout_ms"},
        {"services:\n  a: {timeout_ms: soon}\n", ":2: timeout_ms"},
        {"services:\n  a: {timeout_ms: 0}\n", ":2: timeout_ms"},
        {"services:\n  a: {timeout_ms: 2h}\n", ":2: timeout_ms"},
        {"services:\n  a: {concurrency: -1}\n", ":2: concurrency"},
        {"services:\n  a: {queue: {bytes: 1TB}}\n", ":2: bytes"},
        {"services:\n  a: {queue: 7}\n", ":2: queue must be a map"},
        {"services:\n  a: {queue: {wait_ms: 0}}\n", ":2: wait_ms"},
        {"services:\n  a: {ejection: {base_ms: 2m}}\n", "max_ms must not be below base_ms"},
        {"services:\n  a: {split: []}\n", "split needs at least one weight"},
        {"services:\n  a: {split: [{version: x, weight: 0}]}\n", "at least one weight above 0"},
        {"services:\n  a: {split: [{version: x}]}\n", ":2: weight is missing"},
        {"services:\n  a: {split: [{version: \"*x\", weight: 1}]}\n",
         "a star may stand at the end"},
        {"services:\n  a: {ticket: maybe}\n", ":2: ticket must be required or optional"},
        {"services:\n  a: {}\n  a: {}\n", ":3:"},
        {"faults:\n- {from: a, call: a.b, action: abort}\n", ":2: until is missing"},
        {"faults:\n- {from: a, call: a.b, action: burn, until: 1}\n", ":2: action must be delay"},
        {"faults:\n- {from: a, call: a.b, action: delay, until: 1}\n", "delay_ms is missing"},
        {"faults:\n- {from: a, call: a.b, action: drop, delay_ms: 1, until: 1}\n",
         "delay_ms goes only with"},
        {"faults:\n- {from: a, call: a.b, action: drop, percent: 101, until: 1}\n",
         "percent must be a number from 0 to 100"},
        {"faults:\n- {from: a, call: a.b, action: drop, percent: 1e1, until: 1}\n", "percent must"},
        {"faults:\n- {from: a, call: a.b, action: drop, percent: nan, until: 1}\n", "percent must"},
        {"faults:\n- {from: a, call: a.b, action: drop, until: tomorrow}\n",
         ":2: until must be a time such as"},
        {"faults:\n- {from: a, call: a.b, action: drop, until: 2026-02-31T00:00:00Z}\n",
         "until must be a time"},
        {"faults:\n- {from: a, call: a.b, action: drop, until: 2026-02-01 00:00:00Z}\n",
         "until must be a time"},
        {"faults:\n- {from: a, call: a.b, action: drop, until: 2026-02-01T00:00:00}\n",
         "until must be a time"},
        {"faults:\n- {from: a, call: a.b, action: drop, until: 2026-02-01T00:00:00+1:00}\n",
         "until must be a time"},
        {"faults:\n- {from: a, call: a.b, action: drop, until: 2999-01-01T00:00:00Z}\n",
         ":2: until lies more than 24 hours ahead"},
        {"allow: &x []\ndeny: *x\n", ":1:"},
        {"allow: [\n", ":"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        policy *p = NULL;
        sv_error e;
        int rc = load(bad[i].text, &p, &e);
        if (rc != SV_E_CONFIG || p || strstr(e.message, bad[i].says) == NULL ||
            strncmp(e.message, path, strlen(path)) != 0)
            fail_msg("%zu: %d \"%s\", wanted \"%s\"", i, rc, e.message, bad[i].says);
    }
}

static void offsets(void **state)
{
    (void)state;
    char text[256], at[32];
    struct tm tm;
    time_t t = time(NULL) + 3600 + 2 * 3600 + 1800; /* in an hour, as people at +02:30 write it */
    gmtime_r(&t, &tm);
    strftime(at, sizeof at, "%Y-%m-%dt%H:%M:%S", &tm);
    snprintf(text, sizeof text,
             "faults:\n- {from: a, call: a.b, action: drop, until: \"%s.25+02:30\"}\n", at);
    policy *p;
    sv_error e;
    int rc = load(text, &p, &e);
    if (rc) fail_msg("%s", e.message);
    uint64_t now = (uint64_t)time(NULL);
    assert_int_equal(policy_fault_for(p, sv_cstr("a"), sv_cstr("a.b"), 0, now + 3500).action,
                     FAULT_DROP);
    assert_int_equal(policy_fault_for(p, sv_cstr("a"), sv_cstr("a.b"), 0, now + 3700).action,
                     FAULT_NONE);
    policy_unref(p);
}

static void a_text_of_thousands_of_rules(void **state)
{
    (void)state;
    size_t n = 5000;
    char *text = malloc(n * 32 + 32), *at = text;
    at += sprintf(at, "allow:\n");
    for (size_t i = 0; i < n; i++)
        at += sprintf(at, "- {from: a, call: a.b}\n");
    policy *p = NULL;
    sv_error e;
    int rc = load(text, &p, &e);
    free(text);
    assert_int_equal(rc, SV_E_CONFIG); /* the tree's own bound or the policy's, but a bound */
    assert_null(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything), cmocka_unit_test(empty_denies),
        cmocka_unit_test(missing),    cmocka_unit_test(mistakes),
        cmocka_unit_test(offsets),    cmocka_unit_test(a_text_of_thousands_of_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
