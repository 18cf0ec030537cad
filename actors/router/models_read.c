/*  models_read.c - the file of models: every member is known, of its type and in its range, or the
 *  file is refused with the line and the member's path. */
#include "models_table.h"

#include "date.h"
#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    DEPTH = 8,
    CLASSES = 32,
    PATH_TEXT = 160,
    PROVIDER_BYTES = 63,
    PICTURES = 16, /* prices of one model's */
    PICTURE_BYTES = 40
};
static const int64_t price_most = 1000000000000, tokens_most = 1000000000000;

typedef struct model_class {
    const char *name;
    uint8_t rank;
    float quality[TASKS];
} model_class;

typedef struct reading {
    model_table *t;
    const char *file;
    sv_str text;
    sv_error *err;
    char at[PATH_TEXT]; /* "models[3]" */
    model_class classes[CLASSES];
    uint32_t n_classes;
} reading;

/* ---- errors ---- */

static unsigned line_of(sv_str text, size_t at)
{
    unsigned line = 1;
    for (size_t i = 0; i < at && i < text.n; i++)
        line += text.p[i] == '\n';
    return line;
}

static int __attribute__((format(printf, 4, 5)))
wrong(reading *r, sv_str where, const char *member, const char *fmt, ...)
{
    char words[120];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(words, sizeof words, fmt, ap);
    va_end(ap);
    size_t at = where.p ? (size_t)(where.p - r->text.p) : 0;
    const char *name = strrchr(r->file, '/');
    return sv_fail(r->err, SV_E_CONFIG, "router.models_file", "%.60s:%u: %.60s%s%.32s%s%s",
                   name ? name + 1 : r->file, line_of(r->text, at), r->at,
                   r->at[0] && member[0] ? "." : "", member, r->at[0] || member[0] ? ": " : "",
                   words);
}

static int no_memory(reading *r)
{
    return sv_fail(r->err, SV_E_NO_MEMORY, NULL, NULL);
}

/* A key as it is spelled: keys of this file need no escapes. */
static int wrong_key(reading *r, sv_str key, const char *allowed)
{
    return wrong(r, key, "", "there is no member \"%.*s\"; allowed: %s",
                 key.n < 24 ? (int)key.n : 24, key.p, allowed);
}

/* ---- values ---- */

static int read_name(reading *r, json_value v, const char *member, size_t most, const char **ret)
{
    buf text;
    if (v.type != JSON_STRING) return wrong(r, v.raw, member, "a text is wanted");
    buf_init(&text, 4096);
    int rc = json_text(v, &text);
    if (rc == 0 && (text.n == 0 || text.n > most)) rc = SV_E_OUT_OF_RANGE;
    for (size_t i = 0; rc == 0 && i < text.n; i++)
        if ((uint8_t)text.p[i] <= ' ' || text.p[i] == 0x7f) rc = SV_E_OUT_OF_RANGE;
    if (rc)
        rc = wrong(r, v.raw, member, "1 to %zu bytes without blanks are wanted", most);
    else if ((*ret = arena_copy(&r->t->mem, buf_str(&text))) == NULL)
        rc = no_memory(r);
    buf_free(&text);
    return rc;
}

static int read_int(reading *r, json_value v, const char *member, int64_t least, int64_t most,
                    int64_t *ret)
{
    int64_t n = 0;
    if (json_int(v, &n) || n < least || n > most)
        return wrong(r, v.raw, member, "a whole number from %lld to %lld is wanted",
                     (long long)least, (long long)most);
    *ret = n;
    return 0;
}

static int read_quality(reading *r, json_value v, float quality[TASKS])
{
    size_t at = 0;
    sv_str key;
    json_value item;
    if (v.type != JSON_OBJECT) return wrong(r, v.raw, "quality", "an object is wanted");
    while (json_next_member(v, &at, &key, &item)) {
        unsigned task = 0;
        double q = 0;
        while (task < TASKS && !sv_str_is(key, model_task_names[task]))
            task++;
        if (task == TASKS)
            return wrong(r, key, "quality", "there is no task \"%.*s\"",
                         key.n < 20 ? (int)key.n : 20, key.p);
        if (json_number(item, &q) || !(q >= 0 && q <= 1))
            return wrong(r, item.raw, "quality", "a number from 0 to 1 is wanted");
        quality[task] = (float)q;
    }
    return 0;
}

