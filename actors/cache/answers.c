/*  answers.c - an answer is in `map`, `every` and one of trial and settled; in `hot` while it has
 *  bytes, in `notes` while it has hits to be written. */
#include "answers.h"

#include "log.h"

#include <stdlib.h>

enum { SETTLED_OF_5 = 4, ROW_BYTES = 512 };

/* ---- bytes ---- */

answer_bytes *answer_bytes_room(uint32_t head_n, uint32_t end_n, uint32_t body_n)
{
    answer_bytes *b = malloc(sizeof *b + head_n + end_n + body_n);
    if (b) *b = (answer_bytes){.refs = 1, .head_n = head_n, .end_n = end_n, .body_n = body_n};
    return b;
}

answer_bytes *answer_bytes_new(sv_str head, sv_str end, sv_str body)
{
    answer_bytes *b = answer_bytes_room(head.n, end.n, body.n);
    if (b == NULL) return NULL;
    if (head.n) memcpy(b->b, head.p, head.n);
    if (end.n) memcpy(b->b + head.n, end.p, end.n);
    if (body.n) memcpy(b->b + head.n + end.n, body.p, body.n);
    return b;
}

answer_bytes *answer_bytes_ref(answer_bytes *b)
{
    b->refs++;
    return b;
}

void answer_bytes_unref(answer_bytes *b)
{
    if (b && --b->refs == 0) free(b);
}

sv_str answer_head(const answer_bytes *b)
{
    return (sv_str){b->b, b->head_n};
}

sv_str answer_end(const answer_bytes *b)
{
    return (sv_str){b->b + b->head_n, b->end_n};
}

sv_str answer_body(const answer_bytes *b)
{
    return (sv_str){b->b + b->head_n + b->end_n, b->body_n};
}

/* ---- the table ---- */

/* What it takes of the disk: its row and chunks are counted too. */
static uint64_t weight(const answer *r)
{
    return (uint64_t)r->info.size + (uint64_t)r->info.meant + ROW_BYTES;
}

void answers_init(answers *a, const answers_limits *limits)
{
    *a = (answers){.limits = *limits};
    TAILQ_INIT(&a->trial);
    TAILQ_INIT(&a->settled);
    TAILQ_INIT(&a->every);
    TAILQ_INIT(&a->hot);
    TAILQ_INIT(&a->notes);
}

static void cool(answers *a, answer *r)
{
    if (r->bytes == NULL) return;
    TAILQ_REMOVE(&a->hot, r, hot);
    a->figures.in_memory--;
    a->figures.memory_bytes -= (uint64_t)r->info.size;
    answer_bytes_unref(r->bytes);
    r->bytes = NULL;
}

void answers_will_go(answers *a, const char *key)
{
    if (a->n_gone == a->gone_cap) {
        size_t cap = a->gone_cap ? 2 * a->gone_cap : 64;
        void *grown = realloc(a->gone, cap * sizeof *a->gone);
        if (grown == NULL) {
            log_write(LOG_WARN, "no memory: a kept answer stays on the disk until it expires");
            return;
        }
        a->gone = grown;
        a->gone_cap = cap;
    }
    memcpy(a->gone[a->n_gone++], key, CACHE_KEY + 1);
}

void answers_drop(answers *a, answer *r, bool forget)
{
    cool(a, r);
    meaning_drop(r->meaning);
    idmap_del(&a->map, &r->id);
    TAILQ_REMOVE(&a->every, r, every);
    TAILQ_REMOVE(r->settled ? &a->settled : &a->trial, r, use);
    if (r->settled) a->settled_bytes -= weight(r);
    if (r->noted) TAILQ_REMOVE(&a->notes, r, note);
    a->figures.answers--;
    a->figures.bytes -= weight(r);
    if (forget && r->on_disk) answers_will_go(a, r->key);
    free(r);
}

void answers_free(answers *a)
{
    answer *r;
    while ((r = TAILQ_FIRST(&a->every)))
        answers_drop(a, r, false);
    idmap_free(&a->map);
    free(a->gone);
}

