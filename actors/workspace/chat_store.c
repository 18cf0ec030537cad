/*  chat_store.c - rows of chats. Sessions are found by organization, user and id together, so that what
 *  belongs to somebody else is not found; messages only through their session. */
#include "chat_store.h"

#include "error.h"

#include <stdio.h>

sv_str chat_cost(bool priced, int64_t price, char to[CHAT_COST + 1])
{
    if (!priced) return (sv_str){NULL, 0};
    snprintf(to, CHAT_COST + 1, "%lld.%06lld", (long long)(price / 1000000),
             (long long)(price % 1000000));
    return sv_cstr(to);
}

workspace_chat_session chat_show(const chat_session_row *row, char cost[CHAT_COST + 1])
{
    return (workspace_chat_session){.id = row->id,
                                    .title = row->title,
                                    .model = row->model,
                                    .created = row->created,
                                    .updated = row->updated,
                                    .messages = row->messages,
                                    .prompt_tokens = row->prompt_tokens,
                                    .completion_tokens = row->completion_tokens,
                                    .cost = chat_cost(true, row->price, cost)};
}

static int missing(store_tx *tx)
{
    return sv_fail(store_error(tx), SV_E_NOT_FOUND, "session_id", "There is no such chat session.");
}

static int find(store_tx *tx, const file_who *who, sv_str id, chat_session_row *ret)
{
    if (id.n == 0 || id.n > FILE_ID) return missing(tx);
    *ret = (chat_session_row){.org = sv_cstr(who->org), .user = sv_cstr(who->user), .id = id};
    int rc = store_get(tx, &workspace_chats, ret);
    return rc == SV_E_NOT_FOUND || (rc == 0 && ret->gone) ? missing(tx) : rc;
}

static sv_str keep(store_tx *tx, sv_str s, int *rc)
{
    if (s.p == NULL) return s;
    char *copy = arena_copy(store_arena(tx), s);
    if (copy == NULL) *rc = SV_E_NO_MEMORY;
    return (sv_str){copy, copy ? s.n : 0};
}

/* ---- how many ---- */

static int count_images(store_tx *tx, const file_who *who, int64_t by, int64_t most)
{
    chat_count_row row = {.org = sv_cstr(who->org), .user = sv_cstr(who->user)};
    if (by == 0) return 0;
    int rc = store_get(tx, &workspace_chat_counts, &row);
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    row.image_bytes += by;
    if (row.image_bytes > most)
        return sv_fail(store_error(tx), SV_E_QUOTA, "chat.kept_image_bytes",
                       "A user's chat sessions may have images of %lld bytes "
                       "(chat.kept_image_bytes): delete some first, or send these without a "
                       "session.",
                       (long long)most);
    return store_put(tx, &workspace_chat_counts, &row);
}

/* `image_bytes` go with the sessions. */
static int count_change(store_tx *tx, const file_who *who, int64_t by, int64_t most,
                        int64_t image_bytes)
{
    chat_count_row row = {.org = sv_cstr(who->org), .user = sv_cstr(who->user)};
    int rc = store_get(tx, &workspace_chat_counts, &row);
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    if (by > 0 && row.sessions >= most)
        return sv_fail(
            store_error(tx), SV_E_QUOTA, "chat.sessions_most",
            "A user may have %lld chat sessions (chat.sessions_most): delete some first.",
            (long long)most);
    row.sessions += by;
    row.image_bytes -= image_bytes;
    if (row.sessions < 0 || row.image_bytes < 0)
        return sv_fail(store_error(tx), SV_E_STORE_DAMAGED, "chat_counts",
                       "The count of chat sessions is damaged.");
    if (row.sessions == 0) return store_delete(tx, &workspace_chat_counts, &row);
    return store_put(tx, &workspace_chat_counts, &row);
}

