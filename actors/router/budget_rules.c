/*  budget_rules.c - definitions by id, by what they limit, and how many each organization has. */
#include "budget_rules.h"

#include "arena.h"
#include "budget_name.h"
#include "error.h"
#include "fnv.h"
#include "log.h"
#include "name_table.h"
#include "uuid.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BUCKETS = 16384,
    IDS = 16384,
    ORGS = 4096,
    ID_BYTES = 36,
    MODEL_BYTES = 128,
    ARENA_BYTES = 65536,
    LEVELS = 3,
    KINDS = 3
};

static const char *const levels[LEVELS] = {"platform", "org", "user"};
static const char *const kinds[KINDS] = {"org", "user", "key"};

typedef struct org_count {
    named name;
    uint32_t n;
} org_count;

struct budget_rule {
    named id;
    struct budget_rule *chain; /* of its bucket */
    uint64_t hash;
    uint8_t level, kind;
    char org[ID_BYTES + 1], subject[ID_BYTES + 1], model[MODEL_BYTES + 1];
    budget_caps caps;
};

struct budget_rules {
    name_table ids, orgs;
    uint32_t by_model;
    budget_rule *buckets[BUCKETS];
    uint64_t seed;
    arena arena;
};

/* ---- by what they limit ---- */

static uint64_t hash_of(const budget_rules *r, int kind, sv_str org, sv_str subject, sv_str model)
{
    uint64_t h = (r->seed ^ (uint64_t)kind) * FNV_PRIME;
    return fnv_more(fnv_more(fnv_more(h, org), subject), model);
}

static budget_rule **bucket(budget_rules *r, uint64_t hash)
{
    return &r->buckets[(hash ^ hash >> 32) % BUCKETS];
}

/* ---- life ---- */

budget_rules *budget_rules_new(void)
{
    budget_rules *r = calloc(1, sizeof *r);
    if (r == NULL) return NULL;
    uuid_random(&r->seed, sizeof r->seed);
    arena_init(&r->arena, ARENA_BYTES);
    if (name_table_init(&r->ids, IDS) == 0) {
        if (name_table_init(&r->orgs, ORGS) == 0) return r;
        name_table_free(&r->ids);
    }
    free(r);
    return NULL;
}

static org_count *org_of(const budget_rules *r, sv_str org)
{
    named *m = name_table_find(&r->orgs, org);
    return m ? member_of(org_count, name, m) : NULL;
}

static void drop(budget_rules *r, budget_rule *b)
{
    budget_rule **at = bucket(r, b->hash);
    while (*at != b)
        at = &(*at)->chain;
    *at = b->chain;
    org_count *o = org_of(r, sv_cstr(b->org));
    if (--o->n == 0) {
        name_table_remove(&r->orgs, &o->name);
        free(o);
    }
    r->by_model -= b->model[0] != 0;
    name_table_remove(&r->ids, &b->id);
    free(b);
}

void budget_rules_clear(budget_rules *r)
{
    for (uint32_t i = 0; i < BUCKETS; i++)
        while (r->buckets[i])
            drop(r, r->buckets[i]);
}

void budget_rules_free(budget_rules *r)
{
    if (r == NULL) return;
    budget_rules_clear(r);
    name_table_free(&r->ids);
    name_table_free(&r->orgs);
    arena_free(&r->arena);
    free(r);
}

/* ---- what comes ---- */

static int word(sv_str s, const char *const list[], int n)
{
    for (int i = 0; i < n; i++)
        if (sv_str_is(s, list[i])) return i;
    return -1;
}

static int add(budget_rules *r, sv_str id, const auth_budget *b)
{
    int level = word(b->level, levels, LEVELS), kind = word(b->kind, kinds, KINDS);
    if (level < 0 || kind < 0) return SV_E_INVALID;
    budget_rule *rule = calloc(1, sizeof *rule);
    org_count *o = org_of(r, b->org);
    if (rule && o == NULL && (o = calloc(1, sizeof *o))) name_table_add(&r->orgs, &o->name, b->org);
    if (rule == NULL || o == NULL) {
        free(rule);
        return SV_E_NO_MEMORY;
    }
    o->n++;
    rule->level = (uint8_t)level;
    rule->kind = (uint8_t)kind;
    snprintf(rule->org, sizeof rule->org, "%.*s", SV_FMT(b->org));
    snprintf(rule->subject, sizeof rule->subject, "%.*s", SV_FMT(b->subject));
    snprintf(rule->model, sizeof rule->model, "%.*s", SV_FMT(b->model));
    rule->caps = (budget_caps){b->day, b->month, b->total, b->minute_requests, b->minute_tokens};
    rule->hash = hash_of(r, kind, sv_cstr(rule->org), sv_cstr(rule->subject), sv_cstr(rule->model));
    rule->chain = *bucket(r, rule->hash);
    *bucket(r, rule->hash) = rule;
    r->by_model += rule->model[0] != 0;
    name_table_add(&r->ids, &rule->id, id);
    return 0;
}

