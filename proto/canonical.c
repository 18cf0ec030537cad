/*  canonical.c - one walk over the text. Members of an object are written in the order they come and
 *  put into order behind the last one, if they were not sorted already. */
#include "canonical.h"

#include "error.h"
#include "json_scan.h"

#include <stdlib.h>

enum { MEMBERS = 8 };

typedef struct walk {
    const char *at, *end;
    const char *const *without;
    buf *out;
    buf name; /* the decoded name of a member */
} walk;

/* A member as it stands in `out`: its name decoded, and where its bytes are. */
typedef struct member {
    char *name;
    uint32_t name_n;
    size_t at, n;
} member;

typedef struct members {
    member *items;
    size_t n, cap;
} members;

static int value(walk *w, int depth);

static void space(walk *w)
{
    while (w->at < w->end && (*w->at == ' ' || *w->at == '\t' || *w->at == '\n' || *w->at == '\r'))
        w->at++;
}

/* The next token's first byte, 0 at the end. */
static char next(walk *w)
{
    space(w);
    return w->at < w->end ? *w->at : 0;
}

static int take(walk *w, char c)
{
    if (next(w) != c) return SV_E_MALFORMED;
    w->at++;
    return 0;
}

/* ---- strings ---- */

/* The token at the cursor, quotes included. */
static int string_token(walk *w, sv_str *ret)
{
    if (next(w) != '"') return SV_E_MALFORMED;
    const char *from = w->at++;
    while (w->at < w->end && *w->at != '"')
        w->at += *w->at == '\\' ? 2 : 1;
    if (w->at >= w->end) return SV_E_MALFORMED;
    w->at++;
    *ret = (sv_str){from, (uint32_t)(w->at - from)};
    return 0;
}

static int put_text(buf *out, sv_str text)
{
    int rc = buf_putc(out, '"');
    if (rc == 0) rc = buf_json_escape(out, text);
    return rc ? rc : buf_putc(out, '"');
}

static int decode(walk *w, sv_str token)
{
    buf_reset(&w->name, 4096);
    int rc = json_text((json_value){JSON_STRING, token}, &w->name);
    return rc == SV_E_WRONG_TYPE ? SV_E_MALFORMED : rc;
}

static int string(walk *w)
{
    sv_str token;
    int rc = string_token(w, &token);
    if (rc) return rc;
    bool plain_text = !memchr(token.p, '\\', token.n) && !memchr(token.p, 0x7f, token.n);
    if (plain_text) return buf_put(w->out, token.p, token.n);
    rc = decode(w, token);
    return rc ? rc : put_text(w->out, buf_str(&w->name));
}

/* ---- objects ---- */

static void members_free(members *m)
{
    for (size_t i = 0; i < m->n; i++)
        free(m->items[i].name);
    free(m->items);
}

static member *add_member(members *m, sv_str name)
{
    if (m->n == m->cap) {
        size_t cap = m->cap ? 2 * m->cap : MEMBERS;
        member *grown = realloc(m->items, cap * sizeof *grown);
        if (grown == NULL) return NULL;
        m->items = grown;
        m->cap = cap;
    }
    member *to = &m->items[m->n];
    *to = (member){.name = malloc(name.n + 1u), .name_n = name.n};
    if (to->name == NULL) return NULL;
    if (name.n) memcpy(to->name, name.p, name.n);
    m->n++;
    return to;
}

