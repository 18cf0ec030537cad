/*  ticket_seed.c - see ticket_seed.h. */
#include "ticket_seed.h"

#include "error.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static const char name[] = "SAMOVAR_TICKET_FD";

static int read_seed(const char *text, uint8_t seed[TICKET_SEED], sv_error *err)
{
    char *end = NULL;
    long fd = strtol(text, &end, 10);
    if (end == text || *end || fd < 3 || fd > 65535)
        return sv_fail(err, SV_E_CONFIG, name,
                       "SAMOVAR_TICKET_FD must be the number of an open descriptor, not \"%s\".",
                       text);
    size_t n = 0;
    while (n < TICKET_SEED) {
        ssize_t got = read((int)fd, seed + n, TICKET_SEED - n);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        n += (size_t)got;
    }
    close((int)fd);
    if (n < TICKET_SEED)
        return sv_fail(err, SV_E_CONFIG, name,
                       "Descriptor %ld gave %zu bytes of the ticket key instead of %d.", fd, n,
                       TICKET_SEED);
    return 0;
}

int ticket_seed_take(ticket_signer *s, bool *ret_given, sv_error *err)
{
    uint8_t seed[TICKET_SEED];
    const char *fd = getenv(name);
    *ret_given = false;
    if (fd == NULL) return 0;
    int rc = read_seed(fd, seed, err);
    unsetenv(name);
    if (rc == 0) {
        ticket_signer_init(s, seed);
        *ret_given = true;
    }
    explicit_bzero(seed, sizeof seed);
    return rc;
}
