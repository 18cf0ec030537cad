/*  files_kit.h - a real store in a folder of its own, with a clock that a test sets, and files in a
 *  few words. Include once. */
#ifndef FILES_KIT_H
#define FILES_KIT_H

#include "error.h"
#include "files_store.h"
#include "seal.h"
#include "uuid.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static store *kit_store;
static seal_key *kit_root;
static char kit_folder[64];
static uint64_t kit_now_ms;
static sv_error kit_error; /* of the last operation */

static pthread_mutex_t kit_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t kit_changed = PTHREAD_COND_INITIALIZER;
static uint32_t kit_finished;

static void kit_on_finished(void *arg, store_op *list)
{
    (void)arg;
    pthread_mutex_lock(&kit_mutex);
    for (; list; list = list->next)
        kit_finished++;
    pthread_cond_signal(&kit_changed);
    pthread_mutex_unlock(&kit_mutex);
}

static void kit_on_event(void *arg, store_level level, const char *what, const char *detail)
{
    (void)arg, (void)level, (void)what, (void)detail;
}

static uint64_t kit_clock(void)
{
    return kit_now_ms;
}

static void kit_open(void)
{
    store_spec spec = {.schema = &workspace_schema,
                       .folder = kit_folder,
                       .map_bytes = 1 << 30,
                       .root = kit_root,
                       .finished = kit_on_finished,
                       .event = kit_on_event,
                       .unix_ms = kit_clock};
    kit_error = (sv_error){.code = 0};
    if (store_open(&spec, &kit_store, &kit_error)) {
        fprintf(stderr, "store_open: %s %s\n", kit_error.message, kit_error.detail);
        abort();
    }
}

static int kit_start(void **state)
{
    (void)state;
    kit_now_ms = 1900000000000;
    snprintf(kit_folder, sizeof kit_folder, "/tmp/files_test_XXXXXX");
    if (mkdtemp(kit_folder) == NULL) abort();
    kit_root = seal_key_new();
    kit_open();
    return 0;
}

/* The same data, as after a crash: nothing is in memory any more. */
static inline void kit_again(void)
{
    store_close(kit_store);
    kit_open();
}

/* Writes at the same moment: `in` is an array of n items. */
static void kit_write_all(store_fn *fn, const void *in, size_t in_size, void *out, size_t out_size,
                          uint32_t n, int *ret_codes)
{
    store_op *ops = calloc(n, sizeof *ops);
    arena *memory = calloc(n, sizeof *memory);
    if (ops == NULL || memory == NULL) abort();
    kit_finished = 0;
    for (uint32_t i = 0; i < n; i++) {
        arena_init(&memory[i], 4 << 20);
        ops[i] = (store_op){.fn = fn,
                            .in = in ? (const char *)in + i * in_size : NULL,
                            .out = (char *)out + i * out_size,
                            .arena = &memory[i],
                            .owner = "test"};
        if (store_submit(kit_store, &ops[i])) abort();
    }
    pthread_mutex_lock(&kit_mutex);
    while (kit_finished < n)
        pthread_cond_wait(&kit_changed, &kit_mutex);
    pthread_mutex_unlock(&kit_mutex);
    for (uint32_t i = 0; i < n; i++) {
        ret_codes[i] = ops[i].code;
        kit_error = ops[i].error;
        arena_free(&memory[i]);
    }
    free(ops);
    free(memory);
}

static int kit_write(store_fn *fn, const void *in, void *out)
{
    int code;
    kit_write_all(fn, in, 0, out, 0, 1, &code);
    return code;
}

static int kit_read(store_fn *fn, const void *in, void *out, arena *a)
{
    store_op op = {.fn = fn, .in = in, .out = out, .arena = a, .owner = "test"};
    int rc = store_view(kit_store, &op);
    kit_error = op.error;
    return rc;
}

/* ---- files ---- */

static const file_who kit_anna = {.org = "org-a", .user = "anna", .writes = true, .admin = true};
static const file_who kit_bob = {.org = "org-a", .user = "bob", .writes = true};
static const file_who kit_vera = {.org = "org-a", .user = "vera"};
static const file_who kit_eve = {.org = "org-e", .user = "eve", .writes = true, .admin = true};
static file_limits kit_limits;

static inline file_begin_in kit_begin_in(const file_who *who, const char *name, int64_t size)
{
    file_begin_in in = {.who = who, .limits = &kit_limits, .size = size, .type = "text/plain"};
    sv_id id = uuid_new();
    uuid_format(&id, in.id);
    snprintf(in.name, sizeof in.name, "%s", name);
    return in;
}

