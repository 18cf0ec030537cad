/*  private_file.c - the bytes go to a temporary file that is synced and then linked to its name, so
 *  that a name is taken at most once and never seen half-written. */
#include "private_file.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t w = write(fd, p, n);
        if (w < 0 && errno == EINTR) continue;
        if (w <= 0) return -1;
        p += w;
        n -= (size_t)w;
    }
    return 0;
}

static int io(sv_error *err, const char *path, const char *what)
{
    return sv_fail(err, SV_E_IO, "path", "%s cannot be %s: %s.", path, what, strerror(errno));
}

/* The folder of `path` and its parents. */
static int make_folder(const char *path, sv_error *err)
{
    char *folder = strdup(path);
    if (folder == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    int rc = 0;
    for (char *at = strchr(folder + 1, '/'); at && rc == 0; at = strchr(at + 1, '/')) {
        *at = 0;
        if (mkdir(folder, 0700) && errno != EEXIST) rc = io(err, folder, "made");
        *at = '/';
    }
    free(folder);
    return rc;
}

static int sync_folder(const char *path, sv_error *err)
{
    char *folder = strdup(path);
    if (folder == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    char *slash = strrchr(folder, '/');
    if (slash) slash[slash == folder] = 0;
    int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 || fsync(fd) ? io(err, folder, "synced") : 0;
    if (fd >= 0) close(fd);
    free(folder);
    return rc;
}

int private_file_write(const char *path, sv_str bytes, sv_error *err)
{
    char tmp[4096];
    int n = snprintf(tmp, sizeof tmp, "%s.%ld.tmp", path, (long)getpid());
    if (n < 0 || (size_t)n >= sizeof tmp)
        return sv_fail(err, SV_E_CONFIG, "path", "The path of a key file is too long.");
    int rc = make_folder(path, err);
    if (rc) return rc;
    (void)unlink(tmp); /* of a process that had this number and died */
    int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return io(err, path, "created");
    /* fchmod: the umask must not decide. */
    if (fchmod(fd, 0600) || write_all(fd, bytes.p, bytes.n) || fsync(fd))
        rc = io(err, path, "written");
    close(fd);
    if (rc == 0 && link(tmp, path))
        rc = errno == EEXIST ? sv_fail(err, SV_E_CONFLICT, "path",
                                       "%s exists already and is not replaced.", path)
                             : io(err, path, "created");
    (void)unlink(tmp);
    return rc ? rc : sync_folder(path, err);
}

int private_file_replace(const char *from, const char *to, sv_error *err)
{
    return rename(from, to) ? io(err, to, "replaced") : sync_folder(to, err);
}

static int check_private(int fd, const char *path, const char *what, sv_error *err)
{
    struct stat st;
    if (fstat(fd, &st)) return io(err, path, "examined");
    if (!S_ISREG(st.st_mode))
        return sv_fail(err, SV_E_CONFIG, "path", "%s is not a regular file.", path);
    bool given = st.st_uid == 0 && geteuid() != 0;
    if (st.st_mode & (given ? 037u : 077u))
        return sv_fail(
            err, SV_E_CONFIG, "path",
            "%s holds %s, and others may read or change it (mode %04o); run: chmod 600 %s", path,
            what, (unsigned)(st.st_mode & 07777), path);
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return sv_fail(err, SV_E_CONFIG, "path",
                       "%s holds %s and belongs to another user (uid %u).", path, what,
                       (unsigned)st.st_uid);
    return 0;
}

ssize_t private_file_read_fd(int fd, void *to, size_t size)
{
    size_t n = 0;
    while (n < size) {
        ssize_t r = pread(fd, (char *)to + n, size - n, (off_t)n);
        if (r < 0 && errno == EINTR) continue;
        if (r < 0) return -1;
        if (r == 0) break;
        n += (size_t)r;
    }
    return (ssize_t)n;
}

int private_file_read(const char *path, const char *what, void *to, size_t size, size_t *ret_n,
                      sv_error *err)
{
    /* O_NONBLOCK: opening a FIFO must not wait for a writer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        bool missing = errno == ENOENT || errno == ENOTDIR;
        bool refused = errno == EACCES || errno == ELOOP;
        return sv_fail(err,
                       missing   ? SV_E_NOT_FOUND
                       : refused ? SV_E_CONFIG
                                 : SV_E_IO,
                       "path", "%s, which holds %s, cannot be opened: %s.", path, what,
                       strerror(errno));
    }
    struct stat st;
    int rc = check_private(fd, path, what, err);
    ssize_t n = rc == 0 ? private_file_read_fd(fd, to, size) : 0;
    if (n < 0) rc = io(err, path, "read");
    if (rc == 0 && fstat(fd, &st) == 0 && st.st_size > n)
        rc = sv_fail(err, SV_E_CONFIG, "path", "%s is too large to hold %s.", path, what);
    close(fd);
    if (rc == 0) *ret_n = (size_t)n;
    return rc;
}
