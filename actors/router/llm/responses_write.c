/*  responses_write.c - requests for providers that speak OpenAI's /responses.
 *
 *  A request that came in this format keeps its bytes but for the model, the stream switch, store
 *  (nothing is stored here, so nothing is there either), and opaque fields of other formats. Another
 *  one is written from the neutral form; all that was said is in `input`, as items. */
#include "error.h"
#include "parse.h"
#include "responses.h"

#include <inttypes.h>
#include <string.h>

enum { OUTPUT_LEAST = 16 /* tokens: less is refused there */ };

int responses_path(const llm_target *t, buf *out)
{
    (void)t;
    return buf_puts(out, "/responses");
}

static int done(const buf *out, sv_error *err)
{
    return out->failed ? sv_fail(err, out->error, NULL, NULL) : 0;
}

static void put_head(const llm_target *t, buf *out)
{
    buf_puts(out, "{\"model\":");
    llm_put_json_string(out, t->model);
    buf_puts(out, ",\"store\":false");
    if (t->stream) buf_puts(out, ",\"stream\":true");
}

/* ---- a request of this format ---- */

/* The item without opaque values that other formats made: their reasoning goes, their calls lose the
 * signature. False: nothing was put. */
static bool put_same_item(json_value item, buf *out, llm_notes *notes)
{
    static const char *const names[] = {"type", "encrypted_content", "signature"};
    json_value v[3];
    llm_format origin = LLM_RESPONSES;
    llm_members(item, names, 3, v);
    bool reasoning = v[0].type == JSON_STRING && llm_is(llm_inside(v[0]), "reasoning");
    size_t at = reasoning ? 1 : 2;
    if (v[at].type != JSON_STRING) {
        buf_put(out, item.raw.p, item.raw.n);
        return true;
    }
    sv_str value = llm_take_opaque(llm_inside(v[at]), LLM_RESPONSES, &origin);
    bool marked = value.n != llm_inside(v[at]).n;
    if (origin != LLM_RESPONSES) llm_note(notes, "%s of another provider", names[at]);
    if (reasoning && origin != LLM_RESPONSES) return false;
    if (reasoning && !marked) {
        buf_put(out, item.raw.p, item.raw.n);
        return true;
    }
    json_edit edit = json_edit_remove(item.raw, names[at]);
    value = responses_opaque_value(value);
    if (reasoning) /* the mark goes, the value stays */
        edit = (json_edit){
            (size_t)(llm_inside(v[at]).p - item.raw.p), llm_inside(v[at]).n - value.n, {"", 0}};
    json_apply(item.raw, &edit, 1, out);
    return true;
}

static void put_same_input(json_value input, buf *out, llm_notes *notes)
{
    if (input.type != JSON_ARRAY) {
        buf_put(out, input.raw.p, input.raw.n);
        return;
    }
    json_value item;
    bool comma = false;
    buf_putc(out, '[');
    for (size_t at = 0; json_next_element(input, &at, &item);) {
        size_t before = out->n;
        if (comma) buf_putc(out, ',');
        if (put_same_item(item, out, notes))
            comma = true;
        else if (!out->failed)
            out->n = before;
    }
    buf_putc(out, ']');
}

static int write_same(const llm_request *q, const llm_target *t, buf *out, llm_notes *notes,
                      sv_error *err)
{
    sv_str key;
    json_value v, root = json_root(q->json);
    put_head(t, out);
    for (size_t at = 0; json_next_member(root, &at, &key, &v);) {
        if (llm_is(key, "model") || llm_is(key, "store") || llm_is(key, "stream") ||
            (llm_is(key, "stream_options") && !t->stream))
            continue;
        buf_putc(out, ',');
        llm_put_string(out, key);
        buf_putc(out, ':');
        if (llm_is(key, "input"))
            put_same_input(v, out, notes);
        else
            buf_put(out, v.raw.p, v.raw.n);
    }
    buf_putc(out, '}');
    return done(out, err);
}

/* ---- messages of another format ---- */

typedef struct input {
    buf *out;
    llm_notes *notes;
    bool comma;   /* between items */
    bool content; /* inside a message's list */
    bool opaque;  /* reasoning was returned */
} input;

