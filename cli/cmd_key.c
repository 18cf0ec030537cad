/*  cmd_key.c - `samovar key`: API keys of users, made and deleted by the operator. A new key is all that
 *  is printed on standard output, so that it can go straight into a file or a variable. */
#include "commands.h"

#include "bus_client.h"
#include "error.h"
#include "platform.h"
#include "seal.h"
#include "store_work.h"
#include "sv_limits.h"

#include <stdio.h>
#include <time.h>

enum { CALL_MS = 10000, ANSWER_BYTES = 4 << 20, LIST = 64, DAYS_MOST = 36500 };

/* ---- the call ---- */

typedef struct link {
    bus_client bus;
    arena memory; /* of the last answer */
} link;

static int link_open(link *l, const config *c, sv_error *err)
{
    l->bus = (bus_client){NULL};
    arena_init(&l->memory, ANSWER_BYTES);
    return bus_client_open(&l->bus, c, BUS_PATIENCE_MS, err);
}

static void link_close(link *l)
{
    bus_client_close(&l->bus);
    arena_free(&l->memory);
}

static int ask(link *l, const char *target, const sv_message *request_type, const void *request,
               const sv_message *type, void *ret, sv_error *err)
{
    buf packed, reply;
    buf_init(&packed, LIMIT_MESSAGE_BYTES);
    buf_init(&reply, ANSWER_BYTES);
    arena_reset(&l->memory);
    int rc = message_encode(request_type, request, &packed);
    if (rc) sv_fail(err, rc, NULL, NULL);
    if (rc == 0) rc = bus_client_call(&l->bus, target, buf_str(&packed), CALL_MS, &reply, err);
    char *bytes = rc ? NULL : arena_copy(&l->memory, buf_str(&reply));
    if (rc == 0 && bytes == NULL) rc = sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    if (rc == 0)
        rc = message_decode(type, (sv_str){bytes, (uint32_t)reply.n}, MESSAGE_LENIENT, &l->memory,
                            ret, err);
    if (reply.p) seal_wipe(reply.p, reply.n);
    buf_free(&packed);
    buf_free(&reply);
    return rc;
}

/* ---- new ---- */

typedef struct wishes {
    const char *user, *name, *days;
    sv_str scopes[LIST], models[LIST];
    uint32_t n_scopes, n_models;
} wishes;

static int make(link *l, const wishes *w, sv_error *err)
{
    uint64_t days = 0;
    auth_key_new_req q = {.email = sv_cstr(w->user),
                          .name = sv_cstr(w->name),
                          .scopes = {(sv_str *)(uintptr_t)w->scopes, w->n_scopes},
                          .models = {(sv_str *)(uintptr_t)w->models, w->n_models}};
    auth_key_new_reply r;
    if (w->days && args_number(w->days, 1, DAYS_MOST, &days))
        return sv_fail(err, SV_E_INVALID, "expires-days",
                       "--expires-days takes a number from 1 to %d.", DAYS_MOST);
    if (days) q.expires = ((int64_t)time(NULL) + (int64_t)days * 86400) * 1000;
    int rc = ask(l, "auth.key_new", &auth_key_new_req_msg, &q, &auth_key_new_reply_msg, &r, err);
    if (rc) return rc;
    printf("%.*s\n", SV_FMT(r.key));
    fprintf(stderr, "id %.*s; the key is not shown again\n", SV_FMT(r.info->id));
    return 0;
}

/* ---- ls ---- */

static void print_time(int64_t ms, const char *none)
{
    char when[32] = "";
    time_t s = (time_t)(ms / 1000);
    struct tm tm;
    if (ms && gmtime_r(&s, &tm)) strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
    printf("%-20s  ", ms ? when : none);
}

static void print_key(const auth_key *k)
{
    printf("%-36.*s  %-15.*s  ", SV_FMT(k->id), SV_FMT(k->shown));
    print_time(k->expires, "never");
    print_time(k->last_used, "never");
    for (uint32_t i = 0; i < k->scopes.n; i++)
        printf("%s%.*s", i ? "," : "", SV_FMT(k->scopes.items[i]));
    printf("  %.*s\n", SV_FMT(k->name));
}

static int print_page(const auth_keys_reply *page, bool json, uint64_t before)
{
    buf text;
    const auth_key *keys = page->keys.items;
    int rc = 0;
    buf_init(&text, ANSWER_BYTES);
    for (uint32_t i = 0; rc == 0 && i < page->keys.n; i++) {
        if (!json) {
            print_key(&keys[i]);
            continue;
        }
        buf_puts(&text, before + i ? ",\n " : "[");
        rc = work_json(&auth_key_msg, &keys[i], &text);
    }
    if (json && rc == 0 && text.n) fwrite(text.p, 1, text.n, stdout);
    buf_free(&text);
    return rc;
}

static int list(link *l, const char *user, bool json, sv_error *err)
{
    char after[40] = "";
    uint64_t n = 0;
    if (!json)
        printf("%-36s  %-15s  %-20s  %-20s  %s\n", "ID", "KEY", "EXPIRES", "LAST USED",
               "SCOPES  NAME");
    do {
        auth_keys_req q = {.email = sv_cstr(user),
                           .after = after[0] ? sv_cstr(after) : (sv_str){NULL, 0}};
        auth_keys_reply page;
        int rc = ask(l, "auth.keys", &auth_keys_req_msg, &q, &auth_keys_reply_msg, &page, err);
        if (rc == 0 && (rc = print_page(&page, json, n))) sv_fail(err, rc, NULL, NULL);
        if (rc) return rc;
        n += page.keys.n;
        snprintf(after, sizeof after, "%.*s", SV_FMT(page.next));
    } while (after[0]);
    if (json) puts(n == 0 ? "[]" : "]");
    return 0;
}

