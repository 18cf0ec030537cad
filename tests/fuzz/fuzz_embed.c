/*  fuzz_embed.c - any JSON as a request for embeddings, any bytes as a provider's answer: what is written
 *  is JSON with one vector for each text, read again it is the same. The first byte chooses the formats;
 *  a line end parts the request from the answer. */
#include "embed.h"
#include "error.h"

#include <assert.h>
#include <stdlib.h>

enum { DEPTH = 64, ROOM = 1 << 24 };

static const llm_format clients[] = {LLM_OPENAI, LLM_OLLAMA};
static const llm_format providers[] = {LLM_OPENAI, LLM_OLLAMA, LLM_GEMINI, LLM_ANTHROPIC};

static void check_json(const buf *b)
{
    sv_error err = {0};
    assert(json_skim(buf_str(b), DEPTH, &err) == 0);
}

static void check_write(const embed_request *q)
{
    for (size_t i = 0; i < sizeof providers / sizeof providers[0]; i++) {
        sv_error err = {0};
        llm_notes notes = {0};
        buf out;
        buf_init(&out, ROOM);
        int rc = embed_write(q, providers[i], sv_cstr("a\"/\xc3\xa9"), &out, &notes, &err);
        assert(rc == 0 || (rc == err.code && err.message[0]));
        if (rc == 0) check_json(&out);
        buf_free(&out);
    }
}

/* Our own answer, read as the provider's. */
static void check_again(const embed_request *q, llm_format client, const buf *first)
{
    sv_error err = {0};
    tokens t = {0};
    buf out;
    buf_init(&out, ROOM);
    int rc = embed_answer(q, client, client, sv_cstr("m"), buf_str(first), &t, &out, &err);
    assert(rc == 0);
    assert(out.n == first->n && memcmp(out.p, first->p, out.n) == 0);
    buf_free(&out);
}

static void check_answer(const embed_request *q, llm_format provider, sv_str json)
{
    sv_error err = {0};
    tokens t = {0};
    buf out;
    buf_init(&out, ROOM);
    int rc = embed_answer(q, provider, q->format, sv_cstr("m"), json, &t, &out, &err);
    assert(rc == 0 || rc == err.code || rc == SV_E_TOO_LARGE);
    if (rc == 0) {
        assert(t.known != t.estimated && t.prompt >= 0);
        check_json(&out);
        if (!q->older) check_again(q, q->format, &out);
    }
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    llm_format client = clients[data[0] % 2], provider = providers[data[0] / 2 % 4];
    char *copy = malloc(size - 1);
    assert(copy);
    memcpy(copy, data + 1, size - 1);
    const char *end = memchr(copy, '\n', size - 1);
    sv_str request = {copy, (uint32_t)(end ? (size_t)(end - copy) : size - 1)}, answer = {NULL, 0};
    if (end) answer = (sv_str){end + 1, (uint32_t)(size - 2 - request.n)};
    sv_error err = {0};
    embed_request q;
    if (json_skim(request, DEPTH, &err) == 0) {
        int rc = embed_parse(client, request, &q, &err);
        assert(rc == 0 || (rc == err.code && err.message[0]));
        if (rc == 0) {
            assert(q.n > 0 && q.n <= EMBED_INPUTS && q.prompt_tokens >= 0);
            check_write(&q);
            check_answer(&q, provider, answer);
        }
    }
    free(copy);
    return 0;
}
