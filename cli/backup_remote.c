/*  backup_remote.c - a list of the store's objects, gathered by backup, and what is done with it. */
#include "backup_remote.h"

#include "error.h"
#include "s3.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { UNFINISHED_S = 7 * 86400, COPIES_MAX = 20000, KEY_BYTES = MANIFEST_NAME + 64 };

static const char manifest_file_is[] = "MANIFEST.json";

/* A backup in the store, or in a folder. */
typedef struct copy {
    char name[MANIFEST_NAME + 1];
    bool finished;
} copy;

typedef struct copies {
    copy *list; /* by name */
    size_t n;
} copies;

/* ---- names ---- */

bool backup_is_remote(const char *text)
{
    return strncmp(text, "s3:", 3) == 0 || s3_is_url(text);
}

static int64_t digits(const char *p, int n)
{
    int64_t v = 0;
    while (n-- > 0)
        v = v * 10 + (*p++ - '0');
    return v;
}

int64_t backup_time(const char *name)
{
    struct tm t = {.tm_year = (int)digits(name, 4) - 1900,
                   .tm_mon = (int)digits(name + 4, 2) - 1,
                   .tm_mday = (int)digits(name + 6, 2),
                   .tm_hour = (int)digits(name + 9, 2),
                   .tm_min = (int)digits(name + 11, 2),
                   .tm_sec = (int)digits(name + 13, 2)};
    return timegm(&t);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const copy *)a)->name, ((const copy *)b)->name);
}

static copy *add(copies *all, const char *name)
{
    if (all->n == COPIES_MAX) return NULL;
    if (all->list == NULL || (all->n & (all->n - 1)) == 0) {
        copy *list = realloc(all->list, (all->n ? 2 * all->n : 1) * sizeof *list);
        if (list == NULL) return NULL;
        all->list = list;
    }
    copy *x = &all->list[all->n++];
    *x = (copy){.finished = false};
    memcpy(x->name, name, MANIFEST_NAME);
    return x;
}

/* ---- what is there ---- */

/* Objects come sorted, so those of one backup come together. */
static int on_object(void *arg, const s3_object *o)
{
    copies *all = arg;
    char name[MANIFEST_NAME + 1];
    snprintf(name, sizeof name, "%s", o->key);
    if (!manifest_is_name(name) || o->key[MANIFEST_NAME] != '/') return 0; /* not ours */
    copy *x = all->n ? &all->list[all->n - 1] : NULL;
    if (x == NULL || strcmp(x->name, name) != 0) x = add(all, name);
    if (x == NULL) return SV_E_TOO_LARGE;
    x->finished |= strcmp(o->key + MANIFEST_NAME + 1, manifest_file_is) == 0;
    return 0;
}

static int remote_copies(s3 *s, copies *all, sv_error *err)
{
    *all = (copies){.n = 0};
    int rc = s3_list(s, "", on_object, all, err);
    if (rc == SV_E_TOO_LARGE)
        sv_fail(err, rc, NULL, "More than %d backups are in the store.", COPIES_MAX);
    return rc;
}

static int local_copies(const char *dir, copies *all, sv_error *err)
{
    *all = (copies){.n = 0};
    DIR *d = opendir(dir);
    const struct dirent *f;
    int rc = 0;
    if (d == NULL && errno == ENOENT) return 0;
    if (d == NULL)
        return sv_fail(err, SV_E_IO, NULL, "%.150s cannot be read: %s.", dir, strerror(errno));
    while (rc == 0 && (f = readdir(d))) {
        if (!manifest_is_name(f->d_name)) continue;
        copy *x = add(all, f->d_name);
        if (x == NULL)
            rc = sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
        else
            x->finished = true; /* it got its name last */
    }
    closedir(d);
    if (all->n) qsort(all->list, all->n, sizeof *all->list, by_name);
    return rc;
}

static const copy *newest(const copies *all)
{
    for (size_t i = all->n; i > 0; i--)
        if (all->list[i - 1].finished) return &all->list[i - 1];
    return NULL;
}

