/*  passthrough.c - finds the field "model" of a form.
 *
 *  The body is walked by delimiters: "--boundary" at its beginning, LF "--boundary" everywhere else.
 *  Each must have CR before it and CRLF, or two dashes and the end of the body, behind it. Looking for
 *  the LF alone finds the delimiters that only careless readers would see, and they are refused. */
#include "passthrough.h"

#include "error.h"
#include "utf8.h"

#include <string.h>
#include <strings.h>

typedef struct form {
    const char *p, *end;
    sv_error *err;
    char mark[3 + FORM_BOUNDARY_BYTES]; /* LF, two dashes, the boundary */
    size_t mark_n;
} form;

typedef struct form_head {
    sv_str name;
    bool has_file, disposition, type, coding;
} form_head;

static int bad(const form *f, const char *what)
{
    return sv_fail(f->err, SV_E_INVALID, NULL, "The form is not valid: %s.", what);
}

static bool is_boundary_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c && strchr("'()+_,-./:=?", c) != NULL);
}

static bool is_token_char(char c)
{
    return (unsigned char)c > 0x20 && (unsigned char)c < 0x7f && !strchr("()<>@,;:\\\"/[]?={}", c);
}

static int check_boundary(sv_str boundary, sv_error *err)
{
    bool good = boundary.n > 0 && boundary.n <= FORM_BOUNDARY_BYTES;
    for (uint32_t i = 0; good && i < boundary.n; i++)
        good = is_boundary_char(boundary.p[i]);
    if (good) return 0;
    return sv_fail(err, SV_E_HTTP_MEDIA_TYPE, NULL,
                   "The form's boundary must be 1 to %d letters, digits or '()+_,-./:=?",
                   FORM_BOUNDARY_BYTES);
}

/* ---- parameters: ; name=value ; name="value" ---- */

static void skip_blanks(const char **p, const char *end)
{
    while (*p < end && (**p == ' ' || **p == '\t'))
        (*p)++;
}

/* 1: a parameter, 0: the end, -1: something else, or a value with escapes, which readers decode in
 * different ways (%22 and its like stay as they are: no model's field has them in its name). */
static int next_parameter(const char **p, const char *end, sv_str *name, sv_str *value)
{
    skip_blanks(p, end);
    if (*p == end) return 0;
    if (*(*p)++ != ';') return -1;
    skip_blanks(p, end);
    const char *from = *p;
    while (*p < end && is_token_char(**p))
        (*p)++;
    *name = (sv_str){from, (uint32_t)(*p - from)};
    if (name->n == 0 || *p == end || *(*p)++ != '=') return -1;
    bool quoted = *p < end && **p == '"';
    from = *p += quoted;
    while (*p < end && (quoted ? **p != '"' : is_token_char(**p))) {
        if (**p == '\\') return -1;
        (*p)++;
    }
    *value = (sv_str){from, (uint32_t)(*p - from)};
    if (!quoted) return value->n ? 1 : -1;
    if (*p == end) return -1;
    (*p)++;
    return 1;
}

static bool same_word(sv_str s, const char *word)
{
    return s.n == strlen(word) && strncasecmp(s.p, word, s.n) == 0;
}

/* Takes `word` and what may follow it before a parameter. */
static bool take_word(const char **p, const char *end, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(end - *p) < n || strncasecmp(*p, word, n) != 0) return false;
    *p += n;
    return *p == end || **p == ';' || **p == ' ' || **p == '\t';
}

int form_boundary(sv_str content_type, sv_str *ret, sv_error *err)
{
    const char *p = content_type.p, *end = p + content_type.n;
    sv_str name, value, found = {NULL, 0};
    int more = -1;
    if (content_type.n && take_word(&p, end, "multipart/form-data"))
        while ((more = next_parameter(&p, end, &name, &value)) == 1)
            if (same_word(name, "boundary")) {
                if (found.p) more = -1;
                if (found.p) break;
                found = value;
            }
    if (more || found.p == NULL)
        return sv_fail(err, SV_E_HTTP_MEDIA_TYPE, NULL,
                       "Send a form: Content-Type: multipart/form-data; boundary=...");
    int rc = check_boundary(found, err);
    if (rc == 0) *ret = found;
    return rc;
}

