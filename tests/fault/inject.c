/*  inject.c - a disk that fails at the nth call, for every n until a run meets no fault any more.
 *
 *  usage: fault_inject [--seed N] [--stride N] [--jobs N] [--only PHASE] [--error NAME]
 *
 *  Each run has a moment (PHASE), an error and a number n: from the moment on, the nth call on the
 *  environment's files fails, once, or it and all after it until writers and readers have seen what
 *  that does. Then the disk is well again. Held against each run:
 *    - nothing crashes, hangs or leaks
 *    - whoever is not told of success is told STORE_IO or STORE_FULL with a time to come back
 *    - while writes fail, reads go on, and never see less than was acknowledged
 *    - once the disk is well, writes succeed again in the same process
 *    - then everything acknowledged is there, indexes and sums agree, and so after opening anew
 *    - the same after a loss of power at moments around the fault: each run is recorded, and images
 *      are made as in images.c, in which what failed may have reached the disk or not
 *  --stride N takes each Nth n of the faults that stay. Closing, copying and replacing meet only
 *  faults that pass. */
#include "client.h"
#include "disk.h"
#include "error.h"
#include "judge.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    MAP_BYTES = 64 << 20,
    WRITERS = 3,
    BEFORE = 2,     /* operations of each writer before the fault */
    ALL = 12,       /* and altogether */
    WATCH_MS = 500, /* while writes fail and the disk can be read, */
    REFUSED = 200,  /* most reads refused one after the other, a millisecond apart */
    FAILURES = 2,   /* seen before a fault that stays goes away */
    PATIENCE_MS = 20000,
    IMAGES = 4,
    JOBS = 32
};

typedef enum phase { MAKE, OPEN, RUN, CLOSE, COPY, REPLACE, PHASES } phase;
static const char *const phase_names[PHASES] = {"make", "open", "run", "close", "copy", "replace"};

enum { ON_CHANGES = FAULT_ON_WRITE | FAULT_ON_SYNC | FAULT_ON_TRUNCATE | FAULT_ON_NAME };

typedef struct error_kind {
    const char *name;
    uint32_t error, on;
    bool once, stays;
    bool reads_go_on; /* while it stays */
} error_kind;

/* With "lately" the page that makes a commit reached the cache, the disk perhaps not, and nothing
 * can be written any more: until that is settled, reads wait, for what they saw might not last. A
 * call that is interrupted for ever is no disk's fault. */
