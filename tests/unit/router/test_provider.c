/*  Providers from configuration and environment, and keys that cannot be printed. */
#include "provider.h"

#include "error.h"
#include "log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64], file[96], key_file[96];

static int setup(void **state)
{
    (void)state;
    clearenv();
    snprintf(folder, sizeof folder, "/tmp/provider_test_XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(file, sizeof file, "%s/c.yaml", folder);
    snprintf(key_file, sizeof key_file, "%s/key", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(file);
    unlink(key_file);
    rmdir(folder);
    clearenv();
    metrics_free();
    return 0;
}

static void write_file(const char *name, const char *text)
{
    FILE *f = fopen(name, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int load(const char *yaml, provider_list *l, sv_error *err)
{
    config *c;
    write_file(file, yaml);
    assert_int_equal(config_load(file, &c, err), 0);
    int rc = provider_list_load(l, c, err);
    config_free(c);
    return rc;
}

static void refused(const char *yaml, const char *words)
{
    provider_list l;
    sv_error err = {0};
    assert_int_equal(load(yaml, &l, &err), SV_E_CONFIG);
    if (strstr(err.message, words) == NULL) fail_msg("%s", err.message);
}

static void test_environment(void **state)
{
    (void)state;
    provider_list l;
    sv_error err = {0};
    setenv("OPENAI_API_KEY", " sk-openai \n", 1);
    setenv("ANTHROPIC_API_KEY", "sk-ant", 1);
    setenv("OPENROUTER_API_KEY", "sk-or", 1);
    setenv("OPENAI_BASE_URL", "http://user:pw@127.0.0.1:9/v1/", 1);
    setenv("GROQ_API_KEY", "", 1);
    setenv("GROQ_BASE_URL", "http://unused/", 1);
    assert_int_equal(load("", &l, &err), 0);
    assert_int_equal(l.n, 3);
    assert_string_equal(l.items[0]->name, "openrouter");
    assert_string_equal(l.items[0]->api_url, "https://openrouter.ai/api/v1");
    assert_string_equal(l.items[1]->name, "openai");
    assert_string_equal(l.items[1]->api_url, "http://user:pw@127.0.0.1:9/v1");
    assert_string_equal(l.items[1]->base_url, "http://127.0.0.1:9/v1"); /* for people */
    assert_string_equal(provider_key_header(l.items[1], 0), "Authorization: Bearer sk-openai");
    assert_string_equal(l.items[2]->name, "anthropic");
    assert_string_equal(l.items[2]->models_url, "https://api.anthropic.com/v1/models?limit=1000");
    assert_string_equal(provider_key_header(l.items[2], 0), "x-api-key: sk-ant");
    const char *gone[] = {"OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OPENROUTER_API_KEY",
                          "OPENAI_BASE_URL", "GROQ_API_KEY"};
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
        assert_null(getenv(gone[i]));
    provider_list_free(&l);
    setenv("OPENAI_API_KEY", "a b", 1);
    err = (sv_error){0};
    assert_int_equal(load("", &l, &err), SV_E_CONFIG);
    assert_non_null(strstr(err.message, "OPENAI_API_KEY"));
    assert_null(strstr(err.message, "a b"));
    assert_null(getenv("OPENAI_API_KEY"));
    setenv("OPENAI_API_KEY", "k", 1);
    setenv("OPENAI_BASE_URL", "example.com", 1);
    err = (sv_error){0};
    assert_int_equal(load("", &l, &err), SV_E_CONFIG);
    assert_non_null(strstr(err.message, "environment OPENAI_BASE_URL"));
}

static void test_value_is_wiped(void **state)
{
    (void)state;
    char variable[] = "SOME_KEY=sk-very-secret";
    putenv(variable);
    secret_wipe_env("SOME_KEY");
    for (size_t i = 9; i < sizeof variable; i++)
        assert_int_equal(variable[i], 0);
    secret_wipe_env("SOME_KEY");
}

static void test_configuration(void **state)
{
    (void)state;
    provider_list l;
    sv_error err = {0};
    char yaml[1024];
    write_file(key_file, "sk-file\n");
    setenv("MY_KEY", "sk-mine", 1);
    setenv("OPENAI_API_KEY", "sk-openai", 1);
    snprintf(
        yaml, sizeof yaml,
        "router:\n  providers:\n"
        "  - {name: openai, base_url: 'http://10.0.0.1/v1', key_env: MY_KEY, models: [b, a, b]}\n"
        "  - {name: second, base_url: 'https://x.example/api///', key_file: %s}\n"
        "  - {name: third, base_url: 'https://y.example', key_env: NOT_SET}\n",
        key_file);
    assert_int_equal(load(yaml, &l, &err), 0);
    assert_int_equal(l.n, 3); /* the known openai steps back behind the configured one */
    assert_string_equal(provider_key_header(l.items[0], 0), "Authorization: Bearer sk-mine");
    assert_true(l.items[0]->fixed_models);
    assert_int_equal(l.items[0]->models.n, 2);
    assert_string_equal(l.items[0]->models.items[0].id, "a");
    assert_string_equal(l.items[1]->api_url, "https://x.example/api");
    assert_string_equal(provider_key_header(l.items[1], 0), "Authorization: Bearer sk-file");
    assert_int_equal(l.items[2]->n_keys, 0);
    assert_null(provider_key_header(l.items[2], 0));
    assert_null(getenv("MY_KEY"));
    provider_list_free(&l);
}

static void test_bad_configuration(void **state)
{
    (void)state;
    refused("router.providers: [{name: a, base_url: 'ftp://x'}]",
            "router.providers[0].base_url: The URL");
    refused("router.providers: [{name: a, base_url: 'http://x?y'}]", "query");
    refused("router.providers: [{name: 'a/b', base_url: 'http://x'}]",
            "router.providers[0].name: A provider's name");
    refused("router.providers: [{name: a, base_url: 'http://x'}, {name: a, base_url: 'http://y'}]",
            "router.providers[1].name: There are two");
    refused("router.providers: [{name: a, base_url: 'http://x', key_env: A, key_file: b}]",
            "not both");
    refused("router.providers: [{name: a, base_url: 'http://x', key_file: /nowhere/x}]",
            "No such file");
    refused("router.providers: [{name: a, base_url: 'http://x', key_file: /tmp}]",
            "no file that can be read");
    refused("router.providers: [{name: a, base_url: 'http://x', key_file: /dev/null}]",
            "key file /dev/null");
    write_file(key_file, "two words");
    char yaml[256];
    snprintf(yaml, sizeof yaml, "router.providers: [{name: a, base_url: 'http://x', key_file: %s}]",
             key_file);
    refused(yaml, "c.yaml:1: key router.providers[0].key_file: The key in");
    write_file(key_file, "\n");
    refused(yaml, "is empty");
}

static void test_kinds(void **state)
{
    (void)state;
    provider_list l;
    sv_error err = {0};
    buf url;
    setenv("K1", "k-one", 1);
    setenv("K2", "k-two", 1);
    assert_int_equal(
        load("router:\n  providers:\n"
             "  - {name: az, kind: azure, base_url: 'https://x.example', key_env: K1, api_version: "
             "v9}\n"
             "  - {name: ge, kind: gemini, base_url: 'https://g.example/v1beta', key_env: K2}\n"
             "  - {name: ol, kind: ollama, base_url: 'http://127.0.0.1:11434'}\n"
             "  - {name: two, base_url: 'http://x/v1', key_env: K1, more_key_envs: [K2]}\n",
             &l, &err),
        0);
    buf_init(&url, 1000);
    assert_int_equal(
        provider_url(l.items[0], sv_cstr("/chat/completions"), sv_cstr("gpt 4/o"), &url), 0);
    assert_true(sv_str_is(buf_str(&url), "https://x.example/openai/deployments/gpt%204%2Fo/chat/"
                                         "completions?api-version=v9"));
    buf_reset(&url, 0);
    /* a model is no way to another address */
    assert_int_equal(provider_url(l.items[0], sv_cstr("/chat/completions"), sv_cstr(".."), &url),
                     SV_E_MODEL_UNKNOWN);
    assert_int_equal(buf_str(&url).n, strlen("https://x.example"));
    buf_reset(&url, 0);
    assert_int_equal(provider_url(l.items[1], sv_cstr("/models/m:x?alt=sse"), sv_cstr("m"), &url),
                     0);
    assert_true(sv_str_is(buf_str(&url), "https://g.example/v1beta/models/m:x?alt=sse"));
    buf_free(&url);
    assert_string_equal(provider_key_header(l.items[0], 0), "api-key: k-one");
    assert_string_equal(provider_key_header(l.items[1], 0), "x-goog-api-key: k-two");
    assert_null(provider_key_header(l.items[2], 0));
    assert_int_equal(l.items[3]->n_keys, 2);
    assert_string_equal(provider_key_header(l.items[3], 1), "Authorization: Bearer k-two");
    assert_string_equal(l.items[2]->models_url, "http://127.0.0.1:11434/api/tags");
    assert_null(getenv("K2"));
    provider_list_free(&l);
}

static void test_model_list(void **state)
{
    (void)state;
    model_list l;
    char name[32];
    model_list_init(&l);
    assert_int_equal(model_list_add(&l, (sv_str){"", 0}, 0), SV_E_OUT_OF_RANGE);
    assert_int_equal(model_list_add(&l, (sv_str){"a\0b", 3}, 0), SV_E_INVALID);
    for (int i = 0; i < MODELS_MAX; i++) {
        snprintf(name, sizeof name, "model-%d", i);
        assert_int_equal(model_list_add(&l, sv_cstr(name), i), 0);
    }
    assert_int_equal(model_list_add(&l, sv_cstr("x"), 0), SV_E_TOO_LARGE);
    provider p = {0};
    model_list_init(&p.models);
    provider_set_models(&p, &l);
    for (int i = 0; i < MODELS_MAX; i += 7) {
        snprintf(name, sizeof name, "model-%d", i);
        assert_true(provider_lists(&p, sv_cstr(name)));
    }
    assert_false(provider_lists(&p, sv_cstr("model-")));
    assert_false(provider_lists(&p, sv_cstr("model-40000")));
    model_list_free(&p.models);
}

static void test_blot(void **state)
{
    (void)state;
    secret *s;
    buf b;
    assert_int_equal(secret_new(sv_cstr("12345678"), "x", &s, NULL), 0);
    buf_init(&b, 1000);
    secret_blot(s, &b);
    buf_puts(&b, "1234567812345678 a 12345678");
    secret_blot(s, &b);
    assert_true(sv_str_is(buf_str(&b), "**************** a ********"));
    secret_blot(NULL, &b);
    buf_free(&b);
    secret_free(s);
    /* as JSON may spell it */
    assert_int_equal(secret_new(sv_cstr("ab/\\1234"), "x", &s, NULL), 0);
    buf_init(&b, 1000);
    buf_puts(
        &b,
        "[ab/\\1234][ab\\/\\\\1234][\\u0061b\\u002F\\u005c12\\u00334][ab\\/\\\\12][\\u0061b\\u00");
    assert_true(secret_in(s, buf_str(&b)));
    secret_blot(s, &b);
    assert_false(secret_in(s, buf_str(&b)));
    assert_non_null(memmem(b.p, b.n, "[********][**********][****************************]", 52));
    assert_non_null(memmem(b.p, b.n, "[ab\\/\\\\12][\\u0061b\\u00", 22));
    buf_free(&b);
    secret_free(s);
    secret_free(NULL);
    assert_int_equal(secret_new(sv_cstr(" \n"), "x", &s, NULL), 0);
    assert_null(s);
    char longer[5000];
    memset(longer, 'k', sizeof longer);
    assert_int_equal(secret_new((sv_str){longer, sizeof longer}, "x", &s, NULL), SV_E_CONFIG);
    assert_int_equal(secret_new(sv_cstr("a\nb"), "x", &s, NULL), SV_E_CONFIG);
    assert_int_equal(secret_new(sv_cstr("\xc3\xa4"), "x", &s, NULL), SV_E_CONFIG);
}

#define WITH_FOLDER(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_environment),   WITH_FOLDER(test_value_is_wiped),
        WITH_FOLDER(test_configuration), WITH_FOLDER(test_bad_configuration),
        WITH_FOLDER(test_kinds),         WITH_FOLDER(test_model_list),
        WITH_FOLDER(test_blot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
