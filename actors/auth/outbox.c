/*  outbox.c - see outbox.h. A row that is being handed over has a slot; nothing is remembered of the
 *  others. A mail that the mail actor refuses for what it says would be refused again: its row goes,
 *  and the log says so. */
#include "outbox.h"

#include "auth.h"
#include "error.h"
#include "log.h"
#include "seal.h"
#include "uuid.h"

#include <stdio.h>

enum {
    OUTBOX_ARENA = 1 << 20,
    OUTBOX_TTL_MS = 10000,
    OUTBOX_LATER_US = 20000,
    OUTBOX_PAUSE_MS = 1000, /* after a failure; doubles up to the most */
    OUTBOX_PAUSE_MOST_MS = 30000,
    OUTBOX_KEEP_MS = 24 * 60 * 60 * 1000
};

/* ---- in the store ---- */

static sv_str text_of(const char *s)
{
    return s && s[0] ? sv_cstr(s) : (sv_str){NULL, 0};
}

int outbox_add(store_tx *tx, const outbox_mail *m)
{
    char id[AUTH_ID + 1];
    sv_id fresh = uuid_new();
    uuid_format(&fresh, id);
    outbox_row row = {.id = sv_cstr(id),
                      .to = sv_cstr(m->to),
                      .template = sv_cstr(m->template),
                      .locale = text_of(m->locale),
                      .link = text_of(m->link),
                      .name = text_of(m->name),
                      .org = text_of(m->org),
                      .detail = text_of(m->detail),
                      .created = store_now_ms(tx)};
    return store_insert(tx, &auth_outbox, &row);
}

/* in: its id. */
static int drop(store_tx *tx, const void *in, void *out)
{
    (void)out;
    int rc = store_delete(tx, &auth_outbox, &(outbox_row){.id = sv_cstr(in)});
    return rc == SV_E_NOT_FOUND ? 0 : rc;
}

static bool has_slot(const outbox *o, sv_str id)
{
    for (uint32_t i = 0; i < OUTBOX_SLOTS; i++)
        if (o->slots[i].id[0] && sv_str_is(id, o->slots[i].id)) return true;
    return false;
}

static outbox_slot *free_slot(outbox *o)
{
    for (uint32_t i = 0; i < OUTBOX_SLOTS; i++)
        if (o->slots[i].id[0] == 0) return &o->slots[i];
    return NULL;
}

/* ---- handing over ---- */

static int64_t now_ms(const auth *a)
{
    return (int64_t)(loop_unix_us(sv_loop(a->process)) / 1000);
}

static void wait_longer(auth *a)
{
    outbox *o = &a->outbox;
    o->pause_ms = o->pause_ms ? 2 * o->pause_ms : OUTBOX_PAUSE_MS;
    if (o->pause_ms > OUTBOX_PAUSE_MOST_MS) o->pause_ms = OUTBOX_PAUSE_MOST_MS;
    o->not_before = now_ms(a) + o->pause_ms;
}

/* A row that could not be deleted is handed over again, under the same id. */
static void dropped(void *arg, int code, const sv_error *err)
{
    outbox_slot *s = arg;
    if (code) {
        log_write(LOG_ERROR, "a mail stays in the outbox", LOG_STR("mail", s->id), LOG_ERR(err));
        wait_longer(s->auth);
    }
    s->id[0] = 0;
    outbox_look(s->auth);
}

static void finish(outbox_slot *s)
{
    if (sv_store_write(s->auth->process, "auth.outbox", drop, s->id, NULL, dropped, s)) {
        s->id[0] = 0;
        wait_longer(s->auth);
    }
}

/* What is wrong with the mail itself stays wrong. */
static bool for_good(int code)
{
    return sv_error_lookup(code)->status == SV_STATUS_INVALID_ARGUMENT;
}

static void answered(void *arg, sv_stream *stream, int code, const sv_item *item,
                     const sv_error *err)
{
    (void)stream, (void)item;
    outbox_slot *s = arg;
    outbox *o = &s->auth->outbox;
    s->stream = NULL;
    if (code == 0) {
        o->pause_ms = 0;
        finish(s);
    } else if (for_good(code)) {
        log_write(LOG_ERROR, "the mail actor refused a mail", LOG_STR("mail", s->id), LOG_ERR(err));
        finish(s);
    } else {
        if (o->pause_ms == 0) log_write(LOG_WARN, "mails wait for the mail actor", LOG_ERR(err));
        s->id[0] = 0;
        wait_longer(s->auth);
    }
}

