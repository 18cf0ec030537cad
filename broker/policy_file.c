/*  policy_file.c - the policy file, read strictly: every key is known or the file is refused.
 *
 *  The YAML tree is walked once, section by section, and poured into a fresh policy through the
 *  building blocks of policy.h. The first thing that is wrong ends the load with FILE:LINE and what
 *  is allowed there; a half-built policy is dropped, so a bad file never changes anything. Scalars
 *  are read by the same parser as settings: durations and sizes are written alike everywhere. */
#include "config_value.h"
#include "envelope.h"
#include "error.h"
#include "policy.h"
#include "sv_limits.h"
#include "yaml_tree.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { FAULT_HOURS = 24, CALLS_IN_RULE = 64 };

typedef struct reader {
    const char *file;
    policy *policy;
    uint64_t now_s;
    sv_error *err;
} reader;

static int refuse(const reader *r, const yaml_node *at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static int refuse(const reader *r, const yaml_node *at, const char *fmt, ...)
{
    char words[192];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(words, sizeof words, fmt, ap);
    va_end(ap);
    return sv_fail(r->err, SV_E_CONFIG, at->key, "%s:%d: %s", r->file, at->line, words);
}

/* What a building block answered, as an error of the file. */
static int built(const reader *r, const yaml_node *at, int rc)
{
    if (rc == 0) return 0;
    if (rc == SV_E_TOO_LARGE) return refuse(r, at, "too many entries of this kind");
    return sv_fail(r->err, rc, NULL, NULL);
}

/* ---- shapes ---- */

static int want(const reader *r, const yaml_node *n, yaml_kind kind, const char *what)
{
    static const char *const found[] = {"a single value", "a map", "a list"};
    if (n->kind == kind) return 0;
    return refuse(r, n, "%s must be %s, not %s", n->key ? n->key : "this entry", what,
                  found[n->kind]);
}

/* A map whose keys are all among `allowed`, words separated by blanks. */
static int want_map(const reader *r, const yaml_node *n, const char *allowed)
{
    int rc = want(r, n, YAML_MAP, "a map");
    if (rc) return rc;
    for (const yaml_node *c = n->child; c; c = c->next) {
        size_t len = strlen(c->key);
        bool known = false;
        for (const char *w = allowed; *w && !known; w += strspn(w, " ")) {
            size_t word = strcspn(w, " ");
            known = word == len && memcmp(w, c->key, len) == 0;
            w += word;
        }
        if (!known) return refuse(r, c, "%.40s is not known here; allowed: %s", c->key, allowed);
    }
    return 0;
}

static int want_member(const reader *r, const yaml_node *map, const char *key,
                       const yaml_node **ret)
{
    *ret = yaml_get(map, key);
    return *ret ? 0 : refuse(r, map, "%s is missing", key);
}

/* ---- scalars ---- */

static int read_scalar(const reader *r, const yaml_node *n, setting s, config_value *ret)
{
    char words[256];
    int rc = want(r, n, YAML_SCALAR, "a single value");
    if (rc) return rc;
    rc = config_value_parse(&s, n->value, NULL, ret, words);
    if (rc) return refuse(r, n, "%s %.160s", n->key ? n->key : "this value", words);
    return 0;
}

/* The member `key` of `map`, if it is there, into *to. */
static int read_u32(const reader *r, const yaml_node *map, const char *key, setting_type type,
                    double min, double max, uint32_t *to)
{
    const yaml_node *n = yaml_get(map, key);
    if (n == NULL) return 0;
    config_value v;
    int rc = read_scalar(r, n, (setting){.key = key, .type = type, .min = min, .max = max}, &v);
    if (rc == 0) *to = (uint32_t)v.number;
    return rc;
}

static int read_u64(const reader *r, const yaml_node *map, const char *key, setting_type type,
                    double min, double max, uint64_t *to)
{
    const yaml_node *n = yaml_get(map, key);
    if (n == NULL) return 0;
    config_value v;
    int rc = read_scalar(r, n, (setting){.key = key, .type = type, .min = min, .max = max}, &v);
    if (rc == 0) *to = (uint64_t)v.number;
    return rc;
}

/* "*", a service name. */
static int read_from(const reader *r, const yaml_node *rule, const char **ret)
{
    const yaml_node *n;
    int rc = want_member(r, rule, "from", &n);
    if (rc == 0) rc = want(r, n, YAML_SCALAR, "a service name or \"*\"");
    if (rc) return rc;
    if (strcmp(n->value, "*") != 0 && !envelope_name_ok(sv_cstr(n->value)))
        return refuse(r, n, "from: \"%.40s\" is neither a service name nor \"*\"", n->value);
    *ret = n->value;
    return 0;
}

static bool word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

/* What policy_match understands: "*", "a.b", "a.*", "*.b", and no other use of the star. */
static bool pattern_ok(const char *p)
{
    size_t n = strlen(p);
    if (strcmp(p, "*") == 0) return true;
    if (n < 3 || n > LIMIT_TARGET_BYTES || strchr(p, '.') == NULL) return false;
    size_t from = strncmp(p, "*.", 2) == 0 ? 2 : 0;
    size_t to = strcmp(p + n - 2, ".*") == 0 ? n - 2 : n;
    if ((from && to < n) || from >= to) return false;
    bool word = false;
    for (size_t i = from; i < to; i++) {
        if (p[i] == '.' && !word) return false;
        if (p[i] != '.' && !word_char(p[i])) return false;
        word = p[i] != '.';
    }
    return word;
}

/* The list of patterns under `key`; a single text stands for a list of one. */
static int read_patterns(const reader *r, const yaml_node *rule, const char *key,
                         const yaml_node *ret[CALLS_IN_RULE], uint32_t *n)
{
    const yaml_node *list;
    int rc = want_member(r, rule, key, &list);
    if (rc) return rc;
    *n = 0;
    if (list->kind == YAML_SCALAR) {
        ret[(*n)++] = list;
    } else {
        rc = want(r, list, YAML_LIST, "a list of patterns");
        if (rc) return rc;
        for (const yaml_node *c = list->child; c; c = c->next) {
            if (*n == CALLS_IN_RULE)
                return refuse(r, c, "more than %d patterns in one rule", CALLS_IN_RULE);
            if ((rc = want(r, c, YAML_SCALAR, "a pattern"))) return rc;
            ret[(*n)++] = c;
        }
    }
    if (*n == 0) return refuse(r, list, "%s holds no pattern", key);
    for (uint32_t i = 0; i < *n; i++)
        if (!pattern_ok(ret[i]->value))
            return refuse(r, ret[i],
                          "\"%.60s\" is not a pattern; allowed: service.method, service.*, "
                          "*.method or \"*\"",
                          ret[i]->value);
    return 0;
}

/* ---- sections ---- */

static int read_rule(const reader *r, const yaml_node *rule, bool deny)
{
    const char *from;
    const yaml_node *calls[CALLS_IN_RULE];
    uint32_t n;
    int rc = want_map(r, rule, "from call");
    if (rc == 0) rc = read_from(r, rule, &from);
    if (rc == 0) rc = read_patterns(r, rule, "call", calls, &n);
    for (uint32_t i = 0; rc == 0 && i < n; i++) {
        char words[160];
        snprintf(words, sizeof words, "line %d: %s %s %.90s", calls[i]->line, from,
                 deny ? "may not call" : "may call", calls[i]->value);
        rc = built(r, rule, policy_add_allow(r->policy, deny, from, calls[i]->value, words));
    }
    return rc;
}

static int read_allow(const reader *r, const yaml_node *rule)
{
    return read_rule(r, rule, false);
}

static int read_deny(const reader *r, const yaml_node *rule)
{
    return read_rule(r, rule, true);
}

static int read_publish(const reader *r, const yaml_node *rule)
{
    const char *from;
    const yaml_node *topics[CALLS_IN_RULE];
    uint32_t n;
    int rc = want_map(r, rule, "from topic");
    if (rc == 0) rc = read_from(r, rule, &from);
    if (rc == 0) rc = read_patterns(r, rule, "topic", topics, &n);
    for (uint32_t i = 0; rc == 0 && i < n; i++)
        rc = built(r, rule, policy_add_publish(r->policy, from, topics[i]->value));
    return rc;
}

/* "2030-01-01T00:00:00Z", also with a numeric offset and a fraction of a second (RFC 3339). */
static bool parse_time(const char *text, uint64_t *ret)
{
    struct tm tm = {0};
    int used = 0;
    if (strspn(text, "0123456789") != 4 || strlen(text) < 20 ||
        sscanf(text, "%4d-%2d-%2d%*1[Tt]%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
               &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &used) != 6 ||
        used != 19)
        return false;
    int month = tm.tm_mon, day = tm.tm_mday;
    if (month < 1 || month > 12 || day < 1 || tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60)
        return false;
    text += used;
    if (*text == '.') {
        size_t digits = strspn(text + 1, "0123456789");
        if (digits == 0) return false;
        text += 1 + digits;
    }
    long offset = 0;
    if (*text == '+' || *text == '-') {
        int hour = 0, min = 0, n = 0;
        if (strspn(text + 1, "0123456789") != 2 ||
            sscanf(text + 1, "%2d:%2d%n", &hour, &min, &n) != 2 || n != 5 || text[6] || hour > 23 ||
            min > 59)
            return false;
        offset = (*text == '-' ? -1 : 1) * (hour * 3600L + min * 60L);
    } else if ((*text != 'Z' && *text != 'z') || text[1]) {
        return false;
    }
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    struct tm check = tm;
    time_t t = timegm(&check);
    /* timegm carries 31 February over into March: then the day was no day. */
    if (t < 0 || (tm.tm_sec < 60 && (check.tm_mday != day || check.tm_mon != month - 1)) ||
        t < offset)
        return false;
    *ret = (uint64_t)(t - offset);
    return true;
}

static int read_until(const reader *r, const yaml_node *rule, uint64_t *ret)
{
    const yaml_node *n = yaml_get(rule, "until");
    if (n == NULL)
        return refuse(r, rule, "until is missing: a fault must end, at most %d hours from now",
                      FAULT_HOURS);
    if (n->kind != YAML_SCALAR || !parse_time(n->value, ret))
        return refuse(r, n, "until must be a time such as 2030-01-01T00:00:00Z");
    if (*ret > r->now_s + FAULT_HOURS * 3600u)
        return refuse(r, n, "until lies more than %d hours ahead", FAULT_HOURS);
    return 0;
}

static int read_action(const reader *r, const yaml_node *rule, policy_fault *ret)
{
    const yaml_node *n;
    int rc = want_member(r, rule, "action", &n);
    if (rc) return rc;
    const char *word = n->kind == YAML_SCALAR ? n->value : "";
    *ret = (policy_fault){FAULT_NONE, 0};
    if (strcmp(word, "delay") == 0)
        ret->action = FAULT_DELAY;
    else if (strcmp(word, "abort") == 0)
        ret->action = FAULT_ABORT;
    else if (strcmp(word, "drop") == 0)
        ret->action = FAULT_DROP;
    else
        return refuse(r, n, "action must be delay, abort or drop");
    const yaml_node *delay = yaml_get(rule, "delay_ms");
    if (ret->action == FAULT_DELAY && delay == NULL)
        return refuse(r, rule, "delay_ms is missing for the action delay");
    if (ret->action != FAULT_DELAY && delay)
        return refuse(r, delay, "delay_ms goes only with the action delay");
    return read_u32(r, rule, "delay_ms", SETTING_MS, 1, 600000, &ret->delay_ms);
}

static int read_percent(const reader *r, const yaml_node *rule, double *ret)
{
    const yaml_node *n = yaml_get(rule, "percent");
    *ret = 100;
    if (n == NULL) return 0;
    char *end = NULL;
    bool digits = n->kind == YAML_SCALAR && strspn(n->value, "0123456789.") == strlen(n->value) &&
                  n->value[0] && n->value[0] != '.';
    double v = digits ? strtod(n->value, &end) : -1;
    if (!digits || *end || !(v >= 0 && v <= 100))
        return refuse(r, n, "percent must be a number from 0 to 100");
    *ret = v;
    return 0;
}

static int read_fault(const reader *r, const yaml_node *rule)
{
    const char *from;
    const yaml_node *calls[CALLS_IN_RULE];
    uint32_t n = 0;
    policy_fault f = {0};
    double percent = 0;
    uint64_t until_s = 0;
    int rc = want_map(r, rule, "from call action delay_ms percent until");
    if (rc == 0) rc = read_from(r, rule, &from);
    if (rc == 0) rc = read_patterns(r, rule, "call", calls, &n);
    if (rc == 0) rc = read_action(r, rule, &f);
    if (rc == 0) rc = read_percent(r, rule, &percent);
    if (rc == 0) rc = read_until(r, rule, &until_s);
    for (uint32_t i = 0; rc == 0 && i < n; i++)
        rc =
            built(r, rule, policy_add_fault(r->policy, from, calls[i]->value, f, percent, until_s));
    return rc;
}

static int read_queue(const reader *r, const yaml_node *service, policy_service *s)
{
    const yaml_node *q = yaml_get(service, "queue");
    if (q == NULL) return 0;
    int rc = want_map(r, q, "messages bytes wait_ms");
    if (rc == 0) rc = read_u32(r, q, "messages", SETTING_INT, 0, 1000000, &s->queue_messages);
    if (rc == 0) rc = read_u64(r, q, "bytes", SETTING_BYTES, 0, 4294967296.0, &s->queue_bytes);
    if (rc == 0) rc = read_u32(r, q, "wait_ms", SETTING_MS, 1, 600000, &s->queue_ms);
    return rc;
}

static int read_ejection(const reader *r, const yaml_node *service, policy_service *s)
{
    const yaml_node *e = yaml_get(service, "ejection");
    if (e == NULL) return 0;
    int rc = want_map(r, e, "failures base_ms max_ms");
    if (rc == 0) rc = read_u32(r, e, "failures", SETTING_INT, 0, 1000000, &s->eject_failures);
    if (rc == 0) rc = read_u32(r, e, "base_ms", SETTING_MS, 1, 3600000, &s->eject_base_ms);
    if (rc == 0) rc = read_u32(r, e, "max_ms", SETTING_MS, 1, 3600000, &s->eject_max_ms);
    if (rc == 0 && s->eject_max_ms < s->eject_base_ms)
        rc = refuse(r, e, "max_ms must not be below base_ms (%u)", s->eject_base_ms);
    return rc;
}

static int read_split(const reader *r, const yaml_node *service)
{
    const yaml_node *list = yaml_get(service, "split");
    if (list == NULL) return 0;
    int rc = want(r, list, YAML_LIST, "a list");
    uint64_t total = 0;
    for (const yaml_node *c = list->child; rc == 0 && c; c = c->next) {
        const yaml_node *version, *weight;
        uint32_t w = 0;
        rc = want_map(r, c, "version weight");
        if (rc == 0) rc = want_member(r, c, "version", &version);
        if (rc == 0) rc = want_member(r, c, "weight", &weight);
        if (rc == 0) rc = want(r, version, YAML_SCALAR, "a version such as \"1.2*\"");
        if (rc) return rc;
        size_t n = strlen(version->value);
        const char *star = strchr(version->value, '*');
        if (n == 0 || n > 32 || (star && star[1]))
            return refuse(r, version,
                          "version must be 1 to 32 characters; a star may stand at the end");
        rc = read_u32(r, c, "weight", SETTING_INT, 0, 1000000, &w);
        if (rc == 0) rc = built(r, c, policy_add_split(r->policy, service->key, version->value, w));
        total += w;
    }
    if (rc == 0 && total == 0) rc = refuse(r, list, "split needs at least one weight above 0");
    return rc;
}

static int read_service(const reader *r, const yaml_node *n)
{
    if (!envelope_name_ok(sv_cstr(n->key)))
        return refuse(r, n, "\"%.40s\" is not a service name", n->key);
    /* What a service that is not named gets is where this one starts from. */
    policy_service s = *policy_for(r->policy, (sv_str){NULL, 0});
    int rc = want_map(r, n, "timeout_ms concurrency queue ejection split ticket");
    if (rc == 0) rc = read_u32(r, n, "timeout_ms", SETTING_MS, 1, LIMIT_TTL_MS, &s.timeout_ms);
    if (rc == 0) rc = read_u32(r, n, "concurrency", SETTING_INT, 0, 1048576, &s.concurrency);
    if (rc == 0) rc = read_queue(r, n, &s);
    if (rc == 0) rc = read_ejection(r, n, &s);
    if (rc == 0) rc = read_split(r, n);
    const yaml_node *ticket = yaml_get(n, "ticket");
    if (rc == 0 && ticket) {
        const char *word = ticket->kind == YAML_SCALAR ? ticket->value : "";
        s.ticket_required = strcmp(word, "required") == 0;
        if (!s.ticket_required && strcmp(word, "optional") != 0)
            return refuse(r, ticket, "ticket must be required or optional");
    }
    return rc ? rc : built(r, n, policy_add_service(r->policy, n->key, &s));
}

static int read_list(const reader *r, const yaml_node *root, const char *key,
                     int (*one)(const reader *r, const yaml_node *rule))
{
    const yaml_node *list = yaml_get(root, key);
    if (list == NULL) return 0;
    int rc = want(r, list, YAML_LIST, "a list of rules");
    for (const yaml_node *c = list->child; rc == 0 && c; c = c->next)
        rc = one(r, c);
    return rc;
}

static int read_policy(const reader *r, const yaml_node *root)
{
    int rc = want_map(r, root, "allow deny publish services faults");
    if (rc == 0) rc = read_list(r, root, "deny", read_deny);
    if (rc == 0) rc = read_list(r, root, "allow", read_allow);
    if (rc == 0) rc = read_list(r, root, "publish", read_publish);
    if (rc == 0) rc = read_list(r, root, "faults", read_fault);
    const yaml_node *services = yaml_get(root, "services");
    if (rc || services == NULL) return rc;
    rc = want(r, services, YAML_MAP, "a map of services");
    for (const yaml_node *c = services->child; rc == 0 && c; c = c->next)
        rc = read_service(r, c);
    return rc;
}

int policy_load(const char *file, const policy_service *defaults, policy **ret, sv_error *err)
{
    yaml_tree tree = {0};
    int rc = yaml_load_file(file, &tree, err);
    if (rc) return rc;
    policy *p = policy_new(defaults);
    if (p == NULL) {
        yaml_tree_free(&tree);
        return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    }
    reader r = {.file = file, .policy = p, .now_s = (uint64_t)time(NULL), .err = err};
    if (tree.root) rc = read_policy(&r, tree.root);
    yaml_tree_free(&tree);
    if (rc) {
        policy_unref(p);
        return rc;
    }
    *ret = p;
    return 0;
}
