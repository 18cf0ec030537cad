/*  Which URLs and addresses are refused, at both edges of each rule. */
#include "http_guard.h"

#include "error.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static bool is_public(const char *text)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
        return http_address_public((struct sockaddr *)&in);
    assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
    return http_address_public((struct sockaddr *)&in6);
}

static void test_addresses(void **state)
{
    (void)state;
    static const char *const denied[] = {
        "0.0.0.0", "0.255.255.255", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255",
        "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1", "172.31.255.255",
        "192.0.0.1", "192.0.2.7", "192.88.99.1", "192.168.0.1", "192.168.255.255", "198.18.0.1",
        "198.19.255.255", "198.51.100.1", "203.0.113.9", "224.0.0.1", "239.1.1.1", "240.0.0.1",
        "255.255.255.255", "168.63.129.16", "::", "::1", "::ffff:127.0.0.1", "::ffff:10.1.2.3",
        "::127.0.0.1", "::ffff:0:10.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1",
        "2002:7f00:1::", "2002:0a00:0001::1", "2002:a9fe:a9fe::1", "2001:0:0a00:1::", "fc00::1",
        "fdff::1", "fe80::1", "febf::1", "fec0::1", "ff02::1", "2001:db8::1", "100::1", "3fff::1",
        "5f00::1", "2001:2::1", "2001:10::1", "2001:2f::1",
        /* Teredo: server public, client (inverted) 127.0.0.1 */
        "2001:0:808:808:0:0:80ff:fffe"};
    static const char *const allowed[] = {"1.1.1.1",
                                          "9.255.255.255",
                                          "11.0.0.0",
                                          "100.63.255.255",
                                          "100.128.0.0",
                                          "126.255.255.255",
                                          "128.0.0.1",
                                          "169.253.255.255",
                                          "172.15.255.255",
                                          "172.32.0.0",
                                          "192.0.1.1",
                                          "192.167.255.255",
                                          "192.169.0.0",
                                          "198.17.255.255",
                                          "198.20.0.0",
                                          "223.255.255.255",
                                          "168.63.129.17",
                                          "2606:4700::1111",
                                          "::ffff:8.8.8.8",
                                          "64:ff9b::808:808",
                                          "2002:808:808::1",
                                          "2001:4860:4860::8888",
                                          "2001:0:808:808:0:0:f7f7:f7f7"};
    for (size_t i = 0; i < sizeof denied / sizeof *denied; i++)
        if (is_public(denied[i])) fail_msg("%s counts as public", denied[i]);
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
        if (!is_public(allowed[i])) fail_msg("%s counts as private", allowed[i]);
    struct sockaddr other = {.sa_family = AF_UNIX};
    assert_false(http_address_public(&other));
}

static void check(const char *url, http_trust trust, int want)
{
    sv_error err = {0};
    int rc = http_url_check(url, trust, &err);
    if (rc != want) fail_msg("%s: %d %s", url, rc, err.message);
    if (rc) assert_true(err.message[0] != 0);
}

static void test_tenant_urls(void **state)
{
    (void)state;
    check("https://example.com/hook", HTTP_TRUST_TENANT, 0);
    check("https://example.com:8443/", HTTP_TRUST_TENANT, 0);
    check("https://8.8.8.8/", HTTP_TRUST_TENANT, 0);
    check("HTTPS://Example.COM/", HTTP_TRUST_TENANT, 0);
    static const char *const forbidden[] = {
        "http://example.com/",          "https://example.com:80/",
        "https://example.com:8080/",    "https://user@example.com/",
        "https://user:pw@example.com/", "https://127.0.0.1/",
        "https://10.1.2.3:8443/",       "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",   "https://169.254.169.254/latest/meta-data"};
    for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++)
        check(forbidden[i], HTTP_TRUST_TENANT, SV_E_URL_FORBIDDEN);
}

