/*  The ledger's queue with a store that does what a test says: when rows are written, what happens
 *  when they cannot be, and who is told what. */
#include "ledger.h"

#include "error.h"
#include "fake_bus.h"
#include "log.h"
#include "metrics.h"
#include "ticket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

static loop *l;
static config *conf;
static sv_process process;
static ledger led;
static sv_call *call;
static int told, told_code;

static void start(const char *durability, const char *rows)
{
    clearenv();
    setenv("SAMOVAR_DATA", "/nowhere", 1);
    setenv("SAMOVAR_LEDGER_DURABILITY", durability, 1);
    setenv("SAMOVAR_LEDGER_QUEUE_ROWS", rows, 1);
    assert_int_equal(config_load(NULL, &conf, NULL), 0);
    l = loop_new(NULL);
    process = (sv_process){.loop = l, .config = conf, .store = (store *)&process};
    call = fake_call(&process, "edge", "{}", false);
    ledger_start(&led, &process);
    told = told_code = 0;
}

static void end(void)
{
    ledger_free(&led);
    fake_call_free(call);
    config_free(conf);
    loop_free(l);
    metrics_free();
    assert_int_equal(process.holds, 0);
}

static void on_done(void *arg, int code, const sv_error *err)
{
    assert_ptr_equal(arg, &told);
    assert_true((code == 0) == (err == NULL));
    told++;
    told_code = code;
}

static int add(bool waits, ledger_item **wait)
{
    sv_id id = uuid_new();
    sv_error err = {0};
    ledger_row row = ledger_row_of(call, &id);
    row.model = sv_cstr("m");
    int rc = ledger_add(&led, &row, waits ? on_done : NULL, &told, wait, &err);
    assert_int_equal(rc, err.code);
    return rc;
}

static void add_many(int n)
{
    ledger_item *wait;
    for (int i = 0; i < n; i++) {
        assert_int_equal(add(false, &wait), 0);
        assert_null(wait);
    }
}

static void wait_for_writes(int n)
{
    uint64_t until_us = clock_us() + 5000000;
    while (process.writes < n) {
        if (clock_us() > until_us) fail_msg("waited in vain for write %d", n);
        loop_turn(l, 10);
    }
    assert_int_equal(process.writes, n);
}

static const ledger_batch *written(void)
{
    return process.write.in;
}

static bool metric_has(const char *line)
{
    buf text;
    buf_init(&text, 1 << 20);
    metrics_text(&text);
    buf_putc(&text, 0);
    bool has = strstr(text.p, line) != NULL;
    buf_free(&text);
    return has;
}

static void test_relaxed(void **state)
{
    (void)state;
    start("relaxed", "100");
    loop_turn(l, 0);
    uint64_t from_us = loop_now_us(l);
    add_many(3);
    assert_int_equal(process.holds, 1);
    loop_turn(l, 0);
    assert_int_equal(process.writes, 0); /* collects */
    wait_for_writes(1);
    uint64_t took_us = loop_now_us(l) - from_us;
    assert_true(took_us >= LEDGER_WAIT_MS * 1000);
    assert_int_equal(written()->n, 3);
    assert_int_equal(written()->keep_days, 90);
    add_many(2); /* meanwhile */
    for (int i = 0; i < 5; i++)
        loop_turn(l, 10);
    assert_int_equal(process.writes, 1); /* never two at once */
    fake_write_end(&process, 0, NULL);
    assert_int_equal(led.n, 2);
    wait_for_writes(2);
    assert_int_equal(written()->n, 2);
    fake_write_end(&process, 0, NULL);
    assert_int_equal(process.holds, 0);
    assert_true(metric_has("samovar_ledger_queue_rows 0"));
    assert_int_equal(told, 0);
    end();
}

static void test_full_batch_goes_at_once(void **state)
{
    (void)state;
    start("relaxed", "5000");
    loop_turn(l, 0);
    uint64_t from_us = loop_now_us(l);
    add_many(LEDGER_BATCH + 5);
    wait_for_writes(1);
    assert_true(loop_now_us(l) - from_us < LEDGER_WAIT_MS * 1000);
    assert_int_equal(written()->n, LEDGER_BATCH);
    fake_write_end(&process, 0, NULL);
    wait_for_writes(2);
    assert_int_equal(written()->n, 5);
    fake_write_end(&process, 0, NULL);
    end();
}

