/*  root_key.c - one place is chosen by the configuration, never the first of several that works: a key
 *  that is missing must not be replaced by another in silence. A new key is made only where it cannot
 *  lock anything away, that is, while no environment exists. */
#include "root_key.h"

#include "error.h"
#include "log.h"
#include "private_file.h"
#include "root_key_file.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { PASSPHRASE_LEAST = 12, PASSPHRASE_MOST = 1024, SALT_LINE = 128 };

static const char salt_format[] = "samovar-root-salt 1 %s\n";

static int join(char *to, const char *a, const char *b, sv_error *err)
{
    int n = snprintf(to, PATH_MAX, "%s%s", a, b);
    if (n >= 0 && n < PATH_MAX) return 0;
    return sv_fail(err, SV_E_CONFIG, "store.root_key_file",
                   "The path of the root key is too long.");
}

/* ---- where ---- */

/* The path without symbolic links, as far as it exists. */
static void resolve(const char *path, char *to)
{
    char head[PATH_MAX], real[PATH_MAX];
    snprintf(head, sizeof head, "%s", path);
    for (size_t n = strlen(head);; head[n] = 0) {
        if (realpath(n ? head : "/", real)) {
            snprintf(to, PATH_MAX, "%.*s%s", (int)(PATH_MAX - 1 - strlen(path + n)), real,
                     path + n);
            return;
        }
        while (n > 0 && head[n - 1] != '/')
            n--;
        if (n > 1) n--;
        if (n == 1 && head[0] == '/') n = 0;
    }
}

static int refuse_inside(const config *c, const char *path, const char *field, sv_error *err)
{
    char data[PATH_MAX], real[PATH_MAX];
    resolve(config_data(c), data);
    resolve(path, real);
    size_t n = strlen(data);
    if (strncmp(real, data, n) != 0 || (real[n] != '/' && real[n] != 0)) return 0;
    return sv_fail(
        err, SV_E_CONFIG, field,
        "%s is inside of the data folder %s: whoever takes the data would have the key to "
        "it. Put it somewhere else.",
        path, config_data(c));
}

static int absolute(const char *path, const char *field, char *to, sv_error *err)
{
    char here[PATH_MAX];
    if (path[0] == '/') return join(to, path, "", err);
    if (getcwd(here, sizeof here) == NULL || strlen(here) + strlen(path) + 2 > PATH_MAX)
        return sv_fail(err, SV_E_CONFIG, field, "%s cannot be found from here.", path);
    int n = snprintf(to, PATH_MAX, "%s/%s", here, path);
    return n > 0 && n < PATH_MAX ? 0 : SV_E_CONFIG;
}

/* Where it is when no setting says so. */
static int default_place(root_key_source *s, sv_error *err)
{
    const char *credentials = getenv("CREDENTIALS_DIRECTORY");
    const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (credentials && credentials[0] == '/') {
        int rc = join(s->path, credentials, "/samovar.root_key", err);
        if (rc || access(s->path, F_OK) == 0) {
            s->read_only = true;
            return rc;
        }
    }
    if (xdg && xdg[0] == '/') return join(s->path, xdg, "/samovar/root.key", err);
    if (home && home[0] == '/') return join(s->path, home, "/.config/samovar/root.key", err);
    return sv_fail(err, SV_E_CONFIG, "store.root_key_file",
                   "There is no place for the root key: set store.root_key_file, or HOME.");
}

int root_key_where(const config *c, root_key_source *ret, sv_error *err)
{
    const char *file = config_str(c, "store.root_key_file");
    const char *passphrase = config_str(c, "store.passphrase_file");
    root_key_source s = {.passphrase = passphrase != NULL};
    const char *field = passphrase ? "store.passphrase_file" : "store.root_key_file";
    if (file && passphrase)
        return sv_fail(
            err, SV_E_CONFIG, "store.passphrase_file",
            "The root key is in store.root_key_file or made of store.passphrase_file, not "
            "both: remove one.");
    int rc = passphrase ? absolute(passphrase, field, s.path, err)
             : file     ? absolute(file, field, s.path, err)
                        : default_place(&s, err);
    if (rc == 0) rc = join(s.next, s.path, ".new", err);
    if (rc == 0) rc = join(s.salt, config_data(c), "/store/root.salt", err);
    if (rc == 0) rc = refuse_inside(c, s.path, field, err);
    if (rc == 0) *ret = s;
    return rc;
}

/* ---- is there anything that a new key would lock away? ---- */

static int environments(const config *c, bool *ret, sv_error *err)
{
    char folder[PATH_MAX], file[PATH_MAX];
    int rc = join(folder, config_data(c), "/store", err);
    *ret = false;
    if (rc) return rc;
    DIR *d = opendir(folder);
    if (d == NULL && errno == ENOENT) return 0;
    if (d == NULL)
        return sv_fail(err, SV_E_IO, "data", "%s cannot be read: %s.", folder, strerror(errno));
    for (struct dirent *e = readdir(d); e && !*ret; e = readdir(d)) {
        int n = snprintf(file, sizeof file, "%s/%s/data.mdb", folder, e->d_name);
        *ret = n >= PATH_MAX || access(file, F_OK) == 0;
    }
    closedir(d);
    return 0;
}

