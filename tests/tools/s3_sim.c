/*  s3_sim.c - an S3-compatible store on loopback, in memory, that misbehaves on demand.
 *
 *  PutObject, GetObject, DeleteObject and ListObjectsV2 of one bucket, addressed by path. Every
 *  request must be signed with AWS's version 4: the signature, the hash of the body, the region, the
 *  time and that host and all x-amz- headers are signed are checked as S3 checks them.
 *
 *  On the same port, not signed:
 *    GET /_fault/NAME/N   the next N requests (0: all of them) get this fault:
 *                         500, 503 (with Retry-After: 1), 403, cut (half of the answer, or of the
 *                         body that is sent), refuse (connections are closed), slow (20 ms for each
 *                         KiB of an answer), hang (nothing is answered), none
 *    GET /_objects        a line for each object: size, SHA-256, key
 *    GET /_requests       a line for each signed request: status, method, path with query
 *
 *  Prints "port N" when ready. A thread for each connection; ends with SIGTERM. */
#include "net.h"
#include "opts.h"
#include "sigv4.h"

#include "buf.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BODY_MAX = 256 << 20, OBJECTS = 20000, LOG_MAX = 16 << 20, HEAD_MAX = 65536, SKEW_S = 900 };

typedef struct object {
    char *key, *bytes;
    size_t n;
    char hash[65];
} object;

typedef struct conn {
    int fd;
    buf in;
    /* the request */
    char head[HEAD_MAX];
    char method[16], path[4096], query[4096];
    const char *headers; /* behind the request line */
    char body_hash[65];  /* as it was declared */
    char *body;
    size_t body_n;
    char fault[16];
} conn;

static int64_t port, page_keys = 1000;
static const char *bucket = "bucket", *region = "us-east-1", *access_key = "test-access",
                  *secret_key = "test-secret";

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static object objects[OBJECTS]; /* sorted by key */
static size_t n_objects;
static buf requests;
static char fault[16] = "none";
static long fault_left; /* -1: for ever */

/* ---- sending ---- */

static bool send_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) return false;
        p += k;
        n -= (size_t)k;
    }
    return true;
}

