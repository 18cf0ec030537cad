/*  test_rows.c - rows, indexes, scans, expiry, blobs, check and dump, through an open store. */
#include "internal.h"

#include "sv_limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SV_MESSAGES_FILE "test_rows.def"
#include "message_structs.h"
#undef SV_MESSAGES_FILE
#define SV_MESSAGES_FILE "test_rows.def"
#include "message_tables.h"

static const store_index person_indexes[] = {
    {"by_email", "email", STORE_UNIQUE | STORE_SPARSE},
    {"by_age", "org,age", 0},
    {"by_admin", "admin", STORE_SPARSE},
};
static const store_table people = {.name = "people",
                                   .row = &person_msg,
                                   .key = "org,id",
                                   .indexes = person_indexes,
                                   .n_indexes = 3,
                                   .expires = "until",
                                   .tenant = "org",
                                   .blobs = true};
static const store_table plains = {.name = "plains", .row = &plain_msg, .key = "key"};
static const store_table *const tables[] = {&people, &plains};
static const store_schema schema = {
    .service = "tester", .version = 1, .tables = tables, .n_tables = 2};

typedef struct world {
    char folder[64];
    store *store;
    seal_key *root;
    arena mem;
    pthread_mutex_t mutex;
    pthread_cond_t done;
    sv_error error;
} world;

static uint64_t now_ms = 1000000;

static uint64_t clock_now(void)
{
    return now_ms;
}

static void quiet(void *arg, store_level level, const char *what, const char *detail)
{
    (void)arg;
    (void)level;
    (void)what;
    (void)detail;
}

static void finished(void *arg, store_op *list)
{
    world *w = arg;
    pthread_mutex_lock(&w->mutex);
    for (store_op *op = list, *next; op; op = next) {
        next = op->next;
        op->owner = NULL; /* done */
    }
    pthread_cond_broadcast(&w->done);
    pthread_mutex_unlock(&w->mutex);
}

static int setup(void **state)
{
    world *w = calloc(1, sizeof *w);
    snprintf(w->folder, sizeof w->folder, "/tmp/samovar-rows.XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    w->root = seal_key_new();
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->done, NULL);
    arena_init(&w->mem, 64 << 20);
    store_spec spec = {.schema = &schema,
                       .folder = w->folder,
                       .map_bytes = 256 << 20,
                       .root = w->root,
                       .finished = finished,
                       .event = quiet,
                       .arg = w,
                       .unix_ms = clock_now};
    sv_error err = {0};
    now_ms = 1000000;
    if (store_open(&spec, &w->store, &err)) fail_msg("%s (%s)", err.message, err.detail);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world *w = *state;
    char command[128];
    store_close(w->store);
    seal_key_free(w->root);
    arena_free(&w->mem);
    snprintf(command, sizeof command, "rm -rf %s", w->folder);
    assert_int_equal(system(command), 0);
    free(w);
    return 0;
}

static int write_fn(world *w, store_fn *fn, const void *in, void *out)
{
    store_op op = {.fn = fn, .in = in, .out = out, .arena = &w->mem, .owner = "test"};
    int rc = store_submit(w->store, &op);
    if (rc) return rc;
    pthread_mutex_lock(&w->mutex);
    while (op.owner)
        pthread_cond_wait(&w->done, &w->mutex);
    pthread_mutex_unlock(&w->mutex);
    w->error = op.error;
    return op.code;
}

static int read_fn(world *w, store_fn *fn, const void *in, void *out)
{
    store_op op = {.fn = fn, .in = in, .out = out, .arena = &w->mem, .owner = "test"};
    store_view(w->store, &op);
    w->error = op.error;
    return op.code;
}

static int do_put(store_tx *tx, const void *in, void *out)
{
    (void)out;
    return store_put(tx, &people, in);
}

static int do_insert(store_tx *tx, const void *in, void *out)
{
    (void)out;
    return store_insert(tx, &people, in);
}

static int do_delete(store_tx *tx, const void *in, void *out)
{
    (void)out;
    return store_delete(tx, &people, in);
}

static int do_get(store_tx *tx, const void *in, void *out)
{
    (void)in;
    return store_get(tx, &people, out);
}

static person someone(const char *org, int64_t id, const char *email, int64_t age)
{
    return (person){
        .org = sv_cstr(org), .id = id, .email = email ? sv_cstr(email) : (sv_str){0}, .age = age};
}

