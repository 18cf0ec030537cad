/*  multipart.c - a state a place in the body.
 *
 *  The pattern that ends a part begins with CR, which can stand nowhere else in it: so a mismatch
 *  gives back what was matched as data, and only the byte at hand has to be looked at again. The
 *  first boundary is found in the same way, as if a CRLF had come before the body. */
#include "multipart.h"

#include "error.h"
#include "http_parser.h"
#include "utf8.h"
#include "uuid.h"

enum {
    PREAMBLE,
    BOUNDARY,      /* behind a boundary: dashes, blanks or CR */
    BOUNDARY_PAD,  /* behind blanks */
    BOUNDARY_DASH, /* the second dash of the last boundary */
    BOUNDARY_LF,
    HEAD,
    HEAD_LF,
    DATA,
    EPILOGUE
};

static int bad(sv_error *err, const char *why)
{
    return sv_fail(err, SV_E_INVALID, NULL, "The multipart body is malformed: %s.", why);
}

static int too_large(sv_error *err, int most, const char *of_what)
{
    return sv_fail(err, SV_E_TOO_LARGE, NULL, "The multipart body has more than %d %s.", most,
                   of_what);
}

/* ---- parameters ---- */

/* Text up to the quote that closes it, without backslashes that protect a quote or a backslash: a
 * browser of old sends paths with single ones. Moves *at behind the quote. False: never closed. */
static bool unquote(const char **at, const char *end, char *to, uint32_t *n)
{
    const char *p = *at;
    *n = 0;
    while (p < end && *p != '"') {
        if (*p == '\\' && end - p > 1 && (p[1] == '"' || p[1] == '\\')) p++;
        to[(*n)++] = *p++;
    }
    *at = p + 1;
    return p < end;
}

/* Cuts ; name=value off the front of *rest. 1: one was there, its value copied to `to`, which has
 * room for all of *rest; 0: nothing is left; -1: malformed. */
static int next_parameter(sv_str *rest, sv_str *name, char *to, sv_str *value)
{
    *rest = http_trim(*rest);
    if (rest->n == 0) return 0;
    const char *p = rest->p, *end = rest->p + rest->n;
    if (*p++ != ';') return -1;
    while (p < end && http_is_blank(*p))
        p++;
    const char *from = p;
    while (p < end && *p != '=')
        p++;
    *name = (sv_str){from, (uint32_t)(p - from)};
    if (p == end || !http_is_token(*name)) return -1;
    *value = (sv_str){to, 0};
    if (++p < end && *p == '"') {
        p++;
        if (!unquote(&p, end, to, &value->n)) return -1;
    } else {
        while (p < end && *p != ';' && !http_is_blank(*p))
            to[value->n++] = *p++;
        if (!http_is_token(*value)) return -1;
    }
    *rest = (sv_str){p, (uint32_t)(end - p)};
    return 1;
}

/* RFC 2046 5.1.1. */
static bool is_boundary(sv_str s)
{
    if (s.n == 0 || s.n > MULTIPART_BOUNDARY_BYTES || s.p[s.n - 1] == ' ') return false;
    for (uint32_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool letter = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!letter && (c == 0 || strchr("'()+_,-./:=? ", c) == NULL)) return false;
    }
    return true;
}

