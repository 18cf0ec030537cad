/*  engine_lmdb.c - the engine: LMDB 0.9.24 (docs/adr/0011 tells of its traps).
 *
 *  Flags: MDB_NOTLS (a read belongs to its transaction, not to its thread) and nothing that weakens
 *  a commit: pages are written, fdatasync'ed, and then the meta page is written through a
 *  descriptor opened O_DSYNC. Read-only environments use no lock file.
 *
 *  A write that fails marks its transaction: LMDB forgets to do that for some failures of memory,
 *  and committing a marked child would spoil its parent, so engine_commit aborts instead.
 *
 *  Broken: LMDB answers MDB_PANIC after its meta page could not be written. The environment also
 *  counts as broken after EIO from writing or syncing pages: Linux forgets the failed pages of its
 *  cache after telling once, so what a page read from the map says need not be what the disk holds.
 *  Nothing refers to those pages, but opening anew costs little and does not rest on that argument;
 *  what the cache has of the file is dropped in between.
 *
 *  A short write is EIO in LMDB's words; when the disk has no room left that is what it means, and
 *  nothing is broken: it went to pages that nothing refers to.
 *
 *  A transaction may hold 131,071 changed pages in memory. An outermost one writes some of them out
 *  early when it needs more; a nested one cannot while its parent has them: that is want of room
 *  (alone it would have found it), not a write that is too large. */
#include "engine.h"

#include "engine_file.h"
#include "sv_limits.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { FREE_PAGES = 0, MAIN_TABLE = 1 }; /* LMDB's own tables, open from the start */

enum {
    LOCK_BYTES = 16384,    /* of lock.mdb: about 250 readers */
    LOCK_MOST = 1 << 20,   /* a lock file that is longer is none of ours */
    ROOM_LEAST = 64 << 10, /* less room than this on the disk explains a short write */
    ROOM_SHARE = 4         /* room is kept where the disk has so many times as much */
};

struct engine {
    MDB_env *env;
    atomic_bool broken;
    atomic_uint readers;
    uint64_t room_bytes, roomy_to; /* the file has its blocks up to there */
};

struct engine_txn {
    engine *engine;
    MDB_txn *txn;
    engine_txn *parent;
    bool write;
    int failed;
};

struct engine_cursor {
    engine_txn *txn;
    MDB_cursor *cursor;
};

static int code_of(int rc)
{
    switch (rc) {
    case MDB_NOTFOUND: return SV_E_NOT_FOUND;
    case MDB_KEYEXIST: return SV_E_CONFLICT;
    case MDB_MAP_FULL:
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return SV_E_STORE_FULL;
    case MDB_TXN_FULL:
    case MDB_BAD_VALSIZE: return SV_E_TOO_LARGE;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_INCOMPATIBLE:
    case MDB_CURSOR_FULL: return SV_E_STORE_DAMAGED;
    case ENOMEM: return SV_E_NO_MEMORY;
    default: return SV_E_STORE_IO;
    }
}

/* NOT_FOUND and CONFLICT are answers: they leave `err` alone. */
static int fail(engine *e, int rc, const char *what, sv_error *err)
{
    int code = code_of(rc);
    if (code == SV_E_NOT_FOUND || code == SV_E_CONFLICT) return code;
    /* MDB_MAP_RESIZED: another process wrote behind our map; only opening anew sees it. */
    if (rc == MDB_PANIC || rc == MDB_MAP_RESIZED) atomic_store(&e->broken, true);
    sv_fail(err, code, NULL, NULL);
    sv_error_detail(err, "LMDB, %s: %s", what, mdb_strerror(rc));
    return code;
}

static int txn_fail(engine_txn *t, int rc, const char *what, sv_error *err)
{
    int code = SV_E_STORE_FULL;
    if (rc == MDB_TXN_FULL && t->parent) {
        sv_fail(err, code, NULL, NULL);
        sv_error_detail(err, "LMDB, %s: %s beside others", what, mdb_strerror(rc));
    } else {
        code = fail(t->engine, rc, what, err);
    }
    if (code != SV_E_NOT_FOUND && code != SV_E_CONFLICT && t->failed == 0) t->failed = code;
    return code;
}

