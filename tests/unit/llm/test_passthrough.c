/*  test_passthrough.c - the model's field in a form, found and replaced. */
#include "error.h"
#include "passthrough.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define FIELD(name, value)                                                                         \
    "--b\r\nContent-Disposition: form-data; name=" name "\r\n\r\n" value "\r\n"
#define END "--b--\r\n"
#define AUDIO                                                                                      \
    "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n"                 \
    "Content-Type: audio/mpeg\r\n\r\n\0\xff--b \n--\r\n\r\n-name=\"model\"\r\n\r\n"

typedef struct form {
    const char *p;
    size_t n;
} form;
#define FORM(x)                                                                                    \
    {                                                                                              \
        (x), sizeof(x) - 1                                                                         \
    }

static sv_str copy_of(form f, char **ret)
{
    *ret = malloc(f.n ? f.n : 1); /* so that reading past it is seen */
    assert_non_null(*ret);
    memcpy(*ret, f.p, f.n);
    return (sv_str){*ret, (uint32_t)f.n};
}

static int set(form f, const char *boundary, const char *model, buf *out, sv_error *err)
{
    char *bytes;
    *err = (sv_error){0};
    buf_init(out, 1 << 20);
    sv_str body = copy_of(f, &bytes);
    int rc = form_set_model(body, sv_cstr(boundary), sv_cstr(model), out, err);
    free(bytes);
    return rc;
}

static void test_replace(void **state)
{
    (void)state;
    static const form rows[][2] = {
        {FORM(FIELD("\"model\"", "old") END), FORM(FIELD("\"model\"", "new/one") END)},
        {FORM(AUDIO FIELD("model", "w-1") FIELD("\"language\"", "") "--b--"),
         FORM(AUDIO FIELD("model", "new/one") FIELD("\"language\"", "") "--b--")},
        {FORM("--b\r\ncontent-type: text/plain\r\nCONTENT-DISPOSITION:form-data;name=\"model\" \r\n"
              "Content-Transfer-Encoding: 8bit\r\n\r\n\xc3\xa9\r\n" AUDIO END),
         FORM("--b\r\ncontent-type: text/plain\r\nCONTENT-DISPOSITION:form-data;name=\"model\" \r\n"
              "Content-Transfer-Encoding: 8bit\r\n\r\nnew/one\r\n" AUDIO END)},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf out;
        sv_error err;
        if (set(rows[i][0], "b", "new/one", &out, &err)) fail_msg("%zu: %s", i, err.message);
        assert_int_equal(out.n, rows[i][1].n);
        assert_memory_equal(out.p, rows[i][1].p, out.n);
        buf_free(&out);
    }
}

static void test_find(void **state)
{
    (void)state;
    static const char body[] = "--x-y\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n"
                               "whisper-1\r\n--x-y--\r\n";
    sv_error err = {0};
    sv_str model;
    assert_int_equal(form_model(sv_cstr(body), sv_cstr("x-y"), &model, &err), 0);
    assert_true(sv_str_is(model, "whisper-1"));
}