/* The ids a range gives, as text: "1 2 3". */
typedef struct listing {
    store_range range;
    char ids[512];
    char position[LIMIT_STORE_KEY_BYTES];
    uint32_t position_n;
} listing;

static int do_list(store_tx *tx, const void *in, void *out)
{
    (void)in;
    listing *l = out;
    store_scan *s;
    person p;
    l->ids[0] = 0;
    int rc = store_scan_open(tx, &l->range, &s);
    if (rc) return rc;
    while (store_scan_next(s, &p)) {
        size_t n = strlen(l->ids);
        snprintf(l->ids + n, sizeof l->ids - n, "%s%lld", n ? " " : "", (long long)p.id);
        sv_str at = store_scan_position(s);
        memcpy(l->position, at.p, at.n);
        l->position_n = at.n;
    }
    rc = store_scan_result(s);
    store_scan_close(s);
    return rc;
}

static const char *list(world *w, listing *l)
{
    l->range.table = &people;
    assert_int_equal(read_fn(w, do_list, NULL, l), 0);
    return l->ids;
}

static void check_all(world *w)
{
    store_check c = {0};
    buf_init(&c.position, STORE_POSITION);
    while (!c.done)
        assert_int_equal(read_fn(w, store_check_some, &c, &c), 0);
    buf_free(&c.position);
    if (c.problems) fail_msg("%llu problems: %s", (unsigned long long)c.problems, c.first_problem);
}

/* ---- rows ---- */

static void test_put_get_delete(void **state)
{
    world *w = *state;
    sv_str tags[] = {sv_cstr("a"), sv_cstr("b")};
    person p = someone("acme", 7, "a@b.c", 33), q = {.org = sv_cstr("acme"), .id = 7};
    p.token = sv_cstr("very secret");
    p.tags = (sv_strs){tags, 2};
    assert_int_equal(read_fn(w, do_get, NULL, &q), SV_E_NOT_FOUND);
    assert_int_equal(write_fn(w, do_put, &p, NULL), 0);
    assert_int_equal(read_fn(w, do_get, NULL, &q), 0);
    assert_true(sv_str_is(q.email, "a@b.c"));
    assert_true(sv_str_is(q.token, "very secret"));
    assert_int_equal(q.tags.n, 2);
    assert_int_equal(q.age, 33);
    assert_int_equal(write_fn(w, do_insert, &p, NULL), SV_E_CONFLICT);
    assert_string_equal(w->error.field, "id");
    check_all(w);
    assert_int_equal(write_fn(w, do_delete, &p, NULL), 0);
    assert_int_equal(write_fn(w, do_delete, &p, NULL), SV_E_NOT_FOUND);
    assert_int_equal(read_fn(w, do_get, NULL, &q), SV_E_NOT_FOUND);
    check_all(w);
}

static void refused(world *w, person p, int code, const char *field)
{
    assert_int_equal(write_fn(w, do_put, &p, NULL), code);
    assert_string_equal(w->error.field, field);
}

static void test_bad_rows(void **state)
{
    world *w = *state;
    char longest[301];
    memset(longest, 'x', sizeof longest);
    longest[300] = 0;
    person p = someone("acme", 1, NULL, 201);
    refused(w, p, SV_E_OUT_OF_RANGE, "age");
    p = someone("acme", -1, NULL, 0);
    refused(w, p, SV_E_OUT_OF_RANGE, "id");
    p = someone("acme", 1, "\xff", 0);
    refused(w, p, SV_E_BAD_UTF8, "email");
    p = someone(longest, 1, NULL, 0);
    refused(w, p, SV_E_TOO_LARGE, "org");
    p = (person){.id = 1};
    refused(w, p, SV_E_MISSING_FIELD, "org");
    p = someone("acme", 1, NULL, 0);
    p.token = (sv_str){longest, 65};
    refused(w, p, SV_E_TOO_LARGE, "token");
    listing l = {0};
    assert_string_equal(list(w, &l), "");
    check_all(w);
}

static int do_plain(store_tx *tx, const void *in, void *out)
{
    (void)out;
    return store_put(tx, &plains, in);
}

static void test_limits(void **state)
{
    world *w = *state;
    static char bytes[20000];
    memset(bytes, 'k', sizeof bytes);
    plain p = {.key = {bytes, 478}, .text = {bytes, 100}};
    assert_int_equal(write_fn(w, do_plain, &p, NULL), 0);
    p.key.n = 479; /* tag and end do not fit any more */
    assert_int_equal(write_fn(w, do_plain, &p, NULL), SV_E_TOO_LARGE);
    assert_string_equal(w->error.field, "key");
    p.key.n = 10;
    p.text.n = LIMIT_STORE_ROW_BYTES;
    assert_int_equal(write_fn(w, do_plain, &p, NULL), SV_E_TOO_LARGE);
    check_all(w);
}

