/*  sim_main.c - runs seeds; a failing one is told with the rule it broke and how to see it again.
 */
#include "sim.h"

#include <getopt.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

static sim *running;

uint64_t roll(sim *s, uint64_t n)
{
    uint64_t z = s->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return n ? (z ^ z >> 31) % n : 0;
}

bool chance(sim *s, uint32_t percent)
{
    return roll(s, 100) < percent;
}

void broken(sim *s, const char *fmt, ...)
{
    if (s->failed) return;
    if (s->starve && strncmp(fmt, "invariant", 9) != 0 && strncmp(fmt, "at the end", 10) != 0)
        return; /* without memory promises are broken; the state must be whole, and nothing leak */
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(s->why, sizeof s->why, fmt, ap);
    va_end(ap);
    s->failed = true;
    tell(s, "BROKEN: %s", s->why);
}

void tell(const sim *s, const char *fmt, ...)
{
    if (!s->verbose) return;
    printf("%6llu %10.3f ", (unsigned long long)s->step, (double)s->now_us / 1000);
    va_list ap;
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
}

static void explain(const sim *s)
{
    fprintf(stderr, "seed %llu, step %llu: %s\n", (unsigned long long)s->seed,
            (unsigned long long)s->step, s->why[0] ? s->why : "the core crashed");
    fprintf(stderr, "again: sim_broker --seed %llu --verbose\n", (unsigned long long)s->seed);
}

static void on_report(void)
{
    if (running) explain(running);
}

/* Sanitizers end the process their own way; without one this is nobody. */
extern void __sanitizer_set_death_callback(void (*fn)(void)) __attribute__((weak));

static void on_death(int sig)
{
    if (running) explain(running);
    signal(sig, SIG_DFL);
    raise(sig);
}

/* A run is a few thousand events at most; every 64th seed is a long one. */
static uint64_t steps_of(uint64_t seed, uint64_t wanted)
{
    return wanted ? wanted : seed % 64 == 0 ? 2000 : 60 + seed % 64;
}

static bool run(uint64_t seed, uint64_t steps, bool verbose, uint32_t starve, uint64_t totals[3])
{
    sim s = {.seed = seed, .random = seed, .verbose = verbose, .now_us = 1000000, .open = -1};
    running = &s;
    actors_make(&s);
    net_broker(&s);
    s.starve = starve;
    for (s.step = 0; s.step < steps && !s.failed; s.step++) {
        uint64_t wait = chance(&s, 90) ? roll(&s, 20000) : roll(&s, 400000);
        actors_act(&s);
        net_tick(&s, s.now_us + wait);
        actors_look(&s);
        model_check(&s);
    }
    s.starve = 0; /* everybody leaves, with memory enough to say goodbye */
    for (int i = 0; i < s.n_conns && !s.failed; i++)
        if (s.conns[i]->known) net_cut(&s, s.conns[i], true);
    if (!s.failed) {
        net_tick(&s, s.now_us + 100000);
        model_check(&s);
        model_end(&s);
    }
    if (s.failed) explain(&s);
    totals[0] += s.n_requests;
    totals[1] += s.answers;
    totals[2] += s.deliveries;
    actors_free(&s);
    net_free(&s);
    running = NULL;
    return !s.failed;
}

static core_stats sums;

void count_stats(const core *c)
{
    const core_stats *t = core_get_stats(c);
#define CORE_STAT(name, doc) sums.name += t->name;
#include "core_stats.def"
#undef CORE_STAT
}

/* Worlds in which nothing bad happens prove nothing: over many seeds every counter must have moved.
 */
static bool eventful(void)
{
    bool all = true;
#define CORE_STAT(name, doc)                                                                       \
    printf("  %-18s %llu\n", #name, (unsigned long long)sums.name);                                \
    if (sums.name == 0 && strstr(doc, "gauge") == NULL) {                                          \
        fprintf(stderr, "in all these worlds not once: %s\n", doc);                                \
        all = false;                                                                               \
    }
#include "core_stats.def"
#undef CORE_STAT
    return all;
}

static int usage(void)
{
    fputs(
        "usage: sim_broker [--seeds N] [--from N] [--steps N] [--seed N] [--starve N] [--verbose]\n"
        "Runs the broker's core in simulated worlds. --seed runs one world, --verbose prints "
        "every\n"
        "message in it; --steps 0 (default) lets the seed choose the length; --starve N lets N of "
        "1000\n"
        "allocations of the core fail and checks that its state stays whole and nothing leaks.\n",
        stderr);
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"seeds", required_argument, NULL, 'n'},
                                            {"from", required_argument, NULL, 'f'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"steps", required_argument, NULL, 't'},
                                            {"starve", required_argument, NULL, 'm'},
                                            {"verbose", no_argument, NULL, 'v'},
                                            {NULL, 0, NULL, 0}};
    uint64_t seeds = 1000, from = 1, steps = 0, totals[3] = {0};
    uint32_t starve = 0;
    bool verbose = false;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        uint64_t value = optarg ? strtoull(optarg, NULL, 10) : 0;
        switch (o) {
        case 'n': seeds = value; break;
        case 'f': from = value; break;
        case 't': steps = value; break;
        case 'm': starve = (uint32_t)value; break;
        case 'v': verbose = true; break;
        case 's':
            from = value;
            seeds = 1;
            break;
        default: return usage();
        }
    }
    if (optind < argc) return usage();
    if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(on_report);
    signal(SIGABRT, on_death);
    signal(SIGSEGV, on_death);
    for (uint64_t seed = from; seed < from + seeds; seed++)
        if (!run(seed, steps_of(seed, steps), verbose, starve, totals)) return 1;
    printf("%llu seeds: %llu requests, %llu answers, %llu messages delivered, no rule broken\n",
           (unsigned long long)seeds, (unsigned long long)totals[0], (unsigned long long)totals[1],
           (unsigned long long)totals[2]);
    tickets_free();
    return seeds >= 1000 && !starve && !eventful() ? 1 : 0;
}
