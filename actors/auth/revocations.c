/*  revocations.c - rows by number, and a head that holds the last number given out: both are written
 *  in the transaction of what is revoked, so that numbers have no gaps and never go back. A row is
 *  kept for as long as a token of before could be used; the head stays.
 *
 *  Reading is one function for edges that ask and for the event. What was committed by a process that
 *  died before it told anybody is not told by the next one: the number in its first event is ahead of
 *  what edges know, and they ask. */
#include "revocations.h"

#include "auth.h"
#include "error.h"

#include <stdio.h>

enum {
    SLACK_S = 240, /* between clocks beyond the skew, and for what is under way */
    ITEMS = 256,   /* in one message */
    EVENTS = 8,    /* told at once; the rest by the next tick */
    KEYS_TICKS = 60,
    SUBJECT = 80,
    READ_ARENA = 1 << 20,
    BUSY_MS = 500
};

static const char topic[] = "auth.revoked";

/* ---- in a write ---- */

static int64_t kept_ms(void)
{
    return (int64_t)(jwt_life_s(JWT_ACCESS) + JWT_SKEW_S + SLACK_S) * 1000;
}

static int read_head(store_tx *tx, int64_t *ret)
{
    revocation_head head = {.id = 0};
    int rc = store_get(tx, &auth_revocation_head, &head);
    *ret = rc ? 0 : head.sequence;
    return rc == SV_E_NOT_FOUND ? 0 : rc;
}

int revoke_subject(store_tx *tx, const char *kind, sv_str id, sv_str id2, bool stale)
{
    char subject[SUBJECT + 1];
    int64_t last, now = store_now_ms(tx);
    int n = id2.n ? snprintf(subject, sizeof subject, "%s/%.*s/%.*s", kind, SV_FMT(id), SV_FMT(id2))
                  : snprintf(subject, sizeof subject, "%s/%.*s", kind, SV_FMT(id));
    if (n < 0 || n >= (int)sizeof subject) return SV_E_TOO_LARGE;
    int rc = read_head(tx, &last);
    if (rc) return rc;
    revocation_row row = {.sequence = last + 1,
                          .subject = {subject, (uint32_t)n},
                          .before = now,
                          .stale = stale,
                          .expires = now + kept_ms()};
    rc = store_insert(tx, &auth_revocations_table, &row);
    if (rc) return rc;
    return store_put(tx, &auth_revocation_head, &(revocation_head){.sequence = last + 1});
}

/* ---- reading ---- */

static int read_items(store_tx *tx, int64_t after, revocations_page *page)
{
    revocation_row row, low = {.sequence = after + 1};
    store_range range = {.table = &auth_revocations_table, .low = &low, .low_n = 1};
    store_scan *scan;
    page->items = arena_alloc(store_arena(tx), ITEMS * sizeof *page->items);
    if (page->items == NULL) return SV_E_NO_MEMORY;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    while (rc == 0 && !page->more && store_scan_next(scan, &row)) {
        if ((page->more = page->n == ITEMS)) break;
        const char *subject = arena_copy(store_arena(tx), row.subject);
        if (subject == NULL) rc = SV_E_NO_MEMORY;
        page->items[page->n++] = (auth_revocation){.sequence = row.sequence,
                                                   .subject = {subject, row.subject.n},
                                                   .before = row.before,
                                                   .stale = row.stale};
    }
    if (rc == 0) rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc;
}

int revocations_some(store_tx *tx, const void *in, void *out)
{
    const int64_t *after = in;
    revocations_page *page = out;
    *page = (revocations_page){.n = 0};
    int rc = read_head(tx, &page->sequence);
    if (rc == 0) rc = auth_has_admin(tx, &page->has_admin);
    if (rc || *after < 0 || *after >= page->sequence) return rc;
    return read_items(tx, *after, page);
}

