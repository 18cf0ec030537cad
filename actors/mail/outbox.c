/*  outbox.c - one table, an index by state and time for the sender and one by age for people, and one
 *  row that counts what waits. */
#include "outbox.h"

#include "error.h"
#include "seal.h"

#include <stdio.h>

#define SV_MESSAGES_FILE "rows.def"
#include "message_tables.h"
#undef SV_MESSAGES_FILE

static const char queued[] = "queued", sending[] = "sending", sent[] = "sent", failed[] = "failed",
                  held[] = "held";

static const store_index mail_indexes[] = {
    {"by_state", "state,due", 0},
    {"by_created", "created", 0},
};
const store_table outbox_mails = {.name = "mails",
                                  .row = &mail_row_msg,
                                  .key = "id",
                                  .expires = "expires",
                                  .indexes = mail_indexes,
                                  .n_indexes = sizeof mail_indexes / sizeof *mail_indexes};
const store_table outbox_queue = {.name = "queue", .row = &mail_queue_msg, .key = "id"};

static const store_table *const tables[] = {&outbox_mails, &outbox_queue};

const store_schema outbox_schema = {
    .service = "mail", .version = 1, .tables = tables, .n_tables = sizeof tables / sizeof *tables};

/* ---- rows ---- */

static void take(sv_str from, char *to, size_t size)
{
    snprintf(to, size, "%.*s", SV_FMT(from));
}

static void copy(const mail_row *row, outbox_mail *ret)
{
    ret->tries = row->tries;
    ret->created = row->created;
    ret->changed = row->changed;
    ret->due = row->due;
    ret->expires = row->expires;
    take(row->id, ret->id, sizeof ret->id);
    take(row->to, ret->to, sizeof ret->to);
    take(row->template, ret->template, sizeof ret->template);
    take(row->locale, ret->locale, sizeof ret->locale);
    take(row->link, ret->link, sizeof ret->link);
    take(row->name, ret->name, sizeof ret->name);
    take(row->org, ret->org, sizeof ret->org);
    take(row->detail, ret->detail, sizeof ret->detail);
    take(row->state, ret->state, sizeof ret->state);
    take(row->error, ret->error, sizeof ret->error);
}

/* As the store keeps it: absent when it is empty. */
static sv_str text_of(const char *s)
{
    return s[0] ? sv_cstr(s) : (sv_str){NULL, 0};
}

static mail_row row_of(const outbox_mail *m)
{
    return (mail_row){.id = sv_cstr(m->id),
                      .to = sv_cstr(m->to),
                      .template = sv_cstr(m->template),
                      .locale = text_of(m->locale),
                      .link = text_of(m->link),
                      .name = text_of(m->name),
                      .org = text_of(m->org),
                      .detail = text_of(m->detail),
                      .state = sv_cstr(m->state),
                      .tries = m->tries,
                      .created = m->created,
                      .changed = m->changed,
                      .due = m->due,
                      .expires = m->expires,
                      .error = text_of(m->error)};
}

static bool is_in(const outbox_mail *m, const char *state)
{
    return strcmp(m->state, state) == 0;
}

static bool waits(const outbox_mail *m)
{
    return is_in(m, queued) || is_in(m, sending);
}

static int put(store_tx *tx, outbox_mail *m, outbox_step step)
{
    snprintf(m->state, sizeof m->state, "%s", step.state);
    m->due = step.due;
    m->expires = step.expires;
    m->changed = store_now_ms(tx);
    mail_row row = row_of(m);
    return store_put(tx, &outbox_mails, &row);
}

/* Changes how many wait, by 0 too; *ret is how many do. */
static int count(store_tx *tx, int64_t by, int64_t *ret)
{
    mail_queue row = {.id = 0};
    int rc = store_get(tx, &outbox_queue, &row);
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    row.waiting += by;
    if (row.waiting < 0) row.waiting = 0;
    *ret = row.waiting;
    return by ? store_put(tx, &outbox_queue, &row) : 0;
}

int outbox_find(store_tx *tx, const void *in, void *out)
{
    mail_row row = {.id = sv_cstr(in)};
    int rc = store_get(tx, &outbox_mails, &row);
    if (rc == SV_E_NOT_FOUND)
        return sv_fail(store_error(tx), rc, "id", "There is no mail with this id.");
    if (rc == 0) copy(&row, out);
    return rc;
}

/* ---- what becomes of a mail ---- */

