/*  parse.c - members by table, typed values, paths of fields, pieces that several formats share. */
#include "parse.h"

#include "error.h"
#include "uuid.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { RECENT_CALLS = 256, MEDIA_TYPE = 128 };

static bool key_is(sv_str key, const char *name)
{
    size_t n = strlen(name);
    if (key.n == n) return memcmp(key.p, name, n) == 0;
    if (key.n < n || memchr(key.p, '\\', key.n) == NULL) return false;
    return json_string_is((json_value){JSON_STRING, {key.p - 1, key.n + 2}}, name);
}

static size_t index_of(sv_str key, const char *const *names, size_t n)
{
    size_t i = 0;
    while (i < n && !key_is(key, names[i]))
        i++;
    return i;
}

uint32_t llm_members(json_value object, const char *const *names, size_t n, json_value *values)
{
    sv_str key;
    json_value v;
    uint32_t others = 0;
    for (size_t i = 0; i < n; i++)
        values[i] = (json_value){JSON_NONE, {NULL, 0}};
    for (size_t at = 0; json_next_member(object, &at, &key, &v);) {
        size_t i = index_of(key, names, n);
        if (i == n)
            others++;
        else if (v.type != JSON_NULL)
            values[i] = v;
    }
    return others;
}

int llm_keep_left(llm_in *in, json_value object, const char *const *names, size_t n)
{
    sv_str key;
    json_value v;
    uint32_t others = 0;
    for (size_t at = 0; json_next_member(object, &at, &key, &v);)
        others += v.type != JSON_NULL && index_of(key, names, n) == n;
    in->q->left = llm_new(in, others + LLM_DROPS, sizeof *in->q->left);
    if (in->q->left == NULL) return SV_E_NO_MEMORY;
    for (size_t at = 0; json_next_member(object, &at, &key, &v) && in->q->n_left < others;)
        if (v.type != JSON_NULL && index_of(key, names, n) == n) in->q->left[in->q->n_left++] = key;
    return 0;
}

uint32_t llm_count(json_value array)
{
    uint32_t n = 0;
    json_value v;
    for (size_t at = 0; json_next_element(array, &at, &v);)
        n++;
    return n;
}

/* ---- where ---- */

void llm_enter(llm_in *in, const char *name, int64_t index)
{
    if (in->depth < LLM_LEVELS) {
        in->level[in->depth].name = name;
        in->level[in->depth].index = index;
    }
    in->depth++;
}

void llm_leave(llm_in *in)
{
    in->depth--;
}

static void path_of(const llm_in *in, const char *field, char *path, size_t size)
{
    size_t n = 0;
    path[0] = 0;
    for (uint32_t i = 0; i < in->depth && i < LLM_LEVELS && n < size; i++) {
        int64_t index = in->level[i].index;
        n += (size_t)snprintf(path + n, size - n, "%s%s", n ? "." : "", in->level[i].name);
        if (index >= 0 && n < size)
            n += (size_t)snprintf(path + n, size - n, "[%lld]", (long long)index);
    }
    if (field && n < size)
        snprintf(path + n, size - n, "%s%s", n && field[0] != '[' ? "." : "", field);
}

int llm_bad(const llm_in *in, int code, const char *field, const char *fmt, ...)
{
    char path[96], text[256];
    path_of(in, field, path, sizeof path);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return sv_fail(in->err, code, path, "%s", text);
}

int llm_drop(llm_in *in, const char *field)
{
    char path[96];
    if (in->drops == LLM_DROPS) return 0;
    if (in->drops == LLM_DROPS - 1)
        snprintf(path, sizeof path, "...");
    else
        path_of(in, field, path, sizeof path);
    char *copy = arena_copy(in->a, sv_cstr(path));
    if (copy == NULL) return sv_fail(in->err, SV_E_NO_MEMORY, NULL, NULL);
    in->drops++;
    in->q->left[in->q->n_left++] = sv_cstr(copy);
    return 0;
}

/* ---- typed values ---- */

static bool absent(json_value v)
{
    return v.type == JSON_NONE || v.type == JSON_NULL;
}

