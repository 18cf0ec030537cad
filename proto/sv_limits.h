/*  sv_limits.h - numbers that hold a process together, each declared once in limits.def. */
#ifndef SV_LIMITS_H
#define SV_LIMITS_H

enum {
#define LIMIT(name, value, unit, why) LIMIT_##name = value,
#include "limits.def"
#undef LIMIT
};

_Static_assert(LIMIT_HEADER_BYTES + LIMIT_PART_BYTES + 1024 <= LIMIT_MESSAGE_BYTES,
               "a full part and the largest header fit one message");
_Static_assert(130 + LIMIT_TARGET_BYTES + LIMIT_KEY_BYTES + LIMIT_TRACESTATE_BYTES +
                       LIMIT_TICKET_BYTES + LIMIT_CONTENT_TYPE_BYTES + 16 <=
                   LIMIT_HEADER_BYTES,
               "every header field at its limit fits the header");

#endif
