/*  cmd_explain.c - `samovar explain`: how a request was decided, in words. The id ends with the number
 *  of the router that answered it: that one is asked, or, when it does not run, its environment. */
#include "commands.h"

#include "error.h"
#include "places.h"
#include "store_work.h"
#include "uuid.h"

#include <stdio.h>
#include <time.h>

enum { REPLY_BYTES = 4 << 20, ASK_MS = 10000 };

/* ---- text ---- */

/* Names come from clients and providers: no control character reaches the terminal. */
static void print_text(sv_str s)
{
    for (uint32_t i = 0; i < s.n; i++)
        putchar((uint8_t)s.p[i] < 0x20 || s.p[i] == 0x7f ? '?' : s.p[i]);
}

static void print_pair(sv_str provider, sv_str model)
{
    print_text(provider);
    putchar('/');
    print_text(model);
}

/* At least so wide. */
static void print_wide(sv_str provider, sv_str model, int width)
{
    print_pair(provider, model);
    int n = (int)(provider.n + model.n + 1);
    printf("%*s", n < width ? width - n : 0, "");
}

static void print_time(int64_t us)
{
    if (us >= 1000000)
        printf("%.2f s", (double)us / 1e6);
    else
        printf("%.1f ms", (double)us / 1e3);
}

static void print_money(bool known, int64_t price)
{
    if (known)
        printf("%lld.%06lld", (long long)(price / 1000000), (long long)(price % 1000000));
    else
        printf("price unknown");
}

/* ---- the parts ---- */

static void print_request(const router_decision_reply *d)
{
    char when[32] = "";
    struct tm t;
    time_t s = (time_t)(d->at / 1000);
    if (gmtime_r(&s, &t)) strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S UTC", &t);
    printf("Asked for   ");
    print_text(d->asked);
    printf("%s, ", d->stream ? " as a stream" : "");
    print_text(d->endpoint.n ? d->endpoint : sv_cstr("chat"));
    printf(", %s\nBy          ", when);
    if (d->user.n) print_text(d->user);
    if (d->user.n == 0) printf("nobody that is known");
    if (d->org.n) printf(" of ");
    print_text(d->org);
    if (d->key.n) printf(" with the key ");
    print_text(d->key);
    if (d->task.n) {
        printf("\nTaken for   ");
        print_text(d->task);
        printf(", complexity %.2f", d->complexity);
        if (d->rule.n) printf(": ");
        print_text(d->rule);
    }
    putchar('\n');
}

static void print_candidate(const router_decision_candidate *c, bool automatic)
{
    printf("  ");
    print_wide(c->provider, c->model, 40);
    if (c->left_out.n) {
        printf(" left out: ");
        print_text(c->left_out);
    } else if (automatic) {
        printf(" %.3f = quality %.2f, price %.2f, speed %.2f, reliability %.2f, learned %+.2f",
               c->score, c->quality, c->price, c->speed, c->reliability, c->learned);
    }
    putchar('\n');
}

static void print_candidates(const router_decision_reply *d)
{
    const router_decision_candidate *c = d->candidates.items;
    if (d->candidates.n == 0) return;
    printf("\nLooked at   %u models in ", d->candidates.n);
    print_time(d->chosen_us);
    printf("%s\n", d->explored ? "; not the best one was taken, to learn" : "");
    for (uint32_t i = 0; i < d->candidates.n; i++)
        print_candidate(&c[i], d->automatic);
}

static void print_attempt(const router_decision_attempt *a)
{
    printf("  +");
    print_time(a->began_us);
    printf("  ");
    print_pair(a->provider, a->model);
    printf(" (key %lld%s): ", (long long)a->key + 1, a->hedge ? ", beside a slow one" : "");
    print_text(a->outcome);
    if (a->status) printf(", HTTP %lld", (long long)a->status);
    printf(" after ");
    print_time(a->total_us);
    if (a->first_token_us) {
        printf(", first token after ");
        print_time(a->first_token_us);
    }
    if (a->prompt_tokens || a->completion_tokens) {
        printf(", %lld + %lld tokens, ", (long long)a->prompt_tokens,
               (long long)a->completion_tokens);
        print_money(a->priced, a->price);
    }
    putchar('\n');
}

