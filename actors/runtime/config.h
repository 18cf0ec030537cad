/*  config.h - every setting declared once (settings.def), read from YAML under SAMOVAR_*
 *  environment. Order of precedence: environment, file, default. The file is $SAMOVAR_CONFIG, else
 *  DATA/samovar.yaml if it exists. An unknown key, a wrong type or a value out of range is an error
 *  that names file, line, key and what is allowed; nothing is ignored.
 *  Thread: read-only after
 *  config_load.   Ownership: strings live as long as the config. */
#ifndef SV_CONFIG_H
#define SV_CONFIG_H

#include "buf.h"

typedef enum setting_type {
    SETTING_INT,
    SETTING_BOOL,
    SETTING_STR,
    SETTING_MS,    /* 500, 500ms, 10s, 5m, 1h; kept in ms */
    SETTING_BYTES, /* 4096, 64KiB, 1MiB, 2GiB */
    SETTING_ENUM,  /* one of the words in `allowed`, separated by | */
    SETTING_STRS,  /* list of text; in the environment separated by commas */
    SETTING_LIST   /* list of maps; its members are rows "key[].member" */
} setting_type;

enum {
    SETTING_SECRET = 1,  /* never shown */
    SETTING_REQUIRED = 2 /* member of a list item that has to be given */
};

typedef struct setting {
    const char *key; /* "edge.port" or "router.providers[].base_url" */
    setting_type type;
    unsigned flags;
    const char *def; /* text of the default; NULL: none */
    double min, max; /* numbers: range; text: length */
    const char *allowed;
    const char *env; /* name in the environment; NULL: SAMOVAR_ + key in capitals with _ */
    const char *doc;
} setting;

typedef struct config config;

/* `file` NULL: look it up as above. SV_E_CONFIG with every problem in detail, the first in message.
 */
int config_load(const char *file, config **ret, sv_error *err);
void config_free(config *c);

/* `key` must be declared; a wrong key or type is a defect of the program and aborts. */
int64_t config_int(const config *c, const char *key); /* INT, MS, BYTES */
bool config_bool(const config *c, const char *key);
const char *config_str(const config *c,
                       const char *key); /* STR, ENUM; NULL when unset without default */
uint32_t config_strs(const config *c, const char *key, const char *const **ret);
/* Lists of maps: number of items, then members by index. */
uint32_t config_items(const config *c, const char *key);
const char *config_item_str(const config *c, const char *key, uint32_t i, const char *member);
int64_t config_item_int(const config *c, const char *key, uint32_t i, const char *member);
bool config_item_bool(const config *c, const char *key, uint32_t i, const char *member);
/* Was the member given, or has it a default? */
bool config_item_has(const config *c, const char *key, uint32_t i, const char *member);
uint32_t config_item_strs(const config *c, const char *key, uint32_t i, const char *member,
                          const char *const **ret);
/* "default", "environment SAMOVAR_X" or "file.yaml:12". */
const char *config_source(const config *c, const char *key);
const char *config_file(const config *c); /* NULL when there was none */

/* Folders derived from the data folder. */
const char *config_data(const config *c); /* absolute */
const char *config_run(const config *c);  /* DATA/run, or $SAMOVAR_RUN: sockets, locks, 0700 */

/* Every setting with value, source, type, range and doc: YAML or a JSON object. Secrets show as
 * "set". */
int config_show(const config *c, bool json, buf *out);
const setting *config_settings(size_t *n);

#endif
