/*  s3_list.c - looks for the few elements it knows by their tags. That is enough for this XML: text
 *  holds no "<", the elements have no attributes that matter, and none of these names appears inside
 *  of another of them except as its child. */
#include "s3_list.h"

#include "error.h"
#include "utf8.h"

#include <stdio.h>
#include <stdlib.h>

/* The inside of the first <name>...</name> in `in`, which is moved behind it. */
static bool element(sv_str *in, const char *name, sv_str *ret)
{
    char open[64], close[64];
    size_t open_n = (size_t)snprintf(open, sizeof open, "<%s>", name);
    size_t close_n = (size_t)snprintf(close, sizeof close, "</%s>", name);
    const char *from = in->p ? memmem(in->p, in->n, open, open_n) : NULL;
    if (from == NULL) return false;
    from += open_n;
    const char *end = in->p + in->n, *to = memmem(from, (size_t)(end - from), close, close_n);
    if (to == NULL) return false;
    *ret = (sv_str){from, (uint32_t)(to - from)};
    *in = (sv_str){to + close_n, (uint32_t)(end - to - (ptrdiff_t)close_n)};
    return true;
}

static bool child(sv_str in, const char *name, sv_str *ret)
{
    return element(&in, name, ret);
}

/* The character behind "&"; 0 when it is none. *n is moved behind its ";". */
static unsigned entity(sv_str text, uint32_t *at)
{
    static const struct {
        const char *name;
        char c;
    } names[] = {{"amp;", '&'}, {"lt;", '<'}, {"gt;", '>'}, {"quot;", '"'}, {"apos;", '\''}};
    const char *p = text.p + *at;
    size_t left = text.n - *at;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t n = strlen(names[i].name);
        if (left < n || memcmp(p, names[i].name, n) != 0) continue;
        *at += (uint32_t)n;
        return (unsigned char)names[i].c;
    }
    unsigned value = 0;
    bool hex = left > 2 && p[0] == '#' && p[1] == 'x';
    size_t i = hex ? 2 : 1;
    if (left < 3 || p[0] != '#') return 0;
    for (; i < left && i < 10 && p[i] != ';'; i++) {
        int digit = p[i] >= '0' && p[i] <= '9'          ? p[i] - '0'
                    : hex && p[i] >= 'a' && p[i] <= 'f' ? p[i] - 'a' + 10
                    : hex && p[i] >= 'A' && p[i] <= 'F' ? p[i] - 'A' + 10
                                                        : -1;
        if (digit < 0) return 0;
        value = value * (hex ? 16 : 10) + (unsigned)digit;
    }
    if (i >= left || p[i] != ';' || value > 0x7f) return 0; /* no store writes others so */
    *at += (uint32_t)i + 1;
    return value;
}

/* Text with its entities resolved; false: it does not fit or is not well formed. */
static bool unescape(sv_str text, char *to, size_t size)
{
    size_t n = 0;
    for (uint32_t i = 0; i < text.n;) {
        unsigned c = (unsigned char)text.p[i++];
        if (c == '&' && (c = entity(text, &i)) == 0) return false;
        if (c == 0 || n + 1 >= size) return false;
        to[n++] = (char)c;
    }
    to[n] = 0;
    return utf8_valid((sv_str){to, (uint32_t)n});
}

static int garbage(sv_error *err, const char *what)
{
    return sv_fail(err, SV_E_PROVIDER_GARBAGE, NULL, "The store's list of objects %s.", what);
}

int s3_list_page(sv_str xml, const char *prefix, int (*fn)(void *arg, const s3_object *o),
                 void *arg, char token[S3_TOKEN_BYTES], sv_error *err)
{
    char key[S3_KEY_BYTES + 1], number[24];
    size_t prefix_n = strlen(prefix);
    sv_str at = xml, object, text;
    token[0] = 0;
    if (memmem(xml.p ? xml.p : "", xml.n, "<ListBucketResult", 17) == NULL)
        return garbage(err, "is none; is the URL that of a bucket?");
    while (element(&at, "Contents", &object)) {
        char *end;
        if (!child(object, "Key", &text) || !unescape(text, key, sizeof key) ||
            strncmp(key, prefix, prefix_n) != 0)
            return garbage(err, "holds a key that was not asked for");
        if (!child(object, "Size", &text) || !unescape(text, number, sizeof number) ||
            number[0] < '0' || number[0] > '9')
            return garbage(err, "holds an object without a size");
        s3_object o = {.key = key + prefix_n, .bytes = strtoull(number, &end, 10)};
        if (*end) return garbage(err, "holds an object without a size");
        int rc = fn(arg, &o);
        if (rc) return rc;
    }
    if (!child(xml, "IsTruncated", &text) || !sv_str_is(text, "true")) return 0;
    if (!child(xml, "NextContinuationToken", &text) || !unescape(text, token, S3_TOKEN_BYTES) ||
        token[0] == 0)
        return garbage(err, "does not say how it goes on");
    return 0;
}

void s3_error_words(sv_str xml, char words[256])
{
    char code[64] = "", message[180] = "";
    sv_str inside, text;
    words[0] = 0;
    if (!child(xml, "Error", &inside)) return;
    if (!child(inside, "Code", &text) || !unescape(text, code, sizeof code)) return;
    if (child(inside, "Message", &text)) unescape(text, message, sizeof message);
    snprintf(words, 256, "%s%s%s", code, message[0] ? ": " : "", message);
    for (char *c = words; *c; c++)
        if ((unsigned char)*c < 0x20 || (unsigned char)*c > 0x7e) *c = ' ';
}
