/*  manifest.c - the manifest is JSON for people and other programs; it is read as strictly as what
 *  comes from outside. */
#include "manifest.h"

#include "error.h"
#include "json_scan.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { FORMAT = 1, TEXT_BYTES = 1 << 20, PATH = 4096 };

int manifest_add(manifest *m, const manifest_file *f)
{
    if (m->n == MANIFEST_FILES) return SV_E_TOO_LARGE;
    if ((m->n & (m->n - 1)) == 0) {
        manifest_file *file = realloc(m->file, (m->n ? 2 * m->n : 1) * sizeof *file);
        if (file == NULL) return SV_E_NO_MEMORY;
        m->file = file;
    }
    m->file[m->n++] = *f;
    return 0;
}

void manifest_free(manifest *m)
{
    free(m->file);
    *m = (manifest){.n = 0};
}

void manifest_file_name(const manifest_file *f, char name[LIMIT_NAME_BYTES + 20])
{
    snprintf(name, LIMIT_NAME_BYTES + 20, "%s-%u.mdb", f->service, f->instance);
}

/* ---- names ---- */

void manifest_name(int64_t unix_s, char name[MANIFEST_NAME + 1])
{
    struct tm t;
    time_t at = (time_t)unix_s;
    gmtime_r(&at, &t);
    strftime(name, MANIFEST_NAME + 1, "%Y%m%dT%H%M%SZ", &t);
}

bool manifest_is_name(const char *name)
{
    static const char shape[] = "ddddddddTddddddZ";
    if (strlen(name) != MANIFEST_NAME) return false;
    for (size_t i = 0; i < MANIFEST_NAME; i++)
        if (shape[i] == 'd' ? !isdigit((unsigned char)name[i]) : name[i] != shape[i]) return false;
    return true;
}

/* ---- writing ---- */

static void print(const manifest *m, buf *out)
{
    char name[LIMIT_NAME_BYTES + 20];
    buf_printf(out, "{\"format\":%d,\"created\":\"%s\",\"samovar\":\"" SAMOVAR_VERSION "\",",
               FORMAT, m->created);
    if (m->root_salt[0]) buf_printf(out, "\"root_salt\":\"%s\",", m->root_salt);
    buf_puts(out, "\"files\":[");
    for (size_t i = 0; i < m->n; i++) {
        const manifest_file *f = &m->file[i];
        manifest_file_name(f, name);
        buf_printf(out,
                   "%s\n {\"file\":\"%s\",\"bytes\":%llu,\"blake2b_256\":\"%s\",\"service\":\"%s\","
                   "\"instance\":%u,\"version\":%llu,\"epoch\":%llu,\"last_txn\":%llu}",
                   i ? "," : "", name, (unsigned long long)f->bytes, f->hash, f->service,
                   f->instance, (unsigned long long)f->version, (unsigned long long)f->epoch,
                   (unsigned long long)f->last_txn);
    }
    buf_puts(out, "\n]}\n");
}

int manifest_write(const manifest *m, const char *folder, sv_error *err)
{
    char path[PATH];
    buf text;
    snprintf(path, sizeof path, "%s/MANIFEST.json", folder);
    buf_init(&text, TEXT_BYTES);
    print(m, &text);
    int rc = text.failed ? sv_fail(err, SV_E_NO_MEMORY, NULL, NULL) : 0;
    int fd = rc ? -1 : open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool good = fd >= 0 && write(fd, text.p, text.n) == (ssize_t)text.n && fsync(fd) == 0;
    if (rc == 0 && !good)
        rc = sv_fail(err, SV_E_IO, NULL, "%.150s cannot be written: %s.", path, strerror(errno));
    if (fd >= 0) close(fd);
    buf_free(&text);
    return rc;
}

/* ---- reading ---- */

static int bad(sv_error *err, const char *what)
{
    return sv_fail(err, SV_E_MALFORMED, NULL, "MANIFEST.json: %s", what);
}

static bool text_of(json_value v, char *to, size_t size)
{
    buf text;
    buf_init(&text, size);
    bool good =
        json_text(v, &text) == 0 && text.n < size && !memchr(text.p ? text.p : "", 0, text.n);
    if (good) snprintf(to, size, "%.*s", (int)text.n, text.p ? text.p : "");
    buf_free(&text);
    return good;
}

