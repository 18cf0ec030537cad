/*  files.c - the workspace actor's files over a real bus: this process is the supervisor, a user and
 *  a stranger at once. Who may what; bytes as streams; the actor killed in the middle of appends: no
 *  half file is ever seen and what is reserved is right afterwards. BIN names the executables. */
#include "bus_kit.h"
#include "error.h"
#include "files_store.h"
#include "root_key_file.h"
#include "sha256.h"
#include "uuid.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { ORG_BYTES = 4 << 20, PIECE = 65536, SIZE = 5 * PIECE + 123 };

static pid_t workspace_pid;
static buf anna, bob, vera, eve, xena; /* tickets */

static void start_workspace(void)
{
    workspace_pid = kit_start(NULL, "workspace", 1);
}

static void kill_workspace(void)
{
    kit_kill(workspace_pid);
}

/* ---- calls ---- */

static const sv_str nothing = {NULL, 0};

static sv_request request_of(const buf *who, const char *target, const sv_message *m,
                             const void *body, sv_str attachment)
{
    return (sv_request){.target = target,
                        .type = m,
                        .body = body,
                        .attachment = attachment,
                        .ticket = who ? buf_str(who) : nothing};
}

static int ask(const buf *who, const char *target, const sv_message *m, const void *body,
               sv_str attachment)
{
    sv_request r = request_of(who, target, m, body, attachment);
    return kit_code(&r);
}

static int begin_file(const buf *who, const char *name, int64_t size, char id[UUID_TEXT + 1])
{
    kit_call k;
    workspace_file_begin_reply reply;
    workspace_file_begin_req q = {
        .name = sv_cstr(name), .size = size, .type = sv_cstr("text/plain")};
    sv_request r =
        request_of(who, "workspace.file_begin", &workspace_file_begin_req_msg, &q, nothing);
    kit_begin(&k, &r);
    int rc = kit_finish(&k, &workspace_file_begin_reply_msg, &reply);
    if (rc == 0) snprintf(id, UUID_TEXT + 1, "%.*s", SV_FMT(reply.id));
    kit_end(&k);
    return rc;
}

static int append(const buf *who, const char *id, const char *bytes, uint32_t n, uint64_t offset)
{
    workspace_file_append_req q = {.id = sv_cstr(id), .offset = (int64_t)offset};
    return ask(who, "workspace.file_append", &workspace_file_append_req_msg, &q,
               (sv_str){bytes, n});
}

static int finish_file(const buf *who, const char *id, int64_t size, const char *sum)
{
    workspace_file_sum s = {sv_cstr(id), size, sv_cstr(sum)};
    workspace_file_finish_req q = {.files = {&s, 1}};
    return ask(who, "workspace.file_finish", &workspace_file_finish_req_msg, &q, nothing);
}

static int with_id(const buf *who, const char *target, const char *id)
{
    workspace_file_req q = {.id = sv_cstr(id)};
    return ask(who, target, &workspace_file_req_msg, &q, nothing);
}

static int drop(const buf *who, const char *id)
{
    sv_str text = sv_cstr(id);
    workspace_file_drop_req q = {.ids = {&text, 1}};
    return ask(who, "workspace.file_drop", &workspace_file_drop_req_msg, &q, nothing);
}

static uint32_t count_files(const buf *who)
{
    kit_call k;
    workspace_files_reply reply;
    workspace_files_req q = {.limit = 100};
    sv_request r = request_of(who, "workspace.files", &workspace_files_req_msg, &q, nothing);
    kit_begin(&k, &r);
    assert_int_equal(kit_finish(&k, &workspace_files_reply_msg, &reply), 0);
    uint32_t n = reply.files.n;
    kit_end(&k);
    return n;
}

static sv_stream *begin_read(kit_call *k, const buf *who, const char *id, int64_t offset, int64_t n)
{
    workspace_file_read_req q = {.id = sv_cstr(id), .offset = offset, .n = n};
    sv_request r =
        request_of(who, "workspace.file_read", &workspace_file_read_req_msg, &q, nothing);
    r.stream = true;
    return kit_begin(k, &r);
}

