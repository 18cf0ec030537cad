/*  fuzz_url.c - any text as a URL: what tenants may call is https, of a name or a public address, and
 *  has no user; what may be called by some may be called by those who are trusted more; without its
 *  user part a URL is judged the same. */
#include "error.h"
#include "http_guard.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int check(const char *url, http_trust trust)
{
    sv_error err = {0};
    int rc = http_url_check(url, trust, &err);
    assert(rc == 0 || (rc == err.code && err.message[0]));
    assert(rc == 0 || rc == SV_E_INVALID || rc == SV_E_URL_FORBIDDEN);
    return rc;
}

static void check_parsed(const char *url, const http_url *u)
{
    http_url without;
    buf out;
    assert(u->host[0] && strlen(u->host) <= HTTP_HOST_BYTES && u->port > 0);
    assert(strpbrk(u->host, "@/?#\\ %") == NULL);
    for (const char *p = u->host; *p; p++)
        assert(*p < 'A' || *p > 'Z');
    buf_init(&out, 4096);
    assert(http_url_redact(url, &out) == 0);
    buf_putc(&out, 0);
    assert(http_url_parse(out.p, &without, NULL) == 0);
    assert(!without.userinfo && strcmp(without.host, u->host) == 0);
    assert(without.port == u->port && without.https == u->https);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    http_url u;
    char *url = malloc(size + 1);
    assert(url);
    if (size) memcpy(url, data, size);
    url[size] = 0;
    int rc = http_url_parse(url, &u, NULL);
    if (rc == 0) check_parsed(url, &u);
    int tenant = check(url, HTTP_TRUST_TENANT), tls = check(url, HTTP_TRUST_OPERATOR_TLS);
    int may = check(url, HTTP_TRUST_OPERATOR);
    assert(may == 0 || may == SV_E_INVALID);
    assert((rc == 0) == (may == 0));
    if (tls == 0) assert(may == 0);
    if (tenant == 0) {
        assert(tls == 0 && u.https && !u.userinfo && (u.port == 443 || u.port == 8443));
        struct in_addr four; /* other names are judged at connect */
        bool literal = u.ipv6 || inet_pton(AF_INET, u.host, &four) == 1;
        assert(!literal || http_address_text_public(u.host));
        assert(strcmp(u.host, "localhost") != 0);
    }
    buf out; /* of any text, to log what was refused */
    buf_init(&out, size + 1);
    http_url_redact(url, &out);
    buf_free(&out);
    free(url);
    return 0;
}
