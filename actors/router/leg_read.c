/*  leg_read.c - what a provider sends becomes what the client gets.
 *
 *  Passing, events of OpenAI's format are looked at here (one walk over a chunk); those of other
 *  formats by their reader, whose events are only watched. Translating, the same events go on to the
 *  client's writer. Both tell the leg the same things: content, calls, finish, usage, errors. */
#include "relay.h"

#include "embed.h"
#include "openai.h"

#include <stdio.h>

enum {
    AFTER_DONE_US = 1000000,   /* a provider that keeps its connection open behind its end marker */
    AFTER_FINISH_US = 5000000, /* one that has finished and sends neither usage nor an end marker */
    DEPTH = LIMIT_JSON_DEPTH
};

/* ---- what events tell ---- */

static bool is_content(llm_event_kind k)
{
    switch (k) {
    case LLM_TEXT:
    case LLM_THINKING:
    case LLM_OPAQUE:
    case LLM_CALL:
    case LLM_ARGUMENTS:
    case LLM_REFUSED: return true;
    case LLM_START:
    case LLM_SIGNATURE:
    case LLM_USAGE:
    case LLM_FINISH:
    case LLM_FAILED: break;
    }
    return false;
}

static void keep_said(const leg *l, const llm_event *e)
{
    relay *r = l->relay;
    if (!r->q->continued || !r->stream || (!r->said_all && r->head_sent)) return;
    if (!r->head_sent && !l->content) { /* of another that broke off unseen */
        buf_reset(&r->said, SAID_MAX);
        r->said_all = true;
    }
    if (e->kind == LLM_CALL || e->kind == LLM_ARGUMENTS || e->choice > 0 ||
        (e->kind == LLM_TEXT && r->said.n + e->text.n > SAID_MAX))
        r->said_all = false; /* what a beginning cannot say */
    else if (e->kind == LLM_TEXT)
        buf_put(&r->said, e->text.p, e->text.n);
}

/* The provider says in its stream that it has failed. */
static int on_failed(leg *l, const llm_event *e)
{
    llm_failure *f = &l->failure;
    *f = (llm_failure){.kind = LLM_FAIL_SERVER, .status = e->status ? e->status : 502};
    buf words;
    buf_init(&words, sizeof f->message - 1);
    llm_decode(e->text, &words);
    snprintf(f->message, sizeof f->message, "%.*s", (int)words.n, words.n ? words.p : "");
    buf_free(&words);
    snprintf(f->code, sizeof f->code, "%.*s", SV_FMT(e->code));
    snprintf(f->type, sizeof f->type, "server_error");
    if (f->status == 429) f->kind = LLM_FAIL_RATE;
    if (f->status == 503 || f->status == 529) f->kind = LLM_FAIL_OVERLOAD;
    if (f->status == 400) f->kind = LLM_FAIL_REQUEST;
    l->error_seen = true;
    if (l == l->relay->winner)
        return provider_in(l->who->provider, e->text) ? SV_E_PROVIDER_REFUSED : 0;
    l->early_error = true;
    l->status = f->status;
    return SV_E_PROVIDER_REFUSED;
}

/* The model's name, inside of a JSON string, for metrics. */
static void keep_name(leg *l, sv_str name)
{
    if (l->answered[0] || name.n == 0 || name.n >= sizeof l->answered ||
        memchr(name.p, '\\', name.n))
        return;
    snprintf(l->answered, sizeof l->answered, "%.*s", SV_FMT(name));
}