static int read_file(kit_call *k, const buf *who, const char *id, int64_t offset, int64_t n)
{
    begin_read(k, who, id, offset, n);
    return kit_finish(k, NULL, NULL);
}

static char *pattern(uint32_t seed, char sum[65])
{
    static char bytes[SIZE];
    sha256 h;
    for (size_t i = 0; i < SIZE; i++) {
        seed = seed * 1664525 + 1013904223;
        bytes[i] = (char)(seed >> 24);
    }
    sha256_start(&h);
    sha256_add(&h, bytes, SIZE);
    sha256_end(&h, sum);
    return bytes;
}

static int whole_file(const buf *who, uint32_t seed, char id[UUID_TEXT + 1])
{
    char sum[65];
    const char *bytes = pattern(seed, sum);
    int rc = begin_file(who, "file.bin", SIZE, id);
    for (uint32_t at = 0; rc == 0 && at < SIZE; at += PIECE)
        rc = append(who, id, bytes + at, SIZE - at < PIECE ? SIZE - at : PIECE, at);
    return rc ? rc : finish_file(who, id, SIZE, sum);
}

/* ---- set-up ---- */

static void make_ticket(buf *to, const char *user, const char *org, const char *role)
{
    ticket t = {.user = sv_cstr(user),
                .org = sv_cstr(org),
                .tier = sv_cstr("free"),
                .roles = {sv_cstr(role)},
                .n_roles = role[0] != 0,
                .expires_s = (uint64_t)time(NULL) + 900};
    buf_init(to, 1024);
    assert_int_equal(ticket_sign(&kit_signer, &t, to), 0);
}

/* A file that was begun two hours ago, as an environment that was stopped since then has it. */
static uint64_t two_hours_ago(void)
{
    return ((uint64_t)time(NULL) - 7200) * 1000;
}

static int finished_code;
static int finished_pipe[2];

static void on_stored(void *arg, store_op *list)
{
    (void)arg;
    finished_code = list->code;
    assert_int_equal(write(finished_pipe[1], "x", 1), 1);
}

static void on_store_event(void *arg, store_level level, const char *what, const char *detail)
{
    (void)arg, (void)level, (void)what, (void)detail;
}

static void begin_an_old_file(void)
{
    char path[256], byte;
    store *s;
    arena a;
    int64_t expires;
    file_who who = {.org = "org-x", .user = "xena", .writes = true};
    file_limits limits = {ORG_BYTES, ORG_BYTES, 1};
    file_begin_in in = {.who = &who,
                        .limits = &limits,
                        .id = "01234567-0123-7123-8123-0123456789ab",
                        .name = "old",
                        .type = "text/plain",
                        .size = ORG_BYTES};
    seal_key *root = seal_key_new();
    assert_int_equal(root_key_write(getenv("SAMOVAR_STORE_ROOT_KEY_FILE"), root, NULL), 0);
    snprintf(path, sizeof path, "mkdir -m 700 %s/data/store", kit_folder);
    assert_int_equal(system(path), 0);
    snprintf(path, sizeof path, "%s/data/store/workspace-1", kit_folder);
    store_spec spec = {.schema = &workspace_schema,
                       .folder = path,
                       .map_bytes = 1 << 30,
                       .root = root,
                       .finished = on_stored,
                       .event = on_store_event,
                       .unix_ms = two_hours_ago};
    assert_int_equal(pipe(finished_pipe), 0);
    assert_int_equal(store_open(&spec, &s, NULL), 0);
    arena_init(&a, 65536);
    store_op op = {.fn = file_begin, .in = &in, .out = &expires, .arena = &a, .owner = "test"};
    assert_int_equal(store_submit(s, &op), 0);
    assert_int_equal(read(finished_pipe[0], &byte, 1), 1);
    assert_int_equal(finished_code, 0);
    store_close(s);
    seal_key_free(root);
    arena_free(&a);
    close(finished_pipe[0]);
    close(finished_pipe[1]);
}