/* Minutes between a try and the next one; all tries together take less than a day. */
static const int64_t pause_minutes[OUTBOX_TRIES - 1] = {1, 5, 15, 60, 180, 420, 720};

outbox_step outbox_judge(int64_t tries, smtp_outcome outcome, uint32_t dice, int64_t now_ms)
{
    if (outcome == SMTP_ACCEPTED)
        return (outbox_step){.state = sent, .expires = now_ms + OUTBOX_SENT_MS};
    if (outcome == SMTP_STOPPED) return (outbox_step){.state = queued, .due = now_ms};
    if (outcome == SMTP_REFUSED || tries >= OUTBOX_TRIES)
        return (outbox_step){.state = failed, .expires = now_ms + OUTBOX_REST_MS};
    int64_t pause = pause_minutes[tries > 0 ? tries - 1 : 0] * 60000;
    pause -= pause * (int64_t)(dice % 151) / 1000;
    return (outbox_step){.state = queued, .due = now_ms + pause};
}

/* ---- writes ---- */

int outbox_insert(store_tx *tx, const void *in, void *out)
{
    outbox_made *ret = out;
    outbox_mail m = *(const outbox_mail *)in;
    mail_row there = {.id = sv_cstr(m.id)};
    int64_t now = store_now_ms(tx);
    *ret = (outbox_made){.made = false};
    int rc = store_get(tx, &outbox_mails, &there);
    if (rc == 0) take(there.state, ret->state, sizeof ret->state);
    if (rc == 0) return count(tx, 0, &ret->waiting);
    if (rc != SV_E_NOT_FOUND) return rc;
    bool queue = is_in(&m, queued);
    if ((rc = count(tx, queue, &ret->waiting))) return rc;
    if (queue && ret->waiting > OUTBOX_WAITING) {
        sv_fail(store_error(tx), SV_E_OVERLOADED, NULL, "Too many mails wait for the mail server.");
        store_error(tx)->retry_after_ms = 60000;
        return SV_E_OVERLOADED;
    }
    m.created = now;
    ret->made = true;
    snprintf(ret->state, sizeof ret->state, "%s", m.state);
    outbox_step step = {.state = queue ? queued : held,
                        .due = queue ? now : 0,
                        .expires = queue ? 0 : now + OUTBOX_REST_MS};
    rc = put(tx, &m, step);
    seal_wipe(m.link, sizeof m.link);
    return rc;
}

/* Mails of a state, by due time. `until`: due then at the latest, -1: all. */
static int of_state(store_tx *tx, const char *state, int64_t until, uint32_t most, store_scan **ret)
{
    mail_row low = {.state = sv_cstr(state)}, high = {.state = sv_cstr(state), .due = until};
    store_range range = {.table = &outbox_mails,
                         .index = "by_state",
                         .low = &low,
                         .high = &high,
                         .low_n = 1,
                         .high_n = until < 0 ? 1 : 2,
                         .limit = most};
    return store_scan_open(tx, &range, ret);
}

/* Copies up to `most` of them. */
static int collect(store_tx *tx, const char *state, int64_t until, uint32_t most, outbox_mail *to,
                   uint32_t *ret_n)
{
    store_scan *scan;
    mail_row row;
    int rc = of_state(tx, state, until, most, &scan);
    *ret_n = 0;
    if (rc) return rc;
    while (*ret_n < most && store_scan_next(scan, &row))
        copy(&row, &to[(*ret_n)++]);
    rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc;
}

int outbox_claim(store_tx *tx, const void *in, void *out)
{
    outbox_claims *ret = out;
    uint32_t most = *(const uint32_t *)in;
    int64_t now = store_now_ms(tx);
    if (most > OUTBOX_AT_ONCE) most = OUTBOX_AT_ONCE;
    ret->n = 0;
    ret->wait_ms = -1;
    int rc = most ? collect(tx, queued, now, most, ret->mails, &ret->n) : 0;
    for (uint32_t i = 0; rc == 0 && i < ret->n; i++) {
        ret->mails[i].tries++;
        rc = put(tx, &ret->mails[i], (outbox_step){.state = sending});
    }
    store_scan *scan;
    mail_row row;
    if (rc == 0) rc = of_state(tx, queued, -1, 1, &scan);
    if (rc) return rc;
    if (store_scan_next(scan, &row)) ret->wait_ms = row.due > now ? row.due - now : 0;
    rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc ? rc : count(tx, 0, &ret->waiting);
}

