/*  conns.c - two chained hash tables over one set of structs. Both keys are counters, so their low
 *  bits spread evenly and need no hashing. */
#include "conns.h"

#include <stdlib.h>

static size_t rid_slot(uint8_t port, uint32_t rid)
{
    return (rid ^ (uint32_t)port << 10) & (CONNS_SLOTS - 1);
}

static size_t id_slot(peer_id id)
{
    return id & (CONNS_SLOTS - 1);
}

static void list_add(conn_list *l, conn *c)
{
    c->prev = l->last;
    c->next = NULL;
    if (l->last)
        l->last->next = c;
    else
        l->first = c;
    l->last = c;
    l->n++;
}

static void list_remove(conn_list *l, conn *c)
{
    if (c->prev)
        c->prev->next = c->next;
    else
        l->first = c->next;
    if (c->next)
        c->next->prev = c->prev;
    else
        l->last = c->prev;
    l->n--;
}

conn *conns_find(const conns *t, uint8_t port, uint32_t rid)
{
    conn *c = t->by_rid[rid_slot(port, rid)];
    while (c && (c->rid != rid || c->port != port))
        c = c->by_rid;
    return c;
}

conn *conns_get(const conns *t, peer_id id)
{
    conn *c = t->by_id[id_slot(id)];
    while (c && c->id != id)
        c = c->by_id;
    return c;
}

conn *conns_add(conns *t, uint8_t port, uint32_t rid)
{
    /* A peer number is never used twice, not even after four billion connections. */
    if (t->known.n + t->strangers.n >= CONNS_MAX || t->strangers.n >= CONNS_STRANGERS ||
        t->last_id == UINT32_MAX)
        return NULL;
    conn *c = calloc(1, sizeof *c);
    if (c == NULL) return NULL;
    c->id = ++t->last_id;
    c->rid = rid;
    c->port = port;
    conn **slot = &t->by_id[id_slot(c->id)];
    c->by_id = *slot;
    *slot = c;
    slot = &t->by_rid[rid_slot(port, rid)];
    c->by_rid = *slot;
    *slot = c;
    list_add(&t->strangers, c);
    return c;
}

void conns_welcome(conns *t, conn *c)
{
    if (c->known) return;
    list_remove(&t->strangers, c);
    c->known = true;
    list_add(&t->known, c);
}

void conns_remove(conns *t, conn *c)
{
    conn **at = &t->by_id[id_slot(c->id)];
    while (*at != c)
        at = &(*at)->by_id;
    *at = c->by_id;
    at = &t->by_rid[rid_slot(c->port, c->rid)];
    while (*at != c)
        at = &(*at)->by_rid;
    *at = c->by_rid;
    list_remove(c->known ? &t->known : &t->strangers, c);
    free(c);
}

void conns_free(conns *t)
{
    while (t->known.first)
        conns_remove(t, t->known.first);
    while (t->strangers.first)
        conns_remove(t, t->strangers.first);
}
