/*  gemini.h - what the two halves of Gemini's format share: gemini.c writes requests, gemini_read.c reads
 *  answers. Thread, ownership, errors: as llm.h. */
#ifndef LLM_GEMINI_H
#define LLM_GEMINI_H

#include "llm.h"

/* Begins the ids of calls that Gemini gave none; such ids are not sent back to it. */
#define GEMINI_MADE_ID "call_gm_"
/* Most candidates of one answer. */
enum { GEMINI_CHOICES = 8 };

/* Appends "/models/MODEL" and the verb; the name percent-encoded, "models/" and "tunedModels/" before it
 * taken as what they are. 0 or a buffer error. */
int gemini_put_path(sv_str model, const char *verb, buf *out);

llm_reader *gemini_reader_new(bool stream);
int gemini_read(llm_reader *r, sv_str type, sv_str data, llm_sink *sink, void *arg, sv_error *err);
int gemini_read_end(llm_reader *r, llm_sink *sink, void *arg, bool *done);
void gemini_reader_free(llm_reader *r);

#endif