int backup_newest(const char *dir, char name[MANIFEST_NAME + 1], sv_error *err)
{
    copies all;
    int rc = local_copies(dir, &all, err);
    const copy *x = rc ? NULL : newest(&all);
    if (x) memcpy(name, x->name, sizeof x->name);
    if (rc == 0 && x == NULL)
        rc = sv_fail(err, SV_E_NOT_FOUND, NULL, "There is no finished backup in %.150s.", dir);
    free(all.list);
    return rc;
}

/* ---- to the store ---- */

static int path_of(const char *folder, const char *file, char path[PLATFORM_PATH], sv_error *err)
{
    if (snprintf(path, PLATFORM_PATH, "%s/%s", folder, file) < PLATFORM_PATH) return 0;
    return sv_fail(err, SV_E_TOO_LARGE, NULL, "The path of %.100s is too long.", folder);
}

static int send_files(s3 *s, const char *folder, const char *name, sv_error *err)
{
    char path[PLATFORM_PATH], key[KEY_BYTES], file[LIMIT_NAME_BYTES + 20];
    manifest m;
    uint64_t bytes = 0;
    int rc = manifest_read(folder, &m, err);
    for (size_t i = 0; rc == 0 && i < m.n; i++)
        if (m.file[i].bytes > S3_OBJECT_BYTES)
            rc = sv_fail(err, SV_E_TOO_LARGE, NULL,
                         "%s-%u.mdb is larger than the %d GiB that one object may have: nothing "
                         "was sent.",
                         m.file[i].service, m.file[i].instance, S3_OBJECT_BYTES_GIB);
    for (size_t i = 0; rc == 0 && i < m.n; i++) {
        manifest_file_name(&m.file[i], file);
        snprintf(key, sizeof key, "%s/%s", name, file);
        rc = path_of(folder, file, path, err);
        if (rc == 0) rc = s3_put_file(s, key, path, err);
        bytes += m.file[i].bytes;
    }
    snprintf(key, sizeof key, "%s/%s", name, manifest_file_is);
    if (rc == 0) rc = path_of(folder, manifest_file_is, path, err);
    if (rc == 0) rc = s3_put_file(s, key, path, err);
    if (rc == 0)
        printf("copied to %s/%s: %zu file%s, %llu bytes\n", s3_url(s), name, m.n + 1,
               m.n ? "s" : "", (unsigned long long)bytes);
    manifest_free(&m);
    return rc;
}

typedef struct keys {
    char (*list)[S3_KEY_BYTES];
    size_t n;
} keys;

static int on_key(void *arg, const s3_object *o)
{
    keys *k = arg;
    if (k->n == MANIFEST_FILES + 16 || strlen(o->key) >= S3_KEY_BYTES) return SV_E_TOO_LARGE;
    snprintf(k->list[k->n++], S3_KEY_BYTES, "%s", o->key);
    return 0;
}

/* The manifest first: what is left of a removal that is cut off is no finished backup. */
static int remove_copy(s3 *s, const copy *x, sv_error *err)
{
    char key[KEY_BYTES];
    keys k = {.list = calloc(MANIFEST_FILES + 16, sizeof *k.list)};
    snprintf(key, sizeof key, "%s/%s", x->name, manifest_file_is);
    int rc = k.list ? 0 : sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    if (rc == 0 && x->finished) rc = s3_delete(s, key, err);
    snprintf(key, sizeof key, "%s/", x->name);
    if (rc == 0) rc = s3_list(s, key, on_key, &k, err);
    for (size_t i = 0; rc == 0 && i < k.n; i++)
        rc = s3_delete(s, k.list[i], err);
    if (rc == 0) printf("removed %s/%s\n", s3_url(s), x->name);
    if (rc) sv_fail(err, rc, NULL, "%s cannot be removed from the store.", x->name);
    free(k.list);
    return rc;
}

