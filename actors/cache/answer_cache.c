/*  answer_cache.c - start, clockwork and disk of the response cache. Writes are told to the store in the
 *  order in which the table changed, and it does them in that order: what is to go is told before what
 *  comes in its place. */
#include "answer_cache.h"

#include "error.h"
#include "log.h"

#include <stdlib.h>

enum { SWEEP = 2000, NOTE_TICKS = 30, TRY_TICKS = 10, LOAD_ARENA = 16 << 20, READ_ARENA = 4 << 20 };

int64_t answer_cache_now(const answer_cache *c)
{
    return (int64_t)(loop_unix_us(c->loop) / 1000);
}

/* ---- to the disk ---- */

typedef struct put_job {
    answer_cache *cache;
    answer_put put;
    answer_bytes *bytes;
    char key[CACHE_KEY + 1];
    char text[];
} put_job;

static put_job *put_job_new(answer_cache *c, const answer *r, const answer_meant *meant,
                            answer_bytes *bytes)
{
    size_t texts = answer_text_size(&r->info), n = meant ? meant->bucket.n + meant->vector.n : 0;
    put_job *j = calloc(1, sizeof *j + texts + n);
    if (j == NULL) return NULL;
    if (n) {
        j->put.meant.bucket = (sv_str){j->text + texts, meant->bucket.n};
        j->put.meant.vector = (sv_str){j->text + texts + meant->bucket.n, meant->vector.n};
        memcpy(mempcpy(j->text + texts, meant->bucket.p, meant->bucket.n), meant->vector.p,
               meant->vector.n);
    }
    j->cache = c;
    j->bytes = answer_bytes_ref(bytes);
    memcpy(j->key, r->key, sizeof j->key);
    j->put.info = answer_info_copy(&r->info, j->text);
    j->put.info.key = (sv_str){j->key, CACHE_KEY};
    j->put.bytes = bytes;
    return j;
}

static void disk_failed(answer_cache *c, int code, const sv_error *err)
{
    c->well = false;
    if (c->warned) return;
    c->warned = true;
    log_write(LOG_WARN, "answers of models are not kept: the store does not take them",
              LOG_STR("code", sv_error_lookup(code)->name), LOG_ERR(err));
}

/* The answer as it was written, if nothing took its place meanwhile. */
static answer *written(answer_cache *c, const put_job *j)
{
    answer *r = answers_find(&c->answers, j->key, INT64_MIN, 0);
    return r && r->info.created == j->put.info.created ? r : NULL;
}

static void on_put(void *arg, int code, const sv_error *err)
{
    put_job *j = arg;
    answer_cache *c = j->cache;
    c->writing -= (uint64_t)j->put.info.size;
    if (code) {
        answer *r = written(c, j);
        c->not_kept++;
        disk_failed(c, code, err);
        if (r) answers_drop(&c->answers, r, true);
    } else {
        c->warned = false;
    }
    answer_bytes_unref(j->bytes);
    free(j);
}

typedef struct forget_job {
    answer_cache *cache;
    answer_keys in;
    char keys[ANSWER_FORGET][CACHE_KEY + 1];
} forget_job;

/* The next keys to be removed; NULL: none, or no memory for now. */
static forget_job *forget_job_new(answer_cache *c)
{
    answers *a = &c->answers;
    size_t n = a->n_gone < ANSWER_FORGET ? a->n_gone : ANSWER_FORGET;
    forget_job *j = n ? malloc(sizeof *j) : NULL;
    if (j == NULL) return NULL;
    j->cache = c;
    memcpy(j->keys, a->gone + (a->n_gone - n), n * sizeof *j->keys);
    a->n_gone -= n;
    j->in = (answer_keys){(const char(*)[CACHE_KEY + 1]) j->keys, n};
    return j;
}

/* What could not be removed is tried again, unless the key is in use again. */
static void forget_again(forget_job *j)
{
    for (size_t i = 0; i < j->in.n; i++)
        if (answers_find(&j->cache->answers, j->keys[i], INT64_MIN, 0) == NULL)
            answers_will_go(&j->cache->answers, j->keys[i]);
}

static void on_forgotten(void *arg, int code, const sv_error *err)
{
    forget_job *j = arg;
    j->cache->forgetting = false;
    if (code) {
        disk_failed(j->cache, code, err);
        forget_again(j);
    }
    free(j);
}

static int submit_forget(answer_cache *c)
{
    forget_job *j = forget_job_new(c);
    if (j == NULL) return c->answers.n_gone ? SV_E_NO_MEMORY : 0;
    int rc = sv_store_write(c->process, "cache.forget", answer_store_forget, &j->in, NULL,
                            on_forgotten, j);
    if (rc) {
        forget_again(j);
        free(j);
    } else {
        c->forgetting = true;
    }
    return rc;
}

