/*  policy.c - rules in four flat lists, searched in order.
 *
 *  A policy holds tens of rules; the broker's core asks once for each (caller, method) and
 *  remembers the answer until the next policy, so that a scan is all that is needed here. */
#include "policy.h"

#include "error.h"
#include "sv_limits.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { RULES_MAX = 4096 }; /* of each list: a file that big is a mistake */

typedef struct policy_rule {
    char *from, *what, *text;
} policy_rule;

typedef struct policy_entry {
    char *service;
    policy_service value;
} policy_entry;

typedef struct policy_split {
    char *service, *version;
    uint32_t weight;
} policy_split;

typedef struct policy_fault_rule {
    char *from, *call;
    policy_fault fault;
    double percent;
    uint64_t until_s;
} policy_fault_rule;

struct policy {
    atomic_int refs;
    policy_service defaults;
    policy_rule *deny, *allow, *publish;
    policy_entry *services;
    policy_split *splits;
    policy_fault_rule *faults;
    size_t n_deny, n_allow, n_publish, n_services, n_splits, n_faults;
};

static const policy_service built_in = {
    .queue_messages = 1024,
    .queue_ms = 10000,
    .queue_bytes = 64u << 20,
    .eject_failures = 7,
    .eject_base_ms = 1000,
    .eject_max_ms = 60000,
};

policy *policy_new(const policy_service *defaults)
{
    policy *p = calloc(1, sizeof *p);
    if (p == NULL) return NULL;
    atomic_init(&p->refs, 1);
    p->defaults = defaults ? *defaults : built_in;
    return p;
}

policy *policy_ref(policy *p)
{
    atomic_fetch_add(&p->refs, 1);
    return p;
}

static void rules_free(policy_rule *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(list[i].from);
        free(list[i].what);
        free(list[i].text);
    }
    free(list);
}

void policy_unref(policy *p)
{
    if (p == NULL || atomic_fetch_sub(&p->refs, 1) != 1) return;
    rules_free(p->deny, p->n_deny);
    rules_free(p->allow, p->n_allow);
    rules_free(p->publish, p->n_publish);
    for (size_t i = 0; i < p->n_services; i++)
        free(p->services[i].service);
    for (size_t i = 0; i < p->n_splits; i++) {
        free(p->splits[i].service);
        free(p->splits[i].version);
    }
    for (size_t i = 0; i < p->n_faults; i++) {
        free(p->faults[i].from);
        free(p->faults[i].call);
    }
    free(p->services);
    free(p->splits);
    free(p->faults);
    free(p);
}

/* ---- building ---- */

/* One zeroed element more at the end of *list, not yet counted; NULL sets *rc. */
static void *list_room(void *list, size_t n, size_t size, int *rc)
{
    void **at = list;
    if (n >= RULES_MAX) {
        *rc = SV_E_TOO_LARGE;
        return NULL;
    }
    if ((n & (n - 1)) == 0) { /* n is 0 or a power of two: the list is full */
        void *grown = realloc(*at, (n ? n * 2 : 1) * size);
        if (grown == NULL) {
            *rc = SV_E_NO_MEMORY;
            return NULL;
        }
        *at = grown;
    }
    void *room = (char *)*at + n * size;
    memset(room, 0, size);
    *rc = 0;
    return room;
}

static int rule_add(policy_rule **list, size_t *n, const char *from, const char *what,
                    const char *text)
{
    int rc;
    policy_rule *r = list_room(list, *n, sizeof *r, &rc);
    if (r == NULL) return rc;
    r->from = strdup(from);
    r->what = strdup(what);
    r->text = strdup(text);
    if (r->from == NULL || r->what == NULL || r->text == NULL) {
        free(r->from);
        free(r->what);
        free(r->text);
        return SV_E_NO_MEMORY;
    }
    ++*n;
    return 0;
}

int policy_add_allow(policy *p, bool deny, const char *from, const char *call, const char *rule)
{
    return deny ? rule_add(&p->deny, &p->n_deny, from, call, rule)
                : rule_add(&p->allow, &p->n_allow, from, call, rule);
}

int policy_add_publish(policy *p, const char *from, const char *topic)
{
    return rule_add(&p->publish, &p->n_publish, from, topic, topic);
}

int policy_add_service(policy *p, const char *service, const policy_service *s)
{
    for (size_t i = 0; i < p->n_services; i++) {
        if (strcmp(p->services[i].service, service) == 0) {
            p->services[i].value = *s;
            return 0;
        }
    }
    int rc;
    policy_entry *e = list_room(&p->services, p->n_services, sizeof *e, &rc);
    if (e == NULL) return rc;
    e->service = strdup(service);
    if (e->service == NULL) return SV_E_NO_MEMORY;
    e->value = *s;
    p->n_services++;
    return 0;
}

