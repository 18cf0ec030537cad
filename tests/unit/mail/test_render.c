/*  test_render.c - mails as text, HTML and message: hostile names, header injection, Russian, links,
 *  addresses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "compose.h"
#include "error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ID "01234567-0123-7123-8123-0123456789ab"

static const char *const names[] = {
    "verify_email",     "reset_password",     "invitation",       "taken_address",
    "password_changed", "two_factor_changed", "account_disabled", "test"};
enum { NAMES = sizeof names / sizeof *names };

static outbox_mail mail_of(const char *template, const char *locale)
{
    outbox_mail m = {.id = ID,
                     .to = "anna@example.org",
                     .link = "https://example.org/a?b=1&c=2",
                     .name = "Anna",
                     .org = "Acme",
                     .detail = "192.0.2.1",
                     .created = 1900000000000};
    snprintf(m.template, sizeof m.template, "%s", template);
    snprintf(m.locale, sizeof m.locale, "%s", locale);
    return m;
}

typedef struct drawn {
    char subject[RENDER_SUBJECT + 1], text[RENDER_TEXT + 1], html[RENDER_HTML + 1];
} drawn;

static drawn *draw(const outbox_mail *m)
{
    static drawn d;
    rendered r;
    sv_error err = {.code = 0};
    assert_int_equal(render(m, &r, &err), 0);
    snprintf(d.subject, sizeof d.subject, "%.*s", SV_FMT(buf_str(&r.subject)));
    snprintf(d.text, sizeof d.text, "%.*s", SV_FMT(buf_str(&r.text)));
    snprintf(d.html, sizeof d.html, "%.*s", SV_FMT(buf_str(&r.html)));
    render_free(&r);
    return &d;
}

static char *message(const sender *s, const outbox_mail *m)
{
    static char text[COMPOSE_BYTES + 1];
    rendered r;
    buf out;
    buf_init(&out, COMPOSE_BYTES);
    assert_int_equal(render(m, &r, NULL), 0);
    assert_int_equal(compose(s, m, &r, &out), 0);
    snprintf(text, sizeof text, "%.*s", SV_FMT(buf_str(&out)));
    assert_int_equal(strlen(text), out.n); /* no NUL */
    render_free(&r);
    buf_free(&out);
    return text;
}

static const sender someone = {.from = {"Samovar", "samovar@example.org"}};

static void every_template_in_every_language(void **state)
{
    (void)state;
    static const char *const locales[] = {"en", "ru"};
    for (int i = 0; i < NAMES; i++) {
        for (int l = 0; l < 2; l++) {
            outbox_mail m = mail_of(names[i], locales[l]);
            sv_error err = {.code = 0};
            assert_int_equal(render_check(&m, &err), 0);
            drawn *d = draw(&m);
            assert_true(d->subject[0]);
            assert_non_null(strstr(d->text, "Anna"));
            assert_non_null(strstr(d->text, "\r\nhttps://example.org/a?b=1&c=2\r\n"));
            assert_non_null(strstr(d->text, "Acme"));
            assert_non_null(strstr(d->text, "192.0.2.1"));
            assert_non_null(strstr(d->html, "href=\"https://example.org/a?b=1&amp;c=2\""));
            assert_non_null(strstr(d->html, "Acme"));
            assert_non_null(strstr(d->html, "prefers-color-scheme: dark"));
            assert_non_null(strstr(d->html, l ? "lang=\"ru\"" : "lang=\"en\""));
            assert_null(strstr(d->html, "<img"));
            assert_null(strstr(d->html, "url("));
            assert_null(strstr(d->text, "{org}"));
            assert_null(strstr(d->html, "{org}"));
            assert_null(strstr(d->subject, "{org}"));
            bool cyrillic = strstr(d->text, "\xd0") != NULL;
            assert_int_equal(cyrillic, l == 1);
        }
    }
}

static void little_is_enough(void **state)
{
    (void)state;
    outbox_mail m = mail_of("test", "");
    m.link[0] = m.name[0] = m.org[0] = m.detail[0] = 0;
    assert_int_equal(render_check(&m, NULL), 0);
    assert_string_equal(m.locale, "en");
    drawn *d = draw(&m);
    assert_ptr_equal(strstr(d->text, "Hello,\r\n"), d->text);
    assert_null(strstr(d->html, "href"));
}

static void refused(const outbox_mail *from, int code, const char *field)
{
    outbox_mail m = *from;
    sv_error err = {.code = 0};
    assert_int_equal(render_check(&m, &err), code);
    assert_string_equal(err.field, field);
}

