/*  cmd_rankings.c - `samovar rankings`: how models do at which task, of all routers together. Each
 *  router has its own sums; one that does not run is asked through its own program. */
#include "commands.h"

#include "error.h"
#include "places.h"
#include "ranking.h"
#include "store_work.h"

#include <stdio.h>
#include <stdlib.h>

enum { PAGE_BYTES = 8 << 20, PAGE_MS = 30000, DAYS_MOST = 400, TEXT_BYTES = 16 << 20 };

typedef struct job {
    router_rankings_req request;
    bool json;
    places places;
    ranking sums;
    uint32_t failed;
} job;

/* ---- asking ---- */

static int read_page(job *j, const place *e, buf *after, sv_error *err)
{
    arena page;
    router_rankings_reply reply;
    router_rankings_req q = j->request;
    q.after = buf_str(after);
    arena_init(&page, PAGE_BYTES);
    int rc = place_call(&j->places, e, "rankings", &router_rankings_req_msg, &q, PAGE_MS,
                        &router_rankings_reply_msg, &page, &reply, err);
    if (rc == 0) rc = ranking_add(&j->sums, &reply);
    buf_reset(after, 4096);
    if (rc == 0) rc = buf_put(after, reply.next.p ? reply.next.p : "", reply.next.n);
    arena_free(&page);
    return rc ? sv_fail(err, rc, NULL, NULL) : 0;
}

static void read_all(job *j)
{
    buf after;
    buf_init(&after, 4096);
    for (size_t i = 0; i < j->places.n; i++) {
        sv_error err = {.code = 0};
        int rc;
        buf_reset(&after, 4096);
        do
            rc = read_page(j, &j->places.list[i], &after, &err);
        while (rc == 0 && after.n > 0);
        if (rc == 0) continue;
        j->failed++;
        fprintf(stderr, "samovar rankings: %s: %s\n", j->places.list[i].name, err.message);
    }
    buf_free(&after);
}

/* ---- output ---- */

static void print_name(sv_str name, uint32_t width)
{
    uint32_t n = name.n < width ? name.n : width;
    for (uint32_t i = 0; i < n; i++)
        putchar((uint8_t)name.p[i] < 0x20 || name.p[i] == 0x7f ? '?' : name.p[i]);
    printf("%*s ", (int)(width - n), "");
}

static void print_row(const router_ranking *r)
{
    char rating[32] = "-";
    if (r->ratings)
        snprintf(rating, sizeof rating, "%.0f-%.0f%% of %lld", 100 * r->rating_low,
                 100 * r->rating_high, (long long)r->ratings);
    print_name(r->task.n ? r->task : sv_cstr("-"), 10);
    print_name(r->provider, 14);
    print_name(r->model.n ? r->model : sv_cstr("-"), 32);
    printf("%9lld %5.1f%% %5.1f-%5.1f%% %8lld %8lld %7.1f %12lld.%06lld  %s%s\n",
           (long long)r->requests, 100 * r->success, 100 * r->success_low, 100 * r->success_high,
           (long long)r->latency_ms, (long long)r->first_token_ms, r->tokens_per_second,
           (long long)(r->cost / 1000000), (long long)(r->cost % 1000000), rating,
           r->enough ? "" : "  (few)");
}

static void print_table(const job *j, const router_ranking *rows)
{
    printf("%-10s %-14s %-32s %9s %6s %12s %8s %8s %7s %19s  %s\n", "TASK", "PROVIDER", "MODEL",
           "REQUESTS", "OK", "OK-INTERVAL", "MEAN-MS", "FIRST-MS", "TOK/S", "COST", "RATING");
    for (uint32_t i = 0; i < j->sums.n; i++)
        print_row(&rows[i]);
    if (j->sums.n == 0) printf("Nothing was asked of a model in these days.\n");
}

static bool print_json(const job *j, router_ranking *rows)
{
    buf out;
    router_rankings_view view = {.rankings = {rows, j->sums.n},
                                 .days = j->request.days,
                                 .routers = (int64_t)j->places.n,
                                 .failed = j->failed};
    buf_init(&out, TEXT_BYTES);
    bool ok = work_json(&router_rankings_view_msg, &view, &out) == 0 && buf_putc(&out, '\n') == 0 &&
              fwrite(out.p, 1, out.n, stdout) == out.n;
    buf_free(&out);
    return ok;
}

static int run(job *j, const config *c)
{
    sv_error err = {.code = 0};
    bool ok = false;
    ranking_init(&j->sums);
    if (places_find(&j->places, c, "router", &err)) {
        cli_complain(&err);
    } else {
        read_all(j);
        router_ranking *rows = calloc(j->sums.n + 1, sizeof *rows);
        if (rows) ranking_view(&j->sums, rows);
        ok = rows != NULL;
        if (rows && j->json)
            ok = print_json(j, rows);
        else if (rows)
            print_table(j, rows);
        free(rows);
    }
    places_free(&j->places);
    ranking_free(&j->sums);
    return ok && fflush(stdout) == 0 && j->failed == 0 ? CLI_OK : CLI_FAILED;
}

int cmd_rankings(int argc, char **argv)
{
    const char *task = NULL, *days = NULL, *output = NULL;
    bool json;
    const args_option options[] = {
        {0, "task", "TASK",
         "only this one: chat, code, summarise, translate, extract, reason, vision, long or tools",
         &task, NULL},
        {0, "days", "N", "as many days, today included (default 30)", &days, NULL},
        {'o', "output", "table|json", "json: as GET /api/rankings", &output, NULL}};
    const args_spec spec = {
        "samovar rankings",
        "",
        "How models do at which task, of all routers: best first, by the lower end of the 90 %\n"
        "interval of their success and of what users say. Few: not enough requests to tell.",
        "exit codes: 0 printed, 1 a router could not be asked, 2 wrong words",
        options,
        sizeof options / sizeof *options,
        0,
        0};
    args words;
    int exit_code;
    config *c = NULL;
    if (!cli_args(&spec, argc, argv, &words, &exit_code)) return exit_code;
    if (!cli_output(output, &json)) return CLI_USAGE;
    uint64_t n = 30;
    if (days && args_number(days, 1, DAYS_MOST, &n)) {
        fprintf(stderr, "samovar rankings: --days takes a number from 1 to %d\n", DAYS_MOST);
        return CLI_USAGE;
    }
    if (cli_config(NULL, &c)) return CLI_CONFIG;
    job j = {.json = json, .request = {.task = sv_cstr(task), .days = (int64_t)n}};
    exit_code = run(&j, c);
    config_free(c);
    return exit_code;
}
