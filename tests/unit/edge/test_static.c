/*  Files for browsers: what is taken in, what is found, and what a request comes to. */
#include "error.h"
#include "sha256.h"
#include "static.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LARGE = 200000, MODIFIED = 1700000000 };

static char folder[64];

static void path_of(const char *name, char path[400])
{
    assert_true(snprintf(path, 400, "%s/%s", folder, name) < 400);
}

static void put(const char *name, const char *bytes, size_t n)
{
    char path[400];
    path_of(name, path);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    const struct timespec when[2] = {{.tv_sec = MODIFIED}, {.tv_sec = MODIFIED}};
    assert_int_equal(utimensat(AT_FDCWD, path, when, 0), 0);
}

static void put_text(const char *name, const char *text)
{
    put(name, text, strlen(text));
}

static void make_folder(const char *name)
{
    char path[400];
    path_of(name, path);
    assert_int_equal(mkdir(path, 0700), 0);
}

static void make_link(const char *to, const char *name)
{
    char path[400];
    path_of(name, path);
    assert_int_equal(symlink(to, path), 0);
}

static int start(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/samovar-static.XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static int stop(void **state)
{
    (void)state;
    return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static static_set *load(void)
{
    static_set *s = NULL;
    sv_error err = {.code = 0};
    if (static_open(folder, &s, &err)) fail_msg("%s", err.message);
    return s;
}

static int refused(void)
{
    static_set *s = NULL;
    sv_error err = {.code = 0};
    int rc = static_open(folder, &s, &err);
    assert_null(s);
    assert_int_not_equal(rc, 0);
    assert_true(err.message[0]);
    return rc;
}

static void only_what_is_there(void **state)
{
    (void)state;
    make_folder("docs");
    put_text("login.html", "<p>");
    put_text("docs.html", "<p>docs");
    put_text("docs/a.js", "a");
    put_text(".secret", "no");
    put_text("docs/.hidden.js", "no");
    put_text("alone.js.gz", "not a form of anything");
    make_link("/etc/passwd", "passwd.txt");
    make_link("/etc", "etc");
    make_link("login.html", "again.html");
    static_set *s = load();
    assert_string_equal(static_find(s, sv_cstr("/login"))->type, "text/html; charset=utf-8");
    assert_ptr_equal(static_find(s, sv_cstr("/login")), static_find(s, sv_cstr("/login.html")));
    assert_string_equal(static_find(s, sv_cstr("/docs"))->name, "docs.html");
    assert_string_equal(static_find(s, sv_cstr("/docs/a.js"))->name, "docs/a.js");
    assert_string_equal(static_find(s, sv_cstr("/alone.js.gz"))->type, "application/octet-stream");
    static const char *const none[] = {"",
                                       "/",
                                       "login",
                                       "/Login",
                                       "/docs/",
                                       "//login",
                                       "/./login",
                                       "/docs/../login",
                                       "/.secret",
                                       "/docs/.hidden.js",
                                       "/passwd.txt",
                                       "/etc/passwd",
                                       "/again",
                                       "/login%2ehtml",
                                       "/login.html/",
                                       "/../login",
                                       "/%2e%2e/x",
                                       "/login\\..\\x",
                                       "/login.html.br",
                                       "/docs.html.html"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        if (static_find(s, sv_cstr(none[i]))) fail_msg("%s", none[i]);
    assert_null(static_find(s, (sv_str){"/login\0", 7}));
    char longest[400];
    memset(longest, 'a', sizeof longest);
    longest[0] = '/';
    assert_null(static_find(s, (sv_str){longest, sizeof longest}));
    assert_null(static_find(NULL, sv_cstr("/login")));
    static_free(s);
}

static void limits_are_kept(void **state)
{
    (void)state;
    char name[32];
    make_folder("a");
    make_folder("a/b");
    make_folder("a/b/c");
    make_folder("a/b/c/d");
    static_set *s = load();
    static_free(s);
    make_folder("a/b/c/d/e");
    assert_int_equal(refused(), SV_E_CONFIG);
    assert_int_equal(stop(NULL), 0);
    assert_int_equal(start(NULL), 0);
    for (int i = 0; i < STATIC_FILES; i++) {
        snprintf(name, sizeof name, "%d.txt", i);
        put_text(name, "");
    }
    s = load();
    assert_non_null(static_find(s, sv_cstr("/255.txt")));
    static_free(s);
    put_text("more.txt", "");
    assert_int_equal(refused(), SV_E_CONFIG);
    assert_int_equal(stop(NULL), 0);
    assert_int_equal(start(NULL), 0);
    put_text("large.txt", "");
    char path[400];
    path_of("large.txt", path);
    assert_int_equal(truncate(path, STATIC_FILE_BYTES + 1), 0);
    assert_int_equal(refused(), SV_E_CONFIG);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
    assert_int_equal(refused(), SV_E_NOT_FOUND);
    assert_int_equal(mkdir(folder, 0700), 0);
}

static void names_with_their_hash_are_for_good(void **state)
{
    (void)state;
    char hex[65], name[120];
    sha256 h;
    sha256_start(&h);
    sha256_add(&h, "a", 1);
    sha256_end(&h, hex);
    static const struct {
        const char *form;
        int digits;
        bool want;
    } cases[] = {{"ok.%.*s.js", 16, true},      {"whole.%.*s.js", 64, true},
                 {"few.%.*s.js", 11, false},    {"dash-%.*s.js", 16, false},
                 {"other.%.*s0.js", 63, false}, {"end.js.%.*s", 16, false}};
    put_text("wrong.0123456789abcdef.js", "a");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(name, sizeof name, cases[i].form, cases[i].digits, hex);
        put_text(name, "a");
    }
    static_set *s = load();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        name[0] = '/';
        snprintf(name + 1, sizeof name - 1, cases[i].form, cases[i].digits, hex);
        const static_file *f = static_find(s, sv_cstr(name));
        assert_non_null(f);
        if (f->immutable != cases[i].want) fail_msg("%s", name);
    }
    assert_false(static_find(s, sv_cstr("/wrong.0123456789abcdef.js"))->immutable);
    static_free(s);
}

/* ---- requests ---- */

static static_answer ask(const static_file *f, const char *method, const char *const *pairs)
{
    http_header list[6];
    http_request r = {.method = sv_cstr(method), .headers = list};
    for (; pairs && pairs[0]; pairs += 2)
        list[r.n_headers++] = (http_header){sv_cstr(pairs[0]), sv_cstr(pairs[1])};
    static_answer a;
    static_choose(f, &r, &a);
    return a;
}

#define ASK(f, ...) ask(f, "GET", (const char *const[]){__VA_ARGS__, NULL, NULL})

static void expect(static_answer a, int status, coding how, uint32_t from, uint32_t n)
{
    assert_int_equal(a.status, status);
    assert_int_equal(a.how, how);
    assert_int_equal(a.from, from);
    assert_int_equal(a.n, n);
}

static void codings_are_chosen(void **state)
{
    (void)state;
    put_text("a.js", "0123456789");
    put_text("a.js.br", "br");
    put_text("a.js.gz", "gzip");
    put_text("b.js", "0123456789");
    static_set *s = load();
    const static_file *a = static_find(s, sv_cstr("/a.js")), *b = static_find(s, sv_cstr("/b.js"));
    assert_null(static_find(s, sv_cstr("/a.js.br")));
    expect(ask(a, "GET", NULL), 200, CODING_IDENTITY, 0, 10);
    expect(ASK(a, "accept-encoding", "gzip, br"), 200, CODING_BR, 0, 2);
    expect(ASK(a, "accept-encoding", "gzip"), 200, CODING_GZIP, 0, 4);
    expect(ASK(a, "accept-encoding", "br;q=0, gzip;q=0.1"), 200, CODING_GZIP, 0, 4);
    expect(ASK(b, "accept-encoding", "gzip, br"), 200, CODING_IDENTITY, 0, 10);
    assert_string_not_equal(a->forms[CODING_BR].etag, a->forms[CODING_GZIP].etag);
    assert_string_equal(a->forms[CODING_IDENTITY].etag, b->forms[CODING_IDENTITY].etag);
    /* the tag is of the form, not of the file */
    expect(ASK(a, "accept-encoding", "br", "if-none-match", a->forms[CODING_GZIP].etag), 200,
           CODING_BR, 0, 2);
    expect(ASK(a, "accept-encoding", "br", "if-none-match", a->forms[CODING_BR].etag), 304,
           CODING_BR, 0, 0);
    expect(ASK(a, "accept-encoding", "br", "range", "bytes=1-"), 206, CODING_BR, 1, 1);
    static_free(s);
}

static void conditions(void **state)
{
    (void)state;
    put_text("a.css", "0123456789");
    static_set *s = load();
    const static_file *f = static_find(s, sv_cstr("/a.css"));
    const char *tag = f->forms[CODING_IDENTITY].etag;
    char list[100];
    assert_string_equal(f->modified, "Tue, 14 Nov 2023 22:13:20 GMT");
    snprintf(list, sizeof list, "\"x\", W/%s", tag);
    expect(ASK(f, "if-none-match", list), 304, CODING_IDENTITY, 0, 0);
    expect(ASK(f, "if-none-match", "*"), 304, CODING_IDENTITY, 0, 0);
    expect(ASK(f, "if-none-match", "\"x\"", "if-none-match", tag), 304, CODING_IDENTITY, 0, 0);
    expect(ASK(f, "if-none-match", "\"x\""), 200, CODING_IDENTITY, 0, 10);
    expect(ASK(f, "if-modified-since", f->modified), 304, CODING_IDENTITY, 0, 0);
    expect(ASK(f, "if-modified-since", "Tue, 14 Nov 2023 22:13:19 GMT"), 200, CODING_IDENTITY, 0,
           10);
    expect(ASK(f, "if-modified-since", "Wed, 15 Nov 2023 00:00:00 GMT"), 304, CODING_IDENTITY, 0,
           0);
    /* the tag has the last word, and dates that cannot be read count as not sent */
    expect(ASK(f, "if-none-match", "\"x\"", "if-modified-since", f->modified), 200, CODING_IDENTITY,
           0, 10);
    static const char *const wrong[] = {"", "yesterday", "Tue, 14 Nov 2023 22:13:20 CET",
                                        "Xxx, 14 Nov 2023 22:13:20 GMT",
                                        "Tue, 14 Nov 2023 22:13:20 GMT and more"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        expect(ASK(f, "if-modified-since", wrong[i]), 200, CODING_IDENTITY, 0, 10);
    static_free(s);
}

static void ranges(void **state)
{
    (void)state;
    put_text("a.css", "0123456789");
    put_text("empty.css", "");
    static_set *s = load();
    const static_file *f = static_find(s, sv_cstr("/a.css"));
    const char *tag = f->forms[CODING_IDENTITY].etag;
    expect(ASK(f, "range", "bytes=2-5"), 206, CODING_IDENTITY, 2, 4);
    expect(ASK(f, "range", "bytes=-3"), 206, CODING_IDENTITY, 7, 3);
    expect(ASK(f, "range", "bytes=10-"), 416, CODING_IDENTITY, 0, 0);
    expect(ASK(f, "range", "bytes=0-1,3-4"), 200, CODING_IDENTITY, 0, 10);
    expect(ASK(f, "range", "lines=1-2"), 200, CODING_IDENTITY, 0, 10);
    expect(ASK(f, "range", "bytes=0-1", "range", "bytes=2-3"), 200, CODING_IDENTITY, 0, 10);
    expect(ask(f, "HEAD", (const char *const[]){"range", "bytes=2-5", NULL, NULL}), 200,
           CODING_IDENTITY, 0, 10);
    expect(ASK(f, "range", "bytes=2-5", "if-range", tag), 206, CODING_IDENTITY, 2, 4);
    expect(ASK(f, "range", "bytes=2-5", "if-range", "\"x\""), 200, CODING_IDENTITY, 0, 10);
    expect(ASK(f, "range", "bytes=2-5", "if-range", f->modified), 206, CODING_IDENTITY, 2, 4);
    expect(ASK(f, "range", "bytes=2-5", "if-range", "Tue, 14 Nov 2023 22:13:19 GMT"), 200,
           CODING_IDENTITY, 0, 10);
    expect(ASK(f, "range", "bytes=2-5", "if-none-match", tag), 304, CODING_IDENTITY, 0, 0);
    const static_file *empty = static_find(s, sv_cstr("/empty.css"));
    expect(ask(empty, "GET", NULL), 200, CODING_IDENTITY, 0, 0);
    expect(ASK(empty, "range", "bytes=0-"), 416, CODING_IDENTITY, 0, 0);
    static_free(s);
}

static void large_files_are_read_when_asked_for(void **state)
{
    (void)state;
    char *bytes = malloc(LARGE), *got = malloc(LARGE), path[400];
    for (size_t i = 0; i < LARGE; i++)
        bytes[i] = (char)(i * 7 + (i >> 8));
    put("large.js", bytes, LARGE);
    put("cut.js", bytes, LARGE);
    put("kept.js", bytes, STATIC_KEPT_BYTES);
    static_set *s = load();
    const static_form *form = &static_find(s, sv_cstr("/large.js"))->forms[CODING_IDENTITY];
    assert_null(form->bytes);
    assert_int_equal(form->n, LARGE);
    assert_memory_equal(static_find(s, sv_cstr("/kept.js"))->forms[CODING_IDENTITY].bytes, bytes,
                        STATIC_KEPT_BYTES);
    assert_int_equal(static_read(form, 0, got, LARGE), LARGE);
    assert_memory_equal(got, bytes, LARGE);
    assert_int_equal(static_read(form, 150000, got, 1000), 1000);
    assert_memory_equal(got, bytes + 150000, 1000);
    /* replaced: the old one is served; cut: what is missing is not made up */
    path_of("new", path);
    put("new", "x", 1);
    char to[400];
    path_of("large.js", to);
    assert_int_equal(rename(path, to), 0);
    assert_int_equal(static_read(form, 0, got, LARGE), LARGE);
    const static_form *cut = &static_find(s, sv_cstr("/cut.js"))->forms[CODING_IDENTITY];
    path_of("cut.js", path);
    assert_int_equal(truncate(path, 10), 0);
    assert_int_equal(static_read(cut, 0, got, LARGE), 10);
    assert_int_equal(static_read(form, LARGE, got, 1), 0);
    static_free(s);
    free(bytes);
    free(got);
}

static void made_files(void **state)
{
    (void)state;
    static_file f;
    buf text;
    buf_init(&text, 100000);
    for (int i = 0; i < 3000; i++)
        buf_puts(&text, "tea, ");
    assert_int_equal(static_file_make(&f, "application/json", MODIFIED, &text), 0);
    assert_null(text.p);
    expect(ask(&f, "GET", NULL), 200, CODING_IDENTITY, 0, 15000);
    static_answer a = ASK(&f, "accept-encoding", "br");
    assert_int_equal(a.how, CODING_BR);
    assert_true(a.n < 1000);
    assert_false(f.immutable);
    assert_false(f.page);
    static_file_free(&f);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(only_what_is_there),
        TEST(limits_are_kept),
        TEST(names_with_their_hash_are_for_good),
        TEST(codings_are_chosen),
        TEST(conditions),
        TEST(ranges),
        TEST(large_files_are_read_when_asked_for),
        cmocka_unit_test(made_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
