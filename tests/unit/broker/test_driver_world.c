/* The broker and the world around it: processes that end, the supervisor, keys and policy on disk.
 */
#include "rig.h"

/* ---- processes ---- */

/* A worker process: says HELLO as `service` when it reads a byte from the pipe, then serves: it
 * keeps every request and answers none. Forked while this process has one thread. */
typedef struct helper {
    pid_t pid;
    int go, said;
} helper;

static helper fork_helper(const char *address, const char *service)
{
    int go[2], said[2];
    assert_int_equal(pipe(go), 0);
    assert_int_equal(pipe(said), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char c = 'w';
        got *g = malloc(sizeof *g);
        close(go[1]);
        close(said[0]);
        if (read(go[0], &c, 1) != 1) _exit(0);
        void *zmq = zmq_ctx_new(), *s = dealer(zmq, address, NULL, NULL);
        hello(s, service, 1, 8);
        while (receive(s, PATIENCE_MS * 6, g)) {
            c = g->env.kind == SV_WELCOME   ? 'w'
                : g->env.kind == SV_REQUEST ? 'r'
                : g->env.kind == SV_GOODBYE ? 'g'
                                            : '?';
            if (write(said[1], &c, 1) != 1) break;
        }
        _exit(0);
    }
    close(go[0]);
    close(said[1]);
    return (helper){pid, go[1], said[0]};
}

static void say(helper *w)
{
    assert_int_equal(write(w->go, "x", 1), 1);
}

static void hears(helper *w, char want)
{
    char c = 0;
    assert_int_equal(read(w->said, &c, 1), 1);
    assert_int_equal(c, want);
}

static void end(helper *w)
{
    kill(w->pid, SIGKILL);
    waitpid(w->pid, NULL, 0);
    close(w->go);
    close(w->said);
}

static void command(int fd, const char *answer, const char *fmt, ...)
{
    char text[128];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    assert_int_equal(send(fd, text, (size_t)n, 0), n);
    ssize_t got_n = recv(fd, text, sizeof text - 1, 0);
    assert_true(got_n > 0);
    text[got_n] = 0;
    assert_memory_equal(text, answer, strlen(answer));
}

static void a_killed_worker(void **state)
{
    rig *r = *state;
    int line[2];
    char address[128];
    got *g = malloc(sizeof *g);
    snprintf(address, sizeof address, "ipc://%s/bus.ipc", r->run);
    helper w = fork_helper(address, "echo"), stranger = fork_helper(address, "echo");
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, line), 0);
    r->options.control_fd = line[1];
    r->options.ping_ms = 60000; /* so that only the process's end can tell */
    r->options.lost_ms = 600000;
    start(r);
    command(line[0], "ok", "child %d echo 7", w.pid);
    command(line[0], "error ", "child x echo 7");
    command(line[0], "error ", "child 1 bus 7");
    command(line[0], "error ", "hello");
    command(line[0], "ok", "signer %064d", 7);
    command(line[0], "error ", "signer 12");
    command(line[0], "ok", "exited 4194303");
    say(&stranger);
    hears(&stranger, 'g'); /* the same program, but not announced */
    end(&stranger);
    void *caller = local(r);
    welcome(caller, "operator", 0, g);
    say(&w);
    hears(&w, 'g'); /* it asked to be instance 1 and is announced as 7 */
    command(line[0], "ok", "child %d echo 1", w.pid);
    end(&w);
    close_socket(caller);
    free(g);
    stop(r);
    close(line[0]);
}

static void the_end_of_a_process(void **state)
{
    rig *r = *state;
    int line[2];
    char address[128];
    got *g = malloc(sizeof *g);
    snprintf(address, sizeof address, "ipc://%s/bus.ipc", r->run);
    helper w = fork_helper(address, "echo"), second = fork_helper(address, "slow");
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, line), 0);
    r->options.control_fd = line[1];
    r->options.ping_ms = 60000;
    r->options.lost_ms = 600000;
    start(r);
    command(line[0], "ok", "child %d echo 1", w.pid);
    command(line[0], "ok", "child %d slow 0", second.pid);
    say(&w);
    hears(&w, 'w');
    say(&second);
    hears(&second, 'w');
    void *caller = local(r);
    welcome(caller, "operator", 0, g);
    call(caller, "echo.say", NULL, "x", 1);
    hears(&w, 'r');
    call(caller, "slow.say", NULL, "x", 1);
    hears(&second, 'r');
    uint64_t begin = clock_us();
    kill(w.pid, SIGKILL);
    expect(caller, SV_REPLY, g);
    uint64_t took = clock_us() - begin;
    print_message("an answer %llu us after the kill\n", (unsigned long long)took);
    expect_error(g, "service.lost");
    assert_true(took < 2000000);
    /* the supervisor's word alone is enough: this process lives on */
    command(line[0], "ok", "exited %d", second.pid);
    expect(caller, SV_REPLY, g);
    expect_error(g, "service.lost");
    end(&w);
    end(&second);
    /* and when the supervisor goes, so does the broker */
    close(line[0]);
    pthread_join(r->thread, NULL);
    driver_free(r->driver);
    loop_free(r->loop);
    r->loop = NULL;
    expect(caller, SV_GOODBYE, g);
    close_socket(caller);
    free(g);
}