static int session_start(store_tx *tx, const file_who *who, const chat_limits *limits,
                         const char *id, chat_session_row *ret)
{
    int64_t now = store_now_ms(tx);
    int rc = count_change(tx, who, 1, limits->sessions, 0);
    *ret = (chat_session_row){.org = sv_cstr(who->org),
                              .user = sv_cstr(who->user),
                              .id = sv_cstr(id),
                              .shelf = sv_cstr(who->org),
                              .created = now,
                              .updated = now};
    return rc;
}

/* ---- text ---- */

static int put_message(store_tx *tx, chat_message_row *row, sv_str text, sv_str images)
{
    bool inside = text.n <= CHAT_INLINE;
    row->text = inside && text.n ? text : (sv_str){NULL, 0};
    row->image_bytes = images.n;
    int rc = store_put(tx, &workspace_chat_messages, row);
    if (rc == 0 && !inside) rc = store_blob_append(tx, &workspace_chat_messages, row, text);
    if (rc == 0 && images.n) rc = store_blob_append(tx, &workspace_chat_messages, row, images);
    return rc;
}

static int read_blob(store_tx *tx, const chat_message_row *row, uint64_t from, char *to, size_t n)
{
    size_t got = 0;
    int rc = 0;
    for (size_t at = 0; rc == 0 && at < n; at += got) {
        rc = store_blob_read(tx, &workspace_chat_messages, row, from + at, to + at, n - at, &got);
        if (rc == 0 && got == 0) rc = SV_E_STORE_DAMAGED;
    }
    return rc;
}

/* Bytes of text in the row's blob; the images are behind them. */
static int text_size(store_tx *tx, const chat_message_row *row, uint64_t *ret)
{
    uint64_t images = (uint64_t)row->image_bytes;
    *ret = 0;
    int rc = store_blob_size(tx, &workspace_chat_messages, row, ret);
    if (rc == SV_E_NOT_FOUND) return images ? SV_E_STORE_DAMAGED : 0; /* an answer without a word */
    if (rc == 0 && (*ret < images || *ret > UINT32_MAX)) rc = SV_E_STORE_DAMAGED;
    *ret -= rc ? 0 : images;
    return rc;
}

/* The row's text, in the arena. */
static int get_text(store_tx *tx, const chat_message_row *row, sv_str *ret)
{
    uint64_t size;
    int rc = 0;
    *ret = keep(tx, row->text, &rc);
    if (rc || ret->p) return rc;
    rc = text_size(tx, row, &size);
    if (rc || size == 0) return rc;
    char *bytes = arena_alloc(store_arena(tx), size + 1);
    if (bytes == NULL) return SV_E_NO_MEMORY;
    *ret = (sv_str){bytes, (uint32_t)size};
    return read_blob(tx, row, 0, bytes, size);
}

/* Its images, behind those that are there. */
static int get_images(store_tx *tx, const chat_message_row *row, buf *to)
{
    uint64_t text;
    size_t n = (size_t)row->image_bytes;
    int rc = text_size(tx, row, &text);
    char *room = rc ? NULL : buf_room(to, n);
    if (room == NULL) return rc ? rc : SV_E_NO_MEMORY;
    rc = read_blob(tx, row, text, room, n);
    if (rc == 0) buf_added(to, n);
    return rc;
}

static int scan_messages(store_tx *tx, sv_str session, int64_t before, uint32_t limit,
                         store_scan **ret)
{
    chat_message_row low = {.session = session}, high = {.session = session, .number = before - 1};
    store_range range = {.table = &workspace_chat_messages,
                         .low = &low,
                         .high = &high,
                         .low_n = 1,
                         .high_n = before ? 2 : 1,
                         .reverse = true,
                         .limit = limit};
    return store_scan_open(tx, &range, ret);
}

/* ---- a message and its answer ---- */

/* What a model can make something of: answers that never came are left out. */
static bool was_said(const chat_message_row *row)
{
    return sv_str_is(row->state, "complete") || sv_str_is(row->state, "cut");
}

