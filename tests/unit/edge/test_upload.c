/*  test_upload.c - files from the form to the workspace: cut anywhere, refused, given up at any moment,
 *  and what stays then: nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_bus.h"
#include "sha256.h"
#include "upload.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

enum { BIG = 2 * UPLOAD_PIECE_BYTES + 70000, MOST = 1 << 20 };

static const char type_line[] = "multipart/form-data; boundary=xyz";

/* What the workspace has. */
typedef struct kept {
    char name[256], type[100], id[40], sum[65];
    int64_t size;
    buf bytes;
    bool finished, dropped;
} kept;

typedef struct world {
    char folder[64];
    uploads *all;
    fake_exchange f;
    upload *u;
    int dones, code;
    uint32_t reply_files, tickets;
    char ticket[32], last_ticket[64];
    kept files[UPLOAD_FILES];
    uint32_t n;
    const char *fail_target; /* the fail_at-th call of it fails */
    int fail_at, fail_code;
    uint32_t appends, drops;
} world;

static sv_str on_ticket(void *arg)
{
    world *w = arg;
    snprintf(w->ticket, sizeof w->ticket, "ticket-%u", ++w->tickets);
    return sv_cstr(w->ticket);
}

static void on_done(void *arg, int code, const sv_item *item, const sv_error *err)
{
    world *w = arg;
    arena a;
    workspace_file_finish_reply reply;
    w->dones++;
    w->code = code;
    w->u = NULL;
    assert_true(code == 0 || err != NULL);
    if (code) return;
    arena_init(&a, 65536);
    assert_int_equal(message_decode(&workspace_file_finish_reply_msg, item->body, MESSAGE_STRICT,
                                    &a, &reply, NULL),
                     0);
    w->reply_files = reply.files.n;
    arena_free(&a);
}

static const upload_events events = {on_ticket, on_done};

static void world_open(world *w)
{
    sv_error err = {.code = 0};
    *w = (world){.folder = "/tmp/upload_test_XXXXXX"};
    assert_non_null(mkdtemp(w->folder));
    setenv("SAMOVAR_DATA", w->folder, 1);
    setenv("SAMOVAR_EDGE_UPLOAD_BYTES", "1MiB", 1);
    setenv("SAMOVAR_EDGE_UPLOADS", "2", 1);
    bus_loop = loop_new(&err);
    assert_int_equal(config_load(NULL, &bus_config, &err), 0);
    assert_int_equal(uploads_new(NULL, &w->all, &err), 0);
    bus_asked = 0;
}

static uint32_t names_in_the_folder(const world *w)
{
    char path[80];
    uint32_t n = 0;
    snprintf(path, sizeof path, "%s/tmp", w->folder);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));)
        n += e->d_name[0] != '.';
    if (d) closedir(d);
    return n;
}

static void world_close(world *w)
{
    char command[96];
    assert_null(bus_open);
    assert_int_equal(uploads_open(w->all), 0);
    assert_int_equal(names_in_the_folder(w), 0);
    uploads_free(w->all);
    config_free(bus_config);
    loop_free(bus_loop);
    for (uint32_t i = 0; i < w->n; i++)
        buf_free(&w->files[i].bytes);
    snprintf(command, sizeof command, "rm -rf %s", w->folder);
    assert_int_equal(system(command), 0);
}

static int begin_with(world *w, const char *type, const char *coding)
{
    sv_error err = {.code = 0};
    sv_trace trace = {.flags = 0};
    fake_begin(&w->f, "POST");
    w->f.request.has_body = true;
    if (type) fake_header(&w->f, "content-type", type);
    if (coding) fake_header(&w->f, "content-encoding", coding);
    int rc = upload_begin(w->all, &w->f.x, &w->f.request, &trace, &events, w, &w->u, &err);
    w->f.x.request = NULL;
    return rc;
}

static void begin(world *w)
{
    assert_int_equal(begin_with(w, type_line, NULL), 0);
    assert_int_equal(uploads_body_max(w->all), MOST + UPLOAD_AROUND_BYTES);
}

