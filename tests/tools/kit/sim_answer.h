/*  sim_answer.h - the bytes of one answer of the simulated provider, piece by piece.
 *  The server asks for the next piece whenever the last one is written and its time has come. What
 *  the answer says is a list of parts (thinking, text, tool calls); how a format writes them are
 *  its sim_ops.
 *  Thread: one.   Ownership: the request is borrowed until sim_answer_end.   Errors: none. */
#ifndef KIT_SIM_ANSWER_H
#define KIT_SIM_ANSWER_H

#include "buf.h"
#include "sim_request.h"

enum { SIM_CALLS = 16 };

typedef enum sim_after {
    SIM_GO_ON,  /* ask again after `wait_ms` */
    SIM_KEEP,   /* the answer is complete; the connection may be used again */
    SIM_CLOSE,  /* close when everything is written */
    SIM_RESET,  /* reset when everything is written */
    SIM_SILENCE /* never send anything again */
} sim_after;

typedef enum sim_phase { SIM_START, SIM_HEAD, SIM_BEGIN, SIM_PARTS, SIM_TAIL } sim_phase;

typedef enum sim_kind { SIM_THINKING, SIM_WORDS, SIM_CALL } sim_kind;

typedef struct sim_part {
    sim_kind kind;
    int index;      /* among the parts */
    int call;       /* among the calls */
    int64_t tokens; /* that are made up, when `text` is NULL */
    char *text;
    size_t n;
    char name[96], id[48], signature[64];
} sim_part;

typedef struct sim_answer {
    sim_behaviour b;
    const sim_request *req;
    const struct sim_ops *ops;
    bool stream, opened, paused, spoil;
    uint64_t number; /* of the request, part of the answer's id */
    sim_phase phase;
    int64_t token; /* pieces sent, thinking not counted: what `at` means */
    sim_part parts[SIM_CALLS + 2];
    int n_parts, n_calls, part;
    int64_t made; /* tokens, or bytes of a text, of the part that are sent */
    int64_t in, out, reasoning;
    char finish[64];
    buf model; /* JSON-escaped */
    buf fixed; /* the whole body of answers that are no completions */
    buf json, piece, events, prefix;
    int64_t sequence; /* of events, where a format counts them */
} sim_answer;

typedef struct sim_ops {
    const char *stream_type;
    bool whole_calls; /* a call is one event */
    void (*begin)(sim_answer *a, buf *out);
    void (*open)(sim_answer *a, buf *out, sim_part *p);
    void (*delta)(sim_answer *a, buf *out, sim_part *p); /* of a->piece */
    void (*close)(sim_answer *a, buf *out, sim_part *p);
    void (*end)(sim_answer *a, buf *out);
    void (*marker)(sim_answer *a, buf *out); /* what noend leaves out */
    void (*plain)(sim_answer *a, buf *out);
    void (*error)(const sim_failure *f, uint64_t number, buf *out);
    void (*error_event)(sim_answer *a, buf *out);
} sim_ops;

extern const sim_ops sim_openai_ops, sim_text_ops, sim_responses_ops, sim_anthropic_ops,
    sim_gemini_ops, sim_ollama_ops;
const sim_ops *sim_ops_of(sim_format f);

/* A completion, as `b` says; a->fixed may be filled afterwards for what is none. */
void sim_answer_start(sim_answer *a, const sim_behaviour *b, const sim_request *r, uint64_t number);
void sim_answer_end(sim_answer *a);
/* Appends the next piece to `out`. */
sim_after sim_answer_next(sim_answer *a, buf *out, uint64_t *wait_ms);
/* A whole answer that refuses: head and body in the format's own shape. */
void sim_failed(const sim_request *r, const sim_behaviour *b, const sim_failure *f, uint64_t number,
                buf *out);

/* ---- for the formats ---- */

/* a->json becomes an event; `name` may be NULL. */
void sim_event(sim_answer *a, buf *out, const char *name);
/* The whole of a part, as the inside of a JSON string. */
void sim_put_part(sim_answer *a, const sim_part *p, buf *out);
/* A call's arguments as a JSON value (text, when they are to be broken). */
void sim_put_args(sim_answer *a, const sim_part *p, buf *out);
/* The first part of a kind, or NULL. */
sim_part *sim_part_of(sim_answer *a, sim_kind kind);

#endif
