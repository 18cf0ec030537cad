/*  config_read.c - answers of a loaded configuration and its picture for people and programs.
 *  Keys are looked up linearly: they are read at start, not per request. */
#include "config_internal.h"

#include "error.h"

#include <inttypes.h>
#include <stdio.h>

static size_t index_of(const config *c, const char *key)
{
    size_t n;
    const setting *all = config_settings(&n);
    size_t i = 0;
    while (i < n && strcmp(all[i].key, key) != 0)
        i++;
    assert(i < c->n_settings && "undeclared setting");
    return i;
}

static const setting *row(size_t i)
{
    size_t n;
    return &config_settings(&n)[i];
}

static const config_value *value_of(const config *c, const char *key, unsigned types)
{
    size_t i = index_of(c, key);
    assert((1u << row(i)->type & types) && "setting read as another type");
    return &c->values[i];
}

enum {
    NUMBERS = 1u << SETTING_INT | 1u << SETTING_MS | 1u << SETTING_BYTES,
    TEXTS = 1u << SETTING_STR | 1u << SETTING_ENUM
};

int64_t config_int(const config *c, const char *key)
{
    return value_of(c, key, NUMBERS)->number;
}

bool config_bool(const config *c, const char *key)
{
    return value_of(c, key, 1u << SETTING_BOOL)->number != 0;
}

const char *config_str(const config *c, const char *key)
{
    return value_of(c, key, TEXTS)->text;
}

uint32_t config_strs(const config *c, const char *key, const char *const **ret)
{
    const config_value *v = value_of(c, key, 1u << SETTING_STRS);
    *ret = v->texts;
    return v->n_texts;
}

uint32_t config_items(const config *c, const char *key)
{
    size_t i = index_of(c, key);
    assert(row(i)->type == SETTING_LIST);
    return c->n_items[i];
}

static const config_value *member_of(const config *c, const char *key, uint32_t i,
                                     const char *member, unsigned types)
{
    char full[160];
    snprintf(full, sizeof full, "%s[].%s", key, member);
    size_t list = index_of(c, key), at = index_of(c, full);
    assert(i < c->n_items[list]);
    assert((1u << row(at)->type & types) && "setting read as another type");
    return &c->items[list][i][at];
}

const char *config_item_str(const config *c, const char *key, uint32_t i, const char *member)
{
    return member_of(c, key, i, member, TEXTS)->text;
}

int64_t config_item_int(const config *c, const char *key, uint32_t i, const char *member)
{
    return member_of(c, key, i, member, NUMBERS)->number;
}

bool config_item_bool(const config *c, const char *key, uint32_t i, const char *member)
{
    return member_of(c, key, i, member, 1u << SETTING_BOOL)->number != 0;
}

bool config_item_has(const config *c, const char *key, uint32_t i, const char *member)
{
    return member_of(c, key, i, member, UINT32_MAX)->set;
}

uint32_t config_item_strs(const config *c, const char *key, uint32_t i, const char *member,
                          const char *const **ret)
{
    const config_value *v = member_of(c, key, i, member, 1u << SETTING_STRS);
    *ret = v->texts;
    return v->n_texts;
}

const char *config_source(const config *c, const char *key)
{
    return c->sources[index_of(c, key)];
}

const char *config_file(const config *c)
{
    return c->file;
}

const char *config_data(const config *c)
{
    return c->data;
}

const char *config_run(const config *c)
{
    return c->run;
}

int config_note_sources(config *c)
{
    for (size_t i = 0; i < c->n_settings; i++) {
        char text[4400], env[CONFIG_ENV_BYTES];
        config_env_name(row(i), env);
        if (c->from_env[i])
            snprintf(text, sizeof text, "environment %s", env);
        else if (c->lines[i])
            snprintf(text, sizeof text, "%s:%d", c->file, c->lines[i]);
        else
            snprintf(text, sizeof text, "default");
        c->sources[i] = arena_copy(&c->mem, sv_cstr(text));
        if (c->sources[i] == NULL) return SV_E_NO_MEMORY;
    }
    return 0;
}

/* ---- showing ---- */

/* JSON strings are also YAML double-quoted strings. */
static void put_text(buf *out, const char *text)
{
    buf_putc(out, '"');
    buf_json_escape(out, sv_cstr(text));
    buf_putc(out, '"');
}

static void put_texts(buf *out, const config_value *v)
{
    buf_putc(out, '[');
    for (uint32_t i = 0; i < v->n_texts; i++) {
        if (i) buf_puts(out, ", ");
        put_text(out, v->texts[i]);
    }
    buf_putc(out, ']');
}

/* The value as JSON, which is YAML too. */
static void put_value(buf *out, const setting *s, const config_value *v)
{
    if (!v->set) {
        buf_puts(out, s->type == SETTING_STRS ? "[]" : "null");
        return;
    }
    if (s->flags & SETTING_SECRET) {
        buf_puts(out, "\"set\"");
        return;
    }
    switch (s->type) {
    case SETTING_BOOL: buf_puts(out, v->number ? "true" : "false"); break;
    case SETTING_INT:
    case SETTING_MS:
    case SETTING_BYTES: buf_printf(out, "%" PRId64, v->number); break;
    case SETTING_STR:
    case SETTING_ENUM: put_text(out, v->text); break;
    case SETTING_STRS: put_texts(out, v); break;
    case SETTING_LIST: break;
    }
}

