/*  env.h - which environment a child gets.
 *  Provider keys and their base URLs go to the router alone. Every other child gets an environment
 *  without them and without anything that looks like a credential (*_API_KEY, *_TOKEN, *_SECRET,
 *  *_PASSWORD, *_SECRET_KEY, *_ACCESS_KEY). Variables of the supervisor's own protocol and the keys
 *  of the store for backups never pass through.
 *  Thread: any.   Ownership: the list owns its strings.   Errors: SV_E_NO_MEMORY. */
#ifndef CLI_ENV_H
#define CLI_ENV_H

#include "sv_types.h"

typedef struct env_list {
    char **vars; /* "NAME=value", ends with NULL: for execve */
    size_t n, cap;
} env_list;

/* True when only the router may see `name`; `extra` are the variables that providers in the
 * configuration name as key_env. */
bool env_is_secret(const char *name, size_t name_n, const char *const *extra, size_t n_extra);
/* Copies `from` (environ) for a child. `secrets`: leave the secret variables in. */
int env_copy(env_list *ret, char *const *from, bool secrets, const char *const *extra,
             size_t n_extra);
/* Adds or replaces a variable. */
int env_set(env_list *l, const char *name, const char *value);
void env_free(env_list *l);

#endif
