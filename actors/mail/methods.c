/*  methods.c - what others ask of the outbox, of an actor that runs and of one that does not. */
#include "mail.h"

#include "base64url.h"
#include "error.h"
#include "log.h"
#include "seal.h"
#include "uuid.h"

#include <stdio.h>

static int operator_only(sv_call *call)
{
    if (strcmp(sv_call_caller(call), "operator") == 0) return 0;
    return sv_fail(sv_call_error(call), SV_E_DENIED, NULL, NULL);
}

/* In the spelling of the outbox. */
static int read_id(sv_str text, char ret[OUTBOX_ID + 1], sv_error *err)
{
    sv_id id;
    if (uuid_parse(text, &id))
        return sv_fail(err, SV_E_INVALID, "id", "The id of a mail is a UUID.");
    uuid_format(&id, ret);
    return 0;
}

static mailer *state_of(sv_call *call)
{
    return sv_process_state(sv_call_process(call));
}

/* ---- sending ---- */

static int take(sv_str from, const char *field, char *to, size_t size, sv_error *err)
{
    if (from.n >= size || memchr(from.p ? from.p : "", 0, from.n))
        return sv_fail(err, SV_E_INVALID, field, "This text has a NUL in it.");
    snprintf(to, size, "%.*s", SV_FMT(from));
    return 0;
}

static int read_mail(const mail_send_req *q, outbox_mail *m, sv_error *err)
{
    const struct {
        sv_str from;
        const char *field;
        char *to;
        size_t size;
    } texts[] = {{q->to, "to", m->to, sizeof m->to},
                 {q->template, "template", m->template, sizeof m->template},
                 {q->locale, "locale", m->locale, sizeof m->locale},
                 {q->link, "link", m->link, sizeof m->link},
                 {q->name, "name", m->name, sizeof m->name},
                 {q->org, "org", m->org, sizeof m->org},
                 {q->detail, "detail", m->detail, sizeof m->detail}};
    int rc = read_id(q->id, m->id, err);
    for (size_t i = 0; rc == 0 && i < sizeof texts / sizeof *texts; i++)
        rc = take(texts[i].from, texts[i].field, texts[i].to, texts[i].size, err);
    return rc ? rc : render_check(m, err);
}

/* The one place where a link may be in a log: without a mail server somebody has to pass it on. */
static void tell_operator(const outbox_mail *m)
{
    mail_counted(m, "held");
    log_write(LOG_WARN, "there is no mail server: this mail is held, see samovar mail show",
              LOG_STR("mail", m->id), LOG_STR("template", m->template), LOG_STR("to", m->to),
              LOG_STR("link", m->link));
}

int mail_send(sv_call *call, const void *request)
{
    mailer *a = state_of(call);
    outbox_mail *m = arena_alloc(sv_call_arena(call), sizeof *m);
    outbox_made made;
    if (m == NULL) return SV_E_NO_MEMORY;
    int rc = read_mail(request, m, sv_call_error(call));
    snprintf(m->state, sizeof m->state, "%s", a->sends ? "queued" : "held");
    if (rc == 0) rc = store_write(call, outbox_insert, m, &made);
    if (rc == 0 && made.made) {
        mail_show_waiting(made.waiting);
        if (a->sends)
            mail_sender_look(a);
        else
            tell_operator(m);
    }
    seal_wipe(m->link, sizeof m->link);
    if (rc) return rc;
    return sv_reply(call, &(mail_send_reply){.id = sv_cstr(m->id), .state = sv_cstr(made.state)});
}

/* ---- answers ---- */

static sv_str text_of(const char *s)
{
    return s[0] ? sv_cstr(s) : (sv_str){NULL, 0};
}

static mail_info info_of(const outbox_mail *m)
{
    return (mail_info){.id = sv_cstr(m->id),
                       .to = sv_cstr(m->to),
                       .template = sv_cstr(m->template),
                       .locale = sv_cstr(m->locale),
                       .state = sv_cstr(m->state),
                       .tries = m->tries,
                       .created = m->created,
                       .changed = m->changed,
                       .next = m->due,
                       .expires = m->expires,
                       .error = text_of(m->error)};
}

typedef struct listing {
    mail_list_req query; /* `after` as the store knows it */
    outbox_page page;
    mail_info infos[OUTBOX_PAGE];
} listing;

static int read_query(const mail_list_req *q, arena *a, listing *ret, sv_error *err)
{
    buf position;
    ret->query = *q;
    if (q->after.n == 0) return 0;
    buf_init(&position, OUTBOX_POSITION);
    char *kept = NULL;
    int rc = base64url_get(q->after, &position);
    if (rc == 0 && (kept = arena_copy(a, buf_str(&position))) == NULL) rc = SV_E_NO_MEMORY;
    ret->query.after = (sv_str){kept, (uint32_t)position.n};
    buf_free(&position);
    if (rc == SV_E_INVALID)
        return sv_fail(err, rc, "after", "This is no next of an answer of mail.list.");
    return rc;
}

