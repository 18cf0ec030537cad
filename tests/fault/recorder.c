/*  recorder.c - a library for LD_PRELOAD that writes down, in order, what a process does to the files
 *  of one folder and what it acknowledges, and lets chosen calls fail. fault.h says how to use it.
 *
 *  A table by descriptor tells which file is open there; it is filled by open and emptied by close.
 *  One lock is held over each call and its record, so the log's order is the order in which things
 *  happened; a sync covers exactly the writes before it in the log. LMDB writes runs of pages by
 *  lseek + writev (the offset is asked for) and its meta page through a second descriptor opened
 *  O_DSYNC, which is durable by itself. fork: the child passes calls on and records nothing. */
#include "fault.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { DESCRIPTORS = 4096, FILES = 256, PARTS = 256 };

typedef struct open_file {
    uint32_t file; /* 0: not watched */
    bool durable, append;
} open_file;

typedef struct known_file {
    dev_t dev;
    ino_t ino;
} known_file;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static open_file table[DESCRIPTORS];
static known_file known[FILES];
static uint32_t n_known;
static char folder[PATH_MAX];
static size_t folder_n;
static int log_fd = -1, ack_fd = -1;

static void fork_prepare(void)
{
    pthread_mutex_lock(&lock);
}

static void fork_parent(void)
{
    pthread_mutex_unlock(&lock);
}

static void fork_child(void)
{
    if (log_fd >= 0) syscall(SYS_close, log_fd);
    log_fd = ack_fd = -1;
    pthread_mutex_unlock(&lock);
}

static void watch(const char *path, const char *log, int acks)
{
    folder_n = 0;
    if (!path || !realpath(path, folder)) return;
    folder_n = strlen(folder);
    if (log)
        log_fd = (int)syscall(SYS_openat, AT_FDCWD, log,
                              O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd >= 0) ack_fd = acks;
}

__attribute__((constructor)) static void start(void)
{
    const char *acks = getenv("FAULT_ACKS");
    watch(getenv("FAULT_FOLDER"), getenv("FAULT_LOG"), acks ? atoi(acks) : -1);
    pthread_atfork(fork_prepare, fork_parent, fork_child);
    faults_start(getenv("FAULT_PAGE"));
}

void fault_restart(const char *path, const char *log, int acks, const char *page)
{
    pthread_mutex_lock(&lock);
    memset(table, 0, sizeof table);
    n_known = 0;
    watch(path, log, acks);
    faults_start(page);
    pthread_mutex_unlock(&lock);
}

/* A log that is not whole proves nothing: better no process than a wrong proof. */
static void log_or_die(const struct iovec *parts, int n, size_t bytes)
{
    if (syscall(SYS_writev, log_fd, parts, n) == (long)bytes) return;
    static const char words[] = "fault recorder: the log cannot be written\n";
    syscall(SYS_write, 2, words, sizeof words - 1);
    _exit(99);
}

static void record(fault_record r, const struct iovec *data, int n)
{
    struct iovec parts[PARTS + 1] = {{&r, sizeof r}};
    size_t left = r.bytes;
    int used = 1;
    if (log_fd < 0) return;
    for (int i = 0; i < n && left; i++) {
        size_t take = data[i].iov_len < left ? data[i].iov_len : left;
        parts[used++] = (struct iovec){data[i].iov_base, take};
        left -= take;
    }
    log_or_die(parts, used, sizeof r + r.bytes);
}

static bool below(const char *path)
{
    return folder_n && strncmp(path, folder, folder_n) == 0 &&
           (path[folder_n] == '/' || path[folder_n] == 0);
}

