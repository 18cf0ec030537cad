/*  limits_rules.h - which counters a request counts against and how many each allows, from the
 *  settings; and how the outcome is told to the client.
 *  Thread: any.   Ownership: everything given is borrowed for the call.
 *  Errors: SV_E_CONFIG of limits_scale_check. */
#ifndef EDGE_LIMITS_RULES_H
#define EDGE_LIMITS_RULES_H

#include "config.h"
#include "name_table.h"
#include "routes.h"
#include "sv_types.h"

enum { LIMITS_COUNTERS = 4 /* of one request, at most */ };

typedef struct limits_pair {
    uint32_t minute, hour; /* 0: not limited */
} limits_pair;

typedef enum limits_tier {
    LIMITS_ANONYMOUS,
    LIMITS_FREE,
    LIMITS_PREMIUM,
    LIMITS_OWN,
    LIMITS_TIERS
} limits_tier;

typedef struct limits_rules {
    limits_pair tiers[LIMITS_TIERS];
    uint32_t auth_minute, upload_minute, org_factor;
    uint32_t scale;
    uint32_t edges; /* that share what is allowed while the owner is away */
} limits_rules;

/* Who asks for what. */
typedef struct limits_subject {
    route_class class;
    bool operator_here;            /* open access: nothing is limited */
    const char *address;           /* of the client, as text; IPv6 counts by its /64 */
    sv_str user, org, key, tier;   /* user empty: nobody has said who he is */
    uint32_t key_minute, key_hour; /* the key's own limits; 0: none of that span */
} limits_subject;

typedef struct limits_item {
    uint32_t n;
    char name[NAME_BYTES_MOST];
    limits_pair pair;
} limits_item;

typedef struct limits_verdict {
    bool allowed;
    bool limited; /* a limit holds: the rest is of the tightest one, and the client is told */
    bool hour;    /* limit, remaining and reset_s are of its hour */
    limits_pair pair;
    uint32_t limit, remaining, reset_s; /* remaining: at least so many */
    uint32_t retry_after_ms;            /* when not allowed */
} limits_verdict;

typedef struct limits_headers {
    uint32_t n;
    const char *names[5];
    char values[5][64];
} limits_headers;

void limits_rules_read(const config *c, limits_rules *ret);
/* limits.scale beyond 1 is said in the log, and refused where others than this machine listen. */
int limits_scale_check(const config *c, bool loopback, sv_error *err);
/* The number of counters; 0: nothing is limited. */
uint32_t limits_plan(const limits_rules *r, const limits_subject *s,
                     limits_item items[LIMITS_COUNTERS]);
const char *limits_class_name(route_class c);
/* n is 0 when nothing is limited. */
void limits_headers_fill(const limits_verdict *v, limits_headers *ret);
/* SV_E_RATE in words, with the pause. For verdicts that do not allow. */
int limits_error(const limits_verdict *v, sv_error *err);

#endif
