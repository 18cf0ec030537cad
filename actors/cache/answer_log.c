/*  answer_log.c - operations have the names that the router gives them. */
#include "answer_log.h"

#include "log.h"

static const char *operation_of(sv_str endpoint)
{
    static const char *const names[][2] = {{"completions", "text_completion"},
                                           {"embeddings", "embeddings"},
                                           {"ollama_embed", "embeddings"},
                                           {"moderations", "moderation"},
                                           {"count_tokens", "count_tokens"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (sv_str_is(endpoint, names[i][0])) return names[i][1];
    return "chat";
}

static void write_line(const answer_given *g)
{
    const router_complete_head *h = g->head;
    const router_complete_end *e = g->end;
    sv_str model = e->model.n ? e->model : h->model;
    log_write(LOG_INFO, "completion",
              LOG_STR("gen_ai.operation.name", operation_of(g->request->endpoint)),
              LOG_SLICE("gen_ai.provider.name", e->provider.n ? e->provider : h->provider),
              LOG_SLICE("gen_ai.original.model", g->request->model),
              LOG_SLICE("gen_ai.request.model", model),
              LOG_INT("gen_ai.usage.input_tokens", e->prompt_tokens),
              LOG_INT("gen_ai.usage.output_tokens", e->completion_tokens),
              LOG_BOOL("stream", g->request->stream), LOG_INT("attempts", 0), LOG_INT("cost", 0),
              LOG_BOOL("priced", true), LOG_INT("saved", e->price), LOG_SLICE("task", h->task),
              LOG_SLICE("org", g->org), LOG_SLICE("user", g->user), LOG_STR("cache", g->how),
              LOG_INT("age_s", g->age_s), LOG_INT("total_ms", g->took_us / 1000));
}

void answer_log(const answer_given *g)
{
    bool own = !log_has_context();
    if (own) log_context(sv_call_id(g->call), sv_call_trace(g->call));
    write_line(g);
    if (own) log_context(NULL, NULL);
}
