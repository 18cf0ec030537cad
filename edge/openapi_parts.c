/*  openapi_parts.c - what no table says: OpenAI's shapes, which grow without us and are described by
 *  what is looked at here, and the plain answers of the platform's own handlers. */
#include "openapi.h"

const char openapi_security[] =
    "\"accessToken\":{\"type\":\"http\",\"scheme\":\"bearer\",\"bearerFormat\":\"JWT\","
    "\"description\":\"Access token of POST /api/auth/login, for 15 minutes. API keys (sv_...) may "
    "be sent in the same header.\"},"
    "\"apiKey\":{\"type\":\"apiKey\",\"in\":\"header\",\"name\":\"x-api-key\","
    "\"description\":\"API key of POST /api/keys: sv_...\"},"
    "\"refreshCookie\":{\"type\":\"apiKey\",\"in\":\"cookie\",\"name\":\"__Host-samovar_refresh\","
    "\"description\":\"Refresh token of a browser; the request also needs the header "
    "x-samovar-csrf: 1 and must come from a page of this server.\"}";

const char openapi_headers[] =
    "\"RequestId\":{\"description\":\"Name of the request in logs and traces.\","
    "\"schema\":{\"type\":\"string\"}},"
    "\"RateLimitLimit\":{\"description\":\"Requests that the tightest limit allows in its "
    "window.\",\"schema\":{\"type\":\"integer\"}},"
    "\"RateLimitRemaining\":{\"description\":\"Requests that are left, at least.\","
    "\"schema\":{\"type\":\"integer\"}},"
    "\"RateLimitReset\":{\"description\":\"Seconds until the window has passed.\","
    "\"schema\":{\"type\":\"integer\"}},"
    "\"RetryAfter\":{\"description\":\"Seconds to wait before the next try.\","
    "\"schema\":{\"type\":\"integer\"}}";

const char openapi_errors[] =
    "\"Error\":{\"type\":\"object\",\"description\":\"An error.\",\"required\":[\"error\"],"
    "\"properties\":{\"error\":{\"type\":\"object\","
    "\"required\":[\"code\",\"message\",\"fields\",\"request_id\",\"docs\"],\"properties\":{"
    "\"code\":{\"type\":\"string\",\"description\":\"Stable; see x-samovar-errors.\"},"
    "\"message\":{\"type\":\"string\",\"description\":\"For people; may change.\"},"
    "\"fields\":{\"type\":\"array\",\"items\":{\"type\":\"object\","
    "\"required\":[\"path\",\"code\",\"message\"],\"properties\":{"
    "\"path\":{\"type\":\"string\"},\"code\":{\"type\":\"string\"},"
    "\"message\":{\"type\":\"string\"}}}},"
    "\"request_id\":{\"type\":\"string\"},\"docs\":{\"type\":\"string\"}}}}},"
    "\"OpenAIError\":{\"type\":\"object\",\"description\":\"An error in OpenAI's shape.\","
    "\"required\":[\"error\"],\"properties\":{\"error\":{\"type\":\"object\","
    "\"required\":[\"message\",\"type\",\"param\",\"code\"],\"properties\":{"
    "\"message\":{\"type\":\"string\"},\"type\":{\"type\":\"string\"},"
    "\"param\":{\"type\":[\"string\",\"null\"]},"
    "\"code\":{\"type\":\"string\",\"description\":\"Stable; see x-samovar-errors.\"}}}}},"
    "\"AnthropicError\":{\"type\":\"object\",\"description\":\"An error in Anthropic's shape.\","
    "\"required\":[\"type\",\"error\"],\"properties\":{\"type\":{\"const\":\"error\"},"
    "\"error\":{\"type\":\"object\",\"required\":[\"type\",\"message\"],\"properties\":{"
    "\"type\":{\"type\":\"string\"},\"message\":{\"type\":\"string\"}}},"
    "\"request_id\":{\"type\":\"string\"}}},"
    "\"OllamaError\":{\"type\":\"object\",\"description\":\"An error in Ollama's shape.\","
    "\"required\":[\"error\"],\"properties\":{\"error\":{\"type\":\"string\"}}}";

/* ---- OpenAI's ---- */

