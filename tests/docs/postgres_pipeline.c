/*  postgres_pipeline.c - docs/adr/0010 tried: functions on fibers of one thread, each with a libpq
 *  connection that never blocks, in pipeline mode, with repeats.
 *
 *  Eight fibers with stacks of 64 KiB add to one counter, which loses nothing only if transactions
 *  are serializable and repeated. Before that one fiber tries what the engine relies on. A fiber
 *  waits by handing its descriptor to the loop in main(), as a hook of the runtime would.
 *  Usage: PGHOST=... postgres_pipeline; the table samovar_jobs.t7 must be there. */
#include <libpq-fe.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>

enum { FIBERS = 8, ADDS = 25, STACK = 65536, GUARD = 4096, PAINT = 0xa5 };

typedef struct fiber {
    ucontext_t context;
    unsigned char *stack;
    bool ended;
    struct pollfd wait; /* fd -1: only the time */
    int wait_ms;
    PGconn *c;
    unsigned waits, repeats;
} fiber;

static fiber fibers[FIBERS];
static fiber *self; /* the running one */
static ucontext_t loop_context;
static bool tried;
static int failures;

static void check(bool ok, const char *what)
{
    printf("%s %s\n", ok ? "ok  " : "FAIL", what);
    if (!ok) {
        failures++;
        printf("  %s\n", PQerrorMessage(self->c));
    }
}

/* ---- waiting ---- */

static void fiber_wait(int fd, short events, int ms)
{
    fiber *f = self;
    f->wait = (struct pollfd){.fd = fd, .events = events};
    f->wait_ms = ms;
    f->waits++;
    swapcontext(&f->context, &loop_context);
}

/* ---- the few calls that an engine would be made of ---- */

static const struct {
    const char *name, *sql;
} statements[] = {
    {"get_7", "SELECT v FROM t7 WHERE k = $1"},
    {"put_7", "INSERT INTO t7 (k, v) VALUES ($1, $2) ON CONFLICT (k) DO UPDATE SET v = EXCLUDED.v"},
    {"insert_7", "INSERT INTO t7 (k, v) VALUES ($1, $2) ON CONFLICT (k) DO NOTHING"},
};

static bool connect_fiber(void)
{
    self->c = PQconnectStart("");
    PostgresPollingStatusType s = PGRES_POLLING_WRITING;
    while (s == PGRES_POLLING_READING || s == PGRES_POLLING_WRITING) {
        fiber_wait(PQsocket(self->c), s == PGRES_POLLING_READING ? POLLIN : POLLOUT, 5000);
        s = PQconnectPoll(self->c);
    }
    return s == PGRES_POLLING_OK && PQsetnonblocking(self->c, 1) == 0 &&
           PQenterPipelineMode(self->c) == 1;
}

static void sent(int ok)
{
    if (!ok) {
        printf("FAIL send: %s\n", PQerrorMessage(self->c));
        exit(1);
    }
}

static void send_sql(const char *sql)
{
    sent(PQsendQueryParams(self->c, sql, 0, NULL, NULL, NULL, NULL, 1));
}

static void send_row(const char *statement, const char *key, const char *value, size_t n)
{
    const char *values[2] = {key, value};
    int lengths[2] = {(int)strlen(key), (int)n}, formats[2] = {1, 1};
    sent(PQsendQueryPrepared(self->c, statement, value ? 2 : 1, values, lengths, formats, 1));
}

/* The next result in the order of sending; NULLs between results are left out. */
static PGresult *next_result(void)
{
    for (int nulls = 0;;) {
        while (PQisBusy(self->c)) {
            int more = PQflush(self->c);
            fiber_wait(PQsocket(self->c), (short)(POLLIN | (more ? POLLOUT : 0)), 5000);
            sent(PQconsumeInput(self->c));
        }
        PGresult *r = PQgetResult(self->c);
        if (r) return r;
        if (++nulls == 2) return NULL;
    }
}

static ExecStatusType next_status(char state[6])
{
    PGresult *r = next_result();
    ExecStatusType s = PQresultStatus(r);
    const char *code = PQresultErrorField(r, PG_DIAG_SQLSTATE);
    if (state) snprintf(state, 6, "%s", code ? code : "");
    PQclear(r);
    return s;
}