static void test_failure_keeps_rows(void **state)
{
    (void)state;
    start("relaxed", "10");
    sv_error why = {0};
    sv_fail(&why, SV_E_STORE_FULL, NULL, NULL);
    add_many(2);
    wait_for_writes(1);
    fake_write_end(&process, SV_E_STORE_FULL, &why);
    assert_int_equal(led.n, 2);
    assert_int_equal(ledger_ready(&led, NULL), 0); /* relaxed: answers go on */
    add_many(10);                                  /* two too many: the newest */
    assert_int_equal(led.n, 10);
    assert_true(metric_has("samovar_ledger_rows_lost_total 2"));
    uint64_t from_us = loop_now_us(l);
    wait_for_writes(2);
    assert_true(loop_now_us(l) - from_us < 1500000);
    assert_int_equal(written()->n, 10);
    process.write_fails = SV_E_STORE_IO; /* refused at once */
    fake_write_end(&process, SV_E_STORE_IO, &why);
    wait_for_writes(3);
    assert_int_equal(led.n, 10);
    process.write_fails = 0;
    wait_for_writes(4);
    assert_int_equal(written()->n, 10);
    fake_write_end(&process, 0, NULL);
    assert_int_equal(led.n, 0);
    end();
}

static void test_one_bad_row(void **state)
{
    (void)state;
    start("relaxed", "1000");
    add_many(64);
    ledger_item *bad = led.head;
    for (int i = 0; i < 41; i++)
        bad = bad->next;
    for (int writes = 1; led.n > 0; writes++) {
        wait_for_writes(writes);
        bool in_it = false;
        const ledger_item *item = written()->first;
        for (uint32_t i = 0; i < written()->n; i++, item = item->next) {
            in_it = in_it || item == bad;
            if (i + 1 == written()->n) break;
        }
        fake_write_end(&process, in_it ? SV_E_STORE_DAMAGED : 0, &(sv_error){0});
        assert_true(writes < 40);
    }
    assert_true(metric_has("samovar_ledger_rows_lost_total 1\n"));
    add_many(1); /* and goes on */
    wait_for_writes(process.writes + 1);
    fake_write_end(&process, 0, NULL);
    end();
}

static void test_no_memory_is_no_loss(void **state)
{
    (void)state;
    start("relaxed", "1000");
    add_many(2);
    wait_for_writes(1);
    fake_write_end(&process, SV_E_NO_MEMORY, NULL);
    wait_for_writes(2);
    assert_int_equal(written()->n, 1); /* half of it may fit */
    fake_write_end(&process, SV_E_NO_MEMORY, NULL);
    assert_int_equal(led.n, 2);
    wait_for_writes(3);
    fake_write_end(&process, 0, NULL);
    wait_for_writes(4);
    fake_write_end(&process, 0, NULL);
    assert_int_equal(led.n, 0);
    end();
}

static void test_strict(void **state)
{
    (void)state;
    ledger_item *wait[3];
    start("strict", "10");
    assert_int_equal(add(true, &wait[0]), 0);
    assert_non_null(wait[0]);
    assert_int_equal(process.writes, 0);
    loop_turn(l, 0);
    assert_int_equal(process.writes, 1); /* at the end of the turn */
    assert_int_equal(told, 0);
    assert_int_equal(add(true, &wait[1]), 0);
    assert_int_equal(add(true, &wait[2]), 0);
    ledger_forget(wait[1]); /* its client has left */
    fake_write_end(&process, 0, NULL);
    assert_int_equal(told, 1);
    assert_int_equal(told_code, 0);
    loop_turn(l, 0);
    assert_int_equal(process.writes, 2);
    assert_int_equal(written()->n, 2);
    fake_write_end(&process, 0, NULL);
    assert_int_equal(told, 2);
    end();
}

static void test_strict_failure(void **state)
{
    (void)state;
    ledger_item *wait;
    sv_error why = {0}, err = {0};
    start("strict", "2");
    sv_fail(&why, SV_E_STORE_FULL, NULL, NULL);
    why.retry_after_ms = 1234;
    assert_int_equal(ledger_ready(&led, &err), 0);
    assert_int_equal(add(true, &wait), 0);
    wait_for_writes(1);
    fake_write_end(&process, SV_E_STORE_FULL, &why);
    assert_int_equal(told, 1);
    assert_int_equal(told_code, SV_E_STORE_FULL);
    assert_int_equal(led.n, 1); /* its cost is real: it is tried again */
    assert_int_equal(ledger_ready(&led, &err), SV_E_STORE_FULL);
    assert_int_equal(err.retry_after_ms, 1234);
    /* one that was under way already */
    assert_int_equal(add(true, &wait), 0);
    assert_int_equal(add(true, &wait), SV_E_STORE_FULL); /* no place: told at once */
    assert_null(wait);
    wait_for_writes(2);
    assert_int_equal(written()->n, 2);
    fake_write_end(&process, 0, NULL);
    assert_int_equal(told, 2);
    assert_int_equal(told_code, 0);
    assert_int_equal(ledger_ready(&led, NULL), 0);
    end();
}

