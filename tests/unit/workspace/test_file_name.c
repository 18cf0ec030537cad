/*  test_file_name.c - what a name becomes, and which ones are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "error.h"
#include "file_name.h"

static void names_lose_their_folders(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"a.txt", "a.txt"},
        {"../../etc/passwd", "passwd"},
        {"C:\\Users\\anna\\Report 1.docx", "Report 1.docx"},
        {"a/b\\c/d.png", "d.png"},
        {"/", "file"},
        {"folder/", "file"},
        {"", "file"},
        {".", "file"},
        {"x/..", "file"},
        {".profile", ".profile"},
        {"\xd0\xbe\xd1\x82\xd1\x87\xd1\x91\xd1\x82.pdf",
         "\xd0\xbe\xd1\x82\xd1\x87\xd1\x91\xd1\x82.pdf"},
        {"\"quoted\"; filename=x", "\"quoted\"; filename=x"},
        {"bad\n/good", "good"},
    };
    char name[FILE_NAME + 1];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(file_name_clean(sv_cstr(cases[i][0]), name, NULL), 0);
        assert_string_equal(name, cases[i][1]);
    }
    assert_int_equal(file_name_clean((sv_str){NULL, 0}, name, NULL), 0);
    assert_string_equal(name, "file");
}

static void names_that_mislead_are_refused(void **state)
{
    (void)state;
    const struct {
        sv_str name;
        int code;
    } cases[] = {
        {sv_cstr("a\nb"), SV_E_INVALID},
        {sv_cstr("a\x1b[31m"), SV_E_INVALID},
        {sv_cstr("a\x7f"), SV_E_INVALID},
        {{"a\0b", 3}, SV_E_INVALID},
        {sv_cstr("a\xc2\x85z"), SV_E_INVALID},
        {sv_cstr("a\xe2\x80\xa8z"), SV_E_INVALID},
        {sv_cstr("photo_\xe2\x80\xaegpj.exe"), SV_E_INVALID},
        {sv_cstr("photo_\xe2\x81\xa6gpj.exe"), SV_E_INVALID},
        {sv_cstr("a\xff"), SV_E_BAD_UTF8},
        {sv_cstr("a\xc0\xaf"), SV_E_BAD_UTF8},
        {sv_cstr("a\xe2\x80"), SV_E_BAD_UTF8},
    };
    char name[FILE_NAME + 1], text[300];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sv_error err = {.code = 0};
        assert_int_equal(file_name_clean(cases[i].name, name, &err), cases[i].code);
        assert_string_equal(err.field, "name");
    }
    memset(text, 'x', sizeof text);
    assert_int_equal(file_name_clean((sv_str){text, FILE_NAME}, name, NULL), 0);
    assert_int_equal(file_name_clean((sv_str){text, FILE_NAME + 1}, name, NULL), SV_E_OUT_OF_RANGE);
    text[40] = '/';
    assert_int_equal(file_name_clean((sv_str){text, FILE_NAME + 41}, name, NULL), 0);
}

static void types_are_fit_for_a_header(void **state)
{
    (void)state;
    static const char *const good[] = {"text/plain", "application/vnd.ms-excel", "image/svg+xml"};
    static const char *const bad[] = {
        "",      "text",           "text/", "/plain", "text/plain; charset=x",
        "a/b/c", "text/pl\r\nain", "a b/c", "a/\"b"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(file_type_check(sv_cstr(good[i]), NULL), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(file_type_check(sv_cstr(bad[i]), NULL), SV_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_lose_their_folders),
        cmocka_unit_test(names_that_mislead_are_refused),
        cmocka_unit_test(types_are_fit_for_a_header),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
