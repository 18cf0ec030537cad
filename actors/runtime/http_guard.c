/*  http_guard.c - a URL parser without leniency, and the deny list of addresses.
 *  The list holds what is not the public internet: RFC 6890 and its successors, plus cloud
 *  metadata. Forms of IPv6 that carry an IPv4 address (mapped, compatible, NAT64, 6to4, Teredo) are
 *  judged by the address inside as well. */
#include "http_guard.h"

#include "error.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>

/* ---- addresses ---- */

typedef struct block4 {
    uint32_t net;
    int bits;
} block4;

#define IP4(a, b, c, d)                                                                            \
    ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

static const block4 denied4[] = {
    {IP4(0, 0, 0, 0), 8},        {IP4(10, 0, 0, 0), 8},     {IP4(100, 64, 0, 0), 10},
    {IP4(127, 0, 0, 0), 8},      {IP4(169, 254, 0, 0), 16}, {IP4(172, 16, 0, 0), 12},
    {IP4(192, 0, 0, 0), 24},     {IP4(192, 0, 2, 0), 24},   {IP4(192, 88, 99, 0), 24},
    {IP4(192, 168, 0, 0), 16},   {IP4(198, 18, 0, 0), 15},  {IP4(198, 51, 100, 0), 24},
    {IP4(203, 0, 113, 0), 24},   {IP4(224, 0, 0, 0), 4},    {IP4(240, 0, 0, 0), 4},
    {IP4(168, 63, 129, 16), 32}, /* a cloud's metadata service on a public address */
};

static bool public4(uint32_t a)
{
    for (size_t i = 0; i < sizeof denied4 / sizeof *denied4; i++)
        if ((a ^ denied4[i].net) >> (32 - denied4[i].bits) == 0) return false;
    return true;
}

typedef struct block6 {
    uint8_t net[16];
    int bits;
} block6;

static const block6 denied6[] = {
    {{0}, 96},                         /* ::, ::1, IPv4-compatible */
    {{0x01, 0}, 64},                   /* 100::/64 discard */
    {{0, 0x64, 0xff, 0x9b, 0, 1}, 48}, /* 64:ff9b:1::/48 local NAT64 */
    {{0x20, 0x01, 0x0d, 0xb8}, 32},    /* documentation */
    {{0x20, 0x01, 0, 2, 0, 0}, 48},    /* benchmarking */
    {{0x20, 0x01, 0, 0x10}, 28},       /* ORCHID */
    {{0x20, 0x01, 0, 0x20}, 28},       /* ORCHIDv2 */
    {{0x3f, 0xff}, 20},                /* documentation */
    {{0x5f, 0}, 16},                   /* segment routing */
    {{0xfc, 0}, 7},                    /* unique local */
    {{0xfe, 0x80}, 10},                /* link-local */
    {{0xfe, 0xc0}, 10},                /* site-local */
    {{0xff, 0}, 8},                    /* multicast */
};

static bool in_block(const uint8_t *a, const uint8_t *net, int bits)
{
    int whole = bits / 8, rest = bits % 8;
    if (memcmp(a, net, (size_t)whole) != 0) return false;
    return rest == 0 || (a[whole] ^ net[whole]) >> (8 - rest) == 0;
}

static uint32_t embedded(const uint8_t *p)
{
    return IP4(p[0], p[1], p[2], p[3]);
}

static bool public6(const uint8_t *a)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    static const uint8_t translated[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0};
    static const uint8_t nat64[12] = {0, 0x64, 0xff, 0x9b};
    static const uint8_t six_to_four[2] = {0x20, 0x02};
    static const uint8_t teredo[4] = {0x20, 0x01, 0, 0};
    if (in_block(a, mapped, 96) || in_block(a, translated, 96) || in_block(a, nat64, 96))
        return public4(embedded(a + 12));
    if (in_block(a, six_to_four, 16)) return public4(embedded(a + 2));
    if (in_block(a, teredo, 32)) return public4(embedded(a + 4)) && public4(~embedded(a + 12));
    for (size_t i = 0; i < sizeof denied6 / sizeof *denied6; i++)
        if (in_block(a, denied6[i].net, denied6[i].bits)) return false;
    return true;
}

