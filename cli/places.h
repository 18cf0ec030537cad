/*  places.h - the environments of a platform and how they are asked: the actor that has one open
 *  answers by message, of a stopped one its own program does the work.
 *  An environment is a folder DATA/store/SERVICE-N.
 *  Thread: the main thread's; everything blocks.   Ownership: replies live in the caller's arena.
 *  Errors: those of the actor or its program; SV_E_NOT_FOUND when there is no such environment. */
#ifndef CLI_PLACES_H
#define CLI_PLACES_H

#include "bus_client.h"
#include "platform.h"
#include "sv_limits.h"

typedef struct place {
    char service[LIMIT_NAME_BYTES + 1];
    uint32_t instance;
    char name[LIMIT_NAME_BYTES + 12]; /* "router/1" */
    char file[LIMIT_NAME_BYTES + 12]; /* "router-1" */
    char folder[PLATFORM_PATH];
} place;

typedef struct places {
    const config *config;
    place *list; /* by service, then number */
    size_t n;
    bus_client bus; /* opened when it is needed */
} places;

/* `which`: "router", "router/2", or NULL for all. */
int places_find(places *p, const config *c, const char *which, sv_error *err);
void places_free(places *p);
/* "router-2" or "router/2" into a place; false when it is neither. */
bool place_parse(const config *c, const char *text, char between, place *ret);
/* Does SERVICE or SERVICE/N name it? */
bool place_is(const place *e, const char *which);

/* `what`: a method without "store_", the same as the program's subcommand. */
int place_ask(places *p, const place *e, const char *what, const sv_message *type, arena *a,
              void *ret, sv_error *err);
/* A method of the actor's own: SERVICE/N.METHOD by message, or METHOD among its sv_questions. */
int place_call(places *p, const place *e, const char *method, const sv_message *request_type,
               const void *request, uint32_t ttl_ms, const sv_message *type, arena *a, void *ret,
               sv_error *err);
/* The rows of a table, or of all (NULL), as JSON lines to a descriptor. */
int place_dump(places *p, const place *e, const char *table, int fd, sv_error *err);
/* A copy into the file `path`, which must not exist; synced. */
int place_backup(places *p, const place *e, const char *path, arena *a, store_copy_reply *ret,
                 sv_error *err);
/* Looks at the copy in `folder` in a process of its own, which is all that can die of it. */
int place_verify(places *p, const place *e, const char *folder, arena *a, store_verify_reply *ret,
                 sv_error *err);

#endif