/* In pieces of `step`, as a wire would: not while paused. */
static int feed(world *w, sv_str body, size_t step)
{
    sv_error err = {.code = 0};
    for (size_t at = 0; at < body.n;) {
        uint32_t n = (uint32_t)(body.n - at < step ? body.n - at : step);
        if (w->f.x.paused) {
            loop_turn(bus_loop, 0);
            continue;
        }
        int rc = upload_bytes(w->u, (sv_str){body.p + at, n}, &err);
        if (rc) {
            w->u = NULL;
            return rc;
        }
        at += n;
    }
    while (w->f.x.paused)
        loop_turn(bus_loop, 0);
    int rc = upload_end(w->u, &err);
    if (rc) w->u = NULL;
    return rc;
}

/* ---- the workspace ---- */

static kept *kept_by_id(world *w, sv_str id)
{
    for (uint32_t i = 0; i < w->n; i++)
        if (sv_str_is(id, w->files[i].id)) return &w->files[i];
    abort();
}

static void serve_begin(world *w, sv_stream *s, arena *a)
{
    workspace_file_begin_req q;
    bus_read(s, &workspace_file_begin_req_msg, a, &q);
    kept *k = &w->files[w->n++];
    snprintf(k->name, sizeof k->name, "%.*s", SV_FMT(q.name));
    snprintf(k->type, sizeof k->type, "%.*s", SV_FMT(q.type));
    snprintf(k->id, sizeof k->id, "file-%u", w->n);
    k->size = q.size;
    buf_init(&k->bytes, 4 << 20);
    workspace_file_begin_reply reply = {.id = sv_cstr(k->id), .expires = 1};
    bus_answer(s, &workspace_file_begin_reply_msg, &reply);
}

static void serve_append(world *w, sv_stream *s, arena *a)
{
    workspace_file_append_req q;
    bus_read(s, &workspace_file_append_req_msg, a, &q);
    kept *k = kept_by_id(w, q.id);
    assert_int_equal(q.offset, k->bytes.n);
    assert_true(s->attachment.n > 0 && s->attachment.n <= UPLOAD_PIECE_BYTES);
    buf_put(&k->bytes, s->attachment.p, s->attachment.n);
    w->appends++;
    workspace_file_append_reply reply = {.received = (int64_t)k->bytes.n};
    bus_answer(s, &workspace_file_append_reply_msg, &reply);
}

static void serve_finish(world *w, sv_stream *s, arena *a)
{
    workspace_file_finish_req q;
    workspace_file_info infos[UPLOAD_FILES];
    bus_read(s, &workspace_file_finish_req_msg, a, &q);
    for (uint32_t i = 0; i < q.files.n; i++) {
        workspace_file_sum *f = &((workspace_file_sum *)q.files.items)[i];
        kept *k = kept_by_id(w, f->id);
        sha256 h;
        sha256_start(&h);
        sha256_add(&h, k->bytes.p, k->bytes.n);
        sha256_end(&h, k->sum);
        assert_true(sv_str_is(f->sha256, k->sum));
        assert_int_equal(f->size, k->bytes.n);
        assert_int_equal(k->size, k->bytes.n);
        k->finished = true;
        infos[i] = (workspace_file_info){.id = sv_cstr(k->id), .name = sv_cstr(k->name)};
    }
    workspace_file_finish_reply reply = {.files = {infos, q.files.n}};
    bus_answer(s, &workspace_file_finish_reply_msg, &reply);
}

static void serve_drop(world *w, sv_stream *s, arena *a)
{
    workspace_file_drop_req q;
    bus_read(s, &workspace_file_drop_req_msg, a, &q);
    for (uint32_t i = 0; i < q.ids.n; i++)
        kept_by_id(w, q.ids.items[i])->dropped = true;
    w->drops++;
    bus_answer(s, &bus_empty_msg, &(bus_empty){});
}

/* Answers the one call that may be open. */
static void serve(world *w)
{
    arena a;
    sv_stream *s = bus_open;
    assert_null(s->next); /* one at a time */
    snprintf(w->last_ticket, sizeof w->last_ticket, "%s", s->ticket);
    if (w->fail_target && strcmp(s->target, w->fail_target) == 0 && --w->fail_at == 0) {
        bus_fail(s, w->fail_code);
        return;
    }
    arena_init(&a, 65536);
    if (strcmp(s->target, "workspace.file_begin") == 0)
        serve_begin(w, s, &a);
    else if (strcmp(s->target, "workspace.file_append") == 0)
        serve_append(w, s, &a);
    else if (strcmp(s->target, "workspace.file_finish") == 0)
        serve_finish(w, s, &a);
    else if (strcmp(s->target, "workspace.file_drop") == 0)
        serve_drop(w, s, &a);
    else
        abort();
    arena_free(&a);
}

