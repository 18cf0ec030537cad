/*  cmd_audit.c - `samovar audit`: the audit log, of an auth actor that runs or one that is stopped. */
#include "commands.h"

#include "csv.h"
#include "error.h"
#include "listing.h"
#include "store_work.h"

#include <stdio.h>
#include <time.h>

enum { LIST_MS = 10000, ANSWER_BYTES = 4 << 20 };

static void print_event(const void *item)
{
    const auth_audit_event *e = item;
    char when[LISTING_TIME];
    printf("%6lld  %-20s  %-18.*s %-36.*s  %-36.*s  %.*s\n", (long long)e->number,
           listing_time(e->at, "-", when), SV_FMT(e->event), SV_FMT(e->actor), SV_FMT(e->target),
           SV_FMT(e->network));
}

static int ask_page(places *p, const auth_audit_req *q, arena *a, auth_audit_reply *ret,
                    sv_error *err)
{
    arena_reset(a);
    return place_call(p, &p->list[0], "audit", &auth_audit_req_msg, q, LIST_MS,
                      &auth_audit_reply_msg, a, ret, err);
}

static int list(places *p, const auth_audit_req *filter, bool json, arena *a, sv_error *err)
{
    auth_audit_req q = *filter;
    listing l = {
        &auth_audit_event_msg, print_event,
        "NUMBER  TIME                  EVENT              BY"
        "                                    TARGET                                NETWORK\n",
        json, 0};
    do {
        auth_audit_reply page;
        int rc = ask_page(p, &q, a, &page, err);
        if (rc == 0) rc = listing_put(&l, &page.events, err);
        if (rc) return rc;
        q.after = page.next;
    } while (q.after > 0);
    listing_end(&l);
    return 0;
}

/* ---- export ---- */

static int export_line(const auth_audit_event *e, bool csv, buf *out)
{
    char when[32] = "";
    time_t s = (time_t)(e->at / 1000);
    struct tm tm;
    if (!csv) {
        int rc = work_json(&auth_audit_event_msg, e, out);
        return rc ? rc : buf_putc(out, '\n');
    }
    if (gmtime_r(&s, &tm)) strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);
    buf_printf(out, "%lld,%s.%03dZ", (long long)e->number, when, (int)(e->at % 1000));
    const sv_str texts[] = {e->event, e->actor, e->target, e->network, e->detail, e->hash};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        buf_putc(out, ',');
        csv_text(out, texts[i]);
    }
    return buf_puts(out, "\r\n"); /* RFC 4180 */
}

static int export_all(places *p, const auth_audit_req *filter, bool csv, arena *a, sv_error *err)
{
    auth_audit_req q = *filter;
    int rc = 0;
    if (csv) fputs("number,time,event,actor,target,network,detail,hash\r\n", stdout);
    do {
        auth_audit_reply page;
        buf text;
        buf_init(&text, ANSWER_BYTES);
        rc = ask_page(p, &q, a, &page, err);
        for (uint32_t i = 0; rc == 0 && i < page.events.n; i++)
            if ((rc = export_line((auth_audit_event *)page.events.items + i, csv, &text)))
                sv_fail(err, rc, NULL, NULL);
        if (rc == 0 && text.n) fwrite(text.p, 1, text.n, stdout);
        buf_free(&text);
        q.after = rc ? 0 : page.next;
    } while (q.after > 0);
    return rc;
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

/* ---- the command ---- */

typedef struct wishes {
    auth_audit_req filter;
    bool json, csv; /* of the list; of the export */
} wishes;

static int run(const char *verb, const wishes *w)
{
    config *c = NULL;
    places p;
    arena a;
    bool sound = true;
    sv_error err = {.code = 0};
    if (cli_config(NULL, &c)) return CLI_CONFIG;
    arena_init(&a, ANSWER_BYTES);
    int rc = places_find(&p, c, "auth", &err);
    if (rc == 0)
        rc = strcmp(verb, "verify") == 0   ? verify(&p, w->json, &a, &sound, &err)
             : strcmp(verb, "export") == 0 ? export_all(&p, &w->filter, w->csv, &a, &err)
                                           : list(&p, &w->filter, w->json, &a, &err);
    if (rc) cli_complain(&err);
    places_free(&p);
    arena_free(&a);
    config_free(c);
    return rc == 0 && sound && fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
}

int cmd_audit(int argc, char **argv)
{
    const char *org = NULL, *output = NULL, *format = NULL, *event = NULL, *actor = NULL;
    const char *target = NULL;
    const args_option options[] = {
        {0, "org", "ID", "the events of an organization; without it the platform's", &org, NULL},
        {0, "event", "NAME", "only this event, or with a final dot its kind: login.", &event, NULL},
        {0, "actor", "ID", "only by this user or service", &actor, NULL},
        {0, "target", "ID", "only to this user, session or key", &target, NULL},
        {0, "format", "jsonl|csv", "export: a JSON object or a row of CSV for each", &format, NULL},
        {'o', "output", "table|json", "json: an array of events; with verify one object", &output,
         NULL}};
    const args_spec spec = {
        "samovar audit",
        "[verify|export]",
        "Shows who did what to accounts and sessions. verify looks at every chain of events: each\n"
        "holds the hash of the one before, so what was changed or taken out does not fit. export\n"
        "writes all events to standard output.",
        "json keys: number, at (Unix ms), event, actor, target, network, detail, hash;\n"
        "           of verify: chains, events, broken, chain, number, head\n"
        "CSV: number, time (UTC), event, actor, target, network, detail, hash; an apostrophe "
        "stands\n"
        "before text that a spreadsheet would take for a formula\n"
        "exit codes: 0 done, 1 failed or the log was changed, 2 wrong words",
        options,
        sizeof options / sizeof *options,
        0,
        1};
    args words;
    int exit_code;
    wishes w = {.json = false};
    if (!cli_args(&spec, argc, argv, &words, &exit_code)) return exit_code;
    if (!cli_output(output, &w.json)) return CLI_USAGE;
    const char *verb = words.n ? words.word[0] : "", *wrong = NULL;
    bool verifies = strcmp(verb, "verify") == 0, exports = strcmp(verb, "export") == 0;
    w.csv = format && strcmp(format, "csv") == 0;
    if (words.n && !verifies && !exports)
        wrong = "the only words are verify and export";
    else if (verifies && (org || event || actor || target))
        wrong = "verify looks at all chains: leave --org and the filters out";
    else if (format && !exports)
        wrong = "--format goes with export";
    else if (format && !w.csv && strcmp(format, "jsonl") != 0)
        wrong = "--format is jsonl or csv";
    else if (exports && output)
        wrong = "export takes --format, not -o";
    if (wrong) {
        fprintf(stderr, "samovar audit: %s\n", wrong);
        return CLI_USAGE;
    }
    w.filter = (auth_audit_req){.chain = sv_cstr(org),
                                .event = sv_cstr(event),
                                .actor = sv_cstr(actor),
                                .target = sv_cstr(target)};
    return run(verb, &w);
}
