/*  course.c - which leg comes next.
 *
 *  A failure before the first content is answered by what it says about whom: a key that is refused is
 *  dead for this request; one that is limited rests while another is there; a provider that stumbles is
 *  tried once more; then the next candidate has its turn. A request that is wrong is wrong everywhere.
 *  Tries are bounded (router.attempts), pauses by Retry-After and by the call's time. */
#include "relay.h"

#include "log.h"
#include "uuid.h"

enum {
    STUMBLES = 4,   /* tries of the only provider there is */
    AGAIN_MS = 100, /* before a second try after a stumble, and up to as much again */
    RATE_MS = 500,  /* first pause of a limit that names none; doubles */
    RATE_MOST_MS = 8000,
    WAIT_MOST_MS = 60000, /* Retry-After is obeyed up to this */
    WAIT_SHORT_MS = 2000, /* and up to this when somebody else could be asked */
    CLOSED_MOST_MS =
        10000, /* a provider that rests is waited for so long when it is the only one */
    HEDGE_LEAST_MS = 20,
    ALL_KEYS = 0xff,
    HEDGE_PATIENCE = 4 /* times longer that a second call waits when they are nearly used up */
};

typedef enum step { STEP_STOP, STEP_NEXT, STEP_KEY, STEP_AGAIN } step;

/* ---- who is left ---- */

static bool key_left(const relay *r, uint32_t place, uint32_t *key)
{
    const provider *p = r->plan.items[place].provider;
    uint8_t out = r->dead[place] | r->limited[place];
    if (p->n_keys == 0) {
        *key = 0;
        return out == 0;
    }
    for (uint32_t k = 0; k < p->n_keys; k++)
        if (!(out & 1u << k)) {
            *key = k;
            return true;
        }
    return false;
}

static bool rests(const relay *r, uint32_t place, uint32_t key, uint64_t *until_us)
{
    const candidate *c = &r->plan.items[place];
    uint64_t now_us = loop_now_us(r->router->loop);
    const health_entry *e =
        health_find(r->router->health, provider_tag(c->provider), sv_cstr(c->model), key);
    bool probe;
    *until_us = 0;
    if (e == NULL || health_allows(e, now_us, &probe)) return false;
    health_figures f;
    health_look(e, now_us, &f);
    *until_us = f.open_until_us;
    return true;
}

static bool large_enough(const relay *r, uint32_t place)
{
    int64_t context = r->plan.items[place].info->context;
    return r->larger_than == 0 || context == 0 || context > r->larger_than;
}

static bool may_begin(const relay *r, uint32_t place)
{
    return r->first_code == 0 || (r->plan.items[place].info->can & MODEL_CAN_PREFILL);
}

/* The first candidate from `from` on that can be called now, else the first that rests. */
static bool find_next(const relay *r, uint32_t from, uint32_t *place, uint32_t *key,
                      uint64_t *until_us)
{
    bool found = false;
    for (uint32_t i = from; i < r->plan.n; i++) {
        uint32_t k;
        uint64_t until;
        if (!key_left(r, i, &k) || !large_enough(r, i) || !may_begin(r, i)) continue;
        bool closed = rests(r, i, k, &until);
        if (closed && found) continue;
        *place = i;
        *key = k;
        *until_us = until;
        found = true;
        if (!closed) return true;
    }
    return found;
}

/* ---- legs ---- */

static uint32_t under_way(const relay *r)
{
    uint32_t n = 0;
    for (const leg *l = r->legs; l; l = l->next)
        n += !l->over;
    return n;
}

static void on_hedge(void *arg);

/* A second call when the first is later than nineteen of twenty were. */
static void plan_hedge(relay *r, const leg *l)
{
    router *o = r->router;
    if (o->hedge_percent == 0 || r->made > 1 || r->q->mode.n || r->op != OP_CHAT ||
        l->health == NULL)
        return;
    uint64_t wait_us = health_late_us(l->health, l->started_us, r->stream);
    if (wait_us == 0) return;
    /* The less there is left to spend, the longer: what is only a little late must not use up what
     * those that are stuck need. */
    wait_us += (uint64_t)((double)wait_us * HEDGE_PATIENCE * (1 - o->hedge_credit / HEDGE_BURST));
    if (wait_us < HEDGE_LEAST_MS * 1000) wait_us = HEDGE_LEAST_MS * 1000;
    loop_timer_set(o->loop, &r->hedge_timer, wait_us, on_hedge, r);
}

static int begin_paid(relay *r, const leg_start *s, sv_error *err)
{
    leg *l;
    r->place = s->place;
    return leg_begin(r, s, &l, err);
}

void course_called(leg *l)
{
    if (!l->hedge) plan_hedge(l->relay, l);
}

static void on_granted(void *arg, int code, budget_hold *hold, const sv_error *err);

