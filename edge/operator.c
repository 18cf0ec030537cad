/*  operator.c - see operator.h. */
#include "operator.h"

#include "error.h"
#include "log.h"
#include "sv_limits.h"
#include "ticket_seed.h"
#include "uuid.h"

enum { TICKET_S = 900, RENEW_S = 600 };

int operator_init(operator_identity *o, sv_error *err)
{
    uint8_t token[8];
    *o = (operator_identity){0};
    buf_init(&o->ticket, LIMIT_TICKET_BYTES);
    int rc = ticket_seed_take(&o->signer, &o->signs, err);
    if (rc) return rc;
    if (o->signs) {
        memcpy(token, o->signer.id, sizeof token);
    } else {
        uuid_random(token, sizeof token);
    }
    memcpy(o->pseudonym, "samovar-", 8);
    hex_format(token, sizeof token, o->pseudonym + 8);
    return 0;
}

sv_str operator_ticket(operator_identity *o, uint64_t now_s)
{
    if (!o->signs) return (sv_str){NULL, 0};
    if (now_s >= o->renew_s) {
        ticket t = {.user = sv_cstr("operator"),
                    .org = sv_cstr("default"),
                    .tier = sv_cstr("own"),
                    .roles = {sv_cstr("owner"), sv_cstr("platform_admin")},
                    .n_roles = 2,
                    .expires_s = now_s + TICKET_S};
        buf_reset(&o->ticket, LIMIT_TICKET_BYTES);
        if (ticket_sign(&o->signer, &t, &o->ticket)) {
            buf_reset(&o->ticket, LIMIT_TICKET_BYTES);
            log_write(LOG_ERROR, "no ticket could be signed");
            return (sv_str){NULL, 0};
        }
        o->renew_s = now_s + RENEW_S;
    }
    return buf_str(&o->ticket);
}

void operator_clear(operator_identity *o)
{
    if (o->signs) ticket_signer_clear(&o->signer);
    o->signs = false;
    buf_free(&o->ticket);
}
