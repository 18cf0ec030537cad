/*  mail.h - the mail actor: an outbox, templates, a mail server.
 *  Thread: the loop's; deliveries run on threads of the actor's own pool.
 *  Ownership: one `mailer` for the process, handed to every handler.
 *  Limits: OUTBOX_AT_ONCE deliveries at once, each MAIL_TOTAL_MS. */
#ifndef MAIL_MAIL_H
#define MAIL_MAIL_H

#include "compose.h"
#include "outbox.h"
#include "pool.h"
#include "samovar.h"

enum {
    MAIL_CONNECT_MS = 30000,
    MAIL_LOOK_MS = 60000, /* longest pause between two looks at what is due: clocks are set */
    MAIL_PAUSE_MS = 1000  /* after a write that failed */
};

typedef struct mailer mailer;

/* One delivery under way. */
typedef struct flight {
    mailer *owner;
    bool busy;
    outbox_mail mail;
    buf message;
    smtp_mail envelope;
    smtp_result result;
    outbox_verdict verdict;
    outbox_settled settled;
    loop_timer timer; /* the verdict could not be written */
} flight;

struct mailer {
    sv_process *process;
    bool sends; /* there is a mail server */
    smtp_server server;
    sender sender;
    pool *pool;
    atomic_bool stop;
    /* the sender */
    bool recovered, looking, again, draining, ending;
    uint32_t writes; /* verdicts on their way to the store */
    uint32_t most, n_flights;
    outbox_recovery recovery;
    outbox_claims claims;
    int64_t held; /* by the recovery */
    loop_timer timer;
    flight flights[OUTBOX_AT_ONCE];
};

extern const sv_actor mail_actor;

/* settings.c: fills sends, server and sender. SV_E_CONFIG. */
int mail_settings(mailer *m, const config *c, sv_error *err);

/* sender.c */
int mail_sender_start(mailer *m, sv_error *err);
void mail_sender_drain(mailer *m);
/* Frees `m`, perhaps only when its last verdicts are written. */
void mail_sender_stop(mailer *m);
/* Something may be due. */
void mail_sender_look(mailer *m);
void mail_show_waiting(int64_t waiting);
void mail_counted(const outbox_mail *mail, const char *outcome);

/* methods.c */
sv_handler mail_send, mail_list, mail_show, mail_retry, mail_drop;
int mail_list_answer(sv_offline *o, const void *request, void *reply);

#endif
