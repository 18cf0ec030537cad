#include "sim_route.h"

#include "http_reader.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const char *sim_format_name(sim_format f)
{
    static const char *const names[] = {"openai",    "text",   "responses",
                                        "anthropic", "gemini", "ollama"};
    return names[f];
}

static bool header(const char *head, const char *name, char *to, size_t cap)
{
    size_t n;
    const char *v = http_header(head, name, &n);
    if (v) snprintf(to, cap, "%.*s", (int)n, v);
    return v != NULL;
}

static void find_key(sim_request *r, const char *head, const char *query)
{
    char line[256];
    if (header(head, "x-api-key", r->key, sizeof r->key) ||
        header(head, "api-key", r->key, sizeof r->key) ||
        header(head, "x-goog-api-key", r->key, sizeof r->key))
        return;
    if (header(head, "authorization", line, sizeof line)) {
        if (strncasecmp(line, "bearer ", 7) == 0) snprintf(r->key, sizeof r->key, "%s", line + 7);
        return;
    }
    const char *key = strstr(query, "key=");
    if (key) snprintf(r->key, sizeof r->key, "%.*s", (int)strcspn(key + 4, "&"), key + 4);
}

static void decode(const char *from, size_t n, char *to, size_t cap)
{
    size_t k = 0;
    for (size_t i = 0; i < n && k + 1 < cap; i++) {
        char hex[3] = {0};
        if (from[i] == '%' && i + 2 < n && isxdigit((unsigned char)from[i + 1]) &&
            isxdigit((unsigned char)from[i + 2])) {
            memcpy(hex, from + i + 1, 2);
            to[k++] = (char)strtol(hex, NULL, 16);
            i += 2;
        } else {
            to[k++] = from[i];
        }
    }
    to[k] = 0;
}

static void gemini(sim_request *r, const char *path, const char *query)
{
    const char *name = path + strlen("/v1beta/models/"), *colon = strrchr(name, ':');
    r->format = SIM_GEMINI;
    if (!colon) return;
    decode(name, (size_t)(colon - name), r->model, sizeof r->model);
    r->stream = strcmp(colon, ":streamGenerateContent") == 0;
    r->sse = strstr(query, "alt=sse") != NULL;
    if (r->stream || strcmp(colon, ":generateContent") == 0)
        r->ask = SIM_CHAT;
    else if (strcmp(colon, ":batchEmbedContents") == 0)
        r->ask = SIM_EMBED;
    else if (strcmp(colon, ":countTokens") == 0)
        r->ask = SIM_COUNT;
}

static void by_table(sim_request *r, bool post, const char *path)
{
    static const struct {
        bool post;
        const char *path;
        sim_format format;
        sim_ask ask;
    } table[] = {{true, "/v1/chat/completions", SIM_OPENAI, SIM_CHAT},
                 {true, "/v1/completions", SIM_TEXT, SIM_CHAT},
                 {true, "/v1/responses", SIM_RESPONSES, SIM_CHAT},
                 {true, "/v1/embeddings", SIM_OPENAI, SIM_EMBED},
                 {true, "/v1/moderations", SIM_OPENAI, SIM_MODERATE},
                 {true, "/v1/images/generations", SIM_OPENAI, SIM_IMAGE},
                 {true, "/v1/audio/transcriptions", SIM_OPENAI, SIM_AUDIO},
                 {false, "/v1/models", SIM_OPENAI, SIM_MODELS},
                 {true, "/v1/messages", SIM_ANTHROPIC, SIM_CHAT},
                 {true, "/v1/messages/count_tokens", SIM_ANTHROPIC, SIM_COUNT},
                 {false, "/v1beta/models", SIM_GEMINI, SIM_MODELS},
                 {true, "/api/chat", SIM_OLLAMA, SIM_CHAT},
                 {true, "/api/generate", SIM_OLLAMA, SIM_CHAT},
                 {true, "/api/embed", SIM_OLLAMA, SIM_EMBED},
                 {false, "/api/tags", SIM_OLLAMA, SIM_MODELS}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].post == post && strcmp(table[i].path, path) == 0) {
            r->format = table[i].format;
            r->ask = table[i].ask;
        }
    r->generate = strcmp(path, "/api/generate") == 0;
}

