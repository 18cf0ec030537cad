/*  config.c - values in an array parallel to settings.def; list settings hold one such row of
 *  members per item. Defaults come first, then the file, then the environment, each overwriting;
 *  every place that cannot be taken is noted and the load goes on, so that one run shows all
 *  problems. */
#include "config.h"

#include "config_internal.h"
#include "error.h"
#include "yaml_tree.h"

#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const setting settings[] = {
#define SETTING(key, type, flags, def, min, max, allowed, env, doc)                                \
    {key, type, flags, def, min, max, allowed, env, doc},
#include "settings.def"
#undef SETTING
};

enum {
    SETTINGS = sizeof settings / sizeof *settings,
    CONFIG_MEMORY = 16 << 20, /* a file of 1 MiB, twice, plus nodes */
    KEY_BYTES = 128
};

/* Environment variables of this prefix that are no settings. */
static const char *const other_env[] = {
    "SAMOVAR_CONFIG",     "SAMOVAR_BUS",       "SAMOVAR_BUS_KEY",     "SAMOVAR_KEY",
    "SAMOVAR_CONTROL_FD", "SAMOVAR_TICKET_FD", "SAMOVAR_ROOT_KEY_FD", "SAMOVAR_INSTANCE",
    "SAMOVAR_READY_FD",   "SAMOVAR_BIN",
};

extern char **environ;

const setting *config_settings(size_t *n)
{
    *n = SETTINGS;
    return settings;
}

static bool is_member(const setting *s)
{
    return strstr(s->key, "[].") != NULL;
}

static size_t find_setting(const char *key)
{
    for (size_t i = 0; i < SETTINGS; i++)
        if (strcmp(settings[i].key, key) == 0) return i;
    return SETTINGS;
}

void config_env_name(const setting *s, char name[CONFIG_ENV_BYTES])
{
    if (s->env) {
        snprintf(name, CONFIG_ENV_BYTES, "%s", s->env);
        return;
    }
    int n = snprintf(name, CONFIG_ENV_BYTES, "SAMOVAR_%s", s->key);
    for (int i = 0; i < n && i < CONFIG_ENV_BYTES - 1; i++) {
        if (name[i] == '.')
            name[i] = '_';
        else if (name[i] >= 'a' && name[i] <= 'z')
            name[i] = (char)(name[i] - 'a' + 'A');
    }
}

/* ---- problems ---- */

typedef struct loading {
    config *c;
    const char *file;
    sv_error *err;
    sv_error first; /* used when the caller passed no error */
    int problems;
    int fatal; /* SV_E_NO_MEMORY */
} loading;

static void problem(loading *l, const char *place, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void problem(loading *l, const char *place, const char *key, const char *fmt, ...)
{
    char words[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(words, sizeof words, fmt, ap);
    va_end(ap);
    if (l->problems++ == 0) sv_fail(l->err, SV_E_CONFIG, key, "%s: key %s %s", place, key, words);
    sv_error_detail(l->err, "%s: key %s %s", place, key, words);
}

static void problem_line(loading *l, int line, const char *key, const char *words)
{
    char place[512];
    snprintf(place, sizeof place, "%s:%d", l->file, line);
    problem(l, place, key, "%s", words);
}

static size_t edit_distance(const char *a, const char *b)
{
    size_t row[KEY_BYTES + 1];
    size_t n = strlen(b);
    if (n > KEY_BYTES || strlen(a) > KEY_BYTES) return SIZE_MAX;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < n; j++) {
            size_t above = row[j + 1];
            size_t best = diagonal + (a[i] != b[j]);
            best = above + 1 < best ? above + 1 : best;
            best = row[j] + 1 < best ? row[j] + 1 : best;
            row[j + 1] = best;
            diagonal = above;
        }
    }
    return row[n];
}

static const char *last_word(const char *key)
{
    const char *dot = strrchr(key, '.');
    return dot ? dot + 1 : key;
}

/* The declared key that was probably meant, or NULL. */
static const char *nearest_key(const char *key)
{
    const char *best = NULL;
    size_t best_cost = strlen(key) / 3 + 1;
    for (size_t i = 0; i < SETTINGS; i++) {
        size_t cost = edit_distance(key, settings[i].key);
        if (cost > best_cost && !is_member(&settings[i]) &&
            strcmp(last_word(key), last_word(settings[i].key)) == 0)
            cost = best_cost;
        if (cost < best_cost || (cost == best_cost && best == NULL)) {
            best = settings[i].key;
            best_cost = cost;
        }
    }
    return best;
}

