/*  test_schedule.c - when backups are made: the arithmetic, and with a program in the place of
 *  `samovar` that writes down how it was called and ends as the test says. */
#include "schedule.h"

#include "error.h"
#include "log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 20000, HOUR_MS = 3600000 };

static char folder[64];
static loop *l;
static log_mux *mux;
static schedule *s;
static config *c;
static int null_fd, wait_status;

/* ---- the arithmetic ---- */

static void test_wait(void **state)
{
    (void)state;
    const int64_t now_ms = 1700000000000, now_s = now_ms / 1000;
    const uint64_t day = 86400000;
    assert_int_equal(schedule_wait(now_ms, 0, day, 0), 0); /* none yet */
    assert_int_equal(schedule_wait(now_ms, now_s, day, 0), day);
    assert_int_equal(schedule_wait(now_ms, now_s - 3600, day, 0), day - HOUR_MS);
    assert_int_equal(schedule_wait(now_ms, now_s - 86400, day, 0), 0);
    assert_int_equal(schedule_wait(now_ms, now_s - 10 * 86400, day, 0),
                     0);                                                  /* once, not ten times */
    assert_int_equal(schedule_wait(now_ms, now_s + 999999, day, 0), day); /* a clock set back */
    assert_int_equal(schedule_wait(now_ms, now_s, day, 1), 60000);
    assert_int_equal(schedule_wait(now_ms, 0, day, 2), 120000);
    assert_int_equal(schedule_wait(now_ms, 0, day, 7), HOUR_MS);
    assert_int_equal(schedule_wait(now_ms, 0, day, UINT32_MAX), HOUR_MS);
    assert_int_equal(schedule_wait(now_ms, 0, 2000, 1), 1000);
    assert_int_equal(schedule_wait(now_ms, 0, 320000, 1), 20000);
}

/* ---- with processes ---- */

static void put_file(const char *name, const char *text, mode_t mode)
{
    char path[128], tmp[140];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    snprintf(tmp, sizeof tmp, "%s.new", path);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) abort();
    close(fd);
    if (rename(tmp, path)) abort();
}

/* Lines of how it was called. */
static const char *calls(void)
{
    static char text[8192];
    char path[128];
    snprintf(path, sizeof path, "%s/calls", folder);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    if (fd >= 0) close(fd);
    text[n > 0 ? n : 0] = 0;
    return text;
}

static int count(const char *word)
{
    int n = 0;
    for (const char *p = calls(); (p = strstr(p, word)) != NULL; p++)
        n++;
    return n;
}

static void on_child(void *arg, int signo)
{
    (void)arg, (void)signo;
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        if (schedule_ended(s, pid, status)) wait_status = status;
}

static int env(void *arg, env_list *ret)
{
    return env_copy(ret, environ, false, arg, 0);
}

static int make(const char *yaml, sv_error *err)
{
    char path[128];
    put_file("samovar.yaml", yaml, 0600);
    snprintf(path, sizeof path, "%s/samovar.yaml", folder);
    assert_int_equal(config_load(path, &c, NULL), 0);
    schedule_options o = {
        .loop = l, .config = c, .mux = mux, .bin = folder, .env = env, .soon_ms = 10};
    return schedule_new(&s, &o, err);
}

