/*  anthropic_read.c - a provider's answer in Anthropic's format: events of a stream, or the whole
 *  body.
 *
 *  Blocks are known by their index until the stream ends. Usage is cumulative: members that an
 *  event has overwrite what was there. The input of the answer tool (anthropic_write.c) is given
 *  as text. */
#include "anthropic.h"
#include "error.h"
#include "parse.h"
#include "whole.h"

#include <stdlib.h>

enum { CALL_NONE = -1, CALL_ANSWER = -2, NAMES = 512 };

struct llm_reader {
    bool stream, started, finished, stopped, failed;
    bool answered;            /* by the answer tool */
    int64_t block[LLM_CALLS]; /* indexes of the blocks that are calls */
    uint32_t n_calls;
    int64_t answer_block; /* -1: none */
    int64_t input, output, cache_read, cache_write, cache_write_1h;
    tokens usage;
    buf scratch;
};

typedef struct sinkhole {
    llm_reader *r;
    llm_sink *sink;
    void *arg;
    sv_error *err;
} sinkhole;

llm_reader *anthropic_reader_new(bool stream)
{
    llm_reader *r = calloc(1, sizeof *r);
    if (r == NULL) return NULL;
    r->stream = stream;
    r->answer_block = -1;
    buf_init(&r->scratch, LLM_WHOLE_BYTES);
    return r;
}

void anthropic_reader_free(llm_reader *r)
{
    if (r == NULL) return;
    buf_free(&r->scratch);
    free(r);
}

static int garbage(const sinkhole *s, const char *what)
{
    sv_fail(s->err, SV_E_PROVIDER_GARBAGE, NULL, NULL);
    sv_error_detail(s->err, "%s", what);
    return SV_E_PROVIDER_GARBAGE;
}

static int give(const sinkhole *s, llm_event_kind kind, int32_t index, sv_str text)
{
    llm_event e = {.kind = kind, .index = index, .text = text, .origin = LLM_ANTHROPIC};
    return text.n ? s->sink(s->arg, &e) : 0;
}

/* ---- usage ---- */

static void take(json_value usage, const char *key, int64_t *to)
{
    json_value v = json_get(usage, key);
    if (v.type == JSON_NUMBER) *to = llm_tokens_of(v);
}

static int read_usage(const sinkhole *s, json_value usage)
{
    llm_reader *r = s->r;
    if (usage.type != JSON_OBJECT) return 0;
    take(usage, "input_tokens", &r->input);
    take(usage, "output_tokens", &r->output);
    take(usage, "cache_read_input_tokens", &r->cache_read);
    take(usage, "cache_creation_input_tokens", &r->cache_write);
    take(json_get(usage, "cache_creation"), "ephemeral_1h_input_tokens", &r->cache_write_1h);
    r->usage = (tokens){.known = true,
                        .prompt = r->input + r->cache_read + r->cache_write,
                        .completion = r->output,
                        .cached = r->cache_read,
                        .cache_write = r->cache_write,
                        .cache_write_1h = r->cache_write_1h};
    llm_bound_tokens(&r->usage);
    llm_event e = {.kind = LLM_USAGE, .index = -1, .usage = &r->usage};
    return s->sink(s->arg, &e);
}

/* ---- blocks ---- */

static int32_t call_of(const llm_reader *r, int64_t block)
{
    if (block == r->answer_block) return CALL_ANSWER;
    for (uint32_t i = r->n_calls; i > 0; i--)
        if (r->block[i - 1] == block) return (int32_t)i - 1;
    return CALL_NONE;
}

/* An input that came as an object: of a whole answer, or of servers that send it at once. */
static int give_input(const sinkhole *s, int32_t call, json_value input)
{
    size_t at = 0;
    sv_str key;
    json_value v;
    if (s->r->stream && !json_next_member(input, &at, &key, &v)) return 0; /* {} of a beginning */
    buf *scratch = &s->r->scratch;
    buf_reset(scratch, LLM_WHOLE_BYTES);
    int rc = buf_json_escape(scratch, input.raw);
    if (rc) return rc;
    return give(s, call == CALL_ANSWER ? LLM_TEXT : LLM_ARGUMENTS, call, buf_str(scratch));
}