int outbox_settle(store_tx *tx, const void *in, void *out)
{
    const outbox_verdict *v = in;
    outbox_settled *ret = out;
    mail_row row = {.id = sv_cstr(v->id)};
    ret->found = false;
    int rc = store_get(tx, &outbox_mails, &row);
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    if (rc == 0) {
        copy(&row, &ret->mail);
        ret->found = is_in(&ret->mail, sending);
    }
    if (!ret->found) return count(tx, 0, &ret->waiting);
    outbox_mail *m = &ret->mail;
    outbox_step step = outbox_judge(m->tries, v->outcome, v->dice, store_now_ms(tx));
    if (v->outcome == SMTP_STOPPED) m->tries--;
    if (v->outcome != SMTP_STOPPED) snprintf(m->error, sizeof m->error, "%s", v->why);
    if (v->outcome == SMTP_ACCEPTED) seal_wipe(m->link, sizeof m->link);
    rc = put(tx, m, step);
    return rc ? rc : count(tx, waits(m) ? 0 : -1, &ret->waiting);
}

static int hold(store_tx *tx, outbox_mail *m)
{
    return put(tx, m, (outbox_step){.state = held, .expires = store_now_ms(tx) + OUTBOX_REST_MS});
}

int outbox_recover(store_tx *tx, const void *in, void *out)
{
    outbox_recovery *ret = out;
    *ret = (outbox_recovery){.sends = *(const bool *)in};
    outbox_mail *m = arena_alloc(store_arena(tx), OUTBOX_RECOVER * sizeof *m);
    uint32_t n = 0, more = 0;
    if (m == NULL) return SV_E_NO_MEMORY;
    int rc = collect(tx, sending, -1, OUTBOX_RECOVER, m, &n);
    if (rc == 0 && !ret->sends) rc = collect(tx, queued, -1, OUTBOX_RECOVER - n, m + n, &more);
    n += more;
    for (uint32_t i = 0; rc == 0 && i < n; i++) {
        if (ret->sends)
            rc = put(tx, &m[i], (outbox_step){.state = queued, .due = store_now_ms(tx)});
        else
            rc = hold(tx, &m[i]);
    }
    ret->more = n == OUTBOX_RECOVER;
    ret->held = ret->sends ? 0 : n;
    return rc ? rc : count(tx, -ret->held, &ret->waiting);
}

int outbox_again(store_tx *tx, const void *in, void *out)
{
    outbox_settled *ret = out;
    outbox_mail *m = &ret->mail;
    int rc = outbox_find(tx, in, m);
    if (rc) return rc;
    ret->found = true;
    if (is_in(m, sent))
        return sv_fail(store_error(tx), SV_E_CONFLICT, "id", "This mail was sent already.");
    if (is_in(m, sending)) return count(tx, 0, &ret->waiting);
    bool new = !waits(m);
    m->tries = 0;
    rc = put(tx, m, (outbox_step){.state = queued, .due = store_now_ms(tx)});
    return rc ? rc : count(tx, new, &ret->waiting);
}

int outbox_drop(store_tx *tx, const void *in, void *out)
{
    outbox_settled *ret = out;
    int rc = outbox_find(tx, in, &ret->mail);
    if (rc) return rc;
    ret->found = true;
    mail_row row = {.id = sv_cstr(in)};
    rc = store_delete(tx, &outbox_mails, &row);
    return rc ? rc : count(tx, waits(&ret->mail) ? -1 : 0, &ret->waiting);
}

/* ---- reads ---- */

int outbox_some(store_tx *tx, const void *in, void *out)
{
    const mail_list_req *q = in;
    outbox_page *ret = out;
    store_range range = {
        .table = &outbox_mails, .index = "by_created", .reverse = true, .after = q->after};
    store_scan *scan;
    mail_row row;
    ret->n = ret->position_n = 0;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    bool more = false;
    for (uint32_t looked = 0; store_scan_next(scan, &row); looked++) {
        bool wanted = q->state.n == 0 || (q->state.n == row.state.n &&
                                          memcmp(q->state.p, row.state.p, row.state.n) == 0);
        more = ret->n == OUTBOX_PAGE || looked == OUTBOX_LOOK;
        if (more) break;
        if (wanted) copy(&row, &ret->mails[ret->n++]);
        sv_str at = store_scan_position(scan);
        ret->position_n = at.n <= OUTBOX_POSITION ? at.n : 0;
        memcpy(ret->position, at.p, ret->position_n);
    }
    if (!more) ret->position_n = 0;
    rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc;
}
