/*  access.c - identities live in sets of eight by the credential's hash; the one that was used longest
 *  ago makes room. */
#include "access.h"

#include "error.h"
#include "log.h"
#include "sha256.h"
#include "uuid.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    WAYS = 8, /* a place for nearly each of ACCESS_IDENTITIES / 2, however they fall */
    SETS = ACCESS_IDENTITIES / WAYS,
    KEY_LIFE_S = 300,
    TICKET_S = 900,
    TICKET_LEFT_S = 60,
    KEY_ASK_MS = 5000,
    KEY_BYTES = 256,
    USED_TELL_US = 60000000,
    USED_PIECE = 256
};

typedef struct key_ask {
    TAILQ_ENTRY(key_ask) link;
    struct access *a;
    uint8_t hash[32];
    sv_stream *stream;
    TAILQ_HEAD(key_waiters, access_wait) waiting;
} key_ask;

struct access {
    sv_process *p;
    loop *l;
    operator_identity *signer;
    revoked *revoked;
    int64_t sequence; /* when the copy last changed */
    bool may_open;
    identity *sets[SETS][WAYS];
    identity *anybody; /* the operator of open access */
    TAILQ_HEAD(key_asks, key_ask) asks;
    uint32_t n_asks;
    uint64_t told_us;
    uint32_t told_set; /* sets before it were told in this round */
    sv_stream *telling;
    arena arena;
};

static uint64_t now_s(const access *a)
{
    return loop_unix_us(a->l) / 1000000;
}

/* ---- identities ---- */

identity *identity_take(identity *who)
{
    if (who) who->refs++;
    return who;
}

void identity_drop(identity *who)
{
    if (who == NULL || --who->refs > 0) return;
    free(who->models.items);
    free(who);
}

static identity **place_of(access *a, const uint8_t hash[32])
{
    uint32_t n;
    memcpy(&n, hash, sizeof n); /* of SHA-256: evenly spread */
    return a->sets[n % SETS];
}

static identity *find(access *a, const uint8_t hash[32])
{
    identity **set = place_of(a, hash);
    for (int i = 0; i < WAYS; i++)
        if (set[i] && memcmp(set[i]->hash, hash, 32) == 0) return set[i];
    return NULL;
}

static void forget(access *a, identity *who)
{
    identity **set = place_of(a, who->hash);
    for (int i = 0; i < WAYS; i++)
        if (set[i] == who) {
            set[i] = NULL;
            identity_drop(who);
            return;
        }
}

static void forget_all(access *a)
{
    for (uint32_t i = 0; i < SETS; i++)
        for (int k = 0; k < WAYS; k++) {
            identity_drop(a->sets[i][k]);
            a->sets[i][k] = NULL;
        }
}

/* Takes over the caller's count. */
static void keep(access *a, identity *who)
{
    identity **set = place_of(a, who->hash), **best = &set[0];
    for (int i = 0; i < WAYS; i++) {
        if (set[i] && memcmp(set[i]->hash, who->hash, 32) == 0) {
            best = &set[i];
            break;
        }
        if (*best && (set[i] == NULL || set[i]->used_us < (*best)->used_us)) best = &set[i];
    }
    identity_drop(*best);
    *best = who;
}

static bool copy_text(char *to, size_t size, sv_str s)
{
    if (s.n >= size) return false;
    if (s.n) memcpy(to, s.p, s.n);
    to[s.n] = 0;
    return true;
}

static route_who role_of(sv_str name)
{
    static const struct {
        const char *name;
        route_who role;
    } roles[] = {
        {"viewer", WHO_VIEWER}, {"member", WHO_MEMBER}, {"admin", WHO_ADMIN}, {"owner", WHO_OWNER}};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (sv_str_is(name, roles[i].name)) return roles[i].role;
    return WHO_USER;
}