/* ---- a part's head ---- */

static int read_disposition(const form *f, const char *p, const char *end, form_head *head)
{
    sv_str name, value;
    int more;
    if (!take_word(&p, end, "form-data")) return bad(f, "a part is no form-data");
    while ((more = next_parameter(&p, end, &name, &value)) == 1) {
        if (same_word(name, "name")) {
            if (head->name.p) return bad(f, "a part has two names");
            head->name = value;
        } else if (same_word(name, "filename") || same_word(name, "filename*")) {
            head->has_file = true;
        } else if (same_word(name, "name*")) {
            return bad(f, "a part has a name in an encoding");
        }
    }
    if (more < 0) return bad(f, "a part's Content-Disposition cannot be read");
    return 0;
}

/* One header line without its CRLF. */
static int read_line(const form *f, const char *p, const char *end, form_head *head)
{
    const char *colon = memchr(p, ':', (size_t)(end - p));
    for (const char *c = p; c < end; c++)
        if (((unsigned char)*c < 0x20 && *c != '\t') || *c == 0x7f)
            return bad(f, "a part's head has a control character");
    if (colon == NULL || colon == p) return bad(f, "a part's head has a line that is no header");
    for (const char *c = p; c < colon; c++)
        if (!is_token_char(*c)) return bad(f, "a part's head has a line that is no header");
    sv_str name = {p, (uint32_t)(colon - p)};
    p = colon + 1;
    skip_blanks(&p, end);
    while (end > p && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    if (same_word(name, "content-transfer-encoding")) {
        sv_str v = {p, (uint32_t)(end - p)};
        bool plain = same_word(v, "7bit") || same_word(v, "8bit") || same_word(v, "binary");
        if (head->coding || !plain) return bad(f, "a part has a transfer encoding");
        head->coding = true;
    }
    if (same_word(name, "content-type")) {
        if (head->type) return bad(f, "a part has two types");
        head->type = true;
    }
    if (!same_word(name, "content-disposition")) return 0;
    if (head->disposition) return bad(f, "a part has two Content-Dispositions");
    head->disposition = true;
    return read_disposition(f, p, end, head);
}

/* Lines up to the empty one; f->p moves behind it. */
static int read_head(form *f, form_head *head)
{
    const char *from = f->p;
    *head = (form_head){0};
    for (uint32_t lines = 0;; lines++) {
        size_t left = (size_t)(f->end - f->p), room = FORM_HEAD_BYTES - (size_t)(f->p - from);
        const char *lf = memchr(f->p, '\n', left < room ? left : room);
        if (lf == NULL)
            return bad(f, left < room ? "it is cut in a part's head" : "a part's head is too long");
        if (lf == f->p || lf[-1] != '\r')
            return bad(f, "a line of a part's head ends without CRLF");
        const char *line = f->p;
        f->p = lf + 1;
        if (lf - 1 == line) break;
        if (lines == FORM_HEAD_LINES) return bad(f, "a part's head has too many lines");
        if (*line == ' ' || *line == '\t') return bad(f, "a part's head has a folded line");
        int rc = read_line(f, line, lf - 1, head);
        if (rc) return rc;
    }
    if (head->name.p == NULL) return bad(f, "a part has no name");
    return 0;
}

/* ---- the body ---- */

/* Behind a delimiter: does a part follow? */
static int after_mark(form *f, bool *more)
{
    size_t left = (size_t)(f->end - f->p);
    *more = left >= 2 && memcmp(f->p, "\r\n", 2) == 0;
    if (*more) {
        f->p += 2;
        return 0;
    }
    if (left < 2 || memcmp(f->p, "--", 2) != 0)
        return bad(f, "the boundary stands where it does not end a part");
    f->p += 2;
    if (left == 2 || (left == 4 && memcmp(f->p, "\r\n", 2) == 0)) return 0;
    return bad(f, "something follows its end");
}

/* The value up to the next delimiter; f->p moves behind that. */
static int read_value(form *f, sv_str *value)
{
    const char *from = f->p;
    /* From the LF before: a delimiter without a line end of its own is found too. */
    const char *mark = memmem(from - 1, (size_t)(f->end - from) + 1, f->mark, f->mark_n);
    if (mark == NULL) return bad(f, "it is cut, for its last boundary is missing");
    if (mark <= from || mark[-1] != '\r')
        return bad(f, "the boundary stands where it does not end a part");
    *value = (sv_str){from, (uint32_t)(mark - 1 - from)};
    f->p = mark + f->mark_n;
    return 0;
}

static int check_model(sv_str model, sv_error *err)
{
    if (model.n == 0 || model.n > FORM_MODEL_BYTES)
        return sv_fail(err, SV_E_OUT_OF_RANGE, "model", "This must be 1 to %d bytes.",
                       FORM_MODEL_BYTES);
    bool good = utf8_valid(model);
    for (uint32_t i = 0; i < model.n; i++)
        good = good && (unsigned char)model.p[i] >= 0x20 && model.p[i] != 0x7f;
    if (good) return 0;
    return sv_fail(err, SV_E_INVALID, "model", "This must be a model's name, in UTF-8.");
}

static int take_model(const form *f, const form_head *head, sv_str value, sv_str *ret)
{
    if (!sv_str_is(head->name, "model")) return 0;
    if (ret->p) return sv_fail(f->err, SV_E_INVALID, "model", "This field is there twice.");
    if (head->has_file) return sv_fail(f->err, SV_E_INVALID, "model", "This must not be a file.");
    *ret = value;
    return check_model(value, f->err);
}

static int walk(form *f, sv_str *ret)
{
    bool more;
    size_t first = f->mark_n - 1; /* without its LF */
    if ((size_t)(f->end - f->p) < first || memcmp(f->p, f->mark + 1, first) != 0)
        return bad(f, "it does not begin with its boundary");
    f->p += first;
    int rc = after_mark(f, &more);
    for (uint32_t parts = 0; rc == 0 && more; parts++) {
        form_head head;
        sv_str value = {NULL, 0};
        if (parts == FORM_PARTS) return bad(f, "it has too many parts");
        rc = read_head(f, &head);
        if (rc == 0) rc = read_value(f, &value);
        if (rc == 0) rc = after_mark(f, &more);
        if (rc == 0) rc = take_model(f, &head, value, ret);
    }
    return rc;
}

int form_model(sv_str body, sv_str boundary, sv_str *ret, sv_error *err)
{
    form f = {.p = body.p, .end = body.p + body.n, .err = err};
    sv_str found = {NULL, 0};
    int rc = check_boundary(boundary, err);
    if (rc) return rc;
    if (body.n == 0) return bad(&f, "it is empty");
    memcpy(f.mark, "\n--", 3);
    memcpy(f.mark + 3, boundary.p, boundary.n);
    f.mark_n = 3 + (size_t)boundary.n;
    rc = walk(&f, &found);
    if (rc) return rc;
    if (found.p == NULL)
        return sv_fail(err, SV_E_MISSING_FIELD, "model", "The form has no field \"model\".");
    *ret = found;
    return 0;
}

int form_set_model(sv_str body, sv_str boundary, sv_str model, buf *out, sv_error *err)
{
    sv_str old = {NULL, 0};
    int rc = form_model(body, boundary, &old, err);
    if (rc == 0) rc = check_model(model, err);
    if (rc) return rc;
    size_t before = (size_t)(old.p - body.p), behind = body.n - before - old.n;
    buf_put(out, body.p, before);
    buf_put(out, model.p, model.n);
    buf_put(out, old.p + old.n, behind);
    return out->failed ? sv_fail(err, out->error, NULL, NULL) : 0;
}