static MDB_val val(sv_str s)
{
    return (MDB_val){s.n, (void *)(uintptr_t)s.p};
}

static sv_str str(MDB_val v)
{
    return (sv_str){v.mv_data, (uint32_t)v.mv_size};
}

/* ---- open and close ---- */

static int sync_path(const char *path, int flags, sv_error *err)
{
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0) {
        int saved = errno;
        if (fd >= 0) close(fd);
        sv_fail(err, code_of(saved), NULL, NULL);
        sv_error_detail(err, "syncing %s: %s", path, strerror(saved));
        return code_of(saved);
    }
    close(fd);
    return 0;
}

static int open_fail(int rc, const char *what, const char *path, sv_error *err)
{
    sv_fail(err, code_of(rc), NULL, NULL);
    sv_error_detail(err, "%s %s: %s", what, path, mdb_strerror(rc));
    return code_of(rc);
}

/* Makes an empty environment beside its place and moves it there when it is on disk, so that a
 * data.mdb is always whole, also when the machine stops in the middle. */
static int make_file(const char *path, sv_error *err)
{
    char next[4200];
    snprintf(next, sizeof next, "%s.new", path);
    if (unlink(next) != 0 && errno != ENOENT) return open_fail(errno, "removing", next, err);
    MDB_env *env;
    int rc = mdb_env_create(&env);
    if (rc != 0) return open_fail(rc, "making", next, err);
    rc = mdb_env_open(env, next, MDB_NOSUBDIR | MDB_NOLOCK, 0600);
    mdb_env_close(env);
    if (rc != 0) return open_fail(rc, "making", next, err);
    rc = sync_path(next, O_RDWR, err);
    if (rc != 0) return rc;
    if (rename(next, path) != 0) return open_fail(errno, "placing", path, err);
    return 0;
}

/* After a commit whose meta page met an error the disk may hold its old or its new state, whatever
 * the cache shows from then on. Written back as they are read, the meta pages are what is seen here
 * before a page is used again that the other state refers to. */
static int settle_metas(const char *path, uint32_t page_bytes, sv_error *err)
{
    size_t n = 2 * (size_t)page_bytes;
    char *pages = malloc(n);
    if (pages == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    int fd = open(path, O_RDWR | O_DSYNC | O_CLOEXEC);
    ssize_t done = fd < 0 ? -1 : pread(fd, pages, n, 0);
    if (done == (ssize_t)n) done = pwrite(fd, pages, n, 0);
    int saved = done < 0 ? errno : EIO;
    if (fd >= 0) close(fd);
    free(pages);
    return done == (ssize_t)n ? 0 : open_fail(saved, "settling", path, err);
}

/* Gives lock.mdb its full size in real blocks: LMDB only extends it, and touching a hole of it when
 * the disk is full would be SIGBUS. Only while this process has no environment open there: closing
 * any descriptor of that file drops LMDB's fcntl locks. */
static int make_lock(const char *path, sv_error *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0) return open_fail(errno, "opening", path, err);
    struct stat st;
    int rc = fstat(fd, &st) != 0 ? errno : 0;
    if (rc == 0 && (!S_ISREG(st.st_mode) || st.st_size > LOCK_MOST)) {
        close(fd);
        sv_fail(err, SV_E_STORE_FOREIGN, NULL, "lock.mdb is not the store's lock file: remove it.");
        sv_error_detail(err, "%s", path);
        return SV_E_STORE_FOREIGN;
    }
    if (rc == 0) rc = posix_fallocate(fd, 0, LOCK_BYTES);
    close(fd);
    return rc == 0 ? 0 : open_fail(rc, "reserving", path, err);
}

