/*  files.c - the methods about files. Bytes come in pieces of one write each and go out in pieces of
 *  one short read each, so that no transaction lives across a wait. */
#include "error.h"
#include "log.h"
#include "sha256.h"
#include "sv_limits.h"
#include "uuid.h"
#include "workspace.h"

#include <stdio.h>
#include <stdlib.h>

enum { HASH_BYTES = 262144, READ_BYTES = 57344, LOOK_ARENA = 65536, BUSY_MS = 20 };

_Static_assert((int)READ_BYTES <= (int)LIMIT_PART_BYTES, "a piece is one item of a stream");

/* Who may write here. */
static int writer_of(sv_call *call, file_who *ret)
{
    int rc = workspace_who(call, ret);
    if (rc || ret->writes) return rc;
    return sv_fail(sv_call_error(call), SV_E_ROLE, NULL, "Viewers read files and have none.");
}

/* ---- receiving ---- */

int workspace_file_begin(sv_call *call, const void *request)
{
    const workspace_file_begin_req *q = request;
    const workspace *w = sv_process_state(sv_call_process(call));
    sv_error *err = sv_call_error(call);
    file_who who;
    file_begin_in in = {.who = &who, .limits = &w->limits, .size = q->size};
    int64_t expires;
    sv_id id = uuid_new();
    uuid_format(&id, in.id);
    int rc = writer_of(call, &who);
    if (rc == 0) rc = file_name_clean(q->name, in.name, err);
    if (rc == 0) rc = file_type_check(q->type, err);
    if (rc) return rc;
    memcpy(in.type, q->type.p, q->type.n);
    rc = store_write(call, file_begin, &in, &expires);
    if (rc) return rc;
    return sv_reply(call, &(workspace_file_begin_reply){.id = sv_cstr(in.id), .expires = expires});
}

int workspace_file_append(sv_call *call, const void *request)
{
    const workspace_file_append_req *q = request;
    file_who who;
    uint64_t received;
    file_append_in in = {
        .who = &who, .id = q->id, .offset = (uint64_t)q->offset, .bytes = sv_call_attachment(call)};
    int rc = writer_of(call, &who);
    if (rc) return rc;
    if (in.bytes.n > FILE_APPEND_BYTES)
        return sv_fail(sv_call_error(call), SV_E_TOO_LARGE, NULL,
                       "At most %d bytes are appended at once.", FILE_APPEND_BYTES);
    rc = store_write(call, file_append, &in, &received);
    if (rc) return rc;
    return sv_reply(call, &(workspace_file_append_reply){.received = (int64_t)received});
}

/* One piece of a file, read and hashed on a worker. */
typedef struct hashing {
    store *store;
    file_piece piece;
    sha256 sum;
    sv_error err;
} hashing;

static int hash_piece(void *arg)
{
    hashing *h = arg;
    arena a;
    arena_init(&a, LOOK_ARENA);
    store_op op = {.fn = file_read_piece,
                   .in = &h->piece,
                   .out = &h->piece,
                   .arena = &a,
                   .owner = "workspace.file_finish"};
    int rc = store_view(h->store, &op);
    if (rc) h->err = op.error;
    arena_free(&a);
    if (rc) return rc;
    sha256_add(&h->sum, h->piece.to, h->piece.got);
    h->piece.offset += h->piece.got;
    return 0;
}

/* The sum of the bytes that are stored. Nobody can change them: what is there stays, and nothing
 * fits behind the last one. */
static int hash_file(sv_call *call, hashing *h, char hex[FILE_SUM + 1])
{
    int rc;
    sha256_start(&h->sum);
    do {
        h->store = sv_store(sv_call_process(call));
        if (h->store == NULL) return sv_fail(sv_call_error(call), SV_E_DRAINING, NULL, NULL);
        rc = sv_work(call, hash_piece, h);
        if (rc == SV_E_OVERLOADED && h->err.code == 0) { /* others hash: wait for a place */
            *sv_call_error(call) = (sv_error){.code = 0};
            rc = sv_sleep(call, BUSY_MS);
            h->piece.got = 1;
        }
    } while (rc == 0 && h->piece.got > 0);
    if (h->err.code) *sv_call_error(call) = h->err;
    sha256_end(&h->sum, hex);
    return rc;
}

