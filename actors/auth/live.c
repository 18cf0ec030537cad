/*  live.c - see live.h. */
#include "live.h"

#include "auth.h"
#include "sv_limits.h"
#include "uuid.h"

#include <stdio.h>

void live_tell(auth *a, const char *org, const char *user, const char *type, const char *json)
{
    char topic[LIMIT_TARGET_BYTES + 1], id[UUID_TEXT + 1];
    sv_id number = uuid_new();
    int n = snprintf(topic, sizeof topic, "auth.live.%s.%s", org, user ? user : "all");
    if (org[0] == 0 || n >= (int)sizeof topic) return;
    uuid_format(&number, id);
    live_event e = {.id = sv_cstr(id), .type = sv_cstr(type), .data = sv_cstr(json ? json : "{}")};
    sv_publish(a->process, topic, &live_event_msg, &e);
}
