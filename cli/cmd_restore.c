/*  cmd_restore.c - `samovar restore`: environments back from a backup.
 *
 *  In this order, so that a refusal changes nothing: the manifest; the hash of every file; a copy of
 *  each beside its environment; a look at each copy in a process of its own, which alone can die of
 *  a damaged one; the question; and only then each environment is exchanged, by its actor or, when
 *  that is stopped, by its program. */
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
#include <sys/stat.h>
#include <unistd.h>

enum { ARENA_BYTES = 1 << 20, PIECE = 65536 };

typedef struct target {
    manifest_file file;
    place place;
    char source[PLATFORM_PATH], copy[PLATFORM_PATH], former[PLATFORM_PATH];
    int hold; /* of the copy's folder */
} target;

typedef struct restore {
    places places;
    char folder[PLATFORM_PATH]; /* of the backup */
    manifest manifest;
    target *target;
    size_t n;
    arena arena;
} restore;

static int io(sv_error *err, const char *what, const char *path)
{
    return sv_fail(err, errno == ENOSPC || errno == EDQUOT ? SV_E_STORE_FULL : SV_E_IO, NULL,
                   "%.150s cannot be %s: %s.", path, what, strerror(errno));
}

/* ---- what is to be restored ---- */

/* DIR itself, or the newest finished backup in it. */
static int find_backup(restore *r, const char *dir, sv_error *err)
{
    char best[MANIFEST_NAME + 1] = "", path[PLATFORM_PATH + 16];
    snprintf(path, sizeof path, "%s/MANIFEST.json", dir);
    bool itself = access(path, F_OK) == 0;
    DIR *d = itself ? NULL : opendir(dir);
    const struct dirent *f;
    if (d == NULL && !itself) return io(err, "opened", dir);
    while (d && (f = readdir(d)))
        if (manifest_is_name(f->d_name) && strcmp(f->d_name, best) > 0)
            memcpy(best, f->d_name, sizeof best);
    if (d) closedir(d);
    if (!itself && best[0] == 0)
        return sv_fail(err, SV_E_NOT_FOUND, NULL, "There is no finished backup in %.150s.", dir);
    if (snprintf(r->folder, sizeof r->folder, "%s%s%s", dir, itself ? "" : "/", best) >=
        PLATFORM_PATH)
        return sv_fail(err, SV_E_TOO_LARGE, NULL, "The path is too long.");
    return 0;
}

static int make_target(restore *r, const manifest_file *f, target *t, sv_error *err)
{
    char name[LIMIT_NAME_BYTES + 20], text[LIMIT_NAME_BYTES + 20];
    snprintf(text, sizeof text, "%s-%u", f->service, f->instance);
    manifest_file_name(f, name);
    *t = (target){.file = *f, .hold = -1};
    if (!place_parse(r->places.config, text, '-', &t->place) ||
        snprintf(t->source, PLATFORM_PATH, "%s/%s", r->folder, name) >= PLATFORM_PATH)
        return sv_fail(err, SV_E_MALFORMED, NULL, "MANIFEST.json: %s cannot be restored.", name);
    return restore_paths(t->place.folder, t->copy, t->former, err);
}

static int choose(restore *r, const char *which, sv_error *err)
{
    r->target = calloc(r->manifest.n ? r->manifest.n : 1, sizeof *r->target);
    if (r->target == NULL) {
        sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
        return SV_E_NO_MEMORY;
    }
    for (size_t i = 0; i < r->manifest.n; i++) {
        int rc = make_target(r, &r->manifest.file[i], &r->target[r->n], err);
        if (rc) return rc;
        if (place_is(&r->target[r->n].place, which)) r->n++;
    }
    if (r->n) return 0;
    return sv_fail(err, SV_E_NOT_FOUND, NULL, "%s is not in the backup %.150s.",
                   which ? which : "An environment", r->folder);
}

/* ---- before anything changes ---- */

static int damaged(const target *t, const char *how, sv_error *err)
{
    return sv_fail(err, SV_E_STORE_DAMAGED, NULL, "%.150s is not the file that was backed up: %s.",
                   t->source, how);
}

