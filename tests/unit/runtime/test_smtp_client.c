/*  test_smtp_client.c - names of mail servers, and one that is not there. Answers of
 *  servers: integration/mail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "error.h"
#include "smtp_client.h"

#include <string.h>

static void urls(void **state)
{
    (void)state;
    static const struct {
        const char *url, *host;
        bool tls, loopback;
    } good[] = {{"smtp://mail.example.org", "mail.example.org", false, false},
                {"smtp://mail.example.org:587/", "mail.example.org", false, false},
                {"smtps://mail.example.org:465", "mail.example.org", true, false},
                {"SMTP://localhost:25", "localhost", false, true},
                {"smtp://127.0.0.53", "127.0.0.53", false, true},
                {"smtp://[::1]:2525", "::1", false, true},
                {"smtp://192.0.2.1", "192.0.2.1", false, false},
                {"smtp://[2001:db8::1]", "2001:db8::1", false, false}};
    static const char *const bad[] = {"",
                                      "mail.example.org",
                                      "mail.example.org:25",
                                      "http://mail.example.org",
                                      "smtp://",
                                      "smtp://user@mail.example.org",
                                      "smtp://user:secret@mail.example.org",
                                      "smtp://mail.example.org/name",
                                      "smtp://mail.example.org?x",
                                      "smtp://mail.example.org#x",
                                      "smtp://mail.example.org:70000",
                                      "smtp://mail example.org",
                                      "smtp+tls://mail.example.org"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        smtp_url u;
        sv_error err = {.code = 0};
        assert_int_equal(smtp_url_parse(good[i].url, &u, &err), 0);
        assert_string_equal(u.host, good[i].host);
        assert_int_equal(u.tls, good[i].tls);
        assert_int_equal(u.loopback, good[i].loopback);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        smtp_url u;
        sv_error err = {.code = 0};
        assert_int_equal(smtp_url_parse(bad[i], &u, &err), SV_E_INVALID);
        assert_true(err.message[0]);
        assert_null(strstr(err.message, "secret"));
    }
}

static smtp_result deliver(const char *url)
{
    smtp_server s = {.url = url,
                     .starttls = SMTP_OFF,
                     .helo = "example.org",
                     .connect_ms = 2000,
                     .total_ms = 2000};
    smtp_mail m = {"a@example.org", "b@example.org", sv_cstr("Subject: x\r\n\r\nx\r\n")};
    atomic_bool stop;
    smtp_result r;
    atomic_init(&stop, false);
    smtp_deliver(&s, &m, &stop, &r);
    return r;
}

static void nobody_there(void **state)
{
    (void)state;
    smtp_result r = deliver("smtp://127.0.0.1:1");
    assert_int_equal(r.outcome, SMTP_LATER);
    assert_int_equal(r.status, 0);
    assert_true(r.words[0]);
    r = deliver("smtp://no-such-host.invalid");
    assert_int_equal(r.outcome, SMTP_LATER);
    assert_true(r.words[0]);
}

static int begin(void **state)
{
    (void)state;
    return smtp_begin(NULL);
}

static int end(void **state)
{
    (void)state;
    smtp_end();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(urls), cmocka_unit_test(nobody_there)};
    return cmocka_run_group_tests(tests, begin, end);
}
