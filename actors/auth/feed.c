/*  feed.c - see feed.h. The head holds the last number given out, also when its row has expired. */
#include "feed.h"

#include "auth.h"
#include "error.h"

enum { ITEMS = 256, EVENTS = 8, READ_ARENA = 1 << 20, ITEM_BYTES = 200 };

static const char topic[] = "auth.feed";

/* ---- in a write ---- */

static int read_head(store_tx *tx, int64_t *ret)
{
    feed_head_row head = {.id = 0};
    int rc = store_get(tx, &auth_feed_head, &head);
    *ret = rc ? 0 : head.sequence;
    return rc == SV_E_NOT_FOUND ? 0 : rc;
}

static int drop_former(store_tx *tx, const feed_row *like)
{
    feed_row row;
    store_range range = auth_same(&auth_feed_table, "by_item", like, 2, 1);
    store_scan *scan;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    bool there = store_scan_next(scan, &row);
    rc = store_scan_result(scan);
    if (rc == 0 && there)
        rc = store_delete(tx, &auth_feed_table, &(feed_row){.sequence = row.sequence});
    store_scan_close(scan);
    return rc;
}

int feed_put(store_tx *tx, const char *kind, sv_str id, sv_str org, sv_str data)
{
    int64_t last;
    feed_row row = {.kind = sv_cstr(kind), .id = id, .org = org, .data = data};
    if (data.n > FEED_DATA) return SV_E_TOO_LARGE;
    int rc = read_head(tx, &last);
    if (rc == 0) rc = drop_former(tx, &row);
    if (rc) return rc;
    row.sequence = last + 1;
    row.gone = data.p == NULL;
    if (row.gone) row.expires = store_now_ms(tx) + FEED_GONE_DAYS * 24LL * 3600 * 1000;
    rc = store_insert(tx, &auth_feed_table, &row);
    return rc ? rc : store_put(tx, &auth_feed_head, &(feed_head_row){.sequence = last + 1});
}

/* ---- reading ---- */

static bool keep(arena *a, sv_str *s)
{
    if (s->n == 0) {
        *s = (sv_str){NULL, 0};
        return true;
    }
    s->p = arena_copy(a, *s);
    return s->p != NULL;
}

static bool add(arena *a, const feed_row *row, auth_feed_item *to)
{
    *to = (auth_feed_item){.sequence = row->sequence,
                           .kind = row->kind,
                           .id = row->id,
                           .org = row->org,
                           .gone = row->gone,
                           .data = row->data};
    return keep(a, &to->kind) && keep(a, &to->id) && keep(a, &to->org) && keep(a, &to->data);
}

static int read_items(store_tx *tx, auth_feed_page *page)
{
    feed_row row, low = {.sequence = page->before + 1};
    store_range range = {.table = &auth_feed_table, .low = &low, .low_n = 1};
    store_scan *scan;
    size_t bytes = 0;
    auth_feed_item *items = arena_alloc(store_arena(tx), ITEMS * sizeof *items);
    if (items == NULL) return SV_E_NO_MEMORY;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    page->items.items = items;
    page->upto = page->sequence;
    while (rc == 0 && store_scan_next(scan, &row)) {
        bytes += ITEM_BYTES + row.data.n;
        if (page->items.n == ITEMS || (page->items.n && bytes > AUTH_PAGE_BYTES)) {
            page->upto = items[page->items.n - 1].sequence;
            break;
        }
        if (!add(store_arena(tx), &row, &items[page->items.n++])) rc = SV_E_NO_MEMORY;
    }
    if (rc == 0) rc = store_scan_result(scan);
    store_scan_close(scan);
    return rc;
}

int feed_some(store_tx *tx, const void *in, void *out)
{
    const int64_t *after = in;
    auth_feed_page *page = out;
    *page = (auth_feed_page){.before = 0};
    int rc = read_head(tx, &page->sequence);
    page->upto = page->before = page->sequence;
    if (rc || *after < 0 || *after >= page->sequence) return rc;
    page->before = *after;
    return read_items(tx, page);
}

/* ---- telling ---- */

static bool tell(auth *a, const auth_feed_page *page)
{
    feed_told *t = &a->feed;
    if (page->items.n == 0 && page->upto == t->sequence && !t->due) return false;
    if (sv_publish(a->process, topic, &auth_feed_page_msg, page)) return false; /* the tick will */
    t->sequence = page->upto;
    t->due = false;
    return page->upto < page->sequence;
}

void feed_look(auth *a)
{
    feed_told *t = &a->feed;
    bool more = true;
    arena memory;
    arena_init(&memory, READ_ARENA);
    for (int i = 0; more && i < EVENTS; i++) {
        auth_feed_page page;
        int64_t after =
            t->known ? t->sequence : -1; /* what is older, routers read for themselves */
        store *s = sv_store(a->process);
        store_op op = {
            .fn = feed_some, .in = &after, .out = &page, .arena = &memory, .owner = topic};
        if (s == NULL || store_view(s, &op)) break;
        if (!t->known) {
            t->sequence = page.sequence;
            t->due = true;
        }
        t->known = true;
        more = tell(a, &page);
        arena_reset(&memory);
    }
    arena_free(&memory);
}

void feed_tick(auth *a)
{
    a->feed.due = true;
    feed_look(a);
}

int auth_feed_read(sv_call *call, const void *request)
{
    const auth_feed_req *q = request;
    auth_feed_page page;
    int rc = store_read(call, feed_some, &q->after, &page);
    return rc ? rc : sv_reply(call, &page);
}
