/*  test_files.c - files as the store keeps them: who sees what, what is reserved, bytes that come
 *  twice, and what was never finished. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "files_kit.h"

enum { HOUR_MS = 3600 * 1000 };

static int begin(void **state)
{
    kit_limits = (file_limits){.user_bytes = 1 << 30, .org_bytes = 1 << 30, .org_files = 10000};
    return kit_start(state);
}

static void a_file_appears_when_it_is_finished(void **state)
{
    (void)state;
    char id[FILE_ID + 1], bytes[5000], back[5000];
    uint64_t received;
    file f;
    file_finish_result result;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 7 + i / 256);
    assert_int_equal(kit_begin(&kit_anna, "a b.txt", sizeof bytes, id), 0);
    assert_int_equal(kit_append(&kit_anna, id, 0, bytes, 3000, &received), 0);
    assert_int_equal(kit_look(file_look, &kit_anna, id, &f), SV_E_NOT_FOUND);
    assert_int_equal(kit_delete(&kit_anna, id), SV_E_NOT_FOUND);
    assert_int_equal(kit_finish(&kit_anna, id, sizeof bytes, &result), SV_E_CONFLICT);
    kit_again();
    assert_int_equal(kit_append(&kit_anna, id, 3000, bytes + 3000, 2000, &received), 0);
    assert_int_equal(received, sizeof bytes);
    assert_int_equal(kit_finish(&kit_anna, id, sizeof bytes - 1, &result), SV_E_CONFLICT);
    assert_int_equal(kit_finish(&kit_anna, id, sizeof bytes, &result), 0);
    assert_true(result.fresh[0]);
    assert_int_equal(kit_look(file_look, &kit_bob, id, &f), 0);
    assert_string_equal(f.name, "a b.txt");
    assert_string_equal(f.user, "anna");
    assert_int_equal(f.size, sizeof bytes);
    assert_int_equal(f.created, kit_now_ms);
    file_piece p = {.who = &kit_vera, .id = sv_cstr(id), .offset = 1, .n = 4990, .to = back};
    arena a;
    arena_init(&a, 1 << 20);
    assert_int_equal(kit_read(file_read_piece, &p, &p, &a), 0);
    assert_int_equal(p.got, 4990);
    assert_memory_equal(back, bytes + 1, 4990);
    p.offset = sizeof bytes;
    assert_int_equal(kit_read(file_read_piece, &p, &p, &a), 0);
    assert_int_equal(p.got, 0);
    arena_free(&a);
    assert_int_equal(kit_finish(&kit_anna, id, sizeof bytes, &result), 0); /* again */
    assert_false(result.fresh[0]);
    assert_int_equal(kit_append(&kit_anna, id, 0, bytes, 10, &received), SV_E_NOT_FOUND);
    kit_now_ms += 2 * HOUR_MS;
    int64_t n;
    assert_int_equal(kit_write(files_expire, NULL, &n), 0);
    assert_int_equal(n, 0); /* finished ones stay */
    assert_int_equal(kit_look(file_look, &kit_anna, id, &f), 0);
}

static void an_empty_file(void **state)
{
    (void)state;
    char id[FILE_ID + 1], byte;
    file_finish_result result;
    arena a;
    assert_int_equal(kit_begin(&kit_anna, "empty", 0, id), 0);
    assert_int_equal(kit_finish(&kit_anna, id, 0, &result), 0);
    file_piece p = {.who = &kit_anna, .id = sv_cstr(id), .n = 1, .to = &byte, .got = 9};
    arena_init(&a, 1 << 20);
    assert_int_equal(kit_read(file_read_piece, &p, &p, &a), 0);
    assert_int_equal(p.got, 0);
    arena_free(&a);
    assert_int_equal(kit_delete(&kit_anna, id), 0);
    assert_int_equal(kit_usage("org", "org-a").files, 0);
}

