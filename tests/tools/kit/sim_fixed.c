/*  sim_fixed.c - endpoints that are answered by one body: embeddings, moderations, pictures,
 *  transcriptions, token counts. */
#include "sim_read.h"

#include "sim_answer.h"
#include "sim_vector.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIMS_MAX = 4096 };

static int missing(sim_request *r, const char *param)
{
    snprintf(r->fail.code, sizeof r->fail.code, "missing_required_parameter");
    return sim_refuse(r, param, "Missing required parameter: '%s'.", param);
}

static int known_only(sim_request *r, const sim_behaviour *b, const char *fields)
{
    const char *odd = b->lenient ? NULL : sim_unknown(r->body, fields);
    return odd ? sim_refuse(r, odd, "Unrecognized request argument supplied: %s", odd) : 0;
}

static void put_vector(buf *out, const float *v, size_t n)
{
    buf_puts(out, "[");
    for (size_t i = 0; i < n; i++)
        buf_printf(out, "%s%.9g", i ? "," : "", (double)v[i]);
    buf_puts(out, "]");
}

/* Texts of an embeddings request: one text or a list. */
static int texts_of(sim_request *r, json_t *input, json_t *list)
{
    size_t i;
    json_t *v;
    if (json_is_string(input)) json_array_append(list, input);
    json_array_foreach(json_is_array(input) ? input : NULL, i, v)
    {
        if (!json_is_string(v))
            return sim_refuse(r, "input", "Invalid type for 'input[%zu]': expected a string.", i);
        json_array_append(list, v);
    }
    if (json_array_size(list) == 0) return missing(r, "input");
    json_array_foreach(list, i, v)
    {
        if (!json_string_value(v)[0] && r->format == SIM_OPENAI)
            return sim_refuse(r, "input", "Invalid 'input[%zu]': input cannot be an empty string.",
                              i);
        sim_add_text(r, sim_turn(r, "user"), json_string_value(v));
    }
    return 0;
}

static int gemini_texts(sim_request *r, json_t *list)
{
    size_t i;
    json_t *v;
    json_array_foreach(json_object_get(r->body, "requests"), i, v)
    {
        json_t *part = json_array_get(json_object_get(json_object_get(v, "content"), "parts"), 0);
        json_t *text = json_object_get(part, "text");
        const char *model = json_string_value(json_object_get(v, "model"));
        if (!model || strncmp(model, "models/", 7) != 0 || strcmp(model + 7, r->model) != 0)
            return sim_refuse(r, "model",
                              "* BatchEmbedContentsRequest.requests[%zu].model: must "
                              "match the model of the batch",
                              i);
        if (!json_is_string(text))
            return sim_refuse(r, "content",
                              "* BatchEmbedContentsRequest.requests[%zu].content: "
                              "contents is not specified",
                              i);
        json_array_append(list, text);
        sim_add_text(r, sim_turn(r, "user"), json_string_value(text));
    }
    return json_array_size(list) ? 0
                                 : sim_refuse(r, "requests",
                                              "* BatchEmbedContentsRequest.requests: at least one "
                                              "request is required");
}

static int64_t dims_of(const sim_request *r, const sim_behaviour *b)
{
    const json_t *v = json_object_get(r->body, "dimensions");
    if (r->format == SIM_GEMINI)
        v = json_object_get(json_array_get(json_object_get(r->body, "requests"), 0),
                            "outputDimensionality");
    return json_is_integer(v) ? json_integer_value(v) : b->dims;
}

static void put_one(const sim_request *r, buf *out, const float *v, size_t n, size_t i, bool base64)
{
    if (i) buf_puts(out, ",");
    if (r->format == SIM_GEMINI) {
        buf_puts(out, "{\"values\":");
        put_vector(out, v, n);
        buf_puts(out, "}");
    } else if (r->format == SIM_OLLAMA) {
        put_vector(out, v, n);
    } else {
        buf_printf(out, "{\"object\":\"embedding\",\"index\":%zu,\"embedding\":", i);
        if (base64) {
            buf_puts(out, "\"");
            sim_base64_put(v, n * sizeof *v, out);
            buf_puts(out, "\"");
        } else {
            put_vector(out, v, n);
        }
        buf_puts(out, "}");
    }
}

