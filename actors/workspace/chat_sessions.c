/*  chat_sessions.c - the methods about chat sessions: what there is, and its end. */
#include "chat_images.h"
#include "chat_text.h"
#include "error.h"
#include "log.h"
#include "message_view.h"
#include "sv_limits.h"
#include "utf8.h"
#include "uuid.h"
#include "workspace.h"

enum { SWEEP_ARENA = 65536, PAGE_JSON = 16 << 20 };

static int reply_session(sv_call *call, const chat_session_row *row)
{
    char cost[CHAT_COST + 1];
    workspace_chat_session s = chat_show(row, cost);
    return sv_reply(call, &(workspace_chat_session_reply){.session = &s});
}

/* Titles stand in lists: one line, and something in it. */
static int title_check(sv_str title, sv_error *err)
{
    bool any = false;
    for (uint32_t i = 0; i < title.n; i++) {
        uint8_t c = (uint8_t)title.p[i];
        if (c < ' ' || c == 0x7f)
            return sv_fail(err, SV_E_INVALID, "title",
                           "\"title\" must have no line breaks or control characters.");
        any = any || c != ' ';
    }
    return any ? 0 : sv_fail(err, SV_E_INVALID, "title", "\"title\" must not be empty.");
}

int workspace_chat_sessions(sv_call *call, const void *request)
{
    const workspace_chat_sessions_req *q = request;
    file_who who;
    chat_list_out page;
    chat_list_in in = {&who, q->after, (uint32_t)q->limit};
    int rc = workspace_who(call, &who);
    if (rc == 0) rc = store_read(call, chat_list, &in, &page);
    if (rc) return rc;
    arena *a = sv_call_arena(call);
    workspace_chat_session *list = arena_alloc(a, sizeof *list * (page.n + 1));
    char(*cost)[CHAT_COST + 1] = arena_alloc(a, sizeof *cost * (page.n + 1));
    if (list == NULL || cost == NULL) return SV_E_NO_MEMORY;
    for (uint32_t i = 0; i < page.n; i++)
        list[i] = chat_show(&page.rows[i], cost[i]);
    workspace_chat_sessions_reply reply = {.sessions = {list, page.n}};
    if (page.more) reply.next = list[page.n - 1].id;
    return sv_reply(call, &reply);
}

/* ---- one ---- */

static const char *state_of(const workspace *w, const chat_session_row *s,
                            const chat_message_row *row)
{
    if (sv_str_is(row->state, "complete")) return "complete";
    if (sv_str_is(row->state, "failed")) return "failed";
    bool open = sv_str_is(row->state, "open");
    return open && chats_writing(&w->chats, s->id, row->number) ? "writing" : "cut";
}

static workspace_chat_message show(const workspace *w, const chat_session_row *s,
                                   const chat_message_row *row, char cost[CHAT_COST + 1])
{
    return (workspace_chat_message){.id = row->id,
                                    .number = row->number,
                                    .role = row->role,
                                    .state = sv_cstr(state_of(w, s, row)),
                                    .text = row->text.n ? row->text : (sv_str){"", 0},
                                    .created = row->created,
                                    .task = row->task,
                                    .model = row->model,
                                    .provider = row->provider,
                                    .prompt_tokens = row->prompt_tokens,
                                    .completion_tokens = row->completion_tokens,
                                    .cost = chat_cost(row->priced, row->price, cost),
                                    .decision_id = row->decision,
                                    .finish = row->finish,
                                    .error = row->error,
                                    .images = row->images};
}

static int write_page(sv_call *call, const chat_page_out *page, buf *json)
{
    const workspace *w = sv_process_state(sv_call_process(call));
    arena *a = sv_call_arena(call);
    char total[CHAT_COST + 1];
    workspace_chat_session s = chat_show(&page->session, total);
    workspace_chat_message *list = arena_alloc(a, sizeof *list * (page->n + 1));
    char(*cost)[CHAT_COST + 1] = arena_alloc(a, sizeof *cost * (page->n + 1));
    if (list == NULL || cost == NULL) return SV_E_NO_MEMORY;
    for (uint32_t i = 0; i < page->n; i++)
        list[i] = show(w, &page->session, &page->rows[i], cost[i]);
    workspace_chat_messages_reply reply = {
        .session = &s,
        .messages = {list, page->n},
        .before = page->more && page->n ? list[0].number : 0,
    };
    int rc = message_view(&workspace_chat_messages_reply_msg, &reply, json);
    return rc ? rc : buf_putc(json, '\n');
}

