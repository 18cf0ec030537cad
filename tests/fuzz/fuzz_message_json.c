/*  fuzz_message_json.c - bodies between msgpack and JSON, with and without a descriptor. First
 *  byte: bits 0-4 the message type (31: none), bit 5 the direction, bit 6 redact_unknown. What
 *  one way makes the other way takes, and a second round changes nothing. */
#include "error.h"
#include "json_scan.h"
#include "message.h"
#include "skim.h"

#include <assert.h>
#include <stdlib.h>

enum { MOST = 1 << 24 };

typedef struct chooser {
    unsigned want, at;
    const sv_message *found;
} chooser;

static void choose(void *arg, const sv_message *m)
{
    chooser *c = arg;
    if (c->at++ == c->want) c->found = m;
}

static void from_json(const sv_message *m, sv_str text)
{
    buf packed, again, json;
    sv_error err = {0};
    buf_init(&packed, MOST);
    buf_init(&again, MOST);
    buf_init(&json, MOST);
    int rc = message_from_json(m, text, &packed, &err);
    assert(rc == err.code && (rc == 0 || err.message[0]));
    assert(rc != 0 || json_skim(text, LIMIT_DEPTH, NULL) == 0);
    sv_str bytes = buf_str(&packed);
    if (rc == 0 && skim_msgpack(bytes, LIMIT_DEPTH, LIMIT_NODES, &err) == 0) {
        assert(message_to_json(NULL, bytes, false, &json, &err) == 0);
        assert(json_skim(buf_str(&json), LIMIT_DEPTH, &err) == 0);
        if (m == NULL) { /* with a descriptor the bytes are base64 only for the fields it names */
            assert(message_from_json(NULL, buf_str(&json), &again, &err) == 0);
            assert(sv_str_eq(buf_str(&again), bytes));
        }
    } else if (rc == 0) {
        assert(err.code == SV_E_TOO_LARGE); /* more values than the bus takes */
    }
    buf_free(&packed);
    buf_free(&again);
    buf_free(&json);
}

static void to_json(const sv_message *m, sv_str bytes, bool redact)
{
    buf json, packed, again;
    sv_error err = {0};
    buf_init(&json, MOST);
    buf_init(&packed, MOST);
    buf_init(&again, MOST);
    int rc = message_to_json(m, bytes, redact, &json, &err);
    assert(rc == err.code && (rc == 0 || err.message[0]));
    if (rc == 0 && m == NULL) {
        int read = message_from_json(NULL, buf_str(&json), &packed, &err);
        if (read == 0) {
            assert(message_to_json(NULL, buf_str(&packed), false, &again, &err) == 0);
            assert(sv_str_eq(buf_str(&again), buf_str(&json)));
        } else {
            assert(memchr(bytes.p, 0, bytes.n)); /* a NUL in a string: JSON texts here have none */
        }
    } else if (rc == 0) {
        assert(json.n > 0 && json.p[0] == '{' && json.p[json.n - 1] == '}');
    }
    buf_free(&json);
    buf_free(&packed);
    buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    chooser c = {.want = data[0] & 31};
    if (c.want != 31) message_each(choose, &c);
    char *exact = malloc(size); /* so that a read beyond the end is seen */
    memcpy(exact, data + 1, size - 1);
    sv_str bytes = {exact, (uint32_t)size - 1};
    if (data[0] & 32)
        from_json(c.found, bytes);
    else
        to_json(c.found, bytes, data[0] & 64);
    free(exact);
    return 0;
}
