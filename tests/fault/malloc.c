/*  malloc.c - memory that runs out at the nth allocation, for every n until a run meets no failure.
 *
 *  usage: fault_malloc [--only PART] [--stride N]
 *
 *  The store's own allocations, LMDB's and libsodium's locked pages are wrapped by the linker
 *  (LMDB is linked in statically), and so is the starting of threads. Each part of the store's API
 *  is run with the nth allocation failing, once, and with all after it failing too. It has to
 *  answer SV_E_NO_MEMORY or to succeed with the same result as always; then, with memory again, the
 *  same store has to work and to hold what the plan says, and again after opening it anew.
 *  A child process does a block of runs and ends with the leak check; when it crashes, that run is
 *  told and the next child goes on behind it. */
#include "client.h"
#include "error.h"
#include "sv_limits.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- allocations that fail ---- */

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
int __real_posix_memalign(void **p, size_t align, size_t n);
void *__real_sodium_malloc(size_t n);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
                          void *arg);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);
int __wrap_posix_memalign(void **p, size_t align, size_t n);
void *__wrap_sodium_malloc(size_t n);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
                          void *arg);

static _Atomic uint64_t countdown; /* 0: nothing fails; else the call that reaches 1 does */
static _Atomic bool stays;
static _Atomic uint64_t failed;

static bool fails(void)
{
    uint64_t n = atomic_load(&countdown);
    while (n && !atomic_compare_exchange_weak(&countdown, &n, n == 1 ? stays : n - 1))
        ;
    if (n == 1) atomic_fetch_add(&failed, 1);
    return n == 1;
}

void *__wrap_malloc(size_t n)
{
    if (!fails()) return __real_malloc(n);
    errno = ENOMEM;
    return NULL;
}

void *__wrap_calloc(size_t n, size_t size)
{
    if (!fails()) return __real_calloc(n, size);
    errno = ENOMEM;
    return NULL;
}

void *__wrap_realloc(void *p, size_t n)
{
    if (!fails()) return __real_realloc(p, n);
    errno = ENOMEM;
    return NULL;
}

char *__wrap_strdup(const char *s)
{
    char *p = __wrap_malloc(strlen(s) + 1);
    return p ? strcpy(p, s) : NULL;
}

int __wrap_posix_memalign(void **p, size_t align, size_t n)
{
    return fails() ? ENOMEM : __real_posix_memalign(p, align, n);
}

void *__wrap_sodium_malloc(size_t n)
{
    if (!fails()) return __real_sodium_malloc(n);
    errno = ENOMEM;
    return NULL;
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
                          void *arg)
{
    return fails() ? EAGAIN : __real_pthread_create(thread, attr, fn, arg);
}

/* ---- a run ---- */

enum { MAP_BYTES = 64 << 20, FIRST = 8, LAST = 22, SEED = 11, BLOCK = 40, TRIES = 4, DUMP = 4096 };

typedef struct shared { /* with the parent */
    uint64_t n;         /* the run under way */
    uint64_t runs, failures, refused;
    bool clean;
    char why[400];
} shared;

static shared *tell;
static client c;
static char env[PATH_MAX], other[PATH_MAX];
static plan_writer plan;
static uint64_t number;
static int other_answer = SV_E_NO_MEMORY; /* that a refusal may have, beside SV_E_NO_MEMORY */
static uint64_t expected; /* what a reading part answers on a run without failures */