static int watch(leg *l, const llm_event *e)
{
    if (e->kind == LLM_FAILED) return on_failed(l, e);
    uint64_t bit = (uint64_t)1 << (e->choice & 63);
    if (e->kind == LLM_FINISH) l->ended |= bit;
    if (e->kind == LLM_FINISH && (e->choice == 0 || !l->finished)) {
        l->finished = true;
        l->finish = e->finish;
        if (e->text.n < sizeof l->stop_sequence)
            snprintf(l->stop_sequence, sizeof l->stop_sequence, "%.*s", SV_FMT(e->text));
    }
    if (e->kind == LLM_START) keep_name(l, e->model);
    if (e->kind == LLM_USAGE && e->usage) l->tokens = *e->usage;
    if (!is_content(e->kind)) return 0;
    if (e->kind == LLM_CALL) {
        l->tools = true;
        calls_begin(&l->calls, &l->relay->request, e->choice, e->index, e->name);
    }
    if (e->kind == LLM_ARGUMENTS) calls_arguments(&l->calls, e->choice, e->index, e->text);
    if (e->kind != LLM_OPAQUE) prompt_log_keep(l, e->kind == LLM_CALL ? e->name : e->text);
    l->text_bytes += e->text.n;
    keep_said(l, e);
    if (e->text.n || e->kind == LLM_CALL) {
        l->content = true;
        l->begun |= bit;
    }
    return 0;
}

static int on_watched(void *arg, const llm_event *e)
{
    return watch(arg, e);
}

/* A continuation goes on in the middle: its start and its repeated beginning were written already. */
static int on_translated(void *arg, const llm_event *e)
{
    leg *l = arg;
    relay *r = l->relay;
    int rc = watch(l, e);
    if (rc || (l->continues && e->kind == LLM_START)) return rc;
    if (e->kind == LLM_FAILED) return SV_E_PROVIDER_REFUSED; /* said by deliver_failure */
    /* They end the answer: whoever won writes them when the leg is closed. */
    if (e->kind == LLM_USAGE || (e->kind == LLM_FINISH && e->choice == 0)) return 0;
    if (r->winner && r->winner != l) return SV_E_CANCELLED;
    return r->client->writer_event(l->writer, e, &l->made);
}

/* Told of a choice alone, clients would take it for an end: it is told as a failure of the whole. */
static int choice_failed(leg *l, sv_str choice)
{
    int status = answer_error_status(json_get(json_root(choice), "error"));
    llm_failure_read(l->format, status ? status : 502, choice, &l->failure);
    l->error_seen = true;
    if (l == l->relay->winner) return SV_E_PROVIDER_REFUSED;
    l->early_error = true;
    l->status = status ? status : 502;
    return SV_E_PROVIDER_REFUSED;
}

static int watch_chunk(leg *l, sv_str data, sse_verdict *verdict)
{
    relay *r = l->relay;
    chunk c = answer_chunk(data);
    if (!c.object) return SV_E_PROVIDER_GARBAGE;
    if (c.failed.n && c.error.type == JSON_NONE) return choice_failed(l, c.failed);
    if (c.error.type != JSON_NONE) {
        int status = answer_error_status(c.error);
        llm_failure_read(l->format, status ? status : 502, data, &l->failure);
        l->error_seen = true;
        if (l != r->winner) {
            l->early_error = true;
            l->status = status ? status : 502;
            buf_reset(&l->collected, SIZE_MAX);
            buf_put(&l->collected, data.p, data.n);
            return SV_E_PROVIDER_REFUSED;
        }
        if (provider_in(l->who->provider, data)) return SV_E_PROVIDER_REFUSED;
    }
    if (c.id.type == JSON_STRING && l->answer_id[0] == 0 && c.id.raw.n < sizeof l->answer_id)
        snprintf(l->answer_id, sizeof l->answer_id, "%.*s", SV_FMT(llm_inside(c.id)));
    keep_name(l, llm_inside(c.model));
    if (c.tools) calls_openai(&l->calls, &r->request, data);
    prompt_log_keep_chunk(l, data);
    l->content = l->content || c.content;
    l->tools = l->tools || c.tools;
    l->text_bytes += c.text_bytes;
    if (c.finished && !l->finished) l->finish = c.why;
    l->finished = l->finished || c.finished;
    l->begun |= c.begun;
    l->ended |= c.ended;
    openai_tokens(c.usage, &l->tokens);
    bool extra = c.no_choices && c.usage.type != JSON_NONE;
    l->usage_passed = l->usage_passed || extra;
    *verdict = extra && !r->q->include_usage ? SSE_DROP : SSE_PASS;
    return 0;
}

/* ---- the end ---- */

