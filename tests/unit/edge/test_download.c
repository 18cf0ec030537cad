/*  test_download.c - files as answers: ranges, conditions, names, and a client that reads slowly or
 *  leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "byte_range.h"
#include "download.h"
#include "fake_bus.h"
#include "file_type.h"

enum { BIG = 3 * DOWNLOAD_PIECE_BYTES + 1000, PART = 50000 };

static const char sum[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
static const char tag[] = "\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"";
static const char file_id[] = "01234567-0123-7123-8123-0123456789ab";
static char content[BIG];

typedef struct world {
    fake_exchange f;
    download *d;
    int heads, dones, code, status;
    bool whole;
    uint64_t length;
    uint32_t tickets;
    char head[4096]; /* "name: value\n" of each header */
    char ticket[32];
    workspace_file_info info;
} world;

static sv_str on_ticket(void *arg)
{
    world *w = arg;
    snprintf(w->ticket, sizeof w->ticket, "ticket-%u", ++w->tickets);
    return sv_cstr(w->ticket);
}

static void on_head(void *arg, const http_response *r, bool whole, uint64_t length)
{
    world *w = arg;
    size_t n =
        (size_t)snprintf(w->head, sizeof w->head, "content-type: %.*s\n", SV_FMT(r->content_type));
    w->heads++;
    w->status = r->status;
    w->whole = whole;
    w->length = length;
    for (uint32_t i = 0; i < r->n_headers; i++)
        n += (size_t)snprintf(w->head + n, sizeof w->head - n, "%.*s: %.*s\n",
                              SV_FMT(r->headers[i].name), SV_FMT(r->headers[i].value));
    w->f.x.started = true;
}

static void on_done(void *arg, int code, const sv_error *err)
{
    (void)err;
    world *w = arg;
    w->dones++;
    w->code = code;
    w->d = NULL;
}

static const download_events events = {on_ticket, on_head, on_done};

static void begin(world *w, const char *method)
{
    *w = (world){.heads = 0};
    fake_begin(&w->f, method);
    for (size_t i = 0; i < sizeof content; i++)
        content[i] = (char)(i * 31 + i / 997);
    w->info = (workspace_file_info){.id = sv_cstr(file_id),
                                    .name = sv_cstr("report.pdf"),
                                    .size = sizeof content,
                                    .type = sv_cstr("application/pdf"),
                                    .sha256 = sv_cstr(sum),
                                    .created = 1};
}

static void start(world *w)
{
    sv_error err = {.code = 0};
    sv_trace trace = {.flags = 0};
    assert_int_equal(
        download_begin(NULL, &w->f.x, sv_cstr(file_id), &trace, &events, w, &w->d, &err), 0);
    w->f.x.request = NULL; /* valid inside `request` only */
    assert_string_equal(bus_open->target, "workspace.file");
    workspace_file_reply reply = {&w->info};
    bus_answer(bus_open, &workspace_file_reply_msg, &reply);
}

static void header(world *w, const char *name, const char *value)
{
    fake_header(&w->f, name, value);
}

static bool has(const world *w, const char *line)
{
    const char *at = strstr(w->head, line);
    return at && (at == w->head || at[-1] == '\n') && at[strlen(line)] == '\n';
}

/* The workspace sends what is asked for, in items. */
static void serve_piece(world *w)
{
    arena a;
    workspace_file_read_req q;
    sv_stream *s = bus_open;
    (void)w;
    assert_non_null(s);
    assert_string_equal(s->target, "workspace.file_read");
    assert_true(s->stream);
    arena_init(&a, 65536);
    bus_read(s, &workspace_file_read_req_msg, &a, &q);
    assert_true(q.n > 0 && q.n <= DOWNLOAD_PIECE_BYTES);
    for (int64_t at = 0; at < q.n; at += PART) {
        uint32_t n = (uint32_t)(q.n - at < PART ? q.n - at : PART);
        s->events->item(s->arg, s, &(sv_item){.attachment = {content + q.offset + at, n}});
    }
    workspace_file_read_reply reply = {q.n};
    arena_free(&a);
    bus_answer(s, &workspace_file_read_reply_msg, &reply);
}

static void serve_all(world *w)
{
    while (bus_open) {
        serve_piece(w);
        if (w->d) download_drained(w->d);
    }
    assert_int_equal(w->dones, 1);
}

