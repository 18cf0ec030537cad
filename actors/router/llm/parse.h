/*  parse.h - what the formats' parsers and writers of requests have in common.
 *
 *  llm_members finds all members of an object in one walk, by a table of names. llm_in knows
 *  where in the request the parser is, so that errors name the field:
 *  "messages[2].content[0].type".
 *  Thread: one owner.   Ownership: values borrow from the text, copies lie in the arena.
 *  Errors: as llm.h. */
#ifndef LLM_PARSE_H
#define LLM_PARSE_H

#include "llm.h"

enum {
    LLM_LEVELS = 6,
    LLM_DEPTH = 64, /* of JSON in strings */
    LLM_DROPS = 16  /* names of parts within messages that are left out, the last one "..." */
};

typedef struct llm_in {
    arena *a;
    llm_request *q;
    sv_error *err;
    struct {
        const char *name;
        int64_t index; /* -1: no list */
    } level[LLM_LEVELS];
    uint32_t depth;
    uint32_t drops;
} llm_in;

/* One walk: values[i] becomes that of member names[i]; null counts as not there (JSON_NONE).
 * Answers how many other members there are. */
uint32_t llm_members(json_value object, const char *const *names, size_t n, json_value *values);
/* Names of the members of `object` that are not among `names` into q->left; call it once, before
 * llm_drop. 0 or SV_E_NO_MEMORY. */
int llm_keep_left(llm_in *in, json_value object, const char *const *names, size_t n);
/* Adds `field` below where the parser is to q->left: something that has no neutral form. The first
 * are named, see LLM_DROPS. 0 or SV_E_NO_MEMORY. */
int llm_drop(llm_in *in, const char *field);
uint32_t llm_count(json_value array);

/* The parser goes into a member (index -1) or a list's element, and out of it. */
void llm_enter(llm_in *in, const char *name, int64_t index);
void llm_leave(llm_in *in);
/* Fails with the path of `field` below where the parser is. */
int llm_bad(const llm_in *in, int code, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Typed values. What is not there is fine and leaves *ret as it is: JSON_NONE, and null but for
 * llm_want, which is for elements of lists too. */
int llm_want(const llm_in *in, json_value v, json_type type, const char *field);
int llm_string(const llm_in *in, json_value v, const char *field, sv_str *ret); /* its inside */
int llm_bool(const llm_in *in, json_value v, const char *field, bool *ret);
int llm_int(const llm_in *in, json_value v, const char *field, int64_t least, int64_t most,
            int64_t *ret);
int llm_number(const llm_in *in, json_value v, const char *field, sv_str *ret); /* raw */
int llm_object(const llm_in *in, json_value v, const char *field, sv_str *ret); /* raw */
/* SV_E_MISSING_FIELD unless the value is there, and is not null. */
int llm_need(const llm_in *in, json_value v, const char *field);
/* An array of at most `most` elements; *n is their number. */
int llm_list(const llm_in *in, json_value v, const char *field, uint32_t most, uint32_t *n);

/* n zeroed elements of `size` from the arena; NULL with the error recorded. */
void *llm_new(const llm_in *in, size_t n, size_t size);
/* stop: a string or a list of strings. */
int llm_stops(llm_in *in, json_value v, const char *field);

/* The arguments of a call as a JSON object, from a string's inside: {} when empty; text that is no
 * object (a model wrote it) becomes {"invalid_arguments":"..."} so that no history is refused. */
int llm_arguments(const llm_in *in, sv_str inside, sv_str *ret);
/* The same, written: what a writer of whole calls needs. 0 or a buffer error. */
int llm_put_object(buf *out, sv_str inside);
/* "data:image/png;base64,AAAA" goes to media_type and data, another address to url. */
int llm_address(const llm_in *in, sv_str inside, const char *field, llm_part *part);
/* Appends in quotes: part's url, or a data: URL of its media type and data. */
void llm_put_address(buf *out, const llm_part *part);
/* Gives results the name of the call they answer, where only the id is known. */
void llm_name_results(llm_request *q);

/* What a writer could not take over: the request's own format gets the left members back as they
 * came (each as ,"key":value), another one has them noted. */
void llm_put_left(const llm_request *q, llm_format to, buf *out, llm_notes *notes);
/* Is reasoning asked for, and would the model not refuse that? What it would refuse is noted. */
bool llm_wants_thinking(const llm_request *q, const llm_target *t, llm_notes *notes);
/* "low", "medium" or "high" for a budget of thinking. */
const char *llm_effort_of(int64_t thinking_tokens);
/* And back, for formats that want a number. */
int64_t llm_thinking_of(sv_str effort);

/* Appends JSON text as a JSON string. */
void llm_put_json_string(buf *out, sv_str json);
/* Appends JSON text on one line, for events of a stream. */
void llm_put_line(buf *out, sv_str json);
/* Appends ,"key": unless the buffer's last byte opens a container. */
void llm_put_key(buf *out, const char *key);
/* A made-up id: prefix and 24 letters and digits. */
void llm_make_id(const char *prefix, char ret[40]);
/* `n` as a count of tokens: 0 unless it is an integer from 0 to 2^53. */
int64_t llm_tokens_of(json_value n);
/* Does `inside` say `s`? Escapes count. */
bool llm_is(sv_str inside, const char *s);

#endif
