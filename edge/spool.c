/*  spool.c - O_TMPFILE where the file system has it, else a name that is taken away at once. */
#include "spool.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int failed(const char *what, int why, sv_error *err)
{
    bool full = why == ENOSPC || why == EDQUOT || why == EFBIG;
    int rc = sv_fail(err, full ? SV_E_STORE_FULL : SV_E_IO, NULL, NULL);
    sv_error_detail(err, "%s: %s", what, strerrordesc_np(why));
    return rc;
}

static int open_named(const char *folder)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/upload-XXXXXX", folder);
    if (n < 0 || (size_t)n >= sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0) unlink(path);
    return fd;
}

int spool_open(const char *folder, sv_error *err)
{
    if (mkdir(folder, 0700) && errno != EEXIST) return failed(folder, errno, err);
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) fd = open_named(folder);
    return fd < 0 ? failed(folder, errno, err) : fd;
}

void spool_close(int fd)
{
    if (fd >= 0) close(fd);
}

int spool_add(int fd, sv_str bytes, sv_error *err)
{
    while (bytes.n > 0) {
        ssize_t n = write(fd, bytes.p, bytes.n);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return failed("write", n ? errno : ENOSPC, err);
        bytes = (sv_str){bytes.p + n, bytes.n - (uint32_t)n};
    }
    return 0;
}

int spool_read(int fd, uint64_t at, void *to, size_t n, sv_error *err)
{
    char *p = to;
    while (n > 0) {
        ssize_t got = pread(fd, p, n, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return failed("read", got ? errno : EIO, err);
        p += got;
        at += (uint64_t)got;
        n -= (size_t)got;
    }
    return 0;
}
