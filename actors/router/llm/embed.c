/*  embed.c - one pass over the inputs to count them, one to write them; one pass over an answer to find
 *  its vectors, one to convert them. */
#include "embed.h"

#include "error.h"
#include "gemini.h"
#include "parse.h"
#include "vector.h"

#include <stdlib.h>
#include <string.h>

/* ---- the client's request ---- */

static int count_numbers(const llm_in *in, json_value list, uint32_t *ret)
{
    json_value v;
    uint32_t n = 0;
    int64_t token;
    for (size_t at = 0; json_next_element(list, &at, &v); n++)
        if (json_int(v, &token) || token < 0)
            return llm_bad(in, SV_E_WRONG_TYPE, "input", "Tokens must be whole numbers.");
    if (n == 0 || n > EMBED_INPUT_TOKENS)
        return llm_bad(in, SV_E_OUT_OF_RANGE, "input",
                       "A text must have from 1 to %d tokens; here it has %u.", EMBED_INPUT_TOKENS,
                       n);
    *ret = n;
    return 0;
}

/* One of the texts; all must be of the first one's type. */
static int look_at_text(const llm_in *in, embed_request *q, json_value v, json_type type)
{
    uint32_t n = 0;
    q->n++;
    if (v.type != type)
        return llm_bad(in, SV_E_WRONG_TYPE, "input",
                       "The inputs must be strings, or lists of tokens, but not both.");
    if (type == JSON_STRING) {
        q->prompt_tokens += llm_estimate(llm_inside(v));
        return 0;
    }
    int rc = count_numbers(in, v, &n);
    if (rc == 0) q->prompt_tokens += n;
    return rc;
}

static int look_at_input(const llm_in *in, embed_request *q)
{
    static const char either[] = "This must be a string or a list of strings.";
    json_value first = q->input, v;
    size_t at = 0;
    uint32_t n = 1;
    int rc = 0;
    if (q->input.type == JSON_ARRAY && !json_next_element(q->input, &at, &first))
        return llm_bad(in, SV_E_INVALID, "input", "There must be at least one text.");
    q->numbers = first.type == JSON_NUMBER || first.type == JSON_ARRAY;
    if (first.type != JSON_STRING &&
        (!q->numbers || q->format != LLM_OPENAI || q->input.type != JSON_ARRAY))
        return llm_bad(in, SV_E_WRONG_TYPE, "input", either);
    bool one = q->input.type == JSON_STRING || first.type == JSON_NUMBER;
    if (!one) rc = llm_list(in, q->input, "input", EMBED_INPUTS, &n);
    if (rc) return rc;
    if (one) return look_at_text(in, q, q->input, q->input.type);
    for (at = 0; rc == 0 && json_next_element(q->input, &at, &v);)
        rc = look_at_text(in, q, v, first.type);
    return rc;
}

static int look_at_encoding(const llm_in *in, embed_request *q, json_value v)
{
    if (v.type == JSON_NONE || json_string_is(v, "float")) return 0;
    q->base64 = json_string_is(v, "base64");
    return q->base64 ? 0
                     : llm_bad(in, SV_E_INVALID, "encoding_format",
                               "This must be \"float\" or \"base64\".");
}

int embed_parse(llm_format client, sv_str text, embed_request *ret, sv_error *err)
{
    static const char *const names[] = {"input", "prompt", "dimensions", "encoding_format"};
    llm_in in = {.err = err};
    json_value root = json_root(text), v[4];
    *ret = (embed_request){.format = client, .json = text};
    if (root.type != JSON_OBJECT)
        return llm_bad(&in, SV_E_WRONG_TYPE, NULL, "The body must be a JSON object.");
    llm_members(root, names, 4, v);
    ret->older = client == LLM_OLLAMA && v[0].type == JSON_NONE && v[1].type != JSON_NONE;
    ret->input = ret->older ? v[1] : v[0];
    int rc = llm_need(&in, ret->input, "input");
    if (rc == 0 && ret->older) rc = llm_want(&in, ret->input, JSON_STRING, "prompt");
    if (rc == 0) rc = look_at_input(&in, ret);
    if (rc == 0) rc = llm_int(&in, v[2], "dimensions", 1, EMBED_DIMENSIONS, &ret->dimensions);
    if (rc == 0 && client == LLM_OPENAI) rc = look_at_encoding(&in, ret, v[3]);
    return rc;
}