answer *answers_find(answers *a, const char *key, int64_t now, int64_t age_s)
{
    sv_id id = cache_key_id(key);
    answer *r = idmap_get(&a->map, &id);
    if (r == NULL || strcmp(r->key, key) != 0 || r->info.expires <= now) return NULL;
    /* A clock that was put back makes an answer young, not old. */
    if (age_s && now - r->info.created > age_s * 1000) return NULL;
    return r;
}

/* What has been established for longest without a hit is on trial again. */
static void keep_shares(answers *a)
{
    answer *r;
    while (a->settled_bytes > a->limits.bytes / 5 * SETTLED_OF_5 &&
           (r = TAILQ_LAST(&a->settled, answer_list))) {
        TAILQ_REMOVE(&a->settled, r, use);
        a->settled_bytes -= weight(r);
        r->settled = false;
        TAILQ_INSERT_HEAD(&a->trial, r, use);
    }
}

void answers_hit(answers *a, answer *r, int64_t now)
{
    r->info.hits++;
    r->info.used = now;
    TAILQ_REMOVE(r->settled ? &a->settled : &a->trial, r, use);
    if (!r->settled) a->settled_bytes += weight(r);
    r->settled = true;
    TAILQ_INSERT_HEAD(&a->settled, r, use);
    if (r->bytes) {
        TAILQ_REMOVE(&a->hot, r, hot);
        TAILQ_INSERT_HEAD(&a->hot, r, hot);
    }
    if (!r->noted) TAILQ_INSERT_TAIL(&a->notes, r, note);
    r->noted = true;
    keep_shares(a);
}

void answers_heat(answers *a, answer *r, answer_bytes *bytes)
{
    cool(a, r);
    if ((uint64_t)r->info.size > a->limits.memory_bytes) return;
    r->bytes = answer_bytes_ref(bytes);
    TAILQ_INSERT_HEAD(&a->hot, r, hot);
    a->figures.in_memory++;
    a->figures.memory_bytes += (uint64_t)r->info.size;
    while (a->figures.memory_bytes > a->limits.memory_bytes && !TAILQ_EMPTY(&a->hot))
        cool(a, TAILQ_LAST(&a->hot, answer_list));
}

/* ---- more and fewer ---- */

static sv_str put_text(char **at, sv_str from)
{
    sv_str to = {*at, from.n};
    if (from.n) *at = mempcpy(*at, from.p, from.n);
    return to;
}

size_t answer_text_size(const answer_info *i)
{
    return (size_t)i->org.n + i->user.n + i->model.n + i->asked.n + i->task.n;
}

answer_info answer_info_copy(const answer_info *i, char *text)
{
    answer_info to = *i;
    to.org = put_text(&text, i->org);
    to.user = put_text(&text, i->user);
    to.model = put_text(&text, i->model);
    to.asked = put_text(&text, i->asked);
    to.task = put_text(&text, i->task);
    return to;
}

static answer *make(const answer_info *i)
{
    answer *r = i->key.n == CACHE_KEY ? calloc(1, sizeof *r + answer_text_size(i)) : NULL;
    if (r == NULL) return NULL;
    memcpy(r->key, i->key.p, CACHE_KEY);
    r->id = cache_key_id(r->key);
    r->info = answer_info_copy(i, r->text);
    r->info.key = (sv_str){r->key, CACHE_KEY};
    return r;
}

static void make_room(answers *a, const answer *but)
{
    while (a->figures.bytes > a->limits.bytes || a->figures.answers > a->limits.most) {
        answer *r = TAILQ_LAST(&a->trial, answer_list);
        if (r == but) r = TAILQ_PREV(r, answer_list, use);
        if (r == NULL) r = TAILQ_LAST(&a->settled, answer_list);
        if (r == NULL) return;
        answers_drop(a, r, true);
        a->figures.evicted++;
    }
}

