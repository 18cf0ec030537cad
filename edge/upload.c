/*  upload.c - one struct and one step at a time: receiving, then for each file begin and its pieces,
 *  then finish. A step is either a timer that reads the spool piece by piece, or one call that is
 *  outstanding. An upload that has lost its client waits for that call and drops what was begun. */
#include "upload.h"

#include "error.h"
#include "file_type.h"
#include "log.h"
#include "multipart.h"
#include "sha256.h"
#include "spool.h"
#include "sv_limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

enum { FILE_ID = 36, CALL_MS = 30000, FINISH_MS = 120000, BUSY_MS = 1000 };

typedef struct upload_file {
    char name[MULTIPART_FILENAME_BYTES];
    uint32_t name_n;
    const char *type;
    uint64_t at, size, sent; /* in the spool; handed to the workspace */
    char sum[65];
    char id[FILE_ID + 1]; /* empty: not begun */
} upload_file;

struct upload {
    TAILQ_ENTRY(upload) link;
    uploads *all;
    http_exchange *x; /* while the body comes */
    upload_events events;
    void *arg;
    bool orphan; /* the client is gone: `events` may not be called */
    sv_trace trace;
    int fd;
    uint64_t spooled;
    uint64_t turn_us; /* the turn that turn_bytes were written in */
    size_t turn_bytes;
    loop_timer timer;
    multipart form;
    sha256 hash;               /* of the file that comes */
    char head[FILE_TYPE_LOOK]; /* its first bytes */
    upload_file files[UPLOAD_FILES];
    uint32_t n, current; /* files; the one that is sent */
    sv_stream *stream;
    char *piece; /* UPLOAD_PIECE_BYTES, while files are sent */
    size_t piece_n;
    uint32_t ticket_n;
    char ticket[LIMIT_TICKET_BYTES];
    char owner[FILE_ID + 1];
};

struct uploads {
    sv_process *p;
    loop *l;
    char folder[4096];
    uint64_t most_bytes;
    uint32_t most, n;
    TAILQ_HEAD(upload_list, upload) list;
};

/* ---- life ---- */