/* What continues an answer may have to wait for its budget; a hedge is not worth waiting for. */
static int begin(relay *r, uint32_t place, uint32_t key, bool hedge, sv_error *err)
{
    leg_start s = {.place = place, .key = key, .hedge = hedge};
    int rc = 0;
    if (hedge || r->first_code) rc = spend_take_further(r, place, on_granted, &s.hold, err);
    if (rc == SV_PENDING && hedge) {
        budget_wait_cancel(&r->budget);
        return SV_E_OVERLOADED;
    }
    if (rc == 0) return begin_paid(r, &s, err);
    r->place = place;
    r->key = key;
    return rc == SV_PENDING ? 0 : rc;
}

static void on_hedge(void *arg)
{
    relay *r = arg;
    router *o = r->router;
    uint32_t place, key;
    uint64_t until_us;
    sv_error err = {0};
    if (r->winner || under_way(r) != 1 || o->hedge_credit < 1 || r->made >= o->attempts) return;
    if (!find_next(r, r->place + 1, &place, &key, &until_us) || until_us) {
        place = r->place;
        if (!key_left(r, place, &key) || rests(r, place, key, &until_us)) return;
    }
    if (begin(r, place, key, true, &err)) return;
    o->hedge_credit -= 1;
    metric_add(metric_one(M_PROVIDER_HEDGES), 1);
}

/* Of a continued answer it is the first failure that counts. */
static void tell_first(relay *r)
{
    r->winner = r->broken;
    deliver_failure(r, r->broken, r->first_code, r->first_words.code ? &r->first_words : NULL);
}

static void on_pause(void *arg)
{
    relay *r = arg;
    sv_error err = {0};
    uint32_t key;
    r->limited[r->place] = 0;
    if (!key_left(r, r->place, &key)) key = 0;
    int rc = begin(r, r->place, key, false, &err);
    if (rc) course_passed_over(r, r->place, rc, &err);
}

static int pause_then_begin(relay *r, uint32_t place, uint64_t wait_us)
{
    r->place = place;
    return loop_timer_set(r->router->loop, &r->pause, wait_us, on_pause, r);
}

/* 0, or SV_E_NOT_FOUND when nobody is left, or why the first that was passed over cannot begin. */
static int begin_next(relay *r, uint32_t from, sv_error *err)
{
    uint32_t place, key;
    uint64_t until_us, now_us = loop_now_us(r->router->loop);
    sv_error why = {0};
    while (find_next(r, from, &place, &key, &until_us)) {
        if (until_us > now_us && r->plan.n == 1 && until_us - now_us < CLOSED_MOST_MS * 1000ull)
            return pause_then_begin(r, place, until_us - now_us);
        int rc = begin(r, place, key, false, &why);
        if (rc == 0) return 0;
        r->dead[place] = ALL_KEYS; /* its format or its limits: the next one may do */
        if (rc == SV_E_NO_MEMORY) break;
    }
    if (err->code == 0) *err = why;
    return err->code ? err->code : SV_E_NOT_FOUND;
}

/* The budget of a continuation has answered. */
static void on_granted(void *arg, int code, budget_hold *hold, const sv_error *err)
{
    relay *r = arg;
    leg_start s = {.place = r->place, .key = r->key, .hold = hold};
    sv_error unused = {0};
    (void)err;
    if (code == 0 && begin_paid(r, &s, &unused) == 0) return;
    if (begin_next(r, r->place + 1, &unused)) tell_first(r);
}

static int begin_many(relay *r, sv_error *err)
{
    uint32_t n = 0, most = r->plan.n < RACE_MOST ? r->plan.n : RACE_MOST;
    for (uint32_t i = 0; i < most; i++) {
        uint32_t key;
        if (key_left(r, i, &key) && begin(r, i, key, false, err) == 0) n++;
    }
    return n ? 0 : err->code ? err->code : SV_E_MODEL_UNKNOWN;
}

int course_begin(relay *r, sv_error *err)
{
    router *o = r->router;
    double credit = o->hedge_credit + o->hedge_percent / 100.0;
    o->hedge_credit = credit < HEDGE_BURST ? credit : HEDGE_BURST;
    if (r->q->mode.n) return begin_many(r, err);
    return begin_next(r, 0, err);
}

void course_stop(relay *r)
{
    loop_timer_stop(r->router->loop, &r->pause);
    loop_timer_stop(r->router->loop, &r->hedge_timer);
}

/* ---- the winner ---- */

static void cancel_others(relay *r, const leg *winner)
{
    for (leg *l = r->legs; l; l = l->next) {
        if (l == winner || l->over) continue;
        leg_stop(l);
        leg_settle(l, SV_E_CANCELLED, false);
    }
}

