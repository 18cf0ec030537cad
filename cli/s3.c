/*  s3.c - one request at a time on a loop of its own, repeated as long as that may help.
 *
 *  Every try is one `answer`: its status, its bytes in a buffer or in a file, and how it ended. What
 *  is sent is signed by libcurl; the body's hash is taken in a first reading of the file, so that the
 *  store refuses bytes that changed on the way. */
#include "s3.h"

#include "error.h"
#include "http_client.h"
#include "http_guard.h"
#include "s3_list.h"
#include "sha256.h"
#include "uuid.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    URL_BYTES = 1000,
    PAGE_BYTES = 8 << 20,
    WORDS_BYTES = 65536, /* of an answer that is no object */
    PAGES = 1000,
    CONNECT_MS = 10000,
    SILENCE_MS = 60000,
    SHORT_MS = 120000, /* a request without a large body */
    SLOWEST = 16384,   /* bytes a second that a large one may take */
    PAUSE_MS = 500,    /* before the second try, then twice as long each time */
    PAUSE_MAX_MS = 30000
};

struct s3 {
    loop *loop;
    http_client *http;
    char url[URL_BYTES + 1];    /* without a slash at its end */
    size_t bucket_n;            /* of url: to the end of the bucket */
    char prefix[URL_BYTES + 2]; /* of every key: "" or "backups/" */
    http_sigv4 sign;
    char *region, *access_key, *secret_key;
};

typedef struct answer {
    s3 *s;
    http_transfer *t;
    bool done;
    int code;
    sv_error err;
    int status;
    uint32_t retry_after_s;
    int fd; /* bytes of a 200 go here; -1: into `body` */
    uint64_t written;
    int write_errno;
    buf body;
} answer;

/* ---- URLs ---- */

static bool plain_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == '~';
}

/* RFC 3986, as signatures want it: everything but unreserved characters, and slashes in a path. */
static void put_encoded(buf *out, const char *text, bool path)
{
    for (const char *c = text; *c; c++) {
        if (plain_char(*c) || (path && *c == '/'))
            buf_putc(out, *c);
        else
            buf_printf(out, "%%%02X", (unsigned char)*c);
    }
}

bool s3_is_url(const char *text)
{
    return strncmp(text, "https://", 8) == 0 || strncmp(text, "http://", 7) == 0;
}

static bool segment_ok(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!plain_char(p[i])) return false;
    return n > 0 && !(n == 1 && p[0] == '.') && !(n == 2 && p[0] == '.' && p[1] == '.');
}

static int no_url(sv_error *err, const char *what)
{
    return sv_fail(err, SV_E_INVALID, "backup.s3_url",
                   "The URL of the store %s; it looks like https://HOST/BUCKET/PREFIX.", what);
}

static int read_url(s3 *s, const char *url, sv_error *err)
{
    http_url parts;
    size_t n = strlen(url);
    while (n > 0 && url[n - 1] == '/')
        n--;
    if (n > URL_BYTES) return no_url(err, "is over 1000 bytes long");
    memcpy(s->url, url, n);
    s->url[n] = 0;
    if (!s3_is_url(s->url)) return no_url(err, "does not begin with https://");
    int rc = http_url_check(s->url, HTTP_TRUST_OPERATOR_TLS, err);
    if (rc == 0) rc = http_url_parse(s->url, &parts, err);
    if (rc) return rc;
    if (parts.userinfo)
        return no_url(err, "holds a name or password, which belong in the settings");
    const char *path = strchr(strstr(s->url, "//") + 2, '/');
    if (path == NULL) return no_url(err, "names no bucket");
    for (const char *at = path; *at; at += strcspn(at + 1, "/") + 1)
        if (!segment_ok(at + 1, strcspn(at + 1, "/")))
            return no_url(err, "has a part that is not letters, digits, '-', '_', '.' and '~'");
    size_t bucket = strcspn(path + 1, "/");
    s->bucket_n = (size_t)(path - s->url) + 1 + bucket;
    if (path[1 + bucket]) snprintf(s->prefix, sizeof s->prefix, "%s/", path + 2 + bucket);
    return 0;
}

