/*  test_store_methods.c - what every actor with a store serves: looking, dumping and copying under a
 *  window, callers that leave, one copy at a time, replacing, keys. */
#include "error.h"
#include "restore.h"
#include "seal.h"
#include "state_kit.h"

#include <dirent.h>
#include <fcntl.h>

enum { ROWS = 3000, ROW_BYTES = 400, WINDOW = 1 << 30 };

static const store_table things = {.name = "things", .row = &t_thing_msg, .key = "id"};
static const store_table *const tables[] = {&things};
static const store_schema schema = {"thing", 1, tables, 1, NULL, 0, 0};
static const sv_actor actor = {.name = "thing", .store = &schema};

/* ---- rows ---- */

static int put_some(store_tx *tx, const void *in, void *out)
{
    const int *first = in;
    (void)out;
    for (int i = *first; i < *first + 500; i++) {
        char id[16], secret[ROW_BYTES / 4];
        snprintf(id, sizeof id, "%06d", i);
        memset(secret, 's', sizeof secret);
        t_thing t = {.id = sv_cstr(id), .n = i, .secret = {secret, sizeof secret}};
        int rc = store_put(tx, &things, &t);
        if (rc) return rc;
    }
    return 0;
}

static void on_put(void *arg, int code, const sv_error *err)
{
    if (code) fail_msg("%s", err->message);
    --*(int *)arg;
}

static void fill(int rows)
{
    int first[ROWS / 500], left = 0;
    for (int i = 0; i * 500 < rows; i++) {
        first[i] = i * 500;
        left++;
        assert_int_equal(sv_store_write(p, "test", put_some, &first[i], NULL, on_put, &left), 0);
    }
    while (left > 0)
        loop_turn(p->loop, -1);
}

static int count_rows(store_tx *tx, const void *in, void *out)
{
    (void)in;
    store_range all = {.table = &things};
    store_scan *s;
    t_thing t;
    int rc = store_scan_open(tx, &all, &s);
    if (rc) return rc;
    *(int *)out = 0;
    while (store_scan_next(s, &t))
        ++*(int *)out;
    rc = store_scan_result(s);
    store_scan_close(s);
    return rc;
}

static int rows_now(void)
{
    int n = -1;
    arena a;
    arena_init(&a, 64 << 20);
    store_op op = {.fn = count_rows, .out = &n, .arena = &a};
    assert_int_equal(store_view(sv_store(p), &op), 0);
    arena_free(&a);
    return n;
}

/* ---- answers ---- */

typedef struct answer {
    sv_id id;
    bool over;
    uint32_t status, items;
    uint64_t taken;
    buf bytes, body;
} answer;

static void ask(answer *a, const char *method, uint16_t flags, uint32_t window)
{
    char target[48];
    *a = (answer){.over = false};
    buf_init(&a->bytes, 64 << 20);
    buf_init(&a->body, LIMIT_MESSAGE_BYTES);
    snprintf(target, sizeof target, "thing.%s", method);
    a->id = request_of(&(asked){.target = target,
                                .flags = flags,
                                .window_items = window ? 1000000 : 0,
                                .window_bytes = window});
}

static void answer_free(answer *a)
{
    buf_free(&a->bytes);
    buf_free(&a->body);
}

/* Takes what was sent to any of `n` callers. */
static void collect(answer *a, size_t n)
{
    envelope e;
    queued_message *q;
    while ((q = sent(p, &e))) {
        answer *to = NULL;
        for (size_t i = 0; i < n; i++)
            if (sv_id_eq(&a[i].id, &e.id)) to = &a[i];
        assert_non_null(to);
        assert_false(to->over);
        if (e.kind == SV_PARTIAL) {
            assert_int_equal(e.code, ++to->items);
            assert_int_equal(q->n, 3);
            to->taken += zmq_msg_size(&q->part[2]);
            assert_int_equal(
                buf_put(&to->bytes, zmq_msg_data(&q->part[2]), zmq_msg_size(&q->part[2])), 0);
        } else {
            assert_int_equal(e.kind, SV_REPLY);
            to->over = true;
            to->status = e.code;
            assert_int_equal(
                buf_put(&to->body, zmq_msg_data(&q->part[1]), zmq_msg_size(&q->part[1])), 0);
        }
        sent_free(q);
    }
}

static void wait_for(answer *a)
{
    collect(a, 1);
    while (!a->over) {
        loop_turn(p->loop, -1);
        collect(a, 1);
    }
}

static void decoded(const answer *a, const sv_message *type, arena *mem, void *ret)
{
    assert_int_equal(a->status, SV_STATUS_OK);
    assert_int_equal(message_decode(type, buf_str(&a->body), MESSAGE_STRICT, mem, ret, NULL), 0);
}

