/*  What is known of models: the shipped file is right in itself, names are found, the operator's word
 *  holds, a wrong file is refused with its place, and money is whole. */
#include "models_kit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

static const char small[] =
    "{\"date\": \"2026-01-02\", \"about\": [\"x\"], \"currency\": \"USD\",\n"
    " \"classes\": {\"big\": {\"rank\": 4, \"quality\": {\"chat\": 0.9, \"code\": 0.8}}},\n"
    " \"models\": [\n"
    "  {\"id\": \"a\", \"class\": \"big\", \"quality\": {\"code\": 0.25}, \"context\": 1000,\n"
    "   \"can\": [\"tools\", \"see\"], \"price\": {\"input\": 10, \"output\": 20},\n"
    "   \"at\": {\"p\": [\"a-1\", \"a-1-extra\"], \"q\": {\"names\": \"vendor/a\", \"price\": "
    "{\"input\": 7, \"output\": 8, \"cached\": 1}}}},\n"
    "  {\"id\": \"b\", \"class\": \"big\", \"can\": [], \"at\": {\"q\": \"vendor/b\"}}\n"
    "]}\n";

static models *load(const char *yaml, config **c)
{
    models *m = NULL;
    sv_error err = {0};
    if (kit_config(yaml, c, &err) || models_load(*c, &m, &err)) fail_msg("%s", err.message);
    return m;
}

static const model_info *find(const models *m, const char *provider, const char *name)
{
    return models_find(m, provider, sv_cstr(name));
}

static void test_names(void **state)
{
    (void)state;
    config *c;
    write_file(models_file, small);
    models *m = load("", &c);
    assert_string_equal(models_date(m), "2026-01-02");
    const model_info *a = find(m, "p", "a-1");
    assert_string_equal(a->id, "a");
    assert_true(a->known && a->rank == 4 && a->context == 1000);
    assert_int_equal(a->can, MODEL_CAN_TOOLS | MODEL_CAN_SEE);
    assert_float_equal(a->quality[TASK_CHAT], 0.9, 1e-6);
    assert_float_equal(a->quality[TASK_CODE], 0.25, 1e-6); /* its own before its class's */
    assert_float_equal(a->quality[TASK_TOOLS], 0.5, 1e-6);
    assert_int_equal(a->price.input, 10);
    assert_int_equal(a->price.cached, 10);
    /* another provider has another price; an unknown one the general */
    assert_int_equal(find(m, "q", "vendor/a")->price.input, 7);
    assert_int_equal(find(m, "q", "vendor/a")->price.cached, 1);
    assert_int_equal(find(m, "elsewhere", "vendor/a")->price.input, 10);
    assert_int_equal(find(m, NULL, "a-1-extra")->price.input, 10);
    assert_string_equal(find(m, NULL, "a")->id, "a");
    /* spelling */
    assert_string_equal(find(m, "p", "a-1-2025-03-04")->id, "a");
    assert_string_equal(find(m, "p", "models/a-1-20250304")->id, "a");
    assert_string_equal(find(m, "p", "a-1-1025-03-04")->id, "");
    assert_string_equal(find(m, "p", "a-1-2025x03-04")->id, "");
    assert_string_equal(find(m, "p", "A-1")->id, "");
    assert_string_equal(find(m, "p", "")->id, "");
    assert_false(find(m, "p", "unheard")->known);
    assert_float_equal(find(m, "p", "unheard")->quality[TASK_LONG], 0.5, 1e-6);
    assert_false(find(m, "q", "vendor/b")->price.known);
    /* and back */
    assert_string_equal(models_name_at(m, "p", "a"), "a-1");
    assert_string_equal(models_name_at(m, "q", "b"), "vendor/b");
    assert_null(models_name_at(m, "p", "b"));
    const char *const *names;
    assert_int_equal(models_names(m, "a", &names), 4);
    assert_string_equal(names[3], "vendor/a");
    assert_int_equal(models_names(m, "z", &names), 0);
    models_free(m);
    config_free(c);
}