static int embeddings(sim_request *r, const sim_behaviour *b, buf *out)
{
    static float v[DIMS_MAX];
    const char *form = json_string_value(json_object_get(r->body, "encoding_format"));
    int64_t dims = dims_of(r, b);
    if (dims < 1 || dims > DIMS_MAX)
        return sim_refuse(r, "dimensions",
                          "Invalid value for 'dimensions': must be between 1 and "
                          "%d.",
                          DIMS_MAX);
    if (form && strcmp(form, "float") != 0 && strcmp(form, "base64") != 0)
        return sim_refuse(r, "encoding_format",
                          "Invalid value: '%s'. Supported values are: 'float' "
                          "and 'base64'.",
                          form);
    if (r->format == SIM_OPENAI &&
        known_only(r, b, " model input encoding_format dimensions user "))
        return -1;
    json_t *list = json_array();
    int rc = r->format == SIM_GEMINI ? gemini_texts(r, list)
                                     : texts_of(r, json_object_get(r->body, "input"), list);
    if (rc == 0) rc = sim_read_limits(r, b);
    buf_puts(out,
             r->format == SIM_OPENAI ? "{\"object\":\"list\",\"data\":[" : "{\"embeddings\":[");
    for (size_t i = 0; rc == 0 && i < json_array_size(list); i++) {
        sim_vector(json_string_value(json_array_get(list, i)), v, (size_t)dims);
        put_one(r, out, v, (size_t)dims, i, form && strcmp(form, "base64") == 0);
    }
    json_decref(list);
    long long n = (long long)sim_prompt_tokens(r);
    buf_puts(out, "]");
    if (r->format != SIM_GEMINI) {
        buf_puts(out, ",\"model\":\"");
        buf_json_escape(out, sv_cstr(r->model));
        buf_puts(out, "\"");
    }
    if (r->format == SIM_OPENAI && !b->nousage)
        buf_printf(out, ",\"usage\":{\"prompt_tokens\":%lld,\"total_tokens\":%lld}", n, n);
    if (r->format == SIM_OLLAMA)
        buf_printf(out,
                   ",\"total_duration\":14143917,\"load_duration\":1019500,"
                   "\"prompt_eval_count\":%lld",
                   n);
    buf_puts(out, "}");
    return rc;
}

static int moderation(sim_request *r, const sim_behaviour *b, buf *out)
{
    const json_t *input = json_object_get(r->body, "input");
    if (known_only(r, b, " model input ")) return -1;
    if (!json_is_string(input) && !json_is_array(input)) return missing(r, "input");
    size_t n = json_is_array(input) ? json_array_size(input) : 1;
    buf_puts(out, "{\"id\":\"modr-sim\",\"model\":\"");
    buf_json_escape(out, sv_cstr(r->model));
    buf_puts(out, "\",\"results\":[");
    for (size_t i = 0; i < n; i++) {
        const char *text =
            json_string_value(json_is_array(input) ? json_array_get(input, i) : input);
        bool bad = text && strstr(text, "violent");
        buf_printf(out,
                   "%s{\"flagged\":%s,\"categories\":{\"violence\":%s,\"hate\":false},"
                   "\"category_scores\":{\"violence\":%s,\"hate\":0.0}}",
                   i ? "," : "", bad ? "true" : "false", bad ? "true" : "false",
                   bad ? "0.98" : "0.01");
    }
    buf_puts(out, "]}");
    return 0;
}