static int by_name(const void *a, const void *b)
{
    const member *x = a, *y = b;
    uint32_t n = x->name_n < y->name_n ? x->name_n : y->name_n;
    int c = n ? memcmp(x->name, y->name, n) : 0;
    if (c) return c;
    if (x->name_n != y->name_n) return x->name_n < y->name_n ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

/* Puts the members' bytes, which begin at `from` and have commas between them, into order. */
static int sort(members *m, size_t from, buf *out)
{
    bool sorted = true;
    for (size_t i = 1; sorted && i < m->n; i++)
        sorted = by_name(&m->items[i - 1], &m->items[i]) < 0;
    if (sorted) return 0;
    size_t n = out->n - from;
    char *copy = malloc(n);
    if (copy == NULL) return SV_E_NO_MEMORY;
    memcpy(copy, out->p + from, n);
    qsort(m->items, m->n, sizeof *m->items, by_name);
    char *to = out->p + from;
    for (size_t i = 0; i < m->n; i++) {
        if (i) *to++ = ',';
        to = mempcpy(to, copy + (m->items[i].at - from), m->items[i].n);
    }
    free(copy);
    return 0;
}

static bool left_out(const walk *w, sv_str name)
{
    for (const char *const *s = w->without; s && *s; s++)
        if (sv_str_is(name, *s)) return true;
    return false;
}

static int one_member(walk *w, members *m, int depth)
{
    sv_str token;
    size_t before = w->out->n;
    int rc = string_token(w, &token);
    if (rc == 0) rc = decode(w, token);
    if (rc) return rc;
    bool out = depth == 1 && left_out(w, buf_str(&w->name));
    if (!out && m->n && (rc = buf_putc(w->out, ','))) return rc;
    size_t at = w->out->n;
    member *to = out ? NULL : add_member(m, buf_str(&w->name));
    if (!out && to == NULL) return SV_E_NO_MEMORY;
    rc = put_text(w->out, buf_str(&w->name));
    if (rc == 0) rc = take(w, ':');
    if (rc == 0) rc = buf_putc(w->out, ':');
    if (rc == 0) rc = value(w, depth);
    if (rc) return rc;
    if (out) {
        w->out->n = before;
    } else {
        m->items[m->n - 1].at = at;
        m->items[m->n - 1].n = w->out->n - at;
    }
    return 0;
}

static int object(walk *w, int depth)
{
    members m = {0};
    w->at++;
    int rc = buf_putc(w->out, '{');
    size_t from = w->out->n;
    if (rc == 0 && next(w) != '}') {
        do {
            rc = one_member(w, &m, depth);
        } while (rc == 0 && next(w) == ',' && take(w, ',') == 0);
    }
    if (rc == 0) rc = take(w, '}');
    if (rc == 0) rc = sort(&m, from, w->out);
    members_free(&m);
    return rc ? rc : buf_putc(w->out, '}');
}

static int array(walk *w, int depth)
{
    w->at++;
    int rc = buf_putc(w->out, '[');
    if (rc == 0 && next(w) != ']') {
        rc = value(w, depth);
        while (rc == 0 && next(w) == ',') {
            w->at++;
            rc = buf_putc(w->out, ',');
            if (rc == 0) rc = value(w, depth);
        }
    }
    if (rc == 0) rc = take(w, ']');
    return rc ? rc : buf_putc(w->out, ']');
}

/* A number or a word. */
static int plain(walk *w)
{
    const char *from = w->at;
    while (w->at < w->end && *w->at && strchr("+-.0123456789Eaeflnrstu", *w->at))
        w->at++;
    return w->at == from ? SV_E_MALFORMED : buf_put(w->out, from, (size_t)(w->at - from));
}

static int value(walk *w, int depth)
{
    char c = next(w);
    if ((c == '{' || c == '[') && depth == CANONICAL_DEPTH) return SV_E_TOO_DEEP;
    switch (c) {
    case '{': return object(w, depth + 1);
    case '[': return array(w, depth + 1);
    case '"': return string(w);
    default: return plain(w);
    }
}

int canonical_json(sv_str text, const char *const *without, buf *out)
{
    walk w = {.at = text.p, .end = text.p + text.n, .without = without, .out = out};
    size_t before = out->n;
    if (text.n == 0) return SV_E_MALFORMED;
    buf_init(&w.name, text.n + 16u);
    int rc = value(&w, 0);
    if (rc == 0 && next(&w) != 0) rc = SV_E_MALFORMED;
    if (rc == 0 && w.at != w.end) rc = SV_E_MALFORMED; /* a NUL */
    buf_free(&w.name);
    if (rc) out->n = before;
    return rc;
}