static void next_item(input *i)
{
    if (i->content) buf_puts(i->out, "]}");
    i->content = false;
    if (i->comma) buf_putc(i->out, ',');
    i->comma = true;
}

/* In a message of this role; the next part of its content follows. */
static void enter_content(input *i, llm_role role)
{
    static const char *const roles[] = {[LLM_SYSTEM] = "system",
                                        [LLM_USER] = "user",
                                        [LLM_ASSISTANT] = "assistant",
                                        [LLM_TOOL] = "user"};
    if (i->content) {
        buf_putc(i->out, ',');
        return;
    }
    next_item(i);
    buf_printf(i->out, "{\"type\":\"message\",\"role\":\"%s\",\"content\":[", roles[role]);
    i->content = true;
}

static void put_input_text(buf *out, sv_str inside)
{
    buf_puts(out, "{\"type\":\"input_text\",\"text\":");
    llm_put_string(out, inside);
    buf_putc(out, '}');
}

static void put_image(buf *out, const llm_part *p)
{
    buf_puts(out, "{\"type\":\"input_image\",\"detail\":\"auto\",\"image_url\":");
    llm_put_address(out, p);
    buf_putc(out, '}');
}

static void put_file(buf *out, const llm_part *p)
{
    buf_puts(out, "{\"type\":\"input_file\"");
    if (p->name.n) {
        buf_puts(out, ",\"filename\":");
        llm_put_string(out, p->name);
    } else if (p->url.p == NULL) {
        buf_puts(out, ",\"filename\":\"file\"");
    }
    buf_puts(out, p->url.p ? ",\"file_url\":" : ",\"file_data\":");
    llm_put_address(out, p);
    buf_putc(out, '}');
}

static void put_call(input *i, const llm_part *p)
{
    next_item(i);
    buf_puts(i->out, "{\"type\":\"function_call\",\"call_id\":");
    llm_put_string(i->out, p->id);
    buf_puts(i->out, ",\"name\":");
    llm_put_string(i->out, p->name);
    buf_puts(i->out, ",\"arguments\":");
    llm_put_json_string(i->out, p->raw.n ? p->raw : sv_cstr("{}"));
    buf_putc(i->out, '}');
    if (p->signature.p) llm_note(i->notes, "signature of another provider");
}

static bool only_text(const llm_part *p)
{
    for (uint32_t k = 0; k < p->n_parts; k++)
        if (p->parts[k].kind != LLM_PART_TEXT) return false;
    return true;
}

static void put_result(input *i, const llm_part *p)
{
    buf *out = i->out;
    next_item(i);
    buf_puts(out, "{\"type\":\"function_call_output\",\"call_id\":");
    llm_put_string(out, p->id);
    bool plain = only_text(p);
    buf_puts(out, plain ? ",\"output\":\"" : ",\"output\":[");
    bool comma = false;
    for (uint32_t k = 0; k < p->n_parts; k++) {
        const llm_part *one = &p->parts[k];
        if (plain) {
            if (k) buf_puts(out, "\\n");
            buf_put(out, one->text.p, one->text.n);
            continue;
        }
        bool known =
            one->kind == LLM_PART_TEXT || one->kind == LLM_PART_IMAGE || one->kind == LLM_PART_FILE;
        if (comma && known) buf_putc(out, ',');
        comma = comma || known;
        if (one->kind == LLM_PART_TEXT)
            put_input_text(out, one->text);
        else if (one->kind == LLM_PART_IMAGE)
            put_image(out, one);
        else if (one->kind == LLM_PART_FILE)
            put_file(out, one);
        else
            llm_note(i->notes, "audio");
    }
    buf_puts(out, plain ? "\"}" : "]}");
    if (p->is_error) llm_note(i->notes, "is_error");
}

static void put_thinking(input *i, const llm_part *p)
{
    buf *out = i->out;
    if (p->signature.p == NULL || p->origin != LLM_RESPONSES) {
        llm_note(i->notes, "thinking");
        return;
    }
    next_item(i);
    i->opaque = true;
    buf_puts(out, "{\"type\":\"reasoning\",");
    sv_str value = responses_opaque_value(p->signature), id = p->signature;
    if (value.n < id.n) {
        id.n -= value.n + 1;
        buf_puts(out, "\"id\":");
        llm_put_string(out, id);
        buf_putc(out, ',');
    }
    buf_puts(out, "\"summary\":[");
    if (p->kind == LLM_PART_THINKING && p->text.n) {
        buf_puts(out, "{\"type\":\"summary_text\",\"text\":");
        llm_put_string(out, p->text);
        buf_putc(out, '}');
    }
    buf_puts(out, "],\"encrypted_content\":");
    llm_put_string(out, value);
    buf_putc(out, '}');
}

