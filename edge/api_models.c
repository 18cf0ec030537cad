/*  api_models.c - GET /v1/models and /v1/models/{id} in OpenAI's shape, from router.models. */
#include "api.h"

#include "error.h"
#include "reply.h"

enum { MODELS_MS = 10000, MODELS_BYTES = 4 << 20, MODEL_ID_BYTES = 256 };

static void put_string(buf *out, const char *name, sv_str value)
{
    buf_printf(out, "\"%s\":\"", name);
    buf_json_escape(out, value);
    buf_putc(out, '"');
}

static void put_model(buf *out, const router_model *m)
{
    buf_putc(out, '{');
    put_string(out, "id", m->id);
    buf_printf(out, ",\"object\":\"model\",\"created\":%lld,", (long long)m->created);
    put_string(out, "owned_by", m->provider.n ? m->provider : sv_cstr("samovar"));
    buf_putc(out, '}');
}

static bool put_one(buf *out, const router_models_reply *reply, const char *id)
{
    const router_model *models = reply->models.items;
    for (uint32_t i = 0; i < reply->models.n; i++) {
        if (!sv_str_is(models[i].id, id)) continue;
        put_model(out, &models[i]);
        return true;
    }
    return false;
}

static void ask(edge_call *c, int64_t after);

static void add_page(edge_call *c, const router_models_reply *reply)
{
    const router_model *models = reply->models.items;
    if (c->list.n == 0) {
        buf_init(&c->list, MODELS_BYTES);
        buf_puts(&c->list, "{\"object\":\"list\",\"data\":[");
    } else if (reply->models.n) {
        buf_putc(&c->list, ',');
    }
    for (uint32_t i = 0; i < reply->models.n; i++) {
        if (i) buf_putc(&c->list, ',');
        put_model(&c->list, &models[i]);
    }
    if (reply->next == 0) buf_puts(&c->list, "]}");
}

/* The list was read to its end, or the wanted model was found. */
static void finish(edge_call *c, const buf *out)
{
    if (out->failed)
        reply_error(c, SV_E_NO_MEMORY, NULL);
    else
        reply_whole(c, 200, "application/json", buf_str(out), NULL);
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
    buf_reset(one, one->cap);
    if (c->wanted && put_one(one, &reply, c->wanted)) {
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
