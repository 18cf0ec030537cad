/*  model_request.c - one walk over the members of the body; a second one only where keys are spelled
 *  with escapes. */
#include "model_request.h"

#include "error.h"
#include "http_parser.h"
#include "json_scan.h"
#include "money.h"
#include "multipart.h"
#include "sv_limits.h"

#include <stdlib.h>

enum { MODEL_BYTES = 256 };

typedef struct endpoint_row {
    const char *name;
    const char *needs; /* the member without which it is nothing */
    bool list;         /* that one is an array, not just anything */
    bool streams;
    bool ollamas; /* streams unless told otherwise, and has the temperature among its options */
} endpoint_row;

static const endpoint_row rows[MODEL_ENDPOINTS] = {
    [MODEL_CHAT] = {"chat", "messages", true, true, false},
    [MODEL_COMPLETIONS] = {"completions", "prompt", false, true, false},
    [MODEL_RESPONSES] = {"responses", "input", false, true, false},
    [MODEL_MESSAGES] = {"messages", "messages", true, true, false},
    [MODEL_COUNT_TOKENS] = {"count_tokens", "messages", true, false, false},
    [MODEL_OLLAMA] = {"ollama", "messages", true, true, true},
    [MODEL_OLLAMA_GENERATE] = {"generate", "prompt", false, true, true},
    [MODEL_OLLAMA_EMBED] = {"ollama_embed", NULL, false, false, false},
    [MODEL_EMBEDDINGS] = {"embeddings", "input", false, false, false},
    [MODEL_MODERATIONS] = {"moderations", "input", false, false, false},
    [MODEL_IMAGES] = {"images", "prompt", false, false, false},
    [MODEL_TRANSCRIPTIONS] = {"transcriptions", NULL, false, false, false},
};

typedef struct fields {
    json_value model, needed, stream, options, models, mode, temperature;
} fields;

static json_value *slot_of(fields *f, const endpoint_row *e, sv_str key)
{
    if (e->needs && sv_str_is(key, e->needs)) return &f->needed;
    switch (key.n) {
    case 4: return sv_str_is(key, "mode") ? &f->mode : NULL;
    case 5: return sv_str_is(key, "model") ? &f->model : NULL;
    case 6:
        if (sv_str_is(key, "models")) return &f->models;
        return sv_str_is(key, "stream") ? &f->stream : NULL;
    case 11: return sv_str_is(key, "temperature") ? &f->temperature : NULL;
    case 14: return sv_str_is(key, "stream_options") ? &f->options : NULL;
    default: return NULL;
    }
}

static void find(json_value root, const endpoint_row *e, fields *f)
{
    size_t at = 0;
    sv_str key;
    json_value value;
    bool escapes = false;
    *f = (fields){0};
    while (json_next_member(root, &at, &key, &value)) {
        json_value *slot = slot_of(f, e, key);
        if (slot) *slot = value;
        escapes = escapes || (key.n && memchr(key.p, '\\', key.n));
    }
    if (!escapes) return;
    f->model = json_get(root, "model");
    f->needed = e->needs ? json_get(root, e->needs) : (json_value){0};
    f->stream = json_get(root, "stream");
    f->options = json_get(root, "stream_options");
    f->models = json_get(root, "models");
    f->mode = json_get(root, "mode");
    f->temperature = json_get(root, "temperature");
}

static bool absent(json_value v)
{
    return v.type == JSON_NONE || v.type == JSON_NULL;
}

static int read_flag(json_value v, const char *name, bool *ret, sv_error *err)
{
    if (!absent(v) && v.type != JSON_TRUE && v.type != JSON_FALSE)
        return sv_fail(err, SV_E_WRONG_TYPE, name, "\"%s\" must be true or false.", name);
    if (!absent(v)) *ret = v.type == JSON_TRUE;
    return 0;
}

/* A name appended to m->text, which may move: its place is remembered. */
static int read_name(model_request *m, json_value v, const char *name, size_t *at, size_t *n,
                     sv_error *err)
{
    if (v.type != JSON_STRING)
        return sv_fail(err, SV_E_WRONG_TYPE, name, "\"%s\" must be a string.", name);
    *at = m->text.n;
    int rc = json_text(v, &m->text);
    *n = m->text.n - *at;
    if (rc || *n == 0 || *n > MODEL_BYTES)
        return sv_fail(err, SV_E_OUT_OF_RANGE, name, "\"%s\" must be 1 to %d bytes long.", name,
                       MODEL_BYTES);
    return 0;
}

