/*  test_seal.c - published vectors, every changed byte, keys from keys, the root key as a file and as
 *  a descriptor. */
#include "error.h"
#include "harness.h"
#include "root_key_file.h"
#include "seal.h"
#include "sv_limits.h"

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

static uint32_t unhex(const char *hex, uint8_t *to, size_t size)
{
    size_t n = 0;
    assert_int_equal(sodium_hex2bin(to, size, hex, strlen(hex), NULL, &n, NULL), 0);
    return (uint32_t)n;
}

static seal_key *key_of(uint8_t first)
{
    uint8_t b[SEAL_KEY];
    for (uint32_t i = 0; i < SEAL_KEY; i++)
        b[i] = (uint8_t)(first + i);
    seal_key *k = seal_key_from(b);
    assert_non_null(k);
    return k;
}

/* draft-irtf-cfrg-xchacha-03, A.3.1 */
static void test_vector(void **state)
{
    (void)state;
    static const char plain[] =
        "Ladies and Gentlemen of the class of '99: If I could offer you only "
        "one tip for the future, sunscreen would be it.";
    uint8_t sealed[512] = {1, 0xff, 0xfe, 0xfd, 0xfc}, aad[12];
    uint32_t n = 5;
    n += unhex("404142434445464748494a4b4c4d4e4f5051525354555657", sealed + n, sizeof sealed - n);
    n += unhex("bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb"
               "731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452"
               "2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9"
               "21f9664c97637da9768812f615c68b13b52e"
               "c0875924c1c7987947deafd8780acf49",
               sealed + n, sizeof sealed - n);
    sv_str place = {(const char *)aad, unhex("50515253c0c1c2c3c4c5c6c7", aad, sizeof aad)};
    sv_str s = {(const char *)sealed, n};
    seal_key *k = key_of(0x80);
    buf out;
    buf_init(&out, 1024);
    assert_int_equal(seal_open(k, place, s, &out), 0);
    assert_true(sv_str_eq(buf_str(&out), sv_cstr(plain)));
    uint32_t version = 0;
    assert_int_equal(seal_version(s, &version), 0);
    assert_int_equal(version, 0xfffefdfc);
    buf_free(&out);
    seal_key_free(k);
}

/* A copy of exactly n bytes. */
static char *exact(const buf *b, uint32_t n)
{
    char *p = malloc(n ? n : 1);
    assert_non_null(p);
    if (n) memcpy(p, b->p, n);
    return p;
}

static void test_changed_bytes(void **state)
{
    (void)state;
    seal_key *k = seal_key_new(), *other = seal_key_new();
    assert_true(k && other);
    buf sealed, out;
    buf_init(&sealed, 1024);
    buf_init(&out, 1024);
    sv_str place = sv_cstr("acme|users|7|totp"), plain = sv_cstr("sk-live-1234567890");
    assert_int_equal(seal_put(k, 3, place, plain, &sealed), 0);
    assert_int_equal(sealed.n, SEAL_OVERHEAD + plain.n);
    assert_null(memmem(sealed.p, sealed.n, plain.p, plain.n));
    for (size_t i = 0; i < sealed.n; i++) {
        for (int bit = 0; bit < 8; bit++) {
            sealed.p[i] = (char)(sealed.p[i] ^ (1 << bit));
            /* The version is bound by the place, which names it. */
            int want = i == 0 ? SV_E_MALFORMED : i < 5 ? 0 : SV_E_STORE_KEY;
            out.n = 0;
            assert_int_equal(seal_open(k, place, buf_str(&sealed), &out), want);
            assert_int_equal(out.n, want ? 0 : plain.n);
            sealed.p[i] = (char)(sealed.p[i] ^ (1 << bit));
        }
    }
    for (uint32_t n = 0; n < sealed.n; n++) {
        char *p = exact(&sealed, n);
        int want = n < SEAL_OVERHEAD ? SV_E_MALFORMED : SV_E_STORE_KEY;
        uint32_t version;
        assert_int_equal(seal_open(k, place, (sv_str){p, n}, &out), want);
        assert_int_equal(seal_version((sv_str){p, n}, &version), n < SEAL_OVERHEAD ? want : 0);
        free(p);
    }
    assert_int_equal(seal_open(other, place, buf_str(&sealed), &out), SV_E_STORE_KEY);
    assert_int_equal(seal_open(k, sv_cstr("acme|users|8|totp"), buf_str(&sealed), &out),
                     SV_E_STORE_KEY);
    assert_int_equal(seal_open(k, sv_cstr(""), buf_str(&sealed), &out), SV_E_STORE_KEY);
    out.n = 0;
    assert_int_equal(seal_open(k, place, buf_str(&sealed), &out), 0);
    assert_true(sv_str_eq(buf_str(&out), plain));
    buf_free(&sealed);
    buf_free(&out);
    seal_key_free(k);
    seal_key_free(other);
}

