/*  failure.c - what an error answer means. Codes are believed first, then the words that the status
 *  allows, then the status alone: providers send the same trouble under several statuses (an empty
 *  purse as 400, 402, 403 or 429; a full context as 400, 413 or 500). */
#include "error.h"
#include "parse.h"
#include "utf8.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BODY_BYTES = 1 << 18, /* a longer error answer is not read as JSON */
    WORDS = 2048,         /* of the message are looked at */
    RETRY_MAX_MS = 86400000
};

typedef struct row {
    const char *words;
    llm_failure_kind kind;
} row;

/* Codes and types that mean one thing under every status, in small letters. */
static const row codes[] = {
    {"context_length_exceeded", LLM_FAIL_CONTEXT},
    {"exceed_context_size_error", LLM_FAIL_CONTEXT},
    {"context_window_exceeded", LLM_FAIL_CONTEXT},
    {"model_context_window_exceeded", LLM_FAIL_CONTEXT},
    {"content_policy_violation", LLM_FAIL_POLICY},
    {"content_filter", LLM_FAIL_POLICY},
    {"moderation_blocked", LLM_FAIL_POLICY},
    {"responsibleaipolicyviolation", LLM_FAIL_POLICY},
    {"invalid_prompt", LLM_FAIL_POLICY},
    {"insufficient_quota", LLM_FAIL_BILLING},
    {"billing_hard_limit_reached", LLM_FAIL_BILLING},
    {"billing_not_active", LLM_FAIL_BILLING},
    {"billing_error", LLM_FAIL_BILLING},
    {"insufficient_balance", LLM_FAIL_BILLING},
    {"insufficient_credits", LLM_FAIL_BILLING},
    {"invalid_api_key", LLM_FAIL_KEY},
    {"api_key_invalid", LLM_FAIL_KEY},
    {"account_deactivated", LLM_FAIL_KEY},
    {"model_not_found", LLM_FAIL_MODEL},
    {"deploymentnotfound", LLM_FAIL_MODEL},
    {"model_decommissioned", LLM_FAIL_MODEL},
    {"invalid_model", LLM_FAIL_MODEL},
    {"rate_limit_exceeded", LLM_FAIL_RATE},
    {"overloaded_error", LLM_FAIL_OVERLOAD},
    {"engine_overloaded", LLM_FAIL_OVERLOAD},
    {"slow_down", LLM_FAIL_OVERLOAD},
};

/* Those that only repeat the status: for errors within a stream, which have none. */
static const row statuses[] = {
    {"authentication_error", LLM_FAIL_KEY},
    {"permission_error", LLM_FAIL_KEY},
    {"permission_denied", LLM_FAIL_KEY},
    {"unauthenticated", LLM_FAIL_KEY},
    {"rate_limit_error", LLM_FAIL_RATE},
    {"resource_exhausted", LLM_FAIL_RATE},
    {"too_many_requests", LLM_FAIL_RATE},
    {"unavailable", LLM_FAIL_OVERLOAD},
    {"service_unavailable", LLM_FAIL_OVERLOAD},
    {"api_error", LLM_FAIL_SERVER},
    {"server_error", LLM_FAIL_SERVER},
    {"internal_server_error", LLM_FAIL_SERVER},
    {"internal", LLM_FAIL_SERVER},
    {"timeout_error", LLM_FAIL_SERVER},
    {"deadline_exceeded", LLM_FAIL_SERVER},
    {"not_found_error", LLM_FAIL_REQUEST},
    {"invalid_request_error", LLM_FAIL_REQUEST},
    {"request_too_large", LLM_FAIL_REQUEST},
    {"invalid_argument", LLM_FAIL_REQUEST},
    {"failed_precondition", LLM_FAIL_REQUEST},
};

