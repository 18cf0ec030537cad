/*  api_models.c - GET /v1/models and /v1/models/{id} in OpenAI's shape, or in Anthropic's for its own
 *  clients, and /ollama/api/tags and /ollama/api/show in Ollama's, from router.models. */
#include "api.h"

#include "error.h"
#include "json_scan.h"
#include "reply.h"
#include "sv_limits.h"

#include <time.h>

enum { MODELS_MS = 10000, MODELS_BYTES = 4 << 20, MODEL_ID_BYTES = 256 };
static const int64_t LAST_SECOND = 253402300799; /* of the year 9999 */

static void put_string(buf *out, const char *name, sv_str value)
{
    buf_printf(out, "\"%s\":\"", name);
    buf_json_escape(out, value);
    buf_putc(out, '"');
}

static void put_time(buf *out, const char *name, int64_t seconds)
{
    char text[40] = "";
    struct tm tm;
    time_t t = seconds <= LAST_SECOND ? (time_t)seconds : 0;
    if (gmtime_r(&t, &tm)) strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    buf_printf(out, "\"%s\":\"%s\"", name, text);
}

static sv_str family_of(const router_model *m)
{
    return m->provider.n ? m->provider : sv_cstr("samovar");
}

/* What only Ollama's own models have is empty. */
static void put_details(buf *out, const router_model *m)
{
    buf_puts(out, "\"details\":{\"parent_model\":\"\",\"format\":\"\",");
    put_string(out, "family", family_of(m));
    buf_puts(out, ",\"families\":[],\"parameter_size\":\"\",\"quantization_level\":\"\"}");
}

static void put_tag(buf *out, const router_model *m)
{
    buf_putc(out, '{');
    put_string(out, "name", m->id);
    buf_putc(out, ',');
    put_string(out, "model", m->id);
    buf_putc(out, ',');
    put_time(out, "modified_at", m->created);
    buf_puts(out, ",\"size\":0,\"digest\":\"\",");
    put_details(out, m);
    buf_putc(out, '}');
}

static void put_shown(buf *out, const router_model *m)
{
    buf_puts(out, "{\"modelfile\":\"\",\"parameters\":\"\",\"template\":\"\",\"model_info\":{},"
                  "\"capabilities\":[\"completion\"],");
    put_time(out, "modified_at", m->created);
    buf_putc(out, ',');
    put_details(out, m);
    buf_putc(out, '}');
}

static void put_anthropic(buf *out, const router_model *m)
{
    buf_puts(out, "{\"type\":\"model\",");
    put_string(out, "id", m->id);
    buf_putc(out, ',');
    put_string(out, "display_name", m->id);
    buf_putc(out, ',');
    put_time(out, "created_at", m->created);
    buf_putc(out, '}');
}

static void put_openai(buf *out, const router_model *m)
{
    buf_putc(out, '{');
    put_string(out, "id", m->id);
    buf_printf(out, ",\"object\":\"model\",\"created\":%lld,", (long long)m->created);
    put_string(out, "owned_by", family_of(m));
    buf_putc(out, '}');
}

static void put_model(const edge_call *c, buf *out, const router_model *m)
{
    if (c->ollama && c->wanted)
        put_shown(out, m);
    else if (c->ollama)
        put_tag(out, m);
    else if (c->anthropic)
        put_anthropic(out, m);
    else
        put_openai(out, m);
}

static bool put_one(const edge_call *c, buf *out, const router_models_reply *reply)
{
    const router_model *models = reply->models.items;
    for (uint32_t i = 0; i < reply->models.n; i++) {
        if (!sv_str_is(models[i].id, c->wanted)) continue;
        put_model(c, out, &models[i]);
        return true;
    }
    return false;
}

static void ask(edge_call *c, int64_t after);

static void begin_list(edge_call *c, const router_models_reply *reply)
{
    const router_model *models = reply->models.items;
    buf_init(&c->list, MODELS_BYTES);
    if (c->ollama) {
        buf_puts(&c->list, "{\"models\":[");
    } else if (c->anthropic) {
        buf_putc(&c->list, '{');
        if (reply->models.n)
            put_string(&c->list, "first_id", models[0].id);
        else
            buf_puts(&c->list, "\"first_id\":null");
        buf_puts(&c->list, ",\"data\":[");
    } else {
        buf_puts(&c->list, "{\"object\":\"list\",\"data\":[");
    }
}

static void end_list(edge_call *c, const router_models_reply *reply)
{
    const router_model *models = reply->models.items;
    buf_putc(&c->list, ']');
    if (c->anthropic) { /* all of them are one page */
        buf_puts(&c->list, ",\"has_more\":false,");
        if (reply->models.n)
            put_string(&c->list, "last_id", models[reply->models.n - 1].id);
        else
            buf_puts(&c->list, "\"last_id\":null");
    }
    buf_putc(&c->list, '}');
}