/* One of several choices may have ended while another goes on, or has not begun. */
static bool all_ended(const leg *l)
{
    int64_t asked = l->format == LLM_OPENAI ? l->relay->answers : 1;
    return l->finished && (l->begun & ~l->ended) == 0 &&
           __builtin_popcountll(l->ended) >= (asked < 64 ? asked : 64);
}

static void on_tail(void *arg)
{
    leg *l = arg;
    l->tail_set = false;
    if (l->done || all_ended(l)) leg_read_close(l);
}

static bool is_last(const leg *l, sv_str type)
{
    switch (l->format) {
    case LLM_ANTHROPIC: return sv_str_is(type, "message_stop");
    case LLM_RESPONSES:
        return sv_str_is(type, "response.completed") || sv_str_is(type, "response.incomplete") ||
               sv_str_is(type, "response.failed");
    case LLM_OLLAMA:
    case LLM_GENERATE: return l->finished;
    case LLM_OPENAI:
    case LLM_COMPLETIONS:
    case LLM_GEMINI:
    case LLM_FORMATS: break;
    }
    return false;
}

/* The last frame waits for the disk where the ledger is strict, and for usage that is missing. */
static sse_verdict keep_last(leg *l, sv_str type, sv_str data)
{
    relay *r = l->relay;
    if (l->error_seen && !sv_str_is(type, "response.failed")) return SSE_DROP;
    bool lacks_usage = l->format == LLM_OPENAI && r->q->include_usage && !l->usage_passed;
    if (l->way != LEG_PASS || (!r->router->ledger.strict && !lacks_usage)) return SSE_PASS;
    if (type.n) buf_printf(&r->last, "event: %.*s\n", SV_FMT(type));
    if (l->ops->framing == LLM_SSE) buf_puts(&r->last, "data: ");
    buf_put(&r->last, data.p, data.n);
    buf_puts(&r->last, l->ops->framing == LLM_SSE ? "\n\n" : "\n");
    return SSE_DROP;
}

static void mind_the_end(leg *l)
{
    if (l->tail_set && !l->done && l->text_bytes == l->tail_bytes) return;
    l->tail_bytes = l->text_bytes; /* of several choices one may have ended */
    loop_timer_set(l->relay->router->loop, &l->tail, l->done ? AFTER_DONE_US : AFTER_FINISH_US,
                   on_tail, l);
    l->tail_set = true;
}

/* ---- one event ---- */

static int see(leg *l, sv_str type, sv_str data, sse_verdict *verdict)
{
    sv_error why = {0};
    l->saw_event = true;
    if (l->format == LLM_OPENAI && sv_str_is(data, "[DONE]")) {
        l->done = true;
        *verdict = keep_last(l, type, data);
        return 0;
    }
    int rc;
    if (l->way == LEG_PASS && l->format == LLM_OPENAI)
        rc = watch_chunk(l, data, verdict);
    else
        rc = l->ops->read(l->reader, type, data, l->way == LEG_PASS ? on_watched : on_translated, l,
                          &why);
    if (rc) {
        if (l->early_error && l->way == LEG_PASS && l->collected.n == 0)
            buf_put(&l->collected, data.p, data.n);
        return rc;
    }
    if (is_last(l, type)) {
        l->done = true;
        *verdict = keep_last(l, type, data);
    }
    return 0;
}

static bool take(leg *l, sv_str type, sv_str data, sse_verdict *verdict)
{
    *verdict = SSE_PASS;
    if (l->done) {
        *verdict = SSE_DROP; /* nothing belongs behind the end */
        return true;
    }
    int rc = see(l, type, data, verdict);
    if (rc) l->stop_code = rc;
    if (l->way == LEG_TRANSLATE) *verdict = SSE_DROP;
    return rc == 0;
}

static sse_verdict on_event(void *arg, sv_str data)
{
    leg *l = arg;
    sse_verdict verdict;
    if (data.p == NULL) return l->way == LEG_PASS ? SSE_PASS : SSE_DROP;
    return take(l, l->sse.type, data, &verdict) ? verdict : SSE_STOP;
}