static const char *role_name(route_who role)
{
    switch (role) {
    case WHO_VIEWER: return "viewer";
    case WHO_MEMBER: return "member";
    case WHO_ADMIN: return "admin";
    case WHO_OWNER: return "owner";
    case WHO_ALL:
    case WHO_USER:
    case WHO_PLATFORM: break;
    }
    return NULL;
}

/* The ticket that goes with every request of this identity. */
static int sign_ticket(access *a, identity *who, uint64_t until_s)
{
    char credential[ACCESS_ID + 9];
    snprintf(credential, sizeof credential, who->by_key ? "key/%s" : "session/%s",
             who->by_key ? who->key : who->session);
    ticket t = {.user = sv_cstr(who->user),
                .org = sv_cstr(who->org),
                .tier = sv_cstr(who->tier),
                .actor = sv_cstr(who->actor),
                .credential = sv_cstr(credential),
                .expires_s = until_s};
    if (role_name(who->role)) t.roles[t.n_roles++] = sv_cstr(role_name(who->role));
    if (who->platform) t.roles[t.n_roles++] = sv_cstr("platform_admin");
    for (int s = 0; who->by_key && s < SCOPES; s++)
        if (who->scopes & 1u << s) t.scopes[t.n_scopes++] = sv_cstr(route_scope_names[s]);
    if (!a->signer->signs) return 0;
    buf out;
    buf_init(&out, sizeof who->ticket);
    int rc = ticket_sign(&a->signer->signer, &t, &out);
    if (rc == 0) {
        memcpy(who->ticket, out.p, out.n);
        who->ticket_n = (uint32_t)out.n;
    }
    buf_free(&out);
    return rc;
}

/* ---- is it still good ---- */

static revoked_verdict ask_copy(const access *a, const identity *who, const char *subject)
{
    return who->by_key ? revoked_after(a->revoked, subject, who->sequence)
                       : revoked_since(a->revoked, subject, who->issued_ms);
}

static revoked_verdict judge(const access *a, const identity *who)
{
    char subject[REVOKED_SUBJECT + 1];
    revoked_verdict worst = REVOKED_NOT, v;
    snprintf(subject, sizeof subject, "user/%s", who->user);
    if ((v = ask_copy(a, who, subject)) > worst) worst = v;
    snprintf(subject, sizeof subject, "member/%s/%s", who->org, who->user);
    if ((v = ask_copy(a, who, subject)) > worst) worst = v;
    snprintf(subject, sizeof subject, who->by_key ? "key/%s" : "session/%s",
             who->by_key ? who->key : who->session);
    if ((v = ask_copy(a, who, subject)) > worst) worst = v;
    if (!who->by_key && revoked_ended(a->revoked, subject)) worst = REVOKED_ENDED;
    return worst;
}

int access_holds(access *a, identity *who, sv_error *err)
{
    if (who == NULL) return 0;
    if (who->is_operator) {
        if (access_open(a)) return 0;
        return sv_fail(err, SV_E_NO_CREDENTIALS, NULL, NULL);
    }
    if (now_s(a) >= who->expires_s)
        return sv_fail(err, who->by_key ? SV_E_API_KEY : SV_E_TOKEN_EXPIRED, NULL, NULL);
    int64_t end = revoked_sequence(a->revoked);
    if (who->checked == end) return 0;
    revoked_verdict v = judge(a, who);
    if (v == REVOKED_NOT) {
        who->checked = end;
        return 0;
    }
    if (who->by_key) return sv_fail(err, SV_E_API_KEY, NULL, NULL);
    return sv_fail(err, v == REVOKED_STALE ? SV_E_TOKEN_EXPIRED : SV_E_TOKEN_REVOKED, NULL, NULL);
}

static void copy_changed(void *arg)
{
    access *a = arg;
    int64_t end = revoked_sequence(a->revoked);
    if (end < a->sequence) forget_all(a); /* what was read before may not be so any more */
    a->sequence = end;
}

/* ---- tokens ---- */

