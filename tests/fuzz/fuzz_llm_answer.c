/*  fuzz_llm_answer.c - any bytes as a provider's answer: the first byte picks the provider's
 *  format, the second the client's, the third whether each side streams. Events of a stream are
 *  parted by line ends. What the reader gives goes to the writer; whole answers are valid JSON,
 *  and streams are made of whole events whose data is. */
#include "error.h"
#include "llm.h"

#include <assert.h>
#include <stdlib.h>

enum { OUT = 64 << 20, DEPTH = 200 };

typedef struct job {
    const llm_ops *to;
    llm_writer *w;
    buf out;
    bool started, failed;
} job;

static int on_event(void *arg, const llm_event *e)
{
    job *j = arg;
    if (e->kind == LLM_START) {
        assert(!j->started);
        j->started = true;
    } else if (e->kind == LLM_FAILED) {
        j->to->error_event(j->w, e->status, "api_error", "code", sv_cstr("failed"), &j->out);
        j->failed = true;
        return 0;
    } else {
        assert(j->started);
    }
    assert(e->text.n == 0 || e->text.p);
    return j->to->writer_event(j->w, e, &j->out);
}

/* Each line of a stream: empty, a comment, a name, or data in JSON. */
static void check_stream(const llm_ops *to, sv_str s)
{
    assert(s.n == 0 || s.p[s.n - 1] == '\n');
    for (uint32_t at = 0; at < s.n;) {
        const char *line = s.p + at, *end = memchr(line, '\n', s.n - at);
        assert(end);
        sv_str data = {line, (uint32_t)(end - line)};
        at += data.n + 1;
        if (to->framing == LLM_SSE) {
            if (data.n < 6 || memcmp(data.p, "data: ", 6) != 0) {
                assert(data.n == 0 || data.p[0] == ':' || memcmp(data.p, "event: ", 7) == 0);
                continue;
            }
            data = (sv_str){data.p + 6, data.n - 6};
        }
        if (sv_str_is(data, "[DONE]")) continue;
        assert(json_skim(data, DEPTH, NULL) == 0);
    }
}

static void read_all(const llm_ops *from, llm_reader *r, bool stream, sv_str bytes, job *j)
{
    sv_error err = {0};
    int rc = 0;
    bool done = false;
    while (stream && bytes.n && rc == 0) {
        const char *end = memchr(bytes.p, '\n', bytes.n);
        uint32_t n = end ? (uint32_t)(end - bytes.p) : bytes.n;
        rc = from->read(r, (sv_str){NULL, 0}, (sv_str){bytes.p, n}, on_event, j, &err);
        bytes = n < bytes.n ? (sv_str){bytes.p + n + 1, bytes.n - n - 1} : (sv_str){bytes.p, 0};
    }
    if (!stream) rc = from->read(r, (sv_str){NULL, 0}, bytes, on_event, j, &err);
    assert(rc <= 0);
    if (rc) return;
    rc = from->read_end(r, on_event, j, &done);
    assert(rc <= 0 && !(done && j->failed));
    if (rc || j->failed) return;
    rc = j->to->writer_end(j->w, &j->out);
    assert(rc <= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3) return 0;
    const llm_ops *from = llm_ops_of((llm_format)(data[0] % LLM_FORMATS)),
                  *to = llm_ops_of((llm_format)(data[1] % LLM_FORMATS));
    if (from == NULL || from->read == NULL || to == NULL || to->writer_new == NULL) return 0;
    bool in = data[2] & 1, out = data[2] & 2;
    static const char body[] = "{\"model\":\"m\"}";
    const llm_request q = {.format = to->format,
                           .n = 1,
                           .stream = out,
                           .show_thinking = data[2] & 4,
                           .json = {body, sizeof body - 1}};
    const llm_writer_spec spec = {.stream = out,
                                  .include_usage = data[2] & 8,
                                  .id = "abc123",
                                  .model = sv_cstr("some/model"),
                                  .created = 1800000000,
                                  .request = &q};
    char *copy = malloc(size - 3 ? size - 3 : 1);
    job j = {.to = to, .w = to->writer_new(&spec)};
    llm_reader *r = from->reader_new(in);
    buf_init(&j.out, OUT);
    if (copy && j.w && r) {
        memcpy(copy, data + 3, size - 3);
        read_all(from, r, in, (sv_str){copy, (uint32_t)(size - 3)}, &j);
        if (out) check_stream(to, buf_str(&j.out));
        if (!out && !j.failed && j.out.n) assert(json_skim(buf_str(&j.out), DEPTH, NULL) == 0);
    }
    llm_failure f;
    llm_failure_read(from->format, data[2] & 16 ? 400 : 0,
                     (sv_str){(const char *)data + 3, (uint32_t)(size - 3)}, &f);
    assert(f.message[0] && f.type[0] && f.code[0]);
    from->reader_free(r);
    to->writer_free(j.w);
    buf_free(&j.out);
    free(copy);
    return 0;
}
