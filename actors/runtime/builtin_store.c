/*  builtin_store.c - what every actor with a store serves besides: a look at it, copies, keys.
 *
 *  All run on fibers; what takes long runs elsewhere. Looking (store_stat, store_check, store_dump,
 *  store_keys) goes to the pool piece by piece. A copy is written by the copier's thread into a
 *  pipe; the fiber reads the pipe as the caller's window allows, so a slow caller holds up the
 *  thread and nothing else, and one that takes nothing for store_stall_us is dropped, because the copy's
 *  read transaction keeps pages from being used again. Closing the pipe ends the thread. */
#include "state.h"

#include "process.h"
#include "restore.h"
#include "root_key.h"
#include "store_work.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    DUMP_PIECE = 49152,
    DUMP_MOST = 1 << 20,
    AWAY_MS = 5,
    AWAY_MOST_US = 1000000,
    BUSY_MS = 5000
};

uint64_t store_stall_us = 30000000;

static int gone(sv_call *c)
{
    return sv_fail(&c->error, c->cancelled ? SV_E_CANCELLED : SV_E_DRAINING, NULL, NULL);
}

/* ---- on the pool ---- */

typedef struct viewer {
    store *store;
    store_fn *fn;
    void *progress;
    const char *owner;
    sv_error error;
} viewer;

static int view(void *arg)
{
    viewer *v = arg;
    v->error = (sv_error){.code = 0};
    return work_piece(v->store, v->fn, v->progress, v->owner, &v->error);
}

/* One piece of a check or dump; waits a moment for an environment that is away. */
static int view_piece(sv_call *c, store_fn *fn, void *progress)
{
    uint64_t until_us = clock_us() + AWAY_MOST_US;
    for (;;) {
        viewer v = {sv_store(c->process), fn, progress, c->method->name, {.code = 0}};
        if (v.store == NULL || c->cancelled) return gone(c);
        int rc = sv_work(c, view, &v);
        if (rc && v.error.code == 0) return sv_fail(&c->error, rc, NULL, NULL);
        if (v.error.code == SV_E_STORE_IO && v.error.retry_after_ms && clock_us() < until_us) {
            sv_sleep(c, AWAY_MS);
            continue;
        }
        if (rc) c->error = v.error;
        return rc;
    }
}

typedef struct asker {
    sv_call *call;
    store *store;
    store_stat_reply stat;
    store_keys_reply keys;
    sv_error error;
} asker;

static int ask_stat(void *arg)
{
    asker *a = arg;
    sv_process *p = a->call->process;
    return work_stat(a->store, p->name, p->instance, &a->call->arena, &a->stat, &a->error);
}

static int ask_keys(void *arg)
{
    asker *a = arg;
    return work_keys(a->store, &a->keys, &a->error);
}

static int ask(sv_call *c, int (*what)(void *arg), asker *a)
{
    *a = (asker){.call = c, .store = sv_store(c->process)};
    if (a->store == NULL || c->cancelled) return gone(c);
    int rc = sv_work(c, what, a);
    if (rc && a->error.code) c->error = a->error;
    return rc;
}

static int serve_stat(sv_call *c, const void *request)
{
    (void)request;
    asker a;
    int rc = ask(c, ask_stat, &a);
    return rc ? rc : sv_reply(c, &a.stat);
}

static int serve_keys(sv_call *c, const void *request)
{
    (void)request;
    asker a;
    int rc = ask(c, ask_keys, &a);
    return rc ? rc : sv_reply(c, &a.keys);
}

static int serve_check(sv_call *c, const void *request)
{
    (void)request;
    store_check *check = arena_alloc(&c->arena, sizeof *check);
    if (check == NULL) return SV_E_NO_MEMORY;
    buf_init(&check->position, LIMIT_PART_BYTES);
    int rc = 0;
    while (rc == 0 && !check->done)
        rc = view_piece(c, store_check_some, check);
    buf_free(&check->position);
    if (rc) return rc;
    store_check_reply r;
    work_check_reply(check, &r);
    return sv_reply(c, &r);
}

/* ---- streams ---- */

static int streaming(sv_call *c)
{
    if (sv_call_streaming(c)) return 0;
    return sv_fail(&c->error, SV_E_INVALID, NULL, "%s answers with a stream: ask for one.",
                   c->method->name);
}

static int send_bytes(sv_call *c, sv_str bytes)
{
    int rc = 0;
    while (rc == 0 && bytes.n > 0) {
        uint32_t n = bytes.n < LIMIT_PART_BYTES ? bytes.n : LIMIT_PART_BYTES;
        rc = sv_partial(c, NULL, NULL, (sv_str){bytes.p, n});
        bytes.p += n;
        bytes.n -= n;
    }
    return rc;
}