/* ---- indexes and scans ---- */

static void fill(world *w)
{
    static const struct {
        const char *org;
        int64_t id, age;
    } rows[] = {{"a", 1, 30}, {"a", 2, 20}, {"a", 3, 30}, {"b", 4, 10},
                {"b", 5, 30}, {"c", 6, -5}, {"c", 7, 0},  {"c", 8, 5}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        person p = someone(rows[i].org, rows[i].id, NULL, rows[i].age);
        assert_int_equal(write_fn(w, do_put, &p, NULL), 0);
    }
}

static void test_scans(void **state)
{
    world *w = *state;
    fill(w);
    person b = someone("b", 0, NULL, 0), c = someone("c", 7, NULL, 0);
    listing all = {0};
    assert_string_equal(list(w, &all), "1 2 3 4 5 6 7 8");
    all.range.reverse = true;
    assert_string_equal(list(w, &all), "8 7 6 5 4 3 2 1");
    all.range.limit = 3;
    assert_string_equal(list(w, &all), "8 7 6");
    all.range.after = (sv_str){all.position, all.position_n};
    assert_string_equal(list(w, &all), "5 4 3");
    listing one = {.range = {.low = &b, .low_n = 1, .high = &b, .high_n = 1}};
    assert_string_equal(list(w, &one), "4 5");
    one.range.reverse = true;
    assert_string_equal(list(w, &one), "5 4");
    listing up = {.range = {.low = &b, .low_n = 1, .high = &c, .high_n = 2}};
    assert_string_equal(list(w, &up), "4 5 6 7");
    up.range.after = (sv_str){"\x02"
                              "a\0",
                              3}; /* before the range: cannot widen it */
    assert_string_equal(list(w, &up), "4 5 6 7");
    listing age = {.range = {.index = "by_age"}};
    assert_string_equal(list(w, &age), "2 1 3 4 5 6 7 8");
    age.range.reverse = true;
    assert_string_equal(list(w, &age), "8 7 6 5 4 3 1 2");
    person a30 = someone("a", 0, NULL, 30);
    listing same = {
        .range = {.index = "by_age", .low = &a30, .low_n = 2, .high = &a30, .high_n = 2}};
    assert_string_equal(list(w, &same), "1 3");
    same.range.limit = 1;
    assert_string_equal(list(w, &same), "1");
    same.range.after = (sv_str){same.position, same.position_n};
    assert_string_equal(list(w, &same), "3");
    check_all(w);
}

static void test_index_follows(void **state)
{
    world *w = *state;
    fill(w);
    person p = someone("a", 1, NULL, 5);
    listing age = {.range = {.index = "by_age"}};
    assert_int_equal(write_fn(w, do_put, &p, NULL), 0);
    assert_string_equal(list(w, &age), "1 2 3 4 5 6 7 8");
    p = someone("a", 2, NULL, 99);
    p.admin = true;
    assert_int_equal(write_fn(w, do_put, &p, NULL), 0);
    assert_string_equal(list(w, &age), "1 3 2 4 5 6 7 8");
    listing admin = {.range = {.index = "by_admin"}};
    assert_string_equal(list(w, &admin), "2");
    p.admin = false;
    assert_int_equal(write_fn(w, do_put, &p, NULL), 0);
    assert_string_equal(list(w, &admin), "");
    check_all(w);
}

static void test_unique(void **state)
{
    world *w = *state;
    char email[280];
    memset(email, 'm', sizeof email);
    email[279] = 0;
    person p = someone("a", 1, email, 0), q = someone("b", 2, email, 0);
    assert_int_equal(write_fn(w, do_put, &p, NULL), 0);
    assert_int_equal(write_fn(w, do_put, &q, NULL), SV_E_CONFLICT);
    assert_string_equal(w->error.field, "by_email");
    email[278] = 'n'; /* longer than an index keeps, and different at its end */
    assert_int_equal(write_fn(w, do_put, &q, NULL), 0);
    p.age = 3;
    email[278] = 'm';
    assert_int_equal(write_fn(w, do_put, &p, NULL), 0);
    person none = someone("c", 3, NULL, 0), none2 = someone("c", 4, NULL, 0);
    assert_int_equal(write_fn(w, do_put, &none, NULL), 0);
    assert_int_equal(write_fn(w, do_put, &none2, NULL), 0);
    check_all(w);
}

