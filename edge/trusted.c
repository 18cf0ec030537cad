/*  trusted.c - chains of addresses are cut into an array, then walked from its end. */
#include "trusted.h"

#include "error.h"
#include "http_parser.h"

#include <arpa/inet.h>

enum { ADDRESS_BYTES = 64 };

typedef struct hop {
    sv_str from, proto, host;
} hop;

typedef struct chain {
    hop hops[TRUSTED_HOPS];
    uint32_t n;
    bool bad;
} chain;

/* ---- addresses ---- */

/* `text` is an address and nothing else. */
static bool parse_ip(sv_str text, uint8_t ip[16], bool *four)
{
    char copy[ADDRESS_BYTES];
    struct in_addr v4;
    if (text.n == 0 || text.n >= sizeof copy || memchr(text.p, 0, text.n)) return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = 0;
    *four = inet_pton(AF_INET, copy, &v4) == 1;
    if (!*four) return inet_pton(AF_INET6, copy, ip) == 1;
    memset(ip, 0, 10);
    ip[10] = ip[11] = 0xff;
    memcpy(ip + 12, &v4, 4);
    return true;
}

/* 1 to `digits` digits. */
static bool parse_number(sv_str s, uint32_t digits, uint32_t most, uint32_t *ret)
{
    uint32_t value = 0;
    if (s.n == 0 || s.n > digits) return false;
    for (uint32_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') return false;
        value = value * 10 + (uint32_t)(s.p[i] - '0');
    }
    *ret = value;
    return value <= most;
}

static sv_str cut(const char *from, const char *to)
{
    return (sv_str){from, (uint32_t)(to - from)};
}

bool trusted_address(sv_str text, http_address *ret)
{
    sv_str ip = text, port = {NULL, 0};
    const char *end = text.p + text.n;
    bool four = false;
    uint32_t number = 0;
    if (text.n == 0) return false;
    const char *colon = memchr(text.p, ':', text.n);
    if (text.p[0] == '[') {
        const char *close = memchr(text.p, ']', text.n);
        if (close == NULL) return false;
        ip = cut(text.p + 1, close);
        if (close + 1 < end && close[1] != ':') return false;
        if (close + 1 < end) port = cut(close + 2, end);
        if (close + 1 < end && port.n == 0) return false;
    } else if (colon && memchr(colon + 1, ':', (size_t)(end - colon - 1)) == NULL) {
        ip = cut(text.p, colon);
        port = cut(colon + 1, end);
        if (port.n == 0) return false;
    }
    http_address a = {0};
    if (!parse_ip(ip, a.ip, &four)) return false;
    if (four && text.p[0] == '[') return false; /* brackets are IPv6's */
    if (port.n && !parse_number(port, 5, 65535, &number)) return false;
    a.port = (uint16_t)number;
    *ret = a;
    return true;
}

/* ---- the list ---- */

static int refuse(sv_error *err, sv_str text, const char *why)
{
    return sv_fail(err, SV_E_CONFIG, "edge.trusted_proxies", "\"%.*s\" in edge.trusted_proxies %s",
                   text.n < 100 ? (int)text.n : 100, text.p, why);
}

/* True when a bit behind the prefix is set. */
static bool has_host_bits(const trusted_net *net)
{
    for (uint32_t bit = net->bits; bit < 128; bit++)
        if (net->ip[bit / 8] & (0x80u >> bit % 8)) return true;
    return false;
}

int trusted_add(trusted *t, sv_str text, sv_error *err)
{
    trusted_net net = {.bits = 128};
    bool four = false;
    const char *slash = text.n ? memchr(text.p, '/', text.n) : NULL;
    sv_str ip = slash ? cut(text.p, slash) : text;
    if (!parse_ip(ip, net.ip, &four))
        return refuse(err, text,
                      "is no IP address or network; give 192.0.2.1, 10.0.0.0/8 or 2001:db8::/32.");
    if (slash) {
        uint32_t bits = 0, width = four ? 32 : 128;
        if (!parse_number(cut(slash + 1, text.p + text.n), 3, width, &bits))
            return refuse(err, text,
                          "has a prefix that is no number from 1 to 32 (IPv4) or 128 (IPv6).");
        if (bits == 0)
            return refuse(err, text, "would trust everybody; name the proxies' own networks.");
        net.bits = (uint8_t)(128 - width + bits);
        if (has_host_bits(&net))
            return refuse(err, text,
                          "has bits set behind its prefix; write the network's first address.");
    }
    if (t->n == TRUSTED_MOST)
        return sv_fail(err, SV_E_CONFIG, "edge.trusted_proxies",
                       "edge.trusted_proxies holds more than %d entries; name networks (CIDR).",
                       TRUSTED_MOST);
    t->nets[t->n++] = net;
    return 0;
}

static bool covers(const trusted_net *net, const uint8_t ip[16])
{
    size_t whole = net->bits / 8;
    uint32_t rest = net->bits % 8;
    if (memcmp(net->ip, ip, whole) != 0) return false;
    return rest == 0 || ((net->ip[whole] ^ ip[whole]) >> (8 - rest)) == 0;
}

bool trusted_has(const trusted *t, const http_address *a)
{
    for (uint32_t i = 0; i < t->n; i++)
        if (covers(&t->nets[i], a->ip)) return true;
    return false;
}

