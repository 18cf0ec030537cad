/*  uuid.c - RFC 9562 section 5.7 with method 1 (a counter in rand_a keeps one millisecond's ids in
 *  order). Random bytes come from libsodium in pools, so an id costs no system call. */
#include "uuid.h"

#include "error.h"

#include <sodium.h>
#include <time.h>

static _Thread_local struct {
    uint8_t pool[1024];
    size_t left;
    uint64_t last_ms;
    uint16_t counter;
} state;

void uuid_random(void *p, size_t n)
{
    if (n > state.left) {
        randombytes_buf(state.pool, sizeof state.pool);
        state.left = sizeof state.pool;
    }
    uint8_t *from = state.pool + state.left - n;
    memcpy(p, from, n);
    sodium_memzero(from, n);
    state.left -= n;
}

sv_id uuid_v7(uint64_t unix_ms)
{
    sv_id id;
    uuid_random(id.b, sizeof id.b);
    if (unix_ms <= state.last_ms) { /* same millisecond, or the clock went back: keep the order */
        unix_ms = state.last_ms;
        if (++state.counter > 0xfff) {
            unix_ms++;
            state.counter = 0;
        }
    } else {
        state.counter = (uint16_t)((id.b[6] << 8 | id.b[7]) & 0x7ff);
    }
    state.last_ms = unix_ms;
    for (int i = 0; i < 6; i++)
        id.b[i] = (uint8_t)(unix_ms >> (40 - 8 * i));
    id.b[6] = (uint8_t)(0x70 | state.counter >> 8);
    id.b[7] = (uint8_t)state.counter;
    id.b[8] = (uint8_t)(0x80 | (id.b[8] & 0x3f));
    return id;
}

sv_id uuid_new(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return uuid_v7((uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000);
}

void hex_format(const void *p, size_t n, char *text)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *b = p;
    for (size_t i = 0; i < n; i++) {
        text[2 * i] = digits[b[i] >> 4];
        text[2 * i + 1] = digits[b[i] & 15];
    }
    text[2 * n] = 0;
}

int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

int hex_parse(sv_str text, void *p, size_t n)
{
    uint8_t *b = p;
    if (text.n != 2 * n) return SV_E_INVALID;
    for (size_t i = 0; i < n; i++) {
        int hi = hex_digit(text.p[2 * i]), lo = hex_digit(text.p[2 * i + 1]);
        if (hi < 0 || lo < 0) return SV_E_INVALID;
        b[i] = (uint8_t)(hi << 4 | lo);
    }
    return 0;
}

void uuid_format(const sv_id *id, char text[UUID_TEXT + 1])
{
    char hex[33];
    hex_format(id->b, 16, hex);
    static const int group[] = {8, 4, 4, 4, 12};
    const char *from = hex;
    char *to = text;
    for (int g = 0; g < 5; g++) {
        if (g) *to++ = '-';
        memcpy(to, from, (size_t)group[g]);
        to += group[g];
        from += group[g];
    }
    *to = 0;
}

int uuid_parse(sv_str text, sv_id *ret)
{
    char hex[32];
    size_t n = 0;
    if (text.n != 36 && text.n != 32) return SV_E_INVALID;
    for (size_t i = 0; i < text.n; i++) {
        bool dash = text.n == 36 && (i == 8 || i == 13 || i == 18 || i == 23);
        if (dash != (text.p[i] == '-')) return SV_E_INVALID;
        if (!dash) hex[n++] = text.p[i];
    }
    sv_id id;
    if (hex_parse((sv_str){hex, 32}, id.b, 16)) return SV_E_INVALID;
    *ret = id;
    return 0;
}
