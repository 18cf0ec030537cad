/*  sender.c - takes what is due, delivers it, writes down what became of it.
 *
 *  A mail is `sending` on disk before its delivery begins, and what became of it is written before
 *  the next step. Between the server's 250 and that write lies the one moment in which a crash sends
 *  a mail twice. At most one write that claims is under way (`looking`); whoever wants to look
 *  meanwhile leaves a note (`again`). Nothing is claimed before the recovery is through. A verdict
 *  that cannot be written stays in its flight and is written again, so that a full disk does not
 *  send a mail twice either. */
#include "mail.h"

#include "error.h"
#include "log.h"
#include "metrics.h"
#include "seal.h"
#include "uuid.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static const char owner[] = "mail.sender";

static void settle(void *arg);
static void recover(void *arg);

void mail_show_waiting(int64_t waiting)
{
    metric_set(metric_one(M_MAIL_QUEUE), (double)waiting);
}

void mail_counted(const outbox_mail *mail, const char *outcome)
{
    metric_add(metric_get(M_MAIL, (const char *const[]){mail->template, outcome}), 1);
}

static void later(mailer *m, loop_timer *t, int64_t ms, loop_fn *fn, void *arg)
{
    if (loop_timer_set(sv_loop(m->process), t, (uint64_t)ms * 1000, fn, arg)) {
        log_write(LOG_ERROR, "no memory for a timer: stopping");
        sv_stop(m->process);
    }
}

static void mail_free(mailer *m)
{
    seal_wipe(m->flights, sizeof m->flights);
    free(m);
}

/* ---- one delivery ---- */

static void land(flight *f)
{
    mailer *m = f->owner;
    if (f->message.p) seal_wipe(f->message.p, f->message.n);
    buf_free(&f->message);
    seal_wipe(&f->mail, sizeof f->mail);
    f->busy = false;
    m->n_flights--;
    sv_hold(m->process, -1);
    mail_sender_look(m);
}

static void report(const flight *f)
{
    const outbox_mail *mail = &f->settled.mail;
    bool accepted = f->verdict.outcome == SMTP_ACCEPTED;
    if (f->verdict.outcome == SMTP_STOPPED) return;
    bool given_up = strcmp(mail->state, "failed") == 0;
    mail_counted(mail, accepted ? "sent" : given_up ? "failed" : "deferred");
    if (accepted)
        log_write(LOG_INFO, "mail sent", LOG_STR("mail", mail->id),
                  LOG_STR("template", mail->template), LOG_INT("tries", mail->tries));
    else
        log_write(given_up ? LOG_ERROR : LOG_WARN,
                  given_up ? "mail given up" : "mail not sent, it is tried again",
                  LOG_STR("mail", mail->id), LOG_STR("template", mail->template),
                  LOG_INT("tries", mail->tries), LOG_STR("why", f->verdict.why));
}

static void settled(void *arg, int code, const sv_error *err)
{
    flight *f = arg;
    mailer *m = f->owner;
    m->writes--;
    if (m->ending) {
        if (m->writes == 0) mail_free(m);
        return;
    }
    if (code) {
        log_write(LOG_ERROR, "what became of a mail cannot be written; it is tried again",
                  LOG_STR("mail", f->verdict.id), LOG_ERR(err));
        later(m, &f->timer, MAIL_PAUSE_MS, settle, f);
        return;
    }
    mail_show_waiting(f->settled.waiting);
    if (f->settled.found) report(f);
    land(f);
}

static void settle(void *arg)
{
    flight *f = arg;
    mailer *m = f->owner;
    int rc = sv_store_write(m->process, owner, outbox_settle, &f->verdict, &f->settled, settled, f);
    if (rc == 0)
        m->writes++;
    else if (!m->ending)
        later(m, &f->timer, MAIL_PAUSE_MS, settle, f);
}

static void judge(flight *f)
{
    f->verdict = (outbox_verdict){.outcome = f->result.outcome};
    uuid_random(&f->verdict.dice, sizeof f->verdict.dice);
    snprintf(f->verdict.id, sizeof f->verdict.id, "%s", f->mail.id);
    snprintf(f->verdict.why, sizeof f->verdict.why, "%s", f->result.words);
    settle(f);
}

/* On a thread of the pool. */
static int deliver(void *arg)
{
    flight *f = arg;
    smtp_deliver(&f->owner->server, &f->envelope, &f->owner->stop, &f->result);
    return 0;
}

static void delivered(void *arg, int code)
{
    flight *f = arg;
    if (code) f->result = (smtp_result){.outcome = SMTP_STOPPED};
    judge(f);
}