static const row words[] = {
    {"context length", LLM_FAIL_CONTEXT},
    {"context_length", LLM_FAIL_CONTEXT},
    {"context window", LLM_FAIL_CONTEXT},
    {"context limit", LLM_FAIL_CONTEXT},
    {"context size", LLM_FAIL_CONTEXT},
    {"prompt is too long", LLM_FAIL_CONTEXT},
    {"input is too long", LLM_FAIL_CONTEXT},
    {"input length exceeds", LLM_FAIL_CONTEXT},
    {"input token count", LLM_FAIL_CONTEXT},
    {"maximum prompt length", LLM_FAIL_CONTEXT},
    {"reduce the length of the messages", LLM_FAIL_CONTEXT},
    {"prefill", LLM_FAIL_PREFILL},
    {"must end with a user message", LLM_FAIL_PREFILL},
    {"expected last role user", LLM_FAIL_PREFILL},
    {"last message must be from the user", LLM_FAIL_PREFILL},
    {"last message must have role", LLM_FAIL_PREFILL},
    {"content management policy", LLM_FAIL_POLICY},
    {"content policy", LLM_FAIL_POLICY},
    {"usage polic", LLM_FAIL_POLICY},
    {"content filter", LLM_FAIL_POLICY},
    {"safety system", LLM_FAIL_POLICY},
    {"safety checks", LLM_FAIL_POLICY},
    {"flagged", LLM_FAIL_POLICY},
    {"prohibited content", LLM_FAIL_POLICY},
    {"requires moderation", LLM_FAIL_POLICY},
    {"credit balance", LLM_FAIL_BILLING},
    {"insufficient credits", LLM_FAIL_BILLING},
    {"insufficient balance", LLM_FAIL_BILLING},
    {"insufficient quota", LLM_FAIL_BILLING},
    {"more credits", LLM_FAIL_BILLING},
    {"exceeded your current quota", LLM_FAIL_BILLING},
    {"billing", LLM_FAIL_BILLING},
    {"api key not valid", LLM_FAIL_KEY},
    {"api key not found", LLM_FAIL_KEY},
    {"api key expired", LLM_FAIL_KEY},
    {"incorrect api key", LLM_FAIL_KEY},
    {"invalid api key", LLM_FAIL_KEY},
    {"invalid x-api-key", LLM_FAIL_KEY},
    {"not a valid model", LLM_FAIL_MODEL},
    {"no endpoints found", LLM_FAIL_MODEL},
    {"is not found for api version", LLM_FAIL_MODEL},
    {"decommissioned", LLM_FAIL_MODEL},
    {"try pulling it first", LLM_FAIL_MODEL},
    {"invalid model", LLM_FAIL_MODEL},
    {"unknown model", LLM_FAIL_MODEL},
    {"model not found", LLM_FAIL_MODEL},
    {"model not exist", LLM_FAIL_MODEL},
    {"overloaded", LLM_FAIL_OVERLOAD},
    {"at capacity", LLM_FAIL_OVERLOAD},
    {"over capacity", LLM_FAIL_OVERLOAD},
    {"server is busy", LLM_FAIL_OVERLOAD},
    {"server busy", LLM_FAIL_OVERLOAD},
    {"rate limit", LLM_FAIL_RATE},
    {"too many requests", LLM_FAIL_RATE},
};

/* What clients of OpenAI's format expect for each kind. */
static const struct {
    const char *type, *code, *text;
} names[] = {
    [LLM_FAIL_REQUEST] = {"invalid_request_error", "invalid_request",
                          "The provider did not accept the request."},
    [LLM_FAIL_CONTEXT] = {"invalid_request_error", "context_length_exceeded",
                          "The request is longer than the model's context."},
    [LLM_FAIL_POLICY] = {"invalid_request_error", "content_policy_violation",
                         "The provider refused the content of the request."},
    [LLM_FAIL_PREFILL] = {"invalid_request_error", "prefill_not_supported",
                          "The model does not continue a message that was begun for it."},
    [LLM_FAIL_KEY] = {"authentication_error", "invalid_api_key",
                      "The provider did not accept the key."},
    [LLM_FAIL_BILLING] = {"insufficient_quota", "insufficient_quota",
                          "The provider's account has no credit left."},
    [LLM_FAIL_MODEL] = {"invalid_request_error", "model_not_found",
                        "The provider does not have this model."},
    [LLM_FAIL_RATE] = {"rate_limit_error", "rate_limit_exceeded",
                       "The provider's rate limit is reached."},
    [LLM_FAIL_OVERLOAD] = {"server_error", "overloaded", "The provider is overloaded."},
    [LLM_FAIL_SERVER] = {"server_error", "server_error", "The provider failed."},
    [LLM_FAIL_OTHER] = {"api_error", "api_error", "The provider answered with an error."},
};

