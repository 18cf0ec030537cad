/*  fuzz_form_model.c - any bytes as a form with the boundary "b". Where the model's field is replaced,
 *  the bytes around it are the same, the other reader of forms (of the edge) finds exactly one field
 *  "model" before and after, and the new name is found where the old one was. The first line, if it
 *  begins with a dollar sign, is a Content-Type. */
#include "error.h"
#include "multipart.h"
#include "passthrough.h"

#include <assert.h>
#include <stdlib.h>

typedef struct seen {
    uint32_t models, parts;
    bool inside;
    char value[2 * FORM_MODEL_BYTES];
    uint32_t n;
} seen;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_begin(void *arg, const multipart_part *part, sv_error *err)
{
    seen *s = arg;
    (void)err;
    s->parts++;
    s->inside = sv_str_is(part->name, "model");
    s->models += s->inside;
    return 0;
}

static int on_bytes(void *arg, sv_str bytes, sv_error *err)
{
    seen *s = arg;
    (void)err;
    if (!s->inside) return 0;
    assert(s->n + bytes.n <= sizeof s->value);
    memcpy(s->value + s->n, bytes.p, bytes.n);
    s->n += bytes.n;
    return 0;
}

static int on_end(void *arg, sv_error *err)
{
    seen *s = arg;
    (void)err;
    s->inside = false;
    return 0;
}

/* False where the other reader has smaller limits. */
static bool look(sv_str body, seen *ret)
{
    multipart *m = malloc(sizeof *m);
    multipart_calls calls = {ret, on_begin, on_bytes, on_end};
    sv_error err = {0};
    assert(m);
    *ret = (seen){0};
    int rc = multipart_init(m, sv_cstr("multipart/form-data; boundary=b"), &calls, &err);
    if (rc == 0) rc = multipart_feed(m, body, &err);
    if (rc == 0) rc = multipart_end(m, &err);
    free(m);
    return rc == 0;
}

static void check_type(const uint8_t *data, size_t size)
{
    sv_error err = {0};
    sv_str boundary = {NULL, 0};
    int rc = form_boundary((sv_str){(const char *)data, (uint32_t)size}, &boundary, &err);
    assert(rc == 0 || (rc == err.code && err.message[0]));
    assert(rc || (boundary.n > 0 && boundary.n <= FORM_BOUNDARY_BYTES));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char name[] = "new-model";
    if (size && data[0] == '$') {
        check_type(data + 1, size - 1);
        return 0;
    }
    sv_str body = {(const char *)data, (uint32_t)size}, model = {NULL, 0}, boundary = sv_cstr("b");
    sv_error err = {0};
    buf out;
    seen before, after;
    buf_init(&out, size + sizeof name);
    int rc = form_set_model(body, boundary, sv_cstr(name), &out, &err);
    assert(rc == 0 || (rc == err.code && err.message[0] && out.n == 0));
    if (rc == 0) {
        assert(form_model(body, boundary, &model, &err) == 0);
        size_t at = (size_t)(model.p - body.p), rest = size - at - model.n;
        assert(out.n == at + sizeof name - 1 + rest);
        assert(memcmp(out.p, body.p, at) == 0);
        assert(memcmp(out.p + out.n - rest, model.p + model.n, rest) == 0);
        if (look(body, &before)) {
            assert(before.models == 1 && before.n == model.n);
            assert(memcmp(before.value, model.p, model.n) == 0);
            assert(look(buf_str(&out), &after));
            assert(after.models == 1 && after.parts == before.parts);
            assert(after.n == sizeof name - 1 && memcmp(after.value, name, after.n) == 0);
        }
    }
    buf_free(&out);
    return 0;
}
