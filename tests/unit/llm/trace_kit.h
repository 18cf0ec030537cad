/*  trace_kit.h - a reader's events as lines of text, and readers fed from strings. */
#ifndef TRACE_KIT_H
#define TRACE_KIT_H

#include "error.h"
#include "llm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct trace {
    buf out;
    uint32_t fail_at; /* the sink fails at the event of this number, from 1; 0: never */
    uint32_t n;
    char id[64]; /* of the last call */
} trace;

static const char *const trace_kinds[] = {
    [LLM_START] = "START",         [LLM_TEXT] = "TEXT",       [LLM_THINKING] = "THINKING",
    [LLM_SIGNATURE] = "SIGNATURE", [LLM_OPAQUE] = "OPAQUE",   [LLM_CALL] = "CALL",
    [LLM_ARGUMENTS] = "ARGUMENTS", [LLM_REFUSED] = "REFUSED", [LLM_USAGE] = "USAGE",
    [LLM_FINISH] = "FINISH",       [LLM_FAILED] = "FAILED"};
static const char *const trace_ends[] = {
    [LLM_STOP] = "stop",        [LLM_STOP_SEQUENCE] = "sequence", [LLM_LENGTH] = "length",
    [LLM_TOOL_CALLS] = "tools", [LLM_FILTER] = "filter",          [LLM_REFUSAL] = "refusal",
    [LLM_PAUSE] = "pause",      [LLM_CONTEXT] = "context",        [LLM_OTHER] = "other"};

static int trace_sink(void *arg, const llm_event *e)
{
    trace *t = arg;
    if (++t->n == t->fail_at) return SV_E_CANCELLED;
    buf_puts(&t->out, trace_kinds[e->kind]);
    if (e->choice) buf_printf(&t->out, " #%u", e->choice);
    if (e->kind == LLM_START) buf_printf(&t->out, " %.*s %.*s", SV_FMT(e->id), SV_FMT(e->model));
    if (e->kind == LLM_CALL) {
        buf_printf(&t->out, " %d %.*s", e->index, SV_FMT(e->name));
        snprintf(t->id, sizeof t->id, "%.*s", SV_FMT(e->id));
    }
    if (e->kind == LLM_ARGUMENTS || e->kind == LLM_SIGNATURE) buf_printf(&t->out, " %d", e->index);
    if (e->kind == LLM_FINISH) buf_printf(&t->out, " %s", trace_ends[e->finish]);
    if (e->kind == LLM_FAILED) buf_printf(&t->out, " %d %.*s", e->status, SV_FMT(e->code));
    if (e->kind == LLM_USAGE)
        buf_printf(&t->out, " %lld/%lld cached %lld reasoning %lld", (long long)e->usage->prompt,
                   (long long)e->usage->completion, (long long)e->usage->cached,
                   (long long)e->usage->reasoning);
    if (e->text.n) buf_printf(&t->out, " %.*s", SV_FMT(e->text));
    return buf_putc(&t->out, '\n');
}

/* An exact copy on the heap, so that the sanitizer sees every byte read past the end. */
static inline char *heap_copy(sv_str s)
{
    char *p = malloc(s.n ? s.n : 1);
    assert_non_null(p);
    memcpy(p, s.p, s.n);
    return p;
}

/* Shows pieces (lines or events, NULL ends them) to a new reader of `ops`. */
static inline int trace_read(trace *t, const llm_ops *ops, const char *const *pieces, bool *done)
{
    sv_error err = {0};
    int rc = 0;
    llm_reader *r = ops->reader_new(true);
    assert_non_null(r);
    buf_init(&t->out, 1 << 26);
    for (; *pieces && rc == 0; pieces++) {
        char *copy = heap_copy(sv_cstr(*pieces));
        rc = ops->read(r, (sv_str){NULL, 0}, (sv_str){copy, (uint32_t)strlen(*pieces)}, trace_sink,
                       t, &err);
        free(copy);
    }
    *done = false;
    if (rc == 0) rc = ops->read_end(r, trace_sink, t, done);
    ops->reader_free(r);
    buf_putc(&t->out, 0);
    return rc;
}

/* What a reader makes of the pieces. */
static inline void expect_trace(const llm_ops *ops, const char *const *pieces, const char *want,
                                bool complete)
{
    trace t = {0};
    bool done;
    int rc = trace_read(&t, ops, pieces, &done);
    assert_int_equal(rc, 0);
    assert_string_equal(t.out.p, want);
    assert_int_equal(done, complete);
    buf_free(&t.out);
}

static inline void expect_garbage(const llm_ops *ops, const char *piece, int code)
{
    trace t = {0};
    bool done;
    assert_int_equal(trace_read(&t, ops, (const char *[]){piece, NULL}, &done), code);
    buf_free(&t.out);
}

/* The body for a provider; `dropped` is what the notes must say. */
static inline void expect_body(const llm_ops *ops, const llm_request *q, const llm_target *t,
                               const char *want, const char *dropped)
{
    buf out;
    llm_notes notes = {0};
    sv_error err = {0};
    buf_init(&out, 1 << 26);
    assert_int_equal(ops->write(q, t, &out, &notes, &err), 0);
    assert_int_equal(json_skim(buf_str(&out), 64, &err), 0);
    buf_putc(&out, 0);
    assert_string_equal(out.p, want);
    assert_string_equal(notes.dropped, dropped);
    buf_free(&out);
}

static inline void expect_refusal(const llm_ops *ops, const llm_request *q, const llm_target *t,
                                  int code, const char *field)
{
    buf out;
    sv_error err = {0};
    buf_init(&out, 1 << 26);
    assert_int_equal(ops->write(q, t, &out, NULL, &err), code);
    assert_int_equal(err.code, code);
    assert_string_equal(err.field, field);
    assert_true(err.message[0]);
    buf_free(&out);
}

#define S(text)                                                                                    \
    {                                                                                              \
        (text), sizeof(text) - 1                                                                   \
    }
#define N(list) (uint32_t)(sizeof(list) / sizeof((list)[0]))

#endif
