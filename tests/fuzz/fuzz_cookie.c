/*  fuzz_cookie.c - lines as Cookie headers: what is found stands in one of them behind its name, is
 *  made of cookie octets only, and is found once. What was found can be set. */
#include "cookie.h"
#include "error.h"

#include <assert.h>
#include <stdlib.h>

enum { LINES = 4 };

static const char name[] = "__Host-s";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_found(sv_str value)
{
    buf out;
    sv_error err = {0};
    sv_str again = {NULL, 0};
    cookie c = {.name = name, .value = value, .http_only = true};
    for (uint32_t i = 0; i < value.n; i++)
        assert(value.p[i] > ' ' && value.p[i] < 0x7f && strchr("\",;\\", value.p[i]) == NULL);
    assert(memcmp(value.p - sizeof name, "__Host-s=", sizeof name) == 0);
    buf_init(&out, 8192);
    assert(cookie_format(&c, &out, &err) == 0);
    http_header line = {sv_cstr("cookie"), buf_str(&out)};
    http_request r = {.headers = &line, .n_headers = 1};
    assert(cookie_get(&r, name, &again, NULL) == 1);
    assert(again.n == value.n && memcmp(again.p, value.p, value.n) == 0);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size + 1);
    assert(copy);
    if (size) memcpy(copy, data, size);
    http_header lines[LINES];
    http_request r = {.headers = lines};
    sv_error err = {0};
    sv_str value = {NULL, 0};
    for (char *at = copy, *end = copy + size; at <= end && r.n_headers < LINES;) {
        char *stop = memchr(at, '\n', (size_t)(end - at));
        if (stop == NULL) stop = end;
        lines[r.n_headers++] = (http_header){sv_cstr("Cookie"), {at, (uint32_t)(stop - at)}};
        at = stop + 1;
    }
    int rc = cookie_get(&r, name, &value, &err);
    assert(rc == 0 || rc == 1 || (rc == SV_E_HTTP_MALFORMED && err.code == rc && err.message[0]));
    if (rc == 1) check_found(value);
    free(copy);
    return 0;
}