static void end(world *w)
{
    assert_null(bus_open);
    assert_null(w->d);
    fake_free(&w->f);
}

static void a_whole_file(void **state)
{
    (void)state;
    world w;
    begin(&w, "GET");
    start(&w);
    assert_int_equal(w.status, 200);
    assert_int_equal(w.length, BIG);
    assert_false(w.whole);
    assert_true(has(&w, "content-type: application/pdf"));
    assert_true(has(&w, "content-disposition: attachment; filename=\"report.pdf\"; "
                        "filename*=UTF-8''report.pdf"));
    assert_true(has(&w, "x-content-type-options: nosniff"));
    assert_true(has(&w, "content-security-policy: sandbox; default-src 'none'; "
                        "frame-ancestors 'none'"));
    assert_true(has(&w, "accept-ranges: bytes"));
    assert_true(has(&w, "cache-control: private, no-cache"));
    assert_null(strstr(w.head, "content-range"));
    char etag[100];
    snprintf(etag, sizeof etag, "etag: %s", tag);
    assert_true(has(&w, etag));
    serve_all(&w);
    assert_int_equal(w.code, 0);
    assert_true(w.f.x.ended);
    assert_int_equal(w.f.out.n, BIG);
    assert_memory_equal(w.f.out.p, content, BIG);
    assert_int_equal(w.tickets, 5); /* info and four pieces, each with a fresh one */
    end(&w);
}

static void a_slow_client_gets_no_more_than_a_piece(void **state)
{
    (void)state;
    world w;
    begin(&w, "GET");
    start(&w);
    assert_int_equal(bus_open->window, DOWNLOAD_PIECE_BYTES);
    sv_stream *s = bus_open;
    s->events->item(s->arg, s, &(sv_item){.attachment = {content, PART}});
    assert_int_equal(s->consumed, 0); /* not before the client has taken it */
    download_drained(w.d);
    assert_int_equal(s->consumed, PART);
    download_drained(w.d);
    assert_int_equal(s->consumed, PART);
    s->events->item(s->arg, s,
                    &(sv_item){.attachment = {content + PART, DOWNLOAD_PIECE_BYTES - PART}});
    workspace_file_read_reply reply = {DOWNLOAD_PIECE_BYTES};
    bus_answer(s, &workspace_file_read_reply_msg, &reply);
    assert_null(bus_open); /* the next piece waits for the client */
    assert_int_equal(w.f.out.n, DOWNLOAD_PIECE_BYTES);
    download_drained(w.d);
    assert_non_null(bus_open);
    serve_all(&w);
    assert_int_equal(w.f.out.n, BIG);
    assert_memory_equal(w.f.out.p, content, BIG);
    end(&w);
}

static void ranges(void **state)
{
    (void)state;
    const struct {
        const char *range, *if_range;
        int status;
        uint64_t from, n;
        const char *line;
    } cases[] = {
        {"bytes=0-9", NULL, 206, 0, 10, "content-range: bytes 0-9/394216"},
        {"bytes=394215-", NULL, 206, 394215, 1, "content-range: bytes 394215-394215/394216"},
        {"bytes=-5", NULL, 206, 394211, 5, "content-range: bytes 394211-394215/394216"},
        {"bytes=100000-300000", tag, 206, 100000, 200001,
         "content-range: bytes 100000-300000/394216"},
        {"bytes=394216-", NULL, 416, 0, 0, "content-range: bytes */394216"},
        {"bytes=0-9", "\"other\"", 200, 0, BIG, "accept-ranges: bytes"},
        {"bytes=0-9", "W/\"0011\"", 200, 0, BIG, "accept-ranges: bytes"},
        {"bytes=0-9", "Wed, 21 Oct 2015 07:28:00 GMT", 200, 0, BIG, "accept-ranges: bytes"},
        {"bytes=0-1,5-6", NULL, 200, 0, BIG, "accept-ranges: bytes"},
        {"lines=0-1", NULL, 200, 0, BIG, "accept-ranges: bytes"},
    };
    assert_int_equal(BIG, 394216);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        world w;
        begin(&w, "GET");
        header(&w, "range", cases[i].range);
        if (cases[i].if_range) header(&w, "if-range", cases[i].if_range);
        start(&w);
        assert_int_equal(w.status, cases[i].status);
        assert_true(has(&w, cases[i].line));
        assert_int_equal(w.length, cases[i].n);
        assert_int_equal(w.whole, cases[i].status == 416);
        serve_all(&w);
        assert_int_equal(w.f.out.n, cases[i].n);
        if (cases[i].n) assert_memory_equal(w.f.out.p, content + cases[i].from, cases[i].n);
        end(&w);
    }
}