bool model_can_parse(sv_str word, unsigned *ret)
{
    static const struct {
        const char *word;
        unsigned bit;
    } words[] = {{"tools", MODEL_CAN_TOOLS},
                 {"see", MODEL_CAN_SEE},
                 {"hear", MODEL_CAN_HEAR},
                 {"json", MODEL_CAN_JSON},
                 {"think", MODEL_CAN_THINK},
                 {"prefill", MODEL_CAN_PREFILL},
                 {"files", MODEL_CAN_FILES},
                 {"embed", MODEL_CAN_EMBED},
                 {"completion_tokens", MODEL_COMPLETION_TOKENS},
                 {"adaptive", MODEL_ADAPTIVE},
                 {"media", MODEL_CAN_MEDIA},
                 {"responses", MODEL_RESPONSES}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (sv_str_is(word, words[i].word)) {
            *ret |= words[i].bit;
            return true;
        }
    return false;
}

static int read_can(reading *r, json_value v, unsigned *ret)
{
    size_t at = 0;
    json_value item;
    if (v.type != JSON_ARRAY) return wrong(r, v.raw, "can", "a list of words is wanted");
    while (json_next_element(v, &at, &item)) {
        sv_str word =
            item.type == JSON_STRING ? (sv_str){item.raw.p + 1, item.raw.n - 2} : (sv_str){NULL, 0};
        if (!model_can_parse(word, ret))
            return wrong(r, item.raw, "can",
                         "one of tools, see, hear, json, think, prefill, files, embed, media, "
                         "completion_tokens, adaptive, responses is wanted");
    }
    return 0;
}

/* "SIZE" or "QUALITY/SIZE" */
static int read_picture(reading *r, sv_str key, json_value v, model_picture *ret)
{
    const char *slash = key.n ? memchr(key.p, '/', key.n) : NULL;
    sv_str quality = {key.p, slash ? (uint32_t)(slash - key.p) : 0};
    sv_str size = {key.p + quality.n + (slash != NULL), key.n - quality.n - (slash != NULL)};
    if (size.n == 0 || key.n > PICTURE_BYTES || memchr(key.p, '\\', key.n))
        return wrong(r, key, "image", "a size or QUALITY/SIZE is wanted");
    ret->size = arena_copy(&r->t->mem, size);
    ret->quality = quality.n ? arena_copy(&r->t->mem, quality) : "";
    if (ret->size == NULL || ret->quality == NULL) return no_memory(r);
    return read_int(r, v, "image", 0, price_most, &ret->price);
}

/* One price for all, or one for each size and quality. */
static int read_pictures(reading *r, json_value v, model_price *p)
{
    model_picture all[PICTURES] = {{"", "", 0}};
    uint32_t n = 0;
    size_t at = 0;
    sv_str key;
    json_value item;
    int rc = v.type == JSON_OBJECT ? 0 : read_int(r, v, "image", 0, price_most, &all[n++].price);
    while (rc == 0 && v.type == JSON_OBJECT && json_next_member(v, &at, &key, &item)) {
        if (n == PICTURES) return wrong(r, key, "image", "at most %d prices", PICTURES);
        rc = read_picture(r, key, item, &all[n++]);
    }
    if (rc) return rc;
    if (n == 0) return wrong(r, v.raw, "image", "a price is wanted");
    p->pictures = model_table_pictures(r->t, all, n);
    p->n_pictures = n;
    return p->pictures ? 0 : no_memory(r);
}

/* False: the member is none of these. */
static bool read_piece(reading *r, sv_str key, json_value v, model_price *p, int *rc)
{
    bool call = sv_str_is(key, "call"), hour = sv_str_is(key, "hour");
    p->by_call |= call;
    p->by_hour |= hour;
    if (call || hour)
        *rc = read_int(r, v, call ? "call" : "hour", 0, price_most, call ? &p->call : &p->hour);
    else if (sv_str_is(key, "image"))
        *rc = read_pictures(r, v, p);
    else
        return false;
    return true;
}

static int check_price(reading *r, json_value v, const bool has[8], model_price *p)
{
    bool pieces = p->by_call || p->by_hour || p->n_pictures, some = false;
    for (int k = 0; k < 8; k++)
        some |= has[k];
    if ((some || !pieces) && (!has[0] || !has[1]))
        return wrong(r, v.raw, "price", "input and output are wanted, or image, hour or call");
    if (has[5] != has[6] || has[5] != has[7])
        return wrong(r, v.raw, "price", "long_from, long_input and long_output go together");
    p->known = some;
    if (!has[2]) p->cached = p->input;
    if (!has[3]) p->cache_write = p->input;
    if (!has[4]) p->cache_write_1h = p->cache_write;
    return 0;
}

static int read_price(reading *r, json_value v, model_price *p)
{
    static const char *const names[] = {"input",          "output",    "cached",     "cache_write",
                                        "cache_write_1h", "long_from", "long_input", "long_output"};
    int64_t *const to[] = {&p->input,          &p->output,    &p->cached,     &p->cache_write,
                           &p->cache_write_1h, &p->long_from, &p->long_input, &p->long_output};
    bool has[8] = {false};
    size_t at = 0;
    sv_str key;
    json_value item;
    int rc = 0;
    if (v.type != JSON_OBJECT) return wrong(r, v.raw, "price", "an object is wanted");
    *p = (model_price){.known = false};
    while (rc == 0 && json_next_member(v, &at, &key, &item)) {
        size_t k = 0;
        if (read_piece(r, key, item, p, &rc)) continue;
        while (k < 8 && !sv_str_is(key, names[k]))
            k++;
        if (k == 8)
            return wrong_key(r, key,
                             "input, output, cached, cache_write, cache_write_1h, long_*, image, "
                             "hour, call");
        rc = read_int(r, item, names[k], k == 5, k == 5 ? tokens_most : price_most, to[k]);
        has[k] = true;
    }
    return rc ? rc : check_price(r, v, has, p);
}

/* ---- classes ---- */

static int read_class(reading *r, sv_str name, json_value v)
{
    model_class *c = &r->classes[r->n_classes];
    size_t at = 0;
    sv_str key;
    json_value item;
    int rc = 0;
    snprintf(r->at, sizeof r->at, "classes.%.*s", name.n < 40 ? (int)name.n : 40, name.p);
    if (r->n_classes == CLASSES) return wrong(r, name, "", "at most %d classes", CLASSES);
    if (v.type != JSON_OBJECT) return wrong(r, v.raw, "", "an object is wanted");
    *c = (model_class){.name = arena_copy(&r->t->mem, name)};
    if (c->name == NULL) return no_memory(r);
    for (int i = 0; i < TASKS; i++)
        c->quality[i] = 0.5f;
    while (rc == 0 && json_next_member(v, &at, &key, &item)) {
        int64_t rank = 0;
        if (sv_str_is(key, "rank")) {
            rc = read_int(r, item, "rank", 0, 5, &rank);
            c->rank = (uint8_t)rank;
        } else if (sv_str_is(key, "quality")) {
            rc = read_quality(r, item, c->quality);
        } else {
            rc = wrong_key(r, key, "rank, quality");
        }
    }
    r->n_classes++;
    return rc;
}

static const model_class *class_of(const reading *r, json_value v)
{
    for (uint32_t i = 0; i < r->n_classes; i++)
        if (json_string_is(v, r->classes[i].name)) return &r->classes[i];
    return NULL;
}

/* ---- models ---- */

static int put_name(reading *r, sv_str where, const char *provider, const char *name,
                    model_info *info, bool any)
{
    bool there;
    model_slot *s = model_table_put(r->t, KEY_NAME, provider, name, &there);
    if (s == NULL) return no_memory(r);
    if (there && any)
        return 0; /* the same name at another provider: the first one stands for all */
    if (there) return wrong(r, where, "at", "%.40s calls two models %.40s", provider, name);
    s->to.info = info;
    return 0;
}

static int add_name(reading *r, json_value v, const char *provider, model_record *rec,
                    model_info *at_provider, model_info *general)
{
    const char *name;
    bool there;
    int rc = read_name(r, v, "at", MODEL_NAME_BYTES, &name);
    if (rc) return rc;
    model_slot *s = model_table_put(r->t, KEY_AT, provider, rec->id, &there);
    if (s == NULL) return no_memory(r);
    if (!there) s->to.called = name;
    rc = put_name(r, v.raw, provider, name, at_provider, false);
    if (rc == 0) rc = put_name(r, v.raw, "", name, general, true);
    for (uint32_t i = 0; i < rec->n_names; i++)
        if (strcmp(rec->names[i], name) == 0) return rc;
    if (rec->n_names == MODEL_NAMES)
        return wrong(r, v.raw, "at", "at most %d names of a model", MODEL_NAMES);
    rec->names[rec->n_names++] = name;
    return rc;
}

static int add_names(reading *r, json_value v, const char *provider, model_record *rec,
                     model_info *at_provider, model_info *general)
{
    size_t at = 0;
    json_value item;
    bool some = false;
    if (v.type == JSON_STRING) return add_name(r, v, provider, rec, at_provider, general);
    if (v.type != JSON_ARRAY) return wrong(r, v.raw, "at", "a name or a list of names is wanted");
    while (json_next_element(v, &at, &item)) {
        int rc = add_name(r, item, provider, rec, at_provider, general);
        if (rc) return rc;
        some = true;
    }
    return some ? 0 : wrong(r, v.raw, "at", "a list of names must not be empty");
}

/* One provider under "at": a name, names, or {names, price, context}. */
static int read_provider(reading *r, sv_str key, json_value v, model_record *rec,
                         model_info *general)
{
    const char *provider = arena_copy(&r->t->mem, key);
    json_value names = v, item;
    model_info *info = general;
    size_t at = 0;
    sv_str member;
    int rc = 0;
    if (provider == NULL) return no_memory(r);
    if (key.n == 0 || key.n > PROVIDER_BYTES || memchr(key.p, '\\', key.n))
        return wrong(r, key, "at", "a provider's name is wanted");
    if (v.type == JSON_OBJECT) {
        names = (json_value){.raw = v.raw};
        info = model_table_info(r->t, general, NULL);
        if (info == NULL) return no_memory(r);
    }
    while (v.type == JSON_OBJECT && rc == 0 && json_next_member(v, &at, &member, &item)) {
        if (sv_str_is(member, "names"))
            names = item;
        else if (sv_str_is(member, "price"))
            rc = read_price(r, item, &info->price);
        else if (sv_str_is(member, "context"))
            rc = read_int(r, item, "context", 1, tokens_most, &info->context);
        else
            rc = wrong_key(r, member, "names, price, context");
    }
    return rc ? rc : add_names(r, names, provider, rec, info, general);
}

static int read_member(reading *r, sv_str key, json_value v, model_info *info)
{
    if (sv_str_is(key, "context")) return read_int(r, v, "context", 1, tokens_most, &info->context);
    if (sv_str_is(key, "output_most"))
        return read_int(r, v, "output_most", 1, tokens_most, &info->output_most);
    if (sv_str_is(key, "can")) return read_can(r, v, &info->can);
    if (sv_str_is(key, "price")) return read_price(r, v, &info->price);
    /* the others are read in an order of their own */
    if (sv_str_is(key, "quality") || sv_str_is(key, "id") || sv_str_is(key, "class") ||
        sv_str_is(key, "at"))
        return 0;
    return wrong_key(r, key, "id, class, quality, context, output_most, can, price, at");
}

static int take_class(reading *r, json_value v, model_info *info)
{
    json_value name = json_get(v, "class"), quality = json_get(v, "quality");
    const model_class *c = class_of(r, name);
    if (c == NULL)
        return wrong(r, name.raw.p ? name.raw : v.raw, "class", "a name of \"classes\" is wanted");
    info->rank = c->rank;
    memcpy(info->quality, c->quality, sizeof info->quality);
    return quality.type == JSON_NONE ? 0 : read_quality(r, quality, info->quality);
}

static int read_model(reading *r, json_value v)
{
    const char *id = "";
    bool there;
    size_t at = 0;
    sv_str key;
    json_value item, places;
    if (v.type != JSON_OBJECT) return wrong(r, v.raw, "", "an object is wanted");
    item = json_get(v, "id");
    if (item.type == JSON_NONE) return wrong(r, v.raw, "id", "it is missing");
    int rc = read_name(r, item, "id", MODEL_NAME_BYTES, &id);
    if (rc) return rc;
    model_info *info = model_table_info(r->t, NULL, id);
    model_record *rec = arena_alloc(&r->t->mem, sizeof *rec);
    model_slot *s = model_table_put(r->t, KEY_RECORD, "", id, &there);
    if (info == NULL || rec == NULL || s == NULL) return no_memory(r);
    if (there) return wrong(r, item.raw, "id", "%.60s is there twice", id);
    info->known = true;
    s->to.record = rec;
    *rec = (model_record){.id = id, .info = info, .next = r->t->first};
    rec->names[rec->n_names++] = id;
    r->t->first = rec;
    rc = take_class(r, v, info);
    while (rc == 0 && json_next_member(v, &at, &key, &item))
        rc = read_member(r, key, item, info);
    places = json_get(v, "at");
    if (rc == 0 && places.type != JSON_OBJECT)
        rc = wrong(r, places.raw.p ? places.raw : v.raw, "at", "an object of providers is wanted");
    at = 0;
    while (rc == 0 && json_next_member(places, &at, &key, &item))
        rc = read_provider(r, key, item, rec, info);
    r->t->records++;
    return rc;
}

/* Canonical ids are names anywhere, unless a provider calls something else so. */
static int name_ids(reading *r)
{
    for (const model_record *rec = r->t->first; rec; rec = rec->next) {
        int rc = put_name(r, (sv_str){NULL, 0}, "", rec->id, rec->info, true);
        if (rc) return rc;
    }
    return 0;
}

/* ---- the file ---- */

static int read_head(reading *r, json_value root)
{
    size_t at = 0;
    sv_str key;
    json_value v, date = json_get(root, "date");
    int64_t day;
    sv_str text =
        date.type == JSON_STRING ? (sv_str){date.raw.p + 1, date.raw.n - 2} : (sv_str){NULL, 0};
    if (text.p == NULL || date_parse(text, &day))
        return wrong(r, date.raw, "date", "a day is wanted, YYYY-MM-DD");
    snprintf(r->t->date, sizeof r->t->date, "%.*s", (int)text.n, text.p);
    while (json_next_member(root, &at, &key, &v))
        if (!sv_str_is(key, "date") && !sv_str_is(key, "about") && !sv_str_is(key, "currency") &&
            !sv_str_is(key, "classes") && !sv_str_is(key, "models"))
            return wrong_key(r, key, "date, about, currency, classes, models");
    return 0;
}

int models_read(model_table *t, const char *name, sv_str text, sv_error *err)
{
    reading r = {.t = t, .file = name, .text = text, .err = err};
    sv_error why = {0};
    size_t at = 0, byte = 0;
    sv_str key;
    json_value v;
    int rc = json_skim(text, DEPTH, &why);
    if (rc == SV_E_NO_MEMORY) return no_memory(&r);
    if (rc) {
        const char *told = strstr(why.message, "byte ");
        if (told) sscanf(told, "byte %zu", &byte);
        return wrong(&r, (sv_str){text.p + (byte < text.n ? byte : text.n), 0}, "", "%s",
                     why.message);
    }
    json_value root = json_root(text), classes = json_get(root, "classes"),
               list = json_get(root, "models");
    if (root.type != JSON_OBJECT) return wrong(&r, root.raw, "", "an object is wanted");
    rc = read_head(&r, root);
    if (rc) return rc;
    if (classes.type != JSON_OBJECT)
        return wrong(&r, classes.raw, "classes", "an object is wanted");
    while (rc == 0 && json_next_member(classes, &at, &key, &v))
        rc = read_class(&r, key, v);
    r.at[0] = 0;
    if (rc == 0 && list.type != JSON_ARRAY) rc = wrong(&r, list.raw, "models", "a list is wanted");
    at = 0;
    for (uint32_t i = 0; rc == 0 && json_next_element(list, &at, &v); i++) {
        snprintf(r.at, sizeof r.at, "models[%u]", i);
        if (i == MODEL_RECORDS) return wrong(&r, v.raw, "", "at most %d models", MODEL_RECORDS);
        rc = read_model(&r, v);
    }
    return rc ? rc : name_ids(&r);
}
