/*  secret.h - a provider's key. There is no way to print one: it can only become a request header,
 *  and be blotted out of text that is about to leave.
 *  Thread: one owner.   Ownership: secret_free
 *  zeroes the bytes.
 *  Errors: SV_E_CONFIG with words that name the source and never the content;
 *  SV_E_NO_MEMORY. */
#ifndef ROUTER_SECRET_H
#define ROUTER_SECRET_H

#include "buf.h"

typedef struct secret secret;

/* Surrounding white space does not count. *ret stays NULL when nothing is left. `source` names the
 * variable or file in errors. */
int secret_new(sv_str text, const char *source, secret **ret, sv_error *err);
int secret_from_file(const char *file, secret **ret, sv_error *err);
/* NULL: no memory. */
secret *secret_copy(const secret *s);
/* The bytes, for sealing them and nothing else. */
sv_str secret_text(const secret *s);
void secret_free(secret *s);

/* How a key is shown to a provider. */
typedef enum secret_form {
    SECRET_BEARER,    /* Authorization: Bearer ... */
    SECRET_X_API_KEY, /* x-api-key: ... (Anthropic) */
    SECRET_API_KEY,   /* api-key: ... (Azure) */
    SECRET_X_GOOG,    /* x-goog-api-key: ... (Gemini) */
    SECRET_FORMS
} secret_form;
/* The header for http_start and nothing else; NULL for no secret. */
const char *secret_header(const secret *s, secret_form form);
/* Overwrites each occurrence in `text` with asterisks, also where JSON spells it with escapes. */
void secret_blot(const secret *s, buf *text);
bool secret_in(const secret *s, sv_str text);

/* Removes a variable from the environment and zeroes its value where it lay. */
void secret_wipe_env(const char *name);

#endif