static void refused(const answer *a, const char *code, const char *words)
{
    arena mem;
    error_body b;
    arena_init(&mem, 65536);
    assert_int_not_equal(a->status, SV_STATUS_OK);
    assert_int_equal(
        message_decode(&error_body_msg, buf_str(&a->body), MESSAGE_LENIENT, &mem, &b, NULL), 0);
    if (!sv_str_is(b.code, code)) fail_msg("%.*s, not %s", SV_FMT(b.code), code);
    if (memmem(b.message.p, b.message.n, words, strlen(words)) == NULL)
        fail_msg("no \"%s\" in: %.*s", words, SV_FMT(b.message));
    arena_free(&mem);
}

static void grant(const answer *a, uint64_t bytes)
{
    sv_call *c = idmap_get(&p->calls, &a->id);
    envelope e = {.credit_items = 1000000, .credit_bytes = bytes};
    assert_non_null(c);
    serve_credit(p, c, &e);
}

static void cancel(const answer *a)
{
    sv_call *c = idmap_get(&p->calls, &a->id);
    assert_non_null(c);
    serve_cancel(p, c);
}

static void run_until_gone(const answer *a)
{
    while (idmap_get(&p->calls, &a->id))
        loop_turn(p->loop, -1);
}

static int setup(void **state)
{
    (void)state;
    folder_make();
    p = process(&actor);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return folder_remove();
}

/* ---- tests ---- */

static void test_looking(void **state)
{
    (void)state;
    arena mem;
    answer a;
    store_stat_reply stat;
    store_check_reply check;
    store_keys_reply keys;
    arena_init(&mem, 1 << 20);
    fill(ROWS);
    ask(&a, "store_stat", 0, 0);
    wait_for(&a);
    decoded(&a, &store_stat_reply_msg, &mem, &stat);
    assert_true(sv_str_is(stat.service, "thing") && sv_str_is(stat.state, "ready"));
    assert_int_equal(stat.instance, 1);
    assert_true(stat.writes >= ROWS / 500 && stat.tables.n > 0);
    answer_free(&a);
    ask(&a, "store_check", 0, 0);
    wait_for(&a);
    decoded(&a, &store_check_reply_msg, &mem, &check);
    assert_int_equal(check.rows, ROWS);
    assert_int_equal(check.problems, 0);
    answer_free(&a);
    ask(&a, "store_rotate", 0, 0);
    wait_for(&a);
    decoded(&a, &store_keys_reply_msg, &mem, &keys);
    assert_int_equal(keys.kek_version, 2);
    assert_int_equal(keys.to_go, 0);
    answer_free(&a);
    ask(&a, "store_rekey", 0, 0);
    wait_for(&a);
    assert_int_not_equal(a.status, SV_STATUS_OK); /* no next root key lies there */
    answer_free(&a);
    arena_free(&mem);
}

/* While a check runs, other requests are answered. */
static void test_check_lets_others_in(void **state)
{
    (void)state;
    answer a[2];
    fill(ROWS);
    ask(&a[0], "store_check", 0, 0);
    uint32_t pings = 0;
    while (!a[0].over) {
        ask(&a[1], "ping", 0, 0);
        collect(a, 2);
        assert_true(a[1].over);
        pings++;
        answer_free(&a[1]);
        if (!a[0].over) loop_turn(p->loop, -1);
        a[1].over = true;
        collect(a, 1);
    }
    assert_true(pings >= 3); /* a piece is a thousand rows */
    answer_free(&a[0]);
}

static void test_dump(void **state)
{
    (void)state;
    answer a;
    fill(ROWS);
    ask(&a, "store_dump", 0, 0);
    wait_for(&a);
    refused(&a, "request.invalid", "stream");
    answer_free(&a);
    ask(&a, "store_dump", SV_FLAG_STREAM, WINDOW);
    wait_for(&a);
    assert_int_equal(a.status, SV_STATUS_OK);
    uint32_t lines = 0;
    for (size_t i = 0; i < a.bytes.n; i++)
        lines += a.bytes.p[i] == '\n';
    assert_int_equal(lines, ROWS);
    assert_true(a.items > 1);
    buf_putc(&a.bytes, 0);
    assert_non_null(strstr(a.bytes.p, "\"000000\""));
    assert_non_null(strstr(a.bytes.p, "\"002999\""));
    assert_non_null(strstr(a.bytes.p, "[redacted]"));
    assert_null(strstr(a.bytes.p, "ssss"));
    answer_free(&a);
}

