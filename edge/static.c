/*  static.c - the files are an array in order of their names. Loading goes twice over a folder's
 *  names: a file with a coding's ending is a form of another when that other is there, whatever comes
 *  first in the folder; so all is gathered, sorted, and then paired. */
#include "static.h"

#include "byte_range.h"
#include "error.h"
#include "http_parser.h"
#include "log.h"
#include "sha256.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { NAME_BYTES = 255, PIECE = 64 << 10, TAG_DIGITS = 32 };

struct static_set {
    static_file files[STATIC_FILES];
    size_t n;
};

static const struct {
    const char *end, *type;
    bool page;
} types[] = {
    {".html", "text/html; charset=utf-8", true},
    {".css", "text/css; charset=utf-8", false},
    {".js", "text/javascript; charset=utf-8", false},
    {".mjs", "text/javascript; charset=utf-8", false},
    {".json", "application/json", false},
    {".map", "application/json", false},
    {".svg", "image/svg+xml", true},
    {".png", "image/png", false},
    {".jpg", "image/jpeg", false},
    {".webp", "image/webp", false},
    {".ico", "image/x-icon", false},
    {".woff2", "font/woff2", false},
    {".txt", "text/plain; charset=utf-8", false},
    {".wasm", "application/wasm", false},
    {".webmanifest", "application/manifest+json", false},
};

static bool ends_with(sv_str s, const char *end)
{
    size_t n = strlen(end);
    return s.n > n && memcmp(s.p + s.n - n, end, n) == 0;
}

static size_t type_row(sv_str name)
{
    size_t i = 0;
    while (i < sizeof types / sizeof *types && !ends_with(name, types[i].end))
        i++;
    return i;
}

/* Content-Type for a name by its ending; application/octet-stream for others. */
static const char *static_type(sv_str name)
{
    size_t i = type_row(name);
    return i < sizeof types / sizeof *types ? types[i].type : "application/octet-stream";
}

/* ---- one file ---- */

void static_file_free(static_file *f)
{
    for (coding c = CODING_IDENTITY; c < CODINGS; c++) {
        static_form *form = &f->forms[c];
        if (form->there && form->bytes == NULL) close(form->fd);
        free(form->bytes);
    }
    free(f->name);
    *f = (static_file){.name = NULL};
}

static void set_tag(static_form *form, const char hex[65])
{
    snprintf(form->etag, sizeof form->etag, "\"%.*s\"", TAG_DIGITS, hex);
}

static void set_modified(static_file *f, int64_t s)
{
    struct tm tm;
    time_t t = (time_t)s;
    f->modified_s = s;
    gmtime_r(&t, &tm);
    strftime(f->modified, sizeof f->modified, "%a, %d %b %Y %H:%M:%S GMT", &tm);
}

/* NAME.HASH.EXT with the beginning of this very hash. */
static bool named_by_hash(const char *name, const char hex[65])
{
    const char *slash = strrchr(name, '/'), *end = strrchr(name, '.'), *from = end;
    if (end == NULL || (slash && end < slash)) return false;
    while (from > name && from[-1] != '.' && from[-1] != '/')
        from--;
    size_t n = (size_t)(end - from);
    return from > name && from[-1] == '.' && n >= STATIC_HASH_LEAST && n <= 64 &&
           memcmp(from, hex, n) == 0;
}

static int form_make(static_file *f, coding how, sv_str bytes)
{
    static_form *form = &f->forms[how];
    char hex[65];
    sha256 h;
    form->bytes = malloc(bytes.n ? bytes.n : 1);
    if (form->bytes == NULL) return SV_E_NO_MEMORY;
    memcpy(form->bytes, bytes.p, bytes.n);
    sha256_start(&h);
    sha256_add(&h, bytes.p, bytes.n);
    sha256_end(&h, hex);
    set_tag(form, hex);
    form->n = bytes.n;
    form->there = true;
    return 0;
}

int static_file_make(static_file *f, const char *type, int64_t modified_s, buf *bytes)
{
    sv_str all = buf_str(bytes);
    buf packed;
    *f = (static_file){.type = type};
    set_modified(f, modified_s);
    int rc = form_make(f, CODING_IDENTITY, all);
    buf_init(&packed, all.n);
    for (coding c = CODING_GZIP; rc == 0 && c < CODINGS; c++) {
        buf_reset(&packed, all.n);
        if (compress_body(c, all, &packed) == 0) rc = form_make(f, c, buf_str(&packed));
    }
    buf_free(&packed);
    if (rc)
        static_file_free(f);
    else
        buf_free(bytes);
    return rc;
}

/* ---- loading ---- */

static int io_error(const char *name, sv_error *err)
{
    return sv_fail(err, SV_E_IO, NULL, "%s cannot be read: %s.", name, strerror(errno));
}

