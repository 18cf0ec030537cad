/*  test_env.c - who sees which variable. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "env.h"

static char *const parent[] = {"PATH=/bin",
                               "OPENAI_API_KEY=sk-1",
                               "OPENAI_BASE_URL=http://x",
                               "OPENROUTER_API_KEY=sk-2",
                               "GROQ_API_KEY=sk-3",
                               "ANTHROPIC_API_KEY=sk-4",
                               "ANTHROPIC_BASE_URL=http://y",
                               "MY_OWN_KEY=sk-5",
                               "GITHUB_TOKEN=t",
                               "APP_SECRET=s",
                               "DB_PASSWORD=p",
                               "AWS_SECRET_ACCESS_KEY=a",
                               "SAMOVAR_BACKUP_S3_SECRET_KEY=b",
                               "SAMOVAR_MAIL_SMTP_PASSWORD=m",
                               "OPENAI_API_KEY_NOTE=fine",
                               "NOTIFY_SOCKET=/above",
                               "SAMOVAR_CONTROL_FD=9",
                               "SAMOVAR_TICKET_FD=9",
                               "SAMOVAR_ROOT_KEY_FD=9",
                               "SAMOVAR_PORT=7000",
                               "EMPTY=",
                               "NOEQUALS",
                               NULL};
static const char *const extra[] = {"MY_OWN_KEY"};

static const char *get(const env_list *l, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < l->n; i++)
        if (strncmp(l->vars[i], name, n) == 0 && l->vars[i][n] == '=') return l->vars[i] + n + 1;
    return NULL;
}

static void secrets_stay_out(void **state)
{
    (void)state;
    env_list l;
    assert_int_equal(env_copy(&l, parent, false, extra, 1), 0);
    static const char *const gone[] = {
        "OPENAI_API_KEY",     "OPENAI_BASE_URL",       "OPENROUTER_API_KEY",
        "GROQ_API_KEY",       "ANTHROPIC_API_KEY",     "MY_OWN_KEY",
        "ANTHROPIC_BASE_URL", "GITHUB_TOKEN",          "APP_SECRET",
        "DB_PASSWORD",        "NOTIFY_SOCKET",         "SAMOVAR_CONTROL_FD",
        "SAMOVAR_TICKET_FD",  "AWS_SECRET_ACCESS_KEY", "SAMOVAR_BACKUP_S3_SECRET_KEY",
        "SAMOVAR_ROOT_KEY_FD"};
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
        assert_null(get(&l, gone[i]));
    assert_string_equal(get(&l, "PATH"), "/bin");
    assert_string_equal(get(&l, "SAMOVAR_PORT"), "7000");
    assert_string_equal(get(&l, "OPENAI_API_KEY_NOTE"), "fine");
    assert_string_equal(get(&l, "EMPTY"), "");
    assert_null(l.vars[l.n]);
    env_free(&l);
}

static void the_router_gets_them(void **state)
{
    (void)state;
    env_list l;
    assert_int_equal(env_copy(&l, parent, true, extra, 1), 0);
    assert_string_equal(get(&l, "OPENAI_API_KEY"), "sk-1");
    assert_string_equal(get(&l, "MY_OWN_KEY"), "sk-5");
    assert_string_equal(get(&l, "ANTHROPIC_BASE_URL"), "http://y");
    assert_null(get(&l, "NOTIFY_SOCKET"));
    assert_null(get(&l, "SAMOVAR_CONTROL_FD"));
    assert_null(get(&l, "SAMOVAR_MAIL_SMTP_PASSWORD"));
    env_free(&l);
}

static void set_adds_and_replaces(void **state)
{
    (void)state;
    env_list l;
    assert_int_equal(env_copy(&l, parent, false, NULL, 0), 0);
    size_t n = l.n;
    assert_int_equal(env_set(&l, "SAMOVAR_PORT", "1"), 0);
    assert_int_equal(l.n, n);
    assert_string_equal(get(&l, "SAMOVAR_PORT"), "1");
    assert_int_equal(env_set(&l, "SAMOVAR_PORT_B", "2"), 0);
    assert_int_equal(l.n, n + 1);
    for (int i = 0; i < 200; i++) {
        char name[16];
        snprintf(name, sizeof name, "V%d", i);
        assert_int_equal(env_set(&l, name, ""), 0);
    }
    assert_string_equal(get(&l, "SAMOVAR_PORT"), "1");
    assert_string_equal(get(&l, "SAMOVAR_PORT_B"), "2");
    assert_null(l.vars[l.n]);
    env_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(secrets_stay_out),
        cmocka_unit_test(the_router_gets_them),
        cmocka_unit_test(set_adds_and_replaces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