static void what_the_client_has_is_not_sent_again(void **state)
{
    (void)state;
    char weak[100], list[200];
    snprintf(weak, sizeof weak, "W/%s", tag);
    snprintf(list, sizeof list, "\"x\" , %s", tag);
    const char *same[] = {tag, weak, list, "*"};
    for (size_t i = 0; i < 4; i++) {
        world w;
        begin(&w, "GET");
        header(&w, "if-none-match", same[i]);
        header(&w, "range", "bytes=0-0");
        start(&w);
        assert_int_equal(w.status, 304);
        assert_true(w.whole);
        assert_int_equal(w.dones, 1);
        assert_int_equal(w.f.out.n, 0);
        assert_non_null(strstr(w.head, tag));
        assert_null(strstr(w.head, "content-disposition"));
        end(&w);
    }
    world w;
    begin(&w, "GET");
    header(&w, "if-none-match", "\"other\"");
    start(&w);
    assert_int_equal(w.status, 200);
    serve_all(&w);
    end(&w);
}

static void head_sends_no_bytes(void **state)
{
    (void)state;
    world w;
    begin(&w, "HEAD");
    header(&w, "range", "bytes=0-9"); /* for GET only */
    start(&w);
    assert_int_equal(w.status, 200);
    assert_true(w.whole);
    assert_int_equal(w.length, BIG);
    assert_int_equal(w.dones, 1);
    end(&w);
    begin(&w, "GET");
    w.info.size = 0;
    start(&w);
    assert_int_equal(w.status, 200);
    assert_true(w.f.x.ended);
    assert_int_equal(w.length, 0);
    assert_int_equal(w.dones, 1);
    end(&w);
}

