/*  recovery.c - recovery codes: 80 random bits each, in base32 (RFC 4648) with small letters. They
 *  are kept as SHA-256 of the text without dashes: that many random bits need no slow
 *  hash. */
#include "factor.h"

#include "error.h"
#include "seal.h"
#include "uuid.h"

#include <stdio.h>

static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";

enum { PLAIN = 16, GROUP = 4 };

/* ---- text ---- */

static void spell(const uint8_t bytes[RECOVERY_BYTES], char plain[PLAIN + 1])
{
    uint32_t bits = 0, n = 0, at = 0;
    for (uint32_t i = 0; i < RECOVERY_BYTES; i++) {
        bits = bits << 8 | bytes[i];
        for (n += 8; n >= 5; n -= 5)
            plain[at++] = letters[bits >> (n - 5) & 31];
    }
    plain[at] = 0;
}

void recovery_new(recovery_codes *ret)
{
    uint8_t bytes[RECOVERY_BYTES];
    char plain[PLAIN + 1];
    for (uint32_t i = 0; i < RECOVERY_CODES; i++) {
        uuid_random(bytes, sizeof bytes);
        spell(bytes, plain);
        snprintf(ret->text[i], sizeof ret->text[i], "%.4s-%.4s-%.4s-%.4s", plain, plain + GROUP,
                 plain + 2 * GROUP, plain + 3 * GROUP);
        words_hash("recovery", plain, ret->hash[i]);
    }
    seal_wipe(bytes, sizeof bytes);
    seal_wipe(plain, sizeof plain);
}

bool recovery_hash(const char *text, uint8_t ret[WORDS_HASH])
{
    char plain[PLAIN + 1];
    uint32_t n = 0;
    for (; *text; text++) {
        char c = *text >= 'A' && *text <= 'Z' ? (char)(*text + ('a' - 'A')) : *text;
        if (c == '-' || c == ' ') continue;
        if (n == PLAIN || !strchr(letters, c)) return false;
        plain[n++] = c;
    }
    plain[n] = 0;
    if (n == PLAIN) words_hash("recovery", plain, ret);
    seal_wipe(plain, sizeof plain);
    return n == PLAIN;
}

/* ---- in the store ---- */

int recovery_replace(store_tx *tx, sv_str user, const recovery_codes *codes)
{
    recovery_row row, like = {.user = user};
    store_range range = auth_same(&auth_recoveries, NULL, &like, 1, 0);
    store_scan *scan;
    int rc = store_scan_open(tx, &range, &scan);
    if (rc) return rc;
    while (rc == 0 && store_scan_next(scan, &row))
        rc = store_delete(tx, &auth_recoveries, &row);
    if (rc == 0) rc = store_scan_result(scan);
    store_scan_close(scan);
    for (uint32_t i = 0; rc == 0 && codes && i < RECOVERY_CODES; i++) {
        row = (recovery_row){.user = user, .hash = {(const char *)codes->hash[i], WORDS_HASH}};
        rc = store_put(tx, &auth_recoveries, &row);
    }
    return rc;
}

int recovery_use(store_tx *tx, sv_str user, const char *text, bool *ret_was)
{
    uint8_t hash[WORDS_HASH];
    *ret_was = false;
    if (!recovery_hash(text, hash)) return 0;
    recovery_row row = {.user = user, .hash = {(const char *)hash, WORDS_HASH}};
    int rc = store_delete(tx, &auth_recoveries, &row);
    *ret_was = rc == 0;
    return rc == SV_E_NOT_FOUND ? 0 : rc;
}
