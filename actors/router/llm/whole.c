/*  whole.c - pieces of one kind that follow each other in a choice become one block. */
#include "whole.h"

#include "error.h"
#include "parse.h"

#include <stdlib.h>

enum { FIRST_BLOCKS = 8 };

void llm_whole_init(llm_whole *w)
{
    *w = (llm_whole){.n_choices = 1};
    buf_init(&w->stop_sequence, LLM_WHOLE_BYTES);
}

void llm_whole_free(llm_whole *w)
{
    for (uint32_t i = 0; i < w->n; i++) {
        llm_block *b = &w->blocks[i];
        buf_free(&b->text);
        buf_free(&b->id);
        buf_free(&b->name);
        buf_free(&b->signature);
    }
    free(w->blocks);
    buf_free(&w->stop_sequence);
    *w = (llm_whole){0};
}

static llm_block *add_block(llm_whole *w, const llm_event *e, llm_event_kind kind)
{
    if (w->n == w->cap) {
        uint32_t cap = w->cap ? 2 * w->cap : FIRST_BLOCKS;
        llm_block *blocks = realloc(w->blocks, cap * sizeof *blocks);
        if (blocks == NULL) return NULL;
        w->blocks = blocks;
        w->cap = cap;
    }
    llm_block *b = &w->blocks[w->n++];
    *b = (llm_block){.kind = kind, .choice = e->choice, .index = e->index, .origin = e->origin};
    buf_init(&b->text, LLM_WHOLE_BYTES);
    buf_init(&b->id, LLM_WHOLE_BYTES);
    buf_init(&b->name, LLM_WHOLE_BYTES);
    buf_init(&b->signature, LLM_WHOLE_BYTES);
    w->last[e->choice] = w->n;
    return b;
}

static llm_block *last_block(llm_whole *w, uint32_t choice)
{
    return w->last[choice] ? &w->blocks[w->last[choice] - 1] : NULL;
}

static llm_block *call_of(llm_whole *w, uint32_t choice, int32_t index)
{
    for (uint32_t i = w->n; i > 0; i--) {
        llm_block *b = &w->blocks[i - 1];
        if (b->kind == LLM_CALL && b->choice == choice && b->index == index) return b;
    }
    return NULL;
}

/* The block that a piece belongs to; *ret stays NULL for a call that never began. */
static int find_block(llm_whole *w, const llm_event *e, llm_block **ret)
{
    llm_block *last = last_block(w, e->choice);
    llm_event_kind kind = e->kind;
    if (kind == LLM_ARGUMENTS || (kind == LLM_SIGNATURE && e->index >= 0)) {
        *ret = call_of(w, e->choice, e->index);
        return 0;
    }
    if (kind == LLM_SIGNATURE) {
        kind = LLM_THINKING; /* a signature without words has a block of its own */
        if (last && last->kind == kind && last->signature.n == 0) *ret = last;
    } else if (last && last->kind == kind && kind != LLM_OPAQUE && kind != LLM_CALL &&
               last->signature.n == 0) {
        *ret = last;
    }
    if (*ret) return 0;
    if (w->n == LLM_WHOLE_BLOCKS) return SV_E_PROVIDER_TOO_LARGE;
    *ret = add_block(w, e, kind);
    return *ret ? 0 : SV_E_NO_MEMORY;
}

static int take_piece(llm_whole *w, const llm_event *e)
{
    llm_block *b = NULL;
    w->bytes += (size_t)e->text.n + e->id.n + e->name.n;
    if (w->bytes > LLM_WHOLE_BYTES) return SV_E_PROVIDER_TOO_LARGE;
    int rc = find_block(w, e, &b);
    if (rc || b == NULL) return rc;
    if (e->kind == LLM_ARGUMENTS && b->text.n + e->text.n > LLM_ARGUMENTS_BYTES)
        return SV_E_PROVIDER_TOO_LARGE;
    if (e->kind == LLM_SIGNATURE) {
        b->origin = e->origin;
        return buf_put(&b->signature, e->text.p, e->text.n);
    }
    if (e->kind != LLM_CALL) return buf_put(&b->text, e->text.p, e->text.n);
    rc = buf_put(&b->id, e->id.p, e->id.n);
    return rc ? rc : buf_put(&b->name, e->name.p, e->name.n);
}