/* Milliseconds of a UUIDv7, else of `iat`. */
static int64_t issued_ms(const jwt_claims *c)
{
    sv_id id;
    if (c->jti.n != UUID_TEXT || c->jti.p[14] != '7' || uuid_parse(c->jti, &id))
        return (int64_t)c->iat_s * 1000;
    uint64_t ms = 0;
    const uint8_t *b = (const uint8_t *)&id;
    for (int i = 0; i < 6; i++)
        ms = ms << 8 | b[i];
    return (int64_t)ms;
}

static int read_token(access *a, sv_str token, identity *who, sv_error *err)
{
    jwt_claims c;
    jwt_rules rules = {.iss = revoked_issuer(a->revoked),
                       .kind = JWT_ACCESS,
                       .now_s = now_s(a),
                       .skew_s = JWT_SKEW_S};
    arena_reset(&a->arena);
    int rc = jwt_verify(revoked_ring(a->revoked), &rules, token, &a->arena, &c, err);
    if (rc) return rc;
    bool fits = copy_text(who->user, sizeof who->user, c.sub) &&
                copy_text(who->org, sizeof who->org, c.org) &&
                copy_text(who->session, sizeof who->session, c.sid) &&
                copy_text(who->tier, sizeof who->tier, c.tier) &&
                copy_text(who->actor, sizeof who->actor, c.act);
    if (!fits || c.sid.n == 0) return sv_fail(err, SV_E_TOKEN, NULL, NULL);
    who->role = WHO_USER;
    for (uint32_t i = 0; i < c.n_roles; i++) {
        if (sv_str_is(c.roles[i], "platform_admin")) who->platform = true;
        if (role_of(c.roles[i]) > who->role) who->role = role_of(c.roles[i]);
    }
    who->issued_ms = issued_ms(&c);
    who->expires_s = c.exp_s;
    uint64_t least_s = now_s(a) + TICKET_LEFT_S;
    return sign_ticket(a, who, c.exp_s > least_s ? c.exp_s : least_s);
}

static int new_token(access *a, sv_str token, const uint8_t hash[32], identity **ret, sv_error *err)
{
    identity *who = calloc(1, sizeof *who);
    if (who == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    who->refs = 1;
    memcpy(who->hash, hash, 32);
    who->checked = -1;
    who->used_us = loop_now_us(a->l);
    int rc = read_token(a, token, who, err);
    if (rc == 0) rc = access_holds(a, who, err);
    if (rc) {
        identity_drop(who);
        return rc;
    }
    keep(a, who);
    *ret = identity_take(who);
    return 0;
}

/* ---- keys ---- */

static bool copy_models(identity *who, const sv_strs *from)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < from->n; i++)
        bytes += from->items[i].n;
    if (from->n == 0) return true;
    who->models.items = malloc(from->n * sizeof *who->models.items + bytes);
    if (who->models.items == NULL) return false;
    char *to = (char *)(who->models.items + from->n);
    for (uint32_t i = 0; i < from->n; i++) {
        sv_str s = from->items[i];
        who->models.items[i] = (sv_str){to, s.n};
        if (s.n) to = mempcpy(to, s.p, s.n);
    }
    who->models.n = from->n;
    return true;
}

static bool fill_key(access *a, const auth_key_check_reply *r, identity *who)
{
    const auth_key *k = r->key;
    who->by_key = true;
    who->platform = r->admin;
    who->role = role_of(r->role);
    if (k == NULL || k->id.n == 0 || !copy_text(who->key, sizeof who->key, k->id) ||
        !copy_text(who->user, sizeof who->user, k->user) ||
        !copy_text(who->org, sizeof who->org, k->org) ||
        !copy_text(who->tier, sizeof who->tier, r->tier) || !copy_models(who, &k->models))
        return false;
    for (uint32_t i = 0; i < k->scopes.n; i++)
        for (int s = SCOPE_CHAT; s < SCOPES; s++)
            if (sv_str_is(k->scopes.items[i], route_scope_names[s])) who->scopes |= 1u << s;
    who->minute_limit = (uint32_t)k->minute_limit;
    who->hour_limit = (uint32_t)k->hour_limit;
    who->cache_s = k->cache_seconds;
    who->sequence = r->sequence;
    who->fresh_s = now_s(a) + KEY_LIFE_S;
    who->expires_s = k->expires ? (uint64_t)k->expires / 1000 : UINT64_MAX;
    return true;
}

