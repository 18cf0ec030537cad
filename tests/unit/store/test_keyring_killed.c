/*  test_keyring_killed.c - rotation and change of the root key by a process that is killed in the
 *  middle, again and again. */
#include "keyring_kit.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

enum { KILLS = 25 };

/* Runs `work` in a process of its own and kills it after some of its steps, told by a pipe. True when
 * it came to its end first. */
static bool run_and_kill(world *w, uint32_t steps, int (*work)(world *w, int step_fd))
{
    int ends[2], status;
    char byte;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(ends[0]);
        _exit(work(w, ends[1]));
    }
    close(ends[1]);
    for (uint32_t i = 0; i < steps && read(ends[0], &byte, 1) == 1; i++) {
    }
    for (volatile uint32_t spin = pick(400000); spin > 0; spin--) {
    }
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(ends[0]);
    if (WIFSIGNALED(status)) return false;
    assert_int_equal(WEXITSTATUS(status), 0);
    return true;
}

static void tell(int fd)
{
    if (write(fd, "s", 1) != 1) _exit(9);
}

static int child_rotates(world *w, int fd)
{
    store_rotation r;
    if (try_open(w, w->root, NULL)) return 2;
    tell(fd);
    if (run_write(w, store_rotate_begin, NULL, &r)) return 3;
    tell(fd);
    while (!r.done) {
        if (run_write(w, store_rotate_some, NULL, &r)) return 4;
        tell(fd);
    }
    return 0;
}

static void test_rotate_killed(void **state)
{
    world *w = *state;
    uint32_t ended = 0, killed = 0;
    fill(w, 0);
    shut(w);
    for (uint32_t i = 0; i < KILLS; i++) {
        if (run_and_kill(w, pick(8), child_rotates))
            ended++;
        else
            killed++;
        open_with(w, w->root, NULL);
        check_rows(w, 0);
        check_store(w);
        shut(w);
    }
    assert_true(killed > 0);
    open_with(w, w->root, NULL);
    rotate(w);
    check_rows(w, 0);
    key_count n = keys_of(w);
    assert_int_equal(n.keks, 1);
    assert_int_equal(n.old_data, 0);
    assert_int_equal(n.data, ORGS + 1);
}

static int child_rekeys(world *w, int fd)
{
    if (try_open(w, w->root, w->next)) return 2;
    tell(fd);
    for (int i = 0; i < 6; i++) { /* there and back */
        if (run_write(w, store_rekey, i % 2 ? w->root : w->next, NULL)) return 3;
        tell(fd);
    }
    return 0;
}

static void test_rekey_killed(void **state)
{
    world *w = *state;
    uint32_t was_old = 0, was_next = 0;
    fill(w, 0);
    store_rotation r;
    write_ok(w, store_rotate_begin, NULL, &r); /* two key-encryption keys, both in use */
    entry_row newer = {.org = sv_cstr("x"), .id = 1, .token = sv_cstr("SECRET-X")};
    write_ok(w, do_put, &newer, NULL);
    shut(w);
    for (uint32_t i = 0; i < KILLS; i++) {
        run_and_kill(w, pick(7), child_rekeys);
        bool old = try_open(w, w->root, NULL) == 0;
        if (!old) open_with(w, w->next, NULL);
        old ? was_old++ : was_next++;
        check_rows(w, 0);
        entry_row back = {.org = sv_cstr("x"), .id = 1};
        assert_int_equal(run_read(w, do_get, NULL, &back), 0);
        shut(w);
        assert_int_equal(try_open(w, old ? w->next : w->root, NULL), SV_E_STORE_KEY);
        open_with(w, w->root, w->next); /* as a process that starts during the change */
        check_rows(w, 0);
        shut(w);
    }
    print_message("with the former key %u times, with the next %u times\n", was_old, was_next);
    assert_true(was_next > 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {T(test_rotate_killed), T(test_rekey_killed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
