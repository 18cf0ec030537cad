/*  responses_read.c - answers of providers that speak OpenAI's /responses.
 *
 *  A stream tells everything twice or three times: in pieces, in the item that is done, and in the
 *  last event. The first that comes counts: an item whose pieces came is not read again when it is
 *  done, an item that was told is not read again at the end. So servers that send only some of the
 *  events are understood too. Items are known by their output_index.
 *  Items of OpenAI's own tools (web search and the like) are passed over. */
#include "error.h"
#include "openai.h"
#include "parse.h"
#include "responses.h"
#include "whole.h"

#include <stdlib.h>
#include <string.h>

enum { SEEN = 1024 /* items of an answer */ };

typedef struct seen {
    bool any;     /* something of it was told */
    bool summary; /* a piece of its summary was told: a signature belongs to it */
    bool done;
    int16_t call; /* index of the call, or -1 */
} seen;

struct llm_reader {
    bool stream, started, over;
    bool finished; /* over, and not by a failure */
    bool called, refused;
    uint16_t n_calls;
    seen items[SEEN];
    uint32_t argument_bytes[LLM_CALLS];
    tokens usage;
    buf scratch;
};

/* Where the events of one read go. */
typedef struct telling {
    llm_reader *r;
    llm_sink *sink;
    void *arg;
    sv_error *err;
} telling;

static int tell(const telling *t, llm_event e)
{
    if (!t->r->started && e.kind != LLM_START && e.kind != LLM_FAILED) {
        t->r->started = true;
        int rc = t->sink(t->arg, &(llm_event){.kind = LLM_START});
        if (rc) return rc;
    }
    return t->sink(t->arg, &e);
}

static int tell_text(const telling *t, llm_event_kind kind, json_value v, seen *s)
{
    sv_str inside = llm_inside(v);
    if (inside.n == 0) return 0;
    if (s) s->any = true;
    if (kind == LLM_REFUSED) t->r->refused = true;
    if (kind == LLM_THINKING && s) s->summary = true;
    return tell(t, (llm_event){.kind = kind, .index = -1, .text = inside});
}

static seen *seen_of(llm_reader *r, json_value output_index)
{
    int64_t at = -1;
    if (json_int(output_index, &at) || at < 0 || at >= SEEN) return NULL;
    return &r->items[at];
}

/* ---- calls ---- */

static int tell_arguments(const telling *t, const seen *s, json_value v)
{
    sv_str inside = llm_inside(v);
    uint32_t *bytes = &t->r->argument_bytes[s->call];
    if (inside.n == 0) return 0;
    if (inside.n > LLM_ARGUMENTS_BYTES - *bytes)
        return sv_fail(t->err, SV_E_PROVIDER_TOO_LARGE, NULL, NULL);
    *bytes += inside.n;
    return tell(t, (llm_event){.kind = LLM_ARGUMENTS, .index = s->call, .text = inside});
}

static int garbage(const telling *t, const char *what)
{
    sv_fail(t->err, SV_E_PROVIDER_GARBAGE, NULL, NULL);
    sv_error_detail(t->err, "%s", what);
    return SV_E_PROVIDER_GARBAGE;
}

/* v: id, call_id, name. */
static int tell_call(const telling *t, seen *s, const json_value *v)
{
    char made_up[40];
    sv_str id = llm_inside(v[1].type == JSON_STRING ? v[1] : v[0]);
    if (t->r->n_calls == LLM_CALLS) return garbage(t, "too many tool calls");
    if (llm_inside(v[2]).n == 0) return garbage(t, "a tool call without a name");
    if (id.n == 0) {
        llm_make_id("call_", made_up);
        id = sv_cstr(made_up);
    }
    s->any = t->r->called = true;
    s->call = (int16_t)t->r->n_calls++;
    return tell(
        t, (llm_event){.kind = LLM_CALL, .index = s->call, .id = id, .name = llm_inside(v[2])});
}

/* ---- items ---- */

enum { ID, CALL_ID, NAME, TYPE, ARGUMENTS, CONTENT, SUMMARY, ENCRYPTED, FIELDS };
static const char *const names[FIELDS] = {"id",        "call_id", "name",    "type",
                                          "arguments", "content", "summary", "encrypted_content"};

static bool is(json_value v, const char *s)
{
    return v.type == JSON_STRING && llm_is(llm_inside(v), s);
}

static int tell_message(const telling *t, seen *s, json_value content)
{
    static const char *const fields[] = {"text", "refusal"};
    json_value one, v[2];
    int rc = 0;
    for (size_t at = 0; rc == 0 && json_next_element(content, &at, &one);) {
        llm_members(one, fields, 2, v);
        rc = tell_text(t, LLM_TEXT, v[0], s);
        if (rc == 0) rc = tell_text(t, LLM_REFUSED, v[1], s);
    }
    return rc;
}

sv_str responses_opaque_value(sv_str inside)
{
    const char *end = inside.n ? memchr(inside.p, RESPONSES_ID_END, inside.n) : NULL;
    uint32_t skip = end ? (uint32_t)(end - inside.p) + 1 : 0;
    return (sv_str){inside.p + skip, inside.n - skip};
}