static void put_text(input *i, llm_role role, sv_str inside)
{
    if (inside.n == 0) return;
    enter_content(i, role);
    if (role != LLM_ASSISTANT) {
        put_input_text(i->out, inside);
        return;
    }
    buf_puts(i->out, "{\"type\":\"output_text\",\"annotations\":[],\"text\":");
    llm_put_string(i->out, inside);
    buf_putc(i->out, '}');
}

static void put_any(input *i, llm_role role, const llm_part *p)
{
    switch (p->kind) {
    case LLM_PART_TEXT: put_text(i, role, p->text); break;
    case LLM_PART_IMAGE:
    case LLM_PART_FILE:
        if (role == LLM_ASSISTANT || role == LLM_SYSTEM) {
            llm_note(i->notes, "images of the assistant or the system");
            break;
        }
        enter_content(i, role);
        if (p->kind == LLM_PART_IMAGE)
            put_image(i->out, p);
        else
            put_file(i->out, p);
        break;
    case LLM_PART_AUDIO: llm_note(i->notes, "audio"); break;
    case LLM_PART_CALL: put_call(i, p); break;
    case LLM_PART_RESULT: put_result(i, p); break;
    case LLM_PART_THINKING:
    case LLM_PART_OPAQUE: put_thinking(i, p); break;
    }
    if (p->extra.p) llm_note(i->notes, "cache_control");
}

/* Was encrypted reasoning put? */
static bool put_input(const llm_request *q, const llm_target *t, buf *out, llm_notes *notes)
{
    uint32_t n = q->n_messages;
    input i = {.out = out, .notes = notes};
    if (t->no_prefill && n > 1 && q->messages[n - 1].role == LLM_ASSISTANT)
        llm_note(notes, "messages[%u]", --n);
    buf_puts(out, ",\"input\":[");
    for (uint32_t m = 0; m < n; m++) {
        for (uint32_t p = 0; p < q->messages[m].n_parts; p++)
            put_any(&i, q->messages[m].role, &q->messages[m].parts[p]);
        if (i.content) buf_puts(out, "]}");
        i.content = false;
    }
    buf_putc(out, ']');
    return i.opaque;
}

/* ---- settings of another format ---- */

static void put_tools(const llm_request *q, buf *out, llm_notes *notes)
{
    bool any = false;
    for (uint32_t k = 0; k < q->n_tools; k++) {
        const llm_tool *t = &q->tools[k];
        if (t->foreign) {
            llm_note(notes, "tools[%u]", k);
            continue;
        }
        buf_puts(out, any ? "," : ",\"tools\":[");
        any = true;
        buf_puts(out, "{\"type\":\"function\",\"name\":");
        llm_put_string(out, t->name);
        if (t->description.n) {
            buf_puts(out, ",\"description\":");
            llm_put_string(out, t->description);
        }
        buf_puts(out, ",\"parameters\":");
        if (t->schema.p)
            buf_put(out, t->schema.p, t->schema.n);
        else
            buf_puts(out, "{\"type\":\"object\",\"properties\":{}}");
        buf_puts(out, t->strict ? ",\"strict\":true}" : ",\"strict\":false}");
    }
    if (!any) return;
    buf_putc(out, ']');
    if (q->tool_choice == LLM_CHOICE_NAMED) {
        buf_puts(out, ",\"tool_choice\":{\"type\":\"function\",\"name\":");
        llm_put_string(out, q->tool_name);
        buf_putc(out, '}');
    } else if (q->tool_choice != LLM_CHOICE_NONE_GIVEN) {
        buf_printf(out, ",\"tool_choice\":\"%s\"",
                   q->tool_choice == LLM_CHOICE_ANY    ? "required"
                   : q->tool_choice == LLM_CHOICE_NONE ? "none"
                                                       : "auto");
    }
    if (q->parallel_tools != LLM_UNSAID)
        buf_printf(out, ",\"parallel_tool_calls\":%s",
                   q->parallel_tools == LLM_YES ? "true" : "false");
}