/* Nothing goes out beyond the window; what comes is the copy that the answer tells of. */
static void test_backup(void **state)
{
    (void)state;
    arena mem;
    answer a;
    store_copy_reply r;
    file_hash h;
    char hash[65];
    arena_init(&mem, 65536);
    fill(ROWS);
    ask(&a, "store_backup", SV_FLAG_STREAM, 0);
    for (uint64_t granted = 0; !a.over; granted += 100000) {
        for (int i = 0; i < 3 && !a.over; i++) {
            loop_turn(p->loop, 20);
            collect(&a, 1);
        }
        assert_true(a.taken <= granted);
        if (!a.over) grant(&a, granted + 100000);
        collect(&a, 1);
    }
    decoded(&a, &store_copy_reply_msg, &mem, &r);
    assert_int_equal(r.bytes, a.bytes.n);
    assert_true(r.bytes > ROWS * 100);
    file_hash_start(&h);
    file_hash_add(&h, a.bytes.p, a.bytes.n);
    file_hash_end(&h, hash);
    assert_true(sv_str_is(r.hash, hash));
    assert_true(sv_str_is(r.service, "thing"));
    answer_free(&a);
    arena_free(&mem);
}

static uint32_t descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    uint32_t n = 0;
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void test_backup_ends_with_its_caller(void **state)
{
    (void)state;
    answer a[2];
    fill(ROWS);
    uint32_t before = 0;
    for (int i = 0; i < 3; i++) {
        ask(&a[0], "store_backup", SV_FLAG_STREAM, 100000);
        while (a[0].taken == 0) {
            loop_turn(p->loop, -1);
            collect(a, 1);
        }
        ask(&a[1], "store_backup", SV_FLAG_STREAM, 100000); /* one at a time */
        collect(a, 2);
        assert_true(a[1].over);
        refused(&a[1], "server.overloaded", "under way");
        answer_free(&a[1]);
        cancel(&a[0]);
        run_until_gone(&a[0]);
        collect(a, 1);
        assert_true(a[0].over);
        assert_int_equal(a[0].status, SV_STATUS_CANCELLED);
        answer_free(&a[0]);
        if (i == 0) before = descriptors(); /* the copier's own are there now */
    }
    assert_int_equal(descriptors(), before);
    ask(&a[0], "store_backup", SV_FLAG_STREAM, WINDOW); /* and the next one works */
    wait_for(&a[0]);
    assert_int_equal(a[0].status, SV_STATUS_OK);
    answer_free(&a[0]);
}

/* A caller that takes nothing keeps the copy's pages from being used again: it is dropped. */
static void test_backup_stalls(void **state)
{
    (void)state;
    answer a;
    uint64_t before_us = store_stall_us;
    fill(ROWS);
    store_stall_us = 20000;
    ask(&a, "store_backup", SV_FLAG_STREAM, 100000);
    wait_for(&a);
    store_stall_us = before_us;
    assert_true(a.taken > 0 && a.taken <= 100000);
    refused(&a, "request.deadline_exceeded", "Nobody took");
    answer_free(&a);
    ask(&a, "store_backup", SV_FLAG_STREAM, WINDOW);
    wait_for(&a);
    assert_int_equal(a.status, SV_STATUS_OK);
    answer_free(&a);
}

/* The process ends while a copy and a check are under way. */
static void test_end_in_the_middle(void **state)
{
    (void)state;
    answer a[2];
    fill(ROWS);
    ask(&a[0], "store_backup", SV_FLAG_STREAM, 100000);
    while (a[0].taken == 0) {
        loop_turn(p->loop, -1);
        collect(a, 1);
    }
    ask(&a[1], "store_check", 0, 0);
    serve_cancel_all(p);
    state_settle(p);
    assert_int_equal(p->calls.n, 0);
    answer_free(&a[0]);
    answer_free(&a[1]);
}

static void write_file(const char *path, sv_str bytes)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes.p, 1, bytes.n, f), bytes.n);
    assert_int_equal(fclose(f), 0);
}