static void test_operator(void **state)
{
    (void)state;
    config *c;
    write_file(models_file, small);
    models *m = load("  prices:\n"
                     "    - {model: a-1, input: 100, output: 200}\n"
                     "    - {model: q/vendor/a, input: 300, output: 400, cached: 5}\n"
                     "    - {model: mine, input: 1, output: 2}\n"
                     "  model_info:\n"
                     "    - {model: p/a-1, context: 77, task_quality: [\"code=90\"], can: [json]}\n"
                     "    - {model: home, like: a, quality: 30, input: 4, output: 5, long_from: 9, "
                     "long_input: 6, long_output: 7}\n"
                     "    - {model: draws, image: 8, call: 0}\n"
                     "    - {model: mine, hour: 9}\n",
                     &c);
    const model_info *a = find(m, "p", "a-1");
    assert_int_equal(a->price.input, 100);
    assert_int_equal(a->context, 77);
    assert_int_equal(a->can, MODEL_CAN_JSON);
    assert_float_equal(a->quality[TASK_CODE], 0.9, 1e-6);
    assert_float_equal(a->quality[TASK_CHAT], 0.9, 1e-6);
    assert_string_equal(a->id, "a");
    assert_int_equal(find(m, "other", "a-1")->price.input, 100);
    assert_int_equal(find(m, "other", "a-1")->context, 1000);
    assert_int_equal(find(m, "q", "vendor/a")->price.input, 300);
    assert_int_equal(find(m, "q", "vendor/a")->price.cached, 5);
    assert_int_equal(find(m, "p", "vendor/a")->price.input, 10);
    const model_info *mine = find(m, "p", "mine");
    assert_true(mine->price.known && mine->known);
    assert_int_equal(mine->price.cached, 1);
    assert_true(mine->price.by_hour && mine->price.hour == 9); /* beside its tokens */
    const model_info *draws = find(m, "any", "draws");
    assert_false(draws->price.known);
    assert_int_equal(draws->price.n_pictures, 1);
    assert_int_equal(draws->price.pictures[0].price, 8);
    assert_true(draws->price.by_call && draws->price.call == 0);
    const model_info *home = find(m, "ollama", "home");
    assert_true(home->known);
    assert_int_equal(home->context, 1000);
    assert_int_equal(home->price.long_input, 6);
    assert_float_equal(home->quality[TASK_CODE], 0.3, 1e-6);
    models_free(m);
    config_free(c);
}

static void expect_wrong(const char *yaml, const char *words)
{
    config *c;
    models *m = NULL;
    sv_error err = {0};
    assert_int_equal(kit_config(yaml, &c, &err), 0);
    assert_int_equal(models_load(c, &m, &err), SV_E_CONFIG);
    if (strstr(err.message, words) == NULL) fail_msg("\"%s\" is not in: %s", words, err.message);
    config_free(c);
}

static void test_wrong_settings(void **state)
{
    (void)state;
    write_file(models_file, small);
    expect_wrong("  prices:\n    - {model: a, input: 1, output: 1}\n    - {model: a, input: 1, "
                 "output: 2}\n",
                 "router.prices[1].model: \"a\" is in router.prices[0] already");
    expect_wrong("  model_info:\n    - {model: a, input: 1}\n", "router.model_info[0].output");
    expect_wrong("  model_info:\n    - {model: a, can: [fly]}\n", "\"fly\" is none of");
    expect_wrong("  model_info:\n    - {model: a, like: nobody}\n", "nothing is known");
    expect_wrong("  model_info:\n    - {model: a, task_quality: [\"code=101\"]}\n", "code=101");
    expect_wrong("  model_info:\n    - {model: a, task_quality: [\"sing=10\"]}\n", "sing=10");
    expect_wrong("  model_info:\n    - {model: a, long_from: 5, input: 1, output: 1}\n",
                 "go together");
    unlink(models_file);
    expect_wrong("", "no such file");
    assert_int_equal(mkdir(models_file, 0700), 0);
    expect_wrong("", "this is no file");
    rmdir(models_file);
}

