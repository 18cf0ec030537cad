/*  sim_schema.h - a value that fits a JSON schema as well as is simple: the arguments of tool calls
 *  and structured answers of the provider simulator.
 *  Thread: one.   Ownership: the answer is the caller's.   Limits: depth 32.   Errors: none. */
#ifndef KIT_SIM_SCHEMA_H
#define KIT_SIM_SCHEMA_H

#include <jansson.h>

/* Required properties are filled (all, when none is required); `schema` may be NULL. */
json_t *sim_fill(const json_t *schema);

#endif
