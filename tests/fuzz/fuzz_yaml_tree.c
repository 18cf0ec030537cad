/*  fuzz_yaml_tree.c - any bytes as a YAML file: refused with file and line, or a tree that keeps
 *  its promises: bounded depth and size, keys unique in their map, lines within the text. */
#include "yaml_tree.h"

#include "error.h"
#include "utf8.h"

#include <assert.h>
#include <stdlib.h>

/* One more than there are: an absent value at the end stands behind the last line. */
static int last_line(const uint8_t *data, size_t size)
{
    int lines = 2;
    for (size_t i = 0; i < size;
         i++) /* every byte that could begin a line end, NEL and LS included */
        lines += data[i] == '\n' || data[i] == '\r' || data[i] == 0xc2 || data[i] == 0xe2;
    return lines;
}

static int check(const yaml_node *n, const yaml_node *parent, int depth, int lines)
{
    int nodes = 0;
    assert(depth <= 17);
    for (; n; n = n->next, nodes++) {
        assert(n->line >= 1 && n->line <= lines);
        assert((n->key != NULL) == (parent && parent->kind == YAML_MAP));
        if (n->key) assert(yaml_get(parent, n->key) == n);
        if (n->kind == YAML_SCALAR) {
            assert(n->value && n->child == NULL && utf8_valid(sv_cstr(n->value)));
        } else {
            assert(n->value == NULL);
            nodes += check(n->child, n, depth + 1, lines);
        }
        if (parent == NULL) return nodes + 1;
    }
    return nodes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    yaml_tree t = {0};
    sv_error err = {0};
    int rc = yaml_load_text("f", (sv_str){(const char *)data, (uint32_t)size}, &t, &err);
    if (rc) {
        assert(rc == SV_E_CONFIG && err.code == rc && strncmp(err.message, "f:", 2) == 0);
        assert(strtol(err.message + 2, NULL, 10) >= 1);
        assert(t.memory == NULL);
        return 0;
    }
    assert(check(t.root, NULL, 0, last_line(data, size)) <= 10000);
    yaml_tree_free(&t);
    return 0;
}
