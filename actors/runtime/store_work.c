/*  store_work.c - the store's own structs into those of messages.def. */
#include "store_work.h"

#include "error.h"
#include "state.h"

#include <assert.h>
#include <stdlib.h>

enum { TABLES_MOST = 1024, PIECE_ARENA = 16 << 20 };

static int add_tables(store *s, arena *a, store_stat_reply *ret, sv_error *err)
{
    store_table_info *info = arena_alloc(a, TABLES_MOST * sizeof *info);
    store_table_entry *entry = arena_alloc(a, TABLES_MOST * sizeof *entry);
    if (info == NULL || entry == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    int n = store_tables(s, info, TABLES_MOST, err);
    if (n < 0) return n;
    for (int i = 0; i < n; i++)
        entry[i] = (store_table_entry){.name = sv_cstr(info[i].name),
                                       .entries = (int64_t)info[i].entries,
                                       .pages = (int64_t)info[i].pages};
    ret->tables = (sv_list){entry, (uint32_t)n};
    return 0;
}

int work_stat(store *s, const char *service, uint32_t instance, arena *a, store_stat_reply *ret,
              sv_error *err)
{
    store_stat t;
    int rc = store_stats(s, true, &t, err);
    if (rc) return rc;
    *ret = (store_stat_reply){.service = sv_cstr(service),
                              .instance = instance,
                              .state = sv_cstr(state_name(t.state)),
                              .version = t.version,
                              .epoch = (int64_t)t.epoch,
                              .last_txn = (int64_t)t.last_txn,
                              .map_bytes = (int64_t)t.map_bytes,
                              .file_bytes = (int64_t)(t.file_pages * t.page_bytes),
                              .free_bytes = (int64_t)(t.free_pages * t.page_bytes),
                              .page_bytes = (int64_t)t.page_bytes,
                              .readers = t.readers,
                              .oldest_reader_us = (int64_t)t.oldest_reader_us,
                              .waiting = t.waiting,
                              .commits = (int64_t)t.commits,
                              .writes = (int64_t)t.writes,
                              .failures = (int64_t)t.failures,
                              .expired = (int64_t)t.expired,
                              .long_reads = (int64_t)t.long_reads,
                              .commit_us = (int64_t)t.commit_us_last};
    return add_tables(s, a, ret, err);
}

int work_piece(store *s, store_fn *fn, void *progress, const char *owner, sv_error *err)
{
    arena a;
    arena_init(&a, PIECE_ARENA);
    store_op op = {.fn = fn, .in = progress, .out = progress, .arena = &a, .owner = owner};
    int rc = store_view(s, &op);
    arena_free(&a);
    if (rc && err) {
        *err = op.error;
        err->code = rc;
    }
    return rc;
}

void work_check_reply(const store_check *c, store_check_reply *ret)
{
    *ret = (store_check_reply){.rows = (int64_t)c->rows,
                               .entries = (int64_t)c->entries,
                               .blobs = (int64_t)c->blobs,
                               .bytes = (int64_t)c->bytes,
                               .problems = (int64_t)c->problems,
                               .first_problem = sv_cstr(c->problems ? c->first_problem : NULL)};
}

void work_copy_reply(const store_copy *c, const char *service, store_copy_reply *ret)
{
    *ret = (store_copy_reply){.service = sv_cstr(service),
                              .version = c->version,
                              .epoch = (int64_t)c->epoch,
                              .last_txn = (int64_t)c->last_txn,
                              .bytes = (int64_t)c->bytes,
                              .hash = sv_cstr(c->hash)};
}

static void put_text(sv_str s, buf *out)
{
    buf_putc(out, '"');
    buf_json_escape(out, s);
    buf_putc(out, '"');
}

static void put_json(const sv_field *f, const void *at, buf *out)
{
    const sv_list *list = at;
    const sv_strs *texts = at;
    switch (f->type) {
    case SV_T_BOOL: buf_puts(out, *(const bool *)at ? "true" : "false"); return;
    case SV_T_INT: buf_printf(out, "%lld", (long long)*(const int64_t *)at); return;
    case SV_T_NUM: buf_printf(out, "%.17g", *(const double *)at); return;
    case SV_T_STR: put_text(*(const sv_str *)at, out); return;
    case SV_T_STRS:
        buf_putc(out, '[');
        for (uint32_t k = 0; k < texts->n; k++) {
            if (k) buf_putc(out, ',');
            put_text(texts->items[k], out);
        }
        buf_putc(out, ']');
        return;
    case SV_T_LIST:
        for (uint32_t k = 0; k < list->n; k++) {
            buf_putc(out, k ? ',' : '[');
            work_json(f->sub, (const char *)list->items + k * f->sub->size, out);
        }
        buf_puts(out, list->n ? "]" : "[]");
        return;
    case SV_T_MSG: work_json(f->sub, *(const void *const *)at, out); return;
    case SV_T_BIN:
    case SV_T_RAW: break;
    }
    assert(false && "a reply that is shown to people has plain fields, parts and lists of them");
}

int work_json(const sv_message *m, const void *reply, buf *out)
{
    const char *comma = "{";
    for (size_t i = 0; i < m->n; i++) {
        const sv_field *f = &m->fields[i];
        const void *at = (const char *)reply + f->offset;
        if (f->type == SV_T_STR && ((const sv_str *)at)->p == NULL) continue;
        if (f->type == SV_T_MSG && *(const void *const *)at == NULL) continue;
        buf_printf(out, "%s\"%s\":", comma, f->name);
        comma = ",";
        put_json(f, at, out);
    }
    buf_puts(out, *comma == '{' ? "{}" : "}");
    return out->failed ? SV_E_NO_MEMORY : 0;
}

int work_keys(store *s, store_keys_reply *ret, sv_error *err)
{
    store_key_info k;
    int rc = store_keys(s, &k, err);
    if (rc) return rc;
    *ret = (store_keys_reply){.kek_version = k.kek_version,
                              .tenants = k.tenants,
                              .resealed = (int64_t)k.resealed,
                              .to_go = (int64_t)k.to_go};
    return 0;
}
