/*  test_cost.c - what requests cost that are not counted in tokens alone, at most and in the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cost.h"

#include <stdio.h>
#include <string.h>

static const model_picture dall_e[] = {
    {"1024x1024", "", 40}, {"1024x1792", "", 80}, {"1024x1024", "hd", 90}};
static const model_info pictures = {.price = {.pictures = dall_e, .n_pictures = 3}};
static const model_info sound = {.price = {.by_hour = true, .hour = 360000}};
static const model_info free_calls = {.price = {.by_call = true}};
static const model_info by_tokens = {.output_most = 6000,
                                     .price = {.known = true, .input = 1000000, .output = 2000000}};
static const model_info unknown;

static cost_ask ask(cost_kind kind, const char *body)
{
    cost_ask q = {.kind = kind, .prompt = 10};
    cost_read_body(sv_cstr(body), &q);
    return q;
}

static int64_t most(const model_info *m, const cost_ask *q, int64_t *used)
{
    int64_t micro;
    return cost_most(m, q, &micro, used) ? micro : -1;
}

/* -1: there is no price. */
static int64_t of(const model_info *m, const cost_ask *q, const char *answer)
{
    cost_use u;
    int64_t micro;
    cost_read_answer(q, sv_cstr(answer), &u);
    return cost_paid(m, q, &u, &micro) ? micro : -1;
}

static void test_pictures(void **state)
{
    (void)state;
    int64_t used;
    static const char two[] = "{\"data\":[{\"url\":\"a\"},{\"url\":\"b\"}]}";
    static const struct {
        const char *body;
        int64_t most, two;
    } cases[] = {
        {"{}", 40, 80},
        {"{\"n\":2,\"size\":\"1024x1792\",\"quality\":\"standard\"}", 160, 160},
        {"{\"n\":3,\"quality\":\"hd\"}", 270, 180},
        {"{\"size\":\"auto\",\"quality\":\"auto\"}", 40, 80},
        {"{\"size\":\"9999x9999\"}", 90, 180}, /* no such price: like the dearest */
        {"{\"size\":\"1024\\u0078\"}", 90, 180},
        {"{\"n\":1e1}", 40 * COST_ANSWERS, 80}, /* no whole number: as many as there may be */
        {"{\"n\":\"5\"}", 40 * COST_ANSWERS, 80},
        {"{\"n\":99999999999999999999}", 40 * COST_ANSWERS, 80},
        {"{\"n\":-5}", 40, 80},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cost_ask q = ask(COST_PICTURES, cases[i].body);
        assert_int_equal(most(&pictures, &q, &used), cases[i].most);
        assert_int_equal(used, 10);
        assert_int_equal(of(&pictures, &q, two), cases[i].two);
        assert_int_equal(of(&pictures, &q, "{\"data\":[]}"), 0);
        assert_int_equal(most(&unknown, &q, &used), -1);
        assert_int_equal(of(&unknown, &q, two), -1);
    }
    /* those that are paid by tokens */
    cost_ask q = ask(COST_PICTURES, "{\"n\":2}");
    assert_int_equal(most(&by_tokens, &q, &used), 10 + 2 * 2 * 6000);
    assert_int_equal(used, 10 + 2 * 6000);
    assert_int_equal(of(&by_tokens, &q,
                        "{\"data\":[{}],\"usage\":{\"input_tokens\":50,\"output_tokens\":1000}}"),
                     50 + 2 * 1000);
    assert_int_equal(of(&by_tokens, &q, two), 10 + 2 * 2 * 6000);
}

