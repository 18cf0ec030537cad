/*  test_engine_file.c - files that are not as they should be: whatever lies in the folder, opening
 *  refuses with a sentence or works, and what it then reads is what was written. Nothing crashes:
 *  what might is done in a child process. */
#include "engine_kit.h"

#include "engine_file.h"

#include <fcntl.h>
#include <lmdb.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { ROWS = 400 };

/* An environment with rows, overflow pages and a free list, closed; its bytes. */
typedef struct original {
    kit k;
    char *bytes;
    size_t n;
} original;

static void read_file(original *o)
{
    struct stat st;
    assert_int_equal(stat(o->k.data, &st), 0);
    o->n = (size_t)st.st_size;
    o->bytes = malloc(o->n);
    FILE *f = fopen(o->k.data, "r");
    assert_int_equal(fread(o->bytes, 1, o->n, f), o->n);
    fclose(f);
}

static void write_file(const original *o, size_t n)
{
    FILE *f = fopen(o->k.data, "w");
    assert_int_equal(fwrite(o->bytes, 1, n, f), n);
    fclose(f);
}

static uint32_t row_bytes(uint32_t i)
{
    return i % 7 == 0 ? 6000 : 100 + i;
}

static void begin(original *o)
{
    char key[16], value[6000];
    kit_begin(&o->k, 16 * MIB);
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < ROWS; i += 100) {
            engine_txn *t = kit_txn(&o->k, true);
            for (uint32_t j = i; j < i + 100; j++) {
                sv_error err = {0};
                memset(value, (int)('a' + j % 26), sizeof value);
                sv_str v = {value, row_bytes(j)};
                kit_ok(engine_put(t, o->k.table, kit_key(j, key), v, false, &err), &err);
            }
            kit_commit(t);
        }
    }
    kit_close(&o->k);
    read_file(o);
}

static void end(original *o)
{
    free(o->bytes);
    kit_end(&o->k);
}

/* Opens and reads everything: 0, the refusal of engine_open, or 1 for rows that are not as they
 * were written. */
static int open_and_read(original *o, bool read_only, sv_error *err)
{
    char key_bytes[16];
    sv_str key, value;
    engine_txn *t;
    engine_cursor *c = NULL;
    int rc = kit_try_open(&o->k, read_only, err);
    if (rc != 0) return rc;
    rc = engine_begin(o->k.e, false, &t, err);
    assert_int_equal(rc, 0);
    rc = engine_table_open(t, "t.rows", false, &o->k.table, err);
    if (rc == 0) rc = engine_cursor_open(t, o->k.table, &c, err);
    for (uint32_t i = 0; rc == 0 && i < ROWS; i++) {
        rc = i == 0 ? engine_at_least(c, (sv_str){NULL, 0}, &key, &value, err)
                    : engine_next(c, &key, &value, err);
        kit_key(i, key_bytes);
        if (rc == 0 && (!sv_str_is(key, key_bytes) || value.n != row_bytes(i) ||
                        value.p[0] != (char)('a' + i % 26)))
            rc = 1;
    }
    if (rc == 0 && engine_next(c, &key, &value, err) != SV_E_NOT_FOUND) rc = 1;
    engine_cursor_close(c);
    engine_abort(t);
    kit_close(&o->k);
    return rc == 0 ? 0 : 1;
}

static void refused(int rc, const sv_error *err)
{
    assert_true(rc == SV_E_STORE_DAMAGED || rc == SV_E_STORE_FOREIGN);
    assert_int_equal(err->code, rc);
    assert_non_null(strstr(err->message, "data.mdb"));
}

typedef struct progress {
    size_t at, refused, worked, wrong;
} progress;