int answer_cache_forget(answer_cache *c, sv_call *call)
{
    forget_job *j;
    int rc = 0;
    while (rc == 0 && (j = forget_job_new(c))) {
        rc = store_write(call, answer_store_forget, &j->in, NULL);
        if (rc) forget_again(j);
        free(j);
    }
    return rc;
}

/* Its meaning in the table, where meanings are looked for. */
static void give_meaning(answer_cache *c, answer *r, const answer_meant *meant)
{
    meaning_vector v;
    char bucket[CACHE_KEY + 1] = {0};
    if (!c->meaning.on || meant->bucket.n != CACHE_KEY || !meaning_of_bytes(meant->vector, &v))
        return;
    memcpy(bucket, meant->bucket.p, CACHE_KEY);
    meanings_add(&c->meanings, bucket, &v, r);
}

void answer_cache_keep(answer_cache *c, const answer_info *info, const answer_meant *meant,
                       answer_bytes *bytes)
{
    uint64_t n = (uint64_t)info->size;
    if (!c->well || c->writing + n > ANSWER_WRITING) {
        c->not_kept++;
        return;
    }
    answer *r = answers_add(&c->answers, info, bytes);
    if (r == NULL) {
        c->not_kept++;
        return;
    }
    if (meant) give_meaning(c, r, meant);
    while (c->answers.n_gone)
        if (submit_forget(c)) break;
    bool told = c->answers.n_gone == 0; /* nothing of the key can be removed behind the new row */
    put_job *j = told ? put_job_new(c, r, meant, bytes) : NULL;
    int rc =
        j ? sv_store_write(c->process, "cache.complete", answer_store_put, &j->put, NULL, on_put, j)
          : SV_E_NO_MEMORY;
    if (rc == 0) {
        c->writing += n;
        return;
    }
    c->not_kept++;
    if (j) answer_bytes_unref(j->bytes);
    free(j);
    answers_drop(&c->answers, r, true);
    c->well = false; /* until the next tick */
}

typedef struct note_job {
    answer_cache *cache;
    answer_notes in;
    answer_note items[ANSWER_NOTES];
} note_job;

static void on_noted(void *arg, int code, const sv_error *err)
{
    note_job *j = arg;
    j->cache->noting = false;
    if (code) disk_failed(j->cache, code, err);
    free(j);
}

/* Hits go to the disk in heaps: those of the last seconds are lost with the process. */
static void write_notes(answer_cache *c)
{
    answers *a = &c->answers;
    note_job *j = TAILQ_EMPTY(&a->notes) || c->noting || !c->well ? NULL : malloc(sizeof *j);
    answer *r;
    size_t n = 0;
    if (j == NULL) return;
    j->cache = c;
    while (n < ANSWER_NOTES && (r = TAILQ_FIRST(&a->notes))) {
        TAILQ_REMOVE(&a->notes, r, note);
        r->noted = false;
        j->items[n] = (answer_note){.hits = r->info.hits, .used = r->info.used};
        memcpy(j->items[n++].key, r->key, sizeof r->key);
    }
    j->in = (answer_notes){j->items, n};
    c->noting =
        sv_store_write(c->process, "cache.hits", answer_store_note, &j->in, NULL, on_noted, j) == 0;
    if (!c->noting) free(j);
}

/* ---- from the disk ---- */

static int view(answer_cache *c, store_fn *fn, const void *in, void *out, size_t memory,
                sv_error *err)
{
    arena a;
    store *s = sv_store(c->process);
    store_op op = {.fn = fn, .in = in, .out = out, .arena = &a, .owner = "cache.answers"};
    if (s == NULL) return SV_E_STORE_IO;
    arena_init(&a, memory);
    int rc = store_view(s, &op);
    if (rc && err) *err = op.error;
    arena_free(&a);
    return rc;
}

answer_bytes *answer_cache_bytes(answer_cache *c, answer *r)
{
    if (r->bytes) return answer_bytes_ref(r->bytes);
    answer_bytes *b = NULL;
    int rc = view(c, answer_store_read, r->key, &b, READ_ARENA, NULL);
    if (rc == 0) {
        answers_heat(&c->answers, r, b);
        return b;
    }
    answer_bytes_unref(b);
    if (rc == SV_E_NOT_FOUND || rc == SV_E_STORE_DAMAGED)
        answers_drop(&c->answers, r, rc == SV_E_STORE_DAMAGED);
    return NULL;
}

static void take(void *arg, const answer_info *info, const answer_meant *meant)
{
    answer_cache *c = arg;
    answer *r = info->expires > answer_cache_now(c) ? answers_load(&c->answers, info) : NULL;
    if (r) give_meaning(c, r, meant);
}

