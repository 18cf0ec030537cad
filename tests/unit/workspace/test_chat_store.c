/*  test_chat_store.c - chats as the store keeps them: whose they are, what a model sees of them, limits,
 *  pages, and what is left of a deleted one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "chat_store.h"
#include "files_kit.h"

static chat_limits limits;
static buf images;      /* that it would see */
static char seen[8192]; /* what a model would see of the session: u and a for the roles */

static int start(void **state)
{
    limits = (chat_limits){
        .context_messages = 10, .context_bytes = 100000, .sessions = 100, .messages = 1000};
    limits.image_bytes = 20000;
    limits.kept_image_bytes = 50000;
    buf_init(&images, 1 << 20);
    return kit_start(state);
}

static int stop(void **state)
{
    buf_free(&images);
    return kit_stop(state);
}

/* The context lives in the write's memory: it is written down inside. */
static int begin_and_look(store_tx *tx, const void *in, void *out)
{
    chat_begun *b = out;
    size_t n = 0;
    int rc = chat_begin(tx, in, out);
    seen[0] = 0;
    for (uint32_t i = 0; rc == 0 && i < b->n; i++)
        n += (size_t)snprintf(
            seen + n, sizeof seen - n, "%c%.*s%.*s ", b->turns[i].user ? 'u' : 'a',
            b->turns[i].text.n > 20 ? 20 : (int)b->turns[i].text.n, b->turns[i].text.p,
            b->turns[i].images_n ? 4 : 0, images.n ? images.p + b->turns[i].images_at : "");
    return rc;
}

static int show(const file_who *who, const char *session, bool anew, sv_str text, sv_str pictures,
                const char *model, chat_begun *ret)
{
    char message[FILE_ID + 1], answer[FILE_ID + 1];
    kit_id(message);
    kit_id(answer);
    chat_begin_in in = {.who = who,
                        .limits = &limits,
                        .session = session,
                        .anew = anew,
                        .message = message,
                        .answer = answer,
                        .text = text,
                        .images = pictures,
                        .n_images = pictures.n > 0,
                        .seen = &images,
                        .model = sv_cstr(model),
                        .title = "Title"};
    return kit_write(begin_and_look, &in, ret);
}

static int say(const file_who *who, const char *session, bool anew, sv_str text, const char *model,
               chat_begun *ret)
{
    return show(who, session, anew, text, (sv_str){NULL, 0}, model, ret);
}

static int answer(const file_who *who, const char *session, int64_t number, const char *state,
                  sv_str text)
{
    chat_message_row row = {.state = sv_cstr(state),
                            .model = sv_cstr("up"),
                            .prompt_tokens = 3,
                            .completion_tokens = 4,
                            .priced = true,
                            .price = 5};
    chat_finish_in in = {who, session, number, &row, text};
    return kit_write(chat_finish, &in, NULL);
}

static void both(const char *session, bool anew, const char *text)
{
    chat_begun b;
    assert_int_equal(say(&kit_anna, session, anew, sv_cstr(text), "", &b), 0);
    assert_int_equal(answer(&kit_anna, session, b.answer, "complete", sv_cstr(text)), 0);
}

static int page(const file_who *who, const char *session, int64_t before, uint32_t limit, arena *a,
                chat_page_out *ret)
{
    chat_page_in in = {who, sv_cstr(session), before, limit};
    return kit_read(chat_page, &in, ret, a);
}

static void a_session_is_its_users_alone(void **state)
{
    (void)state;
    char id[FILE_ID + 1];
    chat_begun b;
    chat_page_out p;
    arena a;
    file_who elsewhere = kit_anna;
    snprintf(elsewhere.org, sizeof elsewhere.org, "org-e");
    kit_id(id);
    arena_init(&a, 4 << 20);
    both(id, true, "one");
    const file_who *others[] = {&kit_bob, &kit_eve, &elsewhere};
    for (size_t i = 0; i < 3; i++) {
        chat_one one = {.who = others[i], .id = sv_cstr(id), .title = sv_cstr("x")};
        chat_session_row row;
        chat_list_in list = {others[i], {NULL, 0}, 10};
        chat_list_out out;
        assert_int_equal(say(others[i], id, false, sv_cstr("x"), "", &b), SV_E_NOT_FOUND);
        assert_int_equal(answer(others[i], id, 2, "complete", sv_cstr("x")), SV_E_NOT_FOUND);
        assert_int_equal(page(others[i], id, 0, 10, &a, &p), SV_E_NOT_FOUND);
        assert_int_equal(kit_write(chat_rename, &one, &row), SV_E_NOT_FOUND);
        assert_int_equal(kit_write(chat_delete, &one, NULL), SV_E_NOT_FOUND);
        assert_int_equal(kit_read(chat_list, &list, &out, &a), 0);
        assert_int_equal(out.n, 0);
        list.after = sv_cstr(id);
        assert_int_equal(kit_read(chat_list, &list, &out, &a), SV_E_NOT_FOUND);
    }
    assert_int_equal(page(&kit_anna, id, 0, 10, &a, &p), 0);
    assert_int_equal(p.n, 2);
    assert_int_equal(p.session.prompt_tokens, 3);
    assert_int_equal(p.session.completion_tokens, 4);
    assert_int_equal(p.session.price, 5);
    assert_true(sv_str_is(p.session.title, "Title"));
    assert_true(sv_str_is(p.rows[1].role, "assistant"));
    assert_true(sv_str_is(p.rows[1].text, "one"));
    arena_free(&a);
}