/* Everybody of a scan is deleted, moved or copied while it runs. */
static int do_change_while_scanning(store_tx *tx, const void *in, void *out)
{
    (void)in;
    store_scan *s;
    person p;
    int *seen = out;
    *seen = 0;
    store_range r = {.table = &people, .index = "by_age"};
    int rc = store_scan_open(tx, &r, &s);
    while (rc == 0 && store_scan_next(s, &p)) {
        ++*seen;
        if (p.id % 2)
            rc = store_delete(tx, &people, &p);
        else if (p.age < 100) {
            p.age = 100;
            rc = store_put(tx, &people, &p);
        }
    }
    if (rc == 0) rc = store_scan_result(s);
    store_scan_close(s);
    return rc;
}

static void test_change_while_scanning(void **state)
{
    world *w = *state;
    fill(w);
    int seen;
    assert_int_equal(write_fn(w, do_change_while_scanning, NULL, &seen), 0);
    listing all = {0};
    assert_string_equal(list(w, &all), "2 4 6 8");
    assert_int_equal(seen, 12); /* the four that moved up were met again */
    check_all(w);
}

static int do_fail_late(store_tx *tx, const void *in, void *out)
{
    (void)out;
    int rc = store_put(tx, &people, in);
    return rc ? rc : SV_E_DENIED;
}

static int do_leave_open(store_tx *tx, const void *in, void *out)
{
    (void)in;
    (void)out;
    store_scan *s;
    person p;
    store_range r = {.table = &people};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(store_scan_open(tx, &r, &s), 0);
        assert_true(store_scan_next(s, &p));
    }
    return SV_E_DENIED;
}

static void test_scans_left_open(void **state)
{
    world *w = *state;
    fill(w);
    assert_int_equal(read_fn(w, do_leave_open, NULL, NULL), SV_E_DENIED);
    assert_int_equal(write_fn(w, do_leave_open, NULL, NULL), SV_E_DENIED);
    check_all(w);
}

static void test_undone(void **state)
{
    world *w = *state;
    person p = someone("a", 1, "x@y", 1);
    listing all = {0};
    assert_int_equal(write_fn(w, do_fail_late, &p, NULL), SV_E_DENIED);
    assert_string_equal(list(w, &all), "");
    check_all(w);
}

/* ---- expiry ---- */

static int do_sweep(store_tx *tx, const void *in, void *out)
{
    (void)in;
    return expiry_sweep(tx, 100, out);
}

static void test_expiry(void **state)
{
    world *w = *state;
    person p = someone("a", 1, "one@x", 0), q = someone("a", 2, "one@x", 0), got = p;
    uint32_t swept;
    p.until = (int64_t)now_ms + 1000;
    assert_int_equal(write_fn(w, do_put, &p, NULL), 0);
    assert_int_equal(read_fn(w, do_get, NULL, &got), 0);
    assert_int_equal(write_fn(w, do_put, &q, NULL), SV_E_CONFLICT);
    now_ms += 1000;
    assert_int_equal(read_fn(w, do_get, NULL, &got), SV_E_NOT_FOUND);
    listing all = {0};
    assert_string_equal(list(w, &all), "");
    assert_int_equal(write_fn(w, do_put, &q, NULL), 0); /* the expired one makes way */
    check_all(w);
    p = someone("a", 3, NULL, 0);
    p.until = (int64_t)now_ms + 5;
    assert_int_equal(write_fn(w, do_put, &p, NULL), 0);
    p.until += 10; /* later than first said */
    assert_int_equal(write_fn(w, do_put, &p, NULL), 0);
    now_ms += 6;
    assert_int_equal(write_fn(w, do_sweep, NULL, &swept), 0);
    assert_string_equal(list(w, &all), "2 3");
    now_ms += 10;
    assert_int_equal(write_fn(w, do_insert, &p, NULL), 0); /* expired: as if it were not there */
    p.until = 0;
    assert_int_equal(write_fn(w, do_put, &p, NULL), 0);
    now_ms += 100000;
    assert_int_equal(write_fn(w, do_sweep, NULL, &swept), 0);
    assert_string_equal(list(w, &all), "2 3");
    check_all(w);
}

