/*  message_view.c - the buffer remembers its first failure, so that it is asked once, at the end. */
#include "message_view.h"

#include "error.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <sodium.h>

enum { BASE64 = sodium_base64_VARIANT_ORIGINAL };

static void view_text(buf *out, sv_str s)
{
    buf_putc(out, '"');
    buf_json_escape(out, s);
    buf_putc(out, '"');
}

static void view_bytes(buf *out, sv_str s)
{
    size_t size = sodium_base64_ENCODED_LEN(s.n, BASE64); /* with its NUL */
    buf_putc(out, '"');
    char *to = buf_room(out, size);
    if (to == NULL) return;
    sodium_bin2base64(to, size, (const unsigned char *)s.p, s.n, BASE64);
    buf_added(out, size - 1);
    buf_putc(out, '"');
}

static void view_message(const sv_message *m, const void *src, buf *out);

static void view_strings(const sv_strs *s, buf *out)
{
    buf_putc(out, '[');
    for (uint32_t i = 0; i < s->n; i++) {
        if (i) buf_putc(out, ',');
        view_text(out, s->items[i]);
    }
    buf_putc(out, ']');
}

static void view_list(const sv_message *m, const sv_list *l, buf *out)
{
    buf_putc(out, '[');
    for (uint32_t i = 0; i < l->n; i++) {
        if (i) buf_putc(out, ',');
        view_message(m, (const char *)l->items + i * m->size, out);
    }
    buf_putc(out, ']');
}

/* msgpack of any type; absent: null. */
static void view_raw(buf *out, sv_str s)
{
    int rc = s.n ? message_to_json(NULL, s, false, out, NULL) : buf_puts(out, "null");
    if (rc && !out->failed) {
        out->failed = true;
        out->error = rc;
    }
}

static void view_number(buf *out, double d)
{
    if (isfinite(d))
        buf_printf(out, "%.17g", d);
    else
        buf_puts(out, "null");
}

static void view_field(const sv_field *f, const char *at, buf *out)
{
    const sv_str *s = (const void *)at;
    switch (f->type) {
    case SV_T_BOOL: buf_puts(out, *(const bool *)(const void *)at ? "true" : "false"); break;
    case SV_T_INT: buf_printf(out, "%" PRId64, *(const int64_t *)(const void *)at); break;
    case SV_T_NUM: view_number(out, *(const double *)(const void *)at); break;
    case SV_T_STR:
    case SV_T_BIN:
        if (s->p == NULL)
            buf_puts(out, "null");
        else if (f->type == SV_T_STR)
            view_text(out, *s);
        else
            view_bytes(out, *s);
        break;
    case SV_T_RAW: view_raw(out, *s); break;
    case SV_T_STRS: view_strings((const void *)at, out); break;
    case SV_T_LIST: view_list(f->sub, (const void *)at, out); break;
    case SV_T_MSG: {
        const void *sub = *(void *const *)(const void *)at;
        if (sub)
            view_message(f->sub, sub, out);
        else
            buf_puts(out, "null");
        break;
    }
    }
}

static void view_message(const sv_message *m, const void *src, buf *out)
{
    bool first = true;
    buf_putc(out, '{');
    for (size_t i = 0; i < m->n; i++) {
        const sv_field *f = &m->fields[i];
        if (f->rules & SV_EDGE) continue;
        buf_printf(out, "%s\"%s\":", first ? "" : ",", f->name);
        view_field(f, (const char *)src + f->offset, out);
        first = false;
    }
    buf_putc(out, '}');
}

int message_view(const sv_message *m, const void *src, buf *out)
{
    view_message(m, src, out);
    return out->failed ? out->error : 0;
}