static int check_sum(sv_call *call, const file_who *who, const workspace_file_sum *sum)
{
    file_one one = {who, sum->id};
    file f;
    char hex[FILE_SUM + 1];
    int rc = store_read(call, file_look_own, &one, &f);
    /* What is finished was compared then, and what is not complete is refused by file_finish. */
    if (rc || f.sha256[0] || f.received != (uint64_t)f.size) return rc;
    hashing *h = calloc(1, sizeof *h);
    char *bytes = malloc(HASH_BYTES);
    rc = SV_E_NO_MEMORY;
    if (h && bytes) {
        h->piece =
            (file_piece){.who = who, .id = sum->id, .own = true, .n = HASH_BYTES, .to = bytes};
        rc = hash_file(call, h, hex);
    }
    free(h);
    free(bytes);
    if (rc == 0 && !sv_str_is(sum->sha256, hex))
        rc = sv_fail(sv_call_error(call), SV_E_CONFLICT, "files",
                     "The stored bytes are not those of the sum: their SHA-256 is %s.", hex);
    return rc;
}

int workspace_file_finish(sv_call *call, const void *request)
{
    const workspace_file_finish_req *q = request;
    file_who who;
    file_finish_in in = {.who = &who, .sums = q->files.items, .n = q->files.n};
    file_finish_result *result = arena_alloc(sv_call_arena(call), sizeof *result);
    workspace_file_info infos[FILES_FINISH];
    if (result == NULL) return SV_E_NO_MEMORY;
    int rc = writer_of(call, &who);
    for (uint32_t i = 0; rc == 0 && i < in.n; i++)
        rc = check_sum(call, &who, &in.sums[i]);
    if (rc == 0) rc = store_write(call, file_finish, &in, result);
    if (rc) return rc;
    for (uint32_t i = 0; i < in.n; i++) {
        infos[i] = file_show(&result->files[i]);
        if (result->fresh[i])
            workspace_tell(call, &who, "file.created", &workspace_file_info_msg, &infos[i]);
    }
    return sv_reply(call, &(workspace_file_finish_reply){.files = {infos, in.n}});
}

int workspace_file_drop(sv_call *call, const void *request)
{
    const workspace_file_drop_req *q = request;
    file_who who;
    int64_t dropped;
    file_drop_in in = {&who, &q->ids};
    int rc = writer_of(call, &who);
    if (rc == 0) rc = store_write(call, file_drop, &in, &dropped);
    return rc ? rc : sv_reply(call, &(bus_empty){});
}

/* ---- what is there ---- */

int workspace_file_list(sv_call *call, const void *request)
{
    const workspace_files_req *q = request;
    file_who who;
    file_page page;
    file_page_in in = {&who, q->after, (uint32_t)q->limit};
    int rc = workspace_who(call, &who);
    if (rc == 0) rc = store_read(call, files_page, &in, &page);
    if (rc) return rc;
    workspace_file_info *infos = arena_alloc(sv_call_arena(call), sizeof *infos * (page.n + 1));
    if (infos == NULL) return SV_E_NO_MEMORY;
    for (uint32_t i = 0; i < page.n; i++)
        infos[i] = file_show(&page.files[i]);
    return sv_reply(call, &(workspace_files_reply){.files = {infos, page.n},
                                                   .next = page.more ? infos[page.n - 1].id
                                                                     : (sv_str){NULL, 0}});
}

int workspace_file_info_of(sv_call *call, const void *request)
{
    const workspace_file_req *q = request;
    file_who who;
    file f;
    file_one one = {&who, q->id};
    int rc = workspace_who(call, &who);
    if (rc == 0) rc = store_read(call, file_look, &one, &f);
    if (rc) return rc;
    workspace_file_info info = file_show(&f);
    return sv_reply(call, &(workspace_file_reply){.file = &info});
}

