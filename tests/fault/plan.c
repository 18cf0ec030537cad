/*  plan.c - everything is computed from (seed, writer, operation): kinds, texts, secrets, blobs. A row
 *  names the operation that wrote it, so its other fields can be computed and compared. */
#include "plan.h"
#include "error.h"
#include "sv_limits.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SV_MESSAGES_FILE "fault_rows.def"
#include "message_tables.h"

static const store_index entry_indexes[] = {{"by_name", "name", STORE_UNIQUE},
                                            {"by_team", "team,amount", 0}};
static const store_table entries = {.name = "entries",
                                    .row = &entry_msg,
                                    .key = "writer,number",
                                    .indexes = entry_indexes,
                                    .n_indexes = 2,
                                    .tenant = "tenant",
                                    .blobs = true};
static const store_index visit_indexes[] = {{"by_day", "day", 0}};
static const store_table visits = {.name = "visits",
                                   .row = &visit_msg,
                                   .key = "writer,number",
                                   .indexes = visit_indexes,
                                   .n_indexes = 1,
                                   .expires = "expires_ms"};
static const store_table sums = {.name = "sums", .row = &sum_msg, .key = "team"};
static const store_table progresses = {.name = "progress", .row = &progress_msg, .key = "writer"};
const store_table *const plan_tables[PLAN_TABLES] = {&entries, &visits, &sums, &progresses};
const store_schema plan_schema = {
    .service = "fault", .version = 1, .tables = plan_tables, .n_tables = PLAN_TABLES};

enum { TEXT_MAX = 8000, BLOB_MAX = 12000, NAME_ROOM = 64 };

seal_key *plan_root_key(void)
{
    static const uint8_t bytes[SEAL_KEY] = "a root key that is always known";
    return seal_key_from(bytes);
}

seal_key *plan_other_root_key(void)
{
    static const uint8_t bytes[SEAL_KEY] = "another root key, known as well";
    return seal_key_from(bytes);
}

uint64_t plan_clock(void)
{
    return PLAN_NOW_MS;
}

/* ---- what operations do ---- */

static rng chance(uint64_t seed, uint32_t writer, uint64_t i, uint32_t what)
{
    return rng_of(seed * 31 + what, (uint64_t)writer << 32 | i);
}

typedef struct content {
    char name[NAME_ROOM], text[TEXT_MAX], secret[64];
} content;

static sv_str name_of(uint32_t writer, uint64_t number, uint64_t version, char room[NAME_ROOM])
{
    int n = snprintf(room, NAME_ROOM, "w%u-%llu-%llu", writer, (unsigned long long)number,
                     (unsigned long long)version);
    return (sv_str){room, (uint32_t)n};
}

/* An entry as operation `version` writes it; its strings are in `room`. */
static void fill_entry(uint64_t seed, uint32_t writer, uint64_t number, uint64_t version,
                       content *room, entry *ret)
{
    static const char *const teams[PLAN_TEAMS] = {"ants", "bees", "cats", "dogs", "elks", "foxes"};
    static const char *const tenants[3] = {"", "north", "south"};
    rng r = chance(seed, writer, version, 1);
    size_t text = rng_below(&r, 8) ? rng_below(&r, 300) : rng_below(&r, TEXT_MAX);
    memset(ret, 0, sizeof *ret);
    ret->writer = writer;
    ret->number = (int64_t)number;
    ret->version = (int64_t)version;
    ret->name = name_of(writer, number, version, room->name);
    ret->team = sv_cstr(teams[rng_below(&r, PLAN_TEAMS)]);
    ret->amount = (int64_t)rng_below(&r, 1000);
    for (size_t k = 0; k < text; k++)
        room->text[k] = (char)('a' + rng_below(&r, 26));
    if (text) ret->text = (sv_str){room->text, (uint32_t)text};
    ret->tenant = sv_cstr(tenants[rng_below(&r, 3)]);
    if (rng_below(&r, 2)) {
        for (size_t k = 0; k < sizeof room->secret; k++)
            room->secret[k] = (char)rng_next(&r);
        ret->secret = (sv_str){room->secret, (uint32_t)(1 + rng_below(&r, sizeof room->secret))};
    }
}

