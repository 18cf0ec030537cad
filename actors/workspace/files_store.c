/*  files_store.c - file rows and what they reserve. Every change of one goes through reserve() or
 *  give_up(), so that the sums cannot come apart from the rows. */
#include "files_store.h"

#include "error.h"

#include <stdio.h>

/* ---- rows ---- */

static void take(sv_str from, char *to, size_t size)
{
    snprintf(to, size, "%.*s", SV_FMT(from));
}

static sv_str text_of(const char *s)
{
    return s[0] ? sv_cstr(s) : (sv_str){NULL, 0};
}

static void copy(const file_row *row, uint64_t received, file *ret)
{
    *ret = (file){
        .size = row->size, .created = row->created, .expires = row->expires, .received = received};
    take(row->id, ret->id, sizeof ret->id);
    take(row->user, ret->user, sizeof ret->user);
    take(row->name, ret->name, sizeof ret->name);
    take(row->type, ret->type, sizeof ret->type);
    take(row->sha256, ret->sha256, sizeof ret->sha256);
}

workspace_file_info file_show(const file *f)
{
    return (workspace_file_info){.id = sv_cstr(f->id),
                                 .name = sv_cstr(f->name),
                                 .size = f->size,
                                 .type = sv_cstr(f->type),
                                 .sha256 = text_of(f->sha256),
                                 .created = f->created,
                                 .user = text_of(f->user)};
}

static int missing(store_tx *tx)
{
    sv_fail(store_error(tx), SV_E_NOT_FOUND, "id", "There is no such file.");
    return SV_E_NOT_FOUND;
}

/* A row of the caller's organization, finished or not. */
static int find(store_tx *tx, const file_who *who, sv_str id, file_row *ret)
{
    if (id.n == 0 || id.n > FILE_ID) return missing(tx);
    *ret = (file_row){.org = sv_cstr(who->org), .id = id};
    int rc = store_get(tx, &workspace_files, ret);
    return rc == SV_E_NOT_FOUND ? missing(tx) : rc;
}

static int find_finished(store_tx *tx, const file_who *who, sv_str id, file_row *ret)
{
    int rc = find(tx, who, id, ret);
    return rc == 0 && ret->expires ? missing(tx) : rc;
}

/* A file that its user is still sending. */
static int find_open(store_tx *tx, const file_who *who, sv_str id, file_row *ret)
{
    int rc = find(tx, who, id, ret);
    if (rc) return rc;
    bool open = ret->expires > store_now_ms(tx) && sv_str_is(ret->user, who->user);
    return open ? 0 : missing(tx);
}

static int find_own(store_tx *tx, const file_who *who, sv_str id, file_row *ret)
{
    int rc = find(tx, who, id, ret);
    if (rc) return rc;
    return ret->expires ? find_open(tx, who, id, ret) : 0;
}

static int received(store_tx *tx, const file_row *row, uint64_t *ret)
{
    int rc = store_blob_size(tx, &workspace_files, row, ret);
    if (rc != SV_E_NOT_FOUND) return rc;
    *ret = 0;
    return 0;
}

/* ---- quota ---- */

static int usage_get(store_tx *tx, const char *kind, sv_str id, usage_row *ret)
{
    *ret = (usage_row){.kind = sv_cstr(kind), .id = id};
    int rc = store_get(tx, &workspace_usage, ret);
    return rc == SV_E_NOT_FOUND ? 0 : rc;
}

static int usage_add(store_tx *tx, const char *kind, sv_str id, int64_t bytes, int64_t files)
{
    usage_row row;
    int rc = usage_get(tx, kind, id, &row);
    if (rc) return rc;
    row.bytes += bytes;
    row.files += files;
    if (row.bytes < 0 || row.files < 0)
        return sv_fail(store_error(tx), SV_E_STORE_DAMAGED, "usage",
                       "The sums of stored files are damaged.");
    if (row.files == 0) return store_delete(tx, &workspace_usage, &row);
    return store_put(tx, &workspace_usage, &row);
}

static int usage_change(store_tx *tx, sv_str org, sv_str user, int64_t bytes, int64_t files)
{
    int rc = usage_add(tx, "org", org, bytes, files);
    return rc ? rc : usage_add(tx, "user", user, bytes, files);
}

static int over(store_tx *tx, const char *setting, const char *whose, int64_t most, int64_t used)
{
    return sv_fail(store_error(tx), SV_E_QUOTA, setting,
                   "%s files may take %lld bytes in all (%s), and %lld are left: delete some "
                   "first.",
                   whose, (long long)most, setting, (long long)(most > used ? most - used : 0));
}

