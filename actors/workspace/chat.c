/*  chat.c - workspace.chat. A job is a chain of callbacks: begin (a write, with a session), ask, items,
 *  conclude, finish (a write, with a session), deliver. It has copies of all that it needs of its call,
 *  which may be gone at any point between them.
 *
 *  Invariant: a job has a call, or it has a session; it waits for exactly one thing, its stream or its
 *  write.
 *
 *  Flow: what was written to the caller and has not left yet is owed to the model's stream; a job whose
 *  caller has left owes nothing. */
#include "chat_job.h"

#include "cache_key.h"
#include "chat_images.h"
#include "error.h"
#include "log.h"
#include "sv_limits.h"
#include "ticket.h"
#include "utf8.h"

#include <stdio.h>
#include <stdlib.h>

enum { BODY_MOST = 32 << 20, REFUSAL_BYTES = 65536, REPLY_MORE = 65536 };

/* ---- jobs ---- */

static void job_end(chat_job *j)
{
    chats *c = &j->w->chats;
    if (j->prev)
        j->prev->next = j->next;
    else
        c->jobs = j->next;
    if (j->next) j->next->prev = j->prev;
    c->n--;
    if (j->held) sv_hold(j->w->process, -1);
    chat_reader_free(&j->reader);
    buf *bufs[] = {&j->ticket,   &j->packed, &j->body,   &j->refusal, &j->answer,
                   &j->thinking, &j->out,    &j->images, &j->earlier};
    for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++)
        buf_free(bufs[i]);
    arena_free(&j->arena);
    free(j);
}

void chats_init(chats *c, const config *cfg)
{
    c->limits = (chat_limits){.context_messages = config_int(cfg, "chat.context_messages"),
                              .context_bytes = config_int(cfg, "chat.context_bytes"),
                              .sessions = config_int(cfg, "chat.sessions_most"),
                              .messages = config_int(cfg, "chat.messages_most"),
                              .image_bytes = config_int(cfg, "chat.image_bytes"),
                              .kept_image_bytes = config_int(cfg, "chat.kept_image_bytes")};
    c->image_bytes = (size_t)c->limits.image_bytes;
    c->message_bytes = (size_t)config_int(cfg, "chat.message_bytes");
    c->answer_bytes = (size_t)config_int(cfg, "chat.answer_bytes");
    c->reply_bytes = (size_t)config_int(cfg, "router.answer_bytes") + REPLY_MORE;
}

void chats_free(chats *c)
{
    while (c->jobs)
        job_end(c->jobs);
}

bool chats_writing(const chats *c, sv_str session, int64_t number)
{
    for (const chat_job *j = c->jobs; j; j = j->next)
        if (j->stored && j->begun.answer == number && sv_str_is(session, j->session)) return true;
    return false;
}

static void new_id(char to[UUID_TEXT + 1])
{
    sv_id id = uuid_new();
    uuid_format(&id, to);
}

static void news(const chat_job *j, const char *message, const char *role, const char *state)
{
    workspace_chat_news n = {sv_cstr(j->session), sv_cstr(message), sv_cstr(role), sv_cstr(state)};
    workspace_tell_user(j->w->process, &j->who, "chat.message", &workspace_chat_news_msg, &n);
}

/* ---- the end ---- */

static void release(const chat_job *j)
{
    sv_on_cancel(j->call, NULL);
    sv_on_drained(j->call, NULL);
}

static int deliver_stream(chat_job *j, const workspace_chat_done *done)
{
    buf_reset(&j->out, j->out.cap);
    int rc = chat_event_done(done, &j->out);
    if (rc == 0) rc = sv_write(j->call, "text/event-stream", buf_str(&j->out));
    return rc ? rc : sv_reply_raw(j->call, NULL, (sv_str){"", 0});
}

static int deliver_whole(chat_job *j, const workspace_chat_done *done)
{
    router_complete_head head = chat_own_head(j, "application/json");
    buf_reset(&j->out, j->out.cap);
    int rc = chat_answer(buf_str(&j->answer), buf_str(&j->thinking), done, &j->out);
    return rc ? rc : sv_reply_with(j->call, &head, buf_str(&j->out));
}

static void deliver(chat_job *j)
{
    if (j->call) {
        workspace_chat_usage usage;
        workspace_chat_done done;
        char cost[CHAT_COST + 1];
        release(j);
        chat_say_done(j, &usage, cost, &done);
        int rc = j->code;
        if (rc == 0) rc = j->streaming ? deliver_stream(j, &done) : deliver_whole(j, &done);
        if (rc) sv_refuse(j->call, rc, j->code ? &j->error : NULL);
    }
    job_end(j);
}

