/*  store_word.h - how the store of a running actor is, in one word.
 *  Thread: the main thread's; blocks for the answer, a second at most. */
#ifndef CLI_STORE_WORD_H
#define CLI_STORE_WORD_H

#include "bus_client.h"

enum { STORE_WORD = 17 };

/* "ready", "full", "failing", "away"; "silent" when it does not answer; "" when it keeps nothing. */
void store_word(bus_client *b, const bus_service_instance *in, char word[STORE_WORD]);

#endif
