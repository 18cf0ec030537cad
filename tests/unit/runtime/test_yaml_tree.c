/*  Trees of small YAML files: shape, lines, and everything that must be refused with its line. */
#include "yaml_tree.h"

#include "error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static void expect_refused(const char *text, size_t n, const char *words)
{
    yaml_tree t = {0};
    sv_error err = {0};
    assert_int_equal(yaml_load_text("f.yaml", (sv_str){text, (uint32_t)n}, &t, &err), SV_E_CONFIG);
    if (strstr(err.message, words) == NULL)
        fail_msg("\"%s\" does not contain \"%s\"", err.message, words);
    assert_null(t.memory);
}

static void refused(const char *text, const char *words)
{
    expect_refused(text, strlen(text), words);
}

static yaml_tree good(const char *text)
{
    yaml_tree t = {0};
    sv_error err = {0};
    if (yaml_load_text("f.yaml", sv_cstr(text), &t, &err)) fail_msg("%s", err.message);
    return t;
}

static void test_shape(void **state)
{
    (void)state;
    yaml_tree t = good("# head\na: 1\nb:\n  - x\n  - {k: 'v', l: [1, 2]}\nc: \"8080\"\nd:\n");
    assert_int_equal(t.root->kind, YAML_MAP);
    assert_string_equal(t.file, "f.yaml");
    const yaml_node *a = yaml_get(t.root, "a");
    assert_string_equal(a->value, "1");
    assert_false(a->quoted);
    assert_int_equal(a->line, 2);
    const yaml_node *b = yaml_get(t.root, "b");
    assert_int_equal(b->kind, YAML_LIST);
    assert_int_equal(b->line, 3);
    assert_null(b->child->key);
    assert_string_equal(b->child->value, "x");
    const yaml_node *item = b->child->next;
    assert_int_equal(item->line, 5);
    assert_string_equal(yaml_get(item, "k")->value, "v");
    assert_true(yaml_get(item, "k")->quoted);
    assert_string_equal(yaml_get(item, "l")->child->next->value, "2");
    assert_null(item->next);
    assert_true(yaml_get(t.root, "c")->quoted);
    assert_string_equal(yaml_get(t.root, "d")->value, "");
    assert_null(yaml_get(t.root, "e"));
    assert_null(yaml_get(a, "e"));
    assert_null(yaml_get(NULL, "e"));
    yaml_tree_free(&t);
    yaml_tree_free(&t);
}

static void test_empty(void **state)
{
    (void)state;
    const char *texts[] = {"", "# only words\n", "---\n", "---\n...\n"};
    for (size_t i = 0; i < 4; i++) {
        yaml_tree t = good(texts[i]);
        assert_null(t.root);
        yaml_tree_free(&t);
    }
    yaml_tree t = good("''");
    assert_non_null(t.root);
    yaml_tree_free(&t);
}

static void test_refusals(void **state)
{
    (void)state;
    refused("a: 1\nb: &x 2\n", "f.yaml:2: anchors");
    refused("a: 1\nb: &x {}\n", "f.yaml:2: anchors");
    refused("a: &x [b]\n", "f.yaml:1: anchors");
    refused("a: *x\n", "f.yaml:1: aliases");
    refused("a: 1\n\nb: !!str 2\n", "f.yaml:3: tags");
    refused("a: !t {}\n", "f.yaml:1: tags");
    refused("a: 1\nb: 2\na: 3\n", "f.yaml:3: key a appears twice, first in line 1");
    refused("{a: 1, \"a\": 2}", "f.yaml:1: key a appears twice");
    refused("a: 1\n---\nb: 2\n", "more than one document");
    refused("? {a: 1}\n: 2\n", "cannot be a key");
    refused("? [a]\n: 2\n", "cannot be a key");
    refused("a: \"x\\0y\"\n", "f.yaml:1: text contains a NUL");
    refused("a: 1\n b: 2\n", "f.yaml:2:");
    refused("a: [1, 2\n", "f.yaml:2:");
    refused("a: 1\n\x01: 2\n", "f.yaml:2:");
    refused("a: 1\nb: \xff\n", "f.yaml:2: the text is not valid UTF-8");
    refused("\xff\xfe"
            "a",
            "not valid UTF-8");
    expect_refused("a: \0\n", 5, "f.yaml:1:");
    refused("@x", "f.yaml:1:");
    refused("\tb: 1", "f.yaml:1:");
}

static void test_depth(void **state)
{
    (void)state;
    char text[64];
    memset(text, '[', 16);
    memset(text + 16, ']', 16);
    text[32] = 0;
    yaml_tree t = good(text);
    yaml_tree_free(&t);
    memset(text, '[', 17);
    memset(text + 17, ']', 17);
    text[34] = 0;
    refused(text, "more than 16 levels");
}

static void test_sizes(void **state)
{
    (void)state;
    size_t n = 1 << 20;
    char *text = malloc(n + 2);
    memset(text, '#', n + 1);
    yaml_tree t = {0};
    sv_error err = {0};
    assert_int_equal(yaml_load_text("f", (sv_str){text, (uint32_t)n}, &t, &err), 0);
    yaml_tree_free(&t);
    expect_refused(text, n + 1, "larger than 1 MiB");
    for (size_t i = 0; i < n; i += 2)
        memcpy(text + i, "a,", 2);
    memcpy(text, "[a", 2);
    expect_refused(text, n, "more than 10000 values");
    memset(text, '[', n);
    expect_refused(text, n, "more than 16 levels");
    free(text);
}

static void test_files(void **state)
{
    (void)state;
    yaml_tree t = {0};
    sv_error err = {0};
    assert_int_equal(yaml_load_file("/nowhere/x.yaml", &t, &err), SV_E_NOT_FOUND);
    assert_string_equal(err.message, "/nowhere/x.yaml: no such file");
    err = (sv_error){0};
    assert_int_equal(yaml_load_file("/tmp", &t, &err), SV_E_CONFIG);
    assert_string_equal(err.message, "/tmp:1: not a regular file");
    char name[] = "/tmp/yaml_tree_XXXXXX";
    int fd = mkstemp(name);
    assert_int_equal(write(fd, "a: b\n", 5), 5);
    close(fd);
    err = (sv_error){0};
    assert_int_equal(yaml_load_file(name, &t, &err), 0);
    assert_string_equal(yaml_get(t.root, "a")->value, "b");
    assert_string_equal(t.file, name);
    yaml_tree_free(&t);
    unlink(name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shape), cmocka_unit_test(test_empty), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_depth), cmocka_unit_test(test_sizes), cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