int policy_add_split(policy *p, const char *service, const char *version, uint32_t weight)
{
    int rc;
    policy_split *s = list_room(&p->splits, p->n_splits, sizeof *s, &rc);
    if (s == NULL) return rc;
    s->service = strdup(service);
    s->version = strdup(version);
    s->weight = weight;
    if (s->service == NULL || s->version == NULL) {
        free(s->service);
        free(s->version);
        return SV_E_NO_MEMORY;
    }
    p->n_splits++;
    return 0;
}

int policy_add_fault(policy *p, const char *from, const char *call, policy_fault f, double percent,
                     uint64_t until_s)
{
    if (!(percent >= 0 && percent <= 100)) return SV_E_OUT_OF_RANGE;
    int rc;
    policy_fault_rule *r = list_room(&p->faults, p->n_faults, sizeof *r, &rc);
    if (r == NULL) return rc;
    *r = (policy_fault_rule){strdup(from), strdup(call), f, percent, until_s};
    if (r->from == NULL || r->call == NULL) {
        free(r->from);
        free(r->call);
        return SV_E_NO_MEMORY;
    }
    p->n_faults++;
    return 0;
}

/* What the HTTP API needs of auth, name by name; the operator's own methods are not among it. */
static const char *const edge_auth[] = {"2fa_disable",
                                        "2fa_enable",
                                        "2fa_recovery_codes",
                                        "2fa_setup",
                                        "admin_impersonate",
                                        "admin_org_change",
                                        "admin_orgs",
                                        "admin_reset_2fa",
                                        "admin_user",
                                        "admin_user_change",
                                        "admin_user_new",
                                        "admin_users",
                                        "audit",
                                        "budget",
                                        "budget_delete",
                                        "budget_set",
                                        "budgets",
                                        "change_password",
                                        "forgot",
                                        "invitation_accept",
                                        "invitation_drop",
                                        "invitation_look",
                                        "invitations",
                                        "invite",
                                        "jwks",
                                        "key",
                                        "key_check",
                                        "key_delete",
                                        "key_new",
                                        "key_used",
                                        "keys",
                                        "login",
                                        "login_code",
                                        "logout",
                                        "logout_all",
                                        "me",
                                        "me_change",
                                        "member_change",
                                        "member_remove",
                                        "members",
                                        "metrics",
                                        "org",
                                        "org_change",
                                        "org_delete",
                                        "org_leave",
                                        "org_new",
                                        "org_switch",
                                        "org_transfer",
                                        "orgs",
                                        "ping",
                                        "provider_delete",
                                        "refresh",
                                        "register",
                                        "reset",
                                        "revocations",
                                        "service_new",
                                        "session_end_one",
                                        "sessions",
                                        "setup",
                                        "store_stat",
                                        "verify_again",
                                        "verify_email"};
/* Services that work for users who are away. */
static const char *const delegates[] = {"router",       "workspace", "workflow",
                                        "integrations", "knowledge", "builder"};
static const char *const delegation[] = {"auth.grant", "auth.grant_end", "auth.delegate"};

static int allow(policy *p, const char *from, const char *call)
{
    char words[160];
    snprintf(words, sizeof words, "built-in: %s may call %s", from, call);
    return policy_add_allow(p, false, from, call, words);
}

static int allow_auth(policy *p)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof edge_auth / sizeof *edge_auth; i++) {
        char call[LIMIT_TARGET_BYTES + 1];
        snprintf(call, sizeof call, "auth.%s", edge_auth[i]);
        rc = allow(p, "edge", call);
    }
    for (size_t i = 0; rc == 0 && i < 3 * (sizeof delegates / sizeof *delegates); i++)
        rc = allow(p, delegates[i / 3], delegation[i % 3]);
    return rc;
}

