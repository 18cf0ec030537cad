/*  restore.c - a few renames, each synced before the next, so that a restore which is killed leaves
 *  either the former data or the new one in place, and never loses the former. */
#include "restore.h"

#include "error.h"
#include "seal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 32768 };

static int io(sv_error *err, const char *what, const char *path)
{
    return sv_fail(err, errno == ENOSPC || errno == EDQUOT ? SV_E_STORE_FULL : SV_E_IO, NULL,
                   "%.150s cannot be %s: %s.", path, what, strerror(errno));
}

static int join(const char *folder, const char *rest, char ret[STATE_PATH], sv_error *err)
{
    if (snprintf(ret, STATE_PATH, "%s%s", folder, rest) < STATE_PATH) return 0;
    return sv_fail(err, SV_E_IO, "data", "The path of %.100s is too long.", folder);
}

int restore_paths(const char *folder, char copy[STATE_PATH], char former[STATE_PATH], sv_error *err)
{
    int rc = join(folder, ".restore", copy, err);
    return rc ? rc : join(folder, ".before-restore", former, err);
}

int restore_sync(const char *path, sv_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 || fsync(fd) ? io(err, "synced", path) : 0;
    if (fd >= 0) close(fd);
    return rc;
}

/* The folder that `path` lies in. */
static int sync_parent(const char *path, sv_error *err)
{
    char parent[STATE_PATH];
    const char *slash = strrchr(path, '/');
    if (slash == NULL) return restore_sync(".", err);
    snprintf(parent, sizeof parent, "%.*s", (int)(slash == path ? 1 : slash - path), path);
    return restore_sync(parent, err);
}

static int remove_file(const char *path, sv_error *err)
{
    return unlink(path) == 0 || errno == ENOENT ? 0 : io(err, "removed", path);
}

/* Only files that this program puts there: anything else stays. */
static int remove_files(const char *folder, sv_error *err)
{
    static const char *const names[] = {"/data.mdb", "/data.mdb.former", "/lock.mdb", "/verified",
                                        "/verified.new"};
    char path[STATE_PATH];
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof names / sizeof *names; i++)
        if ((rc = join(folder, names[i], path, err)) == 0) rc = remove_file(path, err);
    return rc;
}

static int remove_folder(const char *folder, sv_error *err)
{
    int rc = remove_files(folder, err);
    if (rc == 0 && rmdir(folder) && errno != ENOENT) rc = io(err, "removed", folder);
    return rc;
}

int restore_hash(const char *path, char hash[65], uint64_t *ret_bytes, sv_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return io(err, "read", path);
    char piece[PIECE];
    file_hash h;
    uint64_t bytes = 0;
    ssize_t n;
    file_hash_start(&h);
    while ((n = read(fd, piece, sizeof piece)) > 0 || (n < 0 && errno == EINTR)) {
        if (n < 0) continue;
        file_hash_add(&h, piece, (size_t)n);
        bytes += (uint64_t)n;
    }
    int rc = n < 0 ? io(err, "read", path) : 0;
    close(fd);
    file_hash_end(&h, hash);
    if (ret_bytes) *ret_bytes = bytes;
    return rc;
}

static int no_copy(const char *copy, sv_error *err)
{
    return sv_fail(err, SV_E_NOT_FOUND, NULL, "There is no verified copy in %.150s.", copy);
}

int restore_hold(const char *folder, bool make, int *ret_fd, sv_error *err)
{
    char copy[STATE_PATH], former[STATE_PATH];
    int rc = restore_paths(folder, copy, former, err);
    if (rc) return rc;
    if (make && mkdir(copy, 0700) && errno != EEXIST) return io(err, "made", copy);
    int fd = open(copy, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) return no_copy(copy, err);
    if (fd < 0) return io(err, "opened", copy);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        *ret_fd = fd;
        return 0;
    }
    close(fd);
    return sv_fail(err, SV_E_OVERLOADED, NULL, "Another restore works in %.150s.", copy);
}

/* The mark's hash; SV_E_NOT_FOUND without one. */
static int read_mark(const char *copy, char hash[65], sv_error *err)
{
    char path[STATE_PATH];
    int rc = join(copy, "/verified", path, err);
    if (rc) return rc;
    FILE *f = fopen(path, "re");
    bool good = f && fscanf(f, "%64[0-9a-f]", hash) == 1 && strlen(hash) == 64;
    if (f) fclose(f);
    return good ? 0 : no_copy(copy, err);
}

int restore_mark(const char *folder, const char hash[65], sv_error *err)
{
    char copy[STATE_PATH], former[STATE_PATH], path[STATE_PATH], draft[STATE_PATH];
    int rc = restore_paths(folder, copy, former, err);
    if (rc == 0) rc = join(copy, "/verified", path, err);
    if (rc == 0) rc = join(copy, "/verified.new", draft, err);
    if (rc) return rc;
    int fd = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return io(err, "written", draft);
    bool good = write(fd, hash, 64) == 64 && fsync(fd) == 0;
    if (!good) rc = io(err, "written", draft);
    close(fd);
    if (rc == 0 && rename(draft, path)) rc = io(err, "written", path);
    return rc ? rc : restore_sync(copy, err);
}