static void bytes_that_come_twice_count_once(void **state)
{
    (void)state;
    char id[FILE_ID + 1], back[8];
    uint64_t received;
    assert_int_equal(kit_begin(&kit_anna, "x", 8, id), 0);
    assert_int_equal(kit_append(&kit_anna, id, 0, "abcd", 4, &received), 0);
    assert_int_equal(kit_append(&kit_anna, id, 0, "abcd", 4, &received), 0);
    assert_int_equal(received, 4);
    assert_int_equal(kit_append(&kit_anna, id, 2, "cdef", 4, &received), 0);
    assert_int_equal(received, 6);
    assert_int_equal(kit_append(&kit_anna, id, 7, "h", 1, &received), SV_E_CONFLICT);
    assert_non_null(strstr(kit_error.message, "go on at 6"));
    assert_int_equal(kit_append(&kit_anna, id, 6, "ghi", 3, &received), SV_E_OUT_OF_RANGE);
    assert_int_equal(kit_append(&kit_anna, id, 9, "", 0, &received), SV_E_OUT_OF_RANGE);
    assert_int_equal(kit_append(&kit_anna, id, 6, "gh", 2, &received), 0);
    assert_int_equal(received, 8);
    file_piece p = {.who = &kit_anna, .id = sv_cstr(id), .own = true, .n = 8, .to = back};
    arena a;
    arena_init(&a, 1 << 20);
    assert_int_equal(kit_read(file_read_piece, &p, &p, &a), 0);
    assert_memory_equal(back, "abcdefgh", 8);
    p.own = false;
    assert_int_equal(kit_read(file_read_piece, &p, &p, &a), SV_E_NOT_FOUND);
    arena_free(&a);
}

static void other_organizations_files_do_not_exist(void **state)
{
    (void)state;
    char open[FILE_ID + 1], done[FILE_ID + 1];
    uint64_t received;
    int64_t dropped;
    file f;
    file_finish_result result;
    const file_who stranger = {.org = "org-e", .user = "anna", .writes = true, .admin = true};
    assert_int_equal(kit_begin(&kit_anna, "open", 4, open), 0);
    assert_int_equal(kit_file(&kit_anna, "done", "1234", 4, done), 0);
    const file_who *others[] = {&kit_eve, &stranger};
    for (size_t i = 0; i < 2; i++) {
        const file_who *who = others[i];
        char byte;
        arena a;
        file_page page;
        file_page_in in = {who, {NULL, 0}, FILES_PAGE};
        file_piece p = {.who = who, .id = sv_cstr(done), .n = 1, .to = &byte};
        arena_init(&a, 1 << 20);
        assert_int_equal(kit_read(file_read_piece, &p, &p, &a), SV_E_NOT_FOUND);
        assert_int_equal(kit_read(files_page, &in, &page, &a), 0);
        assert_int_equal(page.n, 0);
        in.after = sv_cstr(done); /* as if it were one of theirs */
        assert_int_equal(kit_read(files_page, &in, &page, &a), 0);
        assert_int_equal(page.n, 0);
        arena_free(&a);
        assert_int_equal(kit_look(file_look, who, done, &f), SV_E_NOT_FOUND);
        assert_int_equal(kit_look(file_look_own, who, open, &f), SV_E_NOT_FOUND);
        assert_int_equal(kit_delete(who, done), SV_E_NOT_FOUND);
        assert_int_equal(kit_append(who, open, 0, "1234", 4, &received), SV_E_NOT_FOUND);
        assert_int_equal(kit_finish(who, open, 4, &result), SV_E_NOT_FOUND);
        assert_int_equal(kit_drop(who, open, &dropped), 0);
        assert_int_equal(dropped, 0);
    }
    assert_int_equal(kit_look(file_look, &kit_bob, done, &f), 0);
    assert_int_equal(kit_append(&kit_anna, open, 0, "1234", 4, &received), 0);
    assert_int_equal(kit_look(file_look, &kit_anna, "", &f), SV_E_NOT_FOUND);
    assert_int_equal(kit_look(file_look, &kit_anna, "01234567-0123-7123-8123-0123456789abc", &f),
                     SV_E_NOT_FOUND);
}

