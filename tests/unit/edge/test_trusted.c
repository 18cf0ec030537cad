/*  Trusted proxies: the list and its errors, addresses, and chains of which only what trusted proxies
 *  added is believed. */
#include "error.h"
#include "trusted.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static http_address at(const char *text)
{
    http_address a = {0};
    if (!trusted_address(sv_cstr(text), &a)) fail_msg("%s", text);
    return a;
}

static bool covered(const char *net, const char *address)
{
    trusted t = {0};
    sv_error err = {0};
    http_address a = at(address);
    if (trusted_add(&t, sv_cstr(net), &err)) fail_msg("%s", err.message);
    return trusted_has(&t, &a);
}

static void networks(void **state)
{
    (void)state;
    assert_true(covered("192.0.2.1", "192.0.2.1"));
    assert_true(covered("192.0.2.1", "::ffff:192.0.2.1"));
    assert_true(covered("::ffff:192.0.2.1", "192.0.2.1"));
    assert_false(covered("192.0.2.1", "192.0.2.2"));
    assert_true(covered("10.0.0.0/8", "10.255.255.255"));
    assert_false(covered("10.0.0.0/8", "11.0.0.0"));
    assert_true(covered("10.0.0.128/25", "10.0.0.128"));
    assert_false(covered("10.0.0.128/25", "10.0.0.127"));
    assert_true(covered("128.0.0.0/1", "255.1.1.1"));
    assert_false(covered("128.0.0.0/1", "127.1.1.1"));
    assert_false(covered("128.0.0.0/1", "ffff::"));
    assert_true(covered("192.0.2.1/32", "192.0.2.1"));
    assert_true(covered("2001:db8::/33", "2001:db8:7fff::1"));
    assert_false(covered("2001:db8::/33", "2001:db8:8000::1"));
    assert_true(covered("::1", "::1"));
    assert_false(covered("::1", "::2"));
    assert_true(covered("8000::/1", "ffff::1"));
    assert_false(covered("8000::/1", "10.0.0.1"));
    trusted none = {0};
    http_address a = at("127.0.0.1");
    assert_false(trusted_has(&none, &a));
}

static void bad_entries_are_named(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", "is no IP address"},
        {"localhost", "is no IP address"},
        {"1.2.3", "is no IP address"},
        {"1.2.3.4.5", "is no IP address"},
        {"01.2.3.4", "is no IP address"},
        {"[::1]", "is no IP address"},
        {"fe80::1%eth0", "is no IP address"},
        {"/8", "is no IP address"},
        {"1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111", "is no IP"},
        {"10.0.0.0/", "prefix"},
        {"10.0.0.0/33", "prefix"},
        {"10.0.0.0/8x", "prefix"},
        {"10.0.0.0/-1", "prefix"},
        {"10.0.0.0/0008", "prefix"},
        {"2001:db8::/129", "prefix"},
        {"0.0.0.0/0", "everybody"},
        {"::/0", "everybody"},
        {"10.0.0.1/8", "bits set behind"},
        {"2001:db8::1/64", "bits set behind"},
    };
    trusted t = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sv_error err = {0};
        assert_int_equal(trusted_add(&t, sv_cstr(cases[i][0]), &err), SV_E_CONFIG);
        assert_string_equal(err.field, "edge.trusted_proxies");
        if (strstr(err.message, cases[i][1]) == NULL) fail_msg("%s", err.message);
    }
    sv_error err = {0};
    assert_int_equal(trusted_add(&t, (sv_str){"1.2.3.4\0", 8}, &err), SV_E_CONFIG);
    for (int i = 0; i < TRUSTED_MOST; i++)
        assert_int_equal(trusted_add(&t, sv_cstr("::1"), NULL), 0);
    err = (sv_error){0};
    assert_int_equal(trusted_add(&t, sv_cstr("::1"), &err), SV_E_CONFIG);
    assert_non_null(strstr(err.message, "more than 64"));
}

static void addresses(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",       "x",    "1.2.3.4:", "1.2.3.4:x", "1.2.3.4:65536",  "[1.2.3.4]", "[::1", "[::1]x",
        "[::1]:", "::1]", "unknown",  "_hidden",   "1.2.3.4:123456", "[]",        ":80"};
    http_address a;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (trusted_address(sv_cstr(bad[i]), &a)) fail_msg("%s", bad[i]);
    assert_int_equal(at("1.2.3.4:65535").port, 65535);
    assert_int_equal(at("[2001:db8::1]:80").port, 80);
    assert_int_equal(at("2001:db8::1").port, 0);
    assert_int_equal(at("[::1]").ip[15], 1);
}

