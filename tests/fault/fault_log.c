#include "fault_log.h"
#include "kit.h"

#include <stdlib.h>
#include <string.h>

void fault_log_read(fault_log *l, const char *path)
{
    size_t n, room = 0;
    memset(l, 0, sizeof *l);
    l->bytes = read_all(path, &n);
    for (size_t at = 0; at < n;) {
        fault_event e = {.bytes = l->bytes + at + sizeof e.r};
        if (n - at < sizeof e.r) die("%s: ends inside of a record", path);
        memcpy(&e.r, l->bytes + at, sizeof e.r);
        if (n - at - sizeof e.r < e.r.bytes) die("%s: ends inside of a record's bytes", path);
        if (l->n == room) {
            room = room ? room * 2 : 1024;
            l->events = realloc(l->events, room * sizeof *l->events);
            if (!l->events) die("no memory for %zu events", room);
        }
        l->events[l->n++] = e;
        at += sizeof e.r + e.r.bytes;
    }
}

void fault_log_free(fault_log *l)
{
    free(l->events);
    free(l->bytes);
}
