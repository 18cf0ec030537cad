/*  tenants.c - entries by id, and in rings of each organization in the order in which they were
 *  brought, so that all routers prefer the same. A round of the feed marks what it tells of; what is
 *  not told of when it is complete is gone. */
#include "tenants.h"

#include "error.h"
#include "fnv.h"
#include "log.h"
#include "uuid.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    IDS = 1024,
    ORGS = 1024,
    ARENA_BYTES = 65536,
    PLAIN_BYTES = 8192,
    TICK_MS = 100,
    SPREAD_MS = 5000, /* of the first questions after a start */
    STATE = 160
};

typedef struct tenant_org {
    named name;
    ring_link entries;
} tenant_org;

typedef struct entry {
    named id;
    ring_link link;
    tenant_org *org;
    char user[37];
    provider *provider; /* NULL: `state` says why */
    char state[STATE];
    uint32_t round;
} entry;

struct tenants {
    tenants_spec s;
    name_table ids, orgs;
    ring_link waiters;
    loop_timer timer;
    uint32_t round;
    bool ready, told_full;
    arena arena;
};

/* ---- entries ---- */

static entry *find(const tenants *t, sv_str id)
{
    named *m = name_table_find(&t->ids, id);
    return m ? member_of(entry, id, m) : NULL;
}

static void drop_provider(tenants *t, entry *e)
{
    if (e->provider == NULL) return;
    catalog_remove(t->s.catalog, e->provider);
    provider_unref(e->provider);
    e->provider = NULL;
}

static void leave_org(tenants *t, entry *e)
{
    tenant_org *o = e->org;
    ring_unlink(&e->link);
    e->org = NULL;
    if (o == NULL || !ring_empty(&o->entries)) return;
    name_table_remove(&t->orgs, &o->name);
    free(o);
}

static void drop(tenants *t, entry *e)
{
    drop_provider(t, e);
    leave_org(t, e);
    name_table_remove(&t->ids, &e->id);
    free(e);
}

static tenant_org *org_of(tenants *t, sv_str org)
{
    named *m = name_table_find(&t->orgs, org);
    tenant_org *o = m ? member_of(tenant_org, name, m) : calloc(1, sizeof *o);
    if (m || o == NULL) return o;
    ring_init(&o->entries);
    name_table_add(&t->orgs, &o->name, org);
    return o;
}

/* Ids are in order of time. */
static void enter_org(tenant_org *o, entry *e)
{
    ring_link *at = o->entries.next;
    while (at != &o->entries && strcmp(member_of(entry, link, at)->id.name, e->id.name) < 0)
        at = at->next;
    ring_push(at, &e->link);
    e->org = o;
}

static entry *add(tenants *t, const auth_provider *p)
{
    if (t->ids.n >= t->s.most) {
        if (!t->told_full)
            log_write(LOG_ERROR,
                      "there are more providers of users and organizations than "
                      "router.own_providers allows: the others are not used",
                      LOG_INT("most", t->s.most));
        t->told_full = true;
        return NULL;
    }
    entry *e = calloc(1, sizeof *e);
    tenant_org *o = e ? org_of(t, p->org) : NULL;
    if (o == NULL) {
        free(e);
        return NULL;
    }
    name_table_add(&t->ids, &e->id, p->id);
    e->id.name[e->id.n] = 0;
    snprintf(e->user, sizeof e->user, "%.*s", SV_FMT(p->user));
    enter_org(o, e);
    return e;
}

/* ---- blobs ---- */

int tenants_seal(const tenants *t, const tenant_secret *s, buf *out)
{
    buf plain;
    if (t->s.pair == NULL) return SV_E_UNAVAILABLE;
    buf_init(&plain, PLAIN_BYTES);
    int rc = buf_room(&plain, PLAIN_BYTES / 2) ? 0 : SV_E_NO_MEMORY; /* it must not be moved */
    if (rc == 0) rc = message_encode(&tenant_secret_msg, s, &plain);
    if (rc == 0) rc = box_put(box_pair_public(t->s.pair), buf_str(&plain), out);
    seal_wipe(plain.p, plain.n);
    buf_free(&plain);
    return rc;
}

static bool agrees(const tenant_secret *s, const auth_provider *p)
{
    return sv_str_eq(s->id, p->id) && sv_str_eq(s->org, p->org) && sv_str_eq(s->user, p->user) &&
           sv_str_eq(s->kind, p->kind) && sv_str_eq(s->base_url, p->base_url) &&
           sv_str_eq(s->api_version, p->api_version);
}

/* *s borrows from `plain`, which the caller wipes. */
static int open_blob(tenants *t, const tenant_provider *tp, buf *plain, tenant_secret *s)
{
    sv_error why = {.code = 0};
    if (t->s.pair == NULL) return SV_E_STORE_KEY;
    int rc = box_open(t->s.pair, tp->sealed, plain);
    if (rc == 0)
        rc = message_decode(&tenant_secret_msg, buf_str(plain), MESSAGE_STRICT, &t->arena, s, &why);
    return rc || agrees(s, tp->provider) ? rc : SV_E_DENIED;
}