static void what_is_missing_or_wrong_is_named(void **state)
{
    (void)state;
    outbox_mail m = mail_of("nothing", "en");
    refused(&m, SV_E_INVALID, "template");
    m = mail_of("test", "de");
    refused(&m, SV_E_INVALID, "locale");
    static const char *const need_link[] = {"verify_email", "reset_password", "invitation"};
    for (int i = 0; i < 3; i++) {
        m = mail_of(need_link[i], "en");
        m.link[0] = 0;
        refused(&m, SV_E_MISSING_FIELD, "link");
    }
    m = mail_of("invitation", "en");
    m.org[0] = 0;
    refused(&m, SV_E_MISSING_FIELD, "org");
    static const char *const links[] = {"javascript:alert(1)",
                                        "ftp://example.org/",
                                        "https://",
                                        "https:///x",
                                        "//example.org",
                                        "https://good@evil.example/",
                                        "https://example.org/a b",
                                        "https://example.org/\r\nBcc: x@example.org",
                                        "https://example.org/\"onclick=",
                                        "https://example.org/<script>",
                                        "https://пример.example/"};
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        m = mail_of("verify_email", "en");
        snprintf(m.link, sizeof m.link, "%s", links[i]);
        refused(&m, SV_E_INVALID, "link");
    }
}

