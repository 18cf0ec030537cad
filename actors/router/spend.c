/*  spend.c - what a request may cost in the end, and the budgets that are asked for it before a
 *  provider is. What a request takes when it comes is enough for one call after another, since a try
 *  that fails unseen costs nothing, and for all of those that `mode` begins at once. A hedge and a
 *  continuation are paid beside that, so each takes its own. Budgets of a model hold for each that may
 *  answer; where one is used up its candidates are left out, as long as there are others. Limits of a
 *  provider that somebody brought are taken for each call of it. */
#include "relay.h"

#include "budget_name.h"

#include <stdio.h>

/* ---- what is asked for ---- */

void spend_read(relay *r)
{
    static const cost_kind kinds[] = {
        [OP_CHAT] = COST_ANSWER,    [OP_EMBEDDINGS] = COST_PROMPT, [OP_TRANSCRIPTION] = COST_SOUND,
        [OP_IMAGE] = COST_PICTURES, [OP_MODERATION] = COST_CALL,   [OP_COUNT] = COST_PROMPT};
    bool embeds = r->op == OP_EMBEDDINGS && r->parsed;
    r->cost = (cost_ask){
        .kind = kinds[r->op],
        .prompt = embeds ? r->embed.prompt_tokens : r->features.prompt_tokens,
        .answer_most = r->features.max_tokens > 0 ? r->features.max_tokens : 0,
        .answers = r->request.n > 1 ? r->request.n : 1,
    };
    if (!r->parsed) cost_read_body(r->body, &r->cost);
    r->answers = r->op == OP_CHAT ? r->cost.answers : 1;
}

/* ---- the most that it can cost ---- */

typedef struct spend {
    int64_t micro, tokens;
} spend;

/* A prompt's tokens are an estimate: a quarter more. */
static int64_t with_margin(int64_t prompt)
{
    return prompt + prompt / 4 + 16;
}

/* By its list price. */
static spend most_listed(const relay *r, uint32_t place, int64_t prompt)
{
    cost_ask q = r->cost;
    spend s;
    q.prompt = prompt;
    cost_most(r->plan.items[place].info, &q, &s.micro, &s.tokens);
    return s;
}

/* To the platform, which does not pay for what is answered with keys of others. */
static spend most_of(const relay *r, uint32_t place, int64_t prompt)
{
    spend s = most_listed(r, place, prompt);
    if (r->plan.items[place].provider->source == FROM_TENANT) s.micro = 0;
    return s;
}

/* What is asked of several at once is paid of each. */
static spend most_of_all(const relay *r)
{
    spend most = {0, 0}, sum = {0, 0};
    int64_t prompt = with_margin(r->cost.prompt);
    for (uint32_t i = 0; i < r->plan.n; i++) {
        spend s = most_of(r, i, prompt);
        if (s.micro > most.micro) most.micro = s.micro;
        if (s.tokens > most.tokens) most.tokens = s.tokens;
        if (i >= RACE_MOST) continue;
        sum.micro += s.micro;
        sum.tokens += s.tokens;
    }
    return r->q->mode.n > 0 ? sum : most;
}

/* The platform pays, and nobody knows what. */
static bool is_unpriced(const relay *r, uint32_t place)
{
    provider_source source = r->plan.items[place].provider->source;
    int64_t micro, used;
    return source != FROM_TENANT && source != FROM_MACHINE &&
           !cost_most(r->plan.items[place].info, &r->cost, &micro, &used);
}

/* ---- the parts of models, for budgets that are about one ---- */

/* Names, and which candidates of the plan each is of. */
struct relay_shares {
    budget_share most[BUDGET_SHARES], did[BUDGET_SHARES];
    uint32_t places[BUDGET_SHARES]; /* bits */
    uint32_t n;
    bool asked; /* the name asked for is one of a candidate, also of one that was left out */
};

enum { NAMES = 3 /* of a candidate */ };
_Static_assert(PLAN_MOST *NAMES + 1 <= BUDGET_SHARES, "a name of a candidate finds no place");
_Static_assert(PLAN_MOST <= 32, "places are bits");

