/*  openai_read.c - a provider's answer in OpenAI's format: chunks of a stream, or the whole body.
 *
 *  Servers of this family differ: thinking comes as reasoning_content, reasoning,
 *  reasoning_details or as parts of content; usage in the last chunk, in an extra one or under
 *  x_groq; calls may all have index 0 and differ by id, have neither, or repeat id and name in each
 *  piece. Calls get indexes of our own, in the order in which they began, and an id of our own where
 *  the server's is missing or another call's. */
#include "error.h"
#include "fnv.h"
#include "openai.h"
#include "parse.h"
#include "whole.h"

#include <stdlib.h>

enum { NAMES = 512 /* longest id or name of a call */ };

typedef struct call {
    uint32_t choice;
    int64_t index; /* the provider's; -1: it gave none */
    uint64_t id;   /* hash, 0: none */
} call;

struct llm_reader {
    bool stream, started, done, failed;
    bool signed_off[LLM_CHOICES]; /* finished */
    bool with_calls[LLM_CHOICES];
    bool finished;
    uint32_t n_choices;
    call calls[LLM_CALLS];
    uint32_t n_calls;
    tokens usage;
    buf scratch;
};

/* The place in the answer that pieces go to. */
typedef struct spot {
    llm_reader *r;
    uint32_t choice;
    llm_sink *sink;
    void *arg;
} spot;

llm_reader *openai_reader_new(bool stream)
{
    llm_reader *r = calloc(1, sizeof *r);
    if (r == NULL) return NULL;
    r->stream = stream;
    buf_init(&r->scratch, LLM_WHOLE_BYTES);
    return r;
}

void openai_reader_free(llm_reader *r)
{
    if (r == NULL) return;
    buf_free(&r->scratch);
    free(r);
}

static int give(const spot *s, llm_event_kind kind, sv_str text)
{
    llm_event e = {
        .kind = kind, .choice = s->choice, .index = -1, .text = text, .origin = LLM_OPENAI};
    return text.n ? s->sink(s->arg, &e) : 0;
}

/* ---- text and thinking ---- */

static int read_texts(const spot *s, llm_event_kind kind, json_value v);

/* Mistral's parts: text, or thinking which is a list of texts again. */
static int read_part(const spot *s, llm_event_kind kind, json_value part)
{
    json_value thinking = json_get(part, "thinking"), text = json_get(part, "text");
    if (thinking.type != JSON_NONE && kind == LLM_TEXT)
        return read_texts(s, LLM_THINKING, thinking);
    return give(s, kind, llm_inside(text));
}

static int read_texts(const spot *s, llm_event_kind kind, json_value v)
{
    json_value part;
    int rc = 0;
    if (v.type == JSON_STRING) return give(s, kind, llm_inside(v));
    for (size_t at = 0; rc == 0 && json_next_element(v, &at, &part);)
        rc = read_part(s, kind, part);
    return rc;
}

/* As OpenRouter has them; an image becomes one of Markdown, as Gemini's do. */
static int read_images(const spot *s, json_value list)
{
    json_value v;
    int rc = 0;
    for (size_t at = 0; rc == 0 && json_next_element(list, &at, &v);) {
        sv_str url = llm_inside(json_get(json_get(v, "image_url"), "url"));
        if (url.n == 0) continue;
        rc = give(s, LLM_TEXT, sv_cstr("![]("));
        if (rc == 0) rc = give(s, LLM_TEXT, url);
        if (rc == 0) rc = give(s, LLM_TEXT, sv_cstr(")"));
    }
    return rc;
}

/* `told`: the words came already, as reasoning or reasoning_content. */
static int read_details(const spot *s, json_value details, bool told)
{
    json_value v;
    int rc = 0;
    for (size_t at = 0; rc == 0 && json_next_element(details, &at, &v);) {
        sv_str text = llm_inside(json_get(v, "text")), data = llm_inside(json_get(v, "data"));
        if (text.n == 0) text = llm_inside(json_get(v, "summary"));
        if (!told) rc = give(s, LLM_THINKING, text);
        if (rc == 0) rc = give(s, LLM_SIGNATURE, llm_inside(json_get(v, "signature")));
        if (rc == 0) rc = give(s, LLM_OPAQUE, data);
    }
    return rc;
}

