/*  api_files.c - POST /api/files and GET /api/files/{id}: upload.h and download.h as answers of the API. */
#include "api.h"

#include "download.h"
#include "error.h"
#include "message_view.h"
#include "reply.h"
#include "upload.h"

/* None for somebody who has lost his access while the bytes came. */
static sv_str ticket_of(void *arg)
{
    const edge_call *c = arg;
    if (access_holds(c->e->access, c->who, NULL)) return (sv_str){NULL, 0};
    return access_ticket(c->e->access, c->who);
}

/* ---- receiving ---- */

static void upload_free(void *data)
{
    const edge_call *c = data;
    upload_abort(c->upload, !c->e->stopping);
}

static void on_uploaded(void *arg, int code, const sv_item *item, const sv_error *err)
{
    edge_call *c = arg;
    edge *e = c->e;
    workspace_file_finish_reply reply;
    sv_error own = {.code = 0};
    c->upload = NULL;
    if (c->x->ended) return;
    if (code == 0) {
        code = message_decode(&workspace_file_finish_reply_msg, item->body, MESSAGE_LENIENT,
                              &e->arena, &reply, &own);
        err = &own;
    }
    if (code) {
        reply_error(c, code, err);
        return;
    }
    buf_reset(&e->text, e->text.cap);
    if (message_view(&workspace_file_finish_reply_msg, &reply, &e->text))
        reply_error(c, SV_E_NO_MEMORY, NULL);
    else
        reply_whole(c, 201, "application/json", buf_str(&e->text), NULL);
    arena_reset(&e->arena);
}

static void on_bytes(edge_call *c, sv_str bytes)
{
    sv_error err = {.code = 0};
    if (c->upload == NULL) return; /* refused already */
    int rc = upload_bytes(c->upload, bytes, &err);
    if (rc == 0) return;
    c->upload = NULL;
    reply_error(c, rc, &err);
}

static void on_complete(edge_call *c)
{
    sv_error err = {.code = 0};
    if (c->upload == NULL) return;
    int rc = upload_end(c->upload, &err);
    if (rc == 0) return;
    c->upload = NULL;
    reply_error(c, rc, &err);
}

void api_file_upload(edge_call *c)
{
    static const upload_events events = {.ticket = ticket_of, .done = on_uploaded};
    sv_error err = {.code = 0};
    const uploads *all = c->e->uploads;
    if (!c->who->is_operator && uploads_by(all, c->who->user) >= uploads_each(all)) {
        reply_refuse(c, SV_E_RATE, NULL, "This user is sending files in %u requests already.",
                     uploads_each(all));
        return;
    }
    int rc =
        upload_begin(c->e->uploads, c->x, c->x->request, &c->trace, &events, c, &c->upload, &err);
    if (rc) {
        c->upload = NULL;
        reply_error(c, rc, &err);
        return;
    }
    upload_owner(c->upload, c->who->user);
    c->data = c;
    c->data_free = upload_free;
    c->on_bytes = on_bytes;
    c->on_complete = on_complete;
}

/* ---- serving ---- */

static void download_over(void *data)
{
    const edge_call *c = data;
    download_end(c->download, !c->e->stopping);
}

static void on_head(void *arg, const http_response *r, bool whole, uint64_t length)
{
    http_response with = *r;
    with.has_length = true;
    with.length = length;
    reply_own(arg, &with, whole);
}

static void on_served(void *arg, int code, const sv_error *err)
{
    edge_call *c = arg;
    c->download = NULL;
    if (code && !c->x->started && !c->x->ended) reply_error(c, code, err);
}

static void on_drained(http_exchange *x)
{
    const edge_call *c = x->data;
    if (c->download) download_drained(c->download);
}

void api_file(edge_call *c)
{
    static const download_events events = {.ticket = ticket_of, .head = on_head, .done = on_served};
    sv_error err = {.code = 0};
    int rc =
        download_begin(c->e->p, c->x, c->match.value[0], &c->trace, &events, c, &c->download, &err);
    if (rc) {
        c->download = NULL;
        reply_error(c, rc, &err);
        return;
    }
    c->data = c;
    c->data_free = download_over;
    c->x->on_drained = on_drained;
}