bool course_content(leg *l)
{
    relay *r = l->relay;
    if (r->winner) return r->winner == l;
    r->winner = l;
    l->first_us = loop_now_us(r->router->loop);
    if (r->first_us == 0) r->first_us = l->first_us;
    if (l->ailing) health_first(l->health, l->first_us, l->probe);
    loop_timer_stop(r->router->loop, &l->first);
    course_stop(r);
    cancel_others(r, l);
    planner_answered(r->router->planner, &r->ask, l->who);
    int rc = deliver_commit(l);
    if (rc == 0) return true;
    if (rc == SV_E_CANCELLED)
        deliver_cancelled(r->call);
    else
        course_failed(l, rc, NULL);
    return false;
}

void course_complete(leg *l)
{
    relay *r = l->relay;
    int code = l->error_seen ? SV_E_PROVIDER_REFUSED : 0;
    if (r->stream) {
        leg_settle(l, code, true);
        deliver_end(r);
        return;
    }
    l->over = true;
    if (r->all) {
        l->done = true;
        leg_settle(l, code, under_way(r) == 0);
        if (under_way(r) == 0) deliver_all(r);
        return;
    }
    r->winner = l;
    l->first_us = r->first_us = loop_now_us(r->router->loop);
    course_stop(r);
    cancel_others(r, l);
    planner_answered(r->router->planner, &r->ask, l->who);
    deliver_answer(l, code);
}

/* ---- failures ---- */

static bool another_left(const relay *r, uint32_t place)
{
    uint32_t p, k;
    uint64_t until;
    return find_next(r, place + 1, &p, &k, &until);
}

static uint32_t jitter(uint32_t ms)
{
    uint32_t random;
    uuid_random(&random, sizeof random);
    return ms + random % (ms + 1);
}

static step after_limit(const relay *r, const leg *l, uint32_t *wait_ms)
{
    uint32_t key, tries = r->tries[l->place];
    if (key_left(r, l->place, &key)) return STEP_KEY;
    bool others = another_left(r, l->place);
    uint32_t backoff = (uint32_t)RATE_MS << (tries < 5 ? tries - 1 : 4);
    if (backoff > RATE_MOST_MS) backoff = RATE_MOST_MS;
    *wait_ms = l->retry_after_ms ? l->retry_after_ms : jitter(backoff);
    if (others && (tries > 1 || *wait_ms > WAIT_SHORT_MS)) return STEP_NEXT;
    return *wait_ms <= WAIT_MOST_MS ? STEP_AGAIN : STEP_STOP;
}

/* One that has begun to answer was paid for: it is tried once more, others up to `most` times. */
static step after_stumble(const relay *r, const leg *l, uint32_t *wait_ms)
{
    uint32_t tries = r->tries[l->place], most = l->status == 200 ? 2 : STUMBLES;
    bool others = another_left(r, l->place);
    *wait_ms = l->retry_after_ms ? l->retry_after_ms
                                 : jitter((uint32_t)AGAIN_MS << (tries < 5 ? tries : 5));
    if (others) return tries > 1 || *wait_ms > WAIT_SHORT_MS ? STEP_NEXT : STEP_AGAIN;
    return tries < most && *wait_ms <= WAIT_MOST_MS ? STEP_AGAIN : STEP_STOP;
}

static step after_refusal(relay *r, const leg *l, uint32_t *wait_ms)
{
    uint32_t key;
    uint8_t bit = (uint8_t)(1u << l->key);
    switch (l->failure.kind) {
    case LLM_FAIL_KEY:
    case LLM_FAIL_BILLING:
        r->dead[l->place] |= bit;
        return key_left(r, l->place, &key) ? STEP_KEY : STEP_NEXT;
    case LLM_FAIL_RATE: r->limited[l->place] |= bit; return after_limit(r, l, wait_ms);
    case LLM_FAIL_OVERLOAD:
    case LLM_FAIL_SERVER: return after_stumble(r, l, wait_ms);
    case LLM_FAIL_CONTEXT:
        r->larger_than = l->who->info->context > 0 ? l->who->info->context : 1;
        return STEP_NEXT;
    case LLM_FAIL_MODEL:
    case LLM_FAIL_PREFILL: return STEP_NEXT;
    case LLM_FAIL_OTHER: return l->status >= 500 ? after_stumble(r, l, wait_ms) : STEP_STOP;
    case LLM_FAIL_REQUEST:
    case LLM_FAIL_POLICY: break;
    }
    return STEP_STOP;
}

static step after_failure(relay *r, const leg *l, int code, uint32_t *wait_ms)
{
    switch (code) {
    case SV_E_PROVIDER_REFUSED: return after_refusal(r, l, wait_ms);
    case SV_E_PROVIDER_UNREACHABLE:
    case SV_E_PROVIDER_CUT: return after_stumble(r, l, wait_ms);
    case SV_E_PROVIDER_GARBAGE: return l->empty ? STEP_NEXT : after_stumble(r, l, wait_ms);
    case SV_E_PROVIDER_TIMEOUT:
    case SV_E_URL_FORBIDDEN: return STEP_NEXT;
    default: return STEP_STOP;
    }
}

