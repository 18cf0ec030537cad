/*  chores.c - what is rare, as a subject of images.c: a rotation of keys, a change of the root key, the
 *  environment replaced by a copy of itself, a migration with a new index. Each may be cut anywhere;
 *  whoever opens next finds the former state or the new one, and goes on where it was.
 *
 *  One thread, in order; acknowledgements "0 N" are operations of the plan, "1 N" chores done, "2 N"
 *  lots of marks, rows that the migration changes. */
#include "client.h"
#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    MAP_BYTES = 64 << 20,
    LOTS = 5,
    LOT = 12,
    STEP = 7, /* marks changed in one transaction of the migration */
    OPERATIONS = 30
};
enum { ROTATED = 1, REKEYED, REPLACED, MIGRATED, ROTATED_AGAIN };

/* ---- two versions of a schema ---- */

static const store_table marks_1 = {.name = "marks", .row = &mark_msg, .key = "number"};
static const store_index by_word[] = {{"by_word", "word", STORE_UNIQUE}};
static const store_table marks_2 = {
    .name = "marks", .row = &mark_msg, .key = "number", .indexes = by_word, .n_indexes = 1};

static sv_str word_of(int64_t number, char room[40])
{
    return (sv_str){room, (uint32_t)snprintf(room, 40, "word %lld", (long long)number)};
}

static int give_words(store_tx *tx, buf *position)
{
    store_range range = {.table = &marks_2, .after = buf_str(position), .limit = STEP};
    store_scan *s;
    mark m;
    char room[40];
    int n = 0, rc = store_scan_open(tx, &range, &s);
    if (rc) return rc;
    while (rc == 0 && store_scan_next(s, &m)) {
        m.word = word_of(m.number, room);
        rc = store_put(tx, &marks_2, &m);
        n++;
    }
    if (rc == 0) rc = store_scan_result(s);
    sv_str at = store_scan_position(s);
    buf_reset(position, STORE_POSITION);
    if (rc == 0) rc = buf_put(position, at.p, at.n);
    store_scan_close(s);
    return rc ? rc : n == STEP ? STORE_MORE : 0;
}

static const store_migration migrations[] = {{2, "each mark gets a word", give_words}};
static const store_table *tables_1[PLAN_TABLES + 1], *tables_2[PLAN_TABLES + 1];
static const store_schema schema_1 = {
    .service = "fault", .version = 1, .tables = tables_1, .n_tables = PLAN_TABLES + 1};
static const store_schema schema_2 = {.service = "fault",
                                      .version = 2,
                                      .tables = tables_2,
                                      .n_tables = PLAN_TABLES + 1,
                                      .migrations = migrations,
                                      .n_migrations = 1};

static void make_schemas(void)
{
    for (size_t i = 0; i < PLAN_TABLES; i++)
        tables_1[i] = tables_2[i] = plan_tables[i];
    tables_1[PLAN_TABLES] = &marks_1;
    tables_2[PLAN_TABLES] = &marks_2;
}

static int put_lot(store_tx *tx, const void *in, void *out)
{
    int64_t lot = *(const int64_t *)in;
    (void)out;
    for (int64_t i = 0; i < LOT; i++) {
        mark m = {.number = (lot - 1) * LOT + i};
        int rc = store_put(tx, &marks_1, &m);
        if (rc) return rc;
    }
    return 0;
}

/* ---- the work ---- */

typedef struct chore {
    client c;
    seal_key *old, *new;
    plan_writer plan;
    int acks;
    const char *folder;
} chore;

static void told(const chore *x, unsigned who, uint64_t n)
{
    char line[48];
    int used = snprintf(line, sizeof line, "%u %llu\n", who, (unsigned long long)n);
    if (write(x->acks, line, (size_t)used) != used) die("acknowledgement");
}

static void must(int rc, const sv_error *err, const char *what)
{
    if (rc) die("%s: %d: %s %s", what, rc, err->message, err->detail);
}

static void operations(chore *x, uint64_t upto)
{
    while (x->plan.done < upto) {
        plan_op op;
        sv_error err;
        plan_next(&x->plan, &op);
        if (client_write(&x->c, plan_fn, &op, NULL, &err) != op.expect) die("%s", err.message);
        plan_apply(&x->plan, &op);
        told(x, 0, op.i);
    }
}

static int rotate(client *c, sv_error *err)
{
    store_rotation r = {.done = false};
    int rc = client_write(c, store_rotate_begin, NULL, &r, err);
    while (rc == 0 && !r.done)
        rc = client_write(c, store_rotate_some, NULL, &r, err);
    return rc;
}

static void replace(chore *x)
{
    char other[4096], file[4200];
    store_copy copy;
    sv_error err = {0};
    snprintf(other, sizeof other, "%s-other", x->folder);
    snprintf(file, sizeof file, "%s/data.mdb", other);
    make_folder(other);
    int fd = open(file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) die("%s: %s", file, strerror(errno));
    must(store_backup(x->c.store, fd, &copy, &err), &err, "copy");
    if (fsync(fd)) die("%s: %s", file, strerror(errno));
    close(fd);
    sync_folder(other);
    must(store_replace(x->c.store, other, &err), &err, "replace");
}

