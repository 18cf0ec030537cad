/*  decision.h - how requests were decided: what was asked, who was looked at, who was called and what
 *  came of it. Never prompts, never answers.
 *
 *  A record is made when a request comes, filled while it is answered and kept in memory until
 *  `router.decisions` later ones have ended. What is worth it is handed to a sink when it ends
 *  (insight.h writes it to the store): by router.keep_decisions everything, nothing, or (some) what auto
 *  chose, what failed, what took more than one try or another model, and what its client asked to keep.
 *
 *  The id is a UUIDv7 whose last four bytes are the router's number: whoever is asked for it knows which
 *  router to ask (decision_router).
 *
 *  Thread: the loop's.
 *  Ownership: a record is the table's; it is written by whoever began it, up to decision_end. Text is
 *  copied, and cut where it is longer than a record takes; words marked static are kept as pointers.
 *  Limits: a record has about 2 KiB, and what was looked at beside it; DECISION_TRIES attempts.
 *  Errors: without memory a request has no record: NULL, which every function takes. */
#ifndef ROUTER_DECISION_H
#define ROUTER_DECISION_H

#include "message.h"
#include "tokens.h"
#include "uuid.h"

enum { DECISION_TRIES = 16, DECISION_ID = 36, DECISION_TEXT = 640 };

typedef enum decision_keep { DECISIONS_SOME, DECISIONS_ALL, DECISIONS_NONE } decision_keep;

typedef struct decision decision;
typedef struct decisions decisions;
typedef struct plan plan; /* plan.h */

typedef struct decision_start {
    sv_str org, user, key;  /* as in the ledger's row; when one is longer than DECISION_ID, as no id
                               of ours is, the record is nobody's: only the platform's administrators
                               see it */
    sv_str asked, endpoint; /* the model that was named; chat, messages, ... */
    bool stream, keep;      /* `keep`: the client asked for it */
    uint64_t now_us, unix_ms;
} decision_start;

/* One call of a provider that is over. */
typedef struct decision_try {
    const char *provider, *model;
    uint32_t key;
    bool hedge;
    const char *outcome;         /* static: a word of the ledger's row */
    int status;                  /* HTTP; 0: none came */
    uint64_t began_us;           /* loop's clock */
    uint64_t first_us, total_us; /* since then; first 0: no token came */
    tokens tokens;
    bool priced;
    int64_t price;
} decision_try;

typedef struct decision_result {
    const char *outcome;          /* static: "ok", "cancelled" or the name of an error */
    const char *finish;           /* static, NULL: none */
    const char *provider, *model; /* that answered; NULL: nobody */
    const char *why;              /* static: candidate.why of that one; NULL */
    uint64_t now_us;
} decision_result;

typedef void decision_sink(void *arg, const sv_id *id, const router_decision_reply *record);

/* `most` 0: no records are kept, and none is made. */
decisions *decisions_new(uint32_t most, decision_keep keep, decision_sink *sink, void *arg);
void decisions_free(decisions *t);

decision *decision_begin(decisions *t, uint32_t instance, const decision_start *s);
/* For the answer's head. Empty for NULL. */
void decision_id(const decision *d, char text[UUID_TEXT + 1]);
/* What was looked at, and in which order it is to be tried. Once. */
void decision_plan(decision *d, const plan *p);
void decision_attempt(decision *d, const decision_try *try);
/* The last word; *d is NULL then. */
void decision_end(decisions *t, decision **d, const decision_result *r);

/* Finds one in memory, also one under way; NULL: it is not there (any more). */
const decision *decision_find(const decisions *t, const sv_id *id);
/* A user has rated it. */
void decision_rated(decisions *t, const sv_id *id, int rating);
/* As a message; lists live in `a`, text in the record. */
int decision_message(const decision *d, arena *a, router_decision_reply *ret);

/* ---- ids ---- */

sv_id decision_id_new(uint32_t instance);
/* The router that made it; 0: it is no id of a decision. */
uint32_t decision_router(const sv_id *id);

#endif
