/*  sim_vector.c - every word, and with a small weight every pair of neighbours, stands for a
 *  pseudo-random direction; a text is the sum of its words' directions. */
#include "sim_vector.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

int64_t sim_base64_bytes(const char *text)
{
    size_t n = text ? strlen(text) : 0, pad = 0;
    while (n && pad < 2 && text[n - 1] == '=')
        n--, pad++;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)text[i]) && !strchr("+/-_", text[i])) return -1;
    if (n % 4 == 1 || (pad && (n + pad) % 4)) return -1;
    return (int64_t)(n * 3 / 4);
}

void sim_base64_put(const void *p, size_t n, buf *out)
{
    static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *b = p;
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)b[i] << 16;
        if (i + 1 < n) v |= (uint32_t)b[i + 1] << 8;
        if (i + 2 < n) v |= b[i + 2];
        const char four[4] = {set[v >> 18], set[v >> 12 & 63], i + 1 < n ? set[v >> 6 & 63] : '=',
                              i + 2 < n ? set[v & 63] : '='};
        buf_put(out, four, 4);
    }
}

static void add(uint64_t seed, float weight, float *v, size_t dims)
{
    uint64_t x = seed | 1;
    for (size_t i = 0; i < dims; i++) { /* xorshift64* */
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        uint32_t r = (uint32_t)((x * 0x2545f4914f6cdd1dull) >> 40);
        v[i] += weight * ((float)r / 8388608.0f - 1.0f);
    }
}

void sim_vector(const char *text, float *v, size_t dims)
{
    uint64_t before = 0;
    memset(v, 0, dims * sizeof *v);
    for (const char *p = text; *p;) {
        uint64_t h = 0xcbf29ce484222325ull;
        size_t n = 0;
        for (; isalnum((unsigned char)*p) || (unsigned char)*p > 127; p++, n++)
            h = (h ^ (uint8_t)tolower((unsigned char)*p)) * 0x100000001b3ull;
        if (!n) {
            p++;
            continue;
        }
        add(h * 0x9e3779b97f4a7c15ull, 1.0f, v, dims);
        if (before) add((before * 31 + h) * 0x9e3779b97f4a7c15ull, 0.1f, v, dims);
        before = h;
    }
    if (!before) add(0x51a7, 1.0f, v, dims);
    float sum = 0;
    for (size_t i = 0; i < dims; i++)
        sum += v[i] * v[i];
    for (size_t i = 0; i < dims; i++)
        v[i] /= sqrtf(sum);
}
