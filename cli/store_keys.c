/*  store_keys.c - no message and no argument carries a key: whoever has to use the next one reads it
 *  from where it lies. A lock on the data folder keeps two changes from running at once. */
#include "store_keys.h"

#include "error.h"
#include "places.h"
#include "private_file.h"
#include "root_key.h"
#include "root_key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

enum { ARENA_BYTES = 1 << 20, SECRET_BYTES = 1024, ID = 9 };

typedef struct job {
    const config *config;
    places places;
    bool json, first;
    arena arena; /* of one environment */
    uint32_t failed;
} job;

/* ---- asking the environments ---- */

static void complain(const char *who, const sv_error *err)
{
    fprintf(stderr, "samovar store: %s%s%s: %s%s%s%s\n", who, who[0] ? ": " : "",
            sv_error_lookup(err->code)->name, err->message, err->detail[0] ? " (" : "", err->detail,
            err->detail[0] ? ")" : "");
}

static void print_json(job *j, const place *e, const store_keys_reply *r)
{
    printf("%s{\"environment\":\"%s\",\"kek_version\":%lld,\"tenants\":%lld,\"resealed\":%lld,"
           "\"to_go\":%lld}",
           j->first ? "[" : ",\n ", e->name, (long long)r->kek_version, (long long)r->tenants,
           (long long)r->resealed, (long long)r->to_go);
}

static void print_row(job *j, const place *e, const store_keys_reply *r)
{
    if (j->first)
        printf("%-24s %8s %9s %10s %10s\n", "ENVIRONMENT", "KEK", "TENANTS", "RESEALED", "TO-GO");
    printf("%-24s %8lld %9lld %10lld %10lld\n", e->name, (long long)r->kek_version,
           (long long)r->tenants, (long long)r->resealed, (long long)r->to_go);
}

/* Asks each and prints what it answers. */
static void ask_all(job *j, const char *what)
{
    j->first = true;
    for (size_t i = 0; i < j->places.n; i++) {
        const place *e = &j->places.list[i];
        store_keys_reply r;
        sv_error err = {.code = 0};
        if (place_ask(&j->places, e, what, &store_keys_reply_msg, &j->arena, &r, &err)) {
            complain(e->name, &err);
            j->failed++;
        } else {
            (j->json ? print_json : print_row)(j, e, &r);
            j->first = false;
        }
        arena_reset(&j->arena);
    }
    if (j->json) puts(j->first ? "[]" : "]");
}

static int run_each(job *j, const char *what, const char *which)
{
    sv_error err = {.code = 0};
    if (places_find(&j->places, j->config, which, &err)) {
        cli_complain(&err);
        return CLI_FAILED;
    }
    ask_all(j, what);
    if (j->failed && strcmp(what, "rotate") == 0)
        fprintf(stderr, "samovar store: what is not finished goes on with the next rotate\n");
    return j->failed ? CLI_FAILED : CLI_OK;
}

/* ---- another root key ---- */