static const char *nearest_env(const char *name)
{
    static _Thread_local char best[CONFIG_ENV_BYTES];
    size_t best_cost = strlen(name) / 4 + 1;
    best[0] = 0;
    for (size_t i = 0; i < SETTINGS; i++) {
        char env[CONFIG_ENV_BYTES], derived[CONFIG_ENV_BYTES];
        setting plain = settings[i];
        if (is_member(&plain) || plain.type == SETTING_LIST) continue;
        config_env_name(&settings[i], env);
        plain.env = NULL;
        config_env_name(&plain, derived);
        size_t cost = strcmp(derived, name) == 0 ? 0 : edit_distance(name, env);
        if (cost < best_cost) {
            best_cost = cost;
            memcpy(best, env, sizeof best);
        }
    }
    return best[0] ? best : NULL;
}

/* The words allowed at the place of an unknown key. */
static void list_siblings(const char *prefix, buf *out)
{
    size_t n = strlen(prefix);
    const char *seen = NULL;
    for (size_t i = 0; i < SETTINGS; i++) {
        const char *key = settings[i].key;
        if (strncmp(key, prefix, n) != 0) continue;
        const char *word = key + n;
        int len = (int)strcspn(word, ".[");
        if (seen && strncmp(seen, word, (size_t)len) == 0 && strcspn(seen, ".[") == (size_t)len)
            continue;
        buf_printf(out, "%s%.*s", seen ? ", " : "", len, word);
        seen = word;
    }
}

static void unknown_key(loading *l, int line, const char *prefix, const char *key)
{
    buf allowed;
    buf_init(&allowed, 4096);
    list_siblings(prefix, &allowed);
    const char *near = nearest_key(key);
    char words[256];
    snprintf(words, sizeof words, "is not known%s%s%s; allowed here: %.*s",
             near ? "; did you mean " : "", near ? near : "", near ? "?" : "",
             SV_FMT(buf_str(&allowed)));
    buf_free(&allowed);
    problem_line(l, line, key, words);
}

/* ---- values ---- */

static void note_parse(loading *l, int rc, const char *place, const char *key, const char *words)
{
    if (rc == SV_E_NO_MEMORY)
        l->fatal = rc;
    else if (rc)
        problem(l, place, key, "%s", words);
}

static const char *empty_words(const setting *s, char words[256])
{
    buf allowed;
    buf_init(&allowed, 512);
    config_allowed(s, &allowed);
    snprintf(words, 256, "has no value; allowed: %.*s", SV_FMT(buf_str(&allowed)));
    buf_free(&allowed);
    return words;
}

static bool wants_number(setting_type t)
{
    return t == SETTING_INT || t == SETTING_MS || t == SETTING_BYTES || t == SETTING_BOOL;
}

static const char *kind_words(yaml_kind k)
{
    return k == YAML_MAP ? "a map" : k == YAML_LIST ? "a list" : "a single value";
}

static void wrong_kind(loading *l, const setting *s, const yaml_node *n, const char *key)
{
    char words[256];
    buf allowed;
    buf_init(&allowed, 512);
    config_allowed(s, &allowed);
    snprintf(words, sizeof words, "is %s; allowed: %.*s", kind_words(n->kind),
             SV_FMT(buf_str(&allowed)));
    buf_free(&allowed);
    problem_line(l, n->line, key, words);
}

static void take_texts(loading *l, const setting *s, const yaml_node *n, const char *key,
                       config_value *v)
{
    uint32_t count = 0;
    for (const yaml_node *e = n->child; e; e = e->next) {
        if (e->kind != YAML_SCALAR) {
            wrong_kind(l, s, e, key);
            return;
        }
        count++;
    }
    const char **texts = calloc(count + 1u, sizeof *texts);
    if (texts == NULL) {
        l->fatal = SV_E_NO_MEMORY;
        return;
    }
    uint32_t i = 0;
    for (const yaml_node *e = n->child; e; e = e->next)
        texts[i++] = e->value;
    char words[256], place[512];
    snprintf(place, sizeof place, "%s:%d", l->file, n->line);
    note_parse(l, config_value_list(s, texts, count, &l->c->mem, v, words), place, key, words);
    free(texts);
}

