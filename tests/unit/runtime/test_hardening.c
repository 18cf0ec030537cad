/*  test_hardening.c - what sv_main sets for its process before anything else: signals that would
 *  end it become errors of the call, and there are no core files. */
#include "samovar.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { FILE_BYTES = 100, CONFIG_REFUSED = 78 };

static const sv_actor actor = {.name = "tester", .version = "1", .doc = "Does nothing."};

/* In a child: an actor that comes no further than its configuration, then `check`, which answers 0
 * or the line that failed. */
static int status_of(int (*check)(void))
{
    char *argv[] = {(char *)"tester", (char *)"--config", (char *)"/nonexistent/samovar.yaml",
                    NULL};
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        signal(SIGXFSZ, SIG_DFL);
        signal(SIGPIPE, SIG_DFL);
        if (freopen("/dev/null", "w", stderr) == NULL) _exit(250);
        _exit(sv_main(3, argv, &actor) == CONFIG_REFUSED ? check() : 251);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

#define MUST(x)                                                                                    \
    if (!(x)) return __LINE__ % 250

static int fill_limited_file(void)
{
    char bytes[2 * FILE_BYTES] = {0};
    FILE *f = tmpfile();
    MUST(f);
    MUST(setrlimit(RLIMIT_FSIZE, &(struct rlimit){FILE_BYTES, FILE_BYTES}) == 0);
    MUST(write(fileno(f), bytes, sizeof bytes) == FILE_BYTES);
    errno = 0;
    MUST(write(fileno(f), bytes, 1) == -1 && errno == EFBIG);
    MUST(ftruncate(fileno(f), sizeof bytes) == -1 && errno == EFBIG);
    return 0;
}

static void a_file_at_its_limit(void **state)
{
    (void)state;
    assert_int_equal(status_of(fill_limited_file), 0);
}

static int write_to_nobody(void)
{
    int ends[2];
    MUST(pipe(ends) == 0);
    close(ends[0]);
    MUST(write(ends[1], "x", 1) == -1 && errno == EPIPE);
    return 0;
}

static void a_pipe_without_a_reader(void **state)
{
    (void)state;
    assert_int_equal(status_of(write_to_nobody), 0);
}

static int look_at_limits(void)
{
    struct rlimit r;
    MUST(getrlimit(RLIMIT_CORE, &r) == 0 && r.rlim_cur == 0 && r.rlim_max == 0);
    MUST(getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur == r.rlim_max);
    return 0;
}

static void no_core_and_all_files(void **state)
{
    (void)state;
    struct rlimit files, fewer;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    fewer = files;
    if (fewer.rlim_cur > 256) fewer.rlim_cur = 256;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &fewer), 0);
    assert_int_equal(status_of(look_at_limits), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_at_its_limit),
        cmocka_unit_test(a_pipe_without_a_reader),
        cmocka_unit_test(no_core_and_all_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
