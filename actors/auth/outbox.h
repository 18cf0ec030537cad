/*  outbox.h - mails that a transaction decides on: kept with it, handed to the mail actor after it.
 *  A row goes when mail.send has answered for it; the mail actor takes the same id once only. Rows
 *  that cannot be handed over for a day expire, and the log says so.
 *  Thread: outbox_add in store_fns, outbox_look the loop's.   Errors: those of the store. */
#ifndef AUTH_OUTBOX_H
#define AUTH_OUTBOX_H

#include "auth_store.h"

typedef struct auth auth;

typedef struct outbox_mail {
    const char *to, *template;
    const char *locale, *link, *name, *org, *detail; /* NULL: none */
} outbox_mail;

/* In a write. */
int outbox_add(store_tx *tx, const outbox_mail *m);
/* Hands over what waits, a few at a time, a moment later. After every write, and by the tick. */
void outbox_look(auth *a);

/* Before the process ends: nothing is told to the actor any more. */
void outbox_stop(auth *a);

/* A link for people: ORIGIN/page#token=TOKEN. The origin is the setting edge.origin, else where the
 * edge listens, never what a request says. */
int outbox_link(const auth *a, const char *page, const char *token, char *to, size_t size,
                sv_error *err);

#endif
