/*  chat_text.c - bodies are written and read as text: what a model says goes from one JSON string into
 *  another. An event of a stream is its data lines, joined, up to an empty line. */
#include "chat_text.h"

#include "chat_images.h"
#include "error.h"
#include "json_scan.h"
#include "message_view.h"
#include "sv_limits.h"
#include "utf8.h"

#include <stdio.h>

/* ---- to the model ---- */

static void put_string(buf *out, sv_str s)
{
    buf_putc(out, '"');
    buf_json_escape(out, s);
    buf_putc(out, '"');
}

static void put_message(buf *out, const char *role, sv_str text, sv_str images)
{
    uint32_t at = 0;
    sv_str url;
    if (out->p[out->n - 1] != '[') buf_putc(out, ',');
    buf_printf(out, "{\"role\":\"%s\",\"content\":", role);
    if (images.n) buf_puts(out, "[{\"type\":\"text\",\"text\":");
    put_string(out, text);
    while (chat_images_next(images, &at, &url)) {
        buf_puts(out, "},{\"type\":\"image_url\",\"image_url\":{\"url\":\"");
        buf_put(out, url.p, url.n);
        buf_puts(out, "\"}");
    }
    buf_puts(out, images.n ? "}]}" : "}");
}

static sv_str images_of(const chat_prompt *p, const chat_turn *t)
{
    if (t->images_n == 0) return (sv_str){NULL, 0};
    return (sv_str){p->seen->p + t->images_at, (uint32_t)t->images_n};
}

int chat_body(const chat_prompt *p, buf *out)
{
    buf_puts(out, "{\"model\":");
    put_string(out, p->model);
    buf_puts(out, ",\"messages\":[");
    if (out->failed) return out->error;
    if (p->system.n) put_message(out, "system", p->system, (sv_str){NULL, 0});
    for (uint32_t i = 0; i < p->n; i++)
        put_message(out, p->turns[i].user ? "user" : "assistant", p->turns[i].text,
                    images_of(p, &p->turns[i]));
    put_message(out, "user", p->text, p->images);
    buf_putc(out, ']');
    if (p->temperature >= 0) buf_printf(out, ",\"temperature\":%.6g", p->temperature);
    if (p->max_tokens) buf_printf(out, ",\"max_tokens\":%lld", (long long)p->max_tokens);
    if (p->stream) buf_puts(out, ",\"stream\":true");
    buf_putc(out, '}');
    return out->failed ? out->error : 0;
}

void chat_title(sv_str text, char to[CHAT_TITLE + 1])
{
    uint32_t n = 0, at = 0;
    while (at < text.n) {
        size_t step = utf8_sequence((const uint8_t *)text.p + at, text.n - at);
        if (step == 0) break;
        bool blank = step == 1 && ((uint8_t)text.p[at] <= ' ' || text.p[at] == 0x7f);
        if (n + step > CHAT_TITLE_BYTES) break;
        if (!blank)
            for (size_t i = 0; i < step; i++)
                to[n++] = text.p[at + i];
        else if (n && to[n - 1] != ' ')
            to[n++] = ' ';
        at += (uint32_t)step;
    }
    while (n && to[n - 1] == ' ')
        n--;
    to[n] = 0;
}

/* ---- from the model ---- */

void chat_reader_init(chat_reader *r, void (*said)(void *arg, bool thinking, sv_str text),
                      void *arg)
{
    *r = (chat_reader){.said = said, .arg = arg};
    buf_init(&r->line, CHAT_EVENT_BYTES);
    buf_init(&r->data, CHAT_EVENT_BYTES);
    buf_init(&r->text, CHAT_EVENT_BYTES);
}

void chat_reader_free(chat_reader *r)
{
    buf_free(&r->line);
    buf_free(&r->data);
    buf_free(&r->text);
}

/* A string, or a list of parts with text. */
static int take_text(json_value v, buf *to)
{
    json_value part;
    size_t at = 0;
    int rc = 0;
    if (v.type == JSON_STRING) return json_text(v, to);
    while (rc == 0 && v.type == JSON_ARRAY && json_next_element(v, &at, &part)) {
        json_value text = json_get(part, "text");
        if (text.type == JSON_STRING) rc = json_text(text, to);
    }
    return rc;
}

static int take_thinking(json_value message, buf *to)
{
    json_value v = json_get(message, "reasoning_content");
    if (v.type != JSON_STRING) v = json_get(message, "reasoning");
    return v.type == JSON_STRING ? json_text(v, to) : 0;
}

static void take_finish(json_value choice, char to[CHAT_FINISH + 1])
{
    json_value v = json_get(choice, "finish_reason");
    if (v.type != JSON_STRING || v.raw.n <= 2 || v.raw.n - 2 > CHAT_FINISH) return;
    snprintf(to, CHAT_FINISH + 1, "%.*s", (int)v.raw.n - 2, v.raw.p + 1);
}

static json_value first_choice(json_value root)
{
    json_value choice = {.type = JSON_NONE};
    size_t at = 0;
    json_value list = json_get(root, "choices");
    if (list.type != JSON_ARRAY || !json_next_element(list, &at, &choice)) choice.type = JSON_NONE;
    return choice;
}