static void test_sizes(void **state)
{
    (void)state;
    seal_key *k = seal_key_new();
    buf a, b, out;
    buf_init(&a, 1 << 16);
    buf_init(&b, 1 << 16);
    buf_init(&out, 1 << 16);
    sv_str none = {NULL, 0};
    assert_int_equal(seal_put(k, 1, none, none, &a), 0);
    assert_int_equal(seal_put(k, 1, none, none, &b), 0);
    assert_memory_not_equal(a.p, b.p, a.n); /* the nonce is fresh */
    assert_int_equal(seal_open(k, none, buf_str(&a), &out), 0);
    assert_int_equal(out.n, 0);
    char *big = calloc(1, LIMIT_STORE_ROW_BYTES + 1);
    assert_non_null(big);
    buf_reset(&a, 0);
    assert_int_equal(seal_put(k, 1, none, (sv_str){big, LIMIT_STORE_ROW_BYTES}, &a), 0);
    assert_int_equal(seal_open(k, none, buf_str(&a), &out), 0);
    assert_int_equal(out.n, LIMIT_STORE_ROW_BYTES);
    assert_int_equal(seal_put(k, 1, none, (sv_str){big, LIMIT_STORE_ROW_BYTES + 1}, &b),
                     SV_E_TOO_LARGE);
    buf small;
    buf_init(&small, SEAL_OVERHEAD);
    assert_int_equal(seal_put(k, 1, none, sv_cstr("x"), &small), SV_E_TOO_LARGE);
    assert_int_equal(small.n, 0);
    buf_free(&small);
    free(big);
    buf_free(&a);
    buf_free(&b);
    buf_free(&out);
    seal_key_free(k);
}

static void test_keys_from_keys(void **state)
{
    (void)state;
    seal_key *k = key_of(0), *same = key_of(0), *wrap = seal_key_derive(k, "wrap");
    seal_key *check = seal_key_derive(k, "check"), *wrap2 = seal_key_derive(same, "wrap");
    assert_true(seal_key_same(k, same) && seal_key_same(wrap, wrap2));
    assert_false(seal_key_same(k, wrap) || seal_key_same(wrap, check));
    /* Keyed BLAKE2b-256 of "wrap", by another implementation. */
    uint8_t want[SEAL_KEY];
    unhex("b0bd0dbef4f72e715db72dd1510b1155e5edaa98d0c9c8077d9b1269d474f59c", want, sizeof want);
    assert_memory_equal(seal_key_bytes(wrap), want, sizeof want);
    uint8_t a[16], b[16], c[16];
    seal_key_check(k, a);
    seal_key_check(same, b);
    seal_key_check(wrap, c);
    assert_memory_equal(a, b, 16);
    assert_memory_not_equal(a, c, 16);

    buf sealed;
    buf_init(&sealed, 1024);
    seal_key *back = NULL;
    sv_str place = sv_cstr("kek|1");
    assert_int_equal(seal_wrap(k, 1, place, wrap, &sealed), 0);
    assert_int_equal(seal_unwrap(k, place, buf_str(&sealed), &back), 0);
    assert_true(seal_key_same(back, wrap));
    seal_key_free(back);
    back = NULL;
    assert_int_equal(seal_unwrap(wrap, place, buf_str(&sealed), &back), SV_E_STORE_KEY);
    assert_int_equal(seal_unwrap(k, sv_cstr("kek|2"), buf_str(&sealed), &back), SV_E_STORE_KEY);
    sv_str cut = {sealed.p, (uint32_t)sealed.n - 1};
    assert_int_equal(seal_unwrap(k, place, cut, &back), SV_E_MALFORMED);
    assert_null(back);
    buf_free(&sealed);
    seal_key_free(k);
    seal_key_free(same);
    seal_key_free(wrap);
    seal_key_free(wrap2);
    seal_key_free(check);
    seal_key_free(NULL);
}