#define MODEL                                                                                      \
    "{\"type\":\"object\",\"required\":[\"id\",\"object\",\"created\",\"owned_by\"],"              \
    "\"properties\":{\"id\":{\"type\":\"string\"},\"object\":{\"const\":\"model\"},"               \
    "\"created\":{\"type\":\"integer\"},\"owned_by\":{\"type\":\"string\"}}}"

static const char chat_body[] =
    "{\"type\":\"object\",\"additionalProperties\":true,\"required\":[\"model\",\"messages\"],"
    "\"description\":\"OpenAI's chat completion request. What is not named here is passed to the "
    "provider as it is.\",\"properties\":{"
    "\"model\":{\"type\":\"string\",\"description\":\"One of GET /v1/models.\"},"
    "\"messages\":{\"type\":\"array\",\"items\":{\"type\":\"object\","
    "\"additionalProperties\":true,\"required\":[\"role\"],\"properties\":{"
    "\"role\":{\"type\":\"string\"},\"content\":{\"description\":\"Text, or a list of parts.\","
    "\"type\":[\"string\",\"array\",\"null\"],\"items\":{\"type\":\"object\"}}}}},"
    "\"stream\":{\"type\":\"boolean\",\"default\":false,"
    "\"description\":\"Answer as server-sent events.\"},"
    "\"stream_options\":{\"type\":\"object\",\"additionalProperties\":true,\"properties\":{"
    "\"include_usage\":{\"type\":\"boolean\",\"default\":false}}}},"
    "\"examples\":[{\"model\":\"demo\","
    "\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}]}";

static const char chat_answer[] =
    "{\"type\":\"object\",\"additionalProperties\":true,"
    "\"description\":\"OpenAI's chat completion, as the provider made it.\",\"properties\":{"
    "\"id\":{\"type\":\"string\"},\"object\":{\"type\":\"string\"},"
    "\"created\":{\"type\":\"integer\"},\"model\":{\"type\":\"string\"},"
    "\"choices\":{\"type\":\"array\",\"items\":{\"type\":\"object\","
    "\"additionalProperties\":true}},"
    "\"usage\":{\"type\":[\"object\",\"null\"],\"additionalProperties\":true}}}";

static const char models_answer[] =
    "{\"type\":\"object\",\"required\":[\"object\",\"data\"],\"properties\":{"
    "\"object\":{\"const\":\"list\"},\"data\":{\"type\":\"array\",\"items\":" MODEL "}}}";

/* ---- the platform's ---- */

#define STATUS_WORD "{\"type\":\"string\",\"enum\":[\"ok\",\"missing\"]}"

static const char ready_answer[] =
    "{\"type\":\"object\",\"required\":[\"ready\",\"parts\"],\"properties\":{"
    "\"ready\":{\"type\":\"boolean\"},\"parts\":{\"type\":\"object\","
    "\"additionalProperties\":" STATUS_WORD "}}}";

static const char jwks_answer[] =
    "{\"type\":\"object\",\"required\":[\"keys\"],\"properties\":{\"keys\":{\"type\":\"array\","
    "\"items\":{\"type\":\"object\",\"additionalProperties\":true,"
    "\"required\":[\"kty\",\"crv\",\"x\",\"kid\"],\"properties\":{\"kty\":{\"const\":\"OKP\"},"
    "\"crv\":{\"const\":\"Ed25519\"},\"x\":{\"type\":\"string\"},"
    "\"kid\":{\"type\":\"string\"}}}}}}";

/* What /api/usage takes; texts of filters are those of the ledger. */
#define USAGE_FILTER(name, what)                                                                   \
    ",{\"name\":\"" name "\",\"in\":\"query\",\"description\":\"" what                             \
    "\",\"schema\":{\"type\":\"string\"}}"