static void wait_for_workspace(void)
{
    uint64_t until_us = clock_us() + KIT_PATIENCE_MS * 1000ull;
    while (ask(NULL, "workspace.ping", &bus_empty_msg, &(bus_empty){}, nothing))
        assert_true(clock_us() < until_us);
}

static int setup(void **state)
{
    (void)state;
    kit_open("files");
    setenv("SAMOVAR_FILES_ORG_BYTES", "4MiB", 1);
    begin_an_old_file();
    kit_start_broker();
    start_workspace();
    kit_join();
    make_ticket(&anna, "anna", "org-a", "admin");
    make_ticket(&bob, "bob", "org-a", "member");
    make_ticket(&vera, "vera", "org-a", "viewer");
    make_ticket(&eve, "eve", "org-e", "owner");
    make_ticket(&xena, "xena", "org-x", "member");
    wait_for_workspace();
    return 0;
}

static int teardown(void **state)
{
    buf *tickets[] = {&anna, &bob, &vera, &eve, &xena};
    for (size_t i = 0; i < 5; i++)
        buf_free(tickets[i]);
    return kit_close(state);
}

/* ---- tests ---- */

static void nobody_without_a_ticket(void **state)
{
    (void)state;
    char id[UUID_TEXT + 1];
    buf lost;
    assert_int_equal(begin_file(NULL, "x", 1, id), SV_E_NO_CREDENTIALS);
    assert_int_equal(with_id(NULL, "workspace.file", "x"), SV_E_NO_CREDENTIALS);
    assert_int_equal(with_id(NULL, "workspace.file_delete", "x"), SV_E_NO_CREDENTIALS);
    assert_int_equal(drop(NULL, "x"), SV_E_NO_CREDENTIALS);
    make_ticket(&lost, "bob", "org-a", "");
    assert_int_equal(with_id(&lost, "workspace.file", "x"), SV_E_ROLE);
    buf_free(&lost);
    make_ticket(&lost, "bob", "org.a.>", "owner");
    assert_int_equal(with_id(&lost, "workspace.file", "x"), SV_E_TICKET);
    buf_free(&lost);
    assert_int_equal(begin_file(&vera, "x", 1, id), SV_E_ROLE);
    assert_int_equal(drop(&vera, "x"), SV_E_ROLE);
    assert_int_equal(begin_file(&bob, "a\nb", 1, id), SV_E_INVALID);
}

static uint32_t heard[2];
static char heard_id[UUID_TEXT + 1];

static void on_live(void *arg, sv_str topic, const sv_item *event, uint64_t gap)
{
    (void)arg, (void)gap;
    live_event e;
    arena a;
    arena_init(&a, 65536);
    assert_true(sv_str_is(topic, "workspace.live.org-a.all"));
    assert_int_equal(message_decode(&live_event_msg, event->body, MESSAGE_STRICT, &a, &e, NULL), 0);
    assert_int_equal(e.id.n, UUID_TEXT);
    assert_non_null(memmem(e.data.p, e.data.n, heard_id, strlen(heard_id)));
    heard[0] += sv_str_is(e.type, "file.created");
    heard[1] += sv_str_is(e.type, "file.deleted");
    arena_free(&a);
}

static bool heard_both(void *arg)
{
    (void)arg;
    return heard[0] >= 1 && heard[1] >= 1;
}