static identity *new_key(access *a, const key_ask *q, sv_str body, sv_error *err)
{
    auth_key_check_reply reply;
    arena_reset(&a->arena);
    if (message_decode(&auth_key_check_reply_msg, body, MESSAGE_LENIENT, &a->arena, &reply, err))
        return NULL;
    identity *who = calloc(1, sizeof *who);
    if (who == NULL) {
        sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
        return NULL;
    }
    who->refs = 1;
    who->checked = -1;
    who->used_us = loop_now_us(a->l);
    memcpy(who->hash, q->hash, 32);
    int rc = fill_key(a, &reply, who) ? sign_ticket(a, who, now_s(a) + TICKET_S)
                                      : sv_fail(err, SV_E_INTERNAL, NULL, NULL);
    if (rc == 0) rc = access_holds(a, who, err);
    if (rc == 0) return who;
    if (err->code == 0) sv_fail(err, rc, NULL, NULL);
    identity_drop(who);
    return NULL;
}

static void tell_waiting(key_ask *q, int code, identity *who, const sv_error *err)
{
    access_wait *w;
    while ((w = TAILQ_FIRST(&q->waiting))) {
        TAILQ_REMOVE(&q->waiting, w, link);
        w->ask = NULL;
        w->done(w, code, identity_take(who), err);
    }
}

static void on_key(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    key_ask *q = arg;
    access *a = q->a;
    sv_error own = {.code = 0};
    identity *who = NULL;
    (void)s;
    TAILQ_REMOVE(&a->asks, q, link);
    a->n_asks--;
    if (code == 0) {
        who = new_key(a, q, item->body, &own);
        if (who == NULL) code = own.code;
        err = &own;
    }
    if (who) keep(a, identity_take(who));
    tell_waiting(q, code, who, err);
    identity_drop(who);
    free(q);
}

static void hash_of(sv_str credential, uint8_t hash[32])
{
    sha256 h;
    char hex[65];
    sha256_start(&h);
    sha256_add(&h, credential.p, credential.n);
    sha256_end(&h, hex);
    hex_parse((sv_str){hex, 64}, hash, 32);
}

static key_ask *start_ask(access *a, const uint8_t hash[32], sv_error *err)
{
    static const sv_events events = {.done = on_key};
    if (a->n_asks >= ACCESS_ASKING) {
        sv_fail(err, SV_E_OVERLOADED, NULL, "Too many API keys are being checked.");
        return NULL;
    }
    key_ask *q = calloc(1, sizeof *q);
    if (q == NULL) {
        sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
        return NULL;
    }
    q->a = a;
    memcpy(q->hash, hash, 32);
    TAILQ_INIT(&q->waiting);
    auth_key_check_req body = {.hash = {(const char *)q->hash, 32}};
    sv_request r = {.target = "auth.key_check",
                    .type = &auth_key_check_req_msg,
                    .body = &body,
                    .ttl_ms = KEY_ASK_MS,
                    .idempotent = true};
    q->stream = sv_open(a->p, &r, &events, q, err);
    if (q->stream == NULL) {
        free(q);
        return NULL;
    }
    TAILQ_INSERT_TAIL(&a->asks, q, link);
    a->n_asks++;
    return q;
}

