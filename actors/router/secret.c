/*  secret.c - the key lies in one allocation, once behind each of the words that make it a header. */
#include "secret.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KEY_MAX = 4096 };

static const char *const words[SECRET_FORMS] = {"Authorization: Bearer ",
                                                "x-api-key: ", "api-key: ", "x-goog-api-key: "};

struct secret {
    size_t n, bytes;             /* of the key; of all headers */
    size_t header[SECRET_FORMS]; /* where each begins */
    char text[];
};

static const char *key_of(const secret *s)
{
    return s->text + strlen(words[SECRET_BEARER]);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

int secret_new(sv_str text, const char *source, secret **ret, sv_error *err)
{
    while (text.n > 0 && is_blank(text.p[0])) {
        text.p++;
        text.n--;
    }
    while (text.n > 0 && is_blank(text.p[text.n - 1]))
        text.n--;
    *ret = NULL;
    if (text.n == 0) return 0;
    if (text.n > KEY_MAX)
        return sv_fail(err, SV_E_CONFIG, NULL, "The key in %s is longer than %d bytes.", source,
                       KEY_MAX);
    for (uint32_t i = 0; i < text.n; i++)
        if (text.p[i] <= ' ' || text.p[i] >= 0x7f)
            return sv_fail(
                err, SV_E_CONFIG, NULL,
                "The key in %s has a space, a control character or a character outside ASCII.",
                source);
    size_t bytes = 0;
    for (int i = 0; i < SECRET_FORMS; i++)
        bytes += strlen(words[i]) + text.n + 1;
    secret *s = malloc(sizeof *s + bytes);
    if (s == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    s->n = text.n;
    s->bytes = bytes;
    char *at = s->text;
    for (int i = 0; i < SECRET_FORMS; i++) {
        s->header[i] = (size_t)(at - s->text);
        at = stpcpy(at, words[i]);
        memcpy(at, text.p, text.n);
        at[text.n] = 0;
        at += text.n + 1;
    }
    *ret = s;
    return 0;
}

int secret_from_file(const char *file, secret **ret, sv_error *err)
{
    char text[KEY_MAX + 64];
    struct stat st;
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return sv_fail(err, SV_E_CONFIG, NULL, "The key file %.100s cannot be read: %s.", file,
                       strerror(errno));
    ssize_t n = -1;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) n = read(fd, text, sizeof text);
    close(fd);
    int rc;
    if (n < 0)
        rc = sv_fail(err, SV_E_CONFIG, NULL, "The key file %.100s is no file that can be read.",
                     file);
    else
        rc = secret_new((sv_str){text, (uint32_t)n}, file, ret, err);
    explicit_bzero(text, sizeof text);
    if (rc == 0 && *ret == NULL)
        rc = sv_fail(err, SV_E_CONFIG, NULL, "The key file %.100s is empty.", file);
    return rc;
}

secret *secret_copy(const secret *s)
{
    secret *copy = malloc(sizeof *s + s->bytes);
    if (copy == NULL) return NULL;
    memcpy(copy, s, sizeof *s);
    memcpy(copy->text, s->text, s->bytes);
    return copy;
}

sv_str secret_text(const secret *s)
{
    return (sv_str){key_of(s), (uint32_t)s->n};
}

void secret_free(secret *s)
{
    if (s == NULL) return;
    explicit_bzero(s->text, s->bytes);
    free(s);
}

const char *secret_header(const secret *s, secret_form form)
{
    return s ? s->text + s->header[form] : NULL;
}

/* One character as it is, or as JSON may spell it: "\/" or "\u002f". -1: neither. */
static int next_char(const char **at, const char *end)
{
    const char *p = *at;
    if (p >= end) return -1;
    *at = p + 1;
    if (*p != '\\') return (unsigned char)*p;
    if (end - p >= 6 && p[1] == 'u') {
        char hex[5] = {p[2], p[3], p[4], p[5], 0}, *stop;
        long c = strtol(hex, &stop, 16);
        *at = p + 6;
        return *stop || c <= 0 || c > 0x7e ? -1 : (int)c;
    }
    if (end - p < 2) return '\\';
    *at = p + 2;
    return p[1] == '/' || p[1] == '"' || p[1] == '\\' ? p[1] : -1;
}

/* Whether the key begins at `p`, spelled in any way; *ret_n bytes then. */
static bool key_begins(const secret *s, const char *p, const char *end, uint32_t *ret_n)
{
    const char *key = key_of(s), *at = p;
    if (*p != *key && *p != '\\') return false;
    size_t plain = 0;
    while (plain < s->n && p + plain < end && p[plain] == key[plain])
        plain++; /* also of a key with a backslash of its own */
    *ret_n = (uint32_t)s->n;
    if (plain == s->n) return true;
    for (size_t i = 0; i < s->n; i++)
        if (next_char(&at, end) != key[i]) return false;
    *ret_n = (uint32_t)(at - p);
    return true;
}

bool secret_in(const secret *s, sv_str text)
{
    uint32_t n;
    for (uint32_t i = 0; s && s->n >= 4 && i < text.n; i++)
        if (key_begins(s, text.p + i, text.p + text.n, &n)) return true;
    return false;
}

void secret_blot(const secret *s, buf *text)
{
    if (s == NULL || s->n < 4) return;
    uint32_t n;
    for (char *at = text->p, *end = at + text->n; at && at < end; at++)
        if (key_begins(s, at, end, &n)) {
            memset(at, '*', n);
            at += n - 1;
        }
}

void secret_wipe_env(const char *name)
{
    char *value = getenv(name);
    if (value == NULL) return;
    explicit_bzero(value, strlen(value));
    unsetenv(name);
}
