/*  message_view.h - a message as HTTP clients see it: every declared field but those of the edge, so
 *  that an answer has the same members whatever their values.
 *  Thread: any.   Ownership: nothing is kept.   Errors: those of the buffer; SV_E_BAD_UTF8. */
#ifndef SV_MESSAGE_VIEW_H
#define SV_MESSAGE_VIEW_H

#include "message.h"

/* Appends the struct as a JSON object: absent text and sub-messages as null, lists as arrays, bytes
 * as base64, fields marked SV_EDGE not at all. Secrets are shown: it is their owner who asks. */
int message_view(const sv_message *m, const void *src, buf *out);

#endif