static bool error_words(json_value root, char to[CHAT_REASON + 1])
{
    json_value e = json_get(root, "error"), words = json_get(e, "message");
    buf text;
    if (e.type != JSON_OBJECT && e.type != JSON_STRING) return false;
    if (e.type == JSON_STRING) words = e;
    buf_init(&text, CHAT_EVENT_BYTES);
    if (words.type == JSON_STRING) json_text(words, &text);
    size_t n = text.n < CHAT_REASON ? text.n : CHAT_REASON;
    while (n && n < text.n && ((uint8_t)text.p[n] & 0xc0) == 0x80)
        n--;
    snprintf(to, CHAT_REASON + 1, "%.*s", (int)n, text.n ? text.p : "");
    if (to[0] == 0) snprintf(to, CHAT_REASON + 1, "The provider's answer ended with an error.");
    buf_free(&text);
    return true;
}

bool chat_read_error(sv_str json, char to[CHAT_REASON + 1])
{
    return json_skim(json, LIMIT_JSON_DEPTH, NULL) == 0 && error_words(json_root(json), to);
}

static int tell(chat_reader *r, bool thinking, int rc)
{
    if (rc == 0 && r->text.n) r->said(r->arg, thinking, buf_str(&r->text));
    buf_reset(&r->text, r->text.cap);
    return rc;
}

static int take_event(chat_reader *r)
{
    sv_str data = buf_str(&r->data);
    if (sv_str_is(data, "[DONE]")) {
        r->ended = true;
        return 0;
    }
    if (json_skim(data, LIMIT_JSON_DEPTH, NULL)) return SV_E_PROVIDER_GARBAGE;
    json_value root = json_root(data), choice = first_choice(root);
    json_value delta = json_get(choice, "delta");
    if (error_words(root, r->failed)) return 0;
    take_finish(choice, r->finish);
    int rc = tell(r, true, take_thinking(delta, &r->text));
    return rc ? rc : tell(r, false, take_text(json_get(delta, "content"), &r->text));
}

static int take_line(chat_reader *r)
{
    sv_str line = buf_str(&r->line);
    int rc = 0;
    if (line.n && line.p[line.n - 1] == '\r') line.n--;
    if (line.n == 0) {
        if (r->data.n) rc = take_event(r);
        buf_reset(&r->data, r->data.cap);
    } else if (line.n >= 5 && memcmp(line.p, "data:", 5) == 0) {
        uint32_t skip = line.n > 5 && line.p[5] == ' ' ? 6 : 5;
        if (r->data.n) buf_putc(&r->data, '\n');
        rc = buf_put(&r->data, line.p + skip, line.n - skip);
    }
    buf_reset(&r->line, r->line.cap);
    return rc;
}

int chat_reader_feed(chat_reader *r, sv_str bytes)
{
    int rc = 0;
    while (rc == 0 && bytes.n) {
        const char *end = memchr(bytes.p, '\n', bytes.n);
        uint32_t n = end ? (uint32_t)(end - bytes.p) : bytes.n;
        rc = buf_put(&r->line, bytes.p, n);
        if (rc == 0 && end) rc = take_line(r);
        n += end != NULL;
        bytes = (sv_str){bytes.p + n, bytes.n - n};
    }
    return rc == SV_E_TOO_LARGE ? SV_E_PROVIDER_GARBAGE : rc;
}

int chat_read_answer(sv_str json, buf *text, buf *thinking, char finish[CHAT_FINISH + 1])
{
    if (json_skim(json, LIMIT_JSON_DEPTH, NULL)) return SV_E_PROVIDER_GARBAGE;
    json_value choice = first_choice(json_root(json)), message = json_get(choice, "message");
    if (message.type != JSON_OBJECT) return SV_E_PROVIDER_GARBAGE;
    take_finish(choice, finish);
    json_value content = json_get(message, "content");
    if (content.type == JSON_NULL) content = json_get(message, "refusal");
    int rc = take_text(content, text);
    return rc ? rc : take_thinking(message, thinking);
}

/* ---- to the client ---- */

int chat_event_text(const char *name, sv_str text, buf *out)
{
    buf_printf(out, "event: %s\ndata: {\"text\":", name);
    put_string(out, text);
    buf_puts(out, "}\n\n");
    return out->failed ? out->error : 0;
}

int chat_event_done(const workspace_chat_done *done, buf *out)
{
    buf_puts(out, "event: done\ndata: ");
    int rc = message_view(&workspace_chat_done_msg, done, out);
    buf_puts(out, "\n\n");
    return rc ? rc : out->failed ? out->error : 0;
}

int chat_answer(sv_str text, sv_str thinking, const workspace_chat_done *done, buf *out)
{
    buf view;
    buf_init(&view, LIMIT_PART_BYTES);
    int rc = message_view(&workspace_chat_done_msg, done, &view);
    buf_puts(out, "{\"response\":");
    put_string(out, text);
    buf_puts(out, ",\"thinking\":");
    if (thinking.n)
        put_string(out, thinking);
    else
        buf_puts(out, "null");
    buf_putc(out, ',');
    if (rc == 0) buf_put(out, view.p + 1, view.n - 1);
    buf_putc(out, '\n');
    buf_free(&view);
    return rc ? rc : out->failed ? out->error : 0;
}