static int begin_call(const sinkhole *s, int64_t index, json_value block)
{
    char made[40];
    llm_reader *r = s->r;
    json_value input = json_get(block, "input");
    sv_str name = llm_inside(json_get(block, "name")), id = llm_inside(json_get(block, "id"));
    if (name.n == 0) return garbage(s, "a tool call without a name");
    if (llm_is(name, ANTHROPIC_ANSWER)) {
        r->answer_block = index;
        r->answered = true;
        return input.type == JSON_OBJECT ? give_input(s, CALL_ANSWER, input) : 0;
    }
    if (r->n_calls == LLM_CALLS) return garbage(s, "too many tool calls");
    if (name.n > NAMES || id.n > NAMES) return garbage(s, "a tool call with a name too long");
    if (id.n == 0) {
        llm_make_id("toolu_", made);
        id = sv_cstr(made);
    }
    int32_t call = (int32_t)r->n_calls;
    r->block[r->n_calls++] = index;
    llm_event e = {.kind = LLM_CALL, .index = call, .id = id, .name = name};
    int rc = s->sink(s->arg, &e);
    return rc || input.type != JSON_OBJECT ? rc : give_input(s, call, input);
}

/* Blocks of tools that ran at the provider have no neutral form: the text around them says it. */
static int begin_block(const sinkhole *s, int64_t index, json_value block)
{
    json_value type = json_get(block, "type");
    if (json_string_is(type, "text"))
        return give(s, LLM_TEXT, -1, llm_inside(json_get(block, "text")));
    if (json_string_is(type, "tool_use")) return begin_call(s, index, block);
    if (json_string_is(type, "redacted_thinking"))
        return give(s, LLM_OPAQUE, -1, llm_inside(json_get(block, "data")));
    if (!json_string_is(type, "thinking")) return 0;
    int rc = give(s, LLM_THINKING, -1, llm_inside(json_get(block, "thinking")));
    return rc ? rc : give(s, LLM_SIGNATURE, -1, llm_inside(json_get(block, "signature")));
}

static int read_delta(const sinkhole *s, int64_t index, json_value delta)
{
    json_value type = json_get(delta, "type");
    if (json_string_is(type, "text_delta"))
        return give(s, LLM_TEXT, -1, llm_inside(json_get(delta, "text")));
    if (json_string_is(type, "thinking_delta"))
        return give(s, LLM_THINKING, -1, llm_inside(json_get(delta, "thinking")));
    if (json_string_is(type, "signature_delta"))
        return give(s, LLM_SIGNATURE, -1, llm_inside(json_get(delta, "signature")));
    if (!json_string_is(type, "input_json_delta")) return 0; /* citations */
    int32_t call = call_of(s->r, index);
    sv_str text = llm_inside(json_get(delta, "partial_json"));
    if (call == CALL_ANSWER) return give(s, LLM_TEXT, -1, text);
    return call == CALL_NONE ? 0 : give(s, LLM_ARGUMENTS, call, text);
}

/* ---- beginning and end ---- */

static int start(const sinkhole *s, json_value message)
{
    if (s->r->started) return 0;
    s->r->started = true;
    llm_event e = {.kind = LLM_START, .index = -1};
    json_value id = json_get(message, "id"), model = json_get(message, "model");
    if (id.type == JSON_STRING) e.id = llm_inside(id);
    if (model.type == JSON_STRING) e.model = llm_inside(model);
    return s->sink(s->arg, &e);
}