static int missing(const char *what, const char *path, sv_error *err)
{
    return sv_fail(err, SV_E_CONFIG, "store.root_key_file",
                   "%s is missing, and there is data that needs it: put it back as %s. Without it "
                   "sealed values cannot be opened.",
                   what, path);
}

/* ---- keys ---- */

static int no_key_memory(sv_error *err)
{
    return sv_fail(
        err, SV_E_NO_MEMORY, NULL,
        "There is no memory for the root key; a passphrase takes a GiB for a moment, and keys "
        "need locked memory (RLIMIT_MEMLOCK).");
}

static int read_salt(const char *path, uint8_t salt[SEAL_SALT], sv_error *err)
{
    char line[SALT_LINE] = "", hex[2 * SEAL_SALT + 2] = "", end;
    size_t n = 0;
    int rc = private_file_read(path, "the passphrase's salt", line, sizeof line - 1, &n, err);
    if (rc) return rc;
    bool good = sscanf(line, "samovar-root-salt 1 %33[0-9a-f]%c", hex, &end) == 2 && end == '\n' &&
                strlen(hex) == 2 * SEAL_SALT;
    for (size_t i = 0; good && i < SEAL_SALT; i++)
        good = sscanf(hex + 2 * i, "%2hhx", &salt[i]) == 1;
    return good ? 0
                : sv_fail(err, SV_E_CONFIG, "store.passphrase_file",
                          "%s is not the salt of a passphrase.", path);
}

/* The salt is the beginning of a random key. */
static int make_salt(const char *path, sv_error *err)
{
    char hex[2 * SEAL_SALT + 1], line[SALT_LINE];
    seal_key *k = seal_key_new();
    if (k == NULL) return no_key_memory(err);
    for (int i = 0; i < SEAL_SALT; i++)
        snprintf(hex + 2 * i, 3, "%02x", seal_key_bytes(k)[i]);
    seal_key_free(k);
    snprintf(line, sizeof line, salt_format, hex);
    int rc = private_file_write(path, sv_cstr(line), err);
    if (rc == 0)
        log_write(LOG_WARN, "a salt for the passphrase was made", LOG_STR("path", path),
                  LOG_STR("advice",
                          "it is not secret; backups contain it, and without it the passphrase "
                          "opens nothing"));
    return rc == SV_E_CONFLICT ? 0 : rc;
}

/* The first line of the file. */
static int read_passphrase(const char *path, const uint8_t salt[SEAL_SALT], seal_key **ret,
                           sv_error *err)
{
    char text[PASSPHRASE_MOST];
    size_t n = 0;
    int rc = private_file_read(path, "the passphrase", text, sizeof text, &n, err);
    const char *end = rc == 0 ? memchr(text, '\n', n) : NULL;
    if (end) n = (size_t)(end - text);
    if (rc == 0 && n < PASSPHRASE_LEAST)
        rc = sv_fail(err, SV_E_CONFIG, "store.passphrase_file",
                     "The passphrase in %s is too short: its first line must have %d to %d bytes.",
                     path, PASSPHRASE_LEAST, PASSPHRASE_MOST);
    if (rc == 0) {
        *ret = seal_key_stretch((sv_str){text, (uint32_t)n}, salt);
        if (*ret == NULL) rc = no_key_memory(err);
    }
    seal_wipe(text, sizeof text);
    return rc;
}

static int guard_memory(sv_error *err)
{
    return prctl(PR_SET_DUMPABLE, 0)
               ? sv_fail(err, SV_E_IO, NULL, "The memory of this process cannot be protected: %s.",
                         strerror(errno))
               : 0;
}

int root_key_load(const root_key_source *s, const char *path, seal_key **ret, sv_error *err)
{
    uint8_t salt[SEAL_SALT];
    if (guard_memory(err)) return SV_E_IO;
    if (!s->passphrase) return root_key_read(path, ret, err);
    int rc = read_salt(s->salt, salt, err);
    return rc ? rc : read_passphrase(path, salt, ret, err);
}

/* Makes what is missing, if nothing needs it. */
static int make(const config *c, const root_key_source *s, sv_error *err)
{
    bool needed;
    const char *path = s->passphrase ? s->salt : s->path;
    int rc = environments(c, &needed, err);
    if (rc) return rc;
    if (needed && access(path, F_OK) == 0) return 0; /* another process was faster, and went on */
    if (needed) return missing(s->passphrase ? "The passphrase's salt" : "The root key", path, err);
    if (s->passphrase) return make_salt(path, err);
    seal_key *k = seal_key_new();
    if (k == NULL) return no_key_memory(err);
    rc = root_key_write(path, k, err);
    seal_key_free(k);
    if (rc == SV_E_CONFLICT) { /* another process was faster */
        if (err) *err = (sv_error){.code = 0};
        return 0;
    }
    if (rc == 0)
        log_write(LOG_WARN, "a root key was made", LOG_STR("path", path),
                  LOG_STR("advice",
                          "keep a copy of it in a safe place, apart from backups: without it "
                          "their secrets cannot be opened"));
    return rc;
}

