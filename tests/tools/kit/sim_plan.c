/*  sim_plan.c - what an answer says before it is written: its parts, why it ends and what it costs.
 *  Life and death of sim_answer. */
#include "sim_answer.h"
#include "sim_schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BIG_EVENT = 2 << 20, OVERSIZED = 32 << 20, TOKEN_BYTES = 4096, LITERAL = 12 };

const sim_ops *sim_ops_of(sim_format f)
{
    switch (f) {
    case SIM_OPENAI: return &sim_openai_ops;
    case SIM_TEXT: return &sim_text_ops;
    case SIM_RESPONSES: return &sim_responses_ops;
    case SIM_ANTHROPIC: return &sim_anthropic_ops;
    case SIM_GEMINI: return &sim_gemini_ops;
    case SIM_OLLAMA: return &sim_ollama_ops;
    }
    return &sim_openai_ops;
}

static sim_part *add_part(sim_answer *a, sim_kind kind)
{
    sim_part *p = &a->parts[a->n_parts];
    p->kind = kind;
    p->index = a->n_parts++;
    return p;
}

static void set_text(sim_part *p, char *text)
{
    p->text = text ? text : strdup("");
    p->n = strlen(p->text);
}

static void plan_thinking(sim_answer *a)
{
    sim_part *p = add_part(a, SIM_THINKING);
    p->tokens = a->b.thinking;
    buf text;
    buf_init(&text, SIZE_MAX / 2);
    sim_put_part(a, p, &text); /* made-up tokens need no escapes */
    sim_sign("thinking", text.p ? text.p : "", text.n, p->signature);
    buf_free(&text);
    a->reasoning = p->tokens;
}

static void plan_words(sim_answer *a)
{
    const sim_request *r = a->req;
    char *literal = NULL;
    if (a->b.echo == SIM_ECHO_ALL)
        literal = sim_understood(r);
    else if (a->b.echo)
        literal = strdup(sim_last_user(r));
    else if (r->schema) {
        json_t *v = sim_fill(json_is_object(r->schema) ? r->schema : NULL);
        literal = json_dumps(v, JSON_COMPACT);
        json_decref(v);
    }
    if (!literal && a->b.tokens == 0) return;
    sim_part *p = add_part(a, SIM_WORDS);
    p->tokens = a->b.tokens;
    if (literal) {
        set_text(p, literal);
        p->tokens = (int64_t)(p->n + LITERAL - 1) / LITERAL;
    }
    bool limited = a->b.fault != SIM_endless && a->b.fault != SIM_oversized;
    if (r->max_tokens && p->tokens > r->max_tokens && limited) {
        p->tokens = r->max_tokens;
        if (p->text) p->n = (size_t)p->tokens * LITERAL;
        while (p->text && p->n && ((unsigned char)p->text[p->n] & 0xc0) == 0x80)
            p->n--;
        snprintf(a->finish, sizeof a->finish, "length");
    }
    a->out += p->tokens;
}

static const json_t *chosen_tool(const sim_request *r, int64_t i)
{
    size_t n = json_array_size(r->tools);
    for (size_t k = 0; k < n; k++) {
        const json_t *t = json_array_get(r->tools, k);
        if (strcmp(json_string_value(json_object_get(t, "name")), r->choice) == 0) return t;
    }
    return json_array_get(r->tools, (size_t)i % n);
}

static void plan_call(sim_answer *a, int64_t i)
{
    static const char *const prefix[] = {"call_sim",  "call_sim", "call_sim",
                                         "toolu_sim", "fc_sim",   "call_sim"};
    const json_t *t = chosen_tool(a->req, i);
    sim_part *p = add_part(a, SIM_CALL);
    p->call = a->n_calls++;
    snprintf(p->name, sizeof p->name, "%s",
             a->b.badtools == 2 ? "no_such_tool" : json_string_value(json_object_get(t, "name")));
    snprintf(p->id, sizeof p->id, "%s_%llu_%lld", prefix[a->req->format],
             (unsigned long long)a->number, (long long)i);
    json_t *args = sim_fill(json_object_get(t, "schema"));
    char *text = json_dumps(args, JSON_COMPACT);
    json_decref(args);
    if (a->b.badtools == 1 && text && text[0]) text[strlen(text) - 1] = ',';
    set_text(p, text);
    a->out += (int64_t)p->n / LITERAL + 1;
    buf what;
    buf_init(&what, 4096);
    buf_puts(&what, p->name);
    sim_sign("call", what.p ? what.p : "", what.n, p->signature);
    buf_free(&what);
}

static void plan_parts(sim_answer *a)
{
    const sim_request *r = a->req;
    bool forced = strcmp(r->choice, "auto") != 0 && strcmp(r->choice, "none") != 0;
    int64_t calls = a->b.tools == 0 && forced ? 1 : a->b.tools;
    if (json_array_size(r->tools) == 0 || strcmp(r->choice, "none") == 0) calls = 0;
    if (r->after_tool && !forced && !a->b.tools_again) calls = 0;
    if (calls > 1 && r->one_call) calls = 1;
    if (a->b.fault == SIM_empty) return;
    if (a->b.thinking && r->thinks) plan_thinking(a);
    /* Where a call is forced, Anthropic's models say nothing before it. */
    if (r->format != SIM_ANTHROPIC || !forced || calls == 0) plan_words(a);
    for (int64_t i = 0; i < calls && !a->finish[0] && i < SIM_CALLS; i++)
        plan_call(a, i);
}

void sim_answer_start(sim_answer *a, const sim_behaviour *b, const sim_request *r, uint64_t number)
{
    memset(a, 0, sizeof *a);
    a->b = *b;
    a->req = r;
    a->ops = sim_ops_of(r->format);
    a->stream = r->stream && b->fault != SIM_nostream;
    a->number = number;
    buf_init(&a->model, 4096);
    buf_init(&a->fixed, SIZE_MAX / 2);
    buf_init(&a->json, SIZE_MAX / 2);
    buf_init(&a->piece, SIZE_MAX / 2);
    buf_init(&a->events, SIZE_MAX / 2);
    buf_init(&a->prefix, SIZE_MAX / 2);
    buf_json_escape(&a->model, sv_cstr(r->model));
    buf_putc(&a->model, 0);
    if (b->size == 0) a->b.size = b->fault == SIM_bigevent ? BIG_EVENT : OVERSIZED;
    if (b->fault == SIM_oversized) a->b.tokens = a->b.size / TOKEN_BYTES + 1;
    if (b->fault == SIM_endless) a->b.tokens = INT64_MAX;
    if (b->fault == SIM_html && b->status == 0) a->b.status = 502;
    if (r->ask == SIM_CHAT) plan_parts(a);
    a->in = b->prompt;
    if (b->reasoning) a->reasoning = b->reasoning;
    if (a->out < INT64_MAX / 2) a->out += a->reasoning;
    if (b->finish[0])
        snprintf(a->finish, sizeof a->finish, "%s", b->finish);
    else if (!a->finish[0])
        snprintf(a->finish, sizeof a->finish, "%s", a->n_calls ? "tool" : "stop");
}

void sim_answer_end(sim_answer *a)
{
    for (int i = 0; i < a->n_parts; i++)
        free(a->parts[i].text);
    buf_free(&a->model);
    buf_free(&a->fixed);
    buf_free(&a->json);
    buf_free(&a->piece);
    buf_free(&a->events);
    buf_free(&a->prefix);
    a->n_parts = 0;
}