int workspace_chat_session_of(sv_call *call, const void *request)
{
    const workspace_chat_messages_req *q = request;
    file_who who;
    chat_page_out page;
    chat_page_in in = {&who, q->id, q->before, (uint32_t)q->limit};
    router_complete_head head = {.http_status = 200, .content_type = sv_cstr("application/json")};
    buf json;
    int rc = workspace_who(call, &who);
    if (rc == 0) rc = store_read(call, chat_page, &in, &page);
    if (rc) return rc;
    buf_init(&json, PAGE_JSON);
    rc = write_page(call, &page, &json);
    if (rc == 0) rc = sv_reply_with(call, &head, buf_str(&json));
    buf_free(&json);
    return rc;
}

int workspace_chat_images(sv_call *call, const void *request)
{
    const workspace_chat_images_req *q = request;
    router_complete_head head = {.http_status = 200, .content_type = sv_cstr("application/json")};
    file_who who;
    chat_images_in in = {&who, q->id, q->number};
    buf images, json;
    sv_str url;
    uint32_t at = 0;
    buf_init(&images, CHAT_IMAGES_BYTES);
    buf_init(&json, CHAT_IMAGES_BYTES + LIMIT_MESSAGE_BYTES);
    int rc = workspace_who(call, &who);
    if (rc == 0) rc = store_read(call, chat_images, &in, &images);
    buf_puts(&json, "{\"images\":[");
    while (rc == 0 && chat_images_next(buf_str(&images), &at, &url)) {
        buf_puts(&json, json.p[json.n - 1] == '[' ? "\"" : ",\"");
        buf_put(&json, url.p, url.n);
        buf_putc(&json, '"');
    }
    buf_puts(&json, "]}\n");
    if (rc == 0) rc = json.failed ? json.error : sv_reply_with(call, &head, buf_str(&json));
    buf_free(&images);
    buf_free(&json);
    return rc;
}

int workspace_chat_session_new(sv_call *call, const void *request)
{
    const workspace_chat_session_new_req *q = request;
    const workspace *w = sv_process_state(sv_call_process(call));
    file_who who;
    char text[UUID_TEXT + 1];
    sv_id id = uuid_new();
    uuid_format(&id, text);
    chat_session_row row;
    chat_new_in in = {&who, &w->chats.limits, text, q->title, q->model};
    int rc = workspace_who(call, &who);
    if (rc == 0 && q->title.n) rc = title_check(q->title, sv_call_error(call));
    if (rc == 0) rc = store_write(call, chat_new, &in, &row);
    return rc ? rc : reply_session(call, &row);
}

int workspace_chat_session_change(sv_call *call, const void *request)
{
    const workspace_chat_session_change_req *q = request;
    file_who who;
    chat_session_row row;
    chat_one in = {&who, q->id, q->title};
    int rc = workspace_who(call, &who);
    if (rc == 0) rc = title_check(q->title, sv_call_error(call));
    if (rc == 0) rc = store_write(call, chat_rename, &in, &row);
    return rc ? rc : reply_session(call, &row);
}

int workspace_chat_session_delete(sv_call *call, const void *request)
{
    const workspace_chat_session_req *q = request;
    workspace *w = sv_process_state(sv_call_process(call));
    file_who who;
    chat_one in = {.who = &who, .id = q->id};
    int rc = workspace_who(call, &who);
    if (rc == 0) rc = store_write(call, chat_delete, &in, NULL);
    if (rc) return rc;
    workspace_sweep(w);
    return sv_reply(call, &(bus_empty){});
}

/* ---- upkeep ---- */

static void swept(void *arg, int code, const sv_error *err)
{
    workspace *w = arg;
    w->chats.sweeping = false;
    if (code)
        log_write(LOG_WARN, "messages of deleted chats could not be taken away", LOG_ERR(err));
    else if (w->chats.more)
        workspace_sweep(w);
}

void workspace_sweep(workspace *w)
{
    bool any = false;
    arena a;
    if (w->chats.sweeping || sv_store(w->process) == NULL) return;
    arena_init(&a, SWEEP_ARENA);
    store_op op = {.fn = chat_swept, .out = &any, .arena = &a, .owner = "workspace.sweep"};
    int rc = store_view(sv_store(w->process), &op);
    arena_free(&a);
    if (rc || !any) return;
    w->chats.sweeping = sv_store_write(w->process, "workspace.sweep", chat_sweep, NULL,
                                       &w->chats.more, swept, w) == 0;
}
