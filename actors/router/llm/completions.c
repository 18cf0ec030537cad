/*  completions.c - OpenAI's older /completions, for clients.
 *
 *  The prompt is asked as a user's message, for providers are asked by chat. What a chat cannot do is
 *  refused: several prompts in one request, tokens as a prompt, text behind the gap (suffix), the
 *  prompt in the answer (echo), the best of several. Answers are texts; thinking and tool calls have
 *  no place in them. Without max_tokens an answer is as long as the model makes it, where OpenAI
 *  stops after 16 tokens. */
#include "error.h"
#include "openai.h"
#include "parse.h"
#include "whole.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ID = 64 };

/* ---- requests ---- */

enum {
    M_MODEL,
    M_PROMPT,
    M_SUFFIX,
    M_ECHO,
    M_BEST_OF,
    M_N,
    M_MAX_TOKENS,
    M_TEMPERATURE,
    M_TOP_P,
    M_SEED,
    M_PRESENCE,
    M_FREQUENCY,
    M_STOP,
    M_STREAM,
    M_STREAM_OPTIONS,
    M_USER,
    M_FIELDS
};
static const char *const members[M_FIELDS] = {
    "model",      "prompt",      "suffix",         "echo", "best_of",          "n",
    "max_tokens", "temperature", "top_p",          "seed", "presence_penalty", "frequency_penalty",
    "stop",       "stream",      "stream_options", "user"};

static int read_prompt(llm_in *in, json_value v)
{
    llm_request *q = in->q;
    int rc = llm_need(in, v, "prompt");
    if (rc) return rc;
    if (v.type == JSON_ARRAY) {
        json_value first, second;
        size_t at = 0;
        if (!json_next_element(v, &at, &first))
            return llm_bad(in, SV_E_INVALID, "prompt", "This must not be empty.");
        if (first.type != JSON_STRING)
            return llm_bad(in, SV_E_WRONG_TYPE, "prompt",
                           "Tokens are not taken here: send the prompt as a string.");
        if (json_next_element(v, &at, &second))
            return llm_bad(in, SV_E_INVALID, "prompt",
                           "One prompt a request: send the others in requests of their own.");
        v = first;
    }
    if (v.type != JSON_STRING)
        return llm_bad(in, SV_E_WRONG_TYPE, "prompt", "This must be a string.");
    llm_part *part = llm_new(in, 1, sizeof *part);
    q->messages = part ? llm_new(in, 1, sizeof *q->messages) : NULL;
    if (q->messages == NULL) return SV_E_NO_MEMORY;
    *part = (llm_part){.kind = LLM_PART_TEXT, .text = llm_inside(v)};
    q->messages[0] = (llm_message){.role = LLM_USER, .parts = part, .n_parts = 1};
    q->n_messages = 1;
    return 0;
}

/* Abilities that only completion models have. */
static int refuse_others(const llm_in *in, const json_value *v)
{
    sv_str suffix = {NULL, 0};
    bool echo = false;
    int64_t best_of = in->q->n;
    int rc = llm_string(in, v[M_SUFFIX], "suffix", &suffix);
    if (rc == 0) rc = llm_bool(in, v[M_ECHO], "echo", &echo);
    if (rc == 0) rc = llm_int(in, v[M_BEST_OF], "best_of", 1, LLM_CHOICES, &best_of);
    if (rc) return rc;
    if (suffix.n)
        return llm_bad(in, SV_E_INVALID, "suffix",
                       "Text cannot be inserted before a suffix here: leave it out.");
    if (echo)
        return llm_bad(in, SV_E_INVALID, "echo",
                       "The prompt cannot be repeated in the answer here: leave echo out.");
    if (best_of != in->q->n)
        return llm_bad(in, SV_E_INVALID, "best_of",
                       "The best of several cannot be chosen here: leave it out, or set it to n.");
    return 0;
}

