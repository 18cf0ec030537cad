/*  smtp_client.h - hands one mail to a mail server, by libcurl.
 *
 *  A delivery blocks until the server has answered or its time is over: it is work for a thread of a
 *  pool, never for the loop. The server is the operator's choice: any address, by name or number.
 *  Its certificate is verified whenever TLS is spoken. Never: proxies and .netrc from the
 *  environment.
 *
 *  Thread: smtp_begin and smtp_end on the main thread, before and after all deliveries; smtp_deliver
 *  on any, also on several at once.   Ownership: everything is borrowed for the call.
 *  Limits: total_ms, and two seconds for the server's farewell.
 *  Errors: what becomes of a delivery is an smtp_outcome with words, not an error number. */
#ifndef SV_SMTP_CLIENT_H
#define SV_SMTP_CLIENT_H

#include "sv_types.h"

#include <stdatomic.h>

enum { SMTP_HOST = 253, SMTP_WORDS = 200 };

typedef enum smtp_starttls { SMTP_REQUIRED, SMTP_OPPORTUNISTIC, SMTP_OFF } smtp_starttls;

typedef struct smtp_server {
    const char *url;             /* smtp://HOST[:PORT] or smtps://HOST[:PORT] */
    const char *user, *password; /* both or neither */
    smtp_starttls starttls;      /* of smtp:// */
    const char *ca_file;         /* PEM; NULL: what the system trusts */
    const char *helo;            /* the name we introduce ourselves with */
    uint32_t connect_ms;         /* to the end of TLS and login */
    uint32_t total_ms;
} smtp_server;

typedef struct smtp_mail {
    const char *from, *to; /* addresses without <>, checked by the caller */
    sv_str message;        /* with its header; lines end with CR LF */
} smtp_mail;

typedef enum smtp_outcome {
    SMTP_ACCEPTED, /* the server has taken it over */
    SMTP_LATER,   /* not now: no connection, no login, an answer 4xx, an answer that did not come */
    SMTP_REFUSED, /* never: an answer 5xx to the addresses or to the message */
    SMTP_STOPPED  /* `stop` was set before the whole message was sent */
} smtp_outcome;

typedef struct smtp_result {
    smtp_outcome outcome;
    int status;                 /* the server's last answer; 0: there was none */
    char words[SMTP_WORDS + 1]; /* why not; printable ASCII */
} smtp_result;

typedef struct smtp_url {
    bool tls; /* smtps */
    bool loopback;
    char host[SMTP_HOST + 1];
} smtp_url;

int smtp_begin(sv_error *err);
void smtp_end(void);
/* SV_E_INVALID for what is no URL of a mail server: another scheme, a user, a path. */
int smtp_url_parse(const char *url, smtp_url *ret, sv_error *err);
/* `stop` may be set by any thread at any time. */
void smtp_deliver(const smtp_server *s, const smtp_mail *m, const atomic_bool *stop,
                  smtp_result *ret);

#endif