static int lock_data(const config *c, int *ret_fd, sv_error *err)
{
    int fd = open(config_data(c), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return sv_fail(err, SV_E_IO, "data", "%s cannot be opened: %s.", config_data(c),
                       strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        close(fd);
        return sv_fail(err, SV_E_OVERLOADED, NULL, "Another samovar store rekey is at work on %s.",
                       config_data(c));
    }
    *ret_fd = fd;
    return 0;
}

static int copy_passphrase(const char *from, const char *to, sv_error *err)
{
    char text[SECRET_BYTES];
    size_t n = 0;
    int rc = private_file_read(from, "the new passphrase", text, sizeof text, &n, err);
    if (rc == 0) rc = private_file_write(to, (sv_str){text, (uint32_t)n}, err);
    seal_wipe(text, sizeof text);
    return rc;
}

static int copy_key(const char *from, const char *to, sv_error *err)
{
    seal_key *k = NULL;
    int rc = 0;
    if (from)
        rc = root_key_read(from, &k, err);
    else if ((k = seal_key_new()) == NULL)
        rc = sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    if (rc == 0) rc = root_key_write(to, k, err);
    seal_key_free(k);
    return rc;
}

/* Writes PATH.new, unless a change is under way: then `file` must be the same. */
static int place_next(const root_key_source *s, const char *file, sv_error *err)
{
    if (access(s->next, F_OK)) {
        if (s->read_only)
            return sv_fail(
                err, SV_E_CONFIG, "new-key-file",
                "The root key is a credential that only its giver can change: let it give "
                "%s, too, and run this again.",
                s->next);
        if (!s->passphrase) return copy_key(file, s->next, err);
        if (file) return copy_passphrase(file, s->next, err);
        return sv_fail(err, SV_E_INVALID, "new-key-file",
                       "The root key is made of a passphrase: name a file with the new one, "
                       "--new-key-file FILE.");
    }
    if (file == NULL) return 0;
    seal_key *a = NULL, *b = NULL;
    int rc = root_key_load(s, s->next, &a, err);
    if (rc == 0) rc = root_key_load(s, file, &b, err);
    if (rc == 0 && !seal_key_same(a, b))
        rc = sv_fail(err, SV_E_CONFLICT, "new-key-file",
                     "A change to another root key, %s, is under way: finish it first, without "
                     "--new-key-file.",
                     s->next);
    seal_key_free(a);
    seal_key_free(b);
    return rc;
}

/* Asks until nobody is left who was not there when the others were asked. */
static int rekey_environments(job *j, sv_error *err)
{
    size_t asked;
    do {
        asked = j->places.n;
        places_free(&j->places);
        int rc = places_find(&j->places, j->config, NULL, err);
        if (rc == SV_E_NOT_FOUND) {
            *err = (sv_error){.code = 0};
            return 0;
        }
        if (rc) return rc;
        if (j->places.n != asked) ask_all(j, "rekey");
    } while (j->places.n != asked && j->failed == 0);
    if (j->failed == 0) return 0;
    return sv_fail(
        err, SV_E_UNAVAILABLE, NULL,
        "The change is not finished: %u of %zu environments still need the former root key. "
        "Run samovar store rekey again.",
        j->failed, j->places.n);
}

/* PATH.old-ID, for backups of the time before. */
static int keep_former(const root_key_source *s, const seal_key *former, char old[PATH_MAX],
                       sv_error *err)
{
    uint8_t check[16];
    seal_key_check(former, check);
    int n = snprintf(old, PATH_MAX, "%s.old-%02x%02x%02x%02x", s->path, check[0], check[1],
                     check[2], check[3]);
    if (n >= PATH_MAX) return sv_fail(err, SV_E_CONFIG, NULL, "The root key's path is too long.");
    if (link(s->path, old) == 0 || errno == EEXIST) return 0;
    return sv_fail(err, SV_E_IO, NULL, "%s cannot be made: %s.", old, strerror(errno));
}

static int finish(const root_key_source *s, const seal_key *former, sv_error *err)
{
    char old[PATH_MAX];
    int rc = keep_former(s, former, old, err);
    if (rc == 0) rc = private_file_replace(s->next, s->path, err);
    if (rc) {
        sv_error_detail(err, "every environment uses the new root key: put %s in the place of %s",
                        s->next, s->path);
        return rc;
    }
    fprintf(stderr,
            "samovar store: the root key was changed; it is in %s\n"
            "The former one is in %s. Backups made before now need it: keep it with them, apart "
            "from the data, and remove it when the last one is gone.\n",
            s->path, old);
    return 0;
}

static int rekey_locked(job *j, const char *file, sv_error *err)
{
    root_key_source s;
    seal_key *former = NULL, *next = NULL;
    int rc = root_key_where(j->config, &s, err);
    if (rc == 0) rc = root_key_load(&s, s.path, &former, err);
    if (rc == 0) rc = place_next(&s, file, err);
    if (rc == 0) rc = root_key_load(&s, s.next, &next, err);
    if (rc == 0 && seal_key_same(former, next)) {
        if (unlink(s.next)) rc = sv_fail(err, SV_E_IO, NULL, "%s: %s.", s.next, strerror(errno));
        fprintf(stderr, "samovar store: this is the root key already\n");
    } else if (rc == 0) {
        rc = rekey_environments(j, err);
        if (rc == 0) rc = finish(&s, former, err);
    }
    seal_key_free(former);
    seal_key_free(next);
    return rc;
}

static int run_rekey(job *j, const char *file)
{
    int lock = -1;
    sv_error err = {.code = 0};
    int rc = lock_data(j->config, &lock, &err);
    if (rc == 0) {
        rc = rekey_locked(j, file, &err);
        close(lock);
    }
    if (rc) complain("", &err);
    return rc == 0 ? CLI_OK : rc == SV_E_CONFIG ? CLI_CONFIG : CLI_FAILED;
}

/* ---- the command ---- */

int store_keys_run(int argc, char **argv)
{
    const char *output = NULL, *file = NULL;
    const args_option options[] = {
        {'o', "output", "table|json", "json: one array of objects", &output, NULL},
        {0, "new-key-file", "FILE",
         "rekey: take this root key, or passphrase, instead of a fresh one", &file, NULL}};
    const args_spec spec = {
        "samovar store",
        "keys|rotate [SERVICE[/N]], rekey",
        "keys:   the keys that seal secrets, and how far a rotation is\n"
        "rotate: new keys, and everything that is sealed is sealed anew\n"
        "rekey:  another root key for all environments; run again, it finishes what was "
        "interrupted",
        "exit codes: 0 done, 1 failed, 2 wrong words, 78 wrong or missing root key",
        options,
        2,
        1,
        2};
    args words;
    int exit_code;
    config *c = NULL;
    job j = {.first = true};
    if (!cli_args(&spec, argc, argv, &words, &exit_code)) return exit_code;
    if (!cli_output(output, &j.json)) return CLI_USAGE;
    const char *what = words.word[0], *which = words.n > 1 ? words.word[1] : NULL;
    bool rekey = strcmp(what, "rekey") == 0;
    if ((rekey && which) || (!rekey && file)) {
        fprintf(stderr, "samovar store: %s\n",
                which ? "rekey is for all environments and takes no name"
                      : "--new-key-file is for rekey");
        return CLI_USAGE;
    }
    if (cli_config(NULL, &c)) return CLI_CONFIG;
    j.config = c;
    arena_init(&j.arena, ARENA_BYTES);
    exit_code = rekey ? run_rekey(&j, file) : run_each(&j, what, which);
    places_free(&j.places);
    arena_free(&j.arena);
    config_free(c);
    return exit_code;
}
