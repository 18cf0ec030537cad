/*  complete.c - router.complete takes a call: what is asked, who may answer it. When there is a budget
 *  for it (spend.c) its course begins (course.c). */
#include "relay.h"

#include "openai.h"
#include "anthropic.h"
#include "fnv.h"
#include "task.h"

#include <stdio.h>
#include <stdlib.h>

enum { HASHED = 4096 /* bytes of a conversation's beginning that name it */ };

typedef struct endpoint {
    const char *name;
    const llm_ops *client;
    plan_op op;
    const char *path; /* of one that is passed on as it is */
} endpoint;

static const endpoint endpoints[] = {
    {"chat", &llm_openai, OP_CHAT, NULL},
    {"completions", &llm_completions, OP_CHAT, NULL},
    {"responses", &llm_responses, OP_CHAT, NULL},
    {"messages", &llm_anthropic, OP_CHAT, NULL},
    {"ollama", &llm_ollama, OP_CHAT, NULL},
    {"generate", &llm_generate, OP_CHAT, NULL},
    {"count_tokens", &llm_anthropic, OP_COUNT, "/messages/count_tokens"},
    {"embeddings", &llm_openai, OP_EMBEDDINGS, "/embeddings"},
    {"ollama_embed", &llm_ollama, OP_EMBEDDINGS, NULL},
    {"transcriptions", &llm_openai, OP_TRANSCRIPTION, "/audio/transcriptions"},
    {"images", &llm_openai, OP_IMAGE, "/images/generations"},
    {"moderations", &llm_openai, OP_MODERATION, "/moderations"},
};

static const endpoint *endpoint_of(sv_str name)
{
    if (name.n == 0) return &endpoints[0];
    for (size_t i = 0; i < sizeof endpoints / sizeof *endpoints; i++)
        if (sv_str_is(name, endpoints[i].name)) return &endpoints[i];
    return NULL;
}

/* ---- what is asked ---- */

static int check(sv_call *call, const router_complete_req *q, const endpoint *e, sv_str body)
{
    sv_error *err = sv_call_error(call);
    if (e == NULL)
        return sv_fail(err, SV_E_INVALID, "endpoint", "There is no endpoint \"%.*s\".",
                       SV_FMT(q->endpoint));
    if (body.p == NULL)
        return sv_fail(err, SV_E_INVALID, "attachment",
                       "The client's body must be the attachment.");
    if (q->stream && !sv_call_streaming(call))
        return sv_fail(err, SV_E_INVALID, "stream", "A stream needs a call that takes its parts.");
    if (q->stream && e->op != OP_CHAT)
        return sv_fail(err, SV_E_INVALID, "stream", "This endpoint does not stream.");
    if (q->via.n && memchr(q->via.p, 0, q->via.n))
        return sv_fail(err, SV_E_INVALID, "via", "The Via header must not contain NUL.");
    if (q->content_type.n) {
        bool form = e->op == OP_TRANSCRIPTION;
        return form ? 0 : sv_fail(err, SV_E_INVALID, "content_type", "This endpoint takes JSON.");
    }
    if (e->op == OP_TRANSCRIPTION)
        return sv_fail(err, SV_E_INVALID, "content_type", "This endpoint takes a form.");
    /* The edge and the cache have validated it. */
    if (strcmp(sv_call_caller(call), "edge") != 0 && strcmp(sv_call_caller(call), "cache") != 0) {
        int rc = json_skim(body, LIMIT_JSON_DEPTH, err);
        if (rc) return rc;
    }
    if (json_root(body).type != JSON_OBJECT)
        return sv_fail(err, SV_E_INVALID, "attachment", "The body must be a JSON object.");
    return 0;
}

static int check_mode(const relay *r, sv_error *err)
{
    sv_str mode = r->q->mode;
    if (mode.n == 0) return 0;
    if (!sv_str_is(mode, "race") && !sv_str_is(mode, "all"))
        return sv_fail(err, SV_E_INVALID, "mode", "\"mode\" must be \"race\" or \"all\".");
    if (r->op != OP_CHAT)
        return sv_fail(err, SV_E_INVALID, "mode", "Several models at once are for chats only.");
    if (r->all && (r->stream || r->client->format != LLM_OPENAI))
        return sv_fail(err, SV_E_INVALID, "mode",
                       "\"mode\": \"all\" needs \"stream\": false and /v1/chat/completions.");
    return 0;
}