static int load(answer_cache *c, sv_error *err)
{
    answer_page p = {.take = take, .arg = c};
    int rc;
    buf_init(&p.position, 4096);
    do {
        rc = view(c, answer_store_page, NULL, &p, LOAD_ARENA, err);
    } while (rc == 0 && p.more);
    buf_free(&p.position);
    answers_loaded(&c->answers);
    return rc;
}

/* The most used are in memory before anybody asks for them. */
static void warm(answer_cache *c, size_t n)
{
    answer **list;
    size_t most = answers_most_used(&c->answers, NULL, n, &list);
    for (size_t i = most; i-- > 0;) /* the most used is put in last and stays in longest */
        answer_bytes_unref(answer_cache_bytes(c, list[i]));
    free(list);
}

/* ---- life ---- */

int answer_cache_start(sv_process *p, answer_cache **ret, sv_error *err)
{
    const config *set = sv_config(p);
    answers_limits limits = {
        .bytes = (uint64_t)config_int(set, "cache.bytes"),
        .memory_bytes = (uint64_t)config_int(set, "cache.memory_bytes"),
        .most = (uint32_t)config_int(set, "cache.answers"),
    };
    answer_cache *c = calloc(1, sizeof *c);
    if (c == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    c->process = p;
    c->loop = sv_loop(p);
    c->well = true;
    c->since = answer_cache_now(c);
    c->log = strcmp(config_str(set, "router.log_requests"), "on") == 0;
    c->answer_bytes = (size_t)config_int(set, "router.answer_bytes");
    answers_init(&c->answers, &limits);
    flights_init(&c->flights, &cache_flight_ops, (size_t)config_int(set, "cache.entry_bytes"));
    meanings_init(&c->meanings, (uint64_t)config_int(set, "cache.semantic_bytes"));
    int rc = keep_parse(config_str(set, "cache.task_keep"), &c->keep, err);
    if (rc == 0) rc = meaning_rules_read(set, &c->meaning, err);
    if (rc == 0 && (rc = keep_generation(set, c->generation))) sv_fail(err, rc, NULL, NULL);
    if (rc == 0) {
        sv_error why = {0};
        int loaded = load(c, &why);
        if (loaded)
            log_write(LOG_WARN, "not all kept answers could be read",
                      LOG_STR("code", sv_error_lookup(loaded)->name), LOG_ERR(&why));
        warm(c, (size_t)config_int(set, "cache.warm"));
        *ret = c;
        return 0;
    }
    answer_cache_stop(c);
    return rc;
}

static void look_after_disk(answer_cache *c)
{
    store_stat s;
    store *disk = sv_store(c->process);
    sv_error err = {0};
    c->well = disk && store_stats(disk, false, &s, &err) == 0 && s.state == STORE_READY;
    c->well = c->well || c->ticks % TRY_TICKS == 0; /* a store that is full has to be tried */
    if (c->well && c->answers.n_gone && !c->forgetting) submit_forget(c);
    if (c->ticks % NOTE_TICKS == 0) write_notes(c);
}

static void tell_metrics(answer_cache *c)
{
    const answers_figures *f = &c->answers.figures;
    metric_set(metric_one(M_CACHE_ANSWERS), (double)f->answers);
    metric_set(metric_one(M_CACHE_BYTES), (double)f->bytes);
    metric_set(metric_one(M_CACHE_MEMORY), (double)f->memory_bytes);
    metric_add(metric_one(M_CACHE_EVICTED), f->evicted - c->told.evicted);
    metric_add(metric_one(M_CACHE_NOT_KEPT), c->not_kept - c->told_not_kept);
    c->told = *f;
    c->told_not_kept = c->not_kept;
}

void answer_cache_tick(answer_cache *c)
{
    c->ticks++;
    answers_sweep(&c->answers, answer_cache_now(c), SWEEP);
    look_after_disk(c);
    tell_metrics(c);
}

void answer_cache_stop(answer_cache *c)
{
    if (c == NULL) return;
    flights_free(&c->flights);
    answers_free(&c->answers);
    meanings_free(&c->meanings);
    tally_free(&c->tally);
    free(c);
}

void answer_cache_count(answer_cache *c, sv_str org, sv_str model, tally_outcome o, int64_t tokens,
                        int64_t price)
{
    static const char *const words[] = {"hit", "shared", "miss", "semantic"};
    metric_add(metric_get(M_CACHE_REQUESTS, &words[o]), 1);
    if (o != TALLY_MISS) {
        metric_add(metric_one(M_CACHE_SAVED_TOKENS), (uint64_t)tokens);
        metric_add(metric_one(M_CACHE_SAVED_MICRO), (uint64_t)price);
    }
    tally_add(&c->tally, org, model, o, tokens, price);
}