static const error_kind kinds[] = {
    {"EIO", EIO, FAULT_ON_ALL, true, true, false},
    {"ENOSPC", ENOSPC, ON_CHANGES | FAULT_ON_OPEN, true, true, false},
    {"EINTR", EINTR, ON_CHANGES | FAULT_ON_OPEN | FAULT_ON_READ, true, false, false},
    {"EIO-w", EIO, ON_CHANGES, false, true, true},
    {"full", ENOSPC, FAULT_ON_WRITE | FAULT_ON_TRUNCATE, false, true, true},
    {"short", FAULT_SHORT, FAULT_ON_WRITE, true, true, true},
    {"late", FAULT_LATE, FAULT_ON_WRITE | FAULT_ON_SYNC, true, true, true},
    {"lately", FAULT_LATE_ONCE, FAULT_ON_WRITE | FAULT_ON_SYNC, false, true, false},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

typedef struct fault {
    phase phase;
    const error_kind *kind;
    uint64_t nth;
    bool stays;
} fault;

/* What a run tells its parent, in shared memory behind the fault page. */
typedef struct tally {
    fault_page page; /* first */
    _Atomic uint32_t full, io, other, reads, away, open_refused, unknown_done, copies_failed;
    char why[400];
} tally;

static uint64_t seed;

static uint64_t ms_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- inside of a run ---- */

static tally *t;
static client c;
static int ack_fd;
static _Atomic uint64_t told[WRITERS]; /* acknowledged, good or made to fail */
static _Atomic uint64_t good[WRITERS]; /* the last that was good */
static _Atomic bool stop_reading;
static _Atomic uint64_t most_refused; /* reads one after the other */

static void broke(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
static void broke(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(t->why, sizeof t->why, fmt, ap);
    va_end(ap);
    _exit(3);
}

static void must_be_told(int code, const sv_error *err, const char *who)
{
    if (code == SV_E_STORE_FULL)
        t->full++;
    else if (code == SV_E_STORE_IO)
        t->io++;
    else
        broke("%s answers %d: %s %s", who, code, err->message, err->detail);
    if (err->retry_after_ms == 0 || err->retry_after_ms > 5000)
        broke("%s answers %d, to come back after %u ms: %s", who, code, err->retry_after_ms,
              err->detail);
}

/* ---- readers ---- */

typedef struct seen {
    uint64_t done[WRITERS];
} seen;

static int read_progress(store_tx *tx, const void *in, void *out)
{
    seen *s = out;
    (void)in;
    for (uint32_t w = 0; w < WRITERS; w++) {
        int rc = plan_progress(tx, w, &s->done[w]);
        if (rc) return rc;
    }
    return 0;
}

static void *reader(void *arg)
{
    (void)arg;
    uint64_t refused = 0;
    while (!stop_reading) {
        uint64_t least[WRITERS];
        seen s = {{0}};
        sv_error err;
        for (uint32_t w = 0; w < WRITERS; w++)
            least[w] = good[w];
        int rc = client_read(&c, read_progress, NULL, &s, &err);
        if (rc) {
            if (++refused > most_refused) most_refused = refused;
            if (rc != SV_E_STORE_IO || !err.retry_after_ms)
                broke("a read answers %d: %s %s", rc, err.message, err.detail);
            t->away++;
            usleep(1000);
            continue;
        }
        refused = 0;
        t->reads++;
        for (uint32_t w = 0; w < WRITERS; w++)
            if (s.done[w] < least[w])
                broke("a read sees %llu of writer %u, %llu was acknowledged",
                      (unsigned long long)s.done[w], w, (unsigned long long)least[w]);
    }
    return NULL;
}

/* ---- writers ---- */

static void acknowledge(const plan_op *op)
{
    char line[48];
    int n = snprintf(line, sizeof line, "%u %llu\n", op->writer, (unsigned long long)op->i);
    if (write(ack_fd, line, (size_t)n) != n) broke("acknowledgement");
    told[op->writer] = op->i;
    if (!op->expect) good[op->writer] = op->i;
}

/* An error leaves open whether the write is there: the writer looks, as a client that repeats
 * itself under the same id does. */
static bool there_already(const plan_op *op, uint64_t until)
{
    for (;;) {
        seen s = {{0}};
        sv_error err;
        int rc = client_read(&c, read_progress, NULL, &s, &err);
        if (rc == 0) return s.done[op->writer] == op->i;
        if (ms_now() > until) broke("reads do not come back: %d %s", rc, err.detail);
        usleep(1000);
    }
}

typedef struct writer {
    pthread_t thread;
    plan_writer plan;
    uint64_t upto;
} writer;

static void *write_some(void *arg)
{
    writer *w = arg;
    uint64_t until = ms_now() + PATIENCE_MS;
    while (w->plan.done < w->upto) {
        plan_op op;
        sv_error err;
        plan_next(&w->plan, &op);
        int rc = client_write(&c, plan_fn, &op, NULL, &err);
        if (rc != op.expect) {
            must_be_told(rc, &err, "a write");
            if (ms_now() > until) broke("writes do not come back: %d %s", rc, err.detail);
            usleep(1000 * (err.retry_after_ms < 50 ? err.retry_after_ms : 50));
            if (!there_already(&op, until)) continue;
            t->unknown_done++;
        }
        acknowledge(&op);
        plan_apply(&w->plan, &op);
    }
    return NULL;
}

static writer writers[WRITERS];

/* Reads go on while writes fail. Counted in attempts, one a millisecond, so that a pause of the
 * whole machine is not taken for one of the store. */
static void watch_reads(bool can_be_read)
{
    uint64_t before = t->reads;
    most_refused = 0;
    uint64_t soon = ms_now() + (can_be_read ? WATCH_MS : 50);
    while (ms_now() < soon)
        usleep(1000);
    if (can_be_read && t->reads == before) broke("no read comes back while writes fail");
    if (can_be_read && most_refused > REFUSED)
        broke("%llu reads one after the other were refused while writes fail",
              (unsigned long long)most_refused);
}

static void write_upto(uint64_t upto, bool stays, bool can_be_read)
{
    pthread_t read_thread;
    uint32_t before = t->full + t->io;
    stop_reading = false;
    if (pthread_create(&read_thread, NULL, reader, NULL)) broke("no thread");
    for (uint32_t w = 0; w < WRITERS; w++) {
        writers[w].upto = upto;
        if (pthread_create(&writers[w].thread, NULL, write_some, &writers[w])) broke("no thread");
    }
    /* A fault that stays goes when enough have met it, and reads went on meanwhile. */
    uint64_t give_up = ms_now() + 3000;
    while (stays && t->page.on && ms_now() < give_up) {
        bool done = true;
        for (uint32_t w = 0; w < WRITERS; w++)
            done = done && told[w] >= upto;
        if (done) break;
        if (t->full + t->io >= before + FAILURES) {
            watch_reads(can_be_read);
            break;
        }
        usleep(500);
    }
    if (stays) fault_disarm(&t->page);
    for (uint32_t w = 0; w < WRITERS; w++)
        pthread_join(writers[w].thread, NULL);
    stop_reading = true;
    pthread_join(read_thread, NULL);
}

/* ---- the moments ---- */

static const char *env;

static void arm(const fault *f)
{
    fault_arm(&t->page, f->kind->on, f->kind->error, f->nth, f->stays ? 0 : 1);
}

static void open_well(void)
{
    sv_error err = {0};
    int rc = client_open(&c, env, MAP_BYTES, &err);
    if (rc) broke("open answers %d on a disk that is well: %s %s", rc, err.message, err.detail);
}

/* Opens on the failing disk until it works; what fails is well again after some attempts. */
static void open_ill(const fault *f)
{
    sv_error err = {0};
    arm(f);
    for (int attempt = 0; client_open(&c, env, MAP_BYTES, &err); attempt++) {
        bool fits = err.code == SV_E_STORE_IO || err.code == SV_E_STORE_FULL ||
                    err.code == SV_E_IO || err.code == SV_E_NO_MEMORY;
        if (!fits)
            broke("open answers %d on a failing disk: %s %s", err.code, err.message, err.detail);
        t->open_refused++;
        if (attempt == 3) fault_disarm(&t->page);
        if (attempt == 4)
            broke("open answers %d when the disk is well: %s %s", err.code, err.message,
                  err.detail);
        err = (sv_error){0};
    }
    fault_disarm(&t->page);
}

static void copy_ill(const fault *f, const char *folder)
{
    char path[PATH_MAX + 16];
    store_copy copy;
    sv_error err = {0};
    snprintf(path, sizeof path, "%s/copy", folder);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) broke("copy: %s", strerror(errno));
    arm(f);
    int rc = store_backup(c.store, fd, &copy, &err);
    uint64_t met = t->page.done;
    fault_disarm(&t->page);
    if (rc && rc != SV_E_STORE_IO && rc != SV_E_STORE_FULL)
        broke("a copy answers %d: %s %s", rc, err.message, err.detail);
    if (rc == 0 && met && f->kind->error != EINTR && f->kind->error != FAULT_SHORT)
        broke("a copy that met an error says it is good");
    t->copies_failed += rc != 0;
    off_t size = lseek(fd, 0, SEEK_END);
    if (rc == 0 && (uint64_t)size != copy.bytes) broke("a copy has %lld bytes", (long long)size);
    close(fd);
    unlink(path);
}

/* The environment's own copy takes its place, or does not. */
static void replace_ill(const fault *f, const char *folder)
{
    char other[PATH_MAX + 16], path[PATH_MAX + 32];
    store_copy copy;
    sv_error err = {0};
    snprintf(other, sizeof other, "%s/other", folder);
    snprintf(path, sizeof path, "%s/data.mdb", other);
    make_folder(other);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || store_backup(c.store, fd, &copy, &err) || fsync(fd))
        broke("copy: %s", err.message);
    close(fd);
    sync_folder(other);
    arm(f);
    int rc = store_replace(c.store, other, &err);
    if (rc && rc != SV_E_STORE_IO && rc != SV_E_STORE_FULL && rc != SV_E_IO && rc != SV_E_NO_MEMORY)
        broke("a replacement answers %d: %s %s", rc, err.message, err.detail);
    t->copies_failed += rc != 0;
    fault_disarm(&t->page);
}