int uploads_new(sv_process *p, uploads **ret, sv_error *err)
{
    const config *c = sv_config(p);
    uploads *all = calloc(1, sizeof *all);
    if (all == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    all->p = p;
    all->l = sv_loop(p);
    all->most_bytes = (uint64_t)config_int(c, "edge.upload_bytes");
    all->most = (uint32_t)config_int(c, "edge.uploads");
    TAILQ_INIT(&all->list);
    int n = snprintf(all->folder, sizeof all->folder, "%s/tmp", config_data(c));
    if (n < 0 || (size_t)n >= sizeof all->folder) {
        free(all);
        return sv_fail(err, SV_E_CONFIG, "data", "The path of the data folder is too long.");
    }
    *ret = all;
    return 0;
}

static void upload_free(upload *u)
{
    loop_timer_stop(u->all->l, &u->timer);
    spool_close(u->fd);
    TAILQ_REMOVE(&u->all->list, u, link);
    u->all->n--;
    free(u->piece);
    free(u);
}

void uploads_free(uploads *all)
{
    if (all == NULL) return;
    for (upload *u = TAILQ_FIRST(&all->list), *next; u; u = next) {
        next = TAILQ_NEXT(u, link);
        upload_free(u);
    }
    free(all);
}

uint32_t uploads_open(const uploads *all)
{
    return all->n;
}

uint32_t uploads_by(const uploads *all, const char *owner)
{
    const upload *u;
    uint32_t n = 0;
    TAILQ_FOREACH(u, &all->list, link)
    n += strcmp(u->owner, owner) == 0;
    return n;
}

uint32_t uploads_each(const uploads *all)
{
    return all->most < 8 ? 1 : all->most / 8;
}

void upload_owner(upload *u, const char *owner)
{
    snprintf(u->owner, sizeof u->owner, "%s", owner);
}

/* ---- receiving ---- */

static int part_begin(void *arg, const multipart_part *part, sv_error *err)
{
    upload *u = arg;
    if (!part->has_file)
        return sv_fail(err, SV_E_UNKNOWN_FIELD, NULL,
                       "The form's field \"%.*s\" is no file; only files are taken here.",
                       part->name.n < 60 ? (int)part->name.n : 60, part->name.p);
    if (part->filename.n == 0)
        return sv_fail(err, SV_E_MISSING_FIELD, "filename", "A file has no name: choose one.");
    if (u->n == UPLOAD_FILES)
        return sv_fail(err, SV_E_TOO_LARGE, NULL, "At most %d files are taken at once.",
                       UPLOAD_FILES);
    if (part->filename.n > sizeof u->files->name)
        return sv_fail(err, SV_E_TOO_LARGE, "filename", "The file's name is too long.");
    upload_file *f = &u->files[u->n];
    *f = (upload_file){.name_n = part->filename.n, .at = u->spooled};
    memcpy(f->name, part->filename.p, part->filename.n);
    sha256_start(&u->hash);
    return 0;
}

static int part_bytes(void *arg, sv_str bytes, sv_error *err)
{
    upload *u = arg;
    upload_file *f = &u->files[u->n];
    if (bytes.n > u->all->most_bytes - u->spooled)
        return sv_fail(err, SV_E_TOO_LARGE, NULL,
                       "The files of a request may have %llu bytes (edge.upload_bytes).",
                       (unsigned long long)u->all->most_bytes);
    if (f->size < sizeof u->head && bytes.n) {
        size_t room = sizeof u->head - (size_t)f->size;
        memcpy(u->head + f->size, bytes.p, bytes.n < room ? bytes.n : room);
    }
    sha256_add(&u->hash, bytes.p, bytes.n);
    int rc = spool_add(u->fd, bytes, err);
    if (rc) return rc;
    f->size += bytes.n;
    u->spooled += bytes.n;
    return 0;
}

static int part_end(void *arg, sv_error *err)
{
    (void)err;
    upload *u = arg;
    upload_file *f = &u->files[u->n++];
    bool whole = f->size <= sizeof u->head;
    f->type = file_type_of((sv_str){u->head, whole ? (uint32_t)f->size : (uint32_t)sizeof u->head},
                           whole);
    sha256_end(&u->hash, f->sum);
    return 0;
}

static int check_head(const http_request *r, sv_error *err)
{
    uint32_t n = 0;
    sv_str coding = http_header_get(r, "content-encoding", &n);
    if (n && !sv_str_is(coding, "identity"))
        return sv_fail(err, SV_E_HTTP_MEDIA_TYPE, NULL,
                       "Compressed requests are not read; send the body without Content-Encoding.");
    http_header_get(r, "content-type", &n);
    if (n != 1)
        return sv_fail(err, SV_E_HTTP_MEDIA_TYPE, NULL,
                       "Content-Type must be multipart/form-data.");
    if (!r->has_body) return sv_fail(err, SV_E_HTTP_LENGTH_REQUIRED, NULL, NULL);
    return 0;
}

static int open_spool(upload *u, const http_request *r, sv_error *err)
{
    multipart_calls calls = {u, part_begin, part_bytes, part_end};
    int rc = check_head(r, err);
    if (rc == 0)
        rc = multipart_init(&u->form, http_header_get(r, "content-type", NULL), &calls, err);
    if (rc) return rc;
    u->fd = spool_open(u->all->folder, err);
    return u->fd < 0 ? u->fd : 0;
}

size_t uploads_body_max(const uploads *all)
{
    return (size_t)all->most_bytes + UPLOAD_AROUND_BYTES;
}

int upload_begin(uploads *all, http_exchange *x, const http_request *r, const sv_trace *trace,
                 const upload_events *events, void *arg, upload **ret, sv_error *err)
{
    if (all->n >= all->most) {
        if (err) err->retry_after_ms = BUSY_MS;
        return sv_fail(err, SV_E_OVERLOADED, NULL, "Too many files are being sent at the moment.");
    }
    upload *u = calloc(1, sizeof *u);
    if (u == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    u->all = all;
    u->x = x;
    u->events = *events;
    u->arg = arg;
    u->trace = *trace;
    u->fd = -1;
    TAILQ_INSERT_TAIL(&all->list, u, link);
    all->n++;
    int rc = open_spool(u, r, err);
    if (rc) {
        upload_free(u);
        return rc;
    }
    *ret = u;
    return 0;
}

static void go_on(void *arg)
{
    upload *u = arg;
    http_resume(u->x);
}

int upload_bytes(upload *u, sv_str bytes, sv_error *err)
{
    uint64_t now_us = loop_now_us(u->all->l);
    int rc = multipart_feed(&u->form, bytes, err);
    if (rc) {
        upload_free(u);
        return rc;
    }
    if (now_us != u->turn_us) u->turn_bytes = 0;
    u->turn_us = now_us;
    u->turn_bytes += bytes.n;
    if (u->turn_bytes < UPLOAD_TURN_BYTES) return 0;
    http_pause(u->x);
    rc = loop_timer_set(u->all->l, &u->timer, 0, go_on, u);
    if (rc) {
        upload_free(u);
        return sv_fail(err, rc, NULL, NULL);
    }
    return 0;
}

/* ---- handing over ---- */

static void step(upload *u);

static void take_ticket(upload *u)
{
    if (u->orphan) return;
    sv_str t = u->events.ticket(u->arg);
    u->ticket_n = t.n <= sizeof u->ticket ? t.n : 0;
    if (u->ticket_n) memcpy(u->ticket, t.p, u->ticket_n);
}

static int ask(upload *u, sv_request *r, const sv_events *events, sv_error *err)
{
    take_ticket(u);
    r->trace = &u->trace;
    r->ticket = (sv_str){u->ticket, u->ticket_n};
    if (r->ttl_ms == 0) r->ttl_ms = CALL_MS;
    u->stream = sv_open(u->all->p, r, events, u, err);
    return u->stream ? 0 : err->code ? err->code : SV_E_NO_MEMORY;
}

static void on_dropped(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    (void)s, (void)item;
    upload *u = arg;
    if (code) log_write(LOG_WARN, "files of an upload stay until they expire", LOG_ERR(err));
    upload_free(u);
}

/* The end of an upload that did not come to its end: nothing stays of it. */
static void drop(upload *u)
{
    static const sv_events events = {.done = on_dropped};
    sv_str ids[UPLOAD_FILES];
    workspace_file_drop_req q = {.ids = {ids, 0}};
    sv_error err = {0};
    for (uint32_t i = 0; i < u->n; i++)
        if (u->files[i].id[0]) ids[q.ids.n++] = sv_cstr(u->files[i].id);
    u->orphan = true; /* with the last ticket it was given */
    sv_request r = {
        .target = "workspace.file_drop", .type = &workspace_file_drop_req_msg, .body = &q};
    if (q.ids.n == 0 || ask(u, &r, &events, &err)) upload_free(u);
}

static void fail(upload *u, int code, const sv_error *err)
{
    if (!u->orphan) {
        take_ticket(u);
        u->events.done(u->arg, code, NULL, err);
    }
    drop(u);
}

static void on_begun(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    (void)s;
    upload *u = arg;
    upload_file *f = &u->files[u->current];
    workspace_file_begin_reply reply;
    sv_error why = {0};
    arena a;
    u->stream = NULL;
    if (code) {
        fail(u, code, err);
        return;
    }
    arena_init(&a, 4096);
    code = message_decode(&workspace_file_begin_reply_msg, item->body, MESSAGE_LENIENT, &a, &reply,
                          &why);
    if (code == 0 && (reply.id.n == 0 || reply.id.n > FILE_ID))
        code = sv_fail(&why, SV_E_INTERNAL, NULL, NULL);
    if (code == 0) memcpy(f->id, reply.id.p, reply.id.n);
    arena_free(&a);
    if (code)
        fail(u, code, &why);
    else
        step(u);
}

static void on_appended(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    (void)s, (void)item;
    upload *u = arg;
    u->stream = NULL;
    if (code) {
        fail(u, code, err);
        return;
    }
    u->files[u->current].sent += u->piece_n;
    u->piece_n = 0;
    step(u);
}

/* They are seen now, whether their client still is there or not. */
static void on_finished(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    (void)s;
    upload *u = arg;
    u->stream = NULL;
    if (code) {
        fail(u, code, err);
        return;
    }
    if (!u->orphan) u->events.done(u->arg, 0, item, NULL);
    upload_free(u);
}

static int begin_file(upload *u, sv_error *err)
{
    static const sv_events events = {.done = on_begun};
    const upload_file *f = &u->files[u->current];
    workspace_file_begin_req q = {
        .name = {f->name, f->name_n}, .size = (int64_t)f->size, .type = sv_cstr(f->type)};
    sv_request r = {
        .target = "workspace.file_begin", .type = &workspace_file_begin_req_msg, .body = &q};
    return ask(u, &r, &events, err);
}

static int append_piece(upload *u, sv_error *err)
{
    static const sv_events events = {.done = on_appended};
    const upload_file *f = &u->files[u->current];
    workspace_file_append_req q = {.id = sv_cstr(f->id), .offset = (int64_t)f->sent};
    sv_request r = {.target = "workspace.file_append",
                    .type = &workspace_file_append_req_msg,
                    .body = &q,
                    .idempotent = true,
                    .attachment = {u->piece, (uint32_t)u->piece_n}};
    return ask(u, &r, &events, err);
}

static int finish(upload *u, sv_error *err)
{
    static const sv_events events = {.done = on_finished};
    workspace_file_sum sums[UPLOAD_FILES];
    for (uint32_t i = 0; i < u->n; i++)
        sums[i] = (workspace_file_sum){.id = sv_cstr(u->files[i].id),
                                       .size = (int64_t)u->files[i].size,
                                       .sha256 = sv_cstr(u->files[i].sum)};
    workspace_file_finish_req q = {.files = {sums, u->n}};
    sv_request r = {.target = "workspace.file_finish",
                    .type = &workspace_file_finish_req_msg,
                    .body = &q,
                    .idempotent = true,
                    .ttl_ms = FINISH_MS};
    return ask(u, &r, &events, err);
}

/* Reads on in the spool; a full piece, or the last one, goes out. */
static void read_some(void *arg)
{
    upload *u = arg;
    const upload_file *f = &u->files[u->current];
    sv_error err = {0};
    uint64_t left = f->size - f->sent - u->piece_n;
    size_t n = UPLOAD_PIECE_BYTES - u->piece_n;
    if (n > left) n = (size_t)left;
    if (n > UPLOAD_TURN_BYTES) n = UPLOAD_TURN_BYTES;
    int rc = spool_read(u->fd, f->at + f->sent + u->piece_n, u->piece + u->piece_n, n, &err);
    if (rc == 0) {
        u->piece_n += n;
        bool full = u->piece_n == UPLOAD_PIECE_BYTES || n == left;
        rc = full ? append_piece(u, &err) : loop_timer_set(u->all->l, &u->timer, 0, read_some, u);
    }
    if (rc) fail(u, rc, &err);
}

static void step(upload *u)
{
    sv_error err = {0};
    while (u->current < u->n && u->files[u->current].id[0] &&
           u->files[u->current].sent == u->files[u->current].size)
        u->current++;
    int rc;
    if (u->orphan)
        rc = SV_E_CANCELLED;
    else if (u->current == u->n)
        rc = finish(u, &err);
    else if (u->files[u->current].id[0] == 0)
        rc = begin_file(u, &err);
    else
        rc = loop_timer_set(u->all->l, &u->timer, 0, read_some, u);
    if (rc) fail(u, rc, &err);
}

static void first_step(void *arg)
{
    step(arg);
}

int upload_end(upload *u, sv_error *err)
{
    int rc = multipart_end(&u->form, err);
    u->x = NULL;
    if (rc == 0 && u->n == 0)
        rc = sv_fail(err, SV_E_MISSING_FIELD, "file", "The form has no file.");
    if (rc == 0 && (u->piece = malloc(UPLOAD_PIECE_BYTES)) == NULL)
        rc = sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    if (rc == 0) rc = loop_timer_set(u->all->l, &u->timer, 0, first_step, u);
    if (rc) upload_free(u);
    return rc;
}

void upload_abort(upload *u, bool bus_open)
{
    if (u == NULL) return;
    if (!bus_open) {
        upload_free(u);
        return;
    }
    take_ticket(u);
    u->orphan = true;
    u->x = NULL;
    if (u->stream) return; /* what it brings decides what there is to drop */
    loop_timer_stop(u->all->l, &u->timer);
    drop(u);
}
