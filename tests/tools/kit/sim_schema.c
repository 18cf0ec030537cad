#include "sim_schema.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

enum { DEPTH = 32 };

static json_t *fill(const json_t *root, const json_t *s, int depth);

static const json_t *referred(const json_t *root, const char *ref)
{
    const char *name = strrchr(ref, '/');
    if (strcmp(ref, "#") == 0 || !name) return root;
    const json_t *defs = json_object_get(root, "$defs");
    return json_object_get(defs ? defs : json_object_get(root, "definitions"), name + 1);
}

static json_t *object_of(const json_t *root, const json_t *s, int depth)
{
    json_t *o = json_object(), *v;
    const json_t *props = json_object_get(s, "properties"), *need = json_object_get(s, "required");
    const char *key;
    size_t i;
    if (json_array_size(need)) {
        json_array_foreach((json_t *)(uintptr_t)need, i, v)
        {
            key = json_string_value(v);
            if (key) json_object_set_new(o, key, fill(root, json_object_get(props, key), depth));
        }
    } else {
        json_object_foreach((json_t *)(uintptr_t)props, key, v)
        {
            json_object_set_new(o, key, fill(root, v, depth));
        }
    }
    return o;
}

static json_t *text_of(const json_t *s)
{
    static const char *const formats[][2] = {{"date-time", "2024-01-02T03:04:05Z"},
                                             {"date", "2024-01-02"},
                                             {"time", "03:04:05Z"},
                                             {"email", "a@example.com"},
                                             {"uri", "https://example.com/"},
                                             {"uuid", "00000000-0000-4000-8000-000000000001"}};
    const char *format = json_string_value(json_object_get(s, "format"));
    for (size_t i = 0; format && i < sizeof formats / sizeof *formats; i++)
        if (strcmp(format, formats[i][0]) == 0) return json_string(formats[i][1]);
    return json_string("text \xc3\xa9 \"1\"");
}

static json_t *number_of(const json_t *s)
{
    const json_t *min = json_object_get(s, "minimum"), *max = json_object_get(s, "maximum");
    if (json_is_integer(min)) return json_integer(json_integer_value(min));
    if (json_is_integer(max) && json_integer_value(max) < 1)
        return json_integer(json_integer_value(max));
    return json_integer(1);
}

static json_t *array_of(const json_t *root, const json_t *s, int depth)
{
    json_t *a = json_array();
    json_int_t n = json_integer_value(json_object_get(s, "minItems"));
    for (json_int_t i = 0; i < (n > 0 && n < 64 ? n : 1); i++)
        json_array_append_new(a, fill(root, json_object_get(s, "items"), depth));
    return a;
}

static const json_t *first_real(const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        const json_t *type = json_is_object(v) ? json_object_get(v, "type") : v;
        if (!json_is_string(type) || strcasecmp(json_string_value(type), "null") != 0) return v;
    }
    return NULL;
}

static json_t *fill(const json_t *root, const json_t *s, int depth)
{
    if (depth > DEPTH) return json_null();
    const json_t *v;
    if ((v = json_object_get(s, "const"))) return json_deep_copy(v);
    if ((v = json_object_get(s, "enum"))) return json_deep_copy(json_array_get(v, 0));
    if ((v = json_object_get(s, "$ref")) && json_is_string(v))
        return fill(root, referred(root, json_string_value(v)), depth + 1);
    if ((v = first_real(json_object_get(s, "anyOf"))) ||
        (v = first_real(json_object_get(s, "oneOf"))))
        return fill(root, v, depth + 1);
    v = json_object_get(s, "type");
    if (json_is_array(v)) v = first_real(v);
    const char *type = json_is_string(v)                        ? json_string_value(v)
                       : json_object_get(s, "properties") || !s ? "object"
                                                                : "string";
    if (strcasecmp(type, "object") == 0) return object_of(root, s, depth + 1);
    if (strcasecmp(type, "array") == 0) return array_of(root, s, depth + 1);
    if (strcasecmp(type, "string") == 0) return text_of(s);
    if (strcasecmp(type, "boolean") == 0) return json_true();
    if (strcasecmp(type, "null") == 0) return json_null();
    return number_of(s);
}

json_t *sim_fill(const json_t *schema)
{
    return fill(schema, json_is_object(schema) ? schema : NULL, 0);
}
