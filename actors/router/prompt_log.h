/*  prompt_log.h - prompts and answers in the log, for organizations whose owner has switched that on.
 *
 *  Routers hear of the switch by auth's feed (kind org). As long as the copy is not complete nothing is
 *  logged, and nothing of who has not switched it on is ever.
 *
 *  The request's body and the answer's text come as lines "prompt" (part request, part answer), each with at most
 *  PROMPT_LOG_BYTES, in numbered pieces since a line is short. Keys of providers and of this platform
 *  are blotted out. So many requests a second are logged as fit into the log's limit; the rest is
 *  counted in the next line (`skipped`).
 *
 *  Thread: the loop's.   Limits: PROMPT_LOG_ORGS.   Errors: SV_E_NO_MEMORY, SV_E_TOO_LARGE of
 *  prompt_log_new; later ones log less. */
#ifndef ROUTER_PROMPT_LOG_H
#define ROUTER_PROMPT_LOG_H

#include "feed.h"

#include "buf.h"

enum { PROMPT_LOG_BYTES = 16384, PROMPT_LOG_ORGS = 65536 };

typedef struct prompt_log prompt_log;
struct leg;
struct relay;

int prompt_log_new(feed *f, prompt_log **ret, sv_error *err);
void prompt_log_free(prompt_log *p);
/* Is it switched on there? NULL: never. */
bool prompt_log_wants(const prompt_log *p, sv_str org);

/* Text of an answer, inside of a JSON string. */
void prompt_log_keep(struct leg *l, sv_str inside);
/* What a chunk of OpenAI's format says. */
void prompt_log_keep_chunk(struct leg *l, sv_str json);
/* A plain answer as it is. */
void prompt_log_keep_whole(struct leg *l, sv_str body);
/* The request is over: its lines. */
void prompt_log_write(const struct relay *r);

#endif
