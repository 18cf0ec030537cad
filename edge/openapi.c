/*  openapi.c - one pass over the routes writes the paths and notes which messages they answer with;
 *  what those refer to is noted while their schemas are written, until nothing new comes.
 *  A comma goes before every member but the first, which the last byte of the buffer tells. */
#include "openapi.h"

#include "api.h"
#include "error.h"

#include <inttypes.h>

enum { SCHEMAS_MOST = 256 };

typedef struct writer {
    buf *out;
    const sv_message *schemas[SCHEMAS_MOST]; /* answers, each once */
    size_t n;
} writer;

/* ---- JSON ---- */

static void next(buf *out)
{
    char last = out->n ? out->p[out->n - 1] : '{';
    if (last != '{' && last != '[' && last != ':') buf_putc(out, ',');
}

static void name(buf *out, const char *key)
{
    next(out);
    buf_printf(out, "\"%s\":", key);
}

static void open_object(buf *out, const char *key)
{
    name(out, key);
    buf_putc(out, '{');
}

static void open_list(buf *out, const char *key)
{
    name(out, key);
    buf_putc(out, '[');
}

static void value_text(buf *out, const char *text)
{
    next(out);
    buf_putc(out, '"');
    buf_json_escape(out, sv_cstr(text));
    buf_putc(out, '"');
}

static void put_text(buf *out, const char *key, const char *text)
{
    name(out, key);
    value_text(out, text);
}

static void put_raw(buf *out, const char *key, const char *json)
{
    name(out, key);
    buf_puts(out, json);
}

static void put_whole(buf *out, const char *key, double v)
{
    name(out, key);
    buf_printf(out, "%" PRId64, (int64_t)v);
}

/* ---- schemas ---- */

static void refer(writer *w, const sv_message *m)
{
    size_t i = 0;
    while (i < w->n && w->schemas[i] != m)
        i++;
    if (i == w->n && w->n < SCHEMAS_MOST) w->schemas[w->n++] = m;
    next(w->out);
    buf_printf(w->out, "\"$ref\":\"#/components/schemas/%s\"", m->name);
}

static void put_range(buf *out, const sv_field *f)
{
    if (f->max <= f->min) return;
    put_whole(out, "minimum", f->min);
    put_whole(out, "maximum", f->max);
}

static void put_object(writer *w, const sv_message *m, const route *r, bool answer);

/* Members of the schema of a field; `answer`: as message_view prints it, else as it is read. */
static void put_type(writer *w, const sv_field *f, bool answer)
{
    buf *out = w->out;
    const char *text = answer ? "[\"string\",\"null\"]" : "\"string\"";
    bool defaults = !answer && !(f->rules & SV_REQUIRED);
    switch (f->type) {
    case SV_T_BOOL:
        put_text(out, "type", "boolean");
        if (defaults) put_raw(out, "default", f->def != 0 ? "true" : "false");
        break;
    case SV_T_INT:
        put_text(out, "type", "integer");
        put_text(out, "format", "int64");
        if (!answer) put_range(out, f);
        if (defaults) put_whole(out, "default", f->def);
        break;
    case SV_T_NUM: put_text(out, "type", "number"); break;
    case SV_T_STR:
        put_raw(out, "type", text);
        put_whole(out, "maxLength", f->max);
        break;
    case SV_T_BIN:
        put_raw(out, "type", text);
        put_text(out, "contentEncoding", "base64");
        break;
    case SV_T_RAW: break;
    case SV_T_STRS:
        put_text(out, "type", "array");
        put_raw(out, "items", "{\"type\":\"string\"}");
        put_whole(out, "maxItems", f->max);
        break;
    case SV_T_LIST:
        put_text(out, "type", "array");
        open_object(out, "items");
        answer ? refer(w, f->sub) : put_object(w, f->sub, NULL, false);
        buf_putc(out, '}');
        put_whole(out, "maxItems", f->max);
        break;
    case SV_T_MSG:
        if (!answer) {
            put_object(w, f->sub, NULL, false);
            break;
        }
        open_list(out, "anyOf");
        buf_putc(out, '{');
        refer(w, f->sub);
        buf_puts(out, "},{\"type\":\"null\"}]");
        break;
    }
}