static void put_shape(const llm_request *q, buf *out)
{
    if (q->shape == LLM_SHAPE_JSON)
        buf_puts(out, ",\"text\":{\"format\":{\"type\":\"json_object\"}}");
    if (q->shape != LLM_SHAPE_SCHEMA) return;
    buf_puts(out, ",\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":");
    llm_put_string(out, q->schema_name.n ? q->schema_name : sv_cstr("answer"));
    buf_puts(out, ",\"schema\":");
    if (q->schema.p)
        buf_put(out, q->schema.p, q->schema.n);
    else
        buf_puts(out, "{}");
    buf_printf(out, ",\"strict\":%s}}", q->schema_strict ? "true" : "false");
}

/* Models that do not reason refuse to be asked for encrypted reasoning. */
static void put_reasoning(const llm_request *q, bool opaque, buf *out)
{
    sv_str effort = q->effort;
    if (effort.n == 0 && q->thinking_tokens > 0)
        effort = sv_cstr(llm_effort_of(q->thinking_tokens));
    if (effort.n) {
        buf_puts(out, ",\"reasoning\":{\"effort\":");
        llm_put_string(out, effort);
        buf_puts(out, q->show_thinking ? ",\"summary\":\"auto\"}" : "}");
    }
    if (opaque || (effort.n && !llm_is(effort, "none")))
        buf_puts(out, ",\"include\":[\"reasoning.encrypted_content\"]");
}

static void put_number(buf *out, const char *key, sv_str raw)
{
    if (raw.n == 0) return;
    llm_put_key(out, key);
    buf_put(out, raw.p, raw.n);
}

/* Members that mean the same in OpenAI's two formats. */
static bool put_shared_member(const llm_request *q, sv_str name, buf *out)
{
    static const char *const shared[] = {"metadata", "service_tier", "prompt_cache_key",
                                         "prompt_cache_retention", "safety_identifier"};
    if (q->format != LLM_OPENAI) return false;
    for (size_t i = 0; i < sizeof shared / sizeof *shared; i++) {
        if (!llm_is(name, shared[i])) continue;
        json_value v = json_get(json_root(q->json), shared[i]);
        if (v.type == JSON_NONE) return false;
        llm_put_key(out, shared[i]);
        buf_put(out, v.raw.p, v.raw.n);
        return true;
    }
    return false;
}

static void note_rest(const llm_request *q, buf *out, llm_notes *notes)
{
    if (q->top_k.p) llm_note(notes, "top_k");
    if (q->seed.p) llm_note(notes, "seed");
    if (q->presence_penalty.p) llm_note(notes, "presence_penalty");
    if (q->frequency_penalty.p) llm_note(notes, "frequency_penalty");
    if (q->n_stops) llm_note(notes, "stop");
    if (q->n > 1) llm_note(notes, "n");
    for (uint32_t i = 0; i < q->n_left; i++)
        if (!put_shared_member(q, q->left[i], out)) llm_note(notes, "%.*s", SV_FMT(q->left[i]));
}

int responses_write(const llm_request *q, const llm_target *t, buf *out, llm_notes *notes,
                    sv_error *err)
{
    if (q->format == LLM_RESPONSES) return write_same(q, t, out, notes, err);
    put_head(t, out);
    bool opaque = put_input(q, t, out, notes);
    put_tools(q, out, notes);
    put_shape(q, out);
    put_reasoning(q, opaque, out);
    if (q->max_tokens) {
        int64_t most = q->max_tokens < OUTPUT_LEAST ? OUTPUT_LEAST : q->max_tokens;
        if (most != q->max_tokens) llm_note(notes, "max_tokens below %d", OUTPUT_LEAST);
        buf_printf(out, ",\"max_output_tokens\":%" PRId64, most);
    }
    put_number(out, "temperature", q->temperature);
    put_number(out, "top_p", q->top_p);
    if (q->user.n) {
        buf_puts(out, ",\"user\":");
        llm_put_string(out, q->user);
    }
    note_rest(q, out, notes);
    buf_putc(out, '}');
    return done(out, err);
}
