/*  openai.c - OpenAI's /chat/completions, for clients and for all providers who speak it. */
#include "openai.h"

static int path(const llm_target *t, buf *out)
{
    (void)t; /* the model is named in the body */
    return buf_puts(out, "/chat/completions");
}

const llm_ops llm_openai = {
    .format = LLM_OPENAI,
    .framing = LLM_SSE,
    .parse = openai_parse,
    .writer_new = openai_writer_new,
    .writer_event = openai_writer_event,
    .writer_end = openai_writer_end,
    .writer_free = openai_writer_free,
    .error_body = openai_error_body,
    .error_event = openai_error_event,
    .path = path,
    .write = openai_write,
    .reader_new = openai_reader_new,
    .read = openai_read,
    .read_end = openai_read_end,
    .reader_free = openai_reader_free,
};
