/*  fuzz_multipart.c - any bytes as a multipart body with the boundary "b", whole and in pieces whose
 *  sizes the first bytes choose: the same parts with the same bytes, and the same end. The rest of
 *  the first line, if it has one behind a dollar sign, is the Content-Type. */
#include "error.h"
#include "multipart.h"
#include "utf8.h"

#include <assert.h>
#include <stdlib.h>

enum { STEPS = 4 };

typedef struct story {
    char *text;
    size_t n, cap;
    uint32_t parts;
    bool open;
} story;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void add(story *s, const char *p, size_t n)
{
    if (s->n + n > s->cap) {
        s->cap = 2 * (s->n + n);
        s->text = realloc(s->text, s->cap);
        assert(s->text);
    }
    if (n) memcpy(s->text + s->n, p, n);
    s->n += n;
}

static int on_begin(void *arg, const multipart_part *part, sv_error *err)
{
    story *s = arg;
    (void)err;
    assert(!s->open && part->name.n > 0 && part->name.n <= MULTIPART_NAME_BYTES);
    assert(part->filename.n <= MULTIPART_FILENAME_BYTES);
    assert(utf8_valid(part->name) && utf8_valid(part->filename));
    assert(memchr(part->name.p, 0, part->name.n) == NULL);
    assert(part->filename.n == 0 || memchr(part->filename.p, 0, part->filename.n) == NULL);
    s->open = true;
    s->parts++;
    add(s, part->name.p, part->name.n);
    add(s, "|", 1);
    add(s, part->filename.p, part->filename.n);
    add(s, part->has_file ? "!" : "|", 1);
    add(s, part->type.p, part->type.n);
    add(s, "|", 1);
    return 0;
}

static int on_bytes(void *arg, sv_str bytes, sv_error *err)
{
    story *s = arg;
    (void)err;
    assert(s->open && bytes.n > 0);
    add(s, bytes.p, bytes.n);
    return 0;
}

static int on_end(void *arg, sv_error *err)
{
    story *s = arg;
    (void)err;
    assert(s->open);
    s->open = false;
    add(s, ";", 1);
    return 0;
}

static int read_all(story *s, sv_str type, const uint8_t *data, size_t size, const uint8_t *steps)
{
    multipart *m = malloc(sizeof *m);
    multipart_calls calls = {s, on_begin, on_bytes, on_end};
    sv_error err = {0};
    assert(m);
    int rc = multipart_init(m, type, &calls, &err);
    size_t at = 0;
    for (size_t i = 0; at < size && rc == 0; i++) {
        size_t n = steps ? (size_t)steps[i % STEPS] + 1 : size;
        if (n > size - at) n = size - at;
        char *copy = malloc(n); /* so that reading past it is seen */
        assert(copy);
        memcpy(copy, data + at, n);
        rc = multipart_feed(m, (sv_str){copy, (uint32_t)n}, &err);
        free(copy);
        at += n;
    }
    if (rc == 0) rc = multipart_end(m, &err);
    assert(rc == 0 || (rc == err.code && err.message[0]));
    assert(rc || !s->open);
    assert(s->parts <= MULTIPART_PARTS);
    free(m);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sv_str type = sv_cstr("multipart/form-data; boundary=b");
    if (size < STEPS) return 0;
    const uint8_t *steps = data;
    data += STEPS;
    size -= STEPS;
    const uint8_t *line = size && data[0] == '$' ? memchr(data, '\n', size) : NULL;
    if (line) {
        type = (sv_str){(const char *)data + 1, (uint32_t)(line - data - 1)};
        size -= (size_t)(line + 1 - data);
        data = line + 1;
    }
    story whole = {0}, pieces = {0};
    int rc = read_all(&whole, type, data, size, NULL);
    int again = read_all(&pieces, type, data, size, steps);
    assert(rc == again && whole.parts == pieces.parts && whole.open == pieces.open);
    /* A refusal inside a piece comes before or after the data in front of it. */
    size_t n = whole.n < pieces.n ? whole.n : pieces.n;
    assert(rc || whole.n == pieces.n);
    assert(n == 0 || memcmp(whole.text, pieces.text, n) == 0);
    free(whole.text);
    free(pieces.text);
    return 0;
}