static void test_passphrase(void **state)
{
    (void)state;
    struct sysinfo si;
    if (sysinfo(&si) || (si.freeram + si.bufferram) / 1024 * si.mem_unit < 3 * 1024 * 1024) {
        print_message("not enough memory for Argon2id at SENSITIVE cost\n");
        skip();
    }
    static const uint8_t salt[SEAL_SALT] = "salt of 16 bytes";
    seal_key *k = seal_key_stretch(sv_cstr("correct horse"), salt);
    assert_non_null(k);
    uint8_t want[SEAL_KEY];
    /* argon2 -id -t 4 -k 1048576 -p 1 */
    unhex("03efde4ca2c47c2a921ae688a41e34f1bd2eed73be96d4c4acdb713ecac96c43", want, sizeof want);
    assert_memory_equal(seal_key_bytes(k), want, sizeof want);
    seal_key_free(k);
}

/* ---- files ---- */

static char folder[] = "/tmp/samovar-seal-XXXXXX";
static char path[128];

static int setup_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL) return -1;
    snprintf(path, sizeof path, "%s/a/b/root.key", folder);
    return 0;
}

static int teardown_folder(void **state)
{
    (void)state;
    char cmd[64];
    snprintf(cmd, sizeof cmd, "rm -rf %s", folder);
    return system(cmd);
}

static void test_file(void **state)
{
    (void)state;
    seal_key *k = seal_key_new(), *back = NULL, *other = seal_key_new();
    sv_error err = {0};
    assert_int_equal(root_key_read(path, &back, &err), SV_E_NOT_FOUND);
    assert_non_null(strstr(err.message, path));
    mode_t old = umask(0);
    assert_int_equal(root_key_write(path, k, NULL), 0);
    umask(old);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(root_key_read(path, &back, NULL), 0);
    assert_true(seal_key_same(k, back));
    seal_key_free(back);
    back = NULL;
    err = (sv_error){0};
    assert_int_equal(root_key_write(path, other, &err), SV_E_CONFLICT);
    assert_int_equal(root_key_read(path, &back, NULL), 0);
    assert_true(seal_key_same(k, back)); /* the first one stays */
    seal_key_free(back);
    char cmd[160];
    snprintf(cmd, sizeof cmd, "test $(ls %s/a/b | wc -l) = 1", folder);
    assert_int_equal(system(cmd), 0);

    assert_int_equal(chmod(path, 0640), 0);
    err = (sv_error){0};
    assert_int_equal(root_key_read(path, &back, &err), SV_E_CONFIG);
    assert_non_null(strstr(err.message, "chmod 600"));
    assert_int_equal(chmod(path, 0400), 0);
    back = NULL;
    assert_int_equal(root_key_read(path, &back, NULL), 0);
    seal_key_free(back);
    err = (sv_error){0};
    assert_int_equal(root_key_read(folder, &back, &err), SV_E_CONFIG);
    char below[160];
    snprintf(below, sizeof below, "%s/under", path);
    err = (sv_error){0};
    assert_int_equal(root_key_write(below, k, &err), SV_E_IO);
    assert_non_null(strstr(err.message, "cannot be"));
    seal_key_free(k);
    seal_key_free(other);
}