/* The small file with one text replaced by another. */
static void expect_refused(const char *from, const char *to, const char *words)
{
    char text[4096];
    const char *at = strstr(small, from);
    assert_non_null(at);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - small), small, to, at + strlen(from));
    write_file(models_file, text);
    expect_wrong("", words);
}

static void test_wrong_files(void **state)
{
    (void)state;
    expect_refused("2026-01-02", "2026-02-30", "models.json:1: date");
    expect_refused("\"currency\"", "\"money\"", "there is no member \"money\"");
    expect_refused("\"rank\": 4", "\"rank\": 6", "models.json:2: classes.big.rank");
    expect_refused("\"code\": 0.8", "\"code\": 1.5", "0 to 1");
    expect_refused("\"code\": 0.25", "\"cod\": 0.25", "models.json:4: models[0].quality");
    expect_refused("\"context\": 1000", "\"context\": \"1000\"",
                   "models.json:4: models[0].context");
    expect_refused("\"context\": 1000", "\"context\": 0", "models[0].context");
    expect_refused("\"context\": 1000", "\"contex\": 1", "there is no member \"contex\"");
    expect_refused("\"see\"", "\"fly\"", "models.json:5: models[0].can");
    expect_refused("\"input\": 10,", "\"input\": -1,", "models[0].input");
    expect_refused("\"input\": 10, ", "", "input and output are wanted");
    expect_refused("\"input\": 10,", "\"input\": 10, \"long_from\": 5,", "go together");
    expect_refused("\"input\": 10,", "\"input\": 10, \"hour\": -1,", "models[0].hour");
    expect_refused("\"input\": 10,", "\"input\": 10, \"image\": {},", "a price is wanted");
    expect_refused("\"input\": 10,", "\"input\": 10, \"image\": \"7\",", "models[0].image");
    expect_refused("\"input\": 10,", "\"input\": 10, \"image\": {\"hd/\": 1},", "QUALITY/SIZE");
    expect_refused("\"class\": \"big\", \"can\"", "\"class\": \"small\", \"can\"",
                   "models.json:7: models[1].class");
    expect_refused("\"id\": \"b\"", "\"id\": \"a\"", "models[1].id: a is there twice");
    expect_refused("\"id\": \"b\"", "\"id\": \"\"", "models[1].id");
    expect_refused("\"id\": \"b\", ", "", "models[1].id: it is missing");
    expect_refused("\"vendor/b\"", "\"vendor/a\"", "q calls two models vendor/a");
    expect_refused("\"vendor/b\"", "\"vendor b\"", "without blanks");
    expect_refused("\"vendor/b\"", "[]", "must not be empty");
    expect_refused("\"vendor/b\"", "{\"name\": \"x\"}", "names, price, context");
    expect_refused("\"at\": {\"q\": \"vendor/b\"}", "\"at\": 5", "an object of providers");
    expect_refused("]}\n", "]", "models.json:8: The JSON text");
    expect_refused("{\"date\"", "[\"date\"", "not valid");
    write_file(models_file, "[]");
    expect_wrong("", "an object is wanted");
    write_file(models_file, "");
    expect_wrong("", "not valid");
}

