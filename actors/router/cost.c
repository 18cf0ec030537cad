/*  cost.c - see cost.h. */
#include "cost.h"

#include <math.h>

enum {
    SOUND_TOKENS = 10,  /* of a second of sound, where a model counts it so */
    SPEECH_TOKENS = 5,  /* that may be said in a second */
    SOUND_LEAST_MS = 1, /* of a recording with anything in it */
    THINNEST = 8        /* times longer than its bytes are estimated to be; more is not believed */
};
#define MOST      9007199254740991LL
#define HOUR_MS   3600000
#define SOUND_MAX (MOST / 1000)

static int64_t at_most(int64_t n, int64_t most)
{
    return n < 0 ? 0 : n < most ? n : most;
}

/* ---- the request ---- */

/* Whatever is no whole number is as many as there may be: some providers take 1e1 and "10". */
static int64_t answers_of(json_value v)
{
    int64_t n = COST_ANSWERS;
    if (v.type == JSON_NONE || v.type == JSON_NULL) return 1;
    if (json_int(v, &n)) return COST_ANSWERS;
    return n < 1 ? 1 : at_most(n, COST_ANSWERS);
}

static void read_answer_most(json_value root, cost_ask *ret)
{
    static const char *const names[] = {"max_tokens", "max_completion_tokens", "max_output_tokens"};
    double n;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (json_number(json_get(root, names[i]), &n) == 0 && n > (double)ret->answer_most)
            ret->answer_most = n < INT32_MAX ? (int64_t)ceil(n) : INT32_MAX;
}

static sv_str word_of(json_value root, const char *name)
{
    json_value v = json_get(root, name);
    if (v.type != JSON_STRING || json_string_is(v, "auto") || json_string_is(v, "standard"))
        return (sv_str){NULL, 0};
    return (sv_str){v.raw.p + 1, v.raw.n - 2};
}

void cost_read_body(sv_str body, cost_ask *ret)
{
    json_value root;
    ret->answers = 1;
    if (ret->kind == COST_SOUND) {
        ret->sound_ms = (int64_t)body.n * 1000 / COST_SOUND_BYTES;
        return;
    }
    root = json_root(body);
    if (ret->kind == COST_ANSWER || ret->kind == COST_PICTURES)
        ret->answers = answers_of(json_get(root, "n"));
    if (ret->kind == COST_ANSWER) read_answer_most(root, ret);
    if (ret->kind != COST_PICTURES) return;
    ret->size = word_of(root, "size");
    ret->quality = word_of(root, "quality");
}

/* ---- the answer ---- */

static int64_t count_of(json_value object, const char *name, const char *other, bool *told)
{
    int64_t n = 0;
    json_value v = json_get(object, name);
    if (v.type != JSON_NUMBER) v = json_get(object, other);
    if (json_int(v, &n) || n < 0) return 0;
    *told = true;
    return at_most(n, MOST);
}

static void read_tokens(json_value usage, tokens *t)
{
    bool ignored;
    json_value in = json_get(usage, "prompt_tokens_details");
    if (in.type != JSON_OBJECT) in = json_get(usage, "input_tokens_details");
    t->prompt = count_of(usage, "prompt_tokens", "input_tokens", &t->known);
    t->completion = count_of(usage, "completion_tokens", "output_tokens", &t->known);
    t->cached = at_most(count_of(in, "cached_tokens", "cached_tokens", &ignored), t->prompt);
}

static void read_length(const cost_ask *q, json_value root, json_value usage, cost_use *u)
{
    static const char *const names[] = {"seconds", "prompt_audio_seconds"};
    double s = 0;
    if (json_number(json_get(root, "duration"), &s)) s = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!(s > 0) && json_number(json_get(usage, names[i]), &s)) s = 0;
    if (!(s > 0) || s * 1000 > (double)q->sound_ms * THINNEST) return;
    u->sound_ms = (int64_t)ceil(s * 1000);
}

void cost_read_answer(const cost_ask *q, sv_str json, cost_use *ret)
{
    json_value root = {.type = JSON_NONE}, usage, one, list;
    size_t at = 0;
    *ret = (cost_use){.done = true};
    if (json.n) root = json_root(json);
    usage = json_get(root, "usage");
    read_tokens(usage, &ret->tokens);
    if (q->kind == COST_SOUND) read_length(q, root, usage, ret);
    if (q->kind == COST_PICTURES) {
        list = json_get(root, "data");
        while (list.type == JSON_ARRAY && json_next_element(list, &at, &one))
            ret->pictures++;
    }
    if (ret->tokens.known) return;
    if (q->kind == COST_SOUND && ret->sound_ms == 0) {
        ret->sound_ms = q->sound_ms > 0 ? q->sound_ms : SOUND_LEAST_MS;
        ret->tokens.estimated = true;
    }
    if (q->kind == COST_PROMPT || q->kind == COST_CALL)
        ret->tokens = (tokens){.estimated = true, .prompt = q->prompt};
}