static void broke(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
static void broke(const char *fmt, ...)
{
    va_list ap;
    atomic_store(&countdown, 0);
    va_start(ap, fmt);
    vsnprintf(tell->why, sizeof tell->why, fmt, ap);
    va_end(ap);
    _exit(3);
}

static void memory_is_back(void)
{
    atomic_store(&countdown, 0);
}

static void may_refuse(int rc, const sv_error *err, const char *what)
{
    if (rc != SV_E_NO_MEMORY && rc != other_answer)
        broke("%s answers %d: %s %s", what, rc, err->message, err->detail);
    if (!failed) broke("%s has no memory where there is some: %s", what, err->detail);
    tell->refused++;
}

/* Does something until it succeeds; what fails is well again after a few attempts. */
static void insist(int (*fn)(sv_error *err), const char *what)
{
    for (int i = 0;; i++) {
        sv_error err = {0};
        int rc = fn(&err);
        if (rc == 0) return;
        may_refuse(rc, &err, what);
        if (i == TRIES) broke("%s answers %d with memory: %s", what, rc, err.detail);
        if (i == TRIES - 1) memory_is_back();
    }
}

static int open_once(sv_error *err)
{
    return client_open(&c, env, MAP_BYTES, err);
}

static int one_operation(sv_error *err)
{
    plan_op op;
    plan_next(&plan, &op);
    int rc = client_write(&c, plan_fn, &op, NULL, err);
    if (rc != op.expect) return rc ? rc : SV_E_INTERNAL;
    plan_apply(&plan, &op);
    return 0;
}

static void operations(uint64_t upto)
{
    while (plan.done < upto)
        insist(one_operation, "a write");
}

static void compare(const char *when)
{
    static acked a;
    char why[300];
    a.upto[0] = plan.done;
    if (plan_check(c.store, SEED, 1, &a, plan.done, NULL, why, sizeof why) != FINE)
        broke("%s: %s", when, why);
}

/* ---- the parts ---- */

static void part_write(void)
{
    operations(LAST);
}

static int read_all_of_it(sv_error *err)
{
    uint64_t got = 0;
    int rc = client_read(&c, plan_read, NULL, &got, err);
    if (rc == 0 && expected && got != expected) broke("what is read differs");
    if (rc == 0 && !failed) expected = got;
    return rc;
}

static void part_read(void)
{
    insist(read_all_of_it, "a read");
}

static int check_all(sv_error *err)
{
    store_check k = {.done = false};
    int rc = 0;
    buf_init(&k.position, 4096);
    while (rc == 0 && !k.done)
        rc = client_read(&c, store_check_some, &k, &k, err);
    buf_free(&k.position);
    if (rc == 0 && k.problems) broke("the check finds: %s", k.first_problem);
    return rc;
}

static void part_check(void)
{
    insist(check_all, "the check");
}

static int dump_all(sv_error *err)
{
    buf out;
    store_dump d = {.out = &out, .most = DUMP};
    uint64_t bytes = 0;
    int rc = 0;
    buf_init(&out, 1 << 20);
    buf_init(&d.position, 4096);
    while (rc == 0 && !d.done) {
        buf_reset(&out, 0);
        rc = client_read(&c, store_dump_some, &d, &d, err);
        bytes += out.n;
    }
    buf_free(&d.position);
    buf_free(&out);
    if (rc == 0 && expected && bytes != expected) broke("a dump of another length");
    if (rc == 0 && !failed) expected = bytes;
    return rc;
}

static void part_dump(void)
{
    insist(dump_all, "the dump");
}

static int copy_once(sv_error *err)
{
    store_copy copy = {0};
    int fd = open(other, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int rc = store_backup(c.store, fd, &copy, err);
    if (rc == 0 && lseek(fd, 0, SEEK_END) != (off_t)copy.bytes) broke("a copy is not whole");
    close(fd);
    return rc;
}

/* LMDB copies on a thread of its own and says EAGAIN when there is none, as a pipe does. */
static void part_copy(void)
{
    other_answer = SV_E_STORE_IO;
    insist(copy_once, "a copy");
    other_answer = SV_E_NO_MEMORY;
}

static int look(sv_error *err)
{
    store_stat stat;
    store_table_info tables[64];
    store_key_info keys;
    int rc = store_stats(c.store, true, &stat, err);
    if (rc == 0) rc = store_tables(c.store, tables, 64, err);
    if (rc > 0) rc = 0;
    return rc ? rc : store_keys(c.store, &keys, err);
}

static void part_look(void)
{
    insist(look, "figures");
}

static int rotate(sv_error *err)
{
    store_rotation r = {.done = false};
    int rc = client_write(&c, store_rotate_begin, NULL, &r, err);
    while (rc == 0 && !r.done)
        rc = client_write(&c, store_rotate_some, NULL, &r, err);
    return rc;
}

static void part_rotate(void)
{
    insist(rotate, "a rotation");
}

static int rekey(sv_error *err)
{
    return client_write(&c, store_rekey, c.root, NULL, err);
}

static void part_rekey(void)
{
    insist(rekey, "a change of the root key");
}

static void part_open(void)
{
    memory_is_back();
    client_close(&c);
    atomic_store(&countdown, number);
    insist(open_once, "open");
}

static void part_make(void)
{
    memory_is_back();
    client_close(&c);
    empty_folder(env);
    plan_start(&plan, SEED, 0);
    atomic_store(&countdown, number);
    insist(open_once, "open");
}

static void part_close(void)
{
    client_close(&c);
    memory_is_back();
    insist(open_once, "open");
}

/* Its own copy in its own place. */
static int replace(sv_error *err)
{
    return store_replace(c.store, other, err);
}

static void part_replace(void)
{
    char file[PATH_MAX + 16];
    sv_error err = {0};
    store_copy copy;
    memory_is_back();
    empty_folder(other);
    unlink(other);
    make_folder(other);
    snprintf(file, sizeof file, "%s/data.mdb", other);
    int fd = open(file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || store_backup(c.store, fd, &copy, &err) || fsync(fd))
        broke("copy: %s", err.message);
    close(fd);
    atomic_store(&countdown, number);
    insist(replace, "a replacement");
    memory_is_back();
    work_end(other);
}

typedef struct part {
    const char *name;
    void (*fn)(void);
} part;

static const part parts[] = {
    {"make", part_make},   {"open", part_open},       {"write", part_write},
    {"read", part_read},   {"check", part_check},     {"dump", part_dump},
    {"copy", part_copy},   {"look", part_look},       {"rotate", part_rotate},
    {"rekey", part_rekey}, {"replace", part_replace}, {"close", part_close},
};
enum { PARTS = sizeof parts / sizeof *parts };

/* ---- all runs ---- */

static void one_run(const part *p, uint64_t n, bool all_after)
{
    number = n;
    memory_is_back();
    atomic_store(&stays, all_after);
    atomic_store(&failed, 0);
    atomic_store(&countdown, n);
    p->fn();
    memory_is_back();
    uint64_t met = failed;
    atomic_store(&failed, 0);
    tell->runs++;
    tell->failures += met;
    tell->clean = met == 0;
    if (p->fn == part_write || n % 8 == 0) compare("with memory again");
    /* Something more can be written. */
    if (plan.done < PLAN_OPS) operations(plan.done + 1);
}

/* A fresh environment with some operations behind it. */
static void prepare(void)
{
    memory_is_back();
    atomic_store(&failed, 0);
    empty_folder(env);
    plan_start(&plan, SEED, 0);
    insist(open_once, "open");
    operations(FIRST);
}

static void block(const part *p, uint64_t from, uint64_t stride, bool all_after)
{
    memset(&c, 0, sizeof c);
    expected = 0;
    prepare();
    for (uint64_t i = 0; i < BLOCK; i++) {
        tell->n = from + i * stride;
        if (p->fn == part_write || plan.done > PLAN_OPS - 10) {
            client_close(&c);
            prepare();
            expected = 0;
        }
        if (p->fn == part_read || p->fn == part_dump) { /* what it has to be */
            expected = 0;
            atomic_store(&failed, 0);
            memory_is_back();
            p->fn();
        }
        one_run(p, tell->n, all_after);
        if (tell->clean) break;
    }
    client_close(&c);
    memset(&c, 0, sizeof c);
    insist(open_once, "open");
    compare("opened anew");
    client_close(&c);
    exit(0); /* with the leak check */
}

static uint64_t all_n(const part *p, uint64_t stride, bool all_after)
{
    uint64_t next = 1, broken = 0;
    for (tell->clean = false; !tell->clean; next = tell->n + stride) {
        tell->why[0] = 0;
        fflush(NULL);
        pid_t pid = fork();
        if (pid < 0) die("fork: %s", strerror(errno));
        if (pid == 0) {
            alarm(120);
            block(p, next, stride, all_after);
        }
        int rc = finish(pid);
        if (rc == 0) continue;
        broken++;
        tell->clean = false;
        printf("malloc: %s, allocation %llu%s: the child ended with %d: %s\n", p->name,
               (unsigned long long)tell->n, all_after ? " and all after it" : "", rc, tell->why);
        if (broken > 10) die("malloc: that is enough");
    }
    return broken;
}

int main(int argc, char **argv)
{
    char work[256];
    uint64_t stride = option(argc, argv, "--stride", 1), broken = 0;
    const char *only = word(argc, argv, "--only");
    setvbuf(stdout, NULL, _IOLBF, 0);
    tell = mmap(NULL, sizeof *tell, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (tell == MAP_FAILED || stride == 0) die("no memory");
    work_begin(work, sizeof work, "malloc");
    snprintf(env, sizeof env, "%s/env", work);
    snprintf(other, sizeof other, "%s/other", work);
    for (size_t i = 0; i < PARTS; i++) {
        if (only && strcmp(only, parts[i].name) != 0) continue;
        uint64_t runs = tell->runs, failures = tell->failures;
        broken += all_n(&parts[i], 1, false);
        broken += all_n(&parts[i], stride, true);
        printf("malloc: %-8s %5llu runs, %6llu allocations failed\n", parts[i].name,
               (unsigned long long)(tell->runs - runs),
               (unsigned long long)(tell->failures - failures));
    }
    printf(
        "malloc: %llu runs, %llu allocations failed, %llu answers were refusals, %llu runs broke a "
        "promise\n",
        (unsigned long long)tell->runs, (unsigned long long)tell->failures,
        (unsigned long long)tell->refused, (unsigned long long)broken);
    work_end(work);
    return broken ? 1 : 0;
}