static int serve_dump(sv_call *c, const void *request)
{
    const store_dump_req *q = request;
    buf out;
    int rc = streaming(c);
    if (rc) return rc;
    buf_init(&out, DUMP_MOST);
    store_dump dump = {.out = &out, .most = DUMP_PIECE};
    buf_init(&dump.position, LIMIT_PART_BYTES);
    store_dump_reply r = {.bytes = 0};
    if (q->table.n && (dump.table = arena_copy(&c->arena, q->table)) == NULL) rc = SV_E_NO_MEMORY;
    while (rc == 0 && !dump.done) {
        buf_reset(&out, DUMP_PIECE);
        rc = view_piece(c, store_dump_some, &dump);
        r.bytes += (int64_t)out.n;
        if (rc == 0) rc = send_bytes(c, buf_str(&out));
    }
    buf_free(&dump.position);
    buf_free(&out);
    return rc ? rc : sv_reply(c, &r);
}

/* ---- the copier's thread ---- */

typedef struct copy_job {
    sv_call *call;
    store *store;
    int to_fd; /* the thread's end of the pipe; -1 when it is closed */
    const char *folder;
    bool had_former;
    store_copy copy;
    sv_error error;
    int code;
    bool done, stalled;
} copy_job;

static int run_backup(void *arg)
{
    copy_job *j = arg;
    int rc = store_backup(j->store, j->to_fd, &j->copy, &j->error);
    close(j->to_fd);
    j->to_fd = -1;
    return rc;
}

static int run_replace(void *arg)
{
    copy_job *j = arg;
    char copy[STATE_PATH], former[STATE_PATH];
    int hold = -1, rc = restore_paths(j->folder, copy, former, &j->error);
    if (rc == 0) rc = restore_hold(j->folder, false, &hold, &j->error);
    if (rc == 0) rc = restore_check(j->folder, &j->error);
    if (rc == 0) rc = store_replace(j->store, copy, &j->error);
    if (rc == 0) rc = restore_end(j->folder, &j->had_former, &j->error);
    if (hold >= 0) close(hold);
    return rc;
}

static void on_job_done(void *arg, int code)
{
    copy_job *j = arg;
    if (j->to_fd >= 0) close(j->to_fd); /* never ran */
    j->code = code;
    j->done = true;
    serve_resume(j->call);
}

static int submit(copy_job *j, int (*work)(void *arg))
{
    sv_call *c = j->call;
    if ((j->store = sv_store(c->process)) == NULL || c->cancelled) return gone(c);
    bool *copying = state_copying(c->process);
    if (*copying) {
        c->error.retry_after_ms = BUSY_MS;
        return sv_fail(&c->error, SV_E_OVERLOADED, NULL,
                       "A backup or restore of %s/%u is under way.", c->process->name,
                       c->process->instance);
    }
    pool *copier = state_copier(c->process, &c->error);
    int rc = copier ? pool_submit(copier, work, on_job_done, j) : c->error.code;
    *copying = rc == 0;
    return rc;
}

/* Waits for the thread, also when the call was cancelled: it works on this stack. */
static int await(copy_job *j)
{
    while (!j->done)
        call_wait(j->call, &j->call->waiter);
    *state_copying(j->call->process) = false;
    return j->code;
}

static void on_stall(void *arg)
{
    copy_job *j = arg;
    j->stalled = true;
    serve_cancel(j->call->process, j->call);
}

static void on_readable(void *arg, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    serve_resume(((copy_job *)arg)->call);
}

/* From the pipe to the caller, until the thread closes it. */
static int pass_on(copy_job *j, int fd)
{
    sv_call *c = j->call;
    loop *l = c->process->loop;
    loop_timer stall = {0};
    loop_fd *watch = NULL;
    char *piece = arena_alloc(&c->arena, LIMIT_PART_BYTES);
    int rc = piece ? loop_fd_add(l, fd, EPOLLIN | EPOLLET, on_readable, j, &watch) : SV_E_NO_MEMORY;
    while (rc == 0) {
        ssize_t n = read(fd, piece, LIMIT_PART_BYTES);
        if (n == 0) break;
        if (n > 0) {
            loop_timer_set(l, &stall, store_stall_us, on_stall, j);
            rc = sv_partial(c, NULL, NULL, (sv_str){piece, (uint32_t)n});
            loop_timer_stop(l, &stall);
        } else if (errno == EAGAIN && !c->cancelled) {
            call_wait(c, &c->waiter);
        } else if (errno != EINTR) {
            rc = c->cancelled ? SV_E_CANCELLED : SV_E_IO;
        }
    }
    loop_fd_del(watch);
    if (rc && j->stalled)
        rc = sv_fail(&c->error, SV_E_DEADLINE, NULL, "Nobody took the copy's bytes for %.1f s.",
                     (double)store_stall_us / 1e6);
    return rc;
}