static int open_env(engine *e, const engine_spec *spec, const engine_file *file, sv_error *err)
{
    int rc = mdb_env_create(&e->env);
    if (rc != 0) return open_fail(rc, "opening", spec->folder, err);
    size_t map = spec->read_only ? 0 : spec->map_bytes;
    if (map < file->bytes) map = file->bytes;
    if (map < file->map_bytes) map = file->map_bytes;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    map = (map + page - 1) / page * page;
    mdb_env_set_mapsize(e->env, map);
    mdb_env_set_maxdbs(e->env, spec->tables);
    unsigned flags = MDB_NOTLS | (spec->read_only ? MDB_RDONLY | MDB_NOLOCK : 0);
    rc = mdb_env_open(e->env, spec->folder, flags, 0600);
    if (rc != 0) {
        open_fail(rc, "opening", spec->folder, err);
        if (rc == ENOMEM) sv_error_detail(err, "a map of %zu bytes", map);
        return code_of(rc);
    }
    /* LMDB leaves this one descriptor open across exec. */
    int fd;
    if (mdb_env_get_fd(e->env, &fd) == 0) fcntl(fd, F_SETFD, FD_CLOEXEC);
    return 0;
}

int engine_open(const engine_spec *spec, engine **ret, sv_error *err)
{
    char data[4180], lock[4180];
    if (snprintf(data, sizeof data, "%s/data.mdb", spec->folder) > 4096)
        return open_fail(ENAMETOOLONG, "opening", "the folder", err);
    snprintf(lock, sizeof lock, "%s/lock.mdb", spec->folder);
    engine_file file = {0};
    bool deep = spec->read_only && !spec->trusted;
    int rc = engine_file_check(data, deep, &file, err);
    if (rc == SV_E_NOT_FOUND && !spec->read_only) {
        rc = make_file(data, err);
        if (rc == 0) rc = engine_file_check(data, deep, &file, err);
    }
    if (rc == SV_E_NOT_FOUND) {
        sv_fail(err, SV_E_STORE_FOREIGN, NULL, "There is no store in this folder.");
        sv_error_detail(err, "%s", spec->folder);
        return SV_E_STORE_FOREIGN;
    }
    /* Its name, too: whoever gave it may have been stopped before this. */
    if (rc == 0 && !spec->read_only) rc = sync_path(spec->folder, O_RDONLY | O_DIRECTORY, err);
    if (rc != 0) return rc;
    if (!spec->read_only) rc = settle_metas(data, file.page_bytes, err);
    if (rc == 0 && !spec->read_only) rc = make_lock(lock, err);
    if (rc != 0) return rc;
    engine *e = calloc(1, sizeof *e);
    if (e == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    e->room_bytes = spec->read_only ? 0 : spec->room_bytes;
    rc = open_env(e, spec, &file, err);
    if (rc != 0) {
        engine_close(e);
        return rc;
    }
    if (!spec->read_only) engine_clear_dead_readers(e);
    *ret = e;
    return 0;
}

void engine_close(engine *e)
{
    if (e == NULL) return;
    int fd = -1, own;
    if (e->env && engine_broken(e) && mdb_env_get_fd(e->env, &own) == 0)
        fd = fcntl(own, F_DUPFD_CLOEXEC, 0);
    if (e->env) mdb_env_close(e->env);
    if (fd >= 0) {
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); /* what is mapped stays */
        close(fd);
    }
    free(e);
}

bool engine_broken(const engine *e)
{
    return atomic_load(&e->broken);
}

/* ---- transactions ---- */