/* Somebody goes on; or not, and then the failure is the answer. */
static bool go_on(relay *r, const leg *l, int code)
{
    sv_error err = {0};
    uint32_t wait_ms = 0, key;
    if (r->made >= r->router->attempts || r->all || r->q->mode.n) return false;
    switch (after_failure(r, l, code, &wait_ms)) {
    case STEP_STOP: return false;
    case STEP_NEXT: return begin_next(r, l->place + 1, &err) == 0;
    case STEP_KEY:
        if (key_left(r, l->place, &key) && begin(r, l->place, key, false, &err) == 0) return true;
        return begin_next(r, l->place + 1, &err) == 0;
    case STEP_AGAIN: break;
    }
    if (wait_ms + 100u >= sv_call_ttl_ms(r->call) || r->dead[l->place] == ALL_KEYS)
        return begin_next(r, l->place + 1, &err) == 0;
    return pause_then_begin(r, l->place, (uint64_t)wait_ms * 1000) == 0;
}

/* An answer that broke off is taken up by a model that takes a beginning. */
static bool continue_elsewhere(relay *r, const leg *l, int code, const sv_error *why)
{
    sv_error err = {0};
    if (!r->q->continued || !r->parsed || !r->said_all || r->said.n == 0 || r->first_code ||
        l->done || l->finished || r->client_gone || r->made >= r->router->attempts)
        return false;
    r->first_code = code;
    if (why) r->first_words = *why;
    r->broken = (leg *)l;
    r->winner = NULL;
    if (begin_next(r, l->place + 1, &err) == 0 || begin_next(r, 0, &err) == 0) return true;
    r->winner = r->broken;
    return false;
}

static void log_failure(const leg *l, int code, const sv_error *why)
{
    log_write(LOG_WARN, "a provider failed", LOG_STR("provider", provider_label(l->who->provider)),
              LOG_STR("model", l->who->model), LOG_STR("code", sv_error_lookup(code)->name),
              LOG_INT("status", l->status), LOG_INT("attempt", l->relay->made),
              LOG_STR("detail", why && why->detail[0] ? why->detail : ""),
              LOG_ID("request_id", sv_call_id(l->relay->call)));
}

static void give_up(relay *r, const leg *l, int code, const sv_error *why)
{
    if (r->first_code)
        tell_first(r);
    else if (l->empty && !r->all && !l->settled) /* settled: the next one was refused late */
        deliver_empty((leg *)l);
    else if (code == SV_E_PROVIDER_REFUSED && !r->head_sent)
        deliver_refusal(r, l);
    else
        deliver_failure(r, l, code, why);
}

void course_failed(leg *l, int code, const sv_error *why)
{
    relay *r = l->relay;
    sv_error words = why ? *why : (sv_error){0};
    bool committed = r->winner == l;
    leg_stop(l);
    bool last = under_way(r) == 0;
    /* Nothing in it: when nobody else is left it is the answer, and paid for. */
    bool open = l->empty && last && r->winner == NULL && r->first_code == 0 && !r->all;
    if (!open) leg_settle(l, code, r->all && last && deliver_has_some(r));
    log_failure(l, code, why);
    why = words.code ? &words : NULL;
    if (committed && r->head_sent) {
        if (!continue_elsewhere(r, l, code, why)) give_up(r, l, code, why);
        return;
    }
    if (r->winner && !committed) return;
    r->winner = NULL;
    r->failed = l;
    r->failed_code = code;
    r->failed_words = words;
    if (!last) return;
    course_stop(r);
    if (go_on(r, l, code))
        leg_settle(l, code, false);
    else if (r->all && deliver_has_some(r))
        deliver_all(r);
    else
        give_up(r, l, code, why);
}

void course_passed_over(relay *r, uint32_t place, int code, const sv_error *why)
{
    sv_error err = *why;
    leg *l = r->failed;
    r->dead[place] = ALL_KEYS;
    if (r->winner || under_way(r) > 0) return;
    if (r->first_code) {
        if (begin_next(r, place + 1, &err) && begin_next(r, 0, &err)) tell_first(r);
        return;
    }
    if (l ? go_on(r, l, r->failed_code) : !r->q->mode.n && begin_next(r, 0, &err) == 0) return;
    if (r->all && deliver_has_some(r))
        deliver_all(r);
    else if (l)
        give_up(r, l, r->failed_code, r->failed_words.code ? &r->failed_words : NULL);
    else
        deliver_failure(r, NULL, code, &err);
}
