/*  keyfile.c - writes through a temporary file and link(2), so that a name is taken at most once
 *  and never seen half-written; reads with one bounded read(2) and a line parser that accepts
 *  nothing else. */
#include "keyfile.h"

#include "envelope.h"
#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_BYTES = 1024 };

static const char first_line[] = "samovar-curve-key 1";

static bool z85_ok(const char *s)
{
    static const char alphabet[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   ".-:+=^!/*?&<>()[]{}@%$#";
    return strlen(s) == KEYFILE_Z85 && strspn(s, alphabet) == KEYFILE_Z85;
}

int keyfile_new(const char *name, const char *public_key, const char *secret, keyfile *ret,
                sv_error *err)
{
    if (name == NULL || !envelope_name_ok(sv_cstr(name)))
        return sv_fail(err, SV_E_INVALID, "name",
                       "A key's name is 1 to %d characters of a-z, 0-9 and -, a letter first.",
                       LIMIT_NAME_BYTES);
    if (public_key == NULL || !z85_ok(public_key))
        return sv_fail(err, SV_E_INVALID, "public", "The public key is not 40 characters of Z85.");
    if (secret && !z85_ok(secret))
        return sv_fail(err, SV_E_INVALID, "secret", "The secret key is not 40 characters of Z85.");
    memset(ret, 0, sizeof *ret);
    strcpy(ret->name, name);
    strcpy(ret->public_key, public_key);
    if (secret) strcpy(ret->secret, secret);
    return 0;
}

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

static int write_file(const char *path, const char *text, size_t n, mode_t mode, sv_error *err)
{
    char tmp[4096];
    int len = snprintf(tmp, sizeof tmp, "%s.%ld.tmp", path, (long)getpid());
    if (len < 0 || (size_t)len >= sizeof tmp)
        return sv_fail(err, SV_E_CONFIG, "path", "The path of the key file is too long.");
    (void)unlink(tmp);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0)
        return sv_fail(err, SV_E_IO, "path", "Cannot create %s: %s.", path, strerror(errno));
    int rc = 0;
    /* fchmod: the umask must not decide who may read a key. */
    if (fchmod(fd, mode) || write_all(fd, text, n) || fsync(fd))
        rc = sv_fail(err, SV_E_IO, "path", "Cannot write %s: %s.", path, strerror(errno));
    close(fd);
    if (rc == 0 && link(tmp, path)) {
        if (errno == EEXIST)
            rc = sv_fail(err, SV_E_CONFLICT, "path",
                         "%s exists already and is not replaced; remove it first.", path);
        else
            rc = sv_fail(err, SV_E_IO, "path", "Cannot create %s: %s.", path, strerror(errno));
    }
    (void)unlink(tmp);
    return rc;
}

int keyfile_write(const keyfile *k, const char *path, bool with_secret, sv_error *err)
{
    if (with_secret && !k->secret[0])
        return sv_fail(err, SV_E_INVALID, "secret", "There is no secret key to write.");
    char text[FILE_BYTES];
    int n =
        snprintf(text, sizeof text, "%s\nname %s\npublic %s\n", first_line, k->name, k->public_key);
    if (with_secret) n += snprintf(text + n, sizeof text - (size_t)n, "secret %s\n", k->secret);
    int rc = write_file(path, text, (size_t)n, with_secret ? 0600 : 0644, err);
    explicit_bzero(text, sizeof text);
    return rc;
}

/* Cuts the next line, which must begin with `word` and a space; its rest goes to *value. */
static int take_line(char **text, const char *word, const char *path, int line, char **value,
                     sv_error *err)
{
    size_t n = strlen(word);
    char *end = strchr(*text, '\n');
    if (end == NULL || strncmp(*text, word, n) != 0 || (*text)[n] != ' ')
        return sv_fail(err, SV_E_CONFIG, word, "%s:%d: a line \"%s ...\" is expected here.", path,
                       line, word);
    *end = 0;
    *value = *text + n + 1;
    *text = end + 1;
    return 0;
}