static void a_file_comes_and_goes(void **state)
{
    (void)state;
    char id[UUID_TEXT + 1], sum[65], wrong[65];
    kit_call k;
    const char *bytes = pattern(7, sum);
    assert_int_equal(sv_subscribe(kit_me, "workspace.live.>", on_live, NULL), 0);
    assert_int_equal(begin_file(&bob, "C:\\x\\report.txt", SIZE, id), 0);
    memcpy(heard_id, id, sizeof id);
    for (uint32_t at = 0; at < SIZE; at += PIECE)
        assert_int_equal(append(&bob, id, bytes + at, SIZE - at < PIECE ? SIZE - at : PIECE, at),
                         0);
    memcpy(wrong, sum, sizeof sum);
    wrong[0] = sum[0] == '0' ? '1' : '0';
    assert_int_equal(finish_file(&bob, id, SIZE, wrong), SV_E_CONFLICT);
    assert_int_equal(count_files(&anna), 0);
    assert_int_equal(finish_file(&bob, id, SIZE, sum), 0);
    assert_int_equal(finish_file(&bob, id, SIZE, sum), 0); /* told once */
    assert_int_equal(count_files(&vera), 1);
    assert_int_equal(count_files(&eve), 0);
    assert_int_equal(with_id(&vera, "workspace.file", id), 0);
    assert_int_equal(with_id(&eve, "workspace.file", id), SV_E_NOT_FOUND);
    assert_int_equal(read_file(&k, &eve, id, 0, 0), SV_E_NOT_FOUND);
    kit_end(&k);
    assert_int_equal(read_file(&k, &vera, id, 0, 0), 0);
    assert_int_equal(k.bytes.n, SIZE);
    assert_memory_equal(k.bytes.p, bytes, SIZE);
    kit_end(&k);
    assert_int_equal(read_file(&k, &vera, id, 60000, 100001), 0);
    assert_int_equal(k.bytes.n, 100001);
    assert_memory_equal(k.bytes.p, bytes + 60000, 100001);
    kit_end(&k);
    assert_int_equal(read_file(&k, &vera, id, SIZE + 1, 0), SV_E_OUT_OF_RANGE);
    kit_end(&k);
    assert_int_equal(with_id(&eve, "workspace.file_delete", id), SV_E_NOT_FOUND);
    assert_int_equal(with_id(&vera, "workspace.file_delete", id), SV_E_ROLE);
    assert_int_equal(with_id(&anna, "workspace.file_delete", id), 0);
    assert_int_equal(with_id(&bob, "workspace.file", id), SV_E_NOT_FOUND);
    assert_int_equal(sv_tool_wait(kit_me, heard_both, NULL, 5000), 0);
    assert_int_equal(heard[0], 1);
    assert_int_equal(heard[1], 1);
    sv_unsubscribe(kit_me, "workspace.live.>", on_live, NULL);
}

static bool window_is_full(void *arg)
{
    return ((kit_call *)arg)->bytes.n >= 131072;
}

static void a_reader_that_stops_is_waited_for(void **state)
{
    (void)state;
    char id[UUID_TEXT + 1];
    kit_call k;
    assert_int_equal(whole_file(&bob, 3, id), 0);
    sv_stream *s = begin_read(&k, &bob, id, 0, 0);
    k.hold = true;
    assert_int_equal(sv_tool_wait(kit_me, window_is_full, &k, 10000), 0);
    for (int i = 0; i < 20; i++) /* others are served meanwhile */
        assert_int_equal(with_id(&vera, "workspace.file", id), 0);
    assert_true(k.bytes.n <= 262144); /* the window */
    assert_false(k.done);
    sv_cancel(s);
    kit_end(&k);
    assert_int_equal(with_id(&bob, "workspace.file_delete", id), 0);
}

static bool file_is_whole(const char *id, uint32_t seed)
{
    char sum[65];
    kit_call k;
    const char *bytes = pattern(seed, sum);
    int rc = read_file(&k, &vera, id, 0, 0);
    bool whole = rc == 0 && k.bytes.n == SIZE && memcmp(k.bytes.p, bytes, SIZE) == 0;
    kit_end(&k);
    return whole;
}

/* Killed before, in and behind an append: the client goes on where it was. Every third file is never
 * finished. */
