/*  relay.h - the inside of router.complete: a relay is one call being answered, a leg one provider
 *  being called for it.
 *
 *  complete.c    takes a call: what is asked and who may answer it
 *  spend.c       what it may cost, and the budgets that are asked for that
 *  course.c      which leg comes next: retries, further candidates, hedges, races
 *  leg.c         one transfer: its request, its clocks, its end
 *  leg_read.c    what comes of it: events watched as they pass, or translated
 *  deliver.c     what the client gets: head, bytes, errors, the last frame
 *
 *  Legs run at the same time only in races and hedges. The first leg with content is the winner: the
 *  others are cancelled and what it holds back is sent. Until then every failure is invisible, and what
 *  the provider has sent waits in the leg (HELD_MAX). Afterwards a failure is an error event in the
 *  client's format, and nothing that looks like an end follows it.
 *
 *  Every leg goes through leg_settle once, which counts it and hands it to the ledger; every relay
 *  through relay_conclude once, which ends the call: at once, or, where the ledger is strict, when the
 *  winner is on disk. Until then the last frame is held back: the whole answer, or the end marker and
 *  the REPLY. When the leg cannot be kept, the answer is an error.
 *
 *  Thread: the loop's.   Ownership: the relay owns its legs; a leg's transfer never outlives the call. */
#ifndef ROUTER_RELAY_H
#define ROUTER_RELAY_H

#include "answer.h"
#include "attempt.h"
#include "budget.h"
#include "calls.h"
#include "cost.h"
#include "decision.h"
#include "embed.h"
#include "line_scan.h"
#include "router.h"
#include "sse_scan.h"

#include "error.h"
#include "sv_limits.h"
#include "uuid.h"

enum {
    PENDING_MAX = 64 << 10, /* bytes waiting for the client before its provider is held back */
    FIRST_BYTES = 48 << 10, /* that still travel with the head */
    HELD_MAX = 64 << 10,    /* that a leg holds back before it has content */
    HEDGE_BURST = 10,       /* second calls that may come at once */
    RACE_MOST = 4,          /* legs at once that a request may ask for */
    SAID_MAX = 256 << 10    /* text kept for a continuation; a longer answer has none */
};

/* How a leg's bytes become the client's. */
typedef enum leg_way {
    LEG_PASS,      /* they are the client's format already */
    LEG_TRANSLATE, /* by reader and writer */
    LEG_EMBED,     /* embeddings of another format */
    LEG_RAW        /* passed whole and not looked at: images, moderations, transcriptions */
} leg_way;

typedef struct relay relay;
typedef struct relay_shares relay_shares;

typedef struct leg {
    relay *relay;
    struct leg *next; /* in order of their beginning */
    uint32_t place;   /* of the candidate in the plan */
    const candidate *who;
    uint32_t key;
    leg_way way;
    llm_format format; /* the provider speaks it here */
    const llm_ops *ops;
    bool hedge, continues;
    budget_hold *hold;     /* of its own; NULL: the relay's is for it */
    budget_wait own_wait;  /* for its provider's own limits: it is not called yet */
    budget_hold *own_hold; /* of these */
    llm_notes notes;
    buf body; /* the request's, when it is not the client's own */
    http_transfer *transfer;
    uint32_t upstream; /* slot, while `counted` */
    bool counted;
    health_entry *health;
    bool probe, ailing; /* health_end is due */
    /* the answer */
    int status;
    char content_type[LIMIT_CONTENT_TYPE_BYTES + 1], upstream_id[129];
    uint32_t retry_after_ms;
    bool events; /* goes through a scanner */
    buf collected;
    sse_scan sse;
    line_scan lines;
    llm_reader *reader;
    llm_writer *writer; /* translating: the relay's from the moment the leg has won */
    buf made;           /* translated and not handed on yet */
    char stop_sequence[128];
    buf held; /* for the client, before the leg has content */
    bool saw_event, content, tools, finished, done, error_seen, tail_set;
    uint64_t begun, ended; /* choices of a stream, as chunk has them */
    bool empty;            /* complete, and nothing in it: taken when nobody else is left */
    calls calls;
    bool bad_tools;
    char answered[129]; /* the model's name as the answer has it; "": it does not say */
    buf kept;           /* text of the answer, when prompts are logged */
    llm_finish finish;
    tokens tokens;
    int64_t pictures, sound_ms;    /* of an answer that is no text */
    size_t text_bytes, tail_bytes; /* of the answer, for estimates; as the tail's clock began */
    char answer_id[80];            /* inside of a JSON string */
    bool usage_passed;
    int stop_code; /* why the scanner was stopped */
    bool early_error;
    llm_failure failure;
    loop_timer first, tail; /* clocks: the first content; after the end of the answer */
    uint64_t started_us, first_us, first_byte_us;
    sv_id id;
    size_t body_n;      /* of the request that is sent */
    bool sent;          /* all of it, when the transfer was ended from here */
    bool settled, over; /* `over`: kept for its figures only */
} leg;

