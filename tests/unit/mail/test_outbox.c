/*  test_outbox.c - states of mails, with a clock that the test sets: tries and their pauses, what a
 *  crash leaves behind, ids that come twice, expiry. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mail_kit.h"

#define MINUTE 60000LL

static outbox_mail add(const char *state)
{
    outbox_mail m = kit_mail(state);
    outbox_made made;
    assert_int_equal(kit_write(outbox_insert, &m, &made), 0);
    assert_true(made.made);
    assert_string_equal(made.state, state);
    return m;
}

static outbox_claims claim(uint32_t most)
{
    outbox_claims c;
    assert_int_equal(kit_write(outbox_claim, &most, &c), 0);
    return c;
}

static outbox_settled settle(const outbox_mail *m, smtp_outcome outcome, const char *why)
{
    outbox_verdict v = {.outcome = outcome};
    outbox_settled s;
    memcpy(v.id, m->id, sizeof v.id);
    snprintf(v.why, sizeof v.why, "%s", why);
    assert_int_equal(kit_write(outbox_settle, &v, &s), 0);
    return s;
}

static outbox_mail look(const outbox_mail *m)
{
    outbox_mail now;
    assert_int_equal(kit_peek(outbox_find, m->id, &now), 0);
    return now;
}

static bool there(const outbox_mail *m)
{
    outbox_mail now;
    return kit_peek(outbox_find, m->id, &now) == 0;
}

/* ---- what becomes of a mail ---- */

static void verdicts(void **state)
{
    (void)state;
    const int64_t now = 1900000000000, day = 24 * 60 * MINUTE;
    outbox_step s = outbox_judge(1, SMTP_ACCEPTED, 0, now);
    assert_string_equal(s.state, "sent");
    assert_int_equal(s.expires, now + 7 * day);
    s = outbox_judge(1, SMTP_REFUSED, 0, now);
    assert_string_equal(s.state, "failed");
    assert_int_equal(s.expires, now + 30 * day);
    s = outbox_judge(3, SMTP_STOPPED, 0, now);
    assert_string_equal(s.state, "queued");
    assert_int_equal(s.due, now);
    int64_t longest = 0, before = 0;
    for (int64_t tries = 1; tries < 8; tries++) {
        int64_t full = outbox_judge(tries, SMTP_LATER, 0, now).due - now;
        assert_true(full > before);
        longest += full;
        before = full;
        for (uint32_t dice = 0; dice < 1000; dice++) {
            s = outbox_judge(tries, SMTP_LATER, dice * 4294967u, now);
            assert_string_equal(s.state, "queued");
            assert_int_equal(s.expires, 0);
            assert_in_range(s.due - now, full * 85 / 100, full);
        }
    }
    assert_in_range(longest, 20 * 60 * MINUTE, day);
    assert_string_equal(outbox_judge(8, SMTP_LATER, 0, now).state, "failed");
    assert_string_equal(outbox_judge(8, SMTP_ACCEPTED, 0, now).state, "sent");
}

static void from_queued_to_sent(void **state)
{
    (void)state;
    outbox_mail m = add("queued");
    outbox_claims c = claim(4);
    assert_int_equal(c.n, 1);
    assert_int_equal(c.waiting, 1);
    assert_int_equal(c.wait_ms, -1);
    assert_string_equal(c.mails[0].link, m.link);
    assert_int_equal(c.mails[0].tries, 1);
    assert_string_equal(look(&m).state, "sending");
    assert_int_equal(claim(4).n, 0); /* nobody else gets it */
    outbox_settled s = settle(&m, SMTP_ACCEPTED, "");
    assert_true(s.found);
    assert_int_equal(s.waiting, 0);
    outbox_mail now = look(&m);
    assert_string_equal(now.state, "sent");
    assert_string_equal(now.link, "");  /* nobody needs it any more */
    s = settle(&m, SMTP_LATER, "late"); /* a verdict that comes twice changes nothing */
    assert_false(s.found);
    assert_string_equal(look(&m).state, "sent");
    assert_int_equal(kit_write(outbox_again, m.id, &s), SV_E_CONFLICT);
}

