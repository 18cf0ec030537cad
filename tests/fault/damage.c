/*  damage.c - environments that were damaged at rest: is it noticed before wrong rows are served?
 *
 *      fault_damage [--states N] [--seed S] [--only I]
 *
 *  Makes one environment by the plan, with updates, deletes, long rows, blobs and free pages, and
 *  damages N copies of its file: a byte, a bit, a run of noise, a block of zeros, two pages that
 *  changed places, a page written over another, an end cut off. Each is looked at as a restore does
 *  it: in a child process that may die, opened for reading only, checked to the end. What neither
 *  refuses must read exactly as the plan says, every row by its key and by its indexes, every blob:
 *  then the damage lies in bytes that nothing uses. A row that reads wrong, a child that does not
 *  end, and a damage that only the comparison finds are failures. */
#include "client.h"
#include "error.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    STATES = 2000,
    PLAN_WRITERS = 3,
    OPERATIONS = 150,
    MAP_BYTES = 256 << 20,
    PAGE = 4096,
    SECONDS = 60
};

/* How a child ends. */
enum { UNNOTICED = 10, REFUSED_BY_OPEN, REFUSED_BY_CHECK, READS_WRONG };

static const char *const kinds[] = {"a byte",    "a bit",     "noise",  "zeros",
                                    "two pages", "overwrite", "cut off"};
enum { BYTE, BIT, NOISE, ZEROS, SWAP, OVERWRITE, CUT, KINDS };

typedef struct environment {
    char root[200], folder[240], data[280];
    uint64_t seed;
    acked acked;
    char *bytes; /* of data.mdb */
    size_t n;
} environment;

static void make(environment *e)
{
    static plan_writer plan[PLAN_WRITERS];
    static client c;
    sv_error err = {0};
    work_begin(e->root, sizeof e->root, "damage");
    snprintf(e->folder, sizeof e->folder, "%s/env", e->root);
    snprintf(e->data, sizeof e->data, "%s/data.mdb", e->folder);
    if (client_open(&c, e->folder, MAP_BYTES, &err)) die("open: %s %s", err.message, err.detail);
    for (uint32_t w = 0; w < PLAN_WRITERS; w++)
        plan_start(&plan[w], e->seed, w);
    for (uint32_t i = 0; i < PLAN_WRITERS * OPERATIONS; i++) {
        plan_writer *p = &plan[i % PLAN_WRITERS];
        plan_op op;
        plan_next(p, &op);
        int rc = client_write(&c, plan_fn, &op, NULL, &err);
        if (rc != op.expect) die("operation %u: %d: %s %s", i, rc, err.message, err.detail);
        plan_apply(p, &op);
    }
    for (uint32_t w = 0; w < PLAN_WRITERS; w++)
        e->acked.upto[w] = plan[w].last_good;
    client_close(&c);
    e->bytes = read_all(e->data, &e->n);
    if (e->n % PAGE || e->n < 100 * PAGE) die("the file has %zu bytes", e->n);
}

/* ---- damage ---- */

typedef struct harm {
    int kind;
    size_t at, to, n; /* what was changed */
    char *bytes;      /* the damaged file */
    size_t size;
} harm;

static void damage(const environment *e, uint64_t number, harm *h)
{
    rng r = rng_of(e->seed, number);
    size_t pages = e->n / PAGE;
    *h = (harm){.kind = (int)(number % KINDS), .bytes = malloc(e->n), .size = e->n, .n = 1};
    if (h->bytes == NULL) die("no memory");
    memcpy(h->bytes, e->bytes, e->n);
    h->at = rng_below(&r, e->n);
    /* Every eighth in the meta pages and those behind: there is less of them than of rows. */
    if (number / KINDS % 8 == 0) h->at %= 8 * PAGE;
    switch (h->kind) {
    case BYTE: h->bytes[h->at] = (char)(h->bytes[h->at] + 1 + (char)rng_below(&r, 255)); break;
    case BIT: h->bytes[h->at] = (char)(h->bytes[h->at] ^ (1 << rng_below(&r, 8))); break;
    case NOISE:
        h->n = 1 + rng_below(&r, 600);
        for (size_t i = h->at; i < h->at + h->n && i < e->n; i++)
            h->bytes[i] = (char)rng_next(&r);
        break;
    case ZEROS:
        h->at = h->at / 512 * 512;
        h->n = (size_t)512 << rng_below(&r, 4);
        if (h->n > e->n - h->at) h->n = e->n - h->at;
        memset(h->bytes + h->at, 0, h->n);
        break;
    case SWAP:
    case OVERWRITE:
        h->n = PAGE;
        h->at = h->at / PAGE * PAGE;
        h->to = rng_below(&r, pages) * PAGE;
        memcpy(h->bytes + h->to, e->bytes + h->at, PAGE);
        if (h->kind == SWAP) memcpy(h->bytes + h->at, e->bytes + h->to, PAGE);
        break;
    case CUT: h->size = h->at; break;
    default: die("no such damage");
    }
}

