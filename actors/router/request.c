/*  request.c - at most two edits at byte offsets: the model's name and stream_options. */
#include "request.h"

enum { OPTIONS_MAX = 4096 };

/* True when [at, at + n) is one JSON string of `text`, and a member's value as far as can be seen.
 */
static bool delimits_string(sv_str text, size_t at, size_t n)
{
    if (n < 2 || at > text.n || n > text.n - at) return false;
    const char *p = text.p + at;
    if (p[0] != '"' || p[n - 1] != '"') return false;
    for (size_t i = 1; i < n - 1; i++) {
        if (p[i] == '"') return false;
        if (p[i] == '\\' && ++i >= n - 1) return false;
    }
    while (at > 0 && (text.p[at - 1] == ' ' || text.p[at - 1] == '\t' || text.p[at - 1] == '\n' ||
                      text.p[at - 1] == '\r'))
        at--;
    return at > 0 && text.p[at - 1] == ':';
}

static int edit_model(sv_str text, const request_edits *e, buf *scratch, json_edit *ret,
                      sv_error *err)
{
    size_t at = e->model_at, n = e->model_n;
    if (!delimits_string(text, at, n)) {
        json_value v = json_get(json_root(text), "model");
        if (v.type != JSON_STRING)
            return sv_fail(err, SV_E_INVALID, "model", "The model must be given as a string.");
        at = (size_t)(v.raw.p - text.p);
        n = v.raw.n;
    }
    buf_putc(scratch, '"');
    buf_json_escape(scratch, e->model);
    buf_putc(scratch, '"');
    if (scratch->failed) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    *ret = (json_edit){at, n, buf_str(scratch)};
    return 0;
}

/* stream_options with include_usage, whatever else the client put there. */
static int edit_options(sv_str text, buf *value, buf *scratch, json_edit *ret, bool *changed)
{
    json_value options = json_get(json_root(text), "stream_options");
    *changed = false;
    if (options.type == JSON_OBJECT) {
        buf member;
        json_edit inner;
        buf_init(&member, OPTIONS_MAX);
        int rc = json_edit_set(options.raw, "include_usage", sv_cstr("true"), &member, &inner);
        if (rc == 0) rc = json_apply(options.raw, &inner, 1, value);
        buf_free(&member);
        if (rc == SV_E_TOO_LARGE) return 0; /* absurd options: the provider may judge them */
        if (rc) return rc;
    } else if (options.type == JSON_NONE || options.type == JSON_NULL) {
        buf_puts(value, "{\"include_usage\":true}");
    } else {
        return 0; /* wrong as it is: the provider will say so */
    }
    *changed = true;
    return json_edit_set(text, "stream_options", buf_str(value), scratch, ret);
}

int request_edit(sv_str text, const request_edits *e, buf *out, sv_str *ret, sv_error *err)
{
    buf name, value, scratch;
    json_edit edits[2];
    size_t n = 0;
    int rc = 0;
    bool changed = false;
    buf_init(&name, OPTIONS_MAX);
    buf_init(&value, OPTIONS_MAX + 64);
    buf_init(&scratch, 2 * OPTIONS_MAX);
    if (e->model.p) rc = edit_model(text, e, &name, &edits[n++], err);
    if (rc == 0 && e->include_usage) {
        rc = edit_options(text, &value, &scratch, &edits[n], &changed);
        n += changed;
    }
    if (rc == 0 && n == 2 && edits[1].at < edits[0].at) {
        json_edit swap = edits[0];
        edits[0] = edits[1];
        edits[1] = swap;
    }
    if (rc == 0 && n > 0) rc = json_apply(text, edits, n, out);
    if (rc == 0) *ret = n > 0 ? buf_str(out) : text;
    buf_free(&name);
    buf_free(&value);
    buf_free(&scratch);
    return rc ? sv_fail(err, rc, NULL, NULL) : 0;
}