static void print_outcome(const router_decision_reply *d)
{
    printf("\nAnswer      ");
    if (!d->ended) {
        printf("still under way\n");
        return;
    }
    print_text(d->outcome);
    if (d->finish.n) printf(" (");
    print_text(d->finish);
    if (d->finish.n) putchar(')');
    if (d->provider.n) printf(" by ");
    if (d->provider.n) print_pair(d->provider, d->model);
    if (d->why.n) printf(", ");
    print_text(d->why);
    printf(", in ");
    print_time(d->total_us);
    printf("\nCost        ");
    print_money(d->priced, d->price);
    printf("\n");
    if (d->rating) printf("Rating      %s\n", d->rating > 0 ? "good" : "bad");
    if (!d->kept) printf("\nThis is in the router's memory only and goes with later requests.\n");
}

static void print_all(const router_decision_reply *d)
{
    const router_decision_attempt *a = d->attempts.items;
    print_request(d);
    print_candidates(d);
    printf("\nCalls       %lld\n", (long long)d->attempts.n + (long long)d->more_attempts);
    for (uint32_t i = 0; i < d->attempts.n; i++)
        print_attempt(&a[i]);
    if (d->more_attempts) printf("  and %lld more\n", (long long)d->more_attempts);
    print_outcome(d);
}

static bool print_json(const router_decision_reply *d)
{
    buf text;
    buf_init(&text, REPLY_BYTES);
    bool ok = work_json(&router_decision_reply_msg, d, &text) == 0;
    if (ok) printf("%.*s\n", (int)text.n, text.p);
    buf_free(&text);
    return ok;
}

/* ---- asking ---- */

static int ask(const config *c, uint32_t instance, const char *id, bool json)
{
    places all;
    arena memory;
    router_decision_reply d;
    sv_error err = {.code = 0};
    char which[32];
    router_decision_req q = {.id = sv_cstr(id)};
    snprintf(which, sizeof which, "router/%u", instance);
    arena_init(&memory, REPLY_BYTES);
    int rc = places_find(&all, c, which, &err);
    if (rc == 0)
        rc = place_call(&all, &all.list[0], "decision", &router_decision_req_msg, &q, ASK_MS,
                        &router_decision_reply_msg, &memory, &d, &err);
    bool ok = rc == 0;
    if (rc)
        cli_complain(&err);
    else if (json)
        ok = print_json(&d);
    else
        print_all(&d);
    places_free(&all);
    arena_free(&memory);
    return ok && fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
}

int cmd_explain(int argc, char **argv)
{
    const char *output = NULL;
    bool json;
    const args_option options[] = {
        {'o', "output", "text|json", "json: as GET /api/decisions/{id}", &output, NULL}};
    const args_spec spec = {
        "samovar explain",
        "ID",
        "How a request was decided: what was asked, what it was taken for, which models were "
        "looked\n"
        "at and why they were left out, who was called, and what it cost. ID is the header\n"
        "x-samovar-decision of the answer.",
        "exit codes: 0 found, 1 not found or not kept, 2 wrong words",
        options,
        sizeof options / sizeof *options,
        1,
        1};
    args words;
    int exit_code;
    sv_id id;
    uint32_t instance = 0;
    config *c = NULL;
    if (!cli_args(&spec, argc, argv, &words, &exit_code)) return exit_code;
    if (output && strcmp(output, "text") == 0) output = "table";
    if (!cli_output(output, &json)) return CLI_USAGE;
    bool ok = uuid_parse(sv_cstr(words.word[0]), &id) == 0;
    for (int i = 12; ok && i < 16; i++)
        instance = instance << 8 | id.b[i];
    if (!ok || instance == 0 || instance > UINT16_MAX) {
        fprintf(stderr,
                "samovar explain: %s is not the id of a decision: it is in the header "
                "x-samovar-decision of an answer\n",
                words.word[0]);
        return CLI_USAGE;
    }
    if (cli_config(NULL, &c)) return CLI_CONFIG;
    exit_code = ask(c, instance, words.word[0], json);
    config_free(c);
    return exit_code;
}