static void turn_round(chat_turn *t, uint32_t n)
{
    for (uint32_t i = 0; i < n / 2; i++) {
        chat_turn other = t[i];
        t[i] = t[n - 1 - i];
        t[n - 1 - i] = other;
    }
}

static int load_context(store_tx *tx, const chat_begin_in *q, chat_begun *ret)
{
    const chat_limits *l = q->limits;
    uint32_t most = (uint32_t)l->context_messages;
    int64_t room = l->context_bytes, image_room = l->image_bytes;
    store_scan *scan;
    chat_message_row row;
    ret->turns = arena_alloc(store_arena(tx), (most + 1) * sizeof *ret->turns);
    if (ret->turns == NULL) return SV_E_NO_MEMORY;
    /* Twice as many are looked at: between them there may be some that do not count. */
    int rc = scan_messages(tx, sv_cstr(q->session), 0, 2 * most + 1, &scan);
    if (rc) return rc;
    while (rc == 0 && ret->n < most && store_scan_next(scan, &row)) {
        sv_str text;
        if (!was_said(&row)) continue;
        rc = get_text(tx, &row, &text);
        if (rc || text.n == 0) continue;
        room -= text.n;
        if (room < 0) break;
        image_room -= row.image_bytes; /* when they are too many, older ones are, too */
        bool shown = row.image_bytes > 0 && image_room >= 0;
        ret->turns[ret->n++] = (chat_turn){.user = sv_str_is(row.role, "user"),
                                           .text = text,
                                           .images_at = q->seen->n,
                                           .images_n = shown ? (size_t)row.image_bytes : 0};
        if (shown) rc = get_images(tx, &row, q->seen);
    }
    if (rc == 0) rc = store_scan_result(scan);
    store_scan_close(scan);
    turn_round(ret->turns, ret->n);
    return rc;
}

static int add_pair(store_tx *tx, const chat_begin_in *q, chat_session_row *s, chat_begun *ret)
{
    int64_t now = store_now_ms(tx);
    sv_str session = sv_cstr(q->session);
    chat_message_row said = {.session = session,
                             .number = s->messages + 1,
                             .id = sv_cstr(q->message),
                             .role = sv_cstr("user"),
                             .state = sv_cstr("complete"),
                             .images = q->n_images,
                             .created = now};
    chat_message_row answer = {.session = session,
                               .number = s->messages + 2,
                               .id = sv_cstr(q->answer),
                               .role = sv_cstr("assistant"),
                               .state = sv_cstr("open"),
                               .created = now};
    if (s->messages == 0 && !s->titled) s->title = sv_cstr(q->title);
    if (q->model.n) s->model = q->model;
    s->messages += 2;
    s->image_bytes += q->images.n;
    s->updated = now;
    ret->answer = answer.number;
    snprintf(ret->model, sizeof ret->model, "%.*s", SV_FMT(s->model));
    sv_str none = {NULL, 0};
    int rc = count_images(tx, q->who, q->images.n, q->limits->kept_image_bytes);
    if (rc == 0) rc = put_message(tx, &said, q->text, q->images);
    if (rc == 0) rc = put_message(tx, &answer, none, none);
    return rc ? rc : store_put(tx, &workspace_chats, s);
}

int chat_begin(store_tx *tx, const void *in, void *out)
{
    const chat_begin_in *q = in;
    chat_begun *ret = out;
    chat_session_row s;
    *ret = (chat_begun){.n = 0};
    buf_reset(q->seen, q->seen->cap);
    int rc = q->anew ? session_start(tx, q->who, q->limits, q->session, &s)
                     : find(tx, q->who, sv_cstr(q->session), &s);
    if (rc) return rc;
    if (s.messages + 2 > q->limits->messages)
        return sv_fail(store_error(tx), SV_E_QUOTA, "chat.messages_most",
                       "A chat session may have %lld messages (chat.messages_most): begin another "
                       "one.",
                       (long long)q->limits->messages);
    rc = load_context(tx, q, ret);
    return rc ? rc : add_pair(tx, q, &s, ret);
}

