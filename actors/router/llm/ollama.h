/*  ollama.h - what the parts of Ollama's formats share: ollama.c is the provider's side of /api/chat,
 *  ollama_client.c the client's requests, ollama_answer.c its answers; ollama_generate.c is
 *  /api/generate. Thread, ownership, errors: as llm.h. */
#ifndef LLM_OLLAMA_H
#define LLM_OLLAMA_H

#include "parse.h"

/* ollama.c */
llm_reader *ollama_reader_new(bool stream);
int ollama_read(llm_reader *r, sv_str type, sv_str data, llm_sink *sink, void *arg, sv_error *err);
int ollama_read_end(llm_reader *r, llm_sink *sink, void *arg, bool *done);
void ollama_reader_free(llm_reader *r);

/* ollama_client.c */
int ollama_parse(sv_str text, arena *a, llm_request *ret, sv_error *err);
/* Images in base64, appended to `parts`, which has room for them. */
int ollama_images(llm_in *in, json_value list, llm_part *parts, uint32_t *n);
/* Members that both kinds of requests have; their tables of names begin with these. */
enum { OLLAMA_FORMAT, OLLAMA_OPTIONS, OLLAMA_STREAM, OLLAMA_THINK, OLLAMA_SHARED };
/* Reads those of `v`, and keeps what is not among the `n` names. */
int ollama_settings(llm_in *in, json_value root, const char *const *names, size_t n,
                    const json_value *v);

/* ollama_answer.c */
llm_writer *ollama_writer_new(const llm_writer_spec *spec);
llm_writer *ollama_generate_writer_new(const llm_writer_spec *spec);
int ollama_writer_event(llm_writer *w, const llm_event *e, buf *out);
int ollama_writer_end(llm_writer *w, buf *out);
void ollama_writer_free(llm_writer *w);
void ollama_error_body(int status, const char *type, const char *code, sv_str message,
                       const char *request_id, buf *out);
void ollama_error_event(llm_writer *w, int status, const char *type, const char *code,
                        sv_str message, buf *out);

#endif
