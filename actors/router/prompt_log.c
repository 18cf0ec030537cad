/*  prompt_log.c - text is blotted before it is cut, so that no key is left in halves. */
#include "prompt_log.h"

#include "relay.h"

#include "log.h"
#include "name_table.h"
#include "utf8.h"

#include <stdlib.h>

enum {
    SLOTS = 1024,
    SLACK = 4096,      /* longest key that might lie across the cut */
    PIECE = 6000,      /* of a line, as it is escaped */
    LINES_SECOND = 48, /* of each part; below the log's own limit, so that no piece is missing */
    KEY_ID = 12,       /* of "sv_", hex digits, "_", hex digits */
    KEY_SECRET = 64
};

typedef struct org_on {
    named name;
    ring_link link;
} org_on;

struct prompt_log {
    name_table orgs;
    ring_link all;
    uint64_t second; /* that `lines` counts in */
    uint32_t lines, skipped;
    arena arena;
};

/* ---- who ---- */

static void drop(prompt_log *p, org_on *o)
{
    name_table_remove(&p->orgs, &o->name);
    ring_unlink(&o->link);
    free(o);
}

static void on_reset(void *arg)
{
    prompt_log *p = arg;
    while (!ring_empty(&p->all))
        drop(p, member_of(org_on, link, p->all.next));
}

static bool says_on(prompt_log *p, const auth_feed_item *item)
{
    auth_org_settings s;
    sv_error err = {.code = 0};
    if (item->gone) return false;
    arena_reset(&p->arena);
    if (message_decode(&auth_org_settings_msg, item->data, MESSAGE_LENIENT, &p->arena, &s, &err)) {
        log_write(LOG_ERROR, "settings of an organization cannot be read", LOG_ERR(&err));
        return false;
    }
    return s.log_prompts;
}

static void on_item(void *arg, const auth_feed_item *item)
{
    prompt_log *p = arg;
    bool on = says_on(p, item);
    named *m = name_table_find(&p->orgs, item->id);
    if (m && !on) drop(p, member_of(org_on, name, m));
    if (m || !on || item->id.n > NAME_BYTES_MOST || p->orgs.n == PROMPT_LOG_ORGS) return;
    org_on *o = calloc(1, sizeof *o);
    if (o == NULL) return;
    name_table_add(&p->orgs, &o->name, item->id);
    ring_push(&p->all, &o->link);
}

