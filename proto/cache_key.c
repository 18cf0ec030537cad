/*  cache_key.c - every part goes into the hash with its length in front, so that no two lists of parts
 *  have the same bytes. */
#include "cache_key.h"

#include "canonical.h"
#include "error.h"
#include "seal.h"
#include "uuid.h"

#include <stdio.h>

/* The first entries go for every endpoint; the others where the answer does not show them. */
static const char *const without[] = {"model",
                                      "stream",
                                      "stream_options",
                                      "user",
                                      "metadata",
                                      "safety_identifier",
                                      "prompt_cache_key",
                                      "prompt_cache_retention",
                                      NULL};
static const char *const without_asked[] = {"model", "stream", "stream_options", NULL};

static void add(file_hash *h, sv_str part)
{
    uint8_t n[4] = {(uint8_t)part.n, (uint8_t)(part.n >> 8), (uint8_t)(part.n >> 16),
                    (uint8_t)(part.n >> 24)};
    file_hash_add(h, n, sizeof n);
    if (part.n) file_hash_add(h, part.p, part.n);
}

static void add_number(file_hash *h, int64_t n)
{
    char text[24];
    int len = snprintf(text, sizeof text, "%lld", (long long)n);
    add(h, (sv_str){text, (uint32_t)len});
}

static void add_all(file_hash *h, sv_strs list)
{
    add_number(h, list.n);
    for (uint32_t i = 0; i < list.n; i++)
        add(h, list.items[i]);
}

static void add_scope(file_hash *h, const cache_scope *s)
{
    sv_str none = {"", 0};
    bool alone = s->own || s->org.n == 0;
    add(h, s->org);
    add(h, alone ? s->user : none);
    add_number(h, alone);
}

static void add_request(file_hash *h, const router_complete_req *q)
{
    sv_str chat = sv_cstr("chat");
    add(h, q->endpoint.n ? q->endpoint : chat);
    add(h, q->model);
    add_all(h, q->models);
    add(h, q->mode);
    add(h, q->task);
    add(h, q->complexity);
    add_number(h, q->budget);
    add_all(h, q->allowed);
    add(h, q->version);
    add(h, q->beta);
    add_number(h, q->stream);
    add_number(h, q->stream && q->include_usage);
}

static int name(const char *kind, const cache_scope *scope, const router_complete_req *q,
                sv_str body, sv_str generation, char ret[CACHE_KEY + 1])
{
    bool repeats = sv_str_is(q->endpoint, "responses"); /* its answers show the request's fields */
    buf text;
    file_hash h;
    if (body.n > CACHE_BODY_BYTES) return SV_E_TOO_LARGE;
    uint32_t at = 0;
    while (at < body.n && strchr(" \t\r\n", body.p[at]) && body.p[at])
        at++;
    if (at == body.n || body.p[at] != '{' || q->content_type.n) return SV_E_INVALID;
    buf_init(&text, 6u * body.n + 16u);
    int rc = canonical_json(body, repeats ? without_asked : without, &text);
    if (rc == 0) {
        file_hash_start(&h);
        add(&h, sv_cstr(kind));
        add_scope(&h, scope);
        add(&h, generation);
        add_request(&h, q);
        add(&h, buf_str(&text));
        file_hash_end(&h, ret);
    }
    buf_free(&text);
    return rc == SV_E_MALFORMED || rc == SV_E_TOO_DEEP ? SV_E_INVALID : rc;
}

int cache_key(const cache_scope *scope, const router_complete_req *q, sv_str body,
              sv_str generation, char ret[CACHE_KEY + 1])
{
    return name("samovar-answer-1", scope, q, body, generation, ret);
}

int cache_bucket(const cache_scope *scope, const router_complete_req *q, sv_str body,
                 json_value text, sv_str generation, char ret[CACHE_KEY + 1])
{
    json_edit e = {(size_t)(text.raw.p - body.p), text.raw.n, sv_cstr("null")};
    buf rest;
    buf_init(&rest, body.n + 8u);
    int rc = json_apply(body, &e, 1, &rest);
    if (rc == 0) rc = name("samovar-bucket-1", scope, q, buf_str(&rest), generation, ret);
    buf_free(&rest);
    return rc;
}

sv_id cache_key_id(const char *key)
{
    sv_id id = {{0}};
    hex_parse((sv_str){key, 2 * sizeof id.b}, id.b, sizeof id.b);
    return id;
}

bool cache_is_away(int code)
{
    return code == SV_E_UNAVAILABLE || code == SV_E_NO_SERVICE || code == SV_E_PEER_LOST ||
           code == SV_E_QUEUE_FULL || code == SV_E_NO_METHOD;
}