static int do_forge_time(store_tx *tx, const void *in, void *out)
{
    (void)out;
    table_state *t = schema_table(tx->store, &people);
    tuple key, entry;
    tuple_clear(&key);
    assert_int_equal(row_key(&t->key, 2, false, in, &key, NULL), 0);
    assert_int_equal(expiry_entry(t, tuple_str(&key), 1, &entry), 0);
    return tx_put(tx, tx->store->sys.expiry, tuple_str(&entry), (sv_str){"", 0}, false);
}

static void test_forged_time(void **state)
{
    world *w = *state;
    person p = someone("a", 1, NULL, 0);
    uint32_t swept;
    listing all = {0};
    assert_int_equal(write_fn(w, do_put, &p, NULL), 0);
    assert_int_equal(write_fn(w, do_forge_time, &p, NULL), 0);
    assert_int_equal(write_fn(w, do_sweep, NULL, &swept), 0);
    assert_string_equal(list(w, &all), "1");
    check_all(w);
}

/* ---- blobs ---- */

typedef struct blob_job {
    person who;
    sv_str bytes;
    uint64_t size;
    char read[9000];
    size_t got;
    uint64_t offset;
} blob_job;

static int do_append(store_tx *tx, const void *in, void *out)
{
    (void)out;
    const blob_job *j = in;
    return store_blob_append(tx, &people, &j->who, j->bytes);
}

static int do_blob_read(store_tx *tx, const void *in, void *out)
{
    (void)in;
    blob_job *j = out;
    int rc = store_blob_size(tx, &people, &j->who, &j->size);
    return rc ? rc
              : store_blob_read(tx, &people, &j->who, j->offset, j->read, sizeof j->read, &j->got);
}

static int do_blob_sweep(store_tx *tx, const void *in, void *out)
{
    (void)in;
    return blob_sweep(tx, 1000000, out);
}

static uint64_t entries(world *w, const char *table)
{
    store_table_info info[64];
    sv_error err = {0};
    int n = store_tables(w->store, info, 64, &err);
    for (int i = 0; i < n; i++)
        if (strcmp(info[i].name, table) == 0) return info[i].entries;
    return UINT64_MAX;
}

static void test_blobs(void **state)
{
    world *w = *state;
    static const uint32_t sizes[] = {1, 1999, 1, 2000, 4001, 17, 0, 1983};
    blob_job *j = calloc(1, sizeof *j);
    char *model = calloc(1, 20000), *bytes = malloc(5000);
    size_t total = 0;
    j->who = someone("a", 1, NULL, 0);
    j->bytes = (sv_str){"x", 1};
    assert_int_equal(write_fn(w, do_append, j, NULL), SV_E_NOT_FOUND); /* no row yet */
    assert_int_equal(write_fn(w, do_put, &j->who, NULL), 0);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        memset(bytes, 'a' + (int)i, 5000);
        memcpy(model + total, bytes, sizes[i]);
        total += sizes[i];
        j->bytes = (sv_str){bytes, sizes[i]};
        assert_int_equal(write_fn(w, do_append, j, NULL), 0);
    }
    for (j->offset = 0; j->offset <= total; j->offset += 1234) {
        assert_int_equal(read_fn(w, do_blob_read, NULL, j), 0);
        assert_int_equal(j->size, total);
        size_t want = total - j->offset < sizeof j->read ? total - j->offset : sizeof j->read;
        assert_int_equal(j->got, want);
        assert_memory_equal(j->read, model + j->offset, want);
    }
    check_all(w);
    assert_int_equal(write_fn(w, do_delete, &j->who, NULL), 0);
    assert_int_equal(write_fn(w, do_put, &j->who, NULL), 0);
    assert_int_equal(read_fn(w, do_blob_read, NULL, j), SV_E_NOT_FOUND);
    uint32_t swept;
    assert_int_equal(write_fn(w, do_blob_sweep, NULL, &swept), 0);
    assert_int_equal(entries(w, "sys.chunks"), 0);
    assert_int_equal(entries(w, "sys.drops"), 0);
    check_all(w);
    free(model);
    free(bytes);
    free(j);
}

/* ---- check and dump find what is wrong ---- */

static int do_break(store_tx *tx, const void *in, void *out)
{
    (void)out;
    const int *how = in;
    table_state *t = schema_table(tx->store, &people);
    person p = someone("a", 1, NULL, 30);
    tuple key, entry;
    sv_str bytes;
    bool is_in;
    tuple_clear(&key);
    assert_int_equal(row_key(&t->key, 2, false, &p, &key, NULL), 0);
    assert_int_equal(index_entry(tx, &t->index[1], tuple_str(&key), &p, &entry, &is_in), 0);
    if (*how == 0) return tx_delete(tx, t->index[1].table, tuple_str(&entry));
    if (*how == 1) return tx_delete(tx, t->table, tuple_str(&key));
    int rc = engine_get(tx->txn, t->table, tuple_str(&key), &bytes, NULL);
    if (rc) return rc;
    char copy[1000];
    memcpy(copy, bytes.p, bytes.n);
    copy[bytes.n - 1] ^= 1;
    return tx_put(tx, t->table, tuple_str(&key), (sv_str){copy, bytes.n}, false);
}