/* What the provider wants back. */
static int tell_opaque(const telling *t, llm_event_kind kind, const json_value *v)
{
    sv_str id = llm_inside(v[ID]), value = llm_inside(v[ENCRYPTED]);
    buf both;
    buf_init(&both, (size_t)id.n + value.n + 1);
    if (id.n && memchr(id.p, RESPONSES_ID_END, id.n) == NULL) {
        buf_put(&both, id.p, id.n);
        buf_putc(&both, RESPONSES_ID_END);
    }
    buf_put(&both, value.p, value.n);
    int rc = both.failed ? both.error : 0;
    if (rc == 0)
        rc = tell(t,
                  (llm_event){
                      .kind = kind, .index = -1, .text = buf_str(&both), .origin = LLM_RESPONSES});
    buf_free(&both);
    return rc;
}

static int tell_reasoning(const telling *t, seen *s, const json_value *v)
{
    static const char *const fields[] = {"text"};
    static const json_value gap = {JSON_STRING, {"\"\\n\\n\"", 6}};
    json_value one, text[1];
    int rc = 0;
    bool first = true;
    json_value list = v[SUMMARY];
    size_t none = 0;
    if (!json_next_element(list, &none, &one)) list = v[CONTENT];
    for (size_t at = 0; rc == 0 && !s->any && json_next_element(list, &at, &one); first = false) {
        bool more = s->summary;
        llm_members(one, fields, 1, text);
        if (more && !first) rc = tell_text(t, LLM_THINKING, gap, NULL);
        if (rc == 0) rc = tell_text(t, LLM_THINKING, text[0], NULL);
        s->summary = s->summary || llm_inside(text[0]).n > 0;
    }
    s->any = s->any || s->summary;
    if (rc || llm_inside(v[ENCRYPTED]).n == 0) return rc;
    s->any = true;
    return tell_opaque(t, s->summary ? LLM_SIGNATURE : LLM_OPAQUE, v);
}

/* An item that is whole. */
static int tell_item(const telling *t, seen *s, json_value item)
{
    json_value v[FIELDS];
    if (s->done) return 0;
    s->done = true;
    llm_members(item, names, FIELDS, v);
    if (is(v[TYPE], "message")) return s->any ? 0 : tell_message(t, s, v[CONTENT]);
    if (is(v[TYPE], "reasoning")) return tell_reasoning(t, s, v);
    if (!is(v[TYPE], "function_call")) return 0;
    int rc = s->call < 0 ? tell_call(t, s, v) : 0;
    if (rc == 0 && t->r->argument_bytes[s->call] == 0) rc = tell_arguments(t, s, v[ARGUMENTS]);
    return rc;
}

/* An item begins: only a call says something then. */
static int on_added(const telling *t, seen *s, json_value item)
{
    json_value v[FIELDS];
    llm_members(item, names, FIELDS, v);
    if (!is(v[TYPE], "function_call") || s->call >= 0) return 0;
    if (llm_inside(v[NAME]).n == 0) return 0; /* the item that is done will tell */
    int rc = tell_call(t, s, v);
    return rc ? rc : tell_arguments(t, s, v[ARGUMENTS]);
}

/* ---- the response object ---- */

static int tell_start(const telling *t, json_value response)
{
    if (t->r->started) return 0;
    t->r->started = true;
    return t->sink(t->arg, &(llm_event){.kind = LLM_START,
                                        .id = llm_inside(json_get(response, "id")),
                                        .model = llm_inside(json_get(response, "model"))});
}

static int tell_usage(const telling *t, json_value usage)
{
    tokens *u = &t->r->usage;
    openai_tokens(usage, u);
    if (!u->known) return 0;
    return tell(t, (llm_event){.kind = LLM_USAGE, .usage = u});
}

static llm_finish finish_of(const llm_reader *r, json_value response)
{
    json_value reason = json_get(json_get(response, "incomplete_details"), "reason");
    if (is(reason, "max_output_tokens")) return LLM_LENGTH;
    if (is(reason, "content_filter")) return LLM_FILTER;
    if (is(json_get(response, "status"), "incomplete")) return LLM_OTHER;
    if (r->called) return LLM_TOOL_CALLS;
    return r->refused ? LLM_REFUSAL : LLM_STOP;
}

/* An error object in its own words; `object` is what is behind "error". */
static int tell_failure(const telling *t, sv_str object)
{
    buf data;
    t->r->over = true;
    buf_init(&data, (size_t)object.n + 16);
    buf_puts(&data, "{\"error\":");
    buf_put(&data, object.p, object.n);
    buf_puts(&data, "}");
    int rc = data.failed
                 ? data.error
                 : llm_read_failure(LLM_RESPONSES, buf_str(&data), &t->r->scratch, t->sink, t->arg);
    buf_free(&data);
    return rc;
}

static bool is_final(json_value status)
{
    return is(status, "completed") || is(status, "incomplete");
}