static void test_hostile(void **state)
{
    (void)state;
#define HEAD(lines) "--b\r\n" lines "\r\n\r\nx\r\n" END
#define NAMED       "Content-Disposition: form-data; name=\"a\""
    static const struct {
        form body;
        int code;
        const char *field, *words;
    } rows[] = {
        {FORM(""), SV_E_INVALID, "", "empty"},
        {FORM("--"), SV_E_INVALID, "", "does not begin"},
        {FORM("--b"), SV_E_INVALID, "", "does not end"},
        {FORM("--b\r\n"), SV_E_INVALID, "", "cut in a part's head"},
        {FORM("--b\r\n" NAMED "\r\n\r\nx"), SV_E_INVALID, "", "last boundary"},
        {FORM("--b\r\n" NAMED "\r\n\r\nx\r\n--b"), SV_E_INVALID, "", "does not end"},
        {FORM("preamble\r\n" FIELD("model", "m") END), SV_E_INVALID, "", "does not begin"},
        {FORM("\r\n" FIELD("model", "m") END), SV_E_INVALID, "", "does not begin"},
        {FORM(FIELD("model", "m") END "epilogue"), SV_E_INVALID, "", "follows its end"},
        {FORM(FIELD("model", "m") "--b-- "), SV_E_INVALID, "", "follows its end"},
        {FORM(FIELD("\"a\"", "x") END), SV_E_MISSING_FIELD, "model", "no field"},
        {FORM(END), SV_E_MISSING_FIELD, "model", "no field"},
        {FORM(FIELD("\"Model\"", "x") END), SV_E_MISSING_FIELD, "model", "no field"},
        {FORM(FIELD("model", "m") FIELD("\"model\"", "m") END), SV_E_INVALID, "model", "twice"},
        {FORM(FIELD("model", "") END), SV_E_OUT_OF_RANGE, "model", "1 to 256"},
        {FORM(FIELD("model", "a\r\nb") END), SV_E_INVALID, "model", "UTF-8"},
        {FORM(FIELD("model", "a\xff") END), SV_E_INVALID, "model", "UTF-8"},
        {FORM(FIELD("model; filename=f", "m") END), SV_E_INVALID, "model", "a file"},
        /* a field of another name that holds what a careless reader takes for a part */
        {FORM(FIELD("a", "x\n--b\nContent-Disposition: form-data; name=model\n\nbad")
                  FIELD("model", "m") END),
         SV_E_INVALID, "", "does not end"},
        {FORM(FIELD("a", "x\n--b\r\nContent-Disposition: form-data; name=a\r\n\r\n")
                  FIELD("model", "m") END),
         SV_E_INVALID, "", "does not end"},
        {FORM(FIELD("a", "x\r\n--bc") FIELD("model", "m") END), SV_E_INVALID, "", "does not end"},
        {FORM(FIELD("a", "x\r\n--b \r\n") FIELD("model", "m") END), SV_E_INVALID, "",
         "does not end"},
        {FORM("--b\r\n" NAMED "\r\n\r\n--b\r\n" FIELD("model", "m") END), SV_E_INVALID, "",
         "does not end"},
        /* heads that are read in two ways */
        {FORM(HEAD("Content-Disposition: form-data; name=\"mo\\del\"")), SV_E_INVALID, "",
         "cannot be read"},
        {FORM(HEAD("Content-Disposition: form-data; name=\"a\"; name=\"model\"")), SV_E_INVALID, "",
         "two names"},
        {FORM(HEAD("Content-Disposition: form-data; name*=utf-8''model")), SV_E_INVALID, "",
         "encoding"},
        {FORM(HEAD("Content-Disposition: form-data; name")), SV_E_INVALID, "", "cannot be read"},
        {FORM(HEAD("Content-Disposition: form-data; name=\"a")), SV_E_INVALID, "",
         "cannot be read"},
        {FORM(HEAD("Content-Disposition: form-data")), SV_E_INVALID, "", "no name"},
        {FORM(HEAD("Content-Disposition: form-datax; name=a")), SV_E_INVALID, "", "no form-data"},
        {FORM(HEAD("Content-Disposition: attachment; name=a")), SV_E_INVALID, "", "no form-data"},
        {FORM(HEAD(NAMED "\r\n" NAMED)), SV_E_INVALID, "", "two Content-Dispositions"},
        {FORM(HEAD(NAMED "\r\nContent-Type: a/b\r\nContent-Type: c/d")), SV_E_INVALID, "",
         "two types"},
        {FORM(HEAD(NAMED "\r\nContent-Transfer-Encoding: base64")), SV_E_INVALID, "",
         "transfer encoding"},
        {FORM(HEAD("Content-Disposition: form-data;\r\n name=\"model\"")), SV_E_INVALID, "", ""},
        {FORM(HEAD(NAMED "\r\n folded: x")), SV_E_INVALID, "", "folded"},
        {FORM(HEAD(NAMED "\r\nno header")), SV_E_INVALID, "", "no header"},
        {FORM(HEAD(NAMED "\r\nx : y")), SV_E_INVALID, "", "no header"},
        {FORM(HEAD(NAMED "\r\nx: \0y")), SV_E_INVALID, "", "control"},
        {FORM("--b\n" NAMED "\r\n\r\nx\r\n" END), SV_E_INVALID, "", "does not end"},
        {FORM("--b\r\n" NAMED "\n\r\nx\r\n" END), SV_E_INVALID, "", "without CRLF"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf out;
        sv_error err;
        int rc = set(rows[i].body, "b", "new", &out, &err);
        if (!strstr(err.message, rows[i].words)) fail_msg("%zu: %s", i, err.message);
        assert_int_equal(rc, rows[i].code);
        assert_string_equal(err.field, rows[i].field);
        assert_int_equal(out.n, 0);
        buf_free(&out);
    }
}

static void test_limits(void **state)
{
    (void)state;
    buf body, out;
    sv_error err;
    buf_init(&body, 1 << 20);
    buf_init(&out, 1 << 20);
    for (int i = 0; i < FORM_PARTS - 1; i++)
        buf_puts(&body, FIELD("a", "x"));
    buf_puts(&body, FIELD("model", "m"));
    size_t n = body.n;
    buf_puts(&body, END);
    err = (sv_error){0};
    assert_int_equal(form_set_model(buf_str(&body), sv_cstr("b"), sv_cstr("n"), &out, &err), 0);
    body.n = n;
    buf_puts(&body, FIELD("a", "x") END);
    assert_int_equal(form_set_model(buf_str(&body), sv_cstr("b"), sv_cstr("n"), &out, &err),
                     SV_E_INVALID);
    assert_non_null(strstr(err.message, "too many parts"));
    buf_reset(&body, 0);
    buf_puts(&body, "--b\r\nx: ");
    for (int i = 0; i < FORM_HEAD_BYTES; i++)
        buf_putc(&body, 'y');
    buf_puts(&body, "\r\n\r\n\r\n" END);
    err = (sv_error){0};
    assert_int_equal(form_set_model(buf_str(&body), sv_cstr("b"), sv_cstr("n"), &out, &err),
                     SV_E_INVALID);
    assert_non_null(strstr(err.message, "too long"));
    buf_reset(&body, 0);
    buf_puts(&body, "--b\r\n" NAMED "\r\n");
    for (int i = 0; i < FORM_HEAD_LINES; i++)
        buf_puts(&body, "x: y\r\n");
    buf_puts(&body, "\r\n\r\n" END);
    err = (sv_error){0};
    assert_int_equal(form_set_model(buf_str(&body), sv_cstr("b"), sv_cstr("n"), &out, &err),
                     SV_E_INVALID);
    assert_non_null(strstr(err.message, "too many lines"));
    /* what is put in must be a name too */
    static const char good[] = FIELD("model", "m") END;
    static const char *const names[] = {"", "a\r\n--b--", "\xff"};
    for (size_t i = 0; i < 3; i++) {
        err = (sv_error){0};
        int rc = form_set_model(sv_cstr(good), sv_cstr("b"), sv_cstr(names[i]), &out, &err);
        assert_int_equal(rc, i ? SV_E_INVALID : SV_E_OUT_OF_RANGE);
    }
    buf tiny;
    buf_init(&tiny, 16);
    err = (sv_error){0};
    assert_int_equal(form_set_model(sv_cstr(good), sv_cstr("b"), sv_cstr("n"), &tiny, &err),
                     SV_E_TOO_LARGE);
    buf_free(&tiny);
    buf_free(&body);
    buf_free(&out);
}

static void test_boundary(void **state)
{
    (void)state;
    static const struct {
        const char *type, *boundary; /* NULL: refused */
    } rows[] = {
        {"multipart/form-data; boundary=abc", "abc"},
        {"Multipart/Form-Data ;charset=utf-8; Boundary=\"a b\"", NULL},
        {"Multipart/Form-Data; charset=utf-8; Boundary=\"a:b\"", "a:b"},
        {"multipart/form-data; boundary=a; boundary=b", NULL},
        {"multipart/form-data", NULL},
        {"multipart/form-data; boundary=", NULL},
        {"multipart/form-data; boundary=\"\"", NULL},
        {"multipart/form-data; boundary=\"a", NULL},
        {"multipart/form-data; boundary=a b", NULL},
        {"multipart/mixed; boundary=a", NULL},
        {"multipart/form-datax; boundary=a", NULL},
        {"application/json", NULL},
        {"", NULL},
        {"multipart/form-data; boundary="
         "12345678901234567890123456789012345678901234567890123456789012345678901",
         NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sv_error err = {0};
        sv_str got = {NULL, 0};
        int rc = form_boundary(sv_cstr(rows[i].type), &got, &err);
        assert_int_equal(rc, rows[i].boundary ? 0 : SV_E_HTTP_MEDIA_TYPE);
        if (rows[i].boundary)
            assert_true(sv_str_is(got, rows[i].boundary));
        else
            assert_true(err.message[0]);
    }
    sv_error err = {0};
    sv_str model;
    static const char *const bad[] = {"", "a\r", "a\""};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(form_model(sv_cstr("x"), sv_cstr(bad[i]), &model, &err),
                         SV_E_HTTP_MEDIA_TYPE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replace),  cmocka_unit_test(test_find),
        cmocka_unit_test(test_hostile),  cmocka_unit_test(test_limits),
        cmocka_unit_test(test_boundary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
