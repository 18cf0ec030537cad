/*  models_table.h - the inside of models.h: one read of the file with the operator's changes over it.
 *  Two indexes over one open hash: (provider, name) to what is known of it, and (provider, id) to the
 *  provider's name; provider "" stands for any.
 *  Thread: one owner.   Ownership: everything lies in the table's arena.
 *  Limits: MODEL_FILE_BYTES, MODEL_RECORDS, MODEL_NAMES a model.
 *  Errors: SV_E_CONFIG with the place; SV_E_NO_MEMORY. */
#ifndef ROUTER_MODELS_TABLE_H
#define ROUTER_MODELS_TABLE_H

#include "json_scan.h"
#include "models.h"

enum {
    MODEL_FILE_BYTES = 4 << 20,
    MODEL_RECORDS = 8192,
    MODEL_NAMES = 64, /* of one model at all providers */
    MODEL_NAME_BYTES = 256
};

typedef struct model_record {
    const char *id;
    model_info *info;
    const char *names[MODEL_NAMES]; /* the id, then those at whatever provider, each once */
    uint32_t n_names;
    struct model_record *next;
} model_record;

typedef enum model_key { KEY_NAME, KEY_AT, KEY_RECORD } model_key;

typedef struct model_slot {
    uint64_t hash; /* 0: free */
    model_key key;
    const char *provider, *name; /* name of KEY_AT and KEY_RECORD: the id */
    union {
        model_info *info;
        const char *called;
        model_record *record;
    } to;
} model_slot;

typedef struct model_table {
    arena mem;
    model_slot *slots;
    size_t n, cap; /* cap: a power of two */
    model_record *first;
    uint32_t records;
    char date[11];
} model_table;

int model_table_new(model_table **ret);
void model_table_free(model_table *t);
/* The slot, or NULL. */
model_slot *model_table_get(const model_table *t, model_key key, sv_str provider, sv_str name);
/* A new slot, or with *ret_there true the one that there is already; names are borrowed. NULL: no
 * memory. */
model_slot *model_table_put(model_table *t, model_key key, const char *provider, const char *name,
                            bool *ret_there);
/* A copy of *from, or of what is known of nothing, that lives in the table. */
model_info *model_table_info(model_table *t, const model_info *from, const char *id);
/* The same of prices of pictures. */
const model_picture *model_table_pictures(model_table *t, const model_picture *from, uint32_t n);

/* models_read.c: fills `t` from the file's text; `name` is the file's, for messages. */
int models_read(model_table *t, const char *name, sv_str text, sv_error *err);
/* models_config.c: router.model_info, then router.prices over it. */
int models_configure(model_table *t, const config *c, sv_error *err);
/* What a provider's spelling and the file's may differ by: looks for the name as it is, without
 * "models/" before it, and without a date behind it. NULL: nothing is known. */
const model_slot *model_table_search(const model_table *t, sv_str provider, sv_str name);
/* False: there is no such ability or task. */
bool model_can_parse(sv_str word, unsigned *ret);

#endif