static void share_name(const relay *r, relay_shares *s, sv_str name, uint32_t place,
                       const spend *most)
{
    uint32_t i = 0;
    while (i < s->n && !sv_str_eq(s->most[i].model, name))
        i++;
    if (i == s->n) s->most[s->n++].model = name;
    if (s->places[i] >> place & 1) return;
    s->places[i] |= 1u << place;
    budget_share *to = &s->most[i];
    if (r->q->mode.n && place < RACE_MOST) {
        to->micro += most->micro;
        to->tokens += most->tokens;
    } else {
        if (most->micro > to->micro) to->micro = most->micro;
        if (most->tokens > to->tokens) to->tokens = most->tokens;
    }
}

/* As the file of models calls it, as its provider does, and with the provider in front. */
static int share_names(const relay *r, relay_shares *s, uint32_t place, const spend *most)
{
    char text[PROVIDER_NAME + MODEL_NAME + 2];
    const candidate *c = &r->plan.items[place];
    int n = snprintf(text, sizeof text, "%s/%s", c->provider->name, c->model);
    sv_str whole = {text, n < (int)sizeof text ? (uint32_t)n : (uint32_t)sizeof text - 1};
    whole.p = arena_copy(sv_call_arena(r->call), whole);
    if (whole.p == NULL) return SV_E_NO_MEMORY;
    if (c->info->id[0]) share_name(r, s, sv_cstr(c->info->id), place, most);
    share_name(r, s, sv_cstr(c->model), place, most);
    share_name(r, s, whole, place, most);
    return 0;
}

/* An alias, or auto, is a name of whatever it stands for. */
static void share_asked(const relay *r)
{
    relay_shares *s = r->shares;
    for (uint32_t i = 0; i < s->n; i++)
        s->asked = s->asked || sv_str_eq(s->most[i].model, r->q->model);
    if (s->asked) return;
    int64_t prompt = with_margin(r->cost.prompt);
    for (uint32_t i = 0; r->q->model.n && i < r->plan.n; i++) {
        spend most = most_of(r, i, prompt);
        share_name(r, s, r->q->model, i, &most);
    }
}