void sim_route(sim_request *r, const char *head)
{
    static const char azure[] = "/openai/deployments/";
    char line[1024], *path = line, *query;
    bool post = strncmp(head, "POST ", 5) == 0;
    const char *from = head + (post ? 5 : 4);
    sim_request_init(r, SIM_OPENAI, SIM_NOTHING);
    if (!post && strncmp(head, "GET ", 4) != 0) return;
    snprintf(line, sizeof line, "%.*s", (int)strcspn(from, " \r\n"), from);
    query = strchr(line, '?');
    if (query) *query++ = 0;
    find_key(r, head, query ? query : "");
    if (strncmp(path, azure, strlen(azure)) == 0 && post) {
        char *name = path + strlen(azure), *slash = strchr(name, '/');
        if (!slash) return;
        decode(name, (size_t)(slash - name), r->model, sizeof r->model);
        path = slash - 3;
        memcpy(path, "/v1", 3);
        r->azure = true;
    }
    if (strncmp(path, "/api/v1/", 8) == 0) path += 4;     /* OpenRouter */
    if (strncmp(path, "/openai/v1/", 11) == 0) path += 7; /* Groq, Azure */
    if (strncmp(path, "/v1beta/models/", 15) == 0 && post)
        gemini(r, path, query ? query : "");
    else
        by_table(r, post, path);
    size_t n;
    if (r->ask == SIM_MODELS && r->format == SIM_OPENAI &&
        http_header(head, "anthropic-version", &n))
        r->format = SIM_ANTHROPIC;
    if (r->azure && !(query && strstr(query, "api-version="))) r->ask = SIM_NOTHING;
}

static int refuse_status(sim_request *r, int status, const char *code, const char *words)
{
    sim_refuse(r, NULL, "%s", words);
    r->fail.status = status;
    snprintf(r->fail.code, sizeof r->fail.code, "%s", code);
    return -1;
}

int sim_route_check(sim_request *r, const char *head)
{
    char v[256];
    if (r->format == SIM_ANTHROPIC) {
        if (!r->key[0]) return refuse_status(r, 401, "", "x-api-key header is required");
        if (!header(head, "anthropic-version", v, sizeof v))
            return sim_refuse(r, NULL, "anthropic-version: header is required");
        r->newer = strcmp(v, "2026-10-21") == 0;
        if (!r->newer && strcmp(v, "2023-06-01") != 0)
            return sim_refuse(r, NULL, "anthropic-version: \"%s\" is not a valid version", v);
    }
    if (r->format == SIM_GEMINI && !r->key[0])
        return refuse_status(r, 403, "",
                             "Method doesn't allow unregistered callers (callers without "
                             "established identity). Please use API Key or other form of API "
                             "consumer identity to call this API.");
    if (r->azure && !r->key[0])
        return refuse_status(r, 401, "401",
                             "Access denied due to invalid subscription key or wrong "
                             "API endpoint.");
    if (strncmp(head, "POST ", 5) == 0 && r->format != SIM_OLLAMA && r->ask != SIM_AUDIO &&
        (!header(head, "content-type", v, sizeof v) ||
         strncasecmp(v, "application/json", 16) != 0) &&
        r->format != SIM_OPENAI)
        return refuse_status(r, r->format == SIM_ANTHROPIC ? 415 : 400, "",
                             "Content-Type header must be application/json");
    return 0;
}

int sim_refuse_key(sim_request *r, int status)
{
    switch (status) {
    case 401:
        if (r->format == SIM_ANTHROPIC) return refuse_status(r, 401, "", "invalid x-api-key");
        if (r->format == SIM_GEMINI)
            return refuse_status(r, 400, "", "API key not valid. Please pass a valid API key.");
        if (r->format == SIM_OLLAMA) return refuse_status(r, 401, "", "unauthorized");
        return refuse_status(r, 401, "invalid_api_key", "Incorrect API key provided.");
    case 402:
        if (r->format == SIM_ANTHROPIC)
            return refuse_status(r, 402, "",
                                 "Your credit balance is too low to access the Anthropic "
                                 "API. Please go to Plans & Billing to upgrade or "
                                 "purchase credits.");
        return refuse_status(r, 402, "insufficient_quota", "Insufficient credits.");
    case 403:
        return refuse_status(
            r, 403, "permission_denied",
            "Your API key does not have permission to use the specified resource.");
    case 429:
        return refuse_status(r, 429, "rate_limit_exceeded",
                             r->format == SIM_GEMINI
                                 ? "Resource has been exhausted (e.g. check quota)."
                                 : "Rate limit reached for this key.");
    default: return refuse_status(r, status, "", "This key was told to fail.");
    }
}
