/*  auth_kit.h - a real store in a folder of its own, with a clock that a test sets, and what the auth
 *  actor does in a few words: make a user, log in, refresh. Include once. */
#ifndef AUTH_KIT_H
#define AUTH_KIT_H

#include "../store_kit.h"
#include "auth.h"
#include "revocations.h"

enum { KIT_MEMORY = PASSWORD_MEMORY_LEAST, KIT_SESSIONS = 50 };
#define KIT_DAY_MS  86400000LL
#define KIT_IDLE_MS (7 * KIT_DAY_MS)
#define KIT_LIFE_MS (30 * KIT_DAY_MS)

static char kit_nobody[PASSWORD_HASH];

static inline int kit_start(void **state)
{
    (void)state;
    if (kit_nobody[0] == 0 && password_hash(sv_cstr("nobody knows"), KIT_MEMORY, kit_nobody, NULL))
        abort();
    kit_make(&auth_schema, KIT_NOW_MS);
    return 0;
}

static inline int kit_stop(void **state)
{
    (void)state;
    kit_remove();
    return 0;
}

static inline int kit_user(const char *email, const char *password, bool admin, auth_user *ret)
{
    auth_user_new n = {.user = {.admin = admin}, .actor = "operator"};
    snprintf(n.user.email, sizeof n.user.email, "%s", email);
    kit_id(n.user.id);
    kit_id(n.user.org);
    if (password_hash(sv_cstr(password), KIT_MEMORY, n.user.hash, NULL)) abort();
    return kit_write(auth_user_insert, &n, ret);
}

/* ---- tries ---- */

typedef struct kit_try {
    auth_try try;
    auth_try_known known;
    auth_try_end end;
    auth_work work;
    auth_login_result result;
    char token[WORDS_TOKEN + 1];
} kit_try;

/* The look and the comparison. False: no comparison, the counters forbid it. */
static inline bool kit_compare(kit_try *t, const char *email, const char *password,
                               const char *network)
{
    *t = (kit_try){.end = {.start = {.life_ms = KIT_LIFE_MS,
                                     .idle_ms = KIT_IDLE_MS,
                                     .most = KIT_SESSIONS,
                                     .remember = true}}};
    snprintf(t->try.who.email, sizeof t->try.who.email, "%s", email);
    snprintf(t->try.network, sizeof t->try.network, "%s", network);
    auth_try_keys(&t->try);
    if (kit_peek(auth_try_look, &t->try, &t->known)) abort();
    if (t->known.blocked_ms > 0) {
        t->result.code = SV_E_LOCKED_OUT;
        t->result.retry_after_ms = (uint32_t)t->known.blocked_ms;
        return false;
    }
    t->work = (auth_work){.password = sv_cstr(password),
                          .hash = t->known.user.hash[0] ? t->known.user.hash : kit_nobody,
                          .rehash = true,
                          .memory_bytes = KIT_MEMORY};
    if (auth_work_run(&t->work)) abort();
    t->end.try = &t->try;
    t->end.known = &t->known;
    t->end.right = t->work.right && t->known.found;
    memcpy(t->end.new_hash, t->work.new_hash, sizeof t->end.new_hash);
    kit_id(t->end.start.session);
    kit_id(t->end.half);
    snprintf(t->end.start.network, sizeof t->end.start.network, "%s", network);
    token_new("svr_", t->token);
    token_hash(sv_cstr(t->token), t->end.start.refresh);
    return true;
}

/* One login; its verdict. */
static inline int kit_login(kit_try *t, const char *email, const char *password,
                            const char *network)
{
    if (kit_compare(t, email, password, network) && kit_write(auth_login_end, &t->end, &t->result))
        abort();
    return t->result.code;
}

/* One refresh; its verdict. `token` becomes the next one when it worked. */
static inline int kit_refresh(char token[WORDS_TOKEN + 1])
{
    char next[WORDS_TOKEN + 1];
    auth_refresh_in in = {.idle_ms = KIT_IDLE_MS};
    auth_login_result result;
    token_hash(sv_cstr(token), in.token);
    token_new("svr_", next);
    token_hash(sv_cstr(next), in.next);
    if (kit_write(auth_refresh_swap, &in, &result)) abort();
    if (result.code == 0) memcpy(token, next, sizeof next);
    return result.code;
}

/* How many events of that name the chain has. */
static inline uint32_t kit_events(const char *chain, const char *event)
{
    arena a;
    auth_audit_page page;
    auth_audit_req q = {.chain = sv_cstr(chain)};
    uint32_t n = 0;
    do {
        arena_init(&a, 1 << 20);
        if (kit_read(auth_audit_some, &q, &page, &a)) abort();
        for (uint32_t i = 0; i < page.n; i++)
            n += sv_str_is(page.items[i].event, event);
        q.after = page.next;
        arena_free(&a);
    } while (q.after > 0);
    return n;
}

/* ---- what a write leaves behind ---- */

typedef struct kit_row {
    const store_table *table;
    const void *row;
} kit_row;

static inline int kit_put_row(store_tx *tx, const void *in, void *out)
{
    (void)out;
    const kit_row *r = in;
    return store_put(tx, r->table, r->row);
}

static inline int kit_put(const store_table *table, const void *row)
{
    return kit_write(kit_put_row, &(kit_row){table, row}, NULL);
}

static inline int kit_count_mails(store_tx *tx, const void *in, void *out)
{
    uint32_t *n = out;
    outbox_row row;
    store_scan *scan;
    *n = 0;
    int rc = store_scan_open(tx, &(store_range){.table = &auth_outbox}, &scan);
    while (rc == 0 && store_scan_next(scan, &row))
        *n += sv_str_is(row.template, in);
    return rc ? rc : store_scan_result(scan);
}

/* Mails of that template in the outbox. */
static inline uint32_t kit_mails(const char *template)
{
    uint32_t n;
    if (kit_peek(kit_count_mails, template, &n)) abort();
    return n;
}

/* Was the subject, "session/" and an id, revoked? */
static inline bool kit_revoked(const char *kind, const char *id)
{
    arena a;
    revocations_page page;
    int64_t from = 0;
    bool found = false;
    char subject[128];
    snprintf(subject, sizeof subject, "%s%s", kind, id);
    arena_init(&a, 1 << 20);
    if (kit_read(revocations_some, &from, &page, &a)) abort();
    for (uint32_t i = 0; i < page.n; i++)
        found = found || sv_str_is(page.items[i].subject, subject);
    arena_free(&a);
    return found;
}

#endif