static int object_url(const s3 *s, const char *key, buf *out, sv_error *err)
{
    size_t n = strlen(key);
    if (n == 0 || n + strlen(s->prefix) > S3_KEY_BYTES)
        return sv_fail(err, SV_E_INVALID, "key", "An object's key has 1 to %d bytes.",
                       S3_KEY_BYTES);
    buf_init(out, HTTP_URL_BYTES);
    buf_put(out, s->url, s->bucket_n);
    buf_putc(out, '/');
    put_encoded(out, s->prefix, true);
    put_encoded(out, key, true);
    buf_putc(out, 0);
    if (!out->failed) return 0;
    buf_free(out);
    return sv_fail(err, SV_E_TOO_LARGE, "key", "The URL of an object is over %d bytes long.",
                   HTTP_URL_BYTES);
}

/* ---- one try ---- */

static void on_head(void *arg, const http_head *head)
{
    answer *a = arg;
    a->status = head->status;
    for (uint32_t i = 0; i < head->retry_after.n && a->retry_after_s < 1000; i++) {
        char c = head->retry_after.p[i];
        if (c < '0' || c > '9') break; /* a date: our own pause will do */
        a->retry_after_s = a->retry_after_s * 10 + (uint32_t)(c - '0');
    }
}

static void stop(answer *a, int code)
{
    if (a->t) http_cancel(a->t);
    a->code = code;
    a->done = true;
    loop_stop(a->s->loop);
}

static bool on_data(void *arg, sv_str bytes)
{
    answer *a = arg;
    if (a->fd < 0 || a->status != 200) {
        if (buf_put(&a->body, bytes.p, bytes.n)) stop(a, SV_E_PROVIDER_TOO_LARGE);
        return true;
    }
    for (uint32_t at = 0; at < bytes.n;) {
        ssize_t n = write(a->fd, bytes.p + at, bytes.n - at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            a->write_errno = errno;
            stop(a, SV_E_IO);
            return true;
        }
        at += (uint32_t)n;
        a->written += (uint32_t)n;
    }
    return true;
}

static void on_done(void *arg, int code, const sv_error *err)
{
    answer *a = arg;
    a->t = NULL;
    if (code) a->err = *err;
    stop(a, code);
}

static const http_events events = {on_head, on_data, on_done};

static int try_once(s3 *s, const http_spec *spec, answer *a, sv_error *err)
{
    a->done = false;
    a->code = a->status = a->write_errno = 0;
    a->retry_after_s = 0;
    a->written = 0;
    a->err = (sv_error){.code = 0};
    buf_reset(&a->body, 0);
    if (a->fd >= 0 && (ftruncate(a->fd, 0) || lseek(a->fd, 0, SEEK_SET) < 0))
        return sv_fail(err, SV_E_IO, NULL, "A download cannot be written: %s.", strerror(errno));
    a->t = http_start(s->http, spec, &events, a, err);
    if (a->t == NULL) return err && err->code ? err->code : SV_E_NO_MEMORY;
    return a->done ? 0 : loop_run(s->loop, err);
}

/* ---- repeating ---- */

static bool worth_repeating(const answer *a)
{
    switch (a->code) {
    case 0: return a->status == 429 || a->status >= 500;
    case SV_E_PROVIDER_UNREACHABLE:
    case SV_E_PROVIDER_TIMEOUT:
    case SV_E_PROVIDER_CUT:
    case SV_E_PROVIDER_GARBAGE: return true;
    default: return false;
    }
}

static void wake(void *arg)
{
    loop_stop(arg);
}

