/*  store_work.h - inside of libsamovar: what is asked of an environment by people, the same by
 *  message (builtin_store.c) and on a stopped actor's command line (offline.c).
 *  Thread: any; everything here may block for a while: not on the loop.
 *  Ownership: replies borrow from the arena and the store's schema. */
#ifndef SV_STORE_WORK_H
#define SV_STORE_WORK_H

#include "message.h"
#include "store.h"

int work_stat(store *s, const char *service, uint32_t instance, arena *a, store_stat_reply *ret,
              sv_error *err);
/* One piece of a check or a dump: in = out = `progress`. */
int work_piece(store *s, store_fn *fn, void *progress, const char *owner, sv_error *err);
void work_check_reply(const store_check *c, store_check_reply *ret);
void work_copy_reply(const store_copy *c, const char *service, store_copy_reply *ret);
/* Appends a reply as JSON with every number, also those that are 0. */
int work_json(const sv_message *m, const void *reply, buf *out);
int work_keys(store *s, store_keys_reply *ret, sv_error *err);

#endif