static inline int kit_begin(const file_who *who, const char *name, int64_t size,
                            char id[FILE_ID + 1])
{
    int64_t expires;
    file_begin_in in = kit_begin_in(who, name, size);
    memcpy(id, in.id, sizeof in.id);
    return kit_write(file_begin, &in, &expires);
}

static inline int kit_append(const file_who *who, const char *id, uint64_t offset,
                             const char *bytes, uint32_t n, uint64_t *ret_received)
{
    file_append_in in = {who, sv_cstr(id), offset, {bytes, n}};
    return kit_write(file_append, &in, ret_received);
}

static inline int kit_finish(const file_who *who, const char *id, int64_t size,
                             file_finish_result *ret)
{
    static const char sum[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    workspace_file_sum sums[] = {{sv_cstr(id), size, sv_cstr(sum)}};
    file_finish_in in = {who, sums, 1};
    return kit_write(file_finish, &in, ret);
}

/* A whole file of `n` bytes. */
static inline int kit_file(const file_who *who, const char *name, const char *bytes, uint32_t n,
                           char id[FILE_ID + 1])
{
    file_finish_result *result = malloc(sizeof *result);
    uint64_t received;
    int rc = kit_begin(who, name, n, id);
    if (rc == 0) rc = kit_append(who, id, 0, bytes, n, &received);
    if (rc == 0) rc = kit_finish(who, id, n, result);
    free(result);
    return rc;
}

static inline int kit_look(store_fn *fn, const file_who *who, const char *id, file *ret)
{
    arena a;
    file_one one = {who, sv_cstr(id)};
    arena_init(&a, 1 << 20);
    int rc = kit_read(fn, &one, ret, &a);
    arena_free(&a);
    return rc;
}

static inline int kit_drop(const file_who *who, const char *id, int64_t *ret)
{
    sv_str text = sv_cstr(id);
    sv_strs ids = {&text, 1};
    file_drop_in in = {who, &ids};
    return kit_write(file_drop, &in, ret);
}

static inline int kit_delete(const file_who *who, const char *id)
{
    file gone;
    file_one one = {who, sv_cstr(id)};
    return kit_write(file_delete, &one, &gone);
}

/* ---- the whole ---- */

typedef struct kit_total {
    int64_t bytes, files, sum_bytes, sum_files;
} kit_total;

/* What the rows of an organization or a user say, and what is reserved for it. */
static int kit_sum(store_tx *tx, const void *in, void *out)
{
    const char *const *who = in; /* kind, id */
    kit_total *t = out;
    file_row row;
    store_scan *scan;
    store_range all = {.table = &workspace_files};
    usage_row usage = {.kind = sv_cstr(who[0]), .id = sv_cstr(who[1])};
    bool of_org = strcmp(who[0], "org") == 0;
    *t = (kit_total){0};
    int rc = store_get(tx, &workspace_usage, &usage);
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    t->bytes = usage.bytes;
    t->files = usage.files;
    rc = store_scan_open(tx, &all, &scan);
    while (rc == 0 && store_scan_next(scan, &row)) {
        if (!sv_str_is(of_org ? row.org : row.user, who[1])) continue;
        t->sum_bytes += row.size;
        t->sum_files++;
    }
    return rc ? rc : store_scan_result(scan);
}

static inline kit_total kit_usage(const char *kind, const char *id)
{
    const char *who[] = {kind, id};
    kit_total t;
    arena a;
    arena_init(&a, 16 << 20);
    if (kit_read(kit_sum, who, &t, &a)) abort();
    arena_free(&a);
    return t;
}

/* Every row, entry and chunk fits the others. */
static int kit_stop(void **state)
{
    (void)state;
    char command[96];
    store_check check = {.done = false};
    buf_init(&check.position, 1 << 20);
    while (!check.done) {
        arena a;
        arena_init(&a, 16 << 20);
        if (kit_read(store_check_some, &check, &check, &a)) abort();
        arena_free(&a);
    }
    buf_free(&check.position);
    if (check.problems) fprintf(stderr, "store: %s\n", check.first_problem);
    store_close(kit_store);
    seal_key_free(kit_root);
    snprintf(command, sizeof command, "rm -rf %s", kit_folder);
    if (system(command)) abort();
    return check.problems ? -1 : 0;
}

#endif
