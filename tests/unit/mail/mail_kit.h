/*  mail_kit.h - a real outbox in a folder of its own, with a clock that a test sets. Include once. */
#ifndef MAIL_KIT_H
#define MAIL_KIT_H

#include "../store_kit.h"
#include "outbox.h"

static inline int kit_start(void **state)
{
    (void)state;
    kit_make(&outbox_schema, KIT_NOW_MS);
    return 0;
}

static inline int kit_stop(void **state)
{
    (void)state;
    kit_remove();
    return 0;
}

static inline outbox_mail kit_mail(const char *state)
{
    outbox_mail m = {.to = "anna@example.org",
                     .template = "reset_password",
                     .locale = "en",
                     .link = "https://example.org/reset?token=abc",
                     .name = "Anna"};
    kit_id(m.id);
    snprintf(m.state, sizeof m.state, "%s", state);
    return m;
}

#endif