static int work(const char *folder, int acks, int argc, char **argv)
{
    static chore x;
    sv_error err = {0};
    make_schemas();
    x = (chore){
        .old = plan_root_key(), .new = plan_other_root_key(), .acks = acks, .folder = folder};
    plan_start(&x.plan, option(argc, argv, "--seed", 1), 0);
    x.c = (client){.schema = &schema_1, .given = x.old, .given_new = x.new};
    must(client_open(&x.c, folder, MAP_BYTES, &err), &err, "open");
    for (int64_t lot = 1; lot <= LOTS; lot++) {
        must(client_write(&x.c, put_lot, &lot, NULL, &err), &err, "marks");
        told(&x, 2, (uint64_t)lot);
    }
    operations(&x, 10);
    must(rotate(&x.c, &err), &err, "rotate");
    told(&x, 1, ROTATED);
    operations(&x, 14);
    must(client_write(&x.c, store_rekey, x.new, NULL, &err), &err, "rekey");
    told(&x, 1, REKEYED);
    operations(&x, 18);
    replace(&x);
    told(&x, 1, REPLACED);
    operations(&x, 22);
    client_close(&x.c);
    x.c = (client){.schema = &schema_2, .given = x.new};
    must(client_open(&x.c, folder, MAP_BYTES, &err), &err, "open with the new schema");
    told(&x, 1, MIGRATED);
    operations(&x, 26);
    must(rotate(&x.c, &err), &err, "rotate");
    told(&x, 1, ROTATED_AGAIN);
    operations(&x, OPERATIONS);
    client_close(&x.c);
    seal_key_free(x.old);
    seal_key_free(x.new);
    return 0;
}

/* ---- judging ---- */

typedef struct marks_seen {
    uint64_t rows, words, by_word;
} marks_seen;

static int read_marks(store_tx *tx, const void *in, void *out)
{
    marks_seen *seen = out;
    (void)in;
    *seen = (marks_seen){0};
    for (int i = 0; i < 2; i++) {
        store_range range = {.table = &marks_2, .index = i ? "by_word" : NULL};
        store_scan *s;
        mark m;
        char room[40];
        int rc = store_scan_open(tx, &range, &s);
        if (rc) return rc;
        while (store_scan_next(s, &m)) {
            seen->by_word += i == 1;
            seen->rows += i == 0;
            seen->words += i == 0 && sv_str_eq(m.word, word_of(m.number, room));
        }
        rc = store_scan_result(s);
        store_scan_close(s);
        if (rc) return rc;
    }
    return 0;
}

static verdict judge_marks(client *c, const acked *a, char *why, size_t why_n)
{
    marks_seen m;
    sv_error err;
    int rc = client_read(c, read_marks, NULL, &m, &err);
    if (rc == 0 && m.rows < a->upto[2] * LOT) {
        snprintf(why, why_n, "%llu marks, %llu lots acknowledged", (unsigned long long)m.rows,
                 (unsigned long long)a->upto[2]);
        return LOST;
    }
    if (rc == 0 && m.rows % LOT == 0 && m.words == m.rows && m.by_word == m.rows) return FINE;
    snprintf(why, why_n, "marks: %d: %llu, %llu with words, %llu in the index", rc,
             (unsigned long long)m.rows, (unsigned long long)m.words,
             (unsigned long long)m.by_word);
    return BROKEN;
}

static verdict judge(client *c, const acked *a, uint64_t seed, char *why, size_t why_n)
{
    static unsigned images;
    sv_error err = {0};
    acked plan = {{a->upto[0]}};
    verdict v = plan_check(c->store, seed, 1, &plan, OPERATIONS, NULL, why, why_n);
    if (v == FINE) v = judge_marks(c, a, why, why_n);
    if (v != FINE || images++ % 4) return v;
    int rc = rotate(c, &err); /* what was begun can be ended */
    if (rc == 0) return plan_check(c->store, seed, 1, &plan, OPERATIONS, NULL, why, why_n);
    snprintf(why, why_n, "a rotation answers %d: %s %s", rc, err.message, err.detail);
    return BROKEN;
}

static verdict check(const char *folder, const acked *a, uint64_t seed, char *why, size_t why_n)
{
    static client c;
    sv_error err = {0};
    seal_key *old = plan_root_key(), *new = plan_other_root_key();
    bool rekeyed = a->upto[1] >= REKEYED;
    make_schemas();
    c = (client){.schema = &schema_2, .given = rekeyed ? new : old, .given_new = new};
    int rc = client_open(&c, folder, MAP_BYTES, &err);
    verdict v = BROKEN;
    if (rc) {
        snprintf(why, why_n, "open answers %d: %s %s", rc, err.message, err.detail);
    } else {
        v = judge(&c, a, seed, why, why_n);
        client_close(&c);
    }
    seal_key_free(old);
    seal_key_free(new);
    return v;
}

const subject rare_chores = {"chores", work, check};
