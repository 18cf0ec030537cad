/*  test_args.c - the command line's table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "args.h"

typedef struct line {
    const char *output, *count;
    bool follow;
    args words;
    char why[256], help[1024];
} line;

static args_result parse(line *l, const char *const *argv)
{
    const args_option options[] = {{'o', "output", "json", "format", &l->output, NULL},
                                   {0, "count", "N", "how many", &l->count, NULL},
                                   {'f', "follow", NULL, "go on", NULL, &l->follow}};
    const args_spec spec = {"samovar x", "WORD [WORD]", "Does x.", "more", options, 3, 1, 2};
    *l = (line){.output = NULL};
    int argc = 0;
    char *copy[16];
    for (; argv[argc]; argc++)
        copy[argc] = (char *)(uintptr_t)argv[argc];
    buf text;
    buf_init(&text, 4096);
    args_help(&spec, &text);
    snprintf(l->help, sizeof l->help, "%.*s", (int)text.n, text.p);
    buf_reset(&text, 4096);
    args_result rc = args_parse(&spec, argc, copy, &l->words, &text);
    snprintf(l->why, sizeof l->why, "%.*s", (int)text.n, text.p ? text.p : "");
    buf_free(&text);
    return rc;
}

#define PARSE(l, ...) parse(l, (const char *const[]){__VA_ARGS__, NULL})

static void words_and_options_in_any_order(void **state)
{
    (void)state;
    line l;
    assert_int_equal(PARSE(&l, "a", "-o", "json", "b", "--count=3", "-f"), ARGS_RUN);
    assert_int_equal(l.words.n, 2);
    assert_string_equal(l.words.word[0], "a");
    assert_string_equal(l.words.word[1], "b");
    assert_string_equal(l.output, "json");
    assert_string_equal(l.count, "3");
    assert_true(l.follow);
    assert_int_equal(PARSE(&l, "-ojson", "--count", "3", "a"), ARGS_RUN);
    assert_string_equal(l.output, "json");
    assert_string_equal(l.count, "3");
    assert_false(l.follow);
}

static void dashes_end_options(void **state)
{
    (void)state;
    line l;
    assert_int_equal(PARSE(&l, "--", "-o", "--count"), ARGS_RUN);
    assert_string_equal(l.words.word[0], "-o");
    assert_string_equal(l.words.word[1], "--count");
    assert_int_equal(PARSE(&l, "-"), ARGS_RUN);
    assert_string_equal(l.words.word[0], "-");
}

static void mistakes_are_named(void **state)
{
    (void)state;
    line l;
    assert_int_equal(PARSE(&l, "a", "--colour"), ARGS_WRONG);
    assert_non_null(strstr(l.why, "unknown option --colour"));
    assert_non_null(strstr(l.why, "samovar x --help"));
    assert_int_equal(PARSE(&l, "a", "--count"), ARGS_WRONG);
    assert_non_null(strstr(l.why, "a value is missing after --count"));
    assert_int_equal(PARSE(&l, "a", "-o", "json", "-o", "json"), ARGS_WRONG);
    assert_non_null(strstr(l.why, "given twice"));
    assert_int_equal(PARSE(&l, "a", "--follow=yes"), ARGS_WRONG);
    assert_int_equal(PARSE(&l, "a", "-fx"), ARGS_WRONG);
    assert_int_equal(PARSE(&l, "a", "b", "c"), ARGS_WRONG);
    assert_non_null(strstr(l.why, "too many words, beginning with c"));
    assert_int_equal(PARSE(&l, "-f"), ARGS_WRONG);
    assert_non_null(strstr(l.why, "it needs WORD [WORD]"));
    assert_int_equal(PARSE(&l, "a", "--countless"), ARGS_WRONG);
}

static void help_lists_every_option(void **state)
{
    (void)state;
    line l;
    assert_int_equal(PARSE(&l, "a", "--help"), ARGS_HELP);
    assert_int_equal(PARSE(&l, "-h"), ARGS_HELP);
    assert_non_null(strstr(l.help, "usage: samovar x [options] WORD [WORD]"));
    assert_non_null(strstr(l.help, "-o, --output json"));
    assert_non_null(strstr(l.help, "    --count N"));
    assert_non_null(strstr(l.help, "-f, --follow "));
}

static void numbers(void **state)
{
    (void)state;
    uint64_t n = 7;
    assert_int_equal(args_number("42", 0, 100, &n), 0);
    assert_int_equal(n, 42);
    static const char *const bad[] = {"", "-1", "1x", " 1", "101", "99999999999999999999", "0x10"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_true(args_number(bad[i], 0, 100, &n) < 0);
    assert_int_equal(n, 42);
}

static void durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t ms;
    } good[] = {{"10", 10000}, {"10s", 10000}, {"500ms", 500}, {"2m", 120000}, {"60m", 3600000}};
    uint32_t ms = 0;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(args_duration(good[i].text, &ms), 0);
        assert_int_equal(ms, good[i].ms);
    }
    static const char *const bad[] = {"",    "s",  "0",    "61m",        "10h",
                                      "1.5", "-1", "10 s", "4000000000m"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_true(args_duration(bad[i], &ms) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_and_options_in_any_order),
        cmocka_unit_test(dashes_end_options),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(help_lists_every_option),
        cmocka_unit_test(numbers),
        cmocka_unit_test(durations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