static void check_now(const char *when)
{
    acked a = {{0}};
    char why[300];
    for (uint32_t w = 0; w < WRITERS; w++)
        a.upto[w] = told[w];
    if (plan_check(c.store, seed, WRITERS, &a, ALL, NULL, why, sizeof why) != FINE)
        broke("%s: %s", when, why);
}

static void run_fault(const fault *f, const char *folder)
{
    for (uint32_t w = 0; w < WRITERS; w++)
        plan_start(&writers[w].plan, seed, w);
    if (f->phase == MAKE) {
        open_ill(f);
    } else {
        open_well();
        write_upto(BEFORE, false, false);
    }
    if (f->phase == OPEN) {
        client_close(&c);
        open_ill(f);
    }
    if (f->phase == COPY) copy_ill(f, folder);
    if (f->phase == REPLACE) replace_ill(f, folder);
    if (f->phase == RUN) arm(f);
    write_upto(ALL, f->phase == RUN && f->stays, f->kind->reads_go_on);
    /* What is still to come in idle moments belongs to the running phase too. */
    if (f->phase != CLOSE) fault_disarm(&t->page);
    check_now("with the disk well again");
    if (f->phase == CLOSE) arm(f);
    client_close(&c);
    fault_disarm(&t->page);
    open_well();
    check_now("opened anew");
    client_close(&c);
}

