/*  Messages as HTTP clients see them. */
#include "error.h"
#include "message_view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static void view(const sv_message *m, const void *src, const char *want)
{
    buf out;
    buf_init(&out, 4096);
    assert_int_equal(message_view(m, src, &out), 0);
    assert_int_equal(buf_putc(&out, 0), 0);
    assert_string_equal(out.p, want);
    buf_free(&out);
}

static void every_field_is_there(void **state)
{
    (void)state;
    view(&auth_key_check_req_msg, &(auth_key_check_req){.hash = {"\0\xff\x10", 3}},
         "{\"hash\":\"AP8Q\"}");
    view(&auth_page_req_msg, &(auth_page_req){.after = {NULL, 0}}, "{\"after\":null}");
    view(&auth_page_req_msg, &(auth_page_req){.after = sv_cstr("")}, "{\"after\":\"\"}");
    view(&auth_page_req_msg, &(auth_page_req){.after = sv_cstr("a\"\n\\")},
         "{\"after\":\"a\\\"\\n\\\\\"}");
    sv_str codes[] = {sv_cstr("a"), sv_cstr("b")};
    view(&auth_2fa_codes_reply_msg, &(auth_2fa_codes_reply){.recovery_codes = {codes, 2}},
         "{\"recovery_codes\":[\"a\",\"b\"]}");
    view(&auth_2fa_codes_reply_msg, &(auth_2fa_codes_reply){.recovery_codes = {NULL, 0}},
         "{\"recovery_codes\":[]}");
    view(&auth_member_reply_msg, &(auth_member_reply){.member = NULL}, "{\"member\":null}");
    view(&auth_logout_all_reply_msg, &(auth_logout_all_reply){.sessions = -7}, "{\"sessions\":-7}");
}

static void what_is_the_edges_stays_there(void **state)
{
    (void)state;
    auth_claims claims = {.user = sv_cstr("u")};
    buf out;
    buf_init(&out, 8192);
    auth_login_reply r = {.claims = &claims, .remember = true, .access_token = sv_cstr("secret")};
    assert_int_equal(message_view(&auth_login_reply_msg, &r, &out), 0);
    assert_int_equal(buf_putc(&out, 0), 0);
    assert_null(strstr(out.p, "claims"));
    assert_null(strstr(out.p, "remember"));
    assert_non_null(strstr(out.p, "\"access_token\":\"secret\"")); /* its owner asks */
    buf_free(&out);
}

static void a_full_buffer_is_told(void **state)
{
    (void)state;
    buf out;
    buf_init(&out, 8);
    assert_int_equal(
        message_view(&auth_page_req_msg, &(auth_page_req){.after = sv_cstr("long text")}, &out),
        SV_E_TOO_LARGE);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_is_there),
        cmocka_unit_test(what_is_the_edges_stays_there),
        cmocka_unit_test(a_full_buffer_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