/* ---- the provider's request ---- */

int embed_path(llm_format provider, sv_str model, buf *out)
{
    if (provider == LLM_OPENAI) return buf_puts(out, "/embeddings");
    if (provider == LLM_OLLAMA) return buf_puts(out, "/api/embed");
    if (provider == LLM_GEMINI) return gemini_put_path(model, ":batchEmbedContents", out);
    return SV_E_INVALID;
}

static void put_plain(buf *out, const char *key, sv_str plain)
{
    llm_put_key(out, key);
    llm_put_json_string(out, plain);
}

static void put_dimensions(const embed_request *q, const char *key, buf *out)
{
    if (q->dimensions == 0) return;
    llm_put_key(out, key);
    buf_printf(out, "%lld", (long long)q->dimensions);
}

/* Notes the client's members that `known` does not name. */
static void note_others(const embed_request *q, const char *const *known, size_t n,
                        llm_notes *notes)
{
    sv_str key;
    json_value v, root = json_root(q->json);
    for (size_t at = 0; json_next_member(root, &at, &key, &v);) {
        bool is_known = v.type == JSON_NULL;
        for (size_t i = 0; i < n && !is_known; i++)
            is_known = sv_str_is(key, known[i]);
        if (!is_known) llm_note(notes, "%.*s", SV_FMT(key));
    }
}

/* The client's bytes with another model. */
static int write_same(const embed_request *q, sv_str model, buf *out)
{
    json_edit edit;
    buf name, scratch;
    buf_init(&name, 6 * (size_t)model.n + 16);
    buf_init(&scratch, 6 * (size_t)model.n + 64);
    llm_put_json_string(&name, model);
    int rc = json_edit_set(q->json, "model", buf_str(&name), &scratch, &edit);
    if (rc == 0) rc = name.error;
    if (rc == 0) rc = json_apply(q->json, &edit, 1, out);
    buf_free(&name);
    buf_free(&scratch);
    return rc;
}

/* Floats are asked for: an Ollama client gets no other, and they travel as they are. */
static int write_openai(const embed_request *q, sv_str model, buf *out, llm_notes *notes)
{
    static const char *const known[] = {"model", "input", "prompt", "dimensions"};
    buf_putc(out, '{');
    put_plain(out, "model", model);
    llm_put_key(out, "input");
    buf_put(out, q->input.raw.p, q->input.raw.n);
    put_dimensions(q, "dimensions", out);
    note_others(q, known, sizeof known / sizeof known[0], notes);
    return buf_puts(out, ",\"encoding_format\":\"float\"}");
}

/* An OpenAI client expects an error for a text that is too long, so Ollama must not cut it. */
static int write_ollama(const embed_request *q, sv_str model, buf *out, llm_notes *notes)
{
    static const char *const known[] = {"model",           "input",      "prompt",   "dimensions",
                                        "encoding_format", "keep_alive", "truncate", "options"};
    bool own = q->format == LLM_OLLAMA;
    buf_putc(out, '{');
    put_plain(out, "model", model);
    llm_put_key(out, "input");
    buf_put(out, q->input.raw.p, q->input.raw.n);
    put_dimensions(q, "dimensions", out);
    for (size_t i = 5; own && i < sizeof known / sizeof known[0]; i++) {
        json_value v = json_get(json_root(q->json), known[i]);
        if (v.type == JSON_NONE) continue;
        llm_put_key(out, known[i]);
        buf_put(out, v.raw.p, v.raw.n);
    }
    if (!own) buf_puts(out, ",\"truncate\":false");
    note_others(q, known, own ? sizeof known / sizeof known[0] : 5, notes);
    return buf_putc(out, '}');
}