static llm_finish finish_of(json_value v)
{
    static const struct {
        const char *word;
        llm_finish finish;
    } rows[] = {{"end_turn", LLM_STOP},
                {"max_tokens", LLM_LENGTH},
                {"stop_sequence", LLM_STOP_SEQUENCE},
                {"tool_use", LLM_TOOL_CALLS},
                {"pause_turn", LLM_PAUSE},
                {"refusal", LLM_REFUSAL},
                {"model_context_window_exceeded", LLM_CONTEXT}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (json_string_is(v, rows[i].word)) return rows[i].finish;
    return LLM_OTHER;
}

/* `d` holds stop_reason and stop_sequence. */
static int read_finish(const sinkhole *s, json_value d)
{
    llm_reader *r = s->r;
    json_value why = json_get(d, "stop_reason");
    if (llm_inside(why).n == 0 || r->finished) return 0;
    r->finished = true;
    llm_event e = {.kind = LLM_FINISH, .index = -1, .finish = finish_of(why)};
    if (e.finish == LLM_TOOL_CALLS && r->answered && r->n_calls == 0) e.finish = LLM_STOP;
    if (e.finish == LLM_STOP_SEQUENCE) e.text = llm_inside(json_get(d, "stop_sequence"));
    return s->sink(s->arg, &e);
}

static int read_whole(const sinkhole *s, json_value root)
{
    json_value content = json_get(root, "content"), block;
    if (content.type != JSON_ARRAY) return garbage(s, "no content");
    int rc = start(s, root);
    int64_t i = 0;
    for (size_t at = 0; rc == 0 && json_next_element(content, &at, &block); i++)
        rc = begin_block(s, i, block);
    if (rc == 0) rc = read_finish(s, root);
    s->r->stopped = true;
    return rc ? rc : read_usage(s, json_get(root, "usage"));
}

enum { E_TYPE, E_INDEX, E_MESSAGE, E_BLOCK, E_DELTA, E_USAGE, E_N };
static const char *const event_members[E_N] = {"type",          "index", "message",
                                               "content_block", "delta", "usage"};

static int read_event(const sinkhole *s, json_value root)
{
    json_value v[E_N];
    int64_t index = 0;
    llm_members(root, event_members, E_N, v);
    (void)json_int(v[E_INDEX], &index); /* events without one need none */
    if (index < 0) return garbage(s, "the index of a block is out of range");
    if (json_string_is(v[E_TYPE], "message_stop")) s->r->stopped = true;
    bool begin = json_string_is(v[E_TYPE], "message_start");
    bool block = json_string_is(v[E_TYPE], "content_block_start");
    bool delta = json_string_is(v[E_TYPE], "content_block_delta");
    bool end = json_string_is(v[E_TYPE], "message_delta");
    if (!begin && !block && !delta && !end) return 0; /* ping, and what is not known yet */
    int rc = start(s, v[E_MESSAGE]);                  /* servers forget message_start */
    if (rc == 0 && begin) rc = read_usage(s, json_get(v[E_MESSAGE], "usage"));
    if (rc == 0 && block) rc = begin_block(s, index, v[E_BLOCK]);
    if (rc == 0 && delta) rc = read_delta(s, index, v[E_DELTA]);
    if (rc == 0 && end) rc = read_usage(s, v[E_USAGE]);
    return rc || !end ? rc : read_finish(s, v[E_DELTA]);
}

int anthropic_read(llm_reader *r, sv_str type, sv_str data, llm_sink *sink, void *arg,
                   sv_error *err)
{
    json_value root;
    const sinkhole s = {r, sink, arg, err};
    if (r->failed || r->stopped) return 0;
    int rc = llm_read_object(data, &root, err);
    if (rc) return rc;
    if (sv_str_is(type, "error") || json_string_is(json_get(root, "type"), "error")) {
        r->failed = true;
        return llm_read_failure(LLM_ANTHROPIC, data, &r->scratch, sink, arg);
    }
    return r->stream ? read_event(&s, root) : read_whole(&s, root);
}

int anthropic_read_end(llm_reader *r, llm_sink *sink, void *arg, bool *done)
{
    *done = !r->failed && r->started && (r->finished || r->stopped);
    if (!*done || r->finished) return 0;
    r->finished = true; /* the marker came without a reason */
    llm_event e = {
        .kind = LLM_FINISH, .index = -1, .finish = r->n_calls ? LLM_TOOL_CALLS : LLM_STOP};
    return sink(arg, &e);
}
