/*  rows.c - keys and bodies of the benchmark's rows. */
#include "rival.h"

size_t bench_map_bytes;

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15U;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

void bench_id(uint64_t number, uint8_t id[BENCH_ID])
{
    uint64_t half[2] = {mix(number), mix(~number)};
    memcpy(id, half, BENCH_ID);
}

const char *bench_body(uint64_t number)
{
    enum { STARTS = 2048 };
    static uint64_t bytes[(STARTS + BENCH_BODY_MOST) / sizeof(uint64_t)];
    if (bytes[0] == 0)
        for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++)
            bytes[i] = mix(i) | 1;
    return (const char *)bytes + number % STARTS;
}

void bench_look(const void *p, size_t n)
{
    const uint8_t *b = p;
    uint8_t x = 0;
    for (size_t i = 0; i < n; i += 64)
        x ^= b[i];
    __asm__ volatile("" : : "r"(x));
}
