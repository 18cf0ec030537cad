/*  sim_memory.c - stands between the program and its allocator (linker option --wrap). */
#include "sim.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

static uint32_t failing;
static uint64_t dice;

void memory_starve(uint32_t per_mille, uint64_t seed)
{
    failing = per_mille;
    if (per_mille) dice = seed;
}

static bool fails(void)
{
    if (failing == 0) return false;
    dice = dice * 6364136223846793005u + 1442695040888963407u;
    return (dice >> 33) % 1000 < failing;
}

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fails() ? NULL : __real_realloc(p, n);
}
