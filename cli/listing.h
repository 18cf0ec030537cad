/*  listing.h - what `ls` commands print: a table, or with -o json an array of objects, as pages arrive.
 *  Thread: the main thread's.   Errors: those of the question; out of memory. */
#ifndef CLI_LISTING_H
#define CLI_LISTING_H

#include "message.h"
#include "places.h"

enum { LISTING_PAGE_BYTES = 4 << 20 };

typedef struct listing {
    const sv_message *type;          /* of an item */
    void (*print)(const void *item); /* a row of the table */
    const char *head;                /* the table's, with its end of line */
    bool json;
    uint64_t n; /* items so far */
} listing;

/* Prints the next items; the first ones behind the table's head. */
int listing_put(listing *l, const sv_list *items, sv_error *err);
/* What stands behind the last item; the head when there was none. */
void listing_end(const listing *l);

/* A method that answers in pages: where its request takes the name after which the next one starts,
 * where its reply has the items and that name. */
typedef struct listing_pages {
    const char *service, *method;
    const sv_message *request_type, *reply_type;
    const void *request;
    void *reply;
    sv_str *after;
    const sv_list *items;
    const sv_str *next;
    uint32_t ttl_ms; /* of a page */
} listing_pages;

/* Prints all that an actor that runs, or one that is stopped, has; complains. The exit code. */
int listing_all(listing *l, const config *c, const listing_pages *pages);

/* A moment as ISO 8601 has it, in UTC; `none` for 0. */
enum { LISTING_TIME = 32 };
const char *listing_time(int64_t unix_ms, const char *none, char to[LISTING_TIME]);

#endif