static void eight_tries_then_failed(void **state)
{
    (void)state;
    outbox_mail m = add("queued");
    for (int i = 1; i <= 8; i++) {
        outbox_claims c = claim(4);
        assert_int_equal(c.n, 1);
        assert_int_equal(c.mails[0].tries, i);
        outbox_settled s = settle(&m, SMTP_LATER, "421 busy");
        assert_int_equal(s.waiting, i < 8);
        assert_string_equal(s.mail.state, i < 8 ? "queued" : "failed");
        assert_string_equal(s.mail.error, "421 busy");
        c = claim(4);
        assert_int_equal(c.n, 0); /* not before its time */
        if (i == 8) break;
        assert_int_equal(c.wait_ms, s.mail.due - (int64_t)kit_now_ms);
        kit_now_ms += (uint64_t)c.wait_ms - 1;
        assert_int_equal(claim(4).n, 0);
        kit_now_ms += 1;
    }
    outbox_settled s;
    assert_int_equal(kit_write(outbox_again, m.id, &s), 0);
    assert_int_equal(s.waiting, 1);
    assert_int_equal(claim(4).mails[0].tries, 1);
}

static void a_crash_while_sending(void **state)
{
    (void)state;
    outbox_mail m = add("queued");
    assert_int_equal(claim(1).n, 1);
    kit_again();
    outbox_recovery r;
    assert_int_equal(claim(4).n, 0);
    assert_int_equal(kit_write(outbox_recover, &(bool){true}, &r), 0);
    assert_false(r.more);
    assert_int_equal(r.held, 0);
    assert_int_equal(r.waiting, 1);
    outbox_claims c = claim(4);
    assert_int_equal(c.n, 1);
    assert_string_equal(c.mails[0].id, m.id);
    assert_int_equal(c.mails[0].tries, 2);
}

static void a_stop_costs_no_try(void **state)
{
    (void)state;
    outbox_mail m = add("queued");
    claim(4);
    assert_string_equal(settle(&m, SMTP_STOPPED, "").mail.state, "queued");
    assert_int_equal(claim(4).mails[0].tries, 1);
}

static void without_a_server(void **state)
{
    (void)state;
    outbox_recovery r;
    outbox_mail held = add("held");
    assert_int_equal(claim(4).n, 0);
    for (int i = 0; i < OUTBOX_RECOVER + 5; i++)
        add("queued");
    claim(4);
    assert_int_equal(kit_write(outbox_recover, &(bool){false}, &r), 0);
    assert_true(r.more);
    int64_t n = r.held;
    assert_int_equal(kit_write(outbox_recover, &(bool){false}, &r), 0);
    assert_false(r.more);
    assert_int_equal(n + r.held, OUTBOX_RECOVER + 5);
    assert_int_equal(r.waiting, 0);
    /* A server that comes later sends what is asked for, and nothing else. */
    assert_int_equal(kit_write(outbox_recover, &(bool){true}, &r), 0);
    assert_int_equal(claim(4).n, 0);
    outbox_settled s;
    assert_int_equal(kit_write(outbox_again, held.id, &s), 0);
    outbox_claims c = claim(4);
    assert_int_equal(c.n, 1);
    assert_string_equal(c.mails[0].id, held.id);
}

static void the_same_id_is_the_same_mail(void **state)
{
    (void)state;
    outbox_mail m = add("queued");
    outbox_made made;
    snprintf(m.to, sizeof m.to, "somebody@example.org");
    assert_int_equal(kit_write(outbox_insert, &m, &made), 0);
    assert_false(made.made);
    assert_string_equal(made.state, "queued");
    assert_int_equal(made.waiting, 1);
    assert_string_equal(look(&m).to, "anna@example.org");
    assert_int_equal(claim(4).n, 1);
    settle(&m, SMTP_ACCEPTED, "");
    assert_int_equal(kit_write(outbox_insert, &m, &made), 0);
    assert_string_equal(made.state, "sent");
    assert_int_equal(claim(4).n, 0);
}

