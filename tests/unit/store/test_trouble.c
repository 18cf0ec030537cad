/*  test_trouble.c - what a store does for itself: between two attempts on a disk that fails it can
 *  be read, and in a map without room the sweep takes smaller pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "life_kit.h"

#include <sys/syscall.h>

enum { PATIENCE_US = 5 * 1000000, META_MOST = 256, METAS = 2 * 4096 };

/* While it is set LMDB cannot write its meta page. An opening, which writes both of them back as
 * they are, and all other pages are longer. */
static atomic_bool metas_fail;

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t offset)
{
    if (!atomic_load(&metas_fail) || n > META_MOST || offset >= METAS)
        return syscall(SYS_pwrite64, fd, bytes, n, offset);
    errno = EIO;
    return -1;
}

/* ---- a disk that fails ---- */

/* A read that was over before the next attempt to write. */
static bool read_before_attempt(life *l)
{
    pthread_mutex_lock(&l->store->mutex);
    uint64_t attempt_us = l->store->retry_at_us;
    pthread_mutex_unlock(&l->store->mutex);
    return color_of(l, 1) == 11 && store_us() < attempt_us;
}

/* LMDB answers nothing after its meta page could not be written. Opened again by an attempt, it is
 * left so by the attempt's own commit. */
static void reads_go_on_between_attempts(void **state)
{
    life *l = *state;
    must_open(l, &item_schema);
    assert_int_equal(must_put(l, 1, 11), 0);
    atomic_store(&metas_fail, true);
    assert_int_equal(must_put(l, 2, 22), SV_E_STORE_IO);
    uint64_t until = store_us() + PATIENCE_US;
    while (!read_before_attempt(l)) {
        assert_true(store_us() < until);
        usleep(1000);
    }
    assert_int_equal(stats_of(l).state, STORE_FAILING);
    atomic_store(&metas_fail, false);
    wait_told(l, "the store can be written again", 1);
    assert_int_equal(color_of(l, 2), SV_E_NOT_FOUND);
    assert_int_equal(must_put(l, 2, 22), 0);
}

/* ---- a full map ---- */

enum { ROW_BYTES = 1000, ROWS = 10000 };

static const store_table passing = {
    .name = "items", .row = &item_msg, .key = "id", .expires = "until"};
static const store_table *const passing_tables[] = {&passing};
static const store_schema passing_schema = {
    .service = "tester", .version = 1, .tables = passing_tables, .n_tables = 1};

typedef struct filling {
    int64_t next, n; /* rows so far, at once */
} filling;

/* Of three rows on a page one goes first: taking it away changes the page and frees nothing. */
static int put_rows(store_tx *tx, const void *in, void *out)
{
    static char bytes[ROW_BYTES];
    const filling *f = in;
    (void)out;
    int rc = 0;
    for (int64_t i = f->next; rc == 0 && i < f->next + f->n; i++) {
        item it = {.id = i,
                   .until = NEW_YEAR_MS + 1000 + i + (i % 3 ? ROWS : 0),
                   .data = {bytes, sizeof bytes}};
        rc = store_put(tx, &passing, &it);
    }
    return rc;
}

static void a_sweep_in_smaller_pieces(void **state)
{
    life *l = *state;
    filling f = {.n = 64};
    l->spec.map_bytes = 2 << 20;
    must_open(l, &passing_schema);
    for (; f.n > 0; f.n /= 4) {
        while (write_now(l, put_rows, &f, NULL, NULL) == 0)
            f.next += f.n;
    }
    assert_in_range(f.next, 600, ROWS);
    assert_int_equal(stats_of(l).state, STORE_FULL);
    wall_ms += 1000 * 1000;
    uint64_t until = store_us() + PATIENCE_US;
    while (stats_of(l).expired == 0) {
        assert_true(store_us() < until);
        usleep(1000);
    }
    check_all(l);
}

static int teardown(void **state)
{
    atomic_store(&metas_fail, false);
    return life_teardown(state);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, life_setup_fast, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(reads_go_on_between_attempts),
        TEST(a_sweep_in_smaller_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