static void test_replace(void **state)
{
    (void)state;
    answer a, copy;
    char environment[128], path[160], hash[65];
    int hold;
    snprintf(environment, sizeof environment, "%s/store/thing-1", folder);
    fill(1000);
    ask(&copy, "store_backup", SV_FLAG_STREAM, WINDOW);
    wait_for(&copy);
    assert_int_equal(copy.status, SV_STATUS_OK);
    fill(ROWS);
    assert_int_equal(rows_now(), ROWS);
    ask(&a, "store_replace", 0, 0); /* nothing lies there */
    wait_for(&a);
    refused(&a, "request.not_found", "no verified copy");
    answer_free(&a);
    assert_int_equal(restore_hold(environment, true, &hold, NULL), 0);
    snprintf(path, sizeof path, "%s.restore/data.mdb", environment);
    write_file(path, buf_str(&copy.bytes));
    ask(&a, "store_replace", 0, 0); /* somebody still prepares it */
    wait_for(&a);
    refused(&a, "server.overloaded", "Another restore");
    answer_free(&a);
    close(hold);
    ask(&a, "store_replace", 0, 0); /* nobody has verified it */
    wait_for(&a);
    refused(&a, "request.not_found", "no verified copy");
    answer_free(&a);
    memset(hash, '0', 64);
    hash[64] = 0;
    assert_int_equal(restore_mark(environment, hash, NULL), 0);
    ask(&a, "store_replace", 0, 0); /* not the bytes that were verified */
    wait_for(&a);
    refused(&a, "store.damaged", "not what was verified");
    answer_free(&a);
    assert_int_equal(rows_now(), ROWS);
    assert_int_equal(restore_hash(path, hash, NULL, NULL), 0);
    assert_int_equal(restore_mark(environment, hash, NULL), 0);
    ask(&a, "store_replace", 0, 0);
    wait_for(&a);
    assert_int_equal(a.status, SV_STATUS_OK);
    assert_int_equal(rows_now(), 1000);
    snprintf(path, sizeof path, "%s.restore", environment);
    assert_int_not_equal(access(path, F_OK), 0);
    snprintf(path, sizeof path, "%s.before-restore/data.mdb", environment);
    assert_int_equal(access(path, F_OK), 0);
    answer_free(&a);
    answer_free(&copy);
    fill(500);
    assert_int_equal(rows_now(), 1000);
}

/* What a restore that was killed has left: a copy goes, former data stays. */
static void test_leftovers(void **state)
{
    (void)state;
    char environment[128], copy[160], former[160], mark[65];
    bool exchanged;
    int hold;
    snprintf(environment, sizeof environment, "%s/x-1", folder);
    snprintf(copy, sizeof copy, "%s.restore/data.mdb", environment);
    snprintf(former, sizeof former, "%s.before-restore/data.mdb", environment);
    assert_int_equal(mkdir(environment, 0700), 0);
    assert_int_equal(restore_hold(environment, true, &hold, NULL), 0);
    write_file(copy, sv_cstr("half a copy"));
    assert_int_equal(restore_clear(environment, &exchanged, NULL), 0);
    assert_false(exchanged);
    assert_int_not_equal(access(copy, F_OK), 0);
    write_file(copy, sv_cstr("a verified copy"));
    assert_int_equal(restore_hash(copy, mark, NULL, NULL), 0);
    assert_int_equal(restore_mark(environment, mark, NULL), 0);
    assert_int_equal(restore_check(environment, NULL), 0);
    assert_int_equal(restore_clear(environment, &exchanged, NULL), 0);
    assert_false(exchanged);
    assert_int_not_equal(access(former, F_OK), 0);
    char place[160];
    snprintf(place, sizeof place, "%s/data.mdb", environment);
    write_file(place, sv_cstr("the former data"));
    write_file(copy, sv_cstr("a verified copy"));
    assert_int_equal(restore_mark(environment, mark, NULL), 0);
    assert_int_equal(restore_exchange(environment, NULL), 0);
    assert_int_equal(restore_check(environment, NULL), SV_E_STORE_DAMAGED);
    assert_int_equal(restore_clear(environment, &exchanged, NULL),
                     0); /* as the next restore does */
    assert_true(exchanged);
    assert_int_equal(access(former, F_OK), 0);
    char text[32] = "";
    FILE *f = fopen(former, "r");
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof text, f));
    fclose(f);
    assert_string_equal(text, "the former data");
    /* Where names cannot be exchanged and it was killed between the two renames. */
    char aside[180];
    snprintf(aside, sizeof aside, "%s.restore/data.mdb.former", environment);
    write_file(aside, sv_cstr("older data"));
    assert_int_equal(restore_mark(environment, mark, NULL), 0);
    assert_int_equal(restore_clear(environment, &exchanged, NULL), 0);
    assert_true(exchanged);
    close(hold);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_looking, setup, teardown),
        cmocka_unit_test_setup_teardown(test_check_lets_others_in, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dump, setup, teardown),
        cmocka_unit_test_setup_teardown(test_backup, setup, teardown),
        cmocka_unit_test_setup_teardown(test_backup_ends_with_its_caller, setup, teardown),
        cmocka_unit_test_setup_teardown(test_backup_stalls, setup, teardown),
        cmocka_unit_test_setup_teardown(test_end_in_the_middle, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replace, setup, teardown),
        cmocka_unit_test_setup_teardown(test_leftovers, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
