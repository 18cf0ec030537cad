/*  http_reader.c - a state for each part of the framing; body bytes go straight to the
 *  callback. */
#include "http_reader.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { HEAD, LENGTH, UNTIL_CLOSE, CHUNK_SIZE, CHUNK_EXT, CHUNK_DATA, CHUNK_END, TRAILER, FINISHED };
enum { HEAD_MAX = 65536 };

void http_reader_init(http_reader *r, bool request, bool keep_head)
{
    memset(r, 0, sizeof *r);
    r->request = request;
    r->keep_head = keep_head;
}

void http_reader_free(http_reader *r)
{
    free(r->head);
    r->head = NULL;
}

void http_reader_next(http_reader *r)
{
    char *head = r->head;
    size_t cap = r->head_cap;
    http_reader_init(r, r->request, r->keep_head);
    r->head = head;
    r->head_cap = cap;
}

bool http_reader_fresh(const http_reader *r)
{
    return r->state == HEAD && r->head_n == 0;
}

static http_result bad(http_reader *r, const char *why)
{
    r->why = why;
    return HTTP_BAD;
}

const char *http_header(const char *head, const char *name, size_t *len)
{
    size_t n = strlen(name);
    const char *line = strchr(head, '\n');
    while (line && line[1]) {
        line++;
        const char *end = strchr(line, '\n');
        if (!end) return NULL;
        if (strncasecmp(line, name, n) == 0 && line[n] == ':') {
            const char *from = line + n + 1, *to = end;
            while (from < to && (*from == ' ' || *from == '\t'))
                from++;
            while (to > from && (to[-1] == ' ' || to[-1] == '\t' || to[-1] == '\r'))
                to--;
            *len = (size_t)(to - from);
            return from;
        }
        line = end;
    }
    return NULL;
}

/* One header line of [p, end). */
static bool header_line(http_reader *r, const char *p, const char *end, bool *has_length)
{
    const char *colon = memchr(p, ':', (size_t)(end - p));
    if (!colon) return false;
    size_t n = (size_t)(colon - p);
    const char *v = colon + 1;
    while (v < end && *v == ' ')
        v++;
    size_t vn = (size_t)(end - v);
    if (n == 14 && strncasecmp(p, "content-length", n) == 0) {
        uint64_t length = 0;
        if (vn == 0 || vn > 18 || *has_length) return false;
        for (; v < end; v++) {
            if (*v < '0' || *v > '9') return false;
            length = length * 10 + (uint64_t)(*v - '0');
        }
        r->left = length;
        *has_length = true;
    } else if (n == 17 && strncasecmp(p, "transfer-encoding", n) == 0) {
        if (vn != 7 || strncasecmp(v, "chunked", 7) != 0) return false;
        r->chunked = true;
    } else if (n == 10 && strncasecmp(p, "connection", n) == 0) {
        if (vn == 5 && strncasecmp(v, "close", 5) == 0) r->close = true;
    }
    return true;
}

static bool start_line(http_reader *r, const char *p, const char *end)
{
    if (r->request) return end - p > 14 && memcmp(end - 9, " HTTP/1.", 8) == 0;
    if (end - p < 12 || memcmp(p, "HTTP/1.", 7) != 0 || p[8] != ' ') return false;
    for (int i = 9; i < 12; i++) {
        if (p[i] < '0' || p[i] > '9') return false;
        r->status = r->status * 10 + (p[i] - '0');
    }
    return end - p == 12 || p[12] == ' ';
}

/* A whole head, its empty line included. */
static bool parse_head(http_reader *r, const char *p, size_t n)
{
    const char *end = p + n - 2, *eol = memchr(p, '\r', n);
    if (!eol || !start_line(r, p, eol)) return false;
    bool has_length = false;
    for (p = eol + 2; p < end; p = eol + 2) {
        eol = memchr(p, '\r', (size_t)(end - p) + 1);
        if (!eol || eol[1] != '\n' || !header_line(r, p, eol, &has_length)) return false;
    }
    if (r->chunked && has_length) return false;
    if (r->chunked)
        r->state = CHUNK_SIZE;
    else if (has_length || r->request || r->status == 204 || r->status == 304)
        r->state = r->left ? LENGTH : FINISHED;
    else
        r->state = UNTIL_CLOSE, r->until_close = r->close = true;
    return true;
}