int prompt_log_new(feed *f, prompt_log **ret, sv_error *err)
{
    prompt_log *p = calloc(1, sizeof *p);
    if (p == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    ring_init(&p->all);
    arena_init(&p->arena, 65536);
    int rc = name_table_init(&p->orgs, SLOTS);
    if (rc == 0)
        rc = feed_add(
            f, &(feed_consumer){.kind = "org", .reset = on_reset, .item = on_item, .arg = p});
    if (rc) {
        prompt_log_free(p);
        return sv_fail(err, rc, NULL, NULL);
    }
    *ret = p;
    return 0;
}

void prompt_log_free(prompt_log *p)
{
    if (p == NULL) return;
    on_reset(p);
    name_table_free(&p->orgs);
    arena_free(&p->arena);
    free(p);
}

bool prompt_log_wants(const prompt_log *p, sv_str org)
{
    return p && p->orgs.n && org.n && name_table_find(&p->orgs, org);
}

/* ---- what an answer says ---- */

static void keep(leg *l, sv_str text)
{
    size_t left = PROMPT_LOG_BYTES + SLACK - l->kept.n;
    if (l->kept.n == 0) buf_init(&l->kept, PROMPT_LOG_BYTES + SLACK);
    buf_put(&l->kept, text.p, text.n < left ? text.n : left);
}

void prompt_log_keep(leg *l, sv_str inside)
{
    buf text;
    if (!l->relay->log_prompt || inside.n == 0) return;
    buf_init(&text, inside.n * 2 + 16);
    if (llm_decode(inside, &text) == 0) keep(l, buf_str(&text));
    buf_free(&text);
}

static void keep_message(leg *l, json_value m)
{
    static const char *const texts[] = {"reasoning_content", "reasoning", "content", "refusal"};
    json_value call, v;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        prompt_log_keep(l, llm_inside(json_get(m, texts[i])));
    v = json_get(m, "tool_calls");
    if (v.type != JSON_ARRAY) return;
    for (size_t at = 0; json_next_element(v, &at, &call);) {
        prompt_log_keep(l, llm_inside(json_get(json_get(call, "function"), "name")));
        prompt_log_keep(l, llm_inside(json_get(json_get(call, "function"), "arguments")));
    }
}

void prompt_log_keep_chunk(leg *l, sv_str json)
{
    json_value choice, list = json_get(json_root(json), "choices");
    if (!l->relay->log_prompt || list.type != JSON_ARRAY) return;
    for (size_t at = 0; json_next_element(list, &at, &choice);) {
        prompt_log_keep(l, llm_inside(json_get(choice, "text")));
        keep_message(l, json_get(choice, "delta"));
    }
}

void prompt_log_keep_whole(leg *l, sv_str body)
{
    if (!l->relay->log_prompt || l->relay->op != OP_CHAT) return;
    buf_free(&l->kept);
    l->kept = (buf){.n = 0};
    keep(l, body);
}

/* ---- keys ---- */

static bool are_hex(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f'))) return false;
    return true;
}

static void blot_own_keys(buf *text)
{
    enum { LENGTH = 3 + KEY_ID + 1 + KEY_SECRET };
    char *at = text->p, *end = text->p + text->n;
    while (at && (size_t)(end - at) >= LENGTH && (at = memmem(at, (size_t)(end - at), "sv_", 3))) {
        bool key = end - at >= LENGTH && are_hex(at + 3, KEY_ID) && at[3 + KEY_ID] == '_' &&
                   are_hex(at + 4 + KEY_ID, KEY_SECRET);
        if (key) memset(at, '*', LENGTH);
        at += key ? LENGTH : 3;
    }
}

static void blot(const relay *r, buf *text)
{
    const provider_list *list = &r->router->providers;
    for (size_t i = 0; i < list->n; i++)
        provider_blot(list->items[i], text);
    for (uint32_t i = 0; i < r->plan.n; i++)
        if (r->plan.items[i].provider->source == FROM_TENANT)
            provider_blot(r->plan.items[i].provider, text);
    blot_own_keys(text);
}

/* ---- lines ---- */

/* Bytes of `text` from `at` on that one line takes, whole characters. */
static uint32_t piece_of(sv_str text, uint32_t at)
{
    uint32_t from = at, cost = 0;
    while (at < text.n) {
        uint8_t c = (uint8_t)text.p[at];
        uint32_t n = (uint32_t)utf8_sequence((const uint8_t *)text.p + at, text.n - at);
        cost += n == 0 || c < 0x20 || c == 0x7f ? 6 : c == '"' || c == '\\' ? 2 : n == 3 ? 6 : n;
        if (cost > PIECE) break;
        at += n ? n : 1;
    }
    return at - from;
}

static uint32_t pieces_of(sv_str text)
{
    uint32_t n = 0;
    for (uint32_t at = 0; at < text.n; n++)
        at += piece_of(text, at);
    return n ? n : 1;
}

/* Without a character in halves at its end. */
static sv_str cut(sv_str text)
{
    if (text.n <= PROMPT_LOG_BYTES) return text;
    text.n = PROMPT_LOG_BYTES;
    while (text.n > PROMPT_LOG_BYTES - 4 && ((uint8_t)text.p[text.n] & 0xc0) == 0x80)
        text.n--;
    return text;
}

typedef struct part {
    buf text;
    sv_str shown;
    uint32_t n;
} part;

static void make_part(const relay *r, sv_str from, part *ret)
{
    buf_init(&ret->text, PROMPT_LOG_BYTES + SLACK);
    buf_put(&ret->text, from.p,
            from.n < PROMPT_LOG_BYTES + SLACK ? from.n : PROMPT_LOG_BYTES + SLACK);
    blot(r, &ret->text);
    ret->shown = cut(buf_str(&ret->text));
    ret->n = pieces_of(ret->shown);
}

#define PIECE_FIELDS(what, i)                                                                      \
    LOG_STR("part", what), LOG_INT("piece", (i) + 1), LOG_INT("pieces", p->n),                     \
        LOG_SLICE("org", r->ask.org), LOG_SLICE("user", r->ask.user), LOG_BOOL("private", true),   \
        LOG_INT("skipped", skipped), LOG_SLICE("text", text)

/* The log limits lines by the place in the code: each part has its own. */
static void write_request(const relay *r, const part *p, uint32_t skipped)
{
    for (uint32_t i = 0, at = 0; i < p->n; i++) {
        sv_str text = {p->shown.p + at, piece_of(p->shown, at)};
        log_write(LOG_INFO, "prompt", PIECE_FIELDS("request", i));
        at += text.n;
    }
}

static void write_answer(const relay *r, const part *p)
{
    uint32_t skipped = 0;
    for (uint32_t i = 0, at = 0; i < p->n; i++) {
        sv_str text = {p->shown.p + at, piece_of(p->shown, at)};
        log_write(LOG_INFO, "prompt", PIECE_FIELDS("answer", i));
        at += text.n;
    }
}

static bool has_room(prompt_log *p, uint64_t second, uint32_t lines)
{
    if (p->second != second) p->lines = 0;
    p->second = second;
    if (p->lines + lines > LINES_SECOND) {
        p->skipped++;
        return false;
    }
    p->lines += lines;
    return true;
}

static const leg *answerer(const relay *r)
{
    if (r->winner) return r->winner;
    const leg *l = r->legs;
    while (l && l->kept.n == 0)
        l = l->next;
    return l;
}

void prompt_log_write(const relay *r)
{
    prompt_log *p = r->router->prompts;
    const leg *l = answerer(r);
    part request, answer;
    if (!r->log_prompt) return;
    make_part(r, r->op == OP_TRANSCRIPTION ? (sv_str){NULL, 0} : r->body, &request);
    make_part(r, l ? buf_str(&l->kept) : (sv_str){NULL, 0}, &answer);
    uint32_t most = request.n > answer.n ? request.n : answer.n;
    if (has_room(p, loop_unix_us(r->router->loop) / 1000000, most)) {
        bool own = !log_has_context();
        if (own) log_context(sv_call_id(r->call), sv_call_trace(r->call));
        write_request(r, &request, p->skipped);
        if (answer.shown.n) write_answer(r, &answer);
        if (own) log_context(NULL, NULL);
        p->skipped = 0;
    }
    buf_free(&request.text);
    buf_free(&answer.text);
}
