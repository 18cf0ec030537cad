/*  files_kit.h - a real store in a folder of its own, with a clock that a test sets, and files in a
 *  few words. Include once. */
#ifndef FILES_KIT_H
#define FILES_KIT_H

#include "../store_kit.h"
#include "files_store.h"

static inline int kit_start(void **state)
{
    (void)state;
    kit_make(&workspace_schema, KIT_NOW_MS);
    return 0;
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
    kit_id(in.id);
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
    file_one one = {who, sv_cstr(id)};
    return kit_peek(fn, &one, ret);
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
    if (kit_peek(kit_sum, who, &t)) abort();
    return t;
}

/* Every row, entry and chunk fits the others. */
static int kit_stop(void **state)
{
    (void)state;
    store_check check = {.done = false};
    buf_init(&check.position, 1 << 20);
    while (!check.done)
        if (kit_peek(store_check_some, &check, &check)) abort();
    buf_free(&check.position);
    if (check.problems) fprintf(stderr, "store: %s\n", check.first_problem);
    kit_remove();
    return check.problems ? -1 : 0;
}

#endif
