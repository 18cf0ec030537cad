/*  state_kit.h - processes with a store on a temporary folder, without a bus: requests are put in as the
 *  broker would bring them, answers are read from what would have been sent. */
#ifndef STATE_KIT_H
#define STATE_KIT_H

#include "process.h"
#include "state.h"
#include "uuid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define SV_MESSAGES_FILE "../tests/unit/runtime/state_messages.def"
#include "message_structs.h"
#include "message_tables.h"

enum { TTL_MS = 60000 };

static char folder[64];
static config *settings;
static sv_process *p;

static inline sv_process *process(const sv_actor *actor)
{
    sv_error err = {.code = 0};
    sv_process *made = process_new(settings, actor, actor->name, &err);
    assert_non_null(made);
    if (state_open(made, &err)) fail_msg("%s (%s)", err.message, err.detail);
    return made;
}

/* The oldest message that would have been sent; the caller frees it. NULL: none. */
static inline queued_message *sent(sv_process *from, envelope *e)
{
    queued_message *q = from->out_head;
    if (q == NULL) return NULL;
    from->out_head = q->next;
    if (q->next == NULL) from->out_tail = &from->out_head;
    for (int i = 0; i < q->n; i++)
        from->out_bytes -= zmq_msg_size(&q->part[i]);
    assert_int_equal(envelope_decode(zmq_msg_data(&q->part[0]), zmq_msg_size(&q->part[0]), e, NULL),
                     0);
    return q;
}

static inline void sent_free(queued_message *q)
{
    for (int i = 0; i < q->n; i++)
        zmq_msg_close(&q->part[i]);
    free(q);
}

static inline void finish(sv_process *which)
{
    envelope e;
    queued_message *q;
    while ((q = sent(which, &e)))
        sent_free(q);
    process_free(which);
}

static inline void end(sv_process *which)
{
    serve_cancel_all(which);
    state_settle(which);
    state_close(which);
    finish(which);
}

static inline void folder_make(void)
{
    char key[128];
    snprintf(folder, sizeof folder, "/tmp/samovar-state.XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(key, sizeof key, "%s.key", folder);
    setenv("SAMOVAR_DATA", folder, 1);
    setenv("SAMOVAR_STORE_ROOT_KEY_FILE", key, 1);
    setenv("SAMOVAR_STORE_MAP_BYTES", "64MiB", 1);
    unsetenv("SAMOVAR_INSTANCE");
    assert_int_equal(config_load(NULL, &settings, NULL), 0);
}

static inline int folder_remove(void)
{
    char command[256];
    if (p) end(p);
    p = NULL;
    metrics_free();
    config_free(settings);
    snprintf(command, sizeof command, "rm -rf %s %s.key", folder, folder);
    return system(command);
}

typedef struct asked {
    const char *target, *key;
    uint32_t ttl_ms;
    uint16_t flags;
    uint32_t window_items, window_bytes;
    const sv_message *type; /* NULL: an empty body */
    const void *body;
} asked;

/* A request as the broker would bring it. */
static inline sv_id request_of(const asked *a)
{
    envelope e = {.kind = SV_REQUEST,
                  .id = uuid_new(),
                  .flags = a->flags,
                  .ttl_ms = a->ttl_ms ? a->ttl_ms : TTL_MS,
                  .credit_items = a->window_items,
                  .credit_bytes = a->window_bytes,
                  .sender = "operator",
                  .target = sv_cstr(a->target),
                  .key = sv_cstr(a->key)};
    buf body;
    frames f = {.n = 2};
    buf_init(&body, LIMIT_PART_BYTES);
    if (a->type) assert_int_equal(message_encode(a->type, a->body, &body), 0);
    zmq_msg_init_size(&f.part[0], envelope_size(&e));
    envelope_write(&e, zmq_msg_data(&f.part[0]));
    zmq_msg_init_size(&f.part[1], body.n);
    if (body.n) memcpy(zmq_msg_data(&f.part[1]), body.p, body.n);
    buf_free(&body);
    assert_int_equal(
        envelope_decode(zmq_msg_data(&f.part[0]), zmq_msg_size(&f.part[0]), &f.env, NULL), 0);
    serve_request(p, &f);
    frames_close(&f);
    return e.id;
}

#endif
