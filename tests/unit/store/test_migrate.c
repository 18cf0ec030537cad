/*  test_migrate.c - an environment is brought to another schema, also when that is interrupted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "life_kit.h"
#include "sv_limits.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { ROWS = 5000, STEP_ROWS = 600, RAISE = 500 };

/* In a child: the sync of a commit at which it is killed, and whether before or after. */
static atomic_int kill_at, killed_after;

int fdatasync(int fd)
{
    bool now = atomic_load(&kill_at) > 0 && atomic_fetch_sub(&kill_at, 1) == 1;
    if (now && !killed_after) kill(getpid(), SIGKILL);
    int rc = (int)syscall(SYS_fdatasync, fd);
    if (now) kill(getpid(), SIGKILL);
    return rc;
}

/* ---- schemas ---- */

#define SCHEMA(ver, t)                                                                             \
    {                                                                                              \
        .service = "tester", .version = (ver), .tables = (t), .n_tables = sizeof(t) / sizeof *(t)  \
    }

static const store_index by_color[] = {{"by_color", "color", 0}};
static const store_index by_name_color[] = {{"by_color", "color,name", STORE_SPARSE},
                                            {"by_name", "name", STORE_UNIQUE}};
static const store_table colored = {
    .name = "items", .row = &item_msg, .key = "id", .indexes = by_color, .n_indexes = 1};
static const store_table named = {
    .name = "items", .row = &item_msg, .key = "id", .indexes = by_name_color, .n_indexes = 2};
static const store_table *const colored_tables[] = {&colored};
static const store_table *const named_tables[] = {&named};
static const store_schema colored_schema = SCHEMA(1, colored_tables);
static const store_schema named_schema = SCHEMA(1, named_tables);

/* Adds RAISE to the color of some rows behind `position`, which is the last one's id. */
static int raise_colors(store_tx *tx, const store_table *t, buf *position)
{
    item last = {.id = -1}, it;
    store_scan *scan;
    if (position->n) memcpy(&last.id, position->p, sizeof last.id);
    last.id++;
    store_range range = {.table = t, .low = &last, .low_n = 1, .limit = STEP_ROWS};
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    uint32_t n = 0;
    while (rc == 0 && store_scan_next(scan, &it)) {
        n++;
        last.id = it.id;
        it.color += RAISE;
        rc = store_put(tx, t, &it);
    }
    if (rc == 0) rc = store_scan_result(scan);
    store_scan_close(scan);
    if (rc) return rc;
    buf_reset(position, 0);
    buf_put(position, &last.id, sizeof last.id);
    return n == STEP_ROWS ? STORE_MORE : 0;
}

static int raise_step(store_tx *tx, buf *position)
{
    return raise_colors(tx, &named, position);
}

static const store_migration raise_migrations[] = {{2, "colors are raised", raise_step}};
static const store_schema raised_schema = {.service = "tester",
                                           .version = 2,
                                           .tables = named_tables,
                                           .n_tables = 1,
                                           .migrations = raise_migrations,
                                           .n_migrations = 1};

/* ---- filling and looking ---- */

static int put_some(store_tx *tx, const void *in, void *out)
{
    const store_table *t = in;
    int64_t *next = out;
    char name[32];
    int rc = 0;
    for (int i = 0; rc == 0 && i < 500 && *next < ROWS; i++, ++*next) {
        snprintf(name, sizeof name, "item %lld", (long long)*next);
        item it = {.id = *next, .color = *next % 7, .name = sv_cstr(name)};
        rc = store_put(tx, t, &it);
    }
    return rc;
}

static void fill(life *l, const store_schema *schema)
{
    int64_t next = 0;
    must_open(l, schema);
    while (next < ROWS)
        assert_int_equal(write_now(l, put_some, schema->tables[0], &next, NULL), 0);
    must_close(l);
}

typedef struct sum {
    uint64_t rows, raised;
} sum;

static int sum_fn(store_tx *tx, const void *in, void *out)
{
    store_scan *scan;
    item it;
    sum *s = out;
    store_range range = {.table = in};
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    while (store_scan_next(scan, &it)) {
        s->rows++;
        s->raised += it.color == it.id % 7 + RAISE;
    }
    rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc;
}

static sum sum_of(life *l, const store_table *t)
{
    sum s = {0};
    assert_int_equal(read_now(l, sum_fn, t, &s), 0);
    return s;
}