static void serve_all(world *w)
{
    for (int i = 0; i < 1000 && uploads_open(w->all); i++) {
        loop_turn(bus_loop, 0);
        if (bus_open) serve(w);
    }
}

static void forget_files(world *w)
{
    for (uint32_t i = 0; i < w->n; i++)
        buf_free(&w->files[i].bytes);
    memset(w->files, 0, sizeof w->files);
    w->n = w->appends = w->drops = 0;
    w->dones = w->code = 0;
    fake_free(&w->f);
}

/* ---- forms ---- */

static void put_file(buf *b, const char *name, const char *type, const char *bytes, size_t n)
{
    buf_printf(b, "--xyz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"%s\"\r\n",
               name);
    if (type) buf_printf(b, "Content-Type: %s\r\n", type);
    buf_puts(b, "\r\n");
    buf_put(b, bytes, n);
    buf_puts(b, "\r\n");
}

static const char two_files[] =
    "--xyz\r\nContent-Disposition: form-data; name=\"a\"; filename=\"one.txt\"\r\n"
    "Content-Type: image/png\r\n\r\nhello\r\n--xyz\r\n"
    "Content-Disposition: form-data; name=\"b\"; "
    "filename=\"../two\"\r\n\r\n%PDF-1.4\r\n--xyz--\r\n";

static void a_form_cut_anywhere(void **state)
{
    (void)state;
    world w;
    world_open(&w);
    for (size_t step = 1; step < sizeof two_files; step += step < 8 ? 1 : 13) {
        begin(&w);
        assert_int_equal(feed(&w, sv_cstr(two_files), step), 0);
        assert_int_equal(bus_asked, 0); /* nothing before the body is whole */
        serve_all(&w);
        assert_int_equal(w.dones, 1);
        assert_int_equal(w.code, 0);
        assert_int_equal(w.reply_files, 2);
        assert_string_equal(w.files[0].name, "one.txt");
        assert_string_equal(w.files[0].type, "text/plain"); /* not what the client said */
        assert_int_equal(w.files[0].bytes.n, 5);
        assert_memory_equal(w.files[0].bytes.p, "hello", 5);
        assert_string_equal(w.files[1].name, "../two");
        assert_string_equal(w.files[1].type, "application/pdf");
        assert_true(w.files[0].finished && w.files[1].finished);
        assert_int_equal(w.drops, 0);
        forget_files(&w);
        bus_asked = 0;
    }
    world_close(&w);
}

static char *big_bytes(void)
{
    char *p = malloc(BIG);
    assert_non_null(p);
    for (size_t i = 0; i < BIG; i++)
        p[i] = (char)(i * 131 + i / 251);
    return p;
}

static void large_files_go_in_pieces(void **state)
{
    (void)state;
    world w;
    buf b;
    char *bytes = big_bytes();
    world_open(&w);
    buf_init(&b, 2 << 20);
    put_file(&b, "big", NULL, bytes, BIG);
    put_file(&b, "empty", NULL, "", 0);
    put_file(&b, "piece", NULL, bytes, UPLOAD_PIECE_BYTES);
    buf_puts(&b, "--xyz--\r\n");
    begin(&w);
    assert_int_equal(feed(&w, buf_str(&b), 16384), 0);
    assert_true(w.f.pauses >= 10); /* 64 KiB a turn */
    assert_int_equal(w.f.pauses, w.f.resumes);
    serve_all(&w);
    assert_int_equal(w.code, 0);
    assert_int_equal(w.appends, 4);
    assert_int_equal(w.n, 3);
    assert_int_equal(w.files[0].bytes.n, BIG);
    assert_memory_equal(w.files[0].bytes.p, bytes, BIG);
    assert_int_equal(w.files[1].size, 0);
    assert_string_equal(w.files[1].type, "application/octet-stream");
    assert_int_equal(w.files[2].bytes.n, UPLOAD_PIECE_BYTES);
    assert_memory_equal(w.files[2].bytes.p, bytes, UPLOAD_PIECE_BYTES);
    assert_int_equal(w.tickets, 8); /* each call has a fresh one */
    forget_files(&w);
    buf_free(&b);
    free(bytes);
    world_close(&w);
}