bool http_address_public(const struct sockaddr *addr)
{
    if (addr->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, addr, sizeof in);
        return public4(ntohl(in.sin_addr.s_addr));
    }
    if (addr->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, addr, sizeof in6);
        return public6(in6.sin6_addr.s6_addr);
    }
    return false;
}

/* ---- URLs ---- */

static int not_url(sv_error *err, const char *why)
{
    return sv_fail(err, SV_E_INVALID, "url", "The URL is not acceptable: %s.", why);
}

static bool plain_host(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char c = p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_'))
            return false;
    }
    return n > 0 && p[0] != '.' && p[0] != '-';
}

static bool parse_port(const char *p, const char *end, uint16_t *ret)
{
    uint32_t v = 0;
    if (p == end || end - p > 5) return false;
    for (; p < end; p++) {
        if (*p < '0' || *p > '9') return false;
        v = v * 10 + (uint32_t)(*p - '0');
    }
    if (v == 0 || v > 65535) return false;
    *ret = (uint16_t)v;
    return true;
}

static int parse_host(const char *p, const char *end, http_url *u, sv_error *err)
{
    const char *port = NULL;
    const char *host_end;
    if (p < end && *p == '[') {
        host_end = memchr(p, ']', (size_t)(end - p));
        if (host_end == NULL) return not_url(err, "the IPv6 address has no closing bracket");
        u->ipv6 = true;
        p++;
        if (host_end + 1 < end) {
            if (host_end[1] != ':') return not_url(err, "there is text after the IPv6 address");
            port = host_end + 2;
        }
    } else {
        host_end = memchr(p, ':', (size_t)(end - p));
        if (host_end)
            port = host_end + 1;
        else
            host_end = end;
    }
    size_t n = (size_t)(host_end - p);
    if (n == 0 || n > HTTP_HOST_BYTES) return not_url(err, "it has no host or an overlong one");
    for (size_t i = 0; i < n; i++)
        u->host[i] = p[i] >= 'A' && p[i] <= 'Z' ? (char)(p[i] - 'A' + 'a') : p[i];
    u->host[n] = 0;
    struct in6_addr six;
    if (u->ipv6 ? inet_pton(AF_INET6, u->host, &six) != 1 : !plain_host(u->host, n))
        return not_url(err, "the host is neither a name nor an address");
    if (port && !parse_port(port, end, &u->port))
        return not_url(err, "the port is no number from 1 to 65535");
    return 0;
}

/* libcurl must see the same host and port. It spells addresses its own way, so those are compared
 * as addresses; a name that libcurl takes for an address (127.1, 0x7f000001) differs and is
 * refused. */