static key_ask *find_ask(const access *a, const uint8_t hash[32])
{
    key_ask *q;
    TAILQ_FOREACH(q, &a->asks, link)
    {
        if (memcmp(q->hash, hash, sizeof q->hash) == 0) return q;
    }
    return NULL;
}

int access_ask(access *a, sv_str key, access_wait *w, sv_error *err)
{
    uint8_t hash[32];
    hash_of(key, hash);
    key_ask *q = find_ask(a, hash);
    if (q == NULL) q = start_ask(a, hash, err);
    if (q == NULL) return err->code;
    w->ask = q;
    TAILQ_INSERT_TAIL(&q->waiting, w, link);
    return 0;
}

void access_wait_cancel(access_wait *w)
{
    if (w->ask) TAILQ_REMOVE(&w->ask->waiting, w, link);
    w->ask = NULL;
}

/* ---- finding ---- */

static bool looks_like_token(sv_str s)
{
    const char *dot = memchr(s.p, '.', s.n);
    return dot && memchr(dot + 1, '.', s.n - (size_t)(dot + 1 - s.p));
}

static bool looks_like_key(sv_str s)
{
    return s.n > 3 && memcmp(s.p, "sv_", 3) == 0;
}

int access_find(access *a, sv_str credential, identity **ret, sv_error *err)
{
    uint8_t hash[32];
    *ret = NULL;
    bool ours = credential.n && (looks_like_key(credential) || looks_like_token(credential));
    if (!ours && access_open(a)) {
        *ret = identity_take(a->anybody);
        return 0;
    }
    if (credential.p == NULL) return 0;
    if (!revoked_ready(a->revoked)) {
        if (err) err->retry_after_ms = 1000;
        return sv_fail(err, SV_E_UNAVAILABLE, NULL, "Who may come in is not known yet.");
    }
    bool key = looks_like_key(credential);
    if (!ours || credential.n > (key ? (size_t)KEY_BYTES : (size_t)JWT_BYTES))
        return sv_fail(err, key ? SV_E_API_KEY : SV_E_TOKEN, NULL, NULL);
    hash_of(credential, hash);
    identity *who = find(a, hash);
    if (who == NULL) return key ? SV_PENDING : new_token(a, credential, hash, ret, err);
    bool old = key && now_s(a) >= who->fresh_s; /* what is under way with it may go on */
    int rc = old ? SV_E_API_KEY : access_holds(a, who, err);
    if (rc == 0) {
        who->used_us = loop_now_us(a->l);
        *ret = identity_take(who);
        return 0;
    }
    forget(a, who);
    return key ? SV_PENDING : rc;
}

/* ---- what one may do ---- */

int access_allows(const identity *who, const route *r, sv_error *err)
{
    if (r->who == WHO_ALL) return 0;
    if (who == NULL) return sv_fail(err, SV_E_NO_CREDENTIALS, NULL, NULL);
    if (who->is_operator) return 0;
    if (who->by_key && r->scope == SCOPE_SESSION)
        return sv_fail(err, SV_E_SCOPE, NULL, "This is not for API keys: log in for it.");
    if (who->by_key && r->scope != SCOPE_NONE && !(who->scopes & 1u << r->scope))
        return sv_fail(err, SV_E_SCOPE, NULL, "The API key needs the scope \"%s\" for this.",
                       route_scope_names[r->scope]);
    bool enough = r->who == WHO_PLATFORM ? who->platform : who->role >= r->who;
    return enough ? 0 : sv_fail(err, SV_E_ROLE, NULL, NULL);
}

bool access_model_ok(const identity *who, sv_str model)
{
    if (who == NULL || who->models.n == 0) return true;
    for (uint32_t i = 0; i < who->models.n; i++) {
        sv_str m = who->models.items[i];
        if (m.n == model.n && memcmp(m.p, model.p, m.n) == 0) return true;
    }
    return false;
}