int llm_want(const llm_in *in, json_value v, json_type type, const char *field)
{
    static const char *const words[] = {
        [JSON_NONE] = "a value", [JSON_NULL] = "null",       [JSON_TRUE] = "true or false",
        [JSON_FALSE] = "false",  [JSON_NUMBER] = "a number", [JSON_STRING] = "a string",
        [JSON_ARRAY] = "a list", [JSON_OBJECT] = "an object"};
    if (v.type == JSON_NONE || v.type == type || (type == JSON_TRUE && v.type == JSON_FALSE))
        return 0;
    return llm_bad(in, SV_E_WRONG_TYPE, field, "This must be %s.", words[type]);
}

int llm_string(const llm_in *in, json_value v, const char *field, sv_str *ret)
{
    if (absent(v)) return 0;
    int rc = llm_want(in, v, JSON_STRING, field);
    if (rc == 0) *ret = llm_inside(v);
    return rc;
}

int llm_bool(const llm_in *in, json_value v, const char *field, bool *ret)
{
    if (absent(v)) return 0;
    int rc = llm_want(in, v, JSON_TRUE, field);
    if (rc == 0) *ret = v.type == JSON_TRUE;
    return rc;
}

int llm_int(const llm_in *in, json_value v, const char *field, int64_t least, int64_t most,
            int64_t *ret)
{
    int64_t n = 0;
    if (absent(v)) return 0;
    int rc = llm_want(in, v, JSON_NUMBER, field);
    if (rc) return rc;
    rc = json_int(v, &n);
    if (rc == SV_E_WRONG_TYPE) return llm_bad(in, rc, field, "This must be a whole number.");
    if (rc || n < least || n > most)
        return llm_bad(in, SV_E_OUT_OF_RANGE, field, "This must be from %lld to %lld.",
                       (long long)least, (long long)most);
    *ret = n;
    return 0;
}

int llm_number(const llm_in *in, json_value v, const char *field, sv_str *ret)
{
    double n;
    if (absent(v)) return 0;
    int rc = llm_want(in, v, JSON_NUMBER, field);
    if (rc) return rc;
    if (json_number(v, &n))
        return llm_bad(in, SV_E_OUT_OF_RANGE, field, "This number is too large or too long.");
    *ret = v.raw;
    return 0;
}

int llm_object(const llm_in *in, json_value v, const char *field, sv_str *ret)
{
    if (absent(v)) return 0;
    int rc = llm_want(in, v, JSON_OBJECT, field);
    if (rc == 0) *ret = v.raw;
    return rc;
}

int llm_need(const llm_in *in, json_value v, const char *field)
{
    if (!absent(v)) return 0;
    return llm_bad(in, SV_E_MISSING_FIELD, field, "This field is required.");
}

int llm_list(const llm_in *in, json_value v, const char *field, uint32_t most, uint32_t *n)
{
    *n = 0;
    if (absent(v)) return 0;
    int rc = llm_want(in, v, JSON_ARRAY, field);
    if (rc) return rc;
    *n = llm_count(v);
    if (*n > most)
        return llm_bad(in, SV_E_OUT_OF_RANGE, field, "This list has %u elements; the most is %u.",
                       *n, most);
    return 0;
}

void *llm_new(const llm_in *in, size_t n, size_t size)
{
    void *p = arena_alloc(in->a, n * size);
    if (p == NULL) sv_fail(in->err, SV_E_NO_MEMORY, NULL, NULL);
    return p;
}

int llm_stops(llm_in *in, json_value v, const char *field)
{
    llm_request *q = in->q;
    if (v.type == JSON_STRING) {
        q->stops[0] = llm_inside(v);
        q->n_stops = 1;
        return 0;
    }
    uint32_t n;
    int rc = llm_list(in, v, field, LLM_STOPS, &n);
    json_value one;
    for (size_t at = 0; rc == 0 && n && json_next_element(v, &at, &one);) {
        if (one.type != JSON_STRING)
            return llm_bad(in, SV_E_WRONG_TYPE, field,
                           "This must be a string or a list of strings.");
        q->stops[q->n_stops++] = llm_inside(one);
    }
    return rc;
}

/* ---- arguments ---- */

static const char invalid[] = "{\"invalid_arguments\":";

static bool is_blank(sv_str s)
{
    for (uint32_t i = 0; i < s.n; i++)
        if (!strchr(" \t\r\n", s.p[i])) return false;
    return true;
}

