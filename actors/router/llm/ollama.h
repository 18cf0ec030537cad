/*  ollama.h - what the halves of Ollama's format share: ollama.c is the provider's side, ollama_client.c
 *  the client's. Thread, ownership, errors: as llm.h. */
#ifndef LLM_OLLAMA_H
#define LLM_OLLAMA_H

#include "llm.h"

int ollama_parse(sv_str text, arena *a, llm_request *ret, sv_error *err);
llm_writer *ollama_writer_new(const llm_writer_spec *spec);
int ollama_writer_event(llm_writer *w, const llm_event *e, buf *out);
int ollama_writer_end(llm_writer *w, buf *out);
void ollama_writer_free(llm_writer *w);
void ollama_error_body(int status, const char *type, const char *code, sv_str message,
                       const char *request_id, buf *out);
void ollama_error_event(llm_writer *w, int status, const char *type, const char *code,
                        sv_str message, buf *out);

#endif