static void what_a_model_sees(void **state)
{
    (void)state;
    char id[FILE_ID + 1], text[16];
    chat_begun b;
    kit_id(id);
    assert_int_equal(say(&kit_anna, id, true, sv_cstr("1"), "m1", &b), 0);
    assert_string_equal(seen, "");
    assert_string_equal(b.model, "m1");
    assert_int_equal(answer(&kit_anna, id, b.answer, "complete", sv_cstr("1")), 0);
    for (int i = 2; i <= 7; i++) {
        snprintf(text, sizeof text, "%d", i);
        both(id, false, text);
    }
    assert_int_equal(say(&kit_anna, id, false, sv_cstr("8"), "", &b), 0);
    assert_string_equal(seen, "u3 a3 u4 a4 u5 a5 u6 a6 u7 a7 ");
    assert_string_equal(b.model, "m1");
    kit_again(); /* the answer to 8 never came */
    assert_int_equal(say(&kit_anna, id, false, sv_cstr("9"), "m2", &b), 0);
    assert_string_equal(seen, "a3 u4 a4 u5 a5 u6 a6 u7 a7 u8 ");
    assert_string_equal(b.model, "m2");
    assert_int_equal(answer(&kit_anna, id, b.answer, "cut", sv_cstr("hal")), 0);
    assert_int_equal(say(&kit_anna, id, false, sv_cstr("10"), "", &b), 0);
    assert_string_equal(seen, "a4 u5 a5 u6 a6 u7 a7 u8 u9 ahal ");
    assert_int_equal(answer(&kit_anna, id, b.answer, "failed", (sv_str){NULL, 0}), 0);
    limits.context_messages = 2;
    assert_int_equal(say(&kit_anna, id, false, sv_cstr("11"), "", &b), 0);
    assert_string_equal(seen, "ahal u10 ");
    limits.context_messages = 0;
    assert_int_equal(say(&kit_anna, id, false, sv_cstr("12"), "", &b), 0);
    assert_string_equal(seen, "");
    limits.context_messages = 10;
    limits.context_bytes = 6; /* 12, 11, 10 */
    assert_int_equal(say(&kit_anna, id, false, sv_cstr("13"), "", &b), 0);
    assert_string_equal(seen, "u10 u11 u12 ");
}

static void long_words(void **state)
{
    (void)state;
    char id[FILE_ID + 1];
    static char text[300000];
    chat_begun b;
    chat_page_out p;
    arena a;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('a' + i % 23);
    limits.context_bytes = 1 << 20;
    kit_id(id);
    arena_init(&a, 4 << 20);
    for (uint32_t n = CHAT_INLINE; n <= CHAT_INLINE + 1; n++) {
        assert_int_equal(say(&kit_anna, id, n == CHAT_INLINE, (sv_str){text, n}, "", &b), 0);
        assert_int_equal(answer(&kit_anna, id, b.answer, "complete", (sv_str){text, sizeof text}),
                         0);
        assert_int_equal(page(&kit_anna, id, 0, 2, &a, &p), 0);
        assert_int_equal(p.rows[0].text.n, n);
        assert_memory_equal(p.rows[0].text.p, text, n);
        assert_int_equal(p.rows[1].text.n, sizeof text);
        assert_memory_equal(p.rows[1].text.p, text, sizeof text);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(say(&kit_anna, id, false, (sv_str){text, sizeof text}, "", &b), 0);
        assert_int_equal(answer(&kit_anna, id, b.answer, "complete", (sv_str){text, sizeof text}),
                         0);
    }
    arena_reset(&a);
    assert_int_equal(page(&kit_anna, id, 0, 100, &a, &p), 0); /* as many as fit */
    assert_true(p.more);
    assert_int_equal(p.n, 4);
    arena_free(&a);
}

