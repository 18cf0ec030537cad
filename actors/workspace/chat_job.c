/*  chat_job.c - an answer's facts, from the router's messages and into those for the caller. */
#include "chat_job.h"

#include "error.h"

#include <stdio.h>

enum { HEAD_ARENA = 65536 };

void chat_copy(char *to, size_t size, sv_str s)
{
    snprintf(to, size, "%.*s", SV_FMT(s));
}

sv_str chat_said(const char *s)
{
    return s[0] ? sv_cstr(s) : (sv_str){NULL, 0};
}

/* ---- from the router ---- */

static int64_t count_of(int64_t n)
{
    return n < 0 ? 0 : n;
}

int chat_take_head(chat_job *j, sv_str body, sv_error *err)
{
    router_complete_head h;
    chat_facts *f = &j->facts;
    arena a;
    arena_init(&a, HEAD_ARENA);
    int rc = message_decode(&router_complete_head_msg, body, MESSAGE_LENIENT, &a, &h, err);
    if (rc == 0) {
        chat_copy(f->provider, sizeof f->provider, h.provider);
        chat_copy(f->model, sizeof f->model, h.model);
        chat_copy(f->task, sizeof f->task, h.task);
        chat_copy(f->decision, sizeof f->decision, h.decision);
        chat_copy(f->cache, sizeof f->cache, h.cache);
        f->age_s = h.age_s;
        f->prompt_tokens = count_of(h.prompt_tokens);
        f->completion_tokens = count_of(h.completion_tokens);
        f->priced = h.priced;
        f->price = h.price;
        f->whole = h.whole;
        j->retry_after_ms = (uint32_t)h.retry_after_ms;
        if (h.http_status >= 300) j->refused = h.http_status;
    }
    arena_free(&a);
    return rc ? sv_fail(err, SV_E_PROVIDER_GARBAGE, NULL, NULL) : 0;
}

int chat_take_end(chat_job *j, sv_str body, sv_error *err)
{
    router_complete_end e;
    chat_facts *f = &j->facts;
    arena a;
    arena_init(&a, HEAD_ARENA);
    int rc = message_decode(&router_complete_end_msg, body, MESSAGE_LENIENT, &a, &e, err);
    if (rc == 0) {
        if (e.provider.n) chat_copy(f->provider, sizeof f->provider, e.provider);
        if (e.model.n) chat_copy(f->model, sizeof f->model, e.model);
        if (e.decision.n) chat_copy(f->decision, sizeof f->decision, e.decision);
        f->prompt_tokens = count_of(e.prompt_tokens);
        f->completion_tokens = count_of(e.completion_tokens);
        f->priced = e.priced;
        f->price = e.price;
        f->whole = e.whole;
        if (e.error.n) {
            const sv_error_info *info = sv_error_by_name(e.error);
            rc = info ? info->code : SV_E_PROVIDER_CUT;
            sv_fail(err, rc, NULL, j->reader.failed[0] ? "%s" : NULL, j->reader.failed);
        }
    }
    arena_free(&a);
    return rc;
}

int chat_refusal(const chat_job *j, sv_error *err)
{
    char words[CHAT_REASON + 1];
    bool any = chat_read_error(buf_str(&j->refusal), words);
    int code;
    switch (j->refused) {
    case 400:
    case 413:
    case 422: code = SV_E_INVALID; break;
    case 404: code = SV_E_MODEL_UNKNOWN; break;
    case 429: code = SV_E_LIMIT_TOKENS; break;
    default: code = SV_E_PROVIDER_REFUSED; break;
    }
    sv_fail(err, code, NULL, any ? "The provider said: %s" : NULL, any ? words : "");
    err->retry_after_ms = j->retry_after_ms;
    return code;
}

/* ---- to the caller ---- */

void chat_say_done(const chat_job *j, workspace_chat_usage *usage, char cost[CHAT_COST + 1],
                   workspace_chat_done *ret)
{
    const chat_facts *f = &j->facts;
    *usage = (workspace_chat_usage){.prompt_tokens = f->prompt_tokens,
                                    .completion_tokens = f->completion_tokens,
                                    .total_tokens = f->prompt_tokens + f->completion_tokens};
    *ret = (workspace_chat_done){.model = chat_said(f->model),
                                 .provider = chat_said(f->provider),
                                 .task = chat_said(f->task),
                                 .usage = usage,
                                 .cost = chat_cost(f->priced, f->price, cost),
                                 .decision_id = chat_said(f->decision),
                                 .finish = chat_said(f->finish)};
    if (f->cache[0] && strcmp(f->cache, "miss") != 0) ret->cached = sv_cstr(f->cache);
    if (j->stored) {
        ret->session_id = sv_cstr(j->session);
        ret->message_id = sv_cstr(j->answer_id);
    }
}

router_complete_head chat_own_head(const chat_job *j, const char *type)
{
    const chat_facts *f = &j->facts;
    return (router_complete_head){.http_status = 200,
                                  .content_type = sv_cstr(type),
                                  .provider = chat_said(f->provider),
                                  .model = chat_said(f->model),
                                  .decision = chat_said(f->decision),
                                  .task = chat_said(f->task),
                                  .cache = chat_said(f->cache),
                                  .age_s = f->age_s,
                                  .attempts = 1};
}
