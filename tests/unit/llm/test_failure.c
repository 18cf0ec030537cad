/*  What providers really answer when something is wrong, and what it means. */
#include "llm.h"

#include "utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

typedef struct row {
    llm_format provider;
    int status;
    const char *body;
    llm_failure_kind kind;
    const char *message; /* NULL: anything */
} row;

static const row rows[] = {
    /* OpenAI and those like it */
    {LLM_OPENAI, 400,
     "{\"error\":{\"message\":\"This model's maximum context length is 8192 tokens. However, your "
     "messages resulted in 9000 "
     "tokens.\",\"type\":\"invalid_request_error\",\"param\":\"messages\","
     "\"code\":\"context_length_exceeded\"}}",
     LLM_FAIL_CONTEXT, NULL},
    {LLM_OPENAI, 401,
     "{\"error\":{\"message\":\"Incorrect API key provided: sk-proj-abc.\",\"type\":"
     "\"invalid_request_error\",\"param\":null,\"code\":\"invalid_api_key\"}}",
     LLM_FAIL_KEY, "Incorrect API key provided: sk-*********"},
    {LLM_OPENAI, 429,
     "{\"error\":{\"message\":\"You exceeded your current quota, please check your "
     "plan.\",\"type\":"
     "\"insufficient_quota\",\"param\":null,\"code\":\"insufficient_quota\"}}",
     LLM_FAIL_BILLING, NULL},
    {LLM_OPENAI, 429,
     "{\"error\":{\"message\":\"Rate limit reached for gpt-4o. Please try again in "
     "1.5s.\",\"type\":\"tokens\",\"param\":null,\"code\":\"rate_limit_exceeded\"}}",
     LLM_FAIL_RATE, NULL},
    {LLM_OPENAI, 404,
     "{\"error\":{\"message\":\"The model `gpt-9` does not exist or you do not have access to "
     "it.\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"model_not_found\"}}",
     LLM_FAIL_MODEL, NULL},
    {LLM_OPENAI, 400,
     "{\"error\":{\"message\":\"Invalid prompt: your prompt was flagged as potentially violating "
     "our "
     "usage policy.\",\"type\":\"invalid_request_error\",\"code\":\"invalid_prompt\"}}",
     LLM_FAIL_POLICY, NULL},
    {LLM_OPENAI, 400, "{\"error\":{\"message\":\"Unknown parameter: 'x'.\",\"code\":null}}",
     LLM_FAIL_REQUEST, "Unknown parameter: 'x'."},
    {LLM_OPENAI, 503, "{\"error\":{\"message\":\"Slow down\",\"code\":\"slow_down\"}}",
     LLM_FAIL_OVERLOAD, NULL},
    {LLM_OPENAI, 500, "{\"error\":{\"message\":\"The server had an error\"}}", LLM_FAIL_SERVER,
     NULL},
    /* Azure */
    {LLM_OPENAI, 400,
     "{\"error\":{\"message\":\"The response was filtered due to the prompt triggering Azure "
     "OpenAI's "
     "content management policy.\",\"type\":null,\"param\":\"prompt\",\"code\":\"content_filter\","
     "\"status\":400,\"innererror\":{\"code\":\"ResponsibleAIPolicyViolation\"}}}",
     LLM_FAIL_POLICY, NULL},
    {LLM_OPENAI, 404,
     "{\"error\":{\"code\":\"DeploymentNotFound\",\"message\":\"The API deployment for this "
     "resource "
     "does not exist.\"}}",
     LLM_FAIL_MODEL, NULL},
    {LLM_OPENAI, 401,
     "{\"error\":{\"code\":\"401\",\"message\":\"Access denied due to invalid subscription "
     "key.\"}}",
     LLM_FAIL_KEY, NULL},
    /* OpenRouter */
    {LLM_OPENAI, 402,
     "{\"error\":{\"message\":\"This request requires more credits\",\"code\":402}}",
     LLM_FAIL_BILLING, NULL},
    {LLM_OPENAI, 200, "{\"error\":{\"message\":\"Rate limited\",\"code\":429}}", LLM_FAIL_RATE,
     NULL},
    {LLM_OPENAI, 400,
     "{\"error\":{\"message\":\"Provider returned error\",\"code\":400,\"metadata\":{\"raw\":"
     "\"{\\\"error\\\":{\\\"message\\\":\\\"prompt is too long: 210000 tokens\\\"}}\","
     "\"provider_name\":\"Anthropic\"}}}",
     LLM_FAIL_CONTEXT, "prompt is too long: 210000 tokens"},
    {LLM_OPENAI, 400, "{\"error\":{\"message\":\"x/y is not a valid model ID\",\"code\":400}}",
     LLM_FAIL_MODEL, NULL},
    {LLM_OPENAI, 404, "{\"error\":{\"message\":\"No endpoints found for x/y.\",\"code\":404}}",
     LLM_FAIL_MODEL, NULL},
    {LLM_OPENAI, 403,
     "{\"error\":{\"message\":\"openai/gpt-4o requires moderation. Your input was flagged\","
     "\"code\":403,\"metadata\":{\"reasons\":[\"violence\"]}}}",
     LLM_FAIL_POLICY, NULL},
    /* Groq, Mistral, vLLM, DeepSeek, llama.cpp */
    {LLM_OPENAI, 400,
     "{\"error\":{\"message\":\"The model `llama3-x` has been decommissioned\",\"type\":"
     "\"invalid_request_error\",\"code\":\"model_decommissioned\"}}",
     LLM_FAIL_MODEL, NULL},
    {LLM_OPENAI, 401, "{\"message\":\"Unauthorized\",\"request_id\":\"1\"}", LLM_FAIL_KEY,
     "Unauthorized"},
    {LLM_OPENAI, 422, "{\"detail\":[{\"loc\":[\"body\",\"messages\"],\"msg\":\"field required\"}]}",
     LLM_FAIL_REQUEST, "field required"},
    {LLM_OPENAI, 400,
     "{\"object\":\"error\",\"message\":\"Expected last role User or Tool (or Assistant with "
     "prefix "
     "True) for serving but got assistant\",\"type\":\"invalid_request_message_order\"}",
     LLM_FAIL_PREFILL, NULL},
    {LLM_OPENAI, 400,
     "{\"object\":\"error\",\"message\":\"This model's maximum context length is 4096 tokens.\","
     "\"type\":\"BadRequestError\",\"param\":null,\"code\":400}",
     LLM_FAIL_CONTEXT, NULL},
    {LLM_OPENAI, 404,
     "{\"object\":\"error\",\"message\":\"The model `x` does not "
     "exist.\",\"type\":\"NotFoundError\","
     "\"code\":404}",
     LLM_FAIL_MODEL, NULL},
    {LLM_OPENAI, 402,
     "{\"error\":{\"message\":\"Insufficient Balance\",\"type\":\"unknown_error\"}}",
     LLM_FAIL_BILLING, NULL},
    {LLM_OPENAI, 500,
     "{\"error\":{\"code\":500,\"message\":\"the request exceeds the available context size\","
     "\"type\":\"exceed_context_size_error\"}}",
     LLM_FAIL_CONTEXT, NULL},
    /* Anthropic */
    {LLM_ANTHROPIC, 400,
     "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"Your credit "
     "balance is too low to access the Anthropic API.\"}}",
     LLM_FAIL_BILLING, NULL},
    {LLM_ANTHROPIC, 400,
     "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"This model "
     "does "
     "not support assistant message prefill. The conversation must end with a user message.\"}}",
     LLM_FAIL_PREFILL, NULL},
    {LLM_ANTHROPIC, 400,
     "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"Output "
     "blocked by "
     "content filtering policy\"}}",
     LLM_FAIL_POLICY, NULL},
    {LLM_ANTHROPIC, 404,
     "{\"type\":\"error\",\"error\":{\"type\":\"not_found_error\",\"message\":\"model: "
     "claude-9\"}}",
     LLM_FAIL_MODEL, NULL},
    {LLM_ANTHROPIC, 529,
     "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}",
     LLM_FAIL_OVERLOAD, "Overloaded"},
    {LLM_ANTHROPIC, 0,
     "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}",
     LLM_FAIL_OVERLOAD, NULL},
    {LLM_ANTHROPIC, 0,
     "{\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"Internal server "
     "error\"}}",
     LLM_FAIL_SERVER, NULL},
    {LLM_ANTHROPIC, 413,
     "{\"type\":\"error\",\"error\":{\"type\":\"request_too_large\",\"message\":\"Request exceeds "
     "the "
     "maximum size\"}}",
     LLM_FAIL_REQUEST, NULL},
    /* Gemini */
    {LLM_GEMINI, 429,
     "[{\"error\":{\"code\":429,\"message\":\"You exceeded your current quota, please check your "
     "plan "
     "and billing "
     "details.\",\"status\":\"RESOURCE_EXHAUSTED\",\"details\":[{\"@type\":\"x/RetryInfo\","
     "\"retryDelay\":\"38s\"}]}}]",
     LLM_FAIL_RATE, NULL},
    {LLM_GEMINI, 400,
     "{\"error\":{\"code\":400,\"message\":\"API key not valid. Please pass a valid API key.\","
     "\"status\":\"INVALID_ARGUMENT\",\"details\":[{\"reason\":\"API_KEY_INVALID\"}]}}",
     LLM_FAIL_KEY, NULL},
    {LLM_GEMINI, 400,
     "{\"error\":{\"code\":400,\"message\":\"The input token count (1200000) exceeds the maximum "
     "number of tokens allowed (1048576).\",\"status\":\"INVALID_ARGUMENT\"}}",
     LLM_FAIL_CONTEXT, NULL},
    {LLM_GEMINI, 503,
     "{\"error\":{\"code\":503,\"message\":\"The model is "
     "overloaded.\",\"status\":\"UNAVAILABLE\"}}",
     LLM_FAIL_OVERLOAD, NULL},
    {LLM_GEMINI, 404,
     "{\"error\":{\"code\":404,\"message\":\"models/x is not found for API version "
     "v1beta\",\"status\":"
     "\"NOT_FOUND\"}}",
     LLM_FAIL_MODEL, NULL},
    /* Ollama */
    {LLM_OLLAMA, 404, "{\"error\":\"model \\\"x\\\" not found, try pulling it first\"}",
     LLM_FAIL_MODEL, "model \"x\" not found, try pulling it first"},
    {LLM_OLLAMA, 400, "{\"error\":\"x does not support tools\"}", LLM_FAIL_REQUEST, NULL},
    {LLM_OLLAMA, 503, "{\"error\":\"server busy, please try again\"}", LLM_FAIL_OVERLOAD, NULL},
    /* no format at all */
    {LLM_OPENAI, 502, "<html><body>Bad Gateway</body></html>", LLM_FAIL_SERVER,
     "The provider failed."},
    {LLM_OPENAI, 403, "", LLM_FAIL_KEY, NULL},
    {LLM_OPENAI, 408, "timed out", LLM_FAIL_SERVER, "timed out"},
    {LLM_OPENAI, 500, "{\"error\":{\"message\":\"cut", LLM_FAIL_SERVER, "The provider failed."},
    {LLM_OPENAI, 400,
     "\xff\xfe"
     "bad \xc3\xa9\n",
     LLM_FAIL_REQUEST, "??bad \xc3\xa9"},
    {LLM_OPENAI, 400, "{\"error\":{\"message\":\"   \"}}", LLM_FAIL_REQUEST,
     "The provider did not accept the request."},
    {LLM_OPENAI, 302, "moved", LLM_FAIL_OTHER, "moved"},
};