/* Takes `size` bytes of both quotas; nothing is changed when one of them has not that much. */
static int reserve(store_tx *tx, const file_begin_in *q)
{
    usage_row org, user;
    sv_str org_id = sv_cstr(q->who->org), user_id = sv_cstr(q->who->user);
    const file_limits *l = q->limits;
    int rc = usage_get(tx, "org", org_id, &org);
    if (rc == 0) rc = usage_get(tx, "user", user_id, &user);
    if (rc) return rc;
    if (org.files >= l->org_files)
        return sv_fail(store_error(tx), SV_E_QUOTA, "files.most",
                       "An organization may have %lld files (files.most): delete some first.",
                       (long long)l->org_files);
    if (q->size > l->user_bytes - user.bytes)
        return over(tx, "files.user_bytes", "A user's", l->user_bytes, user.bytes);
    if (q->size > l->org_bytes - org.bytes)
        return over(tx, "files.org_bytes", "An organization's", l->org_bytes, org.bytes);
    return usage_change(tx, org_id, user_id, q->size, 1);
}

/* The row, its bytes and what it had reserved. */
static int give_up(store_tx *tx, const file_row *row)
{
    int rc = usage_change(tx, row->org, row->user, -row->size, -1);
    return rc ? rc : store_delete(tx, &workspace_files, row);
}

/* ---- writes ---- */

int file_begin(store_tx *tx, const void *in, void *out)
{
    const file_begin_in *q = in;
    int64_t *expires = out;
    *expires = store_now_ms(tx) + FILE_UNFINISHED_MS;
    int rc = reserve(tx, q);
    if (rc) return rc;
    file_row row = {.org = sv_cstr(q->who->org),
                    .id = sv_cstr(q->id),
                    .user = sv_cstr(q->who->user),
                    .name = sv_cstr(q->name),
                    .type = sv_cstr(q->type),
                    .size = q->size,
                    .expires = *expires};
    return store_insert(tx, &workspace_files, &row);
}

int file_append(store_tx *tx, const void *in, void *out)
{
    const file_append_in *q = in;
    uint64_t *there = out;
    file_row row;
    int rc = find_open(tx, q->who, q->id, &row);
    if (rc == 0) rc = received(tx, &row, there);
    if (rc) return rc;
    uint64_t size = (uint64_t)row.size;
    if (q->offset > size || q->bytes.n > size - q->offset)
        return sv_fail(store_error(tx), SV_E_OUT_OF_RANGE, "offset",
                       "The file was begun with %llu bytes.", (unsigned long long)size);
    if (q->offset > *there)
        return sv_fail(store_error(tx), SV_E_CONFLICT, "offset",
                       "Bytes are missing before this offset: go on at %llu.",
                       (unsigned long long)*there);
    uint64_t known = *there - q->offset;
    if (known >= q->bytes.n) return 0;
    sv_str fresh = {q->bytes.p + known, q->bytes.n - (uint32_t)known};
    *there += fresh.n;
    return store_blob_append(tx, &workspace_files, &row, fresh);
}

static int finish_one(store_tx *tx, const file_finish_in *q, uint32_t i, file_finish_result *ret)
{
    const workspace_file_sum *sum = &q->sums[i];
    file_row row;
    uint64_t there;
    int rc = find_own(tx, q->who, sum->id, &row);
    if (rc == 0) rc = received(tx, &row, &there);
    if (rc) return rc;
    bool done = row.expires == 0;
    if (row.size != sum->size || there != (uint64_t)row.size ||
        (done && !sv_str_eq(row.sha256, sum->sha256)))
        return sv_fail(store_error(tx), SV_E_CONFLICT, "files",
                       "The file has %llu of %lld bytes, or others than the request says.",
                       (unsigned long long)there, (long long)row.size);
    ret->fresh[i] = !done;
    if (!done) {
        row.sha256 = sum->sha256;
        row.created = store_now_ms(tx);
        row.shelf = row.org;
        row.expires = 0;
        rc = store_put(tx, &workspace_files, &row);
    }
    copy(&row, there, &ret->files[i]);
    return rc;
}

int file_finish(store_tx *tx, const void *in, void *out)
{
    const file_finish_in *q = in;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < q->n; i++)
        rc = finish_one(tx, q, i, out);
    return rc;
}