static void put_schema(writer *w, const sv_field *f, bool answer)
{
    buf *out = w->out;
    next(out);
    buf_putc(out, '{');
    put_type(w, f, answer);
    if (f->type != SV_T_MSG || answer) put_text(out, "description", f->doc);
    if (f->rules & SV_SECRET) {
        if (f->type == SV_T_STR) put_text(out, "format", "password");
        put_raw(out, "x-samovar-secret", "true");
    }
    buf_putc(out, '}');
}

static bool in_path(const route *r, const char *field)
{
    size_t n = strlen(field);
    for (const char *p = r ? strchr(r->path, '{') : NULL; p; p = strchr(p + 1, '{'))
        if (strncmp(p + 1, field, n) == 0 && (p[n + 1] == '}' || p[n + 1] == '.')) return true;
    return false;
}

/* A field that clients see: in a request, one that is not told by path or edge. */
static bool is_shown(const sv_field *f, const route *r)
{
    return !(f->rules & SV_EDGE) && !in_path(r, f->name);
}

static size_t count_shown(const sv_message *m, const route *r)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n; i++)
        n += is_shown(&m->fields[i], r);
    return n;
}

/* Members of the schema of a message. */
static void put_object(writer *w, const sv_message *m, const route *r, bool answer)
{
    buf *out = w->out;
    put_text(out, "type", "object");
    put_text(out, "description", m->doc);
    if (!answer) put_raw(out, "additionalProperties", "false");
    open_list(out, "required");
    for (size_t i = 0; i < m->n; i++)
        if (is_shown(&m->fields[i], r) && (answer || m->fields[i].rules & SV_REQUIRED))
            value_text(out, m->fields[i].name);
    buf_putc(out, ']');
    open_object(out, "properties");
    for (size_t i = 0; i < m->n; i++) {
        if (!is_shown(&m->fields[i], r)) continue;
        name(out, m->fields[i].name);
        put_schema(w, &m->fields[i], answer);
    }
    buf_putc(out, '}');
}

/* ---- what a request has ---- */

static const sv_field *field_of(const sv_message *m, sv_str key)
{
    for (size_t i = 0; m && i < m->n; i++)
        if (sv_str_is(key, m->fields[i].name)) return &m->fields[i];
    return NULL;
}

static void put_parameter(writer *w, const char *in, sv_str key, const sv_field *f, bool required)
{
    buf *out = w->out;
    next(out);
    buf_printf(out, "{\"name\":\"%.*s\",\"in\":\"%s\"", SV_FMT(key), in);
    put_raw(out, "required", required ? "true" : "false");
    if (f) put_text(out, "description", f->doc);
    name(out, "schema");
    if (f)
        put_schema(w, f, false);
    else
        buf_puts(out, "{\"type\":\"string\"}");
    buf_putc(out, '}');
}

static bool has_body(const route *r)
{
    return strcmp(r->method, "POST") == 0 || strcmp(r->method, "PATCH") == 0 ||
           strcmp(r->method, "PUT") == 0;
}

static const sv_message *request_of(const route *r, const openapi_part *part)
{
    return r->target ? r->request : part ? part->request : NULL;
}

static void put_parameters(writer *w, const route *r, const openapi_part *part)
{
    const sv_message *m = request_of(r, part);
    open_list(w->out, "parameters");
    for (const char *p = strchr(r->path, '{'); p; p = strchr(p + 1, '{')) {
        sv_str key = {p + 1, (uint32_t)strcspn(p + 1, ".}")};
        put_parameter(w, "path", key, field_of(m, key), true);
    }
    for (size_t i = 0; m && !has_body(r) && i < m->n; i++) {
        const sv_field *f = &m->fields[i];
        bool plain = f->type == SV_T_STR || f->type == SV_T_INT || f->type == SV_T_BOOL;
        if (is_shown(f, r) && plain)
            put_parameter(w, "query", sv_cstr(f->name), f, f->rules & SV_REQUIRED);
    }
    if (part && part->parameters) {
        next(w->out);
        buf_puts(w->out, part->parameters);
    }
    buf_putc(w->out, ']');
}