/* What was found in the body; texts in UTF-8 with a NUL at the end. */
typedef struct found {
    char message[WORDS], code[64], type[64], inner[64];
    int status;
    uint32_t retry_after_ms;
} found;

/* ---- reading ---- */

/* Copies text as printable UTF-8, cut at a character's end. */
static void copy_clean(char *to, size_t size, sv_str s)
{
    size_t n = 0;
    for (uint32_t i = 0; i < s.n;) {
        const uint8_t *p = (const uint8_t *)s.p + i;
        size_t len = *p < 0x80 ? 1 : utf8_sequence(p, s.n - i);
        if (n + (len ? len : 1) >= size) break;
        if (len <= 1) {
            to[n++] = (char)(len == 0 ? '?' : *p < 0x20 || *p == 0x7f ? ' ' : *p);
            i++;
            continue;
        }
        memcpy(to + n, p, len);
        n += len;
        i += (uint32_t)len;
    }
    to[n] = 0;
}

static void copy_text(char *to, size_t size, json_value v)
{
    buf out;
    if (v.type != JSON_STRING) return;
    buf_init(&out, BODY_BYTES);
    if (json_text(v, &out) == 0 && out.n) copy_clean(to, size, buf_str(&out));
    buf_free(&out);
}

/* "38s", "1m26.4s", "200ms"; 0 when it is no duration. */
static uint32_t duration_ms(const char *s)
{
    double sum = 0;
    for (char *end; isdigit((unsigned char)*s); s = end) {
        double n = strtod(s, &end), unit = 0;
        if (strncmp(end, "ms", 2) == 0)
            unit = 1, end += 2;
        else if (*end == 's')
            unit = 1000, end++;
        else if (*end == 'm')
            unit = 60000, end++;
        else if (*end == 'h')
            unit = 3600000, end++;
        if (unit <= 0) return 0;
        sum += n * unit;
        if (!(sum < RETRY_MAX_MS)) return RETRY_MAX_MS;
    }
    return (uint32_t)sum;
}

/* Gemini's list of details: RetryInfo, and the reason in ErrorInfo. */
static void read_details(json_value details, found *f)
{
    json_value v;
    char text[32];
    for (size_t at = 0; json_next_element(details, &at, &v);) {
        text[0] = 0;
        copy_text(text, sizeof text, json_get(v, "retryDelay"));
        if (text[0]) f->retry_after_ms = duration_ms(text);
        copy_text(f->inner, sizeof f->inner, json_get(v, "reason"));
    }
}

/* {"detail": "..."} or {"detail": [{"loc": [...], "msg": "..."}]}. */
static void read_detail(json_value detail, found *f)
{
    size_t at = 0;
    json_value v;
    copy_text(f->message, sizeof f->message, detail);
    if (json_next_element(detail, &at, &v))
        copy_text(f->message, sizeof f->message, json_get(v, "msg"));
}

enum { E_MESSAGE, E_CODE, E_TYPE, E_STATUS, E_DETAIL, E_DETAILS, E_INNER, E_METADATA, E_N };
static const char *const members[E_N] = {"message", "code",    "type",       "status",
                                         "detail",  "details", "innererror", "metadata"};

static void read_body(sv_str body, found *f, int nested);