static int pause_before(s3 *s, uint32_t tries, const answer *a, sv_error *err)
{
    uint64_t ms = (uint64_t)PAUSE_MS << (tries - 1);
    uint32_t dice;
    uuid_random(&dice, sizeof dice);
    ms = ms / 2 + dice % ms; /* 50 % to 150 % */
    if (ms < (uint64_t)a->retry_after_s * 1000) ms = (uint64_t)a->retry_after_s * 1000;
    if (ms > PAUSE_MAX_MS) ms = PAUSE_MAX_MS;
    loop_timer timer = {.slot = 0};
    int rc = loop_timer_set(s->loop, &timer, ms * 1000, wake, s->loop);
    return rc ? sv_fail(err, rc, NULL, NULL) : loop_run(s->loop, err);
}

/* What the last try was, in words: what came of it, and what had been asked for. */
static int explain(const answer *a, const http_spec *spec, uint32_t tries, sv_error *err)
{
    char words[256], after[32] = "";
    size_t n = strlen(spec->url), skip = n > 70 ? n - 70 : 0; /* the end says most */
    const char *dots = skip ? "..." : "", *end = spec->url + skip;
    if (tries > 1) snprintf(after, sizeof after, ", tried %u times", tries);
    if (a->code == SV_E_IO && a->write_errno)
        return sv_fail(err, SV_E_IO, NULL, "A download cannot be written: %s.",
                       strerror(a->write_errno));
    if (a->code) {
        const char *why = a->err.detail[0]    ? a->err.detail
                          : a->err.message[0] ? a->err.message
                                              : sv_error_lookup(a->code)->text;
        return sv_fail(err, a->code, NULL, "The store does not answer: %.100s (%s %s%s%s).", why,
                       spec->method, dots, end, after);
    }
    s3_error_words(buf_str(&a->body), words);
    int code = a->status == 404   ? SV_E_NOT_FOUND
               : a->status >= 500 ? SV_E_PROVIDER_UNREACHABLE
                                  : SV_E_PROVIDER_REFUSED;
    return sv_fail(err, code, NULL, "The store answered HTTP %d%s%.110s (%s %s%s%s).", a->status,
                   words[0] ? ": " : "", words, spec->method, dots, end, after);
}

/* Until it is answered with `good`, or there is no sense in going on. */
static int request(s3 *s, http_spec *spec, int good, answer *a, sv_error *err)
{
    spec->trust = HTTP_TRUST_OPERATOR_TLS;
    spec->sign = &s->sign;
    spec->connect_ms = CONNECT_MS;
    spec->first_byte_ms = spec->idle_ms = SILENCE_MS;
    a->s = s;
    for (uint32_t tries = 1;; tries++) {
        int rc = try_once(s, spec, a, err);
        if (rc) return rc;
        if (a->code == 0 && a->status == good) return 0;
        if (tries == S3_TRIES || !worth_repeating(a)) return explain(a, spec, tries, err);
        rc = pause_before(s, tries, a, err);
        if (rc) return rc;
    }
}

static uint32_t time_for(uint64_t bytes)
{
    return SHORT_MS + (uint32_t)(bytes * 1000 / SLOWEST);
}