static int prune(s3 *s, const copies *all, const char *sent, uint64_t keep, sv_error *err)
{
    uint64_t finished = 0;
    int rc = 0;
    for (size_t i = all->n; rc == 0 && keep && i > 0; i--) {
        const copy *x = &all->list[i - 1];
        finished += x->finished;
        bool old = backup_time(x->name) + UNFINISHED_S < backup_time(sent);
        if (x->finished ? finished > keep : old) rc = remove_copy(s, x, err);
    }
    return rc;
}

static bool is_there(const copies *all, const char *name)
{
    for (size_t i = 0; i < all->n; i++)
        if (strcmp(all->list[i].name, name) == 0) return all->list[i].finished;
    return false;
}

int backup_send(const config *c, const char *url, const char *dir, const char *name, uint64_t keep,
                sv_error *err)
{
    s3 *s = NULL;
    copies all = {.n = 0};
    char folder[PLATFORM_PATH];
    int rc = s3_open(&s, url, c, err);
    if (rc == 0) rc = path_of(dir, name, folder, err);
    if (rc == 0) rc = remote_copies(s, &all, err);
    if (rc == 0 && !is_there(&all, name)) {
        rc = send_files(s, folder, name, err);
        free(all.list);
        all = (copies){.n = 0};
        if (rc == 0) rc = remote_copies(s, &all, err);
    }
    if (rc == 0) rc = prune(s, &all, name, keep, err);
    free(all.list);
    s3_close(s);
    return rc;
}

/* ---- from the store ---- */

/* "s3:", "s3:NAME", "URL" or "URL/NAME" taken apart; *url NULL: the one of the settings. */
static int split(const char *text, char room[PLATFORM_PATH], const char **url,
                 char name[MANIFEST_NAME + 1], sv_error *err)
{
    name[0] = 0;
    *url = NULL;
    if (s3_is_url(text)) {
        if (snprintf(room, PLATFORM_PATH, "%s", text) >= PLATFORM_PATH)
            return sv_fail(err, SV_E_TOO_LARGE, NULL, "The URL is too long.");
        char *last = strrchr(room, '/');
        if (manifest_is_name(last + 1)) {
            memcpy(name, last + 1, MANIFEST_NAME + 1);
            *last = 0;
        }
        *url = room;
    } else if (text[3]) {
        if (!manifest_is_name(text + 3))
            return sv_fail(err, SV_E_INVALID, NULL,
                           "%.60s names no backup; it looks like s3:20250131T120000Z.", text);
        memcpy(name, text + 3, MANIFEST_NAME + 1);
    }
    return 0;
}

static int open_split(const config *c, const char *text, s3 **ret, char name[MANIFEST_NAME + 1],
                      sv_error *err)
{
    char room[PLATFORM_PATH];
    const char *url;
    int rc = split(text, room, &url, name, err);
    return rc ? rc : s3_open(ret, url, c, err);
}

static int choose(s3 *s, char name[MANIFEST_NAME + 1], sv_error *err)
{
    copies all;
    if (name[0]) return 0;
    int rc = remote_copies(s, &all, err);
    const copy *x = rc ? NULL : newest(&all);
    if (x) memcpy(name, x->name, sizeof x->name);
    if (rc == 0 && x == NULL)
        rc =
            sv_fail(err, SV_E_NOT_FOUND, NULL, "There is no finished backup at %.150s.", s3_url(s));
    free(all.list);
    return rc;
}

static int fetch_files(s3 *s, const char *name, const char *folder, sv_error *err)
{
    char path[PLATFORM_PATH], key[KEY_BYTES], file[LIMIT_NAME_BYTES + 20];
    sv_error why = {.code = 0};
    manifest m = {.n = 0};
    snprintf(key, sizeof key, "%s/%s", name, manifest_file_is);
    int rc = path_of(folder, manifest_file_is, path, err);
    if (rc == 0) rc = s3_get_file(s, key, path, &why);
    if (rc == SV_E_NOT_FOUND)
        sv_fail(err, rc, NULL, "There is no finished backup %s at %.150s.", name, s3_url(s));
    else if (why.code)
        sv_fail(err, rc, NULL, "%s", why.message);
    if (rc == 0) rc = manifest_read(folder, &m, err);
    for (size_t i = 0; rc == 0 && i < m.n; i++) {
        manifest_file_name(&m.file[i], file);
        snprintf(key, sizeof key, "%s/%s", name, file);
        rc = path_of(folder, file, path, err);
        if (rc == 0) rc = s3_get_file(s, key, path, err);
        if (rc == 0)
            printf("fetched %s/%s: %llu bytes\n", s3_url(s), key,
                   (unsigned long long)m.file[i].bytes);
    }
    manifest_free(&m);
    return rc;
}