static void who_may_change_what(void **state)
{
    (void)state;
    char open[FILE_ID + 1], done[FILE_ID + 1], bobs[FILE_ID + 1];
    uint64_t received;
    int64_t dropped;
    file_finish_result result;
    assert_int_equal(kit_begin(&kit_bob, "open", 1, open), 0);
    assert_int_equal(kit_append(&kit_anna, open, 0, "1", 1, &received), SV_E_NOT_FOUND);
    assert_int_equal(kit_finish(&kit_anna, open, 1, &result), SV_E_NOT_FOUND);
    assert_int_equal(kit_drop(&kit_anna, open, &dropped), 0);
    assert_int_equal(dropped, 0);
    assert_int_equal(kit_file(&kit_anna, "done", "1", 1, done), 0);
    assert_int_equal(kit_file(&kit_bob, "bob's", "1", 1, bobs), 0);
    assert_int_equal(kit_delete(&kit_bob, done), SV_E_ROLE);
    assert_int_equal(kit_delete(&kit_vera, bobs), SV_E_ROLE);
    const file_who demoted = {.org = "org-a", .user = "bob"};
    assert_int_equal(kit_delete(&demoted, bobs), SV_E_ROLE);
    assert_int_equal(kit_drop(&kit_bob, bobs, &dropped), 0);
    assert_int_equal(dropped, 0); /* it is finished */
    assert_int_equal(kit_delete(&kit_bob, bobs), 0);
    assert_int_equal(kit_delete(&kit_bob, bobs), SV_E_NOT_FOUND);
    assert_int_equal(kit_file(&kit_bob, "bob's", "1", 1, bobs), 0);
    assert_int_equal(kit_delete(&kit_anna, bobs), 0);
    assert_int_equal(kit_drop(&kit_bob, open, &dropped), 0);
    assert_int_equal(dropped, 1);
    assert_int_equal(kit_usage("user", "bob").files, 0);
    assert_int_equal(kit_usage("org", "org-a").bytes, 1);
}

/* At the same moment: no more than there is room for, and each quota is named. */
static void quotas_hold_in_a_race(void **state)
{
    (void)state;
    enum { N = 40 };
    static file_begin_in in[N];
    int64_t expires[N], dropped;
    int codes[N];
    const struct {
        file_limits limits;
        const char *field;
        int most;
    } cases[] = {
        {{.user_bytes = 1050, .org_bytes = 1 << 20, .org_files = 100}, "files.user_bytes", 10},
        {{.user_bytes = 1 << 20, .org_bytes = 1299, .org_files = 100}, "files.org_bytes", 12},
        {{.user_bytes = 1 << 20, .org_bytes = 1 << 20, .org_files = 7}, "files.most", 7},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        kit_limits = cases[c].limits;
        for (int round = 0; round < 2; round++) { /* the second one finds what was given back */
            int good = 0;
            for (int i = 0; i < N; i++)
                in[i] = kit_begin_in(&kit_bob, "x", 100);
            kit_write_all(file_begin, in, sizeof *in, expires, sizeof *expires, N, codes);
            for (int i = 0; i < N; i++) {
                good += codes[i] == 0;
                assert_true(codes[i] == 0 || codes[i] == SV_E_QUOTA);
            }
            assert_int_equal(good, cases[c].most);
            assert_string_equal(kit_error.field, cases[c].field);
            assert_non_null(strstr(kit_error.message, cases[c].field));
            assert_int_equal(kit_usage("user", "bob").bytes, 100 * good);
            assert_int_equal(kit_usage("org", "org-a").files, good);
            for (int i = 0; i < N; i++)
                assert_int_equal(kit_drop(&kit_bob, in[i].id, &dropped), 0);
            assert_int_equal(kit_usage("org", "org-a").bytes, 0);
            assert_int_equal(kit_usage("user", "bob").files, 0);
        }
    }
}

