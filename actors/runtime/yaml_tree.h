/*  yaml_tree.h - a small YAML file as a tree that remembers lines.
 *  Accepted: one document of maps, lists and scalars. Refused with file and line: aliases and
 *  anchors, tags, duplicate keys, more than 16 levels, 10,000 nodes or 1 MiB, text that is not
 *  UTF-8.
 *  Thread: any.   Ownership: the tree owns everything it hands out. */
#ifndef SV_YAML_TREE_H
#define SV_YAML_TREE_H

#include "sv_types.h"

typedef enum yaml_kind { YAML_SCALAR, YAML_MAP, YAML_LIST } yaml_kind;

typedef struct yaml_node {
    yaml_kind kind;
    const char *key;   /* name in the parent map, NULL in a list */
    const char *value; /* scalars: text, "" for an empty one */
    bool quoted;       /* scalar was quoted: "8080" is text, 8080 may be a number */
    int line;          /* from 1 */
    struct yaml_node *child, *next;
} yaml_node;

typedef struct yaml_tree {
    yaml_node *root; /* NULL for an empty document */
    char *file;
    void *memory;
} yaml_tree;

/* err->message reads "FILE:LINE: what is wrong". SV_E_CONFIG, or SV_E_NOT_FOUND for a missing file.
 */
int yaml_load_file(const char *file, yaml_tree *ret, sv_error *err);
int yaml_load_text(const char *name, sv_str text, yaml_tree *ret, sv_error *err);
/* Not yaml_free: libyaml exports that name. */
void yaml_tree_free(yaml_tree *t);
const yaml_node *yaml_get(const yaml_node *map, const char *key);

#endif