static bool number_of(json_value o, const char *key, uint64_t *ret)
{
    int64_t n;
    if (json_int(json_get(o, key), &n) || n < 0) return false;
    *ret = (uint64_t)n;
    return true;
}

static bool service_ok(const char *s)
{
    bool good = islower((unsigned char)s[0]);
    for (; good && *s; s++)
        good = islower((unsigned char)*s) || isdigit((unsigned char)*s) || *s == '-';
    return good;
}

static int read_file(json_value o, manifest_file *f, sv_error *err)
{
    char name[LIMIT_NAME_BYTES + 20], said[LIMIT_NAME_BYTES + 20];
    uint64_t instance;
    *f = (manifest_file){.instance = 0};
    if (!text_of(json_get(o, "service"), f->service, sizeof f->service) || !service_ok(f->service))
        return bad(err, "service of a file is not a service's name.");
    if (!number_of(o, "instance", &instance) || instance == 0 || instance > UINT32_MAX)
        return bad(err, "instance of a file is not a number from 1.");
    f->instance = (uint32_t)instance;
    manifest_file_name(f, name);
    if (!text_of(json_get(o, "file"), said, sizeof said) || strcmp(name, said) != 0)
        return bad(err, "file is not SERVICE-N.mdb of its service and instance.");
    if (!text_of(json_get(o, "blake2b_256"), f->hash, sizeof f->hash) ||
        strspn(f->hash, "0123456789abcdef") != 64)
        return bad(err, "blake2b_256 of a file is not 64 hex digits.");
    if (!number_of(o, "bytes", &f->bytes) || !number_of(o, "version", &f->version) ||
        !number_of(o, "epoch", &f->epoch) || !number_of(o, "last_txn", &f->last_txn))
        return bad(err, "bytes, version, epoch or last_txn of a file is not a number.");
    return 0;
}

static int parse(sv_str text, manifest *m, sv_error *err)
{
    json_value root = json_root(text), o;
    uint64_t format = 0;
    size_t at = 0;
    int rc = json_skim(text, 8, err);
    if (rc) return rc;
    if (!number_of(root, "format", &format)) return bad(err, "format is missing.");
    if (format != FORMAT)
        return sv_fail(err, SV_E_VERSION, NULL, "MANIFEST.json is of format %llu, not %d.",
                       (unsigned long long)format, FORMAT);
    if (!text_of(json_get(root, "created"), m->created, sizeof m->created))
        return bad(err, "created is not a time.");
    json_value salt = json_get(root, "root_salt");
    if (salt.type != JSON_NONE && (!text_of(salt, m->root_salt, sizeof m->root_salt) ||
                                   strspn(m->root_salt, "0123456789abcdef") != 32))
        return bad(err, "root_salt is not 32 hex digits.");
    if (json_get(root, "files").type != JSON_ARRAY) return bad(err, "files is not a list.");
    while (rc == 0 && json_next_element(json_get(root, "files"), &at, &o)) {
        manifest_file f;
        if ((rc = read_file(o, &f, err))) break;
        for (size_t i = 0; i < m->n; i++)
            if (m->file[i].instance == f.instance && strcmp(m->file[i].service, f.service) == 0)
                return bad(err, "an environment is in it twice.");
        if ((rc = manifest_add(m, &f))) sv_fail(err, rc, NULL, NULL);
    }
    return rc;
}

int manifest_read(const char *folder, manifest *ret, sv_error *err)
{
    char path[PATH];
    char *text = malloc(TEXT_BYTES);
    *ret = (manifest){.n = 0};
    if (text == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    snprintf(path, sizeof path, "%s/MANIFEST.json", folder);
    FILE *f = fopen(path, "re");
    int saved = errno;
    size_t n = f ? fread(text, 1, TEXT_BYTES, f) : 0;
    int rc = 0;
    if (f == NULL && saved == ENOENT)
        rc = sv_fail(err, SV_E_NOT_FOUND, NULL, "There is no finished backup in %.150s.", folder);
    else if (f == NULL || ferror(f))
        rc = sv_fail(err, SV_E_IO, NULL, "%.150s cannot be read: %s.", path, strerror(saved));
    else if (n == TEXT_BYTES)
        rc = bad(err, "it is larger than a manifest can be.");
    if (f) fclose(f);
    if (rc == 0) rc = parse((sv_str){text, (uint32_t)n}, ret, err);
    if (rc) manifest_free(ret);
    free(text);
    return rc;
}
