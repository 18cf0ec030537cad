/*  llm.h - one neutral form of a model's request and answer, between the wire formats.
 *
 *  Each format that clients or providers speak is one row of ops (llm_ops), in a file of its own. A
 *  request is parsed into llm_request and written for the provider; an answer is read into events
 *  (llm_event) and written for the client. Where both sides speak the same format the router passes
 *  bytes and uses the reader only to watch.
 *
 *  Text is kept as the inside of a JSON string: quotes off, escapes as they came. So it is copied from
 *  JSON to JSON without decoding. Fields called `raw` hold a JSON value.
 *
 *  What a format cannot say is not silently lost: its name goes to llm_notes, which the client sees in
 *  the header x-samovar-dropped.
 *
 *  Opaque fields (signatures, encrypted reasoning) go back to the format that made them and to no
 *  other: `origin` says which. Clients of another format get them as "sv1.FORMAT.VALUE".
 *
 *  Thread: any, one owner.   Ownership: requests borrow from the text and from the arena they were
 *  parsed with; events borrow for the call.
 *  Limits: LLM_*.   Errors: SV_E_INVALID, SV_E_MISSING_FIELD, SV_E_WRONG_TYPE, SV_E_OUT_OF_RANGE with the
 *  field (messages[2].content), SV_E_PROVIDER_GARBAGE for answers, SV_E_NO_MEMORY, SV_E_TOO_LARGE. */
#ifndef LLM_LLM_H
#define LLM_LLM_H

#include "arena.h"
#include "buf.h"
#include "json_scan.h"
#include "tokens.h"

enum {
    LLM_MESSAGES = 4096,          /* of a request */
    LLM_PARTS = 1024,             /* of a message */
    LLM_TOOLS = 512,              /* of a request */
    LLM_CALLS = 128,              /* tool calls of an answer */
    LLM_STOPS = 16,               /* stop sequences */
    LLM_ARGUMENTS_BYTES = 1 << 20 /* bytes of one tool call's arguments in an answer */
};

typedef enum llm_format {
    LLM_OPENAI,      /* /chat/completions */
    LLM_COMPLETIONS, /* OpenAI's older /completions: clients only */
    LLM_RESPONSES,   /* OpenAI's /responses */
    LLM_ANTHROPIC,   /* /messages */
    LLM_OLLAMA,      /* /api/chat, lines of JSON */
    LLM_GEMINI,      /* :generateContent: providers only */
    LLM_GENERATE,    /* Ollama's /api/generate: clients, and Ollama where it passes */
    LLM_FORMATS
} llm_format;

extern const char *const llm_format_names[LLM_FORMATS]; /* "openai", ... as in opaque fields */

/* ---- the request ---- */

typedef enum llm_role { LLM_SYSTEM, LLM_USER, LLM_ASSISTANT, LLM_TOOL } llm_role;

typedef enum llm_part_kind {
    LLM_PART_TEXT,
    LLM_PART_IMAGE,    /* url, or media_type and data (base64) */
    LLM_PART_FILE,     /* the same, and name */
    LLM_PART_AUDIO,    /* media_type and data */
    LLM_PART_CALL,     /* the assistant calls a tool: id, name, raw (arguments, a JSON object) */
    LLM_PART_RESULT,   /* what a tool answered: id, name where known, parts, is_error */
    LLM_PART_THINKING, /* text, signature */
    LLM_PART_OPAQUE    /* redacted or encrypted thinking: signature is all there is */
} llm_part_kind;

typedef struct llm_part {
    llm_part_kind kind;
    sv_str text;
    sv_str id, name;
    sv_str url, media_type, data;
    sv_str signature;  /* {NULL, 0}: none */
    llm_format origin; /* who made the signature */
    sv_str raw;        /* arguments of a call; cache_control and the like are in `extra` */
    sv_str extra;      /* raw: Anthropic's cache_control of this part, or {NULL, 0} */
    bool is_error;
    struct llm_part *parts; /* of a result: text and images */
    uint32_t n_parts;
} llm_part;

typedef struct llm_message {
    llm_role role;
    sv_str name;
    llm_part *parts;
    uint32_t n_parts;
} llm_message;

typedef struct llm_tool {
    sv_str name, description;
    sv_str schema; /* raw object; {NULL, 0}: no parameters */
    bool strict;
    sv_str raw; /* the whole tool as it came: for one that only its own format knows (web search) */
    bool foreign; /* such a one */
} llm_tool;

typedef enum llm_choice {
    LLM_CHOICE_NONE_GIVEN,
    LLM_CHOICE_AUTO,
    LLM_CHOICE_NONE,
    LLM_CHOICE_ANY,
    LLM_CHOICE_NAMED
} llm_choice;
typedef enum llm_shape { LLM_SHAPE_TEXT, LLM_SHAPE_JSON, LLM_SHAPE_SCHEMA } llm_shape;
typedef enum llm_tri { LLM_UNSAID, LLM_NO, LLM_YES } llm_tri;

