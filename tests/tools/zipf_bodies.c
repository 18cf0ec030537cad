/*  zipf_bodies.c - chat requests as a crowd asks them: few questions often, many once. Question number k
 *  of N comes with a chance of 1 / k^exponent. Bodies go to stdout, one a line, the same for the same
 *  seed; the last line on stderr says what a cache can do at best with them:
 *    ideal      every question that was asked before is known
 *    ideal_set  only `room` questions are known, those that are asked most
 *  With --each every question comes once, in order, from --first on. */
#include "opts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static int64_t requests = 50000, questions = 10000, room = 1000, seed = 1, first;
static double exponent = 0.9;
static const char *model = "fast";
static bool each;

static uint64_t next_random(uint64_t *x) /* xorshift64* */
{
    *x ^= *x >> 12;
    *x ^= *x << 25;
    *x ^= *x >> 27;
    return *x * 0x2545f4914f6cdd1dull;
}

static void put(int64_t question)
{
    printf("{\"model\":\"%s\",\"temperature\":0,\"messages\":[{\"role\":\"system\",\"content\":"
           "\"Answer in "
           "one sentence.\"},{\"role\":\"user\",\"content\":\"Question number %lld: what is on the "
           "table "
           "when the samovar begins to sing?\"}]}\n",
           model, (long long)question);
}

static int64_t choose(const double *sums, double at)
{
    int64_t low = 0, high = questions - 1;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (sums[middle] < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int most_first(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

int main(int argc, char **argv)
{
    const opt table[] = {
        {"requests", OPT_INT, &requests, 1, 1e9, "bodies"},
        {"questions", OPT_INT, &questions, 1, 1e8, "different ones"},
        {"exponent", OPT_NUM, &exponent, 0, 4, "how uneven; 0: all alike"},
        {"room", OPT_INT, &room, 0, 1e8, "for ideal_set"},
        {"seed", OPT_INT, &seed, 1, 1e15, "of the choice"},
        {"model", OPT_STR, &model, 0, 0, "name in the bodies"},
        {"each", OPT_FLAG, &each, 0, 0, "every question once"},
        {"first", OPT_INT, &first, 0, 1e9, "each: number of the first"},
    };
    opts_parse(argc, argv, "zipf_bodies - chat requests whose questions repeat as people's do",
               table, sizeof table / sizeof *table);
    if (each) {
        for (int64_t i = 0; i < questions; i++)
            put(first + i);
        return 0;
    }
    double *sums = malloc((size_t)questions * sizeof *sums), sum = 0;
    int64_t *count = calloc((size_t)questions, sizeof *count);
    if (sums == NULL || count == NULL) die("no memory for %lld questions", (long long)questions);
    for (int64_t i = 0; i < questions; i++)
        sums[i] = sum += pow((double)(i + 1), -exponent);
    uint64_t x = (uint64_t)seed * 0x9e3779b97f4a7c15ull;
    for (int64_t i = 0; i < requests; i++) {
        double share = (double)(next_random(&x) >> 11) / 9007199254740992.0;
        int64_t question = choose(sums, share * sum);
        count[question]++;
        put(question);
    }
    int64_t different = 0, in_set = 0;
    qsort(count, (size_t)questions, sizeof *count, most_first);
    for (int64_t i = 0; i < questions && count[i]; i++) {
        different++;
        if (i < room) in_set += count[i] - 1;
    }
    fprintf(stderr, "{\"requests\":%lld,\"different\":%lld,\"ideal\":%.4f,\"ideal_set\":%.4f}\n",
            (long long)requests, (long long)different, 1 - (double)different / (double)requests,
            (double)in_set / (double)requests);
    free(sums);
    free(count);
    return 0;
}
