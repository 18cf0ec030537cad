/*  tries.c - wrong tries, counted by a name that need not exist.
 *
 *  The fifth wrong try without a pause of fifteen minutes brings a delay of 30 s; each further one
 *  doubles it, up to fifteen minutes. A pause is counted from the end of the last delay, so at the
 *  longest delay one try in fifteen minutes is left to whoever goes on. A stranger who takes each of
 *  them keeps the owner out from nowhere that he has logged in from: tries from there count apart.
 *  For addresses without an account the same rows are looked for. */
#include "auth_store.h"

#include "error.h"

#include <stdio.h>

static sv_str bin(const uint8_t *hash)
{
    return (sv_str){(const char *)hash, WORDS_HASH};
}

/* What counts now; zeros when there is nothing. */
static int look(store_tx *tx, const uint8_t *name, tries_row *ret)
{
    *ret = (tries_row){.name = bin(name)};
    int rc = store_get(tx, &auth_tries, ret);
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    int64_t calm = ret->blocked > ret->last ? ret->blocked : ret->last;
    if (rc == SV_E_NOT_FOUND || store_now_ms(tx) - calm >= TRIES_WINDOW_MS)
        *ret = (tries_row){.name = bin(name)};
    return 0;
}

int tries_blocked(store_tx *tx, const uint8_t name[WORDS_HASH], int64_t *ret_ms)
{
    tries_row row;
    int rc = look(tx, name, &row);
    int64_t left = row.blocked - store_now_ms(tx);
    *ret_ms = rc == 0 && left > 0 ? left : 0;
    return rc;
}

int tries_add(store_tx *tx, const uint8_t name[WORDS_HASH], bool *ret_blocks)
{
    tries_row row;
    int64_t now = store_now_ms(tx), delay = 0;
    int rc = look(tx, name, &row);
    if (rc) return rc;
    row.wrong++;
    row.last = now;
    if (row.wrong >= TRIES_FREE) {
        delay = TRIES_FIRST_MS;
        for (int64_t i = TRIES_FREE; i < row.wrong && delay < TRIES_MOST_MS; i++)
            delay *= 2;
        if (delay > TRIES_MOST_MS) delay = TRIES_MOST_MS;
        row.blocked = now + delay;
    }
    row.expires = now + delay + TRIES_WINDOW_MS;
    *ret_blocks = delay > 0;
    return store_put(tx, &auth_tries, &row);
}

int tries_pause(store_tx *tx, const uint8_t name[WORDS_HASH], int64_t ms, bool *ret_may)
{
    tries_row row = {.name = bin(name)};
    int64_t now = store_now_ms(tx);
    int rc = store_get(tx, &auth_tries, &row);
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    *ret_may = rc == SV_E_NOT_FOUND || row.blocked <= now;
    if (!*ret_may) return 0;
    row = (tries_row){.name = bin(name), .last = now, .blocked = now + ms, .expires = now + ms};
    return store_put(tx, &auth_tries, &row);
}

int tries_within(store_tx *tx, const uint8_t name[WORDS_HASH], int64_t most, int64_t window_ms,
                 int64_t *ret_wait_ms)
{
    tries_row row = {.name = bin(name)};
    int64_t now = store_now_ms(tx);
    int rc = store_get(tx, &auth_tries, &row);
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    if (rc || now - row.last >= window_ms)
        row = (tries_row){.name = bin(name), .last = now, .expires = now + window_ms};
    *ret_wait_ms = row.wrong < most ? 0 : row.last + window_ms - now;
    if (*ret_wait_ms > 0) return 0;
    row.wrong++;
    return store_put(tx, &auth_tries, &row);
}

int tries_forget(store_tx *tx, const uint8_t name[WORDS_HASH])
{
    tries_row row = {.name = bin(name)};
    int rc = store_delete(tx, &auth_tries, &row);
    return rc == SV_E_NOT_FOUND ? 0 : rc;
}

/* ---- networks that an account is used from ---- */

static void name_at(const char *kind, const char *email, const char *network,
                    uint8_t ret[WORDS_HASH])
{
    char text[WORDS_EMAIL + WORDS_NETWORK + 2];
    snprintf(text, sizeof text, "%s %s", network, email);
    words_hash(kind, text, ret);
}

int tries_at_home(store_tx *tx, const char *email, const char *network)
{
    uint8_t name[WORDS_HASH];
    int64_t now = store_now_ms(tx);
    name_at("home", email, network, name);
    tries_row row = {.name = bin(name), .last = now, .expires = now + TRIES_HOME_DAYS * 86400000LL};
    return store_put(tx, &auth_tries, &row);
}

int tries_account(store_tx *tx, const char *email, const char *network,
                  const uint8_t common[WORDS_HASH], uint8_t ret[WORDS_HASH])
{
    uint8_t name[WORDS_HASH];
    name_at("home", email, network, name);
    tries_row row = {.name = bin(name)};
    int rc = store_get(tx, &auth_tries, &row);
    if (rc && rc != SV_E_NOT_FOUND) return rc;
    if (rc)
        memmove(ret, common, WORDS_HASH);
    else
        name_at("account at home", email, network, ret);
    return 0;
}
