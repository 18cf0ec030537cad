/*  Bodies out of files, signed requests, and the class of URLs that data leaves the house by. The
 *  signatures themselves are judged by tests/tools/s3_sim.c. */
#include "http_client.h"

#include "error.h"
#include "tiny_server.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

enum { WAIT_MS = 8000 };

typedef struct run {
    int done, status, code;
    char detail[256];
} run;

static loop *l;
static http_client *client;
static tiny_server server;
static char url[64], path[] = "/tmp/test_http_upload.XXXXXX";
static int fd = -1;
static char *bytes;
static const size_t size = 3 << 20;

static void on_head(void *arg, const http_head *h)
{
    ((run *)arg)->status = h->status;
}

static void on_done(void *arg, int code, const sv_error *err)
{
    run *r = arg;
    r->done++;
    r->code = code;
    snprintf(r->detail, sizeof r->detail, "%s", err->detail);
}

static const http_events events = {.head = on_head, .done = on_done};

static run put(const http_spec *spec)
{
    run r = {0};
    sv_error err = {.code = 0};
    http_transfer *t = http_start(client, spec, &events, &r, &err);
    if (t == NULL) return (run){.code = err.code};
    for (uint64_t until = clock_us() + WAIT_MS * 1000; !r.done;) {
        if (clock_us() > until) fail_msg("no end");
        loop_turn(l, 50);
    }
    assert_int_equal(r.done, 1);
    return r;
}

static http_spec plain(const http_file *file, const http_sigv4 *sign)
{
    return (http_spec){.method = "PUT",
                       .url = url,
                       .trust = HTTP_TRUST_OPERATOR_TLS,
                       .file = file,
                       .sign = sign,
                       .connect_ms = 2000,
                       .first_byte_ms = 3000,
                       .idle_ms = 3000,
                       .total_ms = WAIT_MS,
                       .max_body = 1 << 20};
}

static int setup(void **state)
{
    (void)state;
    char name[sizeof path];
    memcpy(name, path, sizeof path);
    fd = mkstemp(name);
    assert_true(fd >= 0);
    unlink(name);
    bytes = malloc(size);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(i * 31 + i / 65536);
    assert_int_equal(write(fd, bytes, size), (ssize_t)size);
    l = loop_new(NULL);
    client = http_client_new(l, 10, NULL);
    tiny_start(&server, l, tiny_answer_text);
    server.text = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    snprintf(url, sizeof url, "http://127.0.0.1:%d/b/k", server.port);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    http_client_free(client);
    tiny_stop(&server);
    loop_free(l);
    close(fd);
    free(bytes);
    return 0;
}

static void test_file_as_body(void **state)
{
    (void)state;
    const http_file file = {.fd = fd, .bytes = size};
    http_spec spec = plain(&file, NULL);
    run r = put(&spec);
    assert_int_equal(r.code, 0);
    assert_int_equal(r.status, 200);
    assert_int_equal(strncmp(server.last.p, "PUT /b/k HTTP/1.1\r\n", 19), 0);
    assert_non_null(strstr(server.last.p, "Content-Length: 3145728\r\n"));
    assert_null(strcasestr(server.last.p, "\r\nexpect"));
    assert_null(strcasestr(server.last.p, "\r\ntransfer-encoding"));
    assert_memory_equal(server.last.p + server.last.n - 1 - size, bytes, size);
    /* its beginning, and nothing at all */
    const http_file some = {.fd = fd, .bytes = 5}, none = {.fd = fd, .bytes = 0};
    spec.file = &some;
    assert_int_equal(put(&spec).code, 0);
    assert_memory_equal(server.last.p + server.last.n - 6, bytes, 5);
    spec.file = &none;
    assert_int_equal(put(&spec).code, 0);
    assert_non_null(strstr(server.last.p, "Content-Length: 0\r\n"));
    /* the next one inherits nothing */
    http_spec get = plain(NULL, NULL);
    get.method = "GET";
    assert_int_equal(put(&get).code, 0);
    assert_int_equal(strncmp(server.last.p, "GET /b/k", 8), 0);
    assert_null(strcasestr(server.last.p, "content-length"));
}

static void test_file_that_shrinks(void **state)
{
    (void)state;
    const http_file file = {.fd = fd, .bytes = size};
    http_spec spec = plain(&file, NULL);
    assert_int_equal(ftruncate(fd, 100000), 0);
    assert_int_equal(put(&spec).code, SV_E_IO);
    assert_int_equal(server.requests, 0);
}

static void answer_once(tiny_conn *c, sv_str request)
{
    tiny_answer_text(c, request);
    tiny_close(c);
}

/* A kept-alive connection that is dead: the body is sent from its beginning on a new one. */
static void test_file_again(void **state)
{
    (void)state;
    const http_file file = {.fd = fd, .bytes = size};
    http_spec spec = plain(&file, NULL);
    server.answer = answer_once;
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(put(&spec).code, 0);
        assert_memory_equal(server.last.p + server.last.n - 1 - size, bytes, size);
        assert_int_equal(server.accepted, i);
    }
}

static void test_signed(void **state)
{
    (void)state;
    static const char hash[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    static const char *const headers[] = {"Content-Type: text/plain", NULL};
    const http_sigv4 sign = {.region = "eu-x-1",
                             .access_key = "AKID",
                             .secret_key = "the secret key",
                             .body_sha256 = hash};
    const http_file file = {.fd = fd, .bytes = 100};
    http_spec spec = plain(&file, &sign);
    spec.headers = headers;
    assert_int_equal(put(&spec).code, 0);
    const char *head = server.last.p;
    assert_non_null(strstr(head, "Authorization: AWS4-HMAC-SHA256 Credential=AKID/"));
    assert_non_null(strstr(head, "/eu-x-1/s3/aws4_request, "));
    /* nothing is signed that is not sent or that proxies change */
    assert_non_null(strstr(
        head, "SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date, Signature="));
    assert_non_null(strstr(head, "x-amz-content-sha256: 00112233"));
    assert_null(strstr(head, "the secret key"));
    assert_null(strcasestr(head, "Basic "));
    /* the next one is not signed */
    http_spec get = plain(NULL, NULL);
    get.method = "GET";
    assert_int_equal(put(&get).code, 0);
    assert_null(strcasestr(server.last.p, "authorization"));
    assert_null(strcasestr(server.last.p, "x-amz-"));
}

static void test_class_operator_tls(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        int code;
    } urls[] = {{"http://127.0.0.1:9000/b", 0},
                {"http://10.1.2.3/b", 0},
                {"http://192.168.0.9:9000/b", 0},
                {"http://[::1]:9000/b", 0},
                {"http://store.internal/b", 0},
                {"https://8.8.8.8/b", 0},
                {"https://s3.example.org:444/b", 0},
                {"http://8.8.8.8/b", SV_E_URL_FORBIDDEN},
                {"http://[2606:4700::1]/b", SV_E_URL_FORBIDDEN},
                {"ftp://10.1.2.3/b", SV_E_INVALID}};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        sv_error err = {.code = 0};
        assert_int_equal(http_url_check(urls[i].url, HTTP_TRUST_OPERATOR_TLS, &err), urls[i].code);
    }
}

#define WITH_SERVER(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(test_file_as_body),       WITH_SERVER(test_file_that_shrinks),
        WITH_SERVER(test_file_again),         WITH_SERVER(test_signed),
        WITH_SERVER(test_class_operator_tls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