static int begin(engine *e, engine_txn *parent, bool write, engine_txn **ret, sv_error *err)
{
    engine_txn *t = calloc(1, sizeof *t);
    if (t == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    *t = (engine_txn){.engine = e, .parent = parent, .write = write};
    int rc = mdb_txn_begin(e->env, parent ? parent->txn : NULL, write ? 0 : MDB_RDONLY, &t->txn);
    if (rc != 0) {
        free(t);
        return fail(e, rc, write ? "begin of a write" : "begin of a read", err);
    }
    if (!write) atomic_fetch_add(&e->readers, 1);
    *ret = t;
    return 0;
}

int engine_begin(engine *e, bool write, engine_txn **ret, sv_error *err)
{
    return begin(e, NULL, write, ret, err);
}

int engine_nest(engine_txn *parent, engine_txn **ret, sv_error *err)
{
    assert(parent->write);
    return begin(parent->engine, parent, true, ret, err);
}

static bool disk_is_full(engine *e)
{
    int fd;
    struct statvfs s;
    if (mdb_env_get_fd(e->env, &fd) != 0 || fstatvfs(fd, &s) != 0) return false;
    return (uint64_t)s.f_bavail * s.f_frsize < ROOM_LEAST;
}

/* After a commit that failed: is anything but opening anew left? */
static int commit_failed(engine *e, int rc, sv_error *err)
{
    MDB_txn *probe;
    int alive = mdb_txn_begin(e->env, NULL, MDB_RDONLY, &probe);
    if (alive == 0) mdb_txn_abort(probe);
    bool no_room = rc == EIO && disk_is_full(e);
    bool failed = rc > 0 && code_of(rc) == SV_E_STORE_IO && !no_room;
    if (alive == MDB_PANIC || failed) atomic_store(&e->broken, true);
    if (!no_room) return fail(e, rc, "commit", err);
    sv_fail(err, SV_E_STORE_FULL, NULL, NULL);
    sv_error_detail(err, "LMDB, commit: short write, no room on the disk");
    return SV_E_STORE_FULL;
}

/* Blocks behind the end of the file, whose size stays: LMDB writes its next pages there. Without
 * them, as where the file system cannot do it, commits end with the disk's room. */
static void keep_room(engine *e)
{
    int fd;
    MDB_envinfo info;
    MDB_stat stat;
    struct statvfs disk;
    if (e->room_bytes == 0 || mdb_env_info(e->env, &info) || mdb_env_stat(e->env, &stat)) return;
    uint64_t used = ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
    if (used + e->room_bytes / 2 <= e->roomy_to) return;
    if (mdb_env_get_fd(e->env, &fd) || fstatvfs(fd, &disk)) return;
    if ((uint64_t)disk.f_bavail * disk.f_frsize < e->room_bytes * ROOM_SHARE) return;
    if (fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)used, (off_t)e->room_bytes) == 0)
        e->roomy_to = used + e->room_bytes;
}

int engine_commit(engine_txn *t, sv_error *err)
{
    engine *e = t->engine;
    bool write = t->write, nested = t->parent != NULL;
    if (write && t->failed != 0) {
        int code = t->failed;
        engine_abort(t);
        return sv_fail(err, code, NULL, NULL);
    }
    int rc = mdb_txn_commit(t->txn);
    free(t);
    if (!write) atomic_fetch_sub(&e->readers, 1);
    if (rc == 0 && write && !nested) keep_room(e);
    if (rc == 0) return 0;
    return write && !nested ? commit_failed(e, rc, err) : fail(e, rc, "commit", err);
}

void engine_abort(engine_txn *t)
{
    if (t == NULL) return;
    if (!t->write) atomic_fetch_sub(&t->engine->readers, 1);
    mdb_txn_abort(t->txn);
    free(t);
}

/* ---- tables ---- */

int engine_table_open(engine_txn *t, const char *name, bool create, engine_table *ret,
                      sv_error *err)
{
    MDB_dbi dbi;
    int rc = mdb_dbi_open(t->txn, name, create ? MDB_CREATE : 0, &dbi);
    if (rc == MDB_NOTFOUND) return SV_E_NOT_FOUND;
    if (rc != 0) {
        int code = txn_fail(t, rc, "opening a table", err);
        sv_error_detail(err, "table %s", name);
        return code;
    }
    *ret = dbi;
    return 0;
}

int engine_table_clear(engine_txn *t, engine_table table, sv_error *err)
{
    int rc = mdb_drop(t->txn, table, 0);
    return rc == 0 ? 0 : txn_fail(t, rc, "emptying a table", err);
}

/* mdb_drop closes the handle at once, whatever becomes of the transaction: a nested one that is
 * aborted would leave its parent with a table that has no name. */
int engine_table_drop(engine_txn *t, const char *name, sv_error *err)
{
    assert(t->parent == NULL);
    MDB_dbi dbi;
    int rc = mdb_dbi_open(t->txn, name, 0, &dbi);
    if (rc == MDB_NOTFOUND) return 0;
    if (rc == 0) rc = mdb_drop(t->txn, dbi, 1);
    return rc == 0 ? 0 : txn_fail(t, rc, "dropping a table", err);
}

