/*  test_manifest.c - a manifest comes back as it was written; an edited one is refused with words;
 *  names of backups; what is an environment and what is not. */
#include "error.h"
#include "manifest.h"
#include "places.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define FILE_1                                                                                     \
    "{\"file\":\"router-1.mdb\",\"bytes\":4096,\"blake2b_256\":\"" HASH                            \
    "\",\"service\":\"router\",\"instance\":1,\"version\":1,\"epoch\":2,\"last_txn\":3}"

static char folder[64];

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/samovar-manifest.XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static void write_text(const char *text)
{
    char path[96];
    snprintf(path, sizeof path, "%s/MANIFEST.json", folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void test_round_trip(void **state)
{
    (void)state;
    manifest m = {.created = "2025-01-31T12:00:00Z",
                  .root_salt = "00112233445566778899aabbccddeeff"},
             back;
    sv_error err = {.code = 0};
    for (uint32_t i = 1; i <= 5; i++) {
        manifest_file f = {
            .instance = i, .bytes = 4096ULL * i, .version = i, .epoch = 7, .last_txn = 1ULL << 40};
        snprintf(f.service, sizeof f.service, "%s", i == 5 ? "workspace" : "router");
        snprintf(f.hash, sizeof f.hash, "%s", HASH);
        assert_int_equal(manifest_add(&m, &f), 0);
    }
    assert_int_equal(manifest_write(&m, folder, &err), 0);
    assert_int_not_equal(manifest_write(&m, folder, NULL), 0); /* never over another */
    if (manifest_read(folder, &back, &err)) fail_msg("%s", err.message);
    assert_string_equal(back.created, m.created);
    assert_string_equal(back.root_salt, m.root_salt);
    assert_int_equal(back.n, 5);
    assert_memory_equal(back.file, m.file, 5 * sizeof *m.file);
    manifest_free(&m);
    manifest_free(&back);
}

static void test_edited(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
        const char *words;
    } cases[] = {
        {"", SV_E_MALFORMED, ""},
        {"{", SV_E_MALFORMED, ""},
        {"[]", SV_E_MALFORMED, "format"},
        {"{\"format\":1}", SV_E_MALFORMED, "created"},
        {"{\"format\":2,\"created\":\"x\",\"files\":[]}", SV_E_VERSION, "format 2"},
        {"{\"format\":1,\"format\":1}", SV_E_DUPLICATE_KEY, ""},
        {"{\"format\":1,\"created\":\"x\"}", SV_E_MALFORMED, "files"},
        {"{\"format\":1,\"created\":\"x\",\"root_salt\":\"../..\",\"files\":[]}", SV_E_MALFORMED,
         "root_salt"},
        {"{\"format\":1,\"created\":\"x\",\"files\":[1]}", SV_E_MALFORMED, "service"},
        {"{\"format\":1,\"created\":\"x\",\"files\":[" FILE_1 "," FILE_1 "]}", SV_E_MALFORMED,
         "twice"},
        {"{\"format\":1,\"created\":\"2025-01-31T12:00:00Z and more than fits\",\"files\":[]}",
         SV_E_MALFORMED, "created"},
        {"{\"format\":1,\"created\":\"x\",\"files\":[{\"service\":\"../x\"}]}", SV_E_MALFORMED,
         "service"},
        {"{\"format\":1,\"created\":\"x\",\"files\":[{\"service\":\"\"}]}", SV_E_MALFORMED,
         "service"},
        {"{\"format\":1,\"created\":\"x\",\"files\":[{\"service\":\"a\\u0000b\"}]}", SV_E_MALFORMED,
         ""},
        {"{\"format\":1,\"created\":\"x\",\"files\":[{\"service\":\"router\",\"instance\":0}]}",
         SV_E_MALFORMED, "instance"},
        {"{\"format\":1,\"created\":\"x\",\"files\":[{\"service\":\"router\",\"instance\":"
         "4294967296}]}",
         SV_E_MALFORMED, "instance"},
        {"{\"format\":1,\"created\":\"x\",\"files\":[{\"service\":\"router\",\"instance\":1,"
         "\"file\":\"/etc/passwd\"}]}",
         SV_E_MALFORMED, "SERVICE-N.mdb"},
        {"{\"format\":1,\"created\":\"x\",\"files\":[{\"service\":\"router\",\"instance\":1,"
         "\"file\":\"router-1.mdb\",\"blake2b_256\":\"0123\"}]}",
         SV_E_MALFORMED, "blake2b_256"},
        {"{\"format\":1,\"created\":\"x\",\"files\":[{\"service\":\"router\",\"instance\":1,"
         "\"file\":\"router-1.mdb\",\"blake2b_256\":\"" HASH "\",\"bytes\":-1}]}",
         SV_E_MALFORMED, "bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        manifest m;
        sv_error err = {.code = 0};
        write_text(cases[i].text);
        int rc = manifest_read(folder, &m, &err);
        if (rc != cases[i].code || err.code != rc || strstr(err.message, cases[i].words) == NULL)
            fail_msg("%s: %d %s", cases[i].text, rc, err.message);
    }
    manifest m;
    write_text("{\"format\":1,\"created\":\"x\",\"more\":{},\"files\":[" FILE_1 "]}");
    assert_int_equal(manifest_read(folder, &m, NULL), 0); /* what is not known is left alone */
    assert_int_equal(m.n, 1);
    manifest_free(&m);
    assert_int_equal(manifest_read("/nonexistent", &m, NULL), SV_E_NOT_FOUND);
}

static void test_names(void **state)
{
    (void)state;
    char name[MANIFEST_NAME + 1];
    manifest_name(1738324800, name);
    assert_string_equal(name, "20250131T120000Z");
    assert_true(manifest_is_name(name));
    static const char *const others[] = {
        "",  "20250131T120000", "20250131T120000Z.partial", "20250131-120000Z", "2025O131T120000Z",
        ".."};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(manifest_is_name(others[i]));
}

static void test_places(void **state)
{
    (void)state;
    static const char *const made[] = {"router-10",
                                       "router-2",
                                       "auth-1",
                                       "router-2.before-restore",
                                       "router-2.restore",
                                       "router-02",
                                       "router-",
                                       "-3",
                                       "Router-1",
                                       "router-0",
                                       "router-99999999999",
                                       "mail-1"};
    char path[160];
    sv_error err = {.code = 0};
    config *c;
    places p;
    setenv("SAMOVAR_DATA", folder, 1);
    assert_int_equal(config_load(NULL, &c, NULL), 0);
    assert_int_equal(places_find(&p, c, NULL, &err), SV_E_NOT_FOUND);
    places_free(&p);
    snprintf(path, sizeof path, "%s/store", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        snprintf(path, sizeof path, "%s/store/%s", folder, made[i]);
        assert_int_equal(mkdir(path, 0700), 0);
        snprintf(path, sizeof path, "%s/store/%s/data.mdb", folder, made[i]);
        if (strcmp(made[i], "mail-1") != 0) fclose(fopen(path, "w"));
    }
    assert_int_equal(places_find(&p, c, NULL, &err), 0);
    assert_int_equal(p.n, 3); /* by service and number; a folder without data is none */
    assert_string_equal(p.list[0].name, "auth/1");
    assert_string_equal(p.list[1].name, "router/2");
    assert_string_equal(p.list[2].name, "router/10");
    assert_string_equal(p.list[2].file, "router-10");
    places_free(&p);
    assert_int_equal(places_find(&p, c, "router", NULL), 0);
    assert_int_equal(p.n, 2);
    places_free(&p);
    assert_int_equal(places_find(&p, c, "router/10", NULL), 0);
    assert_int_equal(p.n, 1);
    places_free(&p);
    assert_int_equal(places_find(&p, c, "router/1", NULL), SV_E_NOT_FOUND);
    places_free(&p);
    config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_edited, setup, teardown),
        cmocka_unit_test(test_names),
        cmocka_unit_test_setup_teardown(test_places, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