/* How the call is answered. */
typedef enum ending {
    END_OPEN,
    END_WHOLE,  /* with `whole` and end_status */
    END_REFUSE, /* with end_code and words */
    END_STREAM  /* with the REPLY, after an error event or the end marker where they belong */
} ending;

struct relay {
    router *router;
    sv_call *call;
    const router_complete_req *q;
    sv_str body;
    plan_op op;
    const llm_ops *client;
    bool stream, all; /* `all`: every leg's answer counts */
    const char *path; /* of an endpoint that is passed as it is: "/images/generations" */
    /* what is asked */
    bool parsed;
    const sv_error *unread; /* why not */
    sv_str key_id;          /* of the caller's API key */
    llm_request request;
    llm_features features;
    embed_request embed;
    plan_ask ask;
    int64_t answers; /* that are asked for: "n" */
    plan plan;
    model_info infos[PLAN_MOST]; /* of the plan: the file may be read again meanwhile */
    /* what it may cost */
    cost_ask cost;
    relay_shares *shares; /* NULL: no budget is about a model */
    void (*taken)(void *arg, int code, budget_hold *hold, const sv_error *err);
    budget_wait budget;
    budget_hold *hold;
    int64_t micro, used_tokens;
    int64_t paid;         /* of `micro`: with the platform's keys, and from `hold` */
    tenants_wait tenants; /* until the caller's own providers are known */
    bool priced;          /* every leg so far has a price */
    /* the course */
    leg *legs, *winner;
    uint32_t made;            /* legs begun */
    uint32_t place, key;      /* candidate that is tried now; the key, while a budget is awaited */
    uint8_t tries[PLAN_MOST]; /* of each candidate */
    uint8_t dead[PLAN_MOST];  /* bits: its keys that were refused */
    uint8_t limited[PLAN_MOST]; /* bits: its keys that answered 429 since the last pause */
    loop_timer pause, hedge_timer;
    int64_t larger_than; /* only candidates with more context than this */
    leg *failed;         /* the last one that was called in vain, and why */
    int failed_code;
    sv_error failed_words;
    int first_code; /* of a committed answer that is being continued */
    leg *broken;    /* that had begun it */
    sv_error first_words;
    uint64_t started_us, first_us;
    bool log_prompt;
    decision *decision; /* NULL: none is kept */
    char decision_id[UUID_TEXT + 1];
    int outcome; /* of the whole, for the decision's record */
    /* delivery */
    llm_writer *writer;
    buf said; /* text so far, inside of a JSON string: for a continuation */
    bool said_all;
    bool head_sent, client_gone;
    buf whole; /* an answer that is sent in one piece */
    char whole_type[LIMIT_CONTENT_TYPE_BYTES + 1];
    buf last; /* the last frame, held back */
    ledger_item *wait;
    ending ending;
    int end_status, end_code;
    bool say_error;
    const sv_error *words;
    int lost;
    const sv_error *lost_words;
};