void budget_rules_take(budget_rules *r, const auth_feed_item *item)
{
    auth_budget b;
    sv_error err = {.code = 0};
    named *m = name_table_find(&r->ids, item->id);
    if (m) drop(r, member_of(budget_rule, id, m));
    if (item->gone) return;
    int rc = message_decode(&auth_budget_msg, item->data, MESSAGE_LENIENT, &r->arena, &b, &err);
    if (rc == 0 && (rc = add(r, item->id, &b))) sv_fail(&err, rc, NULL, NULL);
    if (rc) log_write(LOG_ERROR, "a budget cannot be read and does not hold", LOG_ERR(&err));
    arena_reset(&r->arena);
}

/* ---- finding ---- */

typedef struct finding {
    const budget_rules *r;
    const budget_who *who;
    sv_str model; /* empty: those about all */
    const budget_rule *best[LEVELS][KINDS];
} finding;

static void look(finding *f, int kind, sv_str org, sv_str subject)
{
    uint64_t hash = hash_of(f->r, kind, org, subject, f->model);
    for (const budget_rule *b = *bucket((budget_rules *)f->r, hash); b; b = b->chain) {
        if (b->hash != hash || b->kind != kind || !sv_str_is(org, b->org) ||
            !sv_str_is(subject, b->subject) || !sv_str_is(f->model, b->model))
            continue;
        const budget_rule **best = &f->best[b->level][kind];
        if (*best == NULL) *best = b;
    }
}

/* The special before the general. */
static void look_all(finding *f, bool own, bool common)
{
    static const sv_str each = {"*", 1}, none = {"", 0};
    const budget_who *w = f->who;
    const sv_str subjects[KINDS] = {none, w->user, w->key};
    memset(f->best, 0, sizeof f->best);
    for (int kind = 0; kind < KINDS; kind++) {
        sv_str s = subjects[kind];
        if (kind == 0 ? w->org.n == 0 : s.n == 0) continue;
        if (own) look(f, kind, w->org, s);
        if (own && kind) look(f, kind, w->org, each);
        if (common) look(f, kind, each, kind ? each : none);
    }
}

static void take_best(const finding *f, int share, budget_found *ret)
{
    for (int l = 0; l < LEVELS; l++)
        for (int k = 0; k < KINDS; k++)
            if (f->best[l][k]) {
                ret->shares[ret->n] = (int8_t)share;
                ret->rules[ret->n++] = f->best[l][k];
            }
}

void budget_rules_find(const budget_rules *r, const budget_who *who, budget_found *ret)
{
    static const sv_str each = {"*", 1};
    ret->n = 0;
    if (r->ids.n == 0) return;
    bool own = who->org.n && org_of(r, who->org), common = org_of(r, each) != NULL;
    if (!own && !common) return;
    finding f = {.r = r, .who = who, .model = {"", 0}};
    look_all(&f, own, common);
    take_best(&f, -1, ret);
    for (uint32_t i = 0; r->by_model && i < who->n_shares; i++) {
        f.model = who->shares[i].model;
        look_all(&f, own, common);
        take_best(&f, (int)i, ret);
    }
}

bool budget_rules_by_model(const budget_rules *r)
{
    return r->by_model > 0;
}

const budget_caps *budget_rule_caps(const budget_rule *rule)
{
    return &rule->caps;
}

uint32_t budget_rule_counter(const budget_rule *rule, const budget_who *who, char *ret)
{
    sv_str subject = rule->kind == 1 ? who->user : rule->kind == 2 ? who->key : (sv_str){"", 0};
    return budget_name(ret, levels[rule->level], kinds[rule->kind], who->org, subject,
                       sv_cstr(rule->model));
}