static int hash_fd(int fd, size_t size, char *keep, char hex[65])
{
    char piece[PIECE];
    sha256 h;
    sha256_start(&h);
    for (size_t at = 0; at < size;) {
        ssize_t n = pread(fd, piece, sizeof piece, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return SV_E_IO;
        if ((size_t)n > size - at) n = (ssize_t)(size - at);
        sha256_add(&h, piece, (size_t)n);
        if (keep) memcpy(keep + at, piece, (size_t)n);
        at += (size_t)n;
    }
    sha256_end(&h, hex);
    return 0;
}

/* The descriptor is taken. */
static int load_form(static_file *f, int fd, const struct stat *st, sv_error *err)
{
    static_form *form = &f->forms[CODING_IDENTITY];
    char hex[65];
    size_t i = type_row(sv_cstr(f->name)), size = (size_t)st->st_size;
    if (size <= STATIC_KEPT_BYTES) form->bytes = malloc(size ? size : 1);
    form->fd = fd;
    form->there = true;
    form->n = (uint32_t)size;
    bool ok = size > STATIC_KEPT_BYTES || form->bytes;
    int rc = ok ? hash_fd(fd, size, form->bytes, hex) : SV_E_NO_MEMORY;
    if (form->bytes) close(fd);
    if (rc) return sv_fail(err, rc, NULL, "%s cannot be read whole.", f->name);
    set_tag(form, hex);
    set_modified(f, st->st_mtim.tv_sec);
    f->type = static_type(sv_cstr(f->name));
    f->page = i < sizeof types / sizeof *types && types[i].page;
    f->immutable = named_by_hash(f->name, hex);
    return 0;
}

static int add_file(static_set *s, const char *name, int fd, const struct stat *st, sv_error *err)
{
    static_file *f = &s->files[s->n];
    int rc = 0;
    if (s->n == STATIC_FILES)
        rc = sv_fail(err, SV_E_CONFIG, "edge.web_dir", "There are more than %d files in it.",
                     STATIC_FILES);
    else if (st->st_size > STATIC_FILE_BYTES)
        rc = sv_fail(err, SV_E_CONFIG, "edge.web_dir", "%s is larger than %d MiB.", name,
                     STATIC_FILE_BYTES >> 20);
    else if ((f->name = strdup(name)) == NULL)
        rc = sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    if (rc) {
        close(fd);
        return rc;
    }
    s->n++;
    return load_form(f, fd, st, err);
}

static int load_folder(static_set *s, int folder, const char *prefix, int depth, sv_error *err);

static int load_entry(static_set *s, int folder, const char *prefix, const char *entry, int depth,
                      sv_error *err)
{
    char name[NAME_BYTES + 2]; /* and a slash */
    struct stat st;
    if (entry[0] == '.') return 0;
    if (snprintf(name, NAME_BYTES + 1, "%s%s", prefix, entry) > NAME_BYTES)
        return sv_fail(err, SV_E_CONFIG, "edge.web_dir", "The name %.100s... is too long.", entry);
    int fd = openat(folder, entry, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ELOOP) {
        log_write(LOG_WARN, "a link in edge.web_dir is not followed", LOG_STR("name", name));
        return 0;
    }
    if (fd < 0) return io_error(name, err);
    int rc = fstat(fd, &st) ? io_error(name, err) : 0;
    if (rc == 0 && S_ISREG(st.st_mode)) return add_file(s, name, fd, &st, err);
    if (rc || !S_ISDIR(st.st_mode)) {
        close(fd);
        return rc;
    }
    if (depth == STATIC_DEPTH) {
        close(fd);
        return sv_fail(err, SV_E_CONFIG, "edge.web_dir", "%s lies more than %d folders deep.", name,
                       STATIC_DEPTH);
    }
    memcpy(name + strlen(name), "/", 2);
    return load_folder(s, fd, name, depth + 1, err);
}

/* The descriptor is taken. */
static int load_folder(static_set *s, int folder, const char *prefix, int depth, sv_error *err)
{
    int rc = 0;
    DIR *d = fdopendir(folder);
    if (d == NULL) {
        rc = io_error(prefix, err);
        close(folder);
        return rc;
    }
    const struct dirent *entry;
    while (rc == 0 && (entry = readdir(d)))
        rc = load_entry(s, folder, prefix, entry->d_name, depth, err);
    closedir(d);
    return rc;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const static_file *)a)->name, ((const static_file *)b)->name);
}

static static_file *find(const static_set *s, const char *name)
{
    static_file key = {.name = (char *)(uintptr_t)name};
    return s->n ? bsearch(&key, s->files, s->n, sizeof key, by_name) : NULL;
}

/* X.br and X.gz become forms of X; the rest moves up. */
static void pair_forms(static_set *s)
{
    static const char *const ends[CODINGS] = {[CODING_GZIP] = ".gz", [CODING_BR] = ".br"};
    bool moved[STATIC_FILES] = {false};
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        char base[NAME_BYTES + 1];
        sv_str name = sv_cstr(s->files[i].name);
        for (coding c = CODING_GZIP; c < CODINGS && !moved[i]; c++) {
            if (!ends_with(name, ends[c])) continue;
            snprintf(base, sizeof base, "%.*s", (int)(name.n - strlen(ends[c])), name.p);
            static_file *of = find(s, base);
            if (of == NULL) continue;
            of->forms[c] = s->files[i].forms[CODING_IDENTITY];
            moved[i] = true;
        }
    }
    for (size_t i = 0; i < s->n; i++) {
        if (moved[i])
            free(s->files[i].name);
        else
            s->files[n++] = s->files[i];
    }
    s->n = n;
}

