/*  llm.c - the table of formats, notes, features, opaque values, strings. */
#include "llm.h"

#include "error.h"
#include "parse.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    IMAGE_TOKENS = 1000, /* of an image, an audio clip: between the providers' figures */
    FILE_TOKENS = 3000,
    MESSAGE_TOKENS = 4 /* around each message */
};

const char *const llm_format_names[LLM_FORMATS] = {
    [LLM_OPENAI] = "openai",       [LLM_COMPLETIONS] = "completions", [LLM_RESPONSES] = "responses",
    [LLM_ANTHROPIC] = "anthropic", [LLM_OLLAMA] = "ollama",           [LLM_GEMINI] = "gemini",
    [LLM_GENERATE] = "generate",
};

/* A row of each format that is built. */
static const llm_ops *const formats[LLM_FORMATS] = {
    [LLM_COMPLETIONS] = &llm_completions, [LLM_RESPONSES] = &llm_responses,
    [LLM_OLLAMA] = &llm_ollama,           [LLM_GEMINI] = &llm_gemini,
    [LLM_OPENAI] = &llm_openai,           [LLM_ANTHROPIC] = &llm_anthropic,
    [LLM_GENERATE] = &llm_generate,
};

const llm_ops *llm_ops_of(llm_format f)
{
    return (unsigned)f < LLM_FORMATS ? formats[f] : NULL;
}

/* Whole names only; a name that was noted is not repeated, and behind the dots nothing more is looked
 * at: a body can have millions of members that nobody knows. */
void llm_note(llm_notes *n, const char *fmt, ...)
{
    static const char more[] = ", ...";
    char name[96];
    size_t used = n ? strlen(n->dropped) : 0;
    if (n == NULL || (used >= 3 && memcmp(n->dropped + used - 3, more + 2, 3) == 0)) return;
    va_list ap;
    va_start(ap, fmt);
    int len = vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    if (len <= 0) return;
    for (char *c = name; *c; c++) /* it becomes a header */
        if ((unsigned char)*c < 0x20 || (unsigned char)*c > 0x7e) *c = '?';
    size_t size = strlen(name);
    for (const char *at = n->dropped; (at = strstr(at, name)); at++)
        if ((at == n->dropped || at[-1] == ' ') && (at[size] == 0 || at[size] == ',')) return;
    bool fits = used + 2 + size + sizeof more <= sizeof n->dropped;
    snprintf(n->dropped + used, sizeof n->dropped - used, "%s%s", used && fits ? ", " : "",
             fits ? name : more);
}

/* ---- strings ---- */

sv_str llm_inside(json_value v)
{
    if (v.type != JSON_STRING || v.raw.n < 2) return (sv_str){"", 0};
    return (sv_str){v.raw.p + 1, v.raw.n - 2};
}

void llm_put_string(buf *out, sv_str inside)
{
    buf_putc(out, '"');
    buf_put(out, inside.p, inside.n);
    buf_putc(out, '"');
}

static char short_escape(char c)
{
    switch (c) {
    case 'n': return '\n';
    case 't': return '\t';
    case 'r': return '\r';
    case 'b': return '\b';
    case 'f': return '\f';
    default: return c;
    }
}

int llm_decode(sv_str inside, buf *out)
{
    int rc = out->error;
    if (inside.n == 0) return rc;
    const char *p = inside.p, *end = p + inside.n;
    while (p < end && rc == 0) {
        const char *run = memchr(p, '\\', (size_t)(end - p));
        if (run == NULL) run = end;
        rc = buf_put(out, p, (size_t)(run - p));
        p = run;
        if (rc || end - p < 2) break;
        if (p[1] != 'u') {
            rc = buf_putc(out, short_escape(p[1]));
            p += 2;
            continue;
        }
        char one[14] = "\"";
        uint32_t n =
            end - p >= 12 && p[6] == '\\' && (p[2] | 32) == 'd' && strchr("89abAB", p[3]) ? 12 : 6;
        if (end - p < (long)n) break;
        memcpy(one + 1, p, n);
        one[n + 1] = '"';
        rc = json_text((json_value){JSON_STRING, {one, n + 2}}, out);
        p += n;
    }
    return rc;
}

/* ---- opaque values ---- */

static const char opaque_mark[] = "sv1.";
enum { MARK = sizeof opaque_mark - 1 };

void llm_put_opaque(buf *out, sv_str inside, llm_format origin, llm_format to)
{
    bool marked = inside.n >= MARK && memcmp(inside.p, opaque_mark, MARK) == 0;
    buf_putc(out, '"');
    if (origin != to || marked) buf_printf(out, "%s%s.", opaque_mark, llm_format_names[origin]);
    buf_put(out, inside.p, inside.n);
    buf_putc(out, '"');
}