static bool pass(leg *l, sv_str bytes)
{
    int rc = l->early_error ? 0 : deliver_bytes(l, bytes);
    if (rc) l->stop_code = rc;
    return rc == 0;
}

static bool on_pass(void *arg, sv_str bytes)
{
    return pass(arg, bytes);
}

static const sse_sink sink = {on_event, on_pass};

static bool on_line(void *arg, sv_str line)
{
    leg *l = arg;
    sse_verdict verdict;
    if (!take(l, (sv_str){NULL, 0}, line, &verdict)) return false;
    return verdict == SSE_DROP || (pass(l, line) && pass(l, sv_cstr("\n")));
}

/* ---- bytes ---- */

int leg_read_begin(leg *l, sv_error *err)
{
    relay *r = l->relay;
    bool reads = l->way == LEG_TRANSLATE || (l->way == LEG_PASS && l->format != LLM_OPENAI);
    if (!reads) return 0;
    l->reader = l->ops->reader_new(r->stream);
    if (l->reader == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    if (l->way != LEG_TRANSLATE) return 0;
    buf_init(&l->made, r->router->answer_bytes + SSE_EVENT_BYTES);
    if (l->continues) {
        l->writer = r->writer;
        return 0;
    }
    l->writer = relay_new_writer(r, sv_cstr(l->who->model));
    return l->writer ? 0 : sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
}

/* The scanner stopped or failed. */
static void stopped(leg *l, int rc)
{
    sv_error why = {0};
    int code = rc == 1 ? l->stop_code : rc;
    if (code == SV_E_CANCELLED && l->relay->client_gone) {
        deliver_cancelled(l->relay->call);
        return;
    }
    if (rc == SV_E_BAD_UTF8) {
        code = SV_E_PROVIDER_GARBAGE;
        sv_fail(&why, code, NULL, "It was not valid UTF-8.");
    } else if (code == SV_E_PROVIDER_GARBAGE) {
        sv_fail(&why, code, NULL, "An event was not what it should be.");
    } else if (code != SV_E_PROVIDER_REFUSED) {
        sv_fail(&why, code, NULL, NULL);
    }
    course_failed(l, code, why.code ? &why : NULL);
}

/* What was translated of these bytes. */
static int flush(leg *l)
{
    if (l->way != LEG_TRANSLATE || l->made.n == 0) return 0;
    if (l->made.failed) return l->made.error;
    int rc = deliver_bytes(l, buf_str(&l->made));
    buf_reset(&l->made, 65536);
    return rc;
}

bool leg_read_bytes(leg *l, sv_str bytes)
{
    relay *r = l->relay;
    bool was_done = l->done;
    int rc = l->ops->framing == LLM_LINES ? line_feed(&l->lines, bytes, on_line, l)
                                          : sse_feed(&l->sse, bytes, &sink, l);
    if (was_done) return true; /* behind the end nothing counts */
    if (l->done && rc != 1) rc = 0;
    int sent = rc == 0 || !l->early_error ? flush(l) : 0;
    if (rc == 0 && sent) {
        rc = 1;
        l->stop_code = sent;
    }
    if (rc) {
        stopped(l, rc);
        return false;
    }
    if (l->content && r->winner == NULL && !course_content(l)) return false;
    if (all_ended(l) || l->done) mind_the_end(l);
    if (l->done && r->winner == l) {
        loop_timer_stop(r->router->loop, &l->first);
        leg_settle(l, l->error_seen ? SV_E_PROVIDER_REFUSED : 0, true);
        if (r->lost) leg_read_close(l);
    }
    return true;
}

void leg_read_end(leg *l, int code, const sv_error *why)
{
    int rc = 0;
    if (code == 0 && !l->done)
        rc = l->ops->framing == LLM_LINES ? line_end(&l->lines, on_line, l)
                                          : sse_end(&l->sse, &sink, l);
    /* What the end cut off is no event. */
    if (rc == SV_E_BAD_UTF8 || (rc == 1 && l->stop_code == SV_E_PROVIDER_GARBAGE)) rc = 0;
    if (rc == 0 && l->reader && !l->done) {
        bool complete = false;
        rc = l->ops->read_end(l->reader, l->way == LEG_PASS ? on_watched : on_translated, l,
                              &complete);
        l->finished = l->finished || complete;
    }
    bool ended = all_ended(l);
    int sent = rc ? 0 : flush(l);
    if (sent) l->stop_code = sent;
    if (rc || sent)
        stopped(l, rc ? rc : 1);
    else if (l->done || (l->error_seen && code == 0) || (ended && l->content))
        leg_read_close(l);
    else if (code)
        course_failed(l, code, why);
    else if (ended)
        leg_read_close(l);
    else {
        sv_error words = {0};
        if (!l->saw_event) sv_fail(&words, SV_E_PROVIDER_GARBAGE, NULL, "It was an empty stream.");
        course_failed(l, l->saw_event ? SV_E_PROVIDER_CUT : SV_E_PROVIDER_GARBAGE,
                      words.code ? &words : NULL);
    }
}

/* A 200 that says nothing, calls nothing and was not cut short has failed, whatever it claims. */
static bool is_empty(const leg *l)
{
    return l->relay->op == OP_CHAT && !l->content &&
           (!l->finished || l->finish == LLM_STOP || l->finish == LLM_OTHER);
}

/* ---- the end of a stream ---- */

/* What a passed stream lacks of its end goes into r->last. */
static void mend(leg *l)
{
    relay *r = l->relay;
    buf end;
    if (l->format == LLM_OPENAI) {
        bool missing = r->q->include_usage && !l->usage_passed && (r->last.n || !l->done);
        if (!missing && l->done) return;
        int64_t now_s = (int64_t)(loop_unix_us(r->router->loop) / 1000000);
        buf_init(&end, 65536);
        if (missing)
            answer_put_usage(&end, l->answer_id, sv_cstr(l->who->model), now_s, &l->tokens);
        buf_puts(&end, "data: [DONE]\n\n");
        buf_free(&r->last);
        r->last = end;
    } else if (l->format == LLM_ANTHROPIC && !l->done) {
        buf_puts(&r->last, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
    }
}

static int write_the_end(leg *l, llm_writer *w, buf *out)
{
    relay *r = l->relay;
    const llm_ops *c = r->client;
    tokens t = l->tokens;
    if (l->continues) t.completion += r->broken->tokens.completion;
    llm_event finish = {.kind = LLM_FINISH, .finish = l->finish, .text = sv_cstr(l->stop_sequence)};
    llm_event usage = {.kind = LLM_USAGE, .usage = &t};
    int rc = c->writer_event(w, &finish, out);
    if (rc == 0) rc = c->writer_event(w, &usage, out);
    return rc ? rc : c->writer_end(w, out);
}

void leg_read_close(leg *l)
{
    relay *r = l->relay;
    if (l->early_error) return;
    if (is_empty(l) && r->winner == NULL && !l->empty) {
        sv_error why = {0};
        sv_fail(&why, SV_E_PROVIDER_GARBAGE, NULL, "It was empty.");
        l->empty = true;
        course_failed(l, SV_E_PROVIDER_GARBAGE, &why);
        return;
    }
    if (r->winner == NULL && !course_content(l)) return;
    leg_estimate(l);
    if (!l->error_seen && l->way == LEG_TRANSLATE) {
        int rc = write_the_end(l, r->writer, &r->last);
        if (rc && !r->last.failed) r->last.error = rc;
        r->last.failed = r->last.failed || rc; /* told as an error: half an end is none */
    } else if (!l->error_seen) {
        mend(l);
    }
    course_complete(l);
}

/* ---- whole answers ---- */

/* An error with status 200, as some providers have it. */
static bool is_refusal(leg *l)
{
    if (l->status != 200) return true;
    if (l->way == LEG_RAW && !answer_type_is(sv_cstr(l->content_type), "application/json"))
        return false;
    json_value error = json_get(json_root(buf_str(&l->collected)), "error");
    if (error.type == JSON_NONE || error.type == JSON_NULL || error.type == JSON_FALSE)
        return false;
    int status = answer_error_status(error);
    l->status = status ? status : 502;
    return true;
}

static void refused(leg *l)
{
    sv_error why = {0};
    provider_blot(l->who->provider, &l->collected);
    bool page = answer_type_is(sv_cstr(l->content_type), "text/html");
    if (l->status < 400 || (page && l->status >= 500)) {
        sv_fail(&why, SV_E_PROVIDER_GARBAGE, NULL, "Its status was %d.", l->status);
        course_failed(l, SV_E_PROVIDER_GARBAGE, &why);
        return;
    }
    llm_failure_read(l->format, l->status, buf_str(&l->collected), &l->failure);
    if (l->failure.retry_after_ms && l->retry_after_ms == 0)
        l->retry_after_ms = l->failure.retry_after_ms;
    course_failed(l, SV_E_PROVIDER_REFUSED, NULL);
}

static int look_at_whole(leg *l, sv_str json, sv_error *why)
{
    if (l->way == LEG_PASS && l->format == LLM_OPENAI) {
        chunk c = answer_whole(json);
        if (c.failed.n) return choice_failed(l, c.failed);
        keep_name(l, llm_inside(c.model));
        if (c.tools) calls_openai(&l->calls, &l->relay->request, json);
        l->content = c.content;
        l->tools = c.tools;
        l->finished = c.finished;
        l->finish = c.why;
        l->text_bytes = c.text_bytes;
        openai_tokens(c.usage, &l->tokens);
        return 0;
    }
    bool complete = false;
    llm_sink *to = l->way == LEG_PASS ? on_watched : on_translated;
    sv_str none = {NULL, 0};
    int rc = l->ops->read(l->reader, none, json, to, l, why);
    if (rc == 0) rc = l->ops->read_end(l->reader, to, l, &complete);
    l->finished = l->finished || complete;
    return rc;
}

static int make_whole(leg *l, sv_str json, sv_error *why)
{
    relay *r = l->relay;
    buf_init(&l->made, r->router->answer_bytes * 2);
    if (l->way == LEG_EMBED)
        return embed_answer(&r->embed, l->format, r->client->format, r->q->model, json, &l->tokens,
                            &l->made, why);
    int rc = look_at_whole(l, json, why);
    if (rc) return rc;
    leg_estimate(l);
    return l->way == LEG_TRANSLATE ? write_the_end(l, l->writer, &l->made) : 0;
}

/* What the answer of an endpoint that is passed on tells of its cost; `json` may be empty. */
static void look_at_raw(leg *l, sv_str json)
{
    cost_use use;
    if (l->relay->op == OP_COUNT) return; /* nothing was made */
    cost_read_answer(&l->relay->cost, json, &use);
    l->tokens = use.tokens;
    l->pictures = use.pictures;
    l->sound_ms = use.sound_ms;
}

void leg_read_whole(leg *l)
{
    sv_error why = {0};
    sv_str json = buf_str(&l->collected);
    if (is_refusal(l)) {
        refused(l);
        return;
    }
    if (l->way == LEG_RAW && !answer_type_is(sv_cstr(l->content_type), "application/json")) {
        look_at_raw(l, (sv_str){NULL, 0});
        course_complete(l);
        return;
    }
    if (json_skim(json, DEPTH, &why) || json_root(json).type != JSON_OBJECT) {
        sv_error words = {0};
        sv_fail(&words, SV_E_PROVIDER_GARBAGE, NULL, "It was no JSON object.");
        sv_error_detail(&words, "%s", why.message);
        course_failed(l, SV_E_PROVIDER_GARBAGE, &words);
        return;
    }
    int rc = 0;
    if (l->way == LEG_RAW)
        look_at_raw(l, json);
    else
        rc = make_whole(l, json, &why);
    if (rc) {
        course_failed(l, l->early_error ? SV_E_PROVIDER_REFUSED : SV_E_PROVIDER_GARBAGE, &why);
    } else if (is_empty(l)) {
        sv_fail(&why, SV_E_PROVIDER_GARBAGE, NULL, "It was empty.");
        l->empty = true;
        course_failed(l, SV_E_PROVIDER_GARBAGE, &why);
    } else {
        course_complete(l);
    }
}