/* The one of two names that holds what was there before, in a file system that cannot exchange two
 * files: a second name keeps the former data while the copy takes its place, so that the
 * environment has a file at every moment. */
static int exchange_by_link(const char *from, const char *to, const char *second)
{
    if (link(to, second) || rename(from, to)) return -1;
    return rename(second, from);
}

/* Does FOLDER.restore hold the bytes its mark names? */
static int compare(const char *copy, bool *ret_same, sv_error *err)
{
    char wanted[65], hash[65], path[STATE_PATH];
    int rc = read_mark(copy, wanted, err);
    if (rc == 0) rc = join(copy, "/data.mdb", path, err);
    if (rc == 0) rc = restore_hash(path, hash, NULL, err);
    if (rc == 0) *ret_same = strcmp(wanted, hash) == 0;
    return rc;
}

int restore_check(const char *folder, sv_error *err)
{
    char copy[STATE_PATH], former[STATE_PATH];
    bool same = false;
    int rc = restore_paths(folder, copy, former, err);
    if (rc == 0) rc = compare(copy, &same, err);
    if (rc == 0 && !same)
        rc = sv_fail(err, SV_E_STORE_DAMAGED, NULL,
                     "The data in %.150s is not what was verified: restore it again.", copy);
    return rc;
}

int restore_drop(const char *folder, sv_error *err)
{
    char copy[STATE_PATH], former[STATE_PATH];
    int rc = restore_paths(folder, copy, former, err);
    return rc ? rc : remove_folder(copy, err);
}

/* The former data goes to its place; the folder that is held stays. */
static int keep_former(const char *copy, const char *former, sv_error *err)
{
    char from[STATE_PATH], to[STATE_PATH];
    int rc = join(copy, "/data.mdb", from, err);
    if (rc == 0) rc = join(former, "/data.mdb", to, err);
    if (rc == 0) rc = remove_folder(former, err);
    if (rc) return rc;
    if (mkdir(former, 0700) || rename(from, to)) return io(err, "kept", former);
    rc = restore_sync(former, err);
    return rc ? rc : sync_parent(former, err);
}

int restore_clear(const char *folder, bool *ret_exchanged, sv_error *err)
{
    char copy[STATE_PATH], former[STATE_PATH], data[STATE_PATH], second[STATE_PATH];
    bool same = true;
    int rc = restore_paths(folder, copy, former, err);
    if (rc == 0) rc = join(copy, "/data.mdb", data, err);
    if (rc == 0) rc = join(copy, "/data.mdb.former", second, err);
    if (rc) return rc;
    if (access(data, F_OK) && access(second, F_OK) == 0 && rename(second, data))
        return io(err, "renamed", second);
    sv_error why = {.code = 0};
    if (compare(copy, &same, &why)) same = true;
    if (!same) rc = keep_former(copy, former, err);
    if (ret_exchanged) *ret_exchanged = !same;
    return rc ? rc : remove_files(copy, err);
}

int restore_exchange(const char *folder, sv_error *err)
{
    char copy[STATE_PATH], former[STATE_PATH], from[STATE_PATH], to[STATE_PATH], second[STATE_PATH];
    int rc = restore_paths(folder, copy, former, err);
    if (rc == 0) rc = join(copy, "/data.mdb", from, err);
    if (rc == 0) rc = join(copy, "/data.mdb.former", second, err);
    if (rc == 0) rc = join(folder, "/data.mdb", to, err);
    if (rc) return rc;
    bool here = access(to, F_OK) == 0, there = access(from, F_OK) == 0;
    int done = here && there ? renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE)
               : there       ? rename(from, to)
                             : rename(to, from);
    if (done && here && there && (errno == EINVAL || errno == ENOSYS))
        done = exchange_by_link(from, to, second);
    if (done) return io(err, "exchanged", to);
    /* Tells of the readers of another file; there are none. */
    if ((rc = join(folder, "/lock.mdb", second, err)) == 0) rc = remove_file(second, err);
    if (rc == 0) rc = restore_sync(folder, err);
    return rc ? rc : restore_sync(copy, err);
}

int restore_end(const char *folder, bool *ret_former, sv_error *err)
{
    char copy[STATE_PATH], former[STATE_PATH], path[STATE_PATH];
    int rc = restore_paths(folder, copy, former, err);
    if (rc == 0) rc = join(copy, "/data.mdb", path, err);
    if (rc) return rc;
    *ret_former = access(path, F_OK) == 0;
    if (*ret_former) rc = keep_former(copy, former, err);
    return rc ? rc : remove_folder(copy, err);
}