static int completions_parse(sv_str text, arena *a, llm_request *ret, sv_error *err)
{
    static const char *const usage[] = {"include_usage"};
    *ret = (llm_request){.format = LLM_COMPLETIONS, .n = 1, .json = text};
    llm_in in = {.a = a, .q = ret, .err = err};
    json_value root = json_root(text), v[M_FIELDS], u[1];
    int rc = llm_want(&in, root, JSON_OBJECT, NULL);
    if (rc) return rc;
    uint32_t others = llm_members(root, members, M_FIELDS, v);
    if (others) rc = llm_keep_left(&in, root, members, M_FIELDS);
    if (rc == 0) rc = read_prompt(&in, v[M_PROMPT]);
    if (rc == 0) rc = llm_int(&in, v[M_N], "n", 1, LLM_CHOICES, &ret->n);
    if (rc == 0) rc = refuse_others(&in, v);
    if (rc == 0) rc = llm_int(&in, v[M_MAX_TOKENS], "max_tokens", 1, INT32_MAX, &ret->max_tokens);
    if (rc == 0) rc = llm_number(&in, v[M_TEMPERATURE], "temperature", &ret->temperature);
    if (rc == 0) rc = llm_number(&in, v[M_TOP_P], "top_p", &ret->top_p);
    if (rc == 0) rc = llm_number(&in, v[M_SEED], "seed", &ret->seed);
    if (rc == 0) rc = llm_number(&in, v[M_PRESENCE], "presence_penalty", &ret->presence_penalty);
    if (rc == 0) rc = llm_number(&in, v[M_FREQUENCY], "frequency_penalty", &ret->frequency_penalty);
    if (rc == 0) rc = llm_stops(&in, v[M_STOP], "stop");
    if (rc == 0) rc = llm_bool(&in, v[M_STREAM], "stream", &ret->stream);
    if (rc == 0) rc = llm_string(&in, v[M_USER], "user", &ret->user);
    if (rc == 0) rc = llm_want(&in, v[M_STREAM_OPTIONS], JSON_OBJECT, "stream_options");
    if (rc) return rc;
    llm_members(v[M_STREAM_OPTIONS], usage, 1, u);
    return llm_bool(&in, u[0], "stream_options.include_usage", &ret->include_usage);
}

/* ---- answers ---- */

struct llm_writer {
    bool stream, include_usage, finished;
    bool failed; /* nothing follows an error */
    char id[ID];
    buf model; /* inside of a JSON string */
    int64_t created;
    tokens usage;
    llm_whole whole; /* of an answer that is no stream */
};

static void put_head(const llm_writer *w, buf *out)
{
    buf_printf(out,
               "{\"id\":\"%s\",\"object\":\"text_completion\",\"created\":%" PRId64 ",\"model\":",
               w->id, w->created);
    llm_put_string(out, w->model.p ? buf_str(&w->model) : (sv_str){"", 0});
}

/* Calls have no place here, and words of a refusal are text. */
static const char *finish_word(llm_finish f)
{
    return f == LLM_TOOL_CALLS ? "stop" : openai_finish_word(f, false, false);
}

/* `reason` NULL: the choice goes on. */
static void put_choice(uint32_t index, sv_str inside, const char *reason, buf *out)
{
    buf_puts(out, "{\"text\":");
    llm_put_string(out, inside);
    buf_printf(out, ",\"index\":%u,\"logprobs\":null,\"finish_reason\":", index);
    if (reason)
        buf_printf(out, "\"%s\"}", reason);
    else
        buf_puts(out, "null}");
}

static void put_chunk(const llm_writer *w, uint32_t index, sv_str inside, const char *reason,
                      buf *out)
{
    buf_puts(out, "data: ");
    put_head(w, out);
    buf_puts(out, ",\"choices\":[");
    put_choice(index, inside, reason, out);
    buf_puts(out, w->include_usage ? "],\"usage\":null}\n\n" : "]}\n\n");
}

static void error_event(llm_writer *w, int status, const char *type, const char *code,
                        sv_str message, buf *out)
{
    if (w && w->failed) return;
    if (w) w->failed = true;
    buf_puts(out, "data: ");
    openai_error_body(status, type, code, message, NULL, out);
    buf_puts(out, "\n\n");
}

