/*  anthropic.c - Anthropic's /messages, for clients and for the provider. */
#include "anthropic.h"

static int path(const llm_target *t, buf *out)
{
    (void)t; /* the model is named in the body */
    return buf_puts(out, "/messages");
}

const llm_ops llm_anthropic = {
    .format = LLM_ANTHROPIC,
    .framing = LLM_SSE,
    .parse = anthropic_parse,
    .writer_new = anthropic_writer_new,
    .writer_event = anthropic_writer_event,
    .writer_end = anthropic_writer_end,
    .writer_free = anthropic_writer_free,
    .error_body = anthropic_error_body,
    .error_event = anthropic_error_event,
    .path = path,
    .write = anthropic_write,
    .reader_new = anthropic_reader_new,
    .read = anthropic_read,
    .read_end = anthropic_read_end,
    .reader_free = anthropic_reader_free,
};
