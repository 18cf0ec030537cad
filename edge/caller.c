/*  caller.c - small readers of header values. */
#include "caller.h"

#include "http_parser.h"

#include <arpa/inet.h>
#include <stdio.h>

bool caller_loopback_address(const char *ip)
{
    struct in_addr four;
    struct in6_addr six;
    if (inet_pton(AF_INET, ip, &four) == 1) return ntohl(four.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, ip, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

bool caller_address_shared(const char *listens, bool proxied, bool announced)
{
    if (proxied) return !announced;
    return strcmp(listens, "localhost") == 0 || caller_loopback_address(listens);
}

bool caller_host_ok(sv_str host)
{
    char name[64];
    if (!http_is_authority(host)) return false;
    sv_str h = host;
    if (h.p[0] == '[') {
        const char *end = memchr(h.p, ']', h.n);
        h = (sv_str){h.p + 1, (uint32_t)(end - h.p) - 1};
    } else {
        const char *colon = memchr(h.p, ':', h.n);
        if (colon) h.n = (uint32_t)(colon - h.p);
        if (http_word_is(h, "localhost") || http_word_is(h, "localhost.")) return true;
    }
    if (h.n >= sizeof name) return false;
    memcpy(name, h.p, h.n);
    name[h.n] = 0;
    return caller_loopback_address(name);
}

bool caller_origin_ok(sv_str origin, sv_str host, bool secure)
{
    const char *scheme = secure ? "https://" : "http://";
    uint32_t n = (uint32_t)strlen(scheme);
    if (host.n == 0 || origin.n != n + host.n || memcmp(origin.p, scheme, n) != 0) return false;
    char want[512];
    if (host.n >= sizeof want) return false;
    memcpy(want, host.p, host.n);
    want[host.n] = 0;
    return http_word_is((sv_str){origin.p + n, host.n}, want);
}

bool caller_request_id_ok(sv_str id)
{
    if (id.n == 0 || id.n > REQUEST_ID_BYTES) return false;
    for (uint32_t i = 0; i < id.n; i++) {
        char c = id.p[i];
        bool ok = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                  c == '.' || c == '_' || c == '-';
        if (!ok) return false;
    }
    return true;
}

bool caller_via_has(sv_str via, const char *pseudonym)
{
    /* Each element: protocol, blanks, received-by, maybe a comment. Reading the second word of what
     * stands between commas also looks into comments, which can only find more, never less. */
    uint32_t i = 0;
    while (i < via.n) {
        while (i < via.n && (http_is_blank(via.p[i]) || via.p[i] == ','))
            i++;
        while (i < via.n && !http_is_blank(via.p[i]) && via.p[i] != ',')
            i++;
        while (i < via.n && http_is_blank(via.p[i]))
            i++;
        uint32_t from = i;
        while (i < via.n && !http_is_blank(via.p[i]) && via.p[i] != ',')
            i++;
        if (http_word_is((sv_str){via.p + from, i - from}, pseudonym)) return true;
        while (i < via.n && via.p[i] != ',')
            i++;
    }
    return false;
}

uint32_t caller_seconds(sv_str value)
{
    uint64_t ms = 0;
    uint32_t i = 0, scale = 100;
    for (; i < value.n && value.p[i] >= '0' && value.p[i] <= '9'; i++) {
        ms = ms * 10 + (uint64_t)(value.p[i] - '0') * 1000;
        if (ms > UINT32_MAX) return 0;
    }
    if (i == 0) return 0;
    if (i < value.n && value.p[i] == '.')
        for (i++; i < value.n && value.p[i] >= '0' && value.p[i] <= '9'; i++) {
            ms += (uint64_t)(value.p[i] - '0') * scale;
            scale /= 10;
        }
    return i == value.n && ms <= UINT32_MAX ? (uint32_t)ms : 0;
}