/* ---- providers ---- */

static const char *text(tenants *t, sv_str s)
{
    return s.n ? arena_copy(&t->arena, s) : "";
}

static int build(tenants *t, const tenant_provider *tp, const tenant_secret *s, provider **ret,
                 sv_error *err)
{
    const auth_provider *p = tp->provider;
    secret *keys[1] = {NULL};
    provider_spec spec = {.name = text(t, p->name),
                          .source = FROM_TENANT,
                          .base_url = text(t, p->base_url),
                          .api_version = p->api_version.n ? text(t, p->api_version) : NULL,
                          .trust = t->s.trust,
                          .keys = keys,
                          .org = text(t, p->org),
                          .user = text(t, p->user),
                          .id = text(t, p->id),
                          .version = fnv_more(FNV_BASIS, tp->sealed)};
    const auth_provider_limits *limits = p->limits;
    const char *kind = text(t, p->kind);
    if (!spec.name || !spec.base_url || !spec.org || !spec.user || !spec.id || !kind)
        return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    if (provider_kind(&spec, kind))
        return sv_fail(err, SV_E_INVALID, "kind", "This version does not know its kind.");
    if (limits)
        spec.limits = (budget_caps){.day = limits->day,
                                    .month = limits->month,
                                    .minute_requests = limits->minute_requests,
                                    .minute_tokens = limits->minute_tokens};
    int rc = secret_new(s->key, "the provider", &keys[0], err);
    spec.n_keys = keys[0] != NULL;
    if (rc == 0) rc = provider_new(&spec, ret, err);
    secret_free(keys[0]);
    return rc;
}

static void copy_models(const provider *from, provider *to)
{
    model_list l;
    int rc = 0;
    model_list_init(&l);
    for (size_t i = 0; i < from->models.n && rc == 0; i++)
        rc = model_list_add(&l, sv_cstr(from->models.items[i].id), from->models.items[i].created);
    if (rc == 0)
        provider_set_models(to, &l);
    else
        model_list_free(&l);
}

static void take(tenants *t, entry *e, const tenant_provider *tp, const tenant_secret *s)
{
    provider *made = NULL;
    sv_error err = {.code = 0};
    uint16_t dice;
    uuid_random(&dice, sizeof dice);
    if (build(t, tp, s, &made, &err)) {
        drop_provider(t, e);
        snprintf(e->state, sizeof e->state, "not used: %.140s", err.message);
        return;
    }
    if (e->provider && strcmp(e->provider->base_url, made->base_url) == 0)
        copy_models(e->provider, made);
    drop_provider(t, e);
    e->provider = made;
    if (catalog_add(t->s.catalog, made, t->ready ? 0 : dice % SPREAD_MS))
        snprintf(made->state, sizeof made->state, "not asked: no memory for a timer");
}

static void refused(tenants *t, entry *e, int rc)
{
    drop_provider(t, e);
    snprintf(e->state, sizeof e->state, "%s",
             rc == SV_E_DENIED ? "its key was given for something else: enter the key again"
                               : "cannot be opened with this root key: enter the key again");
    log_write(LOG_WARN, "a provider's key cannot be used", LOG_STR("provider", e->id.name),
              LOG_STR("reason", e->state));
}

/* ---- the feed ---- */

static void on_reset(void *arg)
{
    tenants *t = arg;
    t->round++;
}

static void on_changed(tenants *t, const tenant_provider *tp)
{
    const auth_provider *p = tp->provider;
    tenant_secret s = {.id = {NULL, 0}};
    buf plain;
    entry *e = find(t, p->id);
    if (e == NULL && (e = add(t, p)) == NULL) return;
    e->round = t->round;
    if (sv_str_is(p->status, "disabled")) {
        drop_provider(t, e);
        snprintf(e->state, sizeof e->state, "disabled");
        return;
    }
    buf_init(&plain, PLAIN_BYTES);
    int rc = open_blob(t, tp, &plain, &s);
    if (rc)
        refused(t, e, rc);
    else
        take(t, e, tp, &s);
    seal_wipe(plain.p, plain.n);
    buf_free(&plain);
}

static void on_item(void *arg, const auth_feed_item *item)
{
    tenants *t = arg;
    tenant_provider tp;
    sv_error err = {.code = 0};
    entry *e = find(t, item->id);
    if (item->gone) {
        if (e) drop(t, e);
        return;
    }
    arena_reset(&t->arena);
    int rc =
        message_decode(&tenant_provider_msg, item->data, MESSAGE_LENIENT, &t->arena, &tp, &err);
    if (rc == 0 && sv_str_eq(tp.provider->id, item->id) && sv_str_eq(tp.provider->org, item->org))
        on_changed(t, &tp);
    else
        log_write(LOG_ERROR, "what auth tells of a provider cannot be read", LOG_ERR(&err));
    arena_reset(&t->arena);
}