/* A setting's value from its place in the file. */
static void take_node(loading *l, const setting *s, const yaml_node *n, const char *key,
                      config_value *v)
{
    char words[256], place[512];
    snprintf(place, sizeof place, "%s:%d", l->file, n->line);
    if (s->type == SETTING_STRS) {
        if (n->kind == YAML_LIST)
            take_texts(l, s, n, key, v);
        else
            wrong_kind(l, s, n, key);
        return;
    }
    if (n->kind != YAML_SCALAR) {
        wrong_kind(l, s, n, key);
        return;
    }
    bool plain = !n->quoted;
    if (plain &&
        (n->value[0] == 0 || strcmp(n->value, "~") == 0 || strcmp(n->value, "null") == 0)) {
        problem_line(l, n->line, key, empty_words(s, words));
        return;
    }
    if (n->quoted && wants_number(s->type)) {
        problem_line(l, n->line, key, "is quoted text; write the value without quotes");
        return;
    }
    note_parse(l, config_value_parse(s, n->value, &l->c->mem, v, words), place, key, words);
}

static const setting *find_member(const char *list, const char *member, size_t *ret)
{
    char key[KEY_BYTES];
    snprintf(key, sizeof key, "%s[].%s", list, member);
    size_t i = find_setting(key);
    *ret = i;
    return i < SETTINGS ? &settings[i] : NULL;
}

static void take_item(loading *l, const setting *list, const yaml_node *item, uint32_t index,
                      config_value *row)
{
    char key[KEY_BYTES * 2], prefix[KEY_BYTES];
    snprintf(prefix, sizeof prefix, "%s[].", list->key);
    for (const yaml_node *n = item->child; n; n = n->next) {
        size_t at;
        const setting *s = find_member(list->key, n->key, &at);
        snprintf(key, sizeof key, "%s[%" PRIu32 "].%.80s", list->key, index, n->key);
        if (s)
            take_node(l, s, n, key, &row[at]);
        else
            unknown_key(l, n->line, prefix, key);
    }
    for (size_t i = 0; i < SETTINGS; i++)
        if (strncmp(settings[i].key, prefix, strlen(prefix)) == 0 &&
            (settings[i].flags & SETTING_REQUIRED) &&
            yaml_get(item, settings[i].key + strlen(prefix)) == NULL) {
            char words[256];
            snprintf(key, sizeof key, "%s[%" PRIu32 "].%s", list->key, index,
                     settings[i].key + strlen(prefix));
            problem_line(l, item->line, key, empty_words(&settings[i], words));
        }
}

static int default_value(config *c, const setting *s, config_value *v);

static void take_list(loading *l, size_t at, const yaml_node *n)
{
    const setting *s = &settings[at];
    config *c = l->c;
    uint32_t count = 0;
    if (n->kind != YAML_LIST) {
        wrong_kind(l, s, n, s->key);
        return;
    }
    for (const yaml_node *e = n->child; e; e = e->next, count++)
        if (e->kind != YAML_MAP) {
            char words[64];
            snprintf(words, sizeof words, "has %s where a map is needed", kind_words(e->kind));
            problem_line(l, e->line, s->key, words);
            return;
        }
    if (count > s->max) {
        char words[64];
        snprintf(words, sizeof words, "has %" PRIu32 " items; allowed: at most %.0f", count,
                 s->max);
        problem_line(l, n->line, s->key, words);
        return;
    }
    config_value **rows = arena_alloc(&c->mem, (count + 1) * sizeof *rows);
    for (uint32_t i = 0; rows && i < count; i++) {
        rows[i] = arena_alloc(&c->mem, SETTINGS * sizeof **rows);
        if (rows[i] == NULL) rows = NULL;
    }
    if (rows == NULL) {
        l->fatal = SV_E_NO_MEMORY;
        return;
    }
    uint32_t index = 0;
    for (const yaml_node *e = n->child; e; e = e->next, index++) {
        for (size_t i = 0; i < SETTINGS; i++)
            if (is_member(&settings[i]) && default_value(c, &settings[i], &rows[index][i]))
                l->fatal = SV_E_NO_MEMORY;
        take_item(l, s, e, index, rows[index]);
    }
    c->items[at] = rows;
    c->n_items[at] = count;
}

/* ---- the three sources ---- */

static int default_value(config *c, const setting *s, config_value *v)
{
    char words[256];
    if (s->def == NULL) return 0;
    int rc = config_value_parse(s, s->def, &c->mem, v, words);
    assert(rc != SV_E_CONFIG);
    return rc;
}