/* ---- calls ---- */

/* Never 0 for a name. */
static uint64_t hash(sv_str s)
{
    return s.n ? fnv_more(FNV_BASIS, s) | 1 : 0;
}

/* The call a piece belongs to, or LLM_CALLS when it begins a new one: the last of its index, unless
 * their ids differ; then the one of its id. */
static uint32_t find_call(const spot *s, int64_t index, uint64_t id)
{
    bool last = true;
    for (uint32_t i = s->r->n_calls; i > 0; i--) {
        const call *c = &s->r->calls[i - 1];
        if (c->choice != s->choice || (index >= 0 && c->index != index)) continue;
        if ((last && (id == 0 || c->id == 0)) || (id && id == c->id)) return i - 1;
        last = false;
    }
    return LLM_CALLS;
}

static bool id_is_taken(const spot *s, uint64_t id)
{
    for (uint32_t i = 0; i < s->r->n_calls; i++)
        if (s->r->calls[i].choice == s->choice && s->r->calls[i].id == id) return true;
    return false;
}

static int garbage(sv_error *err, const char *what)
{
    sv_fail(err, SV_E_PROVIDER_GARBAGE, NULL, NULL);
    sv_error_detail(err, "%s", what);
    return SV_E_PROVIDER_GARBAGE;
}

static int begin_call(const spot *s, int64_t index, sv_str id, sv_str name, sv_error *err)
{
    char made[40];
    llm_reader *r = s->r;
    if (name.n == 0) return garbage(err, "a tool call without a name");
    if (r->n_calls == LLM_CALLS) return garbage(err, "too many tool calls");
    if (name.n > NAMES || id.n > NAMES) return garbage(err, "a tool call with a name too long");
    bool taken = id_is_taken(s, hash(id));
    r->calls[r->n_calls] = (call){s->choice, index, hash(id)};
    if (id.n == 0 || taken) {
        llm_make_id("call_", made);
        id = sv_cstr(made);
    }
    r->with_calls[s->choice] = true;
    llm_event e = {.kind = LLM_CALL,
                   .choice = s->choice,
                   .index = (int32_t)r->n_calls++,
                   .id = id,
                   .name = name};
    return s->sink(s->arg, &e);
}

static int read_arguments(const spot *s, uint32_t at, json_value v)
{
    sv_str text = llm_inside(v);
    buf *scratch = &s->r->scratch;
    if (v.type == JSON_OBJECT) { /* not as a string, as it should be */
        buf_reset(scratch, LLM_WHOLE_BYTES);
        int rc = buf_json_escape(scratch, v.raw);
        if (rc) return rc;
        text = buf_str(scratch);
    }
    if (text.n == 0) return 0;
    llm_event e = {.kind = LLM_ARGUMENTS, .choice = s->choice, .index = (int32_t)at, .text = text};
    return s->sink(s->arg, &e);
}

/* Of a whole answer each one is a call of its own; of a stream, one that says which it is by its name
 * alone begins one. */
static int read_call(const spot *s, json_value v, sv_error *err)
{
    int64_t index = -1;
    json_value f = json_get(v, "function");
    sv_str id = llm_inside(json_get(v, "id")), name = llm_inside(json_get(f, "name"));
    if (json_int(json_get(v, "index"), &index) == 0 && (index < 0 || index > INT32_MAX))
        return garbage(err, "the index of a tool call is out of range");
    bool begins = !s->r->stream || (index < 0 && id.n == 0 && name.n > 0);
    uint32_t at = begins ? LLM_CALLS : find_call(s, index, hash(id));
    if (at == LLM_CALLS) {
        int rc = begin_call(s, index, id, name, err);
        if (rc) return rc;
        at = s->r->n_calls - 1;
    }
    json_value google = json_get(json_get(v, "extra_content"), "google");
    sv_str signature = llm_inside(json_get(google, "thought_signature"));
    llm_event e = {.kind = LLM_SIGNATURE,
                   .choice = s->choice,
                   .index = (int32_t)at,
                   .text = signature,
                   .origin = LLM_OPENAI};
    int rc = signature.n ? s->sink(s->arg, &e) : 0;
    return rc ? rc : read_arguments(s, at, json_get(f, "arguments"));
}

