/*  test_root_key.c - where the root key comes from, when one is made and when not, and that it stays
 *  where it belongs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "error.h"
#include "log.h"
#include "root_key.h"
#include "root_key_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

typedef struct world {
    char dir[64], data[100], key[120], log[100];
    int log_fd;
    config *config;
    sv_error err;
} world;

static void put_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void load(world *w)
{
    config_free(w->config);
    w->config = NULL;
    w->err = (sv_error){.code = 0};
    if (config_load(NULL, &w->config, &w->err)) fail_msg("%s", w->err.message);
}

/* A setting from here on; NULL takes it away. */
static void set(world *w, const char *name, const char *value)
{
    if (value)
        setenv(name, value, 1);
    else
        unsetenv(name);
    load(w);
}

static int setup(void **state)
{
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    strcpy(w->dir, "/tmp/samovar-root.XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->data, sizeof w->data, "%s/data", w->dir);
    snprintf(w->key, sizeof w->key, "%s/config/samovar/root.key", w->dir);
    snprintf(w->log, sizeof w->log, "%s/log", w->dir);
    w->log_fd = open(w->log, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    log_init("test", 0, LOG_INFO, w->log_fd);
    char xdg[100];
    snprintf(xdg, sizeof xdg, "%s/config", w->dir);
    setenv("XDG_CONFIG_HOME", xdg, 1);
    setenv("SAMOVAR_DATA", w->data, 1);
    unsetenv("SAMOVAR_CONFIG");
    unsetenv("SAMOVAR_STORE_ROOT_KEY_FILE");
    unsetenv("SAMOVAR_STORE_PASSPHRASE_FILE");
    unsetenv("CREDENTIALS_DIRECTORY");
    unsetenv("SAMOVAR_ROOT_KEY_FD");
    mkdir(w->data, 0700);
    load(w);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world *w = *state;
    char command[100];
    log_init("test", 0, LOG_INFO, 2);
    close(w->log_fd);
    config_free(w->config);
    snprintf(command, sizeof command, "rm -rf %s", w->dir);
    assert_int_equal(system(command), 0);
    free(w);
    return 0;
}

static const char *log_text(world *w)
{
    static char text[16384];
    ssize_t n = pread(w->log_fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = 0;
    return text;
}

static int get(world *w, seal_key **k, seal_key **next)
{
    w->err = (sv_error){.code = 0};
    *k = *next = NULL;
    return root_key_get(w->config, k, next, &w->err);
}

static seal_key *get_ok(world *w)
{
    seal_key *k, *next;
    if (get(w, &k, &next)) fail_msg("%s", w->err.message);
    assert_null(next);
    return k;
}

static int where(world *w, root_key_source *s)
{
    w->err = (sv_error){.code = 0};
    return root_key_where(w->config, s, &w->err);
}

static void make_environment(world *w)
{
    char path[160];
    snprintf(path, sizeof path, "%s/store", w->data);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/store/router-1", w->data);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/store/router-1/data.mdb", w->data);
    put_file(path, "x");
}

static void makes_one_at_first(void **state)
{
    world *w = *state;
    struct stat st;
    seal_key *k, *next;
    assert_int_equal(root_key_find(w->config, &k, &next, &w->err), SV_E_NOT_FOUND);
    assert_int_equal(access(w->key, F_OK), -1);
    k = get_ok(w);
    assert_int_equal(stat(w->key, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_non_null(strstr(log_text(w), w->key));
    assert_non_null(strstr(log_text(w), "without it their secrets cannot be opened"));
    seal_key *again = get_ok(w);
    assert_true(seal_key_same(k, again));
    assert_int_equal(prctl(PR_GET_DUMPABLE), 0);
    char hex[2 * SEAL_KEY + 1];
    for (int i = 0; i < SEAL_KEY; i++)
        snprintf(hex + 2 * i, 3, "%02x", seal_key_bytes(k)[i]);
    assert_null(strstr(log_text(w), hex));
    seal_key_free(k);
    seal_key_free(again);
}

/* Runs once, when the code looks for environments; the link replaces opendir. */
static void (*before_opendir)(world *);
static world *its_world;

DIR *__real_opendir(const char *path);
DIR *__wrap_opendir(const char *path);
DIR *__wrap_opendir(const char *path)
{
    void (*once)(world *) = before_opendir;
    before_opendir = NULL;
    if (once) once(its_world);
    return __real_opendir(path);
}

/* What another actor does that starts at the same moment: a key, and then an environment. */
static void another_is_faster(world *w)
{
    seal_key *k = seal_key_new();
    assert_int_equal(root_key_write(w->key, k, NULL), 0);
    seal_key_free(k);
    make_environment(w);
}

static void two_start_at_once(void **state)
{
    world *w = *state;
    char path[120];
    snprintf(path, sizeof path, "%s/store", w->data);
    mkdir(path, 0700);
    its_world = w;
    before_opendir = another_is_faster;
    seal_key *mine = get_ok(w), *theirs = NULL;
    assert_null(before_opendir);
    assert_int_equal(root_key_read(w->key, &theirs, NULL), 0);
    assert_true(seal_key_same(mine, theirs));
    seal_key_free(mine);
    seal_key_free(theirs);
}

static void makes_none_when_data_needs_it(void **state)
{
    world *w = *state;
    seal_key *k, *next;
    make_environment(w);
    assert_int_equal(get(w, &k, &next), SV_E_CONFIG);
    assert_non_null(strstr(w->err.message, "put it back"));
    assert_non_null(strstr(w->err.message, w->key));
    assert_int_equal(access(w->key, F_OK), -1);
    char passphrase[120];
    snprintf(passphrase, sizeof passphrase, "%s/words", w->dir);
    put_file(passphrase, "a long enough passphrase\n");
    set(w, "SAMOVAR_STORE_PASSPHRASE_FILE", passphrase);
    assert_int_equal(get(w, &k, &next), SV_E_CONFIG);
    assert_non_null(strstr(w->err.message, "root.salt"));
}

static void places(void **state)
{
    world *w = *state;
    root_key_source s;
    char path[160], want[260];
    assert_int_equal(where(w, &s), 0);
    assert_string_equal(s.path, w->key);
    assert_false(s.read_only || s.passphrase);

    snprintf(path, sizeof path, "%s/home", w->dir);
    unsetenv("XDG_CONFIG_HOME");
    setenv("HOME", path, 1);
    snprintf(want, sizeof want, "%s/.config/samovar/root.key", path);
    assert_int_equal(where(w, &s), 0);
    assert_string_equal(s.path, want);
    unsetenv("HOME");
    assert_int_equal(where(w, &s), SV_E_CONFIG);
    assert_non_null(strstr(w->err.message, "store.root_key_file"));

    /* A credential, when it is there. */
    setenv("CREDENTIALS_DIRECTORY", w->dir, 1);
    assert_int_equal(where(w, &s), SV_E_CONFIG);
    snprintf(path, sizeof path, "%s/samovar.root_key", w->dir);
    put_file(path, "x");
    assert_int_equal(where(w, &s), 0);
    assert_string_equal(s.path, path);
    assert_true(s.read_only);

    /* A setting goes before all. */
    snprintf(path, sizeof path, "%s/own.key", w->dir);
    set(w, "SAMOVAR_STORE_ROOT_KEY_FILE", path);
    assert_int_equal(where(w, &s), 0);
    assert_string_equal(s.path, path);
    snprintf(want, sizeof want, "%s.new", path);
    assert_string_equal(s.next, want);
    set(w, "SAMOVAR_STORE_PASSPHRASE_FILE", path);
    assert_int_equal(where(w, &s), SV_E_CONFIG);
    assert_non_null(strstr(w->err.message, "not both"));
}

static void never_in_the_data_folder(void **state)
{
    world *w = *state;
    root_key_source s;
    char path[300], link[200];
    static const char *const inside[] = {"root.key", "a/b/c/root.key", "store/root.key", "./x"};
    for (size_t i = 0; i < sizeof inside / sizeof *inside; i++) {
        snprintf(path, sizeof path, "%s/%s", w->data, inside[i]);
        set(w, "SAMOVAR_STORE_ROOT_KEY_FILE", path);
        assert_int_equal(where(w, &s), SV_E_CONFIG);
        assert_non_null(strstr(w->err.message, "inside of the data folder"));
    }
    /* By way of a link. */
    snprintf(link, sizeof link, "%s/link", w->dir);
    assert_int_equal(symlink(w->data, link), 0);
    snprintf(path, sizeof path, "%s/root.key", link);
    set(w, "SAMOVAR_STORE_ROOT_KEY_FILE", path);
    assert_int_equal(where(w, &s), SV_E_CONFIG);
    snprintf(path, sizeof path, "%s/real.key", w->data);
    put_file(path, "x");
    snprintf(link, sizeof link, "%s/link.key", w->dir);
    assert_int_equal(symlink(path, link), 0);
    set(w, "SAMOVAR_STORE_ROOT_KEY_FILE", link);
    assert_int_equal(where(w, &s), SV_E_CONFIG);
    /* Beside it is well, with a name that begins the same. */
    snprintf(path, sizeof path, "%s.key", w->data);
    set(w, "SAMOVAR_STORE_ROOT_KEY_FILE", path);
    assert_int_equal(where(w, &s), 0);
    set(w, "SAMOVAR_STORE_PASSPHRASE_FILE", NULL);
}

static void inherited(void **state)
{
    world *w = *state;
    char number[16];
    int fd;
    seal_key *k = seal_key_new(), *got, *next;
    assert_int_equal(root_key_to_fd(k, &fd, NULL), 0);
    snprintf(number, sizeof number, "%d", fd);
    setenv("SAMOVAR_ROOT_KEY_FD", number, 1);
    assert_int_equal(get(w, &got, &next), 0);
    assert_true(seal_key_same(k, got));
    assert_null(getenv("SAMOVAR_ROOT_KEY_FD"));
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    assert_int_equal(access(w->key, F_OK), -1); /* no other was made */
    seal_key_free(got);
    static const char *const wrong[] = {"", "x", "1", "-1", "3x", "99999999999", "777"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        setenv("SAMOVAR_ROOT_KEY_FD", wrong[i], 1);
        assert_true(get(w, &got, &next) < 0);
        assert_null(got);
        assert_null(getenv("SAMOVAR_ROOT_KEY_FD"));
    }
    seal_key_free(k);
}

static void a_change_under_way(void **state)
{
    world *w = *state;
    char path[160];
    seal_key *k = get_ok(w), *new = seal_key_new(), *got, *next;
    w->err = (sv_error){.code = 0};
    assert_int_equal(root_key_next(w->config, &next, &w->err), SV_E_NOT_FOUND);
    snprintf(path, sizeof path, "%s.new", w->key);
    assert_int_equal(root_key_write(path, new, NULL), 0);
    assert_int_equal(get(w, &got, &next), 0);
    assert_true(seal_key_same(got, k) && seal_key_same(next, new));
    seal_key_free(got);
    seal_key_free(next);
    assert_int_equal(root_key_next(w->config, &next, &w->err), 0);
    assert_true(seal_key_same(next, new));
    seal_key_free(next);
    put_file(path, "rubbish\n"); /* must not stop a start */
    assert_int_equal(get(w, &got, &next), 0);
    assert_null(next);
    assert_non_null(strstr(log_text(w), "the next root key cannot be used"));
    seal_key_free(got);
    seal_key_free(k);
    seal_key_free(new);
}

static void wrong_files(void **state)
{
    world *w = *state;
    seal_key *k = get_ok(w), *next;
    seal_key_free(k);
    assert_int_equal(chmod(w->key, 0644), 0);
    assert_int_equal(get(w, &k, &next), SV_E_CONFIG);
    assert_non_null(strstr(w->err.message, "chmod 600"));
    chmod(w->key, 0600);
    put_file(w->key, "not a key\n");
    assert_int_equal(get(w, &k, &next), SV_E_CONFIG);
    char passphrase[120];
    snprintf(passphrase, sizeof passphrase, "%s/words", w->dir);
    put_file(passphrase, "too short\nmuch longer second line\n");
    set(w, "SAMOVAR_STORE_PASSPHRASE_FILE", passphrase);
    assert_int_equal(get(w, &k, &next), SV_E_CONFIG);
    assert_non_null(strstr(w->err.message, "too short"));
}

static void passphrase(void **state)
{
    world *w = *state;
    struct sysinfo si;
    if (sysinfo(&si) || si.freeram / 1024 * si.mem_unit < 3 * 1024 * 1024) {
        print_message("not enough memory for Argon2id at SENSITIVE cost\n");
        skip();
    }
    char path[120], salt[160];
    struct stat st;
    snprintf(path, sizeof path, "%s/words", w->dir);
    put_file(path, "correct horse battery\nis not read\n");
    set(w, "SAMOVAR_STORE_PASSPHRASE_FILE", path);
    seal_key *k = get_ok(w);
    snprintf(salt, sizeof salt, "%s/store/root.salt", w->data);
    assert_int_equal(stat(salt, &st), 0);
    make_environment(w);
    put_file(path, "correct horse battery");
    seal_key *again = get_ok(w);
    assert_true(seal_key_same(k, again));
    seal_key_free(k);
    seal_key_free(again);
    put_file(salt, "samovar-root-salt 1 00\n");
    seal_key *next;
    assert_int_equal(get(w, &k, &next), SV_E_CONFIG);
    assert_non_null(strstr(w->err.message, "root.salt"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(makes_one_at_first),
        T(two_start_at_once),
        T(makes_none_when_data_needs_it),
        T(places),
        T(never_in_the_data_folder),
        T(inherited),
        T(a_change_under_way),
        T(wrong_files),
        T(passphrase),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