static int read_models(model_request *m, const fields *f, sv_error *err)
{
    size_t at[MODEL_LIST + 1], n[MODEL_LIST + 1], places = 0, in = 0;
    json_value v;
    bool named = !absent(f->model);
    if (!named && f->models.type != JSON_ARRAY)
        return sv_fail(
            err, SV_E_MISSING_FIELD, "model",
            "\"model\" is missing; GET /v1/models lists what there is, \"auto\" chooses.");
    if (!absent(f->models) && f->models.type != JSON_ARRAY)
        return sv_fail(err, SV_E_WRONG_TYPE, "models", "\"models\" must be an array of strings.");
    int rc = named ? read_name(m, f->model, "model", &at[0], &n[0], err) : 0;
    if (rc) return rc;
    places = named;
    while (f->models.type == JSON_ARRAY && json_next_element(f->models, &in, &v)) {
        if (places == MODEL_LIST)
            return sv_fail(err, SV_E_OUT_OF_RANGE, "models", "\"models\" has at most %d names.",
                           MODEL_LIST);
        if ((rc = read_name(m, v, "models", &at[places], &n[places], err))) return rc;
        places++;
    }
    if (places == 0) return sv_fail(err, SV_E_MISSING_FIELD, "model", "\"models\" names no model.");
    for (size_t i = 1; i < places; i++)
        m->list[i - 1] = (sv_str){m->text.p + at[i], (uint32_t)n[i]};
    m->req.model = (sv_str){m->text.p + at[0], (uint32_t)n[0]};
    m->req.models = (sv_strs){m->list, (uint32_t)places - 1};
    if (named) {
        m->req.model_at = f->model.raw.p - m->body.p;
        m->req.model_n = f->model.raw.n;
    }
    return 0;
}

static int read_mode(model_request *m, json_value mode, sv_error *err)
{
    static const char *const words[] = {"fallback", "race", "all"};
    if (absent(mode)) return 0;
    for (size_t i = 0; i < 3; i++)
        if (json_string_is(mode, words[i])) {
            if (i) m->req.mode = sv_cstr(words[i]);
            return 0;
        }
    return sv_fail(err, SV_E_INVALID, "mode",
                   "\"mode\" must be \"fallback\", \"race\" or \"all\".");
}

/* This server's own members would be strangers to a provider. */
static int cut_out(model_request *m, const char *key, sv_error *err)
{
    json_edit e = json_edit_remove(m->body, key);
    buf next;
    if (e.cut == 0) return 0;
    buf_init(&next, m->body.n);
    if (json_apply(m->body, &e, 1, &next)) {
        buf_free(&next);
        return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    }
    buf_free(&m->cut);
    m->cut = next;
    m->body = buf_str(&m->cut);
    m->req.model_at = m->req.model_n = 0;
    return 0;
}

/* A list without "model": what passes byte by byte has to name the first one. */
static int put_in_model(model_request *m, sv_error *err)
{
    json_edit e;
    buf name, scratch, next;
    buf_init(&name, 6 * MODEL_BYTES + 2);
    buf_init(&scratch, 6 * MODEL_BYTES + 64);
    buf_init(&next, m->body.n + 6 * MODEL_BYTES + 64);
    buf_putc(&name, '"');
    buf_json_escape(&name, m->req.model);
    buf_putc(&name, '"');
    int rc = name.failed ? SV_E_NO_MEMORY
                         : json_edit_set(m->body, "model", buf_str(&name), &scratch, &e);
    if (rc == 0) rc = json_apply(m->body, &e, 1, &next);
    buf_free(&name);
    buf_free(&scratch);
    if (rc) {
        buf_free(&next);
        return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    }
    buf_free(&m->cut);
    m->cut = next;
    m->body = buf_str(&m->cut);
    return 0;
}