typedef struct llm_request {
    llm_format format; /* of the client */
    llm_message *messages;
    uint32_t n_messages;
    llm_tool *tools;
    uint32_t n_tools;
    llm_choice tool_choice;
    sv_str tool_name; /* LLM_CHOICE_NAMED */
    llm_tri parallel_tools;
    bool old_calls;     /* OpenAI's functions, from before there were tools: one function_call */
    int64_t max_tokens; /* 0: not said */
    /* raw numbers, {NULL, 0}: not said */
    sv_str temperature, top_p, top_k, seed, presence_penalty, frequency_penalty;
    sv_str stops[LLM_STOPS];
    uint32_t n_stops;
    int64_t n; /* answers asked for, 1 unless said */
    llm_shape shape;
    sv_str schema_name, schema; /* LLM_SHAPE_SCHEMA: raw */
    bool schema_strict;
    sv_str effort;           /* reasoning: "low", "medium", ...; {NULL, 0}: not said */
    int64_t thinking_tokens; /* reasoning budget; 0: not said, -1: switched off */
    bool show_thinking;
    bool stream, include_usage;
    sv_str user; /* end user's id */
    sv_str json; /* the client's whole body */
    /* names of top-level members that no field above holds; a writer of another format notes them */
    sv_str *left;
    uint32_t n_left;
} llm_request;

/* What could not be said in the provider's format, for people: "logit_bias, tools[1]"; it ends with
 * "..." when there was no room for all names. */
