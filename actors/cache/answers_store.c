/*  answers_store.c - the table of answers and its functions. The store removes rows whose time is over
 *  by itself, with their blobs. */
#include "answers_store.h"

#include "error.h"
#include "sv_limits.h"

#define SV_MESSAGES_FILE "answer_rows.def"
#include "message_tables.h"
#undef SV_MESSAGES_FILE

const store_table cache_answers = {.name = "answers",
                                   .row = &cache_answer_row_msg,
                                   .key = "key",
                                   .expires = "expires",
                                   .blobs = true};

int answer_store_put(store_tx *tx, const void *in, void *out)
{
    (void)out;
    const answer_put *p = in;
    const answer_info *i = &p->info;
    cache_answer_row row = {.key = i->key,
                            .org = i->org,
                            .user = i->user,
                            .model = i->model,
                            .asked = i->asked,
                            .task = i->task,
                            .stream = i->stream,
                            .head = answer_head(p->bytes),
                            .end = answer_end(p->bytes),
                            .size = i->size,
                            .created = i->created,
                            .expires = i->expires,
                            .used = i->used,
                            .hits = i->hits,
                            .tokens = i->tokens,
                            .price = i->price,
                            .bucket = p->meant.bucket,
                            .vector = p->meant.vector};
    cache_answer_row old = {.key = i->key};
    int rc = store_delete(tx, &cache_answers, &old);
    if (rc == 0 || rc == SV_E_NOT_FOUND) rc = store_put(tx, &cache_answers, &row);
    sv_str body = answer_body(p->bytes);
    if (rc == 0 && body.n) rc = store_blob_append(tx, &cache_answers, &row, body);
    return rc;
}

int answer_store_read(store_tx *tx, const void *in, void *out)
{
    answer_bytes **ret = out;
    cache_answer_row row = {.key = sv_cstr(in)};
    uint64_t n;
    size_t got;
    answer_bytes_unref(*ret);
    *ret = NULL;
    int rc = store_get(tx, &cache_answers, &row);
    if (rc == 0) rc = store_blob_size(tx, &cache_answers, &row, &n);
    if (rc) return rc;
    if (n + row.head.n + row.end.n != (uint64_t)row.size) return SV_E_STORE_DAMAGED;
    answer_bytes *b = answer_bytes_room(row.head.n, row.end.n, (uint32_t)n);
    if (b == NULL) return SV_E_NO_MEMORY;
    *ret = b;
    if (row.head.n) memcpy(b->b, row.head.p, row.head.n);
    if (row.end.n) memcpy(b->b + row.head.n, row.end.p, row.end.n);
    for (uint64_t at = 0; at < n; at += got) {
        rc = store_blob_read(tx, &cache_answers, &row, at, b->b + row.head.n + row.end.n + at,
                             (size_t)(n - at), &got);
        if (rc) return rc;
        if (got == 0) return SV_E_STORE_DAMAGED;
    }
    return 0;
}

int answer_store_forget(store_tx *tx, const void *in, void *out)
{
    (void)out;
    const answer_keys *k = in;
    for (size_t i = 0; i < k->n; i++) {
        cache_answer_row row = {.key = sv_cstr(k->keys[i])};
        int rc = store_delete(tx, &cache_answers, &row);
        if (rc && rc != SV_E_NOT_FOUND) return rc;
    }
    return 0;
}

int answer_store_note(store_tx *tx, const void *in, void *out)
{
    (void)out;
    const answer_notes *notes = in;
    for (size_t i = 0; i < notes->n; i++) {
        const answer_note *n = &notes->items[i];
        cache_answer_row row = {.key = sv_cstr(n->key)};
        int rc = store_get(tx, &cache_answers, &row);
        if (rc == SV_E_NOT_FOUND) continue;
        row.hits = n->hits;
        row.used = n->used;
        if (rc == 0) rc = store_put(tx, &cache_answers, &row);
        if (rc) return rc;
    }
    return 0;
}

int answer_store_page(store_tx *tx, const void *in, void *out)
{
    (void)in;
    answer_page *p = out;
    store_range range = {
        .table = &cache_answers, .after = buf_str(&p->position), .limit = ANSWER_PAGE};
    store_scan *s;
    cache_answer_row row;
    uint32_t n = 0;
    int rc = store_scan_open(tx, &range, &s);
    while (rc == 0 && store_scan_next(s, &row)) {
        answer_info i = {.key = row.key,
                         .org = row.org,
                         .user = row.user,
                         .model = row.model,
                         .asked = row.asked,
                         .task = row.task,
                         .stream = row.stream,
                         .size = row.size,
                         .meant = (int64_t)(row.bucket.n + row.vector.n),
                         .created = row.created,
                         .expires = row.expires,
                         .used = row.used,
                         .hits = row.hits,
                         .tokens = row.tokens,
                         .price = row.price};
        sv_str position = store_scan_position(s);
        answer_meant meant = {row.bucket, row.vector};
        p->take(p->arg, &i, &meant);
        buf_reset(&p->position, LIMIT_STORE_KEY_BYTES);
        rc = buf_put(&p->position, position.p, position.n);
        n++;
    }
    if (rc == 0) rc = store_scan_result(s);
    p->more = n == ANSWER_PAGE;
    return rc;
}
