/*  config_value.c - one parser per setting type; numbers are decimal digits with an optional unit,
 *  and every refusal names the text as given and the allowed form. */
#include "config_value.h"

#include "error.h"
#include "utf8.h"

#include <inttypes.h>
#include <stdio.h>

typedef struct unit {
    const char *name;
    int64_t factor;
} unit;

static const unit time_units[] = {{"", 1},      {"ms", 1},      {"s", 1000},
                                  {"m", 60000}, {"h", 3600000}, {NULL, 0}};
static const unit size_units[] = {{"", 1},          {"B", 1},         {"KiB", 1 << 10},
                                  {"MiB", 1 << 20}, {"GiB", 1 << 30}, {NULL, 0}};
static const unit no_units[] = {{"", 1}, {NULL, 0}};

const char *config_type_name(setting_type t)
{
    static const char *const names[] = {"int",   "bool", "text",  "ms",
                                        "bytes", "enum", "texts", "list"};
    return names[t];
}

int config_allowed(const setting *s, buf *out)
{
    switch (s->type) {
    case SETTING_INT: return buf_printf(out, "a whole number from %.0f to %.0f", s->min, s->max);
    case SETTING_BOOL: return buf_puts(out, "true or false");
    case SETTING_STR:
        return buf_printf(out, "text of %.0f to %.0f bytes without control characters", s->min,
                          s->max);
    case SETTING_MS:
        return buf_printf(out, "a time from %.0fms to %.0fms, such as 500ms, 10s, 5m, 1h", s->min,
                          s->max);
    case SETTING_BYTES:
        return buf_printf(out, "a size from %.0f to %.0f bytes, such as 4096, 64KiB, 1MiB", s->min,
                          s->max);
    case SETTING_ENUM: return buf_printf(out, "one of %s", s->allowed);
    case SETTING_STRS: return buf_printf(out, "a list of at most %.0f texts", s->max);
    case SETTING_LIST: return buf_printf(out, "a list of at most %.0f maps", s->max);
    }
    return 0;
}

static bool clean_text(const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if (*p < 0x20 || *p == 0x7f) return false;
    return utf8_valid(sv_cstr(text));
}

/* Up to 48 bytes of `text` that are safe to print, never half a character. */
static int shown(const char *text)
{
    size_t n = 0, step;
    while (text[n] && (step = utf8_sequence((const uint8_t *)text + n, strlen(text + n))) > 0 &&
           n + step <= 48)
        n += step;
    return (int)n;
}

static int not_allowed(const setting *s, const char *text, char words[256])
{
    buf allowed;
    buf_init(&allowed, 512);
    config_allowed(s, &allowed);
    if (s->flags & SETTING_SECRET)
        snprintf(words, 256, "has a value that is not allowed; allowed: %.*s",
                 SV_FMT(buf_str(&allowed)));
    else if (!clean_text(text))
        snprintf(words, 256, "has control characters or is not UTF-8; allowed: %.*s",
                 SV_FMT(buf_str(&allowed)));
    else
        snprintf(words, 256, "is \"%.*s\"; allowed: %.*s", shown(text), text,
                 SV_FMT(buf_str(&allowed)));
    buf_free(&allowed);
    return SV_E_CONFIG;
}

static bool parse_number(const char *text, const unit *units, int64_t *ret)
{
    const char *p = text;
    bool minus = *p == '-';
    p += minus;
    if (*p < '0' || *p > '9') return false;
    int64_t v = 0;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, *p - '0', &v))
            return false;
    for (const unit *u = units; u->name; u++)
        if (strcmp(p, u->name) == 0) {
            if (__builtin_mul_overflow(v, minus ? -u->factor : u->factor, ret)) return false;
            return true;
        }
    return false;
}

static bool parse_bool(const char *text, int64_t *ret)
{
    static const char *const yes[] = {"true", "yes", "on", "1"};
    static const char *const no[] = {"false", "no", "off", "0"};
    for (size_t i = 0; i < 4; i++) {
        if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
            *ret = strcmp(text, yes[i]) == 0;
            return true;
        }
    }
    return false;
}

static bool word_in(const char *word, const char *list)
{
    size_t n = strlen(word);
    for (const char *p = list; n > 0 && strchr(word, '|') == NULL && p; p = strchr(p, '|')) {
        p += *p == '|';
        if (strncmp(p, word, n) == 0 && (p[n] == '|' || p[n] == 0)) return true;
    }
    return false;
}

int config_value_parse(const setting *s, const char *text, arena *mem, config_value *ret,
                       char words[256])
{
    config_value v = {.set = true};
    bool ok = false;
    switch (s->type) {
    case SETTING_INT: ok = parse_number(text, no_units, &v.number); break;
    case SETTING_MS: ok = parse_number(text, time_units, &v.number); break;
    case SETTING_BYTES: ok = parse_number(text, size_units, &v.number); break;
    case SETTING_BOOL: ok = parse_bool(text, &v.number); break;
    case SETTING_ENUM: ok = word_in(text, s->allowed); break;
    case SETTING_STR: {
        double n = (double)strlen(text);
        ok = n >= s->min && n <= s->max && clean_text(text);
        break;
    }
    case SETTING_STRS:
    case SETTING_LIST: break;
    }
    if (s->type == SETTING_INT || s->type == SETTING_MS || s->type == SETTING_BYTES)
        ok = ok && (double)v.number >= s->min && (double)v.number <= s->max;
    if (!ok) return not_allowed(s, text, words);
    if (s->type == SETTING_STR || s->type == SETTING_ENUM) {
        v.text = arena_copy(mem, sv_cstr(text));
        if (v.text == NULL) return SV_E_NO_MEMORY;
    }
    *ret = v;
    return 0;
}

int config_value_list(const setting *s, const char *const *texts, uint32_t n, arena *mem,
                      config_value *ret, char words[256])
{
    if (n < s->min || n > s->max) {
        snprintf(words, 256, "has %" PRIu32 " entries; allowed: %.0f to %.0f", n, s->min, s->max);
        return SV_E_CONFIG;
    }
    const char **copy = arena_alloc(mem, (n + 1) * sizeof *copy);
    if (copy == NULL) return SV_E_NO_MEMORY;
    for (uint32_t i = 0; i < n; i++) {
        size_t len = strlen(texts[i]);
        if (len == 0 || len > 1024 || !clean_text(texts[i])) {
            snprintf(words, 256,
                     "has a wrong entry %" PRIu32
                     "; allowed: text of 1 to 1024 bytes without control characters",
                     i + 1);
            return SV_E_CONFIG;
        }
        copy[i] = arena_copy(mem, sv_cstr(texts[i]));
        if (copy[i] == NULL) return SV_E_NO_MEMORY;
    }
    *ret = (config_value){.set = true, .texts = copy, .n_texts = n};
    return 0;
}