/* ---- around a run ---- */

typedef struct job {
    pid_t pid;
    fault fault;
    tally *tally;
    char folder[PATH_MAX], real[PATH_MAX + 8], log[PATH_MAX + 8], page[PATH_MAX + 8],
        image[PATH_MAX + 8], opened[PATH_MAX + 16];
    judge judge;
} job;

typedef struct totals {
    uint64_t runs, faults, images, full, io, away, refused, unknown_done, copies_failed, failed;
} totals;

static verdict check_image(const char *folder, const acked *a, uint64_t s, char *why, size_t why_n)
{
    static client one;
    sv_error err = {0};
    memset(&one, 0, sizeof one);
    int rc = client_open(&one, folder, MAP_BYTES, &err);
    if (rc) {
        snprintf(why, why_n, "open answers %d: %s %s", rc, err.message, err.detail);
        return BROKEN;
    }
    verdict v = plan_check(one.store, s, WRITERS, a, ALL, NULL, why, why_n);
    client_close(&one);
    return v;
}

static const subject image_subject = {"inject", NULL, check_image};

static void start(job *j, const fault *f)
{
    static fault_restart_fn *restart;
    if (!restart) *(void **)&restart = dlsym(RTLD_DEFAULT, "fault_restart");
    if (!restart) die("the library is not loaded");
    empty_folder(j->folder);
    make_folder(j->real);
    int fd = open(j->page, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(tally))) die("%s: %s", j->page, strerror(errno));
    j->tally = mmap(NULL, sizeof(tally), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (j->tally == MAP_FAILED) die("%s: %s", j->page, strerror(errno));
    close(fd);
    j->fault = *f;
    fflush(NULL);
    j->pid = fork();
    if (j->pid < 0) die("fork: %s", strerror(errno));
    if (j->pid) return;
    char path[PATH_MAX + 16];
    snprintf(path, sizeof path, "%s/env", j->real);
    env = path;
    t = j->tally;
    ack_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    restart(j->real, j->log, ack_fd, j->page);
    alarm(60);
    run_fault(f, j->real);
    exit(0);
}

