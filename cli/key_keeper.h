/*  key_keeper.h - the supervisor's copy of the root key, for children that keep something.
 *  A child gets it as a memory file whose descriptor it inherits, so that it is in no argument, no
 *  environment and no other process. After a change of the root key the next child gets the new one.
 *  Thread: the loop's.   Ownership: key_keeper_close wipes the key; descriptors are the caller's.
 *  Errors: those of root_key_get. */
#ifndef CLI_KEY_KEEPER_H
#define CLI_KEY_KEEPER_H

#include "config.h"
#include "sv_types.h"

#include <sys/stat.h>

struct seal_key;

typedef struct key_keeper {
    const config *config; /* borrowed */
    struct seal_key *key; /* NULL: not open */
    struct stat seen;     /* of the file when it was read */
} key_keeper;

/* Reads the root key, or makes it (root_key.h). */
int key_keeper_open(key_keeper *k, const config *c, sv_error *err);
void key_keeper_close(key_keeper *k);
/* For one child; the caller closes it. */
int key_keeper_fd(key_keeper *k, int *ret_fd, sv_error *err);

#endif
