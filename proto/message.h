/*  message.h - bodies of bus messages: declared once in messages.def, decoded with all checks.
 *  A message type is a C struct plus a descriptor (sv_message). From the descriptor come the
 *  decoder, the encoder, JSON both ways, redaction and the reference page.
 *  Thread: any.   Ownership:
 *  decoded strings borrow from the bytes, lists and sub-messages live in the arena.   Errors:
 *  SV_E_MALFORMED and relatives from skim; SV_E_MISSING_FIELD, SV_E_UNKNOWN_FIELD, SV_E_WRONG_TYPE,
 *  SV_E_OUT_OF_RANGE, SV_E_TOO_LARGE, SV_E_NO_MEMORY; err->field is the path. */
#ifndef SV_MESSAGE_H
#define SV_MESSAGE_H

#include "arena.h"
#include "buf.h"
#include "sv_types.h"

typedef enum sv_type {
    SV_T_BOOL, /* bool */
    SV_T_INT,  /* int64_t */
    SV_T_NUM,  /* double */
    SV_T_STR,  /* sv_str, UTF-8 */
    SV_T_BIN,  /* sv_str, any bytes; base64 in JSON */
    SV_T_RAW,  /* sv_str, the msgpack bytes of one value of any type */
    SV_T_STRS, /* sv_strs */
    SV_T_LIST, /* sv_list of sub-messages */
    SV_T_MSG   /* pointer to a sub-message, NULL when absent */
} sv_type;

/* SV_EDGE: in requests filled by the edge from connection or token and never by its clients; in
 * replies left out of HTTP answers. */
enum { SV_REQUIRED = 1, SV_SECRET = 2, SV_EDGE = 4 };

typedef struct sv_strs {
    sv_str *items;
    uint32_t n;
} sv_strs;

typedef struct sv_list {
    void *items; /* array of the sub-message's struct */
    uint32_t n;
} sv_list;

typedef struct sv_message sv_message;

typedef struct sv_field {
    const char *name;
    sv_type type;
    unsigned rules; /* SV_REQUIRED, SV_SECRET, SV_EDGE */
    size_t offset;
    double min, max; /* numbers: value; strings: bytes; lists: items */
    double def;      /* what an absent number or bool becomes */
    const sv_message *sub;
    const char *doc;
} sv_field;

struct sv_message {
    const char *name;
    const char *doc;
    size_t size;
    const sv_field *fields;
    size_t n;
};

enum { MESSAGE_LENIENT = 0, MESSAGE_STRICT = 1 }; /* STRICT refuses fields that are not declared */

/* Skims, then fills *ret (zeroed first). Empty bytes are an empty map. */
int message_decode(const sv_message *m, sv_str bytes, unsigned strict, arena *a, void *ret,
                   sv_error *err);
/* Appends a msgpack map; absent strings, lists and sub-messages and default numbers are left out.
 */
int message_encode(const sv_message *m, const void *src, buf *out);

/* Overwrites the secret texts of a decoded message where they lie, which has to be memory of the
 * caller's. Answers whether there was one. */
bool message_wipe(const sv_message *m, const void *body);

/* msgpack to JSON text. With a descriptor, secret fields print as "[redacted]"; without one
 * everything prints. `redact_unknown` also hides fields the descriptor does not name. Bytes print
 * as base64. */
int message_to_json(const sv_message *m, sv_str msgpack, bool redact_unknown, buf *out,
                    sv_error *err);
/* JSON text to msgpack; with a descriptor, binary fields are read as base64. Duplicate keys, more
 * than LIMIT_DEPTH levels, integers beyond 64 bits and trailing text are errors that name the
 * place. */
int message_from_json(const sv_message *m, sv_str json, buf *out, sv_error *err);

/* Appends the value in the one spelling that message_from_json writes: integers, lengths and counts
 * as short as they can be, floats in 64 bits, the order of keys kept. */
int message_canonical(sv_str msgpack, buf *out, sv_error *err);

/* The descriptor called `name` ("bus_hello"), or NULL. */
const sv_message *message_by_name(const char *name);
/* Calls back for every declared message, in order of declaration. */
void message_each(void (*fn)(void *arg, const sv_message *m), void *arg);

#define SV_MESSAGES_FILE "messages.def"
#include "message_structs.h"
#undef SV_MESSAGES_FILE

/* descriptors: bus_hello_msg and so on */
#define MESSAGE_BEGIN(m) extern const sv_message m##_msg;
#define F_BOOL(m, name, rules, def, doc)
#define F_INT(m, name, rules, min, max, def, doc)
#define F_NUM(m, name, rules, min, max, def, doc)
#define F_STR(m, name, rules, max, doc)
#define F_BIN(m, name, rules, max, doc)
#define F_RAW(m, name, rules, max, doc)
#define F_STRS(m, name, rules, max, doc)
#define F_LIST(m, name, sub, rules, max, doc)
#define F_MSG(m, name, sub, rules, doc)
#define MESSAGE_END(m, doc)
#include "messages.def"
#include "message_undef.h"

#endif