static void a_user_has_one_quota_in_all_organizations(void **state)
{
    (void)state;
    const file_who elsewhere = {.org = "org-b", .user = "bob", .writes = true};
    char id[FILE_ID + 1];
    kit_limits.user_bytes = 100;
    assert_int_equal(kit_begin(&kit_bob, "x", 60, id), 0);
    assert_int_equal(kit_begin(&elsewhere, "x", 60, id), SV_E_QUOTA);
    assert_int_equal(kit_begin(&elsewhere, "x", 40, id), 0);
    assert_int_equal(kit_usage("org", "org-b").bytes, 40);
    assert_int_equal(kit_usage("user", "bob").bytes, 100);
    assert_int_equal(kit_begin(&kit_bob, "x", INT64_MAX, id), SV_E_QUOTA);
    kit_limits.user_bytes = 0; /* lowered below what is there */
    assert_int_equal(kit_begin(&kit_bob, "x", 0, id), SV_E_QUOTA);
}

static void unfinished_files_expire_with_their_quota(void **state)
{
    (void)state;
    char id[FILE_ID + 1], first[FILE_ID + 1];
    uint64_t received;
    int64_t n, all = 0;
    bool any = true;
    file_finish_result result;
    arena a;
    for (int i = 0; i < FILES_EXPIRE + 6; i++) {
        assert_int_equal(kit_begin(i % 2 ? &kit_anna : &kit_eve, "x", 3000, id), 0);
        if (i == 1) memcpy(first, id, sizeof id);
        assert_int_equal(kit_append(i % 2 ? &kit_anna : &kit_eve, id, 0, "abc", 3, &received), 0);
    }
    kit_now_ms += FILE_UNFINISHED_MS - 1;
    arena_init(&a, 1 << 20);
    assert_int_equal(kit_read(files_expired, NULL, &any, &a), 0);
    assert_false(any);
    assert_int_equal(kit_write(files_expire, NULL, &n), 0);
    assert_int_equal(n, 0);
    kit_now_ms += 1; /* over, also before anybody has swept */
    assert_int_equal(kit_append(&kit_anna, first, 3, "def", 3, &received), SV_E_NOT_FOUND);
    assert_int_equal(kit_finish(&kit_anna, first, 3000, &result), SV_E_NOT_FOUND);
    assert_int_equal(kit_read(files_expired, NULL, &any, &a), 0);
    assert_true(any);
    arena_free(&a);
    do {
        assert_int_equal(kit_write(files_expire, NULL, &n), 0);
        all += n;
    } while (n == FILES_EXPIRE);
    assert_int_equal(all, FILES_EXPIRE + 6);
    for (int i = 0; i < 2; i++) {
        kit_total t = kit_usage("org", i ? "org-a" : "org-e");
        assert_int_equal(t.bytes + t.files + t.sum_files, 0);
        t = kit_usage("user", i ? "anna" : "eve");
        assert_int_equal(t.bytes + t.files, 0);
    }
}