/* ---- chains ---- */

static hop *new_hop(chain *c)
{
    if (c->n == TRUSTED_HOPS) {
        c->bad = true;
        return NULL;
    }
    hop *h = &c->hops[c->n++];
    *h = (hop){0};
    return h;
}

static void read_for(chain *c, sv_str value)
{
    const char *at = value.p, *end = value.p + value.n;
    for (;;) {
        const char *comma = at < end ? memchr(at, ',', (size_t)(end - at)) : NULL;
        hop *h = new_hop(c);
        if (h == NULL) return;
        h->from = http_trim(cut(at, comma ? comma : end));
        if (comma == NULL) return;
        at = comma + 1;
    }
}

/* token=token or token="text" at *at; false when it is neither. No backslash passes: what may stand
 * in these values needs none. */
static bool read_pair(const char **at, const char *end, sv_str *name, sv_str *value)
{
    const char *p = *at, *from = p;
    while (p < end && *p != '=' && *p != ';' && *p != ',')
        p++;
    *name = (sv_str){from, (uint32_t)(p - from)};
    if (p == end || *p != '=' || !http_is_token(*name)) return false;
    from = ++p;
    if (p < end && *p == '"') {
        const char *close = memchr(p + 1, '"', (size_t)(end - p - 1));
        if (close == NULL) return false;
        *value = (sv_str){p + 1, (uint32_t)(close - p - 1)};
        *at = close + 1;
        return memchr(value->p, '\\', value->n) == NULL;
    }
    while (p < end && *p != ';' && *p != ',' && !http_is_blank(*p))
        p++;
    *value = (sv_str){from, (uint32_t)(p - from)};
    *at = p;
    return http_is_token(*value);
}

static bool set_once(sv_str *to, sv_str value)
{
    if (to->p) return false;
    *to = value;
    return true;
}

static bool take_pair(hop *h, sv_str name, sv_str value)
{
    if (http_word_is(name, "for")) return set_once(&h->from, value);
    if (http_word_is(name, "proto")) return set_once(&h->proto, value);
    if (http_word_is(name, "host")) return set_once(&h->host, value);
    return true; /* by, and what others may add */
}

static const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && http_is_blank(*at))
        at++;
    return at;
}

static void read_forwarded(chain *c, sv_str value)
{
    const char *at = value.p, *end = value.p + value.n;
    hop *h = new_hop(c);
    while (h) {
        sv_str name, v;
        at = skip_blanks(at, end);
        if (!read_pair(&at, end, &name, &v) || !take_pair(h, name, v)) break;
        at = skip_blanks(at, end);
        if (at == end) return;
        if (*at == ',')
            h = new_hop(c);
        else if (*at != ';')
            break;
        at++;
    }
    c->bad = true;
}

/* The client's hop, and its address: the first from the right that is not trusted, or the leftmost.
 * NULL when an address on the way cannot be read. */
static const hop *client_hop(const trusted *t, const chain *c, http_address *ret)
{
    const hop *found = NULL;
    if (c->bad) return NULL;
    for (uint32_t i = c->n; i > 0; i--) {
        if (!trusted_address(c->hops[i - 1].from, ret)) return NULL;
        found = &c->hops[i - 1];
        if (!trusted_has(t, ret)) break;
    }
    return found;
}

static void read_all(const http_request *r, const char *name, chain *c,
                     void (*read)(chain *c, sv_str value))
{
    for (uint32_t i = 0; i < r->n_headers; i++)
        if (http_word_is(r->headers[i].name, name)) read(c, r->headers[i].value);
}

static void believe_proto(sv_str word, trusted_client *ret)
{
    if (http_word_is(word, "https")) ret->secure = true;
    if (http_word_is(word, "http")) ret->secure = false;
}

static void believe_host(sv_str host, trusted_client *ret)
{
    if (http_is_authority(host)) ret->host = host;
}

void trusted_client_of(const trusted *t, const http_address *peer, const http_request *r,
                       trusted_client *ret)
{
    chain x = {.n = 0}, forwarded = {.n = 0};
    http_address by_x = {0}, by_forwarded = {0};
    uint32_t n = 0;
    *ret = (trusted_client){.address = *peer, .secure = r->secure, .host = r->host};
    if (!trusted_has(t, peer)) return;
    read_all(r, "x-forwarded-for", &x, read_for);
    read_all(r, "forwarded", &forwarded, read_forwarded);
    const hop *xh = client_hop(t, &x, &by_x), *fh = client_hop(t, &forwarded, &by_forwarded);
    if ((x.n || x.bad) && (forwarded.n || forwarded.bad)) {
        bool same = xh && fh && memcmp(by_x.ip, by_forwarded.ip, sizeof by_x.ip) == 0;
        if (!same) xh = fh = NULL;
    }
    if (fh) {
        ret->address = by_forwarded;
        believe_proto(fh->proto, ret);
        believe_host(fh->host, ret);
    }
    if (xh) ret->address = by_x;
    sv_str word = http_header_get(r, "x-forwarded-proto", &n);
    if (n == 1) believe_proto(word, ret);
    word = http_header_get(r, "x-forwarded-host", &n);
    if (n == 1) believe_host(word, ret);
}