typedef struct llm_notes {
    char dropped[256];
} llm_notes;
void llm_note(llm_notes *n, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* What routing wants to know of a request. */
typedef struct llm_features {
    bool tools, images, audio, files, schema, json, thinking, stream, opaque;
    bool foreign; /* thoughts or signatures that no provider of the client's format made */
    bool prefill; /* the last message is the assistant's */
    uint32_t messages;
    int64_t prompt_tokens;        /* an estimate: llm_estimate of all text, images flat */
    int64_t max_tokens;           /* 0: not said */
    sv_str system;                /* the first system text, inside of a JSON string */
    sv_str first_user, last_user; /* text of the first and the last user message, likewise */
    llm_format origin;            /* with `opaque`: whose */
} llm_features;
void llm_features_of(const llm_request *q, llm_features *ret);
/* Tokens that this much text of a JSON string has, roughly and never 0 for some: letters by four,
 * characters of scripts without spaces by one. */
int64_t llm_estimate(sv_str inside);

/* Where the request goes. */
typedef struct llm_target {
    sv_str model; /* upstream's name, plain text */
    bool stream;
    int64_t
        output_most; /* the model's; 0: not known. Formats that need max_tokens use it, or 4096 */
    bool completion_tokens; /* OpenAI's newer models: max_completion_tokens */
    bool adaptive_thinking; /* Anthropic's newer models: effort, no budget; schemas natively */
    bool no_prefill;        /* a last assistant message must not be sent as a beginning */
    llm_tri thinks; /* reasoning can be asked for; LLM_NO: such a request would be refused */
} llm_target;

/* ---- the answer ---- */

typedef enum llm_event_kind {
    LLM_START,     /* once, first: id, model ({NULL, 0}: not said) */
    LLM_TEXT,      /* text */
    LLM_THINKING,  /* text */
    LLM_SIGNATURE, /* text is opaque, of the thinking before it (index -1) or of call `index` */
    LLM_OPAQUE,    /* text: redacted or encrypted thinking */
    LLM_CALL, /* a tool call begins: index, id, name; ids that a provider does not give are made up */
    LLM_ARGUMENTS, /* text: a piece of the arguments of call `index` */
    LLM_REFUSED,   /* text: words of a refusal */
    LLM_USAGE,     /* tokens, cumulative: the last one counts */
    LLM_FINISH,    /* why; stop_sequence in text */
    LLM_FAILED     /* an error in the stream: text are its words, code the provider's word for it */
} llm_event_kind;

typedef enum llm_finish {
    LLM_STOP,
    LLM_STOP_SEQUENCE,
    LLM_LENGTH,
    LLM_TOOL_CALLS,
    LLM_FILTER,
    LLM_REFUSAL,
    LLM_PAUSE,
    LLM_CONTEXT, /* the context is full */
    LLM_OTHER
} llm_finish;

/* START comes first; pieces of thinking, text and calls in the order of the answer, pieces of several
 * calls may alternate; then FINISH, before or after USAGE. `choice` above 0 comes only where n > 1. */
typedef struct llm_event {
    llm_event_kind kind;
    uint32_t choice;
    int32_t index;
    sv_str text;
    sv_str id, name, model, code;
    llm_format origin; /* of a signature or of opaque text */
    llm_finish finish;
    const tokens *usage;
    int status; /* LLM_FAILED: HTTP status it stands for, or 0 */
} llm_event;

/* 0, or an error, which stops the reader and comes back from it. */
typedef int llm_sink(void *arg, const llm_event *e);

/* ---- what a format can ---- */

typedef struct llm_reader llm_reader; /* of one answer; each format has its own */
typedef struct llm_writer llm_writer;

typedef struct llm_writer_spec {
    bool stream, include_usage;
    const char *id;             /* of the answer, without the format's prefix: letters and digits */
    sv_str model;               /* as the client shall see it, plain text */
    int64_t created;            /* Unix seconds */
    const llm_request *request; /* borrowed for the writer's life: Responses echoes some of it */
} llm_writer_spec;

typedef enum llm_framing { LLM_SSE, LLM_LINES } llm_framing;

typedef struct llm_ops {
    llm_format format;
    llm_framing framing; /* of its streams */

    /* client side; NULL where it is a provider's format only. `text` is a validated JSON object */
    int (*parse)(sv_str text, arena *a, llm_request *ret, sv_error *err);
    llm_writer *(*writer_new)(const llm_writer_spec *spec);
    /* Appends the bytes for one event; whole events of the stream only. Plain: collects. */
    int (*writer_event)(llm_writer *w, const llm_event *e, buf *out);
    /* After the last event: the end of the stream with its marker, or the whole body. */
    int (*writer_end)(llm_writer *w, buf *out);
    void (*writer_free)(llm_writer *w);
    /* An error as the body of an answer, and as an event within a stream. All texts are plain. */
    void (*error_body)(int status, const char *type, const char *code, sv_str message,
                       const char *request_id, buf *out);
    void (*error_event)(llm_writer *w, int status, const char *type, const char *code,
                        sv_str message,
                        buf *out); /* w may be NULL: nothing was written through it */

    /* provider side; NULL where it is a client's format only. Without `write` it only passes */
    int (*path)(const llm_target *t, buf *out); /* behind the base URL, query included */
    int (*write)(const llm_request *q, const llm_target *t, buf *out, llm_notes *notes,
                 sv_error *err);
    llm_reader *(*reader_new)(bool stream);
    /* One event of a stream (`type` its event field), or the whole body: any bytes, not validated. */
    int (*read)(llm_reader *r, sv_str type, sv_str data, llm_sink *sink, void *arg, sv_error *err);
    /* The input ended: gives what only the end tells. `done` says whether the answer is complete as
     * far as the format tells (an end marker, a finish reason). */
    int (*read_end)(llm_reader *r, llm_sink *sink, void *arg, bool *done);
    void (*reader_free)(llm_reader *r);
} llm_ops;

extern const llm_ops llm_openai, llm_completions, llm_responses, llm_anthropic, llm_ollama,
    llm_gemini, llm_generate;
const llm_ops *llm_ops_of(llm_format f);

/* ---- failures ---- */

typedef enum llm_failure_kind {
    LLM_FAIL_REQUEST,  /* 400, 404 of something else, 413, 422: the same elsewhere */
    LLM_FAIL_CONTEXT,  /* longer than the model's context */
    LLM_FAIL_POLICY,   /* content policy */
    LLM_FAIL_PREFILL,  /* the model takes no beginning of its answer */
    LLM_FAIL_KEY,      /* 401, 403: the key is dead for this request */
    LLM_FAIL_BILLING,  /* 402, or quota used up */
    LLM_FAIL_MODEL,    /* there is no such model here */
    LLM_FAIL_RATE,     /* 429 */
    LLM_FAIL_OVERLOAD, /* 503, 529 */
    LLM_FAIL_SERVER,   /* other 5xx, 408, 409 */
    LLM_FAIL_OTHER
} llm_failure_kind;

typedef struct llm_failure {
    llm_failure_kind kind;
    int status;
    char message[512]; /* the provider's words, UTF-8, cut at a character's end; never empty */
    char type[48], code[64]; /* as OpenAI would call them */
    uint32_t retry_after_ms; /* told in the body (Gemini's RetryInfo); 0: not */
} llm_failure;

/* Reads an error answer, whatever it is made of. */
void llm_failure_read(llm_format provider, int status, sv_str body, llm_failure *ret);

/* ---- helpers for the formats ---- */

/* The inside of a JSON string of value v (empty for another type). */
sv_str llm_inside(json_value v);
/* Appends "inside" with quotes; plain text goes through buf_json_escape. */
void llm_put_string(buf *out, sv_str inside);
/* Appends what the inside of a string stands for. 0 or a buffer error. */
int llm_decode(sv_str inside, buf *out);
/* Appends an opaque value, in quotes, for a client of format `to`: as it is, or "sv1.FORMAT.VALUE";
 * and back (`own`: of the client's format, which is the origin of what has no such prefix). */
void llm_put_opaque(buf *out, sv_str inside, llm_format origin, llm_format to);
sv_str llm_take_opaque(sv_str inside, llm_format own, llm_format *ret_origin);

#endif