/* The absolute form of a path whose last part need not exist. */
static bool resolve(int at, const char *path, char ret[PATH_MAX])
{
    if (path[0] == '/') return snprintf(ret, PATH_MAX, "%s", path) < PATH_MAX;
    char base[PATH_MAX], link[64];
    snprintf(link, sizeof link, at == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", at);
    long n = syscall(SYS_readlinkat, AT_FDCWD, link, base, sizeof base - 1);
    if (n < 0) return false;
    base[n] = 0;
    return snprintf(ret, PATH_MAX, "%s/%s", base, path) < PATH_MAX;
}

static bool watched_path(int at, const char *path, char ret[PATH_MAX])
{
    return folder_n && resolve(at, path, ret) && below(ret);
}

static open_file *at_fd(int fd)
{
    return fd >= 0 && fd < DESCRIPTORS && table[fd].file ? &table[fd] : NULL;
}

static int fail(uint32_t error)
{
    errno = (int)error;
    return -1;
}

/* ---- opening and closing ---- */

static void opened(int fd, int flags)
{
    char link[64], path[PATH_MAX];
    struct stat st;
    if (fd >= DESCRIPTORS) return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long n = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    if (n <= 0) return;
    path[n] = 0;
    if (!below(path) || fstat(fd, &st)) return;
    uint32_t file = 0;
    while (file < n_known && (known[file].ino != st.st_ino || known[file].dev != st.st_dev))
        file++;
    if (file == n_known) {
        if (n_known == FILES) return;
        known[n_known++] = (known_file){st.st_dev, st.st_ino};
        struct iovec name = {path, (size_t)n};
        record((fault_record){.kind = FAULT_OPENED,
                              .file = file + 1,
                              .bytes = (uint32_t)n,
                              .folder = S_ISDIR(st.st_mode)},
               &name, 1);
    } else if (flags & O_TRUNC) {
        record((fault_record){.kind = FAULT_TRUNCATE, .file = file + 1}, NULL, 0);
    }
    table[fd] = (open_file){file + 1, (flags & (O_DSYNC | O_SYNC)) != 0, (flags & O_APPEND) != 0};
}

static int open_at(int at, const char *path, int flags, mode_t mode)
{
    char full[PATH_MAX];
    if (!watched_path(at, path, full)) return (int)syscall(SYS_openat, at, path, flags, mode);
    uint32_t error = faults_take(FAULT_ON_OPEN);
    if (error) return fail(error);
    pthread_mutex_lock(&lock);
    int fd = (int)syscall(SYS_openat, at, path, flags, mode);
    int was = errno;
    if (fd >= 0) opened(fd, flags);
    pthread_mutex_unlock(&lock);
    errno = was;
    return fd;
}

static mode_t mode_of(int flags, va_list more)
{
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0;
}

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        va_list more;                                                                              \
        va_start(more, flags);                                                                     \
        mode_t mode = mode_of(flags, more);                                                        \
        va_end(more);                                                                              \
        return open_at(AT_FDCWD, path, flags, mode);                                               \
    }
#define OPEN_AT(name)                                                                              \
    int name(int at, const char *path, int flags, ...)                                             \
    {                                                                                              \
        va_list more;                                                                              \
        va_start(more, flags);                                                                     \
        mode_t mode = mode_of(flags, more);                                                        \
        va_end(more);                                                                              \
        return open_at(at, path, flags, mode);                                                     \
    }
OPEN(open)
OPEN(open64)
OPEN_AT(openat)
OPEN_AT(openat64)

/* What the headers make of open when they know that there is no mode. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int at, const char *path, int flags);
int __open_2(const char *path, int flags)
{
    return open_at(AT_FDCWD, path, flags, 0);
}

int __open64_2(const char *path, int flags)
{
    return open_at(AT_FDCWD, path, flags, 0);
}

int __openat_2(int at, const char *path, int flags)
{
    return open_at(at, path, flags, 0);
}

int creat(const char *path, mode_t mode)
{
    return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int close(int fd)
{
    if (!at_fd(fd)) return (int)syscall(SYS_close, fd);
    pthread_mutex_lock(&lock);
    table[fd].file = 0;
    int rc = (int)syscall(SYS_close, fd);
    pthread_mutex_unlock(&lock);
    return rc;
}

/* ---- writing ---- */

static size_t length(const struct iovec *iov, int n)
{
    size_t all = 0;
    for (int i = 0; i < n; i++)
        all += iov[i].iov_len;
    return all;
}

/* Half of the bytes: `iov` is copied to `half` and cut. */
static int cut(const struct iovec *iov, int n, struct iovec *half)
{
    size_t room = length(iov, n) / 2;
    int used = 0;
    for (int i = 0; i < n && i < PARTS && room; i++) {
        half[used] = iov[i];
        if (half[used].iov_len > room) half[used].iov_len = room;
        room -= half[used++].iov_len;
    }
    return used;
}

