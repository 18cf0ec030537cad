/*  test_s3.c - what a store answers, which URLs are taken, and backups by their names. */
#include "s3.h"

#include "backup_remote.h"
#include "error.h"
#include "s3_list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- lists ---- */

typedef struct seen {
    char text[4096];
    int stop_at, n;
} seen;

static int note(void *arg, const s3_object *o)
{
    seen *s = arg;
    size_t n = strlen(s->text);
    snprintf(s->text + n, sizeof s->text - n, "%s=%llu;", o->key, (unsigned long long)o->bytes);
    return ++s->n == s->stop_at ? SV_E_CANCELLED : 0;
}

static const char page[] =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
    "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name>"
    "<Prefix>pre/</Prefix><KeyCount>2</KeyCount><MaxKeys>1000</MaxKeys>"
    "<IsTruncated>true</IsTruncated><NextContinuationToken>a&amp;b+/=</NextContinuationToken>"
    "<Contents><Key>pre/x&lt;&gt;&quot;&apos;&#39;&#x26;</Key><LastModified>2024</LastModified>"
    "<ETag>&quot;e&quot;</ETag><Size>12</Size><StorageClass>STANDARD</StorageClass></Contents>"
    "<Contents><Key>pre/\xc3\xa9</Key><Size>5368709120</Size></Contents>"
    "</ListBucketResult>";

static int parse(const char *xml, size_t n, seen *s, char token[S3_TOKEN_BYTES])
{
    sv_error err = {.code = 0};
    char *exact = malloc(n + 1); /* so that a sanitizer sees reading beyond it */
    memcpy(exact, xml, n);
    int rc = s3_list_page((sv_str){exact, (uint32_t)n}, "pre/", note, s, token, &err);
    free(exact);
    return rc;
}

static void test_list(void **state)
{
    (void)state;
    seen s = {.n = 0};
    char token[S3_TOKEN_BYTES];
    assert_int_equal(parse(page, strlen(page), &s, token), 0);
    assert_string_equal(s.text, "x<>\"''&=12;\xc3\xa9=5368709120;");
    assert_string_equal(token, "a&b+/=");
    s = (seen){.stop_at = 1};
    assert_int_equal(parse(page, strlen(page), &s, token), SV_E_CANCELLED);
    assert_int_equal(s.n, 1);
}

static void test_broken_lists(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "<html>no store</html>",
        "<ListBucketResult><Contents><Key>other/x</Key><Size>1</Size></Contents></"
        "ListBucketResult>",
        "<ListBucketResult><Contents><Key>pre/x</Key></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Key>pre/x</Key><Size>-1</Size></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Key>pre/x</Key><Size>1x</Size></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Key>pre/&#0;</Key><Size>1</Size></Contents></"
        "ListBucketResult>",
        "<ListBucketResult><Contents><Key>pre/&no;</Key><Size>1</Size></Contents></"
        "ListBucketResult>",
        "<ListBucketResult><Contents><Key>pre/&</Key><Size>1</Size></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Key>pre/\xff</Key><Size>1</Size></Contents></"
        "ListBucketResult>",
        "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
    };
    char token[S3_TOKEN_BYTES];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        seen s = {.n = 0};
        assert_int_equal(parse(bad[i], strlen(bad[i]), &s, token), SV_E_PROVIDER_GARBAGE);
        assert_int_equal(s.n, 0);
    }
    for (size_t n = 0; n < strlen(page); n++) { /* cut anywhere */
        seen s = {.n = 0};
        parse(page, n, &s, token);
    }
    char *damaged = strdup(page);
    for (size_t i = 0; i < strlen(page); i++) {
        seen s = {.n = 0};
        damaged[i] = '<';
        parse(damaged, strlen(page), &s, token);
        damaged[i] = '&';
        parse(damaged, strlen(page), &s, token);
        damaged[i] = page[i];
    }
    free(damaged);
}

static void test_error_words(void **state)
{
    (void)state;
    char words[256], long_xml[2000] = "<Error><Code>C</Code><Message>";
    s3_error_words(sv_cstr("<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><Message>Not "
                           "there &amp; gone\x1b[31m\nat all</Message></Error>"),
                   words);
    assert_string_equal(words, "NoSuchKey: Not there & gone [31m at all");
    s3_error_words(sv_cstr("<html><Code>x</Code>"), words);
    assert_string_equal(words, "");
    s3_error_words((sv_str){NULL, 0}, words);
    assert_string_equal(words, "");
    memset(long_xml + strlen(long_xml), 'y', 1500);
    strcat(long_xml, "</Message></Error>");
    s3_error_words(sv_cstr(long_xml), words);
    assert_int_equal(strncmp(words, "C: yyyy", 7), 0);
}

/* ---- URLs and settings ---- */