static int take_defaults(config *c)
{
    for (size_t i = 0; i < SETTINGS; i++)
        if (!is_member(&settings[i]) && default_value(c, &settings[i], &c->values[i]))
            return SV_E_NO_MEMORY;
    return 0;
}

static bool has_below(const char *path)
{
    size_t n = strlen(path);
    for (size_t i = 0; i < SETTINGS; i++)
        if (strncmp(settings[i].key, path, n) == 0 && settings[i].key[n] == '.') return true;
    return false;
}

static void take_map(loading *l, const yaml_node *map, const char *prefix)
{
    for (const yaml_node *n = map->child; n && !l->fatal; n = n->next) {
        char key[KEY_BYTES];
        int len = snprintf(key, sizeof key, "%s%s", prefix, n->key);
        size_t at = len < KEY_BYTES ? find_setting(key) : SETTINGS;
        if (at < SETTINGS && !is_member(&settings[at])) {
            if (l->c->lines[at]) {
                char words[64];
                snprintf(words, sizeof words, "is set twice, first in line %d", l->c->lines[at]);
                problem_line(l, n->line, key, words);
                continue;
            }
            l->c->lines[at] = n->line;
            if (settings[at].type == SETTING_LIST)
                take_list(l, at, n);
            else
                take_node(l, &settings[at], n, key, &l->c->values[at]);
        } else if (len < KEY_BYTES && has_below(key)) {
            char below[KEY_BYTES + 1];
            snprintf(below, sizeof below, "%s.", key);
            if (n->kind == YAML_MAP)
                take_map(l, n, below);
            else if (n->kind != YAML_SCALAR || n->value[0])
                problem_line(l, n->line, key, "must be a map of settings");
        } else {
            unknown_key(l, n->line, prefix, key);
        }
    }
}

static int take_file(loading *l, bool must_exist)
{
    yaml_tree tree;
    sv_error err = {0};
    int rc = yaml_load_file(l->file, &tree, &err);
    if (rc == SV_E_NOT_FOUND && !must_exist) return 0;
    if (rc == SV_E_NO_MEMORY) return sv_fail(l->err, rc, NULL, "%s", err.message);
    if (rc) return sv_fail(l->err, SV_E_CONFIG, NULL, "%s", err.message);
    l->c->file = arena_copy(&l->c->mem, sv_cstr(l->file));
    if (l->c->file == NULL)
        l->fatal = SV_E_NO_MEMORY;
    else if (tree.root && tree.root->kind == YAML_MAP)
        take_map(l, tree.root, "");
    else if (tree.root)
        problem_line(l, tree.root->line, "(root)", "must be a map of settings");
    yaml_tree_free(&tree);
    return l->fatal;
}

/* Comma-separated text; spaces around an entry do not count. Cuts `text` up. */
static void take_env_texts(loading *l, size_t at, char *text, const char *place)
{
    const char *texts[1024];
    char words[256];
    uint32_t n = 0;
    for (char *p = text; p && *text && n < 1024;) {
        char *comma = strchr(p, ',');
        char *end = comma ? comma : p + strlen(p);
        while (*p == ' ')
            p++;
        while (end > p && end[-1] == ' ')
            end--;
        *end = 0;
        texts[n++] = p;
        p = comma ? comma + 1 : NULL;
    }
    const setting *s = &settings[at];
    note_parse(l, config_value_list(s, texts, n, &l->c->mem, &l->c->values[at], words), place,
               s->key, words);
}

static size_t setting_of_env(const char *name)
{
    for (size_t i = 0; i < SETTINGS; i++) {
        char env[CONFIG_ENV_BYTES];
        config_env_name(&settings[i], env);
        if (!is_member(&settings[i]) && strcmp(env, name) == 0) return i;
    }
    return SETTINGS;
}

