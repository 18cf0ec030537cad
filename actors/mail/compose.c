/*  compose.c - see compose.h. */
#include "compose.h"

#include "error.h"

#include <stdio.h>
#include <time.h>

enum {
    WORD_BYTES = 45,   /* 60 characters of base64: an encoded word of 72 */
    LINE_BYTES = 57,   /* 76 characters of base64 */
    PLAIN_SUBJECT = 60 /* longer ones are folded, which encoded words do by themselves */
};

/* ---- encodings ---- */

static void put_base64(buf *out, const char *p, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *b = (const uint8_t *)p;
    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i;
        uint32_t v = (uint32_t)b[i] << 16 | (left > 1 ? (uint32_t)b[i + 1] << 8 : 0) |
                     (left > 2 ? b[i + 2] : 0u);
        buf_putc(out, digits[v >> 18]);
        buf_putc(out, digits[v >> 12 & 63]);
        buf_putc(out, left > 1 ? digits[v >> 6 & 63] : '=');
        buf_putc(out, left > 2 ? digits[v & 63] : '=');
    }
}

static void put_body(buf *out, const buf *body)
{
    for (size_t i = 0; i < body->n; i += LINE_BYTES) {
        size_t n = body->n - i;
        put_base64(out, body->p + i, n < LINE_BYTES ? n : LINE_BYTES);
        buf_puts(out, "\r\n");
    }
}

static bool plain(sv_str s)
{
    if (s.n > PLAIN_SUBJECT || memmem(s.p, s.n, "=?", 2)) return false;
    for (uint32_t i = 0; i < s.n; i++)
        if (s.p[i] < ' ' || s.p[i] >= 0x7f) return false;
    return true;
}

/* Whole characters in each word: no mail program joins halves. */
static void put_encoded(buf *out, sv_str s)
{
    for (uint32_t i = 0; i < s.n;) {
        uint32_t n = s.n - i < WORD_BYTES ? s.n - i : WORD_BYTES;
        while (i + n < s.n && n > 1 && (s.p[i + n] & 0xc0) == 0x80)
            n--;
        buf_puts(out, i ? "\r\n =?UTF-8?B?" : "=?UTF-8?B?");
        put_base64(out, s.p + i, n);
        buf_puts(out, "?=");
        i += n;
    }
}

/* `quoted`: a phrase, where plain text needs quotes. */
static void put_value(buf *out, sv_str s, bool quoted)
{
    if (!plain(s) || (quoted && (memchr(s.p, '"', s.n) || memchr(s.p, '\\', s.n))))
        put_encoded(out, s);
    else
        buf_printf(out, quoted ? "\"%.*s\"" : "%.*s", SV_FMT(s));
}

/* ---- mailboxes ---- */

static void trim(const char *from, size_t n, char *to, size_t size)
{
    while (n > 0 && *from == ' ')
        from++, n--;
    while (n > 0 && from[n - 1] == ' ')
        n--;
    if (n >= 2 && from[0] == '"' && from[n - 1] == '"') from++, n -= 2;
    snprintf(to, size, "%.*s", (int)n, from);
}

int mailbox_parse(const char *text, mailbox *ret, sv_error *err)
{
    const char *open = strrchr(text, '<');
    size_t n = strlen(text);
    *ret = (mailbox){.name = ""};
    if (n <= OUTBOX_TEXT + OUTBOX_ADDRESS && open && text[n - 1] == '>') {
        trim(text, (size_t)(open - text), ret->name, sizeof ret->name);
        trim(open + 1, n - (size_t)(open - text) - 2, ret->address, sizeof ret->address);
    } else if (open == NULL && n <= OUTBOX_ADDRESS) {
        trim(text, n, ret->address, sizeof ret->address);
    }
    bool ok = address_ok(ret->address);
    for (const char *p = ret->name; *p; p++)
        ok = ok && (uint8_t)*p >= ' ' && *p != 0x7f;
    if (ok) return 0;
    return sv_fail(err, SV_E_INVALID, NULL,
                   "Write samovar@example.org or Samovar <samovar@example.org>.");
}

const char *sender_domain(const sender *s)
{
    return strchr(s->from.address, '@') + 1;
}

static void put_mailbox(buf *out, const char *header, const mailbox *b)
{
    buf_printf(out, "%s: ", header);
    if (b->name[0]) {
        put_value(out, sv_cstr(b->name), true);
        buf_printf(out, "\r\n <%s>\r\n", b->address);
    } else {
        buf_printf(out, "%s\r\n", b->address);
    }
}

/* ---- the message ---- */

static void put_date(buf *out, int64_t unix_ms)
{
    static const char days[] = "SunMonTueWedThuFriSat",
                      months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t s = (time_t)(unix_ms / 1000);
    struct tm t = {.tm_mday = 1, .tm_year = 70};
    gmtime_r(&s, &t);
    buf_printf(out, "Date: %.3s, %02d %.3s %04d %02d:%02d:%02d +0000\r\n", days + 3 * t.tm_wday,
               t.tm_mday, months + 3 * t.tm_mon, t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
}

static void put_part(buf *out, const outbox_mail *m, const char *type, const buf *body)
{
    buf_printf(out,
               "--=_%s\r\nContent-Type: %s; charset=utf-8\r\nContent-Transfer-Encoding: "
               "base64\r\nContent-Language: %s\r\n\r\n",
               m->id, type, m->locale);
    put_body(out, body);
}

int compose(const sender *s, const outbox_mail *m, const rendered *r, buf *out)
{
    put_date(out, m->created);
    put_mailbox(out, "From", &s->from);
    if (s->reply_to.address[0]) put_mailbox(out, "Reply-To", &s->reply_to);
    buf_printf(out, "To: %s\r\nSubject: ", m->to);
    put_value(out, buf_str(&r->subject), false);
    /* "_" and "=" in the middle are no part of base64: the boundary is nowhere in the bodies. */
    buf_printf(out,
               "\r\nMessage-ID: <%s@%s>\r\nAuto-Submitted: auto-generated\r\n"
               "X-Auto-Response-Suppress: All\r\nMIME-Version: 1.0\r\n"
               "Content-Type: multipart/alternative; boundary=\"=_%s\"\r\n\r\n",
               m->id, sender_domain(s), m->id);
    put_part(out, m, "text/plain", &r->text);
    put_part(out, m, "text/html", &r->html);
    buf_printf(out, "--=_%s--\r\n", m->id);
    return out->failed ? out->error : 0;
}
