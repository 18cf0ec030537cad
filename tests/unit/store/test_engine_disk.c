/*  test_engine_disk.c - the disk has no room: on a small file system of memory, where one may mount
 *  one, and under a limit for the file's size. What was acknowledged is there, reads go on, and once
 *  there is room writes do, after opening anew if the engine says it is broken. */
#include "engine_kit.h"

#include "env_lock.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { ROW = 1000 };

typedef struct disk {
    kit k;
    char ballast[160];
    uint32_t acked; /* rows 0..acked-1 were committed */
} disk;

/* In a mount namespace of its own, so that nothing is left however the test ends. */
static bool mount_small(const char *folder, const char *options)
{
    static bool own;
    if (!own) {
        if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
            return false;
        own = true;
    }
    return mount("tmpfs", folder, "tmpfs", 0, options) == 0;
}

static void set_ballast(const disk *d, size_t bytes)
{
    int fd = open(d->ballast, O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
    if (bytes) assert_int_equal(posix_fallocate(fd, 0, (off_t)bytes), 0);
    close(fd);
}

/* Takes all there is; tells how much. */
static size_t fill_up(const disk *d)
{
    size_t n = 0;
    int fd = open(d->ballast, O_RDWR | O_CREAT, 0600);
    while (posix_fallocate(fd, (off_t)n, 4096) == 0)
        n += 4096;
    close(fd);
    return n;
}

static bool begin(disk *d, const char *size, size_t ballast)
{
    char folder[128];
    *d = (disk){0};
    kit_folder(folder, sizeof folder);
    snprintf(d->ballast, sizeof d->ballast, "%s/ballast", folder);
    if (!mount_small(folder, size)) {
        print_message("left out: no file system may be mounted here\n");
        kit_remove(folder);
        return false;
    }
    snprintf(d->k.folder, sizeof d->k.folder, "%s", folder);
    set_ballast(d, ballast);
    char sub[160];
    snprintf(sub, sizeof sub, "%s/env", folder);
    mkdir(sub, 0700);
    kit_begin_in(&d->k, sub, 64 * MIB);
    return true;
}

static void end(disk *d)
{
    kit_close(&d->k);
    *strrchr(d->ballast, '/') = '\0';
    assert_int_equal(umount(d->ballast), 0);
    kit_remove(d->ballast);
}

/* One commit of n rows; its answer. */
static int write_rows(disk *d, uint32_t n)
{
    char key[16], value[ROW];
    sv_error err = {0};
    engine_txn *t;
    int rc = engine_begin(d->k.e, true, &t, &err);
    if (rc != 0) return rc;
    for (uint32_t i = d->acked; i < d->acked + n; i++) {
        memset(value, (int)('a' + i % 26), sizeof value);
        sv_str v = {value, sizeof value};
        kit_ok(engine_put(t, d->k.table, kit_key(i, key), v, false, &err), &err);
    }
    rc = engine_commit(t, &err);
    if (rc == 0) d->acked += n;
    if (rc != 0) assert_int_equal(err.code, rc);
    return rc;
}

static void read_all(disk *d)
{
    char key[16];
    sv_str v;
    if (engine_broken(d->k.e)) {
        kit_close(&d->k);
        kit_open(&d->k);
    }
    engine_txn *t = kit_txn(&d->k, false);
    for (uint32_t i = 0; i < d->acked; i++) {
        sv_error err = {0};
        kit_ok(engine_get(t, d->k.table, kit_key(i, key), &v, &err), &err);
        assert_int_equal(v.n, ROW);
        assert_int_equal(v.p[0], 'a' + i % 26);
        assert_int_equal(v.p[ROW - 1], 'a' + i % 26);
    }
    engine_abort(t);
    assert_int_equal(kit_entries(&d->k), d->acked);
}

static void full_disk(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {1, 7, 50, 300};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        disk d;
        if (!begin(&d, "size=2m", MIB / 2)) skip();
        int rc;
        while ((rc = write_rows(&d, sizes[s])) == 0)
            continue;
        assert_int_equal(rc, SV_E_STORE_FULL);
        read_all(&d);
        for (int i = 0; i < 5; i++)
            assert_int_equal(write_rows(&d, 400), SV_E_STORE_FULL);
        read_all(&d);
        uint32_t before = d.acked;
        set_ballast(&d, 0);
        while ((rc = write_rows(&d, 10)) == 0)
            continue;
        assert_int_equal(rc, SV_E_STORE_FULL);
        assert_true(d.acked >= before + 200);
        read_all(&d);
        kit_close(&d.k);
        kit_open(&d.k);
        read_all(&d);
        end(&d);
    }
}