static void no_body(s3 *s)
{
    static const char empty[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    s->sign.body_sha256 = empty;
}

/* ---- objects ---- */

static int file_error(sv_error *err, const char *path)
{
    return sv_fail(err, SV_E_IO, NULL, "%.200s cannot be read: %s.", path, strerror(errno));
}

static int hash_file(int fd, const char *path, http_file *file, char hex[65], sv_error *err)
{
    static char piece[262144];
    struct stat st;
    sha256 h = {.opaque = {0}};
    sha256_start(&h);
    if (fstat(fd, &st)) return file_error(err, path);
    if (!S_ISREG(st.st_mode))
        return sv_fail(err, SV_E_INVALID, NULL, "%.200s is not a regular file.", path);
    if ((uint64_t)st.st_size > S3_OBJECT_BYTES)
        return sv_fail(err, SV_E_TOO_LARGE, NULL,
                       "%.200s is larger than the %d GiB that one object may have.", path,
                       S3_OBJECT_BYTES_GIB);
    *file = (http_file){.fd = fd};
    for (ssize_t n; (n = pread(fd, piece, sizeof piece, (off_t)file->bytes)) != 0;) {
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return file_error(err, path);
        sha256_add(&h, piece, (size_t)n);
        file->bytes += (uint64_t)n;
    }
    sha256_end(&h, hex);
    return 0;
}

int s3_put_file(s3 *s, const char *key, const char *path, sv_error *err)
{
    static const char *const headers[] = {"Content-Type: application/octet-stream", NULL};
    char hex[65];
    http_file file;
    buf url;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return file_error(err, path);
    int rc = hash_file(fd, path, &file, hex, err);
    if (rc == 0) rc = object_url(s, key, &url, err);
    if (rc == 0) {
        answer a = {.fd = -1};
        buf_init(&a.body, WORDS_BYTES);
        http_spec spec = {.method = "PUT",
                          .url = url.p,
                          .headers = headers,
                          .file = &file,
                          .total_ms = time_for(file.bytes),
                          .max_body = WORDS_BYTES};
        s->sign.body_sha256 = hex;
        rc = request(s, &spec, 200, &a, err);
        no_body(s);
        buf_free(&a.body);
        buf_free(&url);
    }
    close(fd);
    return rc;
}

int s3_get_file(s3 *s, const char *key, const char *path, sv_error *err)
{
    buf url;
    int rc = object_url(s, key, &url, err);
    if (rc) return rc;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        buf_free(&url);
        return sv_fail(err, SV_E_IO, NULL, "%.200s cannot be made: %s.", path, strerror(errno));
    }
    answer a = {.fd = fd};
    buf_init(&a.body, WORDS_BYTES);
    http_spec spec = {.method = "GET",
                      .url = url.p,
                      .total_ms = time_for(S3_OBJECT_BYTES),
                      .max_body = S3_OBJECT_BYTES};
    rc = request(s, &spec, 200, &a, err);
    if (rc == 0 && fsync(fd))
        rc = sv_fail(err, SV_E_IO, NULL, "%.200s cannot be written: %s.", path, strerror(errno));
    close(fd);
    if (rc) unlink(path);
    buf_free(&a.body);
    buf_free(&url);
    return rc;
}

int s3_delete(s3 *s, const char *key, sv_error *err)
{
    buf url;
    int rc = object_url(s, key, &url, err);
    if (rc) return rc;
    answer a = {.fd = -1};
    sv_error why = {.code = 0};
    buf_init(&a.body, WORDS_BYTES);
    http_spec spec = {
        .method = "DELETE", .url = url.p, .total_ms = SHORT_MS, .max_body = WORDS_BYTES};
    rc = request(s, &spec, 204, &a, &why);
    if (a.code == 0 && (a.status == 404 || a.status == 200)) rc = 0; /* not every store says 204 */
    if (rc) sv_fail(err, rc, why.field, "%s", why.message);
    buf_free(&a.body);
    buf_free(&url);
    return rc;
}

/* ---- list ---- */

/* Sorted by name, as the signature wants it. */
static int list_url(const s3 *s, const char *prefix, const char *token, buf *out, sv_error *err)
{
    buf_init(out, HTTP_URL_BYTES);
    buf_put(out, s->url, s->bucket_n);
    buf_putc(out, '?');
    if (token[0]) {
        buf_puts(out, "continuation-token=");
        put_encoded(out, token, false);
        buf_putc(out, '&');
    }
    buf_puts(out, "list-type=2&max-keys=1000&prefix=");
    put_encoded(out, prefix, false);
    buf_putc(out, 0);
    if (!out->failed) return 0;
    buf_free(out);
    return sv_fail(err, SV_E_TOO_LARGE, NULL, "The URL of a list is over %d bytes long.",
                   HTTP_URL_BYTES);
}