static void put_body(writer *w, const route *r, const openapi_part *part)
{
    buf *out = w->out;
    bool may = r->flags & ROUTE_MAY_JSON;
    const char *type = r->takes[0] ? r->takes : "application/json";
    if (!has_body(r) || (r->target && may && count_shown(r->request, r) == 0)) return;
    if (r->target == NULL && r->takes[0] == 0) return;
    open_object(out, "requestBody");
    put_raw(out, "required", may ? "false" : "true");
    open_object(out, "content");
    open_object(out, type);
    open_object(out, "schema");
    if (r->target) {
        put_object(w, r->request, r, false);
    } else if (part && part->body) {
        buf_put(out, part->body + 1, strlen(part->body) - 2);
    } else {
        put_text(out, "type", "object");
    }
    buf_puts(out, "}}}}");
}

/* ---- what it is answered ---- */

static void put_headers(buf *out, const route *r)
{
    buf_puts(out, ",\"headers\":{\"x-request-id\":{\"$ref\":\"#/components/headers/RequestId\"}");
    if (r->class != CLASS_FREE)
        buf_puts(out, ",\"x-ratelimit-limit\":{\"$ref\":\"#/components/headers/RateLimitLimit\"},"
                      "\"x-ratelimit-remaining\":{\"$ref\":\"#/components/headers/"
                      "RateLimitRemaining\"},"
                      "\"x-ratelimit-reset\":{\"$ref\":\"#/components/headers/RateLimitReset\"}");
    buf_putc(out, '}');
}

static void put_media(writer *w, const route *r, const openapi_part *part, sv_str type)
{
    buf *out = w->out;
    const sv_message *m = r->target ? r->reply : part ? part->reply : NULL;
    bool json = type.n >= 4 && memcmp(type.p + type.n - 4, "json", 4) == 0 &&
                memchr(type.p, '-', type.n) != type.p + strlen("application/x");
    next(out);
    buf_printf(out, "\"%.*s\":{\"schema\":{", SV_FMT(type));
    if (json && m)
        refer(w, m);
    else if (json && part && part->answer)
        buf_put(out, part->answer + 1, strlen(part->answer) - 2);
    else
        put_text(out, "type", json ? "object" : "string");
    buf_puts(out, "}}");
}

static void put_success(writer *w, const route *r, const openapi_part *part)
{
    buf *out = w->out;
    next(out);
    buf_printf(out, "\"%d\":{", part && part->status ? part->status : r->status);
    put_text(out, "description", r->doc);
    put_headers(out, r);
    if (r->reply != &bus_empty_msg && r->gives[0]) {
        open_object(out, "content");
        for (const char *at = r->gives; *at;) {
            size_t n = strcspn(at, ",");
            put_media(w, r, part, (sv_str){at, (uint32_t)n});
            at += n;
            at += strspn(at, ", ");
        }
        buf_putc(out, '}');
    }
    buf_putc(out, '}');
}

/* Whose shape an address has its errors in. */
static const char *dialect_of(const char *path)
{
    if (strncmp(path, "/v1/messages", 12) == 0) return "Anthropic";
    if (strncmp(path, "/ollama/", 8) == 0) return "Ollama";
    return strncmp(path, "/v1/", 4) == 0 ? "OpenAI" : "";
}

static void put_failure(buf *out, const char *status, const route *r)
{
    next(out);
    buf_printf(out, "\"%s\":{\"$ref\":\"#/components/responses/%s%s\"}", status,
               dialect_of(r->path), strcmp(status, "default") == 0 ? "Error" : status);
}

static void put_answers(writer *w, const route *r, const openapi_part *part)
{
    buf *out = w->out;
    open_object(out, "responses");
    put_success(w, r, part);
    put_failure(out, "400", r);
    if (r->who != WHO_ALL || r->class == CLASS_AUTH) put_failure(out, "401", r);
    if (r->who != WHO_ALL || r->class == CLASS_AUTH) put_failure(out, "403", r);
    if (strchr(r->path, '{')) put_failure(out, "404", r);
    if (r->class != CLASS_FREE) put_failure(out, "429", r);
    if (part && part->statuses) {
        next(out);
        buf_puts(out, part->statuses);
    }
    put_failure(out, "default", r);
    buf_putc(out, '}');
}

/* ---- operations ---- */