static ssize_t write_parts(int fd, const struct iovec *iov, int n, off_t offset)
{
    open_file *f = at_fd(fd);
    bool ack = fd == ack_fd && fd >= 0;
    struct iovec half[PARTS];
    if ((!f && !ack) || n > PARTS)
        return offset < 0 ? syscall(SYS_writev, fd, iov, n)
                          : syscall(SYS_pwritev, fd, iov, n, offset, 0);
    pthread_mutex_lock(&lock);
    uint32_t error = f ? faults_take(FAULT_ON_WRITE) : 0;
    if (error == FAULT_SHORT) {
        n = cut(iov, n, half);
        iov = half;
        error = 0;
    }
    off_t where = offset;
    struct stat st;
    if (f && offset < 0) where = (off_t)syscall(SYS_lseek, fd, 0, SEEK_CUR);
    if (f && f->append && fstat(fd, &st) == 0) where = st.st_size;
    ssize_t done = 0;
    if (!error || error == FAULT_LATE)
        done = offset < 0 ? syscall(SYS_writev, fd, iov, n)
                          : syscall(SYS_pwritev, fd, iov, n, offset, 0);
    int was = errno;
    ssize_t maybe = done > 0 ? done : error == EIO ? (ssize_t)length(iov, n) : 0;
    if (error) {
        was = error == FAULT_LATE ? EIO : (int)error;
        done = -1;
    }
    if (maybe > 0)
        record((fault_record){.kind = ack ? FAULT_ACK : FAULT_WRITE,
                              .file = f ? f->file : 0,
                              .offset = f ? (uint64_t)where : 0,
                              .bytes = (uint32_t)maybe,
                              .result = done < 0 ? was : 0,
                              .durable = f && f->durable},
               iov, n);
    pthread_mutex_unlock(&lock);
    errno = was;
    return done;
}

ssize_t write(int fd, const void *p, size_t n)
{
    struct iovec one = {(void *)p, n};
    return write_parts(fd, &one, 1, -1);
}

ssize_t writev(int fd, const struct iovec *iov, int n)
{
    return write_parts(fd, iov, n, -1);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t offset)
{
    struct iovec one = {(void *)p, n};
    return write_parts(fd, &one, 1, offset);
}

ssize_t pwrite64(int fd, const void *p, size_t n, off64_t offset)
{
    return pwrite(fd, p, n, offset);
}

ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t offset)
{
    return write_parts(fd, iov, n, offset);
}

ssize_t pwritev64(int fd, const struct iovec *iov, int n, off64_t offset)
{
    return write_parts(fd, iov, n, offset);
}

int ftruncate(int fd, off_t length)
{
    open_file *f = at_fd(fd);
    if (!f) return (int)syscall(SYS_ftruncate, fd, length);
    pthread_mutex_lock(&lock);
    uint32_t error = faults_take(FAULT_ON_TRUNCATE);
    int rc = error ? fail(error) : (int)syscall(SYS_ftruncate, fd, length);
    int was = errno;
    if (rc == 0)
        record((fault_record){.kind = FAULT_TRUNCATE, .file = f->file, .offset = (uint64_t)length},
               NULL, 0);
    pthread_mutex_unlock(&lock);
    errno = was;
    return rc;
}

int ftruncate64(int fd, off64_t length)
{
    return ftruncate(fd, length);
}

/* Recorded as a change of length, if it is one. */
static int allocate(int fd, int mode, off_t offset, off_t length_more)
{
    open_file *f = at_fd(fd);
    struct stat st;
    if (!f) return (int)syscall(SYS_fallocate, fd, mode, offset, length_more);
    pthread_mutex_lock(&lock);
    uint32_t error = faults_take(FAULT_ON_TRUNCATE);
    off_t before = fstat(fd, &st) ? 0 : st.st_size;
    int rc = error ? fail(error) : (int)syscall(SYS_fallocate, fd, mode, offset, length_more);
    int was = errno;
    if (rc == 0 && fstat(fd, &st) == 0 && st.st_size != before)
        record(
            (fault_record){.kind = FAULT_TRUNCATE, .file = f->file, .offset = (uint64_t)st.st_size},
            NULL, 0);
    pthread_mutex_unlock(&lock);
    errno = was;
    return rc;
}

int posix_fallocate(int fd, off_t offset, off_t n)
{
    int before = errno, rc = allocate(fd, 0, offset, n) ? errno : 0;
    errno = before;
    return rc;
}

int posix_fallocate64(int fd, off64_t offset, off64_t n)
{
    return posix_fallocate(fd, offset, n);
}

int fallocate(int fd, int mode, off_t offset, off_t n)
{
    return allocate(fd, mode, offset, n);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t n)
{
    return allocate(fd, mode, offset, n);
}

/* ---- syncing ---- */

