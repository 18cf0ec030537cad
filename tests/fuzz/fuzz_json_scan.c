/*  fuzz_json_scan.c - any bytes as JSON: json_skim and jansson agree on what is JSON, the
 *  scanner finds what jansson finds, and edits of accepted text leave accepted text. Known
 *  differences: numbers that do not fit (jansson refuses, json_skim takes), nesting (64 here,
 *  2048 there), a NUL byte after the value (jansson's end of text, malformed here). */
/* jansson and json_scan.h use some of the same names; here jansson's are put aside. */
#define json_type   jansson_type
#define json_string jansson_string
#define JSON_OBJECT JANSSON_OBJECT
#define JSON_ARRAY  JANSSON_ARRAY
#define JSON_STRING JANSSON_STRING
#define JSON_TRUE   JANSSON_TRUE
#define JSON_FALSE  JANSSON_FALSE
#define JSON_NULL   JANSSON_NULL
#include <jansson.h>
#undef json_type
#undef json_string
#undef JSON_OBJECT
#undef JSON_ARRAY
#undef JSON_STRING
#undef JSON_TRUE
#undef JSON_FALSE
#undef JSON_NULL

#include "error.h"
#include "json_scan.h"

#include <assert.h>
#include <stdlib.h>

enum { DEPTH = 64 };

static void compare(json_value v, const json_t *j);

static void compare_object(json_value v, const json_t *j)
{
    size_t at = 0, n = 0;
    sv_str key;
    json_value member;
    buf name;
    buf_init(&name, 1 << 24);
    while (json_next_member(v, &at, &key, &member)) {
        buf_reset(&name, 4096);
        assert(json_text((json_value){JSON_STRING, {key.p - 1, key.n + 2}}, &name) == 0);
        assert(buf_putc(&name, 0) == 0);
        json_t *theirs = json_object_get(j, name.p);
        assert(theirs != NULL);
        json_value got = json_get(v, name.p);
        assert(got.type == member.type && got.raw.p == member.raw.p && got.raw.n == member.raw.n);
        compare(member, theirs);
        n++;
    }
    assert(n == json_object_size(j));
    buf_free(&name);
}

static void compare(json_value v, const json_t *j)
{
    switch (v.type) {
    case JSON_NULL: assert(json_typeof(j) == JANSSON_NULL); break;
    case JSON_TRUE: assert(json_typeof(j) == JANSSON_TRUE); break;
    case JSON_FALSE: assert(json_typeof(j) == JANSSON_FALSE); break;
    case JSON_NUMBER: {
        int64_t i;
        double d;
        if (json_typeof(j) == JSON_INTEGER)
            assert(json_int(v, &i) == 0 && i == json_integer_value(j));
        else if (json_number(v, &d) == 0)
            assert(!(d < json_real_value(j)) && !(d > json_real_value(j)));
        break;
    }
    case JSON_STRING: {
        buf text;
        buf_init(&text, 1 << 24);
        assert(json_typeof(j) == JANSSON_STRING && json_text(v, &text) == 0);
        assert(text.n == json_string_length(j));
        assert(text.n == 0 || memcmp(text.p, json_string_value(j), text.n) == 0);
        assert(json_string_is(v, json_string_value(j)));
        buf_free(&text);
        break;
    }
    case JSON_ARRAY: {
        size_t at = 0, n = 0;
        json_value element;
        assert(json_typeof(j) == JANSSON_ARRAY);
        while (json_next_element(v, &at, &element))
            compare(element, json_array_get(j, n++));
        assert(n == json_array_size(j));
        break;
    }
    case JSON_OBJECT:
        assert(json_typeof(j) == JANSSON_OBJECT);
        compare_object(v, j);
        break;
    case JSON_NONE: abort(); /* a value of accepted text has a type */
    }
}

static void apply_one(sv_str text, const json_edit *e, json_type want)
{
    buf out;
    buf_init(&out, 1 << 24);
    assert(json_apply(text, e, 1, &out) == 0);
    assert(json_skim(buf_str(&out), DEPTH, NULL) == 0);
    assert(json_get(json_root(buf_str(&out)), "model").type == want);
    buf_free(&out);
}

static void edit(sv_str text)
{
    buf scratch;
    buf_init(&scratch, 1 << 16);
    json_edit e;
    assert(json_edit_set(text, "model", sv_cstr("\"other\""), &scratch, &e) == 0);
    apply_one(text, &e, JSON_STRING);
    e = json_edit_remove(text, "model");
    apply_one(text, &e, JSON_NONE);
    buf_free(&scratch);
}

/* Whatever the bytes are, scanning them ends and stays inside. */
static void scan(sv_str text)
{
    json_value v = json_root(text), item;
    size_t at = 0;
    sv_str key;
    while (json_next_member(v, &at, &key, &item))
        assert(item.raw.p >= text.p && item.raw.p + item.raw.n <= text.p + text.n);
    at = 0;
    while (json_next_element(v, &at, &item))
        assert(item.raw.p >= text.p && item.raw.p + item.raw.n <= text.p + text.n);
    json_edit e = json_edit_remove(text, "model");
    assert(e.at <= text.n && e.cut <= text.n - e.at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *exact = malloc(size ? size : 1); /* so that a read beyond the end is seen */
    if (size) memcpy(exact, data, size);
    sv_str text = {exact, (uint32_t)size};
    scan(text);
    sv_error err = {0};
    int rc = json_skim(text, DEPTH, &err);
    assert(rc == err.code);
    json_error_t e;
    json_t *j = json_loadb(exact, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    if (rc == 0 && j == NULL) assert(json_error_code(&e) == json_error_numeric_overflow);
    if (rc != 0 && j != NULL) assert(rc == SV_E_TOO_DEEP || memchr(exact, 0, size));
    if (rc == 0) {
        json_value v = json_root(text);
        if (j) compare(v, j);
        if (v.type == JSON_OBJECT) edit(text);
    }
    json_decref(j);
    free(exact);
    return 0;
}
