/*  backup.c - copies of an environment, and putting another in its place.
 *
 *  A copy goes engine -> pipe -> hash -> fd: a thread of its own lets the engine write into the
 *  pipe, the caller's thread hashes and passes on. It holds the gate shared all the time. When
 *  somebody wants the gate exclusively (stop_copies) the caller's side, which never blocks for
 *  long, closes the pipe; that ends the engine's side.
 *
 *  A replacement swaps the two data.mdb by one rename, so that whenever the process dies the name
 *  leads to a whole environment. lock.mdb tells of a data file's readers: with the engine closed
 *  there are none, it is removed. */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 65536, PATH_BYTES = 4200, LOOK_MS = 50 };

static int io_fail(sv_error *err, int error, const char *what, const char *path)
{
    int code = error == ENOSPC || error == EDQUOT ? SV_E_STORE_FULL : SV_E_STORE_IO;
    sv_fail(err, code, NULL, "%s: %s.", what, strerror(error));
    if (path) sv_error_detail(err, "%s", path);
    return code;
}

/* ---- copy ---- */

typedef struct copy {
    store *s;
    int in, out, fd; /* the pipe's two ends; the target */
    size_t most;     /* bytes that the target takes without blocking for long */
    file_hash hash;
    uint64_t bytes;
    int engine_rc;
    sv_error engine_err;
} copy;

static void *copy_engine(void *arg)
{
    copy *c = arg;
    c->engine_rc = engine_copy(c->s->engine, c->out, &c->engine_err);
    close(c->out);
    return NULL;
}

/* Waits until `fd` is ready. False: the copy has to stop. */
static bool wait_ready(copy *c, int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    while (!atomic_load(&c->s->stop_copies)) {
        int n = poll(&p, 1, LOOK_MS);
        if (n > 0 || (n < 0 && errno != EINTR)) return true; /* an error shows at read or write */
    }
    return false;
}

static int stopped(sv_error *err)
{
    return sv_fail(err, SV_E_STORE_IO, NULL,
                   "The copy was stopped: the store is being opened again.");
}