int chat_finish(store_tx *tx, const void *in, void *out)
{
    const chat_finish_in *q = in;
    chat_session_row s;
    chat_message_row was = {.session = sv_cstr(q->session), .number = q->number}, row = *q->answer;
    (void)out;
    int rc = find(tx, q->who, was.session, &s);
    if (rc == 0) rc = store_get(tx, &workspace_chat_messages, &was);
    if (rc) return rc;
    row.session = was.session;
    row.number = was.number;
    row.id = was.id;
    row.role = was.role;
    row.created = was.created;
    s.updated = store_now_ms(tx);
    s.prompt_tokens += row.prompt_tokens;
    s.completion_tokens += row.completion_tokens;
    if (row.priced) s.price += row.price;
    rc = put_message(tx, &row, q->text, (sv_str){NULL, 0});
    return rc ? rc : store_put(tx, &workspace_chats, &s);
}

/* ---- sessions ---- */

int chat_new(store_tx *tx, const void *in, void *out)
{
    const chat_new_in *q = in;
    chat_session_row *s = out;
    int rc = session_start(tx, q->who, q->limits, q->session, s);
    if (rc) return rc;
    s->title = q->title;
    s->titled = q->title.n > 0;
    s->model = q->model;
    return store_insert(tx, &workspace_chats, s);
}

static int keep_session(store_tx *tx, chat_session_row *s)
{
    int rc = 0;
    s->id = keep(tx, s->id, &rc);
    s->title = keep(tx, s->title, &rc);
    s->model = keep(tx, s->model, &rc);
    return rc;
}

int chat_rename(store_tx *tx, const void *in, void *out)
{
    const chat_one *q = in;
    chat_session_row *s = out;
    int rc = find(tx, q->who, q->id, s);
    if (rc) return rc;
    s->title = q->title;
    s->titled = true;
    rc = store_put(tx, &workspace_chats, s);
    return rc ? rc : keep_session(tx, s);
}

int chat_delete(store_tx *tx, const void *in, void *out)
{
    const chat_one *q = in;
    chat_session_row s;
    (void)out;
    int rc = find(tx, q->who, q->id, &s);
    if (rc) return rc;
    s.shelf = (sv_str){NULL, 0};
    s.gone = store_now_ms(tx);
    rc = store_put(tx, &workspace_chats, &s);
    return rc ? rc : count_change(tx, q->who, -1, 0, s.image_bytes);
}

/* A deleted session, or SV_E_NOT_FOUND. */
static int find_gone(store_tx *tx, chat_session_row *ret)
{
    chat_session_row low = {.gone = 1};
    store_range range = {
        .table = &workspace_chats, .index = "by_gone", .low = &low, .low_n = 1, .limit = 1};
    store_scan *scan;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    bool any = store_scan_next(scan, ret);
    if (any) ret->id = keep(tx, ret->id, &rc);
    if (any) ret->org = keep(tx, ret->org, &rc);
    if (any) ret->user = keep(tx, ret->user, &rc);
    if (rc == 0 && !any) rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc == 0 && !any ? SV_E_NOT_FOUND : rc;
}

int chat_sweep(store_tx *tx, const void *in, void *out)
{
    (void)in;
    bool *more = out;
    chat_session_row s;
    chat_message_row row;
    store_scan *scan;
    uint32_t n = 0;
    *more = false;
    int rc = find_gone(tx, &s);
    if (rc) return rc == SV_E_NOT_FOUND ? 0 : rc;
    *more = true;
    rc = scan_messages(tx, s.id, 0, CHAT_SWEEP, &scan);
    if (rc) return rc;
    while (rc == 0 && store_scan_next(scan, &row)) {
        rc = store_delete(tx, &workspace_chat_messages, &row);
        n++;
    }
    if (rc == 0) rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc == 0 && n < CHAT_SWEEP ? store_delete(tx, &workspace_chats, &s) : rc;
}

