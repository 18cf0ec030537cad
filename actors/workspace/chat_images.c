/*  chat_images.c - a URL is its type from a list, then base64 with its padding: nothing in it needs to be
 *  escaped in JSON. */
#include "chat_images.h"

#include "error.h"

#include <string.h>

static uint32_t skip_type(sv_str url)
{
    static const char *const types[] = {"data:image/png;base64,", "data:image/jpeg;base64,",
                                        "data:image/webp;base64,", "data:image/gif;base64,"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        size_t n = strlen(types[i]);
        if (url.n > n && memcmp(url.p, types[i], n) == 0) return (uint32_t)n;
    }
    return 0;
}

static bool is_digit64(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/';
}

static bool is_image(sv_str url)
{
    uint32_t at = skip_type(url), end = url.n;
    if (at == 0 || (url.n - at) % 4) return false;
    for (int pad = 0; pad < 2 && url.p[end - 1] == '='; pad++)
        end--;
    for (; at < end; at++)
        if (!is_digit64(url.p[at])) return false;
    return true;
}

bool chat_images_next(sv_str images, uint32_t *at, sv_str *url)
{
    if (*at >= images.n) return false;
    const char *from = images.p + *at, *feed = memchr(from, '\n', images.n - *at);
    url->p = from;
    url->n = feed ? (uint32_t)(feed - from) : images.n - *at;
    *at += url->n + 1;
    return true;
}

int chat_images_check(sv_str images, size_t most_bytes, uint32_t *n, sv_error *err)
{
    uint32_t at = 0;
    sv_str url;
    *n = 0;
    if (images.n > most_bytes)
        return sv_fail(err, SV_E_TOO_LARGE, "images",
                       "\"images\" have %u bytes as data URLs; %zu are allowed (chat.image_bytes).",
                       images.n, most_bytes);
    while (chat_images_next(images, &at, &url)) {
        if (++*n > CHAT_IMAGES)
            return sv_fail(err, SV_E_OUT_OF_RANGE, "images", "A message has at most %d images.",
                           CHAT_IMAGES);
        if (!is_image(url))
            return sv_fail(err, SV_E_INVALID, "images",
                           "Image %u is no data URL of a PNG, JPEG, WebP or GIF in base64, like "
                           "data:image/png;base64,iVBORw0KGgo=.",
                           *n);
    }
    return 0;
}