static void test_sound(void **state)
{
    (void)state;
    int64_t used;
    cost_ask q = {.kind = COST_SOUND, .prompt = 9999};
    cost_read_body((sv_str){"", 60 * COST_SOUND_BYTES}, &q); /* only its length is looked at */
    assert_int_equal(q.sound_ms, 60000);
    assert_int_equal(most(&sound, &q, &used), 6000);
    assert_int_equal(used, 0);
    assert_int_equal(of(&sound, &q, "{\"usage\":{\"type\":\"duration\",\"seconds\":1}}"), 100);
    assert_int_equal(of(&sound, &q, "{\"duration\":1.5,\"text\":\"hi\"}"), 150);
    assert_int_equal(of(&sound, &q, "{\"usage\":{\"prompt_audio_seconds\":2,\"prompt_tokens\":4}}"),
                     200);
    assert_int_equal(of(&sound, &q, ""), 6000); /* a text, or one that does not tell */
    static const char *const nonsense[] = {"-1", "0", "1e300", "\"7\"", "null", "999999999"};
    for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++) {
        char text[80];
        snprintf(text, sizeof text, "{\"usage\":{\"seconds\":%s}}", nonsense[i]);
        assert_int_equal(of(&sound, &q, text), 6000);
    }
    /* by tokens, also where the answer's form does not tell them */
    assert_int_equal(of(&by_tokens, &q, "{\"usage\":{\"input_tokens\":600,\"output_tokens\":100}}"),
                     800);
    assert_true(most(&by_tokens, &q, &used) >= 600);
    assert_true(used > 0 && used < 2000);
    assert_true(of(&by_tokens, &q, "") >= 600);
    assert_int_equal(of(&unknown, &q, ""), -1);
}

static void test_calls(void **state)
{
    (void)state;
    int64_t used;
    cost_ask q = ask(COST_CALL, "{\"input\":\"x\"}");
    assert_int_equal(most(&free_calls, &q, &used), 0);
    assert_int_equal(of(&free_calls, &q, "{\"results\":[]}"), 0);
    assert_int_equal(most(&unknown, &q, &used), -1);
    assert_int_equal(of(&unknown, &q, "{}"), -1);
    assert_int_equal(of(&by_tokens, &q, "{\"usage\":{\"prompt_tokens\":7}}"), 7);
    assert_int_equal(of(&by_tokens, &q, "{}"), 10); /* the estimate */
    q = ask(COST_PROMPT, "{}");
    assert_int_equal(most(&by_tokens, &q, &used), 10);
    assert_int_equal(of(&by_tokens, &q, "{}"), 10);
    assert_int_equal(of(&free_calls, &q, "{}"), -1);
}

static void test_answers(void **state)
{
    (void)state;
    int64_t used;
    cost_ask q = ask(COST_ANSWER, "{\"n\":2,\"max_tokens\":5,\"max_completion_tokens\":1e2}");
    assert_int_equal(most(&by_tokens, &q, &used), 10 + 2 * 2 * 100);
    q = ask(COST_ANSWER, "{\"max_tokens\":1e300,\"n\":1e300}");
    assert_int_equal(q.answer_most, INT32_MAX);
    assert_int_equal(q.answers, COST_ANSWERS);
    q = ask(COST_ANSWER, "{\"max_tokens\":-7,\"n\":null}");
    assert_int_equal(most(&by_tokens, &q, &used), 10 + 2 * COST_TOKENS_UNSAID);
    assert_int_equal(most(&unknown, &q, &used), -1);
    assert_int_equal(used, 10 + COST_TOKENS_UNSAID);
    /* an answer that was not whole costs its tokens, and no pieces */
    cost_use u = {.pictures = 5, .sound_ms = 5};
    q.kind = COST_PICTURES;
    int64_t micro = 7;
    assert_false(cost_paid(&pictures, &q, &u, &micro));
    assert_int_equal(micro, 0);
}

static void test_largest(void **state)
{
    (void)state;
    int64_t used;
    const int64_t price = 1000000000000, top = 9007199254740991;
    const model_picture dear = {"", "", price};
    model_info m = {.output_most = price,
                    .price = {.pictures = &dear, .n_pictures = 1, .by_hour = true, .hour = price}};
    cost_ask q = {.kind = COST_PICTURES, .answers = COST_ANSWERS, .prompt = top};
    assert_int_equal(most(&m, &q, &used), COST_ANSWERS * price);
    q = (cost_ask){.kind = COST_SOUND, .sound_ms = top, .answers = 1};
    assert_int_equal(most(&m, &q, &used), top);
    m.price.known = true;
    m.price.input = m.price.output = price;
    for (int k = COST_ANSWER; k <= COST_CALL; k++) {
        q = (cost_ask){(cost_kind)k, .prompt = top, .answer_most = INT32_MAX,
                       .answers = COST_ANSWERS, .sound_ms = top};
        assert_true(most(&m, &q, &used) > 0 && most(&m, &q, &used) <= top);
        assert_true(used > 0 && used <= top);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pictures), cmocka_unit_test(test_sound), cmocka_unit_test(test_calls),
        cmocka_unit_test(test_answers), cmocka_unit_test(test_largest)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
