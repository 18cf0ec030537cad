/*  model_steps.c - what random work does, and doing it with the store. */
#include "model.h"
#include "error.h"
#include "model_inside.h"

#include <stdio.h>

#define SV_MESSAGES_FILE "model_rows.def"
#include "message_tables.h"
#undef SV_MESSAGES_FILE

extern const sv_message progress_msg;
typedef struct noted {
    int64_t writer, done;
} noted;

/* The unique index is neither the first nor the last: what an earlier one did must be undone when
 * it refuses a row. */
static const store_index indexes[] = {{"by_score", "org,score", 0},
                                      {"by_rank", "score", STORE_SPARSE},
                                      {"by_name", "name", STORE_UNIQUE | STORE_SPARSE},
                                      {"by_tag", "tag", 0}};
static const char *const index_names[INDEXES] = {NULL, "by_score", "by_rank", "by_name", "by_tag"};
const store_table model_items = {.name = "items",
                                 .row = &item_msg,
                                 .key = "org,id",
                                 .indexes = indexes,
                                 .n_indexes = 4,
                                 .expires = "expires_ms",
                                 .tenant = "org",
                                 .blobs = true};
static const store_table notes = {.name = "notes", .row = &progress_msg, .key = "writer"};
static const store_table *const tables[] = {&model_items, &notes};
const store_schema model_schema = {
    .service = "model", .version = 1, .tables = tables, .n_tables = 2};

/* ---- rows ---- */

uint64_t model_clock_ms(uint64_t round)
{
    return 1700000000000ull + round * 37;
}

/* `n` times a letter, then a word: long ones begin alike and differ behind the part that an index
 * keeps as it is. */
static sv_str long_text(char *to, char letter, uint32_t n, const char *end)
{
    memset(to, letter, n);
    return (sv_str){to, n + (uint32_t)snprintf(to + n, 8, "%s", end)};
}

static sv_str name_of(uint64_t which, char room[200])
{
    if (which < 8) return (sv_str){NULL, 0};
    if (which >= 46) return long_text(room, 'n', 120, which == 46 ? "1" : which == 47 ? "2" : "3");
    return (sv_str){room, (uint32_t)snprintf(room, 200, "name%llu", (unsigned long long)which)};
}

static sv_str tag_of(uint64_t which, char room[300])
{
    static const char *const tags[] = {"", "blue", "blue-green", "z", "\xc3\xa9t\xc3\xa9"};
    if (which < 5) return which ? sv_cstr(tags[which]) : (sv_str){NULL, 0};
    if (which == 5) return (sv_str){"nul\0inside", 10};
    return long_text(room, 't', 200, which == 6 ? "1" : "2");
}

sv_str model_org(uint32_t which)
{
    static const sv_str orgs[MODEL_ORGS] = {{"a", 1}, {"aa", 2}, {"a\0b", 3}, {"b", 1}};
    return orgs[which];
}

void model_row(uint64_t seed, uint64_t stamp, uint32_t org, uint32_t id, row_room *room, item *ret)
{
    rng r = rng_of(seed, stamp * 2 + 1);
    int64_t now = (int64_t)model_clock_ms(stamp / MODEL_STEPS / MODEL_ROUND);
    memset(ret, 0, sizeof *ret);
    ret->org = model_org(org);
    ret->id = (int64_t)id;
    ret->stamp = (int64_t)stamp;
    ret->name = name_of(rng_below(&r, 49), room->name);
    ret->score = (int64_t)rng_below(&r, 21) - 5;
    room->tag_which = (uint32_t)rng_below(&r, 8);
    ret->tag = tag_of(room->tag_which, room->tag);
    uint64_t time = rng_below(&r, 20);
    if (time < 6) ret->expires_ms = now + (int64_t)rng_below(&r, 3000);
    if (time == 6) ret->expires_ms = now - (int64_t)rng_below(&r, 3000);
    if (time > 17) ret->expires_ms = now + 100000000;
    ret->mark = rng_below(&r, 2);
    uint32_t secret = (uint32_t)rng_below(&r, 2) * (uint32_t)rng_below(&r, 100);
    for (uint32_t i = 0; i < secret; i++)
        room->secret[i] = (char)rng_next(&r);
    if (secret) ret->secret = (sv_str){room->secret, secret};
    uint32_t text = (uint32_t)(rng_below(&r, 12) ? rng_below(&r, 200) : rng_below(&r, 3000));
    memset(room->text, 'a' + (int)rng_below(&r, 26), text);
    if (text) ret->text = (sv_str){room->text, text};
}

static uint64_t mix(uint64_t h, const void *p, size_t n)
{
    const uint8_t *b = p;
    for (size_t i = 0; i < n; i++)
        h = (h ^ b[i]) * 0x100000001B3ull;
    return h * 0x9E3779B97F4A7C15ull + n;
}

uint64_t model_hash_bytes(uint64_t h, const void *p, size_t n)
{
    return mix(h, p, n);
}