int chat_swept(store_tx *tx, const void *in, void *out)
{
    (void)in;
    chat_session_row s;
    int rc = find_gone(tx, &s);
    *(bool *)out = rc == 0;
    return rc == SV_E_NOT_FOUND ? 0 : rc;
}

int chat_list(store_tx *tx, const void *in, void *out)
{
    const chat_list_in *q = in;
    chat_list_out *page = out;
    sv_str org = sv_cstr(q->who->org), user = sv_cstr(q->who->user);
    chat_session_row row, from, low = {.shelf = org, .user = user};
    store_scan *scan;
    *page = (chat_list_out){.rows = arena_alloc(store_arena(tx), q->limit * sizeof row)};
    if (page->rows == NULL) return SV_E_NO_MEMORY;
    int rc = q->after.n ? find(tx, q->who, q->after, &from) : 0;
    if (rc) return rc;
    store_range range = {.table = &workspace_chats,
                         .index = "by_shelf",
                         .low = &low,
                         .high = q->after.n ? &from : &low,
                         .low_n = 2,
                         .high_n = q->after.n ? 6 : 2, /* the index's fields and the key's */
                         .reverse = true};
    rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    while (rc == 0 && !page->more && store_scan_next(scan, &row)) {
        if (sv_str_eq(row.id, q->after)) continue;
        page->more = page->n == q->limit;
        if (page->more) break;
        rc = keep_session(tx, &row);
        page->rows[page->n++] = row;
    }
    if (rc == 0 && !page->more) rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc;
}

static int keep_message(store_tx *tx, chat_message_row *row)
{
    sv_str *texts[] = {&row->id,       &row->role,     &row->state,  &row->task, &row->model,
                       &row->provider, &row->decision, &row->finish, &row->error};
    int rc = get_text(tx, row, &row->text);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        *texts[i] = keep(tx, *texts[i], &rc);
    return rc;
}

int chat_page(store_tx *tx, const void *in, void *out)
{
    const chat_page_in *q = in;
    chat_page_out *page = out;
    chat_message_row row;
    store_scan *scan;
    size_t bytes = 0;
    *page = (chat_page_out){.rows = arena_alloc(store_arena(tx), q->limit * sizeof row)};
    if (page->rows == NULL) return SV_E_NO_MEMORY;
    int rc = find(tx, q->who, q->id, &page->session);
    if (rc == 0) rc = keep_session(tx, &page->session);
    if (rc == 0) rc = scan_messages(tx, page->session.id, q->before, 0, &scan);
    if (rc) return rc;
    while (rc == 0 && !page->more && store_scan_next(scan, &row)) {
        page->more = page->n == q->limit || bytes > CHAT_PAGE_BYTES;
        if (page->more) break;
        rc = keep_message(tx, &row);
        bytes += row.text.n;
        page->rows[page->n++] = row;
    }
    if (rc == 0 && !page->more) rc = store_scan_result(scan);
    store_scan_close(scan);
    for (uint32_t i = 0; i < page->n / 2; i++) {
        row = page->rows[i];
        page->rows[i] = page->rows[page->n - 1 - i];
        page->rows[page->n - 1 - i] = row;
    }
    return rc;
}

int chat_images(store_tx *tx, const void *in, void *out)
{
    const chat_images_in *q = in;
    buf *to = out;
    chat_session_row s;
    chat_message_row row = {.session = q->id, .number = q->number};
    buf_reset(to, to->cap);
    int rc = find(tx, q->who, q->id, &s);
    if (rc) return rc;
    rc = store_get(tx, &workspace_chat_messages, &row);
    if (rc == SV_E_NOT_FOUND)
        return sv_fail(store_error(tx), rc, "number", "There is no such message in the session.");
    return rc || row.image_bytes == 0 ? rc : get_images(tx, &row, to);
}