static void pages(void **state)
{
    (void)state;
    char id[4][FILE_ID + 1];
    chat_page_out p;
    chat_list_out l;
    arena a;
    arena_init(&a, 4 << 20);
    for (int i = 0; i < 4; i++) {
        kit_id(id[i]);
        kit_now_ms++;
        both(id[i], true, "x");
    }
    for (int i = 0; i < 4; i++)
        both(id[0], false, "y"); /* the oldest has the newest message */
    kit_now_ms++;
    both(id[0], false, "z");
    chat_list_in list = {&kit_anna, {NULL, 0}, 3};
    assert_int_equal(kit_read(chat_list, &list, &l, &a), 0);
    assert_int_equal(l.n, 3);
    assert_true(l.more);
    assert_true(sv_str_is(l.rows[0].id, id[0]));
    assert_true(sv_str_is(l.rows[1].id, id[3]));
    assert_true(sv_str_is(l.rows[2].id, id[2]));
    list.after = sv_cstr(id[2]);
    assert_int_equal(kit_read(chat_list, &list, &l, &a), 0);
    assert_int_equal(l.n, 1);
    assert_false(l.more);
    assert_true(sv_str_is(l.rows[0].id, id[1]));
    assert_int_equal(page(&kit_anna, id[0], 0, 5, &a, &p), 0);
    assert_int_equal(p.n, 5);
    assert_true(p.more);
    assert_int_equal(p.rows[0].number, 8);
    assert_int_equal(p.rows[4].number, 12);
    assert_int_equal(page(&kit_anna, id[0], 8, 7, &a, &p), 0);
    assert_int_equal(p.n, 7);
    assert_false(p.more);
    assert_int_equal(p.rows[0].number, 1);
    assert_int_equal(page(&kit_anna, id[0], 1, 7, &a, &p), 0);
    assert_int_equal(p.n, 0);
    arena_free(&a);
}

static void limits_hold(void **state)
{
    (void)state;
    char id[FILE_ID + 1], other[FILE_ID + 1];
    chat_begun b;
    chat_session_row row;
    limits.sessions = 2;
    limits.messages = 4;
    kit_id(id);
    both(id, true, "x");
    kit_id(other);
    chat_new_in new_one = {&kit_anna, &limits, other, sv_cstr("t"), {NULL, 0}};
    assert_int_equal(kit_write(chat_new, &new_one, &row), 0);
    kit_id(other);
    assert_int_equal(kit_write(chat_new, &new_one, &row), SV_E_QUOTA);
    assert_string_equal(kit_error.field, "chat.sessions_most");
    assert_int_equal(say(&kit_anna, other, true, sv_cstr("x"), "", &b), SV_E_QUOTA);
    assert_int_equal(say(&kit_bob, other, true, sv_cstr("x"), "", &b), 0);
    both(id, false, "y");
    assert_int_equal(say(&kit_anna, id, false, sv_cstr("z"), "", &b), SV_E_QUOTA);
    assert_string_equal(kit_error.field, "chat.messages_most");
    chat_one one = {.who = &kit_anna, .id = sv_cstr(id)};
    assert_int_equal(kit_write(chat_delete, &one, NULL), 0);
    assert_int_equal(kit_write(chat_delete, &one, NULL), SV_E_NOT_FOUND);
    assert_int_equal(kit_write(chat_new, &new_one, &row), 0);
}

static int count_messages(store_tx *tx, const void *in, void *out)
{
    (void)in;
    store_range all = {.table = &workspace_chat_messages};
    chat_message_row row;
    store_scan *scan;
    int rc = store_scan_open(tx, &all, &scan);
    *(int *)out = 0;
    while (rc == 0 && store_scan_next(scan, &row))
        ++*(int *)out;
    return rc ? rc : store_scan_result(scan);
}