static const struct {
    const char *begin, *tag, *doc;
} tags[] = {
    {"/v1/", "models", "OpenAI's API."},
    {"/api/auth/2fa/", "second factor", "Codes at login, beside the password."},
    {"/api/auth/", "accounts", "Accounts, logins and sessions."},
    {"/api/keys", "keys", "API keys."},
    {"/api/orgs", "organizations", "Organizations, their members and invitations."},
    {"/api/invitations", "organizations", NULL},
    {"/api/files", "files", "Files."},
    {"/api/events", "events", "What happens, live."},
    {"/api/audit", "administration", "The audit log, users and organizations of the platform."},
    {"/api/admin/", "administration", NULL},
    {"/", "platform", "Health, metrics and this description."},
};

static const char *tag_of(const route *r)
{
    size_t i = 0;
    while (strncmp(r->path, tags[i].begin, strlen(tags[i].begin)) != 0)
        i++; /* the last row fits all */
    return tags[i].tag;
}

static void put_access(buf *out, const route *r)
{
    static const char *const who[] = {[WHO_ALL] = "public",
                                      [WHO_USER] = "user",
                                      [WHO_VIEWER] = "viewer",
                                      [WHO_MEMBER] = "member",
                                      [WHO_ADMIN] = "admin",
                                      [WHO_OWNER] = "owner",
                                      [WHO_PLATFORM] = "platform administrator"};
    static const char *const classes[CLASSES] = {
        [CLASS_FREE] = "none",     [CLASS_CHAT] = "chat", [CLASS_AUTH] = "auth",
        [CLASS_UPLOAD] = "upload", [CLASS_API] = "api",   [CLASS_ADMIN] = "admin"};
    bool cookie = r->request == &auth_refresh_req_msg || r->request == &auth_logout_req_msg;
    if (cookie)
        put_raw(out, "security", "[{},{\"refreshCookie\":[]}]");
    else if (r->who == WHO_ALL)
        put_raw(out, "security", "[]");
    else if (r->scope == SCOPE_SESSION)
        put_raw(out, "security", "[{\"accessToken\":[]}]");
    else
        put_raw(out, "security", "[{\"accessToken\":[]},{\"apiKey\":[]}]");
    open_object(out, "x-samovar-access");
    put_text(out, "who", who[r->who]);
    if (r->who != WHO_ALL)
        put_text(out, "scope", r->scope == SCOPE_SESSION ? "session" : route_scope_names[r->scope]);
    put_text(out, "limit", classes[r->class]);
    buf_putc(out, '}');
}

static void put_operation(writer *w, const route *r)
{
    static const char *const methods[][2] = {
        {"GET", "get"}, {"POST", "post"}, {"PUT", "put"}, {"PATCH", "patch"}, {"DELETE", "delete"}};
    buf *out = w->out;
    const openapi_part *part = openapi_part_of((route_id)(r - routes));
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (strcmp(r->method, methods[i][0]) == 0) open_object(out, methods[i][1]);
    put_text(out, "operationId", r->id);
    open_list(out, "tags");
    value_text(out, tag_of(r));
    buf_putc(out, ']');
    put_text(out, "summary", r->doc);
    put_access(out, r);
    put_parameters(w, r, part);
    put_body(w, r, part);
    put_answers(w, r, part);
    buf_putc(out, '}');
}

/* Pages are no part of the API, nor is what is not there. */
static bool is_described(const route *r)
{
    return r->handler != api_static && !(r->flags & ROUTE_UNBUILT);
}

/* {id...} is {id} here: its value may have slashes, encoded or not. */
static void put_path(buf *out, const char *path)
{
    next(out);
    buf_putc(out, '"');
    for (const char *p = path; *p; p++)
        if (*p != '.' || strncmp(p, "...}", 4) != 0)
            buf_putc(out, *p);
        else
            p += 2;
    buf_puts(out, "\":{");
}

static void put_paths(writer *w)
{
    open_object(w->out, "paths");
    for (size_t i = 0; i < ROUTES; i++) {
        bool first = is_described(&routes[i]);
        for (size_t before = 0; first && before < i; before++)
            first = !is_described(&routes[before]) || strcmp(routes[before].path, routes[i].path);
        if (!first) continue;
        put_path(w->out, routes[i].path);
        for (size_t j = i; j < ROUTES; j++)
            if (is_described(&routes[j]) && strcmp(routes[j].path, routes[i].path) == 0)
                put_operation(w, &routes[j]);
        buf_putc(w->out, '}');
    }
    buf_putc(w->out, '}');
}