static void heads_that_are_refused(void **state)
{
    (void)state;
    world w;
    sv_error err = {.code = 0};
    sv_trace trace = {.flags = 0};
    upload *other;
    world_open(&w);
    assert_int_equal(begin_with(&w, "application/json", NULL), SV_E_HTTP_MEDIA_TYPE);
    fake_free(&w.f);
    assert_int_equal(begin_with(&w, NULL, NULL), SV_E_HTTP_MEDIA_TYPE);
    fake_free(&w.f);
    assert_int_equal(begin_with(&w, type_line, "gzip"), SV_E_HTTP_MEDIA_TYPE);
    fake_free(&w.f);
    fake_begin(&w.f, "POST");
    fake_header(&w.f, "content-type", type_line);
    assert_int_equal(upload_begin(w.all, &w.f.x, &w.f.request, &trace, &events, &w, &other, &err),
                     SV_E_HTTP_LENGTH_REQUIRED);
    fake_free(&w.f);
    assert_int_equal(uploads_open(w.all), 0);
    begin(&w);
    other = w.u;
    fake_free(&w.f);
    begin(&w);
    upload *third = w.u;
    fake_free(&w.f);
    assert_int_equal(begin_with(&w, type_line, NULL), SV_E_OVERLOADED);
    upload_abort(other, true);
    upload_abort(third, true);
    upload_abort(NULL, true);
    fake_free(&w.f);
    world_close(&w);
}

static void forms_that_are_refused(void **state)
{
    (void)state;
    world w;
    buf b;
    const struct {
        const char *form;
        int code;
    } cases[] = {
        {"--xyz--\r\n", SV_E_MISSING_FIELD},
        {"--xyz\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nx\r\n--xyz--\r\n",
         SV_E_UNKNOWN_FIELD},
        {"--xyz\r\nContent-Disposition: form-data; name=\"f\"; "
         "filename=\"\"\r\n\r\n\r\n--xyz--\r\n",
         SV_E_MISSING_FIELD},
        {"--xyz\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\"\r\n\r\nhalf",
         SV_E_INVALID},
        {"nothing", SV_E_INVALID},
    };
    world_open(&w);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        begin(&w);
        assert_int_equal(feed(&w, sv_cstr(cases[i].form), 7), cases[i].code);
        assert_int_equal(uploads_open(w.all), 0);
        fake_free(&w.f);
    }
    buf_init(&b, 3 << 20);
    for (int i = 0; i < UPLOAD_FILES + 1; i++)
        put_file(&b, "x", NULL, "x", 1);
    buf_puts(&b, "--xyz--\r\n");
    begin(&w);
    assert_int_equal(feed(&w, buf_str(&b), 1000), SV_E_TOO_LARGE);
    fake_free(&w.f);
    char *bytes = big_bytes();
    for (int over = 0; over < 2; over++) { /* all files count together */
        buf_reset(&b, 0);
        put_file(&b, "x", NULL, bytes, MOST / 2);
        put_file(&b, "y", NULL, bytes, (size_t)(MOST / 2 + over));
        buf_puts(&b, "--xyz--\r\n");
        begin(&w);
        assert_int_equal(feed(&w, buf_str(&b), 9999), over ? SV_E_TOO_LARGE : 0);
        serve_all(&w);
        forget_files(&w);
    }
    assert_int_equal(w.dones, 0);
    free(bytes);
    buf_free(&b);
    world_close(&w);
}

static void what_fails_leaves_nothing(void **state)
{
    (void)state;
    const struct {
        const char *target;
        int at, code;
        uint32_t begun, drops;
    } cases[] = {
        {"workspace.file_begin", 1, SV_E_QUOTA, 0, 0},
        {"workspace.file_begin", 2, SV_E_QUOTA, 1, 1},
        {"workspace.file_append", 1, SV_E_UNAVAILABLE, 1, 1},
        {"workspace.file_append", 2, SV_E_STORE_FULL, 2, 1},
        {"workspace.file_finish", 1, SV_E_CONFLICT, 2, 1},
    };
    world w;
    world_open(&w);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        begin(&w);
        w.fail_target = cases[i].target;
        w.fail_at = cases[i].at;
        w.fail_code = cases[i].code;
        assert_int_equal(feed(&w, sv_cstr(two_files), 100), 0);
        serve_all(&w);
        assert_int_equal(w.dones, 1);
        assert_int_equal(w.code, cases[i].code);
        assert_int_equal(w.n, cases[i].begun);
        assert_int_equal(w.drops, cases[i].drops);
        for (uint32_t k = 0; k < w.n; k++)
            assert_true(w.files[k].dropped && !w.files[k].finished);
        w.fail_target = NULL;
        forget_files(&w);
    }
    begin(&w); /* the bus itself cannot be asked */
    assert_int_equal(feed(&w, sv_cstr(two_files), 100), 0);
    bus_refuses = true;
    serve_all(&w);
    bus_refuses = false;
    assert_int_equal(w.code, SV_E_NO_MEMORY);
    forget_files(&w);
    world_close(&w);
}

