/*  cmd_user.c - `samovar user`: accounts, for the operator. A password comes on standard input and goes
 *  over the bus: it is in no argument and no environment of any process. */
#include "commands.h"

#include "bus_client.h"
#include "error.h"
#include "places.h"
#include "seal.h"
#include "store_work.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { ADD_MS = 30000, LIST_MS = 10000, ANSWER_BYTES = 4 << 20, PASSWORD_LINE = 4096 };

static int complain(const sv_error *err)
{
    cli_complain(err);
    return CLI_FAILED;
}

/* Calls the auth actor; `ret` borrows from the arena. */
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
    if (rc == 0) rc = bus_client_call(&bus, target, buf_str(&packed), ADD_MS, &reply, err);
    char *bytes = rc ? NULL : arena_copy(a, buf_str(&reply));
    if (rc == 0 && bytes == NULL) rc = sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    if (rc == 0)
        rc = message_decode(type, (sv_str){bytes, (uint32_t)reply.n}, MESSAGE_LENIENT, a, ret, err);
    bus_client_close(&bus);
    if (packed.p) seal_wipe(packed.p, packed.n);
    buf_free(&packed);
    buf_free(&reply);
    return rc;
}

/* ---- add ---- */

/* The first line of standard input, without its end. */
static int read_password(char to[PASSWORD_LINE], sv_str *ret)
{
    size_t n = 0;
    ssize_t got;
    if (isatty(STDIN_FILENO)) fputs("password: ", stderr);
    while (n < PASSWORD_LINE && memchr(to, '\n', n) == NULL) {
        got = read(STDIN_FILENO, to + n, PASSWORD_LINE - n);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        n += (size_t)got;
    }
    const char *end = memchr(to, '\n', n);
    if (end == NULL && n == PASSWORD_LINE) {
        fprintf(stderr, "samovar user: the password on standard input is too long\n");
        return CLI_USAGE;
    }
    if (end) n = (size_t)(end - to);
    if (n > 0 && to[n - 1] == '\r') n--;
    *ret = (sv_str){to, (uint32_t)n};
    if (n == 0) fprintf(stderr, "samovar user: there is no password on standard input\n");
    return n ? CLI_OK : CLI_USAGE;
}

/* What the words say. */
typedef struct wish {
    const char *verb, *email, *name, *tier;
    bool admin, from_stdin, two_factor, json;
} wish;

static sv_str text_of(const char *s)
{
    return s ? sv_cstr(s) : (sv_str){NULL, 0};
}

static int add(const config *c, const wish *w)
{
    char line[PASSWORD_LINE];
    sv_error err = {.code = 0};
    auth_user_add_req q = {.email = sv_cstr(w->email),
                           .name = text_of(w->name),
                           .admin = w->admin,
                           .tier = text_of(w->tier)};
    auth_user_reply reply;
    arena a;
    int exit_code = read_password(line, &q.password);
    if (exit_code) return exit_code;
    arena_init(&a, ANSWER_BYTES);
    int rc =
        ask(c, "auth.user_add", &auth_user_add_req_msg, &q, &auth_user_reply_msg, &a, &reply, &err);
    seal_wipe(line, sizeof line);
    if (rc)
        complain(&err);
    else
        printf("%.*s is %s now, id %.*s\n", SV_FMT(reply.user->email),
               w->admin ? "an administrator" : "a user", SV_FMT(reply.user->id));
    arena_free(&a);
    return rc ? CLI_FAILED : CLI_OK;
}

/* ---- reset ---- */

static int reset(const config *c, const wish *w)
{
    char line[PASSWORD_LINE];
    sv_error err = {.code = 0};
    auth_user_reset_req q = {.email = sv_cstr(w->email), .two_factor = w->two_factor};
    auth_user_reply reply;
    arena a;
    int exit_code = w->from_stdin ? read_password(line, &q.password) : CLI_OK;
    if (exit_code) return exit_code;
    arena_init(&a, ANSWER_BYTES);
    int rc = ask(c, "auth.user_reset", &auth_user_reset_req_msg, &q, &auth_user_reply_msg, &a,
                 &reply, &err);
    seal_wipe(line, sizeof line);
    if (rc)
        complain(&err);
    else
        printf("%.*s has %s; its sessions have ended\n", SV_FMT(reply.user->email),
               !w->two_factor  ? "another password"
               : w->from_stdin ? "another password and no second factor"
                               : "no second factor");
    arena_free(&a);
    return rc ? CLI_FAILED : CLI_OK;
}

/* ---- disable, enable ---- */

static int flip(const config *c, const char *email, bool enable)
{
    sv_error err = {.code = 0};
    auth_user_disable_req q = {.email = sv_cstr(email), .enable = enable};
    auth_user_reply reply;
    arena a;
    arena_init(&a, ANSWER_BYTES);
    int rc = ask(c, "auth.user_disable", &auth_user_disable_req_msg, &q, &auth_user_reply_msg, &a,
                 &reply, &err);
    if (rc)
        complain(&err);
    else
        printf("%.*s %s\n", SV_FMT(reply.user->email),
               enable ? "can log in again" : "cannot log in any more; its sessions have ended");
    arena_free(&a);
    return rc ? CLI_FAILED : CLI_OK;
}

/* ---- ls ---- */

static void print_user(const auth_user_info *u)
{
    char when[32] = "never";
    time_t s = (time_t)(u->last_login / 1000);
    struct tm tm;
    if (u->last_login && gmtime_r(&s, &tm)) strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
    printf("%-40.*s %-8s %-7s %-7.*s %-3s %-8s %-20s  %.*s\n", SV_FMT(u->email),
           u->disabled ? "disabled" : "active",
           u->admin     ? "admin"
           : u->service ? "service"
                        : "user",
           SV_FMT(u->tier), u->two_factor ? "yes" : "no", u->verified ? "yes" : "no", when,
           SV_FMT(u->name));
}