/* Everything that was sent is answered; the first failure counts. */
static ExecStatusType settle(char state[6])
{
    char one[6];
    ExecStatusType s, first = PGRES_COMMAND_OK;
    state[0] = 0;
    sent(PQpipelineSync(self->c));
    while ((s = next_status(one)) != PGRES_PIPELINE_SYNC)
        if (s != PGRES_COMMAND_OK && s != PGRES_TUPLES_OK && first == PGRES_COMMAND_OK) {
            first = s;
            memcpy(state, one, sizeof one);
        }
    return first;
}

static bool prepare(void)
{
    char state[6];
    send_sql("SET search_path = samovar_jobs");
    send_sql("SET synchronous_commit = on");
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
        sent(PQsendPrepare(self->c, statements[i].name, statements[i].sql, 0, NULL));
    return settle(state) == PGRES_COMMAND_OK;
}

/* COMMIT of a transaction that failed answers without an error, by the tag ROLLBACK. */
static bool commit(char state[6])
{
    send_sql("COMMIT");
    sent(PQpipelineSync(self->c));
    PGresult *r = next_result();
    bool done = PQresultStatus(r) == PGRES_COMMAND_OK && strcmp(PQcmdStatus(r), "COMMIT") == 0;
    const char *code = PQresultErrorField(r, PG_DIAG_SQLSTATE);
    snprintf(state, 6, "%s", code ? code : "");
    PQclear(r);
    next_status(NULL);
    return done;
}

/* ---- what the engine relies on ---- */

static void try_pipeline(void)
{
    char state[6];
    unsigned before = self->waits;
    send_sql("BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE");
    send_row("put_7", "\x41", "one", 3);
    send_row("get_7", "\x41", NULL, 0);
    sent(PQsendFlushRequest(self->c));
    next_status(NULL);
    next_status(NULL);
    PGresult *r = next_result();
    check(PQntuples(r) == 1 && PQgetlength(r, 0, 0) == 3 && !memcmp(PQgetvalue(r, 0, 0), "one", 3),
          "a read sees the write sent before it, unanswered");
    PQclear(r);
    check(self->waits - before <= 3, "begin, put and get cost one exchange");

    send_row("insert_7", "\x41", "two", 3);
    sent(PQsendFlushRequest(self->c));
    r = next_result();
    check(strcmp(PQcmdTuples(r), "0") == 0, "an insert of a key that is there answers 0 rows");
    PQclear(r);

    send_sql("SAVEPOINT n1");
    send_row("put_7", "", "x", 1);
    send_row("get_7", "\x41", NULL, 0);
    check(settle(state) == PGRES_FATAL_ERROR && strcmp(state, "23514") == 0,
          "a failed write is told with the next answer that is waited for");
    send_sql("ROLLBACK TO SAVEPOINT n1");
    send_sql("RELEASE SAVEPOINT n1");
    send_row("get_7", "\x41", NULL, 0);
    check(settle(state) == PGRES_COMMAND_OK, "the transaction around it goes on");
    check(commit(state), "and commits");

    send_sql("BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE");
    send_row("put_7", "", "x", 1);
    settle(state);
    check(!commit(state), "a transaction that failed does not commit");
    send_row("get_7", "\x41", NULL, 0);
    check(settle(state) == PGRES_COMMAND_OK, "the connection is usable after it");
}

/* ---- a function that is repeated ---- */

static bool add_once(char state[6])
{
    char text[24];
    send_sql("BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE");
    send_row("get_7", "counter", NULL, 0);
    sent(PQsendFlushRequest(self->c));
    next_status(NULL);
    PGresult *r = next_result();
    int n = PQntuples(r) == 1 ? atoi(PQgetvalue(r, 0, 0)) : 0;
    PQclear(r);
    size_t length = (size_t)snprintf(text, sizeof text, "%d", n + 1);
    send_row("put_7", "counter", text, length);
    if (settle(state) == PGRES_COMMAND_OK && commit(state)) return true;
    char ignored[6];
    send_sql("ROLLBACK");
    settle(ignored);
    return false;
}