/* Names that mean this machine wherever they are asked, and names that only look so. */
static void test_this_machine(void **state)
{
    (void)state;
    static const char *const own[] = {
        "https://localhost/",           "https://LocalHost:8443/x",  "https://localhost./",
        "https://a.localhost/",         "https://a.b-c.localhost./", "https://localhost.localhost/",
        "https://xlocalhost.localhost/"};
    static const char *const others[] = {
        "https://xlocalhost/",          "https://x-localhost./",  "https://localhost.example.com/",
        "https://localhostx/",          "https://localhos/",      "https://ocalhost/",
        "https://a.xlocalhost/",        "https://l.localhosts./", "https://localhost.com./",
        "https://example.com/localhost"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        check(own[i], HTTP_TRUST_TENANT, SV_E_URL_FORBIDDEN);
        check(own[i], HTTP_TRUST_OPERATOR, 0);
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        check(others[i], HTTP_TRUST_TENANT, 0);
}

static void test_bad_urls(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "example.com",
                                      "ftp://example.com/",
                                      "file:///etc/passwd",
                                      "https:/example.com",
                                      "https://",
                                      "https:///x",
                                      "https://:443/",
                                      "https://exa mple.com/",
                                      "https://example.com/\r\nX: y",
                                      "https://example.com/\x01",
                                      "https://ex\xc3\xa4mple.com/",
                                      "https://example.com:0/",
                                      "https://example.com:65536/",
                                      "https://example.com:4x3/",
                                      "https://example.com:/",
                                      "https://a@b@example.com/",
                                      "https://example.com\\@evil.com/",
                                      "https://[::1/",
                                      "https://[::1]x/",
                                      "https://[zz]/",
                                      "https://[fe80::1%25eth0]/",
                                      "https://%31.1.1.1/",
                                      "https://127.1/",
                                      "https://2130706433/",
                                      "https://0x7f000001/",
                                      "https://0177.0.0.1/",
                                      "https://-a.com/",
                                      "https://.a.com/",
                                      "https://a.com#frag",
                                      "https://a,b/",
                                      "https://a'b/"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        check(bad[i], HTTP_TRUST_TENANT, SV_E_INVALID);
        check(bad[i], HTTP_TRUST_OPERATOR, SV_E_INVALID);
    }
    char longer[2200] = "https://a/";
    memset(longer + 10, 'x', 2100);
    check(longer, HTTP_TRUST_OPERATOR, SV_E_INVALID);
}

static void test_operator_urls(void **state)
{
    (void)state;
    static const char *const good[] = {"http://127.0.0.1:11434/v1",
                                       "http://localhost:8000",
                                       "https://api.openai.com/v1",
                                       "http://[::1]:8080/v1",
                                       "http://user:pw@host.internal:1/v1?x=y",
                                       "http://ollama_1:11434/"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        check(good[i], HTTP_TRUST_OPERATOR, 0);
}

static void test_parse(void **state)
{
    (void)state;
    http_url u;
    assert_int_equal(http_url_parse("http://U:p@HOST.example:81/v1", &u, NULL), 0);
    assert_false(u.https);
    assert_true(u.userinfo);
    assert_string_equal(u.host, "host.example");
    assert_int_equal(u.port, 81);
    assert_int_equal(http_url_parse("https://[::1]/", &u, NULL), 0);
    assert_string_equal(u.host, "::1");
    assert_int_equal(u.port, 443);
}

static void redacted(const char *url, const char *want)
{
    buf b;
    buf_init(&b, 4096);
    assert_int_equal(http_url_redact(url, &b), 0);
    buf_putc(&b, 0);
    assert_string_equal(b.p, want);
    buf_free(&b);
}

static void test_redact(void **state)
{
    (void)state;
    redacted("http://u:secret@h/v1", "http://h/v1");
    redacted("http://u:p@ss@h/v1", "http://h/v1");
    redacted("http://h/v1?a=b@c", "http://h/v1?a=b@c");
    redacted("https://h", "https://h");
}

static void test_headers(void **state)
{
    (void)state;
    assert_true(http_header_clean("Authorization: Bearer x"));
    assert_true(http_header_clean("X-Y:"));
    assert_true(http_header_clean("A:\tb"));
    assert_false(http_header_clean("A: b\r\nC: d"));
    assert_false(http_header_clean("A: b\n"));
    assert_false(http_header_clean("A\r: b"));
    assert_false(http_header_clean("A b: c"));
    assert_false(http_header_clean(": c"));
    assert_false(http_header_clean("A"));
    assert_false(http_header_clean(""));
    assert_false(http_header_clean("A: \x01"));
    assert_false(http_header_clean("A: \x7f"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses), cmocka_unit_test(test_tenant_urls),
        cmocka_unit_test(test_bad_urls),  cmocka_unit_test(test_operator_urls),
        cmocka_unit_test(test_parse),     cmocka_unit_test(test_redact),
        cmocka_unit_test(test_headers),   cmocka_unit_test(test_this_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