static void fail(chat_job *j, int code, const sv_error *err)
{
    j->code = code;
    j->error = err ? *err : (sv_error){.code = 0};
    if (j->error.code == 0) sv_fail(&j->error, code, NULL, NULL);
}

static const char *state_of(const chat_job *j)
{
    if (j->code == 0) return "complete";
    return j->answer.n ? "cut" : "failed";
}

static void on_finished(void *arg, int code, const sv_error *err)
{
    chat_job *j = arg;
    if (code == 0)
        news(j, j->answer_id, "assistant", state_of(j));
    else
        log_write(LOG_WARN, "an answer could not be stored", LOG_ERR(err));
    if (code && j->code == 0) fail(j, code, err);
    deliver(j);
}

/* The answer has ended, well or not. */
static void conclude(chat_job *j, int code, const sv_error *err)
{
    const chat_facts *f = &j->facts;
    if (code) fail(j, code, err);
    if (j->code && j->answer.n) snprintf(j->facts.finish, sizeof j->facts.finish, "cut");
    if (!j->stored) {
        deliver(j);
        return;
    }
    j->row = (chat_message_row){.state = sv_cstr(state_of(j)),
                                .task = chat_said(f->task),
                                .model = chat_said(f->model),
                                .provider = chat_said(f->provider),
                                .prompt_tokens = f->prompt_tokens,
                                .completion_tokens = f->completion_tokens,
                                .priced = f->priced,
                                .price = f->price,
                                .decision = chat_said(f->decision),
                                .finish = chat_said(f->finish)};
    if (j->code) j->row.error = sv_cstr(sv_error_lookup(j->code)->name);
    j->finish = (chat_finish_in){.who = &j->who,
                                 .session = j->session,
                                 .number = j->begun.answer,
                                 .answer = &j->row,
                                 .text = buf_str(&j->answer)};
    int rc = sv_store_write(j->w->process, "workspace.chat", chat_finish, &j->finish, NULL,
                            on_finished, j);
    if (rc) on_finished(j, rc, NULL);
}

/* ---- what the model says ---- */

static void grant(chat_job *j)
{
    if (j->stream && j->owed_items) sv_consumed(j->stream, j->owed_items, j->owed_bytes);
    j->owed_items = 0;
    j->owed_bytes = 0;
}

static void on_drained(sv_call *call)
{
    grant(sv_call_data(call));
}

/* From the reader, piece by piece. Failures are seen at the end of the feeding: the buffers keep them. */
static void on_said(void *arg, bool thinking, sv_str text)
{
    chat_job *j = arg;
    if (!thinking) buf_put(&j->answer, text.p, text.n);
    if (j->call) chat_event_text(thinking ? "thinking" : "delta", text, &j->out);
}

/* ---- streams ---- */

static int begin_answer(chat_job *j)
{
    router_complete_head head = chat_own_head(j, "text/event-stream");
    j->told = true;
    return j->call ? sv_partial(j->call, &router_complete_head_msg, &head, (sv_str){"", 0}) : 0;
}

static int pass_on(chat_job *j, sv_str bytes)
{
    buf_reset(&j->out, j->out.cap);
    int rc = chat_reader_feed(&j->reader, bytes);
    if (j->answer.failed)
        rc = j->answer.error == SV_E_TOO_LARGE ? SV_E_PROVIDER_TOO_LARGE : SV_E_NO_MEMORY;
    if (rc == 0 && j->out.failed) rc = j->out.error;
    if (j->out.n && j->call) {
        int sent = sv_write(j->call, "text/event-stream", buf_str(&j->out));
        if (rc == 0) rc = sent;
    }
    return rc;
}

static void give_up(chat_job *j, int code, const sv_error *err)
{
    if (j->stream) sv_cancel(j->stream);
    j->stream = NULL;
    conclude(j, code, err);
}

static void on_item(void *arg, sv_stream *s, const sv_item *item)
{
    chat_job *j = arg;
    sv_error err = {.code = 0};
    bool first = !j->seen;
    int rc = first ? chat_take_head(j, item->body, &err) : 0;
    sv_str bytes = first || item->attachment.n ? item->attachment : item->body;
    j->seen = true;
    if (rc == 0 && j->refused) {
        buf_put(&j->refusal, bytes.p, bytes.n);
    } else if (rc == 0) {
        if (first) rc = begin_answer(j);
        if (rc == 0) rc = pass_on(j, bytes);
    }
    if (rc) {
        give_up(j, rc, err.code ? &err : NULL);
        return;
    }
    j->owed_items++;
    j->owed_bytes += item->body.n + item->attachment.n;
    (void)s;
    if (j->call == NULL || sv_write_pending(j->call) == 0) grant(j);
}

