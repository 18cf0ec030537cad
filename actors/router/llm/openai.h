/*  openai.h - the halves of the format of OpenAI's /chat/completions; openai.c has its row of ops.
 *  Contracts: as in llm_ops. */
#ifndef LLM_OPENAI_H
#define LLM_OPENAI_H

#include "llm.h"

/* openai_parse.c */
int openai_parse(sv_str text, arena *a, llm_request *ret, sv_error *err);

/* openai_write.c */
int openai_write(const llm_request *q, const llm_target *t, buf *out, llm_notes *notes,
                 sv_error *err);

/* openai_read.c */
llm_reader *openai_reader_new(bool stream);
int openai_read(llm_reader *r, sv_str type, sv_str data, llm_sink *sink, void *arg, sv_error *err);
int openai_read_end(llm_reader *r, llm_sink *sink, void *arg, bool *done);
void openai_reader_free(llm_reader *r);
/* A "usage" object of OpenAI's: of chats, or as responses, images and transcriptions spell it. Without
 * tokens in it *ret stays as it is. */
void openai_tokens(json_value usage, tokens *ret);

/* openai_answer.c */
llm_writer *openai_writer_new(const llm_writer_spec *spec);
int openai_writer_event(llm_writer *w, const llm_event *e, buf *out);
int openai_writer_end(llm_writer *w, buf *out);
void openai_writer_free(llm_writer *w);
void openai_error_body(int status, const char *type, const char *code, sv_str message,
                       const char *request_id, buf *out);
void openai_error_event(llm_writer *w, int status, const char *type, const char *code,
                        sv_str message, buf *out);
/* Appends the usage object. */
void openai_put_usage(buf *out, const tokens *t);
/* The format's word for why a choice ended; `refused`: it has words of a refusal. What was not ended by
 * the model in its own time never reads "stop". */
const char *openai_finish_word(llm_finish f, bool calls, bool refused);

#endif
