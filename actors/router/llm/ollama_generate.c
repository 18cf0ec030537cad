/*  ollama_generate.c - Ollama's /api/generate: one prompt, one answer.
 *
 *  At Ollama the bytes pass. For other providers the prompt is asked as a user's message, so what only a
 *  model at hand can do is refused: text before a suffix, a template or none (raw), a context of tokens. */
#include "ollama.h"

#include "error.h"

enum {
    R_MODEL = OLLAMA_SHARED,
    R_PROMPT,
    R_SYSTEM,
    R_IMAGES,
    R_SUFFIX,
    R_TEMPLATE,
    R_RAW,
    R_CONTEXT,
    R_FIELDS
};
static const char *const names[] = {"format", "options", "stream", "think",    "model", "prompt",
                                    "system", "images",  "suffix", "template", "raw",   "context"};

static int refuse_others(const llm_in *in, const json_value *v)
{
    static const char words[] = "Only Ollama's own models can do this: leave it out.";
    sv_str suffix = {NULL, 0}, template = {NULL, 0};
    bool raw = false;
    uint32_t context;
    int rc = llm_string(in, v[R_SUFFIX], "suffix", &suffix);
    if (rc == 0) rc = llm_string(in, v[R_TEMPLATE], "template", &template);
    if (rc == 0) rc = llm_bool(in, v[R_RAW], "raw", &raw);
    if (rc == 0) rc = llm_list(in, v[R_CONTEXT], "context", UINT32_MAX, &context);
    if (rc) return rc;
    if (suffix.n) return llm_bad(in, SV_E_INVALID, "suffix", words);
    if (template.n) return llm_bad(in, SV_E_INVALID, "template", words);
    if (raw) return llm_bad(in, SV_E_INVALID, "raw", words);
    return context ? llm_bad(in, SV_E_INVALID, "context", words) : 0;
}

static int parse_prompt(llm_in *in, const json_value *v)
{
    llm_request *q = in->q;
    sv_str prompt = {NULL, 0}, system = {NULL, 0};
    uint32_t images;
    int rc = llm_string(in, v[R_PROMPT], "prompt", &prompt);
    if (rc == 0) rc = llm_string(in, v[R_SYSTEM], "system", &system);
    if (rc == 0) rc = llm_list(in, v[R_IMAGES], "images", LLM_PARTS, &images);
    if (rc) return rc;
    if (prompt.n == 0 && images == 0)
        return llm_bad(in, SV_E_MISSING_FIELD, "prompt", "There must be something to answer.");
    llm_part *parts = llm_new(in, 2 + (size_t)images, sizeof *parts);
    q->messages = parts ? llm_new(in, 2, sizeof *q->messages) : NULL;
    if (q->messages == NULL) return SV_E_NO_MEMORY;
    if (system.n) {
        *parts = (llm_part){.kind = LLM_PART_TEXT, .text = system};
        q->messages[q->n_messages++] =
            (llm_message){.role = LLM_SYSTEM, .parts = parts, .n_parts = 1};
        parts++;
    }
    llm_message *m = &q->messages[q->n_messages++];
    *m = (llm_message){.role = LLM_USER, .parts = parts};
    if (prompt.n) parts[m->n_parts++] = (llm_part){.kind = LLM_PART_TEXT, .text = prompt};
    return ollama_images(in, v[R_IMAGES], parts, &m->n_parts);
}

static int parse(sv_str text, arena *a, llm_request *ret, sv_error *err)
{
    *ret = (llm_request){
        .format = LLM_GENERATE, .json = text, .n = 1, .stream = true, .include_usage = true};
    llm_in in = {.a = a, .q = ret, .err = err};
    json_value root = json_root(text), v[R_FIELDS];
    int rc = llm_want(&in, root, JSON_OBJECT, NULL);
    if (rc) return rc;
    llm_members(root, names, R_FIELDS, v);
    rc = refuse_others(&in, v);
    if (rc == 0) rc = parse_prompt(&in, v);
    return rc ? rc : ollama_settings(&in, root, names, R_FIELDS, v);
}

static int path(const llm_target *t, buf *out)
{
    (void)t; /* the model is named in the body */
    return buf_puts(out, "/api/generate");
}

const llm_ops llm_generate = {.format = LLM_GENERATE,
                              .framing = LLM_LINES,
                              .parse = parse,
                              .writer_new = ollama_generate_writer_new,
                              .writer_event = ollama_writer_event,
                              .writer_end = ollama_writer_end,
                              .writer_free = ollama_writer_free,
                              .error_body = ollama_error_body,
                              .error_event = ollama_error_event,
                              .path = path,
                              .reader_new = ollama_reader_new,
                              .read = ollama_read,
                              .read_end = ollama_read_end,
                              .reader_free = ollama_reader_free};