static int pass_on(copy *c, const char *p, size_t n, sv_error *err)
{
    while (n > 0) {
        if (!wait_ready(c, c->fd, POLLOUT)) return stopped(err);
        ssize_t done = write(c->fd, p, n < c->most ? n : c->most);
        if (done < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (done < 0) return io_fail(err, errno, "The copy could not be written", NULL);
        p += done;
        n -= (size_t)done;
    }
    return 0;
}

static int pump(copy *c, sv_error *err)
{
    char piece[PIECE];
    for (;;) {
        if (!wait_ready(c, c->in, POLLIN)) return stopped(err);
        ssize_t n = read(c->in, piece, sizeof piece);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return io_fail(err, errno, "The copy could not be read", NULL);
        if (n == 0) return 0;
        file_hash_add(&c->hash, piece, (size_t)n);
        c->bytes += (uint64_t)n;
        int rc = pass_on(c, piece, (size_t)n, err);
        if (rc) return rc;
    }
}

/* A target that nobody reads any more answers EPIPE instead of ending the process. */
static int pump_quietly(copy *c, sv_error *err)
{
    sigset_t pipe_only, before, pending;
    struct timespec now = {0};
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
    sigpending(&pending);
    int rc = pump(c, err);
    if (!sigismember(&pending, SIGPIPE)) sigtimedwait(&pipe_only, NULL, &now);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

static int run_copy(copy *c, sv_error *err)
{
    int ends[2];
    pthread_t thread;
    struct stat st;
    if (fstat(c->fd, &st)) return io_fail(err, errno, "The copy could not be written", NULL);
    c->most = S_ISREG(st.st_mode) ? PIECE : PIPE_BUF;
    if (pipe2(ends, O_CLOEXEC)) return io_fail(err, errno, "A pipe could not be made", NULL);
    c->in = ends[0];
    c->out = ends[1];
    if (pthread_create(&thread, NULL, copy_engine, c)) {
        close(c->in);
        close(c->out);
        return sv_fail(err, SV_E_NO_MEMORY, NULL, "The copy's thread could not be started.");
    }
    int rc = pump_quietly(c, err);
    close(c->in);
    pthread_join(thread, NULL);
    if (rc == 0 && c->engine_rc) {
        rc = c->engine_rc;
        if (err && err->code == 0) *err = c->engine_err;
    }
    return rc;
}

int store_backup(store *s, int fd, store_copy *ret, sv_error *err)
{
    store_stat before;
    copy c = {.s = s, .fd = fd};
    file_hash_start(&c.hash);
    int rc = store_stats(s, false, &before, err);
    if (rc) return rc;
    pthread_rwlock_rdlock(&s->gate);
    if (s->engine)
        rc = run_copy(&c, err);
    else
        rc = sv_fail(err, SV_E_STORE_IO, NULL, "The store is being opened again.");
    pthread_rwlock_unlock(&s->gate);
    if (rc) return rc;
    *ret = (store_copy){.bytes = c.bytes,
                        .version = before.version,
                        .epoch = before.epoch,
                        .last_txn = before.last_txn};
    file_hash_end(&c.hash, ret->hash);
    return 0;
}

/* ---- replace ---- */

static int sync_path(const char *path, sv_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 || fsync(fd) ? errno : 0;
    if (fd >= 0) close(fd);
    return rc ? io_fail(err, rc, "A file could not be written to the disk", path) : 0;
}

typedef struct swap {
    char own[PATH_BYTES], other[PATH_BYTES], aside[PATH_BYTES];
    const char *own_folder, *other_folder;
} swap;

static int swap_init(swap *w, const char *own_folder, const char *other_folder, sv_error *err)
{
    *w = (swap){.own_folder = own_folder, .other_folder = other_folder};
    int a = snprintf(w->own, PATH_BYTES, "%s/data.mdb", own_folder);
    int b = snprintf(w->other, PATH_BYTES, "%s/data.mdb", other_folder);
    int c = snprintf(w->aside, PATH_BYTES, "%s/data.mdb.former", other_folder);
    if (a < PATH_BYTES && b < PATH_BYTES && c < PATH_BYTES) return 0;
    return sv_fail(err, SV_E_INVALID, "folder", "The path is too long.");
}

/* The two names change places. `own` leads to a whole file at every moment, also where the file
 * system cannot exchange names. */
static int exchange(const swap *w, sv_error *err)
{
    if (renameat2(AT_FDCWD, w->own, AT_FDCWD, w->other, RENAME_EXCHANGE) == 0) return 0;
    if (errno == EINVAL || errno == ENOSYS) {
        unlink(w->aside);
        if (link(w->own, w->aside) == 0 && rename(w->other, w->own) == 0 &&
            rename(w->aside, w->other) == 0)
            return 0;
    }
    return io_fail(err, errno, "The environments could not be swapped", w->other);
}

static void remove_lock(const char *folder)
{
    char path[PATH_BYTES];
    if (snprintf(path, sizeof path, "%s/lock.mdb", folder) < PATH_BYTES) unlink(path);
}

static int settle(const swap *w, sv_error *err)
{
    remove_lock(w->own_folder);
    remove_lock(w->other_folder);
    int rc = sync_path(w->own_folder, err);
    return rc ? rc : sync_path(w->other_folder, err);
}

/* What belongs to the environment that is in place. */
typedef struct standing {
    keyring *keys;
    uint64_t epoch, acked_txn;
} standing;

/* The other environment in place and open, or the former one in place and closed. Gate held. */
static int replace(store *s, const swap *w, sv_error *err)
{
    standing old = {s->keys, s->epoch, s->acked_txn};
    sv_error why = {.code = 0};
    int rc = sync_path(w->other, err);
    if (rc == 0) rc = exchange(w, err);
    if (rc) return rc;
    s->keys = NULL;
    rc = settle(w, err);
    if (rc == 0) rc = store_enter(s, true, err);
    if (rc == 0) {
        keyring_free(old.keys);
        return 0;
    }
    keyring_free(s->keys);
    s->keys = old.keys;
    s->epoch = old.epoch;
    s->acked_txn = old.acked_txn;
    s->fenced = true;
    if (exchange(w, &why) || settle(w, &why))
        store_tell(s, STORE_ALARM, "the former data could not be put back", "%s: %s", w->other,
                   why.message);
    return rc;
}

/* The outcome for the writer: it goes on, or tries to open what is there. */
static void go_on(store *s, bool replaced)
{
    pthread_mutex_lock(&s->mutex);
    if (replaced) {
        s->refused = 0;
        s->state = STORE_READY;
    } else if (s->engine == NULL) {
        s->state = STORE_FAILING;
        s->retry_at_us = 0;
    }
    pthread_mutex_unlock(&s->mutex);
}

int store_replace(store *s, const char *folder_new, sv_error *err)
{
    swap w;
    if (!s->running)
        return sv_fail(err, SV_E_INVALID, "folder", "The store is open for reading only.");
    int rc = swap_init(&w, s->folder, folder_new, err);
    if (rc) return rc;
    writer_pause(s);
    store_shut(s);
    rc = replace(s, &w, err);
    if (rc) {
        sv_error why = {.code = 0};
        if (store_enter(s, false, &why))
            store_tell(s, STORE_ALARM, "the former data could not be opened", "%s: %s", s->folder,
                       why.message);
    } else {
        env_lock_note(&s->lock, s->spec.schema->service, s->epoch, NULL);
    }
    go_on(s, rc == 0);
    store_unshut(s);
    writer_resume(s);
    if (rc == 0) store_tell(s, STORE_NOTE, "the store was replaced", "%s", s->folder);
    return rc;
}
