/*  proxy_protocol.c - 12 bytes of signature, version and command, family and transport, a length, then
 *  addresses and TLVs within that length. */
#include "proxy_protocol.h"

#include "error.h"

enum {
    FIXED = 16,
    LOCAL = 0x20,
    PROXY = 0x21,
    UNSPECIFIED = 0x00,
    TCP4 = 0x11,
    TCP6 = 0x21,
    TCP4_BYTES = 12,
    TCP6_BYTES = 36,
    TLV_BYTES = 3
};

static int bad(sv_error *err, const char *why)
{
    return sv_fail(err, SV_E_HTTP_MALFORMED, NULL, "The PROXY protocol header is malformed: %s.",
                   why);
}

static uint32_t number(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

/* Type, length, value, one behind the other up to the end. */
static bool tile(const uint8_t *p, size_t n)
{
    while (n >= TLV_BYTES && number(p + 1) <= n - TLV_BYTES) {
        size_t used = TLV_BYTES + number(p + 1);
        p += used;
        n -= used;
    }
    return n == 0;
}

static int parse_addresses(const uint8_t *p, size_t n, uint8_t family, proxy_header *ret,
                           sv_error *err)
{
    size_t used = family == TCP4 ? TCP4_BYTES : TCP6_BYTES;
    http_address *from = &ret->from;
    if (n < used) return bad(err, "it is too short for its addresses");
    if (family == TCP4) {
        memset(from->ip, 0, 10);
        from->ip[10] = from->ip[11] = 0xff;
        memcpy(from->ip + 12, p, 4);
        from->port = (uint16_t)number(p + 8);
    } else {
        memcpy(from->ip, p, 16);
        from->port = (uint16_t)number(p + 32);
    }
    return tile(p + used, n - used) ? 0 : bad(err, "its further fields do not fill it");
}

int proxy_header_parse(const void *bytes, size_t n, proxy_header *ret, sv_error *err)
{
    static const uint8_t signature[12] = "\r\n\r\n\0\r\nQUIT\n";
    const uint8_t *p = bytes;
    size_t known = n < sizeof signature ? n : sizeof signature;
    if (n >= 6 && memcmp(p, "PROXY ", 6) == 0)
        return bad(err, "it is of version 1; have the proxy send version 2");
    if (memcmp(p, signature, known) != 0 && memcmp(p, "PROXY ", n < 6 ? n : 6) != 0)
        return bad(err, "it does not begin with the signature");
    if (n < FIXED) return 1;
    uint32_t length = number(p + 14);
    if (p[12] != LOCAL && p[12] != PROXY) return bad(err, "its version or command is unknown");
    if (FIXED + length > PROXY_HEADER_BYTES) return bad(err, "it is too long");
    bool local = p[12] == LOCAL || p[13] == UNSPECIFIED;
    if (!local && p[13] != TCP4 && p[13] != TCP6) return bad(err, "it is not about TCP");
    if (n < FIXED + length) return 1;
    *ret = (proxy_header){.bytes = FIXED + length, .local = local};
    return local ? 0 : parse_addresses(p + FIXED, length, p[13], ret, err);
}
