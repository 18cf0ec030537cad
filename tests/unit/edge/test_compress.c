/*  Content codings: what a client takes, what is worth it, and that it comes back as it was. */
#include "compress.h"
#include "error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <brotli/decode.h>
#include <zlib.h>

static coding takes(const char *first, const char *second, unsigned available)
{
    http_header list[] = {{sv_cstr("accept"), sv_cstr("br")},
                          {sv_cstr("Accept-Encoding"), sv_cstr(first)},
                          {sv_cstr("accept-encoding"), sv_cstr(second ? second : "")}};
    http_request r = {.headers = list, .n_headers = first == NULL ? 1 : second ? 3 : 2};
    return coding_of(&r, available);
}

static void what_a_client_takes(void **state)
{
    (void)state;
    static const struct {
        const char *accept;
        coding want;
    } cases[] = {
        {"gzip, deflate, br, zstd", CODING_BR},
        {"gzip, deflate", CODING_GZIP},
        {"gzip;q=1.0, br;q=0.9", CODING_GZIP},
        {"br;q=0.001", CODING_BR},
        {"br;q=0, gzip", CODING_GZIP},
        {"br;q=0.000, gzip;q=0", CODING_IDENTITY},
        {"identity", CODING_IDENTITY},
        {"identity;q=1, br;q=0.5", CODING_IDENTITY},
        {"identity;q=0.5, br;q=0.5", CODING_BR},
        {"identity;q=0", CODING_IDENTITY},
        {"identity;q=0, gzip;q=0.1", CODING_GZIP},
        {"*", CODING_BR},
        {"*;q=0", CODING_IDENTITY},
        {"br;q=0, *", CODING_GZIP},
        {"gzip, *;q=0.1", CODING_GZIP},
        {"GZIP", CODING_GZIP},
        {"x-gzip", CODING_GZIP},
        {" \tgzip ; q=0.5 , br\t;\tQ=0.4", CODING_GZIP},
        {"", CODING_IDENTITY},
        {",,, ,", CODING_IDENTITY},
        {"deflate, compress", CODING_IDENTITY},
        {"gzipp, brr, gz", CODING_IDENTITY},
        /* what cannot be read counts as not sent */
        {"br;q=2, gzip", CODING_GZIP},
        {"br;q=1.001, gzip", CODING_GZIP},
        {"br;q=-1, gzip", CODING_GZIP},
        {"br;q=0.0001, gzip", CODING_GZIP},
        {"br;q=, gzip", CODING_GZIP},
        {"br;q, gzip", CODING_GZIP},
        {"br;level=9, gzip", CODING_GZIP},
        {"br;q=0.5;x=1, gzip;q=0.1", CODING_GZIP},
        {"br;q=.5, gzip;q=0.1", CODING_GZIP},
        {"br;q=1x, gzip", CODING_GZIP},
        {";q=1", CODING_IDENTITY},
        {"\xff\xfe;=\"br\"", CODING_IDENTITY},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (takes(cases[i].accept, NULL, CODINGS_ALL) != cases[i].want)
            fail_msg("%s", cases[i].accept);
    assert_int_equal(takes(NULL, NULL, CODINGS_ALL), CODING_IDENTITY);
    assert_int_equal(takes("gzip", "br", CODINGS_ALL), CODING_BR);
    assert_int_equal(takes("br, gzip", NULL, 1u << CODING_GZIP), CODING_GZIP);
    assert_int_equal(takes("br", NULL, 1u << CODING_GZIP), CODING_IDENTITY);
    assert_int_equal(takes("br, gzip", NULL, 0), CODING_IDENTITY);
}

static void what_is_worth_it(void **state)
{
    (void)state;
    static const char *const yes[] = {
        "application/json",          "application/json; charset=utf-8",
        "text/plain; version=0.0.4", "TEXT/csv",
        "application/x-ndjson",      "image/svg+xml"};
    static const char *const no[] = {"text/event-stream",
                                     "text/event-stream; charset=utf-8",
                                     "Text/Event-Stream",
                                     "image/png",
                                     "application/gzip",
                                     "application/octet-stream",
                                     ""};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        if (compress_choose(CODING_BR, sv_cstr(yes[i]), 1025) != CODING_BR) fail_msg("%s", yes[i]);
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        if (compress_choose(CODING_BR, sv_cstr(no[i]), 1025)) fail_msg("%s", no[i]);
    assert_int_equal(compress_choose(CODING_BR, sv_cstr(yes[0]), 1024), CODING_IDENTITY);
    assert_int_equal(compress_choose(CODING_GZIP, sv_cstr(yes[0]), COMPRESS_MOST), CODING_GZIP);
    assert_false(compress_may(sv_cstr(yes[0]), COMPRESS_MOST + 1));
    assert_int_equal(compress_choose(CODING_IDENTITY, sv_cstr(yes[0]), 5000), CODING_IDENTITY);
}

static size_t unpack(coding how, sv_str packed, char *to, size_t size)
{
    if (how == CODING_BR) {
        assert_int_equal(
            BrotliDecoderDecompress(packed.n, (const uint8_t *)packed.p, &size, (uint8_t *)to),
            BROTLI_DECODER_RESULT_SUCCESS);
        return size;
    }
    z_stream z = {.next_in = (Bytef *)(uintptr_t)packed.p,
                  .avail_in = packed.n,
                  .next_out = (Bytef *)to,
                  .avail_out = (uInt)size};
    assert_int_equal(inflateInit2(&z, MAX_WBITS + 16), Z_OK); /* gzip only */
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(z.avail_in, 0);
    size = z.total_out;
    inflateEnd(&z);
    return size;
}

static void it_comes_back_as_it_was(void **state)
{
    (void)state;
    static const size_t sizes[] = {1025, 4096, 65536, 131071, 131072, 700000, COMPRESS_MOST};
    char *text = malloc(COMPRESS_MOST), *again = malloc(COMPRESS_MOST);
    for (size_t i = 0, line = 0; i < COMPRESS_MOST; line++) {
        char row[64];
        int n = snprintf(row, sizeof row, "{\"id\":\"%08zx\",\"name\":\"tea %zu\"},",
                         line * 2654435761u, line);
        for (int at = 0; at < n && i < COMPRESS_MOST; at++)
            text[i++] = row[at];
    }
    for (coding how = CODING_GZIP; how < CODINGS; how++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            buf out;
            buf_init(&out, COMPRESS_MOST + 6);
            buf_puts(&out, "before");
            sv_str body = {text, (uint32_t)sizes[i]};
            assert_int_equal(compress_body(how, body, &out), 0);
            assert_true(out.n < sizes[i] * 3 / 4);
            sv_str packed = {out.p + 6, (uint32_t)out.n - 6};
            assert_int_equal(unpack(how, packed, again, COMPRESS_MOST), sizes[i]);
            assert_memory_equal(text, again, sizes[i]);
            buf_free(&out);
        }
    }
    free(text);
    free(again);
}

static void what_does_not_shrink_stays(void **state)
{
    (void)state;
    char noise[5000];
    uint32_t x = 1;
    for (size_t i = 0; i < sizeof noise; i++) {
        x = x * 1664525 + 1013904223;
        noise[i] = (char)(x >> 24);
    }
    for (coding how = CODING_GZIP; how < CODINGS; how++) {
        buf out;
        buf_init(&out, sizeof noise * 2);
        assert_int_equal(compress_body(how, (sv_str){noise, sizeof noise}, &out), SV_E_TOO_LARGE);
        assert_int_equal(compress_body(how, (sv_str){noise, 1}, &out), SV_E_TOO_LARGE);
        assert_int_equal(compress_body(how, (sv_str){noise, 0}, &out), SV_E_TOO_LARGE);
        assert_int_equal(out.n, 0);
        buf_free(&out);
        buf_init(&out, 100);
        assert_int_equal(compress_body(how, (sv_str){noise, sizeof noise}, &out), SV_E_TOO_LARGE);
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_client_takes),
        cmocka_unit_test(what_is_worth_it),
        cmocka_unit_test(it_comes_back_as_it_was),
        cmocka_unit_test(what_does_not_shrink_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