static void kinds(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        llm_failure f;
        llm_failure_read(rows[i].provider, rows[i].status, sv_cstr(rows[i].body), &f);
        if (f.kind != rows[i].kind) fail_msg("kind %d of %s", (int)f.kind, rows[i].body);
        if (rows[i].message) assert_string_equal(f.message, rows[i].message);
        assert_true(f.message[0] != 0 && f.type[0] != 0 && f.code[0] != 0);
        assert_true(utf8_valid(sv_cstr(f.message)));
    }
}

static void retry(void **state)
{
    llm_failure f;
    (void)state;
    const struct {
        const char *body;
        uint32_t ms;
    } waits[] = {
        {"{\"error\":{\"message\":\"x\",\"details\":[{\"retryDelay\":\"38s\"}]}}", 38000},
        {"{\"error\":{\"message\":\"Please try again in 1m2.5s.\"}}", 62500},
        {"{\"error\":{\"message\":\"Please try again in 20ms.\"}}", 20},
        {"{\"error\":{\"message\":\"Please try again in 99999999h\"}}", 86400000},
        {"{\"error\":{\"message\":\"Please try again in a while\"}}", 0},
        {"{\"error\":{\"message\":\"x\",\"details\":[{\"retryDelay\":\"5 apples\"}]}}", 0},
    };
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
        llm_failure_read(LLM_GEMINI, 429, sv_cstr(waits[i].body), &f);
        assert_int_equal(f.retry_after_ms, waits[i].ms);
    }
}

/* A message of any length ends at a character's end. */
static void long_words(void **state)
{
    (void)state;
    buf body;
    llm_failure f;
    for (size_t shift = 0; shift < 3; shift++) {
        buf_init(&body, 1 << 20);
        buf_puts(&body, "{\"error\":\"");
        for (size_t i = 0; i < 3000 + shift; i++)
            buf_puts(&body, i < shift ? "a" : "\xe4\xb8\xad");
        buf_puts(&body, "\"}");
        llm_failure_read(LLM_OLLAMA, 500, buf_str(&body), &f);
        assert_true(utf8_valid(sv_cstr(f.message)) && strlen(f.message) > 500);
        buf_free(&body);
    }
    buf_init(&body, 8 << 20);
    for (size_t i = 0; i < 1 << 20; i++)
        buf_putc(&body, '[');
    llm_failure_read(LLM_OPENAI, 500, buf_str(&body), &f);
    assert_int_equal(f.kind, LLM_FAIL_SERVER);
    buf_free(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds),
        cmocka_unit_test(retry),
        cmocka_unit_test(long_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