static int read_calls(const spot *s, json_value list, json_value old, sv_error *err)
{
    json_value v;
    int rc = 0;
    for (size_t at = 0; rc == 0 && json_next_element(list, &at, &v);)
        rc = read_call(s, v, err);
    if (rc || old.type != JSON_OBJECT) return rc;
    sv_str name = llm_inside(json_get(old, "name"));
    uint32_t at = find_call(s, -1, 0);
    if (at == LLM_CALLS) {
        rc = begin_call(s, 0, name, name, err);
        at = s->r->n_calls - 1;
    }
    return rc ? rc : read_arguments(s, at, json_get(old, "arguments"));
}

/* ---- a choice ---- */

static llm_finish finish_of(json_value v)
{
    static const struct {
        const char *word;
        llm_finish finish;
    } rows[] = {{"stop", LLM_STOP},
                {"eos", LLM_STOP},
                {"eos_token", LLM_STOP},
                {"stop_sequence", LLM_STOP},
                {"end_turn", LLM_STOP},
                {"tool_calls", LLM_TOOL_CALLS},
                {"tool_use", LLM_TOOL_CALLS},
                {"function_call", LLM_TOOL_CALLS},
                {"length", LLM_LENGTH},
                {"max_tokens", LLM_LENGTH},
                {"model_length", LLM_CONTEXT},
                {"content_filter", LLM_FILTER}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (json_string_is(v, rows[i].word)) return rows[i].finish;
    return LLM_OTHER;
}

static int finish(const spot *s, llm_finish why)
{
    llm_reader *r = s->r;
    if (r->signed_off[s->choice]) return 0;
    r->signed_off[s->choice] = r->finished = true;
    if (why == LLM_STOP && r->with_calls[s->choice]) why = LLM_TOOL_CALLS;
    llm_event e = {.kind = LLM_FINISH, .choice = s->choice, .index = -1, .finish = why};
    return s->sink(s->arg, &e);
}

enum {
    D_CONTENT,
    D_REASONING,
    D_REASONING_CONTENT,
    D_DETAILS,
    D_REFUSAL,
    D_IMAGES,
    D_TOOL_CALLS,
    D_FUNCTION_CALL,
    D_N
};
static const char *const delta_members[D_N] = {
    "content", "reasoning", "reasoning_content", "reasoning_details",
    "refusal", "images",    "tool_calls",        "function_call"};

static int read_delta(const spot *s, json_value delta, sv_error *err)
{
    json_value d[D_N];
    llm_members(delta, delta_members, D_N, d);
    json_value words = d[D_REASONING_CONTENT];
    if (llm_inside(words).n == 0) words = d[D_REASONING];
    int rc = read_texts(s, LLM_THINKING, words);
    if (rc == 0) rc = read_details(s, d[D_DETAILS], llm_inside(words).n > 0);
    if (rc == 0) rc = read_texts(s, LLM_TEXT, d[D_CONTENT]);
    if (rc == 0) rc = give(s, LLM_REFUSED, llm_inside(d[D_REFUSAL]));
    if (rc == 0) rc = read_images(s, d[D_IMAGES]);
    return rc ? rc : read_calls(s, d[D_TOOL_CALLS], d[D_FUNCTION_CALL], err);
}

static int read_choice(spot *s, json_value v, sv_error *err)
{
    int64_t index = 0;
    (void)json_int(json_get(v, "index"), &index); /* none: it is the first */
    if (index < 0 || index >= LLM_CHOICES) return garbage(err, "a choice out of range");
    s->choice = (uint32_t)index;
    if (s->choice >= s->r->n_choices) s->r->n_choices = s->choice + 1;
    int rc = read_delta(s, json_get(v, s->r->stream ? "delta" : "message"), err);
    json_value why = json_get(v, "finish_reason");
    if (rc || llm_inside(why).n == 0) return rc; /* some say "" until the end */
    if (!json_string_is(why, "error")) return finish(s, finish_of(why));
    s->r->failed = true; /* OpenRouter's word for one choice */
    return llm_read_failure(LLM_OPENAI, v.raw, &s->r->scratch, s->sink, s->arg);
}

/* ---- usage ---- */

static json_value either(json_value object, const char *key, const char *other)
{
    json_value v = json_get(object, key);
    return v.type == JSON_NONE ? json_get(object, other) : v;
}

void openai_tokens(json_value usage, tokens *ret)
{
    json_value prompt = either(usage, "prompt_tokens", "input_tokens"),
               completion = either(usage, "completion_tokens", "output_tokens"),
               in = either(usage, "prompt_tokens_details", "input_tokens_details"),
               out = either(usage, "completion_tokens_details", "output_tokens_details");
    if (prompt.type != JSON_NUMBER && completion.type != JSON_NUMBER) return;
    *ret = (tokens){.known = true,
                    .prompt = llm_tokens_of(prompt),
                    .completion = llm_tokens_of(completion),
                    .cached = llm_tokens_of(json_get(in, "cached_tokens")),
                    .cache_write = llm_tokens_of(json_get(in, "cache_write_tokens")),
                    .reasoning = llm_tokens_of(json_get(out, "reasoning_tokens"))};
    if (ret->cached == 0) /* DeepSeek's word */
        ret->cached = llm_tokens_of(json_get(usage, "prompt_cache_hit_tokens"));
    llm_bound_tokens(ret);
}

static int read_usage(const spot *s, json_value usage, json_value groq)
{
    if (usage.type != JSON_OBJECT) usage = json_get(groq, "usage");
    if (usage.type != JSON_OBJECT) return 0;
    openai_tokens(usage, &s->r->usage);
    if (!s->r->usage.known) return 0;
    llm_event e = {.kind = LLM_USAGE, .index = -1, .usage = &s->r->usage};
    return s->sink(s->arg, &e);
}

/* ---- events ---- */

enum { C_ID, C_MODEL, C_CHOICES, C_USAGE, C_ERROR, C_GROQ, C_N };
static const char *const chunk_members[C_N] = {"id",    "model", "choices",
                                               "usage", "error", "x_groq"};

static int start(const spot *s, const json_value *v)
{
    if (s->r->started) return 0;
    s->r->started = true;
    llm_event e = {.kind = LLM_START, .index = -1};
    if (v && v[C_ID].type == JSON_STRING) e.id = llm_inside(v[C_ID]);
    if (v && v[C_MODEL].type == JSON_STRING) e.model = llm_inside(v[C_MODEL]);
    return s->sink(s->arg, &e);
}

static bool is_done(sv_str data)
{
    while (data.n && data.p[data.n - 1] == ' ')
        data.n--;
    return sv_str_is(data, "[DONE]");
}

static bool has_error(json_value v)
{
    return v.type == JSON_OBJECT || (v.type == JSON_STRING && v.raw.n > 2);
}

int openai_read(llm_reader *r, sv_str type, sv_str data, llm_sink *sink, void *arg, sv_error *err)
{
    json_value root, v[C_N], choice;
    spot s = {r, 0, sink, arg};
    if (r->done || r->failed) return 0;
    if (r->stream && is_done(data)) {
        r->done = true;
        return 0;
    }
    int rc = llm_read_object(data, &root, err);
    if (rc) return rc;
    llm_members(root, chunk_members, C_N, v);
    if (has_error(v[C_ERROR]) || sv_str_is(type, "error")) {
        r->failed = true;
        return llm_read_failure(LLM_OPENAI, data, &r->scratch, sink, arg);
    }
    if (!r->stream && v[C_CHOICES].type != JSON_ARRAY) return garbage(err, "no choices");
    rc = start(&s, v);
    for (size_t at = 0; rc == 0 && !r->failed && json_next_element(v[C_CHOICES], &at, &choice);)
        rc = read_choice(&s, choice, err);
    s.choice = 0;
    r->done = !r->stream;
    return rc || r->failed ? rc : read_usage(&s, v[C_USAGE], v[C_GROQ]);
}

/* A stream with its marker is complete even if the server forgot the reason. */
int openai_read_end(llm_reader *r, llm_sink *sink, void *arg, bool *done)
{
    spot s = {r, 0, sink, arg};
    int rc = 0;
    *done = !r->failed && (r->done || r->finished) && r->started;
    for (s.choice = 0; *done && rc == 0 && s.choice < r->n_choices; s.choice++)
        if (!r->signed_off[s.choice]) {
            if (r->done)
                rc = finish(&s, LLM_STOP);
            else
                *done = false;
        }
    return rc;
}
