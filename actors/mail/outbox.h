/*  outbox.h - what the mail actor keeps, and the store functions that read and change it.
 *
 *  A mail is queued, sending (one try is under way), sent, failed (given up) or held (there was no
 *  mail server). Each step is one transaction, so that a mail is in one state at any moment, whatever
 *  dies. Sent mails are forgotten after OUTBOX_SENT_MS and lose their link at once; failed and held
 *  ones after OUTBOX_REST_MS.
 *
 *  Thread: store_fns where the store runs them; outbox_judge any.   Ownership: inputs are borrowed;
 *  results are copies.   Limits: OUTBOX_*.   Errors: those of the store. */
#ifndef MAIL_OUTBOX_H
#define MAIL_OUTBOX_H

#include "smtp_client.h"
#include "store.h"

#define SV_MESSAGES_FILE "rows.def"
#include "message_structs.h"
#undef SV_MESSAGES_FILE

enum {
    OUTBOX_ID = 36,
    OUTBOX_ADDRESS = 254,
    OUTBOX_TEMPLATE = 32,
    OUTBOX_LOCALE = 8,
    OUTBOX_LINK = 2000,
    OUTBOX_TEXT = 200, /* name, org, detail */
    OUTBOX_STATE = 16,
    OUTBOX_WHY = 256,
    OUTBOX_PAGE = 100,
    OUTBOX_POSITION = 512,
    OUTBOX_LOOK = 512,  /* rows looked at in one read */
    OUTBOX_AT_ONCE = 4, /* tries under way */
    OUTBOX_TRIES = 8,   /* the eighth that fails is the last one: about a day after the first */
    OUTBOX_WAITING = 100000, /* queued mails: more are refused */
    OUTBOX_RECOVER = 200     /* rows changed in one write at the start */
};
#define OUTBOX_DAY_MS  86400000LL
#define OUTBOX_SENT_MS (7 * OUTBOX_DAY_MS)
#define OUTBOX_REST_MS (30 * OUTBOX_DAY_MS)

extern const sv_message mail_row_msg, mail_queue_msg;
extern const store_table outbox_mails, outbox_queue;
extern const store_schema outbox_schema;

typedef struct outbox_mail {
    char id[OUTBOX_ID + 1], to[OUTBOX_ADDRESS + 1], template[OUTBOX_TEMPLATE + 1],
        locale[OUTBOX_LOCALE + 1], link[OUTBOX_LINK + 1], name[OUTBOX_TEXT + 1],
        org[OUTBOX_TEXT + 1], detail[OUTBOX_TEXT + 1], state[OUTBOX_STATE + 1],
        error[OUTBOX_WHY + 1];
    int64_t tries, created, changed, due, expires;
} outbox_mail;

/* ---- what becomes of a mail ---- */

typedef struct outbox_step {
    const char *state;
    int64_t due, expires; /* Unix ms, 0: none */
} outbox_step;
/* After a try, the `tries`th. `dice` is any number: pauses are up to 15 % shorter by it, so that
 * mails that failed together do not come back together. */
outbox_step outbox_judge(int64_t tries, smtp_outcome outcome, uint32_t dice, int64_t now_ms);

/* ---- writes ---- */

typedef struct outbox_made {
    bool made; /* false: there is one of that id */
    char state[OUTBOX_STATE + 1];
    int64_t waiting; /* queued and sending ones */
} outbox_made;
/* in: outbox_mail with state queued or held, out: outbox_made. SV_E_OVERLOADED. */
int outbox_insert(store_tx *tx, const void *in, void *out);

typedef struct outbox_claims {
    outbox_mail mails[OUTBOX_AT_ONCE]; /* sending now; `tries` counts this one */
    uint32_t n;
    int64_t wait_ms; /* until the next one is due; 0: at once, -1: there is none */
    int64_t waiting;
} outbox_claims;
/* in: uint32_t, how many at most; out: outbox_claims. */
int outbox_claim(store_tx *tx, const void *in, void *out);

typedef struct outbox_verdict {
    char id[OUTBOX_ID + 1];
    smtp_outcome outcome;
    uint32_t dice;
    char why[OUTBOX_WHY + 1]; /* empty when it was accepted */
} outbox_verdict;
typedef struct outbox_settled {
    bool found; /* false: it was dropped meanwhile */
    outbox_mail mail;
    int64_t waiting;
} outbox_settled;
/* in: outbox_verdict, out: outbox_settled. Once more is no harm. */
int outbox_settle(store_tx *tx, const void *in, void *out);

typedef struct outbox_recovery {
    bool sends; /* in: there is a mail server */
    bool more;  /* call it again */
    int64_t held, waiting;
} outbox_recovery;
/* At the start: mails that were being sent are due again; without a server all that wait are held.
 * in: bool, out: outbox_recovery. */
int outbox_recover(store_tx *tx, const void *in, void *out);

/* Due now, with all tries ahead. in: an id; out: outbox_settled. SV_E_NOT_FOUND, SV_E_CONFLICT for a
 * sent one. */
int outbox_again(store_tx *tx, const void *in, void *out);
/* Removes it. in: an id; out: outbox_settled, as it was. SV_E_NOT_FOUND. */
int outbox_drop(store_tx *tx, const void *in, void *out);

/* ---- reads ---- */

/* in: an id, out: outbox_mail. SV_E_NOT_FOUND. */
int outbox_find(store_tx *tx, const void *in, void *out);

typedef struct outbox_page {
    outbox_mail mails[OUTBOX_PAGE];
    uint32_t n;
    char position[OUTBOX_POSITION];
    uint32_t position_n; /* 0: that was all */
} outbox_page;
/* in: mail_list_req, out: outbox_page. A page may be short and not the last. */
int outbox_some(store_tx *tx, const void *in, void *out);

#endif