static size_t first_failure(const fault_log *l)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->events[i].r.result) return i;
    return 0;
}

/* Loss of power around the fault, and at the end. */
static bool images(job *j, totals *all, char *why, size_t why_n)
{
    fault_log l;
    acked a = {{0}};
    answer w = {0};
    size_t cuts[IMAGES];
    fault_log_read(&l, j->log);
    rng r = rng_of(seed, j->fault.nth * 100 + j->fault.phase * 10 + j->fault.kind->error % 7);
    size_t from = first_failure(&l), n = l.n - from < 60 ? l.n - from : 60;
    for (size_t i = 0; i < IMAGES; i++)
        cuts[i] = i == 0 ? l.n : from + rng_below(&r, n + 1);
    disk *d = disk_new(j->real, false);
    for (size_t at = 0; at <= l.n && w.verdict == FINE; at++) {
        for (size_t i = 0; i < IMAGES && w.verdict == FINE; i++) {
            if (cuts[i] != at) continue;
            disk_mode mode = (disk_mode)rng_below(&r, DISK_MODES);
            disk_image(d, at < l.n ? &l.events[at] : NULL, mode, &r, j->image);
            make_folder(j->opened);
            judge_ask(&j->judge, &a, &w);
            all->images++;
            if (w.verdict != FINE)
                snprintf(why, why_n,
                         "after a loss of power at record %zu of %zu (first failure %zu), %s: %s%s",
                         at, l.n, from, disk_mode_name(mode), w.verdict == LOST ? "lost: " : "",
                         w.why);
        }
        if (at == l.n) break;
        disk_step(d, &l.events[at]);
        if (l.events[at].r.kind == FAULT_ACK)
            note_acks(&a, l.events[at].bytes, l.events[at].r.bytes);
    }
    disk_free(d);
    fault_log_free(&l);
    return w.verdict == FINE;
}

/* Ends a run; true: it met a fault. */
static bool end(job *j, int rc, totals *all)
{
    const tally *x = j->tally;
    char why[700] = "";
    bool met = x->page.done > 0;
    all->runs++;
    all->faults += x->page.done;
    all->full += x->full;
    all->io += x->io;
    all->away += x->away;
    all->refused += x->open_refused;
    all->unknown_done += x->unknown_done;
    all->copies_failed += x->copies_failed;
    if (rc) {
        snprintf(why, sizeof why, "ended with %d%s: %s", rc, rc == 256 + SIGALRM ? " (hung)" : "",
                 x->why);
    } else {
        images(j, all, why, sizeof why);
    }
    if (why[0]) {
        all->failed++;
        printf("inject: %s, %s, call %llu%s: %s\n", phase_names[j->fault.phase],
               j->fault.kind->name, (unsigned long long)j->fault.nth,
               j->fault.stays ? " and all after it" : "", why);
    }
    munmap(j->tally, sizeof *j->tally);
    j->pid = 0;
    if (why[0]) { /* for a look at it */
        char kept[PATH_MAX + 32];
        snprintf(kept, sizeof kept, "%s-failed-%llu", j->folder, (unsigned long long)all->failed);
        if (rename(j->folder, kept) == 0) printf("  kept as %s\n", kept);
        make_folder(j->folder);
    }
    return met;
}

/* All n of one moment, error and manner, several at once. */
static void all_n(job *jobs, size_t n_jobs, const fault *what, uint64_t stride, totals *all)
{
    uint64_t next = 1;
    size_t running = 0, clean = 0;
    while (clean == 0 || running) {
        for (size_t i = 0; i < n_jobs && !clean; i++) {
            if (jobs[i].pid) continue;
            fault f = *what;
            f.nth = next;
            next += stride;
            start(&jobs[i], &f);
            running++;
        }
        int status;
        pid_t pid = waitpid(-1, &status, 0);
        for (size_t i = 0; i < n_jobs; i++) {
            if (jobs[i].pid != pid) continue;
            int rc = WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
            running--;
            if (!end(&jobs[i], rc, all)) clean++;
            if (all->failed > 20) die("inject: that is enough");
        }
    }
}