static int serve_backup(sv_call *c, const void *request)
{
    (void)request;
    int ends[2], rc = streaming(c);
    if (rc) return rc;
    if (pipe2(ends, O_CLOEXEC)) return sv_fail(&c->error, SV_E_IO, NULL, NULL);
    copy_job j = {.call = c, .to_fd = ends[1]};
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    if ((rc = submit(&j, run_backup))) {
        close(ends[0]);
        close(ends[1]);
        return rc;
    }
    rc = pass_on(&j, ends[0]);
    close(ends[0]);
    int copied = await(&j);
    if (rc) return rc; /* the thread's error is only what this one made of it */
    if (copied) c->error = j.error;
    if (copied) return copied;
    store_copy_reply r;
    work_copy_reply(&j.copy, c->process->name, &r);
    return sv_reply(c, &r);
}

static int serve_replace(sv_call *c, const void *request)
{
    (void)request;
    sv_process *p = c->process;
    char *folder = arena_alloc(&c->arena, STATE_PATH), *copy = arena_alloc(&c->arena, STATE_PATH),
         *former = arena_alloc(&c->arena, STATE_PATH);
    if (folder == NULL || copy == NULL || former == NULL) return SV_E_NO_MEMORY;
    int rc = state_folder(p->config, p->name, p->instance, folder, &c->error);
    if (rc == 0) rc = restore_paths(folder, copy, former, &c->error);
    copy_job j = {.call = c, .to_fd = -1, .folder = folder};
    if (rc == 0) rc = submit(&j, run_replace);
    if (rc == 0 && (rc = await(&j))) c->error = j.error;
    asker a;
    if (rc == 0) rc = ask(c, ask_stat, &a);
    if (rc) return rc;
    store_replace_reply r = {.service = sv_cstr(p->name),
                             .version = a.stat.version,
                             .epoch = a.stat.epoch,
                             .former = sv_cstr(j.had_former ? former : NULL)};
    return sv_reply(c, &r);
}

/* ---- keys ---- */

static int serve_rotate(sv_call *c, const void *request)
{
    store_rotation r = {.done = false};
    int rc = store_write(c, store_rotate_begin, NULL, &r);
    while (rc == 0 && !r.done)
        rc = store_write(c, store_rotate_some, NULL, &r);
    return rc ? rc : serve_keys(c, request);
}

typedef struct finder {
    const config *config;
    seal_key *next;
    sv_error error;
} finder;

static int find_next(void *arg)
{
    finder *f = arg;
    return root_key_next(f->config, &f->next, &f->error);
}

/* The next root key is read from where the present one came from: it is in no message. It may be
 * made of a passphrase, which takes a while. */
static int serve_rekey(sv_call *c, const void *request)
{
    finder f = {.config = c->process->config};
    int rc = sv_work(c, find_next, &f);
    if (rc && f.error.code) c->error = f.error;
    if (rc == 0) rc = store_write(c, store_rekey, f.next, NULL);
    seal_key_free(f.next);
    return rc ? rc : serve_keys(c, request);
}

const sv_method store_methods[] = {
    {.name = "store_stat",
     .request = &bus_empty_msg,
     .reply = &store_stat_reply_msg,
     .handler = serve_stat,
     .flags = SV_IDEMPOTENT,
     .doc = "state, size and tables of its store"},
    {.name = "store_check",
     .request = &bus_empty_msg,
     .reply = &store_check_reply_msg,
     .handler = serve_check,
     .flags = SV_IDEMPOTENT,
     .doc = "looks at everything in its store"},
    {.name = "store_dump",
     .request = &store_dump_req_msg,
     .reply = &store_dump_reply_msg,
     .handler = serve_dump,
     .doc = "stream: its rows as JSON lines"},
    {.name = "store_backup",
     .request = &bus_empty_msg,
     .reply = &store_copy_reply_msg,
     .handler = serve_backup,
     .doc = "stream: a consistent, compacted copy of its store"},
    {.name = "store_replace",
     .request = &bus_empty_msg,
     .reply = &store_replace_reply_msg,
     .handler = serve_replace,
     .doc = "puts a verified copy in its store's place"},
    {.name = "store_keys",
     .request = &bus_empty_msg,
     .reply = &store_keys_reply_msg,
     .handler = serve_keys,
     .flags = SV_IDEMPOTENT,
     .doc = "keys that seal its secrets"},
    {.name = "store_rotate",
     .request = &bus_empty_msg,
     .reply = &store_keys_reply_msg,
     .handler = serve_rotate,
     .doc = "new keys; everything sealed is sealed anew"},
    {.name = "store_rekey",
     .request = &bus_empty_msg,
     .reply = &store_keys_reply_msg,
     .handler = serve_rekey,
     .doc = "wraps its keys with the new root key"},
};
const size_t store_method_count = sizeof store_methods / sizeof *store_methods;