static uint64_t entries(life *l, const char *name)
{
    store_table_info info[32];
    int n = store_tables(l->store, info, 32, NULL);
    for (int i = 0; i < n; i++)
        if (strcmp(info[i].name, name) == 0) return info[i].entries;
    return UINT64_MAX;
}

/* ---- kill -9 ---- */

/* Opens and closes in a child that is killed at its nth commit. True: it came to its end. */
static bool open_killed(life *l, const store_schema *schema, int nth, int after)
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        sv_error err = {.code = 0};
        store *s;
        kill_at = nth;
        killed_after = after;
        l->spec.schema = schema;
        l->spec.event = NULL;
        if (store_open(&l->spec, &s, &err)) {
            fprintf(stderr, "in the child: %s (%s)\n", err.message, err.detail);
            _exit(1);
        }
        kill_at = 0;
        store_close(s);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status)) assert_int_equal(WTERMSIG(status), SIGKILL);
    if (WIFEXITED(status)) assert_int_equal(WEXITSTATUS(status), 0);
    return WIFEXITED(status);
}

static void copy_file(const char *from, const char *to)
{
    char command[160];
    snprintf(command, sizeof command, "cp %s/data.mdb %s/data.mdb", from, to);
    assert_int_equal(system(command), 0);
}

/* From the same state again and again, killed at another commit each time. */
static void killed_everywhere(life *l, const store_schema *from, const store_schema *to,
                              void (*verify)(life *l))
{
    int kills = 0;
    fill(l, from);
    copy_file(l->folder, l->spare);
    for (int after = 0; after < 2; after++) {
        for (int nth = 1;; nth++) {
            copy_file(l->spare, l->folder);
            if (open_killed(l, to, nth, after)) break;
            kills++;
            if (nth % 2 == 0 && !open_killed(l, to, 1, after)) kills++; /* and once more */
            must_open(l, to);
            verify(l);
            check_all(l);
            must_close(l);
        }
    }
    assert_true(kills > 20);
}

static void verify_raised(life *l)
{
    sum s = sum_of(l, &named);
    assert_int_equal(s.rows, ROWS);
    assert_int_equal(s.raised, ROWS); /* each one exactly once */
    assert_int_equal(entries(l, "i.items.by_color"), ROWS);
    assert_int_equal(entries(l, "i.items.by_name"), ROWS);
}

/* The migration, an index that is new and one that has become another. */
static void a_migration_killed_anywhere(void **state)
{
    killed_everywhere(*state, &colored_schema, &raised_schema, verify_raised);
}

/* ---- migrations ---- */

static int64_t meta_int(life *l, const char *name);

static int meta_fn(store_tx *tx, const void *in, void *out)
{
    return meta_get_int(tx, in, out);
}

static int64_t meta_int(life *l, const char *name)
{
    int64_t v = 0;
    int rc = read_now(l, meta_fn, name, &v);
    return rc ? rc : v;
}

static void a_migration_runs_once(void **state)
{
    life *l = *state;
    fill(l, &colored_schema);
    must_open(l, &raised_schema);
    assert_int_equal(told(l, "migrating"), 1);
    verify_raised(l);
    assert_int_equal(meta_int(l, "version"), 2);
    assert_int_equal(meta_int(l, "migrating"), SV_E_NOT_FOUND);
    assert_int_equal(stats_of(l).version, 2);
    must_close(l);
    must_open(l, &raised_schema);
    assert_int_equal(told(l, "migrating"), 1);
    verify_raised(l);
}

static int fail_in_the_middle(store_tx *tx, buf *position)
{
    if (position->n) return sv_fail(store_error(tx), SV_E_INVALID, "color", "A color is odd.");
    return raise_step(tx, position);
}

static void a_migration_that_fails(void **state)
{
    life *l = *state;
    sv_error err;
    const store_migration failing[] = {{2, "fails", fail_in_the_middle}};
    store_schema schema = raised_schema;
    schema.migrations = failing;
    fill(l, &colored_schema);
    assert_int_equal(try_open(l, &schema, &err), SV_E_INVALID);
    assert_string_equal(err.message, "A color is odd.");
    assert_non_null(strstr(err.detail, "version 2"));
    /* The program that knows version 1 must not touch rows that are half of version 2. */
    assert_int_equal(try_open(l, &colored_schema, &err), SV_E_STORE_NEWER);
    assert_non_null(strstr(err.message, "version 2"));
    assert_non_null(strstr(err.message, "version 1"));
    must_open(l, &raised_schema);
    verify_raised(l);
}