#define USAGE_PARAMETERS                                                                           \
    "{\"name\":\"by\",\"in\":\"query\",\"description\":\"What a row is about; day unless said.\"," \
    "\"schema\":{\"type\":\"string\",\"enum\":[\"day\",\"model\",\"provider\",\"key\",\"user\","   \
    "\"org\"]}}" USAGE_FILTER("from", "First day, UTC: 2030-01-31.")                               \
        USAGE_FILTER("to", "Last day, included.") USAGE_FILTER("org", "Only this organization.")   \
            USAGE_FILTER("key", "Only this API key.") USAGE_FILTER("user", "Only this user.")      \
                USAGE_FILTER("model", "Only this model.")                                          \
                    USAGE_FILTER("provider", "Only this provider.")

static const openapi_part parts[] = {
    {.id = ROUTE_CHAT,
     .body = chat_body,
     .answer = chat_answer,
     .parameters = "{\"name\":\"x-stainless-timeout\",\"in\":\"header\",\"description\":"
                   "\"Seconds that the client waits.\",\"schema\":{\"type\":\"number\"}}"},
    {.id = ROUTE_MODELS, .answer = models_answer},
    {.id = ROUTE_MODEL, .answer = MODEL},
    {.id = ROUTE_HEALTH,
     .answer = "{\"type\":\"object\",\"required\":[\"status\"],\"properties\":{"
               "\"status\":{\"const\":\"ok\"}}}"},
    {.id = ROUTE_READY,
     .answer = ready_answer,
     .statuses = "\"503\":{\"description\":\"Not ready.\",\"content\":{\"application/json\":{"
                 "\"schema\":{\"type\":\"object\"}}}}"},
    {.id = ROUTE_METRICS,
     .parameters = "{\"name\":\"service\",\"in\":\"query\",\"description\":"
                   "\"A service on the bus instead of this process.\","
                   "\"schema\":{\"type\":\"string\"}}"},
    {.id = ROUTE_JWKS, .answer = jwks_answer},
    {.id = ROUTE_OPENAPI,
     .answer = "{\"type\":\"object\",\"additionalProperties\":true,\"required\":[\"openapi\"],"
               "\"properties\":{\"openapi\":{\"type\":\"string\"}}}"},
    {.id = ROUTE_FILE_UPLOAD,
     .reply = &workspace_file_finish_reply_msg,
     .body = "{\"type\":\"object\",\"description\":\"Names of fields do not matter.\","
             "\"properties\":{\"file\":{"
             "\"type\":\"array\",\"minItems\":1,\"maxItems\":8,\"items\":{\"type\":\"string\","
             "\"contentMediaType\":\"application/octet-stream\"}}}}",
     .status = 201},
    {.id = ROUTE_FILE,
     .parameters = "{\"name\":\"range\",\"in\":\"header\",\"description\":"
                   "\"One range of bytes.\",\"schema\":{\"type\":\"string\"}},"
                   "{\"name\":\"if-none-match\",\"in\":\"header\",\"description\":"
                   "\"Entity tag of the bytes that the client has.\","
                   "\"schema\":{\"type\":\"string\"}}",
     .statuses = "\"206\":{\"description\":\"The range.\"},"
                 "\"304\":{\"description\":\"The client has it.\"},"
                 "\"416\":{\"description\":\"The range lies beyond the end.\"}"},
    {.id = ROUTE_EVENTS,
     .parameters = "{\"name\":\"last-event-id\",\"in\":\"header\",\"description\":"
                   "\"The last event that the client has.\",\"schema\":{\"type\":\"string\"}}"},
    {.id = ROUTE_USAGE, .parameters = USAGE_PARAMETERS},
    {.id = ROUTE_USAGE_EXPORT,
     .parameters = USAGE_PARAMETERS
     ",{\"name\":\"format\",\"in\":\"query\",\"description\":\"csv unless said.\","
     "\"schema\":{\"type\":\"string\",\"enum\":[\"csv\",\"jsonl\"]}}"},
    {.id = ROUTE_AUDIT,
     .request = &auth_audit_req_msg,
     .reply = &auth_audit_reply_msg,
     .parameters = "{\"name\":\"format\",\"in\":\"query\",\"description\":"
                   "\"All events as a file instead of a page of them.\","
                   "\"schema\":{\"type\":\"string\",\"enum\":[\"jsonl\",\"csv\"]}}"},
};

const openapi_part *openapi_part_of(route_id id)
{
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (parts[i].id == id) return &parts[i];
    return NULL;
}