static void add(void)
{
    char state[6];
    for (int i = 0; i < ADDS; i++)
        for (int try = 0; !add_once(state); try++) {
            if (strcmp(state, "40001") != 0 && strcmp(state, "40P01") != 0) {
                printf("FAIL add: %s %s\n", state, PQerrorMessage(self->c));
                exit(1);
            }
            self->repeats++;
            fiber_wait(-1, 0, 1 + rand() % (1 << (try < 6 ? try : 6)));
        }
}

static void fiber_main(void)
{
    fiber *f = self;
    if (!connect_fiber() || !prepare()) {
        printf("FAIL connect: %s\n", PQerrorMessage(f->c));
        exit(1);
    }
    if (f == fibers) {
        try_pipeline();
        tried = true;
    }
    while (!tried)
        fiber_wait(-1, 0, 1); /* the others' writes to the same page would repeat it */
    add();
    f->ended = true;
    swapcontext(&f->context, &loop_context);
}

/* ---- the loop ---- */

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void resume(fiber *f)
{
    self = f;
    swapcontext(&loop_context, &f->context);
}

static void run(void)
{
    uint64_t due[FIBERS] = {0};
    for (unsigned alive = FIBERS; alive > 0;) {
        struct pollfd set[FIBERS];
        int wait = 5000;
        uint64_t now = now_ms();
        for (int i = 0; i < FIBERS; i++) {
            set[i] = fibers[i].ended ? (struct pollfd){.fd = -1} : fibers[i].wait;
            if (!fibers[i].ended && due[i] < now + (uint64_t)wait)
                wait = due[i] > now ? (int)(due[i] - now) : 0;
        }
        poll(set, FIBERS, wait);
        now = now_ms();
        for (int i = 0; i < FIBERS; i++) {
            fiber *f = &fibers[i];
            if (f->ended || (!set[i].revents && due[i] > now)) continue;
            if (!set[i].revents && f->wait.fd >= 0 && f->waits) {
                puts("FAIL the server does not answer");
                exit(1);
            }
            resume(f);
            due[i] = now + (uint64_t)f->wait_ms;
            alive -= f->ended;
        }
    }
}

static size_t deepest(void)
{
    size_t most = 0;
    for (int i = 0; i < FIBERS; i++) {
        size_t clean = GUARD;
        while (clean < STACK + GUARD && fibers[i].stack[clean] == PAINT)
            clean++;
        if (STACK + GUARD - clean > most) most = STACK + GUARD - clean;
    }
    return most;
}

int main(void)
{
    unsigned repeats = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 0; i < FIBERS; i++) {
        fiber *f = &fibers[i];
        f->wait.fd = -1;
        f->stack =
            mmap(NULL, STACK + GUARD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (f->stack == MAP_FAILED || mprotect(f->stack, GUARD, PROT_NONE)) return 1;
        memset(f->stack + GUARD, PAINT, STACK);
        getcontext(&f->context);
        f->context.uc_stack.ss_sp = f->stack + GUARD;
        f->context.uc_stack.ss_size = STACK;
        makecontext(&f->context, fiber_main, 0);
    }
    run();

    self = &fibers[0];
    PQexitPipelineMode(self->c);
    PGresult *r =
        PQexec(self->c, "SELECT convert_from(v, 'UTF8') FROM samovar_jobs.t7 WHERE k = 'counter'");
    check(PQntuples(r) == 1 && atoi(PQgetvalue(r, 0, 0)) == FIBERS * ADDS,
          "eight fibers lose no addition");
    PQclear(r);
    for (int i = 0; i < FIBERS; i++)
        repeats += fibers[i].repeats;
    check(repeats > 0, "some of them were repeated");
    check(deepest() < STACK / 2, "half of a fiber's stack is enough");
    fprintf(stderr, "%u repeats for %d additions, deepest stack %zu bytes\n", repeats,
            FIBERS * ADDS, deepest());
    for (int i = 0; i < FIBERS; i++) {
        PQfinish(fibers[i].c);
        munmap(fibers[i].stack, STACK + GUARD);
    }
    return failures ? 1 : 0;
}
