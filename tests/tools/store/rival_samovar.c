/*  rival_samovar.c - the work through store.h, as an actor does it. */
#include "rival.h"

#include "error.h"
#include "opts.h"

#define SV_MESSAGES_FILE "bench_rows.def"
#include "message_structs.h"
#include "message_tables.h"

enum { VIEW_ARENA = 1 << 20, OP_ARENA = 16 << 20 };

static const store_index indexes[] = {{"by_at", "at", 0}};
static const store_table rows = {
    .name = "rows", .row = &bench_row_msg, .key = "id", .indexes = indexes, .n_indexes = 1};
static const store_table *const tables[] = {&rows};
static const store_schema schema = {
    .service = "bench", .version = 1, .tables = tables, .n_tables = 1};

static store *s;
static bench_done *tell;
static void *tell_arg;
static arena view_arena;

static sv_str id_str(const uint8_t id[BENCH_ID])
{
    return (sv_str){(const char *)id, BENCH_ID};
}

static void on_finished(void *arg, store_op *list)
{
    (void)arg;
    for (store_op *op = list; op; op = op->next)
        if (op->code) die("a write failed: %s %s", op->error.message, op->error.detail);
    tell(tell_arg, list);
}

static void on_event(void *arg, store_level level, const char *what, const char *detail)
{
    (void)arg;
    if (level == STORE_ALARM) die("%s: %s", what, detail);
}

store *bench_store(void)
{
    return s;
}

static void start(const char *folder, bool single, bench_done *done, void *arg)
{
    sv_error err = {.code = 0};
    store_spec spec = {.schema = &schema,
                       .folder = folder,
                       .map_bytes = bench_map_bytes,
                       .finished = on_finished,
                       .event = on_event};
    if (single) die("the store always groups: use one caller");
    tell = done;
    tell_arg = arg;
    if (store_open(&spec, &s, &err)) die("%s %s", err.message, err.detail);
    arena_init(&view_arena, VIEW_ARENA);
}

static void finish(void)
{
    store_close(s);
    s = NULL;
    arena_free(&view_arena);
}

/* ---- writes ---- */

static int write_fn(store_tx *tx, const void *in, void *out)
{
    const bench_op *o = in;
    (void)out;
    for (uint32_t i = 0; i < o->count; i++) {
        uint8_t id[BENCH_ID];
        bench_id(o->first + i, id);
        bench_row row = {
            .id = id_str(id), .at = o->at + i, .body = {bench_body(o->first + i), o->body}};
        int rc = o->kind == BENCH_PUT ? store_put(tx, &rows, &row) : store_delete(tx, &rows, &row);
        if (rc) return rc;
    }
    return 0;
}

static void submit(bench_op *o)
{
    if (o->arena.max == 0) arena_init(&o->arena, OP_ARENA);
    arena_reset(&o->arena);
    o->op = (store_op){.fn = write_fn, .in = o, .arena = &o->arena, .owner = "bench"};
    if (store_submit(s, &o->op)) die("a write was refused: %s", o->op.error.message);
}

/* ---- reads ---- */

static int view(store_fn *fn, const void *in, void *out)
{
    store_op op = {.fn = fn, .in = in, .out = out, .arena = &view_arena, .owner = "bench"};
    int rc = store_view(s, &op);
    if (rc && rc != SV_E_NOT_FOUND) die("a read failed: %s %s", op.error.message, op.error.detail);
    arena_reset(&view_arena);
    return rc;
}

static int get_fn(store_tx *tx, const void *in, void *out)
{
    (void)out;
    bench_row row = {.id = id_str(in)};
    int rc = store_get(tx, &rows, &row);
    if (rc == 0) bench_look(row.body.p, row.body.n);
    return rc;
}

static bool get(uint64_t number)
{
    uint8_t id[BENCH_ID];
    bench_id(number, id);
    return view(get_fn, id, NULL) == 0;
}

static int by_at_fn(store_tx *tx, const void *in, void *out)
{
    (void)out;
    bench_row row, bound = {.at = *(const int64_t *)in};
    store_range range = {.table = &rows,
                         .index = "by_at",
                         .low = &bound,
                         .high = &bound,
                         .low_n = 1,
                         .high_n = 1,
                         .limit = 1};
    store_scan *scan;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    bool found = store_scan_next(scan, &row);
    if (found) bench_look(row.body.p, row.body.n);
    rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc || found ? rc : SV_E_NOT_FOUND;
}

static bool by_at(int64_t at)
{
    return view(by_at_fn, &at, NULL) == 0;
}

typedef struct scan_call {
    uint8_t id[BENCH_ID];
    uint32_t most;
} scan_call;

static int scan_fn(store_tx *tx, const void *in, void *out)
{
    const scan_call *c = in;
    uint32_t *n = out;
    bench_row row, low = {.id = id_str(c->id)};
    store_range range = {.table = &rows, .low = &low, .low_n = 1, .limit = c->most};
    store_scan *scan;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    for (*n = 0; store_scan_next(scan, &row); ++*n)
        bench_look(row.body.p, row.body.n);
    rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc;
}

static uint32_t scan(uint64_t number, uint32_t most)
{
    scan_call c = {.most = most};
    uint32_t n = 0;
    bench_id(number, c.id);
    view(scan_fn, &c, &n);
    return n;
}

const rival rival_samovar = {"samovar", start, finish, submit, get, by_at, scan};