static void hand_over(auth *a, outbox_slot *s, const outbox_row *row)
{
    static const sv_events events = {.done = answered};
    sv_error err = {.code = 0};
    mail_send_req q = {.id = row->id,
                       .to = row->to,
                       .template = row->template,
                       .locale = row->locale,
                       .link = row->link,
                       .name = row->name,
                       .org = row->org,
                       .detail = row->detail};
    *s = (outbox_slot){.auth = a};
    snprintf(s->id, sizeof s->id, "%.*s", SV_FMT(row->id));
    if (now_ms(a) - row->created > OUTBOX_KEEP_MS) {
        log_write(LOG_ERROR, "a mail was given up: the mail actor took none for a day",
                  LOG_SLICE("to", row->to), LOG_SLICE("template", row->template));
        finish(s);
        return;
    }
    s->stream = sv_open(a->process,
                        &(sv_request){.target = "mail.send",
                                      .type = &mail_send_req_msg,
                                      .body = &q,
                                      .ttl_ms = OUTBOX_TTL_MS,
                                      .idempotent = true},
                        &events, s, &err);
    if (s->stream) return;
    log_write(LOG_WARN, "a mail cannot be handed over", LOG_ERR(&err));
    s->id[0] = 0;
    wait_longer(a);
}

static int some(store_tx *tx, const void *in, void *out)
{
    (void)in;
    auth *a = out;
    outbox *o = &a->outbox;
    store_range range = {.table = &auth_outbox, .limit = 2 * OUTBOX_SLOTS};
    store_scan *scan;
    outbox_row row;
    outbox_slot *slot;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    while (now_ms(a) >= o->not_before && (slot = free_slot(o)) && store_scan_next(scan, &row))
        if (!has_slot(o, row.id)) hand_over(a, slot, &row);
    rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc;
}

static void look_now(void *arg)
{
    auth *a = arg;
    arena memory;
    store *kept = sv_store(a->process);
    if (kept == NULL || !sv_connected(a->process) || sv_draining(a->process) ||
        now_ms(a) < a->outbox.not_before || free_slot(&a->outbox) == NULL)
        return;
    arena_init(&memory, OUTBOX_ARENA);
    store_op op = {.fn = some, .out = a, .arena = &memory, .owner = "auth.outbox"};
    if (store_view(kept, &op)) {
        log_write(LOG_ERROR, "the outbox cannot be read", LOG_ERR(&op.error));
        wait_longer(a);
    }
    arena_free(&memory);
}

/* Not at once: the answer of the method that wrote goes first, so that it comes as soon whether
 * there is a mail or not. */
void outbox_look(auth *a)
{
    loop_timer *t = &a->outbox.later;
    if (t->slot == 0) loop_timer_set(sv_loop(a->process), t, OUTBOX_LATER_US, look_now, a);
}

/* Calls under way are gone already: the process has left the bus. */
void outbox_stop(auth *a)
{
    loop_timer_stop(sv_loop(a->process), &a->outbox.later);
}

/* ---- links ---- */

static int port_written(const config *c)
{
    char path[4200];
    int port = 0;
    snprintf(path, sizeof path, "%s/edge.port", config_run(c));
    FILE *f = fopen(path, "re");
    if (f == NULL) return 0;
    if (fscanf(f, "%5d", &port) != 1 || port < 0 || port > 65535) port = 0;
    fclose(f);
    return port;
}

int outbox_link(const auth *a, const char *page, const char *token, char *to, size_t size,
                sv_error *err)
{
    const config *c = sv_config(a->process);
    const char *origin = config_str(c, "edge.origin"), *host = config_str(c, "edge.host");
    char here[320];
    if (origin == NULL) {
        int port = (int)config_int(c, "edge.port");
        if (port == 0) port = port_written(c);
        if (port == 0)
            return sv_fail(err, SV_E_UNAVAILABLE, NULL,
                           "The platform's address is not known yet: set edge.origin.");
        bool v6 = strchr(host, ':') != NULL;
        snprintf(here, sizeof here, "%s://%s%.255s%s:%d",
                 config_str(c, "edge.tls_cert") ? "https" : "http", v6 ? "[" : "", host,
                 v6 ? "]" : "", port);
        origin = here;
    }
    size_t n = strlen(origin);
    while (n > 0 && origin[n - 1] == '/')
        n--;
    int written = snprintf(to, size, "%.*s/%s#token=%s", (int)n, origin, page, token);
    if (written < 0 || (size_t)written >= size)
        return sv_fail(err, SV_E_TOO_LARGE, NULL, "The link is too long.");
    return 0;
}