static void test_file_text(void **state)
{
    (void)state;
#define HEX62 "00112233445566778899aabbccddeeff00112233445566778899aabbccddee"
    static const struct {
        const char *text;
        bool ok;
    } t[] = {
        {"samovar-root-key 1 " HEX62 "ff\n", true},
        {"samovar-root-key 1 " HEX62 "ff", true},
        {"samovar-root-key 1 " HEX62 "FF\n", true},
        {"samovar-root-key 1 " HEX62 "ff\n\n", false},
        {"samovar-root-key 1 " HEX62 "ff \n", false},
        {"samovar-root-key 1 " HEX62 "f\n", false},
        {"samovar-root-key 1 " HEX62 "fg\n", false},
        {"samovar-root-key 1  " HEX62 "f\n", false},
        {"samovar-root-key 2 " HEX62 "ff\n", false},
        {"samovar-root-key 1 " HEX62 "ffff\n", false},
        {"", false},
        {"samovar-curve-key 1\n", false},
    };
    char file[160];
    snprintf(file, sizeof file, "%s/text", folder);
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, t[i].text, strlen(t[i].text)), strlen(t[i].text));
        close(fd);
        seal_key *k = NULL;
        sv_error err = {0};
        assert_int_equal(root_key_read(file, &k, &err), t[i].ok ? 0 : SV_E_CONFIG);
        assert_true(t[i].ok == (k != NULL));
        assert_null(strstr(err.message, "00112233")); /* no error tells the key */
        seal_key_free(k);
    }
}

static void test_descriptor(void **state)
{
    (void)state;
    seal_key *k = seal_key_new(), *back = NULL;
    int fd = -1;
    assert_int_equal(root_key_to_fd(k, &fd, NULL), 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(write(fd, "x", 1), -1); /* sealed */
    assert_int_equal(ftruncate(fd, 0), -1);
    for (int i = 0; i < 2; i++) { /* as often as it is inherited */
        assert_int_equal(root_key_from_fd(fd, &back, NULL), 0);
        assert_true(seal_key_same(k, back));
        seal_key_free(back);
    }
    close(fd);
    sv_error err = {0};
    assert_int_equal(root_key_from_fd(fd, &back, &err), SV_E_IO);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    err = (sv_error){0};
    assert_true(root_key_from_fd(null, &back, &err) < 0);
    close(null);
    seal_key_free(k);
}

static void test_hashes(void **state)
{
    (void)state;
    sv_str k = sv_cstr("key"), v = sv_cstr("value");
    uint32_t sum = seal_checksum(k, v);
    assert_int_equal(sum, seal_checksum(k, v));
    assert_int_not_equal(sum, seal_checksum(v, k));
    assert_int_not_equal(sum, seal_checksum(sv_cstr("keyv"), sv_cstr("alue")));
    assert_int_not_equal(sum, seal_checksum(k, sv_cstr("valuf")));
    assert_int_not_equal(seal_checksum(k, (sv_str){NULL, 0}), seal_checksum((sv_str){NULL, 0}, k));
    assert_int_equal(sum, 0x2e11118e); /* on disk: never changes */

    file_hash h;
    char hex[65];
    file_hash_start(&h);
    file_hash_end(&h, hex);
    assert_string_equal(hex, "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8");
    file_hash_start(&h);
    file_hash_add(&h, "a", 1);
    file_hash_add(&h, "", 0);
    file_hash_add(&h, "bc", 2);
    file_hash_end(&h, hex);
    assert_string_equal(hex, "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vector),     cmocka_unit_test(test_changed_bytes),
        cmocka_unit_test(test_sizes),      cmocka_unit_test(test_keys_from_keys),
        cmocka_unit_test(test_passphrase), cmocka_unit_test(test_file),
        cmocka_unit_test(test_file_text),  cmocka_unit_test(test_descriptor),
        cmocka_unit_test(test_hashes),
    };
    return cmocka_run_group_tests(tests, setup_folder, teardown_folder);
}
