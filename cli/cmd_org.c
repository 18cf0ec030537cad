/*  cmd_org.c - `samovar org`: organizations, of an auth actor that runs or one that is stopped. */
#include "commands.h"

#include "listing.h"

#include <stdio.h>

enum { LIST_MS = 10000, DATE = 10 };

static void print_org(const void *item)
{
    const auth_org *o = item;
    char when[LISTING_TIME];
    printf("%-36.*s  %-8s %-8.*s %7lld  %-10.*s  %.*s\n", SV_FMT(o->id),
           o->personal ? "personal" : "shared", SV_FMT(o->tier), (long long)o->members, DATE,
           listing_time(o->created, "-", when), SV_FMT(o->name));
}

static int list(const config *c, bool json)
{
    auth_page_req q = {.after = {NULL, 0}};
    auth_orgs_reply page;
    listing l = {&auth_org_msg, print_org,
                 "ID                                    KIND     TIER     MEMBERS  SINCE       "
                 "NAME\n",
                 json, 0};
    const listing_pages pages = {.service = "auth",
                                 .method = "org_list",
                                 .request_type = &auth_page_req_msg,
                                 .reply_type = &auth_orgs_reply_msg,
                                 .request = &q,
                                 .reply = &page,
                                 .after = &q.after,
                                 .items = &page.orgs,
                                 .next = &page.next,
                                 .ttl_ms = LIST_MS};
    return listing_all(&l, c, &pages);
}

int cmd_org(int argc, char **argv)
{
    const char *output = NULL;
    bool json;
    const args_option options[] = {
        {'o', "output", "table|json", "json is an array of objects", &output, NULL}};
    const args_spec spec = {"samovar org",
                            "ls",
                            "Organizations of the platform, in order of their age.",
                            "json keys: id, name, personal, tier, members, created (Unix ms)\n"
                            "exit codes: 0 done, 1 failed, 2 wrong words",
                            options,
                            sizeof options / sizeof *options,
                            1,
                            1};
    args words;
    int exit_code;
    config *c = NULL;
    if (!cli_args(&spec, argc, argv, &words, &exit_code)) return exit_code;
    if (!cli_output(output, &json)) return CLI_USAGE;
    if (strcmp(words.word[0], "ls") != 0) {
        fprintf(stderr, "samovar org: the word is ls\n");
        return CLI_USAGE;
    }
    if (cli_config(NULL, &c)) return CLI_CONFIG;
    exit_code = list(c, json);
    config_free(c);
    return exit_code;
}