sv_str llm_take_opaque(sv_str inside, llm_format own, llm_format *ret_origin)
{
    *ret_origin = own;
    if (inside.n < MARK || memcmp(inside.p, opaque_mark, MARK) != 0) return inside;
    for (int f = 0; f < LLM_FORMATS; f++) {
        uint32_t n = (uint32_t)strlen(llm_format_names[f]);
        if (inside.n <= MARK + n || inside.p[MARK + n] != '.' ||
            memcmp(inside.p + MARK, llm_format_names[f], n) != 0)
            continue;
        *ret_origin = (llm_format)f;
        return (sv_str){inside.p + MARK + n + 1, inside.n - MARK - n - 1};
    }
    return inside;
}

/* ---- features ---- */

/* Quarters of a token by the first byte of a character. */
static uint32_t quarters(unsigned char c)
{
    return c < 0x80 ? 1 : c < 0xc0 ? 0 : c < 0xe0 ? 2 : 4;
}

int64_t llm_estimate(sv_str inside)
{
    int64_t sum = 0;
    if (inside.n == 0) return 0;
    const unsigned char *p = (const unsigned char *)inside.p, *end = p + inside.n;
    while (p < end) {
        if (*p != '\\') {
            sum += quarters(*p++);
        } else if (end - p >= 6 && p[1] == 'u') {
            bool latin = p[2] == '0' && p[3] < '8';
            sum += latin ? (p[3] == '0' ? 1 : 2) : (p[2] | 32) == 'd' && p[3] >= '8' ? 2 : 4;
            p += 6;
        } else {
            sum++;
            p += 2;
        }
    }
    return (sum + 3) / 4;
}

/* Anthropic refuses thoughts without a signature, and everybody another's. */
static bool is_foreign(const llm_part *p, llm_format own)
{
    if (p->signature.p) return p->origin != own;
    return p->kind == LLM_PART_THINKING && own == LLM_ANTHROPIC;
}

static void look_at_part(const llm_part *p, llm_format own, llm_features *ret)
{
    switch (p->kind) {
    case LLM_PART_IMAGE:
        ret->images = true;
        ret->prompt_tokens += IMAGE_TOKENS;
        break;
    case LLM_PART_AUDIO:
        ret->audio = true;
        ret->prompt_tokens += IMAGE_TOKENS;
        break;
    case LLM_PART_FILE:
        ret->files = true;
        ret->prompt_tokens += FILE_TOKENS;
        break;
    case LLM_PART_TEXT:
    case LLM_PART_CALL:
    case LLM_PART_RESULT:
    case LLM_PART_THINKING:
    case LLM_PART_OPAQUE: break;
    }
    if (p->signature.p) {
        ret->opaque = true;
        ret->origin = p->origin;
    }
    ret->foreign = ret->foreign || is_foreign(p, own);
    ret->prompt_tokens += llm_estimate(p->text) + llm_estimate(p->raw);
    for (uint32_t i = 0; i < p->n_parts; i++)
        look_at_part(&p->parts[i], own, ret);
}

static void look_at_message(const llm_message *m, llm_format own, llm_features *ret)
{
    ret->prompt_tokens += MESSAGE_TOKENS;
    ret->prefill = m->role == LLM_ASSISTANT;
    sv_str first = {NULL, 0};
    for (uint32_t i = 0; i < m->n_parts; i++) {
        look_at_part(&m->parts[i], own, ret);
        if (m->parts[i].kind == LLM_PART_TEXT && first.p == NULL) first = m->parts[i].text;
    }
    if (first.p == NULL) return;
    if (m->role == LLM_SYSTEM && ret->system.p == NULL) ret->system = first;
    if (m->role != LLM_USER) return;
    if (ret->first_user.p == NULL) ret->first_user = first;
    ret->last_user = first;
}

void llm_features_of(const llm_request *q, llm_features *ret)
{
    *ret = (llm_features){.tools = q->n_tools > 0,
                          .schema = q->shape == LLM_SHAPE_SCHEMA,
                          .json = q->shape == LLM_SHAPE_JSON,
                          .stream = q->stream,
                          .messages = q->n_messages,
                          .max_tokens = q->max_tokens,
                          .origin = q->format};
    ret->thinking = q->thinking_tokens > 0 ||
                    (q->effort.p && q->thinking_tokens == 0 && !llm_is(q->effort, "none"));
    for (uint32_t i = 0; i < q->n_messages; i++)
        look_at_message(&q->messages[i], q->format, ret);
    for (uint32_t i = 0; i < q->n_tools; i++)
        ret->prompt_tokens += llm_estimate(q->tools[i].name) +
                              llm_estimate(q->tools[i].description) +
                              llm_estimate(q->tools[i].schema);
    ret->prompt_tokens += llm_estimate(q->schema);
}
