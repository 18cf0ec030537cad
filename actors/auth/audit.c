/*  audit.c - chains of events: each row holds the hash of the one before, and a head for each chain
 *  says where it ends. What was changed, taken out or cut off does not fit any more. Who can write
 *  the file could make a whole chain anew; against that the head's hash is shown, to be kept
 *  somewhere else. */
#include "auth_store.h"

#include "error.h"
#include "members.h"
#include "sha256.h"
#include "uuid.h"

#include <stdio.h>

enum { ROW_BYTES = 2048 };

static const char platform[] = "platform";

/* ---- one row ---- */

/* An absent text and an empty one are the same in the store. */
static sv_str text_of(const char *s)
{
    return s && s[0] ? sv_cstr(s) : (sv_str){NULL, 0};
}

static void one_form(sv_str *s)
{
    if (s->n == 0) s->p = NULL;
}

/* SHA-256 of the row without its own hash. */
static int row_hash(const audit_row *row, uint8_t ret[WORDS_HASH])
{
    audit_row plain = *row;
    buf bytes;
    plain.hash = (sv_str){NULL, 0};
    one_form(&plain.event);
    one_form(&plain.actor);
    one_form(&plain.target);
    one_form(&plain.network);
    one_form(&plain.detail);
    one_form(&plain.before);
    buf_init(&bytes, ROW_BYTES);
    int rc = message_encode(&audit_row_msg, &plain, &bytes);
    if (rc == 0) {
        sha256 h;
        char hex[65];
        sha256_start(&h);
        sha256_add(&h, bytes.p, bytes.n);
        sha256_end(&h, hex);
        rc = hex_parse(sv_cstr(hex), ret, WORDS_HASH);
    }
    buf_free(&bytes);
    return rc;
}

int audit_add(store_tx *tx, const auth_event *e)
{
    uint8_t hash[WORDS_HASH];
    audit_head head = {.chain = sv_cstr(e->chain && e->chain[0] ? e->chain : platform)};
    sv_str chain = head.chain;
    int rc = store_get(tx, &auth_heads, &head);
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    if (rc) head = (audit_head){.chain = chain};
    audit_row row = {.chain = chain,
                     .number = head.number + 1,
                     .at = store_now_ms(tx),
                     .event = text_of(e->event),
                     .actor = text_of(e->actor),
                     .target = text_of(e->target),
                     .network = text_of(e->network),
                     .detail = text_of(e->detail),
                     .before = head.hash};
    rc = row_hash(&row, hash);
    if (rc) return rc;
    row.hash = head.hash = (sv_str){(const char *)hash, sizeof hash};
    head.number = row.number;
    rc = store_insert(tx, &auth_audits, &row);
    return rc ? rc : store_put(tx, &auth_heads, &head);
}

/* ---- reading ---- */

static bool show(arena *a, const audit_row *row, auth_audit_event *ret)
{
    bool ok = true;
    char hex[2 * WORDS_HASH + 1] = "";
    if (row->hash.n == WORDS_HASH) hex_format(row->hash.p, row->hash.n, hex);
    *ret = (auth_audit_event){.number = row->number,
                              .at = row->at,
                              .event = auth_kept(a, row->event, &ok),
                              .actor = auth_kept(a, row->actor, &ok),
                              .target = auth_kept(a, row->target, &ok),
                              .network = auth_kept(a, row->network, &ok),
                              .detail = auth_kept(a, row->detail, &ok),
                              .hash = auth_kept(a, sv_cstr(hex), &ok)};
    return ok;
}

/* A name, or with a final dot everything that begins so. */
static bool event_fits(sv_str wanted, sv_str event)
{
    if (wanted.n == 0) return true;
    if (wanted.p[wanted.n - 1] != '.') return sv_str_eq(wanted, event);
    return event.n >= wanted.n && memcmp(event.p, wanted.p, wanted.n) == 0;
}

/* Also what he did as somebody else: "ADMIN as USER". */
static bool is_by(sv_str actor, sv_str wanted)
{
    static const sv_str as = {" as ", 4};
    return actor.n >= wanted.n && memcmp(actor.p, wanted.p, wanted.n) == 0 &&
           (actor.n == wanted.n ||
            (actor.n > wanted.n + as.n && memcmp(actor.p + wanted.n, as.p, as.n) == 0));
}

static bool fits(const auth_audit_req *q, const audit_row *row)
{
    return row->at >= q->from && (q->to == 0 || row->at <= q->to) &&
           event_fits(q->event, row->event) && (q->actor.n == 0 || is_by(row->actor, q->actor)) &&
           (q->target.n == 0 || sv_str_eq(q->target, row->target));
}

int auth_audit_some(store_tx *tx, const void *in, void *out)
{
    const auth_audit_req *q = in;
    auth_audit_page *page = out;
    audit_row row,
        low = {.chain = q->chain.n ? q->chain : sv_cstr(platform), .number = q->after + 1};
    store_range range = {.table = &auth_audits, .low = &low, .high = &low, .low_n = 2, .high_n = 1};
    store_scan *scan;
    *page =
        (auth_audit_page){.items = arena_alloc(store_arena(tx), AUTH_PAGE * sizeof *page->items)};
    if (page->items == NULL) return SV_E_NO_MEMORY;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    int64_t last = q->after;
    bool ok = true, more = false;
    for (uint32_t seen = 0; ok && store_scan_next(scan, &row); seen++) {
        if ((more = page->n == AUTH_PAGE || seen == AUTH_PIECE)) break;
        last = row.number;
        if (!fits(q, &row)) continue;
        ok = show(store_arena(tx), &row, &page->items[page->n++]);
    }
    rc = store_scan_result(scan);
    store_scan_close(scan);
    if (more) page->next = last;
    return ok ? rc : SV_E_NO_MEMORY;
}

