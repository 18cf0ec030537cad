/*  cmd_user.c - `samovar user`: accounts, for the operator. A password comes on standard input and goes
 *  over the bus: it is in no argument and no environment of any process. */
#include "commands.h"

#include "error.h"
#include "listing.h"
#include "seal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CHANGE_MS = 30000, LIST_MS = 10000, ANSWER_BYTES = 4 << 20, PASSWORD_LINE = 4096 };

/* A change of an account: says what it is now. */
static int change(const config *c, const char *target, const sv_message *type, const void *request,
                  const char *now, bool with_id)
{
    sv_error err = {.code = 0};
    auth_user_reply reply;
    arena a;
    arena_init(&a, ANSWER_BYTES);
    int rc = bus_client_once(c, target, type, request, CHANGE_MS, &auth_user_reply_msg, &a, &reply,
                             &err);
    if (rc == 0 && reply.user == NULL) rc = sv_fail(&err, SV_E_MALFORMED, "user", NULL);
    if (rc)
        cli_complain(&err);
    else
        printf("%.*s %s%s%.*s\n", SV_FMT(reply.user->email), now, with_id ? ", id " : "",
               with_id ? (int)reply.user->id.n : 0, reply.user->id.p);
    arena_free(&a);
    return rc ? CLI_FAILED : CLI_OK;
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

static int add(const config *c, const wish *w)
{
    char line[PASSWORD_LINE];
    auth_user_add_req q = {.email = sv_cstr(w->email),
                           .name = sv_cstr(w->name),
                           .admin = w->admin,
                           .tier = sv_cstr(w->tier)};
    int exit_code = read_password(line, &q.password);
    if (exit_code) return exit_code;
    exit_code = change(c, "auth.user_add", &auth_user_add_req_msg, &q,
                       w->admin ? "is an administrator now" : "is a user now", true);
    seal_wipe(line, sizeof line);
    return exit_code;
}

/* ---- reset ---- */

static int reset(const config *c, const wish *w)
{
    char line[PASSWORD_LINE];
    auth_user_reset_req q = {.email = sv_cstr(w->email), .two_factor = w->two_factor};
    int exit_code = w->from_stdin ? read_password(line, &q.password) : CLI_OK;
    if (exit_code) return exit_code;
    exit_code = change(c, "auth.user_reset", &auth_user_reset_req_msg, &q,
                       !w->two_factor ? "has another password; its sessions have ended"
                       : w->from_stdin
                           ? "has another password and no second factor; its sessions have ended"
                           : "has no second factor; its sessions have ended",
                       false);
    seal_wipe(line, sizeof line);
    return exit_code;
}

/* ---- disable, enable ---- */

static int flip(const config *c, const char *email, bool enable)
{
    auth_user_disable_req q = {.email = sv_cstr(email), .enable = enable};
    return change(c, "auth.user_disable", &auth_user_disable_req_msg, &q,
                  enable ? "can log in again" : "cannot log in any more; its sessions have ended",
                  false);
}

/* ---- ls ---- */

static void print_user(const void *item)
{
    const auth_user_info *u = item;
    char when[LISTING_TIME];
    printf("%-40.*s %-8s %-7s %-7.*s %-3s %-8s %-20s  %.*s\n", SV_FMT(u->email),
           u->disabled ? "disabled" : "active",
           u->admin     ? "admin"
           : u->service ? "service"
                        : "user",
           SV_FMT(u->tier), u->two_factor ? "yes" : "no", u->verified ? "yes" : "no",
           listing_time(u->last_login, "never", when), SV_FMT(u->name));
}

static int list(const config *c, bool json)
{
    auth_user_list_req q = {.after = {NULL, 0}};
    auth_user_list_reply page;
    listing l = {&auth_user_info_msg, print_user,
                 "EMAIL                                    STATE    KIND    TIER    2FA VERIFIED "
                 "LAST LOGIN            NAME\n",
                 json, 0};
    const listing_pages pages = {.service = "auth",
                                 .method = "user_list",
                                 .request_type = &auth_user_list_req_msg,
                                 .reply_type = &auth_user_list_reply_msg,
                                 .request = &q,
                                 .reply = &page,
                                 .after = &q.after,
                                 .items = &page.users,
                                 .next = &page.next,
                                 .ttl_ms = LIST_MS};
    return listing_all(&l, c, &pages);
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
