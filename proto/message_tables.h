/*  message_tables.h - expands a messages table into descriptors. Include once in a .c file after
 *  defining SV_MESSAGES_FILE, e.g. #define SV_MESSAGES_FILE "messages.def". No guard. */
#define MESSAGE_BEGIN(m) static const sv_field m##_fields[] = {
#define F_BOOL(m, name, rules, def, doc)                                                           \
    {#name, SV_T_BOOL, rules, offsetof(m, name), 0, 1, def, NULL, doc},
#define F_INT(m, name, rules, min, max, def, doc)                                                  \
    {#name, SV_T_INT, rules, offsetof(m, name), (double)(min), (double)(max), def, NULL, doc},
#define F_NUM(m, name, rules, min, max, def, doc)                                                  \
    {#name, SV_T_NUM, rules, offsetof(m, name), min, max, def, NULL, doc},
#define F_STR(m, name, rules, max, doc)                                                            \
    {#name, SV_T_STR, rules, offsetof(m, name), 0, max, 0, NULL, doc},
#define F_BIN(m, name, rules, max, doc)                                                            \
    {#name, SV_T_BIN, rules, offsetof(m, name), 0, max, 0, NULL, doc},
#define F_RAW(m, name, rules, max, doc)                                                            \
    {#name, SV_T_RAW, rules, offsetof(m, name), 0, max, 0, NULL, doc},
#define F_STRS(m, name, rules, max, doc)                                                           \
    {#name, SV_T_STRS, rules, offsetof(m, name), 0, max, 0, NULL, doc},
#define F_LIST(m, name, sub, rules, max, doc)                                                      \
    {#name, SV_T_LIST, rules, offsetof(m, name), 0, max, 0, &sub##_msg, doc},
#define F_MSG(m, name, sub, rules, doc)                                                            \
    {#name, SV_T_MSG, rules, offsetof(m, name), 0, 0, 0, &sub##_msg, doc},
#define MESSAGE_END(m, doc)                                                                        \
    }                                                                                              \
    ;                                                                                              \
    const sv_message m##_msg = {#m, doc, sizeof(m), m##_fields,                                    \
                                sizeof m##_fields / sizeof(sv_field)};
#include SV_MESSAGES_FILE
#include "message_undef.h"