static int stream_over(chat_job *j, const sv_item *item, sv_error *err)
{
    if (!j->told) return sv_fail(err, SV_E_PROVIDER_GARBAGE, NULL, NULL);
    int rc = chat_take_end(j, item->body, err);
    memcpy(j->facts.finish, j->reader.finish, sizeof j->facts.finish);
    if (rc) return rc;
    if (j->reader.failed[0]) return sv_fail(err, SV_E_PROVIDER_CUT, NULL, "%s", j->reader.failed);
    if (!j->facts.whole && j->facts.finish[0] == 0)
        return sv_fail(err, SV_E_PROVIDER_CUT, NULL, NULL);
    return 0;
}

static int whole_over(chat_job *j, const sv_item *item, sv_error *err)
{
    int rc = chat_take_head(j, item->body, err);
    if (rc) return rc;
    if (j->refused) {
        buf_put(&j->refusal, item->attachment.p, item->attachment.n);
        return 0;
    }
    rc = chat_read_answer(item->attachment, &j->answer, &j->thinking, j->facts.finish);
    if (rc == SV_E_TOO_LARGE) rc = SV_E_PROVIDER_TOO_LARGE;
    return rc ? sv_fail(err, rc, NULL, NULL) : 0;
}

/* ---- asking ---- */

static int ask(chat_job *j, sv_error *err);

static void on_done(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    chat_job *j = arg;
    sv_error own = {.code = 0};
    (void)s;
    j->stream = NULL;
    j->owed_items = 0;
    j->owed_bytes = 0;
    if (code && !j->by_router && !j->seen && cache_is_away(code)) {
        j->by_router = true;
        code = ask(j, &own);
        if (code == 0) return;
        err = &own;
    } else if (code == 0) {
        if (!j->refused)
            code = j->streaming ? stream_over(j, item, &own) : whole_over(j, item, &own);
        if (code == 0 && j->refused) code = chat_refusal(j, &own);
        err = &own;
    }
    conclude(j, code, err);
}

static int scope_of(const chat_job *j, cache_scope *ret, sv_error *err)
{
    ticket t;
    *ret = (cache_scope){.own = true};
    if (j->ticket.n == 0) return 0; /* the operator */
    int rc = ticket_read(buf_str(&j->ticket), &t, err);
    if (rc) return rc;
    ret->org = t.org;
    ret->user = t.user;
    return 0;
}

static uint32_t left_ms(const chat_job *j)
{
    uint64_t now = loop_now_us(sv_loop(j->w->process));
    return j->deadline_us > now ? (uint32_t)((j->deadline_us - now) / 1000) : 0;
}

/* Through the cache, which keeps by task; the router itself takes what the cache does not. */
static int ask(chat_job *j, sv_error *err)
{
    static const sv_events events = {.item = on_item, .done = on_done};
    cache_scope scope;
    char key[CACHE_KEY + 1];
    router_complete_req q = {.model = sv_cstr(j->model),
                             .stream = j->streaming,
                             .via = j->q.via,
                             .task = j->q.task_type,
                             .complexity = j->q.complexity,
                             .budget = j->q.budget,
                             .allowed = j->q.allowed};
    if (j->stored) q.session = sv_cstr(j->session);
    cache_complete_req kept = {.request = &q, .own = true};
    sv_request r = {.target = "router.complete",
                    .type = &router_complete_req_msg,
                    .body = &q,
                    .attachment = buf_str(&j->body),
                    .ttl_ms = left_ms(j),
                    .stream = j->streaming,
                    .max_reply = j->w->chats.reply_bytes,
                    .trace = &j->trace,
                    .ticket = j->ticket.n ? buf_str(&j->ticket) : (sv_str){NULL, 0}};
    if (r.ttl_ms == 0) return sv_fail(err, SV_E_DEADLINE, NULL, NULL);
    int rc = scope_of(j, &scope, err);
    if (rc) return rc;
    if (!j->by_router && cache_key(&scope, &q, buf_str(&j->body), (sv_str){NULL, 0}, key) == 0) {
        r.target = "cache.complete";
        r.type = &cache_complete_req_msg;
        r.body = &kept;
        r.key = sv_cstr(key);
    } else {
        j->by_router = true;
    }
    j->stream = sv_open(j->w->process, &r, &events, j, err);
    if (j->by_router) buf_free(&j->body); /* nobody else will be asked */
    return j->stream ? 0 : err->code;
}

