/*  models_config.c - the operator's word over the file's: router.model_info, then router.prices. */
#include "models_table.h"

#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char infos[] = "router.model_info", prices[] = "router.prices";

static int __attribute__((format(printf, 6, 7)))
wrong_item(const config *c, const char *list, uint32_t i, const char *member, sv_error *err,
           const char *fmt, ...)
{
    char words[140];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(words, sizeof words, fmt, ap);
    va_end(ap);
    return sv_fail(err, SV_E_CONFIG, list, "%s: key %s[%u].%s: %s", config_source(c, list), list, i,
                   member, words);
}

/* ---- whom an entry means ---- */

typedef int change_fn(model_table *t, model_info *info, const config *c, uint32_t i, sv_error *err);

/* Changes what is known of (provider, name); other names keep what they had. */
static int change_one(model_table *t, sv_str provider, sv_str name, change_fn *fn, const config *c,
                      uint32_t i, sv_error *err)
{
    const model_slot *known = model_table_search(t, provider, name);
    char *own_provider = arena_copy(&t->mem, provider), *own_name = arena_copy(&t->mem, name);
    model_info *info = model_table_info(t, known ? known->to.info : NULL, known ? NULL : own_name);
    bool there;
    model_slot *s = own_provider && own_name && info
                        ? model_table_put(t, KEY_NAME, own_provider, own_name, &there)
                        : NULL;
    if (s == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    s->to.info = info;
    return fn(t, info, c, i, err);
}

/* An entry without a provider is about that name at every provider that the file knows, and at all
 * others. */
static int change_everywhere(model_table *t, sv_str name, change_fn *fn, const config *c,
                             uint32_t i, sv_error *err)
{
    int rc = change_one(t, sv_cstr(""), name, fn, c, i, err);
    for (size_t k = 0; rc == 0 && k < t->cap; k++) {
        model_slot *s = &t->slots[k];
        if (s->hash == 0 || s->key != KEY_NAME || s->provider[0] == 0 || !sv_str_is(name, s->name))
            continue;
        model_info *info = model_table_info(t, s->to.info, NULL);
        if (info == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
        s->to.info = info;
        rc = fn(t, info, c, i, err);
    }
    return rc;
}

/* A slash may lie between provider and model, or within the model's name: both are meant. What names
 * a provider holds before what does not, so it comes last. */
static int change(model_table *t, const char *list, change_fn *fn, const config *c, sv_error *err)
{
    uint32_t n = config_items(c, list);
    int rc = 0;
    for (int with_provider = 0; with_provider < 2; with_provider++)
        for (uint32_t i = 0; i < n && rc == 0; i++) {
            sv_str name = sv_cstr(config_item_str(c, list, i, "model"));
            const char *slash = memchr(name.p, '/', name.n);
            uint32_t head = slash ? (uint32_t)(slash - name.p) : 0;
            if (!with_provider)
                rc = change_everywhere(t, name, fn, c, i, err);
            else if (slash && head > 0 && head + 1 < name.n)
                rc = change_one(t, (sv_str){name.p, head},
                                (sv_str){name.p + head + 1, name.n - head - 1}, fn, c, i, err);
        }
    return rc;
}

/* ---- what it changes ---- */

static bool take_int(const config *c, const char *list, uint32_t i, const char *member, int64_t *to)
{
    if (!config_item_has(c, list, i, member)) return false;
    *to = config_item_int(c, list, i, member);
    return true;
}

/* Prices of tokens take the place of such prices alone. */
static model_price pieces_of(const model_price *p)
{
    return (model_price){.known = true,
                         .by_call = p->by_call,
                         .by_hour = p->by_hour,
                         .call = p->call,
                         .hour = p->hour,
                         .pictures = p->pictures,
                         .n_pictures = p->n_pictures};
}

static int set_price(model_table *t, model_info *info, const config *c, uint32_t i, sv_error *err)
{
    model_price p = pieces_of(&info->price);
    (void)t;
    (void)err;
    p.input = config_item_int(c, prices, i, "input");
    p.output = config_item_int(c, prices, i, "output");
    p.cached = p.cache_write = p.cache_write_1h = p.input;
    take_int(c, prices, i, "cached", &p.cached);
    info->price = p;
    return 0;
}

static int set_info_price(model_info *info, const config *c, uint32_t i, sv_error *err)
{
    model_price p = pieces_of(&info->price);
    bool in = take_int(c, infos, i, "input", &p.input);
    bool out = take_int(c, infos, i, "output", &p.output);
    int64_t rest[6] = {0};
    static const char *const names[6] = {"cached",    "cache_write", "cache_write_1h",
                                         "long_from", "long_input",  "long_output"};
    bool has[6], any = false;
    for (int k = 0; k < 6; k++) {
        has[k] = take_int(c, infos, i, names[k], &rest[k]);
        any |= has[k];
    }
    if (!in && !out && !any) return 0;
    if (!in || !out)
        return wrong_item(c, infos, i, in ? "output" : "input", err,
                          "a price has input and output");
    if (has[3] != has[4] || has[3] != has[5])
        return wrong_item(c, infos, i, "long_from", err,
                          "long_from, long_input and long_output go together");
    p.cached = has[0] ? rest[0] : p.input;
    p.cache_write = has[1] ? rest[1] : p.input;
    p.cache_write_1h = has[2] ? rest[2] : p.cache_write;
    p.long_from = rest[3];
    p.long_input = rest[4];
    p.long_output = rest[5];
    info->price = p;
    return 0;
}

static int set_pieces(model_table *t, model_info *info, const config *c, uint32_t i, sv_error *err)
{
    model_price *p = &info->price;
    model_picture one = {"", "", 0};
    if (take_int(c, infos, i, "call", &p->call)) p->by_call = true;
    if (take_int(c, infos, i, "hour", &p->hour)) p->by_hour = true;
    if (!take_int(c, infos, i, "image", &one.price)) return 0;
    p->n_pictures = 1;
    p->pictures = model_table_pictures(t, &one, 1);
    return p->pictures ? 0 : sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
}

/* "code=80" */
static int set_task_quality(model_info *info, const config *c, uint32_t i, const char *text,
                            sv_error *err)
{
    const char *is = strchr(text, '=');
    char *end = NULL;
    unsigned task = 0;
    sv_str name = {text, is ? (uint32_t)(is - text) : 0};
    while (task < TASKS && !sv_str_is(name, model_task_names[task]))
        task++;
    long percent = is && is[1] >= '0' && is[1] <= '9' ? strtol(is + 1, &end, 10) : -1;
    if (task == TASKS || percent < 0 || percent > 100 || end == NULL || *end)
        return wrong_item(c, infos, i, "task_quality", err,
                          "\"%.40s\" is no TASK=PERCENT, e.g. code=80", text);
    info->quality[task] = (float)percent / 100;
    return 0;
}

static int set_info(model_table *t, model_info *info, const config *c, uint32_t i, sv_error *err)
{
    const char *const *words;
    int64_t percent;
    int rc = set_info_price(info, c, i, err);
    if (rc == 0) rc = set_pieces(t, info, c, i, err);
    info->known = true;
    take_int(c, infos, i, "context", &info->context);
    take_int(c, infos, i, "output_most", &info->output_most);
    if (take_int(c, infos, i, "quality", &percent))
        for (int k = 0; k < TASKS; k++)
            info->quality[k] = (float)percent / 100;
    uint32_t n = config_item_strs(c, infos, i, "task_quality", &words);
    for (uint32_t k = 0; k < n && rc == 0; k++)
        rc = set_task_quality(info, c, i, words[k], err);
    n = config_item_strs(c, infos, i, "can", &words);
    if (n) info->can = 0;
    for (uint32_t k = 0; k < n && rc == 0; k++)
        if (!model_can_parse(sv_cstr(words[k]), &info->can))
            rc = wrong_item(c, infos, i, "can", err,
                            "\"%.40s\" is none of tools, see, hear, json, think, prefill, files, "
                            "embed, media, completion_tokens, adaptive, responses",
                            words[k]);
    return rc;
}

/* ---- all ---- */

typedef struct named {
    const char *model;
    uint32_t place;
} named;

static int by_model(const void *a, const void *b)
{
    return strcmp(((const named *)a)->model, ((const named *)b)->model);
}

static int no_doubles(const config *c, const char *list, sv_error *err)
{
    uint32_t n = config_items(c, list);
    named *all = calloc(n ? n : 1, sizeof *all);
    int rc = 0;
    if (all == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    for (uint32_t i = 0; i < n; i++)
        all[i] = (named){config_item_str(c, list, i, "model"), i};
    qsort(all, n, sizeof *all, by_model);
    for (uint32_t i = 1; i < n && rc == 0; i++) {
        const named *a = &all[i - 1], *b = &all[i];
        if (strcmp(a->model, b->model) == 0)
            rc = wrong_item(c, list, a->place > b->place ? a->place : b->place, "model", err,
                            "\"%.60s\" is in %s[%u] already", a->model, list,
                            a->place < b->place ? a->place : b->place);
    }
    free(all);
    return rc;
}

/* A model that the operator tells about as if it were another one, known one. */
static int set_like(model_table *t, const config *c, sv_error *err)
{
    for (uint32_t i = 0; i < config_items(c, infos); i++) {
        const char *like = config_item_str(c, infos, i, "like");
        const char *model = config_item_str(c, infos, i, "model");
        if (like == NULL) continue;
        const model_slot *of = model_table_search(t, sv_cstr(""), sv_cstr(like));
        char *own = arena_copy(&t->mem, sv_cstr(model));
        bool there;
        if (of == NULL)
            return wrong_item(c, infos, i, "like", err, "nothing is known of \"%.60s\"", like);
        model_info *from = of->to.info;
        model_info *info = own ? model_table_info(t, from, NULL) : NULL;
        model_slot *s = info ? model_table_put(t, KEY_NAME, "", own, &there) : NULL;
        if (s == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
        s->to.info = info;
    }
    return 0;
}

int models_configure(model_table *t, const config *c, sv_error *err)
{
    int rc = no_doubles(c, infos, err);
    if (rc == 0) rc = no_doubles(c, prices, err);
    if (rc == 0) rc = set_like(t, c, err);
    if (rc == 0) rc = change(t, infos, set_info, c, err);
    if (rc == 0) rc = change(t, prices, set_price, c, err);
    return rc;
}