/* Also where the bytes would pass: what a provider stores belongs to its key, which users share, an
 * answer made in the background could be fetched by nobody here, and its usage would never be known. */
static int refuse_stored(const relay *r, sv_error *err)
{
    static const char *const names[] = {"previous_response_id", "conversation"};
    json_value root = json_root(r->body), v;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        v = json_get(root, names[i]);
        if (v.type != JSON_NONE && v.type != JSON_NULL)
            return sv_fail(err, SV_E_INVALID, names[i],
                           "No answers are stored here: send the whole conversation in input.");
    }
    v = json_get(root, "background");
    if (v.type != JSON_NONE && v.type != JSON_NULL && v.type != JSON_FALSE)
        return sv_fail(err, SV_E_INVALID, "background",
                       "Answers are not stored here: leave background out and use stream.");
    return 0;
}

/* Parsed always, since the choice wants to know what the request is; where every provider speaks the
 * client's format it is the provider's to judge, and what is wrong here is no error yet. */
static int understand(relay *r, sv_error *err)
{
    sv_error unread = {0};
    arena *a = sv_call_arena(r->call);
    int stored = r->client->format == LLM_RESPONSES ? refuse_stored(r, err) : 0;
    if (stored) return stored;
    if (r->op == OP_CHAT || r->op == OP_COUNT) {
        int rc = r->client->parse(r->body, a, &r->request, &unread);
        if (rc == SV_E_NO_MEMORY) /* of the call's arena, whose size is bounded */
            sv_fail(&unread, SV_E_TOO_LARGE, NULL, "The request has too many parts to be read.");
        r->parsed = rc == 0;
        if (r->parsed)
            llm_features_of(&r->request, &r->features);
        else
            r->unread = relay_keep_words(r, &unread);
    } else if (r->op == OP_EMBEDDINGS) {
        int rc = embed_parse(r->client->format, r->body, &r->embed, &unread);
        if (rc == SV_E_NO_MEMORY) return sv_fail(err, rc, NULL, NULL);
        r->parsed = rc == 0;
        if (!r->parsed) r->unread = relay_keep_words(r, &unread);
    }
    if (!r->parsed) {
        /* sound is no prompt, and how long it is nobody knows */
        if (r->op != OP_TRANSCRIPTION) r->features.prompt_tokens = (int64_t)r->body.n / 4;
        r->features.stream = r->stream;
    }
    spend_read(r);
    return 0;
}

/* ---- who may answer ---- */

static uint64_t hash_more(uint64_t h, sv_str text)
{
    return fnv_more(h, (sv_str){text.p, text.n < HASHED ? text.n : HASHED});
}

static uint64_t conversation_of(const relay *r)
{
    uint64_t h = FNV_BASIS;
    h = hash_more(h, r->ask.org);
    h = hash_more(h, r->ask.user);
    if (r->q->session.n) return hash_more(h, r->q->session);
    if (!r->parsed || r->features.first_user.n == 0) return 0;
    h = hash_more(h, r->features.system);
    return hash_more(h, r->features.first_user);
}

static void who_asks(relay *r)
{
    ledger_row row = ledger_row_of(r->call, sv_call_id(r->call));
    r->ask.org = row.org;
    r->ask.user = row.user;
    r->key_id = row.key;
    r->log_prompt = prompt_log_wants(r->router->prompts, row.org);
}

/* Of another format than the client's: for endpoints that are only passed on, and for requests that
 * could not be read here. */
static bool can_answer(const relay *r, const candidate *c)
{
    llm_format f = c->provider->format;
    switch (r->op) {
    case OP_TRANSCRIPTION:
    case OP_IMAGE:
    case OP_MODERATION: return f == LLM_OPENAI;
    case OP_EMBEDDINGS: return f != LLM_ANTHROPIC && (r->parsed || f == LLM_OPENAI);
    case OP_COUNT: /* who does not count is not asked, and no substitute for one who does */
        return f == LLM_ANTHROPIC || r->plan.items[0].provider->format != LLM_ANTHROPIC;
    case OP_CHAT: break;
    }
    return r->parsed || leg_passes(r, c);
}