static void test_drain_and_leftovers(void **state)
{
    (void)state;
    start("relaxed", "10");
    add_many(2);
    ledger_drain(&led);
    loop_turn(l, 0);
    assert_int_equal(process.writes, 1); /* without collecting */
    fake_write_end(&process, 0, NULL);
    add_many(3);
    ledger_free(&led); /* what is left goes to the store, which outlives the ledger */
    assert_int_equal(process.writes, 2);
    assert_int_equal(written()->n, 3);
    fake_write_end(&process, SV_E_STORE_FULL, NULL);
    assert_true(metric_has("samovar_ledger_rows_lost_total 3"));
    ledger_start(&led, &process);
    add_many(1);
    process.write_fails = SV_E_STORE_FULL;
    end();
}

/* Those that a client can make up: of models that nobody lists, and of providers of tenants. */
static void test_free_names(void **state)
{
    (void)state;
    enum { MORE = 5, ALL = LEDGER_NAMES + MORE };
    start("relaxed", "1000");
    for (int i = 0; i < 4 * ALL; i++) {
        char name[16];
        ledger_item *wait;
        sv_id id = uuid_new();
        ledger_row row = ledger_row_of(call, &id);
        int kind = i % 4; /* listed, made up, made up and failed, listed by a tenant's own */
        snprintf(name, sizeof name, "%d-%d", kind == 3, i / 4);
        row.model = sv_cstr(name);
        row.listed = kind == 0 || kind == 3;
        row.own = kind == 3;
        row.outcome = sv_cstr(kind == 2 ? "refused" : "ok");
        assert_int_equal(ledger_add(&led, &row, NULL, NULL, &wait, NULL), 0);
    }
    ledger_drain(&led);
    wait_for_writes(1);
    const ledger_item *at = written()->first;
    int unnamed[4] = {0};
    for (uint32_t i = 0; i < written()->n; i++, at = at->next)
        unnamed[i % 4] += at->row.unnamed;
    assert_int_equal(written()->n, 4 * ALL);
    assert_int_equal(unnamed[0] + unnamed[2], 0);
    assert_int_equal(unnamed[1] + unnamed[3], 2 * ALL - LEDGER_NAMES);
    fake_write_end(&process, 0, NULL);
    end();
}

static void test_without_a_store(void **state)
{
    (void)state;
    ledger_item *wait;
    ledger none = {0};
    start("strict", "10");
    ledger_free(&led);
    process.store = NULL;
    ledger_start(&led, &process);
    assert_int_equal(add(true, &wait), 0);
    assert_null(wait);
    assert_int_equal(ledger_ready(&none, NULL), 0);
    ledger_free(&none);
    end();
}

static void test_who(void **state)
{
    (void)state;
    static const uint8_t seed[TICKET_SEED] = {7};
    ticket_signer signer;
    ticket t = {.user = sv_cstr("u1"), .org = sv_cstr("o1"), .tier = sv_cstr("x"), .expires_s = 1};
    buf bytes;
    sv_id id = {{0x01, 0x1f, 0x71, 0xfb, 0x04, 0xcb, 0x70}}; /* 1234567890123 */
    start("relaxed", "10");
    memset(call->trace.trace_id, 9, 16);
    ticket_signer_init(&signer, seed);
    buf_init(&bytes, LIMIT_TICKET_BYTES);
    assert_int_equal(ticket_sign(&signer, &t, &bytes), 0);
    call->ticket = buf_str(&bytes);
    ledger_row row = ledger_row_of(call, &id);
    assert_true(sv_str_is(row.org, "o1") && sv_str_is(row.user, "u1"));
    assert_int_equal(row.key.n, 0);
    assert_true(row.started == 1234567890123);
    assert_memory_equal(row.attempt.p, id.b, 16);
    assert_memory_equal(row.request.p, call->id.b, 16);
    assert_memory_equal(row.trace.p, call->trace.trace_id, 16);
    call->ticket = sv_cstr("garbage");
    assert_int_equal(ledger_row_of(call, &id).org.n, 0);
    buf_free(&bytes);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_relaxed),
        cmocka_unit_test(test_full_batch_goes_at_once),
        cmocka_unit_test(test_failure_keeps_rows),
        cmocka_unit_test(test_one_bad_row),
        cmocka_unit_test(test_no_memory_is_no_loss),
        cmocka_unit_test(test_strict),
        cmocka_unit_test(test_strict_failure),
        cmocka_unit_test(test_drain_and_leftovers),
        cmocka_unit_test(test_free_names),
        cmocka_unit_test(test_without_a_store),
        cmocka_unit_test(test_who),
    };
    log_init("test", 0, LOG_ERROR, -1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