static void take_off(flight *f, const outbox_mail *mail)
{
    mailer *m = f->owner;
    rendered r;
    sv_error err = {.code = 0};
    f->busy = true;
    f->mail = *mail;
    m->n_flights++;
    sv_hold(m->process, 1);
    buf_init(&f->message, COMPOSE_BYTES);
    f->result = (smtp_result){.outcome = SMTP_LATER};
    int rc = render(&f->mail, &r, &err);
    if (rc == 0) {
        rc = compose(&m->sender, &f->mail, &r, &f->message);
        render_free(&r);
    }
    f->envelope = (smtp_mail){m->sender.from.address, f->mail.to, buf_str(&f->message)};
    if (rc == 0) rc = pool_submit(m->pool, deliver, delivered, f);
    if (rc == 0) return;
    sv_fail(&err, rc, NULL, NULL);
    snprintf(f->result.words, sizeof f->result.words, "%.*s", SMTP_WORDS, err.message);
    judge(f);
}

/* ---- looking for what is due ---- */

static void look(void *arg)
{
    mail_sender_look(arg);
}

static flight *free_flight(mailer *m)
{
    for (uint32_t i = 0; i < OUTBOX_AT_ONCE; i++)
        if (!m->flights[i].busy) return &m->flights[i];
    return NULL;
}

static void claimed(void *arg, int code, const sv_error *err)
{
    mailer *m = arg;
    outbox_claims *c = &m->claims;
    int64_t wait_ms = c->wait_ms < 0 || c->wait_ms > MAIL_LOOK_MS ? MAIL_LOOK_MS : c->wait_ms;
    m->looking = false;
    sv_hold(m->process, -1);
    if (code) {
        log_write(LOG_ERROR, "the outbox cannot be written", LOG_ERR(err));
        if (!m->draining) later(m, &m->timer, MAIL_PAUSE_MS, look, m);
        return;
    }
    mail_show_waiting(c->waiting);
    for (uint32_t i = 0; i < c->n; i++) {
        flight *f = free_flight(m);
        assert(f); /* no more than the free ones were claimed */
        take_off(f, &c->mails[i]);
    }
    seal_wipe(c->mails, sizeof c->mails);
    if (m->draining || m->looking) return;
    /* With all flights busy the first one that lands looks again. */
    if (m->again)
        mail_sender_look(m);
    else if (m->n_flights < OUTBOX_AT_ONCE)
        later(m, &m->timer, wait_ms, look, m);
}

void mail_sender_look(mailer *m)
{
    if (!m->sends || !m->recovered || m->draining) return;
    m->again = m->looking;
    m->most = OUTBOX_AT_ONCE - m->n_flights;
    if (m->looking || m->most == 0) return;
    m->looking = true;
    loop_timer_stop(sv_loop(m->process), &m->timer);
    sv_hold(m->process, 1);
    int rc = sv_store_write(m->process, owner, outbox_claim, &m->most, &m->claims, claimed, m);
    if (rc == 0) return;
    m->looking = false;
    sv_hold(m->process, -1);
    later(m, &m->timer, MAIL_PAUSE_MS, look, m);
}

/* ---- the start ---- */

static void recovered(void *arg, int code, const sv_error *err)
{
    mailer *m = arg;
    if (code) {
        log_write(LOG_ERROR, "the outbox cannot be read", LOG_ERR(err));
        later(m, &m->timer, MAIL_PAUSE_MS, recover, m);
        return;
    }
    m->held += m->recovery.held;
    mail_show_waiting(m->recovery.waiting);
    if (m->recovery.more) {
        recover(m);
        return;
    }
    m->recovered = true;
    if (m->held > 0)
        log_write(
            LOG_WARN,
            "there is no mail server any more: mails that waited are held, see samovar mail ls",
            LOG_INT("mails", m->held));
    mail_sender_look(m);
}

static void recover(void *arg)
{
    mailer *m = arg;
    if (m->draining) return;
    int rc =
        sv_store_write(m->process, owner, outbox_recover, &m->sends, &m->recovery, recovered, m);
    if (rc) later(m, &m->timer, MAIL_PAUSE_MS, recover, m);
}

int mail_sender_start(mailer *m, sv_error *err)
{
    atomic_init(&m->stop, false);
    for (uint32_t i = 0; i < OUTBOX_AT_ONCE; i++)
        m->flights[i].owner = m;
    int rc = smtp_begin(err);
    if (rc) return rc;
    m->pool = m->sends ? pool_new(sv_loop(m->process), OUTBOX_AT_ONCE, OUTBOX_AT_ONCE, err) : NULL;
    if (m->sends && m->pool == NULL) {
        smtp_end();
        return err->code;
    }
    recover(m);
    return 0;
}

/* What is not handed over to the last byte is put back into the queue. */
void mail_sender_drain(mailer *m)
{
    m->draining = true;
    atomic_store(&m->stop, true);
    loop_timer_stop(sv_loop(m->process), &m->timer);
}

void mail_sender_stop(mailer *m)
{
    mail_sender_drain(m);
    m->ending = true;
    pool_free(m->pool); /* the last verdicts are written now */
    smtp_end();
    for (uint32_t i = 0; i < OUTBOX_AT_ONCE; i++) {
        flight *f = &m->flights[i];
        loop_timer_stop(sv_loop(m->process), &f->timer);
        if (f->message.p) seal_wipe(f->message.p, f->message.n);
        buf_free(&f->message);
    }
    if (m->writes == 0) mail_free(m);
}