/* Byte `at` of an entry's blob. */
static char blob_byte(uint32_t writer, uint64_t number, uint64_t at)
{
    uint64_t x = (writer * 1000003u + number * 7919u + at) * 0x9E3779B97F4A7C15ull;
    return (char)(x >> 56);
}

static bool visit_of(uint64_t seed, uint32_t writer, uint64_t i, visit *ret)
{
    rng r = chance(seed, writer, i, 2);
    uint64_t how = rng_below(&r, 4);
    if (how > 1) return false;
    *ret = (visit){.writer = writer, .number = (int64_t)i, .day = (int64_t)rng_below(&r, 30)};
    ret->expires_ms = (int64_t)PLAN_NOW_MS + (how ? 1000000 : -1);
    return true;
}

void plan_start(plan_writer *p, uint64_t seed, uint32_t writer)
{
    memset(p, 0, sizeof *p);
    p->seed = seed;
    p->writer = writer;
}

static uint64_t some_entry(const plan_writer *p, rng *r)
{
    if (!p->n) return 0;
    uint64_t from = rng_below(r, p->n);
    for (uint64_t k = 0; k < p->n; k++) {
        uint64_t number = 1 + (from + k) % p->n;
        if (p->entry[number].version) return number;
    }
    return 0;
}

void plan_next(const plan_writer *p, plan_op *ret)
{
    rng r = chance(p->seed, p->writer, p->done + 1, 0);
    uint64_t dice = rng_below(&r, 100), old = some_entry(p, &r);
    *ret = (plan_op){.seed = p->seed, .writer = p->writer, .i = p->done + 1};
    ret->kind = dice < 50 || !old ? PLAN_INSERT
                : dice < 75       ? PLAN_UPDATE
                : dice < 90       ? PLAN_DELETE
                : dice < 95       ? PLAN_CONFLICT
                                  : PLAN_FAIL;
    ret->number = ret->kind == PLAN_INSERT || ret->kind == PLAN_CONFLICT ? p->n + 1 : old;
    ret->other = old;
    ret->was_version = old ? p->entry[old].version : 0;
    if (ret->kind == PLAN_CONFLICT) ret->expect = SV_E_CONFLICT;
    if (ret->kind == PLAN_FAIL) ret->expect = SV_E_INVALID;
    ret->blob_before = p->entry[ret->number].blob;
    if (ret->kind == PLAN_UPDATE && ret->blob_before && rng_below(&r, 4) == 0)
        ret->blob_drop = true;
    else if (ret->kind <= PLAN_UPDATE && rng_below(&r, 4) == 0 && ret->blob_before < BLOB_MAX)
        ret->blob_add = (uint32_t)(1 + rng_below(&r, BLOB_MAX));
}

void plan_apply(plan_writer *p, const plan_op *op)
{
    p->done = op->i;
    if (op->expect) return;
    p->last_good = op->i;
    if (op->kind == PLAN_INSERT) p->n = op->number;
    plan_entry *e = &p->entry[op->number];
    e->version = op->kind == PLAN_DELETE ? 0 : op->i;
    e->blob = op->kind == PLAN_DELETE || op->blob_drop ? 0 : e->blob + op->blob_add;
}

/* ---- in the store ---- */

static int count(store_tx *tx, sv_str team, int64_t entries_more, int64_t amount_more)
{
    sum s = {.team = team};
    int rc = store_get(tx, &sums, &s);
    if (rc == SV_E_NOT_FOUND)
        s = (sum){.team = team};
    else if (rc)
        return rc;
    s.entries += entries_more;
    s.amount += amount_more;
    return store_put(tx, &sums, &s);
}

