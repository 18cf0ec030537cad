/*  model_inside.h - what model_steps.c and model_map.c share. */
#ifndef MODEL_INSIDE_H
#define MODEL_INSIDE_H

#include "model.h"

enum { LIMIT_POSITION = 512, SHORT_TEXT = 96, KEPT_TEXT = 80 };

/* Room for the texts of one row. */
typedef struct row_room {
    char name[200], tag[300], secret[100], text[3002];
    uint32_t tag_which;
} row_room;

extern const store_table model_items;

sv_str model_org(uint32_t which);
/* The row that step `stamp` writes under this key. */
void model_row(uint64_t seed, uint64_t stamp, uint32_t org, uint32_t id, row_room *room, item *ret);
uint64_t model_hash_bytes(uint64_t h, const void *p, size_t n);
uint64_t model_hash_row(const item *i);
uint64_t model_hash_seen(const step *s, uint64_t h, const item *row);
char model_blob_byte(uint64_t stamp, uint64_t at);
bool model_ordered(const step *s);

#endif