static int read_body(const endpoint_row *e, model_request *m, sv_error *err)
{
    fields f;
    double t;
    int rc = json_skim(m->body, LIMIT_JSON_DEPTH, err);
    if (rc) return rc;
    json_value root = json_root(m->body);
    if (root.type != JSON_OBJECT)
        return sv_fail(err, SV_E_WRONG_TYPE, NULL, "The body must be a JSON object.");
    find(root, e, &f);
    if ((rc = read_models(m, &f, err))) return rc;
    if (e->needs && f.needed.type == JSON_NONE)
        return sv_fail(err, SV_E_MISSING_FIELD, e->needs, "\"%s\" is missing.", e->needs);
    if (e->list && f.needed.type != JSON_ARRAY)
        return sv_fail(err, SV_E_WRONG_TYPE, e->needs, "\"%s\" must be an array.", e->needs);
    m->req.stream = e->ollamas;
    if ((rc = read_flag(f.stream, "stream", &m->req.stream, err))) return rc;
    if (m->req.stream && !e->streams)
        return sv_fail(err, SV_E_INVALID, "stream", "This endpoint does not stream.");
    if (!absent(f.options)) {
        if (f.options.type != JSON_OBJECT)
            return sv_fail(err, SV_E_WRONG_TYPE, "stream_options",
                           "\"stream_options\" must be an object.");
        rc = read_flag(json_get(f.options, "include_usage"), "stream_options.include_usage",
                       &m->req.include_usage, err);
        if (rc) return rc;
    }
    if (e->ollamas) f.temperature = json_get(json_get(root, "options"), "temperature");
    m->zero_temperature =
        f.temperature.type == JSON_NUMBER && json_number(f.temperature, &t) == 0 && t == 0;
    bool own = f.models.type != JSON_NONE;
    if (own && (rc = read_mode(m, f.mode, err))) return rc;
    if (own && (rc = cut_out(m, "models", err))) return rc;
    bool named = !absent(f.model);
    if (own && f.mode.type != JSON_NONE && (rc = cut_out(m, "mode", err))) return rc;
    return named ? 0 : put_in_model(m, err);
}

/* ---- headers ---- */

static int read_word(const http_request *r, const char *header, size_t most, sv_str *ret,
                     sv_error *err)
{
    uint32_t n = 0;
    sv_str v = http_header_get(r, header, &n);
    if (n == 0) return 0;
    for (uint32_t i = 0; i < v.n; i++)
        if (v.p[i] < ' ' || v.p[i] > '~') n = 2;
    if (n > 1 || v.n > most)
        return sv_fail(err, SV_E_INVALID, header, "%s must come once, with at most %zu characters.",
                       header, most);
    *ret = v;
    return 0;
}

static bool says_yes(const http_request *r, const char *header)
{
    sv_str v = http_header_get(r, header, NULL);
    return sv_str_is(v, "1") || http_word_is(v, "true") || http_word_is(v, "yes");
}

static int read_budget(sv_str v, int64_t *ret, sv_error *err)
{
    if (money_read(v, ret)) return 0;
    return sv_fail(err, SV_E_INVALID, "x-samovar-budget",
                   "x-samovar-budget is an amount of money like 0.05.");
}

/* Seconds of "max-age=60", at most INT32_MAX; what is spelled otherwise says nothing. */
static void read_max_age(sv_str word, int64_t *ret)
{
    enum { NAME = 8 };
    sv_str name = {word.p, NAME};
    int64_t seconds = 0;
    if (word.n <= NAME || !http_word_is(name, "max-age=")) return;
    for (uint32_t i = NAME; i < word.n; i++) {
        if (word.p[i] < '0' || word.p[i] > '9') return;
        seconds = seconds * 10 + (word.p[i] - '0');
        if (seconds > INT32_MAX) seconds = INT32_MAX;
    }
    *ret = seconds;
}

static void read_cache_control(const http_request *r, model_request *m)
{
    m->max_age_s = -1;
    for (uint32_t i = 0; i < r->n_headers; i++) {
        if (!http_word_is(r->headers[i].name, "cache-control")) continue;
        sv_str v = r->headers[i].value;
        while (v.n) {
            const char *comma = memchr(v.p, ',', v.n);
            sv_str word = {v.p, comma ? (uint32_t)(comma - v.p) : v.n};
            v = comma ? (sv_str){comma + 1, v.n - word.n - 1} : (sv_str){NULL, 0};
            while (word.n && (word.p[0] == ' ' || word.p[0] == '\t')) {
                word.p++;
                word.n--;
            }
            while (word.n && (word.p[word.n - 1] == ' ' || word.p[word.n - 1] == '\t'))
                word.n--;
            if (http_word_is(word, "no-store")) m->no_store = true;
            if (http_word_is(word, "no-cache")) m->no_cache = true;
            if (http_word_is(word, "private")) m->own_only = true;
            read_max_age(word, &m->max_age_s);
        }
    }
}