int static_open(const char *folder, static_set **ret, sv_error *err)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return sv_fail(err, errno == ENOENT || errno == ENOTDIR ? SV_E_NOT_FOUND : SV_E_IO,
                       "edge.web_dir", "The folder %s cannot be read: %s.", folder,
                       strerror(errno));
    static_set *s = calloc(1, sizeof *s);
    if (s == NULL) {
        close(fd);
        return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    }
    int rc = load_folder(s, fd, "", 0, err);
    if (rc) {
        static_free(s);
        return rc;
    }
    if (s->n) qsort(s->files, s->n, sizeof *s->files, by_name);
    pair_forms(s);
    *ret = s;
    return 0;
}

void static_free(static_set *s)
{
    if (s == NULL) return;
    for (size_t i = 0; i < s->n; i++)
        static_file_free(&s->files[i]);
    free(s);
}

bool static_beside_bin(char *path, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", path, size - 1);
    if (n <= 0) return false;
    path[n] = 0;
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(path, '/');
        if (slash == NULL) return false;
        *slash = 0;
    }
    size_t at = strlen(path), left = size - at;
    return snprintf(path + at, left, "/share/samovar/web") < (int)left;
}

/* ---- requests ---- */

const static_file *static_find(const static_set *s, sv_str path)
{
    char name[NAME_BYTES + 1];
    if (s == NULL || path.n < 2 || path.p[0] != '/' || path.n + 5 > NAME_BYTES ||
        memchr(path.p, 0, path.n))
        return NULL;
    snprintf(name, sizeof name, "%.*s", (int)path.n - 1, path.p + 1);
    const static_file *f = find(s, name);
    if (f) return f;
    snprintf(name, sizeof name, "%.*s.html", (int)path.n - 1, path.p + 1);
    return find(s, name);
}

/* IMF-fixdate, as this server writes it. False: cannot be read. */
static bool read_date(sv_str text, int64_t *ret)
{
    char copy[STATIC_DATE];
    struct tm tm = {.tm_isdst = 0};
    if (text.n != STATIC_DATE - 1) return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = 0;
    const char *end = strptime(copy, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    if (end == NULL || *end) return false;
    *ret = (int64_t)timegm(&tm);
    return true;
}

static bool not_modified(const static_file *f, const char *etag, const http_request *r)
{
    uint32_t n;
    int64_t since;
    bool listed = false, any = false;
    for (uint32_t i = 0; i < r->n_headers; i++) {
        if (!http_word_is(r->headers[i].name, "if-none-match")) continue;
        any = true;
        listed |= etag_listed(r->headers[i].value, sv_cstr(etag));
    }
    if (any) return listed;
    sv_str date = http_header_get(r, "if-modified-since", &n);
    return n == 1 && read_date(date, &since) && f->modified_s <= since;
}

/* If-Range: the bytes that the client has a part of are these. */
static bool same_bytes(const static_file *f, const char *etag, const http_request *r)
{
    uint32_t n;
    sv_str value = http_header_get(r, "if-range", &n);
    return n == 0 || (n == 1 && (sv_str_is(value, etag) || sv_str_is(value, f->modified)));
}

void static_choose(const static_file *f, const http_request *r, static_answer *ret)
{
    unsigned available = 0;
    uint32_t n;
    uint64_t from, count;
    for (coding c = CODING_IDENTITY; c < CODINGS; c++)
        if (f->forms[c].there) available |= 1u << c;
    *ret = (static_answer){.status = 200, .how = coding_of(r, available)};
    const static_form *form = &f->forms[ret->how];
    if (not_modified(f, form->etag, r)) {
        ret->status = 304;
        return;
    }
    ret->n = form->n;
    sv_str range = http_header_get(r, "range", &n);
    if (n != 1 || !sv_str_is(r->method, "GET") || !same_bytes(f, form->etag, r)) return;
    switch (byte_range_read(range, form->n, &from, &count)) {
    case RANGE_WHOLE: return;
    case RANGE_BEYOND:
        ret->status = 416;
        ret->n = 0;
        return;
    case RANGE_PART:
        ret->status = 206;
        ret->from = (uint32_t)from;
        ret->n = (uint32_t)count;
        return;
    }
}

uint32_t static_read(const static_form *f, uint32_t at, char *to, uint32_t n)
{
    uint32_t done = 0;
    while (done < n) {
        ssize_t got = pread(f->fd, to + done, n - done, (off_t)at + done);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        done += (uint32_t)got;
    }
    return done;
}