static void nap(long ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static void note(const conn *c, int status)
{
    pthread_mutex_lock(&lock);
    if (requests.n < LOG_MAX - 16384)
        buf_printf(&requests, "%d %s %s%s%s\n", status, c->method, c->path, c->query[0] ? "?" : "",
                   c->query);
    pthread_mutex_unlock(&lock);
}

/* False when the connection is over. */
static bool answer(conn *c, int status, const char *extra, const char *type, const char *body,
                   size_t n)
{
    char head[512];
    size_t body_n = status == 204 ? 0 : n;
    int len = snprintf(head, sizeof head,
                       "HTTP/1.1 %d Answer\r\nContent-Length: %zu\r\nContent-Type: %s\r\n"
                       "x-amz-request-id: 1\r\n%s\r\n",
                       status, body_n, type, extra);
    if (!send_all(c->fd, head, (size_t)len)) return false;
    if (strcmp(c->fault, "cut") == 0) {
        send_all(c->fd, body, body_n / 2);
        return false;
    }
    if (strcmp(c->fault, "slow") != 0) return send_all(c->fd, body, body_n);
    for (size_t at = 0; at < body_n; at += 1024) {
        nap(20);
        if (!send_all(c->fd, body + at, body_n - at < 1024 ? body_n - at : 1024)) return false;
    }
    return true;
}

static bool refuse(conn *c, int status, const char *code, const char *message)
{
    char body[1024];
    int n = snprintf(body, sizeof body,
                     "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>%s"
                     "</Message><RequestId>1</RequestId></Error>",
                     code, message);
    note(c, status);
    answer(c, status,
           status == 503 ? "Retry-After: 1\r\nConnection: close\r\n" : "Connection: close\r\n",
           "application/xml", body, (size_t)n);
    return false;
}

/* ---- reading ---- */

static bool more(conn *c)
{
    char piece[65536];
    ssize_t n;
    do
        n = recv(c->fd, piece, sizeof piece, 0);
    while (n < 0 && errno == EINTR);
    return n > 0 && buf_put(&c->in, piece, (size_t)n) == 0;
}

static bool read_head(conn *c)
{
    char *end;
    while ((end = c->in.n ? memmem(c->in.p, c->in.n, "\r\n\r\n", 4) : NULL) == NULL)
        if (c->in.n >= HEAD_MAX || !more(c)) return false;
    size_t n = (size_t)(end - c->in.p) + 4;
    if (n >= HEAD_MAX) return false;
    memcpy(c->head, c->in.p, n);
    c->head[n] = 0;
    buf_consume(&c->in, n);
    char target[4096];
    if (sscanf(c->head, "%15s %4095s HTTP/1.1", c->method, target) != 2) return false;
    char *mark = strchr(target, '?');
    snprintf(c->query, sizeof c->query, "%s", mark ? mark + 1 : "");
    if (mark) *mark = 0;
    snprintf(c->path, sizeof c->path, "%s", target);
    c->headers = strstr(c->head, "\r\n") + 2;
    return true;
}

/* The header's value without blanks around it, copied; false when it is absent. */
static bool header(const conn *c, const char *name, char *to, size_t size)
{
    size_t n = strlen(name), len;
    for (const char *line = c->headers; *line != '\r'; line += strcspn(line, "\n") + 1) {
        if (strncasecmp(line, name, n) != 0 || line[n] != ':') continue;
        const char *value = line + n + 1 + strspn(line + n + 1, " \t");
        len = strcspn(value, "\r");
        while (len && (value[len - 1] == ' ' || value[len - 1] == '\t'))
            len--;
        if (len >= size) return false;
        memcpy(to, value, len);
        to[len] = 0;
        return true;
    }
    return false;
}

/* ---- the signature ---- */

typedef struct claim {
    char access[128], day[16], region[64], names[1024], signature[65];
} claim;

static bool read_claim(const char *text, claim *a)
{
    return sscanf(text,
                  "AWS4-HMAC-SHA256 Credential=%127[^/]/%15[^/]/%63[^/]/s3/aws4_request, "
                  "SignedHeaders=%1023[^,], Signature=%64[0-9a-f]",
                  a->access, a->day, a->region, a->names, a->signature) == 5;
}

static bool signed_name(const claim *a, const char *name, size_t n)
{
    for (const char *p = a->names; *p; p += strcspn(p, ";") + (p[strcspn(p, ";")] == ';'))
        if (strcspn(p, ";") == n && strncasecmp(p, name, n) == 0) return true;
    return false;
}

/* S3 wants host and every x-amz- header signed. */
static bool all_signed(const conn *c, const claim *a)
{
    if (!signed_name(a, "host", 4)) return false;
    for (const char *line = c->headers; *line != '\r'; line += strcspn(line, "\n") + 1)
        if (strncasecmp(line, "x-amz-", 6) == 0 && !signed_name(a, line, strcspn(line, ":")))
            return false;
    return true;
}

static bool recent(const char *when)
{
    struct tm tm = {0};
    char *end = strptime(when, "%Y%m%dT%H%M%SZ", &tm);
    double skew = end && *end == 0 ? difftime(timegm(&tm), time(NULL)) : 1e9;
    return skew < SKEW_S && skew > -SKEW_S;
}

/* Recomputes the signature over what the claim says is signed. */
static bool same_signature(const conn *c, claim *a, const char *when)
{
    static _Thread_local char values[64][2048];
    char hex[65];
    sigv4_request r = {.method = c->method,
                       .path = c->path,
                       .query = c->query,
                       .body_hash = c->body_hash,
                       .when = when,
                       .region = region,
                       .service = "s3",
                       .secret = secret_key};
    char *save = NULL;
    for (char *name = strtok_r(a->names, ";", &save); name; name = strtok_r(NULL, ";", &save)) {
        if (r.n == 64 || !header(c, name, values[r.n], sizeof values[r.n])) return false;
        r.values[r.n] = values[r.n];
        r.names[r.n++] = name;
    }
    return sigv4_sign(&r, hex) && strcmp(hex, a->signature) == 0;
}

/* True when it is; else it has been refused. */
static bool authentic(conn *c)
{
    char text[4096], when[32];
    claim a;
    if (!header(c, "authorization", text, sizeof text) || !read_claim(text, &a))
        return refuse(c, 403, "AccessDenied", "The request is not signed.");
    if (strcmp(a.access, access_key) != 0)
        return refuse(c, 403, "InvalidAccessKeyId", "The access key does not exist.");
    if (strcmp(a.region, region) != 0)
        return refuse(c, 400, "AuthorizationHeaderMalformed", "The region is wrong.");
    if (!header(c, "x-amz-content-sha256", c->body_hash, sizeof c->body_hash))
        return refuse(c, 400, "MissingSecurityHeader", "x-amz-content-sha256 is missing.");
    if (!header(c, "x-amz-date", when, sizeof when) || strncmp(when, a.day, 8) != 0 ||
        !recent(when))
        return refuse(c, 403, "RequestTimeTooSkewed", "The time of the request is wrong.");
    if (!all_signed(c, &a))
        return refuse(c, 403, "AccessDenied", "There were headers present which were not signed.");
    if (!same_signature(c, &a, when))
        return refuse(c, 403, "SignatureDoesNotMatch",
                      "The request signature we calculated does not match the signature you "
                      "provided.");
    return true;
}

/* The body; its length must be told. */
static bool take_body(conn *c)
{
    char text[32], expect[32];
    size_t want = 0;
    if (header(c, "transfer-encoding", text, sizeof text))
        return refuse(c, 501, "NotImplemented", "A header you provided is not implemented.");
    if (header(c, "content-length", text, sizeof text))
        want = strtoull(text, NULL, 10);
    else if (strcmp(c->method, "PUT") == 0)
        return refuse(c, 411, "MissingContentLength", "You must provide the Content-Length.");
    if (want > BODY_MAX) return refuse(c, 400, "EntityTooLarge", "The object is too large.");
    if (header(c, "expect", expect, sizeof expect) && strcasecmp(expect, "100-continue") == 0 &&
        !send_all(c->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25))
        return false;
    size_t enough = strcmp(c->fault, "cut") == 0 && want > 0 ? want / 2 : want;
    while (c->in.n < enough)
        if (!more(c)) return false;
    if (enough < want) {
        net_reset(dup(c->fd));
        return false;
    }
    c->body = malloc(want + 1);
    if (c->body == NULL) return false;
    if (want) memcpy(c->body, c->in.p, want);
    c->body_n = want;
    buf_consume(&c->in, want);
    unsigned char sum[32];
    char hex[65];
    crypto_hash_sha256(sum, (unsigned char *)c->body, want);
    sodium_bin2hex(hex, sizeof hex, sum, sizeof sum);
    if (strcmp(hex, c->body_hash) != 0 && strcmp(c->body_hash, "UNSIGNED-PAYLOAD") != 0)
        return refuse(
            c, 400, "XAmzContentSHA256Mismatch",
            "The provided 'x-amz-content-sha256' header does not match what was computed.");
    snprintf(c->body_hash, sizeof c->body_hash, "%s", hex);
    return true;
}

/* ---- objects ---- */

static size_t find(const char *key, bool *found)
{
    size_t low = 0, high = n_objects;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (strcmp(objects[mid].key, key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    *found = low < n_objects && strcmp(objects[low].key, key) == 0;
    return low;
}

static bool put_object(conn *c, const char *key)
{
    bool found;
    pthread_mutex_lock(&lock);
    size_t at = find(key, &found);
    if (!found && n_objects == OBJECTS) {
        pthread_mutex_unlock(&lock);
        return refuse(c, 503, "SlowDown", "There is no room left.");
    }
    if (!found) {
        memmove(&objects[at + 1], &objects[at], (n_objects++ - at) * sizeof *objects);
        objects[at] = (object){.key = strdup(key)};
    }
    free(objects[at].bytes);
    objects[at].bytes = c->body;
    objects[at].n = c->body_n;
    memcpy(objects[at].hash, c->body_hash, sizeof c->body_hash);
    c->body = NULL;
    pthread_mutex_unlock(&lock);
    note(c, 200);
    return answer(c, 200, "ETag: \"x\"\r\n", "application/xml", "", 0);
}

static bool get_object(conn *c, const char *key)
{
    bool found;
    pthread_mutex_lock(&lock);
    size_t at = find(key, &found), n = found ? objects[at].n : 0;
    char *copy = malloc(n + 1);
    if (copy && n) memcpy(copy, objects[at].bytes, n);
    pthread_mutex_unlock(&lock);
    if (!found || copy == NULL) {
        free(copy);
        return refuse(c, 404, "NoSuchKey", "The specified key does not exist.");
    }
    note(c, 200);
    bool go_on = answer(c, 200, "", "application/octet-stream", copy, n);
    free(copy);
    return go_on;
}

static bool delete_object(conn *c, const char *key)
{
    bool found;
    pthread_mutex_lock(&lock);
    size_t at = find(key, &found);
    if (found) {
        free(objects[at].key);
        free(objects[at].bytes);
        memmove(&objects[at], &objects[at + 1], (--n_objects - at) * sizeof *objects);
    }
    pthread_mutex_unlock(&lock);
    note(c, 204);
    return answer(c, 204, "", "application/xml", "", 0);
}

/* ---- lists ---- */

static void decode(char *text)
{
    char *to = text;
    for (char *p = text; *p; p++) {
        unsigned code;
        if (*p == '%' && sscanf(p + 1, "%2x", &code) == 1) {
            *to++ = (char)code;
            p += 2;
        } else {
            *to++ = *p;
        }
    }
    *to = 0;
}

static void parameter(const conn *c, const char *name, char *to, size_t size)
{
    char all[4096], *save = NULL;
    snprintf(all, sizeof all, "%s", c->query);
    to[0] = 0;
    for (char *p = strtok_r(all, "&", &save); p; p = strtok_r(NULL, "&", &save)) {
        char *equals = strchr(p, '=');
        if (equals == NULL) continue;
        *equals = 0;
        decode(equals + 1);
        if (strcmp(p, name) == 0) snprintf(to, size, "%s", equals + 1);
    }
}

static void put_xml(buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '&')
            buf_puts(out, "&amp;");
        else if (*text == '<')
            buf_puts(out, "&lt;");
        else if (*text == '>')
            buf_puts(out, "&gt;");
        else if (*text == '\'')
            buf_puts(out, "&#x27;");
        else
            buf_putc(out, *text);
    }
}

/* A token is not a key, as in life: text that must be encoded, then the key to go on behind. */
static bool list(conn *c)
{
    static const char mark[] = "1+/=&";
    char prefix[2048], token[2048], type[8];
    parameter(c, "prefix", prefix, sizeof prefix);
    parameter(c, "continuation-token", token, sizeof token);
    parameter(c, "list-type", type, sizeof type);
    if (strcmp(type, "2") != 0 || (token[0] && strncmp(token, mark, strlen(mark)) != 0))
        return refuse(c, 400, "InvalidArgument",
                      "Only ListObjectsV2 is known, with its own tokens.");
    const char *after = token[0] ? token + strlen(mark) : "", *last = "";
    buf out;
    buf_init(&out, BODY_MAX);
    buf_puts(&out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\""
                   "http://s3.amazonaws.com/doc/2006-03-01/\"><Name>bucket</Name>");
    pthread_mutex_lock(&lock);
    int64_t n = 0;
    size_t i = 0;
    for (; i < n_objects && n < page_keys; i++) {
        if (strncmp(objects[i].key, prefix, strlen(prefix)) != 0 ||
            (after[0] && strcmp(objects[i].key, after) <= 0))
            continue;
        buf_puts(&out, "<Contents><Key>");
        put_xml(&out, objects[i].key);
        buf_printf(&out,
                   "</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified><ETag>&quot;x&quot;"
                   "</ETag><Size>%zu</Size><StorageClass>STANDARD</StorageClass></Contents>",
                   objects[i].n);
        last = objects[i].key;
        n++;
    }
    while (i < n_objects && strncmp(objects[i].key, prefix, strlen(prefix)) != 0)
        i++;
    bool truncated = i < n_objects;
    buf_printf(&out, "<KeyCount>%lld</KeyCount><IsTruncated>%s</IsTruncated>", (long long)n,
               truncated ? "true" : "false");
    if (truncated) {
        buf_puts(&out, "<NextContinuationToken>");
        put_xml(&out, mark);
        put_xml(&out, last);
        buf_puts(&out, "</NextContinuationToken>");
    }
    pthread_mutex_unlock(&lock);
    buf_puts(&out, "</ListBucketResult>");
    note(c, 200);
    bool go_on = answer(c, 200, "", "application/xml", out.p, out.n);
    buf_free(&out);
    return go_on;
}

/* ---- requests ---- */

static void take_fault(conn *c)
{
    pthread_mutex_lock(&lock);
    snprintf(c->fault, sizeof c->fault, "%s", fault_left ? fault : "none");
    if (fault_left > 0) fault_left--;
    pthread_mutex_unlock(&lock);
}

static bool control(conn *c)
{
    char name[16];
    long n;
    buf out;
    buf_init(&out, LOG_MAX);
    pthread_mutex_lock(&lock);
    if (sscanf(c->path, "/_fault/%15[a-z0-9]/%ld", name, &n) == 2) {
        snprintf(fault, sizeof fault, "%s", name);
        fault_left = n ? n : -1;
    } else if (strcmp(c->path, "/_objects") == 0) {
        for (size_t i = 0; i < n_objects; i++)
            buf_printf(&out, "%zu %s %s\n", objects[i].n, objects[i].hash, objects[i].key);
    } else if (strcmp(c->path, "/_requests") == 0) {
        buf_put(&out, requests.p, requests.n);
    }
    pthread_mutex_unlock(&lock);
    c->fault[0] = 0;
    bool go_on = answer(c, 200, "", "text/plain", out.p ? out.p : "", out.n);
    buf_free(&out);
    return go_on;
}

static bool serve(conn *c)
{
    size_t bucket_n = strlen(bucket);
    if (strncmp(c->path, "/_", 2) == 0) return control(c);
    take_fault(c);
    if (strcmp(c->fault, "refuse") == 0) return false;
    while (strcmp(c->fault, "hang") == 0)
        if (!more(c)) return false;
    if (strcmp(c->fault, "500") == 0)
        return refuse(c, 500, "InternalError", "We encountered an internal error.");
    if (strcmp(c->fault, "503") == 0)
        return refuse(c, 503, "SlowDown", "Please reduce your request rate.");
    if (strcmp(c->fault, "403") == 0) return refuse(c, 403, "AccessDenied", "Access Denied");
    if (!authentic(c) || !take_body(c)) return false;
    if (c->path[0] != '/' || strncmp(c->path + 1, bucket, bucket_n) != 0 ||
        (c->path[1 + bucket_n] && c->path[1 + bucket_n] != '/'))
        return refuse(c, 404, "NoSuchBucket", "The specified bucket does not exist.");
    char key[4096];
    snprintf(key, sizeof key, "%s", c->path[1 + bucket_n] ? c->path + 2 + bucket_n : "");
    decode(key);
    bool get = strcmp(c->method, "GET") == 0;
    if (key[0] == 0) return get ? list(c) : refuse(c, 405, "MethodNotAllowed", "Not on a bucket.");
    if (get) return get_object(c, key);
    if (strcmp(c->method, "PUT") == 0) return put_object(c, key);
    if (strcmp(c->method, "DELETE") == 0) return delete_object(c, key);
    return refuse(c, 405, "MethodNotAllowed", "The method is not known.");
}

static void *serve_connection(void *arg)
{
    conn *c = arg;
    bool go_on = true;
    while (go_on && read_head(c)) {
        go_on = serve(c);
        free(c->body);
        c->body = NULL;
    }
    /* A client that is still sending shall get to see the answer. */
    shutdown(c->fd, SHUT_WR);
    struct pollfd p = {c->fd, POLLIN, 0};
    while (strcmp(c->fault, "cut") != 0 && poll(&p, 1, 2000) > 0 && more(c))
        buf_reset(&c->in, 0);
    close(c->fd);
    buf_free(&c->in);
    free(c);
    return NULL;
}

int main(int argc, char **argv)
{
    const opt table[] = {
        {"port", OPT_INT, &port, 0, 65535, "port on 127.0.0.1; 0: a free one"},
        {"bucket", OPT_STR, &bucket, 0, 0, "the one bucket"},
        {"region", OPT_STR, &region, 0, 0, "its region"},
        {"access", OPT_STR, &access_key, 0, 0, "access key"},
        {"secret", OPT_STR, &secret_key, 0, 0, "secret key"},
        {"page", OPT_INT, &page_keys, 1, 1000, "keys on one page of a list"},
    };
    opts_parse(argc, argv, "An S3-compatible store in memory, for tests.", table, 6);
    uint16_t number = (uint16_t)port;
    int listener = net_listen(&number);
    if (listener < 0) die("cannot listen: %s", strerror(errno));
    fcntl(listener, F_SETFL, 0);
    buf_init(&requests, LOG_MAX);
    signal(SIGPIPE, SIG_IGN);
    printf("port %u\n", number);
    fflush(stdout);
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) continue;
        conn *c = calloc(1, sizeof *c);
        pthread_t thread;
        if (c == NULL) die("out of memory");
        c->fd = fd;
        buf_init(&c->in, BODY_MAX + HEAD_MAX);
        net_nodelay(fd);
        if (pthread_create(&thread, NULL, serve_connection, c)) die("no thread");
        pthread_detach(thread);
    }
}
