/*  gemini_read.c - answers of Gemini: every chunk of a stream is an answer of its own, with whole calls
 *  and with usage that counts all so far. There is no end marker: an answer is complete when each
 *  candidate has told why it finished. A body may be a list of chunks. */
#include "gemini.h"

#include "error.h"
#include "parse.h"
#include "whole.h"

#include <stdlib.h>

enum { DEPTH = 2 * LLM_DEPTH };

struct llm_reader {
    bool started, blocked, failed;
    bool seen[GEMINI_CHOICES], finished[GEMINI_CHOICES];
    int32_t calls[GEMINI_CHOICES];
};

typedef struct reading {
    llm_reader *r;
    llm_sink *sink;
    void *arg;
    sv_error *err;
    uint32_t choice;
} reading;

llm_reader *gemini_reader_new(bool stream)
{
    (void)stream; /* both are the same chunks */
    return calloc(1, sizeof(llm_reader));
}

void gemini_reader_free(llm_reader *r)
{
    free(r);
}

static int garbage(const reading *c, const char *what)
{
    sv_fail(c->err, SV_E_PROVIDER_GARBAGE, NULL, NULL);
    sv_error_detail(c->err, "gemini: %s", what);
    return SV_E_PROVIDER_GARBAGE;
}

static int too_large(const reading *c)
{
    return sv_fail(c->err, SV_E_PROVIDER_TOO_LARGE, NULL, NULL);
}

static int emit(const reading *c, llm_event e)
{
    e.choice = c->choice;
    return c->sink(c->arg, &e);
}

static int emit_text(const reading *c, llm_event_kind kind, sv_str text)
{
    return emit(c, (llm_event){.kind = kind, .text = text, .index = -1, .origin = LLM_GEMINI});
}

/* ---- parts ---- */

static int read_call(const reading *c, json_value call, json_value signature)
{
    static const char *const names[] = {"name", "args", "id"};
    json_value v[3];
    char made[40];
    llm_members(call, names, 3, v);
    int32_t index = c->r->calls[c->choice];
    sv_str id = llm_inside(v[2]), args = v[1].type == JSON_NONE ? sv_cstr("{}") : v[1].raw;
    if (llm_inside(v[0]).n == 0) return garbage(c, "a call has no name");
    if (v[1].type != JSON_NONE && v[1].type != JSON_OBJECT)
        return garbage(c, "the arguments of a call are no object");
    if (index == LLM_CALLS || args.n > LLM_ARGUMENTS_BYTES) return too_large(c);
    c->r->calls[c->choice]++;
    if (id.n == 0) {
        llm_make_id(GEMINI_MADE_ID, made);
        id = sv_cstr(made);
    }
    int rc =
        emit(c, (llm_event){.kind = LLM_CALL, .index = index, .id = id, .name = llm_inside(v[0])});
    if (rc) return rc;
    buf text;
    buf_init(&text, (size_t)LLM_ARGUMENTS_BYTES * 6);
    rc = buf_json_escape(&text, args);
    if (rc == 0)
        rc = emit(c, (llm_event){.kind = LLM_ARGUMENTS, .index = index, .text = buf_str(&text)});
    buf_free(&text);
    if (rc || llm_inside(signature).n == 0) return rc;
    return emit(c, (llm_event){.kind = LLM_SIGNATURE,
                               .index = index,
                               .text = llm_inside(signature),
                               .origin = LLM_GEMINI});
}

/* An image becomes one of Markdown, with its bytes in a data: address. */
static int read_image(const reading *c, json_value image)
{
    sv_str type = llm_inside(json_get(image, "mimeType")),
           data = llm_inside(json_get(image, "data"));
    if (type.n == 0 || data.n == 0) return garbage(c, "a file has no content");
    const sv_str pieces[] = {sv_cstr("![](data:"), type, sv_cstr(";base64,"), data, sv_cstr(")")};
    int rc = 0;
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0] && rc == 0; i++)
        rc = emit_text(c, LLM_TEXT, pieces[i]);
    return rc;
}

