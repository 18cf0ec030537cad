/*  test_env_lock.c - one holder at a time, whatever became of the last one and whatever the lock
 *  file says. */
#include "engine_kit.h"

#include "env_lock.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static char root[128], folder[160], owner[200];

/* The folders below `base` that were synced, a line each, with a + where "n" was in it already. */
static char synced[512], base[PATH_MAX];

int fsync(int fd)
{
    char link[64], path[PATH_MAX], inside[PATH_MAX + 8];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    snprintf(inside, sizeof inside, "%s/n", path);
    size_t used = strlen(synced), skip = strlen(base);
    if (strncmp(path, base, skip) == 0)
        snprintf(synced + used, sizeof synced - used, "%s%s\n", path + skip,
                 access(inside, F_OK) == 0 ? "+" : "");
    return (int)syscall(SYS_fsync, fd);
}

static int setup(void **state)
{
    (void)state;
    kit_folder(root, sizeof root);
    snprintf(folder, sizeof folder, "%s/env", root);
    snprintf(owner, sizeof owner, "%s/owner", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    kit_remove(root);
    return 0;
}

static void take(env_lock *l)
{
    sv_error err = {0};
    kit_ok(env_lock_take(l, folder, "router", &err), &err);
}

static const char *line(void)
{
    static char text[256];
    FILE *f = fopen(owner, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    return text;
}

static void write_owner(const char *bytes, size_t n)
{
    FILE *f = fopen(owner, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

static void take_note_give(void **state)
{
    (void)state;
    env_lock l;
    sv_error err = {0};
    struct stat st;
    char want[100];
    assert_int_equal(env_lock_holder(folder), 0);
    take(&l);
    assert_int_equal(stat(folder, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(stat(owner, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(fcntl(l.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(env_lock_holder(folder), getpid());
    kit_ok(env_lock_note(&l, "router", 12345678901234567890u, &err), &err);
    snprintf(want, sizeof want, "%d 12345678901234567890 router\n", (int)getpid());
    assert_string_equal(line(), want);
    kit_ok(env_lock_note(&l, "router", 7, &err), &err);
    snprintf(want, sizeof want, "%d 7 router\n", (int)getpid());
    assert_string_equal(line(), want);
    env_lock_give(&l);
    assert_int_equal(l.fd, -1);
    env_lock_give(&l);
    assert_int_equal(env_lock_holder(folder), 0);
}

/* The second one is told who has it, also within one process. */
static void one_holder(void **state)
{
    (void)state;
    env_lock l, second = {.fd = 99};
    sv_error err = {0};
    char pid[32];
    take(&l);
    assert_int_equal(env_lock_take(&second, folder, "router", &err), SV_E_STORE_LOCKED);
    assert_int_equal(second.fd, -1);
    snprintf(pid, sizeof pid, "process %d ", (int)getpid());
    assert_non_null(strstr(err.message, pid));
    env_lock_give(&l);
    take(&second);
    env_lock_give(&second);
}

/* Another process has it, and loses it by kill -9. */
static void killed_holder(void **state)
{
    (void)state;
    int told[2];
    char c;
    assert_int_equal(pipe(told), 0);
    pid_t child = fork();
    if (child == 0) {
        env_lock l;
        take(&l);
        (void)!write(told[1], "x", 1);
        for (;;)
            pause();
    }
    assert_int_equal(read(told[0], &c, 1), 1);
    env_lock l;
    sv_error err = {0};
    char pid[32];
    assert_int_equal(env_lock_take(&l, folder, "router", &err), SV_E_STORE_LOCKED);
    snprintf(pid, sizeof pid, "process %d ", (int)child);
    assert_non_null(strstr(err.message, pid));
    assert_int_equal(env_lock_holder(folder), child);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_int_equal(env_lock_holder(folder), 0);
    take(&l);
    assert_int_equal(env_lock_holder(folder), getpid());
    env_lock_give(&l);
    close(told[0]);
    close(told[1]);
}

/* Nothing in the file is trusted; what is held stays held. */
static void hostile_content(void **state)
{
    (void)state;
    char zeros[300] = {0}, digits[300], noise[5000];
    memset(digits, '9', sizeof digits);
    memset(noise, 0xff, sizeof noise);
    const struct {
        const char *bytes;
        size_t n;
        int pid; /* that is named */
    } cases[] = {
        {"", 0, 0},
        {"\n", 1, 0},
        {"-1 1 router\n", 12, 0},
        {"0 1 x\n", 6, 0},
        {"1234", 4, 0},
        {"4321 7 x\n", 9, 4321},
        {" 12 1 x", 7, 0},
        {"%s%n%s 1 x", 10, 0},
        {zeros, sizeof zeros, 0},
        {digits, 300, 0},
        {noise, 5000, 0},
        {"999999999 1 x", 13, 999999999},
        {"9999999999 1 x", 14, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        env_lock l, second;
        sv_error err = {0};
        mkdir(folder, 0700);
        write_owner(cases[i].bytes, cases[i].n);
        assert_int_equal(env_lock_holder(folder), 0);
        take(&l);
        write_owner(cases[i].bytes, cases[i].n);
        assert_int_equal(env_lock_holder(folder), cases[i].pid ? cases[i].pid : INT_MAX);
        assert_int_equal(env_lock_take(&second, folder, "router", &err), SV_E_STORE_LOCKED);
        char text[32];
        snprintf(text, sizeof text, "process %d ", cases[i].pid);
        assert_int_equal(strstr(err.message, text) != NULL, cases[i].pid != 0);
        env_lock_give(&l);
    }
}

/* A service's name is cut, not trusted with the line's length. */
static void long_name(void **state)
{
    (void)state;
    env_lock l;
    sv_error err = {0};
    char name[1000];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    kit_ok(env_lock_take(&l, folder, name, &err), &err);
    assert_true(strlen(line()) < 100);
    assert_int_equal(env_lock_holder(folder), getpid());
    env_lock_give(&l);
}

/* The file was removed while it was held: the next one locks the new file, and the holder is not
 * disturbed. (That there are two now is found out by the epoch.) */
static void removed_file(void **state)
{
    (void)state;
    env_lock l, second;
    take(&l);
    unlink(owner);
    assert_int_equal(env_lock_holder(folder), 0);
    take(&second);
    assert_int_equal(env_lock_holder(folder), getpid());
    env_lock_give(&l);
    assert_int_equal(env_lock_holder(folder), getpid());
    env_lock_give(&second);
}

/* Who asks for the holder takes the lock for a moment; that is no reason to be refused. */
static void asking_does_not_disturb(void **state)
{
    (void)state;
    mkdir(folder, 0700);
    int stop[2];
    assert_int_equal(pipe2(stop, O_NONBLOCK), 0);
    pid_t child = fork();
    if (child == 0) {
        char c;
        while (read(stop[0], &c, 1) < 0)
            env_lock_holder(folder);
        _exit(0);
    }
    for (int i = 0; i < 300; i++) {
        env_lock l;
        take(&l);
        env_lock_give(&l);
    }
    assert_int_equal(write(stop[1], "x", 1), 1);
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    close(stop[0]);
    close(stop[1]);
}

static void folders(void **state)
{
    (void)state;
    env_lock l;
    sv_error err = {0};
    char path[400];
    /* Parents are made. */
    snprintf(path, sizeof path, "%s/a/b//c/", root);
    kit_ok(env_lock_take(&l, path, "router", &err), &err);
    env_lock_give(&l);
    /* A file where a folder should be; a folder, a link and a pipe where the file should be. */
    snprintf(path, sizeof path, "%s/a/b/c/owner/deeper", root);
    assert_int_equal(env_lock_take(&l, path, "router", &err), SV_E_IO);
    assert_non_null(strstr(err.message, "Not a directory"));
    mkdir(folder, 0700);
    mkdir(owner, 0700);
    err = (sv_error){0};
    assert_int_equal(env_lock_take(&l, folder, "router", &err), SV_E_IO);
    rmdir(owner);
    assert_int_equal(symlink("/etc/passwd", owner), 0);
    err = (sv_error){0};
    assert_int_equal(env_lock_take(&l, folder, "router", &err), SV_E_IO);
    assert_int_equal(env_lock_holder(folder), 0);
    unlink(owner);
    mkfifo(owner, 0600);
    err = (sv_error){0};
    assert_int_equal(env_lock_take(&l, folder, "router", &err), SV_E_IO);
    unlink(owner);
    char *longest = malloc(6000);
    memset(longest, 'f', 5999);
    longest[5999] = '\0';
    err = (sv_error){0};
    assert_int_equal(env_lock_take(&l, longest, "router", &err), SV_E_IO);
    assert_int_equal(env_lock_holder(longest), 0);
    free(longest);
    err = (sv_error){0};
    assert_int_equal(env_lock_take(&l, "", "router", &err), SV_E_IO);
    assert_int_equal(l.fd, -1);
}

/* The name of each folder that is made is on the disk before anything is put into it; what was
 * there is left alone. */
static void new_folders_are_synced(void **state)
{
    (void)state;
    env_lock l;
    sv_error err = {0};
    char path[400], before[PATH_MAX];
    assert_non_null(realpath(root, base));
    assert_non_null(getcwd(before, sizeof before));
    synced[0] = '\0';
    snprintf(path, sizeof path, "%s/n/n//n", root);
    kit_ok(env_lock_take(&l, path, "router", &err), &err);
    env_lock_give(&l);
    assert_string_equal(synced, "+\n/n+\n/n/n+\n");
    synced[0] = '\0';
    kit_ok(env_lock_take(&l, path, "router", &err), &err);
    env_lock_give(&l);
    assert_string_equal(synced, "");
    /* From where the process stands: one name, then two. */
    assert_int_equal(chdir(path), 0);
    kit_ok(env_lock_take(&l, "n", "router", &err), &err);
    env_lock_give(&l);
    kit_ok(env_lock_take(&l, "n/n/", "router", &err), &err);
    env_lock_give(&l);
    assert_int_equal(chdir(before), 0);
    assert_string_equal(synced, "/n/n/n+\n/n/n/n/n+\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(take_note_give, setup, teardown),
        cmocka_unit_test_setup_teardown(one_holder, setup, teardown),
        cmocka_unit_test_setup_teardown(killed_holder, setup, teardown),
        cmocka_unit_test_setup_teardown(hostile_content, setup, teardown),
        cmocka_unit_test_setup_teardown(long_name, setup, teardown),
        cmocka_unit_test_setup_teardown(removed_file, setup, teardown),
        cmocka_unit_test_setup_teardown(asking_does_not_disturb, setup, teardown),
        cmocka_unit_test_setup_teardown(folders, setup, teardown),
        cmocka_unit_test_setup_teardown(new_folders_are_synced, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