/* The entry that is there must be the one the plan says. */
static int read_back(store_tx *tx, const plan_op *op, uint64_t number, uint64_t version, entry *ret)
{
    content room;
    entry want;
    *ret = (entry){.writer = op->writer, .number = (int64_t)number};
    int rc = store_get(tx, &entries, ret);
    if (rc) return rc;
    fill_entry(op->seed, op->writer, number, version, &room, &want);
    if (ret->version == want.version && sv_str_eq(ret->name, want.name) &&
        sv_str_eq(ret->text, want.text) && sv_str_eq(ret->secret, want.secret))
        return 0;
    return sv_fail(store_error(tx), SV_E_INTERNAL, "entry", "Writer %u reads an entry of %lld.",
                   op->writer, (long long)ret->version);
}

static int append_blob(store_tx *tx, const plan_op *op, const entry *e)
{
    char bytes[BLOB_MAX];
    for (uint32_t k = 0; k < op->blob_add; k++)
        bytes[k] = blob_byte(op->writer, op->number, op->blob_before + k);
    return store_blob_append(tx, &entries, e, (sv_str){bytes, op->blob_add});
}

/* An entry with the name of another. */
static int conflict(store_tx *tx, const plan_op *op, entry *e)
{
    char taken[NAME_ROOM];
    e->name = name_of(op->writer, op->other, op->was_version, taken);
    int rc = store_insert(tx, &entries, e);
    return rc ? rc : SV_E_INTERNAL;
}

int plan_fn(store_tx *tx, const void *in, void *out)
{
    const plan_op *op = in;
    content room;
    entry next, was;
    visit v;
    int rc = 0;
    (void)out;
    fill_entry(op->seed, op->writer, op->number, op->i, &room, &next);
    if (op->kind == PLAN_UPDATE || op->kind == PLAN_DELETE || op->kind == PLAN_FAIL) {
        rc = read_back(tx, op, op->number, op->was_version, &was);
        if (rc == 0) rc = count(tx, was.team, -1, -was.amount);
    }
    if (rc == 0 && op->kind != PLAN_DELETE) rc = count(tx, next.team, 1, next.amount);
    if (rc == 0 && op->kind == PLAN_CONFLICT) return conflict(tx, op, &next);
    if (rc == 0 && op->kind == PLAN_INSERT) rc = store_insert(tx, &entries, &next);
    if (rc == 0 && (op->kind == PLAN_UPDATE || op->kind == PLAN_FAIL))
        rc = store_put(tx, &entries, &next);
    if (rc == 0 && op->blob_drop) rc = store_blob_drop(tx, &entries, &next);
    if (rc == 0 && op->blob_add) rc = append_blob(tx, op, &next);
    if (rc == 0 && op->kind == PLAN_DELETE) rc = store_delete(tx, &entries, &next);
    if (rc == 0 && visit_of(op->seed, op->writer, op->i, &v)) rc = store_put(tx, &visits, &v);
    progress p = {.writer = op->writer, .done = (int64_t)op->i};
    if (rc == 0) rc = store_put(tx, &progresses, &p);
    return rc ? rc : op->expect;
}

static void mix(uint64_t *h, const void *p, size_t n)
{
    const uint8_t *b = p;
    for (size_t i = 0; i < n; i++)
        *h = (*h ^ b[i]) * 0x100000001B3ull;
}

static int read_blob(store_tx *tx, const entry *e, uint64_t *h)
{
    char bytes[3000];
    size_t got = 1;
    int rc = 0;
    for (uint64_t at = 0; rc == 0 && got; at += got) {
        rc = store_blob_read(tx, &entries, e, at, bytes, sizeof bytes, &got);
        if (rc == 0) mix(h, bytes, got);
    }
    return rc == SV_E_NOT_FOUND ? 0 : rc;
}