/* The main table holds tables only: engine_file_check has seen to that. */
int engine_table_names(engine_txn *t, int (*fn)(void *arg, sv_str name), void *arg, sv_error *err)
{
    MDB_cursor *c = NULL;
    int rc = mdb_cursor_open(t->txn, MAIN_TABLE, &c);
    MDB_val key, value;
    int stop = 0;
    while (rc == 0 && stop == 0) {
        rc = mdb_cursor_get(c, &key, &value, MDB_NEXT);
        if (rc == 0) stop = fn(arg, str(key));
    }
    if (c) mdb_cursor_close(c);
    if (rc != 0 && rc != MDB_NOTFOUND) return txn_fail(t, rc, "listing tables", err);
    return stop;
}

int engine_table_count(engine_txn *t, engine_table table, engine_table_stat *ret, sv_error *err)
{
    MDB_stat s;
    int rc = mdb_stat(t->txn, table, &s);
    if (rc != 0) return txn_fail(t, rc, "counting", err);
    ret->entries = s.ms_entries;
    ret->pages = s.ms_branch_pages + s.ms_leaf_pages + s.ms_overflow_pages;
    return 0;
}

/* ---- rows ---- */

static int check_key(engine_txn *t, sv_str key, sv_error *err)
{
    if (key.n > 0 && key.n <= LIMIT_STORE_KEY_BYTES) return 0;
    if (t->write && t->failed == 0) t->failed = SV_E_TOO_LARGE;
    return sv_fail(err, SV_E_TOO_LARGE, NULL, "A key has %u bytes; it may have 1 to %u.", key.n,
                   (unsigned)LIMIT_STORE_KEY_BYTES);
}

int engine_get(engine_txn *t, engine_table table, sv_str key, sv_str *ret, sv_error *err)
{
    int rc = check_key(t, key, err);
    if (rc != 0) return rc;
    MDB_val k = val(key), v;
    rc = mdb_get(t->txn, table, &k, &v);
    if (rc != 0) return txn_fail(t, rc, "get", err);
    *ret = str(v);
    return 0;
}

int engine_put(engine_txn *t, engine_table table, sv_str key, sv_str value, bool insert_only,
               sv_error *err)
{
    int rc = check_key(t, key, err);
    if (rc != 0) return rc;
    MDB_val k = val(key), v = val(value);
    rc = mdb_put(t->txn, table, &k, &v, insert_only ? MDB_NOOVERWRITE : 0);
    return rc == 0 ? 0 : txn_fail(t, rc, "put", err);
}

int engine_delete(engine_txn *t, engine_table table, sv_str key, sv_error *err)
{
    int rc = check_key(t, key, err);
    if (rc != 0) return rc;
    MDB_val k = val(key);
    rc = mdb_del(t->txn, table, &k, NULL);
    return rc == 0 ? 0 : txn_fail(t, rc, "delete", err);
}

/* ---- cursors ---- */