/* The client leaves before the n-th call is answered, or between two calls. */
static void a_client_may_leave_at_any_moment(void **state)
{
    (void)state;
    world w;
    world_open(&w);
    begin(&w);
    sv_error err = {.code = 0};
    assert_int_equal(upload_bytes(w.u, (sv_str){two_files, 150}, &err), 0);
    assert_int_equal(names_in_the_folder(&w), 0); /* the spool has no name */
    upload_abort(w.u, true);
    assert_int_equal(bus_asked, 0);
    forget_files(&w);
    for (int between = 0; between < 2; between++)
        for (int at = 0; at < 5; at++) {
            begin(&w);
            assert_int_equal(feed(&w, sv_cstr(two_files), 100), 0);
            for (int answered = 0; answered < at;) {
                loop_turn(bus_loop, 0);
                if (bus_open) {
                    serve(&w);
                    answered++;
                }
            }
            while (!between && bus_open == NULL)
                loop_turn(bus_loop, 0);
            uint32_t tickets = w.tickets;
            upload_abort(w.u, true);
            serve_all(&w);
            assert_int_equal(w.dones, 0);
            assert_true(w.tickets <= tickets + 1); /* nobody is there to be asked for more */
            bool finished = at == 4 && (!between || w.files[0].finished);
            for (uint32_t k = 0; k < w.n; k++) {
                assert_int_equal(w.files[k].dropped, !finished);
                assert_int_equal(w.files[k].finished, finished);
            }
            assert_int_equal(w.drops, w.n > 0 && !finished);
            forget_files(&w);
        }
    world_close(&w);
}

static void the_process_ends(void **state)
{
    (void)state;
    world w;
    world_open(&w);
    begin(&w);
    assert_int_equal(feed(&w, sv_cstr(two_files), 100), 0);
    while (bus_open == NULL)
        loop_turn(bus_loop, 0);
    bus_forget(bus_open); /* streams are gone without `done` */
    upload_abort(w.u, false);
    assert_int_equal(uploads_open(w.all), 0);
    forget_files(&w);
    begin(&w); /* without its client, waiting for the drop */
    assert_int_equal(feed(&w, sv_cstr(two_files), 100), 0);
    while (bus_open == NULL)
        loop_turn(bus_loop, 0);
    upload_abort(w.u, true);
    assert_int_equal(uploads_open(w.all), 1);
    bus_forget(bus_open);
    uploads_free(w.all);
    assert_int_equal(uploads_new(NULL, &w.all, NULL), 0);
    forget_files(&w);
    world_close(&w);
}

static void a_full_disk_is_said(void **state)
{
    (void)state;
    world w;
    struct rlimit was, now;
    char *bytes = big_bytes();
    buf b;
    world_open(&w);
    buf_init(&b, 2 << 20);
    put_file(&b, "x", NULL, bytes, BIG);
    begin(&w);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &was);
    now = (struct rlimit){100000, was.rlim_max};
    setrlimit(RLIMIT_FSIZE, &now);
    int rc = feed(&w, buf_str(&b), 16384);
    setrlimit(RLIMIT_FSIZE, &was);
    assert_int_equal(rc, SV_E_STORE_FULL);
    assert_int_equal(sv_error_lookup(rc)->http, 507);
    assert_int_equal(uploads_open(w.all), 0);
    fake_free(&w.f);
    buf_free(&b);
    free(bytes);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_form_cut_anywhere),
        cmocka_unit_test(large_files_go_in_pieces),
        cmocka_unit_test(heads_that_are_refused),
        cmocka_unit_test(forms_that_are_refused),
        cmocka_unit_test(what_fails_leaves_nothing),
        cmocka_unit_test(a_client_may_leave_at_any_moment),
        cmocka_unit_test(the_process_ends),
        cmocka_unit_test(a_full_disk_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
