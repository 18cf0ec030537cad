/*  test_chat_text.c - what is said to a model, and what is understood of its answers however they are
 *  cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "chat_images.h"
#include "chat_text.h"
#include "error.h"

#include <stdio.h>
#include <string.h>

static void body_is(const chat_prompt *p, const char *want)
{
    buf out;
    buf_init(&out, 65536);
    assert_int_equal(chat_body(p, &out), 0);
    buf_putc(&out, 0);
    assert_string_equal(out.p, want);
    buf_free(&out);
}

static void a_request_to_a_model(void **state)
{
    (void)state;
    chat_turn turns[] = {{.user = true, .text = sv_cstr("a \"b\"\n")}, {.text = sv_cstr("c\\")}};
    chat_prompt p = {.model = sv_cstr("m\""),
                     .text = sv_cstr("\x01\xf0\x9f\x8d\xb5"),
                     .turns = turns,
                     .n = 2,
                     .temperature = -1};
    body_is(&p, "{\"model\":\"m\\\"\",\"messages\":[{\"role\":\"user\",\"content\":\"a \\\"b\\\"\\n"
                "\"},{\"role\":\"assistant\",\"content\":\"c\\\\\"},{\"role\":\"user\",\"content\":"
                "\"\\u0001\xf0\x9f\x8d\xb5\"}]}");
    p = (chat_prompt){.model = sv_cstr("m"),
                      .system = sv_cstr("s"),
                      .text = sv_cstr("t"),
                      .temperature = 0.7,
                      .max_tokens = 5,
                      .stream = true};
    body_is(&p,
            "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":"
            "\"user\",\"content\":\"t\"}],\"temperature\":0.7,\"max_tokens\":5,\"stream\":true}");
    p.temperature = 0;
    p.system = (sv_str){NULL, 0};
    p.stream = false;
    p.max_tokens = 0;
    body_is(&p, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"t\"}],"
                "\"temperature\":0}");
}

static void with_images(void **state)
{
    (void)state;
    buf seen;
    buf_init(&seen, 100);
    buf_puts(&seen, "data:image/gif;base64,R0lG\n");
    chat_turn turns[] = {{.user = true, .text = sv_cstr("a"), .images_n = seen.n},
                         {.user = false, .text = sv_cstr("b")}};
    chat_prompt p = {.model = sv_cstr("m"),
                     .text = sv_cstr("c"),
                     .images = sv_cstr("data:image/png;base64,AA==\ndata:image/webp;base64,BBBB\n"),
                     .turns = turns,
                     .n = 2,
                     .seen = &seen,
                     .temperature = -1};
#define IMAGE(url) "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/" url "\"}}"
#define SAYS(word) "\"content\":[{\"type\":\"text\",\"text\":\"" word "\"},"
    body_is(&p, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\"," SAYS("a")
                    IMAGE("gif;base64,R0lG") "]},{\"role\":\"assistant\",\"content\":\"b\"},"
                                             "{\"role\":\"user\"," SAYS("c")
                                                 IMAGE("png;base64,AA==") "," IMAGE(
                                                     "webp;base64,BBBB") "]}]}");
    buf_free(&seen);
}

static void what_an_image_is(void **state)
{
    (void)state;
    static const struct {
        const char *images;
        int rc;
        uint32_t n;
    } rows[] = {{"", 0, 0},
                {"data:image/jpeg;base64,/9j/\n", 0, 1},
                {"data:image/png;base64,AAA=\ndata:image/gif;base64,A+A=\n", 0, 2},
                {"data:image/png;base64,\n", SV_E_INVALID, 0},
                {"data:image/png;base64,AAA\n", SV_E_INVALID, 0},
                {"data:image/png;base64,AA=A\n", SV_E_INVALID, 0},
                {"data:image/png;base64,A===\n", SV_E_INVALID, 0},
                {"data:image/png;base64,AA\"A\n", SV_E_INVALID, 0},
                {"data:image/svg+xml;base64,AAAA\n", SV_E_INVALID, 0},
                {"https://example.org/a.png\n", SV_E_INVALID, 0},
                {"\n", SV_E_INVALID, 0}};
    char many[64 * 9] = "";
    uint32_t n;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sv_error err = {0};
        int rc = chat_images_check(sv_cstr(rows[i].images), 100, &n, &err);
        if (rc != rows[i].rc || (rc == 0 && n != rows[i].n)) fail_msg("%s", rows[i].images);
        if (rc) assert_string_equal(err.field, "images");
    }
    for (int i = 0; i < 9; i++)
        strcat(many, "data:image/png;base64,AAAA\n");
    assert_int_equal(chat_images_check(sv_cstr(many), 1000, &n, NULL), SV_E_OUT_OF_RANGE);
    assert_int_equal(chat_images_check(sv_cstr(many), 100, &n, NULL), SV_E_TOO_LARGE);
}

static void title_is(const char *text, const char *want)
{
    char title[CHAT_TITLE + 1];
    chat_title(sv_cstr(text), title);
    assert_string_equal(title, want);
}

static void titles(void **state)
{
    (void)state;
    char long_text[301] = {0}, want[CHAT_TITLE_BYTES + 1] = {0};
    title_is("  How\n\tare  you?\r\n", "How are you?");
    title_is("\n \t", "");
    for (int i = 0; i < 100; i++)
        memcpy(long_text + 3 * i, "\xe2\x82\xac", 3);
    memcpy(want, long_text, 78); /* no half character */
    title_is(long_text, want);
}

