/*  keep.c - rules of cache.task_keep, and the routing's generation from the configuration as it is
 *  shown: numbers only say how long and how much, and some settings only what is told of it. */
#include "keep.h"

#include "error.h"
#include "json_scan.h"
#include "seal.h"

#include <stdio.h>
#include <stdlib.h>

enum { MOST_S = 31536000, SHOWN = 16 << 20, ENDPOINTS = 3 };

/* The last ENDPOINTS are no tasks. */
static const char *const tasks[] = {"chat",       "code",        "summarise",   "translate",
                                    "extract",    "reason",      "vision",      "long",
                                    "embeddings", "moderations", "count_tokens"};

static int wrong(sv_error *err, const char *at)
{
    return sv_fail(
        err, SV_E_CONFIG, "cache.task_keep",
        "cache.task_keep: \"%.40s\" is not understood; write e.g. translate=7d, "
        "summarise=1d, with s, m, h or d and at most 365d, and as names chat, code, "
        "summarise, translate, extract, reason, vision, long, embeddings, moderations or "
        "count_tokens, each once.",
        at);
}

static int64_t unit(char c)
{
    switch (c) {
    case 's': return 1;
    case 'm': return 60;
    case 'h': return 3600;
    case 'd': return 86400;
    default: return 0;
    }
}

static const char *skip(const char *p)
{
    return p + strspn(p, " ");
}

/* NULL: not understood. */
static const char *one_rule(const char *p, keep_rules *k)
{
    size_t n = strcspn(p, "= ,");
    bool known = false;
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++)
        known = known || (strlen(tasks[i]) == n && memcmp(tasks[i], p, n) == 0);
    if (!known || p[n] != '=' || k->n == KEEP_TASKS) return NULL;
    snprintf(k->task[k->n], sizeof *k->task, "%.*s", (int)n, p);
    for (uint32_t i = 0; i < k->n; i++)
        if (strcmp(k->task[i], k->task[k->n]) == 0) return NULL;
    p += n + 1;
    char *end;
    if (*p < '0' || *p > '9') return NULL;
    long number = strtol(p, &end, 10);
    if (number == 0 && (*end == 0 || *end == ',' || *end == ' ')) return k->n++, skip(end);
    int64_t seconds = unit(*end);
    if (seconds == 0 || number > MOST_S / seconds) return NULL;
    k->seconds[k->n++] = number * seconds;
    return skip(end + 1);
}

int keep_parse(const char *text, keep_rules *ret, sv_error *err)
{
    *ret = (keep_rules){.n = 0};
    const char *p = skip(text);
    while (*p) {
        const char *next = one_rule(p, ret);
        if (next == NULL || (*next && *next != ',')) return wrong(err, p);
        p = *next ? skip(next + 1) : next;
    }
    return 0;
}

int64_t keep_seconds(const keep_rules *k, sv_str endpoint, sv_str task)
{
    bool by_endpoint = sv_str_is(endpoint, "embeddings") || sv_str_is(endpoint, "moderations") ||
                       sv_str_is(endpoint, "count_tokens");
    for (uint32_t i = 0; i < k->n; i++)
        if (sv_str_is(by_endpoint ? endpoint : task, k->task[i])) return k->seconds[i];
    return 0;
}

/* ---- the same meaning ---- */

bool meaning_allowed(const meaning_rules *m, sv_str task)
{
    for (uint32_t i = 0; i < m->n_tasks; i++)
        if (sv_str_is(task, m->task[i])) return true;
    return false;
}

static bool is_task(const char *word)
{
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks - ENDPOINTS; i++)
        if (strcmp(word, tasks[i]) == 0) return true;
    return false;
}

int meaning_rules_read(const config *c, meaning_rules *ret, sv_error *err)
{
    const char *const *list, *model = config_str(c, "cache.semantic_model");
    uint32_t n = config_strs(c, "cache.semantic_tasks", &list);
    *ret = (meaning_rules){.on = config_bool(c, "cache.semantic")};
    ret->threshold = (double)config_int(c, "cache.semantic_permille") / 1000;
    snprintf(ret->model, sizeof ret->model, "%s", model ? model : "");
    if (ret->on && ret->model[0] == 0)
        return sv_fail(
            err, SV_E_CONFIG, "cache.semantic_model",
            "cache.semantic_model: with cache.semantic the name of a model for embeddings "
            "is needed, e.g. text-embedding-3-small.");
    for (uint32_t i = 0; i < n; i++) {
        if (!is_task(list[i]))
            return sv_fail(
                err, SV_E_CONFIG, "cache.semantic_tasks",
                "cache.semantic_tasks: there is no task \"%.40s\"; known are chat, code, "
                "summarise, translate, extract, reason, vision and long.",
                list[i]);
        if (ret->n_tasks < KEEP_TASKS && !meaning_allowed(ret, sv_cstr(list[i])))
            snprintf(ret->task[ret->n_tasks++], sizeof *ret->task, "%s", list[i]);
    }
    if (ret->n_tasks == 0) strcpy(ret->task[ret->n_tasks++], "chat");
    return 0;
}

static bool decides(const setting *s)
{
    static const char prefix[] = "router.";
    static const char *const says[] = {"router.prices", "router.log_requests",
                                       "router.keep_decisions"};
    for (size_t i = 0; i < sizeof says / sizeof *says; i++)
        if (strcmp(s->key, says[i]) == 0) return false;
    return strncmp(s->key, prefix, sizeof prefix - 1) == 0 && strchr(s->key, '[') == NULL &&
           s->type != SETTING_INT && s->type != SETTING_MS && s->type != SETTING_BYTES;
}

int keep_generation(const config *c, char ret[CACHE_KEY + 1])
{
    buf shown;
    size_t n;
    file_hash h;
    const setting *all = config_settings(&n);
    buf_init(&shown, SHOWN);
    int rc = config_show(c, true, &shown);
    json_value root = json_root(buf_str(&shown));
    file_hash_start(&h);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (!decides(&all[i])) continue;
        sv_str v = json_get(json_get(root, all[i].key), "value").raw;
        file_hash_add(&h, all[i].key, strlen(all[i].key) + 1);
        if (v.n) file_hash_add(&h, v.p, v.n);
    }
    file_hash_end(&h, ret);
    buf_free(&shown);
    return rc;
}
