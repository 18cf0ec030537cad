/*  anthropic.h - the halves of the format of Anthropic's /messages; anthropic.c has its row of ops.
 *  Contracts: as in llm_ops. */
#ifndef LLM_ANTHROPIC_H
#define LLM_ANTHROPIC_H

#include "llm.h"

/* A tool of ours that a model is made to call when the client wants an answer by a schema; the
 * reader turns the call into text again. */
#define ANTHROPIC_ANSWER "samovar_answer"

/* anthropic_parse.c; also the body of count_tokens, which has no max_tokens */
int anthropic_parse(sv_str text, arena *a, llm_request *ret, sv_error *err);

/* anthropic_write.c */
int anthropic_write(const llm_request *q, const llm_target *t, buf *out, llm_notes *notes,
                    sv_error *err);

/* anthropic_read.c */
llm_reader *anthropic_reader_new(bool stream);
int anthropic_read(llm_reader *r, sv_str type, sv_str data, llm_sink *sink, void *arg,
                   sv_error *err);
int anthropic_read_end(llm_reader *r, llm_sink *sink, void *arg, bool *done);
void anthropic_reader_free(llm_reader *r);

/* anthropic_answer.c */
llm_writer *anthropic_writer_new(const llm_writer_spec *spec);
int anthropic_writer_event(llm_writer *w, const llm_event *e, buf *out);
int anthropic_writer_end(llm_writer *w, buf *out);
void anthropic_writer_free(llm_writer *w);
void anthropic_error_body(int status, const char *type, const char *code, sv_str message,
                          const char *request_id, buf *out);
void anthropic_error_event(llm_writer *w, int status, const char *type, const char *code,
                           sv_str message, buf *out);
/* The answer to /messages/count_tokens. */
int anthropic_put_count(buf *out, int64_t count);

#endif