/* With room for n more pages, for every n: wherever the room ends, the commit is whole or not
 * there. */
/* Commits on a disk that others have filled. */
static uint32_t commits_left(disk *d)
{
    uint32_t n = 0;
    int rc;
    fill_up(d);
    while ((rc = write_rows(d, 1)) == 0)
        n++;
    assert_int_equal(rc, SV_E_STORE_FULL);
    read_all(d);
    return n;
}

static void kept_room_is_for_commits(void **state)
{
    (void)state;
    disk d;
    if (!begin(&d, "size=16m", 0)) skip();
    assert_int_equal(write_rows(&d, 1), 0);
    assert_true(commits_left(&d) < 100);
    set_ballast(&d, 0);
    kit_close(&d.k);
    d.k.room_bytes = 2 * MIB;
    kit_open(&d.k);
    assert_int_equal(write_rows(&d, 1), 0);
    assert_true(commits_left(&d) > 300); /* more than one page each, in half of it at least */
    set_ballast(&d, 0);                  /* it is kept anew */
    assert_int_equal(write_rows(&d, 1), 0);
    kit_close(&d.k);
    kit_open(&d.k); /* and stays over a restart */
    assert_true(commits_left(&d) > 300);
    end(&d);
}

static void room_for_n(void **state)
{
    (void)state;
    disk d;
    if (!begin(&d, "size=16m", 0)) skip();
    assert_int_equal(write_rows(&d, 100), 0);
    uint32_t failed = 0, worked = 0;
    for (size_t pages = 0; pages < 40; pages++) {
        struct stat st;
        assert_int_equal(stat(d.k.data, &st), 0);
        size_t ballast = fill_up(&d);
        assert_int_equal(truncate(d.ballast, (off_t)(ballast - pages * 4096)), 0);
        int rc = write_rows(&d, 60);
        assert_true(rc == 0 || rc == SV_E_STORE_FULL);
        *(rc ? &failed : &worked) += 1;
        read_all(&d);
        set_ballast(&d, 0);
        if (rc == SV_E_STORE_FULL) assert_int_equal(write_rows(&d, 1), 0);
    }
    print_message("%u failed, %u worked\n", failed, worked);
    assert_true(failed > 10 && worked > 5);
    end(&d);
}

/* Making an environment, and making the lock file of one, where there is no room. An environment
 * that has its lock file opens. */
static void open_on_full_disk(void **state)
{
    (void)state;
    disk d;
    if (!begin(&d, "size=2m", 0)) skip();
    assert_int_equal(write_rows(&d, 100), 0);
    kit_close(&d.k);
    char lock[300], fresh[200];
    snprintf(lock, sizeof lock, "%s/lock.mdb", d.k.folder);
    snprintf(fresh, sizeof fresh, "%.180s/fresh", d.k.folder);
    mkdir(fresh, 0700);
    fill_up(&d);
    sv_error err = {0};
    kit_open(&d.k);
    read_all(&d);
    kit_close(&d.k);
    unlink(lock);
    fill_up(&d);
    env_lock l;
    kit_ok(env_lock_take(&l, d.k.folder, "router", &err), &err);
    kit_ok(env_lock_note(&l, "router", 1, &err), &err);
    env_lock_give(&l);
    assert_int_equal(kit_try_open(&d.k, false, &err), SV_E_STORE_FULL);
    assert_non_null(strstr(err.detail, "lock.mdb"));
    kit k = {.map_bytes = MIB};
    snprintf(k.folder, sizeof k.folder, "%s", fresh);
    snprintf(k.data, sizeof k.data, "%s/data.mdb", fresh);
    err = (sv_error){0};
    assert_int_equal(kit_try_open(&k, false, &err), SV_E_STORE_FULL);
    assert_int_equal(access(k.data, F_OK), -1);
    set_ballast(&d, 0);
    kit_open(&k);
    kit_close(&k);
    kit_open(&d.k);
    read_all(&d);
    end(&d);
}