int multipart_init(multipart *m, sv_str content_type, const multipart_calls *calls, sv_error *err)
{
    char copy[512];
    sv_str name, value, boundary = {NULL, 0};
    const char *semi = content_type.n ? memchr(content_type.p, ';', content_type.n) : NULL;
    uint32_t type_n = semi ? (uint32_t)(semi - content_type.p) : content_type.n;
    sv_str rest = {content_type.p + type_n, content_type.n - type_n};
    int rc = 0;
    if (!http_word_is(http_trim((sv_str){content_type.p, type_n}), "multipart/form-data") ||
        rest.n > sizeof copy)
        return sv_fail(err, SV_E_HTTP_MEDIA_TYPE, NULL,
                       "Content-Type must be multipart/form-data with a boundary.");
    char *to = copy;
    while ((rc = next_parameter(&rest, &name, to, &value)) == 1) {
        if (!http_word_is(name, "boundary")) continue;
        if (boundary.p) rc = -1;
        if (rc < 0) break;
        boundary = value;
        to += value.n;
    }
    if (rc < 0 || !is_boundary(boundary))
        return sv_fail(err, SV_E_HTTP_MEDIA_TYPE, NULL,
                       "The boundary in Content-Type must be given once: 1 to %d letters, digits "
                       "and '()+_,-./:=? .",
                       MULTIPART_BOUNDARY_BYTES);
    memset(m, 0, offsetof(multipart, head));
    m->calls = *calls;
    memcpy(m->pattern, "\r\n--", 4);
    memcpy(m->pattern + 4, boundary.p, boundary.n);
    m->pattern_n = 4 + boundary.n;
    m->matched = 2;
    m->fresh = true;
    m->state = PREAMBLE;
    return 0;
}

/* ---- a part's head ---- */

static bool is_name(sv_str s, uint32_t most)
{
    if (s.n > most || !utf8_valid(s)) return false;
    for (uint32_t i = 0; i < s.n; i++)
        if ((uint8_t)s.p[i] < 0x20 || s.p[i] == 0x7f) return false;
    return true;
}

/* charset'language'%41bc, decoded to UTF-8 behind the other texts. */
static bool decode_extended(multipart *m, sv_str value, sv_str *ret)
{
    const char *first = value.n ? memchr(value.p, '\'', value.n) : NULL;
    const char *end = value.p + value.n;
    const char *second = first ? memchr(first + 1, '\'', (size_t)(end - first - 1)) : NULL;
    if (second == NULL) return false;
    sv_str charset = {value.p, (uint32_t)(first - value.p)};
    bool latin = http_word_is(charset, "iso-8859-1");
    char *to = m->text + m->text_n;
    uint32_t n = 0, room = (uint32_t)sizeof m->text - m->text_n;
    if (!latin && !http_word_is(charset, "utf-8")) return false;
    for (const char *p = second + 1; p < end; p++) {
        uint8_t c = (uint8_t)*p;
        if (c == '%') {
            int hi = end - p > 2 ? hex_digit(p[1]) : -1, lo = end - p > 2 ? hex_digit(p[2]) : -1;
            if (hi < 0 || lo < 0) return false;
            c = (uint8_t)(hi << 4 | lo);
            p += 2;
        }
        if (n + 2 > room) return false;
        if (latin && c >= 0x80) {
            to[n++] = (char)(0xc0 | c >> 6);
            c = 0x80 | (c & 0x3f);
        }
        to[n++] = (char)c;
    }
    *ret = (sv_str){to, n};
    m->text_n += n;
    return true;
}

static int take_parameter(multipart *m, sv_str name, sv_str value, sv_error *err)
{
    multipart_part *part = &m->part;
    if (http_word_is(name, "name")) {
        if (part->name.p) return bad(err, "a part has two names");
        if (value.n == 0 || !is_name(value, MULTIPART_NAME_BYTES))
            return bad(err, "a part's name is empty, too long or not plain UTF-8");
        part->name = value;
        m->text_n += value.n;
    } else if (http_word_is(name, "filename")) {
        if (part->has_file && !m->has_star) return bad(err, "a part has two file names");
        if (!is_name(value, MULTIPART_FILENAME_BYTES))
            return bad(err, "a file name is too long or not plain UTF-8");
        if (m->has_star) return 0;
        part->filename = value;
        part->has_file = true;
        m->text_n += value.n;
    } else if (http_word_is(name, "filename*")) {
        sv_str decoded = {NULL, 0};
        if (m->has_star) return bad(err, "a part has two file names");
        m->text_n += value.n; /* decoded behind its own encoded form */
        if (!decode_extended(m, value, &decoded) || !is_name(decoded, MULTIPART_FILENAME_BYTES))
            return bad(err, "filename* is not UTF-8''... or ISO-8859-1''... (RFC 5987)");
        part->filename = decoded;
        part->has_file = m->has_star = true;
    }
    return 0;
}