/* Removes the backups in it, and nothing else. */
static void clear(int dir)
{
    int again = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = again < 0 ? NULL : fdopendir(again);
    const struct dirent *f;
    if (d == NULL && again >= 0) close(again);
    while (d && (f = readdir(d))) {
        if (!manifest_is_name(f->d_name)) continue;
        int inner = openat(dir, f->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        DIR *files = inner < 0 ? NULL : fdopendir(inner);
        const struct dirent *g;
        while (files && (g = readdir(files)))
            if (g->d_name[0] != '.') unlinkat(inner, g->d_name, 0);
        if (files)
            closedir(files);
        else if (inner >= 0)
            close(inner);
        unlinkat(dir, f->d_name, AT_REMOVEDIR);
    }
    if (d) closedir(d);
}

/* DATA/download, locked and empty. */
static int make_room(const config *c, backup_fetched *f, sv_error *err)
{
    int rc = path_of(config_data(c), "download", f->folder, err);
    if (rc) return rc;
    if ((mkdir(config_data(c), 0700) && errno != EEXIST) ||
        (mkdir(f->folder, 0700) && errno != EEXIST) ||
        (f->hold = open(f->folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
        return sv_fail(err, SV_E_IO, NULL, "%.150s cannot be made: %s.", f->folder,
                       strerror(errno));
    if (flock(f->hold, LOCK_EX | LOCK_NB))
        return sv_fail(err, SV_E_CONFLICT, NULL,
                       "Another backup is being fetched to %.150s just now.", f->folder);
    clear(f->hold);
    return 0;
}

int backup_fetch(const config *c, const char *text, backup_fetched *ret, sv_error *err)
{
    char name[MANIFEST_NAME + 1], download[PLATFORM_PATH];
    s3 *s = NULL;
    *ret = (backup_fetched){.hold = -1};
    int rc = open_split(c, text, &s, name, err);
    if (rc == 0) rc = choose(s, name, err);
    if (rc == 0) rc = make_room(c, ret, err);
    if (rc == 0) {
        memcpy(download, ret->folder, sizeof download);
        rc = path_of(download, name, ret->folder, err);
    }
    if (rc == 0 && mkdirat(ret->hold, name, 0700))
        rc =
            sv_fail(err, SV_E_IO, NULL, "%.150s cannot be made: %s.", ret->folder, strerror(errno));
    if (rc == 0) rc = fetch_files(s, name, ret->folder, err);
    s3_close(s);
    if (rc) backup_fetch_end(ret);
    return rc;
}

void backup_fetch_end(backup_fetched *f)
{
    if (f->hold < 0) return;
    clear(f->hold);
    close(f->hold);
    f->hold = -1;
}

/* ---- lists ---- */

int backup_each(const config *c, const char *text, void (*fn)(void *arg, const char *name),
                void *arg, sv_error *err)
{
    char name[MANIFEST_NAME + 1] = "";
    copies all = {.n = 0};
    s3 *s = NULL;
    int rc;
    if (backup_is_remote(text)) {
        rc = open_split(c, text, &s, name, err);
        if (rc == 0) rc = remote_copies(s, &all, err);
        s3_close(s);
    } else {
        rc = local_copies(text, &all, err);
    }
    for (size_t i = 0; rc == 0 && i < all.n; i++)
        if (all.list[i].finished && (name[0] == 0 || strcmp(name, all.list[i].name) == 0))
            fn(arg, all.list[i].name);
    free(all.list);
    return rc;
}
