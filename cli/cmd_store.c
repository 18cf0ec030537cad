/*  cmd_store.c - `samovar store`: a look at the environments, and their keys. */
#include "commands.h"

#include "error.h"
#include "places.h"
#include "store_work.h"
#include "store_keys.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum { ARENA_BYTES = 8 << 20, MIB = 1 << 20 };

typedef struct look {
    places places;
    bool json, first;
    arena arena; /* of one environment */
    uint32_t failed;
} look;

/* One object of an array, with its "environment" in front. */
static void print_json(look *l, const place *e, const sv_message *type, const void *reply)
{
    buf text;
    buf_init(&text, ARENA_BYTES);
    if (work_json(type, reply, &text) == 0)
        printf("%s{\"environment\":\"%s\",%.*s", l->first ? "[" : ",\n ", e->name, (int)text.n - 1,
               text.p + 1);
    l->first = false;
    buf_free(&text);
}

static void complain(look *l, const place *e, const sv_error *err)
{
    l->failed++;
    fprintf(stderr, "samovar store: %s: %s: %s%s%s%s\n", e->name, sv_error_lookup(err->code)->name,
            err->message, err->detail[0] ? " (" : "", err->detail, err->detail[0] ? ")" : "");
}

/* ---- stat ---- */

static void print_tables(const store_stat_reply *r)
{
    printf("\n  %-40s %12s %10s\n", "TABLE", "ENTRIES", "PAGES");
    for (uint32_t i = 0; i < r->tables.n; i++) {
        const store_table_entry *t = &((store_table_entry *)r->tables.items)[i];
        printf("  %-40.*s %12lld %10lld\n", SV_FMT(t->name), (long long)t->entries,
               (long long)t->pages);
    }
}

static void stat_row(const place *e, const store_stat_reply *r)
{
    double map = r->map_bytes ? 100.0 * (double)r->file_bytes / (double)r->map_bytes : 0;
    printf("%-14s %-8.*s %7lld %6lld %9lld %8.1fM %8.1fM %7.3f%% %8lld %9lld %9lld\n", e->name,
           SV_FMT(r->state), (long long)r->version, (long long)r->epoch, (long long)r->last_txn,
           (double)r->file_bytes / MIB, (double)r->free_bytes / MIB, map, (long long)r->waiting,
           (long long)r->commits, (long long)r->failures);
}

static int do_stat(look *l, const place *e)
{
    store_stat_reply r;
    sv_error err = {.code = 0};
    if (place_ask(&l->places, e, "stat", &store_stat_reply_msg, &l->arena, &r, &err)) {
        complain(l, e, &err);
        return err.code;
    }
    if (l->json) {
        print_json(l, e, &store_stat_reply_msg, &r);
        return 0;
    }
    if (l->first)
        printf("%-14s %-8s %7s %6s %9s %9s %9s %8s %8s %9s %9s\n", "ENVIRONMENT", "STATE",
               "VERSION", "EPOCH", "LAST-TXN", "SIZE", "FREE", "OF-MAP", "WAITING", "COMMITS",
               "FAILURES");
    l->first = false;
    stat_row(e, &r);
    if (l->places.n == 1) print_tables(&r);
    return 0;
}

/* ---- check ---- */

static int do_check(look *l, const place *e)
{
    store_check_reply r;
    sv_error err = {.code = 0};
    if (place_ask(&l->places, e, "check", &store_check_reply_msg, &l->arena, &r, &err)) {
        complain(l, e, &err);
        return err.code;
    }
    l->failed += r.problems > 0;
    if (l->json) {
        print_json(l, e, &store_check_reply_msg, &r);
    } else if (r.problems) {
        printf("%-14s %lld problems in %lld rows and %lld entries; the first: %.*s\n", e->name,
               (long long)r.problems, (long long)r.rows, (long long)r.entries,
               SV_FMT(r.first_problem));
    } else {
        printf("%-14s ok: %lld rows, %lld entries, %lld blobs, %lld bytes\n", e->name,
               (long long)r.rows, (long long)r.entries, (long long)r.blobs, (long long)r.bytes);
    }
    return 0;
}

