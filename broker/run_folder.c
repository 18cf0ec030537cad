/*  run_folder.c - flock on broker.lock; the file itself stays: removing a lock file is a race. */
#include "run_folder.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const own_files[] = {"bus.ipc",   "curve.ipc", "probe.ipc",
                                        "check.ipc", "bus.key",   "broker.pid"};

struct run_folder {
    int lock_fd;
    char path[3900];
};

int folder_make(const char *path, unsigned mode, sv_error *err)
{
    char part[4096];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof part)
        return sv_fail(err, SV_E_CONFIG, "run", "The folder's path is empty or too long.");
    memcpy(part, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (part[i] != '/' && part[i] != 0) continue;
        part[i] = 0;
        if (mkdir(part, (mode_t)mode) && errno != EEXIST)
            return sv_fail(err, SV_E_IO, NULL, "Cannot make the folder %.180s: %s.", part,
                           strerror(errno));
        part[i] = path[i];
    }
    return 0;
}

static int check_folder(const char *path, sv_error *err)
{
    struct stat st;
    if (stat(path, &st) || !S_ISDIR(st.st_mode))
        return sv_fail(err, SV_E_IO, "run", "%.180s is not a folder.", path);
    if (st.st_uid != geteuid())
        return sv_fail(err, SV_E_CONFIG, "run",
                       "The run folder %.120s belongs to another user (uid %u); set SAMOVAR_RUN to "
                       "a folder of your own.",
                       path, (unsigned)st.st_uid);
    if ((st.st_mode & 077) && chmod(path, 0700))
        return sv_fail(err, SV_E_IO, "run", "Cannot restrict the run folder %.150s: %s.", path,
                       strerror(errno));
    return 0;
}

static int lock(run_folder *r, sv_error *err)
{
    char file[4000], owner[32] = "";
    snprintf(file, sizeof file, "%s/broker.lock", r->path);
    r->lock_fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (r->lock_fd < 0)
        return sv_fail(err, SV_E_IO, "run", "Cannot open %.180s: %s.", file, strerror(errno));
    if (flock(r->lock_fd, LOCK_EX | LOCK_NB) == 0) {
        int n = snprintf(owner, sizeof owner, "%ld\n", (long)getpid());
        if (ftruncate(r->lock_fd, 0) || pwrite(r->lock_fd, owner, (size_t)n, 0) != n)
            return sv_fail(err, SV_E_IO, "run", "Cannot write %.180s: %s.", file, strerror(errno));
        return 0;
    }
    if (errno != EWOULDBLOCK)
        return sv_fail(err, SV_E_IO, "run", "Cannot lock %.180s: %s.", file, strerror(errno));
    ssize_t n = pread(r->lock_fd, owner, sizeof owner - 1, 0);
    owner[n > 0 ? n : 0] = 0;
    return sv_fail(err, SV_E_CONFLICT, "run",
                   "Another broker (pid %ld) holds %.120s; stop it, or set SAMOVAR_DATA or "
                   "SAMOVAR_RUN to another folder.",
                   atol(owner), r->path);
}

static void remove_own(const run_folder *r)
{
    char file[4000];
    for (size_t i = 0; i < sizeof own_files / sizeof *own_files; i++) {
        snprintf(file, sizeof file, "%s/%s", r->path, own_files[i]);
        (void)unlink(file);
    }
}

int run_folder_take(const char *path, run_folder **ret, sv_error *err)
{
    run_folder *r = calloc(1, sizeof *r);
    if (r == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    r->lock_fd = -1;
    int rc = 0;
    if ((size_t)snprintf(r->path, sizeof r->path, "%s", path) >= sizeof r->path)
        rc = sv_fail(err, SV_E_CONFIG, "run", "The run folder's path is too long.");
    if (rc == 0) rc = folder_make(path, 0700, err);
    if (rc == 0) rc = check_folder(path, err);
    if (rc == 0) rc = lock(r, err);
    if (rc) {
        if (r->lock_fd >= 0) close(r->lock_fd);
        free(r);
        return rc;
    }
    remove_own(r);
    *ret = r;
    return 0;
}

int run_folder_write(run_folder *r, const char *name, const char *text, sv_error *err)
{
    char file[4000], tmp[4000];
    snprintf(file, sizeof file, "%s/%s", r->path, name);
    snprintf(tmp, sizeof tmp, "%s/.%s.tmp", r->path, name);
    size_t n = strlen(text);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool ok = fd >= 0 && write(fd, text, n) == (ssize_t)n;
    int why = errno;
    if (fd >= 0) close(fd);
    if (ok && rename(tmp, file) == 0) return 0;
    return sv_fail(err, SV_E_IO, "run", "Cannot write %.180s: %s.", file,
                   strerror(ok ? errno : why));
}

void run_folder_release(run_folder *r)
{
    if (r == NULL) return;
    remove_own(r);
    close(r->lock_fd);
    free(r);
}
