/*  message_structs.h - expands a messages table into C structs. Define SV_MESSAGES_FILE first, e.g.
 *  #define SV_MESSAGES_FILE "my_messages.def"; message_tables.h makes the descriptors. No guard. */
#define MESSAGE_BEGIN(m)                          typedef struct m {
#define F_BOOL(m, name, rules, def, doc)          bool name;
#define F_INT(m, name, rules, min, max, def, doc) int64_t name;
#define F_NUM(m, name, rules, min, max, def, doc) double name;
#define F_STR(m, name, rules, max, doc)           sv_str name;
#define F_BIN(m, name, rules, max, doc)           sv_str name;
#define F_RAW(m, name, rules, max, doc)           sv_str name;
#define F_STRS(m, name, rules, max, doc)          sv_strs name;
#define F_LIST(m, name, sub, rules, max, doc)     sv_list name;
#define F_MSG(m, name, sub, rules, doc)           sub *name;
#define MESSAGE_END(m, doc)                                                                        \
    }                                                                                              \
    m;
#include SV_MESSAGES_FILE
#include "message_undef.h"