static void killed_in_the_middle_of_appends(void **state)
{
    (void)state;
    enum { FILES = 9 };
    char ids[FILES][UUID_TEXT + 1], sum[65], extra[UUID_TEXT + 1];
    uint32_t finished = 0;
    for (uint32_t f = 0; f < FILES; f++) {
        const char *bytes = pattern(100 + f, sum);
        assert_int_equal(begin_file(&bob, "killed.bin", SIZE, ids[f]), 0);
        uint32_t stop = f % 3 == 2 ? SIZE - PIECE : SIZE;
        bool over = false; /* once in each file */
        for (uint32_t at = 0; at < stop;) {
            uint32_t n = stop - at < PIECE ? stop - at : PIECE;
            bool killed = !over && at / PIECE == f % 5;
            over = over || killed;
            kit_call k;
            workspace_file_append_req q = {.id = sv_cstr(ids[f]), .offset = at};
            sv_request r = request_of(&bob, "workspace.file_append", &workspace_file_append_req_msg,
                                      &q, (sv_str){bytes + at, n});
            kit_begin(&k, &r);
            if (killed) {
                for (uint32_t turn = 0; turn < f; turn++) /* how far it comes */
                    loop_turn(sv_loop(kit_me), 0);
                kill_workspace();
                start_workspace();
            }
            int rc = kit_finish(&k, NULL, NULL);
            kit_end(&k);
            if (killed) wait_for_workspace();
            if (rc == 0) at += n; /* else once more, wherever it was lost */
            assert_true(rc == 0 || killed);
            assert_int_equal(count_files(&anna), finished);
        }
        if (f % 3 == 2) {
            assert_int_equal(finish_file(&bob, ids[f], SIZE, sum), SV_E_CONFLICT);
        } else {
            assert_int_equal(finish_file(&bob, ids[f], SIZE, sum), 0);
            finished++;
        }
        kill_workspace();
        start_workspace();
        wait_for_workspace();
        assert_int_equal(count_files(&anna), finished);
    }
    for (uint32_t f = 0; f < FILES; f++)
        assert_int_equal(file_is_whole(ids[f], 100 + f), f % 3 != 2);
    /* What is reserved: all nine, then the six that were finished, then nothing. */
    assert_int_equal(begin_file(&anna, "x", ORG_BYTES - FILES * SIZE + 1, extra), SV_E_QUOTA);
    assert_int_equal(begin_file(&anna, "x", ORG_BYTES - FILES * SIZE, extra), 0);
    assert_int_equal(drop(&anna, extra), 0);
    for (uint32_t f = 2; f < FILES; f += 3)
        assert_int_equal(drop(&bob, ids[f]), 0);
    assert_int_equal(begin_file(&anna, "x", ORG_BYTES - (int64_t)finished * SIZE + 1, extra),
                     SV_E_QUOTA);
    for (uint32_t f = 0; f < FILES; f++)
        if (f % 3 != 2) assert_int_equal(with_id(&bob, "workspace.file_delete", ids[f]), 0);
    assert_int_equal(begin_file(&anna, "x", ORG_BYTES + 1, extra), SV_E_QUOTA);
    assert_int_equal(begin_file(&anna, "x", ORG_BYTES, extra), 0);
    assert_int_equal(drop(&anna, extra), 0);
}

/* The actor gives up by itself what was not finished in time. */
static void what_was_never_finished_goes(void **state)
{
    (void)state;
    char id[UUID_TEXT + 1];
    uint64_t until_us = clock_us() + KIT_PATIENCE_MS * 1000ull;
    int rc;
    while ((rc = begin_file(&xena, "x", ORG_BYTES, id)) == SV_E_QUOTA)
        assert_true(clock_us() < until_us);
    assert_int_equal(rc, 0);
    assert_int_equal(drop(&xena, id), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_without_a_ticket),
        cmocka_unit_test(a_file_comes_and_goes),
        cmocka_unit_test(a_reader_that_stops_is_waited_for),
        cmocka_unit_test(what_was_never_finished_goes),
        cmocka_unit_test(killed_in_the_middle_of_appends),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