/* Cut anywhere it is refused; with any byte replaced it is taken or refused, and nothing else. */
static void test_broken_files(void **state)
{
    (void)state;
    static const char put[] = {'"', '{', ']', '0', ',', ' '};
    config *c;
    sv_error err = {0};
    char text[sizeof small];
    assert_int_equal(kit_config("", &c, &err), 0);
    for (size_t n = 0; n + 2 < sizeof small; n++) {
        models *m = NULL;
        err = (sv_error){0};
        memcpy(text, small, n);
        text[n] = 0;
        write_file(models_file, text);
        assert_int_equal(models_load(c, &m, &err), SV_E_CONFIG);
        snprintf(text, sizeof text, "%s", small);
        text[n] = put[n % sizeof put];
        write_file(models_file, text);
        err = (sv_error){0};
        if (models_load(c, &m, &err) == 0)
            models_free(m);
        else
            assert_true(err.message[0]);
    }
    config_free(c);
}

/* Another content, and a time of change that differs whatever the clock's grain is. */
static void change_file(const char *text, int64_t when)
{
    write_file(models_file, text);
    struct timespec both[2] = {{.tv_sec = when}, {.tv_sec = when}};
    assert_int_equal(utimensat(AT_FDCWD, models_file, both, 0), 0);
}

static void test_reload(void **state)
{
    (void)state;
    config *c;
    sv_error err = {0};
    char text[4096];
    change_file(small, 1000);
    models *m = load("  prices:\n    - {model: a-1, input: 100, output: 200}\n", &c);
    uint64_t generation = models_generation(m);
    assert_int_equal(models_reload(m, false, &err), 0);
    assert_int_equal(models_generation(m), generation);
    /* wrong: the former stays, and it is told once */
    change_file("{\"date\": 5}", 2000);
    assert_int_equal(models_reload(m, false, &err), SV_E_CONFIG);
    assert_non_null(strstr(err.message, "models.json:1: date"));
    assert_string_equal(find(m, "p", "a-1")->id, "a");
    assert_int_equal(models_generation(m), generation);
    assert_int_equal(models_reload(m, false, &err), 0);
    err = (sv_error){0};
    assert_int_equal(models_reload(m, true, &err), SV_E_CONFIG);
    /* right again: taken, with the operator's word over it */
    snprintf(text, sizeof text, "%s", small);
    memcpy(strstr(text, "0.25"), "0.75", 4);
    change_file(text, 3000);
    assert_int_equal(models_reload(m, false, &err), 0);
    assert_float_equal(find(m, "p", "a-1")->quality[TASK_CODE], 0.75, 1e-6);
    assert_int_equal(find(m, "p", "a-1")->price.input, 100);
    assert_true(models_generation(m) != generation);
    /* gone: the former stays */
    unlink(models_file);
    err = (sv_error){0};
    assert_int_equal(models_reload(m, false, &err), SV_E_CONFIG);
    assert_string_equal(find(m, "p", "a-1")->id, "a");
    models_free(m);
    config_free(c);
}

static void test_cost(void **state)
{
    (void)state;
    model_price p = {.known = true,
                     .input = 3000000,
                     .output = 15000000,
                     .cached = 300000,
                     .cache_write = 3750000,
                     .cache_write_1h = 6000000};
    tokens t = {.prompt = 1000, .completion = 10};
    assert_int_equal(model_cost(&p, &t), 3150);
    t = (tokens){.prompt = 1000, .completion = 10, .cached = 400};
    assert_int_equal(model_cost(&p, &t), 600 * 3 + 120 + 150);
    t = (tokens){.prompt = 1000, .cached = 400, .cache_write = 500, .cache_write_1h = 100};
    assert_int_equal(model_cost(&p, &t), 300 + 120 + 1500 + 600);
    /* rounded up, once */
    t = (tokens){.prompt = 1};
    p.input = 1;
    assert_int_equal(model_cost(&p, &t), 1);
    t = (tokens){0};
    assert_int_equal(model_cost(&p, &t), 0);
    /* parts that are larger than the whole, and numbers below 0, are cut */
    p.input = 3000000;
    t = (tokens){.prompt = 10, .cached = 1000, .cache_write = 1000, .cache_write_1h = 1000};
    assert_int_equal(model_cost(&p, &t), 3);
    t = (tokens){.prompt = -5, .completion = -5, .cached = -1};
    assert_int_equal(model_cost(&p, &t), 0);
    /* long prompts, the cached part in proportion */
    p.long_from = 1000;
    p.long_input = 6000000;
    p.long_output = 22500000;
    t = (tokens){.prompt = 1000, .completion = 2};
    assert_int_equal(model_cost(&p, &t), 3030);
    t = (tokens){.prompt = 2000, .completion = 2, .cached = 1000};
    assert_int_equal(model_cost(&p, &t), 6000 + 600 + 45);
    /* the largest of everything */
    int64_t most = 9007199254740991, price = 1000000000000;
    p = (model_price){.known = true,
                      .input = price,
                      .output = price,
                      .cached = price,
                      .cache_write = price,
                      .cache_write_1h = price,
                      .long_from = 1,
                      .long_input = price,
                      .long_output = price};
    t = (tokens){.prompt = most, .completion = most};
    assert_int_equal(model_cost(&p, &t), most);
}

