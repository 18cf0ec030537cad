/* Key files: written once, read strictly, secrets never readable by others. */
#include "error.h"
#include "harness.h"
#include "keyfile.h"

#include <sys/stat.h>
#include <unistd.h>

static const char pub[] = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID";
static const char sec[] = "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs";
static char folder[64], path[128];

static int setup(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/samovar-keyfile-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/a.key", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char rm[128];
    snprintf(rm, sizeof rm, "rm -rf %s", folder);
    return system(rm) ? -1 : 0;
}

static void put(const char *text, size_t n, mode_t mode)
{
    (void)unlink(path);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    fclose(f);
    assert_int_equal(chmod(path, mode), 0);
}

static void round_trip(void **state)
{
    (void)state;
    keyfile k, back;
    sv_error e = {0};
    struct stat st;
    assert_int_equal(keyfile_new("echo", pub, sec, &k, &e), 0);
    assert_int_equal(keyfile_write(&k, path, true, &e), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(keyfile_read(path, &back, &e), 0);
    assert_string_equal(back.name, "echo");
    assert_string_equal(back.public_key, pub);
    assert_string_equal(back.secret, sec);
    assert_int_equal(keyfile_write(&k, path, true, &e), SV_E_CONFLICT);
    assert_non_null(strstr(e.message, "not replaced"));

    snprintf(path, sizeof path, "%s/a.pub", folder);
    mode_t old = umask(077);
    e = (sv_error){0};
    assert_int_equal(keyfile_write(&k, path, false, &e), 0);
    umask(old);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0644);
    assert_int_equal(keyfile_read(path, &back, &e), 0);
    assert_string_equal(back.secret, "");
    keyfile_clear(&k);
    assert_int_equal(k.secret[0], 0);
    assert_int_equal(k.name[0], 0);
}

static void wrong_values(void **state)
{
    (void)state;
    keyfile k;
    sv_error e = {0};
    assert_int_equal(keyfile_new("Echo", pub, NULL, &k, &e), SV_E_INVALID);
    assert_string_equal(e.field, "name");
    e = (sv_error){0};
    assert_int_equal(keyfile_new("echo", "short", NULL, &k, &e), SV_E_INVALID);
    assert_string_equal(e.field, "public");
    e = (sv_error){0};
    char bad[41];
    strcpy(bad, sec);
    bad[3] = '"';
    assert_int_equal(keyfile_new("echo", pub, bad, &k, &e), SV_E_INVALID);
    assert_string_equal(e.field, "secret");
    assert_null(strstr(e.message, bad + 4)); /* no error holds key text */
    e = (sv_error){0};
    assert_int_equal(keyfile_new("echo", pub, NULL, &k, &e), 0);
    assert_int_equal(keyfile_write(&k, path, true, &e), SV_E_INVALID);
    e = (sv_error){0};
    assert_int_equal(keyfile_write(&k, "/no/such/folder/x.pub", false, &e), SV_E_IO);
}

static void wrong_files(void **state)
{
    (void)state;
    static const struct {
        const char *text, *where;
    } bad[] = {
        {"", ":1:"},
        {"hello\n", ":1:"},
        {"samovar-curve-key 2\nname a\n", ":1:"},
        {"samovar-curve-key 1\n", ":2:"},
        {"samovar-curve-key 1\nname a", ":2:"},
        {"samovar-curve-key 1\npublic a\n", ":2:"},
        {"samovar-curve-key 1\nname A\npublic PUB\n", ":2:"},
        {"samovar-curve-key 1\nname a\npublic tooshort\n", ":3:"},
        {"samovar-curve-key 1\nname a\npublic PUB", ":3:"},
        {"samovar-curve-key 1\nname a\npublic PUB \n", ":3:"},
        {"samovar-curve-key 1\r\nname a\npublic PUB\n", ":1:"},
        {"samovar-curve-key 1\nname a\npublic PUB\nsecret x\n", ":4:"},
        {"samovar-curve-key 1\nname a\npublic PUB\nsecret SEC\n\n", ":5:"},
        {"samovar-curve-key 1\nname a\npublic PUB\nmore\n", ":4:"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[512] = "";
        for (const char *p = bad[i].text; *p;) {
            size_t n = strlen(text);
            bool is_pub = strncmp(p, "PUB", 3) == 0, is_sec = strncmp(p, "SEC", 3) == 0;
            if (is_pub || is_sec) {
                strcat(text, is_pub ? pub : sec);
                p += 3;
            } else {
                text[n] = *p++;
                text[n + 1] = 0;
            }
        }
        put(text, strlen(text), 0600);
        keyfile k = {.name = "kept"};
        sv_error e = {0};
        assert_int_equal(keyfile_read(path, &k, &e), SV_E_CONFIG);
        if (strstr(e.message, bad[i].where) == NULL) fail_msg("%zu: %s", i, e.message);
        assert_null(strstr(e.message, sec));
        assert_string_equal(k.name, "kept"); /* untouched on failure */
    }
    char zeros[100] = "samovar-curve-key 1\nname a\0b\n";
    put(zeros, sizeof zeros, 0600);
    sv_error e = {0};
    keyfile k;
    assert_int_equal(keyfile_read(path, &k, &e), SV_E_CONFIG);
    char *big = calloc(1, 4096);
    memset(big, 'x', 4096);
    put(big, 4096, 0600);
    free(big);
    e = (sv_error){0};
    assert_int_equal(keyfile_read(path, &k, &e), SV_E_CONFIG);
    e = (sv_error){0};
    assert_int_equal(keyfile_read(folder, &k, &e), SV_E_CONFIG);
    e = (sv_error){0};
    assert_int_equal(keyfile_read("/no/such/file", &k, &e), SV_E_NOT_FOUND);
}

static void secrets_are_private(void **state)
{
    (void)state;
    char text[512];
    int n = snprintf(text, sizeof text, "samovar-curve-key 1\nname a\npublic %s\nsecret %s\n", pub,
                     sec);
    keyfile k;
    for (mode_t mode = 0601; mode <= 0677; mode++) {
        sv_error e = {0};
        put(text, (size_t)n, mode);
        assert_int_equal(keyfile_read(path, &k, &e), SV_E_CONFIG);
        assert_non_null(strstr(e.message, "chmod 600"));
    }
    sv_error e = {0};
    put(text, (size_t)n, 0400);
    assert_int_equal(keyfile_read(path, &k, &e), 0);
    /* a FIFO must not make the reader wait */
    (void)unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(keyfile_read(path, &k, &e), SV_E_CONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_values, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_files, setup, teardown),
        cmocka_unit_test_setup_teardown(secrets_are_private, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