static bool is_object(sv_str json)
{
    return json_skim(json, LLM_DEPTH, NULL) == 0 && json_root(json).type == JSON_OBJECT;
}

/* `decoded` is the text that `inside` stands for; the answer is 0 or a buffer error. */
static int put_checked(buf *out, sv_str decoded, sv_str inside)
{
    if (is_blank(decoded)) return buf_puts(out, "{}");
    if (is_object(decoded)) return buf_put(out, decoded.p, decoded.n);
    buf_puts(out, invalid);
    llm_put_string(out, inside);
    return buf_putc(out, '}');
}

int llm_put_object(buf *out, sv_str inside)
{
    buf decoded;
    buf_init(&decoded, (size_t)inside.n + 1);
    int rc = llm_decode(inside, &decoded);
    if (rc == 0) rc = put_checked(out, buf_str(&decoded), inside);
    buf_free(&decoded);
    return rc;
}

int llm_arguments(const llm_in *in, sv_str inside, sv_str *ret)
{
    buf out;
    buf_init(&out, (size_t)inside.n + sizeof invalid + 4);
    int rc = llm_put_object(&out, inside);
    char *copy = rc ? NULL : arena_copy(in->a, buf_str(&out));
    uint32_t n = (uint32_t)out.n;
    buf_free(&out);
    if (copy == NULL) return sv_fail(in->err, SV_E_NO_MEMORY, NULL, NULL);
    *ret = (sv_str){copy, n};
    return 0;
}

/* ---- addresses ---- */

static int decode_address(const llm_in *in, sv_str *inside, const char *field)
{
    buf out;
    buf_init(&out, (size_t)inside->n + 1);
    int rc = llm_decode(*inside, &out);
    char *copy = rc ? NULL : arena_copy(in->a, buf_str(&out));
    uint32_t n = (uint32_t)out.n;
    buf_free(&out);
    if (copy == NULL) return sv_fail(in->err, SV_E_NO_MEMORY, NULL, NULL);
    for (uint32_t i = 0; i < n; i++)
        if ((unsigned char)copy[i] < 0x20 || copy[i] == '"' || copy[i] == '\\')
            return llm_bad(in, SV_E_INVALID, field, "This is no valid address.");
    *inside = (sv_str){copy, n};
    return 0;
}

int llm_address(const llm_in *in, sv_str inside, const char *field, llm_part *part)
{
    if (inside.n == 0)
        return llm_bad(in, SV_E_INVALID, field, "This must be an https:// or a data: address.");
    if (memchr(inside.p, '\\', inside.n)) {
        int rc = decode_address(in, &inside, field);
        if (rc) return rc;
    }
    if (inside.n < 5 || memcmp(inside.p, "data:", 5) != 0) {
        part->url = inside;
        return 0;
    }
    static const char mark[] = ";base64";
    enum { MARK = sizeof mark - 1 };
    const char *from = inside.p + 5, *end = inside.p + inside.n;
    uint32_t left = (uint32_t)(end - from);
    const char *comma = memchr(from, ',', left < MEDIA_TYPE ? left : MEDIA_TYPE);
    if (comma == NULL || comma - from < MARK || memcmp(comma - MARK, mark, MARK) != 0)
        return llm_bad(in, SV_E_INVALID, field,
                       "A data: address must look like data:image/png;base64,iVBOR...");
    const char *stop = memchr(from, ';', (size_t)(comma - from));
    part->media_type = (sv_str){from, (uint32_t)(stop - from)};
    part->data = (sv_str){comma + 1, (uint32_t)(end - comma - 1)};
    if (part->media_type.n == 0) part->media_type = sv_cstr("application/octet-stream");
    return 0;
}

void llm_put_address(buf *out, const llm_part *part)
{
    if (part->url.p) {
        llm_put_string(out, part->url);
        return;
    }
    buf_puts(out, "\"data:");
    buf_put(out, part->media_type.p, part->media_type.n);
    buf_puts(out, ";base64,");
    buf_put(out, part->data.p, part->data.n);
    buf_putc(out, '"');
}