static void the_end_of_a_session(void **state)
{
    (void)state;
    char id[FILE_ID + 1], stays[FILE_ID + 1];
    bool more;
    int n, sweeps = 0;
    chat_begun b;
    kit_id(id);
    kit_id(stays);
    both(stays, true, "x");
    for (int i = 0; i < CHAT_SWEEP; i++)
        both(id, i == 0, "x");
    assert_int_equal(say(&kit_anna, id, false, sv_cstr("open"), "", &b), 0);
    chat_one one = {.who = &kit_anna, .id = sv_cstr(id)};
    assert_int_equal(kit_peek(chat_swept, NULL, &more), 0);
    assert_false(more);
    assert_int_equal(kit_write(chat_delete, &one, NULL), 0);
    assert_int_equal(kit_peek(chat_swept, NULL, &more), 0);
    assert_true(more);
    assert_int_equal(answer(&kit_anna, id, b.answer, "complete", sv_cstr("late")), SV_E_NOT_FOUND);
    do {
        assert_int_equal(kit_write(chat_sweep, NULL, &more), 0);
        assert_int_equal(kit_peek(count_messages, NULL, &n), 0);
        assert_true(n >= 2);
        if (sweeps == 1) kit_again();
    } while (more && ++sweeps < 10);
    assert_int_equal(sweeps, 3); /* 64, 64 and 2; then there is nothing */
    assert_int_equal(n, 2);
    assert_int_equal(kit_peek(chat_swept, NULL, &more), 0);
    assert_false(more);
}

/* A model sees them again while there is room, and their user has a limit for them. */
static void images_of_messages(void **state)
{
    (void)state;
    static char large[15000], text[CHAT_INLINE + 1];
    char id[FILE_ID + 1], other[FILE_ID + 1];
    chat_begun b;
    chat_page_out p;
    arena a;
    kit_id(id);
    kit_id(other);
    arena_init(&a, 4 << 20);
    memset(large, 'x', sizeof large);
    memset(text, 'l', sizeof text);
    sv_str pictures = {large, sizeof large}, long_text = {text, sizeof text};
    assert_int_equal(show(&kit_anna, id, true, sv_cstr("one"), sv_cstr("IMG1"), "", &b), 0);
    assert_int_equal(show(&kit_anna, id, false, long_text, sv_cstr("IMG2"), "", &b), 0);
    assert_string_equal(seen, "uoneIMG1 ");
    assert_int_equal(say(&kit_anna, id, false, sv_cstr("three"), "", &b), 0);
    assert_string_equal(seen, "uoneIMG1 ullllllllllllllllllllIMG2 ");
    assert_int_equal(page(&kit_anna, id, 0, 10, &a, &p), 0);
    assert_int_equal(p.session.image_bytes, 8);
    assert_int_equal(p.rows[0].images, 1);
    assert_int_equal(p.rows[2].text.n, sizeof text);
    assert_int_equal(p.rows[4].images, 0);
    buf got;
    buf_init(&got, 100);
    chat_images_in look = {&kit_anna, sv_cstr(id), 3}, his = {&kit_bob, sv_cstr(id), 3};
    assert_int_equal(kit_peek(chat_images, &look, &got), 0);
    assert_int_equal(got.n, 4);
    assert_memory_equal(got.p, "IMG2", 4);
    look.number = 2; /* an answer */
    assert_int_equal(kit_peek(chat_images, &look, &got), 0);
    assert_int_equal(got.n, 0);
    look.number = 9;
    assert_int_equal(kit_peek(chat_images, &look, &got), SV_E_NOT_FOUND);
    assert_int_equal(kit_peek(chat_images, &his, &got), SV_E_NOT_FOUND);
    buf_free(&got);
    assert_int_equal(show(&kit_anna, id, false, sv_cstr("four"), pictures, "", &b), 0);
    assert_int_equal(show(&kit_anna, id, false, sv_cstr("five"), pictures, "", &b), 0);
    assert_int_equal(show(&kit_anna, id, false, sv_cstr("six"), pictures, "", &b), 0);
    assert_string_equal(seen, "uone ullllllllllllllllllll uthree ufour ufivexxxx ");
    assert_int_equal(show(&kit_anna, id, false, sv_cstr("seven"), pictures, "", &b), SV_E_QUOTA);
    assert_int_equal(show(&kit_bob, other, true, sv_cstr("his"), pictures, "", &b), 0);
    assert_int_equal(say(&kit_anna, id, false, sv_cstr("words"), "", &b), 0);
    chat_one one = {.who = &kit_anna, .id = sv_cstr(id)};
    assert_int_equal(kit_write(chat_delete, &one, NULL), 0);
    kit_id(id);
    assert_int_equal(show(&kit_anna, id, true, sv_cstr("room again"), pictures, "", &b), 0);
    arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_session_is_its_users_alone, start, stop),
        cmocka_unit_test_setup_teardown(what_a_model_sees, start, stop),
        cmocka_unit_test_setup_teardown(long_words, start, stop),
        cmocka_unit_test_setup_teardown(images_of_messages, start, stop),
        cmocka_unit_test_setup_teardown(pages, start, stop),
        cmocka_unit_test_setup_teardown(limits_hold, start, stop),
        cmocka_unit_test_setup_teardown(the_end_of_a_session, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
