/*  api_own_chat.c - the platform's own chat: workspace.chat answers with what the client gets, plain or
 *  as server-sent events. Its text and images travel as attachment, since they may be longer than a
 *  message of the bus; everything else is workspace_chat_req, read by the message's own decoder. */
#include "api.h"
#include "api_llm.h"
#include "error.h"
#include "forward.h"
#include "json_scan.h"
#include "money.h"
#include "reply.h"
#include "sv_limits.h"

#include <stdio.h>

enum { BUDGET_BYTES = 32 };

/* ---- the request ---- */

static int put_budget(json_value v, buf *out, sv_error *err)
{
    buf text;
    int64_t money = 0;
    bool ok = false;
    buf_init(&text, BUDGET_BYTES);
    if (v.type == JSON_STRING)
        ok = json_text(v, &text) == 0 && money_read(buf_str(&text), &money);
    else if (v.type == JSON_NUMBER)
        ok = money_read(v.raw, &money);
    buf_free(&text);
    if (!ok || money == 0)
        return sv_fail(err, SV_E_INVALID, "budget",
                       "\"budget\" is an amount of money above 0 with up to six decimals, like "
                       "\"0.05\".");
    buf_printf(out, "\"budget\":%lld", (long long)money);
    return 0;
}

/* As workspace_chat_req has them. */
static int put_images(json_value v, buf *images, sv_error *err)
{
    json_value url;
    size_t at = 0;
    int rc = 0;
    bool ok = v.type == JSON_ARRAY;
    while (ok && rc == 0 && json_next_element(v, &at, &url)) {
        ok = url.type == JSON_STRING;
        if (ok) rc = json_text(url, images);
        if (rc == 0) rc = buf_putc(images, '\n');
    }
    return ok ? rc
              : sv_fail(err, SV_E_WRONG_TYPE, "images",
                        "\"images\" must be an array of data URLs.");
}

static const sv_field *field_of(sv_str name)
{
    const sv_message *m = &workspace_chat_req_msg;
    for (size_t i = 0; i < m->n; i++)
        if (sv_str_is(name, m->fields[i].name)) return &m->fields[i];
    return NULL;
}

static int put_member(sv_str key, json_value v, buf *json, buf *text, buf *images, sv_error *err)
{
    if (sv_str_is(key, "message")) {
        if (v.type != JSON_STRING)
            return sv_fail(err, SV_E_WRONG_TYPE, "message", "\"message\" must be a string.");
        return json_text(v, text);
    }
    if (sv_str_is(key, "images")) return v.type == JSON_NULL ? 0 : put_images(v, images, err);
    const sv_field *f = field_of(key);
    if (f == NULL || f->rules & SV_EDGE) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", key.n < 60 ? (int)key.n : 60, key.p);
        return sv_fail(err, SV_E_UNKNOWN_FIELD, name, "\"%s\" is not known here.", name);
    }
    if (v.type == JSON_NULL) return 0; /* as if it were not there */
    if (json->n > 1) buf_putc(json, ',');
    if (sv_str_is(key, "budget")) return put_budget(v, json, err);
    buf_printf(json, "\"%s\":", f->name);
    return buf_put(json, v.raw.p, v.raw.n);
}

static int read_members(edge_call *c, buf *json, buf *text, buf *images, sv_error *err)
{
    sv_str body = c->x->request->body, key;
    json_value v;
    size_t at = 0;
    int rc = json_skim(body, LIMIT_DEPTH, err);
    if (rc) return rc;
    json_value root = json_root(body);
    if (root.type != JSON_OBJECT)
        return sv_fail(err, SV_E_WRONG_TYPE, NULL, "The body must be a JSON object.");
    buf_putc(json, '{');
    while (rc == 0 && json_next_member(root, &at, &key, &v))
        rc = put_member(key, v, json, text, images, err);
    if (rc) return rc;
    if (text->n == 0)
        return sv_fail(err, SV_E_MISSING_FIELD, "message", "\"message\" is missing or empty.");
    buf_putc(json, '}');
    return json->failed ? json->error : 0;
}

/* The request, borrowed from the edge's arena; its text and images are appended. */
static int read_request(edge_call *c, workspace_chat_req *ret, buf *text, buf *images,
                        sv_error *err)
{
    buf *json = &c->e->text, *packed = &c->e->packed;
    buf_reset(json, json->cap);
    buf_reset(packed, packed->cap);
    int rc = read_members(c, json, text, images, err);
    if (rc == 0) rc = message_from_json(&workspace_chat_req_msg, buf_str(json), packed, err);
    if (rc) return rc;
    char *kept = arena_copy(&c->e->arena, buf_str(packed));
    if (kept == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    return message_decode(&workspace_chat_req_msg, (sv_str){kept, (uint32_t)packed->n},
                          MESSAGE_STRICT, &c->e->arena, ret, err);
}

/* What is named must be allowed; what auto chooses is chosen among the allowed. */
static int check_model(const edge_call *c, const workspace_chat_req *q, sv_error *err)
{
    bool chosen = q->model.n == 0 || sv_str_is(q->model, "auto");
    return chosen || access_model_ok(c->who, q->model)
               ? 0
               : sv_fail(err, SV_E_MODEL_NOT_ALLOWED, "model", NULL);
}

static void talk(edge_call *c, bool stream)
{
    workspace_chat_req q;
    sv_error err = {.code = 0};
    char via[VIA_BYTES];
    buf text, images;
    buf_init(&text, c->x->request->body.n);
    buf_init(&images, c->x->request->body.n);
    int rc = read_request(c, &q, &text, &images, &err);
    if (rc == 0) rc = check_model(c, &q, &err);
    if (rc == 0 && images.n) {
        q.text_bytes = (int64_t)text.n;
        rc = buf_put(&text, images.p, images.n);
    }
    buf_free(&images);
    if (rc == 0) {
        if (c->who) q.allowed = c->who->models;
        q.via = api_llm_via(c, via);
        sv_request r = {.target = "workspace.chat",
                        .type = &workspace_chat_req_msg,
                        .body = &q,
                        .attachment = buf_str(&text)};
        rc = api_llm_pass(c, &r, stream, &err);
    }
    buf_free(&text);
    if (rc) reply_error(c, rc, &err);
}

void api_own_chat(edge_call *c)
{
    talk(c, false);
}

void api_own_chat_stream(edge_call *c)
{
    talk(c, true);
}

static void look(edge_call *c, const char *target, const sv_message *type)
{
    void *q;
    sv_error err = {.code = 0};
    int rc = forward_read(c, type, NULL, &q, &err);
    if (rc == 0)
        rc = api_llm_pass(c, &(sv_request){.target = target, .type = type, .body = q}, false, &err);
    if (rc) reply_error(c, rc, &err);
}

void api_chat_session(edge_call *c)
{
    look(c, "workspace.chat_session", &workspace_chat_messages_req_msg);
}

void api_chat_images(edge_call *c)
{
    look(c, "workspace.chat_images", &workspace_chat_images_req_msg);
}
