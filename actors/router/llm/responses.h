/*  responses.h - the inside of the format of OpenAI's /responses: its parts, one file each.
 *  responses.c parses requests and holds the row, responses_answer.c writes answers for clients,
 *  responses_write.c writes requests for providers, responses_read.c reads their answers. */
#ifndef LLM_RESPONSES_H
#define LLM_RESPONSES_H

#include "llm.h"

/* Encrypted reasoning belongs to its item: in the neutral form the item's id stands before it. */
enum { RESPONSES_ID_END = ':' };
/* Without the id; the id, where there is one, is what comes before, less one byte. */
sv_str responses_opaque_value(sv_str inside);

llm_writer *responses_writer_new(const llm_writer_spec *spec);
int responses_writer_event(llm_writer *w, const llm_event *e, buf *out);
int responses_writer_end(llm_writer *w, buf *out);
void responses_writer_free(llm_writer *w);
void responses_error_event(llm_writer *w, int status, const char *type, const char *code,
                           sv_str message, buf *out);

int responses_path(const llm_target *t, buf *out);
int responses_write(const llm_request *q, const llm_target *t, buf *out, llm_notes *notes,
                    sv_error *err);

llm_reader *responses_reader_new(bool stream);
int responses_read(llm_reader *r, sv_str type, sv_str data, llm_sink *sink, void *arg,
                   sv_error *err);
int responses_read_end(llm_reader *r, llm_sink *sink, void *arg, bool *done);
void responses_reader_free(llm_reader *r);

#endif
