/*  uuid.h - UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, then random bits.
 *  Thread: any; each thread keeps its own pool of random bytes and its own last time, so ids of one
 *  thread sort by creation.   Errors: none (the random source aborts the process if it fails). */
#ifndef SV_UUID_H
#define SV_UUID_H

#include "sv_types.h"

enum { UUID_TEXT = 36 };

sv_id uuid_v7(uint64_t unix_ms);
/* A fresh id with the present time. */
sv_id uuid_new(void);
/* Fills `n` <= 256 random bytes from the thread's pool. */
void uuid_random(void *p, size_t n);
/* Lower-case 8-4-4-4-12 text with NUL. */
void uuid_format(const sv_id *id, char text[UUID_TEXT + 1]);
/* Accepts 36 characters with dashes or 32 without, any case. 0 or SV_E_INVALID. */
int uuid_parse(sv_str text, sv_id *ret);
/* `n` bytes as 2n lower-case hex digits and NUL. */
void hex_format(const void *p, size_t n, char *text);
/* The value of a hex digit, or -1. */
int hex_digit(char c);
/* 2n hex digits into n bytes. 0 or SV_E_INVALID. */
int hex_parse(sv_str text, void *p, size_t n);

#endif
