/*  find.c - rows by a value of an index; contract in auth_store.h. */
#include "auth_store.h"

#include "error.h"

#include <string.h>

store_range auth_same(const store_table *table, const char *index, const void *like, uint32_t n,
                      uint32_t limit)
{
    return (store_range){.table = table,
                         .index = index,
                         .low = like,
                         .high = like,
                         .low_n = n,
                         .high_n = n,
                         .limit = limit};
}

int auth_find(store_tx *tx, const store_table *table, const char *index, const void *like,
              void *row, sv_str *row_id)
{
    store_range range = auth_same(table, index, like, 1, 1);
    store_scan *scan;
    sv_str id = {NULL, 0};
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    bool there = store_scan_next(scan, row);
    if (there) id = (sv_str){arena_copy(store_arena(tx), *row_id), row_id->n};
    rc = store_scan_result(scan);
    store_scan_close(scan);
    if (rc) return rc;
    if (!there) return SV_E_NOT_FOUND;
    if (id.p == NULL) return SV_E_NO_MEMORY;
    memset(row, 0, table->row->size);
    *row_id = id;
    return store_get(tx, table, row);
}