static void wake(tenants *t, bool all, bool ready)
{
    uint64_t now_us = loop_now_us(t->s.loop);
    ring_link *at = t->waiters.next, *next;
    for (; at != &t->waiters; at = next) {
        tenants_wait *w = member_of(tenants_wait, link, at);
        next = at->next; /* fn of one does not end the others' waiting */
        if (!all && now_us < w->until_us) continue;
        ring_unlink(&w->link);
        w->fn(w->arg, ready);
    }
}

static void on_time(void *arg)
{
    tenants *t = arg;
    wake(t, t->ready, t->ready);
    if (!ring_empty(&t->waiters)) loop_timer_set(t->s.loop, &t->timer, TICK_MS * 1000, on_time, t);
}

static void drop_untold(tenants *t)
{
    for (uint64_t i = 0; i <= t->ids.mask; i++)
        for (named *m = t->ids.slots[i], *next; m; m = next) {
            entry *e = member_of(entry, id, m);
            next = m->chain;
            if (e->round != t->round) drop(t, e);
        }
}

static void on_ready(void *arg)
{
    tenants *t = arg;
    drop_untold(t);
    t->ready = true;
    /* those that wait go on outside of the feed's own work */
    loop_timer_set(t->s.loop, &t->timer, 0, on_time, t);
}

feed_consumer tenants_consumer(tenants *t)
{
    return (feed_consumer){
        .kind = "provider", .reset = on_reset, .item = on_item, .ready = on_ready, .arg = t};
}

/* ---- waiting ---- */

bool tenants_ready(const tenants *t)
{
    return t->ready;
}

void tenants_wait_for(tenants *t, tenants_wait *w)
{
    w->until_us = loop_now_us(t->s.loop) + TENANTS_WAIT_MS * 1000ULL;
    if (ring_empty(&t->waiters)) loop_timer_set(t->s.loop, &t->timer, TICK_MS * 1000, on_time, t);
    ring_push(&t->waiters, &w->link);
}

void tenants_wait_cancel(tenants_wait *w)
{
    ring_unlink(&w->link);
}

/* ---- looking ---- */

static bool named_already(provider *const *list, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i]->name, name) == 0) return true;
    return false;
}

size_t tenants_of(tenants *t, sv_str org, sv_str user, provider **list)
{
    named *m = org.n ? name_table_find(&t->orgs, org) : NULL;
    size_t n = 0;
    if (m == NULL) return 0;
    const ring_link *ring = &member_of(tenant_org, name, m)->entries;
    for (int of_org = 0; of_org < 2; of_org++) {
        size_t most = n + TENANT_OWN;
        for (const ring_link *at = ring->next; at != ring && n < most; at = at->next) {
            const entry *e = member_of(entry, link, at);
            bool his = of_org ? e->user[0] == 0 : e->user[0] && sv_str_is(user, e->user);
            if (!his || e->provider == NULL || named_already(list, n, e->provider->name)) continue;
            e->provider->used_us = loop_now_us(t->s.loop);
            list[n++] = e->provider;
        }
    }
    return n;
}

provider *tenants_find(const tenants *t, sv_str id)
{
    const entry *e = find(t, id);
    return e ? e->provider : NULL;
}

void tenants_look(const tenants *t, auth_provider *p)
{
    const entry *e = find(t, p->id);
    if (e && e->provider) {
        p->models = (int64_t)e->provider->models.n;
        p->state = sv_cstr(e->provider->state);
    } else if (e) {
        p->state = sv_cstr(e->state);
    } else if (t->ids.n >= t->s.most) {
        p->state = sv_cstr("not used: there are as many as router.own_providers allows");
    } else {
        p->state = sv_cstr("not known here yet");
    }
}

/* ---- life ---- */

int tenants_new(const tenants_spec *s, tenants **ret, sv_error *err)
{
    tenants *t = calloc(1, sizeof *t);
    if (t == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    t->s = *s;
    ring_init(&t->waiters);
    arena_init(&t->arena, ARENA_BYTES);
    int rc = name_table_init(&t->ids, IDS);
    if (rc == 0 && (rc = name_table_init(&t->orgs, ORGS))) name_table_free(&t->ids);
    if (rc) {
        free(t);
        return sv_fail(err, rc, NULL, NULL);
    }
    *ret = t;
    return 0;
}

void tenants_free(tenants *t)
{
    if (t == NULL) return;
    loop_timer_stop(t->s.loop, &t->timer);
    t->round++;
    drop_untold(t);
    name_table_free(&t->ids);
    name_table_free(&t->orgs);
    arena_free(&t->arena);
    box_pair_free(t->s.pair);
    free(t);
}