int auth_audit_for(store_tx *tx, const void *in, void *out)
{
    const auth_audit_ask *ask = in;
    member_role role = ROLE_NONE;
    int rc = 0;
    auth_audit_req q = *ask->request;
    if (q.chain.n == 0) q.chain = sv_cstr(ask->org[0] ? ask->org : platform);
    if (ask->any) return auth_audit_some(tx, &q, out);
    if (sv_str_is(q.chain, ask->org)) rc = member_read(tx, q.chain, sv_cstr(ask->user), &role);
    if (rc) return rc;
    if (role >= ROLE_ADMIN) return auth_audit_some(tx, &q, out);
    if (role == ROLE_NONE && !sv_str_is(q.chain, platform))
        return sv_fail(store_error(tx), SV_E_NOT_FOUND, "chain", "There is no such organization.");
    return sv_fail(store_error(tx), SV_E_ROLE, "chain", NULL);
}

/* ---- verifying ---- */

static void broken(auth_verify *v, int64_t number)
{
    if (v->bad) return;
    v->bad = true;
    if (v->broken++) return;
    memcpy(v->first_chain, v->chain, sizeof v->first_chain);
    v->first_number = number;
}

static void enter(auth_verify *v, sv_str chain)
{
    snprintf(v->chain, sizeof v->chain, "%.*s", SV_FMT(chain));
    v->number = 0;
    memset(v->before, 0, sizeof v->before);
    v->bad = false;
    v->chains++;
}

/* All rows of the chain at hand were seen: its head must be the last of them. */
static int leave(store_tx *tx, auth_verify *v)
{
    if (v->chain[0] == 0) return 0;
    audit_head head = {.chain = sv_cstr(v->chain)};
    int rc = store_get(tx, &auth_heads, &head);
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    if (rc || head.number != v->number || head.hash.n != WORDS_HASH ||
        memcmp(head.hash.p, v->before, WORDS_HASH) != 0)
        broken(v, v->number + 1);
    else if (strcmp(v->chain, platform) == 0)
        hex_format(v->before, sizeof v->before, v->head);
    return 0;
}

static int check_row(auth_verify *v, const audit_row *row)
{
    uint8_t hash[WORDS_HASH];
    int rc = row_hash(row, hash);
    if (rc) return rc;
    bool first = v->number == 0;
    bool fits = row->number == v->number + 1 && row->before.n == (first ? 0 : WORDS_HASH) &&
                (first || memcmp(row->before.p, v->before, WORDS_HASH) == 0) &&
                row->hash.n == WORDS_HASH && memcmp(row->hash.p, hash, WORDS_HASH) == 0;
    if (!fits) broken(v, v->number + 1);
    v->number = row->number;
    memcpy(v->before, hash, sizeof v->before);
    v->events++;
    return 0;
}

static int verify_rows(store_tx *tx, auth_verify *v)
{
    audit_row row, low = {.chain = sv_cstr(v->chain), .number = v->number + 1};
    store_range range = {.table = &auth_audits, .low = &low, .low_n = v->chain[0] ? 2 : 0};
    store_scan *scan;
    uint32_t n = 0;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    while (rc == 0 && n < AUTH_PIECE && store_scan_next(scan, &row)) {
        n++;
        if (!sv_str_is(row.chain, v->chain)) {
            rc = leave(tx, v);
            enter(v, row.chain);
        }
        if (rc == 0) rc = check_row(v, &row);
    }
    if (rc == 0) rc = store_scan_result(scan);
    store_scan_close(scan);
    if (rc == 0 && n < AUTH_PIECE) {
        rc = leave(tx, v);
        v->heads = true;
        v->chain[0] = 0;
    }
    return rc;
}

/* A chain whose rows are all gone has left its head. */
static int verify_heads(store_tx *tx, auth_verify *v)
{
    audit_head head, low = {.chain = sv_cstr(v->chain)};
    store_range range = {.table = &auth_heads, .low = &low, .low_n = v->chain[0] ? 1 : 0};
    store_scan *scan;
    uint32_t n = 0;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    while (rc == 0 && n < AUTH_PIECE && store_scan_next(scan, &head)) {
        if (sv_str_is(head.chain, v->chain)) continue;
        n++;
        snprintf(v->chain, sizeof v->chain, "%.*s", SV_FMT(head.chain));
        v->bad = false;
        audit_row row = {.chain = sv_cstr(v->chain), .number = 1};
        rc = store_get(tx, &auth_audits, &row);
        if (rc != SV_E_NOT_FOUND) continue;
        rc = 0;
        if (head.number > 0 && !sv_str_is(sv_cstr(v->first_chain), v->chain)) {
            v->chains++;
            broken(v, 1);
        }
    }
    if (rc == 0) rc = store_scan_result(scan);
    store_scan_close(scan);
    v->done = rc == 0 && n < AUTH_PIECE;
    return rc;
}

int auth_verify_some(store_tx *tx, const void *in, void *out)
{
    (void)in;
    auth_verify *v = out;
    return v->heads ? verify_heads(tx, v) : verify_rows(tx, v);
}