/* ---- chains ---- */

typedef struct sent {
    const char *name, *value;
} sent;

static trusted_client client(const char *peer, const sent *headers)
{
    trusted t = {0};
    http_header list[48];
    http_request r = {.host = sv_cstr("edge"), .headers = list};
    http_address from = at(peer);
    trusted_client c;
    trusted_add(&t, sv_cstr("10.0.0.0/8"), NULL);
    trusted_add(&t, sv_cstr("fd00::/8"), NULL);
    for (; headers && headers->name; headers++)
        list[r.n_headers++] = (http_header){sv_cstr(headers->name), sv_cstr(headers->value)};
    trusted_client_of(&t, &from, &r, &c);
    return c;
}

static void is_client(const char *peer, const sent *headers, const char *want)
{
    trusted_client c = client(peer, headers);
    char text[46];
    http_address_text(&c.address, text);
    if (strcmp(text, want) != 0) fail_msg("%s, not %s for %s", text, want, headers[0].value);
}

#define FOR(value)                                                                                 \
    (sent[])                                                                                       \
    {                                                                                              \
        {"X-Forwarded-For", value},                                                                \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }
#define FORWARDED(value)                                                                           \
    (sent[])                                                                                       \
    {                                                                                              \
        {"Forwarded", value},                                                                      \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

static void chains_are_read_from_the_right(void **state)
{
    (void)state;
    is_client("10.0.0.1", FOR("192.0.2.7"), "192.0.2.7");
    is_client("10.0.0.1", FOR("6.6.6.6, 192.0.2.7"), "192.0.2.7");
    is_client("10.0.0.1", FOR("6.6.6.6,192.0.2.7 , 10.9.9.9"), "192.0.2.7");
    is_client("10.0.0.1", FOR("10.0.0.3, 10.0.0.2"), "10.0.0.3");
    is_client("10.0.0.1", FOR("nonsense, 192.0.2.7"), "192.0.2.7");
    is_client("fd00::1", FOR("2001:db8::7"), "2001:db8::7");
    is_client("fd00::1", FOR("[2001:db8::7]:99, [fd00::2]"), "2001:db8::7");
    is_client("10.0.0.1", FOR("192.0.2.7:1234"), "192.0.2.7");
    is_client(
        "10.0.0.1",
        (sent[]){{"x-forwarded-for", "6.6.6.6, 192.0.2.7"}, {"X-FORWARDED-FOR", "10.1.1.1"}, {0}},
        "192.0.2.7");
    is_client("10.0.0.1", FORWARDED("for=192.0.2.7"), "192.0.2.7");
    is_client("10.0.0.1", FORWARDED("for=6.6.6.6, For=\"192.0.2.7:80\";proto=https , for=10.0.0.2"),
              "192.0.2.7");
    is_client("fd00::1", FORWARDED("by=_x;for=\"[2001:db8::7]:4711\""), "2001:db8::7");
    assert_int_equal(client("10.0.0.1", FOR("192.0.2.7:1234")).address.port, 1234);
}

/* S-H5: what strangers say is not heard, and what cannot be read changes nothing. */
static void the_peer_stays(void **state)
{
    (void)state;
    static const char *const bad_for[] = {"",          "unknown",   "192.0.2.7,", "192.0.2.7, x",
                                          "1.2.3.4.5", "a b",       ",",          "192.0.2.7;",
                                          "[::1",      "1.2.3.4:x", "_hidden"};
    static const char *const bad_forwarded[] = {
        "",
        "for",
        "for=",
        "=x",
        "for=unknown",
        "for=_hidden",
        "for=\"192.0.2.7",
        "for=\"192.0.2.\\7\"",
        "for=192.0.2.7;",
        "for=192.0.2.7,",
        "for=192.0.2.7 proto=https",
        "for=192.0.2.7;for=192.0.2.7",
        "for=[::1]",
        "for =192.0.2.7",
        "proto=https",
        "for=192.0.2.7;proto=a@b",
    };
    char many[40 * TRUSTED_HOPS] = "10.0.0.2";
    is_client("192.0.2.1", FOR("6.6.6.6"), "192.0.2.1");
    is_client("192.0.2.1", FORWARDED("for=6.6.6.6"), "192.0.2.1");
    for (size_t i = 0; i < sizeof bad_for / sizeof *bad_for; i++)
        is_client("10.0.0.1", FOR(bad_for[i]), "10.0.0.1");
    for (size_t i = 0; i < sizeof bad_forwarded / sizeof *bad_forwarded; i++)
        is_client("10.0.0.1", FORWARDED(bad_forwarded[i]), "10.0.0.1");
    for (int i = 1; i < TRUSTED_HOPS; i++)
        strcat(many, ",10.0.0.2");
    is_client("10.0.0.1", FOR(many), "10.0.0.2");
    strcat(many, ",192.0.2.7");
    is_client("10.0.0.1", FOR(many), "10.0.0.1");
    char elements[32 * TRUSTED_HOPS] = "for=10.0.0.2";
    for (int i = 0; i < TRUSTED_HOPS; i++)
        strcat(elements, ",for=10.0.0.2");
    is_client("10.0.0.1", FORWARDED(elements), "10.0.0.1");
    is_client("10.0.0.1", (sent[]){{"forwarded", "for=6.6.6.6"}, {"forwarded", "x"}, {0}},
              "10.0.0.1");
}

static void two_kinds_must_agree(void **state)
{
    (void)state;
    is_client("10.0.0.1",
              (sent[]){{"x-forwarded-for", "192.0.2.7"}, {"forwarded", "for=192.0.2.7"}, {0}},
              "192.0.2.7");
    is_client("10.0.0.1",
              (sent[]){{"x-forwarded-for", "192.0.2.7"}, {"forwarded", "for=6.6.6.6"}, {0}},
              "10.0.0.1");
    is_client("10.0.0.1", (sent[]){{"x-forwarded-for", "192.0.2.7"}, {"forwarded", "x"}, {0}},
              "10.0.0.1");
    is_client("10.0.0.1", (sent[]){{"x-forwarded-for", "x"}, {"forwarded", "for=6.6.6.6"}, {0}},
              "10.0.0.1");
}

static void scheme_and_host(void **state)
{
    (void)state;
    trusted_client c =
        client("192.0.2.1",
               (sent[]){{"x-forwarded-proto", "https"}, {"x-forwarded-host", "evil.example"}, {0}});
    assert_false(c.secure);
    assert_true(sv_str_is(c.host, "edge"));
    c = client(
        "10.0.0.1",
        (sent[]){{"X-Forwarded-Proto", "HTTPS"}, {"X-Forwarded-Host", "chat.example:8443"}, {0}});
    assert_true(c.secure);
    assert_true(sv_str_is(c.host, "chat.example:8443"));
    c = client("10.0.0.1", (sent[]){{"x-forwarded-proto", "https"},
                                    {"x-forwarded-proto", "https"},
                                    {"x-forwarded-host", "a b"},
                                    {0}});
    assert_false(c.secure);
    assert_true(sv_str_is(c.host, "edge"));
    c = client("10.0.0.1",
               (sent[]){{"x-forwarded-proto", "https, http"}, {"x-forwarded-host", ""}, {0}});
    assert_false(c.secure);
    assert_true(sv_str_is(c.host, "edge"));
    /* Of Forwarded, the element of the client's. */
    c = client("10.0.0.1", FORWARDED("for=6.6.6.6;host=evil.example, "
                                     "for=192.0.2.7;proto=https;host=\"chat.example\", "
                                     "for=10.0.0.2;proto=http;host=inner"));
    assert_true(c.secure);
    assert_true(sv_str_is(c.host, "chat.example"));
    c = client(
        "10.0.0.1",
        (sent[]){{"forwarded", "for=192.0.2.7;proto=https"}, {"x-forwarded-proto", "http"}, {0}});
    assert_false(c.secure);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks),        cmocka_unit_test(bad_entries_are_named),
        cmocka_unit_test(addresses),       cmocka_unit_test(chains_are_read_from_the_right),
        cmocka_unit_test(the_peer_stays),  cmocka_unit_test(two_kinds_must_agree),
        cmocka_unit_test(scheme_and_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