static int read_headers(const http_request *r, model_request *m, sv_error *err)
{
    sv_str budget = {NULL, 0};
    router_complete_req *q = &m->req;
    int rc = read_word(r, "x-samovar-task", 16, &q->task, err);
    if (rc == 0) rc = read_word(r, "x-samovar-complexity", 8, &q->complexity, err);
    if (rc == 0) rc = read_word(r, "x-samovar-session", 128, &q->session, err);
    if (rc == 0) rc = read_word(r, "x-samovar-budget", 20, &budget, err);
    if (rc == 0 && budget.p) rc = read_budget(budget, &q->budget, err);
    if (rc == 0) rc = read_word(r, "anthropic-version", 32, &q->version, err);
    if (rc == 0) rc = read_word(r, "anthropic-beta", 512, &q->beta, err);
    q->continued = says_yes(r, "x-samovar-continue");
    m->explain = q->explain = says_yes(r, "x-samovar-explain");
    m->semantic = says_yes(r, "x-samovar-semantic");
    read_cache_control(r, m);
    return rc;
}

/* ---- forms ---- */

typedef struct form {
    model_request *m;
    bool inside;
    uint32_t seen;
} form;

static int on_part(void *arg, const multipart_part *part, sv_error *err)
{
    form *f = arg;
    f->inside = sv_str_is(part->name, "model");
    f->seen += f->inside;
    return f->seen > 1 ? sv_fail(err, SV_E_INVALID, "model", "\"model\" came more than once.") : 0;
}

static int on_bytes(void *arg, sv_str bytes, sv_error *err)
{
    form *f = arg;
    if (!f->inside) return 0;
    if (f->m->text.n + bytes.n > MODEL_BYTES)
        return sv_fail(err, SV_E_OUT_OF_RANGE, "model", "\"model\" must be 1 to %d bytes long.",
                       MODEL_BYTES);
    return buf_put(&f->m->text, bytes.p, bytes.n);
}

static int on_end(void *arg, sv_error *err)
{
    (void)err;
    ((form *)arg)->inside = false;
    return 0;
}

static int read_form(const http_request *r, model_request *m, sv_error *err)
{
    sv_str type = http_header_get(r, "content-type", NULL);
    form f = {.m = m};
    multipart_calls calls = {&f, on_part, on_bytes, on_end};
    multipart *parser = malloc(sizeof *parser);
    if (parser == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    int rc = type.n > 200 ? sv_fail(err, SV_E_INVALID, "content-type", "Content-Type is too long.")
                          : multipart_init(parser, type, &calls, err);
    if (rc == 0) rc = multipart_feed(parser, m->body, err);
    if (rc == 0) rc = multipart_end(parser, err);
    free(parser);
    if (rc) return rc;
    if (m->text.n == 0)
        return sv_fail(err, SV_E_MISSING_FIELD, "model", "The form has no field \"model\".");
    m->req.content_type = type;
    m->req.model = buf_str(&m->text);
    return 0;
}

int model_request_read(model_endpoint e, const http_request *r, sv_str body, model_request *ret,
                       sv_error *err)
{
    *ret = (model_request){.body = body};
    buf_init(&ret->text, (MODEL_LIST + 1) * 4096);
    buf_init(&ret->cut, body.n);
    ret->req.endpoint = sv_cstr(rows[e].name);
    int rc = e == MODEL_TRANSCRIPTIONS ? read_form(r, ret, err) : read_body(&rows[e], ret, err);
    if (rc == 0) rc = read_headers(r, ret, err);
    if (rc) model_request_free(ret);
    return rc;
}

void model_request_free(model_request *m)
{
    buf_free(&m->text);
    buf_free(&m->cut);
}