static void names_are_data(void **state)
{
    (void)state;
    const struct {
        const char *name, *type, *line, *kind;
    } cases[] = {
        {"a b.txt", "text/plain",
         "content-disposition: attachment; filename=\"a b.txt\"; filename*=UTF-8''a%20b.txt",
         "content-type: text/plain; charset=utf-8"},
        {"\xd0\xb4\xd0\xb0.html", "text/html",
         "content-disposition: attachment; filename=\"__.html\"; "
         "filename*=UTF-8''%D0%B4%D0%B0.html",
         "content-type: text/html; charset=utf-8"},
        {"x\"; filename=\"evil.exe", "image/png",
         "content-disposition: attachment; filename=\"x_; filename=_evil.exe\"; "
         "filename*=UTF-8''x%22%3B%20filename%3D%22evil.exe",
         "content-type: image/png"},
        {"a\\b%41'*()", "image/png",
         "content-disposition: attachment; filename=\"a_b_41'*()\"; "
         "filename*=UTF-8''a%5Cb%2541%27%2A%28%29",
         "content-type: image/png"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        world w;
        begin(&w, "HEAD");
        w.info.name = sv_cstr(cases[i].name);
        w.info.type = sv_cstr(cases[i].type);
        start(&w);
        assert_true(has(&w, cases[i].line));
        assert_true(has(&w, cases[i].kind));
        end(&w);
    }
    world w; /* the longest, all of it encoded */
    char name[256];
    begin(&w, "HEAD");
    for (size_t i = 0; i < 255; i++)
        name[i] = "\xe2\x82\xac"[i % 3];
    name[255] = 0;
    w.info.name = sv_cstr(name);
    start(&w);
    assert_non_null(strstr(w.head, "%E2%82%AC\n"));
    end(&w);
}

static void what_goes_wrong(void **state)
{
    (void)state;
    world w;
    sv_error err = {.code = 0};
    sv_trace trace = {.flags = 0};
    begin(&w, "GET"); /* no such file */
    assert_int_equal(download_begin(NULL, &w.f.x, sv_cstr("x"), &trace, &events, &w, &w.d, &err),
                     0);
    bus_fail(bus_open, SV_E_NOT_FOUND);
    assert_int_equal(w.dones, 1);
    assert_int_equal(w.code, SV_E_NOT_FOUND);
    assert_int_equal(w.heads, 0);
    assert_false(w.f.aborted);
    end(&w);
    begin(&w, "GET"); /* no id at all */
    char id[64];
    memset(id, 'a', sizeof id);
    assert_int_equal(
        download_begin(NULL, &w.f.x, (sv_str){id, sizeof id}, &trace, &events, &w, &w.d, &err),
        SV_E_NOT_FOUND);
    end(&w);
    begin(&w, "GET"); /* deleted on the way: the client sees that it was cut */
    start(&w);
    serve_piece(&w);
    download_drained(w.d);
    bus_fail(bus_open, SV_E_NOT_FOUND);
    assert_int_equal(w.code, SV_E_NOT_FOUND);
    assert_int_equal(w.dones, 1);
    assert_true(w.f.aborted);
    end(&w);
    begin(&w, "GET"); /* a piece that is shorter than it should be */
    start(&w);
    sv_stream *s = bus_open;
    s->events->item(s->arg, s, &(sv_item){.attachment = {content, 10}});
    workspace_file_read_reply reply = {10};
    bus_answer(s, &workspace_file_read_reply_msg, &reply);
    assert_true(w.f.aborted);
    assert_int_equal(w.dones, 1);
    end(&w);
    begin(&w, "GET"); /* more than was asked for is not sent */
    header(&w, "range", "bytes=0-9");
    start(&w);
    s = bus_open;
    s->events->item(s->arg, s, &(sv_item){.attachment = {content, 20}});
    bus_answer(s, &workspace_file_read_reply_msg, &reply);
    assert_int_equal(w.f.out.n, 10);
    assert_true(w.f.x.ended && !w.f.aborted);
    end(&w);
    begin(&w, "GET"); /* the bus cannot be asked any more */
    start(&w);
    serve_piece(&w);
    bus_refuses = true;
    download_drained(w.d);
    bus_refuses = false;
    assert_true(w.f.aborted);
    assert_int_equal(w.code, SV_E_NO_MEMORY);
    end(&w);
}

static void a_client_that_leaves_ends_the_call(void **state)
{
    (void)state;
    world w;
    sv_error err = {.code = 0};
    sv_trace trace = {.flags = 0};
    uint32_t cancelled = bus_cancelled;
    begin(&w, "GET");
    assert_int_equal(download_begin(NULL, &w.f.x, sv_cstr("x"), &trace, &events, &w, &w.d, &err),
                     0);
    download_end(w.d, true);
    assert_int_equal(bus_cancelled, cancelled + 1);
    w.d = NULL;
    end(&w);
    begin(&w, "GET");
    start(&w);
    serve_piece(&w);
    download_end(w.d, true); /* between two pieces: there is nothing to cancel */
    assert_int_equal(bus_cancelled, cancelled + 1);
    w.d = NULL;
    assert_int_equal(w.dones, 0);
    end(&w);
    download_end(NULL, true);
}

static void range_values(void **state)
{
    (void)state;
    const struct {
        const char *value;
        uint64_t size;
        range_kind kind;
        uint64_t from, n;
    } cases[] = {
        {"bytes=0-0", 1, RANGE_PART, 0, 1},
        {"Bytes=0-", 5, RANGE_PART, 0, 5},
        {"bytes= 1-3 ", 5, RANGE_PART, 1, 3},
        {"bytes=1-99999999999999999999999", 5, RANGE_PART, 1, 4},
        {"bytes=-99999999999999999999999", 5, RANGE_PART, 0, 5},
        {"bytes=99999999999999999999999-", 5, RANGE_BEYOND, 0, 0},
        {"bytes=1-5", 5, RANGE_PART, 1, 4},
        {"bytes=1-4", 5, RANGE_PART, 1, 4},
        {"bytes=5-5", 5, RANGE_BEYOND, 0, 0},
        {"bytes=-0", 5, RANGE_BEYOND, 0, 0},
        {"bytes=0-", 0, RANGE_BEYOND, 0, 0},
        {"bytes=-1", 0, RANGE_BEYOND, 0, 0},
        {"bytes=3-2", 5, RANGE_WHOLE, 0, 0},
        {"bytes=", 5, RANGE_WHOLE, 0, 0},
        {"bytes=-", 5, RANGE_WHOLE, 0, 0},
        {"bytes=1", 5, RANGE_WHOLE, 0, 0},
        {"bytes=a-2", 5, RANGE_WHOLE, 0, 0},
        {"bytes=1-2x", 5, RANGE_WHOLE, 0, 0},
        {"bytes=+1-2", 5, RANGE_WHOLE, 0, 0},
        {"bytes=1-2-3", 5, RANGE_WHOLE, 0, 0},
        {"", 5, RANGE_WHOLE, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t from = 0, n = 0;
        assert_int_equal(byte_range_read(sv_cstr(cases[i].value), cases[i].size, &from, &n),
                         cases[i].kind);
        assert_int_equal(from, cases[i].from);
        assert_int_equal(n, cases[i].n);
    }
    assert_false(etag_listed((sv_str){NULL, 0}, sv_cstr("\"a\"")));
    assert_false(etag_listed(sv_cstr(" , ,"), sv_cstr("\"a\"")));
    assert_false(etag_listed(sv_cstr("\"ab\", a"), sv_cstr("\"a\"")));
    assert_true(etag_listed(sv_cstr("\"b\",W/\"a\""), sv_cstr("\"a\"")));
}

static void types_of_bytes(void **state)
{
    (void)state;
#define B(text)                                                                                    \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }
    const struct {
        sv_str head;
        const char *type;
    } cases[] = {
        {B("%PDF-1.7\n"), "application/pdf"},
        {B("\x89PNG\r\n\x1a\n...."), "image/png"},
        {B("RIFF\1\2\3\4WEBPVP8 "), "image/webp"},
        {B("RIFF\1\2\3\4????"), "application/octet-stream"},
        {B("PK\3\4\x14\0\0\0\0\0aaaabbbbccccdddd\x08\0\0\0mimetypeapplication/epub+zip"),
         "application/epub+zip"},
        {B("PK\3\4\x14\0\0\0\0\0aaaabbbbccccdddd\x13\0\0\0[Content_Types].xml..PK\3\4word/x"),
         "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
        {B("PK\3\4\x14\0\0\0\0\0aaaabbbbccccdddd\5\0\0\0a.txt"), "application/zip"},
        {B("\x7f"
           "ELF\2\1"),
         "application/x-executable"},
        {B("hello\nworld\t\r\n"), "text/plain"},
        {B("\xef\xbb\xbf <!DOCTYPE HTML><p>"), "text/html"},
        {B("<?xml version=\"1.0\"?><svg xmlns=\"x\"/>"), "image/svg+xml"},
        {B("<?xml version=\"1.0\"?><a/>"), "application/xml"},
        {B("\xd0\xbf\xd1\x80\xd0\xb8"), "text/plain"},
        {B("caf\xe9"), "application/octet-stream"},
        {B("a\0b"), "application/octet-stream"},
        {B(""), "application/octet-stream"},
        {B("PK"), "text/plain"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(file_type_of(cases[i].head, true), cases[i].type);
    /* A character that is cut by the end of what is looked at. */
    sv_str cut = B("ab\xd0");
    assert_string_equal(file_type_of(cut, false), "text/plain");
    assert_string_equal(file_type_of(cut, true), "application/octet-stream");
    static char long_text[FILE_TYPE_LOOK + 10];
    memset(long_text, 'x', sizeof long_text);
    long_text[FILE_TYPE_LOOK] = 0;
    assert_string_equal(file_type_of((sv_str){long_text, sizeof long_text}, true), "text/plain");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_file),
        cmocka_unit_test(a_slow_client_gets_no_more_than_a_piece),
        cmocka_unit_test(ranges),
        cmocka_unit_test(what_the_client_has_is_not_sent_again),
        cmocka_unit_test(head_sends_no_bytes),
        cmocka_unit_test(names_are_data),
        cmocka_unit_test(what_goes_wrong),
        cmocka_unit_test(a_client_that_leaves_ends_the_call),
        cmocka_unit_test(range_values),
        cmocka_unit_test(types_of_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