/* ---- streams ---- */

typedef struct heard {
    char said[512], thought[512];
} heard;

static void hear(void *arg, bool thinking, sv_str text)
{
    heard *h = arg;
    char *to = thinking ? h->thought : h->said;
    size_t n = strlen(to);
    snprintf(to + n, sizeof h->said - n, "%.*s", SV_FMT(text));
}

static int feed(chat_reader *r, const char *bytes, uint32_t step)
{
    uint32_t n = (uint32_t)strlen(bytes);
    for (uint32_t at = 0; at < n; at += step) {
        int rc = chat_reader_feed(r, (sv_str){bytes + at, n - at < step ? n - at : step});
        if (rc) return rc;
    }
    return 0;
}

static const char stream[] =
    ": ping\n\n"
    "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
    "data:{\"choices\":[{\"delta\":{\"reasoning_content\":\"hm \\u00e9\"}}]}\r\n\r\n"
    "event: x\nid: 3\ndata: {\"choices\":[{\"delta\":\n"
    "data: {\"content\":\"a\\n\\\"\\ud83c\\udf75\xc3\xa9\"},\"finish_reason\":null}]}\n\n"
    "data: {\"choices\":[{\"delta\":{\"content\":[{\"type\":\"text\",\"text\":\"bc\"}]},"
    "\"finish_reason\":\"stop\"}]}\n\n"
    "data: {\"choices\":[],\"usage\":{\"total_tokens\":3}}\n\n"
    "data: [DONE]\n\n";

static void a_stream_however_it_is_cut(void **state)
{
    (void)state;
    for (uint32_t step = 1; step < sizeof stream; step++) {
        heard h = {.said = ""};
        chat_reader r;
        chat_reader_init(&r, hear, &h);
        assert_int_equal(feed(&r, stream, step), 0);
        assert_string_equal(h.said, "a\n\"\xf0\x9f\x8d\xb5\xc3\xa9"
                                    "bc");
        assert_string_equal(h.thought, "hm \xc3\xa9");
        assert_string_equal(r.finish, "stop");
        assert_true(r.ended);
        assert_int_equal(r.failed[0], 0);
        chat_reader_free(&r);
    }
}

static void what_is_no_stream(void **state)
{
    (void)state;
    static const char *const bad[] = {"data: {\"choices\":\n\n", "data: nonsense\n\n",
                                      "data: {\"a\":1,\"a\":2}\n\n", "data: \xff\n\n"};
    static const char *const odd[] = {
        "data: {}\n\n",
        "data: []\n\n",
        "data: 5\n\n",
        "data: {\"choices\":{}}\n\n",
        "data: {\"choices\":[5]}\n\n",
        "data: {\"choices\":[{\"delta\":[]}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":5}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":[5,{\"text\":[]}]},\"finish_reason\":7}]}\n\n",
        "data\n\nevent: x\n\n\n\n",
        ("data: {\"choices\":[{\"finish_reason\":\"a very long reason that nobody would "
         "give\"}]}\n\n")};
    heard h = {.said = ""};
    chat_reader r;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        chat_reader_init(&r, hear, &h);
        assert_int_equal(feed(&r, bad[i], 7), SV_E_PROVIDER_GARBAGE);
        chat_reader_free(&r);
    }
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        chat_reader_init(&r, hear, &h);
        assert_int_equal(feed(&r, odd[i], 7), 0);
        assert_int_equal(r.finish[0], 0);
        chat_reader_free(&r);
    }
    assert_string_equal(h.said, "");
    chat_reader_init(&r, hear, &h);
    assert_int_equal(feed(&r, "data: {\"error\":{\"message\":\"went away\"}}\n\n", 5), 0);
    assert_string_equal(r.failed, "went away");
    chat_reader_free(&r);
}