static int list_page(s3 *s, const char *prefix, char token[S3_TOKEN_BYTES],
                     int (*fn)(void *arg, const s3_object *o), void *arg, sv_error *err)
{
    buf url;
    int rc = list_url(s, prefix, token, &url, err);
    if (rc) return rc;
    answer a = {.fd = -1};
    buf_init(&a.body, PAGE_BYTES);
    http_spec spec = {.method = "GET", .url = url.p, .total_ms = SHORT_MS, .max_body = PAGE_BYTES};
    rc = request(s, &spec, 200, &a, err);
    if (rc == 0) rc = s3_list_page(buf_str(&a.body), s->prefix, fn, arg, token, err);
    buf_free(&a.body);
    buf_free(&url);
    return rc;
}

int s3_list(s3 *s, const char *start, int (*fn)(void *arg, const s3_object *o), void *arg,
            sv_error *err)
{
    char prefix[URL_BYTES + S3_KEY_BYTES], token[S3_TOKEN_BYTES] = "";
    if (strlen(start) > S3_KEY_BYTES - 2)
        return sv_fail(err, SV_E_INVALID, "key", "A key has at most %d bytes.", S3_KEY_BYTES);
    snprintf(prefix, sizeof prefix, "%s%s", s->prefix, start);
    for (int page = 0; page < PAGES; page++) {
        int rc = list_page(s, prefix, token, fn, arg, err);
        if (rc || token[0] == 0) return rc;
    }
    return sv_fail(err, SV_E_TOO_LARGE, NULL, "%s holds more than %d objects.", s->url,
                   PAGES * 1000);
}

/* ---- life ---- */

static char *copy_setting(const config *c, const char *key)
{
    const char *value = config_str(c, key);
    return value ? strdup(value) : NULL;
}

static int read_keys(s3 *s, const config *c, sv_error *err)
{
    static const char region_chars[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
    s->region = copy_setting(c, "backup.s3_region");
    s->access_key = copy_setting(c, "backup.s3_access_key");
    s->secret_key = copy_setting(c, "backup.s3_secret_key");
    if (s->region == NULL || s->access_key == NULL || s->secret_key == NULL)
        return sv_fail(err, SV_E_CONFIG, "backup",
                       "To reach the store set backup.s3_access_key and backup.s3_secret_key.");
    if (strspn(s->region, region_chars) != strlen(s->region))
        return sv_fail(
            err, SV_E_CONFIG, "backup.s3_region",
            "backup.s3_region is lower case letters, digits and '-', e.g. eu-central-1.");
    s->sign.region = s->region;
    s->sign.access_key = s->access_key;
    s->sign.secret_key = s->secret_key;
    no_body(s);
    return 0;
}

int s3_open(s3 **ret, const char *url, const config *c, sv_error *err)
{
    if (url == NULL) url = config_str(c, "backup.s3_url");
    if (url == NULL)
        return sv_fail(err, SV_E_CONFIG, "backup.s3_url", "No store is set: backup.s3_url.");
    s3 *s = calloc(1, sizeof *s);
    if (s == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    int rc = read_url(s, url, err);
    if (rc == 0) rc = read_keys(s, c, err);
    if (rc == 0 &&
        ((s->loop = loop_new(err)) == NULL || (s->http = http_client_new(s->loop, 2, err)) == NULL))
        rc = sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    if (rc) {
        s3_close(s);
        return rc;
    }
    *ret = s;
    return 0;
}

void s3_close(s3 *s)
{
    if (s == NULL) return;
    http_client_free(s->http);
    if (s->loop) loop_free(s->loop);
    if (s->secret_key) explicit_bzero(s->secret_key, strlen(s->secret_key));
    free(s->region);
    free(s->access_key);
    free(s->secret_key);
    free(s);
}

const char *s3_url(const s3 *s)
{
    return s->url;
}