static int too_long(store_tx *tx, buf *position)
{
    (void)tx;
    static const char much[STORE_POSITION + 1];
    buf_put(position, much, sizeof much);
    return STORE_MORE;
}

static void a_position_is_bounded(void **state)
{
    life *l = *state;
    sv_error err;
    const store_migration wrong[] = {{2, "", too_long}};
    store_schema schema = raised_schema;
    schema.migrations = wrong;
    must_open(l, &colored_schema);
    must_close(l);
    assert_int_equal(try_open(l, &schema, &err), SV_E_TOO_LARGE);
}

static void migrations_out_of_order(void **state)
{
    life *l = *state;
    sv_error err;
    const store_migration wrong[][2] = {{{2, "", raise_step}, {2, "", raise_step}},
                                        {{1, "", raise_step}, {2, "", raise_step}},
                                        {{2, "", raise_step}, {4, "", raise_step}},
                                        {{2, "", raise_step}, {3, "", NULL}}};
    for (size_t i = 0; i < 4; i++) {
        store_schema schema = raised_schema;
        schema.version = 3;
        schema.migrations = wrong[i];
        schema.n_migrations = 2;
        assert_int_equal(try_open(l, &schema, &err), SV_E_INVALID);
        assert_string_equal(err.field, "migrations");
    }
}

static void a_new_store_needs_no_migration(void **state)
{
    life *l = *state;
    must_open(l, &raised_schema);
    assert_int_equal(told(l, "migrating"), 0);
    assert_int_equal(meta_int(l, "version"), 2);
}

static void versions_without_a_migration(void **state)
{
    life *l = *state;
    sv_error err;
    store_schema schema = raised_schema;
    schema.version = 7;
    fill(l, &colored_schema);
    must_open(l, &schema);
    verify_raised(l);
    assert_int_equal(meta_int(l, "version"), 7);
    must_close(l);
    assert_int_equal(try_open(l, &raised_schema, &err), SV_E_STORE_NEWER);
    assert_non_null(strstr(err.message, "version 7"));
    assert_non_null(strstr(err.message, "version 2"));
}

/* ---- indexes and tables ---- */

static void indexes_come_change_and_go(void **state)
{
    life *l = *state;
    fill(l, &item_schema);
    must_open(l, &colored_schema);
    assert_int_equal(told(l, "building an index"), 1);
    assert_int_equal(entries(l, "i.items.by_color"), ROWS);
    check_all(l);
    must_close(l);
    must_open(l, &named_schema); /* sparse: every seventh has color 0 */
    assert_int_equal(told(l, "building an index"), 3);
    assert_int_equal(entries(l, "i.items.by_color"), ROWS - (ROWS + 6) / 7);
    assert_int_equal(entries(l, "i.items.by_name"), ROWS);
    check_all(l);
    must_close(l);
    must_open(l, &named_schema);
    assert_int_equal(told(l, "building an index"), 3);
    must_close(l);
    must_open(l, &item_schema);
    assert_int_equal(told(l, "indexes were dropped"), 1);
    check_all(l);
    must_close(l);
    must_open(l, &named_schema); /* nothing of the old ones is left */
    assert_int_equal(entries(l, "i.items.by_name"), ROWS);
    check_all(l);
}

static void a_unique_index_over_equal_rows(void **state)
{
    life *l = *state;
    sv_error err;
    static const store_index unique[] = {{"one_color", "color", STORE_UNIQUE}};
    const store_table t = {
        .name = "items", .row = &item_msg, .key = "id", .indexes = unique, .n_indexes = 1};
    const store_table *const tables[] = {&t};
    const store_schema schema = SCHEMA(1, tables);
    fill(l, &item_schema);
    assert_int_equal(try_open(l, &schema, &err), SV_E_CONFLICT);
    assert_string_equal(err.field, "one_color");
    must_open(l, &item_schema); /* the half-built index is dropped again */
    check_all(l);
    must_close(l);
    must_open(l, &named_schema);
    check_all(l);
}

static void a_key_never_changes(void **state)
{
    life *l = *state;
    sv_error err;
    const store_table other = {.name = "items", .row = &item_msg, .key = "name,id"};
    const store_table *const tables[] = {&other};
    const store_schema schema = SCHEMA(2, tables);
    fill(l, &item_schema);
    assert_int_equal(try_open(l, &schema, &err), SV_E_INVALID);
    assert_non_null(strstr(err.message, "id:i"));
    assert_non_null(strstr(err.message, "name:t,id:i"));
    must_open(l, &item_schema);
    assert_int_equal(sum_of(l, &items).rows, ROWS);
}