static int check_source(const target *t, sv_error *err)
{
    char hash[65];
    uint64_t bytes = 0;
    struct stat st;
    if (stat(t->source, &st)) return io(err, "read", t->source);
    if (!S_ISREG(st.st_mode)) return damaged(t, "it is no plain file", err);
    if ((uint64_t)st.st_size != t->file.bytes) return damaged(t, "its size differs", err);
    int rc = restore_hash(t->source, hash, &bytes, err);
    if (rc == 0 && strcmp(hash, t->file.hash) != 0) rc = damaged(t, "its hash differs", err);
    return rc;
}

/* A disk that fills up takes a part first, and says why only at the next write. */
static bool write_all(int to, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t done = write(to, p, n);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return false;
        p += done;
        n -= (size_t)done;
    }
    return true;
}

static int copy_bytes(int from, int to, const char *name, sv_error *err)
{
    char piece[PIECE];
    ssize_t n;
    while ((n = read(from, piece, sizeof piece)) != 0) {
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 || !write_all(to, piece, (size_t)n)) return io(err, "copied", name);
    }
    return fsync(to) ? io(err, "synced", name) : 0;
}

static int copy_file(target *t, sv_error *err)
{
    char path[PLATFORM_PATH + 16];
    snprintf(path, sizeof path, "%s/data.mdb", t->copy);
    int from = open(t->source, O_RDONLY | O_CLOEXEC);
    int to = from < 0 ? -1 : open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int rc = to < 0 ? io(err, from < 0 ? "read" : "made", from < 0 ? t->source : path)
                    : copy_bytes(from, to, path, err);
    if (from >= 0) close(from);
    if (to >= 0 && close(to) && rc == 0) rc = io(err, "closed", path);
    return rc ? rc : restore_sync(t->copy, err);
}

/* Makes a verified copy beside the environment. */
static int prepare(restore *r, target *t, sv_error *err)
{
    char path[PLATFORM_PATH + 16], hash[65];
    store_verify_reply v;
    snprintf(path, sizeof path, "%s/store", config_data(r->places.config));
    if (mkdir(path, 0700) && errno != EEXIST) return io(err, "made", path);
    int rc = restore_hold(t->place.folder, true, &t->hold, err);
    if (rc == 0) rc = restore_clear(t->place.folder, NULL, err);
    if (rc == 0) rc = copy_file(t, err);
    if (rc == 0) rc = place_verify(&r->places, &t->place, t->copy, &r->arena, &v, err);
    if (rc) return rc;
    /* What was verified is what was backed up: verifying changes nothing. */
    snprintf(path, sizeof path, "%s/data.mdb", t->copy);
    rc = restore_hash(path, hash, NULL, err);
    if (rc == 0 && strcmp(hash, t->file.hash) != 0) rc = damaged(t, "its copy differs", err);
    if (rc == 0) rc = restore_mark(t->place.folder, hash, err);
    if (rc == 0)
        printf("%-14s verified: %lld rows, %lld bytes, version %lld\n", t->place.name,
               (long long)v.rows, (long long)t->file.bytes, (long long)v.version);
    return rc;
}

static void let_go(target *t)
{
    if (t->hold >= 0) close(t->hold);
    t->hold = -1;
}

/* Nothing was changed: the copies go. */
static void drop(restore *r)
{
    for (size_t i = 0; i < r->n; i++) {
        if (r->target[i].hold >= 0) restore_drop(r->target[i].place.folder, NULL);
        let_go(&r->target[i]);
    }
}

static bool confirmed(const restore *r, bool yes)
{
    char answer[16] = "";
    if (yes) return true;
    if (!isatty(STDIN_FILENO)) {
        fprintf(stderr, "samovar restore: this replaces data: say --yes where nobody can be "
                        "asked\n");
        return false;
    }
    printf("Replace the data of");
    for (size_t i = 0; i < r->n; i++)
        printf(" %s", r->target[i].place.name);
    printf(" by that of %s? [y/N] ", r->manifest.created);
    fflush(stdout);
    if (fgets(answer, sizeof answer, stdin) == NULL) return false;
    return strcmp(answer, "y\n") == 0 || strcmp(answer, "yes\n") == 0;
}

/* ---- the exchange ---- */

static int exchange(restore *r, target *t, sv_error *err)
{
    store_replace_reply reply;
    let_go(t); /* whoever exchanges it holds it now */
    int rc = place_ask(&r->places, &t->place, "replace", &store_replace_reply_msg, &r->arena,
                       &reply, err);
    if (rc) return rc;
    printf("%-14s restored, epoch %lld%s%.*s\n", t->place.name, (long long)reply.epoch,
           reply.former.n ? "; the former data is kept in " : "", SV_FMT(reply.former));
    return 0;
}

