/*  cmd_backup.c - `samovar backup`: a copy of every environment into one new folder.
 *
 *  The folder is DIR/TIME.partial until everything in it is written and synced and the manifest
 *  says so; then it gets its name. While it is being made its maker holds a lock on it: what nobody
 *  holds was left by a backup that was killed. Nothing older is removed before the new one is
 *  complete. */
#include "commands.h"

#include "backup_remote.h"
#include "error.h"
#include "manifest.h"
#include "places.h"
#include "restore.h"
#include "root_key.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { ARENA_BYTES = 1 << 20, KEEP_MOST = 10000, NAMES = 60, SUFFIX = 8 };

typedef struct backup {
    const char *dir;
    char name[MANIFEST_NAME + 1];
    char partial[PLATFORM_PATH], final[PLATFORM_PATH];
    int hold; /* the partial folder, locked */
    manifest manifest;
    uint64_t bytes;
} backup;

static int io(sv_error *err, const char *what, const char *path)
{
    return sv_fail(err, errno == ENOSPC || errno == EDQUOT ? SV_E_STORE_FULL : SV_E_IO, NULL,
                   "%.150s cannot be %s: %s.", path, what, strerror(errno));
}

/* ---- removing ---- */

/* A folder of ours and the files in it; anything that is not a plain file stays, and the folder. */
static int remove_backup(const char *folder, sv_error *err)
{
    DIR *d = opendir(folder);
    if (d == NULL) return errno == ENOENT ? 0 : io(err, "opened", folder);
    const struct dirent *f;
    int rc = 0;
    while (rc == 0 && (f = readdir(d))) {
        if (strcmp(f->d_name, ".") == 0 || strcmp(f->d_name, "..") == 0) continue;
        if (unlinkat(dirfd(d), f->d_name, 0)) rc = io(err, "removed", folder);
    }
    closedir(d);
    if (rc == 0 && rmdir(folder)) rc = io(err, "removed", folder);
    return rc;
}

/* Left by a backup that is not running any more? */
static bool abandoned(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    bool free = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0;
    if (fd >= 0) close(fd);
    return free;
}

static int newest_first(const void *a, const void *b)
{
    return strcmp(*(char *const *)b, *(char *const *)a);
}

/* Leftovers that are older than this backup, and finished ones beyond `keep`. */
static void clean(const backup *b, uint64_t keep)
{
    char path[PLATFORM_PATH + 300], *finished[KEEP_MOST];
    sv_error err = {.code = 0};
    size_t n = 0;
    DIR *d = opendir(b->dir);
    const struct dirent *f;
    while (d && (f = readdir(d))) {
        char name[MANIFEST_NAME + 1];
        const char *dot = strchr(f->d_name, '.');
        if (strlen(f->d_name) < MANIFEST_NAME) continue;
        snprintf(name, sizeof name, "%.*s", MANIFEST_NAME, f->d_name);
        snprintf(path, sizeof path, "%s/%s", b->dir, f->d_name);
        if (!manifest_is_name(name)) continue;
        if (f->d_name[MANIFEST_NAME] == 0 && n < KEEP_MOST && (finished[n] = strdup(name))) n++;
        if (dot == f->d_name + MANIFEST_NAME && strcmp(dot, ".partial") == 0 &&
            strcmp(name, b->name) < 0 && abandoned(path))
            remove_backup(path, &err);
    }
    if (d) closedir(d);
    if (n) qsort(finished, n, sizeof *finished, newest_first);
    for (size_t i = 0; i < n; i++) {
        snprintf(path, sizeof path, "%s/%s", b->dir, finished[i]);
        if (keep && i >= keep && remove_backup(path, &err) == 0) printf("removed %s\n", path);
        free(finished[i]);
    }
    if (err.code) cli_complain(&err);
}

/* ---- making ---- */