sv_str access_ticket(access *a, const identity *who)
{
    if (who == NULL) return (sv_str){NULL, 0};
    if (who->is_operator) return operator_ticket(a->signer, now_s(a));
    return who->ticket_n ? (sv_str){who->ticket, who->ticket_n} : (sv_str){NULL, 0};
}

/* ---- when keys were used ---- */

static void on_told(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    access *a = arg;
    (void)s;
    (void)code; /* the next round tells again what is in use */
    (void)item;
    (void)err;
    a->telling = NULL;
}

/* Adds the keys of one set that were used in the last minute. */
static void add_used(access *a, uint32_t set, auth_key_used_item *items, uint32_t *n)
{
    uint64_t now_us = loop_now_us(a->l);
    int64_t now_ms = (int64_t)(loop_unix_us(a->l) / 1000);
    for (int i = 0; i < WAYS; i++) {
        const identity *who = a->sets[set][i];
        if (who == NULL || !who->by_key || now_us - who->used_us > USED_TELL_US) continue;
        items[*n].id = sv_cstr(who->key);
        items[(*n)++].at = now_ms - (int64_t)((now_us - who->used_us) / 1000);
    }
}

static void tell_used(access *a)
{
    static const sv_events events = {.done = on_told};
    auth_key_used_item items[USED_PIECE];
    sv_error err = {.code = 0};
    uint32_t n = 0;
    if (a->telling || !sv_connected(a->p)) return;
    uint64_t now_us = loop_now_us(a->l);
    if (a->told_set == 0 && now_us - a->told_us < USED_TELL_US) return;
    if (a->told_set == 0) a->told_us = now_us;
    for (; a->told_set < SETS && n + WAYS <= USED_PIECE; a->told_set++)
        add_used(a, a->told_set, items, &n);
    if (a->told_set == SETS) a->told_set = 0;
    if (n == 0) return;
    auth_key_used_req body = {.keys = {items, n}};
    sv_request r = {.target = "auth.key_used",
                    .type = &auth_key_used_req_msg,
                    .body = &body,
                    .ttl_ms = KEY_ASK_MS,
                    .idempotent = true};
    a->telling = sv_open(a->p, &r, &events, a, &err);
}

/* ---- life ---- */

access *access_new(sv_process *p, operator_identity *signer, bool may_open)
{
    access *a = calloc(1, sizeof *a);
    if (a == NULL) return NULL;
    a->p = p;
    a->l = sv_loop(p);
    a->signer = signer;
    a->may_open = may_open;
    a->anybody = calloc(1, sizeof *a->anybody);
    if (a->anybody)
        *a->anybody = (identity){
            .refs = 1, .is_operator = true, .platform = true, .role = WHO_OWNER, .tier = "own"};
    TAILQ_INIT(&a->asks);
    arena_init(&a->arena, 65536);
    a->told_us = loop_now_us(a->l);
    a->revoked = revoked_new(p, copy_changed, a);
    if (a->anybody && a->revoked) return a;
    access_free(a);
    return NULL;
}

void access_free(access *a)
{
    key_ask *q;
    if (a == NULL) return;
    while ((q = TAILQ_FIRST(&a->asks))) { /* the bus is closed: their streams are gone */
        sv_error err = {.code = 0};
        TAILQ_REMOVE(&a->asks, q, link);
        sv_fail(&err, SV_E_DRAINING, NULL, NULL);
        tell_waiting(q, SV_E_DRAINING, NULL, &err);
        free(q);
    }
    forget_all(a);
    identity_drop(a->anybody);
    revoked_free(a->revoked);
    arena_free(&a->arena);
    free(a);
}

void access_tick(access *a)
{
    revoked_tick(a->revoked);
    tell_used(a);
}

bool access_ready(const access *a)
{
    return revoked_ready(a->revoked);
}

bool access_open(const access *a)
{
    return a->may_open && revoked_ready(a->revoked) && !revoked_has_admin(a->revoked);
}

const revoked *access_revoked(const access *a)
{
    return a->revoked;
}