/* ---- prices ---- */

static bool is(sv_str said, const char *of, const char *first)
{
    return said.n ? sv_str_is(said, of) : strcmp(of, first) == 0;
}

/* The first entry is that of a request that says nothing; what has no entry costs like the dearest. */
static int64_t picture(const model_price *p, const cost_ask *q)
{
    int64_t dearest = 0;
    for (uint32_t i = 0; i < p->n_pictures; i++) {
        const model_picture *one = &p->pictures[i];
        if (is(q->size, one->size, p->pictures[0].size) &&
            is(q->quality, one->quality, p->pictures[0].quality))
            return one->price;
        if (one->price > dearest) dearest = one->price;
    }
    return dearest;
}

static int64_t times(int64_t n, int64_t price, int64_t per)
{
    __int128 sum = ((__int128)n * price + per - 1) / per;
    return sum < MOST ? (int64_t)sum : MOST;
}

/* Of models that count sound in tokens and have not told how many. */
static tokens sound_tokens(int64_t ms)
{
    int64_t seconds = at_most(ms, SOUND_MAX) / 1000 + 1;
    return (tokens){
        .known = true, .prompt = seconds * SOUND_TOKENS, .completion = seconds * SPEECH_TOKENS};
}

static tokens picture_tokens(const model_info *m, const cost_ask *q, int64_t pictures)
{
    int64_t one = m->output_most ? at_most(m->output_most, INT32_MAX) : COST_TOKENS_UNSAID;
    return (tokens){.known = true, .prompt = q->prompt, .completion = pictures * one};
}

static int64_t answer_tokens(const model_info *m, const cost_ask *q)
{
    int64_t one = q->answer_most, own = m->output_most;
    if (one == 0) one = own && own < COST_TOKENS_UNSAID ? own : COST_TOKENS_UNSAID;
    return q->answers * one;
}

/* A whole answer without figures of its provider. */
static bool cost_of_pieces(const model_info *m, const cost_ask *q, const cost_use *u, int64_t *ret)
{
    const model_price *p = &m->price;
    tokens t;
    if (q->kind == COST_PICTURES && p->n_pictures) {
        *ret = times(u->pictures, picture(p, q), 1);
    } else if (q->kind == COST_SOUND && p->by_hour) {
        *ret = times(at_most(u->sound_ms, SOUND_MAX), p->hour, HOUR_MS);
    } else if (q->kind >= COST_PICTURES && p->by_call) {
        *ret = p->call;
    } else if (p->known && (q->kind == COST_SOUND || q->kind == COST_PICTURES)) {
        t = q->kind == COST_SOUND ? sound_tokens(u->sound_ms) : picture_tokens(m, q, u->pictures);
        *ret = model_cost(p, &t);
    } else {
        return false;
    }
    return true;
}

bool cost_paid(const model_info *m, const cost_ask *q, const cost_use *u, int64_t *ret_micro)
{
    const tokens *t = &u->tokens;
    bool told = t->known || (t->estimated && q->kind != COST_SOUND);
    *ret_micro = 0;
    if (!m->price.known || !told) return u->done && cost_of_pieces(m, q, u, ret_micro);
    *ret_micro = model_cost(&m->price, t);
    return true;
}

bool cost_most(const model_info *m, const cost_ask *q, int64_t *ret_micro, int64_t *ret_tokens)
{
    cost_use u = {.done = true, .pictures = q->answers, .sound_ms = q->sound_ms};
    tokens t = {.known = true, .prompt = q->prompt};
    switch (q->kind) {
    case COST_ANSWER: t.completion = answer_tokens(m, q); break;
    case COST_PICTURES:
        if (m->price.known) t = picture_tokens(m, q, q->answers);
        break;
    case COST_SOUND: t = m->price.known ? sound_tokens(q->sound_ms) : (tokens){0}; break;
    case COST_PROMPT:
    case COST_CALL: break;
    }
    u.tokens = t;
    *ret_tokens = at_most(t.prompt, MOST / 2) + at_most(t.completion, MOST / 2);
    return cost_paid(m, q, &u, ret_micro);
}