static const store_table others = {.name = "others", .row = &item_msg, .key = "id"};
static const store_table *const other_tables[] = {&others};
static const store_schema other_schema = SCHEMA(1, other_tables);

static void a_table_that_is_no_longer_declared(void **state)
{
    life *l = *state;
    fill(l, &colored_schema);
    must_open(l, &other_schema);
    assert_int_equal(told(l, "tables are no longer declared: items"), 1);
    assert_int_equal(told(l, "indexes were dropped"), 0);
    must_close(l);
    must_open(l, &colored_schema);
    assert_int_equal(sum_of(l, &colored).rows, ROWS);
    assert_int_equal(entries(l, "i.items.by_color"), ROWS);
    check_all(l);
}

/* ---- expiry ---- */

static const store_table by_until = {
    .name = "items", .row = &item_msg, .key = "id", .expires = "until"};
static const store_table by_later = {
    .name = "items", .row = &item_msg, .key = "id", .expires = "later"};
static const store_table *const until_tables[] = {&by_until, &others};
static const store_table *const later_tables[] = {&by_later, &others};
static const store_schema until_schema = SCHEMA(1, until_tables);
static const store_schema later_schema = SCHEMA(1, later_tables);

static int put_timed(store_tx *tx, const void *in, void *out)
{
    (void)out;
    const store_table *t = in;
    int rc = 0;
    for (int64_t id = 0; rc == 0 && id < ROWS; id++) {
        item it = {.id = id, .until = NEW_YEAR_MS + 10, .later = id % 2 ? NEW_YEAR_MS * 2LL : 0};
        rc = store_put(tx, t, &it);
    }
    return rc;
}

static void another_field_tells_when_rows_end(void **state)
{
    life *l = *state;
    must_open(l, &until_schema);
    assert_int_equal(write_now(l, put_timed, &by_until, NULL, NULL), 0);
    assert_int_equal(entries(l, "sys.expiry"), ROWS);
    must_close(l);
    wall_ms = NEW_YEAR_MS + 5000; /* all would be gone by `until` */
    must_open(l, &later_schema);
    assert_int_equal(told(l, "noting times anew"), 1);
    assert_int_equal(sum_of(l, &by_later).rows, ROWS);
    assert_int_equal(entries(l, "sys.expiry"), ROWS / 2);
    check_all(l);
    must_close(l);
    must_open(l, &item_schema); /* no time at all */
    assert_int_equal(entries(l, "sys.expiry"), 0);
    assert_int_equal(sum_of(l, &items).rows, ROWS);
    check_all(l);
}

/* Times of a table that is away are forgotten, and noted again when it comes back. */
static void times_of_a_table_that_comes_back(void **state)
{
    life *l = *state;
    must_open(l, &later_schema);
    assert_int_equal(write_now(l, put_timed, &by_later, NULL, NULL), 0);
    must_close(l);
    must_open(l, &other_schema);
    must_close(l);
    must_open(l, &later_schema);
    assert_int_equal(told(l, "noting times anew"), 1);
    assert_int_equal(entries(l, "sys.expiry"), ROWS / 2);
    check_all(l);
}

static void fill_timed(life *l)
{
    must_open(l, &until_schema);
    assert_int_equal(write_now(l, put_timed, &by_until, NULL, NULL), 0);
    must_close(l);
}

static void times_killed_anywhere(void **state)
{
    life *l = *state;
    fill_timed(l);
    copy_file(l->folder, l->spare);
    for (int nth = 1;; nth++) {
        copy_file(l->spare, l->folder);
        if (open_killed(l, &later_schema, nth, 0)) break;
        must_open(l, &later_schema);
        assert_int_equal(entries(l, "sys.expiry"), ROWS / 2);
        check_all(l);
        must_close(l);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, life_setup_fast, life_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_migration_killed_anywhere),
        TEST(a_migration_runs_once),
        TEST(a_migration_that_fails),
        TEST(a_position_is_bounded),
        TEST(migrations_out_of_order),
        TEST(a_new_store_needs_no_migration),
        TEST(versions_without_a_migration),
        TEST(indexes_come_change_and_go),
        TEST(a_unique_index_over_equal_rows),
        TEST(a_key_never_changes),
        TEST(a_table_that_is_no_longer_declared),
        TEST(another_field_tells_when_rows_end),
        TEST(times_of_a_table_that_comes_back),
        TEST(times_killed_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