uint64_t model_hash_row(const item *i)
{
    int64_t numbers[] = {i->id, i->score, i->expires_ms, i->stamp, i->mark};
    uint64_t h = mix(1, numbers, sizeof numbers);
    const sv_str all[] = {i->org, i->name, i->tag, i->secret, i->text};
    for (size_t k = 0; k < 5; k++)
        h = mix(h, all[k].n ? all[k].p : "", all[k].n);
    return h;
}

char model_blob_byte(uint64_t stamp, uint64_t at)
{
    return (char)((stamp * 0x9E3779B97F4A7C15ull + at * 131) >> 7);
}

/* ---- what there is to do ---- */

uint32_t model_round(uint64_t seed, uint64_t round)
{
    rng r = rng_of(seed ^ 0xabcdef, round);
    return 1 + (uint32_t)rng_below(&r, MODEL_ROUND);
}

/* Bounds of a scan. Order among long texts that begin alike is not promised: with one of these as
 * a bound only equality is asked for. */
static void some_range(uint64_t seed, step *s, rng *r)
{
    static const uint32_t fields[INDEXES] = {2, 4, 3, 1, 3};
    row_room room;
    item low;
    s->index = (uint32_t)rng_below(r, INDEXES);
    s->reverse = rng_below(r, 2);
    s->claim = rng_below(r, 8) == 0;
    s->low_n = (uint32_t)rng_below(r, fields[s->index] + 1);
    s->high_n = (uint32_t)rng_below(r, fields[s->index] + 1);
    s->limit = rng_below(r, 2) ? (uint32_t)rng_below(r, 12) : 0;
    s->low_stamp = rng_below(r, 5000);
    s->low_org = (uint32_t)rng_below(r, MODEL_ORGS);
    s->low_id = (uint32_t)rng_below(r, MODEL_IDS + 1);
    s->high_stamp = rng_below(r, 5000);
    s->high_org = (uint32_t)rng_below(r, MODEL_ORGS);
    s->high_id = (uint32_t)rng_below(r, MODEL_IDS + 1);
    if (s->index >= INDEX_NAME || rng_below(r, 4) == 0) {
        s->high_stamp = s->low_stamp;
        s->high_org = s->low_org;
        s->high_id = s->low_id;
        s->high_n = s->low_n;
    }
    if (s->index < INDEX_NAME) return;
    s->limit = 0;
    model_row(seed, s->low_stamp, 0, 0, &room, &low);
    if (s->low_n > 1) s->low_n = s->high_n = 1;
    if (s->index == INDEX_TAG && room.tag_which < 5 && rng_below(r, 2)) s->high_n = 0;
}

static void some_step(uint64_t seed, step *s, rng *r, bool read_only)
{
    static const uint8_t odds[] = {12, 4, 6, 12, 3, 25, 8, 4, 8, 10, 3, 5};
    uint32_t kinds = read_only ? STEP_PUT : STEP_SCAN_DELETE + 1, all = 0, dice;
    for (uint32_t k = 0; k < kinds; k++)
        all += odds[k];
    dice = (uint32_t)rng_below(r, all);
    for (uint32_t k = 0; dice >= odds[k]; k++, s->kind = (step_kind)k)
        dice -= odds[k];
    s->org = (uint32_t)rng_below(r, MODEL_ORGS);
    s->id = (uint32_t)rng_below(r, MODEL_IDS);
    s->offset = rng_below(r, 9000);
    s->bytes = (uint32_t)(rng_below(r, 6) ? rng_below(r, 3000) : rng_below(r, 20000));
    if (s->kind == STEP_SCAN || s->kind == STEP_PAGES || s->kind == STEP_SCAN_DELETE)
        some_range(seed, s, r);
    if (s->kind == STEP_PAGES) s->limit = 1 + (uint32_t)rng_below(r, 9);
    if (s->kind == STEP_SCAN_DELETE && s->limit == 0) s->limit = s->index < INDEX_NAME ? 10 : 0;
}

void model_work(uint64_t seed, uint64_t number, work *ret)
{
    rng r = rng_of(seed, number * 2);
    memset(ret, 0, sizeof *ret);
    ret->seed = seed;
    ret->number = number;
    ret->read_only = rng_below(&r, 4) == 0;
    ret->strict = rng_below(&r, 2);
    ret->ends_with = rng_below(&r, 12) == 0 ? SV_E_INVALID : 0;
    ret->n = 1 + (uint32_t)rng_below(&r, MODEL_STEPS);
    for (uint32_t i = 0; i < ret->n; i++) {
        ret->steps[i].stamp = number * MODEL_STEPS + i;
        some_step(seed, &ret->steps[i], &r, ret->read_only);
    }
}

/* ---- with the store ---- */

bool model_ordered(const step *s)
{
    return s->index < INDEX_NAME;
}

/* In order, or, where none is promised, as a set. */
uint64_t model_hash_seen(const step *s, uint64_t h, const item *row)
{
    uint64_t one = model_hash_row(row);
    return model_ordered(s) ? mix(h, &one, sizeof one) : h + one;
}