static void put_gemini_text(const embed_request *q, sv_str model, sv_str text, buf *out)
{
    bool whole = model.n > 7 && (memcmp(model.p, "models/", 7) == 0 ||
                                 (model.n > 12 && memcmp(model.p, "tunedModels/", 12) == 0));
    buf_puts(out, whole ? "{\"model\":\"" : "{\"model\":\"models/");
    buf_json_escape(out, model);
    buf_puts(out, "\",\"content\":{\"parts\":[{\"text\":");
    buf_put(out, text.p, text.n);
    buf_puts(out, "}]}");
    put_dimensions(q, "outputDimensionality", out);
    buf_putc(out, '}');
}

static int write_gemini(const embed_request *q, sv_str model, buf *out, llm_notes *notes,
                        sv_error *err)
{
    static const char *const known[] = {"model", "input", "prompt", "dimensions",
                                        "encoding_format"};
    json_value v;
    if (q->n > EMBED_GEMINI_INPUTS)
        return sv_fail(err, SV_E_OUT_OF_RANGE, "input", "Gemini takes at most %d texts at once.",
                       EMBED_GEMINI_INPUTS);
    buf_puts(out, "{\"requests\":[");
    if (q->input.type == JSON_STRING) put_gemini_text(q, model, q->input.raw, out);
    for (size_t at = 0; json_next_element(q->input, &at, &v);) {
        if (out->n && out->p[out->n - 1] != '[') buf_putc(out, ',');
        put_gemini_text(q, model, v.raw, out);
    }
    note_others(q, known, sizeof known / sizeof known[0], notes);
    return buf_puts(out, "]}");
}

int embed_write(const embed_request *q, llm_format provider, sv_str model, buf *out,
                llm_notes *notes, sv_error *err)
{
    if (q->numbers && provider != LLM_OPENAI)
        return sv_fail(err, SV_E_INVALID, "input",
                       "This model takes texts: tokens are understood by OpenAI's models only.");
    if (provider == q->format && !q->older) return write_same(q, model, out);
    if (provider == LLM_OPENAI) return write_openai(q, model, out, notes);
    if (provider == LLM_OLLAMA) return write_ollama(q, model, out, notes);
    if (provider == LLM_GEMINI) return write_gemini(q, model, out, notes, err);
    return sv_fail(err, SV_E_INVALID, "model", "This model's provider has no embeddings.");
}

/* ---- the provider's answer ---- */

typedef struct answer {
    const embed_request *q;
    json_value *vectors; /* by their place among the inputs */
    uint32_t n;
    sv_error *err;
} answer;

static int garbage(const answer *a, const char *what)
{
    sv_fail(a->err, SV_E_PROVIDER_GARBAGE, NULL, NULL);
    sv_error_detail(a->err, "embeddings: %s", what);
    return SV_E_PROVIDER_GARBAGE;
}

static int take(answer *a, int64_t index, json_value value)
{
    if (index < 0 || index >= a->q->n) return garbage(a, "more vectors than texts");
    if (a->vectors[index].type != JSON_NONE) return garbage(a, "two vectors for one text");
    if (value.type != JSON_ARRAY && value.type != JSON_STRING)
        return garbage(a, "a vector is missing");
    a->vectors[index] = value;
    a->n++;
    return 0;
}

static int find_openai(answer *a, json_value root, json_value *prompt)
{
    json_value v;
    int64_t place = 0;
    int rc = 0;
    json_value data = json_get(root, "data");
    for (size_t at = 0; rc == 0 && json_next_element(data, &at, &v); place++) {
        int64_t index = place;
        json_value i = json_get(v, "index");
        if (i.type != JSON_NONE && json_int(i, &index)) return garbage(a, "an index is no number");
        rc = take(a, index, json_get(v, "embedding"));
    }
    *prompt = json_get(json_get(root, "usage"), "prompt_tokens");
    return rc;
}

/* Gemini: {"embeddings":[{"values":[...]}]}, Ollama: {"embeddings":[[...]]} or {"embedding":[...]}. */
static int find_others(answer *a, llm_format provider, json_value root, json_value *prompt)
{
    json_value v, list = json_get(root, "embeddings"), one = json_get(root, "embedding");
    int64_t place = 0;
    int rc = 0;
    bool gemini = provider == LLM_GEMINI;
    for (size_t at = 0; rc == 0 && json_next_element(list, &at, &v); place++)
        rc = take(a, place, gemini ? json_get(v, "values") : v);
    if (list.type == JSON_NONE && one.type != JSON_NONE) rc = take(a, 0, one);
    *prompt = gemini ? json_get(json_get(root, "usageMetadata"), "promptTokenCount")
                     : json_get(root, "prompt_eval_count");
    return rc;
}

