/*  images.c - loss of power at every moment of a recorded run.
 *
 *  usage: fault_images SUBJECT [--seed N] [--states N] [--lying-disk] [--keep] [--expect-loss]
 *                      [options of the subject]
 *
 *  Runs the subject's work in a process with the recorder, replays the log and compares it with the
 *  real files (that proves the recorder), then makes images of the disk: at each position of the
 *  log at least one, the rest at random ones, each in one of the modes of disk.h, the call that was
 *  under way included. A child process opens each and checks it; when it crashes or hangs, that is
 *  the image's result and the next image gets a new child.
 *
 *  Exit code 0: every image was fine; with --expect-loss: at least one was not. --lying-disk takes
 *  syncs for nothing, as does --nosync of the bare subject: a checker that finds no fault in these
 *  could find none at all. */
#include "disk.h"
#include "judge.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TOLD = 5 };

typedef struct run {
    const subject *subject;
    uint64_t seed;
    bool quiet, keep;
    char work[PATH_MAX], real[PATH_MAX + 8], log[PATH_MAX + 8], image[PATH_MAX + 8];
    char folder[PATH_MAX + 16], opened[PATH_MAX + 16]; /* the environment, below real and image */
    char stale[PATH_MAX + 32];                         /* the lock file as the run left it */
    judge judge;
    acked acked;
    uint32_t *plan; /* images at each position: one, then the rest at random ones */
    uint64_t states, by_mode[DISK_MODES], fine, lost, broken, crashed, with_acks;
} run;

static const subject *const subjects[] = {&bare_lmdb, &whole_store, &usage_ledger, &rare_chores};

/* ---- one image ---- */

static void tell(const run *x, size_t cut, disk_mode mode, const answer *w)
{
    printf("%s: cut at record %zu, %s: %s: %s\n", x->subject->name, cut, disk_mode_name(mode),
           w->verdict == LOST ? "acknowledged and lost" : "broken", w->why);
    if (!x->keep) return;
    char kept[PATH_MAX + 64];
    snprintf(kept, sizeof kept, "%s/failed-%zu-%s-%llu", x->work, cut, disk_mode_name(mode),
             (unsigned long long)x->states);
    if (rename(x->image, kept) == 0) printf("  kept as %s\n", kept);
}

static void one_image(run *x, const disk *d, const fault_log *l, size_t cut, disk_mode mode, rng *r)
{
    answer w = {0};
    disk_image(d, cut < l->n ? &l->events[cut] : NULL, mode, r, x->image);
    make_folder(x->opened);
    if (rng_next(r) & 1) leave_stale(x->stale, x->opened);
    x->states++;
    x->by_mode[mode]++;
    for (size_t i = 0; i < WRITERS_MAX; i++)
        if (x->acked.upto[i]) {
            x->with_acks++;
            break;
        }
    judge_ask(&x->judge, &x->acked, &w);
    x->crashed += w.crashed;
    x->fine += w.verdict == FINE;
    x->lost += w.verdict == LOST;
    x->broken += w.verdict == BROKEN;
    if (w.verdict != FINE && !x->quiet && x->lost + x->broken <= TOLD) tell(x, cut, mode, &w);
}

/* ---- all of them ---- */

static void prove_recorder(const run *x, const fault_log *l, bool say)
{
    disk *d = disk_new(x->real, false);
    size_t writes = 0, syncs = 0, self = 0, acks = 0;
    for (size_t i = 0; i < l->n; i++) {
        const fault_record *r = &l->events[i].r;
        disk_step(d, &l->events[i]);
        writes += r->kind == FAULT_WRITE;
        self += r->kind == FAULT_WRITE && r->durable;
        syncs += r->kind == FAULT_SYNC;
        acks += r->kind == FAULT_ACK;
    }
    size_t files = disk_compare(d);
    disk_free(d);
    if (say)
        printf("%s: %zu records: %zu writes, %zu of them durable by themselves, %zu syncs, %zu "
               "acknowledgements; replayed, %zu files are the real ones byte for byte\n",
               x->subject->name, l->n, writes, self, syncs, acks, files);
    if (!acks || !writes) die("nothing was recorded");
}

static void all_images(run *x, const fault_log *l, uint64_t want, bool lying)
{
    disk *d = disk_new(x->real, lying);
    rng r = rng_of(x->seed, 77);
    x->plan = calloc(l->n + 1, sizeof *x->plan);
    if (!x->plan) die("no memory");
    for (size_t i = 0; i <= l->n; i++)
        x->plan[i] = 1;
    for (uint64_t n = l->n + 1; n < want; n++)
        x->plan[rng_below(&r, l->n + 1)]++;
    for (size_t cut = 0; cut <= l->n; cut++) {
        disk_mode mode = (disk_mode)rng_below(&r, DISK_MODES);
        for (uint32_t k = 0; k < x->plan[cut]; k++, mode = (mode + 1) % DISK_MODES)
            one_image(x, d, l, cut, mode, &r);
        if (cut == l->n) break;
        disk_step(d, &l->events[cut]);
        if (l->events[cut].r.kind == FAULT_ACK)
            note_acks(&x->acked, l->events[cut].bytes, l->events[cut].r.bytes);
    }
    free(x->plan);
    disk_free(d);
}

