/*  error_types.h - what OpenAI and Anthropic call a kind of failure, by its HTTP status. Their clients
 *  choose by the status; the word is for people and for logs.
 *  Thread: any.   Ownership: the words are static.   Errors: none; every status has a word. */
#ifndef SV_ERROR_TYPES_H
#define SV_ERROR_TYPES_H

const char *openai_error_type(int status);
const char *anthropic_error_type(int status);

#endif
