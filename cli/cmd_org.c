/*  cmd_org.c - `samovar org`: organizations, of an auth actor that runs or one that is stopped. */
#include "commands.h"

#include "error.h"
#include "places.h"
#include "store_work.h"

#include <stdio.h>
#include <time.h>

enum { LIST_MS = 10000, ANSWER_BYTES = 4 << 20 };

static void print_org(const auth_org *o)
{
    char when[16] = "";
    time_t s = (time_t)(o->created / 1000);
    struct tm tm;
    if (gmtime_r(&s, &tm)) strftime(when, sizeof when, "%Y-%m-%d", &tm);
    printf("%-36.*s  %-8s %-8.*s %7lld  %-10s  %.*s\n", SV_FMT(o->id),
           o->personal ? "personal" : "shared", SV_FMT(o->tier), (long long)o->members, when,
           SV_FMT(o->name));
}

static int print_page(const auth_orgs_reply *page, bool json, bool first)
{
    buf text;
    buf_init(&text, ANSWER_BYTES);
    const auth_org *orgs = page->orgs.items;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < page->orgs.n; i++) {
        if (!json) {
            print_org(&orgs[i]);
            continue;
        }
        buf_puts(&text, first && i == 0 ? "[" : ",\n ");
        rc = work_json(&auth_org_msg, &orgs[i], &text);
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
    bool first = true;
    int rc = places_find(&p, c, "auth", &err);
    arena_init(&a, ANSWER_BYTES);
    if (rc == 0 && !json)
        printf("%-36s  %-8s %-8s %7s  %-10s  %s\n", "ID", "KIND", "TIER", "MEMBERS", "SINCE",
               "NAME");
    while (rc == 0) {
        auth_page_req q = {.after = after[0] ? sv_cstr(after) : (sv_str){NULL, 0}};
        auth_orgs_reply page;
        rc = place_call(&p, &p.list[0], "org_list", &auth_page_req_msg, &q, LIST_MS,
                        &auth_orgs_reply_msg, &a, &page, &err);
        if (rc == 0 && (rc = print_page(&page, json, first))) sv_fail(&err, rc, NULL, NULL);
        first = first && (rc || page.orgs.n == 0);
        if (rc || page.next.n == 0) break;
        snprintf(after, sizeof after, "%.*s", SV_FMT(page.next));
        arena_reset(&a);
    }
    if (rc == 0 && json) puts(first ? "[]" : "]");
    if (rc) cli_complain(&err);
    arena_free(&a);
    places_free(&p);
    return rc == 0 && fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
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