static config *settings(const char *yaml)
{
    char path[] = "/tmp/test_s3.XXXXXX";
    config *c = NULL;
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, yaml, strlen(yaml)) == (ssize_t)strlen(yaml));
    close(fd);
    assert_int_equal(config_load(path, &c, NULL), 0);
    unlink(path);
    return c;
}

static void test_urls(void **state)
{
    (void)state;
    static const struct {
        const char *url, *shown;
        int code;
    } urls[] = {
        {"https://s3.example.org/bucket", "https://s3.example.org/bucket", 0},
        {"https://s3.example.org:9000/b/p/q//", "https://s3.example.org:9000/b/p/q", 0},
        {"http://127.0.0.1:9000/b/p", "http://127.0.0.1:9000/b/p", 0},
        {"https://s3.example.org", "", SV_E_INVALID},
        {"https://s3.example.org/", "", SV_E_INVALID},
        {"https://s3.example.org//p", "", SV_E_INVALID},
        {"https://s3.example.org/b/../c", "", SV_E_INVALID},
        {"https://s3.example.org/b/%2e", "", SV_E_INVALID},
        {"https://s3.example.org/b?x=1", "", SV_E_INVALID},
        {"https://s3.example.org/b#x", "", SV_E_INVALID},
        {"https://u:p@s3.example.org/b", "", SV_E_INVALID},
        {"https:///b", "", SV_E_INVALID},
        {"s3://bucket/x", "", SV_E_INVALID},
        {"http://8.8.8.8/b", "", SV_E_URL_FORBIDDEN},
    };
    config *c = settings("backup: {s3_access_key: a, s3_secret_key: hidden-1}\n");
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        s3 *s = NULL;
        sv_error err = {.code = 0};
        assert_int_equal(s3_open(&s, urls[i].url, c, &err), urls[i].code);
        if (s) assert_string_equal(s3_url(s), urls[i].shown);
        assert_null(strstr(err.message, "hidden-1"));
        s3_close(s);
    }
    s3 *s = NULL;
    sv_error err = {.code = 0};
    assert_int_equal(s3_open(&s, NULL, c, &err), SV_E_CONFIG);
    assert_non_null(strstr(err.message, "backup.s3_url"));
    config_free(c);
    c = settings("backup: {s3_access_key: a}\n");
    err = (sv_error){.code = 0};
    assert_int_equal(s3_open(&s, "https://h.example/b", c, &err), SV_E_CONFIG);
    assert_non_null(strstr(err.message, "backup.s3_secret_key"));
    config_free(c);
    c = settings("backup: {s3_access_key: a, s3_secret_key: b, s3_region: 'x:y'}\n");
    err = (sv_error){.code = 0};
    assert_int_equal(s3_open(&s, "https://h.example/b", c, &err), SV_E_CONFIG);
    assert_non_null(strstr(err.message, "backup.s3_region"));
    config_free(c);
}

/* ---- backups by name ---- */

static void collect(void *arg, const char *name)
{
    char *text = arg;
    snprintf(text + strlen(text), 200 - strlen(text), "%s;", name);
}

static void test_names(void **state)
{
    (void)state;
    assert_true(backup_is_remote("s3:") && backup_is_remote("s3:20250131T120000Z"));
    assert_true(backup_is_remote("https://h/b") && backup_is_remote("http://h/b"));
    assert_false(backup_is_remote("/var/backups") || backup_is_remote("s3") ||
                 backup_is_remote("./s3:x"));
    assert_int_equal(backup_time("19700101T000001Z"), 1);
    assert_int_equal(backup_time("20240229T235959Z"), 1709251199);
    char dir[] = "/tmp/test_s3.XXXXXX", path[200], name[MANIFEST_NAME + 1], all[200] = "";
    static const char *const in[] = {"20250131T120000Z", "20240131T120000Z",
                                     "20260131T120000Z.partial", "other", "20990131T120000Zx"};
    assert_non_null(mkdtemp(dir));
    sv_error err = {.code = 0};
    assert_int_equal(backup_newest(dir, name, &err), SV_E_NOT_FOUND);
    for (size_t i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, in[i]);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    assert_int_equal(backup_newest(dir, name, NULL), 0);
    assert_string_equal(name, "20250131T120000Z");
    assert_int_equal(backup_each(NULL, dir, collect, all, NULL), 0);
    assert_string_equal(all, "20240131T120000Z;20250131T120000Z;");
    for (size_t i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, in[i]);
        rmdir(path);
    }
    rmdir(dir);
    assert_int_equal(backup_each(NULL, dir, collect, all, NULL), 0); /* not there: none */
    backup_fetched f;
    err = (sv_error){.code = 0};
    assert_int_equal(backup_fetch(NULL, "s3:yesterday", &f, &err), SV_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),        cmocka_unit_test(test_broken_lists),
        cmocka_unit_test(test_error_words), cmocka_unit_test(test_urls),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
