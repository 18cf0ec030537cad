/*  bench_store.c - one measurement of the store or of a rival in a folder of its own; prints one
 *  JSON line. tests/bench/store.sh runs it in turns and compares. */
#include "driver.h"
#include "net.h"
#include "opts.h"
#include "stall.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LOAD_ROWS = 1000, /* rows of one write while loading: nobody waits for a single one */
    LOAD_CALLERS = 8,
    SCAN = 100,
    SOAK_LEAST = 40
};
/* Times of loaded rows: their number after this one. Later writes use the clock. */
static const int64_t first_at = 1600000000000;

static struct {
    const char *engine, *what, *folder;
    int64_t callers, rows, ops, map_gib;
    double seconds, warmup;
    bool single, update;
} o = {.engine = "samovar",
       .what = "write",
       .callers = 64,
       .rows = 100000,
       .ops = 200000,
       .map_gib = 64,
       .seconds = 1,
       .warmup = 0.2};

static const opt options[] = {
    {"engine", OPT_STR, &o.engine, 0, 0, "samovar, lmdb or sqlite"},
    {"what", OPT_STR, &o.what, 0, 0, "load, write, read, index, scan, stall or soak"},
    {"folder", OPT_STR, &o.folder, 0, 0, "where the data lies; must exist"},
    {"callers", OPT_INT, &o.callers, 1, 65536, "writes kept waiting"},
    {"rows", OPT_INT, &o.rows, 1, 1e9, "rows that are there, or that load and soak make"},
    {"ops", OPT_INT, &o.ops, 1, 1e9, "operations of a soak"},
    {"seconds", OPT_NUM, &o.seconds, 0.01, 3600, "measured time"},
    {"warmup", OPT_NUM, &o.warmup, 0, 60, "time before it"},
    {"map-gib", OPT_INT, &o.map_gib, 1, 1024, "size of the map: smaller ones for valgrind"},
    {"single", OPT_FLAG, &o.single, 0, 0, "every write in a commit of its own (rivals)"},
    {"update", OPT_FLAG, &o.update, 0, 0, "write: replace rows that are there instead of adding"},
};

static uint64_t random_state;

static uint64_t random_below(uint64_t n)
{
    random_state = random_state * 6364136223846793005U + 1442695040888963407U;
    return (random_state >> 33) % n;
}

static const rival *find_rival(void)
{
    static const rival *const all[] = {
        &rival_samovar,
        &rival_lmdb,
#ifdef BENCH_SQLITE
        &rival_sqlite,
#endif
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(all[i]->name, o.engine) == 0) return all[i];
    die("--engine takes samovar, lmdb or sqlite (if it was there at build time), not \"%s\"",
        o.engine);
}

static uint64_t folder_bytes(void)
{
    static const char *const files[] = {"data.mdb", "bench.sqlite", "bench.sqlite-wal"};
    uint64_t sum = 0;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[4200];
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", o.folder, files[i]);
        if (stat(path, &st) == 0) sum += (uint64_t)st.st_size;
    }
    return sum;
}

/* ---- load ---- */

static bool next_load(void *arg, bench_op *op)
{
    uint64_t *number = arg;
    uint64_t rows = (uint64_t)o.rows;
    if (*number >= rows) return false;
    op->kind = BENCH_PUT;
    op->first = *number;
    op->count = rows - *number < LOAD_ROWS ? (uint32_t)(rows - *number) : LOAD_ROWS;
    op->body = BENCH_BODY;
    op->at = first_at + (int64_t)*number;
    *number += op->count;
    return true;
}

static void load(const rival *r)
{
    static driver_result result;
    uint64_t number = 0;
    driver *d = driver_new(r, LOAD_CALLERS, next_load, &number);
    r->open(o.folder, false, driver_done, d);
    driver_run(d, 0, &result);
    r->close();
    driver_free(d);
    printf("{\"what\":\"load\",\"engine\":\"%s\",\"rows\":%lld,\"seconds\":%.3f,\"rows_s\":%.0f,"
           "\"file_bytes\":%llu}\n",
           r->name, (long long)o.rows, (double)result.took_us / 1e6,
           (double)result.rows * 1e6 / (double)result.took_us, (unsigned long long)folder_bytes());
}

/* ---- durable writes, one row each ---- */

static bool next_write(void *arg, bench_op *op)
{
    uint64_t *number = arg;
    op->kind = BENCH_PUT;
    op->first = o.update ? random_below((uint64_t)o.rows) : *number;
    op->count = 1;
    op->body = BENCH_BODY;
    op->at = (int64_t)*number;
    ++*number;
    return true;
}

static void write_rows(const rival *r)
{
    static driver_result result;
    uint64_t number = now_us() << 8; /* no other run has had these */
    driver *d = driver_new(r, (uint32_t)o.callers, next_write, &number);
    r->open(o.folder, o.single, driver_done, d);
    if (o.warmup > 0) driver_run(d, (uint64_t)(o.warmup * 1e6), &result);
    driver_run(d, (uint64_t)(o.seconds * 1e6), &result);
    r->close();
    driver_free(d);
    const hist *h = &result.latency;
    printf("{\"what\":\"write\",\"engine\":\"%s\",\"callers\":%lld,\"per_s\":%.0f,\"p50_us\":%llu,"
           "\"p99_us\":%llu,\"max_us\":%llu,\"cpu_us\":%.2f}\n",
           r->name, (long long)o.callers, (double)result.rows * 1e6 / (double)result.took_us,
           (unsigned long long)hist_at(h, 0.5), (unsigned long long)hist_at(h, 0.99),
           (unsigned long long)h->max,
           (double)result.cpu_us / (double)(result.rows + !result.rows));
}

/* ---- reads ---- */

