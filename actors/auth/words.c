/*  words.c - see words.h. */
#include "words.h"

#include "error.h"
#include "seal.h"
#include "sha256.h"
#include "utf8.h"
#include "uuid.h"

#include <arpa/inet.h>
#include <stdio.h>

/* ---- e-mail ---- */

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Not a judgement of what mail may be sent to: what is refused could not be an address at all, or
 * would be shown wrongly. */
static bool may_be_in_email(char c)
{
    return (uint8_t)c > ' ' && c != 0x7f && !strchr("<>()[],;:\\\"", c);
}

int email_normalise(sv_str text, char ret[WORDS_EMAIL + 1], sv_error *err)
{
    while (text.n && blank(text.p[0])) {
        text.p++;
        text.n--;
    }
    while (text.n && blank(text.p[text.n - 1]))
        text.n--;
    const char *at = text.n ? memchr(text.p, '@', text.n) : NULL;
    bool ok = text.n <= WORDS_EMAIL && at && at > text.p && at + 1 < text.p + text.n &&
              memchr(at + 1, '@', (size_t)(text.p + text.n - at - 1)) == NULL;
    for (uint32_t i = 0; ok && i < text.n; i++) {
        char c = text.p[i];
        ok = may_be_in_email(c);
        ret[i] = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
    }
    if (!ok)
        return sv_fail(err, SV_E_INVALID, "email",
                       "This is not an e-mail address: write it as name@example.org.");
    ret[text.n] = 0;
    return 0;
}

/* C0, DEL, C1, the two separators of lines, and the marks of direction U+202A..E and U+2066..9, with
 * which a name could look like another one. */
static bool misleads(const uint8_t *p, size_t n)
{
    if (n == 1) return p[0] < ' ' || p[0] == 0x7f;
    if (n == 2) return p[0] == 0xc2 && p[1] < 0xa0;
    if (n != 3 || p[0] != 0xe2) return false;
    return (p[1] == 0x80 && p[2] >= 0xa8 && p[2] <= 0xae) ||
           (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9);
}

int name_check(sv_str name, sv_error *err)
{
    const uint8_t *p = (const uint8_t *)name.p;
    for (size_t i = 0, n; i < name.n; i += n) {
        n = utf8_sequence(p + i, name.n - i);
        if (n == 0 || misleads(p + i, n))
            return sv_fail(err, SV_E_INVALID, "name",
                           "A name is one line without control characters.");
    }
    return 0;
}

int locale_check(sv_str locale, sv_error *err)
{
    if (locale.n == 0 || sv_str_is(locale, "en") || sv_str_is(locale, "ru")) return 0;
    return sv_fail(err, SV_E_INVALID, "locale", "locale must be en or ru.");
}

/* ---- networks ---- */

int network_normalise(sv_str text, char ret[WORDS_NETWORK + 1], sv_error *err)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    char words[INET6_ADDRSTRLEN] = "";
    uint8_t a[16];
    if (text.n < sizeof words && text.n > 0 && memchr(text.p, 0, text.n) == NULL)
        memcpy(words, text.p, text.n);
    if (inet_pton(AF_INET, words, a) == 1) {
        inet_ntop(AF_INET, a, ret, WORDS_NETWORK + 1);
        return 0;
    }
    if (inet_pton(AF_INET6, words, a) != 1)
        return sv_fail(err, SV_E_INVALID, "network",
                       "This is not an IP address: write it as 192.0.2.1 or 2001:db8::1.");
    if (memcmp(a, mapped, sizeof mapped) == 0) {
        inet_ntop(AF_INET, a + 12, ret, WORDS_NETWORK + 1);
        return 0;
    }
    memset(a + 8, 0, 8);
    inet_ntop(AF_INET6, a, ret, WORDS_NETWORK + 1);
    return 0;
}

/* ---- tokens ---- */

void token_new(const char *kind, char ret[WORDS_TOKEN + 1])
{
    uint8_t bytes[32];
    uuid_random(bytes, sizeof bytes);
    memcpy(ret, kind, 4);
    hex_format(bytes, sizeof bytes, ret + 4);
    seal_wipe(bytes, sizeof bytes);
}

static void finish(sha256 *h, uint8_t ret[WORDS_HASH])
{
    char hex[65];
    sha256_end(h, hex);
    hex_parse(sv_cstr(hex), ret, WORDS_HASH);
}

void token_hash(sv_str token, uint8_t ret[WORDS_HASH])
{
    sha256 h;
    sha256_start(&h);
    sha256_add(&h, token.p ? token.p : "", token.n);
    finish(&h, ret);
}

void words_hash(const char *kind, const char *text, uint8_t ret[WORDS_HASH])
{
    sha256 h;
    sha256_start(&h);
    sha256_add(&h, kind, strlen(kind) + 1);
    sha256_add(&h, text, strlen(text));
    finish(&h, ret);
}
