/*  vector.h - one embedding as JSON: a list of numbers, or base64 of little-endian float32.
 *  Thread: one owner.   Ownership: a vector owns its numbers and uses their memory again.
 *  Errors: SV_E_PROVIDER_GARBAGE for anything but finite numbers, buffer errors. */
#ifndef LLM_VECTOR_H
#define LLM_VECTOR_H

#include "buf.h"
#include "json_scan.h"

typedef struct vector {
    buf bytes; /* float32, little-endian */
    buf text;
} vector;

/* At most `most` numbers. */
void vector_init(vector *v, uint32_t most);
void vector_free(vector *v);
/* How many numbers a vector in either form has, without a look at them. */
uint32_t vector_count(json_value in);
/* Reads one, in either form. */
int vector_read(vector *v, json_value in);
/* Makes it one long; a vector of zeros stays. */
void vector_normalise(vector *v);
/* Appends it as JSON. */
int vector_put(const vector *v, bool base64, buf *out);

#endif