static void several_finish_together_or_not_at_all(void **state)
{
    (void)state;
    static const char sum[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    char one[FILE_ID + 1], two[FILE_ID + 1];
    uint64_t received;
    file f;
    file_finish_result result;
    assert_int_equal(kit_begin(&kit_anna, "one", 3, one), 0);
    assert_int_equal(kit_begin(&kit_anna, "two", 3, two), 0);
    assert_int_equal(kit_append(&kit_anna, one, 0, "abc", 3, &received), 0);
    assert_int_equal(kit_append(&kit_anna, two, 0, "ab", 2, &received), 0);
    workspace_file_sum sums[] = {{sv_cstr(one), 3, sv_cstr(sum)}, {sv_cstr(two), 3, sv_cstr(sum)}};
    file_finish_in in = {&kit_anna, sums, 2};
    assert_int_equal(kit_write(file_finish, &in, &result), SV_E_CONFLICT);
    assert_int_equal(kit_look(file_look, &kit_anna, one, &f), SV_E_NOT_FOUND);
    assert_int_equal(kit_append(&kit_anna, two, 2, "c", 1, &received), 0);
    assert_int_equal(kit_write(file_finish, &in, &result), 0);
    assert_int_equal(kit_look(file_look, &kit_anna, one, &f), 0);
    assert_string_equal(f.sha256, sum);
    assert_string_equal(result.files[1].name, "two");
    sums[1].sha256.p = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";
    assert_int_equal(kit_write(file_finish, &in, &result), SV_E_CONFLICT); /* not what it became */
}

static void pages_are_newest_first(void **state)
{
    (void)state;
    enum { N = 25 };
    char ids[N][FILE_ID + 1], open[FILE_ID + 1], after[FILE_ID + 1] = "";
    int seen = 0;
    for (int i = 0; i < N; i++) {
        assert_int_equal(kit_file(i % 2 ? &kit_anna : &kit_bob, "x", "1", 1, ids[i]), 0);
        if (i % 5 == 0) assert_int_equal(kit_begin(&kit_anna, "open", 1, open), 0);
    }
    file_page page;
    do {
        arena a;
        file_page_in in = {&kit_vera, sv_cstr(after), 10};
        arena_init(&a, 1 << 20);
        assert_int_equal(kit_read(files_page, &in, &page, &a), 0);
        for (uint32_t i = 0; i < page.n; i++)
            assert_string_equal(page.files[i].id, ids[N - 1 - seen++]);
        memcpy(after, page.files[page.n - 1].id, sizeof after);
        arena_free(&a);
        if (seen == 10) assert_int_equal(kit_delete(&kit_anna, after), 0); /* where it goes on */
    } while (page.more);
    assert_int_equal(seen, N);
}

/* Whatever happens in whatever order: what is reserved is the sum over the rows. */
static void sums_and_rows_stay_together(void **state)
{
    (void)state;
    enum { KEPT = 32 };
    static char ids[KEPT][FILE_ID + 1];
    const file_who *people[] = {&kit_anna, &kit_bob, &kit_eve};
    const char *names[][2] = {
        {"org", "org-a"}, {"org", "org-e"}, {"user", "anna"}, {"user", "bob"}, {"user", "eve"}};
    static file_finish_result result;
    uint32_t seed = 12345;
    kit_limits = (file_limits){.user_bytes = 30000, .org_bytes = 50000, .org_files = 20};
    for (int i = 0; i < 600; i++) {
        seed = seed * 1664525 + 1013904223;
        uint32_t r = seed >> 8;
        const file_who *who = people[r % 3];
        char *id = ids[r / 3 % KEPT];
        int64_t n;
        uint64_t received;
        switch (r / 100 % 6) {
        case 0:
        case 1:
            if (kit_begin(who, "x", r % 4000, id) == 0 && r % 7)
                kit_append(who, id, 0, "abcdefgh", r % 4000 < 8 ? r % 4000 : 8, &received);
            break;
        case 2: kit_finish(who, id, 8, &result); break;
        case 3: kit_drop(who, id, &n); break;
        case 4: kit_delete(who, id); break;
        default: kit_now_ms += r % 600000; assert_int_equal(kit_write(files_expire, NULL, &n), 0);
        }
        if (i % 200 == 0) kit_again();
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        kit_total t = kit_usage(names[i][0], names[i][1]);
        assert_int_equal(t.bytes, t.sum_bytes);
        assert_int_equal(t.files, t.sum_files);
    }
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, kit_stop)
    const struct CMUnitTest tests[] = {
        CASE(a_file_appears_when_it_is_finished),
        CASE(an_empty_file),
        CASE(bytes_that_come_twice_count_once),
        CASE(other_organizations_files_do_not_exist),
        CASE(who_may_change_what),
        CASE(quotas_hold_in_a_race),
        CASE(a_user_has_one_quota_in_all_organizations),
        CASE(unfinished_files_expire_with_their_quota),
        CASE(several_finish_together_or_not_at_all),
        CASE(pages_are_newest_first),
        CASE(sums_and_rows_stay_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