/* ---- rm ---- */

static int drop(link *l, const char *id, sv_error *err)
{
    auth_key_req q = {.id = sv_cstr(id)};
    auth_key_reply r;
    int rc = ask(l, "auth.key_delete", &auth_key_req_msg, &q, &auth_key_reply_msg, &r, err);
    if (rc == 0)
        printf("%.*s does not work any more\n", SV_FMT(r.key->shown.n ? r.key->shown : r.key->id));
    return rc;
}

/* ---- the command ---- */

/* Takes the options that may be given many times out of argv. A last one without its value stays, for
 * args_parse to complain about. */
static bool take_many(int *argc, char **argv, const char *name, sv_str list_of[LIST], uint32_t *n)
{
    size_t name_n = strlen(name);
    int kept = 0;
    for (int i = 0; i < *argc; i++) {
        const char *value = NULL;
        if (strcmp(argv[i], "--") == 0) {
            while (i < *argc)
                argv[kept++] = argv[i++];
            break;
        }
        if (strcmp(argv[i], name) == 0 && i + 1 < *argc)
            value = argv[++i];
        else if (strncmp(argv[i], name, name_n) == 0 && argv[i][name_n] == '=')
            value = argv[i] + name_n + 1;
        else
            argv[kept++] = argv[i];
        if (value && *n == LIST) {
            fprintf(stderr, "samovar key: %s is given more than %d times\n", name, LIST);
            return false;
        }
        if (value) list_of[(*n)++] = sv_cstr(value);
    }
    *argc = kept;
    return true;
}

static const char *wrong_words(const args *words, const wishes *w, bool output)
{
    const char *verb = words->word[0];
    bool new = strcmp(verb, "new") == 0, ls = strcmp(verb, "ls") == 0;
    bool rm = strcmp(verb, "rm") == 0;
    if (!new && !ls && !rm) return "the first word is new, ls or rm";
    if (rm ? words->n != 2 : words->n != 1)
        return rm ? "give the id of one key, as ls shows it" : "new and ls take --user and no word";
    if (rm ? w->user != NULL : w->user == NULL)
        return rm ? "--user goes with new and ls" : "say whose with --user EMAIL";
    if (!new && (w->name || w->days || w->n_scopes || w->n_models))
        return "--scope, --name, --model and --expires-days go with new";
    return output && !ls ? "-o goes with ls" : NULL;
}

static int run(const args *words, const wishes *w, bool json)
{
    config *c = NULL;
    sv_error err = {.code = 0};
    link l;
    if (cli_config(NULL, &c)) return CLI_CONFIG;
    int rc = link_open(&l, c, &err);
    const char *verb = words->word[0];
    if (rc == 0)
        rc = strcmp(verb, "new") == 0  ? make(&l, w, &err)
             : strcmp(verb, "ls") == 0 ? list(&l, w->user, json, &err)
                                       : drop(&l, words->word[1], &err);
    if (rc) cli_complain(&err);
    link_close(&l);
    config_free(c);
    return rc == 0 && fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
}

int cmd_key(int argc, char **argv)
{
    wishes w = {.user = NULL};
    const char *output = NULL, *scope = NULL, *model = NULL;
    const args_option options[] = {
        {0, "user", "EMAIL", "new, ls: whose", &w.user, NULL},
        {0, "scope", "SCOPE", "new: chat (the default), read, write, files, org, admin; repeatable",
         &scope, NULL},
        {0, "model", "MODEL", "new: a model it may ask, without any all; repeatable", &model, NULL},
        {0, "name", "NAME", "new: what it is for", &w.name, NULL},
        {0, "expires-days", "DAYS", "new: how long it works; without it for ever", &w.days, NULL},
        {'o', "output", "table|json", "ls: json is an array of objects", &output, NULL}};
    const args_spec spec = {
        "samovar key",
        "new --user EMAIL | ls --user EMAIL | rm ID",
        "API keys, with which programs call the HTTP API as a user. new prints the key alone on\n"
        "standard output, once. (CURVE keys with which processes join the bus: samovar keys.)",
        "json keys: id, name, shown, user, org, scopes, models, minute_limit, hour_limit, "
        "created,\n"
        "           expires, last_used (Unix ms)\n"
        "example:\n"
        "  samovar key new --user anna@example.org --scope chat --scope files > key.txt\n"
        "exit codes: 0 done, 1 failed, 2 wrong words",
        options,
        sizeof options / sizeof *options,
        1,
        2};
    args words;
    int exit_code;
    bool json;
    if (!take_many(&argc, argv, "--scope", w.scopes, &w.n_scopes) ||
        !take_many(&argc, argv, "--model", w.models, &w.n_models))
        return CLI_USAGE;
    if (!cli_args(&spec, argc, argv, &words, &exit_code)) return exit_code;
    if (!cli_output(output, &json)) return CLI_USAGE;
    const char *wrong = wrong_words(&words, &w, output != NULL);
    if (wrong) {
        fprintf(stderr, "samovar key: %s\n", wrong);
        return CLI_USAGE;
    }
    return run(&words, &w, json);
}