static int compose(chat_job *j, sv_error *err)
{
    const char *model = j->begun.model[0] ? j->begun.model : "auto";
    if (j->q.model.n)
        chat_copy(j->model, sizeof j->model, j->q.model);
    else
        chat_copy(j->model, sizeof j->model, sv_cstr(model));
    chat_prompt p = {.model = sv_cstr(j->model),
                     .system = j->q.system,
                     .text = j->text,
                     .images = buf_str(&j->images),
                     .turns = j->begun.turns,
                     .n = j->begun.n,
                     .seen = &j->earlier,
                     .temperature = j->q.temperature,
                     .max_tokens = j->q.max_tokens,
                     .stream = j->streaming};
    int rc = chat_body(&p, &j->body);
    j->begun.turns = NULL; /* the write's memory goes */
    j->begun.n = 0;
    buf_free(&j->images);
    buf_free(&j->earlier);
    return rc ? sv_fail(err, rc, NULL, NULL) : ask(j, err);
}

static void on_begun(void *arg, int code, const sv_error *err)
{
    chat_job *j = arg;
    sv_error own = {.code = 0};
    if (code) { /* nothing is stored */
        j->stored = false;
        fail(j, code, err);
        deliver(j);
        return;
    }
    news(j, j->message, "user", "complete");
    int rc = compose(j, &own);
    if (rc) conclude(j, rc, &own);
}

/* ---- the call ---- */

static void on_cancel(sv_call *call)
{
    chat_job *j = sv_call_data(call);
    release(j);
    j->call = NULL;
    if (j->stored) {
        sv_hold(j->w->process, 1);
        j->held = true;
        grant(j);
    } else {
        if (j->stream) sv_cancel(j->stream);
        j->stream = NULL;
        job_end(j);
    }
    sv_refuse(call, SV_E_CANCELLED, NULL);
}

static bool is_one_of(sv_str s, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (sv_str_is(s, words[i])) return true;
    return false;
}

/* What is attached: the message, and behind it its images. */
static sv_str text_of(sv_call *call, const workspace_chat_req *q)
{
    sv_str all = sv_call_attachment(call);
    return (sv_str){all.p, q->text_bytes ? (uint32_t)q->text_bytes : all.n};
}

static sv_str images_of(sv_call *call, const workspace_chat_req *q)
{
    sv_str all = sv_call_attachment(call), text = text_of(call, q);
    return (sv_str){all.n > text.n ? all.p + text.n : NULL, all.n - text.n};
}

static int check(sv_call *call, const workspace_chat_req *q, const chats *c)
{
    static const char *const tasks[] = {"chat",   "code",   "summarise", "translate", "extract",
                                        "reason", "vision", "long",      "tools"};
    static const char *const levels[] = {"low", "medium", "high"};
    sv_error *err = sv_call_error(call);
    sv_str text = text_of(call, q);
    uint32_t n_images;
    if (text.n > sv_call_attachment(call).n)
        return sv_fail(err, SV_E_INVALID, "text_bytes", "The attachment is shorter.");
    if (text.n == 0)
        return sv_fail(err, SV_E_MISSING_FIELD, "message", "\"message\" is missing or empty.");
    if (text.n > c->message_bytes)
        return sv_fail(err, SV_E_TOO_LARGE, "message",
                       "\"message\" has %u bytes; %zu are allowed (chat.message_bytes).", text.n,
                       c->message_bytes);
    if (!utf8_valid(text) || memchr(text.p, 0, text.n))
        return sv_fail(err, SV_E_BAD_UTF8, "message", "\"message\" must be UTF-8 without NUL.");
    if (q->system.n && memchr(q->system.p, 0, q->system.n))
        return sv_fail(err, SV_E_INVALID, "system", "\"system\" must have no NUL.");
    if (q->task_type.n && !is_one_of(q->task_type, tasks, sizeof tasks / sizeof *tasks))
        return sv_fail(err, SV_E_INVALID, "task_type",
                       "\"task_type\" is one of chat, code, summarise, translate, extract, reason, "
                       "vision, long and tools.");
    if (q->complexity.n && !is_one_of(q->complexity, levels, sizeof levels / sizeof *levels))
        return sv_fail(err, SV_E_INVALID, "complexity",
                       "\"complexity\" is one of low, medium and high.");
    int rc = chat_images_check(images_of(call, q), c->image_bytes, &n_images, err);
    if (rc) return rc;
    if (c->n >= CHAT_JOBS)
        return sv_fail(err, SV_E_OVERLOADED, NULL, "Too many chats are under way.");
    return 0;
}

