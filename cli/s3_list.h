/*  s3_list.h - reads what a store answers: pages of ListObjectsV2 and errors, both XML.
 *  Thread: any.   Ownership: results borrow nothing.   Limits: a page is one buffer.
 *  Errors: SV_E_PROVIDER_GARBAGE. */
#ifndef CLI_S3_LIST_H
#define CLI_S3_LIST_H

#include "s3.h"

enum { S3_TOKEN_BYTES = 2048 };

/* Calls fn for each object whose key begins with `prefix`, which is taken off; others break the
 * protocol. `token` is "" after the last page. */
int s3_list_page(sv_str xml, const char *prefix, int (*fn)(void *arg, const s3_object *o),
                 void *arg, char token[S3_TOKEN_BYTES], sv_error *err);
/* "Code: Message" of an error, without control characters, or "" when it is none. */
void s3_error_words(sv_str xml, char words[256]);

#endif
