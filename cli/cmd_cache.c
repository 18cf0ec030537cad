/*  cmd_cache.c - `samovar cache`: kept answers of all cache processes, by the one that is asked. */
#include "commands.h"

#include "args.h"
#include "bus_client.h"
#include "error.h"
#include "listing.h"
#include "platform.h"
#include "store_work.h"

#include <stdio.h>
#include <stdlib.h>

enum { ASK_MS = 10000, ANSWER_BYTES = 4 << 20 };

typedef struct job {
    bool json;
    cache_look_req look;
    cache_invalidate_req clear;
    config *config;
    arena arena;
} job;

static int complain(const sv_error *err)
{
    fprintf(stderr, "samovar cache: %s: %s\n", sv_error_lookup(err->code)->name, err->message);
    return CLI_FAILED;
}

static int print_json(const sv_message *m, const void *reply)
{
    buf out;
    buf_init(&out, ANSWER_BYTES);
    int rc = work_json(m, reply, &out);
    if (rc == 0) printf("%.*s\n", (int)out.n, out.p);
    buf_free(&out);
    return rc ? CLI_FAILED : 0;
}

static void print_stats(const cache_stats_reply *s)
{
    long long asked = s->hits + s->shared + s->misses;
    printf("answers kept     %lld, %lld bytes on disk, %lld in memory\n", (long long)s->answers,
           (long long)s->bytes, (long long)s->memory_bytes);
    printf("requests         %lld: %lld hits, %lld shared, %lld misses; %lld under way\n", asked,
           (long long)s->hits, (long long)s->shared, (long long)s->misses, (long long)s->under_way);
    printf("saved            %lld tokens, %lld micro-units\n", (long long)s->tokens,
           (long long)s->price);
    printf("gone             %lld for others, %lld expired, %lld cleared; %lld not kept\n",
           (long long)s->evicted, (long long)s->expired, (long long)s->cleared,
           (long long)s->not_kept);
    if (s->away) printf("%lld cache processes did not answer\n", (long long)s->away);
    if (s->models.n == 0) return;
    printf("\n     HITS    SHARED    MISSES        TOKENS  MODEL\n");
    for (uint32_t i = 0; i < s->models.n; i++) {
        const cache_model_stat *m = &((cache_model_stat *)s->models.items)[i];
        printf("%9lld %9lld %9lld %13lld  %.*s%s%.*s\n", (long long)m->hits, (long long)m->shared,
               (long long)m->misses, (long long)m->tokens, SV_FMT(m->model), m->org.n ? " of " : "",
               SV_FMT(m->org));
    }
}

static int stats(job *j)
{
    cache_stats_reply reply;
    sv_error err = {0};
    if (bus_client_once(j->config, "cache.stats", &cache_look_req_msg, &j->look, ASK_MS,
                        &cache_stats_reply_msg, &j->arena, &reply, &err))
        return complain(&err);
    if (j->json) return print_json(&cache_stats_reply_msg, &reply);
    print_stats(&reply);
    return 0;
}

static int list(job *j)
{
    cache_entries_reply reply;
    sv_error err = {0};
    char until[LISTING_TIME];
    if (bus_client_once(j->config, "cache.entries", &cache_look_req_msg, &j->look, ASK_MS,
                        &cache_entries_reply_msg, &j->arena, &reply, &err))
        return complain(&err);
    if (j->json) return print_json(&cache_entries_reply_msg, &reply);
    printf("     HITS     BYTES  UNTIL                 TASK        KEY"
           "                                                               MODEL\n");
    for (uint32_t i = 0; i < reply.entries.n; i++) {
        const cache_entry *e = &((cache_entry *)reply.entries.items)[i];
        printf("%9lld %9lld  %-20s  %-10.*s  %.*s  %.*s\n", (long long)e->hits, (long long)e->bytes,
               listing_time(e->expires, "-", until), SV_FMT(e->task), SV_FMT(e->key),
               SV_FMT(e->asked));
    }
    return 0;
}

static int clear(job *j)
{
    cache_invalidate_reply reply;
    sv_error err = {0};
    if (j->clear.key.n == 0 && j->clear.org.n == 0 && j->clear.model.n == 0 && !j->clear.all) {
        fprintf(stderr, "samovar cache: clear what? --model, --org, --key or --all\n");
        return CLI_USAGE;
    }
    if (bus_client_once(j->config, "cache.invalidate", &cache_invalidate_req_msg, &j->clear, ASK_MS,
                        &cache_invalidate_reply_msg, &j->arena, &reply, &err))
        return complain(&err);
    if (j->json) return print_json(&cache_invalidate_reply_msg, &reply);
    printf("%lld answers are gone\n", (long long)reply.cleared);
    return 0;
}

int cmd_cache(int argc, char **argv)
{
    const char *output = NULL, *model = NULL, *org = NULL, *key = NULL;
    job j = {.look = {.limit = 40}};
    const args_option options[] = {
        {'m', "model", "NAME", "only this model, as asked for or as its provider names it", &model,
         NULL},
        {0, "org", "ID", "only this organization", &org, NULL},
        {0, "key", "KEY", "clear: only this answer", &key, NULL},
        {0, "all", NULL, "clear: everything", NULL, &j.clear.all},
        {'o', "output", "table|json", "json is one object", &output, NULL}};
    const args_spec spec = {"samovar cache",
                            "stats | ls | clear",
                            "Kept answers of models.",
                            "stats: what the response cache has and did since it started.\n"
                            "ls:    the most used answers, without their words.\n"
                            "clear: forgets those of --model, --org or --key, or --all.\n"
                            "json keys: as in docs/messages.md, cache_stats_reply and others\n"
                            "exit codes: 0 done, 1 failed, 2 wrong words",
                            options,
                            sizeof options / sizeof *options,
                            1,
                            1};
    args words;
    int exit_code;
    if (!cli_args(&spec, argc, argv, &words, &exit_code)) return exit_code;
    if (!cli_output(output, &j.json)) return CLI_USAGE;
    int (*act)(job *) = strcmp(words.word[0], "stats") == 0   ? stats
                        : strcmp(words.word[0], "ls") == 0    ? list
                        : strcmp(words.word[0], "clear") == 0 ? clear
                                                              : NULL;
    if (act == NULL) {
        fprintf(stderr, "samovar cache: the word is stats, ls or clear\n");
        return CLI_USAGE;
    }
    j.look.model = j.clear.model = sv_cstr(model);
    j.look.org = j.clear.org = sv_cstr(org);
    j.clear.key = sv_cstr(key);
    if (cli_config(NULL, &j.config)) return CLI_CONFIG;
    arena_init(&j.arena, ANSWER_BYTES);
    exit_code = act(&j);
    arena_free(&j.arena);
    config_free(j.config);
    return exit_code;
}