static bool keep(http_reader *r, const char *p, size_t n)
{
    if (r->head_n + n + 1 > r->head_cap) {
        size_t cap = r->head_cap ? r->head_cap : 1024;
        while (cap < r->head_n + n + 1)
            cap *= 2;
        char *grown = realloc(r->head, cap);
        if (!grown) return false;
        r->head = grown;
        r->head_cap = cap;
    }
    memcpy(r->head + r->head_n, p, n);
    r->head_n += n;
    r->head[r->head_n] = 0;
    return true;
}

static http_result feed_head(http_reader *r, const char *p, size_t n, size_t *used)
{
    const char *end = r->head_n ? NULL : memmem(p, n, "\r\n\r\n", 4);
    if (end && !r->keep_head) {
        *used = (size_t)(end - p) + 4;
        return parse_head(r, p, *used) ? HTTP_MORE : bad(r, "malformed head");
    }
    size_t before = r->head_n;
    if (before + n > HEAD_MAX) n = HEAD_MAX - before;
    if (n == 0 || !keep(r, p, n)) return bad(r, "head over 64 KiB");
    size_t from = before > 3 ? before - 3 : 0;
    end = memmem(r->head + from, r->head_n - from, "\r\n\r\n", 4);
    if (!end) {
        *used = n;
        return HTTP_MORE;
    }
    size_t whole = (size_t)(end - r->head) + 4;
    *used = whole - before;
    r->head_n = whole;
    r->head[whole] = 0;
    return parse_head(r, r->head, whole) ? HTTP_MORE : bad(r, "malformed head");
}

/* The bytes of framing between chunks, one at a time. */
static bool frame_byte(http_reader *r, char c)
{
    switch (r->state) {
    case CHUNK_SIZE: {
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit >= 0 && r->line_n < 15) {
            r->line = r->line << 4 | (uint64_t)digit;
            r->line_n++;
            return true;
        }
        if (r->line_n == 0 || (c != '\r' && c != ';')) return false;
        r->state = CHUNK_EXT;
        return true;
    }
    case CHUNK_EXT:
        if (c != '\n') return true;
        r->left = r->line;
        r->state = r->left ? CHUNK_DATA : TRAILER;
        r->line = r->line_n = 0;
        return true;
    case CHUNK_END:
        if (c == '\r') return true;
        r->state = CHUNK_SIZE;
        return c == '\n';
    default: /* TRAILER */
        if (c == '\n') {
            if (r->line_n == 0) r->state = FINISHED;
            r->line_n = 0;
        } else if (c != '\r') {
            r->line_n++;
        }
        return true;
    }
}

http_result http_reader_feed(http_reader *r, const char *p, size_t n, size_t *used,
                             http_body_fn *body, void *arg)
{
    size_t at = 0;
    *used = 0;
    while (at < n && r->state != FINISHED) {
        if (r->state == HEAD) {
            size_t took = 0;
            http_result rc = feed_head(r, p + at, n - at, &took);
            at += took;
            if (rc == HTTP_BAD) return rc;
        } else if (r->state == LENGTH || r->state == CHUNK_DATA || r->state == UNTIL_CLOSE) {
            size_t take = n - at;
            if (r->state != UNTIL_CLOSE && take > r->left) take = (size_t)r->left;
            r->body_bytes += take;
            if (body) body(arg, p + at, take);
            at += take;
            if (r->state == UNTIL_CLOSE) continue;
            r->left -= take;
            if (r->left == 0) r->state = r->state == LENGTH ? FINISHED : CHUNK_END;
        } else if (!frame_byte(r, p[at++])) {
            return bad(r, "malformed chunk");
        }
    }
    *used = at;
    return r->state == FINISHED ? HTTP_DONE : HTTP_MORE;
}

http_result http_reader_eof(http_reader *r)
{
    if (r->state == UNTIL_CLOSE) {
        r->state = FINISHED;
        return HTTP_DONE;
    }
    return bad(r, r->state == HEAD && r->head_n == 0 ? "closed before an answer" : "cut");
}