/* In the place of an older one; not yet on any list of use. */
static answer *insert(answers *a, const answer_info *info)
{
    answer *r = make(info);
    if (r == NULL) return NULL;
    answer *old = idmap_get(&a->map, &r->id);
    bool on_disk = old && old->on_disk;
    if (old) answers_drop(a, old, false); /* the new row takes its place */
    if (weight(r) > a->limits.bytes || idmap_put(&a->map, &r->id, r)) {
        if (on_disk) answers_will_go(a, r->key);
        free(r);
        return NULL;
    }
    r->on_disk = true;
    r->settled = info->hits > 0;
    TAILQ_INSERT_HEAD(r->settled ? &a->settled : &a->trial, r, use);
    if (r->settled) a->settled_bytes += weight(r);
    TAILQ_INSERT_TAIL(&a->every, r, every);
    a->figures.answers++;
    a->figures.bytes += weight(r);
    return r;
}

answer *answers_add(answers *a, const answer_info *info, answer_bytes *bytes)
{
    answer *r = insert(a, info);
    if (r == NULL) return NULL;
    if (bytes) answers_heat(a, r, bytes);
    keep_shares(a);
    make_room(a, r);
    return r;
}

answer *answers_load(answers *a, const answer_info *info)
{
    return insert(a, info);
}

/* ---- orders ---- */

static int64_t last_use(const answer *r)
{
    return r->info.used ? r->info.used : r->info.created;
}

static int by_use(const void *a, const void *b)
{
    int64_t x = last_use(*(answer *const *)a), y = last_use(*(answer *const *)b);
    return (x > y) - (x < y);
}

static int by_hits(const void *a, const void *b)
{
    int64_t x = (*(answer *const *)a)->info.hits, y = (*(answer *const *)b)->info.hits;
    return x == y ? by_use(b, a) : x < y ? 1 : -1;
}

static size_t list_of(answers *a, const answers_filter *f, answer ***ret)
{
    answer *r;
    size_t n = 0;
    *ret = a->figures.answers ? malloc(a->figures.answers * sizeof **ret) : NULL;
    if (*ret == NULL) return 0;
    TAILQ_FOREACH(r, &a->every, every)
    if (f == NULL || answers_match(f, &r->info)) (*ret)[n++] = r;
    return n;
}

void answers_loaded(answers *a)
{
    answer **list;
    size_t n = list_of(a, NULL, &list);
    if (n) qsort(list, n, sizeof *list, by_use);
    for (size_t i = 0; i < n; i++) {
        answer_list *use = list[i]->settled ? &a->settled : &a->trial;
        TAILQ_REMOVE(use, list[i], use);
        TAILQ_INSERT_HEAD(use, list[i], use);
    }
    free(list);
    keep_shares(a);
    make_room(a, NULL);
}

size_t answers_most_used(answers *a, const answers_filter *f, size_t n, answer ***ret)
{
    size_t all = list_of(a, f, ret);
    if (all) qsort(*ret, all, sizeof **ret, by_hits);
    return all < n ? all : n;
}

/* ---- which ---- */

bool answers_match(const answers_filter *f, const answer_info *i)
{
    if (!f->any_org && !sv_str_eq(f->org, i->org)) return false;
    if (f->key.n && !sv_str_eq(f->key, i->key)) return false;
    return f->model.n == 0 || sv_str_eq(f->model, i->model) || sv_str_eq(f->model, i->asked);
}

uint64_t answers_clear(answers *a, const answers_filter *f)
{
    uint64_t n = 0;
    answer *r, *next;
    for (r = TAILQ_FIRST(&a->every); r; r = next) {
        next = TAILQ_NEXT(r, every);
        if (!answers_match(f, &r->info)) continue;
        answers_drop(a, r, true);
        n++;
    }
    a->figures.cleared += n;
    return n;
}

void answers_sweep(answers *a, int64_t now, uint32_t n)
{
    if (n > a->figures.answers) n = (uint32_t)a->figures.answers;
    while (n-- > 0) {
        answer *r = TAILQ_FIRST(&a->every);
        if (r->info.expires <= now) {
            answers_drop(a, r, false);
            a->figures.expired++;
            continue;
        }
        TAILQ_REMOVE(&a->every, r, every);
        TAILQ_INSERT_TAIL(&a->every, r, every);
    }
}
