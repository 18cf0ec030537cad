/*  test_skim.c - msgpack that must be refused before anything decodes it, and what must pass. */
#include "error.h"
#include "harness.h"
#include "skim.h"
#include "uuid.h"

static int skim_hex(const char *hex)
{
    size_t n = strlen(hex) / 2;
    uint8_t *bytes = malloc(n ? n : 1);
    assert_int_equal(hex_parse(sv_cstr(hex), bytes, n), 0);
    sv_error err = {0};
    int rc = skim_msgpack((sv_str){(char *)bytes, (uint32_t)n}, LIMIT_DEPTH, 1000, &err);
    free(bytes);
    if (rc) assert_non_null(strstr(err.message, "byte"));
    return rc;
}

static void accepts(void **state)
{
    (void)state;
    static const char *const good[] = {"80",
                                       "90",
                                       "c0",
                                       "c2",
                                       "c3",
                                       "00",
                                       "7f",
                                       "ff",
                                       "e0",
                                       "a0",
                                       "a3616263",
                                       "cc80",
                                       "cd0100",
                                       "ce00010000",
                                       "cf0000000100000000",
                                       "d080",
                                       "d18000",
                                       "d280000000",
                                       "d38000000000000000",
                                       "ca3f800000",
                                       "cb3ff0000000000000",
                                       "c400",
                                       "c403010203",
                                       "c5000101",
                                       "c60000000101",
                                       "d900",
                                       "da0000",
                                       "db00000000",
                                       "dc0000",
                                       "dd00000000",
                                       "de0000",
                                       "df00000000",
                                       "81a16101",
                                       "82a16101a16202",
                                       "92a16181a16290",
                                       "82a16181a16201a16203",
                                       "9281a1610181a16102",
                                       "a4f09f9880"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(skim_hex(good[i]), 0);
}

static void refuses(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        int code;
    } bad[] = {{"", SV_E_MALFORMED},
               {"c1", SV_E_MALFORMED},
               {"0000", SV_E_MALFORMED},
               {"8000", SV_E_MALFORMED},
               {"91", SV_E_MALFORMED},
               {"81", SV_E_MALFORMED},
               {"81a161", SV_E_MALFORMED},
               {"a3616", SV_E_MALFORMED},
               {"a36162", SV_E_MALFORMED},
               {"cc", SV_E_MALFORMED},
               {"cd00", SV_E_MALFORMED},
               {"cb00", SV_E_MALFORMED},
               {"ddffffffff", SV_E_MALFORMED},
               {"dfffffffff", SV_E_MALFORMED},
               {"df80000000", SV_E_MALFORMED},
               {"dcffff00", SV_E_MALFORMED},
               {"dbffffffff61", SV_E_MALFORMED},
               {"c6ffffffff", SV_E_MALFORMED},
               {"c4", SV_E_MALFORMED},
               {"c50001", SV_E_MALFORMED},
               {"d9", SV_E_MALFORMED},
               {"c70100ff", SV_E_MALFORMED},
               {"d40000", SV_E_MALFORMED},
               {"d8", SV_E_MALFORMED},
               {"c9", SV_E_MALFORMED},
               {"810101", SV_E_MALFORMED},
               {"81c001", SV_E_MALFORMED},
               {"818001", SV_E_MALFORMED},
               {"82a16101a16102", SV_E_DUPLICATE_KEY},
               {"82a161c0d90161c0", SV_E_DUPLICATE_KEY},
               {"a1ff", SV_E_BAD_UTF8},
               {"a2c080", SV_E_BAD_UTF8},
               {"a3eda080", SV_E_BAD_UTF8},
               {"a4f4908080", SV_E_BAD_UTF8},
               {"a1c3", SV_E_BAD_UTF8},
               {"81a1ff00", SV_E_BAD_UTF8}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (strlen(bad[i].hex) % 2 == 0) assert_int_equal(skim_hex(bad[i].hex), bad[i].code);
}

static void depth_and_nodes(void **state)
{
    (void)state;
    char deep[LIMIT_DEPTH + 3];
    memset(deep, (char)0x91, sizeof deep);
    deep[LIMIT_DEPTH] = (char)0xc0;
    assert_int_equal(skim_msgpack((sv_str){deep, LIMIT_DEPTH + 1}, LIMIT_DEPTH, 1000, NULL), 0);
    deep[LIMIT_DEPTH] = (char)0x91;
    deep[LIMIT_DEPTH + 1] = (char)0xc0;
    assert_int_equal(skim_msgpack((sv_str){deep, LIMIT_DEPTH + 2}, LIMIT_DEPTH, 1000, NULL),
                     SV_E_TOO_DEEP);
    char many[1 + 2 + 1000] = {(char)0xdc, 1000 >> 8, (char)(1000 & 255)};
    assert_int_equal(skim_msgpack((sv_str){many, sizeof many}, LIMIT_DEPTH, 1001, NULL), 0);
    assert_int_equal(skim_msgpack((sv_str){many, sizeof many}, LIMIT_DEPTH, 1000, NULL),
                     SV_E_TOO_LARGE);
}

/* A map with many keys: the table grows, and a duplicate at the far end is still found. */
static void many_keys(void **state)
{
    (void)state;
    enum { KEYS = 3000 };
    char *bytes = malloc(3 + KEYS * 6);
    for (int dup = 0; dup < 2; dup++) {
        char *p = bytes;
        *p++ = (char)0xde;
        *p++ = (char)(KEYS >> 8);
        *p++ = (char)(KEYS & 255);
        for (int i = 0; i < KEYS; i++) {
            char text[16];
            snprintf(text, sizeof text, "%04d", dup && i == KEYS - 1 ? 0 : i);
            *p++ = (char)0xa4;
            memcpy(p, text, 4);
            p += 4;
            *p++ = 1;
        }
        assert_int_equal(
            skim_msgpack((sv_str){bytes, (uint32_t)(p - bytes)}, LIMIT_DEPTH, 10000, NULL),
            dup ? SV_E_DUPLICATE_KEY : 0);
    }
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(accepts), cmocka_unit_test(refuses),
                                       cmocka_unit_test(depth_and_nodes),
                                       cmocka_unit_test(many_keys)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
