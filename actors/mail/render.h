/*  render.h - what a mail says: a template (templates.def) filled with a mail's values, as plain text
 *  and as HTML.
 *
 *  Values come from strangers. Control and direction characters in them become spaces, HTML is
 *  escaped, and what looks like a host in a name is broken up, so that nobody can send advertising
 *  through a sign-up form.
 *  Thread: any.   Ownership: render_free.   Limits: RENDER_*.
 *  Errors: SV_E_INVALID and SV_E_MISSING_FIELD with the field; SV_E_NO_MEMORY. */
#ifndef MAIL_RENDER_H
#define MAIL_RENDER_H

#include "buf.h"
#include "outbox.h"

enum { RENDER_SUBJECT = 1024, RENDER_TEXT = 16384, RENDER_HTML = 49152 };

typedef struct rendered {
    buf subject, text, html;
} rendered;

/* Is there such a template and language, and has the mail what the template needs? Sets an empty
 * language to the default. Metrics use the number: render_template_name. */
int render_check(outbox_mail *m, sv_error *err);
/* A mail that was sent has lost its link: the text says so. */
int render(const outbox_mail *m, rendered *ret, sv_error *err);
void render_free(rendered *r);

/* An e-mail address that can be written into an envelope and a header as it is: one @, no spaces,
 * no control characters, no quotes, brackets or separators. */
bool address_ok(const char *text);
/* An http or https URL of printable ASCII without a user: what every mail program takes as one
 * link. */
bool link_ok(const char *text);

#endif