/* ---- the rest ---- */

static bool is_used(const char *tag)
{
    bool used = false;
    for (size_t i = 0; i < ROUTES && !used; i++)
        used = is_described(&routes[i]) && strcmp(tag_of(&routes[i]), tag) == 0;
    return used;
}

static void put_head(buf *out)
{
    put_text(out, "openapi", "3.1.0");
    open_object(out, "info");
    put_text(out, "title", "Samovar");
    put_text(out, "version", SAMOVAR_VERSION);
    put_text(
        out, "description",
        "A self-hosted AI assistant platform. Limits of text (maxLength) count bytes of UTF-8. "
        "Members of answers are always there; text that is absent is null.");
    open_object(out, "license");
    put_text(out, "name", "MIT");
    put_text(out, "identifier", "MIT");
    buf_puts(out, "}}");
    put_raw(out, "servers", "[{\"url\":\"/\"}]");
    open_list(out, "tags");
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        if (tags[i].doc == NULL || !is_used(tags[i].tag)) continue;
        next(out);
        buf_putc(out, '{');
        put_text(out, "name", tags[i].tag);
        put_text(out, "description", tags[i].doc);
        buf_putc(out, '}');
    }
    buf_putc(out, ']');
}

static void put_responses(buf *out)
{
    static const char *const rows[][2] = {{"400", "The request is not valid."},
                                          {"401", "Who is asking is not known."},
                                          {"403", "This caller may not do this."},
                                          {"404", "It is not there, or not for this caller."},
                                          {"429", "Too many requests."},
                                          {"Error", "Another error: see x-samovar-errors."}};
    static const char *const dialects[] = {"", "OpenAI", "Anthropic", "Ollama"};
    open_object(out, "responses");
    for (size_t d = 0; d < sizeof dialects / sizeof *dialects; d++) {
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            if (d > 1 && strcmp(rows[i][0], "404") == 0) continue; /* no {names} in their paths */
            next(out);
            buf_printf(out, "\"%s%s\":{\"description\":\"%s\",", dialects[d], rows[i][0],
                       rows[i][1]);
            if (strcmp(rows[i][0], "429") == 0)
                buf_puts(out, "\"headers\":{\"retry-after\":{\"$ref\":\"#/components/headers/"
                              "RetryAfter\"}},");
            buf_printf(out,
                       "\"content\":{\"application/json\":{\"schema\":{\"$ref\":"
                       "\"#/components/schemas/%sError\"}}}}",
                       dialects[d]);
        }
    }
    buf_putc(out, '}');
}

static void put_components(writer *w)
{
    buf *out = w->out;
    open_object(out, "components");
    open_object(out, "securitySchemes");
    buf_printf(out, "%s}", openapi_security);
    open_object(out, "headers");
    buf_printf(out, "%s}", openapi_headers);
    put_responses(out);
    open_object(out, "schemas");
    buf_puts(out, openapi_errors);
    for (size_t i = 0; i < w->n; i++) {
        open_object(out, w->schemas[i]->name);
        put_object(w, w->schemas[i], NULL, true);
        buf_putc(out, '}');
    }
    buf_puts(out, "}}");
}

/* What the codes of errors mean. */
static void put_codes(buf *out)
{
    static const int codes[] = {
#define ERROR(id, number, code, status, http, retry, text) -(number),
#include "errors.def"
#undef ERROR
    };
    open_object(out, "x-samovar-errors");
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        const sv_error_info *info = sv_error_lookup(codes[i]);
        open_object(out, info->name);
        put_whole(out, "status", info->http);
        put_text(out, "message", info->text);
        buf_putc(out, '}');
    }
    buf_putc(out, '}');
}

int openapi_build(buf *out)
{
    writer w = {.out = out};
    buf_putc(out, '{');
    put_head(out);
    put_paths(&w);
    put_components(&w);
    put_codes(out);
    buf_puts(out, "}\n");
    return out->failed ? out->error : 0;
}
