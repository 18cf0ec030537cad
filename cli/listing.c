/*  listing.c - see listing.h. */
#include "listing.h"

#include "error.h"
#include "store_work.h"

#include <stdio.h>
#include <time.h>

enum { CURSOR = 1024 };

int listing_put(listing *l, const sv_list *items, sv_error *err)
{
    buf text;
    int rc = 0;
    buf_init(&text, LISTING_PAGE_BYTES);
    for (uint32_t i = 0; rc == 0 && i < items->n; i++, l->n++) {
        const void *item = (const char *)items->items + i * l->type->size;
        if (!l->json) {
            if (l->n == 0) fputs(l->head, stdout);
            l->print(item);
            continue;
        }
        buf_puts(&text, l->n ? ",\n " : "[");
        rc = work_json(l->type, item, &text);
    }
    if (rc == 0 && text.n) fwrite(text.p, 1, text.n, stdout);
    buf_free(&text);
    return rc ? sv_fail(err, rc, NULL, NULL) : 0;
}

void listing_end(const listing *l)
{
    if (l->json)
        puts(l->n ? "]" : "[]");
    else if (l->n == 0)
        fputs(l->head, stdout);
}

int listing_all(listing *l, const config *c, const listing_pages *pages)
{
    places p;
    arena a;
    sv_error err = {.code = 0};
    char after[CURSOR] = "";
    int rc = places_find(&p, c, pages->service, &err);
    arena_init(&a, LISTING_PAGE_BYTES);
    do {
        arena_reset(&a);
        *pages->after = sv_cstr(after[0] ? after : NULL);
        if (rc == 0)
            rc = place_call(&p, &p.list[0], pages->method, pages->request_type, pages->request,
                            pages->ttl_ms, pages->reply_type, &a, pages->reply, &err);
        if (rc == 0) rc = listing_put(l, pages->items, &err);
        if (rc == 0 && pages->next->n >= sizeof after)
            rc = sv_fail(&err, SV_E_MALFORMED, "next", NULL);
        if (rc == 0) snprintf(after, sizeof after, "%.*s", SV_FMT(*pages->next));
    } while (rc == 0 && after[0]);
    if (rc)
        cli_complain(&err);
    else
        listing_end(l);
    arena_free(&a);
    places_free(&p);
    return rc == 0 && fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
}

const char *listing_time(int64_t unix_ms, const char *none, char to[LISTING_TIME])
{
    time_t s = (time_t)(unix_ms / 1000);
    struct tm tm;
    snprintf(to, LISTING_TIME, "%s", none);
    if (unix_ms && gmtime_r(&s, &tm)) strftime(to, LISTING_TIME, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return to;
}