static int make_folder(backup *b, sv_error *err)
{
    time_t now = time(NULL);
    if (mkdir(b->dir, 0700) && errno != EEXIST) return io(err, "made", b->dir);
    for (int i = 0; i < NAMES; i++) {
        manifest_name(now + i, b->name);
        int n = snprintf(b->final, sizeof b->final, "%s/%s", b->dir, b->name);
        if (n + SUFFIX >= PLATFORM_PATH)
            return sv_fail(err, SV_E_TOO_LARGE, NULL, "The path is too long.");
        snprintf(b->partial, sizeof b->partial, "%.*s.partial", PLATFORM_PATH - SUFFIX - 1,
                 b->final);
        if (access(b->final, F_OK) == 0) continue;
        if (mkdir(b->partial, 0700)) {
            if (errno == EEXIST) continue;
            return io(err, "made", b->partial);
        }
        b->hold = open(b->partial, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (b->hold < 0 || flock(b->hold, LOCK_EX | LOCK_NB)) return io(err, "locked", b->partial);
        snprintf(b->manifest.created, sizeof b->manifest.created, "%.4s-%.2s-%.2sT%.2s:%.2s:%.2sZ",
                 b->name, b->name + 4, b->name + 6, b->name + 9, b->name + 11, b->name + 13);
        return 0;
    }
    return sv_fail(err, SV_E_CONFLICT, NULL, "Too many backups were begun in %.150s just now.",
                   b->dir);
}

static int copy_one(backup *b, places *p, const place *e, sv_error *err)
{
    char name[LIMIT_NAME_BYTES + 20], path[PLATFORM_PATH + 64], hash[65];
    arena a;
    store_copy_reply r;
    manifest_file f = {.instance = e->instance};
    memcpy(f.service, e->service, sizeof f.service);
    manifest_file_name(&f, name);
    snprintf(path, sizeof path, "%s/%s", b->partial, name);
    arena_init(&a, ARENA_BYTES);
    int rc = place_backup(p, e, path, &a, &r, err);
    if (rc == 0) rc = restore_hash(path, hash, &f.bytes, err);
    if (rc == 0 && (f.bytes != (uint64_t)r.bytes || !sv_str_is(r.hash, hash)))
        rc = sv_fail(err, SV_E_STORE_DAMAGED, NULL, "%s did not arrive as it was sent.", name);
    if (rc == 0) {
        memcpy(f.hash, hash, sizeof f.hash);
        f.version = (uint64_t)r.version;
        f.epoch = (uint64_t)r.epoch;
        f.last_txn = (uint64_t)r.last_txn;
        b->bytes += f.bytes;
        rc = manifest_add(&b->manifest, &f);
    }
    arena_free(&a);
    if (rc) sv_fail(err, rc, NULL, NULL);
    return rc;
}

static int finish(backup *b, sv_error *err)
{
    int rc = manifest_write(&b->manifest, b->partial, err);
    if (rc == 0) rc = restore_sync(b->partial, err);
    if (rc == 0 && rename(b->partial, b->final)) rc = io(err, "given its name", b->partial);
    return rc ? rc : restore_sync(b->dir, err);
}

static int make(backup *b, places *p, sv_error *err)
{
    int rc = make_folder(b, err);
    if (rc) return rc;
    for (size_t i = 0; rc == 0 && i < p->n; i++) {
        sv_error why = {.code = 0};
        if ((rc = copy_one(b, p, &p->list[i], &why)))
            sv_fail(err, rc, NULL, "%s: %.200s", p->list[i].name, why.message);
    }
    if (rc == 0) rc = root_salt_get(p->config, b->manifest.root_salt, err);
    if (rc == 0) rc = finish(b, err);
    if (rc) remove_backup(b->partial, NULL);
    return rc;
}

/* What was made stays made when it cannot be copied: the exit code tells the two apart. */
static int send(const config *c, const char *url, const char *dir, const char *name, uint64_t keep)
{
    sv_error err = {.code = 0};
    if (url == NULL && config_str(c, "backup.s3_url") == NULL) return CLI_OK;
    if (backup_send(c, url, dir, name, keep, &err) == 0) return CLI_OK;
    cli_complain(&err);
    return CLI_NOT_COPIED;
}

static int send_newest(const config *c, const char *url, const char *dir, uint64_t keep)
{
    char name[MANIFEST_NAME + 1];
    sv_error err = {.code = 0};
    if (url == NULL && config_str(c, "backup.s3_url") == NULL)
        sv_fail(&err, SV_E_CONFIG, NULL,
                "There is no store to copy to: say --to or set backup.s3_url.");
    else if (backup_newest(dir, name, &err) == 0)
        return send(c, url, dir, name, keep);
    cli_complain(&err);
    return CLI_FAILED;
}

static void print_name(void *arg, const char *name)
{
    (void)arg;
    puts(name);
}

static int list(const config *c, const char *dir)
{
    sv_error err = {.code = 0};
    if (backup_each(c, dir, print_name, NULL, &err) == 0) return CLI_OK;
    cli_complain(&err);
    return CLI_FAILED;
}

static int run(const config *c, const char *url, const char *dir, uint64_t keep)
{
    places p;
    backup b = {.dir = dir, .hold = -1};
    sv_error err = {.code = 0};
    int rc = places_find(&p, c, NULL, &err);
    if (rc == 0) rc = make(&b, &p, &err);
    if (rc) {
        cli_complain(&err);
    } else {
        printf("%s: %zu environment%s, %llu bytes\n", b.final, b.manifest.n,
               b.manifest.n == 1 ? "" : "s", (unsigned long long)b.bytes);
        printf("The root key is not part of a backup: keep a copy of it elsewhere. Without it the "
               "backup cannot be restored.\n");
        clean(&b, keep);
    }
    if (b.hold >= 0) close(b.hold);
    manifest_free(&b.manifest);
    places_free(&p);
    return rc ? CLI_FAILED : send(c, url, dir, b.name, keep);
}

int cmd_backup(int argc, char **argv)
{
    const char *keep_text = NULL, *url = NULL;
    bool copy_only = false, list_only = false;
    const args_option options[] = {
        {0, "keep", "N", "remove older finished backups beyond the newest N", &keep_text, NULL},
        {0, "to", "URL", "copy it to this S3-compatible store, too; default backup.s3_url", &url,
         NULL},
        {0, "copy-only", NULL, "make none: copy the newest one in DIR", NULL, &copy_only},
        {0, "list", NULL, "make none: list the finished ones in DIR, or in a store (s3: or URL)",
         NULL, &list_only}};
    const args_spec spec = {
        "samovar backup",
        "DIR",
        "Copies every environment, while the actors go on, to DIR/YYYYMMDDTHHMMSSZ with a "
        "manifest\n"
        "of sizes and hashes. A backup that is cut off leaves DIR/....partial, which the next one\n"
        "removes. Older backups go only when the new one is complete.",
        "The root key is never part of a backup.\n"
        "exit codes: 0 done, 1 failed, 2 wrong words, 3 made but not copied to the store",
        options,
        4,
        1,
        1};
    args words;
    int exit_code;
    uint64_t keep = 0;
    config *c = NULL;
    if (!cli_args(&spec, argc, argv, &words, &exit_code)) return exit_code;
    if (keep_text && args_number(keep_text, 1, KEEP_MOST, &keep)) {
        fprintf(stderr, "samovar backup: --keep takes 1 to %d\n", KEEP_MOST);
        return CLI_USAGE;
    }
    const char *dir = words.word[0];
    if (!list_only && backup_is_remote(dir)) {
        fprintf(stderr,
                "samovar backup: a backup is made in a folder; --to copies it to a store\n");
        return CLI_USAGE;
    }
    if (cli_config(NULL, &c)) return CLI_CONFIG;
    umask(077);
    exit_code = list_only   ? list(c, dir)
                : copy_only ? send_newest(c, url, dir, keep)
                            : run(c, url, dir, keep);
    config_free(c);
    return exit_code;
}