static int print_page(const auth_user_list_reply *page, bool json, uint64_t before)
{
    buf text;
    buf_init(&text, ANSWER_BYTES);
    const auth_user_info *users = page->users.items;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < page->users.n; i++) {
        if (!json) {
            print_user(&users[i]);
            continue;
        }
        buf_puts(&text, before + i ? ",\n " : "[");
        rc = work_json(&auth_user_info_msg, &users[i], &text);
    }
    if (json && rc == 0 && text.n) fwrite(text.p, 1, text.n, stdout);
    buf_free(&text);
    return rc;
}

static int list(const config *c, bool json)
{
    places p;
    arena a;
    sv_error err = {.code = 0};
    char after[255] = "";
    uint64_t n = 0;
    int rc = places_find(&p, c, "auth", &err);
    arena_init(&a, ANSWER_BYTES);
    if (rc == 0 && !json)
        printf("%-40s %-8s %-7s %-7s %-3s %-8s %-20s  %s\n", "EMAIL", "STATE", "KIND", "TIER",
               "2FA", "VERIFIED", "LAST LOGIN", "NAME");
    while (rc == 0) {
        auth_user_list_req q = {.after = after[0] ? sv_cstr(after) : (sv_str){NULL, 0}};
        auth_user_list_reply page;
        rc = place_call(&p, &p.list[0], "user_list", &auth_user_list_req_msg, &q, LIST_MS,
                        &auth_user_list_reply_msg, &a, &page, &err);
        if (rc == 0 && (rc = print_page(&page, json, n))) sv_fail(&err, rc, NULL, NULL);
        n += rc ? 0 : page.users.n;
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

/* ---- the command ---- */

static int run(const wish *w)
{
    config *c = NULL;
    if (cli_config(NULL, &c)) return CLI_CONFIG;
    int exit_code = strcmp(w->verb, "add") == 0  ? add(c, w)
                    : strcmp(w->verb, "ls") == 0 ? list(c, w->json)
                    : strcmp(w->verb, "reset") == 0
                        ? reset(c, w)
                        : flip(c, w->email, strcmp(w->verb, "enable") == 0);
    config_free(c);
    return exit_code;
}

/* What is wrong with the words; NULL: nothing. */
static const char *complaint(const wish *w, int n, bool output)
{
    bool is_add = strcmp(w->verb, "add") == 0, is_ls = strcmp(w->verb, "ls") == 0;
    bool is_reset = strcmp(w->verb, "reset") == 0;
    bool flips = strcmp(w->verb, "disable") == 0 || strcmp(w->verb, "enable") == 0;
    if (!is_add && !is_ls && !is_reset && !flips)
        return "the first word is add, ls, disable, enable or reset";
    if (is_ls ? n != 1 : n != 2)
        return is_ls ? "ls takes no e-mail address" : "give one e-mail address";
    if (!is_add && (w->admin || w->name || w->tier))
        return "--admin, --name and --tier go with add";
    if (!is_add && !is_reset && w->from_stdin) return "--password-stdin goes with add and reset";
    if (!is_reset && w->two_factor) return "--2fa goes with reset";
    if (!is_ls && output) return "-o goes with ls";
    if (is_add && !w->from_stdin) return "give --password-stdin and the password on standard input";
    if (is_reset && !w->from_stdin && !w->two_factor)
        return "give --password-stdin and the password on standard input, or --2fa, or both";
    return NULL;
}

int cmd_user(int argc, char **argv)
{
    const char *output = NULL;
    wish w = {.verb = ""};
    const args_option options[] = {
        {0, "admin", NULL, "add: a platform administrator", NULL, &w.admin},
        {0, "name", "NAME", "add: as people see it", &w.name, NULL},
        {0, "tier", "TIER", "add: free, premium or own", &w.tier, NULL},
        {0, "password-stdin", NULL, "add, reset: the password is the first line of standard input",
         NULL, &w.from_stdin},
        {0, "2fa", NULL, "reset: take the second factor away", NULL, &w.two_factor},
        {'o', "output", "table|json", "ls: json is an array of objects", &output, NULL}};
    const args_spec spec = {
        "samovar user",
        "add EMAIL | ls | disable EMAIL | enable EMAIL | reset EMAIL",
        "Accounts of the platform. A disabled one cannot log in, and its sessions and keys end at\n"
        "once. reset lets somebody in again: another password, no second factor, or both. Only ls\n"
        "works while the platform is stopped.",
        "json keys: id, email, name, admin, disabled, org, created, last_login (Unix ms), "
        "verified,\n"
        "two_factor, tier, locale, service\n"
        "examples:\n"
        "  samovar user add anna@example.org --admin --password-stdin < password.txt\n"
        "  samovar user reset anna@example.org --2fa\n"
        "exit codes: 0 done, 1 failed, 2 wrong words",
        options,
        sizeof options / sizeof *options,
        1,
        2};
    args words;
    int exit_code;
    if (!cli_args(&spec, argc, argv, &words, &exit_code)) return exit_code;
    if (!cli_output(output, &w.json)) return CLI_USAGE;
    w.verb = words.word[0];
    w.email = words.n > 1 ? words.word[1] : "";
    const char *wrong = complaint(&w, (int)words.n, output != NULL);
    if (wrong) {
        fprintf(stderr, "samovar user: %s\n", wrong);
        return CLI_USAGE;
    }
    return run(&w);
}