static int parse(char *text, const char *path, keyfile *ret, sv_error *err)
{
    size_t n = strlen(first_line);
    if (strncmp(text, first_line, n) != 0 || text[n] != '\n')
        return sv_fail(err, SV_E_CONFIG, "", "%s:1: not a key file: the first line must be \"%s\".",
                       path, first_line);
    text += n + 1;
    char *name = NULL, *public_key = NULL, *secret = NULL;
    int rc = take_line(&text, "name", path, 2, &name, err);
    if (rc == 0) rc = take_line(&text, "public", path, 3, &public_key, err);
    if (rc == 0 && *text) rc = take_line(&text, "secret", path, 4, &secret, err);
    if (rc) return rc;
    if (*text)
        return sv_fail(err, SV_E_CONFIG, "", "%s:5: nothing may follow the secret line.", path);
    sv_error e = {0};
    rc = keyfile_new(name, public_key, secret, ret, &e);
    if (rc) {
        int line = strcmp(e.field, "name") == 0 ? 2 : strcmp(e.field, "public") == 0 ? 3 : 4;
        return sv_fail(err, SV_E_CONFIG, e.field, "%s:%d: %.160s", path, line, e.message);
    }
    return 0;
}

static int check_shape(const struct stat *st, const char *path, sv_error *err)
{
    if (!S_ISREG(st->st_mode))
        return sv_fail(err, SV_E_CONFIG, "path", "%s is not a regular file.", path);
    if (st->st_size > FILE_BYTES - 1)
        return sv_fail(err, SV_E_CONFIG, "path", "%s:1: not a key file: larger than %d bytes.",
                       path, FILE_BYTES - 1);
    return 0;
}

static int check_private(const struct stat *st, const char *path, sv_error *err)
{
    if (st->st_mode & 077)
        return sv_fail(err, SV_E_CONFIG, "path",
                       "%s holds a secret that others may read or change (mode %04o); run: "
                       "chmod 600 %s",
                       path, (unsigned)(st->st_mode & 07777), path);
    if (st->st_uid != geteuid() && st->st_uid != 0)
        return sv_fail(err, SV_E_CONFIG, "path",
                       "%s holds a secret and belongs to another user (uid %u).", path,
                       (unsigned)st->st_uid);
    return 0;
}

/* At most `room` bytes, or -1. */
static ssize_t read_all(int fd, char *p, size_t room)
{
    size_t n = 0;
    while (n < room) {
        ssize_t r = read(fd, p + n, room - n);
        if (r < 0 && errno == EINTR) continue;
        if (r < 0) return -1;
        if (r == 0) break;
        n += (size_t)r;
    }
    return (ssize_t)n;
}

int keyfile_read(const char *path, keyfile *ret, sv_error *err)
{
    /* O_NONBLOCK: opening a FIFO must not wait for a writer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        int rc = errno == ENOENT                                       ? SV_E_NOT_FOUND
                 : errno == EACCES || errno == ELOOP || errno == ENXIO ? SV_E_CONFIG
                                                                       : SV_E_IO;
        return sv_fail(err, rc, "path", "Cannot open %s: %s.", path, strerror(errno));
    }
    char text[FILE_BYTES] = "";
    keyfile k = {0};
    struct stat st;
    int rc = 0;
    if (fstat(fd, &st))
        rc = sv_fail(err, SV_E_IO, "path", "Cannot examine %s: %s.", path, strerror(errno));
    if (rc == 0) rc = check_shape(&st, path, err);
    ssize_t n = rc == 0 ? read_all(fd, text, sizeof text - 1) : 0;
    if (n < 0)
        rc = sv_fail(err, SV_E_IO, "path", "Cannot read %s: %s.", path, strerror(errno));
    else if (strlen(text) != (size_t)n)
        rc = sv_fail(err, SV_E_CONFIG, "", "%s:1: not a key file: it holds a NUL byte.", path);
    close(fd);
    if (rc == 0) rc = parse(text, path, &k, err);
    if (rc == 0 && k.secret[0]) rc = check_private(&st, path, err);
    if (rc == 0) *ret = k;
    keyfile_clear(&k);
    explicit_bzero(text, sizeof text);
    return rc;
}

void keyfile_clear(keyfile *k)
{
    explicit_bzero(k, sizeof *k);
}