static int completions_writer_event(llm_writer *w, const llm_event *e, buf *out)
{
    if (w->failed) return 0;
    if (e->kind == LLM_USAGE && e->usage) w->usage = *e->usage;
    if (e->kind == LLM_FINISH) w->finished = true;
    bool text = e->kind == LLM_TEXT || e->kind == LLM_REFUSED;
    if (!text && e->kind != LLM_FINISH) return 0;
    if (e->choice >= LLM_CHOICES) return SV_E_PROVIDER_GARBAGE;
    if (!w->stream) return llm_whole_event(&w->whole, e);
    if (e->kind == LLM_FINISH)
        put_chunk(w, e->choice, (sv_str){"", 0}, finish_word(e->finish), out);
    else if (e->text.n)
        put_chunk(w, e->choice, e->text, NULL, out);
    return out->failed ? out->error : 0;
}

static void put_whole_choice(const llm_writer *w, uint32_t index, buf *out)
{
    buf_puts(out, "{\"text\":\"");
    for (uint32_t i = 0; i < w->whole.n; i++) {
        const llm_block *b = &w->whole.blocks[i];
        if (b->choice == index && b->text.n) buf_put(out, b->text.p, b->text.n);
    }
    buf_printf(out, "\",\"index\":%u,\"logprobs\":null,\"finish_reason\":\"%s\"}", index,
               finish_word(w->whole.finish[index]));
}

static void put_whole(const llm_writer *w, buf *out)
{
    put_head(w, out);
    buf_puts(out, ",\"choices\":[");
    for (uint32_t i = 0; i < w->whole.n_choices; i++) {
        if (i) buf_putc(out, ',');
        put_whole_choice(w, i, out);
    }
    buf_puts(out, "]");
    if (llm_has_tokens(&w->usage)) {
        buf_puts(out, ",\"usage\":");
        openai_put_usage(out, &w->usage);
    }
    buf_putc(out, '}');
}

static int completions_writer_end(llm_writer *w, buf *out)
{
    static const char cut[] = "The answer ended early.";
    if (!w->failed && !w->finished && w->stream)
        error_event(w, 502, "server_error", "provider.cut", sv_cstr(cut), out);
    if (!w->stream) {
        if (w->finished)
            put_whole(w, out);
        else
            openai_error_body(502, "server_error", "provider.cut", sv_cstr(cut), NULL, out);
    } else if (!w->failed) {
        if (w->include_usage && llm_has_tokens(&w->usage)) {
            buf_puts(out, "data: ");
            put_head(w, out);
            buf_puts(out, ",\"choices\":[],\"usage\":");
            openai_put_usage(out, &w->usage);
            buf_puts(out, "}\n\n");
        }
        buf_puts(out, "data: [DONE]\n\n");
    }
    return out->failed ? out->error : 0;
}

static void completions_writer_free(llm_writer *w)
{
    if (w == NULL) return;
    llm_whole_free(&w->whole);
    buf_free(&w->model);
    free(w);
}

static llm_writer *completions_writer_new(const llm_writer_spec *spec)
{
    llm_writer *w = calloc(1, sizeof *w);
    if (w == NULL) return NULL;
    w->stream = spec->stream;
    w->include_usage = spec->include_usage;
    w->created = spec->created;
    snprintf(w->id, sizeof w->id, "cmpl-%.40s", spec->id);
    llm_whole_init(&w->whole);
    buf_init(&w->model, 6 * (size_t)spec->model.n + 1);
    if (buf_json_escape(&w->model, spec->model)) {
        completions_writer_free(w);
        return NULL;
    }
    return w;
}

const llm_ops llm_completions = {
    .format = LLM_COMPLETIONS,
    .framing = LLM_SSE,
    .parse = completions_parse,
    .writer_new = completions_writer_new,
    .writer_event = completions_writer_event,
    .writer_end = completions_writer_end,
    .writer_free = completions_writer_free,
    .error_body = openai_error_body,
    .error_event = error_event,
};
