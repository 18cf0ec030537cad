/*  answer.c - one walk over the members of a chunk; only their raw bytes are looked at. */
#include "answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

enum { RETRY_MAX_MS = 3600000 };

static llm_finish finish_of(json_value v)
{
    if (json_string_is(v, "stop")) return LLM_STOP;
    if (json_string_is(v, "length")) return LLM_LENGTH;
    if (json_string_is(v, "tool_calls") || json_string_is(v, "function_call"))
        return LLM_TOOL_CALLS;
    return json_string_is(v, "content_filter") ? LLM_FILTER : LLM_OTHER;
}

static void look_at_text(json_value v, chunk *ret)
{
    if (v.type != JSON_STRING || v.raw.n <= 2) return;
    ret->content = true;
    ret->text_bytes += v.raw.n - 2;
}

/* Of a delta or a message: whatever is not empty and no role is content. */
static void look_at_message(json_value message, chunk *ret)
{
    sv_str key;
    json_value v;
    for (size_t at = 0; json_next_member(message, &at, &key, &v);) {
        if (sv_str_is(key, "role")) continue;
        if (v.type == JSON_STRING) {
            look_at_text(v, ret);
        } else if ((v.type == JSON_ARRAY || v.type == JSON_OBJECT) && v.raw.n > 2) {
            bool calls = sv_str_is(key, "tool_calls") || sv_str_is(key, "function_call");
            if (sv_str_is(key, "annotations")) continue;
            ret->content = true;
            ret->tools = ret->tools || calls;
            if (calls) ret->text_bytes += v.raw.n / 2;
        }
    }
}

static void look_at_choices(json_value choices, chunk *ret)
{
    size_t at = 0, n = 0;
    json_value choice, v;
    sv_str key;
    if (choices.type != JSON_ARRAY) return;
    bool content = ret->content;
    while (json_next_element(choices, &at, &choice)) {
        int64_t index = 0;
        bool ended = false;
        n++;
        ret->content = false;
        for (size_t in = 0; json_next_member(choice, &in, &key, &v);) {
            if (sv_str_is(key, "delta") || sv_str_is(key, "message")) {
                look_at_message(v, ret);
            } else if (sv_str_is(key, "text")) {
                look_at_text(v, ret);
            } else if (sv_str_is(key, "finish_reason") && v.type == JSON_STRING && v.raw.n > 2) {
                if (!ret->finished) ret->why = finish_of(v);
                if (ret->failed.n == 0 && json_string_is(v, "error")) ret->failed = choice.raw;
                ret->finished = ended = true;
            } else if (sv_str_is(key, "index") && v.type == JSON_NUMBER) {
                json_int(v, &index);
            }
        }
        uint64_t bit = (uint64_t)1 << ((uint64_t)index & 63);
        if (ret->content) ret->begun |= bit;
        if (ended) ret->ended |= bit;
        content = content || ret->content;
    }
    ret->content = content;
    ret->no_choices = n == 0;
}

chunk answer_whole(sv_str json)
{
    chunk c = {0};
    json_value root = json_root(json), v;
    sv_str key;
    c.object = root.type == JSON_OBJECT;
    if (!c.object) return c;
    for (size_t at = 0; json_next_member(root, &at, &key, &v);) {
        if (sv_str_is(key, "choices"))
            look_at_choices(v, &c);
        else if (sv_str_is(key, "usage") && v.type == JSON_OBJECT)
            c.usage = v;
        else if (sv_str_is(key, "id") && v.type == JSON_STRING)
            c.id = v;
        else if (sv_str_is(key, "model") && v.type == JSON_STRING)
            c.model = v;
        else if (sv_str_is(key, "error") && v.type != JSON_NULL && v.type != JSON_FALSE)
            c.error = v;
        else if (sv_str_is(key, "x_groq") && c.usage.type == JSON_NONE &&
                 json_get(v, "usage").type == JSON_OBJECT)
            c.usage = json_get(v, "usage");
    }
    return c;
}

/* An event's data was not validated: what is cut off is no object. */
chunk answer_chunk(sv_str json)
{
    uint32_t n = json.n;
    while (n > 0 && (json.p[n - 1] == ' ' || json.p[n - 1] == '\t'))
        n--;
    return n > 0 && json.p[n - 1] == '}' ? answer_whole(json) : (chunk){0};
}

void answer_put_usage(buf *out, const char *id, sv_str model, int64_t created, const tokens *t)
{
    buf_printf(out, "data: {\"id\":\"%s\",\"object\":\"chat.completion.chunk\",\"created\":%lld,",
               id, (long long)created);
    buf_puts(out, "\"model\":\"");
    buf_json_escape(out, model);
    buf_printf(out,
               "\",\"choices\":[],\"usage\":{\"prompt_tokens\":%lld,\"completion_tokens\":%lld,"
               "\"total_tokens\":%lld}}\n\n",
               (long long)t->prompt, (long long)t->completion,
               (long long)t->prompt + (long long)t->completion);
}

int answer_put_error(buf *out, const char *message, const char *type, const char *code)
{
    buf_puts(out, "{\"error\":{\"message\":\"");
    buf_json_escape(out, sv_cstr(message));
    return buf_printf(out, "\",\"type\":\"%s\",\"param\":null,\"code\":\"%s\"}}", type, code);
}

int answer_error_status(json_value error)
{
    int64_t n = 0;
    json_value code = json_get(error, "code");
    if (code.type != JSON_NUMBER || json_int(code, &n)) return 0;
    return n >= 400 && n <= 599 ? (int)n : 0;
}

uint32_t answer_retry_after_ms(sv_str header, uint64_t unix_us)
{
    char text[64];
    if (header.n == 0 || header.n >= sizeof text) return 0;
    snprintf(text, sizeof text, "%.*s", SV_FMT(header));
    size_t digits = strspn(text, "0123456789");
    if (digits > 0 && text[digits] == 0) {
        if (digits > 6) return RETRY_MAX_MS;
        long s = strtol(text, NULL, 10);
        return s * 1000 > RETRY_MAX_MS ? RETRY_MAX_MS : (uint32_t)s * 1000;
    }
    struct tm tm = {0};
    const char *end = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    if (end == NULL || *end) return 0;
    int64_t left_ms = ((int64_t)timegm(&tm) - (int64_t)(unix_us / 1000000)) * 1000;
    return left_ms <= 0 ? 0 : left_ms > RETRY_MAX_MS ? RETRY_MAX_MS : (uint32_t)left_ms;
}

uint32_t answer_pause_ms(sv_str ms, sv_str header, uint64_t unix_us)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < ms.n; i++) {
        if (ms.p[i] < '0' || ms.p[i] > '9' || n > RETRY_MAX_MS)
            return answer_retry_after_ms(header, unix_us);
        n = n * 10 + (uint32_t)(ms.p[i] - '0');
    }
    if (n > 0) return n < RETRY_MAX_MS ? n : RETRY_MAX_MS;
    return answer_retry_after_ms(header, unix_us);
}

bool answer_type_is(sv_str content_type, const char *type)
{
    size_t n = strlen(type);
    if (content_type.n < n || strncasecmp(content_type.p, type, n) != 0) return false;
    return content_type.n == n || content_type.p[n] == ';' || content_type.p[n] == ' ';
}
