/*  sim_behaviour.h - how the provider simulator answers one request: pace, size and what goes
 *  wrong. Written as text in the model name ("sim,tokens=20,fault=cut,at=3") or as a JSON object in
 *  a script ({"tokens": 20, "fault": "cut", "at": 3}); both have the same keys (sim_behaviour.def).
 *  Thread: one.   Ownership: plain values.   Errors: -1 and a sentence in `why`. */
#ifndef KIT_SIM_BEHAVIOUR_H
#define KIT_SIM_BEHAVIOUR_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum sim_fault {
#define FAULT(name, doc) SIM_##name,
#include "sim_behaviour.def"
#undef FAULT
    SIM_FAULTS
} sim_fault;

typedef struct sim_behaviour {
    sim_fault fault;
#define NUMBER(name, def, max, doc) int64_t name;
#define TEXT(name, doc)             char name[64];
#include "sim_behaviour.def"
#undef NUMBER
#undef TEXT
} sim_behaviour;

enum { SIM_ECHO_TEXT = 1, SIM_ECHO_ALL = 2 };

void sim_default(sim_behaviour *b);
/* Applies every KEY=VALUE of `model`, separated by commas; words without = are left alone. */
int sim_from_model(sim_behaviour *b, const char *model, char *why, size_t cap);
int sim_from_json(sim_behaviour *b, const json_t *object, char *why, size_t cap);
const char *sim_fault_name(sim_fault f);

#endif