static int listing_reply(listing *l, arena *a, mail_list_reply *ret)
{
    for (uint32_t i = 0; i < l->page.n; i++)
        l->infos[i] = info_of(&l->page.mails[i]);
    *ret = (mail_list_reply){.mails = {l->infos, l->page.n}};
    if (l->page.position_n == 0) return 0;
    buf text;
    buf_init(&text, BASE64URL_TEXT(OUTBOX_POSITION));
    base64url_put(l->page.position, l->page.position_n, &text);
    char *kept = text.failed ? NULL : arena_copy(a, buf_str(&text));
    ret->next = (sv_str){kept, (uint32_t)text.n};
    buf_free(&text);
    return kept ? 0 : SV_E_NO_MEMORY;
}

static int check_state(const mail_list_req *q, sv_error *err)
{
    static const char *const states[] = {"queued", "sending", "sent", "failed", "held"};
    for (size_t i = 0; i < sizeof states / sizeof *states; i++)
        if (sv_str_is(q->state, states[i])) return 0;
    if (q->state.n == 0) return 0;
    return sv_fail(err, SV_E_INVALID, "state", "A state is queued, sending, sent, failed or held.");
}

int mail_list(sv_call *call, const void *request)
{
    listing *l = arena_alloc(sv_call_arena(call), sizeof *l);
    int rc = operator_only(call);
    if (rc == 0) rc = check_state(request, sv_call_error(call));
    if (rc == 0 && l == NULL) rc = SV_E_NO_MEMORY;
    if (rc == 0) rc = read_query(request, sv_call_arena(call), l, sv_call_error(call));
    if (rc == 0) rc = store_read(call, outbox_some, &l->query, &l->page);
    mail_list_reply reply;
    if (rc == 0) rc = listing_reply(l, sv_call_arena(call), &reply);
    return rc ? rc : sv_reply(call, &reply);
}

typedef struct showing {
    outbox_mail mail;
    mail_info info;
    rendered r;
} showing;

/* render_free(&s->r) when 0. */
static int show(showing *s, mail_show_reply *ret, sv_error *err)
{
    int rc = render(&s->mail, &s->r, err);
    if (rc) return rc;
    s->info = info_of(&s->mail);
    *ret = (mail_show_reply){.mail = &s->info,
                             .subject = buf_str(&s->r.subject),
                             .link = text_of(s->mail.link),
                             .text = buf_str(&s->r.text),
                             .html = buf_str(&s->r.html)};
    return 0;
}

int mail_show(sv_call *call, const void *request)
{
    const mail_id_req *q = request;
    char id[OUTBOX_ID + 1];
    mail_show_reply reply;
    showing *s = arena_alloc(sv_call_arena(call), sizeof *s);
    int rc = operator_only(call);
    if (rc == 0) rc = read_id(q->id, id, sv_call_error(call));
    if (rc == 0 && s == NULL) rc = SV_E_NO_MEMORY;
    if (rc == 0) rc = store_read(call, outbox_find, id, &s->mail);
    if (rc == 0) rc = show(s, &reply, sv_call_error(call));
    if (rc) return rc;
    rc = sv_reply(call, &reply);
    render_free(&s->r);
    seal_wipe(s->mail.link, sizeof s->mail.link);
    return rc;
}

static int change(sv_call *call, const mail_id_req *q, store_fn *fn)
{
    char id[OUTBOX_ID + 1];
    outbox_settled *done = arena_alloc(sv_call_arena(call), sizeof *done);
    int rc = operator_only(call);
    if (rc == 0) rc = read_id(q->id, id, sv_call_error(call));
    if (rc == 0 && done == NULL) rc = SV_E_NO_MEMORY;
    if (rc == 0) rc = store_write(call, fn, id, done);
    if (rc) return rc;
    mail_show_waiting(done->waiting);
    mail_info info = info_of(&done->mail);
    seal_wipe(done->mail.link, sizeof done->mail.link);
    return sv_reply(call, &(mail_reply){.mail = &info});
}

int mail_retry(sv_call *call, const void *request)
{
    mailer *a = state_of(call);
    if (!a->sends) {
        int rc = operator_only(call);
        return rc ? rc : sv_fail(sv_call_error(call), SV_E_MAIL_SERVER, NULL, NULL);
    }
    int rc = change(call, request, outbox_again);
    if (rc == 0) mail_sender_look(a);
    return rc;
}

int mail_drop(sv_call *call, const void *request)
{
    return change(call, request, outbox_drop);
}

/* ---- without a process ---- */

int mail_list_answer(sv_offline *o, const void *request, void *reply)
{
    listing *l = arena_alloc(o->arena, sizeof *l);
    int rc = check_state(request, o->err);
    if (rc == 0 && l == NULL) rc = SV_E_NO_MEMORY;
    if (rc == 0) rc = read_query(request, o->arena, l, o->err);
    if (rc) return rc;
    store_op op = {
        .fn = outbox_some, .in = &l->query, .out = &l->page, .arena = o->arena, .owner = "offline"};
    if ((rc = store_view(o->store, &op))) {
        *o->err = op.error;
        return rc;
    }
    return listing_reply(l, o->arena, reply);
}
