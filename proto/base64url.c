/*  base64url.c - libsodium's codec, which refuses bits left over; with nothing to ignore and the
 *  whole text to be read it refuses everything else, too; except that 1.0.18 takes some bytes above
 *  127 for characters, which are looked for here. */
#include "base64url.h"

#include "error.h"

#include <sodium.h>

enum { VARIANT = sodium_base64_VARIANT_URLSAFE_NO_PADDING };

int base64url_put(const void *p, size_t n, buf *out)
{
    enum { BYTES = 96, TEXT = BASE64URL_TEXT(BYTES) };
    const uint8_t *from = p;
    size_t start = out->n;
    for (size_t at = 0; at < n; at += BYTES) {
        char piece[TEXT + 1]; /* libsodium ends it with NUL */
        size_t len = n - at < BYTES ? n - at : BYTES;
        sodium_bin2base64(piece, sizeof piece, from + at, len, VARIANT);
        int rc = buf_put(out, piece, BASE64URL_TEXT(len));
        if (rc == 0) continue;
        out->n = start;
        return rc;
    }
    return 0;
}

static bool ascii(sv_str text)
{
    uint8_t all = 0;
    for (uint32_t i = 0; i < text.n; i++)
        all |= (uint8_t)text.p[i];
    return all < 0x80;
}

/* The bytes of `text` when it is canonical: as many as its length says, for which `to` has room. */
static bool decode(sv_str text, void *to, size_t size)
{
    return ascii(text) &&
           sodium_base642bin(to, size, text.p, text.n, NULL, NULL, NULL, VARIANT) == 0;
}

int base64url_get(sv_str text, buf *out)
{
    size_t n = (size_t)text.n / 4 * 3 + (text.n % 4 ? text.n % 4 - 1 : 0);
    if (text.n % 4 == 1) return SV_E_INVALID;
    if (text.n == 0) return 0;
    char *to = buf_room(out, n);
    if (to == NULL) return out->error;
    if (!decode(text, to, n)) return SV_E_INVALID;
    buf_added(out, n);
    return 0;
}

int base64url_get_exact(sv_str text, void *p, size_t n)
{
    if (text.n != BASE64URL_TEXT(n)) return SV_E_INVALID;
    return n == 0 || decode(text, p, n) ? 0 : SV_E_INVALID;
}