static progress *shared(void)
{
    progress *p = mmap(NULL, sizeof *p, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(p, MAP_FAILED);
    return p;
}

static void in_child(void (*fn)(original *o, progress *p), original *o, progress *p)
{
    pid_t pid = fork();
    if (pid == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        alarm(100);
        fn(o, p);
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    if (status != 0) fail_msg("the child ended with %x at %zu", (unsigned)status, p->at);
}

static void flip_each(original *o, progress *p)
{
    static const unsigned char masks[] = {0x01, 0x02, 0x80, 0xff};
    int fd = open(o->k.data, O_RDWR);
    for (p->at = 0; p->at < 8192; p->at++) {
        for (size_t m = 0; m < sizeof masks; m++) {
            char flipped = (char)(o->bytes[p->at] ^ masks[m]);
            sv_error err = {0};
            if (pwrite(fd, &flipped, 1, (off_t)p->at) != 1) _exit(1);
            int rc = open_and_read(o, m != 0, &err);
            if (rc == 1) {
                p->wrong++;
                fprintf(stderr, "byte %zu, mask %x: not seen %s %s\n", p->at, masks[m], err.message,
                        err.detail);
            }
            *(rc < 0 ? &p->refused : &p->worked) += 1;
            if (rc < 0 && strstr(err.message, "data.mdb") == NULL) _exit(2);
        }
        if (pwrite(fd, &o->bytes[p->at], 1, (off_t)p->at) != 1) _exit(1);
    }
    close(fd);
}

/* Each byte of the first two pages, changed in four ways. */
static void flipped_bytes(void **state)
{
    (void)state;
    original o;
    begin(&o);
    progress *p = shared();
    in_child(flip_each, &o, p);
    print_message("%zu refused, %zu worked, %zu read wrong\n", p->refused, p->worked, p->wrong);
    assert_int_equal(p->wrong, 0);
    assert_true(p->refused > 400);
    munmap(p, sizeof *p);
    end(&o);
}

static void cut_each(original *o, progress *p)
{
    static const long odd[] = {0, 1, 511, 512, 4095};
    size_t pages = o->n / 4096;
    for (size_t page = 0; page < pages; page++) {
        for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
            p->at = page * 4096 + (size_t)odd[i];
            write_file(o, p->at);
            sv_error err = {0};
            int rc = open_and_read(o, true, &err);
            if (rc == 1) p->wrong++;
            *(rc < 0 ? &p->refused : &p->worked) += 1;
            if (rc < 0 && strstr(err.message, "data.mdb") == NULL) _exit(2);
        }
    }
}

/* A file that ends early is refused unless only free pages are missing. */
static void cut_files(void **state)
{
    (void)state;
    original o;
    begin(&o);
    progress *p = shared();
    in_child(cut_each, &o, p);
    print_message("%zu refused, %zu worked, %zu read wrong\n", p->refused, p->worked, p->wrong);
    assert_int_equal(p->wrong, 0);
    assert_true(p->refused > 500);
    munmap(p, sizeof *p);
    end(&o);
}

/* Pages that were taken and given back within one commit at the file's end are never written: the
 * file is shorter than what its meta page says, and whole. */
static void short_but_whole(void **state)
{
    (void)state;
    kit k;
    char key[16], value[1000];
    engine_file f;
    struct stat st;
    sv_error err = {0};
    memset(value, 'v', sizeof value);
    kit_begin(&k, 16 * MIB);
    engine_txn *t;
    for (uint32_t i = 0; i < 5; i++) {
        t = kit_txn(&k, true);
        sv_str v = {value, sizeof value};
        kit_ok(engine_put(t, k.table, kit_key(0, key), v, false, &err), &err);
        kit_commit(t);
    }
    t = kit_txn(&k, true);
    for (uint32_t i = 1; i < 1000; i++) {
        sv_str v = {value, sizeof value};
        kit_ok(engine_put(t, k.table, kit_key(i, key), v, true, &err), &err);
    }
    for (uint32_t i = 999; i > 0; i--)
        kit_ok(engine_delete(t, k.table, kit_key(i, key), &err), &err);
    kit_commit(t);
    kit_close(&k);
    assert_int_equal(stat(k.data, &st), 0);
    kit_ok(engine_file_check(k.data, true, &f, &err), &err);
    print_message("%lld of %llu bytes\n", (long long)st.st_size, (unsigned long long)f.map_bytes);
    assert_true((uint64_t)st.st_size < f.map_bytes / 2);
    kit_open(&k);
    assert_int_equal(kit_entries(&k), 1);
    t = kit_txn(&k, true);
    for (uint32_t i = 1; i < 1000; i++) {
        sv_str v = {value, sizeof value};
        kit_ok(engine_put(t, k.table, kit_key(i, key), v, true, &err), &err);
    }
    kit_commit(t);
    kit_close(&k);
    /* Now one page less is one too few. */
    assert_int_equal(stat(k.data, &st), 0);
    int last = 0;
    for (int i = 0; i < 4 && last == 0; i++) {
        assert_int_equal(truncate(k.data, st.st_size - 4096 * (i + 1)), 0);
        last = engine_file_check(k.data, true, &f, &err);
    }
    assert_int_equal(last, SV_E_STORE_DAMAGED);
    assert_non_null(strstr(err.message, "shorter"));
    kit_end(&k);
}

/* The check itself takes any bytes. */
static void random_damage(void **state)
{
    (void)state;
    original o;
    begin(&o);
    uint64_t random = 7;
    size_t seen = 0;
    char *whole = malloc(o.n);
    memcpy(whole, o.bytes, o.n);
    for (uint32_t i = 0; i < 4000; i++) {
        size_t n = o.n;
        uint32_t spots = 1 + kit_random(&random) % 20;
        for (uint32_t s = 0; s < spots; s++) {
            size_t at = kit_random(&random) % n;
            if (i % 2) at %= 200;
            if (i % 4 == 3) at += 4096;
            o.bytes[at] = (char)kit_random(&random);
        }
        if (i % 5 == 0) n = kit_random(&random) % n;
        write_file(&o, n);
        memcpy(o.bytes, whole, o.n);
        engine_file f;
        sv_error err = {0};
        int rc = engine_file_check(o.k.data, i % 2, &f, &err);
        if (rc == 0) continue;
        seen++;
        refused(rc, &err);
    }
    print_message("%zu of 4000 refused\n", seen);
    assert_true(seen > 2000);
    free(whole);
    end(&o);
}

/* ---- what is no environment ---- */

static void open_refuses(kit *k, int code, const char *word)
{
    for (int read_only = 0; read_only < 2; read_only++) {
        sv_error err = {0};
        k->e = NULL;
        assert_int_equal(kit_try_open(k, read_only, &err), code);
        assert_int_equal(err.code, code);
        if (strstr(err.message, word) == NULL && strstr(err.detail, word) == NULL)
            fail_msg("%s (%s)", err.message, err.detail);
    }
}

static void put_file(const char *path, const char *bytes, size_t n)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

static void no_environment(void **state)
{
    (void)state;
    kit k = {.map_bytes = MIB};
    sv_error err = {0};
    char *text = malloc(100000);
    memset(text, 'x', 100000);
    kit_folder(k.folder, sizeof k.folder);
    snprintf(k.data, sizeof k.data, "%s/data.mdb", k.folder);
    assert_int_equal(kit_try_open(&k, true, &err), SV_E_STORE_FOREIGN);
    assert_non_null(strstr(err.message, "no store"));
    assert_int_equal(access(k.data, F_OK), -1);

    put_file(k.data, "", 0);
    open_refuses(&k, SV_E_STORE_DAMAGED, "empty");
    static const size_t sizes[] = {1, 100, 151, 152, 4096, 8192, 100000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        put_file(k.data, text, sizes[i]);
        open_refuses(&k, SV_E_STORE_FOREIGN, "not an LMDB file");
    }
    memset(text, 0, 100000);
    put_file(k.data, text, 8192);
    open_refuses(&k, SV_E_STORE_FOREIGN, "not an LMDB file");
    unlink(k.data);
    mkdir(k.data, 0700);
    open_refuses(&k, SV_E_STORE_FOREIGN, "not a file");
    rmdir(k.data);
    mkfifo(k.data, 0600);
    open_refuses(&k, SV_E_STORE_FOREIGN, "not a file");
    unlink(k.data);
    assert_int_equal(symlink(k.data, k.data), 0);
    open_refuses(&k, SV_E_STORE_IO, "cannot be read");
    free(text);
    kit_remove(k.folder);
}

/* As somebody who may not read it. */
static void unreadable(void **state)
{
    (void)state;
    kit k;
    kit_begin(&k, MIB);
    kit_close(&k);
    chmod(k.folder, 0755);
    chmod(k.data, 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (geteuid() == 0 && seteuid(65534) != 0) _exit(3);
        sv_error err = {0};
        int rc = kit_try_open(&k, true, &err);
        _exit(rc == SV_E_STORE_IO && strstr(err.message, "Permission denied") ? 0 : 1);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    kit_end(&k);
}

/* Other programs' environments: with duplicates, with values beside tables, with tables that have
 * duplicates. One whose tables are as ours is opened; it has not what is looked for. */
static void foreign_environments(void **state)
{
    (void)state;
    enum { DUPLICATES, VALUES, TABLE_OF_DUPLICATES, LIKE_OURS, KINDS };
    for (int kind = 0; kind < KINDS; kind++) {
        kit k = {.map_bytes = MIB};
        kit_folder(k.folder, sizeof k.folder);
        snprintf(k.data, sizeof k.data, "%s/data.mdb", k.folder);
        MDB_env *env;
        MDB_txn *txn;
        MDB_dbi main_table, table;
        MDB_val key = {3, "key"}, value = {48, k.folder};
        assert_int_equal(mdb_env_create(&env), 0);
        mdb_env_set_maxdbs(env, 4);
        assert_int_equal(mdb_env_open(env, k.folder, 0, 0600), 0);
        assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
        unsigned flags = kind == DUPLICATES ? MDB_DUPSORT : 0;
        assert_int_equal(mdb_dbi_open(txn, NULL, flags, &main_table), 0);
        if (kind == DUPLICATES || kind == VALUES)
            assert_int_equal(mdb_put(txn, main_table, &key, &value, 0), 0);
        flags = MDB_CREATE | (kind == TABLE_OF_DUPLICATES ? MDB_DUPSORT : 0);
        if (kind != DUPLICATES) assert_int_equal(mdb_dbi_open(txn, "theirs", flags, &table), 0);
        assert_int_equal(mdb_txn_commit(txn), 0);
        mdb_env_close(env);
        if (kind != LIKE_OURS) {
            open_refuses(&k, SV_E_STORE_FOREIGN, "another program");
        } else {
            sv_error err = {0};
            kit_ok(kit_try_open(&k, true, &err), &err);
            engine_txn *t = kit_txn(&k, false);
            engine_table none;
            assert_int_equal(engine_table_open(t, "t.rows", false, &none, &err), SV_E_NOT_FOUND);
            engine_abort(t);
        }
        kit_end(&k);
    }
}

/* ---- the lock file and the folder ---- */

static void lock_files(void **state)
{
    (void)state;
    kit k;
    char lock[300];
    kit_begin(&k, MIB);
    kit_close(&k);
    snprintf(lock, sizeof lock, "%s/lock.mdb", k.folder);
    put_file(lock, "this is no lock file", 20);
    kit_open(&k);
    assert_int_equal(kit_entries(&k), 0);
    kit_close(&k);
    char noise[4096];
    memset(noise, 0xa5, sizeof noise);
    put_file(lock, noise, sizeof noise);
    kit_open(&k);
    assert_int_equal(kit_entries(&k), 0);
    kit_close(&k);
    sv_error err = {0};
    assert_int_equal(truncate(lock, (off_t)1 << 40), 0);
    assert_int_equal(kit_try_open(&k, false, &err), SV_E_STORE_FOREIGN);
    assert_non_null(strstr(err.message, "lock.mdb"));
    unlink(lock);
    mkdir(lock, 0700);
    err = (sv_error){0};
    assert_int_equal(kit_try_open(&k, false, &err), SV_E_STORE_IO);
    assert_non_null(strstr(err.detail, "lock.mdb"));
    rmdir(lock);
    assert_int_equal(symlink("/etc/passwd", lock), 0);
    err = (sv_error){0};
    assert_int_equal(kit_try_open(&k, false, &err), SV_E_STORE_IO);
    unlink(lock);
    kit_open(&k);
    kit_end(&k);
}

static void folders(void **state)
{
    (void)state;
    kit k = {.map_bytes = MIB};
    sv_error err = {0};
    snprintf(k.folder, sizeof k.folder, "/nowhere/at/all");
    assert_int_equal(kit_try_open(&k, false, &err), SV_E_STORE_IO);
    char *longest = malloc(6000);
    memset(longest, 'f', 5999);
    longest[5999] = '\0';
    engine_spec spec = {.folder = longest, .map_bytes = MIB, .tables = 4};
    err = (sv_error){0};
    assert_int_equal(engine_open(&spec, &k.e, &err), SV_E_STORE_IO);
    free(longest);
    /* More address space than there is. */
    kit_folder(k.folder, sizeof k.folder);
    k.map_bytes = (size_t)1 << 60;
    err = (sv_error){0};
    assert_int_equal(kit_try_open(&k, false, &err), SV_E_NO_MEMORY);
    assert_non_null(strstr(err.detail, "a map of"));
    k.map_bytes = MIB;
    kit_open(&k);
    kit_end(&k);
}

/* What was left of making an environment is made anew. */
static void unfinished(void **state)
{
    (void)state;
    kit k = {.map_bytes = MIB};
    char next[300];
    kit_folder(k.folder, sizeof k.folder);
    snprintf(next, sizeof next, "%s/data.mdb.new", k.folder);
    put_file(next, "half", 4);
    kit_open(&k);
    assert_int_equal(access(next, F_OK), -1);
    kit_end(&k);
}

/* Another process has made the environment larger than our map: only opening anew helps. */
static void outgrown(void **state)
{
    (void)state;
    kit k;
    kit_begin(&k, MIB);
    kit_close(&k);
    int go[2];
    assert_int_equal(pipe(go), 0);
    pid_t pid = fork();
    if (pid == 0) {
        char c, key[16];
        k.map_bytes = 8 * MIB;
        kit_open(&k);
        if (read(go[0], &c, 1) != 1) _exit(1);
        engine_txn *t = kit_txn(&k, true);
        for (uint32_t i = 0; i < 2000; i++) {
            sv_error err = {0};
            char value[1000] = "";
            sv_str v = {value, sizeof value};
            kit_ok(engine_put(t, k.table, kit_key(i, key), v, true, &err), &err);
        }
        kit_commit(t);
        kit_close(&k);
        _exit(0);
    }
    kit_open(&k);
    assert_int_equal(write(go[1], "x", 1), 1);
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    sv_error err = {0};
    engine_txn *t;
    assert_int_equal(engine_begin(k.e, false, &t, &err), SV_E_STORE_IO);
    assert_true(engine_broken(k.e));
    kit_close(&k);
    kit_open(&k);
    assert_int_equal(kit_entries(&k), 2000);
    close(go[0]);
    close(go[1]);
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flipped_bytes),   cmocka_unit_test(cut_files),
        cmocka_unit_test(short_but_whole), cmocka_unit_test(random_damage),
        cmocka_unit_test(no_environment),  cmocka_unit_test(unreadable),
        cmocka_unit_test(lock_files),      cmocka_unit_test(foreign_environments),
        cmocka_unit_test(folders),         cmocka_unit_test(unfinished),
        cmocka_unit_test(outgrown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