static void add_page(edge_call *c, const router_models_reply *reply)
{
    const router_model *models = reply->models.items;
    if (c->list.n == 0)
        begin_list(c, reply);
    else if (reply->models.n && c->list.p[c->list.n - 1] == '}')
        buf_putc(&c->list, ',');
    for (uint32_t i = 0; i < reply->models.n; i++) {
        if (i) buf_putc(&c->list, ',');
        put_model(c, &c->list, &models[i]);
    }
    if (reply->next == 0) end_list(c, reply);
}

/* The list was read to its end, or the wanted model was found. */
static void finish(edge_call *c, const buf *out)
{
    if (out->failed)
        reply_error(c, SV_E_NO_MEMORY, NULL);
    else
        reply_whole(c, 200, "application/json", buf_str(out), NULL);
}

/* What the caller's key may not ask for is not there for him. */
static void leave_allowed(const edge_call *c, router_models_reply *reply)
{
    router_model *models = reply->models.items;
    uint32_t n = 0;
    for (uint32_t i = 0; i < reply->models.n; i++)
        if (access_model_ok(c->who, models[i].id)) models[n++] = models[i];
    reply->models.n = n;
}

static void on_page(edge_call *c, const sv_item *item)
{
    buf *one = &c->e->text;
    router_models_reply reply;
    sv_error err = {0};
    int rc = message_decode(&router_models_reply_msg, item->body, MESSAGE_LENIENT, &c->e->arena,
                            &reply, &err);
    if (rc) {
        reply_refuse(c, SV_E_INTERNAL, NULL, "The router's list of models cannot be read.");
        return;
    }
    leave_allowed(c, &reply);
    buf_reset(one, one->cap);
    if (c->wanted && put_one(c, one, &reply)) {
        finish(c, one);
        return;
    }
    if (c->wanted == NULL) add_page(c, &reply);
    if (reply.next && !c->list.failed)
        ask(c, reply.next);
    else if (c->wanted)
        reply_refuse(c, SV_E_MODEL_UNKNOWN, "model", "No provider lists the model \"%.200s\".",
                     c->wanted);
    else
        finish(c, &c->list);
}

static void on_done(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    edge_call *c = arg;
    (void)s;
    c->stream = NULL;
    arena *a = &c->e->arena;
    if (code)
        reply_error(c, code, err);
    else
        on_page(c, item);
    arena_reset(a);
}

static void ask(edge_call *c, int64_t after)
{
    static const sv_events events = {.done = on_done};
    router_models_req page = {.after = after};
    sv_error err = {0};
    sv_request r = {.target = "router.models",
                    .type = &router_models_req_msg,
                    .body = &page,
                    .ttl_ms = MODELS_MS,
                    .idempotent = true,
                    .trace = &c->trace,
                    .ticket = access_ticket(c->e->access, c->who)};
    c->stream = sv_open(c->e->p, &r, &events, c, &err);
    if (c->stream == NULL) reply_error(c, err.code, &err);
}

void api_models(edge_call *c)
{
    ask(c, 0);
}

void api_ollama_tags(edge_call *c)
{
    ask(c, 0);
}

void api_ollama_version(edge_call *c)
{
    reply_whole(c, 200, "application/json", sv_cstr("{\"version\":\"" SAMOVAR_VERSION "\"}"), NULL);
}

void api_model(edge_call *c)
{
    char id[MODEL_ID_BYTES];
    uint32_t n = 0;
    if (!http_percent_decode(c->match.value[0], id, sizeof id - 1, &n)) {
        reply_refuse(c, SV_E_MODEL_UNKNOWN, "model", "Names of models are at most %d bytes long.",
                     MODEL_ID_BYTES - 1);
        return;
    }
    id[n] = 0;
    c->wanted = strdup(id);
    if (c->wanted == NULL)
        reply_error(c, SV_E_NO_MEMORY, NULL);
    else
        api_models(c);
}

void api_ollama_show(edge_call *c)
{
    buf *name = &c->e->text;
    sv_str body = c->x->request->body;
    sv_error err = {0};
    int rc = json_skim(body, LIMIT_JSON_DEPTH, &err);
    if (rc) {
        reply_error(c, rc, &err);
        return;
    }
    json_value root = json_root(body), v = json_get(root, "model");
    if (v.type == JSON_NONE) v = json_get(root, "name"); /* the older spelling */
    buf_reset(name, name->cap);
    rc = v.type == JSON_STRING ? json_text(v, name) : SV_E_MISSING_FIELD;
    if (rc || name->n == 0 || name->n >= MODEL_ID_BYTES || memchr(name->p, 0, name->n)) {
        reply_refuse(c, SV_E_MISSING_FIELD, "model", "\"model\" must be the name of a model.");
        return;
    }
    c->wanted = strndup(name->p, name->n);
    if (c->wanted == NULL)
        reply_error(c, SV_E_NO_MEMORY, NULL);
    else
        ask(c, 0);
}