static int load_or_make(const config *c, const root_key_source *s, bool may_make, seal_key **ret,
                        sv_error *err)
{
    const char *first = s->passphrase ? s->salt : s->path;
    if (access(first, F_OK) && errno == ENOENT) {
        int rc = may_make && !s->read_only ? make(c, s, err)
                                           : sv_fail(err, SV_E_NOT_FOUND, "store.root_key_file",
                                                     "There is no root key: %s is missing.", first);
        if (rc) return rc;
    }
    return root_key_load(s, s->path, ret, err);
}

int root_key_next(const config *c, seal_key **ret, sv_error *err)
{
    root_key_source s;
    int rc = root_key_where(c, &s, err);
    if (rc) return rc;
    if (access(s.next, F_OK) == 0) return root_key_load(&s, s.next, ret, err);
    return sv_fail(
        err, SV_E_NOT_FOUND, NULL,
        "The root key is not being changed: there is no %s. samovar store rekey makes it.", s.next);
}

/* The present key decides; a next one that cannot be read must not stop a start. */
static seal_key *next_if_any(const config *c)
{
    root_key_source s;
    sv_error why = {.code = 0};
    seal_key *k = NULL;
    if (root_key_where(c, &s, NULL) || access(s.next, F_OK)) return NULL;
    if (root_key_load(&s, s.next, &k, &why))
        log_write(LOG_WARN, "the next root key cannot be used", LOG_ERR(&why));
    return k;
}

/* What the supervisor handed down; the variable and the descriptor end here. */
static int inherited(seal_key **ret, sv_error *err)
{
    const char *text = getenv("SAMOVAR_ROOT_KEY_FD");
    char *end;
    if (text == NULL) return SV_E_NOT_FOUND;
    long fd = strtol(text, &end, 10);
    bool good = *text && *end == 0 && fd >= 3 && fd <= INT_MAX;
    unsetenv("SAMOVAR_ROOT_KEY_FD");
    if (!good)
        return sv_fail(err, SV_E_CONFIG, "SAMOVAR_ROOT_KEY_FD",
                       "SAMOVAR_ROOT_KEY_FD is not the number of a descriptor.");
    int rc = guard_memory(err);
    if (rc == 0) rc = root_key_from_fd((int)fd, ret, err);
    close((int)fd);
    return rc;
}

static int get(const config *c, bool may_make, seal_key **ret, seal_key **ret_next, sv_error *err)
{
    root_key_source s;
    seal_key *k = NULL, *next = next_if_any(c); /* first: a change may end meanwhile */
    int rc = inherited(&k, err);
    if (rc == SV_E_NOT_FOUND) {
        rc = root_key_where(c, &s, err);
        if (rc == 0) rc = load_or_make(c, &s, may_make, &k, err);
    }
    if (rc) {
        seal_key_free(next);
        return rc;
    }
    *ret = k;
    *ret_next = next;
    return 0;
}

int root_key_get(const config *c, seal_key **ret, seal_key **ret_next, sv_error *err)
{
    return get(c, true, ret, ret_next, err);
}

int root_key_find(const config *c, seal_key **ret, seal_key **ret_next, sv_error *err)
{
    return get(c, false, ret, ret_next, err);
}

int root_salt_get(const config *c, char hex[2 * SEAL_SALT + 1], sv_error *err)
{
    root_key_source s;
    uint8_t salt[SEAL_SALT];
    hex[0] = 0;
    int rc = root_key_where(c, &s, err);
    if (rc || !s.passphrase) return rc;
    rc = read_salt(s.salt, salt, err);
    for (int i = 0; rc == 0 && i < SEAL_SALT; i++)
        snprintf(hex + 2 * i, 3, "%02x", salt[i]);
    return rc;
}

int root_salt_put(const config *c, const char *hex, sv_error *err)
{
    root_key_source s;
    char line[SALT_LINE], present[2 * SEAL_SALT + 1];
    int rc = root_key_where(c, &s, err);
    if (rc || !s.passphrase) return rc;
    snprintf(line, sizeof line, salt_format, hex);
    rc = private_file_write(s.salt, sv_cstr(line), NULL);
    if (rc != SV_E_CONFLICT) return rc ? sv_fail(err, rc, NULL, NULL) : 0;
    rc = root_salt_get(c, present, err);
    if (rc || strcmp(present, hex) == 0) return rc;
    return sv_fail(err, SV_E_CONFLICT, NULL,
                   "The backup was made with another salt for the passphrase than %.120s holds: "
                   "restore it into an empty data folder.",
                   s.salt);
}