policy *policy_default(const policy_service *defaults)
{
    static const struct {
        const char *from, *call, *rule;
    } rules[] = {
        {"operator", "*", "built-in: operator may call everything"},
        {"*", "bus.ping", "built-in: everybody may call bus.ping"},
        /* Method by method: what an actor serves for its operator (store_dump, usage) is not for
         * the process that faces the internet. */
        {"edge", "router.complete", "built-in: edge may call router.complete"},
        {"edge", "router.models", "built-in: edge may call router.models"},
        {"edge", "router.ping", "built-in: edge may call router.ping"},
        {"edge", "router.metrics", "built-in: edge may call router.metrics"},
        {"edge", "router.providers", "built-in: edge may call router.providers"},
        {"edge", "router.decision", "built-in: edge may call router.decision"},
        {"edge", "router.feedback", "built-in: edge may call router.feedback"},
        {"edge", "router.rankings", "built-in: edge may call router.rankings"},
        {"edge", "router.store_stat", "built-in: edge may call router.store_stat"},
        {"edge", "mail.store_stat", "built-in: edge may call mail.store_stat"},
        {"edge", "mail.ping", "built-in: edge may call mail.ping"},
        {"edge", "mail.metrics", "built-in: edge may call mail.metrics"},
        {"edge", "cache.ping", "built-in: edge may call cache.ping"},
        {"edge", "cache.metrics", "built-in: edge may call cache.metrics"},
        {"edge", "bus.services", "built-in: edge may call bus.services"},
        {"edge", "cache.limit_take", "built-in: edge may call cache.limit_take"},
        {"edge", "cache.complete", "built-in: edge may call cache.complete"},
        {"edge", "cache.stats", "built-in: edge may call cache.stats"},
        {"edge", "cache.entries", "built-in: edge may call cache.entries"},
        {"edge", "cache.invalidate", "built-in: edge may call cache.invalidate"},
        {"workspace", "cache.complete", "built-in: workspace may call cache.complete"},
        {"workspace", "router.complete", "built-in: workspace may call router.complete"},
        {"cache", "router.complete", "built-in: cache may call router.complete"},
        {"cache", "bus.services", "built-in: cache may call bus.services"},
        {"cache", "cache.stats", "built-in: cache may call cache.stats"},
        {"cache", "cache.entries", "built-in: cache may call cache.entries"},
        {"cache", "cache.invalidate", "built-in: cache may call cache.invalidate"},
        {"edge", "workspace.file_begin", "built-in: edge may call workspace.file_begin"},
        {"edge", "workspace.file_append", "built-in: edge may call workspace.file_append"},
        {"edge", "workspace.file_finish", "built-in: edge may call workspace.file_finish"},
        {"edge", "workspace.file_drop", "built-in: edge may call workspace.file_drop"},
        {"edge", "workspace.files", "built-in: edge may call workspace.files"},
        {"edge", "workspace.file", "built-in: edge may call workspace.file"},
        {"edge", "workspace.file_read", "built-in: edge may call workspace.file_read"},
        {"edge", "workspace.file_delete", "built-in: edge may call workspace.file_delete"},
        {"edge", "workspace.chat", "built-in: edge may call workspace.chat"},
        {"edge", "workspace.chat_sessions", "built-in: edge may call workspace.chat_sessions"},
        {"edge", "workspace.chat_session", "built-in: edge may call workspace.chat_session"},
        {"edge", "workspace.chat_images", "built-in: edge may call workspace.chat_images"},
        {"edge", "workspace.chat_session_new",
         "built-in: edge may call workspace.chat_session_new"},
        {"edge", "workspace.chat_session_change",
         "built-in: edge may call workspace.chat_session_change"},
        {"edge", "workspace.chat_session_delete",
         "built-in: edge may call workspace.chat_session_delete"},
        {"edge", "workspace.ping", "built-in: edge may call workspace.ping"},
        {"edge", "workspace.metrics", "built-in: edge may call workspace.metrics"},
        {"edge", "workspace.store_stat", "built-in: edge may call workspace.store_stat"},
        {"edge", "bus.subscribe", "built-in: edge may subscribe to events"},
        {"router", "bus.subscribe", "built-in: router may subscribe to events"},
        {"edge", "router.usage", "built-in: edge may call router.usage"},
        {"router", "auth.feed", "built-in: router may call auth.feed"},
        {"router", "auth.provider", "built-in: router may call auth.provider"},
        {"router", "auth.providers", "built-in: router may call auth.providers"},
        {"router", "auth.provider_put", "built-in: router may call auth.provider_put"},
        {"edge", "router.own_providers", "built-in: edge may call router.own_providers"},
        {"edge", "router.own_provider", "built-in: edge may call router.own_provider"},
        {"edge", "router.own_new", "built-in: edge may call router.own_new"},
        {"edge", "router.own_change", "built-in: edge may call router.own_change"},
        {"edge", "router.own_test", "built-in: edge may call router.own_test"},
        {"router", "cache.budget_reserve", "built-in: router may call cache.budget_reserve"},
        {"router", "cache.budget_settle", "built-in: router may call cache.budget_settle"},
        {"auth", "cache.budget_look", "built-in: auth may call cache.budget_look"},
        {"auth", "mail.send", "built-in: auth may call mail.send"},
    };
    policy *p = policy_new(defaults);
    if (p == NULL) return NULL;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (policy_add_allow(p, false, rules[i].from, rules[i].call, rules[i].rule)) {
            policy_unref(p);
            return NULL;
        }
    }
    if (allow_auth(p)) {
        policy_unref(p);
        return NULL;
    }
    return p;
}