static void serve(int argc, char **argv)
{
    static job jobs[JOBS];
    totals all = {0};
    char work[256];
    seed = option(argc, argv, "--seed", fresh_seed());
    printf("inject: seed %llu\n", (unsigned long long)seed);
    size_t n_jobs = option(argc, argv, "--jobs", 12);
    uint64_t stride = option(argc, argv, "--stride", 1);
    const char *only = word(argc, argv, "--only"), *error = word(argc, argv, "--error");
    if (n_jobs == 0 || n_jobs > JOBS || stride == 0)
        die("--jobs is 1 to %d, --stride from 1", JOBS);
    work_begin(work, sizeof work, "inject");
    for (size_t i = 0; i < n_jobs; i++) {
        job *j = &jobs[i];
        snprintf(j->folder, sizeof j->folder, "%s/%zu", work, i);
        snprintf(j->real, sizeof j->real, "%s/real", j->folder);
        snprintf(j->log, sizeof j->log, "%s/log", j->folder);
        snprintf(j->page, sizeof j->page, "%s/page", j->folder);
        snprintf(j->image, sizeof j->image, "%s/image", j->folder);
        snprintf(j->opened, sizeof j->opened, "%s/env", j->image);
        make_folder(j->folder);
        j->judge = (judge){.subject = &image_subject, .folder = j->opened, .seed = seed};
    }
    for (int p = 0; p < PHASES; p++) {
        for (size_t k = 0; k < KINDS; k++) {
            totals before = all;
            if ((only && strcmp(only, phase_names[p]) != 0) ||
                (error && strcmp(error, kinds[k].name) != 0))
                continue;
            if (kinds[k].once)
                all_n(jobs, n_jobs, &(fault){(phase)p, &kinds[k], 0, false}, 1, &all);
            if (kinds[k].stays && p < CLOSE)
                all_n(jobs, n_jobs, &(fault){(phase)p, &kinds[k], 0, true}, stride, &all);
            if (all.runs == before.runs) continue;
            printf("inject: %-5s %-6s %4llu runs, %5llu faults\n", phase_names[p], kinds[k].name,
                   (unsigned long long)(all.runs - before.runs),
                   (unsigned long long)(all.faults - before.faults));
        }
    }
    for (size_t i = 0; i < n_jobs; i++)
        all.failed += judge_end(&jobs[i].judge) != 0;
    printf(
        "inject: %llu runs, %llu calls failed on purpose; writers were told full %llu and failing "
        "%llu times (%llu of these writes were there nevertheless), readers to wait %llu times; "
        "%llu openings, %llu copies and replacements refused; %llu images after a loss of power; "
        "%llu runs "
        "broke a promise; seed %llu\n",
        (unsigned long long)all.runs, (unsigned long long)all.faults, (unsigned long long)all.full,
        (unsigned long long)all.io, (unsigned long long)all.unknown_done,
        (unsigned long long)all.away, (unsigned long long)all.refused,
        (unsigned long long)all.copies_failed, (unsigned long long)all.images,
        (unsigned long long)all.failed, (unsigned long long)seed);
    if (all.failed == 0) work_end(work);
    exit(all.failed ? 1 : 0);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 1 && strcmp(argv[1], "--serve") == 0) serve(argc - 1, argv + 1);
    /* Once more, with the library. */
    char **all = calloc((size_t)argc + 2, sizeof *all), exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (!all || n < 0) die("no memory");
    exe[n] = 0;
    all[0] = exe;
    all[1] = (char *)"--serve";
    for (int i = 1; i < argc; i++)
        all[1 + i] = argv[i];
    int rc = finish(start_watched(all, &(watched){NULL, NULL, NULL}, -1));
    free(all);
    return rc;
}
