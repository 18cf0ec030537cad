/*  budget_refusal.c - see budget_refusal.h. */
#include "budget_refusal.h"

#include "budget_name.h"
#include "error.h"

#include <string.h>
#include <time.h>

enum { PAUSE_MS = 1000, SOON_MS = 60000 };

/* Names are LEVEL.KIND/ORG...: whose budget it is. */
static const char *whose(sv_str counter)
{
    const char *dot = counter.n ? memchr(counter.p, '.', counter.n) : NULL;
    uint32_t n = dot ? counter.n - (uint32_t)(dot + 1 - counter.p) : 0;
    if (n > 4 && memcmp(dot + 1, "key/", 4) == 0) return "of this API key";
    if (n > 5 && memcmp(dot + 1, "user/", 5) == 0) return "of this user";
    if (budget_name_is_provider(counter)) return "of this provider";
    return "of this organization";
}

/* A client may come again, and need not try before. */
static void say_when(int64_t ms, bool soon, sv_error *err)
{
    if (err == NULL) return;
    err->retry_after_ms = ms < 1 ? 1 : ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
    err->final = !soon;
}

int budget_refuse_money(sv_str counter, const char *period, int64_t until, int64_t now_ms,
                        sv_error *err)
{
    bool provider = budget_name_is_provider(counter);
    char when[32] = "";
    time_t at = (time_t)(until / 1000);
    struct tm t;
    const char *span = strcmp(period, "day") == 0     ? "for the day"
                       : strcmp(period, "month") == 0 ? "for the month"
                                                      : "in all";
    if (until && gmtime_r(&at, &t)) strftime(when, sizeof when, "%Y-%m-%d", &t);
    int code = sv_fail(err, provider ? SV_E_PROVIDER_LIMIT : SV_E_BUDGET, period,
                       "What is left of the %s %s %s is not enough for this request.%s%s%s",
                       provider ? "limit" : "budget", whose(counter), span,
                       when[0] ? " It begins anew on " : "", when, when[0] ? " (UTC)." : "");
    if (provider && until) say_when(until - now_ms, until - now_ms <= SOON_MS, err);
    return code;
}

int budget_refuse_minute(sv_str counter, bool tokens, uint32_t wait_ms, sv_error *err)
{
    const char *what = tokens ? "minute_tokens" : "minute_requests";
    int code = SV_E_LIMIT_TOKENS;
    if (budget_name_is_provider(counter))
        code =
            sv_fail(err, SV_E_PROVIDER_LIMIT, what,
                    "What is left of the %s that this provider may have in a minute is not enough "
                    "for this request.",
                    tokens ? "tokens" : "requests");
    else
        sv_fail(err, code, what, NULL);
    say_when(wait_ms ? wait_ms : PAUSE_MS, true, err);
    return code;
}

int budget_refuse_unpriced(sv_str counter, sv_error *err)
{
    return sv_fail(
        err, SV_E_BUDGET, "model",
        "The price of this model is not known, and a budget %s limits money: name another "
        "model, or have its price set (router.prices, router.model_info).",
        whose(counter));
}

int budget_unknown(sv_error *err)
{
    sv_fail(err, SV_E_UNAVAILABLE, NULL,
            "Whether the budget allows this cannot be asked at the moment.");
    if (err) err->retry_after_ms = PAUSE_MS;
    return SV_E_UNAVAILABLE;
}