int llm_whole_event(llm_whole *w, const llm_event *e)
{
    if (e->choice >= LLM_CHOICES) return SV_E_PROVIDER_TOO_LARGE;
    if (e->kind != LLM_USAGE && e->choice >= w->n_choices) w->n_choices = e->choice + 1;
    switch (e->kind) {
    case LLM_START:
    case LLM_FAILED: return 0;
    case LLM_USAGE: w->usage = *e->usage; return 0;
    case LLM_FINISH:
        w->finish[e->choice] = e->finish;
        buf_reset(&w->stop_sequence, LLM_WHOLE_BYTES);
        return buf_put(&w->stop_sequence, e->text.p, e->text.n);
    case LLM_TEXT:
    case LLM_THINKING:
    case LLM_SIGNATURE:
    case LLM_OPAQUE:
    case LLM_CALL:
    case LLM_ARGUMENTS:
    case LLM_REFUSED: return take_piece(w, e);
    }
    return 0;
}

bool llm_is_thinking(const llm_event *e)
{
    return e->kind == LLM_THINKING || e->kind == LLM_OPAQUE ||
           (e->kind == LLM_SIGNATURE && e->index < 0);
}

bool llm_whole_has(const llm_whole *w, uint32_t choice, llm_event_kind kind)
{
    for (uint32_t i = 0; i < w->n; i++)
        if (w->blocks[i].choice == choice && w->blocks[i].kind == kind) return true;
    return false;
}

bool llm_has_tokens(const tokens *t)
{
    return t->known || t->estimated;
}

/* ---- what readers share ---- */

static int64_t at_most(int64_t n, int64_t limit)
{
    return n < limit ? n : limit;
}

void llm_bound_tokens(tokens *t)
{
    t->cached = at_most(t->cached, t->prompt);
    t->cache_write = at_most(t->cache_write, t->prompt - t->cached);
    t->cache_write_1h = at_most(t->cache_write_1h, t->cache_write);
    t->reasoning = at_most(t->reasoning, t->completion);
}

int llm_read_object(sv_str data, json_value *root, sv_error *err)
{
    sv_error why = {0};
    int rc = json_skim(data, LLM_DEPTH, &why);
    if (rc == SV_E_NO_MEMORY) return sv_fail(err, rc, NULL, NULL);
    if (rc) {
        sv_fail(err, SV_E_PROVIDER_GARBAGE, NULL, NULL);
        sv_error_detail(err, "%s", why.message);
        return SV_E_PROVIDER_GARBAGE;
    }
    *root = json_root(data);
    if (root->type == JSON_OBJECT) return 0;
    sv_fail(err, SV_E_PROVIDER_GARBAGE, NULL, NULL);
    sv_error_detail(err, "the answer is no JSON object");
    return SV_E_PROVIDER_GARBAGE;
}

static int status_of(llm_failure_kind kind)
{
    switch (kind) {
    case LLM_FAIL_REQUEST:
    case LLM_FAIL_CONTEXT:
    case LLM_FAIL_POLICY:
    case LLM_FAIL_PREFILL: return 400;
    case LLM_FAIL_KEY: return 401;
    case LLM_FAIL_BILLING: return 402;
    case LLM_FAIL_MODEL: return 404;
    case LLM_FAIL_RATE: return 429;
    case LLM_FAIL_OVERLOAD: return 503;
    case LLM_FAIL_SERVER:
    case LLM_FAIL_OTHER: return 500;
    }
    return 500;
}

int llm_read_failure(llm_format provider, sv_str data, buf *scratch, llm_sink *sink, void *arg)
{
    llm_failure f;
    llm_failure_read(provider, 0, data, &f);
    buf_reset(scratch, LLM_WHOLE_BYTES);
    buf_json_escape(scratch, sv_cstr(f.message));
    size_t words = scratch->n;
    int rc = buf_json_escape(scratch, sv_cstr(f.code));
    if (rc) return rc;
    llm_event e = {.kind = LLM_FAILED,
                   .text = {scratch->p, (uint32_t)words},
                   .code = {scratch->p + words, (uint32_t)(scratch->n - words)},
                   .status = f.status ? f.status : status_of(f.kind)};
    return sink(arg, &e);
}