static int sync_fd(int fd, long number)
{
    open_file *f = at_fd(fd);
    if (!f) return (int)syscall(number, fd);
    pthread_mutex_lock(&lock);
    uint32_t error = faults_take(FAULT_ON_SYNC);
    int rc = error && error != FAULT_LATE ? -1 : (int)syscall(number, fd);
    if (error) rc = fail(error == FAULT_LATE ? EIO : error);
    int was = errno;
    record((fault_record){.kind = FAULT_SYNC, .file = f->file, .result = rc ? was : 0}, NULL, 0);
    pthread_mutex_unlock(&lock);
    errno = was;
    return rc;
}

int fsync(int fd)
{
    return sync_fd(fd, SYS_fsync);
}

int fdatasync(int fd)
{
    return sync_fd(fd, SYS_fdatasync);
}

int msync(void *p, size_t n, int flags)
{
    pthread_mutex_lock(&lock);
    record((fault_record){.kind = FAULT_MSYNC}, NULL, 0);
    pthread_mutex_unlock(&lock);
    return (int)syscall(SYS_msync, p, n, flags);
}

/* ---- reading and mapping: only to fail ---- */

static uint32_t take_for(int fd, uint32_t on)
{
    return at_fd(fd) ? faults_take(on) : 0;
}

ssize_t read(int fd, void *p, size_t n)
{
    uint32_t error = take_for(fd, FAULT_ON_READ);
    return error ? fail(error) : syscall(SYS_read, fd, p, n);
}

ssize_t pread(int fd, void *p, size_t n, off_t offset)
{
    uint32_t error = take_for(fd, FAULT_ON_READ);
    return error ? fail(error) : syscall(SYS_pread64, fd, p, n, offset);
}

ssize_t pread64(int fd, void *p, size_t n, off64_t offset)
{
    return pread(fd, p, n, offset);
}

void *mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset)
{
    uint32_t error = take_for(fd, FAULT_ON_MAP);
    if (error) {
        fail(error);
        return MAP_FAILED;
    }
    return (void *)syscall(SYS_mmap, at, n, prot, flags, fd, offset);
}

void *mmap64(void *at, size_t n, int prot, int flags, int fd, off64_t offset)
{
    return mmap(at, n, prot, flags, fd, offset);
}

/* ---- names ---- */

/* The file loses its last name here: its inode may come back as another file's. */
static void forget(int at, const char *path)
{
    struct stat st;
    if (fstatat(at, path, &st, AT_SYMLINK_NOFOLLOW) || st.st_nlink > 1) return;
    for (uint32_t i = 0; i < n_known; i++)
        if (known[i].ino == st.st_ino && known[i].dev == st.st_dev) known[i] = (known_file){0};
}

static int change_name(int at, const char *from, int to_at, const char *to, int flags)
{
    char full[PATH_MAX], full_to[PATH_MAX];
    bool mine = watched_path(at, from, full) && (!to || watched_path(to_at, to, full_to));
    uint32_t error = mine ? faults_take(FAULT_ON_NAME) : 0;
    if (error) return fail(error);
    pthread_mutex_lock(&lock);
    if (mine && !flags) forget(to ? to_at : at, to ? to : from);
    int rc = (int)(to ? syscall(SYS_renameat2, at, from, to_at, to, flags)
                      : syscall(SYS_unlinkat, at, from, flags));
    int was = errno;
    if (rc == 0 && mine && !(!to && (flags & AT_REMOVEDIR))) {
        struct iovec names[2] = {{full, strlen(full) + 1}, {full_to, to ? strlen(full_to) + 1 : 0}};
        record((fault_record){.kind = FAULT_NAME,
                              .offset = to ? (uint64_t)(unsigned)flags : 0,
                              .bytes = (uint32_t)(names[0].iov_len + names[1].iov_len)},
               names, 2);
    }
    pthread_mutex_unlock(&lock);
    errno = was;
    return rc;
}

int rename(const char *from, const char *to)
{
    return change_name(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int renameat(int at, const char *from, int to_at, const char *to)
{
    return change_name(at, from, to_at, to, 0);
}

int renameat2(int at, const char *from, int to_at, const char *to, unsigned flags)
{
    return change_name(at, from, to_at, to, (int)flags);
}

int unlink(const char *path)
{
    return change_name(AT_FDCWD, path, AT_FDCWD, NULL, 0);
}

int unlinkat(int at, const char *path, int flags)
{
    return change_name(at, path, AT_FDCWD, NULL, flags);
}

int mkdir(const char *path, mode_t mode)
{
    char full[PATH_MAX];
    uint32_t error = watched_path(AT_FDCWD, path, full) ? faults_take(FAULT_ON_NAME) : 0;
    return error ? fail(error) : (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}
