/*  args.c - one pass over argv; help is written from the same table. */
#include "args.h"

#include "error.h"

#include <stdio.h>
#include <string.h>

static const args_option *find(const args_spec *spec, const char *name, size_t n, bool letter)
{
    for (size_t i = 0; i < spec->n; i++) {
        const args_option *o = &spec->options[i];
        if (letter ? o->letter == name[0] : strlen(o->name) == n && memcmp(o->name, name, n) == 0)
            return o;
    }
    return NULL;
}

static args_result wrong(const args_spec *spec, buf *why, const char *what, const char *word)
{
    buf_printf(why, "%s: %s %s; see %s --help", spec->command, what, word, spec->command);
    return ARGS_WRONG;
}

/* Takes one option at argv[*i]; `text` is the option's own word without dashes. */
static args_result option(const args_spec *spec, int argc, char **argv, int *i, buf *why)
{
    const char *word = argv[*i];
    bool letter = word[1] != '-';
    const char *name = word + (letter ? 1 : 2);
    const char *equals = letter ? NULL : strchr(name, '=');
    size_t n = equals ? (size_t)(equals - name) : strlen(name);
    if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0) return ARGS_HELP;
    const args_option *o = find(spec, name, n, letter);
    if (o == NULL) return wrong(spec, why, "unknown option", word);
    if (o->value == NULL) {
        if (equals || (letter && name[1])) return wrong(spec, why, "no value is allowed in", word);
        *o->flag = true;
        return ARGS_RUN;
    }
    const char *value = equals ? equals + 1 : letter && name[1] ? name + 1 : NULL;
    if (value == NULL && *i + 1 < argc) value = argv[++*i];
    if (value == NULL) return wrong(spec, why, "a value is missing after", word);
    if (*o->text) return wrong(spec, why, "given twice:", word);
    *o->text = value;
    return ARGS_RUN;
}

args_result args_parse(const args_spec *spec, int argc, char **argv, args *ret, buf *why)
{
    *ret = (args){.n = 0};
    bool words_only = false;
    for (int i = 0; i < argc; i++) {
        if (!words_only && strcmp(argv[i], "--") == 0) {
            words_only = true;
        } else if (!words_only && argv[i][0] == '-' && argv[i][1]) {
            args_result rc = option(spec, argc, argv, &i, why);
            if (rc != ARGS_RUN) return rc;
        } else if (ret->n == spec->max || ret->n == ARGS_WORDS) {
            return wrong(spec, why, "too many words, beginning with", argv[i]);
        } else {
            ret->word[ret->n++] = argv[i];
        }
    }
    if (ret->n < spec->min) return wrong(spec, why, "it needs", spec->words);
    return ARGS_RUN;
}

void args_help(const args_spec *spec, buf *out)
{
    buf_printf(out, "usage: %s%s%s%s\n\n%s\n", spec->command, spec->n ? " [options]" : "",
               spec->words[0] ? " " : "", spec->words, spec->doc);
    if (spec->n) buf_puts(out, "\noptions:\n");
    for (size_t i = 0; i < spec->n; i++) {
        const args_option *o = &spec->options[i];
        char left[64];
        char letter[8] = "    ";
        if (o->letter) snprintf(letter, sizeof letter, "-%c, ", o->letter);
        snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name, o->value ? " " : "",
                 o->value ? o->value : "");
        buf_printf(out, "  %-26s %s\n", left, o->doc);
    }
    if (spec->more) buf_printf(out, "\n%s\n", spec->more);
}

int args_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
    uint64_t value = 0;
    if (text[0] == 0 || strlen(text) > 19) return SV_E_INVALID;
    for (const char *p = text; *p; p++) {
        if (*p < '0' || *p > '9') return SV_E_INVALID;
        value = value * 10 + (uint64_t)(*p - '0');
    }
    if (value < min || value > max) return SV_E_INVALID;
    *ret = value;
    return 0;
}

int args_duration(const char *text, uint32_t *ret_ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"", 1000}, {"s", 1000}, {"ms", 1}, {"m", 60000}};
    char digits[20];
    size_t n = strspn(text, "0123456789");
    uint64_t value;
    if (n == 0 || n >= sizeof digits) return SV_E_INVALID;
    memcpy(digits, text, n);
    digits[n] = 0;
    if (args_number(digits, 1, 3600000, &value)) return SV_E_INVALID;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(text + n, units[i].unit) == 0 && value * units[i].ms <= 3600000) {
            *ret_ms = (uint32_t)(value * units[i].ms);
            return 0;
        }
    }
    return SV_E_INVALID;
}
