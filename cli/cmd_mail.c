/*  cmd_mail.c - `samovar mail`: what goes out, for the operator. `ls` reads the outbox of a stopped
 *  platform, too; the rest asks the actor. */
#include "commands.h"

#include "error.h"
#include "listing.h"
#include "store_work.h"
#include "uuid.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ASK_MS = 10000, ANSWER_BYTES = 4 << 20, TEST_MS = 90000, TEST_LOOK_MS = 200 };

/* Appends a member of a JSON object. */
static void put_member(buf *out, const char *name, sv_str value)
{
    buf_printf(out, ",\"%s\":\"", name);
    buf_json_escape(out, value);
    buf_putc(out, '"');
}

/* ---- ls ---- */

static void print_mail(const void *item)
{
    const mail_info *m = item;
    char created[LISTING_TIME], next[LISTING_TIME];
    printf("%-36.*s %-20s %-7.*s %5lld %-20s %-18.*s %-32.*s  %.*s\n", SV_FMT(m->id),
           listing_time(m->created, "-", created), SV_FMT(m->state), (long long)m->tries,
           listing_time(m->next, "-", next), SV_FMT(m->template), SV_FMT(m->to), SV_FMT(m->error));
}

static int list(const config *c, const char *state, bool json)
{
    mail_list_req q = {.state = sv_cstr(state)};
    mail_list_reply page;
    listing l = {&mail_info_msg, print_mail,
                 "ID                                   CREATED              STATE   TRIES NEXT"
                 "                 TEMPLATE           TO                                ERROR\n",
                 json, 0};
    const listing_pages pages = {.service = "mail",
                                 .method = "list",
                                 .request_type = &mail_list_req_msg,
                                 .reply_type = &mail_list_reply_msg,
                                 .request = &q,
                                 .reply = &page,
                                 .after = &q.after,
                                 .items = &page.mails,
                                 .next = &page.next,
                                 .ttl_ms = ASK_MS};
    return listing_all(&l, c, &pages);
}

/* ---- show ---- */

static int print_shown(const mail_show_reply *r, bool json)
{
    const mail_info *m = r->mail;
    buf text;
    buf_init(&text, ANSWER_BYTES);
    int rc = json ? work_json(&mail_info_msg, m, &text) : 0;
    if (json && rc == 0) {
        text.n--; /* goes on before the closing brace */
        put_member(&text, "subject", r->subject);
        if (r->link.n) put_member(&text, "link", r->link);
        put_member(&text, "text", r->text);
        put_member(&text, "html", r->html);
        buf_puts(&text, "}\n");
    } else if (rc == 0) {
        buf_printf(&text, "State: %.*s, %lld tries", SV_FMT(m->state), (long long)m->tries);
        if (m->error.n) buf_printf(&text, ", %.*s", SV_FMT(m->error));
        buf_printf(&text, "\nTo: %.*s\nSubject: %.*s\n\n", SV_FMT(m->to), SV_FMT(r->subject));
        for (uint32_t i = 0; i < r->text.n; i++)
            if (r->text.p[i] != '\r') buf_putc(&text, r->text.p[i]);
    }
    rc = rc ? rc : text.failed ? text.error : 0;
    if (rc == 0) fwrite(text.p, 1, text.n, stdout);
    buf_free(&text);
    return rc;
}

static int show(const config *c, const char *id, bool json)
{
    sv_error err = {.code = 0};
    mail_id_req q = {.id = sv_cstr(id)};
    mail_show_reply r;
    arena a;
    arena_init(&a, ANSWER_BYTES);
    int rc = bus_client_once(c, "mail.show", &mail_id_req_msg, &q, ASK_MS, &mail_show_reply_msg, &a,
                             &r, &err);
    if (rc == 0 && r.mail == NULL) rc = sv_fail(&err, SV_E_MALFORMED, "mail", NULL);
    if (rc == 0 && r.mail && (rc = print_shown(&r, json))) sv_fail(&err, rc, NULL, NULL);
    if (rc) cli_complain(&err);
    arena_free(&a);
    return rc == 0 && fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
}

/* ---- retry, drop ---- */

static int change(const config *c, const char *id, const char *target, const char *done)
{
    sv_error err = {.code = 0};
    mail_id_req q = {.id = sv_cstr(id)};
    mail_reply r;
    arena a;
    arena_init(&a, ANSWER_BYTES);
    int rc =
        bus_client_once(c, target, &mail_id_req_msg, &q, ASK_MS, &mail_reply_msg, &a, &r, &err);
    if (rc == 0 && r.mail == NULL) rc = sv_fail(&err, SV_E_MALFORMED, "mail", NULL);
    if (rc || r.mail == NULL)
        cli_complain(&err);
    else
        printf("the mail to %.*s %s\n", SV_FMT(r.mail->to), done);
    arena_free(&a);
    return rc ? CLI_FAILED : CLI_OK;
}

/* ---- test ---- */

/* CLI_OK: it was sent; CLI_FAILED: it was not. -1: one has to look again. */
static int judge(const mail_info *m)
{
    if (sv_str_is(m->state, "sent")) {
        printf("the mail server has taken the mail to %.*s\n", SV_FMT(m->to));
        return CLI_OK;
    }
    if (sv_str_is(m->state, "held")) {
        fprintf(stderr,
                "samovar mail: there is no mail server: set mail.smtp_url and mail.from. The mail "
                "is held, id %.*s\n",
                SV_FMT(m->id));
        return CLI_FAILED;
    }
    bool failed = sv_str_is(m->state, "failed");
    if (!failed && (m->error.n == 0 || sv_str_is(m->state, "sending"))) return -1;
    fprintf(stderr, "samovar mail: not sent%s: %.*s\n", failed ? "" : ", it is tried again",
            SV_FMT(m->error));
    return CLI_FAILED;
}

