/*  cmd_audit.c - `samovar audit`: the audit log, of an auth actor that runs or one that is stopped. */
#include "commands.h"

#include "error.h"
#include "places.h"
#include "store_work.h"

#include <stdio.h>
#include <time.h>

enum { LIST_MS = 10000, ANSWER_BYTES = 4 << 20 };

static void print_event(const auth_audit_event *e)
{
    char when[32] = "";
    time_t s = (time_t)(e->at / 1000);
    struct tm tm;
    if (gmtime_r(&s, &tm)) strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
    printf("%6lld  %-20s  %-18.*s %-36.*s  %-36.*s  %.*s\n", (long long)e->number, when,
           SV_FMT(e->event), SV_FMT(e->actor), SV_FMT(e->target), SV_FMT(e->network));
}

static int print_page(const auth_audit_reply *page, bool json, bool first)
{
    buf text;
    buf_init(&text, ANSWER_BYTES);
    const auth_audit_event *events = page->events.items;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < page->events.n; i++) {
        if (!json) {
            print_event(&events[i]);
            continue;
        }
        buf_puts(&text, first && i == 0 ? "[" : ",\n ");
        rc = work_json(&auth_audit_event_msg, &events[i], &text);
    }
    if (json && rc == 0 && text.n) fwrite(text.p, 1, text.n, stdout);
    buf_free(&text);
    return rc;
}

static int list(places *p, const char *org, bool json, arena *a, sv_error *err)
{
    auth_audit_req q = {.chain = sv_cstr(org)};
    bool first = true;
    int rc;
    if (!json)
        printf("%6s  %-20s  %-18s %-36s  %-36s  %s\n", "NUMBER", "TIME", "EVENT", "BY", "TARGET",
               "NETWORK");
    do {
        auth_audit_reply page;
        rc = place_call(p, &p->list[0], "audit", &auth_audit_req_msg, &q, LIST_MS,
                        &auth_audit_reply_msg, a, &page, err);
        if (rc == 0 && (rc = print_page(&page, json, first))) sv_fail(err, rc, NULL, NULL);
        if (rc) return rc;
        first = first && page.events.n == 0;
        q.after = page.next;
        arena_reset(a);
    } while (q.after > 0);
    if (json) puts(first ? "[]" : "]");
    return 0;
}

static int verify(places *p, bool json, arena *a, bool *ret_sound, sv_error *err)
{
    auth_audit_verify_reply r;
    buf text;
    int rc = place_call(p, &p->list[0], "audit_verify", &bus_empty_msg, &(bus_empty){},
                        LIMIT_TTL_MS, &auth_audit_verify_reply_msg, a, &r, err);
    if (rc) return rc;
    *ret_sound = r.broken == 0;
    buf_init(&text, ANSWER_BYTES);
    if (json && (rc = work_json(&auth_audit_verify_reply_msg, &r, &text)) == 0)
        printf("%.*s\n", (int)text.n, text.p);
    else if (r.broken)
        printf("CHANGED: %lld of %lld chains; the first is %.*s, from event %lld on\n",
               (long long)r.broken, (long long)r.chains, SV_FMT(r.chain), (long long)r.number);
    else
        printf("ok: %lld events in %lld chains; the platform's ends with %.*s\n",
               (long long)r.events, (long long)r.chains, SV_FMT(r.head));
    buf_free(&text);
    return rc ? sv_fail(err, rc, NULL, NULL) : 0;
}

int cmd_audit(int argc, char **argv)
{
    const char *org = NULL, *output = NULL;
    const args_option options[] = {
        {0, "org", "ID", "the events of an organization; without it the platform's", &org, NULL},
        {'o', "output", "table|json", "json: an array of events; with verify one object", &output,
         NULL}};
    const args_spec spec = {
        "samovar audit",
        "[verify]",
        "Shows who did what to accounts and sessions. verify looks at every chain of events: each\n"
        "holds the hash of the one before, so what was changed or taken out does not fit.",
        "json keys: number, at (Unix ms), event, actor, target, network, hash;\n"
        "           of verify: chains, events, broken, chain, number, head\n"
        "exit codes: 0 done, 1 failed or the log was changed, 2 wrong words",
        options,
        sizeof options / sizeof *options,
        0,
        1};
    args words;
    int exit_code;
    bool json, sound = true;
    config *c = NULL;
    places p;
    arena a;
    sv_error err = {.code = 0};
    if (!cli_args(&spec, argc, argv, &words, &exit_code)) return exit_code;
    if (!cli_output(output, &json)) return CLI_USAGE;
    if (words.n && (strcmp(words.word[0], "verify") != 0 || org)) {
        fprintf(stderr, "samovar audit: %s\n",
                org ? "verify looks at all chains: leave --org out" : "the only word is verify");
        return CLI_USAGE;
    }
    if (cli_config(NULL, &c)) return CLI_CONFIG;
    arena_init(&a, ANSWER_BYTES);
    int rc = places_find(&p, c, "auth", &err);
    if (rc == 0) rc = words.n ? verify(&p, json, &a, &sound, &err) : list(&p, org, json, &a, &err);
    if (rc) cli_complain(&err);
    places_free(&p);
    arena_free(&a);
    config_free(c);
    return rc == 0 && sound && fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
}
