/*  whole.h - an answer collected from its events, for writers of whole bodies; and what readers
 *  share.
 *  Thread: one owner.   Ownership: copies everything.
 *  Limits: LLM_WHOLE_*.   Errors: SV_E_PROVIDER_TOO_LARGE, SV_E_NO_MEMORY,
 *  SV_E_PROVIDER_GARBAGE. */
#ifndef LLM_WHOLE_H
#define LLM_WHOLE_H

#include "llm.h"

enum {
    LLM_WHOLE_BYTES = 32 << 20, /* text, arguments and signatures of one answer */
    LLM_WHOLE_BLOCKS = 2048,
    LLM_CHOICES = 128 /* answers to one request */
};

/* Text, thinking (with its signature), opaque, refusal, or a call: text is its arguments. */
typedef struct llm_block {
    llm_event_kind kind; /* LLM_TEXT, LLM_THINKING, LLM_OPAQUE, LLM_REFUSED, LLM_CALL */
    uint32_t choice;
    int32_t index; /* of a call */
    llm_format origin;
    buf text, id, name, signature; /* insides of JSON strings */
} llm_block;

typedef struct llm_whole {
    llm_block *blocks;
    uint32_t n, cap;
    size_t bytes;
    uint32_t last[LLM_CHOICES]; /* 1 + the last block of a choice */
    llm_finish finish[LLM_CHOICES];
    uint32_t n_choices; /* at least 1 */
    buf stop_sequence;
    tokens usage;
} llm_whole;

void llm_whole_init(llm_whole *w);
void llm_whole_free(llm_whole *w);
/* Takes any event; START and FAILED say nothing here. */
int llm_whole_event(llm_whole *w, const llm_event *e);
/* Thinking, its signature, opaque thinking: what show_thinking is about. */
bool llm_is_thinking(const llm_event *e);
bool llm_whole_has(const llm_whole *w, uint32_t choice, llm_event_kind kind);
/* Told by the provider or counted here: otherwise an answer has no usage. */
bool llm_has_tokens(const tokens *t);

/* ---- what readers share ---- */

/* A provider's JSON object, checked; SV_E_PROVIDER_GARBAGE with the reason otherwise. */
int llm_read_object(sv_str data, json_value *root, sv_error *err);
/* Parts of a count that are more than the whole, as a provider told them, become the whole (tokens.h). */
void llm_bound_tokens(tokens *t);
/* Gives LLM_FAILED for a provider's error object; scratch holds its words for the call. */
int llm_read_failure(llm_format provider, sv_str data, buf *scratch, llm_sink *sink, void *arg);

#endif