static void nothing_done(void *arg, store_op *list)
{
    (void)arg;
    (void)list;
}

static uint32_t read_once(const rival *r)
{
    uint64_t number = random_below((uint64_t)o.rows);
    uint32_t n;
    switch (o.what[0]) {
    case 'r': n = r->get(number); break;
    case 'i': n = r->by_at(first_at + (int64_t)number); break;
    default: n = r->scan(number, SCAN); break;
    }
    if (n == 0) die("%s does not find row %llu", r->name, (unsigned long long)number);
    return n;
}

static void read_rows(const rival *r)
{
    enum { CLOCK_EVERY = 16 };
    uint64_t reads = 0, rows = 0, start = 0, now, warm;
    r->open(o.folder, false, nothing_done, NULL);
    for (warm = now_us() + (uint64_t)(o.warmup * 1e6); now_us() < warm;)
        read_once(r);
    start = now = now_us();
    while (now - start < (uint64_t)(o.seconds * 1e6)) {
        for (int i = 0; i < CLOCK_EVERY; i++)
            rows += read_once(r);
        reads += CLOCK_EVERY;
        now = now_us();
    }
    r->close();
    printf("{\"what\":\"%s\",\"engine\":\"%s\",\"rows\":%lld,\"per_s\":%.0f,\"us\":%.4f,"
           "\"rows_each\":%.1f}\n",
           o.what, r->name, (long long)o.rows, (double)reads * 1e6 / (double)(now - start),
           (double)(now - start) / (double)reads, (double)rows / (double)reads);
}

/* ---- how late the loop is ---- */

static void stall(const rival *r)
{
    static hist idle, busy;
    uint64_t number = now_us() << 8;
    driver *d = driver_new(r, (uint32_t)o.callers, next_write, &number);
    r->open(o.folder, o.single, driver_done, d);
    stall_measure(NULL, o.seconds, &idle);
    stall_measure(d, o.seconds, &busy);
    uint64_t writes = driver_rows(d);
    r->close();
    driver_free(d);
    printf("{\"what\":\"stall\",\"engine\":\"%s\",\"callers\":%lld,\"idle_p50_us\":%llu,"
           "\"idle_p99_us\":%llu,\"p50_us\":%llu,\"p99_us\":%llu,\"max_us\":%llu,\"per_s\":%.0f}\n",
           r->name, (long long)o.callers, (unsigned long long)hist_at(&idle, 0.5),
           (unsigned long long)hist_at(&idle, 0.99), (unsigned long long)hist_at(&busy, 0.5),
           (unsigned long long)hist_at(&busy, 0.99), (unsigned long long)busy.max,
           (double)writes / o.seconds);
}

/* ---- soak ---- */

typedef struct soak_state {
    uint64_t made; /* operations */
    bool *there;
} soak_state;

static bool next_soak(void *arg, bench_op *op)
{
    soak_state *s = arg;
    uint64_t rows = (uint64_t)o.rows, turn = s->made++;
    if (turn >= rows + (uint64_t)o.ops) return false;
    op->first = turn < rows ? turn : random_below(rows);
    op->count = 1;
    op->at = first_at + (int64_t)turn;
    op->body = (uint32_t)(SOAK_LEAST + random_below(BENCH_BODY_MOST - SOAK_LEAST));
    op->kind = s->there[op->first] && random_below(5) == 0 ? BENCH_DELETE : BENCH_PUT;
    s->there[op->first] = op->kind == BENCH_PUT;
    return true;
}

static void soak(const rival *r)
{
    static driver_result result;
    if (r != &rival_samovar) die("only the store is soaked");
    soak_state state = {.there = calloc((size_t)o.rows, sizeof(bool))};
    if (state.there == NULL) die("no memory");
    driver *d = driver_new(r, (uint32_t)o.callers, next_soak, &state);
    r->open(o.folder, false, driver_done, d);
    driver_run(d, 0, &result);
    uint64_t live = 0;
    for (int64_t i = 0; i < o.rows; i++)
        live += state.there[i];
    store_stat st;
    store_copy copy;
    sv_error err = {.code = 0};
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || store_stats(bench_store(), true, &st, &err) ||
        store_backup(bench_store(), fd, &copy, &err))
        die("no copy: %s %s", err.message, err.detail);
    close(fd);
    r->close();
    uint64_t file = folder_bytes();
    printf("{\"what\":\"soak\",\"engine\":\"%s\",\"rows\":%llu,\"ops\":%lld,\"per_s\":%.0f,"
           "\"file_bytes\":%llu,\"live_bytes\":%llu,\"free_pages\":%llu,\"ratio\":%.4f}\n",
           r->name, (unsigned long long)live, (long long)o.ops,
           (double)result.rows * 1e6 / (double)result.took_us, (unsigned long long)file,
           (unsigned long long)copy.bytes, (unsigned long long)st.free_pages,
           (double)file / (double)copy.bytes);
    driver_free(d);
    free(state.there);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(const rival *r);
    } what[] = {{"load", load},       {"write", write_rows}, {"read", read_rows},
                {"index", read_rows}, {"scan", read_rows},   {"stall", stall},
                {"soak", soak}};
    opts_parse(argc, argv, "one measurement of the store or a rival", options,
               sizeof options / sizeof *options);
    if (o.folder == NULL) die("--folder is missing");
    random_state = now_us();
    bench_map_bytes = (size_t)o.map_gib << 30;
    for (size_t i = 0; i < sizeof what / sizeof *what; i++)
        if (strcmp(what[i].name, o.what) == 0) {
            what[i].run(find_rival());
            return 0;
        }
    die("--what takes load, write, read, index, scan, stall or soak, not \"%s\"", o.what);
}