static int unable(const relay *r, sv_error *err)
{
    if (r->unread) {
        *err = *r->unread;
        return err->code;
    }
    return sv_fail(err, SV_E_MODEL_UNKNOWN, "model",
                   "No provider of this model has this endpoint: it needs one that is compatible "
                   "with OpenAI's.");
}

/* Of a named model: the choice does not need it, rankings and the cache do. */
static void guess_task(relay *r)
{
    task_guess guess;
    task_classify(&r->features, &guess);
    r->plan.task = guess.task;
    r->plan.task_known = true;
    r->plan.complexity = guess.complexity;
    r->plan.rule = guess.rule;
}

static int choose(relay *r, sv_error *err)
{
    router *o = r->router;
    arena *a = sv_call_arena(r->call);
    plan_ask *q = &r->ask;
    q->op = r->op;
    q->model = r->q->model;
    q->list = r->q->models;
    q->allowed = r->q->allowed;
    q->task = r->q->task;
    q->complexity = r->q->complexity;
    q->budget = r->q->budget;
    q->request = r->parsed && r->op == OP_CHAT ? &r->request : NULL;
    q->features = &r->features;
    q->answers = r->answers;
    q->cost = &r->cost;
    q->output = r->cost.answer_most;
    q->at_once = r->q->mode.n ? RACE_MOST : 0;
    q->conversation = conversation_of(r);
    int rc = router_providers_of(o, q->org, q->user, a, &q->providers, &q->n_providers);
    if (rc) return sv_fail(err, rc, NULL, NULL);
    q->now_us = r->started_us;
    q->unix_ms = loop_unix_us(o->loop) / 1000;
    memcpy(&q->seed, sv_call_id(r->call)->b + 8, sizeof q->seed);
    if ((rc = planner_choose(o->planner, q, a, &r->plan, err))) return rc;
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->plan.n; i++) {
        if (!can_answer(r, &r->plan.items[i])) continue;
        r->plan.items[n] = r->plan.items[i];
        r->infos[n] = *r->plan.items[n].info;
        r->infos[n].id = arena_copy(a, sv_cstr(r->infos[n].id));
        if (r->infos[n].id == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
        r->plan.items[n].info = &r->infos[n];
        n++;
    }
    r->plan.n = n;
    if (!r->plan.task_known && r->parsed && r->op == OP_CHAT) guess_task(r);
    return n ? 0 : unable(r, err);
}

/* ---- what it may cost ---- */

static void go(relay *r)
{
    sv_error err = {0};
    int rc = course_begin(r, &err);
    if (rc) deliver_failure(r, NULL, rc, &err);
}

static void on_budget(void *arg, int code, budget_hold *hold, const sv_error *err)
{
    relay *r = arg;
    if (code) {
        deliver_failure(r, NULL, code, err);
        return;
    }
    r->hold = hold;
    go(r);
}

/* ---- the call ---- */

static void on_drained(sv_call *call)
{
    relay *r = sv_call_data(call);
    if (r->winner && r->winner->transfer) http_resume(r->winner->transfer);
}

/* Nobody needs to be asked how long a text is where the provider does not count. Ends the relay. */
static int count_here(relay *r)
{
    sv_call *call = r->call;
    char who[PROVIDER_NAME + 1];
    buf json;
    router_complete_head head = {.http_status = 200,
                                 .content_type = sv_cstr("application/json"),
                                 .model = sv_cstr(r->plan.items[0].model), /* of the call's arena */
                                 .attempts = 0};
    snprintf(who, sizeof who, "%s", provider_label(r->plan.items[0].provider));
    head.provider = sv_cstr(who);
    buf_init(&json, 256);
    anthropic_put_count(&json, r->features.prompt_tokens);
    relay_free(r);
    int rc = sv_reply_with(call, &head, buf_str(&json));
    buf_free(&json);
    return rc;
}

