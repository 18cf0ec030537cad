/*  cmd_providers.c - `samovar providers`: who can answer, by the router that is asked. */
#include "commands.h"

#include "args.h"
#include "bus_client.h"
#include "error.h"
#include "listing.h"
#include "platform.h"

#include <stdio.h>

enum { ASK_MS = 10000, ANSWER_BYTES = 4 << 20, PLACE = 81 };

/* Names and addresses are users' text. */
static void print_text(sv_str s, uint32_t width)
{
    for (uint32_t i = 0; i < s.n; i++)
        putchar((uint8_t)s.p[i] < 0x20 || s.p[i] == 0x7f ? '?' : s.p[i]);
    for (uint32_t i = s.n; i < width; i++)
        putchar(' ');
    putchar(' ');
}

static void print_platform(const void *item)
{
    const router_provider *p = item;
    print_text(p->name, 16);
    printf("%7lld  ", (long long)p->models);
    print_text(p->base_url, 48);
    print_text(p->state, 0);
    putchar('\n');
}

/* Behind the state: what is used of what it may, "?" where nobody knows. */
static void print_limit(const char *name, int64_t limit, bool money, const cache_budget_used *u,
                        int64_t used)
{
    double unit = money ? 1e6 : 1;
    int digits = money ? 2 : 0;
    if (limit == 0) return;
    if (u)
        printf("(%s %.*f of %.*f) ", name, digits, (double)used / unit, digits,
               (double)limit / unit);
    else
        printf("(%s ? of %.*f) ", name, digits, (double)limit / unit);
}

static void print_limits(const auth_provider_limits *l, const cache_budget_used *u)
{
    if (l == NULL) return;
    print_limit("day", l->day, true, u, u ? u->day : 0);
    print_limit("month", l->month, true, u, u ? u->month : 0);
    print_limit("requests a minute", l->minute_requests, false, u, u ? u->minute_requests : 0);
    print_limit("tokens a minute", l->minute_tokens, false, u, u ? u->minute_tokens : 0);
}

static void print_own(const void *item)
{
    const auth_provider *p = item;
    print_text(p->id, 36);
    print_text(p->name, 16);
    print_text(p->user.n ? p->user : sv_cstr("organization"), 36);
    print_text(p->last4.n ? p->last4 : sv_cstr("-"), 4);
    printf("%7lld  ", (long long)p->models);
    print_text(p->base_url, 48);
    print_text(p->state, 0);
    print_limits(p->limits, p->used);
    putchar('\n');
}

static int show_platform(const config *c, bool json, arena *a, sv_error *err)
{
    router_providers_reply reply;
    listing l = {
        &router_provider_msg, print_platform,
        "NAME              MODELS  URL                                              STATE\n", json,
        0};
    int rc = bus_client_once(c, "router.providers", &bus_empty_msg, &(bus_empty){}, ASK_MS,
                             &router_providers_reply_msg, a, &reply, err);
    if (rc == 0) rc = listing_put(&l, &reply.providers, err);
    if (rc == 0) listing_end(&l);
    return rc;
}

static int show_own(const config *c, const char *org, bool json, arena *a, sv_error *err)
{
    auth_providers_reply page;
    listing l = {&auth_provider_msg, print_own,
                 "ID                                   NAME             OF"
                 "                                   KEY   MODELS  URL"
                 "                                              STATE AND LIMITS\n",
                 json, 0};
    char after[PLACE] = "";
    int rc;
    do {
        auth_providers_req q = {.org = sv_cstr(org), .after = sv_cstr(after[0] ? after : NULL)};
        arena_reset(a);
        rc = bus_client_once(c, "router.own_providers", &auth_providers_req_msg, &q, ASK_MS,
                             &auth_providers_reply_msg, a, &page, err);
        if (rc == 0) rc = listing_put(&l, &page.providers, err);
        if (rc) return rc;
        snprintf(after, sizeof after, "%.*s", SV_FMT(page.next));
    } while (after[0]);
    listing_end(&l);
    return 0;
}

int cmd_providers(int argc, char **argv)
{
    const char *output = NULL, *org = NULL;
    bool json;
    const args_option options[] = {
        {0, "org", "ORG", "those with keys of this organization's and its members' own", &org,
         NULL},
        {'o', "output", "table|json", "json is an array of objects", &output, NULL}};
    const args_spec spec = {"samovar providers",
                            "ls",
                            "Who can answer requests to models, and in what state.",
                            "exit codes: 0 done, 1 failed, 2 wrong words",
                            options,
                            sizeof options / sizeof *options,
                            1,
                            1};
    args words;
    int exit_code;
    sv_error err = {.code = 0};
    arena a;
    config *c = NULL;
    if (!cli_args(&spec, argc, argv, &words, &exit_code)) return exit_code;
    if (!cli_output(output, &json)) return CLI_USAGE;
    if (strcmp(words.word[0], "ls") != 0) {
        fprintf(stderr, "samovar providers: the word is ls\n");
        return CLI_USAGE;
    }
    if (cli_config(NULL, &c)) return CLI_CONFIG;
    arena_init(&a, ANSWER_BYTES);
    int rc = org ? show_own(c, org, json, &a, &err) : show_platform(c, json, &a, &err);
    if (rc) cli_complain(&err);
    arena_free(&a);
    config_free(c);
    return rc == 0 && fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
}
