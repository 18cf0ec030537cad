/*  yaml_tree.c - libyaml's event stream folded into nodes of one arena.
 *  The open collections stand on a fixed stack, so nesting costs no recursion; a map that waits for
 *  the value of a key keeps that key in its stack entry. Everything an event can bring that the
 *  format does not have (alias, anchor, tag, second document, a collection as key) ends the parse
 *  with its line. */
#include "yaml_tree.h"

#include "arena.h"
#include "error.h"
#include "utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

enum { YAML_LEVELS = 16, YAML_NODES = 10000, YAML_BYTES = 1 << 20, YAML_MEMORY = 8 << 20 };

typedef struct level {
    yaml_node *node;
    yaml_node *last; /* newest child */
    const char *key; /* map: key that waits for its value */
    int key_line;
} level;

typedef struct builder {
    const char *name;
    sv_str text;
    arena *mem;
    yaml_node *root;
    level stack[YAML_LEVELS];
    int depth;
    int nodes;
    bool document_seen;
    sv_error *err;
} builder;

static int refuse(builder *b, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int refuse(builder *b, int line, const char *fmt, ...)
{
    char words[192];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(words, sizeof words, fmt, ap);
    va_end(ap);
    return sv_fail(b->err, SV_E_CONFIG, NULL, "%s:%d: %s", b->name, line, words);
}

static int no_memory(builder *b)
{
    return sv_fail(b->err, SV_E_NO_MEMORY, NULL, "%s: no memory to read it", b->name);
}

/* Puts a new node where the parse stands: root, list item or value of the waiting key. */
static int attach(builder *b, yaml_kind kind, int line, yaml_node **ret)
{
    if (++b->nodes > YAML_NODES)
        return refuse(b, line, "more than %d values in one file", YAML_NODES);
    yaml_node *node = arena_alloc(b->mem, sizeof *node);
    if (node == NULL) return no_memory(b);
    node->kind = kind;
    node->line = line;
    if (b->depth == 0) {
        b->root = node;
    } else {
        level *up = &b->stack[b->depth - 1];
        if (up->node->kind == YAML_MAP) {
            node->key = up->key;
            node->line = kind == YAML_SCALAR ? line : up->key_line;
            up->key = NULL;
        }
        if (up->last)
            up->last->next = node;
        else
            up->node->child = node;
        up->last = node;
    }
    *ret = node;
    return 0;
}

static bool awaits_key(const builder *b)
{
    if (b->depth == 0) return false;
    const level *up = &b->stack[b->depth - 1];
    return up->node->kind == YAML_MAP && up->key == NULL;
}

static int take_key(builder *b, const char *key, int line)
{
    level *up = &b->stack[b->depth - 1];
    const yaml_node *twin = yaml_get(up->node, key);
    if (twin) return refuse(b, line, "key %.64s appears twice, first in line %d", key, twin->line);
    up->key = key;
    up->key_line = line;
    return 0;
}

static int take_scalar(builder *b, const yaml_event_t *e, int line)
{
    const char *text = (const char *)e->data.scalar.value;
    size_t n = e->data.scalar.length;
    if (e->data.scalar.anchor) return refuse(b, line, "anchors (&) are not supported");
    if (e->data.scalar.tag) return refuse(b, line, "tags (!) are not supported");
    if (memchr(text, 0, n)) return refuse(b, line, "text contains a NUL character");
    char *copy = arena_copy(b->mem, (sv_str){text, (uint32_t)n});
    if (copy == NULL) return no_memory(b);
    if (awaits_key(b)) return take_key(b, copy, line);
    yaml_node *node;
    int rc = attach(b, YAML_SCALAR, line, &node);
    if (rc) return rc;
    node->value = copy;
    node->quoted = e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    return 0;
}

static int open_collection(builder *b, yaml_kind kind, const void *anchor, const void *tag,
                           int line)
{
    if (anchor) return refuse(b, line, "anchors (&) are not supported");
    if (tag) return refuse(b, line, "tags (!) are not supported");
    if (awaits_key(b)) return refuse(b, line, "a map or list cannot be a key");
    if (b->depth == YAML_LEVELS) return refuse(b, line, "more than %d levels", YAML_LEVELS);
    yaml_node *node;
    int rc = attach(b, kind, line, &node);
    if (rc) return rc;
    b->stack[b->depth++] = (level){.node = node};
    return 0;
}

/* 1 at the end of the stream, 0 to go on, or an error. */
static int take_event(builder *b, const yaml_event_t *e)
{
    int line = (int)e->start_mark.line + 1;
    switch (e->type) {
    case YAML_STREAM_END_EVENT: return 1;
    case YAML_DOCUMENT_START_EVENT:
        if (b->document_seen) return refuse(b, line, "more than one document in the file");
        b->document_seen = true;
        return 0;
    case YAML_ALIAS_EVENT: return refuse(b, line, "aliases (*) are not supported");
    case YAML_SCALAR_EVENT: return take_scalar(b, e, line);
    case YAML_SEQUENCE_START_EVENT:
        return open_collection(b, YAML_LIST, e->data.sequence_start.anchor,
                               e->data.sequence_start.tag, line);
    case YAML_MAPPING_START_EVENT:
        return open_collection(b, YAML_MAP, e->data.mapping_start.anchor, e->data.mapping_start.tag,
                               line);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT: b->depth--; return 0;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_DOCUMENT_END_EVENT: return 0;
    }
    return 0;
}

static int line_of(sv_str text, size_t at)
{
    int line = 1;
    for (size_t i = 0; i < text.n && i < at; i++)
        line += text.p[i] == '\n';
    return line;
}

static int parser_failed(builder *b, const yaml_parser_t *p)
{
    const char *problem = p->problem ? p->problem : "cannot be read";
    if (p->error == YAML_MEMORY_ERROR) return no_memory(b);
    if (p->error == YAML_READER_ERROR)
        return refuse(b, line_of(b->text, p->problem_offset), "%s", problem);
    return refuse(b, (int)p->problem_mark.line + 1, "%s%s%s", problem, p->context ? " " : "",
                  p->context ? p->context : "");
}

static int parse(builder *b)
{
    yaml_parser_t p;
    if (!yaml_parser_initialize(&p)) return no_memory(b);
    yaml_parser_set_encoding(&p, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&p, (const unsigned char *)(b->text.n ? b->text.p : ""),
                                 b->text.n);
    int rc = 0;
    while (rc == 0) {
        yaml_event_t e;
        if (!yaml_parser_parse(&p, &e)) {
            rc = parser_failed(b, &p);
            break;
        }
        rc = take_event(b, &e);
        yaml_event_delete(&e);
    }
    yaml_parser_delete(&p);
    return rc == 1 ? 0 : rc;
}

static size_t first_bad_utf8(sv_str s)
{
    size_t at = 0;
    while (at < s.n) {
        size_t n = utf8_sequence((const uint8_t *)s.p + at, s.n - at);
        if (n == 0) break;
        at += n;
    }
    return at;
}

/* An empty document is one empty plain scalar to libyaml, or no document at all. */
static bool empty_root(const yaml_node *root)
{
    return root && root->kind == YAML_SCALAR && !root->quoted && root->value[0] == 0;
}

int yaml_load_text(const char *name, sv_str text, yaml_tree *ret, sv_error *err)
{
    builder b = {.name = name, .text = text, .err = err};
    if (text.n > YAML_BYTES)
        return sv_fail(err, SV_E_CONFIG, NULL, "%s:1: larger than 1 MiB", name);
    if (!utf8_valid(text))
        return refuse(&b, line_of(text, first_bad_utf8(text)), "the text is not valid UTF-8");
    b.mem = malloc(sizeof *b.mem);
    char *file = strdup(name);
    if (b.mem == NULL || file == NULL) {
        free(b.mem);
        free(file);
        return no_memory(&b);
    }
    arena_init(b.mem, YAML_MEMORY);
    int rc = parse(&b);
    if (rc) {
        arena_free(b.mem);
        free(b.mem);
        free(file);
        return rc;
    }
    *ret = (yaml_tree){empty_root(b.root) ? NULL : b.root, file, b.mem};
    return 0;
}

static int read_failed(const char *file, const char *what, sv_error *err)
{
    return sv_fail(err, SV_E_CONFIG, NULL, "%s:1: %s", file, what);
}

static int read_whole(const char *file, int fd, char **ret, size_t *ret_n, sv_error *err)
{
    struct stat st;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) return read_failed(file, "not a regular file", err);
    if (st.st_size > YAML_BYTES) return read_failed(file, "larger than 1 MiB", err);
    size_t cap = YAML_BYTES + 1, n = 0;
    char *text = malloc(cap);
    if (text == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, "%s: no memory to read it", file);
    while (n < cap) {
        ssize_t got = read(fd, text + n, cap - n);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            free(text);
            return read_failed(file, strerror(errno), err);
        }
        if (got == 0) break;
        n += (size_t)got;
    }
    *ret = text;
    *ret_n = n;
    return 0;
}

int yaml_load_file(const char *file, yaml_tree *ret, sv_error *err)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            return sv_fail(err, SV_E_NOT_FOUND, NULL, "%s: no such file", file);
        return read_failed(file, strerror(errno), err);
    }
    char *text = NULL;
    size_t n = 0;
    int rc = read_whole(file, fd, &text, &n, err);
    close(fd);
    if (rc) return rc;
    rc = yaml_load_text(file, (sv_str){text, (uint32_t)n}, ret, err);
    free(text);
    return rc;
}

void yaml_tree_free(yaml_tree *t)
{
    if (t->memory) {
        arena_free(t->memory);
        free(t->memory);
    }
    free(t->file);
    *t = (yaml_tree){0};
}

const yaml_node *yaml_get(const yaml_node *map, const char *key)
{
    if (map == NULL || map->kind != YAML_MAP) return NULL;
    for (const yaml_node *n = map->child; n; n = n->next)
        if (strcmp(n->key, key) == 0) return n;
    return NULL;
}
