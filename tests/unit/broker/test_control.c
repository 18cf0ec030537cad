/* The supervisor's line: every packet is hostile until it parsed. And the tables behind it. */
#include "harness.h"

#include "conns.h"
#include "control.h"
#include "error.h"
#include "log.h"
#include "procs.h"

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int parse(const char *text, control_command *c)
{
    sv_error e = {0};
    int rc = control_parse(sv_cstr(text), c, &e);
    assert_int_equal(rc != 0, e.message[0] != 0);
    return rc;
}

static void packets(void **state)
{
    (void)state;
    control_command c;
    assert_int_equal(parse("child 4121 router 2", &c), 0);
    assert_int_equal(c.verb, CONTROL_CHILD);
    assert_int_equal(c.pid, 4121);
    assert_string_equal(c.service, "router");
    assert_int_equal(c.instance, 2);
    assert_int_equal(parse("child 1 a 4294967295\n", &c), 0);
    assert_int_equal(c.instance, UINT32_MAX);
    assert_int_equal(parse("exited 4194304", &c), 0);
    assert_int_equal(c.pid, 4194304);
    assert_int_equal(
        parse("signer 00ff000000000000000000000000000000000000000000000000000000000AbC", &c), 0);
    assert_int_equal(c.key[1], 0xff);
    assert_int_equal(c.key[31], 0xbc);
    static const char *const bad[] = {
        "",
        " ",
        "child",
        "child ",
        "child 1",
        "child 1 router",
        "child 1 router ",
        "child 1 router x",
        "child 1 router -1",
        "child 1 router 4294967296",
        "child 1 router 1 1",
        "child 1  router 1",
        "child 0 router 1",
        "child 4194305 router 1",
        "child 99999999999999999999 router 1",
        "child 1 Router 1",
        "child 1 bus 1",
        "child 1 operator 1",
        "child 1 abcdefghijklmnopqrstuvwxy 1",
        "Child 1 router 1",
        "exited",
        "exited 0",
        "exited 1 2",
        "exited 1\n\n",
        "signer",
        "signer 00",
        "signer 00ff000000000000000000000000000000000000000000000000000000000abcd",
        "signer 00ff00000000000000000000000000000000000000000000000000000000zabc",
        "reboot",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (parse(bad[i], &c) != SV_E_INVALID) fail_msg("accepted: \"%s\"", bad[i]);
    static const char nul[] = "exited 1\0";
    assert_int_equal(control_parse((sv_str){nul, sizeof nul}, &c, NULL), SV_E_INVALID);
}

static int refuse(void *arg, const control_command *c, sv_error *err)
{
    ++*(int *)arg;
    return c->pid == 2 ? sv_fail(err, SV_E_OVERLOADED, NULL, "No more.") : 0;
}

static void gone(void *arg)
{
    *(int *)arg += 100;
}

static void line(void **state)
{
    (void)state;
    static const control_events events = {refuse, gone};
    int pair[2], seen = 0;
    char text[300];
    control *c;
    sv_error e = {0};
    loop *l = loop_new(NULL);
    assert_int_equal(control_open(l, 0, &events, &seen, &c, &e), SV_E_CONFIG);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(control_open(l, pair[0], &events, &seen, &c, &e), SV_E_CONFIG);
    close(pair[0]);
    close(pair[1]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    assert_int_equal(control_open(l, pair[1], &events, &seen, &c, &e), 0);
    memset(text, 'x', sizeof text);
    assert_int_equal(send(pair[0], "exited 1", 8, 0), 8);
    assert_int_equal(send(pair[0], "exited 2", 8, 0), 8);
    assert_int_equal(send(pair[0], text, sizeof text, 0), sizeof text);
    static const char *const answers[] = {"ok", "error No more.", "error The line is over"};
    for (size_t i = 0; i < 3; i++) {
        ssize_t n;
        while ((n = recv(pair[0], text, sizeof text - 1, MSG_DONTWAIT)) < 0)
            loop_turn(l, 1000);
        text[n] = 0;
        assert_memory_equal(text, answers[i], strlen(answers[i]));
    }
    assert_int_equal(seen, 2);
    close(pair[0]);
    while (seen < 100)
        loop_turn(l, 1000);
    loop_turn(l, 0);
    assert_int_equal(seen, 102); /* once */
    control_close(c);
    loop_free(l);
}

static void ended(void *arg, uint32_t pid)
{
    *(uint32_t *)arg = pid;
}

static void processes(void **state)
{
    (void)state;
    uint32_t told = 0;
    identity who;
    procs p;
    loop *l = loop_new(NULL);
    procs_init(&p, l, ended, &told);
    procs_identity(&p, 7, &who);
    assert_int_equal(who.kind, IDENTITY_OPERATOR);
    assert_string_equal(who.service, "operator");
    assert_int_equal(procs_announce(&p, 7, "router", 3), 0);
    procs_identity(&p, 7, &who);
    assert_int_equal(who.kind, IDENTITY_SUPERVISED);
    assert_string_equal(who.service, "router");
    assert_int_equal(who.instance, 3);
    assert_int_equal(who.pid, 7);
    assert_int_equal(procs_announce(&p, 7 + PROCS_SLOTS, "edge", 1), 0); /* the same slot */
    procs_retract(&p, 7);
    procs_identity(&p, 7, &who);
    assert_int_equal(who.kind, IDENTITY_OPERATOR);
    procs_identity(&p, 7 + PROCS_SLOTS, &who);
    assert_string_equal(who.service, "edge");
    procs_retract(&p, 7 + PROCS_SLOTS);
    procs_retract(&p, 12345);
    procs_disconnected(&p, 12345);
    assert_int_equal(p.n, 0);

    int go[2];
    assert_int_equal(pipe(go), 0);
    pid_t pid = fork();
    if (pid == 0) {
        char c;
        close(go[1]);
        _exit(read(go[0], &c, 1) == 1);
    }
    close(go[0]);
    assert_true(procs_connected(&p, (uint32_t)pid));
    assert_true(procs_connected(&p, (uint32_t)pid));
    loop_turn(l, 0);
    assert_int_equal(told, 0);
    close(go[1]);
    while (told == 0)
        loop_turn(l, 1000);
    assert_int_equal(told, pid);
    waitpid(pid, NULL, 0);
    procs_disconnected(&p, (uint32_t)pid);
    assert_int_equal(p.n, 1);
    procs_disconnected(&p, (uint32_t)pid);
    assert_int_equal(p.n, 0);
    for (uint32_t i = 1; i <= PROCS_MAX; i++)
        assert_int_equal(procs_announce(&p, 100000 + i, "x", i), 0);
    assert_int_equal(procs_announce(&p, 1, "x", 1), SV_E_OVERLOADED);
    assert_false(procs_connected(&p, 1));
    procs_free(&p);
    loop_free(l);
}

static void connections(void **state)
{
    (void)state;
    conns *t = calloc(1, sizeof *t);
    conn *first = conns_add(t, 0, 5), *other = conns_add(t, 1, 5);
    assert_ptr_equal(conns_find(t, 0, 5), first);
    assert_ptr_equal(conns_find(t, 1, 5), other);
    assert_ptr_equal(conns_get(t, other->id), other);
    assert_int_not_equal(first->id, other->id);
    peer_id old = first->id;
    conns_remove(t, first);
    assert_null(conns_find(t, 0, 5));
    assert_null(conns_get(t, old));
    first = conns_add(t, 0, 5); /* the same connection, but a new number */
    assert_true(first->id > other->id);
    conns_welcome(t, first);
    conns_welcome(t, first);
    assert_int_equal(t->known.n, 1);
    assert_int_equal(t->strangers.n, 1);
    uint32_t rid = 100;
    while (t->strangers.n < CONNS_STRANGERS)
        assert_non_null(conns_add(t, 0, rid++));
    assert_null(conns_add(t, 0, rid));
    assert_ptr_equal(t->strangers.first, other);
    conns_remove(t, other);
    assert_non_null(conns_add(t, 0, rid++));
    while (t->known.n + t->strangers.n < CONNS_MAX) {
        conns_welcome(t, t->strangers.first);
        assert_non_null(conns_add(t, 2, rid++));
    }
    conns_welcome(t, t->strangers.first);
    assert_null(conns_add(t, 2, rid));
    conns_free(t);
    t->last_id = UINT32_MAX;
    assert_null(conns_add(t, 0, 1)); /* a number is never used twice */
    conns_free(t);
    free(t);
}

int main(void)
{
    log_init("test", 0, LOG_ERROR + 1, 2);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packets),
        cmocka_unit_test(line),
        cmocka_unit_test(processes),
        cmocka_unit_test(connections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
