/*  offline.h - inside of libsamovar: `samovar-SERVICE store ...`, an actor's program working on an
 *  environment that no process has open, without bus or loop.
 *  Results are one JSON line on standard output (rows of a dump: one each), errors one line
 *  "samovar-SERVICE: CODE: WORDS" on standard error.
 *  Thread: the main thread's. */
#ifndef SV_OFFLINE_H
#define SV_OFFLINE_H

#include "samovar.h"

/* `argv` starts behind "store". Answers the exit code: 0 done, 1 failed, 2 wrong words, 78 wrong
 * configuration, root key, service or version. */
int offline_main(int argc, char **argv, const sv_actor *actor);

#endif