static int follow(const config *c, const char *id, arena *a)
{
    const struct timespec pause = {.tv_nsec = TEST_LOOK_MS * 1000000L};
    mail_id_req q = {.id = sv_cstr(id)};
    for (int i = 0; i < TEST_MS / TEST_LOOK_MS; i++) {
        sv_error err = {.code = 0};
        mail_show_reply r;
        int rc = bus_client_once(c, "mail.show", &mail_id_req_msg, &q, ASK_MS, &mail_show_reply_msg,
                                 a, &r, &err);
        if (rc) return cli_complain(&err);
        int exit_code = r.mail ? judge(r.mail) : -1;
        if (exit_code >= 0) return exit_code;
        arena_reset(a);
        nanosleep(&pause, NULL);
    }
    fprintf(stderr, "samovar mail: the mail server has not answered yet; see samovar mail ls\n");
    return CLI_FAILED;
}

static int test(const config *c, const char *address, const char *locale)
{
    sv_error err = {.code = 0};
    char id[UUID_TEXT + 1];
    sv_id fresh = uuid_new();
    uuid_format(&fresh, id);
    mail_send_req q = {.id = sv_cstr(id),
                       .to = sv_cstr(address),
                       .template = sv_cstr("test"),
                       .locale = sv_cstr(locale)};
    mail_send_reply r;
    arena a;
    arena_init(&a, ANSWER_BYTES);
    int rc = bus_client_once(c, "mail.send", &mail_send_req_msg, &q, ASK_MS, &mail_send_reply_msg,
                             &a, &r, &err);
    arena_reset(&a);
    int exit_code = rc ? cli_complain(&err) : follow(c, id, &a);
    arena_free(&a);
    return exit_code;
}

/* ---- the command ---- */

static const struct {
    const char *verb, *word; /* what it takes; NULL: nothing */
} verbs[] = {{"ls", NULL}, {"show", "ID"}, {"retry", "ID"}, {"drop", "ID"}, {"test", "ADDRESS"}};

static int run(const config *c, const char *verb, const char *word, const char *state,
               const char *locale, bool json)
{
    if (strcmp(verb, "ls") == 0) return list(c, state, json);
    if (strcmp(verb, "show") == 0) return show(c, word, json);
    if (strcmp(verb, "retry") == 0) return change(c, word, "mail.retry", "is sent now");
    if (strcmp(verb, "drop") == 0) return change(c, word, "mail.drop", "is forgotten");
    return test(c, word, locale);
}

static int wrong(const char *what)
{
    fprintf(stderr, "samovar mail: %s\n", what);
    return CLI_USAGE;
}

static int check(const args *words, const char *output, const char *state, const char *locale)
{
    const char *verb = words->word[0];
    size_t i = 0, n = sizeof verbs / sizeof *verbs;
    while (i < n && strcmp(verbs[i].verb, verb) != 0)
        i++;
    if (i == n) return wrong("the first word is ls, show, retry, drop or test");
    if (verbs[i].word == NULL && words->n != 1) return wrong("ls takes no further word");
    if (verbs[i].word && words->n != 2)
        return wrong(i == n - 1 ? "test takes one e-mail address" : "give the id of one mail");
    if (output && i > 1) return wrong("-o goes with ls and show");
    if (state && i != 0) return wrong("--state goes with ls");
    if (locale && i != n - 1) return wrong("--locale goes with test");
    return CLI_OK;
}

int cmd_mail(int argc, char **argv)
{
    const char *state = NULL, *locale = NULL, *output = NULL;
    bool json;
    const args_option options[] = {
        {0, "state", "STATE", "ls: only queued, sending, sent, failed or held ones", &state, NULL},
        {0, "locale", "en|ru", "test: the language; default en", &locale, NULL},
        {'o', "output", "table|json", "ls, show: json", &output, NULL}};
    const args_spec spec = {
        "samovar mail",
        "ls | show ID | retry ID | drop ID | test ADDRESS",
        "Outgoing mail. retry sends a queued, failed or held one now; test sends one and waits for "
        "the mail server's word.",
        "json keys: id, to, template, locale, state, tries, created, changed, next, expires (Unix "
        "ms), error; show: also subject, link, text, html\n"
        "examples:\n"
        "  samovar mail ls --state held\n"
        "  samovar mail test anna@example.org\n"
        "exit codes: 0 done, 1 failed, 2 wrong words",
        options,
        sizeof options / sizeof *options,
        1,
        2};
    args words;
    int exit_code;
    config *c = NULL;
    if (!cli_args(&spec, argc, argv, &words, &exit_code)) return exit_code;
    if (!cli_output(output, &json)) return CLI_USAGE;
    if ((exit_code = check(&words, output, state, locale))) return exit_code;
    if (cli_config(NULL, &c)) return CLI_CONFIG;
    exit_code = run(c, words.word[0], words.n > 1 ? words.word[1] : "", state, locale, json);
    config_free(c);
    return exit_code;
}
