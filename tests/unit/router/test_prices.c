/*  Prices: what the configuration says, which entry holds, and integers that neither overflow nor
 *  round down. */
#include "prices.h"

#include "error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define MOST 9007199254740991

static char folder[64], file[96];

static int setup(void **state)
{
    (void)state;
    clearenv();
    snprintf(folder, sizeof folder, "/tmp/prices_test_XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(file, sizeof file, "%s/c.yaml", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(file);
    rmdir(folder);
    return 0;
}

static int load(const char *yaml, price_list *l, sv_error *err)
{
    config *c;
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    fputs(yaml, f);
    fclose(f);
    int rc = config_load(file, &c, err);
    if (rc) return rc;
    rc = price_list_load(l, c, err);
    config_free(c);
    return rc;
}

static void test_lookup(void **state)
{
    (void)state;
    price_list l;
    sv_error err = {0};
    assert_int_equal(load("router:\n  prices:\n"
                          "    - {model: m, input: 2500000, output: 10000000, cached: 1250000}\n"
                          "    - {model: openai/m, input: 1, output: 2}\n"
                          "    - {model: vendor/x, input: 7, output: 8, cached: 0}\n",
                          &l, &err),
                     0);
    assert_int_equal(price_find(&l, "other", "m")->input, 2500000);
    assert_int_equal(price_find(&l, "other", "m")->cached, 1250000);
    assert_int_equal(price_find(&l, "openai", "m")->input, 1);
    assert_int_equal(price_find(&l, "openai", "m")->cached, 1); /* default: as input */
    assert_int_equal(price_find(&l, "openrouter", "vendor/x")->output, 8);
    assert_int_equal(price_find(&l, "vendor", "x")->cached, 0);
    assert_null(price_find(&l, "openai", "x"));
    assert_null(price_find(&l, "", ""));
    char longest[600];
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = 0;
    assert_null(price_find(&l, longest, "y"));
    assert_int_equal(price_find(&l, longest, "m")->input, 2500000);
    price_list_free(&l);
    assert_null(price_find(&l, "openai", "m"));
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *words;
    } wrong[] = {
        {"router: {prices: [{model: m, input: 1, output: 1}, {model: n, input: 1, output: 1}, "
         "{model: m, input: 2, output: 2}]}",
         "router.prices[2].model: \"m\" has a price already in router.prices[0]"},
        {"router: {prices: [{model: m, input: -1, output: 1}]}", "input"},
        {"router: {prices: [{model: m, input: 2.5, output: 1}]}", "input"},
        {"router: {prices: [{model: m, input: 1000000000001, output: 1}]}", "input"},
        {"router: {prices: [{model: m, input: 1}]}", "output"},
        {"router: {prices: [{model: '', input: 1, output: 1}]}", "model"},
        {"router: {prices: [{model: m, input: 1, output: 1, per: 1}]}", "per"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        price_list l;
        sv_error err = {0};
        assert_int_equal(load(wrong[i].yaml, &l, &err), SV_E_CONFIG);
        if (strstr(err.message, wrong[i].words) == NULL &&
            strstr(err.detail, wrong[i].words) == NULL)
            fail_msg("no \"%s\" in: %s %s", wrong[i].words, err.message, err.detail);
    }
}

static void test_many(void **state)
{
    (void)state;
    price_list l;
    sv_error err = {0};
    char *yaml = malloc(200000), *to = yaml;
    to += sprintf(to, "router:\n  prices:\n");
    for (int i = 0; i < 1000; i++)
        to += sprintf(to, "    - {model: m%d, input: %d, output: 1}\n", 999 - i, 999 - i);
    assert_int_equal(load(yaml, &l, &err), 0);
    free(yaml);
    for (int i = 0; i < 1000; i++) {
        char name[16];
        snprintf(name, sizeof name, "m%d", i);
        assert_int_equal(price_find(&l, "p", name)->input, i);
    }
    price_list_free(&l);
}

static int64_t cost(int64_t input, int64_t output, int64_t cached, tokens t)
{
    price p = {"m", input, output, cached, 0};
    return price_of(&p, &t);
}

static void test_arithmetic(void **state)
{
    (void)state;
    assert_int_equal(cost(2500000, 10000000, 1250000, (tokens){true, 1000, 100, 400, 60}),
                     600 * 25 / 10 + 400 * 125 / 100 + 100 * 10);
    assert_int_equal(cost(1, 0, 1, (tokens){true, 1, 0, 0, 0}), 1); /* up, once */
    assert_int_equal(cost(1, 1, 1, (tokens){true, 1, 1, 0, 0}), 1);
    assert_int_equal(cost(1000000, 0, 0, (tokens){true, 5, 0, 5, 0}), 0);
    assert_int_equal(cost(1000000, 0, 0, (tokens){true, 5, 0, 50, 0}), 0);
    assert_int_equal(cost(0, 0, 0, (tokens){true, MOST, MOST, 0, 0}), 0);
    assert_int_equal(cost(3, 5, 3, (tokens){0}), 0);
    int64_t dear = 1000000000000;
    assert_true(cost(dear, dear, dear, (tokens){true, MOST, MOST, MOST, MOST}) == MOST);
    assert_true(cost(1000000, 0, 0, (tokens){true, MOST, 0, 0, 0}) == MOST);
    assert_true(cost(1000000, 0, 0, (tokens){true, MOST - 1, 0, 0, 0}) == MOST - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lookup),
                                       cmocka_unit_test(test_refused), cmocka_unit_test(test_many),
                                       cmocka_unit_test(test_arithmetic)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