static void take_variable(loading *l, const char *name, const char *value)
{
    char place[CONFIG_ENV_BYTES + 16], words[256];
    snprintf(place, sizeof place, "environment");
    for (size_t i = 0; i < sizeof other_env / sizeof *other_env; i++)
        if (strcmp(other_env[i], name) == 0) return;
    size_t at = setting_of_env(name);
    if (at == SETTINGS) {
        const char *near = nearest_env(name);
        problem(l, place, name, "is not known%s%s%s; allowed: the names in `samovar config show`",
                near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
        return;
    }
    const setting *s = &settings[at];
    snprintf(place, sizeof place, "environment %s", name);
    l->c->from_env[at] = true;
    if (s->type == SETTING_LIST) {
        problem(l, place, s->key, "is a list of maps; it can only be set in the file");
    } else if (s->type == SETTING_STRS) {
        char *copy = strdup(value);
        if (copy)
            take_env_texts(l, at, copy, place);
        else
            l->fatal = SV_E_NO_MEMORY;
        free(copy);
    } else {
        note_parse(l, config_value_parse(s, value, &l->c->mem, &l->c->values[at], words), place,
                   s->key, words);
    }
}

static void take_environment(loading *l)
{
    for (char **e = environ; e && *e && !l->fatal; e++) {
        const char *eq = strchr(*e, '=');
        char name[CONFIG_ENV_BYTES];
        if (eq == NULL || strncmp(*e, "SAMOVAR_", 8) != 0) continue;
        snprintf(name, sizeof name, "%.*s", (int)(eq - *e), *e);
        take_variable(l, name, eq + 1);
    }
}

/* ---- folders ---- */

/* `path` from the root, without a trailing slash or a leading "./". */
static const char *absolute(config *c, const char *path)
{
    char cwd[PATH_MAX];
    buf full;
    buf_init(&full, 2 * PATH_MAX);
    if (path[0] != '/') {
        if (getcwd(cwd, sizeof cwd) == NULL) return NULL;
        while (path[0] == '.' && (path[1] == '/' || path[1] == 0))
            path += path[1] ? 2 : 1;
        buf_printf(&full, "%s%s", strcmp(cwd, "/") == 0 ? "" : cwd, path[0] ? "/" : "");
    }
    buf_puts(&full, path);
    while (full.n > 1 && full.p[full.n - 1] == '/')
        full.n--;
    if (full.n == 0) buf_putc(&full, '/');
    const char *copy = full.failed ? NULL : arena_copy(&c->mem, buf_str(&full));
    buf_free(&full);
    return copy;
}

static int set_folders(config *c)
{
    c->data = absolute(c, config_str(c, "data"));
    const char *run = config_str(c, "run");
    char below[PATH_MAX + 8];
    if (c->data && run == NULL)
        snprintf(below, sizeof below, "%s%srun", c->data, strcmp(c->data, "/") == 0 ? "" : "/");
    c->run = c->data ? absolute(c, run ? run : below) : NULL;
    return c->run ? 0 : SV_E_NO_MEMORY;
}

/* ---- life ---- */

static int load(loading *l, const char *file)
{
    config *c = l->c;
    char looked_up[PATH_MAX];
    if (take_defaults(c)) return SV_E_NO_MEMORY;
    if (file == NULL) file = getenv("SAMOVAR_CONFIG");
    bool named = file != NULL;
    if (file == NULL) {
        const char *data = getenv("SAMOVAR_DATA");
        snprintf(looked_up, sizeof looked_up, "%s/samovar.yaml",
                 data && *data ? data : settings[find_setting("data")].def);
        file = looked_up;
    }
    l->file = file;
    int rc = take_file(l, named);
    if (rc) return rc;
    take_environment(l);
    if (l->fatal) return l->fatal;
    if (l->problems) return SV_E_CONFIG;
    return set_folders(c);
}

int config_load(const char *file, config **ret, sv_error *err)
{
    config *c = calloc(1, sizeof *c);
    if (c == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    arena_init(&c->mem, CONFIG_MEMORY);
    c->n_settings = SETTINGS;
    c->values = arena_alloc(&c->mem, SETTINGS * sizeof *c->values);
    c->items = arena_alloc(&c->mem, SETTINGS * sizeof *c->items);
    c->n_items = arena_alloc(&c->mem, SETTINGS * sizeof *c->n_items);
    c->lines = arena_alloc(&c->mem, SETTINGS * sizeof *c->lines);
    c->from_env = arena_alloc(&c->mem, SETTINGS * sizeof *c->from_env);
    c->sources = arena_alloc(&c->mem, SETTINGS * sizeof *c->sources);
    loading l = {.c = c};
    l.err = err ? err : &l.first;
    int rc = c->values && c->items && c->n_items && c->lines && c->from_env && c->sources
                 ? load(&l, file)
                 : SV_E_NO_MEMORY;
    if (rc == 0) rc = config_note_sources(c);
    if (rc) {
        config_free(c);
        return sv_fail(err, rc, NULL, NULL);
    }
    *ret = c;
    return 0;
}

void config_free(config *c)
{
    if (c == NULL) return;
    arena_free(&c->mem);
    free(c);
}