/* After a failure: the copy goes, unless somebody still works on it. True: whoever exchanged the
 * data died after it had done so. */
static bool tidy(target *t)
{
    bool exchanged = false;
    if (restore_hold(t->place.folder, false, &t->hold, NULL)) return false;
    if (restore_clear(t->place.folder, &exchanged, NULL) == 0) restore_drop(t->place.folder, NULL);
    let_go(t);
    if (exchanged)
        printf("%-14s restored; the former data is kept in %s\n", t->place.name, t->former);
    return exchanged;
}

static int exchange_all(restore *r, sv_error *err)
{
    int rc = 0;
    for (size_t i = 0; i < r->n; i++) {
        target *t = &r->target[i];
        if (rc) {
            restore_drop(t->place.folder, NULL);
            let_go(t);
            continue;
        }
        if ((rc = exchange(r, t, err)) == 0) continue;
        if (tidy(t)) {
            *err = (sv_error){.code = 0};
            rc = 0;
            continue;
        }
        fprintf(stderr, "samovar restore: %s: not restored%s; samovar store stat tells how it is\n",
                t->place.name, i ? ", those above are" : "");
    }
    return rc;
}

static int run(restore *r, const char *which, bool yes, sv_error *err)
{
    int rc = choose(r, which, err);
    for (size_t i = 0; rc == 0 && i < r->n; i++)
        rc = check_source(&r->target[i], err);
    if (rc == 0 && r->manifest.root_salt[0])
        rc = root_salt_put(r->places.config, r->manifest.root_salt, err);
    for (size_t i = 0; rc == 0 && i < r->n; i++) {
        rc = prepare(r, &r->target[i], err);
        arena_reset(&r->arena);
    }
    if (rc == 0 && !confirmed(r, yes)) rc = SV_E_CANCELLED;
    if (rc) {
        drop(r);
        if (rc == SV_E_CANCELLED) sv_fail(err, rc, NULL, "Nothing was changed.");
        return rc;
    }
    return exchange_all(r, err);
}

int cmd_restore(int argc, char **argv)
{
    bool yes = false;
    const args_option options[] = {{'y', "yes", NULL, "do not ask", NULL, &yes}};
    const args_spec spec = {
        "samovar restore",
        "DIR|DIR/NAME|s3:[NAME]|URL[/NAME] [SERVICE[/N]]",
        "Puts the environments of a backup (of the newest one in DIR) in the place of what is "
        "there.\n"
        "One in an S3-compatible store (s3: is backup.s3_url) is fetched to DATA/download first.\n"
        "Everything is checked first: manifest, sizes, hashes, and each copy in a process of its "
        "own.\n"
        "A running actor exchanges its data itself and goes on; the former data is kept beside "
        "it.",
        "The root key must be the one of the time of the backup: after samovar store rekey the "
        "former\n"
        "one lies beside it, as PATH.old-ID.\n"
        "exit codes: 0 restored, 1 refused or failed, 2 wrong words",
        options,
        1,
        1,
        2};
    args words;
    int exit_code, rc;
    config *c = NULL;
    sv_error err = {.code = 0};
    if (!cli_args(&spec, argc, argv, &words, &exit_code)) return exit_code;
    if (cli_config(NULL, &c)) return CLI_CONFIG;
    restore r = {.places = {.config = c}};
    umask(077);
    arena_init(&r.arena, ARENA_BYTES);
    backup_fetched fetched = {.hold = -1};
    const char *from = words.word[0];
    rc = backup_is_remote(from) ? backup_fetch(c, from, &fetched, &err) : 0;
    if (rc == 0) rc = find_backup(&r, fetched.hold >= 0 ? fetched.folder : from, &err);
    if (rc == 0) rc = manifest_read(r.folder, &r.manifest, &err);
    if (rc == 0) rc = run(&r, words.n > 1 ? words.word[1] : NULL, yes, &err);
    if (rc) cli_complain(&err);
    backup_fetch_end(&fetched);
    free(r.target);
    manifest_free(&r.manifest);
    places_free(&r.places);
    arena_free(&r.arena);
    config_free(c);
    return rc ? CLI_FAILED : CLI_OK;
}