int revoked_in_its_second(store_tx *tx, const void *in, void *out)
{
    const auth_login_result *r = in;
    bool *ret = out;
    char subjects[2][SUBJECT + 1];
    revocation_row row;
    store_range range = {.table = &auth_revocations_table, .reverse = true, .limit = AUTH_PIECE};
    store_scan *scan;
    int64_t second = r->now_ms / 1000 * 1000;
    snprintf(subjects[0], SUBJECT + 1, "user/%s", r->user.id);
    snprintf(subjects[1], SUBJECT + 1, "member/%s/%s", r->org, r->user.id);
    *ret = false;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    while (!*ret && store_scan_next(scan, &row) && row.before >= second)
        for (int i = 0; i < 2; i++)
            if (sv_str_is(row.subject, subjects[i])) *ret = true;
    rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc;
}

/* ---- telling ---- */

static auth_revocations message_of(const revocations_page *page)
{
    return (auth_revocations){.items = {page->items, page->n},
                              .sequence = page->sequence,
                              .more = page->more,
                              .has_admin = page->has_admin};
}

static int print_keys(const auth *a, buf *json, auth_revocations *m)
{
    int rc = jwks_print(a->keys, a->n_keys, json);
    m->issuer = sv_cstr(a->issuer);
    m->jwks = buf_str(json);
    return rc;
}

/* One event; true when there is something to say behind it. */
static bool tell(auth *a, const revocations_page *page)
{
    revocations_told *t = &a->revocations;
    bool news = page->n > 0 || page->sequence != t->sequence || page->has_admin != t->has_admin;
    bool keys = t->keys_due && a->n_keys > 0;
    if (!news && !t->due && !keys) return false;
    auth_revocations m = message_of(page);
    buf json;
    buf_init(&json, JWKS_BYTES);
    int rc = keys ? print_keys(a, &json, &m) : 0;
    if (rc == 0) rc = sv_publish(a->process, topic, &auth_revocations_msg, &m);
    buf_free(&json);
    if (rc) return false; /* not connected: the tick says it again, edges see the number */
    t->sequence = page->more ? page->items[page->n - 1].sequence : page->sequence;
    t->has_admin = page->has_admin;
    t->due = false;
    if (keys) t->keys_due = false;
    return page->more;
}

void revocations_look(auth *a)
{
    revocations_told *t = &a->revocations;
    bool more = true;
    arena memory;
    arena_init(&memory, READ_ARENA);
    for (int i = 0; more && i < EVENTS; i++) {
        revocations_page page;
        int64_t after = t->known ? t->sequence : -1; /* what is older, edges read for themselves */
        store *s = sv_store(a->process);
        store_op op = {.fn = revocations_some,
                       .in = &after,
                       .out = &page,
                       .arena = &memory,
                       .owner = "auth.revoked"};
        if (s == NULL || store_view(s, &op)) break;
        if (!t->known) t->sequence = page.sequence;
        t->known = true;
        more = tell(a, &page);
        arena_reset(&memory);
    }
    arena_free(&memory);
}

void revocations_tick(auth *a)
{
    revocations_told *t = &a->revocations;
    t->due = true;
    if (++t->ticks % KEYS_TICKS == 0) t->keys_due = true;
    revocations_look(a);
}

void revocations_new_keys(auth *a)
{
    a->revocations.keys_due = true;
    revocations_look(a);
}

/* ---- the method ---- */

int auth_revocations_read(sv_call *call, const void *request)
{
    const auth_revocations_req *q = request;
    const auth *a = sv_process_state(sv_call_process(call));
    revocations_page page;
    buf json;
    int rc = auth_keys_ready(a, sv_call_error(call));
    if (rc == 0) rc = store_read(call, revocations_some, &q->after, &page);
    if (rc) return rc;
    auth_revocations m = message_of(&page);
    buf_init(&json, JWKS_BYTES);
    rc = print_keys(a, &json, &m);
    if (rc == 0) rc = sv_reply(call, &m);
    buf_free(&json);
    return rc;
}
