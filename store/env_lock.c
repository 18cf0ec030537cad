/*  env_lock.c - flock(2) on the folder's file `owner`, and who has it written into that file.
 *
 *  The lock belongs to the open file, so it goes with the process however that ends. The line in
 *  the file is for people and for error messages only: nothing trusts it, it stays when the lock is
 *  given back, and a full disk may keep it from being written. env_lock_holder asks by taking the
 *  lock shared for a moment, so taking it exclusively tries a few times. */
#include "env_lock.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { TRIES = 5, TRY_MS = 5, LINE = 160, PATH = 4096 };

static int io_fail(const char *what, const char *path, sv_error *err)
{
    int saved = errno;
    sv_fail(err, SV_E_IO, NULL, "The store's folder cannot be used: %s.", strerror(saved));
    sv_error_detail(err, "%s %s: %s", what, path, strerror(saved));
    return SV_E_IO;
}

/* A new folder's name is in its parent: without this it may be gone after a loss of power. Where
 * the parent may not be read, the system decides. */
static void sync_parent(const char *path)
{
    char parent[PATH];
    const char *slash = strrchr(path, '/');
    int n = slash == NULL || slash == path ? 1 : (int)(slash - path);
    snprintf(parent, sizeof parent, "%.*s", n, slash == NULL ? "." : path);
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    fsync(fd);
    close(fd);
}

static int make_folder(const char *folder, sv_error *err)
{
    char path[PATH];
    if (snprintf(path, sizeof path, "%s", folder) >= (int)sizeof path) {
        errno = ENAMETOOLONG;
        return io_fail("making", folder, err);
    }
    for (char *p = path + 1;; p++) {
        if (*p != '/' && *p != '\0') continue;
        char end = *p;
        *p = '\0';
        if (mkdir(path, 0700) == 0)
            sync_parent(path);
        else if (errno != EEXIST)
            return io_fail("making", path, err);
        if (end == '\0') break;
        *p = end;
    }
    struct stat st;
    if (stat(folder, &st) != 0) return io_fail("making", folder, err);
    if (S_ISDIR(st.st_mode)) return 0;
    errno = ENOTDIR;
    return io_fail("making", folder, err);
}

static int owner_path(const char *folder, char path[PATH], sv_error *err)
{
    if (snprintf(path, PATH, "%s/owner", folder) < PATH) return 0;
    errno = ENAMETOOLONG;
    return io_fail("locking", folder, err);
}

/* The pid the file names, 0 when it names none: whoever could write there could write anything. */
static int read_pid(int fd)
{
    char line[LINE];
    ssize_t n = pread(fd, line, sizeof line - 1, 0);
    if (n <= 0) return 0;
    line[n] = '\0';
    int pid = 0;
    size_t i = 0;
    for (; line[i] >= '0' && line[i] <= '9'; i++) {
        if (i == 9) return 0;
        pid = pid * 10 + (line[i] - '0');
    }
    return line[i] == ' ' ? pid : 0;
}

/* Over what is there, so that it takes no room of the disk but for the first time. */
static int write_line(int fd, const char *service, uint64_t epoch)
{
    char line[LINE];
    int n = snprintf(line, sizeof line, "%d %llu %.64s\n", (int)getpid(), (unsigned long long)epoch,
                     service);
    if (pwrite(fd, line, (size_t)n, 0) == n && ftruncate(fd, n) == 0) return 0;
    return errno == ENOSPC || errno == EDQUOT ? 0 : -1;
}

static int locked(int fd, sv_error *err)
{
    int pid = read_pid(fd);
    if (pid == 0) return sv_fail(err, SV_E_STORE_LOCKED, NULL, NULL);
    return sv_fail(err, SV_E_STORE_LOCKED, NULL,
                   "The process %d has this environment open: stop it first.", pid);
}

/* 0, SV_E_STORE_LOCKED, or errno's value. */
static int lock_exclusively(int fd)
{
    for (int i = 0; i < TRIES; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) return 0;
        if (errno != EWOULDBLOCK && errno != EINTR) return errno;
        nanosleep(&(struct timespec){0, TRY_MS * 1000000L}, NULL);
    }
    return SV_E_STORE_LOCKED;
}

/* Is the open file still the one that the path names? */
static bool same_file(int fd, const char *path)
{
    struct stat a, b;
    return fstat(fd, &a) == 0 && lstat(path, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

int env_lock_take(env_lock *l, const char *folder, const char *service, sv_error *err)
{
    l->fd = -1;
    char path[PATH];
    int rc = make_folder(folder, err);
    if (rc == 0) rc = owner_path(folder, path, err);
    if (rc != 0) return rc;
    for (int i = 0; i < TRIES; i++) {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
        if (fd < 0) return io_fail("opening", path, err);
        rc = lock_exclusively(fd);
        if (rc == SV_E_STORE_LOCKED) locked(fd, err);
        if (rc > 0) {
            errno = rc;
            rc = io_fail("locking", path, err);
        }
        if (rc == 0 && same_file(fd, path)) {
            l->fd = fd;
            rc = env_lock_note(l, service, 0, err);
            if (rc != 0) env_lock_give(l);
            return rc;
        }
        close(fd);
        if (rc != 0) return rc;
    }
    return sv_fail(err, SV_E_STORE_LOCKED, NULL, NULL);
}

int env_lock_note(env_lock *l, const char *service, uint64_t epoch, sv_error *err)
{
    if (write_line(l->fd, service, epoch) == 0) return 0;
    if (errno != ENOSPC && errno != EDQUOT) return io_fail("writing", "owner", err);
    (void)!ftruncate(l->fd,
                     0); /* a store on a full disk can still be read: better without a line */
    return 0;
}

void env_lock_give(env_lock *l)
{
    if (l->fd >= 0) close(l->fd);
    l->fd = -1;
}

int env_lock_holder(const char *folder)
{
    char path[PATH];
    if (owner_path(folder, path, NULL) != 0) return 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return 0;
    bool held = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    int pid = held ? read_pid(fd) : 0;
    close(fd);
    return held && pid == 0 ? INT_MAX : pid;
}