static void test_shipped(void **state)
{
    (void)state;
    config *c;
    use_shipped_models();
    models *m = load("", &c);
    const model_info *mini = find(m, "openai", "gpt-4o-mini");
    assert_int_equal(mini->price.input, 150000);
    assert_int_equal(mini->price.output, 600000);
    assert_int_equal(mini->context, 128000);
    assert_true(mini->can & MODEL_CAN_TOOLS);
    assert_ptr_equal(mini, find(m, "openai", "gpt-4o-mini-2024-07-18"));
    assert_string_equal(find(m, "openrouter", "openai/gpt-4o-mini")->id, "gpt-4o-mini");
    assert_string_equal(models_name_at(m, "openrouter", "claude-sonnet-4-5"),
                        "anthropic/claude-sonnet-4.5");
    assert_true(find(m, "openai", "text-embedding-3-small")->can & MODEL_CAN_EMBED);
    assert_int_equal(find(m, "ollama", "llama3.1:8b")->price.input, 0);
    assert_false(find(m, "deepseek", "deepseek-chat")->price.known);
    assert_true(find(m, "openai", "o3")->can & MODEL_COMPLETION_TOKENS);
    const model_info *draws = find(m, "openai", "dall-e-3");
    assert_true(draws->can & MODEL_CAN_MEDIA);
    assert_false(draws->price.known);
    assert_int_equal(draws->price.n_pictures, 6);
    assert_string_equal(draws->price.pictures[5].quality, "hd");
    assert_string_equal(draws->price.pictures[5].size, "1792x1024");
    assert_int_equal(draws->price.pictures[5].price, 120000);
    assert_int_equal(find(m, "openai", "whisper-1")->price.hour, 360000);
    assert_int_equal(find(m, "groq", "whisper-large-v3")->price.hour, 111000);
    assert_false(find(m, "together", "whisper-large-v3")->price.by_hour);
    const model_info *judges = find(m, "openai", "omni-moderation-latest");
    assert_true(judges->price.by_call && judges->price.call == 0);
    models_free(m);
    config_free(c);
}

/* Without a setting it lies beside the folder of the executables. */
static void test_place(void **state)
{
    (void)state;
    config *c;
    models *m;
    sv_error err = {0};
    write_file(yaml_file, "router:\n  discover: false\n");
    assert_int_equal(config_load(yaml_file, &c, &err), 0);
    assert_int_equal(models_load(c, &m, &err), 0);
    assert_true(find(m, "openai", "gpt-4o")->known);
    assert_int_equal(strlen(models_date(m)), 10);
    models_free(m);
    config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_names, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(test_operator, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(test_wrong_settings, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(test_wrong_files, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(test_broken_files, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(test_reload, kit_setup, kit_teardown),
        cmocka_unit_test(test_cost),
        cmocka_unit_test_setup_teardown(test_place, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(test_shipped, kit_setup, kit_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
