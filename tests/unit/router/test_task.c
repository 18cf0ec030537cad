/*  The classifier: what is certain comes first, words decide the rest in several languages and both
 *  spellings of JSON, hostile text does no harm, and a long one costs no more. */
#include "task.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static task_guess of(const char *text)
{
    llm_features f = {.last_user = sv_cstr(text), .prompt_tokens = 100};
    task_guess g;
    task_classify(&f, &g);
    assert_true(g.complexity >= 0 && g.complexity <= 1);
    return g;
}

static void expect(const char *text, model_task task)
{
    task_guess g = of(text);
    if (g.task != task)
        fail_msg("%s, not %s (%s): %s", model_task_names[g.task], model_task_names[task], g.rule,
                 text);
}

static void test_words(void **state)
{
    (void)state;
    expect("Good evening, how was your trip?", TASK_CHAT);
    expect("", TASK_CHAT);
    expect("Please DEBUG this function", TASK_CODE);
    expect("summarise the chapter", TASK_SUMMARISE);
    expect("Summarize the chapter", TASK_SUMMARISE);
    expect("translate: good day", TASK_TRANSLATE);
    expect("extract the names", TASK_EXTRACT);
    expect("prove that 2 is prime", TASK_REASON);
    expect("Переведите письмо", TASK_TRANSLATE);
    expect("ПЕРЕВЕДИ письмо", TASK_TRANSLATE);
    expect("Übersetzen Sie das bitte", TASK_TRANSLATE);
    expect("Traduis cette phrase", TASK_TRANSLATE);
    expect("Traduce esta frase", TASK_TRANSLATE);
    expect("Résume ce texte", TASK_SUMMARISE);
    expect("Fasse den Text zusammen", TASK_SUMMARISE);
    expect("Докажи теорему", TASK_REASON);
    /* whole words, and not parts of others */
    expect("The producer improves a coder's ginger proverb", TASK_CHAT);
    expect("a c++ question", TASK_CODE);
    /* ASCII-only JSON, as many clients write it */
    expect("\\u041f\\u0435\\u0440\\u0435\\u0432\\u0435\\u0434\\u0438 \\u043f\\u0438\\u0441\\u044c"
           "\\u043c\\u043e",
           TASK_TRANSLATE);
    expect("\\u00dcbersetze das", TASK_TRANSLATE);
    expect("text:\\nTranslate\\tit", TASK_TRANSLATE);
}

static void test_certain(void **state)
{
    (void)state;
    llm_features f = {.last_user = sv_cstr("translate this"), .prompt_tokens = 10};
    task_guess g;
    f.schema = true;
    task_classify(&f, &g);
    assert_int_equal(g.task, TASK_TRANSLATE);
    f.last_user = sv_cstr("Anna, 44, Bremen");
    task_classify(&f, &g);
    assert_int_equal(g.task, TASK_EXTRACT);
    assert_string_equal(g.rule, "structured output");
    f.tools = true;
    task_classify(&f, &g);
    assert_int_equal(g.task, TASK_TOOLS);
    assert_string_equal(g.rule, "tools");
    f.prompt_tokens = 24001;
    task_classify(&f, &g);
    assert_int_equal(g.task, TASK_LONG);
    f.images = true;
    task_classify(&f, &g);
    assert_int_equal(g.task, TASK_VISION);
}

static void test_complexity(void **state)
{
    (void)state;
    assert_true(of("hi").complexity < 0.15f);
    assert_true(of("Write a function that adds two numbers").complexity <
                of("Implement a lock-free queue and prove that it is correct").complexity);
    assert_true(of("Implement a distributed scheduler, analyze its race conditions").complexity >
                0.62f);
    assert_true(of("Докажи теорему и подробно сравни методы").complexity > 0.62f);
    /* thinking that was asked for */
    llm_features f = {.last_user = sv_cstr("And now?"), .prompt_tokens = 10};
    task_guess a, b;
    task_classify(&f, &a);
    f.thinking = true;
    task_classify(&f, &b);
    assert_true(b.complexity > a.complexity + 0.15f);
}

static void test_hostile(void **state)
{
    (void)state;
    static const char *const texts[] = {"\\",     "\\u",         "\\u12",    "\\uzzzz", "\xff\xfe",
                                        "\xd0",   "\xe2\x82",    "\xf0\x9f", "\\ud83d", "    ",
                                        "\\n\\n", "```````````", ";;;;;;;;", "((((((",  "translat"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char *exact = malloc(strlen(texts[i])); /* nothing behind it may be read */
        assert_non_null(exact);
        memcpy(exact, texts[i], strlen(texts[i]));
        llm_features f = {.last_user = {exact, (uint32_t)strlen(texts[i])}};
        task_guess g;
        task_classify(&f, &g);
        free(exact);
    }
    /* every byte, long runs */
    for (int c = 0; c < 256; c++) {
        enum { N = 20000 };
        char *all = malloc(N);
        assert_non_null(all);
        memset(all, c, N);
        llm_features f = {.last_user = {all, N}, .prompt_tokens = N / 4};
        task_guess g;
        task_classify(&f, &g);
        assert_true(g.complexity >= 0 && g.complexity <= 1);
        free(all);
    }
}

/* Only the beginning and the end are looked at. */
static void test_bounded(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    char *text = malloc(N);
    assert_non_null(text);
    memset(text, 'x', N);
    for (size_t i = 7; i < N; i += 8)
        text[i] = ' ';
    memcpy(text + N / 2, "translate translate translate ", 30);
    llm_features f = {.last_user = {text, N}, .prompt_tokens = 20000};
    task_guess g;
    task_classify(&f, &g);
    assert_int_equal(g.task, TASK_CHAT);
    memcpy(text + N - 30, " translate this into english  ", 30);
    task_classify(&f, &g);
    assert_int_equal(g.task, TASK_TRANSLATE);
    memset(text + N - 30, 'x', 30);
    memcpy(text, "translate this ", 15);
    task_classify(&f, &g);
    assert_int_equal(g.task, TASK_TRANSLATE);
    struct timespec a, b;
    int64_t best = INT64_MAX;
    for (int i = 0; i < 50; i++) {
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
        task_classify(&f, &g);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
        int64_t ns = (b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec;
        if (ns < best) best = ns;
    }
    assert_true(best < 1000000);
    free(text);
}

static void test_parse(void **state)
{
    (void)state;
    model_task t;
    float c;
    for (int i = 0; i < TASKS; i++) {
        assert_true(task_parse(sv_cstr(model_task_names[i]), &t));
        assert_int_equal(t, i);
    }
    assert_false(task_parse(sv_cstr("sing"), &t));
    assert_false(task_parse(sv_cstr("Code"), &t));
    assert_true(task_complexity_parse(sv_cstr("high"), &c) && c > 0.7f);
    assert_true(task_complexity_parse(sv_cstr("low"), &c) && c < 0.3f);
    assert_false(task_complexity_parse(sv_cstr("1"), &c));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),      cmocka_unit_test(test_certain),
        cmocka_unit_test(test_complexity), cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_bounded),    cmocka_unit_test(test_parse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
