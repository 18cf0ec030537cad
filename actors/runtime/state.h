/*  state.h - inside of libsamovar: an actor's store as its process sees it.
 *  The environment lies in DATA/store/NAME-INSTANCE. Writes run on the store's thread; what they
 *  came to is told on the loop, some at a time, so that a large commit does not hold the loop.
 *  Thread: the loop's, except the store's own hooks.
 *  Ownership: process_free's caller closes what state_open opened.
 *  Errors: state_open passes on those of store_open and of the root key's sources. */
#ifndef SV_STATE_H
#define SV_STATE_H

#include "config.h"
#include "pool.h"
#include "samovar.h"

#include <limits.h>

enum {
    STATE_INSTANCES = 64, /* tried in turn when no number is given */
    STATE_PATH = PATH_MAX
};

/* Opens the actor's environment: instance p->instance, or the first free one, which p->instance
 * becomes. Does nothing for an actor without a schema. */
int state_open(sv_process *p, sv_error *err);
/* Every write that was begun is finished and its `done` called; threads that read the store end. The
 * calls have been cancelled before. */
void state_settle(sv_process *p);
void state_close(sv_process *p);
/* "ready", "full", "failing" or "away"; NULL: the actor keeps nothing. */
const char *state_word(const sv_process *p);
const char *state_name(store_state s);
/* A missing root key is SV_E_CONFIG like a wrong one: `rc` and *err as root_key_get left them. */
int state_key_error(int rc, sv_error *err);
/* Would starting again with the same configuration end in the same way? */
bool state_is_config(int code);

/* DATA/store/SERVICE-INSTANCE. */
int state_folder(const config *c, const char *service, uint32_t instance, char ret[STATE_PATH],
                 sv_error *err);
/* Does a process have this environment open? */
bool state_held(const char *folder);
/* The thread for copies of the environment: long and blocking. NULL: SV_E_NO_MEMORY. */
pool *state_copier(sv_process *p, sv_error *err);
/* A caller that takes nothing of a copy for so long is dropped. A test makes it short. */
extern uint64_t store_stall_us;
/* One copy at a time: whoever sets it clears it. */
bool *state_copying(sv_process *p);

#endif
