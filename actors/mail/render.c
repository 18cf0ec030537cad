/*  render.c - the words of templates.def in two frames, one of text and one of HTML. */
#include "render.h"

#include "error.h"
#include "seal.h"

#include <stdio.h>
#include <strings.h>

enum { NEEDS_NOTHING = 0, NEEDS_LINK = 1, NEEDS_ORG = 2 };
enum { en, ru, LANGUAGES };

typedef enum template_name {
#define TEMPLATE(name, needs) T_##name,
#define WORDS(name, language, subject, text, button, detail, closing)
#include "templates.def"
#undef TEMPLATE
#undef WORDS
    TEMPLATES
} template_name;

static const struct {
    const char *name;
    unsigned needs;
} templates[TEMPLATES] = {
#define TEMPLATE(name, needs) {#name, needs},
#define WORDS(name, language, subject, text, button, detail, closing)
#include "templates.def"
#undef TEMPLATE
#undef WORDS
};

typedef struct words {
    const char *subject, *text, *button, *detail, *closing;
} words;

static const words said[TEMPLATES][LANGUAGES] = {
#define TEMPLATE(name, needs)
#define WORDS(name, language, subject, text, button, detail, closing)                              \
    [T_##name][language] = {subject, text, button, detail, closing},
#include "templates.def"
#undef TEMPLATE
#undef WORDS
};

/* What all templates have in common. `hello` is followed by the name, if there is one. */
static const struct {
    const char *locale, *hello, *hello_end, *org, *removed, *footer;
} common[LANGUAGES] = {
    [en] = {"en", "Hello", ",", "Organization", "(the link was removed when the mail was sent)",
            "This message was sent automatically by Samovar."},
    [ru] = {"ru", "Здравствуйте", "!", "Организация", "(ссылка удалена после отправки)",
            "Это письмо отправлено автоматически, Samovar."},
};

/* ---- judging ---- */

static int find_template(const char *name)
{
    for (int i = 0; i < TEMPLATES; i++)
        if (strcmp(templates[i].name, name) == 0) return i;
    return -1;
}

static int find_language(const char *locale)
{
    for (int i = 0; i < LANGUAGES; i++)
        if (strcmp(common[i].locale, locale) == 0) return i;
    return -1;
}

bool address_ok(const char *text)
{
    const char *at = strchr(text, '@');
    size_t n = strlen(text);
    if (at == NULL || at == text || at - text > 64 || at[1] == 0 || strchr(at + 1, '@'))
        return false;
    for (size_t i = 0; i < n; i++)
        if ((uint8_t)text[i] <= ' ' || text[i] == 0x7f || strchr("<>()[],;:\\\"", text[i]))
            return false;
    for (const char *p = at + 1; *p; p++)
        if ((*p == '.' && (p == at + 1 || p[1] == '.' || p[1] == 0)) || strchr("/%!'`{|}", *p))
            return false;
    return n <= OUTBOX_ADDRESS && text[0] != '.' && text[0] != '-' && at[-1] != '.' && at[1] != '-';
}

bool link_ok(const char *text)
{
    size_t scheme = strncasecmp(text, "https://", 8) == 0  ? 8
                    : strncasecmp(text, "http://", 7) == 0 ? 7
                                                           : 0;
    if (scheme == 0) return false;
    size_t host = strcspn(text + scheme, "/?#");
    if (host == 0 || memchr(text + scheme, '@', host)) return false;
    for (const char *p = text; *p; p++)
        if (*p <= ' ' || *p >= 0x7f || strchr("\"<>\\^`{|}", *p)) return false;
    return true;
}

static int check_values(const outbox_mail *m, unsigned needs, sv_error *err)
{
    if (!address_ok(m->to))
        return sv_fail(err, SV_E_INVALID, "to", "This is no e-mail address that mail can go to.");
    if (m->link[0] && !link_ok(m->link))
        return sv_fail(err, SV_E_INVALID, "link",
                       "A link is an http or https URL of printable ASCII without a user in it.");
    if ((needs & NEEDS_LINK) && m->link[0] == 0)
        return sv_fail(err, SV_E_MISSING_FIELD, "link", "The template %s needs a link.",
                       m->template);
    if ((needs & NEEDS_ORG) && m->org[0] == 0)
        return sv_fail(err, SV_E_MISSING_FIELD, "org", "The template %s needs an organization.",
                       m->template);
    return 0;
}

int render_check(outbox_mail *m, sv_error *err)
{
    int t = find_template(m->template);
    if (t < 0) return sv_fail(err, SV_E_INVALID, "template", "There is no such template.");
    if (m->locale[0] == 0) snprintf(m->locale, sizeof m->locale, "%s", common[en].locale);
    if (find_language(m->locale) < 0)
        return sv_fail(err, SV_E_INVALID, "locale", "Mails are written in en or ru.");
    return check_values(m, templates[t].needs, err);
}

/* ---- values ---- */

/* Bytes of a character that is no text: a control character, a line or paragraph separator, or one
 * that changes the direction of writing. 0: it is text. */
static size_t odd(const char *p)
{
    const uint8_t *b = (const uint8_t *)p;
    if (b[0] < 0x20 || b[0] == 0x7f) return 1;
    if (b[0] == 0xc2 && b[1] >= 0x80 && b[1] <= 0x9f) return 2;
    if (b[0] == 0xd8 && b[1] == 0x9c) return 2;
    if (b[0] != 0xe2) return 0;
    bool general = b[1] == 0x80 && ((b[2] >= 0xa8 && b[2] <= 0xae) || b[2] == 0x8e || b[2] == 0x8f);
    return general || (b[1] == 0x81 && b[2] >= 0xa6 && b[2] <= 0xa9) ? 3 : 0;
}

/* UTF-8, with runs of odd characters and spaces as one space, none at the ends. `name`: a point that
 * is followed by more text gets a word joiner, so that no mail program makes a link of it. */
static void clean(const char *from, bool name, char *to, size_t size)
{
    static const char joiner[] = "\xe2\x81\xa0";
    size_t n = 0;
    bool gap = false;
    while (*from && n + 8 < size) {
        size_t skip = *from == ' ' ? 1 : odd(from);
        if (skip) {
            gap = n > 0;
            from += skip;
            continue;
        }
        if (gap) to[n++] = ' ';
        gap = false;
        bool point = name && *from == '.' && (uint8_t)from[1] > ' ';
        do
            to[n++] = *from++;
        while ((*from & 0xc0) == 0x80);
        if (point) {
            memcpy(to + n, joiner, sizeof joiner - 1);
            n += sizeof joiner - 1;
        }
    }
    to[n] = 0;
}

typedef struct values {
    char name[4 * OUTBOX_TEXT + 16], org[4 * OUTBOX_TEXT + 16], detail[OUTBOX_TEXT + 16];
    const char *link; /* NULL: none */
    bool removed;
} values;

/* ---- writing ---- */

static void put_html(buf *out, const char *s)
{
    for (; *s; s++) {
        switch (*s) {
        case '&': buf_puts(out, "&amp;"); break;
        case '<': buf_puts(out, "&lt;"); break;
        case '>': buf_puts(out, "&gt;"); break;
        case '"': buf_puts(out, "&quot;"); break;
        case '\'': buf_puts(out, "&#39;"); break;
        default: buf_putc(out, *s);
        }
    }
}

static void put_plain(buf *out, const char *s)
{
    buf_puts(out, s);
}

typedef void put_fn(buf *out, const char *s);

/* Words of the table with the organization in its places. */
static void put_words(buf *out, put_fn *put, const char *text, const values *v)
{
    static const char place[] = "{org}";
    const char *at;
    while ((at = strstr(text, place)) != NULL) {
        char before[512];
        snprintf(before, sizeof before, "%.*s", (int)(at - text), text);
        put(out, before);
        put(out, v->org);
        text = at + sizeof place - 1;
    }
    put(out, text);
}

static void put_hello(buf *out, put_fn *put, int l, const values *v)
{
    put(out, common[l].hello);
    if (v->name[0]) {
        put(out, l == en ? " " : ", ");
        put(out, v->name);
    }
    put(out, common[l].hello_end);
}

static void write_text(int t, int l, const values *v, buf *out)
{
    const words *w = &said[t][l];
    put_hello(out, put_plain, l, v);
    buf_puts(out, "\r\n\r\n");
    put_words(out, put_plain, w->text, v);
    buf_puts(out, "\r\n\r\n");
    if (v->link || v->removed)
        buf_printf(out, "%s:\r\n%s\r\n\r\n", w->button, v->link ? v->link : common[l].removed);
    if (v->org[0] && !(templates[t].needs & NEEDS_ORG))
        buf_printf(out, "%s: %s\r\n", common[l].org, v->org);
    if (v->detail[0]) buf_printf(out, "%s: %s\r\n", w->detail, v->detail);
    if (v->detail[0] || (v->org[0] && !(templates[t].needs & NEEDS_ORG))) buf_puts(out, "\r\n");
    buf_printf(out, "%s\r\n\r\n-- \r\n%s\r\n", w->closing, common[l].footer);
}

static const char html_head[] =
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\r\n"
    "<meta name=\"color-scheme\" content=\"light dark\">\r\n"
    "<meta name=\"supported-color-schemes\" content=\"light dark\">\r\n"
    "<style>\r\n"
    ":root { color-scheme: light dark; supported-color-schemes: light dark; }\r\n"
    "@media (prefers-color-scheme: dark) {\r\n"
    "  .page { background: #14161a !important; }\r\n"
    "  .card { background: #1f2329 !important; border-color: #343a43 !important; }\r\n"
    "  .card td, .card p { color: #e6e8eb !important; }\r\n"
    "  .card .quiet, .quiet { color: #a3abb6 !important; }\r\n"
    "  .card a.plain { color: #8ab4f8 !important; }\r\n"
    "}\r\n"
    "</style>\r\n";

#define FONT "font-family: -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif; "
static const char html_open[] =
    "</head>\r\n"
    "<body class=\"page\" style=\"margin: 0; padding: 0; background: #f3f4f6;\">\r\n"
    "<table role=\"presentation\" class=\"page\" width=\"100%\" cellpadding=\"0\" "
    "cellspacing=\"0\" "
    "style=\"background: #f3f4f6;\"><tr><td align=\"center\" style=\"padding: 24px 12px;\">\r\n"
    "<table role=\"presentation\" class=\"card\" width=\"100%\" cellpadding=\"0\" "
    "cellspacing=\"0\" "
    "style=\"max-width: 560px; background: #ffffff; border: 1px solid #e2e5ea; border-radius: "
    "8px;\">"
    "<tr><td style=\"padding: 28px; " FONT "font-size: 16px; line-height: 1.5; color: "
    "#1f2329;\">\r\n";
static const char html_close[] = "</td></tr></table>\r\n<p class=\"quiet\" style=\"" FONT
                                 "font-size: 12px; color: #6b7280; margin: 16px 0 0;\">";
static const char html_end[] = "</p>\r\n</td></tr></table>\r\n</body>\r\n</html>\r\n";
static const char paragraph[] = "<p style=\"margin: 0 0 16px;\">";
static const char quiet[] =
    "<p class=\"quiet\" style=\"margin: 0 0 8px; font-size: 14px; color: #6b7280;\">";

static void put_button(buf *out, const char *button, const char *link)
{
    buf_puts(out, "<p style=\"margin: 24px 0;\"><a href=\"");
    put_html(out, link);
    buf_puts(out, "\" style=\"display: inline-block; padding: 12px 20px; background: #1a56db; "
                  "color: #ffffff; border-radius: 6px; text-decoration: none;\">");
    put_html(out, button);
    buf_printf(out, "</a></p>\r\n%s<a class=\"plain\" href=\"", quiet);
    put_html(out, link);
    buf_puts(out, "\" style=\"color: #1a56db; word-break: break-all;\">");
    put_html(out, link);
    buf_puts(out, "</a></p>\r\n");
}

static void put_line(buf *out, const char *label, const char *value)
{
    buf_puts(out, paragraph);
    put_html(out, label);
    buf_puts(out, ": <b>");
    put_html(out, value);
    buf_puts(out, "</b></p>\r\n");
}

static void write_html(int t, int l, const values *v, buf *out)
{
    const words *w = &said[t][l];
    buf_printf(out,
               "<!DOCTYPE html>\r\n<html lang=\"%s\">\r\n<head>\r\n<meta charset=\"utf-8\">\r\n"
               "<title>",
               common[l].locale);
    put_words(out, put_html, w->subject, v);
    buf_printf(out, "</title>\r\n%s%s%s", html_head, html_open, paragraph);
    put_hello(out, put_html, l, v);
    buf_printf(out, "</p>\r\n%s", paragraph);
    put_words(out, put_html, w->text, v);
    buf_puts(out, "</p>\r\n");
    if (v->link) put_button(out, w->button, v->link);
    if (v->removed) put_line(out, w->button, common[l].removed);
    if (v->org[0] && !(templates[t].needs & NEEDS_ORG)) put_line(out, common[l].org, v->org);
    if (v->detail[0]) put_line(out, w->detail, v->detail);
    buf_puts(out, quiet);
    put_html(out, w->closing);
    buf_printf(out, "</p>\r\n%s", html_close);
    put_html(out, common[l].footer);
    buf_puts(out, html_end);
}

int render(const outbox_mail *m, rendered *ret, sv_error *err)
{
    int t = find_template(m->template), l = find_language(m->locale);
    if (t < 0 || l < 0)
        return sv_fail(err, SV_E_INVALID, t < 0 ? "template" : "locale",
                       "This version has no template %s in %s.", m->template, m->locale);
    values v = {.link = m->link[0] ? m->link : NULL,
                .removed = m->link[0] == 0 && (templates[t].needs & NEEDS_LINK)};
    clean(m->name, true, v.name, sizeof v.name);
    clean(m->org, true, v.org, sizeof v.org);
    clean(m->detail, false, v.detail, sizeof v.detail);
    buf_init(&ret->subject, RENDER_SUBJECT);
    buf_init(&ret->text, RENDER_TEXT);
    buf_init(&ret->html, RENDER_HTML);
    put_words(&ret->subject, put_plain, said[t][l].subject, &v);
    write_text(t, l, &v, &ret->text);
    write_html(t, l, &v, &ret->html);
    if (!ret->subject.failed && !ret->text.failed && !ret->html.failed) return 0;
    render_free(ret);
    return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
}

static void wipe(buf *b)
{
    if (b->p) seal_wipe(b->p, b->n);
    buf_free(b);
}

void render_free(rendered *r)
{
    buf_free(&r->subject);
    wipe(&r->text);
    wipe(&r->html);
}