static bool curl_agrees(const char *url, const http_url *u)
{
    char *host = NULL, *port = NULL, *scheme = NULL;
    bool same = false;
    CURLU *h = curl_url();
    if (h && curl_url_set(h, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_get(h, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
        curl_url_get(h, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
        curl_url_get(h, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK) {
        same = strcasecmp(scheme, u->https ? "https" : "http") == 0 && atoi(port) == u->port;
        size_t n = strlen(host);
        if (u->ipv6) {
            struct in6_addr a, b;
            bool brackets = n > 2 && host[0] == '[' && host[n - 1] == ']';
            if (brackets) host[n - 1] = 0;
            same = same && brackets && inet_pton(AF_INET6, host + 1, &a) == 1 &&
                   inet_pton(AF_INET6, u->host, &b) == 1 && memcmp(&a, &b, sizeof a) == 0;
        } else {
            same = same && strcasecmp(host, u->host) == 0;
        }
    }
    curl_free(host);
    curl_free(port);
    curl_free(scheme);
    curl_url_cleanup(h);
    return same;
}

/* Length of "http://" or "https://" at the start, or 0. */
static size_t scheme_length(const char *url, bool *https)
{
    *https = strncasecmp(url, "https://", 8) == 0;
    return *https ? 8 : strncasecmp(url, "http://", 7) == 0 ? 7 : 0;
}

int http_url_parse(const char *url, http_url *ret, sv_error *err)
{
    http_url u = {0};
    size_t n = strlen(url);
    if (n > HTTP_URL_BYTES) return not_url(err, "it is longer than 2048 bytes");
    for (size_t i = 0; i < n; i++)
        if (url[i] <= ' ' || url[i] >= 0x7f || strchr("\\\"<>^`{|}", url[i]))
            return not_url(err, "it has spaces, control, quoting or non-ASCII characters");
    size_t scheme = scheme_length(url, &u.https);
    if (scheme == 0) return not_url(err, "it does not start with http:// or https://");
    u.port = u.https ? 443 : 80;
    const char *p = url + scheme;
    const char *end = p + strcspn(p, "/?#");
    if (strchr(end, '#')) return not_url(err, "it has a fragment (#)");
    const char *at = memchr(p, '@', (size_t)(end - p));
    if (at) {
        if (memchr(at + 1, '@', (size_t)(end - at - 1))) return not_url(err, "it has two @");
        u.userinfo = true;
        u.user_part = (sv_str){p, (uint32_t)(at + 1 - p)};
        p = at + 1;
    }
    int rc = parse_host(p, end, &u, err);
    if (rc) return rc;
    if (!curl_agrees(url, &u)) return not_url(err, "its host is written in an unusual form");
    *ret = u;
    return 0;
}

int http_url_redact(const char *url, buf *out)
{
    bool https;
    const char *p = url + scheme_length(url, &https);
    const char *end = p + strcspn(p, "/?#");
    const char *at = memrchr(p, '@', (size_t)(end - p));
    if (at == NULL) return buf_puts(out, url);
    int rc = buf_put(out, url, (size_t)(p - url));
    return rc ? rc : buf_puts(out, at + 1);
}

static bool literal_forbidden(const http_url *u)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (u->ipv6)
        return inet_pton(AF_INET6, u->host, &in6.sin6_addr) == 1 &&
               !http_address_public((struct sockaddr *)&in6);
    return inet_pton(AF_INET, u->host, &in.sin_addr) == 1 &&
           !http_address_public((struct sockaddr *)&in);
}

/* localhost and names below it mean this machine wherever they are asked (RFC 6761, 6.3). */
static bool names_this_machine(const char *host)
{
    static const char name[] = "localhost";
    size_t n = strlen(host), own = sizeof name - 1;
    if (n > 0 && host[n - 1] == '.') n--;
    if (n < own || memcmp(host + n - own, name, own) != 0) return false;
    return n == own || host[n - own - 1] == '.';
}

int http_url_check(const char *url, http_trust trust, sv_error *err)
{
    http_url u;
    int rc = http_url_parse(url, &u, err);
    if (rc || trust == HTTP_TRUST_OPERATOR) return rc;
    if (trust == HTTP_TRUST_OPERATOR_TLS) {
        if (u.https || !http_address_text_public(u.host)) return 0; /* a name: judged at connect */
        return sv_fail(err, SV_E_URL_FORBIDDEN, "url",
                       "A public address may only be called with https.");
    }
    if (!u.https)
        return sv_fail(err, SV_E_URL_FORBIDDEN, "url", "Only https addresses may be called.");
    if (u.port != 443 && u.port != 8443)
        return sv_fail(err, SV_E_URL_FORBIDDEN, "url",
                       "Only the ports 443 and 8443 may be called.");
    if (u.userinfo)
        return sv_fail(err, SV_E_URL_FORBIDDEN, "url",
                       "A user name or password in the URL is not allowed.");
    if (literal_forbidden(&u) || names_this_machine(u.host))
        return sv_fail(err, SV_E_URL_FORBIDDEN, "url", NULL);
    return 0;
}

/* ---- headers ---- */

static bool token_char(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

bool http_header_clean(const char *line)
{
    const unsigned char *p = (const unsigned char *)line;
    size_t n = 0;
    while (token_char(p[n]))
        n++;
    if (n == 0 || p[n] != ':') return false;
    for (p += n; *p; p++)
        if ((*p < 0x20 && *p != '\t') || *p == 0x7f) return false;
    return true;
}

bool http_address_text_public(const char *text)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
        return http_address_public((struct sockaddr *)&in);
    return inet_pton(AF_INET6, text, &in6.sin6_addr) == 1 &&
           http_address_public((struct sockaddr *)&in6);
}