/* ---- the command ---- */

static int each(look *l, int (*fn)(look *l, const place *e))
{
    l->first = true;
    for (size_t i = 0; i < l->places.n; i++) {
        fn(l, &l->places.list[i]);
        arena_reset(&l->arena);
    }
    if (l->json) puts(l->first ? "[]" : "]");
    return l->failed ? CLI_FAILED : CLI_OK;
}

static int do_dump(look *l, const char *table)
{
    sv_error err = {.code = 0};
    if (l->places.n > 1) {
        fprintf(stderr, "samovar store dump: name one environment:");
        for (size_t i = 0; i < l->places.n; i++)
            fprintf(stderr, " %s", l->places.list[i].name);
        fprintf(stderr, "\n");
        return CLI_USAGE;
    }
    signal(SIGPIPE, SIG_IGN);
    if (place_dump(&l->places, &l->places.list[0], table, STDOUT_FILENO, &err) == 0) return CLI_OK;
    complain(l, &l->places.list[0], &err);
    return CLI_FAILED;
}

static int run(const config *c, const char *what, const char *which, const char *table, bool json)
{
    look l = {.json = json};
    sv_error err = {.code = 0};
    int exit_code = CLI_FAILED;
    arena_init(&l.arena, ARENA_BYTES);
    if (places_find(&l.places, c, which, &err))
        cli_complain(&err);
    else if (strcmp(what, "stat") == 0)
        exit_code = each(&l, do_stat);
    else if (strcmp(what, "check") == 0)
        exit_code = each(&l, do_check);
    else
        exit_code = do_dump(&l, table);
    places_free(&l.places);
    arena_free(&l.arena);
    return exit_code;
}

static bool is_one(const char *word, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(word, *list) == 0) return true;
    return false;
}

int cmd_store(int argc, char **argv)
{
    static const char *const looks[] = {"stat", "check", "dump", NULL}, *const keys[] = {
                                                                            "keys", "rotate",
                                                                            "rekey", NULL};
    const char *output = NULL, *table = NULL;
    const args_option options[] = {
        {'o', "output", "table|json", "json: one array of objects", &output, NULL},
        {0, "table", "TABLE", "dump: only this table", &table, NULL}};
    const args_spec spec = {
        "samovar store",
        "stat|check|dump|keys|rotate|rekey [SERVICE[/N]]",
        "stat:   state, size and, of one environment, its tables\n"
        "check:  looks at everything that is stored: rows, indexes, expiry, blobs, seals\n"
        "dump:   the rows of one environment as JSON lines; secrets show as [redacted]\n"
        "keys:   the keys that seal secrets\n"
        "rotate: new keys, and everything that is sealed is sealed anew\n"
        "rekey:  another root key",
        "An actor that runs does it itself and goes on serving; of a stopped one its program does "
        "it.\n"
        "exit codes: 0 done, 1 failed or found something, 2 wrong words",
        options,
        2,
        1,
        2};
    args words;
    int exit_code;
    bool json;
    config *c = NULL;
    if (argc > 0 && is_one(argv[0], keys)) return store_keys_run(argc, argv);
    if (!cli_args(&spec, argc, argv, &words, &exit_code)) return exit_code;
    if (!cli_output(output, &json)) return CLI_USAGE;
    if (!is_one(words.word[0], looks) || (table && strcmp(words.word[0], "dump") != 0)) {
        fprintf(stderr, "samovar store: it takes stat, check, dump [--table TABLE], keys, rotate "
                        "or rekey\n");
        return CLI_USAGE;
    }
    if (cli_config(NULL, &c)) return CLI_CONFIG;
    exit_code = run(c, words.word[0], words.n > 1 ? words.word[1] : NULL, table, json);
    config_free(c);
    return exit_code;
}
