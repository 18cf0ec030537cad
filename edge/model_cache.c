/*  model_cache.c - Cache-Control and the key's own rule become cache_complete_req. */
#include "model_cache.h"

#include "question.h"

static bool endpoint_is_kept(sv_str endpoint)
{
    return !sv_str_is(endpoint, "transcriptions") && !sv_str_is(endpoint, "images") &&
           !sv_str_is(endpoint, "count_tokens");
}

bool model_cache_may(const model_request *m, const identity *who, int64_t keep_s, model_cache *ret)
{
    int64_t by_key = who ? who->cache_s : 0;
    json_value question;
    bool meant = m->semantic && question_find(m->req.endpoint, m->body, &question);
    bool wanted = m->zero_temperature || m->max_age_s > 0 || by_key > 0 || meant;
    if (!wanted || m->no_store || by_key < 0 || m->req.mode.n || m->req.continued ||
        m->body.n > CACHE_BODY_BYTES || !endpoint_is_kept(m->req.endpoint))
        return false;
    if (by_key > 0) keep_s = by_key;
    if (m->max_age_s > keep_s) keep_s = m->max_age_s;
    cache_scope scope = {.own = m->own_only};
    if (who) {
        scope.org = sv_cstr(who->org);
        scope.user = sv_cstr(who->user);
    }
    *ret = (model_cache){.req = {.request = (router_complete_req *)&m->req,
                                 .keep_s = keep_s < CACHE_KEEP_MOST_S ? keep_s : CACHE_KEEP_MOST_S,
                                 .age_s = m->max_age_s > 0 ? m->max_age_s : 0,
                                 .anew = m->no_cache || m->max_age_s == 0,
                                 .own = m->own_only,
                                 .semantic = meant}};
    if (ret->req.age_s > CACHE_KEEP_MOST_S) ret->req.age_s = CACHE_KEEP_MOST_S;
    /* Questions of one bucket are for one instance. */
    sv_str none = {NULL, 0};
    if (meant) return cache_bucket(&scope, &m->req, m->body, question, none, ret->key) == 0;
    return cache_key(&scope, &m->req, m->body, none, ret->key) == 0;
}