static void addresses(void **state)
{
    (void)state;
    static const char *const good[] = {"a@b", "anna.b+c@mail.example.org", "анна@пример.рф",
                                       "x_y-z@localhost", "o'neil@example.org"};
    static const char *const bad[] = {"",
                                      "anna",
                                      "@example.org",
                                      "anna@",
                                      "a@b@c",
                                      "a b@example.org",
                                      "a@b\r\nX: y",
                                      "a@b>",
                                      "<a@b>",
                                      "a@b,c@d",
                                      "a@.b",
                                      "a@b.",
                                      "a@b..c",
                                      ".a@b",
                                      "a.@b",
                                      "-f@b",
                                      "a@-b",
                                      "\"a b\"@c",
                                      "a@[1.2.3.4]",
                                      "a@b\x7f",
                                      "a@b/c"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(address_ok(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        outbox_mail m = mail_of("test", "en");
        assert_false(address_ok(bad[i]));
        snprintf(m.to, sizeof m.to, "%s", bad[i]);
        refused(&m, SV_E_INVALID, "to");
    }
}

static void hostile_names(void **state)
{
    (void)state;
    outbox_mail m = mail_of("invitation", "en");
    snprintf(m.name, sizeof m.name, "<script>alert('x')</script>&amp;\"");
    snprintf(m.org, sizeof m.org, "Big\r\nBcc: all@example.org\r\n\r\n<b>win.example</b>");
    snprintf(m.detail, sizeof m.detail,
             "a\xe2\x80\xae"
             "b\xe2\x80\xa8"
             "c\x1b[2Jd");
    drawn *d = draw(&m);
    assert_null(strstr(d->html, "<script"));
    assert_null(strstr(d->html, "<b>win"));
    assert_non_null(
        strstr(d->html, "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;amp;&quot;"));
    /* A line of its own, a link or another direction of writing cannot be made. */
    assert_string_equal(d->subject,
                        "Invitation to Big Bcc: all@example.\xe2\x81\xa0org <b>win.\xe2\x81\xa0"
                        "example</b>");
    assert_null(strstr(d->text, "\r\nBcc"));
    assert_non_null(strstr(d->text, "Invited by: a b c [2Jd\r\n"));
    assert_null(strchr(d->text, 0x1b));
    char *text = message(&someone, &m);
    char *body = strstr(text, "\r\n\r\n");
    assert_non_null(body);
    *body = 0;
    assert_null(strcasestr(text, "\nBcc"));
    assert_non_null(strstr(text, "Subject: =?UTF-8?B?"));
}

static void the_longest_values_fit(void **state)
{
    (void)state;
    outbox_mail m = mail_of("invitation", "ru");
    memset(m.link + 20, '&', OUTBOX_LINK - 20);
    memset(m.name, '\'', OUTBOX_TEXT);
    for (int i = 0; i < OUTBOX_TEXT; i += 2)
        memcpy(m.org + i, ".&", 2);
    memset(m.detail, '"', OUTBOX_TEXT);
    assert_int_equal(render_check(&m, NULL), 0);
    message(&someone, &m);
}

static void a_sent_mail_has_no_link(void **state)
{
    (void)state;
    outbox_mail m = mail_of("reset_password", "en");
    m.link[0] = 0;
    drawn *d = draw(&m);
    assert_non_null(strstr(d->text, "the link was removed"));
    assert_null(strstr(d->html, "href"));
}

/* ---- the message ---- */

static void header_lines(void **state)
{
    (void)state;
    outbox_mail m = mail_of("verify_email", "en");
    char *text = message(&someone, &m);
    assert_non_null(strstr(text, "Date: Sun, 17 Mar 2030 17:46:40 +0000\r\n"));
    assert_non_null(strstr(text, "\r\nFrom: \"Samovar\"\r\n <samovar@example.org>\r\n"));
    assert_non_null(strstr(text, "\r\nTo: anna@example.org\r\n"));
    assert_non_null(strstr(text, "\r\nSubject: Confirm your e-mail address\r\n"));
    assert_non_null(strstr(text, "\r\nMessage-ID: <" ID "@example.org>\r\n"));
    assert_non_null(strstr(text, "\r\nAuto-Submitted: auto-generated\r\n"));
    assert_null(strstr(text, "Reply-To"));
    char first[COMPOSE_BYTES];
    snprintf(first, sizeof first, "%s", text);
    m.tries = 5;
    assert_string_equal(message(&someone, &m), first); /* the same at every try */
    sender two = someone;
    assert_int_equal(mailbox_parse("help@example.org", &two.reply_to, NULL), 0);
    assert_non_null(strstr(message(&two, &m), "\r\nReply-To: help@example.org\r\n"));
    for (const char *p = message(&someone, &m), *end; (end = strchr(p, '\n')); p = end + 1) {
        assert_true(end - p < 200);
        assert_true(end > p && end[-1] == '\r');
        assert_true(*p != '.'); /* nothing to stuff */
        for (const char *c = p; c < end - 1; c++)
            assert_in_range(*c, ' ', '~');
    }
}

static int value_of(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

static size_t decode(const char *p, size_t n, char *to)
{
    size_t out = 0;
    uint32_t bits = 0, have = 0;
    for (size_t i = 0; i < n; i++) {
        if (value_of(p[i]) < 0) continue;
        bits = bits << 6 | (uint32_t)value_of(p[i]);
        have += 6;
        if (have >= 8) to[out++] = (char)(bits >> (have -= 8) & 0xff);
    }
    to[out] = 0;
    return out;
}

static void russian_subjects_are_encoded_words(void **state)
{
    (void)state;
    outbox_mail m = mail_of("invitation", "ru");
    snprintf(m.org, sizeof m.org, "Общество с ограниченной ответственностью «Самовар и сыновья»");
    drawn *d = draw(&m);
    char want[RENDER_SUBJECT + 1], got[RENDER_SUBJECT + 1] = "";
    snprintf(want, sizeof want, "%s", d->subject);
    const char *p = strstr(message(&someone, &m), "\r\nSubject: ") + 11;
    for (size_t at = 0; strncmp(p, "=?UTF-8?B?", 10) == 0;) {
        const char *end = strstr(p + 10, "?=");
        assert_non_null(end);
        assert_true(end + 2 - p <= 75);
        at += decode(p + 10, (size_t)(end - p) - 10, got + at);
        assert_true((got[at - 1] & 0xc0) != 0xc0); /* ends with a whole character */
        assert_memory_equal(end + 2, "\r\n", 2);
        p = end + 4 + (end[4] == ' ');
    }
    assert_string_equal(got, want);
    assert_non_null(strstr(want, "Самовар и сыновья"));
}

static void bodies_come_back(void **state)
{
    (void)state;
    outbox_mail m = mail_of("reset_password", "ru");
    char want[RENDER_TEXT + 1], got[RENDER_TEXT + 1];
    snprintf(want, sizeof want, "%s", draw(&m)->text);
    char *text = message(&someone, &m);
    char *part = strstr(text, "Content-Type: text/plain; charset=utf-8");
    assert_non_null(part);
    char *begin = strstr(part, "\r\n\r\n") + 4, *end = strstr(begin, "--=_" ID);
    assert_non_null(end);
    decode(begin, (size_t)(end - begin), got);
    assert_string_equal(got, want);
    assert_non_null(strstr(end, "Content-Type: text/html; charset=utf-8"));
    assert_string_equal(text + strlen(text) - strlen("--=_" ID "--\r\n"), "--=_" ID "--\r\n");
}

static void mailboxes(void **state)
{
    (void)state;
    mailbox b;
    assert_int_equal(mailbox_parse("a@b", &b, NULL), 0);
    assert_string_equal(b.address, "a@b");
    assert_string_equal(b.name, "");
    assert_int_equal(mailbox_parse("\"Our Samovar\"  <a@b>", &b, NULL), 0);
    assert_string_equal(b.name, "Our Samovar");
    assert_int_equal(mailbox_parse("Самовар <a@b>", &b, NULL), 0);
    sender s = {.from = b};
    outbox_mail m = mail_of("test", "en");
    assert_non_null(
        strstr(message(&s, &m), "\r\nFrom: =?UTF-8?B?0KHQsNC80L7QstCw0YA=?=\r\n <a@b>"));
    static const char *const bad[] = {"",       "nobody",       "a@b, c@d", "X <a@b",
                                      "X a@b>", "X\r\nY <a@b>", "<>",       "X <a@b> y"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(mailbox_parse(bad[i], &b, NULL), SV_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_template_in_every_language),
        cmocka_unit_test(little_is_enough),
        cmocka_unit_test(what_is_missing_or_wrong_is_named),
        cmocka_unit_test(addresses),
        cmocka_unit_test(hostile_names),
        cmocka_unit_test(the_longest_values_fit),
        cmocka_unit_test(a_sent_mail_has_no_link),
        cmocka_unit_test(header_lines),
        cmocka_unit_test(russian_subjects_are_encoded_words),
        cmocka_unit_test(bodies_come_back),
        cmocka_unit_test(mailboxes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