static int read_part(const reading *c, json_value part)
{
    static const char *const names[] = {"text", "thought", "thoughtSignature", "functionCall",
                                        "inlineData"};
    json_value v[5];
    llm_members(part, names, 5, v);
    sv_str text = llm_inside(v[0]);
    int rc = 0;
    if (v[3].type == JSON_OBJECT) return read_call(c, v[3], v[2]);
    if (text.n) rc = emit_text(c, v[1].type == JSON_TRUE ? LLM_THINKING : LLM_TEXT, text);
    if (rc == 0 && v[4].type == JSON_OBJECT) rc = read_image(c, v[4]);
    if (rc == 0 && llm_inside(v[2]).n) rc = emit_text(c, LLM_SIGNATURE, llm_inside(v[2]));
    return rc;
}

/* ---- the end ---- */

typedef struct ending {
    const char *reason;
    llm_finish finish;
    const char *failure; /* the answer is of no use: why */
} ending;

static const ending endings[] = {
    {"STOP", LLM_STOP, NULL},
    {"MAX_TOKENS", LLM_LENGTH, NULL},
    {"SAFETY", LLM_FILTER, NULL},
    {"RECITATION", LLM_FILTER, NULL},
    {"LANGUAGE", LLM_FILTER, NULL},
    {"BLOCKLIST", LLM_FILTER, NULL},
    {"PROHIBITED_CONTENT", LLM_FILTER, NULL},
    {"SPII", LLM_FILTER, NULL},
    {"MODEL_ARMOR", LLM_FILTER, NULL},
    {"IMAGE_SAFETY", LLM_FILTER, NULL},
    {"IMAGE_PROHIBITED_CONTENT", LLM_FILTER, NULL},
    {"IMAGE_RECITATION", LLM_FILTER, NULL},
    {"MALFORMED_FUNCTION_CALL", LLM_OTHER, "The model wrote a tool call that cannot be read."},
    {"UNEXPECTED_TOOL_CALL", LLM_OTHER, "The model called a tool that it was not given."},
    {"TOO_MANY_TOOL_CALLS", LLM_OTHER, "The model called too many tools in a row."},
    {"MISSING_THOUGHT_SIGNATURE", LLM_OTHER,
     "The request lacks a signature of the model's thoughts."},
    {"MALFORMED_RESPONSE", LLM_OTHER, "The model wrote an answer that cannot be read."}};

static int read_finish(const reading *c, json_value reason, json_value message)
{
    ending e = {NULL, LLM_OTHER, NULL};
    llm_reader *r = c->r;
    if (r->finished[c->choice]) return 0;
    r->finished[c->choice] = true;
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++)
        if (json_string_is(reason, endings[i].reason)) e = endings[i];
    if (e.failure) {
        r->failed = true;
        sv_str words = llm_inside(message);
        return emit(c, (llm_event){.kind = LLM_FAILED,
                                   .text = words.n ? words : sv_cstr(e.failure),
                                   .code = llm_inside(reason),
                                   .status = 502});
    }
    if (e.finish == LLM_STOP && r->calls[c->choice]) e.finish = LLM_TOOL_CALLS;
    sv_str why = {NULL, 0};
    if (e.finish == LLM_FILTER) why = llm_inside(reason);
    return emit(c, (llm_event){.kind = LLM_FINISH, .finish = e.finish, .text = why});
}

static int read_candidate(reading *c, json_value candidate)
{
    static const char *const names[] = {"content", "finishReason", "finishMessage", "index"};
    json_value v[4], part;
    int64_t index = 0;
    llm_members(candidate, names, 4, v);
    if (v[3].type != JSON_NONE && (json_int(v[3], &index) || index < 0 || index >= GEMINI_CHOICES))
        return garbage(c, "a candidate's index is wrong");
    c->choice = (uint32_t)index;
    c->r->seen[index] = true;
    json_value parts = json_get(v[0], "parts");
    int rc = 0;
    for (size_t at = 0; rc == 0 && json_next_element(parts, &at, &part);)
        rc = read_part(c, part);
    if (rc == 0 && llm_inside(v[1]).n && !json_string_is(v[1], "FINISH_REASON_UNSPECIFIED"))
        rc = read_finish(c, v[1], v[2]);
    c->choice = 0;
    return rc;
}

