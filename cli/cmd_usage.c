/*  cmd_usage.c - `samovar usage`: the ledgers of all routers in one report.
 *
 *  Every router keeps its own ledger. Each is asked for its rows, page by page; rows of the same
 *  name are added up here. A router that does not run is asked through its own program. */
#include "commands.h"

#include "date.h"
#include "error.h"
#include "places.h"
#include "store_work.h"

#include <stdio.h>
#include <stdlib.h>

enum { PAGE_BYTES = 8 << 20, PAGE_MS = 30000, ROWS_MOST = 1000000, NAMES_BYTES = 1 << 30 };
#define MOST 9007199254740991 /* numbers stop here, as in the ledger */

typedef struct report {
    router_usage_row *rows;
    size_t n, cap;
    size_t *slots; /* 1 + index by hash of the name; a power of two, at most half full */
    size_t n_slots;
    router_usage_row total;
    arena names;
} report;

typedef struct job {
    const char *by;
    bool json;
    router_usage_req request;
    places places;
    arena arena; /* of one page */
    uint32_t failed;
} job;

static const sv_str no_name = {"", 0};

/* ---- adding up ---- */

/* Every number of a row, in the order of its declaration. */
enum { NUMBERS = 16 };
static int64_t *number(router_usage_row *r, int i)
{
    return (int64_t *)((char *)r + router_usage_row_msg.fields[1 + i].offset);
}

static void add_row(router_usage_row *to, router_usage_row *more)
{
    for (int i = 0; i < NUMBERS; i++) {
        int64_t a = *number(to, i), b = *number(more, i);
        *number(to, i) = a > MOST - b ? MOST : a + b;
    }
}

static size_t *slot_of(report *r, sv_str name)
{
    uint64_t h = 0xcbf29ce484222325ull;
    for (uint32_t i = 0; i < name.n; i++)
        h = (h ^ (uint8_t)name.p[i]) * 0x100000001b3ull;
    size_t at = (h ^ h >> 32) & (r->n_slots - 1);
    while (r->slots[at] && !sv_str_eq(r->rows[r->slots[at] - 1].name, name))
        at = (at + 1) & (r->n_slots - 1);
    return &r->slots[at];
}

static bool grow(report *r)
{
    size_t cap = r->cap ? 2 * r->cap : 64;
    router_usage_row *rows = realloc(r->rows, cap * sizeof *rows);
    if (rows) r->rows = rows;
    size_t *slots = rows ? calloc(2 * cap, sizeof *slots) : NULL;
    if (slots == NULL) return false;
    free(r->slots);
    r->slots = slots;
    r->n_slots = 2 * cap;
    r->cap = cap;
    for (size_t i = 0; i < r->n; i++)
        *slot_of(r, r->rows[i].name) = i + 1;
    return true;
}