static int picture(sim_request *r, const sim_behaviour *b, buf *out)
{
    static const char png[] =
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5Er"
        "kJggg==";
    const json_t *n = json_object_get(r->body, "n");
    const char *form = json_string_value(json_object_get(r->body, "response_format"));
    if (known_only(r, b,
                   " model prompt n size quality style response_format user background "
                   "moderation output_compression output_format partial_images stream "))
        return -1;
    if (!json_is_string(json_object_get(r->body, "prompt"))) return missing(r, "prompt");
    sim_add_text(r, sim_turn(r, "user"), json_string_value(json_object_get(r->body, "prompt")));
    if (sim_read_limits(r, b)) return -1;
    json_int_t count = n ? json_integer_value(n) : 1;
    if (count < 1 || count > 10)
        return sim_refuse(r, "n", "Invalid 'n': integer out of range. Expected 1 to 10.");
    buf_puts(out, "{\"created\":1700000000,\"data\":[");
    for (json_int_t i = 0; i < count; i++) {
        if (i) buf_puts(out, ",");
        if (form && strcmp(form, "url") == 0)
            buf_puts(out, "{\"url\":\"https://example.com/sim.png\"}");
        else
            buf_printf(out, "{\"b64_json\":\"%s\"}", png);
    }
    buf_puts(out, "]}");
    return 0;
}

int sim_read_form(sim_request *r, const char *type, const char *body, size_t n)
{
    const char *mark = type ? strstr(type, "boundary=") : NULL;
    char bound[140];
    if (!mark || strncmp(type, "multipart/form-data", 19) != 0)
        return sim_refuse(r, "file", "Could not parse multipart form: no boundary.");
    mark += 9;
    if (*mark == '"') mark++;
    int len = snprintf(bound, sizeof bound, "--%.*s", (int)strcspn(mark, "\";\r\n "), mark);
    r->body = json_object();
    const char *end = body + n, *at = len < 4 ? NULL : memmem(body, n, bound, (size_t)len);
    while (at && at < end) {
        const char *from = at + len;
        const char *next = memmem(from, (size_t)(end - from), bound, (size_t)len);
        const char *data = memmem(from, (size_t)(end - from), "\r\n\r\n", 4);
        if (!next || !data || data > next) break;
        char head[512], *name;
        snprintf(head, sizeof head, "%.*s", (int)(data - from), from);
        name = strstr(head, " name=\"");
        data += 4;
        json_int_t size = next - data - 2;
        if (size < 0) return sim_refuse(r, "file", "Could not parse multipart form.");
        if (name && strncmp(name + 7, "file\"", 5) == 0)
            json_object_set_new(r->body, "file_bytes", json_integer(size));
        else if (name)
            json_object_setn_new(r->body, name + 7, strcspn(name + 7, "\""),
                                 json_stringn(data, (size_t)size));
        at = next;
    }
    if (!json_object_get(r->body, "file_bytes")) return missing(r, "file");
    if (!json_is_string(json_object_get(r->body, "model"))) return missing(r, "model");
    return 0;
}

static int transcription(sim_request *r, buf *out)
{
    buf_puts(out, "{\"text\":\"model ");
    buf_json_escape(out, sv_cstr(r->model));
    buf_printf(out, ", %lld bytes\",\"usage\":{\"type\":\"duration\",\"seconds\":1}}",
               (long long)json_integer_value(json_object_get(r->body, "file_bytes")));
    return 0;
}

int sim_fixed(sim_request *r, const sim_behaviour *b, buf *out)
{
    switch (r->ask) {
    case SIM_EMBED: return embeddings(r, b, out);
    case SIM_MODERATE: return moderation(r, b, out);
    case SIM_IMAGE: return picture(r, b, out);
    case SIM_AUDIO: return transcription(r, out);
    case SIM_COUNT:
        if (r->format == SIM_GEMINI ? sim_read_gemini(r, b) : sim_read_anthropic(r, b)) return -1;
        buf_printf(out, "{\"%s\":%lld}", r->format == SIM_GEMINI ? "totalTokens" : "input_tokens",
                   (long long)sim_prompt_tokens(r));
        return 0;
    case SIM_NOTHING:
    case SIM_CHAT:
    case SIM_MODELS: break;
    }
    return sim_refuse(r, NULL, "not an endpoint of this kind");
}
