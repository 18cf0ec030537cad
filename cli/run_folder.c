/*  run_folder.c - made before anything is started, so that the error comes first. */
#include "run_folder.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int make_path(const char *folder)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s", folder) >= (int)sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    for (char *p = path + 1; *p; p++) {
        if (*p != '/') continue;
        *p = 0;
        if (mkdir(path, 0700) && errno != EEXIST) return -1;
        *p = '/';
    }
    return mkdir(path, 0700) && errno != EEXIST ? -1 : 0;
}

int run_folder_make(const config *c, sv_error *err)
{
    const char *data = config_data(c), *run = config_run(c);
    struct stat st;
    if (strlen(run) > RUN_FOLDER_MAX)
        return sv_fail(
            err, SV_E_TOO_LARGE, "run",
            "The run folder's path has %zu bytes, at most %d fit a socket's address. Set "
            "SAMOVAR_RUN to a short folder, e.g. /tmp/samovar-%u",
            strlen(run), RUN_FOLDER_MAX, (unsigned)geteuid());
    if (make_path(data) || stat(data, &st))
        return sv_fail(
            err, SV_E_IO, "data",
            "The data folder %.150s cannot be made: %s. Choose another: SAMOVAR_DATA=...", data,
            strerror(errno));
    if (!S_ISDIR(st.st_mode) || access(data, R_OK | W_OK | X_OK))
        return sv_fail(
            err, SV_E_IO, "data",
            "The data folder %.150s cannot be written: %s. Choose another: SAMOVAR_DATA=...", data,
            S_ISDIR(st.st_mode) ? strerror(errno) : "it is not a folder");
    if (make_path(run) || lstat(run, &st))
        return sv_fail(err, SV_E_IO, "run",
                       "The run folder %s cannot be made: %s. Choose another: SAMOVAR_RUN=...", run,
                       strerror(errno));
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid())
        return sv_fail(err, SV_E_IO, "run",
                       "The run folder %s is %s. Choose another: SAMOVAR_RUN=...", run,
                       S_ISDIR(st.st_mode) ? "somebody else's" : "not a folder");
    if ((st.st_mode & 07777) != 0700 && chmod(run, 0700))
        return sv_fail(err, SV_E_IO, "run", "The run folder %s cannot be made private: %s.", run,
                       strerror(errno));
    return 0;
}

int run_folder_lock(const config *c, int *ret_fd, sv_error *err)
{
    char path[PATH_MAX], text[32] = "";
    snprintf(path, sizeof path, "%s/supervisor.lock", config_run(c));
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return sv_fail(err, SV_E_IO, "run", "The lock %s cannot be made: %s.", path,
                       strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        int saved = errno;
        ssize_t n = read(fd, text, sizeof text - 1);
        int pid = n > 0 ? (int)strtol(text, NULL, 10) : 0;
        close(fd);
        if (saved != EWOULDBLOCK)
            return sv_fail(err, SV_E_IO, "run", "The lock %s cannot be taken: %s.", path,
                           strerror(saved));
        return sv_fail(
            err, SV_E_CONFLICT, "data",
            "Samovar runs already on %.100s (process %d). Stop it with Ctrl-C in its "
            "terminal or: kill %d. A second one needs its own SAMOVAR_DATA and SAMOVAR_PORT",
            config_data(c), pid, pid);
    }
    int n = snprintf(text, sizeof text, "%d\n", (int)getpid());
    if (ftruncate(fd, 0) || pwrite(fd, text, (size_t)n, 0) != n) {
        int saved = errno;
        close(fd);
        return sv_fail(err, SV_E_IO, "run", "The lock %s cannot be written: %s.", path,
                       strerror(saved));
    }
    *ret_fd = fd;
    return 0;
}

bool run_folder_held(const config *c)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/supervisor.lock", config_run(c));
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return false;
    bool held = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    close(fd);
    return held;
}
