/*  fuzz_llm_request.c - any JSON as a client's request: the first byte picks its format, the
 *  second what the target can. What parses is written for every provider, as valid JSON. */
#include "arena.h"
#include "error.h"
#include "llm.h"

#include <assert.h>
#include <stdlib.h>

enum { ARENA = 64 << 20, OUT = 64 << 20, DEPTH = 64 };

static void write_for(const llm_ops *to, const llm_request *q, const llm_target *t)
{
    buf out;
    sv_error err = {0};
    llm_notes notes = {{0}};
    buf_init(&out, OUT);
    int rc = to->write(q, t, &out, &notes, &err);
    if (rc == 0) {
        /* one level deeper than what came, or two */
        assert(json_skim(buf_str(&out), 4 * DEPTH, NULL) == 0);
        assert(json_root(buf_str(&out)).type == JSON_OBJECT);
    } else {
        assert(rc == err.code && err.message[0]);
    }
    assert(memchr(notes.dropped, 0, sizeof notes.dropped));
    buf_reset(&out, 0);
    assert(to->path(t, &out) == 0 && out.n > 0 && out.p[0] == '/');
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    arena a;
    llm_request q;
    sv_error err = {0};
    if (size < 2) return 0;
    const llm_ops *from = llm_ops_of((llm_format)(data[0] % LLM_FORMATS));
    if (from == NULL || from->parse == NULL) return 0;
    char *copy = malloc(size - 2 ? size - 2 : 1); /* exact, so that overreads show */
    if (copy == NULL) return 0;
    memcpy(copy, data + 2, size - 2);
    sv_str text = {copy, (uint32_t)(size - 2)};
    arena_init(&a, ARENA);
    if (json_skim(text, DEPTH, NULL) == 0 && json_root(text).type == JSON_OBJECT) {
        int rc = from->parse(text, &a, &q, &err);
        assert(rc <= 0 && rc == err.code);
        if (rc == 0) {
            llm_features f;
            llm_features_of(&q, &f);
            assert(f.prompt_tokens >= 0 && f.messages == q.n_messages);
            const llm_target t = {.model = sv_cstr("some/model"),
                                  .stream = data[1] & 1,
                                  .output_most = data[1] & 2 ? 8192 : 0,
                                  .completion_tokens = data[1] & 4,
                                  .no_prefill = data[1] & 8,
                                  .adaptive_thinking = data[1] & 16};
            for (int i = 0; i < LLM_FORMATS; i++)
                if (llm_ops_of((llm_format)i) && llm_ops_of((llm_format)i)->write)
                    write_for(llm_ops_of((llm_format)i), &q, &t);
        } else {
            assert(err.message[0]);
        }
    }
    arena_free(&a);
    free(copy);
    return 0;
}