/* Each vector as the client wants it, with commas; `named`: in OpenAI's objects. */
static int put_vectors(const answer *a, bool normalise, bool named, buf *out)
{
    vector v;
    bool base64 = a->q->base64 && named;
    uint32_t dims = vector_count(a->vectors[0]);
    int rc = 0;
    if (dims == 0 || dims > EMBED_DIMENSIONS) return garbage(a, "a vector's length is wrong");
    vector_init(&v, dims);
    for (uint32_t i = 0; rc == 0 && i < a->n; i++) {
        bool as_is = !normalise && (a->vectors[i].type == JSON_STRING) == base64;
        rc = vector_read(&v, a->vectors[i]);
        if (rc == SV_E_TOO_LARGE || (rc == 0 && v.bytes.n != dims * sizeof(float)))
            rc = garbage(a, "vectors of several lengths");
        else if (rc == SV_E_PROVIDER_GARBAGE)
            garbage(a, "a vector is no list of numbers");
        if (rc) break;
        if (normalise) vector_normalise(&v);
        if (i) buf_putc(out, ',');
        if (named) buf_printf(out, "{\"object\":\"embedding\",\"index\":%u,\"embedding\":", i);
        rc = as_is ? buf_put(out, a->vectors[i].raw.p, a->vectors[i].raw.n)
                   : vector_put(&v, base64, out);
        if (named) buf_putc(out, '}');
    }
    vector_free(&v);
    return rc ? rc : out->error;
}

static int put_answer(const answer *a, llm_format client, sv_str model, const tokens *t,
                      bool normalise, buf *out)
{
    long long prompt = t->prompt;
    bool named = client == LLM_OPENAI;
    if (a->q->older) {
        buf_puts(out, "{\"embedding\":");
        int rc = put_vectors(a, normalise, false, out);
        return rc ? rc : buf_putc(out, '}');
    }
    buf_puts(out, named ? "{\"object\":\"list\",\"data\":[" : "{\"embeddings\":[");
    int rc = put_vectors(a, normalise, named, out);
    if (rc) return rc;
    buf_putc(out, ']');
    put_plain(out, "model", model);
    if (named)
        return buf_printf(out, ",\"usage\":{\"prompt_tokens\":%lld,\"total_tokens\":%lld}}", prompt,
                          prompt);
    return buf_printf(out, ",\"prompt_eval_count\":%lld}", prompt);
}

static int convert(answer *a, llm_format provider, llm_format client, sv_str model, sv_str json,
                   tokens *ret, buf *out)
{
    json_value root = json_root(json), prompt;
    if (root.type != JSON_OBJECT) return garbage(a, "the answer is no object");
    int rc = provider == LLM_OPENAI ? find_openai(a, root, &prompt)
                                    : find_others(a, provider, root, &prompt);
    if (rc) return rc;
    if (a->n != a->q->n) return garbage(a, "fewer vectors than texts");
    bool told = prompt.type == JSON_NUMBER;
    tokens t = {.known = told,
                .estimated = !told,
                .prompt = told ? llm_tokens_of(prompt) : a->q->prompt_tokens};
    rc = put_answer(a, client, model, &t, provider == LLM_GEMINI && a->q->dimensions, out);
    if (rc == 0) *ret = t;
    return rc;
}

int embed_answer(const embed_request *q, llm_format provider, llm_format client, sv_str model,
                 sv_str json, tokens *ret, buf *out, sv_error *err)
{
    sv_error why = {0};
    answer a = {.q = q, .err = err};
    int rc = json_skim(json, LLM_DEPTH, &why);
    if (rc && rc != SV_E_NO_MEMORY) return garbage(&a, why.message);
    if (rc == 0) a.vectors = calloc(q->n, sizeof *a.vectors);
    if (a.vectors == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    rc = convert(&a, provider, client, model, json, ret, out);
    free(a.vectors);
    return rc;
}