static void write_damaged(const environment *e, const harm *h)
{
    int fd = open(e->data, O_WRONLY | O_TRUNC);
    if (fd < 0 || write(fd, h->bytes, h->size) != (ssize_t)h->size) die("writing %s", e->data);
    close(fd);
}

/* ---- looking ---- */

static void quiet(void *arg, store_level level, const char *what, const char *detail)
{
    (void)arg;
    (void)level;
    (void)what;
    (void)detail;
}

static int check_all(store *s)
{
    store_check c = {.done = false};
    arena a;
    int rc = 0;
    arena_init(&a, 64 << 20);
    buf_init(&c.position, 4096);
    while (rc == 0 && !c.done && c.problems == 0) {
        store_op op = {.fn = store_check_some, .in = &c, .out = &c, .arena = &a, .owner = "damage"};
        rc = store_view(s, &op);
    }
    buf_free(&c.position);
    arena_free(&a);
    return rc ? rc : c.problems ? SV_E_STORE_DAMAGED : 0;
}

static void look(const environment *e, uint64_t number)
{
    char why[400] = "";
    store *s;
    sv_error err = {0};
    seal_key *root = plan_root_key();
    store_spec spec = {.schema = &plan_schema,
                       .folder = e->folder,
                       .map_bytes = MAP_BYTES,
                       .root = root,
                       .event = quiet,
                       .unix_ms = plan_clock,
                       .read_only = true};
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    alarm(SECONDS);
    if (store_open(&spec, &s, &err)) _exit(REFUSED_BY_OPEN);
    if (check_all(s)) _exit(REFUSED_BY_CHECK);
    verdict v = plan_check(s, e->seed, PLAN_WRITERS, &e->acked, PLAN_OPS, NULL, why, sizeof why);
    if (v == FINE) _exit(UNNOTICED);
    fprintf(stderr, "state %llu: %s\n", (unsigned long long)number, why);
    _exit(READS_WRONG);
}

typedef struct tally {
    uint32_t open, check, died, unnoticed, failed;
} tally;

static void judge(const environment *e, uint64_t number, tally *all)
{
    harm h;
    damage(e, number, &h);
    tally *t = &all[h.kind];
    write_damaged(e, &h);
    pid_t pid = fork();
    if (pid < 0) die("fork");
    if (pid == 0) look(e, number);
    int code = finish(pid);
    switch (code) {
    case REFUSED_BY_OPEN: t->open++; break;
    case REFUSED_BY_CHECK: t->check++; break;
    case UNNOTICED: t->unnoticed++; break;
    default:
        if (code > 256 && code != 256 + SIGALRM) {
            t->died++;
            break;
        }
        t->failed++;
        fprintf(stderr, "state %llu: %s at %zu, %zu bytes, to %zu: the child ended with %d\n",
                (unsigned long long)number, kinds[h.kind], h.at, h.n, h.to, code);
    }
    free(h.bytes);
}

int main(int argc, char **argv)
{
    static environment e;
    static tally all[KINDS + 1];
    uint64_t states = option(argc, argv, "--states", STATES);
    uint64_t only = option(argc, argv, "--only", UINT64_MAX);
    e.seed = option(argc, argv, "--seed", 1);
    make(&e);
    printf("fault_damage --seed %llu: %zu pages, %llu damaged copies\n", (unsigned long long)e.seed,
           e.n / PAGE, (unsigned long long)states);
    for (uint64_t i = 0; i < states; i++)
        if (only == UINT64_MAX || i == only) judge(&e, i, all);
    printf("%-10s %8s %8s %8s %8s %8s\n", "damage", "by open", "by check", "died", "unused",
           "failures");
    for (int k = 0; k <= KINDS; k++) {
        const tally *t = &all[k];
        printf("%-10s %8u %8u %8u %8u %8u\n", k < KINDS ? kinds[k] : "all", t->open, t->check,
               t->died, t->unnoticed, t->failed);
        all[KINDS].open += t->open;
        all[KINDS].check += t->check;
        all[KINDS].died += t->died;
        all[KINDS].unnoticed += t->unnoticed;
        all[KINDS].failed += t->failed;
    }
    work_end(e.root);
    free(e.bytes);
    return all[KINDS].failed ? 1 : 0;
}
