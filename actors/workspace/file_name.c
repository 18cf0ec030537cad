/*  file_name.c - the bytes of a name are looked at once, in the steps of UTF-8. */
#include "file_name.h"

#include "error.h"
#include "utf8.h"

static sv_str base_of(sv_str path)
{
    uint32_t from = path.n;
    while (from > 0 && path.p[from - 1] != '/' && path.p[from - 1] != '\\')
        from--;
    return from < path.n ? (sv_str){path.p + from, path.n - from} : (sv_str){NULL, 0};
}

/* C0, DEL, C1, the two separators, and the marks of direction U+202A..E and U+2066..9. */
static bool misleads(const uint8_t *p, size_t n)
{
    if (n == 1) return p[0] < 0x20 || p[0] == 0x7f;
    if (n == 2) return p[0] == 0xc2 && p[1] < 0xa0;
    if (n != 3 || p[0] != 0xe2) return false;
    return (p[1] == 0x80 && p[2] >= 0xa8 && p[2] <= 0xae) ||
           (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9);
}

int file_name_clean(sv_str given, char ret[FILE_NAME + 1], sv_error *err)
{
    sv_str name = base_of(given);
    if (name.n == 0 || sv_str_is(name, ".") || sv_str_is(name, "..")) name = sv_cstr("file");
    if (name.n > FILE_NAME)
        return sv_fail(err, SV_E_OUT_OF_RANGE, "name",
                       "A file's name may have %d bytes; this one has %u.", FILE_NAME, name.n);
    const uint8_t *p = (const uint8_t *)name.p;
    for (size_t i = 0, n; i < name.n; i += n) {
        n = utf8_sequence(p + i, name.n - i);
        if (n == 0)
            return sv_fail(err, SV_E_BAD_UTF8, "name", "A file's name must be valid UTF-8.");
        if (misleads(p + i, n))
            return sv_fail(err, SV_E_INVALID, "name",
                           "A file's name may not have control characters.");
    }
    memcpy(ret, name.p, name.n);
    ret[name.n] = 0;
    return 0;
}

int file_type_check(sv_str type, sv_error *err)
{
    uint32_t slashes = 0;
    bool ok = type.n > 2 && type.n <= FILE_TYPE && type.p[0] != '/' && type.p[type.n - 1] != '/';
    for (uint32_t i = 0; ok && i < type.n; i++) {
        char c = type.p[i];
        slashes += c == '/';
        ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             c == '/' || c == '.' || c == '+' || c == '-' || c == '_';
    }
    if (ok && slashes == 1) return 0;
    return sv_fail(err, SV_E_INVALID, "type", "The type must be a media type: application/pdf.");
}