static void record_work(run *x, int argc, char **argv)
{
    char **all = calloc((size_t)argc + 4, sizeof *all), exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (!all || n < 0) die("no memory");
    exe[n] = 0;
    int acks = open("/dev/null", O_WRONLY);
    char fd[16];
    snprintf(fd, sizeof fd, "%d", acks);
    all[0] = exe;
    all[1] = (char *)"--work";
    all[2] = x->folder;
    all[3] = fd;
    for (int i = 1; i < argc; i++)
        all[3 + i] = argv[i];
    pid_t pid = start_watched(all, &(watched){x->real, x->log, NULL}, acks);
    close(acks);
    int rc = finish(pid);
    free(all);
    if (rc) die("%s: the recorded run ended with %d", x->subject->name, rc);
}

static void summary(const run *x)
{
    printf("%s: %llu images, %llu of them after acknowledgements (", x->subject->name,
           (unsigned long long)x->states, (unsigned long long)x->with_acks);
    for (int m = 0; m < DISK_MODES; m++)
        printf("%s%s %llu", m ? ", " : "", disk_mode_name((disk_mode)m),
               (unsigned long long)x->by_mode[m]);
    printf("): %llu fine, %llu lost something acknowledged, %llu broken (%llu crashed or hung); "
           "seed %llu\n",
           (unsigned long long)x->fine, (unsigned long long)x->lost, (unsigned long long)x->broken,
           (unsigned long long)x->crashed, (unsigned long long)x->seed);
}

static const subject *subject_of(const char *name)
{
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++)
        if (strcmp(subjects[i]->name, name) == 0) return subjects[i];
    die("there is no subject %s: bare, store, ledger, chores", name);
}

int main(int argc, char **argv)
{
    if (argc >= 5 && strcmp(argv[1], "--work") == 0)
        return subject_of(argv[4])->work(argv[2], atoi(argv[3]), argc - 4, argv + 4);
    if (argc < 2) die("usage: fault_images bare|store|ledger|chores [--seed N] [--states N] ...");
    static run x;
    fault_log log;
    bool loss = flag(argc, argv, "--expect-loss");
    signal(SIGPIPE, SIG_IGN);
    x.subject = subject_of(argv[1]);
    x.seed = option(argc, argv, "--seed", fresh_seed());
    x.keep = flag(argc, argv, "--keep");
    x.quiet = loss;
    x.judge = (judge){.subject = x.subject, .folder = x.opened, .seed = x.seed, .quiet = loss};
    printf("%s: seed %llu\n", x.subject->name, (unsigned long long)x.seed);
    work_begin(x.work, sizeof x.work, "images");
    snprintf(x.real, sizeof x.real, "%s/real", x.work);
    snprintf(x.folder, sizeof x.folder, "%s/env", x.real);
    snprintf(x.log, sizeof x.log, "%s/log", x.work);
    snprintf(x.image, sizeof x.image, "%s/image", x.work);
    snprintf(x.opened, sizeof x.opened, "%s/env", x.image);
    snprintf(x.stale, sizeof x.stale, "%s/lock.mdb", x.folder);
    make_folder(x.real);
    char **with_seed = calloc((size_t)argc + 3, sizeof *with_seed), number[32];
    if (!with_seed) die("no memory");
    snprintf(number, sizeof number, "%llu", (unsigned long long)x.seed);
    for (int i = 0; i < argc; i++)
        with_seed[i] = argv[i];
    with_seed[argc] = (char *)"--seed";
    with_seed[argc + 1] = number;
    record_work(&x, argc + 2, with_seed);
    free(with_seed);
    fault_log_read(&log, x.log);
    prove_recorder(&x, &log, true);
    all_images(&x, &log, option(argc, argv, "--states", 2000), flag(argc, argv, "--lying-disk"));
    fault_log_free(&log);
    int rc = judge_end(&x.judge);
    if (rc && !loss) {
        printf("%s: the child ended with %d after its images\n", x.subject->name, rc);
        x.broken++;
    }
    summary(&x);
    bool bad = x.lost + x.broken > 0;
    if (!x.keep || !bad) work_end(x.work);
    if (loss && !bad) printf("%s: nothing was lost where it had to be\n", x.subject->name);
    return bad == loss ? 0 : 1;
}
