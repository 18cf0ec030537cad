/*  login_load.c - asks auth.login for many accounts that do not exist, all at the same moment, and
 *  prints how often each answer came: "CODE COUNT RETRY_AFTER_MS", sorted by code.
 *  usage: login_load [--count N], with the platform found as other tools find it. */
#include "error.h"
#include "log.h"
#include "opts.h"
#include "tool.h"

#include <stdio.h>
#include <stdlib.h>

enum { MOST = 1000, ANSWERS = 8, PATIENCE_MS = 10000, TTL_MS = 120000 };

typedef struct answer {
    int code;
    uint32_t count, retry_after_ms;
} answer;

static struct {
    sv_process *process;
    int64_t count;
    uint32_t over, n_answers;
    answer answers[ANSWERS];
} o = {.count = 200};

static bool connected(void *arg)
{
    (void)arg;
    return sv_connected(o.process);
}

static bool all_over(void *arg)
{
    (void)arg;
    return o.over == o.count;
}

static void done(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    (void)arg, (void)s, (void)item;
    uint32_t i = 0;
    while (i < o.n_answers && o.answers[i].code != code)
        i++;
    if (i == ANSWERS) abort();
    if (i == o.n_answers) o.answers[o.n_answers++].code = code;
    o.answers[i].count++;
    if (err) o.answers[i].retry_after_ms = err->retry_after_ms;
    o.over++;
}

static void ask(int64_t i)
{
    static const sv_events events = {.done = done};
    char email[64], network[32];
    sv_error err = {.code = 0};
    snprintf(email, sizeof email, "user%d@example.org", (int)i);
    snprintf(network, sizeof network, "10.1.%d.%d", (int)i / 250, (int)i % 250);
    auth_login_req q = {
        .email = sv_cstr(email), .password = sv_cstr("guess"), .network = sv_cstr(network)};
    sv_request r = {
        .target = "auth.login", .type = &auth_login_req_msg, .body = &q, .ttl_ms = TTL_MS};
    if (sv_open(o.process, &r, &events, NULL, &err) == NULL) done(NULL, NULL, err.code, NULL, &err);
}

static int by_code(const void *a, const void *b)
{
    return ((const answer *)b)->code - ((const answer *)a)->code;
}

int main(int argc, char **argv)
{
    static const opt table[] = {{"count", OPT_INT, &o.count, 1, MOST, "logins at once"}};
    config *c;
    sv_error err = {.code = 0};
    opts_parse(argc, argv, "asks auth.login for many accounts at once", table, 1);
    log_init("login_load", 0, LOG_ERROR, 2);
    if (config_load(NULL, &c, &err)) die("%s", err.message);
    if ((o.process = sv_tool_start(c, NULL, &err)) == NULL) die("%s", err.message);
    if (sv_tool_wait(o.process, connected, NULL, PATIENCE_MS)) die("the broker does not answer");
    for (int64_t i = 0; i < o.count; i++)
        ask(i);
    if (sv_tool_wait(o.process, all_over, NULL, TTL_MS)) die("some were never answered");
    qsort(o.answers, o.n_answers, sizeof *o.answers, by_code);
    for (uint32_t i = 0; i < o.n_answers; i++)
        printf("%s %u %u\n", sv_error_lookup(o.answers[i].code)->name, o.answers[i].count,
               o.answers[i].retry_after_ms);
    sv_tool_stop(o.process);
    config_free(c);
    return 0;
}
