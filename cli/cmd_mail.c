/*  cmd_mail.c - `samovar mail`: what goes out, for the operator. `ls` reads the outbox of a stopped
 *  platform, too; the rest asks the actor. */
#include "commands.h"

#include "error.h"
#include "places.h"
#include "store_work.h"
#include "uuid.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ASK_MS = 10000, ANSWER_BYTES = 4 << 20, TEST_MS = 90000, TEST_LOOK_MS = 200 };

static int complain(const sv_error *err)
{
    cli_complain(err);
    return CLI_FAILED;
}

/* One call over a connection of its own; `ret` borrows from the arena. */
static int ask(const config *c, const char *target, const sv_message *request_type,
               const void *request, const sv_message *type, arena *a, void *ret, sv_error *err)
{
    bus_client bus = {NULL};
    buf packed, reply;
    buf_init(&packed, LIMIT_MESSAGE_BYTES);
    buf_init(&reply, ANSWER_BYTES);
    int rc = message_encode(request_type, request, &packed);
    if (rc) sv_fail(err, rc, NULL, NULL);
    if (rc == 0) rc = bus_client_open(&bus, c, BUS_PATIENCE_MS, err);
    if (rc == 0) rc = bus_client_call(&bus, target, buf_str(&packed), ASK_MS, &reply, err);
    char *bytes = rc ? NULL : arena_copy(a, buf_str(&reply));
    if (rc == 0 && bytes == NULL) rc = sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    if (rc == 0)
        rc = message_decode(type, (sv_str){bytes, (uint32_t)reply.n}, MESSAGE_LENIENT, a, ret, err);
    bus_client_close(&bus);
    buf_free(&packed);
    buf_free(&reply);
    return rc;
}

static void time_text(int64_t unix_ms, char to[32])
{
    time_t s = (time_t)(unix_ms / 1000);
    struct tm tm;
    snprintf(to, 32, "-");
    if (unix_ms && gmtime_r(&s, &tm)) strftime(to, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/* Appends a member of a JSON object. */
static void put_member(buf *out, const char *name, sv_str value)
{
    buf_printf(out, ",\"%s\":\"", name);
    buf_json_escape(out, value);
    buf_putc(out, '"');
}

/* ---- ls ---- */

static void print_mail(const mail_info *m)
{
    char created[32], next[32];
    time_text(m->created, created);
    time_text(m->next, next);
    printf("%-36.*s %-20s %-7.*s %5lld %-20s %-18.*s %-32.*s  %.*s\n", SV_FMT(m->id), created,
           SV_FMT(m->state), (long long)m->tries, next, SV_FMT(m->template), SV_FMT(m->to),
           SV_FMT(m->error));
}

static int print_page(const mail_list_reply *page, bool json, uint64_t before)
{
    buf text;
    buf_init(&text, ANSWER_BYTES);
    const mail_info *mails = page->mails.items;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < page->mails.n; i++) {
        if (!json) {
            print_mail(&mails[i]);
            continue;
        }
        buf_puts(&text, before + i ? ",\n " : "[");
        rc = work_json(&mail_info_msg, &mails[i], &text);
    }
    if (json && rc == 0 && text.n) fwrite(text.p, 1, text.n, stdout);
    buf_free(&text);
    return rc;
}

static int list(const config *c, const char *state, bool json)
{
    places p;
    arena a;
    sv_error err = {.code = 0};
    char after[701] = "";
    uint64_t n = 0;
    int rc = places_find(&p, c, "mail", &err);
    arena_init(&a, ANSWER_BYTES);
    if (rc == 0 && !json)
        printf("%-36s %-20s %-7s %5s %-20s %-18s %-32s  %s\n", "ID", "CREATED", "STATE", "TRIES",
               "NEXT", "TEMPLATE", "TO", "ERROR");
    while (rc == 0) {
        mail_list_req q = {.state = state ? sv_cstr(state) : (sv_str){NULL, 0},
                           .after = after[0] ? sv_cstr(after) : (sv_str){NULL, 0}};
        mail_list_reply page;
        rc = place_call(&p, &p.list[0], "list", &mail_list_req_msg, &q, ASK_MS,
                        &mail_list_reply_msg, &a, &page, &err);
        if (rc == 0 && (rc = print_page(&page, json, n))) sv_fail(&err, rc, NULL, NULL);
        n += rc ? 0 : page.mails.n;
        if (rc || page.next.n == 0) break;
        snprintf(after, sizeof after, "%.*s", SV_FMT(page.next));
        arena_reset(&a);
    }
    if (rc == 0 && json) puts(n == 0 ? "[]" : "]");
    if (rc) complain(&err);
    arena_free(&a);
    places_free(&p);
    return rc == 0 && fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
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
    int rc = ask(c, "mail.show", &mail_id_req_msg, &q, &mail_show_reply_msg, &a, &r, &err);
    if (rc == 0 && r.mail == NULL) rc = sv_fail(&err, SV_E_MALFORMED, "mail", NULL);
    if (rc == 0 && r.mail && (rc = print_shown(&r, json))) sv_fail(&err, rc, NULL, NULL);
    if (rc) complain(&err);
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
    int rc = ask(c, target, &mail_id_req_msg, &q, &mail_reply_msg, &a, &r, &err);
    if (rc == 0 && r.mail == NULL) rc = sv_fail(&err, SV_E_MALFORMED, "mail", NULL);
    if (rc || r.mail == NULL)
        complain(&err);
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
        int rc = ask(c, "mail.show", &mail_id_req_msg, &q, &mail_show_reply_msg, a, &r, &err);
        if (rc) return complain(&err);
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
                       .locale = locale ? sv_cstr(locale) : (sv_str){NULL, 0}};
    mail_send_reply r;
    arena a;
    arena_init(&a, ANSWER_BYTES);
    int rc = ask(c, "mail.send", &mail_send_req_msg, &q, &mail_send_reply_msg, &a, &r, &err);
    arena_reset(&a);
    int exit_code = rc ? complain(&err) : follow(c, id, &a);
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
