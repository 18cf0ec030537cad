/*  operator.c - the seed is read once and wiped; only the signer keeps a key. */
#include "operator.h"

#include "error.h"
#include "log.h"
#include "sv_limits.h"
#include "uuid.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { TICKET_S = 900, RENEW_S = 600 };

static int read_seed(const char *text, uint8_t seed[TICKET_SEED], sv_error *err)
{
    char *end = NULL;
    long fd = strtol(text, &end, 10);
    if (end == text || *end || fd < 3 || fd > 65535)
        return sv_fail(err, SV_E_CONFIG, "SAMOVAR_TICKET_FD",
                       "SAMOVAR_TICKET_FD must be the number of an open descriptor, not \"%s\".",
                       text);
    size_t n = 0;
    while (n < TICKET_SEED) {
        ssize_t got = read((int)fd, seed + n, TICKET_SEED - n);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        n += (size_t)got;
    }
    if (n < TICKET_SEED)
        return sv_fail(err, SV_E_CONFIG, "SAMOVAR_TICKET_FD",
                       "Descriptor %ld gave %zu bytes of the ticket key instead of %d.", fd, n,
                       TICKET_SEED);
    close((int)fd);
    return 0;
}

int operator_init(operator_identity *o, sv_error *err)
{
    uint8_t seed[TICKET_SEED], token[8];
    *o = (operator_identity){0};
    buf_init(&o->ticket, LIMIT_TICKET_BYTES);
    const char *fd = getenv("SAMOVAR_TICKET_FD");
    if (fd) {
        int rc = read_seed(fd, seed, err);
        unsetenv("SAMOVAR_TICKET_FD");
        if (rc) return rc;
        ticket_signer_init(&o->signer, seed);
        explicit_bzero(seed, sizeof seed);
        o->signs = true;
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
                    .roles = {sv_cstr("owner")},
                    .n_roles = 1,
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