static void read_error(json_value error, found *f, int nested)
{
    json_value v[E_N];
    int64_t n = 0;
    llm_members(error, members, E_N, v);
    copy_text(f->message, sizeof f->message, v[E_MESSAGE]);
    if (!f->message[0]) read_detail(v[E_DETAIL], f);
    if (!f->message[0] && v[E_MESSAGE].type == JSON_OBJECT)
        read_detail(json_get(v[E_MESSAGE], "detail"), f);
    copy_text(f->code, sizeof f->code, v[E_CODE]);
    copy_text(f->type, sizeof f->type, v[E_TYPE]);
    if (!f->code[0]) copy_text(f->code, sizeof f->code, v[E_STATUS]);
    if (json_int(v[E_CODE], &n) == 0 && n >= 400 && n <= 599) f->status = (int)n;
    read_details(v[E_DETAILS], f);
    copy_text(f->inner, sizeof f->inner, json_get(v[E_INNER], "code"));
    json_value raw = json_get(v[E_METADATA], "raw");
    if (raw.type != JSON_STRING || nested) return;
    buf out;
    found own = *f;
    buf_init(&out, BODY_BYTES);
    if (json_text(raw, &out) == 0 && out.n) read_body(buf_str(&out), &own, nested + 1);
    buf_free(&out);
    if (own.message[0]) { /* the words of the provider behind this one, under the outer status */
        own.status = f->status;
        *f = own;
    }
}

static sv_str trim(sv_str s)
{
    while (s.n && isspace((unsigned char)s.p[0]))
        s = (sv_str){s.p + 1, s.n - 1};
    if (s.n > 5 && memcmp(s.p, "data:", 5) == 0) return trim((sv_str){s.p + 5, s.n - 5});
    while (s.n && isspace((unsigned char)s.p[s.n - 1]))
        s.n--;
    return s;
}

static void read_body(sv_str body, found *f, int nested)
{
    body = trim(body);
    if (body.n == 0) return;
    if (body.n > BODY_BYTES || (body.p[0] != '{' && body.p[0] != '[') ||
        json_skim(body, LLM_DEPTH, NULL)) {
        if (body.p[0] != '<' && body.p[0] != '{' && body.p[0] != '[')
            copy_clean(f->message, sizeof f->message, body);
        return;
    }
    json_value root = json_root(body), first;
    size_t at = 0;
    if (json_next_element(root, &at, &first)) root = first;
    json_value error = json_get(root, "error");
    if (error.type == JSON_STRING) {
        copy_text(f->message, sizeof f->message, error);
        copy_text(f->code, sizeof f->code, json_get(root, "code"));
    } else {
        read_error(error.type == JSON_OBJECT ? error : root, f, nested);
    }
}

/* ---- meaning ---- */

static void lower(char *to, size_t size, const char *from)
{
    size_t i = 0;
    for (; from[i] && i + 1 < size; i++)
        to[i] = (char)tolower((unsigned char)from[i]);
    to[i] = 0;
}

static bool by_code(const row *rows, size_t n, const char *code, llm_failure_kind *ret)
{
    char small[64];
    lower(small, sizeof small, code);
    for (size_t i = 0; i < n && small[0]; i++)
        if (strcmp(rows[i].words, small) == 0) {
            *ret = rows[i].kind;
            return true;
        }
    return false;
}

#define BIT(kind) (1u << (kind))

/* Which kinds the words may tell under a status. */
static uint32_t allowed(llm_format provider, int status)
{
    enum { MANY = BIT(LLM_FAIL_CONTEXT) | BIT(LLM_FAIL_PREFILL) | BIT(LLM_FAIL_POLICY) };
    switch (status) {
    case 401:
    case 402: return 0;
    case 403: return BIT(LLM_FAIL_POLICY) | BIT(LLM_FAIL_BILLING) | BIT(LLM_FAIL_MODEL);
    case 404: return BIT(LLM_FAIL_MODEL) | BIT(LLM_FAIL_POLICY);
    /* Gemini speaks of quota and billing at each rate limit. */
    case 429: return provider == LLM_GEMINI ? 0 : BIT(LLM_FAIL_BILLING);
    case 503:
    case 529: return 0;
    default: break;
    }
    if (status >= 500) return BIT(LLM_FAIL_CONTEXT) | BIT(LLM_FAIL_OVERLOAD);
    if (status >= 400)
        return MANY | BIT(LLM_FAIL_BILLING) | BIT(LLM_FAIL_KEY) | BIT(LLM_FAIL_MODEL);
    return UINT32_MAX;
}