int file_drop(store_tx *tx, const void *in, void *out)
{
    const file_drop_in *q = in;
    int64_t *dropped = out;
    *dropped = 0;
    for (uint32_t i = 0; i < q->ids->n; i++) {
        file_row row = {.org = sv_cstr(q->who->org), .id = q->ids->items[i]};
        int rc = row.id.n && row.id.n <= FILE_ID ? store_get(tx, &workspace_files, &row)
                                                 : SV_E_NOT_FOUND;
        if (rc == SV_E_NOT_FOUND) continue;
        if (rc) return rc;
        if (row.expires == 0 || !sv_str_is(row.user, q->who->user)) continue;
        if ((rc = give_up(tx, &row))) return rc;
        ++*dropped;
    }
    return 0;
}

int file_delete(store_tx *tx, const void *in, void *out)
{
    const file_one *q = in;
    file_row row;
    int rc = find_finished(tx, q->who, q->id, &row);
    if (rc) return rc;
    if (!q->who->admin && !(q->who->writes && sv_str_is(row.user, q->who->user)))
        return sv_fail(store_error(tx), SV_E_ROLE, NULL,
                       "Only its user and the organization's administrators delete a file.");
    copy(&row, 0, out);
    return give_up(tx, &row);
}

/* ---- expiry ---- */

static int scan_expired(store_tx *tx, uint32_t limit, store_scan **ret)
{
    file_row high = {.expires = store_now_ms(tx)};
    store_range range = {.table = &workspace_files,
                         .index = "by_expiry",
                         .high = &high,
                         .high_n = 1,
                         .limit = limit};
    return store_scan_open(tx, &range, ret);
}

int files_expire(store_tx *tx, const void *in, void *out)
{
    (void)in;
    int64_t *n = out;
    store_scan *scan;
    file_row row;
    *n = 0;
    int rc = scan_expired(tx, FILES_EXPIRE, &scan);
    if (rc) return rc;
    while (rc == 0 && store_scan_next(scan, &row)) {
        rc = give_up(tx, &row);
        ++*n;
    }
    if (rc == 0) rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc;
}

int files_expired(store_tx *tx, const void *in, void *out)
{
    (void)in;
    bool *any = out;
    store_scan *scan;
    file_row row;
    int rc = scan_expired(tx, 1, &scan);
    if (rc) return rc;
    *any = store_scan_next(scan, &row);
    rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc;
}

/* ---- reads ---- */

int file_look(store_tx *tx, const void *in, void *out)
{
    const file_one *q = in;
    file_row row;
    int rc = find_finished(tx, q->who, q->id, &row);
    if (rc == 0) copy(&row, (uint64_t)row.size, out);
    return rc;
}

int file_look_own(store_tx *tx, const void *in, void *out)
{
    const file_one *q = in;
    file_row row;
    uint64_t there;
    int rc = find_own(tx, q->who, q->id, &row);
    if (rc == 0) rc = received(tx, &row, &there);
    if (rc == 0) copy(&row, there, out);
    return rc;
}

int file_read_piece(store_tx *tx, const void *in, void *out)
{
    const file_piece *q = in;
    file_piece *p = out;
    file_row row;
    p->got = 0;
    int rc = q->own ? find_own(tx, q->who, q->id, &row) : find_finished(tx, q->who, q->id, &row);
    if (rc) return rc;
    rc = store_blob_read(tx, &workspace_files, &row, q->offset, q->to, q->n, &p->got);
    return rc == SV_E_NOT_FOUND && row.size == 0 ? 0 : rc; /* an empty file has no blob */
}

int files_page(store_tx *tx, const void *in, void *out)
{
    const file_page_in *q = in;
    file_page *page = out;
    sv_str org = sv_cstr(q->who->org);
    file_row row, low = {.shelf = org}, high = {.shelf = org, .org = org, .id = q->after};
    store_range range = {.table = &workspace_files,
                         .index = "by_shelf",
                         .low = &low,
                         .high = &high,
                         .low_n = 1,
                         .high_n = q->after.n ? 3 : 1,
                         .reverse = true}; /* ids are in order of time */
    store_scan *scan;
    *page = (file_page){.files = arena_alloc(store_arena(tx), q->limit * sizeof *page->files)};
    if (page->files == NULL) return SV_E_NO_MEMORY;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    while (!page->more && store_scan_next(scan, &row)) {
        if (sv_str_eq(row.id, q->after)) continue;
        page->more = page->n == q->limit;
        if (!page->more) copy(&row, (uint64_t)row.size, &page->files[page->n++]);
    }
    rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc;
}