static int setup(void **state)
{
    (void)state;
    static const char program[] =
        "#!/bin/sh\n"
        "cd \"$(dirname \"$0\")\" && echo \"$*\" >> calls\n"
        "case $2 in --list) cat list 2>/dev/null; exit $(cat list_code "
        "2>/dev/null || echo 0);; esac\n"
        "[ -e slow ] && exec sleep 60\n"
        "code=$(cat code)\n"
        "[ $code = 1 ] || [ $2 = --copy-only ] || date -u +%Y%m%dT%H%M%SZ >> list\n"
        "exit $code\n";
    strcpy(folder, "/tmp/test_schedule.XXXXXX");
    assert_non_null(mkdtemp(folder));
    put_file("samovar", program, 0700);
    put_file("code", "0", 0600);
    null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    l = loop_new(NULL);
    mux = log_mux_new(l, null_fd, LOG_FORMAT_JSON, NULL);
    assert_int_equal(loop_signal(l, SIGCHLD, on_child, NULL), 0);
    s = NULL;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    schedule_free(s);
    log_mux_free(mux, 0);
    loop_free(l);
    config_free(c);
    close(null_fd);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

#define UNTIL(condition)                                                                           \
    do {                                                                                           \
        uint64_t until_us = clock_us() + PATIENCE_MS * 1000ull;                                    \
        while (!(condition)) {                                                                     \
            if (clock_us() > until_us)                                                             \
                fail_msg("waited in vain for %s; calls:\n%s", #condition, calls());                \
            loop_turn(l, 50);                                                                      \
        }                                                                                          \
    } while (0)

static void list_now(int64_t ago_s)
{
    char name[32];
    time_t at = time(NULL) - ago_s;
    struct tm t;
    gmtime_r(&at, &t);
    strftime(name, sizeof name, "%Y%m%dT%H%M%SZ\n", &t);
    put_file("list", name, 0600);
}

static void test_settings(void **state)
{
    (void)state;
    sv_error err = {.code = 0};
    assert_int_equal(make("backup: {dir: /x}\n", &err), 0);
    assert_null(s); /* never */
    schedule_begin(s);
    schedule_stop(s);
    assert_false(schedule_ended(s, 1, 0));
    config_free(c);
    assert_int_equal(make("backup: {every: 1h}\n", &err), SV_E_CONFIG);
    assert_non_null(strstr(err.message, "backup.dir"));
    config_free(c);
    err = (sv_error){.code = 0};
    assert_int_equal(make("backup: {every: 5ms, dir: /x}\n", &err), SV_E_CONFIG);
}

static void test_overdue_then_regular(void **state)
{
    (void)state;
    put_file("list", "20200101T000000Z\n20210101T000000Z\n", 0600);
    assert_int_equal(make("backup: {dir: /some where, every: 1s, keep: 4}\n", NULL), 0);
    schedule_begin(s);
    schedule_begin(s);
    UNTIL(count("--keep") >= 1);
    assert_string_equal(calls(), "backup --list -- /some where\nbackup --keep 4 -- /some where\n");
    UNTIL(count("--keep") >= 3);
    assert_true(count("--list") >= 3); /* the folder is looked at before each */
    list_now(-7200);                   /* from the future: not at once, and not never */
    int made = count("--keep");
    UNTIL(count("--keep") >= made + 2);
}

static void test_not_due(void **state)
{
    (void)state;
    list_now(0);
    assert_int_equal(make("backup: {dir: /x, every: 2h}\n", NULL), 0);
    schedule_begin(s);
    UNTIL(count("--list") >= 1);
    for (int i = 0; i < 20; i++)
        loop_turn(l, 5);
    assert_int_equal(count("--keep"), 0);
}

static void test_failures_are_repeated(void **state)
{
    (void)state;
    put_file("code", "1", 0600);
    assert_int_equal(make("backup: {dir: /x, every: 1h}\n", NULL), 0);
    schedule_begin(s);
    UNTIL(count("--keep") >= 1 && wait_status);
    assert_int_equal(WEXITSTATUS(wait_status), 1);
    schedule_free(s);
    config_free(c);
    assert_int_equal(make("backup: {dir: /x, every: 1s}\n", NULL), 0);
    schedule_begin(s);
    UNTIL(count("--keep") >= 3);
    assert_int_equal(count("--copy-only"), 0);
}

static void test_a_folder_that_cannot_be_read(void **state)
{
    (void)state;
    put_file("list_code", "1", 0600);
    assert_int_equal(make("backup: {dir: /x, every: 1s}\n", NULL), 0);
    schedule_begin(s);
    UNTIL(count("--list") >= 3);
    assert_int_equal(count("--keep"), 0);
    put_file("list_code", "0", 0600);
    UNTIL(count("--keep") >= 1);
}

static void test_only_the_copy_is_repeated(void **state)
{
    (void)state;
    put_file("code", "3", 0600);
    assert_int_equal(make("backup: {dir: /x, every: 6s, keep: 2}\n", NULL), 0);
    schedule_begin(s);
    UNTIL(count("--copy-only") >= 2);
    assert_int_equal(count("backup --keep"), 1);
    put_file("code", "0", 0600);
    int copied = count("--copy-only");
    UNTIL(count("backup --keep") >= 2); /* it goes on as before */
    assert_true(count("--copy-only") <= copied + 1);
}

/* After a restart the newest one is copied if it was not. */
static void test_copy_after_start(void **state)
{
    (void)state;
    list_now(10);
    assert_int_equal(
        make("backup: {dir: /x, every: 1h, keep: 2, s3_url: 'http://127.0.0.1:1/b'}\n", NULL), 0);
    schedule_begin(s);
    UNTIL(count("--copy-only") >= 1);
    UNTIL(count("--list") >= 2);
    assert_string_equal(calls(), "backup --list -- /x\nbackup --copy-only --keep 2 -- /x\n"
                                 "backup --list -- /x\n");
}

static void test_stop_kills(void **state)
{
    (void)state;
    put_file("slow", "", 0600);
    wait_status = 0;
    assert_int_equal(make("backup: {dir: /x, every: 1s}\n", NULL), 0);
    schedule_begin(s);
    UNTIL(count("--keep") >= 1);
    schedule_stop(s);
    UNTIL(WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGKILL);
    for (int i = 0; i < 20; i++)
        loop_turn(l, 5);
    assert_int_equal(count("--keep"), 1);
}

#define WITH_FOLDER(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wait),
        WITH_FOLDER(test_settings),
        WITH_FOLDER(test_overdue_then_regular),
        WITH_FOLDER(test_not_due),
        WITH_FOLDER(test_failures_are_repeated),
        WITH_FOLDER(test_a_folder_that_cannot_be_read),
        WITH_FOLDER(test_only_the_copy_is_repeated),
        WITH_FOLDER(test_copy_after_start),
        WITH_FOLDER(test_stop_kills),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