/* ---- whole answers ---- */

static void a_whole_answer(void **state)
{
    (void)state;
    buf text, thinking;
    char finish[CHAT_FINISH + 1] = "", words[CHAT_REASON + 1];
    buf_init(&text, 1024);
    buf_init(&thinking, 1024);
    assert_int_equal(
        chat_read_answer(sv_cstr("{\"choices\":[{\"message\":{\"content\":\"x\\ty\","
                                 "\"reasoning\":\"z\"},\"finish_reason\":\"length\"}]}"),
                         &text, &thinking, finish),
        0);
    assert_true(sv_str_is(buf_str(&text), "x\ty"));
    assert_true(sv_str_is(buf_str(&thinking), "z"));
    assert_string_equal(finish, "length");
    buf_reset(&text, 0);
    assert_int_equal(
        chat_read_answer(
            sv_cstr("{\"choices\":[{\"message\":{\"content\":null,\"refusal\":\"no\"}}]}"), &text,
            &thinking, finish),
        0);
    assert_true(sv_str_is(buf_str(&text), "no"));
    static const char *const bad[] = {"",      "{}", "[]", "{\"choices\":[]}", "{\"choices\":[{}]}",
                                      "<html>"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(chat_read_answer(sv_cstr(bad[i]), &text, &thinking, finish),
                         SV_E_PROVIDER_GARBAGE);
    assert_true(chat_read_error(sv_cstr("{\"error\":{\"message\":\"a \\\"b\\\"\"}}"), words));
    assert_string_equal(words, "a \"b\"");
    assert_true(chat_read_error(sv_cstr("{\"error\":\"plain\"}"), words));
    assert_string_equal(words, "plain");
    assert_false(chat_read_error(sv_cstr("{\"error\":null}"), words));
    assert_false(chat_read_error(sv_cstr("<html>"), words));
    buf_free(&text);
    buf_free(&thinking);
}

static void what_clients_get(void **state)
{
    (void)state;
    buf out;
    workspace_chat_usage usage = {1, 2, 3};
    workspace_chat_done done = {.model = sv_cstr("m"), .usage = &usage, .finish = sv_cstr("stop")};
    buf_init(&out, 4096);
    assert_int_equal(chat_event_text("delta", sv_cstr("a\n\nevent: done"), &out), 0);
    assert_true(
        sv_str_is(buf_str(&out), "event: delta\ndata: {\"text\":\"a\\n\\nevent: done\"}\n\n"));
    buf_reset(&out, 0);
    assert_int_equal(chat_event_done(&done, &out), 0);
    const char *want =
        "\"session_id\":null,\"message_id\":null,\"model\":\"m\",\"provider\":null,\"task\":null,"
        "\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3},\"cost\":null,"
        "\"cached\":null,\"decision_id\":null,\"finish\":\"stop\"}";
    char text[1024];
    snprintf(text, sizeof text, "event: done\ndata: {%s\n\n", want);
    assert_true(sv_str_is(buf_str(&out), text));
    buf_reset(&out, 0);
    assert_int_equal(chat_answer(sv_cstr("\"x\""), (sv_str){NULL, 0}, &done, &out), 0);
    snprintf(text, sizeof text, "{\"response\":\"\\\"x\\\"\",\"thinking\":null,%s\n", want);
    assert_true(sv_str_is(buf_str(&out), text));
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_to_a_model),
        cmocka_unit_test(with_images),
        cmocka_unit_test(what_an_image_is),
        cmocka_unit_test(titles),
        cmocka_unit_test(a_stream_however_it_is_cut),
        cmocka_unit_test(what_is_no_stream),
        cmocka_unit_test(a_whole_answer),
        cmocka_unit_test(what_clients_get),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