static int take_row(report *r, router_usage_row *row, sv_error *err)
{
    if (r->n == ROWS_MOST)
        return sv_fail(err, SV_E_TOO_LARGE, NULL,
                       "The report has more than %d rows: give --from, --to or a filter.",
                       ROWS_MOST);
    if (r->n == r->cap && !grow(r)) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    sv_str name = row->name.p ? row->name : no_name;
    size_t *slot = slot_of(r, name);
    if (*slot == 0) {
        char *copy = arena_copy(&r->names, name);
        if (copy == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
        r->rows[r->n] = (router_usage_row){.name = {copy, name.n}};
        *slot = ++r->n;
    }
    add_row(&r->rows[*slot - 1], row);
    add_row(&r->total, row);
    return 0;
}

static void report_free(report *r)
{
    arena_free(&r->names);
    free(r->rows);
    free(r->slots);
}

static int by_name(const void *a, const void *b)
{
    sv_str x = ((const router_usage_row *)a)->name, y = ((const router_usage_row *)b)->name;
    int c = memcmp(x.p, y.p, x.n < y.n ? x.n : y.n);
    return c ? c : (x.n > y.n) - (x.n < y.n);
}

/* Dearest first, then most asked. */
static int by_price(const void *a, const void *b)
{
    const router_usage_row *x = a, *y = b;
    if (x->price != y->price) return x->price < y->price ? 1 : -1;
    if (x->requests != y->requests) return x->requests < y->requests ? 1 : -1;
    return by_name(a, b);
}

/* ---- asking ---- */

static void complain(job *j, const place *e, const sv_error *err)
{
    j->failed++;
    fprintf(stderr, "samovar usage: %s: %s: %s%s%s%s\n", e->name, sv_error_lookup(err->code)->name,
            err->message, err->detail[0] ? " (" : "", err->detail, err->detail[0] ? ")" : "");
}

static int read_page(job *j, const place *e, report *r, buf *after, sv_error *err)
{
    router_usage_reply reply;
    router_usage_req q = j->request;
    q.after = buf_str(after);
    int rc = place_call(&j->places, e, "usage", &router_usage_req_msg, &q, PAGE_MS,
                        &router_usage_reply_msg, &j->arena, &reply, err);
    for (uint32_t i = 0; rc == 0 && i < reply.rows.n; i++)
        rc = take_row(r, &((router_usage_row *)reply.rows.items)[i], err);
    buf_reset(after, 4096);
    if (rc == 0) rc = buf_put(after, reply.next.p ? reply.next.p : "", reply.next.n);
    arena_reset(&j->arena);
    return rc ? sv_fail(err, rc, NULL, NULL) : 0;
}

static void read_all(job *j, report *r)
{
    buf after;
    buf_init(&after, 4096);
    for (size_t i = 0; i < j->places.n; i++) {
        sv_error err = {.code = 0};
        buf_reset(&after, 4096);
        int rc;
        do
            rc = read_page(j, &j->places.list[i], r, &after, &err);
        while (rc == 0 && after.n > 0);
        if (rc) complain(j, &j->places.list[i], &err);
    }
    buf_free(&after);
}

/* ---- output ---- */

static const char *price_text(int64_t price, char text[32])
{
    snprintf(text, 32, "%lld.%06lld", (long long)(price / 1000000), (long long)(price % 1000000));
    return text;
}

static int64_t mean_ms(int64_t sum_us, int64_t n)
{
    return n ? sum_us / n / 1000 : 0;
}

/* Names come from clients: no control character reaches the terminal. */
static void print_name(sv_str name, int width)
{
    char text[64];
    size_t n = 0;
    for (uint32_t i = 0; i < name.n && n < sizeof text - 4; i++)
        text[n++] = (uint8_t)name.p[i] < 0x20 || name.p[i] == 0x7f ? '?' : name.p[i];
    while (n < name.n && n > 0 && ((uint8_t)name.p[n] & 0xc0) == 0x80)
        n--; /* cut at a character's end */
    text[n] = 0;
    if (n < name.n) strcat(text, "...");
    printf("%-*s", width, name.n ? text : "-");
}

static void print_row(sv_str name, const router_usage_row *r)
{
    char price[32];
    print_name(name, 32);
    printf(" %10lld %8lld %9lld %13lld %13lld %11lld %11lld %16s %8lld %8lld\n",
           (long long)r->requests, (long long)r->errors, (long long)r->cancelled,
           (long long)r->prompt_tokens, (long long)r->completion_tokens,
           (long long)r->cached_tokens, (long long)r->reasoning_tokens, price_text(r->price, price),
           (long long)mean_ms(r->latency_us, r->requests),
           (long long)mean_ms(r->first_token_us, r->first_tokens));
}

static void print_table(const job *j, const report *r)
{
    char title[16] = "";
    for (size_t i = 0; i < sizeof title - 1 && j->by[i]; i++)
        title[i] = (char)(j->by[i] - 'a' + 'A');
    printf("%-32s %10s %8s %9s %13s %13s %11s %11s %16s %8s %8s\n", title, "REQUESTS", "ERRORS",
           "CANCELLED", "PROMPT", "COMPLETION", "CACHED", "REASONING", "PRICE", "MEAN-MS",
           "FIRST-MS");
    for (size_t i = 0; i < r->n; i++)
        print_row(r->rows[i].name, &r->rows[i]);
    print_row(sv_cstr("total"), &r->total);
    if (r->total.priced < r->total.requests)
        printf("\n%lld of %lld requests have no price: their model is not in router.prices, or the "
               "provider sent no usage.\n",
               (long long)(r->total.requests - r->total.priced), (long long)r->total.requests);
}

static void put_row(buf *out, router_usage_row *r)
{
    for (int i = 0; i < NUMBERS; i++)
        buf_printf(out, "%s\"%s\":%lld", i ? "," : "", router_usage_row_msg.fields[1 + i].name,
                   (long long)*number(r, i));
}

static bool print_json(const job *j, report *r)
{
    buf out;
    buf_init(&out, (size_t)1 << 30);
    buf_printf(&out, "{\"by\":\"%s\",\"rows\":[", j->by);
    for (size_t i = 0; i < r->n; i++) {
        buf_printf(&out, "%s{\"name\":\"", i ? ",\n" : "");
        buf_json_escape(&out, r->rows[i].name);
        buf_puts(&out, "\",");
        put_row(&out, &r->rows[i]);
        buf_putc(&out, '}');
    }
    buf_puts(&out, "],\n\"total\":{");
    put_row(&out, &r->total);
    buf_printf(&out, "},\"routers\":%zu,\"failed\":%u}\n", j->places.n, j->failed);
    bool ok = !out.failed && fwrite(out.p, 1, out.n, stdout) == out.n;
    buf_free(&out);
    return ok;
}

static int run_report(job *j)
{
    report r = {.n = 0};
    arena_init(&r.names, NAMES_BYTES);
    read_all(j, &r);
    if (r.n) qsort(r.rows, r.n, sizeof *r.rows, strcmp(j->by, "day") == 0 ? by_name : by_price);
    bool ok = true;
    if (j->json)
        ok = print_json(j, &r);
    else
        print_table(j, &r);
    report_free(&r);
    return ok && fflush(stdout) == 0 && j->failed == 0 ? CLI_OK : CLI_FAILED;
}

/* ---- the check ---- */

static void print_difference(const router_usage_difference *d)
{
    printf("  %.*s", SV_FMT(d->day));
    const struct {
        const char *what;
        sv_str name;
    } names[] = {{"org", d->org},
                 {"key", d->key},
                 {"user", d->user},
                 {"model", d->model},
                 {"provider", d->provider}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        printf(" %s=", names[i].what);
        print_name(names[i].name, 0);
    }
    printf(": %.*s is %lld, the rows give %lld\n", SV_FMT(d->field), (long long)d->sum,
           (long long)d->rows);
}

static void print_check(const place *e, const router_usage_check_reply *r)
{
    printf("%-14s %s: %lld days, %lld attempts, %lld sums", e->name,
           r->differences == 0 ? "ok" : "DIFFERENT", (long long)r->days, (long long)r->rows,
           (long long)r->sums);
    if (r->differences) printf(", %lld of them wrong", (long long)r->differences);
    if (r->repaired) printf(", %lld written anew", (long long)r->repaired);
    if (r->skipped)
        printf("; %lld days left out: their attempts are not all kept any more",
               (long long)r->skipped);
    printf("\n");
    for (uint32_t i = 0; i < r->first.n; i++)
        print_difference(&((router_usage_difference *)r->first.items)[i]);
}

static void put_check(const place *e, const router_usage_check_reply *r, bool first)
{
    buf text;
    buf_init(&text, PAGE_BYTES);
    if (work_json(&router_usage_check_reply_msg, r, &text) == 0)
        printf("%s{\"environment\":\"%s\",%.*s", first ? "[" : ",\n ", e->name, (int)text.n - 1,
               text.p + 1);
    buf_free(&text);
}

static int run_check(job *j, bool repair)
{
    router_usage_check_req q = {.from = j->request.from, .to = j->request.to, .repair = repair};
    bool first = true;
    for (size_t i = 0; i < j->places.n; i++) {
        const place *e = &j->places.list[i];
        router_usage_check_reply reply;
        sv_error err = {.code = 0};
        if (place_call(&j->places, e, "usage_check", &router_usage_check_req_msg, &q, LIMIT_TTL_MS,
                       &router_usage_check_reply_msg, &j->arena, &reply, &err)) {
            complain(j, e, &err);
            continue;
        }
        j->failed += reply.differences > reply.repaired;
        if (j->json)
            put_check(e, &reply, first);
        else
            print_check(e, &reply);
        first = false;
        arena_reset(&j->arena);
    }
    if (j->json) puts(first ? "[]" : "]");
    return fflush(stdout) == 0 && j->failed == 0 ? CLI_OK : CLI_FAILED;
}

/* ---- the command ---- */

static int run(job *j, const config *c, bool check, bool repair)
{
    sv_error err = {.code = 0};
    int exit_code = CLI_FAILED;
    arena_init(&j->arena, PAGE_BYTES);
    if (places_find(&j->places, c, "router", &err))
        cli_complain(&err);
    else
        exit_code = check ? run_check(j, repair) : run_report(j);
    places_free(&j->places);
    arena_free(&j->arena);
    return exit_code;
}

static bool wrong_day(const char *option, const char *text, int64_t *ret)
{
    if (text == NULL || date_parse(sv_cstr(text), ret) == 0) return false;
    fprintf(stderr, "samovar usage: %s takes a day, UTC, as 2030-01-31, from 1970 on; not \"%s\"\n",
            option, text);
    return true;
}

static bool wrong_words(const char *by, const char *from, const char *to, bool check, bool repair,
                        bool filtered)
{
    static const char *const known[] = {"day", "model", "provider", "key", "user", "org"};
    int64_t first = 0, last = DATE_LAST;
    bool found = by == NULL;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        found = found || strcmp(by, known[i]) == 0;
    if (!found)
        fprintf(stderr, "samovar usage: --by takes day, model, provider, key, user or org\n");
    if (!found || wrong_day("--from", from, &first) || wrong_day("--to", to, &last)) return true;
    if (first > last)
        fprintf(stderr, "samovar usage: --to %s lies before --from %s\n", to ? to : "", from);
    else if (repair && !check)
        fprintf(stderr, "samovar usage: --repair goes with --check\n");
    else if (check && (by || filtered))
        fprintf(stderr, "samovar usage: --check takes --from and --to only\n");
    else
        return false;
    return true;
}

int cmd_usage(int argc, char **argv)
{
    const char *by = NULL, *from = NULL, *to = NULL, *output = NULL;
    const char *org = NULL, *key = NULL, *user = NULL, *model = NULL, *provider = NULL;
    bool check = false, repair = false, json;
    const args_option options[] = {
        {0, "by", "WHAT", "rows by day (default), model, provider, key, user or org", &by, NULL},
        {0, "from", "DATE", "first day, UTC: 2030-01-31", &from, NULL},
        {0, "to", "DATE", "last day, included", &to, NULL},
        {0, "org", "ORG", "only this organization; '' for attempts without one", &org, NULL},
        {0, "key", "KEY", "only this API key", &key, NULL},
        {0, "user", "USER", "only this user", &user, NULL},
        {0, "model", "MODEL", "only this model, as its provider calls it", &model, NULL},
        {0, "provider", "NAME", "only this provider", &provider, NULL},
        {0, "check", NULL, "rebuild the sums from the single attempts and compare", NULL, &check},
        {0, "repair", NULL, "with --check: write the sums that the attempts give", NULL, &repair},
        {'o', "output", "table|json", "json: one object, prices as whole micro-units", &output,
         NULL}};
    const args_spec spec = {
        "samovar usage",
        "",
        "What models were asked for, how many tokens went through and what it cost, of all "
        "routers.\n"
        "Prices are those of router.prices at the time of each request.",
        "json keys: by, rows (name, requests, errors, cancelled, counted, priced, tokens by kind,\n"
        "           price, latency_us, first_token_us, first_tokens, estimated, "
        "cache_write_tokens, hedges), total, routers, failed\n"
        "examples:\n"
        "  samovar usage --by model --from 2030-01-01\n"
        "  samovar usage --check\n"
        "exit codes: 0 done, 1 a ledger could not be read or its sums are wrong, 2 wrong words",
        options,
        sizeof options / sizeof *options,
        0,
        0};
    args words;
    int exit_code;
    config *c = NULL;
    if (!cli_args(&spec, argc, argv, &words, &exit_code)) return exit_code;
    if (!cli_output(output, &json)) return CLI_USAGE;
    if (wrong_words(by, from, to, check, repair, org || key || user || model || provider))
        return CLI_USAGE;
    if (cli_config(NULL, &c)) return CLI_CONFIG;
    if (by == NULL) by = "day";
    job j = {.by = by,
             .json = json,
             .request = {.by = sv_cstr(by),
                         .from = sv_cstr(from),
                         .to = sv_cstr(to),
                         .org = sv_cstr(org),
                         .key = sv_cstr(key),
                         .user = sv_cstr(user),
                         .model = sv_cstr(model),
                         .provider = sv_cstr(provider)}};
    exit_code = run(&j, c, check, repair);
    config_free(c);
    return exit_code;
}
