/*  usage_methods.c - router.usage, router.usage_check and router.rankings, of a router that runs and of
 *  one that does not. Every piece is read on the pool, since there may be many. */
#include "router.h"
#include "rank.h"
#include "ticket.h"
#include "usage.h"

#include <time.h>

enum { AWAY_MS = 5, AWAY_TRIES = 200, LONG_US = 1000000 };

/* One step on the pool; waits a moment for a store that is being opened again. */
static int step(sv_call *call, int (*fn)(void *arg), void *arg, sv_error *err)
{
    for (int tries = 0;; tries++) {
        if (sv_call_cancelled(call)) return SV_E_CANCELLED;
        *err = (sv_error){0};
        int rc = sv_work(call, fn, arg);
        bool away = err->code == SV_E_STORE_IO && err->retry_after_ms > 0;
        if (rc && err->code) *sv_call_error(call) = *err;
        if (!away || tries == AWAY_TRIES) return rc;
        *sv_call_error(call) = (sv_error){0};
        if ((rc = sv_sleep(call, AWAY_MS))) return rc;
    }
}

static store *own_store(sv_call *call)
{
    store *s = sv_store(sv_call_process(call));
    if (s == NULL) sv_fail(sv_call_error(call), SV_E_DRAINING, NULL, NULL);
    return s;
}

/* An answer ends when it is full, or after a second: whoever asks goes on. */
static int report(sv_call *call, usage_report *u)
{
    uint64_t until_us = clock_us() + LONG_US;
    int rc = 0;
    while (rc == 0 && !u->done && !u->full && clock_us() < until_us)
        rc = step(call, usage_report_step, u, &u->err);
    if (rc) return rc;
    router_usage_reply reply = usage_report_reply(u);
    return sv_reply(call, &reply);
}

int router_usage(sv_call *call, const void *request)
{
    store *s = own_store(call);
    usage_report *u = arena_alloc(sv_call_arena(call), sizeof *u);
    if (s == NULL || u == NULL) return s ? SV_E_NO_MEMORY : SV_E_DRAINING;
    int rc = usage_report_begin(u, s, request, sv_call_arena(call));
    if (rc)
        *sv_call_error(call) = u->err;
    else
        rc = report(call, u);
    usage_report_free(u);
    return rc;
}

static int mend(sv_call *call, usage_check *k)
{
    uint32_t changed = 0;
    int rc = store_write(call, ledger_mend, &k->mend, &changed);
    if (rc == 0) usage_check_mended(k, changed);
    return rc;
}

static int check_all(sv_call *call, usage_check *k)
{
    int rc = 0;
    while (rc == 0 && k->phase != CHECK_DONE)
        rc = k->phase == CHECK_MEND ? mend(call, k) : step(call, usage_check_step, k, &k->err);
    return rc ? rc : sv_reply(call, &k->reply);
}

int router_usage_check(sv_call *call, const void *request)
{
    store *s = own_store(call);
    usage_check *k = arena_alloc(sv_call_arena(call), sizeof *k);
    if (s == NULL || k == NULL) return s ? SV_E_NO_MEMORY : SV_E_DRAINING;
    int rc = usage_check_begin(k, s, request, sv_call_arena(call));
    if (rc)
        *sv_call_error(call) = k->err;
    else
        rc = check_all(call, k);
    usage_check_free(k);
    return rc;
}

/* ---- rankings ---- */

/* A user sees what his organization has asked for: models of its own have names of its own. */
static int whose(sv_call *call, sv_str *ret_org)
{
    ticket t;
    sv_str bytes = sv_call_ticket(call); /* the broker has verified it */
    *ret_org = (sv_str){NULL, 0};
    if (bytes.n == 0 && strcmp(sv_call_caller(call), "operator") == 0) return 0;
    if (bytes.n == 0)
        return sv_fail(
            sv_call_error(call), SV_E_NO_CREDENTIALS, NULL,
            "Rankings are those of an organization: the call needs the ticket of a user.");
    int rc = ticket_read(bytes, &t, sv_call_error(call));
    for (uint32_t i = 0; rc == 0 && i < t.n_roles; i++)
        if (sv_str_is(t.roles[i], "platform_admin")) return 0;
    if (rc == 0) *ret_org = t.org.p ? t.org : sv_cstr("");
    return rc;
}

static int64_t today(void)
{
    return date_of_ms((int64_t)time(NULL) * 1000);
}

static int rank_all(sv_call *call, rank_report *r)
{
    uint64_t until_us = clock_us() + LONG_US;
    int rc = 0;
    while (rc == 0 && !r->done && !r->full && clock_us() < until_us)
        rc = step(call, rank_report_step, r, &r->err);
    if (rc) return rc;
    router_rankings_reply reply = rank_report_reply(r);
    return sv_reply(call, &reply);
}

int router_rankings(sv_call *call, const void *request)
{
    sv_str org;
    store *s = own_store(call);
    rank_report *r = arena_alloc(sv_call_arena(call), sizeof *r);
    if (s == NULL || r == NULL) return s ? SV_E_NO_MEMORY : SV_E_DRAINING;
    int rc = whose(call, &org);
    if (rc) return rc;
    rc = rank_report_begin(r, s, request, org, today(), sv_call_arena(call));
    if (rc)
        *sv_call_error(call) = r->err;
    else
        rc = rank_all(call, r);
    rank_report_free(r);
    return rc;
}

/* ---- without a process ---- */

int rankings_answer(sv_offline *o, const void *request, void *reply)
{
    rank_report *r = arena_alloc(o->arena, sizeof *r);
    if (r == NULL) return SV_E_NO_MEMORY;
    int rc = rank_report_begin(r, o->store, request, (sv_str){NULL, 0}, today(), o->arena);
    while (rc == 0 && !r->done && !r->full)
        rc = rank_report_step(r);
    if (rc) *o->err = r->err;
    *(router_rankings_reply *)reply = rank_report_reply(r);
    rank_report_free(r);
    return rc;
}

int usage_answer(sv_offline *o, const void *request, void *reply)
{
    usage_report *u = arena_alloc(o->arena, sizeof *u);
    if (u == NULL) return SV_E_NO_MEMORY;
    int rc = usage_report_begin(u, o->store, request, o->arena);
    while (rc == 0 && !u->done && !u->full)
        rc = usage_report_step(u);
    if (rc) *o->err = u->err;
    *(router_usage_reply *)reply = usage_report_reply(u);
    usage_report_free(u);
    return rc;
}

int usage_check_answer(sv_offline *o, const void *request, void *reply)
{
    usage_check *k = arena_alloc(o->arena, sizeof *k);
    if (k == NULL) return SV_E_NO_MEMORY;
    int rc = usage_check_begin(k, o->store, request, o->arena);
    while (rc == 0 && k->phase != CHECK_DONE) {
        uint32_t changed = 0;
        if (k->phase != CHECK_MEND)
            rc = usage_check_step(k);
        else if ((rc = o->write(o, ledger_mend, &k->mend, &changed)) == 0)
            usage_check_mended(k, changed);
    }
    if (rc && k->err.code) *o->err = k->err;
    *(router_usage_check_reply *)reply = k->reply;
    usage_check_free(k);
    return rc;
}

bool usage_check_writes(const void *request)
{
    return ((const router_usage_check_req *)request)->repair;
}