/* Index of the next member row of the list `s`, or n_settings. */
static size_t next_member(const config *c, const setting *s, size_t from)
{
    size_t n = strlen(s->key);
    for (size_t i = from; i < c->n_settings; i++)
        if (strncmp(row(i)->key, s->key, n) == 0 && strncmp(row(i)->key + n, "[].", 3) == 0)
            return i;
    return c->n_settings;
}

static void put_item_json(buf *out, const config *c, size_t list, uint32_t item)
{
    const setting *s = row(list);
    const char *comma = "";
    buf_putc(out, '{');
    for (size_t i = next_member(c, s, 0); i < c->n_settings; i = next_member(c, s, i + 1)) {
        const config_value *v = &c->items[list][item][i];
        if (!v->set) continue;
        buf_puts(out, comma);
        put_text(out, row(i)->key + strlen(s->key) + 3);
        buf_puts(out, ": ");
        put_value(out, row(i), v);
        comma = ", ";
    }
    buf_putc(out, '}');
}

static void put_any(buf *out, const config *c, size_t i)
{
    if (row(i)->type != SETTING_LIST) {
        put_value(out, row(i), &c->values[i]);
        return;
    }
    buf_putc(out, '[');
    for (uint32_t k = 0; k < c->n_items[i]; k++) {
        if (k) buf_puts(out, ", ");
        put_item_json(out, c, i, k);
    }
    buf_putc(out, ']');
}

static void show_json(const config *c, buf *out)
{
    buf_puts(out, "{\n");
    for (size_t i = 0; i < c->n_settings; i++) {
        const setting *s = row(i);
        bool member = strstr(s->key, "[].") != NULL;
        char env[CONFIG_ENV_BYTES];
        buf_puts(out, i ? ",\n  " : "  ");
        put_text(out, s->key);
        buf_printf(out, ": {\"type\": \"%s\"", config_type_name(s->type));
        if (!member) {
            buf_puts(out, ", \"value\": ");
            put_any(out, c, i);
            buf_puts(out, ", \"source\": ");
            put_text(out, c->sources[i]);
        }
        if (!member && s->type != SETTING_LIST) {
            config_env_name(s, env);
            buf_puts(out, ", \"environment\": ");
            put_text(out, env);
        }
        buf_puts(out, ", \"default\": ");
        if (s->def)
            put_text(out, s->def);
        else
            buf_puts(out, "null");
        buf_puts(out, ", \"allowed\": \"");
        buf allowed;
        buf_init(&allowed, 512);
        config_allowed(s, &allowed);
        buf_json_escape(out, buf_str(&allowed));
        buf_free(&allowed);
        buf_puts(out, "\", \"doc\": ");
        put_text(out, s->doc);
        buf_putc(out, '}');
    }
    buf_puts(out, "\n}\n");
}

static void put_comment(const config *c, size_t i, buf *out)
{
    const setting *s = row(i);
    char env[CONFIG_ENV_BYTES];
    config_env_name(s, env);
    buf_printf(out, "# %s\n# allowed: ", s->doc);
    config_allowed(s, out);
    buf_printf(out, "; default: %s\n", s->def ? s->def : "none");
    if (s->type == SETTING_LIST)
        buf_printf(out, "# source: %s\n", c->sources[i]);
    else
        buf_printf(out, "# source: %s; environment: %s\n", c->sources[i], env);
}

static void put_members(const config *c, size_t list, buf *out)
{
    const setting *s = row(list);
    for (size_t i = next_member(c, s, 0); i < c->n_settings; i = next_member(c, s, i + 1)) {
        buf_printf(out, "#   %s: %s; ", row(i)->key + strlen(s->key) + 3, row(i)->doc);
        config_allowed(row(i), out);
        buf_putc(out, '\n');
    }
}

/* A file that can be loaded again: full keys, values as JSON, unset and secret ones as comments. */
static void show_yaml(const config *c, buf *out)
{
    for (size_t i = 0; i < c->n_settings; i++) {
        const setting *s = row(i);
        if (strstr(s->key, "[].")) continue;
        bool unset = s->type != SETTING_LIST && !c->values[i].set;
        put_comment(c, i, out);
        if (s->type == SETTING_LIST) put_members(c, i, out);
        buf_printf(out, "%s%s: ", unset || (s->flags & SETTING_SECRET) ? "# " : "", s->key);
        if (unset)
            buf_puts(out, "unset");
        else
            put_any(out, c, i);
        buf_puts(out, "\n\n");
    }
}

int config_show(const config *c, bool json, buf *out)
{
    if (json)
        show_json(c, out);
    else
        show_yaml(c, out);
    return out->failed ? SV_E_TOO_LARGE : 0;
}