void llm_name_results(llm_request *q)
{
    const llm_part *recent[RECENT_CALLS];
    size_t n = 0;
    for (uint32_t i = 0; i < q->n_messages; i++)
        for (uint32_t j = 0; j < q->messages[i].n_parts; j++) {
            llm_part *p = &q->messages[i].parts[j];
            if (p->kind == LLM_PART_CALL) recent[n++ % RECENT_CALLS] = p;
            if (p->kind != LLM_PART_RESULT || p->name.n) continue;
            for (size_t k = n; k > 0 && k + RECENT_CALLS > n; k--)
                if (sv_str_eq(recent[(k - 1) % RECENT_CALLS]->id, p->id)) {
                    p->name = recent[(k - 1) % RECENT_CALLS]->name;
                    break;
                }
        }
}

/* ---- writing ---- */

void llm_put_json_string(buf *out, sv_str json)
{
    buf_putc(out, '"');
    buf_json_escape(out, json);
    buf_putc(out, '"');
}

/* Members come in the order in which llm_keep_left found them, then those of llm_drop. */
void llm_put_left(const llm_request *q, llm_format to, buf *out, llm_notes *notes)
{
    size_t at = 0;
    sv_str key;
    json_value v;
    uint32_t i = 0;
    json_value root = json_root(q->json);
    while (q->format == to && i < q->n_left && json_next_member(root, &at, &key, &v)) {
        if (key.p != q->left[i].p) continue;
        buf_putc(out, ',');
        llm_put_string(out, key);
        buf_putc(out, ':');
        buf_put(out, v.raw.p, v.raw.n);
        i++;
    }
    for (; i < q->n_left; i++)
        llm_note(notes, "%.*s", SV_FMT(q->left[i]));
}

enum { LOW_TOKENS = 2048, MEDIUM_TOKENS = 8192, HIGH_TOKENS = 24576 };

bool llm_wants_thinking(const llm_request *q, const llm_target *t, llm_notes *notes)
{
    bool asked = q->thinking_tokens > 0 ||
                 (q->thinking_tokens == 0 && q->effort.p && !llm_is(q->effort, "none"));
    if (asked && t->thinks == LLM_NO) llm_note(notes, "thinking");
    return asked && t->thinks != LLM_NO;
}

const char *llm_effort_of(int64_t thinking_tokens)
{
    if (thinking_tokens <= LOW_TOKENS) return "low";
    return thinking_tokens <= MEDIUM_TOKENS ? "medium" : "high";
}

int64_t llm_thinking_of(sv_str effort)
{
    if (llm_is(effort, "none")) return -1;
    if (llm_is(effort, "minimal") || llm_is(effort, "low")) return LOW_TOKENS;
    return llm_is(effort, "medium") ? MEDIUM_TOKENS : HIGH_TOKENS;
}

/* Line ends cannot be in a JSON string, so they are white space. */
void llm_put_line(buf *out, sv_str json)
{
    size_t from = out->n;
    if (buf_put(out, json.p, json.n)) return;
    for (size_t i = from; i < out->n; i++)
        if (out->p[i] == '\n' || out->p[i] == '\r') out->p[i] = ' ';
}

void llm_put_key(buf *out, const char *key)
{
    if (out->n && out->p[out->n - 1] != '{' && out->p[out->n - 1] != '[') buf_putc(out, ',');
    buf_putc(out, '"');
    buf_puts(out, key);
    buf_puts(out, "\":");
}

void llm_make_id(const char *prefix, char ret[40])
{
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ01";
    uint8_t bits[24];
    char id[25] = "";
    uuid_random(bits, sizeof bits);
    for (size_t i = 0; i < sizeof bits; i++)
        id[i] = digits[bits[i] % 64];
    snprintf(ret, 40, "%.12s%s", prefix, id);
}

int64_t llm_tokens_of(json_value n)
{
    int64_t v = 0;
    return json_int(n, &v) == 0 && v >= 0 && v <= (int64_t)1 << 53 ? v : 0;
}

bool llm_is(sv_str inside, const char *s)
{
    if (inside.n && memchr(inside.p, '\\', inside.n)) {
        buf out;
        buf_init(&out, (size_t)inside.n + 1);
        bool same = llm_decode(inside, &out) == 0 && sv_str_is(buf_str(&out), s);
        buf_free(&out);
        return same;
    }
    return sv_str_is(inside, s);
}