/* ---- asking ---- */

bool policy_match(sv_str pattern, sv_str text)
{
    if (sv_str_is(pattern, "*")) return true;
    if (pattern.n > 2 && memcmp(pattern.p + pattern.n - 2, ".*", 2) == 0) {
        uint32_t n = pattern.n - 1; /* with the dot */
        return text.n > n && memcmp(pattern.p, text.p, n) == 0;
    }
    if (pattern.n > 2 && memcmp(pattern.p, "*.", 2) == 0) {
        const char *dot = text.n ? memchr(text.p, '.', text.n) : NULL;
        if (dot == NULL || dot == text.p) return false;
        sv_str rest = {dot, text.n - (uint32_t)(dot - text.p)};
        return sv_str_eq((sv_str){pattern.p + 1, pattern.n - 1}, rest);
    }
    return sv_str_eq(pattern, text);
}

static const policy_rule *rule_find(const policy_rule *list, size_t n, sv_str from, sv_str what)
{
    for (size_t i = 0; i < n; i++)
        if (policy_match(sv_cstr(list[i].from), from) && policy_match(sv_cstr(list[i].what), what))
            return &list[i];
    return NULL;
}

bool policy_allows(const policy *p, sv_str caller, sv_str target, const char **rule)
{
    const policy_rule *r = rule_find(p->deny, p->n_deny, caller, target);
    bool allowed = false;
    if (r == NULL) {
        r = rule_find(p->allow, p->n_allow, caller, target);
        allowed = r != NULL;
    }
    if (rule) *rule = r ? r->text : "default deny";
    return allowed;
}

bool policy_publishes(const policy *p, sv_str caller, sv_str topic)
{
    if (topic.n > caller.n && topic.p[caller.n] == '.' && memcmp(topic.p, caller.p, caller.n) == 0)
        return true;
    return rule_find(p->publish, p->n_publish, caller, topic) != NULL;
}

const policy_service *policy_for(const policy *p, sv_str service)
{
    for (size_t i = 0; i < p->n_services; i++)
        if (sv_str_is(service, p->services[i].service)) return &p->services[i].value;
    return &p->defaults;
}

bool policy_has_faults(const policy *p)
{
    return p->n_faults > 0;
}

policy_fault policy_fault_for(const policy *p, sv_str caller, sv_str target, double dice,
                              uint64_t unix_s)
{
    for (size_t i = 0; i < p->n_faults; i++) {
        const policy_fault_rule *r = &p->faults[i];
        if (unix_s >= r->until_s || !policy_match(sv_cstr(r->from), caller) ||
            !policy_match(sv_cstr(r->call), target))
            continue;
        if (dice * 100 < r->percent) return r->fault;
        dice = (dice * 100 - r->percent) / (100 - r->percent); /* uniform again for the next rule */
    }
    return (policy_fault){FAULT_NONE, 0};
}

bool policy_has_split(const policy *p, sv_str service)
{
    for (size_t i = 0; i < p->n_splits; i++)
        if (sv_str_is(service, p->splits[i].service)) return true;
    return false;
}

/* "1.2*" matches by prefix, anything else exactly. */
static bool version_match(const char *pattern, sv_str version)
{
    size_t n = strlen(pattern);
    if (n && pattern[n - 1] == '*')
        return version.n >= n - 1 && memcmp(pattern, version.p ? version.p : "", n - 1) == 0;
    return sv_str_is(version, pattern);
}

bool policy_version_ok(const policy *p, sv_str service, sv_str version, double dice)
{
    uint64_t total = 0;
    for (size_t i = 0; i < p->n_splits; i++)
        if (sv_str_is(service, p->splits[i].service)) total += p->splits[i].weight;
    if (total == 0) return true;
    double left = dice * (double)total;
    const policy_split *chosen = NULL;
    for (size_t i = 0; i < p->n_splits; i++) {
        const policy_split *s = &p->splits[i];
        if (s->weight == 0 || !sv_str_is(service, s->service)) continue;
        chosen = s;
        if (left < s->weight) break;
        left -= s->weight;
    }
    return chosen == NULL || version_match(chosen->version, version);
}