static int do_scan(store_tx *tx, const work *w, const step *s, step_result *ret)
{
    row_room low_room, high_room;
    item low, high, row;
    store_scan *scan;
    char after[LIMIT_POSITION];
    bool more;
    model_row(w->seed, s->low_stamp, s->low_org, s->low_id, &low_room, &low);
    model_row(w->seed, s->high_stamp, s->high_org, s->high_id, &high_room, &high);
    store_range range = {.table = &model_items,
                         .index = index_names[s->index],
                         .low = &low,
                         .high = &high,
                         .low_n = s->low_n,
                         .high_n = s->high_n,
                         .reverse = s->reverse,
                         .limit = s->limit,
                         .claim = s->claim};
    do {
        uint32_t n = 0;
        int rc = store_scan_open(tx, &range, &scan);
        if (rc) return rc;
        while (store_scan_next(scan, &row)) {
            ret->hash = model_hash_seen(s, ret->hash, &row);
            if (s->kind == STEP_SCAN_DELETE && (n % 2 == 0 || !model_ordered(s))) {
                rc = store_delete(tx, &model_items, &row);
                if (rc) break;
            }
            n++;
        }
        if (rc == 0) rc = store_scan_result(scan);
        sv_str position = store_scan_position(scan);
        memcpy(after, position.p, position.n);
        range.after = (sv_str){after, position.n};
        more = s->kind == STEP_PAGES && n == s->limit;
        store_scan_close(scan);
        if (rc) return rc;
    } while (more);
    return 0;
}

static int do_put(store_tx *tx, const work *w, const step *s)
{
    row_room room;
    item row;
    model_row(w->seed, s->stamp, s->org, s->id, &room, &row);
    if (s->kind == STEP_INSERT) return store_insert(tx, &model_items, &row);
    if (s->kind == STEP_PUT) return store_put(tx, &model_items, &row);
    row.name = (sv_str){NULL, 0};
    if (s->bytes % 2)
        row.tag = (sv_str){"\xff\xfe", 2};
    else
        row.text = (sv_str){room.text, 3001};
    return store_put(tx, &model_items, &row);
}

static int do_blob(store_tx *tx, const step *s, step_result *ret)
{
    static const item none;
    item row = none;
    row.org = model_org(s->org);
    row.id = (int64_t)s->id;
    char bytes[20000];
    uint64_t size;
    size_t got;
    int rc;
    switch ((int)s->kind) {
    case STEP_BLOB_SIZE:
        rc = store_blob_size(tx, &model_items, &row, &size);
        ret->hash = rc ? 0 : size;
        return rc;
    case STEP_BLOB_READ:
        rc = store_blob_read(tx, &model_items, &row, s->offset, bytes, s->bytes, &got);
        ret->hash = rc ? 0 : mix(0, bytes, got);
        return rc;
    case STEP_BLOB_APPEND:
        for (uint32_t i = 0; i < s->bytes; i++)
            bytes[i] = model_blob_byte(s->stamp, i);
        return store_blob_append(tx, &model_items, &row, (sv_str){bytes, s->bytes});
    default: return store_blob_drop(tx, &model_items, &row);
    }
}

static int do_step(store_tx *tx, const work *w, const step *s, step_result *ret)
{
    item row = {.org = model_org(s->org), .id = (int64_t)s->id};
    int rc;
    switch (s->kind) {
    case STEP_GET:
        rc = store_get(tx, &model_items, &row);
        ret->hash = rc ? 0 : model_hash_row(&row);
        return rc;
    case STEP_PUT:
    case STEP_INSERT:
    case STEP_PUT_WRONG: return do_put(tx, w, s);
    case STEP_DELETE: return store_delete(tx, &model_items, &row);
    case STEP_SCAN:
    case STEP_PAGES:
    case STEP_SCAN_DELETE: return do_scan(tx, w, s, ret);
    case STEP_BLOB_SIZE:
    case STEP_BLOB_READ:
    case STEP_BLOB_APPEND:
    case STEP_BLOB_DROP: return do_blob(tx, s, ret);
    }
    return SV_E_INTERNAL;
}

int model_fn(store_tx *tx, const void *in, void *out)
{
    const work *w = in;
    work_result *ret = out;
    memset(ret, 0, sizeof *ret);
    for (uint32_t i = 0; i < w->n; i++) {
        step_result *r = &ret->steps[ret->n++];
        r->code = do_step(tx, w, &w->steps[i], r);
        if (r->code && w->strict) return r->code;
    }
    if (w->ends_with || w->read_only) return w->ends_with;
    noted n = {0, (int64_t)w->number + 1};
    return store_put(tx, &notes, &n);
}

int model_noted(store_tx *tx, const void *in, void *out)
{
    noted n = {0};
    (void)in;
    int rc = store_get(tx, &notes, &n);
    *(uint64_t *)out = rc ? 0 : (uint64_t)n.done;
    return rc == SV_E_NOT_FOUND ? 0 : rc;
}