/* The response as it ended. */
static int tell_end(const telling *t, json_value response)
{
    llm_reader *r = t->r;
    json_value error = json_get(response, "error"), item;
    int rc = tell_start(t, response);
    uint32_t index = 0;
    for (size_t at = 0; rc == 0 && json_next_element(json_get(response, "output"), &at, &item);
         index++) {
        if (index == SEEN) return sv_fail(t->err, SV_E_PROVIDER_TOO_LARGE, NULL, NULL);
        rc = tell_item(t, &r->items[index], item);
    }
    if (rc == 0) rc = tell_usage(t, json_get(response, "usage"));
    if (rc) return rc;
    if (error.type == JSON_OBJECT) return tell_failure(t, error.raw);
    if (!is_final(json_get(response, "status")))
        return tell_failure(t, sv_cstr("{\"message\":\"The provider gave up the answer.\"}"));
    r->over = r->finished = true;
    return tell(t, (llm_event){.kind = LLM_FINISH, .finish = finish_of(r, response)});
}

/* ---- streams ---- */

enum { S_TYPE, S_INDEX, S_DELTA, S_ITEM, S_RESPONSE, S_ERROR, S_SUMMARY, S_ARGUMENTS, S_FIELDS };

static int on_delta(const telling *t, const json_value *v, seen *s)
{
    static const struct {
        const char *type;
        llm_event_kind kind;
    } deltas[] = {
        {"response.output_text.delta", LLM_TEXT},
        {"response.refusal.delta", LLM_REFUSED},
        {"response.reasoning_summary_text.delta", LLM_THINKING},
        {"response.reasoning_text.delta", LLM_THINKING},
    };
    for (size_t i = 0; i < sizeof deltas / sizeof *deltas; i++)
        if (is(v[S_TYPE], deltas[i].type)) return tell_text(t, deltas[i].kind, v[S_DELTA], s);
    if (s->call < 0) return 0;
    if (is(v[S_TYPE], "response.function_call_arguments.delta"))
        return tell_arguments(t, s, v[S_DELTA]);
    if (is(v[S_TYPE], "response.function_call_arguments.done") &&
        t->r->argument_bytes[s->call] == 0)
        return tell_arguments(t, s, v[S_ARGUMENTS]);
    return 0;
}

static int on_event(const telling *t, json_value root)
{
    static const char *const fields[S_FIELDS] = {
        "type", "output_index", "delta", "item", "response", "error", "summary_index", "arguments"};
    static const json_value gap = {JSON_STRING, {"\"\\n\\n\"", 6}};
    json_value v[S_FIELDS];
    llm_members(root, fields, S_FIELDS, v);
    if (is(v[S_TYPE], "error"))
        return tell_failure(t, v[S_ERROR].type == JSON_OBJECT ? v[S_ERROR].raw : root.raw);
    if (v[S_ERROR].type == JSON_OBJECT) return tell_failure(t, v[S_ERROR].raw);
    if (is(v[S_TYPE], "response.created") || is(v[S_TYPE], "response.in_progress"))
        return tell_start(t, v[S_RESPONSE]);
    if (is(v[S_TYPE], "response.completed") || is(v[S_TYPE], "response.incomplete") ||
        is(v[S_TYPE], "response.failed"))
        return tell_end(t, v[S_RESPONSE]);
    seen *s = seen_of(t->r, v[S_INDEX]);
    if (s == NULL) return 0;
    if (is(v[S_TYPE], "response.output_item.added")) return on_added(t, s, v[S_ITEM]);
    if (is(v[S_TYPE], "response.output_item.done")) return tell_item(t, s, v[S_ITEM]);
    if (is(v[S_TYPE], "response.reasoning_summary_part.added"))
        return s->summary ? tell_text(t, LLM_THINKING, gap, s) : 0;
    return on_delta(t, v, s);
}

int responses_read(llm_reader *r, sv_str type, sv_str data, llm_sink *sink, void *arg,
                   sv_error *err)
{
    telling t = {r, sink, arg, err};
    json_value root;
    (void)type; /* it is in the data too */
    if (r->over || (r->stream && sv_str_is(data, "[DONE]"))) return 0;
    int rc = llm_read_object(data, &root, err);
    if (rc) return rc;
    if (r->stream) return on_event(&t, root);
    return tell_end(&t, root);
}

int responses_read_end(llm_reader *r, llm_sink *sink, void *arg, bool *done)
{
    (void)sink;
    (void)arg;
    *done = r->finished;
    return 0;
}

llm_reader *responses_reader_new(bool stream)
{
    llm_reader *r = calloc(1, sizeof *r);
    if (r == NULL) return NULL;
    r->stream = stream;
    for (size_t i = 0; i < SEEN; i++)
        r->items[i].call = -1;
    buf_init(&r->scratch, LLM_WHOLE_BYTES);
    return r;
}

void responses_reader_free(llm_reader *r)
{
    if (r == NULL) return;
    buf_free(&r->scratch);
    free(r);
}