static void expiry(void **state)
{
    (void)state;
    outbox_mail sent = add("queued"), held = add("held"), queued = add("queued");
    claim(1);
    settle(&sent, SMTP_ACCEPTED, "");
    kit_now_ms += (uint64_t)(7 * OUTBOX_DAY_MS - 1);
    assert_true(there(&sent));
    kit_now_ms += 1;
    assert_false(there(&sent));
    assert_true(there(&held));
    kit_now_ms += (uint64_t)(23 * OUTBOX_DAY_MS);
    assert_false(there(&held));
    assert_true(there(&queued));
}

static void dropping(void **state)
{
    (void)state;
    outbox_settled s;
    outbox_mail m = add("queued");
    assert_int_equal(kit_write(outbox_drop, m.id, &s), 0);
    assert_int_equal(s.waiting, 0);
    assert_string_equal(s.mail.to, m.to);
    assert_int_equal(kit_write(outbox_drop, m.id, &s), SV_E_NOT_FOUND);
    m = add("queued");
    claim(4);
    assert_int_equal(kit_write(outbox_drop, m.id, &s), 0);
    assert_int_equal(s.waiting, 0);
    s = settle(&m, SMTP_LATER, "too late"); /* it does not come back */
    assert_false(s.found);
    assert_int_equal(s.waiting, 0);
    assert_false(there(&m));
}

static void newest_first_by_pages(void **state)
{
    (void)state;
    enum { MAILS = 2 * OUTBOX_PAGE + 50 };
    outbox_page *page = malloc(sizeof *page);
    assert_non_null(page);
    for (int i = 0; i < MAILS; i++, kit_now_ms++)
        add(i % 50 == 0 ? "held" : "queued");
    mail_list_req q = {.state = {NULL, 0}};
    char position[OUTBOX_POSITION];
    uint32_t n = 0, pages = 0;
    int64_t before = INT64_MAX;
    do {
        assert_int_equal(kit_peek(outbox_some, &q, page), 0);
        for (uint32_t i = 0; i < page->n; i++, n++) {
            assert_true(page->mails[i].created < before);
            before = page->mails[i].created;
        }
        memcpy(position, page->position, page->position_n);
        q.after = (sv_str){position, page->position_n};
        pages++;
    } while (q.after.n);
    assert_int_equal(n, MAILS);
    assert_int_equal(pages, 3);
    q = (mail_list_req){.state = sv_cstr("held")};
    assert_int_equal(kit_peek(outbox_some, &q, page), 0);
    assert_int_equal(page->n, MAILS / 50);
    assert_int_equal(page->position_n, 0);
    free(page);
}

static void four_at_once(void **state)
{
    (void)state;
    for (int i = 0; i < 9; i++)
        add("queued");
    assert_int_equal(claim(3).n, 3);
    outbox_claims c = claim(1);
    assert_int_equal(c.n, 1);
    assert_int_equal(c.wait_ms, 0); /* more are due */
    assert_int_equal(claim(0).n, 0);
    assert_int_equal(claim(100).n, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verdicts),
        cmocka_unit_test_setup_teardown(from_queued_to_sent, kit_start, kit_stop),
        cmocka_unit_test_setup_teardown(eight_tries_then_failed, kit_start, kit_stop),
        cmocka_unit_test_setup_teardown(a_crash_while_sending, kit_start, kit_stop),
        cmocka_unit_test_setup_teardown(a_stop_costs_no_try, kit_start, kit_stop),
        cmocka_unit_test_setup_teardown(without_a_server, kit_start, kit_stop),
        cmocka_unit_test_setup_teardown(the_same_id_is_the_same_mail, kit_start, kit_stop),
        cmocka_unit_test_setup_teardown(expiry, kit_start, kit_stop),
        cmocka_unit_test_setup_teardown(dropping, kit_start, kit_stop),
        cmocka_unit_test_setup_teardown(newest_first_by_pages, kit_start, kit_stop),
        cmocka_unit_test_setup_teardown(four_at_once, kit_start, kit_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