/* The prompt itself was refused: there is no candidate. */
static int read_block(const reading *c, json_value feedback)
{
    json_value reason = json_get(feedback, "blockReason");
    if (reason.type != JSON_STRING || c->r->blocked || c->r->seen[0]) return 0;
    c->r->blocked = true;
    return emit(c,
                (llm_event){.kind = LLM_FINISH, .finish = LLM_FILTER, .text = llm_inside(reason)});
}

/* ---- chunks ---- */

/* Gemini counts thoughts beside the answer and prompts of its own tools beside the prompt. */
static int read_usage(const reading *c, json_value usage)
{
    static const char *const names[] = {"promptTokenCount", "candidatesTokenCount",
                                        "thoughtsTokenCount", "toolUsePromptTokenCount",
                                        "cachedContentTokenCount"};
    json_value v[5];
    int64_t n[5];
    if (usage.type != JSON_OBJECT) return 0;
    llm_members(usage, names, 5, v);
    for (size_t i = 0; i < 5; i++)
        n[i] = llm_tokens_of(v[i]);
    tokens t = {.known = true,
                .prompt = n[0] + n[3],
                .completion = n[1] + n[2],
                .cached = n[4],
                .reasoning = n[2]};
    llm_bound_tokens(&t);
    return emit(c, (llm_event){.kind = LLM_USAGE, .usage = &t});
}

static int read_error(const reading *c, json_value chunk)
{
    buf words;
    c->r->failed = true;
    buf_init(&words, LLM_WHOLE_BYTES);
    int rc = llm_read_failure(LLM_GEMINI, chunk.raw, &words, c->sink, c->arg);
    buf_free(&words);
    return rc;
}

static int read_chunk(reading *c, json_value chunk)
{
    static const char *const names[] = {"candidates", "usageMetadata",  "modelVersion",
                                        "responseId", "promptFeedback", "error"};
    json_value v[6], candidate;
    int rc = 0;
    if (chunk.type != JSON_OBJECT) return garbage(c, "a chunk is no object");
    llm_members(chunk, names, 6, v);
    if (v[5].type == JSON_OBJECT || v[5].type == JSON_STRING) return read_error(c, chunk);
    if (!c->r->started) {
        c->r->started = true;
        llm_event e = {.kind = LLM_START};
        if (v[3].type == JSON_STRING) e.id = llm_inside(v[3]);
        if (v[2].type == JSON_STRING) e.model = llm_inside(v[2]);
        rc = emit(c, e);
    }
    for (size_t at = 0; rc == 0 && json_next_element(v[0], &at, &candidate);)
        rc = read_candidate(c, candidate);
    if (rc == 0) rc = read_block(c, v[4]);
    return rc ? rc : read_usage(c, v[1]);
}

int gemini_read(llm_reader *r, sv_str type, sv_str data, llm_sink *sink, void *arg, sv_error *err)
{
    (void)type; /* its streams name no events */
    reading c = {r, sink, arg, err, 0};
    sv_error why = {0};
    json_value chunk;
    int rc = json_skim(data, DEPTH, &why);
    if (rc == SV_E_NO_MEMORY) return sv_fail(err, rc, NULL, NULL);
    if (rc) return garbage(&c, why.message);
    json_value root = json_root(data);
    if (root.type != JSON_ARRAY) return read_chunk(&c, root);
    for (size_t at = 0; rc == 0 && json_next_element(root, &at, &chunk);)
        rc = read_chunk(&c, chunk);
    return rc;
}

int gemini_read_end(llm_reader *r, llm_sink *sink, void *arg, bool *done)
{
    (void)sink;
    (void)arg;
    bool any = r->blocked, all = true;
    for (int i = 0; i < GEMINI_CHOICES; i++) {
        any |= r->finished[i];
        all &= r->finished[i] || !r->seen[i];
    }
    *done = any && all && !r->failed;
    return 0;
}
