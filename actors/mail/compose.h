/*  compose.h - a rendered mail as a message: RFC 5322 header, MIME multipart/alternative.
 *  Every line of the header is at most 998 bytes and nothing of a value can begin another one: text
 *  that is not plain ASCII goes into encoded words (RFC 2047), bodies into base64.
 *  Thread: any.   Ownership: the caller's buffer.   Errors: SV_E_INVALID, buffer errors. */
#ifndef MAIL_COMPOSE_H
#define MAIL_COMPOSE_H

#include "render.h"

enum { COMPOSE_BYTES = 131072 };

/* A mailbox of the configuration: ADDRESS, or NAME <ADDRESS>. */
typedef struct mailbox {
    char name[OUTBOX_TEXT + 1], address[OUTBOX_ADDRESS + 1];
} mailbox;

int mailbox_parse(const char *text, mailbox *ret, sv_error *err);

typedef struct sender {
    mailbox from, reply_to; /* reply_to.address empty: none */
} sender;

/* The part behind the @: for message ids and for our name to the mail server. */
const char *sender_domain(const sender *s);

/* Appends the message. It is the same for every try: whoever gets it twice can tell by its
 * Message-ID. */
int compose(const sender *s, const outbox_mail *m, const rendered *r, buf *out);

#endif