static int take_disposition(multipart *m, sv_str value, sv_error *err)
{
    const char *semi = value.n ? memchr(value.p, ';', value.n) : NULL;
    uint32_t n = semi ? (uint32_t)(semi - value.p) : value.n;
    sv_str rest = {value.p + n, value.n - n}, name, v;
    int more = 0;
    if (m->has_disposition) return bad(err, "a part has two Content-Disposition lines");
    m->has_disposition = true;
    if (!http_word_is(http_trim((sv_str){value.p, n}), "form-data"))
        return bad(err, "a part's Content-Disposition is not form-data");
    while ((more = next_parameter(&rest, &name, m->text + m->text_n, &v)) == 1) {
        int rc = take_parameter(m, name, v, err);
        if (rc) return rc;
    }
    if (more < 0) return bad(err, "a part's Content-Disposition has a malformed parameter");
    return 0;
}

static int take_type(multipart *m, sv_str value, sv_error *err)
{
    static const char nested[] = "multipart/";
    if (m->part.type.p) return bad(err, "a part has two Content-Type lines");
    sv_str start = {value.p, value.n < sizeof nested - 1 ? value.n : (uint32_t)sizeof nested - 1};
    if (http_word_is(start, nested)) return bad(err, "a part is a multipart itself");
    m->part.type = value;
    return 0;
}

static int take_line(multipart *m, sv_str line, sv_error *err)
{
    const char *colon = memchr(line.p, ':', line.n);
    if (++m->lines > MULTIPART_HEAD_LINES)
        return too_large(err, MULTIPART_HEAD_LINES, "header lines in one part");
    if (colon == NULL) return bad(err, "a part's header line has no colon");
    sv_str name = {line.p, (uint32_t)(colon - line.p)};
    sv_str value = http_trim((sv_str){colon + 1, line.n - name.n - 1});
    if (!http_is_token(name)) return bad(err, "a part's header name is not a token");
    if (http_word_is(name, "content-disposition")) return take_disposition(m, value, err);
    if (http_word_is(name, "content-type")) return take_type(m, value, err);
    if (http_word_is(name, "content-transfer-encoding") && !http_word_is(value, "7bit") &&
        !http_word_is(value, "8bit") && !http_word_is(value, "binary"))
        return bad(err, "a part is transfer-encoded; send it as it is");
    return 0;
}

/* The blank line has come. */
static int begin_part(multipart *m, sv_error *err)
{
    if (!m->has_disposition) return bad(err, "a part has no Content-Disposition");
    if (m->part.name.p == NULL) return bad(err, "a part has no name");
    if (++m->parts > MULTIPART_PARTS) return too_large(err, MULTIPART_PARTS, "parts");
    m->state = DATA;
    m->matched = 0;
    return m->calls.begin(m->calls.arg, &m->part, err);
}

static void begin_head(multipart *m)
{
    m->state = HEAD;
    m->lines = m->head_n = m->line_at = m->text_n = 0;
    m->part = (multipart_part){.has_file = false};
    m->has_disposition = m->has_star = false;
}

static int head_byte(multipart *m, char b, sv_error *err)
{
    if (m->head_n == sizeof m->head)
        return too_large(err, MULTIPART_HEAD_BYTES, "bytes of header lines in one part");
    if (m->state == HEAD && b != '\r' && !http_is_text((sv_str){&b, 1}))
        return bad(err, b == '\n' ? "a line ends in LF alone" : "a control character in a header");
    if (m->state == HEAD_LF && b != '\n') return bad(err, "CR without LF");
    m->head[m->head_n++] = b;
    if (m->state == HEAD) {
        if (b == '\r') m->state = HEAD_LF;
        return 0;
    }
    sv_str line = {m->head + m->line_at, m->head_n - 2 - m->line_at};
    m->line_at = m->head_n;
    m->state = HEAD;
    return line.n ? take_line(m, line, err) : begin_part(m, err);
}

/* ---- boundaries ---- */