static int share_all(relay *r, sv_error *err)
{
    int64_t prompt = with_margin(r->cost.prompt);
    int rc = 0;
    bool again = r->shares != NULL;
    if (!again && !budgets_by_model(r->router->budgets)) return 0;
    if (r->shares == NULL) r->shares = arena_alloc(sv_call_arena(r->call), sizeof *r->shares);
    if (r->shares == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    *r->shares = (relay_shares){.asked = again && r->shares->asked};
    for (uint32_t i = 0; rc == 0 && i < r->plan.n; i++) {
        spend most = most_of(r, i, prompt);
        rc = share_names(r, r->shares, i, &most);
    }
    share_asked(r);
    return rc ? sv_fail(err, rc, NULL, NULL) : 0;
}

/* ---- taking it ---- */

static budget_ask ask_of(const relay *r, spend s, const relay_shares *shares)
{
    return (budget_ask){.org = r->ask.org,
                        .user = r->ask.user,
                        .key = r->key_id,
                        .micro = s.micro,
                        .tokens = s.tokens,
                        .ttl_ms = sv_call_ttl_ms(r->call),
                        .shares = shares ? shares->most : NULL,
                        .n_shares = shares ? shares->n : 0};
}

static void on_taken(void *arg, int code, budget_hold *hold, const sv_error *err);

static int take(relay *r, sv_error *err)
{
    int rc = share_all(r, err);
    if (rc) return rc;
    budget_ask a = ask_of(r, most_of_all(r), r->shares);
    for (uint32_t i = 0; r->router->refuse_unpriced && i < r->plan.n; i++)
        a.unpriced = a.unpriced || is_unpriced(r, i);
    r->budget = (budget_wait){.done = on_taken, .arg = r, .share = -1};
    return budget_take(r->router->budgets, &a, &r->hold, &r->budget, err);
}

/* Those of a model whose own budget has refused. False: nobody else is left, or all are wanted. */
static bool leave_out(relay *r, int share)
{
    plan *p = &r->plan;
    uint32_t out = share < 0 ? 0 : r->shares->places[share], kept = 0;
    for (uint32_t i = 0; i < p->n; i++)
        kept += !(out >> i & 1);
    if (r->all || kept == 0 || kept == p->n) return false;
    kept = 0;
    for (uint32_t i = 0; i < p->n; i++)
        if (!(out >> i & 1)) p->items[kept++] = p->items[i];
    p->n = kept;
    return true;
}

static void on_taken(void *arg, int code, budget_hold *hold, const sv_error *err)
{
    relay *r = arg;
    sv_error own = {0};
    if (code && leave_out(r, r->budget.share)) {
        code = take(r, &own);
        hold = r->hold;
        err = &own;
    }
    if (code != SV_PENDING) r->taken(r, code, code ? NULL : hold, err);
}

int spend_take(relay *r, spend_done *done, sv_error *err)
{
    r->taken = done;
    return take(r, err);
}

void spend_paid(leg *l, int64_t micro, int64_t used)
{
    relay *r = l->relay;
    relay_shares *s = r->shares;
    r->paid += micro;
    r->used_tokens += used;
    for (uint32_t i = 0; s && i < s->n; i++) {
        if (!(s->places[i] >> l->place & 1)) continue;
        s->did[i].micro += micro;
        s->did[i].tokens += used;
        s->did[i].called = true;
    }
}

void spend_settle(relay *r)
{
    budget_settle_shares(r->hold, r->paid, r->used_tokens, r->shares ? r->shares->did : NULL);
}

/* Of a continuation what was said so far is a part of the prompt. */
static int64_t prompt_now(const relay *r)
{
    int64_t said = r->first_code ? (int64_t)(r->said.n + 3) / 4 : 0;
    return with_margin(r->cost.prompt + said);
}

int spend_take_further(relay *r, uint32_t place, spend_done *done, budget_hold **ret, sv_error *err)
{
    spend s = most_of(r, place, prompt_now(r));
    relay_shares *one = r->shares ? arena_alloc(sv_call_arena(r->call), sizeof *one) : NULL;
    int rc = r->shares && one == NULL ? SV_E_NO_MEMORY : 0;
    if (one) memset(one, 0, sizeof *one);
    if (one) rc = share_names(r, one, place, &s);
    if (rc) return sv_fail(err, rc, NULL, NULL);
    budget_ask a = ask_of(r, s, one);
    a.further = true;
    r->budget = (budget_wait){.done = done, .arg = r, .share = -1};
    return budget_take(r->router->budgets, &a, ret, &r->budget, err);
}

/* ---- limits of one provider that somebody brought ---- */

/* What no minute and no period would ever be enough for. */
static int check_size(const leg *l, const spend *s, sv_error *err)
{
    const budget_caps *c = &l->who->provider->limits;
    const char *field = c->minute_tokens && s->tokens > c->minute_tokens ? "minute_tokens"
                        : c->day && s->micro > c->day                    ? "day"
                        : c->month && s->micro > c->month                ? "month"
                                                                         : NULL;
    if (field == NULL) return 0;
    sv_fail(err, SV_E_PROVIDER_LIMIT, field,
            "%s: this request may need more than its whole limit %s; a smaller max_tokens or a "
            "shorter prompt makes it fit.",
            provider_label(l->who->provider), field);
    if (err) err->final = true;
    return SV_E_PROVIDER_LIMIT;
}

int spend_take_own(leg *l, budget_wait_done *done, sv_error *err)
{
    static const budget_caps none = {0};
    const relay *r = l->relay;
    const provider *p = l->who->provider;
    char name[BUDGET_NAME + 1];
    if (memcmp(&p->limits, &none, sizeof none) == 0) return 0;
    spend s = r->op == OP_COUNT ? (spend){0, 0} : most_listed(r, l->place, prompt_now(r));
    uint32_t n = budget_name_provider(name, sv_cstr(p->org), sv_cstr(p->id));
    budget_one one = {.counter = {name, n}, .caps = p->limits};
    budget_ask a = {
        .one = &one, .micro = s.micro, .tokens = s.tokens, .ttl_ms = sv_call_ttl_ms(r->call)};
    l->own_wait = (budget_wait){.done = done, .arg = l};
    int rc = check_size(l, &s, err);
    return rc ? rc : budget_take(r->router->budgets, &a, &l->own_hold, &l->own_wait, err);
}

void spend_word_own(const leg *l, sv_error *err)
{
    char words[sizeof err->message];
    memcpy(words, err->message, sizeof words);
    snprintf(err->message, sizeof err->message, "%.70s: %.180s", provider_label(l->who->provider),
             words);
}
