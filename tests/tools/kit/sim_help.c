#include "sim_help.h"

#include <stdio.h>

static const char page[] =
    "Paths (also with /api or /openai before /v1):\n"
    "  OpenAI     POST /v1/chat/completions /v1/completions /v1/responses /v1/embeddings\n"
    "             /v1/moderations /v1/images/generations /v1/audio/transcriptions; GET /v1/models\n"
    "  Azure      POST /openai/deployments/MODEL/chat/completions?api-version=V (and the others)\n"
    "  Anthropic  POST /v1/messages /v1/messages/count_tokens; GET /v1/models with\n"
    "             anthropic-version\n"
    "  Gemini     POST /v1beta/models/MODEL:generateContent :streamGenerateContent[?alt=sse]\n"
    "             :batchEmbedContents :countTokens; GET /v1beta/models\n"
    "  Ollama     POST /api/chat /api/embed; GET /api/tags\n"
    "\nA request is checked as the real provider would and refused in its own words and shape.\n"
    "Signatures of thinking (Anthropic), thoughtSignature of calls (Gemini) and encrypted "
    "reasoning\n"
    "(responses) are checked when they come back. Moderation flags texts with \"violent\".\n"
    "Embeddings of the same words in another order or case are near each other, others far.\n"
    "\nControl:\n"
    "  POST /_control  an object of any of:\n"
    "    script        [{KEY: VALUE, ...}, ...]: behaviours of the next requests, before the "
    "model's\n"
    "    models        names for the lists of models\n"
    "    keys          {KEY: STATUS}: keys that are refused (401, 402, 403, 429, ...)\n"
    "    listen        false: the port is closed; true: open again\n"
    "    refuse_ms     the port is closed for so long\n"
    "    down_ms       every request is answered with down_status [503] for so long\n"
    "    down_status   that status\n"
    "    reset_stats   true: counters, the log and fail_first begin again\n"
    "  GET /_stats     counters, by model and by key, under way, every request with its times\n"
    "  GET /_request?n=K (or /_stats?n=K)  one of the last 64 requests with its body (256 KiB)\n"
    "\nKeys of an answer, in the model name (sim,tokens=20,fault=cut) or the script [default]:\n";

void sim_print_help(void)
{
    fputs(page, stdout);
#define NUMBER(name, def, max, doc) printf("  %-14s %s [%d]\n", #name, doc, def);
#define TEXT(name, doc)             printf("  %-14s %s\n", #name, doc);
#include "sim_behaviour.def"
#undef NUMBER
#undef TEXT
    printf("\nFaults (fault=NAME; `at` counts pieces of text and of calls from 0):\n");
#define FAULT(name, doc) printf("  %-14s %s\n", #name, doc);
#include "sim_behaviour.def"
#undef FAULT
    printf("\n");
}