/* Dashes behind a boundary end the body; blanks and CRLF, another part. */
static int boundary_byte(multipart *m, char b, sv_error *err)
{
    if (m->state == BOUNDARY_DASH) {
        if (b != '-') return bad(err, "one dash behind a boundary");
        m->state = EPILOGUE;
        m->around = 0;
        return 0;
    }
    if (m->state == BOUNDARY_LF) {
        if (b != '\n') return bad(err, "CR without LF");
        begin_head(m);
        return 0;
    }
    if (b == '\r') {
        m->state = BOUNDARY_LF;
    } else if (b == '-' && m->state == BOUNDARY) {
        m->state = BOUNDARY_DASH;
    } else if (http_is_blank(b) && ++m->around <= MULTIPART_BOUNDARY_BYTES) {
        m->state = BOUNDARY_PAD;
    } else {
        return bad(err, "something stands behind a boundary in its line");
    }
    return 0;
}

/* Data, or preamble, which is not told. */
static int tell(multipart *m, const char *p, size_t n, sv_error *err)
{
    if (n == 0) return 0;
    if (m->state == DATA) return m->calls.bytes(m->calls.arg, (sv_str){p, (uint32_t)n}, err);
    m->around += (uint32_t)n;
    if (n > MULTIPART_AROUND_BYTES || m->around > MULTIPART_AROUND_BYTES)
        return too_large(err, MULTIPART_AROUND_BYTES, "bytes before its first boundary");
    return 0;
}

static int found_boundary(multipart *m, sv_error *err)
{
    int rc = m->state == DATA ? m->calls.end(m->calls.arg, err) : 0;
    m->state = BOUNDARY;
    m->around = 0;
    m->fresh = false;
    return rc;
}

/* Bytes up to a boundary or the end of the piece. *used: how many it took. */
static int scan(multipart *m, const char *p, size_t n, size_t *used, sv_error *err)
{
    size_t at = 0, from = 0; /* p[from, at) is data or in the pattern */
    size_t before = m->fresh ? 2 : 0;
    size_t old = m->matched; /* of it, what came with earlier pieces */
    while (at < n) {
        if (m->matched == 0) {
            const char *cr = memchr(p + at, '\r', n - at);
            at = cr ? (size_t)(cr - p) : n;
            if (cr == NULL) break;
            m->matched = 1;
            at++;
        } else if (p[at] == m->pattern[m->matched]) {
            m->matched++;
            at++;
        } else {
            /* The virtual CRLF before the body is no byte of it. */
            int rc = old > before ? tell(m, m->pattern + before, old - before, err) : 0;
            if (rc) return rc;
            old = before = m->matched = 0;
            m->fresh = false;
        }
        if (m->matched == m->pattern_n) {
            size_t own = m->matched - old;
            int rc = tell(m, p + from, at - from - own, err);
            *used = at;
            return rc ? rc : found_boundary(m, err);
        }
    }
    *used = n;
    size_t own = m->matched - old;
    return tell(m, p + from, n - from - own, err);
}

int multipart_feed(multipart *m, sv_str bytes, sv_error *err)
{
    size_t at = 0;
    int rc = m->failed;
    if (rc) return bad(err, "it was given up before");
    while (at < bytes.n && rc == 0) {
        size_t used = 1;
        switch (m->state) {
        case PREAMBLE:
        case DATA: rc = scan(m, bytes.p + at, bytes.n - at, &used, err); break;
        case HEAD:
        case HEAD_LF: rc = head_byte(m, bytes.p[at], err); break;
        case EPILOGUE:
            used = bytes.n - at;
            if (used > MULTIPART_AROUND_BYTES - m->around)
                rc = too_large(err, MULTIPART_AROUND_BYTES, "bytes behind its last boundary");
            m->around += (uint32_t)used;
            break;
        default: rc = boundary_byte(m, bytes.p[at], err); break;
        }
        at += used;
    }
    m->failed = rc;
    return rc;
}

int multipart_end(multipart *m, sv_error *err)
{
    if (m->failed) return bad(err, "it was given up before");
    if (m->state == EPILOGUE) return 0;
    return bad(err, m->state == PREAMBLE ? "its boundary does not come"
                                         : "it ends before its last boundary");
}
