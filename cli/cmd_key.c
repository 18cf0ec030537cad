/*  cmd_key.c - `samovar key`: API keys of users, made and deleted by the operator. A new key is all that
 *  is printed on standard output, so that it can go straight into a file or a variable. */
#include "commands.h"

#include "error.h"
#include "listing.h"

#include <stdio.h>
#include <time.h>

enum { CALL_MS = 10000, ANSWER_BYTES = 4 << 20, LIST = 64, DAYS_MOST = 36500 };

/* A connection, and the memory of its last answer. */
typedef struct link {
    bus_client bus;
    arena memory;
} link;

static int ask(link *l, const char *target, const sv_message *request_type, const void *request,
               const sv_message *type, void *ret, sv_error *err)
{
    arena_reset(&l->memory);
    return bus_client_request(&l->bus, target, request_type, request, CALL_MS, type, &l->memory,
                              ret, err);
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

static void print_key(const void *item)
{
    const auth_key *k = item;
    char expires[LISTING_TIME], used[LISTING_TIME];
    printf("%-36.*s  %-15.*s  %-20s  %-20s  ", SV_FMT(k->id), SV_FMT(k->shown),
           listing_time(k->expires, "never", expires), listing_time(k->last_used, "never", used));
    for (uint32_t i = 0; i < k->scopes.n; i++)
        printf("%s%.*s", i ? "," : "", SV_FMT(k->scopes.items[i]));
    printf("  %.*s\n", SV_FMT(k->name));
}

static int list(link *l, const char *user, bool json, sv_error *err)
{
    char after[40] = "";
    listing out = {&auth_key_msg, print_key,
                   "ID                                    KEY              EXPIRES               "
                   "LAST USED             SCOPES  NAME\n",
                   json, 0};
    do {
        auth_keys_req q = {.email = sv_cstr(user), .after = sv_cstr(after[0] ? after : NULL)};
        auth_keys_reply page;
        int rc = ask(l, "auth.keys", &auth_keys_req_msg, &q, &auth_keys_reply_msg, &page, err);
        if (rc == 0) rc = listing_put(&out, &page.keys, err);
        if (rc) return rc;
        snprintf(after, sizeof after, "%.*s", SV_FMT(page.next));
    } while (after[0]);
    listing_end(&out);
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
    link l = {.bus = {NULL}};
    if (cli_config(NULL, &c)) return CLI_CONFIG;
    arena_init(&l.memory, ANSWER_BYTES);
    int rc = bus_client_open(&l.bus, c, BUS_PATIENCE_MS, &err);
    const char *verb = words->word[0];
    if (rc == 0)
        rc = strcmp(verb, "new") == 0  ? make(&l, w, &err)
             : strcmp(verb, "ls") == 0 ? list(&l, w->user, json, &err)
                                       : drop(&l, words->word[1], &err);
    if (rc) cli_complain(&err);
    bus_client_close(&l.bus);
    arena_free(&l.memory);
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
        "json keys: id, name, shown, user, org, scopes, models, minute_limit, hour_limit,\n"
        "           cache_seconds, created, expires, last_used (Unix ms)\n"
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