/* Copies of all that the call lends. */
static int job_fill(chat_job *j, sv_call *call, const workspace_chat_req *q)
{
    sv_str text = text_of(call, q), images = images_of(call, q), who = sv_call_ticket(call);
    const chats *c = &j->w->chats;
    arena_init(&j->arena, 2 * CHAT_MESSAGE_BYTES);
    buf_init(&j->ticket, LIMIT_TICKET_BYTES);
    buf_init(&j->packed, LIMIT_PART_BYTES);
    buf_init(&j->body, BODY_MOST);
    buf_init(&j->refusal, REFUSAL_BYTES);
    buf_init(&j->answer, c->answer_bytes);
    buf_init(&j->thinking, c->answer_bytes);
    buf_init(&j->out, BODY_MOST);
    buf_init(&j->images, CHAT_IMAGES_BYTES);
    buf_init(&j->earlier, CHAT_IMAGES_BYTES);
    chat_reader_init(&j->reader, on_said, j);
    j->streaming = sv_call_streaming(call);
    j->trace = *sv_call_trace(call);
    j->deadline_us = loop_now_us(sv_loop(j->w->process)) + (uint64_t)sv_call_ttl_ms(call) * 1000;
    char *copy = arena_copy(&j->arena, text);
    j->text = (sv_str){copy, text.n};
    int rc = copy ? buf_put(&j->ticket, who.p, who.n) : SV_E_NO_MEMORY;
    if (rc == 0 && images.n) rc = buf_put(&j->images, images.p, images.n);
    if (rc == 0) rc = chat_images_check(images, c->image_bytes, &j->n_images, NULL);
    if (rc == 0) rc = message_encode(&workspace_chat_req_msg, q, &j->packed);
    if (rc == 0)
        rc = message_decode(&workspace_chat_req_msg, buf_str(&j->packed), MESSAGE_STRICT, &j->arena,
                            &j->q, sv_call_error(call));
    return rc;
}

static chat_job *job_new(workspace *w, sv_call *call, const workspace_chat_req *q, int *rc)
{
    chat_job *j = calloc(1, sizeof *j);
    *rc = SV_E_NO_MEMORY;
    if (j == NULL) return NULL;
    j->w = w;
    j->next = w->chats.jobs;
    if (j->next) j->next->prev = j;
    w->chats.jobs = j;
    w->chats.n++;
    *rc = job_fill(j, call, q);
    if (*rc == 0) return j;
    job_end(j);
    return NULL;
}

static int store_message(chat_job *j, const file_who *who)
{
    bool anew = sv_str_is(j->q.session_id, "new");
    j->who = *who;
    new_id(j->message);
    new_id(j->answer_id);
    if (anew)
        new_id(j->session);
    else
        chat_copy(j->session, sizeof j->session, j->q.session_id);
    chat_title(j->text, j->title);
    j->stored = true;
    j->begin = (chat_begin_in){.who = &j->who,
                               .limits = &j->w->chats.limits,
                               .session = j->session,
                               .anew = anew,
                               .message = j->message,
                               .answer = j->answer_id,
                               .text = j->text,
                               .images = buf_str(&j->images),
                               .n_images = j->n_images,
                               .seen = &j->earlier,
                               .model = j->q.model,
                               .title = j->title};
    return sv_store_write(j->w->process, "workspace.chat", chat_begin, &j->begin, &j->begun,
                          on_begun, j);
}

int workspace_chat(sv_call *call, const void *request)
{
    const workspace_chat_req *q = request;
    workspace *w = sv_process_state(sv_call_process(call));
    file_who who = {.writes = false};
    int rc = check(call, q, &w->chats);
    if (rc == 0 && q->session_id.n) rc = workspace_who(call, &who);
    if (rc) return rc;
    chat_job *j = job_new(w, call, q, &rc);
    if (j == NULL) return rc;
    rc = q->session_id.n ? store_message(j, &who) : compose(j, sv_call_error(call));
    if (rc) {
        job_end(j);
        return rc;
    }
    j->call = call;
    sv_call_set_data(call, j);
    sv_on_cancel(call, on_cancel);
    sv_on_drained(call, on_drained);
    return SV_PENDING;
}
