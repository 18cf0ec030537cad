/*  sigv4.c - canonical request, string to sign, signing key, signature: docs.aws.amazon.com, "Create
 *  a signed AWS API request"; S3 encodes a path once. */
#include "sigv4.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct text {
    char *p;
    size_t n, size;
    bool failed;
} text;

static void put(text *t, const char *p, size_t n)
{
    if (t->n + n >= t->size) {
        t->failed = true;
        return;
    }
    memcpy(t->p + t->n, p, n);
    t->n += n;
    t->p[t->n] = 0;
}

static void puts_to(text *t, const char *p)
{
    put(t, p, strlen(p));
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

/* Decodes, then encodes everything that is not unreserved; a path keeps its slashes. */
static void put_again(text *t, const char *p, size_t n, bool path)
{
    for (size_t i = 0; i < n; i++) {
        int c = (unsigned char)p[i];
        if (c == '%') {
            int high = i + 2 < n ? hex_digit(p[i + 1]) : -1,
                low = high < 0 ? -1 : hex_digit(p[i + 2]);
            if (low < 0) {
                t->failed = true;
                return;
            }
            c = high * 16 + low;
            i += 2;
        }
        char code[8] = {(char)c};
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     (c && strchr("-._~", c)) || (path && c == '/');
        if (!plain) snprintf(code, sizeof code, "%%%02X", (unsigned)c & 0xff);
        puts_to(t, code);
    }
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "name=value" with a byte below every other in the place of "=", so that names sort first. */
static void put_query(text *t, const char *query)
{
    char *list[64], room[8192];
    text all = {.p = room, .size = sizeof room};
    size_t n = 0;
    for (const char *p = query; *p;) {
        size_t len = strcspn(p, "&"), name = strcspn(p, "=&");
        if (n == 64) {
            t->failed = true;
            return;
        }
        list[n++] = all.p + all.n;
        put_again(&all, p, name, false);
        put(&all, "\1", 1);
        if (name < len) put_again(&all, p + name + 1, len - name - 1, false);
        put(&all, "", 1);
        p += len + (p[len] == '&');
    }
    t->failed |= all.failed;
    qsort(list, n, sizeof *list, by_text);
    for (size_t i = 0; i < n && !t->failed; i++) { /* nothing encoded holds a byte 1 */
        char *equals = strchr(list[i], 1);
        *equals = '=';
        if (i) puts_to(t, "&");
        puts_to(t, list[i]);
    }
}

bool sigv4_canonical(const sigv4_request *r, char *out, size_t size)
{
    text t = {.p = out, .size = size};
    puts_to(&t, r->method);
    puts_to(&t, "\n");
    put_again(&t, r->path, strlen(r->path), true);
    puts_to(&t, "\n");
    put_query(&t, r->query);
    puts_to(&t, "\n");
    for (size_t i = 0; i < r->n; i++) {
        puts_to(&t, r->names[i]);
        puts_to(&t, ":");
        puts_to(&t, r->values[i]);
        puts_to(&t, "\n");
    }
    puts_to(&t, "\n");
    for (size_t i = 0; i < r->n; i++) {
        if (i) puts_to(&t, ";");
        puts_to(&t, r->names[i]);
    }
    puts_to(&t, "\n");
    puts_to(&t, r->body_hash);
    return !t.failed;
}

typedef unsigned char sum[crypto_auth_hmacsha256_BYTES];

static void hmac(const void *key, size_t key_n, const char *data, sum out)
{
    crypto_auth_hmacsha256_state s;
    crypto_auth_hmacsha256_init(&s, key, key_n);
    crypto_auth_hmacsha256_update(&s, (const unsigned char *)data, strlen(data));
    crypto_auth_hmacsha256_final(&s, out);
}

bool sigv4_sign(const sigv4_request *r, char hex[65])
{
    char request[16384], to_sign[512], secret[256], day[9];
    sum hash, key;
    if (!sigv4_canonical(r, request, sizeof request) || strlen(r->when) != 16) return false;
    crypto_hash_sha256(hash, (const unsigned char *)request, strlen(request));
    sodium_bin2hex(hex, 65, hash, sizeof hash);
    snprintf(day, sizeof day, "%.8s", r->when);
    snprintf(to_sign, sizeof to_sign, "AWS4-HMAC-SHA256\n%s\n%s/%s/%s/aws4_request\n%s", r->when,
             day, r->region, r->service, hex);
    snprintf(secret, sizeof secret, "AWS4%s", r->secret);
    hmac(secret, strlen(secret), day, key);
    hmac(key, sizeof key, r->region, key);
    hmac(key, sizeof key, r->service, key);
    hmac(key, sizeof key, "aws4_request", key);
    hmac(key, sizeof key, to_sign, hash);
    sodium_bin2hex(hex, 65, hash, sizeof hash);
    return true;
}
