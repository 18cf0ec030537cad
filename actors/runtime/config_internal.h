/*  config_internal.h - inside of the configuration: what config.c fills and config_read.c answers
 *  from. Not for others. */
#ifndef SV_CONFIG_INTERNAL_H
#define SV_CONFIG_INTERNAL_H

#include "config_value.h"

#include <assert.h>

enum { CONFIG_ENV_BYTES = 160 };

/* Arrays are parallel to settings.def. */
struct config {
    arena mem;
    size_t n_settings;
    config_value *values;
    config_value ***items; /* LIST: rows of members, each a full array of values */
    uint32_t *n_items;
    int *lines;     /* in the file; 0: not there */
    bool *from_env; /* the environment has the last word */
    const char **sources;
    const char *file, *data, *run;
};

void config_env_name(const setting *s, char name[CONFIG_ENV_BYTES]);
/* Fills c->sources. */
int config_note_sources(config *c);

#endif
