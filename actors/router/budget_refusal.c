/*  budget_refusal.c - see budget_refusal.h. */
#include "budget_refusal.h"

#include "error.h"

#include <string.h>
#include <time.h>

enum { PAUSE_MS = 1000 };

/* Names are LEVEL.KIND/ORG...: whose budget it is. */
static const char *whose(sv_str counter)
{
    const char *dot = counter.n ? memchr(counter.p, '.', counter.n) : NULL;
    uint32_t n = dot ? counter.n - (uint32_t)(dot + 1 - counter.p) : 0;
    if (n > 4 && memcmp(dot + 1, "key/", 4) == 0) return "of this API key";
    if (n > 5 && memcmp(dot + 1, "user/", 5) == 0) return "of this user";
    return "of this organization";
}

int budget_refuse_money(sv_str counter, const char *period, int64_t until, sv_error *err)
{
    char when[32] = "";
    time_t at = (time_t)(until / 1000);
    struct tm t;
    const char *span = strcmp(period, "day") == 0     ? "for the day"
                       : strcmp(period, "month") == 0 ? "for the month"
                                                      : "in all";
    if (until && gmtime_r(&at, &t)) strftime(when, sizeof when, "%Y-%m-%d", &t);
    return sv_fail(err, SV_E_BUDGET, period,
                   "What is left of the budget %s %s is not enough for this request.%s%s%s",
                   whose(counter), span, when[0] ? " It begins anew on " : "", when,
                   when[0] ? " (UTC)." : "");
}

int budget_refuse_minute(bool tokens, uint32_t wait_ms, sv_error *err)
{
    sv_fail(err, SV_E_LIMIT_TOKENS, tokens ? "minute_tokens" : "minute_requests", NULL);
    if (err) err->retry_after_ms = wait_ms ? wait_ms : PAUSE_MS;
    return SV_E_LIMIT_TOKENS;
}

int budget_unknown(sv_error *err)
{
    sv_fail(err, SV_E_UNAVAILABLE, NULL,
            "Whether the budget allows this cannot be asked at the moment.");
    if (err) err->retry_after_ms = PAUSE_MS;
    return SV_E_UNAVAILABLE;
}