int engine_cursor_open(engine_txn *t, engine_table table, engine_cursor **ret, sv_error *err)
{
    engine_cursor *c = calloc(1, sizeof *c);
    if (c == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    c->txn = t;
    int rc = mdb_cursor_open(t->txn, table, &c->cursor);
    if (rc != 0) {
        free(c);
        return txn_fail(t, rc, "opening a cursor", err);
    }
    *ret = c;
    return 0;
}

void engine_cursor_close(engine_cursor *c)
{
    if (c == NULL) return;
    mdb_cursor_close(c->cursor);
    free(c);
}

static int step(engine_cursor *c, MDB_val *key, MDB_cursor_op op, sv_str *ret_key,
                sv_str *ret_value, sv_error *err)
{
    MDB_val value;
    int rc = mdb_cursor_get(c->cursor, key, &value, op);
    if (rc != 0) return txn_fail(c->txn, rc, "reading on", err);
    *ret_key = str(*key);
    *ret_value = str(value);
    return 0;
}

int engine_at_least(engine_cursor *c, sv_str key, sv_str *ret_key, sv_str *ret_value, sv_error *err)
{
    MDB_val k = val(key);
    return step(c, &k, key.n == 0 ? MDB_FIRST : MDB_SET_RANGE, ret_key, ret_value, err);
}

int engine_last_below(engine_cursor *c, sv_str key, sv_str *ret_key, sv_str *ret_value,
                      sv_error *err)
{
    if (key.n == 0) return SV_E_NOT_FOUND;
    MDB_val k = val(key), value;
    int rc = mdb_cursor_get(c->cursor, &k, &value, MDB_SET_RANGE);
    if (rc != 0 && rc != MDB_NOTFOUND) return txn_fail(c->txn, rc, "seeking", err);
    /* Behind the last key the cursor's place is undefined: the last one is what is below. */
    return step(c, &k, rc == 0 ? MDB_PREV : MDB_LAST, ret_key, ret_value, err);
}

int engine_next(engine_cursor *c, sv_str *ret_key, sv_str *ret_value, sv_error *err)
{
    MDB_val k;
    return step(c, &k, MDB_NEXT, ret_key, ret_value, err);
}

int engine_previous(engine_cursor *c, sv_str *ret_key, sv_str *ret_value, sv_error *err)
{
    MDB_val k;
    return step(c, &k, MDB_PREV, ret_key, ret_value, err);
}

/* ---- the whole ---- */

/* Each value of the list is a count and that many page numbers. */
static int count_free(engine *e, uint64_t *ret, sv_error *err)
{
    MDB_txn *txn;
    MDB_cursor *c = NULL;
    int rc = mdb_txn_begin(e->env, NULL, MDB_RDONLY, &txn);
    if (rc != 0) return fail(e, rc, "begin of a read", err);
    rc = mdb_cursor_open(txn, FREE_PAGES, &c);
    uint64_t pages = 0;
    MDB_val key, value;
    while (rc == 0) {
        rc = mdb_cursor_get(c, &key, &value, MDB_NEXT);
        size_t n = 0;
        if (rc == 0 && value.mv_size >= sizeof n) memcpy(&n, value.mv_data, sizeof n);
        pages += n;
    }
    if (c) mdb_cursor_close(c);
    mdb_txn_abort(txn);
    if (rc != MDB_NOTFOUND) return fail(e, rc, "counting free pages", err);
    *ret = pages;
    return 0;
}

int engine_stats(engine *e, bool with_free, engine_stat *ret, sv_error *err)
{
    MDB_envinfo info;
    MDB_stat stat;
    int rc = mdb_env_info(e->env, &info);
    if (rc == 0) rc = mdb_env_stat(e->env, &stat);
    if (rc != 0) return fail(e, rc, "counting", err);
    uint64_t pages = 0;
    if (with_free) rc = count_free(e, &pages, err);
    if (rc != 0) return rc;
    *ret = (engine_stat){.map_bytes = info.me_mapsize,
                         .page_bytes = stat.ms_psize,
                         .file_pages = info.me_last_pgno + 1,
                         .free_pages = pages,
                         .last_txn = info.me_last_txnid,
                         .readers = atomic_load(&e->readers)};
    return 0;
}

uint32_t engine_clear_dead_readers(engine *e)
{
    int dead = 0;
    return mdb_reader_check(e->env, &dead) == 0 && dead > 0 ? (uint32_t)dead : 0;
}

/* LMDB writes on a thread that it starts. That thread takes EINTR for a failure, and after EPIPE it
 * waits for the SIGPIPE that it has blocked: it inherits our mask, so every signal is blocked but
 * those that a fault raises. */
int engine_copy(engine *e, int fd, sv_error *err)
{
    sigset_t all, before;
    sigfillset(&all);
    static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        sigdelset(&all, faults[i]);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = mdb_env_copyfd2(e->env, fd, MDB_CP_COMPACT);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0) return 0;
    /* What goes wrong with the descriptor says nothing about the environment. */
    int code = rc > 0 && rc != ENOMEM ? SV_E_STORE_IO : code_of(rc);
    if (code != SV_E_STORE_IO || rc < 0) return fail(e, rc, "copy", err);
    sv_fail(err, code, NULL, "The copy could not be written.");
    sv_error_detail(err, "LMDB, copy: %s", mdb_strerror(rc));
    return code;
}