int plan_read(store_tx *tx, const void *in, void *out)
{
    static const char *const by[] = {NULL, "by_name", "by_team"};
    uint64_t h = 1;
    (void)in;
    for (size_t i = 0; i < 3; i++) {
        store_range range = {.table = &entries, .index = by[i], .reverse = i == 1};
        store_scan *s;
        entry e;
        int rc = store_scan_open(tx, &range, &s);
        if (rc) return rc;
        while (rc == 0 && store_scan_next(s, &e)) {
            mix(&h, e.name.p, e.name.n);
            mix(&h, e.text.p, e.text.n);
            mix(&h, e.secret.p, e.secret.n);
            if (i == 0) rc = read_blob(tx, &e, &h);
        }
        if (rc == 0) rc = store_scan_result(s);
        store_scan_close(s);
        if (rc) return rc;
    }
    *(uint64_t *)out = h;
    return 0;
}

/* ---- judging ---- */

typedef struct judging {
    uint64_t seed, upto;
    uint32_t writers;
    const acked *acked;
    plan_writer *plan; /* of each writer, as far as it says it is */
    sum sums[PLAN_TEAMS];
    uint32_t n_sums;
    verdict verdict;
    char *why;
    size_t why_n;
} judging;

static int judged(judging *j, verdict v, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static int judged(judging *j, verdict v, const char *fmt, ...)
{
    va_list ap;
    if (j->verdict != FINE) return 1;
    j->verdict = v;
    va_start(ap, fmt);
    vsnprintf(j->why, j->why_n, fmt, ap);
    va_end(ap);
    return 1;
}

#define U(x) ((unsigned long long)(x))

int plan_progress(store_tx *tx, uint32_t writer, uint64_t *ret)
{
    progress row = {.writer = writer};
    int rc = store_get(tx, &progresses, &row);
    *ret = rc == 0 ? (uint64_t)row.done : 0;
    return rc == SV_E_NOT_FOUND ? 0 : rc;
}

static int judge_progress(store_tx *tx, judging *j)
{
    for (uint32_t w = 0; w < j->writers; w++) {
        plan_writer *p = &j->plan[w];
        plan_op op;
        uint64_t there;
        int rc = plan_progress(tx, w, &there);
        if (rc) return judged(j, BROKEN, "progress answers %d", rc);
        if (there > j->upto) return judged(j, BROKEN, "writer %u did %llu", w, U(there));
        plan_start(p, j->seed, w);
        while (p->done < there) {
            plan_next(p, &op);
            plan_apply(p, &op);
        }
        if (p->last_good != there)
            return judged(j, BROKEN, "writer %u ends with %llu, made to fail", w, U(there));
        if (p->done >= j->acked->upto[w]) continue;
        plan_writer more = *p; /* what comes next may all be made to fail */
        while (more.done < j->acked->upto[w]) {
            plan_next(&more, &op);
            plan_apply(&more, &op);
        }
        if (more.last_good != there)
            return judged(j, LOST, "writer %u was told of %llu, there is %llu", w,
                          U(j->acked->upto[w]), U(there));
    }
    return 0;
}

static bool same_entry(const entry *a, const entry *b)
{
    return a->writer == b->writer && a->number == b->number && a->version == b->version &&
           a->amount == b->amount && sv_str_eq(a->name, b->name) && sv_str_eq(a->team, b->team) &&
           sv_str_eq(a->text, b->text) && sv_str_eq(a->tenant, b->tenant) &&
           sv_str_eq(a->secret, b->secret);
}

static int judge_blob(store_tx *tx, judging *j, const entry *e, uint32_t want)
{
    char bytes[1500];
    uint64_t size = 0;
    int rc = store_blob_size(tx, &entries, e, &size);
    if (rc && rc != SV_E_NOT_FOUND) return judged(j, BROKEN, "a blob's size answers %d", rc);
    if (size != want) return judged(j, BROKEN, "a blob has %llu bytes, not %u", U(size), want);
    for (uint64_t at = 0; at < size;) {
        size_t got = 0;
        rc = store_blob_read(tx, &entries, e, at, bytes, sizeof bytes, &got);
        if (rc || !got) return judged(j, BROKEN, "a blob's piece answers %d", rc);
        for (size_t k = 0; k < got; k++)
            if (bytes[k] != blob_byte((uint32_t)e->writer, (uint64_t)e->number, at + k))
                return judged(j, BROKEN, "byte %llu of a blob is wrong", U(at + k));
        at += got;
    }
    return 0;
}

static void add_sum(judging *j, const entry *e)
{
    uint32_t i = 0;
    while (i < j->n_sums && !sv_str_eq(j->sums[i].team, e->team))
        i++;
    if (i == j->n_sums) j->sums[j->n_sums++] = (sum){.team = e->team};
    j->sums[i].entries++;
    j->sums[i].amount += e->amount;
}

/* By the unique index there is exactly this row. */
static int judge_name(store_tx *tx, judging *j, const entry *e)
{
    store_range range = {
        .table = &entries, .index = "by_name", .low = e, .high = e, .low_n = 1, .high_n = 1};
    store_scan *s;
    entry found;
    uint32_t n = 0;
    int rc = store_scan_open(tx, &range, &s);
    if (rc) return judged(j, BROKEN, "a scan by name answers %d", rc);
    while (store_scan_next(s, &found)) {
        n++;
        if (!same_entry(e, &found)) n += 100;
    }
    rc = store_scan_result(s);
    store_scan_close(s);
    return rc || n != 1 ? judged(j, BROKEN, "by name there are %u, %d", n, rc) : 0;
}

static int judge_entries(store_tx *tx, judging *j, uint32_t w, uint64_t *total)
{
    const plan_writer *p = &j->plan[w];
    content room;
    for (uint64_t number = 1; number <= PLAN_OPS; number++) {
        const plan_entry *want = &p->entry[number];
        entry row = {.writer = w, .number = (int64_t)number}, full;
        int rc = store_get(tx, &entries, &row);
        if (rc == SV_E_NOT_FOUND && !want->version) continue;
        if (rc || !want->version)
            return judged(j, BROKEN, "entry %u,%llu answers %d at %llu", w, U(number), rc,
                          U(p->done));
        fill_entry(j->seed, w, number, want->version, &room, &full);
        if (!same_entry(&row, &full))
            return judged(j, BROKEN, "entry %u,%llu is of version %lld, not %llu", w, U(number),
                          (long long)row.version, U(want->version));
        add_sum(j, &row);
        ++*total;
        if (judge_name(tx, j, &row) || judge_blob(tx, j, &row, want->blob)) return 1;
    }
    return 0;
}

/* Scans a whole table by an index or its key: as many rows as expected. */
static int judge_count(store_tx *tx, judging *j, const store_table *t, const char *index,
                       uint64_t want)
{
    store_range range = {.table = t, .index = index};
    store_scan *s;
    union {
        entry e;
        visit v;
        sum s;
    } row;
    uint64_t n = 0;
    int rc = store_scan_open(tx, &range, &s);
    if (rc) return judged(j, BROKEN, "a scan of %s answers %d", t->name, rc);
    while (store_scan_next(s, &row))
        n++;
    rc = store_scan_result(s);
    store_scan_close(s);
    if (rc == 0 && n == want) return 0;
    return judged(j, BROKEN, "%s by %s: %llu rows, not %llu (%d)", t->name, index ? index : "key",
                  U(n), U(want), rc);
}

static int judge_visits(store_tx *tx, judging *j, uint32_t w, uint64_t *total)
{
    plan_writer p;
    plan_op op;
    for (plan_start(&p, j->seed, w); p.done < j->plan[w].done;) {
        visit want, row = {.writer = w, .number = (int64_t)p.done + 1};
        plan_next(&p, &op);
        plan_apply(&p, &op);
        bool there = !op.expect && visit_of(j->seed, w, op.i, &want) &&
                     want.expires_ms > (int64_t)PLAN_NOW_MS;
        int rc = store_get(tx, &visits, &row);
        if (there != (rc == 0) || (rc && rc != SV_E_NOT_FOUND) || (there && row.day != want.day))
            return judged(j, BROKEN, "visit %u,%llu answers %d", w, U(op.i), rc);
        *total += there;
    }
    return 0;
}

static int judge_sums(store_tx *tx, judging *j)
{
    store_range range = {.table = &sums};
    store_scan *s;
    sum row;
    uint32_t matched = 0;
    int rc = store_scan_open(tx, &range, &s);
    if (rc) return judged(j, BROKEN, "a scan of the sums answers %d", rc);
    while (store_scan_next(s, &row)) {
        uint32_t i = 0;
        while (i < j->n_sums && !sv_str_eq(j->sums[i].team, row.team))
            i++;
        sum want = i < j->n_sums ? j->sums[i] : (sum){.team = row.team};
        matched += i < j->n_sums;
        if (row.entries != want.entries || row.amount != want.amount)
            judged(j, BROKEN, "the sum of %.*s is %lld in %lld, its rows' %lld in %lld",
                   SV_FMT(row.team), (long long)row.amount, (long long)row.entries,
                   (long long)want.amount, (long long)want.entries);
    }
    rc = store_scan_result(s);
    store_scan_close(s);
    if (rc || matched != j->n_sums) return judged(j, BROKEN, "%u sums (%d)", matched, rc);
    return j->verdict != FINE;
}

static int judge_fn(store_tx *tx, const void *in, void *out)
{
    judging *j = out;
    uint64_t total = 0, days = 0;
    (void)in;
    if (judge_progress(tx, j)) return 0;
    for (uint32_t w = 0; w < j->writers; w++)
        if (judge_entries(tx, j, w, &total) || judge_visits(tx, j, w, &days)) return 0;
    if (judge_sums(tx, j) || judge_count(tx, j, &entries, NULL, total) ||
        judge_count(tx, j, &entries, "by_name", total) ||
        judge_count(tx, j, &entries, "by_team", total) || judge_count(tx, j, &visits, NULL, days))
        return 0;
    judge_count(tx, j, &visits, "by_day", days);
    return 0;
}

static int view(store *s, store_fn *fn, const void *in, void *out, sv_error *err)
{
    arena a;
    store_op op = {.fn = fn, .in = in, .out = out, .arena = &a, .owner = "plan_check"};
    arena_init(&a, 256 << 20);
    int rc = store_view(s, &op);
    *err = op.error;
    arena_free(&a);
    return rc;
}

verdict plan_check_store(store *s, char *why, size_t why_n)
{
    store_check c = {.done = false};
    sv_error err = {0};
    verdict v = FINE;
    buf_init(&c.position, 4096);
    while (v == FINE && !c.done) {
        int rc = view(s, store_check_some, &c, &c, &err);
        if (rc == 0 && !c.problems) continue;
        v = BROKEN;
        if (rc)
            snprintf(why, why_n, "the check answers %d: %s %s", rc, err.message, err.detail);
        else
            snprintf(why, why_n, "the check finds: %s", c.first_problem);
    }
    buf_free(&c.position);
    return v;
}

verdict plan_check(store *s, uint64_t seed, uint32_t writers, const acked *a, uint64_t upto,
                   uint64_t *progress_ret, char *why, size_t why_n)
{
    static plan_writer plan[WRITERS_MAX];
    judging j = {.seed = seed,
                 .upto = upto,
                 .writers = writers,
                 .acked = a,
                 .plan = plan,
                 .why = why,
                 .why_n = why_n};
    sv_error err = {0};
    int rc = view(s, judge_fn, NULL, &j, &err);
    if (rc) judged(&j, BROKEN, "reading answers %d: %s %s", rc, err.message, err.detail);
    for (uint32_t w = 0; progress_ret && w < writers; w++)
        progress_ret[w] = plan[w].done;
    if (j.verdict == FINE) j.verdict = plan_check_store(s, why, why_n);
    return j.verdict;
}