static relay *relay_new(router *o, sv_call *call, const router_complete_req *q, const endpoint *e)
{
    relay *r = calloc(1, sizeof *r);
    if (r == NULL) return NULL;
    r->router = o;
    r->call = call;
    r->q = q;
    r->body = sv_call_attachment(call);
    r->op = e->op;
    r->client = e->client;
    r->path = e->path;
    r->stream = q->stream;
    r->all = sv_str_is(q->mode, "all");
    r->said_all = q->continued && q->stream;
    r->priced = true;
    r->started_us = loop_now_us(o->loop);
    buf_init(&r->said, SAID_MAX);
    buf_init(&r->last, SSE_EVENT_BYTES + 65536);
    return r;
}

static void begin_decision(relay *r)
{
    decision_start s = {.org = r->ask.org,
                        .user = r->ask.user,
                        .key = r->key_id,
                        .asked = r->q->model,
                        .endpoint = r->q->endpoint.n ? r->q->endpoint : sv_cstr("chat"),
                        .stream = r->stream,
                        .keep = r->q->explain,
                        .now_us = r->started_us,
                        .unix_ms = loop_unix_us(r->router->loop) / 1000};
    r->decision = decision_begin(r->router->decisions, sv_instance(r->router->process), &s);
    decision_id(r->decision, r->decision_id);
}

static int prepare(relay *r, sv_error *err)
{
    int rc = check_mode(r, err);
    if (rc) return rc;
    who_asks(r);
    begin_decision(r);
    return understand(r, err);
}

/* From here on the caller's own providers are known. *ret_count: a count is all that is to be told. */
static int proceed(relay *r, bool *ret_count, sv_error *err)
{
    *ret_count = false;
    int rc = choose(r, err);
    if (rc) return rc;
    decision_plan(r->decision, &r->plan);
    if (r->op == OP_COUNT && r->plan.items[0].provider->format != LLM_ANTHROPIC) {
        *ret_count = r->parsed;
        return r->parsed ? 0 : unable(r, err);
    }
    rc = spend_take(r, on_budget, err);
    return rc ? rc : course_begin(r, err);
}

static void on_tenants(void *arg, bool ready)
{
    relay *r = arg;
    sv_error err = {0};
    bool count = false;
    int rc = ready ? proceed(r, &count, &err)
                   : sv_fail(&err, SV_E_UNAVAILABLE, NULL,
                             "Providers of users and organizations are not known at the moment.");
    if (count)
        count_here(r);
    else if (rc && rc != SV_PENDING)
        deliver_failure(r, NULL, rc, &err);
}

/* At once, unless the router has just started. */
static int go_on(relay *r, bool *ret_count, sv_error *err)
{
    tenants *t = r->router->tenants;
    *ret_count = false;
    if (t == NULL || r->ask.org.n == 0 || tenants_ready(t)) return proceed(r, ret_count, err);
    r->tenants = (tenants_wait){.fn = on_tenants, .arg = r};
    tenants_wait_for(t, &r->tenants);
    return SV_PENDING;
}

int router_complete(sv_call *call, const void *request)
{
    const router_complete_req *q = request;
    router *o = sv_process_state(sv_call_process(call));
    sv_str body = sv_call_attachment(call);
    sv_error *err = sv_call_error(call);
    const endpoint *e = endpoint_of(q->endpoint);
    int rc = check(call, q, e, body);
    if (rc == 0) rc = ledger_ready(&o->ledger, err);
    if (rc) return rc;
    if (o->demo && e->op == OP_CHAT && planner_means_demo(o->planner, q->model))
        return demo_complete(o, call, q, e->client, body);
    relay *r = relay_new(o, call, q, e);
    if (r == NULL) return SV_E_NO_MEMORY;
    bool count = false;
    sv_call_set_data(call, r);
    sv_on_cancel(call, deliver_cancelled);
    sv_on_drained(call, on_drained);
    rc = prepare(r, err);
    if (rc == 0) rc = go_on(r, &count, err);
    if (count) return count_here(r);
    if (rc && rc != SV_PENDING) {
        r->outcome = rc;
        relay_free(r);
        return rc;
    }
    return SV_PENDING;
}