static bool by_words(const char *message, uint32_t kinds, llm_failure_kind *ret)
{
    char small[WORDS];
    lower(small, sizeof small, message);
    for (size_t i = 0; i < sizeof words / sizeof *words && kinds; i++)
        if ((kinds & BIT(words[i].kind)) && strstr(small, words[i].words)) {
            *ret = words[i].kind;
            return true;
        }
    const char *model = strstr(small, "model");
    if ((kinds & BIT(LLM_FAIL_MODEL)) && model &&
        (strstr(model, "does not exist") || strstr(model, "not found") ||
         strncmp(small, "model: ", 7) == 0)) {
        *ret = LLM_FAIL_MODEL;
        return true;
    }
    return false;
}

static llm_failure_kind by_status(int status)
{
    switch (status) {
    case 401:
    case 403: return LLM_FAIL_KEY;
    case 402: return LLM_FAIL_BILLING;
    case 408:
    case 409:
    case 425: return LLM_FAIL_SERVER;
    case 429: return LLM_FAIL_RATE;
    case 503:
    case 529: return LLM_FAIL_OVERLOAD;
    default: break;
    }
    if (status >= 500) return LLM_FAIL_SERVER;
    return status >= 400 ? LLM_FAIL_REQUEST : LLM_FAIL_OTHER;
}

static llm_failure_kind meaning(llm_format provider, int status, const found *f)
{
    llm_failure_kind kind;
    enum {
        N_CODES = sizeof codes / sizeof *codes,
        N_STATUSES = sizeof statuses / sizeof *statuses
    };
    if (by_code(codes, N_CODES, f->inner, &kind) || by_code(codes, N_CODES, f->code, &kind) ||
        by_code(codes, N_CODES, f->type, &kind))
        return kind;
    if (by_words(f->message, allowed(provider, status), &kind)) return kind;
    if (status < 400 && (by_code(statuses, N_STATUSES, f->code, &kind) ||
                         by_code(statuses, N_STATUSES, f->type, &kind)))
        return kind;
    return by_status(status);
}

/* ---- the answer ---- */

/* Providers repeat pieces of the key that was sent: those do not go to clients. */
static void hide_keys(char *text)
{
    static const char *const prefixes[] = {"sk-", "gsk_", "AIza", "xai-", "pplx-"};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        size_t n = strlen(prefixes[i]);
        for (char *at = text; (at = strstr(at, prefixes[i]));) {
            bool begins = at == text || !isalnum((unsigned char)at[-1]);
            for (at += n;
                 begins && (isalnum((unsigned char)*at) || (*at && strchr("-_*./+=", *at)));)
                *at++ = '*';
        }
    }
}

static bool is_plain(const char *code)
{
    for (const char *c = code; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("_-.", *c)) return false;
    return code[0] != 0;
}

void llm_failure_read(llm_format provider, int status, sv_str body, llm_failure *ret)
{
    found f = {0};
    read_body(body, &f, 0);
    if (status < 400) status = f.status;
    llm_failure_kind kind = meaning(provider, status, &f);
    *ret = (llm_failure){.kind = kind, .status = status, .retry_after_ms = f.retry_after_ms};
    const char *wait = strstr(f.message, "try again in ");
    if (wait && ret->retry_after_ms == 0) ret->retry_after_ms = duration_ms(wait + 13);
    bool own = kind == LLM_FAIL_REQUEST || kind == LLM_FAIL_SERVER || kind == LLM_FAIL_OTHER;
    const char *code = own && is_plain(f.code) ? f.code : names[kind].code;
    snprintf(ret->code, sizeof ret->code, "%s", code);
    snprintf(ret->type, sizeof ret->type, "%s", names[kind].type);
    hide_keys(f.message);
    copy_clean(ret->message, sizeof ret->message, sv_cstr(f.message));
    if (ret->message[strspn(ret->message, " ")] == 0)
        copy_clean(ret->message, sizeof ret->message, sv_cstr(names[kind].text));
}