static void test_check_finds(void **state)
{
    world *w = *state;
    static const char *const words[] = {"missing in index by_age", "leads nowhere", "damaged"};
    for (int how = 0; how < 3; how++) {
        person p = someone("a", 1, NULL, 30);
        write_fn(w, do_delete, &p, NULL);
        assert_int_equal(write_fn(w, do_put, &p, NULL), 0);
        assert_int_equal(write_fn(w, do_break, &how, NULL), 0);
        store_check c = {0};
        buf_init(&c.position, STORE_POSITION);
        while (!c.done)
            assert_int_equal(read_fn(w, store_check_some, &c, &c), 0);
        buf_free(&c.position);
        assert_true(c.problems >= 1);
        if (!strstr(c.first_problem, words[how])) fail_msg("%s", c.first_problem);
        if (how == 2) break;
    }
    person q = someone("a", 1, NULL, 0);
    assert_int_equal(read_fn(w, do_get, NULL, &q), SV_E_STORE_DAMAGED);
}

static void test_dump(void **state)
{
    world *w = *state;
    fill(w);
    person p = someone("a", 1, "q@q", 1);
    p.token = sv_cstr("hush");
    assert_int_equal(write_fn(w, do_put, &p, NULL), 0);
    buf out;
    buf_init(&out, 1 << 20);
    store_dump d = {.out = &out, .most = 100};
    buf_init(&d.position, STORE_POSITION);
    int pieces = 0;
    for (; !d.done; pieces++)
        assert_int_equal(read_fn(w, store_dump_some, &d, &d), 0);
    buf_putc(&out, 0);
    assert_true(pieces > 3);
    assert_non_null(strstr(out.p, "{\"table\":\"people\",\"row\":{"));
    assert_non_null(strstr(out.p, "q@q"));
    assert_non_null(strstr(out.p, "[redacted]"));
    assert_null(strstr(out.p, "hush"));
    int lines = 0;
    for (const char *c = out.p; *c; c++)
        lines += *c == '\n';
    assert_int_equal(lines, 8);
    store_dump none = {.out = &out, .most = 100, .table = "nothing"};
    buf_init(&none.position, STORE_POSITION);
    assert_int_equal(read_fn(w, store_dump_some, &none, &none), SV_E_NOT_FOUND);
    buf_free(&none.position);
    buf_free(&d.position);
    buf_free(&out);
}

/* ---- declarations that make no sense ---- */

static void test_bad_schema(void **state)
{
    (void)state;
    static const store_index secret[] = {{"by_token", "token", 0}};
    const store_table bad[] = {
        {.name = "People", .row = &person_msg, .key = "org"},
        {.name = "p", .row = &person_msg, .key = "org,nobody"},
        {.name = "p", .row = &person_msg, .key = ""},
        {.name = "p", .row = &person_msg, .key = "tags"},
        {.name = "p", .row = &person_msg, .key = "org", .indexes = secret, .n_indexes = 1},
        {.name = "p", .row = &person_msg, .key = "org", .expires = "email"},
        {.name = "p", .row = &person_msg, .key = "org", .tenant = "id"},
        {.name = "p", .key = "org"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const store_table *one[] = {&bad[i]};
        store_schema s = {.service = "tester", .version = 1, .tables = one, .n_tables = 1};
        store_spec spec = {
            .schema = &s, .folder = "/nonexistent/never", .map_bytes = 1 << 20, .event = quiet};
        store *st = NULL;
        sv_error err = {0};
        assert_int_equal(store_open(&spec, &st, &err), SV_E_INVALID);
        assert_true(err.field[0] != 0);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_put_get_delete),
        T(test_bad_rows),
        T(test_limits),
        T(test_scans),
        T(test_index_follows),
        T(test_unique),
        T(test_change_while_scanning),
        T(test_undone),
        T(test_scans_left_open),
        T(test_forged_time),
        T(test_expiry),
        T(test_blobs),
        T(test_check_finds),
        T(test_dump),
        cmocka_unit_test(test_bad_schema),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
