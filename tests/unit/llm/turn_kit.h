/*  turn_kit.h - a client's request sent on in another format, and an answer brought back. */
#ifndef TURN_KIT_H
#define TURN_KIT_H

#include "trace_kit.h"

/* Parses `text` for `from` and compares what `to` writes and notes. */
static inline void expect_turn(const llm_ops *from, const char *text, const llm_ops *to,
                               const llm_target *t, const char *want, const char *dropped)
{
    arena a;
    llm_request q;
    sv_error err = {0};
    char *copy = heap_copy(sv_cstr(text));
    sv_str body = {copy, (uint32_t)strlen(text)};
    arena_init(&a, 1 << 24);
    assert_int_equal(json_skim(body, 64, &err), 0);
    int rc = from->parse(body, &a, &q, &err);
    if (rc) fail_msg("%s: %s", err.field, err.message);
    expect_body(to, &q, t, want, dropped);
    arena_free(&a);
    free(copy);
}

static inline void expect_bad(const llm_ops *from, const char *text, int code, const char *field)
{
    arena a;
    llm_request q;
    sv_error err = {0};
    arena_init(&a, 1 << 24);
    assert_int_equal(from->parse(sv_cstr(text), &a, &q, &err), code);
    assert_string_equal(err.field, field);
    assert_true(err.message[0]);
    arena_free(&a);
}

typedef struct turn {
    const llm_ops *to;
    llm_writer *w;
    buf out;
} turn;

static inline int turn_sink(void *arg, const llm_event *e)
{
    turn *t = arg;
    return t->to->writer_event(t->w, e, &t->out);
}

/* Reads pieces (one whole body unless `in`) as `from`'s, and compares what the client gets. */
static inline void expect_answer(const llm_ops *from, bool in, const char *const *pieces,
                                 const llm_ops *to, const llm_writer_spec *spec, const char *want)
{
    bool done;
    sv_error err = {0};
    turn t = {.to = to, .w = to->writer_new(spec)};
    llm_reader *r = from->reader_new(in);
    assert_true(t.w && r);
    buf_init(&t.out, 1 << 26);
    for (; *pieces; pieces++)
        assert_int_equal(from->read(r, (sv_str){NULL, 0}, sv_cstr(*pieces), turn_sink, &t, &err),
                         0);
    assert_int_equal(from->read_end(r, turn_sink, &t, &done), 0);
    assert_true(done);
    assert_int_equal(to->writer_end(t.w, &t.out), 0);
    buf_putc(&t.out, 0);
    assert_string_equal(t.out.p, want);
    from->reader_free(r);
    to->writer_free(t.w);
    buf_free(&t.out);
}

#endif
