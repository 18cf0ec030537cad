/*  mail.c - the actor's table, its start and stop. */
#include "mail.h"

#include "error.h"

#include <stdlib.h>

static int init(sv_process *process, void **state, sv_error *err)
{
    mailer *m = calloc(1, sizeof *m);
    if (m == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    m->process = process;
    int rc = mail_settings(m, sv_config(process), err);
    if (rc == 0) rc = mail_sender_start(m, err);
    if (rc) {
        free(m);
        return rc;
    }
    *state = m;
    return 0;
}

static void drain(sv_process *process, void *state)
{
    (void)process;
    mail_sender_drain(state);
}

static void stop(sv_process *process, void *state)
{
    (void)process;
    if (state) mail_sender_stop(state);
}

static const sv_method methods[] = {
    {.name = "send",
     .request = &mail_send_req_msg,
     .reply = &mail_send_reply_msg,
     .handler = mail_send,
     .flags = SV_IDEMPOTENT,
     .doc = "Sends a mail made from a template; answers when it is kept. The same id again is no "
            "second mail."},
    {.name = "list",
     .request = &mail_list_req_msg,
     .reply = &mail_list_reply_msg,
     .handler = mail_list,
     .flags = SV_IDEMPOTENT,
     .doc = "Mails, newest first; for the operator."},
    {.name = "show",
     .request = &mail_id_req_msg,
     .reply = &mail_show_reply_msg,
     .handler = mail_show,
     .flags = SV_IDEMPOTENT,
     .doc = "A mail with its text and link; for the operator."},
    {.name = "retry",
     .request = &mail_id_req_msg,
     .reply = &mail_reply_msg,
     .handler = mail_retry,
     .flags = SV_IDEMPOTENT,
     .doc = "Sends a queued, failed or held mail now, with all tries ahead; for the operator."},
    {.name = "drop",
     .request = &mail_id_req_msg,
     .reply = &mail_reply_msg,
     .handler = mail_drop,
     .doc = "Forgets a mail; for the operator."},
};

static const sv_question questions[] = {
    {"list", &mail_list_req_msg, &mail_list_reply_msg, mail_list_answer, NULL,
     "mails, as mail.list"},
};

const sv_actor mail_actor = {
    .name = "mail",
    .version = SAMOVAR_VERSION,
    .doc = "outgoing mail",
    .methods = methods,
    .n_methods = sizeof methods / sizeof *methods,
    .store = &outbox_schema,
    .questions = questions,
    .n_questions = sizeof questions / sizeof *questions,
    .init = init,
    .drain = drain,
    .stop = stop,
};
