/*  config_value.h - the text of one setting turned into a checked value.
 *  Thread: any.   Ownership: values are copied into the arena.
 *  Errors: SV_E_CONFIG with words that say what was given and what is allowed; SV_E_NO_MEMORY. */
#ifndef SV_CONFIG_VALUE_H
#define SV_CONFIG_VALUE_H

#include "arena.h"
#include "config.h"

typedef struct config_value {
    bool set;
    int64_t number;           /* INT, MS, BYTES; BOOL as 0 or 1 */
    const char *text;         /* STR, ENUM */
    const char *const *texts; /* STRS */
    uint32_t n_texts;
} config_value;

/* "whole number from 0 to 65535", for messages and for people. */
int config_allowed(const setting *s, buf *out);
/* One scalar. `words` (NUL-terminated, at most 255) tells what is wrong on SV_E_CONFIG. */
int config_value_parse(const setting *s, const char *text, arena *mem, config_value *ret,
                       char words[256]);
/* A list of texts for a STRS setting. */
int config_value_list(const setting *s, const char *const *texts, uint32_t n, arena *mem,
                      config_value *ret, char words[256]);
/* "int", "ms" ... */
const char *config_type_name(setting_type t);

#endif
