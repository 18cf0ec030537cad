/*  policy.h - who may call what, and how: decided per (caller, target) without allocation.
 *  A policy is immutable; a reload builds a new one and swaps it in (core event CORE_POLICY).
 *  Thread: any for reading.   Ownership: policy_ref / policy_unref.
 *
 *  The file (docs/policy.md):
 *    allow:                       # default deny; first matching rule wins, `deny:` rules come
 *  first
 *      - {from: edge, call: ["router.complete", "*.ping"]}
 *      - {from: operator, call: ["*"]}
 *    deny:
 *      - {from: "*", call: ["bus.drain"]}
 *    publish:                     # who may publish which topics beyond its own name
 *      - {from: edge, topic: ["edge.*"]}
 *    services:
 *      router:
 *        timeout_ms: 600000       # cap on ttl
 *        concurrency: 4096        # cap on requests in flight over all instances
 *        queue: {messages: 1024, bytes: 64MiB, wait_ms: 10000}
 *        ejection: {failures: 7, base_ms: 1000, max_ms: 60000}
 *        split: [{version: "1.2*", weight: 90}, {version: "1.3*", weight: 10}]
 *        ticket: required         # requests need a valid ticket (default: optional)
 *    faults:                      # fault injection, always time-boxed
 *      - {from: "*", call: ["router.complete"], action: abort, percent: 10, until:
 *  2030-01-01T00:00:00Z} # action: delay (delay_ms), abort, drop
 */
#ifndef SV_POLICY_H
#define SV_POLICY_H

#include "sv_types.h"

typedef struct policy policy;

typedef struct policy_service {
    uint32_t timeout_ms;               /* 0: LIMIT_TTL_MS */
    uint32_t concurrency;              /* 0: no cap */
    uint32_t queue_messages, queue_ms; /* 0 messages: nothing waits; 0 ms: until its own deadline */
    uint64_t queue_bytes;              /* 0: only the messages count */
    uint32_t eject_failures;           /* consecutive; 0 switches ejection off */
    uint32_t eject_base_ms, eject_max_ms;
    bool ticket_required;
} policy_service;

typedef struct policy_fault {
    enum { FAULT_NONE, FAULT_DELAY, FAULT_ABORT, FAULT_DROP } action;
    uint32_t delay_ms;
} policy_fault;

/* Built-in policy: edge may call router.complete, .models, .ping and .metrics; operator may call
 * everything; everybody may call bus.ping, edge and router may subscribe to events; deny the rest.
 * `defaults` NULL takes the example values above. NULL when memory is out. */
policy *policy_default(const policy_service *defaults);
/* SV_E_CONFIG with FILE:LINE and what is allowed. In policy_file.c, which alone knows YAML. */
int policy_load(const char *file, const policy_service *defaults, policy **ret, sv_error *err);
policy *policy_ref(policy *p);
void policy_unref(policy *p);

/* True when `caller` may call `target`; *rule (may be NULL) names the rule that decided. */
bool policy_allows(const policy *p, sv_str caller, sv_str target, const char **rule);
/* True when `caller` may publish `topic`: its own name's topics always. */
bool policy_publishes(const policy *p, sv_str caller, sv_str topic);
const policy_service *policy_for(const policy *p, sv_str service);
/* The fault to inject, if any: `dice` is uniform in [0, 1), `unix_s` now. */
policy_fault policy_fault_for(const policy *p, sv_str caller, sv_str target, double dice,
                              uint64_t unix_s);
/* Split by version: false when `version` should not be chosen for this request. `dice` in [0, 1) is
 * the hash of the request's key or id, so a key sticks to its side. Without a split: true. */
bool policy_version_ok(const policy *p, sv_str service, sv_str version, double dice);
/* Cheap questions for hot paths: is there any fault rule, any split of this service? */
bool policy_has_faults(const policy *p);
bool policy_has_split(const policy *p, sv_str service);

/* Building blocks, used by policy_default and the file loader. Return 0 or an error number. */
policy *policy_new(const policy_service *defaults);
int policy_add_allow(policy *p, bool deny, const char *from, const char *call, const char *rule);
int policy_add_publish(policy *p, const char *from, const char *topic);
int policy_add_service(policy *p, const char *service, const policy_service *s);
int policy_add_split(policy *p, const char *service, const char *version, uint32_t weight);
int policy_add_fault(policy *p, const char *from, const char *call, policy_fault f, double percent,
                     uint64_t until_s);
/* "a.*" matches a.b and a.b.c; "*" everything; "*.ping" a leading word; no other wildcard. */
bool policy_match(sv_str pattern, sv_str text);

#endif