/* spend.c */
typedef budget_wait_done spend_done;
/* r->cost and r->answers, also of a request that could not be read here. */
void spend_read(relay *r);
/* The most that the request can cost, into r->hold. As budget_take; done's `arg` is the relay. */
int spend_take(relay *r, spend_done *done, sv_error *err);
/* A leg of that hold has ended; and all of them. */
void spend_paid(leg *l, int64_t micro, int64_t used);
void spend_settle(relay *r);
/* The same of one call more, of this candidate, beside another or to continue its answer. */
int spend_take_further(relay *r, uint32_t place, spend_done *done, budget_hold **ret,
                       sv_error *err);

/* What the leg's provider may have by limits of its own, into l->own_hold; done's `arg` is the leg. */
int spend_take_own(leg *l, spend_done *done, sv_error *err);
/* Names the provider in a refusal of those. */
void spend_word_own(const leg *l, sv_error *err);

/* course.c */
/* Begins the first leg or legs. 0 or an error, then nothing was begun. */
int course_begin(relay *r, sv_error *err);
/* The leg has content: true when it is the winner, then the others are gone. */
bool course_content(leg *l);
/* The leg ended without an answer; `code` of errors.def, `why` may be NULL. It is settled by this. */
void course_failed(leg *l, int code, const sv_error *why);
/* The leg's answer is complete. */
void course_complete(leg *l);
void course_stop(relay *r);
/* The leg's provider is called now. */
void course_called(leg *l);
/* It is not: its own limits say so (`code`), or it cannot be. The leg is gone. */
void course_passed_over(relay *r, uint32_t place, int code, const sv_error *why);

/* leg.c */
typedef struct leg_start {
    uint32_t place, key;
    bool hedge;
    budget_hold *hold; /* taken in any case */
} leg_start;
/* Its provider is called, or will be when its own limits allow it. */
int leg_begin(relay *r, const leg_start *s, leg **ret, sv_error *err);
/* The call of the provider is over, with outcome `code`; `ask_kept`: the relay waits for the row. */
void leg_settle(leg *l, int code, bool ask_kept);
/* Ends the transfer. What is left are figures. */
void leg_stop(leg *l);
void leg_free(leg *l);
/* Tokens that the provider did not tell are counted from the text. */
void leg_estimate(leg *l);
const char *leg_finish_name(llm_finish f); /* "stop", "length", ... */
/* Is it the same format on both sides? */
bool leg_passes(const relay *r, const candidate *c);

/* leg_read.c */
int leg_read_begin(leg *l, sv_error *err);
/* Bytes of a stream. False: the leg or the relay has ended. */
bool leg_read_bytes(leg *l, sv_str bytes);
/* The transfer ended: of a stream, of a whole answer. */
void leg_read_end(leg *l, int code, const sv_error *why);
void leg_read_whole(leg *l);
/* The answer is as complete as it will get: what its format says at the end. */
void leg_read_close(leg *l);

/* deliver.c */
/* Bytes for the client: sends them, or keeps them with the leg while it has no content. 0 or why not. */
int deliver_bytes(leg *l, sv_str bytes);
/* Sends the head and what the leg holds. */
int deliver_commit(leg *l);
/* The winner's whole answer. `code` is its outcome. */
void deliver_answer(leg *l, int code);
/* The same of one with nothing in it, also of a stream. */
void deliver_empty(leg *l);
/* What all legs have answered; has any of them? */
void deliver_all(relay *r);
bool deliver_has_some(const relay *r);
/* The stream of the winner is complete. */
void deliver_end(relay *r);
/* Ends the call with a failure, in the only form that is still possible. `l` may be NULL. */
void deliver_failure(relay *r, const leg *l, int code, const sv_error *words);
/* A provider's refusal, in the client's format. */
void deliver_refusal(relay *r, const leg *l);
/* sv_on_cancel */
void deliver_cancelled(sv_call *call);
/* ledger_done of the winner */
void deliver_kept(void *arg, int code, const sv_error *err);
void relay_free(relay *r);
/* A writer of the client's format for an answer of `model`, or NULL. */
llm_writer *relay_new_writer(relay *r, sv_str model);
/* Words that live as long as the call; NULL for NULL or without memory. */
const sv_error *relay_keep_words(relay *r, const sv_error *e);

#endif
