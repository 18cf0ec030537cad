/*  attempt.c - facts become a row. */
#include "attempt.h"

#include "error.h"

const char *attempt_outcome(int code)
{
    switch (code) {
    case 0: return "ok";
    case SV_E_CANCELLED: return "cancelled";
    case SV_E_PROVIDER_TIMEOUT: return "timeout";
    case SV_E_PROVIDER_UNREACHABLE: return "unreachable";
    case SV_E_PROVIDER_CUT: return "cut";
    case SV_E_PROVIDER_TOO_LARGE: return "too_large";
    case SV_E_PROVIDER_REFUSED: return "refused";
    case SV_E_PROVIDER_GARBAGE: return "bad_answer";
    case SV_E_PROVIDER_LIMIT: return "limited";
    default: return "failed";
    }
}

static int64_t bounded(uint64_t us)
{
    return us < LEDGER_MOST ? (int64_t)us : LEDGER_MOST;
}

int attempt_note(router *r, const attempt *a, ledger_done *done, void *arg, ledger_item **wait,
                 sv_error *err)
{
    ledger_row row = ledger_row_of(a->call, &a->id);
    const tokens *t = a->tokens;
    row.asked = a->asked;
    row.model = sv_cstr(a->model);
    row.provider = sv_cstr(a->provider);
    row.listed = a->listed;
    row.streamed = a->streamed;
    row.own = a->own;
    row.outcome = sv_cstr(a->outcome);
    row.usage_known = t->known;
    row.prompt_tokens = t->prompt;
    row.completion_tokens = t->completion;
    row.cached_tokens = t->cached;
    row.reasoning_tokens = t->reasoning;
    row.price_known = a->priced;
    row.price = a->price;
    row.estimated = t->estimated;
    row.cache_write_tokens = t->cache_write;
    row.hedge = a->hedge;
    row.bad_tools = a->bad_tools;
    row.task = sv_cstr(a->task);
    row.finish = sv_cstr(a->finish);
    row.latency_us = bounded(a->latency_us);
    row.first_token_us = bounded(a->first_byte_us);
    return ledger_add(&r->ledger, &row, done, arg, wait, err);
}
