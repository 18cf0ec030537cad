/*  test_human_log.c - log lines for eyes and for machines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <time.h>

#include "human_log.h"
#include "json_scan.h"

enum { UNIX_MS = 1 }; /* 00:00:00.001 */

static char *human(const char *line, bool colour)
{
    static char text[20000];
    buf out;
    buf_init(&out, sizeof text - 1);
    human_log_line(sv_cstr(line), "router/1", UNIX_MS, colour, &out);
    memcpy(text, out.p, out.n);
    text[out.n] = 0;
    buf_free(&out);
    return text;
}

static char *json(sv_str line)
{
    static char text[70000];
    buf out;
    buf_init(&out, sizeof text - 1);
    json_log_line(line, "router/1", UNIX_MS, &out);
    assert_int_equal(out.p[out.n - 1], '\n');
    assert_null(memchr(out.p, '\n', out.n - 1));
    assert_int_equal(json_skim((sv_str){out.p, (uint32_t)out.n - 1}, 16, NULL), 0);
    memcpy(text, out.p, out.n);
    text[out.n] = 0;
    buf_free(&out);
    return text;
}

static void fields_in_order(void **state)
{
    (void)state;
    assert_string_equal(
        human("{\"ts\":\"2030-01-31T12:00:01.123Z\",\"level\":\"info\",\"service\":\"router\","
              "\"instance\":1,\"event\":\"provider answered\",\"provider\":\"x y\",\"status\":200}",
              false),
        "12:00:01.123 router/1    provider answered  provider=x y  status=200\n");
}

static void bad_levels_are_marked(void **state)
{
    (void)state;
    assert_non_null(strstr(human("{\"level\":\"error\",\"event\":\"e\"}", false), "ERROR e"));
    assert_non_null(strstr(human("{\"level\":\"warn\",\"event\":\"e\"}", false), "WARN e"));
    assert_null(strstr(human("{\"level\":\"info\",\"event\":\"e\"}", false), "INFO"));
    assert_null(strchr(human("{\"level\":\"error\",\"event\":\"e\"}", false), '\033'));
    assert_non_null(
        strstr(human("{\"level\":\"error\",\"event\":\"e\"}", true), "\033[1;31mERROR "));
}

static void errors_read_as_sentences(void **state)
{
    (void)state;
    assert_non_null(
        strstr(human("{\"event\":\"e\",\"error\":{\"code\":\"server.io\",\"field\":\"f\","
                     "\"message\":\"It broke.\",\"detail\":\"errno 5\"}}",
                     false),
               "e  server.io: It broke. field=f | errno 5\n"));
}

static void terminals_are_safe(void **state)
{
    (void)state;
    /* An escape sequence in text, in a JSON escape, and as the C1 control U+009B. */
    static const char *const evil[] = {"\033[2Jx",
                                       "{\"event\":\"a\\u001b[2J\",\"k\":\"\\u009b31m\"}",
                                       "{\"event\":\"e\",\"k\\u001b\":1}", "a\xc2\x9b-b\r"};
    for (size_t i = 0; i < sizeof evil / sizeof *evil; i++) {
        const char *text = human(evil[i], false);
        assert_null(strchr(text, '\033'));
        assert_null(strstr(text, "\xc2\x9b"));
        assert_null(strchr(text, '\r'));
    }
}

static void other_output_is_shown_as_it_is(void **state)
{
    (void)state;
    assert_string_equal(human("plain words", false), "00:00:00.001 router/1    plain words\n");
    assert_non_null(strstr(human("{\"no\":\"event\"}", false), "{\"no\":\"event\"}"));
    assert_non_null(strstr(human("{broken", false), "{broken"));
    assert_non_null(strstr(human("{\"event\":\"e\",\"ts\":\"nonsense\"}", false), "00:00:00.001 "));
}

static void machines_always_get_json(void **state)
{
    (void)state;
    assert_string_equal(json(sv_cstr("{\"event\":\"e\"}")), "{\"event\":\"e\"}\n");
    const char *text = json(sv_cstr("assert \"x\" failed"));
    assert_non_null(strstr(text, "\"service\":\"router\",\"instance\":1,"));
    assert_non_null(strstr(text, "\"text\":\"assert \\\"x\\\" failed\""));
    assert_non_null(strstr(text, "\"ts\":\"1970-01-01T00:00:00.001Z\""));
    assert_non_null(strstr(json(sv_cstr("caf\xc3\xa9 \xff\xfe")), "caf\xc3\xa9 ??"));
    json(sv_cstr("{\"a\":1}{"));
    json((sv_str){"a\0b", 3});
    char *huge = malloc(8192);
    memset(huge, 1, 8192);
    json((sv_str){huge, 8192});
    free(huge);
}

int main(void)
{
    setenv("TZ", "UTC", 1);
    tzset();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_in_order),
        cmocka_unit_test(bad_levels_are_marked),
        cmocka_unit_test(errors_read_as_sentences),
        cmocka_unit_test(terminals_are_safe),
        cmocka_unit_test(other_output_is_shown_as_it_is),
        cmocka_unit_test(machines_always_get_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