/* ---- keys and policy on disk ---- */

static void reload(void *arg)
{
    driver_reload(arg);
}

static void a_revoked_key(void **state)
{
    rig *r = *state;
    keyfile k, other;
    char path[256];
    got *g = malloc(sizeof *g);
    make_key(r, "echo", true, &k);
    make_key(r, "other", false, &other);
    start(r);
    void *worker = curve(r, &k), *caller = local(r);
    welcome(worker, "echo", 8, g);
    welcome(caller, "operator", 0, g);
    call(caller, "echo.say", NULL, "x", 1);
    expect(worker, SV_REQUEST, g);
    snprintf(path, sizeof path, "%s/echo.pub", r->keys);
    assert_int_equal(unlink(path), 0);
    loop_post(r->loop, reload, r->driver); /* SIGHUP */
    got *lost = malloc(sizeof *lost);
    expect(caller, SV_REPLY, lost);
    expect_error(lost, "service.lost");
    reply(worker, g); /* too late: nothing it says counts any more */
    expect(worker, SV_GOODBYE, g);
    expect_error(g, "bus.identity");
    hello(worker, "echo", 0, 8);
    call(caller, "echo.say", NULL, "x", 1);
    expect(caller, SV_REPLY, lost);
    expect_error(lost, "service.unknown");
    assert_false(receive(worker, 20, g));

    /* a new key is admitted without a word: the folder changed */
    snprintf(path, sizeof path, "%s/other.pub", r->keys);
    assert_int_equal(keyfile_write(&other, path, false, NULL), 0);
    uint64_t end_us = clock_us() + PATIENCE_MS * 1000u;
    bool in = false;
    while (!in && clock_us() < end_us) {
        void *s = curve(r, &other);
        hello(s, "other", 0, 1);
        in = receive(s, 300, lost) && lost->env.kind == SV_WELCOME;
        close_socket(s);
    }
    assert_true(in);
    close_socket(worker);
    close_socket(caller);
    free(g);
    free(lost);
}

static void put_policy(rig *r, const char *text)
{
    char path[256], tmp[256];
    snprintf(path, sizeof path, "%s/policy.yaml", r->folder);
    snprintf(tmp, sizeof tmp, "%s/policy.new", r->folder);
    FILE *f = fopen(tmp, "w");
    fputs(text, f);
    fclose(f);
    assert_int_equal(rename(tmp, path), 0);
}

/* The code of the answer to bus.ping: it depends on the policy alone. */
static uint32_t ping_bus(void *s, got *g)
{
    call(s, "bus.ping", NULL, "\x80", 1);
    expect(s, SV_REPLY, g);
    return g->env.code;
}

static void policy_on_disk(void **state)
{
    rig *r = *state;
    got *g = malloc(sizeof *g);
    put_policy(r, "deny:\n- {from: operator, call: [bus.ping]}\nallow:\n- {from: \"*\", call: "
                  "\"*\"}\n");
    start(r);
    void *s = local(r);
    welcome(s, "operator", 0, g);
    assert_int_equal(ping_bus(s, g), SV_STATUS_PERMISSION_DENIED);
    put_policy(r, "allow:\n- {from: \"*\", call: \"*\"}\n");
    call(s, "bus.policy", NULL, "\x81\xa6reload\xc3", 9);
    expect(s, SV_REPLY, g);
    assert_int_equal(g->env.code, 0);
    assert_int_equal(ping_bus(s, g), 0);
    /* a bad file changes nothing, and the answer says where it is wrong */
    put_policy(r, "allow:\n- {from: \"*\", cal: \"*\"}\n");
    call(s, "bus.policy", NULL, "\x81\xa6reload\xc3", 9);
    expect(s, SV_REPLY, g);
    assert_non_null(memmem(g->body, g->body_n, "policy.yaml:2", 13));
    assert_int_equal(ping_bus(s, g), 0);
    /* a changed file is found without a word */
    put_policy(r, "deny:\n- {from: operator, call: [bus.ping]}\n");
    uint64_t end_us = clock_us() + PATIENCE_MS * 1000u;
    uint32_t code = 0;
    while (code == 0 && clock_us() < end_us)
        code = ping_bus(s, g);
    assert_int_equal(code, SV_STATUS_PERMISSION_DENIED);
    close_socket(s);
    free(g);
}

int main(void)
{
    log_init("test", 0, LOG_ERROR + 1, 2);
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_killed_worker),
        T(the_end_of_a_process),
        T(a_revoked_key),
        T(policy_on_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
