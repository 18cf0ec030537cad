/*  question.h - the last thing a user says in a request to a model, where it is plain text.
 *
 *  Found in bodies of the endpoints chat, messages, ollama and responses whose last message is the
 *  user's and one text, and that have nothing but text in all messages: no tools, calls or results of
 *  tools, no pictures, sound or files.
 *  Thread: any.   Ownership: the result borrows from the body.
 *  Limits: QUESTION_BYTES of JSON text.   Errors: none; what is not understood has no question. */
#ifndef SV_QUESTION_H
#define SV_QUESTION_H

#include "json_scan.h"

enum { QUESTION_BYTES = 16 << 10 };

/* `body` has passed json_skim. *ret is the JSON string. */
bool question_find(sv_str endpoint, sv_str body, json_value *ret);

#endif