int workspace_file_delete(sv_call *call, const void *request)
{
    const workspace_file_req *q = request;
    file_who who;
    file f;
    file_one one = {&who, q->id};
    int rc = workspace_who(call, &who);
    if (rc == 0) rc = store_write(call, file_delete, &one, &f);
    if (rc) return rc;
    workspace_file_req gone = {.id = sv_cstr(f.id)};
    workspace_tell(call, &who, "file.deleted", &workspace_file_req_msg, &gone);
    return sv_reply(call, &(bus_empty){});
}

/* ---- bytes ---- */

/* With an arena of its own: the call's would grow with the file. */
static int read_piece(sv_call *call, file_piece *p)
{
    store *s = sv_store(sv_call_process(call));
    arena a;
    if (s == NULL) return sv_fail(sv_call_error(call), SV_E_DRAINING, NULL, NULL);
    arena_init(&a, LOOK_ARENA);
    store_op op = {
        .fn = file_read_piece, .in = p, .out = p, .arena = &a, .owner = "workspace.file_read"};
    int rc = store_view(s, &op);
    arena_free(&a);
    if (rc == SV_E_STORE_IO && op.error.retry_after_ms) /* away for a moment: wait for it */
        return store_read(call, file_read_piece, p, p);
    if (rc) *sv_call_error(call) = op.error;
    return rc;
}

static int send_pieces(sv_call *call, file_piece *p, uint64_t left, int64_t *ret_sent)
{
    int rc = 0;
    while (rc == 0 && left > 0) {
        p->n = left < READ_BYTES ? (size_t)left : READ_BYTES;
        rc = read_piece(call, p);
        if (rc == 0 && p->got == 0) break;
        if (rc == 0) rc = sv_partial(call, NULL, NULL, (sv_str){p->to, (uint32_t)p->got});
        p->offset += p->got;
        left -= p->got;
        *ret_sent += (int64_t)p->got;
    }
    return rc;
}

int workspace_file_read(sv_call *call, const void *request)
{
    const workspace_file_read_req *q = request;
    file_who who;
    file f;
    file_one one = {&who, q->id};
    int64_t sent = 0;
    int rc = workspace_who(call, &who);
    if (rc == 0 && !sv_call_streaming(call))
        rc = sv_fail(sv_call_error(call), SV_E_INVALID, NULL,
                     "A file's bytes come as a stream: ask for one.");
    if (rc == 0) rc = store_read(call, file_look, &one, &f);
    if (rc) return rc;
    if (q->offset > f.size)
        return sv_fail(sv_call_error(call), SV_E_OUT_OF_RANGE, "offset", "The file has %lld bytes.",
                       (long long)f.size);
    int64_t left = f.size - q->offset;
    if (q->n > 0 && q->n < left) left = q->n;
    file_piece p = {.who = &who,
                    .id = q->id,
                    .offset = (uint64_t)q->offset,
                    .to = arena_alloc(sv_call_arena(call), READ_BYTES)};
    if (p.to == NULL) return SV_E_NO_MEMORY;
    rc = send_pieces(call, &p, (uint64_t)left, &sent);
    return rc ? rc : sv_reply(call, &(workspace_file_read_reply){.n = sent});
}

/* ---- upkeep ---- */

static void expired(void *arg, int code, const sv_error *err)
{
    workspace *w = arg;
    w->expiring = false;
    if (code) {
        log_write(LOG_WARN, "files that were not finished could not be given up", LOG_ERR(err));
        return;
    }
    log_write(LOG_INFO, "files that were not finished were given up", LOG_INT("n", w->expired));
    if (w->expired == FILES_EXPIRE) workspace_expire(w);
}

/* An idle store is not written: only a look that finds something leads to a write. */
void workspace_expire(workspace *w)
{
    bool any = false;
    arena a;
    if (w->expiring || sv_store(w->process) == NULL) return;
    arena_init(&a, LOOK_ARENA);
    store_op op = {.fn = files_expired, .out = &any, .arena = &a, .owner = "workspace.expire"};
    int rc = store_view(sv_store(w->process), &op);
    arena_free(&a);
    if (rc || !any) return;
    w->expiring = sv_store_write(w->process, "workspace.expire", files_expire, NULL, &w->expired,
                                 expired, w) == 0;
}