/* A limit for the file's size. Writes up to it are short, which LMDB tells as an I/O error: then
 * the engine wants to be opened anew. */
static void limited_file(void)
{
    disk d = {0};
    signal(SIGXFSZ, SIG_IGN);
    kit_begin(&d.k, 64 * MIB);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){MIB - 2048, RLIM_INFINITY});
    int rc;
    while ((rc = write_rows(&d, 20)) == 0)
        continue;
    assert_true(rc == SV_E_STORE_FULL || rc == SV_E_STORE_IO);
    assert_int_equal(engine_broken(d.k.e), rc == SV_E_STORE_IO);
    read_all(&d);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY});
    assert_int_equal(write_rows(&d, 500), 0);
    read_all(&d);
    kit_end(&d.k);
}

static void file_size_limit(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        limited_file();
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
}

/* LMDB's descriptor for the meta page (opened O_DSYNC) or for all other pages. */
static int find_fd(const kit *k, bool meta)
{
    for (int fd = 3; fd < 256; fd++) {
        char name[64], path[300];
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(name, path, sizeof path - 1);
        if (n < 0) continue;
        path[n] = '\0';
        bool dsync = fcntl(fd, F_GETFL) & O_DSYNC;
        if (strcmp(path, k->data) == 0 && dsync == meta) return fd;
    }
    fail_msg("no descriptor");
    return -1;
}

/* A device that is always full in the place of the file: nothing is lost, and only a meta page that
 * cannot be written breaks the engine, for reads, too. */
static void device_is_full(void **state)
{
    (void)state;
    for (int meta = 0; meta < 2; meta++) {
        disk d = {0};
        sv_error err = {0};
        engine_txn *t;
        kit_begin(&d.k, 64 * MIB);
        char real[300];
        assert_non_null(realpath(d.k.data, real));
        snprintf(d.k.data, sizeof d.k.data, "%s", real);
        assert_int_equal(write_rows(&d, 100), 0);
        int fd = find_fd(&d.k, meta), keep = dup(fd), full = open("/dev/full", O_RDWR);
        assert_int_equal(dup2(full, fd), fd);
        assert_int_equal(write_rows(&d, 10), SV_E_STORE_FULL);
        assert_int_equal(engine_broken(d.k.e), meta);
        assert_int_equal(engine_begin(d.k.e, false, &t, &err), meta ? SV_E_STORE_IO : 0);
        if (meta) assert_non_null(strstr(err.detail, "MDB_PANIC"));
        if (!meta) engine_abort(t);
        err = (sv_error){0};
        if (meta) assert_int_equal(engine_begin(d.k.e, true, &t, &err), SV_E_STORE_IO);
        if (!meta) assert_int_equal(dup2(keep, fd), fd);
        close(full);
        close(keep);
        read_all(&d);
        assert_false(engine_broken(d.k.e));
        assert_int_equal(write_rows(&d, 10), 0);
        read_all(&d);
        kit_end(&d.k);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_disk),         cmocka_unit_test(room_for_n),
        cmocka_unit_test(open_on_full_disk), cmocka_unit_test(file_size_limit),
        cmocka_unit_test(device_is_full),    cmocka_unit_test(kept_room_is_for_commits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
